//! What can go wrong between a launch and its end.

use crate::diag::Diagnostics;
use crate::launch::RunError;
use crate::schedule::Schedule;

/// Why a kernel was not launched, or did not finish.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LaunchError {
    /// The number of arguments is wrong.
    #[error("kernel `{kernel}` takes {expected} run-time arguments, and {found} were given")]
    ArgumentCount {
        /// The kernel.
        kernel: &'static str,
        /// Number of parameters.
        expected: usize,
        /// Number of arguments.
        found: usize,
    },
    /// An argument has the wrong kind, element type or rank.
    #[error("argument `{argument}` of kernel `{kernel}` should be {expected}, and is {found}")]
    ArgumentKind {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        argument: &'static str,
        /// What the kernel declares.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A view is declared contiguous and is not.
    #[error(
        "argument `{argument}` of kernel `{kernel}` must be contiguous: the stride of its last axis is {stride}, not 1"
    )]
    NotContiguous {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        argument: &'static str,
        /// Stride of the last axis, in elements.
        stride: i64,
    },
    /// A view is declared divisible and is not.
    #[error(
        "argument `{argument}` of kernel `{kernel}` must be divisible by {divisor}: its {what} is {value} elements"
    )]
    NotDivisible {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        argument: &'static str,
        /// Which of its numbers.
        what: String,
        /// That number.
        value: i64,
        /// The declared divisor.
        divisor: u32,
    },
    /// An extent does not fit the language's 32-bit indices.
    #[error(
        "extent {extent} of axis {axis} of argument `{argument}` of kernel `{kernel}` is over the limit of 2147483647"
    )]
    TooLarge {
        /// The kernel.
        kernel: &'static str,
        /// The parameter.
        argument: &'static str,
        /// The axis.
        axis: usize,
        /// Its extent.
        extent: i64,
    },
    /// A slice does not have as many elements as the extents say.
    #[error("a tensor of extents {dims:?} needs {expected} elements, and the slice has {found}")]
    SliceLength {
        /// The extents.
        dims: Vec<usize>,
        /// Their product.
        expected: usize,
        /// Length of the slice.
        found: usize,
    },
    /// The kernel does not specialise under the schedule.
    #[error("kernel `{kernel}` does not specialise under the schedule \"{schedule}\"\n{diagnostics}")]
    Specialisation {
        /// The kernel.
        kernel: &'static str,
        /// The schedule.
        schedule: Schedule,
        /// What is wrong.
        diagnostics: Diagnostics,
    },
    /// A program instance stopped at an assertion.
    #[error("kernel `{kernel}` stopped: {error}")]
    Stopped {
        /// The kernel.
        kernel: &'static str,
        /// Which instance, where and why.
        error: RunError,
    },
    /// The device reported an error.
    #[error("kernel `{kernel}`: {message}")]
    Device {
        /// The kernel.
        kernel: &'static str,
        /// The device's text.
        message: String,
    },
}
