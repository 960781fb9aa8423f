//! The producer: it runs what its addresses depend on and the loops around the loads, and fills the rings by tensor copies.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Lower;
use super::super::dots::TensorLoad;
use super::super::stage::Copies;
use super::{LoopRings, TensorRing, tensor_loads};
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Filled, StmtKind};
use crate::ir::walk::for_each_definition;
use crate::ir::{self, Block, DType, StmtKind as TileStmt, Type, Value};

impl Lower<'_> {
    pub(super) fn producer(&mut self, body: &Block, order: &mut impl Iterator<Item = LoopRings>) {
        let both = match self.pair {
            Some(pair) => self.scalars_of_both(body, pair),
            None => BTreeMap::new(),
        };
        for stmt in &body.stmts {
            self.loc = stmt.loc;
            match &stmt.kind {
                TileStmt::Let { value, op } if self.pair.is_none() => self.producer_value(*value, op),
                TileStmt::For { lo, hi, step, body, .. }
                    if !tensor_loads(body, &self.plan.dots).is_empty() =>
                {
                    let rings = order.next().expect("consumers should have seen the same loops");
                    self.producer_loop([*lo, *hi, *step].map(|v| self.var(v)), body, &rings, &both);
                }
                TileStmt::Let { .. }
                | TileStmt::For { .. }
                | TileStmt::Store { .. }
                | TileStmt::Scatter { .. }
                | TileStmt::Print { .. }
                | TileStmt::Assert { .. }
                | TileStmt::While { .. }
                | TileStmt::If { .. } => {}
            }
        }
    }

    /// A scalar or view of the body, where it follows from what the producer has.
    pub(super) fn producer_value(&mut self, value: Value, op: &ir::Op) {
        let is_data = matches!(self.src.ty(value), Type::Tile(t) if t.shape.rank() > 0);
        if is_data || !op.operands().iter().all(|o| self.vars.contains_key(o)) {
            return;
        }
        let var = match self.src.ty(value) {
            Type::View(ty) => Some(self.view_op(op, ty)),
            Type::Tile(ty) => self.scalar_value(value, op, ty.dtype),
        };
        self.vars.extend(var.map(|var| (value, var)));
    }

    fn producer_loop(
        &mut self,
        [lo, hi, step]: [Var; 3],
        body: &Block,
        rings: &LoopRings,
        both: &BTreeMap<Value, [Var; 2]>,
    ) {
        for (r, _) in rings {
            if self.tensor_rings[*r].producer.is_none() {
                // A fresh mbarrier counts as one whose phase 1 is over: the first wait passes.
                let place = self.at_start(|cx| (cx.counter("slot", 0), cx.counter("phase", 1)));
                self.tensor_rings[*r].producer = Some(place);
            }
        }
        let iv = self.out.new_var(VarType::Scalar(DType::I32), self.loc, self.name_of(body.params[0]));
        let mut inner = BTreeSet::new();
        for_each_definition(body, &mut |d| {
            inner.insert(d);
        });
        let shared: BTreeMap<Value, Option<Var>> = if self.pair.is_some() {
            let loads = rings.iter().flat_map(|(_, loads)| loads);
            loads.map(|load| (load.load, self.is_shared(load, body, both))).collect()
        } else {
            BTreeMap::new()
        };
        let copies = Copies { loads: Vec::new(), iv: body.params[0], hi, inner, body };
        let block = self.nested(|cx| {
            let mut known = BTreeMap::from([(copies.iv, iv)]);
            for (r, loads) in rings {
                let ring = cx.tensor_rings[*r].clone();
                let (slot, phase) = ring.producer.expect("the producer should have its place");
                cx.emit(StmtKind::WaitBarrier { barrier: ring.empty, slot: Some(slot), phase });
                cx.emit(StmtKind::ExpectBytes { barrier: ring.full, slot, bytes: ring.bytes });
                for (i, load) in loads.iter().enumerate() {
                    let shared = shared.get(&load.load).copied();
                    cx.tensor_copy(load, &ring, i, shared, &copies, &mut known);
                }
                cx.emit(StmtKind::Advance { slot, phase: Some(phase), slots: ring.stages });
            }
        });
        self.emit(StmtKind::For { iv, lo, hi, step, body: block });
    }

    fn tensor_copy(
        &mut self,
        load: &TensorLoad,
        ring: &TensorRing,
        tile: usize,
        shared: Option<Option<Var>>,
        copies: &Copies<'_>,
        known: &mut BTreeMap<Value, Var>,
    ) {
        let Some(ir::Op::Load { view, offsets, .. }) = self.defs.get(&load.load).cloned() else { return };
        let outer = std::mem::replace(&mut self.loc, self.src.values[load.load.index()].loc);
        let offsets = offsets.iter().map(|&o| self.at_iteration(o, copies, known)).collect();
        let (_, coords) = self.tensor_coords(view, offsets, &mut |cx, v| cx.at_iteration(v, copies, known));
        if let Some(shared) = shared {
            let axes = &self.facts.view(view).expect("the planner should know the view").axes;
            let row_axis = axes[1 - load.column_axis].param_axis;
            self.pair_copies(ring, tile, &coords, row_axis, shared);
            self.loc = outer;
            return;
        }
        let (slot, _) = ring.producer.expect("the producer should have its place");
        let b = self.out.buffers[ring.buffers[tile].index()].clone();
        let last = coords.len() - 1;
        for panel in 0..b.panels {
            let mut at = coords.clone();
            at[last] = self.shifted(at[last], (panel * b.columns) as i32);
            self.emit(StmtKind::TmaLoad {
                map: ring.maps[tile],
                coords: at,
                buffer: ring.buffers[tile],
                slot: Some(slot),
                panel,
                fills: Filled::Own { row: 0 },
                barrier: ring.full,
            });
        }
        self.loc = outer;
    }
}
