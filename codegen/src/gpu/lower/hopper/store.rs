//! Stores through shared memory: accumulators leave as fragments into panels, and these by tensor copies.

use super::super::Lower;
use super::super::dots::DotPlan;
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Op, Operand, StmtKind};
use crate::ir::{self, BinaryOp, DType, Value};

impl Lower<'_> {
    /// The matrix in registers that a stored tile is, or that it is a reshape of with the same rows' ends.
    fn stored_rows(&self, value: Value) -> Option<Var> {
        if let Some(&src) = self.vars.get(&value) {
            return Some(src);
        }
        let Some(ir::Op::Reshape(x, _)) = self.defs.get(&value) else { return None };
        let columns = |v: Value| self.src.tile_ty(v).shape.to_vec().last().copied();
        if columns(*x) != columns(value) { None } else { self.vars.get(x).copied() }
    }

    /// Whether a store can leave through shared memory by a tensor copy, and does: a 16-bit tile in the accumulator layout, to
    /// memory whose rows are contiguous and aligned.
    pub(in crate::gpu::lower) fn tensor_store(
        &mut self,
        view: Value,
        offsets: &[Value],
        value: Value,
    ) -> bool {
        let Some(src) = self.stored_rows(value) else { return false };
        let VarType::Tile { dtype, shape, layout } = self.out.ty(src).clone() else { return false };
        let is_accumulator =
            self.plan.dots.values().any(|d| matches!(d, DotPlan::Wgmma { layout: l, .. } if *l == layout));
        let Some(form) = self.facts.view(view).cloned() else { return false };
        let bytes = dtype.size_bytes();
        let is_boxed = self.src.tile_ty(value).shape.to_vec().iter().all(|&extent| extent <= 256);
        let fits = is_accumulator
            && is_boxed
            && bytes == 2
            && shape.rank() == 2
            && shape.dim(0) <= 256
            && shape.dim(1).is_multiple_of(16)
            && layout.shape() == shape.as_slice()
            && form.facts.contiguous
            && (form.facts.divisible as usize * bytes).is_multiple_of(16)
            && form.axes.last().is_some_and(|a| a.param_axis + 1 == form.param_rank)
            && form.axes.iter().all(|a| !a.is_clipped);
        if !fits {
            return false;
        }
        let (rows, columns) = (shape.dim(0) as u32, shape.dim(1) as u32);
        let buffer = self.panel_buffer("staging", dtype, rows, columns, 1);
        let b = &self.out.buffers[buffer.index()];
        let (panels, panel_columns) = (b.panels, b.columns);
        // Rows of a reshaped tile lie one after another in its box as they do in the accumulator.
        let stored = self.src.tile_ty(value).shape.to_vec();
        let map = self.map_of(view, &stored, stored.len() - 1, buffer);
        let at = self.vars_of(offsets);
        let (_, coords) = self.tensor_coords(view, at, &mut |cx, v| cx.var(v));
        let copy_out = |cx: &mut Self| {
            cx.emit(StmtKind::StoreMatrix { src, buffer });
            cx.emit(StmtKind::FenceAsync);
            cx.emit(StmtKind::Barrier { id: 1, n_threads: cx.plan.n_warps * 32 });
            let last = coords.len() - 1;
            for panel in 0..panels {
                let mut at = coords.clone();
                at[last] = cx.shifted(at[last], (panel * panel_columns) as i32);
                cx.emit(StmtKind::TmaStore { map, coords: at, buffer, panel, row: 0 });
            }
            cx.emit(StmtKind::WaitStores { complete: false });
        };
        // A tensor copy out may not begin before the first element; the language lets a store do so.
        let doubtful: Vec<Var> =
            offsets.iter().filter(|&&o| self.facts.range(o).min < 0).map(|&o| self.var(o)).collect();
        let mut cond = None;
        for v in doubtful {
            let zero = self.const_i32(0);
            let within =
                self.scalar(DType::Bool, Op::Binary(BinaryOp::Ge, Operand::of(v), Operand::of(zero)));
            cond = Some(match cond {
                None => within,
                Some(c) => {
                    self.scalar(DType::Bool, Op::Binary(BinaryOp::And, Operand::of(c), Operand::of(within)))
                }
            });
        }
        let Some(cond) = cond else {
            copy_out(self);
            return true;
        };
        let then_block = self.nested(copy_out);
        let else_block = self.nested(|cx| {
            let (_, coords) = cx.stored_from(value);
            let shape = cx.src.tile_ty(value).shape;
            let vector = cx.renamed_vector(view, offsets, &layout, &coords, &shape);
            cx.emit_store(view, offsets, coords, src, vector);
        });
        self.emit(StmtKind::If { cond, then_block, else_block });
        true
    }
}
