//! The CPU device: its worker pool, its caches and large memory and its floating-point mode.

mod cache;
mod denormals;
pub(crate) mod pages;
mod pool;

pub use cache::last_level_cache_bytes;
pub use denormals::FlushDenormals;
pub use pool::Pool;
