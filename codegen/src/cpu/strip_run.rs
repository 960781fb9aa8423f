//! Runs one fused group: strip after strip, each strip through all its operations while it is in the first-level cache.
#![allow(unsafe_code, reason = "strip slots are raw addresses into the arena, laid out at compilation")]

use super::alias;
use super::indexed;
use super::memory::{Cols, MemRun, RtView, is_verbatim, prepare, read_row, write_row, write_run};
use super::micro::{self, Arg as StripArg, Isa, Next};
use super::program::{CpuProgram, Group, MemAccess, NO_AXIS, Operand, Past, SlotKind, StripOp};
use super::run::State;
use super::scalar;
use crate::ir::{BinaryOp, DType, MAX_RANK, ReduceOp};

/// Tiles up to this size are asked for one program ahead: two of them fit into a second-level cache.
const AHEAD_BYTES: usize = 256 << 10;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// The strip at hand.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    pub row: u32,
    pub n_rows: u32,
    pub col: u32,
    pub n_cols: u32,
    /// Outer coordinates of the first row.
    pub coords: [i64; MAX_RANK],
    pub is_first: bool,
}

impl Strip {
    pub(crate) const fn elems(&self) -> usize {
        self.n_rows as usize * self.n_cols as usize
    }

    /// The number of the first element in the group's own order.
    const fn linear(&self, group: &Group) -> usize {
        self.row as usize * group.cols as usize + self.col as usize
    }

    /// Calls `f` with the number and the outer coordinates of every row.
    #[inline]
    pub(crate) fn for_each_row(&self, outer: &[u32], mut f: impl FnMut(usize, &[i64; MAX_RANK])) {
        let mut coords = self.coords;
        for r in 0..self.n_rows as usize {
            f(r, &coords);
            advance(&mut coords, outer);
        }
    }
}

#[inline]
fn advance(coords: &mut [i64; MAX_RANK], outer: &[u32]) {
    for j in (0..outer.len()).rev() {
        coords[j] += 1;
        if coords[j] < i64::from(outer[j]) || j == 0 {
            return;
        }
        coords[j] = 0;
    }
}

/// The element of a tile at a column and outer coordinates; strides beyond the outer axes are 0.
#[inline]
fn tile_index(col: u32, coords: &[i64; MAX_RANK], strides: &[u32; MAX_RANK], col_stride: u32) -> usize {
    let start = col as usize * col_stride as usize;
    coords.iter().zip(strides).fold(start, |at, (&c, &s)| at + c as usize * s as usize)
}

/// What the operations of a group share.
pub(crate) struct Cx<'p> {
    pub program: &'p CpuProgram,
    pub group: &'p Group,
    pub isa: Isa,
    pub arena: *mut u8,
    pub scratch: *mut u8,
    pub regs: *const u64,
    pub ptrs: *mut *mut u8,
    pub runs: *const MemRun,
    /// Iteration axis of the columns.
    pub col_axis: usize,
    /// The tile in memory that the next program will read first, to ask for in step with the iteration.
    ahead: Option<Next>,
}

/// The tile behind that of `mem`, whole rows one after the other, if there is one and the second-level cache has room for it.
fn tile_behind(mem: &MemAccess, group: &Group, views: &[RtView], regs: &[u64]) -> Option<Next> {
    let view = &views[mem.view as usize];
    let at = |axis: usize| mem.offsets[axis].map_or(0, |r| i64::from(regs[r as usize] as i32));
    let (rows, cols) = (i64::from(group.rows), i64::from(group.cols));
    let element_bytes = mem.dtype.size_bytes();
    let is_there = at(0) >= 0 && at(0) + 2 * rows <= view.dims[0] && at(1) == 0 && cols == view.dims[1];
    let is_dense = view.strides[..2] == [cols, 1];
    let elements = (rows * cols) as usize;
    (is_there && is_dense && elements * element_bytes <= AHEAD_BYTES).then(|| Next {
        start: view.ptr.wrapping_add(((at(0) + rows) * cols) as usize * element_bytes),
        element_bytes,
    })
}

impl Cx<'_> {
    #[inline]
    pub(crate) unsafe fn ptr(&self, slot: u32) -> *mut u8 {
        // SAFETY: the table has room for every slot of the group.
        unsafe { *self.ptrs.add(slot as usize) }
    }

    #[inline]
    pub(crate) unsafe fn arg(&self, o: Operand) -> StripArg {
        // SAFETY: slots and registers are those of the group's program.
        unsafe {
            match o {
                Operand::Row(s) => StripArg::Row(self.ptr(s)),
                Operand::One(s) => StripArg::Splat(self.ptr(s)),
                Operand::Reg(r) => StripArg::Splat(self.regs.add(r as usize).cast()),
            }
        }
    }

    unsafe fn buf(&self, b: u32) -> *mut u8 {
        // SAFETY: buffer offsets lie within the arena.
        unsafe { self.arena.add(self.program.buf_offsets[b as usize] as usize) }
    }
}

/// Runs `group`.
///
/// # Safety
/// The state belongs to `program` and its views are valid.
pub(crate) unsafe fn run_group(program: &CpuProgram, group: &Group, state: &mut State<'_>) {
    let mut dims = [1i64; MAX_RANK];
    for (d, &o) in dims.iter_mut().zip(&group.outer) {
        *d = i64::from(o);
    }
    let col_axis = group.outer.len();
    dims[col_axis] = i64::from(group.cols);
    for (run, mem) in state.runs.iter_mut().zip(&group.mems) {
        *run = prepare(mem, state.views, state.regs, &dims);
    }
    let shadows = if group.may_alias && alias::meets(group, state.runs, state.views, state.regs) {
        // SAFETY: the boxes of the runs are in bounds of valid views.
        Some(unsafe { alias::shadow(group, state.runs) })
    } else {
        None
    };
    // SAFETY: offsets were planned within the arena.
    let cx = unsafe {
        Cx {
            program,
            group,
            isa: program.isa,
            arena: state.arena,
            scratch: state.arena.add(program.scratch_offset as usize),
            regs: state.regs.as_ptr(),
            ptrs: state.ptrs.as_mut_ptr(),
            runs: state.runs.as_ptr(),
            col_axis,
            ahead: group.ahead.as_ref().and_then(|m| tile_behind(m, group, state.views, state.regs)),
        }
    };
    // SAFETY: as for the whole function.
    unsafe {
        for (i, s) in group.slots.iter().enumerate() {
            if let SlotKind::Scratch(at) | SlotKind::Fetched(at) | SlotKind::Stored { at, .. } = s {
                *cx.ptrs.add(i) = cx.scratch.add(*at as usize);
            }
        }
        let mut strip = Strip { row: 0, n_rows: 0, col: 0, n_cols: 0, coords: [0; MAX_RANK], is_first: true };
        while strip.row < group.rows {
            strip.n_rows = group.strip_rows.min(group.rows - strip.row);
            strip.col = 0;
            while strip.col < group.cols {
                strip.n_cols = group.strip_cols.min(group.cols - strip.col);
                run_strip(&cx, &strip);
                strip.is_first = false;
                strip.col += strip.n_cols;
            }
            for _ in 0..strip.n_rows {
                advance(&mut strip.coords, &group.outer);
            }
            strip.row += strip.n_rows;
        }
        for &(dtype, buf, n) in &group.rounds {
            let at = cx.buf(buf);
            micro::cast(cx.isa, DType::F32, dtype, at, at, n as usize);
        }
        if let Some(s) = shadows {
            s.write_back();
        }
    }
}

unsafe fn run_strip(cx: &Cx<'_>, strip: &Strip) {
    let group = cx.group;
    let linear = strip.linear(group);
    // SAFETY: tile slots stay within their tiles for every strip of the iteration space.
    unsafe {
        for (i, s) in group.slots.iter().enumerate() {
            match s {
                SlotKind::Linear { buf, size } => {
                    *cx.ptrs.add(i) = cx.buf(*buf).add(linear * *size as usize);
                }
                SlotKind::RowOf { buf, size, strides, col_stride } => {
                    let at = tile_index(strip.col, &strip.coords, strides, *col_stride);
                    *cx.ptrs.add(i) = cx.buf(*buf).add(at * *size as usize);
                }
                SlotKind::Stored { mem, at, past } => {
                    let run = &*cx.runs.add(*mem as usize);
                    let home = cx.scratch.add(*at as usize);
                    let straight = whole_strip(cx, strip, run).filter(|to| {
                        !run.past_caches || (*past == Past::Itself && to.addr().is_multiple_of(LINE_BYTES))
                    });
                    *cx.ptrs.add(i) = straight.unwrap_or(home);
                }
                SlotKind::Scratch(_) | SlotKind::Fetched(_) => {}
            }
        }
        let parts = group.ops.len();
        for (i, op) in group.ops.iter().enumerate() {
            // Spread over the operations: memory takes only so many requests at once.
            if let Some(next) = cx.ahead
                && !group.asks_in_step
            {
                let part = |i: usize| strip.elems() * i / parts * next.element_bytes;
                let from = linear * next.element_bytes + part(i);
                micro::prefetch(next.start.wrapping_add(from), part(i + 1) - part(i));
            }
            run_op(cx, strip, op);
        }
    }
}

#[inline]
unsafe fn run_op(cx: &Cx<'_>, strip: &Strip, op: &StripOp) {
    let n = strip.elems();
    let isa = cx.isa;
    // SAFETY: slots hold `n` elements of their width; the micro-kernels' contracts are met by construction of the group.
    unsafe {
        match op {
            StripOp::Binary { op, dtype, dst, a, b } if stores_past(cx, *dst) => {
                debug_assert_eq!(*dtype, DType::F32, "only f32 has the form");
                micro::binary_past(isa, *op, cx.ptr(*dst).cast(), cx.arg(*a), cx.arg(*b), n);
            }
            StripOp::Binary { op, dtype, dst, a, b } => {
                micro::binary(isa, *op, *dtype, cx.ptr(*dst), cx.arg(*a), cx.arg(*b), n);
            }
            StripOp::Unary { op, dtype, dst, a } => {
                micro::unary(isa, *op, *dtype, cx.ptr(*dst), cx.ptr(*a), n)
            }
            StripOp::Fma { dtype, dst, a, b, c } => {
                micro::fma(isa, *dtype, cx.ptr(*dst), cx.arg(*a), cx.arg(*b), cx.arg(*c), n);
            }
            StripOp::Select { dtype, dst, cond, a, b } => {
                micro::select(isa, *dtype, cx.ptr(*dst), cx.arg(*cond), cx.arg(*a), cx.arg(*b), n);
            }
            StripOp::Cast { from, to, dst, a } => micro::cast(isa, *from, *to, cx.ptr(*dst), cx.ptr(*a), n),
            StripOp::Exp2Affine { dst, a, s, b } => {
                micro::exp2_affine(isa, cx.ptr(*dst).cast(), cx.arg(*a), cx.arg(*s), cx.arg(*b), n);
            }
            StripOp::ExpSub { dst, a, b } => {
                micro::exp_sub(isa, cx.ptr(*dst).cast(), cx.arg(*a), cx.arg(*b), n);
            }
            StripOp::Exp2Sub { dst, a, b } => {
                micro::exp2_sub(isa, cx.ptr(*dst).cast(), cx.arg(*a), cx.arg(*b), n);
            }
            StripOp::ExpSum { base, dst, a, b, sum } => {
                let next = cx.ahead.map_or(Next::NONE, |next| Next {
                    start: next.start.wrapping_add(strip.linear(cx.group) * next.element_bytes),
                    ..next
                });
                let to = cx.ptr(*dst).cast();
                let part = micro::exp_sum(isa, *base, to, cx.arg(*a), cx.arg(*b), n, next);
                let part = u64::from(part.to_bits());
                join_row(strip, ReduceOp::Sum, DType::F32, cx.buf(*sum).add(strip.row as usize * 4), part);
            }
            StripOp::Fetch { dst, mem } => fetch(cx, strip, *dst, *mem),
            StripOp::FetchTile { dst, buf, size, strides, col_stride, once } => {
                if strip.is_first || !once {
                    fetch_tile(
                        cx,
                        strip,
                        cx.ptr(*dst),
                        cx.buf(*buf),
                        usize::from(*size),
                        strides,
                        *col_stride,
                    );
                }
            }
            StripOp::Iota { dst, axis, base, once } => {
                if strip.is_first || !once {
                    let mut start = 0i32;
                    for &r in &base.add {
                        start = start.wrapping_add(*cx.regs.add(r as usize) as i32);
                    }
                    for &r in &base.sub {
                        start = start.wrapping_sub(*cx.regs.add(r as usize) as i32);
                    }
                    iota(cx, strip, cx.ptr(*dst).cast(), *axis, start);
                }
            }
            StripOp::Fill { dst, dtype, a, once } => {
                if strip.is_first || !once {
                    let (StripArg::Row(value) | StripArg::Splat(value)) = cx.arg(*a);
                    micro::fill(*dtype, cx.ptr(*dst), value, n);
                }
            }
            StripOp::Copy { dst, a, size } => {
                let (src, to) = (cx.ptr(*a), cx.ptr(*dst));
                if src != to {
                    std::ptr::copy(src, to, n * usize::from(*size));
                }
            }
            StripOp::Store { mem, a } => {
                let Operand::Row(slot) = a else { return };
                store(cx, strip, *mem, cx.ptr(*slot));
            }
            StripOp::Gather { dst, mem, indices, mask } => {
                indexed::gather(cx, strip, *dst, *mem, indices, *mask)
            }
            StripOp::Scatter { mem, indices, mask, a } => {
                indexed::scatter(cx, strip, *mem, indices, *mask, *a)
            }
            StripOp::ReduceRows { op, dtype, dst, a } => {
                reduce_rows(cx, strip, *op, *dtype, cx.buf(*dst), cx.ptr(*a));
            }
            StripOp::ReduceCols { op, dtype, dst, a, axis, strides, col_stride } => {
                let size = micro::arena_bytes(*dtype);
                let (to, src) = (cx.buf(*dst), cx.ptr(*a));
                let combine = combining(*op);
                strip.for_each_row(&cx.group.outer, |r, coords| {
                    let at = tile_index(strip.col, coords, strides, *col_stride);
                    let (to, row) = (to.add(at * size), src.add(r * strip.n_cols as usize * size));
                    if coords[*axis as usize] == 0 {
                        std::ptr::copy_nonoverlapping(row, to, strip.n_cols as usize * size);
                    } else {
                        let (a, b) = (StripArg::Row(to), StripArg::Row(row));
                        micro::binary(isa, combine, *dtype, to, a, b, strip.n_cols as usize);
                    }
                });
            }
        }
    }
}

/// Whether the slot is memory now, to be stored to past the caches.
unsafe fn stores_past(cx: &Cx<'_>, slot: u32) -> bool {
    let SlotKind::Stored { mem, at, .. } = cx.group.slots[slot as usize] else { return false };
    // SAFETY: there is a run for every access of the group.
    unsafe { (*cx.runs.add(mem as usize)).past_caches && cx.ptr(slot) != cx.scratch.add(at as usize) }
}

const fn combining(op: ReduceOp) -> BinaryOp {
    match op {
        ReduceOp::Sum => BinaryOp::Add,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    }
}

unsafe fn reduce_rows(cx: &Cx<'_>, strip: &Strip, op: ReduceOp, dtype: DType, dst: *mut u8, src: *const u8) {
    let size = micro::arena_bytes(dtype);
    let n = strip.n_cols as usize;
    // SAFETY: the reduced tile has an element per row.
    unsafe {
        let to = dst.add(strip.row as usize * size);
        if strip.col == 0 {
            micro::reduce(cx.isa, op, dtype, to, src, strip.n_rows as usize, n, 1);
            return;
        }
        let mut part = 0u64;
        micro::reduce(cx.isa, op, dtype, (&raw mut part).cast(), src, 1, n, 1);
        join_row(strip, op, dtype, to, part);
    }
}

/// Puts what a strip of one row was reduced to at `to`; a later segment joins what the earlier ones gave.
unsafe fn join_row(strip: &Strip, op: ReduceOp, dtype: DType, to: *mut u8, part: u64) {
    let joined =
        |old: u64| if strip.col == 0 { part } else { scalar::binary(combining(op), dtype, old, part) };
    // SAFETY: `to` is the row's element of the reduced tile.
    unsafe {
        if micro::arena_bytes(dtype) == 8 {
            let to = to.cast::<u64>();
            *to = joined(*to);
        } else {
            let to = to.cast::<u32>();
            *to = joined(u64::from(*to)) as u32;
        }
    }
}

unsafe fn iota(cx: &Cx<'_>, strip: &Strip, dst: *mut i32, axis: u8, start: i32) {
    let n = strip.n_cols as usize;
    let constant = |to: *mut i32, value: i32, n: usize| {
        // SAFETY: `to` has room for the strip.
        unsafe { micro::fill(DType::I32, to.cast(), (&raw const value).cast(), n) }
    };
    if axis == NO_AXIS {
        constant(dst, start, strip.elems());
        return;
    }
    strip.for_each_row(&cx.group.outer, |r, coords| {
        // SAFETY: row `r` of the strip.
        unsafe {
            let row = dst.add(r * n);
            if axis as usize == cx.col_axis {
                micro::iota(row, start.wrapping_add(strip.col as i32), n);
            } else {
                constant(row, start.wrapping_add(coords[axis as usize] as i32), n);
            }
        }
    });
}

/// Whether the outer coordinates are in bounds.
fn is_inside(run: &MemRun, coords: &[i64; MAX_RANK], n_outer: usize) -> bool {
    (0..n_outer).all(|j| run.lo[j] <= coords[j] && coords[j] < run.hi[j])
}

/// Where the strip begins in memory, if all of it is in bounds and its elements follow one another there.
fn whole_strip(cx: &Cx<'_>, strip: &Strip, run: &MemRun) -> Option<*mut u8> {
    let n_outer = cx.group.outer.len();
    let (first, end) = (i64::from(strip.col), i64::from(strip.col + strip.n_cols));
    let ca = cx.col_axis;
    let whole_cols = run.lo[ca] <= first && end <= run.hi[ca] && run.stride[ca] == run.size;
    // Rows that follow one another in memory are one long row.
    let follows = strip.n_rows == 1
        || (n_outer == 1
            && run.stride[0] == i64::from(cx.group.cols) * run.size
            && strip.coords[0] + i64::from(strip.n_rows) <= run.hi[0]);
    (whole_cols && follows && is_inside(run, &strip.coords, n_outer))
        .then(|| run.address(&strip.coords, n_outer).wrapping_offset((first * run.size) as isize))
}

unsafe fn fetch(cx: &Cx<'_>, strip: &Strip, dst: u32, mem: u32) {
    let access = &cx.group.mems[mem as usize];
    let dtype = access.dtype;
    let element = micro::arena_bytes(dtype);
    let n_outer = cx.group.outer.len();
    let n = strip.n_cols as usize;
    let first = i64::from(strip.col);
    // SAFETY: only elements inside the run's box are read; the slot has room for the strip.
    unsafe {
        let run = &*cx.runs.add(mem as usize);
        let (home, may_point) = match cx.group.slots[dst as usize] {
            SlotKind::Fetched(at) => (cx.scratch.add(at as usize), is_verbatim(dtype)),
            SlotKind::Scratch(_)
            | SlotKind::Linear { .. }
            | SlotKind::RowOf { .. }
            | SlotKind::Stored { .. } => (cx.ptr(dst), false),
        };
        *cx.ptrs.add(dst as usize) = home;
        if let Some(src) = whole_strip(cx, strip, run) {
            if may_point {
                *cx.ptrs.add(dst as usize) = src;
            } else {
                micro::widen(cx.isa, dtype, src, home, strip.elems());
            }
            return;
        }
        let cols = Cols { axis: cx.col_axis, first, n };
        strip.for_each_row(&cx.group.outer, |r, coords| {
            let to = home.add(r * n * element);
            if is_inside(run, coords, n_outer) {
                read_row(cx.isa, dtype, run, run.address(coords, n_outer), cols, to);
            } else {
                micro::fill(dtype, to, (&raw const run.pad).cast(), n);
            }
        });
    }
}

unsafe fn store(cx: &Cx<'_>, strip: &Strip, mem: u32, src: *const u8) {
    let dtype = cx.group.mems[mem as usize].dtype;
    let element = micro::arena_bytes(dtype);
    let n_outer = cx.group.outer.len();
    let n = strip.n_cols as usize;
    let cols = Cols { axis: cx.col_axis, first: i64::from(strip.col), n };
    // SAFETY: only elements inside the run's box are written.
    unsafe {
        let run = &*cx.runs.add(mem as usize);
        if let Some(dst) = whole_strip(cx, strip, run) {
            // What was computed in place is there already.
            if src != dst.cast_const() {
                write_run(cx.isa, dtype, run, src, dst, strip.elems());
            }
            return;
        }
        strip.for_each_row(&cx.group.outer, |r, coords| {
            if is_inside(run, coords, n_outer) {
                let row = run.address(coords, n_outer);
                write_row(cx.isa, dtype, run, row, cols, src.add(r * n * element));
            }
        });
    }
}

unsafe fn fetch_tile(
    cx: &Cx<'_>,
    strip: &Strip,
    dst: *mut u8,
    tile: *const u8,
    size: usize,
    strides: &[u32; MAX_RANK],
    col_stride: u32,
) {
    let n = strip.n_cols as usize;
    let dtype = if size == 8 { DType::I64 } else { DType::I32 };
    strip.for_each_row(&cx.group.outer, |r, coords| {
        let at = tile_index(strip.col, coords, strides, col_stride);
        // SAFETY: coordinates stay within the tile's extents.
        unsafe {
            let (src, to) = (tile.add(at * size), dst.add(r * n * size));
            match col_stride {
                0 => micro::fill(dtype, to, src, n),
                1 => std::ptr::copy_nonoverlapping(src, to, n * size),
                _ => micro::widen_strided(cx.isa, dtype, src, col_stride as isize, to, n),
            }
        }
    });
}
