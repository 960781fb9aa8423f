//! CUDA streams, events, and copies between host and device.
//!
//! A copy from or to ordinary host memory has ended when its function returns. A copy from or to pinned memory runs beside
//! the host, and for that it takes the pinned memory and gives it back at the end, so that nobody touches it in between.

#![allow(unsafe_code, reason = "calls the driver")]

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cudarc::driver::sys::{self, CUevent, CUevent_flags, CUstream};

use crate::cuda::context::{Context, Memory, NON_BLOCKING};
use crate::cuda::driver::check;
use crate::error::CudaError;

/// Work in order on a device.
#[derive(Clone)]
pub struct CudaStream {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    raw: CUstream,
    /// Marks the work so far for who gives memory back.
    fence: CUevent,
    /// Whether work is recorded instead of run.
    is_captured: AtomicBool,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above; the driver orders calls on one stream itself.
unsafe impl Sync for Inner {}

impl CudaStream {
    /// A new stream.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(context: &Context) -> Result<Self, CudaError> {
        context.bind()?;
        let mut raw: CUstream = ptr::null_mut();
        // SAFETY: a place for a handle.
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut raw, NON_BLOCKING) })?;
        let mut fence: CUevent = ptr::null_mut();
        let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: a place for a handle.
        if let Err(error) = check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut fence, flags) }) {
            // SAFETY: the stream is new and nobody knows it.
            unsafe { sys::cuStreamDestroy_v2(raw) };
            return Err(error);
        }
        context.add_stream(raw, fence);
        let is_captured = AtomicBool::new(false);
        Ok(Self { inner: Arc::new(Inner { context: context.clone(), raw, fence, is_captured }) })
    }

    /// The device's handle.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn raw(&self) -> CUstream {
        self.inner.raw
    }

    /// Whether launches are recorded.
    pub(crate) fn is_captured(&self) -> bool {
        self.inner.is_captured.load(Ordering::Relaxed)
    }

    pub(crate) fn set_captured(&self, is_captured: bool) {
        self.inner.is_captured.store(is_captured, Ordering::Relaxed);
    }

    /// Refuses what a capture would record wrongly: the host's part of it happens once, and not at each replay.
    pub(crate) fn refuse_in_capture(&self, what: &'static str) -> Result<(), CudaError> {
        if self.is_captured() {
            return Err(CudaError::Captured { what });
        }
        Ok(())
    }

    /// Waits on the host for all work so far.
    ///
    /// # Errors
    /// What the driver says; an error of earlier work comes out here. [`CudaError::Captured`] in a capture, as for every
    /// copy from or to the host and every mark.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.refuse_in_capture("waiting")?;
        self.inner.context.bind()?;
        // SAFETY: the stream lives.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.inner.raw) })
    }

    /// Marks the work so far.
    ///
    /// # Errors
    /// What the driver says.
    pub fn record(&self) -> Result<Event, CudaError> {
        self.refuse_in_capture("a mark")?;
        let event = Event::new(&self.inner.context)?;
        // SAFETY: both live.
        check("cuEventRecord", unsafe { sys::cuEventRecord(event.raw, self.inner.raw) })?;
        Ok(event)
    }

    /// Lets work from here on wait, on the device, for what the event marks.
    ///
    /// # Errors
    /// What the driver says.
    pub fn wait(&self, event: &Event) -> Result<(), CudaError> {
        self.inner.context.bind()?;
        // SAFETY: both live; the driver keeps what it needs of the event.
        check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(self.inner.raw, event.raw, 0) })
    }

    /// Copies host bytes to device memory from byte `offset`, and waits.
    ///
    /// # Errors
    /// [`CudaError::Range`] outside the memory, or what the driver says.
    pub fn upload(&self, bytes: &[u8], memory: &mut Memory, offset: usize) -> Result<(), CudaError> {
        self.refuse_in_capture("a copy from the host")?;
        let target = memory.range(offset, bytes.len())?;
        self.inner.context.bind()?;
        // SAFETY: the ranges were checked, and the stream is waited for while both are borrowed.
        let copied = check("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(target, bytes.as_ptr().cast(), bytes.len(), self.inner.raw)
        });
        copied.and(self.synchronize())
    }

    /// Copies device memory from byte `offset` to host bytes, and waits.
    ///
    /// # Errors
    /// [`CudaError::Range`] outside the memory, or what the driver says.
    pub fn download(&self, memory: &Memory, offset: usize, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.refuse_in_capture("a copy to the host")?;
        let source = memory.range(offset, bytes.len())?;
        self.inner.context.bind()?;
        // SAFETY: the ranges were checked, and the stream is waited for while both are borrowed.
        let copied = check("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), source, bytes.len(), self.inner.raw)
        });
        copied.and(self.synchronize())
    }

    /// Copies pinned memory to device memory from byte `offset`, beside the host.
    ///
    /// # Errors
    /// [`CudaError::Range`] outside the memory, or what the driver says.
    pub fn upload_pinned(
        &self,
        pinned: Pinned,
        memory: &mut Memory,
        offset: usize,
    ) -> Result<Pending, CudaError> {
        let len = pinned.len;
        self.upload_pinned_part(pinned, len, memory, offset)
    }

    /// As [`CudaStream::upload_pinned`], of the first `len` bytes.
    ///
    /// # Errors
    /// As there, and [`CudaError::Range`] for more bytes than there are.
    pub fn upload_pinned_part(
        &self,
        pinned: Pinned,
        len: usize,
        memory: &mut Memory,
        offset: usize,
    ) -> Result<Pending, CudaError> {
        self.refuse_in_capture("a copy from the host")?;
        if len > pinned.len {
            return Err(CudaError::Range { offset: 0, len, len_bytes: pinned.len });
        }
        let target = memory.range(offset, len)?;
        let event = Event::new(&self.inner.context)?;
        // SAFETY: the ranges were checked; `Pending` keeps the pinned memory until the copy has ended, and the device memory
        // is given back after the work of every stream.
        check("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(target, pinned.ptr.as_ptr().cast(), len, self.inner.raw)
        })?;
        self.pending(pinned, event)
    }

    /// Copies device memory from byte `offset` to pinned memory, beside the host.
    ///
    /// # Errors
    /// [`CudaError::Range`] outside the memory, or what the driver says.
    pub fn download_pinned(
        &self,
        memory: &Memory,
        offset: usize,
        pinned: Pinned,
    ) -> Result<Pending, CudaError> {
        self.refuse_in_capture("a copy to the host")?;
        let source = memory.range(offset, pinned.len)?;
        let event = Event::new(&self.inner.context)?;
        // SAFETY: as in `upload_pinned`.
        check("cuMemcpyDtoHAsync", unsafe {
            sys::cuMemcpyDtoHAsync_v2(pinned.ptr.as_ptr().cast(), source, pinned.len, self.inner.raw)
        })?;
        self.pending(pinned, event)
    }

    /// Copies `len` bytes within the device, beside the host.
    ///
    /// # Errors
    /// [`CudaError::Range`] outside a memory, or what the driver says.
    pub fn copy(
        &self,
        (from, from_offset): (&Memory, usize),
        (to, to_offset): (&mut Memory, usize),
        len: usize,
    ) -> Result<(), CudaError> {
        let (source, target) = (from.range(from_offset, len)?, to.range(to_offset, len)?);
        self.inner.context.bind()?;
        // SAFETY: the ranges were checked, and lie in different memories.
        check("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(target, source, len, self.inner.raw) })
    }

    /// Sets device memory to zero, beside the host.
    ///
    /// # Errors
    /// What the driver says.
    pub fn clear(&self, memory: &mut Memory) -> Result<(), CudaError> {
        self.inner.context.bind()?;
        let (target, len) = (memory.range(0, memory.len_bytes())?, memory.len_bytes());
        // SAFETY: the memory has that many bytes.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(target, 0, len, self.inner.raw) })
    }

    fn pending(&self, pinned: Pinned, event: Event) -> Result<Pending, CudaError> {
        // SAFETY: both live.
        let recorded = check("cuEventRecord", unsafe { sys::cuEventRecord(event.raw, self.inner.raw) });
        if let Err(error) = recorded {
            // Without a mark there is nothing to wait for but everything; the pinned memory must not go before.
            let _ = self.synchronize();
            return Err(error);
        }
        Ok(Pending { pinned: Some(pinned), event })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.context.bind().is_err() {
            return;
        }
        // SAFETY: the last handle is gone. The work ends before the stream leaves the list that orders giving back.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.raw);
            self.context.remove_stream(self.raw);
            let _ = sys::cuStreamDestroy_v2(self.raw);
            let _ = sys::cuEventDestroy_v2(self.fence);
        }
    }
}

/// A mark in a stream's work.
pub struct Event {
    context: Context,
    raw: CUevent,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    fn new(context: &Context) -> Result<Self, CudaError> {
        context.bind()?;
        let mut raw: CUevent = ptr::null_mut();
        let flags = CUevent_flags::CU_EVENT_DEFAULT as u32;
        // SAFETY: a place for a handle.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut raw, flags) })?;
        Ok(Self { context: context.clone(), raw })
    }

    /// Waits on the host for the marked work.
    ///
    /// # Errors
    /// What the driver says; an error of the work comes out here.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.bind()?;
        // SAFETY: the event lives.
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.raw) })
    }

    /// Time on the device from an earlier mark to this one, in microseconds; both must have been reached.
    ///
    /// # Errors
    /// What the driver says.
    pub fn us_since(&self, earlier: &Self) -> Result<f64, CudaError> {
        self.context.bind()?;
        let mut ms = 0f32;
        // SAFETY: both live; a place for a number.
        check("cuEventElapsedTime", unsafe { sys::cuEventElapsedTime(&raw mut ms, earlier.raw, self.raw) })?;
        Ok(f64::from(ms) * 1000.0)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: ours, and destroyed once; the driver keeps it until it is reached.
            unsafe { sys::cuEventDestroy_v2(self.raw) };
        }
    }
}

/// Host memory that the device copies from and to directly.
pub struct Pinned {
    context: Context,
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for Pinned {}
// SAFETY: shared access only reads.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// `len_bytes` bytes of zero, at a multiple of 4096.
    ///
    /// # Errors
    /// [`CudaError::PinnedMemory`] when the system does not lock as much.
    pub fn zeros(context: &Context, len_bytes: usize) -> Result<Self, CudaError> {
        context.bind()?;
        let mut raw = ptr::null_mut();
        // SAFETY: a place for an address.
        let result = unsafe { sys::cuMemHostAlloc(&raw mut raw, len_bytes.max(1), 0) };
        let failed = |_| CudaError::PinnedMemory { bytes: len_bytes };
        check("cuMemHostAlloc", result).map_err(failed)?;
        let ptr = NonNull::new(raw.cast::<u8>()).ok_or(CudaError::PinnedMemory { bytes: len_bytes })?;
        // SAFETY: the memory is new and that long.
        unsafe { ptr.write_bytes(0, len_bytes) };
        Ok(Self { context: context.clone(), ptr, len: len_bytes })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: ours, initialised, and no copy runs while we have it.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to change.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: allocated by `cuMemHostAlloc`, freed once.
            unsafe { sys::cuMemFreeHost(self.ptr.as_ptr().cast()) };
        }
    }
}

/// A copy that runs, with the pinned memory that it uses. Dropping it waits.
#[must_use = "dropping it waits for the copy"]
pub struct Pending {
    pinned: Option<Pinned>,
    event: Event,
}

impl Pending {
    /// Waits for the copy and returns the pinned memory.
    ///
    /// # Errors
    /// What the driver says.
    pub fn wait(mut self) -> Result<Pinned, CudaError> {
        self.event.synchronize()?;
        // Taken here only, and `self` is gone afterwards.
        self.pinned.take().ok_or(CudaError::PinnedMemory { bytes: 0 })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.pinned.is_some() {
            let _ = self.event.synchronize();
        }
    }
}

impl std::fmt::Debug for CudaStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {:p} of {:?}", self.inner.raw, self.inner.context)
    }
}
