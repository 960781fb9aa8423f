//! Which operations run together: sinks gather over one iteration space, then become a group with all they need.
//!
//! Flushing a set of sinks: (1) computes first what cannot be computed inside the strip loop, such as a small operand that is
//! repeated over rows; (2) finds the members, the lazy values evaluated inside; (3) adds as outputs those members that later
//! statements still need; (4) hands all of it to the builder.

use super::axes::{Axes, covers, identity, iteration_dims};
use super::build::build_group;
use super::compile::{Compiler, Place};
use super::program::{Buf, Inst, NO_AXIS};
use super::uses::StmtId;
use crate::ir::{Op, ReduceOp, Value};

/// A need for the elements of lazy values.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    /// A tile in the arena: in `dest` if given; `keep` makes that the value's place from now on.
    Tile {
        value: Value,
        dest: Option<Buf>,
        keep: bool,
    },
    Store {
        stmt: StmtId,
        view: Value,
        offsets: Vec<Value>,
        value: Value,
    },
    Scatter {
        stmt: StmtId,
        view: Value,
        indices: Vec<Value>,
        value: Value,
        mask: Option<Value>,
    },
    Reduce {
        stmt: StmtId,
        value: Value,
        op: ReduceOp,
        src: Value,
        axis: u8,
    },
}

impl Sink {
    /// The values whose elements it reads, strip by strip.
    pub(crate) fn roots(&self) -> Vec<Value> {
        match self {
            Self::Tile { value, .. } | Self::Store { value, .. } => vec![*value],
            Self::Scatter { indices, value, mask, .. } => {
                indices.iter().copied().chain([*value]).chain(*mask).collect()
            }
            Self::Reduce { src, .. } => vec![*src],
        }
    }

    /// The value that is defined when it has run.
    pub(crate) const fn defines(&self) -> Option<Value> {
        match self {
            Self::Reduce { value, .. } => Some(*value),
            Self::Tile { .. } | Self::Store { .. } | Self::Scatter { .. } => None,
        }
    }

    const fn stmt(&self) -> Option<StmtId> {
        match self {
            Self::Store { stmt, .. } | Self::Scatter { stmt, .. } | Self::Reduce { stmt, .. } => Some(*stmt),
            Self::Tile { .. } => None,
        }
    }

    pub(crate) const fn writes_memory(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Scatter { .. })
    }
}

/// Sinks over one iteration space that wait to be emitted together.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub dims: Vec<u32>,
    pub sinks: Vec<Sink>,
    /// When the first and the last store among them came, if there is one.
    stores: Option<(u32, u32)>,
}

/// A set of sinks with everything decided.
pub(crate) struct Work<'p> {
    pub dims: &'p [u32],
    pub sinks: &'p [Sink],
    /// Lazy values evaluated inside, operands first.
    pub members: &'p [Value],
}

impl Compiler<'_> {
    /// Adds a sink, flushing first whatever may not run in one group with it.
    pub(crate) fn add_sink(&mut self, sink: Sink) {
        let roots = sink.roots();
        let dims = iteration_dims(self.func.tile_ty(roots[0]).shape);
        let mut seen = Vec::new();
        let mut newest_read = 0;
        let mut waits = false;
        for &r in &roots {
            self.scan(r, &mut seen, &mut newest_read, &mut waits);
        }
        if let Some(p) = &self.pending {
            let first_store = p.stores.map(|s| s.0);
            let crosses = |t: u32| first_store.is_some_and(|s| t > s);
            let mut split = waits || p.dims != dims || crosses(newest_read);
            if sink.writes_memory() && first_store.is_some() {
                // A read between two stores must not move above the first nor below the second.
                split |= self.lazy_reads.iter().any(|&(v, t)| crosses(t) && self.place(v) == Place::Lazy);
            }
            let scatters = |k: &Sink| matches!(k, Sink::Scatter { .. });
            split |= sink.writes_memory()
                && p.sinks.iter().any(|k| k.writes_memory() && (scatters(k) || scatters(&sink)));
            if split {
                self.flush();
            }
        }
        if sink.writes_memory() {
            self.clock += 1;
        }
        let clock = self.clock;
        let p = self.pending.get_or_insert_with(|| Pending { dims, sinks: Vec::new(), stores: None });
        if sink.writes_memory() {
            p.stores = Some((p.stores.map_or(clock, |s| s.0), clock));
        }
        p.sinks.push(sink);
    }

    /// Looks through lazy values for pending producers and the newest memory read.
    fn scan(&self, v: Value, seen: &mut Vec<Value>, newest_read: &mut u32, waits: &mut bool) {
        if seen.contains(&v) {
            return;
        }
        seen.push(v);
        match self.place(v) {
            Place::Pending => *waits = true,
            Place::Lazy => {
                *newest_read = (*newest_read).max(self.read_seq[v.index()]);
                if let Some(op) = self.op_of(v) {
                    for a in op.operands() {
                        self.scan(a, seen, newest_read, waits);
                    }
                }
            }
            Place::Unset | Place::Reg(_) | Place::View(_) | Place::Tile(_) => {}
        }
    }

    /// Emits the pending sinks.
    pub(crate) fn flush(&mut self) {
        if let Some(p) = self.pending.take() {
            self.emit(&p);
        }
    }

    /// Emits one value into a buffer now, whatever is pending staying so.
    fn emit_tile(&mut self, value: Value) {
        let dims = iteration_dims(self.func.tile_ty(value).shape);
        let sinks = vec![Sink::Tile { value, dest: None, keep: true }];
        let flushing = std::mem::take(&mut self.flushing);
        self.emit(&Pending { dims, sinks, stores: None });
        self.flushing = flushing;
    }

    fn emit(&mut self, p: &Pending) {
        let mut members = Vec::new();
        loop {
            let mut required = Vec::new();
            let mut seen = Vec::new();
            members.clear();
            for sink in &p.sinks {
                for r in sink.roots() {
                    let axes = identity(self.func.tile_ty(r).shape);
                    self.require(r, &axes, &p.dims, &mut seen, &mut members, &mut required);
                }
            }
            if required.is_empty() {
                break;
            }
            for r in required {
                if self.base_tile(r).is_none() {
                    self.emit_tile(r);
                }
            }
        }
        if let Some((_, last)) = p.stores {
            self.flushing = p.sinks.iter().filter_map(Sink::stmt).collect();
            let late: Vec<Value> = self
                .lazy_reads
                .iter()
                .filter(|&&(v, t)| t <= last && self.place(v) == Place::Lazy && !members.contains(&v))
                .filter(|&&(v, _)| self.uses.live[v.index()] && self.needed_later(v))
                .map(|&(v, _)| v)
                .collect();
            self.flushing.clear();
            for v in late {
                self.emit_tile(v);
            }
        }
        self.flushing = p.sinks.iter().filter_map(Sink::stmt).collect();
        let sinks = self.with_outputs(p, &members);
        build_group(self, &Work { dims: &p.dims, sinks: &sinks, members: &members });
        for s in self.flushing.drain(..) {
            self.uses.entry_done[s] = true;
        }
        for sink in &sinks {
            if let Sink::Reduce { value, .. } = sink
                && self.place(*value) == Place::Pending
            {
                unreachable!("a reduction should have been placed with its group");
            }
        }
        let place = |v: Value| self.place(v);
        let still: Vec<(Value, u32)> =
            self.lazy_reads.iter().copied().filter(|&(v, _)| place(v) == Place::Lazy).collect();
        self.lazy_reads = still;
    }

    /// The sinks plus a tile for every member that later statements need and that is not cheap to compute again, or to read
    /// again where this group leaves memory as it is.
    fn with_outputs(&self, p: &Pending, members: &[Value]) -> Vec<Sink> {
        let mut sinks = p.sinks.clone();
        let mut placed: Vec<Value> = p
            .sinks
            .iter()
            .filter_map(|s| if let Sink::Tile { value, keep: true, .. } = s { Some(*value) } else { None })
            .collect();
        for &v in members.iter().rev() {
            if placed.contains(&v) || !self.is_local(v) || (p.stores.is_none() && self.is_read_again(v)) {
                continue;
            }
            if self.needed_except(v, None, &|w| placed.contains(&w)) && self.cost(v, 0) >= 2 {
                placed.push(v);
                sinks.push(Sink::Tile { value: v, dest: None, keep: true });
            }
        }
        sinks
    }

    /// Walks what `v` is made of, seen through `axes`: members in operands-first order, and values that must be tiles first.
    fn require(
        &self,
        v: Value,
        axes: &Axes,
        dims: &[u32],
        seen: &mut Vec<(Value, Axes)>,
        members: &mut Vec<Value>,
        required: &mut Vec<Value>,
    ) {
        if self.place(v) != Place::Lazy || seen.contains(&(v, *axes)) {
            return;
        }
        seen.push((v, *axes));
        if self.splat_of(v).is_some() || self.iota_of(v, axes).is_some() {
            return;
        }
        if let Some((a, inner)) = self.through_shape(v, axes) {
            self.require(a, &inner, dims, seen, members, required);
            return;
        }
        let shape = self.func.tile_ty(v).shape;
        let Some(op) = self.op_of(v) else { return };
        let is_identity = *axes == identity(shape) && iteration_dims(shape) == dims;
        match op {
            Op::Reshape(a, _) => {
                if self.base_tile(v).is_none() {
                    required.push(*a);
                }
            }
            Op::Load { .. } => {
                let repeats = !is_identity && axes[..dims.len()].contains(&NO_AXIS);
                if repeats || !covers(shape, axes) || (!is_identity && self.uses.users[v.index()].len() > 1) {
                    required.push(v);
                } else if is_identity {
                    members.push(v);
                }
            }
            Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(..)
            | Op::Gather { .. } => {
                if !is_identity {
                    required.push(v);
                    return;
                }
                for a in op.operands() {
                    if let Some(t) = self.func.ty(a).tile()
                        && t.shape.rank() > 0
                    {
                        self.require(a, axes, dims, seen, members, required);
                    }
                }
                members.push(v);
            }
            Op::Arange { .. } => required.push(v),
            Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::Splat(..)
            | Op::Broadcast(..)
            | Op::ExpandDims(..)
            | Op::Squeeze(..)
            | Op::Permute(..)
            | Op::Dot { .. }
            | Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..) => {}
        }
    }

    /// Appends a group's instruction.
    pub(crate) fn push_group(&mut self, group: super::program::Group) {
        self.groups.push(group);
        self.insts.push(Inst::Group((self.groups.len() - 1) as u32));
    }
}
