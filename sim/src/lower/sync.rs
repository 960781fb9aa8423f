//! Barriers, fences, shuffles, votes and other instructions of a whole warp.

use crate::alu::Class;
use crate::error::SimError;
use crate::grammar::Mods;
use crate::op::{Bar, BarRed, FenceKind, Fold, Op, ShflMode, VoteMode};
use crate::parse::Operand;

use super::Lower;

impl Lower<'_> {
    pub(super) fn bar(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [id, count @ ..] = o else { return self.fail("a barrier number is expected") };
        let id = self.source(id, Class::W, false)?;
        let count = match count {
            [] => None,
            [count, ..] => Some(self.source(count, Class::W, false)?),
        };
        let waits = mods.get("what") == "sync";
        self.emit(Op::Bar(Box::new(Bar { id, count, waits, red: None })));
        Ok(())
    }

    pub(super) fn bar_red(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let (dst, id, count, src) = match o {
            [dst, id, src] => (dst, id, None, src),
            [dst, id, count, src] => (dst, id, Some(count), src),
            _ => return self.fail("three or four operands are expected"),
        };
        let fold = match mods.get("op") {
            "popc" => Fold::Popc,
            "and" => Fold::And,
            _ => Fold::Or,
        };
        let class = if mods.get("type") == "pred" { Class::P } else { Class::W };
        let src = self.source(src, Class::P, false)?;
        let id = self.source(id, Class::W, false)?;
        let count = count.map(|c| self.source(c, Class::W, false)).transpose()?;
        let red = Some(BarRed { fold, dst: (class, self.destination(dst, class)?), src });
        self.emit(Op::Bar(Box::new(Bar { id, count, waits: true, red })));
        Ok(())
    }

    pub(super) fn bar_warp(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let [mask] = o else { return self.fail("a member mask is expected") };
        let mask = self.source(mask, Class::W, false)?;
        self.emit(Op::BarWarp { mask });
        Ok(())
    }

    pub(super) fn fence(&mut self, mods: &Mods) -> Result<(), SimError> {
        let form = self.form.as_str();
        let kind = if form.starts_with("fence.proxy.async") && !form.contains("::generic") {
            FenceKind::ProxyAsync
        } else if form.starts_with("fence.proxy") {
            FenceKind::ProxyOther
        } else if form.starts_with("fence.mbarrier_init") {
            FenceKind::MbarrierInit
        } else {
            match mods.get("scope") {
                "cta" => FenceKind::Cta,
                "cluster" => FenceKind::Cluster,
                _ => FenceKind::Gpu,
            }
        };
        self.emit(Op::Fence(kind));
        Ok(())
    }

    pub(super) fn shfl(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, lane, clamp, mask] = o else { return self.fail("five operands are expected") };
        let mode = match mods.get("mode") {
            "up" => ShflMode::Up,
            "down" => ShflMode::Down,
            "bfly" => ShflMode::Bfly,
            _ => ShflMode::Idx,
        };
        let (dst, valid) = if let Operand::Pair(d, p) = dst {
            (d.as_ref(), Some(self.destination(p, Class::P)?))
        } else {
            (dst, None)
        };
        let src = self.source(src, Class::W, false)?;
        let lane = self.source(lane, Class::W, false)?;
        let clamp = self.source(clamp, Class::W, false)?;
        let mask = self.source(mask, Class::W, false)?;
        let dst = self.destination(dst, Class::W)?;
        self.emit(Op::Shfl { mode, dst, valid, src, lane, clamp, mask });
        Ok(())
    }

    pub(super) fn vote(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, mask] = o else { return self.fail("three operands are expected") };
        let mode = match mods.get("mode") {
            "all" => VoteMode::All,
            "any" => VoteMode::Any,
            "uni" => VoteMode::Uni,
            _ => VoteMode::Ballot,
        };
        let class = if mode == VoteMode::Ballot { Class::W } else { Class::P };
        let src = self.source(src, Class::P, false)?;
        let mask = self.source(mask, Class::W, false)?;
        let dst = (class, self.destination(dst, class)?);
        self.emit(Op::Vote { mode, dst, src, mask });
        Ok(())
    }

    pub(super) fn match_any(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, mask] = o else { return self.fail("three operands are expected") };
        let class = if mods.get("type") == "b64" { Class::Q } else { Class::W };
        let src = (class, self.source(src, class, false)?);
        let mask = self.source(mask, Class::W, false)?;
        let (dst, valid) = if let Operand::Pair(d, p) = dst {
            (d.as_ref(), Some(self.destination(p, Class::P)?))
        } else {
            (dst, None)
        };
        let dst = self.destination(dst, Class::W)?;
        self.emit(Op::Match { is_all: mods.get("mode") == "all", dst, valid, src, mask });
        Ok(())
    }

    pub(super) fn redux(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, mask] = o else { return self.fail("three operands are expected") };
        let fold = match (mods.get("op"), mods.get("type")) {
            ("add", "u32" | "s32") => Fold::AddU,
            ("min", "u32") => Fold::MinU,
            ("max", "u32") => Fold::MaxU,
            ("min", "s32") => Fold::MinS,
            ("max", "s32") => Fold::MaxS,
            ("min", "f32") if !mods.has("abs") && !mods.has("nan") => Fold::MinF,
            ("max", "f32") if !mods.has("abs") && !mods.has("nan") => Fold::MaxF,
            ("and", "b32") => Fold::And,
            ("or", "b32") => Fold::Or,
            ("xor", "b32") => Fold::Xor,
            _ => return self.unknown(),
        };
        let src = self.source(src, Class::W, false)?;
        let mask = self.source(mask, Class::W, false)?;
        let dst = self.destination(dst, Class::W)?;
        self.emit(Op::Redux { fold, dst, src, mask });
        Ok(())
    }

    pub(super) fn elect(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let [Operand::Pair(lane, p), mask] = o else {
            return self.fail("`lane|predicate, mask` is expected");
        };
        let dst = if **lane == Operand::Name("_".to_owned()) {
            None
        } else {
            Some(self.destination(lane, Class::W)?)
        };
        let mask = self.source(mask, Class::W, false)?;
        let valid = self.destination(p, Class::P)?;
        self.emit(Op::Elect { dst, valid, mask });
        Ok(())
    }

    pub(super) fn active_mask(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let [dst] = o else { return self.fail("one operand is expected") };
        let dst = self.destination(dst, Class::W)?;
        self.emit(Op::ActiveMask { dst });
        Ok(())
    }
}
