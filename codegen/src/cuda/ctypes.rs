//! How element types appear in CUDA C: in a register, in memory, as a literal.
//!
//! A register tile of f16 or bf16 with an even number of elements is packed, two elements per word with the even one in the low
//! half, so that conversions, wide accesses and matrix fragments take it as it is. Every other tile has one element per register.

use crate::ir::{Const, DType};

/// How a thread's part of a tile is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Storage {
    /// One element per array entry, of the type it is computed in.
    Plain,
    /// Two 16-bit floats per `unsigned`.
    Packed,
    /// One 16-bit float per `unsigned short`: the number of elements is odd.
    Single,
}

/// The storage of `n` elements of type `dtype`.
pub(crate) const fn storage(dtype: DType, n: usize) -> Storage {
    match dtype {
        DType::F16 | DType::BF16 if n.is_multiple_of(2) => Storage::Packed,
        DType::F16 | DType::BF16 => Storage::Single,
        DType::F32
        | DType::F8E4M3
        | DType::F8E5M2
        | DType::I8
        | DType::U8
        | DType::I32
        | DType::I64
        | DType::U32
        | DType::Bool => Storage::Plain,
    }
}

/// Whether `dtype` is f16 or bf16.
pub(crate) const fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Whether `dtype` is computed as f32.
pub(crate) const fn is_computed_as_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

/// Type that one element is computed in.
pub(crate) const fn value_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => "float",
        DType::F8E4M3 | DType::F8E5M2 => "unsigned char",
        DType::I8 | DType::I32 => "int",
        DType::U8 | DType::U32 => "unsigned",
        DType::I64 => "long long",
        DType::Bool => "bool",
    }
}

/// Type of an entry of a register array.
pub(crate) const fn register_type(dtype: DType, n: usize) -> &'static str {
    match storage(dtype, n) {
        Storage::Plain => value_type(dtype),
        Storage::Packed => "unsigned",
        Storage::Single => "unsigned short",
    }
}

/// Entries of a register array of `n` elements.
pub(crate) const fn register_count(dtype: DType, n: usize) -> usize {
    match storage(dtype, n) {
        Storage::Plain | Storage::Single => n,
        Storage::Packed => n / 2,
    }
}

/// Type of an element in memory.
pub(crate) const fn memory_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float",
        DType::F16 | DType::BF16 => "unsigned short",
        DType::F8E4M3 | DType::F8E5M2 | DType::U8 | DType::Bool => "unsigned char",
        DType::I8 => "signed char",
        DType::I32 => "int",
        DType::U32 => "unsigned",
        DType::I64 => "long long",
    }
}

/// Name of a 16-bit float or 8-bit float in the prelude's functions.
pub(crate) const fn short_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::F8E4M3 => "e4m3",
        DType::F8E5M2 => "e5m2",
        DType::F32 | DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
            dtype.name()
        }
    }
}

/// A constant in the type it is computed in.
pub(crate) fn literal(c: Const) -> String {
    match c.dtype {
        DType::F32 | DType::F16 | DType::BF16 => float_literal(c.to_f64() as f32),
        DType::F8E4M3 | DType::F8E5M2 => format!("(unsigned char){:#04x}", c.bits as u8),
        DType::I8 | DType::I32 => int_literal(c.to_i64()),
        DType::U8 | DType::U32 => format!("{}u", c.to_i64()),
        DType::I64 => match c.to_i64() {
            i64::MIN => "(-0x7fffffffffffffffll - 1)".to_owned(),
            x => format!("{x}ll"),
        },
        DType::Bool => if c.bits == 0 { "false" } else { "true" }.to_owned(),
    }
}

/// An `int`.
pub(crate) fn int_literal(x: i64) -> String {
    // The smallest int has no literal of its own type.
    if x == i64::from(i32::MIN) { "(-0x7fffffff - 1)".to_owned() } else { x.to_string() }
}

/// A `float`, exactly.
pub(crate) fn float_literal(x: f32) -> String {
    if x.is_nan() {
        "quiet_nan()".to_owned()
    } else if x.is_infinite() {
        if x > 0.0 { "infinity()" } else { "-infinity()" }.to_owned()
    } else {
        format!("{x:?}f")
    }
}
