//! Random legal functions, and a plain interpreter to compare them by.

pub mod generate;
pub mod interpret;
