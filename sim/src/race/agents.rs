//! What goes on beside the threads: `cp.async` copies, bulk copies and matrix products, each with an epoch of its own.
//!
//! A thread learns of their end by waiting: for its copy groups, its bulk groups, its products, or at an mbarrier that they signal.

use super::{AGENTS, Conflict, Epoch, Key, Race, Use, clock};

impl Race {
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
}
