//! `cvt` between floating-point types, single and packed.
//!
//! Packed results follow `cvt`'s operand order: the first source becomes the upper half.

use super::arith::flush_f32;
use super::format::{Format, decode, encode};
use super::{Clamp, Mode, NAN_16, NAN_F32, Overflow, Round, Subnormals};

/// `cvt.f32.f16`. Exact.
#[inline]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    if magnitude > 0x7c00 << 13 {
        return f32::from_bits(NAN_F32);
    }
    // Moving the fields leaves the exponent 112 too small, for subnormals too; infinity needs its own exponent.
    let scaled = if magnitude == 0x7c00 << 13 {
        f32::INFINITY
    } else {
        f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23)
    };
    f32::from_bits(scaled.to_bits() | sign)
}

/// `cvt.f32.bf16`. Exact.
#[inline]
pub fn bf16_to_f32(bits: u16) -> f32 {
    let wide = u32::from(bits) << 16;
    f32::from_bits(if wide & 0x7fff_ffff > 0x7f80_0000 { NAN_F32 } else { wide })
}

/// The value of an e4m3 byte. Exact.
#[inline]
pub fn e4m3_to_f32(bits: u8) -> f32 {
    canonical(decode(u64::from(bits), Format::E4m3) as f32)
}

/// The value of an e5m2 byte. Exact.
#[inline]
pub fn e5m2_to_f32(bits: u8) -> f32 {
    f16_to_f32(u16::from(bits) << 8)
}

#[inline]
fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(NAN_F32) } else { value }
}

/// `cvt.{rn,rz,rm,rp}{.ftz}{.sat,.relu}{.satfinite}.f16.f32`; `.ftz` applies to the source.
#[inline]
pub fn f32_to_f16(value: f32, mode: Mode) -> u16 {
    encode(f64::from(flush_f32(value, mode.subnormals)), Format::F16, mode) as u16
}

/// `cvt.{rn,rz}{.relu}{.satfinite}.bf16.f32`, and the other rounding modes.
#[inline]
pub fn f32_to_bf16(value: f32, mode: Mode) -> u16 {
    if mode == Mode::RN {
        let bits = value.to_bits();
        return if value.is_nan() { NAN_16 } else { ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16 };
    }
    encode(f64::from(flush_f32(value, mode.subnormals)), Format::Bf16, mode) as u16
}

/// `cvt.rn.satfinite{.relu}.e4m3*` for one value.
#[inline]
pub fn f32_to_e4m3(value: f32, mode: Mode) -> u8 {
    encode(f64::from(value), Format::E4m3, mode) as u8
}

/// `cvt.rn.satfinite{.relu}.e5m2*` for one value.
#[inline]
pub fn f32_to_e5m2(value: f32, mode: Mode) -> u8 {
    encode(f64::from(value), Format::E5m2, mode) as u8
}

/// `cvt.{rna,rn,rz}{.relu}{.satfinite}.tf32.f32`: the register, with its low 13 bits zero.
///
/// A NaN becomes the canonical f32 NaN, whole.
#[inline]
pub fn f32_to_tf32(value: f32, mode: Mode) -> u32 {
    if value.is_nan() && mode.clamp != Clamp::Sat {
        return NAN_F32;
    }
    (encode(f64::from(value), Format::Tf32, mode) as u32) << 13
}

/// `cvt.{rn,rz,rm,rp}{.ftz}{.sat}.f32.f64`.
#[inline]
pub fn f64_to_f32(value: f64, mode: Mode) -> f32 {
    f32::from_bits(encode(value, Format::F32, mode) as u32)
}

/// `cvt.{rn,rz,rm,rp}{.sat}.f16.f64`, rounded once.
#[inline]
pub fn f64_to_f16(value: f64, mode: Mode) -> u16 {
    encode(value, Format::F16, mode) as u16
}

/// `cvt.*.f16x2.f32 d, upper, lower`.
#[inline]
pub fn f32x2_to_f16x2(upper: f32, lower: f32, mode: Mode) -> u32 {
    u32::from(f32_to_f16(upper, mode)) << 16 | u32::from(f32_to_f16(lower, mode))
}

/// `cvt.*.bf16x2.f32 d, upper, lower`.
#[inline]
pub fn f32x2_to_bf16x2(upper: f32, lower: f32, mode: Mode) -> u32 {
    u32::from(f32_to_bf16(upper, mode)) << 16 | u32::from(f32_to_bf16(lower, mode))
}

/// `cvt.rn.satfinite{.relu}.e4m3x2.f32 d, upper, lower`.
#[inline]
pub fn f32x2_to_e4m3x2(upper: f32, lower: f32, mode: Mode) -> u16 {
    u16::from(f32_to_e4m3(upper, mode)) << 8 | u16::from(f32_to_e4m3(lower, mode))
}

/// `cvt.rn.satfinite{.relu}.e5m2x2.f32 d, upper, lower`.
#[inline]
pub fn f32x2_to_e5m2x2(upper: f32, lower: f32, mode: Mode) -> u16 {
    u16::from(f32_to_e5m2(upper, mode)) << 8 | u16::from(f32_to_e5m2(lower, mode))
}

/// `cvt.rn.satfinite{.relu}.e4m3x2.f16x2`.
#[inline]
pub fn f16x2_to_e4m3x2(pair: u32, mode: Mode) -> u16 {
    f32x2_to_e4m3x2(f16_to_f32((pair >> 16) as u16), f16_to_f32(pair as u16), mode)
}

/// `cvt.rn.satfinite{.relu}.e5m2x2.f16x2`.
#[inline]
pub fn f16x2_to_e5m2x2(pair: u32, mode: Mode) -> u16 {
    f32x2_to_e5m2x2(f16_to_f32((pair >> 16) as u16), f16_to_f32(pair as u16), mode)
}

/// `cvt.rn{.relu}.f16x2.e4m3x2`. Exact.
#[inline]
pub fn e4m3x2_to_f16x2(pair: u16, clamp: Clamp) -> u32 {
    widen(pair, clamp, e4m3_to_f32)
}

/// `cvt.rn{.relu}.f16x2.e5m2x2`. Exact.
#[inline]
pub fn e5m2x2_to_f16x2(pair: u16, clamp: Clamp) -> u32 {
    widen(pair, clamp, e5m2_to_f32)
}

#[inline]
fn widen(pair: u16, clamp: Clamp, decode: impl Fn(u8) -> f32) -> u32 {
    let mode =
        Mode { round: Round::NearestEven, subnormals: Subnormals::Keep, clamp, overflow: Overflow::Infinity };
    let [lower, upper] = pair.to_le_bytes();
    f32x2_to_f16x2(decode(upper), decode(lower), mode)
}
