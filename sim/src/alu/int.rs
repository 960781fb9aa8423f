//! table: integer, logic, comparison and selection forms (PTX ISA 9.7.1, 9.7.5, 9.7.7, 9.7.8).
//!
//! 16-bit results are cut to 16 bits, so a `W` row always holds a zero-extended value. Division by zero,
//! which PTX leaves unspecified, gives all ones.

use super::lane;
use crate::isa::Table;

/// Adds every form of this file.
pub(crate) fn add(t: &mut Table) {
    arithmetic(t);
    multiply(t);
    bits(t);
    logic(t);
    compare_and_select(t);
    moves(t);
}

const fn s16(v: u32) -> i32 {
    v as u16 as i16 as i32
}

fn arithmetic(t: &mut Table) {
    lane!(t, "add.{s16,u16}", W = (a: W, b: W) => a.wrapping_add(b) & 0xffff);
    lane!(t, "add.{s32,u32}", W = (a: W, b: W) => a.wrapping_add(b));
    lane!(t, "add.{s64,u64}", Q = (a: Q, b: Q) => a.wrapping_add(b));
    lane!(t, "add.sat.s32", W = (a: W, b: W) => (a as i32).saturating_add(b as i32) as u32);
    lane!(t, "add.{s16x2,u16x2}", W = (a: W, b: W) =>
        (a.wrapping_add(b) & 0xffff) | ((a >> 16).wrapping_add(b >> 16) << 16));
    lane!(t, "sub.{s16,u16}", W = (a: W, b: W) => a.wrapping_sub(b) & 0xffff);
    lane!(t, "sub.{s32,u32}", W = (a: W, b: W) => a.wrapping_sub(b));
    lane!(t, "sub.{s64,u64}", Q = (a: Q, b: Q) => a.wrapping_sub(b));
    lane!(t, "sub.sat.s32", W = (a: W, b: W) => (a as i32).saturating_sub(b as i32) as u32);
    lane!(t, "neg.s16", W = (a: W) => a.wrapping_neg() & 0xffff);
    lane!(t, "neg.s32", W = (a: W) => a.wrapping_neg());
    lane!(t, "neg.s64", Q = (a: Q) => a.wrapping_neg());
    lane!(t, "abs.s16", W = (a: W) => s16(a).unsigned_abs() & 0xffff);
    lane!(t, "abs.s32", W = (a: W) => (a as i32).unsigned_abs());
    lane!(t, "abs.s64", Q = (a: Q) => (a as i64).unsigned_abs());
    lane!(t, "min.{u16,u32}", W = (a: W, b: W) => a.min(b));
    lane!(t, "max.{u16,u32}", W = (a: W, b: W) => a.max(b));
    lane!(t, "min.s16", W = (a: W, b: W) => s16(a).min(s16(b)) as u32 & 0xffff);
    lane!(t, "max.s16", W = (a: W, b: W) => s16(a).max(s16(b)) as u32 & 0xffff);
    lane!(t, "min.s32", W = (a: W, b: W) => (a as i32).min(b as i32) as u32);
    lane!(t, "max.s32", W = (a: W, b: W) => (a as i32).max(b as i32) as u32);
    lane!(t, "min.relu.s32", W = (a: W, b: W) => (a as i32).min(b as i32).max(0) as u32);
    lane!(t, "max.relu.s32", W = (a: W, b: W) => (a as i32).max(b as i32).max(0) as u32);
    lane!(t, "min.u64", Q = (a: Q, b: Q) => a.min(b));
    lane!(t, "max.u64", Q = (a: Q, b: Q) => a.max(b));
    lane!(t, "min.s64", Q = (a: Q, b: Q) => (a as i64).min(b as i64) as u64);
    lane!(t, "max.s64", Q = (a: Q, b: Q) => (a as i64).max(b as i64) as u64);
    lane!(t, "min.u16x2", W = (a: W, b: W) => (a & 0xffff).min(b & 0xffff) | ((a >> 16).min(b >> 16) << 16));
    lane!(t, "max.u16x2", W = (a: W, b: W) => (a & 0xffff).max(b & 0xffff) | ((a >> 16).max(b >> 16) << 16));
    lane!(t, "min.s16x2", W = (a: W, b: W) =>
        (s16(a).min(s16(b)) as u32 & 0xffff) | ((s16(a >> 16).min(s16(b >> 16)) as u32) << 16));
    lane!(t, "max.s16x2", W = (a: W, b: W) =>
        (s16(a).max(s16(b)) as u32 & 0xffff) | ((s16(a >> 16).max(s16(b >> 16)) as u32) << 16));
    lane!(t, "div.u16", W = (a: W, b: W) => a.checked_div(b).unwrap_or(0xffff));
    lane!(t, "div.u32", W = (a: W, b: W) => a.checked_div(b).unwrap_or(u32::MAX));
    lane!(t, "div.u64", Q = (a: Q, b: Q) => a.checked_div(b).unwrap_or(u64::MAX));
    lane!(t, "div.s16", W = (a: W, b: W) =>
        if s16(b) == 0 { 0xffff } else { (s16(a) / s16(b)) as u32 & 0xffff });
    lane!(t, "div.s32", W = (a: W, b: W) =>
        if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 });
    lane!(t, "div.s64", Q = (a: Q, b: Q) =>
        if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 });
    lane!(t, "rem.u16", W = (a: W, b: W) => a.checked_rem(b).unwrap_or(0xffff));
    lane!(t, "rem.u32", W = (a: W, b: W) => a.checked_rem(b).unwrap_or(u32::MAX));
    lane!(t, "rem.u64", Q = (a: Q, b: Q) => a.checked_rem(b).unwrap_or(u64::MAX));
    lane!(t, "rem.s16", W = (a: W, b: W) =>
        if s16(b) == 0 { 0xffff } else { (s16(a) % s16(b)) as u32 & 0xffff });
    lane!(t, "rem.s32", W = (a: W, b: W) =>
        if b == 0 { u32::MAX } else { (a as i32).wrapping_rem(b as i32) as u32 });
    lane!(t, "rem.s64", Q = (a: Q, b: Q) =>
        if b == 0 { u64::MAX } else { (a as i64).wrapping_rem(b as i64) as u64 });
    lane!(t, "sad.u32", W = (a: W, b: W, c: W) => a.abs_diff(b).wrapping_add(c));
    lane!(t, "sad.s32", W = (a: W, b: W, c: W) => (a as i32).abs_diff(b as i32).wrapping_add(c));
}

fn dp4(a: [i32; 4], b: [i32; 4], c: u32) -> u32 {
    (0..4).fold(c, |sum, i| sum.wrapping_add(a[i].wrapping_mul(b[i]) as u32))
}

/// Two 16-bit values with the lower or upper two bytes.
fn dp2(a: [i32; 2], b: [i32; 4], hi: u32, c: u32) -> u32 {
    let at = 2 * hi as usize;
    (0..2).fold(c, |sum, i| sum.wrapping_add(a[i].wrapping_mul(b[at + i]) as u32))
}

fn pair_signed(v: u32) -> [i32; 2] {
    [s16(v), s16(v >> 16)]
}

fn pair_unsigned(v: u32) -> [i32; 2] {
    [(v & 0xffff) as i32, (v >> 16) as i32]
}

fn signed(v: u32) -> [i32; 4] {
    v.to_le_bytes().map(|b| i32::from(b as i8))
}

fn unsigned(v: u32) -> [i32; 4] {
    v.to_le_bytes().map(i32::from)
}

fn multiply(t: &mut Table) {
    lane!(t, "mul.lo.{s16,u16}", W = (a: W, b: W) => a.wrapping_mul(b) & 0xffff);
    lane!(t, "mul.wide.u16", W = (a: W, b: W) => a.wrapping_mul(b));
    lane!(t, "mul.wide.s16", W = (a: W, b: W) => (s16(a) * s16(b)) as u32);
    lane!(t, "mul.hi.u16", W = (a: W, b: W) => a.wrapping_mul(b) >> 16);
    lane!(t, "mul.hi.s16", W = (a: W, b: W) => ((s16(a) * s16(b)) as u32) >> 16);
    lane!(t, "mul.lo.{s32,u32}", W = (a: W, b: W) => a.wrapping_mul(b));
    lane!(t, "mul.lo.{s64,u64}", Q = (a: Q, b: Q) => a.wrapping_mul(b));
    lane!(t, "mul.hi.u32", W = (a: W, b: W) => ((u64::from(a) * u64::from(b)) >> 32) as u32);
    lane!(t, "mul.hi.s32", W = (a: W, b: W) => ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    lane!(t, "mul.hi.u64", Q = (a: Q, b: Q) => ((u128::from(a) * u128::from(b)) >> 64) as u64);
    lane!(t, "mul.hi.s64", Q = (a: Q, b: Q) => ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64);
    lane!(t, "mul.wide.u32", Q = (a: W, b: W) => u64::from(a) * u64::from(b));
    lane!(t, "mul.wide.s32", Q = (a: W, b: W) => (i64::from(a as i32) * i64::from(b as i32)) as u64);
    lane!(t, "mul24.lo.u32", W = (a: W, b: W) => (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff));
    lane!(t, "mul24.lo.s32", W = (a: W, b: W) => (a << 8 >> 8).wrapping_mul(b << 8 >> 8));
    lane!(t, "mad.lo.{s16,u16}", W = (a: W, b: W, c: W) => a.wrapping_mul(b).wrapping_add(c) & 0xffff);
    lane!(t, "mad.lo.{s32,u32}", W = (a: W, b: W, c: W) => a.wrapping_mul(b).wrapping_add(c));
    lane!(t, "mad.lo.{s64,u64}", Q = (a: Q, b: Q, c: Q) => a.wrapping_mul(b).wrapping_add(c));
    lane!(t, "mad.hi.u32", W = (a: W, b: W, c: W) =>
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c));
    lane!(t, "mad.hi.s32", W = (a: W, b: W, c: W) =>
        (((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32).wrapping_add(c));
    lane!(t, "mad.wide.u16", W = (a: W, b: W, c: W) => a.wrapping_mul(b).wrapping_add(c));
    lane!(t, "mad.wide.s16", W = (a: W, b: W, c: W) => ((s16(a) * s16(b)) as u32).wrapping_add(c));
    lane!(t, "mad.wide.u32", Q = (a: W, b: W, c: Q) => (u64::from(a) * u64::from(b)).wrapping_add(c));
    lane!(t, "mad.wide.s32", Q = (a: W, b: W, c: Q) =>
        ((i64::from(a as i32) * i64::from(b as i32)) as u64).wrapping_add(c));
    for (hi, half) in [(0, "lo"), (1, "hi")] {
        lane!(t, &format!("dp2a.{half}.s32.s32"), hi, W = (hi; a: W, b: W, c: W) =>
            dp2(pair_signed(a), signed(b), hi, c));
        lane!(t, &format!("dp2a.{half}.s32.u32"), hi, W = (hi; a: W, b: W, c: W) =>
            dp2(pair_signed(a), unsigned(b), hi, c));
        lane!(t, &format!("dp2a.{half}.u32.s32"), hi, W = (hi; a: W, b: W, c: W) =>
            dp2(pair_unsigned(a), signed(b), hi, c));
        lane!(t, &format!("dp2a.{half}.u32.u32"), hi, W = (hi; a: W, b: W, c: W) =>
            dp2(pair_unsigned(a), unsigned(b), hi, c));
    }
    lane!(t, "vabsdiff4.u32.u32.u32", W = (a: W, b: W, _c: W) => {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        u32::from_le_bytes(std::array::from_fn(|i| a[i].abs_diff(b[i])))
    });
    // Halves of the operations with carry; lowering puts them together.
    lane!(t, "_add.sum.32", W = (a: W, b: W, p: P) => a.wrapping_add(b).wrapping_add(u32::from(p)));
    lane!(t, "_add.carry.32", P = (a: W, b: W, p: P) => u64::from(a) + u64::from(b) + u64::from(p) > 0xffff_ffff);
    lane!(t, "_sub.sum.32", W = (a: W, b: W, p: P) => a.wrapping_sub(b).wrapping_sub(u32::from(p)));
    lane!(t, "_sub.carry.32", P = (a: W, b: W, p: P) => u64::from(a) < u64::from(b) + u64::from(p));
    lane!(t, "_add.sum.64", Q = (a: Q, b: Q, p: P) => a.wrapping_add(b).wrapping_add(u64::from(p)));
    lane!(t, "_add.carry.64", P = (a: Q, b: Q, p: P) =>
        u128::from(a) + u128::from(b) + u128::from(p) > u128::from(u64::MAX));
    lane!(t, "_sub.sum.64", Q = (a: Q, b: Q, p: P) => a.wrapping_sub(b).wrapping_sub(u64::from(p)));
    lane!(t, "_sub.carry.64", P = (a: Q, b: Q, p: P) => u128::from(a) < u128::from(b) + u128::from(p));
    lane!(t, "dp4a.s32.s32", W = (a: W, b: W, c: W) => dp4(signed(a), signed(b), c));
    lane!(t, "dp4a.s32.u32", W = (a: W, b: W, c: W) => dp4(signed(a), unsigned(b), c));
    lane!(t, "dp4a.u32.s32", W = (a: W, b: W, c: W) => dp4(unsigned(a), signed(b), c));
    lane!(t, "dp4a.u32.u32", W = (a: W, b: W, c: W) => dp4(unsigned(a), unsigned(b), c));
}

fn bits(t: &mut Table) {
    lane!(t, "popc.b32", W = (a: W) => a.count_ones());
    lane!(t, "popc.b64", W = (a: Q) => a.count_ones());
    lane!(t, "clz.b32", W = (a: W) => a.leading_zeros());
    lane!(t, "clz.b64", W = (a: Q) => a.leading_zeros());
    lane!(t, "brev.b32", W = (a: W) => a.reverse_bits());
    lane!(t, "brev.b64", Q = (a: Q) => a.reverse_bits());
    lane!(t, "bfind.u32", W = (a: W) => if a == 0 { u32::MAX } else { 31 - a.leading_zeros() });
    lane!(t, "bfind.u64", W = (a: Q) => if a == 0 { u32::MAX } else { 63 - a.leading_zeros() });
    lane!(t, "bfind.s32", W = (a: W) => {
        let a = if (a as i32) < 0 { !a } else { a };
        if a == 0 { u32::MAX } else { 31 - a.leading_zeros() }
    });
    lane!(t, "bfind.s64", W = (a: Q) => {
        let a = if (a as i64) < 0 { !a } else { a };
        if a == 0 { u32::MAX } else { 63 - a.leading_zeros() }
    });
    lane!(t, "bfind.shiftamt.u32", W = (a: W) => if a == 0 { u32::MAX } else { a.leading_zeros() });
    lane!(t, "bfind.shiftamt.u64", W = (a: Q) => if a == 0 { u32::MAX } else { a.leading_zeros() });
    lane!(t, "bfind.shiftamt.s32", W = (a: W) => {
        let a = if (a as i32) < 0 { !a } else { a };
        if a == 0 { u32::MAX } else { a.leading_zeros() }
    });
    lane!(t, "bfe.u32", W = (a: W, pos: W, len: W) => bfe(u64::from(a), pos, len, 32, false) as u32);
    lane!(t, "bfe.s32", W = (a: W, pos: W, len: W) => bfe(a as i32 as i64 as u64, pos, len, 32, true) as u32);
    lane!(t, "bfe.u64", Q = (a: Q, pos: W, len: W) => bfe(a, pos, len, 64, false));
    lane!(t, "bfe.s64", Q = (a: Q, pos: W, len: W) => bfe(a, pos, len, 64, true));
    lane!(t, "bfi.b32", 0, W = (_imm; a: W, b: W, pos: W, len: W) => bfi(u64::from(a), u64::from(b), pos, len, 32) as u32);
    lane!(t, "bfi.b64", 0, Q = (_imm; a: Q, b: Q, pos: W, len: W) => bfi(a, b, pos, len, 64));
    lane!(t, "bmsk.clamp.b32", W = (a: W, b: W) => bfi(u64::MAX, 0, a, b, 32) as u32);
    lane!(t, "szext.clamp.u32", W = (a: W, b: W) => if b >= 32 { a } else { a & ((1 << b) - 1) });
    lane!(t, "szext.clamp.s32", W = (a: W, b: W) => match b {
        0 => 0,
        1..=31 => ((a << (32 - b)) as i32 >> (32 - b)) as u32,
        _ => a,
    });
    for (mode, name) in ["", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"].into_iter().enumerate() {
        lane!(t, &format!("prmt.b32{name}"), mode as u32, W = (mode; a: W, b: W, c: W) => prmt(mode, a, b, c));
    }
}

/// Bit field of `len` bits at `pos`; the sign comes from the field's top bit, or the value's when it lies outside.
fn bfe(a: u64, pos: u32, len: u32, width: u32, is_signed: bool) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let sign = if !is_signed || len == 0 { 0 } else { (a >> (pos + len - 1).min(width - 1)) & 1 };
    let field = if pos >= width { 0 } else { a >> pos };
    let in_value = width.saturating_sub(pos).min(len);
    let mask = if in_value >= 64 { u64::MAX } else { (1 << in_value) - 1 };
    if sign == 1 { (field & mask) | !mask } else { field & mask }
}

fn bfi(a: u64, b: u64, pos: u32, len: u32, width: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if pos >= width {
        return b;
    }
    let mask = if len >= 64 { u64::MAX } else { (1u64 << len) - 1 } << pos;
    (b & !mask) | ((a << pos) & mask)
}

fn prmt(mode: u32, a: u32, b: u32, c: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let s = (c & 3) as usize;
    let picks: [usize; 4] = match mode {
        0 => {
            let mut out = 0;
            for i in 0..4 {
                let sel = (c >> (4 * i)) & 0xf;
                let byte = bytes[(sel & 7) as usize];
                let byte = if sel & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
                out |= u32::from(byte) << (8 * i);
            }
            return out;
        }
        1 => [s, s + 1, s + 2, s + 3],
        2 => [s, (s + 7) & 7, (s + 6) & 7, (s + 5) & 7],
        3 => [s; 4],
        4 => [s, s.max(1), s.max(2), 3],
        5 => [0, s.min(1), s.min(2), s],
        _ => {
            let h = (s & 1) * 2;
            [h, h + 1, h, h + 1]
        }
    };
    u32::from_le_bytes(picks.map(|i| bytes[i]))
}

fn logic(t: &mut Table) {
    lane!(t, "and.{b16,b32}", W = (a: W, b: W) => a & b);
    lane!(t, "or.{b16,b32}", W = (a: W, b: W) => a | b);
    lane!(t, "xor.{b16,b32}", W = (a: W, b: W) => a ^ b);
    lane!(t, "and.b64", Q = (a: Q, b: Q) => a & b);
    lane!(t, "or.b64", Q = (a: Q, b: Q) => a | b);
    lane!(t, "xor.b64", Q = (a: Q, b: Q) => a ^ b);
    lane!(t, "and.pred", P = (a: P, b: P) => a & b);
    lane!(t, "or.pred", P = (a: P, b: P) => a | b);
    lane!(t, "xor.pred", P = (a: P, b: P) => a ^ b);
    lane!(t, "not.b16", W = (a: W) => !a & 0xffff);
    lane!(t, "not.b32", W = (a: W) => !a);
    lane!(t, "not.b64", Q = (a: Q) => !a);
    lane!(t, "not.pred", P = (a: P) => !a);
    lane!(t, "cnot.{b16,b32}", W = (a: W) => u32::from(a == 0));
    lane!(t, "cnot.b64", Q = (a: Q) => u64::from(a == 0));
    lane!(t, "shl.b16", W = (a: W, n: W) => if n > 15 { 0 } else { (a << n) & 0xffff });
    lane!(t, "shl.b32", W = (a: W, n: W) => if n > 31 { 0 } else { a << n });
    lane!(t, "shl.b64", Q = (a: Q, n: W) => if n > 63 { 0 } else { a << n });
    lane!(t, "shr.{u16,b16}", W = (a: W, n: W) => if n > 15 { 0 } else { a >> n });
    lane!(t, "shr.{u32,b32}", W = (a: W, n: W) => if n > 31 { 0 } else { a >> n });
    lane!(t, "shr.{u64,b64}", Q = (a: Q, n: W) => if n > 63 { 0 } else { a >> n });
    lane!(t, "shr.s16", W = (a: W, n: W) => (s16(a) >> n.min(15)) as u32 & 0xffff);
    lane!(t, "shr.s32", W = (a: W, n: W) => ((a as i32) >> n.min(31)) as u32);
    lane!(t, "shr.s64", Q = (a: Q, n: W) => ((a as i64) >> n.min(63)) as u64);
    lane!(t, "shf.l.wrap.b32", W = (a: W, b: W, n: W) =>
        (((u64::from(b) << 32 | u64::from(a)) << (n & 31)) >> 32) as u32);
    lane!(t, "shf.r.wrap.b32", W = (a: W, b: W, n: W) =>
        ((u64::from(b) << 32 | u64::from(a)) >> (n & 31)) as u32);
    lane!(t, "shf.l.clamp.b32", W = (a: W, b: W, n: W) =>
        (((u64::from(b) << 32 | u64::from(a)) << n.min(32)) >> 32) as u32);
    lane!(t, "shf.r.clamp.b32", W = (a: W, b: W, n: W) =>
        ((u64::from(b) << 32 | u64::from(a)) >> n.min(32)) as u32);
    // The truth table is the operation's constant; lowering takes it from the fifth operand.
    lane!(t, "lop3.b32", 0, W = (lut; a: W, b: W, c: W) => {
        let mut out = 0;
        for i in 0..8u32 {
            let x = if i & 4 != 0 { a } else { !a };
            let y = if i & 2 != 0 { b } else { !b };
            let z = if i & 1 != 0 { c } else { !c };
            out |= x & y & z & ((lut >> i) & 1).wrapping_neg();
        }
        out
    });
}

macro_rules! compare {
    ($t:expr, $name:literal, $op:tt) => {
        lane!($t, concat!("setp.", $name, ".{b16,u16,b32,u32}"), P = (a: W, b: W) => a $op b);
        lane!($t, concat!("setp.", $name, ".s16"), P = (a: W, b: W) => s16(a) $op s16(b));
        lane!($t, concat!("setp.", $name, ".s32"), P = (a: W, b: W) => (a as i32) $op b as i32);
        lane!($t, concat!("setp.", $name, ".{b64,u64}"), P = (a: Q, b: Q) => a $op b);
        lane!($t, concat!("setp.", $name, ".s64"), P = (a: Q, b: Q) => (a as i64) $op b as i64);
    };
}

fn compare_and_select(t: &mut Table) {
    compare!(t, "eq", ==);
    compare!(t, "ne", !=);
    compare!(t, "lt", <);
    compare!(t, "le", <=);
    compare!(t, "gt", >);
    compare!(t, "ge", >=);
    lane!(t, "setp.lo.{u16,u32}", P = (a: W, b: W) => a < b);
    lane!(t, "setp.ls.{u16,u32}", P = (a: W, b: W) => a <= b);
    lane!(t, "setp.hi.{u16,u32}", P = (a: W, b: W) => a > b);
    lane!(t, "setp.hs.{u16,u32}", P = (a: W, b: W) => a >= b);
    lane!(t, "selp.{b16,u16,s16,b32,u32,s32,f32}", W = (a: W, b: W, p: P) => if p { a } else { b });
    lane!(t, "selp.{b64,u64,s64,f64}", Q = (a: Q, b: Q, p: P) => if p { a } else { b });
    lane!(t, "slct.{b32,u32,s32,f32}.s32", W = (a: W, b: W, c: W) => if (c as i32) >= 0 { a } else { b });
    lane!(t, "slct.{b64,u64,s64,f64}.s32", Q = (a: Q, b: Q, c: W) => if (c as i32) >= 0 { a } else { b });
}

fn moves(t: &mut Table) {
    lane!(t, "mov.{b16,u16,s16,f16,bf16}", W = (a: W) => a & 0xffff);
    lane!(t, "mov.{b32,u32,s32,f32,f16x2,bf16x2}", W = (a: W) => a);
    lane!(t, "mov.{b64,u64,s64,f64}", Q = (a: Q) => a);
    lane!(t, "mov.pred", P = (a: P) => a);
    // What a move with a vector operand becomes; the names are internal.
    lane!(t, "_low.b64", W = (a: Q) => a as u32);
    lane!(t, "_high.b64", W = (a: Q) => (a >> 32) as u32);
    lane!(t, "_quarter0.b64", W = (a: Q) => a as u32 & 0xffff);
    lane!(t, "_quarter1.b64", W = (a: Q) => (a >> 16) as u32 & 0xffff);
    lane!(t, "_quarter2.b64", W = (a: Q) => (a >> 32) as u32 & 0xffff);
    lane!(t, "_quarter3.b64", W = (a: Q) => (a >> 48) as u32);
    lane!(t, "_low.b32", W = (a: W) => a & 0xffff);
    lane!(t, "_high.b32", W = (a: W) => a >> 16);
    lane!(t, "_byte0.b32", W = (a: W) => a & 0xff);
    lane!(t, "_byte1.b32", W = (a: W) => a >> 8 & 0xff);
    lane!(t, "_byte2.b32", W = (a: W) => a >> 16 & 0xff);
    lane!(t, "_byte3.b32", W = (a: W) => a >> 24);
    lane!(t, "_low.b16", W = (a: W) => a & 0xff);
    lane!(t, "_high.b16", W = (a: W) => a >> 8 & 0xff);
    lane!(t, "_pack2.b64", Q = (a: W, b: W) => u64::from(a) | u64::from(b) << 32);
    lane!(t, "_pack4.b64", 0, Q = (_imm; a: W, b: W, c: W, d: W) =>
        u64::from(a & 0xffff | b << 16) | u64::from(c & 0xffff | d << 16) << 32);
    lane!(t, "_pack2.b32", W = (a: W, b: W) => a & 0xffff | b << 16);
    lane!(t, "_pack4.b32", 0, W = (_imm; a: W, b: W, c: W, d: W) =>
        a & 0xff | (b & 0xff) << 8 | (c & 0xff) << 16 | d << 24);
    lane!(t, "_pack2.b16", W = (a: W, b: W) => a & 0xff | (b & 0xff) << 8);
}
