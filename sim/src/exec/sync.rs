//! Barriers of the block and of the warp, and fences.

use crate::alu::{self, Class};
use crate::op::{Bar, FenceKind, Fold, Inst, Op};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Status, Warp};

use crate::race::{Key, Race};

use super::{Flow, races};

/// An `.aligned` instruction needs every live lane: parks until they are here.
pub(super) fn aligned(warp: &Warp, mask: u32) -> Option<Flow> {
    (mask != warp.live).then_some(Flow::Park(warp.live))
}

/// `bar.warp.sync`.
pub(super) fn bar_warp(unit: &mut Unit<'_>, b: usize, warp: &Warp, mask: u32, members: u16) -> Flow {
    let first = mask.trailing_zeros() as usize;
    let members = warp.regs.w[members as usize][first] & warp.live;
    if members & !mask != 0 {
        return Flow::Park(members);
    }
    races::with_threads(unit, b, warp.index, mask, Race::meet);
    Flow::Next
}

/// Lanes parked at different `bar.warp.sync` instructions that together make up what they wait for.
pub(super) fn release_warp_barrier(unit: &Unit<'_>, warp: &mut Warp) -> bool {
    let code = unit.job.kernel.code.as_slice();
    let at_barrier = |pc: u32| matches!(code[pc as usize].op, Op::BarWarp { .. });
    let present = warp.groups.iter().filter(|g| at_barrier(g.pc)).fold(0, |m, g| m | g.mask);
    let live = warp.live;
    let mut released = false;
    for group in warp.groups.iter_mut().filter(|g| at_barrier(g.pc)) {
        if group.needs & live & !present == 0 {
            group.pc += 1;
            group.needs = 0;
            released = true;
        }
    }
    released
}

/// `bar.sync`, `bar.arrive`, `bar.red`.
pub(super) fn bar(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32, bar: &Bar) -> Flow {
    if let Some(flow) = aligned(warp, mask) {
        return flow;
    }
    let first = mask.trailing_zeros() as usize;
    let id = warp.regs.w[bar.id as usize][first];
    let count = bar.count.map(|c| warp.regs.w[c as usize][first]);
    if id > 15 {
        unit.find(FindingKind::Barrier, b, warp.index, mask, inst, || {
            format!("barrier {id}; a block has barriers 0 to 15")
        });
        return Flow::Next;
    }
    if let Some(n) = count
        && (n % 32 != 0 || n == 0)
    {
        unit.find(FindingKind::Barrier, b, warp.index, mask, inst, || {
            format!("barrier {id} with {n} threads; the count should be a positive multiple of 32")
        });
        return Flow::Next;
    }
    let state = &mut unit.blocks[b].bars[id as usize];
    if state.arrived > 0 && state.expected != count {
        let (before, now) = (state.expected, count);
        unit.find(FindingKind::Barrier, b, warp.index, mask, inst, || {
            let text = |c: Option<u32>| c.map_or("the whole block".to_owned(), |n| format!("{n} threads"));
            format!("barrier {id} for {}, but others arrived at it for {}", text(now), text(before))
        });
        return Flow::Next;
    }
    state.expected = count;
    state.arrived += 32;
    if let Some(red) = &bar.red {
        state.fold = Some(red.fold);
        state.popc += (warp.regs.p[red.src as usize] & mask).count_ones();
        state.contributed += mask.count_ones();
    }
    let me = warp.index;
    races::release(unit, b, me, mask, Key::Bar(b, id));
    let state = &mut unit.blocks[b].bars[id as usize];
    if bar.waits {
        state.waiting.push((me, bar.red.map(|r| r.dst), mask));
    }
    let expected = count.unwrap_or_else(|| whole_block(unit, b, me));
    let arrived = unit.blocks[b].bars[id as usize].arrived;
    if arrived > expected {
        unit.find(FindingKind::Barrier, b, warp.index, mask, inst, || {
            format!("{arrived} threads arrived at barrier {id}, which expects {expected}; give each phase its own warps")
        });
    }
    if arrived < expected {
        return if bar.waits { Flow::Wait(Status::AtBarrier(id)) } else { Flow::Next };
    }
    release(unit, b, id, Some(warp));
    Flow::Next
}

/// Threads a barrier without a count waits for: those of warps that have not left.
fn whole_block(unit: &Unit<'_>, b: usize, me: u32) -> u32 {
    // The running warp is taken out of its place, where `Done` stands for it.
    let warps = unit.blocks[b].warps.iter().enumerate();
    warps.filter(|(w, warp)| *w == me as usize || warp.status != Status::Done).count() as u32 * 32
}

/// Lets everybody who waits at a barrier go on.
fn release(unit: &mut Unit<'_>, b: usize, id: u32, mut running: Option<&mut Warp>) {
    unit.progress += 1;
    let state = std::mem::take(&mut unit.blocks[b].bars[id as usize]);
    let result = match state.fold {
        Some(Fold::Popc) => state.popc,
        Some(Fold::And) => u32::from(state.popc == state.contributed),
        Some(_) | None => u32::from(state.popc != 0),
    };
    let mut released = Vec::new();
    for (w, dst, mask) in state.waiting {
        let warp = match &mut running {
            Some(warp) if warp.index == w => &mut **warp,
            _ => &mut unit.blocks[b].warps[w as usize],
        };
        warp.status = Status::Ready;
        released.push((w, mask));
        match dst {
            Some((Class::P, slot)) => {
                let row = &mut warp.regs.p[slot as usize];
                *row = if result != 0 { *row | mask } else { *row & !mask };
            }
            Some((Class::W | Class::Q, slot)) => {
                alu::set_w(&mut warp.regs.w[slot as usize], &[result; 32], mask);
            }
            None => {}
        }
    }
    for (w, mask) in released {
        races::acquire(unit, b, w, mask, Key::Bar(b, id));
    }
    if let Some(race) = &mut unit.race {
        race.forget(Key::Bar(b, id));
    }
}

/// A warp has exited: barriers for the whole block may be complete without it.
pub(super) fn warp_left(unit: &mut Unit<'_>, b: usize) {
    let live = unit.blocks[b].warps.iter().filter(|w| w.status != Status::Done).count() as u32 * 32;
    for id in 0..16 {
        let bar = &unit.blocks[b].bars[id];
        if bar.arrived > 0 && bar.expected.is_none() && bar.arrived >= live {
            release(unit, b, id as u32, None);
        }
    }
}

/// `membar`, `fence`: memory is consistent as it is; the race detector listens.
pub(super) fn fence(unit: &mut Unit<'_>, b: usize, warp: &Warp, mask: u32, kind: FenceKind) -> Flow {
    races::with_threads(unit, b, warp.index, mask, |race, threads| {
        for &t in threads {
            match kind {
                FenceKind::Cta | FenceKind::Cluster | FenceKind::Gpu => race.fence(t),
                FenceKind::ProxyAsync => race.fence_proxy(t),
                FenceKind::MbarrierInit => race.fence_inits(t),
                FenceKind::ProxyOther => {}
            }
        }
    });
    Flow::Next
}
