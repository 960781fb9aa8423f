//! Strips: elementwise operations over contiguous runs of arena elements.
//!
//! Every vector of an operand is loaded before the result's is stored at the same place, so the destination may equal a source.
//! A scalar operand is copied once into a vector-sized buffer that is then read with step 0, which serves all combinations of
//! rows and scalars with one loop. Narrow floats are computed in f32 and rounded in a second pass over the strip, still in L1.

use super::simd::{Fold, FoldMax, FoldMin, MAX_LANES, Simd};
use super::strips_int::{binary_i64, binary_words, unary_i64, unary_words};
use super::{convert, math};
use crate::ir::ops::{BinaryOp, UnaryOp};
use crate::ir::types::DType;

/// An operand of a strip.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// As many arena elements as the strip is long.
    Row(*const u8),
    /// One arena element that stands for all.
    Splat(*const u8),
}

/// An operand as a loop reads it: from `p` at the position and-ed with `mask`.
#[derive(Clone, Copy)]
pub(super) struct Stream<T> {
    p: *const T,
    mask: usize,
}

/// Room for a scalar operand's copies, as aligned as a vector: loads that cross cache lines take twice as long.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Splats<T>(pub [T; MAX_LANES]);

impl<T: Copy> Stream<T> {
    /// `buffer` must live as long as the stream.
    #[inline(always)]
    pub(super) unsafe fn new(arg: Arg, buffer: &mut Splats<T>) -> Self {
        match arg {
            Arg::Row(p) => Self { p: p.cast(), mask: usize::MAX },
            Arg::Splat(p) => {
                buffer.0 = [p.cast::<T>().read_unaligned(); MAX_LANES];
                Self { p: buffer.0.as_ptr(), mask: 0 }
            }
        }
    }

    #[inline(always)]
    pub(super) unsafe fn at(&self, i: usize) -> *const T {
        self.p.add(i & self.mask)
    }
}

/// The loop of a strip: names bound to operand vectors, and the expression of the result, stored past the caches where `$past`.
macro_rules! strip {
    (past $past:expr, $S:ty, $dst:expr, $n:expr, $($v:ident),* => $body:expr) => {{
        let mut i = 0;
        while i + <$S>::LANES <= $n {
            let result = { $(let $v = <$S>::load($v.at(i));)* $body };
            if $past {
                <$S>::store_past($dst.add(i), result);
            } else {
                <$S>::store($dst.add(i), result);
            }
            i += <$S>::LANES;
        }
        if i < $n {
            let rest = $n - i;
            let result = { $(let $v = <$S>::load_n($v.at(i), rest);)* $body };
            <$S>::store_n($dst.add(i), result, rest);
        }
    }};
    ($S:ty, $dst:expr, $n:expr, $($v:ident),* => $body:expr) => {
        strip!(past false, $S, $dst, $n, $($v),* => $body)
    };
}

#[inline(always)]
unsafe fn unary_floats<S: Simd>(op: UnaryOp, dst: *mut f32, a: *const u8, n: usize) {
    let a = Stream::<f32> { p: a.cast(), mask: usize::MAX };
    match op {
        UnaryOp::Neg | UnaryOp::Not => strip!(S, dst, n, a => math::neg::<S>(a)),
        UnaryOp::Abs => strip!(S, dst, n, a => math::abs::<S>(a)),
        UnaryOp::Floor => strip!(S, dst, n, a => S::floor(a)),
        UnaryOp::Ceil => strip!(S, dst, n, a => S::ceil(a)),
        UnaryOp::Exp => strip!(S, dst, n, a => math::exp::<S>(a)),
        UnaryOp::Exp2 => strip!(S, dst, n, a => math::exp2::<S>(a)),
        UnaryOp::Log => strip!(S, dst, n, a => math::log::<S>(a)),
        UnaryOp::Log2 => strip!(S, dst, n, a => math::log2::<S>(a)),
        UnaryOp::Sqrt => strip!(S, dst, n, a => S::sqrt(a)),
        UnaryOp::Rsqrt => strip!(S, dst, n, a => S::div(S::splat(1.0), S::sqrt(a))),
        UnaryOp::Sin => strip!(S, dst, n, a => math::sin_cos::<S, 0>(a)),
        UnaryOp::Cos => strip!(S, dst, n, a => math::sin_cos::<S, 1>(a)),
        UnaryOp::Tanh => strip!(S, dst, n, a => math::tanh::<S>(a)),
        UnaryOp::Erf => strip!(S, dst, n, a => math::erf::<S>(a)),
        UnaryOp::Sigmoid => strip!(S, dst, n, a => math::sigmoid::<S>(a)),
    }
}

#[inline(always)]
unsafe fn unary_body<S: Simd>(op: UnaryOp, dtype: DType, dst: *mut u8, a: *const u8, n: usize) {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            unary_floats::<S>(op, dst.cast(), a, n);
            convert::round_body::<S>(dtype, dst.cast(), dst.cast_const().cast(), n);
        }
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::Bool => unary_words(op, dtype, dst, a, n),
        DType::I64 => unary_i64(op, dst, a, n),
    }
}

/// `m` as i32 lanes of 0 or 1.
#[inline(always)]
unsafe fn truth<S: Simd>(m: S::M) -> S::F {
    S::select(m, S::from_bits(S::isplat(1)), S::splat(0.0))
}

/// The remainder of one division, by the library's exact algorithm.
#[inline(always)]
unsafe fn rem_floats(dst: *mut f32, a: Stream<f32>, b: Stream<f32>, n: usize) {
    for i in 0..n {
        dst.add(i).write_unaligned(a.at(i).read_unaligned() % b.at(i).read_unaligned());
    }
}

#[inline(always)]
unsafe fn binary_floats<S: Simd, const PAST: bool>(op: BinaryOp, dst: *mut f32, a: Arg, b: Arg, n: usize) {
    let (mut a_buffer, mut b_buffer) = (Splats([0.0; MAX_LANES]), Splats([0.0; MAX_LANES]));
    let a = Stream::<f32>::new(a, &mut a_buffer);
    let b = Stream::<f32>::new(b, &mut b_buffer);
    match op {
        BinaryOp::Add => strip!(past PAST, S, dst, n, a, b => S::add(a, b)),
        BinaryOp::Sub => strip!(past PAST, S, dst, n, a, b => S::sub(a, b)),
        BinaryOp::Mul => strip!(past PAST, S, dst, n, a, b => S::mul(a, b)),
        BinaryOp::Div => strip!(past PAST, S, dst, n, a, b => S::div(a, b)),
        BinaryOp::Rem => rem_floats(dst, a, b, n),
        BinaryOp::Min => strip!(past PAST, S, dst, n, a, b => FoldMin::two::<S>(a, b)),
        BinaryOp::Max => strip!(past PAST, S, dst, n, a, b => FoldMax::two::<S>(a, b)),
        BinaryOp::Eq => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::eq(a, b))),
        BinaryOp::Ne => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::not(S::eq(a, b)))),
        BinaryOp::Lt => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::lt(a, b))),
        BinaryOp::Le => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::le(a, b))),
        BinaryOp::Gt => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::lt(b, a))),
        BinaryOp::Ge => strip!(past PAST, S, dst, n, a, b => truth::<S>(S::le(b, a))),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => {
            unreachable!("bit operations should be on integers: the verifier checks it")
        }
    }
}

#[inline(always)]
unsafe fn binary_body<S: Simd>(op: BinaryOp, dtype: DType, dst: *mut u8, a: Arg, b: Arg, n: usize) {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            binary_floats::<S, false>(op, dst.cast(), a, b, n);
            let arithmetic =
                matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem);
            if arithmetic {
                convert::round_body::<S>(dtype, dst.cast(), dst.cast_const().cast(), n);
            }
        }
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::Bool => {
            binary_words(op, dtype, dst, a, b, n)
        }
        DType::I64 => binary_i64(op, dst, a, b, n),
    }
}

#[inline(always)]
unsafe fn binary_past_body<S: Simd>(op: BinaryOp, dst: *mut f32, a: Arg, b: Arg, n: usize) {
    binary_floats::<S, true>(op, dst, a, b, n);
}

#[inline(always)]
unsafe fn fma_body<S: Simd>(dtype: DType, dst: *mut u8, a: Arg, b: Arg, c: Arg, n: usize) {
    let mut buffers = [Splats([0.0f32; MAX_LANES]); 3];
    let [a_buffer, b_buffer, c_buffer] = &mut buffers;
    let a = Stream::<f32>::new(a, a_buffer);
    let b = Stream::<f32>::new(b, b_buffer);
    let c = Stream::<f32>::new(c, c_buffer);
    let out = dst.cast::<f32>();
    strip!(S, out, n, a, b, c => S::fma_exact(a, b, c));
    convert::round_body::<S>(dtype, out, out.cast_const(), n);
}

#[inline(always)]
unsafe fn exp2_affine_body<S: Simd>(dst: *mut f32, a: Arg, s: Arg, b: Arg, n: usize) {
    let mut buffers = [Splats([0.0f32; MAX_LANES]); 3];
    let [a_buffer, s_buffer, b_buffer] = &mut buffers;
    let a = Stream::<f32>::new(a, a_buffer);
    let s = Stream::<f32>::new(s, s_buffer);
    let b = Stream::<f32>::new(b, b_buffer);
    strip!(S, dst, n, a, s, b => math::exp2::<S>(S::fma(a, s, b)));
}

#[inline(always)]
unsafe fn exp_sub_body<S: Simd>(dst: *mut f32, a: Arg, b: Arg, n: usize) {
    let (mut a_buffer, mut b_buffer) = (Splats([0.0; MAX_LANES]), Splats([0.0; MAX_LANES]));
    let a = Stream::<f32>::new(a, &mut a_buffer);
    let b = Stream::<f32>::new(b, &mut b_buffer);
    strip!(S, dst, n, a, b => math::exp::<S>(S::sub(a, b)));
}

#[inline(always)]
unsafe fn exp2_sub_body<S: Simd>(dst: *mut f32, a: Arg, b: Arg, n: usize) {
    let (mut a_buffer, mut b_buffer) = (Splats([0.0; MAX_LANES]), Splats([0.0; MAX_LANES]));
    let a = Stream::<f32>::new(a, &mut a_buffer);
    let b = Stream::<f32>::new(b, &mut b_buffer);
    strip!(S, dst, n, a, b => math::exp2::<S>(S::sub(a, b)));
}

#[inline(always)]
unsafe fn select_body<S: Simd>(dtype: DType, dst: *mut u8, cond: Arg, a: Arg, b: Arg, n: usize) {
    let mut cond_buffer = Splats([0.0f32; MAX_LANES]);
    let cond = Stream::<f32>::new(cond, &mut cond_buffer);
    if dtype == DType::I64 {
        let mut buffers = [Splats([0i64; MAX_LANES]); 2];
        let [a_buffer, b_buffer] = &mut buffers;
        let (a, b) = (Stream::<i64>::new(a, a_buffer), Stream::<i64>::new(b, b_buffer));
        for i in 0..n {
            let chosen = if cond.at(i).cast::<i32>().read_unaligned() != 0 { a } else { b };
            dst.cast::<i64>().add(i).write_unaligned(chosen.at(i).read_unaligned());
        }
        return;
    }
    let mut buffers = [Splats([0.0f32; MAX_LANES]); 2];
    let [a_buffer, b_buffer] = &mut buffers;
    let (a, b) = (Stream::<f32>::new(a, a_buffer), Stream::<f32>::new(b, b_buffer));
    let out = dst.cast::<f32>();
    let all = S::isplat(-1);
    strip!(S, out, n, cond, a, b => S::select(S::test(S::bits(cond), all), a, b));
}

dispatch! {
    /// `dst[i] = op(a[i])` for `i < n`, arena elements of type `dtype`.
    ///
    /// # Safety
    /// See the [module](super): `dst` and `a` hold `n` arena elements; `dst` may equal `a`.
    pub unsafe fn unary(op: UnaryOp, dtype: DType, dst: *mut u8, a: *const u8, n: usize) => unary_body
}
dispatch! {
    /// `dst[i] = op(a[i], b[i])` for `i < n`, operands of type `dtype`; comparisons write i32 0 or 1.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row, also for comparisons of i64.
    pub unsafe fn binary(op: BinaryOp, dtype: DType, dst: *mut u8, a: Arg, b: Arg, n: usize) => binary_body
}
dispatch! {
    /// As [`binary`] on f32, past the caches.
    ///
    /// # Safety
    /// As for [`binary`]; `dst` is aligned to a cache line, and `fence` must follow before another thread may read it.
    pub unsafe fn binary_past(op: BinaryOp, dst: *mut f32, a: Arg, b: Arg, n: usize) => binary_past_body
}
dispatch! {
    /// `dst[i] = a[i] * b[i] + c[i]` for `i < n` and a float `dtype`, rounded once in f32 and then to `dtype`.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row.
    pub unsafe fn fma(dtype: DType, dst: *mut u8, a: Arg, b: Arg, c: Arg, n: usize) => fma_body
}
dispatch! {
    /// `dst[i] = cond[i] ? a[i] : b[i]` for `i < n`, `cond` in i32 arena elements, the others of type `dtype`.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row of the same width.
    pub unsafe fn select(dtype: DType, dst: *mut u8, cond: Arg, a: Arg, b: Arg, n: usize) => select_body
}
dispatch! {
    /// `dst[i] = 2^(a[i] * s[i] + b[i])` for `i < n` in f32: the scaled exponentials of softmax in one pass.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row.
    pub unsafe fn exp2_affine(dst: *mut f32, a: Arg, s: Arg, b: Arg, n: usize) => exp2_affine_body
}
dispatch! {
    /// `dst[i] = e^(a[i] - b[i])` for `i < n` in f32.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row.
    pub unsafe fn exp_sub(dst: *mut f32, a: Arg, b: Arg, n: usize) => exp_sub_body
}
dispatch! {
    /// `dst[i] = 2^(a[i] - b[i])` for `i < n` in f32.
    ///
    /// # Safety
    /// See the [module](super): `dst` and rows hold `n` arena elements; `dst` may equal a row.
    pub unsafe fn exp2_sub(dst: *mut f32, a: Arg, b: Arg, n: usize) => exp2_sub_body
}

/// Fills `dst` with `n` copies of the arena element at `value`.
///
/// # Safety
/// `dst` holds `n` arena elements of type `dtype`, `value` one; they do not overlap.
pub unsafe fn fill(dtype: DType, dst: *mut u8, value: *const u8, n: usize) {
    if dtype == DType::I64 {
        let x = value.cast::<i64>().read_unaligned();
        (0..n).for_each(|i| dst.cast::<i64>().add(i).write_unaligned(x));
    } else {
        let x = value.cast::<u32>().read_unaligned();
        (0..n).for_each(|i| dst.cast::<u32>().add(i).write_unaligned(x));
    }
}

/// Writes `start, start + 1, ...` (wrapping) to `n` i32 elements.
///
/// # Safety
/// `dst` holds `n` i32 elements.
pub unsafe fn iota(dst: *mut i32, start: i32, n: usize) {
    (0..n).for_each(|i| dst.add(i).write_unaligned(start.wrapping_add(i as i32)));
}
