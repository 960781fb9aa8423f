//! Pass: an operation written twice is computed once.
//!
//! A copy is reused where it is visible: in its own block after it, and in the regions inside. A read of memory is reused
//! only while nothing can have been written since, so each carries the number of the span between writes it was done in.

use std::collections::HashMap;

use super::PassCx;
use super::replacements::Replacements;
use crate::ir::walk::stmt_writes_memory;
use crate::ir::{Block, Func, Op, StmtKind, Value};

/// Replaces an operation by an equal one that is visible at its place.
pub fn remove_common_subexpressions(func: &mut Func, _cx: &PassCx<'_>) {
    let mut body = std::mem::take(&mut func.body);
    let mut sharer = Sharer { replacements: Replacements::new(func), func, known: HashMap::new(), span: 0 };
    sharer.block(&mut body);
    func.body = body;
}

struct Sharer<'a> {
    func: &'a mut Func,
    replacements: Replacements,
    /// Operations visible here, and the value of each. Only looked up, never iterated: the order of a hash map must not show.
    known: HashMap<(Op, u32), Value>,
    /// Number of the span between writes; 0 also marks operations that read no memory.
    span: u32,
}

impl Sharer<'_> {
    fn block(&mut self, block: &mut Block) {
        let mut added = Vec::new();
        let stmts = std::mem::take(&mut block.stmts);
        block.stmts = stmts
            .into_iter()
            .filter_map(|mut stmt| {
                self.replacements.resolve_operands(&mut stmt.kind);
                if let StmtKind::Let { value, op } = &stmt.kind {
                    let key = (op.clone(), if op.reads_memory() { self.span } else { 0 });
                    if let Some(&earlier) = self.known.get(&key) {
                        self.share(*value, earlier);
                        return None;
                    }
                    self.known.insert(key.clone(), *value);
                    added.push(key);
                    return Some(stmt);
                }
                let writes = stmt_writes_memory(&stmt);
                let is_loop = matches!(stmt.kind, StmtKind::For { .. } | StmtKind::While { .. });
                let entry = self.span;
                for region in stmt.kind.regions_mut() {
                    // A branch begins where the statement does, an iteration after the writes of the one before. What the
                    // region learns is forgotten at its end, so that its numbers may be given out again.
                    self.span = entry + u32::from(writes && is_loop);
                    self.block(region);
                }
                self.span = entry + u32::from(writes);
                Some(stmt)
            })
            .collect();
        self.replacements.resolve_yields(block);
        for key in added {
            self.known.remove(&key);
        }
    }

    fn share(&mut self, later: Value, earlier: Value) {
        self.replacements.replace(later, earlier);
        let name = self.func.values[later.index()].name.take();
        let slot = &mut self.func.values[earlier.index()].name;
        if slot.is_none() {
            *slot = name;
        }
    }
}
