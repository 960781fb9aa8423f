//! Device memory and shared memory: loads and stores of tiles, and the buffers through which threads exchange them.

use super::Lower;
use super::elements::{identity, matrix_coords};
use super::order::Exactly;
use super::plan::access_vector;
use super::uses::is_structural;
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::{Buffer, BufferId, Swizzle};
use crate::gpu::ops::{Coord, Op, Operand, StmtKind};
use crate::ir::{self, DType, Shape, Value};
use crate::layout::Layout;

/// Bytes of the chunk that copies and `ldmatrix` move.
const CHUNK_BYTES: u32 = 16;

impl Lower<'_> {
    /// A load at home.
    pub(super) fn load(&mut self, v: Value, view: Value, offsets: &[Value], pad: Value) -> Var {
        let home = self.plan.homes.get(&v).expect("a load should have a home").clone();
        let ty = self.src.tile_ty(v);
        let coords = identity(ty.shape.rank());
        self.order_tile(view, false, offsets, &home.layout, &coords);
        let vector = self.renamed_vector(view, offsets, &home.layout, &coords, &ty.shape);
        let op = Op::Load {
            view: self.var(view),
            offsets: self.vars_of(offsets),
            coords,
            pad: self.var(pad),
            vector,
        };
        let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: home.layout };
        self.define(dst, op, self.name_of(v))
    }

    /// Notes an access of a tile in `layout`.
    pub(super) fn order_tile(
        &mut self,
        view: Value,
        writes: bool,
        offsets: &[Value],
        layout: &Layout,
        coords: &[Coord],
    ) {
        let (offsets, layout, coords) = (offsets.to_vec(), layout.clone(), coords.to_vec());
        self.order_access(view, writes, Some(Exactly { view, offsets, layout, coords }));
    }

    /// How many neighbouring registers of a tile in `layout` one access of a view may move, when element `t` of the tile lies at
    /// `coords(t)` of a window of `shape` at `offsets`.
    pub(super) fn renamed_vector(
        &self,
        view: Value,
        offsets: &[Value],
        layout: &Layout,
        coords: &[Coord],
        shape: &Shape,
    ) -> u32 {
        let (axis, vector) = access_vector(self.src, &self.facts, view, offsets, &shape.to_vec());
        let Some(Coord::Axis(along)) = coords.get(axis) else { return 1 };
        run_along(layout, usize::from(*along), vector)
    }

    /// A store of a tile or a scalar.
    pub(super) fn store(&mut self, view: Value, offsets: &[Value], value: Value) {
        if self.rank(value) == 0 {
            self.order_access(view, true, None);
            let kind = StmtKind::Store {
                view: self.var(view),
                offsets: self.vars_of(offsets),
                coords: vec![Coord::Zero; offsets.len()],
                src: self.var(value),
                vector: 1,
            };
            self.emit(kind);
            return;
        }
        if self.is_specialised && self.tensor_store(view, offsets, value) {
            return;
        }
        let shape = self.src.tile_ty(value).shape;
        // A renamed tile is stored from where it is held: the renaming turns into addresses.
        let (held, coords) = self.stored_from(value);
        if let Some(&src) = self.vars.get(&held)
            && let VarType::Tile { layout, .. } = self.out.ty(src).clone()
        {
            let vector = self.renamed_vector(view, offsets, &layout, &coords, &shape);
            let (_, best) = access_vector(self.src, &self.facts, view, offsets, &shape.to_vec());
            let bytes = self.src.tile_ty(value).dtype.size_bytes() as u32;
            // Narrow pieces from a product's layout cost more memory transactions than an exchange costs time; from 4 bytes on
            // whole sectors are written.
            if vector == best || vector * bytes >= 4 || self.is_small(&shape) {
                self.emit_store(view, offsets, coords, src, vector);
                return;
            }
        }
        let (axis, vector) = access_vector(self.src, &self.facts, view, offsets, &shape.to_vec());
        let layout = match self.plan.homes.get(&value) {
            Some(home) if run_along(&home.layout, axis, vector) == vector => home.layout.clone(),
            _ => crate::gpu::blocked::blocked(&shape.to_vec(), self.plan.n_warps, axis, vector),
        };
        let src = self.in_layout(value, &layout);
        let coords = identity(shape.rank());
        let vector = self.renamed_vector(view, offsets, &layout, &coords, &shape);
        self.emit_store(view, offsets, coords, src, vector);
    }

    fn is_small(&self, shape: &Shape) -> bool {
        shape.elements() <= 64 * self.plan.n_warps as usize
    }

    pub(super) fn emit_store(
        &mut self,
        view: Value,
        offsets: &[Value],
        coords: Vec<Coord>,
        src: Var,
        vector: u32,
    ) {
        if let VarType::Tile { layout, .. } = self.out.ty(src).clone() {
            self.order_tile(view, true, offsets, &layout, &coords);
        }
        let kind =
            StmtKind::Store { view: self.var(view), offsets: self.vars_of(offsets), coords, src, vector };
        self.emit(kind);
    }

    /// The tile in registers behind a renamed value, and where its element `t` stands in the value.
    pub(super) fn stored_from(&self, value: Value) -> (Value, Vec<Coord>) {
        let mut chain = Vec::new();
        let mut v = value;
        while !self.vars.contains_key(&v) {
            match self.defs.get(&v) {
                Some(
                    op @ (ir::Op::ExpandDims(x, _)
                    | ir::Op::Squeeze(x, _)
                    | ir::Op::Permute(x, _)
                    | ir::Op::Reshape(x, _)),
                ) if self.rank(*x) > 0 => {
                    debug_assert!(is_structural(op));
                    chain.push((op, v, *x));
                    v = *x;
                }
                _ => return (value, identity(self.rank(value))),
            }
        }
        let mut coords = identity(self.rank(v));
        for &(op, to, from) in chain.iter().rev() {
            if let ir::Op::ExpandDims(_, axis) = op {
                coords.insert(usize::from(*axis), Coord::Zero);
            } else if let ir::Op::Squeeze(_, axis) = op {
                coords.remove(usize::from(*axis));
            } else if let ir::Op::Permute(_, perm) = op {
                coords = perm.iter().map(|&p| coords[usize::from(p)].clone()).collect();
            } else {
                let (from, to) = (self.src.tile_ty(from).shape, self.src.tile_ty(to).shape);
                coords = super::elements::reshaped(&coords, &from, &to);
            }
        }
        (v, coords)
    }

    /// Writes the registers of a tile of extents `shape` to a row-major buffer.
    pub(super) fn write_shared(&mut self, src: Var, buffer: BufferId, shape: &[usize]) {
        self.write_shared_renamed(src, buffer, &identity(shape.len()), shape);
    }

    /// Writes the registers of a tile to a row-major buffer of a tile of extents `shape`: element `t` goes to `coords(t)`.
    pub(super) fn write_shared_renamed(
        &mut self,
        src: Var,
        buffer: BufferId,
        coords: &[Coord],
        shape: &[usize],
    ) {
        let b = &self.out.buffers[buffer.index()];
        let most = CHUNK_BYTES / b.dtype.size_bytes() as u32;
        let aligned = b.pitch_bytes.is_multiple_of(CHUNK_BYTES);
        let last = shape.len() - 1;
        let vector = if let (VarType::Tile { layout, shape: own, .. }, Coord::Axis(axis)) =
            (self.out.ty(src), &coords[last])
            && aligned
        {
            let axis = usize::from(*axis);
            let extent = 1 << (shape[last] | own.dim(axis)).trailing_zeros().min(4);
            run_along(layout, axis, most.min(extent))
        } else {
            1
        };
        let coords = matrix_coords(coords, shape);
        self.emit(StmtKind::ToShared { src, buffer, slot: None, coords, vector });
    }

    /// A buffer for one exchange: rows of a multiple of 16 bytes, shifted by a chunk where all would start in one bank.
    pub(super) fn exchange_buffer(&mut self, name: &str, dtype: DType, rows: u32, columns: u32) -> BufferId {
        let row_bytes = (columns * dtype.size_bytes() as u32).next_multiple_of(CHUNK_BYTES);
        let pitch_bytes =
            if rows > 1 && row_bytes.is_multiple_of(128) { row_bytes + CHUNK_BYTES } else { row_bytes };
        self.buffer(Buffer {
            name: name.to_owned(),
            dtype,
            rows,
            columns,
            panels: 1,
            slots: 1,
            pitch_bytes,
            swizzle: Swizzle::None,
            align_bytes: CHUNK_BYTES,
            offset_bytes: 0,
        })
    }

    /// A buffer that products read: its chunks are permuted, or its rows padded, so that the 8 rows of an `ldmatrix` touch
    /// different banks.
    pub(super) fn operand_buffer(
        &mut self,
        name: &str,
        dtype: DType,
        rows: u32,
        columns: u32,
        slots: u32,
    ) -> BufferId {
        let row_bytes = (columns * dtype.size_bytes() as u32).next_multiple_of(CHUNK_BYTES);
        let chunks = row_bytes / CHUNK_BYTES;
        let (pitch_bytes, swizzle) = match chunks {
            1 => (row_bytes, Swizzle::None),
            n if n % 8 == 0 => (row_bytes, Swizzle::Xor { shift: 0, mask: 7 }),
            2 => (row_bytes, Swizzle::Xor { shift: 2, mask: 1 }),
            4 => (row_bytes, Swizzle::Xor { shift: 1, mask: 3 }),
            n if n % 2 == 1 => (row_bytes, Swizzle::None),
            _ => (row_bytes + CHUNK_BYTES, Swizzle::None),
        };
        self.buffer(Buffer {
            name: name.to_owned(),
            dtype,
            rows,
            columns,
            panels: 1,
            slots,
            pitch_bytes,
            swizzle,
            align_bytes: 128,
            offset_bytes: 0,
        })
    }

    /// A gather at home, or of one element.
    pub(super) fn gather(&mut self, v: Value, op: &ir::Op) -> Option<Var> {
        let ir::Op::Gather { view, indices, mask, pad } = op else { return None };
        self.order_access(*view, false, None);
        let ty = self.src.tile_ty(v);
        if ty.shape.rank() == 0 {
            let point =
                Op::LoadPoint { view: self.var(*view), offsets: self.vars_of(indices), pad: self.var(*pad) };
            let read = self.scalar(ty.dtype, point);
            return Some(match mask {
                None => read,
                Some(mask) => {
                    let [m, r, p] = [self.var(*mask), read, self.var(*pad)].map(Operand::of);
                    self.scalar(ty.dtype, Op::Select(m, r, p))
                }
            });
        }
        let layout = self.plan.homes.get(&v)?.layout.clone();
        let coords = identity(ty.shape.rank());
        let indices = indices.iter().map(|&i| self.operand(i, &layout, &coords)).collect();
        let mask = mask.map(|m| self.operand(m, &layout, &coords));
        let op = Op::Gather { view: self.var(*view), indices, mask, pad: self.var(*pad) };
        Some(self.define(VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout }, op, self.name_of(v)))
    }

    /// A scatter of a tile, or of one element.
    pub(super) fn scatter(&mut self, view: Value, indices: &[Value], value: Value, mask: Option<Value>) {
        self.order_access(view, true, None);
        let view = self.var(view);
        if self.rank(value) == 0 {
            let indices = self.vars_of(indices).into_iter().map(Operand::of).collect();
            let (src, mask) = (Operand::of(self.var(value)), mask.map(|m| Operand::of(self.var(m))));
            self.emit(StmtKind::Scatter { view, indices, src, mask });
            return;
        }
        let src = self.materialised(value);
        let VarType::Tile { layout, .. } = self.out.ty(src).clone() else { return };
        let coords = identity(self.rank(value));
        let indices = indices.iter().map(|&i| self.operand(i, &layout, &coords)).collect();
        let mask = mask.map(|m| self.operand(m, &layout, &coords));
        self.emit(StmtKind::Scatter { view, indices, src: Operand::of(src), mask });
    }
}

/// The largest power of two up to `most` of consecutive, aligned registers that run along `axis`.
pub(super) fn run_along(layout: &Layout, axis: usize, most: u32) -> u32 {
    let mut run = 1;
    for (bit, v) in layout.bases().register.iter().enumerate() {
        let mut unit = [0; 4];
        unit[axis] = 1 << bit;
        if run >= most || *v != unit {
            break;
        }
        run *= 2;
    }
    // The other bits must leave the run's place alone: no other vector may reach into it.
    let b = layout.bases();
    let low = run - 1;
    let clean = b.register[run.trailing_zeros() as usize..]
        .iter()
        .chain(&b.lane)
        .chain(&b.warp)
        .all(|v| v[axis] & low == 0);
    if clean { run } else { 1 }
}
