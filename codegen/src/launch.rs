//! What a launch hands to a target: run-time arguments, the log, and the error of a failed assertion.
//!
//! A view argument is a plain descriptor; who builds one vouches for the memory behind it.

use crate::diag::Loc;
use crate::ir::{DType, MAX_RANK};

/// A strided window on memory, as a launch passes it.
#[derive(Clone, Copy, Debug)]
pub struct ViewArg {
    /// Address of element (0, 0, ...).
    pub ptr: *mut u8,
    /// Element type in memory.
    pub dtype: DType,
    /// Number of axes.
    pub rank: u8,
    /// Whether it may be stored to.
    pub mutable: bool,
    /// Extent per axis, in elements.
    pub dims: [i64; MAX_RANK],
    /// Distance between neighbours along each axis, in elements; may be zero or negative.
    pub strides: [i64; MAX_RANK],
}

/// One run-time argument.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A view of memory.
    View(ViewArg),
    /// A scalar in its element type's own encoding (f16 and bf16 as their 16 bits), zero-extended.
    Scalar(u64),
}

/// Where `print` goes.
pub trait DeviceLog: Sync {
    /// Takes one line of text printed by program instance `pid`.
    fn line(&self, pid: [u32; 3], text: &str);
}

/// A log that forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl DeviceLog for NoLog {
    fn line(&self, _pid: [u32; 3], _text: &str) {}
}

/// A program instance stopped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message} (program {}, {}, {}; {loc})", pid[0], pid[1], pid[2])]
pub struct RunError {
    /// The text of the failed `assert`, or what was wrong.
    pub message: String,
    /// Where the author wrote it.
    pub loc: Loc,
    /// The program instance.
    pub pid: [u32; 3],
}
