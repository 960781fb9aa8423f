//! Operations: directed rounding, packed halves, extrema, approximations.

use super::*;

/// Whether `result` is where `round` puts a value of which `order(y)` tells how it compares with f32 `y`.
fn brackets(result: f32, round: Round, exact_vs: impl Fn(f32) -> std::cmp::Ordering) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (exact_vs(result), round) {
        (Equal, _) => true,
        (Greater, Round::Down) => exact_vs(result.next_up()) == Less,
        (Greater, Round::Zero) => result >= 0.0 && exact_vs(result.next_up()) == Less,
        (Less, Round::Up) => exact_vs(result.next_down()) == Greater,
        (Less, Round::Zero) => result <= 0.0 && exact_vs(result.next_down()) == Greater,
        (Less, Round::Down) | (Greater, Round::Up) => false,
        (Less | Greater, Round::NearestEven | Round::NearestAway) => false,
    }
}

const DIRECTED: [Round; 3] = [Round::Zero, Round::Down, Round::Up];

/// `x` in units of 2^-90, for finite x with an exponent above -66.
fn units(x: f32) -> i128 {
    let bits = x.to_bits();
    let mantissa = i128::from(bits & 0x7f_ffff | 0x80_0000);
    let magnitude = if x == 0.0 { 0 } else { mantissa << ((bits >> 23 & 0xff) as i32 - 150 + 90) };
    if x < 0.0 { -magnitude } else { magnitude }
}

#[test]
fn directed_sums_bracket_the_exact_value() {
    let mut random = Random::new(5);
    for step in 0..60_000 {
        let [a, b, c] = [(); 3].map(|()| random.f32_near_one(if step % 2 == 0 { 2 } else { 15 }));
        // Units of a product: 2^-90 from mantissas of 24 bits each and exponents down to -15.
        let product = units(a) / (1 << 45) * (units(b) / (1 << 45));
        assert_eq!(units(a) % (1 << 45), 0);
        let exact = product + units(c);
        for round in DIRECTED {
            let got = fma_f32(a, b, c, Mode { round, ..Mode::RN });
            assert!(
                brackets(got, round, |y| exact.cmp(&units(y))),
                "{round:?} {a:e} * {b:e} + {c:e} = {got:e}"
            );
            let got = add_f32(a, c, Mode { round, ..Mode::RN });
            assert!(
                brackets(got, round, |y| (units(a) + units(c)).cmp(&units(y))),
                "{round:?} {a:e} + {c:e}"
            );
            let got = sub_f32(a, c, Mode { round, ..Mode::RN });
            assert!(
                brackets(got, round, |y| (units(a) - units(c)).cmp(&units(y))),
                "{round:?} {a:e} - {c:e}"
            );
        }
        assert_eq!(fma_f32(a, b, c, Mode::RN), a.mul_add(b, c), "{a:e} * {b:e} + {c:e}");
    }
}

/// (1 + 2^-12)^2 lies midway between two f32. What decides is an addend that f64 drops, or that makes f64 round.
#[test]
fn an_addend_far_below_the_product_decides() {
    let factor = 1.0 + 2.0_f32.powi(-12);
    let small = [2.0_f32.powi(-100), 0.875 * 2.0_f32.powi(-52), 0.625 * 2.0_f32.powi(-51), 0.0];
    for sign in [1.0, -1.0] {
        for magnitude in small {
            for c in [magnitude, -magnitude] {
                let (a, b) = (sign * factor, factor);
                let product = f64::from(a) * f64::from(b);
                // The distance to a neighbour is exact in f64, and so is the comparison with the addend.
                let against = |y: f32| (product - f64::from(y)).partial_cmp(&f64::from(-c)).expect("no NaN");
                for round in DIRECTED {
                    let got = fma_f32(a, b, c, Mode { round, ..Mode::RN });
                    assert!(brackets(got, round, against), "{round:?} {a:e} * {b:e} + {c:e} = {got:e}");
                }
                assert_eq!(fma_f32(a, b, c, Mode::RN), a.mul_add(b, c), "{a:e} * {b:e} + {c:e}");
            }
        }
    }
}

#[test]
fn nearest_operations_match_the_host_on_any_bits() {
    let mut random = Random::new(6);
    let same = |ours: f32, host: f32| {
        ours.to_bits() == host.to_bits() || (host.is_nan() && ours.to_bits() == NAN_F32)
    };
    for _ in 0..200_000 {
        let [a, b, c] = [(); 3].map(|()| random.f32());
        assert!(same(add_f32(a, b, Mode::RN), a + b), "{a:e} + {b:e}");
        assert!(same(sub_f32(a, b, Mode::RN), a - b), "{a:e} - {b:e}");
        assert!(same(mul_f32(a, b, Mode::RN), a * b), "{a:e} * {b:e}");
        assert!(same(div_f32(a, b, Mode::RN), a / b), "{a:e} / {b:e}");
        assert!(same(sqrt_f32(a, Mode::RN), a.sqrt()), "sqrt {a:e}");
        assert!(same(rcp_f32(a, Mode::RN), 1.0 / a), "1 / {a:e}");
        assert!(same(fma_f32(a, b, c, Mode::RN), a.mul_add(b, c)), "{a:e} * {b:e} + {c:e}");
    }
}

#[test]
fn directed_products_quotients_and_roots_bracket_the_exact_value() {
    let mut random = Random::new(7);
    for step in 0..100_000 {
        let reach = if step % 2 == 0 { 20 } else { 126 };
        let [a, b] = [(); 2].map(|()| random.f32_near_one(reach));
        let (wide_a, wide_b) = (f64::from(a), f64::from(b));
        for round in DIRECTED {
            let mode = Mode { round, ..Mode::RN };
            // Products of two f32 are exact in f64, and so is each comparison; infinite ends are not finite f32.
            let exact = wide_a * wide_b;
            let product = mul_f32(a, b, mode);
            let against = |y: f32| exact.partial_cmp(&f64::from(y)).expect("no NaN");
            assert!(brackets(product, round, against), "{round:?} {a:e} * {b:e} = {product:e}");
            let quotient = div_f32(a, b, mode);
            let against = |y: f32| {
                let order = wide_a.abs().total_cmp(&(f64::from(y) * wide_b).abs());
                if (a < 0.0) == (b < 0.0) { order } else { order.reverse() }
            };
            assert!(brackets(quotient, round, against), "{round:?} {a:e} / {b:e} = {quotient:e}");
            let root = sqrt_f32(a.abs(), mode);
            assert!(brackets(root, round, |y| wide_a.abs().total_cmp(&(f64::from(y) * f64::from(y)))));
        }
    }
}

#[test]
fn signs_of_zero_and_flushing() {
    let down = Mode { round: Round::Down, ..Mode::RN };
    assert_eq!(add_f32(1.0, -1.0, down).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(add_f32(1.0, -1.0, Mode::RN).to_bits(), 0);
    assert_eq!(add_f32(-0.0, -0.0, Mode::RN).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(fma_f32(1.0, 0.0, -0.0, down).to_bits(), (-0.0_f32).to_bits());
    let (tiny, least) = (f32::from_bits(1), f32::MIN_POSITIVE);
    assert_eq!(add_f32(tiny, tiny, Mode::RN), f32::from_bits(2));
    assert_eq!(add_f32(tiny, least, Mode::RN_FTZ), least);
    assert_eq!(mul_f32(-least, 0.5, Mode::RN_FTZ).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(mul_f32(tiny, 1e30, Mode::RN_FTZ), 0.0);
    assert_eq!(rcp_f32(-tiny, Mode::RN_FTZ), f32::NEG_INFINITY);
    assert_eq!(fma_f32(2.0, 3.0, 1.0, Mode { clamp: Clamp::Sat, ..Mode::RN }), 1.0);
    assert_eq!(add_f32(f32::NAN, 0.0, Mode { clamp: Clamp::Sat, ..Mode::RN }), 0.0);
    assert_eq!(sqrt_f32(-1.0, Mode::RN).to_bits(), NAN_F32);
    assert_eq!(sqrt_f32(-0.0, Mode::RN).to_bits(), (-0.0_f32).to_bits());
    assert_eq!(round_integral_f32(2.5, Mode::RN), 2.0);
    assert_eq!(round_integral_f32(-2.5, down), -3.0);
    assert_eq!(round_integral_f32(-0.25, Mode::RN).to_bits(), (-0.0_f32).to_bits());
}

#[test]
fn extrema_follow_the_nan_rules() {
    let (nan, canonical) = (f32::from_bits(0xffc0_1234), NAN_F32);
    assert_eq!((min_f32(nan, 1.0, NanRule::Number), max_f32(1.0, nan, NanRule::Number)), (1.0, 1.0));
    assert_eq!(min_f32(nan, 1.0, NanRule::Propagate).to_bits(), canonical);
    assert_eq!(max_f32(nan, nan, NanRule::Number).to_bits(), canonical);
    assert_eq!(min_f32(0.0, -0.0, NanRule::Number).to_bits(), 0x8000_0000);
    assert_eq!(max_f32(-0.0, 0.0, NanRule::Number).to_bits(), 0);
    assert_eq!((min_f64(-2.0, 3.0, NanRule::Number), max_f64(-2.0, 3.0, NanRule::Number)), (-2.0, 3.0));
    let keep = Subnormals::Keep;
    for half in [Half::F16, Half::Bf16] {
        let one = if half == Half::F16 { 0x3c00 } else { 0x3f80 };
        let pair = 0x7fff_8000;
        assert_eq!(max_x2(half, pair, one << 16, keep, NanRule::Number), one << 16);
        assert_eq!(max_x2(half, pair, one << 16, keep, NanRule::Propagate), 0x7fff_0000);
        assert_eq!(min_x2(half, pair, one << 16, keep, NanRule::Number), one << 16 | 0x8000);
        assert_eq!(neg_x2(half, 0x8001_0001, Subnormals::Flush), 0x0000_8000);
        assert_eq!(abs_x2(half, 0x8001_0001, keep), 0x0001_0001);
    }
}

/// Sums and products of halves as integers in units of 2^-48, rounded by looking up the two neighbours.
#[test]
fn packed_arithmetic_rounds_once() {
    let mut random = Random::new(8);
    for (half, format) in [(Half::F16, Format::F16), (Half::Bf16, Format::Bf16)] {
        let all = finite_values(format);
        // bf16 is kept to the exponents of f16's normal numbers so that every sum fits the units.
        let near: Vec<(f64, u64)> = all
            .iter()
            .copied()
            .filter(|&(x, _)| half == Half::F16 || (1e-4..6e4).contains(&x.abs()))
            .collect();
        let nearest = |exact: i128| {
            let unit = 2.0_f64.powi(-48);
            if exact == 0 {
                return Some(0);
            }
            let above = all.partition_point(|&(x, _)| ((x / unit) as i128) < exact);
            let (high, low) = (all.get(above)?, all.get(above.checked_sub(1)?)?);
            let [to_low, to_high] = [exact - (low.0 / unit) as i128, (high.0 / unit) as i128 - exact];
            let bits = match to_low.cmp(&to_high) {
                std::cmp::Ordering::Less => low.1,
                std::cmp::Ordering::Greater => high.1,
                std::cmp::Ordering::Equal => {
                    if low.1 & 1 == 0 {
                        low.1
                    } else {
                        high.1
                    }
                }
            };
            Some(if bits == 0 && exact < 0 { 0x8000 } else { bits as u32 })
        };
        for _ in 0..150_000 {
            let [a, b, c] = [(); 3].map(|()| near[random.next() as usize % near.len()]);
            let scaled = |x: f64, power: i32| (x * 2.0_f64.powi(power)) as i128;
            let product = scaled(a.0, 24) * scaled(b.0, 24);
            let (keep, off) = (Subnormals::Keep, Clamp::Off);
            let [x, y, z] = [a, b, c].map(|v| v.1 as u32);
            let cases = [
                (fma_x2(half, x, y, z, keep, off) & 0xffff, product + scaled(c.0, 48)),
                (mul_x2(half, x, y, keep, off) & 0xffff, product),
                (add_x2(half, x, y, keep, off) & 0xffff, scaled(a.0, 48) + scaled(b.0, 48)),
                (sub_x2(half, x, y, keep, off) & 0xffff, scaled(a.0, 48) - scaled(b.0, 48)),
            ];
            for (got, exact) in cases {
                // Beyond the finite range there is no upper neighbour; overflow has a test of its own.
                if let Some(want) = nearest(exact) {
                    let zero = got & 0x7fff == 0 && exact == 0;
                    assert!(got == want || zero, "{half:?} {a:?} {b:?} {c:?}: {got:#x} against {want:#x}");
                }
            }
        }
    }
}

#[test]
fn packed_special_cases() {
    let (keep, off) = (Subnormals::Keep, Clamp::Off);
    // 1 * (1 + 2^-8) lies midway between two bf16; a far smaller addend decides, which f32 or f64 alone would lose.
    let (one, eighth, tie) = (0x3f80, 0x0d80, 0x3b80);
    let sum = fma_x2(Half::Bf16, tie, one, fma_x2(Half::Bf16, one, one, 0, keep, off), keep, off);
    assert_eq!(sum & 0xffff, 0x3f80, "a tie goes to even");
    let above = fma_x2(Half::Bf16, 0x3f81, 0x3f81, eighth, keep, off) & 0xffff;
    let below = fma_x2(Half::Bf16, 0x3f81, 0x3f81, eighth | 0x8000, keep, off) & 0xffff;
    assert_eq!((above, below), (0x3f82, 0x3f82));
    // (1 + 2^-4)(1 + 2^-4) = 1 + 2^-3 + 2^-8, midway between 1 + 2^-3 and its upper neighbour.
    assert_eq!(fma_x2(Half::Bf16, 0x3f88, 0x3f88, 0, keep, off) & 0xffff, 0x3f90);
    assert_eq!(fma_x2(Half::Bf16, 0x3f88, 0x3f88, eighth, keep, off) & 0xffff, 0x3f91);
    assert_eq!(fma_x2(Half::Bf16, 0x3f88, 0x3f88, eighth | 0x8000, keep, off) & 0xffff, 0x3f90);
    assert_eq!(add_x2(Half::F16, 0x7bff, 0x7bff, keep, off) & 0xffff, 0x7c00);
    assert_eq!(add_x2(Half::F16, 0x7c00, 0xfc00, keep, off) & 0xffff, 0x7fff);
    assert_eq!(fma_x2(Half::F16, 0x3c00, 0xbc00_3c00, 0, keep, Clamp::Relu) & 0xffff, 0x3c00);
    assert_eq!(mul_x2(Half::F16, 0xbc00_4000, 0x3c00_3c00, keep, Clamp::Sat), 0x0000_3c00);
    assert_eq!(add_x2(Half::F16, 0x0001_8001, 0, Subnormals::Flush, off), 0x0000_0000);
    assert_eq!(mul_x2(Half::F16, 0x0400, 0x3800, Subnormals::Flush, off) & 0xffff, 0);
    assert_eq!(mul_x2(Half::F16, 0x0400, 0x3800, keep, off) & 0xffff, 0x0200);
}

fn assert_close(got: f32, want: f64, bound: f64, what: &str) {
    let error = (f64::from(got) - want).abs();
    assert!(error <= bound || f64::from(got) == want, "{what}: {got:e}, wanted {want:e}");
}

#[test]
fn approximations_stay_within_their_bounds() {
    let mut random = Random::new(9);
    let keep = Subnormals::Keep;
    for _ in 0..100_000 {
        let x = random.f32_near_one(100);
        let wide = f64::from(x);
        let relative = |bits: f64, want: f64| want.abs() * (-bits).exp2() + 1e-45;
        let small = random.f32_near_one(7);
        let power = f64::from(small).exp2();
        if power < 1e38 {
            assert_close(ex2_approx(small, keep), power, relative(23.9, power), "ex2");
        }
        let log = wide.abs().log2();
        assert_close(lg2_approx(x.abs(), keep), log, relative(22.0, log), "lg2");
        assert_close(rcp_approx(x, keep), 1.0 / wide, relative(23.0, 1.0 / wide), "rcp");
        let root = wide.abs().sqrt();
        assert_close(sqrt_approx(x.abs(), keep), root, relative(23.0, root), "sqrt");
        assert_close(rsqrt_approx(x.abs(), keep), 1.0 / root, relative(22.9, 1.0 / root), "rsqrt");
        let angle = random.f32_near_one(3) % std::f32::consts::TAU;
        assert_close(sin_approx(angle, keep), f64::from(angle).sin(), 2.0_f64.powf(-20.5), "sin");
        assert_close(cos_approx(angle, keep), f64::from(angle).cos(), 2.0_f64.powf(-20.5), "cos");
        let tanh = f64::from(small).tanh();
        assert_close(tanh_approx(small), tanh, relative(11.0, tanh), "tanh");
        let quotient = wide / f64::from(small);
        if quotient.abs() < 1e38 {
            assert_close(div_full(x, small, keep), quotient, relative(22.0, quotient), "div.full");
        }
    }
}

#[test]
fn approximations_at_special_operands() {
    let (keep, flush) = (Subnormals::Keep, Subnormals::Flush);
    assert_eq!(
        [-3.0, 0.0, 10.0, 127.0, -149.0].map(|x| ex2_approx(x, keep)),
        [0.125, 1.0, 1024.0, 2.0_f32.powi(127), f32::from_bits(1)]
    );
    assert_eq!((ex2_approx(-130.0, flush), ex2_approx(f32::NEG_INFINITY, keep)), (0.0, 0.0));
    assert_eq!((ex2_approx(128.0, keep), ex2_approx(f32::INFINITY, flush)), (f32::INFINITY, f32::INFINITY));
    assert_eq!(ex2_approx(f32::NAN, keep).to_bits(), NAN_F32);
    assert_eq!((lg2_approx(8.0, keep), lg2_approx(f32::from_bits(1), flush)), (3.0, f32::NEG_INFINITY));
    assert_eq!(lg2_approx(f32::from_bits(1), keep), -149.0);
    assert_eq!(lg2_approx(-1.0, keep).to_bits(), NAN_F32);
    assert_eq!((rsqrt_approx(-0.0, keep), rsqrt_approx(f32::INFINITY, keep)), (f32::NEG_INFINITY, 0.0));
    assert_eq!(sin_approx(f32::INFINITY, keep).to_bits(), NAN_F32);
    assert_eq!((tanh_approx(100.0), tanh_approx(-100.0)), (1.0, -1.0));
    let huge = 2.0_f32.powi(127);
    assert_eq!((div_approx(huge, huge, keep), div_full(huge, huge, keep)), (0.0, 1.0));
    assert_eq!(div_approx(-1.0, huge, keep).to_bits(), 0x8000_0000);
    assert_eq!(div_approx(f32::INFINITY, huge, keep).to_bits(), NAN_F32);
    assert_eq!(div_approx(1.0, 2.0_f32.powi(126), keep), 2.0_f32.powi(-126));
    assert_eq!(ex2_approx_f16x2(0x4000_bc00, keep), 0x4400_3800);
    assert_eq!(ex2_approx_bf16x2(0x4000_bf80), 0x4080_3f00);
    assert_eq!(tanh_approx_f16x2(0x7c00_0000), 0x3c00_0000);
    assert_eq!(tanh_approx_bf16x2(0x7f80_ff80), 0x3f80_bf80);
}
