//! Random functions: fusion, placement and carried values against the reference.
//!
//! Inputs are small whole numbers, so sums and products are exact and any difference is a wrong element, not rounding.

use super::build::{Fb, Rng, TestArg, check};
use crate::ir::{BinaryOp, DType, Op, ReduceOp, Shape, Type, UnaryOp, Value};

const DIMS: [usize; 8] = [1, 2, 3, 7, 16, 33, 64, 129];

struct Gen {
    b: Fb,
    rng: Rng,
    args: Vec<TestArg>,
    /// Scalars and tiles that may be used here.
    pool: Vec<Value>,
    zero: Value,
    views: Vec<(Value, Vec<i64>)>,
    out: Value,
    out_len: i64,
    inner: Value,
}

const TILE_TYPES: [DType; 5] = [DType::F32, DType::F32, DType::F16, DType::I32, DType::I64];

impl Gen {
    fn dims(&mut self) -> Vec<usize> {
        let rank = 1 + self.rng.below(3);
        let mut dims: Vec<usize> = (0..rank).map(|_| self.rng.pick(&DIMS)).collect();
        while dims.iter().product::<usize>() > 9000 {
            let i = self.rng.below(rank);
            dims[i] = self.rng.pick(&[1, 3, 7]);
        }
        dims
    }

    fn load(&mut self) -> Value {
        let i = self.rng.below(self.views.len());
        let (view, extent) = self.views[i].clone();
        let mut dims: Vec<usize> = extent.iter().map(|_| self.rng.pick(&DIMS)).collect();
        while dims.iter().product::<usize>() > 9000 {
            let j = self.rng.below(dims.len());
            dims[j] = 3;
        }
        let offsets: Vec<Value> = dims
            .iter()
            .map(|_| {
                let x = self.rng.below(9) as i32 - 3;
                let c = self.b.int(x);
                if self.rng.chance(30) { self.b.bin(BinaryOp::Add, c, self.inner) } else { c }
            })
            .collect();
        let t = self.b.load(view, &offsets, &dims);
        let t = if self.b.ty(t).dtype.is_float() { self.b.un(UnaryOp::Floor, t) } else { t };
        if self.rng.chance(30) && dims.len() == 2 { self.b.permute(t, &[1, 0]) } else { t }
    }

    /// A value of this type: an existing one, or one made to fit.
    fn of_type(&mut self, dtype: DType, dims: &[usize]) -> Value {
        let shape = Shape::new(dims);
        let exact: Vec<Value> = self
            .pool
            .iter()
            .copied()
            .filter(|&v| self.b.func.ty(v).tile().is_some_and(|t| t.dtype == dtype && t.shape == shape))
            .collect();
        if !exact.is_empty() && self.rng.chance(80) {
            return self.rng.pick(&exact);
        }
        let same_shape: Vec<Value> =
            self.pool.iter().copied().filter(|&v| self.b.ty(v).shape == shape).collect();
        if !same_shape.is_empty() && self.rng.chance(60) {
            let v = self.rng.pick(&same_shape);
            let v = self.bounded(v);
            return if self.b.ty(v).dtype == dtype { v } else { self.b.cast(v, dtype) };
        }
        // A row, a column or a scalar repeated.
        let flat: Vec<Value> = self
            .pool
            .iter()
            .copied()
            .filter(|&v| {
                let t = self.b.ty(v);
                t.dtype == dtype
                    && t.shape.rank() == dims.len()
                    && (0..dims.len()).all(|i| t.shape.dim(i) == 1 || t.shape.dim(i) == dims[i])
            })
            .collect();
        if !flat.is_empty() && self.rng.chance(70) {
            let v = self.rng.pick(&flat);
            return self.b.broadcast(v, dims);
        }
        if dtype == DType::I32 && dims.len() == 1 && self.rng.chance(60) {
            return self.b.tile(Op::Arange { extent: dims[0] as u32 }, DType::I32, shape);
        }
        let x = self.rng.below(7) as f64 - 3.0;
        let c = self.b.num(dtype, x);
        self.b.splat(c, dims)
    }

    /// Keeps values small, so that casts and sums stay exact.
    fn bounded(&mut self, v: Value) -> Value {
        let t = self.b.ty(v);
        if t.dtype == DType::Bool {
            return v;
        }
        let (lo, hi) = (self.b.num(t.dtype, -9.0), self.b.num(t.dtype, 9.0));
        let dims = t.shape.to_vec();
        let (lo, hi) =
            if dims.is_empty() { (lo, hi) } else { (self.b.splat(lo, &dims), self.b.splat(hi, &dims)) };
        let v = self.b.bin(BinaryOp::Max, v, lo);
        self.b.bin(BinaryOp::Min, v, hi)
    }

    fn step(&mut self) {
        let v = match self.rng.below(14) {
            0 | 1 => self.load(),
            2..=5 => {
                let a = self.rng.pick(&self.pool.clone());
                let t = self.b.ty(a);
                let other = self.of_type(t.dtype, &t.shape.to_vec());
                if t.dtype == DType::Bool {
                    self.b.bin(self.rng.pick(&[BinaryOp::And, BinaryOp::Or, BinaryOp::Xor]), a, other)
                } else {
                    let kind = self.rng.pick(&[
                        BinaryOp::Add,
                        BinaryOp::Sub,
                        BinaryOp::Mul,
                        BinaryOp::Min,
                        BinaryOp::Max,
                        BinaryOp::Lt,
                        BinaryOp::Ge,
                        BinaryOp::Eq,
                    ]);
                    let (x, y) = if self.rng.chance(50) { (a, other) } else { (other, a) };
                    let v = self.b.bin(kind, x, y);
                    self.bounded(v)
                }
            }
            6 => {
                let a = self.rng.pick(&self.pool.clone());
                if self.b.ty(a).dtype == DType::Bool {
                    self.b.un(UnaryOp::Not, a)
                } else {
                    self.b.un(UnaryOp::Neg, a)
                }
            }
            7 => {
                let a = self.rng.pick(&self.pool.clone());
                let t = self.b.ty(a);
                if t.shape.rank() == 0 {
                    return;
                }
                let axis = self.rng.below(t.shape.rank()) as u8;
                if t.dtype == DType::Bool {
                    return;
                }
                let kind = self.rng.pick(&[ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min]);
                let r = self.b.reduce(kind, a, axis);
                let r = self.bounded(r);
                self.pool.push(r);
                let e = self.b.expand(r, axis);
                if self.rng.chance(70) { self.b.broadcast(e, &t.shape.to_vec()) } else { e }
            }
            8 => {
                let a = self.rng.pick(&self.pool.clone());
                let t = self.b.ty(a);
                match t.shape.rank() {
                    0 => self.b.expand(a, 0),
                    1 => {
                        let axis = self.rng.below(2) as u8;
                        self.b.expand(a, axis)
                    }
                    _ => {
                        let flat = t.shape.elements();
                        self.b.reshape(a, &[flat])
                    }
                }
            }
            9 => {
                let a = self.rng.pick(&self.pool.clone());
                match self.b.ty(a).shape.rank() {
                    2 => self.b.permute(a, &[1, 0]),
                    3 => {
                        let perm = self.rng.pick(&[[2u8, 0, 1], [1, 0, 2], [0, 2, 1], [2, 1, 0]]);
                        self.b.permute(a, &perm)
                    }
                    _ => return,
                }
            }
            10 => {
                let a = self.rng.pick(&self.pool.clone());
                let t = self.b.ty(a);
                let dims = t.shape.to_vec();
                let cond = self.of_type(DType::Bool, &dims);
                let other = self.of_type(t.dtype, &dims);
                self.b.tile(Op::Select(cond, a, other), t.dtype, t.shape)
            }
            11 => {
                // A dot whose operands are whatever there is, brought to f32.
                let m = self.rng.pick(&[1usize, 3, 16, 33]);
                let n = self.rng.pick(&[1usize, 7, 16, 65]);
                let k = self.rng.pick(&[1usize, 5, 16, 64]);
                let dtype = self.rng.pick(&[DType::F32, DType::F16]);
                let a = if self.rng.chance(50) { self.matrix(m, k) } else { self.of_type(dtype, &[m, k]) };
                let b = if self.rng.chance(50) { self.matrix(k, n) } else { self.of_type(dtype, &[k, n]) };
                let (a, b) = (self.b.cast(a, DType::F32), self.b.cast(b, DType::F32));
                let acc = self.of_type(DType::F32, &[m, n]);
                let v = self.b.dot(a, b, acc);
                self.bounded(v)
            }
            12 => {
                let t = self.rng.pick(&TILE_TYPES);
                let dims = self.dims();
                self.of_type(t, &dims)
            }
            _ => {
                let a = self.rng.pick(&self.pool.clone());
                self.save(a);
                return;
            }
        };
        self.pool.push(v);
    }

    /// A load of exactly this shape, transposed at times.
    fn matrix(&mut self, rows: usize, cols: usize) -> Value {
        let (view, _) = self.views[self.rng.below(2)].clone();
        let offsets = [self.b.int(self.rng.below(4) as i32), self.b.int(self.rng.below(6) as i32 - 2)];
        let t = if self.rng.chance(50) {
            let t = self.b.load(view, &offsets, &[cols, rows]);
            self.b.permute(t, &[1, 0])
        } else {
            self.b.load(view, &offsets, &[rows, cols])
        };
        self.b.un(UnaryOp::Floor, t)
    }

    /// Stores a value somewhere in the output.
    fn save(&mut self, v: Value) {
        let t = self.b.ty(v);
        let v = self.bounded(v);
        let v = self.b.cast(v, DType::F32);
        let n = t.shape.elements();
        let at = self.out_len;
        self.out_len += n as i64 + 3;
        let at = self.b.int(at as i32);
        let v = if t.shape.rank() > 1 { self.b.reshape(v, &[n]) } else { v };
        let out = self.out;
        self.b.store(out, &[at], v);
    }

    fn carried(&mut self) -> Vec<Value> {
        let n = 1 + self.rng.below(3);
        let pool = self.pool.clone();
        (0..n).map(|_| self.rng.pick(&pool)).collect()
    }

    fn next_values(&mut self, params: &[Value]) -> Vec<Value> {
        params
            .iter()
            .map(|&p| {
                let t = self.b.ty(p);
                let dims = t.shape.to_vec();
                if dims.is_empty() {
                    return p;
                }
                self.of_type(t.dtype, &dims)
            })
            .collect()
    }

    fn body(&mut self, depth: usize, steps: usize) {
        for _ in 0..steps {
            if depth < 2 && self.rng.chance(12) {
                let outer = self.pool.clone();
                let saved_inner = self.inner;
                match self.rng.below(3) {
                    0 => {
                        let inits = self.carried();
                        let range = [self.b.int(0), self.b.int(self.rng.below(4) as i32), self.b.int(1)];
                        let results = self.loop_over(range, &inits, depth);
                        self.pool = outer;
                        self.pool.extend(results);
                    }
                    1 => {
                        let types: Vec<Type> = self.carried().iter().map(|&v| self.b.func.ty(v)).collect();
                        let zero = self.zero;
                        let cond = self.b.bin(self.rng.pick(&[BinaryOp::Eq, BinaryOp::Ne]), self.inner, zero);
                        let results = self.branch(cond, &types, depth);
                        self.pool = outer;
                        self.pool.extend(results);
                    }
                    _ => {
                        let a = self.rng.pick(&outer);
                        self.save(a);
                    }
                }
                self.inner = saved_inner;
            } else {
                self.step();
            }
        }
    }

    fn loop_over(&mut self, range: [Value; 3], inits: &[Value], depth: usize) -> Vec<Value> {
        let mut fb = std::mem::replace(&mut self.b, Fb::new());
        let results = fb.for_loop(range, inits, |b, iv, params| {
            std::mem::swap(&mut self.b, b);
            self.inner = iv;
            self.pool.extend(params);
            self.body(depth + 1, 4);
            let next = self.next_values(params);
            std::mem::swap(&mut self.b, b);
            next
        });
        self.b = fb;
        results
    }

    fn branch(&mut self, cond: Value, types: &[Type], depth: usize) -> Vec<Value> {
        let mut fb = std::mem::replace(&mut self.b, Fb::new());
        let pool = self.pool.clone();
        let cell = std::cell::RefCell::new(self);
        let arm = |b: &mut Fb| {
            let mut g = cell.borrow_mut();
            g.pool.clone_from(&pool);
            std::mem::swap(&mut g.b, b);
            g.body(depth + 1, 3);
            let yields = types
                .iter()
                .map(|t| {
                    let t = t.tile().expect("only tiles are carried");
                    if t.shape.rank() == 0 {
                        g.b.num(t.dtype, 1.0)
                    } else {
                        g.of_type(t.dtype, &t.shape.to_vec())
                    }
                })
                .collect();
            std::mem::swap(&mut g.b, b);
            yields
        };
        let results = fb.branch(cond, types, arm, arm);
        cell.into_inner().b = fb;
        results
    }
}

fn random_case(seed: u64) {
    let mut rng = Rng(seed);
    let mut b = Fb::new();
    let mut args = Vec::new();
    let mut views = Vec::new();
    for dtype in [DType::F32, DType::BF16, DType::I32, DType::I8] {
        let dims = [rng.pick(&[5i64, 64, 131]), rng.pick(&[9i64, 64, 133])];
        let view = b.view(dtype, 2, false);
        args.push(match rng.below(3) {
            0 => TestArg::View {
                dtype,
                dims: dims.to_vec(),
                strides: vec![1, dims[0] + 3],
                start: 1,
                mutable: false,
            },
            1 => TestArg::View {
                dtype,
                dims: dims.to_vec(),
                strides: vec![dims[1] + 5, 1],
                start: 2,
                mutable: false,
            },
            _ => TestArg::dense(dtype, &dims, false),
        });
        views.push((view, dims.to_vec()));
    }
    let line = b.view(DType::F32, 1, false);
    args.push(TestArg::dense(DType::F32, &[3000], false));
    views.push((line, vec![3000]));
    let out = b.view(DType::F32, 1, true);
    let zero = b.int(0);
    let pid = b.pid(0);
    let mut g = Gen { b, rng, args, pool: vec![pid], zero, views, out, out_len: 0, inner: pid };
    for _ in 0..3 {
        let v = g.load();
        g.pool.push(v);
    }
    g.body(0, 25);
    for v in g.pool.clone().into_iter().rev().take(5) {
        g.save(v);
    }
    g.args.push(TestArg::dense(DType::F32, &[g.out_len.max(1)], true));
    check(&g.b.finish(), &g.args, [2, 1, 1], 0.0, seed);
}

#[test]
fn random_functions_agree_with_the_reference() {
    let (first, n) = match std::env::var("TILEWRIGHT_CPU_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => (seed, 1),
        None => (0, std::env::var("TILEWRIGHT_CPU_CASES").ok().and_then(|s| s.parse().ok()).unwrap_or(150)),
    };
    for seed in first..first + n {
        random_case(seed);
    }
}
