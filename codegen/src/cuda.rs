//! GPU level to CUDA C: text that a person can read and that NVRTC compiles without any header.
//!
//! The writer decides nothing: each statement has one way to be printed. It needs no include; what the kernel calls of the
//! prelude, small wrappers around single PTX instructions, is put in front of it. The text is a function of the
//! kernel and the options alone.
//!
//! ```text
//!   GpuFunc ──usage (where declared, what is const)──▶ statements, one by one ──▶ body
//!                                                       groups of elementwise ones as one unrolled loop
//!   body ──names that it calls──▶ prelude parts ──▶ prelude + signature + body
//! ```

pub mod artifact;
mod closed;
mod control;
mod coords;
mod ctypes;
mod dot;
mod elementwise;
mod generate;
mod global;
mod hopper;
mod mma;
mod names;
mod ops;
mod params;
mod prelude;
mod reduce;
mod shared;
mod text;
mod turns;
mod usage;
mod views;
mod wgmma;
mod writer;

#[cfg(test)]
mod tests;

pub use generate::{Generated, finish, generate, generate_observed};
pub use params::ParamSlot;
pub use writer::write;

use crate::diag::Loc;

/// How the text is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Whether `#line` directives make the compiler speak of the author's lines.
    pub line_directives: bool,
    /// Whether the launch guarantees that no view that is stored to overlaps a read-only view, so that these may be read through
    /// the non-coherent path.
    pub no_alias: bool,
}

/// A kernel as CUDA C.
#[derive(Clone, Debug)]
pub struct CudaSource {
    /// The whole translation unit.
    pub text: String,
    /// Name of the kernel in it; `extern "C"`, so it is not mangled.
    pub entry: String,
    /// Kernel parameters in order: what the launch packs.
    pub params: Vec<ParamSlot>,
    /// Lines of the text, from 1, with the author's place that each comes from.
    pub lines: Vec<(u32, Loc)>,
    /// Parts of the prelude in front of the kernel, in order.
    pub prelude: Vec<&'static str>,
}
