//! Loops, and the pipeline that brings their products' operands: copies run `stages - 1` iterations ahead of the products.
//!
//! ```text
//!   before     copy 0 │ copy 1 │ ...                      one group of copies per stage
//!   iteration  wait until the oldest group has landed; barrier; copy i + stages - 1 into the slot that iteration i - 1 read;
//!              products from slot i
//! ```
//!
//! Every iteration commits a group, empty near the end, so that counting groups is counting iterations. The one barrier serves
//! both directions: what has landed is visible to all, and the slot about to be overwritten has been read by all.

use std::collections::{BTreeMap, BTreeSet};

use super::dots::{Source, StagedLoad};
use super::{Lower, RingSlot};
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::BufferId;
use crate::gpu::ops::{Op, Operand, StmtKind};
use crate::ir::walk::for_each_definition;
use crate::ir::{self, BinaryOp, Block, DType, StmtKind as TileStmt, Type, Value};

/// Slots of a pipeline when the schedule says nothing.
const DEFAULT_STAGES: i64 = 3;
/// The most slots a schedule may ask for.
const MOST_STAGES: i64 = 8;

/// A loop's bounds and what its copies depend on.
pub(super) struct Copies<'b> {
    pub(super) loads: Vec<(StagedLoad, BufferId)>,
    pub(super) iv: Value,
    pub(super) hi: Var,
    /// Values that the body defines.
    pub(super) inner: BTreeSet<Value>,
    pub(super) body: &'b Block,
}

impl Lower<'_> {
    /// A `for` of the tile level.
    pub(super) fn for_loop(&mut self, stmt: &TileStmt) {
        let TileStmt::For { lo, hi, step, inits, body, results } = stmt else { return };
        let (lo, hi, step) = (self.var(*lo), self.var(*hi), self.var(*step));
        let carried = self.enter(inits, &body.params[1..]);
        self.bind(&body.params[1..], &carried);
        self.bind_depth(&body.params);
        let iv = self.out.new_var(VarType::Scalar(DType::I32), self.loc, self.name_of(body.params[0]));
        self.bind(&body.params[..1], &[iv]);
        self.order_loop(body);
        let loads = self.staged_loads(body);
        if self.is_specialised && !super::hopper::tensor_loads(body, &self.plan.dots).is_empty() {
            self.consumer_loop(iv, [lo, hi, step], body, &carried);
        } else if loads.is_empty() {
            let inner = self.nested(|cx| {
                cx.block(body);
                cx.hand_on(&body.yields, &carried);
            });
            self.emit(StmtKind::For { iv, lo, hi, step, body: inner });
        } else {
            self.pipelined(iv, [lo, hi, step], body, loads, &carried);
        }
        self.leave(results, &body.yields, &carried);
    }

    fn staged_loads(&self, body: &Block) -> Vec<StagedLoad> {
        let mut loads: Vec<StagedLoad> = Vec::new();
        for stmt in &body.stmts {
            let TileStmt::Let { value, .. } = &stmt.kind else { continue };
            for source in self.plan.dots.get(value).map(|d| d.sources()).unwrap_or_default() {
                if let Source::Staged(s) = source
                    && loads.iter().all(|l| l.load != s.load)
                {
                    loads.push(s.clone());
                }
            }
        }
        loads
    }

    fn pipelined(
        &mut self,
        iv: Var,
        [lo, hi, step]: [Var; 3],
        body: &Block,
        loads: Vec<StagedLoad>,
        carried: &[Var],
    ) {
        let stages = self.schedule.get("stages").unwrap_or(DEFAULT_STAGES).clamp(1, MOST_STAGES) as u32;
        let mut inner = BTreeSet::new();
        for_each_definition(body, &mut |d| {
            inner.insert(d);
        });
        let loads: Vec<(StagedLoad, BufferId)> = loads
            .into_iter()
            .map(|l| {
                let ty = self.src.tile_ty(l.load);
                let (rows, columns) = (ty.shape.dim(1 - l.column_axis), ty.shape.dim(l.column_axis));
                let name = self.label(l.load);
                let buffer = self.operand_buffer(&name, ty.dtype, rows as u32, columns as u32, stages);
                (l, buffer)
            })
            .collect();
        let copies = Copies { loads, iv: body.params[0], hi, inner, body };
        let slot_var = |cx: &mut Self, name: &str, at: u32| {
            let zero = cx.const_i32(at as i32);
            let ty = VarType::Scalar(DType::I32);
            cx.define(ty, Op::Copy(Operand::of(zero)), Some(name.to_owned()))
        };
        if stages == 1 {
            for (l, buffer) in &copies.loads {
                self.rings.insert(l.load, RingSlot { buffer: *buffer, slot: None });
            }
            let inner = self.nested(|cx| {
                cx.copies(&copies, iv, None);
                cx.emit(StmtKind::CommitCopies);
                cx.emit(StmtKind::WaitCopies { pending: 0 });
                cx.barrier();
                cx.block(copies.body);
                cx.hand_on(&body.yields, carried);
            });
            self.emit(StmtKind::For { iv, lo, hi, step, body: inner });
            return;
        }
        // Before the loop: the first stages - 1 iterations' copies.
        for s in 0..stages - 1 {
            let at = self.offset_by(lo, step, s as i32);
            let slot = self.const_i32(s as i32);
            self.guarded_copies(&copies, at, slot);
            self.emit(StmtKind::CommitCopies);
        }
        let read = slot_var(self, "slot", 0);
        let write = slot_var(self, "next_slot", stages - 1);
        for (l, buffer) in &copies.loads {
            self.rings.insert(l.load, RingSlot { buffer: *buffer, slot: Some(read) });
        }
        let inner = self.nested(|cx| {
            cx.emit(StmtKind::WaitCopies { pending: stages - 2 });
            cx.barrier();
            let ahead = cx.offset_by(iv, step, stages as i32 - 1);
            cx.guarded_copies(&copies, ahead, write);
            cx.emit(StmtKind::CommitCopies);
            cx.block(copies.body);
            cx.hand_on(&body.yields, carried);
            cx.emit(StmtKind::Advance { slot: read, phase: None, slots: stages });
            cx.emit(StmtKind::Advance { slot: write, phase: None, slots: stages });
        });
        self.emit(StmtKind::For { iv, lo, hi, step, body: inner });
        // Only empty groups are left; whoever uses these bytes next need not know that.
        self.emit(StmtKind::WaitCopies { pending: 0 });
    }

    /// `from + n * step`.
    fn offset_by(&mut self, from: Var, step: Var, n: i32) -> Var {
        if n == 0 {
            return from;
        }
        let n = self.const_i32(n);
        let distance = self.scalar(DType::I32, Op::Binary(BinaryOp::Mul, Operand::of(step), Operand::of(n)));
        self.scalar(DType::I32, Op::Binary(BinaryOp::Add, Operand::of(from), Operand::of(distance)))
    }

    fn guarded_copies(&mut self, copies: &Copies<'_>, at: Var, slot: Var) {
        let cond =
            self.scalar(DType::Bool, Op::Binary(BinaryOp::Lt, Operand::of(at), Operand::of(copies.hi)));
        let then_block = self.nested(|cx| cx.copies(copies, at, Some(slot)));
        self.emit(StmtKind::If { cond, then_block, else_block: Default::default() });
    }

    /// The copies of the iteration whose induction variable is `at`.
    fn copies(&mut self, copies: &Copies<'_>, at: Var, slot: Option<Var>) {
        let mut known = BTreeMap::from([(copies.iv, at)]);
        for (l, buffer) in &copies.loads {
            let Some(ir::Op::Load { view, offsets, .. }) = self.defs.get(&l.load).cloned() else { continue };
            let outer = std::mem::replace(&mut self.loc, self.src.values[l.load.index()].loc);
            let view = self.at_iteration(view, copies, &mut known);
            let offsets = offsets.iter().map(|&o| self.at_iteration(o, copies, &mut known)).collect();
            self.emit(StmtKind::CopyAsync {
                view,
                offsets,
                row_axis: 1 - l.column_axis as u8,
                column_axis: l.column_axis as u8,
                buffer: *buffer,
                slot,
                bytes: l.bytes,
                guard: None,
            });
            self.loc = outer;
        }
    }

    /// A scalar or view of the loop's body, for another iteration than the one under way.
    pub(super) fn at_iteration(
        &mut self,
        v: Value,
        copies: &Copies<'_>,
        known: &mut BTreeMap<Value, Var>,
    ) -> Var {
        if let Some(&var) = known.get(&v) {
            return var;
        }
        if !copies.inner.contains(&v) {
            return self.var(v);
        }
        let op = self.defs.get(&v).cloned().expect("what copies depend on should have a definition");
        for o in op.operands() {
            let var = self.at_iteration(o, copies, known);
            known.insert(o, var);
        }
        // The operation reads its operands as they are in that iteration.
        let shadowed: Vec<(Value, Option<Var>)> =
            op.operands().into_iter().map(|o| (o, self.vars.insert(o, known[&o]))).collect();
        let var = match self.src.ty(v) {
            Type::View(ty) => self.view_op(&op, ty),
            Type::Tile(ty) => {
                self.scalar_value(v, &op, ty.dtype).expect("what copies depend on should be a scalar")
            }
        };
        for (o, before) in shadowed {
            match before {
                Some(before) => self.vars.insert(o, before),
                None => self.vars.remove(&o),
            };
        }
        known.insert(v, var);
        var
    }
}
