//! Compiles scalar and view operations: one instruction each, emitted in program order.

use super::compile::{Compiler, Place};
use super::program::{Inst, Point};
use super::scalar::from_encoding;
use crate::ir::{DType, MAX_RANK, Op, Value};

impl<'f> Compiler<'f> {
    /// Compiles an operation that yields a view.
    pub(crate) fn view_definition(&mut self, v: Value, op: &'f Op) {
        let size = self.func.view_ty(v).dtype.size_bytes() as u8;
        let dst = self.new_view();
        let inst = if let Op::ViewSelect(a, axis, index) = op {
            Inst::ViewSelect { dst, view: self.view(*a), axis: *axis, index: self.reg(*index), size }
        } else if let Op::ViewSlice(a, axis, start, len) = op {
            let (start, len) = (self.reg(*start), self.reg(*len));
            Inst::ViewSlice { dst, view: self.view(*a), axis: *axis, start, len, size }
        } else if let Op::ViewPermute(a, order) = op {
            let mut perm = [0u8, 1, 2, 3, 4];
            perm[..order.len()].copy_from_slice(order);
            Inst::ViewPermute { dst, view: self.view(*a), perm }
        } else {
            let loc = self.func.values[v.index()].loc;
            self.error(loc, format!("`{}` does not yield a view", op.mnemonic()));
            return;
        };
        self.insts.push(inst);
        self.set_place(v, Place::View(dst));
    }

    /// Compiles an operation that yields a scalar.
    pub(crate) fn scalar_definition(&mut self, v: Value, op: &'f Op, dtype: DType) {
        let inst = match op {
            Op::Const(k) => Inst::Const { dst: self.new_reg(), bits: from_encoding(*k) },
            Op::ProgramId(axis) => Inst::ProgramId { dst: self.new_reg(), axis: *axis },
            Op::NumPrograms(axis) => Inst::NumPrograms { dst: self.new_reg(), axis: *axis },
            Op::Unary(kind, a) => {
                let a = self.reg(*a);
                Inst::Unary { op: *kind, dtype, dst: self.new_reg(), a }
            }
            Op::Binary(kind, a, b) => {
                let operands = self.func.tile_ty(*a).dtype;
                let (a, b) = (self.reg(*a), self.reg(*b));
                Inst::Binary { op: *kind, dtype: operands, dst: self.new_reg(), a, b }
            }
            Op::Fma(a, b, c) => {
                let [a, b, c] = [*a, *b, *c].map(|x| self.reg(x));
                Inst::Fma { dtype, dst: self.new_reg(), a, b, c }
            }
            Op::Select(cond, a, b) => {
                let [cond, a, b] = [*cond, *a, *b].map(|x| self.reg(x));
                Inst::Select { dst: self.new_reg(), cond, a, b }
            }
            Op::Cast(a, to) => {
                let from = self.func.tile_ty(*a).dtype;
                let a = self.reg(*a);
                Inst::Cast { from, to: *to, dst: self.new_reg(), a }
            }
            Op::ViewDim(a, axis) => {
                let view = self.view(*a);
                Inst::ViewDim { dst: self.new_reg(), view, axis: *axis }
            }
            Op::Load { view, offsets, pad, .. } => {
                let point = self.point(*view, offsets, Some(*pad), None);
                self.flush();
                Inst::LoadPoint { dst: self.new_reg(), point }
            }
            Op::Gather { view, indices, mask, pad } => {
                let point = self.point(*view, indices, Some(*pad), *mask);
                self.flush();
                Inst::LoadPoint { dst: self.new_reg(), point }
            }
            Op::Splat(a, _)
            | Op::Broadcast(a, _)
            | Op::Squeeze(a, _)
            | Op::Reshape(a, _)
            | Op::Permute(a, _)
            | Op::Reduce(_, a, _) => {
                if self.func.tile_ty(*a).shape.rank() == 0 {
                    let r = self.reg(*a);
                    self.set_place(v, Place::Reg(r));
                } else {
                    let buf = self.demand_tile(*a);
                    self.define_tile_or_elem(v, buf);
                }
                return;
            }
            Op::Arange { .. }
            | Op::ExpandDims(..)
            | Op::Dot { .. }
            | Op::ArgReduce(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..) => {
                let loc = self.func.values[v.index()].loc;
                self.error(loc, format!("`{}` does not yield a scalar", op.mnemonic()));
                return;
            }
        };
        let dst = self.n_regs_minus_one();
        self.insts.push(inst);
        self.set_place(v, Place::Reg(dst));
    }

    /// The register made last.
    const fn n_regs_minus_one(&self) -> u32 {
        self.counts().0 - 1
    }

    fn point(&mut self, view: Value, offsets: &[Value], pad: Option<Value>, mask: Option<Value>) -> u32 {
        let ty = self.func.view_ty(view);
        let mut p = Point {
            view: self.view(view),
            dtype: ty.dtype,
            rank: ty.rank,
            offsets: [0; MAX_RANK],
            pad: pad.map(|x| self.reg(x)),
            mask: mask.map(|x| self.reg(x)),
        };
        for (slot, &o) in p.offsets.iter_mut().zip(offsets) {
            *slot = self.reg(o);
        }
        self.points.push(p);
        (self.points.len() - 1) as u32
    }

    /// Stores a scalar at a point.
    pub(crate) fn store_point(&mut self, view: Value, offsets: &[Value], value: Value, mask: Option<Value>) {
        let src = self.reg(value);
        let point = self.point(view, offsets, None, mask);
        self.insts.push(Inst::StorePoint { src, point });
    }
}
