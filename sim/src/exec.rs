//! Executes the instructions of one warp, one after another, over the lanes that are there.

pub(crate) mod asynchronous;
pub(crate) mod atomics;
pub(crate) mod bulk;
pub(crate) mod copy;
pub(crate) mod mbarrier;
pub(crate) mod memory;
pub(crate) mod races;
pub(crate) mod stuck;
pub(crate) mod sync;
pub(crate) mod warpgroup;
pub(crate) mod warpwide;

use crate::alu::{self, Class};
use crate::op::{Guard, Inst, Op};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Choice, Status, Warp};

/// Loop turns after which a group lets its sisters go first.
const FAIR_TURNS: u32 = 2000;

/// What an instruction did to the control flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// On to the next instruction.
    Next,
    /// The warp waits; it goes on behind this instruction.
    Wait(Status),
    /// The warp waits and runs this instruction again.
    Again(Status),
    /// The group waits for these lanes to come here.
    Park(u32),
    /// A polled condition does not hold yet; others first.
    Poll,
}

/// Runs a warp until it waits, ends, or has used `share` instructions.
pub(crate) fn run_slice(unit: &mut Unit<'_>, b: usize, w: usize, share: u32) {
    let mut warp = std::mem::take(&mut unit.blocks[b].warps[w]);
    warp.status = Status::Ready;
    slice(unit, b, &mut warp, share);
    let is_done = warp.status == Status::Done;
    unit.blocks[b].warps[w] = warp;
    if is_done {
        unit.progress += 1;
        sync::warp_left(unit, b);
        asynchronous::cluster_turn(unit, None);
    }
}

fn slice(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, share: u32) {
    let code = unit.job.kernel.code.as_slice();
    if (warp.mask == 0 || !warp.groups.is_empty()) && !choose(unit, b, warp) {
        return;
    }
    let mut steps = 0;
    let mut threads = 0u64;
    while steps < share && !unit.is_over {
        let inst = &code[warp.pc as usize];
        let mask = match inst.guard {
            Guard::Always => warp.mask,
            Guard::If(p) => warp.mask & warp.regs.p[p as usize],
            Guard::Unless(p) => warp.mask & !warp.regs.p[p as usize],
        };
        steps += 1;
        threads += u64::from(mask.count_ones());
        if warp.flight.total != 0 && mask != 0 && !matches!(inst.op, Op::Wgmma(_)) {
            warpgroup::check(unit, b, warp, inst, mask);
        }
        if let Some(uses) = unit.job.kernel.uses.get(warp.pc as usize)
            && mask != 0
        {
            warpgroup::spoil(warp, uses);
        }
        if let Op::Alu { run, alu, .. } = &inst.op {
            alu::run(*run, &mut warp.regs, alu, mask);
            warp.pc += 1;
        } else if mask == 0 {
            warp.pc += 1;
        } else if let Op::Bra(target) = inst.op {
            if !branch(unit, b, warp, mask, target) {
                break;
            }
            continue;
        } else if matches!(inst.op, Op::Exit) {
            let open = warp.bulk_open & mask;
            if open != 0 {
                unit.find(FindingKind::MissingWait, b, warp.index, open, inst, || {
                    "the thread ends with bulk stores from shared memory that it has not waited for; \
                     cp.async.bulk.commit_group and cp.async.bulk.wait_group.read 0 come first"
                        .to_owned()
                });
            }
            warp.exit(mask);
            if warp.mask == 0 || !warp.groups.is_empty() {
                if warp.mask != 0 {
                    warp.pc += 1;
                }
                if !choose(unit, b, warp) {
                    break;
                }
                continue;
            }
            warp.pc += 1;
        } else {
            match step(unit, b, warp, inst, mask) {
                Flow::Next => warp.pc += 1,
                Flow::Wait(status) => {
                    warp.pc += 1;
                    warp.status = status;
                    break;
                }
                Flow::Again(status) => {
                    warp.status = status;
                    break;
                }
                Flow::Park(needs) => {
                    warp.suspend(needs, None);
                    if !choose(unit, b, warp) {
                        break;
                    }
                    continue;
                }
                Flow::Poll => {
                    warp.pc += 1;
                    let progress = unit.progress;
                    warp.suspend(0, Some(progress));
                    if !choose(unit, b, warp) {
                        break;
                    }
                    continue;
                }
            }
        }
        if warp.pc >= warp.limit && !choose(unit, b, warp) {
            break;
        }
    }
    unit.stats.warp_instructions += u64::from(steps);
    unit.stats.thread_instructions += threads;
}

/// Picks a group to run; false when the warp cannot go on now.
fn choose(unit: &mut Unit<'_>, b: usize, warp: &mut Warp) -> bool {
    match warp.choose(unit.progress) {
        Choice::Runs => true,
        Choice::Done => {
            warp.status = Status::Done;
            false
        }
        Choice::Sleeps => {
            warp.status = Status::Asleep(unit.progress);
            false
        }
        Choice::Stuck => {
            if sync::release_warp_barrier(unit, warp) {
                return choose(unit, b, warp);
            }
            stuck::report_divergence(unit, b, warp);
            unit.is_over = true;
            false
        }
    }
}

fn branch(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, taken: u32, target: u32) -> bool {
    let is_back = target <= warp.pc;
    if taken == warp.mask {
        warp.pc = target;
        if warp.groups.is_empty() {
            return true;
        }
        if is_back {
            warp.back_edges += 1;
            if warp.back_edges > FAIR_TURNS {
                warp.penalty += 1;
                return choose(unit, b, warp);
            }
        }
        // The lowest group runs; on a waiting group's counter the two merge.
        if warp.groups.iter().any(|g| g.pc <= target) {
            return choose(unit, b, warp);
        }
        warp.set_limit();
        return true;
    }
    warp.fork(target, taken);
    warp.pc += 1;
    choose(unit, b, warp)
}

/// Any instruction that is neither arithmetic nor a branch.
fn step(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32) -> Flow {
    match &inst.op {
        Op::Alu { .. } | Op::Bra(_) | Op::Exit => Flow::Next,
        Op::Trap(message) => {
            let message = message.clone();
            unit.find(FindingKind::Trap, b, warp.index, mask, inst, || message);
            unit.is_over = true;
            Flow::Next
        }
        Op::Clock { dst } => {
            let now = unit.stats.warp_instructions + unit.progress;
            match dst {
                (Class::Q, slot) => alu::set_q(&mut warp.regs.q[*slot as usize], &[now; 32], mask),
                (Class::W | Class::P, slot) => {
                    alu::set_w(&mut warp.regs.w[*slot as usize], &[now as u32; 32], mask);
                }
            }
            Flow::Next
        }
        Op::Param { regs, offset, bytes, is_signed } => {
            memory::load_param(unit, b, warp, inst, mask, (regs, *offset, *bytes, *is_signed));
            Flow::Next
        }
        Op::Load(access) => {
            memory::load(unit, b, warp, inst, mask, access);
            Flow::Next
        }
        Op::Store(access) => {
            memory::store(unit, b, warp, inst, mask, access);
            Flow::Next
        }
        Op::Atomic(atomic) => {
            atomics::atomic(unit, b, warp, inst, mask, atomic);
            Flow::Next
        }
        Op::Bar(bar) => sync::bar(unit, b, warp, inst, mask, bar),
        Op::BarWarp { mask: members } => sync::bar_warp(unit, b, warp, mask, *members),
        Op::Fence(kind) => sync::fence(unit, b, warp, mask, *kind),
        Op::Shfl { .. } | Op::Vote { .. } | Op::Match { .. } | Op::Redux { .. } | Op::Elect { .. } => {
            warpwide::collective(unit, b, warp, inst, mask)
        }
        Op::ActiveMask { dst } => {
            alu::set_w(&mut warp.regs.w[*dst as usize], &[mask; 32], mask);
            Flow::Next
        }
        Op::Matrix(op) => match sync::aligned(warp, mask) {
            Some(flow) => flow,
            None => {
                memory::matrix_move(unit, b, warp, inst, mask, op);
                Flow::Next
            }
        },
        Op::MovMatrix { dst, src } => match sync::aligned(warp, mask) {
            Some(flow) => flow,
            None => {
                let row = crate::fragments::transpose_matrix(&warp.regs.w[*src as usize]);
                alu::set_w(&mut warp.regs.w[*dst as usize], &row, mask);
                Flow::Next
            }
        },
        Op::Mma(op) => match sync::aligned(warp, mask) {
            Some(flow) => flow,
            None => {
                warpwide::mma(warp, op, mask);
                Flow::Next
            }
        },
        Op::Wgmma(op) => warpgroup::issue(unit, b, warp, inst, mask, op),
        Op::WgmmaFence => warpgroup::fence_or_commit(warp, mask, false),
        Op::WgmmaCommit => warpgroup::fence_or_commit(warp, mask, true),
        Op::WgmmaWait(keep) => warpgroup::wait(unit, b, warp, mask, *keep),
        Op::Async(op) => asynchronous::step(unit, b, warp, inst, mask, op),
    }
}
