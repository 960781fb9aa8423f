//! Dimension types: the identity of an extent, checked by rustc.
//!
//! An [`Axis`] is anything that may stand in a shape. A [`Dim`] is an axis with an identity of its own; [`One`] is not a
//! `Dim`, and that is what lets an axis of extent 1 broadcast against every `Dim` without ambiguity.

use std::marker::PhantomData;

use super::shape::AxisBroadcast;
use crate::diag::{Diagnostic, Loc};
use crate::ir::builder;

/// An axis of a shape: a [`Dim`] or [`One`].
pub trait Axis: Copy + 'static + AxisBroadcast<Self, Out = Self> {
    /// The extent in the kernel being specialised; `loc` is where the author used it.
    fn extent(loc: Loc) -> usize;
}

/// A dimension: a type parameter of the kernel, a fixed extent [`C`], or derived from others.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a dimension",
    label = "a dimension is a `BM: Dim` parameter, `C<64>`, `Half<D>`, `Double<D>`, `Sum<A, B>` or `Prod<A, B>`"
)]
pub trait Dim: Axis {}

/// The axis of extent 1, which broadcasts against any dimension.
#[derive(Clone, Copy, Debug)]
pub struct One;

/// A fixed extent.
#[derive(Clone, Copy, Debug)]
pub struct C<const N: usize>;

/// Dimension parameter number `I` of the kernel being specialised; its extent comes from the schedule.
#[derive(Clone, Copy, Debug)]
pub struct Var<const I: usize>;

/// Half of a dimension, which must be even.
#[derive(Clone, Copy, Debug)]
pub struct Half<D>(PhantomData<D>);

/// Twice a dimension.
#[derive(Clone, Copy, Debug)]
pub struct Double<D>(PhantomData<D>);

/// The sum of two dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Sum<A, B>(PhantomData<(A, B)>);

/// The product of two dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Prod<A, B>(PhantomData<(A, B)>);

impl Axis for One {
    fn extent(_: Loc) -> usize {
        1
    }
}

impl<const N: usize> Axis for C<N> {
    fn extent(loc: Loc) -> usize {
        positive(N, loc)
    }
}
impl<const N: usize> Dim for C<N> {}

impl<const I: usize> Axis for Var<I> {
    fn extent(loc: Loc) -> usize {
        builder::dim_extent(I).unwrap_or_else(|| {
            builder::error(Diagnostic::new(
                loc,
                format!("dimension parameter {I} has no extent in the schedule"),
            ));
            1
        })
    }
}
impl<const I: usize> Dim for Var<I> {}

impl<D: Dim> Axis for Half<D> {
    fn extent(loc: Loc) -> usize {
        let whole = D::extent(loc);
        if !whole.is_multiple_of(2) {
            builder::error(
                Diagnostic::new(loc, format!("extent {whole} is not divisible by 2, as Half<_> needs"))
                    .help("choose an even extent in the schedule"),
            );
        }
        (whole / 2).max(1)
    }
}
impl<D: Dim> Dim for Half<D> {}

impl<D: Dim> Axis for Double<D> {
    fn extent(loc: Loc) -> usize {
        2 * D::extent(loc)
    }
}
impl<D: Dim> Dim for Double<D> {}

impl<A: Dim, B: Dim> Axis for Sum<A, B> {
    fn extent(loc: Loc) -> usize {
        A::extent(loc) + B::extent(loc)
    }
}
impl<A: Dim, B: Dim> Dim for Sum<A, B> {}

impl<A: Dim, B: Dim> Axis for Prod<A, B> {
    fn extent(loc: Loc) -> usize {
        A::extent(loc) * B::extent(loc)
    }
}
impl<A: Dim, B: Dim> Dim for Prod<A, B> {}

fn positive(n: usize, loc: Loc) -> usize {
    if n == 0 {
        builder::error(Diagnostic::new(loc, "a tile extent is 0").help("extents are at least 1"));
    }
    n.max(1)
}

/// The number of a dimension: what a bare `BM` in value position means.
///
/// # Panics
/// If the extent does not fit in an i32, which no legal tile has.
#[must_use]
#[track_caller]
pub fn dim<D: Axis>() -> i32 {
    i32::try_from(D::extent(Loc::caller())).expect("a tile extent should fit in an i32")
}
