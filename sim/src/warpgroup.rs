//! What a warpgroup has in flight: matrix products issued and not yet waited for.
//!
//! The four warps meet at every `wgmma.mma_async`; a product then belongs to the warpgroup. Its registers
//! are in flight in each warp until that warp's `wait_group`: ordinary instructions may neither read nor
//! write them. Compilers copy accumulators with `mov` all the same (and fold the copies away later), so a
//! copy of a register in flight is in flight too, and gets the result when it comes.

use crate::alu::Slot;
use crate::op::WgmmaA;
use crate::wgmma::{Initial, Wgmma};

/// A product that some warp has not waited for.
#[derive(Debug, Clone)]
pub(crate) struct InFlight {
    pub(crate) product: Wgmma,
    pub(crate) initial: Initial,
    pub(crate) d: Vec<Slot>,
    pub(crate) a: WgmmaA,
    /// Commit group in the warps' count.
    pub(crate) group: u64,
    pub(crate) is_done: bool,
    /// Copies made while in flight: warp, from, to.
    pub(crate) aliases: Vec<(u32, Slot, Slot)>,
    /// Warps that have waited, one bit each.
    pub(crate) waited: u8,
    pub(crate) pc: u32,
}

/// A warp's side of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flight {
    pub(crate) committed: u64,
    /// Fences executed.
    pub(crate) fences: u32,
    /// Fences executed when a register was last computed by ordinary means, plus one.
    pub(crate) spoiled: Vec<u32>,
    /// Products in flight by destination register.
    pub(crate) count: Vec<u16>,
    pub(crate) total: u32,
}

impl Flight {
    pub(crate) fn reset(&mut self, n_w: usize) {
        self.committed = 0;
        self.fences = 0;
        self.spoiled.clear();
        self.spoiled.resize(n_w, 0);
        self.count.clear();
        self.count.resize(n_w, 0);
        self.total = 0;
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        self.count[slot as usize] += 1;
        self.total += 1;
    }

    pub(crate) fn remove(&mut self, slot: Slot) {
        self.count[slot as usize] -= 1;
        self.total -= 1;
    }
}
