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
//! bring equal tiles use the ring in turn, and slot and phase run on from loop to loop. What either role runs stands in `producer`
//! and `consumer`, which programs a block runs in `persistent`, what two blocks share in `cluster`, how results leave in `store`; here is what all share.

mod cluster;
mod consumer;
mod persistent;
mod producer;
mod rotate;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use super::Lower;
use super::dots::{DotPlan, Source, TensorLoad};
use super::plan::definitions;
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::{BarrierId, Buffer, BufferId, Mbarrier, ParamMap, Swizzle, TensorMapId};
use crate::gpu::ops::{Op, Operand, Role, StmtKind};
use crate::ir::walk::for_each_definition;
use crate::ir::{self, BinaryOp, Block, DType, Func, StmtKind as TileStmt, Type, Value};
pub(super) use cluster::{Pair, cluster_of};
pub(super) use consumer::ConsumerLoop;
pub(super) use persistent::ProgramIds;

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

impl Lower<'_> {
    /// Lowers the body as a producer and its consumers.
    pub(super) fn specialised(&mut self) {
        let src = self.src;
        let n_consumers = self.plan.n_warps;
        let mut consumers = self.nested_with_start(|cx| {
            cx.each_program(|cx| cx.consumer_body(&src.body));
            cx.end_stores();
        });
        if self.takes_turns {
            rotate::with_turns(&mut consumers);
        }
        self.vars.clear();
        for p in &self.out.params.clone() {
            let value = self.src.params.iter().find(|q| q.name == p.name).map(|q| q.value);
            self.vars.extend(value.map(|v| (v, p.var)));
        }
        let mut order = std::mem::take(&mut self.loop_rings).into_iter();
        let producer = self.nested_with_start(|cx| {
            cx.each_program(|cx| cx.producer(&src.body, &mut order));
            if cx.is_dependent {
                // The last loads are on their way: what is left to do needs no more of the memory's time.
                cx.emit(StmtKind::GridRelease);
            }
        });
        self.out.n_warps = n_consumers + PRODUCER_WARPS;
        self.out.min_blocks = 1;
        self.emit(StmtKind::InitBarriers);
        if self.out.cluster > 1 {
            self.emit(StmtKind::ClusterSync);
        }
        if self.is_dependent {
            self.emit(StmtKind::GridWait);
        }
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
        if self.out.cluster > 1 {
            // A block stays until no other reaches into it any more.
            self.emit(StmtKind::ClusterSync);
        }
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
        // Consumers of all blocks that get a share of each other's copies.
        let arrivals = self.plan.n_warps * self.out.cluster;
        let empty = self.mbarrier(&format!("{label}_empty"), stages, arrivals, 0);
        // Slot and phase run on from loop to loop and from program to program.
        let consumer = self.at_start(|cx| (cx.counter("slot", 0), cx.counter("phase", 0)));
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
    pub(super) fn panel_buffer(
        &mut self,
        name: &str,
        dtype: DType,
        rows: u32,
        columns: u32,
        slots: u32,
    ) -> BufferId {
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
        let mut shape = shape.to_vec();
        shape[1 - l.column_axis] /= self.out.cluster as usize;
        self.map_of(view, &shape, l.column_axis, buffer)
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
}
