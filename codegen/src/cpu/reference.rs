//! A second reading of the IR, for tests: element by element in f64 and i64, with each result rounded to its type.
//!
//! Slow and plain on purpose; it shares no code with the CPU target but the argument types. Sums and dots accumulate in f64.
#![allow(unsafe_code, reason = "reads and writes the views that a test hands over")]

mod number;

pub use number::{Num, binary, cast, erf, round, unary};
use number::{decode, encode};

use crate::diag::Loc;
use crate::ir::{ArgOp, Block, DType, Func, Op, ReduceOp, Shape, StmtKind, Type, Value};
use crate::launch::{Arg, DeviceLog, RunError, ViewArg};

/// A tile of numbers, row-major.
#[derive(Clone, Debug)]
struct TileVal {
    dtype: DType,
    dims: Vec<usize>,
    data: Vec<Num>,
}

#[derive(Clone, Debug)]
enum Val {
    Tile(TileVal),
    View(ViewArg),
}

struct Machine<'a> {
    func: &'a Func,
    values: Vec<Option<Val>>,
    grid: [u32; 3],
    pid: [u32; 3],
    log: &'a dyn DeviceLog,
}

/// Runs one program instance.
///
/// # Errors
/// A failed `assert`.
///
/// # Panics
/// If the function is not verified.
///
/// # Safety
/// As for the CPU target's `run`.
pub unsafe fn run(
    func: &Func,
    args: &[Arg],
    grid: [u32; 3],
    pid: [u32; 3],
    log: &dyn DeviceLog,
) -> Result<(), RunError> {
    let mut m = Machine { func, values: vec![None; func.values.len()], grid, pid, log };
    for (p, arg) in func.params.iter().zip(args) {
        m.values[p.value.index()] = Some(match arg {
            Arg::View(v) => Val::View(*v),
            Arg::Scalar(bits) => {
                let dtype = func.tile_ty(p.value).dtype;
                Val::Tile(TileVal { dtype, dims: Vec::new(), data: vec![decode(dtype, *bits)] })
            }
        });
    }
    m.block(&func.body)
}

/// Row-major coordinates of every element of `dims`.
fn coords(dims: &[usize]) -> Vec<Vec<usize>> {
    let mut out = vec![Vec::new()];
    for &d in dims {
        out = out.into_iter().flat_map(|c| (0..d).map(move |i| [c.clone(), vec![i]].concat())).collect();
    }
    out
}

fn linear(dims: &[usize], at: &[usize]) -> usize {
    at.iter().zip(dims).fold(0, |acc, (&i, &d)| acc * d + i)
}

impl Machine<'_> {
    fn tile(&self, v: Value) -> &TileVal {
        match self.values[v.index()].as_ref().expect("a value should be defined before it is read") {
            Val::Tile(t) => t,
            Val::View(_) => panic!("{v} should be a tile"),
        }
    }

    fn view(&self, v: Value) -> ViewArg {
        match self.values[v.index()].as_ref().expect("a value should be defined before it is read") {
            Val::View(w) => *w,
            Val::Tile(_) => panic!("{v} should be a view"),
        }
    }

    fn int(&self, v: Value) -> i64 {
        self.tile(v).data[0].i()
    }

    fn copy(&mut self, to: &[Value], from: &[Value]) {
        let values: Vec<_> = from.iter().map(|v| self.values[v.index()].clone()).collect();
        for (&t, v) in to.iter().zip(values) {
            self.values[t.index()] = v;
        }
    }

    fn element(view: &ViewArg, at: &[i64]) -> Option<*mut u8> {
        let mut offset = 0i64;
        for (j, &i) in at.iter().enumerate() {
            if i < 0 || i >= view.dims[j] {
                return None;
            }
            offset += i * view.strides[j];
        }
        Some(view.ptr.wrapping_offset((offset * view.dtype.size_bytes() as i64) as isize))
    }

    fn read(view: &ViewArg, at: &[i64], pad: Num) -> Num {
        let Some(p) = Self::element(view, at) else { return pad };
        let mut bytes = [0u8; 8];
        // SAFETY: the element is in bounds of a valid view.
        unsafe { std::ptr::copy_nonoverlapping(p, bytes.as_mut_ptr(), view.dtype.size_bytes()) };
        decode(view.dtype, u64::from_le_bytes(bytes))
    }

    fn write(view: &ViewArg, at: &[i64], x: Num) {
        let Some(p) = Self::element(view, at) else { return };
        let bytes = encode(view.dtype, x).to_le_bytes();
        // SAFETY: the element is in bounds of a valid, mutable view.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), p, view.dtype.size_bytes()) };
    }

    fn block(&mut self, block: &Block) -> Result<(), RunError> {
        for stmt in &block.stmts {
            self.statement(&stmt.kind, stmt.loc)?;
        }
        Ok(())
    }

    fn statement(&mut self, kind: &StmtKind, loc: Loc) -> Result<(), RunError> {
        match kind {
            StmtKind::Let { value, op } => {
                let v = self.evaluate(*value, op);
                self.values[value.index()] = Some(v);
            }
            StmtKind::Store { view, offsets, value } => {
                let (w, t) = (self.view(*view), self.tile(*value).clone());
                let base: Vec<i64> = offsets.iter().map(|&o| self.int(o)).collect();
                for c in coords(&t.dims) {
                    let at: Vec<i64> =
                        base.iter().enumerate().map(|(j, b)| b + c.get(j).map_or(0, |&x| x as i64)).collect();
                    Self::write(&w, &at, t.data[linear(&t.dims, &c)]);
                }
            }
            StmtKind::Scatter { view, indices, value, mask } => {
                let (w, t) = (self.view(*view), self.tile(*value).clone());
                for i in 0..t.data.len() {
                    if mask.is_none_or(|m| self.tile(m).data[i].i() != 0) {
                        let at: Vec<i64> = indices.iter().map(|&x| self.tile(x).data[i].i()).collect();
                        Self::write(&w, &at, t.data[i]);
                    }
                }
            }
            StmtKind::Print { label, values } => {
                let text: Vec<String> = values.iter().map(|&v| format!("{:?}", self.tile(v).data)).collect();
                self.log.line(self.pid, &format!("{label} {}", text.join(" ")));
            }
            StmtKind::Assert { cond, message } => {
                if self.tile(*cond).data.iter().any(|x| x.i() == 0) {
                    return Err(RunError { message: message.clone(), loc, pid: self.pid });
                }
            }
            StmtKind::For { lo, hi, step, inits, body, results } => {
                let (lo, hi, step) = (self.int(*lo), self.int(*hi), self.int(*step));
                self.copy(&body.params[1..], inits);
                let mut i = lo;
                while i < hi {
                    self.values[body.params[0].index()] = Some(Val::Tile(TileVal {
                        dtype: DType::I32,
                        dims: Vec::new(),
                        data: vec![Num::I(i)],
                    }));
                    self.block(body)?;
                    self.copy(&body.params[1..], &body.yields);
                    i += step;
                }
                self.copy(results, &body.params[1..]);
            }
            StmtKind::While { inits, cond, body, results } => {
                self.copy(&cond.params, inits);
                loop {
                    self.block(cond)?;
                    if self.int(cond.yields[0]) == 0 {
                        break;
                    }
                    self.copy(&body.params, &cond.params);
                    self.block(body)?;
                    self.copy(&cond.params, &body.yields);
                }
                self.copy(results, &cond.params);
            }
            StmtKind::If { cond, then_block, else_block, results } => {
                let block = if self.int(*cond) != 0 { then_block } else { else_block };
                self.block(block)?;
                self.copy(results, &block.yields);
            }
        }
        Ok(())
    }

    fn evaluate(&self, value: Value, op: &Op) -> Val {
        let ty = match self.func.ty(value) {
            Type::View(_) => return Val::View(self.view_op(op)),
            Type::Tile(t) => t,
        };
        let dims = ty.shape.to_vec();
        let data: Vec<Num> = match op {
            Op::Const(c) => vec![decode(c.dtype, c.bits)],
            Op::Arange { extent } => (0..i64::from(*extent)).map(Num::I).collect(),
            Op::ProgramId(axis) => vec![Num::I(i64::from(self.pid[*axis as usize]))],
            Op::NumPrograms(axis) => vec![Num::I(i64::from(self.grid[*axis as usize]))],
            Op::Unary(kind, a) => self.tile(*a).data.iter().map(|&x| unary(*kind, ty.dtype, x)).collect(),
            Op::Binary(kind, a, b) => {
                let (a, b) = (self.tile(*a), self.tile(*b));
                a.data.iter().zip(&b.data).map(|(&x, &y)| binary(*kind, a.dtype, x, y)).collect()
            }
            Op::Fma(a, b, c) => {
                let (a, b, c) = (self.tile(*a), self.tile(*b), self.tile(*c));
                let one = |i: usize| a.data[i].f().mul_add(b.data[i].f(), c.data[i].f());
                (0..a.data.len()).map(|i| round(ty.dtype, Num::F(one(i)))).collect()
            }
            Op::Select(c, a, b) => {
                let (c, a, b) = (self.tile(*c), self.tile(*a), self.tile(*b));
                (0..a.data.len()).map(|i| if c.data[i].i() != 0 { a.data[i] } else { b.data[i] }).collect()
            }
            Op::Cast(a, to) => {
                let a = self.tile(*a);
                a.data.iter().map(|&x| cast(a.dtype, *to, x)).collect()
            }
            Op::Splat(a, _) => vec![self.tile(*a).data[0]; ty.shape.elements()],
            Op::ExpandDims(a, _) | Op::Squeeze(a, _) | Op::Reshape(a, _) => self.tile(*a).data.clone(),
            Op::Broadcast(a, _) => {
                let a = self.tile(*a);
                let from = |c: &[usize]| -> Vec<usize> {
                    c.iter().zip(&a.dims).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect()
                };
                coords(&dims).iter().map(|c| a.data[linear(&a.dims, &from(c))]).collect()
            }
            Op::Permute(a, perm) => {
                let a = self.tile(*a);
                let from = |c: &[usize]| {
                    let mut at = vec![0; c.len()];
                    for (i, &p) in perm.iter().enumerate() {
                        at[p as usize] = c[i];
                    }
                    linear(&a.dims, &at)
                };
                coords(&dims).iter().map(|c| a.data[from(c)]).collect()
            }
            Op::Dot { a, b, acc } => self.dot(*a, *b, *acc, ty.dtype),
            Op::Reduce(kind, a, axis) => {
                let lines = self.lines(*a, *axis as usize, ty.shape);
                lines.into_iter().map(|l| reduce(*kind, ty.dtype, &l)).collect()
            }
            Op::ArgReduce(kind, a, axis) => {
                let lines = self.lines(*a, *axis as usize, ty.shape);
                lines.into_iter().map(|l| Num::I(arg_reduce(*kind, &l) as i64)).collect()
            }
            Op::ViewDim(v, axis) => vec![Num::I(self.view(*v).dims[*axis as usize])],
            Op::Load { view, offsets, pad, .. } => {
                let (w, pad) = (self.view(*view), self.tile(*pad).data[0]);
                let base: Vec<i64> = offsets.iter().map(|&o| self.int(o)).collect();
                let at = |c: &[usize]| -> Vec<i64> {
                    base.iter().enumerate().map(|(j, b)| b + c.get(j).map_or(0, |&x| x as i64)).collect()
                };
                coords(&dims).iter().map(|c| Self::read(&w, &at(c), pad)).collect()
            }
            Op::Gather { view, indices, mask, pad } => {
                let (w, pad) = (self.view(*view), self.tile(*pad).data[0]);
                let one = |i: usize| {
                    if mask.is_some_and(|m| self.tile(m).data[i].i() == 0) {
                        return pad;
                    }
                    let at: Vec<i64> = indices.iter().map(|&x| self.tile(x).data[i].i()).collect();
                    Self::read(&w, &at, pad)
                };
                (0..ty.shape.elements()).map(one).collect()
            }
            Op::ViewSelect(..) | Op::ViewSlice(..) | Op::ViewPermute(..) => Vec::new(),
        };
        Val::Tile(TileVal { dtype: ty.dtype, dims, data })
    }

    fn view_op(&self, op: &Op) -> ViewArg {
        if let Op::ViewSelect(v, axis, index) = op {
            let (mut w, axis, index) = (self.view(*v), *axis as usize, self.int(*index));
            let inside = (0..w.dims[axis]).contains(&index);
            if inside {
                let step = index * w.strides[axis] * w.dtype.size_bytes() as i64;
                w.ptr = w.ptr.wrapping_offset(step as isize);
            }
            for j in axis..4 {
                w.dims[j] = w.dims[j + 1];
                w.strides[j] = w.strides[j + 1];
            }
            w.rank -= 1;
            if !inside {
                w.dims = [0; 5];
            }
            return w;
        }
        if let Op::ViewSlice(v, axis, start, len) = op {
            let (mut w, axis) = (self.view(*v), *axis as usize);
            let first = self.int(*start).clamp(0, w.dims[axis]);
            let end = (self.int(*start) + self.int(*len).max(0)).clamp(first, w.dims[axis]);
            let step = first * w.strides[axis] * w.dtype.size_bytes() as i64;
            w.ptr = w.ptr.wrapping_offset(step as isize);
            w.dims[axis] = end - first;
            return w;
        }
        let Op::ViewPermute(v, perm) = op else { panic!("`{}` does not yield a view", op.mnemonic()) };
        let w = self.view(*v);
        let mut out = w;
        for (i, &p) in perm.iter().enumerate() {
            out.dims[i] = w.dims[p as usize];
            out.strides[i] = w.strides[p as usize];
        }
        out
    }

    /// The elements along `axis` for every element of the reduced shape.
    fn lines(&self, a: Value, axis: usize, out: Shape) -> Vec<Vec<Num>> {
        let a = self.tile(a);
        coords(&out.to_vec())
            .into_iter()
            .map(|c| {
                (0..a.dims[axis])
                    .map(|i| {
                        let mut at = c.clone();
                        at.insert(axis, i);
                        a.data[linear(&a.dims, &at)]
                    })
                    .collect()
            })
            .collect()
    }

    fn dot(&self, a: Value, b: Value, acc: Value, dtype: DType) -> Vec<Num> {
        let (a, b, c) = (self.tile(a), self.tile(b), self.tile(acc));
        let r = c.dims.len();
        let (m, n, k) = (c.dims[r - 2], c.dims[r - 1], a.dims[r - 1]);
        let one = |i: usize| {
            let (batch, row, col) = (i / (m * n), i / n % m, i % n);
            let at = |j: usize| (a.data[(batch * m + row) * k + j], b.data[(batch * k + j) * n + col]);
            if dtype.is_float() {
                Num::F((0..k).map(|j| at(j).0.f() * at(j).1.f()).sum::<f64>() + c.data[i].f())
            } else {
                Num::I(
                    (0..k).fold(c.data[i].i(), |s, j| s.wrapping_add(at(j).0.i().wrapping_mul(at(j).1.i()))),
                )
            }
        };
        (0..c.data.len()).map(|i| round(dtype, one(i))).collect()
    }
}

fn reduce(op: ReduceOp, dtype: DType, line: &[Num]) -> Num {
    let join = |a: Num, b: Num| match (op, a, b) {
        (ReduceOp::Sum, Num::I(a), Num::I(b)) => Num::I(a.wrapping_add(b)),
        (ReduceOp::Sum, a, b) => Num::F(a.f() + b.f()),
        (ReduceOp::Max, Num::I(a), Num::I(b)) => Num::I(a.max(b)),
        (ReduceOp::Max, a, b) => Num::F(a.f().max(b.f())),
        (ReduceOp::Min, Num::I(a), Num::I(b)) => Num::I(a.min(b)),
        (ReduceOp::Min, a, b) => Num::F(a.f().min(b.f())),
    };
    let all = line.iter().copied().reduce(join).expect("an axis should have elements");
    round(dtype, all)
}

fn arg_reduce(op: ArgOp, line: &[Num]) -> usize {
    let better = |a: Num, b: Num| match (op, a, b) {
        (ArgOp::ArgMax, Num::I(a), Num::I(b)) => a > b,
        (ArgOp::ArgMin, Num::I(a), Num::I(b)) => a < b,
        (ArgOp::ArgMax, a, b) => a.f() > b.f(),
        (ArgOp::ArgMin, a, b) => a.f() < b.f(),
    };
    let mut best = 0;
    for i in 1..line.len() {
        if better(line[i], line[best]) {
            best = i;
        }
    }
    best
}
