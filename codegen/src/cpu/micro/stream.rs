//! Streaming dots for few rows of activations: the weights pass once from DRAM to registers, several rows at a time.
//!
//! Long rows are walked one after the other, so that a core reads one linear stream with a prefetch well ahead: that reaches the
//! memory's rate, while 8 interleaved rows stay a fifth below it (the hardware follows few streams, and restarts each at every
//! page). Short rows are in the cache or linear anyway, and are taken 8 at a time to share the loads of x. Weights are widened
//! in registers, by the plain shift for bf16. Each result's order of summation depends on the length of the rows only: the
//! number of rows of x or of weights changes no bit.

use super::elem::{Bf16, Elem, F8e4m3, F8e5m2, F16, I8Float, U8Float, Word};
use super::simd::{FoldSum, Simd};
use crate::ir::types::DType;

/// Bytes between the element in use and the one asked for, in each of several streams.
const AHEAD: usize = 1024;
/// The same in a single stream.
const AHEAD_LINEAR: usize = 8192;
/// Bytes from which on a row of weights is walked by itself.
const LONG_ROW: usize = 1024;
/// Chains of sums along a long row: the latency of a multiply-add over its throughput, halved, which memory does not outrun.
const CHAINS: usize = 4;
/// Bytes of a cache line.
const LINE: usize = 64;

/// Runs `$body` with `$e` standing for the weight type.
macro_rules! with_weight {
    ($dtype:expr, $e:ident => $body:expr) => {{
        macro_rules! run {
            ($ty:ty) => {{
                type $e = $ty;
                $body
            }};
        }
        match $dtype {
            DType::F32 => run!(Word),
            DType::F16 => run!(F16),
            DType::BF16 => run!(Bf16),
            DType::F8E4M3 => run!(F8e4m3),
            DType::F8E5M2 => run!(F8e5m2),
            DType::I8 => run!(I8Float),
            DType::U8 => run!(U8Float),
            DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
                unreachable!("weights should be floats or 8-bit integers, not {}", $dtype)
            }
        }
    }};
}

/// `R` rows of weights against `M` rows of x.
#[inline(always)]
unsafe fn rows_block<S: Simd, E: Elem, const M: usize, const R: usize>(
    k: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut acc = [[S::splat(0.0); R]; M];
    let row_bytes = k * E::BYTES;
    let per_line = LINE / E::BYTES;
    let mut kk = 0;
    while kk + per_line <= k {
        // Near the end of the rows the prefetch turns to the start of the next block of rows; rows without gaps are one stream.
        let at = kk * E::BYTES + AHEAD * 8 / R.max(2);
        let ahead = match at < row_bytes {
            _ if row_bytes == w_row_bytes => kk * E::BYTES + AHEAD_LINEAR,
            true => at,
            false => at - row_bytes + R * w_row_bytes,
        };
        for r in 0..R {
            S::prefetch(w.wrapping_add(r * w_row_bytes + ahead));
        }
        let mut v = 0;
        while v < per_line {
            let at = kk + v;
            let mut weights = [S::splat(0.0); R];
            for (r, v) in weights.iter_mut().enumerate() {
                *v = E::load::<S>(w.add(r * w_row_bytes + at * E::BYTES));
            }
            for (i, row) in acc.iter_mut().enumerate() {
                let xs = S::load(x.add(i * x_stride + at));
                for (r, sum) in row.iter_mut().enumerate() {
                    *sum = S::fma(weights[r], xs, *sum);
                }
            }
            v += S::LANES;
        }
        kk += per_line;
    }
    while kk < k {
        let rest = (k - kk).min(S::LANES);
        for r in 0..R {
            let from = w.add(r * w_row_bytes + kk * E::BYTES);
            let weights = if rest == S::LANES { E::load::<S>(from) } else { E::load_n::<S>(from, rest) };
            for (i, row) in acc.iter_mut().enumerate() {
                let from = x.add(i * x_stride + kk);
                let xs = if rest == S::LANES { S::load(from) } else { S::load_n(from, rest) };
                row[r] = S::fma(weights, xs, row[r]);
            }
        }
        kk += rest;
    }
    for (i, row) in acc.iter().enumerate() {
        for (r, sums) in row.iter().enumerate() {
            *out.add(i * out_stride + r) += S::fold::<FoldSum>(*sums);
        }
    }
}

/// Long rows of weights, one after the other, against `M` rows of x.
#[inline(always)]
unsafe fn walk_rows<S: Simd, E: Elem, const M: usize>(
    n_rows: usize,
    k: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let step = CHAINS * S::LANES;
    // Where rows follow one another memory is one stream; else the next row is asked for.
    let ahead = if w_row_bytes == k * E::BYTES { AHEAD_LINEAR } else { w_row_bytes };
    for j in 0..n_rows {
        let row = w.add(j * w_row_bytes);
        let mut acc = [[S::splat(0.0); CHAINS]; M];
        let mut kk = 0;
        while kk + step <= k {
            let from = row.add(kk * E::BYTES);
            let mut line = 0;
            while line < step * E::BYTES {
                S::prefetch(from.wrapping_add(ahead + line));
                line += LINE;
            }
            for c in 0..CHAINS {
                let weights = E::load::<S>(from.add(c * S::LANES * E::BYTES));
                for (i, sums) in acc.iter_mut().enumerate() {
                    sums[c] = S::fma(weights, S::load(x.add(i * x_stride + kk + c * S::LANES)), sums[c]);
                }
            }
            kk += step;
        }
        let mut c = 0;
        while kk < k {
            let rest = (k - kk).min(S::LANES);
            let from = row.add(kk * E::BYTES);
            let weights = if rest == S::LANES { E::load::<S>(from) } else { E::load_n::<S>(from, rest) };
            for (i, sums) in acc.iter_mut().enumerate() {
                let from = x.add(i * x_stride + kk);
                let xs = if rest == S::LANES { S::load(from) } else { S::load_n(from, rest) };
                sums[c] = S::fma(weights, xs, sums[c]);
            }
            kk += rest;
            c += 1;
        }
        for (i, sums) in acc.iter().enumerate() {
            let sum = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
            *out.add(i * out_stride + j) += S::fold::<FoldSum>(sum);
        }
    }
}

/// All `m` rows of x against long rows of weights, in groups whose sums fit the registers; the later groups find the row that the
/// first has read in the cache.
#[inline(always)]
unsafe fn walk_groups<S: Simd, E: Elem>(
    m: usize,
    n_rows: usize,
    k: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    // Rows of weights that one group takes before the next does: few enough to stay in the first-level cache.
    let most = if S::LANES == 16 { 4 } else { 2 };
    let some = if m <= most { n_rows } else { (16384 / w_row_bytes.max(1)).clamp(1, 8) };
    let mut j = 0;
    while j < n_rows {
        let some = some.min(n_rows - j);
        let w = w.add(j * w_row_bytes);
        let mut i = 0;
        while i < m {
            let (x, out) = (x.add(i * x_stride), out.add(i * out_stride + j));
            macro_rules! group {
                ($m:literal) => {{
                    walk_rows::<S, E, $m>(some, k, x, x_stride, w, w_row_bytes, out, out_stride);
                    i += $m;
                }};
            }
            match m - i {
                _ if !S::EXPLICIT => group!(1),
                1 => group!(1),
                2 | 3 => group!(2),
                _ if S::LANES < 16 => group!(2),
                _ => group!(4),
            }
        }
        j += some;
    }
}

/// All `m` rows of x against `R` rows of weights, in groups whose accumulators fit the registers: the weights of the later groups
/// come from the cache.
#[inline(always)]
unsafe fn rows_groups<
    S: Simd,
    E: Elem,
    const R1: usize,
    const R2: usize,
    const R4: usize,
    const R8: usize,
>(
    m: usize,
    n_rows: usize,
    k: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut i = 0;
    while i < m {
        let (x, out) = (x.add(i * x_stride), out.add(i * out_stride));
        macro_rules! group {
            ($m:literal, $r:ident) => {{
                let mut j = 0;
                while j + $r <= n_rows {
                    let w = w.add(j * w_row_bytes);
                    rows_block::<S, E, $m, $r>(k, x, x_stride, w, w_row_bytes, out.add(j), out_stride);
                    j += $r;
                }
                while j < n_rows {
                    let w = w.add(j * w_row_bytes);
                    rows_block::<S, E, $m, 1>(k, x, x_stride, w, w_row_bytes, out.add(j), out_stride);
                    j += 1;
                }
                i += $m;
            }};
        }
        match m - i {
            _ if !S::EXPLICIT => group!(1, R1),
            1 => group!(1, R1),
            2 | 3 => group!(2, R2),
            4..=7 => group!(4, R4),
            _ => group!(8, R8),
        }
    }
}

#[inline(always)]
unsafe fn rows_dot_body<S: Simd>(
    dtype: DType,
    m: usize,
    n_rows: usize,
    k: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_stride: usize,
    out: *mut f32,
    out_stride: usize,
) {
    with_weight!(dtype, E => {
        let row_bytes = w_row_stride * E::BYTES;
        if k * E::BYTES >= LONG_ROW {
            walk_groups::<S, E>(m, n_rows, k, x, x_stride, w, row_bytes, out, out_stride);
            return;
        }
        // Enough rows that they leave the registers busy, few enough that a second group of x finds them in the cache.
        let mut j = 0;
        while j < n_rows {
            let some = if m.is_power_of_two() { n_rows } else { (n_rows - j).min(8) };
            let (w, out) = (w.add(j * row_bytes), out.add(j));
            if S::LANES == 16 {
                rows_groups::<S, E, 8, 8, 4, 3>(m, some, k, x, x_stride, w, row_bytes, out, out_stride);
            } else if S::EXPLICIT {
                rows_groups::<S, E, 8, 4, 2, 1>(m, some, k, x, x_stride, w, row_bytes, out, out_stride);
            } else {
                rows_groups::<S, E, 4, 1, 1, 1>(m, some, k, x, x_stride, w, row_bytes, out, out_stride);
            }
            j += some;
        }
    });
}

/// `R` rows of weights (consecutive k) added into `M` rows of the result.
#[inline(always)]
unsafe fn cols_block<S: Simd, E: Elem, const M: usize, const R: usize>(
    n: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_bytes: usize,
    out: *mut f32,
    out_stride: usize,
) {
    let mut xs = [[S::splat(0.0); R]; M];
    for (i, row) in xs.iter_mut().enumerate() {
        for (r, v) in row.iter_mut().enumerate() {
            *v = S::splat(*x.add(i * x_stride + r));
        }
    }
    let ahead = if w_row_bytes == n * E::BYTES { AHEAD_LINEAR } else { AHEAD };
    let mut j = 0;
    while j < n {
        let rest = (n - j).min(S::LANES);
        let full = rest == S::LANES;
        if (j * E::BYTES) % LINE == 0 {
            for r in 0..R {
                S::prefetch(w.wrapping_add(r * w_row_bytes + j * E::BYTES + ahead));
            }
        }
        let mut weights = [S::splat(0.0); R];
        for (r, v) in weights.iter_mut().enumerate() {
            let from = w.add(r * w_row_bytes + j * E::BYTES);
            *v = if full { E::load::<S>(from) } else { E::load_n::<S>(from, rest) };
        }
        for (i, row) in xs.iter().enumerate() {
            let to = out.add(i * out_stride + j);
            let mut acc = if full { S::load(to) } else { S::load_n(to, rest) };
            for r in 0..R {
                acc = S::fma(weights[r], row[r], acc);
            }
            if full { S::store(to, acc) } else { S::store_n(to, acc, rest) }
        }
        j += rest;
    }
}

#[inline(always)]
unsafe fn cols_dot_body<S: Simd>(
    dtype: DType,
    m: usize,
    k: usize,
    n: usize,
    x: *const f32,
    x_stride: usize,
    w: *const u8,
    w_row_stride: usize,
    out: *mut f32,
    out_stride: usize,
) {
    with_weight!(dtype, E => {
        let row_bytes = w_row_stride * E::BYTES;
        let mut kk = 0;
        while kk < k {
            let eight = k - kk >= 8;
            let w = w.add(kk * row_bytes);
            let mut i = 0;
            while i < m {
                let (x, out) = (x.add(i * x_stride + kk), out.add(i * out_stride));
                macro_rules! group {
                    ($m:literal) => {{
                        if eight {
                            cols_block::<S, E, $m, 8>(n, x, x_stride, w, row_bytes, out, out_stride);
                        } else {
                            cols_block::<S, E, $m, 1>(n, x, x_stride, w, row_bytes, out, out_stride);
                        }
                        i += $m;
                    }};
                }
                if S::EXPLICIT && m - i >= 2 { group!(2) } else { group!(1) }
            }
            kk += if eight { 8 } else { 1 };
        }
    });
}

dispatch! {
    /// `out[i][j] += sum over k of x[i][k] w[j][k]` for `m` rows of x (1 to 8 pays) and `n_rows` rows of weights read straight from
    /// memory; `dtype` is a float or an 8-bit integer (taken as its value). Bytes: the weights once.
    ///
    /// # Safety
    /// See the [module](super): rows of `x` and `w` hold `k` elements, rows of `out` `n_rows`, aligned to 4 bytes; `out` overlaps
    /// neither.
    pub unsafe fn rows_dot(dtype: DType, m: usize, n_rows: usize, k: usize, x: *const f32, x_stride: usize, w: *const u8,
        w_row_stride: usize, out: *mut f32, out_stride: usize) => rows_dot_body
}
dispatch! {
    /// `out[i][j] += sum over k of x[i][k] w[k][j]` for `m` rows of x and `[k, n]` weights read straight from memory, 8 rows at a
    /// time; types as for [`rows_dot`]. Bytes: the weights once; `out` stays in cache.
    ///
    /// # Safety
    /// See the [module](super): rows of `x` hold `k` elements, rows of `w` and `out` `n`; `x` and `out` are aligned to 4 bytes, and
    /// `out` overlaps neither operand.
    pub unsafe fn cols_dot(dtype: DType, m: usize, k: usize, n: usize, x: *const f32, x_stride: usize, w: *const u8,
        w_row_stride: usize, out: *mut f32, out_stride: usize) => cols_dot_body
}
