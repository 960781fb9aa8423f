//! The kernels of tilewright: one file each, with what it computes, its search space, its typed launch and its cost.
//!
//! Every kernel is an ordinary function under `#[kernel]`, generic over element types and tile extents, and every `run`
//! function takes a device or stream, a schedule and typed views, checks that the views fit each other, and computes the grid.
//! A schedule starts from `name::kernel::<..>(..).default`; extents that the problem fixes are set by [`host::pin`].
//! The f64 reference of each kernel, its shapes for tests and tuning, and its inputs are in [`cases`], and [`registry`] lists
//! them all.

pub mod argmax;
pub mod attention;
pub mod attention_decode;
pub mod attention_paged;
pub mod by_shape;
pub mod cases;
pub mod embedding;
pub mod epilogue;
pub mod error;
pub mod host;
pub mod layer_norm;
pub mod matmul;
pub mod matmul_split;
pub mod matvec;
mod online_softmax;
pub mod penalise;
pub mod reference;
pub mod registry;
pub mod rms_norm;
pub mod rope;
pub mod sample;
pub mod softmax;
pub mod swiglu;
pub mod top_k;

pub use error::KernelError;
