//! Rust's operators on tiles and scalars, and the comparisons that the macro rewrites.
//!
//! Tiles combine with tiles of one rank (axes equal or `One`), with scalars and with host values of the element type.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Shl, Shr, Sub};

use half::{bf16, f16};

use super::elem::{Bits, Elem, Int, Num};
use super::shape::{Broadcast, TileShape};
use super::value::{IntoScalar, IrValue, Scalar, Tile, broadcast_to, define, splat};
use crate::diag::Loc;
use crate::ir::{BinaryOp, Op, UnaryOp};

/// Both tiles broadcast to their common shape.
fn tiles<T: Elem, S: TileShape + Broadcast<S2>, S2: TileShape, V: IrValue>(
    op: BinaryOp,
    a: Tile<T, S>,
    b: Tile<T, S2>,
    loc: Loc,
) -> V {
    let a: Tile<T, <S as Broadcast<S2>>::Out> = broadcast_to(a, loc);
    let b: Tile<T, <S as Broadcast<S2>>::Out> = broadcast_to(b, loc);
    define(Op::Binary(op, a.raw(), b.raw()), loc)
}

/// A tile with a scalar or host value on the right.
fn tile_scalar<T: Elem, S: TileShape, V: IrValue>(
    op: BinaryOp,
    a: Tile<T, S>,
    b: impl IntoScalar<T>,
    loc: Loc,
) -> V {
    let b: Tile<T, S> = splat(b.into_scalar(loc), loc);
    define(Op::Binary(op, a.raw(), b.raw()), loc)
}

/// A tile with a scalar or host value on the left.
fn scalar_tile<T: Elem, S: TileShape, V: IrValue>(
    op: BinaryOp,
    a: impl IntoScalar<T>,
    b: Tile<T, S>,
    loc: Loc,
) -> V {
    let a: Tile<T, S> = splat(a.into_scalar(loc), loc);
    define(Op::Binary(op, a.raw(), b.raw()), loc)
}

fn scalars<T: Elem, V: IrValue>(op: BinaryOp, a: impl IntoScalar<T>, b: impl IntoScalar<T>, loc: Loc) -> V {
    let (a, b) = (a.into_scalar(loc), b.into_scalar(loc));
    define(Op::Binary(op, a.raw(), b.raw()), loc)
}

macro_rules! operator {
    ($trait:ident $method:ident $assign_trait:ident $assign:ident $bound:ident [$($host:ty),+]) => {
        impl<T: $bound, S: TileShape + Broadcast<S2>, S2: TileShape> $trait<Tile<T, S2>> for Tile<T, S> {
            type Output = Tile<T, <S as Broadcast<S2>>::Out>;
            #[track_caller]
            fn $method(self, rhs: Tile<T, S2>) -> Self::Output {
                tiles(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        impl<T: $bound, S: TileShape> $trait<Scalar<T>> for Tile<T, S> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: Scalar<T>) -> Self {
                tile_scalar(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        impl<T: $bound, S: TileShape> $trait<T> for Tile<T, S> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: T) -> Self {
                tile_scalar(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        impl<T: $bound, S: TileShape> $trait<Tile<T, S>> for Scalar<T> {
            type Output = Tile<T, S>;
            #[track_caller]
            fn $method(self, rhs: Tile<T, S>) -> Tile<T, S> {
                scalar_tile(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        impl<T: $bound> $trait<Scalar<T>> for Scalar<T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: Self) -> Self {
                scalars::<T, _>(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        impl<T: $bound> $trait<T> for Scalar<T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: T) -> Self {
                scalars::<T, _>(BinaryOp::$trait, self, rhs, Loc::caller())
            }
        }
        $(
            impl<S: TileShape> $trait<Tile<$host, S>> for $host {
                type Output = Tile<$host, S>;
                #[track_caller]
                fn $method(self, rhs: Tile<$host, S>) -> Tile<$host, S> {
                    scalar_tile(BinaryOp::$trait, self, rhs, Loc::caller())
                }
            }
            impl $trait<Scalar<$host>> for $host {
                type Output = Scalar<$host>;
                #[track_caller]
                fn $method(self, rhs: Scalar<$host>) -> Scalar<$host> {
                    scalars::<$host, _>(BinaryOp::$trait, self, rhs, Loc::caller())
                }
            }
        )+
        impl<T: $bound, S: TileShape, R> std::ops::$assign_trait<R> for Tile<T, S>
        where
            Self: $trait<R, Output = Self>,
        {
            #[track_caller]
            fn $assign(&mut self, rhs: R) {
                *self = (*self).$method(rhs);
            }
        }
        impl<T: $bound, R> std::ops::$assign_trait<R> for Scalar<T>
        where
            Self: $trait<R, Output = Self>,
        {
            #[track_caller]
            fn $assign(&mut self, rhs: R) {
                *self = (*self).$method(rhs);
            }
        }
    };
}

operator!(Add add AddAssign add_assign Num [f32, i32, i64, u32]);
operator!(Sub sub SubAssign sub_assign Num [f32, i32, i64, u32]);
operator!(Mul mul MulAssign mul_assign Num [f32, i32, i64, u32]);
operator!(Div div DivAssign div_assign Num [f32, i32, i64, u32]);
operator!(Rem rem RemAssign rem_assign Num [f32, i32, i64, u32]);
operator!(Shl shl ShlAssign shl_assign Int [i32, i64, u32]);
operator!(Shr shr ShrAssign shr_assign Int [i32, i64, u32]);

macro_rules! bit_operator {
    ($trait:ident $method:ident $assign_trait:ident $assign:ident $op:ident) => {
        impl<T: Bits, S: TileShape + Broadcast<S2>, S2: TileShape> $trait<Tile<T, S2>> for Tile<T, S> {
            type Output = Tile<T, <S as Broadcast<S2>>::Out>;
            #[track_caller]
            fn $method(self, rhs: Tile<T, S2>) -> Self::Output {
                tiles(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits, S: TileShape> $trait<Scalar<T>> for Tile<T, S> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: Scalar<T>) -> Self {
                tile_scalar(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits, S: TileShape> $trait<T> for Tile<T, S> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: T) -> Self {
                tile_scalar(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits, S: TileShape> $trait<Tile<T, S>> for Scalar<T> {
            type Output = Tile<T, S>;
            #[track_caller]
            fn $method(self, rhs: Tile<T, S>) -> Tile<T, S> {
                scalar_tile(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits> $trait<Scalar<T>> for Scalar<T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: Self) -> Self {
                scalars::<T, _>(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits> $trait<T> for Scalar<T> {
            type Output = Self;
            #[track_caller]
            fn $method(self, rhs: T) -> Self {
                scalars::<T, _>(BinaryOp::$op, self, rhs, Loc::caller())
            }
        }
        impl<T: Bits, S: TileShape, R> std::ops::$assign_trait<R> for Tile<T, S>
        where
            Self: $trait<R, Output = Self>,
        {
            #[track_caller]
            fn $assign(&mut self, rhs: R) {
                *self = (*self).$method(rhs);
            }
        }
        impl<T: Bits, R> std::ops::$assign_trait<R> for Scalar<T>
        where
            Self: $trait<R, Output = Self>,
        {
            #[track_caller]
            fn $assign(&mut self, rhs: R) {
                *self = (*self).$method(rhs);
            }
        }
    };
}

bit_operator!(BitAnd bitand BitAndAssign bitand_assign And);
bit_operator!(BitOr bitor BitOrAssign bitor_assign Or);
bit_operator!(BitXor bitxor BitXorAssign bitxor_assign Xor);

macro_rules! prefix {
    ($trait:ident $method:ident $bound:ident) => {
        impl<T: $bound, S: TileShape> $trait for Tile<T, S> {
            type Output = Self;
            #[track_caller]
            fn $method(self) -> Self {
                define(Op::Unary(UnaryOp::$trait, self.raw()), Loc::caller())
            }
        }
        impl<T: $bound> $trait for Scalar<T> {
            type Output = Self;
            #[track_caller]
            fn $method(self) -> Self {
                define(Op::Unary(UnaryOp::$trait, self.raw()), Loc::caller())
            }
        }
    };
}
prefix!(Neg neg Num);
prefix!(Not not Bits);

/// `==` and `!=`: host values compare as in Rust, tiles and scalars elementwise.
#[diagnostic::on_unimplemented(
    message = "`{Self}` and `{R}` cannot be compared for equality",
    label = "compare tiles of matching shape and element type, or a tile with a scalar"
)]
pub trait CompareEq<R: ?Sized> {
    /// `bool`, `Scalar<bool>` or `Tile<bool, S>`.
    type Out;
    /// `self == rhs`.
    fn equal(&self, rhs: &R, loc: Loc) -> Self::Out;
    /// `self != rhs`.
    fn not_equal(&self, rhs: &R, loc: Loc) -> Self::Out;
}

/// `<`, `<=`, `>`, `>=`: host values compare as in Rust, tiles and scalars elementwise.
#[diagnostic::on_unimplemented(
    message = "`{Self}` and `{R}` cannot be ordered",
    label = "compare tiles of matching shape and element type, or a tile with a scalar"
)]
pub trait CompareOrd<R: ?Sized> {
    /// `bool`, `Scalar<bool>` or `Tile<bool, S>`.
    type Out;
    /// `self < rhs`.
    fn less(&self, rhs: &R, loc: Loc) -> Self::Out;
    /// `self <= rhs`.
    fn less_equal(&self, rhs: &R, loc: Loc) -> Self::Out;
    /// `self > rhs`.
    fn greater(&self, rhs: &R, loc: Loc) -> Self::Out;
    /// `self >= rhs`.
    fn greater_equal(&self, rhs: &R, loc: Loc) -> Self::Out;
}

impl<A: PartialEq<B> + ?Sized, B: ?Sized> CompareEq<B> for A {
    type Out = bool;
    fn equal(&self, rhs: &B, _: Loc) -> bool {
        self == rhs
    }
    fn not_equal(&self, rhs: &B, _: Loc) -> bool {
        self != rhs
    }
}

impl<A: PartialOrd<B> + ?Sized, B: ?Sized> CompareOrd<B> for A {
    type Out = bool;
    fn less(&self, rhs: &B, _: Loc) -> bool {
        self < rhs
    }
    fn less_equal(&self, rhs: &B, _: Loc) -> bool {
        self <= rhs
    }
    fn greater(&self, rhs: &B, _: Loc) -> bool {
        self > rhs
    }
    fn greater_equal(&self, rhs: &B, _: Loc) -> bool {
        self >= rhs
    }
}

/// The six comparisons of one pair of operand kinds.
macro_rules! compare {
    ([$($generics:tt)*] $lhs:ty, $rhs:ty => $out:ty, $f:ident) => {
        impl<$($generics)*> CompareEq<$rhs> for $lhs {
            type Out = $out;
            fn equal(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Eq, *self, *rhs, loc) }
            fn not_equal(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Ne, *self, *rhs, loc) }
        }
        impl<$($generics)*> CompareOrd<$rhs> for $lhs {
            type Out = $out;
            fn less(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Lt, *self, *rhs, loc) }
            fn less_equal(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Le, *self, *rhs, loc) }
            fn greater(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Gt, *self, *rhs, loc) }
            fn greater_equal(&self, rhs: &$rhs, loc: Loc) -> $out { $f(BinaryOp::Ge, *self, *rhs, loc) }
        }
    };
}
compare!([T: Elem, S: TileShape + Broadcast<S2>, S2: TileShape] Tile<T, S>, Tile<T, S2> => Tile<bool, <S as Broadcast<S2>>::Out>, tiles);
compare!([T: Elem, S: TileShape] Tile<T, S>, Scalar<T> => Tile<bool, S>, tile_scalar);
compare!([T: Elem, S: TileShape] Scalar<T>, Tile<T, S> => Tile<bool, S>, scalar_tile);
compare!([T: Elem] Scalar<T>, Scalar<T> => Scalar<bool>, scalars_as);

/// Host values on the right, one element type at a time: a generic one would overlap with what host types do themselves.
macro_rules! compare_host {
    ($($t:ty),+) => {
        $(
            compare!([S: TileShape] Tile<$t, S>, $t => Tile<bool, S>, tile_scalar);
            compare!([] Scalar<$t>, $t => Scalar<bool>, scalars_host);
        )+
    };
}
compare_host!(f32, f16, bf16, i8, u8, i32, i64, u32, bool);

fn scalars_as<T: Elem>(op: BinaryOp, a: Scalar<T>, b: Scalar<T>, loc: Loc) -> Scalar<bool> {
    scalars::<T, _>(op, a, b, loc)
}

fn scalars_host<T: Elem>(op: BinaryOp, a: Scalar<T>, b: T, loc: Loc) -> Scalar<bool> {
    scalars::<T, _>(op, a, b, loc)
}

macro_rules! compare_functions {
    ($($name:ident $trait:ident $method:ident $sign:literal;)+) => {
        $(
            #[doc = concat!("`a ", $sign, " b` on host values, scalars and tiles; what the operator becomes in a kernel.")]
            #[track_caller]
            pub fn $name<A: $trait<B> + ?Sized, B: ?Sized>(a: &A, b: &B) -> A::Out {
                a.$method(b, Loc::caller())
            }
        )+
    };
}
compare_functions! {
    cmp_eq CompareEq equal "==";
    cmp_ne CompareEq not_equal "!=";
    cmp_lt CompareOrd less "<";
    cmp_le CompareOrd less_equal "<=";
    cmp_gt CompareOrd greater ">";
    cmp_ge CompareOrd greater_equal ">=";
}

/// `&&` and `||`: host bools short-circuit, run-time values are combined elementwise and both sides are evaluated.
#[diagnostic::on_unimplemented(
    message = "`{Self}` and `{R}` cannot be combined with `&&` or `||`",
    label = "both sides must be bool, or both run-time bools of matching shape"
)]
pub trait Logic<R>: Sized {
    /// `bool`, `Scalar<bool>` or `Tile<bool, S>`.
    type Out;
    /// `self && rhs()`.
    fn and_then(self, rhs: impl FnOnce() -> R, loc: Loc) -> Self::Out;
    /// `self || rhs()`.
    fn or_else(self, rhs: impl FnOnce() -> R, loc: Loc) -> Self::Out;
}

impl Logic<bool> for bool {
    type Out = bool;
    fn and_then(self, rhs: impl FnOnce() -> bool, _: Loc) -> bool {
        self && rhs()
    }
    fn or_else(self, rhs: impl FnOnce() -> bool, _: Loc) -> bool {
        self || rhs()
    }
}

macro_rules! logic {
    ([$($generics:tt)*] $lhs:ty, $rhs:ty => $out:ty, $f:ident) => {
        impl<$($generics)*> Logic<$rhs> for $lhs {
            type Out = $out;
            fn and_then(self, rhs: impl FnOnce() -> $rhs, loc: Loc) -> $out { $f(BinaryOp::And, self, rhs(), loc) }
            fn or_else(self, rhs: impl FnOnce() -> $rhs, loc: Loc) -> $out { $f(BinaryOp::Or, self, rhs(), loc) }
        }
    };
}
fn host_scalar(op: BinaryOp, a: bool, b: Scalar<bool>, loc: Loc) -> Scalar<bool> {
    scalars::<bool, _>(op, a, b, loc)
}
logic!([S: TileShape + Broadcast<S2>, S2: TileShape] Tile<bool, S>, Tile<bool, S2> => Tile<bool, <S as Broadcast<S2>>::Out>, tiles);
logic!([S: TileShape] Tile<bool, S>, Scalar<bool> => Tile<bool, S>, tile_scalar);
logic!([S: TileShape] Tile<bool, S>, bool => Tile<bool, S>, tile_scalar);
logic!([S: TileShape] Scalar<bool>, Tile<bool, S> => Tile<bool, S>, scalar_tile);
logic!([S: TileShape] bool, Tile<bool, S> => Tile<bool, S>, scalar_tile);
logic!([] Scalar<bool>, Scalar<bool> => Scalar<bool>, scalars_as);
logic!([] Scalar<bool>, bool => Scalar<bool>, scalars_host);
logic!([] bool, Scalar<bool> => Scalar<bool>, host_scalar);

/// `a && b()`; what the operator becomes in a kernel.
#[track_caller]
pub fn logic_and<A: Logic<B>, B>(a: A, b: impl FnOnce() -> B) -> A::Out {
    a.and_then(b, Loc::caller())
}

/// `a || b()`; what the operator becomes in a kernel.
#[track_caller]
pub fn logic_or<A: Logic<B>, B>(a: A, b: impl FnOnce() -> B) -> A::Out {
    a.or_else(b, Loc::caller())
}
