//! Launches of a simulated GPU, recorded instead of run, and their replay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tilewright_codegen::error::LaunchError;
use tilewright_codegen::launch::Arg;

use crate::error::CudaError;
use crate::gpu::sim::{Loaded, SimDevice};
use crate::gpu::sim_memory::SimMemory;

/// One launch with everything that it needs.
pub(crate) struct Recorded {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) grid: [u32; 3],
    pub(crate) args: Vec<Arg>,
    /// The memory that its views reach.
    pub(crate) _memory: Vec<Arc<SimMemory>>,
}

/// The addresses inside are kept alive beside them.
#[allow(unsafe_code, reason = "sends addresses together with what keeps them alive")]
// SAFETY: the addresses are of the pieces in `_memory`, which are only accessed under the lock of the machine.
unsafe impl Send for Recorded {}

/// What a device is told while launches are recorded.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Option<Vec<Recorded>>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Recorded>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether launches are recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// Adds a launch, if launches are recorded; else hands it back.
    pub(crate) fn add(&self, launch: Recorded) -> Option<Recorded> {
        match &mut *self.lock() {
            Some(launches) => {
                launches.push(launch);
                None
            }
            None => Some(launch),
        }
    }

    /// Refuses what a capture would record wrongly: the host's part of it happens once, and not at each replay.
    pub(crate) fn refuse(&self, what: &'static str) -> Result<(), CudaError> {
        if self.is_on() { Err(CudaError::Captured { what }) } else { Ok(()) }
    }
}

/// A recording that ends when dropped, also by an error or a panic in between.
struct Recording<'a>(&'a Recorder);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

/// Launches of a simulated GPU, recorded once.
pub(crate) struct SimGraph(Vec<Recorded>);

impl SimDevice {
    /// Records what `launches` launches on this device instead of running it.
    pub(crate) fn capture<E: From<CudaError>>(
        &self,
        launches: impl FnOnce() -> Result<(), E>,
    ) -> Result<SimGraph, E> {
        let recorder = self.recorder();
        {
            let mut recorded = recorder.lock();
            if recorded.is_some() {
                return Err(CudaError::Captured { what: "another capture" }.into());
            }
            *recorded = Some(Vec::new());
        }
        let recording = Recording(recorder);
        launches()?;
        let recorded = recorder.lock().take().unwrap_or_default();
        drop(recording);
        Ok(SimGraph(recorded))
    }

    /// Runs recorded launches in their order.
    pub(crate) fn replay(&self, graph: &SimGraph) -> Result<(), LaunchError> {
        graph.0.iter().try_for_each(|launch| self.run(&launch.loaded, launch.grid, &launch.args))
    }
}
