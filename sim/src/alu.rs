//! Register rows of a warp and the engine that runs a scalar operation over 32 lanes.
//!
//! A register is one row of 32 lanes, so an operation is a loop the compiler vectorises. Rows come in three
//! classes: `W` (32 bits; 8- and 16-bit values lie zero-extended in it), `Q` (64 bits) and `P` (predicates,
//! one bit per lane of a `u32`). Each operation is compiled twice, for the baseline and for AVX2 + FMA, and
//! chosen once per machine: without FMA every `mul_add` is a library call and matrix code is ten times slower.

pub(crate) mod convert;
pub(crate) mod float;
pub(crate) mod int;
pub(crate) mod packed;
pub(crate) mod round;
#[cfg(test)]
mod tests;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// A slot of the register file; its class is known from the operation.
pub(crate) type Slot = u16;

/// The registers of one warp.
#[derive(Debug, Clone, Default)]
pub(crate) struct Regs {
    pub(crate) w: Vec<[u32; LANES]>,
    pub(crate) q: Vec<[u64; LANES]>,
    pub(crate) p: Vec<u32>,
}

/// Class of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    W,
    Q,
    P,
}

/// Operand slots of an arithmetic operation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alu {
    pub(crate) d: Slot,
    pub(crate) s: [Slot; 4],
    /// Constant of the operation: a truth table, a conversion, a permutation mode.
    pub(crate) imm: u32,
}

/// An operation over the lanes of `mask`. `unsafe` only because the AVX2 version may not run without AVX2.
pub(crate) type AluFn = unsafe fn(&mut Regs, &Alu, u32);

/// What the form table knows about an arithmetic form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AluForm {
    pub(crate) run: AluFn,
    pub(crate) dst: Class,
    pub(crate) src: &'static [Class],
    pub(crate) imm: u32,
}

/// Runs an operation.
#[inline(always)]
pub(crate) fn run(f: AluFn, regs: &mut Regs, alu: &Alu, mask: u32) {
    #[allow(unsafe_code, reason = "one call site for operations picked by the CPU's features")]
    // SAFETY: `form` hands out the AVX2 version only after `has_avx2` has seen the features it needs.
    unsafe {
        f(regs, alu, mask);
    }
}

/// Whether the wide versions may run on this CPU.
pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::OnceLock;
        static HAS: OnceLock<bool> = OnceLock::new();
        *HAS.get_or_init(|| is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Marker types for the classes, used as type parameters of lane operations.
#[derive(Debug)]
pub(crate) struct W;
/// 64-bit rows.
#[derive(Debug)]
pub(crate) struct Q;
/// Predicate rows.
#[derive(Debug)]
pub(crate) struct P;
/// No operand.
#[derive(Debug)]
pub(crate) struct N;

/// A class as source.
pub(crate) trait Src {
    type T: Copy;
    type Row<'a>: Copy;
    fn row(regs: &Regs, slot: Slot) -> Self::Row<'_>;
    fn at(row: Self::Row<'_>, lane: usize) -> Self::T;
}

impl Src for W {
    type T = u32;
    type Row<'a> = &'a [u32; LANES];
    #[inline(always)]
    fn row(regs: &Regs, slot: Slot) -> &[u32; LANES] {
        &regs.w[slot as usize]
    }
    #[inline(always)]
    fn at(row: &[u32; LANES], lane: usize) -> u32 {
        row[lane]
    }
}

impl Src for Q {
    type T = u64;
    type Row<'a> = &'a [u64; LANES];
    #[inline(always)]
    fn row(regs: &Regs, slot: Slot) -> &[u64; LANES] {
        &regs.q[slot as usize]
    }
    #[inline(always)]
    fn at(row: &[u64; LANES], lane: usize) -> u64 {
        row[lane]
    }
}

impl Src for P {
    type T = bool;
    type Row<'a> = u32;
    #[inline(always)]
    fn row(regs: &Regs, slot: Slot) -> u32 {
        regs.p[slot as usize]
    }
    #[inline(always)]
    fn at(row: u32, lane: usize) -> bool {
        (row >> lane) & 1 != 0
    }
}

impl Src for N {
    type T = ();
    type Row<'a> = ();
    #[inline(always)]
    fn row(_: &Regs, _: Slot) {}
    #[inline(always)]
    fn at((): (), _: usize) {}
}

/// A class as destination.
pub(crate) trait Dst {
    type T;
    type Out;
    const CLASS: Class;
    fn blank() -> Self::Out;
    fn put(out: &mut Self::Out, lane: usize, value: Self::T);
    fn commit(regs: &mut Regs, slot: Slot, out: &Self::Out, mask: u32);
}

impl Dst for W {
    type T = u32;
    type Out = [u32; LANES];
    const CLASS: Class = Class::W;
    #[inline(always)]
    fn blank() -> [u32; LANES] {
        [0; LANES]
    }
    #[inline(always)]
    fn put(out: &mut [u32; LANES], lane: usize, value: u32) {
        out[lane] = value;
    }
    #[inline(always)]
    fn commit(regs: &mut Regs, slot: Slot, out: &[u32; LANES], mask: u32) {
        set_w(&mut regs.w[slot as usize], out, mask);
    }
}

impl Dst for Q {
    type T = u64;
    type Out = [u64; LANES];
    const CLASS: Class = Class::Q;
    #[inline(always)]
    fn blank() -> [u64; LANES] {
        [0; LANES]
    }
    #[inline(always)]
    fn put(out: &mut [u64; LANES], lane: usize, value: u64) {
        out[lane] = value;
    }
    #[inline(always)]
    fn commit(regs: &mut Regs, slot: Slot, out: &[u64; LANES], mask: u32) {
        set_q(&mut regs.q[slot as usize], out, mask);
    }
}

impl Dst for P {
    type T = bool;
    type Out = u32;
    const CLASS: Class = Class::P;
    #[inline(always)]
    fn blank() -> u32 {
        0
    }
    #[inline(always)]
    fn put(out: &mut u32, lane: usize, value: bool) {
        *out |= u32::from(value) << lane;
    }
    #[inline(always)]
    fn commit(regs: &mut Regs, slot: Slot, out: &u32, mask: u32) {
        let row = &mut regs.p[slot as usize];
        *row = (*row & !mask) | (out & mask);
    }
}

/// Writes the lanes of `mask`.
#[inline(always)]
pub(crate) fn set_w(row: &mut [u32; LANES], out: &[u32; LANES], mask: u32) {
    if mask == u32::MAX {
        *row = *out;
    } else {
        for i in 0..LANES {
            row[i] = if (mask >> i) & 1 != 0 { out[i] } else { row[i] };
        }
    }
}

/// Writes the lanes of `mask`.
#[inline(always)]
pub(crate) fn set_q(row: &mut [u64; LANES], out: &[u64; LANES], mask: u32) {
    if mask == u32::MAX {
        *row = *out;
    } else {
        for i in 0..LANES {
            row[i] = if (mask >> i) & 1 != 0 { out[i] } else { row[i] };
        }
    }
}

/// A scalar operation: what one lane does.
pub(crate) trait Lane {
    type D: Dst;
    type A: Src;
    type B: Src;
    type C: Src;
    type E: Src;
    const SRC: &'static [Class];
    fn f(
        imm: u32,
        a: <Self::A as Src>::T,
        b: <Self::B as Src>::T,
        c: <Self::C as Src>::T,
        e: <Self::E as Src>::T,
    ) -> <Self::D as Dst>::T;
}

#[inline(always)]
fn body<L: Lane>(regs: &mut Regs, o: &Alu, mask: u32) {
    let mut out = L::D::blank();
    {
        let a = L::A::row(regs, o.s[0]);
        let b = L::B::row(regs, o.s[1]);
        let c = L::C::row(regs, o.s[2]);
        let e = L::E::row(regs, o.s[3]);
        for i in 0..LANES {
            let value = L::f(o.imm, L::A::at(a, i), L::B::at(b, i), L::C::at(c, i), L::E::at(e, i));
            L::D::put(&mut out, i, value);
        }
    }
    L::D::commit(regs, o.d, &out, mask);
}

fn baseline<L: Lane>(regs: &mut Regs, o: &Alu, mask: u32) {
    body::<L>(regs, o, mask);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide<L: Lane>(regs: &mut Regs, o: &Alu, mask: u32) {
    body::<L>(regs, o, mask);
}

/// The table entry of an operation, in the version this CPU runs best.
pub(crate) fn form<L: Lane>(imm: u32) -> AluForm {
    #[cfg(target_arch = "x86_64")]
    let run: AluFn = if has_avx2() { wide::<L> } else { baseline::<L> };
    #[cfg(not(target_arch = "x86_64"))]
    let run: AluFn = baseline::<L>;
    AluForm { run, dst: L::D::CLASS, src: L::SRC, imm }
}

/// Adds a row to the form table: `lane!(t, "add.{s32,u32}", W = (a: W, b: W) => a.wrapping_add(b))`.
macro_rules! lane {
    ($t:expr, $forms:expr, $d:ident = ($($x:ident : $c:ident),+) => $e:expr) => {
        lane!($t, $forms, 0, $d = (_imm; $($x: $c),+) => $e)
    };
    ($t:expr, $forms:expr, $imm:expr, $d:ident = ($i:ident; $a:ident : $ca:ident) => $e:expr) => {
        lane!(@ $t, $forms, $imm, $d, $i, [$ca], $a: $ca, _b: N, _c: N, _e: N, $e)
    };
    ($t:expr, $forms:expr, $imm:expr, $d:ident = ($i:ident; $a:ident : $ca:ident, $b:ident : $cb:ident) => $e:expr) => {
        lane!(@ $t, $forms, $imm, $d, $i, [$ca, $cb], $a: $ca, $b: $cb, _c: N, _e: N, $e)
    };
    ($t:expr, $forms:expr, $imm:expr, $d:ident = ($i:ident; $a:ident : $ca:ident, $b:ident : $cb:ident, $c:ident : $cc:ident) => $e:expr) => {
        lane!(@ $t, $forms, $imm, $d, $i, [$ca, $cb, $cc], $a: $ca, $b: $cb, $c: $cc, _e: N, $e)
    };
    ($t:expr, $forms:expr, $imm:expr, $d:ident = ($i:ident; $a:ident : $ca:ident, $b:ident : $cb:ident, $c:ident : $cc:ident, $f:ident : $cf:ident) => $e:expr) => {
        lane!(@ $t, $forms, $imm, $d, $i, [$ca, $cb, $cc, $cf], $a: $ca, $b: $cb, $c: $cc, $f: $cf, $e)
    };
    (@ $t:expr, $forms:expr, $imm:expr, $d:ident, $i:ident, [$($k:ident),*], $a:ident : $ca:ident, $b:ident : $cb:ident, $c:ident : $cc:ident, $f:ident : $cf:ident, $e:expr) => {{
        #[derive(Debug)]
        struct L;
        impl $crate::alu::Lane for L {
            type D = $crate::alu::$d;
            type A = $crate::alu::$ca;
            type B = $crate::alu::$cb;
            type C = $crate::alu::$cc;
            type E = $crate::alu::$cf;
            const SRC: &'static [$crate::alu::Class] = &[$($crate::alu::Class::$k),*];
            #[inline(always)]
            fn f(
                $i: u32,
                $a: <$crate::alu::$ca as $crate::alu::Src>::T,
                $b: <$crate::alu::$cb as $crate::alu::Src>::T,
                $c: <$crate::alu::$cc as $crate::alu::Src>::T,
                $f: <$crate::alu::$cf as $crate::alu::Src>::T,
            ) -> <$crate::alu::$d as $crate::alu::Dst>::T {
                $e
            }
        }
        $t.alu($forms, $crate::alu::form::<L>($imm));
    }};
}
pub(crate) use lane;
