//! Exponentials of a strip and their sum in one pass, while memory is asked for what comes next.
//!
//! The weights of a softmax are computed and summed together: the vectors are added while they are in registers, and the chains of
//! four neighbouring exponentials overlap. The order of the sum is that of `reduce`, so the bits are those of the two steps.

use super::math;
use super::past::prefetch_line;
use super::reduce::{MAX_PARTS, VIRTUAL_LANES, fold_rest};
use super::simd::{FoldSum, MAX_LANES, Simd};
use super::strips::{Arg, Splats, Stream};

/// The base of a power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base {
    /// Euler's number.
    E,
    /// Two.
    Two,
}

/// Memory to ask for in step with a strip.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The first byte; it need not be valid.
    pub start: *const u8,
    /// Bytes for each element of the strip; 0 asks for nothing.
    pub element_bytes: usize,
}

impl Next {
    /// Nothing to ask for.
    pub const NONE: Self = Self { start: std::ptr::null(), element_bytes: 0 };
}

#[inline(always)]
unsafe fn rows<S: Simd, const BASE_TWO: bool>(
    dst: *mut f32,
    a: Stream<f32>,
    b: Stream<f32>,
    n: usize,
    next: Next,
) -> f32 {
    let mut parts = [S::splat(0.0); MAX_PARTS];
    let mut i = 0;
    while i + VIRTUAL_LANES <= n {
        for (j, part) in parts.iter_mut().enumerate().take(VIRTUAL_LANES / S::LANES) {
            let at = i + j * S::LANES;
            let x = S::sub(S::load(a.at(at)), S::load(b.at(at)));
            let y = if BASE_TWO { math::exp2::<S>(x) } else { math::exp::<S>(x) };
            S::store(dst.add(at), y);
            *part = S::add(*part, y);
        }
        // As many lines as an element has bytes.
        for line in 0..next.element_bytes {
            prefetch_line(next.start.wrapping_add(i * next.element_bytes + line * VIRTUAL_LANES));
        }
        i += VIRTUAL_LANES;
    }
    let whole = i;
    while i < n {
        let rest = (n - i).min(S::LANES);
        let (x, y) = if rest == S::LANES {
            (S::load(a.at(i)), S::load(b.at(i)))
        } else {
            (S::load_n(a.at(i), rest), S::load_n(b.at(i), rest))
        };
        let x = S::sub(x, y);
        let y = if BASE_TWO { math::exp2::<S>(x) } else { math::exp::<S>(x) };
        if rest == S::LANES {
            S::store(dst.add(i), y)
        } else {
            S::store_n(dst.add(i), y, rest)
        }
        i += rest;
    }
    fold_rest::<S, FoldSum>(parts, dst, whole, n)
}

#[inline(always)]
unsafe fn exp_sum_body<S: Simd>(base: Base, dst: *mut f32, a: Arg, b: Arg, n: usize, next: Next) -> f32 {
    let (mut a_buffer, mut b_buffer) = (Splats([0.0; MAX_LANES]), Splats([0.0; MAX_LANES]));
    let a = Stream::<f32>::new(a, &mut a_buffer);
    let b = Stream::<f32>::new(b, &mut b_buffer);
    match base {
        Base::E => rows::<S, false>(dst, a, b, n, next),
        Base::Two => rows::<S, true>(dst, a, b, n, next),
    }
}

dispatch! {
    /// `dst[i] = base^(a[i] - b[i])` for `i < n` in f32; returns their sum.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row.
    pub unsafe fn exp_sum(base: Base, dst: *mut f32, a: Arg, b: Arg, n: usize, next: Next) -> f32 => exp_sum_body
}
