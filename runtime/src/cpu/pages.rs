//! Zeroed memory of many megabytes, on huge pages where the system has them.
//!
//! Weights and caches are read end to end once per token: with 4 KiB pages the walk of the page tables costs a few percent of the
//! memory's rate, more in a virtual machine, where each step of the walk is itself translated. Memory comes from the system
//! untouched, so pages that nobody writes cost nothing.

use memmap2::MmapMut;

/// Bytes of a huge page.
const HUGE_BYTES: usize = 2 << 20;

/// From this many bytes on memory is worth a mapping of its own.
pub(crate) const WORTH_BYTES: usize = 2 * HUGE_BYTES;

/// A private mapping of zeros.
pub(crate) struct Pages {
    map: MmapMut,
    /// First byte at a multiple of the huge page size.
    start: usize,
}

impl Pages {
    /// `bytes` zeros; `None` when the system refuses.
    pub(crate) fn zeroed(bytes: usize) -> Option<Self> {
        let map = MmapMut::map_anon(bytes.checked_add(HUGE_BYTES)?).ok()?;
        // A system without huge pages says so, and its small ones serve as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_ptr().align_offset(HUGE_BYTES).min(HUGE_BYTES);
        Some(Self { map, start })
    }

    /// The first byte.
    pub(crate) fn start(&mut self) -> *mut u8 {
        self.map[self.start..].as_mut_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_start_aligned_and_zero() {
        let bytes = WORTH_BYTES + 3;
        let mut pages = Pages::zeroed(bytes).expect("a few megabytes should be there");
        let start = pages.start();
        assert!(start.addr().is_multiple_of(HUGE_BYTES));
        assert!(pages.map.len() - pages.start >= bytes);
        assert!(pages.map[pages.start..].iter().step_by(4093).all(|&byte| byte == 0));
    }
}
