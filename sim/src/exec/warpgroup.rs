//! `wgmma`: rendezvous of four warps, products in flight, and the registers they hold.

use crate::alu::Slot;
use crate::memory::SHARED_BASE;
use crate::op::{Inst, Op, WgmmaA, WgmmaOp};
use crate::regs::Uses;
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Status, Warp};
use crate::warpgroup::InFlight;
use crate::wgmma::{ASource, Initial, SharedWindow, WARPS, Wgmma};

use super::asynchronous::is_immediate;
use crate::race::Use;

use super::{Flow, races, sync};

/// `wgmma.mma_async`.
pub(super) fn issue(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    op: &WgmmaOp,
) -> Flow {
    if let Some(flow) = sync::aligned(warp, mask) {
        return flow;
    }
    let group = warp.index as usize / WARPS;
    let others: Vec<usize> =
        (group * WARPS..(group + 1) * WARPS).filter(|&w| w != warp.index as usize).collect();
    if others[WARPS - 2] >= unit.blocks[b].warps.len() || warp.live != u32::MAX {
        unit.find(FindingKind::Divergence, b, warp.index, mask, inst, || {
            "wgmma needs four whole warps, the first a multiple of four".to_owned()
        });
        unit.is_over = true;
        return Flow::Next;
    }
    let is_here = |w: usize| {
        let other = &unit.blocks[b].warps[w];
        other.status == Status::AtWarpgroup && other.pc == warp.pc
    };
    if !others.iter().all(|&w| is_here(w)) {
        return Flow::Again(Status::AtWarpgroup);
    }
    let fences = warp.flight.fences;
    let in_registers = match op.a {
        WgmmaA::Registers(regs) => regs.to_vec(),
        WgmmaA::Descriptor(_) => Vec::new(),
    };
    let accumulates = warp.regs.p[op.scale as usize] != 0;
    let read = op.d.iter().filter(|_| accumulates).chain(&in_registers);
    if fences == 0 || read.into_iter().any(|&s| warp.flight.spoiled[s as usize] == fences + 1) {
        unit.find(FindingKind::MissingWait, b, warp.index, mask, inst, || {
            "wgmma reads registers that ordinary instructions wrote after the last wgmma.fence; \
             put wgmma.fence.sync.aligned between the two"
                .to_owned()
        });
    }
    let operands = |w: &Warp| {
        let p = w.regs.p[op.scale as usize];
        let a = match op.a {
            WgmmaA::Descriptor(slot) => w.regs.q[slot as usize],
            WgmmaA::Registers(_) => [0; 32],
        };
        let b = w.regs.q[op.b as usize];
        let same = a.iter().all(|v| *v == a[0]) && b.iter().all(|v| *v == b[0]) && (p == 0 || p == u32::MAX);
        (a[0], b[0], p & 1, same)
    };
    let mine = operands(warp);
    let is_uniform = mine.3 && others.iter().all(|&w| operands(&unit.blocks[b].warps[w]) == mine);
    if !is_uniform {
        unit.find(FindingKind::BadOperand, b, warp.index, mask, inst, || {
            "the descriptors or the scale differ between lanes or warps of the warpgroup".to_owned()
        });
    }
    let source = match op.a {
        WgmmaA::Descriptor(_) => ASource::Shared(mine.0),
        WgmmaA::Registers(_) => ASource::Registers,
    };
    let window = SharedWindow { base: SHARED_BASE, bytes: unit.blocks[b].shared.bytes.len() as u32 };
    match Wgmma::new(op.form, source, mine.1, window) {
        Ok(product) => {
            for range in product.reads() {
                let at = (range.start - SHARED_BASE) as usize;
                let bytes = (range.end - range.start) as usize;
                if !unit.blocks[b].shared.is_written(at, bytes) {
                    unit.find(FindingKind::Uninitialised, b, warp.index, 0, inst, || {
                        format!(
                            "wgmma reads {bytes} bytes of shared memory at offset {at}, and nobody has written all \
                             of them yet; wait for the copy that does"
                        )
                    });
                    break;
                }
            }
            let mut conflict = None;
            if let Some(race) = &mut unit.race {
                let by: Vec<usize> =
                    (group * WARPS..(group + 1) * WARPS).map(|w| race.thread(b, w as u32, 0)).collect();
                let ranges = product
                    .reads()
                    .into_iter()
                    .map(|r| ((r.start - SHARED_BASE) as usize, (r.end - r.start) as usize));
                conflict = race.product((b, group), &by, ranges, warp.flight.committed, warp.pc);
            }
            if let Some(conflict) = conflict {
                races::report(unit, b, warp.index, 0, inst, Use::Read, conflict);
            }
            let entry = InFlight {
                product,
                initial: if mine.2 == 1 { Initial::Accumulate } else { Initial::Zero },
                d: op.d.clone(),
                a: op.a,
                group: warp.flight.committed,
                is_done: false,
                aliases: Vec::new(),
                waited: 0,
                pc: warp.pc,
            };
            unit.blocks[b].groups[group].push(entry);
            op.d.iter().for_each(|&slot| warp.flight.add(slot));
            for &w in &others {
                let other = &mut unit.blocks[b].warps[w];
                op.d.iter().for_each(|&slot| other.flight.add(slot));
            }
            // Products of a warpgroup happen in order: this one at once only if none before it is left.
            let is_first = unit.blocks[b].groups[group].iter().filter(|e| !e.is_done).count() == 1;
            if is_first && is_immediate(unit) {
                complete(unit, b, group, Some(warp), u64::MAX);
            }
        }
        Err(error) => {
            let message = error.to_string();
            unit.find(FindingKind::BadOperand, b, warp.index, 0, inst, || message);
        }
    }
    for &w in &others {
        let other = &mut unit.blocks[b].warps[w];
        other.pc += 1;
        other.status = Status::Ready;
    }
    Flow::Next
}

/// Performs the products of groups before `before`, in order. `running` is the warp out of its place.
fn complete(unit: &mut Unit<'_>, b: usize, group: usize, mut running: Option<&mut Warp>, before: u64) {
    let mut entries = std::mem::take(&mut unit.blocks[b].groups[group]);
    for entry in entries.iter_mut().filter(|e| !e.is_done && e.group < before) {
        entry.is_done = true;
        let block = &mut unit.blocks[b];
        let first = group * WARPS;
        let out = {
            let at = |i: usize| -> &Warp {
                match &running {
                    Some(warp) if warp.index as usize == first + i => warp,
                    _ => &block.warps[first + i],
                }
            };
            let a_rows = match entry.a {
                WgmmaA::Registers(slots) => Some(std::array::from_fn(|w| {
                    let warp = at(w);
                    slots.map(|s| &warp.regs.w[s as usize])
                })),
                WgmmaA::Descriptor(_) => None,
            };
            entry.product.compute(&block.shared.bytes, a_rows.as_ref(), entry.initial, |w, r| {
                &at(w).regs.w[entry.d[r] as usize]
            })
        };
        let n = entry.d.len();
        for (w, rows) in out.chunks_exact(n).enumerate() {
            let warp: &mut Warp = match &mut running {
                Some(warp) if warp.index as usize == first + w => warp,
                _ => &mut block.warps[first + w],
            };
            for (slot, row) in entry.d.iter().zip(rows) {
                warp.regs.w[*slot as usize] = *row;
            }
            for &(_, from, to) in entry.aliases.iter().filter(|a| a.0 as usize == first + w) {
                warp.regs.w[to as usize] = warp.regs.w[from as usize];
            }
        }
    }
    unit.blocks[b].groups[group] = entries;
}

/// `wgmma.wait_group`.
pub(super) fn wait(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, mask: u32, keep: u32) -> Flow {
    if let Some(flow) = sync::aligned(warp, mask) {
        return flow;
    }
    let group = warp.index as usize / WARPS;
    if group >= unit.blocks[b].groups.len() {
        return Flow::Next;
    }
    let before = warp.flight.committed.saturating_sub(u64::from(keep));
    complete(unit, b, group, Some(warp), before);
    let bit = 1 << (warp.index as usize % WARPS);
    let me = warp.index;
    for entry in unit.blocks[b].groups[group].iter_mut().filter(|e| e.group < before && e.waited & bit == 0) {
        entry.waited |= bit;
        entry.d.iter().for_each(|&slot| warp.flight.remove(slot));
        entry.aliases.iter().filter(|a| a.0 == me).for_each(|a| warp.flight.remove(a.2));
    }
    unit.blocks[b].groups[group].retain(|e| e.waited != 0xf);
    races::with_threads(unit, b, me, mask, |race, threads| race.products_done((b, group), threads, before));
    Flow::Next
}

/// `wgmma.fence`, `wgmma.commit_group`.
pub(super) fn fence_or_commit(warp: &mut Warp, mask: u32, is_commit: bool) -> Flow {
    if let Some(flow) = sync::aligned(warp, mask) {
        return flow;
    }
    if is_commit {
        warp.flight.committed += 1;
    } else {
        warp.flight.fences += 1;
    }
    Flow::Next
}

/// Some product of some warpgroup that has not happened yet happens now.
pub(crate) fn perform_one(unit: &mut Unit<'_>, b: usize) {
    for group in 0..unit.blocks[b].groups.len() {
        let next = unit.blocks[b].groups[group].iter().find(|e| !e.is_done).map(|e| e.group);
        if let Some(next) = next {
            complete(unit, b, group, None, next + 1);
        }
    }
}

/// Notes what an ordinary instruction does to registers of matrix products.
pub(super) fn spoil(warp: &mut Warp, uses: &Uses) {
    for &slot in &uses.spoils {
        warp.flight.spoiled[slot as usize] = warp.flight.fences + 1;
    }
}

/// Checks an ordinary instruction against the registers in flight; called only while there are some.
pub(super) fn check(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32) {
    let code = unit.job.kernel.code.as_slice();
    let group = warp.index as usize / WARPS;
    let me = warp.index;
    let bit = 1 << (me as usize % WARPS);
    let uses = &unit.job.kernel.uses[warp.pc as usize];
    if let Op::Alu { class, alu, .. } = &inst.op
        && class.is_move
        && let Some(&dst) = uses.writes.first()
    {
        let src = alu.s[0];
        if warp.flight.count[src as usize] > 0 {
            let holds = |e: &InFlight| {
                e.waited & bit == 0
                    && (e.d.contains(&src) || e.aliases.iter().any(|a| a.0 == me && a.2 == src))
            };
            if let Some(entry) = unit.blocks[b].groups[group].iter_mut().rev().find(|e| holds(e)) {
                entry.aliases.push((me, src, dst));
                warp.flight.add(dst);
            }
            return;
        }
    }
    if let Some(&slot) = uses.reads.iter().find(|&&s| warp.flight.count[s as usize] > 0) {
        let line = issuer(unit, b, group, me, slot).map_or(0, |pc| code[pc as usize].line);
        unit.find(FindingKind::MissingWait, b, me, mask, inst, || {
            format!(
                "reads a register that the wgmma at PTX line {line} is still computing; \
                 wgmma.commit_group and wgmma.wait_group come first"
            )
        });
    }
    for &slot in &uses.writes {
        if warp.flight.count[slot as usize] == 0 {
            continue;
        }
        let mut is_product = None;
        for entry in &mut unit.blocks[b].groups[group] {
            if entry.waited & bit != 0 {
                continue;
            }
            if entry.d.contains(&slot) {
                is_product = Some(entry.pc);
            } else {
                // The copy is dead: its register is used for something else now.
                let before = entry.aliases.len();
                entry.aliases.retain(|a| !(a.0 == me && a.2 == slot));
                (entry.aliases.len()..before).for_each(|_| warp.flight.remove(slot));
            }
        }
        if let Some(pc) = is_product {
            let line = code[pc as usize].line;
            unit.find(FindingKind::MissingWait, b, me, mask, inst, || {
                format!(
                    "writes a register that the wgmma at PTX line {line} is still computing; \
                     wgmma.wait_group comes first"
                )
            });
        }
    }
}

/// The product a register belongs to.
fn issuer(unit: &Unit<'_>, b: usize, group: usize, warp: u32, slot: Slot) -> Option<u32> {
    let holds = |e: &&InFlight| e.d.contains(&slot) || e.aliases.iter().any(|a| a.0 == warp && a.2 == slot);
    unit.blocks[b].groups[group].iter().rev().find(holds).map(|e| e.pc)
}
