//! The CPU device: its worker pool and its floating-point mode.

mod denormals;
mod pool;

pub use denormals::FlushDenormals;
pub use pool::Pool;
