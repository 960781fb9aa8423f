//! The CPU target: tile IR to a compact program, run once per program instance over an arena of tiles.
//!
//! Compilation ([`compile`](CpuProgram::compile), once, well under 5 ms) fuses elementwise chains with their loads, stores and
//! reductions into groups that run strip by strip in the first-level cache; lets dots read their operands from memory; keeps
//! carried values in place; and plans the arena. Running ([`run`]) is an interpreter over the SIMD micro-kernels.
//! This target is the semantics of the language.

pub mod micro;

mod alias;
mod axes;
mod build;
mod compile;
mod control;
mod dot_run;
mod express;
mod group;
mod indexed;
mod lazy;
mod list;
mod memory;
mod operands;
mod plan;
mod program;
pub mod reference;
mod run;
mod scalar;
mod scalars;
mod streams;
mod strip_ops;
mod strip_run;
mod strips;
mod uses;

#[cfg(test)]
mod tests;

pub use program::CpuProgram;
pub use run::{Arena, run};

use crate::diag::Diagnostics;
use crate::ir::Func;

impl CpuProgram {
    /// Compiles a verified function for an instruction set that the machine has.
    ///
    /// # Errors
    /// What the CPU target cannot do, at the author's location.
    pub fn compile(func: &Func, isa: micro::Isa) -> Result<Self, Diagnostics> {
        compile::compile(func, isa)
    }

    /// The program for a machine whose last-level cache has `bytes`: an output that would not last in it, and that the kernel does
    /// not read, is stored past the caches.
    #[must_use]
    pub fn with_last_level_cache(mut self, bytes: usize) -> Self {
        self.last_level_cache_bytes = bytes;
        self
    }

    /// Bytes of arena that an instance needs.
    #[must_use]
    pub const fn arena_bytes(&self) -> usize {
        self.arena_bytes as usize
    }

    /// Readable text of the program; the same for the same function and instruction set.
    #[must_use]
    pub fn listing(&self) -> String {
        list::list(self)
    }
}
