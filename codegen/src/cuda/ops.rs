//! Elementwise operations as expressions of values: names, literals, array elements or calls, so that none needs parentheses.
//!
//! f16 and bf16 are computed in f32; an expression says whether it may need rounding to its type.

use super::ctypes::{is_computed_as_float, is_half, short_name};
use crate::ir::{BinaryOp, Const, DType, UnaryOp};

/// An expression and whether its value fits the element type as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Expr {
    /// Text.
    pub(crate) text: String,
    /// Whether the value is one of the element type; false for results of f32 arithmetic that a narrow float must round.
    pub(crate) is_exact: bool,
}

impl Expr {
    /// A value that needs no rounding.
    pub(crate) fn exact(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_exact: true }
    }

    /// A result of arithmetic in `dtype`.
    pub(crate) fn computed(dtype: DType, text: impl Into<String>) -> Self {
        Self { text: text.into(), is_exact: !is_half(dtype) }
    }

    /// The text, rounded to `dtype` where that is needed.
    pub(crate) fn rounded(self, dtype: DType) -> String {
        if self.is_exact { self.text } else { format!("round_{}({})", short_name(dtype), self.text) }
    }
}

/// `-a`, also of a negative literal.
fn negated(a: &str) -> String {
    if a.starts_with('-') { format!("-({a})") } else { format!("-{a}") }
}

/// `op` of `a`.
pub(crate) fn unary(op: UnaryOp, dtype: DType, a: &str) -> Expr {
    if is_computed_as_float(dtype) {
        return match op {
            UnaryOp::Neg => Expr::exact(negated(a)),
            UnaryOp::Abs => Expr::exact(format!("fabsf({a})")),
            UnaryOp::Floor => Expr::computed(dtype, format!("floorf({a})")),
            UnaryOp::Ceil => Expr::computed(dtype, format!("ceilf({a})")),
            UnaryOp::Exp => Expr::computed(dtype, format!("exp_f32({a})")),
            UnaryOp::Exp2 => Expr::computed(dtype, format!("exp2_f32({a})")),
            UnaryOp::Log => Expr::computed(dtype, format!("logf({a})")),
            UnaryOp::Log2 => Expr::computed(dtype, format!("log2f({a})")),
            UnaryOp::Sqrt => Expr::computed(dtype, format!("__fsqrt_rn({a})")),
            UnaryOp::Rsqrt => Expr::computed(dtype, format!("rsqrtf({a})")),
            UnaryOp::Sin => Expr::computed(dtype, format!("sinf({a})")),
            UnaryOp::Cos => Expr::computed(dtype, format!("cosf({a})")),
            UnaryOp::Tanh => Expr::computed(dtype, format!("tanhf({a})")),
            UnaryOp::Erf => Expr::computed(dtype, format!("erff({a})")),
            UnaryOp::Sigmoid => Expr::computed(dtype, format!("sigmoid_f32({a})")),
            UnaryOp::Not => panic!("`not` should not be applied to a float"),
        };
    }
    let text = match (op, dtype) {
        (UnaryOp::Not, DType::Bool) => format!("!{a}"),
        (UnaryOp::Not, DType::U8) => format!("~{a} & 0xffu"),
        (UnaryOp::Not, _) => format!("~{a}"),
        (UnaryOp::Neg, DType::I8) => format!("wrap_i8({})", negated(a)),
        (UnaryOp::Neg, DType::U8) => format!("(0u - {a}) & 0xffu"),
        (UnaryOp::Neg, DType::U32) => format!("0u - {a}"),
        (UnaryOp::Neg, DType::I64) => format!("sub(0ll, {a})"),
        (UnaryOp::Neg, _) => format!("sub(0, {a})"),
        (UnaryOp::Abs, DType::U8 | DType::U32) => a.to_owned(),
        (UnaryOp::Abs, DType::I8) => format!("wrap_i8({a} < 0 ? {} : {a})", negated(a)),
        (UnaryOp::Abs, DType::I64) => format!("{a} < 0 ? sub(0ll, {a}) : {a}"),
        (UnaryOp::Abs, _) => format!("{a} < 0 ? sub(0, {a}) : {a}"),
        (
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
            | UnaryOp::Sigmoid,
            _,
        ) => panic!("`{}` should be applied to floats", op.mnemonic()),
    };
    Expr::exact(text)
}

/// `a op b`; `divisor` is `b` when it is a constant.
pub(crate) fn binary(op: BinaryOp, dtype: DType, a: &str, b: &str, divisor: Option<Const>) -> Expr {
    let symbol = match op {
        BinaryOp::Eq => Some("=="),
        BinaryOp::Ne => Some("!="),
        BinaryOp::Lt => Some("<"),
        BinaryOp::Le => Some("<="),
        BinaryOp::Gt => Some(">"),
        BinaryOp::Ge => Some(">="),
        BinaryOp::And => Some("&"),
        BinaryOp::Or => Some("|"),
        BinaryOp::Xor => Some("^"),
        BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::Shl
        | BinaryOp::Shr => None,
    };
    if let Some(symbol) = symbol {
        return Expr::exact(format!("{a} {symbol} {b}"));
    }
    if is_computed_as_float(dtype) {
        float_binary(op, dtype, a, b)
    } else {
        int_binary(op, dtype, a, b, divisor)
    }
}

fn float_binary(op: BinaryOp, dtype: DType, a: &str, b: &str) -> Expr {
    match op {
        BinaryOp::Add => Expr::computed(dtype, format!("{a} + {b}")),
        BinaryOp::Sub => Expr::computed(dtype, format!("{a} - {b}")),
        BinaryOp::Mul => Expr::computed(dtype, format!("{a} * {b}")),
        BinaryOp::Div => Expr::computed(dtype, format!("__fdiv_rn({a}, {b})")),
        BinaryOp::Rem => Expr::computed(dtype, format!("fmodf({a}, {b})")),
        BinaryOp::Min => Expr::exact(format!("fminf({a}, {b})")),
        BinaryOp::Max => Expr::exact(format!("fmaxf({a}, {b})")),
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => panic!("`{}` should be applied to integers", op.mnemonic()),
    }
}

fn int_binary(op: BinaryOp, dtype: DType, a: &str, b: &str, divisor: Option<Const>) -> Expr {
    // C's own operator does for a divisor that is neither 0 nor -1.
    let is_plain = divisor.is_some_and(|c| !matches!(c.to_i64(), 0 | -1));
    let text = match op {
        BinaryOp::Min => format!("min({a}, {b})"),
        BinaryOp::Max => format!("max({a}, {b})"),
        BinaryOp::Div if is_plain => format!("{a} / {b}"),
        BinaryOp::Rem if is_plain => format!("{a} % {b}"),
        BinaryOp::Div => format!("quotient({a}, {b})"),
        BinaryOp::Rem => format!("remainder_of({a}, {b})"),
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul if matches!(dtype, DType::I32 | DType::I64) => {
            format!("{}({a}, {b})", op.mnemonic())
        }
        BinaryOp::Add => format!("{a} + {b}"),
        BinaryOp::Sub => format!("{a} - {b}"),
        BinaryOp::Mul => format!("{a} * {b}"),
        BinaryOp::Shl | BinaryOp::Shr => {
            let name = if op == BinaryOp::Shl { "shift_left" } else { "shift_right" };
            let by = if matches!(dtype, DType::I8 | DType::U8) { format!("{b} & 7") } else { b.to_owned() };
            format!("{name}({a}, {by})")
        }
        BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => panic!("`{}` should have an operator", op.mnemonic()),
    };
    // 8-bit integers are held in 32 bits: what may leave their range wraps. The quotient -128 / -1 does.
    let leaves = matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Shl | BinaryOp::Div);
    Expr::exact(if dtype == DType::I8 && leaves {
        format!("wrap_i8({text})")
    } else if dtype == DType::U8 && leaves && op != BinaryOp::Div {
        format!("({text}) & 0xffu")
    } else {
        text
    })
}

/// `a` of type `from` as type `to`.
pub(crate) fn cast(from: DType, to: DType, a: &str) -> Expr {
    if from == to {
        return Expr::exact(a);
    }
    if matches!(from, DType::F8E4M3 | DType::F8E5M2) {
        let wide = format!("{}_to_f32({a})", short_name(from));
        return if to == DType::F32 { Expr::exact(wide) } else { cast(DType::F32, to, &wide) };
    }
    if is_computed_as_float(from) {
        return match to {
            DType::F32 => Expr::exact(a),
            DType::F16 | DType::BF16 => Expr::computed(to, a),
            DType::Bool => Expr::exact(format!("{a} != 0.0f")),
            DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 | DType::I32 | DType::I64 | DType::U32 => {
                Expr::exact(format!("f32_to_{}({a})", short_name(to)))
            }
        };
    }
    let is_narrow = matches!(from, DType::I8 | DType::U8 | DType::Bool);
    match to {
        DType::F32 => Expr::exact(format!("(float){a}")),
        DType::F16 | DType::BF16 if is_narrow => Expr::computed(to, format!("(float){a}")),
        DType::F16 | DType::BF16 => Expr::computed(to, format!("round_to_odd({a})")),
        DType::F8E4M3 | DType::F8E5M2 if is_narrow => {
            Expr::exact(format!("f32_to_{}((float){a})", short_name(to)))
        }
        DType::F8E4M3 | DType::F8E5M2 => Expr::exact(format!("f32_to_{}(round_to_odd({a}))", short_name(to))),
        DType::I8 => Expr::exact(format!("wrap_i8((int){a})")),
        DType::U8 if from == DType::Bool => Expr::exact(format!("(unsigned){a}")),
        DType::U8 => Expr::exact(format!("(unsigned){a} & 0xffu")),
        DType::I32 => Expr::exact(format!("(int){a}")),
        DType::U32 => Expr::exact(format!("(unsigned){a}")),
        DType::I64 => Expr::exact(format!("(long long){a}")),
        DType::Bool => Expr::exact(format!("{a} != 0")),
    }
}
