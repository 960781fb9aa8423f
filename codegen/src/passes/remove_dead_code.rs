//! Pass: what no effect depends on is removed, values carried through loops for nobody included.
//!
//! Marks from the effects backwards, then sweeps. A carried value lives when something reads it after the loop or inside it
//! other than to compute its own successor, so the mark of a loop is repeated until it no longer grows.

use super::PassCx;
use crate::ir::{Block, Func, StmtKind, Value};

/// Removes statements, carried values and results that nothing with an effect reads.
pub fn remove_dead_code(func: &mut Func, _cx: &PassCx<'_>) {
    let mut live = Live { is_live: vec![false; func.values.len()], n_live: 0 };
    live.mark_block(&func.body);
    sweep(&mut func.body, &live);
}

struct Live {
    is_live: Vec<bool>,
    n_live: usize,
}

impl Live {
    fn has(&self, v: Value) -> bool {
        self.is_live[v.index()]
    }

    fn mark(&mut self, v: Value) {
        self.n_live += usize::from(!self.has(v));
        self.is_live[v.index()] = true;
    }

    fn mark_all(&mut self, values: &[Value]) {
        values.iter().for_each(|&v| self.mark(v));
    }

    fn is_needed(&self, kind: &StmtKind) -> bool {
        kind.has_effect() || kind.results().into_iter().any(|v| self.has(v))
    }

    fn mark_block(&mut self, block: &Block) {
        for stmt in block.stmts.iter().rev() {
            if self.is_needed(&stmt.kind) {
                self.mark_stmt(&stmt.kind);
            }
        }
    }

    /// Marks what a needed statement reads.
    fn mark_stmt(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Let { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. } => self.mark_all(&kind.operands()),
            StmtKind::If { cond, then_block, else_block, results } => {
                self.mark(*cond);
                for block in [then_block, else_block] {
                    for (i, &v) in block.yields.iter().enumerate() {
                        if self.has(results[i]) {
                            self.mark(v);
                        }
                    }
                    self.mark_block(block);
                }
            }
            StmtKind::For { lo, hi, step, inits, body, results } => {
                self.mark_all(&[*lo, *hi, *step]);
                self.until_stable(|live| {
                    for (i, &init) in inits.iter().enumerate() {
                        if live.has(results[i]) || live.has(body.params[i + 1]) {
                            live.mark_all(&[init, body.yields[i]]);
                        }
                    }
                    live.mark_block(body);
                });
            }
            StmtKind::While { inits, cond, body, results } => {
                self.mark_all(&cond.yields);
                self.until_stable(|live| {
                    for (i, &init) in inits.iter().enumerate() {
                        if [results[i], cond.params[i], body.params[i]].into_iter().any(|v| live.has(v)) {
                            live.mark_all(&[init, body.yields[i]]);
                        }
                    }
                    live.mark_block(body);
                    live.mark_block(cond);
                });
            }
        }
    }

    fn until_stable(&mut self, mut mark: impl FnMut(&mut Self)) {
        loop {
            let before = self.n_live;
            mark(self);
            if self.n_live == before {
                return;
            }
        }
    }
}

fn sweep(block: &mut Block, live: &Live) {
    block.stmts.retain_mut(|stmt| {
        if !live.is_needed(&stmt.kind) {
            return false;
        }
        drop_slots(&mut stmt.kind, live);
        stmt.kind.regions_mut().into_iter().for_each(|region| sweep(region, live));
        true
    });
}

/// Drops the carried values and results that nobody reads.
fn drop_slots(kind: &mut StmtKind, live: &Live) {
    match kind {
        StmtKind::For { inits, body, results, .. } => {
            let keep: Vec<bool> =
                (0..inits.len()).map(|i| live.has(results[i]) || live.has(body.params[i + 1])).collect();
            retain(inits, &keep);
            retain(results, &keep);
            retain(&mut body.yields, &keep);
            let mut carried = body.params.split_off(1);
            retain(&mut carried, &keep);
            body.params.append(&mut carried);
        }
        StmtKind::While { inits, cond, body, results } => {
            let keep: Vec<bool> = (0..inits.len())
                .map(|i| [results[i], cond.params[i], body.params[i]].into_iter().any(|v| live.has(v)))
                .collect();
            for list in [inits, results, &mut cond.params, &mut body.params, &mut body.yields] {
                retain(list, &keep);
            }
        }
        StmtKind::If { then_block, else_block, results, .. } => {
            let keep: Vec<bool> = results.iter().map(|&v| live.has(v)).collect();
            for list in [results, &mut then_block.yields, &mut else_block.yields] {
                retain(list, &keep);
            }
        }
        StmtKind::Let { .. }
        | StmtKind::Store { .. }
        | StmtKind::Scatter { .. }
        | StmtKind::Print { .. }
        | StmtKind::Assert { .. } => {}
    }
}

fn retain(list: &mut Vec<Value>, keep: &[bool]) {
    let mut keep = keep.iter();
    list.retain(|_| keep.next() == Some(&true));
}
