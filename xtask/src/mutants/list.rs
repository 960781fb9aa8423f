//! The mutants: each breaks one thing that a kernel's author, or our own lowering, could get wrong.
//!
//! A mutant is in the list only if it is wrong by the rules of PTX or computes something else, whatever a device makes of it.
//! Left out, because they are equivalent here: the `bar.warp.sync` before a consumer's release of a stage that only `wgmma`
//! reads (every lane has waited for the products); the wait for copies at the end of kernels that reuse no shared memory (none are in
//! flight); and masks whose other condition is the stricter one (keys beyond the end, under a causal mask that ends there).

use super::zoo::Subject;
use crate::ptx::edit::Step;

mod ampere;
mod hopper;
mod rows;

/// What a mutation breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Fence,
    Wait,
    Barrier,
    Parity,
    Count,
    Commit,
    Release,
    Stage,
    Offset,
    Swizzle,
    Bounds,
    Fragment,
    Lane,
    Store,
}

/// A broken kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mutant {
    pub(super) subject: Subject,
    /// The kernel's name in CUDA C, where a launch takes several.
    pub(super) kernel: &'static str,
    pub(super) class: Class,
    pub(super) name: &'static str,
    pub(super) steps: &'static [Step],
}

const fn mutant(subject: Subject, class: Class, name: &'static str, steps: &'static [Step]) -> Mutant {
    Mutant { subject, kernel: subject.kernel, class, name, steps }
}

impl Mutant {
    /// Kernel and mutation.
    pub(super) fn label(&self) -> String {
        format!("{}: {}", self.subject.name, self.name)
    }
}

/// All mutants.
pub(super) fn all() -> impl Iterator<Item = Mutant> {
    [hopper::HOPPER, ampere::AMPERE, rows::ROWS].into_iter().flatten().copied()
}
