//! Element types on the host side, and which operations they allow.
//!
//! The traits carry what rustc can check: arithmetic only on [`Num`], transcendental functions only on [`Float`], matrix
//! products only on [`DotInput`] with its accumulator type.

use half::{bf16, f16};

use super::f8::{F8E4M3, F8E5M2};
use crate::ir::DType;

/// A type that tiles and views may hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element type",
    label = "tiles and views hold f32, f16, bf16, F8E4M3, F8E5M2, i8, u8, i32, i64, u32 or bool"
)]
pub trait Elem: Copy + Send + Sync + std::fmt::Debug + PartialEq + 'static {
    /// The element type in the IR.
    const DTYPE: DType;
    /// The value's own encoding in the low bits.
    fn to_bits64(self) -> u64;
    /// The value nearest to `x` (ties to even; integers truncate and saturate): for tests, references and random data.
    fn from_f64(x: f64) -> Self;
    /// The value as f64 (exact but for large i64).
    fn to_f64(self) -> f64;
}

/// An element type with arithmetic.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no arithmetic",
    label = "cast to f32, f16, bf16 or an integer type first"
)]
pub trait Num: Elem {}

/// f32, f16 or bf16.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a floating-point element type with arithmetic",
    label = "this operation needs f32, f16 or bf16; cast first"
)]
pub trait Float: Num {}

/// An integer element type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integer element type",
    label = "cast to an integer type first"
)]
pub trait Int: Num {}

/// An integer element type or bool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no bitwise or logical operators",
    label = "these need an integer type or bool"
)]
pub trait Bits: Elem {}

/// An element type that `dot` multiplies.
#[diagnostic::on_unimplemented(
    message = "`dot` does not multiply `{Self}`",
    label = "operands are f32, f16, bf16, F8E4M3 or F8E5M2 (accumulated in f32), or i8 or u8 (accumulated in i32)"
)]
pub trait DotInput: Elem {
    /// The accumulator: f32 for floats, i32 for integers.
    type Acc: Num;
}

macro_rules! elem {
    ($t:ty, $d:ident, |$b:ident| $bits:expr, |$x:ident| $from:expr, |$y:ident| $to:expr) => {
        impl Elem for $t {
            const DTYPE: DType = DType::$d;
            fn to_bits64(self) -> u64 {
                let $b = self;
                $bits
            }
            fn from_f64($x: f64) -> Self {
                $from
            }
            fn to_f64(self) -> f64 {
                let $y = self;
                $to
            }
        }
    };
}

elem!(f32, F32, |b| u64::from(b.to_bits()), |x| x as f32, |y| f64::from(y));
elem!(f16, F16, |b| u64::from(b.to_bits()), |x| f16::from_f64(x), |y| y.to_f64());
elem!(bf16, BF16, |b| u64::from(b.to_bits()), |x| bf16::from_f64(x), |y| y.to_f64());
elem!(F8E4M3, F8E4M3, |b| u64::from(b.0), |x| F8E4M3::from_f64(x), |y| y.to_f64());
elem!(F8E5M2, F8E5M2, |b| u64::from(b.0), |x| F8E5M2::from_f64(x), |y| y.to_f64());
elem!(i8, I8, |b| u64::from(b as u8), |x| x as i8, |y| f64::from(y));
elem!(u8, U8, |b| u64::from(b), |x| x as u8, |y| f64::from(y));
elem!(i32, I32, |b| u64::from(b as u32), |x| x as i32, |y| f64::from(y));
elem!(i64, I64, |b| b as u64, |x| x as i64, |y| y as f64);
elem!(u32, U32, |b| u64::from(b), |x| x as u32, |y| f64::from(y));
elem!(bool, Bool, |b| u64::from(b), |x| x != 0.0, |y| f64::from(u8::from(y)));

macro_rules! mark {
    ($trait:ident: $($t:ty),+) => { $(impl $trait for $t {})+ };
}
mark!(Num: f32, f16, bf16, i8, u8, i32, i64, u32);
mark!(Float: f32, f16, bf16);
mark!(Int: i8, u8, i32, i64, u32);
mark!(Bits: i8, u8, i32, i64, u32, bool);

macro_rules! dot_input {
    ($acc:ty: $($t:ty),+) => { $(impl DotInput for $t { type Acc = $acc; })+ };
}
dot_input!(f32: f32, f16, bf16, F8E4M3, F8E5M2);
dot_input!(i32: i8, u8);
