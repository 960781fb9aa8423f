//! Graphs: launches recorded once and replayed by one call, with the same meaning on a GPU and on the simulated one.
//!
//! A graph holds kernels, grids, scalars and *addresses*; what a replay shall see anew must lie in buffers that were written
//! before. Memory and code that it may use live as long as the graph, even when their owners are dropped earlier. While launches
//! are recorded nothing may wait for the device or copy to or from it: the host's part would happen once, not at each replay.

#![allow(unsafe_code, reason = "replays launches over memory that the graph keeps")]

use std::sync::Arc;

use crate::cuda::graph::CudaGraph;
use crate::cuda::module::waits_after_launch;
use crate::device::{Device, Target};
use crate::error::{CudaError, RuntimeError};
use crate::gpu::sim_graph::SimGraph;
use crate::stream::Stream;

/// Recorded launches of a device.
pub struct Graph {
    device: Device,
    launches: Launches,
}

enum Launches {
    Sim(SimGraph),
    Cuda(CudaGraph),
}

/// An error of the recording, or of the launches that were to be recorded.
enum Failed<E> {
    Recording(CudaError),
    Launches(E),
}

impl<E> From<CudaError> for Failed<E> {
    fn from(error: CudaError) -> Self {
        Self::Recording(error)
    }
}

impl Device {
    /// Whether launches are worth recording: on GPUs, real and simulated, but not on a CPU, whose launches cost no more than a replay,
    /// nor where `TILEWRIGHT_SYNC` asks for the kernel that went wrong.
    #[must_use]
    pub fn has_graphs(&self) -> bool {
        match &self.inner.target {
            Target::Cpu => false,
            Target::Sim(_) => true,
            Target::Cuda(..) => !waits_after_launch(),
        }
    }
}

impl Stream {
    /// Records what `launches` launches on this device instead of running it.
    ///
    /// Kernels that were not launched before are compiled meanwhile. Every view must lie in buffers of the device.
    ///
    /// # Errors
    /// What `launches` returns; [`RuntimeError::NoGraphs`] on a CPU; [`CudaError::Captured`] where something waits for the device,
    /// copies, or records in turn; what the driver says. Nothing is recorded then.
    pub fn capture<E: From<RuntimeError>>(
        &self,
        launches: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        let launches = || launches().map_err(Failed::Launches);
        let recorded = match &self.device().inner.target {
            Target::Cpu => return Err(RuntimeError::NoGraphs.into()),
            Target::Sim(sim) => sim.capture(launches).map(Launches::Sim),
            Target::Cuda(stream, _) => stream.capture(launches).map(Launches::Cuda),
        };
        match recorded {
            Ok(launches) => Ok(Graph { device: self.device().clone(), launches }),
            Err(Failed::Launches(error)) => Err(error),
            Err(Failed::Recording(error)) => Err(RuntimeError::from(error).into()),
        }
    }
}

impl Graph {
    /// Replays the launches, in order with whatever else `stream` is given.
    ///
    /// # Errors
    /// [`RuntimeError::OtherDevice`] on a stream of another device; [`CudaError::Captured`] while launches are recorded; what a
    /// launch did wrong on the simulated GPU, and on a real one what the driver says.
    pub fn launch(&self, stream: &Stream) -> Result<(), RuntimeError> {
        if !Arc::ptr_eq(&self.device.inner, &stream.device().inner) {
            return Err(RuntimeError::OtherDevice);
        }
        match (&self.launches, &self.device.inner.target) {
            (Launches::Sim(graph), Target::Sim(sim)) => {
                sim.recorder().refuse("a graph")?;
                Ok(sim.replay(graph)?)
            }
            (Launches::Cuda(graph), Target::Cuda(on, _)) => {
                on.refuse_in_capture("a graph")?;
                // SAFETY: what the launches reach was seen to be device memory when they were recorded. The graph keeps it, no
                // reference of the host's leads to it, and every copy and launch of the device goes through this one stream.
                Ok(unsafe { graph.launch(on) }?)
            }
            (Launches::Sim(_), Target::Cpu | Target::Cuda(..))
            | (Launches::Cuda(_), Target::Cpu | Target::Sim(_)) => Err(RuntimeError::OtherDevice),
        }
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Graph on {:?}", self.device)
    }
}
