//! Fits the thousands of registers a compiler names into the few that live at the same time.
//!
//! A register's interval runs from the first to the last instruction where it is live, by the usual
//! backward dataflow over basic blocks; registers whose intervals do not meet share a slot. Lanes keep their
//! own values in a slot, so divergence changes nothing. Slots that are filled once per warp, and registers
//! of asynchronous matrix products, whose values come when no instruction names them, keep a slot for
//! themselves.

use std::collections::BTreeSet;

use crate::alu::{Class, Slot};
use crate::lower::Kernel;
use crate::op::{Guard, Op, WgmmaA};
use crate::regs::{Role, visit};

/// One use of a register by an instruction.
type Touch = (usize, Role);

/// Renumbers the registers of a kernel.
pub(crate) fn compact_registers(kernel: &mut Kernel) {
    let blocks = basic_blocks(kernel);
    for class in [Class::W, Class::Q, Class::P] {
        let n = match class {
            Class::W => kernel.n_w,
            Class::Q => kernel.n_q,
            Class::P => kernel.n_p,
        };
        let touches = touches(kernel, class);
        let mut spans = live_spans(&blocks, &touches, n);
        let end = kernel.code.len();
        for slot in kept_apart(kernel, class) {
            spans[slot as usize] = Some((0, end));
        }
        let (map, used) = assign(&spans);
        for inst in &mut kernel.code {
            visit(inst, &mut |c, slot, _| {
                if c == class {
                    *slot = map[*slot as usize];
                }
            });
        }
        let renamed = |slot: &mut Slot| *slot = map[*slot as usize];
        match class {
            Class::W => {
                kernel.const_w.iter_mut().for_each(|c| renamed(&mut c.0));
                kernel.specials.iter_mut().for_each(|s| renamed(&mut s.1));
                kernel.n_w = used;
            }
            Class::Q => {
                kernel.const_q.iter_mut().for_each(|c| renamed(&mut c.0));
                kernel.n_q = used;
            }
            Class::P => {
                kernel.const_p.iter_mut().for_each(|c| renamed(&mut c.0));
                kernel.n_p = used;
            }
        }
    }
}

/// First instruction, end, and successors of each block.
fn basic_blocks(kernel: &Kernel) -> Vec<(usize, usize, Vec<usize>)> {
    let n = kernel.code.len();
    let mut starts = BTreeSet::from([0]);
    for (i, inst) in kernel.code.iter().enumerate() {
        if let Op::Bra(target) = inst.op {
            starts.insert(target as usize);
            starts.insert(i + 1);
        } else if matches!(inst.op, Op::Exit) {
            starts.insert(i + 1);
        }
    }
    let starts: Vec<usize> = starts.into_iter().filter(|&s| s < n).collect();
    let index = |at: usize| starts.binary_search(&at).ok();
    (0..starts.len())
        .map(|b| {
            let end = starts.get(b + 1).copied().unwrap_or(n);
            let last = &kernel.code[end - 1];
            let mut next = Vec::new();
            if let Op::Bra(target) = last.op {
                next.extend(index(target as usize));
            }
            let leaves = matches!(last.op, Op::Bra(_) | Op::Exit) && last.guard == Guard::Always;
            if !leaves {
                next.extend(index(end));
            }
            (starts[b], end, next)
        })
        .collect()
}

/// The registers of a class each instruction touches; a guarded write keeps what the other lanes hold.
fn touches(kernel: &mut Kernel, class: Class) -> Vec<Vec<Touch>> {
    let touch = |inst: &mut crate::op::Inst| {
        let mut out = Vec::new();
        let is_guarded = inst.guard != Guard::Always;
        visit(inst, &mut |c, slot, role| {
            if c == class {
                let slot = *slot as usize;
                if role != Role::Write || is_guarded {
                    out.push((slot, Role::Read));
                }
                if role != Role::Read {
                    out.push((slot, Role::Write));
                }
            }
        });
        out
    };
    kernel.code.iter_mut().map(touch).collect()
}

/// First and last instruction at which each register is live or touched.
fn live_spans(
    blocks: &[(usize, usize, Vec<usize>)],
    touches: &[Vec<Touch>],
    n: usize,
) -> Vec<Option<(usize, usize)>> {
    let words = n.div_ceil(64);
    let mut live_in = vec![vec![0u64; words]; blocks.len()];
    let live_out = |live_in: &[Vec<u64>], b: usize| {
        let mut out = vec![0u64; words];
        for &s in &blocks[b].2 {
            out.iter_mut().zip(&live_in[s]).for_each(|(o, i)| *o |= i);
        }
        out
    };
    let before = |touched: &[Touch], live: &mut [u64]| {
        for &(r, _) in touched.iter().filter(|t| t.1 == Role::Write) {
            live[r / 64] &= !(1 << (r % 64));
        }
        for &(r, _) in touched.iter().filter(|t| t.1 == Role::Read) {
            live[r / 64] |= 1 << (r % 64);
        }
    };
    let mut changed = true;
    while changed {
        changed = false;
        for b in (0..blocks.len()).rev() {
            let mut live = live_out(&live_in, b);
            for i in (blocks[b].0..blocks[b].1).rev() {
                before(&touches[i], &mut live);
            }
            if live != live_in[b] {
                live_in[b] = live;
                changed = true;
            }
        }
    }
    let mut spans: Vec<Option<(usize, usize)>> = vec![None; n];
    let mut stretch = |r: usize, at: usize| {
        let span = spans[r].get_or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    };
    for (b, &(start, end, _)) in blocks.iter().enumerate() {
        for (set, at) in [(&live_in[b], start), (&live_out(&live_in, b), end - 1)] {
            for (w, &bits) in set.iter().enumerate() {
                let mut bits = bits;
                while bits != 0 {
                    stretch(64 * w + bits.trailing_zeros() as usize, at);
                    bits &= bits - 1;
                }
            }
        }
    }
    for (i, touched) in touches.iter().enumerate() {
        touched.iter().for_each(|&(r, _)| stretch(r, i));
    }
    spans
}

/// Registers that may share with nobody.
fn kept_apart(kernel: &Kernel, class: Class) -> BTreeSet<Slot> {
    let mut out = BTreeSet::new();
    match class {
        Class::W => {
            out.extend(kernel.const_w.iter().map(|c| c.0));
            out.extend(kernel.specials.iter().map(|s| s.1));
            for inst in &kernel.code {
                if let Op::Wgmma(op) = &inst.op {
                    out.extend(&op.d);
                    if let WgmmaA::Registers(regs) = op.a {
                        out.extend(regs);
                    }
                }
            }
        }
        Class::Q => out.extend(kernel.const_q.iter().map(|c| c.0)),
        Class::P => out.extend(kernel.const_p.iter().map(|c| c.0)),
    }
    out
}

/// Linear scan: the slot of each register, and how many slots there are.
fn assign(spans: &[Option<(usize, usize)>]) -> (Vec<Slot>, usize) {
    let mut order: Vec<usize> = (0..spans.len()).filter(|&r| spans[r].is_some()).collect();
    order.sort_by_key(|&r| spans[r]);
    let mut map = vec![0; spans.len()];
    let mut busy: BTreeSet<(usize, Slot)> = BTreeSet::new();
    let mut free: BTreeSet<Slot> = BTreeSet::new();
    let mut used = 0;
    for r in order {
        let Some((start, end)) = spans[r] else { continue };
        while let Some(&(until, slot)) = busy.first()
            && until < start
        {
            busy.pop_first();
            free.insert(slot);
        }
        let slot = free.pop_first().unwrap_or_else(|| {
            used += 1;
            (used - 1) as Slot
        });
        map[r] = slot;
        busy.insert((end, slot));
    }
    (map, used.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_do_not_meet_share_a_slot() {
        let (map, used) = assign(&[Some((0, 3)), Some((4, 6)), Some((2, 5)), None, Some((6, 9))]);
        assert_eq!(used, 2);
        assert_eq!(map[0], map[1]);
        assert_ne!(map[0], map[2]);
        assert_ne!(map[1], map[4]);
    }
}
