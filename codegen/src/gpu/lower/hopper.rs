//! Warp-specialised kernels: a producer warp brings operands by tensor copies, consumer warpgroups multiply them.
//!
//! The function is lowered twice. The consumers run all of it, waiting for operands where it loads them. The producer runs
//! what its addresses depend on and the loops around the loads.
//!
//! ```text
//!             producer                                  consumers
//!   per slot  wait(empty[s], phase)                     wait(full[s], phase)
//!             expect(full[s], bytes); copies ─────────▶ wgmma on slot s; commit
//!                                                       wait for the products that read slot s - 1; arrive(empty[s - 1])
//!             advance                                   advance
//! ```
//!
//! Loads that one product reads, or several products that share a load, form one ring with one pair of mbarriers. Loops that
//! bring equal tiles use the ring in turn, and slot and phase run on from loop to loop.

use std::collections::{BTreeMap, BTreeSet};

use super::dots::{DotPlan, Source, TensorLoad};
use super::plan::definitions;
use super::stage::Copies;
use super::{Lower, RingSlot};
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::{BarrierId, Buffer, BufferId, Mbarrier, ParamMap, Swizzle, TensorMapId};
use crate::gpu::ops::{Arrive, Op, Operand, Role, StmtKind, Warpgroup};
use crate::ir::walk::for_each_definition;
use crate::ir::{self, BinaryOp, Block, DType, Func, StmtKind as TileStmt, Type, Value};
use crate::layout::Layout;

/// Slots of a ring when the schedule says nothing.
const DEFAULT_STAGES: i64 = 3;
/// Warps of the producer's warpgroup, of which one works.
const PRODUCER_WARPS: u32 = 4;

/// What tells one tile of a ring from another.
type TileKey = (Value, DType, u32, u32, usize);

/// A ring of operands and its place in either role.
#[derive(Clone)]
pub(super) struct TensorRing {
    tiles: Vec<TileKey>,
    buffers: Vec<BufferId>,
    maps: Vec<TensorMapId>,
    full: BarrierId,
    empty: BarrierId,
    stages: u32,
    bytes: u32,
    /// The consumers' slot and phase.
    consumer: (Var, Var),
    /// The producer's, once it has them.
    producer: Option<(Var, Var)>,
}

/// The rings of one loop: which, and the loads that each brings.
pub(super) type LoopRings = Vec<(usize, Vec<TensorLoad>)>;

/// Whether the producer can follow `func`: the loops with loads stand in the body itself, their bounds and addresses need no tile,
/// and nothing ends the block early.
pub(super) fn can_specialise(func: &Func, dots: &BTreeMap<Value, DotPlan>) -> bool {
    let defs = definitions(func);
    let mut known: BTreeSet<Value> = func.params.iter().map(|p| p.value).collect();
    let is_data = |v: Value| matches!(func.ty(v), Type::Tile(t) if t.shape.rank() > 0);
    let mut seen = 0;
    for stmt in &func.body.stmts {
        match &stmt.kind {
            TileStmt::Let { value, op } => {
                if !is_data(*value) && op.operands().iter().all(|o| known.contains(o)) {
                    known.insert(*value);
                }
            }
            TileStmt::For { lo, hi, step, body, .. } => {
                let loads = tensor_loads(body, dots);
                seen += loads.len();
                if loads.is_empty() {
                    continue;
                }
                let mut inner = BTreeSet::new();
                for_each_definition(body, &mut |d| {
                    inner.insert(d);
                });
                let bounds_known = [lo, hi, step].iter().all(|v| known.contains(v));
                let places_known = loads.iter().all(|l| {
                    defs.get(&l.load).is_some_and(|op| {
                        op.operands().iter().all(|&o| is_known(&defs, &known, &inner, o, 64))
                    })
                });
                if !bounds_known || !places_known {
                    return false;
                }
            }
            TileStmt::Assert { .. } => return false,
            TileStmt::Store { .. }
            | TileStmt::Scatter { .. }
            | TileStmt::Print { .. }
            | TileStmt::While { .. }
            | TileStmt::If { .. } => {}
        }
    }
    let all: BTreeSet<Value> = dots
        .values()
        .flat_map(|d| d.sources())
        .filter_map(|s| match s {
            Source::Tensor(t) => Some(t.load),
            Source::Staged(_) | Source::Stored { .. } | Source::Registers { .. } => None,
        })
        .collect();
    !all.is_empty() && seen == all.len()
}

/// Whether a value of a loop's body follows from what is known before it, its induction variable included.
fn is_known(
    defs: &BTreeMap<Value, ir::Op>,
    known: &BTreeSet<Value>,
    inner: &BTreeSet<Value>,
    v: Value,
    fuel: usize,
) -> bool {
    if !inner.contains(&v) {
        return known.contains(&v);
    }
    // What the body defines without an operation is its induction variable: the planner has seen to that.
    fuel > 0
        && defs
            .get(&v)
            .is_none_or(|op| op.operands().iter().all(|&o| is_known(defs, known, inner, o, fuel - 1)))
}

/// The loads of a loop's body that tensor copies bring, each once.
pub(super) fn tensor_loads(body: &Block, dots: &BTreeMap<Value, DotPlan>) -> Vec<TensorLoad> {
    groups(body, dots).into_iter().flatten().collect()
}

/// The loads of a loop's body, those of one product together with all that share a load with it.
fn groups(body: &Block, dots: &BTreeMap<Value, DotPlan>) -> Vec<Vec<TensorLoad>> {
    let mut groups: Vec<Vec<TensorLoad>> = Vec::new();
    for stmt in &body.stmts {
        let TileStmt::Let { value, .. } = &stmt.kind else { continue };
        let mut own: Vec<TensorLoad> = Vec::new();
        for source in dots.get(value).map(DotPlan::sources).unwrap_or_default() {
            if let Source::Tensor(t) = source
                && own.iter().all(|o| o.load != t.load)
            {
                own.push(t.clone());
            }
        }
        if own.is_empty() {
            continue;
        }
        let shares = |g: &Vec<TensorLoad>| g.iter().any(|l| own.iter().any(|o| o.load == l.load));
        match groups.iter().position(shares) {
            Some(i) => {
                for o in own {
                    if groups[i].iter().all(|l| l.load != o.load) {
                        groups[i].push(o);
                    }
                }
            }
            None => groups.push(own),
        }
    }
    groups
}

/// The innermost loop that consumers are in.
#[derive(Clone)]
pub(super) struct ConsumerLoop {
    rings: LoopRings,
    /// Rings whose slot has been waited for in this iteration.
    waited: Vec<usize>,
    /// Products still to come in this iteration that read each ring.
    readers: BTreeMap<usize, usize>,
    /// Whether products of one iteration run on while the next one starts.
    overlaps: bool,
}

impl Lower<'_> {
    /// Lowers the body as a producer and its consumers.
    pub(super) fn specialised(&mut self) {
        let src = self.src;
        let n_consumers = self.plan.n_warps;
        let consumers = self.nested(|cx| cx.block(&src.body));
        self.vars.clear();
        for p in &self.out.params.clone() {
            let value = self.src.params.iter().find(|q| q.name == p.name).map(|q| q.value);
            self.vars.extend(value.map(|v| (v, p.var)));
        }
        let mut order = std::mem::take(&mut self.loop_rings).into_iter();
        let producer = self.nested(|cx| cx.producer(&src.body, &mut order));
        self.out.n_warps = n_consumers + PRODUCER_WARPS;
        self.out.min_blocks = 1;
        self.emit(StmtKind::InitBarriers);
        // With one warpgroup of consumers every thread has the most registers that there are from the start.
        let (few, many) = if n_consumers == 8 { (40, 232) } else { (0, 0) };
        self.emit(StmtKind::Roles(vec![
            Role {
                name: "consumer".to_owned(),
                first_warp: 0,
                n_warps: n_consumers,
                active_warps: n_consumers,
                registers: many,
                releases: false,
                body: consumers,
            },
            Role {
                name: "producer".to_owned(),
                first_warp: n_consumers,
                n_warps: PRODUCER_WARPS,
                active_warps: 1,
                registers: few,
                releases: true,
                body: producer,
            },
        ]));
    }

    fn producer(&mut self, body: &Block, order: &mut impl Iterator<Item = LoopRings>) {
        for stmt in &body.stmts {
            self.loc = stmt.loc;
            match &stmt.kind {
                TileStmt::Let { value, op } => {
                    let is_data = matches!(self.src.ty(*value), Type::Tile(t) if t.shape.rank() > 0);
                    if is_data || !op.operands().iter().all(|o| self.vars.contains_key(o)) {
                        continue;
                    }
                    let var = match self.src.ty(*value) {
                        Type::View(ty) => Some(self.view_op(op, ty)),
                        Type::Tile(ty) => self.scalar_value(*value, op, ty.dtype),
                    };
                    self.vars.extend(var.map(|var| (*value, var)));
                }
                TileStmt::For { lo, hi, step, body, .. }
                    if !tensor_loads(body, &self.plan.dots).is_empty() =>
                {
                    let rings = order.next().expect("consumers should have seen the same loops");
                    self.producer_loop([*lo, *hi, *step].map(|v| self.var(v)), body, &rings);
                }
                TileStmt::For { .. }
                | TileStmt::Store { .. }
                | TileStmt::Scatter { .. }
                | TileStmt::Print { .. }
                | TileStmt::Assert { .. }
                | TileStmt::While { .. }
                | TileStmt::If { .. } => {}
            }
        }
    }

    fn producer_loop(&mut self, [lo, hi, step]: [Var; 3], body: &Block, rings: &LoopRings) {
        for (r, _) in rings {
            if self.tensor_rings[*r].producer.is_none() {
                // A fresh mbarrier counts as one whose phase 1 is over: the first wait passes.
                let place = (self.counter("slot", 0), self.counter("phase", 1));
                self.tensor_rings[*r].producer = Some(place);
            }
        }
        let iv = self.out.new_var(VarType::Scalar(DType::I32), self.loc, self.name_of(body.params[0]));
        let mut inner = BTreeSet::new();
        for_each_definition(body, &mut |d| {
            inner.insert(d);
        });
        let copies = Copies { loads: Vec::new(), iv: body.params[0], hi, inner, body };
        let block = self.nested(|cx| {
            let mut known = BTreeMap::from([(copies.iv, iv)]);
            for (r, loads) in rings {
                let ring = cx.tensor_rings[*r].clone();
                let (slot, phase) = ring.producer.expect("the producer should have its place");
                cx.emit(StmtKind::WaitBarrier { barrier: ring.empty, slot: Some(slot), phase });
                cx.emit(StmtKind::ExpectBytes { barrier: ring.full, slot, bytes: ring.bytes });
                for (i, load) in loads.iter().enumerate() {
                    cx.tensor_copy(load, &ring, i, slot, &copies, &mut known);
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
        slot: Var,
        copies: &Copies<'_>,
        known: &mut BTreeMap<Value, Var>,
    ) {
        let Some(ir::Op::Load { view, offsets, .. }) = self.defs.get(&load.load).cloned() else { return };
        let outer = std::mem::replace(&mut self.loc, self.src.values[load.load.index()].loc);
        let offsets = offsets.iter().map(|&o| self.at_iteration(o, copies, known)).collect();
        let (_, coords) = self.tensor_coords(view, offsets, &mut |cx, v| cx.at_iteration(v, copies, known));
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
                barrier: ring.full,
            });
        }
        self.loc = outer;
    }

    /// The parameter behind a view, and where an element of the view lies along each of the parameter's axes.
    pub(super) fn tensor_coords(
        &mut self,
        view: Value,
        mut offsets: Vec<Var>,
        var: &mut dyn FnMut(&mut Self, Value) -> Var,
    ) -> (Value, Vec<Var>) {
        match self.defs.get(&view).cloned() {
            Some(ir::Op::ViewSelect(x, axis, at)) => {
                let at = var(self, at);
                offsets.insert(usize::from(axis), at);
                self.tensor_coords(x, offsets, var)
            }
            Some(ir::Op::ViewSlice(x, axis, start, _)) => {
                let start = var(self, start);
                let sum =
                    Op::Binary(BinaryOp::Add, Operand::of(offsets[usize::from(axis)]), Operand::of(start));
                offsets[usize::from(axis)] = self.scalar(DType::I32, sum);
                self.tensor_coords(x, offsets, var)
            }
            Some(ir::Op::ViewPermute(x, perm)) => {
                let mut of_x = offsets.clone();
                for (i, &p) in perm.iter().enumerate() {
                    of_x[usize::from(p)] = offsets[i];
                }
                self.tensor_coords(x, of_x, var)
            }
            Some(_) | None => (view, offsets),
        }
    }

    fn shifted(&mut self, v: Var, by: i32) -> Var {
        if by == 0 {
            return v;
        }
        let by = self.const_i32(by);
        self.scalar(DType::I32, Op::Binary(BinaryOp::Add, Operand::of(v), Operand::of(by)))
    }

    /// An i32 variable that starts at `at`.
    fn counter(&mut self, name: &str, at: i32) -> Var {
        let at = self.const_i32(at);
        self.define(VarType::Scalar(DType::I32), Op::Copy(Operand::of(at)), Some(name.to_owned()))
    }

    /// The rings that bring a loop's loads, made now or shared with an earlier loop.
    fn rings_of(&mut self, body: &Block) -> LoopRings {
        let mut out: LoopRings = Vec::new();
        for loads in groups(body, &self.plan.dots.clone()) {
            let tiles: Vec<TileKey> = loads.iter().map(|l| self.tile_key(l)).collect();
            let taken: Vec<usize> = out.iter().map(|(r, _)| *r).collect();
            let known = self
                .tensor_rings
                .iter()
                .enumerate()
                .position(|(i, r)| r.tiles == tiles && !taken.contains(&i));
            let ring = known.unwrap_or_else(|| self.new_ring(&loads, tiles));
            out.push((ring, loads));
        }
        out
    }

    fn tile_key(&self, l: &TensorLoad) -> TileKey {
        let ty = self.src.tile_ty(l.load);
        let param = match self.defs.get(&l.load) {
            Some(ir::Op::Load { view, .. }) => self.facts.view(*view).map_or(*view, |f| f.param),
            Some(_) | None => l.load,
        };
        let (rows, columns) = (ty.shape.dim(1 - l.column_axis), ty.shape.dim(l.column_axis));
        (param, ty.dtype, rows as u32, columns as u32, l.column_axis)
    }

    fn new_ring(&mut self, loads: &[TensorLoad], tiles: Vec<TileKey>) -> usize {
        let stages = self.schedule.get("stages").unwrap_or(DEFAULT_STAGES).clamp(2, 8) as u32;
        let (mut buffers, mut maps, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (l, (_, dtype, rows, columns, _)) in loads.iter().zip(&tiles) {
            let name = self.label(l.load);
            let buffer = self.panel_buffer(&name, *dtype, *rows, *columns, stages);
            bytes += rows * columns * dtype.size_bytes() as u32;
            maps.push(self.map_of_load(l, buffer));
            buffers.push(buffer);
        }
        let label = self.label(loads[0].load);
        let full = self.mbarrier(&format!("{label}_full"), stages, 1, bytes);
        let empty = self.mbarrier(&format!("{label}_empty"), stages, self.plan.n_warps, 0);
        let consumer = (self.counter("slot", 0), self.counter("phase", 0));
        self.tensor_rings.push(TensorRing {
            tiles,
            buffers,
            maps,
            full,
            empty,
            stages,
            bytes,
            consumer,
            producer: None,
        });
        self.tensor_rings.len() - 1
    }

    fn mbarrier(&mut self, name: &str, slots: u32, arrivals: u32, tx_bytes: u32) -> BarrierId {
        let name = name.to_owned();
        self.out.barriers.push(Mbarrier { name, slots, arrivals, tx_bytes, offset_bytes: 0 });
        BarrierId(self.out.barriers.len() as u32 - 1)
    }

    /// A buffer in panels of the widest swizzle span that divides its rows.
    fn panel_buffer(&mut self, name: &str, dtype: DType, rows: u32, columns: u32, slots: u32) -> BufferId {
        let row_bytes = columns * dtype.size_bytes() as u32;
        let (span, shift, mask) = [(128, 0, 7), (64, 1, 3), (32, 2, 1)]
            .into_iter()
            .find(|(span, ..)| row_bytes.is_multiple_of(*span))
            .expect("the planner should refuse rows that are no multiple of 32 bytes");
        self.buffer(Buffer {
            name: name.to_owned(),
            dtype,
            rows,
            columns: span / dtype.size_bytes() as u32,
            panels: row_bytes / span,
            slots,
            pitch_bytes: span,
            swizzle: Swizzle::Xor { shift, mask },
            align_bytes: 1024,
            offset_bytes: 0,
        })
    }

    fn map_of_load(&mut self, l: &TensorLoad, buffer: BufferId) -> TensorMapId {
        let Some(ir::Op::Load { view, shape, .. }) = self.defs.get(&l.load).cloned() else {
            unreachable!("a tensor copy should come from a load")
        };
        self.map_of(view, &shape.to_vec(), l.column_axis, buffer)
    }

    /// The tensor map whose box is a panel of a buffer, for a tile of extents `shape` of a view.
    fn map_of(&mut self, view: Value, shape: &[usize], column_axis: usize, buffer: BufferId) -> TensorMapId {
        let form = self.facts.view(view).cloned().expect("the planner should know the view");
        let b = &self.out.buffers[buffer.index()];
        let mut box_dims = vec![1; form.param_rank];
        for (axis, &extent) in form.axes.iter().zip(shape) {
            box_dims[axis.param_axis] = extent as u32;
        }
        box_dims[form.axes[column_axis].param_axis] = b.columns;
        let map = ParamMap { param: self.vars[&form.param], box_dims, swizzle_bytes: b.pitch_bytes };
        if let Some(i) = self.out.maps.iter().position(|m| *m == map) {
            return TensorMapId(i as u32);
        }
        self.out.maps.push(map);
        TensorMapId(self.out.maps.len() as u32 - 1)
    }

    /// A loop of the consumers whose operands a producer brings.
    pub(super) fn consumer_loop(&mut self, iv: Var, [lo, hi, step]: [Var; 3], body: &Block, carried: &[Var]) {
        let rings = self.rings_of(body);
        self.loop_rings.push(rings.clone());
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
        for (r, loads) in &rings {
            let ring = &self.tensor_rings[*r];
            for (load, &buffer) in loads.iter().zip(&ring.buffers) {
                self.rings.insert(load.load, RingSlot { buffer, slot: Some(ring.consumer.0) });
            }
        }
        let previous = overlaps.then(|| self.counter("previous", 0));
        let state = ConsumerLoop { rings: rings.clone(), waited: Vec::new(), readers, overlaps };
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

    fn release(&mut self, ring: &TensorRing, slot: Var) {
        self.emit(StmtKind::ArriveBarrier { barrier: ring.empty, slot: Some(slot), by: Arrive::Warp });
    }

    /// A product by warpgroup instructions.
    pub(super) fn warpgroup_dot(
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
        let var = self.accumulator(v, acc, layout);
        for &r in &mine {
            if !state.waited.contains(&r) {
                let (full, (slot, phase)) = (self.tensor_rings[r].full, self.tensor_rings[r].consumer);
                self.emit(StmtKind::WaitBarrier { barrier: full, slot: Some(slot), phase });
                state.waited.push(r);
            }
        }
        let a_ty = self.src.tile_ty(a);
        self.emit(StmtKind::WgmmaFence);
        self.emit(StmtKind::Wgmma {
            acc: var,
            a: left,
            b: right,
            dtype: a_ty.dtype,
            groups: Warpgroup { n_groups, n: instruction_columns(layout.shape()[1]) },
            extents: (layout.shape()[0], layout.shape()[1], a_ty.shape.dim(1) as u32),
            accumulate: None,
        });
        if !state.overlaps {
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
        self.consumer = Some(state);
        var
    }

    /// Whether a store can leave through shared memory by a tensor copy, and does: a 16-bit tile in the accumulator layout, to
    /// memory whose rows are contiguous and aligned.
    pub(super) fn tensor_store(&mut self, view: Value, offsets: &[Value], value: Value) -> bool {
        let Some(&src) = self.vars.get(&value) else { return false };
        let VarType::Tile { dtype, shape, layout } = self.out.ty(src).clone() else { return false };
        let is_accumulator =
            self.plan.dots.values().any(|d| matches!(d, DotPlan::Wgmma { layout: l, .. } if *l == layout));
        let Some(form) = self.facts.view(view).cloned() else { return false };
        let bytes = dtype.size_bytes();
        let fits = is_accumulator
            && bytes == 2
            && shape.rank() == 2
            && shape.dim(0) <= 256
            && shape.dim(1).is_multiple_of(64)
            && layout.shape() == shape.as_slice()
            && form.facts.contiguous
            && (form.facts.divisible as usize * bytes).is_multiple_of(16)
            && form.axes.last().is_some_and(|a| a.param_axis + 1 == form.param_rank)
            && form.axes.iter().all(|a| !a.is_clipped);
        if !fits {
            return false;
        }
        let (rows, columns) = (shape.dim(0) as u32, shape.dim(1) as u32);
        let buffer = self.panel_buffer("staging", dtype, rows, columns, 1);
        let map = self.map_of(view, &shape.to_vec(), 1, buffer);
        let at = self.vars_of(offsets);
        let (_, coords) = self.tensor_coords(view, at, &mut |cx, v| cx.var(v));
        let copy_out = |cx: &mut Self| {
            cx.emit(StmtKind::StoreMatrix { src, buffer });
            cx.emit(StmtKind::FenceAsync);
            cx.emit(StmtKind::Barrier { id: 1, n_threads: cx.plan.n_warps * 32 });
            let last = coords.len() - 1;
            for panel in 0..columns / 64 {
                let mut at = coords.clone();
                at[last] = cx.shifted(at[last], panel as i32 * 64);
                cx.emit(StmtKind::TmaStore { map, coords: at, buffer, panel, row: 0 });
            }
            cx.emit(StmtKind::WaitStores { complete: false });
        };
        // A tensor copy out may not begin before the first element; the language lets a store do so.
        let doubtful: Vec<Var> =
            offsets.iter().filter(|&&o| self.facts.range(o).min < 0).map(|&o| self.var(o)).collect();
        let mut cond = None;
        for v in doubtful {
            let zero = self.const_i32(0);
            let within =
                self.scalar(DType::Bool, Op::Binary(BinaryOp::Ge, Operand::of(v), Operand::of(zero)));
            cond = Some(match cond {
                None => within,
                Some(c) => {
                    self.scalar(DType::Bool, Op::Binary(BinaryOp::And, Operand::of(c), Operand::of(within)))
                }
            });
        }
        let Some(cond) = cond else {
            copy_out(self);
            return true;
        };
        let then_block = self.nested(copy_out);
        let else_block = self.nested(|cx| {
            let coords = super::elements::identity(2);
            let vector = cx.renamed_vector(view, offsets, &layout, &coords, &shape);
            cx.emit_store(view, offsets, coords, src, vector);
        });
        self.emit(StmtKind::If { cond, then_block, else_block });
        true
    }
}

/// Columns of one instruction: the largest multiple of 8 up to 256 that divides the tile's.
fn instruction_columns(n: u32) -> u32 {
    (1..=32).rev().map(|i| i * 8).find(|c| n.is_multiple_of(*c)).unwrap_or(8)
}

/// The rings among `rings` whose tiles a product reads.
fn rings_read(plan: &DotPlan, rings: &LoopRings) -> Vec<usize> {
    let reads =
        |load: Value| plan.sources().into_iter().any(|s| matches!(s, Source::Tensor(t) if t.load == load));
    rings.iter().filter(|(_, loads)| loads.iter().any(|l| reads(l.load))).map(|(r, _)| *r).collect()
}
