//! Pass: what does not change in a loop is computed before it.
//!
//! Inner loops come first, so that a statement can leave several. A loop may run no trip at all, so only what is safe to do
//! for nothing moves: pure operations, none of which can fail, and reads through views, which are checked against the bounds.
//! A read moves only out of a loop that writes nothing, since views may overlap. Statements inside an `if` stay: moving them
//! would do work that no trip may need.

use super::PassCx;
use super::replacements::Replacements;
use crate::ir::walk::{for_each_definition, stmt_writes_memory};
use crate::ir::{Block, Func, Stmt, StmtKind, Value};

/// Moves invariant statements out of loops, and replaces carried values that never change by their initial ones.
pub fn hoist_loop_invariants(func: &mut Func, _cx: &PassCx<'_>) {
    let mut replacements = Replacements::new(func);
    let mut body = std::mem::take(&mut func.body);
    let mut is_inside = vec![false; func.values.len()];
    block(&mut body, &mut replacements, &mut is_inside);
    replacements.resolve_block(&mut body);
    func.body = body;
}

fn block(block_: &mut Block, replacements: &mut Replacements, is_inside: &mut [bool]) {
    let mut out = Vec::with_capacity(block_.stmts.len());
    for mut stmt in std::mem::take(&mut block_.stmts) {
        for region in stmt.kind.regions_mut() {
            block(region, replacements, is_inside);
        }
        replace_unchanged(&stmt.kind, replacements);
        let writes = stmt_writes_memory(&stmt);
        if let StmtKind::For { .. } | StmtKind::While { .. } = stmt.kind {
            hoist(&mut stmt, writes, replacements, is_inside, &mut out);
        }
        out.push(stmt);
    }
    block_.stmts = out;
}

/// A carried value that each iteration hands on as it came is its initial value, inside the loop and after it.
fn replace_unchanged(kind: &StmtKind, replacements: &mut Replacements) {
    match kind {
        StmtKind::For { inits, body, results, .. } => {
            for (i, &init) in inits.iter().enumerate() {
                if replacements.resolve(body.yields[i]) == body.params[i + 1] {
                    replacements.replace(body.params[i + 1], init);
                    replacements.replace(results[i], init);
                }
            }
        }
        StmtKind::While { inits, cond, body, results } => {
            for (i, &init) in inits.iter().enumerate() {
                if replacements.resolve(body.yields[i]) == body.params[i] {
                    replacements.replace(body.params[i], init);
                    replacements.replace(cond.params[i], init);
                    replacements.replace(results[i], init);
                }
            }
        }
        StmtKind::Let { .. }
        | StmtKind::Store { .. }
        | StmtKind::Scatter { .. }
        | StmtKind::Print { .. }
        | StmtKind::Assert { .. }
        | StmtKind::If { .. } => {}
    }
}

/// Moves what it can from the loop's regions to `out`, in order: a statement follows those it reads.
fn hoist(
    stmt: &mut Stmt,
    writes: bool,
    replacements: &Replacements,
    is_inside: &mut [bool],
    out: &mut Vec<Stmt>,
) {
    let mut inside: Vec<Value> = Vec::new();
    for region in stmt.kind.regions() {
        for_each_definition(region, &mut |v| inside.push(v));
    }
    for v in &inside {
        is_inside[v.index()] = true;
    }
    for region in stmt.kind.regions_mut() {
        region.stmts.retain(|s| {
            let StmtKind::Let { value, op } = &s.kind else { return true };
            let is_movable = !(op.reads_memory() && writes);
            let reads_inside = op.operands().into_iter().any(|v| is_inside[replacements.resolve(v).index()]);
            if !is_movable || reads_inside {
                return true;
            }
            is_inside[value.index()] = false;
            out.push(s.clone());
            false
        });
    }
    for v in inside {
        is_inside[v.index()] = false;
    }
}
