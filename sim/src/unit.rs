//! A unit of scheduling: the blocks of one cluster (one block without clusters), their warps and barriers.
//!
//! Warps take turns; a slice ends when the warp must wait or its share is used up. The order is round-robin
//! or drawn from the seed, so a run is a function of the seed. When no warp can run, what is pending decides:
//! an asynchronous operation still in flight, a timed wait that may give up, or nothing, which is a deadlock.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::alu::{Class, Slot};
use crate::asyncop::Task;
use crate::device::{Options, Policy};
use crate::exec;
use crate::lower::Kernel;
use crate::memory::{GlobalMemory, Shared};
use crate::op::Inst;
use crate::race::{GlobalRace, Race};
use crate::report::{Finding, FindingKind, Source, Stats};
use crate::warp::{Place, Status, Warp, special_row};
use crate::warpgroup::InFlight;

/// Warp instructions of one slice under the plain schedule.
const SLICE: u32 = 4096;
/// Times all waiting warps are woken without progress before it counts as a deadlock.
const WAKE_UPS: u32 = 3;
/// Different findings kept per unit.
const MAX_FINDINGS: usize = 64;

/// A warp at a barrier: its number, the reduction's destination, its lanes.
pub(crate) type Waiting = (u32, Option<(Class, Slot)>, u32);

/// A named barrier of a block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Barrier {
    pub(crate) arrived: u32,
    pub(crate) expected: Option<u32>,
    /// Warps that wait, with the reduction's destination and lanes.
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) popc: u32,
    pub(crate) contributed: u32,
    pub(crate) fold: Option<crate::op::Fold>,
}

/// One block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Block {
    pub(crate) place: Place,
    pub(crate) warps: Vec<Warp>,
    pub(crate) shared: Shared,
    pub(crate) bars: Vec<Barrier>,
    /// The mbarriers of the block by offset, with the word last written through them.
    pub(crate) mbarriers: BTreeMap<usize, u64>,
    /// Registers given back by setmaxnreg.
    pub(crate) free_regs: u32,
    /// Products in flight by warpgroup.
    pub(crate) groups: Vec<Vec<InFlight>>,
}

/// What a launch gives every unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) global: &'a GlobalMemory,
    pub(crate) params: &'a [u8],
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) dynamic_bytes: u32,
    pub(crate) options: &'a Options,
    /// Shared by all units while races are looked for.
    pub(crate) global_race: &'a Mutex<GlobalRace>,
}

/// What a call of `Unit::run` ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Finished,
    /// The share is used up; there is more to do.
    Unfinished,
}

/// The blocks of one cluster, running.
#[derive(Debug)]
pub(crate) struct Unit<'a> {
    pub(crate) job: Job<'a>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) progress: u64,
    pub(crate) findings: Vec<Finding>,
    pub(crate) stats: Stats,
    pub(crate) rng: Rng,
    /// A finding after which going on makes no sense.
    pub(crate) is_over: bool,
    /// Bulk operations in flight.
    pub(crate) tasks: Vec<Task>,
    pub(crate) cluster_arrived: u32,
    pub(crate) cluster_phase: u32,
    pub(crate) race: Option<Box<Race>>,
    turn: usize,
    wake_ups: u32,
}

/// A small generator; the schedule needs variety, not quality.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z >> 32) * u64::from(n)) >> 32) as u32
    }
}

impl<'a> Unit<'a> {
    pub(crate) fn new(job: Job<'a>) -> Self {
        Unit {
            job,
            blocks: Vec::new(),
            progress: 0,
            findings: Vec::new(),
            stats: Stats::default(),
            rng: Rng::new(job.options.seed),
            is_over: false,
            tasks: Vec::new(),
            cluster_arrived: 0,
            cluster_phase: 0,
            race: None,
            turn: 0,
            wake_ups: 0,
        }
    }

    /// Loads cluster `index` of the grid, keeping the storage of the one before.
    pub(crate) fn load(&mut self, index: u64) {
        let job = self.job;
        let [cx, cy, cz] = job.cluster;
        let clusters = [0, 1].map(|a| u64::from(job.grid[a] / job.cluster[a]));
        let origin = [
            (index % clusters[0]) as u32 * cx,
            (index / clusters[0] % clusters[1]) as u32 * cy,
            (index / (clusters[0] * clusters[1])) as u32 * cz,
        ];
        let kernel = job.kernel;
        let align = kernel.dynamic_align;
        let base = crate::memory::SHARED_BASE;
        let dynamic_start = (base + kernel.static_shared).next_multiple_of(align);
        let total = dynamic_start - base + job.dynamic_bytes;
        let threads: u32 = job.block.iter().product();
        let n_warps = threads.div_ceil(32);
        self.blocks.resize_with((cx * cy * cz) as usize, Block::default);
        for (rank, block) in self.blocks.iter_mut().enumerate() {
            let r = rank as u32;
            let ctaid = [origin[0] + r % cx, origin[1] + r / cx % cy, origin[2] + r / (cx * cy)];
            block.place = Place {
                grid: job.grid,
                block: job.block,
                ctaid,
                cluster: job.cluster,
                rank: r,
                dynamic_start,
                dynamic_bytes: job.dynamic_bytes,
                total_shared: total,
            };
            block.shared.reset(total as usize);
            block.bars.clear();
            block.bars.resize_with(16, Barrier::default);
            let fresh = block.warps.len() != n_warps as usize;
            if fresh {
                block.warps.resize_with(n_warps as usize, Warp::default);
            }
            block.mbarriers.clear();
            block.free_regs = 0;
            block.groups.clear();
            block.groups.resize_with((n_warps / 4) as usize, Vec::new);
            for (w, warp) in block.warps.iter_mut().enumerate() {
                if fresh {
                    warp.regs.w = vec![[0; 32]; kernel.n_w];
                    warp.regs.q = vec![[0; 32]; kernel.n_q];
                    warp.regs.p = vec![0; kernel.n_p];
                    kernel.const_w.iter().for_each(|&(s, v)| warp.regs.w[s as usize] = [v; 32]);
                    kernel.const_q.iter().for_each(|&(s, v)| warp.regs.q[s as usize] = [v; 32]);
                    kernel.const_p.iter().for_each(|&(s, v)| warp.regs.p[s as usize] = v);
                }
                warp.start(w as u32, (threads - 32 * w as u32).min(32));
                warp.max_regs = kernel.entry_regs;
                for &(special, slot) in &kernel.specials {
                    warp.regs.w[slot as usize] = special_row(special, w as u32, &block.place);
                }
                warp.local.clear();
                warp.local.resize(kernel.local_bytes as usize * 32, crate::memory::POISON);
            }
        }
        self.rng = Rng::new(job.options.seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93));
        self.stats.blocks += self.blocks.len() as u64;
        self.is_over = false;
        self.tasks.clear();
        self.cluster_arrived = 0;
        self.cluster_phase = 0;
        self.race = (job.options.race == crate::device::Race::On).then(|| {
            Box::new(Race::new(index as u32, self.blocks.len(), 32 * n_warps as usize, total as usize))
        });
        self.turn = 0;
        self.wake_ups = 0;
    }

    /// Runs warps until the unit is finished or `slices` slices are used up.
    pub(crate) fn run(&mut self, slices: u32) -> Outcome {
        for _ in 0..slices {
            if self.is_over {
                return Outcome::Finished;
            }
            let Some((b, w)) = self.pick() else {
                if !self.tasks.is_empty() {
                    self.perform_some_task();
                    continue;
                }
                if self.blocks.iter().all(|b| b.warps.iter().all(|w| w.status == Status::Done)) {
                    return Outcome::Finished;
                }
                if self.wake() {
                    continue;
                }
                exec::stuck::report_deadlock(self);
                self.is_over = true;
                return Outcome::Finished;
            };
            let share = match self.job.options.policy {
                Policy::Eager | Policy::Lazy if self.job.options.seed == 0 => SLICE,
                Policy::Eager | Policy::Lazy | Policy::Random => 1 + self.rng.below(96),
            };
            let before = self.stats.warp_instructions;
            let progress = self.progress;
            exec::run_slice(self, b, w, share);
            if self.progress != progress {
                self.wake_ups = 0;
            }
            if self.job.options.policy == Policy::Random && self.rng.below(3) == 0 {
                if !self.tasks.is_empty() {
                    self.perform_some_task();
                }
                exec::warpgroup::perform_one(self, b);
            }
            let limit = self.job.options.step_limit;
            if before / limit != self.stats.warp_instructions / limit {
                exec::stuck::report_step_limit(self, b, w);
                self.is_over = true;
            }
        }
        Outcome::Unfinished
    }

    /// The next warp that can run: in turn, or drawn when a seed is given.
    fn pick(&mut self) -> Option<(usize, usize)> {
        let per_block = self.blocks.first()?.warps.len();
        let n = self.blocks.len() * per_block;
        let start = if self.job.options.seed == 0 { self.turn } else { self.rng.below(n as u32) as usize };
        let progress = self.progress;
        for i in 0..n {
            let at = (start + i) % n;
            let (b, w) = (at / per_block, at % per_block);
            let can_run = match self.blocks[b].warps[w].status {
                Status::Ready => true,
                Status::Asleep(at) => at != progress,
                Status::AtBarrier(_)
                | Status::AtCluster
                | Status::AtWarpgroup
                | Status::ForRegisters
                | Status::Done => false,
            };
            if can_run {
                self.turn = at + 1;
                return Some((b, w));
            }
        }
        None
    }

    fn perform_some_task(&mut self) {
        let at = self.rng.below(self.tasks.len() as u32) as usize;
        let task = self.tasks.remove(at);
        exec::bulk::perform(self, task);
    }

    /// Lets timed waits give up, a few times.
    fn wake(&mut self) -> bool {
        let sleepers =
            self.blocks.iter().flat_map(|b| &b.warps).any(|w| matches!(w.status, Status::Asleep(_)));
        if !sleepers || self.wake_ups >= WAKE_UPS {
            return false;
        }
        let rounds = self.wake_ups + 1;
        self.progress += 1;
        self.wake_ups = rounds;
        true
    }

    /// Records a finding at an instruction, once per kind and line.
    pub(crate) fn find(
        &mut self,
        kind: FindingKind,
        b: usize,
        warp: u32,
        lanes: u32,
        inst: &Inst,
        message: impl FnOnce() -> String,
    ) {
        if let Some(f) = self.findings.iter_mut().find(|f| f.kind == kind && f.ptx_line == inst.line) {
            f.occurrences += 1;
            return;
        }
        if self.findings.len() >= MAX_FINDINGS {
            self.is_over = true;
            return;
        }
        let place = &self.blocks[b].place;
        let thread = (lanes != 0).then(|| {
            let linear = warp * 32 + lanes.trailing_zeros();
            let [x, y, _] = place.block;
            [linear % x, linear / x % y, linear / (x * y)]
        });
        let file = self.job.kernel.files.get(&inst.loc.0);
        let source = file.map(|file| Source { file: file.clone(), line: inst.loc.1 });
        self.findings.push(Finding {
            kind,
            message: message(),
            block: place.ctaid,
            thread,
            ptx_line: inst.line,
            source,
            occurrences: 1,
        });
    }
}
