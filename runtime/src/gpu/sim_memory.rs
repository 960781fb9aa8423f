//! Memory of a simulated GPU: on the host, but reached by copies and launches only, as that of a real one.
//!
//! Invariant: no reference to these bytes ever exists. Copies and launches go through raw pointers, one at a time under the
//! lock of the device's machine, so a graph may replay launches over memory whose buffers are borrowed or gone. What a graph
//! may use lives as long as the graph does.

#![allow(unsafe_code, reason = "owns raw memory that launches address directly")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::RuntimeError;

/// Alignment of a piece, as that of a GPU's allocator.
const ALIGN_BYTES: usize = 256;

/// A piece of memory, given back when the last buffer or graph that has it is gone.
pub(crate) struct SimMemory {
    ptr: NonNull<u8>,
    layout: Layout,
    len_bytes: usize,
}

// SAFETY: it owns its memory, and the lock of the machine orders all accesses.
unsafe impl Send for SimMemory {}
// SAFETY: as above.
unsafe impl Sync for SimMemory {}

impl SimMemory {
    fn zeros(len_bytes: usize) -> Result<Self, RuntimeError> {
        let layout = Layout::from_size_align(len_bytes.max(1), ALIGN_BYTES)
            .map_err(|_| RuntimeError::OutOfMemory { bytes: len_bytes })?;
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(raw) else { handle_alloc_error(layout) };
        Ok(Self { ptr, layout, len_bytes })
    }

    /// Its first byte.
    pub(crate) const fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    fn start(&self) -> usize {
        self.ptr.as_ptr().expose_provenance()
    }
}

impl Drop for SimMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeros` with this layout.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) };
    }
}

/// All living pieces of a device, by address.
#[derive(Default)]
pub(crate) struct SimHeap(Mutex<BTreeMap<usize, Weak<SimMemory>>>);

impl SimHeap {
    /// A piece of zeros.
    pub(crate) fn allocate(&self, len_bytes: usize) -> Result<Arc<SimMemory>, RuntimeError> {
        let memory = Arc::new(SimMemory::zeros(len_bytes)?);
        let mut living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        living.retain(|_, piece| piece.strong_count() > 0);
        living.insert(memory.start(), Arc::downgrade(&memory));
        Ok(memory)
    }

    /// The piece that has all bytes of `start..end`.
    pub(crate) fn find(&self, start: usize, end: usize) -> Option<Arc<SimMemory>> {
        let living = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, piece) = living.range(..=start).next_back()?;
        piece.upgrade().filter(|piece| end <= piece.start() + piece.len_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_by_any_of_their_bytes_while_they_live() {
        let heap = SimHeap::default();
        let (a, b) = (heap.allocate(100).unwrap(), heap.allocate(0).unwrap());
        let start = a.start();
        assert!(heap.find(start + 40, start + 100).is_some_and(|found| Arc::ptr_eq(&found, &a)));
        assert!(heap.find(start + 40, start + 101).is_none(), "one byte too far");
        assert!(heap.find(start - 1, start + 1).is_none(), "one byte before");
        drop(a);
        assert!(heap.find(start, start + 1).is_none(), "it is gone");
        drop(b);
        assert!(heap.allocate(usize::MAX).is_err());
    }
}
