//! Arithmetic as PTX defines it: formats, rounding modes, `.ftz`, `.sat`, `.relu`, `.satfinite`.
//!
//! Every function is pure and gives one bit pattern on every host. Where PTX states a result exactly (conversions,
//! `.rn`, `.rz`, `.rm`, `.rp`) it is that result. Where PTX only bounds an error (`.approx`, `.full`) it is the exact
//! value rounded once, which satisfies every such bound; hardware gives other bits inside the same bound, so code that
//! needs more than the bound is not caught here.
//!
//! Two choices the manual leaves open: NaN results are canonical (`0x7fff`, `0x7fffffff`, and `0x7f` for both 8-bit
//! types), and `.relu` and `.sat` turn -0 into +0.

mod approx;
mod arith;
mod convert;
mod format;
mod int;
mod packed;
#[cfg(test)]
mod tests;

pub use approx::{
    cos_approx, div_approx, div_full, ex2_approx, ex2_approx_bf16x2, ex2_approx_f16x2, lg2_approx,
    rcp_approx, rsqrt_approx, sin_approx, sqrt_approx, tanh_approx, tanh_approx_bf16x2, tanh_approx_f16x2,
};
pub use arith::{
    NanRule, add_f32, div_f32, flush_f32, fma_f32, max_f32, max_f64, min_f32, min_f64, mul_f32, rcp_f32,
    round_integral_f32, round_integral_f64, sqrt_f32, sub_f32,
};
pub use convert::{
    bf16_to_f32, e4m3_to_f32, e4m3x2_to_f16x2, e5m2_to_f32, e5m2x2_to_f16x2, f16_to_f32, f16x2_to_e4m3x2,
    f16x2_to_e5m2x2, f32_to_bf16, f32_to_e4m3, f32_to_e5m2, f32_to_f16, f32_to_tf32, f32x2_to_bf16x2,
    f32x2_to_e4m3x2, f32x2_to_e5m2x2, f32x2_to_f16x2, f64_to_f16, f64_to_f32,
};
pub use format::{Format, decode, encode, encode_exact};
pub use int::{IntType, NanSource, float_to_int, int_to_f16, int_to_f32, int_to_f64, int_to_int_sat};
pub use packed::{Half, abs_x2, add_x2, fma_x2, max_x2, min_x2, mul_x2, neg_x2, sub_x2};

/// Which neighbour an inexact result becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// `.rn`: the nearest, ties to the even mantissa.
    NearestEven,
    /// `.rna`: the nearest, ties away from zero.
    NearestAway,
    /// `.rz`: towards zero.
    Zero,
    /// `.rm`: towards minus infinity.
    Down,
    /// `.rp`: towards plus infinity.
    Up,
}

/// What happens to subnormal f32 (and, in f16 arithmetic, f16) inputs and results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subnormals {
    /// They are numbers like any other.
    Keep,
    /// `.ftz`: they become zero of the same sign.
    Flush,
}

/// What happens to results outside a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clamp {
    /// Nothing.
    Off,
    /// `.sat`: into [0, 1], NaN becomes +0.
    Sat,
    /// `.relu`: negative results become +0, NaN becomes the canonical NaN.
    Relu,
}

/// What a finite value or infinity beyond the largest finite value of a format becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// Infinity, or the largest finite value where the rounding mode says so (NaN in e4m3, which has no infinity).
    Infinity,
    /// `.satfinite`: the largest finite value of the same sign, also for an infinite input.
    MaxFinite,
}

/// The modifiers of an instruction that affect its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// `.rn`, `.rna`, `.rz`, `.rm`, `.rp`.
    pub round: Round,
    /// `.ftz`.
    pub subnormals: Subnormals,
    /// `.sat`, `.relu`.
    pub clamp: Clamp,
    /// `.satfinite`.
    pub overflow: Overflow,
}

impl Mode {
    /// `.rn` and nothing else.
    pub const RN: Mode = Mode {
        round: Round::NearestEven,
        subnormals: Subnormals::Keep,
        clamp: Clamp::Off,
        overflow: Overflow::Infinity,
    };
    /// `.rn.ftz`.
    pub const RN_FTZ: Mode = Mode { subnormals: Subnormals::Flush, ..Mode::RN };
    /// `.rn.satfinite`, the only form that produces 8-bit floats.
    pub const RN_SATFINITE: Mode = Mode { overflow: Overflow::MaxFinite, ..Mode::RN };
}

/// The NaN of every f32 result.
pub const NAN_F32: u32 = 0x7fff_ffff;
/// The NaN of every f16 and bf16 result.
pub const NAN_16: u16 = 0x7fff;
