//! What orders threads: barriers, mbarriers, fences and atomics, each a place that clocks are poured into and learnt from.

use super::clock::Sync;
use super::{AGENTS, Epoch, GlobalRace, Key, Race, clock};

impl Race {
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

    /// `membar`, `fence`: what came before is released by the atomics and ordered stores that follow.
    pub(crate) fn fence(&mut self, t: usize) {
        let mut sync = Sync::new(self.n_actors());
        self.pour(t, &mut sync);
        self.threads[t].fenced = Some(sync);
        self.threads[t].own += 1;
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
}
