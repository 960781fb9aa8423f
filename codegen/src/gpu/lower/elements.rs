//! Elementwise values: computed at home, or in a reader's layout.
//!
//! A reader asks for a value under a renaming: element `t` of what it computes is element `coords(t)` of the value. Renamings
//! compose through broadcasts, permutations and reshapes until they meet a value that is computed from coordinates, loaded, or
//! held in registers; only in the last case, and only when the threads do not match, does data move.

use super::derive::source_layout;
use super::uses::is_elementwise;
use super::{Cached, Lower};
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Coord, Op, Operand, RegMap};
use crate::ir::{self, DType, Shape, Value};
use crate::layout::{Conversion, Layout};

/// Every axis as it is.
pub(super) fn identity(rank: usize) -> Vec<Coord> {
    (0..rank).map(|d| Coord::Axis(d as u8)).collect()
}

impl Lower<'_> {
    /// Computes an elementwise operation (or a scalar one) into a new variable of type `ty`.
    pub(super) fn elementwise(&mut self, op: &ir::Op, ty: VarType, name: Option<String>) -> Option<Var> {
        let op = self.elementwise_as(op, &ty)?;
        Some(self.define(ty, op, name))
    }

    /// Computes an elementwise operation into a variable that there is already.
    pub(super) fn elementwise_into(&mut self, op: &ir::Op, var: Var) {
        let ty = self.out.ty(var).clone();
        let op = self.elementwise_as(op, &ty).expect("the operation should be elementwise");
        self.set(var, op);
    }

    /// An elementwise operation on operands that line up with a result of type `ty`.
    fn elementwise_as(&mut self, op: &ir::Op, ty: &VarType) -> Option<Op> {
        let layout = match ty {
            VarType::Tile { layout, .. } => Some(layout.clone()),
            VarType::Scalar(_) | VarType::View(_) => None,
        };
        let outer = self.reader;
        if let VarType::Tile { shape, .. } = ty {
            self.reader = Some(*shape);
        }
        let op = self.elementwise_op(op, |cx, v| match &layout {
            Some(layout) => {
                let coords = identity(cx.rank(v));
                cx.operand(v, layout, &coords)
            }
            None => Operand::of(cx.var(v)),
        });
        self.reader = outer;
        let op = op?;
        // A cast to the type that is there already is none.
        if let Op::Cast(x) = &op
            && self.out.ty(x.var).dtype() == ty.dtype()
        {
            return Some(Op::Copy(x.clone()));
        }
        Some(op)
    }

    fn elementwise_op(
        &mut self,
        op: &ir::Op,
        mut get: impl FnMut(&mut Self, Value) -> Operand,
    ) -> Option<Op> {
        if !is_elementwise(op) {
            return None;
        }
        let mut of = op.operands().into_iter().map(|v| get(self, v)).collect::<Vec<_>>().into_iter();
        let mut next = || of.next().expect("an operation should have all its operands");
        if let ir::Op::Unary(k, _) = op {
            Some(Op::Unary(*k, next()))
        } else if let ir::Op::Binary(k, ..) = op {
            Some(Op::Binary(*k, next(), next()))
        } else if let ir::Op::Fma(..) = op {
            Some(Op::Fma(next(), next(), next()))
        } else if let ir::Op::Select(..) = op {
            Some(Op::Select(next(), next(), next()))
        } else {
            Some(Op::Cast(next()))
        }
    }

    /// A value as operand of something in `layout`, renamed: element `t` there is element `coords(t)` of `v`.
    pub(super) fn operand(&mut self, v: Value, layout: &Layout, coords: &[Coord]) -> Operand {
        if self.rank(v) == 0 {
            return Operand::of(self.var(v));
        }
        if let Some(c) = self.cached.iter().find(|c| c.is_for(v, layout, coords, self.reader)) {
            return c.operand.clone();
        }
        let operand = if let Some(&var) = self.vars.get(&v) {
            self.held(v, var, layout, coords)
        } else {
            self.deferred(v, layout, coords)
        };
        self.cached.push(Cached {
            value: v,
            layout: layout.clone(),
            coords: coords.to_vec(),
            reader: self.reader,
            operand: operand.clone(),
        });
        operand
    }

    /// A value that is computed where it is read.
    fn deferred(&mut self, v: Value, layout: &Layout, coords: &[Coord]) -> Operand {
        let op = self.defs.get(&v).cloned().expect("a value without registers should have a definition");
        let ty = self.src.tile_ty(v);
        match &op {
            ir::Op::Splat(s, _) => Operand::of(self.var(*s)),
            ir::Op::Arange { .. } => {
                let dst = self.renamed_type(DType::I32, layout);
                Operand::of(self.define(dst, Op::Coord(coords[0].clone()), self.name_of(v)))
            }
            ir::Op::Broadcast(x, _) => {
                let from = self.src.tile_ty(*x).shape;
                let coords: Vec<Coord> = (0..from.rank())
                    .map(|d| if from.dim(d) == 1 { Coord::Zero } else { coords[d].clone() })
                    .collect();
                self.operand(*x, layout, &coords)
            }
            ir::Op::ExpandDims(x, axis) => {
                let mut coords = coords.to_vec();
                coords.remove(usize::from(*axis));
                self.operand(*x, layout, &coords)
            }
            ir::Op::Squeeze(x, axis) => {
                let mut coords = coords.to_vec();
                coords.insert(usize::from(*axis), Coord::Zero);
                self.operand(*x, layout, &coords)
            }
            ir::Op::Permute(x, perm) => {
                // Axis i of v is axis perm[i] of x.
                let mut source = vec![Coord::Zero; perm.len()];
                for (i, &p) in perm.iter().enumerate() {
                    source[usize::from(p)] = coords[i].clone();
                }
                self.operand(*x, layout, &source)
            }
            ir::Op::Reshape(x, _) => {
                if self.rank(*x) == 0 {
                    return Operand::of(self.var(*x));
                }
                let coords = reshaped(coords, &ty.shape, &self.src.tile_ty(*x).shape);
                self.operand(*x, layout, &coords)
            }
            ir::Op::Load { view, offsets, pad, .. } => {
                self.order_tile(*view, false, offsets, layout, coords);
                let dst = self.renamed_type(ty.dtype, layout);
                let vector = self.renamed_vector(*view, offsets, layout, coords, &ty.shape);
                let op = Op::Load {
                    view: self.var(*view),
                    offsets: self.vars_of(offsets),
                    coords: coords.to_vec(),
                    pad: self.var(*pad),
                    vector,
                };
                Operand::of(self.define(dst, op, self.name_of(v)))
            }
            ir::Op::Const(_)
            | ir::Op::ProgramId(_)
            | ir::Op::NumPrograms(_)
            | ir::Op::Unary(..)
            | ir::Op::Binary(..)
            | ir::Op::Fma(..)
            | ir::Op::Select(..)
            | ir::Op::Cast(..)
            | ir::Op::Dot { .. }
            | ir::Op::Reduce(..)
            | ir::Op::ArgReduce(..)
            | ir::Op::ViewDim(..)
            | ir::Op::ViewSelect(..)
            | ir::Op::ViewSlice(..)
            | ir::Op::ViewPermute(..)
            | ir::Op::Gather { .. } => {
                let dst = self.renamed_type(ty.dtype, layout);
                let op = self
                    .elementwise_op(&op, |cx, x| cx.operand(x, layout, coords))
                    .expect("a value without registers should be elementwise");
                Operand::of(self.define(dst, op, self.name_of(v)))
            }
        }
    }

    /// The type of something computed in a reader's layout: its extents are the reader's, or those that the layout covers.
    fn renamed_type(&self, dtype: DType, layout: &Layout) -> VarType {
        let covered = Shape::new(&layout.shape().iter().map(|&e| e as usize).collect::<Vec<_>>());
        let fits =
            |s: &Shape| s.rank() == covered.rank() && (0..s.rank()).all(|d| s.dim(d) <= covered.dim(d));
        let shape = self.reader.filter(fits).unwrap_or(covered);
        VarType::Tile { dtype, shape, layout: layout.clone() }
    }

    /// A value that is held in registers.
    fn held(&mut self, v: Value, var: Var, layout: &Layout, coords: &[Coord]) -> Operand {
        let VarType::Tile { layout: own, dtype, .. } = self.out.ty(var).clone() else {
            return Operand::of(var);
        };
        if let Some((wanted, regs)) = source_layout(layout, coords) {
            if wanted == own {
                return Operand { var, regs };
            }
            if wanted.shape() == own.shape()
                && let Ok(Conversion::Registers(table)) =
                    Conversion::plan(&own, &wanted, dtype.size_bytes() as u32)
            {
                let table: Vec<u16> = match regs {
                    RegMap::Identity => table.iter().map(|&r| r as u16).collect(),
                    RegMap::Table(outer) => outer.iter().map(|&r| table[usize::from(r)] as u16).collect(),
                };
                return Operand { var, regs: RegMap::Table(table) };
            }
            // Through shared memory into the layout of the source, of which the reader may need fewer registers.
            let ty = self.src.tile_ty(v);
            let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: wanted };
            let moved = self.exchanged(v, var, dst, &identity(self.rank(v)));
            return Operand { var: moved, regs };
        }
        let dst = self.renamed_type(dtype, layout);
        Operand::of(self.exchanged(v, var, dst, coords))
    }

    /// Moves a tile between threads through shared memory; element `t` of the result is element `coords(t)`.
    fn exchanged(&mut self, v: Value, var: Var, dst: VarType, coords: &[Coord]) -> Var {
        let shape = self.src.tile_ty(v).shape.to_vec();
        let columns = *shape.last().expect("a tile should have an axis") as u32;
        let rows = shape[..shape.len() - 1].iter().product::<usize>() as u32;
        let dtype = dst.dtype();
        let buffer = self.exchange_buffer(&self.label(v), dtype, rows, columns);
        self.write_shared(var, buffer, &shape);
        let op = Op::FromShared { buffer, slot: None, coords: matrix_coords(coords, &shape) };
        self.define(dst, op, self.name_of(v))
    }

    /// What to call things made of `v`.
    pub(super) fn label(&self, v: Value) -> String {
        self.name_of(v).unwrap_or_else(|| "tile".to_owned())
    }

    /// The variable of a tile in its natural layout: its own registers, or the renamed form it is.
    pub(super) fn materialised(&mut self, v: Value) -> Var {
        if let Some(&var) = self.vars.get(&v) {
            return var;
        }
        let shape = self.src.tile_ty(v).shape.to_vec();
        let layout = super::plan::default_layout(&shape, self.plan.n_warps);
        self.in_layout(v, &layout)
    }

    /// The variable of a tile in `layout`, register for register.
    pub(super) fn in_layout(&mut self, v: Value, layout: &Layout) -> Var {
        let ty = self.src.tile_ty(v);
        let outer = self.reader.replace(ty.shape);
        let operand = self.operand(v, layout, &identity(self.rank(v)));
        self.reader = outer;
        let is_plain = operand.regs == RegMap::Identity
            && matches!(self.out.ty(operand.var), VarType::Tile { layout: l, shape, .. } if l == layout && *shape == ty.shape);
        if is_plain {
            return operand.var;
        }
        // What was computed for a reader knows the reader's extents only, which may be those that the layout covers.
        let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: layout.clone() };
        self.define(dst, Op::Copy(operand), self.name_of(v))
    }
}

/// Coordinates in a row-major matrix whose columns are the last axis of `shape`.
pub(super) fn matrix_coords(coords: &[Coord], shape: &[usize]) -> [Coord; 2] {
    let last = coords.len() - 1;
    let row = match &coords[..last] {
        [] => Coord::Zero,
        [one] => one.clone(),
        many => {
            let mut stride = 1;
            let mut of = Vec::new();
            for (c, &extent) in many.iter().zip(shape).rev() {
                of.push((c.clone(), stride));
                stride *= extent as u32;
            }
            of.reverse();
            Coord::Digit { of, div: 1, modulo: 0 }
        }
    };
    [row, coords[last].clone()]
}

/// Coordinates of the element of `from` that a reshape puts at `coords` of `to`. Axes that the two shapes share stay axes.
pub(super) fn reshaped(coords: &[Coord], to: &Shape, from: &Shape) -> Vec<Coord> {
    let (to, from) = (to.to_vec(), from.to_vec());
    let mut out = vec![Coord::Zero; from.len()];
    // Groups of axes with equal products, innermost first.
    let (mut i, mut j) = (to.len(), from.len());
    while j > 0 {
        let (end_i, end_j) = (i, j);
        let (mut a, mut b) = (1, 1);
        while a != b || (end_i == i && end_j == j) {
            if (a <= b && i > 0) || j == 0 {
                i -= 1;
                a *= to[i];
            } else {
                j -= 1;
                b *= from[j];
            }
        }
        // Extents of 1 that follow belong to the group.
        while j > 0 && from[j - 1] == 1 {
            j -= 1;
        }
        while i > 0 && to[i - 1] == 1 {
            i -= 1;
        }
        let targets: Vec<usize> = (i..end_i).filter(|&d| to[d] > 1).collect();
        let sources: Vec<usize> = (j..end_j).filter(|&d| from[d] > 1).collect();
        if let ([t], [s]) = (&targets[..], &sources[..]) {
            out[*s] = coords[*t].clone();
            continue;
        }
        let mut stride = 1;
        let mut of = Vec::new();
        for &t in targets.iter().rev() {
            of.push((coords[t].clone(), stride));
            stride *= to[t] as u32;
        }
        of.reverse();
        let mut div = 1;
        for (place, &s) in sources.iter().enumerate().rev() {
            let modulo = if place == 0 { 0 } else { from[s] as u32 };
            out[s] = Coord::Digit { of: of.clone(), div, modulo };
            div *= from[s] as u32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(c: &Coord, at: &[u32]) -> u32 {
        match c {
            Coord::Axis(d) => at[usize::from(*d)],
            Coord::Zero => 0,
            Coord::Digit { of, div, modulo } => {
                let sum: u32 = of.iter().map(|(c, s)| eval(c, at) * s).sum::<u32>() / div;
                if *modulo == 0 { sum } else { sum % modulo }
            }
        }
    }

    #[test]
    fn reshape_keeps_row_major_order() {
        for (to, from) in [
            (vec![12, 5], vec![3, 4, 5]),
            (vec![3, 4, 5], vec![12, 5]),
            (vec![60], vec![3, 1, 4, 5]),
            (vec![2, 6], vec![4, 3]),
            (vec![1, 6], vec![6]),
            (vec![6], vec![1, 6, 1]),
        ] {
            let coords = reshaped(&identity(to.len()), &Shape::new(&to), &Shape::new(&from));
            let n: usize = to.iter().product();
            for i in 0..n {
                let place = |shape: &[usize]| {
                    let mut rest = i;
                    let mut at: Vec<u32> = shape
                        .iter()
                        .rev()
                        .map(|&e| {
                            let d = rest % e;
                            rest /= e;
                            d as u32
                        })
                        .collect();
                    at.reverse();
                    at
                };
                let at = place(&to);
                let got: Vec<u32> = coords.iter().map(|c| eval(c, &at)).collect();
                assert_eq!(got, place(&from), "{to:?} <- {from:?} at {i}");
            }
        }
    }
}
