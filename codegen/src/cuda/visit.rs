//! Which variables a statement reads and writes, itself and not its inner blocks.

use crate::gpu::{Block, MatrixOperand, Op, Operand, Stmt, StmtKind, Var};

/// What a statement does to a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Reads it.
    Read,
    /// Gives it a value.
    Write,
    /// Changes the value it has.
    Update,
}

/// Calls `f` for each variable of an operation, in order.
pub(crate) fn for_each_read(op: &Op, f: &mut dyn FnMut(Var)) {
    let all = |vars: &[Var], f: &mut dyn FnMut(Var)| vars.iter().for_each(|&v| f(v));
    let operands = |o: &[Operand], f: &mut dyn FnMut(Var)| o.iter().for_each(|o| f(o.var));
    match op {
        Op::Const(_) | Op::ProgramId(_) | Op::NumPrograms(_) | Op::Coord(_) => {}
        Op::Copy(a) | Op::Unary(_, a) | Op::Cast(a) => f(a.var),
        Op::Binary(_, a, b) => {
            f(a.var);
            f(b.var);
        }
        Op::Fma(a, b, c) | Op::Select(a, b, c) => {
            f(a.var);
            f(b.var);
            f(c.var);
        }
        Op::ViewDim(v, _) | Op::ViewPermute(v, _) => f(*v),
        Op::ViewSelect(v, _, i) => all(&[*v, *i], f),
        Op::ViewSlice(v, _, start, len) => all(&[*v, *start, *len], f),
        Op::Load { view, offsets, coords: _, pad, vector: _ } | Op::LoadPoint { view, offsets, pad } => {
            f(*view);
            all(offsets, f);
            f(*pad);
        }
        Op::Gather { view, indices, mask, pad } => {
            f(*view);
            operands(indices, f);
            mask.iter().for_each(|m| f(m.var));
            f(*pad);
        }
        Op::Reduce { src, .. } | Op::ArgReduce { src, .. } | Op::SumPartials { src, .. } => f(*src),
        Op::FromShared { buffer: _, slot, coords: _ } => slot.iter().for_each(|&s| f(s)),
    }
}

/// Calls `f` for each variable that the statement itself mentions, in order.
pub(crate) fn for_each_var(kind: &StmtKind, f: &mut dyn FnMut(Var, Access)) {
    use Access::{Read, Update, Write};
    let all = |vars: &[Var], f: &mut dyn FnMut(Var, Access)| vars.iter().for_each(|&v| f(v, Read));
    let maybe = |v: &Option<Var>, f: &mut dyn FnMut(Var, Access)| v.iter().for_each(|&v| f(v, Read));
    let matrix = |m: &MatrixOperand, f: &mut dyn FnMut(Var, Access)| match m {
        MatrixOperand::Registers(v) => f(*v, Read),
        MatrixOperand::Shared { slot, .. } => slot.iter().for_each(|&s| f(s, Read)),
    };
    match kind {
        StmtKind::Set { dst, op } => {
            for_each_read(op, &mut |v| f(v, Read));
            f(*dst, Write);
        }
        StmtKind::Store { view, offsets, coords: _, src, vector: _ } => {
            f(*view, Read);
            all(offsets, f);
            f(*src, Read);
        }
        StmtKind::Scatter { view, indices, src, mask } => {
            f(*view, Read);
            indices.iter().for_each(|o| f(o.var, Read));
            f(src.var, Read);
            mask.iter().for_each(|o| f(o.var, Read));
        }
        StmtKind::Print { label: _, values } => all(values, f),
        StmtKind::Assert { cond, message: _ } => f(*cond, Read),
        StmtKind::For { iv: _, lo, hi, step, body: _ } => all(&[*lo, *hi, *step], f),
        StmtKind::While { .. } => {}
        StmtKind::If { cond, .. } => f(*cond, Read),
        StmtKind::ToShared { src, buffer: _, slot, coords: _, vector: _ } => {
            f(*src, Read);
            maybe(slot, f);
        }
        StmtKind::CopyAsync { view, offsets, slot, guard, .. } => {
            f(*view, Read);
            all(offsets, f);
            maybe(slot, f);
            maybe(guard, f);
        }
        StmtKind::Advance { slot, phase, slots: _ } => {
            f(*slot, Update);
            phase.iter().for_each(|&p| f(p, Update));
        }
        StmtKind::DotShared { acc, a_slot, b_slot, .. } => {
            maybe(a_slot, f);
            maybe(b_slot, f);
            f(*acc, Update);
        }
        StmtKind::DotRows { acc, a, b, .. } => {
            all(&[*a, *b], f);
            f(*acc, Update);
        }
        StmtKind::Mma { acc, a, b, .. } => {
            matrix(a, f);
            matrix(b, f);
            f(*acc, Update);
        }
        StmtKind::Wgmma { acc, a, b, accumulate, .. } => {
            matrix(a, f);
            matrix(b, f);
            maybe(accumulate, f);
            f(*acc, Update);
        }
        StmtKind::WgmmaWait { pending: _, done } => done.iter().for_each(|&v| f(v, Update)),
        StmtKind::ExpectBytes { barrier: _, slot, bytes: _ } => f(*slot, Read),
        StmtKind::WaitBarrier { barrier: _, slot, phase } => {
            maybe(slot, f);
            f(*phase, Read);
        }
        StmtKind::ArriveBarrier { barrier: _, slot, by: _ } => maybe(slot, f),
        StmtKind::TmaLoad { coords, slot, .. } => {
            all(coords, f);
            maybe(slot, f);
        }
        StmtKind::TmaStore { coords, .. } => all(coords, f),
        StmtKind::StoreMatrix { src, buffer: _ } => f(*src, Read),
        StmtKind::Barrier { .. }
        | StmtKind::CommitCopies
        | StmtKind::WaitCopies { .. }
        | StmtKind::Roles(_)
        | StmtKind::InitBarriers
        | StmtKind::WaitStores { .. }
        | StmtKind::FenceAsync
        | StmtKind::WgmmaFence
        | StmtKind::WgmmaCommit
        | StmtKind::GridWait
        | StmtKind::GridRelease => {}
    }
}

/// The blocks inside a statement, in the order in which they are printed.
pub(crate) fn inner_blocks(kind: &StmtKind) -> Vec<&Block> {
    match kind {
        StmtKind::For { body, .. } => vec![body],
        StmtKind::While { test, body, .. } => vec![test, body],
        StmtKind::If { then_block, else_block, .. } => vec![then_block, else_block],
        StmtKind::Roles(roles) => roles.iter().map(|r| &r.body).collect(),
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
        | StmtKind::StoreMatrix { .. }
        | StmtKind::GridWait
        | StmtKind::GridRelease => Vec::new(),
    }
}

/// Calls `f` on every statement, outer before inner.
pub(crate) fn walk<'a>(block: &'a Block, f: &mut dyn FnMut(&'a Stmt)) {
    for stmt in &block.stmts {
        f(stmt);
        for inner in inner_blocks(&stmt.kind) {
            walk(inner, f);
        }
    }
}
