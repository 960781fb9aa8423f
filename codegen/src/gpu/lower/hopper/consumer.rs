//! The consumers: they wait for operands where the author's program loads them, multiply, and hand the slots back.

use std::collections::BTreeMap;

use super::super::Lower;
use super::super::RingSlot;
use super::super::dots::{DotPlan, Source};
use super::{LoopRings, TensorRing};
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Arrive, Op, Operand, StmtKind, Warpgroup};
use crate::ir::{self, BinaryOp, Block, DType, StmtKind as TileStmt, Value};
use crate::layout::Layout;

/// The innermost loop that consumers are in.
#[derive(Clone)]
pub(in crate::gpu::lower) struct ConsumerLoop {
    rings: LoopRings,
    /// Rings whose slot has been waited for in this iteration.
    waited: Vec<usize>,
    /// Products still to come in this iteration that read each ring.
    readers: BTreeMap<usize, usize>,
    /// When the products of an iteration are waited for.
    wait: Wait,
}

/// When a product of a consumers' loop is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// Where it stands.
    AtOnce,
    /// An iteration later, all products of the iteration together.
    NextIteration,
    /// Where the rotated loop says.
    Later,
}

impl ConsumerLoop {
    /// A loop about to be lowered, or one iteration of it.
    pub(super) const fn new(rings: LoopRings, readers: BTreeMap<usize, usize>, wait: Wait) -> Self {
        Self { rings, waited: Vec::new(), readers, wait }
    }
}

impl Lower<'_> {
    /// A loop of the consumers whose operands a producer brings.
    pub(in crate::gpu::lower) fn consumer_loop(
        &mut self,
        iv: Var,
        [lo, hi, step]: [Var; 3],
        body: &Block,
        carried: &[Var],
    ) {
        let rings = self.rings_of(body);
        self.loop_rings.push(rings.clone());
        for (r, loads) in &rings {
            let ring = &self.tensor_rings[*r];
            for (load, &buffer) in loads.iter().zip(&ring.buffers) {
                self.rings.insert(load.load, RingSlot { buffer, slot: Some(ring.consumer.0) });
            }
        }
        if let Some(rotation) = self.rotation(body, &rings) {
            return self.rotated_loop(iv, [lo, hi, step], body, carried, &rotation);
        }
        let mut readers = BTreeMap::new();
        let mut overlaps = rings.len() == 1;
        for stmt in &body.stmts {
            let TileStmt::Let { value, op: ir::Op::Dot { acc, .. } } = &stmt.kind else { continue };
            let Some(plan) = self.plan.dots.get(value) else { continue };
            for r in rings_read(plan, &rings) {
                *readers.entry(r).or_insert(0) += 1;
            }
            let is_carried = body.params[1..].contains(acc) && self.plan.uses.count(*acc) == 1;
            let is_handed_on = body.yields.contains(value) && self.plan.uses.count(*value) == 1;
            overlaps &= is_carried && is_handed_on;
        }
        let previous = overlaps.then(|| self.counter("previous", 0));
        let wait = if overlaps { Wait::NextIteration } else { Wait::AtOnce };
        let state = ConsumerLoop::new(rings.clone(), readers, wait);
        let outer = self.consumer.replace(state);
        let inner = self.nested(|cx| {
            cx.block(body);
            if let Some(previous) = previous {
                cx.emit(StmtKind::WgmmaCommit);
                cx.emit(StmtKind::WgmmaWait { pending: 1, done: Vec::new() });
                let ring = cx.tensor_rings[rings[0].0].clone();
                // The products of the iteration before have read their slot.
                let first =
                    cx.scalar(DType::Bool, Op::Binary(BinaryOp::Gt, Operand::of(iv), Operand::of(lo)));
                let then_block = cx.nested(|cx| cx.release(&ring, previous));
                cx.emit(StmtKind::If { cond: first, then_block, else_block: Default::default() });
                cx.set(previous, Op::Copy(Operand::of(ring.consumer.0)));
            }
            for (r, _) in &rings {
                let ring = cx.tensor_rings[*r].clone();
                let (slot, phase) = ring.consumer;
                cx.emit(StmtKind::Advance { slot, phase: Some(phase), slots: ring.stages });
            }
            cx.hand_on(&body.yields, carried);
        });
        self.consumer = outer;
        self.emit(StmtKind::For { iv, lo, hi, step, body: inner });
        if let Some(previous) = previous {
            let done =
                carried.iter().copied().filter(|&v| matches!(self.out.ty(v), VarType::Tile { .. })).collect();
            self.emit(StmtKind::WgmmaWait { pending: 0, done });
            let ran = self.scalar(DType::Bool, Op::Binary(BinaryOp::Gt, Operand::of(hi), Operand::of(lo)));
            let ring = self.tensor_rings[rings[0].0].clone();
            let then_block = self.nested(|cx| cx.release(&ring, previous));
            self.emit(StmtKind::If { cond: ran, then_block, else_block: Default::default() });
        }
    }

    pub(super) fn release(&mut self, ring: &TensorRing, slot: Var) {
        let by = if self.out.cluster > 1 { Arrive::Cluster } else { Arrive::Warp };
        self.emit(StmtKind::ArriveBarrier { barrier: ring.empty, slot: Some(slot), by });
    }

    /// A product by warpgroup instructions.
    pub(in crate::gpu::lower) fn warpgroup_dot(
        &mut self,
        v: Value,
        [a, _, acc]: [Value; 3],
        layout: &Layout,
        n_groups: u32,
        [left, right]: [&Source; 2],
    ) -> Var {
        let plan = self.plan.dots[&v].clone();
        let mut state = self.consumer.clone().expect("warpgroup products should stand in a consumer's loop");
        let mine = rings_read(&plan, &state.rings);
        let (left, right) = (self.matrix_operand(left), self.matrix_operand(right));
        let (var, accumulate) = self.sum_of_products(v, acc, layout);
        for &r in &mine {
            if !state.waited.contains(&r) {
                self.await_operands(r);
                state.waited.push(r);
            }
        }
        let a_ty = self.src.tile_ty(a);
        let (dtype, k) = (a_ty.dtype, a_ty.shape.dim(1) as u32);
        let (m, n) = (layout.shape()[0], layout.shape()[1]);
        self.emit(StmtKind::WgmmaFence);
        self.emit(StmtKind::Wgmma {
            acc: var,
            a: left,
            b: right,
            dtype,
            groups: Warpgroup { n_groups, n: instruction_columns(n) },
            extents: (m, n, k),
            accumulate,
        });
        match state.wait {
            Wait::NextIteration => {}
            Wait::Later => self.emit(StmtKind::WgmmaCommit),
            Wait::AtOnce => {
                self.emit(StmtKind::WgmmaCommit);
                self.emit(StmtKind::WgmmaWait { pending: 0, done: vec![var] });
                for r in mine {
                    let left = state.readers.entry(r).or_insert(1);
                    *left -= 1;
                    if *left == 0 {
                        let ring = self.tensor_rings[r].clone();
                        self.release(&ring, ring.consumer.0);
                    }
                }
            }
        }
        self.consumer = Some(state);
        var
    }

    /// Waits until the slot of a ring that comes next has been filled.
    pub(super) fn await_operands(&mut self, ring: usize) {
        let (full, (slot, phase)) = (self.tensor_rings[ring].full, self.tensor_rings[ring].consumer);
        self.emit(StmtKind::WaitBarrier { barrier: full, slot: Some(slot), phase });
    }

    /// The variable that a product sums in. One that begins at zero need not be set: the first instruction does not add.
    fn sum_of_products(&mut self, v: Value, acc: Value, layout: &Layout) -> (Var, Option<Var>) {
        if !self.is_zero(acc) {
            return (self.accumulator(v, acc, layout), None);
        }
        let ty = self.src.tile_ty(v);
        let ty = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: layout.clone() };
        let var = self.out.new_var(ty, self.loc, self.name_of(v));
        let no = Op::Const(ir::Const { dtype: DType::Bool, bits: 0 });
        (var, Some(self.scalar(DType::Bool, no)))
    }
}

/// Columns of one instruction: the largest multiple of 8 up to 256 that divides the tile's.
pub(super) fn instruction_columns(n: u32) -> u32 {
    (1..=32).rev().map(|i| i * 8).find(|c| n.is_multiple_of(*c)).unwrap_or(8)
}

/// The rings among `rings` whose tiles a product reads.
pub(super) fn rings_read(plan: &DotPlan, rings: &LoopRings) -> Vec<usize> {
    let reads =
        |load: Value| plan.sources().into_iter().any(|s| matches!(s, Source::Tensor(t) if t.load == load));
    rings.iter().filter(|(_, loads)| loads.iter().any(|l| reads(l.load))).map(|(r, _)| *r).collect()
}
