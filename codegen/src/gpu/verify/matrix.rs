//! Matrix products: fragment layouts, extents, and how shared operands lie.

use super::Verifier;
use crate::gpu::func::Var;
use crate::gpu::memory::{Buffer, BufferId, Swizzle};
use crate::gpu::ops::{MatrixOperand, MatrixShape, StmtKind};
use crate::ir::DType;
use crate::layout::{Layout, LayoutError, MmaOperand, WarpGrid};

/// The span of a hardware swizzle in bytes; 0 for none, 1 for a permutation that no hardware mode is.
pub(super) fn swizzle_span(b: &Buffer) -> u32 {
    match (b.swizzle, b.pitch_bytes) {
        (Swizzle::None, _) => 0,
        (Swizzle::Xor { shift: 0, mask: 7 }, 128) => 128,
        (Swizzle::Xor { shift: 1, mask: 3 }, 64) => 64,
        (Swizzle::Xor { shift: 2, mask: 1 }, 32) => 32,
        (Swizzle::Xor { .. }, _) => 1,
    }
}

/// What a shared operand should be.
struct Operand {
    side: &'static str,
    /// Rows of the operand's own axis (M or N), and K.
    extent: u32,
    k: u32,
    k_rows: bool,
    dtype: DType,
}

impl Verifier<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "only matrix statements are checked here")]
    pub(super) fn matrix_stmt(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::DotShared { acc, a, a_k_rows, b, b_k_rows, k, a_slot, b_slot } => {
                let Some((dtype, shape, _)) = self.tile_of("dot", *acc) else { return };
                let (batch, m, n) = match *shape.as_slice() {
                    [m, n] => (1, m, n),
                    [batch, m, n] => (batch, m, n),
                    _ => return self.error(format!("a product has 2 or 3 axes, not <{shape}>")),
                };
                if !matches!(dtype, DType::F32 | DType::I32) {
                    self.error(format!("a product accumulates in f32 or i32, not {dtype}"));
                }
                for (side, id, slot, k_rows, own) in
                    [("left", *a, *a_slot, *a_k_rows, m), ("right", *b, *b_slot, *b_k_rows, n)]
                {
                    self.slot(id, slot);
                    let buffer = &self.func.buffers[id.index()];
                    let wanted = if k_rows { (batch * k, own) } else { (batch * own, *k) };
                    if (buffer.rows, buffer.columns * buffer.panels) != wanted {
                        self.wrong_extents(side, id, wanted);
                    }
                }
            }
            StmtKind::DotRows { acc, a, b, lanes, m, strides } => {
                self.dot_rows([*acc, *a, *b], lanes, *m, *strides)
            }
            StmtKind::Mma { acc, a, b, dtype, shape, warps, extents, a_rows, b_rows } => {
                let step = match shape {
                    MatrixShape::M16N8K16 => 16,
                    MatrixShape::M16N8K32 => 32,
                };
                if !self.products_of(*dtype, *acc)
                    || extents.2 % step != 0
                    || step * dtype.size_bytes() as u32 != 32
                {
                    return self.error(format!(
                        "{dtype} operands with K of {} do not fit the instruction",
                        extents.2
                    ));
                }
                let Some(grid) = grid(warps.0, warps.1) else {
                    return self.error(format!("{} by {} warps are no powers of two", warps.0, warps.1));
                };
                let element_bytes = dtype.size_bytes() as u32;
                let tile = [extents.0, extents.1];
                self.fragment("the accumulator", *acc, Layout::mma(&tile, MmaOperand::C, grid));
                let left = Layout::mma(&[extents.0, extents.2], MmaOperand::A { element_bytes }, grid);
                let right = Layout::mma(&[extents.2, extents.1], MmaOperand::B { element_bytes }, grid);
                let k = extents.2;
                self.matrix_operand(
                    a,
                    left,
                    Operand { side: "left", extent: *a_rows, k, k_rows: false, dtype: *dtype },
                );
                self.matrix_operand(
                    b,
                    right,
                    Operand { side: "right", extent: *b_rows, k, k_rows: false, dtype: *dtype },
                );
                if *a_rows == 0 || *a_rows > extents.0 || *b_rows == 0 || *b_rows > extents.1 {
                    self.error(format!(
                        "operands of {a_rows} and {b_rows} rows do not fit a product of {tile:?}"
                    ));
                }
            }
            StmtKind::Wgmma { acc, a, b, dtype, groups, extents, accumulate } => {
                if let Some(accumulate) = accumulate {
                    self.scalar("whether to accumulate", *accumulate, DType::Bool);
                }
                let size = dtype.size_bytes() as u32;
                let (m, n, k) = *extents;
                if !self.products_of(*dtype, *acc) || !(k * size).is_multiple_of(32) || k == 0 {
                    return self.error(format!("{dtype} operands with K of {k} do not fit the instruction"));
                }
                if groups.n == 0 || groups.n % 8 != 0 || groups.n > 256 || !n.is_multiple_of(groups.n) {
                    self.error(format!(
                        "one instruction makes a multiple of 8 up to 256 columns that divides {n}, not {}",
                        groups.n
                    ));
                }
                let Some(grid) = grid(groups.n_groups, 1) else {
                    return self.error(format!("{} warpgroups are no power of two", groups.n_groups));
                };
                if let Some((threads, _)) = self.role
                    && threads != groups.n_groups * 128
                {
                    self.error(format!(
                        "{} warpgroups share the product, and {threads} threads run it",
                        groups.n_groups
                    ));
                }
                self.fragment("the accumulator", *acc, Layout::wgmma_accumulator(&[m, n], grid));
                let left = Layout::wgmma_a(&[m, k], size, grid);
                self.matrix_operand(
                    a,
                    left,
                    Operand { side: "left", extent: m, k, k_rows: false, dtype: *dtype },
                );
                match b {
                    MatrixOperand::Registers(_) => {
                        self.error("the right operand of wgmma lies in shared memory")
                    }
                    MatrixOperand::Shared { .. } => {
                        let none = Layout::wgmma_accumulator(&[], grid);
                        self.matrix_operand(
                            b,
                            none,
                            Operand { side: "right", extent: n, k, k_rows: false, dtype: *dtype },
                        );
                    }
                }
                for operand in [a, b] {
                    if let MatrixOperand::Shared { buffer, k_rows, .. } = operand {
                        self.descriptor(*buffer, *k_rows);
                    }
                }
            }
            StmtKind::StoreMatrix { src, column, buffer, panel } => {
                let Some((dtype, shape, layout)) = self.tile_of("store_matrix", *src) else { return };
                let b = &self.func.buffers[buffer.index()];
                self.same_dtype("store_matrix", b.dtype, dtype);
                if dtype.size_bytes() != 2 || shape.rank() != 2 {
                    return self.error(format!("store_matrix takes 16-bit matrices, not {dtype}<{shape}>"));
                }
                let groups = layout.warps() / 4;
                let wanted = grid(groups.max(1), 1).map(|g| Layout::wgmma_accumulator(layout.shape(), g));
                if !matches!(wanted, Some(Ok(l)) if l == *layout) {
                    let name = self.show(*src);
                    self.error(format!("{name} is not in the layout of a warpgroup's accumulator"));
                }
                let (rows, columns) = (shape.dim(0) as u32, shape.dim(1) as u32);
                if b.rows < rows || *panel >= b.panels || column + b.columns > columns || column % 16 != 0 {
                    let name = self.show_buffer(*buffer);
                    self.error(format!(
                        "{rows} rows of {} columns from {column} on of {columns} do not go to panel {panel} of {name}: {} panels \
                         of {} rows of {}",
                        b.columns, b.panels, b.rows, b.columns
                    ));
                }
            }
            _ => {}
        }
    }

    /// Whether a product of `dtype` may accumulate in `acc`.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only matrix statements are checked here; other 8-bit types are floats"
    )]
    fn products_of(&mut self, dtype: DType, acc: Var) -> bool {
        let found = self.ty(acc).dtype();
        match dtype {
            DType::F16 | DType::BF16 => found == DType::F32,
            DType::I8 | DType::U8 => found == DType::I32,
            other => other.size_bytes() == 1 && found == DType::F32,
        }
    }

    fn fragment(&mut self, what: &str, v: Var, wanted: Result<Layout, LayoutError>) {
        let Some((_, _, layout)) = self.tile_of(what, v) else { return };
        let name = self.show(v);
        match wanted {
            Err(e) => self.error(format!("{what} {name}: {e}")),
            Ok(wanted) if wanted != *layout => {
                self.error(format!("{what} {name} is not in the instruction's layout, which is {wanted}"));
            }
            Ok(_) => {}
        }
    }

    fn matrix_operand(
        &mut self,
        operand: &MatrixOperand,
        fragment: Result<Layout, LayoutError>,
        mut wanted: Operand,
    ) {
        match operand {
            MatrixOperand::Registers(v) => {
                if self.ty(*v).dtype() != wanted.dtype {
                    let (name, ty) = (self.show(*v), self.ty(*v));
                    self.error(format!(
                        "the {} operand {name} should be {}, not {ty}",
                        wanted.side, wanted.dtype
                    ));
                }
                self.fragment("the operand", *v, fragment);
            }
            MatrixOperand::Shared { buffer, slot, k_rows } => {
                self.slot(*buffer, *slot);
                wanted.k_rows = *k_rows;
                let b = &self.func.buffers[buffer.index()];
                let extents =
                    if wanted.k_rows { (wanted.k, wanted.extent) } else { (wanted.extent, wanted.k) };
                if (b.rows, b.columns * b.panels) != extents {
                    self.wrong_extents(wanted.side, *buffer, extents);
                }
                if b.dtype.size_bytes() != wanted.dtype.size_bytes() {
                    let name = self.show_buffer(*buffer);
                    self.error(format!("{name} holds {}, and the product takes {}", b.dtype, wanted.dtype));
                }
                if !b.pitch_bytes.is_multiple_of(16) {
                    let name = self.show_buffer(*buffer);
                    self.error(format!("rows of {name} should start at multiples of 16 bytes"));
                }
            }
        }
    }

    fn wrong_extents(&mut self, side: &str, id: BufferId, wanted: (u32, u32)) {
        let b = &self.func.buffers[id.index()];
        let name = self.show_buffer(id);
        self.error(format!(
            "the {side} matrix is {} by {}, and {name} has {} rows of {}",
            wanted.0,
            wanted.1,
            b.rows,
            b.columns * b.panels
        ));
    }

    /// A buffer that wgmma reads by descriptor.
    fn descriptor(&mut self, id: BufferId, k_rows: bool) {
        let b = &self.func.buffers[id.index()];
        let name = self.show_buffer(id);
        if k_rows && b.dtype.size_bytes() != 2 {
            self.error(format!("{name} holds {}: rows along K are for 16-bit elements alone", b.dtype));
        }
        let span = swizzle_span(b);
        if span < 32 || b.columns * b.dtype.size_bytes() as u32 != span {
            self.error(format!("{name} should lie in panels of one swizzle span of 32, 64 or 128 bytes"));
        }
    }

    fn dot_rows(&mut self, [acc, a, b]: [Var; 3], lanes: &[(u16, u16)], m: u32, strides: (u16, u16)) {
        let (Some(acc), Some(a), Some(b)) =
            (self.tile_of("dot_rows", acc), self.tile_of("dot_rows", a), self.tile_of("dot_rows", b))
        else {
            return;
        };
        if acc.1.rank() != 2 || a.1.rank() != 2 || b.1.rank() != 2 {
            return self.error("dot_rows takes matrices");
        }
        let (acc, a, b) = (acc.2, a.2, b.2);
        if lanes.len() != b.registers() as usize {
            return self.error(format!(
                "{} registers of the right operand have {} entries",
                b.registers(),
                lanes.len()
            ));
        }
        let last = m.saturating_sub(1);
        let in_range = lanes.iter().all(|&(c, x)| {
            u32::from(c) + last * u32::from(strides.0) < acc.registers()
                && u32::from(x) + last * u32::from(strides.1) < a.registers()
        });
        let lines_up = |k_axis: usize| {
            (0..b.registers()).zip(lanes).all(|(r, &(c, x))| {
                super::ops::sample_threads(b).all(|(lane, warp)| {
                    let at = b.apply(r, lane, warp);
                    (0..m).all(|i| {
                        let c = acc.apply(u32::from(c) + i * u32::from(strides.0), lane, warp);
                        let x = a.apply(u32::from(x) + i * u32::from(strides.1), lane, warp);
                        c[..2] == [i, at[1 - k_axis]] && x[..2] == [i, at[k_axis]]
                    })
                })
            })
        };
        if !in_range || !(lines_up(0) || lines_up(1)) {
            self.error("the registers of dot_rows do not stand for one row and column of the product each");
        }
    }
}

fn grid(m: u32, n: u32) -> Option<WarpGrid> {
    let is_grid = m.is_power_of_two() && n.is_power_of_two();
    is_grid.then(|| WarpGrid { m_bits: m.trailing_zeros(), n_bits: n.trailing_zeros() })
}
