//! Times of single executions on a GPU: between two events of its stream, with the second-level cache flushed before each.
//!
//! ```text
//!   stream:  | zeros over twice the cache | event | execution | event | zeros ... |      the host enqueues ahead and waits once
//! ```
//!
//! The zeros leave nothing of the operands in the cache, as in a model, where other layers come in between; and they take longer
//! than the host needs to enqueue what follows, so the execution starts when the event before it has passed.

use std::cell::RefCell;

use tilewright_runtime::Device;
use tilewright_runtime::cuda::context::{Fill, Memory};
use tilewright_runtime::cuda::stream::CudaStream;
use tilewright_runtime::error::CudaError;

use super::stats;
use crate::problem::Invalid;

/// Least bytes of zeros: some tens of microseconds on any GPU.
const LEAST_FLUSH_BYTES: usize = 64 << 20;

/// Times executions on one CUDA device.
pub struct DeviceTimer {
    device: Device,
    stream: CudaStream,
    flush: RefCell<Memory>,
}

impl DeviceTimer {
    /// A timer for a CUDA device; `None` for others, whose executions have ended when they return.
    ///
    /// # Errors
    /// When the memory for the flush cannot be had.
    pub fn new(device: &Device) -> Result<Option<Self>, CudaError> {
        let Some(stream) = device.cuda_stream() else { return Ok(None) };
        let bytes = (2 * stream.context().info().l2_bytes as usize).max(LEAST_FLUSH_BYTES);
        let flush = RefCell::new(stream.context().allocate(bytes, Fill::Leave)?);
        Ok(Some(Self { device: device.clone(), stream: stream.clone(), flush }))
    }

    /// Median seconds of `repeats` executions, each with a cold cache.
    ///
    /// # Errors
    /// What `run` returns, or what the driver says; an error of an execution comes out here.
    pub fn seconds(
        &self,
        repeats: usize,
        run: &mut dyn FnMut() -> Result<(), Invalid>,
    ) -> Result<f64, Invalid> {
        let failed = |e: CudaError| Invalid::Run(e.to_string());
        let mut marks = Vec::with_capacity(repeats.max(1));
        for _ in 0..repeats.max(1) {
            self.stream.clear(&mut self.flush.borrow_mut()).map_err(failed)?;
            let start = self.stream.record().map_err(failed)?;
            run()?;
            marks.push((start, self.stream.record().map_err(failed)?));
        }
        self.device.synchronize().map_err(|e| Invalid::Run(e.to_string()))?;
        let seconds = marks.iter().map(|(start, end)| Ok(end.us_since(start)? * 1e-6));
        let seconds = seconds.collect::<Result<Vec<f64>, CudaError>>().map_err(failed)?;
        // An event's clock ticks every half microsecond or so; a time of zero would win every comparison.
        Ok(stats::median(&seconds).max(1e-10))
    }
}

impl std::fmt::Debug for DeviceTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceTimer({:?})", self.device)
    }
}
