//! Runs a random function the plain way, one element at a time, and records its effects.
//!
//! Only what the generator makes. Independent of the passes: arithmetic is written out anew, in f32 for floats.

#![expect(clippy::wildcard_enum_match_arm, reason = "what the generator never makes need not be named")]

use tilewright_codegen::ir::{
    ArgOp, BinaryOp, Block, Const, DType, Func, Op, ReduceOp, Shape, StmtKind, UnaryOp, Value,
};

/// What a function did: each store and print, in order, with NaNs made alike.
pub(crate) type Trace = Vec<String>;

type Tile = Vec<Const>;

struct Machine<'a> {
    func: &'a Func,
    values: Vec<Tile>,
    memory: [Vec<f32>; 2],
    trace: Trace,
}

/// The effects of `func` for the given scalars.
pub(crate) fn run(func: &Func, n: i32, a: f32, c: bool) -> Trace {
    let memory = [(0..9).map(|i| i as f32 - 2.5).collect(), vec![1.5; 9]];
    let mut machine =
        Machine { func, values: vec![Vec::new(); func.values.len()], memory, trace: Vec::new() };
    let scalars = [
        Const::from_i64(DType::I32, i64::from(n)),
        Const::from_f64(DType::F32, f64::from(a)),
        Const::from_bool(c),
    ];
    for (param, value) in func.params[2..].iter().zip(scalars) {
        machine.values[param.value.index()] = vec![value];
    }
    machine.block(&func.body);
    machine.trace
}

impl Machine<'_> {
    fn get(&self, v: Value) -> &Tile {
        &self.values[v.index()]
    }

    fn int(&self, v: Value) -> i64 {
        self.get(v)[0].to_i64()
    }

    fn pass(&mut self, from: &[Value], to: &[Value]) {
        let tiles: Vec<Tile> = from.iter().map(|&v| self.get(v).clone()).collect();
        for (tile, v) in tiles.into_iter().zip(to) {
            self.values[v.index()] = tile;
        }
    }

    fn show(&self, v: Value) -> String {
        self.get(v)
            .iter()
            .map(|c| if c.to_f64().is_nan() { "nan ".into() } else { format!("{} ", c.text()) })
            .collect()
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::Let { value, op } => self.values[value.index()] = self.op(op),
                StmtKind::Store { view: _, offsets, value } => {
                    let start = self.int(offsets[0]);
                    for (i, c) in self.get(*value).clone().into_iter().enumerate() {
                        if let Ok(at @ 0..9) = usize::try_from(start + i as i64) {
                            self.memory[1][at] = c.to_f64() as f32;
                        }
                    }
                    self.trace.push(format!("store {start}: {}", self.show(*value)));
                }
                StmtKind::Print { label, values } => {
                    self.trace.push(format!("{label:?}: {}", self.show(values[0])))
                }
                StmtKind::For { lo, hi, step, inits, body, results } => {
                    let (mut iv, hi, step) = (self.int(*lo), self.int(*hi), self.int(*step));
                    self.pass(inits, &body.params[1..]);
                    self.pass(inits, results);
                    while iv < hi {
                        self.values[body.params[0].index()] = vec![Const::from_i64(DType::I32, iv)];
                        self.block(body);
                        self.pass(&body.yields, results);
                        self.pass(&body.yields, &body.params[1..]);
                        iv += step;
                    }
                }
                StmtKind::While { inits, cond, body, results } => {
                    self.pass(inits, &cond.params);
                    loop {
                        self.block(cond);
                        if self.int(cond.yields[0]) == 0 {
                            break;
                        }
                        self.pass(&cond.params, &body.params);
                        self.block(body);
                        self.pass(&body.yields, &cond.params);
                    }
                    self.pass(&cond.params, results);
                }
                StmtKind::If { cond, then_block, else_block, results } => {
                    let block = if self.int(*cond) != 0 { then_block } else { else_block };
                    self.block(block);
                    self.pass(&block.yields, results);
                }
                StmtKind::Scatter { .. } | StmtKind::Assert { .. } => {
                    unreachable!("the generator makes none")
                }
            }
        }
    }

    fn op(&self, op: &Op) -> Tile {
        let shape = |v: Value| self.func.tile_ty(v).shape;
        match op {
            Op::Const(c) => vec![*c],
            Op::Unary(op, a) => self.get(*a).iter().map(|&x| unary(*op, x)).collect(),
            Op::Binary(op, a, b) => {
                self.get(*a).iter().zip(self.get(*b)).map(|(&x, &y)| binary(*op, x, y)).collect()
            }
            Op::Fma(a, b, c) => {
                let operands = self.get(*a).iter().zip(self.get(*b)).zip(self.get(*c));
                operands.map(|((x, y), z)| float(x.dtype, f(*x).mul_add(f(*y), f(*z)))).collect()
            }
            Op::Select(c, a, b) => {
                let branches = self.get(*a).iter().zip(self.get(*b));
                self.get(*c)
                    .iter()
                    .zip(branches)
                    .map(|(c, (&x, &y))| if c.bits != 0 { x } else { y })
                    .collect()
            }
            Op::Cast(a, to) => self.get(*a).iter().map(|&x| cast(x, *to)).collect(),
            Op::Splat(a, shape) => vec![self.get(*a)[0]; shape.elements()],
            Op::ExpandDims(a, _) | Op::Squeeze(a, _) | Op::Reshape(a, _) => self.get(*a).clone(),
            Op::Broadcast(a, to) => {
                let from = shape(*a);
                let source =
                    |at: Vec<usize>| at.iter().enumerate().map(|(k, &i)| i % from.dim(k)).collect::<Vec<_>>();
                indices(*to).map(|at| self.get(*a)[flat(from, &source(at))]).collect()
            }
            Op::Permute(a, perm) => {
                let from = shape(*a);
                indices(from.permuted(perm))
                    .map(|at| {
                        let mut source = vec![0; at.len()];
                        perm.iter().zip(&at).for_each(|(&p, &i)| source[usize::from(p)] = i);
                        self.get(*a)[flat(from, &source)]
                    })
                    .collect()
            }
            Op::Reduce(op, a, axis) => self.along(*a, *axis, |line| {
                let op = match op {
                    ReduceOp::Sum => BinaryOp::Add,
                    ReduceOp::Max => BinaryOp::Max,
                    ReduceOp::Min => BinaryOp::Min,
                };
                line.iter().copied().reduce(|x, y| binary(op, x, y)).expect("an extent should not be 0")
            }),
            Op::ArgReduce(op, a, axis) => self.along(*a, *axis, |line| {
                let op = if *op == ArgOp::ArgMax { BinaryOp::Gt } else { BinaryOp::Lt };
                let mut best = 0;
                for i in 1..line.len() {
                    if binary(op, line[i], line[best]).bits != 0 {
                        best = i;
                    }
                }
                Const::from_i64(DType::I32, best as i64)
            }),
            Op::Load { view, offsets, shape, pad } => {
                let start = self.int(offsets[0]);
                (0..shape.elements()).map(|i| self.read(*view, start + i as i64, *pad)).collect()
            }
            Op::Gather { view, indices, mask, pad } => self
                .get(indices[0])
                .iter()
                .enumerate()
                .map(|(i, at)| {
                    let wanted = mask.is_none_or(|m| self.get(m)[i].bits != 0);
                    if wanted { self.read(*view, at.to_i64(), *pad) } else { self.get(*pad)[0] }
                })
                .collect(),
            other => unreachable!("the generator makes no {}", other.mnemonic()),
        }
    }

    fn read(&self, view: Value, at: i64, pad: Value) -> Const {
        let element = usize::try_from(at).ok().and_then(|at| self.memory[view.index()].get(at));
        element.map_or(self.get(pad)[0], |&x| Const { dtype: DType::F32, bits: u64::from(x.to_bits()) })
    }

    fn along(&self, a: Value, axis: u8, reduce: impl Fn(&[Const]) -> Const) -> Tile {
        let (from, axis) = (self.func.tile_ty(a).shape, usize::from(axis));
        indices(from.without(axis))
            .map(|at| {
                let line: Tile = (0..from.dim(axis))
                    .map(|i| {
                        let mut at = at.clone();
                        at.insert(axis, i);
                        self.get(a)[flat(from, &at)]
                    })
                    .collect();
                reduce(&line)
            })
            .collect()
    }
}

fn indices(shape: Shape) -> impl Iterator<Item = Vec<usize>> {
    (0..shape.elements()).map(move |mut flat| {
        let mut at = vec![0; shape.rank()];
        for k in (0..shape.rank()).rev() {
            at[k] = flat % shape.dim(k);
            flat /= shape.dim(k);
        }
        at
    })
}

fn flat(shape: Shape, at: &[usize]) -> usize {
    at.iter().enumerate().fold(0, |flat, (k, &i)| flat * shape.dim(k) + i)
}

fn f(c: Const) -> f32 {
    c.to_f64() as f32
}

fn float(dtype: DType, x: f32) -> Const {
    Const::from_f64(dtype, f64::from(x))
}

fn unary(op: UnaryOp, a: Const) -> Const {
    if !a.dtype.is_float() {
        let x = a.to_i64();
        return match op {
            UnaryOp::Neg => Const::from_i64(a.dtype, x.wrapping_neg()),
            UnaryOp::Abs => Const::from_i64(a.dtype, x.wrapping_abs()),
            _ if a.dtype == DType::Bool => Const::from_bool(x == 0),
            _ => Const::from_i64(a.dtype, !x),
        };
    }
    let x = f(a);
    let y = match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Sin => x.sin(),
        // Any function will do: a pass neither computes it nor knows an identity of it.
        UnaryOp::Erf => x.atan(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryOp::Not => unreachable!("not takes no floats"),
    };
    float(a.dtype, y)
}

fn binary(op: BinaryOp, a: Const, b: Const) -> Const {
    let ordering =
        if a.dtype.is_float() { f(a).partial_cmp(&f(b)) } else { Some(a.to_i64().cmp(&b.to_i64())) };
    let compared = match op {
        BinaryOp::Eq => Some(ordering.is_some_and(|o| o.is_eq())),
        BinaryOp::Ne => Some(!ordering.is_some_and(|o| o.is_eq())),
        BinaryOp::Lt => Some(ordering.is_some_and(|o| o.is_lt())),
        BinaryOp::Le => Some(ordering.is_some_and(|o| o.is_le())),
        BinaryOp::Gt => Some(ordering.is_some_and(|o| o.is_gt())),
        BinaryOp::Ge => Some(ordering.is_some_and(|o| o.is_ge())),
        _ => None,
    };
    if let Some(truth) = compared {
        return Const::from_bool(truth);
    }
    if a.dtype.is_float() {
        let (x, y) = (f(a), f(b));
        return match op {
            BinaryOp::Add => float(a.dtype, x + y),
            BinaryOp::Sub => float(a.dtype, x - y),
            BinaryOp::Mul => float(a.dtype, x * y),
            BinaryOp::Div => float(a.dtype, x / y),
            BinaryOp::Rem => float(a.dtype, x % y),
            _ if x.is_nan() => b,
            _ if y.is_nan() => a,
            BinaryOp::Min => {
                if y < x {
                    b
                } else {
                    a
                }
            }
            _ => {
                if y > x {
                    b
                } else {
                    a
                }
            }
        };
    }
    let (x, y) = (a.to_i64(), b.to_i64());
    let bits = 8 * a.dtype.size_bytes() as u32;
    let z = match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div => x.checked_div(y).unwrap_or(0),
        BinaryOp::Rem => x.checked_rem(y).unwrap_or(0),
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl => x << (y as u32 % bits),
        _ => x >> (y as u32 % bits),
    };
    Const::from_i64(a.dtype, z)
}

fn cast(a: Const, to: DType) -> Const {
    match (a.dtype.is_float(), to) {
        (_, DType::F32 | DType::F16) => Const::from_f64(to, a.to_f64()),
        (true, DType::Bool) => Const::from_bool(a.to_f64() != 0.0),
        (true, DType::I8) => Const::from_i64(to, i64::from(a.to_f64() as i8)),
        (true, _) => Const::from_i64(to, i64::from(a.to_f64() as i32)),
        (false, _) => Const::from_i64(to, a.to_i64()),
    }
}
