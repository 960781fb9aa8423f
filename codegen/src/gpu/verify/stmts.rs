//! Types of statements, and windows of buffers.

use super::ops::{most, sample_threads};
use super::{Node, Verifier};
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::{BufferId, TensorMapId};
use crate::gpu::ops::{Coord, Filled, StmtKind};
use crate::ir::{DType, Shape};
use crate::layout::{partials_scratch, reduce_scratch};

impl Verifier<'_> {
    pub(super) fn stmts(&mut self, block: &[Node<'_>]) {
        for node in block {
            self.at(node);
            self.stmt(&node.stmt.kind);
            if let StmtKind::Roles(roles) = &node.stmt.kind {
                if self.role.is_some() {
                    self.error("roles stand inside a role");
                }
                for (i, role) in roles.iter().enumerate() {
                    self.role = Some((role.active_warps * 32, i as u32 + 1));
                    self.stmts(&node.blocks[i]);
                }
                self.role = None;
            } else {
                node.blocks.iter().for_each(|b| self.stmts(b));
            }
        }
    }

    fn stmt(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Set { dst, op } => self.set(*dst, op),
            StmtKind::Store { view, offsets, coords, src, vector } => {
                let Some(view) = self.view_of("store", *view) else { return };
                if !view.mutable {
                    self.error(format!("a store writes {view}, which is not mutable"));
                }
                self.offsets("store", offsets, view.rank);
                self.same_dtype("store", view.dtype, self.ty(*src).dtype());
                match self.ty(*src) {
                    VarType::Tile { dtype, shape, layout } => {
                        self.window(coords, usize::from(view.rank), shape, layout, *vector, *dtype);
                    }
                    VarType::Scalar(_) if coords.iter().any(|c| *c != Coord::Zero) => {
                        self.error("a scalar is stored at one place: its coordinates are 0");
                    }
                    VarType::Scalar(_) => {}
                    VarType::View(_) => self.error("a view cannot be stored"),
                }
            }
            StmtKind::Scatter { view, indices, src, mask } => {
                let Some(view) = self.view_of("scatter", *view) else { return };
                if !view.mutable {
                    self.error(format!("a scatter writes {view}, which is not mutable"));
                }
                self.same_dtype("scatter", view.dtype, self.ty(src.var).dtype());
                self.indexed("scatter", src.var, indices, mask.as_ref(), view.rank);
            }
            StmtKind::Print { values, .. } => {
                for &v in values {
                    if matches!(self.ty(v), VarType::View(_)) {
                        self.error("a view cannot be printed");
                    }
                }
            }
            StmtKind::Assert { cond, .. } => {
                if self.ty(*cond).dtype() != DType::Bool {
                    let found = self.ty(*cond);
                    self.error(format!("an assertion takes a condition of type bool, not {found}"));
                }
            }
            StmtKind::For { iv, lo, hi, step, body: _ } => {
                for (what, v) in [
                    ("the induction variable", iv),
                    ("the first value", lo),
                    ("the bound", hi),
                    ("the step", step),
                ] {
                    self.scalar(what, *v, DType::I32);
                }
            }
            StmtKind::While { cond, .. } | StmtKind::If { cond, .. } => {
                self.scalar("a condition", *cond, DType::Bool);
            }
            StmtKind::Barrier { id, n_threads } => self.barrier(*id, *n_threads),
            StmtKind::ToShared { src, buffer, slot, coords, vector } => {
                self.slot(*buffer, *slot);
                if let Some((dtype, shape, layout)) = self.tile_of("to_shared", *src) {
                    let b = &self.func.buffers[buffer.index()];
                    self.same_dtype("to_shared", b.dtype, dtype);
                    self.inside(*buffer, coords, &shape);
                    self.window(coords, 2, &shape, layout, *vector, dtype);
                    let bytes = vector * dtype.size_bytes() as u32;
                    if !b.pitch_bytes.is_multiple_of(bytes) {
                        let name = self.show_buffer(*buffer);
                        self.error(format!(
                            "{name} has rows of {} bytes, which {bytes} bytes at a time do not divide",
                            b.pitch_bytes
                        ));
                    }
                }
            }
            StmtKind::CopyAsync { view, offsets, row_axis, column_axis, buffer, slot, bytes, guard } => {
                self.slot(*buffer, *slot);
                if let Some(guard) = guard {
                    self.scalar("the guard of a copy", *guard, DType::Bool);
                }
                let Some(view) = self.view_of("copy_async", *view) else { return };
                self.offsets("copy_async", offsets, view.rank);
                let b = &self.func.buffers[buffer.index()];
                self.same_dtype("copy_async", b.dtype, view.dtype);
                if row_axis == column_axis || *row_axis >= view.rank || *column_axis >= view.rank {
                    self.error(format!("axes {row_axis} and {column_axis} are not two axes of {view}"));
                }
                let row_bytes = b.columns * b.dtype.size_bytes() as u32;
                if !matches!(bytes, 4 | 8 | 16)
                    || !row_bytes.is_multiple_of(*bytes)
                    || !b.pitch_bytes.is_multiple_of(*bytes)
                {
                    self.error(format!(
                        "rows of {row_bytes} bytes cannot be copied {bytes} bytes at a time: 4, 8 or 16 bytes that divide \
                         them can"
                    ));
                }
            }
            StmtKind::Advance { slot, phase, slots } => {
                self.scalar("a slot", *slot, DType::I32);
                if let Some(phase) = phase {
                    self.scalar("a phase", *phase, DType::I32);
                }
                if *slots == 0 {
                    self.error("a ring has at least one slot");
                }
            }
            StmtKind::DotShared { .. }
            | StmtKind::DotRows { .. }
            | StmtKind::Mma { .. }
            | StmtKind::Wgmma { .. }
            | StmtKind::StoreMatrix { .. } => self.matrix_stmt(kind),
            StmtKind::ExpectBytes { barrier, slot, bytes } => {
                self.scalar("a slot", *slot, DType::I32);
                let wanted = self.func.barriers[barrier.index()].tx_bytes;
                if *bytes != wanted {
                    let name = self.show_barrier(*barrier);
                    self.error(format!(
                        "{name} is declared for {wanted} bytes per phase, and {bytes} are announced"
                    ));
                }
            }
            StmtKind::WaitBarrier { slot, phase, .. } => {
                self.scalar("a phase", *phase, DType::I32);
                if let Some(slot) = slot {
                    self.scalar("a slot", *slot, DType::I32);
                }
            }
            StmtKind::ArriveBarrier { slot, .. } => {
                if let Some(slot) = slot {
                    self.scalar("a slot", *slot, DType::I32);
                }
            }
            StmtKind::TmaLoad { map, coords, buffer, slot, panel, fills, barrier: _ } => {
                self.slot(*buffer, *slot);
                match fills {
                    Filled::Own { row } => self.tensor_copy(*map, coords, *buffer, *panel, *row),
                    Filled::Cluster => {
                        self.tensor_copy(*map, coords, *buffer, *panel, 0);
                        self.shares(*map, *buffer);
                    }
                }
            }
            StmtKind::TmaStore { map, coords, buffer, panel, row } => {
                self.tensor_copy(*map, coords, *buffer, *panel, *row);
            }
            StmtKind::Settle { values } => {
                for &v in values {
                    if let Some((dtype, ..)) = self.tile_of("settle", v)
                        && dtype.size_bytes() != 4
                    {
                        self.error(format!("settle waits for tiles of 32-bit elements, not of {dtype}"));
                    }
                }
            }
            StmtKind::Turn { first, .. } => self.turn(*first),
            StmtKind::Roles(_)
            | StmtKind::CommitCopies
            | StmtKind::WaitCopies { .. }
            | StmtKind::InitBarriers
            | StmtKind::ClusterSync
            | StmtKind::WaitStores { .. }
            | StmtKind::FenceAsync
            | StmtKind::WgmmaFence
            | StmtKind::WgmmaCommit
            | StmtKind::WgmmaWait { .. }
            | StmtKind::GridWait
            | StmtKind::GridRelease => {}
        }
    }

    fn turn(&mut self, first: u32) {
        if !(2..=14).contains(&first) {
            self.error(format!(
                "turns need two barriers from 2 to 15 that no role meets at, not {first} and the next"
            ));
        }
        if self.role.is_none_or(|(threads, _)| threads != 256) {
            self.error("turns are taken by the two warpgroups of a role of 256 threads");
        }
    }

    fn barrier(&mut self, id: u32, n_threads: u32) {
        if id > 15 {
            self.error(format!("a block has barriers 0 to 15, not {id}"));
        }
        match self.role {
            None if n_threads != self.func.n_threads() => self.error(format!(
                "all {} threads of the block run this, and the barrier waits for {n_threads}",
                self.func.n_threads()
            )),
            Some(_) if id == 0 => {
                self.error("inside a role threads meet at a barrier of the role's own, not at 0")
            }
            Some((threads, _)) if n_threads != threads => {
                self.error(format!("{threads} threads run this role, and the barrier waits for {n_threads}"));
            }
            None | Some(_) => {}
        }
    }

    pub(super) fn slot(&mut self, _buffer: BufferId, slot: Option<Var>) {
        if let Some(slot) = slot {
            self.scalar("a slot", slot, DType::I32);
        }
    }

    /// Rows and columns of a tile stay inside a buffer.
    fn inside(&mut self, buffer: BufferId, coords: &[Coord; 2], shape: &Shape) {
        let b = &self.func.buffers[buffer.index()];
        let (row, column) = (most(&coords[0], shape), most(&coords[1], shape));
        if row >= u64::from(b.rows) || column >= u64::from(b.columns) * u64::from(b.panels) {
            let name = self.show_buffer(buffer);
            self.error(format!(
                "row {row}, column {column} lies outside {name}, which has {} rows of {}",
                b.rows,
                b.columns * b.panels
            ));
        }
    }

    pub(super) fn read_shared(&mut self, dst: Var, buffer: BufferId, slot: Option<Var>, coords: &[Coord; 2]) {
        self.slot(buffer, slot);
        let b = &self.func.buffers[buffer.index()];
        self.same_dtype("from_shared", self.ty(dst).dtype(), b.dtype);
        match self.ty(dst) {
            VarType::Tile { dtype, shape, layout } => {
                self.inside(buffer, coords, shape);
                self.window(coords, 2, shape, layout, 1, *dtype);
            }
            VarType::Scalar(_) => self.inside(buffer, coords, &Shape::SCALAR),
            VarType::View(_) => self.error("a view does not come from shared memory"),
        }
    }

    /// The result of a reduction has the source's layout without the axis.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else the result is, it is not what the reduction gives"
    )]
    pub(super) fn reduced(&mut self, what: &str, dst: Var, src: Var, axis: u8, has_dtype: bool) {
        let Some((_, shape, layout)) = self.tile_of(what, src) else { return };
        let axis = usize::from(axis);
        if axis >= shape.rank() {
            return self.error(format!("axis {axis} is out of range for a tile of extents {shape}"));
        }
        if !has_dtype {
            let (from, to) = (self.ty(src), self.ty(dst));
            self.error(format!("{what} of {} does not give {}", from.dtype(), to.dtype()));
        }
        let wanted = shape.without(axis);
        match self.ty(dst) {
            VarType::Scalar(_) if wanted.rank() == 0 => {}
            VarType::Tile { shape: found, layout: own, .. } if *found == wanted => {
                let without = |c: [u32; 4]| {
                    let mut c: Vec<u32> = c[..shape.rank()].to_vec();
                    c.remove(axis);
                    c
                };
                let in_threads = sample_threads(layout).all(|(lane, warp)| {
                    own.apply(0, lane, warp)[..wanted.rank()] == without(layout.apply(0, lane, warp))[..]
                });
                let held: Vec<Vec<u32>> =
                    (0..own.registers()).map(|r| own.apply(r, 0, 0)[..wanted.rank()].to_vec()).collect();
                let in_registers =
                    (0..layout.registers()).all(|r| held.contains(&without(layout.apply(r, 0, 0))));
                if !in_threads || !in_registers || own.warps() != layout.warps() {
                    self.error(format!(
                        "the result of {what} should have the layout of its source without axis {axis}"
                    ));
                }
            }
            other => self
                .error(format!("{what} of extents {shape} along axis {axis} gives <{wanted}>, not {other}")),
        }
    }

    /// Scratch for what warps exchange: there when warps share the axis (or hold copies), and large enough.
    pub(super) fn scratch(
        &mut self,
        what: &str,
        src: Var,
        axis: Option<u8>,
        scratch: Option<BufferId>,
        dtype: Option<DType>,
    ) {
        let Some((own, _, layout)) = self.tile(src) else { return };
        let needed = match axis {
            Some(axis) => reduce_scratch(layout, usize::from(axis)),
            None => partials_scratch(layout),
        };
        match (scratch, needed) {
            (None, Some((warps, _))) => {
                self.error(format!(
                    "{what}: {warps} warps share the work and have no scratch to exchange it"
                ));
            }
            (None, None) => {}
            (Some(_), _) if self.role.is_some() => {
                self.error(format!("{what} across warps does not stand in a role"))
            }
            (Some(id), needed) => {
                let b = &self.func.buffers[id.index()];
                let (rows, columns) = needed.unwrap_or_default();
                if b.rows < rows || b.columns < columns {
                    let (name, has) = (self.show_buffer(id), format!("{} rows of {}", b.rows, b.columns));
                    self.error(format!("{name} has {has} values, and {what} exchanges {rows} of {columns}"));
                }
                let b = &self.func.buffers[id.index()];
                let accumulated = if own.is_float() { DType::F32 } else { own };
                let wanted = dtype.unwrap_or(accumulated);
                if b.dtype.size_bytes() < wanted.size_bytes() {
                    let name = self.show_buffer(id);
                    self.error(format!("{name} holds {}, and {what} exchanges {wanted}", b.dtype));
                }
            }
        }
    }

    /// A box of a tensor map against a panel of a buffer.
    fn tensor_copy(&mut self, map: TensorMapId, coords: &[Var], buffer: BufferId, panel: u32, row: u32) {
        for &c in coords {
            self.scalar("a coordinate", c, DType::I32);
        }
        let map = &self.func.maps[map.index()];
        let b = &self.func.buffers[buffer.index()];
        let name = self.show_buffer(buffer);
        let Some(view) = self.view_of("a tensor map", map.param) else { return };
        let rank = usize::from(view.rank);
        if coords.len() != rank || map.box_dims.len() != rank {
            return self.error(format!(
                "a tensor copy of {view} takes {rank} coordinates and a box of as many axes, not {} and {}",
                coords.len(),
                map.box_dims.len()
            ));
        }
        if map.box_dims.iter().any(|d| !(1..=256).contains(d)) {
            self.error(format!("a box has 1 to 256 elements along each axis, not {:?}", map.box_dims));
        }
        self.same_dtype("a tensor copy", b.dtype, view.dtype);
        let size = b.dtype.size_bytes() as u32;
        let elements: u64 = map.box_dims.iter().map(|&d| u64::from(d)).product();
        let inner = map.box_dims.last().copied().unwrap_or_default();
        let rows = elements / u64::from(inner.max(1));
        if inner != b.columns || u64::from(row) + rows > u64::from(b.rows) || panel >= b.panels {
            self.error(format!(
                "a box of {rows} rows of {inner} at row {row} of panel {panel} is not inside {name}: {} panels of {} rows \
                 of {}",
                b.panels, b.rows, b.columns
            ));
        }
        if b.pitch_bytes != b.columns * size || !b.pitch_bytes.is_multiple_of(16) {
            self.error(format!(
                "tensor copies lay rows side by side: {name} should have no padding and rows of 16 bytes"
            ));
        }
        if map.swizzle_bytes != super::matrix::swizzle_span(b) {
            self.error(format!(
                "the tensor map permutes spans of {} bytes, and {name} spans of {}",
                map.swizzle_bytes,
                super::matrix::swizzle_span(b)
            ));
        }
    }
}
