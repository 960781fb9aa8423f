//! table: conversions (PTX ISA 9.7.9, `cvt`): every legal pair of types, rounding and clamp.
//!
//! One generic routine serves them all, with the pair packed into the operation's constant; the forms that
//! fill inner loops have their own rows, which come first and win.

use super::lane;
use crate::fp::{self, Clamp, IntType, Mode, NanSource, Overflow, Round, Subnormals};
use crate::isa::Table;

const TYPES: [(&str, Ty); 12] = [
    ("u8", Ty::Int(IntType::U8)),
    ("s8", Ty::Int(IntType::S8)),
    ("u16", Ty::Int(IntType::U16)),
    ("s16", Ty::Int(IntType::S16)),
    ("u32", Ty::Int(IntType::U32)),
    ("s32", Ty::Int(IntType::S32)),
    ("u64", Ty::Int(IntType::U64)),
    ("s64", Ty::Int(IntType::S64)),
    ("f16", Ty::F16),
    ("bf16", Ty::Bf16),
    ("f32", Ty::F32),
    ("f64", Ty::F64),
];

const ROUNDS: [(&str, Round); 5] = [
    ("rn", Round::NearestEven),
    ("rz", Round::Zero),
    ("rm", Round::Down),
    ("rp", Round::Up),
    ("rna", Round::NearestAway),
];

/// Set by lowering when the destination register has 16 bits: the result is cut to them.
pub(crate) const NARROW_DESTINATION: u32 = 1 << 31;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ty {
    Int(IntType),
    F16,
    Bf16,
    F32,
    F64,
}

impl Ty {
    fn bits(self) -> u32 {
        match self {
            Ty::Int(i) => i.bits,
            Ty::F16 | Ty::Bf16 => 16,
            Ty::F32 => 32,
            Ty::F64 => 64,
        }
    }
}

fn pack(dst: usize, src: usize, round: usize, mods: u32) -> u32 {
    dst as u32 | (src as u32) << 4 | (round as u32) << 8 | mods << 12
}

const FTZ: u32 = 1;
const SAT: u32 = 2;
const RELU: u32 = 4;
const SATFINITE: u32 = 8;
const INTEGRAL: u32 = 16;

fn mode(imm: u32) -> Mode {
    let mods = imm >> 12;
    Mode {
        round: ROUNDS[(imm >> 8 & 7) as usize].1,
        subnormals: if mods & FTZ != 0 { Subnormals::Flush } else { Subnormals::Keep },
        clamp: match mods & (SAT | RELU) {
            SAT => Clamp::Sat,
            RELU => Clamp::Relu,
            _ => Clamp::Off,
        },
        overflow: if mods & SATFINITE != 0 { Overflow::MaxFinite } else { Overflow::Infinity },
    }
}

/// Converts the low bits of `value`.
fn convert(imm: u32, value: u64) -> u64 {
    let (dst, src) = (TYPES[(imm & 15) as usize].1, TYPES[(imm >> 4 & 15) as usize].1);
    let m = mode(imm);
    let mods = imm >> 12;
    let wide = match (dst, src) {
        (Ty::Int(to), Ty::Int(from)) if mods & SAT != 0 => fp::int_to_int_sat(value, from, to),
        (Ty::Int(to), Ty::Int(from)) => to.value(from.value(value) as u64) as u64,
        (Ty::Int(to), Ty::F64) => fp::float_to_int(f64::from_bits(value), m.round, to, NanSource::F64),
        (Ty::Int(to), Ty::F16 | Ty::Bf16 | Ty::F32) => {
            let x = fp::flush_f32(single(src, value), m.subnormals);
            fp::float_to_int(f64::from(x), m.round, to, NanSource::Narrow)
        }
        (Ty::F16, Ty::Int(from)) => u64::from(fp::int_to_f16(value, from, m.round)),
        (Ty::Bf16, Ty::Int(from)) => {
            // Singles hold every 24-bit integer; wider ones are made odd before the second rounding.
            let odd = fp::int_to_f64(value, from, Round::Zero);
            let inexact = odd as i128 != from.value(value);
            let odd = if inexact { f64::from_bits(odd.to_bits() | 1) } else { odd };
            fp::encode(odd, fp::Format::Bf16, m)
        }
        (Ty::F32, Ty::Int(from)) => u64::from(fp::int_to_f32(value, from, m).to_bits()),
        (Ty::F64, Ty::Int(from)) => fp::int_to_f64(value, from, m.round).to_bits(),
        (Ty::F64, Ty::F64) if mods & INTEGRAL != 0 => {
            fp::round_integral_f64(f64::from_bits(value), m.round).to_bits()
        }
        (Ty::F64, Ty::F64) => value,
        (Ty::F64, Ty::F16 | Ty::Bf16 | Ty::F32) => {
            f64::from(fp::flush_f32(single(src, value), m.subnormals)).to_bits()
        }
        (Ty::F32, Ty::F64) => u64::from(fp::f64_to_f32(f64::from_bits(value), m).to_bits()),
        (Ty::F16, Ty::F64) => u64::from(fp::f64_to_f16(f64::from_bits(value), m)),
        (Ty::Bf16, Ty::F64) => fp::encode(f64::from_bits(value), fp::Format::Bf16, m),
        (Ty::F32, Ty::F16 | Ty::Bf16 | Ty::F32) => {
            let x = single(src, value);
            let y = if mods & INTEGRAL != 0 { fp::round_integral_f32(x, m) } else { fp::mul_f32(x, 1.0, m) };
            u64::from(y.to_bits())
        }
        (Ty::F16, Ty::F16 | Ty::Bf16 | Ty::F32) => {
            let x = single(src, value);
            let x = if mods & INTEGRAL != 0 { fp::round_integral_f32(x, m) } else { x };
            u64::from(fp::f32_to_f16(x, m))
        }
        (Ty::Bf16, Ty::F16 | Ty::Bf16 | Ty::F32) => {
            let x = single(src, value);
            let x = if mods & INTEGRAL != 0 { fp::round_integral_f32(x, m) } else { x };
            u64::from(fp::f32_to_bf16(x, m))
        }
    };
    if imm & NARROW_DESTINATION != 0 { wide & 0xffff } else { wide }
}

fn single(ty: Ty, value: u64) -> f32 {
    match ty {
        Ty::F16 => fp::f16_to_f32(value as u16),
        Ty::Bf16 => fp::bf16_to_f32(value as u16),
        Ty::F32 | Ty::F64 | Ty::Int(_) => f32::from_bits(value as u32),
    }
}

/// Adds every form of this file.
pub(crate) fn add(t: &mut Table) {
    fast(t);
    packed(t);
    for (d, (dst_name, dst)) in TYPES.iter().enumerate() {
        for (s, (src_name, src)) in TYPES.iter().enumerate() {
            let mut row = |round: &str, r: usize, mods: &str, m: u32| {
                let form = format!("cvt{round}{mods}.{dst_name}.{src_name}");
                if t.contains(&form) {
                    return;
                }
                let imm = pack(d, s, r, m);
                match (dst.bits() == 64, src.bits() == 64) {
                    (false, false) => lane!(t, &form, imm, W = (m; a: W) => convert(m, u64::from(a)) as u32),
                    (true, false) => lane!(t, &form, imm, Q = (m; a: W) => convert(m, u64::from(a))),
                    (false, true) => lane!(t, &form, imm, W = (m; a: Q) => convert(m, a) as u32),
                    (true, true) => lane!(t, &form, imm, Q = (m; a: Q) => convert(m, a)),
                }
            };
            let is_int = |t: &Ty| matches!(t, Ty::Int(_));
            match (is_int(dst), is_int(src)) {
                (true, true) => {
                    row("", 0, "", 0);
                    row("", 0, ".sat", SAT);
                }
                (true, false) | (false, true) => {
                    for (r, (name, _)) in ROUNDS.iter().enumerate().take(4) {
                        let suffix = if is_int(dst) { "i" } else { "" };
                        row(&format!(".{name}{suffix}"), r, "", 0);
                        row(&format!(".{name}{suffix}"), r, ".ftz", FTZ);
                        row(&format!(".{name}{suffix}"), r, ".sat", SAT);
                        row(&format!(".{name}{suffix}"), r, ".ftz.sat", FTZ | SAT);
                    }
                }
                (false, false) => {
                    let mods =
                        [("", 0), (".ftz", FTZ), (".sat", SAT), (".ftz.sat", FTZ | SAT), (".relu", RELU)];
                    for (text, m) in mods {
                        row("", 0, text, m);
                        for (r, (name, _)) in ROUNDS.iter().enumerate().take(4) {
                            if dst == src {
                                row(&format!(".{name}i"), r, text, m | INTEGRAL);
                            } else {
                                row(&format!(".{name}"), r, text, m);
                            }
                        }
                    }
                    for (r, (name, _)) in ROUNDS.iter().enumerate().take(2) {
                        row(&format!(".{name}"), r, ".satfinite", SATFINITE);
                        row(&format!(".{name}"), r, ".relu.satfinite", SATFINITE | RELU);
                    }
                }
            }
        }
    }
}

fn fast(t: &mut Table) {
    lane!(t, "cvt.{u64,s64}.u32", Q = (a: W) => u64::from(a));
    lane!(t, "cvt.{u64,s64}.s32", Q = (a: W) => a as i32 as u64);
    lane!(t, "cvt.{u32,s32}.{u64,s64}", W = (a: Q) => a as u32);
    lane!(t, "cvt.{u32,s32}.u16", W = (a: W) => a & 0xffff);
    lane!(t, "cvt.{u32,s32}.s16", W = (a: W) => a as u16 as i16 as u32);
    lane!(t, "cvt.u16.{u32,s32}", W = (a: W) => a & 0xffff);
    lane!(t, "cvt.rn.f32.s32", W = (a: W) => (a as i32 as f32).to_bits());
    lane!(t, "cvt.rn.f32.u32", W = (a: W) => (a as f32).to_bits());
    lane!(t, "cvt.f64.f32", Q = (a: W) => f64::from(f32::from_bits(a)).to_bits());
    lane!(t, "cvt.f32.bf16", W = (a: W) => a << 16);
    lane!(t, "cvt.f32.f16", W = (a: W) => fp::f16_to_f32(a as u16).to_bits());
    lane!(t, "cvt.rn.bf16x2.f32", W = (a: W, b: W) => bf16(a) << 16 | bf16(b));
    lane!(t, "cvt.rn.bf16.f32", W = (a: W) => bf16(a));
}

/// Nearest-even bf16 of a single, in a form that vectorises.
#[inline(always)]
fn bf16(bits: u32) -> u32 {
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if bits & 0x7fff_ffff > 0x7f80_0000 { u32::from(fp::NAN_16) } else { rounded }
}

fn packed(t: &mut Table) {
    for (r, name) in [(0, "rn"), (1, "rz")] {
        for (m, mods) in
            [(0, ""), (RELU, ".relu"), (SATFINITE, ".satfinite"), (RELU | SATFINITE, ".relu.satfinite")]
        {
            let imm = pack(0, 0, r, m);
            let rows = |ty: &str| format!("cvt.{name}{mods}.{ty}.f32");
            lane!(t, &rows("f16x2"), imm, W = (m; a: W, b: W) =>
                fp::f32x2_to_f16x2(f32::from_bits(a), f32::from_bits(b), mode(m)));
            if !t.contains(&rows("bf16x2")) {
                lane!(t, &rows("bf16x2"), imm, W = (m; a: W, b: W) =>
                    fp::f32x2_to_bf16x2(f32::from_bits(a), f32::from_bits(b), mode(m)));
            }
            lane!(t, &rows("tf32"), imm, W = (m; a: W) => fp::f32_to_tf32(f32::from_bits(a), mode(m)));
        }
    }
    lane!(t, "cvt.rna.tf32.f32", pack(0, 0, 4, 0), W = (m; a: W) => fp::f32_to_tf32(f32::from_bits(a), mode(m)));
    lane!(t, "cvt.rna.satfinite.tf32.f32", pack(0, 0, 4, SATFINITE), W = (m; a: W) =>
        fp::f32_to_tf32(f32::from_bits(a), mode(m)));
    for (m, relu) in [(SATFINITE, ""), (SATFINITE | RELU, ".relu")] {
        let imm = pack(0, 0, 0, m);
        lane!(t, &format!("cvt.rn.satfinite{relu}.e4m3x2.f32"), imm, W = (m; a: W, b: W) =>
            u32::from(fp::f32x2_to_e4m3x2(f32::from_bits(a), f32::from_bits(b), mode(m))));
        lane!(t, &format!("cvt.rn.satfinite{relu}.e5m2x2.f32"), imm, W = (m; a: W, b: W) =>
            u32::from(fp::f32x2_to_e5m2x2(f32::from_bits(a), f32::from_bits(b), mode(m))));
        lane!(t, &format!("cvt.rn.satfinite{relu}.e4m3x2.f16x2"), imm, W = (m; a: W) =>
            u32::from(fp::f16x2_to_e4m3x2(a, mode(m))));
        lane!(t, &format!("cvt.rn.satfinite{relu}.e5m2x2.f16x2"), imm, W = (m; a: W) =>
            u32::from(fp::f16x2_to_e5m2x2(a, mode(m))));
    }
    for (m, relu) in [(0, ""), (RELU, ".relu")] {
        let imm = pack(0, 0, 0, m);
        lane!(t, &format!("cvt.rn{relu}.f16x2.e4m3x2"), imm, W = (m; a: W) =>
            fp::e4m3x2_to_f16x2(a as u16, mode(m).clamp));
        lane!(t, &format!("cvt.rn{relu}.f16x2.e5m2x2"), imm, W = (m; a: W) =>
            fp::e5m2x2_to_f16x2(a as u16, mode(m).clamp));
    }
    lane!(t, "cvt.pack.sat.s8.s32.b32", W = (a: W, b: W, c: W) =>
        c << 16 | ((a as i32).clamp(-128, 127) as u32 & 0xff) << 8 | ((b as i32).clamp(-128, 127) as u32 & 0xff));
    lane!(t, "cvt.pack.sat.u8.s32.b32", W = (a: W, b: W, c: W) =>
        c << 16 | ((a as i32).clamp(0, 255) as u32) << 8 | (b as i32).clamp(0, 255) as u32);
    lane!(t, "cvt.pack.sat.s16.s32", W = (a: W, b: W) =>
        ((a as i32).clamp(-32768, 32767) as u32) << 16 | ((b as i32).clamp(-32768, 32767) as u32 & 0xffff));
    lane!(t, "cvt.pack.sat.u16.s32", W = (a: W, b: W) =>
        ((a as i32).clamp(0, 65535) as u32) << 16 | (b as i32).clamp(0, 65535) as u32);
}
