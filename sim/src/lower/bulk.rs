//! Asynchronous copies, mbarriers, clusters.

use crate::alu::{Class, Slot};
use crate::asyncop::{AsyncOp, Bulk, BulkKind, PhaseSlot, Wide};
use crate::error::SimError;
use crate::grammar::{Kind, Mods};
use crate::op::{Addr, AtomOp, AtomType, Op};
use crate::parse::Operand;

use super::Lower;

impl Lower<'_> {
    pub(super) fn emit_async(&mut self, op: AsyncOp) -> Result<(), SimError> {
        self.emit(Op::Async(Box::new(op)));
        Ok(())
    }

    /// A number that the form needs at compile time.
    pub(super) fn literal(&self, operand: Option<&Operand>) -> Result<u32, SimError> {
        match operand {
            Some(Operand::Int(v)) => Ok(*v as u32),
            _ => self.fail("a number is expected here"),
        }
    }

    pub(super) fn cp_async(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, size, rest @ ..] = o else {
            return self.fail("two addresses and a size are expected");
        };
        let bytes = self.literal(Some(size))?;
        let is_legal = if mods.get("cop") == "cg" { bytes == 16 } else { matches!(bytes, 4 | 8 | 16) };
        if !is_legal {
            return self.fail(format!("a copy of {bytes} bytes; `.ca` copies 4, 8 or 16, `.cg` 16"));
        }
        let (dst, src) = (self.addr(dst)?.0, self.addr(src)?.0);
        let (mut src_size, mut ignore) = (None, None);
        let n_extra = rest.len() - usize::from(mods.has("hint"));
        if let Some(extra) = rest.first().filter(|_| n_extra == 1) {
            match self.class_of(extra) {
                Some((Class::P, _)) => ignore = Some(self.source(extra, Class::P, false)?),
                _ => src_size = Some(self.source(extra, Class::W, false)?),
            }
        }
        self.emit_async(AsyncOp::Copy { dst, src, bytes, src_size, ignore })
    }

    fn bar_addr(&mut self, operand: Option<&Operand>) -> Result<Addr, SimError> {
        match operand {
            Some(operand) => Ok(self.addr(operand)?.0),
            None => self.fail("the address of an mbarrier is expected"),
        }
    }

    /// Everything on mbarriers.
    pub(super) fn mbarrier(&mut self, kind: Kind, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let is_unnamed = |o: &Operand| *o == Operand::Name("_".to_owned());
        let op = match (kind, o) {
            (Kind::CpAsyncArrive, [bar]) => {
                AsyncOp::CopyArrive { bar: self.addr(bar)?.0, is_counted: mods.has("noinc") }
            }
            (Kind::MbarInit, [bar, count]) => {
                AsyncOp::BarInit { bar: self.addr(bar)?.0, count: self.source(count, Class::W, false)? }
            }
            (Kind::MbarInval, [bar]) => AsyncOp::BarInval { bar: self.addr(bar)?.0 },
            (Kind::MbarExpect, [bar, bytes]) => AsyncOp::BarTx {
                bar: self.addr(bar)?.0,
                bytes: self.source(bytes, Class::W, false)?,
                is_complete: self.form.contains("complete_tx"),
            },
            (Kind::MbarArrive, [state, bar, extra @ ..]) => {
                let extra = extra.first().map(|e| self.source(e, Class::W, false)).transpose()?;
                let is_tx = mods.has("tx");
                let state = if is_unnamed(state) { None } else { Some(self.destination(state, Class::Q)?) };
                AsyncOp::BarArrive {
                    bar: self.addr(bar)?.0,
                    count: extra.filter(|_| !is_tx),
                    tx: extra.filter(|_| is_tx),
                    is_drop: self.form.starts_with("mbarrier.arrive_drop"),
                    state,
                }
            }
            (Kind::MbarWait, [done, bar, phase, ..]) => AsyncOp::BarWait {
                bar: self.addr(bar)?.0,
                phase: if mods.has("parity") {
                    PhaseSlot::Parity(self.source(phase, Class::W, false)?)
                } else {
                    PhaseSlot::State(self.source(phase, Class::Q, false)?)
                },
                done: self.destination(done, Class::P)?,
                may_suspend: self.form.contains("try_wait"),
            },
            (Kind::MbarPending, [dst, state]) => AsyncOp::BarPending {
                state: self.source(state, Class::Q, false)?,
                dst: self.destination(dst, Class::W)?,
            },
            _ => return self.fail("the operands do not fit the form"),
        };
        self.emit_async(op)
    }

    fn wide(&mut self, operand: &Operand, is_dst: bool, is_64: bool) -> Result<Wide, SimError> {
        let class = if is_64 { Class::Q } else { Class::W };
        let slot =
            if is_dst { self.destination(operand, class)? } else { self.source(operand, class, false)? };
        Ok(if is_64 { Wide::Q(slot) } else { Wide::W(slot) })
    }

    /// `mapa`, `getctarank`.
    pub(super) fn cluster_address(&mut self, kind: Kind, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let is_64 = mods.get("type") == "u64";
        let op = match (kind, o) {
            (Kind::Mapa, [dst, src, rank]) => AsyncOp::Mapa {
                src: self.wide(src, false, is_64)?,
                rank: self.source(rank, Class::W, false)?,
                dst: self.wide(dst, true, is_64)?,
            },
            (Kind::GetRank, [dst, src]) => {
                AsyncOp::GetRank { src: self.wide(src, false, is_64)?, dst: self.destination(dst, Class::W)? }
            }
            _ => return self.fail("the operands do not fit the form"),
        };
        self.emit_async(op)
    }

    fn map_and_coordinates(&mut self, mods: &Mods, o: &Operand) -> Result<(Addr, Vec<Slot>), SimError> {
        let Operand::Tensor(map, coordinates) = o else {
            return self.fail("`[map, {coordinates}]` is expected");
        };
        let map = self.addr(&Operand::Mem(map.clone(), 0))?.0;
        let slots: Result<Vec<Slot>, SimError> =
            coordinates.iter().map(|c| self.source(c, Class::W, false)).collect();
        let slots = slots?;
        let dims = mods.get("dim")[..1].parse().unwrap_or(0);
        if slots.len() != dims {
            return self.fail(format!("{} coordinates in a {dims}-dimensional copy", slots.len()));
        }
        Ok((map, slots))
    }

    /// Bulk and tensor copies and reductions.
    pub(super) fn bulk(&mut self, kind: Kind, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let reduce_op = |word: &str| match word {
            "add" => AtomOp::Add,
            "min" => AtomOp::Min,
            "max" => AtomOp::Max,
            "inc" => AtomOp::Inc,
            "dec" => AtomOp::Dec,
            "and" => AtomOp::And,
            "or" => AtomOp::Or,
            _ => AtomOp::Xor,
        };
        let bulk = match (kind, o) {
            (Kind::BulkLoad | Kind::BulkShared, [dst, src, bytes, bar, rest @ ..]) => Bulk {
                what: if kind == Kind::BulkLoad { BulkKind::Load } else { BulkKind::SharedToShared },
                global: self.addr(src)?.0,
                shared: self.addr(dst)?.0,
                coordinates: Vec::new(),
                bytes: Some(self.source(bytes, Class::W, false)?),
                bar: Some(self.bar_addr(Some(bar))?),
                multicast: if kind == Kind::BulkLoad { self.multicast(mods, rest)? } else { None },
                reduce: None,
            },
            (Kind::BulkStore | Kind::BulkReduce, [dst, src, bytes, ..]) => {
                let reduce = if kind == Kind::BulkReduce {
                    let ty = match mods.get("type") {
                        "f16" => AtomType::F16,
                        "bf16" => AtomType::Bf16,
                        "b32" | "u32" => AtomType::U32,
                        "s32" => AtomType::S32,
                        "b64" | "u64" => AtomType::U64,
                        "s64" => AtomType::S64,
                        "f32" => AtomType::F32,
                        _ => AtomType::F64,
                    };
                    Some((reduce_op(mods.get("op")), Some(ty)))
                } else {
                    None
                };
                Bulk {
                    what: BulkKind::Store,
                    global: self.addr(dst)?.0,
                    shared: self.addr(src)?.0,
                    coordinates: Vec::new(),
                    bytes: Some(self.source(bytes, Class::W, false)?),
                    bar: None,
                    multicast: None,
                    reduce,
                }
            }
            (Kind::TensorLoad, [dst, map, bar, rest @ ..]) => {
                let (global, coordinates) = self.map_and_coordinates(mods, map)?;
                Bulk {
                    what: BulkKind::TensorLoad,
                    global,
                    shared: self.addr(dst)?.0,
                    coordinates,
                    bytes: None,
                    bar: Some(self.bar_addr(Some(bar))?),
                    multicast: self.multicast(mods, rest)?,
                    reduce: None,
                }
            }
            (Kind::TensorStore | Kind::TensorReduce, [map, src, ..]) => {
                let (global, coordinates) = self.map_and_coordinates(mods, map)?;
                let reduce = (kind == Kind::TensorReduce).then(|| (reduce_op(mods.get("op")), None));
                Bulk {
                    what: BulkKind::TensorStore,
                    global,
                    shared: self.addr(src)?.0,
                    coordinates,
                    bytes: None,
                    bar: None,
                    multicast: None,
                    reduce,
                }
            }
            _ => return self.fail("the operands do not fit the form"),
        };
        self.emit_async(AsyncOp::Bulk(bulk))
    }

    fn multicast(&mut self, mods: &Mods, rest: &[Operand]) -> Result<Option<Slot>, SimError> {
        match rest.first() {
            Some(mask) if mods.has("multicast") => Ok(Some(self.source(mask, Class::W, true)?)),
            None if mods.has("multicast") => self.fail("a multicast needs a mask of blocks"),
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn store_async(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, value, bar] = o else {
            return self.fail("an address, a value and an mbarrier are expected");
        };
        let bytes = if mods.get("type").ends_with("64") { 8 } else { 4 };
        let op = AsyncOp::StoreAsync {
            dst: self.addr(dst)?.0,
            bar: self.addr(bar)?.0,
            bytes,
            regs: self.regs(value, bytes)?,
        };
        self.emit_async(op)
    }

    pub(super) fn set_max_reg(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let count = self.literal(o.first())?;
        if count % 8 != 0 || !(24..=256).contains(&count) {
            return self.fail(format!("{count} registers; a multiple of 8 from 24 to 256 is possible"));
        }
        self.emit_async(AsyncOp::SetMaxReg { is_inc: mods.get("what") == "inc", count })
    }
}
