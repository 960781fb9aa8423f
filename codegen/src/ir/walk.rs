//! Walks over the statement tree, and the renumbering of values.
//!
//! Every walk goes in text order: a statement's results, its operands, then its regions. Handles printed in a dump therefore
//! ascend down the page after [`renumber_values`], which each pass is followed by.

use super::func::{Block, Func, Stmt, StmtKind, Value};

/// Calls `f` on every statement of `block` and its regions, a statement before those inside it.
pub fn for_each_stmt<'a>(block: &'a Block, f: &mut impl FnMut(&'a Stmt)) {
    for stmt in &block.stmts {
        f(stmt);
        for region in stmt.kind.regions() {
            for_each_stmt(region, f);
        }
    }
}

/// Calls `f` on every value that `block` and its regions read: operands and yields.
pub fn for_each_use(block: &Block, f: &mut impl FnMut(Value)) {
    for stmt in &block.stmts {
        stmt.kind.operands().into_iter().for_each(&mut *f);
        for region in stmt.kind.regions() {
            for_each_use(region, f);
        }
    }
    block.yields.iter().copied().for_each(f);
}

/// Calls `f` on every value that `block` and its regions define: region parameters and results.
pub fn for_each_definition(block: &Block, f: &mut impl FnMut(Value)) {
    block.params.iter().copied().for_each(&mut *f);
    for stmt in &block.stmts {
        stmt.kind.results().into_iter().for_each(&mut *f);
        for region in stmt.kind.regions() {
            for_each_definition(region, f);
        }
    }
}

/// Calls `f` on every value that `block` and its regions read, to replace it.
pub fn for_each_use_mut(block: &mut Block, f: &mut impl FnMut(&mut Value)) {
    for stmt in &mut block.stmts {
        stmt.kind.for_each_operand_mut(&mut *f);
        for region in stmt.kind.regions_mut() {
            for_each_use_mut(region, f);
        }
    }
    block.yields.iter_mut().for_each(f);
}

/// Calls `f` on every definition in `block` and its regions, to replace its handle.
fn for_each_definition_mut(block: &mut Block, f: &mut impl FnMut(&mut Value)) {
    block.params.iter_mut().for_each(&mut *f);
    for stmt in &mut block.stmts {
        match &mut stmt.kind {
            StmtKind::Let { value, .. } => f(value),
            StmtKind::For { results, .. }
            | StmtKind::While { results, .. }
            | StmtKind::If { results, .. } => {
                results.iter_mut().for_each(&mut *f);
            }
            StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. } => {}
        }
        for region in stmt.kind.regions_mut() {
            for_each_definition_mut(region, f);
        }
    }
}

/// Replaces every mention of a value, definitions included.
pub(crate) fn map_values(func: &mut Func, mut f: impl FnMut(Value) -> Value) {
    for param in &mut func.params {
        param.value = f(param.value);
    }
    for_each_definition_mut(&mut func.body, &mut |v| *v = f(*v));
    for_each_use_mut(&mut func.body, &mut |v| *v = f(*v));
}

/// Whether `block`, its regions included, writes device memory.
#[must_use]
pub fn writes_memory(block: &Block) -> bool {
    block.stmts.iter().any(stmt_writes_memory)
}

/// Whether `stmt`, its regions included, writes device memory.
#[must_use]
pub fn stmt_writes_memory(stmt: &Stmt) -> bool {
    matches!(stmt.kind, StmtKind::Store { .. } | StmtKind::Scatter { .. })
        || stmt.kind.regions().into_iter().any(writes_memory)
}

/// Renumbers the values in text order and drops those that are no longer defined, so that handles are dense.
///
/// # Panics
/// If the function reads a value that it does not define: it should be verified.
pub fn renumber_values(func: &mut Func) {
    let mut order = Vec::with_capacity(func.values.len());
    order.extend(func.params.iter().map(|p| p.value));
    for_each_definition(&func.body, &mut |v| order.push(v));
    let mut new_handle = vec![None; func.values.len()];
    let mut values = Vec::with_capacity(order.len());
    for old in order {
        new_handle[old.index()] =
            Some(Value(u32::try_from(values.len()).expect("the arena should fit in 32 bits")));
        values.push(func.values[old.index()].clone());
    }
    map_values(func, |v| new_handle[v.index()].expect("a value read should be defined"));
    func.values = values;
}
