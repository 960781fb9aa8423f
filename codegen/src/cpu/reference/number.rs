//! Numbers of the reference machine: exact floats and integers, each rounded or wrapped to its element type.

use half::{bf16, f16};

use crate::ir::{BinaryOp, DType, UnaryOp};

/// A number of the reference machine: floats exactly, integers exactly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Num {
    /// A float, representable in its type.
    F(f64),
    /// An integer or truth value, wrapped to its type.
    I(i64),
}

impl Num {
    /// As a float.
    #[must_use]
    pub const fn f(self) -> f64 {
        match self {
            Self::F(x) => x,
            Self::I(x) => x as f64,
        }
    }

    /// As an integer; floats truncate and saturate.
    #[must_use]
    pub const fn i(self) -> i64 {
        match self {
            Self::F(x) => x as i64,
            Self::I(x) => x,
        }
    }
}

/// The value of an 8-bit float.
fn f8_decode(dtype: DType, byte: u8) -> f64 {
    let (e_bits, m_bits, bias) = if dtype == DType::F8E4M3 { (4, 3, 7) } else { (5, 2, 15) };
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let e = i32::from((byte >> m_bits) & ((1 << e_bits) - 1));
    let m = f64::from(byte & ((1 << m_bits) - 1));
    let top = (1 << e_bits) - 1;
    if dtype == DType::F8E4M3 && byte & 0x7f == 0x7f {
        return f64::NAN;
    }
    if dtype == DType::F8E5M2 && e == top {
        return if m == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let scale = f64::from(1 << m_bits);
    if e == 0 {
        sign * m / scale * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + m / scale) * 2f64.powi(e - bias)
    }
}

/// The byte of an 8-bit float nearest to `x`, ties to the even byte; beyond the largest finite value NaN (e4m3) or infinity.
fn f8_encode(dtype: DType, x: f64) -> u8 {
    if x.is_nan() {
        return 0x7f;
    }
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let max_byte: u8 = if dtype == DType::F8E4M3 { 0x7e } else { 0x7b };
    let a = x.abs();
    let top = f8_decode(dtype, max_byte);
    // Half a step beyond the largest finite value rounds up and out.
    let step = top - f8_decode(dtype, max_byte - 1);
    if a >= top + step / 2.0 {
        return sign | if dtype == DType::F8E4M3 { 0x7f } else { 0x7c };
    }
    let mut best = 0u8;
    for byte in 0..=max_byte {
        let (d, db) = ((f8_decode(dtype, byte) - a).abs(), (f8_decode(dtype, best) - a).abs());
        if d < db || (d == db && byte % 2 == 0) {
            best = byte;
        }
    }
    sign | best
}

/// `x` as its type holds it.
#[must_use]
pub fn round(dtype: DType, x: Num) -> Num {
    match dtype {
        DType::F32 => Num::F(f64::from(x.f() as f32)),
        DType::F16 => Num::F(f16::from_f64(x.f()).to_f64()),
        DType::BF16 => Num::F(bf16::from_f64(x.f()).to_f64()),
        DType::F8E4M3 | DType::F8E5M2 => Num::F(f8_decode(dtype, f8_encode(dtype, x.f()))),
        DType::I8 => Num::I(i64::from(x.i() as i8)),
        DType::U8 => Num::I(i64::from(x.i() as u8)),
        DType::I32 => Num::I(i64::from(x.i() as i32)),
        DType::U32 => Num::I(i64::from(x.i() as u32)),
        DType::I64 => Num::I(x.i()),
        DType::Bool => Num::I(i64::from(x.i() != 0)),
    }
}

pub(crate) fn decode(dtype: DType, bits: u64) -> Num {
    match dtype {
        DType::F32 => Num::F(f64::from(f32::from_bits(bits as u32))),
        DType::F16 => Num::F(f16::from_bits(bits as u16).to_f64()),
        DType::BF16 => Num::F(bf16::from_bits(bits as u16).to_f64()),
        DType::F8E4M3 | DType::F8E5M2 => Num::F(f8_decode(dtype, bits as u8)),
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 | DType::Bool => {
            round(dtype, Num::I(bits as i64))
        }
    }
}

pub(crate) fn encode(dtype: DType, x: Num) -> u64 {
    match dtype {
        DType::F32 => u64::from((x.f() as f32).to_bits()),
        DType::F16 => u64::from(f16::from_f64(x.f()).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(x.f()).to_bits()),
        DType::F8E4M3 | DType::F8E5M2 => u64::from(f8_encode(dtype, x.f())),
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 | DType::Bool => x.i() as u64,
    }
}

/// Converts between element types.
#[must_use]
pub fn cast(from: DType, to: DType, x: Num) -> Num {
    if from.is_float() && to.is_int() {
        let (lo, hi): (f64, f64) = match to {
            DType::I8 => (-128.0, 127.0),
            DType::U8 => (0.0, 255.0),
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            DType::U32 => (0.0, f64::from(u32::MAX)),
            DType::I64
            | DType::Bool
            | DType::F32
            | DType::F16
            | DType::BF16
            | DType::F8E4M3
            | DType::F8E5M2 => return Num::I(x.f() as i64),
        };
        let t = if x.f().is_nan() { 0.0 } else { x.f().trunc().clamp(lo, hi) };
        return Num::I(t as i64);
    }
    if to == DType::Bool {
        return Num::I(i64::from(x.f() != 0.0));
    }
    round(to, x)
}

/// One elementwise operation of one operand.
#[must_use]
pub fn unary(op: UnaryOp, dtype: DType, x: Num) -> Num {
    let out = match x {
        Num::I(a) => Num::I(match op {
            UnaryOp::Neg => a.wrapping_neg(),
            UnaryOp::Abs => a.wrapping_abs(),
            UnaryOp::Not if dtype == DType::Bool => i64::from(a == 0),
            UnaryOp::Not => !a,
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
            | UnaryOp::Sigmoid => a,
        }),
        Num::F(a) => Num::F(match op {
            UnaryOp::Neg => -a,
            UnaryOp::Not => a,
            UnaryOp::Abs => a.abs(),
            UnaryOp::Floor => a.floor(),
            UnaryOp::Ceil => a.ceil(),
            UnaryOp::Exp => a.exp(),
            UnaryOp::Exp2 => a.exp2(),
            UnaryOp::Log => a.ln(),
            UnaryOp::Log2 => a.log2(),
            UnaryOp::Sqrt => a.sqrt(),
            UnaryOp::Rsqrt => 1.0 / a.sqrt(),
            UnaryOp::Sin => a.sin(),
            UnaryOp::Cos => a.cos(),
            UnaryOp::Tanh => a.tanh(),
            UnaryOp::Erf => erf(a),
            UnaryOp::Sigmoid => 1.0 / (1.0 + (-a).exp()),
        }),
    };
    round(dtype, out)
}

/// The error function by its Taylor series near zero and a continued fraction elsewhere.
#[must_use]
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let y = if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else if a > 6.0 {
        1.0
    } else {
        let mut t = 0.0;
        for n in (1..=60).rev() {
            t = f64::from(n) / 2.0 / (a + t);
        }
        1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * (a + t))
    };
    y.copysign(x)
}

/// One elementwise operation of two operands of type `dtype`.
#[must_use]
pub fn binary(op: BinaryOp, dtype: DType, x: Num, y: Num) -> Num {
    let truth = |b: bool| Num::I(i64::from(b));
    match (x, y) {
        (Num::F(a), Num::F(b)) => {
            let out = match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::Rem => a % b,
                BinaryOp::Min => a.min(b),
                BinaryOp::Max => a.max(b),
                BinaryOp::Eq => return truth(a == b),
                BinaryOp::Ne => return truth(a != b),
                BinaryOp::Lt => return truth(a < b),
                BinaryOp::Le => return truth(a <= b),
                BinaryOp::Gt => return truth(a > b),
                BinaryOp::Ge => return truth(a >= b),
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => a,
            };
            round(dtype, Num::F(out))
        }
        _ => {
            let (a, b) = (x.i(), y.i());
            let shift = (b as u32) & (dtype.size_bytes() as u32 * 8 - 1);
            let out = match op {
                BinaryOp::Add => a.wrapping_add(b),
                BinaryOp::Sub => a.wrapping_sub(b),
                BinaryOp::Mul => a.wrapping_mul(b),
                BinaryOp::Div => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a.wrapping_neg() }),
                BinaryOp::Rem => a.checked_rem(b).unwrap_or(0),
                BinaryOp::Min => a.min(b),
                BinaryOp::Max => a.max(b),
                BinaryOp::And => a & b,
                BinaryOp::Or => a | b,
                BinaryOp::Xor => a ^ b,
                BinaryOp::Shl => a.wrapping_shl(shift),
                BinaryOp::Shr => a >> shift,
                BinaryOp::Eq => return truth(a == b),
                BinaryOp::Ne => return truth(a != b),
                BinaryOp::Lt => return truth(a < b),
                BinaryOp::Le => return truth(a <= b),
                BinaryOp::Gt => return truth(a > b),
                BinaryOp::Ge => return truth(a >= b),
            };
            round(dtype, Num::I(out))
        }
    }
}
