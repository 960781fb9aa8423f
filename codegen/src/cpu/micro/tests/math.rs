//! Elementary functions over their whole range against f64.

use super::Rng;
use crate::cpu::micro::{Isa, unary};
use crate::ir::ops::UnaryOp;
use crate::ir::types::DType;

/// The error function by its Taylor series, or 1 less its continued fraction far out.
fn erf(x: f64) -> f64 {
    let t = x.abs();
    let y = if t < 3.0 {
        let (mut term, mut sum, mut n) = (t, t, 0.0);
        while term.abs() > 1e-18 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -t * t / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let mut fraction = t;
        for n in (1..60).rev() {
            fraction = t + f64::from(n) / 2.0 / fraction;
        }
        1.0 - (-t * t).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    y.copysign(x)
}

fn reference(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => erf(x),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Not => unreachable!("`not` should not be tested on floats"),
    }
}

fn eval(isa: Isa, op: UnaryOp, xs: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::from_bits(0xa5a5_a5a5); xs.len()];
    // SAFETY: both buffers hold `xs.len()` elements.
    unsafe { unary(isa, op, DType::F32, out.as_mut_ptr().cast(), xs.as_ptr().cast(), xs.len()) };
    out
}

/// Every float op but `not`, with the ranges to sweep densely and the tolerance relative to the larger of the result and a floor.
const SWEEPS: &[(UnaryOp, f32, f32, f64, f64)] = &[
    (UnaryOp::Exp, -88.0, 88.8, 3e-7, 0.0),
    (UnaryOp::Exp, -0.01, 0.01, 3e-7, 0.0),
    (UnaryOp::Exp2, -126.5, 128.1, 3e-7, 0.0),
    (UnaryOp::Log, 0.0, 4.0, 3e-7, 0.0),
    (UnaryOp::Log, 0.99, 1.01, 3e-7, 0.0),
    (UnaryOp::Log2, 0.0, 4.0, 3e-7, 0.0),
    (UnaryOp::Log2, 0.99, 1.01, 3e-7, 0.0),
    (UnaryOp::Sqrt, 0.0, 1e6, 6e-8, 0.0),
    (UnaryOp::Rsqrt, 1e-6, 1e6, 1.3e-7, 0.0),
    (UnaryOp::Sin, -10.0, 10.0, 2e-7, 1.0),
    (UnaryOp::Cos, -10.0, 10.0, 2e-7, 1.0),
    (UnaryOp::Sin, -1e4, 1e4, 2e-7, 1.0),
    (UnaryOp::Cos, -1e4, 1e4, 2e-7, 1.0),
    (UnaryOp::Sin, -5e4, 5e4, 2e-7, 1.0),
    (UnaryOp::Cos, 1e8, 3e38, 2e-7, 1.0),
    (UnaryOp::Sin, 1e8, 3e38, 2e-7, 1.0),
    (UnaryOp::Sin, -0.5, 0.5, 3e-7, 0.0),
    (UnaryOp::Tanh, -12.0, 12.0, 3e-7, 0.0),
    (UnaryOp::Tanh, -0.7, 0.7, 3e-7, 0.0),
    (UnaryOp::Erf, -5.0, 5.0, 3e-7, 0.0),
    (UnaryOp::Erf, -1e-3, 1e-3, 3e-7, 0.0),
    (UnaryOp::Sigmoid, -87.0, 30.0, 4e-7, 0.0),
    (UnaryOp::Floor, -1000.0, 1000.0, 0.0, 0.0),
    (UnaryOp::Ceil, -1000.0, 1000.0, 0.0, 0.0),
    (UnaryOp::Neg, -10.0, 10.0, 0.0, 0.0),
    (UnaryOp::Abs, -10.0, 10.0, 0.0, 0.0),
];

#[test]
fn functions_are_accurate_over_their_range() {
    for isa in Isa::available() {
        for &(op, low, high, tolerance, floor) in SWEEPS {
            let n = 40_001;
            let at =
                |i: usize| f64::from(low) + (f64::from(high) - f64::from(low)) * i as f64 / (n - 1) as f64;
            let xs: Vec<f32> = (0..n).map(|i| at(i) as f32).collect();
            let mut worst = (0.0, 0.0f32, 0.0f32);
            for (&x, &y) in xs.iter().zip(&eval(isa, op, &xs)) {
                let want = reference(op, f64::from(x));
                if want.is_infinite() || want.abs() > f64::from(f32::MAX) {
                    assert!(
                        y.is_infinite() && y.is_sign_positive() == (want > 0.0),
                        "{isa:?} {op:?}({x}) = {y}, not {want}"
                    );
                    continue;
                }
                if want.abs() < f64::from(f32::MIN_POSITIVE) {
                    assert!(y.abs() <= f32::MIN_POSITIVE, "{isa:?} {op:?}({x}) = {y}, not {want}");
                    continue;
                }
                let error = (f64::from(y) - want).abs() / want.abs().max(floor);
                assert!(error.is_finite(), "{isa:?} {op:?}({x}) = {y}, not {want}");
                if error > worst.0 {
                    worst = (error, x, y);
                }
            }
            let (error, x, y) = worst;
            let want = reference(op, f64::from(x));
            assert!(
                error <= tolerance,
                "{isa:?} {op:?}({x}) = {y}, not {want}: error {error:e} above {tolerance:e}"
            );
        }
    }
}

#[test]
fn logarithms_are_accurate_over_all_exponents() {
    let mut rng = Rng(3);
    let xs: Vec<f32> =
        (0..40_000).map(|_| f32::from_bits((rng.next() as u32) % 0x7f7f_ffff + 0x0080_0000)).collect();
    let xs: Vec<f32> = xs.into_iter().filter(|x| x.is_finite()).collect();
    for isa in Isa::available() {
        for op in [UnaryOp::Log, UnaryOp::Log2, UnaryOp::Rsqrt] {
            for (&x, &y) in xs.iter().zip(&eval(isa, op, &xs)) {
                let want = reference(op, f64::from(x));
                let error = (f64::from(y) - want).abs() / want.abs().max(1e-30);
                assert!(error <= 3e-7, "{isa:?} {op:?}({x:e}) = {y}, not {want}: error {error:e}");
            }
        }
    }
}

#[test]
fn special_values_are_those_of_the_mathematics() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let cases: &[(UnaryOp, f32, f32)] = &[
        (UnaryOp::Exp, inf, inf),
        (UnaryOp::Exp, -inf, 0.0),
        (UnaryOp::Exp, 0.0, 1.0),
        (UnaryOp::Exp, 88.73, inf),
        (UnaryOp::Exp, -87.34, 0.0),
        (UnaryOp::Exp, 1e30, inf),
        (UnaryOp::Exp2, inf, inf),
        (UnaryOp::Exp2, -inf, 0.0),
        (UnaryOp::Exp2, 128.0, inf),
        (UnaryOp::Exp2, -126.0, f32::MIN_POSITIVE),
        (UnaryOp::Exp2, -126.01, 0.0),
        (UnaryOp::Exp2, 10.0, 1024.0),
        (UnaryOp::Log, 0.0, -inf),
        (UnaryOp::Log, 1.0, 0.0),
        (UnaryOp::Log, inf, inf),
        (UnaryOp::Log, -1.0, nan),
        (UnaryOp::Log2, 0.0, -inf),
        (UnaryOp::Log2, 8.0, 3.0),
        (UnaryOp::Log2, inf, inf),
        (UnaryOp::Log2, -inf, nan),
        (UnaryOp::Sqrt, -1.0, nan),
        (UnaryOp::Rsqrt, 0.0, inf),
        (UnaryOp::Rsqrt, inf, 0.0),
        (UnaryOp::Sin, inf, nan),
        (UnaryOp::Cos, -inf, nan),
        (UnaryOp::Cos, 0.0, 1.0),
        (UnaryOp::Tanh, inf, 1.0),
        (UnaryOp::Tanh, -inf, -1.0),
        (UnaryOp::Tanh, 0.0, 0.0),
        (UnaryOp::Erf, inf, 1.0),
        (UnaryOp::Erf, -inf, -1.0),
        (UnaryOp::Erf, 0.0, 0.0),
        (UnaryOp::Sigmoid, inf, 1.0),
        (UnaryOp::Sigmoid, -inf, 0.0),
        (UnaryOp::Sigmoid, 0.0, 0.5),
    ];
    for isa in Isa::available() {
        for &(op, x, want) in cases {
            // Among ordinary neighbours, in the vector part and in the tail.
            for n in [1, 40] {
                let mut xs = vec![0.5; n];
                xs[n / 2] = x;
                let y = eval(isa, op, &xs)[n / 2];
                assert!(y == want || (y.is_nan() && want.is_nan()), "{isa:?} {op:?}({x}) = {y}, not {want}");
            }
        }
        for &op in UnaryOp::ALL {
            if op != UnaryOp::Not {
                assert!(
                    eval(isa, op, &[nan; 17]).iter().all(|y| y.is_nan()),
                    "{isa:?} {op:?}(NaN) should be NaN"
                );
            }
        }
    }
}
