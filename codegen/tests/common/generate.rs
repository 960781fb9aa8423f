//! Random legal functions from a list of numbers: each number is one choice, and when they run out the function ends.

use tilewright_codegen::diag::Loc;
use tilewright_codegen::ir::{
    ArgOp, BinaryOp, Block, Const, DType, Func, Op, Param, ReduceOp, Shape, Stmt, StmtKind, TileType, Type,
    UnaryOp, Value, ViewFacts, ViewType,
};

/// Scalars that arithmetic treats specially.
const FLOATS: [f64; 10] = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, f64::INFINITY, f64::NAN, 1e-40];
const INTS: [i64; 9] = [0, 1, -1, 2, 3, 32, 7, i32::MAX as i64, i32::MIN as i64];
const NAMES: [&str; 5] = ["acc", "x", "two words", "", "\"quoted\"\n"];
const FILES: [&str; 3] = ["src/kernel.rs", "C:\\k.rs", "a b.rs"];
const MAX_DEPTH: usize = 3;

/// The parameters: `x` and `y` are views (read, written), then an i32, an f32 and a bool.
pub(crate) fn function(choices: &[u32]) -> Func {
    let mut func = Func::new(if choices.len().is_multiple_of(2) { "random" } else { "not a word" });
    let view = |mutable| Type::View(ViewType { dtype: DType::F32, rank: 1, mutable });
    let scalar = |dtype| Type::Tile(TileType::scalar(dtype));
    let params = [
        ("x", view(false)),
        ("y", view(true)),
        ("n", scalar(DType::I32)),
        ("a", scalar(DType::F32)),
        ("c", scalar(DType::Bool)),
    ];
    for (i, (name, ty)) in params.into_iter().enumerate() {
        let value = func.new_value(ty, Loc::default());
        func.values[value.index()].name = (i != 2).then(|| name.to_owned());
        let facts = if i == 0 { ViewFacts { contiguous: true, divisible: 4 } } else { ViewFacts::default() };
        func.params.push(Param { name: name.to_owned(), value, facts });
    }
    let scope = func.params.iter().map(|p| p.value).collect();
    let mut generator = Generator { func, scope, choices: choices.iter(), depth: 0 };
    let mut body = generator.block(Vec::new(), usize::MAX);
    generator.show_values(&mut body, 0);
    generator.func.body = body;
    generator.func
}

struct Generator<'a> {
    func: Func,
    scope: Vec<Value>,
    choices: std::slice::Iter<'a, u32>,
    depth: usize,
}

impl Generator<'_> {
    fn choose(&mut self, n: usize) -> usize {
        self.choices.next().map_or(0, |&c| c as usize % n)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.choose(from.len())]
    }

    fn loc(&mut self) -> Loc {
        match self.choose(4) {
            0 => Loc { file: self.pick(&FILES), line: 3, column: 7 },
            _ => Loc::default(),
        }
    }

    fn values(&self, accept: impl Fn(Type) -> bool) -> Vec<Value> {
        self.scope.iter().copied().filter(|&v| accept(self.func.ty(v))).collect()
    }

    fn of_type(&mut self, ty: Type) -> Value {
        let values = self.values(|t| t == ty);
        self.pick_value(&values)
    }

    /// Mostly a value defined lately, so that chains grow.
    fn pick_value(&mut self, from: &[Value]) -> Value {
        let lately = &from[from.len().saturating_sub(5)..];
        if self.choose(4) == 0 { self.pick(from) } else { self.pick(lately) }
    }

    /// Prints two thirds of the values defined since `start`, or else no effect would depend on most of them.
    fn show_values(&mut self, block: &mut Block, start: usize) {
        for &v in &self.scope[start..] {
            if self.func.ty(v).tile().is_some() && v.0 % 3 != 0 {
                let kind = StmtKind::Print { label: String::new(), values: vec![v] };
                block.stmts.push(Stmt { kind, loc: Loc::default() });
            }
        }
    }

    fn tile(&mut self) -> (Value, TileType) {
        let tiles = self.values(|t| t.tile().is_some());
        let v = self.pick_value(&tiles);
        (v, self.func.tile_ty(v))
    }

    fn scalar(&mut self, dtype: DType) -> Value {
        self.of_type(Type::Tile(TileType::scalar(dtype)))
    }

    fn new_value(&mut self, ty: Type, loc: Loc) -> Value {
        let v = self.func.new_value(ty, loc);
        self.func.values[v.index()].name = match self.choose(8) {
            0 => Some(self.pick(&NAMES).to_owned()),
            _ => None,
        };
        v
    }

    fn block(&mut self, params: Vec<Value>, max_stmts: usize) -> Block {
        let mut block = Block { params, ..Block::default() };
        self.scope.extend(&block.params);
        while block.stmts.len() < max_stmts && self.choices.len() > 0 {
            let loc = self.loc();
            if let Some(kind) = self.stmt(loc, &mut block.stmts) {
                self.scope.extend(kind.results());
                block.stmts.push(Stmt { kind, loc });
            }
        }
        block
    }

    fn define(&mut self, op: Op, ty: TileType, loc: Loc) -> StmtKind {
        StmtKind::Let { value: self.new_value(Type::Tile(ty), loc), op }
    }

    fn constant(&mut self, c: Const, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let kind = self.define(Op::Const(c), TileType::scalar(c.dtype), loc);
        let value = kind.results()[0];
        out.push(Stmt { kind, loc });
        self.scope.push(value);
        value
    }

    fn stmt(&mut self, loc: Loc, out: &mut Vec<Stmt>) -> Option<StmtKind> {
        let (a, t) = self.tile();
        let is_float = t.dtype.is_float();
        let rank = t.shape.rank();
        let kind = match self.choose(18) {
            0 => {
                let c = match self.choose(4) {
                    0 => Const::from_f64(DType::F16, self.pick(&FLOATS)),
                    1 => Const::from_f64(DType::F32, self.pick(&FLOATS)),
                    2 => Const::from_i64(DType::I32, self.pick(&INTS)),
                    _ => Const::from_bool(self.choose(2) == 1),
                };
                self.define(Op::Const(c), TileType::scalar(c.dtype), loc)
            }
            1..=4 => {
                let op = self.pick(BinaryOp::ALL);
                if !op.rule().accepts(t.dtype) {
                    return None;
                }
                let b = self.of_type(Type::Tile(t));
                self.define(Op::Binary(op, a, b), TileType::new(op.rule().result(t.dtype), t.shape), loc)
            }
            5 => {
                let op = self.pick(UnaryOp::ALL);
                if !op.rule().accepts(t.dtype) {
                    return None;
                }
                self.define(Op::Unary(op, a), t, loc)
            }
            6 if rank == 0 => {
                let shape = Shape::new(self.pick(&[&[4][..], &[2, 3], &[1, 6], &[2, 1, 2]]));
                self.define(Op::Splat(a, shape), TileType::new(t.dtype, shape), loc)
            }
            7 if rank > 0 => {
                let shape = match t.shape.elements() {
                    4 => self.pick(&[&[4][..], &[2, 2], &[1, 4], &[2, 1, 2]]),
                    6 => self.pick(&[&[6][..], &[2, 3], &[3, 2], &[1, 6]]),
                    _ => return None,
                };
                let shape = Shape::new(shape);
                self.define(Op::Reshape(a, shape), TileType::new(t.dtype, shape), loc)
            }
            8 if rank == 2 => {
                let perm = self.pick(&[[0, 1], [1, 0]]).to_vec();
                let shape = t.shape.permuted(&perm);
                self.define(Op::Permute(a, perm), TileType::new(t.dtype, shape), loc)
            }
            9 if rank < 3 => {
                let axis = self.choose(rank + 1);
                self.define(Op::ExpandDims(a, axis as u8), TileType::new(t.dtype, t.shape.with(axis, 1)), loc)
            }
            10 if rank > 0 => {
                let axis = self.choose(rank);
                let without = t.shape.without(axis);
                let broadcast = without.with(axis, 3);
                match self.choose(4) {
                    0 if t.shape.dim(axis) == 1 => {
                        self.define(Op::Squeeze(a, axis as u8), TileType::new(t.dtype, without), loc)
                    }
                    1 if t.shape.dim(axis) == 1 => {
                        self.define(Op::Broadcast(a, broadcast), TileType::new(t.dtype, broadcast), loc)
                    }
                    2 if t.dtype.is_arith() => {
                        let op = self.pick(ArgOp::ALL);
                        self.define(Op::ArgReduce(op, a, axis as u8), TileType::new(DType::I32, without), loc)
                    }
                    _ if t.dtype.is_arith() => {
                        let op = self.pick(ReduceOp::ALL);
                        self.define(Op::Reduce(op, a, axis as u8), TileType::new(t.dtype, without), loc)
                    }
                    _ => return None,
                }
            }
            11 => {
                let to = self.pick(&[DType::F32, DType::F16, DType::I32, DType::Bool, DType::I8]);
                self.define(Op::Cast(a, to), TileType::new(to, t.shape), loc)
            }
            12 => {
                let conditions = self.values(|c| c == Type::Tile(TileType::new(DType::Bool, t.shape)));
                if conditions.is_empty() {
                    return None;
                }
                let c = self.pick(&conditions);
                let b = self.of_type(Type::Tile(t));
                match self.choose(3) {
                    0 if is_float => self.define(Op::Fma(a, b, a), t, loc),
                    _ => self.define(Op::Select(c, a, b), t, loc),
                }
            }
            13 => self.load(loc),
            14 => {
                let offsets = vec![self.scalar(DType::I32)];
                let value = if t.dtype == DType::F32 && rank <= 1 { a } else { self.scalar(DType::F32) };
                StmtKind::Store { view: Value(1), offsets, value }
            }
            15 => StmtKind::Print { label: self.pick(&NAMES).to_owned(), values: vec![a] },
            16 | 17 if self.depth < MAX_DEPTH => return Some(self.region(loc, out)),
            _ => return None,
        };
        Some(kind)
    }

    fn load(&mut self, loc: Loc) -> StmtKind {
        let view = Value(self.choose(2) as u32);
        let pad = self.scalar(DType::F32);
        let index_tiles =
            self.values(|t| t.tile().is_some_and(|t| t.dtype == DType::I32 && t.shape.rank() > 0));
        if !index_tiles.is_empty() && self.choose(2) == 0 {
            let at = self.pick(&index_tiles);
            let shape = self.func.tile_ty(at).shape;
            let masks = self.values(|t| t == Type::Tile(TileType::new(DType::Bool, shape)));
            let mask = if masks.is_empty() { None } else { Some(self.pick(&masks)) };
            let op = Op::Gather { view, indices: vec![at], mask, pad };
            return self.define(op, TileType::new(DType::F32, shape), loc);
        }
        let shape = Shape::new(self.pick(&[&[][..], &[4]]));
        let op = Op::Load { view, offsets: vec![self.scalar(DType::I32)], shape, pad };
        self.define(op, TileType::new(DType::F32, shape), loc)
    }

    /// A `for`, `while` or `if`; trip counts stay small, so that nests end.
    fn region(&mut self, loc: Loc, out: &mut Vec<Stmt>) -> StmtKind {
        let n_carried = self.choose(3);
        let mut inits: Vec<Value> = (0..n_carried).map(|_| self.tile().0).collect();
        let n_stmts = self.choose(12);
        self.depth += 1;
        let kind = match self.choose(3) {
            0 => {
                let [lo, hi, step] = [3, 5, 2].map(|n| self.choose(n) as i64);
                let lo = self.constant(Const::from_i64(DType::I32, lo), loc, out);
                // The i32 parameter is small when the functions are run.
                let hi =
                    if hi == 4 { Value(2) } else { self.constant(Const::from_i64(DType::I32, hi), loc, out) };
                let step = self.constant(Const::from_i64(DType::I32, step + 1), loc, out);
                let types: Vec<Type> = inits.iter().map(|&v| self.func.ty(v)).collect();
                let mut params = vec![self.new_value(self.func.ty(lo), loc)];
                params.extend(types.iter().map(|&ty| self.new_value(ty, loc)));
                let body = self.inner_block(params, n_stmts, &types);
                let results = types.iter().map(|&ty| self.new_value(ty, loc)).collect();
                StmtKind::For { lo, hi, step, inits, body, results }
            }
            1 => {
                let [start, end, one] =
                    [0, 2, 1].map(|x| self.constant(Const::from_i64(DType::I32, x), loc, out));
                inits.insert(0, start);
                let types: Vec<Type> = inits.iter().map(|&v| self.func.ty(v)).collect();
                let params: Vec<Value> = types.iter().map(|&ty| self.new_value(ty, loc)).collect();
                let counter = params[0];
                let mut cond = self.inner_block(params, n_stmts / 2, &[]);
                let test =
                    self.define(Op::Binary(BinaryOp::Lt, counter, end), TileType::scalar(DType::Bool), loc);
                cond.yields = test.results();
                cond.stmts.push(Stmt { kind: test, loc });
                let params: Vec<Value> = types.iter().map(|&ty| self.new_value(ty, loc)).collect();
                let counter = params[0];
                let mut body = self.inner_block(params, n_stmts, &types);
                let next =
                    self.define(Op::Binary(BinaryOp::Add, counter, one), TileType::scalar(DType::I32), loc);
                body.yields[0] = next.results()[0];
                body.stmts.push(Stmt { kind: next, loc });
                let results = types.iter().map(|&ty| self.new_value(ty, loc)).collect();
                StmtKind::While { inits, cond, body, results }
            }
            _ => {
                let types: Vec<Type> = inits.iter().map(|&v| self.func.ty(v)).collect();
                let cond = self.scalar(DType::Bool);
                let then_block = self.inner_block(Vec::new(), n_stmts, &types);
                let else_block = self.inner_block(Vec::new(), n_stmts / 2, &types);
                let results = types.iter().map(|&ty| self.new_value(ty, loc)).collect();
                StmtKind::If { cond, then_block, else_block, results }
            }
        };
        self.depth -= 1;
        kind
    }

    /// A block with its own scope, which yields values of the given types.
    fn inner_block(&mut self, params: Vec<Value>, n_stmts: usize, yields: &[Type]) -> Block {
        let outer = self.scope.len();
        let mut block = self.block(params, n_stmts);
        if self.choose(3) > 0 {
            self.show_values(&mut block, outer);
        }
        block.yields = yields.iter().map(|&ty| self.of_type(ty)).collect();
        self.scope.truncate(outer);
        block
    }
}
