//! Scalars in registers: their form, and `ir::arithmetic` in it, with the same meaning as the tile operations.
//!
//! Floats are f32 bits in the low half of a register, rounded to their type after each operation; integers of up to 32 bits
//! are kept as i32 bits (u8 and u32 zero-extended, i8 sign-extended), i64 whole.

#![allow(unsafe_code, reason = "single elements go through the micro-kernels, which take addresses")]

use half::{bf16, f16};

use crate::ir::arithmetic::{Outcome, float_binary, int_binary, int_unary};
use crate::ir::{BinaryOp, Const, DType, UnaryOp};

/// The float in a register.
pub(crate) const fn float_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

const fn of_float(x: f32) -> u64 {
    x.to_bits() as u64
}

const fn of_i32(x: i32) -> u64 {
    x as u32 as u64
}

/// Rounds to a narrow float type.
pub(crate) fn round_float(dtype: DType, x: f32) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(x).to_f32(),
        DType::BF16 => bf16::from_f32(x).to_f32(),
        DType::F32
        | DType::F8E4M3
        | DType::F8E5M2
        | DType::I8
        | DType::U8
        | DType::I32
        | DType::I64
        | DType::U32
        | DType::Bool => x,
    }
}

/// An integer as a register holds it: wrapped to its type.
pub(crate) const fn wrap_int(dtype: DType, x: i64) -> u64 {
    match dtype {
        DType::I8 => of_i32(x as i8 as i32),
        DType::U8 => of_i32(x as u8 as i32),
        DType::Bool => of_i32((x != 0) as i32),
        DType::I64 => x as u64,
        DType::I32 | DType::U32 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => {
            of_i32(x as i32)
        }
    }
}

/// The number in an integer register.
pub(crate) const fn int_of(dtype: DType, bits: u64) -> i64 {
    match dtype {
        DType::I64 => bits as i64,
        DType::U32 => bits as u32 as i64,
        DType::I8
        | DType::U8
        | DType::I32
        | DType::Bool
        | DType::F32
        | DType::F16
        | DType::BF16
        | DType::F8E4M3
        | DType::F8E5M2 => bits as i32 as i64,
    }
}

/// A constant or an argument, from the type's own encoding to register form.
pub(crate) fn from_encoding(c: Const) -> u64 {
    match c.dtype {
        DType::F32 => c.bits & 0xffff_ffff,
        DType::F16 => of_float(f16::from_bits(c.bits as u16).to_f32()),
        DType::BF16 => of_float(bf16::from_bits(c.bits as u16).to_f32()),
        DType::F8E4M3 | DType::F8E5M2 => {
            let byte = c.bits as u8;
            let mut out = 0f32;
            // SAFETY: one source byte and one arena element.
            unsafe {
                super::micro::widen(
                    super::micro::Isa::Portable,
                    c.dtype,
                    &raw const byte,
                    (&raw mut out).cast(),
                    1,
                );
            }
            of_float(out)
        }
        DType::I8 => wrap_int(c.dtype, i64::from(c.bits as i8)),
        DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => wrap_int(c.dtype, c.bits as i64),
    }
}

/// `op` on a register.
pub(crate) fn unary(op: UnaryOp, dtype: DType, a: u64) -> u64 {
    if !dtype.is_float() {
        let x = int_of(dtype, a);
        return wrap_int(dtype, int_unary(op, dtype, x).unwrap_or(x));
    }
    let mut x = float_of(a);
    // SAFETY: one element in and out; the portable form needs nothing of the machine.
    unsafe {
        super::micro::unary(
            super::micro::Isa::Portable,
            op,
            dtype,
            (&raw mut x).cast(),
            (&raw const x).cast(),
            1,
        );
    }
    of_float(x)
}

/// `op` on two registers of one type.
pub(crate) fn binary(op: BinaryOp, dtype: DType, a: u64, b: u64) -> u64 {
    if dtype.is_float() {
        let x = float_of(a);
        return match float_binary(op, x, float_of(b)).unwrap_or(Outcome::Number(x)) {
            Outcome::Number(y) => of_float(round_float(dtype, y)),
            Outcome::Truth(holds) => of_i32(i32::from(holds)),
        };
    }
    match int_binary(op, dtype, int_of(dtype, a), int_of(dtype, b)) {
        Outcome::Number(y) => wrap_int(dtype, y),
        Outcome::Truth(holds) => of_i32(i32::from(holds)),
    }
}

/// `a * b + c`, rounded once.
pub(crate) fn fma(dtype: DType, a: u64, b: u64, c: u64) -> u64 {
    let exact = float_of(a).mul_add(float_of(b), float_of(c));
    of_float(round_float(dtype, exact))
}

/// Conversion between element types.
pub(crate) fn cast(from: DType, to: DType, a: u64) -> u64 {
    if !from.is_float() && !to.is_float() {
        return wrap_int(to, int_of(from, a));
    }
    let mut out = 0u64;
    // SAFETY: one element in and one out, each of at most eight bytes.
    unsafe {
        super::micro::cast(
            super::micro::Isa::Portable,
            from,
            to,
            (&raw mut out).cast(),
            (&raw const a).cast(),
            1,
        );
    }
    out
}
