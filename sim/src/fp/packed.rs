//! Arithmetic on f16x2 and bf16x2 registers; the single forms `.f16` and `.bf16` are the lower half of these.
//!
//! Products of 8- and 11-bit mantissas are exact in f64, and sums are rounded to odd there, so each result is rounded
//! once whatever the exponents.

use super::arith::odd_sum;
use super::convert::{bf16_to_f32, f16_to_f32};
use super::format::{Format, encode};
use super::{Clamp, Mode, NAN_16, NanRule, Overflow, Round, Subnormals, max_f32, min_f32};

/// A 16-bit float type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

impl Half {
    #[inline]
    pub(super) fn read(self, bits: u16, subnormals: Subnormals) -> f32 {
        let bits = self.flush(bits, subnormals);
        match self {
            Half::F16 => f16_to_f32(bits),
            Half::Bf16 => bf16_to_f32(bits),
        }
    }

    #[inline]
    fn exponent_mask(self) -> u16 {
        match self {
            Half::F16 => 0x7c00,
            Half::Bf16 => 0x7f80,
        }
    }

    #[inline]
    fn flush(self, bits: u16, subnormals: Subnormals) -> u16 {
        match subnormals {
            Subnormals::Flush if bits & self.exponent_mask() == 0 => bits & 0x8000,
            Subnormals::Keep | Subnormals::Flush => bits,
        }
    }

    #[inline]
    pub(super) fn write(self, value: f64, subnormals: Subnormals, clamp: Clamp) -> u16 {
        let format = match self {
            Half::F16 => Format::F16,
            Half::Bf16 => Format::Bf16,
        };
        let mode = Mode { round: Round::NearestEven, subnormals, clamp, overflow: Overflow::Infinity };
        self.flush(encode(value, format, mode) as u16, subnormals)
    }
}

#[inline]
pub(super) fn both(a: u32, f: impl Fn(u16) -> u16) -> u32 {
    u32::from(f((a >> 16) as u16)) << 16 | u32::from(f(a as u16))
}

#[inline]
fn pairwise(a: u32, b: u32, f: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16 | u32::from(f(a as u16, b as u16))
}

/// `fma.rn{.ftz}{.sat,.relu}.{f16x2,bf16x2}`, one rounding.
#[inline]
pub fn fma_x2(half: Half, a: u32, b: u32, c: u32, subnormals: Subnormals, clamp: Clamp) -> u32 {
    let one = |shift: u32| {
        let [a, b, c] = [a, b, c].map(|x| f64::from(half.read((x >> shift) as u16, subnormals)));
        u32::from(half.write(odd_sum(a * b, c), subnormals, clamp))
    };
    one(16) << 16 | one(0)
}

/// `add{.rn}{.ftz}{.sat}.{f16x2,bf16x2}`.
#[inline]
pub fn add_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, clamp: Clamp) -> u32 {
    pairwise(a, b, |a, b| {
        let [a, b] = [a, b].map(|x| f64::from(half.read(x, subnormals)));
        half.write(odd_sum(a, b), subnormals, clamp)
    })
}

/// `sub{.rn}{.ftz}{.sat}.{f16x2,bf16x2}`.
#[inline]
pub fn sub_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, clamp: Clamp) -> u32 {
    add_x2(half, a, b ^ 0x8000_8000, subnormals, clamp)
}

/// `mul{.rn}{.ftz}{.sat}.{f16x2,bf16x2}`.
#[inline]
pub fn mul_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, clamp: Clamp) -> u32 {
    pairwise(a, b, |a, b| {
        let [a, b] = [a, b].map(|x| f64::from(half.read(x, subnormals)));
        half.write(a * b, subnormals, clamp)
    })
}

#[inline]
fn extremum_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, pick: impl Fn(f32, f32) -> f32) -> u32 {
    pairwise(a, b, |a, b| {
        let picked = pick(half.read(a, subnormals), half.read(b, subnormals));
        if picked.is_nan() { NAN_16 } else { half.write(f64::from(picked), subnormals, Clamp::Off) }
    })
}

/// `min{.ftz}{.NaN}.{f16x2,bf16x2}`; -0 is smaller than +0.
#[inline]
pub fn min_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, rule: NanRule) -> u32 {
    extremum_x2(half, a, b, subnormals, |a, b| min_f32(a, b, rule))
}

/// `max{.ftz}{.NaN}.{f16x2,bf16x2}`; +0 is larger than -0.
#[inline]
pub fn max_x2(half: Half, a: u32, b: u32, subnormals: Subnormals, rule: NanRule) -> u32 {
    extremum_x2(half, a, b, subnormals, |a, b| max_f32(a, b, rule))
}

/// `neg{.ftz}.{f16x2,bf16x2}`: flips the signs, of NaN too.
#[inline]
pub fn neg_x2(half: Half, a: u32, subnormals: Subnormals) -> u32 {
    both(a ^ 0x8000_8000, |x| half.flush(x, subnormals))
}

/// `abs{.ftz}.{f16x2,bf16x2}`: clears the signs, of NaN too.
#[inline]
pub fn abs_x2(half: Half, a: u32, subnormals: Subnormals) -> u32 {
    both(a & 0x7fff_7fff, |x| half.flush(x, subnormals))
}
