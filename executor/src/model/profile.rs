//! Times of single launches, gathered by kernel while profiling is on.

use std::time::Instant;

use tilewright_runtime::Device;

use crate::forward::{KernelTime, Profiling};

/// Least work of a launch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Floating-point operations, a multiply-add counted as two.
    pub(super) flops: f64,
    /// Bytes that must be read or written.
    pub(super) bytes: f64,
}

/// A kernel and the step of the model that it serves: `matvec (q_proj)`.
pub(super) fn label(kernel: &str, name: &str) -> String {
    if kernel == name { name.to_owned() } else { format!("{kernel} ({name})") }
}

/// Kernel times so far.
#[derive(Debug)]
pub(super) struct Profile {
    device: Device,
    mode: Profiling,
    times: Vec<KernelTime>,
}

impl Profile {
    /// Nothing gathered, profiling off.
    pub(super) fn new(device: Device) -> Self {
        Self { device, mode: Profiling::Off, times: Vec::new() }
    }

    /// Starts or stops timing.
    pub(super) fn set(&mut self, mode: Profiling) {
        self.mode = mode;
    }

    /// Whether nothing is timed.
    pub(super) fn is_off(&self) -> bool {
        self.mode == Profiling::Off
    }

    /// Runs a launch of `kernel` for the step `name`, timed when profiling is on.
    pub(super) fn launch<R>(
        &mut self,
        [kernel, name]: [&'static str; 2],
        work: Work,
        run: impl FnOnce() -> R,
    ) -> R {
        match self.mode {
            Profiling::Off => run(),
            Profiling::On => {
                let started = Instant::now();
                let out = run();
                // A GPU has only been asked; what it did wrong is reported by the copy that waits for its results.
                let _ = self.device.synchronize();
                self.add(&label(kernel, name), work, started.elapsed().as_secs_f64());
                out
            }
        }
    }

    fn add(&mut self, name: &str, work: Work, seconds: f64) {
        let index = self.times.iter().position(|t| t.name == name).unwrap_or_else(|| {
            self.times.push(KernelTime {
                name: name.to_owned(),
                n_calls: 0,
                seconds: 0.0,
                bytes: 0.0,
                flops: 0.0,
            });
            self.times.len() - 1
        });
        let time = &mut self.times[index];
        time.n_calls += 1;
        time.seconds += seconds;
        time.bytes += work.bytes;
        time.flops += work.flops;
    }

    /// What was gathered since the last call, longest first.
    pub(super) fn take(&mut self) -> Vec<KernelTime> {
        let mut times = std::mem::take(&mut self.times);
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        times
    }
}
