//! What the expansion of `#[kernel]` names, in one place; not for authors.

pub use std::any::type_name_of_val;

pub use half::{bf16, f16};

pub use crate::dsl::control::{for_loop, host_bool, host_iter, if_else, while_loop};
pub use crate::dsl::dim::{Var, dim};
pub use crate::dsl::memory::{param_scalar, param_view, param_view_mut};
pub use crate::dsl::operators::{cmp_eq, cmp_ge, cmp_gt, cmp_le, cmp_lt, cmp_ne, logic_and, logic_or};
pub use crate::error::LaunchError;
pub use crate::ir::ViewFacts;
pub use crate::kernel::{
    Kernel, KernelParam, KeyHasher, Launch, LaunchOn, LetName, Source, hash_comptime, launch_key,
    specialise_all, tunable,
};
pub use crate::schedule::{Knob, Rule, Schedule, Space, Tuning};
pub use crate::tensor::{TensorMut, TensorRef, scalar_arg};
