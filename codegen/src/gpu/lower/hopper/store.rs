//! Stores through shared memory: accumulators leave as fragments into panels, and these by tensor copies.
//!
//! ```text
//!   per chunk         wait for the store that last read the panel; meet; fragments to the panel; fence; meet; store starts
//! ```
//!
//! Two panels take turns, so that fragments fill one while a store reads the other, and the last stores of a program go on under
//! the next program's products.

use super::super::Lower;
use super::super::dots::DotPlan;
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Op, Operand, StmtKind};
use crate::ir::{self, BinaryOp, DType, Value};

/// Columns of a chunk: a panel of 16-bit elements of the widest swizzle span that divides the tile's columns.
const CHUNK_COLUMNS: [u32; 3] = [64, 32, 16];

impl Lower<'_> {
    /// Ends the role's tensor stores: shared memory outlives what they read.
    pub(super) fn end_stores(&mut self) {
        if self.has_tensor_stores {
            self.emit(StmtKind::WaitStores { pending: 0, complete: false });
        }
    }

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
        let chunk_columns = CHUNK_COLUMNS.into_iter().find(|c| columns.is_multiple_of(*c)).unwrap_or(columns);
        let n_chunks = columns / chunk_columns;
        // Chunks of a narrower span come in odd numbers, which is what makes a buffer of all of them fall into such panels.
        let panels = if chunk_columns == CHUNK_COLUMNS[0] { n_chunks.min(2) } else { n_chunks };
        let buffer = self.panel_buffer("staging", dtype, rows, panels * chunk_columns, 1);
        let walks = self.out.walks_programs();
        self.has_tensor_stores = true;
        // Rows of a reshaped tile lie one after another in its box as they do in the accumulator.
        let stored = self.src.tile_ty(value).shape.to_vec();
        let map = self.map_of(view, &stored, stored.len() - 1, buffer);
        let at = self.vars_of(offsets);
        let (_, coords) = self.tensor_coords(view, at, &mut |cx, v| cx.var(v));
        let copy_out = |cx: &mut Self| {
            let last = coords.len() - 1;
            let meet = StmtKind::Barrier { id: 1, n_threads: cx.plan.n_warps * 32 };
            for chunk in 0..n_chunks {
                let (panel, column) = (chunk % panels, chunk * chunk_columns);
                if chunk >= panels || walks {
                    // The panel's last reader is the store `panels` chunks ago, or one of the program before.
                    let pending = if n_chunks.is_multiple_of(panels) {
                        panels - 1
                    } else if chunk < n_chunks % panels {
                        n_chunks % panels - 1
                    } else {
                        panels - 1
                    };
                    cx.emit(StmtKind::WaitStores { pending, complete: false });
                    cx.emit(meet.clone());
                }
                cx.emit(StmtKind::StoreMatrix { src, column, buffer, panel });
                cx.emit(StmtKind::FenceAsync);
                cx.emit(meet.clone());
                let mut at = coords.clone();
                at[last] = cx.shifted(at[last], column as i32);
                cx.emit(StmtKind::TmaStore { map, coords: at, buffer, panel, row: 0 });
            }
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
