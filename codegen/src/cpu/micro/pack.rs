//! Strided loads of two-dimensional operands: into row-major tiles, and into the panels the dot reads.
//!
//! Contiguous rows are widened as they are. Contiguous columns (a transposed operand) are widened into square register blocks and
//! transposed there, so memory is still read along its contiguous axis. Anything else goes element by element.

use super::Isa;
use super::elem::{Elem, with_elem};
use super::simd::{MAX_LANES, Simd};
use crate::ir::types::DType;

/// Contiguous rows.
#[inline(always)]
unsafe fn load_rows<S: Simd, E: Elem>(
    src: *const u8,
    row_stride: isize,
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_stride: usize,
) {
    for r in 0..rows {
        let from = src.offset(r as isize * row_stride * E::BYTES as isize);
        let to = dst.add(r * dst_stride);
        let mut c = 0;
        while c + S::LANES <= cols {
            S::store(to.add(c), E::load::<S>(from.add(c * E::BYTES)));
            c += S::LANES;
        }
        if c < cols {
            S::store_n(to.add(c), E::load_n::<S>(from.add(c * E::BYTES), cols - c), cols - c);
        }
    }
}

/// Contiguous columns, by square blocks.
#[inline(always)]
unsafe fn load_columns<S: Simd, E: Elem>(
    src: *const u8,
    col_stride: isize,
    rows: usize,
    cols: usize,
    dst: *mut f32,
    dst_stride: usize,
) {
    let mut r = 0;
    while r < rows {
        let high = (rows - r).min(S::LANES);
        let mut c = 0;
        while c < cols {
            let wide = (cols - c).min(S::LANES);
            let from = src.add(r * E::BYTES).offset(c as isize * col_stride * E::BYTES as isize);
            let column = |i: usize| from.offset(i as isize * col_stride * E::BYTES as isize);
            let mut square = [S::splat(0.0); MAX_LANES];
            if high == S::LANES && wide == S::LANES {
                for (i, v) in square.iter_mut().enumerate().take(S::LANES) {
                    *v = E::load::<S>(column(i));
                }
                S::transpose(&mut square);
                for (i, v) in square.iter().enumerate().take(S::LANES) {
                    S::store(dst.add((r + i) * dst_stride + c), *v);
                }
            } else {
                for (i, v) in square.iter_mut().enumerate().take(wide) {
                    *v = if high == S::LANES {
                        E::load::<S>(column(i))
                    } else {
                        E::load_n::<S>(column(i), high)
                    };
                }
                S::transpose(&mut square);
                for (i, v) in square.iter().enumerate().take(high) {
                    let to = dst.add((r + i) * dst_stride + c);
                    if wide == S::LANES { S::store(to, *v) } else { S::store_n(to, *v, wide) }
                }
            }
            c += wide;
        }
        r += high;
    }
}

/// A `[rows, cols]` tile of which `[rows_valid, cols_valid]` comes from memory.
#[inline(always)]
unsafe fn tile<S: Simd, E: Elem>(
    src: *const u8,
    row_stride: isize,
    col_stride: isize,
    rows_valid: usize,
    cols_valid: usize,
    rows: usize,
    cols: usize,
    pad: u32,
    dst: *mut f32,
    dst_stride: usize,
) {
    let (high, wide) = (rows_valid.min(rows), cols_valid.min(cols));
    if col_stride == 1 || wide <= 1 {
        load_rows::<S, E>(src, row_stride, high, wide, dst, dst_stride);
    } else if row_stride == 1 || high <= 1 {
        load_columns::<S, E>(src, col_stride, high, wide, dst, dst_stride);
    } else {
        for r in 0..high {
            for c in 0..wide {
                let at = (r as isize * row_stride + c as isize * col_stride) * E::BYTES as isize;
                *dst.add(r * dst_stride + c) = E::one(src.offset(at));
            }
        }
    }
    for r in 0..rows {
        let from = if r < high { wide } else { 0 };
        for c in from..cols {
            *dst.add(r * dst_stride + c).cast::<u32>() = pad;
        }
    }
}

#[inline(always)]
unsafe fn pack_a_body<S: Simd>(
    dtype: DType,
    src: *const u8,
    row_stride: isize,
    col_stride: isize,
    rows_valid: usize,
    cols_valid: usize,
    rows: usize,
    cols: usize,
    pad: u32,
    dst: *mut f32,
    dst_stride: usize,
) {
    with_elem!(
        dtype,
        E => tile::<S, E>(src, row_stride, col_stride, rows_valid, cols_valid, rows, cols, pad, dst, dst_stride),
        i64 => unreachable!("an i64 tile should not be packed: it has no 4-byte arena form")
    );
}

/// Elements [`pack_b`] writes for a `[k, n]` operand.
#[must_use]
pub const fn packed_len(isa: Isa, k: usize, n: usize) -> usize {
    k * n.next_multiple_of(isa.panel_width())
}

dispatch! {
    /// Loads a `[rows, cols]` tile of any type but i64 from strided memory into row-major arena elements `dst_stride` apart;
    /// outside the leading `[rows_valid, cols_valid]` it is `pad` (the bits of an arena element). With type f32 and strides of
    /// choice it also permutes any 4-byte arena tile.
    ///
    /// # Safety
    /// See the [module](super): `src` is valid at `r * row_stride + c * col_stride` inside the valid box, `dst` for `rows` rows of
    /// `cols` elements, aligned to 4 bytes; they do not overlap.
    pub unsafe fn pack_a(dtype: DType, src: *const u8, row_stride: isize, col_stride: isize, rows_valid: usize,
        cols_valid: usize, rows: usize, cols: usize, pad: u32, dst: *mut f32, dst_stride: usize) => pack_a_body
}
/// Loads a `[k, n]` operand as [`pack_a`] does, into panels of [`Isa::panel_width`] columns: `[n / NR][k][NR]`, the columns from
/// `n` up zero. [`packed_len`] elements are written.
///
/// # Safety
/// As for [`pack_a`], `dst` holding [`packed_len`] elements.
pub unsafe fn pack_b(
    isa: Isa,
    dtype: DType,
    src: *const u8,
    row_stride: isize,
    col_stride: isize,
    k_valid: usize,
    n_valid: usize,
    k: usize,
    n: usize,
    pad: u32,
    dst: *mut f32,
) {
    let width = isa.panel_width();
    let (mut j, mut to) = (0, dst);
    while j < n {
        let cols = (n - j).min(width);
        let from = src.wrapping_offset(j as isize * col_stride * dtype.size_bytes() as isize);
        let valid = n_valid.saturating_sub(j);
        pack_a(isa, dtype, from, row_stride, col_stride, k_valid, valid, k, cols, pad, to, width);
        if cols < width {
            for kk in 0..k {
                std::ptr::write_bytes(to.add(kk * width + cols), 0, width - cols);
            }
        }
        j += cols;
        to = to.wrapping_add(k * width);
    }
}
