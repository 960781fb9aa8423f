//! Devices, buffers, streams and launches.
//!
//! ```text
//! Device ──▶ Stream ──launch──▶ cache of compiled kernels ──▶ worker pool ──▶ program instances
//!    Buffer<T> ──view──▶ TensorRef / TensorMut ──▶ arguments
//! ```

pub mod buffer;
pub mod cache;
pub mod cpu;
pub mod cuda;
pub mod device;
pub mod doctor;
pub mod dump;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod launch;
pub mod stream;
pub mod upload;

pub use buffer::{Buffer, HostMemory};
pub use device::Device;
pub use error::RuntimeError;
pub use graph::Graph;
pub use launch::Compiled;
pub use stream::Stream;
pub use tilewright_codegen::error::LaunchError;
pub use upload::Upload;

/// What the author of kernels and of their host code imports.
pub mod prelude {
    pub use crate::{Buffer, Device, LaunchError, RuntimeError, Stream};
    #[doc(hidden)]
    pub use tilewright_codegen::macro_support as __tw;
    pub use tilewright_codegen::prelude::*;
    pub use tilewright_codegen::tensor::{TensorMut, TensorRef};
    pub use tilewright_macros::{device_fn, kernel};
}
