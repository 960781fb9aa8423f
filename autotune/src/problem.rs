//! What the tuner tunes: the seam between it and the kernels.
//!
//! The tuner knows no kernel and no device. A [`Family`] is one kernel of the registry, a [`Problem`] is that kernel at one
//! bucket (shape, dtype, options), a [`Candidate`] is that problem at one schedule, ready to run. Problems share their inputs
//! between candidates, so that many candidates can be alive at once and their timed runs can be interleaved.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use tilewright_codegen::schedule::{Schedule, Space};

/// A kernel as records know it: what a schedule must fit to be used with it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Name of the kernel, unique in the registry.
    pub kernel: &'a str,
    /// Hash of the kernel's source; a record of another source is refused.
    pub source_hash: u64,
    /// The knobs and their values; every schedule of a record must be a legal point, the default schedule included.
    pub space: &'a Space,
}

/// The part of a problem that a schedule is chosen for: dtype, compile-time options, and the extents of its shape.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Name of the element type, such as `f32`.
    pub dtype: String,
    /// Compile-time choices other than the schedule, such as `layout = nk`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Named extents of the shape, such as `m`, `n`, `k`.
    pub extents: BTreeMap<String, i64>,
}

impl Bucket {
    /// A bucket without options.
    #[must_use]
    pub fn new(dtype: &str, extents: &[(&str, i64)]) -> Self {
        let extents = extents.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Self { dtype: dtype.to_owned(), options: BTreeMap::new(), extents }
    }

    /// The bucket with one option set.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: &str) -> Self {
        self.options.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dtype)?;
        for (name, value) in &self.extents {
            write!(f, " {name}={value}")?;
        }
        for (name, value) in &self.options {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// The numeric check of a candidate against the reference.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Largest error over all outputs, in the kernel's own measure (usually relative to the reference's magnitude).
    pub max_error: f64,
    /// The error that the kernel documents as its bound.
    pub tolerance: f64,
}

impl Check {
    /// Whether the error is a number within the tolerance.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.max_error <= self.tolerance
    }
}

/// Why a candidate cannot be used. It is an answer of the search, never the end of it.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Invalid {
    /// The schedule could not be specialised or its buffers not allocated.
    #[error("does not specialise: {0}")]
    Specialise(String),
    /// The outputs differ from the reference.
    #[error("wrong numbers: error {max_error:.3e} is over the tolerance {tolerance:.3e}")]
    Wrong {
        /// Largest error, possibly NaN.
        max_error: f64,
        /// The bound.
        tolerance: f64,
    },
    /// The launch reported an error.
    #[error("does not run: {0}")]
    Run(String),
    /// Something panicked while the candidate was prepared, checked or run.
    #[error("panicked: {0}")]
    Panicked(String),
}

/// One kernel at one bucket: inputs (random) and reference are made once and shared by its candidates.
pub trait Problem {
    /// The kernel that is tuned.
    fn subject(&self) -> Subject<'_>;

    /// The bucket that is tuned.
    fn bucket(&self) -> &Bucket;

    /// The schedule that serves where no record does; a legal point of the space.
    fn default_schedule(&self) -> Schedule;

    /// Floating-point (or integer) operations of one execution.
    fn flops(&self) -> f64;

    /// Bytes that one execution must at least read and write.
    fn bytes(&self) -> f64;

    /// Told what will be prepared next, so that other threads can compile it. Nothing need happen.
    fn compile_ahead(&self, _schedule: &Schedule) {}

    /// Specialises the kernel at `schedule` and allocates what it needs.
    ///
    /// # Errors
    /// The reason why this schedule cannot be used.
    fn prepare<'a>(&'a self, schedule: &Schedule) -> Result<Box<dyn Candidate + 'a>, Invalid>;
}

/// A problem at one schedule, ready to run.
pub trait Candidate {
    /// Runs once over poisoned outputs and compares with the reference.
    ///
    /// # Errors
    /// If the launch fails. A wrong result is not an error here but a [`Check`] that has not passed.
    fn check(&mut self) -> Result<Check, Invalid>;

    /// One complete execution, finished on return. A candidate that measures cold caches rotates its buffers here.
    ///
    /// # Errors
    /// If the launch fails.
    fn run(&mut self) -> Result<(), Invalid>;

    /// Seconds of one execution by the device's own clock, from `repeats` of them; `None` where [`Candidate::run`] is to be timed.
    fn device_seconds(&mut self, _repeats: usize) -> Option<Result<f64, Invalid>> {
        None
    }
}

/// A kernel of the registry before a bucket has been chosen: what `autotune list` shows and `tune KERNEL` opens.
pub trait Family {
    /// The kernel.
    fn subject(&self) -> Subject<'_>;

    /// One line on what the kernel computes.
    fn summary(&self) -> &str;

    /// The element types that it is specialised for.
    fn dtypes(&self) -> Vec<String>;

    /// Names of the extents that a shape must give.
    fn extents(&self) -> Vec<String>;

    /// Compile-time options and the values each can take; the first is the default.
    fn options(&self) -> Vec<(String, Vec<String>)>;

    /// The buckets that are tuned when no shape is given.
    fn buckets(&self) -> Vec<Bucket>;

    /// Opens the kernel at one bucket with inputs drawn from `seed`.
    ///
    /// # Errors
    /// Why this bucket cannot be made, with the numbers.
    fn problem(&self, bucket: &Bucket, seed: u64) -> Result<Box<dyn Problem>, String>;
}
