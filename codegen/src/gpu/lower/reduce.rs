//! Reductions along an axis: what they need of shared memory, and the layout in which they leave their result.

use super::Lower;
use super::derive::without_axis;
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::BufferId;
use crate::gpu::ops::Op;
use crate::ir::{self, DType, Value};
use crate::layout::{Layout, reduce_scratch};

impl Lower<'_> {
    /// A reduction, by value or by position.
    pub(super) fn reduce(&mut self, v: Value, op: &ir::Op) -> Option<Var> {
        let (ir::Op::Reduce(_, a, axis) | ir::Op::ArgReduce(_, a, axis)) = op else { return None };
        if self.rank(*a) == 0 {
            return None;
        }
        let src = self.materialised(*a);
        let VarType::Tile { layout, dtype, .. } = self.out.ty(src).clone() else { return None };
        let axis_idx = usize::from(*axis);
        let ty = self.src.tile_ty(v);
        let result = without_axis(&layout, axis_idx);
        let accumulated = if dtype.is_float() { DType::F32 } else { dtype };
        let op = if let ir::Op::Reduce(kind, ..) = op {
            let scratch = self.warp_scratch("partials", accumulated, &layout, axis_idx);
            Op::Reduce { op: *kind, src, axis: *axis, scratch }
        } else if let ir::Op::ArgReduce(kind, ..) = op {
            let values = self.warp_scratch("extrema", accumulated, &layout, axis_idx);
            let positions = self.warp_scratch("positions", DType::I32, &layout, axis_idx);
            Op::ArgReduce { op: *kind, src, axis: *axis, values, positions }
        } else {
            return None;
        };
        let dst = if ty.shape.rank() == 0 {
            VarType::Scalar(ty.dtype)
        } else {
            VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: result.clone() }
        };
        let var = self.define(dst, op, self.name_of(v));
        // What readers expect may be another layout, when the operand was brought into one for this reduction.
        let home = self.plan.homes.get(&v).map(|h| h.layout.clone());
        match home {
            Some(home) if ty.shape.rank() > 0 && home != result => {
                self.vars.insert(v, var);
                let moved = self.in_layout(v, &home);
                self.vars.remove(&v);
                Some(moved)
            }
            Some(_) | None => Some(var),
        }
    }

    /// Scratch for what the warps of a block exchange when an axis is spread over them; `None` when each warp has the whole axis.
    pub(super) fn warp_scratch(
        &mut self,
        name: &str,
        dtype: DType,
        layout: &Layout,
        axis: usize,
    ) -> Option<BufferId> {
        reduce_scratch(layout, axis).map(|(rows, columns)| self.scratch(name, dtype, rows, columns))
    }
}
