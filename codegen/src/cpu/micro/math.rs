//! Elementary functions over vectors: range reduction, a polynomial, and the special values.
//!
//! Relative error is below 3e-7 (sigmoid 4e-7) for all but sine and cosine, whose absolute error is below 2e-7; the tests sample
//! it against f64 across the whole range. Polynomials are minimax fits on the reduced range. Subnormal results
//! of the exponentials are zero by contract, so no path needs subnormal arithmetic.

use super::simd::{MAX_LANES, Simd};

/// 1.5 * 2^23: adding it rounds to an integer that then sits in the low mantissa bits.
const MAGIC: f32 = 12_582_912.0;
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -0.000_212_194_44;

/// Horner's scheme from the coefficient of the highest power down.
macro_rules! horner {
    ($s:ty, $x:expr, $top:expr $(, $c:expr)*) => {{
        let mut p = <$s>::splat($top);
        $(p = <$s>::fma(p, $x, <$s>::splat($c));)*
        p
    }};
}

#[inline(always)]
pub(super) unsafe fn abs<S: Simd>(x: S::F) -> S::F {
    S::from_bits(S::and(S::bits(x), S::isplat(0x7fff_ffff)))
}

#[inline(always)]
pub(super) unsafe fn neg<S: Simd>(x: S::F) -> S::F {
    S::from_bits(S::xor(S::bits(x), S::isplat(i32::MIN)))
}

/// `magnitude` with the sign of `x` toggled in.
#[inline(always)]
unsafe fn with_sign_of<S: Simd>(magnitude: S::F, x: S::F) -> S::F {
    S::from_bits(S::xor(S::bits(magnitude), S::and(S::bits(x), S::isplat(i32::MIN))))
}

/// e^x: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by a polynomial of degree 5.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    // The operand order lets NaN through; whatever comes of arguments far below is masked away in the end.
    let clamped = S::min_raw(S::splat(89.0), x);
    let n = S::nearest(S::mul(clamped, S::splat(std::f32::consts::LOG2_E)));
    let r = S::fnma(n, S::splat(LN2_LO), S::fnma(n, S::splat(LN2_HI), clamped));
    let p = horner!(S, r, 0.008_290_314, 0.041_897_93, 0.166_676_36, 0.499_991_5, 0.999_999_7, 1.0);
    S::scale_or_zero(S::not(S::lt(x, S::splat(-87.336_54))), p, n)
}

/// 2^x: x = n + r with |r| <= 1/2, 2^r by a polynomial of degree 6.
#[inline(always)]
pub(super) unsafe fn exp2<S: Simd>(x: S::F) -> S::F {
    let clamped = S::min_raw(S::splat(129.0), x);
    let n = S::nearest(clamped);
    let r = S::sub(clamped, n);
    let p = horner!(
        S,
        r,
        0.000_153_523_17,
        0.001_340_017,
        0.009_618_45,
        0.055_503_294,
        0.240_226_48,
        std::f32::consts::LN_2
    );
    S::scale_or_zero(S::not(S::lt(x, S::splat(-126.0))), S::fma(p, r, S::splat(1.0)), n)
}

/// x = 2^e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2): returns (e, f, log(1 + f) - f).
#[inline(always)]
unsafe fn log_parts<S: Simd>(x: S::F) -> (S::F, S::F, S::F) {
    let small = S::lt(x, S::splat(f32::MIN_POSITIVE));
    let scaled = S::select(small, S::mul(x, S::splat(8_388_608.0)), x);
    let root_half = S::isplat(0x3f35_04f3);
    let exponent = S::sar::<23>(S::isub(S::bits(scaled), root_half));
    let f = S::sub(S::from_bits(S::isub(S::bits(scaled), S::shl::<23>(exponent))), S::splat(1.0));
    let e = S::sub(S::to_float(exponent), S::select(small, S::splat(23.0), S::splat(0.0)));
    let p = horner!(
        S,
        f,
        0.067_466_386,
        -0.116_756_51,
        0.118_881_63,
        -0.124_055_89,
        0.142_195_52,
        -0.166_679_96,
        0.200_021_19,
        -0.250_000_1,
        0.333_333_13
    );
    let square = S::mul(f, f);
    let cubic = S::mul(S::mul(square, f), p);
    (e, f, S::fma(square, S::splat(-0.5), cubic))
}

/// Zero to -inf, negative and NaN to NaN, inf to inf.
#[inline(always)]
unsafe fn log_specials<S: Simd>(x: S::F, y: S::F) -> S::F {
    let y = S::select(S::lt(x, S::splat(f32::INFINITY)), y, x);
    let y = S::select(S::eq(x, S::splat(0.0)), S::splat(f32::NEG_INFINITY), y);
    S::select(S::lt(x, S::splat(0.0)), S::splat(f32::NAN), y)
}

#[inline(always)]
pub(super) unsafe fn log<S: Simd>(x: S::F) -> S::F {
    let (e, f, rest) = log_parts::<S>(x);
    let low = S::fma(e, S::splat(LN2_LO), rest);
    log_specials::<S>(x, S::fma(e, S::splat(LN2_HI), S::add(f, low)))
}

#[inline(always)]
pub(super) unsafe fn log2<S: Simd>(x: S::F) -> S::F {
    let (e, f, rest) = log_parts::<S>(x);
    // log2(e) - 1 keeps the leading f exact.
    let excess = S::splat(0.442_695_05);
    let low = S::add(S::fma(f, excess, S::mul(rest, excess)), rest);
    log_specials::<S>(x, S::add(S::add(low, f), e))
}

/// sin(x) for `QUARTER` 0 and cos(x) for 1: x = n pi/2 + r with |r| <= pi/4, the quadrant from n + QUARTER.
///
/// Beyond the range in which three parts of pi/2 cancel exactly, and where multiply-add rounds twice, the lanes go through f64.
#[inline(always)]
pub(super) unsafe fn sin_cos<S: Simd, const QUARTER: i32>(x: S::F) -> S::F {
    if !S::FUSED || S::any(S::not(S::le(abs::<S>(x), S::splat(40_000.0)))) {
        return sin_cos_wide::<S, QUARTER>(x);
    }
    let shifted = S::fma(x, S::splat(std::f32::consts::FRAC_2_PI), S::splat(MAGIC));
    let n = S::sub(shifted, S::splat(MAGIC));
    let quadrant = S::iadd(S::bits(shifted), S::isplat(QUARTER));
    let r = S::fnma(n, S::splat(1.570_796_4), x);
    let r = S::fnma(n, S::splat(-4.371_139e-8), r);
    let r = S::fnma(n, S::splat(-1.715_124_5e-15), r);
    let z = S::mul(r, r);
    let sine = horner!(S, z, 2.717_564_5e-6, -0.000_198_392_56, 0.008_333_329, -0.166_666_67);
    let sine = S::fma(S::mul(sine, z), r, r);
    let cosine = horner!(S, z, 2.443_120_5e-5, -0.001_388_730_6, 0.041_666_646);
    let cosine = S::fma(S::mul(cosine, z), z, S::fma(z, S::splat(-0.5), S::splat(1.0)));
    let y = S::select(S::test(quadrant, S::isplat(1)), cosine, sine);
    S::from_bits(S::xor(S::bits(y), S::shl::<30>(S::and(quadrant, S::isplat(2)))))
}

#[inline(never)]
unsafe fn sin_cos_wide<S: Simd, const QUARTER: i32>(x: S::F) -> S::F {
    let mut lanes = [0.0f32; MAX_LANES];
    S::store(lanes.as_mut_ptr(), x);
    for lane in lanes.iter_mut().take(S::LANES) {
        let wide = f64::from(*lane);
        *lane = if QUARTER == 0 { wide.sin() } else { wide.cos() } as f32;
    }
    S::load(lanes.as_ptr())
}

/// Near zero x + x^3 P(x^2), otherwise 1 - 2 / (e^2|x| + 1).
#[inline(always)]
pub(super) unsafe fn tanh<S: Simd>(x: S::F) -> S::F {
    let z = S::mul(x, x);
    let p =
        horner!(S, z, 0.002_097_721_2, -0.008_129, 0.021_681_642, -0.053_943_4, 0.133_331_8, -0.333_333_3);
    let near = S::fma(S::mul(p, z), x, x);
    let t = abs::<S>(x);
    let grown = S::add(exp::<S>(S::add(t, t)), S::splat(1.0));
    let far = S::sub(S::splat(1.0), S::div(S::splat(2.0), grown));
    S::select(S::lt(t, S::splat(0.64)), near, with_sign_of::<S>(far, x))
}

#[inline(always)]
pub(super) unsafe fn sigmoid<S: Simd>(x: S::F) -> S::F {
    let one = S::splat(1.0);
    S::div(one, S::add(one, exp::<S>(neg::<S>(x))))
}

/// Near zero x + x P(x^2), otherwise 1 - exp(Q(|x|)) where Q fits log(erfc) on [0.9, 4].
#[inline(always)]
pub(super) unsafe fn erf<S: Simd>(x: S::F) -> S::F {
    let z = S::mul(x, x);
    let p = horner!(
        S,
        z,
        8.345_227e-5,
        -0.000_813_743_8,
        0.005_200_634,
        -0.026_859_27,
        0.112_836_94,
        -0.376_126_35,
        0.128_379_17
    );
    let near = S::fma(p, x, x);
    // This order of operands lets NaN through.
    let t = S::min_raw(S::splat(4.0), abs::<S>(x));
    let q = horner!(
        S,
        t,
        1.110_780_9e-6,
        -1.786_259e-5,
        0.000_103_408_26,
        -5.953_316e-5,
        -0.002_940_596_5,
        0.023_122_631,
        -0.106_167_31,
        -0.634_753_6,
        -1.128_979_7,
        8.594_077_4e-5
    );
    let far = S::sub(S::splat(1.0), exp::<S>(q));
    S::select(S::lt(t, S::splat(0.92)), near, with_sign_of::<S>(far, x))
}
