//! Uploads: the values of many buffers brought to a device in chunks, so that reading them overlaps with copying them.
//!
//! ```text
//!   host memory ──threads──▶ pinned chunk 0 ──copy stream──▶ device        while chunk 0 is copied,
//!                            pinned chunk 1 ──copy stream──▶ device        chunk 1 is filled
//! ```
//!
//! Pinned memory is what a GPU copies from directly and beside the host; two chunks of it are enough to keep the bus busy, and a
//! checkpoint of any size needs no more. On other devices an upload is a plain copy.

use tilewright_codegen::dsl::elem::Elem;

use crate::buffer::Buffer;
use crate::cuda::context::Memory;
use crate::cuda::stream::{CudaStream, Pending, Pinned};
use crate::device::Device;
use crate::error::{CudaError, RuntimeError};

/// Bytes of a chunk: long enough that starting a copy costs nothing beside it.
pub const CHUNK_BYTES: usize = 32 << 20;

/// From this many bytes on, threads share the filling of a chunk: one alone reads slower than the bus takes.
const SHARED_BYTES: usize = 4 << 20;

/// Most threads that fill a chunk.
const MOST_THREADS: usize = 8;

/// Brings values to buffers that no launch uses yet.
pub struct Upload {
    lanes: Option<Lanes>,
}

/// The copy stream of a GPU with its chunks.
struct Lanes {
    stream: CudaStream,
    chunk_bytes: usize,
    chunks: [Chunk; 2],
    next: usize,
}

enum Chunk {
    /// Not pinned yet.
    None,
    Copying(Pending),
}

impl Upload {
    /// An upload to `device`.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(device: &Device) -> Result<Self, RuntimeError> {
        Self::with_chunks(device, CHUNK_BYTES)
    }

    /// An upload in chunks of `chunk_bytes` bytes, at least one.
    ///
    /// # Errors
    /// What the driver says.
    pub fn with_chunks(device: &Device, chunk_bytes: usize) -> Result<Self, RuntimeError> {
        let lanes = match device.cuda_stream() {
            None => None,
            Some(stream) => Some(Lanes {
                stream: CudaStream::new(stream.context())?,
                chunk_bytes: chunk_bytes.max(1),
                chunks: [Chunk::None, Chunk::None],
                next: 0,
            }),
        };
        Ok(Self { lanes })
    }

    /// Copies values to the elements from `offset`; they are there after [`Upload::finish`]. `on_bytes` is told how many bytes are
    /// on their way, chunk by chunk.
    ///
    /// # Errors
    /// As [`Buffer::write_at`], and [`CudaError::PinnedMemory`].
    pub fn write_at<T: Elem>(
        &mut self,
        buffer: &mut Buffer<T>,
        offset: usize,
        values: &[T],
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), RuntimeError> {
        match &mut self.lanes {
            None => {
                buffer.write_at(offset, values)?;
                on_bytes(size_of_val(values) as u64);
                Ok(())
            }
            Some(lanes) => {
                let (memory, bytes) = buffer.device_bytes(offset, values)?;
                let start = offset * size_of::<T>();
                let chunk_bytes = lanes.chunk_bytes;
                for (i, part) in bytes.chunks(chunk_bytes).enumerate() {
                    lanes.send(part, memory, start + i * chunk_bytes)?;
                    on_bytes(part.len() as u64);
                }
                Ok(())
            }
        }
    }

    /// Waits until everything has arrived.
    ///
    /// # Errors
    /// What the driver says; an error of a copy comes out here.
    pub fn finish(self) -> Result<(), RuntimeError> {
        let Some(Lanes { stream, chunks, .. }) = self.lanes else { return Ok(()) };
        for chunk in chunks {
            match chunk {
                Chunk::Copying(pending) => drop(pending.wait()?),
                Chunk::None => {}
            }
        }
        Ok(stream.synchronize()?)
    }
}

impl Lanes {
    /// Fills the next chunk, when its last copy has ended, and starts to copy it.
    fn send(&mut self, part: &[u8], memory: &mut Memory, offset: usize) -> Result<(), CudaError> {
        self.next = (self.next + 1) % self.chunks.len();
        let chunk = &mut self.chunks[self.next];
        let mut pinned = match std::mem::replace(chunk, Chunk::None) {
            Chunk::None => Pinned::zeros(self.stream.context(), self.chunk_bytes)?,
            Chunk::Copying(pending) => pending.wait()?,
        };
        fill(&mut pinned.as_mut_slice()[..part.len()], part);
        *chunk = Chunk::Copying(self.stream.upload_pinned_part(pinned, part.len(), memory, offset)?);
        Ok(())
    }
}

/// Copies bytes that may still lie in a file, several threads at a time where there are many.
fn fill(to: &mut [u8], from: &[u8]) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS);
    if from.len() < SHARED_BYTES || threads == 1 {
        return to.copy_from_slice(from);
    }
    let part = from.len().div_ceil(threads);
    std::thread::scope(|scope| {
        for (to, from) in to.chunks_mut(part).zip(from.chunks(part)) {
            scope.spawn(|| to.copy_from_slice(from));
        }
    });
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.lanes {
            None => f.write_str("Upload(plain copies)"),
            Some(lanes) => write!(f, "Upload({:?}, chunks of {} bytes)", lanes.stream, lanes.chunk_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_fill_a_chunk_as_one_does() {
        for len in [0, 1, 1000, SHARED_BYTES - 1, SHARED_BYTES, SHARED_BYTES + 12_345] {
            let from: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
            let mut to = vec![0; len];
            fill(&mut to, &from);
            assert!(to == from, "{len} bytes");
        }
    }

    #[test]
    fn an_upload_to_host_memory_is_a_copy() {
        let device = Device::cpu(1);
        let mut upload = Upload::new(&device).unwrap();
        let mut buffer = Buffer::<i32>::zeros_on(&device, 5).unwrap();
        let mut told = 0;
        upload.write_at(&mut buffer, 2, &[7, 8], &mut |bytes| told += bytes).unwrap();
        assert!(upload.write_at(&mut buffer, 4, &[7, 8], &mut |_| {}).is_err());
        upload.finish().unwrap();
        assert_eq!((buffer.as_slice(), told), (&[0, 0, 7, 8, 0][..], 8));
    }
}
