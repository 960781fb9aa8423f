//! A small builder of functions, and the harness that runs both machines on the same random memory.
#![allow(unsafe_code, reason = "hands buffers to the machines as raw views")]

use std::sync::Mutex;

use super::super::{Arena, CpuProgram, micro, reference};
use crate::diag::Loc;
use crate::ir::{
    BinaryOp, Block, Const, DType, Func, MAX_RANK, Op, Param, ReduceOp, Shape, Stmt, StmtKind, TileType,
    Type, UnaryOp, Value, ViewFacts, ViewType,
};
use crate::launch::{Arg, DeviceLog, RunError, ViewArg};

/// A splitmix64 generator.
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// Appends operations to a function under construction.
pub(crate) struct Fb {
    pub func: Func,
    blocks: Vec<Block>,
}

impl Fb {
    pub(crate) fn new() -> Self {
        Self { func: Func::new("test"), blocks: vec![Block::default()] }
    }

    pub(crate) fn view(&mut self, dtype: DType, rank: u8, mutable: bool) -> Value {
        let value = self.func.new_value(Type::View(ViewType { dtype, rank, mutable }), Loc::default());
        let name = format!("p{}", self.func.params.len());
        self.func.params.push(Param { name, value, facts: ViewFacts::default() });
        value
    }

    pub(crate) fn scalar(&mut self, dtype: DType) -> Value {
        let value = self.func.new_value(Type::Tile(TileType::scalar(dtype)), Loc::default());
        let name = format!("p{}", self.func.params.len());
        self.func.params.push(Param { name, value, facts: ViewFacts::default() });
        value
    }

    pub(crate) fn ty(&self, v: Value) -> TileType {
        self.func.tile_ty(v)
    }

    pub(crate) fn stmt(&mut self, kind: StmtKind) {
        let block = self.blocks.last_mut().expect("a block should be open");
        block.stmts.push(Stmt { kind, loc: Loc::default() });
    }

    pub(crate) fn op(&mut self, op: Op, ty: Type) -> Value {
        let value = self.func.new_value(ty, Loc::default());
        self.stmt(StmtKind::Let { value, op });
        value
    }

    pub(crate) fn tile(&mut self, op: Op, dtype: DType, shape: Shape) -> Value {
        self.op(op, Type::Tile(TileType::new(dtype, shape)))
    }

    pub(crate) fn int(&mut self, x: i32) -> Value {
        let c = Const { dtype: DType::I32, bits: u64::from(x as u32) };
        self.tile(Op::Const(c), DType::I32, Shape::SCALAR)
    }

    pub(crate) fn num(&mut self, dtype: DType, x: f64) -> Value {
        let bits = match dtype {
            DType::F32 => u64::from((x as f32).to_bits()),
            DType::F16 => u64::from(half::f16::from_f64(x).to_bits()),
            DType::BF16 => u64::from(half::bf16::from_f64(x).to_bits()),
            DType::F8E4M3 | DType::F8E5M2 => 0,
            DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 | DType::Bool => {
                match dtype.size_bytes() {
                    1 => x as i64 as u64 & 0xff,
                    4 => x as i64 as u64 & 0xffff_ffff,
                    _ => x as i64 as u64,
                }
            }
        };
        self.tile(Op::Const(Const { dtype, bits }), dtype, Shape::SCALAR)
    }

    pub(crate) fn pid(&mut self, axis: u8) -> Value {
        self.tile(Op::ProgramId(axis), DType::I32, Shape::SCALAR)
    }

    pub(crate) fn load(&mut self, view: Value, offsets: &[Value], dims: &[usize]) -> Value {
        let dtype = self.func.view_ty(view).dtype;
        let pad = self.num(dtype, 0.0);
        let shape = Shape::new(dims);
        self.tile(Op::Load { view, offsets: offsets.to_vec(), shape, pad }, dtype, shape)
    }

    pub(crate) fn store(&mut self, view: Value, offsets: &[Value], value: Value) {
        self.stmt(StmtKind::Store { view, offsets: offsets.to_vec(), value });
    }

    pub(crate) fn un(&mut self, op: UnaryOp, a: Value) -> Value {
        let t = self.ty(a);
        self.tile(Op::Unary(op, a), t.dtype, t.shape)
    }

    pub(crate) fn bin(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let t = self.ty(a);
        self.tile(Op::Binary(op, a, b), op.rule().result(t.dtype), t.shape)
    }

    pub(crate) fn cast(&mut self, a: Value, dtype: DType) -> Value {
        let t = self.ty(a);
        self.tile(Op::Cast(a, dtype), dtype, t.shape)
    }

    pub(crate) fn splat(&mut self, a: Value, dims: &[usize]) -> Value {
        let (dtype, shape) = (self.ty(a).dtype, Shape::new(dims));
        self.tile(Op::Splat(a, shape), dtype, shape)
    }

    pub(crate) fn zeros(&mut self, dtype: DType, dims: &[usize]) -> Value {
        let z = self.num(dtype, 0.0);
        self.splat(z, dims)
    }

    pub(crate) fn expand(&mut self, a: Value, axis: u8) -> Value {
        let t = self.ty(a);
        self.tile(Op::ExpandDims(a, axis), t.dtype, t.shape.with(axis as usize, 1))
    }

    pub(crate) fn broadcast(&mut self, a: Value, dims: &[usize]) -> Value {
        let dtype = self.ty(a).dtype;
        self.tile(Op::Broadcast(a, Shape::new(dims)), dtype, Shape::new(dims))
    }

    pub(crate) fn reshape(&mut self, a: Value, dims: &[usize]) -> Value {
        let dtype = self.ty(a).dtype;
        self.tile(Op::Reshape(a, Shape::new(dims)), dtype, Shape::new(dims))
    }

    pub(crate) fn permute(&mut self, a: Value, perm: &[u8]) -> Value {
        let t = self.ty(a);
        self.tile(Op::Permute(a, perm.to_vec()), t.dtype, t.shape.permuted(perm))
    }

    pub(crate) fn reduce(&mut self, op: ReduceOp, a: Value, axis: u8) -> Value {
        let t = self.ty(a);
        self.tile(Op::Reduce(op, a, axis), t.dtype, t.shape.without(axis as usize))
    }

    pub(crate) fn dot(&mut self, a: Value, b: Value, acc: Value) -> Value {
        let t = self.ty(acc);
        self.tile(Op::Dot { a, b, acc }, t.dtype, t.shape)
    }

    pub(crate) fn dim(&mut self, view: Value, axis: u8) -> Value {
        self.tile(Op::ViewDim(view, axis), DType::I32, Shape::SCALAR)
    }

    fn region(&mut self, types: &[Type], f: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>) -> Block {
        let params: Vec<Value> = types.iter().map(|&t| self.func.new_value(t, Loc::default())).collect();
        self.blocks.push(Block { params: params.clone(), ..Block::default() });
        let yields = f(self, &params);
        let mut block = self.blocks.pop().expect("a region should be open");
        block.yields = yields;
        block
    }

    fn results(&mut self, inits: &[Value]) -> (Vec<Type>, Vec<Value>) {
        let types: Vec<Type> = inits.iter().map(|&v| self.func.ty(v)).collect();
        let results = types.iter().map(|&t| self.func.new_value(t, Loc::default())).collect();
        (types, results)
    }

    /// A loop; `f` gets the induction variable and the carried values.
    pub(crate) fn for_loop(
        &mut self,
        range: [Value; 3],
        inits: &[Value],
        f: impl FnOnce(&mut Self, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (types, results) = self.results(inits);
        let mut params = vec![Type::Tile(TileType::scalar(DType::I32))];
        params.extend(&types);
        let body = self.region(&params, |b, p| f(b, p[0], &p[1..]));
        let [lo, hi, step] = range;
        self.stmt(StmtKind::For { lo, hi, step, inits: inits.to_vec(), body, results: results.clone() });
        results
    }

    /// A while loop; `test` yields a bool scalar.
    pub(crate) fn while_loop(
        &mut self,
        inits: &[Value],
        test: impl FnOnce(&mut Self, &[Value]) -> Value,
        f: impl FnOnce(&mut Self, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (types, results) = self.results(inits);
        let cond = self.region(&types, |b, p| vec![test(b, p)]);
        let body = self.region(&types, f);
        self.stmt(StmtKind::While { inits: inits.to_vec(), cond, body, results: results.clone() });
        results
    }

    /// A branch with results of the given types.
    pub(crate) fn branch(
        &mut self,
        cond: Value,
        types: &[Type],
        then: impl FnOnce(&mut Self) -> Vec<Value>,
        other: impl FnOnce(&mut Self) -> Vec<Value>,
    ) -> Vec<Value> {
        let then_block = self.region(&[], |b, _| then(b));
        let else_block = self.region(&[], |b, _| other(b));
        let results: Vec<Value> = types.iter().map(|&t| self.func.new_value(t, Loc::default())).collect();
        self.stmt(StmtKind::If { cond, then_block, else_block, results: results.clone() });
        results
    }

    pub(crate) fn finish(mut self) -> Func {
        self.func.body = self.blocks.pop().expect("the body should be open");
        self.func
    }
}

/// One argument of a test: a buffer seen through strides, or a scalar.
#[derive(Clone, Debug)]
pub(crate) enum TestArg {
    /// Element type, extents, strides in elements, elements before the first.
    View {
        dtype: DType,
        dims: Vec<i64>,
        strides: Vec<i64>,
        start: i64,
        mutable: bool,
    },
    /// As the argument before it, a view of the same buffer.
    Same {
        of: usize,
        dims: Vec<i64>,
        strides: Vec<i64>,
        start: i64,
    },
    Scalar(u64),
}

impl TestArg {
    /// A dense row-major view.
    pub(crate) fn dense(dtype: DType, dims: &[i64], mutable: bool) -> Self {
        let mut strides = vec![1; dims.len()];
        for i in (0..dims.len().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1] * dims[i + 1];
        }
        Self::View { dtype, dims: dims.to_vec(), strides, start: 0, mutable }
    }
}

fn footprint(dims: &[i64], strides: &[i64], start: i64) -> usize {
    let mut top = start;
    for (d, s) in dims.iter().zip(strides) {
        top += (d - 1).max(0) * s.max(&0);
    }
    (top + 1) as usize
}

fn fill(rng: &mut Rng, dtype: DType, n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..n {
        let x = (rng.next() % 4001) as f64 / 1000.0 - 2.0;
        match dtype {
            DType::F32 => out.extend((x as f32).to_le_bytes()),
            DType::F16 => out.extend(half::f16::from_f64(x).to_le_bytes()),
            DType::BF16 => out.extend(half::bf16::from_f64(x).to_le_bytes()),
            DType::F8E4M3 => out.push(rng.below(0x50) as u8 | (rng.below(2) as u8) << 7),
            DType::F8E5M2 => out.push(rng.below(0x48) as u8 | (rng.below(2) as u8) << 7),
            DType::I8 | DType::U8 => out.push(rng.next() as u8),
            DType::I32 | DType::U32 => out.extend((rng.below(200) as i32 - 20).to_le_bytes()),
            DType::I64 => out.extend((rng.below(200) as i64 - 20).to_le_bytes()),
            DType::Bool => out.push(rng.below(2) as u8),
        }
    }
    out
}

/// Runs a program that takes no views.
pub(crate) fn run_plain(
    program: &CpuProgram,
    args: &[Arg],
    grid: [u32; 3],
    pid: [u32; 3],
    arena: &mut Arena,
    log: &dyn DeviceLog,
) -> Result<(), RunError> {
    // SAFETY: there are no views.
    unsafe { super::super::run(program, args, grid, pid, arena, log) }
}

/// Memory of one machine: every buffer between guard bytes.
#[derive(Clone)]
struct Memory {
    buffers: Vec<Vec<u8>>,
}

const GUARD: usize = 256;

fn bind(memory: &mut Memory, args: &[TestArg]) -> Vec<Arg> {
    let mut dtypes = Vec::new();
    args.iter()
        .enumerate()
        .map(|(i, a)| {
            let (buffer, dims, strides, start, mutable) = match a {
                TestArg::Scalar(bits) => {
                    dtypes.push(DType::I32);
                    return Arg::Scalar(*bits);
                }
                TestArg::View { dtype, dims, strides, start, mutable } => {
                    dtypes.push(*dtype);
                    (i, dims, strides, *start, *mutable)
                }
                TestArg::Same { of, dims, strides, start } => {
                    dtypes.push(dtypes[*of]);
                    (*of, dims, strides, *start, true)
                }
            };
            let dtype = dtypes[i];
            let (mut d, mut s) = ([0i64; MAX_RANK], [0i64; MAX_RANK]);
            d[..dims.len()].copy_from_slice(dims);
            s[..dims.len()].copy_from_slice(strides);
            let first = GUARD + start as usize * dtype.size_bytes();
            let ptr = memory.buffers[buffer].as_mut_ptr().wrapping_add(first);
            Arg::View(ViewArg { ptr, dtype, rank: dims.len() as u8, mutable, dims: d, strides: s })
        })
        .collect()
}

#[derive(Default)]
pub(crate) struct Lines(pub Mutex<Vec<String>>);

impl DeviceLog for Lines {
    fn line(&self, _pid: [u32; 3], text: &str) {
        self.0.lock().expect("no thread should have panicked").push(text.to_owned());
    }
}

fn value(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().expect("four bytes"))),
        DType::F16 => half::f16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f64(),
        DType::BF16 => half::bf16::from_le_bytes(bytes.try_into().expect("two bytes")).to_f64(),
        DType::F8E4M3 | DType::F8E5M2 => f64::from(bytes[0]),
        DType::I8 => f64::from(bytes[0] as i8),
        DType::U8 | DType::Bool => f64::from(bytes[0]),
        DType::I32 => f64::from(i32::from_le_bytes(bytes.try_into().expect("four bytes"))),
        DType::U32 => f64::from(u32::from_le_bytes(bytes.try_into().expect("four bytes"))),
        DType::I64 => i64::from_le_bytes(bytes.try_into().expect("eight bytes")) as f64,
    }
}

/// Runs `func` on the reference and, for every instruction set, on the CPU target, over the same random memory and with
/// poisoned scratch; all buffers must then agree within `tolerance` (relative to 1 + the value's size).
pub(crate) fn check(func: &Func, args: &[TestArg], grid: [u32; 3], tolerance: f64, seed: u64) {
    let mut rng = Rng(seed);
    let mut start = Memory { buffers: Vec::new() };
    for a in args {
        start.buffers.push(match a {
            TestArg::View { dtype, dims, strides, start, .. } => {
                let mut n = footprint(dims, strides, *start);
                for (i, b) in args.iter().enumerate() {
                    if let TestArg::Same { of, dims, strides, start } = b
                        && i != *of
                    {
                        n = n.max(footprint(dims, strides, *start));
                    }
                }
                let mut bytes = vec![0xa5; GUARD];
                bytes.extend(fill(&mut rng, *dtype, n));
                bytes.extend(vec![0xa5; GUARD]);
                bytes
            }
            TestArg::Same { .. } | TestArg::Scalar(_) => Vec::new(),
        });
    }
    let pids = || {
        let g = grid.map(|n| 0..n);
        let [gx, gy, gz] = g;
        gx.flat_map(move |x| {
            let gz = gz.clone();
            gy.clone().flat_map(move |y| gz.clone().map(move |z| [x, y, z]))
        })
    };
    let mut want = start.clone();
    let want_log = Lines::default();
    let bound = bind(&mut want, args);
    for pid in pids() {
        // SAFETY: the arguments describe the buffers of `want`.
        unsafe { reference::run(func, &bound, grid, pid, &want_log) }.expect("the reference should run");
    }
    let isas = micro::Isa::available();
    for (isa, cache_bytes) in isas.iter().flat_map(|&isa| [(isa, usize::MAX), (isa, 0)]) {
        // Without a cache every output that is only written is stored past it.
        let program = CpuProgram::compile(func, isa)
            .unwrap_or_else(|e| panic!("should compile: {e}"))
            .with_last_level_cache(cache_bytes);
        let mut got = start.clone();
        let mut arena = Arena::new();
        let log = Lines::default();
        let bound = bind(&mut got, args);
        for pid in pids() {
            arena.reserve(&program);
            arena.poison();
            // SAFETY: the arguments describe the buffers of `got`.
            unsafe { super::super::run(&program, &bound, grid, pid, &mut arena, &log) }
                .unwrap_or_else(|e| panic!("should run: {e}\n{}", program.listing()));
        }
        for (i, a) in args.iter().enumerate() {
            let TestArg::View { dtype, .. } = a else { continue };
            let size = dtype.size_bytes();
            let (w, g) = (&want.buffers[i], &got.buffers[i]);
            let end = w.len() - GUARD;
            assert_eq!(g[..GUARD], w[..GUARD], "argument {i}: bytes before the buffer changed");
            assert_eq!(g[end..], w[end..], "argument {i}: bytes after the buffer changed");
            for (j, (x, y)) in w[GUARD..end].chunks(size).zip(g[GUARD..end].chunks(size)).enumerate() {
                let (x, y) = (value(*dtype, x), value(*dtype, y));
                let close =
                    x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * (1.0 + x.abs());
                assert!(
                    close,
                    "{} seed {seed}: argument {i}, element {j}: {y}, reference {x}\n{}",
                    isa.name(),
                    program.listing()
                );
            }
        }
    }
}
