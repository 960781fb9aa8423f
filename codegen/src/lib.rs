//! The tile language, its IR, and its targets.
//!
//! Pure: no IO but reading the author's source line for a message, no device, no global state but the builder of the
//! kernel under construction.

pub mod analysis;
pub mod cpu;
pub mod cuda;
pub mod diag;
pub mod dsl;
pub mod error;
pub mod gpu;
pub mod ir;
pub mod kernel;
pub mod launch;
pub mod layout;
#[doc(hidden)]
pub mod macro_support;
pub mod passes;
pub mod schedule;
pub mod target;
pub mod tensor;

/// What a kernel author imports.
pub mod prelude {
    pub use crate::dsl::control::{device_assert, device_print, range};
    pub use crate::dsl::dim::{Axis, C, Dim, Double, Half, One, Prod, Sum};
    pub use crate::dsl::elem::{Bits, DotInput, Elem, Float, Int, Num};
    pub use crate::dsl::f8::{F8E4M3, F8E5M2};
    pub use crate::dsl::math::{
        abs, ceil, clamp, cos, dot, dot_batched, erf, exp, exp2, floor, fma, log, log2, maximum, minimum,
        rsqrt, select, sigmoid, sin, sqrt, tanh,
    };
    pub use crate::dsl::memory::{IntoIndex, View, ViewMut};
    pub use crate::dsl::program::{cdiv, grouped_2d, num_programs, program_id};
    pub use crate::dsl::shape::{
        Broadcast, DropAxis, InsertAxis, OfRank, P2, P3, P4, PermuteBy, SqueezeAxis, TileShape,
    };
    pub use crate::dsl::value::{IntoScalar, IrValue, Operand, Scalar, Tile, arange, full, scalar, zeros};
    pub use crate::kernel::{Kernel, LaunchOn};
    #[doc(hidden)]
    pub use crate::macro_support as __tw;
    pub use crate::schedule::Schedule;
    pub use crate::tensor::{TensorMut, TensorRef};
    pub use half::{bf16, f16};
    pub use tilewright_macros::{device_fn, kernel};
}
