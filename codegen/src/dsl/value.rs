//! The author's values: tiles and scalars as small `Copy` handles into the IR under construction.

use std::marker::PhantomData;

use super::elem::{Elem, Num};
use super::shape::{Broadcast, DropAxis, InsertAxis, OfRank, P2, PermuteBy, SqueezeAxis, TileShape};
use crate::diag::{Diagnostic, Loc};
use crate::ir::{ArgOp, Op, ReduceOp, Shape, Value, builder};

/// A dense block of elements `T` of shape `S` held by one program instance.
pub struct Tile<T, S> {
    value: Value,
    ty: PhantomData<fn() -> (T, S)>,
}

/// A run-time scalar of the program instance.
pub struct Scalar<T> {
    value: Value,
    ty: PhantomData<fn() -> T>,
}

impl<T, S> Clone for Tile<T, S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, S> Copy for Tile<T, S> {}
impl<T> Clone for Scalar<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Scalar<T> {}

impl<T: Elem, S: TileShape> std::fmt::Debug for Tile<T, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tile({}: {})", self.value, T::DTYPE)
    }
}
impl<T: Elem> std::fmt::Debug for Scalar<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scalar({}: {})", self.value, T::DTYPE)
    }
}

/// A tile or a scalar, for functions that take either.
pub trait IrValue: Copy {
    /// Element type.
    type Elem: Elem;
    /// The same kind of value with another element type.
    type With<U: Elem>: IrValue<Elem = U>;
    /// The handle in the IR.
    fn raw(self) -> Value;
    /// The value behind a handle, whose type the caller vouches for.
    fn wrap(value: Value) -> Self;
    /// The extents; empty for a scalar.
    fn ir_shape(loc: Loc) -> Shape;
}

impl<T: Elem, S: TileShape> IrValue for Tile<T, S> {
    type Elem = T;
    type With<U: Elem> = Tile<U, S>;
    fn raw(self) -> Value {
        self.value
    }
    fn wrap(value: Value) -> Self {
        Self { value, ty: PhantomData }
    }
    fn ir_shape(loc: Loc) -> Shape {
        S::shape(loc)
    }
}

impl<T: Elem> IrValue for Scalar<T> {
    type Elem = T;
    type With<U: Elem> = Scalar<U>;
    fn raw(self) -> Value {
        self.value
    }
    fn wrap(value: Value) -> Self {
        Self { value, ty: PhantomData }
    }
    fn ir_shape(_: Loc) -> Shape {
        Shape::SCALAR
    }
}

/// Defines a value of the type that `V` stands for.
pub(super) fn define<V: IrValue>(op: Op, loc: Loc) -> V {
    V::wrap(builder::define_tile(op, V::Elem::DTYPE, V::ir_shape(loc), loc))
}

/// Something that can stand where a scalar `T` is wanted: a [`Scalar`] or a host value.
pub trait IntoScalar<T: Elem> {
    /// The scalar.
    fn into_scalar(self, loc: Loc) -> Scalar<T>;
}
impl<T: Elem> IntoScalar<T> for Scalar<T> {
    fn into_scalar(self, _: Loc) -> Self {
        self
    }
}
impl<T: Elem> IntoScalar<T> for T {
    fn into_scalar(self, loc: Loc) -> Scalar<T> {
        Scalar::wrap(builder::constant(T::DTYPE, self.to_bits64(), loc))
    }
}

/// Something that can stand where a value like `V` is wanted: such a value, a scalar, or a host value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand for `{V}` here",
    label = "expected a value of the same shape and element type, a scalar, or a host value"
)]
pub trait Operand<V: IrValue> {
    /// The value, splat when it was a scalar.
    fn operand(self, loc: Loc) -> V;
}
impl<T: Elem, S: TileShape> Operand<Tile<T, S>> for Tile<T, S> {
    fn operand(self, _: Loc) -> Self {
        self
    }
}
impl<T: Elem, S: TileShape> Operand<Tile<T, S>> for Scalar<T> {
    fn operand(self, loc: Loc) -> Tile<T, S> {
        splat(self, loc)
    }
}
impl<T: Elem, S: TileShape> Operand<Tile<T, S>> for T {
    fn operand(self, loc: Loc) -> Tile<T, S> {
        splat(self.into_scalar(loc), loc)
    }
}
impl<T: Elem, X: IntoScalar<T>> Operand<Scalar<T>> for X {
    fn operand(self, loc: Loc) -> Scalar<T> {
        self.into_scalar(loc)
    }
}

/// A scalar in every element of a shape.
pub(super) fn splat<T: Elem, S: TileShape>(x: Scalar<T>, loc: Loc) -> Tile<T, S> {
    if S::RANK == 0 { Tile::wrap(x.raw()) } else { define(Op::Splat(x.raw(), S::shape(loc)), loc) }
}

/// A run-time scalar from a host value.
#[must_use]
#[track_caller]
pub fn scalar<T: Elem>(x: T) -> Scalar<T> {
    x.into_scalar(Loc::caller())
}

/// A tile of zeros (false for bool).
#[must_use]
#[track_caller]
pub fn zeros<T: Elem, S: TileShape>() -> Tile<T, S> {
    let loc = Loc::caller();
    splat(T::from_f64(0.0).into_scalar(loc), loc)
}

/// A tile of one value in every element.
#[must_use]
#[track_caller]
pub fn full<T: Elem, S: TileShape>(x: impl IntoScalar<T>) -> Tile<T, S> {
    let loc = Loc::caller();
    splat(x.into_scalar(loc), loc)
}

/// The i32 tile 0, 1, ..., N - 1.
#[must_use]
#[track_caller]
pub fn arange<N: super::dim::Axis>() -> Tile<i32, (N,)> {
    let loc = Loc::caller();
    define(Op::Arange { extent: N::extent(loc) as u32 }, loc)
}

impl<T: Elem, S: TileShape> Tile<T, S> {
    /// Converts the elements; see `cast` in the op reference for rounding.
    #[must_use]
    #[track_caller]
    pub fn cast<U: Elem>(self) -> Tile<U, S> {
        super::math::cast_value::<Self, U>(self, Loc::caller())
    }

    /// Inserts an axis [`One`](super::dim::One) at position `A`; also written `t[(.., None)]`.
    #[must_use]
    #[track_caller]
    pub fn expand_dims<const A: usize>(self) -> Tile<T, <S as InsertAxis<A>>::Out>
    where
        S: InsertAxis<A>,
    {
        define(Op::ExpandDims(self.value, A as u8), Loc::caller())
    }

    /// Removes axis `A`, which is [`One`](super::dim::One).
    #[must_use]
    #[track_caller]
    pub fn squeeze<const A: usize>(self) -> Tile<T, <S as SqueezeAxis<A>>::Out>
    where
        S: SqueezeAxis<A>,
    {
        define(Op::Squeeze(self.value, A as u8), Loc::caller())
    }

    /// Repeats axes [`One`](super::dim::One) to the shape `S2`.
    #[must_use]
    #[track_caller]
    pub fn broadcast<S2: TileShape>(self) -> Tile<T, S2>
    where
        S: Broadcast<S2, Out = S2>,
    {
        let loc = Loc::caller();
        broadcast_to(self, loc)
    }

    /// The same elements in row-major order under another shape with as many elements (checked at specialisation).
    #[must_use]
    #[track_caller]
    pub fn reshape<S2: TileShape>(self) -> Tile<T, S2> {
        let loc = Loc::caller();
        let (from, to) = (S::shape(loc), S2::shape(loc));
        if from.elements() != to.elements() {
            builder::error(
                Diagnostic::new(
                    loc,
                    format!(
                        "reshape of {from} ({} elements) to {to} ({} elements)",
                        from.elements(),
                        to.elements()
                    ),
                )
                .help("both shapes must have the same number of elements"),
            );
        }
        define(Op::Reshape(self.value, to), loc)
    }

    /// Rearranges the axes: `permute::<P3<2, 0, 1>>()` puts axis 2 first.
    #[must_use]
    #[track_caller]
    pub fn permute<P>(self) -> Tile<T, <S as PermuteBy<P>>::Out>
    where
        S: PermuteBy<P>,
    {
        let loc = Loc::caller();
        let perm = S::perm();
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted.iter().enumerate().any(|(i, &p)| i != p as usize) {
            builder::error(
                Diagnostic::new(loc, format!("permute by {perm:?} names an axis twice"))
                    .help("each axis of the tile must appear exactly once"),
            );
        }
        define(Op::Permute(self.value, perm), loc)
    }

    /// The transpose of a tile of rank 2.
    #[must_use]
    #[track_caller]
    pub fn t(self) -> Tile<T, <S as PermuteBy<P2<1, 0>>>::Out>
    where
        S: OfRank<2> + PermuteBy<P2<1, 0>>,
    {
        define(Op::Permute(self.value, vec![1, 0]), Loc::caller())
    }
}

impl<T: Elem> Tile<T, ()> {
    /// The only element of a tile of rank 0.
    #[must_use]
    pub fn item(self) -> Scalar<T> {
        Scalar::wrap(self.value)
    }
}

impl<T: Elem> Scalar<T> {
    /// Converts the value; see `cast` in the op reference for rounding.
    #[must_use]
    #[track_caller]
    pub fn cast<U: Elem>(self) -> Scalar<U> {
        super::math::cast_value::<Self, U>(self, Loc::caller())
    }

    /// The tile of rank 0 with this element.
    #[must_use]
    pub fn tile(self) -> Tile<T, ()> {
        Tile::wrap(self.value)
    }
}

/// Repeats axes of extent 1; nothing to do when the extents agree already.
pub(super) fn broadcast_to<T: Elem, S: TileShape, S2: TileShape>(x: Tile<T, S>, loc: Loc) -> Tile<T, S2> {
    let to = S2::shape(loc);
    if S::shape(loc) == to { Tile::wrap(x.value) } else { define(Op::Broadcast(x.value, to), loc) }
}

macro_rules! reductions {
    ($($(#[$doc:meta])+ $name:ident, $keep:ident = $op:expr;)+) => {
        impl<T: Num, S: TileShape> Tile<T, S> {
            $(
                $(#[$doc])+
                #[must_use]
                #[track_caller]
                pub fn $name<const A: usize>(self) -> Tile<T, <S as DropAxis<A>>::Out>
                where
                    S: DropAxis<A>,
                {
                    define(Op::Reduce($op, self.value, A as u8), Loc::caller())
                }

                $(#[$doc])+
                /// The axis stays, with extent 1, ready to broadcast.
                #[must_use]
                #[track_caller]
                pub fn $keep<const A: usize>(self) -> Tile<T, <S as DropAxis<A>>::Keep>
                where
                    S: DropAxis<A>,
                {
                    let loc = Loc::caller();
                    let reduced: Tile<T, <S as DropAxis<A>>::Out> = define(Op::Reduce($op, self.value, A as u8), loc);
                    define(Op::ExpandDims(reduced.value, A as u8), loc)
                }
            )+
        }
    };
}
reductions! {
    /// Sum along axis `A`.
    sum, sum_keep = ReduceOp::Sum;
    /// Maximum along axis `A`.
    max, max_keep = ReduceOp::Max;
    /// Minimum along axis `A`.
    min, min_keep = ReduceOp::Min;
}

impl<T: Num, S: TileShape> Tile<T, S> {
    /// Position of the maximum along axis `A`; the first one on a tie.
    #[must_use]
    #[track_caller]
    pub fn argmax<const A: usize>(self) -> Tile<i32, <S as DropAxis<A>>::Out>
    where
        S: DropAxis<A>,
    {
        define(Op::ArgReduce(ArgOp::ArgMax, self.value, A as u8), Loc::caller())
    }

    /// Position of the minimum along axis `A`; the first one on a tie.
    #[must_use]
    #[track_caller]
    pub fn argmin<const A: usize>(self) -> Tile<i32, <S as DropAxis<A>>::Out>
    where
        S: DropAxis<A>,
    {
        define(Op::ArgReduce(ArgOp::ArgMin, self.value, A as u8), Loc::caller())
    }
}
