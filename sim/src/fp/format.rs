//! Floating-point formats as data, and the one rounding routine that all conversions and directed operations share.
//!
//! A value enters as sign, 64-bit mantissa and exponent, so that integers and f64 values alike round once.

use super::{Clamp, Mode, Overflow, Round, Subnormals};

/// A binary floating-point format with sign, exponent and mantissa fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 4 exponent bits, 3 mantissa bits, no infinity, largest finite value 448.
    E4m3,
    /// 5 exponent bits, 2 mantissa bits, largest finite value 57344.
    E5m2,
    /// 19 bits: f32's exponent and f16's mantissa. In a register its bits stand 13 places higher.
    Tf32,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl Format {
    /// Width of the exponent field.
    #[inline]
    pub const fn exponent_bits(self) -> u32 {
        match self {
            Format::F16 | Format::E5m2 => 5,
            Format::Bf16 | Format::Tf32 | Format::F32 => 8,
            Format::E4m3 => 4,
            Format::F64 => 11,
        }
    }

    /// Width of the mantissa field, without the implied bit.
    #[inline]
    pub const fn mantissa_bits(self) -> u32 {
        match self {
            Format::F16 | Format::Tf32 => 10,
            Format::Bf16 => 7,
            Format::E4m3 => 3,
            Format::E5m2 => 2,
            Format::F32 => 23,
            Format::F64 => 52,
        }
    }

    /// Exponent of the smallest normal number.
    #[inline]
    pub const fn min_exponent(self) -> i32 {
        2 - (1 << (self.exponent_bits() - 1))
    }

    /// Bits of the largest finite number.
    #[inline]
    pub const fn max_finite(self) -> u64 {
        match self {
            Format::E4m3 => 0x7e,
            Format::F16 | Format::Bf16 | Format::E5m2 | Format::Tf32 | Format::F32 | Format::F64 => {
                self.infinity() - 1
            }
        }
    }

    /// Bits of plus infinity; in e4m3, which has none, of NaN.
    #[inline]
    pub const fn infinity(self) -> u64 {
        match self {
            Format::E4m3 => 0x7f,
            Format::F16 | Format::Bf16 | Format::E5m2 | Format::Tf32 | Format::F32 | Format::F64 => {
                ((1 << self.exponent_bits()) - 1) << self.mantissa_bits()
            }
        }
    }

    /// Bits of the canonical NaN: every bit but the sign.
    #[inline]
    pub const fn nan(self) -> u64 {
        self.sign() - 1
    }

    /// The sign bit.
    #[inline]
    pub const fn sign(self) -> u64 {
        1 << (self.exponent_bits() + self.mantissa_bits())
    }
}

/// `±mantissa·2^exponent` rounded once into `format`. A mantissa of 0 is zero.
#[inline]
pub fn encode_exact(
    negative: bool,
    mantissa: u64,
    exponent: i32,
    format: Format,
    round: Round,
    overflow: Overflow,
) -> u64 {
    let sign = if negative { format.sign() } else { 0 };
    if mantissa == 0 {
        return sign;
    }
    let zeros = mantissa.leading_zeros();
    let (mantissa, top) = (mantissa << zeros, exponent + 63 - zeros as i32);
    let below = (format.min_exponent() - top).clamp(0, 100) as u32;
    let drop = 63 - format.mantissa_bits() + below;
    let (kept, half, rest) = match drop {
        0..=63 => {
            let tail = mantissa << (64 - drop);
            (mantissa >> drop, tail >> 63 == 1, tail << 1 != 0)
        }
        64 => (0, mantissa >> 63 == 1, mantissa << 1 != 0),
        _ => (0, false, true),
    };
    let up = match round {
        Round::NearestEven => half && (rest || kept & 1 == 1),
        Round::NearestAway => half,
        Round::Zero => false,
        Round::Down => negative && (half || rest),
        Round::Up => !negative && (half || rest),
    };
    // The implied bit adds one to the exponent field, and a carry out of the mantissa adds another: both are right.
    let field = if below > 0 { 0 } else { (top - format.min_exponent()) as u64 };
    let bits = (field << format.mantissa_bits()) + kept + u64::from(up);
    if bits <= format.max_finite() {
        return sign | bits;
    }
    let to_infinity = match round {
        Round::NearestEven | Round::NearestAway => true,
        Round::Zero => false,
        Round::Down => negative,
        Round::Up => !negative,
    };
    match overflow {
        Overflow::Infinity if to_infinity => sign | format.infinity(),
        Overflow::Infinity | Overflow::MaxFinite => sign | format.max_finite(),
    }
}

/// `value` rounded once into `format` under `mode`. `.ftz` applies to f32 results only: the narrow formats always keep
/// their subnormals in a conversion.
#[inline]
pub fn encode(value: f64, format: Format, mode: Mode) -> u64 {
    if mode.round == Round::NearestEven && mode.clamp == Clamp::Off {
        // The common case, in four operations: a normal number in, a normal number out.
        let magnitude = value.to_bits() & (u64::MAX >> 1);
        let drop = 52 - format.mantissa_bits();
        let bias = ((1022 + format.min_exponent()) as u64) << 52;
        if drop > 0 && magnitude >= bias + (1 << 52) {
            let rounded = (magnitude - bias + (1 << (drop - 1)) - 1 + (magnitude >> drop & 1)) >> drop;
            if rounded <= format.max_finite() {
                return rounded | if value.is_sign_negative() { format.sign() } else { 0 };
            }
        }
    }
    if value.is_nan() {
        return match mode.clamp {
            Clamp::Sat => 0,
            Clamp::Off | Clamp::Relu => format.nan(),
        };
    }
    let value = match mode.clamp {
        Clamp::Off => value,
        Clamp::Sat if value >= 1.0 => 1.0,
        Clamp::Sat | Clamp::Relu if value <= 0.0 => 0.0,
        Clamp::Sat | Clamp::Relu => value,
    };
    let sign = if value.is_sign_negative() { format.sign() } else { 0 };
    if value.is_infinite() {
        return match mode.overflow {
            Overflow::Infinity => sign | format.infinity(),
            Overflow::MaxFinite => sign | format.max_finite(),
        };
    }
    let bits = value.to_bits();
    let (field, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (mantissa, exponent) =
        if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field as i32 - 1075) };
    let out = encode_exact(sign != 0, mantissa, exponent, format, mode.round, mode.overflow);
    let flushes = format == Format::F32 && mode.subnormals == Subnormals::Flush;
    if flushes && out & format.infinity() == 0 { sign } else { out }
}

/// The value of `bits` in `format`, exactly. `bits` above the format's width are ignored.
#[inline]
pub fn decode(bits: u64, format: Format) -> f64 {
    let magnitude = bits & (format.sign() - 1);
    let fraction = magnitude & ((1 << format.mantissa_bits()) - 1);
    let field = magnitude >> format.mantissa_bits();
    let value = if magnitude > format.max_finite() {
        if magnitude == format.infinity() && format != Format::E4m3 { f64::INFINITY } else { f64::NAN }
    } else if format == Format::F64 {
        f64::from_bits(magnitude)
    } else {
        let scale = format.min_exponent() - format.mantissa_bits() as i32;
        let (mantissa, exponent) = match field {
            0 => (fraction, scale),
            _ => (fraction | 1 << format.mantissa_bits(), scale + field as i32 - 1),
        };
        mantissa as f64 * f64::from_bits(((exponent + 1023) as u64) << 52)
    };
    if bits & format.sign() != 0 { -value } else { value }
}
