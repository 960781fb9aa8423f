//! Instructions by which the lanes of a warp exchange registers.

use crate::alu::{self, Class};
use crate::mma;
use crate::op::{Fold, Inst, MmaOp, Op, ShflMode, VoteMode};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::Warp;

use super::Flow;

/// Bits of the set lanes, lowest first.
pub(crate) fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            lane
        })
    })
}

/// The member mask of a `.sync` instruction, or what to do when its lanes are not all here.
fn members(warp: &Warp, mask: u32, slot: u16) -> Result<u32, Flow> {
    let first = mask.trailing_zeros() as usize;
    let members = warp.regs.w[slot as usize][first] & warp.live;
    if members & !mask == 0 { Ok(members) } else { Err(Flow::Park(members)) }
}

/// `shfl`, `vote`, `match`, `redux`, `elect`.
pub(super) fn collective(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32) -> Flow {
    let (Op::Shfl { mask: slot, .. }
    | Op::Vote { mask: slot, .. }
    | Op::Match { mask: slot, .. }
    | Op::Redux { mask: slot, .. }
    | Op::Elect { mask: slot, .. }) = inst.op
    else {
        return Flow::Next;
    };
    let members = match members(warp, mask, slot) {
        Ok(members) => members,
        Err(flow) => return flow,
    };
    let strangers = mask & !members;
    if strangers != 0 {
        unit.find(FindingKind::Divergence, b, warp.index, strangers, inst, || {
            format!(
                "lanes {strangers:#010x} execute this but are not in its member mask {members:#010x}; \
                 name every lane that takes part"
            )
        });
    }
    if let Op::Shfl { mode, dst, valid, src, lane, clamp, .. } = &inst.op {
        shfl(warp, mask, *mode, [*dst, *src, *lane, *clamp], *valid);
    }
    if let Op::Vote { mode, dst, src, .. } = &inst.op {
        let votes = warp.regs.p[*src as usize] & members;
        let result = match mode {
            VoteMode::All => u32::from(votes == members),
            VoteMode::Any => u32::from(votes != 0),
            VoteMode::Uni => u32::from(votes == 0 || votes == members),
            VoteMode::Ballot => votes,
        };
        match dst {
            (Class::P, slot) => {
                let row = &mut warp.regs.p[*slot as usize];
                *row = if result != 0 { *row | mask } else { *row & !mask };
            }
            (Class::W | Class::Q, slot) => {
                alu::set_w(&mut warp.regs.w[*slot as usize], &[result; 32], mask);
            }
        }
    }
    if let Op::Match { is_all, dst, valid, src, .. } = &inst.op {
        let values: [u64; 32] = match src {
            (Class::Q, slot) => warp.regs.q[*slot as usize],
            (Class::W | Class::P, slot) => warp.regs.w[*slot as usize].map(u64::from),
        };
        let mut out = [0; 32];
        let mut all = false;
        for i in lanes(mask) {
            out[i] = lanes(members).filter(|&j| values[j] == values[i]).fold(0, |m, j| m | 1 << j);
            all = out[i] == members;
        }
        if *is_all {
            out = [if all { members } else { 0 }; 32];
        }
        alu::set_w(&mut warp.regs.w[*dst as usize], &out, mask);
        if let Some(p) = valid {
            let row = &mut warp.regs.p[*p as usize];
            *row = if all { *row | mask } else { *row & !mask };
        }
    }
    if let Op::Redux { fold, dst, src, .. } = &inst.op {
        let row = &warp.regs.w[*src as usize];
        let result = lanes(members).map(|i| row[i]).reduce(|a, b| combine(*fold, a, b)).unwrap_or(0);
        alu::set_w(&mut warp.regs.w[*dst as usize], &[result; 32], mask);
    }
    if let Op::Elect { dst, valid, .. } = &inst.op {
        let leader = members.trailing_zeros();
        let row = &mut warp.regs.p[*valid as usize];
        *row = (*row & !mask) | (1u32.checked_shl(leader).unwrap_or(0) & mask);
        if let Some(dst) = dst {
            alu::set_w(&mut warp.regs.w[*dst as usize], &[leader; 32], mask);
        }
    }
    Flow::Next
}

fn combine(fold: Fold, a: u32, b: u32) -> u32 {
    match fold {
        Fold::AddU | Fold::Popc => a.wrapping_add(b),
        Fold::MinU => a.min(b),
        Fold::MaxU => a.max(b),
        Fold::MinS => (a as i32).min(b as i32) as u32,
        Fold::MaxS => (a as i32).max(b as i32) as u32,
        Fold::And => a & b,
        Fold::Or => a | b,
        Fold::Xor => a ^ b,
        Fold::MinF => {
            crate::fp::min_f32(f32::from_bits(a), f32::from_bits(b), crate::fp::NanRule::Number).to_bits()
        }
        Fold::MaxF => {
            crate::fp::max_f32(f32::from_bits(a), f32::from_bits(b), crate::fp::NanRule::Number).to_bits()
        }
    }
}

/// `[dst, src, lane, clamp]`; a lane that reads an absent one gets poison, as nothing is promised.
fn shfl(warp: &mut Warp, mask: u32, mode: ShflMode, slots: [u16; 4], valid: Option<u16>) {
    let [dst, src, lane, clamp] = slots.map(usize::from);
    let from = warp.regs.w[src];
    let (lane_row, clamp_row) = (&warp.regs.w[lane], &warp.regs.w[clamp]);
    let mut out = [0; 32];
    let mut inside = 0u32;
    for i in 0..32u32 {
        let bval = lane_row[i as usize] & 31;
        let cval = clamp_row[i as usize] & 31;
        let segment = (clamp_row[i as usize] >> 8) & 31;
        let max = (i & segment) | (cval & !segment);
        let min = i & segment;
        let (j, ok) = match mode {
            ShflMode::Up => (i.wrapping_sub(bval), i as i32 - bval as i32 >= max as i32),
            ShflMode::Down => (i + bval, i + bval <= max),
            ShflMode::Bfly => (i ^ bval, (i ^ bval) <= max),
            ShflMode::Idx => {
                let j = min | (bval & !segment);
                (j, j <= max)
            }
        };
        let j = if ok { j } else { i };
        inside |= u32::from(ok) << i;
        out[i as usize] = if mask >> j & 1 != 0 { from[j as usize] } else { 0xcdcd_cdcd };
    }
    alu::set_w(&mut warp.regs.w[dst], &out, mask);
    if let Some(p) = valid {
        let row = &mut warp.regs.p[p as usize];
        *row = (*row & !mask) | (inside & mask);
    }
}

/// `mma.sync`.
pub(super) fn mma(warp: &mut Warp, op: &MmaOp, mask: u32) {
    let rows = |slots: &[u16], out: &mut Vec<usize>| out.extend(slots.iter().map(|&s| usize::from(s)));
    let mut at = Vec::with_capacity(12);
    rows(&op.a, &mut at);
    rows(&op.b, &mut at);
    rows(&op.c, &mut at);
    let w = &warp.regs.w;
    let refs: Vec<&[u32; 32]> = at.iter().map(|&s| &w[s]).collect();
    let (a, rest) = refs.split_at(op.a.len());
    let (bb, c) = rest.split_at(op.b.len());
    let d = mma::mma(&op.form, a, bb, c);
    for (slot, row) in op.d.iter().zip(&d) {
        alu::set_w(&mut warp.regs.w[*slot as usize], row, mask);
    }
}
