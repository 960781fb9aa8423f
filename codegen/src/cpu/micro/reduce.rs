//! Reductions of a contiguous `[outer, axis, inner]` tile along its middle axis.
//!
//! A contiguous row is reduced in 64 virtual lanes (element i goes to lane i % 64) that are then folded in halves, on every
//! instruction set: the order, and so the bits of a sum, depend on the length only. Outer rows (`inner > 1`) are reduced one after
//! another with the accumulators of a column block in registers.

use super::elem::round_one;
use super::simd::{Fold, FoldMax, FoldMin, FoldSum, MAX_LANES, Simd};
use super::strips::Arg;
use super::strips_int::{binary_i64, binary_words};
use crate::ir::ops::{ArgOp, BinaryOp, ReduceOp};
use crate::ir::types::DType;

/// Lanes that a row is reduced in.
pub(super) const VIRTUAL_LANES: usize = 64;
/// The most vectors that the virtual lanes take.
pub(super) const MAX_PARTS: usize = 8;

/// One contiguous row.
#[inline(always)]
unsafe fn fold_row<S: Simd, R: Fold>(src: *const f32, n: usize) -> f32 {
    let mut parts = [S::splat(R::START); MAX_PARTS];
    let used = VIRTUAL_LANES / S::LANES;
    let mut i = 0;
    while i + VIRTUAL_LANES <= n {
        for (j, part) in parts.iter_mut().enumerate().take(used) {
            *part = R::join::<S>(*part, S::load(src.add(i + j * S::LANES)));
        }
        i += VIRTUAL_LANES;
    }
    let folded = fold_rest::<S, R>(parts, src, i, n);
    if R::START != 0.0 && folded == R::START && (0..n).all(|i| (*src.add(i)).is_nan()) {
        return f32::NAN;
    }
    folded
}

/// The end of a row from element `i` on, fewer than the virtual lanes are, and then the lanes.
#[inline(always)]
pub(super) unsafe fn fold_rest<S: Simd, R: Fold>(
    mut parts: [S::F; MAX_PARTS],
    src: *const f32,
    mut i: usize,
    n: usize,
) -> f32 {
    let used = VIRTUAL_LANES / S::LANES;
    for part in parts.iter_mut().take(used) {
        let rest = (n - i).min(S::LANES);
        if rest == S::LANES {
            *part = R::join::<S>(*part, S::load(src.add(i)));
        } else if rest > 0 {
            let mut buffer = [R::START; MAX_LANES];
            std::ptr::copy_nonoverlapping(src.add(i).cast::<u8>(), buffer.as_mut_ptr().cast(), rest * 4);
            *part = R::join::<S>(*part, S::load(buffer.as_ptr()));
        }
        i += rest;
    }
    let mut half = used / 2;
    while half > 0 {
        for j in 0..half {
            parts[j] = R::two::<S>(parts[j], parts[j + half]);
        }
        half /= 2;
    }
    S::fold::<R>(parts[0])
}

/// `V` vectors side by side, down `axis` rows that are `inner` apart; `last` lanes of the last vector count.
#[inline(always)]
unsafe fn fold_columns<S: Simd, R: Fold, const V: usize>(
    dst: *mut f32,
    src: *const f32,
    axis: usize,
    inner: usize,
    last: usize,
) {
    let load = |p: *const f32, v: usize| {
        let p = p.add(v * S::LANES);
        if v + 1 < V || last == S::LANES { S::load(p) } else { S::load_n(p, last) }
    };
    let mut acc = [S::splat(0.0); V];
    for (v, a) in acc.iter_mut().enumerate() {
        *a = load(src, v);
    }
    for r in 1..axis {
        for (v, a) in acc.iter_mut().enumerate() {
            *a = R::two::<S>(*a, load(src.add(r * inner), v));
        }
    }
    for (v, a) in acc.iter().enumerate() {
        let p = dst.add(v * S::LANES);
        if v + 1 < V || last == S::LANES { S::store(p, *a) } else { S::store_n(p, *a, last) }
    }
}

#[inline(always)]
unsafe fn reduce_floats<S: Simd, R: Fold>(
    dst: *mut f32,
    src: *const f32,
    outer: usize,
    axis: usize,
    inner: usize,
) {
    for o in 0..outer {
        if inner == 1 {
            *dst.add(o) = fold_row::<S, R>(src.add(o * axis), axis);
            continue;
        }
        let (dst, src) = (dst.add(o * inner), src.add(o * axis * inner));
        let mut j = 0;
        while j + 4 * S::LANES <= inner {
            fold_columns::<S, R, 4>(dst.add(j), src.add(j), axis, inner, S::LANES);
            j += 4 * S::LANES;
        }
        while j < inner {
            let last = (inner - j).min(S::LANES);
            fold_columns::<S, R, 1>(dst.add(j), src.add(j), axis, inner, last);
            j += last;
        }
    }
}

/// Contiguous integer rows.
#[inline(always)]
unsafe fn fold_ints<T: Copy>(dst: *mut T, src: *const T, outer: usize, axis: usize, f: impl Fn(T, T) -> T) {
    for o in 0..outer {
        let row = src.add(o * axis);
        let mut acc = row.read_unaligned();
        for i in 1..axis {
            acc = f(acc, row.add(i).read_unaligned());
        }
        dst.add(o).write_unaligned(acc);
    }
}

#[inline(always)]
unsafe fn reduce_int_rows(
    op: ReduceOp,
    dtype: DType,
    dst: *mut u8,
    src: *const u8,
    outer: usize,
    axis: usize,
) {
    let (d32, s32) = (dst.cast::<i32>(), src.cast::<i32>());
    let (d64, s64) = (dst.cast::<i64>(), src.cast::<i64>());
    match (op, dtype) {
        (ReduceOp::Sum, DType::I64) => fold_ints(d64, s64, outer, axis, |x: i64, y| x.wrapping_add(y)),
        (ReduceOp::Max, DType::I64) => fold_ints(d64, s64, outer, axis, |x: i64, y| x.max(y)),
        (ReduceOp::Min, DType::I64) => fold_ints(d64, s64, outer, axis, |x: i64, y| x.min(y)),
        (ReduceOp::Max, DType::U32) => fold_ints(dst.cast(), src.cast(), outer, axis, |x: u32, y| x.max(y)),
        (ReduceOp::Min, DType::U32) => fold_ints(dst.cast(), src.cast(), outer, axis, |x: u32, y| x.min(y)),
        (ReduceOp::Sum, _) => {
            fold_ints(d32, s32, outer, axis, |x: i32, y| x.wrapping_add(y));
            for o in 0..outer {
                let sum = d32.add(o).read_unaligned();
                let wrapped = match dtype {
                    DType::I8 => i32::from(sum as i8),
                    DType::U8 => sum & 0xff,
                    DType::I32 | DType::U32 | DType::I64 | DType::Bool => sum,
                    DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => sum,
                };
                d32.add(o).write_unaligned(wrapped);
            }
        }
        (ReduceOp::Max, _) => fold_ints(d32, s32, outer, axis, |x: i32, y| x.max(y)),
        (ReduceOp::Min, _) => fold_ints(d32, s32, outer, axis, |x: i32, y| x.min(y)),
    }
}

/// Integer columns: the first row, then one elementwise strip per further row.
#[inline(always)]
unsafe fn reduce_int_columns(
    op: ReduceOp,
    dtype: DType,
    dst: *mut u8,
    src: *const u8,
    outer: usize,
    axis: usize,
    inner: usize,
) {
    let op = match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    let row_bytes = inner * super::arena_bytes(dtype);
    for o in 0..outer {
        let (dst, src) = (dst.add(o * row_bytes), src.add(o * axis * row_bytes));
        std::ptr::copy_nonoverlapping(src, dst, row_bytes);
        for r in 1..axis {
            let (acc, row) = (Arg::Row(dst.cast_const()), Arg::Row(src.add(r * row_bytes)));
            if dtype == DType::I64 {
                binary_i64(op, dst, acc, row, inner);
            } else {
                binary_words(op, dtype, dst, acc, row, inner);
            }
        }
    }
}

#[inline(always)]
unsafe fn reduce_body<S: Simd>(
    op: ReduceOp,
    dtype: DType,
    dst: *mut u8,
    src: *const u8,
    outer: usize,
    axis: usize,
    inner: usize,
) {
    if !dtype.is_float() {
        if inner == 1 {
            reduce_int_rows(op, dtype, dst, src, outer, axis);
        } else {
            reduce_int_columns(op, dtype, dst, src, outer, axis, inner);
        }
        return;
    }
    let (out, src) = (dst.cast::<f32>(), src.cast::<f32>());
    match op {
        ReduceOp::Sum => reduce_floats::<S, FoldSum>(out, src, outer, axis, inner),
        ReduceOp::Max => reduce_floats::<S, FoldMax>(out, src, outer, axis, inner),
        ReduceOp::Min => reduce_floats::<S, FoldMin>(out, src, outer, axis, inner),
    }
    if op == ReduceOp::Sum && dtype != DType::F32 {
        for i in 0..outer * inner {
            *out.add(i) = round_one(dtype, *out.add(i));
        }
    }
}

/// Position of the first element of a row that `better` never beats.
#[inline(always)]
unsafe fn arg_strided<T: Copy>(
    row: *const T,
    axis: usize,
    stride: usize,
    better: impl Fn(T, T) -> bool,
) -> i32 {
    let mut best = row.read_unaligned();
    let mut at = 0;
    for i in 1..axis {
        let x = row.add(i * stride).read_unaligned();
        if better(x, best) {
            best = x;
            at = i as i32;
        }
    }
    at
}

/// Position of the first lane equal to the extreme of a contiguous row; 0 when all elements are NaN.
#[inline(always)]
unsafe fn arg_row<S: Simd, R: Fold>(row: *const f32, n: usize) -> i32 {
    let extreme = fold_row::<S, R>(row, n);
    let wanted = S::splat(extreme);
    let mut i = 0;
    while i + S::LANES <= n && !S::any(S::eq(S::load(row.add(i)), wanted)) {
        i += S::LANES;
    }
    while i < n {
        if row.add(i).read_unaligned() == extreme {
            return i as i32;
        }
        i += 1;
    }
    0
}

#[inline(always)]
unsafe fn arg_reduce_body<S: Simd>(
    op: ArgOp,
    dtype: DType,
    dst: *mut i32,
    src: *const u8,
    outer: usize,
    axis: usize,
    inner: usize,
) {
    let float = dtype.is_float();
    for o in 0..outer {
        for j in 0..inner {
            let first = o * axis * inner + j;
            let row = src.cast::<i32>().add(first);
            let at = match op {
                ArgOp::ArgMax if float && inner == 1 => arg_row::<S, FoldMax>(row.cast(), axis),
                ArgOp::ArgMin if float && inner == 1 => arg_row::<S, FoldMin>(row.cast(), axis),
                ArgOp::ArgMax if float => arg_strided(row.cast::<f32>(), axis, inner, |x, best| {
                    x > best || (best.is_nan() && !x.is_nan())
                }),
                ArgOp::ArgMin if float => arg_strided(row.cast::<f32>(), axis, inner, |x, best| {
                    x < best || (best.is_nan() && !x.is_nan())
                }),
                ArgOp::ArgMax if dtype == DType::I64 => {
                    arg_strided(src.cast::<i64>().add(first), axis, inner, |x, best| x > best)
                }
                ArgOp::ArgMin if dtype == DType::I64 => {
                    arg_strided(src.cast::<i64>().add(first), axis, inner, |x, best| x < best)
                }
                ArgOp::ArgMax if dtype == DType::U32 => {
                    arg_strided(row.cast::<u32>(), axis, inner, |x, best| x > best)
                }
                ArgOp::ArgMin if dtype == DType::U32 => {
                    arg_strided(row.cast::<u32>(), axis, inner, |x, best| x < best)
                }
                ArgOp::ArgMax => arg_strided(row, axis, inner, |x, best| x > best),
                ArgOp::ArgMin => arg_strided(row, axis, inner, |x, best| x < best),
            };
            dst.add(o * inner + j).write_unaligned(at);
        }
    }
}

dispatch! {
    /// Reduces `[outer, axis, inner]` to `[outer, inner]`: sums in f32 rounded once at the end for narrow floats, wrapping for
    /// integers; maxima and minima skip NaN unless all are NaN. `axis >= 1`.
    ///
    /// # Safety
    /// See the [module](super): `src` holds `outer * axis * inner` arena elements, `dst` `outer * inner`; they do not overlap.
    pub unsafe fn reduce(op: ReduceOp, dtype: DType, dst: *mut u8, src: *const u8, outer: usize, axis: usize, inner: usize)
        => reduce_body
}
dispatch! {
    /// Positions along the middle axis of `[outer, axis, inner]` as i32: the first on a tie, NaN skipped, 0 if all are NaN.
    ///
    /// # Safety
    /// See the [module](super): `src` holds `outer * axis * inner` arena elements, `dst` `outer * inner` i32; no overlap.
    pub unsafe fn arg_reduce(op: ArgOp, dtype: DType, dst: *mut i32, src: *const u8, outer: usize, axis: usize, inner: usize)
        => arg_reduce_body
}
