//! What can go wrong between a typed launch and its end.

use tilewright_codegen::error::LaunchError;
use tilewright_runtime::RuntimeError;

/// Why a kernel was not launched, or a case not made.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The arguments do not fit each other.
    #[error(
        "argument `{argument}` of kernel `{kernel}` has extents {found:?}, and the other arguments need {expected:?}"
    )]
    Shape {
        /// The kernel.
        kernel: &'static str,
        /// The argument.
        argument: &'static str,
        /// What was given.
        found: Vec<usize>,
        /// What would fit.
        expected: Vec<usize>,
    },
    /// The schedule lacks a knob that the grid depends on, or gives it no positive value.
    #[error(
        "the schedule \"{schedule}\" of kernel `{kernel}` needs a positive `{knob}`: start from the kernel's default"
    )]
    Knob {
        /// The kernel.
        kernel: &'static str,
        /// The knob.
        knob: &'static str,
        /// The schedule's text.
        schedule: String,
    },
    /// More program instances along an axis than a grid can have.
    #[error(
        "kernel `{kernel}` would need {programs} program instances along one axis of its grid; the limit is 4294967295"
    )]
    Grid {
        /// The kernel.
        kernel: &'static str,
        /// Instances needed.
        programs: usize,
    },
    /// A case of the registry was asked for with parameters that it does not have.
    #[error("kernel `{kernel}` has no case with {what}")]
    Case {
        /// The kernel.
        kernel: &'static str,
        /// What was asked for, and what there is.
        what: String,
    },
    /// The launch itself failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Memory could not be had or viewed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
