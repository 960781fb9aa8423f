//! Functions of the math library, integers, conversions.

use half::{bf16, f16};

use super::rig::{Arg, Numbers, Rig, Shape, close, equal, wide};
use crate::verdict::Verdict;

/// Runs `kernel(x, y, n)` and gives back y.
fn map_f32(rig: &mut Rig<'_>, x: &[f32]) -> Result<Vec<f64>, Verdict> {
    let n = x.len();
    let (px, py) = (rig.buffer("x", x)?, rig.buffer("y", &vec![f32::NAN; n])?);
    let args = [Arg::Pointer(px), Arg::Pointer(py), Arg::I32(n as i32)];
    rig.launch(Shape::new([n.div_ceil(64) as u32, 1, 1], 64), &args)?;
    Ok(wide(&rig.read::<f32>(py, n)?))
}

/// The error function, by its series; good to 1e-14 up to 4.
fn erf(x: f64) -> f64 {
    let (mut sum, mut term) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

pub(super) fn m1(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let x = Numbers::new(11).f32s(300, 0.05, 4.0);
    let expected: Vec<f64> = wide(&x)
        .iter()
        .map(|&v| {
            let sigmoid = 1.0 / (1.0 + (-v).exp());
            v.exp() + v.tanh() + 1.0 / v.sqrt() + v.sqrt() + v.ln() + erf(v) + sigmoid + v / (v + 3.0)
        })
        .collect();
    close("y", &map_f32(rig, &x)?, &expected, 2e-6, 1e-6)
}

pub(super) fn m2(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let x = Numbers::new(12).f32s(300, 0.05, 4.0);
    let expected: Vec<f64> = wide(&x)
        .iter()
        .map(|&v| {
            let fast = v.exp() + v.ln() + v.sin() + v.cos() + v / (3.0 + v) + v.powf(f64::from(2.2f32));
            let exact =
                v.exp2() + v.log2() + v.floor() + v.ceil() + v.round_ties_even() + v.trunc() + v.abs() - v;
            let rounded = v * v + 1.0 + 1.0 / v + v.sqrt() + v.tanh();
            let converted = v.clamp(0.0, 1.0) + v.min(2.0) + v.round_ties_even() + v.trunc() + v.trunc();
            fast + exact + rounded + converted
        })
        .collect();
    // `tanh.approx` is good to 2^-11.
    close("y", &map_f32(rig, &x)?, &expected, 1e-5, 6e-4)
}

pub(super) fn m3(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let x = Numbers::new(13).f32s(300, 0.05, 4.0);
    let expected: Vec<f64> = wide(&x)
        .iter()
        .map(|&v| {
            let [power, modulus] = [1.7f32, 0.7].map(f64::from);
            v.sin() + v.cos() + v.powf(power) + v.ln_1p() + v.exp_m1() + v.cbrt() + v % modulus + v.atan2(2.0)
        })
        .collect();
    close("y", &map_f32(rig, &x)?, &expected, 2e-6, 1e-6)
}

pub(super) fn mi(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let mut numbers = Numbers::new(14);
    let mut x: Vec<i32> = (0..300).map(|_| numbers.below(1 << 32) as u32 as i32).collect();
    x.extend([0, 1, -1, i32::MAX, i32::MIN + 1]);
    let (n, a, b) = (x.len(), 5i32, 0x0123_4567u32);
    let (px, py) = (rig.buffer("x", &x)?, rig.buffer("y", &vec![0i32; n])?);
    let args = [Arg::Pointer(px), Arg::Pointer(py), Arg::I32(n as i32), Arg::I32(a), Arg::I32(b as i32)];
    rig.launch(Shape::new([n.div_ceil(64) as u32, 1, 1], 64), &args)?;
    let one = |v: i32| -> i32 {
        let u = v as u32;
        let find_first = if v == 0 { 0 } else { v.trailing_zeros() + 1 };
        let pool = u64::from(b) << 32 | u64::from(u);
        let permuted = (0..4).fold(0u32, |word, i| {
            let selector = (0x3210 ^ a as u32) >> (4 * i) & 7;
            word | (((pool >> (8 * selector)) & 255) as u32) << (8 * i)
        });
        let square = u64::from(u).wrapping_mul(u64::from(u));
        let terms = [
            v.wrapping_div(a),
            v.wrapping_rem(a),
            (u / b) as i32,
            (u % b) as i32,
            (u / 7) as i32,
            v.leading_zeros() as i32,
            v.count_ones() as i32,
            find_first as i32,
            v.reverse_bits(),
            ((i64::from(v) * i64::from(a)) >> 32) as i32,
            permuted as i32,
            v.max(a),
            v.min(3),
            v.wrapping_abs(),
            ((u128::from(square) * u128::from(b)) >> 64) as i32,
            (b << 5 | u >> 27) as i32,
            if v > a { v ^ b as i32 } else { v | a },
            !v & a,
            ((i64::from(v) * i64::from(a)) >> 7) as i32,
            v.abs_diff(a).wrapping_add(1) as i32,
        ];
        terms.iter().fold(0, |sum: i32, &t| sum.wrapping_add(t))
    };
    let expected: Vec<i32> = x.iter().map(|&v| one(v)).collect();
    equal("y", &rig.read::<i32>(py, n)?, &expected)
}

pub(super) fn md(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let mut numbers = Numbers::new(15);
    let x: Vec<f64> = (0..300).map(|_| numbers.between(0.05, 4.0)).collect();
    let (px, py) = (rig.buffer("x", &x)?, rig.buffer("y", &vec![f64::NAN; x.len()])?);
    let args = [Arg::Pointer(px), Arg::Pointer(py), Arg::I32(x.len() as i32)];
    rig.launch(Shape::new([5, 1, 1], 64), &args)?;
    let expected: Vec<f64> = x
        .iter()
        .map(|&v| v.exp() + v.sqrt() + v / (v + 1.0) + v.mul_add(v, 1.0) + f64::from(v as f32))
        .collect();
    close("y", &rig.read::<f64>(py, x.len())?, &expected, 1e-14, 0.0)
}

/// An 8-bit float format by its exponent and mantissa bits; all finite codes with their values.
pub(crate) struct Float8 {
    mantissa: u32,
    bias: i32,
    largest: u8,
}

pub(crate) const E4M3: Float8 = Float8 { mantissa: 3, bias: 7, largest: 0x7e };
pub(crate) const E5M2: Float8 = Float8 { mantissa: 2, bias: 15, largest: 0x7b };

impl Float8 {
    /// The value of a code without sign.
    pub(crate) fn value(&self, code: u8) -> f64 {
        let fraction =
            f64::from(u32::from(code) & ((1 << self.mantissa) - 1)) / f64::from(1 << self.mantissa);
        match i32::from(code) >> self.mantissa {
            0 => fraction * 2f64.powi(1 - self.bias),
            exponent => (1.0 + fraction) * 2f64.powi(exponent - self.bias),
        }
    }

    /// The nearest code, ties to the even one; beyond the largest, the largest. By search: nothing is shared with the machine.
    pub(crate) fn nearest(&self, x: f64) -> u8 {
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        let size = x.abs();
        let code = (0..=self.largest)
            .min_by(|&a, &b| {
                let distance = |c: u8| (self.value(c) - size).abs();
                distance(a).total_cmp(&distance(b)).then((a & 1).cmp(&(b & 1)))
            })
            .unwrap_or_default();
        sign | code
    }
}

/// Values with ties, subnormals of the narrow formats and numbers beyond them.
fn conversion_inputs(n: usize) -> Vec<f32> {
    let mut numbers = Numbers::new(16);
    let edges = [
        0.0,
        -0.0,
        1.0625,
        1.1875,
        -1.0625,
        448.0,
        464.0,
        500.0,
        -1e5,
        0.001953125,
        0.0009765625,
        6e-5,
        3e-8,
        0.0146484375,
    ];
    let scale = |numbers: &mut Numbers| 2f64.powi(numbers.below(24) as i32 - 14);
    edges
        .iter()
        .copied()
        .chain(std::iter::repeat_with(|| (numbers.between(-2.0, 2.0) * scale(&mut numbers)) as f32))
        .take(n)
        .collect()
}

pub(super) fn cv(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let x = conversion_inputs(200);
    let n = x.len();
    let px = rig.buffer("x", &x)?;
    let (ph, pb) = (rig.buffer("h", &vec![0u16; n])?, rig.buffer("b", &vec![0u16; n])?);
    let (p4, p5) = (rig.buffer("e4", &vec![0u8; n])?, rig.buffer("e5", &vec![0u8; n])?);
    let back = rig.buffer("back", &vec![f32::NAN; n])?;
    let pointers = [px, ph, pb, p4, p5, back].map(Arg::Pointer);
    rig.launch(Shape::new([4, 1, 1], 64), &[&pointers[..], &[Arg::I32(n as i32)]].concat())?;
    let h: Vec<f16> = x.iter().map(|&x| f16::from_f32(x)).collect();
    let b: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
    let e4: Vec<u8> = x.iter().map(|&x| E4M3.nearest(f64::from(x))).collect();
    let e5: Vec<u8> = x.iter().map(|&x| E5M2.nearest(f64::from(x))).collect();
    equal("h", &rig.read::<f16>(ph, n)?, &h)?;
    equal("b", &rig.read::<bf16>(pb, n)?, &b)?;
    equal("e4", &rig.read::<u8>(p4, n)?, &e4)?;
    equal("e5", &rig.read::<u8>(p5, n)?, &e5)?;
    let value = |format: &Float8, code: u8| {
        let size = format.value(code & 0x7f) as f32;
        if code & 0x80 == 0 { size } else { -size }
    };
    let expected: Vec<f32> =
        (0..n).map(|i| h[i].to_f32() + b[i].to_f32() + value(&E4M3, e4[i]) + value(&E5M2, e5[i])).collect();
    equal("back", &rig.read::<f32>(back, n)?, &expected)
}

pub(super) fn cv2(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let x = conversion_inputs(200);
    let n = x.len() / 2;
    let (px, ph) = (rig.buffer("x", &x)?, rig.buffer("h", &vec![0u16; 4 * n])?);
    let (pb, p4) = (rig.buffer("b", &vec![0u16; 2 * n])?, rig.buffer("e4", &vec![0u8; 2 * n])?);
    let pointers = [px, ph, pb, p4].map(Arg::Pointer);
    rig.launch(Shape::new([2, 1, 1], 64), &[&pointers[..], &[Arg::I32(n as i32)]].concat())?;
    let e4: Vec<u8> = x.iter().map(|&x| E4M3.nearest(f64::from(x))).collect();
    let mut h: Vec<f16> = x.iter().map(|&x| f16::from_f32(x)).collect();
    h.extend(e4.iter().map(|&c| {
        let size = E4M3.value(c & 0x7f);
        f16::from_f64(if c & 0x80 == 0 { size } else { -size })
    }));
    equal("h", &rig.read::<f16>(ph, 4 * n)?, &h)?;
    let b: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
    equal("b", &rig.read::<bf16>(pb, 2 * n)?, &b)?;
    equal("e4", &rig.read::<u8>(p4, 2 * n)?, &e4)
}

/// Its threads read their neighbours' elements while those are overwritten, so one thread runs at a time.
pub(super) fn hm(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let mut numbers = Numbers::new(17);
    for _ in 0..40 {
        let h: Vec<f16> = (0..6).map(|_| f16::from_f64(numbers.between(0.1, 1.0))).collect();
        let b = numbers.bf16s(6, 0.1, 1.0);
        let s: Vec<f16> = (0..4).map(|_| f16::from_f64(numbers.between(0.1, 3.0))).collect();
        let (ph, pb, ps) = (rig.buffer("h", &h)?, rig.buffer("b", &b)?, rig.buffer("s", &s)?);
        let args = [Arg::Pointer(ph), Arg::Pointer(pb), Arg::Pointer(ps), Arg::I32(1)];
        rig.launch(Shape::new([1, 1, 1], 32), &args)?;
        let round = |x: f64| f64::from(f16::from_f64(x));
        let halves: Vec<f64> = (0..2)
            .map(|i| {
                let [x, y, z] = [i, i + 2, i + 4].map(|i| f64::from(h[i]));
                let a = round(x * x + y);
                let a = round(a + round(a * a)).max(y);
                a.exp2() - z
            })
            .collect();
        let found = wide(&rig.read::<f16>(ph, 2)?);
        // The exponential is an approximation good to 2^-9.9, and both operations round.
        close("h", &found, &halves, 2e-3, 2e-3)?;
        let round = |x: f64| f64::from(bf16::from_f64(x));
        let narrow: Vec<f64> = (0..2)
            .map(|i| {
                let [x, y, z] = [i, i + 2, i + 4].map(|i| f64::from(b[i]));
                let c = round(x * x + y).max(y);
                round(round(c + round(c * c)) - z)
            })
            .collect();
        equal("b", &wide(&rig.read::<bf16>(pb, 2)?), &narrow)?;
        let [x, y] = [f64::from(s[0]), f64::from(s[1])];
        let round = |x: f64| f64::from(f16::from_f64(x));
        let z = if x > y { round(x + y) } else { x };
        let z = round(z * round(z.sqrt()));
        let found = wide(&rig.read::<f16>(ps, 4)?);
        close("s", &found[..1], &[-z], 1e-3, 0.0)?;
        // What follows is from the kernel's own z.
        equal("s", &found[2..], &[0.0, (-found[0]).round_ties_even()])?;
    }
    Ok(())
}

pub(super) fn i8q(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let (n, scale) = (150, 0.03f32);
    let x = Numbers::new(18).f32s(4 * n, -3.0, 3.0);
    let px = rig.buffer("x", &x)?;
    let ps = rig.buffer("sc", &[scale])?;
    let (po, pn) = (rig.buffer("o", &vec![0i8; 4 * n])?, rig.buffer("neg", &vec![0i32; n])?);
    let pointers = [px, ps, po, pn].map(Arg::Pointer);
    rig.launch(Shape::new([3, 1, 1], 64), &[&pointers[..], &[Arg::I32(n as i32)]].concat())?;
    let r = 1.0 / scale;
    let codes: Vec<i8> = (0..4 * n)
        .map(|i| {
            let code = (x[i] * r).round_ties_even() as i32;
            // The last two of four are not clamped.
            if i % 4 < 2 { code.clamp(-128, 127) as i8 } else { code as i8 }
        })
        .collect();
    let sums: Vec<i32> = (0..n).map(|i| i32::from(codes[4 * i]) + i as i32).collect();
    equal("o", &rig.read::<i8>(po, 4 * n)?, &codes)?;
    equal("neg", &rig.read::<i32>(pn, n)?, &sums)
}
