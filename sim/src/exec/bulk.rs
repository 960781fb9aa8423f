//! Bulk and tensor copies: checked at issue, performed when their time comes.

use crate::asyncop::{Bulk, BulkKind, Piece, PieceSource, Task, TaskKind};
use crate::memory::{self, Miss, RANK_SHIFT, SHARED_BASE, Window};
use crate::op::{AtomOp, AtomType, Inst};
use crate::report::FindingKind;
use crate::tensormap::{DataType, Source, TensorMap};
use crate::unit::Unit;
use crate::warp::Warp;

use crate::race::{Epoch, Key, Use};

use super::asynchronous::is_immediate;
use super::mbarrier::{self, Actor};
use super::memory::{addresses, cluster_target, missed};
use super::races;
use super::{atomics, copy};

fn refuse(unit: &mut Unit<'_>, b: usize, warp: &Warp, lane: usize, inst: &Inst, message: String) {
    unit.find(FindingKind::BadOperand, b, warp.index, 1 << lane, inst, || message);
}

/// The tensor map at a generic address.
fn tensor_map(unit: &Unit<'_>, addr: u64) -> Result<TensorMap, String> {
    let mut raw = [0; crate::tensormap::TENSOR_MAP_BYTES];
    if !addr.is_multiple_of(64) {
        return Err(format!("a tensor map at {addr:#x}, which is not a multiple of 64"));
    }
    match memory::window(addr) {
        Window::Param => {
            let at = (addr - memory::PARAM_WINDOW) as usize;
            match unit.job.params.get(at..at + raw.len()) {
                Some(bytes) => raw.copy_from_slice(bytes),
                None => return Err(format!("a tensor map at offset {at}, outside the parameters")),
            }
        }
        Window::Global => {
            unit.job.global.read(addr, &mut raw).map_err(|m| format!("a tensor map in {}", m.0))?
        }
        Window::Local => {
            return Err(
                "the tensor map is a copy in local memory; declare the parameter `__grid_constant__`".into(),
            );
        }
        Window::Shared => {
            return Err("a tensor map in shared memory; it should be global or a parameter".into());
        }
    }
    TensorMap::from_bytes(&raw).map_err(|e| e.to_string())
}

/// Issues a bulk operation from one lane.
pub(super) fn issue(unit: &mut Unit<'_>, b: usize, warp: &mut Warp, inst: &Inst, lane: usize, op: &Bulk) {
    let global = addresses(warp, &op.global)[lane];
    let shared = addresses(warp, &op.shared)[lane] as u32;
    let bar = op.bar.as_ref().map_or(0, |bar| addresses(warp, bar)[lane] as u32);
    let bytes = op.bytes.map_or(0, |s| warp.regs.w[s as usize][lane]);
    let coordinates: Vec<i32> =
        op.coordinates.iter().map(|&s| warp.regs.w[s as usize][lane] as i32).collect();
    let result = plan(unit, b, warp, lane, op, (global, shared, bytes, &coordinates));
    let (pieces, total, reduce) = match result {
        Ok(plan) => plan,
        Err(message) => return refuse(unit, b, warp, lane, inst, message),
    };
    // Everything is in bounds, or this is where it is said.
    for piece in &pieces {
        let found: Result<(), Miss> = match piece.source {
            PieceSource::Global(addr) => unit.job.global.check(addr, u64::from(piece.bytes)).map(|_| ()),
            PieceSource::Shared(at) => unit.blocks[b].shared.index(at, piece.bytes).map(|_| ()),
            PieceSource::Fill(_) => Ok(()),
        };
        if let Err(miss) = found {
            return missed(unit, b, warp.index, lane, inst, "a bulk copy of", miss);
        }
        if unit.race.is_some()
            && let PieceSource::Global(addr) = piece.source
            && let Ok((_, at)) = unit.job.global.check(addr, u64::from(piece.bytes))
        {
            let what = match (op.what, &op.reduce) {
                (BulkKind::Load | BulkKind::TensorLoad | BulkKind::SharedToShared, _) => Use::Read,
                (BulkKind::Store | BulkKind::TensorStore, None) => Use::Write,
                (BulkKind::Store | BulkKind::TensorStore, Some(_)) => Use::Atomic,
            };
            races::global(unit, b, warp, lane, inst, (addr, at, piece.bytes), what, false, false);
        }
    }
    let what = match op.what {
        BulkKind::Load | BulkKind::TensorLoad | BulkKind::SharedToShared => {
            let targets = match targets(unit, b, warp, lane, op, (shared, bar)) {
                Ok(targets) => targets,
                Err(message) => return refuse(unit, b, warp, lane, inst, message),
            };
            for &target in &targets {
                for piece in &pieces {
                    match unit.blocks[target].shared.index(piece.shared, piece.bytes) {
                        Ok(at) => unit.blocks[target].shared.unmark(at, piece.bytes as usize),
                        Err(miss) => {
                            return missed(unit, b, warp.index, lane, inst, "a bulk copy of", miss);
                        }
                    }
                }
            }
            let bar_offset = (bar & ((1 << RANK_SHIFT) - 1)).wrapping_sub(SHARED_BASE) as usize;
            for &target in &targets {
                let actor = Actor { b, warp: warp.index, lane, inst };
                mbarrier::check_use(unit, actor, (target, bar_offset), true);
            }
            let mut agent = Epoch::default();
            let mut found = None;
            if let Some(race) = &mut unit.race {
                let t = race.thread(b, warp.index, lane);
                let places = targets.iter().flat_map(|&target| {
                    pieces.iter().map(move |p| (target, (p.shared - SHARED_BASE) as usize, p.bytes as usize))
                });
                (agent, found) = race.bulk_write(t, places, warp.pc);
            }
            if let Some(conflict) = found {
                races::report(unit, b, warp.index, 1 << lane, inst, Use::Write, conflict);
            }
            TaskKind::Fill { targets, pieces, tx: total, bar: bar & ((1 << RANK_SHIFT) - 1), agent }
        }
        BulkKind::Store | BulkKind::TensorStore => {
            for piece in &pieces {
                if let Err(miss) = unit.blocks[b].shared.index(piece.shared, piece.bytes) {
                    return missed(unit, b, warp.index, lane, inst, "a bulk copy of", miss);
                }
            }
            warp.bulk_open |= 1 << lane;
            warp.bulk_uncommitted |= 1 << lane;
            let mut found = None;
            if let Some(race) = &mut unit.race {
                let t = race.thread(b, warp.index, lane);
                let places = pieces.iter().map(|p| (b, (p.shared - SHARED_BASE) as usize, p.bytes as usize));
                found = race.bulk_read(t, places, warp.bulk_committed[lane], warp.pc);
            }
            if let Some(conflict) = found {
                races::report(unit, b, warp.index, 1 << lane, inst, Use::Read, conflict);
            }
            TaskKind::Drain { pieces, reduce }
        }
    };
    submit(unit, b, warp, lane, what);
}

/// Hands a task over: performed now, or kept.
pub(super) fn submit(unit: &mut Unit<'_>, b: usize, warp: &Warp, lane: usize, what: TaskKind) {
    let group = warp.bulk_committed[lane];
    let task = Task { b, warp: warp.index, lane: lane as u32, group, pc: warp.pc, what };
    if is_immediate(unit) {
        perform(unit, task);
    } else {
        unit.tasks.push(task);
    }
}

type Plan = (Vec<Piece>, u32, Option<(AtomOp, AtomType)>);

/// The moves of an operation, the bytes it counts, and the reduction with its type.
fn plan(
    unit: &Unit<'_>,
    b: usize,
    warp: &Warp,
    _lane: usize,
    op: &Bulk,
    (global, shared, bytes, coordinates): (u64, u32, u32, &[i32]),
) -> Result<Plan, String> {
    let inside = shared & ((1 << RANK_SHIFT) - 1);
    let _ = (b, warp);
    match op.what {
        BulkKind::Load | BulkKind::Store | BulkKind::SharedToShared => {
            if bytes % 16 != 0 || bytes == 0 {
                return Err(format!(
                    "a bulk copy of {bytes} bytes; the size should be a positive multiple of 16"
                ));
            }
            if global % 16 != 0 || shared % 16 != 0 {
                return Err(format!(
                    "a bulk copy between {global:#x} and {shared:#x}; both should be multiples of 16"
                ));
            }
            let source = if op.what == BulkKind::SharedToShared {
                PieceSource::Shared(global as u32)
            } else {
                PieceSource::Global(global)
            };
            let reduce = op.reduce.map(|(o, ty)| (o, ty.unwrap_or(AtomType::U32)));
            Ok((vec![Piece { source, shared: inside, bytes }], bytes, reduce))
        }
        BulkKind::TensorLoad | BulkKind::TensorStore => {
            let map = tensor_map(unit, global)?;
            let fill = map.fill_element();
            let mut pieces = Vec::new();
            let mut add = |run: crate::tensormap::Run| {
                let source = match run.global {
                    Source::Offset(offset) => PieceSource::Global(map.address + offset),
                    Source::Fill => PieceSource::Fill(fill),
                };
                pieces.push(Piece { source, shared: run.shared as u32, bytes: run.bytes as u32 });
            };
            let at = u64::from(inside);
            let runs = if op.what == BulkKind::TensorLoad {
                map.load_runs(coordinates, at, &mut add)
            } else {
                map.store_runs(coordinates, at, &mut add)
            };
            runs.map_err(|e| e.to_string())?;
            let reduce = match op.reduce {
                Some((o, _)) => Some((o, reduce_type(map.data_type)?)),
                None => None,
            };
            Ok((pieces, map.box_bytes() as u32, reduce))
        }
    }
}

fn reduce_type(ty: DataType) -> Result<AtomType, String> {
    Ok(match ty {
        DataType::U32 => AtomType::U32,
        DataType::I32 => AtomType::S32,
        DataType::U64 => AtomType::U64,
        DataType::I64 => AtomType::S64,
        DataType::F16 => AtomType::F16,
        DataType::Bf16 => AtomType::Bf16,
        DataType::F32 | DataType::F32Ftz => AtomType::F32,
        DataType::F64 => AtomType::F64,
        DataType::U8
        | DataType::U16
        | DataType::Tf32
        | DataType::Tf32Ftz
        | DataType::U4Align8
        | DataType::U4Align16
        | DataType::U6Align16 => return Err(format!("a reduction of {ty:?} elements")),
    })
}

/// The blocks a load writes to.
fn targets(
    unit: &Unit<'_>,
    b: usize,
    warp: &Warp,
    lane: usize,
    op: &Bulk,
    (shared, bar): (u32, u32),
) -> Result<Vec<usize>, String> {
    let (target, _) = cluster_target(unit, b, shared).map_err(|m| m.0)?;
    let (bar_target, _) = cluster_target(unit, b, bar).map_err(|m| m.0)?;
    if let Some(slot) = op.multicast {
        let mask = warp.regs.w[slot as usize][lane] & 0xffff;
        let size = unit.blocks.len();
        if mask == 0 || mask >> size != 0 {
            return Err(format!("a multicast to blocks {mask:#06b} of a cluster of {size}"));
        }
        return Ok((0..size).filter(|t| mask >> t & 1 != 0).collect());
    }
    if target != bar_target {
        return Err(format!(
            "a copy to block {target} of the cluster that counts on an mbarrier of block {bar_target}"
        ));
    }
    Ok(vec![target])
}

/// Lets a task take effect.
pub(crate) fn perform(unit: &mut Unit<'_>, task: Task) {
    let code = unit.job.kernel.code.as_slice();
    let inst = &code[task.pc as usize];
    let Task { b, warp, lane, .. } = task;
    let global = unit.job.global;
    match task.what {
        TaskKind::Fill { targets, pieces, tx, bar, agent } => {
            let mut buffer = Vec::new();
            for target in targets {
                for piece in &pieces {
                    buffer.resize(piece.bytes as usize, 0);
                    match piece.source {
                        // Checked at issue; memory cannot be freed during a launch.
                        PieceSource::Global(addr) => drop(global.read(addr, &mut buffer)),
                        PieceSource::Shared(at) => {
                            let at = (at - SHARED_BASE) as usize;
                            let n = buffer.len();
                            buffer.copy_from_slice(&unit.blocks[b].shared.bytes[at..at + n]);
                        }
                        PieceSource::Fill(element) => {
                            let width = if element == [0; 8] { 8 } else { fill_width(&element) };
                            buffer.iter_mut().enumerate().for_each(|(i, v)| *v = element[i % width]);
                        }
                    }
                    let shared = &mut unit.blocks[target].shared;
                    shared.fill((piece.shared - SHARED_BASE) as usize, &buffer);
                }
                if let Some(race) = &mut unit.race {
                    race.publish(Key::Mbar(target, bar.wrapping_sub(SHARED_BASE) as usize), agent);
                }
                let addr = u64::from(bar) | (target as u64 + 1) << RANK_SHIFT;
                let actor = Actor { b, warp, lane: lane as usize, inst };
                mbarrier::update(unit, actor, addr, |s| s.add_tx(-i64::from(tx)));
            }
        }
        TaskKind::Drain { pieces, reduce } => {
            for piece in pieces {
                let PieceSource::Global(addr) = piece.source else { continue };
                let at = (piece.shared - SHARED_BASE) as usize;
                let data = &unit.blocks[b].shared.bytes[at..at + piece.bytes as usize];
                match reduce {
                    None => drop(global.write(addr, data)),
                    Some((op, ty)) => {
                        let n = ty.bytes() as usize;
                        for (i, element) in data.chunks_exact(n).enumerate() {
                            let mut old = [0; 8];
                            let to = addr + (i * n) as u64;
                            drop(global.read(to, &mut old[..n]));
                            let mut value = [0; 8];
                            value[..n].copy_from_slice(element);
                            let sum =
                                atomics::apply(op, ty, u64::from_le_bytes(old), u64::from_le_bytes(value), 0);
                            drop(global.write(to, &sum.to_le_bytes()[..n]));
                        }
                    }
                }
            }
        }
        TaskKind::Deliver { target, at, data, bar, agent } => {
            if let Some(race) = &mut unit.race {
                let offset = (bar & ((1 << RANK_SHIFT) - 1)).wrapping_sub(SHARED_BASE) as usize;
                race.publish(Key::Mbar(target, offset), agent);
            }
            unit.blocks[target].shared.fill((at - SHARED_BASE) as usize, &data);
            let actor = Actor { b, warp, lane: lane as usize, inst };
            mbarrier::update(unit, actor, u64::from(bar), |s| s.add_tx(-(data.len() as i64)));
        }
        TaskKind::CopyArrive { target, mask, bar } => {
            let mut taken = std::mem::take(&mut unit.blocks[b].warps[warp as usize]);
            copy::complete(unit, target, &mut taken, mask, None);
            unit.blocks[b].warps[warp as usize] = taken;
            let actor = Actor { b, warp, lane: lane as usize, inst };
            mbarrier::arrive(unit, actor, u64::from(bar), 1, 0, false);
        }
    }
    unit.progress += 1;
}

/// Bytes of a NaN fill element: the canonical NaN has its top bit pattern in the last byte that is set.
fn fill_width(element: &[u8; 8]) -> usize {
    (element.iter().rposition(|&v| v != 0).unwrap_or(0) + 1).next_power_of_two()
}

/// `cp.async.bulk.wait_group`: performs the thread's tasks older than its newest `keep` groups.
pub(super) fn wait(unit: &mut Unit<'_>, b: usize, warp: u32, lane: u32, committed: u32, keep: u32) {
    let mut i = 0;
    while i < unit.tasks.len() {
        let t = &unit.tasks[i];
        let is_group = matches!(t.what, TaskKind::Drain { .. });
        if is_group && (t.b, t.warp, t.lane) == (b, warp, lane) && t.group + keep < committed {
            let task = unit.tasks.remove(i);
            perform(unit, task);
        } else {
            i += 1;
        }
    }
}
