//! Random legal functions, and a plain interpreter to compare them by.

pub(crate) mod generate;
pub(crate) mod interpret;
