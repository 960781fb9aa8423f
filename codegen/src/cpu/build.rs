//! Builds one fused group: from sinks and members to strip operations over draft slots.
//!
//! Slots are single-assignment here; `strips` then collapses the iteration space, decides the strip's shape, and gives the
//! slots their addresses.

use std::collections::HashMap;

use super::axes::{Axes, identity};
use super::compile::{Compiler, Place, tile_bytes};
use super::group::{Sink, Work};
use super::micro;
use super::program::{Buf, MemAccess, NO_AXIS, Operand, StripOp};
use super::strips;
use crate::ir::{DType, MAX_RANK, ReduceOp, Shape, Value};

/// A strip slot before it has an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DraftSlot {
    /// Computed strip by strip.
    Strip { size: u8 },
    /// Filled from memory, or memory itself.
    Fetched { size: u8 },
    /// A tile read at strides per iteration axis.
    Tile { buf: Buf, size: u8, strides: Vec<u32> },
    /// Computed in place in a tile of the iteration's shape.
    Out { buf: Buf, size: u8 },
}

/// A reduction before it is known to run along rows or columns.
#[derive(Clone, Debug)]
pub(crate) struct DraftReduce {
    pub op: ReduceOp,
    pub dtype: DType,
    pub src: u32,
    pub dst: Buf,
    /// Iteration axis that is reduced.
    pub axis: usize,
}

/// A group under construction.
#[derive(Default)]
pub(crate) struct Draft {
    pub dims: Vec<u32>,
    pub slots: Vec<DraftSlot>,
    pub ops: Vec<StripOp>,
    pub mems: Vec<MemAccess>,
    /// Stores, scatters and copies to tiles: after all else.
    pub tail: Vec<StripOp>,
    pub reduces: Vec<DraftReduce>,
    pub rounds: Vec<(DType, Buf, u32)>,
    /// Operands made so far.
    pub memo: HashMap<(Value, Axes), Operand>,
    fills: Vec<(u32, u32)>,
}

pub(crate) const fn size_of(dtype: DType) -> u8 {
    micro::arena_bytes(dtype) as u8
}

/// Row-major strides of a shape.
pub(crate) fn row_major(shape: Shape) -> Vec<u32> {
    let mut strides = vec![1u32; shape.rank()];
    for i in (0..shape.rank().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape.dim(i + 1) as u32;
    }
    strides
}

/// Builds and emits the group of `work`.
pub(crate) fn build_group(c: &mut Compiler<'_>, work: &Work<'_>) {
    let mut d = Draft { dims: work.dims.to_vec(), ..Draft::default() };
    for &v in work.members {
        let axes = identity(c.func.tile_ty(v).shape);
        // A member that only feeds a fused form of its reader is left to that reader.
        if !c.is_absorbed(v, work) {
            c.operand(&mut d, v, &axes);
        }
    }
    let placed: Vec<Value> = work
        .sinks
        .iter()
        .filter_map(|s| if let Sink::Tile { value, keep: true, .. } = s { Some(*value) } else { None })
        .collect();
    let mut taken: Vec<Buf> = Vec::new();
    let mut places: Vec<(Value, Buf)> = Vec::new();
    let mut elems: Vec<(Value, Buf)> = Vec::new();
    for sink in work.sinks {
        for r in sink.roots() {
            if !c.is_absorbed(r, work) {
                let axes = identity(c.func.tile_ty(r).shape);
                c.operand(&mut d, r, &axes);
            }
        }
    }
    for sink in work.sinks {
        match sink {
            Sink::Tile { value, dest, keep } => {
                let ty = c.func.tile_ty(*value);
                let buf = match dest {
                    Some(b) => *b,
                    None => match c.hinted(&d, *value, &placed, &taken, true) {
                        Some(b) => b,
                        None => match c.dying_input(&d, tile_bytes(ty), &placed, &taken) {
                            Some(b) => b,
                            None => c.new_buf(tile_bytes(ty)),
                        },
                    },
                };
                taken.push(buf);
                d.output(c, *value, buf, size_of(ty.dtype), ty.dtype);
                if *keep {
                    places.push((*value, buf));
                }
            }
            Sink::Store { view, offsets, value, .. } => {
                let shape = c.func.tile_ty(*value).shape;
                let stored = if c.is_absorbed(*value, work) { c.narrowed(*value) } else { None };
                let a = c.operand(&mut d, stored.unwrap_or(*value), &identity(shape));
                let mem = c.tile_access(*view, offsets, shape, &identity(shape), None, true);
                let mem = d.mem(mem);
                d.tail.push(StripOp::Store { mem, a });
            }
            Sink::Scatter { view, indices, value, mask, .. } => {
                let axes = identity(c.func.tile_ty(*value).shape);
                let indices: Vec<Operand> = indices.iter().map(|&i| c.operand(&mut d, i, &axes)).collect();
                let mask = mask.map(|m| c.operand(&mut d, m, &axes));
                let a = c.operand(&mut d, *value, &axes);
                let mem = c.indexed_access(*view, None, true);
                let mem = d.mem(mem);
                d.tail.push(StripOp::Scatter { mem, indices, mask, a });
            }
            Sink::Reduce { value, op, src, axis, .. } => {
                let ty = c.func.tile_ty(*src);
                let axes = identity(ty.shape);
                let a = c.operand(&mut d, *src, &axes);
                let src_slot = d.as_row(a, ty.dtype);
                let out = c.func.tile_ty(*value);
                let dst = match c.hinted(&d, *value, &placed, &taken, false) {
                    Some(b) => b,
                    None => c.new_buf(tile_bytes(out)),
                };
                taken.push(dst);
                let axis = axes.iter().position(|a| a == axis).unwrap_or(0);
                d.reduces.push(DraftReduce { op: *op, dtype: ty.dtype, src: src_slot, dst, axis });
                if matches!(ty.dtype, DType::F16 | DType::BF16) && *op == ReduceOp::Sum {
                    d.rounds.push((ty.dtype, dst, out.shape.elements() as u32));
                }
                if out.shape.rank() == 0 { elems.push((*value, dst)) } else { places.push((*value, dst)) }
            }
        }
    }
    let group = strips::finish(d);
    c.push_group(group);
    for (v, b) in places {
        c.set_place(v, Place::Tile(b));
    }
    for (v, b) in elems {
        c.define_tile_or_elem(v, b);
    }
}

impl Draft {
    pub(crate) fn slot(&mut self, s: DraftSlot) -> u32 {
        self.slots.push(s);
        (self.slots.len() - 1) as u32
    }

    pub(crate) fn strip(&mut self, dtype: DType) -> u32 {
        self.slot(DraftSlot::Strip { size: size_of(dtype) })
    }

    pub(crate) fn mem(&mut self, m: MemAccess) -> u32 {
        self.mems.push(m);
        (self.mems.len() - 1) as u32
    }

    /// The operand as a strip of its own.
    pub(crate) fn as_row(&mut self, a: Operand, dtype: DType) -> u32 {
        match a {
            Operand::Row(s) | Operand::One(s) => s,
            Operand::Reg(r) => {
                if let Some(&(_, s)) = self.fills.iter().find(|f| f.0 == r) {
                    return s;
                }
                let dst = self.strip(dtype);
                self.ops.push(StripOp::Fill { dst, dtype, a, once: true });
                self.fills.push((r, dst));
                dst
            }
        }
    }

    /// Whether every read of `buf` goes in the iteration's own order.
    fn reads_linearly(&self, buf: Buf) -> bool {
        self.slots.iter().all(|s| match s {
            DraftSlot::Tile { buf: b, strides, .. } => *b != buf || is_linear(strides, &self.dims),
            DraftSlot::Strip { .. } | DraftSlot::Fetched { .. } | DraftSlot::Out { .. } => true,
        })
    }

    fn reads(&self, buf: Buf) -> bool {
        self.slots.iter().any(|s| matches!(s, DraftSlot::Tile { buf: b, .. } if *b == buf))
    }

    /// Makes `value` an output in `buf`: computed in place where no later operation reads what was there, else copied.
    fn output(&mut self, c: &mut Compiler<'_>, value: Value, buf: Buf, size: u8, dtype: DType) {
        let axes = identity(c.func.tile_ty(value).shape);
        let a = c.operand(self, value, &axes);
        if let Operand::Row(s) = a {
            let made_at = self.ops.iter().position(|op| op.dst() == Some(s) && !op.is_once());
            let own = match self.slots[s as usize] {
                DraftSlot::Strip { size: n } | DraftSlot::Fetched { size: n } => n == size,
                DraftSlot::Tile { .. } | DraftSlot::Out { .. } => false,
            };
            if let Some(at) = made_at
                && own
                && !self.is_read_from(buf, at + 1)
            {
                self.slots[s as usize] = DraftSlot::Out { buf, size };
                return;
            }
        }
        let dst = self.slot(DraftSlot::Out { buf, size });
        let op = match a {
            Operand::Row(s) | Operand::One(s) => StripOp::Copy { dst, a: s, size },
            Operand::Reg(_) => StripOp::Fill { dst, dtype, a, once: false },
        };
        self.tail.push(op);
    }

    /// Whether an operation from index `from` on reads the tile in `buf`.
    fn is_read_from(&self, buf: Buf, from: usize) -> bool {
        let is_it = |s: u32| matches!(self.slots[s as usize], DraftSlot::Tile { buf: b, .. } if b == buf);
        let ops = self.ops.iter().skip(from).chain(&self.tail);
        let mut found = false;
        for op in ops {
            op.for_each_source(&mut |s| found |= is_it(s));
        }
        found || self.reduces.iter().any(|r| is_it(r.src))
    }
}

/// Whether strides are those of a row-major tile of these extents.
pub(crate) fn is_linear(strides: &[u32], dims: &[u32]) -> bool {
    let mut expect = 1u32;
    for (s, d) in strides.iter().zip(dims).rev() {
        if *d != 1 && *s != expect {
            return false;
        }
        expect = expect.wrapping_mul(*d);
    }
    true
}

impl Compiler<'_> {
    /// The hinted buffer of `v`, when this group may write it.
    fn hinted(&self, d: &Draft, v: Value, placed: &[Value], taken: &[Buf], in_place: bool) -> Option<Buf> {
        let b = self.hint[v.index()]?;
        let fits = self.bufs[b as usize].bytes == tile_bytes(self.func.tile_ty(v)) && !taken.contains(&b);
        let free = self.bufs[b as usize]
            .occupant
            .is_none_or(|o| self.is_local(o) && !self.needed_except(o, None, &|w| placed.contains(&w)));
        let order = if in_place { d.reads_linearly(b) } else { !d.reads(b) };
        (fits && free && order).then_some(b)
    }

    /// A buffer of this size whose tile is read for the last time by this group, element by element, and may be overwritten.
    fn dying_input(&self, d: &Draft, bytes: u32, placed: &[Value], taken: &[Buf]) -> Option<Buf> {
        d.slots.iter().find_map(|s| {
            let DraftSlot::Tile { buf, .. } = s else { return None };
            let info = self.bufs[*buf as usize];
            let dies = info
                .occupant
                .is_some_and(|o| self.is_local(o) && !self.needed_except(o, None, &|w| placed.contains(&w)));
            let fits = info.bytes == bytes && !info.is_home && !taken.contains(buf) && d.reads_linearly(*buf);
            (dies && fits).then_some(*buf)
        })
    }

    /// How a tile of `shape`, seen through `axes`, lies in a view.
    pub(crate) fn tile_access(
        &mut self,
        view: Value,
        offsets: &[Value],
        shape: Shape,
        axes: &Axes,
        pad: Option<Value>,
        is_store: bool,
    ) -> MemAccess {
        let ty = self.func.view_ty(view);
        let mut m = MemAccess {
            view: self.view(view),
            dtype: ty.dtype,
            rank: ty.rank,
            offsets: [None; MAX_RANK],
            axes: [NO_AXIS; MAX_RANK],
            pad: pad.map(|p| self.reg(p)),
            is_store,
            is_indexed: false,
        };
        for (i, &o) in offsets.iter().enumerate() {
            m.offsets[i] = Some(self.reg(o));
            if shape.dim(i) != 1 {
                m.axes[i] = axes.iter().position(|&a| a == i as u8).map_or(NO_AXIS, |j| j as u8);
            }
        }
        m
    }

    pub(crate) fn indexed_access(&mut self, view: Value, pad: Option<Value>, is_store: bool) -> MemAccess {
        let ty = self.func.view_ty(view);
        MemAccess {
            view: self.view(view),
            dtype: ty.dtype,
            rank: ty.rank,
            offsets: [None; MAX_RANK],
            axes: [NO_AXIS; MAX_RANK],
            pad: pad.map(|p| self.reg(p)),
            is_store,
            is_indexed: true,
        }
    }
}
