//! The author's variable names on IR values, found by source location.
//!
//! An operation is located where the author wrote it, so the value of `let a = ...` is the last one of each run of values
//! located within the initialiser. Names serve readers of the IR only.

use crate::diag::Loc;
use crate::ir::Func;

/// An author's variable and the range of its initialiser: (line, column) from 1, the end exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LetName {
    /// The variable.
    pub name: &'static str,
    /// First character of the initialiser.
    pub start: (u32, u32),
    /// One past its last character.
    pub end: (u32, u32),
}

impl LetName {
    fn contains(&self, at: (u32, u32)) -> bool {
        self.start <= at && at < self.end
    }
}

/// Names values after the variables whose initialisers in `file` define them.
pub(super) fn name_values(func: &mut Func, file: &str, lets: &[LetName]) {
    let place = |loc: &Loc| (loc.file == file).then_some((loc.line, loc.column));
    let places: Vec<Option<(u32, u32)>> = func.values.iter().map(|v| place(&v.loc)).collect();
    let innermost = |at: (u32, u32)| lets.iter().rposition(|l| l.contains(at));
    for (index, binding) in lets.iter().enumerate() {
        let inside = |i: usize| places.get(i).copied().flatten().is_some_and(|at| binding.contains(at));
        for (i, value) in func.values.iter_mut().enumerate() {
            let ends_run = inside(i) && !inside(i + 1);
            if ends_run && value.name.is_none() && places[i].and_then(innermost) == Some(index) {
                value.name = Some(binding.name.to_owned());
            }
        }
    }
}
