//! Element types in memory: how one element, or a vector of them, becomes its arena value and back.
//!
//! The scalar conversions are exact integer algorithms, so that they hold under any floating-point mode and serve as the portable
//! path; vectors use the CPU's own conversions where it has them.

use super::simd::{MAX_LANES, Portable, Simd};
use crate::ir::types::DType;

/// An element type in memory, read as vectors of arena values (the bits of an i32 for integers).
pub(super) trait Elem {
    const BYTES: usize;
    unsafe fn load<S: Simd>(p: *const u8) -> S::F;
    /// The first `n < LANES` elements; the other lanes hold the value of all-zero bytes.
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const u8, n: usize) -> S::F {
        let mut bytes = [0u8; MAX_LANES * 4];
        std::ptr::copy_nonoverlapping(p, bytes.as_mut_ptr(), n * Self::BYTES);
        Self::load::<S>(bytes.as_ptr())
    }
    #[inline(always)]
    unsafe fn one(p: *const u8) -> f32 {
        Self::load_n::<Portable>(p, 1)[0]
    }
}

macro_rules! elems {
    ($($(#[$doc:meta])* $name:ident: $bytes:literal, $s:ident, $p:ident => $load:expr;)*) => {
        $($(#[$doc])* pub(super) struct $name;
        impl Elem for $name {
            const BYTES: usize = $bytes;
            #[inline(always)]
            unsafe fn load<$s: Simd>($p: *const u8) -> $s::F { $load }
        })*
    };
}

elems! {
    /// f16.
    F16: 2, S, p => S::load_f16(p);
    /// bf16.
    Bf16: 2, S, p => S::load_bf16(p);
    /// f8e4m3.
    F8e4m3: 1, S, p => S::load_f8e4m3(p);
    /// f8e5m2.
    F8e5m2: 1, S, p => S::load_f8e5m2(p);
    /// i8 as i32.
    I8: 1, S, p => S::from_bits(S::load_i8(p));
    /// u8 as i32.
    U8: 1, S, p => S::from_bits(S::load_u8(p));
    /// i8 as f32.
    I8Float: 1, S, p => S::to_float(S::load_i8(p));
    /// u8 as f32.
    U8Float: 1, S, p => S::to_float(S::load_u8(p));
    /// Any non-zero byte is true.
    Bool: 1, S, p => {
        let one = S::isplat(1);
        S::select(S::test(S::load_u8(p), S::isplat(0xff)), S::from_bits(one), S::splat(0.0))
    };
}

/// Four bytes taken as they are: f32, i32, u32, or any arena value.
pub(super) struct Word;

impl Elem for Word {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        S::load(p.cast())
    }
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const u8, n: usize) -> S::F {
        S::load_n(p.cast(), n)
    }
    #[inline(always)]
    unsafe fn one(p: *const u8) -> f32 {
        p.cast::<f32>().read_unaligned()
    }
}

/// Evaluates an expression with `$e` standing for the [`Elem`] of a 4-byte-arena dtype.
macro_rules! with_elem {
    ($dtype:expr, $e:ident => $body:expr, i64 => $i64:expr) => {
        match $dtype {
            DType::F32 | DType::I32 | DType::U32 => {
                type $e = $crate::cpu::micro::elem::Word;
                $body
            }
            DType::F16 => {
                type $e = $crate::cpu::micro::elem::F16;
                $body
            }
            DType::BF16 => {
                type $e = $crate::cpu::micro::elem::Bf16;
                $body
            }
            DType::F8E4M3 => {
                type $e = $crate::cpu::micro::elem::F8e4m3;
                $body
            }
            DType::F8E5M2 => {
                type $e = $crate::cpu::micro::elem::F8e5m2;
                $body
            }
            DType::I8 => {
                type $e = $crate::cpu::micro::elem::I8;
                $body
            }
            DType::U8 => {
                type $e = $crate::cpu::micro::elem::U8;
                $body
            }
            DType::Bool => {
                type $e = $crate::cpu::micro::elem::Bool;
                $body
            }
            DType::I64 => $i64,
        }
    };
}
pub(super) use with_elem;

/// The value of an f16 from its bits.
#[inline(always)]
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let (sign, rest) = ((u32::from(bits) & 0x8000) << 16, u32::from(bits) & 0x7fff);
    // 2^-24 per unit in the subnormal range; otherwise the exponent's bias moves by 112.
    let tiny = (rest as f32 * f32::from_bits(0x3380_0000)).to_bits();
    let special = if rest >= 0x7c00 { 0x7f80_0000 } else { 112 << 23 };
    let normal = if rest >= 0x7c00 { (rest << 13) | special } else { (rest << 13) + special };
    f32::from_bits(sign | if rest < 0x400 { tiny } else { normal })
}

/// The value of an f8e4m3 from its bits.
#[inline(always)]
pub(super) fn f8e4m3_to_f32(bits: u8) -> f32 {
    static TABLE: [f32; 256] = {
        let mut table = [0.0; 256];
        let mut i = 0u32;
        while i < 256 {
            let (exponent, mantissa) = ((i >> 3) & 15, i & 7);
            let magnitude = if i & 0x7f == 0x7f {
                f32::NAN
            } else if exponent == 0 {
                mantissa as f32 / 512.0
            } else {
                f32::from_bits(((exponent + 120) << 23) | (mantissa << 20))
            };
            table[i as usize] = if i & 0x80 != 0 { -magnitude } else { magnitude };
            i += 1;
        }
        table
    };
    TABLE[bits as usize]
}

/// The nearest bf16 of an f32 as the bits of an f32; ties go to even, NaN stays NaN.
#[inline(always)]
pub(super) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    (if x.is_nan() { bits | 0x0040_0000 } else { nearest }) & 0xffff_0000
}

/// The nearest f8e4m3; ties go to even, what rounds beyond 448 is NaN.
#[inline(always)]
pub(super) fn f8e4m3_bits(x: f32) -> u8 {
    let sign = ((x.to_bits() >> 24) & 0x80) as u8;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // The unit in the last place of 2^14 is the smallest subnormal, 2^-9.
    let tiny = (f32::from_bits(magnitude) + 16384.0).to_bits().wrapping_sub(16384f32.to_bits());
    let rebased = magnitude.wrapping_sub(120 << 23);
    let normal = rebased.wrapping_add(0x7_ffff + ((magnitude >> 20) & 1)) >> 20;
    let out = if magnitude >= 480f32.to_bits() {
        0x7f
    } else if magnitude < (121 << 23) {
        tiny
    } else {
        normal
    };
    sign | out as u8
}

/// The nearest f8e5m2; ties go to even, what rounds beyond 57344 is infinite.
#[inline(always)]
pub(super) fn f8e5m2_bits(x: f32) -> u8 {
    let sign = ((x.to_bits() >> 24) & 0x80) as u8;
    let magnitude = x.to_bits() & 0x7fff_ffff;
    // The unit in the last place of 2^7 is the smallest subnormal, 2^-16.
    let tiny = (f32::from_bits(magnitude) + 128.0).to_bits().wrapping_sub(128f32.to_bits());
    let rebased = magnitude.wrapping_sub(112 << 23);
    let normal = rebased.wrapping_add(0xf_ffff + ((magnitude >> 21) & 1)) >> 21;
    let out = if magnitude > 0x7f80_0000 {
        0x7f
    } else if magnitude >= 65536f32.to_bits() {
        0x7c
    } else if magnitude < (113 << 23) {
        tiny
    } else {
        normal
    };
    sign | out as u8
}

/// Rounds one f32 to a value `dtype` can represent; other types than the narrow floats leave it as it is.
#[inline(always)]
pub(super) fn round_one(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::F16 => half::f16::from_f32(x).to_f32(),
        DType::BF16 => f32::from_bits(bf16_bits(x)),
        DType::F8E4M3 => f8e4m3_to_f32(f8e4m3_bits(x)),
        DType::F8E5M2 => f16_to_f32(u16::from(f8e5m2_bits(x)) << 8),
        DType::F32 | DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => x,
    }
}
