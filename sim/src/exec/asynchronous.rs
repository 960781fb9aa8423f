//! Dispatch of the asynchronous instructions, and the small ones among them.

use crate::alu;
use crate::asyncop::{AsyncOp, Task, TaskKind, Wide};
use crate::device::Policy;
use crate::mbarrier::State;
use crate::memory::{RANK_SHIFT, SHARED_BASE, SHARED_WINDOW};
use crate::op::Inst;
use crate::race::{Epoch, Key, Use};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Status, Warp};

use super::mbarrier::{self, Actor};
use super::memory::{addresses, cluster_target, get};
use super::warpwide::lanes;
use super::{Flow, bulk, copy, races, sync};

/// One asynchronous instruction.
pub(super) fn step(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    op: &AsyncOp,
) -> Flow {
    let actor = |lane: usize, warp: &Warp| Actor { b, warp: warp.index, lane, inst };
    match op {
        AsyncOp::Copy { dst, src, bytes, src_size, ignore } => {
            let mut sizes = src_size.map_or([*bytes; 32], |s| warp.regs.w[s as usize]);
            if let Some(p) = ignore {
                let skipped = warp.regs.p[*p as usize];
                sizes = std::array::from_fn(|i| if skipped >> i & 1 != 0 { 0 } else { sizes[i] });
            }
            copy::copy(unit, b, warp, inst, mask, (dst, src), *bytes, sizes);
        }
        AsyncOp::CopyCommit => copy::commit(warp, mask),
        AsyncOp::CopyWait(keep) => copy::complete(unit, b, warp, mask, *keep),
        AsyncOp::CopyArrive { bar, is_counted } => {
            let addr = addresses(warp, bar);
            for lane in lanes(mask) {
                // Without `.noinc` the count first grows by the arrival that follows.
                if !is_counted {
                    mbarrier::update(unit, actor(lane, warp), addr[lane], |s| {
                        s.pending += 1;
                        Ok(())
                    });
                }
                if let Some(race) = &mut unit.race {
                    let t = race.thread(b, warp.index, lane);
                    let at = (addr[lane] as u32).wrapping_sub(SHARED_BASE) as usize;
                    race.copies_signal(t, Key::Mbar(b, at), warp.copies.committed[lane] + 1);
                    warp.copies.committed[lane] += 1;
                }
                let has_copies = warp.copies.in_flight.iter().any(|c| c.mask >> lane & 1 != 0);
                if has_copies {
                    let target = b;
                    let (group, pc, w) = (u32::MAX, warp.pc, warp.index);
                    let what = TaskKind::CopyArrive { target, mask: 1 << lane, bar: addr[lane] as u32 };
                    unit.tasks.push(Task { b, warp: w, lane: lane as u32, group, pc, what });
                } else {
                    mbarrier::arrive(unit, actor(lane, warp), addr[lane], 1, 0, false);
                }
            }
        }
        AsyncOp::BarInit { bar, count } => {
            let addr = addresses(warp, bar);
            for lane in lanes(mask) {
                let count = warp.regs.w[*count as usize][lane];
                mbarrier::init(unit, actor(lane, warp), addr[lane], count);
            }
        }
        AsyncOp::BarInval { bar } => {
            let addr = addresses(warp, bar);
            for lane in lanes(mask) {
                mbarrier::invalidate(unit, actor(lane, warp), addr[lane]);
            }
        }
        AsyncOp::BarArrive { bar, count, tx, is_drop, state } => {
            let addr = addresses(warp, bar);
            let mut states = [0; 32];
            for lane in lanes(mask) {
                let n = count.map_or(1, |c| warp.regs.w[c as usize][lane]);
                let bytes = tx.map_or(0, |t| warp.regs.w[t as usize][lane]);
                let before = mbarrier::arrive(unit, actor(lane, warp), addr[lane], n, bytes, *is_drop);
                states[lane] = before.unwrap_or(0);
            }
            if let Some(slot) = state {
                mbarrier::put_states(warp, *slot, &states, mask);
            }
        }
        AsyncOp::BarTx { bar, bytes, is_complete } => {
            let addr = addresses(warp, bar);
            for lane in lanes(mask) {
                let n = i64::from(warp.regs.w[*bytes as usize][lane]);
                let n = if *is_complete { -n } else { n };
                mbarrier::update(unit, actor(lane, warp), addr[lane], |s| s.add_tx(n));
            }
        }
        AsyncOp::BarWait { bar, done, phase, may_suspend } => {
            return mbarrier::wait(unit, b, warp, inst, mask, bar, *done, *phase, *may_suspend);
        }
        AsyncOp::BarPending { dst, state } => {
            let row = warp.regs.q[*state as usize].map(|w| State::from_word(w).map_or(0, |s| s.pending));
            alu::set_w(&mut warp.regs.w[*dst as usize], &row, mask);
        }
        AsyncOp::Mapa { dst, src, rank } => mapa(unit, b, warp, inst, mask, (*dst, *src, *rank)),
        AsyncOp::GetRank { dst, src } => {
            let own = unit.blocks[b].place.rank;
            let row = wide_row(warp, *src).map(|a| match (a as u32) >> RANK_SHIFT {
                0 => own,
                r => r - 1,
            });
            alu::set_w(&mut warp.regs.w[*dst as usize], &row, mask);
        }
        AsyncOp::Bulk(op) => {
            for lane in lanes(mask) {
                bulk::issue(unit, b, warp, inst, lane, op);
            }
        }
        AsyncOp::BulkCommit => {
            for lane in lanes(mask) {
                warp.bulk_committed[lane] += 1;
            }
            warp.bulk_uncommitted &= !mask;
        }
        AsyncOp::BulkWait { keep } => {
            for lane in lanes(mask) {
                bulk::wait(unit, b, warp.index, lane as u32, warp.bulk_committed[lane], *keep);
                if let Some(race) = &mut unit.race {
                    let t = race.thread(b, warp.index, lane);
                    race.bulk_done(t, warp.bulk_committed[lane].saturating_sub(*keep));
                }
            }
            if *keep == 0 {
                warp.bulk_open &= !mask | warp.bulk_uncommitted;
            }
        }
        AsyncOp::StoreAsync { dst, bar, bytes, regs } => {
            let (to, bars) = (addresses(warp, dst), addresses(warp, bar));
            for lane in lanes(mask) {
                let mut data = Vec::new();
                for &reg in regs {
                    data.extend_from_slice(&get(warp, reg, lane).to_le_bytes()[..*bytes as usize]);
                }
                let total = data.len() as u32;
                let found = cluster_target(unit, b, to[lane] as u32)
                    .and_then(|(t, at)| unit.blocks[t].shared.index(at, total).map(|_| (t, at)));
                match found {
                    Ok((target, at)) => {
                        let bar = bars[lane] as u32;
                        let (mut agent, mut conflict) = (Epoch::default(), None);
                        if let Some(race) = &mut unit.race {
                            let t = race.thread(b, warp.index, lane);
                            let place = (target, (at - SHARED_BASE) as usize, total as usize);
                            (agent, conflict) = race.bulk_write(t, std::iter::once(place), warp.pc);
                        }
                        if let Some(conflict) = conflict {
                            races::report(unit, b, warp.index, 1 << lane, inst, Use::Write, conflict);
                        }
                        let what = TaskKind::Deliver { target, at, data, bar, agent };
                        bulk::submit(unit, b, warp, lane, what);
                    }
                    Err(miss) => {
                        super::memory::missed(
                            unit,
                            b,
                            warp.index,
                            lane,
                            inst,
                            "an asynchronous store of",
                            miss,
                        );
                    }
                }
            }
        }
        AsyncOp::ClusterArrive => {
            if let Some(flow) = sync::aligned(warp, mask) {
                return flow;
            }
            warp.cluster_phase = Some(unit.cluster_phase);
            unit.cluster_arrived += 1;
            let key = Key::Cluster(unit.cluster_phase);
            races::release(unit, b, warp.index, mask, key);
            cluster_turn(unit, Some(b));
        }
        AsyncOp::ClusterWait => {
            if let Some(flow) = sync::aligned(warp, mask) {
                return flow;
            }
            match warp.cluster_phase {
                Some(phase) if phase == unit.cluster_phase => return Flow::Again(Status::AtCluster),
                Some(phase) => {
                    warp.cluster_phase = None;
                    races::acquire(unit, b, warp.index, mask, Key::Cluster(phase));
                }
                None => unit.find(FindingKind::Barrier, b, warp.index, mask, inst, || {
                    "barrier.cluster.wait without an arrive before it".to_owned()
                }),
            }
        }
        AsyncOp::SetMaxReg { is_inc, count } => {
            if let Some(flow) = sync::aligned(warp, mask) {
                return flow;
            }
            return set_max_reg(unit, b, warp, inst, mask, *is_inc, *count);
        }
    }
    Flow::Next
}

/// Completes the cluster barrier when every warp that still runs has arrived. `running`: a warp of this block
/// is taken out of its place, where it counts as done.
pub(crate) fn cluster_turn(unit: &mut Unit<'_>, running: Option<usize>) {
    let waiting: usize =
        unit.blocks.iter().map(|b| b.warps.iter().filter(|w| w.status != Status::Done).count()).sum();
    let live = waiting + usize::from(running.is_some());
    if unit.cluster_arrived > 0 && unit.cluster_arrived as usize >= live {
        unit.cluster_arrived = 0;
        unit.cluster_phase += 1;
        unit.progress += 1;
        for warp in unit.blocks.iter_mut().flat_map(|b| &mut b.warps) {
            if warp.status == Status::AtCluster {
                warp.status = Status::Ready;
            }
        }
    }
}

fn wide_row(warp: &Warp, slot: Wide) -> [u64; 32] {
    match slot {
        Wide::W(s) => warp.regs.w[s as usize].map(u64::from),
        Wide::Q(s) => warp.regs.q[s as usize],
    }
}

fn mapa(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    (dst, src, rank): (Wide, Wide, u16),
) {
    let size = unit.blocks.len() as u32;
    let ranks = warp.regs.w[rank as usize];
    if let Some(lane) = lanes(mask).find(|&l| ranks[l] >= size) {
        unit.find(FindingKind::BadOperand, b, warp.index, 1 << lane, inst, || {
            format!("block {} of a cluster of {size}", ranks[lane])
        });
    }
    let row = wide_row(warp, src);
    let out: [u64; 32] = std::array::from_fn(|i| {
        let inside = row[i] & ((1 << RANK_SHIFT) - 1);
        let window = row[i] & !(SHARED_WINDOW - 1);
        window | inside | u64::from(ranks[i] + 1) << RANK_SHIFT
    });
    match dst {
        Wide::W(s) => alu::set_w(&mut warp.regs.w[s as usize], &out.map(|v| v as u32), mask),
        Wide::Q(s) => alu::set_q(&mut warp.regs.q[s as usize], &out, mask),
    }
}

/// The block's pool of registers: what one warp gives back another may take.
fn set_max_reg(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    is_inc: bool,
    count: u32,
) -> Flow {
    let has = warp.max_regs;
    if has == 0 {
        return Flow::Next;
    }
    if is_inc != (count >= has) && count != has {
        unit.find(FindingKind::BadOperand, b, warp.index, mask, inst, || {
            let word = if is_inc { "inc" } else { "dec" };
            format!("setmaxnreg.{word} to {count} registers, but the warp has {has}")
        });
        return Flow::Next;
    }
    let block = &mut unit.blocks[b];
    if is_inc {
        let more = (count - has) * 32;
        if more > block.free_regs {
            return Flow::Again(Status::ForRegisters);
        }
        block.free_regs -= more;
    } else {
        block.free_regs += (has - count) * 32;
        for other in &mut block.warps {
            if other.status == Status::ForRegisters {
                other.status = Status::Ready;
            }
        }
        unit.progress += 1;
    }
    warp.max_regs = count;
    Flow::Next
}

/// Whether an operation issued now takes effect at once.
pub(super) fn is_immediate(unit: &mut Unit<'_>) -> bool {
    match unit.job.options.policy {
        Policy::Eager => true,
        Policy::Lazy => false,
        Policy::Random => unit.rng.below(3) == 0,
    }
}
