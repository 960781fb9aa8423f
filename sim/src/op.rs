//! Lowered instructions: operands are register slots, names are gone, labels are indices.
//!
//! Immediates, special registers and symbol addresses are slots as well, filled once per warp, so no
//! operation has more than one kind of operand.

use crate::alu::{Alu, AluFn, Class, Slot};
use crate::asyncop::AsyncOp;
use crate::mma::MmaForm;
use crate::parse::Space;
use crate::wgmma::WgmmaForm;

/// A register operand as loads, stores and matrices see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reg {
    /// 32 bits.
    W(Slot),
    /// A 16-bit register: results are cut to 16 bits.
    H(Slot),
    /// 64 bits.
    Q(Slot),
    /// `_`: the result is dropped.
    Sink,
}

/// Base of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    None,
    W(Slot),
    Q(Slot),
}

/// `[base + offset]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addr {
    pub(crate) base: Base,
    pub(crate) offset: i64,
}

/// Strength of a memory access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Weak,
    Relaxed,
    Acquire,
    Release,
    AcqRel,
}

/// A load or store.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) addr: Addr,
    /// Bytes of one element.
    pub(crate) bytes: u32,
    pub(crate) is_signed: bool,
    pub(crate) regs: Vec<Reg>,
    pub(crate) order: Order,
}

/// Read-modify-write operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomOp {
    And,
    Or,
    Xor,
    Cas,
    Exch,
    Add,
    Inc,
    Dec,
    Min,
    Max,
}

/// Element type of a read-modify-write operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomType {
    B16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
    F16,
    Bf16,
    F16x2,
    Bf16x2,
}

/// `atom` or `red`.
#[derive(Debug, Clone)]
pub(crate) struct Atomic {
    pub(crate) space: Space,
    pub(crate) addr: Addr,
    pub(crate) op: AtomOp,
    pub(crate) ty: AtomType,
    /// Empty for `red`.
    pub(crate) dst: Vec<Reg>,
    pub(crate) src: Vec<Reg>,
    /// The new value of a compare-and-swap, whose `src` is the comparand.
    pub(crate) new: Option<Reg>,
    pub(crate) order: Order,
}

/// Which lanes a shuffle reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

/// What a vote computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VoteMode {
    All,
    Any,
    Uni,
    Ballot,
}

/// Reduction of a `redux` or a `bar.red`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fold {
    AddU,
    MinU,
    MaxU,
    MinS,
    MaxS,
    And,
    Or,
    Xor,
    MinF,
    MaxF,
    Popc,
}

/// A barrier operation of the block.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) id: Slot,
    /// Participating threads, `None` for the whole block.
    pub(crate) count: Option<Slot>,
    pub(crate) waits: bool,
    /// Reduction: destination (predicate or register), source predicate, negated.
    pub(crate) red: Option<BarRed>,
}

/// The reduction a barrier carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BarRed {
    pub(crate) fold: Fold,
    pub(crate) dst: (Class, Slot),
    pub(crate) src: Slot,
}

/// What a fence orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FenceKind {
    Cta,
    Cluster,
    Gpu,
    ProxyAsync,
    ProxyOther,
    MbarrierInit,
}

/// `ldmatrix`, `stmatrix`.
#[derive(Debug, Clone)]
pub(crate) struct MatrixMove {
    pub(crate) addr: Addr,
    pub(crate) regs: Vec<Slot>,
    pub(crate) trans: bool,
    pub(crate) is_store: bool,
}

/// `mma.sync`.
#[derive(Debug, Clone)]
pub(crate) struct MmaOp {
    pub(crate) form: MmaForm,
    pub(crate) d: Vec<Slot>,
    pub(crate) a: Vec<Slot>,
    pub(crate) b: Vec<Slot>,
    pub(crate) c: Vec<Slot>,
}

/// `wgmma.mma_async`.
#[derive(Debug, Clone)]
pub(crate) struct WgmmaOp {
    pub(crate) form: WgmmaForm,
    pub(crate) d: Vec<Slot>,
    pub(crate) a: WgmmaA,
    /// Descriptor of B.
    pub(crate) b: Slot,
    /// Predicate: accumulate onto D.
    pub(crate) scale: Slot,
}

/// Where `wgmma` finds A.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WgmmaA {
    Descriptor(Slot),
    Registers([Slot; 4]),
}

/// One instruction's operation.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Alu {
        run: AluFn,
        alu: Alu,
        class: AluClass,
    },
    Bra(u32),
    Exit,
    Trap(String),
    Clock {
        dst: (Class, Slot),
    },
    Load(Box<Access>),
    Store(Box<Access>),
    Atomic(Box<Atomic>),
    Param {
        regs: Vec<Reg>,
        offset: u32,
        bytes: u32,
        is_signed: bool,
    },
    Bar(Box<Bar>),
    BarWarp {
        mask: Slot,
    },
    Fence(FenceKind),
    Shfl {
        mode: ShflMode,
        dst: Slot,
        valid: Option<Slot>,
        src: Slot,
        lane: Slot,
        clamp: Slot,
        mask: Slot,
    },
    Vote {
        mode: VoteMode,
        dst: (Class, Slot),
        src: Slot,
        mask: Slot,
    },
    Match {
        is_all: bool,
        dst: Slot,
        valid: Option<Slot>,
        src: (Class, Slot),
        mask: Slot,
    },
    Redux {
        fold: Fold,
        dst: Slot,
        src: Slot,
        mask: Slot,
    },
    Elect {
        dst: Option<Slot>,
        valid: Slot,
        mask: Slot,
    },
    ActiveMask {
        dst: Slot,
    },
    Matrix(Box<MatrixMove>),
    MovMatrix {
        dst: Slot,
        src: Slot,
    },
    Mma(Box<MmaOp>),
    Async(Box<AsyncOp>),
    Wgmma(Box<WgmmaOp>),
    WgmmaFence,
    WgmmaCommit,
    /// At most this many of the newest groups stay in flight.
    WgmmaWait(u32),
}

/// Classes of an arithmetic operation's operands, for analyses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AluClass {
    pub(crate) dst: Class,
    pub(crate) src: &'static [Class],
    /// A plain copy.
    pub(crate) is_move: bool,
}

/// Guard of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    Always,
    If(Slot),
    Unless(Slot),
}

/// A lowered instruction.
#[derive(Debug, Clone)]
pub(crate) struct Inst {
    pub(crate) op: Op,
    pub(crate) guard: Guard,
    /// 1-based line of the PTX text.
    pub(crate) line: u32,
    /// Source file number and line, 0 when unknown.
    pub(crate) loc: (u32, u32),
}

/// A special register that differs between threads or blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Special {
    Tid(usize),
    NTid(usize),
    Ctaid(usize),
    NCtaid(usize),
    LaneId,
    WarpId,
    NWarpId,
    LaneMask(LaneMask),
    ClusterCtaid(usize),
    ClusterNCtaid(usize),
    ClusterId(usize),
    NClusterId(usize),
    ClusterRank,
    ClusterSize,
    DynamicShared,
    /// Shared address where the dynamic array begins.
    DynamicStart,
    TotalShared,
    Zero,
    One,
}

/// Which `%lanemask_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LaneMask {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The special register of a name that holds 32 bits.
pub(crate) fn special(name: &str) -> Option<Special> {
    let axis = |rest: &str| match rest {
        ".x" => Some(0),
        ".y" => Some(1),
        ".z" => Some(2),
        _ => None,
    };
    type Make = fn(usize) -> Special;
    let vectors: [(&str, Make); 8] = [
        ("%tid", Special::Tid),
        ("%ntid", Special::NTid),
        ("%ctaid", Special::Ctaid),
        ("%nctaid", Special::NCtaid),
        ("%cluster_ctaid", Special::ClusterCtaid),
        ("%cluster_nctaid", Special::ClusterNCtaid),
        ("%clusterid", Special::ClusterId),
        ("%nclusterid", Special::NClusterId),
    ];
    for (head, make) in vectors {
        if let Some(axis) = name.strip_prefix(head).and_then(axis) {
            return Some(make(axis));
        }
    }
    Some(match name {
        "%laneid" => Special::LaneId,
        "%warpid" => Special::WarpId,
        "%nwarpid" => Special::NWarpId,
        "%lanemask_eq" => Special::LaneMask(LaneMask::Eq),
        "%lanemask_lt" => Special::LaneMask(LaneMask::Lt),
        "%lanemask_le" => Special::LaneMask(LaneMask::Le),
        "%lanemask_gt" => Special::LaneMask(LaneMask::Gt),
        "%lanemask_ge" => Special::LaneMask(LaneMask::Ge),
        "%cluster_ctarank" => Special::ClusterRank,
        "%cluster_nctarank" => Special::ClusterSize,
        "%dynamic_smem_size" => Special::DynamicShared,
        "%total_smem_size" => Special::TotalShared,
        "%smid" | "%gridid" => Special::Zero,
        "%nsmid" => Special::One,
        _ => return None,
    })
}
