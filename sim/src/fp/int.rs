//! `cvt` from and to integers.

use super::arith::round_integral_f64;
use super::format::{Format, encode_exact};
use super::{Clamp, Mode, Overflow, Round};

/// An integer type of PTX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntType {
    /// 8, 16, 32 or 64.
    pub bits: u32,
    /// `.s*` rather than `.u*`.
    pub signed: bool,
}

impl IntType {
    /// `.s8`.
    pub const S8: IntType = IntType { bits: 8, signed: true };
    /// `.u8`.
    pub const U8: IntType = IntType { bits: 8, signed: false };
    /// `.s16`.
    pub const S16: IntType = IntType { bits: 16, signed: true };
    /// `.u16`.
    pub const U16: IntType = IntType { bits: 16, signed: false };
    /// `.s32`.
    pub const S32: IntType = IntType { bits: 32, signed: true };
    /// `.u32`.
    pub const U32: IntType = IntType { bits: 32, signed: false };
    /// `.s64`.
    pub const S64: IntType = IntType { bits: 64, signed: true };
    /// `.u64`.
    pub const U64: IntType = IntType { bits: 64, signed: false };

    /// The value of the low bits of `register`.
    #[inline]
    pub const fn value(self, register: u64) -> i128 {
        let shift = 64 - self.bits;
        if self.signed {
            (((register << shift) as i64) >> shift) as i128
        } else {
            ((register << shift) >> shift) as i128
        }
    }

    /// The smallest and the largest value.
    #[inline]
    pub const fn range(self) -> (i128, i128) {
        if self.signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }
}

/// Where the NaN of a conversion to an integer comes from, which decides what it becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NanSource {
    /// An f16, bf16 or f32 operand.
    Narrow,
    /// An f64 operand.
    F64,
}

/// `cvt.{rni,rzi,rmi,rpi}.<int>.<float>`: rounded to an integer, then clamped into the type's range.
///
/// NaN becomes 0, or only the top bit of the type if the operand is f64 or the type has 64 bits. The result fills a
/// 64-bit register: sign-extended for signed types, zero-extended for unsigned ones. Flush an f32 first for `.ftz`.
#[inline]
pub fn float_to_int(value: f64, round: Round, to: IntType, source: NanSource) -> u64 {
    if value.is_nan() {
        let top = to.bits == 64 || source == NanSource::F64;
        return if top { to.value(1 << (to.bits - 1)) as u64 } else { 0 };
    }
    let (low, high) = to.range();
    // The cast saturates at the ends of i128, which every PTX type is inside.
    (round_integral_f64(value, round) as i128).clamp(low, high) as u64
}

#[inline]
fn int_to_float(register: u64, from: IntType, format: Format, round: Round) -> u64 {
    let value = from.value(register);
    encode_exact(value < 0, value.unsigned_abs() as u64, 0, format, round, Overflow::Infinity)
}

/// `cvt.{rn,rz,rm,rp}.f16.<int>`, rounded once.
#[inline]
pub fn int_to_f16(register: u64, from: IntType, round: Round) -> u16 {
    int_to_float(register, from, Format::F16, round) as u16
}

/// `cvt.{rn,rz,rm,rp}{.sat}.f32.<int>`, rounded once.
#[inline]
pub fn int_to_f32(register: u64, from: IntType, mode: Mode) -> f32 {
    let value = f32::from_bits(int_to_float(register, from, Format::F32, mode.round) as u32);
    match mode.clamp {
        Clamp::Off => value,
        Clamp::Sat => value.clamp(0.0, 1.0),
        Clamp::Relu => value.max(0.0),
    }
}

/// `cvt.{rn,rz,rm,rp}.f64.<int>`, rounded once.
#[inline]
pub fn int_to_f64(register: u64, from: IntType, round: Round) -> f64 {
    f64::from_bits(int_to_float(register, from, Format::F64, round))
}

/// `cvt.sat.<int>.<int>`: clamped into the range of `to`, extended to 64 bits as [`float_to_int`] does.
#[inline]
pub fn int_to_int_sat(register: u64, from: IntType, to: IntType) -> u64 {
    let (low, high) = to.range();
    from.value(register).clamp(low, high) as u64
}
