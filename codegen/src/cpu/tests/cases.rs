//! Kernels written by hand: the patterns that models are made of, and the corners of view semantics.

use super::build::{Fb, TestArg, check};
use crate::ir::{ArgOp, BinaryOp, DType, Op, ReduceOp, Shape, StmtKind, Type, UnaryOp, Value, ViewType};

fn broadcast_rows(b: &mut Fb, v: Value, dims: &[usize]) -> Value {
    let e = b.expand(v, 1);
    b.broadcast(e, dims)
}

#[test]
fn softmax_rows() {
    for (bm, n) in [(1usize, 1usize), (1, 1000), (4, 129), (7, 2049), (64, 64)] {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let mut b = Fb::new();
            let (x, y) = (b.view(dtype, 2, false), b.view(dtype, 2, true));
            let (m, step) = (b.pid(0), b.int(bm as i32));
            let row = b.bin(BinaryOp::Mul, m, step);
            let zero = b.int(0);
            let t = b.load(x, &[row, zero], &[bm, n]);
            let t = b.cast(t, DType::F32);
            let top = b.reduce(ReduceOp::Max, t, 1);
            let top = broadcast_rows(&mut b, top, &[bm, n]);
            let d = b.bin(BinaryOp::Sub, t, top);
            let e = b.un(UnaryOp::Exp, d);
            let s = b.reduce(ReduceOp::Sum, e, 1);
            let s = broadcast_rows(&mut b, s, &[bm, n]);
            let r = b.bin(BinaryOp::Div, e, s);
            let r = b.cast(r, dtype);
            b.store(y, &[row, zero], r);
            let dims = [9, n as i64];
            let args = [TestArg::dense(dtype, &dims, false), TestArg::dense(dtype, &dims, true)];
            let tolerance = if dtype == DType::F32 { 1e-5 } else { 1e-2 };
            check(&b.finish(), &args, [9u32.div_ceil(bm as u32), 1, 1], tolerance, 1);
        }
    }
}

/// A matmul program; `transposed` reads B as [N, K].
fn matmul(dtype: DType, tile: [usize; 3], transposed: bool) -> crate::ir::Func {
    let [bm, bn, bk] = tile;
    let acc_type = if dtype.is_float() { DType::F32 } else { DType::I32 };
    let mut b = Fb::new();
    let (x, w, y) = (b.view(dtype, 2, false), b.view(dtype, 2, false), b.view(acc_type, 2, true));
    let (p0, p1) = (b.pid(0), b.pid(1));
    let (sm, sn, sk) = (b.int(bm as i32), b.int(bn as i32), b.int(bk as i32));
    let (m, n) = (b.bin(BinaryOp::Mul, p0, sm), b.bin(BinaryOp::Mul, p1, sn));
    let (zero, k) = (b.int(0), b.dim(x, 1));
    let acc = b.zeros(acc_type, &[bm, bn]);
    let acc = b.for_loop([zero, k, sk], &[acc], |b, kk, acc| {
        let a = b.load(x, &[m, kk], &[bm, bk]);
        let c = if transposed {
            let c = b.load(w, &[n, kk], &[bn, bk]);
            b.permute(c, &[1, 0])
        } else {
            b.load(w, &[kk, n], &[bk, bn])
        };
        vec![b.dot(a, c, acc[0])]
    })[0];
    b.store(y, &[m, n], acc);
    b.finish()
}

#[test]
fn matmul_of_awkward_shapes() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::I8, DType::U8] {
        for transposed in [false, true] {
            for (mnk, tile) in
                [([1i64, 1, 1], [1usize, 1, 1]), ([7, 129, 65], [8, 64, 32]), ([1, 100, 130], [16, 48, 64])]
            {
                let [m, n, k] = mnk;
                let acc = if dtype.is_float() { DType::F32 } else { DType::I32 };
                let w = if transposed { [n, k] } else { [k, n] };
                let args = [
                    TestArg::dense(dtype, &[m, k], false),
                    TestArg::dense(dtype, &w, false),
                    TestArg::dense(acc, &[m, n], true),
                ];
                let grid = [(m as u32).div_ceil(tile[0] as u32), (n as u32).div_ceil(tile[1] as u32), 1];
                check(&matmul(dtype, tile, transposed), &args, grid, 1e-4, 2);
            }
        }
    }
}

#[test]
fn matrix_times_column() {
    for (m, k) in [(1i64, 9i64), (70, 129), (64, 64)] {
        for dtype in [DType::F32, DType::BF16] {
            for transposed in [false, true] {
                let w = if transposed { [1, k] } else { [k, 1] };
                let args = [
                    TestArg::dense(dtype, &[m, k], false),
                    TestArg::dense(dtype, &w, false),
                    TestArg::dense(DType::F32, &[m, 1], true),
                ];
                check(&matmul(dtype, [64, 1, 32], transposed), &args, [2, 1, 1], 1e-4, 2);
            }
        }
    }
}

#[test]
fn matmul_accumulator_stays_in_place() {
    let program = super::super::CpuProgram::compile(
        &matmul(DType::F32, [64, 64, 32], true),
        super::super::micro::Isa::Portable,
    )
    .expect("should compile");
    assert!(!program.listing().contains("copy"), "{}", program.listing());
}

#[test]
fn attention_rows() {
    let (bm, bn, d) = (16usize, 32usize, 24usize);
    let mut b = Fb::new();
    let [q, k, v] = [0; 3].map(|_| b.view(DType::F32, 2, false));
    let o = b.view(DType::F32, 2, true);
    let (p, sm) = (b.pid(0), b.int(bm as i32));
    let row = b.bin(BinaryOp::Mul, p, sm);
    let (zero, len, sn) = (b.int(0), b.dim(k, 0), b.int(bn as i32));
    let qt = b.load(q, &[row, zero], &[bm, d]);
    let low = b.num(DType::F32, -1e30);
    let top = b.splat(low, &[bm]);
    let sum = b.zeros(DType::F32, &[bm]);
    let acc = b.zeros(DType::F32, &[bm, d]);
    let out = b.for_loop([zero, len, sn], &[top, sum, acc], |b, j, c| {
        let kt = b.load(k, &[j, zero], &[bn, d]);
        let kt = b.permute(kt, &[1, 0]);
        let s0 = b.zeros(DType::F32, &[bm, bn]);
        let s = b.dot(qt, kt, s0);
        // Causal mask.
        let cols = b.tile(Op::Arange { extent: bn as u32 }, DType::I32, Shape::new(&[bn]));
        let jj = b.splat(j, &[bn]);
        let cols = b.bin(BinaryOp::Add, cols, jj);
        let cols = b.expand(cols, 0);
        let cols = b.broadcast(cols, &[bm, bn]);
        let rows = b.tile(Op::Arange { extent: bm as u32 }, DType::I32, Shape::new(&[bm]));
        let rr = b.splat(row, &[bm]);
        let rows = b.bin(BinaryOp::Add, rows, rr);
        let rows = broadcast_rows(b, rows, &[bm, bn]);
        let keep = b.bin(BinaryOp::Ge, rows, cols);
        let low = b.splat(low, &[bm, bn]);
        let s = b.tile(Op::Select(keep, s, low), DType::F32, Shape::new(&[bm, bn]));
        let top = b.reduce(ReduceOp::Max, s, 1);
        let top = b.bin(BinaryOp::Max, c[0], top);
        let shift = b.bin(BinaryOp::Sub, c[0], top);
        let alpha = b.un(UnaryOp::Exp, shift);
        let wide = broadcast_rows(b, top, &[bm, bn]);
        let s = b.bin(BinaryOp::Sub, s, wide);
        let p = b.un(UnaryOp::Exp, s);
        let part = b.reduce(ReduceOp::Sum, p, 1);
        let sum = b.bin(BinaryOp::Mul, c[1], alpha);
        let sum = b.bin(BinaryOp::Add, sum, part);
        let scale = broadcast_rows(b, alpha, &[bm, d]);
        let acc = b.bin(BinaryOp::Mul, c[2], scale);
        let vt = b.load(v, &[j, zero], &[bn, d]);
        let acc = b.dot(p, vt, acc);
        vec![top, sum, acc]
    });
    let sum = broadcast_rows(&mut b, out[1], &[bm, d]);
    let y = b.bin(BinaryOp::Div, out[2], sum);
    b.store(o, &[row, zero], y);
    let f = b.finish();
    let program =
        super::super::CpuProgram::compile(&f, super::super::micro::Isa::Portable).expect("should compile");
    // The running maximum is still read when the next one is known: those 64 bytes are copied, the accumulator is not.
    let listing = program.listing();
    let copies: Vec<&str> = listing.lines().filter(|l| l.contains("  copy ")).collect();
    assert!(copies.len() <= 1 && copies.iter().all(|l| l.ends_with("(64 bytes)")), "{listing}");
    let dims = [50, d as i64];
    let mut args = vec![TestArg::dense(DType::F32, &dims, false); 3];
    args.push(TestArg::dense(DType::F32, &dims, true));
    check(&f, &args, [4, 1, 1], 1e-4, 3);
}

#[test]
fn batched_dot_and_batched_transposes() {
    let mut b = Fb::new();
    let (x, w, y) =
        (b.view(DType::F32, 3, false), b.view(DType::BF16, 3, false), b.view(DType::F32, 3, true));
    let z = b.int(0);
    let a = b.load(x, &[z, z, z], &[3, 9, 16]);
    let c = b.load(w, &[z, z, z], &[3, 20, 16]);
    let c = b.permute(c, &[0, 2, 1]);
    let c = b.cast(c, DType::F32);
    let acc = b.zeros(DType::F32, &[3, 9, 20]);
    let r = b.dot(a, c, acc);
    let t = b.permute(r, &[0, 2, 1]);
    let acc = b.zeros(DType::F32, &[3, 20, 16]);
    let r = b.dot(t, a, acc);
    b.store(y, &[z, z, z], r);
    let args = [
        TestArg::dense(DType::F32, &[3, 8, 15], false),
        TestArg::dense(DType::BF16, &[2, 20, 16], false),
        TestArg::dense(DType::F32, &[3, 20, 16], true),
    ];
    check(&b.finish(), &args, [1, 1, 1], 1e-4, 4);
}

#[test]
fn carried_values_that_swap_and_rotate() {
    for trips in 0..4 {
        let mut b = Fb::new();
        let (x, y) = (b.view(DType::F32, 1, false), b.view(DType::F32, 1, true));
        let z = b.int(0);
        let tiles: Vec<Value> = (0..3)
            .map(|i| {
                let at = b.int(i * 40);
                b.load(x, &[at], &[33])
            })
            .collect();
        let (n, one) = (b.int(trips), b.int(1));
        let r = b.for_loop([z, n, one], &[tiles[0], tiles[1], tiles[2], z, one], |b, _, c| {
            let s = b.bin(BinaryOp::Add, c[3], c[4]);
            vec![c[1], c[2], c[0], c[4], s]
        });
        for (i, &tile) in r[..3].iter().enumerate() {
            let at = b.int(i as i32 * 33);
            b.store(y, &[at], tile);
        }
        let fib = b.cast(r[3], DType::F32);
        let at = b.int(99);
        b.store(y, &[at], fib);
        let args = [TestArg::dense(DType::F32, &[120], false), TestArg::dense(DType::F32, &[100], true)];
        check(&b.finish(), &args, [1, 1, 1], 0.0, 5);
    }
}

#[test]
fn while_and_nested_branches() {
    let mut b = Fb::new();
    let (x, y) = (b.view(DType::F32, 1, false), b.view(DType::F32, 1, true));
    let (z, one, two, limit) = (b.int(0), b.int(1), b.int(2), b.int(9));
    let t = b.load(x, &[z], &[70]);
    let r = b.while_loop(
        &[z, t],
        |b, c| b.bin(BinaryOp::Lt, c[0], limit),
        |b, c| {
            let odd = b.bin(BinaryOp::Rem, c[0], two);
            let odd = b.bin(BinaryOp::Eq, odd, one);
            let ty = b.func.ty(c[1]);
            let next = b.branch(odd, &[ty], |b| vec![b.bin(BinaryOp::Add, c[1], c[1])], |_| vec![c[1]]);
            let i = b.bin(BinaryOp::Add, c[0], one);
            vec![i, next[0]]
        },
    );
    b.store(y, &[r[0]], r[1]);
    let args = [TestArg::dense(DType::F32, &[64], false), TestArg::dense(DType::F32, &[75], true)];
    check(&b.finish(), &args, [1, 1, 1], 0.0, 6);
}

#[test]
fn gather_and_scatter() {
    for masked in [false, true] {
        let (bm, d) = (7usize, 40usize);
        let mut b = Fb::new();
        let (table, ids, y, hits) = (
            b.view(DType::BF16, 2, false),
            b.view(DType::I32, 1, false),
            b.view(DType::F32, 2, true),
            b.view(DType::F32, 1, true),
        );
        let z = b.int(0);
        let id = b.load(ids, &[z], &[bm]);
        let rows = broadcast_rows(&mut b, id, &[bm, d]);
        let cols = b.tile(Op::Arange { extent: d as u32 }, DType::I32, Shape::new(&[d]));
        let cols = b.expand(cols, 0);
        let cols = b.broadcast(cols, &[bm, d]);
        let limit = b.int(30);
        let limit = b.splat(limit, &[bm, d]);
        let mask = b.bin(BinaryOp::Lt, cols, limit);
        let mask = masked.then_some(mask);
        let pad = b.num(DType::BF16, -1.0);
        let op = Op::Gather { view: table, indices: vec![rows, cols], mask, pad };
        let e = b.tile(op, DType::BF16, Shape::new(&[bm, d]));
        let e = b.cast(e, DType::F32);
        b.store(y, &[z, z], e);
        let s = b.reduce(ReduceOp::Sum, e, 1);
        b.stmt(StmtKind::Scatter { view: hits, indices: vec![id], value: s, mask: None });
        let args = [
            TestArg::dense(DType::BF16, &[50, 40], false),
            TestArg::dense(DType::I32, &[6], false),
            TestArg::dense(DType::F32, &[7, 40], true),
            TestArg::dense(DType::F32, &[60], true),
        ];
        let f = b.finish();
        for seed in 0..5 {
            check(&f, &args, [1, 1, 1], 1e-5, seed);
        }
    }
}

/// What was loaded stays what it was while other stores of the group change the memory it came from.
#[test]
fn a_loaded_tile_is_stored_after_its_memory_has_changed() {
    let mut b = Fb::new();
    let (x, y, w) = (b.view(DType::F32, 2, false), b.view(DType::F32, 2, true), b.view(DType::F32, 2, true));
    let z = b.int(0);
    let t = b.load(x, &[z, z], &[40, 64]);
    let u = b.bin(BinaryOp::Add, t, t);
    b.store(y, &[z, z], u);
    b.store(w, &[z, z], t);
    let (dims, strides) = (vec![40, 64], vec![64, 1]);
    let args = [
        TestArg::dense(DType::F32, &[40, 64], true),
        TestArg::Same { of: 0, dims, strides, start: 0 },
        TestArg::dense(DType::F32, &[40, 64], true),
    ];
    check(&b.finish(), &args, [1, 1, 1], 0.0, 7);
}

#[test]
fn loads_and_stores_that_overlap() {
    for shift in [-40i64, -1, 0, 1, 64] {
        for two_stores in [false, true] {
            let mut b = Fb::new();
            let (x, y) = (b.view(DType::F32, 2, false), b.view(DType::F32, 2, true));
            let z = b.int(0);
            let t = b.load(x, &[z, z], &[40, 64]);
            let u = b.bin(BinaryOp::Add, t, t);
            b.store(y, &[z, z], u);
            if two_stores {
                let (one, five) = (b.int(1), b.int(5));
                let v = b.bin(BinaryOp::Mul, t, u);
                b.store(y, &[one, five], v);
            }
            let start = 100;
            let args = [
                TestArg::View {
                    dtype: DType::F32,
                    dims: vec![40, 64],
                    strides: vec![64, 1],
                    start,
                    mutable: true,
                },
                TestArg::Same { of: 0, dims: vec![40, 64], strides: vec![64, 1], start: start + shift },
            ];
            check(&b.finish(), &args, [1, 1, 1], 1e-6, 7);
        }
    }
}

#[test]
fn view_arithmetic_and_bounds() {
    let mut b = Fb::new();
    let (x, y) = (b.view(DType::F16, 3, false), b.view(DType::F16, 2, true));
    let i = b.pid(0);
    let minus = b.int(-1);
    let at = b.bin(BinaryOp::Add, i, minus);
    let plane =
        b.op(Op::ViewSelect(x, 1, at), Type::View(ViewType { dtype: DType::F16, rank: 2, mutable: false }));
    let (two, six) = (b.int(2), b.int(6));
    let cut = b.op(
        Op::ViewSlice(plane, 1, two, six),
        Type::View(ViewType { dtype: DType::F16, rank: 2, mutable: false }),
    );
    let turned = b.op(
        Op::ViewPermute(cut, vec![1, 0]),
        Type::View(ViewType { dtype: DType::F16, rank: 2, mutable: false }),
    );
    let t = b.load(turned, &[minus, minus], &[9, 8]);
    let n = b.dim(turned, 0);
    let row = b.bin(BinaryOp::Mul, i, n);
    let row = b.bin(BinaryOp::Add, row, minus);
    b.store(y, &[row, two], t);
    let point = b.load(cut, &[i, minus], &[]);
    let other = b.load(cut, &[i, i], &[]);
    let point = b.bin(BinaryOp::Add, point, other);
    let nine = b.int(9);
    b.store(y, &[i, nine], point);
    let args = [
        TestArg::View {
            dtype: DType::F16,
            dims: vec![5, 3, 7],
            strides: vec![40, 0, 2],
            start: 0,
            mutable: false,
        },
        TestArg::View {
            dtype: DType::F16,
            dims: vec![30, 11],
            strides: vec![1, 31],
            start: 4,
            mutable: true,
        },
    ];
    check(&b.finish(), &args, [5, 1, 1], 0.0, 8);
}

#[test]
fn every_elementwise_operation_and_type() {
    for dtype in [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::I8,
        DType::U8,
        DType::I32,
        DType::U32,
        DType::I64,
        DType::Bool,
    ] {
        let n = 77usize;
        let mut b = Fb::new();
        let (x, y) = (b.view(dtype, 1, false), b.view(dtype, 1, true));
        let flags = b.view(DType::Bool, 1, true);
        let z = b.int(0);
        let a = b.load(x, &[z], &[n]);
        let at = b.int(n as i32);
        let c = b.load(x, &[at], &[n]);
        let (mut row, mut flag) = (0, 0);
        let mut results = Vec::new();
        for &op in BinaryOp::ALL {
            if op.rule().accepts(dtype) {
                results.push(b.bin(op, a, c));
                // The same as scalars.
                let (sa, sc) = (b.load(x, &[at], &[]), b.load(x, &[z], &[]));
                let s = b.bin(op, sa, sc);
                results.push(b.splat(s, &[3]));
            }
        }
        for &op in UnaryOp::ALL {
            if op.rule().accepts(dtype)
                && !matches!(op, UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Sqrt | UnaryOp::Rsqrt)
            {
                results.push(b.un(op, a));
            }
        }
        if dtype.is_float() {
            let p = b.un(UnaryOp::Abs, a);
            let half = b.num(dtype, 0.5);
            let half = b.splat(half, &[n]);
            let p = b.bin(BinaryOp::Add, p, half);
            for op in [UnaryOp::Log, UnaryOp::Log2, UnaryOp::Sqrt, UnaryOp::Rsqrt] {
                results.push(b.un(op, p));
            }
            results.push(b.tile(Op::Fma(a, c, a), dtype, Shape::new(&[n])));
        }
        if dtype.is_arith() {
            let r = b.reshape(a, &[7, 11]);
            for axis in [0, 1] {
                for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
                    results.push(b.reduce(op, r, axis));
                }
                for op in [ArgOp::ArgMax, ArgOp::ArgMin] {
                    let shape = Shape::new(&[7, 11]).without(axis as usize);
                    let i = b.tile(Op::ArgReduce(op, r, axis), DType::I32, shape);
                    results.push(b.cast(i, dtype));
                }
            }
        }
        for to in DType::ALL {
            let t = b.cast(c, to);
            results.push(b.cast(t, dtype));
        }
        for r in results {
            let t = b.ty(r);
            if t.dtype == DType::Bool && dtype != DType::Bool {
                let at = b.int(flag);
                b.store(flags, &[at], r);
                flag += t.shape.elements() as i32;
            } else {
                let at = b.int(row);
                b.store(y, &[at], r);
                row += t.shape.elements() as i32;
            }
        }
        let args = [
            TestArg::dense(dtype, &[2 * n as i64 - 5], false),
            TestArg::dense(dtype, &[i64::from(row.max(1))], true),
            TestArg::dense(DType::Bool, &[i64::from(flag.max(1))], true),
        ];
        let tolerance =
            [(DType::F16, 2e-3), (DType::BF16, 2e-2)].iter().find(|t| t.0 == dtype).map_or(1e-5, |t| t.1);
        check(&b.finish(), &args, [1, 1, 1], tolerance, 9);
    }
}

#[test]
fn assert_stops_with_its_place() {
    use crate::launch::{Arg, NoLog};
    let mut b = Fb::new();
    let n = b.scalar(DType::I32);
    let three = b.int(3);
    let ok = b.bin(BinaryOp::Lt, n, three);
    b.stmt(StmtKind::Assert { cond: ok, message: "n should be below 3".to_owned() });
    let isa = super::super::micro::Isa::detect();
    let program = super::super::CpuProgram::compile(&b.finish(), isa).expect("should compile");
    let mut arena = super::super::Arena::new();
    let mut go = |n: u64| {
        super::build::run_plain(&program, &[Arg::Scalar(n)], [4, 1, 1], [2, 0, 0], &mut arena, &NoLog)
    };
    assert_eq!(go(2), Ok(()));
    let error = go(5).expect_err("5 is not below 3");
    assert_eq!((error.message.as_str(), error.pid), ("n should be below 3", [2, 0, 0]));
    assert!(super::build::run_plain(&program, &[], [1, 1, 1], [0, 0, 0], &mut arena, &NoLog).is_err());
}

#[test]
fn scalar_arguments_in_their_own_encoding() {
    for (dtype, bits) in [
        (DType::F32, u64::from(1.5f32.to_bits())),
        (DType::F16, u64::from(half::f16::from_f32(-2.25).to_bits())),
        (DType::BF16, u64::from(half::bf16::from_f32(3.0).to_bits())),
        (DType::I8, 0xfb),
        (DType::U8, 0xfb),
        (DType::I32, 0xffff_fff0),
        (DType::U32, 77),
        (DType::I64, (-5i64) as u64),
    ] {
        let mut b = Fb::new();
        let (s, y) = (b.scalar(dtype), b.view(dtype, 1, true));
        let z = b.int(0);
        let t = b.splat(s, &[9]);
        let t = b.bin(BinaryOp::Add, t, t);
        b.store(y, &[z], t);
        let nine = b.int(9);
        b.store(y, &[nine], s);
        let args = [TestArg::Scalar(bits), TestArg::dense(dtype, &[12], true)];
        check(&b.finish(), &args, [1, 1, 1], 0.0, 10);
    }
}

#[test]
fn print_shows_scalars_and_tiles() {
    let mut b = Fb::new();
    let n = b.int(4);
    let t = b.tile(Op::Arange { extent: 3 }, DType::I32, Shape::new(&[3]));
    b.stmt(StmtKind::Print { label: "n, t:".to_owned(), values: vec![n, t] });
    let isa = super::super::micro::Isa::detect();
    let program = super::super::CpuProgram::compile(&b.finish(), isa).expect("should compile");
    let log = super::build::Lines::default();
    let mut arena = super::super::Arena::new();
    super::build::run_plain(&program, &[], [1, 1, 1], [0; 3], &mut arena, &log).expect("should run");
    assert_eq!(*log.0.lock().expect("nobody panicked"), ["n, t: 4 [0, 1, 2]"]);
}

#[test]
fn listing_is_deterministic() {
    let isa = super::super::micro::Isa::detect();
    let list = || {
        super::super::CpuProgram::compile(&matmul(DType::BF16, [64, 32, 16], true), isa)
            .expect("should compile")
            .listing()
    };
    assert_eq!(list(), list());
}
