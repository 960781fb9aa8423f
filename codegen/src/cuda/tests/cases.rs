//! Kernels that together have every statement of every target.

use super::build::{Build, rows, through};
use crate::gpu::{Coord, GpuFunc, MatrixOperand, MatrixShape, Op, Operand, StmtKind, Swizzle, Var};
use crate::ir::{ArgOp, BinaryOp, Const, DType, ReduceOp, TypeRule, UnaryOp};
use crate::layout::{Layout, MmaOperand, WarpGrid};

const F32: DType = DType::F32;
const BF16: DType = DType::BF16;

fn of(v: Var) -> Operand {
    Operand::of(v)
}

/// `y = a x + y`, four elements per access.
pub(crate) fn axpy() -> GpuFunc {
    let mut b = Build::new("axpy", 4);
    let (x, y) = (b.view("x", F32, 1, false), b.view("y", F32, 1, true));
    let a = b.param("a", F32);
    let first = b.first("first", 0, 2048);
    let layout = rows(&[2048], 4, 4);
    b.line();
    let xs = b.load("xs", x, &[first], &[2048], &layout, 4);
    let ys = b.load("ys", y, &[first], &[2048], &layout, 4);
    b.line();
    let ax = b.tile("ax", F32, &[2048], &layout);
    b.set(ax, Op::Binary(BinaryOp::Mul, of(a), of(xs)));
    let out = b.tile("sum", F32, &[2048], &layout);
    b.set(out, Op::Binary(BinaryOp::Add, of(ax), of(ys)));
    b.line().store(y, &[first], out, 4);
    b.done()
}

/// Each row of bf16 divided by its root mean square: a reduction over lanes and warps, packed arithmetic.
pub(crate) fn rms_norm() -> GpuFunc {
    let mut b = Build::new("rms_norm", 4);
    let (x, y) = (b.view("x", BF16, 2, false), b.view("y", BF16, 2, true));
    let eps = b.param("eps", F32);
    let first = b.first("first", 0, 2);
    let zero = b.int(0);
    let shape = [2, 2048];
    let layout = rows(&shape, 2, 4);
    let slice = layout.slice(1).unwrap();
    b.line();
    let xs = b.load("xs", x, &[first, zero], &shape, &layout, 8);
    b.line();
    let wide = b.tile("wide", F32, &shape, &layout);
    b.set(wide, Op::Cast(of(xs)));
    let square = b.tile("square", F32, &shape, &layout);
    b.set(square, Op::Binary(BinaryOp::Mul, of(wide), of(wide)));
    let (n_rows, n_columns) = crate::layout::reduce_scratch(&layout, 1).unwrap();
    let scratch = b.buffer("partial", F32, [1, n_rows, n_columns], 1, n_columns * 4, Swizzle::None);
    let total = b.tile("total", F32, &[2], &slice.layout);
    b.set(total, Op::Reduce { op: ReduceOp::Sum, src: square, axis: 1, scratch: Some(scratch) });
    b.line();
    let count = b.float(F32, 2048.0);
    let mean = b.tile("mean", F32, &[2], &slice.layout);
    b.set(mean, Op::Binary(BinaryOp::Div, of(total), of(count)));
    let safe = b.tile("", F32, &[2], &slice.layout);
    b.set(safe, Op::Binary(BinaryOp::Add, of(mean), of(eps)));
    let scale = b.tile("scale", F32, &[2], &slice.layout);
    b.set(scale, Op::Unary(UnaryOp::Rsqrt, of(safe)));
    b.line();
    let normed = b.tile("normed", F32, &shape, &layout);
    b.set(normed, Op::Binary(BinaryOp::Mul, of(wide), through(scale, slice.register.clone())));
    let out = b.tile("out", BF16, &shape, &layout);
    b.set(out, Op::Cast(of(normed)));
    b.line().store(y, &[first, zero], out, 8);
    b.done()
}

/// An odd number of f16 per thread, and a tile smaller than its layout.
pub(crate) fn odd_half() -> GpuFunc {
    let mut b = Build::new("odd_half", 2);
    let (x, y) = (b.view("x", DType::F16, 1, false), b.view("y", DType::F16, 1, true));
    let scale = b.param("scale", DType::F16);
    let first = b.first("first", 0, 190);
    let layout = rows(&[192], 2, 2);
    let xs = b.load("xs", x, &[first], &[190], &layout, 1);
    let out = b.tile("out", DType::F16, &[190], &layout);
    b.set(out, Op::Fma(of(xs), of(scale), of(xs)));
    b.line().store(y, &[first], out, 1);
    b.done()
}

/// Every elementwise operation on tiles and scalars of one type.
pub(crate) fn elementwise(dtype: DType) -> GpuFunc {
    let mut b = Build::new(&format!("elementwise_{}", dtype.name()), 1);
    let (x, y) = (b.view("x", dtype, 1, false), b.view("y", dtype, 2, true));
    let p = b.param("p", dtype);
    let zero = b.int(0);
    let layout = rows(&[64], 4, 1);
    let xs = b.load("xs", x, &[zero], &[64], &layout, 2);
    let truth = b.tile("truth", DType::Bool, &[64], &layout);
    let first_truth = dtype.is_arith() || dtype == DType::Bool;
    if first_truth {
        b.set(truth, Op::Binary(BinaryOp::Lt, of(xs), of(p)));
    }
    let mut row = 0;
    let mut keep = |b: &mut Build, t: Var| {
        let at = b.int(row);
        row += 1;
        let coords = vec![Coord::Zero, Coord::Axis(0)];
        b.line().stmt(StmtKind::Store { view: y, offsets: vec![at, zero], coords, src: t, vector: 2 });
    };
    for &op in UnaryOp::ALL {
        if op.rule().accepts(dtype) {
            let t = b.tile(op.mnemonic(), dtype, &[64], &layout);
            b.set(t, Op::Unary(op, of(xs)));
            keep(&mut b, t);
            let s = b.scalar("s", dtype);
            b.set(s, Op::Unary(op, of(p)));
            let t = b.tile("both", dtype, &[64], &layout);
            b.set(t, Op::Copy(of(s)));
            keep(&mut b, t);
        }
    }
    for &op in BinaryOp::ALL {
        if !op.rule().accepts(dtype) {
            continue;
        }
        if op.rule() == TypeRule::Compare {
            let t = b.tile("test", DType::Bool, &[64], &layout);
            b.set(t, Op::Binary(op, of(xs), of(p)));
            let u = b.tile("picked", dtype, &[64], &layout);
            b.set(u, Op::Select(of(t), of(xs), of(p)));
            keep(&mut b, u);
            continue;
        }
        let t = b.tile(op.mnemonic(), dtype, &[64], &layout);
        b.set(t, Op::Binary(op, of(xs), of(p)));
        let u = b.tile("twice", dtype, &[64], &layout);
        b.set(u, Op::Binary(op, of(t), of(xs)));
        keep(&mut b, u);
        let three =
            if dtype.is_float() { b.float(dtype, 3.0) } else { b.constant(Const::from_i64(dtype, 3)) };
        let s = b.scalar("s", dtype);
        b.set(s, Op::Binary(op, of(p), of(three)));
        let t = b.tile("both", dtype, &[64], &layout);
        b.set(t, Op::Copy(of(s)));
        keep(&mut b, t);
    }
    if first_truth {
        let u = b.tile("picked", dtype, &[64], &layout);
        b.set(u, Op::Select(of(truth), of(xs), of(p)));
        keep(&mut b, u);
    }
    b.done()
}

/// Casts from one type to all others.
pub(crate) fn casts(from: DType) -> GpuFunc {
    let mut b = Build::new(&format!("casts_{}", from.name()), 1);
    let x = b.view("x", from, 1, false);
    let p = b.param("p", from);
    let zero = b.int(0);
    let layout = rows(&[128], 4, 1);
    let xs = b.load("xs", x, &[zero], &[128], &layout, 4);
    for to in DType::ALL {
        let y = b.view(&format!("to_{}", to.name()), to, 1, true);
        let t = b.tile("cast", to, &[128], &layout);
        b.line().set(t, Op::Cast(of(xs)));
        b.store(y, &[zero], t, if to == DType::I64 { 2 } else { 4 });
        let s = b.scalar("one", to);
        b.set(s, Op::Cast(of(p)));
        let at = b.int(128);
        b.store(y, &[at], s, 1);
    }
    b.done()
}

/// Views of views, points, and a branch between two views.
pub(crate) fn views() -> GpuFunc {
    let mut b = Build::new("views", 2);
    let (x, y) = (b.view("x", F32, 3, false), b.view("y", F32, 2, true));
    let at = b.param("at", DType::I32);
    let flag = b.param("flag", DType::Bool);
    let zero = b.int(0);
    let plane = b.view_var("plane", F32, 2, false);
    b.line().set(plane, Op::ViewSelect(x, 0, at));
    let ten = b.int(10);
    let part = b.view_var("part", F32, 2, false);
    b.line().set(part, Op::ViewSlice(plane, 1, at, ten));
    let turned = b.view_var("turned", F32, 2, false);
    b.line().set(turned, Op::ViewPermute(part, vec![1, 0]));
    let chosen = b.view_var("chosen", F32, 2, false);
    let then_block = b.block(|b| {
        b.set(chosen, Op::Copy(of(turned)));
    });
    let else_block = b.block(|b| {
        b.set(chosen, Op::Copy(of(plane)));
    });
    b.line().stmt(StmtKind::If { cond: flag, then_block, else_block });
    let extent = b.scalar("extent", DType::I32);
    b.line().set(extent, Op::ViewDim(chosen, 0));
    let one = b.scalar("one", F32);
    let pad = b.float(F32, f64::NEG_INFINITY);
    b.set(one, Op::LoadPoint { view: turned, offsets: vec![extent, zero], pad });
    let layout = rows(&[16, 32], 4, 2);
    let tile = b.load("tile", chosen, &[zero, zero], &[16, 32], &layout, 1);
    let out = b.tile("out", F32, &[16, 32], &layout);
    b.set(out, Op::Binary(BinaryOp::Max, of(tile), of(one)));
    b.line().store(y, &[zero, zero], out, 4);
    b.store(y, &[extent, zero], one, 1);
    b.done()
}

/// Elements at index tiles, with masks; coordinates and what a reshape makes of them.
pub(crate) fn indexed() -> GpuFunc {
    let mut b = Build::new("indexed", 2);
    let (x, y) = (b.view("x", BF16, 2, false), b.view("y", BF16, 2, true));
    let n = b.param("n", DType::I32);
    let layout = rows(&[4, 64], 2, 2);
    let digits =
        |div, modulo| Coord::Digit { of: vec![(Coord::Axis(0), 64), (Coord::Axis(1), 1)], div, modulo };
    let row = b.tile("i", DType::I32, &[4, 64], &layout);
    b.set(row, Op::Coord(digits(12, 0)));
    let column = b.tile("j", DType::I32, &[4, 64], &layout);
    b.set(column, Op::Coord(digits(1, 12)));
    let mask = b.tile("mask", DType::Bool, &[4, 64], &layout);
    b.set(mask, Op::Binary(BinaryOp::Lt, of(row), of(n)));
    let pad = b.float(BF16, -1.5);
    let got = b.tile("got", BF16, &[4, 64], &layout);
    b.line().set(got, Op::Gather { view: x, indices: vec![of(row), of(column)], mask: Some(of(mask)), pad });
    let twice = b.tile("twice", BF16, &[4, 64], &layout);
    b.line().set(twice, Op::Binary(BinaryOp::Add, of(got), of(got)));
    b.line().stmt(StmtKind::Scatter {
        view: y,
        indices: vec![of(column), of(row)],
        src: of(twice),
        mask: Some(of(mask)),
    });
    b.stmt(StmtKind::Scatter { view: y, indices: vec![of(n), of(n)], src: of(pad), mask: None });
    b.done()
}

/// Sum, maximum and positions along both axes, of a type, with a tile smaller than its layout.
pub(crate) fn reductions(dtype: DType) -> GpuFunc {
    let mut b = Build::new(&format!("reductions_{}", dtype.name()), 4);
    let x = b.view("x", dtype, 2, false);
    let zero = b.int(0);
    let (shape, covered) = ([30, 60], [32, 64]);
    let layout = rows(&covered, 4, 4);
    let xs = b.load("xs", x, &[zero, zero], &shape, &layout, 1);
    let accumulator = if dtype.is_float() { F32 } else { dtype };
    let wide = if dtype == DType::I64 { 8 } else { 4 };
    for axis in [0u8, 1] {
        let slice = layout.slice(usize::from(axis)).unwrap().layout;
        let extent = shape[1 - usize::from(axis)];
        let scratch = |b: &mut Build, name: &str, dtype, bytes| {
            let size = crate::layout::reduce_scratch(&layout, usize::from(axis));
            size.map(|(rows, columns)| {
                b.buffer(name, dtype, [1, rows, columns], 1, columns * bytes, Swizzle::None)
            })
        };
        for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
            let y = b.view(&format!("{}_{axis}", op.mnemonic()), dtype, 1, true);
            let scratch = scratch(&mut b, "values", accumulator, wide);
            let t = b.tile("reduced", dtype, &[extent], &slice);
            b.line().set(t, Op::Reduce { op, src: xs, axis, scratch });
            b.store(y, &[zero], t, 1);
        }
        for op in [ArgOp::ArgMax, ArgOp::ArgMin] {
            let y = b.view(&format!("{}_{axis}", op.mnemonic()), DType::I32, 1, true);
            let values = scratch(&mut b, "values", accumulator, wide);
            let positions = scratch(&mut b, "positions", DType::I32, 4);
            let t = b.tile("found", DType::I32, &[extent], &slice);
            b.line().set(t, Op::ArgReduce { op, src: xs, axis, values, positions });
            b.store(y, &[zero], t, 1);
        }
    }
    b.done()
}

/// A sum of all elements as a scalar, through one warp's lanes.
pub(crate) fn total() -> GpuFunc {
    let mut b = Build::new("total", 1);
    let (x, y) = (b.view("x", F32, 1, false), b.view("y", F32, 1, true));
    let zero = b.int(0);
    let layout = rows(&[128], 4, 1);
    let xs = b.load("xs", x, &[zero], &[128], &layout, 4);
    let sum = b.scalar("sum", F32);
    b.line().set(sum, Op::Reduce { op: ReduceOp::Sum, src: xs, axis: 0, scratch: None });
    b.line().store(y, &[zero], sum, 1);
    b.done()
}

/// A transposition through swizzled shared memory.
pub(crate) fn transpose(dtype: DType, swizzle: Swizzle) -> GpuFunc {
    let kind = if swizzle == Swizzle::None { "padded" } else { "swizzled" };
    let mut b = Build::new(&format!("transpose_{}_{kind}", dtype.name()), 4);
    let (x, y) = (b.view("x", dtype, 2, false), b.view("y", dtype, 2, true));
    let zero = b.int(0);
    let size = dtype.size_bytes() as u32;
    let columns = 128 / size;
    let (from, to) = (rows(&[64, columns], size, 4), rows(&[columns, 64], size, 4));
    let pitch = if swizzle == Swizzle::None { 128 + 16 } else { 128 };
    let buffer = b.buffer("tile", dtype, [1, 64, columns], 1, pitch, swizzle);
    let width = 16 / size;
    let xs = b.load("xs", x, &[zero, zero], &[64, columns], &from, width);
    let straight = [Coord::Axis(0), Coord::Axis(1)];
    b.line().stmt(StmtKind::ToShared { src: xs, buffer, slot: None, coords: straight, vector: width });
    b.stmt(StmtKind::Barrier { id: 0, n_threads: 128 });
    let t = b.tile("turned", dtype, &[columns, 64], &to);
    b.line().set(t, Op::FromShared { buffer, slot: None, coords: [Coord::Axis(1), Coord::Axis(0)] });
    b.line().store(y, &[zero, zero], t, width);
    b.done()
}

/// A product by fused multiply-adds, operands copied asynchronously; each operand stored either way.
pub(crate) fn dot(dtype: DType, a_k_rows: bool, b_k_rows: bool) -> GpuFunc {
    let name = format!("dot_{}_{}{}", dtype.name(), u8::from(a_k_rows), u8::from(b_k_rows));
    let mut b = Build::new(&name, 4);
    let (av, bv) = (b.view("a", dtype, 2, false), b.view("b", dtype, 2, false));
    let acc_dtype = if dtype.is_float() { F32 } else { DType::I32 };
    let c = b.view("c", acc_dtype, 2, true);
    let zero = b.int(0);
    let (m, n, k) = (32, 64, 32);
    let layout = rows(&[m, n], 4, 4);
    let size = dtype.size_bytes() as u32;
    let shared = |b: &mut Build, name: &str, lines: u32, k_rows: bool| {
        let (rows, columns) = if k_rows { (k, lines) } else { (lines, k) };
        b.buffer(name, dtype, [1, rows, columns], 2, columns * size + 16, Swizzle::None)
    };
    let (a_tile, b_tile) = (shared(&mut b, "a_tile", m, a_k_rows), shared(&mut b, "b_tile", n, b_k_rows));
    let slot = b.scalar("slot", DType::I32);
    let one = b.int(1);
    b.set(slot, Op::Copy(of(zero)));
    let copy = |view, buffer| StmtKind::CopyAsync {
        view,
        offsets: vec![zero, zero],
        row_axis: 0,
        column_axis: 1,
        buffer,
        slot: Some(slot),
        bytes: 16,
        guard: None,
    };
    b.line().stmt(copy(av, a_tile)).stmt(copy(bv, b_tile)).stmt(StmtKind::CommitCopies);
    b.stmt(StmtKind::WaitCopies { pending: 0 }).stmt(StmtKind::Barrier { id: 0, n_threads: 128 });
    let acc = b.tile("acc", acc_dtype, &[m, n], &layout);
    let start = b.zero(acc_dtype);
    b.line().set(acc, Op::Copy(of(start)));
    let lo = b.int(0);
    let iv = b.scalar("k0", DType::I32);
    let body = b.block(|b| {
        b.line().stmt(StmtKind::DotShared {
            acc,
            a: a_tile,
            a_k_rows,
            b: b_tile,
            b_k_rows,
            k,
            a_slot: Some(slot),
            b_slot: Some(slot),
        });
        b.stmt(StmtKind::Advance { slot, phase: None, slots: 2 });
    });
    b.stmt(StmtKind::For { iv, lo, hi: one, step: one, body });
    b.line().store(c, &[zero, zero], acc, 4);
    b.done()
}

/// A product of few rows in registers, the copies of the accumulator added up.
pub(crate) fn dot_rows() -> GpuFunc {
    let mut b = Build::new("dot_rows", 4);
    let (av, bv) = (b.view("a", BF16, 2, false), b.view("b", BF16, 2, false));
    let c = b.view("c", F32, 2, true);
    let zero = b.int(0);
    let at = |row, column| [row, column, 0, 0];
    // Lanes and warps run along K (of B's rows [N, K]), registers over 8 of K and 4 of N.
    let (k_lanes, k_warps) = ([8, 16, 32, 64, 128], [256, 512]);
    let layout = |registers: Vec<[u32; 4]>, shape: &[u32], held: bool| {
        let along = |v: u32| if held { at(0, v) } else { at(0, 0) };
        let bases = crate::layout::Bases {
            register: registers,
            lane: k_lanes.map(along).to_vec(),
            warp: k_warps.map(along).to_vec(),
        };
        Layout::new(shape, &bases).unwrap()
    };
    let along_k = vec![at(0, 1), at(0, 2), at(0, 4)];
    let a_layout = layout([along_k.clone(), vec![at(1, 0)]].concat(), &[2, 1024], true);
    let b_layout = layout([along_k, vec![at(1, 0), at(2, 0)]].concat(), &[4, 1024], true);
    let acc_layout = layout(vec![at(0, 1), at(0, 2), at(1, 0)], &[2, 4], false);
    let a = b.load("a", av, &[zero, zero], &[2, 1024], &a_layout, 8);
    let bt = b.load("b", bv, &[zero, zero], &[4, 1024], &b_layout, 8);
    let acc = b.tile("acc", F32, &[2, 4], &acc_layout);
    let start = b.zero(F32);
    b.line().set(acc, Op::Copy(of(start)));
    let lanes = (0..32).map(|r: u16| (r >> 3, r & 7)).collect();
    b.line().stmt(StmtKind::DotRows { acc, a, b: bt, lanes, m: 2, strides: (4, 8) });
    let (rows, columns) = crate::layout::partials_scratch(&acc_layout).unwrap();
    let scratch = b.buffer("partial", F32, [1, rows, columns], 1, columns * 4, Swizzle::None);
    let sum = b.tile("sum", F32, &[2, 4], &acc_layout);
    b.line().set(sum, Op::SumPartials { src: acc, scratch: Some(scratch) });
    b.line().store(c, &[zero, zero], sum, 4);
    b.done()
}

/// A product by `mma.sync` over a ring of copies, each operand stored either way; swizzled rows of 128 bytes.
pub(crate) fn mma(dtype: DType, a_k_rows: bool, b_k_rows: bool) -> GpuFunc {
    let name = format!("mma_{}_{}{}", dtype.name(), u8::from(a_k_rows), u8::from(b_k_rows));
    let mut b = Build::new(&name, 4);
    let (av, bv) = (b.view("a", dtype, 2, false), b.view("b", dtype, 2, false));
    let is_int = matches!(dtype, DType::I8 | DType::U8);
    let acc_dtype = if is_int { DType::I32 } else { F32 };
    let out_dtype = if is_int { DType::I32 } else { dtype };
    let c = b.view("c", out_dtype, 2, true);
    let (m0, n0) = (b.first("m0", 0, 64), b.first("n0", 1, 64));
    let zero = b.int(0);
    let size = dtype.size_bytes() as u32;
    let (m, n, k) = (64, 64, 128 / size);
    let grid = WarpGrid { m_bits: 1, n_bits: 1 };
    let layout = Layout::mma(&[m, n], MmaOperand::C, grid).unwrap();
    let swizzle = Swizzle::Xor { shift: 0, mask: 7 };
    let shared = |b: &mut Build, name: &str, lines: u32, k_rows: bool| {
        let (rows, columns) = if k_rows { (k, lines) } else { (lines, k) };
        b.buffer(name, dtype, [1, rows, columns], 3, 128, swizzle)
    };
    let (a_tile, b_tile) = (shared(&mut b, "a_tile", m, a_k_rows), shared(&mut b, "b_tile", n, b_k_rows));
    let k_end = b.scalar("k_end", DType::I32);
    b.set(k_end, Op::ViewDim(av, u8::from(!a_k_rows)));
    let (read, write) = (b.scalar("read", DType::I32), b.scalar("write", DType::I32));
    let step = b.int(i64::from(k));
    let ring = |b: &mut Build, at: Var, guard: Option<Var>| {
        let copy = |view, first, k_rows: bool, buffer| StmtKind::CopyAsync {
            view,
            offsets: if k_rows { vec![at, first] } else { vec![first, at] },
            row_axis: 0,
            column_axis: 1,
            buffer,
            slot: Some(write),
            bytes: 16,
            guard,
        };
        b.line().stmt(copy(av, m0, a_k_rows, a_tile)).stmt(copy(bv, n0, b_k_rows, b_tile));
        b.stmt(StmtKind::CommitCopies).stmt(StmtKind::Advance { slot: write, phase: None, slots: 3 });
    };
    b.set(read, Op::Copy(of(zero)));
    b.set(write, Op::Copy(of(zero)));
    ring(&mut b, zero, None);
    let second = b.scalar("second", DType::Bool);
    b.set(second, Op::Binary(BinaryOp::Lt, of(step), of(k_end)));
    ring(&mut b, step, Some(second));
    let acc = b.tile("acc", acc_dtype, &[m, n], &layout);
    let start = b.zero(acc_dtype);
    b.line().set(acc, Op::Copy(of(start)));
    let iv = b.scalar("k", DType::I32);
    let body = b.block(|b| {
        b.line().stmt(StmtKind::WaitCopies { pending: 1 }).stmt(StmtKind::Barrier { id: 0, n_threads: 128 });
        let (twice, ahead) = (b.int(2 * i64::from(k)), b.scalar("ahead", DType::I32));
        b.set(ahead, Op::Binary(BinaryOp::Add, of(iv), of(twice)));
        let more = b.scalar("more", DType::Bool);
        b.set(more, Op::Binary(BinaryOp::Lt, of(ahead), of(k_end)));
        ring(b, ahead, Some(more));
        let operand = |buffer, k_rows| MatrixOperand::Shared { buffer, slot: Some(read), k_rows };
        b.line().stmt(StmtKind::Mma {
            acc,
            a: operand(a_tile, a_k_rows),
            b: operand(b_tile, b_k_rows),
            dtype,
            shape: if is_int { MatrixShape::M16N8K32 } else { MatrixShape::M16N8K16 },
            warps: (2, 2),
            extents: (m, n, k),
            a_rows: m,
            b_rows: n,
        });
        b.stmt(StmtKind::Advance { slot: read, phase: None, slots: 3 });
    });
    b.line().stmt(StmtKind::For { iv, lo: zero, hi: k_end, step, body });
    let mut out = acc;
    if out_dtype != acc_dtype {
        out = b.tile("out", out_dtype, &[m, n], &layout);
        b.line().set(out, Op::Cast(of(acc)));
    }
    b.line().store(c, &[m0, n0], out, 2);
    b.done()
}

/// Both operands as fragments in registers, loaded from device memory; five rows of A only.
pub(crate) fn mma_registers(dtype: DType) -> GpuFunc {
    let mut b = Build::new(&format!("mma_registers_{}", dtype.name()), 2);
    let (av, bv) = (b.view("a", dtype, 2, false), b.view("b", dtype, 2, false));
    let is_int = matches!(dtype, DType::I8 | DType::U8);
    let acc_dtype = if is_int { DType::I32 } else { F32 };
    let c = b.view("c", acc_dtype, 2, true);
    let zero = b.int(0);
    let grid = WarpGrid { m_bits: 0, n_bits: 1 };
    let bytes = dtype.size_bytes() as u32;
    let (m, n, k) = (16, 48, 64);
    let layout = |shape: [u32; 2], operand| Layout::mma(&shape, operand, grid).unwrap();
    let a =
        b.load("a", av, &[zero, zero], &[5, k], &layout([m, k], MmaOperand::A { element_bytes: bytes }), 2);
    let bt =
        b.load("b", bv, &[zero, zero], &[k, n], &layout([k, n], MmaOperand::B { element_bytes: bytes }), 1);
    let acc = b.tile("acc", acc_dtype, &[5, n], &layout([m, n], MmaOperand::C));
    let start = b.zero(acc_dtype);
    b.line().set(acc, Op::Copy(of(start)));
    b.line().stmt(StmtKind::Mma {
        acc,
        a: MatrixOperand::Registers(a),
        b: MatrixOperand::Registers(bt),
        dtype,
        shape: if is_int { MatrixShape::M16N8K32 } else { MatrixShape::M16N8K16 },
        warps: (1, 2),
        extents: (m, n, k),
        a_rows: 5,
        b_rows: n,
    });
    b.line().store(c, &[zero, zero], acc, 2);
    b.done()
}

/// Loops, branches, assertions and printing.
pub(crate) fn control() -> GpuFunc {
    let mut b = Build::new("control", 2);
    let (x, y) = (b.view("x", F32, 1, false), b.view("y", F32, 1, true));
    let (n, limit) = (b.param("n", DType::I32), b.param("limit", F32));
    b.func.assertions.push(("a \"limit\" above zero".to_owned(), crate::diag::Loc::default()));
    b.func.assertions.push(("all are finite".to_owned(), crate::diag::Loc::default()));
    let (zero, one) = (b.int(0), b.int(1));
    let start = b.zero(F32);
    let good = b.scalar("good", DType::Bool);
    b.set(good, Op::Binary(BinaryOp::Gt, of(limit), of(start)));
    b.line().stmt(StmtKind::Assert { cond: good, message: 0 });
    let layout = rows(&[256], 4, 2);
    let acc = b.tile("acc", F32, &[250], &layout);
    b.set(acc, Op::Copy(of(start)));
    let i = b.scalar("i", DType::I32);
    let body = b.block(|b| {
        let xs = b.line().load("xs", x, &[i], &[250], &layout, 4);
        let finite = b.tile("finite", DType::Bool, &[250], &layout);
        b.set(finite, Op::Binary(BinaryOp::Eq, of(xs), of(xs)));
        b.stmt(StmtKind::Assert { cond: finite, message: 1 });
        b.line().set(acc, Op::Binary(BinaryOp::Add, of(acc), of(xs)));
    });
    b.line().stmt(StmtKind::For { iv: i, lo: zero, hi: n, step: one, body });
    let scale = b.scalar("scale", F32);
    b.set(scale, Op::Copy(of(limit)));
    let more = b.scalar("more", DType::Bool);
    let test = b.block(|b| {
        let end = b.float(F32, 1e-3);
        b.set(more, Op::Binary(BinaryOp::Gt, of(scale), of(end)));
    });
    let body = b.block(|b| {
        let half = b.float(F32, 0.5);
        b.line().set(scale, Op::Binary(BinaryOp::Mul, of(scale), of(half)));
    });
    b.line().stmt(StmtKind::While { test, cond: more, body });
    let (then_value, odd) = (b.scalar("value", F32), b.scalar("odd", DType::Bool));
    let bit = b.scalar("bit", DType::I32);
    b.set(bit, Op::Binary(BinaryOp::And, of(n), of(one)));
    b.set(odd, Op::Binary(BinaryOp::Eq, of(bit), of(one)));
    let then_block = b.block(|b| {
        b.set(then_value, Op::Unary(UnaryOp::Exp, of(scale)));
    });
    let else_block = b.block(|b| {
        b.set(then_value, Op::Unary(UnaryOp::Neg, of(scale)));
    });
    b.line().stmt(StmtKind::If { cond: odd, then_block, else_block });
    let out = b.tile("out", F32, &[250], &layout);
    b.set(out, Op::Binary(BinaryOp::Mul, of(acc), of(then_value)));
    b.line().stmt(StmtKind::Print { label: "100% \"done\"".to_owned(), values: vec![out, then_value] });
    b.line().store(y, &[zero], out, 4);
    b.done()
}

/// Every case that all targets from sm_80 on compile.
pub(crate) fn general() -> Vec<GpuFunc> {
    let mut out = vec![axpy(), rms_norm(), odd_half(), views(), indexed(), total(), control(), dot_rows()];
    let floats = [F32, DType::F16, BF16];
    let ints = [DType::I8, DType::U8, DType::I32, DType::I64, DType::U32];
    out.extend(floats.into_iter().chain(ints).chain([DType::Bool]).map(elementwise));
    out.extend(DType::ALL.into_iter().map(casts));
    out.extend(floats.into_iter().chain(ints).map(reductions));
    for dtype in [F32, BF16, DType::I8, DType::I64] {
        out.push(transpose(dtype, Swizzle::None));
        out.push(transpose(dtype, Swizzle::Xor { shift: 0, mask: 7 }));
    }
    for dtype in [F32, DType::F16, DType::I8, DType::U8] {
        for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
            out.push(dot(dtype, a, b));
        }
    }
    for (a, b) in [(false, false), (false, true), (true, false), (true, true)] {
        out.push(mma(BF16, a, b));
    }
    out.push(mma(DType::F16, false, true));
    out.push(mma(DType::I8, false, false));
    out.push(mma(DType::U8, false, false));
    out.extend([DType::F16, DType::I8, DType::U8].map(mma_registers));
    out
}
