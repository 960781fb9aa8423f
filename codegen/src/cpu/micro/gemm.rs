//! The dense dot of tiles: `C += A B` with a register block of rows by vectors, for f32 and i32.
//!
//! ```text
//!            panel of NR columns (4 zmm = 64, 2 ymm = 16)
//!            b0 b1 b2 b3   row kk of B: one load each
//!   a0 bcast  c00 c01 c02 c03
//!   ..         ..              6 x 4 = 24 accumulators, 24 multiply-adds per 10 loads
//!   a5 bcast  c50 c51 c52 c53
//! ```
//!
//! B is read as panels, so one kernel serves row-major B in place and packed B. Per panel, `K_BLOCK` rows of it stay cached
//! while all rows of A stream past. Fewer columns take fewer vectors and more rows, to keep at least 8 independent
//! chains; where rows are too few for that, several k run in chains of their own. The order of a sum depends on the shape only.

use super::simd::Simd;

/// Rows of a panel of B between two passes over C: 256 x 64 floats are 64 KiB, well inside the second-level cache.
const K_BLOCK: usize = 256;

/// The arithmetic of a dot: the element type and its vectors.
trait Product<S: Simd> {
    type T: Copy;
    type V: Copy;
    unsafe fn zero() -> Self::V;
    unsafe fn load(p: *const Self::T) -> Self::V;
    unsafe fn load_n(p: *const Self::T, n: usize) -> Self::V;
    unsafe fn store(p: *mut Self::T, v: Self::V);
    unsafe fn store_n(p: *mut Self::T, v: Self::V, n: usize);
    unsafe fn splat(x: Self::T) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn multiply_add(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

struct Floats;
struct Ints;

impl<S: Simd> Product<S> for Floats {
    type T = f32;
    type V = S::F;
    #[inline(always)]
    unsafe fn zero() -> S::F {
        S::splat(0.0)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> S::F {
        S::load(p)
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> S::F {
        S::load_n(p, n)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: S::F) {
        S::store(p, v);
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: S::F, n: usize) {
        S::store_n(p, v, n);
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> S::F {
        S::splat(x)
    }
    #[inline(always)]
    unsafe fn add(a: S::F, b: S::F) -> S::F {
        S::add(a, b)
    }
    #[inline(always)]
    unsafe fn multiply_add(a: S::F, b: S::F, c: S::F) -> S::F {
        S::fma(a, b, c)
    }
}

impl<S: Simd> Product<S> for Ints {
    type T = i32;
    type V = S::I;
    #[inline(always)]
    unsafe fn zero() -> S::I {
        S::isplat(0)
    }
    #[inline(always)]
    unsafe fn load(p: *const i32) -> S::I {
        S::bits(S::load(p.cast()))
    }
    #[inline(always)]
    unsafe fn load_n(p: *const i32, n: usize) -> S::I {
        S::bits(S::load_n(p.cast(), n))
    }
    #[inline(always)]
    unsafe fn store(p: *mut i32, v: S::I) {
        S::store(p.cast(), S::from_bits(v));
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut i32, v: S::I, n: usize) {
        S::store_n(p.cast(), S::from_bits(v), n);
    }
    #[inline(always)]
    unsafe fn splat(x: i32) -> S::I {
        S::isplat(x)
    }
    #[inline(always)]
    unsafe fn add(a: S::I, b: S::I) -> S::I {
        S::iadd(a, b)
    }
    #[inline(always)]
    unsafe fn multiply_add(a: S::I, b: S::I, c: S::I) -> S::I {
        S::iadd(S::imul(a, b), c)
    }
}

/// One row of the panel against `MR` elements of A.
#[inline(always)]
unsafe fn step<S: Simd, E: Product<S>, const MR: usize, const NV: usize, const MASKED: bool>(
    acc: &mut [[E::V; NV]; MR],
    a: *const E::T,
    a_stride: usize,
    b: *const E::T,
    last: usize,
) {
    let mut row = [E::zero(); NV];
    for (v, r) in row.iter_mut().enumerate() {
        let p = b.add(v * S::LANES);
        *r = if MASKED && v + 1 == NV { E::load_n(p, last) } else { E::load(p) };
    }
    for (i, acc_row) in acc.iter_mut().enumerate() {
        let x = E::splat(a.add(i * a_stride).read_unaligned());
        for (v, c) in acc_row.iter_mut().enumerate() {
            *c = E::multiply_add(x, row[v], *c);
        }
    }
}

/// `MR` rows by `NV` vectors of C; `last` lanes of the last vector count where `MASKED`.
#[inline(always)]
unsafe fn block<S: Simd, E: Product<S>, const MR: usize, const NV: usize, const MASKED: bool>(
    k: usize,
    a: *const E::T,
    a_stride: usize,
    b: *const E::T,
    b_stride: usize,
    c: *mut E::T,
    c_stride: usize,
    last: usize,
) {
    let chains = if MR * NV >= 8 {
        1
    } else if MR * NV >= 4 {
        2
    } else {
        4
    };
    let mut acc = [[[E::zero(); NV]; MR]; 4];
    let mut kk = 0;
    while kk + chains <= k {
        for (u, chain) in acc.iter_mut().enumerate().take(chains) {
            step::<S, E, MR, NV, MASKED>(chain, a.add(kk + u), a_stride, b.add((kk + u) * b_stride), last);
        }
        kk += chains;
    }
    while kk < k {
        step::<S, E, MR, NV, MASKED>(&mut acc[0], a.add(kk), a_stride, b.add(kk * b_stride), last);
        kk += 1;
    }
    for i in 0..MR {
        for v in 0..NV {
            let mut sum = acc[0][i][v];
            for chain in acc.iter().take(chains).skip(1) {
                sum = E::add(sum, chain[i][v]);
            }
            let p = c.add(i * c_stride + v * S::LANES);
            if MASKED && v + 1 == NV {
                E::store_n(p, E::add(E::load_n(p.cast_const(), last), sum), last);
            } else {
                E::store(p, E::add(E::load(p.cast_const()), sum));
            }
        }
    }
}

/// All rows of A against `NV` vectors of one panel.
#[inline(always)]
unsafe fn rows<S: Simd, E: Product<S>, const NV: usize, const MASKED: bool>(
    m: usize,
    k: usize,
    a: *const E::T,
    a_stride: usize,
    b: *const E::T,
    b_stride: usize,
    c: *mut E::T,
    c_stride: usize,
    last: usize,
) {
    let mut i = 0;
    macro_rules! take {
        ($($mr:literal)*) => {
            {$(while m - i >= $mr {
                let (a, c) = (a.add(i * a_stride), c.add(i * c_stride));
                block::<S, E, $mr, NV, MASKED>(k, a, a_stride, b, b_stride, c, c_stride, last);
                i += $mr;
            })*}
        };
    }
    match (S::LANES, NV) {
        (16, 4) => take!(6 5 4 3 2 1),
        (16, 3) => take!(8 4 2 1),
        (16, 2) => take!(12 6 4 2 1),
        (16, _) => take!(12 8 4 2 1),
        (_, 1) if S::EXPLICIT => take!(8 4 2 1),
        (_, _) if S::EXPLICIT => take!(6 4 3 2 1),
        (_, _) => take!(4 1),
    }
}

#[inline(always)]
unsafe fn gemm<S: Simd, E: Product<S>>(
    m: usize,
    n: usize,
    k: usize,
    a: *const E::T,
    a_stride: usize,
    b: *const E::T,
    b_panel_stride: usize,
    b_row_stride: usize,
    c: *mut E::T,
    c_stride: usize,
) {
    let width = if S::LANES == 16 { 64 } else { 16 };
    let (mut j, mut panel) = (0, b);
    while j < n {
        let columns = (n - j).min(width);
        let (nv, last) = (columns.div_ceil(S::LANES), (columns - 1) % S::LANES + 1);
        let mut kk = 0;
        while kk < k {
            let depth = (k - kk).min(K_BLOCK);
            let (a, b, c) = (a.add(kk), panel.add(kk * b_row_stride), c.add(j));
            macro_rules! go {
                ($nv:literal) => {
                    if last == S::LANES {
                        rows::<S, E, $nv, false>(m, depth, a, a_stride, b, b_row_stride, c, c_stride, last)
                    } else {
                        rows::<S, E, $nv, true>(m, depth, a, a_stride, b, b_row_stride, c, c_stride, last)
                    }
                };
            }
            match nv {
                1 => go!(1),
                2 => go!(2),
                3 => go!(3),
                _ => go!(4),
            }
            kk += depth;
        }
        j += columns;
        panel = panel.wrapping_add(b_panel_stride);
    }
}

#[inline(always)]
unsafe fn gemm_f32_body<S: Simd>(
    m: usize,
    n: usize,
    k: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_panel_stride: usize,
    b_row_stride: usize,
    c: *mut f32,
    c_stride: usize,
) {
    gemm::<S, Floats>(m, n, k, a, a_stride, b, b_panel_stride, b_row_stride, c, c_stride);
}

#[inline(always)]
unsafe fn gemm_i32_body<S: Simd>(
    m: usize,
    n: usize,
    k: usize,
    a: *const i32,
    a_stride: usize,
    b: *const i32,
    b_panel_stride: usize,
    b_row_stride: usize,
    c: *mut i32,
    c_stride: usize,
) {
    gemm::<S, Ints>(m, n, k, a, a_stride, b, b_panel_stride, b_row_stride, c, c_stride);
}

dispatch! {
    /// `C[m, n] += A[m, k] B[k, n]` in f32. Panel `j` of B (columns from `j * NR`, `NR` = [`super::Isa::panel_width`]) starts at
    /// `b + j * b_panel_stride`, its row `kk` at `+ kk * b_row_stride`: `(NR, row length)` for row-major B in place, `(k * NR, NR)`
    /// for packed B. Cost: 2 m n k FLOPs.
    ///
    /// # Safety
    /// See the [module](super): rows of A hold `k` elements `a_stride` apart, rows of C `n` elements; of B only `[k, n]` is read.
    /// C does not overlap A or B.
    pub unsafe fn gemm_f32(m: usize, n: usize, k: usize, a: *const f32, a_stride: usize, b: *const f32, b_panel_stride: usize,
        b_row_stride: usize, c: *mut f32, c_stride: usize) => gemm_f32_body
}
dispatch! {
    /// As [`gemm_f32`] over i32, wrapping: exact for operands of i8 and u8.
    ///
    /// # Safety
    /// As for [`gemm_f32`].
    pub unsafe fn gemm_i32(m: usize, n: usize, k: usize, a: *const i32, a_stride: usize, b: *const i32, b_panel_stride: usize,
        b_row_stride: usize, c: *mut i32, c_stride: usize) => gemm_i32_body
}
