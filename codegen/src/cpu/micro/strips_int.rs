//! Integer and bool strips: plain loops over blocks of 16 elements, which the compiler vectorises for each instruction set.
//!
//! A block is read whole before it is written, so that the compiler needs no overlap check, which a destination that equals its
//! source would fail. Types narrower than 32 bits are computed in 32 and wrapped in a second pass where they can leave their range.

use super::simd::MAX_LANES;
use super::strips::{Arg, Splats, Stream};
use crate::ir::ops::{BinaryOp, UnaryOp};
use crate::ir::types::DType;

/// `dst[i] = f(a[i])`.
#[inline(always)]
pub(super) unsafe fn map1<T: Copy, U: Copy + Default>(
    dst: *mut U,
    a: *const T,
    n: usize,
    f: impl Fn(T) -> U,
) {
    let mut i = 0;
    while i + MAX_LANES <= n {
        let x = a.add(i).cast::<[T; MAX_LANES]>().read_unaligned();
        let mut out = [U::default(); MAX_LANES];
        for j in 0..MAX_LANES {
            out[j] = f(x[j]);
        }
        dst.add(i).cast::<[U; MAX_LANES]>().write_unaligned(out);
        i += MAX_LANES;
    }
    while i < n {
        dst.add(i).write_unaligned(f(a.add(i).read_unaligned()));
        i += 1;
    }
}

/// `dst[i] = f(a[i], b[i])`.
#[inline(always)]
unsafe fn map2<T: Copy, U: Copy + Default>(
    dst: *mut U,
    a: Stream<T>,
    b: Stream<T>,
    n: usize,
    f: impl Fn(T, T) -> U,
) {
    let mut i = 0;
    while i + MAX_LANES <= n {
        let x = a.at(i).cast::<[T; MAX_LANES]>().read_unaligned();
        let y = b.at(i).cast::<[T; MAX_LANES]>().read_unaligned();
        let mut out = [U::default(); MAX_LANES];
        for j in 0..MAX_LANES {
            out[j] = f(x[j], y[j]);
        }
        dst.add(i).cast::<[U; MAX_LANES]>().write_unaligned(out);
        i += MAX_LANES;
    }
    while i < n {
        dst.add(i).write_unaligned(f(a.at(i).read_unaligned(), b.at(i).read_unaligned()));
        i += 1;
    }
}

/// Brings 32-bit results back into the range of a narrower type.
#[inline(always)]
unsafe fn wrap_words(dtype: DType, dst: *mut i32, n: usize) {
    match dtype {
        DType::I8 => map1(dst, dst.cast_const(), n, |x: i32| i32::from(x as i8)),
        DType::U8 => map1(dst, dst.cast_const(), n, |x: i32| x & 0xff),
        DType::Bool => map1(dst, dst.cast_const(), n, |x: i32| x & 1),
        DType::I32 | DType::U32 | DType::I64 => {}
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {}
    }
}

/// What reaches an integer strip with a float-only operation is a bug of the caller.
#[cold]
fn float_only(mnemonic: &str) -> ! {
    unreachable!("`{mnemonic}` should have float operands: the verifier checks it")
}

#[inline(always)]
pub(super) unsafe fn unary_words(op: UnaryOp, dtype: DType, dst: *mut u8, a: *const u8, n: usize) {
    let (out, a) = (dst.cast::<i32>(), a.cast::<i32>());
    match op {
        UnaryOp::Neg => map1(out, a, n, |x: i32| x.wrapping_neg()),
        UnaryOp::Not => map1(out, a, n, |x: i32| !x),
        UnaryOp::Abs if matches!(dtype, DType::U32) => map1(out, a, n, |x: i32| x),
        UnaryOp::Abs => map1(out, a, n, |x: i32| x.wrapping_abs()),
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => float_only(op.mnemonic()),
    }
    wrap_words(dtype, out, n);
}

#[inline(always)]
pub(super) unsafe fn unary_i64(op: UnaryOp, dst: *mut u8, a: *const u8, n: usize) {
    let (out, a) = (dst.cast::<i64>(), a.cast::<i64>());
    match op {
        UnaryOp::Neg => map1(out, a, n, |x: i64| x.wrapping_neg()),
        UnaryOp::Not => map1(out, a, n, |x: i64| !x),
        UnaryOp::Abs => map1(out, a, n, |x: i64| x.wrapping_abs()),
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => float_only(op.mnemonic()),
    }
}

/// The truncated quotient of integers of up to 32 bits, exact through f64; `b` is not 0.
#[inline(always)]
unsafe fn quotient(a: f64, b: f64) -> i64 {
    // At most 2^32 in magnitude, so the conversion is in range.
    (a / b).to_int_unchecked::<i64>()
}

#[inline(always)]
unsafe fn div_signed(a: i32, b: i32) -> i32 {
    let q = quotient(f64::from(a), f64::from(if b == 0 { 1 } else { b })) as i32;
    if b == 0 { 0 } else { q }
}

#[inline(always)]
unsafe fn div_unsigned(a: u32, b: u32) -> u32 {
    let q = quotient(f64::from(a), f64::from(if b == 0 { 1 } else { b })) as u32;
    if b == 0 { 0 } else { q }
}

#[inline(always)]
pub(super) unsafe fn binary_words(op: BinaryOp, dtype: DType, dst: *mut u8, a: Arg, b: Arg, n: usize) {
    if dtype == DType::U32 && !matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul) {
        return binary_u32(op, dst, a, b, n);
    }
    let (mut a_buffer, mut b_buffer) = (Splats([0i32; MAX_LANES]), Splats([0i32; MAX_LANES]));
    let a = Stream::<i32>::new(a, &mut a_buffer);
    let b = Stream::<i32>::new(b, &mut b_buffer);
    let out = dst.cast::<i32>();
    let width_mask = dtype.size_bytes() as u32 * 8 - 1;
    match op {
        BinaryOp::Add => map2(out, a, b, n, |x: i32, y| x.wrapping_add(y)),
        BinaryOp::Sub => map2(out, a, b, n, |x: i32, y| x.wrapping_sub(y)),
        BinaryOp::Mul => map2(out, a, b, n, |x: i32, y| x.wrapping_mul(y)),
        BinaryOp::Div => map2(out, a, b, n, |x, y| div_signed(x, y)),
        BinaryOp::Rem => {
            map2(
                out,
                a,
                b,
                n,
                |x, y| if y == 0 { 0 } else { x.wrapping_sub(div_signed(x, y).wrapping_mul(y)) },
            );
        }
        BinaryOp::Min => map2(out, a, b, n, |x: i32, y| x.min(y)),
        BinaryOp::Max => map2(out, a, b, n, |x: i32, y| x.max(y)),
        BinaryOp::And => map2(out, a, b, n, |x: i32, y| x & y),
        BinaryOp::Or => map2(out, a, b, n, |x: i32, y| x | y),
        BinaryOp::Xor => map2(out, a, b, n, |x: i32, y| x ^ y),
        BinaryOp::Shl => map2(out, a, b, n, |x: i32, y| x.wrapping_shl(y as u32 & width_mask)),
        BinaryOp::Shr => map2(out, a, b, n, |x: i32, y| x.wrapping_shr(y as u32 & width_mask)),
        BinaryOp::Eq => return map2(out, a, b, n, |x, y| i32::from(x == y)),
        BinaryOp::Ne => return map2(out, a, b, n, |x, y| i32::from(x != y)),
        BinaryOp::Lt => return map2(out, a, b, n, |x, y| i32::from(x < y)),
        BinaryOp::Le => return map2(out, a, b, n, |x, y| i32::from(x <= y)),
        BinaryOp::Gt => return map2(out, a, b, n, |x, y| i32::from(x > y)),
        BinaryOp::Ge => return map2(out, a, b, n, |x, y| i32::from(x >= y)),
    }
    wrap_words(dtype, out, n);
}

#[inline(always)]
unsafe fn binary_u32(op: BinaryOp, dst: *mut u8, a: Arg, b: Arg, n: usize) {
    let (mut a_buffer, mut b_buffer) = (Splats([0u32; MAX_LANES]), Splats([0u32; MAX_LANES]));
    let a = Stream::<u32>::new(a, &mut a_buffer);
    let b = Stream::<u32>::new(b, &mut b_buffer);
    let out = dst.cast::<u32>();
    match op {
        BinaryOp::Add => map2(out, a, b, n, |x: u32, y| x.wrapping_add(y)),
        BinaryOp::Sub => map2(out, a, b, n, |x: u32, y| x.wrapping_sub(y)),
        BinaryOp::Mul => map2(out, a, b, n, |x: u32, y| x.wrapping_mul(y)),
        BinaryOp::Div => map2(out, a, b, n, |x, y| div_unsigned(x, y)),
        BinaryOp::Rem => {
            map2(
                out,
                a,
                b,
                n,
                |x, y| if y == 0 { 0 } else { x.wrapping_sub(div_unsigned(x, y).wrapping_mul(y)) },
            );
        }
        BinaryOp::Min => map2(out, a, b, n, |x: u32, y| x.min(y)),
        BinaryOp::Max => map2(out, a, b, n, |x: u32, y| x.max(y)),
        BinaryOp::And => map2(out, a, b, n, |x: u32, y| x & y),
        BinaryOp::Or => map2(out, a, b, n, |x: u32, y| x | y),
        BinaryOp::Xor => map2(out, a, b, n, |x: u32, y| x ^ y),
        BinaryOp::Shl => map2(out, a, b, n, |x: u32, y| x.wrapping_shl(y)),
        BinaryOp::Shr => map2(out, a, b, n, |x: u32, y| x.wrapping_shr(y)),
        BinaryOp::Eq => map2(out, a, b, n, |x, y| u32::from(x == y)),
        BinaryOp::Ne => map2(out, a, b, n, |x, y| u32::from(x != y)),
        BinaryOp::Lt => map2(out, a, b, n, |x, y| u32::from(x < y)),
        BinaryOp::Le => map2(out, a, b, n, |x, y| u32::from(x <= y)),
        BinaryOp::Gt => map2(out, a, b, n, |x, y| u32::from(x > y)),
        BinaryOp::Ge => map2(out, a, b, n, |x, y| u32::from(x >= y)),
    }
}

#[inline(always)]
pub(super) unsafe fn binary_i64(op: BinaryOp, dst: *mut u8, a: Arg, b: Arg, n: usize) {
    let (mut a_buffer, mut b_buffer) = (Splats([0i64; MAX_LANES]), Splats([0i64; MAX_LANES]));
    let a = Stream::<i64>::new(a, &mut a_buffer);
    let b = Stream::<i64>::new(b, &mut b_buffer);
    let (out, truth) = (dst.cast::<i64>(), dst.cast::<i32>());
    match op {
        BinaryOp::Add => map2(out, a, b, n, |x: i64, y| x.wrapping_add(y)),
        BinaryOp::Sub => map2(out, a, b, n, |x: i64, y| x.wrapping_sub(y)),
        BinaryOp::Mul => map2(out, a, b, n, |x: i64, y| x.wrapping_mul(y)),
        BinaryOp::Div => map2(out, a, b, n, |x: i64, y| if y == 0 { 0 } else { x.wrapping_div(y) }),
        BinaryOp::Rem => map2(out, a, b, n, |x: i64, y| if y == 0 { 0 } else { x.wrapping_rem(y) }),
        BinaryOp::Min => map2(out, a, b, n, |x: i64, y| x.min(y)),
        BinaryOp::Max => map2(out, a, b, n, |x: i64, y| x.max(y)),
        BinaryOp::And => map2(out, a, b, n, |x: i64, y| x & y),
        BinaryOp::Or => map2(out, a, b, n, |x: i64, y| x | y),
        BinaryOp::Xor => map2(out, a, b, n, |x: i64, y| x ^ y),
        BinaryOp::Shl => map2(out, a, b, n, |x: i64, y| x.wrapping_shl(y as u32)),
        BinaryOp::Shr => map2(out, a, b, n, |x: i64, y| x.wrapping_shr(y as u32)),
        BinaryOp::Eq => map2(truth, a, b, n, |x, y| i32::from(x == y)),
        BinaryOp::Ne => map2(truth, a, b, n, |x, y| i32::from(x != y)),
        BinaryOp::Lt => map2(truth, a, b, n, |x, y| i32::from(x < y)),
        BinaryOp::Le => map2(truth, a, b, n, |x, y| i32::from(x <= y)),
        BinaryOp::Gt => map2(truth, a, b, n, |x, y| i32::from(x > y)),
        BinaryOp::Ge => map2(truth, a, b, n, |x, y| i32::from(x >= y)),
    }
}
