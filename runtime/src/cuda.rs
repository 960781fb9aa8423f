//! CUDA: finding NVIDIA's compiler and driver at run time, compiling, and running on a GPU.
//!
//! Nothing here is needed to build. [`nvrtc`], [`report`] and [`sass`] need NVIDIA's compiler and no GPU; the rest needs a
//! driver. What is missing is an error that says what to install.

pub mod cached;
pub mod context;
pub mod driver;
pub mod graph;
pub mod info;
mod ledger;
pub mod module;
pub mod nvrtc;
pub mod packing;
pub mod report;
pub mod sass;
pub mod stream;
pub mod tensor_map;
pub mod toolkit;
