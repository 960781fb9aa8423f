//! Random inputs, the same on every machine.

use tilewright_codegen::dsl::elem::Elem;
use tilewright_runtime::{Buffer, Device};

use super::Output;
use crate::error::KernelError;

/// A generator of uniform numbers (SplitMix64, Steele et al. 2014), and of buffers of them where the case's device reads them.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
    /// Whose memory buffers are in; the host's without one.
    device: Option<Device>,
}

impl Random {
    pub(crate) const fn new(seed: u64, device: Option<Device>) -> Self {
        Self { state: seed, device }
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Uniform in -1..1.
    fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * 2f64.powi(-52) - 1.0
    }

    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// `len` values uniform in -1..1, rounded to `T`.
    pub(crate) fn values<T: Elem>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.uniform())).collect()
    }

    /// As [`Random::values`], as a buffer.
    pub(crate) fn buffer<T: Elem>(&mut self, len: usize) -> Result<Buffer<T>, KernelError> {
        let values = self.values(len);
        self.upload(&values)
    }

    /// A buffer of these values.
    pub(crate) fn upload<T: Elem>(&self, values: &[T]) -> Result<Buffer<T>, KernelError> {
        Ok(match &self.device {
            Some(device) => Buffer::from_slice_on(device, values)?,
            None => Buffer::from_slice(values)?,
        })
    }

    /// A buffer that the kernel only writes.
    pub(crate) fn output<T: Elem>(&self, len: usize) -> Result<Output<T>, KernelError> {
        let buffer = match &self.device {
            Some(device) => Buffer::zeros_on(device, len)?,
            None => Buffer::zeros(len)?,
        };
        Ok(Output { buffer, initial: None })
    }

    /// A buffer of random values that the kernel updates in place.
    pub(crate) fn updated<T: Elem>(&mut self, len: usize) -> Result<Output<T>, KernelError> {
        let initial = self.values(len);
        Ok(Output { buffer: self.upload(&initial)?, initial: Some(initial) })
    }
}
