//! THE op table: every elementwise, reduction and structural operation of the tile level, each declared once.
//!
//! From the rows below follow the enums, their mnemonics, the printer's and parser's spelling, the verifier's type rules and
//! `docs/ops.md`. To add an elementwise operation: one row here, one arm in each target.

use super::func::Value;
use super::types::{DType, Shape};

/// Which element types an elementwise operation accepts, and what it yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeRule {
    /// f32, f16 or bf16; the result has the operand's type.
    Float,
    /// Any arithmetic type; the result has the operand's type.
    Arith,
    /// Integers; the result has the operand's type.
    Int,
    /// Integers or bool; the result has the operand's type.
    Bits,
    /// Any type with an order or equality; the result is bool.
    Compare,
}

impl TypeRule {
    /// Whether operands of type `dtype` are legal.
    #[must_use]
    pub const fn accepts(self, dtype: DType) -> bool {
        match self {
            Self::Float => matches!(dtype, DType::F32 | DType::F16 | DType::BF16),
            Self::Arith => dtype.is_arith(),
            Self::Int => dtype.is_int(),
            Self::Bits => dtype.is_int() || matches!(dtype, DType::Bool),
            Self::Compare => !matches!(dtype, DType::F8E4M3 | DType::F8E5M2),
        }
    }

    /// The result's element type for operands of type `dtype`.
    #[must_use]
    pub const fn result(self, dtype: DType) -> DType {
        match self {
            Self::Compare => DType::Bool,
            Self::Float | Self::Arith | Self::Int | Self::Bits => dtype,
        }
    }

    /// The rule in words, for messages and `docs/ops.md`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Float => "f32, f16, bf16",
            Self::Arith => "f32, f16, bf16, i8, u8, i32, i64, u32",
            Self::Int => "i8, u8, i32, i64, u32",
            Self::Bits => "i8, u8, i32, i64, u32, bool",
            Self::Compare => "any type but the 8-bit floats; yields bool",
        }
    }
}

macro_rules! ops {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $mnemonic:literal : $rule:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// Every operation, in table order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in IR text.
            #[must_use]
            pub const fn mnemonic(self) -> &'static str {
                match self { $(Self::$variant => $mnemonic,)+ }
            }

            /// The operation named `mnemonic`, if there is one.
            #[must_use]
            pub fn from_mnemonic(mnemonic: &str) -> Option<Self> {
                match mnemonic { $($mnemonic => Some(Self::$variant),)+ _ => None }
            }

            /// The type rule.
            #[must_use]
            pub const fn rule(self) -> TypeRule {
                match self { $(Self::$variant => TypeRule::$rule,)+ }
            }

            /// One sentence of documentation.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

ops! {
    /// Elementwise operations of one operand.
    UnaryOp {
        /// Negation; wraps for integers.
        Neg = "neg": Arith,
        /// Bitwise complement; logical not for bool.
        Not = "not": Bits,
        /// Absolute value; wraps for the smallest integer.
        Abs = "abs": Arith,
        /// Largest integral value not above the operand.
        Floor = "floor": Float,
        /// Smallest integral value not below the operand.
        Ceil = "ceil": Float,
        /// e to the power of the operand; subnormal results flush to zero.
        Exp = "exp": Float,
        /// 2 to the power of the operand; subnormal results flush to zero.
        Exp2 = "exp2": Float,
        /// Natural logarithm.
        Log = "log": Float,
        /// Logarithm to base 2.
        Log2 = "log2": Float,
        /// Square root.
        Sqrt = "sqrt": Float,
        /// Reciprocal of the square root.
        Rsqrt = "rsqrt": Float,
        /// Sine of an angle in radians.
        Sin = "sin": Float,
        /// Cosine of an angle in radians.
        Cos = "cos": Float,
        /// Hyperbolic tangent.
        Tanh = "tanh": Float,
        /// Gauss error function.
        Erf = "erf": Float,
        /// Logistic function 1 / (1 + exp(-x)).
        Sigmoid = "sigmoid": Float,
    }
}

ops! {
    /// Elementwise operations of two operands of one type.
    BinaryOp {
        /// Sum; wraps for integers.
        Add = "add": Arith,
        /// Difference; wraps for integers.
        Sub = "sub": Arith,
        /// Product; wraps for integers.
        Mul = "mul": Arith,
        /// Quotient; integers truncate toward zero and yield 0 for a zero divisor.
        Div = "div": Arith,
        /// Remainder with the sign of the dividend; integers yield 0 for a zero divisor.
        Rem = "rem": Arith,
        /// The smaller operand; a NaN operand yields the other one.
        Min = "min": Arith,
        /// The larger operand; a NaN operand yields the other one.
        Max = "max": Arith,
        /// Bitwise and; logical for bool.
        And = "and": Bits,
        /// Bitwise or; logical for bool.
        Or = "or": Bits,
        /// Bitwise exclusive or; logical for bool.
        Xor = "xor": Bits,
        /// Left shift by the second operand modulo the width.
        Shl = "shl": Int,
        /// Right shift by the second operand modulo the width; arithmetic for signed types.
        Shr = "shr": Int,
        /// Whether the operands are equal; false when one is NaN.
        Eq = "eq": Compare,
        /// Whether the operands differ; true when one is NaN.
        Ne = "ne": Compare,
        /// Whether the first operand is smaller.
        Lt = "lt": Compare,
        /// Whether the first operand is smaller or equal.
        Le = "le": Compare,
        /// Whether the first operand is larger.
        Gt = "gt": Compare,
        /// Whether the first operand is larger or equal.
        Ge = "ge": Compare,
    }
}

ops! {
    /// Reductions along one axis.
    ReduceOp {
        /// Sum along an axis, accumulated in the operand's type (f32 for the narrow floats); the order is fixed by the schedule.
        Sum = "sum": Arith,
        /// Maximum along an axis; NaN elements are skipped unless all are NaN.
        Max = "max": Arith,
        /// Minimum along an axis; NaN elements are skipped unless all are NaN.
        Min = "min": Arith,
    }
}

ops! {
    /// Reductions along one axis that yield an i32 position.
    ArgOp {
        /// Position of the maximum; the first one on a tie.
        ArgMax = "argmax": Arith,
        /// Position of the minimum; the first one on a tie.
        ArgMin = "argmin": Arith,
    }
}

/// A scalar constant: the value in the low bits, in the element type's own encoding (f16 and bf16 as their 16 bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Const {
    /// Element type.
    pub dtype: DType,
    /// Bits of the value; upper bits are zero.
    pub bits: u64,
}

/// An operation that defines one value.
///
/// Everything here is pure except [`Op::Load`] and [`Op::Gather`], which read memory: see [`Op::reads_memory`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// `const`: a scalar constant.
    Const(Const),
    /// `arange`: the i32 tile 0, 1, ..., extent - 1.
    Arange {
        /// Number of elements.
        extent: u32,
    },
    /// `program_id`: i32 index of this program instance along a grid axis (0 to 2).
    ProgramId(u8),
    /// `num_programs`: i32 extent of the grid along an axis (0 to 2).
    NumPrograms(u8),
    /// An elementwise operation of one operand.
    Unary(UnaryOp, Value),
    /// An elementwise operation of two operands of equal type.
    Binary(BinaryOp, Value, Value),
    /// `fma`: `a * b + c` of floats, rounded once.
    Fma(Value, Value, Value),
    /// `select`: per element, the second operand where the bool operand is true, else the third.
    Select(Value, Value, Value),
    /// `cast`: conversion to another element type, round to nearest even; float to integer truncates and saturates, NaN to 0.
    Cast(Value, DType),
    /// `splat`: a scalar in every element of a shape.
    Splat(Value, Shape),
    /// `broadcast`: repeats axes of extent 1 to the given shape of the same rank.
    Broadcast(Value, Shape),
    /// `expand_dims`: inserts an axis of extent 1 before the given one.
    ExpandDims(Value, u8),
    /// `squeeze`: removes an axis of extent 1.
    Squeeze(Value, u8),
    /// `reshape`: the same elements in row-major order under another shape.
    Reshape(Value, Shape),
    /// `permute`: axis `i` of the result is axis `perm[i]` of the operand.
    Permute(Value, Vec<u8>),
    /// `dot`: matrix product plus accumulator: `[M, K] x [K, N] + [M, N]`, or with one leading batch axis on all three.
    Dot {
        /// Left operand.
        a: Value,
        /// Right operand.
        b: Value,
        /// Accumulator, f32 or i32.
        acc: Value,
    },
    /// A reduction along an axis, which is removed.
    Reduce(ReduceOp, Value, u8),
    /// A position-yielding reduction along an axis, which is removed.
    ArgReduce(ArgOp, Value, u8),
    /// `dim`: extent of a view's axis as i32.
    ViewDim(Value, u8),
    /// `select_axis`: the view of one rank less at an index (i32) of an axis; an index out of bounds makes an empty view.
    ViewSelect(Value, u8, Value),
    /// `slice_axis`: the view from `start` of at most `len` elements along an axis (i32 both), clipped to the bounds.
    ViewSlice(Value, u8, Value, Value),
    /// `permute_view`: the view with its axes rearranged as in `permute`.
    ViewPermute(Value, Vec<u8>),
    /// `load`: a tile of the view's rank (or rank 0 at a point) from element offsets (i32); elements out of bounds read `pad`.
    Load {
        /// Source view.
        view: Value,
        /// Element offset per axis of the view.
        offsets: Vec<Value>,
        /// Shape of the tile: the view's rank, or rank 0 to read one element.
        shape: Shape,
        /// Scalar of the view's element type that stands for elements out of bounds.
        pad: Value,
    },
    /// `gather`: element `view[i0, i1, ...]` for index tiles (i32) of one shape; out of bounds or masked-out elements read `pad`.
    Gather {
        /// Source view.
        view: Value,
        /// One index tile per axis of the view, all of one shape.
        indices: Vec<Value>,
        /// Optional bool tile of that shape; false elements are not read.
        mask: Option<Value>,
        /// Scalar of the view's element type that stands for elements not read.
        pad: Value,
    },
}

impl Op {
    /// Whether the operation reads device memory, so that it may not move across a store.
    #[must_use]
    pub const fn reads_memory(&self) -> bool {
        matches!(self, Self::Load { .. } | Self::Gather { .. })
    }

    /// The name in IR text.
    #[must_use]
    pub const fn mnemonic(&self) -> &'static str {
        match self {
            Self::Const(_) => "const",
            Self::Arange { .. } => "arange",
            Self::ProgramId(_) => "program_id",
            Self::NumPrograms(_) => "num_programs",
            Self::Unary(op, _) => op.mnemonic(),
            Self::Binary(op, ..) => op.mnemonic(),
            Self::Fma(..) => "fma",
            Self::Select(..) => "select",
            Self::Cast(..) => "cast",
            Self::Splat(..) => "splat",
            Self::Broadcast(..) => "broadcast",
            Self::ExpandDims(..) => "expand_dims",
            Self::Squeeze(..) => "squeeze",
            Self::Reshape(..) => "reshape",
            Self::Permute(..) => "permute",
            Self::Dot { .. } => "dot",
            Self::Reduce(op, ..) => op.mnemonic(),
            Self::ArgReduce(op, ..) => op.mnemonic(),
            Self::ViewDim(..) => "dim",
            Self::ViewSelect(..) => "select_axis",
            Self::ViewSlice(..) => "slice_axis",
            Self::ViewPermute(..) => "permute_view",
            Self::Load { .. } => "load",
            Self::Gather { .. } => "gather",
        }
    }

    /// Calls `f` on every operand, in order, for reading or replacement.
    pub fn for_each_operand_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::Const(_) | Self::Arange { .. } | Self::ProgramId(_) | Self::NumPrograms(_) => {}
            Self::Unary(_, a)
            | Self::Cast(a, _)
            | Self::Splat(a, _)
            | Self::Broadcast(a, _)
            | Self::ExpandDims(a, _)
            | Self::Squeeze(a, _)
            | Self::Reshape(a, _)
            | Self::Permute(a, _)
            | Self::Reduce(_, a, _)
            | Self::ArgReduce(_, a, _)
            | Self::ViewDim(a, _)
            | Self::ViewPermute(a, _) => f(a),
            Self::Binary(_, a, b) | Self::ViewSelect(a, _, b) => {
                f(a);
                f(b);
            }
            Self::Fma(a, b, c)
            | Self::Select(a, b, c)
            | Self::Dot { a, b, acc: c }
            | Self::ViewSlice(a, _, b, c) => {
                f(a);
                f(b);
                f(c);
            }
            Self::Load { view, offsets, shape: _, pad } => {
                f(view);
                offsets.iter_mut().for_each(&mut f);
                f(pad);
            }
            Self::Gather { view, indices, mask, pad } => {
                f(view);
                indices.iter_mut().for_each(&mut f);
                mask.iter_mut().for_each(&mut f);
                f(pad);
            }
        }
    }

    /// The operands, in order.
    #[must_use]
    pub fn operands(&self) -> Vec<Value> {
        let mut out = Vec::new();
        self.clone().for_each_operand_mut(|v| out.push(*v));
        out
    }
}
