//! Loads, stores and matrix moves of a warp.
//!
//! Lanes are served one by one: each has its own address and its own bounds. A load that finds nothing gives
//! poison, a store that finds nothing stores nothing, and both are findings.

use crate::alu;
use crate::fragments::{self, Transpose};
use crate::memory::{self, Miss, Shared, Window};
use crate::op::{Access, Addr, Base, Inst, MatrixMove, Order, Reg};
use crate::parse::Space;
use crate::report::FindingKind;
use crate::unit::Unit;
use crate::warp::{Status, Warp};

use crate::race::Use;

use super::races;
use super::warpwide::lanes;

const POISON: u64 = u64::from_le_bytes([memory::POISON; 8]);

/// The address of every lane.
pub(crate) fn addresses(warp: &Warp, addr: &Addr) -> [u64; 32] {
    match addr.base {
        Base::None => [addr.offset as u64; 32],
        Base::W(slot) => {
            let row = &warp.regs.w[slot as usize];
            std::array::from_fn(|i| u64::from(row[i].wrapping_add(addr.offset as u32)))
        }
        Base::Q(slot) => {
            let row = &warp.regs.q[slot as usize];
            std::array::from_fn(|i| row[i].wrapping_add(addr.offset as u64))
        }
    }
}

/// Writes one lane of a register, extended as the load's type says.
#[inline]
pub(crate) fn put(warp: &mut Warp, reg: Reg, lane: usize, value: u64, bytes: u32, is_signed: bool) {
    let value = if is_signed && bytes < 8 {
        let shift = 64 - 8 * bytes;
        ((value << shift) as i64 >> shift) as u64
    } else {
        value
    };
    match reg {
        Reg::W(slot) => warp.regs.w[slot as usize][lane] = value as u32,
        Reg::H(slot) => warp.regs.w[slot as usize][lane] = value as u32 & 0xffff,
        Reg::Q(slot) => warp.regs.q[slot as usize][lane] = value,
        Reg::Sink => {}
    }
}

/// Reads one lane of a register.
#[inline]
pub(crate) fn get(warp: &Warp, reg: Reg, lane: usize) -> u64 {
    match reg {
        Reg::W(slot) | Reg::H(slot) => u64::from(warp.regs.w[slot as usize][lane]),
        Reg::Q(slot) => warp.regs.q[slot as usize][lane],
        Reg::Sink => 0,
    }
}

/// `ld.param` at a constant offset.
pub(super) fn load_param(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    (regs, offset, bytes, is_signed): (&[Reg], u32, u32, bool),
) {
    for (i, &reg) in regs.iter().enumerate() {
        let at = offset as usize + i * bytes as usize;
        let Some(raw) = unit.job.params.get(at..at + bytes as usize) else {
            let total = unit.job.params.len();
            unit.find(FindingKind::OutOfBounds, b, warp.index, mask, inst, || {
                format!("{bytes} bytes at offset {at} of the parameters, which have {total}")
            });
            return;
        };
        let value = little_endian(raw);
        for lane in lanes(mask) {
            put(warp, reg, lane, value, bytes, is_signed);
        }
    }
}

fn little_endian(raw: &[u8]) -> u64 {
    raw.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))
}

/// Splits the lanes of a generic access by the window they point into.
pub(crate) fn by_window(addr: &[u64; 32], mask: u32) -> [(Window, u32); 4] {
    let mut out = [(Window::Global, 0), (Window::Shared, 0), (Window::Local, 0), (Window::Param, 0)];
    for lane in lanes(mask) {
        let at = match memory::window(addr[lane]) {
            Window::Global => 0,
            Window::Shared => 1,
            Window::Local => 2,
            Window::Param => 3,
        };
        out[at].1 |= 1 << lane;
    }
    out
}

/// The window a space's addresses are in.
pub(crate) fn window_of(space: Space) -> Option<Window> {
    match space {
        Space::Global | Space::Const => Some(Window::Global),
        Space::Shared | Space::SharedCluster => Some(Window::Shared),
        Space::Local => Some(Window::Local),
        Space::Param => Some(Window::Param),
        Space::Generic => None,
    }
}

/// A finding for one lane's failed access.
pub(crate) fn missed(
    unit: &mut Unit<'_>,
    b: usize,
    warp: u32,
    lane: usize,
    inst: &Inst,
    verb: &str,
    miss: Miss,
) {
    let verb = verb.to_owned();
    unit.find(FindingKind::OutOfBounds, b, warp, 1 << lane, inst, move || {
        format!("{verb} {}; mask the access, or check the size that was passed", miss.0)
    });
}

fn misaligned(unit: &mut Unit<'_>, b: usize, warp: u32, lane: usize, inst: &Inst, addr: u64, bytes: u32) {
    unit.find(FindingKind::Misaligned, b, warp, 1 << lane, inst, || {
        format!("an access of {bytes} bytes at address {addr:#x}, which is not a multiple of {bytes}")
    });
}

/// `ld`.
pub(super) fn load(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32, a: &Access) {
    let addr = addresses(warp, &a.addr);
    match window_of(a.space) {
        Some(window) => load_window(unit, b, warp, inst, (mask, window), &addr, a),
        None => {
            for (window, mask) in by_window(&addr, mask) {
                load_window(unit, b, warp, inst, (mask, window), &addr, a);
            }
        }
    }
}

fn load_window(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    (mask, window): (u32, Window),
    addr: &[u64; 32],
    a: &Access,
) {
    let total = a.bytes * a.regs.len() as u32;
    let mut bad = false;
    for lane in lanes(mask) {
        if addr[lane] & u64::from(total - 1) != 0 {
            misaligned(unit, b, warp.index, lane, inst, addr[lane], total);
            bad = true;
        }
    }
    let mask = if bad {
        lanes(mask).filter(|&l| addr[l] & u64::from(total - 1) == 0).fold(0, |m, l| m | 1 << l)
    } else {
        mask
    };
    match window {
        Window::Global => load_global(unit, b, warp, inst, mask, addr, a, total),
        Window::Shared => load_shared(unit, b, warp, inst, mask, addr, a, total),
        Window::Local => {
            let size = unit.job.kernel.local_bytes;
            for lane in lanes(mask) {
                match local_index(size, addr[lane], total, lane) {
                    Ok(at) => {
                        for (i, &reg) in a.regs.iter().enumerate() {
                            let p = at + i * a.bytes as usize;
                            let value = little_endian(&warp.local[p..p + a.bytes as usize]);
                            put(warp, reg, lane, value, a.bytes, a.is_signed);
                        }
                    }
                    Err(miss) => missed(unit, b, warp.index, lane, inst, "a load of", miss),
                }
            }
        }
        Window::Param => {
            for lane in lanes(mask) {
                let at = (addr[lane] & (memory::SHARED_WINDOW - 1)) as u32;
                load_param(unit, b, warp, inst, 1 << lane, (&a.regs, at, a.bytes, a.is_signed));
            }
        }
    }
}

fn local_index(size: u32, addr: u64, bytes: u32, lane: usize) -> Result<usize, Miss> {
    let at = addr & (memory::SHARED_WINDOW - 1);
    if at + u64::from(bytes) <= u64::from(size) {
        return Ok(lane * size as usize + at as usize);
    }
    Err(Miss(format!("{bytes} bytes at offset {at} of the thread's local memory, which has {size}")))
}

#[allow(clippy::too_many_arguments, reason = "the parts of one access")]
fn load_global(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    addr: &[u64; 32],
    a: &Access,
    total: u32,
) {
    let global = unit.job.global;
    let mut cached: Option<(&memory::Allocation, u64)> = None;
    for lane in lanes(mask) {
        let hit = cached.filter(|(allocation, base)| {
            addr[lane].wrapping_sub(*base).saturating_add(u64::from(total)) <= allocation.bytes
        });
        let (allocation, at) = match hit {
            Some((allocation, base)) => (allocation, (addr[lane] - base) as usize),
            None => match global.check(addr[lane], u64::from(total)) {
                Ok((allocation, at)) => {
                    cached = Some((allocation, addr[lane] - at as u64));
                    (allocation, at)
                }
                Err(miss) => {
                    missed(unit, b, warp.index, lane, inst, "a load of", miss);
                    for &reg in &a.regs {
                        put(warp, reg, lane, POISON, a.bytes, a.is_signed);
                    }
                    continue;
                }
            },
        };
        if unit.race.is_some() {
            races::global(
                unit,
                b,
                warp,
                lane,
                inst,
                (addr[lane], at, total),
                races::load_use(a.order),
                false,
                false,
            );
        }
        if a.bytes == 4 {
            for (i, &reg) in a.regs.iter().enumerate() {
                if let Reg::W(slot) = reg {
                    warp.regs.w[slot as usize][lane] = allocation.load32(at + 4 * i);
                } else {
                    put(warp, reg, lane, u64::from(allocation.load32(at + 4 * i)), 4, a.is_signed);
                }
            }
        } else {
            for (i, &reg) in a.regs.iter().enumerate() {
                let value = allocation.load(at + i * a.bytes as usize, a.bytes);
                put(warp, reg, lane, value, a.bytes, a.is_signed);
            }
        }
    }
}

/// The block an address of the cluster's shared window belongs to, and the address inside it.
pub(crate) fn cluster_target(unit: &Unit<'_>, b: usize, addr: u32) -> Result<(usize, u32), Miss> {
    match addr >> memory::RANK_SHIFT {
        0 => Ok((b, addr)),
        rank if (rank as usize) <= unit.blocks.len() => {
            let target = rank as usize - 1;
            let has_left = unit.blocks[target].warps.iter().all(|w| w.status == Status::Done);
            if target != b && has_left {
                return Err(Miss(format!(
                    "shared address {addr:#x} of block {target} of the cluster, which has exited; \
                     keep every block until the last access with barrier.cluster"
                )));
            }
            Ok((rank as usize - 1, addr & ((1 << memory::RANK_SHIFT) - 1)))
        }
        rank => Err(Miss(format!(
            "shared address {addr:#x} of block {} in a cluster of {}",
            rank - 1,
            unit.blocks.len()
        ))),
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one access")]
fn load_shared(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    addr: &[u64; 32],
    a: &Access,
    total: u32,
) {
    for lane in lanes(mask) {
        let found = cluster_target(unit, b, addr[lane] as u32)
            .and_then(|(target, at)| unit.blocks[target].shared.index(at, total).map(|at| (target, at)));
        match found {
            Ok((target, at)) => {
                let shared = &unit.blocks[target].shared;
                let fresh = !shared.is_written(at, total as usize);
                for (i, &reg) in a.regs.iter().enumerate() {
                    let value = shared.load(at + i * a.bytes as usize, a.bytes);
                    put(warp, reg, lane, value, a.bytes, a.is_signed);
                }
                if fresh {
                    uninitialised(unit, b, warp.index, lane, inst, at, total);
                }
                if unit.race.is_some() {
                    races::shared(
                        unit,
                        b,
                        warp,
                        lane,
                        inst,
                        (target, at, total),
                        races::load_use(a.order),
                        false,
                    );
                }
            }
            Err(miss) => {
                missed(unit, b, warp.index, lane, inst, "a load of", miss);
                for &reg in &a.regs {
                    put(warp, reg, lane, POISON, a.bytes, a.is_signed);
                }
            }
        }
    }
}

fn uninitialised(unit: &mut Unit<'_>, b: usize, warp: u32, lane: usize, inst: &Inst, at: usize, bytes: u32) {
    unit.find(FindingKind::Uninitialised, b, warp, 1 << lane, inst, || {
        format!(
            "{bytes} bytes of shared memory at offset {at} are read, and nobody has written all of them yet; \
             write them first, or wait for the copy that does"
        )
    });
}

/// `st`.
pub(super) fn store(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, mask: u32, a: &Access) {
    let addr = addresses(warp, &a.addr);
    match window_of(a.space) {
        Some(window) => store_window(unit, b, warp, inst, (mask, window), &addr, a),
        None => {
            for (window, mask) in by_window(&addr, mask) {
                store_window(unit, b, warp, inst, (mask, window), &addr, a);
            }
        }
    }
}

fn store_window(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    (mask, window): (u32, Window),
    addr: &[u64; 32],
    a: &Access,
) {
    let total = a.bytes * a.regs.len() as u32;
    let global = unit.job.global;
    for lane in lanes(mask) {
        let at = addr[lane];
        if at & u64::from(total - 1) != 0 {
            misaligned(unit, b, warp.index, lane, inst, at, total);
            continue;
        }
        let result = match window {
            Window::Global => global.check(at, u64::from(total)).and_then(|(allocation, at)| {
                if allocation.is_const {
                    return Err(Miss(format!("{total} bytes to the constant `{}`", allocation.name)));
                }
                if unit.race.is_some() {
                    let same = a.regs.iter().enumerate().all(|(i, &reg)| {
                        let old = allocation.load(at + i * a.bytes as usize, a.bytes);
                        (old ^ get(warp, reg, lane)) << (64 - 8 * a.bytes) == 0
                    });
                    let what = races::store_use(a.order);
                    let releases = a.order == Order::Release;
                    races::global(unit, b, warp, lane, inst, (addr[lane], at, total), what, releases, same);
                }
                for (i, &reg) in a.regs.iter().enumerate() {
                    allocation.store(at + i * a.bytes as usize, a.bytes, get(warp, reg, lane));
                }
                Ok(())
            }),
            Window::Shared => cluster_target(unit, b, at as u32).and_then(|(target, at)| {
                let at = unit.blocks[target].shared.index(at, total)?;
                if unit.race.is_some() {
                    let shared = &unit.blocks[target].shared;
                    let same = a.regs.iter().enumerate().all(|(i, &reg)| {
                        let old = shared.load(at + i * a.bytes as usize, a.bytes);
                        (old ^ get(warp, reg, lane)) << (64 - 8 * a.bytes) == 0
                    });
                    let what = races::store_use(a.order);
                    races::shared(unit, b, warp, lane, inst, (target, at, total), what, same);
                }
                let shared: &mut Shared = &mut unit.blocks[target].shared;
                for (i, &reg) in a.regs.iter().enumerate() {
                    shared.store(at + i * a.bytes as usize, a.bytes, get(warp, reg, lane));
                }
                Ok(())
            }),
            Window::Local => local_index(unit.job.kernel.local_bytes, at, total, lane).map(|at| {
                for (i, &reg) in a.regs.iter().enumerate() {
                    let value = get(warp, reg, lane).to_le_bytes();
                    let p = at + i * a.bytes as usize;
                    warp.local[p..p + a.bytes as usize].copy_from_slice(&value[..a.bytes as usize]);
                }
            }),
            Window::Param => Err(Miss("to a kernel parameter, which is read-only".into())),
        };
        if let Err(miss) = result {
            missed(unit, b, warp.index, lane, inst, "a store of", miss);
        }
    }
}

/// `ldmatrix`, `stmatrix`: row `r` of matrix `m` is at the address of lane `8 m + r`.
pub(super) fn matrix_move(
    unit: &mut Unit<'_>,
    b: usize,
    warp: &mut Warp,
    inst: &Inst,
    mask: u32,
    op: &MatrixMove,
) {
    let addr = addresses(warp, &op.addr);
    let trans = if op.trans { Transpose::Transposed } else { Transpose::Plain };
    for (m, &slot) in op.regs.iter().enumerate() {
        let mut rows = [[memory::POISON; 16]; 8];
        if op.is_store {
            rows = fragments::store_matrix(&warp.regs.w[slot as usize], trans);
        }
        for (r, row) in rows.iter_mut().enumerate() {
            let lane = fragments::matrix_address_lane(m, r);
            let at = addr[lane] as u32;
            if !at.is_multiple_of(16) {
                misaligned(unit, b, warp.index, lane, inst, u64::from(at), 16);
                continue;
            }
            match unit.blocks[b].shared.index(at, 16) {
                Ok(at) if op.is_store => {
                    if unit.race.is_some() {
                        races::shared(unit, b, warp, lane, inst, (b, at, 16), Use::Write, false);
                    }
                    unit.blocks[b].shared.fill(at, row);
                }
                Ok(at) => {
                    let shared = &unit.blocks[b].shared;
                    row.copy_from_slice(&shared.bytes[at..at + 16]);
                    if !shared.is_written(at, 16) {
                        uninitialised(unit, b, warp.index, lane, inst, at, 16);
                    }
                    if unit.race.is_some() {
                        races::shared(unit, b, warp, lane, inst, (b, at, 16), Use::Read, false);
                    }
                }
                Err(miss) => missed(unit, b, warp.index, lane, inst, "a matrix row of", miss),
            }
        }
        if !op.is_store {
            let row = fragments::load_matrix(&rows, trans);
            alu::set_w(&mut warp.regs.w[slot as usize], &row, mask);
        }
    }
}
