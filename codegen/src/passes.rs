//! The pipeline of the tile level: an ordered list of plain functions, and the hook that watches or replaces each stage.
//!
//! Each pass takes a verified function and leaves a verified one that computes the same values, bit for bit, in the same
//! order of effects. Debug builds verify before and after every pass; a function handed in by the observer, which a person
//! may have edited, is verified in every build.

mod evaluate;
mod fold_constants;
mod hoist_loop_invariants;
mod remove_common_subexpressions;
mod remove_dead_code;
mod replacements;

use crate::diag::Diagnostics;
use crate::ir::walk::renumber_values;
use crate::ir::{Func, verify};
pub use fold_constants::fold_constants;
pub use hoist_loop_invariants::hoist_loop_invariants;
pub use remove_common_subexpressions::remove_common_subexpressions;
pub use remove_dead_code::remove_dead_code;

/// Watches the stages: called after each with its name and the function, returns a function to go on with instead.
pub type Observer<'a> = dyn Fn(&str, &Func) -> Option<Func> + 'a;

/// What a pass may know beside the function.
#[derive(Clone, Copy, Default)]
pub struct PassCx<'a> {
    /// Called with stage `input` before the first pass and with each pass's name after it.
    pub observer: Option<&'a Observer<'a>>,
}

/// One stage of the pipeline.
pub struct Pass {
    /// Name in dumps: the function's, with a number from the second time on.
    pub name: &'static str,
    /// Why the stage stands where it does.
    pub why_here: &'static str,
    /// The pass.
    pub run: fn(&mut Func, &PassCx<'_>),
}

/// The passes in order.
pub const PIPELINE: &[Pass] = &[
    Pass {
        name: "fold_constants",
        why_here: "first, so that comptime branches and shape arithmetic are gone before anything is compared or moved",
        run: fold_constants,
    },
    Pass {
        name: "remove_common_subexpressions",
        why_here: "after folding, which puts constants last and index sums into one form, so that equal things look equal",
        run: remove_common_subexpressions,
    },
    Pass {
        name: "hoist_loop_invariants",
        why_here: "after sharing, so that one copy is moved, and with it everything that reads it",
        run: hoist_loop_invariants,
    },
    Pass {
        name: "remove_common_subexpressions_2",
        why_here: "statements hoisted from different loops now stand side by side",
        run: remove_common_subexpressions,
    },
    Pass {
        name: "fold_constants_2",
        why_here: "a carried value that never changes became its initial value, often a constant",
        run: fold_constants,
    },
    Pass {
        name: "remove_dead_code",
        why_here: "last, because every pass before leaves what it replaced behind",
        run: remove_dead_code,
    },
];

/// Runs the pipeline.
///
/// # Errors
/// What the verifier finds in `func` as handed in, or in a function that the observer put in its place.
///
/// # Panics
/// In debug builds, if a pass leaves a function that does not verify.
pub fn run_pipeline(func: &mut Func, cx: &PassCx<'_>) -> Result<(), Diagnostics> {
    verify(func)?;
    renumber_values(func);
    observe("input", func, cx)?;
    for pass in PIPELINE {
        (pass.run)(func, cx);
        if cfg!(debug_assertions)
            && let Some(text) = crate::ir::verify::render_errors(func)
        {
            panic!("{} should leave a function that verifies:\n{text}", pass.name);
        }
        renumber_values(func);
        observe(pass.name, func, cx)?;
    }
    Ok(())
}

/// Shows a stage to the observer, and takes over what it answers.
///
/// # Errors
/// What the verifier finds in the function taken over.
pub fn observe(stage: &str, func: &mut Func, cx: &PassCx<'_>) -> Result<(), Diagnostics> {
    if let Some(mut other) = cx.observer.and_then(|observer| observer(stage, func)) {
        verify(&other)?;
        renumber_values(&mut other);
        *func = other;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::ir::{parse, print};

    const TEXT: &str = "kernel @k(%x.0: view_mut<i32, 1>, %n.1: i32) {
        %2: i32 = const 1
        %3: i32 = add %n.1, %2
        %4: i32 = add %n.1, %2
        %5: i32 = mul %3, %4
        store %x.0[%n.1] = %5
    }";

    #[test]
    fn the_observer_sees_every_stage_in_order() {
        let stages = RefCell::new(Vec::new());
        let observer = |stage: &str, func: &Func| {
            stages.borrow_mut().push((stage.to_owned(), print(func)));
            None
        };
        let mut func = parse(TEXT).expect("the text should parse");
        run_pipeline(&mut func, &PassCx { observer: Some(&observer) }).expect("the function should be legal");
        let stages = stages.into_inner();
        let names: Vec<&str> = stages.iter().map(|(name, _)| name.as_str()).collect();
        let wanted: Vec<&str> =
            std::iter::once("input").chain(PIPELINE.iter().map(|pass| pass.name)).collect();
        assert_eq!(names, wanted);
        assert_eq!(stages.last().map(|(_, text)| text.clone()), Some(print(&func)));
    }

    #[test]
    fn the_observer_replaces_a_stage() {
        let edited = "kernel @k(%x.0: view_mut<i32, 1>, %n.1: i32) { store %x.0[%n.1] = %n.1 }";
        let observer = |stage: &str, _: &Func| {
            (stage == "fold_constants").then(|| parse(edited).expect("the edit should parse"))
        };
        let mut func = parse(TEXT).expect("the text should parse");
        run_pipeline(&mut func, &PassCx { observer: Some(&observer) }).expect("the edit should be legal");
        assert_eq!(func, parse(edited).expect("the edit should parse"));
    }

    #[test]
    fn an_edit_that_is_not_legal_is_refused() {
        let edited = "kernel @k(%x.0: view<i32, 1>, %n.1: i32) { store %x.0[%n.1] = %n.1 }";
        let observer = |_: &str, _: &Func| parse(edited).ok();
        let mut func = parse(TEXT).expect("the text should parse");
        let errors = run_pipeline(&mut func, &PassCx { observer: Some(&observer) })
            .expect_err("a view is not mutable");
        assert_eq!(errors.0[0].message, "store to `x`, which is view<i32, 1>");
    }
}
