//! Turns a lazy value into an operand of the group under construction: the strip operations that compute it, fused where a form
//! for the pair exists, or the slot where its elements already are.
//!
//! One value seen through one map of axes is computed once per group.

use super::axes::Axes;
use super::build::{Draft, DraftSlot, row_major, size_of};
use super::compile::{Compiler, Place};
use super::group::{Sink, Work};
use super::program::{Buf, IotaBase, NO_AXIS, Operand, StripOp};
use crate::ir::{BinaryOp, DType, Op, UnaryOp, Value};

impl Compiler<'_> {
    /// The f32 tile that `v` is a narrower float of: a store rounds as the cast would, so it may take the operand itself.
    pub(crate) fn narrowed(&self, v: Value) -> Option<Value> {
        match self.op_of(v) {
            Some(Op::Cast(a, to)) if to.is_float() && self.func.tile_ty(*a).dtype == DType::F32 => {
                (self.place(v) == Place::Lazy).then_some(*a)
            }
            _ => None,
        }
    }

    /// Whether `v` has one reader, inside the group, that computes it as part of a fused form.
    pub(crate) fn is_absorbed(&self, v: Value, work: &Work<'_>) -> bool {
        if self.uses.users[v.index()].len() != 1 {
            return false;
        }
        let stores = |s: &Sink| matches!(s, Sink::Store { value, .. } if *value == v);
        if self.narrowed(v).is_some() && work.sinks.iter().any(stores) {
            return true;
        }
        if self.func.tile_ty(v).dtype != DType::F32 {
            return false;
        }
        if work.sinks.iter().any(|s| s.roots().contains(&v)) {
            return false;
        }
        work.members.iter().any(|&u| match self.op_of(u) {
            Some(Op::Unary(UnaryOp::Exp2, a)) => {
                *a == v && matches!(self.op_of(v), Some(Op::Fma(..) | Op::Binary(BinaryOp::Sub, ..)))
            }
            Some(Op::Unary(UnaryOp::Exp, a)) => {
                *a == v && matches!(self.op_of(v), Some(Op::Binary(BinaryOp::Sub, ..)))
            }
            _ => false,
        })
    }

    /// The operand that `v`, seen through `axes`, is in the group.
    pub(crate) fn operand(&mut self, d: &mut Draft, v: Value, axes: &Axes) -> Operand {
        if let Some(&o) = d.memo.get(&(v, *axes)) {
            return o;
        }
        let o = self.new_operand(d, v, axes);
        d.memo.insert((v, *axes), o);
        o
    }

    fn tile_operand(&self, d: &mut Draft, v: Value, buf: Buf, axes: &Axes) -> Operand {
        let ty = self.func.tile_ty(v);
        let own = row_major(ty.shape);
        let n = d.dims.len();
        let strides: Vec<u32> =
            axes[..n].iter().map(|&a| if a == NO_AXIS { 0 } else { own[a as usize] }).collect();
        let draft = DraftSlot::Tile { buf, size: size_of(ty.dtype), strides };
        if let Some(i) = d.slots.iter().position(|s| *s == draft) {
            return Operand::Row(i as u32);
        }
        Operand::Row(d.slot(draft))
    }

    fn new_operand(&mut self, d: &mut Draft, v: Value, axes: &Axes) -> Operand {
        if let Some(s) = self.splat_of(v) {
            return Operand::Reg(self.reg(s));
        }
        if let Place::Tile(buf) = self.place(v) {
            return self.tile_operand(d, v, buf, axes);
        }
        if let Some((axis, base)) = self.iota_of(v, axes) {
            return Operand::Row(d.iota(axis, base));
        }
        if let Some((a, inner)) = self.through_shape(v, axes) {
            return self.operand(d, a, &inner);
        }
        let ty = self.func.tile_ty(v);
        let Some(op) = self.op_of(v) else {
            self.error(self.func.values[v.index()].loc, format!("value {v} is read before it is defined"));
            return Operand::Reg(0);
        };
        match op {
            Op::Reshape(..) => {
                let buf = self.base_tile(v).expect("the operand of a reshape should be a tile by now");
                self.tile_operand(d, v, buf, axes)
            }
            Op::Load { view, offsets, shape, pad } => {
                let mem = self.tile_access(*view, offsets, *shape, axes, Some(*pad), false);
                let mem = d.mem(mem);
                let dst = d.slot(DraftSlot::Fetched { size: size_of(ty.dtype) });
                d.ops.push(StripOp::Fetch { dst, mem });
                Operand::Row(dst)
            }
            Op::Gather { view, indices, mask, pad } => {
                let indices = indices.iter().map(|&i| self.operand(d, i, axes)).collect();
                let mask = mask.map(|m| self.operand(d, m, axes));
                let mem = self.indexed_access(*view, Some(*pad), false);
                let mem = d.mem(mem);
                let dst = d.strip(ty.dtype);
                d.ops.push(StripOp::Gather { dst, mem, indices, mask });
                Operand::Row(dst)
            }
            Op::Cast(a, to) => {
                let from = self.func.tile_ty(*a).dtype;
                let src = self.operand(d, *a, axes);
                if cast_is_free(from, *to) {
                    return src;
                }
                let a = d.as_row(src, from);
                let dst = d.strip(*to);
                d.ops.push(StripOp::Cast { from, to: *to, dst, a });
                Operand::Row(dst)
            }
            Op::Unary(kind, a) => self.unary_operand(d, *kind, *a, ty.dtype, axes),
            Op::Binary(kind, a, b) => {
                let dtype = self.func.tile_ty(*a).dtype;
                let (a, b) = (self.operand(d, *a, axes), self.operand(d, *b, axes));
                let dst = d.strip(ty.dtype);
                d.ops.push(StripOp::Binary { op: *kind, dtype, dst, a, b });
                Operand::Row(dst)
            }
            Op::Fma(a, b, e) => {
                let [a, b, e] = [*a, *b, *e].map(|x| self.operand(d, x, axes));
                let dst = d.strip(ty.dtype);
                d.ops.push(StripOp::Fma { dtype: ty.dtype, dst, a, b, c: e });
                Operand::Row(dst)
            }
            Op::Select(cond, a, b) => {
                let [cond, a, b] = [*cond, *a, *b].map(|x| self.operand(d, x, axes));
                let dst = d.strip(ty.dtype);
                d.ops.push(StripOp::Select { dtype: ty.dtype, dst, cond, a, b });
                Operand::Row(dst)
            }
            Op::Const(_)
            | Op::Arange { .. }
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::Splat(..)
            | Op::Broadcast(..)
            | Op::ExpandDims(..)
            | Op::Squeeze(..)
            | Op::Permute(..)
            | Op::Dot { .. }
            | Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..) => {
                self.error(
                    self.func.values[v.index()].loc,
                    format!("`{}` cannot run strip by strip", op.mnemonic()),
                );
                Operand::Reg(0)
            }
        }
    }

    fn unary_operand(
        &mut self,
        d: &mut Draft,
        kind: UnaryOp,
        a: Value,
        dtype: DType,
        axes: &Axes,
    ) -> Operand {
        let absorbs = dtype == DType::F32
            && matches!(kind, UnaryOp::Exp | UnaryOp::Exp2)
            && self.place(a) == Place::Lazy
            && self.uses.users[a.index()].len() == 1
            && !d.memo.contains_key(&(a, *axes));
        if absorbs && let Some(Op::Binary(BinaryOp::Sub, x, y)) = self.op_of(a) {
            let (x, y) = (self.operand(d, *x, axes), self.operand(d, *y, axes));
            let dst = d.strip(dtype);
            d.ops.push(if kind == UnaryOp::Exp {
                StripOp::ExpSub { dst, a: x, b: y }
            } else {
                StripOp::Exp2Sub { dst, a: x, b: y }
            });
            return Operand::Row(dst);
        }
        if absorbs
            && kind == UnaryOp::Exp2
            && let Some(Op::Fma(x, s, b)) = self.op_of(a)
        {
            let [x, s, b] = [*x, *s, *b].map(|x| self.operand(d, x, axes));
            let dst = d.strip(dtype);
            d.ops.push(StripOp::Exp2Affine { dst, a: x, s, b });
            return Operand::Row(dst);
        }
        let src = self.operand(d, a, axes);
        let a = d.as_row(src, dtype);
        let dst = d.strip(dtype);
        d.ops.push(StripOp::Unary { op: kind, dtype, dst, a });
        Operand::Row(dst)
    }
}

impl Draft {
    fn iota(&mut self, axis: u8, base: IotaBase) -> u32 {
        for op in &self.ops {
            if let StripOp::Iota { dst, axis: x, base: b, .. } = op
                && *x == axis
                && *b == base
            {
                return *dst;
            }
        }
        let dst = self.strip(DType::I32);
        self.ops.push(StripOp::Iota { dst, axis, base, once: false });
        dst
    }
}

/// Whether a conversion leaves the arena's representation as it is.
pub(crate) const fn cast_is_free(from: DType, to: DType) -> bool {
    match (from, to) {
        (DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2, DType::F32)
        | (DType::F8E4M3 | DType::F8E5M2, DType::F16 | DType::BF16)
        | (DType::I32 | DType::U32 | DType::I8 | DType::U8 | DType::Bool, DType::I32 | DType::U32)
        | (DType::Bool, DType::I8 | DType::U8) => true,
        _ => from as u8 == to as u8,
    }
}
