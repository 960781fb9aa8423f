//! Runs the events of the roles against each other and finds what nothing puts in order.
//!
//! Every role has a clock: how far it knows each role to have come, and how many phases of each mbarrier it knows to be complete.
//! A wait takes over the clocks of all who arrived. Inside a role all threads do the same, so an access is in order with an
//! earlier one of the role when a barrier lies between them (their *epochs* differ). An access that goes on after its statement
//! (a copy, a warpgroup product, a tensor store) is *in flight* until what waits for it.
//!
//! One block stands for all of a cluster: what it sends to the others, it gets from them. So a clock has a second half, which
//! says how far the same roles of another block are known to have come; an arrival in the cluster hands on both halves, the
//! other way round for the second. That all blocks do the same is checked in `cluster`.

mod turns;
mod waits;

use super::trace::{Cell, Event, EventKind, Run, Trace};
use super::{Stage, Verifier};
use crate::diag::{Diagnostic, Loc};
use crate::gpu::func::Var;
use crate::gpu::memory::BufferId;
use turns::TurnState;
use waits::{BarrierState, Clock};

/// What an access that goes on after its statement waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flight {
    Copy,
    Wgmma,
    Store,
}

/// An access that later ones must be in order with.
struct Record {
    from: u32,
    to: u32,
    buffer: BufferId,
    role: usize,
    epoch: u64,
    time: u64,
    writes: bool,
    in_flight: Option<Flight>,
    /// The mbarrier, and the number of its phase, whose end says that a tensor copy has landed.
    signal: Option<(usize, u64)>,
    /// For ordinary writes: epoch and time of the fence that followed.
    fenced: Option<(u64, u64)>,
    id: u64,
    loc: Loc,
    what: &'static str,
}

/// What lies in some bytes.
struct Content {
    from: u32,
    to: u32,
    buffer: BufferId,
    /// The buffer whose data has replaced it.
    lost_to: Option<BufferId>,
}

/// The progress of one role.
struct Progress {
    next: usize,
    epoch: u64,
    clock: Clock,
    /// Copies not committed, and the groups that were.
    copies: Vec<u64>,
    copy_groups: Vec<Vec<u64>>,
    /// Products not committed, and the groups that were: records and accumulators.
    products: Vec<(Vec<u64>, Vec<Var>)>,
    product_groups: Vec<Vec<(Vec<u64>, Vec<Var>)>>,
    /// Groups of tensor stores.
    store_groups: Vec<Vec<u64>>,
    /// Registers of products written by ordinary statements since the last fence.
    unfenced: Vec<Var>,
    /// Whose turn it is, as the role's warpgroups have it.
    turn: TurnState,
    /// Accumulators that no wait has named since their last product.
    unnamed: Vec<Var>,
}

struct Checker<'v, 'a> {
    v: &'v mut Verifier<'a>,
    run: &'v Run,
    records: Vec<Record>,
    contents: Vec<Content>,
    roles: Vec<Progress>,
    barriers: Vec<BarrierState>,
    /// First mbarrier of each array in `barriers`.
    first_barrier: Vec<usize>,
    is_initialised: bool,
    /// Whether the blocks of the cluster have met since.
    is_met: bool,
    next_id: u64,
    /// Where buffers lie; one after another while they have no places.
    offsets: Vec<u32>,
}

impl Verifier<'_> {
    pub(super) fn ordered(&mut self, run: &Run) {
        let func = self.func;
        let mut at = 0;
        let offsets = func
            .buffers
            .iter()
            .map(|b| {
                let own = at;
                at += b.bytes();
                if self.stage == Stage::Lowered { own } else { b.offset_bytes }
            })
            .collect();
        let mut first_barrier = Vec::new();
        let mut barriers = Vec::new();
        let n_barriers = func.barriers.iter().map(|b| b.slots as usize).sum();
        let n_roles = run.roles.len() + 1;
        for b in &func.barriers {
            first_barrier.push(barriers.len());
            barriers
                .extend((0..b.slots).map(|_| BarrierState::new(b.arrivals, Clock::new(n_roles, n_barriers))));
        }
        let roles = (0..n_roles)
            .map(|_| Progress {
                next: 0,
                epoch: 0,
                clock: Clock::new(n_roles, n_barriers),
                copies: Vec::new(),
                copy_groups: Vec::new(),
                products: Vec::new(),
                product_groups: Vec::new(),
                store_groups: Vec::new(),
                unfenced: Vec::new(),
                turn: TurnState::Unopened,
                unnamed: Vec::new(),
            })
            .collect();
        let mut checker = Checker {
            v: self,
            run,
            records: Vec::new(),
            contents: Vec::new(),
            roles,
            barriers,
            first_barrier,
            is_initialised: false,
            is_met: false,
            next_id: 0,
            offsets,
        };
        checker.all();
    }
}

impl Checker<'_, '_> {
    fn trace(&self, role: usize) -> &Trace {
        let run = self.run;
        if role == 0 { &run.block } else { &run.roles[role - 1] }
    }

    fn all(&mut self) {
        self.advance(0);
        if self.roles[0].next < self.run.block.events.len() {
            return self.stuck(0..1);
        }
        let n = self.roles.len();
        let prelude = self.roles[0].epoch;
        for role in 1..n {
            // What stood before the last barrier is known to all roles; the rest is not.
            let time = self.records.iter().filter(|r| r.epoch < prelude).map(|r| r.time).max();
            self.roles[role].clock.time[0] = time.unwrap_or(0);
            self.roles[role].clock.time[n] = time.unwrap_or(0);
        }
        let mut moved = true;
        while moved {
            moved = false;
            for role in 1..n {
                moved |= self.advance(role);
            }
        }
        if (1..n).any(|role| self.roles[role].next < self.trace(role).events.len()) {
            return self.stuck(1..n);
        }
        self.finish();
    }

    /// Runs a role until it waits or ends; whether it got anywhere.
    fn advance(&mut self, role: usize) -> bool {
        let from = self.roles[role].next;
        let run = self.run;
        let events: &[Event] = if role == 0 { &run.block.events } else { &run.roles[role - 1].events };
        while let Some(event) = events.get(self.roles[role].next) {
            self.v.place = Some(event.place);
            self.v.loc = event.loc;
            if !self.event(role, &event.kind) {
                break;
            }
            self.roles[role].next += 1;
            self.roles[role].clock.time[role] += 1;
        }
        self.roles[role].next > from
    }

    /// One event; false when it must wait.
    fn event(&mut self, role: usize, kind: &EventKind) -> bool {
        match kind {
            EventKind::Access { cell, writes } => {
                let what = if *writes { "written" } else { "read" };
                self.access(role, *cell, *writes, None, None, what);
            }
            EventKind::Copy { cell } => {
                let id = self.access(role, *cell, true, Some(Flight::Copy), None, "filled by a copy");
                self.roles[role].copies.push(id);
            }
            EventKind::Commit => {
                let group = std::mem::take(&mut self.roles[role].copies);
                self.roles[role].copy_groups.push(group);
            }
            EventKind::WaitCopies { pending } => {
                let groups = &mut self.roles[role].copy_groups;
                let done = groups.len().saturating_sub(*pending as usize);
                let ids: Vec<u64> = groups.drain(..done).flatten().collect();
                self.land(role, &ids);
            }
            EventKind::Barrier => {
                self.roles[role].epoch += 1;
                if self.run.roles.is_empty() {
                    // All threads are past their reads: nothing later can meet them.
                    self.records.retain(|r| r.writes || r.in_flight.is_some());
                }
            }
            EventKind::FenceAsync => {
                let at = (self.roles[role].epoch, self.roles[role].clock.time[role]);
                for r in
                    self.records.iter_mut().filter(|r| r.role == role && r.writes && r.in_flight.is_none())
                {
                    r.fenced = r.fenced.or(Some(at));
                }
            }
            EventKind::InitBarriers => {
                self.is_initialised = true;
                self.roles[role].epoch += 1;
            }
            EventKind::ClusterSync => {
                self.is_met = self.is_initialised;
                self.roles[role].epoch += 1;
            }
            EventKind::Expect { at, bytes } => self.expect(role, *at, *bytes),
            EventKind::Wait { at, parity } => return self.wait(role, *at, *parity),
            EventKind::Arrive { at, count, in_cluster } => {
                if *in_cluster {
                    self.met();
                }
                self.arrive(role, *at, *count, *in_cluster);
            }
            EventKind::TmaLoad { cell, at, bytes } => {
                if cell.in_cluster {
                    self.met();
                }
                let index = self.index(*at);
                let phase = self.barriers[index].completed;
                let signal = Some((index, phase));
                self.access(role, *cell, true, None, signal, "filled by a tensor copy");
                self.bytes_land(*at, *bytes);
            }
            EventKind::TmaStore { cell } => {
                let id = self.access(role, *cell, false, Some(Flight::Store), None, "read by a tensor store");
                // A run of stores is one group.
                let before = self.roles[role].next.checked_sub(1);
                let events = &self.trace(role).events;
                let goes_on = before.is_some_and(|i| matches!(events[i].kind, EventKind::TmaStore { .. }));
                match self.roles[role].store_groups.last_mut() {
                    Some(group) if goes_on => group.push(id),
                    Some(_) | None => self.roles[role].store_groups.push(vec![id]),
                }
            }
            EventKind::WaitStores { pending } => {
                let groups = &mut self.roles[role].store_groups;
                let done = groups.len().saturating_sub(*pending as usize);
                let ids: Vec<u64> = groups.drain(..done).flatten().collect();
                self.land(role, &ids);
            }
            EventKind::WgmmaFence => self.roles[role].unfenced.clear(),
            EventKind::Wgmma { acc, left, reads } => self.wgmma(role, *acc, *left, reads),
            EventKind::WgmmaCommit => {
                let group = std::mem::take(&mut self.roles[role].products);
                self.roles[role].product_groups.push(group);
            }
            EventKind::WgmmaWait { pending, done } => self.wgmma_wait(role, *pending, done),
            EventKind::Turn(turn) => self.turn(role, *turn),
            EventKind::Touch { var, writes } => self.touch(role, *var, *writes),
        }
        true
    }

    /// Ends accesses in flight: what follows in this role may rely on them, other threads after a barrier.
    fn land(&mut self, role: usize, ids: &[u64]) {
        let (epoch, time) = (self.roles[role].epoch, self.roles[role].clock.time[role]);
        for r in self.records.iter_mut().filter(|r| ids.contains(&r.id)) {
            (r.in_flight, r.epoch, r.time) = (None, epoch, time);
        }
    }

    fn bytes_of(&self, cell: Cell) -> (u32, u32) {
        let b = &self.v.func.buffers[cell.buffer.index()];
        let start = self.offsets[cell.buffer.index()] + cell.slot * b.slot_bytes();
        let panel = b.rows * b.pitch_bytes;
        match cell.panel {
            None => (start, start + b.slot_bytes()),
            Some(p) => {
                let (row, rows) = cell.rows.unwrap_or((0, b.rows));
                let first = start + p * panel + row * b.pitch_bytes;
                (first, first + rows * b.pitch_bytes)
            }
        }
    }

    /// Checks an access against those before it and notes it; the number of its record.
    fn access(
        &mut self,
        role: usize,
        cell: Cell,
        writes: bool,
        flight: Option<Flight>,
        signal: Option<(usize, u64)>,
        what: &'static str,
    ) -> u64 {
        let (from, to) = self.bytes_of(cell);
        let is_async = signal.is_some() || matches!(flight, Some(Flight::Wgmma | Flight::Store));
        self.conflicts(role, cell, (from, to), writes, is_async);
        self.content(cell, (from, to), writes);
        if writes {
            // What this write is in order with, later accesses are too.
            self.records.retain(|r| !(from <= r.from && r.to <= to && r.in_flight.is_none()));
        }
        let id = self.next_id;
        self.next_id += 1;
        let (epoch, time) = (self.roles[role].epoch, self.roles[role].clock.time[role]);
        let loc = self.v.loc;
        let is_known = !writes
            && flight.is_none()
            && self.records.iter().any(|r| {
                (r.from, r.to, r.role, r.epoch, r.writes, r.in_flight) == (from, to, role, epoch, false, None)
            });
        if is_known {
            let known = self
                .records
                .iter_mut()
                .filter(|r| (r.from, r.to, r.role, r.writes) == (from, to, role, false));
            known.for_each(|r| r.time = r.time.max(time));
            return id;
        }
        self.records.push(Record {
            from,
            to,
            buffer: cell.buffer,
            role,
            epoch,
            time,
            writes,
            in_flight: flight,
            signal,
            fenced: None,
            id,
            loc,
            what,
        });
        id
    }

    fn conflicts(&mut self, role: usize, cell: Cell, (from, to): (u32, u32), writes: bool, is_async: bool) {
        let (n_roles, n_barriers) = (self.roles.len(), self.barriers.len());
        let mut found: Option<Diagnostic> = None;
        let name = self.v.show_buffer(cell.buffer);
        let here = if writes { "written" } else { "read" };
        for r in &self.records {
            if r.to <= from || to <= r.from || !(writes || r.writes) {
                continue;
            }
            let slot = if self.v.func.buffers[cell.buffer.index()].slots > 1 {
                format!(" slot {}", cell.slot)
            } else {
                String::new()
            };
            let other = if r.buffer == cell.buffer {
                "it".to_owned()
            } else {
                format!("{}, which shares its bytes,", self.v.show_buffer(r.buffer))
            };
            let at = if r.loc.is_known() { format!(" ({})", r.loc) } else { String::new() };
            let was = format!("{other} was {}{at}", r.what);
            let message = format!("{name}{slot} is {here} here, and {was}");
            let knows = r.role != role && self.roles[role].clock.time[r.role] >= r.time && r.role != 0
                || r.role == 0 && role != 0 && self.roles[role].clock.time[0] >= r.time
                || r.role == role && r.epoch < self.roles[role].epoch;
            let clock = &self.roles[role].clock;
            // The same access in the other blocks.
            let theirs_is_over = !cell.in_cluster
                || match r.signal {
                    Some((barrier, phase)) => clock.phases[n_barriers + barrier] > phase,
                    None => r.role == role || clock.time[n_roles + r.role] >= r.time,
                };
            let problem = match (r.in_flight, r.signal) {
                (Some(Flight::Copy), _) => {
                    Some("wait until the copies have landed, then meet at a barrier: wait_copies, barrier")
                }
                (Some(Flight::Wgmma), _) => Some(
                    "the product may still read it: wgmma_wait must come before the slot is released or written",
                ),
                (Some(Flight::Store), _) => Some(
                    "the tensor store may still read it: wait_stores by the thread that issued it, then a barrier",
                ),
                (None, Some((barrier, phase))) if self.roles[role].clock.phases[barrier] <= phase => {
                    Some("wait for the phase of the mbarrier that the tensor copy signals")
                }
                (None, _) if !theirs_is_over => Some(
                    "the other blocks of the cluster may still be at theirs: they should arrive by cluster at what is waited for",
                ),
                (None, Some(_)) => None,
                (None, None) if !knows && r.role == role => {
                    (self.v.stage == Stage::Complete).then_some("a barrier is missing between the two")
                }
                (None, None) if !knows => Some(
                    "no mbarrier puts the two roles in order: wait for an arrival that follows the access",
                ),
                (None, None) => None,
            };
            let is_ordinary_write = r.writes && r.signal.is_none();
            let fence = match (problem, r.fenced) {
                (None, None) if is_async && is_ordinary_write => Some(
                    "threads that write by ordinary stores should execute fence_async before the barrier",
                ),
                (None, Some((epoch, time)))
                    if is_async
                        && is_ordinary_write
                        && !(r.role == role && epoch < self.roles[role].epoch
                            || r.role != role && time <= self.roles[role].clock.time[r.role])
                        && self.v.stage == Stage::Complete =>
                {
                    Some("the barrier should follow the writers' fence_async")
                }
                _ => None,
            };
            if let Some(help) = problem.or(fence) {
                found = Some(Diagnostic::new(self.v.loc, message).help(help));
                break;
            }
        }
        if let Some(d) = found {
            self.v.report(d);
        }
    }

    /// Whether what is read is what was written, and what a write replaces.
    fn content(&mut self, cell: Cell, (from, to): (u32, u32), writes: bool) {
        if writes {
            self.contents.retain(|c| !(c.buffer == cell.buffer && from <= c.from && c.to <= to));
            for c in
                self.contents.iter_mut().filter(|c| c.from < to && from < c.to && c.buffer != cell.buffer)
            {
                c.lost_to = c.lost_to.or(Some(cell.buffer));
            }
            self.contents.push(Content { from, to, buffer: cell.buffer, lost_to: None });
            return;
        }
        let mut own =
            self.contents.iter().filter(|c| c.buffer == cell.buffer && c.from < to && from < c.to).peekable();
        let is_empty = own.peek().is_none();
        let lost = own.find_map(|c| c.lost_to);
        let name = self.v.show_buffer(cell.buffer);
        if is_empty {
            self.v.error(format!("{name} slot {} is read, and nothing has written it", cell.slot));
        } else if let Some(other) = lost {
            let other = self.v.show_buffer(other);
            self.v
                .error(format!("{name} is read after {other}, which shares its bytes, was written over it"));
        }
    }

    fn wgmma(&mut self, role: usize, acc: Var, left: Option<Var>, reads: &[Cell]) {
        for v in std::iter::once(acc).chain(left) {
            if self.roles[role].unfenced.contains(&v) {
                let name = self.v.show(v);
                let message = format!(
                    "{name} was written by ordinary instructions, and the product reads it without a fence"
                );
                self.v.report(
                    Diagnostic::new(self.v.loc, message).help("wgmma_fence stands before the product"),
                );
            }
        }
        let ids = reads
            .iter()
            .map(|&cell| {
                self.access(role, cell, false, Some(Flight::Wgmma), None, "read by a warpgroup product")
            })
            .collect();
        let p = &mut self.roles[role];
        p.products.push((ids, std::iter::once(acc).chain(left).collect()));
        if !p.unnamed.contains(&acc) {
            p.unnamed.push(acc);
        }
    }

    fn wgmma_wait(&mut self, role: usize, pending: u32, done: &[Var]) {
        let p = &mut self.roles[role];
        let n = p.product_groups.len().saturating_sub(pending as usize);
        let ids: Vec<u64> = p.product_groups.drain(..n).flatten().flat_map(|(ids, _)| ids).collect();
        self.land(role, &ids);
        for &v in done {
            if self.under_way(role, v) {
                let name = self.v.show(v);
                self.v.error(format!("products into {name} may still be under way after this wait"));
            }
            self.roles[role].unnamed.retain(|u| *u != v);
        }
    }

    fn under_way(&self, role: usize, v: Var) -> bool {
        let p = &self.roles[role];
        p.products.iter().chain(p.product_groups.iter().flatten()).any(|(_, vars)| vars.contains(&v))
    }

    fn touch(&mut self, role: usize, v: Var, writes: bool) {
        let name = self.v.show(v);
        if self.under_way(role, v) {
            self.v.error(format!(
                "{name} is used while products on it may be under way: wgmma_wait comes first"
            ));
        } else if !writes && self.roles[role].unnamed.contains(&v) {
            self.v
                .error(format!("{name} is read, and no wgmma_wait names it as done since its last product"));
        }
        if writes {
            self.roles[role].unnamed.retain(|u| *u != v);
            if !self.roles[role].unfenced.contains(&v) {
                self.roles[role].unfenced.push(v);
            }
        }
    }
}
