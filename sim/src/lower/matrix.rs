//! Warp-level matrix instructions.

use crate::alu::{Class, Slot};
use crate::error::SimError;
use crate::grammar::Mods;
use crate::mma::{self, Accumulator, MmaForm};
use crate::op::{MatrixMove, MmaOp, Op, WgmmaA, WgmmaOp};
use crate::parse::Operand;
use crate::wgmma::{Major, Sign, WgmmaForm};

use super::Lower;

/// The element type a modifier names.
pub(super) fn element(word: &str) -> mma::Operand {
    match word {
        "f16" => mma::Operand::F16,
        "bf16" => mma::Operand::Bf16,
        "tf32" => mma::Operand::Tf32,
        "e4m3" => mma::Operand::E4m3,
        "e5m2" => mma::Operand::E5m2,
        "s8" => mma::Operand::S8,
        _ => mma::Operand::U8,
    }
}

/// The accumulator type a modifier names.
pub(super) fn accumulator(word: &str, saturates: bool) -> Accumulator {
    match word {
        "f32" => Accumulator::F32,
        "f16" => Accumulator::F16,
        _ if saturates => Accumulator::S32Satfinite,
        _ => Accumulator::S32,
    }
}

impl Lower<'_> {
    /// The 32-bit registers of a vector operand.
    pub(super) fn w_sources(&mut self, operand: &Operand) -> Result<Vec<Slot>, SimError> {
        if let Operand::Vector(items) = operand {
            return items.iter().map(|o| self.source(o, Class::W, false)).collect();
        }
        Ok(vec![self.source(operand, Class::W, false)?])
    }

    fn w_destinations(&mut self, operand: &Operand) -> Result<Vec<Slot>, SimError> {
        if let Operand::Vector(items) = operand {
            return items.iter().map(|o| self.destination(o, Class::W)).collect();
        }
        Ok(vec![self.destination(operand, Class::W)?])
    }

    pub(super) fn matrix_move(&mut self, mods: &Mods, o: &[Operand], is_store: bool) -> Result<(), SimError> {
        let [first, second] = o else { return self.fail("two operands are expected") };
        let (place, regs) = if is_store { (first, second) } else { (second, first) };
        let (addr, _) = self.addr(place)?;
        let regs = if is_store { self.w_sources(regs)? } else { self.w_destinations(regs)? };
        let n = mods.get("num")[1..].parse().unwrap_or(0);
        if regs.len() != n {
            return self.fail(format!("{} registers, the form moves {n} matrices", regs.len()));
        }
        let trans = mods.has("trans");
        self.emit(Op::Matrix(Box::new(MatrixMove { addr, regs, trans, is_store })));
        Ok(())
    }

    pub(super) fn mov_matrix(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let [dst, src] = o else { return self.fail("two operands are expected") };
        let src = self.source(src, Class::W, false)?;
        let dst = self.destination(dst, Class::W)?;
        self.emit(Op::MovMatrix { dst, src });
        Ok(())
    }

    pub(super) fn mma(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [d, a, b, c] = o else { return self.fail("four operands are expected") };
        let k: usize = mods.get("shape").rsplit('k').next().and_then(|k| k.parse().ok()).unwrap_or(0);
        let acc = accumulator(mods.get("d"), mods.has("satfinite"));
        if mods.get("c") != mods.get("d") {
            return self.fail("C and D of different types are not computed");
        }
        let form = match MmaForm::new(element(mods.get("a")), element(mods.get("b")), acc, k) {
            Ok(form) => form,
            Err(error) => return self.fail(error.to_string()),
        };
        let (a, b, c) = (self.w_sources(a)?, self.w_sources(b)?, self.w_sources(c)?);
        let d = self.w_destinations(d)?;
        let found = [a.len(), b.len(), c.len(), d.len()];
        let want = [form.a_registers(), form.b_registers(), form.c_registers(), form.c_registers()];
        if found != want {
            return self.fail(format!("A, B, C, D have {found:?} registers, the form takes {want:?}"));
        }
        self.emit(Op::Mma(Box::new(MmaOp { form, d, a, b, c })));
        Ok(())
    }

    pub(super) fn wgmma(&mut self, mods: &Mods, o: &[Operand]) -> Result<(), SimError> {
        let [d, a, b, scale, immediates @ ..] = o else { return self.fail("too few operands") };
        let a_in_registers = matches!(a, Operand::Vector(_));
        let mut numbers = Vec::new();
        for immediate in immediates {
            let Operand::Int(v) = immediate else {
                return self.fail("scales and transposes should be numbers");
            };
            numbers.push(*v);
        }
        let at = |i: usize| numbers.get(i).copied();
        let sign = |v: Option<i64>| if v == Some(-1) { Sign::Minus } else { Sign::Plus };
        let major = |v: Option<i64>| if v == Some(1) { Major::Mn } else { Major::K };
        let (a_major, b_major) =
            if a_in_registers { (Major::K, major(at(2))) } else { (major(at(2)), major(at(3))) };
        let shape = mods.get("shape");
        let n = shape[4..].split('k').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let form = WgmmaForm {
            a: element(mods.get("a")),
            b: element(mods.get("b")),
            accumulator: accumulator(mods.get("d"), mods.has("satfinite")),
            n,
            a_major,
            b_major,
            a_sign: sign(at(0)),
            b_sign: sign(at(1)),
        };
        if let Err(error) = form.check() {
            return self.fail(error.to_string());
        }
        let k: usize = shape.rsplit('k').next().and_then(|k| k.parse().ok()).unwrap_or(0);
        if k != form.k() {
            return self.fail(format!("K is {} for these types, not {k}", form.k()));
        }
        let a = if a_in_registers {
            let regs = self.w_sources(a)?;
            match <[Slot; 4]>::try_from(regs) {
                Ok(regs) => WgmmaA::Registers(regs),
                Err(_) => return self.fail("A in registers takes four of them"),
            }
        } else {
            WgmmaA::Descriptor(self.source(a, Class::Q, false)?)
        };
        let b = self.source(b, Class::Q, false)?;
        let scale = self.source(scale, Class::P, false)?;
        let d = self.w_destinations(d)?;
        if d.len() != form.d_registers() {
            return self.fail(format!("D has {} registers, the form {}", d.len(), form.d_registers()));
        }
        self.emit(Op::Wgmma(Box::new(WgmmaOp { form, d, a, b, scale })));
        Ok(())
    }
}
