//! Read-modify-write operations, lane after lane.
//!
//! A kernel that has them on global memory runs its blocks on one thread, so a plain read and write is atomic.

use crate::fp::{self, Clamp, Half, NanRule, Subnormals};
use crate::memory::{Miss, Window};
use crate::op::{AtomOp, AtomType, Atomic, Inst, Order};
use crate::race::{Key, Use};
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::Warp;

use super::memory::{addresses, by_window, cluster_target, get, missed, put, window_of};
use super::races;
use super::warpwide::lanes;

/// `atom` and `red`.
pub(super) fn atomic(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32, a: &Atomic) {
    let addr = addresses(warp, &a.addr);
    match window_of(a.space) {
        Some(window) => run(unit, b, warp, inst, (mask, window), &addr, a),
        None => {
            for (window, mask) in by_window(&addr, mask) {
                run(unit, b, warp, inst, (mask, window), &addr, a);
            }
        }
    }
    unit.progress += 1;
}

fn run(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    (mask, window): (u32, Window),
    addr: &[u64; 32],
    a: &Atomic,
) {
    let bytes = a.ty.bytes();
    let total = bytes * a.src.len() as u32;
    let global = unit.job.global;
    for lane in lanes(mask) {
        let at = addr[lane];
        if !at.is_multiple_of(u64::from(total)) {
            unit.find(FindingKind::Misaligned, b, warp.index, 1 << lane, inst, || {
                format!(
                    "an atomic access of {total} bytes at address {at:#x}, which is not a multiple of {total}"
                )
            });
            continue;
        }
        let new = a.new.map_or(0, |r| get(warp, r, lane));
        let mut old = [0; 8];
        let mut change = |i: usize, before: u64| {
            old[i] = before;
            apply(a.op, a.ty, before, get(warp, a.src[i], lane), new)
        };
        let result = match window {
            Window::Global => global.check(at, u64::from(total)).and_then(|(allocation, at)| {
                if allocation.is_const {
                    return Err(Miss(format!("{total} bytes of the constant `{}`", allocation.name)));
                }
                let releases = matches!(a.order, Order::Release | Order::AcqRel);
                races::global(
                    unit,
                    b,
                    warp,
                    lane,
                    inst,
                    (addr[lane], at, total),
                    Use::Atomic,
                    releases,
                    false,
                );
                for i in 0..a.src.len() {
                    let p = at + i * bytes as usize;
                    allocation.store(p, bytes, change(i, allocation.load(p, bytes)));
                }
                Ok(())
            }),
            Window::Shared => cluster_target(unit, b, at as u32).and_then(|(target, at)| {
                let at = unit.blocks[target].shared.index(at, total)?;
                if let Some(race) = &mut unit.race {
                    let t = race.thread(b, warp.index, lane);
                    let releases = matches!(a.order, Order::Release | Order::AcqRel);
                    race.atomic(t, Key::Shared(target, at as u32), releases, true);
                    races::shared(unit, b, warp, lane, inst, (target, at, total), Use::Atomic, false);
                }
                let shared = &mut unit.blocks[target].shared;
                for i in 0..a.src.len() {
                    let p = at + i * bytes as usize;
                    let value = change(i, shared.load(p, bytes));
                    shared.store(p, bytes, value);
                }
                Ok(())
            }),
            Window::Local | Window::Param => Err(Miss("to a thread's own memory".into())),
        };
        match result {
            Ok(()) => {
                for (i, &reg) in a.dst.iter().enumerate() {
                    put(warp, reg, lane, old[i], bytes, false);
                }
            }
            Err(miss) => missed(unit, b, warp.index, lane, inst, "an atomic access of", miss),
        }
    }
}

/// The value after the operation.
pub(crate) fn apply(op: AtomOp, ty: AtomType, old: u64, value: u64, new: u64) -> u64 {
    let bits = 8 * ty.bytes();
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    let (value, new) = (value & mask, new & mask);
    let out = match op {
        AtomOp::And => old & value,
        AtomOp::Or => old | value,
        AtomOp::Xor => old ^ value,
        AtomOp::Exch => value,
        AtomOp::Cas => {
            if old == value {
                new
            } else {
                old
            }
        }
        AtomOp::Inc => {
            if old >= value {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > value {
                value
            } else {
                old - 1
            }
        }
        AtomOp::Add => add(ty, old, value),
        AtomOp::Min | AtomOp::Max => extremum(ty, old, value, op == AtomOp::Max),
    };
    out & mask
}

fn add(ty: AtomType, old: u64, value: u64) -> u64 {
    let half = |half: Half| fp::add_x2(half, old as u32, value as u32, Subnormals::Keep, Clamp::Off).into();
    match ty {
        AtomType::F32 => u64::from((f32::from_bits(old as u32) + f32::from_bits(value as u32)).to_bits()),
        AtomType::F64 => (f64::from_bits(old) + f64::from_bits(value)).to_bits(),
        AtomType::F16 | AtomType::F16x2 => half(Half::F16),
        AtomType::Bf16 | AtomType::Bf16x2 => half(Half::Bf16),
        AtomType::B16 | AtomType::U32 | AtomType::S32 | AtomType::U64 | AtomType::S64 => {
            old.wrapping_add(value)
        }
    }
}

fn extremum(ty: AtomType, old: u64, value: u64, is_max: bool) -> u64 {
    let half = |half: Half| -> u64 {
        let f = if is_max { fp::max_x2 } else { fp::min_x2 };
        f(half, old as u32, value as u32, Subnormals::Keep, NanRule::Number).into()
    };
    let pick = |old_wins: bool| if old_wins { old } else { value };
    match ty {
        AtomType::S32 => pick((old as i32 >= value as i32) == is_max),
        AtomType::S64 => pick((old as i64 >= value as i64) == is_max),
        AtomType::F16 | AtomType::F16x2 => half(Half::F16),
        AtomType::Bf16 | AtomType::Bf16x2 => half(Half::Bf16),
        AtomType::F32 => pick((f32::from_bits(old as u32) >= f32::from_bits(value as u32)) == is_max),
        AtomType::F64 => pick((f64::from_bits(old) >= f64::from_bits(value)) == is_max),
        AtomType::B16 | AtomType::U32 | AtomType::U64 => pick((old >= value) == is_max),
    }
}
