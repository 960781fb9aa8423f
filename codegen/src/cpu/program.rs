//! The compiled form of a kernel for the CPU: a flat list of instructions over registers, view slots and arena buffers.
//!
//! Everything here is plain immutable data with numbers resolved: running it neither allocates nor looks anything up by name.
//! Scalars live in 64-bit registers (floats as f32 bits whatever their type, integers up to 32 bits as i32 bits, i64 whole);
//! tiles live in arena buffers, row-major, four bytes an element (eight for i64).

use super::micro;
use crate::diag::Loc;
use crate::ir::{ArgOp, BinaryOp, DType, MAX_RANK, ReduceOp, UnaryOp};

/// Index of a scalar register.
pub(crate) type Reg = u32;
/// Index of a view slot.
pub(crate) type Slot = u32;
/// Index of an arena buffer.
pub(crate) type Buf = u32;

/// Bytes of a last-level cache that nobody has asked the machine about.
pub(crate) const LAST_LEVEL_CACHE_BYTES: usize = 32 << 20;

/// No axis.
pub(crate) const NO_AXIS: u8 = u8::MAX;

/// One instruction.
#[derive(Clone, Debug)]
pub(crate) enum Inst {
    Const {
        dst: Reg,
        bits: u64,
    },
    ProgramId {
        dst: Reg,
        axis: u8,
    },
    NumPrograms {
        dst: Reg,
        axis: u8,
    },
    Mov {
        dst: Reg,
        src: Reg,
    },
    Unary {
        op: UnaryOp,
        dtype: DType,
        dst: Reg,
        a: Reg,
    },
    Binary {
        op: BinaryOp,
        dtype: DType,
        dst: Reg,
        a: Reg,
        b: Reg,
    },
    Fma {
        dtype: DType,
        dst: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
    },
    Select {
        dst: Reg,
        cond: Reg,
        a: Reg,
        b: Reg,
    },
    Cast {
        from: DType,
        to: DType,
        dst: Reg,
        a: Reg,
    },
    ViewDim {
        dst: Reg,
        view: Slot,
        axis: u8,
    },
    ViewSelect {
        dst: Slot,
        view: Slot,
        axis: u8,
        index: Reg,
        size: u8,
    },
    ViewSlice {
        dst: Slot,
        view: Slot,
        axis: u8,
        start: Reg,
        len: Reg,
        size: u8,
    },
    ViewPermute {
        dst: Slot,
        view: Slot,
        perm: [u8; MAX_RANK],
    },
    ViewMov {
        dst: Slot,
        src: Slot,
    },
    /// Reads one element of a view.
    LoadPoint {
        dst: Reg,
        point: u32,
    },
    /// Writes one element of a view.
    StorePoint {
        src: Reg,
        point: u32,
    },
    /// Reads the first element of a buffer.
    ReadElem {
        dst: Reg,
        src: Buf,
        wide: bool,
    },
    /// Runs a fused elementwise group.
    Group(u32),
    /// Runs a matrix product.
    Dot(u32),
    CopyTile {
        dst: Buf,
        src: Buf,
        bytes: u32,
    },
    ArgReduce {
        op: ArgOp,
        dtype: DType,
        dst: Buf,
        src: Buf,
        outer: u32,
        axis: u32,
        inner: u32,
    },
    Print(u32),
    Assert(u32),
    Jump(u32),
    JumpUnless {
        cond: Reg,
        target: u32,
    },
    /// `iv = lo`, or to `exit` when the loop has no iteration.
    ForEnter {
        iv: Reg,
        lo: Reg,
        hi: Reg,
        step: Reg,
        exit: u32,
        loc: Loc,
    },
    /// `iv += step`, and back to `body` while `iv < hi`.
    ForNext {
        iv: Reg,
        hi: Reg,
        step: Reg,
        body: u32,
    },
}

/// One element of a view, at offsets in registers.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub view: Slot,
    pub dtype: DType,
    pub rank: u8,
    pub offsets: [Reg; MAX_RANK],
    /// Value out of bounds or where the mask is false.
    pub pad: Option<Reg>,
    pub mask: Option<Reg>,
}

/// How a group or a dot addresses a view: the view's axes against the iteration's axes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MemAccess {
    pub view: Slot,
    pub dtype: DType,
    pub rank: u8,
    /// Element offset per view axis; `None` is zero (gather and scatter, whose indices are data).
    pub offsets: [Option<Reg>; MAX_RANK],
    /// Iteration axis per view axis, or [`NO_AXIS`] where the tile has extent 1.
    pub axes: [u8; MAX_RANK],
    pub pad: Option<Reg>,
    pub is_store: bool,
    /// Indices are data: bounds are checked element by element and the access may touch the whole view.
    pub is_indexed: bool,
}

/// An operand of a strip operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operand {
    /// A strip.
    Row(u32),
    /// One element, at a strip slot's address, for every element of the strip.
    One(u32),
    /// A register for every element.
    Reg(Reg),
}

/// Whether the producer of a stored strip has a form that stores past the caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Past {
    Itself,
    ByCopy,
}

/// Where a strip slot's address comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SlotKind {
    /// A strip buffer in scratch, at this byte offset.
    Scratch(u32),
    /// A tile with the iteration's own order.
    Linear { buf: Buf, size: u8 },
    /// A tile addressed by row coordinates and column (rows one at a time, elements of a row adjacent or repeated).
    RowOf { buf: Buf, size: u8, strides: [u32; MAX_RANK], col_stride: u32 },
    /// Set by a fetch: memory itself or the scratch strip at this byte offset.
    Fetched(u32),
    /// What the store behind its producer writes: the memory of this access where the strip is whole there, else the scratch strip
    /// at this byte offset.
    Stored { mem: u32, at: u32, past: Past },
}

/// Sum of signed registers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct IotaBase {
    pub add: Vec<Reg>,
    pub sub: Vec<Reg>,
}

/// One step over a strip.
#[derive(Clone, Debug)]
pub(crate) enum StripOp {
    /// Widens rows of a view.
    Fetch {
        dst: u32,
        mem: u32,
    },
    /// Reads rows of a tile at strides.
    FetchTile {
        dst: u32,
        buf: Buf,
        size: u8,
        strides: [u32; MAX_RANK],
        col_stride: u32,
        once: bool,
    },
    /// Coordinate along an iteration axis plus registers.
    Iota {
        dst: u32,
        axis: u8,
        base: IotaBase,
        once: bool,
    },
    /// One value throughout.
    Fill {
        dst: u32,
        dtype: DType,
        a: Operand,
        once: bool,
    },
    Unary {
        op: UnaryOp,
        dtype: DType,
        dst: u32,
        a: u32,
    },
    Binary {
        op: BinaryOp,
        dtype: DType,
        dst: u32,
        a: Operand,
        b: Operand,
    },
    Fma {
        dtype: DType,
        dst: u32,
        a: Operand,
        b: Operand,
        c: Operand,
    },
    Select {
        dtype: DType,
        dst: u32,
        cond: Operand,
        a: Operand,
        b: Operand,
    },
    Cast {
        from: DType,
        to: DType,
        dst: u32,
        a: u32,
    },
    Exp2Affine {
        dst: u32,
        a: Operand,
        s: Operand,
        b: Operand,
    },
    ExpSub {
        dst: u32,
        a: Operand,
        b: Operand,
    },
    Exp2Sub {
        dst: u32,
        a: Operand,
        b: Operand,
    },
    /// Powers of differences, and the sum of every row of them along the columns.
    ExpSum {
        base: micro::Base,
        dst: u32,
        a: Operand,
        b: Operand,
        sum: Buf,
    },
    Gather {
        dst: u32,
        mem: u32,
        indices: Vec<Operand>,
        mask: Option<Operand>,
    },
    Copy {
        dst: u32,
        a: u32,
        size: u8,
    },
    Store {
        mem: u32,
        a: Operand,
    },
    Scatter {
        mem: u32,
        indices: Vec<Operand>,
        mask: Option<Operand>,
        a: Operand,
    },
    /// Reduces every row of the strip along the columns.
    ReduceRows {
        op: ReduceOp,
        dtype: DType,
        dst: Buf,
        a: u32,
    },
    /// Accumulates rows along an outer axis.
    ReduceCols {
        op: ReduceOp,
        dtype: DType,
        dst: Buf,
        a: u32,
        axis: u8,
        strides: [u32; MAX_RANK],
        col_stride: u32,
    },
}

/// A fused chain of elementwise operations over one iteration space, run strip by strip.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Extents of the outer axes; the product is `rows`.
    pub outer: Vec<u32>,
    pub rows: u32,
    pub cols: u32,
    /// Rows of a strip (1 when a row is cut in segments).
    pub strip_rows: u32,
    /// Columns of a strip.
    pub strip_cols: u32,
    pub mems: Vec<MemAccess>,
    pub slots: Vec<SlotKind>,
    pub ops: Vec<StripOp>,
    /// Reduced tiles of a narrow type, rounded at the end: type, buffer, elements.
    pub rounds: Vec<(DType, Buf, u32)>,
    /// Strip buffers together.
    pub scratch_bytes: u32,
    /// A tile that a group before this one has read, from memory that is now free to bring the next program's.
    pub ahead: Option<MemAccess>,
    /// Whether an operation asks for that while it computes.
    pub asks_in_step: bool,
    /// Whether a load and a store, or two stores, may meet in memory.
    pub may_alias: bool,
}

/// An operand of a matrix product.
#[derive(Clone, Debug)]
pub(crate) enum DotSide {
    /// A tile in the arena; strides in elements: batch, row, column.
    Tile { buf: Buf, strides: [u32; 3] },
    /// Straight from memory; iteration axes 0, 1, 2 are batch, row, column.
    View(MemAccess),
}

/// A matrix product `c += a * b`, in place.
#[derive(Clone, Debug)]
pub(crate) struct DotPlan {
    pub is_int: bool,
    pub batch: u32,
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub a: DotSide,
    pub b: DotSide,
    pub c: Buf,
    /// Room for a copied A.
    pub a_pack: Option<Buf>,
    pub a_pack_stride: u32,
    /// Room for B in panels.
    pub b_pack: Option<Buf>,
    /// The B of the next product, where its place is known already: its beginning is asked for while this one runs.
    pub ahead: Option<MemAccess>,
}

/// A value to show.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    Reg { reg: Reg, dtype: DType },
    Tile { buf: Buf, dtype: DType, elements: u32 },
}

/// `print`.
#[derive(Clone, Debug)]
pub(crate) struct PrintPlan {
    pub label: String,
    pub values: Vec<Shown>,
}

/// `assert`.
#[derive(Clone, Debug)]
pub(crate) struct AssertPlan {
    pub cond: Shown,
    pub message: String,
    pub loc: Loc,
}

/// A parameter as `run` unpacks it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ParamKind {
    /// `write_only`: stored to and never read.
    View {
        slot: Slot,
        dtype: DType,
        rank: u8,
        write_only: bool,
    },
    Scalar {
        reg: Reg,
        dtype: DType,
    },
}

/// A kernel compiled for the CPU; immutable, shared by all workers.
#[derive(Clone, Debug)]
pub struct CpuProgram {
    pub(crate) name: String,
    pub(crate) isa: micro::Isa,
    pub(crate) params: Vec<ParamKind>,
    pub(crate) n_regs: u32,
    pub(crate) n_views: u32,
    pub(crate) insts: Vec<Inst>,
    pub(crate) points: Vec<Point>,
    pub(crate) groups: Vec<Group>,
    pub(crate) dots: Vec<DotPlan>,
    pub(crate) prints: Vec<PrintPlan>,
    pub(crate) asserts: Vec<AssertPlan>,
    /// Byte offset of every buffer.
    pub(crate) buf_offsets: Vec<u32>,
    /// Scratch strips start here.
    pub(crate) scratch_offset: u32,
    pub(crate) arena_bytes: u32,
    pub(crate) max_slots: u32,
    pub(crate) max_mems: u32,
    /// Of the machine; see [`Self::kept_bytes`].
    pub(crate) last_level_cache_bytes: usize,
}

impl CpuProgram {
    /// Outputs larger than this are stored past the caches.
    ///
    /// Where a kernel streams, what it reads passes through the cache as well, and half a cache of output does not last until the
    /// next kernel. A product reads its operands many times, and its output is little beside them.
    pub(crate) const fn kept_bytes(&self) -> usize {
        if self.dots.is_empty() {
            (self.last_level_cache_bytes / 2).saturating_sub(1)
        } else {
            self.last_level_cache_bytes
        }
    }
}
