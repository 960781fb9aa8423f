//! Which programs a warp-specialised block runs: one, or one after another, whose loads the producer begins while the consumers
//! still store the results of the one before.
//!
//! ```text
//!   one each      block = program, along the axes of the grid
//!   persistent    for p = cluster_id to programs step num_clusters { program ids of p; body }
//!   in pairs      the same over pairs of programs, one for each block of a cluster
//! ```
//!
//! Programs are numbered along axis 0 of the grid first, as blocks are started. What a role keeps from program to program, such as
//! its place in rings, is set up before the loop.

use super::super::Lower;
use super::cluster::PAIR;
use crate::gpu::func::{Block, Var, VarType};
use crate::gpu::ops::{Op, Operand, StmtKind};
use crate::ir::walk::for_each_stmt;
use crate::ir::{self, BinaryOp, DType, Func, StmtKind as TileStmt};

/// Indices of the program under way, along the axes that the kernel asks for.
pub(in crate::gpu::lower) type ProgramIds = [Option<Var>; 3];

/// The grid of programs, where blocks walk over it.
#[derive(Clone, Copy)]
pub(in crate::gpu::lower) struct Grid {
    extents: [Var; 3],
    /// Programs that differ along axes 0 and 1.
    plane: Var,
    /// All programs.
    pub(super) total: Var,
}

/// The axes of the grid along which a function asks for its index.
fn asked_axes(func: &Func) -> [bool; 3] {
    let mut asked = [false; 3];
    for_each_stmt(&func.body, &mut |stmt| {
        if let TileStmt::Let { op: ir::Op::ProgramId(axis), .. } = &stmt.kind {
            asked[usize::from(*axis)] = true;
        }
    });
    asked
}

impl Lower<'_> {
    /// Emits what `body` does for each program of the block.
    pub(super) fn each_program(&mut self, body: impl FnOnce(&mut Self)) {
        if !self.out.walks_programs() {
            return body(self);
        }
        let extents = [0, 1, 2].map(|axis| self.scalar(DType::I32, Op::NumPrograms(axis)));
        let plane = self.i32_op(BinaryOp::Mul, extents[0], extents[1]);
        let total = self.i32_op(BinaryOp::Mul, plane, extents[2]);
        let grid = Grid { extents, plane, total };
        let first = self.scalar(DType::I32, Op::ClusterId);
        let is_paired = self.out.cluster == PAIR;
        let each = |cx: &mut Self, at: Var| {
            if is_paired {
                let two = cx.const_i32(PAIR as i32);
                let program = cx.i32_op(BinaryOp::Mul, at, two);
                cx.pair = Some(cx.pair(program, grid));
            } else {
                cx.program_ids = Some(cx.ids_of(at, grid));
            }
            body(cx);
        };
        if self.out.is_persistent {
            let end = if is_paired {
                let (one, two) = (self.const_i32(1), self.const_i32(PAIR as i32));
                let up = self.i32_op(BinaryOp::Add, total, one);
                self.i32_op(BinaryOp::Div, up, two)
            } else {
                total
            };
            let step = self.scalar(DType::I32, Op::NumClusters);
            let name = if is_paired { "pair" } else { "program" };
            let at = self.out.new_var(VarType::Scalar(DType::I32), self.loc, Some(name.to_owned()));
            let inner = self.nested(|cx| each(cx, at));
            self.emit(StmtKind::For { iv: at, lo: first, hi: end, step, body: inner });
        } else {
            each(self, first);
        }
        (self.pair, self.program_ids) = (None, None);
    }

    /// Indices of the program numbered `program`.
    pub(super) fn ids_of(&mut self, program: Var, Grid { extents, plane, .. }: Grid) -> ProgramIds {
        let asked = asked_axes(self.src);
        let mut ids = [None; 3];
        if asked[0] {
            ids[0] = Some(self.i32_op(BinaryOp::Rem, program, extents[0]));
        }
        if asked[1] {
            let row = self.i32_op(BinaryOp::Div, program, extents[0]);
            ids[1] = Some(self.i32_op(BinaryOp::Rem, row, extents[1]));
        }
        if asked[2] {
            ids[2] = Some(self.i32_op(BinaryOp::Div, program, plane));
        }
        ids
    }

    pub(super) fn i32_op(&mut self, op: BinaryOp, a: Var, b: Var) -> Var {
        self.scalar(DType::I32, Op::Binary(op, Operand::of(a), Operand::of(b)))
    }

    /// Runs `body` in a block of its own, behind what it asks for `at_start` of it.
    pub(super) fn nested_with_start(&mut self, body: impl FnOnce(&mut Self)) -> Block {
        let outer = std::mem::take(&mut self.start);
        let mut block = self.nested(body);
        let start = std::mem::replace(&mut self.start, outer);
        block.stmts.splice(0..0, start.stmts);
        block
    }

    /// Emits at the start of the role.
    pub(super) fn at_start<T>(&mut self, emit: impl FnOnce(&mut Self) -> T) -> T {
        self.open.push(std::mem::take(&mut self.start));
        let result = emit(self);
        self.start = self.open.pop().expect("the start of the role should be open");
        result
    }
}
