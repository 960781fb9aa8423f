//! Happens-before race detection with one actor per thread.
//!
//! Every thread has a vector clock, kept as a shared base plus its own count, so that threads which leave a
//! barrier together share one vector. Three kinds of actor exist: threads; each thread's `cp.async` twin,
//! whose count is the copy group; and agents, which stand for bulk copies and matrix products in flight.
//! A second clock per thread holds what the asynchronous proxy may see: `fence.proxy.async` brings it up to
//! the first, and it travels along the same synchronisation.
//!
//! An access is compared with the last write and the reads since of its cell. Barriers, mbarriers, fences
//! with atomics and waits are the only order: lanes of a warp have none without `bar.warp.sync`.

mod agents;
mod cell;
mod clock;
mod order;

use std::collections::{BTreeMap, HashMap};

use cell::{Cell, Granules};
use clock::{Foreign, Sync, Vc};

/// Agents before their numbers are used again.
const AGENTS: u32 = 256;

/// A point in an actor's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epoch {
    /// Cluster of the grid.
    pub(crate) unit: u32,
    pub(crate) actor: u32,
    pub(crate) clock: u32,
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
    /// Atomic, volatile or ordered: no race with its like.
    Atomic,
    /// The same, only reading.
    AtomicRead,
}

/// What two unordered accesses are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The earlier access.
    pub(crate) other: Epoch,
    pub(crate) other_pc: u32,
    pub(crate) other_wrote: bool,
    /// Byte offset in the memory.
    pub(crate) at: usize,
    /// The order is there, but not for the asynchronous proxy.
    pub(crate) only_proxy: bool,
}

/// Something threads synchronise through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Bar(usize, u32),
    /// Arrivals at an mbarrier.
    Mbar(usize, usize),
    /// Its last completed phase.
    Phase(usize, usize),
    /// Lanes of a warp.
    Warp,
    Cluster(u32),
    /// A location of shared memory used atomically.
    Shared(usize, u32),
}

/// One thread's view.
#[derive(Debug, Clone)]
struct Thread {
    seen: Vc,
    foreign: Foreign,
    own: u32,
    /// Groups of its own `cp.async` it has waited for.
    twin: u32,
    /// What the asynchronous proxy may see of it all.
    proxy: Vc,
    proxy_own: u32,
    proxy_twin: u32,
    /// What its last fence covered: the next atomic releases it.
    fenced: Option<Sync>,
}

/// What an actor is, for words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Thread(usize, u32),
    Copy(usize, u32),
    Agent,
    /// An actor of another cluster.
    Foreign(u32),
}

/// Race state of a unit.
#[derive(Debug)]
pub(crate) struct Race {
    unit: u32,
    per_block: usize,
    n_threads: usize,
    threads: Vec<Thread>,
    syncs: HashMap<Key, Sync>,
    shared: Vec<Granules>,
    agents: Vec<u32>,
    next_agent: u32,
    /// Bulk stores by thread: group and agent.
    stores: Vec<(usize, u32, Epoch)>,
    /// Products by block and warpgroup: commit group and agent.
    products: BTreeMap<(usize, usize), Vec<(u64, Epoch)>>,
    /// Initialisations of mbarriers by block and offset.
    inits: BTreeMap<(usize, usize), Init>,
}

/// An `mbarrier.init`: when, where in the code, and whether its thread has made it visible to the asynchronous proxy.
#[derive(Debug, Clone, Copy)]
struct Init {
    epoch: Epoch,
    line: u32,
    is_fenced: bool,
}

/// An mbarrier that is used although its initialisation need not have happened yet for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EarlyUse {
    /// PTX line of the initialisation.
    pub(crate) line: u32,
    /// The order is there, but not for the asynchronous proxy.
    pub(crate) only_proxy: bool,
}

impl Race {
    pub(crate) fn new(unit: u32, n_blocks: usize, per_block: usize, shared_bytes: usize) -> Self {
        let n_threads = n_blocks * per_block;
        let n = 2 * n_threads + AGENTS as usize;
        let zero = Vc::zero(n);
        let thread = Thread {
            seen: zero.clone(),
            foreign: Foreign::default(),
            own: 1,
            twin: 0,
            proxy: zero,
            proxy_own: 0,
            proxy_twin: 0,
            fenced: None,
        };
        Race {
            unit,
            per_block,
            n_threads,
            threads: vec![thread; n_threads],
            syncs: HashMap::new(),
            shared: (0..n_blocks).map(|_| Granules::new(shared_bytes)).collect(),
            agents: vec![0; AGENTS as usize],
            next_agent: 0,
            stores: Vec::new(),
            products: BTreeMap::new(),
            inits: BTreeMap::new(),
        }
    }

    pub(crate) fn thread(&self, b: usize, warp: u32, lane: usize) -> usize {
        b * self.per_block + warp as usize * 32 + lane
    }

    /// Who an epoch belongs to.
    pub(crate) fn who(&self, epoch: Epoch) -> Who {
        if epoch.unit != self.unit {
            return Who::Foreign(epoch.unit);
        }
        let actor = epoch.actor as usize;
        let split = |t: usize| (t / self.per_block, (t % self.per_block) as u32);
        if actor < self.n_threads {
            let (b, t) = split(actor);
            Who::Thread(b, t)
        } else if actor < 2 * self.n_threads {
            let (b, t) = split(actor - self.n_threads);
            Who::Copy(b, t)
        } else {
            Who::Agent
        }
    }

    /// Whether a thread has seen an epoch; `via_proxy`: whether the asynchronous proxy may rely on it.
    fn has_seen(&self, t: usize, epoch: Epoch, via_proxy: bool) -> bool {
        let thread = &self.threads[t];
        if epoch.unit != self.unit {
            return thread.foreign.has_seen(epoch);
        }
        let actor = epoch.actor as usize;
        let (seen, own, twin) = if via_proxy {
            (&thread.proxy, thread.proxy_own, thread.proxy_twin)
        } else {
            (&thread.seen, thread.own, thread.twin)
        };
        let known = seen.get(actor);
        let known = if actor == t {
            known.max(own)
        } else if actor == self.n_threads + t {
            known.max(twin)
        } else {
            known
        };
        known >= epoch.clock
    }

    /// Checks and records a thread's access to shared memory. `same_value`: an unordered write that stores
    /// what is already there harms nobody.
    pub(crate) fn access(
        &mut self,
        t: usize,
        (block, at, bytes): (usize, usize, usize),
        what: Use,
        pc: u32,
        same_value: bool,
    ) -> Option<Conflict> {
        let epoch = Epoch { unit: self.unit, actor: t as u32, clock: self.threads[t].own };
        self.record(&[t], (block, at, bytes), what, (epoch, pc), false, same_value)
    }

    /// Checks an access against the clocks of `by` and records it under `epoch`.
    fn record(
        &mut self,
        by: &[usize],
        (block, at, bytes): (usize, usize, usize),
        what: Use,
        (epoch, pc): (Epoch, u32),
        is_async: bool,
        same_value: bool,
    ) -> Option<Conflict> {
        let mut granules = std::mem::take(&mut self.shared[block]);
        let mut conflict = None;
        granules.visit(at, bytes, |at, cell| {
            if conflict.is_none() && !same_value {
                conflict = self.compare(by, cell, at, what, is_async);
            }
            cell.record(what, epoch, pc, is_async, |e| by.iter().all(|&t| self.has_seen(t, e, false)));
        });
        self.shared[block] = granules;
        conflict
    }

    fn compare(&self, by: &[usize], cell: &Cell, at: usize, what: Use, is_async: bool) -> Option<Conflict> {
        let write = cell.write;
        let both_atomic = matches!(what, Use::Atomic | Use::AtomicRead) && cell.is_atomic;
        if write.clock != 0 && !both_atomic {
            for &t in by {
                let (other, other_pc) = (write, cell.write_pc);
                if !self.has_seen(t, write, false) {
                    return Some(Conflict { other, other_pc, other_wrote: true, at, only_proxy: false });
                }
                // Ordinary writes reach the asynchronous proxy only through a fence.
                if is_async && what == Use::Read && !cell.is_async && !self.has_seen(t, write, true) {
                    return Some(Conflict { other, other_pc, other_wrote: true, at, only_proxy: true });
                }
            }
        }
        if !matches!(what, Use::Read | Use::AtomicRead) {
            for (read, read_pc) in cell.reads() {
                if let Some(_t) = by.iter().find(|&&t| !self.has_seen(t, read, false)) {
                    return Some(Conflict {
                        other: read,
                        other_pc: read_pc,
                        other_wrote: false,
                        at,
                        only_proxy: false,
                    });
                }
            }
        }
        None
    }

    /// `mbarrier.init` by a thread, at a line of the text.
    pub(crate) fn init(&mut self, t: usize, place: (usize, usize), line: u32) {
        let epoch = Epoch { unit: self.unit, actor: t as u32, clock: self.threads[t].own };
        self.inits.insert(place, Init { epoch, line, is_fenced: false });
    }

    /// A use of an mbarrier by a thread, or by a copy of it, which runs in the asynchronous proxy.
    pub(crate) fn use_mbarrier(&self, t: usize, place: (usize, usize), by_copy: bool) -> Option<EarlyUse> {
        let &Init { epoch, line, is_fenced } = self.inits.get(&place)?;
        let is_seen = self.has_seen(t, epoch, false);
        let is_visible = !by_copy || is_fenced || self.has_seen(t, epoch, true);
        (!is_seen || !is_visible).then_some(EarlyUse { line, only_proxy: is_seen })
    }

    /// `fence.mbarrier_init`: the thread's own initialisations are visible to everyone who synchronises with it.
    pub(crate) fn fence_inits(&mut self, t: usize) {
        self.inits.values_mut().filter(|i| i.epoch.actor as usize == t).for_each(|i| i.is_fenced = true);
    }

    fn n_actors(&self) -> usize {
        2 * self.n_threads + AGENTS as usize
    }

    /// Checks and records an access of global memory: allocation, offset, bytes.
    pub(crate) fn access_global(
        &mut self,
        t: usize,
        global: &mut GlobalRace,
        (allocation, at, bytes): (u64, usize, usize),
        what: Use,
        pc: u32,
        same_value: bool,
    ) -> Option<Conflict> {
        let epoch = Epoch { unit: self.unit, actor: t as u32, clock: self.threads[t].own };
        let granules = global.shadows.entry(allocation).or_default();
        let mut conflict = None;
        granules.grow(at + bytes);
        granules.visit(at, bytes, |at, cell| {
            if conflict.is_none() && !same_value {
                conflict = self.compare(&[t], cell, at, what, false);
            }
            cell.record(what, epoch, pc, false, |e| self.has_seen(t, e, false));
        });
        conflict
    }
}

/// What the units of a launch share: the shadow of global memory, and the clocks of its atomic places.
#[derive(Debug, Default)]
pub(crate) struct GlobalRace {
    shadows: HashMap<u64, Granules>,
    places: HashMap<u64, Foreign>,
}
