//! Forms against plain scalar arithmetic, on random and awkward values; partial masks; both versions alike.

use super::{Alu, Class, Regs, run};
use crate::isa::table;

struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Random, or one of the values where arithmetic turns a corner.
    fn awkward(&mut self) -> u64 {
        const CORNERS: [u64; 10] = [
            0,
            1,
            u64::MAX,
            0x8000_0000,
            0x7fff_ffff,
            1 << 63,
            0x3f80_0000_bf80_0000,
            0x7f80_0000_7fc0_0000,
            0x0000_0001_8000_0000,
            0xffff_8000_0000_7fff,
        ];
        let r = self.next();
        if r.is_multiple_of(3) { CORNERS[(r >> 32) as usize % CORNERS.len()] } else { r >> (r & 31) }
    }
}

/// Runs a form on 32 lanes of given sources; returns the destination, predicates as 0 and 1.
fn lanes(form: &str, sources: [[u64; 32]; 3], imm: u32, mask: u32) -> [u64; 32] {
    let rows = table().get(form);
    let row = rows.last().unwrap_or_else(|| panic!("`{form}` should be in the table"));
    let mut regs = Regs { w: vec![[7; 32]; 4], q: vec![[7; 32]; 4], p: vec![0; 4] };
    for (slot, (class, values)) in row.src.iter().zip(&sources).enumerate() {
        match class {
            Class::W => regs.w[slot] = values.map(|v| v as u32),
            Class::Q => regs.q[slot] = *values,
            Class::P => regs.p[slot] = (0..32).fold(0, |m, i| m | ((values[i] & 1) as u32) << i),
        }
    }
    let alu = Alu { d: 3, s: [0, 1, 2, 0], imm: row.imm | imm };
    run(row.run, &mut regs, &alu, mask);
    match row.dst {
        Class::W => regs.w[3].map(u64::from),
        Class::Q => regs.q[3],
        Class::P => std::array::from_fn(|i| u64::from(regs.p[3] >> i & 1)),
    }
}

fn check(form: &str, expected: impl Fn(u64, u64, u64) -> u64) {
    let mut bits = Bits(form.len() as u64 * 977 + 5);
    for _ in 0..8 {
        let sources: [[u64; 32]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| bits.awkward()));
        let got = lanes(form, sources, 0, u32::MAX);
        for i in 0..32 {
            let [a, b, c] = [0, 1, 2].map(|s| sources[s][i]);
            assert_eq!(got[i], expected(a, b, c), "{form} of {a:#x}, {b:#x}, {c:#x}");
        }
    }
}

fn w(f: impl Fn(u32, u32, u32) -> u32) -> impl Fn(u64, u64, u64) -> u64 {
    move |a, b, c| u64::from(f(a as u32, b as u32, c as u32))
}

fn s(f: impl Fn(i32, i32, i32) -> i32) -> impl Fn(u64, u64, u64) -> u64 {
    move |a, b, c| u64::from(f(a as i32, b as i32, c as i32) as u32)
}

fn holds(f: impl Fn(u64, u64) -> bool) -> impl Fn(u64, u64, u64) -> u64 {
    move |a, b, _| u64::from(f(a, b))
}

#[test]
fn integer_forms() {
    check("add.s32", w(|a, b, _| a.wrapping_add(b)));
    check("sub.u32", w(|a, b, _| a.wrapping_sub(b)));
    check("add.s64", |a, b, _| a.wrapping_add(b));
    check("add.sat.s32", s(|a, b, _| a.saturating_add(b)));
    check("mul.lo.s32", w(|a, b, _| a.wrapping_mul(b)));
    check("mul.hi.s32", s(|a, b, _| ((i64::from(a) * i64::from(b)) >> 32) as i32));
    check("mul.wide.s32", |a, b, _| (i64::from(a as i32) * i64::from(b as i32)) as u64);
    check("mul.wide.u32", |a, b, _| u64::from(a as u32) * u64::from(b as u32));
    check("mad.lo.s32", w(|a, b, c| a.wrapping_mul(b).wrapping_add(c)));
    check("min.s32", s(|a, b, _| a.min(b)));
    check("max.u32", w(|a, b, _| a.max(b)));
    check("abs.s32", w(|a, _, _| (a as i32).wrapping_abs() as u32));
    check("shl.b32", w(|a, b, _| a.checked_shl(b).unwrap_or(0)));
    check("shr.u32", w(|a, b, _| a.checked_shr(b).unwrap_or(0)));
    check("shr.s32", s(|a, b, _| a >> (b as u32).min(31)));
    check("shl.b64", |a, b, _| a.checked_shl(b as u32).unwrap_or(0));
    check("shf.l.wrap.b32", w(|a, b, c| (b << (c & 31)) | a.checked_shr(32 - (c & 31)).unwrap_or(0)));
    check("shf.r.wrap.b32", w(|a, b, c| (a >> (c & 31)) | b.checked_shl(32 - (c & 31)).unwrap_or(0)));
    check("clz.b64", |a, _, _| u64::from(a.leading_zeros()));
    check("brev.b32", w(|a, _, _| a.reverse_bits()));
    check("bfind.u32", w(|a, _, _| a.checked_ilog2().unwrap_or(u32::MAX)));
    check("not.b16", |a, _, _| !a & 0xffff);
    check("selp.b32", |a, b, c| if c & 1 == 1 { a & 0xffff_ffff } else { b & 0xffff_ffff });
    check("setp.lt.s32", holds(|a, b| (a as i32) < b as i32));
    check("setp.lt.u32", holds(|a, b| (a as u32) < b as u32));
    check("setp.ge.s64", holds(|a, b| a as i64 >= b as i64));
    check("setp.ne.b64", holds(|a, b| a != b));
    check("sad.s32", s(|a, b, c| ((i64::from(a) - i64::from(b)).abs() + i64::from(c)) as i32));
}

#[test]
fn bit_fields_reach_over_the_end() {
    let one = |form: &str, a: u64, b: u64, c: u64| lanes(form, [[a; 32], [b; 32], [c; 32]], 0, u32::MAX)[0];
    assert_eq!(one("bfe.u32", 0xabcd_1234, 8, 8), 0x12);
    assert_eq!(one("bfe.s32", 0x0000_ff00, 8, 8), 0xffff_ffff);
    assert_eq!(one("bfe.s32", 0x8000_0000, 28, 8), 0xffff_fff8);
    assert_eq!(one("bfe.u32", 0xffff_ffff, 32, 4), 0);
    assert_eq!(one("prmt.b32", 0x3322_1100, 0x7766_5544, 0x0a51), 0x0000_5511);
    let xor = lanes("lop3.b32", [[0xf0; 32], [0xcc; 32], [0xaa; 32]], 0x96, u32::MAX)[0];
    assert_eq!(xor, 0xf0 ^ 0xcc ^ 0xaa);
}

/// Bits of the host's result; any NaN is as good as another.
fn same_float(form: &str, f: impl Fn(f32, f32, f32) -> f32) {
    let mut bits = Bits(form.len() as u64 + 99);
    for _ in 0..8 {
        let sources: [[u64; 32]; 3] =
            std::array::from_fn(|_| std::array::from_fn(|_| bits.awkward() & 0xffff_ffff));
        let got = lanes(form, sources, 0, u32::MAX);
        for i in 0..32 {
            let [a, b, c] = [0, 1, 2].map(|s| f32::from_bits(sources[s][i] as u32));
            let (got, want) = (f32::from_bits(got[i] as u32), f(a, b, c));
            let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
            assert!(same, "{form} of {a}, {b}, {c}: {got}, expected {want}");
        }
    }
}

#[test]
fn single_precision_forms() {
    same_float("add.f32", |a, b, _| a + b);
    same_float("sub.rn.f32", |a, b, _| a - b);
    same_float("mul.f32", |a, b, _| a * b);
    same_float("fma.rn.f32", f32::mul_add);
    same_float("div.rn.f32", |a, b, _| a / b);
    same_float("sqrt.rn.f32", |a, _, _| a.sqrt());
    same_float("neg.f32", |a, _, _| -a);
    let flush = |v: f32| if v.is_subnormal() { 0.0f32.copysign(v) } else { v };
    same_float("add.ftz.f32", |a, b, _| flush(flush(a) + flush(b)));
    same_float("mul.rn.ftz.f32", |a, b, _| flush(flush(a) * flush(b)));
    check("setp.lt.f32", holds(|a, b| f32::from_bits(a as u32) < f32::from_bits(b as u32)));
    check(
        "setp.leu.f32",
        holds(|a, b| {
            !matches!(
                f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32)),
                Some(std::cmp::Ordering::Greater)
            )
        }),
    );
    check(
        "setp.nan.f32",
        holds(|a, b| f32::from_bits(a as u32).is_nan() || f32::from_bits(b as u32).is_nan()),
    );
}

#[test]
fn a_number_wins_over_nan_and_plus_zero_over_minus() {
    let one = |form: &str, a: f32, b: f32| {
        let bits = |v: f32| [u64::from(v.to_bits()); 32];
        // The three-operand row is the last; its third operand is neutral.
        let c = if form.starts_with("max") { f32::NEG_INFINITY } else { f32::INFINITY };
        f32::from_bits(lanes(form, [bits(a), bits(b), bits(c)], 0, u32::MAX)[0] as u32)
    };
    assert_eq!(one("max.f32", f32::NAN, 2.0), 2.0);
    assert_eq!(one("min.f32", -3.0, f32::NAN), -3.0);
    assert!(one("max.f32", -0.0, 0.0).is_sign_positive());
    assert!(one("min.f32", 0.0, -0.0).is_sign_negative());
}

#[test]
fn conversion_forms() {
    check("cvt.s64.s32", |a, _, _| i64::from(a as i32) as u64);
    check("cvt.u32.u64", |a, _, _| a & 0xffff_ffff);
    check("cvt.s32.s8", |a, _, _| u64::from(i32::from(a as i8) as u32));
    check("cvt.sat.u8.s32", |a, _, _| (a as i32).clamp(0, 255) as u64);
    check("cvt.rn.f32.s32", |a, _, _| u64::from((a as i32 as f32).to_bits()));
    check("cvt.rn.f32.u64", |a, _, _| u64::from((a as f32).to_bits()));
    check("cvt.rzi.s32.f32", |a, _, _| {
        // The host's cast saturates as PTX does, and makes NaN zero.
        u64::from(f32::from_bits(a as u32) as i32 as u32)
    });
    check("cvt.f64.f32", |a, _, _| {
        let v = f64::from(f32::from_bits(a as u32));
        if v.is_nan() { lanes("cvt.f64.f32", [[a; 32]; 3], 0, 1)[0] } else { v.to_bits() }
    });
    check("cvt.rn.bf16x2.f32", |a, b, _| {
        let half = |v: u64| {
            let v = f32::from_bits(v as u32);
            if v.is_nan() { 0x7fff } else { u64::from(half::bf16::from_f32(v).to_bits()) }
        };
        half(a) << 16 | half(b)
    });
}

#[test]
fn lanes_outside_the_mask_keep_their_values() {
    let got = lanes("add.s32", [[1; 32], [2; 32], [0; 32]], 0, 0x0000_ff01);
    for (i, v) in got.into_iter().enumerate() {
        assert_eq!(v, if 0x0000_ff01u32 >> i & 1 == 1 { 3 } else { 7 }, "lane {i}");
    }
}

#[test]
fn every_arithmetic_form_runs_on_awkward_values() {
    let mut bits = Bits(42);
    let mut n = 0;
    for form in crate::forms().iter().filter(|f| table().contains(f)) {
        let sources: [[u64; 32]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| bits.awkward()));
        lanes(form, sources, 0, u32::MAX);
        n += 1;
    }
    assert!(n > 1000, "{n} forms");
}
