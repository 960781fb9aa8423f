//! The two 8-bit floats of the OCP specification, as storage with exact conversion.
//!
//! E4M3 is the FN variant: no infinities, one NaN pattern per sign, largest value 448; larger values convert to NaN.
//! E5M2 follows IEEE: infinities, largest finite value 57344.

/// 8-bit float with 4 exponent and 3 mantissa bits (FN: no infinities).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct F8E4M3(pub u8);

/// 8-bit float with 5 exponent and 2 mantissa bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct F8E5M2(pub u8);

impl F8E4M3 {
    /// The nearest value, ties to even; beyond 464 in magnitude, and NaN, to NaN.
    #[must_use]
    pub fn from_f64(x: f64) -> Self {
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        let code = if x.is_nan() { 0x7f } else { round(x.abs(), 3, 7).min(0x7f) };
        Self(sign | code as u8)
    }

    /// The exact value.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        if self.0 & 0x7f == 0x7f { f64::NAN } else { decode(self.0, 3, 7) }
    }
}

impl F8E5M2 {
    /// The nearest value, ties to even; beyond 61440 in magnitude to infinity.
    #[must_use]
    pub fn from_f64(x: f64) -> Self {
        let sign = if x.is_sign_negative() { 0x80 } else { 0 };
        let code = if x.is_nan() { 0x7e } else { round(x.abs(), 2, 15).min(0x7c) };
        Self(sign | code as u8)
    }

    /// The exact value.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        let sign = if self.0 & 0x80 != 0 { -1.0 } else { 1.0 };
        match self.0 & 0x7f {
            0x7c => sign * f64::INFINITY,
            m if m > 0x7c => f64::NAN,
            _ => decode(self.0, 2, 15),
        }
    }
}

/// The code (without sign) nearest to a non-negative `x`, unbounded above: the exponent field may overflow into larger codes.
fn round(x: f64, mantissa_bits: i32, bias: i32) -> u64 {
    if x.is_infinite() {
        return u64::MAX;
    }
    let exponent = if x == 0.0 { 1 - bias } else { (x.log2().floor() as i32).max(1 - bias) };
    let mut exponent = exponent;
    // log2 may be off by one next to a power of two.
    if x >= 2f64.powi(exponent + 1) {
        exponent += 1;
    } else if x < 2f64.powi(exponent) && exponent > 1 - bias {
        exponent -= 1;
    }
    let steps = (x / 2f64.powi(exponent - mantissa_bits)).round_ties_even() as u64;
    // `steps` carries the hidden bit for normal numbers, which adds 1 to the exponent field.
    (((exponent + bias - 1) as u64) << mantissa_bits) + steps
}

fn decode(code: u8, mantissa_bits: i32, bias: i32) -> f64 {
    let sign = if code & 0x80 != 0 { -1.0 } else { 1.0 };
    let field = i32::from(code & 0x7f) >> mantissa_bits;
    let mantissa = f64::from(code & ((1 << mantissa_bits) - 1)) / f64::from(1 << mantissa_bits);
    if field == 0 {
        sign * mantissa * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + mantissa) * 2f64.powi(field - bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_round_trip() {
        for code in 0..=255u8 {
            let a = F8E4M3(code);
            assert!(a.to_f64().is_nan() || F8E4M3::from_f64(a.to_f64()) == a, "e4m3 code {code:#x}");
            let b = F8E5M2(code);
            assert!(b.to_f64().is_nan() || F8E5M2::from_f64(b.to_f64()) == b, "e5m2 code {code:#x}");
        }
    }

    #[test]
    fn limits_follow_the_specification() {
        assert_eq!(F8E4M3(0x7e).to_f64(), 448.0);
        assert_eq!(F8E4M3::from_f64(464.0).0, 0x7e, "a tie goes to the even code");
        assert!(F8E4M3::from_f64(465.0).to_f64().is_nan());
        assert_eq!(F8E5M2(0x7b).to_f64(), 57344.0);
        assert!(F8E5M2::from_f64(61440.0).to_f64().is_infinite());
        assert_eq!(F8E4M3(1).to_f64(), 2f64.powi(-9));
        assert_eq!(F8E5M2(1).to_f64(), 2f64.powi(-16));
    }
}
