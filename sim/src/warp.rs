//! One warp: registers, and where each of its lanes is.
//!
//! Lanes with the same program counter form a group. The group with the lowest counter runs until it meets
//! another group's counter and merges with it, which is where compilers place reconvergence. A group that
//! waits for lanes elsewhere (a `.sync` instruction) is parked until they arrive; a group that spins without
//! effect sleeps until something changes, so that a lock held by a sister lane is released.

use crate::alu::{LANES, Regs};
use crate::asyncop::Copies;
use crate::op::{LaneMask, Special};
use crate::warpgroup::Flight;

/// Why a warp cannot run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ready,
    /// Waits at a barrier of the block.
    AtBarrier(u32),
    /// Waits for the cluster.
    AtCluster,
    /// Waits for the other warps of its warpgroup.
    AtWarpgroup,
    /// Waits for registers of the block's pool.
    ForRegisters,
    /// Nothing to do until the unit's progress counter moves.
    Asleep(u64),
    Done,
}

/// Lanes at one program counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    /// Lanes that must arrive before the group may run; 0 when it is not parked.
    pub(crate) needs: u32,
    /// Progress at which a wait of the group failed.
    pub(crate) asleep: Option<u64>,
    /// Turns the group was set back for looping while others waited.
    pub(crate) penalty: u32,
}

/// A warp of a block.
#[derive(Debug, Clone)]
pub(crate) struct Warp {
    pub(crate) regs: Regs,
    pub(crate) pc: u32,
    /// Lanes of the running group.
    pub(crate) mask: u32,
    /// The running group merges when it gets here.
    pub(crate) limit: u32,
    pub(crate) groups: Vec<Group>,
    /// Lanes that have not exited.
    pub(crate) live: u32,
    pub(crate) status: Status,
    pub(crate) local: Vec<u8>,
    pub(crate) index: u32,
    pub(crate) penalty: u32,
    pub(crate) back_edges: u32,
    pub(crate) copies: Copies,
    /// Bulk groups each lane has committed.
    pub(crate) bulk_committed: [u32; LANES],
    /// Lanes with bulk stores they have not waited for.
    pub(crate) bulk_open: u32,
    /// Lanes with bulk stores that no group has yet.
    pub(crate) bulk_uncommitted: u32,
    /// Phase of the cluster barrier at which the warp arrived.
    pub(crate) cluster_phase: Option<u32>,
    /// Registers of a thread, as setmaxnreg counts them; 0 when that is not known.
    pub(crate) max_regs: u32,
    pub(crate) flight: Flight,
}

impl Default for Warp {
    fn default() -> Self {
        Warp {
            regs: Regs::default(),
            pc: 0,
            mask: 0,
            limit: u32::MAX,
            groups: Vec::new(),
            live: 0,
            status: Status::Done,
            local: Vec::new(),
            index: 0,
            penalty: 0,
            back_edges: 0,
            copies: Copies::default(),
            bulk_committed: [0; LANES],
            bulk_open: 0,
            bulk_uncommitted: 0,
            cluster_phase: None,
            max_regs: 0,
            flight: Flight::default(),
        }
    }
}

/// What choosing a group found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A group runs.
    Runs,
    /// Every group sleeps until progress.
    Sleeps,
    /// Every group waits for lanes that cannot come.
    Stuck,
    /// No lanes are left.
    Done,
}

impl Warp {
    /// Starts the warp at the kernel's first instruction.
    pub(crate) fn start(&mut self, index: u32, lanes: u32) {
        let full = if lanes >= 32 { u32::MAX } else { (1 << lanes) - 1 };
        self.pc = 0;
        self.mask = full;
        self.live = full;
        self.limit = u32::MAX;
        self.groups.clear();
        self.status = Status::Ready;
        self.index = index;
        self.penalty = 0;
        self.back_edges = 0;
        self.copies.in_flight.clear();
        self.copies.committed = [0; LANES];
        self.bulk_committed = [0; LANES];
        self.bulk_open = 0;
        self.bulk_uncommitted = 0;
        self.cluster_phase = None;
        let n_w = self.regs.w.len();
        self.flight.reset(n_w);
    }

    /// Puts the running group among the others, as it stands.
    pub(crate) fn suspend(&mut self, needs: u32, asleep: Option<u64>) {
        if self.mask != 0 {
            let (pc, mask, penalty) = (self.pc, self.mask, self.penalty);
            self.groups.push(Group { pc, mask, needs, asleep, penalty });
            self.mask = 0;
        }
    }

    /// Splits off lanes to another counter.
    pub(crate) fn fork(&mut self, pc: u32, mask: u32) {
        self.groups.push(Group { pc, mask, needs: 0, asleep: None, penalty: self.penalty });
        self.mask &= !mask;
    }

    /// Merges groups at one counter and picks who runs: the least set back, then the lowest.
    pub(crate) fn choose(&mut self, progress: u64) -> Choice {
        self.suspend(0, None);
        if self.groups.is_empty() {
            return Choice::Done;
        }
        self.groups.sort_by_key(|g| g.pc);
        self.groups.dedup_by(|later, first| {
            let same = later.pc == first.pc;
            if same {
                first.mask |= later.mask;
                first.needs |= later.needs;
                first.asleep = first.asleep.and(later.asleep);
                first.penalty = first.penalty.min(later.penalty);
            }
            same
        });
        let live = self.live;
        let runnable = |g: &Group| g.needs & live & !g.mask == 0 && g.asleep.is_none_or(|at| at != progress);
        let best = (0..self.groups.len())
            .filter(|&i| runnable(&self.groups[i]))
            .min_by_key(|&i| (self.groups[i].penalty, self.groups[i].pc));
        let Some(best) = best else {
            let sleeps = self.groups.iter().any(|g| g.asleep.is_some());
            return if sleeps { Choice::Sleeps } else { Choice::Stuck };
        };
        let group = self.groups.remove(best);
        (self.pc, self.mask, self.penalty) = (group.pc, group.mask, group.penalty);
        self.back_edges = 0;
        self.set_limit();
        Choice::Runs
    }

    /// The next counter at which the running group meets another.
    pub(crate) fn set_limit(&mut self) {
        let pc = self.pc;
        self.limit = self.groups.iter().map(|g| g.pc).filter(|&p| p > pc).min().unwrap_or(u32::MAX);
    }

    /// Lanes leave for good.
    pub(crate) fn exit(&mut self, lanes: u32) {
        self.live &= !lanes;
        self.mask &= !lanes;
    }
}

/// Where a warp's block is, for special registers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) ctaid: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) rank: u32,
    pub(crate) dynamic_start: u32,
    pub(crate) dynamic_bytes: u32,
    pub(crate) total_shared: u32,
}

/// The value of a special register in every lane of a warp.
pub(crate) fn special_row(special: Special, warp: u32, place: &Place) -> [u32; LANES] {
    let [x, y, _] = place.block;
    std::array::from_fn(|i| {
        let lane = i as u32;
        let linear = warp * 32 + lane;
        match special {
            Special::Tid(0) => linear % x,
            Special::Tid(1) => linear / x % y,
            Special::Tid(_) => linear / (x * y),
            Special::NTid(a) => place.block[a],
            Special::Ctaid(a) => place.ctaid[a],
            Special::NCtaid(a) => place.grid[a],
            Special::LaneId => lane,
            Special::WarpId => warp,
            Special::NWarpId => place.block.iter().product::<u32>().div_ceil(32),
            Special::LaneMask(LaneMask::Eq) => 1 << lane,
            Special::LaneMask(LaneMask::Lt) => (1 << lane) - 1,
            Special::LaneMask(LaneMask::Le) => ((1u64 << (lane + 1)) - 1) as u32,
            Special::LaneMask(LaneMask::Gt) => !((1u64 << (lane + 1)) - 1) as u32,
            Special::LaneMask(LaneMask::Ge) => !((1 << lane) - 1),
            Special::ClusterCtaid(a) => place.ctaid[a] % place.cluster[a],
            Special::ClusterNCtaid(a) => place.cluster[a],
            Special::ClusterId(a) => place.ctaid[a] / place.cluster[a],
            Special::NClusterId(a) => place.grid[a] / place.cluster[a],
            Special::ClusterRank => place.rank,
            Special::ClusterSize => place.cluster.iter().product(),
            Special::DynamicShared => place.dynamic_bytes,
            Special::DynamicStart => place.dynamic_start,
            Special::TotalShared => place.total_shared,
            Special::Zero => 0,
            Special::One => 1,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_group_runs_first_and_groups_merge() {
        let mut warp = Warp::default();
        warp.start(0, 32);
        warp.pc = 3;
        warp.fork(9, 0xff);
        assert_eq!(warp.choose(0), Choice::Runs);
        assert_eq!((warp.pc, warp.mask, warp.limit), (3, !0xff, 9));
        warp.pc = 9;
        assert_eq!(warp.choose(0), Choice::Runs);
        assert_eq!((warp.pc, warp.mask, warp.limit), (9, u32::MAX, u32::MAX));
    }

    #[test]
    fn parked_lanes_wait_for_the_named_ones() {
        let mut warp = Warp::default();
        warp.start(0, 32);
        warp.fork(9, 0xff);
        warp.suspend(u32::MAX, None);
        assert_eq!(warp.choose(0), Choice::Runs);
        assert_eq!(warp.mask, 0xff);
        warp.suspend(u32::MAX, None);
        assert_eq!(warp.choose(0), Choice::Stuck);
        warp.groups[1].pc = 0;
        assert_eq!(warp.choose(0), Choice::Runs);
        assert_eq!(warp.mask, u32::MAX);
    }
}
