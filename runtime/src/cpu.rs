//! The CPU device: its worker pool, its large memory and its floating-point mode.

mod denormals;
pub(crate) mod pages;
mod pool;

pub use denormals::FlushDenormals;
pub use pool::Pool;
