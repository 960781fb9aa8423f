//! table: single and double precision forms (PTX ISA 9.7.3), and the approximations.
//!
//! Round-to-nearest without `.ftz` is the host's own arithmetic; everything else goes through `fp`.

use super::lane;
use super::round::{self, Rounding};
use crate::fp::{self, Clamp, Mode, NanRule, Round, Subnormals};
use crate::isa::Table;

/// Adds every form of this file.
pub(crate) fn add(t: &mut Table) {
    single(t);
    single_directed(t);
    approximate(t);
    double(t);
    compare(t);
}

#[inline(always)]
fn f(bits: u32) -> f32 {
    f32::from_bits(bits)
}

#[inline(always)]
fn g(bits: u64) -> f64 {
    f64::from_bits(bits)
}

/// `.ftz` on bits, in a form that vectorises.
#[inline(always)]
fn z(bits: u32) -> f32 {
    f32::from_bits(if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits })
}

#[inline(always)]
fn zo(value: f32) -> u32 {
    z(value.to_bits()).to_bits()
}

/// The bits of a result: every NaN is the canonical one, in a form that vectorises.
#[inline(always)]
fn o(value: f32) -> u32 {
    if value.is_nan() { fp::NAN_F32 } else { value.to_bits() }
}

/// `.sat`: NaN becomes +0.
#[inline(always)]
fn sat(value: f32) -> u32 {
    if value > 0.0 { value.min(1.0).to_bits() } else { 0 }
}

#[inline(always)]
fn max(a: f32, b: f32) -> f32 {
    let larger = if a > b || (a == b && a.is_sign_positive()) { a } else { b };
    let one = if b.is_nan() { a } else { larger };
    if one.is_nan() { f32::from_bits(fp::NAN_F32) } else { one }
}

#[inline(always)]
fn min(a: f32, b: f32) -> f32 {
    let smaller = if a < b || (a == b && a.is_sign_negative()) { a } else { b };
    let one = if b.is_nan() { a } else { smaller };
    if one.is_nan() { f32::from_bits(fp::NAN_F32) } else { one }
}

fn single(t: &mut Table) {
    lane!(t, "add{.rn,}.f32", W = (a: W, b: W) => o(f(a) + f(b)));
    lane!(t, "sub{.rn,}.f32", W = (a: W, b: W) => o(f(a) - f(b)));
    lane!(t, "mul{.rn,}.f32", W = (a: W, b: W) => o(f(a) * f(b)));
    lane!(t, "{fma,mad}.rn.f32", W = (a: W, b: W, c: W) => o(f(a).mul_add(f(b), f(c))));
    lane!(t, "div.rn.f32", W = (a: W, b: W) => o(f(a) / f(b)));
    lane!(t, "rcp.rn.f32", W = (a: W) => o(1.0 / f(a)));
    lane!(t, "sqrt.rn.f32", W = (a: W) => o(f(a).sqrt()));
    lane!(t, "add{.rn,}.ftz.f32", W = (a: W, b: W) => zo(f(o(z(a) + z(b)))));
    lane!(t, "sub{.rn,}.ftz.f32", W = (a: W, b: W) => zo(f(o(z(a) - z(b)))));
    lane!(t, "mul{.rn,}.ftz.f32", W = (a: W, b: W) => zo(f(o(z(a) * z(b)))));
    lane!(t, "{fma,mad}.rn.ftz.f32", W = (a: W, b: W, c: W) => zo(f(o(z(a).mul_add(z(b), z(c))))));
    lane!(t, "div.rn.ftz.f32", W = (a: W, b: W) => zo(f(o(z(a) / z(b)))));
    lane!(t, "rcp.rn.ftz.f32", W = (a: W) => zo(f(o(1.0 / z(a)))));
    lane!(t, "sqrt.rn.ftz.f32", W = (a: W) => zo(f(o(z(a).sqrt()))));
    lane!(t, "add{.rn,}.sat.f32", W = (a: W, b: W) => sat(f(a) + f(b)));
    lane!(t, "sub{.rn,}.sat.f32", W = (a: W, b: W) => sat(f(a) - f(b)));
    lane!(t, "mul{.rn,}.sat.f32", W = (a: W, b: W) => sat(f(a) * f(b)));
    lane!(t, "{fma,mad}.rn.sat.f32", W = (a: W, b: W, c: W) => sat(f(a).mul_add(f(b), f(c))));
    lane!(t, "add{.rn,}.ftz.sat.f32", W = (a: W, b: W) => sat(z(a) + z(b)));
    lane!(t, "sub{.rn,}.ftz.sat.f32", W = (a: W, b: W) => sat(z(a) - z(b)));
    lane!(t, "mul{.rn,}.ftz.sat.f32", W = (a: W, b: W) => sat(z(a) * z(b)));
    lane!(t, "{fma,mad}.rn.ftz.sat.f32", W = (a: W, b: W, c: W) => sat(z(a).mul_add(z(b), z(c))));
    lane!(t, "abs.f32", W = (a: W) => a & 0x7fff_ffff);
    lane!(t, "neg.f32", W = (a: W) => a ^ 0x8000_0000);
    lane!(t, "abs.ftz.f32", W = (a: W) => zo(f(a)) & 0x7fff_ffff);
    lane!(t, "neg.ftz.f32", W = (a: W) => zo(f(a)) ^ 0x8000_0000);
    lane!(t, "min.f32", W = (a: W, b: W) => min(f(a), f(b)).to_bits());
    lane!(t, "max.f32", W = (a: W, b: W) => max(f(a), f(b)).to_bits());
    lane!(t, "min.ftz.f32", W = (a: W, b: W) => min(z(a), z(b)).to_bits());
    lane!(t, "max.ftz.f32", W = (a: W, b: W) => max(z(a), z(b)).to_bits());
    lane!(t, "min.f32", W = (a: W, b: W, c: W) => min(min(f(a), f(b)), f(c)).to_bits());
    lane!(t, "max.f32", W = (a: W, b: W, c: W) => max(max(f(a), f(b)), f(c)).to_bits());
    lane!(t, "min.NaN.f32", W = (a: W, b: W) => fp::min_f32(f(a), f(b), NanRule::Propagate).to_bits());
    lane!(t, "max.NaN.f32", W = (a: W, b: W) => fp::max_f32(f(a), f(b), NanRule::Propagate).to_bits());
    lane!(t, "min.ftz.NaN.f32", W = (a: W, b: W) => fp::min_f32(z(a), z(b), NanRule::Propagate).to_bits());
    lane!(t, "max.ftz.NaN.f32", W = (a: W, b: W) => fp::max_f32(z(a), z(b), NanRule::Propagate).to_bits());
    lane!(t, "copysign.f32", W = (a: W, b: W) => (b & 0x7fff_ffff) | (a & 0x8000_0000));
    lane!(t, "testp.finite.f32", P = (a: W) => f(a).is_finite());
    lane!(t, "testp.infinite.f32", P = (a: W) => f(a).is_infinite());
    lane!(t, "testp.number.f32", P = (a: W) => !f(a).is_nan());
    lane!(t, "testp.notanumber.f32", P = (a: W) => f(a).is_nan());
    lane!(t, "testp.normal.f32", P = (a: W) => f(a).is_normal());
    lane!(t, "testp.subnormal.f32", P = (a: W) => f(a).is_subnormal());
}

/// Rounding and `.ftz` of a directed form, from its constant.
#[inline(always)]
fn mode(imm: u32) -> Mode {
    Mode {
        round: match imm & 3 {
            0 => Round::NearestEven,
            1 => Round::Zero,
            2 => Round::Down,
            _ => Round::Up,
        },
        subnormals: if imm & 4 != 0 { Subnormals::Flush } else { Subnormals::Keep },
        clamp: if imm & 8 != 0 { Clamp::Sat } else { Clamp::Off },
        ..Mode::RN
    }
}

fn single_directed(t: &mut Table) {
    for (i, r) in [(1, "rz"), (2, "rm"), (3, "rp")] {
        for (z, ftz) in [(0, ""), (4, ".ftz")] {
            for (s, sat) in [(0, ""), (8, ".sat")] {
                let imm = i | z | s;
                lane!(t, &format!("add.{r}{ftz}{sat}.f32"), imm, W = (m; a: W, b: W) =>
                    fp::add_f32(f(a), f(b), mode(m)).to_bits());
                lane!(t, &format!("sub.{r}{ftz}{sat}.f32"), imm, W = (m; a: W, b: W) =>
                    fp::sub_f32(f(a), f(b), mode(m)).to_bits());
                lane!(t, &format!("mul.{r}{ftz}{sat}.f32"), imm, W = (m; a: W, b: W) =>
                    fp::mul_f32(f(a), f(b), mode(m)).to_bits());
                lane!(t, &format!("{{fma,mad}}.{r}{ftz}{sat}.f32"), imm, W = (m; a: W, b: W, c: W) =>
                    fp::fma_f32(f(a), f(b), f(c), mode(m)).to_bits());
            }
            let imm = i | z;
            lane!(t, &format!("div.{r}{ftz}.f32"), imm, W = (m; a: W, b: W) =>
                fp::div_f32(f(a), f(b), mode(m)).to_bits());
            lane!(t, &format!("rcp.{r}{ftz}.f32"), imm, W = (m; a: W) => fp::rcp_f32(f(a), mode(m)).to_bits());
            lane!(t, &format!("sqrt.{r}{ftz}.f32"), imm, W = (m; a: W) => fp::sqrt_f32(f(a), mode(m)).to_bits());
        }
    }
}

fn approximate(t: &mut Table) {
    const KEEP: Subnormals = Subnormals::Keep;
    const FLUSH: Subnormals = Subnormals::Flush;
    lane!(t, "ex2.approx.f32", W = (a: W) => fp::ex2_approx(f(a), KEEP).to_bits());
    lane!(t, "ex2.approx.ftz.f32", W = (a: W) => fp::ex2_approx(f(a), FLUSH).to_bits());
    lane!(t, "lg2.approx.f32", W = (a: W) => fp::lg2_approx(f(a), KEEP).to_bits());
    lane!(t, "lg2.approx.ftz.f32", W = (a: W) => fp::lg2_approx(f(a), FLUSH).to_bits());
    lane!(t, "rcp.approx.f32", W = (a: W) => fp::rcp_approx(f(a), KEEP).to_bits());
    lane!(t, "rcp.approx.ftz.f32", W = (a: W) => fp::rcp_approx(f(a), FLUSH).to_bits());
    lane!(t, "sqrt.approx.f32", W = (a: W) => fp::sqrt_approx(f(a), KEEP).to_bits());
    lane!(t, "sqrt.approx.ftz.f32", W = (a: W) => fp::sqrt_approx(f(a), FLUSH).to_bits());
    lane!(t, "rsqrt.approx.f32", W = (a: W) => fp::rsqrt_approx(f(a), KEEP).to_bits());
    lane!(t, "rsqrt.approx.ftz.f32", W = (a: W) => fp::rsqrt_approx(f(a), FLUSH).to_bits());
    lane!(t, "sin.approx.f32", W = (a: W) => fp::sin_approx(f(a), KEEP).to_bits());
    lane!(t, "sin.approx.ftz.f32", W = (a: W) => fp::sin_approx(f(a), FLUSH).to_bits());
    lane!(t, "cos.approx.f32", W = (a: W) => fp::cos_approx(f(a), KEEP).to_bits());
    lane!(t, "cos.approx.ftz.f32", W = (a: W) => fp::cos_approx(f(a), FLUSH).to_bits());
    lane!(t, "tanh.approx.f32", W = (a: W) => fp::tanh_approx(f(a)).to_bits());
    lane!(t, "div.approx.f32", W = (a: W, b: W) => fp::div_approx(f(a), f(b), KEEP).to_bits());
    lane!(t, "div.approx.ftz.f32", W = (a: W, b: W) => fp::div_approx(f(a), f(b), FLUSH).to_bits());
    lane!(t, "div.full.f32", W = (a: W, b: W) => fp::div_full(f(a), f(b), KEEP).to_bits());
    lane!(t, "div.full.ftz.f32", W = (a: W, b: W) => fp::div_full(f(a), f(b), FLUSH).to_bits());
    lane!(t, "rcp.approx.ftz.f64", Q = (a: Q) => (1.0 / g(a)).to_bits());
    lane!(t, "rsqrt.approx{.ftz,}.f64", Q = (a: Q) => (1.0 / g(a).sqrt()).to_bits());
}

#[inline(always)]
fn rounding(imm: u32) -> Rounding {
    match imm {
        0 => Rounding::Nearest,
        1 => Rounding::Zero,
        2 => Rounding::Down,
        _ => Rounding::Up,
    }
}

fn double(t: &mut Table) {
    lane!(t, "add{.rn,}.f64", Q = (a: Q, b: Q) => (g(a) + g(b)).to_bits());
    lane!(t, "sub{.rn,}.f64", Q = (a: Q, b: Q) => (g(a) - g(b)).to_bits());
    lane!(t, "mul{.rn,}.f64", Q = (a: Q, b: Q) => (g(a) * g(b)).to_bits());
    lane!(t, "{fma,mad}.rn.f64", Q = (a: Q, b: Q, c: Q) => g(a).mul_add(g(b), g(c)).to_bits());
    lane!(t, "div.rn.f64", Q = (a: Q, b: Q) => (g(a) / g(b)).to_bits());
    lane!(t, "rcp.rn.f64", Q = (a: Q) => (1.0 / g(a)).to_bits());
    lane!(t, "sqrt.rn.f64", Q = (a: Q) => g(a).sqrt().to_bits());
    for (i, r) in [(1, "rz"), (2, "rm"), (3, "rp")] {
        lane!(t, &format!("add.{r}.f64"), i, Q = (m; a: Q, b: Q) =>
            round::add64(g(a), g(b), rounding(m)).to_bits());
        lane!(t, &format!("sub.{r}.f64"), i, Q = (m; a: Q, b: Q) =>
            round::add64(g(a), -g(b), rounding(m)).to_bits());
        lane!(t, &format!("mul.{r}.f64"), i, Q = (m; a: Q, b: Q) =>
            round::mul64(g(a), g(b), rounding(m)).to_bits());
        lane!(t, &format!("{{fma,mad}}.{r}.f64"), i, Q = (m; a: Q, b: Q, c: Q) =>
            round::fma64(g(a), g(b), g(c), rounding(m)).to_bits());
        lane!(t, &format!("div.{r}.f64"), i, Q = (m; a: Q, b: Q) =>
            round::div64(g(a), g(b), rounding(m)).to_bits());
        lane!(t, &format!("rcp.{r}.f64"), i, Q = (m; a: Q) => round::div64(1.0, g(a), rounding(m)).to_bits());
        lane!(t, &format!("sqrt.{r}.f64"), i, Q = (m; a: Q) => round::sqrt64(g(a), rounding(m)).to_bits());
    }
    lane!(t, "abs.f64", Q = (a: Q) => a & !(1 << 63));
    lane!(t, "neg.f64", Q = (a: Q) => a ^ (1 << 63));
    lane!(t, "min.f64", Q = (a: Q, b: Q) => fp::min_f64(g(a), g(b), NanRule::Number).to_bits());
    lane!(t, "max.f64", Q = (a: Q, b: Q) => fp::max_f64(g(a), g(b), NanRule::Number).to_bits());
    lane!(t, "copysign.f64", Q = (a: Q, b: Q) => (b & !(1 << 63)) | (a & (1 << 63)));
    lane!(t, "testp.finite.f64", P = (a: Q) => g(a).is_finite());
    lane!(t, "testp.infinite.f64", P = (a: Q) => g(a).is_infinite());
    lane!(t, "testp.number.f64", P = (a: Q) => !g(a).is_nan());
    lane!(t, "testp.notanumber.f64", P = (a: Q) => g(a).is_nan());
    lane!(t, "testp.normal.f64", P = (a: Q) => g(a).is_normal());
    lane!(t, "testp.subnormal.f64", P = (a: Q) => g(a).is_subnormal());
}

macro_rules! float_compare {
    ($t:expr, $name:literal, $a:ident, $b:ident, $e:expr) => {
        lane!($t, concat!("setp.", $name, ".f32"), P = (a: W, b: W) => { let ($a, $b) = (f(a), f(b)); $e });
        lane!($t, concat!("setp.", $name, ".ftz.f32"), P = (a: W, b: W) => { let ($a, $b) = (z(a), z(b)); $e });
        lane!($t, concat!("setp.", $name, ".f64"), P = (a: Q, b: Q) => { let ($a, $b) = (g(a), g(b)); $e });
        lane!($t, concat!("setp.", $name, "{.ftz,}.f16"), P = (a: W, b: W) => {
            let ($a, $b) = (fp::f16_to_f32(a as u16), fp::f16_to_f32(b as u16));
            $e
        });
        lane!($t, concat!("set.", $name, "{.ftz,}.f16.f16"), W = (a: W, b: W) => {
            let ($a, $b) = (fp::f16_to_f32(a as u16), fp::f16_to_f32(b as u16));
            if $e { 0x3c00 } else { 0 }
        });
        lane!($t, concat!("set.", $name, ".bf16.bf16"), W = (a: W, b: W) => {
            let ($a, $b) = (fp::bf16_to_f32(a as u16), fp::bf16_to_f32(b as u16));
            if $e { 0x3f80 } else { 0 }
        });
        lane!($t, concat!("set.", $name, "{.ftz,}.f16x2.f16x2"), W = (a: W, b: W) => halves(a, b, 0x3c00, |a, b| {
            let ($a, $b) = (fp::f16_to_f32(a), fp::f16_to_f32(b));
            $e
        }));
        lane!($t, concat!("set.", $name, ".bf16x2.bf16x2"), W = (a: W, b: W) => halves(a, b, 0x3f80, |a, b| {
            let ($a, $b) = (fp::bf16_to_f32(a), fp::bf16_to_f32(b));
            $e
        }));
        lane!($t, concat!("set.", $name, "{.ftz,}.{u32,s32}.f16x2"), W = (a: W, b: W) => halves(a, b, 0xffff, |a, b| {
            let ($a, $b) = (fp::f16_to_f32(a), fp::f16_to_f32(b));
            $e
        }));
        lane!($t, concat!("set.", $name, ".{u32,s32}.bf16x2"), W = (a: W, b: W) => halves(a, b, 0xffff, |a, b| {
            let ($a, $b) = (fp::bf16_to_f32(a), fp::bf16_to_f32(b));
            $e
        }));
        lane!($t, concat!("setp.", $name, ".bf16"), P = (a: W, b: W) => {
            let ($a, $b) = (fp::bf16_to_f32(a as u16), fp::bf16_to_f32(b as u16));
            $e
        });
    };
}

/// Compares both halves; a half that holds becomes `yes`.
#[inline(always)]
fn halves(a: u32, b: u32, yes: u32, holds: impl Fn(u16, u16) -> bool) -> u32 {
    let one = |shift: u32| if holds((a >> shift) as u16, (b >> shift) as u16) { yes << shift } else { 0 };
    one(16) | one(0)
}

fn compare(t: &mut Table) {
    float_compare!(t, "eq", a, b, a == b);
    float_compare!(t, "ne", a, b, a != b && !a.is_nan() && !b.is_nan());
    float_compare!(t, "lt", a, b, a < b);
    float_compare!(t, "le", a, b, a <= b);
    float_compare!(t, "gt", a, b, a > b);
    float_compare!(t, "ge", a, b, a >= b);
    float_compare!(t, "equ", a, b, (a == b) | a.is_nan() | b.is_nan());
    float_compare!(t, "neu", a, b, a != b);
    float_compare!(t, "ltu", a, b, (a < b) | a.is_nan() | b.is_nan());
    float_compare!(t, "leu", a, b, (a <= b) | a.is_nan() | b.is_nan());
    float_compare!(t, "gtu", a, b, (a > b) | a.is_nan() | b.is_nan());
    float_compare!(t, "geu", a, b, (a >= b) | a.is_nan() | b.is_nan());
    float_compare!(t, "num", a, b, !a.is_nan() && !b.is_nan());
    float_compare!(t, "nan", a, b, a.is_nan() || b.is_nan());
}
