//! Loads and stores of one group that meet in memory.
//!
//! A group interleaves its loads and stores strip by strip, while the language loads whole tiles before it stores. The two
//! agree unless a store touches, at another iteration point, what a load or another store touches. The check is a comparison
//! of byte ranges per pair; when it fails, loads are copied out beforehand and later stores are written back afterwards.
#![allow(unsafe_code, reason = "copies boxes of memory that the launch vouches for")]

use super::memory::{MemRun, RtView};
use super::program::{Group, MemAccess};
use crate::ir::MAX_RANK;

fn n_axes(group: &Group, mem: &MemAccess) -> usize {
    if mem.is_indexed { mem.rank as usize } else { group.outer.len() + 1 }
}

/// First and one past the last byte that a run may touch.
fn range(run: &MemRun, n: usize) -> Option<(usize, usize)> {
    if run.is_empty(n) {
        return None;
    }
    let (mut low, mut high) = (0i64, 0i64);
    for j in 0..n {
        let (a, b) = (run.lo[j].wrapping_mul(run.stride[j]), (run.hi[j] - 1).wrapping_mul(run.stride[j]));
        low += a.min(b);
        high += a.max(b);
    }
    let at = run.base as usize as i64;
    Some(((at + low) as usize, (at + high + run.size) as usize))
}

/// Whether two boxes of one view keep apart along some axis.
fn apart(a: &MemAccess, b: &MemAccess, ra: &MemRun, rb: &MemRun, views: &[RtView], regs: &[u64]) -> bool {
    if a.view != b.view || a.is_indexed || b.is_indexed {
        return false;
    }
    let v = &views[a.view as usize];
    // Only where distinct coordinates are distinct addresses.
    let mut inner = 0i64;
    for i in (0..a.rank as usize).rev() {
        if v.dims[i] > 1 && v.strides[i] <= inner {
            return false;
        }
        inner += (v.dims[i] - 1).max(0) * v.strides[i];
    }
    let span = |m: &MemAccess, run: &MemRun, i: usize| {
        let off = m.offsets[i].map_or(0, |r| i64::from(regs[r as usize] as i32));
        match m.axes[i] {
            super::program::NO_AXIS => (off, off + 1),
            j => (off + run.lo[j as usize], off + run.hi[j as usize]),
        }
    };
    (0..a.rank as usize).any(|i| {
        let ((a0, a1), (b0, b1)) = (span(a, ra, i), span(b, rb, i));
        a1 <= b0 || b1 <= a0
    })
}

/// Whether each iteration point touches the same element through both.
fn same_elements(a: &MemAccess, b: &MemAccess, ra: &MemRun, rb: &MemRun, group: &Group) -> bool {
    let n = group.outer.len() + 1;
    !a.is_indexed
        && !b.is_indexed
        && ra.base == rb.base
        && ra.size == rb.size
        && (0..n).all(|j| {
            let extent = group.outer.get(j).copied().unwrap_or(group.cols);
            extent == 1 || (ra.stride[j] == rb.stride[j] && ra.stride[j] != 0)
        })
}

/// Whether some store of the group interferes with another access.
pub(crate) fn meets(group: &Group, runs: &[MemRun], views: &[RtView], regs: &[u64]) -> bool {
    for (i, a) in group.mems.iter().enumerate() {
        if !a.is_store {
            continue;
        }
        let Some((a0, a1)) = range(&runs[i], n_axes(group, a)) else { continue };
        for (j, b) in group.mems.iter().enumerate() {
            if i == j || (b.is_store && j < i) {
                continue;
            }
            let Some((b0, b1)) = range(&runs[j], n_axes(group, b)) else { continue };
            if a1 <= b0 || b1 <= a0 {
                continue;
            }
            if !same_elements(a, b, &runs[i], &runs[j], group)
                && !apart(a, b, &runs[i], &runs[j], views, regs)
            {
                return true;
            }
        }
    }
    false
}

/// Copies that stand in for memory while a group runs.
pub(crate) struct Shadows {
    /// Keeps the copies alive.
    boxes: Vec<Vec<u8>>,
    /// Stores to write back, in order: the real run, the copy's run, axes.
    stores: Vec<(MemRun, MemRun, usize)>,
}

/// Replaces every load by a copy of what it may read, and every store but an indexed one by a copy to be written back.
///
/// # Safety
/// The boxes of the runs are readable, those of stores writable.
pub(crate) unsafe fn shadow(group: &Group, runs: &mut [MemRun]) -> Shadows {
    let mut out = Shadows { boxes: Vec::new(), stores: Vec::new() };
    for (mem, run) in group.mems.iter().zip(runs.iter_mut()) {
        let n = n_axes(group, mem);
        if run.is_empty(n) || (mem.is_store && mem.is_indexed) {
            continue;
        }
        let mut copy = MemRun { past_caches: false, ..*run };
        let mut step = run.size;
        for j in (0..n).rev() {
            copy.stride[j] = step;
            step *= run.hi[j] - run.lo[j];
        }
        let mut bytes = vec![0u8; step as usize];
        let mut skip = 0i64;
        for j in 0..n {
            skip += run.lo[j] * copy.stride[j];
        }
        copy.base = bytes.as_mut_ptr().wrapping_offset(-(skip as isize));
        if mem.is_store {
            out.stores.push((*run, copy, n));
        } else {
            // SAFETY: both boxes are valid.
            unsafe { copy_box(run, &copy, n) };
        }
        out.boxes.push(bytes);
        *run = copy;
    }
    out
}

impl Shadows {
    /// Writes the stores back.
    ///
    /// # Safety
    /// The boxes that the shadows stand for are still writable.
    pub(crate) unsafe fn write_back(self) {
        for (run, copy, n) in &self.stores {
            // SAFETY: the caller vouches for the boxes.
            unsafe { copy_box(copy, run, *n) };
        }
        drop(self.boxes);
    }
}

/// Copies every in-bounds element of `from` to `to`, in runs of elements that are neighbours on both sides.
unsafe fn copy_box(from: &MemRun, to: &MemRun, n: usize) {
    // Axes `dense..n` are one run: each steps over all of the axes behind it.
    let (mut dense, mut bytes) = (n, from.size);
    while dense > 0 && from.stride[dense - 1] == bytes && to.stride[dense - 1] == bytes {
        dense -= 1;
        bytes *= from.hi[dense] - from.lo[dense];
    }
    let mut at: [i64; MAX_RANK] = from.lo;
    loop {
        // SAFETY: the coordinates are within the box of both, and so are the elements of the run that starts there.
        unsafe {
            std::ptr::copy_nonoverlapping(from.address(&at, n), to.address(&at, n), bytes as usize);
        }
        let mut j = dense;
        loop {
            if j == 0 {
                return;
            }
            j -= 1;
            at[j] += 1;
            if at[j] < from.hi[j] {
                break;
            }
            at[j] = from.lo[j];
        }
    }
}
