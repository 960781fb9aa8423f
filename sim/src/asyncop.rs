//! Asynchronous operations: their lowered form, and what is in flight.
//!
//! When an operation takes effect is the launch's policy: at issue, as late as a wait allows, or drawn from
//! the seed. A correct kernel gives the same result under all of them, so running several finds the waits
//! that are missing.

use crate::alu::Slot;
use crate::op::{Addr, AtomOp, AtomType, Reg};
use crate::race::Epoch;

/// A lowered asynchronous instruction.
#[derive(Debug, Clone)]
pub(crate) enum AsyncOp {
    /// `cp.async`: 4, 8 or 16 bytes of every lane.
    Copy {
        dst: Addr,
        src: Addr,
        bytes: u32,
        src_size: Option<Slot>,
        ignore: Option<Slot>,
    },
    CopyCommit,
    /// At most this many of the newest groups stay in flight; `None` waits for all copies, committed or not.
    CopyWait(Option<u32>),
    /// `cp.async.mbarrier.arrive`: arrives when the thread's copies so far are done.
    CopyArrive {
        bar: Addr,
        is_counted: bool,
    },
    BarInit {
        bar: Addr,
        count: Slot,
    },
    BarInval {
        bar: Addr,
    },
    BarArrive {
        bar: Addr,
        count: Option<Slot>,
        tx: Option<Slot>,
        is_drop: bool,
        state: Option<Slot>,
    },
    /// `expect_tx` adds, `complete_tx` takes away.
    BarTx {
        bar: Addr,
        bytes: Slot,
        is_complete: bool,
    },
    BarWait {
        bar: Addr,
        done: Slot,
        phase: PhaseSlot,
        may_suspend: bool,
    },
    BarPending {
        dst: Slot,
        state: Slot,
    },
    Mapa {
        dst: Wide,
        src: Wide,
        rank: Slot,
    },
    GetRank {
        dst: Slot,
        src: Wide,
    },
    /// Any bulk copy or reduction; the thread's lane issues it alone.
    Bulk(Bulk),
    BulkCommit,
    /// Waits until at most `keep` groups are in flight; with `.read` their sources at least, which comes to
    /// the same here.
    BulkWait {
        keep: u32,
    },
    /// `st.async`: stores to another block and counts the bytes on its mbarrier.
    StoreAsync {
        dst: Addr,
        bar: Addr,
        bytes: u32,
        regs: Vec<Reg>,
    },
    ClusterArrive,
    ClusterWait,
    SetMaxReg {
        is_inc: bool,
        count: u32,
    },
}

/// A slot of either width.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wide {
    W(Slot),
    Q(Slot),
}

/// What a wait compares with: a parity, or the state an arrive returned.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PhaseSlot {
    Parity(Slot),
    State(Slot),
}

/// A bulk copy's operands.
#[derive(Debug, Clone)]
pub(crate) struct Bulk {
    pub(crate) what: BulkKind,
    /// The plain global address, or that of the tensor map.
    pub(crate) global: Addr,
    pub(crate) shared: Addr,
    /// Coordinates of a tensor copy, innermost first.
    pub(crate) coordinates: Vec<Slot>,
    /// Bytes of a plain copy.
    pub(crate) bytes: Option<Slot>,
    pub(crate) bar: Option<Addr>,
    pub(crate) multicast: Option<Slot>,
    pub(crate) reduce: Option<(AtomOp, Option<AtomType>)>,
}

/// Direction of a bulk copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BulkKind {
    Load,
    Store,
    /// From this block's shared memory to another's; `global` is the source.
    SharedToShared,
    TensorLoad,
    TensorStore,
}

/// A bulk operation that has been issued and not taken effect.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) b: usize,
    pub(crate) warp: u32,
    pub(crate) lane: u32,
    /// Bulk group of the thread.
    pub(crate) group: u32,
    pub(crate) pc: u32,
    pub(crate) what: TaskKind,
}

/// What a task does when its time comes.
#[derive(Debug, Clone)]
pub(crate) enum TaskKind {
    /// Copies of bytes into the shared memory of some blocks, each then counting on its mbarrier.
    Fill { targets: Vec<usize>, pieces: Vec<Piece>, tx: u32, bar: u32, agent: Epoch },
    /// From shared memory to global memory.
    Drain { pieces: Vec<Piece>, reduce: Option<(AtomOp, AtomType)> },
    /// Bytes that are already known.
    Deliver { target: usize, at: u32, data: Vec<u8>, bar: u32, agent: Epoch },
    /// Copies of a lane, then an arrival.
    CopyArrive { target: usize, mask: u32, bar: u32 },
}

/// One contiguous move of a bulk copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) source: PieceSource,
    /// Shared address inside the block.
    pub(crate) shared: u32,
    pub(crate) bytes: u32,
}

/// The other side of a piece.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PieceSource {
    Global(u64),
    /// Shared address in the issuing block.
    Shared(u32),
    /// An element outside the tensor, repeated.
    Fill([u8; 8]),
}

/// A `cp.async` of a warp that has not taken effect in the lanes of `mask`.
#[derive(Debug, Clone)]
pub(crate) struct InFlightCopy {
    pub(crate) mask: u32,
    pub(crate) dst: [u32; 32],
    pub(crate) src: [u64; 32],
    pub(crate) bytes: u32,
    pub(crate) src_size: [u32; 32],
    /// Group of the copy in each lane's own count.
    pub(crate) group: [u32; 32],
}

/// The `cp.async` state of a warp.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copies {
    pub(crate) in_flight: Vec<InFlightCopy>,
    /// Groups each lane has committed.
    pub(crate) committed: [u32; 32],
}
