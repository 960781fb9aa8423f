//! CUDA graphs: launches recorded once and replayed by one call.
//!
//! A graph replays addresses and functions. Memory and code that it may use are given back only after it is gone, even when
//! their owners drop them before; what the replayed launches read and write is the caller's business, as in any launch.

#![allow(unsafe_code, reason = "calls the driver")]

use std::ptr;

use cudarc::driver::sys::{self, CUgraph, CUgraphExec, CUstreamCaptureMode};

use crate::cuda::context::Context;
use crate::cuda::driver::check;
use crate::cuda::stream::CudaStream;
use crate::error::CudaError;

/// Recorded launches.
pub struct CudaGraph {
    context: Context,
    exec: CUgraphExec,
    name: u64,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for CudaGraph {}

impl CudaStream {
    /// Records what `launches` puts on this stream instead of running it. Nothing in it may wait for the stream.
    ///
    /// # Errors
    /// What `launches` returns, or what the driver says; nothing is recorded then.
    pub fn capture<E: From<CudaError>>(
        &self,
        launches: impl FnOnce() -> Result<(), E>,
    ) -> Result<CudaGraph, E> {
        let capture = Capture::begin(self)?;
        launches()?;
        Ok(capture.finish()?)
    }
}

impl CudaGraph {
    /// Replays the launches on a stream.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// As for each of the launches, now: memory that they write must be given to nobody else while they run.
    pub unsafe fn launch(&self, stream: &CudaStream) -> Result<(), CudaError> {
        self.context.bind()?;
        // SAFETY: both live, of one device; the rest is the caller's word.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(self.exec, stream.raw()) })
    }

    /// Brings the graph to the device ahead of its first launch.
    ///
    /// # Errors
    /// What the driver says.
    pub fn upload(&self, stream: &CudaStream) -> Result<(), CudaError> {
        self.context.bind()?;
        // SAFETY: both live.
        check("cuGraphUpload", unsafe { sys::cuGraphUpload(self.exec, stream.raw()) })
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: ours, destroyed once; a launch that runs ends first, says the driver's manual.
            unsafe { sys::cuGraphExecDestroy(self.exec) };
        }
        // What the graph used is given back after all work so far, its own launches included.
        self.context.drop_graph(self.name);
    }
}

/// A capture that ends when dropped, also by an error or a panic in between.
struct Capture<'a> {
    stream: &'a CudaStream,
    is_open: bool,
}

impl<'a> Capture<'a> {
    fn begin(stream: &'a CudaStream) -> Result<Self, CudaError> {
        let context = stream.context();
        stream.refuse_in_capture("another capture")?;
        context.bind()?;
        context.ledger().begin_capture();
        // Relaxed: kernels may be compiled and loaded meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives.
        let begun =
            check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(stream.raw(), mode) });
        if let Err(error) = begun {
            context.abandon_capture();
            return Err(error);
        }
        stream.set_captured(true);
        Ok(Self { stream, is_open: true })
    }

    fn finish(mut self) -> Result<CudaGraph, CudaError> {
        let context = self.stream.context();
        let mut graph: CUgraph = ptr::null_mut();
        self.is_open = false;
        self.stream.set_captured(false);
        // SAFETY: the stream lives and is being captured; a place for a handle.
        let ended = check("cuStreamEndCapture", unsafe {
            sys::cuStreamEndCapture(self.stream.raw(), &raw mut graph)
        });
        let mut exec: CUgraphExec = ptr::null_mut();
        let made = ended.and_then(|()| {
            // SAFETY: the graph was just made; a place for a handle.
            check("cuGraphInstantiateWithFlags", unsafe {
                sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0)
            })
        });
        if !graph.is_null() {
            // SAFETY: ours; what was instantiated does not need it.
            unsafe { sys::cuGraphDestroy(graph) };
        }
        if let Err(error) = made {
            context.abandon_capture();
            return Err(error);
        }
        let name = context.ledger().keep_graph();
        Ok(CudaGraph { context: context.clone(), exec, name })
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        self.stream.set_captured(false);
        let mut graph: CUgraph = ptr::null_mut();
        // SAFETY: the stream lives and is being captured; what comes out is ours to destroy.
        unsafe {
            let _ = sys::cuStreamEndCapture(self.stream.raw(), &raw mut graph);
            if !graph.is_null() {
                let _ = sys::cuGraphDestroy(graph);
            }
        }
        self.stream.context().abandon_capture();
    }
}
