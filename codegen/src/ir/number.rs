//! Scalar constants as numbers and as text, exactly.
//!
//! Text is the shortest decimal that reads back to the same bits; NaNs other than the usual one, and bits that no number
//! has, are written in hexadecimal. Narrow floats are rounded here in one step from binary64, because the shorter route
//! through binary32 rounds twice.

use half::{bf16, f16};

use super::ops::Const;
use super::types::DType;
use crate::dsl::f8::{F8E4M3, F8E5M2};

impl Const {
    /// The number as binary64: exact but for `i64` beyond 2^53.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        match self.dtype {
            DType::F32 => f64::from(f32::from_bits(self.bits as u32)),
            DType::F16 => f16::from_bits(self.bits as u16).to_f64(),
            DType::BF16 => bf16::from_bits(self.bits as u16).to_f64(),
            DType::F8E4M3 => F8E4M3(self.bits as u8).to_f64(),
            DType::F8E5M2 => F8E5M2(self.bits as u8).to_f64(),
            DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
                self.to_i64() as f64
            }
        }
    }

    /// The integer or truth value, sign-extended; for a float, its bits.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        match self.dtype {
            DType::I8 => self.bits as i8 as i64,
            DType::I32 => self.bits as i32 as i64,
            DType::I64 | DType::U8 | DType::U32 | DType::Bool => self.bits as i64,
            DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => self.bits as i64,
        }
    }

    /// The float of type `dtype` nearest to `x`, ties to even; beyond the range an infinity, or NaN for `f8e4m3`.
    ///
    /// # Panics
    /// If `dtype` is not a float.
    #[must_use]
    pub fn from_f64(dtype: DType, x: f64) -> Self {
        let bits = match dtype {
            // Spelled out: a conversion by the machine may pick the NaN's sign and payload.
            DType::F32 if x.is_nan() => 0x7fc0_0000,
            DType::F16 if x.is_nan() => 0x7e00,
            DType::BF16 if x.is_nan() => 0x7fc0,
            DType::F32 => u64::from((x as f32).to_bits()),
            DType::F16 => u64::from(f16::from_f64(round_to(x, 11, -14)).to_bits()),
            DType::BF16 => u64::from(bf16::from_f64(round_to(x, 8, -126)).to_bits()),
            DType::F8E4M3 => u64::from(F8E4M3::from_f64(x).0),
            DType::F8E5M2 => u64::from(F8E5M2::from_f64(x).0),
            DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
                panic!("{dtype} should be a float type")
            }
        };
        Self { dtype, bits }
    }

    /// The integer `x` of type `dtype`, wrapped to its width; for `bool`, whether `x` is not 0.
    ///
    /// # Panics
    /// If `dtype` is a float.
    #[must_use]
    pub fn from_i64(dtype: DType, x: i64) -> Self {
        let bits = match dtype {
            DType::I8 | DType::U8 => u64::from(x as u8),
            DType::I32 | DType::U32 => u64::from(x as u32),
            DType::I64 => x as u64,
            DType::Bool => u64::from(x != 0),
            DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
                panic!("{dtype} should be an integer type or bool")
            }
        };
        Self { dtype, bits }
    }

    /// A truth value.
    #[must_use]
    pub const fn from_bool(x: bool) -> Self {
        Self { dtype: DType::Bool, bits: x as u64 }
    }

    /// The constant in IR text, without its type.
    #[must_use]
    pub fn text(self) -> String {
        let readable = if self.dtype.is_float() {
            let usual_nan = Self::from_f64(self.dtype, f64::NAN);
            match self.to_f64() {
                x if x.is_nan() => (self == usual_nan).then(|| "nan".to_owned()),
                x => Some(shortest(self.dtype, x)),
            }
        } else if self.dtype == DType::Bool {
            Some(if self.bits == 0 { "false" } else { "true" }.to_owned())
        } else {
            Some(self.to_i64().to_string())
        };
        // Reading back is the test of what can be said in decimal, so bits beyond the type's width end in hexadecimal.
        readable
            .filter(|t| Self::from_text(self.dtype, t) == Some(self))
            .unwrap_or_else(|| format!("{:#x}", self.bits))
    }

    /// The constant that `text` writes; `None` when it is not a number of this type.
    #[must_use]
    pub fn from_text(dtype: DType, text: &str) -> Option<Self> {
        if let Some(hex) = text.strip_prefix("0x") {
            return u64::from_str_radix(hex, 16).ok().map(|bits| Self { dtype, bits });
        }
        if dtype == DType::Bool {
            return match text {
                "false" => Some(Self::from_bool(false)),
                "true" => Some(Self::from_bool(true)),
                _ => None,
            };
        }
        if dtype.is_int() {
            let x: i64 = text.parse().ok()?;
            let c = Self::from_i64(dtype, x);
            return (c.to_i64() == x).then_some(c);
        }
        let x: f64 = match text {
            "inf" => f64::INFINITY,
            "-inf" => f64::NEG_INFINITY,
            "nan" => f64::NAN,
            _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok()?,
            _ => return None,
        };
        let c = if dtype == DType::F32 && x.is_finite() {
            // Parsed at its own precision: by way of binary64 it would be rounded twice.
            Self { dtype, bits: u64::from(text.parse::<f32>().ok()?.to_bits()) }
        } else {
            Self::from_f64(dtype, x)
        };
        (c.to_f64().is_finite() == x.is_finite()).then_some(c)
    }
}

/// The shortest decimal that reads back to `x` at the precision of `dtype`; for a narrow float the exact one if that is short,
/// since 448 should not print as 450.
fn shortest(dtype: DType, x: f64) -> String {
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if dtype == DType::F32 {
        return format!("{:?}", x as f32);
    }
    let exact = format!("{x:?}");
    if exact.len() <= 8 {
        return exact;
    }
    let wanted = Const::from_f64(dtype, x);
    (0..17)
        .filter_map(|digits| format!("{x:.digits$e}").parse::<f64>().ok())
        .find(|&y| Const::from_f64(dtype, y) == wanted)
        .map_or(exact, |y| format!("{y:?}"))
}

/// `x` rounded to `precision` significant bits, ties to even, with subnormals below 2^`min_exponent`. Exact scaling: the
/// quantum is a power of two well inside binary64.
fn round_to(x: f64, precision: i32, min_exponent: i32) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = (((x.to_bits() >> 52) & 0x7ff) as i32 - 1023).max(min_exponent);
    let quantum = 2f64.powi(exponent - precision + 1);
    (x / quantum).round_ties_even() * quantum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_narrow_float_reads_back_to_its_bits() {
        for dtype in [DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2] {
            for bits in 0..1u64 << (8 * dtype.size_bytes()) {
                let c = Const { dtype, bits };
                assert_eq!(Const::from_text(dtype, &c.text()), Some(c), "{dtype} {bits:#x} {}", c.text());
            }
        }
    }

    #[test]
    fn rounding_is_single_and_to_even() {
        // Just above the midpoint of 1 and 1 + 2^-10: twice rounded it would fall to 1.
        let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        assert_eq!(Const::from_f64(DType::F16, x).bits, 0x3c01);
        assert_eq!(Const::from_f64(DType::F16, 1.0 + 2f64.powi(-11)).bits, 0x3c00);
        assert_eq!(Const::from_f64(DType::F16, 65520.0).bits, 0x7c00);
        assert_eq!(Const::from_f64(DType::F8E4M3, 448.0).bits, 0x7e);
        assert_eq!(Const::from_f64(DType::F8E4M3, 500.0).bits, 0x7f);
        assert_eq!(Const::from_f64(DType::F8E5M2, -1e9).bits, 0xfc);
    }

    #[test]
    fn text_of_unusual_bits_is_hexadecimal() {
        assert_eq!(Const { dtype: DType::F32, bits: 0x7fc0_0001 }.text(), "0x7fc00001");
        assert_eq!(Const { dtype: DType::F32, bits: 0x7fc0_0000 }.text(), "nan");
        assert_eq!(Const { dtype: DType::Bool, bits: 2 }.text(), "0x2");
        assert_eq!(Const::from_f64(DType::F32, -0.0).text(), "-0.0");
        assert_eq!(Const::from_i64(DType::I8, -1).text(), "-1");
        assert_eq!(Const::from_text(DType::I8, "200"), None);
        assert_eq!(Const::from_text(DType::F16, "1e6"), None);
    }
}
