//! Products: operands brought to where the instruction reads them, accumulators kept in place.

use super::Lower;
use super::dots::{DotPlan, Source};
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::BufferId;
use crate::gpu::ops::{Coord, MatrixOperand, Op, Operand, RegMap, StmtKind};
use crate::ir::{self, BinaryOp, Const, Value};
use crate::layout::{Layout, partials_scratch};

impl Lower<'_> {
    /// A product; its result takes the accumulator's registers over where nobody else reads them.
    pub(super) fn dot(&mut self, v: Value, [a, b, acc]: [Value; 3]) -> Var {
        let plan = self.plan.dots.get(&v).expect("a product should have a plan").clone();
        let (a_ty, b_ty) = (self.src.tile_ty(a), self.src.tile_ty(b));
        match plan {
            DotPlan::Mma { layout, shape, grid, a: left, b: right } => {
                let (left, right) = (self.matrix_operand(&left), self.matrix_operand(&right));
                let var = self.accumulator(v, acc, &layout);
                let (m, n) = (layout.shape()[0], layout.shape()[1]);
                self.emit(StmtKind::Mma {
                    acc: var,
                    a: left,
                    b: right,
                    dtype: a_ty.dtype,
                    shape,
                    warps: (1 << grid.m_bits, 1 << grid.n_bits),
                    extents: (m, n, a_ty.shape.dim(1) as u32),
                    a_rows: a_ty.shape.dim(0) as u32,
                    b_rows: b_ty.shape.dim(1) as u32,
                });
                var
            }
            DotPlan::Wgmma { layout, n_groups, a: left, b: right } => {
                self.warpgroup_dot(v, [a, b, acc], &layout, n_groups, [&left, &right])
            }
            DotPlan::Shared { layout, a: left, b: right } => {
                let ((a, a_slot, a_k_rows), (b, b_slot, b_k_rows)) =
                    (self.shared_operand(&left), self.shared_operand(&right));
                let var = self.accumulator(v, acc, &layout);
                let k = *a_ty.shape.to_vec().last().expect("an operand should have an axis") as u32;
                self.emit(StmtKind::DotShared { acc: var, a, a_k_rows, b, b_k_rows, k, a_slot, b_slot });
                var
            }
            DotPlan::Rows { layout, load, load_layout, k_axis, a_layout, is_deferred, .. } => {
                let left = self.in_layout(a, &a_layout);
                let right = self.in_layout(load, &load_layout);
                let var = if is_deferred {
                    self.accumulator(v, acc, &layout)
                } else {
                    let zero = self.zero_like(v);
                    let ty = self.src.tile_ty(v);
                    let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: layout.clone() };
                    self.define(dst, Op::Copy(zero), self.name_of(v))
                };
                self.dot_rows(var, left, right, [&layout, &a_layout, &load_layout], k_axis);
                if is_deferred {
                    return var;
                }
                let sum = self.summed(var);
                if self.is_zero(acc) {
                    return sum;
                }
                let coords = super::elements::identity(2);
                let before = self.operand(acc, &layout, &coords);
                let ty = self.out.ty(sum).clone();
                self.define(ty, Op::Binary(BinaryOp::Add, before, Operand::of(sum)), self.name_of(v))
            }
        }
    }

    fn dot_rows(
        &mut self,
        acc: Var,
        a: Var,
        b: Var,
        [layout, a_layout, b_layout]: [&Layout; 3],
        k_axis: usize,
    ) {
        let rows = layout.shape()[0];
        // Registers correspond by the coordinates that the first thread sees; the others differ by the same offsets in all three.
        let register = |l: &Layout, row: u32, column: u32| {
            (0..l.registers())
                .find(|&r| l.apply(r, 0, 0)[..2] == [row, column])
                .expect("the first thread should hold the element") as u16
        };
        let lanes = (0..b_layout.registers())
            .map(|r| {
                let at = b_layout.apply(r, 0, 0);
                (register(layout, 0, at[1 - k_axis]), register(a_layout, 0, at[k_axis]))
            })
            .collect();
        let stride = |l: &Layout| if rows > 1 { register(l, 1, 0) - register(l, 0, 0) } else { 0 };
        let strides = (stride(layout), stride(a_layout));
        self.emit(StmtKind::DotRows { acc, a, b, lanes, m: rows, strides });
    }

    /// The sum of the addends that threads hold of each element.
    pub(super) fn summed(&mut self, var: Var) -> Var {
        let ty = self.out.ty(var).clone();
        let VarType::Tile { layout, dtype, .. } = &ty else { return var };
        let dtype = *dtype;
        let scratch =
            partials_scratch(layout).map(|(rows, columns)| self.scratch("addends", dtype, rows, columns));
        let name = self.out.vars[var.index()].name.clone();
        self.define(ty, Op::SumPartials { src: var, scratch }, name)
    }

    /// The variable that a product accumulates in: that of `acc` when this is its only reader and it was made here.
    pub(super) fn accumulator(&mut self, v: Value, acc: Value, layout: &Layout) -> Var {
        let operand = self.operand(acc, layout, &super::elements::identity(self.rank(acc)));
        let is_own = self.vars.get(&acc) == Some(&operand.var)
            && operand.regs == RegMap::Identity
            && self.plan.uses.count(acc) == 1
            && self.is_from_this_block(acc);
        if is_own {
            return operand.var;
        }
        let ty = self.src.tile_ty(v);
        let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: layout.clone() };
        self.define(dst, Op::Copy(operand), self.name_of(v))
    }

    fn zero_like(&mut self, v: Value) -> Operand {
        let dtype = self.src.tile_ty(v).dtype;
        Operand::of(self.scalar(dtype, Op::Const(Const { dtype, bits: 0 })))
    }

    pub(super) fn is_zero(&self, v: Value) -> bool {
        matches!(
            self.defs.get(&v),
            Some(ir::Op::Splat(s, _)) if matches!(self.defs.get(s), Some(ir::Op::Const(c)) if c.bits == 0)
        )
    }

    pub(super) fn matrix_operand(&mut self, source: &Source) -> MatrixOperand {
        match source {
            Source::Registers { value, layout } => MatrixOperand::Registers(self.in_layout(*value, layout)),
            Source::Staged(_) | Source::Tensor(_) | Source::Stored { .. } => {
                let (buffer, slot, k_rows) = self.shared_operand(source);
                MatrixOperand::Shared { buffer, slot, k_rows }
            }
        }
    }

    fn shared_operand(&mut self, source: &Source) -> (BufferId, Option<Var>, bool) {
        match source {
            Source::Staged(s) => {
                let ring = self.rings.get(&s.load).expect("a staged load should have a ring");
                (ring.buffer, ring.slot, s.k_rows)
            }
            Source::Tensor(s) => {
                let ring = self.rings.get(&s.load).expect("a tensor copy should have a ring");
                (ring.buffer, ring.slot, s.k_rows)
            }
            Source::Stored { value, k_rows } => (self.shared_tile(*value), None, *k_rows),
            Source::Registers { .. } => unreachable!("a shared operand should not be in registers"),
        }
    }

    /// The buffer that holds a tile for products, written now if it was not at its definition.
    fn shared_tile(&mut self, v: Value) -> BufferId {
        if let Some(&(_, buffer)) = self.shared.iter().find(|(s, _)| *s == v) {
            return buffer;
        }
        // A renamed tile is written from where it is held.
        let (held, coords) = self.stored_from(v);
        match self.vars.get(&held) {
            Some(&var) => self.share_renamed(v, var, &coords),
            None => {
                let var = self.materialised(v);
                self.share(v, var)
            }
        }
    }

    fn share(&mut self, v: Value, var: Var) -> BufferId {
        let coords = super::elements::identity(self.rank(v));
        self.share_renamed(v, var, &coords)
    }

    /// Writes `v` to a buffer from a tile in registers whose element `t` is element `coords(t)` of it.
    fn share_renamed(&mut self, v: Value, var: Var, coords: &[Coord]) -> BufferId {
        let ty = self.src.tile_ty(v);
        let shape = ty.shape.to_vec();
        let columns = *shape.last().expect("an operand should have an axis");
        let rows = ty.shape.elements() / columns;
        let name = self.label(v);
        let buffer = if self.is_specialised {
            let buffer = self.panel_buffer(&name, ty.dtype, rows as u32, columns as u32, 1);
            self.write_shared_renamed(var, buffer, coords, &shape);
            // The matrix units read what ordinary stores have written.
            self.emit(StmtKind::FenceAsync);
            self.barrier();
            buffer
        } else {
            let buffer = self.operand_buffer(&name, ty.dtype, rows as u32, columns as u32, 1);
            self.write_shared_renamed(var, buffer, coords, &shape);
            buffer
        };
        self.shared.push((v, buffer));
        buffer
    }

    /// Brings a tile to where products read it, at its definition: once, also when they stand in a loop. A tile without registers
    /// of its own is left to its readers unless these are in a loop.
    pub(super) fn prepare_for_products(&mut self, v: Value) {
        let is_held = self.vars.contains_key(&v);
        if !is_held && !self.plan.uses.is_read_deeper(v) {
            return;
        }
        let (mut is_shared, mut fragment) = (false, None);
        for source in self.plan.dots.values().flat_map(|d| d.sources()) {
            match source {
                Source::Stored { value, .. } => is_shared |= *value == v,
                Source::Registers { value, layout } if *value == v => fragment = Some(layout.clone()),
                Source::Registers { .. } | Source::Staged(_) | Source::Tensor(_) => {}
            }
        }
        if is_shared {
            self.shared_tile(v);
        }
        if let Some(layout) = fragment
            && self.plan.uses.is_read_deeper(v)
        {
            let coords = super::elements::identity(self.rank(v));
            let operand = Operand::of(self.in_layout(v, &layout));
            let reader = Some(self.src.tile_ty(v).shape);
            self.cached.retain(|c| !c.is_for(v, &layout, &coords, reader));
            self.cached.push(super::Cached { value: v, layout, coords, reader, operand });
        }
    }
}
