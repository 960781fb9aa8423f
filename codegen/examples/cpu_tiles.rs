//! Tile programs on one core against the core's measured peaks: dots, a whole matmul, attention, rows, matrix-vector.
//!
//! `cargo run --release -p tilewright-codegen --example cpu_tiles [filter]`
#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]
#![allow(unsafe_code, reason = "runs programs over plain buffers")]

use std::time::Instant;

use tilewright_codegen::cpu::{Arena, CpuProgram, micro, run};
use tilewright_codegen::diag::Loc;
use tilewright_codegen::ir::{
    BinaryOp, Block, Const, DType, Func, MAX_RANK, Op, Param, ReduceOp, Shape, Stmt, StmtKind, TileType,
    Type, UnaryOp, Value, ViewFacts, ViewType,
};
use tilewright_codegen::launch::{Arg, NoLog, ViewArg};

/// Appends operations to a function.
struct Fb {
    func: Func,
    blocks: Vec<Block>,
}

impl Fb {
    fn new() -> Self {
        Self { func: Func::new("bench"), blocks: vec![Block::default()] }
    }

    fn view(&mut self, dtype: DType, rank: u8) -> Value {
        let ty = Type::View(ViewType { dtype, rank, mutable: true });
        let value = self.func.new_value(ty, Loc::default());
        self.func.params.push(Param { name: "v".to_owned(), value, facts: ViewFacts::default() });
        value
    }

    fn stmt(&mut self, kind: StmtKind) {
        self.blocks
            .last_mut()
            .expect("a block should be open")
            .stmts
            .push(Stmt { kind, loc: Loc::default() });
    }

    fn tile(&mut self, op: Op, dtype: DType, dims: &[usize]) -> Value {
        let value = self.func.new_value(Type::Tile(TileType::new(dtype, Shape::new(dims))), Loc::default());
        self.stmt(StmtKind::Let { value, op });
        value
    }

    fn dims(&self, v: Value) -> Vec<usize> {
        self.func.tile_ty(v).shape.to_vec()
    }

    fn int(&mut self, x: i32) -> Value {
        self.tile(Op::Const(Const { dtype: DType::I32, bits: u64::from(x as u32) }), DType::I32, &[])
    }

    fn float(&mut self, x: f32) -> Value {
        self.tile(Op::Const(Const { dtype: DType::F32, bits: u64::from(x.to_bits()) }), DType::F32, &[])
    }

    fn offset(&mut self, axis: u8, extent: usize) -> Value {
        let p = self.tile(Op::ProgramId(axis), DType::I32, &[]);
        let e = self.int(extent as i32);
        self.tile(Op::Binary(BinaryOp::Mul, p, e), DType::I32, &[])
    }

    fn load(&mut self, view: Value, at: [Value; 2], dims: &[usize]) -> Value {
        let dtype = self.func.view_ty(view).dtype;
        let pad = self.tile(Op::Const(Const { dtype, bits: 0 }), dtype, &[]);
        self.tile(Op::Load { view, offsets: at.to_vec(), shape: Shape::new(dims), pad }, dtype, dims)
    }

    fn bin(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let (dtype, dims) = (self.func.tile_ty(a).dtype, self.dims(a));
        self.tile(Op::Binary(op, a, b), op.rule().result(dtype), &dims)
    }

    fn un(&mut self, op: UnaryOp, a: Value) -> Value {
        let dims = self.dims(a);
        self.tile(Op::Unary(op, a), DType::F32, &dims)
    }

    fn cast(&mut self, a: Value, dtype: DType) -> Value {
        let dims = self.dims(a);
        self.tile(Op::Cast(a, dtype), dtype, &dims)
    }

    fn zeros(&mut self, dims: &[usize]) -> Value {
        let z = self.float(0.0);
        self.tile(Op::Splat(z, Shape::new(dims)), DType::F32, dims)
    }

    fn transposed(&mut self, a: Value) -> Value {
        let (dtype, d) = (self.func.tile_ty(a).dtype, self.dims(a));
        self.tile(Op::Permute(a, vec![1, 0]), dtype, &[d[1], d[0]])
    }

    fn dot(&mut self, a: Value, b: Value, acc: Value) -> Value {
        let dims = self.dims(acc);
        self.tile(Op::Dot { a, b, acc }, DType::F32, &dims)
    }

    fn rows(&mut self, op: ReduceOp, a: Value) -> Value {
        let d = self.dims(a);
        self.tile(Op::Reduce(op, a, 1), DType::F32, &d[..1])
    }

    /// A value per row, repeated along the row.
    fn wide(&mut self, a: Value, n: usize) -> Value {
        let m = self.dims(a)[0];
        let e = self.tile(Op::ExpandDims(a, 1), DType::F32, &[m, 1]);
        self.tile(Op::Broadcast(e, Shape::new(&[m, n])), DType::F32, &[m, n])
    }

    fn store(&mut self, view: Value, at: [Value; 2], value: Value) {
        self.stmt(StmtKind::Store { view, offsets: at.to_vec(), value });
    }

    fn loop_to(
        &mut self,
        hi: Value,
        step: i32,
        inits: &[Value],
        f: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (lo, step) = (self.int(0), self.int(step));
        let int = Type::Tile(TileType::scalar(DType::I32));
        let types: Vec<Type> = inits.iter().map(|&v| self.func.ty(v)).collect();
        let mut params = vec![self.func.new_value(int, Loc::default())];
        params.extend(types.iter().map(|&t| self.func.new_value(t, Loc::default())));
        self.blocks.push(Block { params: params.clone(), ..Block::default() });
        let yields = f(self, params[0], &params[1..]);
        let mut body = self.blocks.pop().expect("the loop's block should be open");
        body.yields = yields;
        let results: Vec<Value> = types.iter().map(|&t| self.func.new_value(t, Loc::default())).collect();
        self.stmt(StmtKind::For { lo, hi, step, inits: inits.to_vec(), body, results: results.clone() });
        results
    }

    fn finish(mut self) -> CpuProgram {
        self.func.body = self.blocks.pop().expect("the body should be open");
        CpuProgram::compile(&self.func, micro::Isa::detect()).expect("the kernel should compile")
    }
}

/// A dense matrix in memory.
struct Matrix {
    bytes: Vec<u8>,
    dtype: DType,
    dims: [i64; 2],
}

impl Matrix {
    fn new(dtype: DType, rows: usize, cols: usize) -> Self {
        let n = rows * cols;
        let mut bytes = Vec::with_capacity(n * dtype.size_bytes());
        let mut x = 1u32;
        for _ in 0..n {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let v = (x >> 16) as f32 / 65536.0 - 0.5;
            if dtype == DType::BF16 {
                bytes.extend(((v.to_bits() >> 16) as u16).to_le_bytes());
            } else {
                bytes.extend(v.to_le_bytes());
            }
        }
        Self { bytes, dtype, dims: [rows as i64, cols as i64] }
    }

    fn arg(&mut self) -> Arg {
        let mut dims = [0; MAX_RANK];
        let mut strides = [0; MAX_RANK];
        dims[..2].copy_from_slice(&self.dims);
        strides[..2].copy_from_slice(&[self.dims[1], 1]);
        Arg::View(ViewArg {
            ptr: self.bytes.as_mut_ptr(),
            dtype: self.dtype,
            rank: 2,
            mutable: true,
            dims,
            strides,
        })
    }
}

/// Seconds that this thread has run, where the system tells: a long run on a busy machine is timed without its neighbours.
fn thread_seconds() -> Option<f64> {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        /// `CLOCK_THREAD_CPUTIME_ID`.
        const THREAD_CLOCK: i32 = 3;
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
        }
        let mut time = [0i64; 2];
        // SAFETY: on 64-bit Linux a timespec is two 64-bit integers.
        let status = unsafe { clock_gettime(THREAD_CLOCK, &raw mut time) };
        (status == 0).then(|| time[0] as f64 + time[1] as f64 * 1e-9)
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    None
}

/// Best seconds of `f` over half a second and five runs.
fn best(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let start = Instant::now();
    let mut n = 0;
    while n < 5 || (start.elapsed().as_secs_f64() < 0.5 && n < 10_000) {
        let before = thread_seconds();
        let t = Instant::now();
        f();
        let wall = t.elapsed().as_secs_f64();
        let own = thread_seconds().zip(before).map_or(wall, |(b, a)| b - a);
        best = best.min(own.min(wall));
        n += 1;
    }
    best
}

fn launch(p: &CpuProgram, args: &[Arg], grid: [u32; 3], arena: &mut Arena) {
    for x in 0..grid[0] {
        for y in 0..grid[1] {
            // SAFETY: the arguments describe live matrices.
            unsafe { run(p, args, grid, [x, y, 0], arena, &NoLog) }.expect("the kernel should run");
        }
    }
}

fn matmul(tile: [usize; 3], dtype: DType, transposed: bool) -> CpuProgram {
    let [bm, bn, bk] = tile;
    let mut b = Fb::new();
    let (x, w, y) = (b.view(dtype, 2), b.view(dtype, 2), b.view(DType::F32, 2));
    let (m, n) = (b.offset(0, bm), b.offset(1, bn));
    let k = b.tile(Op::ViewDim(x, 1), DType::I32, &[]);
    let acc = b.zeros(&[bm, bn]);
    let acc = b.loop_to(k, bk as i32, &[acc], |b, kk, acc| {
        let a = b.load(x, [m, kk], &[bm, bk]);
        let c = if transposed {
            let c = b.load(w, [n, kk], &[bn, bk]);
            b.transposed(c)
        } else {
            b.load(w, [kk, n], &[bk, bn])
        };
        vec![b.dot(a, c, acc[0])]
    });
    b.store(y, [m, n], acc[0]);
    b.finish()
}

fn bench_matmul(name: &str, mnk: [usize; 3], tile: [usize; 3], dtype: DType, transposed: bool, peak: f64) {
    let [m, n, k] = mnk;
    let p = matmul(tile, dtype, transposed);
    let mut x = Matrix::new(dtype, m, k);
    let mut w = if transposed { Matrix::new(dtype, n, k) } else { Matrix::new(dtype, k, n) };
    let mut y = Matrix::new(DType::F32, m, n);
    let args = [x.arg(), w.arg(), y.arg()];
    let grid = [m.div_ceil(tile[0]) as u32, n.div_ceil(tile[1]) as u32, 1];
    let mut arena = Arena::new();
    let t = best(|| launch(&p, &args, grid, &mut arena));
    let gflops = 2.0 * (m * n * k) as f64 / t * 1e-9;
    let [bm, bn, bk] = tile;
    let side = if transposed { "NT" } else { "NN" };
    println!(
        "{name:9} {m}x{n}x{k} {dtype} {side} tile {bm}x{bn}x{bk}: {gflops:7.1} GFLOP/s  {:5.1} % of peak",
        100.0 * gflops / peak
    );
}

fn attention(bm: usize, bn: usize, d: usize) -> CpuProgram {
    let mut b = Fb::new();
    let [q, k, v, o] = [0; 4].map(|_| b.view(DType::F32, 2));
    let row = b.offset(0, bm);
    let zero = b.int(0);
    let len = b.tile(Op::ViewDim(k, 0), DType::I32, &[]);
    let qt = b.load(q, [row, zero], &[bm, d]);
    let scale = b.float(0.18);
    let scale = b.tile(Op::Splat(scale, Shape::new(&[bm, d])), DType::F32, &[bm, d]);
    let qt = b.bin(BinaryOp::Mul, qt, scale);
    let low = b.float(-1e30);
    let top = b.tile(Op::Splat(low, Shape::new(&[bm])), DType::F32, &[bm]);
    let sum = b.zeros(&[bm]);
    let acc = b.zeros(&[bm, d]);
    let out = b.loop_to(len, bn as i32, &[top, sum, acc], |b, j, c| {
        let kt = b.load(k, [j, zero], &[bn, d]);
        let kt = b.transposed(kt);
        let s = b.zeros(&[bm, bn]);
        let s = b.dot(qt, kt, s);
        let part = b.rows(ReduceOp::Max, s);
        let top = b.bin(BinaryOp::Max, c[0], part);
        let shift = b.bin(BinaryOp::Sub, c[0], top);
        let alpha = b.un(UnaryOp::Exp2, shift);
        let wide = b.wide(top, bn);
        let s = b.bin(BinaryOp::Sub, s, wide);
        let p = b.un(UnaryOp::Exp2, s);
        let part = b.rows(ReduceOp::Sum, p);
        let sum = b.bin(BinaryOp::Mul, c[1], alpha);
        let sum = b.bin(BinaryOp::Add, sum, part);
        let wide = b.wide(alpha, d);
        let acc = b.bin(BinaryOp::Mul, c[2], wide);
        let vt = b.load(v, [j, zero], &[bn, d]);
        vec![top, sum, b.dot(p, vt, acc)]
    });
    let sum = b.wide(out[1], d);
    let y = b.bin(BinaryOp::Div, out[2], sum);
    b.store(o, [row, zero], y);
    b.finish()
}

fn bench_attention(s: usize, bm: usize, bn: usize, d: usize, peak: f64) {
    let p = attention(bm, bn, d);
    let mut m: Vec<Matrix> = (0..4).map(|_| Matrix::new(DType::F32, s, d)).collect();
    let args: Vec<Arg> = m.iter_mut().map(Matrix::arg).collect();
    let mut arena = Arena::new();
    let t = best(|| launch(&p, &args, [s.div_ceil(bm) as u32, 1, 1], &mut arena));
    let gflops = 4.0 * (s * s * d) as f64 / t * 1e-9;
    println!(
        "attention S={s} D={d} tile {bm}x{bn}: {gflops:7.1} GFLOP/s  {:5.1} % of peak",
        100.0 * gflops / peak
    );
}

/// RMSNorm (`softmax` false) or softmax of `bm` rows per program.
fn rows_kernel(dtype: DType, bm: usize, n: usize, softmax: bool) -> CpuProgram {
    let mut b = Fb::new();
    let (x, w, y) = (b.view(dtype, 2), b.view(dtype, 2), b.view(dtype, 2));
    let row = b.offset(0, bm);
    let zero = b.int(0);
    let t = b.load(x, [row, zero], &[bm, n]);
    let t = b.cast(t, DType::F32);
    let r = if softmax {
        let top = b.rows(ReduceOp::Max, t);
        let top = b.wide(top, n);
        let d = b.bin(BinaryOp::Sub, t, top);
        let e = b.un(UnaryOp::Exp, d);
        let s = b.rows(ReduceOp::Sum, e);
        let one = b.float(1.0);
        let one = b.tile(Op::Splat(one, Shape::new(&[bm])), DType::F32, &[bm]);
        let s = b.bin(BinaryOp::Div, one, s);
        let s = b.wide(s, n);
        b.bin(BinaryOp::Mul, e, s)
    } else {
        let sq = b.bin(BinaryOp::Mul, t, t);
        let s = b.rows(ReduceOp::Sum, sq);
        let inv = b.float(1.0 / n as f32);
        let inv = b.tile(Op::Splat(inv, Shape::new(&[bm])), DType::F32, &[bm]);
        let s = b.bin(BinaryOp::Mul, s, inv);
        let s = b.un(UnaryOp::Rsqrt, s);
        let s = b.wide(s, n);
        let t = b.bin(BinaryOp::Mul, t, s);
        let g = b.load(w, [zero, zero], &[1, n]);
        let g = b.cast(g, DType::F32);
        let g = b.tile(Op::Broadcast(g, Shape::new(&[bm, n])), DType::F32, &[bm, n]);
        b.bin(BinaryOp::Mul, t, g)
    };
    let r = b.cast(r, dtype);
    b.store(y, [row, zero], r);
    b.finish()
}

fn bench_rows(dtype: DType, rows: usize, bm: usize, n: usize, softmax: bool) {
    let p = rows_kernel(dtype, bm, n, softmax);
    let (mut x, mut w, mut y) =
        (Matrix::new(dtype, rows, n), Matrix::new(dtype, 1, n), Matrix::new(dtype, rows, n));
    let args = [x.arg(), w.arg(), y.arg()];
    let mut arena = Arena::new();
    let grid = [rows.div_ceil(bm) as u32, 1, 1];
    let t = best(|| launch(&p, &args, grid, &mut arena));
    let gbs = (2 * rows * n * dtype.size_bytes()) as f64 / t * 1e-9;
    let name = if softmax { "softmax" } else { "rmsnorm" };
    println!(
        "{name} {rows}x{n} {dtype}, {bm} rows a program: {gbs:6.1} GB/s, {:7.0} ns a program",
        t * 1e9 / f64::from(grid[0])
    );
}

/// y[1, n] = x[1, k] * w[n, k] transposed, `bn` outputs a program.
fn bench_matvec(dtype: DType, n: usize, k: usize, bn: usize, bk: usize, dram: f64) {
    let p = matmul([1, bn, bk], dtype, true);
    let copies = (300 << 20) / (n * k * dtype.size_bytes()) + 1;
    let mut ws: Vec<Matrix> = (0..copies).map(|_| Matrix::new(dtype, n, k)).collect();
    let (mut x, mut y) = (Matrix::new(dtype, 1, k), Matrix::new(DType::F32, 1, n));
    let mut arena = Arena::new();
    let mut i = 0;
    let t = best(|| {
        let args = [x.arg(), ws[i].arg(), y.arg()];
        i = (i + 1) % copies;
        launch(&p, &args, [1, n.div_ceil(bn) as u32, 1], &mut arena);
    });
    let gbs = (n * k * dtype.size_bytes()) as f64 / t * 1e-9;
    println!(
        "matvec {n}x{k} {dtype}, tile {bn}x{bk}: {gbs:6.1} GB/s  {:5.1} % of one core's memory",
        100.0 * gbs / dram
    );
}

/// What one instance costs beyond its work.
fn bench_overhead() {
    for n in [64, 1024] {
        let p = rows_kernel(DType::F32, 1, n, false);
        let (mut x, mut w, mut y) =
            (Matrix::new(DType::F32, 1, n), Matrix::new(DType::F32, 1, n), Matrix::new(DType::F32, 1, n));
        let args = [x.arg(), w.arg(), y.arg()];
        let mut arena = Arena::new();
        let t = best(|| (0..1000).for_each(|_| launch(&p, &args, [1, 1, 1], &mut arena)));
        println!("rmsnorm of one row of {n}, hot: {:.0} ns", t * 1e6);
    }
    let t = best(|| drop(attention(128, 64, 64)));
    println!("compiling attention: {:.0} us", t * 1e6);
}

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let wants = |name: &str| filter.is_empty() || name.contains(&filter);
    let isa = micro::Isa::detect();
    let peak = micro::ceiling::fma_peak_gflops(isa);
    println!("{}: peak {peak:.0} GFLOP/s", isa.name());
    if wants("list") && !filter.is_empty() {
        println!("{}", attention(128, 64, 64).listing());
        println!("{}", rows_kernel(DType::F32, 1, 1024, false).listing());
    }
    if wants("dot") {
        for d in [64, 128, 256] {
            bench_matmul("dot", [d, d, 1024], [d, d, 64], DType::F32, false, peak);
            bench_matmul("dot", [d, d, 1024], [d, d, 64], DType::F32, true, peak);
        }
    }
    if wants("matmul") {
        for tile in [
            [128, 128, 64],
            [256, 256, 128],
            [256, 256, 256],
            [512, 256, 256],
            [512, 512, 256],
            [1024, 512, 256],
        ] {
            bench_matmul("matmul", [2048; 3], tile, DType::F32, false, peak);
            bench_matmul("matmul", [2048; 3], tile, DType::F32, true, peak);
        }
        for dtype in [DType::F32, DType::BF16] {
            bench_matmul("matmul", [1024; 3], [256, 256, 256], dtype, true, peak);
            bench_matmul("matmul", [512; 3], [256, 256, 256], dtype, true, peak);
        }
    }
    if wants("attention") {
        for (bm, bn, d) in
            [(64, 64, 64), (128, 64, 64), (128, 128, 64), (128, 64, 128), (128, 128, 128), (256, 128, 64)]
        {
            bench_attention(1024, bm, bn, d, peak);
        }
    }
    if wants("rows") {
        for dtype in [DType::F32, DType::BF16] {
            for softmax in [false, true] {
                bench_rows(dtype, 64, 1, 1024, softmax);
                bench_rows(dtype, 64, 4, 1024, softmax);
                bench_rows(dtype, 64, 1, 4096, softmax);
                bench_rows(dtype, 16384, 1, 4096, softmax);
            }
        }
    }
    if wants("matvec") {
        let dram = micro::ceiling::dram_read_gbs(isa, 1);
        println!("memory: {dram:.1} GB/s");
        for (bn, bk) in [(16, 4096), (64, 4096), (64, 512), (256, 512)] {
            bench_matvec(DType::BF16, 4096, 4096, bn, bk, dram);
        }
        bench_matvec(DType::F32, 4096, 4096, 64, 4096, dram);
    }
    if wants("overhead") {
        bench_overhead();
    }
}
