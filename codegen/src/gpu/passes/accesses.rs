//! Which buffers a statement reads and writes, and how.

use crate::gpu::memory::BufferId;
use crate::gpu::ops::{MatrixOperand, Op, StmtKind};

/// One access of a statement to shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Access {
    /// The buffer.
    pub(super) buffer: BufferId,
    /// Whether it is written.
    pub(super) writes: bool,
    /// Whether the slot of a ring is named: the ring's protocol keeps readers and writers of one ring apart.
    pub(super) in_ring: bool,
}

/// The accesses of a statement itself, not of its blocks.
pub(super) fn accesses(stmt: &StmtKind) -> Vec<Access> {
    let read = |buffer: BufferId, in_ring: bool| Access { buffer, writes: false, in_ring };
    let write = |buffer: BufferId, in_ring: bool| Access { buffer, writes: true, in_ring };
    let operand = |m: &MatrixOperand| match m {
        MatrixOperand::Registers(_) => None,
        MatrixOperand::Shared { buffer, slot, .. } => Some(read(*buffer, slot.is_some())),
    };
    match stmt {
        StmtKind::Set { op, .. } => match op {
            Op::FromShared { buffer, slot, .. } => vec![read(*buffer, slot.is_some())],
            Op::Reduce { scratch, .. } | Op::SumPartials { scratch, .. } => {
                scratch.iter().map(|&b| write(b, false)).collect()
            }
            Op::ArgReduce { values, positions, .. } => {
                values.iter().chain(positions).map(|&b| write(b, false)).collect()
            }
            Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::ClusterId
            | Op::NumClusters
            | Op::ClusterRank
            | Op::Coord(_)
            | Op::Copy(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..)
            | Op::Load { .. }
            | Op::LoadPoint { .. }
            | Op::Gather { .. } => Vec::new(),
        },
        StmtKind::ToShared { buffer, slot, .. } | StmtKind::CopyAsync { buffer, slot, .. } => {
            vec![write(*buffer, slot.is_some())]
        }
        StmtKind::DotShared { a, b, a_slot, b_slot, .. } => {
            vec![read(*a, a_slot.is_some()), read(*b, b_slot.is_some())]
        }
        StmtKind::Mma { a, b, .. } | StmtKind::Wgmma { a, b, .. } => {
            operand(a).into_iter().chain(operand(b)).collect()
        }
        StmtKind::TmaLoad { buffer, .. } => vec![write(*buffer, true)],
        StmtKind::TmaStore { buffer, .. } => vec![read(*buffer, true)],
        StmtKind::StoreMatrix { buffer, .. } => vec![write(*buffer, true)],
        StmtKind::Store { .. }
        | StmtKind::Scatter { .. }
        | StmtKind::Print { .. }
        | StmtKind::Assert { .. }
        | StmtKind::For { .. }
        | StmtKind::While { .. }
        | StmtKind::If { .. }
        | StmtKind::Barrier { .. }
        | StmtKind::CommitCopies
        | StmtKind::WaitCopies { .. }
        | StmtKind::Advance { .. }
        | StmtKind::DotRows { .. }
        | StmtKind::Roles(_)
        | StmtKind::InitBarriers
        | StmtKind::ClusterSync
        | StmtKind::ExpectBytes { .. }
        | StmtKind::WaitBarrier { .. }
        | StmtKind::ArriveBarrier { .. }
        | StmtKind::WaitStores { .. }
        | StmtKind::FenceAsync
        | StmtKind::WgmmaFence
        | StmtKind::WgmmaCommit
        | StmtKind::WgmmaWait { .. }
        | StmtKind::Settle { .. }
        | StmtKind::Turn { .. }
        | StmtKind::GridWait
        | StmtKind::GridRelease => Vec::new(),
    }
}

/// Whether the statement meets at a barrier of its own between its writes and its reads, after which it only reads.
pub(super) fn has_own_barrier(stmt: &StmtKind) -> bool {
    matches!(
        stmt,
        StmtKind::Set {
            op: Op::Reduce { scratch: Some(_), .. }
                | Op::SumPartials { scratch: Some(_), .. }
                | Op::ArgReduce { values: Some(_), .. },
            ..
        }
    )
}
