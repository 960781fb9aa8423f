//! `cp.async` and its groups.
//!
//! Groups belong to threads. While a copy is in flight its destination counts as unwritten, so a read that
//! comes before the wait is found as a read of something nobody has written.

use crate::asyncop::InFlightCopy;
use crate::device::Policy;
use crate::op::{Addr, Inst};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::Warp;

use crate::race::Use;

use super::memory::{addresses, missed};
use super::races;
use super::warpwide::lanes;

/// `cp.async`.
#[allow(clippy::too_many_arguments, reason = "the operands of one instruction")]
pub(super) fn copy(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    (dst, src): (&Addr, &Addr),
    bytes: u32,
    src_size: [u32; 32],
) {
    let (dst, src) = (addresses(warp, dst), addresses(warp, src));
    let mut good = mask;
    for lane in lanes(mask) {
        let (to, from) = (dst[lane], src[lane]);
        if (to | from) % u64::from(bytes) != 0 {
            unit.find(FindingKind::Misaligned, b, warp.index, 1 << lane, inst, || {
                format!(
                    "a copy of {bytes} bytes from {from:#x} to {to:#x}; both should be multiples of {bytes}"
                )
            });
            good &= !(1 << lane);
            continue;
        }
        if src_size[lane] > bytes {
            let n = src_size[lane];
            unit.find(FindingKind::BadOperand, b, warp.index, 1 << lane, inst, || {
                format!("a source size of {n} in a copy of {bytes} bytes")
            });
        }
        // Addresses are checked at issue whatever the policy: that is where the mistake is.
        let size = src_size[lane].min(bytes);
        if size != 0 {
            match unit.job.global.check(from, u64::from(size)) {
                Ok((_, at)) => {
                    races::global(unit, b, warp, lane, inst, (from, at, size), Use::Read, false, false)
                }
                Err(miss) => {
                    missed(unit, b, warp.index, lane, inst, "an asynchronous copy of", miss);
                    good &= !(1 << lane);
                }
            }
        }
        match unit.blocks[b].shared.index(to as u32, bytes) {
            Ok(at) => {
                unit.blocks[b].shared.unmark(at, bytes as usize);
                if let Some(race) = &mut unit.race {
                    let t = race.thread(b, warp.index, lane);
                    let place = (b, at, bytes as usize);
                    if let Some(conflict) = race.copy(t, place, warp.copies.committed[lane], warp.pc) {
                        races::report(unit, b, warp.index, 1 << lane, inst, Use::Write, conflict);
                    }
                }
            }
            Err(miss) => {
                missed(unit, b, warp.index, lane, inst, "an asynchronous copy of", miss);
                good &= !(1 << lane);
            }
        }
    }
    let entry = InFlightCopy {
        mask: good,
        dst: dst.map(|a| a as u32),
        src,
        bytes,
        src_size,
        group: warp.copies.committed,
    };
    let now = match unit.job.options.policy {
        Policy::Eager => true,
        Policy::Lazy => false,
        Policy::Random => unit.rng.below(2) == 0,
    };
    if now {
        perform(unit, b, &entry, good);
    } else {
        warp.copies.in_flight.push(entry);
    }
}

/// Moves the bytes of some lanes; the rest of a short source is zero.
fn perform(unit: &mut Unit<'_>, b: usize, entry: &InFlightCopy, mask: u32) {
    let global = unit.job.global;
    let bytes = entry.bytes as usize;
    let shared = &mut unit.blocks[b].shared;
    for lane in lanes(mask) {
        let mut data = [0; 16];
        let size = (entry.src_size[lane] as usize).min(bytes);
        // Both were checked at issue; memory freed since reads as zero.
        let _ = global.read(entry.src[lane], &mut data[..size]);
        if let Ok(at) = shared.index(entry.dst[lane], entry.bytes) {
            shared.fill(at, &data[..bytes]);
        }
    }
}

/// Completes the copies of `mask` whose group is older than the newest `keep`; `None` completes all.
pub(crate) fn complete(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, mask: u32, keep: Option<u32>) {
    if keep.is_none() {
        // Copies outside any group are waited for as well: they make up a group of their own.
        lanes(mask).for_each(|lane| warp.copies.committed[lane] += 1);
    }
    let committed = warp.copies.committed;
    if let Some(race) = &mut unit.race {
        for lane in lanes(mask) {
            let t = race.thread(b, warp.index, lane);
            race.copies_done(t, committed[lane].saturating_sub(keep.unwrap_or(0)));
        }
    }
    let mut entries = std::mem::take(&mut warp.copies.in_flight);
    for entry in &mut entries {
        let due = lanes(entry.mask & mask)
            .filter(|&l| keep.is_none_or(|k| entry.group[l] + k < committed[l]))
            .fold(0, |m, l| m | 1 << l);
        if due != 0 {
            perform(unit, b, entry, due);
            entry.mask &= !due;
        }
    }
    entries.retain(|e| e.mask != 0);
    warp.copies.in_flight = entries;
}

/// `cp.async.commit_group`.
pub(super) fn commit(warp: &mut Warp, mask: u32) {
    for lane in lanes(mask) {
        warp.copies.committed[lane] += 1;
    }
}
