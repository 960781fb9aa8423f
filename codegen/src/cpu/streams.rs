//! Which parameters a kernel only writes: their stores may pass by the caches when the output is larger than they are.
//!
//! An ordinary store first reads the line it changes, and leaves it in a cache from which a large output is evicted before anyone
//! reads it; a store past the caches saves a third of the traffic of a kernel that reads as much as it writes. It would cost
//! where the kernel reads the output again, so a parameter counts only if nothing reads it.

use super::uses::Uses;
use crate::ir::{Block, Func, Op, Stmt, StmtKind, Type, Value};

/// Per value: whether it is a view parameter of `func` that is stored to and never read.
pub(crate) fn write_only(func: &Func, uses: &Uses<'_>) -> Vec<bool> {
    let mut facts =
        Facts { func, uses, stored: vec![false; func.values.len()], read: vec![false; func.values.len()] };
    facts.block(&func.body);
    facts.stored.iter().zip(&facts.read).map(|(&stored, &read)| stored && !read).collect()
}

struct Facts<'f> {
    func: &'f Func,
    uses: &'f Uses<'f>,
    stored: Vec<bool>,
    read: Vec<bool>,
}

impl Facts<'_> {
    /// The view that `v` is a part of.
    fn root(&self, mut v: Value) -> usize {
        while let Some((Op::ViewSelect(a, ..) | Op::ViewSlice(a, ..) | Op::ViewPermute(a, ..), _)) =
            self.uses.defs[v.index()]
        {
            v = *a;
        }
        v.index()
    }

    fn mark_read(&mut self, v: Value) {
        if matches!(self.func.ty(v), Type::View(_)) {
            let root = self.root(v);
            self.read[root] = true;
        }
    }

    fn block(&mut self, block: &Block) {
        block.stmts.iter().for_each(|stmt| self.stmt(stmt));
        // Where a carried view comes from is no longer known behind the region.
        block.yields.iter().for_each(|&v| self.mark_read(v));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Let { op, .. } if op.reads_memory() => {
                op.operands().into_iter().for_each(|v| self.mark_read(v));
            }
            StmtKind::Store { view, .. } => {
                let root = self.root(*view);
                self.stored[root] = true;
            }
            // Scattered elements rarely fill lines.
            StmtKind::Scatter { view, .. } => self.mark_read(*view),
            StmtKind::For { inits, body, .. } => {
                inits.iter().for_each(|&v| self.mark_read(v));
                self.block(body);
            }
            StmtKind::While { inits, cond, body, .. } => {
                inits.iter().for_each(|&v| self.mark_read(v));
                self.block(cond);
                self.block(body);
            }
            StmtKind::If { then_block, else_block, .. } => {
                self.block(then_block);
                self.block(else_block);
            }
            StmtKind::Let { .. } | StmtKind::Print { .. } | StmtKind::Assert { .. } => {}
        }
    }
}
