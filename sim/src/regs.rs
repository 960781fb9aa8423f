//! Which registers an instruction reads and writes.

use std::collections::BTreeSet;

use crate::alu::{Class, Slot};
use crate::asyncop::{AsyncOp, PhaseSlot, Wide};
use crate::op::{Addr, Base, Inst, Op, Reg, WgmmaA};

/// 32-bit registers of an instruction, for the check of registers in flight.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    pub(crate) reads: Box<[Slot]>,
    pub(crate) writes: Box<[Slot]>,
    /// Registers of matrix products that the instruction computes by ordinary means.
    pub(crate) spoils: Box<[Slot]>,
}

/// Collects the 32-bit registers of an instruction.
fn uses(inst: &mut Inst) -> Uses {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    visit(inst, &mut |class, slot, role| {
        if class == Class::W {
            match role {
                Role::Read => reads.push(*slot),
                Role::Write => writes.push(*slot),
                Role::Update => {
                    reads.push(*slot);
                    writes.push(*slot);
                }
            }
        }
    });
    Uses { reads: reads.into(), writes: writes.into(), spoils: Box::default() }
}

/// The same for a whole kernel with `wgmma`.
pub(crate) fn uses_of(code: &mut [Inst]) -> Vec<Uses> {
    let mut all: Vec<Uses> = code.iter_mut().map(uses).collect();
    let mut products = BTreeSet::new();
    for inst in code.iter() {
        if let Op::Wgmma(op) = &inst.op {
            products.extend(&op.d);
            if let WgmmaA::Registers(regs) = op.a {
                products.extend(regs);
            }
        }
    }
    for (inst, uses) in code.iter().zip(&mut all) {
        let is_move = matches!(&inst.op, Op::Alu { class, .. } if class.is_move);
        if !is_move && !matches!(inst.op, Op::Wgmma(_)) {
            uses.spoils = uses.writes.iter().copied().filter(|s| products.contains(s)).collect();
        }
    }
    all
}

/// How an instruction uses a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Read,
    Write,
    /// Both.
    Update,
}

type Visitor<'v> = dyn FnMut(Class, &mut Slot, Role) + 'v;

fn addr(a: &mut Addr, v: &mut Visitor<'_>) {
    match &mut a.base {
        Base::None => {}
        Base::W(s) => v(Class::W, s, Role::Read),
        Base::Q(s) => v(Class::Q, s, Role::Read),
    }
}

fn reg(r: &mut Reg, role: Role, v: &mut Visitor<'_>) {
    match r {
        Reg::W(s) | Reg::H(s) => v(Class::W, s, role),
        Reg::Q(s) => v(Class::Q, s, role),
        Reg::Sink => {}
    }
}

fn wide(w: &mut Wide, role: Role, v: &mut Visitor<'_>) {
    match w {
        Wide::W(s) => v(Class::W, s, role),
        Wide::Q(s) => v(Class::Q, s, role),
    }
}

/// Visits every register operand of an instruction once, sources first.
pub(crate) fn visit(inst: &mut Inst, v: &mut Visitor<'_>) {
    use Class::{P, Q, W};
    use Role::{Read, Write};
    match &mut inst.guard {
        crate::op::Guard::Always => {}
        crate::op::Guard::If(s) | crate::op::Guard::Unless(s) => v(P, s, Read),
    }
    match &mut inst.op {
        Op::Alu { alu, class, .. } => {
            for (slot, class) in alu.s.iter_mut().zip(class.src) {
                v(*class, slot, Read);
            }
            v(class.dst, &mut alu.d, Write);
        }
        Op::Bra(_) | Op::Exit | Op::Trap(_) | Op::Fence(_) => {}
        Op::WgmmaFence | Op::WgmmaCommit | Op::WgmmaWait(_) => {}
        Op::Clock { dst } => v(dst.0, &mut dst.1, Write),
        Op::Load(a) => {
            addr(&mut a.addr, v);
            a.regs.iter_mut().for_each(|r| reg(r, Write, v));
        }
        Op::Store(a) => {
            addr(&mut a.addr, v);
            a.regs.iter_mut().for_each(|r| reg(r, Read, v));
        }
        Op::Atomic(a) => {
            addr(&mut a.addr, v);
            a.src.iter_mut().chain(&mut a.new).for_each(|r| reg(r, Read, v));
            a.dst.iter_mut().for_each(|r| reg(r, Write, v));
        }
        Op::Param { regs, .. } => regs.iter_mut().for_each(|r| reg(r, Write, v)),
        Op::Bar(bar) => {
            v(W, &mut bar.id, Read);
            if let Some(c) = &mut bar.count {
                v(W, c, Read);
            }
            if let Some(red) = &mut bar.red {
                v(P, &mut red.src, Read);
                v(red.dst.0, &mut red.dst.1, Write);
            }
        }
        Op::BarWarp { mask } => v(W, mask, Read),
        Op::Shfl { dst, valid, src, lane, clamp, mask, .. } => {
            [src, lane, clamp, mask].into_iter().for_each(|s| v(W, s, Read));
            v(W, dst, Write);
            if let Some(p) = valid {
                v(P, p, Write);
            }
        }
        Op::Vote { dst, src, mask, .. } => {
            v(P, src, Read);
            v(W, mask, Read);
            v(dst.0, &mut dst.1, Write);
        }
        Op::Match { dst, valid, src, mask, .. } => {
            v(src.0, &mut src.1, Read);
            v(W, mask, Read);
            v(W, dst, Write);
            if let Some(p) = valid {
                v(P, p, Write);
            }
        }
        Op::Redux { dst, src, mask, .. } => {
            v(W, src, Read);
            v(W, mask, Read);
            v(W, dst, Write);
        }
        Op::Elect { dst, valid, mask } => {
            v(W, mask, Read);
            v(P, valid, Write);
            if let Some(d) = dst {
                v(W, d, Write);
            }
        }
        Op::ActiveMask { dst } => v(W, dst, Write),
        Op::Matrix(m) => {
            addr(&mut m.addr, v);
            let role = if m.is_store { Read } else { Write };
            m.regs.iter_mut().for_each(|s| v(W, s, role));
        }
        Op::MovMatrix { dst, src } => {
            v(W, src, Read);
            v(W, dst, Write);
        }
        Op::Mma(m) => {
            m.a.iter_mut().chain(&mut m.b).chain(&mut m.c).for_each(|s| v(W, s, Read));
            m.d.iter_mut().for_each(|s| v(W, s, Write));
        }
        Op::Wgmma(m) => {
            match &mut m.a {
                WgmmaA::Descriptor(s) => v(Q, s, Read),
                WgmmaA::Registers(regs) => regs.iter_mut().for_each(|s| v(W, s, Read)),
            }
            v(Q, &mut m.b, Read);
            v(P, &mut m.scale, Read);
            m.d.iter_mut().for_each(|s| v(W, s, Role::Update));
        }
        Op::Async(op) => visit_async(op, v),
    }
}

fn visit_async(op: &mut AsyncOp, v: &mut Visitor<'_>) {
    use Class::{P, Q, W};
    use Role::{Read, Write};
    match op {
        AsyncOp::Copy { dst, src, src_size, ignore, .. } => {
            addr(dst, v);
            addr(src, v);
            if let Some(s) = src_size {
                v(W, s, Read);
            }
            if let Some(p) = ignore {
                v(P, p, Read);
            }
        }
        AsyncOp::CopyCommit | AsyncOp::CopyWait(_) | AsyncOp::BulkCommit | AsyncOp::BulkWait { .. } => {}
        AsyncOp::ClusterArrive | AsyncOp::ClusterWait | AsyncOp::SetMaxReg { .. } => {}
        AsyncOp::CopyArrive { bar, .. } | AsyncOp::BarInval { bar } => addr(bar, v),
        AsyncOp::BarInit { bar, count } => {
            addr(bar, v);
            v(W, count, Read);
        }
        AsyncOp::BarArrive { bar, count, tx, state, .. } => {
            addr(bar, v);
            count.iter_mut().chain(tx).for_each(|s| v(W, s, Read));
            if let Some(s) = state {
                v(Q, s, Write);
            }
        }
        AsyncOp::BarTx { bar, bytes, .. } => {
            addr(bar, v);
            v(W, bytes, Read);
        }
        AsyncOp::BarWait { bar, done, phase, .. } => {
            addr(bar, v);
            match phase {
                PhaseSlot::Parity(s) => v(W, s, Read),
                PhaseSlot::State(s) => v(Q, s, Read),
            }
            v(P, done, Write);
        }
        AsyncOp::BarPending { dst, state } => {
            v(Q, state, Read);
            v(W, dst, Write);
        }
        AsyncOp::Mapa { dst, src, rank } => {
            wide(src, Read, v);
            v(W, rank, Read);
            wide(dst, Write, v);
        }
        AsyncOp::GetRank { dst, src } => {
            wide(src, Read, v);
            v(W, dst, Write);
        }
        AsyncOp::Bulk(b) => {
            addr(&mut b.global, v);
            addr(&mut b.shared, v);
            if let Some(bar) = &mut b.bar {
                addr(bar, v);
            }
            b.coordinates.iter_mut().chain(&mut b.bytes).chain(&mut b.multicast).for_each(|s| v(W, s, Read));
        }
        AsyncOp::StoreAsync { dst, bar, regs, .. } => {
            addr(dst, v);
            addr(bar, v);
            regs.iter_mut().for_each(|r| reg(r, Read, v));
        }
    }
}
