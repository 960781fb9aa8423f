//! mbarrier instructions: every operation reads the word in shared memory and writes it back.

use crate::alu;
use crate::asyncop::PhaseSlot;
use crate::mbarrier::State;
use crate::memory::SHARED_WINDOW;
use crate::op::{Addr, Inst};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::Warp;

use super::memory::{addresses, cluster_target};
use super::warpwide::lanes;
use crate::race::Key;

use super::{Flow, races};

/// Who works on an mbarrier, for findings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Actor<'i> {
    pub(crate) b: usize,
    pub(crate) warp: u32,
    pub(crate) lane: usize,
    pub(crate) inst: &'i Inst,
}

impl Actor<'_> {
    fn complain(self, unit: &mut Unit<'_>, message: String) {
        unit.find(FindingKind::Barrier, self.b, self.warp, 1 << self.lane, self.inst, || message);
    }
}

/// The block and offset of an mbarrier address, if it is one.
fn place(unit: &mut Unit<'_>, actor: Actor<'_>, addr: u64) -> Option<(usize, usize)> {
    let addr = if addr >= SHARED_WINDOW { (addr & (SHARED_WINDOW - 1)) as u32 } else { addr as u32 };
    if addr % 8 != 0 {
        actor.complain(unit, format!("an mbarrier at {addr:#x}, which is not a multiple of 8"));
        return None;
    }
    let found = cluster_target(unit, actor.b, addr)
        .and_then(|(target, at)| unit.blocks[target].shared.index(at, 8).map(|at| (target, at)));
    match found {
        Ok(found) => Some(found),
        Err(miss) => {
            actor.complain(unit, format!("an mbarrier in {}", miss.0));
            None
        }
    }
}

/// Changes an mbarrier; `None` when there is none at the address or the change is refused.
pub(crate) fn update<R>(
    unit: &mut Unit<'_>,
    actor: Actor<'_>,
    addr: u64,
    change: impl FnOnce(&mut State) -> Result<R, String>,
) -> Option<R> {
    let (target, at) = place(unit, actor, addr)?;
    let block = &mut unit.blocks[target];
    let word = block.shared.load(at, 8);
    let known = block.mbarriers.get(&at).copied();
    let Some(mut state) = State::from_word(word).filter(|_| known == Some(word)) else {
        actor.complain(
            unit,
            match known {
                Some(_) => {
                    format!("the mbarrier at offset {at} was overwritten by ordinary stores or a copy")
                }
                None => format!(
                    "the mbarrier at offset {at} is used before mbarrier.init; \
                     initialise it and let the block synchronise before its first use"
                ),
            },
        );
        return None;
    };
    let result = match change(&mut state) {
        Ok(result) => result,
        Err(message) => {
            actor.complain(unit, message);
            return None;
        }
    };
    let turned = state.turn();
    let word = state.to_word();
    let block = &mut unit.blocks[target];
    block.shared.store(at, 8, word);
    block.mbarriers.insert(at, word);
    if turned {
        unit.progress += 1;
        if let Some(race) = &mut unit.race {
            race.turn(target, at);
        }
    }
    Some(result)
}

/// `mbarrier.init`.
pub(super) fn init(unit: &mut Unit<'_>, actor: Actor<'_>, addr: u64, count: u32) {
    let Some((target, at)) = place(unit, actor, addr) else { return };
    if count == 0 || count > crate::mbarrier::MAX_COUNT {
        actor.complain(unit, format!("an mbarrier for {count} arrivals; 1 to 1048575 are possible"));
        return;
    }
    let block = &mut unit.blocks[target];
    let live = block.mbarriers.get(&at).and_then(|&w| State::from_word(w));
    if let Some(state) = live
        && (state.pending != state.expected || state.tx != 0)
    {
        let message = format!(
            "the mbarrier at offset {at} is initialised again in the middle of a phase ({} of {} arrivals pending, \
             {} bytes)",
            state.pending, state.expected, state.tx
        );
        actor.complain(unit, message);
    }
    let word = State::new(count).to_word();
    let block = &mut unit.blocks[target];
    block.shared.store(at, 8, word);
    block.mbarriers.insert(at, word);
    if let Some(race) = &mut unit.race {
        let t = race.thread(actor.b, actor.warp, actor.lane);
        race.init(t, (target, at), actor.inst.line);
    }
}

/// Whether a lane, or a copy that it issues, may rely on the initialisation of an mbarrier.
pub(super) fn check_use(unit: &mut Unit<'_>, actor: Actor<'_>, place: (usize, usize), by_copy: bool) {
    let Some(race) = &unit.race else { return };
    let t = race.thread(actor.b, actor.warp, actor.lane);
    let Some(early) = race.use_mbarrier(t, place, by_copy) else { return };
    let (at, line) = (place.1, early.line);
    let (kind, advice) = if early.only_proxy {
        (
            FindingKind::MissingProxyFence,
            "the copy may not see it; the initialising thread needs fence.mbarrier_init.release.cluster \
             or fence.proxy.async before the barrier",
        )
    } else {
        (FindingKind::Race, "put a barrier between the two")
    };
    unit.find(kind, actor.b, actor.warp, 1 << actor.lane, actor.inst, || {
        format!("uses the mbarrier at offset {at}, initialised at PTX line {line}; {advice}")
    });
}

/// `mbarrier.inval`.
pub(super) fn invalidate(unit: &mut Unit<'_>, actor: Actor<'_>, addr: u64) {
    if let Some((target, at)) = place(unit, actor, addr) {
        unit.blocks[target].mbarriers.remove(&at);
        unit.blocks[target].shared.unmark(at, 8);
    }
}

/// One lane's arrival; returns the phase's state before it.
pub(crate) fn arrive(
    unit: &mut Unit<'_>,
    actor: Actor<'_>,
    addr: u64,
    count: u32,
    tx: u32,
    is_drop: bool,
) -> Option<u64> {
    if unit.race.is_some()
        && let Some((target, at)) = place(unit, actor, addr)
    {
        check_use(unit, actor, (target, at), false);
        races::release(unit, actor.b, actor.warp, 1 << actor.lane, Key::Mbar(target, at));
    }
    update(unit, actor, addr, |state| {
        let before = state.to_word();
        state.add_tx(i64::from(tx))?;
        if is_drop {
            state.expected = state.expected.saturating_sub(count);
        }
        state.arrive(count)?;
        Ok(before)
    })
}

/// `mbarrier.test_wait`, `mbarrier.try_wait`.
#[allow(clippy::too_many_arguments, reason = "the operands of one instruction")]
pub(super) fn wait(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    bar: &Addr,
    done: u16,
    phase: PhaseSlot,
    may_suspend: bool,
) -> Flow {
    let addr = addresses(warp, bar);
    let mut passed = 0u32;
    let mut keys: Vec<(usize, Key)> = Vec::new();
    for lane in lanes(mask) {
        let actor = Actor { b, warp: warp.index, lane, inst };
        let wanted = match phase {
            PhaseSlot::Parity(slot) => warp.regs.w[slot as usize][lane] & 1 != 0,
            PhaseSlot::State(slot) => {
                State::from_word(warp.regs.q[slot as usize][lane]).is_some_and(|s| s.phase)
            }
        };
        // A broken mbarrier lets everyone pass: the finding is made, and nobody hangs.
        let current = update(unit, actor, addr[lane], |state| Ok(state.phase)).unwrap_or(!wanted);
        passed |= u32::from(current != wanted) << lane;
        if current != wanted
            && unit.race.is_some()
            && let Some((target, at)) = place(unit, actor, addr[lane])
        {
            check_use(unit, actor, (target, at), false);
            keys.push((lane, Key::Phase(target, at)));
        }
    }
    // Lanes at one mbarrier learn together, and go on sharing a clock.
    while let Some(&(_, key)) = keys.first() {
        let mask = keys.iter().filter(|k| k.1 == key).fold(0, |m, k| m | 1 << k.0);
        races::acquire(unit, b, warp.index, mask, key);
        keys.retain(|k| k.1 != key);
    }
    let row = &mut warp.regs.p[done as usize];
    *row = (*row & !mask) | passed;
    if passed == mask {
        Flow::Next
    } else if may_suspend || warp.groups.iter().any(|g| g.needs == 0) {
        Flow::Poll
    } else {
        Flow::Next
    }
}

/// Writes the states arrivals returned.
pub(super) fn put_states(warp: &mut Warp, slot: u16, states: &[u64; 32], mask: u32) {
    alu::set_q(&mut warp.regs.q[slot as usize], states, mask);
}
