//! A builder of small kernels at the GPU level.

use crate::diag::Loc;
use crate::gpu::{
    Block, Buffer, BufferId, Coord, GpuFunc, GpuParam, Mbarrier, Op, Operand, RegMap, Stmt, StmtKind,
    Swizzle, Var, VarType,
};
use crate::ir::{Const, DType, Shape, ViewFacts, ViewType};
use crate::layout::Layout;

/// A kernel under construction.
pub(crate) struct Build {
    /// The kernel.
    pub(crate) func: GpuFunc,
    blocks: Vec<Block>,
    line: u32,
}

/// The coordinates of a tile of this rank, axis by axis.
pub(crate) fn axes(rank: u8) -> Vec<Coord> {
    (0..rank).map(Coord::Axis).collect()
}

/// A layout for memory.
pub(crate) fn rows(shape: &[u32], bytes: u32, warps: u32) -> Layout {
    Layout::for_memory(shape, bytes, warps, shape.len() - 1).expect("the shape should have a layout")
}

impl Build {
    /// An empty kernel for `sm_90a`.
    pub(crate) fn new(name: &str, n_warps: u32) -> Self {
        let func = GpuFunc {
            name: name.to_owned(),
            arch: "sm_90a".to_owned(),
            n_warps,
            cluster: 1,
            min_blocks: 0,
            is_persistent: false,
            params: Vec::new(),
            maps: Vec::new(),
            vars: Vec::new(),
            buffers: Vec::new(),
            barriers: Vec::new(),
            shared_bytes: 0,
            assertions: Vec::new(),
            body: Block::default(),
        };
        Self { func, blocks: vec![Block::default()], line: 10 }
    }

    fn loc(&self) -> Loc {
        Loc { file: "src/kernel.rs", line: self.line, column: 5 }
    }

    /// The author's next line.
    pub(crate) fn line(&mut self) -> &mut Self {
        self.line += 1;
        self
    }

    fn var(&mut self, ty: VarType, name: &str) -> Var {
        let name = (!name.is_empty()).then(|| name.to_owned());
        let loc = self.loc();
        self.func.new_var(ty, loc, name)
    }

    /// A view parameter.
    pub(crate) fn view(&mut self, name: &str, dtype: DType, rank: u8, mutable: bool) -> Var {
        let var = self.var(VarType::View(ViewType { dtype, rank, mutable }), name);
        let facts = ViewFacts { contiguous: true, divisible: 8 };
        self.func.params.push(GpuParam { name: name.to_owned(), var, facts, is_small: false });
        var
    }

    /// A scalar parameter.
    pub(crate) fn param(&mut self, name: &str, dtype: DType) -> Var {
        let var = self.var(VarType::Scalar(dtype), name);
        let facts = ViewFacts::default();
        self.func.params.push(GpuParam { name: name.to_owned(), var, facts, is_small: false });
        var
    }

    /// A view variable.
    pub(crate) fn view_var(&mut self, name: &str, dtype: DType, rank: u8, mutable: bool) -> Var {
        self.var(VarType::View(ViewType { dtype, rank, mutable }), name)
    }

    /// A scalar variable.
    pub(crate) fn scalar(&mut self, name: &str, dtype: DType) -> Var {
        self.var(VarType::Scalar(dtype), name)
    }

    /// A tile variable.
    pub(crate) fn tile(&mut self, name: &str, dtype: DType, shape: &[u32], layout: &Layout) -> Var {
        let shape = Shape::new(&shape.iter().map(|&d| d as usize).collect::<Vec<_>>());
        self.var(VarType::Tile { dtype, shape, layout: layout.clone() }, name)
    }

    /// A statement.
    pub(crate) fn stmt(&mut self, kind: StmtKind) -> &mut Self {
        let loc = self.loc();
        self.blocks.last_mut().expect("a block should be open").stmts.push(Stmt { kind, loc });
        self
    }

    /// `dst = op`.
    pub(crate) fn set(&mut self, dst: Var, op: Op) -> Var {
        self.stmt(StmtKind::Set { dst, op });
        dst
    }

    /// A constant.
    pub(crate) fn constant(&mut self, c: Const) -> Var {
        let v = self.scalar("", c.dtype);
        self.set(v, Op::Const(c))
    }

    /// An i32 constant.
    pub(crate) fn int(&mut self, x: i64) -> Var {
        self.constant(Const::from_i64(DType::I32, x))
    }

    /// A float constant.
    pub(crate) fn float(&mut self, dtype: DType, x: f64) -> Var {
        self.constant(Const::from_f64(dtype, x))
    }

    /// Zero of a type.
    pub(crate) fn zero(&mut self, dtype: DType) -> Var {
        self.constant(Const { dtype, bits: 0 })
    }

    /// The index of the program along x, times a number.
    pub(crate) fn first(&mut self, name: &str, axis: u8, extent: i64) -> Var {
        let pid = self.scalar(&format!("pid{axis}"), DType::I32);
        self.set(pid, Op::ProgramId(axis));
        let extent = self.int(extent);
        let first = self.scalar(name, DType::I32);
        self.set(first, Op::Binary(crate::ir::BinaryOp::Mul, Operand::of(pid), Operand::of(extent)))
    }

    /// A loaded tile.
    pub(crate) fn load(
        &mut self,
        name: &str,
        view: Var,
        offsets: &[Var],
        shape: &[u32],
        layout: &Layout,
        vector: u32,
    ) -> Var {
        let dtype = self.func.ty(view).dtype();
        let dst = self.tile(name, dtype, shape, layout);
        let pad = self.zero(dtype);
        let coords = axes(shape.len() as u8);
        self.set(dst, Op::Load { view, offsets: offsets.to_vec(), coords, pad, vector })
    }

    /// Stores a tile.
    pub(crate) fn store(&mut self, view: Var, offsets: &[Var], src: Var, vector: u32) -> &mut Self {
        let rank = match self.func.ty(src) {
            VarType::Tile { shape, .. } => shape.rank() as u8,
            VarType::Scalar(_) | VarType::View(_) => 0,
        };
        let mut coords = axes(rank);
        coords.resize(offsets.len(), Coord::Zero);
        self.stmt(StmtKind::Store { view, offsets: offsets.to_vec(), coords, src, vector })
    }

    /// What `inside` adds, as a block of its own.
    pub(crate) fn block(&mut self, inside: impl FnOnce(&mut Self)) -> Block {
        self.blocks.push(Block::default());
        inside(self);
        self.blocks.pop().expect("the block should be open")
    }

    /// A buffer at the next offset.
    pub(crate) fn buffer(
        &mut self,
        name: &str,
        dtype: DType,
        shape: [u32; 3],
        slots: u32,
        pitch: u32,
        swizzle: Swizzle,
    ) -> BufferId {
        let [panels, rows, columns] = shape;
        let align_bytes = if swizzle == Swizzle::None { 16 } else { 1024 };
        let buffer = Buffer {
            name: name.to_owned(),
            dtype,
            rows,
            columns,
            panels,
            slots,
            pitch_bytes: pitch,
            swizzle,
            align_bytes,
            offset_bytes: self.func.shared_bytes.next_multiple_of(align_bytes),
        };
        self.func.shared_bytes = buffer.offset_bytes + buffer.bytes();
        self.func.buffers.push(buffer);
        BufferId(self.func.buffers.len() as u32 - 1)
    }

    /// An array of mbarriers at the next offset.
    pub(crate) fn barrier(&mut self, name: &str, slots: u32, arrivals: u32) -> crate::gpu::BarrierId {
        let offset_bytes = self.func.shared_bytes.next_multiple_of(8);
        self.func.shared_bytes = offset_bytes + 8 * slots;
        self.func.barriers.push(Mbarrier {
            name: name.to_owned(),
            slots,
            arrivals,
            tx_bytes: 0,
            offset_bytes,
        });
        crate::gpu::BarrierId(self.func.barriers.len() as u32 - 1)
    }

    /// The kernel.
    pub(crate) fn done(mut self) -> GpuFunc {
        self.func.body = self.blocks.pop().expect("the body should be open");
        self.func
    }
}

/// An operand through a table.
pub(crate) fn through(var: Var, table: impl IntoIterator<Item = u32>) -> Operand {
    Operand { var, regs: RegMap::Table(table.into_iter().map(|r| r as u16).collect()) }
}
