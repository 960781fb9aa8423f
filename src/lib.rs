//! tilewright: a tiled kernel language, an autotuner and a model executor.
//!
//! This crate re-exports the parts that a kernel author needs; see the repository's README for a kernel explained end to end.

pub use tilewright_codegen as codegen;
pub use tilewright_kernels as kernels;
pub use tilewright_runtime as runtime;

/// Everything that a kernel and its host code need: `use tilewright::prelude::*;`.
pub mod prelude {
    pub use tilewright_runtime::prelude::*;
}
