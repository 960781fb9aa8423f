//! A CUDA device in use: its context, its memory, and the order in which memory and code are given back.
//!
//! Memory comes from the driver's stream-ordered pool through a stream of our own, the home stream, and is ready for every
//! stream when [`Context::allocate`] returns. Giving it back never waits on the host: the home stream first waits for all
//! work that any stream of ours was given so far, so memory cannot be reused under a running kernel. While something is
//! captured, or a graph lives that may use it, a piece is kept (see the ledger).

#![allow(unsafe_code, reason = "calls the driver")]

use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdeviceptr, CUevent, CUmodule, CUresult, CUstream};
use tilewright_codegen::target::Arch;

use crate::cuda::driver::check;
use crate::cuda::info::{DeviceInfo, device};
use crate::cuda::ledger::Ledger;
use crate::error::CudaError;

/// A handle on a device; all handles on one device share its context.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    info: DeviceInfo,
    arch: Arch,
    device: CUdevice,
    raw: CUcontext,
    home: CUstream,
    /// Every stream but home, with the event that marks its work so far.
    streams: Mutex<Vec<(CUstream, CUevent)>>,
    /// Locked before `streams` where both are.
    ledger: Mutex<Ledger<Piece>>,
}

// SAFETY: the driver's handles may be used from any thread; what is not atomic in the driver is behind the locks.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// What a device gives back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece {
    Memory(CUdeviceptr),
    Code(CUmodule),
}

/// Whether new memory is set to zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// It is.
    Zero,
    /// It holds anything.
    Leave,
}

/// A piece of device memory, given back when dropped.
pub struct Memory {
    context: Context,
    ptr: CUdeviceptr,
    len_bytes: usize,
    allocated: u64,
}

impl Context {
    /// The context of device number `ordinal`; the first call makes it.
    ///
    /// # Errors
    /// When there is no driver or no such device, when no architecture of ours runs on it, or what the driver says.
    pub fn of(ordinal: u32) -> Result<Self, CudaError> {
        static KNOWN: Mutex<Vec<(u32, Weak<Inner>)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inner) = known.iter().find(|(n, _)| *n == ordinal).and_then(|(_, inner)| inner.upgrade())
        {
            return Ok(Self { inner });
        }
        let inner = Arc::new(Inner::new(ordinal)?);
        known.retain(|(n, _)| *n != ordinal);
        known.push((ordinal, Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// What the device is.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.inner.info
    }

    /// What kernels for the device are compiled for.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.inner.arch
    }

    /// Free and total device memory, in bytes.
    ///
    /// # Errors
    /// What the driver says.
    pub fn free_and_total_bytes(&self) -> Result<(u64, u64), CudaError> {
        self.bind()?;
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: two places for sizes.
        check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) })?;
        Ok((free as u64, total as u64))
    }

    /// Whether an address is of memory of the device.
    pub(crate) fn has_address(&self, address: u64) -> bool {
        if self.bind().is_err() {
            return false;
        }
        let mut kind = 0u32;
        let attribute = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
        // SAFETY: a place for the number of a kind; the address is looked up and not read.
        let result = unsafe { sys::cuPointerGetAttribute((&raw mut kind).cast(), attribute, address) };
        // Of plain host memory the driver knows nothing, and says so.
        result == CUresult::CUDA_SUCCESS && kind == sys::CUmemorytype::CU_MEMORYTYPE_DEVICE as u32
    }

    /// Memory of `len_bytes` bytes, at a multiple of 256.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`], or what the driver says.
    pub fn allocate(&self, len_bytes: usize, fill: Fill) -> Result<Memory, CudaError> {
        self.bind()?;
        let inner = &*self.inner;
        // The driver has no empty pieces.
        let bytes = len_bytes.max(1);
        let mut ptr: CUdeviceptr = 0;
        // SAFETY: a place for an address; the home stream lives as long as the context.
        let (call, result) = unsafe {
            if inner.info.has_memory_pools {
                ("cuMemAllocAsync", sys::cuMemAllocAsync(&raw mut ptr, bytes, inner.home))
            } else {
                ("cuMemAlloc", sys::cuMemAlloc_v2(&raw mut ptr, bytes))
            }
        };
        if result == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let (free, total) = self.free_and_total_bytes()?;
            return Err(CudaError::OutOfMemory { bytes: bytes as u64, free, total });
        }
        check(call, result)?;
        // From here on, an error gives the memory back.
        let allocated = self.ledger().allocated();
        let memory = Memory { context: self.clone(), ptr, len_bytes, allocated };
        if fill == Fill::Zero {
            // SAFETY: the piece has that many bytes and is nobody else's yet.
            check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(ptr, 0, bytes, inner.home) })?;
        }
        // SAFETY: our own stream. Afterwards every stream may use the memory.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(inner.home) })?;
        Ok(memory)
    }

    /// Makes the context the calling thread's current one.
    pub(crate) fn bind(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as `self`.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.inner.raw) })
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger<Piece>> {
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Vec<(CUstream, CUevent)>> {
        self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_stream(&self, stream: CUstream, fence: CUevent) {
        self.streams().push((stream, fence));
    }

    /// Forgets a stream whose work is done.
    pub(crate) fn remove_stream(&self, stream: CUstream) {
        self.streams().retain(|&(known, _)| known != stream);
    }

    /// Gives a piece back, now or when no graph may use it.
    pub(crate) fn give_back(&self, piece: Piece, allocated: u64) {
        // The lock is held to the end: a capture that began in between must not see our events on its stream.
        let mut ledger = self.ledger();
        let free = ledger.free(piece, allocated);
        self.free_all(free);
    }

    /// A capture ended without a graph.
    pub(crate) fn abandon_capture(&self) {
        let mut ledger = self.ledger();
        let free = ledger.abandon_capture();
        self.free_all(free);
    }

    /// A graph is gone.
    pub(crate) fn drop_graph(&self, graph: u64) {
        let mut ledger = self.ledger();
        let free = ledger.drop_graph(graph);
        self.free_all(free);
    }

    /// Gives pieces back after all work so far. Nobody is left to tell of an error: after one, the context is lost anyway.
    fn free_all(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut pieces = pieces.into_iter().peekable();
        if pieces.peek().is_none() || self.bind().is_err() {
            return;
        }
        let (home, pools) = (self.inner.home, self.inner.info.has_memory_pools);
        let streams = self.streams();
        for &(stream, fence) in &*streams {
            // SAFETY: both live while they are in the list, and nothing is being captured.
            unsafe {
                let _ = sys::cuEventRecord(fence, stream);
                let _ = sys::cuStreamWaitEvent(home, fence, 0);
            }
        }
        for piece in pieces {
            // SAFETY: the piece is ours and given back once; home has been told to wait for all who may use it.
            unsafe {
                match piece {
                    Piece::Memory(ptr) if pools => {
                        let _ = sys::cuMemFreeAsync(ptr, home);
                    }
                    // Waits for the device by itself.
                    Piece::Memory(ptr) => {
                        let _ = sys::cuMemFree_v2(ptr);
                    }
                    Piece::Code(module) => {
                        let _ = sys::cuStreamSynchronize(home);
                        let _ = sys::cuModuleUnload(module);
                    }
                }
            }
        }
    }
}

impl Inner {
    fn new(ordinal: u32) -> Result<Self, CudaError> {
        let info = DeviceInfo::of(ordinal)?;
        let arch = info.arch()?;
        let device = device(ordinal)?;
        let mut raw: CUcontext = ptr::null_mut();
        // SAFETY: a place for a handle; released in `drop`.
        check("cuDevicePrimaryCtxRetain", unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut raw, device) })?;
        let mut inner = Self {
            info,
            arch,
            device,
            raw,
            home: ptr::null_mut(),
            streams: Mutex::new(Vec::new()),
            ledger: Mutex::new(Ledger::new()),
        };
        // SAFETY: the context lives; a place for a handle.
        unsafe {
            check("cuCtxSetCurrent", sys::cuCtxSetCurrent(raw))?;
            check("cuStreamCreate", sys::cuStreamCreate(&raw mut inner.home, NON_BLOCKING))?;
        }
        if inner.info.has_memory_pools {
            keep_freed_memory(device)?;
        }
        Ok(inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: whatever was made in the context holds it, so all of that is gone; home may be null after a failed start.
        unsafe {
            let _ = sys::cuCtxSetCurrent(self.raw);
            if !self.home.is_null() {
                let _ = sys::cuStreamSynchronize(self.home);
                let _ = sys::cuStreamDestroy_v2(self.home);
            }
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

/// A stream that does not wait for the legacy default stream.
pub(crate) const NON_BLOCKING: u32 = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;

/// Has the device's pool keep what is freed for the next allocation instead of returning it to the system.
fn keep_freed_memory(device: CUdevice) -> Result<(), CudaError> {
    let mut pool: sys::CUmemoryPool = ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: a place for a handle, then a 64-bit value as this attribute has it.
    unsafe {
        check("cuDeviceGetDefaultMemPool", sys::cuDeviceGetDefaultMemPool(&raw mut pool, device))?;
        check(
            "cuMemPoolSetAttribute",
            sys::cuMemPoolSetAttribute(
                pool,
                sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
                (&raw mut threshold).cast(),
            ),
        )
    }
}

impl Memory {
    /// The device's handle.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its address on the device.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.ptr
    }

    /// Its size as asked for.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The address of `len` bytes at `offset`.
    pub(crate) fn range(&self, offset: usize, len: usize) -> Result<CUdeviceptr, CudaError> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len_bytes) {
            return Ok(self.ptr + offset as u64);
        }
        Err(CudaError::Range { offset, len, len_bytes: self.len_bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.context.give_back(Piece::Memory(self.ptr), self.allocated);
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let info = self.info();
        write!(f, "cuda:{} ({}, {})", info.ordinal, info.name, self.inner.arch)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {:#x} of {:?}", self.len_bytes, self.ptr, self.context)
    }
}
