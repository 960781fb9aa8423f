//! Shapes as tuples of axes, and the types of derived shapes.
//!
//! Whatever follows from the operands' shapes (broadcast, reduce, expand, squeeze, permute) is computed here by the type
//! system, so that it cannot be annotated wrongly.

use super::dim::{Axis, Dim, One};
use crate::diag::Loc;
use crate::ir::Shape;

/// The result of combining two axes elementwise: equal dimensions, or [`One`] against anything.
#[diagnostic::on_unimplemented(
    message = "axes `{Self}` and `{B}` do not combine elementwise",
    label = "axes must be the same dimension, or one of them `One`"
)]
pub trait AxisBroadcast<B> {
    /// The axis of the result.
    type Out: Axis;
}
impl<D: Dim> AxisBroadcast<D> for D {
    type Out = D;
}
impl<D: Dim> AxisBroadcast<One> for D {
    type Out = D;
}
impl<D: Dim> AxisBroadcast<D> for One {
    type Out = D;
}
impl AxisBroadcast<One> for One {
    type Out = One;
}

/// The result of combining tiles of two shapes of one rank elementwise.
#[diagnostic::on_unimplemented(
    message = "tiles of shapes `{Self}` and `{S2}` do not combine elementwise",
    label = "the other tile has shape `{S2}`",
    note = "shapes must have one rank; on each axis the same dimension, or `One` on either side"
)]
pub trait Broadcast<S2> {
    /// The shape of the result.
    type Out: TileShape;
}

/// The shape of a tile: a tuple of 0 to 4 axes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tile shape",
    label = "a shape is a tuple of 0 to 4 axes, such as `(BM, BN)`, `(BM, One)` or `(C<64>,)`"
)]
pub trait TileShape: Copy + 'static + Broadcast<Self, Out = Self> {
    /// Number of axes.
    const RANK: usize;
    /// The extents in the kernel being specialised.
    fn shape(loc: Loc) -> Shape;
}

/// A shape that a view of rank `R` can be loaded into.
#[diagnostic::on_unimplemented(
    message = "a tile of shape `{Self}` does not fit a view of rank {R}",
    label = "the shape needs {R} axes, one per axis of the view"
)]
pub trait OfRank<const R: usize>: TileShape {}

/// The axis of type-level position `I`.
#[diagnostic::on_unimplemented(
    message = "axis {I} is out of range for shape `{Self}`",
    label = "axes count from 0"
)]
pub trait Nth<const I: usize> {
    /// That axis.
    type Out: Axis;
}

/// The shape without axis `A`: the result of a reduction.
#[diagnostic::on_unimplemented(
    message = "axis {A} is out of range for shape `{Self}`",
    label = "axes count from 0, outermost first"
)]
pub trait DropAxis<const A: usize>: TileShape {
    /// The remaining axes.
    type Out: TileShape;
    /// All axes, with `One` in the place of axis `A`.
    type Keep: TileShape;
}

/// The shape with [`One`] inserted before axis `A`.
#[diagnostic::on_unimplemented(
    message = "an axis cannot be inserted at position {A} of shape `{Self}`",
    label = "positions run from 0 to the rank, and a tile has at most 4 axes"
)]
pub trait InsertAxis<const A: usize>: TileShape {
    /// The shape with one more axis.
    type Out: TileShape;
}

/// The shape without axis `A`, which is [`One`].
#[diagnostic::on_unimplemented(
    message = "axis {A} of shape `{Self}` cannot be squeezed",
    label = "only an axis `One` can be removed"
)]
pub trait SqueezeAxis<const A: usize>: TileShape {
    /// The remaining axes.
    type Out: TileShape;
}

/// A rearrangement of 2 axes: axis `I` of the operand comes first.
#[derive(Clone, Copy, Debug)]
pub struct P2<const I: usize, const J: usize>;
/// A rearrangement of 3 axes.
#[derive(Clone, Copy, Debug)]
pub struct P3<const I: usize, const J: usize, const K: usize>;
/// A rearrangement of 4 axes.
#[derive(Clone, Copy, Debug)]
pub struct P4<const I: usize, const J: usize, const K: usize, const L: usize>;

/// A shape with its axes rearranged by `P`.
#[diagnostic::on_unimplemented(
    message = "`{P}` does not rearrange the axes of shape `{Self}`",
    label = "use P2<1, 0> for rank 2, P3<..> for rank 3, P4<..> for rank 4"
)]
pub trait PermuteBy<P>: TileShape {
    /// The rearranged shape.
    type Out: TileShape;
    /// Axis `i` of the result is axis `perm()[i]` of the operand.
    fn perm() -> Vec<u8>;
}

macro_rules! shapes {
    ($rank:literal: $($a:ident $b:ident),*) => {
        impl<$($a: Axis),*> TileShape for ($($a,)*) {
            const RANK: usize = $rank;
            fn shape(loc: Loc) -> Shape {
                let _ = loc;
                Shape::new(&[$($a::extent(loc)),*])
            }
        }
        impl<$($a: Axis),*> OfRank<$rank> for ($($a,)*) {}
        impl<$($a: AxisBroadcast<$b>, $b),*> Broadcast<($($b,)*)> for ($($a,)*) {
            type Out = ($($a::Out,)*);
        }
    };
}
shapes!(0:);
shapes!(1: A A2);
shapes!(2: A A2, B B2);
shapes!(3: A A2, B B2, D D2);
shapes!(4: A A2, B B2, D D2, E E2);

macro_rules! nth {
    ($($i:literal: ($($a:ident),+) -> $o:ident;)+) => {
        $(impl<$($a: Axis),+> Nth<$i> for ($($a,)+) { type Out = $o; })+
    };
}
nth! {
    0: (A, B) -> A; 1: (A, B) -> B;
    0: (A, B, D) -> A; 1: (A, B, D) -> B; 2: (A, B, D) -> D;
    0: (A, B, D, E) -> A; 1: (A, B, D, E) -> B; 2: (A, B, D, E) -> D; 3: (A, B, D, E) -> E;
}

macro_rules! drop_axis {
    ($($i:literal: ($($a:ident),+) -> ($($o:ident),*) ($($k:ty),+);)+) => {
        $(impl<$($a: Axis),+> DropAxis<$i> for ($($a,)+) { type Out = ($($o,)*); type Keep = ($($k,)+); })+
    };
}
drop_axis! {
    0: (A) -> () (One);
    0: (A, B) -> (B) (One, B); 1: (A, B) -> (A) (A, One);
    0: (A, B, D) -> (B, D) (One, B, D); 1: (A, B, D) -> (A, D) (A, One, D); 2: (A, B, D) -> (A, B) (A, B, One);
    0: (A, B, D, E) -> (B, D, E) (One, B, D, E); 1: (A, B, D, E) -> (A, D, E) (A, One, D, E);
    2: (A, B, D, E) -> (A, B, E) (A, B, One, E); 3: (A, B, D, E) -> (A, B, D) (A, B, D, One);
}

macro_rules! insert_axis {
    ($($i:literal: ($($a:ident),*) -> ($($o:ident),+);)+) => {
        $(
            impl<$($a: Axis),*> InsertAxis<$i> for ($($a,)*) { type Out = ($($o,)+); }
            impl<$($a: Axis),*> SqueezeAxis<$i> for ($($o,)+) { type Out = ($($a,)*); }
        )+
    };
}
insert_axis! {
    0: () -> (One);
    0: (A) -> (One, A); 1: (A) -> (A, One);
    0: (A, B) -> (One, A, B); 1: (A, B) -> (A, One, B); 2: (A, B) -> (A, B, One);
    0: (A, B, D) -> (One, A, B, D); 1: (A, B, D) -> (A, One, B, D);
    2: (A, B, D) -> (A, B, One, D); 3: (A, B, D) -> (A, B, D, One);
}

impl<S: TileShape + Nth<I> + Nth<J> + OfRank<2>, const I: usize, const J: usize> PermuteBy<P2<I, J>> for S {
    type Out = (<S as Nth<I>>::Out, <S as Nth<J>>::Out);
    fn perm() -> Vec<u8> {
        vec![I as u8, J as u8]
    }
}
impl<S: TileShape + Nth<I> + Nth<J> + Nth<K> + OfRank<3>, const I: usize, const J: usize, const K: usize>
    PermuteBy<P3<I, J, K>> for S
{
    type Out = (<S as Nth<I>>::Out, <S as Nth<J>>::Out, <S as Nth<K>>::Out);
    fn perm() -> Vec<u8> {
        vec![I as u8, J as u8, K as u8]
    }
}
impl<
    S: TileShape + Nth<I> + Nth<J> + Nth<K> + Nth<L> + OfRank<4>,
    const I: usize,
    const J: usize,
    const K: usize,
    const L: usize,
> PermuteBy<P4<I, J, K, L>> for S
{
    type Out = (<S as Nth<I>>::Out, <S as Nth<J>>::Out, <S as Nth<K>>::Out, <S as Nth<L>>::Out);
    fn perm() -> Vec<u8> {
        vec![I as u8, J as u8, K as u8, L as u8]
    }
}
