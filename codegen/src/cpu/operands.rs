//! Compiles dots: where each operand is read from, and the accumulator's buffer.
//!
//! An operand that is a load, seen through permutes and widening casts, is read from memory by the dot itself and never
//! becomes a tile. Any other operand is a tile in the arena, used in place at its strides. The accumulator is updated in place.

use super::axes::Axes;
use super::build::row_major;

use super::compile::{Compiler, Place};
use super::control::Home;
use super::express::cast_is_free;
use super::micro;
use super::program::{DotPlan, DotSide, Inst, NO_AXIS};
use crate::diag::Loc;
use crate::ir::{DType, Op, Value};

/// An operand with rows and columns exchanged.
fn turned(side: DotSide) -> DotSide {
    match side {
        DotSide::Tile { buf, strides: [batch, row, col] } => {
            DotSide::Tile { buf, strides: [batch, col, row] }
        }
        DotSide::View(mut access) => {
            for axis in &mut access.axes {
                *axis = match *axis {
                    1 => 2,
                    2 => 1,
                    other => other,
                };
            }
            DotSide::View(access)
        }
    }
}

impl Compiler<'_> {
    /// Compiles `v = dot(a, b, acc)`.
    pub(crate) fn dot(&mut self, v: Value, a: Value, b: Value, acc: Value, s: usize, loc: Loc) {
        let (ta, tb, tc) = (self.func.tile_ty(a), self.func.tile_ty(b), self.func.tile_ty(acc));
        if [ta.dtype, tb.dtype, tc.dtype].contains(&DType::I64) || !(2..=3).contains(&tc.shape.rank()) {
            self.error(loc, format!("dot of {ta} and {tb} into {tc} is not supported on the CPU"));
            return;
        }
        let is_int = !tc.dtype.is_float();
        self.flush();
        let mut a_side = self.dot_side(a, is_int);
        let mut b_side = self.dot_side(b, is_int);
        let in_use: Vec<Home> = [&a_side, &b_side]
            .into_iter()
            .filter_map(|d| if let DotSide::Tile { buf, .. } = d { Some(Home::Tile(*buf)) } else { None })
            .collect();
        let c = self.carry_tile(acc, v, &in_use, s);
        let last = tc.shape.rank() - 1;
        let (mut m, mut n, k) = (tc.shape.dim(last - 1), tc.shape.dim(last), ta.shape.dim(last));
        if n == 1 && m > 1 {
            // A matrix times a column is the column, lying, times the matrix transposed: the form that streams the matrix.
            (m, n) = (n, m);
            (a_side, b_side) = (turned(b_side), turned(a_side));
        }
        let needs_room = |side: &DotSide| match side {
            DotSide::View(_) => true,
            DotSide::Tile { strides, .. } => strides[2] != 1,
        };
        // Rows a power of two apart would fall on the same cache sets.
        let a_stride = k.next_multiple_of(16) + if k.is_multiple_of(256) { 16 } else { 0 };
        let a_pack = needs_room(&a_side).then(|| self.new_buf((m * a_stride * 4) as u32));
        let b_pack =
            needs_room(&b_side).then(|| self.new_buf((micro::packed_len(self.isa, k, n) * 4) as u32));
        self.dots.push(DotPlan {
            is_int,
            batch: if last == 2 { tc.shape.dim(0) as u32 } else { 1 },
            m: m as u32,
            n: n as u32,
            k: k as u32,
            a: a_side,
            b: b_side,
            c,
            a_pack,
            a_pack_stride: a_stride as u32,
            b_pack,
            ahead: None,
        });
        self.insts.push(Inst::Dot((self.dots.len() - 1) as u32));
        self.uses.entry_done[s] = true;
        self.set_place(v, Place::Tile(c));
    }

    fn dot_side(&mut self, v: Value, is_int: bool) -> DotSide {
        let rank = self.func.tile_ty(v).shape.rank() as u8;
        let mut axes: Axes = [NO_AXIS; 5];
        // Iteration axes: batch, row, column.
        for (i, slot) in axes[..3].iter_mut().enumerate() {
            if i as u8 + rank >= 3 {
                *slot = i as u8 + rank - 3;
            }
        }
        let wanted = self.func.tile_ty(v).shape;
        let one_column = wanted.dim(wanted.rank() - 1) == 1;
        let (mut at, mut through) = (v, axes);
        loop {
            if let Place::Tile(buf) = self.place(at) {
                return self.tile_side(at, buf, &through, one_column);
            }
            if self.place(at) != Place::Lazy || self.splat_of(at).is_some() {
                break;
            }
            if let Some((a, inner)) = self.through_shape(at, &through) {
                (at, through) = (a, inner);
                continue;
            }
            match self.op_of(at) {
                Some(Op::Cast(a, to)) if cast_is_free(self.func.tile_ty(*a).dtype, *to) => at = *a,
                Some(Op::Load { view, offsets, shape, pad }) => {
                    let repeats = (0..3).any(|i| {
                        let extent = if axes[i] == NO_AXIS { 1 } else { wanted.dim(axes[i] as usize) };
                        extent != 1 && through[i] == NO_AXIS
                    });
                    let dtype = self.func.view_ty(*view).dtype;
                    if repeats || dtype == DType::I64 || dtype.is_float() == is_int {
                        break;
                    }
                    return DotSide::View(self.tile_access(
                        *view,
                        offsets,
                        *shape,
                        &through,
                        Some(*pad),
                        false,
                    ));
                }
                _ => break,
            }
        }
        let buf = self.demand_tile(v);
        self.tile_side(v, buf, &axes, one_column)
    }

    fn tile_side(&self, v: Value, buf: u32, axes: &Axes, one_column: bool) -> DotSide {
        let own = row_major(self.func.tile_ty(v).shape);
        let stride = |a: u8| if a == NO_AXIS { 0 } else { own[a as usize] };
        let mut strides = [stride(axes[0]), stride(axes[1]), stride(axes[2])];
        // A single column is contiguous whatever its stride says.
        if one_column {
            strides[2] = 1;
        }
        DotSide::Tile { buf, strides }
    }
}
