//! The identities: one function per family of operations, each exact for every operand.

use super::super::evaluate;
use super::{Folder, Outcome};
use crate::diag::Loc;
use crate::ir::{BinaryOp, Const, DType, Func, Op, ReduceOp, Shape, Stmt, TileType, Type, UnaryOp, Value};

impl Folder<'_> {
    /// One step of simplification of `op`, which defines a value of type `ty`; constants it needs are put in `out`.
    pub(super) fn simplify(&mut self, op: &Op, ty: Type, loc: Loc, out: &mut Vec<Stmt>) -> Outcome {
        match op {
            Op::Const(_) | Op::Arange { .. } | Op::ProgramId(_) | Op::NumPrograms(_) => Outcome::Keep,
            Op::Unary(op, a) => self.unary(*op, *a),
            Op::Binary(op, a, b) => self.binary(*op, *a, *b, loc, out),
            Op::Fma(a, b, c) => {
                let known = self.known(*a).zip(self.known(*b)).zip(self.known(*c));
                known.and_then(|((a, b), c)| evaluate::fma(a, b, c)).map_or(Outcome::Keep, Outcome::Known)
            }
            Op::Select(c, a, b) => self.select(*c, *a, *b),
            Op::Cast(a, to) => self.cast(*a, *to),
            // Nothing more to say of a splat: `known` follows its scalar.
            Op::Splat(a, shape) => {
                if shape.rank() == 0 {
                    Outcome::Value(*a)
                } else {
                    Outcome::Keep
                }
            }
            Op::Broadcast(..) | Op::ExpandDims(..) | Op::Squeeze(..) | Op::Reshape(..) | Op::Permute(..) => {
                self.rearrange(op, ty)
            }
            Op::Dot { .. } | Op::Load { .. } | Op::ViewSelect(..) | Op::ViewSlice(..) => Outcome::Keep,
            Op::Reduce(op, a, axis) => self.reduce(*op, *a, *axis),
            Op::ArgReduce(_, a, axis) => {
                let is_uniform = self.known(*a).is_some_and(|c| !c.to_f64().is_nan());
                if is_uniform || self.func.tile_ty(*a).shape.dim(usize::from(*axis)) == 1 {
                    Outcome::Known(Const::from_i64(DType::I32, 0))
                } else {
                    Outcome::Keep
                }
            }
            Op::ViewDim(v, axis) => match self.op_of(*v) {
                Some(Op::ViewPermute(inner, perm)) => {
                    Outcome::Op(Op::ViewDim(*inner, perm[usize::from(*axis)]))
                }
                Some(Op::ViewSlice(inner, sliced, ..)) if sliced != axis => {
                    Outcome::Op(Op::ViewDim(*inner, *axis))
                }
                Some(_) | None => Outcome::Keep,
            },
            Op::ViewPermute(v, perm) => {
                if is_identity(perm) {
                    return Outcome::Value(*v);
                }
                match self.op_of(*v) {
                    Some(Op::ViewPermute(inner, first)) => {
                        Outcome::Op(Op::ViewPermute(*inner, compose(first, perm)))
                    }
                    Some(_) | None => Outcome::Keep,
                }
            }
            Op::Gather { view, indices, mask, pad } => match mask.and_then(|m| self.known_bool(m)) {
                Some(true) => {
                    Outcome::Op(Op::Gather { view: *view, indices: indices.clone(), mask: None, pad: *pad })
                }
                Some(false) => Outcome::Op(Op::Splat(*pad, shape_of(ty))),
                None => Outcome::Keep,
            },
        }
    }

    fn unary(&self, op: UnaryOp, a: Value) -> Outcome {
        if let Some(c) = self.known(a).and_then(|c| evaluate::unary(op, c)) {
            return Outcome::Known(c);
        }
        match (op, self.op_of(a)) {
            (UnaryOp::Neg, Some(Op::Unary(UnaryOp::Neg, x)))
            | (UnaryOp::Not, Some(Op::Unary(UnaryOp::Not, x))) => Outcome::Value(*x),
            (UnaryOp::Abs, Some(Op::Unary(UnaryOp::Abs, _)))
            | (UnaryOp::Floor | UnaryOp::Ceil, Some(Op::Unary(UnaryOp::Floor | UnaryOp::Ceil, _))) => {
                Outcome::Value(a)
            }
            (UnaryOp::Abs, Some(Op::Unary(UnaryOp::Neg, x))) => Outcome::Op(Op::Unary(UnaryOp::Abs, *x)),
            _ => Outcome::Keep,
        }
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value, loc: Loc, out: &mut Vec<Stmt>) -> Outcome {
        let (known_a, known_b) = (self.known(a), self.known(b));
        if let Some(c) = known_a.zip(known_b).and_then(|(a, b)| evaluate::binary(op, a, b)) {
            return Outcome::Known(c);
        }
        if known_a.is_some() && known_b.is_none() && is_commutative(op) {
            return Outcome::Op(Op::Binary(op, b, a));
        }
        let is_float = self.dtype(a).is_float();
        if a == b
            && let Some(outcome) = same_operands(op, a, self.dtype(a))
        {
            return outcome;
        }
        if let Some(c) = known_b {
            let found =
                if is_float { self.float_by(op, a, c, loc, out) } else { self.int_by(op, a, c, loc, out) };
            if let Some(outcome) = found {
                return outcome;
            }
        }
        match (op, known_a) {
            (BinaryOp::Sub, Some(c)) if !is_float && c.bits == 0 => Outcome::Op(Op::Unary(UnaryOp::Neg, b)),
            (BinaryOp::Div | BinaryOp::Rem | BinaryOp::Shl | BinaryOp::Shr, Some(c))
                if !is_float && c.bits == 0 =>
            {
                Outcome::Known(c)
            }
            _ => Outcome::Keep,
        }
    }

    /// `x op c` for integers and bool.
    fn int_by(&mut self, op: BinaryOp, x: Value, c: Const, loc: Loc, out: &mut Vec<Stmt>) -> Option<Outcome> {
        let zero = Const { dtype: c.dtype, bits: 0 };
        let is_all_ones = c == Const::from_i64(c.dtype, -1);
        let width = 8 * c.dtype.size_bytes() as i64;
        match (op, c.to_i64()) {
            (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Or | BinaryOp::Xor, 0)
            | (BinaryOp::Mul | BinaryOp::Div, 1) => Some(Outcome::Value(x)),
            (BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::And, 0) | (BinaryOp::Rem, 1 | -1) => {
                Some(Outcome::Known(zero))
            }
            (BinaryOp::And, _) if is_all_ones => Some(Outcome::Value(x)),
            (BinaryOp::Or, _) if is_all_ones => Some(Outcome::Known(c)),
            (BinaryOp::Shl | BinaryOp::Shr, n) if n.rem_euclid(width) == 0 => Some(Outcome::Value(x)),
            (BinaryOp::Eq, 1) | (BinaryOp::Ne, 0) if c.dtype == DType::Bool => Some(Outcome::Value(x)),
            (BinaryOp::Eq, 0) | (BinaryOp::Ne | BinaryOp::Xor, 1) if c.dtype == DType::Bool => {
                Some(Outcome::Op(Op::Unary(UnaryOp::Not, x)))
            }
            // One form for sums, so that `(x + 1) - 1` and offsets built step by step fold; integers wrap, so this is exact.
            (BinaryOp::Sub, n) => {
                let ty = self.func.tile_ty(x);
                let negated = self.uniform(Const::from_i64(c.dtype, n.wrapping_neg()), ty, loc, out);
                Some(Outcome::Op(Op::Binary(BinaryOp::Add, x, negated)))
            }
            (BinaryOp::Add | BinaryOp::Mul, _) => {
                let Some(&Op::Binary(inner, y, d)) = self.op_of(x) else { return None };
                let d = self.known(d).filter(|_| inner == op)?;
                let ty = self.func.tile_ty(x);
                let both = self.uniform(evaluate::binary(op, d, c)?, ty, loc, out);
                Some(Outcome::Op(Op::Binary(op, y, both)))
            }
            _ => None,
        }
    }

    /// `x op c` for floats: only what is exact for NaN, infinities and both zeros.
    fn float_by(
        &mut self,
        op: BinaryOp,
        x: Value,
        c: Const,
        loc: Loc,
        out: &mut Vec<Stmt>,
    ) -> Option<Outcome> {
        let is_one = c == Const::from_f64(c.dtype, 1.0);
        let is_zero = |sign: f64| c == Const::from_f64(c.dtype, sign * 0.0);
        // Not `x + 0.0`, which turns -0.0 into 0.0.
        if (matches!(op, BinaryOp::Mul | BinaryOp::Div) && is_one)
            || (op == BinaryOp::Add && is_zero(-1.0))
            || (op == BinaryOp::Sub && is_zero(1.0))
        {
            return Some(Outcome::Value(x));
        }
        // Division by a power of two is multiplication by its reciprocal, when both are normal numbers.
        let y = c.to_f64() as f32;
        let reciprocal = 1.0 / y;
        let is_power_of_two = y.to_bits().trailing_zeros() >= 23;
        if !(op == BinaryOp::Div
            && c.dtype == DType::F32
            && is_power_of_two
            && y.is_normal()
            && reciprocal.is_normal())
        {
            return None;
        }
        let ty = self.func.tile_ty(x);
        let factor = self.uniform(Const::from_f64(DType::F32, f64::from(reciprocal)), ty, loc, out);
        Some(Outcome::Op(Op::Binary(BinaryOp::Mul, x, factor)))
    }

    fn select(&self, c: Value, a: Value, b: Value) -> Outcome {
        if let Some(taken) = self.known_bool(c) {
            return Outcome::Value(if taken { a } else { b });
        }
        if a == b {
            return Outcome::Value(a);
        }
        if let Some((x, y)) = self.known(a).zip(self.known(b)) {
            if x == y {
                return Outcome::Value(a);
            }
            if x == Const::from_bool(true) && y == Const::from_bool(false) {
                return Outcome::Value(c);
            }
        }
        match self.op_of(c) {
            Some(Op::Unary(UnaryOp::Not, inner)) => Outcome::Op(Op::Select(*inner, b, a)),
            Some(_) | None => Outcome::Keep,
        }
    }

    fn cast(&self, a: Value, to: DType) -> Outcome {
        let from = self.dtype(a);
        if from == to {
            return Outcome::Value(a);
        }
        if let Some(c) = self.known(a).and_then(|c| evaluate::cast(c, to)) {
            return Outcome::Known(c);
        }
        let Some(&Op::Cast(inner, _)) = self.op_of(a) else { return Outcome::Keep };
        let origin = self.dtype(inner);
        // An integer that goes to an integer by way of a float saturates, where the direct way wraps.
        let saturates =
            !origin.is_float() && from.is_float() && to.is_int() && !evaluate::is_lossless(origin, to);
        if evaluate::is_lossless(origin, from) && !saturates {
            Outcome::Op(Op::Cast(inner, to))
        } else {
            Outcome::Keep
        }
    }

    /// Operations that move elements without computing.
    fn rearrange(&self, op: &Op, ty: Type) -> Outcome {
        let [a] = op.operands()[..] else { return Outcome::Keep };
        let shape = shape_of(ty);
        if let Some(Op::Splat(scalar, _)) = self.op_of(a) {
            return Outcome::Op(Op::Splat(*scalar, shape));
        }
        if let Some(c) = self.known(a) {
            return Outcome::Known(c);
        }
        if is_no_op(self.func, op, a, shape) {
            return Outcome::Value(a);
        }
        let next = match (op, self.op_of(a)) {
            (Op::Broadcast(..), Some(Op::Broadcast(x, _))) => Op::Broadcast(*x, shape),
            (Op::Reshape(..), Some(Op::Reshape(x, _) | Op::ExpandDims(x, _) | Op::Squeeze(x, _))) => {
                Op::Reshape(*x, shape)
            }
            (Op::Squeeze(_, axis), Some(Op::ExpandDims(x, inserted))) if axis == inserted => {
                return Outcome::Value(*x);
            }
            (Op::ExpandDims(_, axis), Some(Op::Squeeze(x, removed))) if axis == removed => {
                return Outcome::Value(*x);
            }
            (Op::Permute(_, perm), Some(Op::Permute(x, first))) => Op::Permute(*x, compose(first, perm)),
            _ => return Outcome::Keep,
        };
        Outcome::Op(next)
    }

    fn reduce(&self, op: ReduceOp, a: Value, axis: u8) -> Outcome {
        let t: TileType = self.func.tile_ty(a);
        let extent = t.shape.dim(usize::from(axis));
        let is_exact = !t.dtype.is_float() || op != ReduceOp::Sum;
        if !is_exact {
            return Outcome::Keep;
        }
        match (op, self.known(a)) {
            (_, Some(c)) if c.to_f64().is_nan() => Outcome::Keep,
            (ReduceOp::Sum, Some(c)) => {
                Outcome::Known(Const::from_i64(c.dtype, c.to_i64().wrapping_mul(extent as i64)))
            }
            (ReduceOp::Max | ReduceOp::Min, Some(c)) => Outcome::Known(c),
            (_, None) if extent == 1 => Outcome::Op(Op::Squeeze(a, axis)),
            (_, None) => Outcome::Keep,
        }
    }
}

fn shape_of(ty: Type) -> Shape {
    ty.tile().map_or(Shape::SCALAR, |t| t.shape)
}

fn is_no_op(func: &Func, op: &Op, a: Value, shape: Shape) -> bool {
    if let Op::Permute(_, perm) = op {
        return is_identity(perm);
    }
    matches!(op, Op::Broadcast(..) | Op::Reshape(..)) && func.tile_ty(a).shape == shape
}

fn is_identity(perm: &[u8]) -> bool {
    perm.iter().enumerate().all(|(i, &p)| usize::from(p) == i)
}

/// The permutation that `first` and then `second` make.
fn compose(first: &[u8], second: &[u8]) -> Vec<u8> {
    second.iter().map(|&p| first[usize::from(p)]).collect()
}

/// Whether the operands may be exchanged; for floats exact up to a NaN's payload.
fn is_commutative(op: BinaryOp) -> bool {
    match op {
        BinaryOp::Add
        | BinaryOp::Mul
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Eq
        | BinaryOp::Ne => true,
        // Minimum and maximum may tell zeros of different signs apart by position.
        BinaryOp::Min | BinaryOp::Max => false,
        BinaryOp::Sub
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge => false,
    }
}

/// `x op x`.
fn same_operands(op: BinaryOp, x: Value, dtype: DType) -> Option<Outcome> {
    match op {
        BinaryOp::Min | BinaryOp::Max | BinaryOp::And | BinaryOp::Or => Some(Outcome::Value(x)),
        // A NaN is neither equal to itself nor does it cancel.
        _ if dtype.is_float() => None,
        BinaryOp::Sub | BinaryOp::Xor => Some(Outcome::Known(Const { dtype, bits: 0 })),
        BinaryOp::Eq | BinaryOp::Le | BinaryOp::Ge => Some(Outcome::Known(Const::from_bool(true))),
        BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Gt => Some(Outcome::Known(Const::from_bool(false))),
        BinaryOp::Add | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Shl | BinaryOp::Shr => None,
    }
}
