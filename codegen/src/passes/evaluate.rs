//! Elementwise operations on constants, with the semantics of the op table to the last bit.
//!
//! `None` where targets may differ in the last bit (`exp` and its kin), in a NaN's payload, or in the sign of a zero: there the
//! operation stays and runs. Narrow floats are computed in binary32 and rounded; for `+ - * /` and square roots that
//! equals rounding once, since 24 bits are more than twice 11 and two more.

use crate::ir::arithmetic::{Outcome, float_binary, int_binary, int_unary};
use crate::ir::{BinaryOp, Const, DType, UnaryOp};

/// `op` of a constant.
pub(super) fn unary(op: UnaryOp, a: Const) -> Option<Const> {
    if a.dtype.is_float() {
        return float_unary(op, a);
    }
    int_unary(op, a.dtype, a.to_i64()).map(|y| Const::from_i64(a.dtype, y))
}

fn float_unary(op: UnaryOp, a: Const) -> Option<Const> {
    let x = a.to_f64() as f32;
    let y = match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Not
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => return None,
    };
    float(a.dtype, y)
}

/// The constant of a float result; NaNs are left to run time.
fn float(dtype: DType, y: f32) -> Option<Const> {
    (!y.is_nan()).then(|| Const::from_f64(dtype, f64::from(y)))
}

/// `op` of two constants of one type.
pub(super) fn binary(op: BinaryOp, a: Const, b: Const) -> Option<Const> {
    if !a.dtype.is_float() {
        return Some(match int_binary(op, a.dtype, a.to_i64(), b.to_i64()) {
            Outcome::Number(y) => Const::from_i64(a.dtype, y),
            Outcome::Truth(holds) => Const::from_bool(holds),
        });
    }
    let (x, y) = (a.to_f64() as f32, b.to_f64() as f32);
    // Of two zeros either may come out, so that of different signs is left alone.
    if matches!(op, BinaryOp::Min | BinaryOp::Max) && x == y && a != b {
        return None;
    }
    match float_binary(op, x, y)? {
        Outcome::Number(y) => float(a.dtype, y),
        Outcome::Truth(holds) => Some(Const::from_bool(holds)),
    }
}

/// `a * b + c` in binary32; narrow floats would need one rounding from the exact sum.
pub(super) fn fma(a: Const, b: Const, c: Const) -> Option<Const> {
    let [x, y, z] = [a, b, c].map(|k| k.to_f64() as f32);
    if a.dtype == DType::F32 { float(a.dtype, x.mul_add(y, z)) } else { None }
}

/// The conversion of a constant. Left alone: NaN to a float, overflow of an 8-bit float, and integers that binary32 does not
/// hold on the way to a narrow float.
pub(super) fn cast(a: Const, to: DType) -> Option<Const> {
    let x = a.to_f64();
    match (a.dtype.is_float(), to.is_float()) {
        _ if to == a.dtype => Some(a),
        (true, true) => {
            let c = Const::from_f64(to, x);
            let overflows_8_bits = to.size_bytes() == 1 && !c.to_f64().is_finite();
            (!x.is_nan() && !overflows_8_bits).then_some(c)
        }
        (true, false) if to == DType::Bool => Some(Const::from_bool(x != 0.0)),
        (true, false) => Some(Const::from_i64(to, saturate(x, to))),
        (false, true) if to == DType::F32 => {
            Some(Const { dtype: to, bits: u64::from((a.to_i64() as f32).to_bits()) })
        }
        (false, true) => {
            let c = Const::from_f64(to, x);
            let held_by_f32 = (a.to_i64() as f32) as i64 == a.to_i64() && a.to_i64().unsigned_abs() < 1 << 53;
            (held_by_f32 && (to.size_bytes() > 1 || c.to_f64().is_finite())).then_some(c)
        }
        (false, false) => Some(Const::from_i64(to, a.to_i64())),
    }
}

/// `x` truncated toward zero and held to the range of `to`; NaN is 0.
fn saturate(x: f64, to: DType) -> i64 {
    match to {
        DType::I8 => i64::from(x as i8),
        DType::U8 => i64::from(x as u8),
        DType::I32 => i64::from(x as i32),
        DType::U32 => i64::from(x as u32),
        DType::I64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 | DType::Bool => {
            x as i64
        }
    }
}

/// Whether every value of `from` is a value of `to`, so that a conversion through `to` changes nothing.
pub(super) fn is_lossless(from: DType, to: DType) -> bool {
    // (significant bits, smallest exponent incl. subnormals, largest exponent) of floats; integers: (bits, signed).
    let float = |d| match d {
        DType::F32 => Some((24, -149, 127)),
        DType::F16 => Some((11, -24, 15)),
        DType::BF16 => Some((8, -133, 127)),
        DType::F8E4M3 => Some((4, -9, 8)),
        DType::F8E5M2 => Some((3, -16, 15)),
        DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => None,
    };
    let int = |d| match d {
        DType::Bool => Some((1, false)),
        DType::I8 => Some((8, true)),
        DType::U8 => Some((8, false)),
        DType::I32 => Some((32, true)),
        DType::U32 => Some((32, false)),
        DType::I64 => Some((64, true)),
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => None,
    };
    match (float(from), int(from), float(to), int(to)) {
        // No infinities in f8e4m3, so nothing with infinities fits it, and that its range would not hold them anyway.
        (Some((p, lo, hi)), _, Some((q, lo2, hi2)), _) => {
            p <= q && lo2 <= lo && hi <= hi2 && (to != DType::F8E4M3 || from == to)
        }
        (_, Some((bits, signed)), Some((q, _, hi)), _) => bits - i32::from(signed) <= q && bits <= hi,
        (_, Some((bits, signed)), _, Some((bits2, signed2))) => {
            to != DType::Bool && if signed == signed2 { bits <= bits2 } else { signed2 && bits < bits2 }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(dtype: DType, x: i64) -> Const {
        Const::from_i64(dtype, x)
    }

    #[test]
    fn integers_wrap_and_division_by_zero_is_zero() {
        let min = int(DType::I32, i64::from(i32::MIN));
        assert_eq!(binary(BinaryOp::Add, int(DType::U8, 200), int(DType::U8, 100)), Some(int(DType::U8, 44)));
        assert_eq!(binary(BinaryOp::Div, min, int(DType::I32, -1)), Some(min));
        assert_eq!(binary(BinaryOp::Rem, min, int(DType::I32, -1)), Some(int(DType::I32, 0)));
        assert_eq!(binary(BinaryOp::Div, int(DType::I32, 7), int(DType::I32, 0)), Some(int(DType::I32, 0)));
        assert_eq!(binary(BinaryOp::Rem, int(DType::I32, -7), int(DType::I32, 4)), Some(int(DType::I32, -3)));
        assert_eq!(binary(BinaryOp::Shl, int(DType::I32, 1), int(DType::I32, 33)), Some(int(DType::I32, 2)));
        assert_eq!(binary(BinaryOp::Shr, int(DType::I8, -128), int(DType::I8, 9)), Some(int(DType::I8, -64)));
        assert_eq!(
            binary(BinaryOp::Shr, int(DType::U32, 0xffff_ffff), int(DType::U32, 31)),
            Some(int(DType::U32, 1))
        );
        assert_eq!(unary(UnaryOp::Abs, min), Some(min));
    }

    #[test]
    fn narrow_floats_round_after_each_operation() {
        let h = |x| Const::from_f64(DType::F16, x);
        assert_eq!(binary(BinaryOp::Add, h(2048.0), h(1.0)), Some(h(2048.0)));
        assert_eq!(binary(BinaryOp::Mul, h(300.0), h(300.0)), Some(h(f64::INFINITY)));
        assert_eq!(binary(BinaryOp::Sub, h(f64::INFINITY), h(f64::INFINITY)), None);
        assert_eq!(
            cast(Const::from_f64(DType::F32, 1e10), DType::I32),
            Some(int(DType::I32, i64::from(i32::MAX)))
        );
        assert_eq!(cast(Const::from_f64(DType::F32, f64::NAN), DType::I8), Some(int(DType::I8, 0)));
        assert_eq!(cast(Const::from_f64(DType::F32, -3.9), DType::U8), Some(int(DType::U8, 0)));
    }

    #[test]
    fn a_lossless_conversion_keeps_every_number() {
        for from in DType::ALL {
            for to in DType::ALL {
                if !is_lossless(from, to) || from.size_bytes() > 2 {
                    continue;
                }
                let n_codes = if from == DType::Bool { 2 } else { 1u64 << (8 * from.size_bytes()) };
                for bits in 0..n_codes {
                    let c = Const { dtype: from, bits };
                    if c.to_f64().is_finite() {
                        let there = cast(c, to).expect("a lossless conversion should be known");
                        assert_eq!(there.to_f64(), c.to_f64(), "{from} to {to}");
                        assert_eq!(cast(there, from), Some(c), "{from} to {to} and back");
                    }
                }
            }
        }
    }
}
