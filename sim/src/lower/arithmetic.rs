//! Arithmetic forms, and the few that are more than one operation: comparisons with a boolean, carries,
//! packing moves, conversions between registers of other widths.

use crate::alu::{Alu, Class, convert};
use crate::error::SimError;
use crate::isa::table;
use crate::op::{AluClass, Op, special};
use crate::parse::{self, Operand};

use super::Lower;

impl Lower<'_> {
    pub(super) fn arithmetic(&mut self, inst: &parse::Inst) -> Result<(), SimError> {
        let operands = &inst.operands;
        let op = inst.op.as_str();
        if op.starts_with("mov.") && self.special_move(op, operands)? {
            return Ok(());
        }
        if let Some(rest) = op.strip_prefix("setp.")
            && self.combined_compare(rest, operands)?
        {
            return Ok(());
        }
        if self.carrying(op, operands)? {
            return Ok(());
        }
        if let Some(rest) = op.strip_prefix("set.")
            && !table().contains(op)
        {
            return self.set(rest, operands);
        }
        let mut operands = operands.as_slice();
        let mut imm = 0;
        if op == "lop3.b32"
            && let [rest @ .., Operand::Int(lut)] = operands
        {
            imm = *lut as u32;
            operands = rest;
        }
        let [dst, sources @ ..] = operands else { return self.unknown() };
        let Some(row) = table().get(op).iter().find(|f| f.src.len() == sources.len()).copied() else {
            if table().contains(op) {
                return self.fail(format!("{} operands", operands.len()));
            }
            return self.unknown();
        };
        let last = op.rsplit('.').next().unwrap_or("");
        let bits16 = matches!(last, "s16" | "u16" | "b16" | "f16" | "bf16");
        let mut s = [0; 4];
        for (i, (operand, class)) in sources.iter().zip(row.src).enumerate() {
            // A converted value may lie in a wider register than its type; its low bits count.
            s[i] = match (self.class_of(operand), class) {
                (Some((Class::Q, _)), Class::W) if op.starts_with("cvt.") => {
                    let wide = self.source(operand, Class::Q, false)?;
                    let slot = self.new_slot(Class::W)?;
                    self.alu_named("_low.b64", slot, &[wide])?;
                    slot
                }
                _ => self.source(operand, *class, bits16)?,
            };
        }
        imm |= row.imm;
        let class = AluClass { dst: row.dst, src: row.src, is_move: op.starts_with("mov.") };
        let found = self.class_of(dst);
        if op.starts_with("cvt.") && row.dst == Class::W && matches!(found, Some((Class::Q, _))) {
            let narrow = self.new_slot(Class::W)?;
            self.emit(Op::Alu { run: row.run, alu: Alu { d: narrow, s, imm }, class });
            let wide = self.destination(dst, Class::Q)?;
            let is_signed = op.split('.').rev().nth(1).is_some_and(|t| t.starts_with('s'));
            return self.alu_named(if is_signed { "cvt.s64.s32" } else { "cvt.u64.u32" }, wide, &[narrow]);
        }
        if op.starts_with("cvt.") && matches!(found, Some((Class::W, true))) && row.imm != 0 {
            imm |= convert::NARROW_DESTINATION;
        }
        if let Operand::Pair(first, second) = dst {
            let p = self.destination(first, Class::P)?;
            let q = self.destination(second, Class::P)?;
            self.emit(Op::Alu { run: row.run, alu: Alu { d: p, s, imm }, class });
            return self.alu_named("not.pred", q, &[p]);
        }
        let d = self.destination(dst, row.dst)?;
        self.emit(Op::Alu { run: row.run, alu: Alu { d, s, imm }, class });
        Ok(())
    }

    /// Operations that make or take the carry, which lives in a predicate of its own.
    fn carrying(&mut self, op: &str, operands: &[Operand]) -> Result<bool, SimError> {
        let words: Vec<&str> = op.split('.').collect();
        let (head, part, makes, ty) = match words.as_slice() {
            [head @ ("add" | "addc" | "sub" | "subc"), "cc", ty] => (*head, "", true, *ty),
            [head @ ("addc" | "subc"), ty] => (*head, "", false, *ty),
            [head @ ("mad" | "madc"), part @ ("lo" | "hi"), "cc", ty] => (*head, *part, true, *ty),
            ["madc", part @ ("lo" | "hi"), ty] => ("madc", *part, false, *ty),
            _ => return Ok(false),
        };
        let (class, width) = match ty {
            "u32" | "s32" => (Class::W, "32"),
            "u64" | "s64" => (Class::Q, "64"),
            _ => return self.unknown(),
        };
        let [dst, sources @ ..] = operands else { return self.fail("operands are missing") };
        let mut s = Vec::new();
        for operand in sources {
            s.push(self.source(operand, class, false)?);
        }
        if !part.is_empty() {
            let [a, b, c] = s[..] else { return self.fail("four operands are expected") };
            let product = self.new_slot(class)?;
            self.alu_named(&format!("mul.{part}.{ty}"), product, &[a, b])?;
            s = vec![product, c];
        }
        let [a, b] = s[..] else { return self.fail("three operands are expected") };
        let flag = match self.carry {
            Some(slot) => slot,
            None => {
                let slot = self.new_slot(Class::P)?;
                self.carry = Some(slot);
                slot
            }
        };
        let carry_in = if head.ends_with('c') { flag } else { self.const_p(false)? };
        let kind = if head.starts_with("sub") { "_sub" } else { "_add" };
        let (sum, next) = (self.new_slot(class)?, self.new_slot(Class::P)?);
        self.alu_named(&format!("{kind}.sum.{width}"), sum, &[a, b, carry_in])?;
        if makes {
            self.alu_named(&format!("{kind}.carry.{width}"), next, &[a, b, carry_in])?;
            self.alu_named("mov.pred", flag, &[next])?;
        }
        let d = self.destination(dst, class)?;
        self.alu_named(if width == "32" { "mov.b32" } else { "mov.b64" }, d, &[sum])?;
        Ok(true)
    }

    /// `setp` with a boolean operation: `p = (a cmp b) op c`, `q = !(a cmp b) op c`.
    fn combined_compare(&mut self, rest: &str, operands: &[Operand]) -> Result<bool, SimError> {
        let mut words: Vec<&str> = rest.split('.').collect();
        let Some(at) = words.iter().position(|w| matches!(*w, "and" | "or" | "xor")) else {
            return Ok(false);
        };
        let combine = format!("{}.pred", words.remove(at));
        let [dst, a, b, c] = operands else { return self.fail("four operands are expected") };
        let form = format!("setp.{}", words.join("."));
        let Some(row) = table().get(&form).first().copied() else { return self.unknown() };
        let bits16 = matches!(words.last(), Some(&("s16" | "u16" | "b16" | "f16" | "bf16")));
        let (a, b) = (self.source(a, row.src[0], bits16)?, self.source(b, row.src[1], bits16)?);
        let c = self.source(c, Class::P, false)?;
        let (first, second) =
            if let Operand::Pair(p, q) = dst { (p.as_ref(), Some(q.as_ref())) } else { (dst, None) };
        let t = self.new_slot(Class::P)?;
        self.alu_named(&form, t, &[a, b])?;
        if let Some(second) = second {
            let not = self.new_slot(Class::P)?;
            self.alu_named("not.pred", not, &[t])?;
            let q = self.destination(second, Class::P)?;
            // `q` may be `c`, so it is written after `p` read it.
            let p = self.destination(first, Class::P)?;
            let keep = self.new_slot(Class::P)?;
            self.alu_named("mov.pred", keep, &[c])?;
            self.alu_named(&combine, p, &[t, keep])?;
            self.alu_named(&combine, q, &[not, keep])?;
            return Ok(true);
        }
        let p = self.destination(first, Class::P)?;
        self.alu_named(&combine, p, &[t, c])?;
        Ok(true)
    }

    /// `set.cmp{.ftz}.dtype.stype`: all ones or 1.0 where the comparison holds.
    fn set(&mut self, rest: &str, operands: &[Operand]) -> Result<(), SimError> {
        let mut words: Vec<&str> = rest.split('.').collect();
        if words.len() < 3 || operands.len() != 3 {
            return self.unknown();
        }
        let dtype = words.remove(words.len() - 2);
        let ones = match dtype {
            "u32" | "s32" => u32::MAX,
            "f32" => 1.0f32.to_bits(),
            _ => return self.unknown(),
        };
        let form = format!("setp.{}", words.join("."));
        let Some(row) = table().get(&form).first().copied() else { return self.unknown() };
        let (a, b) =
            (self.source(&operands[1], row.src[0], false)?, self.source(&operands[2], row.src[1], false)?);
        let t = self.new_slot(Class::P)?;
        self.alu_named(&form, t, &[a, b])?;
        let (yes, no) = (self.const_w(ones)?, self.const_w(0)?);
        let d = self.destination(&operands[0], Class::W)?;
        self.alu_named("selp.b32", d, &[yes, no, t])
    }

    /// Moves that pack, unpack, or read a clock or a wide special register.
    fn special_move(&mut self, op: &str, operands: &[Operand]) -> Result<bool, SimError> {
        let [dst, src] = operands else { return self.fail("two operands are expected") };
        match (dst, src) {
            (Operand::Vector(parts), Operand::Vector(from)) if parts.len() == from.len() => {
                self.fail("a move between two vectors is not read")
            }
            (Operand::Vector(parts), _) => {
                let forms: &[&str] = match (op, parts.len()) {
                    ("mov.b64", 2) => &["_low.b64", "_high.b64"],
                    ("mov.b32", 2) => &["_low.b32", "_high.b32"],
                    ("mov.b16", 2) => &["_low.b16", "_high.b16"],
                    ("mov.b64", 4) => &["_quarter0.b64", "_quarter1.b64", "_quarter2.b64", "_quarter3.b64"],
                    ("mov.b32", 4) => &["_byte0.b32", "_byte1.b32", "_byte2.b32", "_byte3.b32"],
                    _ => return self.unknown(),
                };
                let class = if op == "mov.b64" { Class::Q } else { Class::W };
                let src = self.source(src, class, false)?;
                for (part, form) in parts.iter().zip(forms) {
                    if *part != Operand::Name("_".to_owned()) {
                        let d = self.destination(part, Class::W)?;
                        self.alu_named(form, d, &[src])?;
                    }
                }
                Ok(true)
            }
            (_, Operand::Vector(parts)) => {
                let (form, class) = match (op, parts.len()) {
                    ("mov.b64", 2) => ("_pack2.b64", Class::Q),
                    ("mov.b64", 4) => ("_pack4.b64", Class::Q),
                    ("mov.b32", 2) => ("_pack2.b32", Class::W),
                    ("mov.b32", 4) => ("_pack4.b32", Class::W),
                    ("mov.b16", 2) => ("_pack2.b16", Class::W),
                    _ => return self.unknown(),
                };
                let mut sources = Vec::new();
                for part in parts {
                    sources.push(self.source(part, Class::W, false)?);
                }
                let d = self.destination(dst, class)?;
                self.alu_named(form, d, &sources)?;
                Ok(true)
            }
            (_, Operand::Name(name)) => {
                let is_wide = op.ends_with("64");
                match name.as_str() {
                    "%clock" | "%clock_hi" | "%globaltimer_lo" | "%globaltimer_hi" | "%clock64"
                    | "%globaltimer" => {
                        let class = if is_wide { Class::Q } else { Class::W };
                        let dst = (class, self.destination(dst, class)?);
                        self.emit(Op::Clock { dst });
                        Ok(true)
                    }
                    _ if is_wide && special(name).is_some() => {
                        let narrow = self.source(src, Class::W, false)?;
                        let d = self.destination(dst, Class::Q)?;
                        self.alu_named("cvt.u64.u32", d, &[narrow])?;
                        Ok(true)
                    }
                    _ => Ok(false),
                }
            }
            _ => Ok(false),
        }
    }
}
