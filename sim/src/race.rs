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

mod cell;
mod clock;

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

    /// `cp.async` into shared memory: written by the thread's twin, in its open group.
    pub(crate) fn copy(
        &mut self,
        t: usize,
        place: (usize, usize, usize),
        group: u32,
        pc: u32,
    ) -> Option<Conflict> {
        let epoch = Epoch { unit: self.unit, actor: (self.n_threads + t) as u32, clock: group + 1 };
        // Copies of one thread into the same place are not ordered by their groups either.
        self.record(&[t], place, Use::Write, (epoch, pc), false, false)
    }

    /// The thread has waited for its first `groups` copy groups.
    pub(crate) fn copies_done(&mut self, t: usize, groups: u32) {
        self.threads[t].twin = self.threads[t].twin.max(groups);
    }

    /// The thread's copies so far count on an mbarrier when they are done.
    pub(crate) fn copies_signal(&mut self, t: usize, key: Key, groups: u32) {
        let epoch = Epoch { unit: self.unit, actor: (self.n_threads + t) as u32, clock: groups };
        self.publish(key, epoch);
    }

    fn new_agent(&mut self) -> Epoch {
        let i = self.next_agent;
        self.next_agent = (i + 1) % AGENTS;
        self.agents[i as usize] += 1;
        Epoch { unit: self.unit, actor: (2 * self.n_threads) as u32 + i, clock: self.agents[i as usize] }
    }

    /// A bulk copy that writes shared memory of some blocks.
    pub(crate) fn bulk_write(
        &mut self,
        t: usize,
        places: impl Iterator<Item = (usize, usize, usize)>,
        pc: u32,
    ) -> (Epoch, Option<Conflict>) {
        let agent = self.new_agent();
        let mut conflict = None;
        for place in places {
            let found = self.record(&[t], place, Use::Write, (agent, pc), true, false);
            conflict = conflict.or(found);
        }
        (agent, conflict)
    }

    /// A bulk copy that reads shared memory; ends for the thread with its wait for `group`.
    pub(crate) fn bulk_read(
        &mut self,
        t: usize,
        places: impl Iterator<Item = (usize, usize, usize)>,
        group: u32,
        pc: u32,
    ) -> Option<Conflict> {
        let agent = self.new_agent();
        let mut conflict = None;
        for place in places {
            let found = self.record(&[t], place, Use::Read, (agent, pc), true, false);
            conflict = conflict.or(found);
        }
        self.stores.push((t, group, agent));
        conflict
    }

    /// The thread has waited for its bulk groups before `before`.
    pub(crate) fn bulk_done(&mut self, t: usize, before: u32) {
        let mut done = Vec::new();
        self.stores.retain(|&(owner, group, agent)| {
            let is_due = owner == t && group < before;
            if is_due {
                done.push(agent);
            }
            !is_due
        });
        for agent in done {
            self.threads[t].seen.raise(agent);
            self.threads[t].proxy.raise(agent);
        }
    }

    /// A matrix product that reads shared memory, issued by four warps.
    pub(crate) fn product(
        &mut self,
        (block, group): (usize, usize),
        by: &[usize],
        ranges: impl Iterator<Item = (usize, usize)>,
        commit: u64,
        pc: u32,
    ) -> Option<Conflict> {
        let known =
            self.products.entry((block, group)).or_default().iter().find(|p| p.0 == commit).map(|p| p.1);
        let agent = known.unwrap_or_else(|| {
            let agent = self.new_agent();
            self.products.entry((block, group)).or_default().push((commit, agent));
            agent
        });
        let mut conflict = None;
        for (at, bytes) in ranges {
            let found = self.record(by, (block, at, bytes), Use::Read, (agent, pc), true, false);
            conflict = conflict.or(found);
        }
        conflict
    }

    /// A warp has waited for its products before commit group `before`.
    pub(crate) fn products_done(
        &mut self,
        (block, group): (usize, usize),
        warp_threads: &[usize],
        before: u64,
    ) {
        let Some(products) = self.products.get(&(block, group)) else { return };
        let agents: Vec<Epoch> = products.iter().filter(|p| p.0 < before).map(|p| p.1).collect();
        let mut cache = clock::Cache::default();
        for agent in agents {
            for &t in warp_threads {
                self.threads[t].seen = cache.raised(&self.threads[t].seen, agent);
                self.threads[t].proxy = cache.raised(&self.threads[t].proxy, agent);
            }
        }
        if let Some(products) = self.products.get_mut(&(block, group)) {
            // Other warps may still wait for the newest ones.
            if products.len() > 8 {
                products.drain(..products.len() - 8);
            }
        }
    }

    /// Makes an epoch known to whoever synchronises with `key` later.
    pub(crate) fn publish(&mut self, key: Key, epoch: Epoch) {
        let n = 2 * self.n_threads + AGENTS as usize;
        let sync = self.syncs.entry(key).or_insert_with(|| Sync::new(n));
        sync.seen.raise(epoch);
        sync.proxy.raise(epoch);
    }

    /// Threads release what they have done into `key`.
    pub(crate) fn release(&mut self, threads: impl Iterator<Item = usize>, key: Key) {
        let n = self.n_actors();
        let mut sync = self.syncs.remove(&key).unwrap_or_else(|| Sync::new(n));
        // Threads that left a barrier together share their clocks, which then count once.
        let mut last: Option<usize> = None;
        for t in threads {
            let is_known = last.is_some_and(|l| {
                let (a, b) = (&self.threads[l], &self.threads[t]);
                a.seen.is_shared_with(&b.seen) && a.proxy.is_shared_with(&b.proxy)
            });
            if !is_known {
                sync.seen.join(&self.threads[t].seen);
                sync.proxy.join(&self.threads[t].proxy);
                last = Some(t);
            }
            self.pour_own(t, &mut sync);
            self.threads[t].own += 1;
        }
        self.syncs.insert(key, sync);
    }

    /// All that a thread knows and has done.
    fn pour(&self, t: usize, sync: &mut Sync) {
        sync.seen.join(&self.threads[t].seen);
        sync.proxy.join(&self.threads[t].proxy);
        self.pour_own(t, sync);
    }

    /// What only the thread itself knows so far.
    fn pour_own(&self, t: usize, sync: &mut Sync) {
        let thread = &self.threads[t];
        sync.foreign.join(&thread.foreign);
        sync.seen.raise(Epoch { unit: self.unit, actor: t as u32, clock: thread.own });
        sync.proxy.raise(Epoch { unit: self.unit, actor: t as u32, clock: thread.proxy_own });
        let actor = (self.n_threads + t) as u32;
        if thread.twin > 0 {
            sync.seen.raise(Epoch { unit: self.unit, actor, clock: thread.twin });
            sync.proxy.raise(Epoch { unit: self.unit, actor, clock: thread.proxy_twin });
        }
    }

    /// Threads learn what `key` holds.
    pub(crate) fn acquire(&mut self, threads: impl Iterator<Item = usize>, key: Key) {
        let Some(sync) = self.syncs.get(&key) else { return };
        let mut cache = clock::Cache::default();
        for t in threads {
            let thread = &mut self.threads[t];
            thread.seen = cache.joined(&thread.seen, &sync.seen);
            thread.proxy = cache.joined(&thread.proxy, &sync.proxy);
            thread.foreign.join(&sync.foreign);
        }
    }

    /// A phase of an mbarrier is complete: what arrived so far is what its waiters learn.
    pub(crate) fn turn(&mut self, block: usize, at: usize) {
        if let Some(sync) = self.syncs.get(&Key::Mbar(block, at)).cloned() {
            self.syncs.insert(Key::Phase(block, at), sync);
        }
    }

    /// Forgets a synchronisation whose phase is over.
    pub(crate) fn forget(&mut self, key: Key) {
        self.syncs.remove(&key);
    }

    /// Lanes of a warp synchronise among themselves.
    pub(crate) fn meet(&mut self, threads: &[usize]) {
        let key = Key::Warp;
        self.forget(key);
        self.release(threads.iter().copied(), key);
        self.acquire(threads.iter().copied(), key);
        self.forget(key);
    }

    /// `fence.proxy.async`.
    pub(crate) fn fence_proxy(&mut self, t: usize) {
        let thread = &mut self.threads[t];
        thread.proxy = thread.seen.clone();
        (thread.proxy_own, thread.proxy_twin) = (thread.own, thread.twin);
        // What comes after the fence must not count as fenced.
        thread.own += 1;
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

    /// `membar`, `fence`: what came before is released by the atomics and ordered stores that follow.
    pub(crate) fn fence(&mut self, t: usize) {
        let mut sync = Sync::new(self.n_actors());
        self.pour(t, &mut sync);
        self.threads[t].fenced = Some(sync);
        self.threads[t].own += 1;
    }

    fn n_actors(&self) -> usize {
        2 * self.n_threads + AGENTS as usize
    }

    /// What an atomic or ordered write of a thread gives away, if anything.
    fn given(&mut self, t: usize, releases: bool) -> Option<Sync> {
        if !releases {
            return self.threads[t].fenced.clone();
        }
        let mut sync = Sync::new(self.n_actors());
        self.pour(t, &mut sync);
        self.threads[t].own += 1;
        Some(sync)
    }

    /// An atomic or ordered access of shared memory. Reading always acquires: whether a fence follows on
    /// the reader's side is not checked.
    pub(crate) fn atomic(&mut self, t: usize, key: Key, releases: bool, writes: bool) {
        self.acquire(std::iter::once(t), key);
        if writes && let Some(given) = self.given(t, releases) {
            let n = self.n_actors();
            let sync = self.syncs.entry(key).or_insert_with(|| Sync::new(n));
            sync.seen.join(&given.seen);
            sync.proxy.join(&given.proxy);
            sync.foreign.join(&given.foreign);
        }
    }

    /// The same for global memory, which all units share.
    pub(crate) fn atomic_global(
        &mut self,
        t: usize,
        global: &mut GlobalRace,
        addr: u64,
        releases: bool,
        writes: bool,
    ) {
        if let Some(known) = global.places.get(&addr) {
            for (unit, vc) in known.units() {
                if unit == self.unit {
                    self.threads[t].seen.join(vc);
                } else {
                    self.threads[t].foreign.learn(unit, vc);
                }
            }
        }
        if writes && let Some(given) = self.given(t, releases) {
            let known = global.places.entry(addr).or_default();
            known.learn(self.unit, &given.seen);
            known.join(&given.foreign);
        }
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
