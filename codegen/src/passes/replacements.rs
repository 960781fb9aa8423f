//! Values that stand for others: collected while a pass walks, applied as it goes.

use crate::ir::walk::for_each_use_mut;
use crate::ir::{Block, Func, StmtKind, Value};

/// Which value to read instead of another. Chains are followed, and never form a cycle, because a value is only replaced by
/// one defined before it.
pub(super) struct Replacements {
    /// `instead[v]` is `v` itself where nothing replaces it.
    instead: Vec<Value>,
}

impl Replacements {
    pub(super) fn new(func: &Func) -> Self {
        Self { instead: (0u32..).take(func.values.len()).map(Value).collect() }
    }

    /// What to read for `v`.
    pub(super) fn resolve(&self, mut v: Value) -> Value {
        while let Some(&next) = self.instead.get(v.index()).filter(|&&next| next != v) {
            v = next;
        }
        v
    }

    /// From now on `old` reads as `new`.
    pub(super) fn replace(&mut self, old: Value, new: Value) {
        self.instead[old.index()] = self.resolve(new);
    }

    pub(super) fn resolve_operands(&self, kind: &mut StmtKind) {
        kind.for_each_operand_mut(|v| *v = self.resolve(*v));
    }

    pub(super) fn resolve_yields(&self, block: &mut Block) {
        for v in &mut block.yields {
            *v = self.resolve(*v);
        }
    }

    /// Applies everything to the whole of `block`.
    pub(super) fn resolve_block(&self, block: &mut Block) {
        for_each_use_mut(block, &mut |v| *v = self.resolve(*v));
    }
}
