//! What is said when nothing goes on.

use crate::op::Op;
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Status, Warp};

/// Every warp of the unit waits and nothing is in flight.
pub(crate) fn report_deadlock(unit: &mut Unit<'_>) {
    let code = unit.job.kernel.code.as_slice();
    let mut lines = Vec::new();
    let mut first = None;
    for (b, block) in unit.blocks.iter().enumerate() {
        for warp in &block.warps {
            let what = match warp.status {
                Status::Done => continue,
                Status::Ready => "can run".to_owned(),
                Status::AtBarrier(id) => {
                    let bar = &block.bars[id as usize];
                    match bar.expected {
                        Some(n) => format!("waits at barrier {id}, {} of {n} threads arrived", bar.arrived),
                        None => format!("waits at barrier {id}, {} threads arrived", bar.arrived),
                    }
                }
                Status::AtCluster => "waits for the other blocks of its cluster".to_owned(),
                Status::AtWarpgroup => "waits for the other warps of its warpgroup".to_owned(),
                Status::ForRegisters => "waits in setmaxnreg.inc for registers nobody gives back".to_owned(),
                Status::Asleep(_) => "polls an mbarrier phase that never completes".to_owned(),
            };
            let pc = warp.groups.iter().map(|g| g.pc).chain((warp.mask != 0).then_some(warp.pc)).min();
            let pc = pc.unwrap_or(0).saturating_sub(1) as usize;
            let line = code[pc.min(code.len() - 1)].line;
            first.get_or_insert((b, warp.index, pc.min(code.len() - 1)));
            lines.push(format!(
                "block {:?} warp {} near PTX line {line} {what}",
                block.place.ctaid, warp.index
            ));
        }
    }
    let Some((b, warp, pc)) = first else { return };
    let n = lines.len();
    lines.truncate(8);
    let message = format!("{n} warp(s) wait for ever: {}", lines.join("; "));
    unit.find(FindingKind::Deadlock, b, warp, 0, &code[pc], || message);
}

/// The groups of one warp wait for each other.
pub(crate) fn report_divergence(unit: &mut Unit<'_>, b: usize, warp: &Warp) {
    let code = unit.job.kernel.code.as_slice();
    let Some(parked) = warp.groups.iter().find(|g| g.needs != 0) else { return };
    let inst = &code[parked.pc as usize];
    let missing = parked.needs & warp.live & !parked.mask;
    let places: Vec<String> = warp
        .groups
        .iter()
        .filter(|g| g.pc != parked.pc)
        .map(|g| format!("lanes {:#010x} at PTX line {}", g.mask, code[g.pc as usize].line))
        .collect();
    let (kind, advice) = if matches!(inst.op, Op::Bar(_)) {
        (FindingKind::Barrier, "move the barrier out of the branch, or make the branch uniform over the warp")
    } else {
        (FindingKind::Divergence, "let all named lanes reach it, or name only those that do")
    };
    unit.find(kind, b, warp.index, parked.mask, inst, || {
        format!(
            "lanes {:#010x} wait here for lanes {missing:#010x}, which cannot come: {}; {advice}",
            parked.mask,
            places.join(", ")
        )
    });
}

/// The launch runs longer than it may.
pub(crate) fn report_step_limit(unit: &mut Unit<'_>, b: usize, w: usize) {
    let code = unit.job.kernel.code.as_slice();
    let warp = &unit.blocks[b].warps[w];
    let pc = warp.groups.iter().map(|g| g.pc).chain((warp.mask != 0).then_some(warp.pc)).min().unwrap_or(0);
    let inst = &code[(pc as usize).min(code.len() - 1)];
    let (index, limit) = (warp.index, unit.job.options.step_limit);
    unit.find(FindingKind::StepLimit, b, index, 0, inst, || {
        format!("more than {limit} warp instructions: an endless loop, or raise the step limit")
    });
}
