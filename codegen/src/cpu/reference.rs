//! A second reading of the IR, for tests: element by element in f64 and i64, with each result rounded to its type.
//!
//! Slow and plain on purpose; it shares no code with the CPU target but the argument types. Sums and dots accumulate in f64.
#![allow(unsafe_code, reason = "reads and writes the views that a test hands over")]

use half::{bf16, f16};

use crate::diag::Loc;
use crate::ir::{ArgOp, BinaryOp, Block, DType, Func, Op, ReduceOp, Shape, StmtKind, Type, UnaryOp, Value};
use crate::launch::{Arg, DeviceLog, RunError, ViewArg};

/// A number of the reference machine: floats exactly, integers exactly.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Num {
    /// A float, representable in its type.
    F(f64),
    /// An integer or truth value, wrapped to its type.
    I(i64),
}

impl Num {
    /// As a float.
    #[must_use]
    pub const fn f(self) -> f64 {
        match self {
            Self::F(x) => x,
            Self::I(x) => x as f64,
        }
    }

    /// As an integer; floats truncate and saturate.
    #[must_use]
    pub const fn i(self) -> i64 {
        match self {
            Self::F(x) => x as i64,
            Self::I(x) => x,
        }
    }
}

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

/// Largest finite magnitude, explicit mantissa bits and least normal exponent of the 8-bit floats.
fn f8_decode(dtype: DType, byte: u8) -> f64 {
    let (e_bits, m_bits, bias) = if dtype == DType::F8E4M3 { (4, 3, 7) } else { (5, 2, 15) };
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let e = i32::from((byte >> m_bits) & ((1 << e_bits) - 1));
    let m = f64::from(byte & ((1 << m_bits) - 1));
    let top = (1 << e_bits) - 1;
    if dtype == DType::F8E4M3 && byte & 0x7f == 0x7f {
        return f64::NAN;
    }
    if dtype == DType::F8E5M2 && e == top {
        return if m == 0.0 { sign * f64::INFINITY } else { f64::NAN };
    }
    let scale = f64::from(1 << m_bits);
    if e == 0 {
        sign * m / scale * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + m / scale) * 2f64.powi(e - bias)
    }
}

/// The byte of an 8-bit float nearest to `x`, ties to the even byte; beyond the largest finite value NaN (e4m3) or infinity.
fn f8_encode(dtype: DType, x: f64) -> u8 {
    if x.is_nan() {
        return 0x7f;
    }
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let max_byte: u8 = if dtype == DType::F8E4M3 { 0x7e } else { 0x7b };
    let a = x.abs();
    let top = f8_decode(dtype, max_byte);
    // Half a step beyond the largest finite value rounds up and out.
    let step = top - f8_decode(dtype, max_byte - 1);
    if a >= top + step / 2.0 {
        return sign | if dtype == DType::F8E4M3 { 0x7f } else { 0x7c };
    }
    let mut best = 0u8;
    for byte in 0..=max_byte {
        let (d, db) = ((f8_decode(dtype, byte) - a).abs(), (f8_decode(dtype, best) - a).abs());
        if d < db || (d == db && byte % 2 == 0) {
            best = byte;
        }
    }
    sign | best
}

/// `x` as its type holds it.
#[must_use]
pub fn round(dtype: DType, x: Num) -> Num {
    match dtype {
        DType::F32 => Num::F(f64::from(x.f() as f32)),
        DType::F16 => Num::F(f16::from_f64(x.f()).to_f64()),
        DType::BF16 => Num::F(bf16::from_f64(x.f()).to_f64()),
        DType::F8E4M3 | DType::F8E5M2 => Num::F(f8_decode(dtype, f8_encode(dtype, x.f()))),
        DType::I8 => Num::I(i64::from(x.i() as i8)),
        DType::U8 => Num::I(i64::from(x.i() as u8)),
        DType::I32 => Num::I(i64::from(x.i() as i32)),
        DType::U32 => Num::I(i64::from(x.i() as u32)),
        DType::I64 => Num::I(x.i()),
        DType::Bool => Num::I(i64::from(x.i() != 0)),
    }
}

fn decode(dtype: DType, bits: u64) -> Num {
    match dtype {
        DType::F32 => Num::F(f64::from(f32::from_bits(bits as u32))),
        DType::F16 => Num::F(f16::from_bits(bits as u16).to_f64()),
        DType::BF16 => Num::F(bf16::from_bits(bits as u16).to_f64()),
        DType::F8E4M3 | DType::F8E5M2 => Num::F(f8_decode(dtype, bits as u8)),
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 | DType::Bool => {
            round(dtype, Num::I(bits as i64))
        }
    }
}

fn encode(dtype: DType, x: Num) -> u64 {
    match dtype {
        DType::F32 => u64::from((x.f() as f32).to_bits()),
        DType::F16 => u64::from(f16::from_f64(x.f()).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(x.f()).to_bits()),
        DType::F8E4M3 | DType::F8E5M2 => u64::from(f8_encode(dtype, x.f())),
        DType::I8 | DType::U8 | DType::I32 | DType::U32 | DType::I64 | DType::Bool => x.i() as u64,
    }
}

/// Converts between element types.
#[must_use]
pub fn cast(from: DType, to: DType, x: Num) -> Num {
    if from.is_float() && to.is_int() {
        let (lo, hi): (f64, f64) = match to {
            DType::I8 => (-128.0, 127.0),
            DType::U8 => (0.0, 255.0),
            DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            DType::U32 => (0.0, f64::from(u32::MAX)),
            _ => return Num::I(x.f() as i64),
        };
        let t = if x.f().is_nan() { 0.0 } else { x.f().trunc().clamp(lo, hi) };
        return Num::I(t as i64);
    }
    if to == DType::Bool {
        return Num::I(i64::from(x.f() != 0.0));
    }
    round(to, x)
}

/// One elementwise operation of one operand.
#[must_use]
pub fn unary(op: UnaryOp, dtype: DType, x: Num) -> Num {
    let out = match x {
        Num::I(a) => Num::I(match op {
            UnaryOp::Neg => a.wrapping_neg(),
            UnaryOp::Abs => a.wrapping_abs(),
            UnaryOp::Not if dtype == DType::Bool => i64::from(a == 0),
            UnaryOp::Not => !a,
            _ => a,
        }),
        Num::F(a) => Num::F(match op {
            UnaryOp::Neg => -a,
            UnaryOp::Not => a,
            UnaryOp::Abs => a.abs(),
            UnaryOp::Floor => a.floor(),
            UnaryOp::Ceil => a.ceil(),
            UnaryOp::Exp => a.exp(),
            UnaryOp::Exp2 => a.exp2(),
            UnaryOp::Log => a.ln(),
            UnaryOp::Log2 => a.log2(),
            UnaryOp::Sqrt => a.sqrt(),
            UnaryOp::Rsqrt => 1.0 / a.sqrt(),
            UnaryOp::Sin => a.sin(),
            UnaryOp::Cos => a.cos(),
            UnaryOp::Tanh => a.tanh(),
            UnaryOp::Erf => erf(a),
            UnaryOp::Sigmoid => 1.0 / (1.0 + (-a).exp()),
        }),
    };
    round(dtype, out)
}

/// The error function by its Taylor series near zero and a continued fraction elsewhere.
#[must_use]
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let y = if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            let n = f64::from(n);
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else if a > 6.0 {
        1.0
    } else {
        let mut t = 0.0;
        for n in (1..=60).rev() {
            t = f64::from(n) / 2.0 / (a + t);
        }
        1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * (a + t))
    };
    y.copysign(x)
}

/// One elementwise operation of two operands of type `dtype`.
#[must_use]
pub fn binary(op: BinaryOp, dtype: DType, x: Num, y: Num) -> Num {
    let truth = |b: bool| Num::I(i64::from(b));
    match (x, y) {
        (Num::F(a), Num::F(b)) => {
            let out = match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div => a / b,
                BinaryOp::Rem => a % b,
                BinaryOp::Min => a.min(b),
                BinaryOp::Max => a.max(b),
                BinaryOp::Eq => return truth(a == b),
                BinaryOp::Ne => return truth(a != b),
                BinaryOp::Lt => return truth(a < b),
                BinaryOp::Le => return truth(a <= b),
                BinaryOp::Gt => return truth(a > b),
                BinaryOp::Ge => return truth(a >= b),
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => a,
            };
            round(dtype, Num::F(out))
        }
        _ => {
            let (a, b) = (x.i(), y.i());
            let shift = (b as u32) & (dtype.size_bytes() as u32 * 8 - 1);
            let out = match op {
                BinaryOp::Add => a.wrapping_add(b),
                BinaryOp::Sub => a.wrapping_sub(b),
                BinaryOp::Mul => a.wrapping_mul(b),
                BinaryOp::Div => a.checked_div(b).unwrap_or(if b == 0 { 0 } else { a.wrapping_neg() }),
                BinaryOp::Rem => a.checked_rem(b).unwrap_or(0),
                BinaryOp::Min => a.min(b),
                BinaryOp::Max => a.max(b),
                BinaryOp::And => a & b,
                BinaryOp::Or => a | b,
                BinaryOp::Xor => a ^ b,
                BinaryOp::Shl => a.wrapping_shl(shift),
                BinaryOp::Shr => a >> shift,
                BinaryOp::Eq => return truth(a == b),
                BinaryOp::Ne => return truth(a != b),
                BinaryOp::Lt => return truth(a < b),
                BinaryOp::Le => return truth(a <= b),
                BinaryOp::Gt => return truth(a > b),
                BinaryOp::Ge => return truth(a >= b),
            };
            round(dtype, Num::I(out))
        }
    }
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
        match op {
            Op::ViewSelect(v, axis, index) => {
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
                w
            }
            Op::ViewSlice(v, axis, start, len) => {
                let (mut w, axis) = (self.view(*v), *axis as usize);
                let first = self.int(*start).clamp(0, w.dims[axis]);
                let end = (self.int(*start) + self.int(*len).max(0)).clamp(first, w.dims[axis]);
                let step = first * w.strides[axis] * w.dtype.size_bytes() as i64;
                w.ptr = w.ptr.wrapping_offset(step as isize);
                w.dims[axis] = end - first;
                w
            }
            Op::ViewPermute(v, perm) => {
                let w = self.view(*v);
                let mut out = w;
                for (i, &p) in perm.iter().enumerate() {
                    out.dims[i] = w.dims[p as usize];
                    out.strides[i] = w.strides[p as usize];
                }
                out
            }
            other => panic!("`{}` does not yield a view", other.mnemonic()),
        }
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
