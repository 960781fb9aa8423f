//! table: half-precision forms, single and packed (PTX ISA 9.7.4), and f32x2.

use super::lane;
use crate::fp::{self, Clamp, Half, NanRule, Subnormals};
use crate::isa::Table;

/// Adds every form of this file.
pub(crate) fn add(t: &mut Table) {
    for (is_bf16, ty) in [(0, "f16"), (1, "bf16")] {
        for (pair, x2) in [(0, ""), (2, "x2")] {
            arithmetic(t, is_bf16 | pair, &format!("{ty}{x2}"), is_bf16 == 0);
        }
    }
    lane!(t, "ex2.approx{.ftz,}.f16x2", W = (a: W) => fp::ex2_approx_f16x2(a, Subnormals::Keep));
    lane!(t, "ex2.approx{.ftz,}.f16", W = (a: W) => fp::ex2_approx_f16x2(a, Subnormals::Keep) & 0xffff);
    lane!(t, "ex2.approx.ftz.bf16x2", W = (a: W) => fp::ex2_approx_bf16x2(a));
    lane!(t, "ex2.approx.ftz.bf16", W = (a: W) => fp::ex2_approx_bf16x2(a) & 0xffff);
    lane!(t, "tanh.approx.f16x2", W = (a: W) => fp::tanh_approx_f16x2(a));
    lane!(t, "tanh.approx.f16", W = (a: W) => fp::tanh_approx_f16x2(a) & 0xffff);
    lane!(t, "tanh.approx.bf16x2", W = (a: W) => fp::tanh_approx_bf16x2(a));
    lane!(t, "tanh.approx.bf16", W = (a: W) => fp::tanh_approx_bf16x2(a) & 0xffff);
    wide_pairs(t);
}

#[inline(always)]
fn half(imm: u32) -> Half {
    if imm & 1 == 0 { Half::F16 } else { Half::Bf16 }
}

/// The result of a single form is the lower half of the pair's.
#[inline(always)]
fn cut(imm: u32, value: u32) -> u32 {
    if imm & 2 == 0 { value & 0xffff } else { value }
}

#[inline(always)]
fn ftz(imm: u32) -> Subnormals {
    if imm & 4 != 0 { Subnormals::Flush } else { Subnormals::Keep }
}

#[inline(always)]
fn clamp(imm: u32) -> Clamp {
    match imm & 24 {
        8 => Clamp::Sat,
        16 => Clamp::Relu,
        _ => Clamp::Off,
    }
}

#[inline(always)]
fn nan(imm: u32) -> NanRule {
    if imm & 8 != 0 { NanRule::Propagate } else { NanRule::Number }
}

fn arithmetic(t: &mut Table, base: u32, ty: &str, has_ftz: bool) {
    for (z, flush) in [(0, ""), (4, ".ftz")] {
        if z != 0 && !has_ftz {
            continue;
        }
        for (s, sat) in [(0, ""), (8, ".sat"), (16, ".relu")] {
            let imm = base | z | s;
            lane!(t, &format!("fma.rn{flush}{sat}.{ty}"), imm, W = (m; a: W, b: W, c: W) =>
                cut(m, fp::fma_x2(half(m), a, b, c, ftz(m), clamp(m))));
            if s == 16 {
                continue;
            }
            lane!(t, &format!("add{{.rn,}}{flush}{sat}.{ty}"), imm, W = (m; a: W, b: W) =>
                cut(m, fp::add_x2(half(m), a, b, ftz(m), clamp(m))));
            lane!(t, &format!("sub{{.rn,}}{flush}{sat}.{ty}"), imm, W = (m; a: W, b: W) =>
                cut(m, fp::sub_x2(half(m), a, b, ftz(m), clamp(m))));
            lane!(t, &format!("mul{{.rn,}}{flush}{sat}.{ty}"), imm, W = (m; a: W, b: W) =>
                cut(m, fp::mul_x2(half(m), a, b, ftz(m), clamp(m))));
        }
        for (n, rule) in [(0, ""), (8, ".NaN")] {
            let imm = base | z | n;
            lane!(t, &format!("min{flush}{rule}.{ty}"), imm, W = (m; a: W, b: W) =>
                cut(m, fp::min_x2(half(m), a, b, ftz(m), nan(m))));
            lane!(t, &format!("max{flush}{rule}.{ty}"), imm, W = (m; a: W, b: W) =>
                cut(m, fp::max_x2(half(m), a, b, ftz(m), nan(m))));
        }
        lane!(t, &format!("neg{flush}.{ty}"), base | z, W = (m; a: W) =>
            cut(m, fp::neg_x2(half(m), a, ftz(m))));
        lane!(t, &format!("abs{flush}.{ty}"), base | z, W = (m; a: W) =>
            cut(m, fp::abs_x2(half(m), a, ftz(m))));
    }
}

/// Applies an operation to both singles of a 64-bit register.
#[inline(always)]
fn both(a: u64, b: u64, c: u64, f: impl Fn(f32, f32, f32) -> f32) -> u64 {
    let one = |s: u32| {
        let [a, b, c] = [a, b, c].map(|x| f32::from_bits((x >> s) as u32));
        u64::from(f(a, b, c).to_bits())
    };
    one(32) << 32 | one(0)
}

fn wide_pairs(t: &mut Table) {
    lane!(t, "add{.rn,}.f32x2", Q = (a: Q, b: Q) => both(a, b, 0, |a, b, _| a + b));
    lane!(t, "sub{.rn,}.f32x2", Q = (a: Q, b: Q) => both(a, b, 0, |a, b, _| a - b));
    lane!(t, "mul{.rn,}.f32x2", Q = (a: Q, b: Q) => both(a, b, 0, |a, b, _| a * b));
    lane!(t, "fma.rn.f32x2", Q = (a: Q, b: Q, c: Q) => both(a, b, c, f32::mul_add));
}
