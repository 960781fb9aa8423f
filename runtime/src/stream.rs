//! Streams: the order of launches.
//!
//! On the CPU a launch has finished when it returns. A stream keeps the compiled kernels that it has used, so that a repeated
//! launch takes no lock but the pool's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, PoisonError};

use tilewright_codegen::error::LaunchError;
use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::kernel::{Launch, LaunchOn};

use crate::device::{Device, Target};
use crate::gpu::cuda::Variants;
use crate::launch::{self, Compiled};

/// Launch keys are hashes already.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// Launches in order on one device.
pub struct Stream {
    device: Device,
    used: RefCell<HashMap<u64, Arc<Compiled>, BuildHasherDefault<KeyHasher>>>,
    /// What was launched on a GPU.
    variants: Variants,
}

impl Stream {
    pub(crate) fn new(device: Device) -> Self {
        Self { device, used: RefCell::default(), variants: Variants::default() }
    }

    /// The device that the launches run on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What was known of the arguments of a kernel (its `id`) in the launches on a CUDA device so far: how its next variants will
    /// probably be compiled. Empty elsewhere.
    #[must_use]
    pub fn launched_facts(&self, kernel: u64) -> Vec<Vec<ArgFacts>> {
        self.variants.facts(kernel)
    }

    /// The compiled kernel of a launch, compiled now if this is the first time.
    ///
    /// # Errors
    /// The diagnostics of the specialisation.
    pub fn prepare(&self, launch: &Launch<'_>) -> Result<Arc<Compiled>, LaunchError> {
        if let Some(compiled) = self.used.borrow().get(&launch.key) {
            return Ok(Arc::clone(compiled));
        }
        let known = {
            let compiled = self.device.inner.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            compiled.get(&launch.key).cloned()
        };
        let compiled = match known {
            Some(compiled) => compiled,
            None => {
                // Compiled outside the lock: two threads may do it twice, and either result serves.
                let compiled =
                    Arc::new(launch::compile(&(launch.kernel)(), launch.schedule, self.device.isa())?);
                let mut all = self.device.inner.compiled.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(all.entry(launch.key).or_insert(compiled))
            }
        };
        self.used.borrow_mut().insert(launch.key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl LaunchOn for Stream {
    fn launch(&self, launch: Launch<'_>) -> Result<(), LaunchError> {
        match &self.device.inner.target {
            Target::Cpu => self.prepare(&launch)?.run(&self.device, launch.grid, launch.args),
            Target::Sim(sim) => sim.launch(&launch),
            Target::Cuda(stream, assertions) => self.variants.launch(stream, assertions, &launch),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream on {:?}", self.device)
    }
}
