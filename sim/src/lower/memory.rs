//! Loads, stores, atomics and address conversions.

use crate::alu::Class;
use crate::error::SimError;
use crate::grammar::Mods;
use crate::memory::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::op::{Access, AtomOp, AtomType, Atomic, Base, Op, Order};
use crate::parse::{Operand, Space, type_bytes};

use super::Lower;

/// The space a modifier names.
fn space_of(word: &str) -> Space {
    match word {
        "global" => Space::Global,
        "shared" | "shared::cta" => Space::Shared,
        "shared::cluster" => Space::SharedCluster,
        "local" => Space::Local,
        "param" | "param::entry" | "param::func" => Space::Param,
        "const" => Space::Const,
        _ => Space::Generic,
    }
}

fn order_of(word: &str) -> Order {
    match word {
        "volatile" | "relaxed" | "mmio" => Order::Relaxed,
        "acquire" => Order::Acquire,
        "release" => Order::Release,
        "acq_rel" => Order::AcqRel,
        _ => Order::Weak,
    }
}

fn bytes_of(ty: &str) -> u32 {
    type_bytes(&format!(".{ty}")).map_or(4, |b| b as u32)
}

impl Lower<'_> {
    pub(super) fn load(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, ..] = o else { return self.fail("a destination and an address are expected") };
        let ty = mods.get("type");
        let bytes = bytes_of(ty);
        let regs = self.regs(dst, bytes)?;
        self.check_vector(mods, regs.len())?;
        let (addr, found) = self.addr(src)?;
        let mut space = space_of(mods.get("space"));
        if space == Space::Param && found == Some(Space::Local) {
            space = Space::Local;
        }
        let is_signed = ty.starts_with('s');
        if space == Space::Param && addr.base == Base::None {
            self.emit(Op::Param { regs, offset: addr.offset as u32, bytes, is_signed });
            return Ok(());
        }
        let sem = if mods_has_sem(self.form.as_str()) { mods.get("sem") } else { "" };
        let order = order_of(sem);
        self.emit(Op::Load(Box::new(Access { space, addr, bytes, is_signed, regs, order })));
        Ok(())
    }

    pub(super) fn store(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src, ..] = o else { return self.fail("an address and a source are expected") };
        let bytes = bytes_of(mods.get("type"));
        let (addr, found) = self.addr(dst)?;
        let regs = self.regs(src, bytes)?;
        self.check_vector(mods, regs.len())?;
        let mut space = space_of(mods.get("space"));
        if space == Space::Param && found == Some(Space::Local) {
            space = Space::Local;
        }
        let order = order_of(mods.get("sem"));
        self.emit(Op::Store(Box::new(Access { space, addr, bytes, is_signed: false, regs, order })));
        Ok(())
    }

    pub(super) fn atomic(&mut self, mods: &Mods, o: &[Operand], returns: bool) -> Result<(), SimError> {
        let (dst, rest) = match o {
            [dst, rest @ ..] if returns => (Some(dst), rest),
            rest => (None, rest),
        };
        let [place, value, extra @ ..] = rest else {
            return self.fail("an address and a value are expected");
        };
        let op = match mods.get("op") {
            "and" => AtomOp::And,
            "or" => AtomOp::Or,
            "xor" => AtomOp::Xor,
            "cas" => AtomOp::Cas,
            "exch" => AtomOp::Exch,
            "add" => AtomOp::Add,
            "inc" => AtomOp::Inc,
            "dec" => AtomOp::Dec,
            "min" => AtomOp::Min,
            _ => AtomOp::Max,
        };
        let ty = match mods.get("type") {
            "b16" => AtomType::B16,
            "b32" | "u32" => AtomType::U32,
            "s32" => AtomType::S32,
            "b64" | "u64" => AtomType::U64,
            "s64" => AtomType::S64,
            "f32" => AtomType::F32,
            "f64" => AtomType::F64,
            "f16" => AtomType::F16,
            "bf16" => AtomType::Bf16,
            "f16x2" => AtomType::F16x2,
            "bf16x2" => AtomType::Bf16x2,
            _ => return self.unknown(),
        };
        let bytes = ty.bytes();
        let (addr, _) = self.addr(place)?;
        let dst = match dst {
            Some(d) => self.regs(d, bytes)?,
            None => Vec::new(),
        };
        let src = self.regs(value, bytes)?;
        self.check_vector(mods, src.len())?;
        if returns && dst.len() != src.len() {
            return self.fail(format!("{} results for {} values", dst.len(), src.len()));
        }
        let new = match (op, extra) {
            (AtomOp::Cas, [new, ..]) => Some(self.reg(new, bytes)?),
            (AtomOp::Cas, []) => return self.fail("compare-and-swap needs a new value"),
            _ => None,
        };
        let space = space_of(mods.get("space"));
        let order = match mods.get("sem") {
            "" => Order::Relaxed,
            word => order_of(word),
        };
        self.emit(Op::Atomic(Box::new(Atomic { space, addr, op, ty, dst, src, new, order })));
        Ok(())
    }

    /// The operand has as many registers as `.v2`, `.v4` or `.v8` says.
    fn check_vector(&self, mods: &Mods, found: usize) -> Result<(), SimError> {
        let want = mods.get("vec").strip_prefix('v').and_then(|n| n.parse().ok()).unwrap_or(1);
        if found == want {
            return Ok(());
        }
        self.fail(format!("{found} registers, the form takes {want}"))
    }

    pub(super) fn cvta(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src] = o else { return self.fail("two operands are expected") };
        if mods.get("type") == "u32" {
            return self.fail("32-bit generic addresses do not exist in a 64-bit module");
        }
        let base = match space_of(mods.get("space")) {
            Space::Shared | Space::SharedCluster => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            Space::Param => PARAM_WINDOW,
            Space::Global | Space::Const | Space::Generic => 0,
        };
        let src = self.source(src, Class::Q, false)?;
        let d = self.destination(dst, Class::Q)?;
        let base = self.const_q(base)?;
        self.alu_named(if mods.has("to") { "sub.u64" } else { "add.u64" }, d, &[src, base])
    }

    pub(super) fn is_space(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src] = o else { return self.fail("two operands are expected") };
        let src = self.source(src, Class::Q, false)?;
        let d = self.destination(dst, Class::P)?;
        let (shift, id) = (self.const_w(36)?, self.new_slot(Class::Q)?);
        self.alu_named("shr.u64", id, &[src, shift])?;
        let (form, window) = match space_of(mods.get("space")) {
            Space::Shared | Space::SharedCluster => ("setp.eq.u64", SHARED_WINDOW >> 36),
            Space::Local => ("setp.eq.u64", LOCAL_WINDOW >> 36),
            Space::Param => ("setp.eq.u64", PARAM_WINDOW >> 36),
            Space::Global | Space::Const | Space::Generic => ("setp.gt.u64", PARAM_WINDOW >> 36),
        };
        let window = self.const_q(window)?;
        self.alu_named(form, d, &[id, window])
    }
}

/// `ldu` has no memory order.
fn mods_has_sem(form: &str) -> bool {
    form.starts_with("ld.")
}

impl AtomType {
    /// Bytes of one element.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            AtomType::B16 | AtomType::F16 | AtomType::Bf16 => 2,
            AtomType::U32 | AtomType::S32 | AtomType::F32 | AtomType::F16x2 | AtomType::Bf16x2 => 4,
            AtomType::U64 | AtomType::S64 | AtomType::F64 => 8,
        }
    }
}
