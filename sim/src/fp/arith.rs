//! f32 arithmetic under every rounding mode, minimum and maximum, rounding to integers.
//!
//! The f32 result of an operation is the rounding of an f64 that keeps enough to decide. Products are exact there. Sums
//! are made odd in the last place if they were inexact (rounding to odd), after which one rounding to f32 gives the
//! result of the exact value in every mode. Quotients and roots of 24-bit numbers need no such help: they differ from
//! every f32, and from every midpoint of two, by more than f64 can lose, unless they are equal to it.

use super::format::{Format, encode};
use super::{Clamp, Mode, NAN_F32, Round, Subnormals};

/// `value`, or zero of its sign if it is subnormal and `.ftz` is on.
#[inline]
pub fn flush_f32(value: f32, subnormals: Subnormals) -> f32 {
    match subnormals {
        Subnormals::Flush if value.is_subnormal() => 0.0_f32.copysign(value),
        Subnormals::Keep | Subnormals::Flush => value,
    }
}

/// `nearest`, moved to the odd neighbour if the exact value differs from it by an amount with the sign of `error`.
#[inline]
pub(super) fn to_odd(nearest: f64, error: f64) -> f64 {
    let bits = nearest.to_bits();
    if error == 0.0 || error.is_nan() || !nearest.is_finite() || bits & 1 == 1 {
        return nearest;
    }
    let outwards = (error > 0.0) == (nearest > 0.0);
    f64::from_bits(if outwards { bits + 1 } else { bits - 1 })
}

/// `a + b` rounded to odd. Neither may be so large that the sum overflows f64.
#[inline]
pub(super) fn odd_sum(a: f64, b: f64) -> f64 {
    let sum = a + b;
    let of_b = sum - a;
    to_odd(sum, (a - (sum - of_b)) + (b - of_b))
}

/// Rounds an f64 that carries an f32 result: natively where that is the same thing.
#[inline]
fn finish(value: f64, mode: Mode) -> f32 {
    if (mode == Mode::RN || mode == Mode::RN_FTZ) && !value.is_nan() {
        return flush_f32(value as f32, mode.subnormals);
    }
    f32::from_bits(encode(value, Format::F32, mode) as u32)
}

/// The sum of an exact product and an addend, with the sign that a zero sum has under the rounding mode.
#[inline]
fn sum_then_round(a: f64, b: f64, mode: Mode) -> f32 {
    let sum = odd_sum(a, b);
    let cancelled = sum == 0.0 && a.is_sign_negative() != b.is_sign_negative();
    finish(if cancelled && mode.round == Round::Down { -0.0 } else { sum }, mode)
}

/// `add{.rnd}{.ftz}{.sat}.f32`.
#[inline]
pub fn add_f32(a: f32, b: f32, mode: Mode) -> f32 {
    let [a, b] = [a, b].map(|x| f64::from(flush_f32(x, mode.subnormals)));
    sum_then_round(a, b, mode)
}

/// `sub{.rnd}{.ftz}{.sat}.f32`.
#[inline]
pub fn sub_f32(a: f32, b: f32, mode: Mode) -> f32 {
    add_f32(a, -b, mode)
}

/// `mul{.rnd}{.ftz}{.sat}.f32`.
#[inline]
pub fn mul_f32(a: f32, b: f32, mode: Mode) -> f32 {
    let [a, b] = [a, b].map(|x| f64::from(flush_f32(x, mode.subnormals)));
    finish(a * b, mode)
}

/// `fma.rnd{.ftz}{.sat}.f32`: one rounding. `mad.rnd.f32` is the same operation.
#[inline]
pub fn fma_f32(a: f32, b: f32, c: f32, mode: Mode) -> f32 {
    let [a, b, c] = [a, b, c].map(|x| f64::from(flush_f32(x, mode.subnormals)));
    sum_then_round(a * b, c, mode)
}

/// `div.rnd{.ftz}.f32`, correctly rounded.
#[inline]
pub fn div_f32(a: f32, b: f32, mode: Mode) -> f32 {
    let [a, b] = [a, b].map(|x| f64::from(flush_f32(x, mode.subnormals)));
    finish(a / b, mode)
}

/// `rcp.rnd{.ftz}.f32`, correctly rounded.
#[inline]
pub fn rcp_f32(a: f32, mode: Mode) -> f32 {
    div_f32(1.0, a, mode)
}

/// `sqrt.rnd{.ftz}.f32`, correctly rounded. -0 stays -0; a negative operand gives NaN.
#[inline]
pub fn sqrt_f32(a: f32, mode: Mode) -> f32 {
    finish(f64::from(flush_f32(a, mode.subnormals)).sqrt(), mode)
}

/// What `min` and `max` make of one NaN operand. Two give the canonical NaN under either rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NanRule {
    /// The result is the operand that is a number.
    Number,
    /// `.NaN`: the result is the canonical NaN.
    Propagate,
}

macro_rules! extremum {
    ($(#[$doc:meta])* $name:ident, $float:ty, $nan:expr, $picks:expr) => {
        $(#[$doc])*
        #[inline]
        pub fn $name(a: $float, b: $float, rule: NanRule) -> $float {
            match (a.is_nan(), b.is_nan(), rule) {
                (true, true, _) | (true, _, NanRule::Propagate) | (_, true, NanRule::Propagate) => $nan,
                (true, false, NanRule::Number) => b,
                (false, true, NanRule::Number) => a,
                (false, false, _) => {
                    let picks: fn($float, $float) -> bool = $picks;
                    if picks(a, b) { a } else { b }
                }
            }
        }
    };
}

extremum! {
    /// `min{.NaN}.f32`; -0 is smaller than +0. Flush the operands first for `.ftz`.
    min_f32, f32, f32::from_bits(NAN_F32), |a, b| a < b || (a == b && a.is_sign_negative())
}
extremum! {
    /// `max{.NaN}.f32`; +0 is larger than -0. Flush the operands first for `.ftz`.
    max_f32, f32, f32::from_bits(NAN_F32), |a, b| a > b || (a == b && a.is_sign_positive())
}
extremum! {
    /// `min.f64`; -0 is smaller than +0.
    min_f64, f64, f64::NAN, |a, b| a < b || (a == b && a.is_sign_negative())
}
extremum! {
    /// `max.f64`; +0 is larger than -0.
    max_f64, f64, f64::NAN, |a, b| a > b || (a == b && a.is_sign_positive())
}

/// `value` rounded to an integer in the same type: `cvt.{rni,rzi,rmi,rpi}.f64.f64`.
#[inline]
pub fn round_integral_f64(value: f64, round: Round) -> f64 {
    match round {
        Round::NearestEven => value.round_ties_even(),
        Round::NearestAway => value.round(),
        Round::Zero => value.trunc(),
        Round::Down => value.floor(),
        Round::Up => value.ceil(),
    }
}

/// `value` rounded to an integer in the same type: `cvt.{rni,rzi,rmi,rpi}{.ftz}{.sat}.f32.f32`.
#[inline]
pub fn round_integral_f32(value: f32, mode: Mode) -> f32 {
    let whole = round_integral_f64(f64::from(flush_f32(value, mode.subnormals)), mode.round);
    match mode.clamp {
        Clamp::Off if !whole.is_nan() => whole as f32,
        Clamp::Off | Clamp::Sat | Clamp::Relu => f32::from_bits(encode(whole, Format::F32, mode) as u32),
    }
}
