//! The pipeline of the GPU level: an ordered list, and the hook that watches or replaces each stage.
//!
//! Debug builds verify before and after every pass, as far as the function has come by then; a function handed in by the
//! observer, which a person may have edited, is verified in every build.

mod accesses;
mod insert_barriers;
mod plan_shared_memory;

use super::func::GpuFunc;
use super::verify::{Stage, render_errors_at, verify_stage};
use crate::diag::Diagnostics;
use crate::target::Arch;
pub use insert_barriers::insert_barriers;
pub use plan_shared_memory::plan_shared_memory;

/// Watches the stages: called after each with its name and the function, returns a function to go on with instead.
pub type Observer<'a> = dyn Fn(&str, &GpuFunc) -> Option<GpuFunc> + 'a;

/// What the pipeline may know beside the function.
#[derive(Clone, Copy, Default)]
pub struct PassCx<'a> {
    /// Called with stage `gpu:lowered` before the first pass and with `gpu:` and each pass's name after it.
    pub observer: Option<&'a Observer<'a>>,
}

/// One stage of the pipeline.
pub struct Pass {
    /// Name in dumps: `gpu:` and the function's.
    pub name: &'static str,
    /// Why the stage stands where it does.
    pub why_here: &'static str,
    /// The pass.
    pub run: fn(&mut GpuFunc, Arch) -> Result<(), Diagnostics>,
    /// How far it brings the function.
    pub leaves: Stage,
}

/// The name of the stage before the first pass.
pub const INPUT: &str = "gpu:lowered";

/// The passes in order.
pub const PIPELINE: &[Pass] = &[
    Pass {
        name: "gpu:plan_shared_memory",
        why_here: "first, because which accesses must be kept apart depends on which buffers share bytes",
        run: plan_shared_memory,
        leaves: Stage::Placed,
    },
    Pass {
        name: "gpu:insert_barriers",
        why_here: "last, when every access to shared memory stands where it will",
        run: |func, _| {
            insert_barriers(func);
            Ok(())
        },
        leaves: Stage::Complete,
    },
];

/// Runs the pipeline.
///
/// # Errors
/// If shared memory does not fit; what the verifier finds in a function that the observer put in the place of another, and in
/// debug builds in `func` as handed in.
///
/// # Panics
/// In debug builds, if a pass leaves a function that does not verify.
pub fn run(func: &mut GpuFunc, target: Arch, cx: &PassCx<'_>) -> Result<(), Diagnostics> {
    if cfg!(debug_assertions) {
        verify_stage(func, target, Stage::Lowered)?;
    }
    observe(INPUT, func, target, Stage::Lowered, cx)?;
    for pass in PIPELINE {
        (pass.run)(func, target)?;
        if cfg!(debug_assertions)
            && let Some(text) = render_errors_at(func, target, pass.leaves)
        {
            panic!("{} should leave a function that verifies:\n{text}", pass.name);
        }
        observe(pass.name, func, target, pass.leaves, cx)?;
    }
    Ok(())
}

/// Shows a stage to the observer, and takes over what it answers.
fn observe(
    name: &str,
    func: &mut GpuFunc,
    target: Arch,
    stage: Stage,
    cx: &PassCx<'_>,
) -> Result<(), Diagnostics> {
    if let Some(other) = cx.observer.and_then(|observer| observer(name, func)) {
        verify_stage(&other, target, stage)?;
        *func = other;
    }
    Ok(())
}
