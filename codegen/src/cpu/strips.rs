//! Gives a drafted group its final iteration space, its strips, and the address of every slot.
//!
//! ```text
//! iteration [8, 128, 64], everything linear  -> one row of 65536, strips of 1024
//! iteration [128, 64] with a row vector      -> 16 rows a strip, the vector repeated once in scratch
//! iteration [16, 4096] with a column vector  -> 1 row a strip in segments, the column's element as one operand
//! ```
//! Invariant: a strip is whole rows, or a segment of one row, so coordinates of outer axes are known per row.

use super::build::{Draft, DraftReduce, DraftSlot, is_linear};
use super::memory::is_verbatim;
use super::micro::{self, Base};
use super::program::{Group, MemAccess, NO_AXIS, Operand, Past, SlotKind, StripOp};
use crate::ir::{DType, MAX_RANK, ReduceOp};

/// Bytes of strip buffers that stay in the first-level cache beside the operands.
const SCRATCH_TARGET_BYTES: usize = 24 << 10;

/// Finishes a draft.
pub(crate) fn finish(mut d: Draft) -> Group {
    let kept = collapse(&mut d);
    let n = d.dims.len();
    let cols = d.dims[n - 1];
    let outer: Vec<u32> = d.dims[..n - 1].to_vec();
    let rows: u32 = outer.iter().product();
    let (strip_rows, strip_cols) = strip_shape(&d, rows, cols);
    let mut p = Placer {
        fetched: vec![None; d.slots.len()],
        kinds: Vec::new(),
        sizes: Vec::new(),
        ops: Vec::new(),
        whole_rows: strip_cols == cols,
        strip_rows,
    };
    for s in &d.slots {
        let (kind, size) = p.kind_of(s, &d.dims);
        p.kinds.push(kind);
        p.sizes.push(size);
    }
    let mut all = std::mem::take(&mut d.ops);
    let reduces = std::mem::take(&mut d.reduces);
    all.extend(reduces.iter().map(|r| reduce_op(r, &d.dims, &kept)));
    all.append(&mut d.tail);
    for op in all {
        p.push(op, &d);
    }
    if strip_rows == 1 {
        join_sums(&mut p.ops);
    }
    let strip_elems = (strip_rows * strip_cols) as usize;
    let scratch_bytes = p.allocate(strip_elems, &d.mems);
    let asks_in_step = p.ops.iter().any(|op| matches!(op, StripOp::ExpSum { .. }));
    let loads = d.mems.iter().filter(|m| !m.is_store).count();
    let stores = d.mems.len() - loads;
    Group {
        outer,
        rows,
        cols,
        strip_rows,
        strip_cols,
        mems: d.mems,
        slots: p.kinds.into_iter().map(|k| k.unwrap_or(SlotKind::Scratch(0))).collect(),
        ops: p.ops,
        rounds: d.rounds,
        scratch_bytes,
        ahead: None,
        asks_in_step,
        may_alias: stores > 0 && (loads > 0 || stores > 1),
    }
}

/// Has exponentials and the sum of their rows run in one pass. Nothing in the group reads a sum, so it may come early.
fn join_sums(ops: &mut Vec<StripOp>) {
    let mut at = 0;
    while at < ops.len() {
        let powers = if let StripOp::ExpSub { dst, a, b } = ops[at] {
            Some((Base::E, dst, a, b))
        } else if let StripOp::Exp2Sub { dst, a, b } = ops[at] {
            Some((Base::Two, dst, a, b))
        } else {
            None
        };
        let Some((base, dst, a, b)) = powers else {
            at += 1;
            continue;
        };
        let sum = ops.iter().position(|op| {
            matches!(op, StripOp::ReduceRows { op: ReduceOp::Sum, dtype: DType::F32, a, .. } if *a == dst)
        });
        if let Some(k) = sum
            && let StripOp::ReduceRows { dst: sum, .. } = ops.remove(k)
        {
            ops[at] = StripOp::ExpSum { base, dst, a, b, sum };
        }
        at += 1;
    }
}

/// How the result of `op` gets past the caches.
const fn past_form(op: &StripOp) -> Past {
    if matches!(op, StripOp::Binary { dtype: DType::F32, .. }) { Past::Itself } else { Past::ByCopy }
}

/// Merges neighbouring axes that every access crosses alike; returns the new axis of each old one.
fn collapse(d: &mut Draft) -> Vec<usize> {
    let n = d.dims.len();
    let mut fixed = vec![false; n];
    for m in &d.mems {
        for &a in &m.axes {
            if a != NO_AXIS {
                fixed[a as usize] = true;
            }
        }
    }
    for op in &d.ops {
        if let StripOp::Iota { axis, .. } = op
            && *axis != NO_AXIS
        {
            fixed[*axis as usize] = true;
        }
    }
    for r in &d.reduces {
        fixed[r.axis] = true;
    }
    let mut axis_of = vec![0usize; n];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for j in 0..n {
        let merges = j > 0
            && !fixed[j]
            && !fixed[j - 1]
            && d.slots.iter().all(|s| match s {
                DraftSlot::Tile { strides, .. } => strides[j - 1] == strides[j] * d.dims[j],
                DraftSlot::Strip { .. } | DraftSlot::Fetched { .. } | DraftSlot::Out { .. } => true,
            });
        if merges {
            if let Some(last) = groups.last_mut() {
                last.push(j);
            }
        } else {
            groups.push(vec![j]);
        }
        axis_of[j] = groups.len() - 1;
    }
    for s in &mut d.slots {
        if let DraftSlot::Tile { strides, .. } = s {
            *strides = groups.iter().map(|g| strides[g[g.len() - 1]]).collect();
        }
    }
    for m in &mut d.mems {
        for a in &mut m.axes {
            if *a != NO_AXIS {
                *a = axis_of[*a as usize] as u8;
            }
        }
    }
    for op in &mut d.ops {
        if let StripOp::Iota { axis, .. } = op
            && *axis != NO_AXIS
        {
            *axis = axis_of[*axis as usize] as u8;
        }
    }
    d.dims = groups.iter().map(|g| g.iter().map(|&j| d.dims[j]).product()).collect();
    axis_of
}

/// Elements of a strip of one pass, from memory or a tile and nowhere else: no buffer has to stay in the cache for the next pass.
const ONE_PASS_ELEMENTS: u32 = 4096;

/// Whether every strip is one pass over operands that lie where they are; exponentials and their sum are one.
fn is_one_pass(d: &Draft) -> bool {
    let passes = d.ops.iter().filter(|op| !matches!(op, StripOp::Fetch { .. })).count();
    let joined = d.ops.iter().any(|op| matches!(op, StripOp::ExpSub { .. } | StripOp::Exp2Sub { .. }));
    let sums = d.reduces.iter().filter(|r| r.op == ReduceOp::Sum && r.dtype == DType::F32).count();
    let saved = usize::from(joined && sums == 1 && d.reduces.len() == 1);
    d.tail.is_empty()
        && passes + d.reduces.len() - saved <= 1
        && d.mems.iter().all(|m| is_verbatim(m.dtype) && !m.is_indexed)
}

/// Rows and columns of a strip.
fn strip_shape(d: &Draft, rows: u32, cols: u32) -> (u32, u32) {
    let computed = d.slots.iter().filter(|s| !matches!(s, DraftSlot::Out { .. })).count().clamp(2, 8);
    let elems = if cols > 1024 && is_one_pass(d) {
        ONE_PASS_ELEMENTS
    } else {
        (SCRATCH_TARGET_BYTES / 4 / computed).clamp(256, 1024) as u32 & !63
    };
    if cols > elems {
        let segments = cols.div_ceil(elems);
        return (1, cols.div_ceil(segments).next_multiple_of(64).min(cols));
    }
    let repeats_in_rows = d.slots.iter().any(|s| match s {
        DraftSlot::Tile { strides, .. } => strides[strides.len() - 1] == 0,
        DraftSlot::Strip { .. } | DraftSlot::Fetched { .. } | DraftSlot::Out { .. } => false,
    });
    if repeats_in_rows && cols >= 192 {
        return (1, cols);
    }
    ((elems / cols).clamp(1, rows.max(1)), cols)
}

fn fixed_strides(strides: &[u32]) -> ([u32; MAX_RANK], u32) {
    let mut out = [0; MAX_RANK];
    let n = strides.len() - 1;
    out[..n].copy_from_slice(&strides[..n]);
    (out, strides[n])
}

fn reduce_op(r: &DraftReduce, dims: &[u32], axis_of: &[usize]) -> StripOp {
    let axis = axis_of[r.axis];
    // Narrow floats accumulate as f32 and round once at the end.
    let dtype = if r.dtype.is_float() { DType::F32 } else { r.dtype };
    if axis == dims.len() - 1 {
        return StripOp::ReduceRows { op: r.op, dtype, dst: r.dst, a: r.src };
    }
    let mut strides = vec![0u32; dims.len()];
    let mut step = 1;
    for j in (0..dims.len()).rev() {
        if j != axis {
            strides[j] = step;
            step *= dims[j];
        }
    }
    let (strides, col_stride) = fixed_strides(&strides);
    StripOp::ReduceCols { op: r.op, dtype, dst: r.dst, a: r.src, axis: axis as u8, strides, col_stride }
}

/// Turns draft slots into addresses, inserting fetches and fills before the first reader.
struct Placer {
    /// For a draft slot that must be fetched: the slot that holds it once it is.
    fetched: Vec<Option<u32>>,
    /// `None` until a strip buffer is allocated.
    kinds: Vec<Option<SlotKind>>,
    sizes: Vec<u8>,
    ops: Vec<StripOp>,
    whole_rows: bool,
    strip_rows: u32,
}

impl Placer {
    fn kind_of(&self, s: &DraftSlot, dims: &[u32]) -> (Option<SlotKind>, u8) {
        match s {
            DraftSlot::Strip { size } | DraftSlot::Fetched { size } => (None, *size),
            DraftSlot::Out { buf, size } => (Some(SlotKind::Linear { buf: *buf, size: *size }), *size),
            DraftSlot::Tile { buf, size, strides } => {
                if is_linear(strides, dims) {
                    return (Some(SlotKind::Linear { buf: *buf, size: *size }), *size);
                }
                let (strides, col_stride) = fixed_strides(strides);
                if self.strip_rows == 1 && col_stride <= 1 {
                    return (Some(SlotKind::RowOf { buf: *buf, size: *size, strides, col_stride }), *size);
                }
                (None, *size)
            }
        }
    }

    fn new_slot(&mut self, size: u8) -> u32 {
        self.kinds.push(None);
        self.sizes.push(size);
        self.fetched.push(None);
        (self.kinds.len() - 1) as u32
    }

    /// Whether the slot is one element that stands for a whole row.
    fn is_one(&self, s: u32) -> bool {
        matches!(self.kinds[s as usize], Some(SlotKind::RowOf { col_stride: 0, .. }))
    }

    /// The slot to read for draft slot `s`, fetching it first if its elements do not lie in order.
    fn source(&mut self, s: u32, d: &Draft) -> u32 {
        let Some(DraftSlot::Tile { buf, size, strides }) = d.slots.get(s as usize) else { return s };
        if self.kinds[s as usize].is_some() {
            return s;
        }
        if let Some(f) = self.fetched[s as usize] {
            return f;
        }
        let (strides, col_stride) = fixed_strides(strides);
        let once = self.whole_rows && strides.iter().all(|&x| x == 0);
        let dst = self.new_slot(*size);
        self.ops.push(StripOp::FetchTile { dst, buf: *buf, size: *size, strides, col_stride, once });
        self.fetched[s as usize] = Some(dst);
        dst
    }

    fn push(&mut self, mut op: StripOp, d: &Draft) {
        if let Some(a) = op.row_source_mut() {
            let s = self.source(*a, d);
            *a = s;
            if self.is_one(s) {
                let size = self.sizes[s as usize];
                let dst = self.new_slot(size);
                let dtype = if size == 8 { DType::I64 } else { DType::I32 };
                self.ops.push(StripOp::Fill { dst, dtype, a: Operand::One(s), once: false });
                *a = dst;
            }
        }
        for o in op.operands_mut() {
            if let Operand::Row(s) = *o {
                let s = self.source(s, d);
                *o = if self.is_one(s) { Operand::One(s) } else { Operand::Row(s) };
            }
        }
        if let StripOp::Store { mem, a } = &mut op
            && !matches!(a, Operand::Row(_))
        {
            let dtype = d.mems[*mem as usize].dtype;
            let dst = self.new_slot(micro::arena_bytes(dtype) as u8);
            self.ops.push(StripOp::Fill { dst, dtype, a: *a, once: matches!(a, Operand::Reg(_)) });
            *a = Operand::Row(dst);
        }
        if let StripOp::Iota { dst, axis, once, .. } = &mut op {
            let along_cols = *axis as usize == d.dims.len() - 1;
            *once =
                self.kinds[*dst as usize].is_none() && self.whole_rows && (along_cols || *axis == NO_AXIS);
        }
        self.ops.push(op);
    }

    /// Shares strip buffers among slots that are not alive together; returns their bytes.
    fn allocate(&mut self, strip_elems: usize, mems: &[MemAccess]) -> u32 {
        let mut last = vec![0usize; self.kinds.len()];
        for (i, op) in self.ops.iter().enumerate() {
            op.for_each_source(&mut |s| last[s as usize] = i);
            if op.is_once()
                && let Some(dst) = op.dst()
            {
                last[dst as usize] = usize::MAX;
            }
        }
        for (i, op) in self.ops.iter().enumerate() {
            if let Some(dst) = op.dst() {
                last[dst as usize] = last[dst as usize].max(i);
            }
        }
        // A slot written once must hold its own buffer from before the first strip's other writers.
        let mut top = 0u32;
        let stride = |size: u8| ((strip_elems * size as usize).next_multiple_of(64) + 64) as u32;
        for op in &self.ops {
            if op.is_once()
                && let Some(dst) = op.dst()
                && self.kinds[dst as usize].is_none()
            {
                self.kinds[dst as usize] = Some(SlotKind::Scratch(top));
                top += stride(self.sizes[dst as usize]);
            }
        }
        // A slot that is read behind a store must not point at memory that the store may have changed by then.
        let first_store = self.ops.iter().position(|op| matches!(op, StripOp::Store { .. }));
        let mut read_late = Vec::new();
        for op in self.ops.iter().skip(first_store.map_or(self.ops.len(), |at| at + 1)) {
            op.for_each_source(&mut |s| read_late.push(s));
        }
        let mut free: Vec<(u8, u32)> = Vec::new();
        let mut held: Vec<(u32, u8, u32)> = Vec::new();
        for (i, op) in self.ops.iter().enumerate() {
            // Buffers whose last reader is behind us are free; those read last by this operation may be overwritten by it.
            let reuse = op.may_overwrite();
            let mut own_sources = Vec::new();
            op.for_each_source(&mut |s| own_sources.push(s));
            held.retain(|&(slot, size, at)| {
                let end = last[slot as usize];
                let dead = end < i || (end == i && reuse && own_sources.contains(&slot));
                if dead {
                    free.push((size, at));
                }
                !dead
            });
            let Some(dst) = op.dst() else { continue };
            if self.kinds[dst as usize].is_some() {
                continue;
            }
            let size = self.sizes[dst as usize];
            let at = match free.iter().rposition(|f| f.0 == size) {
                Some(k) => free.swap_remove(k).1,
                None => {
                    top += stride(size);
                    top - stride(size)
                }
            };
            held.push((dst, size, at));
            let fetched = matches!(op, StripOp::Fetch { .. }) && !read_late.contains(&dst);
            self.kinds[dst as usize] = Some(match self.stored_at_once(i, dst, mems) {
                Some(mem) => SlotKind::Stored { mem, at, past: past_form(op) },
                None if fetched => SlotKind::Fetched(at),
                None => SlotKind::Scratch(at),
            });
        }
        top
    }

    /// The access that writes what operation `i` makes of its operands, in the next step and as it is in the arena: nothing reads
    /// memory between the two, so the operation may write there itself.
    fn stored_at_once(&self, i: usize, dst: u32, mems: &[MemAccess]) -> Option<u32> {
        let Some(StripOp::Store { mem, a: Operand::Row(a) }) = self.ops.get(i + 1) else { return None };
        let mut readers = 0;
        for op in &self.ops {
            op.for_each_source(&mut |s| readers += usize::from(s == dst));
        }
        let access = &mems[*mem as usize];
        let is_same = micro::arena_bytes(access.dtype) == usize::from(self.sizes[dst as usize]);
        let fits = *a == dst && readers == 1 && is_same && is_verbatim(access.dtype);
        (fits && self.ops[i].may_overwrite()).then_some(*mem)
    }
}
