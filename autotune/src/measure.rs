//! Timing candidates against one another.
//!
//! Times of different moments do not compare on a machine that others share, so candidates are always timed in interleaved
//! rounds: each round takes one sample of every candidate still in the contest, starting from another one each time. What is
//! reported is the median. Statistics are pure functions ([`stats`]) and the clock is a parameter ([`Clock`]), so that all of
//! this is tested without timing anything.

mod clock;
mod contest;
mod device_time;
pub mod stats;

pub use clock::{Clock, WallClock};
pub use contest::{Entrant, contest, prepare};
pub use device_time::DeviceTimer;

/// How carefully candidates are timed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MeasureConfig {
    /// Untimed executions before the first sample.
    pub warm_up_runs: usize,
    /// A sample repeats the execution until it is expected to take this long, in seconds.
    pub min_sample_s: f64,
    /// Most executions in one sample.
    pub max_repeats: usize,
    /// Fresh candidates that are timed together.
    pub batch: usize,
    /// Rounds of a batch.
    pub trial_rounds: usize,
    /// A candidate leaves the contest when its median exceeds the leader's by this factor...
    pub hopeless: f64,
    /// ...after this many samples.
    pub hopeless_after: usize,
    /// Leaders that meet in the run-off, the default schedule not counted.
    pub finalists: usize,
    /// Least rounds of the run-off, time permitting.
    pub min_rounds: usize,
    /// Most rounds of the run-off.
    pub max_rounds: usize,
    /// The run-off is decided when every median still in it is known to this relative precision.
    pub precision: f64,
    /// Medians this near to one another, relatively, count as equal; the default schedule then keeps its place.
    pub tie: f64,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            warm_up_runs: 2,
            min_sample_s: 1e-3,
            max_repeats: 1000,
            batch: 12,
            trial_rounds: 5,
            hopeless: 1.5,
            hopeless_after: 3,
            finalists: 4,
            min_rounds: 11,
            max_rounds: 61,
            precision: 0.01,
            tie: 0.005,
        }
    }
}
