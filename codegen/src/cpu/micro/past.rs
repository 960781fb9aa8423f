//! Hints about caches: stores that pass by them, for output that is larger than they are, and early reads.
//!
//! Whole cache lines go straight to memory without being read first. Such stores are not ordered with later ones of the same
//! thread: [`fence`] before the result is handed on.

use super::simd::Simd;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
const LINE_WORDS: usize = LINE_BYTES / 4;

#[inline(always)]
unsafe fn store_past_body<S: Simd>(src: *const u8, dst: *mut u8, n_words: usize) {
    let (src, dst) = (src.cast::<f32>(), dst.cast::<f32>());
    // An address that is no multiple of a word never comes to a line's beginning.
    let head = dst.align_offset(LINE_BYTES).min(n_words);
    std::ptr::copy_nonoverlapping(src.cast::<u8>(), dst.cast::<u8>(), head * 4);
    let mut at = head;
    while at + LINE_WORDS <= n_words {
        for v in 0..LINE_WORDS / S::LANES {
            S::store_past(dst.add(at + v * S::LANES), S::load(src.add(at + v * S::LANES)));
        }
        at += LINE_WORDS;
    }
    let rest = (n_words - at) * 4;
    std::ptr::copy_nonoverlapping(src.add(at).cast::<u8>(), dst.add(at).cast::<u8>(), rest);
}

dispatch! {
    /// Copies `n_words` 4-byte words from the arena to memory, past the caches where whole lines are written.
    ///
    /// # Safety
    /// See the [module](super): `src` and `dst` hold `n_words` words and do not overlap. [`fence`] must follow before another
    /// thread may read them.
    pub unsafe fn store_past(src: *const u8, dst: *mut u8, n_words: usize) => store_past_body
}

/// Orders the stores of [`store_past`] before everything that follows on this thread.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Asks for `bytes` from `src` on to be brought to the second-level cache; they need not be valid.
pub fn prefetch(src: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(LINE_BYTES) {
        prefetch_line(src.wrapping_add(line));
    }
}

/// As [`prefetch`], for the line at `src`.
#[inline(always)]
pub(super) fn prefetch_line(src: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(src.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = src;
}
