//! Devices: where kernels run.
//!
//! A device is a cheap handle; all handles of one device share its worker pool and its compiled kernels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tilewright_codegen::cpu::micro::Isa;

use crate::cpu::Pool;
use crate::error::RuntimeError;
use crate::launch::Compiled;
use crate::stream::Stream;

/// A device that kernels run on.
#[derive(Clone)]
pub struct Device {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    /// Compiled kernels by launch key.
    pub(crate) compiled: Mutex<HashMap<u64, Arc<Compiled>>>,
}

impl Device {
    /// The CPU with `threads` threads (0: all that the machine has) and the widest instruction set available.
    #[must_use]
    pub fn cpu(threads: usize) -> Self {
        Self::cpu_with_isa(threads, Isa::detect())
    }

    /// The CPU with a given instruction set, which must be one of [`Isa::available`]; a wider one falls back to the widest available.
    #[must_use]
    pub fn cpu_with_isa(threads: usize, isa: Isa) -> Self {
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { all } else { threads };
        let isa = if Isa::available().contains(&isa) { isa } else { Isa::detect() };
        Self {
            inner: Arc::new(Inner { pool: Pool::new(threads), isa, compiled: Mutex::new(HashMap::new()) }),
        }
    }

    /// The device named `name`; `threads` as in [`Device::cpu`].
    ///
    /// # Errors
    /// [`RuntimeError::UnknownDevice`] for any name but `cpu`.
    pub fn parse(name: &str, threads: usize) -> Result<Self, RuntimeError> {
        match name {
            "cpu" => Ok(Self::cpu(threads)),
            _ => Err(RuntimeError::UnknownDevice { name: name.to_owned() }),
        }
    }

    /// A stream: launches on it run in order.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// Number of threads that run program instances.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.inner.pool.threads()
    }

    /// The instruction set of the micro-kernels.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.inner.isa
    }

    /// The worker pool, for host work that should share the device's threads.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device(cpu, {} threads, {})", self.threads(), self.isa().name())
    }
}
