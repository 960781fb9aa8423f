//! Views at run time: slots, their arithmetic, and rows read and written with bounds.
#![allow(
    unsafe_code,
    reason = "reads and writes memory that the launch vouches for, within the bounds that views carry"
)]

use super::micro::{self, Isa};
use super::program::{MemAccess, NO_AXIS, Point};
use super::scalar::wrap_int;
use crate::ir::{DType, MAX_RANK};

/// A view in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtView {
    pub ptr: *mut u8,
    pub dims: [i64; MAX_RANK],
    pub strides: [i64; MAX_RANK],
    /// Whether stores pass by the caches.
    pub past_caches: bool,
}

impl RtView {
    pub(crate) const EMPTY: Self =
        Self { ptr: std::ptr::null_mut(), dims: [0; MAX_RANK], strides: [0; MAX_RANK], past_caches: false };

    /// The address of an element, computed in 64 bits; only in-bounds addresses are touched.
    fn at(&self, axis: usize, index: i64, size: usize) -> *mut u8 {
        self.ptr.wrapping_offset((index.wrapping_mul(self.strides[axis]).wrapping_mul(size as i64)) as isize)
    }

    /// The view of one rank less at `index` of `axis`; empty out of bounds.
    pub(crate) fn select(&self, axis: usize, index: i64, size: usize) -> Self {
        let mut out = *self;
        let inside = (0..self.dims[axis]).contains(&index);
        if inside {
            out.ptr = self.at(axis, index, size);
        }
        for i in axis..MAX_RANK - 1 {
            out.dims[i] = self.dims[i + 1];
            out.strides[i] = self.strides[i + 1];
        }
        out.dims[MAX_RANK - 1] = 0;
        if !inside {
            out.dims = [0; MAX_RANK];
        }
        out
    }

    /// The view of elements `start..start + len` of `axis`, clipped to the bounds.
    pub(crate) fn slice(&self, axis: usize, start: i64, len: i64, size: usize) -> Self {
        let mut out = *self;
        let first = start.clamp(0, self.dims[axis]);
        let end = start.saturating_add(len.max(0)).clamp(first, self.dims[axis]);
        out.ptr = self.at(axis, first, size);
        out.dims[axis] = end - first;
        out
    }

    /// The view with its axes rearranged.
    pub(crate) fn permute(&self, perm: &[u8; MAX_RANK]) -> Self {
        let mut out = *self;
        for (i, &p) in perm.iter().enumerate() {
            out.dims[i] = self.dims[p as usize];
            out.strides[i] = self.strides[p as usize];
        }
        out
    }
}

/// A memory access with this instance's numbers: the address of iteration point (0, 0, ...) and the box that is in bounds.
///
/// For an indexed access the axes are the view's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemRun {
    pub base: *mut u8,
    /// In-bounds coordinates per axis.
    pub lo: [i64; MAX_RANK],
    pub hi: [i64; MAX_RANK],
    /// Bytes between neighbours per axis.
    pub stride: [i64; MAX_RANK],
    pub size: i64,
    /// Arena bits that stand for elements out of bounds.
    pub pad: u64,
    /// Whether stores pass by the caches.
    pub past_caches: bool,
}

impl MemRun {
    pub(crate) const EMPTY: Self = Self {
        base: std::ptr::null_mut(),
        lo: [0; MAX_RANK],
        hi: [0; MAX_RANK],
        stride: [0; MAX_RANK],
        size: 1,
        pad: 0,
        past_caches: false,
    };

    /// Whether nothing is in bounds.
    pub(crate) fn is_empty(&self, n_axes: usize) -> bool {
        (0..n_axes).any(|j| self.hi[j] <= self.lo[j])
    }

    pub(crate) const fn address(&self, coords: &[i64; MAX_RANK], n_axes: usize) -> *mut u8 {
        let mut at = 0i64;
        let mut j = 0;
        while j < n_axes {
            at = at.wrapping_add(coords[j].wrapping_mul(self.stride[j]));
            j += 1;
        }
        self.base.wrapping_offset(at as isize)
    }
}

/// Whether arena and memory hold the type alike.
pub(crate) const fn is_verbatim(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::I32 | DType::U32 | DType::I64)
}

/// Resolves `mem` for iteration extents `dims`.
#[inline]
pub(crate) fn prepare(mem: &MemAccess, views: &[RtView], regs: &[u64], dims: &[i64; MAX_RANK]) -> MemRun {
    let v = &views[mem.view as usize];
    let size = mem.dtype.size_bytes() as i64;
    let pad = mem.pad.map_or(0, |r| regs[r as usize]);
    let past_caches = v.past_caches && mem.is_store && is_verbatim(mem.dtype);
    let mut run =
        MemRun { base: v.ptr, lo: [0; MAX_RANK], hi: *dims, stride: [0; MAX_RANK], size, pad, past_caches };
    if mem.is_indexed {
        run.hi = v.dims;
        run.stride = v.strides.map(|s| s * size);
        return run;
    }
    let mut base = 0i64;
    let mut outside = false;
    for i in 0..mem.rank as usize {
        let off = mem.offsets[i].map_or(0, |r| i64::from(regs[r as usize] as i32));
        let stride = v.strides[i].wrapping_mul(size);
        base = base.wrapping_add(off.wrapping_mul(stride));
        let axis = mem.axes[i];
        if axis == NO_AXIS {
            outside |= off < 0 || off >= v.dims[i];
        } else {
            let j = axis as usize;
            run.lo[j] = (-off).max(0);
            run.hi[j] = (v.dims[i] - off).min(dims[j]);
            run.stride[j] = stride;
        }
    }
    if outside {
        run.hi = [0; MAX_RANK];
    }
    run.base = v.ptr.wrapping_offset(base as isize);
    run
}

/// Part of a row: `n` columns from `first` along iteration axis `axis`.
#[derive(Clone, Copy)]
pub(crate) struct Cols {
    pub axis: usize,
    pub first: i64,
    pub n: usize,
}

/// Part of a row whose column 0 is at `row`, in bounds for columns `lo..hi`: reads them to arena elements.
///
/// # Safety
/// The columns in bounds are readable; `dst` has room for all as arena elements.
#[inline]
pub(crate) unsafe fn read_row(
    isa: Isa,
    dtype: DType,
    run: &MemRun,
    row: *const u8,
    cols: Cols,
    dst: *mut u8,
) {
    let Cols { axis, first, n } = cols;
    let end = first + n as i64;
    let lo = run.lo[axis].clamp(first, end);
    let hi = run.hi[axis].clamp(lo, end);
    let element = micro::arena_bytes(dtype);
    let (before, valid) = ((lo - first) as usize, (hi - lo) as usize);
    // SAFETY: the caller vouches for the row; the three parts make up `n` elements of `dst`.
    unsafe {
        if valid > 0 {
            let src = row.wrapping_offset((lo * run.stride[axis]) as isize);
            let to = dst.add(before * element);
            if run.stride[axis] == run.size {
                micro::widen(isa, dtype, src, to, valid);
            } else {
                micro::widen_strided(isa, dtype, src, (run.stride[axis] / run.size) as isize, to, valid);
            }
        }
        if valid < n {
            let pad = (&raw const run.pad).cast::<u8>();
            micro::fill(dtype, dst, pad, before);
            micro::fill(dtype, dst.add((before + valid) * element), pad, n - before - valid);
        }
    }
}

/// As [`read_row`], the other way; columns out of bounds are not written.
///
/// # Safety
/// The columns in bounds are writable; `src` has all as arena elements.
#[inline]
pub(crate) unsafe fn write_row(
    isa: Isa,
    dtype: DType,
    run: &MemRun,
    row: *mut u8,
    cols: Cols,
    src: *const u8,
) {
    let Cols { axis, first, n } = cols;
    let end = first + n as i64;
    let lo = run.lo[axis].clamp(first, end);
    let hi = run.hi[axis].clamp(lo, end);
    if hi == lo {
        return;
    }
    // SAFETY: the caller vouches for the row; columns lo..hi are among the `n` of `src`.
    unsafe {
        let from = src.add((lo - first) as usize * micro::arena_bytes(dtype));
        let dst = row.wrapping_offset((lo * run.stride[axis]) as isize);
        if run.stride[axis] == run.size {
            write_run(isa, dtype, run, from, dst, (hi - lo) as usize);
        } else {
            micro::narrow_strided(
                isa,
                dtype,
                from,
                dst,
                (run.stride[axis] / run.size) as isize,
                (hi - lo) as usize,
            );
        }
    }
}

/// Writes `n` arena elements to memory where they follow one another.
///
/// # Safety
/// `dst` is writable and `src` readable for `n` elements.
#[inline]
pub(crate) unsafe fn write_run(isa: Isa, dtype: DType, run: &MemRun, src: *const u8, dst: *mut u8, n: usize) {
    // SAFETY: the caller vouches for both.
    unsafe {
        if run.past_caches {
            micro::store_past(isa, src, dst, n * (run.size as usize / 4));
        } else {
            micro::narrow(isa, dtype, src, dst, n);
        }
    }
}

/// The address of a point, if it is in bounds and not masked out.
pub(crate) fn point_address(p: &Point, views: &[RtView], regs: &[u64]) -> Option<*mut u8> {
    if p.mask.is_some_and(|m| regs[m as usize] as u32 == 0) {
        return None;
    }
    let v = &views[p.view as usize];
    let mut at = 0i64;
    for i in 0..p.rank as usize {
        let off = i64::from(regs[p.offsets[i] as usize] as i32);
        if off < 0 || off >= v.dims[i] {
            return None;
        }
        at = at.wrapping_add(off.wrapping_mul(v.strides[i]));
    }
    Some(v.ptr.wrapping_offset(at.wrapping_mul(p.dtype.size_bytes() as i64) as isize))
}

/// Reads one element to register form.
///
/// # Safety
/// `src` is readable.
#[inline]
pub(crate) unsafe fn read_element(dtype: DType, src: *const u8) -> u64 {
    // SAFETY: the caller vouches for `src`; addresses need not be aligned.
    unsafe {
        match dtype {
            DType::F32 | DType::I32 | DType::U32 => u64::from(src.cast::<u32>().read_unaligned()),
            DType::I64 => src.cast::<u64>().read_unaligned(),
            DType::BF16 => u64::from(src.cast::<u16>().read_unaligned()) << 16,
            DType::I8 => wrap_int(DType::I8, i64::from(src.cast::<i8>().read())),
            DType::U8 => u64::from(src.read()),
            DType::Bool => u64::from(src.read() != 0),
            DType::F16 | DType::F8E4M3 | DType::F8E5M2 => {
                let mut out = 0u64;
                micro::widen(Isa::Portable, dtype, src, (&raw mut out).cast(), 1);
                out
            }
        }
    }
}

/// Writes one element from register form.
///
/// # Safety
/// `dst` is writable.
#[inline]
pub(crate) unsafe fn write_element(dtype: DType, dst: *mut u8, bits: u64) {
    // SAFETY: the caller vouches for `dst`; addresses need not be aligned.
    unsafe {
        match dtype {
            DType::F32 | DType::I32 | DType::U32 => dst.cast::<u32>().write_unaligned(bits as u32),
            DType::I64 => dst.cast::<u64>().write_unaligned(bits),
            DType::I8 | DType::U8 => dst.write(bits as u8),
            DType::Bool => dst.write(u8::from(bits as u32 != 0)),
            DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
                micro::narrow(Isa::Portable, dtype, (&raw const bits).cast(), dst, 1);
            }
        }
    }
}
