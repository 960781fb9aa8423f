//! The `.approx` and `.full` functions: exact values rounded once, with PTX's results at the special operands.
//!
//! | function | error PTX allows |
//! | --- | --- |
//! | `ex2.approx.f32` | 2 ulp (relative 2^-22.5) |
//! | `lg2.approx.f32` | absolute 2^-22 on (0.5, 2), relative 2^-22 elsewhere |
//! | `rcp.approx`, `rsqrt.approx`, `sqrt.approx` | 1 ulp, relative 2^-22.9, relative 2^-23 |
//! | `sin.approx`, `cos.approx` | absolute 2^-20.5 on [-2π, 2π] |
//! | `tanh.approx.f32`, 16-bit forms | relative 2^-11, absolute 2^-10.987 (f16), 2^-8 (bf16) |
//! | `ex2.approx` f16, bf16 | relative 2^-9.9, 2^-7 |
//! | `div.approx`, `div.full` | 2 ulp |
//!
//! `ex2` is a polynomial rather than the library's function because attention calls it once per score.

use super::arith::{div_f32, flush_f32, rcp_f32, sqrt_f32};
use super::packed::{Half, both};
use super::{Clamp, Mode, NAN_F32, Subnormals};

#[inline]
fn narrow(value: f64, subnormals: Subnormals) -> f32 {
    if value.is_nan() { f32::from_bits(NAN_F32) } else { flush_f32(value as f32, subnormals) }
}

#[inline]
fn mode(subnormals: Subnormals) -> Mode {
    Mode { subnormals, ..Mode::RN }
}

/// 2^x to about 1e-14, for finite x; beyond the exponents of f32 (and of its subnormals) it stays beyond them.
#[inline]
fn exp2(x: f64) -> f64 {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52: adding it rounds to an integer
    const LN_2: f64 = std::f64::consts::LN_2;
    let x = x.clamp(-200.0, 200.0);
    let shifted = x + SHIFT;
    let r = (x - (shifted - SHIFT)) * LN_2;
    // Taylor's series of exp on |r| <= 0.347: the first term left out is below 1e-14.
    let mut sum = 1.0 / 39_916_800.0;
    for inverse in [3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * r + 1.0 / inverse;
    }
    // The integer stands in the low bits of the shifted value; as an exponent it scales, without a conversion.
    sum * f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52))
}

/// `ex2.approx{.ftz}.f32`.
#[inline]
pub fn ex2_approx(x: f32, subnormals: Subnormals) -> f32 {
    if x.is_nan() {
        return f32::from_bits(NAN_F32);
    }
    narrow(exp2(f64::from(flush_f32(x, subnormals))), subnormals)
}

/// `lg2.approx{.ftz}.f32`. Zero gives minus infinity, a negative operand NaN.
#[inline]
pub fn lg2_approx(x: f32, subnormals: Subnormals) -> f32 {
    narrow(f64::from(flush_f32(x, subnormals)).log2(), subnormals)
}

/// `rcp.approx{.ftz}.f32`.
#[inline]
pub fn rcp_approx(x: f32, subnormals: Subnormals) -> f32 {
    rcp_f32(x, mode(subnormals))
}

/// `rsqrt.approx{.ftz}.f32`. Zero gives infinity of its sign, a negative operand NaN.
#[inline]
pub fn rsqrt_approx(x: f32, subnormals: Subnormals) -> f32 {
    narrow(1.0 / f64::from(flush_f32(x, subnormals)).sqrt(), subnormals)
}

/// `sqrt.approx{.ftz}.f32`.
#[inline]
pub fn sqrt_approx(x: f32, subnormals: Subnormals) -> f32 {
    sqrt_f32(x, mode(subnormals))
}

/// `sin.approx{.ftz}.f32`, radians. Infinity gives NaN. The true sine on the whole range, where hardware is only good
/// within two turns.
#[inline]
pub fn sin_approx(x: f32, subnormals: Subnormals) -> f32 {
    narrow(f64::from(flush_f32(x, subnormals)).sin(), subnormals)
}

/// `cos.approx{.ftz}.f32`, radians. As [`sin_approx`].
#[inline]
pub fn cos_approx(x: f32, subnormals: Subnormals) -> f32 {
    narrow(f64::from(flush_f32(x, subnormals)).cos(), subnormals)
}

/// `tanh.approx.f32`.
#[inline]
pub fn tanh_approx(x: f32) -> f32 {
    narrow(f64::from(x).tanh(), Subnormals::Keep)
}

/// `div.approx{.ftz}.f32`. A divisor beyond 2^126 gives what the manual states: zero, and NaN for an infinite dividend,
/// because hardware multiplies by a reciprocal that is flushed to zero.
#[inline]
pub fn div_approx(a: f32, b: f32, subnormals: Subnormals) -> f32 {
    let magnitude = b.abs();
    if magnitude > f32::from_bits((126 + 127) << 23) && !a.is_nan() {
        let sign = 1.0_f32.copysign(a) * 1.0_f32.copysign(b);
        return if a.is_infinite() { f32::from_bits(NAN_F32) } else { 0.0_f32.copysign(sign) };
    }
    div_f32(a, b, mode(subnormals))
}

/// `div.full{.ftz}.f32`: scaled, so that the whole range of divisors works.
#[inline]
pub fn div_full(a: f32, b: f32, subnormals: Subnormals) -> f32 {
    div_f32(a, b, mode(subnormals))
}

#[inline]
fn map_half(half: Half, pair: u32, subnormals: Subnormals, f: impl Fn(f64) -> f64) -> u32 {
    both(pair, |x| half.write(f(f64::from(half.read(x, subnormals))), subnormals, Clamp::Off))
}

/// `ex2.approx{.ftz}.f16x2`.
#[inline]
pub fn ex2_approx_f16x2(pair: u32, subnormals: Subnormals) -> u32 {
    map_half(Half::F16, pair, subnormals, exp2)
}

/// `ex2.approx.ftz.bf16x2`.
#[inline]
pub fn ex2_approx_bf16x2(pair: u32) -> u32 {
    map_half(Half::Bf16, pair, Subnormals::Flush, exp2)
}

/// `tanh.approx.f16x2`.
#[inline]
pub fn tanh_approx_f16x2(pair: u32) -> u32 {
    map_half(Half::F16, pair, Subnormals::Keep, f64::tanh)
}

/// `tanh.approx.bf16x2`.
#[inline]
pub fn tanh_approx_bf16x2(pair: u32) -> u32 {
    map_half(Half::Bf16, pair, Subnormals::Keep, f64::tanh)
}
