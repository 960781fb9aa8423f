//! Views of device memory: bounds-known, strided, loaded and stored by tiles.
//!
//! Loads and stores are in bounds by construction: elements outside read the padding and are not written. Offsets are in
//! elements; i32 is widened to 64 bits where an address is formed.

use std::marker::PhantomData;

use super::elem::Elem;
use super::shape::{OfRank, TileShape};
use super::value::{IntoScalar, IrValue, Scalar, Tile, define};
use crate::diag::{Diagnostic, Loc};
use crate::ir::{DType, Op, Shape, StmtKind, Type, Value, ViewFacts, ViewType, builder};

/// A read-only view of rank `R`.
pub struct View<T, const R: usize> {
    value: Value,
    ty: PhantomData<fn() -> T>,
}

/// A view of rank `R` that may be stored to.
pub struct ViewMut<T, const R: usize> {
    value: Value,
    ty: PhantomData<fn() -> T>,
}

impl<T, const R: usize> Clone for View<T, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, const R: usize> Copy for View<T, R> {}
impl<T, const R: usize> Clone for ViewMut<T, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, const R: usize> Copy for ViewMut<T, R> {}

impl<T: Elem, const R: usize> std::fmt::Debug for View<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({}: {}, rank {R})", self.value, T::DTYPE)
    }
}
impl<T: Elem, const R: usize> std::fmt::Debug for ViewMut<T, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ViewMut({}: {}, rank {R})", self.value, T::DTYPE)
    }
}

/// Something that can be an element offset or index: an i32 scalar or a host integer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an index",
    label = "an index is a `Scalar<i32>`, an i32 or a usize; use `.cast::<i32>()` on other scalars"
)]
pub trait IntoIndex {
    /// The index as an i32 scalar.
    fn into_index(self, loc: Loc) -> Scalar<i32>;
}
impl IntoIndex for Scalar<i32> {
    fn into_index(self, _: Loc) -> Self {
        self
    }
}
impl IntoIndex for i32 {
    fn into_index(self, loc: Loc) -> Scalar<i32> {
        self.into_scalar(loc)
    }
}
impl IntoIndex for usize {
    fn into_index(self, loc: Loc) -> Scalar<i32> {
        i32::try_from(self)
            .unwrap_or_else(|_| {
                builder::error(Diagnostic::new(loc, format!("index {self} does not fit in 32 bits")));
                0
            })
            .into_scalar(loc)
    }
}

/// One element offset per axis of a view of rank `R`: an array or a tuple of indices.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not index a view of rank {R}",
    label = "give one index per axis of the view: an array or tuple of {R}"
)]
pub trait Offsets<const R: usize> {
    /// The offsets, outermost axis first.
    fn offsets(self, loc: Loc) -> Vec<Value>;
}
impl<I: IntoIndex, const R: usize> Offsets<R> for [I; R] {
    fn offsets(self, loc: Loc) -> Vec<Value> {
        self.into_iter().map(|i| i.into_index(loc).raw()).collect()
    }
}
macro_rules! offsets {
    ($rank:literal: $($t:ident $x:ident),+) => {
        impl<$($t: IntoIndex),+> Offsets<$rank> for ($($t,)+) {
            fn offsets(self, loc: Loc) -> Vec<Value> {
                let ($($x,)+) = self;
                vec![$($x.into_index(loc).raw()),+]
            }
        }
    };
}
offsets!(1: A a);
offsets!(2: A a, B b);
offsets!(3: A a, B b, C c);
offsets!(4: A a, B b, C c, D d);
offsets!(5: A a, B b, C c, D d, E e);

fn check_axis(axis: usize, rank: usize, loc: Loc) -> u8 {
    if axis >= rank {
        builder::error(
            Diagnostic::new(loc, format!("axis {axis} is out of range for a view of rank {rank}"))
                .help("axes count from 0, outermost first"),
        );
        return 0;
    }
    axis as u8
}

fn view_type(dtype: DType, rank: usize, mutable: bool) -> Type {
    Type::View(ViewType { dtype, rank: rank as u8, mutable })
}

macro_rules! view_methods {
    ($view:ident, $mutable:literal) => {
        impl<T: Elem, const R: usize> $view<T, R> {
            /// The handle in the IR.
            #[must_use]
            pub fn raw(self) -> Value {
                self.value
            }

            fn wrap(value: Value) -> Self {
                Self { value, ty: PhantomData }
            }

            /// Extent of an axis.
            #[must_use]
            #[track_caller]
            pub fn dim(self, axis: usize) -> Scalar<i32> {
                let loc = Loc::caller();
                define(Op::ViewDim(self.value, check_axis(axis, R, loc)), loc)
            }

            /// The tile of shape `S` at element offsets `at`; elements out of bounds are zero.
            #[must_use]
            #[track_caller]
            pub fn load<S: OfRank<R>>(self, at: impl Offsets<R>) -> Tile<T, S> {
                let loc = Loc::caller();
                load(self.value, at.offsets(loc), T::from_f64(0.0).into_scalar(loc), loc)
            }

            /// The tile of shape `S` at element offsets `at`; elements out of bounds read `pad`.
            #[must_use]
            #[track_caller]
            pub fn load_or<S: OfRank<R>>(self, at: impl Offsets<R>, pad: impl IntoScalar<T>) -> Tile<T, S> {
                let loc = Loc::caller();
                load(self.value, at.offsets(loc), pad.into_scalar(loc), loc)
            }

            /// One element; zero when out of bounds.
            #[must_use]
            #[track_caller]
            pub fn get(self, at: impl Offsets<R>) -> Scalar<T> {
                let loc = Loc::caller();
                let (offsets, pad) = (at.offsets(loc), T::from_f64(0.0).into_scalar(loc).raw());
                define(Op::Load { view: self.value, offsets, shape: Shape::SCALAR, pad }, loc)
            }

            /// The elements `self[i0, i1, ...]` for one index tile per axis; out of bounds reads zero.
            #[must_use]
            #[track_caller]
            pub fn gather<S: TileShape>(self, indices: [Tile<i32, S>; R]) -> Tile<T, S> {
                let loc = Loc::caller();
                gather(self.value, &indices, None, T::from_f64(0.0).into_scalar(loc), loc)
            }

            /// As [`Self::gather`] with a mask (false elements are not read) and a padding value.
            #[must_use]
            #[track_caller]
            pub fn gather_masked<S: TileShape>(
                self,
                indices: [Tile<i32, S>; R],
                mask: Tile<bool, S>,
                pad: impl IntoScalar<T>,
            ) -> Tile<T, S> {
                let loc = Loc::caller();
                gather(self.value, &indices, Some(mask.raw()), pad.into_scalar(loc), loc)
            }

            /// At most `len` elements of an axis from `start`, clipped to the bounds.
            #[must_use]
            #[track_caller]
            pub fn slice(self, axis: usize, start: impl IntoIndex, len: impl IntoIndex) -> Self {
                let loc = Loc::caller();
                let (start, len) = (start.into_index(loc).raw(), len.into_index(loc).raw());
                let op = Op::ViewSlice(self.value, check_axis(axis, R, loc), start, len);
                Self::wrap(builder::define(op, view_type(T::DTYPE, R, $mutable), loc))
            }

            /// The view with its axes rearranged: axis `i` of the result is axis `perm[i]`.
            #[must_use]
            #[track_caller]
            pub fn permute(self, perm: [usize; R]) -> Self {
                let loc = Loc::caller();
                let mut seen = [false; R];
                for &p in &perm {
                    if p >= R || std::mem::replace(&mut seen[p.min(R - 1)], true) {
                        builder::error(
                            Diagnostic::new(loc, format!("permute by {perm:?} does not rearrange {R} axes"))
                                .help("each axis of the view must appear exactly once"),
                        );
                        return self;
                    }
                }
                let op = Op::ViewPermute(self.value, perm.iter().map(|&p| p as u8).collect());
                Self::wrap(builder::define(op, view_type(T::DTYPE, R, $mutable), loc))
            }
        }

        impl<T: Elem> $view<T, 2> {
            /// The transposed view.
            #[must_use]
            #[track_caller]
            pub fn t(self) -> Self {
                self.permute([1, 0])
            }
        }

        view_methods!(@at $view $mutable 2 1);
        view_methods!(@at $view $mutable 3 2);
        view_methods!(@at $view $mutable 4 3);
        view_methods!(@at $view $mutable 5 4);
    };
    (@at $view:ident $mutable:literal $rank:literal $less:literal) => {
        impl<T: Elem> $view<T, $rank> {
            /// The view of one rank less at `index` of `axis`; empty when out of bounds.
            #[must_use]
            #[track_caller]
            pub fn at(self, axis: usize, index: impl IntoIndex) -> $view<T, $less> {
                let loc = Loc::caller();
                let op = Op::ViewSelect(self.value, check_axis(axis, $rank, loc), index.into_index(loc).raw());
                $view::wrap(builder::define(op, view_type(T::DTYPE, $less, $mutable), loc))
            }
        }
    };
}
view_methods!(View, false);
view_methods!(ViewMut, true);

fn load<T: Elem, S: TileShape>(view: Value, offsets: Vec<Value>, pad: Scalar<T>, loc: Loc) -> Tile<T, S> {
    define(Op::Load { view, offsets, shape: S::shape(loc), pad: pad.raw() }, loc)
}

fn gather<T: Elem, S: TileShape>(
    view: Value,
    indices: &[Tile<i32, S>],
    mask: Option<Value>,
    pad: Scalar<T>,
    loc: Loc,
) -> Tile<T, S> {
    define(Op::Gather { view, indices: indices.iter().map(|i| i.raw()).collect(), mask, pad: pad.raw() }, loc)
}

impl<T: Elem, const R: usize> ViewMut<T, R> {
    /// Writes a tile at element offsets; elements out of bounds are not written.
    #[track_caller]
    pub fn store<S: OfRank<R>>(self, at: impl Offsets<R>, tile: Tile<T, S>) {
        let loc = Loc::caller();
        let offsets = at.offsets(loc);
        builder::effect(StmtKind::Store { view: self.value, offsets, value: tile.raw() }, loc);
    }

    /// Writes one element; nothing when out of bounds.
    #[track_caller]
    pub fn set(self, at: impl Offsets<R>, x: impl IntoScalar<T>) {
        let loc = Loc::caller();
        let offsets = at.offsets(loc);
        builder::effect(StmtKind::Store { view: self.value, offsets, value: x.into_scalar(loc).raw() }, loc);
    }

    /// Writes `self[i0, i1, ...] = tile` for one index tile per axis; elements out of bounds are not written.
    #[track_caller]
    pub fn scatter<S: TileShape>(self, indices: [Tile<i32, S>; R], tile: Tile<T, S>) {
        let indices = indices.iter().map(|i| i.raw()).collect();
        builder::effect(
            StmtKind::Scatter { view: self.value, indices, value: tile.raw(), mask: None },
            Loc::caller(),
        );
    }

    /// As [`Self::scatter`] with a mask: false elements are not written.
    #[track_caller]
    pub fn scatter_masked<S: TileShape>(
        self,
        indices: [Tile<i32, S>; R],
        tile: Tile<T, S>,
        mask: Tile<bool, S>,
    ) {
        let indices = indices.iter().map(|i| i.raw()).collect();
        builder::effect(
            StmtKind::Scatter { view: self.value, indices, value: tile.raw(), mask: Some(mask.raw()) },
            Loc::caller(),
        );
    }
}

/// Declares the next parameter as a read-only view.
#[must_use]
#[track_caller]
pub fn param_view<T: Elem, const R: usize>(name: &str, facts: ViewFacts) -> View<T, R> {
    View::wrap(builder::param(name, view_type(T::DTYPE, R, false), facts, Loc::caller()))
}

/// Declares the next parameter as a mutable view.
#[must_use]
#[track_caller]
pub fn param_view_mut<T: Elem, const R: usize>(name: &str, facts: ViewFacts) -> ViewMut<T, R> {
    ViewMut::wrap(builder::param(name, view_type(T::DTYPE, R, true), facts, Loc::caller()))
}

/// Declares the next parameter as a scalar.
#[must_use]
#[track_caller]
pub fn param_scalar<T: Elem>(name: &str) -> Scalar<T> {
    let loc = Loc::caller();
    let ty = Type::Tile(crate::ir::TileType::scalar(T::DTYPE));
    Scalar::wrap(builder::param(name, ty, ViewFacts::default(), loc))
}
