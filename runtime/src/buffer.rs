//! Device memory: typed buffers on any device, owned or lent read-only by the host (a memory-mapped checkpoint, say).
//!
//! Invariant: a buffer's pointer is aligned for its element type and its `len` elements stay valid while the buffer lives. Owned
//! memory starts at a multiple of 64 bytes; from a few megabytes on it is on huge pages. The pointer of a buffer on a GPU is an
//! address there, which the host never reads: values go in and out by copies. A simulated GPU is no exception, though its memory
//! lies on the host.

#![allow(unsafe_code, reason = "owns raw memory that kernels address directly")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::ir::DType;
use tilewright_codegen::tensor::{TensorMut, TensorRef, row_major};

use crate::cpu::pages::{Pages, WORTH_BYTES};
use crate::cuda::context::{Fill, Memory};
use crate::cuda::stream::CudaStream;
use crate::device::{Device, Target};
use crate::error::RuntimeError;
use crate::gpu::sim::SimDevice;
use crate::gpu::sim_memory::SimMemory;

/// Alignment of owned memory: a cache line, and a full vector register.
pub const ALIGN_BYTES: usize = 64;

/// Host memory that a buffer may lend.
pub trait HostMemory: AsRef<[u8]> + Send + Sync {}
impl<M: AsRef<[u8]> + Send + Sync> HostMemory for M {}

enum Storage {
    Owned(Layout),
    Pages { _keep: Pages },
    Lent { _keep_alive: Arc<dyn HostMemory> },
    Sim { memory: Arc<SimMemory>, device: Device },
    Cuda { memory: Memory, stream: CudaStream },
}

/// `len` elements of `T` on a device.
pub struct Buffer<T> {
    ptr: NonNull<T>,
    len: usize,
    storage: Storage,
    elem: PhantomData<T>,
}

// SAFETY: a buffer owns its memory, on host or device, or lends memory that nobody writes; `T: Elem` are plain values.
unsafe impl<T: Send> Send for Buffer<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Sync> Sync for Buffer<T> {}

impl<T: Elem> Buffer<T> {
    /// A buffer of zeros (false for bool).
    ///
    /// # Errors
    /// [`RuntimeError::OutOfMemory`] when the size overflows.
    pub fn zeros(len: usize) -> Result<Self, RuntimeError> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(RuntimeError::OutOfMemory { bytes: usize::MAX })?;
        let layout = Layout::from_size_align(bytes.max(1), ALIGN_BYTES)
            .map_err(|_| RuntimeError::OutOfMemory { bytes })?;
        if bytes >= WORTH_BYTES
            && let Some(mut pages) = Pages::zeroed(bytes)
            && let Some(ptr) = NonNull::new(pages.start().cast::<T>())
        {
            return Ok(Self { ptr, len, storage: Storage::Pages { _keep: pages }, elem: PhantomData });
        }
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw.cast::<T>()) else { handle_alloc_error(layout) };
        Ok(Self { ptr, len, storage: Storage::Owned(layout), elem: PhantomData })
    }

    /// A buffer of zeros on a device.
    ///
    /// # Errors
    /// When the device has not as much memory.
    pub fn zeros_on(device: &Device, len: usize) -> Result<Self, RuntimeError> {
        let bytes = len.checked_mul(size_of::<T>()).ok_or(RuntimeError::OutOfMemory { bytes: usize::MAX })?;
        let stream = match &device.inner.target {
            Target::Cpu => return Self::zeros(len),
            Target::Sim(sim) => {
                let memory = sim.heap().allocate(bytes)?;
                let ptr = memory.ptr().cast::<T>();
                let storage = Storage::Sim { memory, device: device.clone() };
                return Ok(Self { ptr, len, storage, elem: PhantomData });
            }
            Target::Cuda(stream, _) => stream,
        };
        let memory = stream.context().allocate(bytes, Fill::Zero)?;
        let ptr = std::ptr::with_exposed_provenance_mut::<T>(memory.address() as usize);
        let ptr = NonNull::new(ptr).ok_or(RuntimeError::OutOfMemory { bytes })?;
        let storage = Storage::Cuda { memory, stream: stream.clone() };
        Ok(Self { ptr, len, storage, elem: PhantomData })
    }

    /// A buffer on a device with a copy of host values.
    ///
    /// # Errors
    /// As [`Buffer::zeros_on`].
    pub fn from_slice_on(device: &Device, values: &[T]) -> Result<Self, RuntimeError> {
        let mut buffer = Self::zeros_on(device, values.len())?;
        buffer.write(values)?;
        Ok(buffer)
    }

    /// Copies all elements to the host, after the work so far that was given to the device.
    ///
    /// # Errors
    /// [`RuntimeError::Length`] unless there is exactly as much room; what earlier work on a GPU did wrong.
    pub fn read(&self, values: &mut [T]) -> Result<(), RuntimeError> {
        self.check_length(values.len())?;
        self.read_at(0, values)
    }

    /// As [`Buffer::read`], of as many elements as there is room for, from element `offset`.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`] unless there are as many; what earlier work on a GPU did wrong.
    pub fn read_at(&self, offset: usize, values: &mut [T]) -> Result<(), RuntimeError> {
        self.check(offset, &[values.len()])?;
        if self.is_on_host() {
            values.copy_from_slice(&self.as_slice()[offset..offset + values.len()]);
            return Ok(());
        }
        let mut bytes = vec![0u8; size_of_val(values)];
        match &self.storage {
            Storage::Owned(_) | Storage::Pages { .. } | Storage::Lent { .. } => {}
            Storage::Sim { memory, device } => {
                simulated(device)?.copy_out(memory, offset * size_of::<T>(), &mut bytes)?;
            }
            Storage::Cuda { memory, stream } => {
                stream.download(memory, offset * size_of::<T>(), &mut bytes)?;
            }
        }
        if T::DTYPE == DType::Bool {
            // A kernel gone wrong may have left any byte, and a host `bool` is 0 or 1.
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        // SAFETY: as many bytes, of plain values for which every pattern but that of `bool` stands.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), values.as_mut_ptr().cast::<u8>(), bytes.len())
        };
        Ok(())
    }

    /// Copies host values to all elements, after the work so far that was given to the device.
    ///
    /// # Errors
    /// [`RuntimeError::Length`] unless there are exactly as many; [`RuntimeError::ReadOnly`] for lent memory; what earlier
    /// work on a GPU did wrong.
    pub fn write(&mut self, values: &[T]) -> Result<(), RuntimeError> {
        self.check_length(values.len())?;
        self.write_at(0, values)
    }

    /// As [`Buffer::write`], to the elements from `offset`.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`] unless there are as many; [`RuntimeError::ReadOnly`] for lent memory; what earlier work
    /// on a GPU did wrong.
    pub fn write_at(&mut self, offset: usize, values: &[T]) -> Result<(), RuntimeError> {
        self.check(offset, &[values.len()])?;
        let bytes = as_bytes(values);
        match &mut self.storage {
            Storage::Owned(_) | Storage::Pages { .. } | Storage::Lent { .. } => {
                self.as_mut_slice()?[offset..offset + values.len()].copy_from_slice(values);
                Ok(())
            }
            Storage::Sim { memory, device } => {
                Ok(simulated(device)?.copy_in(bytes, memory, offset * size_of::<T>())?)
            }
            Storage::Cuda { memory, stream } => Ok(stream.upload(bytes, memory, offset * size_of::<T>())?),
        }
    }

    /// The memory of a buffer on a GPU, and values for its elements from `offset` as bytes.
    pub(crate) fn device_bytes<'a>(
        &mut self,
        offset: usize,
        values: &'a [T],
    ) -> Result<(&mut Memory, &'a [u8]), RuntimeError> {
        self.check(offset, &[values.len()])?;
        match &mut self.storage {
            Storage::Cuda { memory, .. } => Ok((memory, as_bytes(values))),
            Storage::Owned(_) | Storage::Pages { .. } | Storage::Lent { .. } | Storage::Sim { .. } => {
                Err(RuntimeError::OtherDevice)
            }
        }
    }

    /// Whether the host addresses the elements, as [`Buffer::as_slice`] needs.
    #[must_use]
    pub const fn is_on_host(&self) -> bool {
        !matches!(self.storage, Storage::Sim { .. } | Storage::Cuda { .. })
    }

    /// A buffer with a copy of host values.
    ///
    /// # Errors
    /// As [`Buffer::zeros`].
    pub fn from_slice(values: &[T]) -> Result<Self, RuntimeError> {
        let mut buffer = Self::zeros(values.len())?;
        buffer.as_mut_slice()?.copy_from_slice(values);
        Ok(buffer)
    }

    /// A read-only buffer over bytes `offset..offset + len_bytes` of host memory, in place where it is aligned, else a copy.
    ///
    /// # Errors
    /// [`RuntimeError::Misaligned`] when the range is outside the memory or does not hold whole elements.
    pub fn from_host(
        memory: Arc<dyn HostMemory>,
        offset: usize,
        len_bytes: usize,
    ) -> Result<Self, RuntimeError> {
        let size = size_of::<T>();
        let all: &[u8] = (*memory).as_ref();
        let range = offset.checked_add(len_bytes).filter(|&end| end <= all.len());
        let address = all.as_ptr() as usize + offset;
        if range.is_none() || !len_bytes.is_multiple_of(size) {
            return Err(RuntimeError::Misaligned { bytes: len_bytes, address, dtype: T::DTYPE, size });
        }
        let bytes = &all[offset..offset + len_bytes];
        if address.is_multiple_of(align_of::<T>()) {
            let ptr = NonNull::from(bytes).cast::<T>();
            let storage = Storage::Lent { _keep_alive: memory };
            return Ok(Self { ptr, len: len_bytes / size, storage, elem: PhantomData });
        }
        let buffer = Self::zeros(len_bytes / size)?;
        // SAFETY: the new buffer has `len_bytes` bytes and does not overlap the source.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.ptr.as_ptr().cast::<u8>(), len_bytes) };
        Ok(buffer)
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements of a buffer on the host.
    ///
    /// # Panics
    /// If the buffer is on a GPU, whose memory the host does not address: [`Buffer::read`] copies from any device.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        assert!(self.is_on_host(), "the elements of a buffer on a GPU are copied with `read`");
        // SAFETY: the buffer holds `len` aligned, initialised elements, and `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The elements of a buffer on the host, to change.
    ///
    /// # Errors
    /// [`RuntimeError::ReadOnly`] for lent memory, and on a GPU, where [`Buffer::write`] copies.
    pub fn as_mut_slice(&mut self) -> Result<&mut [T], RuntimeError> {
        match self.storage {
            Storage::Owned(_) | Storage::Pages { .. } => {
                // SAFETY: as in `as_slice`, and `&mut self` is the only access.
                Ok(unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) })
            }
            Storage::Lent { .. } | Storage::Sim { .. } | Storage::Cuda { .. } => Err(RuntimeError::ReadOnly),
        }
    }

    /// A row-major view of the whole buffer or its beginning.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`] when the extents need more elements than there are.
    pub fn view<const R: usize>(&self, dims: [usize; R]) -> Result<TensorRef<'_, T, R>, RuntimeError> {
        self.view_at(0, dims)
    }

    /// A row-major view from element `offset`.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`] when the extents need more elements than there are.
    pub fn view_at<const R: usize>(
        &self,
        offset: usize,
        dims: [usize; R],
    ) -> Result<TensorRef<'_, T, R>, RuntimeError> {
        self.check(offset, &dims)?;
        // SAFETY: the span was checked to lie in the buffer, which the view borrows.
        Ok(unsafe { TensorRef::from_raw(self.ptr.as_ptr().add(offset), dims, row_major(dims)) })
    }

    /// A mutable row-major view of the whole buffer or its beginning.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`], or [`RuntimeError::ReadOnly`] for lent memory.
    pub fn view_mut<const R: usize>(
        &mut self,
        dims: [usize; R],
    ) -> Result<TensorMut<'_, T, R>, RuntimeError> {
        self.view_mut_at(0, dims)
    }

    /// A mutable row-major view from element `offset`.
    ///
    /// # Errors
    /// [`RuntimeError::ViewTooLarge`], or [`RuntimeError::ReadOnly`] for lent memory.
    pub fn view_mut_at<const R: usize>(
        &mut self,
        offset: usize,
        dims: [usize; R],
    ) -> Result<TensorMut<'_, T, R>, RuntimeError> {
        self.check(offset, &dims)?;
        if matches!(self.storage, Storage::Lent { .. }) {
            return Err(RuntimeError::ReadOnly);
        }
        // SAFETY: the span was checked to lie in the buffer, which the view borrows mutably.
        Ok(unsafe { TensorMut::from_raw(self.ptr.as_ptr().add(offset), dims, row_major(dims)) })
    }

    fn check_length(&self, found: usize) -> Result<(), RuntimeError> {
        if found == self.len { Ok(()) } else { Err(RuntimeError::Length { found, len: self.len }) }
    }

    fn check(&self, offset: usize, dims: &[usize]) -> Result<(), RuntimeError> {
        let needed = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
        if offset.checked_add(needed).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        Err(RuntimeError::ViewTooLarge { dims: dims.to_vec(), offset, needed, len: self.len })
    }
}

/// Values as bytes.
fn as_bytes<T: Elem>(values: &[T]) -> &[u8] {
    // SAFETY: plain values without padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }
}

/// The simulated GPU that a buffer is of.
fn simulated(device: &Device) -> Result<&SimDevice, RuntimeError> {
    match &device.inner.target {
        Target::Sim(sim) => Ok(sim),
        Target::Cpu | Target::Cuda(..) => Err(RuntimeError::OtherDevice),
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if let Storage::Owned(layout) = self.storage {
            // SAFETY: allocated in `zeros` with this layout.
            unsafe { dealloc(self.ptr.as_ptr().cast::<u8>(), layout) };
        }
    }
}

impl<T: Elem> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} x {})", self.len, T::DTYPE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_checked_against_the_buffer() {
        let mut buffer = Buffer::<f32>::zeros(12).unwrap();
        assert!(buffer.view([3, 4]).is_ok());
        assert!(buffer.view_mut_at(4, [2, 4]).is_ok());
        let error = buffer.view_at(5, [2, 4]).unwrap_err().to_string();
        assert!(error.contains("[2, 4]") && error.contains("12"), "{error}");
        assert!(buffer.view([usize::MAX, 2]).is_err());
    }

    #[test]
    fn values_go_in_and_out_by_copies() {
        let device = Device::cpu(1);
        let mut buffer = Buffer::from_slice_on(&device, &[1.0f32, 2.0, 3.0]).unwrap();
        let mut values = [0.0; 3];
        buffer.read(&mut values).unwrap();
        assert_eq!(values, [1.0, 2.0, 3.0]);
        buffer.write(&[4.0, 5.0, 6.0]).unwrap();
        assert_eq!(buffer.as_slice(), [4.0, 5.0, 6.0]);
        let error = buffer.write(&[1.0]).unwrap_err().to_string();
        assert!(error.contains('1') && error.contains('3'), "{error}");
        assert!(buffer.read(&mut [0.0; 4]).is_err());
        buffer.write_at(1, &[7.0, 8.0]).unwrap();
        let mut part = [0.0; 2];
        buffer.read_at(0, &mut part).unwrap();
        assert_eq!(part, [4.0, 7.0]);
        assert!(buffer.write_at(2, &[0.0; 2]).is_err() && buffer.read_at(usize::MAX, &mut part).is_err());
    }

    #[test]
    fn lent_memory_is_read_only_and_copied_when_misaligned() {
        let memory: Arc<dyn HostMemory> = Arc::new((0..64u8).collect::<Vec<u8>>());
        for offset in 0..5 {
            let mut buffer = Buffer::<u32>::from_host(Arc::clone(&memory), offset, 16).unwrap();
            let first = offset as u8;
            assert_eq!(buffer.as_slice()[0], u32::from_le_bytes([first, first + 1, first + 2, first + 3]));
            let aligned = ((*memory).as_ref().as_ptr() as usize + offset).is_multiple_of(4);
            assert_eq!(buffer.as_mut_slice().is_err(), aligned);
        }
        assert!(Buffer::<u32>::from_host(Arc::clone(&memory), 60, 8).is_err());
        assert!(Buffer::<u32>::from_host(memory, 0, 7).is_err());
    }
}
