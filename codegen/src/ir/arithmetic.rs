//! Elementwise operations on single numbers: what an operation means, once, for constants at compilation and registers at run time.
//!
//! Integers are given as the number that the type holds (unsigned ones without a sign) and the result still has to be wrapped to
//! the type; floats are binary32, and the result still has to be rounded.

use super::ops::{BinaryOp, UnaryOp};
use super::types::DType;

/// The result of an operation on two numbers: another, or whether a comparison holds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Outcome<T> {
    Number(T),
    Truth(bool),
}

/// `op` of an integer; `None` where it is defined on floats only.
pub(crate) fn int_unary(op: UnaryOp, dtype: DType, x: i64) -> Option<i64> {
    match op {
        UnaryOp::Neg => Some(x.wrapping_neg()),
        UnaryOp::Abs => Some(x.wrapping_abs()),
        UnaryOp::Not if dtype == DType::Bool => Some(i64::from(x == 0)),
        UnaryOp::Not => Some(!x),
        UnaryOp::Floor
        | UnaryOp::Ceil
        | UnaryOp::Exp
        | UnaryOp::Exp2
        | UnaryOp::Log
        | UnaryOp::Log2
        | UnaryOp::Sqrt
        | UnaryOp::Rsqrt
        | UnaryOp::Sin
        | UnaryOp::Cos
        | UnaryOp::Tanh
        | UnaryOp::Erf
        | UnaryOp::Sigmoid => None,
    }
}

/// `op` of two integers of one type. A division by zero gives 0, and shifts count modulo the width.
pub(crate) fn int_binary(op: BinaryOp, dtype: DType, x: i64, y: i64) -> Outcome<i64> {
    let width = dtype.size_bytes() as u32 * 8;
    let shift = (y as u32) & (width - 1);
    Outcome::Number(match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div | BinaryOp::Rem if y == 0 => 0,
        BinaryOp::Div => x.wrapping_div(y),
        BinaryOp::Rem => x.wrapping_rem(y),
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl => x.wrapping_shl(shift),
        // Unsigned types are held without a sign, so the arithmetic shift is right for both.
        BinaryOp::Shr => x >> shift,
        BinaryOp::Eq => return Outcome::Truth(x == y),
        BinaryOp::Ne => return Outcome::Truth(x != y),
        BinaryOp::Lt => return Outcome::Truth(x < y),
        BinaryOp::Le => return Outcome::Truth(x <= y),
        BinaryOp::Gt => return Outcome::Truth(x > y),
        BinaryOp::Ge => return Outcome::Truth(x >= y),
    })
}

/// `op` of two floats; `None` where it is defined on integers only.
pub(crate) fn float_binary(op: BinaryOp, x: f32, y: f32) -> Option<Outcome<f32>> {
    Some(Outcome::Number(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Rem => x % y,
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => return None,
        BinaryOp::Eq => return Some(Outcome::Truth(x == y)),
        BinaryOp::Ne => return Some(Outcome::Truth(x != y)),
        BinaryOp::Lt => return Some(Outcome::Truth(x < y)),
        BinaryOp::Le => return Some(Outcome::Truth(x <= y)),
        BinaryOp::Gt => return Some(Outcome::Truth(x > y)),
        BinaryOp::Ge => return Some(Outcome::Truth(x >= y)),
    }))
}
