//! Types and layouts of operations.

use super::{Node, Verifier};
use crate::diag::Diagnostic;
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Coord, Op, Operand, RegMap};
use crate::ir::{DType, Shape, TypeRule, ViewType};
use crate::layout::Layout;

/// A tile's parts.
pub(super) type TileRef<'a> = (DType, Shape, &'a Layout);

/// How operand registers line up is looked at in these threads: all others follow, because layouts are linear.
const THREADS: [(u32, u32); 11] =
    [(0, 0), (1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (0, 1), (0, 2), (0, 4), (0, 8), (0, 16)];

/// The threads above that a layout has.
pub(super) fn sample_threads(layout: &Layout) -> impl Iterator<Item = (u32, u32)> + use<> {
    let (lanes, warps) = (layout.lanes(), layout.warps());
    THREADS.into_iter().filter(move |&(lane, warp)| lane < lanes && warp < warps)
}

impl<'a> Verifier<'a> {
    pub(super) fn types(&mut self, body: &[Node<'_>]) {
        self.place = None;
        for data in &self.func.vars {
            self.loc = data.loc;
            if let VarType::Tile { dtype, shape, layout } = &data.ty {
                let covers = layout.rank() == shape.rank()
                    && layout.shape().iter().zip(shape.as_slice()).all(|(&c, &e)| c >= e);
                if !covers || layout.lanes() != 32 || !layout.is_surjective() {
                    let name = data.name.clone().unwrap_or_else(|| "a tile".to_owned());
                    self.error(format!(
                        "`{name}`, {dtype}<{shape}>, has elements that its layout gives to no thread"
                    ));
                }
            }
        }
        self.stmts(body);
    }

    /// A tile operand's parts.
    pub(super) fn tile(&self, v: Var) -> Option<TileRef<'a>> {
        match self.ty(v) {
            VarType::Tile { dtype, shape, layout } => Some((*dtype, *shape, layout)),
            VarType::Scalar(_) | VarType::View(_) => None,
        }
    }

    pub(super) fn tile_of(&mut self, what: &str, v: Var) -> Option<TileRef<'a>> {
        let found = self.tile(v);
        if found.is_none() {
            let name = self.show(v);
            let ty = self.ty(v);
            self.error(format!("{what} takes a tile, and {name} is {ty}"));
        }
        found
    }

    pub(super) fn view_of(&mut self, what: &str, v: Var) -> Option<ViewType> {
        if let VarType::View(view) = self.ty(v) {
            return Some(*view);
        }
        let name = self.show(v);
        let ty = self.ty(v);
        self.error(format!("{what} takes a view, and {name} is {ty}"));
        None
    }

    pub(super) fn scalar(&mut self, what: &str, v: Var, dtype: DType) {
        if *self.ty(v) != VarType::Scalar(dtype) {
            let name = self.show(v);
            let ty = self.ty(v);
            self.error(format!("{what} should be a scalar of type {dtype}, and {name} is {ty}"));
        }
    }

    pub(super) fn offsets(&mut self, what: &str, offsets: &[Var], rank: u8) {
        if offsets.len() != usize::from(rank) {
            self.error(format!("{what} gives {} offsets for a view of rank {rank}", offsets.len()));
        }
        for &o in offsets {
            self.scalar("an offset", o, DType::I32);
        }
    }

    /// Types of `dst = op`.
    pub(super) fn set(&mut self, dst: Var, op: &Op) {
        let ty = self.ty(dst);
        match op {
            Op::Const(c) => self.scalar("what a constant sets", dst, c.dtype),
            Op::ProgramId(axis) | Op::NumPrograms(axis) => {
                self.scalar("what an index of the grid sets", dst, DType::I32);
                if *axis > 2 {
                    self.error(format!("the grid has axes 0 to 2, not {axis}"));
                }
                if matches!(op, Op::ProgramId(_)) && self.func.walks_programs() {
                    self.report(
                        Diagnostic::new(
                            self.loc,
                            "blocks walk over programs here, so a block has no program_id",
                        )
                        .help("compute it from cluster_id, or from cluster_id and cluster_rank"),
                    );
                }
            }
            Op::ClusterId | Op::NumClusters | Op::ClusterRank => {
                self.scalar("what an index of blocks sets", dst, DType::I32);
                if !self.func.walks_programs() {
                    self.error(
                        "blocks are programs here: the kernel is neither persistent nor has it clusters",
                    );
                }
            }
            Op::Coord(c) => {
                if let Some((dtype, shape, _)) = self.tile_of("coord", dst) {
                    if dtype != DType::I32 {
                        self.error(format!("coordinates are i32, not {dtype}"));
                    }
                    self.coord_axes(c, shape.rank());
                }
            }
            Op::Copy(a) if matches!(ty, VarType::View(_)) => {
                if self.ty(a.var) != ty {
                    let found = self.ty(a.var);
                    self.error(format!("a copy of {found} is not {ty}"));
                }
            }
            Op::Copy(a) => {
                self.elementwise(dst, &[(a, ty.dtype())]);
            }
            Op::Unary(op, a) => {
                let from = self.ty(a.var).dtype();
                self.rule(op.mnemonic(), op.rule(), from, ty.dtype());
                self.elementwise(dst, &[(a, from)]);
            }
            Op::Binary(op, a, b) => {
                let from = self.ty(a.var).dtype();
                self.rule(op.mnemonic(), op.rule(), from, ty.dtype());
                self.elementwise(dst, &[(a, from), (b, from)]);
            }
            Op::Fma(a, b, c) => {
                self.rule("fma", TypeRule::Float, ty.dtype(), ty.dtype());
                self.elementwise(dst, &[(a, ty.dtype()), (b, ty.dtype()), (c, ty.dtype())]);
            }
            Op::Select(c, a, b) => {
                self.elementwise(dst, &[(c, DType::Bool), (a, ty.dtype()), (b, ty.dtype())]);
            }
            Op::Cast(a) => {
                let from = self.ty(a.var).dtype();
                self.elementwise(dst, &[(a, from)]);
            }
            Op::ViewDim(v, axis) => {
                self.scalar("an extent", dst, DType::I32);
                self.view_axis(*v, *axis);
            }
            Op::ViewSelect(v, axis, at) => {
                self.scalar("the index of select_axis", *at, DType::I32);
                self.view_axis(*v, *axis);
                self.view_result(dst, *v, 1);
            }
            Op::ViewSlice(v, axis, start, len) => {
                self.scalar("the start of slice_axis", *start, DType::I32);
                self.scalar("the length of slice_axis", *len, DType::I32);
                self.view_axis(*v, *axis);
                self.view_result(dst, *v, 0);
            }
            Op::ViewPermute(v, perm) => {
                if let Some(view) = self.view_of("permute_view", *v) {
                    let mut sorted = perm.clone();
                    sorted.sort_unstable();
                    if !sorted.iter().copied().eq(0..view.rank) {
                        self.error(format!("{perm:?} does not rearrange the {} axes of a view", view.rank));
                    }
                    self.view_result(dst, *v, 0);
                }
            }
            Op::Load { view, offsets, coords, pad, vector } => {
                let Some(view) = self.view_of("load", *view) else { return };
                self.offsets("load", offsets, view.rank);
                self.scalar("the padding", *pad, view.dtype);
                if let Some((dtype, shape, layout)) = self.tile_of("load", dst) {
                    self.same_dtype("load", dtype, view.dtype);
                    self.window(coords, usize::from(view.rank), &shape, layout, *vector, dtype);
                }
            }
            Op::LoadPoint { view, offsets, pad } => {
                let Some(view) = self.view_of("load_point", *view) else { return };
                self.offsets("load_point", offsets, view.rank);
                self.scalar("the padding", *pad, view.dtype);
                self.scalar("what load_point sets", dst, view.dtype);
            }
            Op::Gather { view, indices, mask, pad } => {
                let Some(view) = self.view_of("gather", *view) else { return };
                self.scalar("the padding", *pad, view.dtype);
                self.same_dtype("gather", ty.dtype(), view.dtype);
                self.indexed("gather", dst, indices, mask.as_ref(), view.rank);
            }
            Op::Reduce { src, axis, scratch, .. } => {
                self.reduced("reduce", dst, *src, *axis, ty.dtype() == self.ty(*src).dtype());
                self.scratch("reduce", *src, Some(*axis), *scratch, None);
            }
            Op::ArgReduce { src, axis, values, positions, .. } => {
                self.reduced("arg_reduce", dst, *src, *axis, ty.dtype() == DType::I32);
                self.scratch("arg_reduce", *src, Some(*axis), *values, None);
                self.scratch("arg_reduce", *src, Some(*axis), *positions, Some(DType::I32));
            }
            Op::SumPartials { src, scratch } => {
                if self.ty(*src) != ty {
                    let found = self.ty(*src);
                    self.error(format!("the sum of the addends of {found} is not {ty}"));
                }
                self.scratch("sum_partials", *src, None, *scratch, None);
            }
            Op::FromShared { buffer, slot, coords } => self.read_shared(dst, *buffer, *slot, coords),
        }
    }

    pub(super) fn same_dtype(&mut self, what: &str, found: DType, wanted: DType) {
        if found != wanted {
            self.error(format!("{what} moves elements of type {wanted} into {found}"));
        }
    }

    fn rule(&mut self, name: &str, rule: TypeRule, from: DType, to: DType) {
        if !rule.accepts(from) {
            self.error(format!("{name} does not take {from}"));
        } else if rule.result(from) != to {
            self.error(format!("{name} of {from} is {}, not {to}", rule.result(from)));
        }
    }

    fn view_axis(&mut self, v: Var, axis: u8) {
        if let Some(view) = self.view_of("an axis", v)
            && axis >= view.rank
        {
            self.error(format!("axis {axis} is out of range for {view}"));
        }
    }

    fn view_result(&mut self, dst: Var, v: Var, fewer: u8) {
        let VarType::View(from) = self.ty(v) else { return };
        let wanted = ViewType { rank: from.rank.saturating_sub(fewer), ..*from };
        if *self.ty(dst) != VarType::View(wanted) {
            let found = self.ty(dst);
            self.error(format!("the result should be {wanted}, not {found}"));
        }
    }

    /// Checks that operands line up with `dst`, element by element.
    pub(super) fn elementwise(&mut self, dst: Var, operands: &[(&Operand, DType)]) {
        for &(operand, dtype) in operands {
            let found = self.ty(operand.var);
            let name = self.show(operand.var);
            if found.dtype() != dtype {
                self.error(format!("{name} is {found}, and elements of type {dtype} are wanted"));
            }
            match (self.ty(dst), found) {
                (_, VarType::View(_)) => self.error(format!("{name} is a view; load a tile from it first")),
                (VarType::View(_), _) => self.error("an elementwise operation does not make a view"),
                (_, VarType::Scalar(_)) => {
                    if operand.regs != RegMap::Identity {
                        self.error(format!("{name} is a scalar and needs no register table"));
                    }
                }
                (VarType::Scalar(_), VarType::Tile { shape, .. }) => {
                    // One element that every thread holds is as good as a scalar.
                    if shape.elements() != 1 {
                        self.error(format!("{name} is a tile, and a scalar is set"));
                    }
                }
                (VarType::Tile { shape, layout, .. }, VarType::Tile { shape: from, layout: own, .. }) => {
                    self.lines_up(&name, (shape, layout), (from, own), &operand.regs);
                }
            }
        }
    }

    /// Checks that register `regs[r]` of an operand holds, along each of its axes, the coordinate that register `r` of the
    /// result holds along one of its own.
    fn lines_up(&mut self, name: &str, to: (&Shape, &Layout), from: (&Shape, &Layout), regs: &RegMap) {
        let n = to.1.registers();
        let held = from.1.registers();
        let map = |r: u32| match regs {
            RegMap::Identity => r,
            RegMap::Table(table) => u32::from(table[r as usize]),
        };
        match regs {
            RegMap::Identity if held != n => {
                return self
                    .error(format!("each thread holds {held} registers of {name} where {n} are wanted"));
            }
            RegMap::Table(table) if table.len() != n as usize => {
                return self.error(format!(
                    "the register table of {name} has {} entries for {n} registers",
                    table.len()
                ));
            }
            RegMap::Table(table) if table.iter().any(|&r| u32::from(r) >= held) => {
                return self.error(format!("the register table of {name} names registers beyond its {held}"));
            }
            RegMap::Identity | RegMap::Table(_) => {}
        }
        if to.1.warps() != from.1.warps() {
            return self.error(format!(
                "{name} is spread over {} warps, not {}",
                from.1.warps(),
                to.1.warps()
            ));
        }
        let samples: Vec<(u32, u32, u32)> = (0..n)
            .map(|r| (r, 0, 0))
            .chain(sample_threads(to.1).map(|(lane, warp)| (0, lane, warp)))
            .collect();
        let mut taken = vec![false; to.0.rank()];
        for i in 0..from.0.rank() {
            // What a layout covers counts: beyond its extents a tile holds nothing that is kept.
            let extent = from.1.shape()[i];
            let follows = |d: usize| {
                samples.iter().all(|&(r, lane, warp)| {
                    from.1.apply(map(r), lane, warp)[i] == to.1.apply(r, lane, warp)[d]
                })
            };
            let axis = (0..to.0.rank()).find(|&d| !taken[d] && to.1.shape()[d] == extent && follows(d));
            match axis {
                Some(d) => taken[d] = true,
                None if extent == 1 => {}
                None => {
                    return self.error(format!(
                        "the layout of {name} does not line up with the result's along axis {i}: its threads hold other \
                         elements"
                    ));
                }
            }
        }
    }

    pub(super) fn indexed(
        &mut self,
        what: &str,
        base: Var,
        indices: &[Operand],
        mask: Option<&Operand>,
        rank: u8,
    ) {
        if indices.len() != usize::from(rank) {
            self.error(format!("{what} gives {} indices for a view of rank {rank}", indices.len()));
        }
        let mut operands: Vec<(&Operand, DType)> = indices.iter().map(|i| (i, DType::I32)).collect();
        operands.extend(mask.map(|m| (m, DType::Bool)));
        self.elementwise(base, &operands);
    }

    fn coord_axes(&mut self, c: &Coord, rank: usize) {
        match c {
            Coord::Axis(axis) if usize::from(*axis) >= rank => {
                self.error(format!("d{axis} is not a coordinate of a tile of rank {rank}"));
            }
            Coord::Axis(_) | Coord::Zero => {}
            Coord::Digit { of, div, .. } => {
                if *div == 0 {
                    self.error("a coordinate is divided by 0");
                }
                of.iter().for_each(|(c, _)| self.coord_axes(c, rank));
            }
        }
    }

    /// Coordinates of a tile's elements in something of `rank` axes, moved `vector` neighbours at a time.
    pub(super) fn window(
        &mut self,
        coords: &[Coord],
        rank: usize,
        shape: &Shape,
        layout: &Layout,
        vector: u32,
        dtype: DType,
    ) {
        if coords.len() != rank {
            return self.error(format!("{} coordinates are given for {rank} axes", coords.len()));
        }
        let before = self.findings.len();
        coords.iter().for_each(|c| self.coord_axes(c, shape.rank()));
        if self.findings.len() != before || vector == 1 {
            return;
        }
        let bytes = vector as usize * dtype.size_bytes();
        let n = layout.registers();
        if !vector.is_power_of_two() || bytes > 16 || !n.is_multiple_of(vector) {
            return self.error(format!(
                "one access cannot move {vector} elements of {dtype} of {n} registers: a power of two up to 16 bytes that \
                 divides them can"
            ));
        }
        let at = |r: u32, lane: u32, warp: u32| -> Vec<u32> {
            let place = layout.apply(r, lane, warp);
            coords.iter().map(|c| eval(c, &place)).collect()
        };
        let starts = (0..n).step_by(vector as usize).map(|r| (r, 0, 0));
        let threads = sample_threads(layout).map(|(lane, warp)| (0, lane, warp));
        let first = at(0, 0, 0);
        let along = (0..rank).find(|&i| at(1, 0, 0)[i] != first[i]);
        let is_run = along.is_some_and(|i| {
            starts.chain(threads).all(|(r, lane, warp)| {
                let from = at(r, lane, warp);
                from[i].is_multiple_of(vector)
                    && (1..vector).all(|k| {
                        let next = at(r + k, lane, warp);
                        (0..rank).all(|j| next[j] == from[j] + if j == i { k } else { 0 })
                    })
            })
        });
        if !is_run {
            self.error(format!(
                "{vector} neighbouring registers are not {vector} aligned neighbours in memory"
            ));
        }
    }
}

/// The value of a coordinate function.
pub(super) fn eval(c: &Coord, at: &[u32]) -> u32 {
    match c {
        Coord::Axis(d) => at.get(usize::from(*d)).copied().unwrap_or_default(),
        Coord::Zero => 0,
        Coord::Digit { of, div, modulo } => {
            let sum: u32 =
                of.iter().fold(0, |sum: u32, (c, s)| sum.wrapping_add(eval(c, at).wrapping_mul(*s)));
            let digit = sum / div.max(&1);
            if *modulo == 0 { digit } else { digit % modulo }
        }
    }
}

/// The largest value of a coordinate function over a tile.
pub(super) fn most(c: &Coord, shape: &Shape) -> u64 {
    match c {
        Coord::Axis(d) => shape.as_slice().get(usize::from(*d)).map_or(0, |&e| u64::from(e) - 1),
        Coord::Zero => 0,
        Coord::Digit { of, div, modulo } => {
            let sum: u64 = of.iter().map(|(c, s)| most(c, shape) * u64::from(*s)).sum();
            let digit = sum / u64::from((*div).max(1));
            if *modulo == 0 { digit } else { digit.min(u64::from(*modulo) - 1) }
        }
    }
}
