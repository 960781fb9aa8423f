//! Runs a matrix product: brings each operand into the shape that the micro-kernel wants, then multiplies in place.
//!
//! | operand | taken as |
//! |---|---|
//! | A, f32, in bounds, rows not aliasing in cache | memory itself |
//! | A otherwise | copied, widened, row-major |
//! | B tile, row-major | the tile itself |
//! | B otherwise | packed into panels |
//! | B in memory, at most 8 rows of A | streamed from memory, not copied |
//!
//! Rows of A and columns of B out of bounds (padded with 0) are left out, and so is the end of K where both operands are:
//! the accumulator keeps its value there.
#![allow(unsafe_code, reason = "hands raw tiles and views to the matrix micro-kernels")]

use super::memory::{MemRun, prepare, read_element};
use super::micro::{self, Isa};
use super::program::{CpuProgram, DotPlan, DotSide, MemAccess};
use super::run::State;
use crate::ir::{DType, MAX_RANK};

/// Rows of A up to which B is streamed from memory.
const STREAM_ROWS: usize = 8;

/// Bytes of the next product's operand that are asked for: what its own stream does not.
const AHEAD_BYTES: usize = 8192;

/// A rectangle in memory, of one batch element.
#[derive(Clone, Copy)]
struct Rect {
    base: *mut u8,
    dtype: DType,
    /// Bytes between rows and columns.
    strides: [i64; 2],
    lo: [i64; 2],
    hi: [i64; 2],
    pad: u32,
}

impl Rect {
    fn new(access: &MemAccess, run: &MemRun, batch: i64) -> Self {
        let inside = run.lo[0] <= batch && batch < run.hi[0];
        let end = |j: usize| if inside { run.hi[j].max(run.lo[j]) } else { 0 };
        let start = |j: usize| if inside { run.lo[j] } else { 0 };
        Self {
            base: run.base.wrapping_offset((batch * run.stride[0]) as isize),
            dtype: access.dtype,
            strides: [run.stride[1], run.stride[2]],
            lo: [start(1), start(2)],
            hi: [end(1), end(2)],
            pad: run.pad as u32,
        }
    }

    const fn size(&self) -> i64 {
        self.dtype.size_bytes() as i64
    }

    const fn elements(&self, axis: usize) -> isize {
        (self.strides[axis] / self.size()) as isize
    }

    /// Whether rows `0..rows` and columns `0..cols` are all in bounds.
    const fn holds(&self, rows: usize, cols: usize) -> bool {
        self.lo[0] == 0 && self.lo[1] == 0 && self.hi[0] >= rows as i64 && self.hi[1] >= cols as i64
    }

    const fn starts_at_zero(&self) -> bool {
        self.lo[0] == 0 && self.lo[1] == 0
    }

    unsafe fn element(&self, row: i64, col: i64) -> u32 {
        let inside = self.lo[0] <= row && row < self.hi[0] && self.lo[1] <= col && col < self.hi[1];
        if !inside {
            return self.pad;
        }
        let at = row.wrapping_mul(self.strides[0]).wrapping_add(col.wrapping_mul(self.strides[1]));
        // SAFETY: the element is in bounds.
        unsafe { read_element(self.dtype, self.base.wrapping_offset(at as isize)) as u32 }
    }
}

/// One side for one batch element.
#[derive(Clone, Copy)]
enum Side {
    Tile { at: *mut u8, row: usize, col: usize },
    Rect(Rect),
}

/// Runs `plan`.
///
/// # Safety
/// The state belongs to `program` and its views are valid.
pub(crate) unsafe fn run_dot(program: &CpuProgram, plan: &DotPlan, state: &State<'_>) {
    let (m, n, k) = (plan.m as usize, plan.n as usize, plan.k as usize);
    let resolve = |side: &DotSide, rows: usize, cols: usize| match side {
        DotSide::Tile { .. } => MemRun::EMPTY,
        DotSide::View(access) => {
            let mut dims = [1i64; MAX_RANK];
            dims[..3].copy_from_slice(&[i64::from(plan.batch), rows as i64, cols as i64]);
            prepare(access, state.views, state.regs, &dims)
        }
    };
    let (a_run, b_run) = (resolve(&plan.a, m, k), resolve(&plan.b, k, n));
    if let Some(next) = &plan.ahead
        && m <= STREAM_ROWS
    {
        let run = prepare(next, state.views, state.regs, &[1; MAX_RANK]);
        micro::prefetch(run.base, AHEAD_BYTES);
    }
    // SAFETY: buffers were planned for these extents.
    unsafe {
        let buf = |b: u32| state.arena.add(program.buf_offsets[b as usize] as usize);
        let pick = |side: &DotSide, run: &MemRun, i: usize| match side {
            DotSide::Tile { buf: b, strides } => Side::Tile {
                at: buf(*b).add(i * strides[0] as usize * 4),
                row: strides[1] as usize,
                col: strides[2] as usize,
            },
            DotSide::View(access) => Side::Rect(Rect::new(access, run, i as i64)),
        };
        let room = Room {
            a: plan.a_pack.map(&buf),
            a_stride: plan.a_pack_stride as usize,
            b: plan.b_pack.map(&buf),
        };
        for i in 0..plan.batch as usize {
            let c = buf(plan.c).add(i * m * n * 4);
            let (a, b) = (pick(&plan.a, &a_run, i), pick(&plan.b, &b_run, i));
            product(program.isa, plan, a, b, c, &room);
        }
    }
}

/// Room for copies of the operands.
struct Room {
    a: Option<*mut u8>,
    a_stride: usize,
    b: Option<*mut u8>,
}

unsafe fn product(isa: Isa, plan: &DotPlan, a: Side, b: Side, c: *mut u8, room: &Room) {
    let (mut m, mut n, mut k) = (plan.m as usize, plan.n as usize, plan.k as usize);
    let c_stride = n;
    if let Side::Rect(r) = &a
        && r.pad == 0
        && r.starts_at_zero()
    {
        m = m.min(r.hi[0] as usize);
    }
    if let Side::Rect(r) = &b
        && r.pad == 0
        && r.starts_at_zero()
    {
        n = n.min(r.hi[1] as usize);
    }
    if let (Side::Rect(x), Side::Rect(y)) = (&a, &b)
        && x.pad == 0
        && y.pad == 0
        && x.starts_at_zero()
        && y.starts_at_zero()
    {
        k = k.min(x.hi[1].max(y.hi[0]) as usize);
    }
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    // SAFETY: extents only shrank; the copies have room for the full ones.
    unsafe {
        let (a_at, a_stride) = bring_a(isa, a, m, k, room);
        if let Side::Rect(r) = &b
            && m <= STREAM_ROWS
            && !plan.is_int
            && r.holds(k, n)
        {
            let (x, out) = (a_at.cast::<f32>(), c.cast::<f32>());
            if r.strides[0] == r.size() && r.strides[1] >= 0 {
                micro::rows_dot(
                    isa,
                    r.dtype,
                    m,
                    n,
                    k,
                    x,
                    a_stride,
                    r.base,
                    r.elements(1) as usize,
                    out,
                    c_stride,
                );
                return;
            }
            if r.strides[1] == r.size() && r.strides[0] >= 0 {
                micro::cols_dot(
                    isa,
                    r.dtype,
                    m,
                    k,
                    n,
                    x,
                    a_stride,
                    r.base,
                    r.elements(0) as usize,
                    out,
                    c_stride,
                );
                return;
            }
        }
        let (b_at, panel, row) = bring_b(isa, b, k, n, room);
        if plan.is_int {
            micro::gemm_i32(isa, m, n, k, a_at.cast(), a_stride, b_at.cast(), panel, row, c.cast(), c_stride);
        } else {
            micro::gemm_f32(isa, m, n, k, a_at.cast(), a_stride, b_at.cast(), panel, row, c.cast(), c_stride);
        }
    }
}

/// Whether rows this many bytes apart crowd few cache sets.
const fn rows_alias(stride_bytes: i64, rows: usize) -> bool {
    stride_bytes % 1024 == 0 && rows > 64
}

/// A as row-major 4-byte elements: address and row stride.
unsafe fn bring_a(isa: Isa, a: Side, m: usize, k: usize, room: &Room) -> (*mut u8, usize) {
    // SAFETY: as for `product`.
    unsafe {
        match a {
            Side::Tile { at, row, col: 1 } => (at, row),
            Side::Tile { at, row, col } => {
                let to = room.a.expect("a strided operand should have room for its copy");
                micro::pack_a(
                    isa,
                    DType::F32,
                    at,
                    row as isize,
                    col as isize,
                    m,
                    k,
                    m,
                    k,
                    0,
                    to.cast(),
                    room.a_stride,
                );
                (to, room.a_stride)
            }
            Side::Rect(r) => {
                let in_place = matches!(r.dtype, DType::F32 | DType::I32 | DType::U32)
                    && r.holds(m, k)
                    && r.strides[1] == 4
                    && r.strides[0] >= 0
                    && !rows_alias(r.strides[0], m);
                if in_place {
                    return (r.base, (r.strides[0] / 4) as usize);
                }
                let to = room.a.expect("an operand in memory should have room for its copy");
                if r.starts_at_zero() {
                    let valid = (r.hi[0] as usize, r.hi[1] as usize);
                    micro::pack_a(
                        isa,
                        r.dtype,
                        r.base,
                        r.elements(0),
                        r.elements(1),
                        valid.0.min(m),
                        valid.1.min(k),
                        m,
                        k,
                        r.pad,
                        to.cast(),
                        room.a_stride,
                    );
                } else {
                    for i in 0..m {
                        for j in 0..k {
                            *to.cast::<u32>().add(i * room.a_stride + j) = r.element(i as i64, j as i64);
                        }
                    }
                }
                (to, room.a_stride)
            }
        }
    }
}

/// B for the micro-kernel: address, panel stride, row stride.
unsafe fn bring_b(isa: Isa, b: Side, k: usize, n: usize, room: &Room) -> (*mut u8, usize, usize) {
    let width = isa.panel_width();
    let packed = |to: *mut u8| (to, k * width, width);
    // SAFETY: as for `product`.
    unsafe {
        match b {
            Side::Tile { at, row, col: 1 } => (at, width, row),
            Side::Tile { at, row, col } => {
                let to = room.b.expect("a strided operand should have room for its panels");
                micro::pack_b(isa, DType::F32, at, row as isize, col as isize, k, n, k, n, 0, to.cast());
                packed(to)
            }
            Side::Rect(r) => {
                let to = room.b.expect("an operand in memory should have room for its panels");
                if r.starts_at_zero() {
                    let valid = (r.hi[0] as usize, r.hi[1] as usize);
                    micro::pack_b(
                        isa,
                        r.dtype,
                        r.base,
                        r.elements(0),
                        r.elements(1),
                        valid.0.min(k),
                        valid.1.min(n),
                        k,
                        n,
                        r.pad,
                        to.cast(),
                    );
                } else {
                    for kk in 0..k {
                        for j in 0..n {
                            let at = (j / width) * k * width + kk * width + j % width;
                            *to.cast::<u32>().add(at) = r.element(kk as i64, j as i64);
                        }
                    }
                }
                packed(to)
            }
        }
    }
}
