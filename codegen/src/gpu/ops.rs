//! Operations and statements of the GPU level.
//!
//! An [`Op`] computes into one variable; a [`Stmt`] places it, or does what has an effect. Elementwise operations reuse the rows
//! of THE op table. All tile operands of an elementwise operation have the layout of its result, register for register, but for
//! the register map of the operand.

use super::func::{Block, Var};
use super::memory::{BarrierId, BufferId, TensorMapId};
use crate::diag::Loc;
use crate::ir::{ArgOp, BinaryOp, Const, DType, ReduceOp, UnaryOp};

/// Which register of an operand stands for register `r` of the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegMap {
    /// Register `r`.
    Identity,
    /// Register `table[r]`: a tile of which each thread holds fewer registers than of the result, as after a broadcast.
    Table(Vec<u16>),
}

/// A variable as an operand: a scalar, or a tile through a register map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operand {
    /// The variable.
    pub var: Var,
    /// How its registers line up with the result's.
    pub regs: RegMap,
}

impl Operand {
    /// A variable, register for register.
    #[must_use]
    pub const fn of(var: Var) -> Self {
        Self { var, regs: RegMap::Identity }
    }
}

/// An element index as a function of the coordinates of a tile's element.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Coord {
    /// The coordinate along an axis.
    Axis(u8),
    /// 0.
    Zero,
    /// `sum of coordinate * stride, / div % modulo`: what a reshape makes of coordinates. A modulo of 0 stands for none.
    Digit {
        /// Coordinates and their strides.
        of: Vec<(Coord, u32)>,
        /// Divisor, at least 1.
        div: u32,
        /// Modulus, or 0.
        modulo: u32,
    },
}

/// What computes a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// `const`: a scalar.
    Const(Const),
    /// `program_id`: i32 index of the program along a grid axis.
    ProgramId(u8),
    /// `num_programs`: i32 extent of the grid along an axis.
    NumPrograms(u8),
    /// `cluster_id`: i32 index of the block's cluster, of the block itself without clusters, where blocks walk over programs.
    ClusterId,
    /// `num_clusters`: i32 number of clusters, of blocks without clusters, where blocks walk over programs.
    NumClusters,
    /// `cluster_rank`: i32 index of the block in its cluster.
    ClusterRank,
    /// `coord`: an i32 tile of each element's coordinate.
    Coord(Coord),
    /// `copy`: an operand as it is.
    Copy(Operand),
    /// Elementwise, one operand.
    Unary(UnaryOp, Operand),
    /// Elementwise, two operands.
    Binary(BinaryOp, Operand, Operand),
    /// `fma`: `a * b + c`, rounded once.
    Fma(Operand, Operand, Operand),
    /// `select`: by a bool operand.
    Select(Operand, Operand, Operand),
    /// `cast`: to the element type of the result.
    Cast(Operand),
    /// `dim`: extent of a view's axis.
    ViewDim(Var, u8),
    /// `select_axis`: the view at an index of an axis.
    ViewSelect(Var, u8, Var),
    /// `slice_axis`: the view from a start, of at most a length, along an axis.
    ViewSlice(Var, u8, Var, Var),
    /// `permute_view`: the view with its axes rearranged.
    ViewPermute(Var, Vec<u8>),
    /// `load`: a tile from device memory; element `e` comes from `offsets + coords(e)`.
    Load {
        /// Source view.
        view: Var,
        /// First element per axis of the view.
        offsets: Vec<Var>,
        /// Element index per axis of the view, relative to the offsets.
        coords: Vec<Coord>,
        /// Scalar for elements out of bounds.
        pad: Var,
        /// Neighbouring registers that one access moves; they are neighbours in memory, in bounds together, and aligned.
        vector: u32,
    },
    /// `load_point`: one element, the same for all threads.
    LoadPoint {
        /// Source view.
        view: Var,
        /// Element per axis of the view.
        offsets: Vec<Var>,
        /// Scalar out of bounds.
        pad: Var,
    },
    /// `gather`: element by element at index tiles.
    Gather {
        /// Source view.
        view: Var,
        /// Index tile per axis.
        indices: Vec<Operand>,
        /// Elements to read, or all.
        mask: Option<Operand>,
        /// Scalar for elements not read.
        pad: Var,
    },
    /// `reduce`: along an axis, within registers, then lanes, then warps. Every thread that the result's layout names has it.
    Reduce {
        /// What is done.
        op: ReduceOp,
        /// Tile.
        src: Var,
        /// Axis removed.
        axis: u8,
        /// Where warps exchange partial results; none when one warp holds the axis.
        scratch: Option<BufferId>,
    },
    /// `arg_reduce`: position of the extremum along an axis; scratch as for `reduce`, of pairs (value, position) by rows.
    ArgReduce {
        /// What is sought.
        op: ArgOp,
        /// Tile.
        src: Var,
        /// Axis removed.
        axis: u8,
        /// Values of the warps.
        values: Option<BufferId>,
        /// Positions of the warps.
        positions: Option<BufferId>,
    },
    /// `sum_partials`: adds what the threads hold of one element: lanes and warps that the layout maps to the same element.
    SumPartials {
        /// Tile whose copies are addends.
        src: Var,
        /// Where warps exchange; none when the copies are in one warp.
        scratch: Option<BufferId>,
    },
    /// `from_shared`: element `e` of the result is element `coords(e)` (row, column) of a buffer. What lies beyond the result's
    /// extents is not read and becomes 0.
    FromShared {
        /// The buffer.
        buffer: BufferId,
        /// Slot of its ring; none for the first.
        slot: Option<Var>,
        /// Row and column.
        coords: [Coord; 2],
    },
}

/// A matrix operand of `mma`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MatrixOperand {
    /// Fragments in registers: a tile whose layout is the operand's fragment layout.
    Registers(Var),
    /// A shared tile.
    Shared {
        /// The buffer.
        buffer: BufferId,
        /// Slot of its ring; none for the first.
        slot: Option<Var>,
        /// Whether rows run along K for B, or along K for A: the tile is stored transposed to its role. A is `[M, K]` and B `[N, K]`
        /// when this is false, `[K, M]` and `[K, N]` when it is true.
        k_rows: bool,
    },
}

/// Shape of one `mma.sync`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MatrixShape {
    /// 16 x 8 x 16, f16 or bf16 operands, f32 accumulators.
    M16N8K16,
    /// 16 x 8 x 32, 8-bit operands.
    M16N8K32,
}

/// How `wgmma` operands lie; see [`StmtKind::Wgmma`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Warpgroup {
    /// Warpgroups that share the accumulator, along M.
    pub n_groups: u32,
    /// Columns of one instruction, a multiple of 8 up to 256.
    pub n: u32,
}

/// Who arrives at an mbarrier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arrive {
    /// One lane of each warp of the role, for what its lanes do as one: matrix products, complete for all lanes once waited for.
    /// Lanes that read for themselves arrive as threads.
    Warp,
    /// Every thread of the role.
    Thread,
    /// As `Warp`, at the same mbarrier of every block of the cluster.
    Cluster,
}

/// What a tensor copy to shared memory fills.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Filled {
    /// Rows of the panel from this one on, in the block itself.
    Own {
        /// First row.
        row: u32,
    },
    /// The share of the block's rank, as many rows as the box has, in every block of the cluster; each block's mbarrier counts what
    /// arrives there. The blocks' shares together are the panel.
    Cluster,
}

/// What the two warpgroups of a role do about whose turn it is. Each has a named barrier of the role's 256 threads, at which it
/// waits and the other one arrives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Turn {
    /// The first warpgroup has the first turn.
    Open,
    /// Waits for the turn of this warpgroup.
    Take,
    /// Gives the turn to the other one.
    Pass,
    /// The last turn given comes to nothing.
    Close,
}

impl Turn {
    /// All, in the order in which a role comes by them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Take, Self::Pass, Self::Close];

    /// The word in the text form.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Take => "take",
            Self::Pass => "pass",
            Self::Close => "close",
        }
    }
}

/// Warps that run a block of their own. Nothing in it meets all threads of the block: barriers have the role's number, and
/// reductions across warps do not stand in roles. In a producer the thread that announces bytes is the one that starts copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// What the warps do, such as `producer`.
    pub name: String,
    /// First warp.
    pub first_warp: u32,
    /// Number of warps.
    pub n_warps: u32,
    /// Warps of these that run the body, the first ones; the others go to the end at once. A producer needs one.
    pub active_warps: u32,
    /// Registers per thread that the role asks for (`setmaxnreg`); 0 when it keeps what it has.
    pub registers: u32,
    /// Whether `registers` is fewer than at entry.
    pub releases: bool,
    /// What they run.
    pub body: Block,
}

/// One statement and where the author wrote what it does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where the author wrote it.
    pub loc: Loc,
}

/// What a statement does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StmtKind {
    /// `let` or assignment: a variable gets the value of an operation.
    Set {
        /// The variable.
        dst: Var,
        /// How.
        op: Op,
    },
    /// `store`: element `e` of the tile goes to `offsets + coords(e)`; what is out of bounds is not written.
    Store {
        /// Target view.
        view: Var,
        /// First element per axis.
        offsets: Vec<Var>,
        /// Element index per axis relative to the offsets.
        coords: Vec<Coord>,
        /// Tile or scalar.
        src: Var,
        /// Neighbouring registers that one access moves.
        vector: u32,
    },
    /// `scatter`: element by element at index tiles.
    Scatter {
        /// Target view.
        view: Var,
        /// Index tile per axis.
        indices: Vec<Operand>,
        /// Values.
        src: Operand,
        /// Elements to write, or all.
        mask: Option<Operand>,
    },
    /// `print`: a label and values.
    Print {
        /// Text before the values.
        label: String,
        /// Tiles or scalars.
        values: Vec<Var>,
    },
    /// `assert`: leaves the number of the message in the launch's status and ends the block when any element is false.
    Assert {
        /// Bool tile or scalar.
        cond: Var,
        /// Number of the message in [`super::GpuFunc::assertions`].
        message: u32,
    },
    /// `for`: while `iv < hi`, with `iv += step`.
    For {
        /// Induction variable, i32.
        iv: Var,
        /// First value.
        lo: Var,
        /// Bound, exclusive.
        hi: Var,
        /// Step, positive.
        step: Var,
        /// The body.
        body: Block,
    },
    /// `while`: runs `test`, ends unless `cond`, runs `body`, and again.
    While {
        /// Computes `cond`.
        test: Block,
        /// Bool scalar.
        cond: Var,
        /// The body.
        body: Block,
    },
    /// `if`: by a bool scalar.
    If {
        /// Bool scalar.
        cond: Var,
        /// When true.
        then_block: Block,
        /// When false.
        else_block: Block,
    },
    /// `barrier`: all threads of the block, or of the role, meet (`bar.sync` with the role's own number).
    Barrier {
        /// Number of the barrier; 0 is that of the whole block.
        id: u32,
        /// Threads that meet.
        n_threads: u32,
    },
    /// `to_shared`: element `e` of a tile goes to `coords(e)` (row, column) of a buffer.
    ToShared {
        /// The tile.
        src: Var,
        /// The buffer.
        buffer: BufferId,
        /// Slot of its ring; none for the first.
        slot: Option<Var>,
        /// Row and column.
        coords: [Coord; 2],
        /// Neighbouring registers that one access moves.
        vector: u32,
    },
    /// `copy_async`: a tile from device memory to a slot by `cp.async`, zero where out of bounds; all threads of the role take part.
    CopyAsync {
        /// Source view of rank 2 or more; the last two of `axes` are the buffer's rows and columns.
        view: Var,
        /// First element per axis.
        offsets: Vec<Var>,
        /// Axis of the view that runs along the buffer's rows.
        row_axis: u8,
        /// Axis of the view that runs along the buffer's columns; its stride is 1.
        column_axis: u8,
        /// The buffer.
        buffer: BufferId,
        /// Slot of its ring; none for the first.
        slot: Option<Var>,
        /// Bytes of one copy: 4, 8 or 16, which lie in bounds together or not at all.
        bytes: u32,
        /// Bool scalar; when false everything is filled with zeros and nothing is read. None when always true.
        guard: Option<Var>,
    },
    /// `commit`: what this thread copied since the last one becomes a group.
    CommitCopies,
    /// `wait_copies`: until at most so many of this thread's groups are under way.
    WaitCopies {
        /// Groups that may be under way.
        pending: u32,
    },
    /// `advance`: to the next slot of a ring; the phase turns over with it.
    Advance {
        /// i32 slot.
        slot: Var,
        /// i32 phase, 0 or 1; none when nobody waits by phase.
        phase: Option<Var>,
        /// Slots of the ring.
        slots: u32,
    },
    /// `dot`: `acc += a b` by fused multiply-adds, each thread the elements it holds; `a` `[batch * M, K]`, `b` `[batch * N, K]` or
    /// `[batch * K, N]` in shared memory.
    DotShared {
        /// Accumulator tile `[M, N]` or `[batch, M, N]`, f32 or i32.
        acc: Var,
        /// Left operand's buffer.
        a: BufferId,
        /// Whether `a` is stored `[K, M]`.
        a_k_rows: bool,
        /// Right operand's buffer.
        b: BufferId,
        /// Whether `b` is stored `[K, N]`.
        b_k_rows: bool,
        /// Extent of K.
        k: u32,
        /// Slot of `a`'s ring.
        a_slot: Option<Var>,
        /// Slot of `b`'s ring.
        b_slot: Option<Var>,
    },
    /// `dot_rows`: `acc += a b` in registers: for each register of `b` (element `(k, n)` by its coordinates) and each `m`.
    DotRows {
        /// Accumulator `[M, N]`, f32 or i32; its copies are addends, see [`Op::SumPartials`].
        acc: Var,
        /// Left operand `[M, K]`.
        a: Var,
        /// Right operand.
        b: Var,
        /// Per register of `b`: the register of `acc` for m = 0 and that of `a`; further rows follow at the strides.
        lanes: Vec<(u16, u16)>,
        /// Rows of `a` and `acc`.
        m: u32,
        /// Registers between rows of `acc`, and of `a`.
        strides: (u16, u16),
    },
    /// `mma`: `acc += a b` by `mma.sync`, the warps as `warps_m` by `warps_n` over the tile.
    Mma {
        /// Accumulator `[M, N]` in the instruction's layout.
        acc: Var,
        /// Left operand.
        a: MatrixOperand,
        /// Right operand.
        b: MatrixOperand,
        /// Element type of `a` and `b`.
        dtype: DType,
        /// The instruction.
        shape: MatrixShape,
        /// Warps along M and N.
        warps: (u32, u32),
        /// Tile extents M (rows that the accumulator covers), N and K.
        extents: (u32, u32, u32),
        /// Rows that operand A has; more of the accumulator's rows read the last one.
        a_rows: u32,
        /// Rows (of N) that operand B has, likewise.
        b_rows: u32,
    },
    /// `roles`: each range of warps runs its own block.
    Roles(Vec<Role>),
    /// `init_barriers`: one thread sets all mbarriers up, and the block waits for it.
    InitBarriers,
    /// `cluster_sync`: all threads of the cluster's blocks meet; what was done to shared memory before is known to all after.
    ClusterSync,
    /// `expect`: one thread announces the bytes of a phase and arrives.
    ExpectBytes {
        /// The array.
        barrier: BarrierId,
        /// Its element.
        slot: Var,
        /// Bytes.
        bytes: u32,
    },
    /// `wait`: until the phase of this parity is complete.
    WaitBarrier {
        /// The array.
        barrier: BarrierId,
        /// Its element; none for the first.
        slot: Option<Var>,
        /// Parity, 0 or 1.
        phase: Var,
    },
    /// `arrive`: at an mbarrier.
    ArriveBarrier {
        /// The array.
        barrier: BarrierId,
        /// Its element; none for the first.
        slot: Option<Var>,
        /// Who arrives.
        by: Arrive,
    },
    /// `tma_load`: one thread starts the copy of a box into a slot; it signals the mbarrier's element of the same slot.
    TmaLoad {
        /// The tensor map.
        map: TensorMapId,
        /// First element per axis of the parameter, outermost first.
        coords: Vec<Var>,
        /// The buffer.
        buffer: BufferId,
        /// Slot of buffer and mbarrier.
        slot: Option<Var>,
        /// Panel of the slot.
        panel: u32,
        /// Which of its rows, and where.
        fills: Filled,
        /// The mbarrier.
        barrier: BarrierId,
    },
    /// `tma_store`: one thread starts the copy of a slot out to a box.
    TmaStore {
        /// The tensor map.
        map: TensorMapId,
        /// First element per axis of the parameter, outermost first.
        coords: Vec<Var>,
        /// The buffer.
        buffer: BufferId,
        /// Panel of the first slot.
        panel: u32,
        /// First row of the panel, in rows.
        row: u32,
    },
    /// `wait_stores`: until what this thread's stores read (or wrote, with `complete`) is done, but for the last groups. A run of
    /// tensor stores that nothing else stands between is one group.
    WaitStores {
        /// Groups that may be under way.
        pending: u32,
        /// Whether the writes must be visible, not just the source free.
        complete: bool,
    },
    /// `fence_async`: orders this thread's shared-memory accesses before asynchronous ones that follow a barrier.
    FenceAsync,
    /// `wgmma_fence`: registers written by ordinary instructions become visible to the matrix unit.
    WgmmaFence,
    /// `wgmma`: `acc = a b` or `acc += a b`, issued for the whole K of the operands, asynchronously.
    Wgmma {
        /// Accumulator in the instruction's layout.
        acc: Var,
        /// Left operand.
        a: MatrixOperand,
        /// Right operand, shared.
        b: MatrixOperand,
        /// Element type of `a` and `b`.
        dtype: DType,
        /// Warpgroups and columns.
        groups: Warpgroup,
        /// Tile extents M, N and K.
        extents: (u32, u32, u32),
        /// Bool scalar: whether to add to what the accumulator holds; none for always.
        accumulate: Option<Var>,
    },
    /// `wgmma_commit`: what was issued becomes a group.
    WgmmaCommit,
    /// `wgmma_wait`: until at most so many groups are under way; the accumulators named may be read then.
    WgmmaWait {
        /// Groups that may be under way.
        pending: u32,
        /// Accumulators that are complete.
        done: Vec<Var>,
    },
    /// `settle`: what comes after in the program starts after these have been computed. The compiler moves waits up to where
    /// nothing they guard is used before, past the work that was meant to be done meanwhile; this holds them down.
    Settle {
        /// Tiles of 32-bit elements.
        values: Vec<Var>,
    },
    /// `turn`: two warpgroups of a role alternate; barriers `first` and `first + 1` are theirs.
    Turn {
        /// What is done.
        turn: Turn,
        /// Number of the first warpgroup's barrier.
        first: u32,
    },
    /// `store_matrix`: columns of a 16-bit tile in the accumulator layout go to a shared panel by `stmatrix`.
    StoreMatrix {
        /// The tile.
        src: Var,
        /// The first of its columns; as many follow as the panel has.
        column: u32,
        /// The buffer.
        buffer: BufferId,
        /// The panel of its first slot.
        panel: u32,
    },
    /// `grid_wait`: until the launch before this one has finished (programmatic dependent launch).
    GridWait,
    /// `grid_release`: the launch after this one may begin.
    GridRelease,
}
