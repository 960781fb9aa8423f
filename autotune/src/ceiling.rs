//! What the device can do at most, measured, and how near a time comes to it.
//!
//! The roofline of a kernel is the larger of its operations over the FMA ceiling and its bytes over the memory ceiling.
//! Both ceilings of a CPU are measured on the machine in the same process, with the worker pool and the instructions that kernels use;
//! of a GPU the memory's is measured, and the arithmetic's follows from its clocks. [`ReadCeiling`] measures the memory's in turn with a kernel, where the ratio itself is the result.

use std::fmt;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tilewright_codegen::cpu::micro::ceiling::{multiply_adds, read_once};
use tilewright_runtime::cuda::context::Fill;
use tilewright_runtime::cuda::stream::CudaStream;
use tilewright_runtime::error::CudaError;
use tilewright_runtime::{Buffer, Device, RuntimeError};

/// Measured limits of the device, all threads together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ceilings {
    /// f32 fused multiply-adds from registers, two operations each, per second.
    pub flops_per_s: f64,
    /// Bytes read from memory per second.
    pub bytes_per_s: f64,
}

/// Share of the roofline that a time reaches, with the figures that it was computed from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roofline {
    /// Least possible time over measured time; over 1 where caches or narrower types beat the ceilings' assumptions.
    pub fraction: f64,
    /// The ceiling that binds.
    pub bound: Bound,
    /// Operations of one execution.
    pub flops: f64,
    /// Bytes that one execution must move.
    pub bytes: f64,
    /// Measured FMA ceiling.
    pub ceiling_flops_per_s: f64,
    /// Measured memory ceiling.
    pub ceiling_bytes_per_s: f64,
}

/// The ceiling that binds a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Fused multiply-adds.
    Compute,
    /// Memory.
    Memory,
}

impl Roofline {
    /// The share that `seconds` reaches for `flops` operations and `bytes` bytes, under `ceilings` (kept to 4 digits).
    #[must_use]
    pub fn new(flops: f64, bytes: f64, seconds: f64, ceilings: &Ceilings) -> Self {
        let rounded = |x: f64| format!("{x:.3e}").parse().unwrap_or(x);
        let mut roofline = Self {
            fraction: 0.0,
            bound: Bound::Compute,
            flops,
            bytes,
            ceiling_flops_per_s: rounded(ceilings.flops_per_s),
            ceiling_bytes_per_s: rounded(ceilings.bytes_per_s),
        };
        if bytes / roofline.ceiling_bytes_per_s > flops / roofline.ceiling_flops_per_s {
            roofline.bound = Bound::Memory;
        }
        roofline.fraction = rounded(roofline.fraction_at(seconds));
        roofline
    }

    /// The share that `seconds` reaches.
    #[must_use]
    pub fn fraction_at(&self, seconds: f64) -> f64 {
        (self.flops / self.ceiling_flops_per_s).max(self.bytes / self.ceiling_bytes_per_s) / seconds
    }
}

/// Measures both ceilings of a CPU device; takes about half a second, and half a gigabyte meanwhile.
///
/// # Errors
/// If that memory cannot be had.
pub fn measure_cpu(device: &Device) -> Result<Ceilings, RuntimeError> {
    let flops_per_s = (0..15).map(|_| fma_pass(device)).fold(0.0, f64::max);
    let mut memory = ReadCeiling::new(device)?;
    let bytes_per_s = (0..40).map(|_| memory.pass()).fold(0.0, f64::max);
    Ok(Ceilings { flops_per_s, bytes_per_s })
}

/// The ceilings of a CUDA device: memory by copies of a quarter of a gigabyte within it, timed by events; multiply-adds by its clocks, a
/// warp's per quarter of a multiprocessor and cycle, since no kernel of ours measures them.
///
/// # Errors
/// If the memory cannot be had, or what the driver says.
pub fn measure_gpu(stream: &CudaStream) -> Result<Ceilings, CudaError> {
    const BYTES: usize = 256 << 20;
    let context = stream.context();
    let info = context.info();
    let (from, mut to) = (context.allocate(BYTES, Fill::Zero)?, context.allocate(BYTES, Fill::Zero)?);
    let mut fastest_us = f64::INFINITY;
    for _ in 0..10 {
        let start = stream.record()?;
        stream.copy((&from, 0), (&mut to, 0), BYTES)?;
        let end = stream.record()?;
        end.synchronize()?;
        fastest_us = fastest_us.min(end.us_since(&start)?);
    }
    Ok(Ceilings {
        flops_per_s: 2e3 * 128.0 * f64::from(info.n_sms) * f64::from(info.clock_khz.max(1)),
        // Read once, written once.
        bytes_per_s: 2.0 * BYTES as f64 / (fastest_us.max(1e-3) * 1e-6),
    })
}

/// Multiply-adds per second, two operations each, of one pass of about 10 ms on every thread.
fn fma_pass(device: &Device) -> f64 {
    let (isa, threads) = (device.isa(), device.threads());
    let counted = Mutex::new(0.0);
    let start = Instant::now();
    device.pool().run(threads, &|_| {
        let flops = multiply_adds(isa, 1 << 20);
        *counted.lock().unwrap_or_else(PoisonError::into_inner) += flops;
    });
    let seconds = start.elapsed().as_secs_f64();
    counted.into_inner().unwrap_or_else(PoisonError::into_inner) / seconds
}

/// Reads memory as fast as the device can: all its threads, eight streams each, from huge pages that no cache holds.
///
/// One pass takes about a millisecond, so that it can alternate with what is compared with it: the rate of a machine that others
/// use as well changes from one second to the next.
pub struct ReadCeiling {
    device: Device,
    memory: Buffer<f32>,
    at: usize,
}

impl ReadCeiling {
    const BYTES: usize = 512 << 20;
    /// Bytes of one pass.
    pub const PASS_BYTES: usize = 64 << 20;
    /// Bytes that a thread takes at a time.
    const SHARE_BYTES: usize = 2 << 20;

    /// Allocates the memory and touches all of it.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn new(device: &Device) -> Result<Self, RuntimeError> {
        let mut memory = Buffer::zeros(Self::BYTES / 4)?;
        // Pages that were never written all share one zero page, which would stay in the cache.
        memory.as_mut_slice()?.fill(1.0);
        Ok(Self { device: device.clone(), memory, at: 0 })
    }

    /// Bytes per second of one pass over the next part of the memory.
    pub fn pass(&mut self) -> f64 {
        let part = Self::PASS_BYTES / 4;
        let shares = &self.memory.as_slice()[self.at..self.at + part];
        self.at = (self.at + part) % self.memory.len();
        let (isa, share) = (self.device.isa(), Self::SHARE_BYTES / 4);
        let start = Instant::now();
        self.device.pool().run(part / share, &|i| {
            black_box(read_once(isa, &shares[i * share..(i + 1) * share]));
        });
        Self::PASS_BYTES as f64 / start.elapsed().as_secs_f64()
    }
}

impl fmt::Debug for ReadCeiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadCeiling({:?})", self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_ceiling_binds() {
        let ceilings = Ceilings { flops_per_s: 1e11, bytes_per_s: 1e10 };
        let compute = Roofline::new(2e9, 1e6, 0.04, &ceilings);
        assert_eq!(compute.bound, Bound::Compute);
        assert!((compute.fraction - 0.5).abs() < 1e-9);
        let memory = Roofline::new(1e6, 1e8, 0.02, &ceilings);
        assert_eq!(memory.bound, Bound::Memory);
        assert!((memory.fraction - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ceilings_are_positive_numbers() {
        let ceilings = measure_cpu(&Device::cpu(1)).unwrap();
        assert!(ceilings.flops_per_s.is_finite() && ceilings.flops_per_s > 1e6, "{ceilings:?}");
        assert!(ceilings.bytes_per_s.is_finite() && ceilings.bytes_per_s > 1e6, "{ceilings:?}");
    }
}
