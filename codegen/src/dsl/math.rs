//! Elementwise functions and matrix products.
//!
//! The functions take tiles and scalars alike; free functions and methods are the same operation.

use super::dim::Axis;
use super::elem::{DotInput, Elem, Float, Num};
use super::shape::TileShape;
use super::value::{IrValue, Operand, Scalar, Tile, define};
use crate::diag::Loc;
use crate::ir::{BinaryOp, Op, UnaryOp};

pub(super) fn cast_value<V: IrValue, U: Elem>(x: V, loc: Loc) -> V::With<U> {
    if V::Elem::DTYPE == U::DTYPE {
        V::With::<U>::wrap(x.raw())
    } else {
        define(Op::Cast(x.raw(), U::DTYPE), loc)
    }
}

macro_rules! unary_functions {
    ($bound:ident: $($(#[$doc:meta])+ $name:ident = $op:ident;)+) => {
        $(
            $(#[$doc])+
            #[must_use]
            #[track_caller]
            pub fn $name<V: IrValue<Elem: $bound>>(x: V) -> V {
                define(Op::Unary(UnaryOp::$op, x.raw()), Loc::caller())
            }
        )+
        impl<T: $bound, S: TileShape> Tile<T, S> {
            $(
                $(#[$doc])+
                #[must_use]
                #[track_caller]
                pub fn $name(self) -> Self { define(Op::Unary(UnaryOp::$op, self.raw()), Loc::caller()) }
            )+
        }
        impl<T: $bound> Scalar<T> {
            $(
                $(#[$doc])+
                #[must_use]
                #[track_caller]
                pub fn $name(self) -> Self { define(Op::Unary(UnaryOp::$op, self.raw()), Loc::caller()) }
            )+
        }
    };
}

unary_functions! { Num:
    /// Absolute value.
    abs = Abs;
}
unary_functions! { Float:
    /// Largest integral value not above x.
    floor = Floor;
    /// Smallest integral value not below x.
    ceil = Ceil;
    /// e to the power x.
    exp = Exp;
    /// 2 to the power x.
    exp2 = Exp2;
    /// Natural logarithm.
    log = Log;
    /// Logarithm to base 2.
    log2 = Log2;
    /// Square root.
    sqrt = Sqrt;
    /// Reciprocal of the square root.
    rsqrt = Rsqrt;
    /// Sine of an angle in radians.
    sin = Sin;
    /// Cosine of an angle in radians.
    cos = Cos;
    /// Hyperbolic tangent.
    tanh = Tanh;
    /// Gauss error function.
    erf = Erf;
    /// Logistic function 1 / (1 + exp(-x)).
    sigmoid = Sigmoid;
}

/// The smaller of two values; a NaN yields the other one.
#[must_use]
#[track_caller]
pub fn minimum<V: IrValue<Elem: Num>>(a: V, b: impl Operand<V>) -> V {
    let loc = Loc::caller();
    define(Op::Binary(BinaryOp::Min, a.raw(), b.operand(loc).raw()), loc)
}

/// The larger of two values; a NaN yields the other one.
#[must_use]
#[track_caller]
pub fn maximum<V: IrValue<Elem: Num>>(a: V, b: impl Operand<V>) -> V {
    let loc = Loc::caller();
    define(Op::Binary(BinaryOp::Max, a.raw(), b.operand(loc).raw()), loc)
}

/// `x` limited to `lo..=hi`.
#[must_use]
#[track_caller]
pub fn clamp<V: IrValue<Elem: Num>>(x: V, lo: impl Operand<V>, hi: impl Operand<V>) -> V {
    let loc = Loc::caller();
    let raised: V = define(Op::Binary(BinaryOp::Max, x.raw(), lo.operand(loc).raw()), loc);
    define(Op::Binary(BinaryOp::Min, raised.raw(), hi.operand(loc).raw()), loc)
}

/// `a * b + c`, rounded once.
#[must_use]
#[track_caller]
pub fn fma<V: IrValue<Elem: Float>>(a: V, b: impl Operand<V>, c: impl Operand<V>) -> V {
    let loc = Loc::caller();
    define(Op::Fma(a.raw(), b.operand(loc).raw(), c.operand(loc).raw()), loc)
}

/// Per element, `a` where the condition is true and `b` elsewhere; both are evaluated.
///
/// One of `a` and `b` fixes the type; the other may be a scalar or a host value. See [`Tile::select`] for a scalar first.
#[must_use]
#[track_caller]
pub fn select<T: Elem, S: TileShape>(
    cond: Tile<bool, S>,
    a: impl Operand<Tile<T, S>>,
    b: impl Operand<Tile<T, S>>,
) -> Tile<T, S> {
    let loc = Loc::caller();
    define(Op::Select(cond.raw(), a.operand(loc).raw(), b.operand(loc).raw()), loc)
}

impl<S: TileShape> Tile<bool, S> {
    /// Per element, `a` where true and `b` elsewhere.
    #[must_use]
    #[track_caller]
    pub fn select<T: Elem>(self, a: impl Operand<Tile<T, S>>, b: impl Operand<Tile<T, S>>) -> Tile<T, S> {
        let loc = Loc::caller();
        define(Op::Select(self.raw(), a.operand(loc).raw(), b.operand(loc).raw()), loc)
    }
}

impl Scalar<bool> {
    /// `a` where true, else `b`; both are evaluated.
    #[must_use]
    #[track_caller]
    pub fn select<T: Elem>(self, a: impl Operand<Scalar<T>>, b: impl Operand<Scalar<T>>) -> Scalar<T> {
        let loc = Loc::caller();
        define(Op::Select(self.raw(), a.operand(loc).raw(), b.operand(loc).raw()), loc)
    }
}

macro_rules! binary_methods {
    ($($kind:ty, [$($generics:tt)*];)+) => {
        $(impl<$($generics)*> $kind {
            /// The smaller of two values; a NaN yields the other one.
            #[must_use]
            #[track_caller]
            pub fn minimum(self, other: impl Operand<Self>) -> Self {
                let loc = Loc::caller();
                define(Op::Binary(BinaryOp::Min, self.raw(), other.operand(loc).raw()), loc)
            }

            /// The larger of two values; a NaN yields the other one.
            #[must_use]
            #[track_caller]
            pub fn maximum(self, other: impl Operand<Self>) -> Self {
                let loc = Loc::caller();
                define(Op::Binary(BinaryOp::Max, self.raw(), other.operand(loc).raw()), loc)
            }
        })+
    };
}
binary_methods! {
    Tile<T, S>, [T: Num, S: TileShape];
    Scalar<T>, [T: Num];
}

/// Matrix product plus accumulator: `[M, K] x [K, N] + [M, N]`.
///
/// Operands are floats (accumulated in f32) or 8-bit integers (accumulated exactly in i32). Which pairs of element types
/// a target multiplies natively is the target's affair; the CPU takes any. Cost: 2 M N K FLOPs.
#[must_use]
#[track_caller]
pub fn dot<A, B, M, K, N>(
    a: Tile<A, (M, K)>,
    b: Tile<B, (K, N)>,
    acc: Tile<A::Acc, (M, N)>,
) -> Tile<A::Acc, (M, N)>
where
    A: DotInput,
    B: DotInput<Acc = A::Acc>,
    M: Axis,
    K: Axis,
    N: Axis,
{
    define(Op::Dot { a: a.raw(), b: b.raw(), acc: acc.raw() }, Loc::caller())
}

/// A matrix product plus accumulator per batch element: `[B, M, K] x [B, K, N] + [B, M, N]`; see [`dot`].
#[must_use]
#[track_caller]
pub fn dot_batched<A, B, G, M, K, N>(
    a: Tile<A, (G, M, K)>,
    b: Tile<B, (G, K, N)>,
    acc: Tile<A::Acc, (G, M, N)>,
) -> Tile<A::Acc, (G, M, N)>
where
    A: DotInput,
    B: DotInput<Acc = A::Acc>,
    G: Axis,
    M: Axis,
    K: Axis,
    N: Axis,
{
    define(Op::Dot { a: a.raw(), b: b.raw(), acc: acc.raw() }, Loc::caller())
}
