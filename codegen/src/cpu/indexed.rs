//! Gather and scatter over a strip: element by element, with one copy per row where a row's elements are neighbours in memory.
#![allow(unsafe_code, reason = "index tiles choose addresses; each is checked against the view's bounds")]

use super::memory::{MemRun, read_element, write_element};
use super::micro;
use super::program::Operand;
use super::strip_run::{Cx, Strip};
use crate::ir::MAX_RANK;

/// The i32 elements of an operand: address and step.
#[derive(Clone, Copy)]
struct Ints {
    at: *const i32,
    step: usize,
}

impl Ints {
    unsafe fn get(self, i: usize) -> i32 {
        // SAFETY: `i` is within the strip; a repeated element has step 0.
        unsafe { *self.at.add(i * self.step) }
    }
}

unsafe fn ints(cx: &Cx<'_>, o: Operand) -> Ints {
    // SAFETY: operands are slots and registers of the group.
    unsafe {
        match cx.arg(o) {
            micro::Arg::Row(p) => Ints { at: p.cast(), step: 1 },
            micro::Arg::Splat(p) => Ints { at: p.cast(), step: 0 },
        }
    }
}

/// The indices of a strip, one set of integers per view axis.
struct Indices {
    axes: [Ints; MAX_RANK],
    rank: usize,
    mask: Option<Ints>,
}

impl Indices {
    unsafe fn new(cx: &Cx<'_>, indices: &[Operand], mask: Option<Operand>) -> Self {
        let mut axes = [Ints { at: std::ptr::null(), step: 0 }; MAX_RANK];
        for (slot, &o) in axes.iter_mut().zip(indices) {
            // SAFETY: as for the whole module.
            *slot = unsafe { ints(cx, o) };
        }
        // SAFETY: as for the whole module.
        Self { axes, rank: indices.len(), mask: mask.map(|m| unsafe { ints(cx, m) }) }
    }

    /// The address of element `i`, if it is in bounds and not masked out.
    unsafe fn address(&self, run: &MemRun, i: usize) -> Option<*mut u8> {
        // SAFETY: `i` is within the strip.
        unsafe {
            if self.mask.is_some_and(|m| m.get(i) == 0) {
                return None;
            }
            let mut at = 0i64;
            for (j, x) in self.axes[..self.rank].iter().enumerate() {
                let index = i64::from(x.get(i));
                if index < 0 || index >= run.hi[j] {
                    return None;
                }
                at = at.wrapping_add(index.wrapping_mul(run.stride[j]));
            }
            Some(run.base.wrapping_offset(at as isize))
        }
    }

    /// The address of element `first` when `n` elements from there are neighbours in memory, all in bounds.
    unsafe fn run_of(&self, run: &MemRun, first: usize, n: usize) -> Option<*mut u8> {
        let last = self.rank - 1;
        if self.mask.is_some() || run.stride[last] != run.size || n < 4 {
            return None;
        }
        // SAFETY: elements first..first + n are within the strip.
        unsafe {
            for (j, x) in self.axes[..self.rank].iter().enumerate() {
                let start = x.get(first);
                let step = i32::from(j == last);
                let mut uneven = 0i32;
                for i in 0..n {
                    uneven |= x.get(first + i) ^ start.wrapping_add(step.wrapping_mul(i as i32));
                }
                if uneven != 0 {
                    return None;
                }
            }
            self.address(run, first + n - 1)?;
            self.address(run, first)
        }
    }
}

/// Reads `view[indices]`.
///
/// # Safety
/// The strip belongs to the group of `cx`, and the view is valid.
pub(crate) unsafe fn gather(
    cx: &Cx<'_>,
    strip: &Strip,
    dst: u32,
    mem: u32,
    indices: &[Operand],
    mask: Option<Operand>,
) {
    // SAFETY: every address is checked against the view's bounds.
    unsafe {
        let run = &*cx.runs.add(mem as usize);
        let dtype = cx.group.mems[mem as usize].dtype;
        let size = micro::arena_bytes(dtype);
        let at = Indices::new(cx, indices, mask);
        let out = cx.ptr(dst);
        let n = strip.n_cols as usize;
        for r in 0..strip.n_rows as usize {
            if let Some(src) = at.run_of(run, r * n, n) {
                micro::widen(cx.isa, dtype, src, out.add(r * n * size), n);
                continue;
            }
            for i in r * n..(r + 1) * n {
                let bits = at.address(run, i).map_or(run.pad, |p| read_element(dtype, p));
                if size == 8 {
                    out.cast::<u64>().add(i).write(bits);
                } else {
                    out.cast::<u32>().add(i).write(bits as u32);
                }
            }
        }
    }
}

/// Writes `view[indices] = a`.
///
/// # Safety
/// As for [`gather`]; the view is mutable.
pub(crate) unsafe fn scatter(
    cx: &Cx<'_>,
    strip: &Strip,
    mem: u32,
    indices: &[Operand],
    mask: Option<Operand>,
    a: Operand,
) {
    // SAFETY: every address is checked against the view's bounds.
    unsafe {
        let run = &*cx.runs.add(mem as usize);
        let dtype = cx.group.mems[mem as usize].dtype;
        let size = micro::arena_bytes(dtype);
        let at = Indices::new(cx, indices, mask);
        let (src, step) = match cx.arg(a) {
            micro::Arg::Row(p) => (p, size),
            micro::Arg::Splat(p) => (p, 0),
        };
        let n = strip.n_cols as usize;
        for r in 0..strip.n_rows as usize {
            if step != 0
                && let Some(dst) = at.run_of(run, r * n, n)
            {
                micro::narrow(cx.isa, dtype, src.add(r * n * size), dst, n);
                continue;
            }
            for i in r * n..(r + 1) * n {
                if let Some(dst) = at.address(run, i) {
                    let from = src.add(i * step);
                    let bits = if size == 8 { *from.cast::<u64>() } else { u64::from(*from.cast::<u32>()) };
                    write_element(dtype, dst, bits);
                }
            }
        }
    }
}
