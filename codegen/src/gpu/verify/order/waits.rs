//! Mbarriers: phases, arrivals, bytes, and what a wait teaches.

use super::{Checker, EventKind, Flight};
use crate::diag::{Diagnostic, Loc};
use crate::gpu::verify::trace::BarrierSlot;

/// How far a role, or what arrived at an mbarrier, is known to have come.
#[derive(Clone)]
pub(super) struct Clock {
    /// Per role of this block, then of another block of the cluster.
    pub(super) time: Vec<u64>,
    /// Phases known to be complete, per mbarrier of this block, then of another.
    pub(super) phases: Vec<u64>,
}

impl Clock {
    pub(super) fn new(n_roles: usize, n_barriers: usize) -> Self {
        Self { time: vec![0; 2 * n_roles], phases: vec![0; 2 * n_barriers] }
    }

    /// What another block of the cluster, which does the same, knows of this one.
    fn mirrored(&self) -> Self {
        let swapped = |v: &[u64]| {
            let (own, theirs) = v.split_at(v.len() / 2);
            [theirs, own].concat()
        };
        Self { time: swapped(&self.time), phases: swapped(&self.phases) }
    }

    fn join(&mut self, other: &Self) {
        let pairs = self.time.iter_mut().zip(&other.time).chain(self.phases.iter_mut().zip(&other.phases));
        pairs.for_each(|(own, other)| *own = (*own).max(*other));
    }
}

/// The state of one mbarrier.
pub(super) struct BarrierState {
    arrivals: u32,
    /// Phases that are complete.
    pub(super) completed: u64,
    arrived: u32,
    /// Bytes announced and not landed.
    outstanding: i64,
    /// What those who have arrived know.
    clock: Clock,
    /// What was known when the last phase ended.
    ended: Clock,
    /// The announcement whose copies are being issued: its bytes, those issued, and where it stands.
    open: Option<(u32, u32, usize, Loc)>,
}

impl BarrierState {
    pub(super) fn new(arrivals: u32, clock: Clock) -> Self {
        Self { arrivals, completed: 0, arrived: 0, outstanding: 0, ended: clock.clone(), clock, open: None }
    }

    fn end_phase(&mut self) {
        if self.arrived >= self.arrivals && self.outstanding == 0 {
            self.arrived = 0;
            self.completed += 1;
            self.ended = self.clock.clone();
        }
    }
}

impl Checker<'_, '_> {
    pub(super) fn index(&self, (barrier, slot): BarrierSlot) -> usize {
        self.first_barrier[barrier.index()] + slot as usize
    }

    fn initialised(&mut self) {
        if !self.is_initialised {
            self.v.error("an mbarrier is used before init_barriers has set it up");
            self.is_initialised = true;
        }
    }

    pub(super) fn met(&mut self) {
        if !self.is_met {
            self.v.report(
                Diagnostic::new(
                    self.v.loc,
                    "the other blocks of the cluster may not have set up their mbarriers yet",
                )
                .help("cluster_sync stands between init_barriers and the first access to another block"),
            );
            self.is_met = true;
        }
    }

    pub(super) fn expect(&mut self, role: usize, at: BarrierSlot, bytes: u32) {
        self.close(at);
        self.arrive(role, at, 1, false);
        let (place, loc) = (self.v.place.unwrap_or_default(), self.v.loc);
        let index = self.index(at);
        let state = &mut self.barriers[index];
        state.outstanding += i64::from(bytes);
        state.open = Some((bytes, 0, place, loc));
    }

    /// Copies that an announcement brought, once it is clear that there are no more.
    fn close(&mut self, at: BarrierSlot) {
        let index = self.index(at);
        if let Some((announced, issued, place, loc)) = self.barriers[index].open.take()
            && announced != issued
        {
            let here = (self.v.place, self.v.loc);
            (self.v.place, self.v.loc) = (Some(place), loc);
            let name = self.v.show_barrier(at.0);
            self.v.error(format!(
                "{announced} bytes are announced at {name}, and the copies that follow bring {issued}"
            ));
            (self.v.place, self.v.loc) = here;
        }
    }

    pub(super) fn bytes_land(&mut self, at: BarrierSlot, bytes: u32) {
        self.initialised();
        let index = self.index(at);
        let state = &mut self.barriers[index];
        let Some((_, issued, ..)) = &mut state.open else {
            let name = self.v.show_barrier(at.0);
            return self.v.error(format!("a tensor copy signals {name}, where no bytes are announced"));
        };
        *issued += bytes;
        state.outstanding -= i64::from(bytes);
        state.end_phase();
    }

    pub(super) fn arrive(&mut self, role: usize, at: BarrierSlot, count: u32, in_cluster: bool) {
        self.initialised();
        let index = self.index(at);
        let clock = self.roles[role].clock.clone();
        // An announcement and its arrival are one: the phase ends when the bytes have landed.
        let is_expected = matches!(self.current(role), Some(EventKind::Expect { .. }));
        let state = &mut self.barriers[index];
        state.clock.join(&clock);
        if in_cluster {
            state.clock.join(&clock.mirrored());
        }
        state.arrived += count;
        let (arrived, arrivals) = (state.arrived, state.arrivals);
        if arrived > arrivals {
            let name = self.v.show_barrier(at.0);
            let message =
                format!("{name} is declared for {arrivals} arrivals per phase, and this one makes {arrived}");
            self.v.report(
                Diagnostic::new(self.v.loc, message)
                    .help("declare as many as the roles that arrive have warps, or threads, in all blocks of the cluster where they arrive in all"),
            );
        } else if !is_expected {
            state.end_phase();
        }
    }

    fn current(&self, role: usize) -> Option<&EventKind> {
        self.trace(role).events.get(self.roles[role].next).map(|e| &e.kind)
    }

    pub(super) fn wait(&mut self, role: usize, at: BarrierSlot, parity: u64) -> bool {
        self.initialised();
        let index = self.index(at);
        let state = &self.barriers[index];
        if state.completed % 2 == parity {
            return false;
        }
        let (ended, completed) = (state.ended.clone(), state.completed);
        let clock = &mut self.roles[role].clock;
        clock.join(&ended);
        clock.phases[index] = clock.phases[index].max(completed);
        true
    }

    /// Reports the waits that hold the roles up.
    pub(super) fn stuck(&mut self, roles: std::ops::Range<usize>) {
        for role in roles {
            let trace = self.trace(role);
            let name = trace.name.clone();
            let Some(event) = trace.events.get(self.roles[role].next) else { continue };
            let EventKind::Wait { at, parity } = event.kind else { continue };
            (self.v.place, self.v.loc) = (Some(event.place), event.loc);
            let index = self.index(at);
            let state = &self.barriers[index];
            let progress = format!(
                "{} phases are complete, and the next has {} of {} arrivals and {} bytes to come",
                state.completed, state.arrived, state.arrivals, state.outstanding
            );
            let barrier = self.v.show_barrier(at.0);
            let message = format!(
                "role `{name}` waits forever for {barrier}, element {}, phase {parity}: {progress}",
                at.1
            );
            self.v.report(Diagnostic::new(self.v.loc, message).help(
                "a wait for phase 1 passes at a fresh mbarrier, one for phase 0 needs a complete phase: who fills starts at 1, \
                 who reads at 0",
            ));
        }
    }

    /// What must be done when all roles have ended.
    pub(super) fn finish(&mut self) {
        self.turns_end();
        for (barrier, b) in self.v.func.barriers.iter().enumerate() {
            for slot in 0..b.slots {
                self.close((crate::gpu::BarrierId(barrier as u32), slot));
            }
        }
        let open: Vec<Loc> =
            self.records.iter().filter(|r| r.in_flight == Some(Flight::Store)).map(|r| r.loc).collect();
        if let Some(&loc) = open.first() {
            self.v.loc = loc;
            self.v.report(
                Diagnostic::new(loc, "the block may end while a tensor store still reads its shared memory")
                    .help("the thread that issued it should execute wait_stores"),
            );
        }
    }
}
