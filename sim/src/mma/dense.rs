//! The one product that every matrix instruction is made of: 16 x K by K x 8, with AVX2 and FMA or without.
//!
//! Both loops add products in ascending k, and the callers' products are exact in f64, so both give the same bits.

use crate::fragments::{MMA_M, MMA_N};

/// Elements of an accumulator tile, 16 rows of 8.
pub(crate) const TILE: usize = MMA_M * MMA_N;

/// `total += a b`, with `a` 16 rows of k and `b` k rows of 8.
#[inline]
pub(crate) fn accumulate_f64(a: &[f64], b: &[f64], total: &mut [f64; TILE]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        #[allow(unsafe_code, reason = "the only way to call a function compiled for more than the baseline")]
        // SAFETY: both features were detected on the line above.
        unsafe {
            x86::accumulate_f64(a, b, total);
        }
        return;
    }
    accumulate_f64_portable(a, b, total);
}

pub(super) fn accumulate_f64_portable(a: &[f64], b: &[f64], total: &mut [f64; TILE]) {
    for (a_row, sums) in a.chunks_exact(a.len() / MMA_M).zip(total.as_chunks_mut::<MMA_N>().0) {
        for (&x, b_row) in a_row.iter().zip(b.as_chunks::<MMA_N>().0) {
            for (sum, &y) in sums.iter_mut().zip(b_row) {
                *sum += x * y;
            }
        }
    }
}

/// The same on integers, wrapping.
#[inline]
pub(crate) fn accumulate_i32(a: &[i32], b: &[i32], total: &mut [i32; TILE]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "the only way to call a function compiled for more than the baseline")]
        // SAFETY: the feature was detected on the line above.
        unsafe {
            x86::accumulate_i32(a, b, total);
        }
        return;
    }
    accumulate_i32_portable(a, b, total);
}

pub(super) fn accumulate_i32_portable(a: &[i32], b: &[i32], total: &mut [i32; TILE]) {
    for (a_row, sums) in a.chunks_exact(a.len() / MMA_M).zip(total.as_chunks_mut::<MMA_N>().0) {
        for (&x, b_row) in a_row.iter().zip(b.as_chunks::<MMA_N>().0) {
            for (sum, &y) in sums.iter_mut().zip(b_row) {
                *sum = sum.wrapping_add(x.wrapping_mul(y));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "vector loads and stores take pointers; each comes from an array of the right length"
)]
mod x86 {
    use super::{MMA_M, MMA_N, TILE};
    use std::arch::x86_64::{
        __m256d, __m256i, _mm256_add_epi32, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_loadu_si256,
        _mm256_mullo_epi32, _mm256_set1_epi32, _mm256_set1_pd, _mm256_storeu_pd, _mm256_storeu_si256,
    };

    /// Rows whose sums stay in registers together.
    const ROWS: usize = 4;

    #[target_feature(enable = "avx2,fma")]
    fn load_f64(from: &[f64; MMA_N]) -> [__m256d; 2] {
        // SAFETY: eight elements are two vectors.
        unsafe { [_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))] }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn accumulate_f64(a: &[f64], b: &[f64], total: &mut [f64; TILE]) {
        let k = a.len() / MMA_M;
        let groups = total.as_chunks_mut::<MMA_N>().0.as_chunks_mut::<ROWS>().0;
        for (a_rows, total_rows) in a.chunks_exact(ROWS * k).zip(groups) {
            let mut sums: [[__m256d; 2]; ROWS] = [
                load_f64(&total_rows[0]),
                load_f64(&total_rows[1]),
                load_f64(&total_rows[2]),
                load_f64(&total_rows[3]),
            ];
            let (row_0, rest) = a_rows.split_at(k);
            let (row_1, rest) = rest.split_at(k);
            let (row_2, row_3) = rest.split_at(k);
            let rows = row_0.iter().zip(row_1).zip(row_2).zip(row_3);
            for ((((&x0, &x1), &x2), &x3), b_row) in rows.zip(b.as_chunks::<MMA_N>().0) {
                let y = load_f64(b_row);
                for (sums, x) in sums.iter_mut().zip([x0, x1, x2, x3]) {
                    let x = _mm256_set1_pd(x);
                    sums[0] = _mm256_fmadd_pd(x, y[0], sums[0]);
                    sums[1] = _mm256_fmadd_pd(x, y[1], sums[1]);
                }
            }
            for (to, sums) in total_rows.iter_mut().zip(&sums) {
                // SAFETY: eight elements are two vectors.
                unsafe {
                    _mm256_storeu_pd(to.as_mut_ptr(), sums[0]);
                    _mm256_storeu_pd(to.as_mut_ptr().add(4), sums[1]);
                }
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn load_i32(from: &[i32; MMA_N]) -> __m256i {
        // SAFETY: eight elements are one vector.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn accumulate_i32(a: &[i32], b: &[i32], total: &mut [i32; TILE]) {
        for (a_row, to) in a.chunks_exact(a.len() / MMA_M).zip(total.as_chunks_mut::<MMA_N>().0) {
            let mut sums = load_i32(to);
            for (&x, b_row) in a_row.iter().zip(b.as_chunks::<MMA_N>().0) {
                sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_set1_epi32(x), load_i32(b_row)));
            }
            // SAFETY: eight elements are one vector.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), sums) };
        }
    }
}
