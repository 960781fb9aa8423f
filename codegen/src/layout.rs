//! Register and shared-memory layouts as linear maps over F2, with an integer repeat count per tile dimension.
//!
//! A [`Layout`] says which element of a tile each register of each thread holds: every bit of the register, lane and
//! warp index carries a *basis vector*, a coordinate offset, and the element is the XOR of the vectors of the set bits.
//! A [`SharedLayout`] says at which byte an element lies. Both are exact functions that are cheap to evaluate, so
//! conversions, vector widths, bank conflicts and fragment shapes are computed from them and never special-cased.
//!
//! The invariant: an extent is `repeats × span`, where the span is the *largest* power of two that divides the extent,
//! so two layouts of one tile always agree on what is a bit and what is a repeat. The repeat index is the slow part of
//! the register index. That lifts the power-of-two limit: 192 columns are three repeats of 64.
//!
//! ```text
//! register = repeat index * 2^R + R bits      coordinate[d] = repeat[d] * span[d] + XOR of the basis vectors in d
//! lane     = 5 bits                           (a zero vector: the element is held more than once)
//! warp     = log2(warps) bits
//! ```
//!
//! Theory: "Linear Layouts: Robust Code Generation of Efficient Tensor Computation Using F2".

mod algebra;
mod banks;
mod bits;
mod blocked;
mod convert;
mod error;
mod express;
mod fold;
mod linear;
mod matrix;
mod reduce;
mod shared;
mod shuffle;
mod swizzle;
mod text;
mod tiles;
mod vectorise;

pub use algebra::Projection;
pub use banks::SharedAccess;
pub use bits::F2Map;
pub use blocked::Blocking;
pub use convert::{Conversion, SharedPlan};
pub use error::LayoutError;
pub use express::{CoordinateExpr, Join, OffsetExpr, ThreadTerm};
pub(crate) use fold::{FoldPlan, dropped};
pub use fold::{partials_scratch, reduce_scratch};
pub use linear::{Bases, Coord, FreeBits, Input, Inverse, LANE_BITS, Layout, MAX_RANK, Place, Repeat};
pub use matrix::{MmaOperand, WarpGrid};
pub use reduce::Reduction;
pub use shared::{SharedLayout, SwizzleSpan};
pub use shuffle::{Round, Shuffles, ThreadMap};
pub use tiles::{FragmentTile, MatrixAccess};
pub use vectorise::Vectors;
