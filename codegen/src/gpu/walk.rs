//! The variables that a statement mentions, and its blocks.
//!
//! One table serves reading and renaming, so a new statement is listed once. A statement's own mentions are told from those of
//! its blocks: the walks here do not descend.

use super::func::{Block, GpuFunc, Var};
use super::ops::{MatrixOperand, Op, Operand, RegMap, Stmt, StmtKind};

/// How a statement mentions a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It reads it.
    Read,
    /// It gives it a value.
    Write,
    /// It reads it and changes it in place.
    Update,
}

macro_rules! mentions {
    ($of_stmt:ident, $of_op:ident, $of_operand:ident, $of_matrix:ident $(, $mutability:tt)?) => {
        /// Calls `f` on every variable that the statement mentions itself: reads first, then what it changes.
        pub fn $of_stmt(kind: &$($mutability)? StmtKind, f: &mut impl FnMut(&$($mutability)? Var, Use)) {
            use Use::{Read, Update, Write};
            match kind {
                StmtKind::Set { dst, op } => {
                    $of_op(op, &mut |v| f(v, Read));
                    f(dst, Write);
                }
                StmtKind::Store { view, offsets, coords: _, src, vector: _ } => {
                    f(view, Read);
                    for v in offsets { f(v, Read); }
                    f(src, Read);
                }
                StmtKind::Scatter { view, indices, src, mask } => {
                    f(view, Read);
                    for o in indices { $of_operand(o, &mut |v| f(v, Read)); }
                    $of_operand(src, &mut |v| f(v, Read));
                    if let Some(o) = mask { $of_operand(o, &mut |v| f(v, Read)); }
                }
                StmtKind::Print { label: _, values } => {
                    for v in values { f(v, Read); }
                }
                StmtKind::Assert { cond, message: _ } => f(cond, Read),
                StmtKind::For { iv, lo, hi, step, body: _ } => {
                    f(lo, Read);
                    f(hi, Read);
                    f(step, Read);
                    f(iv, Write);
                }
                StmtKind::While { test: _, cond, body: _ } => f(cond, Read),
                StmtKind::If { cond, then_block: _, else_block: _ } => f(cond, Read),
                StmtKind::ToShared { src, buffer: _, slot, coords: _, vector: _ } => {
                    f(src, Read);
                    if let Some(v) = slot { f(v, Read); }
                }
                StmtKind::CopyAsync {
                    view, offsets, row_axis: _, column_axis: _, buffer: _, slot, bytes: _, guard,
                } => {
                    f(view, Read);
                    for v in offsets { f(v, Read); }
                    if let Some(v) = slot { f(v, Read); }
                    if let Some(v) = guard { f(v, Read); }
                }
                StmtKind::Advance { slot, phase, slots: _ } => {
                    f(slot, Update);
                    if let Some(v) = phase { f(v, Update); }
                }
                StmtKind::DotShared { acc, a: _, a_k_rows: _, b: _, b_k_rows: _, k: _, a_slot, b_slot } => {
                    if let Some(v) = a_slot { f(v, Read); }
                    if let Some(v) = b_slot { f(v, Read); }
                    f(acc, Update);
                }
                StmtKind::DotRows { acc, a, b, lanes: _, m: _, strides: _ } => {
                    f(a, Read);
                    f(b, Read);
                    f(acc, Update);
                }
                StmtKind::Mma { acc, a, b, dtype: _, shape: _, warps: _, extents: _, a_rows: _, b_rows: _ } => {
                    $of_matrix(a, &mut |v| f(v, Read));
                    $of_matrix(b, &mut |v| f(v, Read));
                    f(acc, Update);
                }
                StmtKind::ExpectBytes { barrier: _, slot, bytes: _ } => f(slot, Read),
                StmtKind::WaitBarrier { barrier: _, slot, phase } => {
                    if let Some(v) = slot { f(v, Read); }
                    f(phase, Read);
                }
                StmtKind::ArriveBarrier { barrier: _, slot, by: _ } => {
                    if let Some(v) = slot { f(v, Read); }
                }
                StmtKind::TmaLoad { map: _, coords, buffer: _, slot, panel: _, fills: _, barrier: _ } => {
                    for v in coords { f(v, Read); }
                    if let Some(v) = slot { f(v, Read); }
                }
                StmtKind::TmaStore { map: _, coords, buffer: _, panel: _, row: _ } => {
                    for v in coords { f(v, Read); }
                }
                StmtKind::Wgmma { acc, a, b, dtype: _, groups: _, extents: _, accumulate } => {
                    $of_matrix(a, &mut |v| f(v, Read));
                    $of_matrix(b, &mut |v| f(v, Read));
                    if let Some(v) = accumulate { f(v, Read); }
                    f(acc, Update);
                }
                StmtKind::WgmmaWait { pending: _, done } => {
                    for v in done { f(v, Update); }
                }
                StmtKind::Settle { values } => {
                    for v in values { f(v, Read); }
                }
                StmtKind::StoreMatrix { src, column: _, buffer: _, panel: _ } => f(src, Read),
                StmtKind::Barrier { .. }
                | StmtKind::CommitCopies
                | StmtKind::WaitCopies { .. }
                | StmtKind::Roles(_)
                | StmtKind::InitBarriers
                | StmtKind::ClusterSync
                | StmtKind::WaitStores { .. }
                | StmtKind::FenceAsync
                | StmtKind::WgmmaFence
                | StmtKind::WgmmaCommit
                | StmtKind::Turn { .. }
                | StmtKind::GridWait
                | StmtKind::GridRelease => {}
            }
        }

        /// Calls `f` on every variable that the operation reads.
        pub fn $of_op(op: &$($mutability)? Op, f: &mut impl FnMut(&$($mutability)? Var)) {
            match op {
                Op::Const(_)
                | Op::ProgramId(_)
                | Op::NumPrograms(_)
                | Op::ClusterId
                | Op::NumClusters
                | Op::ClusterRank
                | Op::Coord(_) => {}
                Op::Copy(a) | Op::Unary(_, a) | Op::Cast(a) => $of_operand(a, f),
                Op::Binary(_, a, b) => {
                    $of_operand(a, f);
                    $of_operand(b, f);
                }
                Op::Fma(a, b, c) | Op::Select(a, b, c) => {
                    $of_operand(a, f);
                    $of_operand(b, f);
                    $of_operand(c, f);
                }
                Op::ViewDim(v, _) | Op::ViewPermute(v, _) => f(v),
                Op::ViewSelect(v, _, at) => {
                    f(v);
                    f(at);
                }
                Op::ViewSlice(v, _, start, len) => {
                    f(v);
                    f(start);
                    f(len);
                }
                Op::Load { view, offsets, coords: _, pad, vector: _ } | Op::LoadPoint { view, offsets, pad } => {
                    f(view);
                    for v in offsets { f(v); }
                    f(pad);
                }
                Op::Gather { view, indices, mask, pad } => {
                    f(view);
                    for o in indices { $of_operand(o, f); }
                    if let Some(o) = mask { $of_operand(o, f); }
                    f(pad);
                }
                Op::Reduce { op: _, src, axis: _, scratch: _ }
                | Op::ArgReduce { op: _, src, axis: _, values: _, positions: _ }
                | Op::SumPartials { src, scratch: _ } => f(src),
                Op::FromShared { buffer: _, slot, coords: _ } => {
                    if let Some(v) = slot { f(v); }
                }
            }
        }

        fn $of_operand(operand: &$($mutability)? Operand, f: &mut impl FnMut(&$($mutability)? Var)) {
            let Operand { var, regs: RegMap::Identity | RegMap::Table(_) } = operand;
            f(var);
        }

        fn $of_matrix(operand: &$($mutability)? MatrixOperand, f: &mut impl FnMut(&$($mutability)? Var)) {
            match operand {
                MatrixOperand::Registers(v) => f(v),
                MatrixOperand::Shared { buffer: _, slot, k_rows: _ } => {
                    if let Some(v) = slot { f(v); }
                }
            }
        }
    };
}
mentions!(for_each_mention, for_each_read_of_op, of_operand, of_matrix);
mentions!(for_each_mention_mut, for_each_read_of_op_mut, of_operand_mut, of_matrix_mut, mut);

/// Every statement without blocks, as a pattern.
macro_rules! leaf {
    () => {
        StmtKind::Set { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. }
            | StmtKind::Barrier { .. }
            | StmtKind::ToShared { .. }
            | StmtKind::CopyAsync { .. }
            | StmtKind::CommitCopies
            | StmtKind::WaitCopies { .. }
            | StmtKind::Advance { .. }
            | StmtKind::DotShared { .. }
            | StmtKind::DotRows { .. }
            | StmtKind::Mma { .. }
            | StmtKind::InitBarriers
            | StmtKind::ClusterSync
            | StmtKind::ExpectBytes { .. }
            | StmtKind::WaitBarrier { .. }
            | StmtKind::ArriveBarrier { .. }
            | StmtKind::TmaLoad { .. }
            | StmtKind::TmaStore { .. }
            | StmtKind::WaitStores { .. }
            | StmtKind::FenceAsync
            | StmtKind::WgmmaFence
            | StmtKind::Wgmma { .. }
            | StmtKind::WgmmaCommit
            | StmtKind::WgmmaWait { .. }
            | StmtKind::Settle { .. }
            | StmtKind::Turn { .. }
            | StmtKind::StoreMatrix { .. }
            | StmtKind::GridWait
            | StmtKind::GridRelease
    };
}

/// The blocks of a statement, in text order.
#[must_use]
pub fn blocks(kind: &StmtKind) -> Vec<&Block> {
    match kind {
        StmtKind::For { body, .. } => vec![body],
        StmtKind::While { test, body, .. } => vec![test, body],
        StmtKind::If { then_block, else_block, .. } => vec![then_block, else_block],
        StmtKind::Roles(roles) => roles.iter().map(|r| &r.body).collect(),
        leaf!() => Vec::new(),
    }
}

/// The blocks of a statement, in text order, to change.
pub fn blocks_mut(kind: &mut StmtKind) -> Vec<&mut Block> {
    match kind {
        StmtKind::For { body, .. } => vec![body],
        StmtKind::While { test, body, .. } => vec![test, body],
        StmtKind::If { then_block, else_block, .. } => vec![then_block, else_block],
        StmtKind::Roles(roles) => roles.iter_mut().map(|r| &mut r.body).collect(),
        leaf!() => Vec::new(),
    }
}

/// Calls `f` on every statement of a block and its inner ones, outer before inner.
pub(crate) fn for_each_stmt<'a>(block: &'a Block, f: &mut impl FnMut(&'a Stmt)) {
    for stmt in &block.stmts {
        f(stmt);
        for inner in blocks(&stmt.kind) {
            for_each_stmt(inner, f);
        }
    }
}

/// Replaces every mention of a variable.
pub(crate) fn map_vars(func: &mut GpuFunc, f: impl Fn(Var) -> Var) {
    fn block(block_: &mut Block, f: &impl Fn(Var) -> Var) {
        for stmt in &mut block_.stmts {
            for_each_mention_mut(&mut stmt.kind, &mut |v, _| *v = f(*v));
            blocks_mut(&mut stmt.kind).into_iter().for_each(|b| block(b, f));
        }
    }
    func.params.iter_mut().for_each(|p| p.var = f(p.var));
    func.maps.iter_mut().for_each(|m| m.param = f(m.param));
    block(&mut func.body, &f);
}
