//! Conversions: memory to arena and back, between arena types, and rounding to a narrow float.
//!
//! Narrowing rounds to nearest even. Casts of floats to integers truncate and saturate, NaN to 0; integers wrap; anything to
//! bool is "not zero". Integers too wide for f32 reach a narrow float with their low bits kept sticky, so they round once.

use super::elem::{Elem, bf16_bits, f8e4m3_bits, f8e5m2_bits, round_one, with_elem};
use super::simd::{MAX_LANES, Simd};
use super::strips_int::map1;
use crate::ir::types::DType;

/// The nearest bf16 of every lane, in the upper 16 bits.
#[inline(always)]
unsafe fn round_bf16<S: Simd>(v: S::F) -> S::I {
    let bits = S::bits(v);
    let odd = S::and(S::shr::<16>(bits), S::isplat(1));
    let nearest = S::iadd(bits, S::iadd(odd, S::isplat(0x7fff)));
    let quiet = S::or(bits, S::isplat(0x0040_0000));
    let chosen = S::select(S::is_nan(v), S::from_bits(quiet), S::from_bits(nearest));
    S::and(S::bits(chosen), S::isplat(0xffff_0000u32 as i32))
}

#[inline(always)]
pub(super) unsafe fn round_body<S: Simd>(dtype: DType, dst: *mut f32, a: *const f32, n: usize) {
    let mut i = 0;
    match dtype {
        DType::F16 | DType::BF16 => {
            let half = dtype == DType::F16;
            while i < n {
                let rest = (n - i).min(S::LANES);
                let v = if rest == S::LANES { S::load(a.add(i)) } else { S::load_n(a.add(i), rest) };
                let v = if half { S::round_f16(v) } else { S::from_bits(round_bf16::<S>(v)) };
                if rest == S::LANES {
                    S::store(dst.add(i), v)
                } else {
                    S::store_n(dst.add(i), v, rest)
                }
                i += rest;
            }
        }
        DType::F8E4M3 => map1(dst, a, n, |x| round_one(DType::F8E4M3, x)),
        DType::F8E5M2 => map1(dst, a, n, |x| round_one(DType::F8E5M2, x)),
        DType::F32 | DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
            if !std::ptr::eq(dst, a) {
                std::ptr::copy(a.cast::<u8>(), dst.cast(), n * 4);
            }
        }
    }
}

#[inline(always)]
unsafe fn widen_elems<S: Simd, E: Elem>(src: *const u8, dst: *mut f32, n: usize) {
    let mut i = 0;
    while i + S::LANES <= n {
        S::store(dst.add(i), E::load::<S>(src.add(i * E::BYTES)));
        i += S::LANES;
    }
    if i < n {
        S::store_n(dst.add(i), E::load_n::<S>(src.add(i * E::BYTES), n - i), n - i);
    }
}

#[inline(always)]
unsafe fn widen_body<S: Simd>(dtype: DType, src: *const u8, dst: *mut u8, n: usize) {
    with_elem!(dtype, E => widen_elems::<S, E>(src, dst.cast(), n), i64 => std::ptr::copy_nonoverlapping(src, dst, n * 8));
}

/// Two-byte narrowing by whole vectors; the tail goes through a buffer.
#[inline(always)]
unsafe fn narrow_halves<S: Simd>(half: bool, src: *const f32, dst: *mut u8, n: usize) {
    let mut i = 0;
    while i < n {
        let rest = (n - i).min(S::LANES);
        let mut bytes = [0u8; MAX_LANES * 2];
        let v = if rest == S::LANES { S::load(src.add(i)) } else { S::load_n(src.add(i), rest) };
        let to = if rest == S::LANES { dst.add(i * 2) } else { bytes.as_mut_ptr() };
        if half {
            S::store_f16(to, v)
        } else {
            S::store_high(to, round_bf16::<S>(v))
        }
        if rest < S::LANES {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), dst.add(i * 2), rest * 2);
        }
        i += rest;
    }
}

#[inline(always)]
unsafe fn narrow_body<S: Simd>(dtype: DType, src: *const u8, dst: *mut u8, n: usize) {
    match dtype {
        DType::F32 | DType::I32 | DType::U32 => std::ptr::copy_nonoverlapping(src, dst, n * 4),
        DType::I64 => std::ptr::copy_nonoverlapping(src, dst, n * 8),
        DType::F16 => narrow_halves::<S>(true, src.cast(), dst, n),
        DType::BF16 => narrow_halves::<S>(false, src.cast(), dst, n),
        DType::F8E4M3 => map1(dst, src.cast::<f32>(), n, f8e4m3_bits),
        DType::F8E5M2 => map1(dst, src.cast::<f32>(), n, f8e5m2_bits),
        DType::I8 | DType::U8 => map1(dst, src.cast::<i32>(), n, |x: i32| x as u8),
        DType::Bool => map1(dst, src.cast::<i32>(), n, |x: i32| u8::from(x != 0)),
    }
}

#[inline(always)]
unsafe fn widen_strided_body<S: Simd>(
    dtype: DType,
    src: *const u8,
    src_stride: isize,
    dst: *mut u8,
    n: usize,
) {
    if src_stride == 1 {
        return widen_body::<S>(dtype, src, dst, n);
    }
    let step = src_stride * dtype.size_bytes() as isize;
    with_elem!(
        dtype,
        E => {
            for i in 0..n {
                dst.cast::<f32>().add(i).write_unaligned(E::one(src.offset(i as isize * step)));
            }
        },
        i64 => {
            for i in 0..n {
                let x = src.offset(i as isize * step).cast::<i64>().read_unaligned();
                dst.cast::<i64>().add(i).write_unaligned(x);
            }
        }
    );
}

#[inline(always)]
unsafe fn narrow_strided_body<S: Simd>(
    dtype: DType,
    src: *const u8,
    dst: *mut u8,
    dst_stride: isize,
    n: usize,
) {
    if dst_stride == 1 {
        return narrow_body::<S>(dtype, src, dst, n);
    }
    let step = dst_stride * dtype.size_bytes() as isize;
    for i in 0..n {
        let (word, to) = (src.cast::<u32>().add(i), dst.offset(i as isize * step));
        match dtype {
            DType::F32 | DType::I32 | DType::U32 => to.cast::<u32>().write_unaligned(word.read_unaligned()),
            DType::I64 => to.cast::<i64>().write_unaligned(src.cast::<i64>().add(i).read_unaligned()),
            DType::F16 => {
                let bits = half::f16::from_f32(f32::from_bits(word.read_unaligned())).to_bits();
                to.cast::<u16>().write_unaligned(bits);
            }
            DType::BF16 => {
                let bits = bf16_bits(f32::from_bits(word.read_unaligned())) >> 16;
                to.cast::<u16>().write_unaligned(bits as u16);
            }
            DType::F8E4M3 => *to = f8e4m3_bits(f32::from_bits(word.read_unaligned())),
            DType::F8E5M2 => *to = f8e5m2_bits(f32::from_bits(word.read_unaligned())),
            DType::I8 | DType::U8 => *to = word.read_unaligned() as u8,
            DType::Bool => *to = u8::from(word.read_unaligned() != 0),
        }
    }
}

/// The three families of arena elements.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Float,
    Word,
    Long,
}

const fn class(dtype: DType) -> Class {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => Class::Float,
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::Bool => Class::Word,
        DType::I64 => Class::Long,
    }
}

/// The integer's leading 24 bits, the last of them set if anything below it was: rounding this again rounds once.
fn sticky(x: i64) -> f32 {
    let magnitude = x.unsigned_abs();
    let dropped = 40u32.saturating_sub(magnitude.leading_zeros());
    let lost = magnitude & ((1u64 << dropped) - 1);
    let kept = ((magnitude >> dropped) | u64::from(lost != 0)) << dropped;
    let y = kept as f32;
    if x < 0 { -y } else { y }
}

/// Element by element: rare, and too branchy to be worth vectors.
#[inline(never)]
unsafe fn map_sticky<T: Copy>(dst: *mut f32, src: *const T, n: usize, widen: impl Fn(T) -> i64) {
    for i in 0..n {
        dst.add(i).write_unaligned(sticky(widen(src.add(i).read_unaligned())));
    }
}

#[inline(always)]
unsafe fn cast_floats<S: Simd>(to: DType, dst: *mut u8, src: *const f32, n: usize) {
    let word = dst.cast::<i32>();
    match to {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            round_body::<S>(to, dst.cast(), src, n);
        }
        DType::I8 => map1(word, src, n, |x: f32| i32::from(x as i8)),
        DType::U8 => map1(word, src, n, |x: f32| i32::from(x as u8)),
        DType::I32 => map1(word, src, n, |x: f32| x as i32),
        DType::U32 => map1(word, src, n, |x: f32| x as u32 as i32),
        DType::Bool => map1(word, src, n, |x: f32| i32::from(x != 0.0)),
        DType::I64 => map1(dst.cast::<i64>(), src, n, |x: f32| x as i64),
    }
}

#[inline(always)]
unsafe fn cast_words<S: Simd>(from: DType, to: DType, dst: *mut u8, src: *const i32, n: usize) {
    let (word, float) = (dst.cast::<i32>(), dst.cast::<f32>());
    let unsigned = from == DType::U32;
    match to {
        DType::F32 if unsigned => map1(float, src, n, |x: i32| x as u32 as f32),
        DType::F32 => map1(float, src, n, |x: i32| x as f32),
        DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            if unsigned {
                map_sticky(float, src, n, |x: i32| i64::from(x as u32));
            } else {
                map_sticky(float, src, n, i64::from);
            }
            round_body::<S>(to, float, float.cast_const(), n);
        }
        DType::I8 => map1(word, src, n, |x: i32| i32::from(x as i8)),
        DType::U8 => map1(word, src, n, |x: i32| x & 0xff),
        DType::Bool => map1(word, src, n, |x: i32| i32::from(x != 0)),
        DType::I32 | DType::U32 => std::ptr::copy(src.cast::<u8>(), dst, n * 4),
        DType::I64 if unsigned => map1(dst.cast::<i64>(), src, n, |x: i32| i64::from(x as u32)),
        DType::I64 => map1(dst.cast::<i64>(), src, n, |x: i32| i64::from(x)),
    }
}

#[inline(always)]
unsafe fn cast_longs<S: Simd>(to: DType, dst: *mut u8, src: *const i64, n: usize) {
    let (word, float) = (dst.cast::<i32>(), dst.cast::<f32>());
    match to {
        DType::F32 => map1(float, src, n, |x: i64| x as f32),
        DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            map_sticky(float, src, n, |x| x);
            round_body::<S>(to, float, float.cast_const(), n);
        }
        DType::I8 => map1(word, src, n, |x: i64| i32::from(x as i8)),
        DType::U8 => map1(word, src, n, |x: i64| i32::from(x as u8)),
        DType::Bool => map1(word, src, n, |x: i64| i32::from(x != 0)),
        DType::I32 | DType::U32 => map1(word, src, n, |x: i64| x as i32),
        DType::I64 => std::ptr::copy(src.cast::<u8>(), dst, n * 8),
    }
}

#[inline(always)]
unsafe fn cast_body<S: Simd>(from: DType, to: DType, dst: *mut u8, src: *const u8, n: usize) {
    match class(from) {
        Class::Float => cast_floats::<S>(to, dst, src.cast(), n),
        Class::Word => cast_words::<S>(from, to, dst, src.cast(), n),
        Class::Long => cast_longs::<S>(to, dst, src.cast(), n),
    }
}

dispatch! {
    /// Converts `n` arena elements of type `from` to type `to`.
    ///
    /// # Safety
    /// See the [module](super): `src` and `dst` hold `n` arena elements of their types; `dst` may equal `src` when the widths do.
    pub unsafe fn cast(from: DType, to: DType, dst: *mut u8, src: *const u8, n: usize) => cast_body
}
dispatch! {
    /// Rounds `n` f32 to the nearest values the float type `dtype` can represent, still held as f32.
    ///
    /// # Safety
    /// See the [module](super): `a` and `dst` hold `n` elements; `dst` may equal `a`.
    pub unsafe fn round(dtype: DType, dst: *mut f32, a: *const f32, n: usize) => round_body
}
dispatch! {
    /// Reads `n` contiguous elements of type `dtype` from memory into the arena.
    ///
    /// # Safety
    /// See the [module](super): `src` holds `n` memory elements, `dst` `n` arena elements; they do not overlap.
    pub unsafe fn widen(dtype: DType, src: *const u8, dst: *mut u8, n: usize) => widen_body
}
dispatch! {
    /// Writes `n` arena elements of type `dtype` to contiguous memory.
    ///
    /// # Safety
    /// See the [module](super): `src` holds `n` arena elements, `dst` `n` memory elements; they do not overlap.
    pub unsafe fn narrow(dtype: DType, src: *const u8, dst: *mut u8, n: usize) => narrow_body
}
dispatch! {
    /// As [`widen`] from elements `src_stride` apart (any sign; 0 repeats one).
    ///
    /// # Safety
    /// As for [`widen`], at the strided places.
    pub unsafe fn widen_strided(dtype: DType, src: *const u8, src_stride: isize, dst: *mut u8, n: usize)
        => widen_strided_body
}
dispatch! {
    /// As [`narrow`] to elements `dst_stride` apart (any sign but 0).
    ///
    /// # Safety
    /// As for [`narrow`], at the strided places.
    pub unsafe fn narrow_strided(dtype: DType, src: *const u8, dst: *mut u8, dst_stride: isize, n: usize)
        => narrow_strided_body
}
