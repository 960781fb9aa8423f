//! Tells the race detector what happens, and puts what it finds into words.

use std::sync::PoisonError;

use crate::op::{Inst, Order};
use crate::race::{Conflict, Key, Race, Use, Who};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::Warp;

use super::warpwide::lanes;

/// One access of shared memory by one lane. `place`: block, offset, bytes.
#[allow(clippy::too_many_arguments, reason = "the parts of one access")]
pub(crate) fn shared(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &Warp,
    lane: usize,
    inst: &Inst,
    place: (usize, usize, u32),
    what: Use,
    same_value: bool,
) {
    let Some(race) = &mut unit.race else { return };
    let t = race.thread(b, warp.index, lane);
    let place = (place.0, place.1, place.2 as usize);
    if let Some(conflict) = race.access(t, place, what, warp.pc, same_value) {
        report(unit, b, warp.index, 1 << lane, inst, what, conflict);
    }
}

/// One access of global memory by one lane. `place`: address, offset in its allocation, bytes.
#[allow(clippy::too_many_arguments, reason = "the parts of one access")]
pub(crate) fn global(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &Warp,
    lane: usize,
    inst: &Inst,
    (addr, at, bytes): (u64, usize, u32),
    what: Use,
    releases: bool,
    same_value: bool,
) {
    let Some(race) = &mut unit.race else { return };
    let t = race.thread(b, warp.index, lane);
    let mut shared = unit.job.global_race.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(what, Use::Atomic | Use::AtomicRead) {
        race.atomic_global(t, &mut shared, addr, releases, what == Use::Atomic);
    }
    let place = (addr - at as u64, at, bytes as usize);
    let conflict = race.access_global(t, &mut shared, place, what, warp.pc, same_value);
    drop(shared);
    if let Some(conflict) = conflict {
        let name = unit.job.global.locate(addr).map(|(allocation, _)| format!("`{}`", allocation.name));
        let memory = name.unwrap_or_else(|_| "global memory".to_owned());
        report_in(unit, b, warp.index, 1 << lane, inst, what, conflict, &memory);
    }
}

/// The use an ordered or volatile access makes.
pub(crate) fn load_use(order: Order) -> Use {
    if order == Order::Weak { Use::Read } else { Use::AtomicRead }
}

/// The use an ordered or volatile store makes.
pub(crate) fn store_use(order: Order) -> Use {
    if order == Order::Weak { Use::Write } else { Use::Atomic }
}

/// Runs `f` with the detector and the threads of some lanes.
pub(crate) fn with_threads(
    unit: &mut Unit<'_>,
    b: usize,
    warp: u32,
    mask: u32,
    f: impl FnOnce(&mut Race, &[usize]),
) {
    if let Some(race) = &mut unit.race {
        let threads: Vec<usize> = lanes(mask).map(|lane| race.thread(b, warp, lane)).collect();
        f(race, &threads);
    }
}

/// Threads give what they did to a synchronisation.
pub(crate) fn release(unit: &mut Unit<'_>, b: usize, warp: u32, mask: u32, key: Key) {
    with_threads(unit, b, warp, mask, |race, threads| race.release(threads.iter().copied(), key));
}

/// Threads learn from a synchronisation.
pub(crate) fn acquire(unit: &mut Unit<'_>, b: usize, warp: u32, mask: u32, key: Key) {
    with_threads(unit, b, warp, mask, |race, threads| race.acquire(threads.iter().copied(), key));
}

/// A finding for two accesses without an order.
pub(crate) fn report(
    unit: &mut Unit<'_>,
    b: usize,
    warp: u32,
    mask: u32,
    inst: &Inst,
    what: Use,
    conflict: Conflict,
) {
    report_in(unit, b, warp, mask, inst, what, conflict, "shared memory");
}

#[allow(clippy::too_many_arguments, reason = "the parts of one finding")]
fn report_in(
    unit: &mut Unit<'_>,
    b: usize,
    warp: u32,
    mask: u32,
    inst: &Inst,
    what: Use,
    conflict: Conflict,
    memory: &str,
) {
    let Some(race) = &unit.race else { return };
    let line = unit.job.kernel.code[conflict.other_pc as usize].line;
    let verb = match (what, conflict.other_wrote) {
        (Use::Read | Use::AtomicRead, _) => "reads",
        (Use::Write, _) => "writes",
        (Use::Atomic, _) => "changes",
    };
    let did = if conflict.other_wrote { "written" } else { "read" };
    let unit_size = unit.blocks.len();
    let who = race.who(conflict.other);
    let name = match who {
        Who::Thread(block, t) => format!("thread {t} of block {:?}", unit.blocks[block].place.ctaid),
        Who::Copy(block, t) => {
            format!("the cp.async of thread {t} of block {:?}", unit.blocks[block].place.ctaid)
        }
        Who::Agent => "the asynchronous operation".to_owned(),
        Who::Foreign(unit) if unit_size == 1 => format!("block number {unit} of the grid"),
        Who::Foreign(unit) => format!("cluster number {unit} of the grid"),
    };
    let at = conflict.at;
    let (kind, advice) = if conflict.only_proxy {
        (
            FindingKind::MissingProxyFence,
            "every writing thread needs fence.proxy.async.shared::cta before the barrier",
        )
    } else {
        match who {
            Who::Copy(..) => (
                FindingKind::MissingWait,
                "the copying thread needs cp.async.wait_group, then the block a barrier",
            ),
            Who::Agent => (
                FindingKind::MissingWait,
                "wait for it first: its mbarrier's phase, cp.async.bulk.wait_group or wgmma.wait_group",
            ),
            Who::Thread(..) => (FindingKind::Race, "put a barrier between the two"),
            Who::Foreign(_) => (
                FindingKind::Race,
                "give each block its own elements, or order the blocks with fences and atomics",
            ),
        }
    };
    unit.find(kind, b, warp, mask, inst, || {
        format!(
            "{verb} {memory} at offset {at}, {did} by {name} at PTX line {line} without an order; {advice}"
        )
    });
}
