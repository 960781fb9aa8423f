//! `mma.sync` of the `m16n8*` shapes on the registers of 32 lanes.
//!
//! How a sum is rounded is this module's choice, for PTX leaves it open. Products of operands are exact in f64; they are
//! added to the accumulator in f64 in ascending k, and the total is rounded to the accumulator's type once, to nearest.
//! Reasons: it is the closest to the exact sum, so it favours no hardware (tensor cores align the terms of one
//! instruction and truncate); and since no product is ever rounded, fused and separate multiply-adds give equal bits,
//! which makes the vector and the portable loop one function. Integer sums are exact.
//!
//! A kernel that depends on the order or on the truncation inside one instruction is therefore not caught.

use crate::fp::{Format, Mode, NAN_F32, decode, encode, f16_to_f32};
use crate::fragments::{LANES, MMA_M, MMA_N, Width, a_element, b_element, c_element};
use std::sync::LazyLock;

mod dense;
#[cfg(test)]
mod tests;

pub(crate) use dense::{TILE, accumulate_f64, accumulate_i32};

/// One 32-bit register of every lane of a warp.
pub type Lanes = [u32; LANES];

/// The type of the elements of A or B.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// f32 of which the low 13 bits are ignored.
    Tf32,
    /// 8-bit float, 3 mantissa bits.
    E4m3,
    /// 8-bit float, 2 mantissa bits.
    E5m2,
    /// Signed bytes.
    S8,
    /// Unsigned bytes.
    U8,
}

/// 8-bit floats are decoded through tables: their subnormals and missing infinities make arithmetic slower.
static BYTE_VALUES: LazyLock<[[f64; 256]; 2]> = LazyLock::new(|| {
    [Format::E4m3, Format::E5m2].map(|format| std::array::from_fn(|bits| decode(bits as u64, format)))
});

impl Operand {
    /// The layout class of the operand.
    pub const fn width(self) -> Width {
        match self {
            Operand::F16 | Operand::Bf16 => Width::Bits16,
            Operand::Tf32 => Width::Bits32,
            Operand::E4m3 | Operand::E5m2 | Operand::S8 | Operand::U8 => Width::Bits8,
        }
    }

    /// Whether the elements are integers, which accumulate in s32 only.
    pub const fn is_integer(self) -> bool {
        match self {
            Operand::S8 | Operand::U8 => true,
            Operand::F16 | Operand::Bf16 | Operand::Tf32 | Operand::E4m3 | Operand::E5m2 => false,
        }
    }

    /// The value of an element from its bits; higher bits must be zero.
    #[inline(always)]
    pub fn value(self, bits: u32) -> f64 {
        match self {
            Operand::F16 => f64::from(f16_to_f32(bits as u16)),
            Operand::Bf16 => f64::from(f32::from_bits(bits << 16)),
            Operand::Tf32 => f64::from(f32::from_bits(bits & !0x1fff)),
            Operand::E4m3 => BYTE_VALUES[0][(bits & 0xff) as usize],
            Operand::E5m2 => BYTE_VALUES[1][(bits & 0xff) as usize],
            Operand::S8 => f64::from(bits as i8),
            Operand::U8 => f64::from(bits as u8),
        }
    }

    /// The value of an 8-bit integer element.
    #[inline]
    pub(crate) fn integer(self, bits: u32) -> i32 {
        if self == Operand::S8 { i32::from(bits as i8) } else { i32::from(bits as u8) }
    }

    /// The name in PTX.
    pub const fn name(self) -> &'static str {
        match self {
            Operand::F16 => "f16",
            Operand::Bf16 => "bf16",
            Operand::Tf32 => "tf32",
            Operand::E4m3 => "e4m3",
            Operand::E5m2 => "e5m2",
            Operand::S8 => "s8",
            Operand::U8 => "u8",
        }
    }
}

/// The type of C and D.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Accumulator {
    /// One f32 per register.
    F32,
    /// Two f16 per register.
    F16,
    /// One s32 per register; overflow wraps.
    S32,
    /// One s32 per register; overflow clamps (`.satfinite`).
    S32Satfinite,
}

impl Accumulator {
    /// Elements in one 32-bit register.
    pub const fn per_register(self) -> usize {
        match self {
            Accumulator::F16 => 2,
            Accumulator::F32 | Accumulator::S32 | Accumulator::S32Satfinite => 1,
        }
    }

    /// The name in PTX.
    pub const fn name(self) -> &'static str {
        match self {
            Accumulator::F32 => "f32",
            Accumulator::F16 => "f16",
            Accumulator::S32 => "s32",
            Accumulator::S32Satfinite => "satfinite.s32",
        }
    }

    /// Whether PTX lets `a` and `b` meet in this accumulator, for `mma.sync` and `wgmma` alike.
    pub const fn accepts(self, a: Operand, b: Operand) -> bool {
        use Operand::{Bf16, E4m3, E5m2, F16, S8, Tf32, U8};
        match (a, b) {
            (F16, F16) | (E4m3 | E5m2, E4m3 | E5m2) => matches!(self, Accumulator::F32 | Accumulator::F16),
            (Bf16, Bf16) | (Tf32, Tf32) => matches!(self, Accumulator::F32),
            (S8 | U8, S8 | U8) => matches!(self, Accumulator::S32 | Accumulator::S32Satfinite),
            (F16 | Bf16 | Tf32 | E4m3 | E5m2 | S8 | U8, _) => false,
        }
    }
}

/// Why a combination of types and shape is no `mma.sync` instruction.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MmaError {
    /// The operand types do not go together, or not into this accumulator.
    #[error(
        "mma.sync has no form with A of {}, B of {} and an accumulator of {}; f16 and 8-bit floats accumulate in f32 or \
         f16, bf16 and tf32 in f32, s8 and u8 in s32", .a.name(), .b.name(), .accumulator.name()
    )]
    Types {
        /// Element type of A.
        a: Operand,
        /// Element type of B.
        b: Operand,
        /// Type of C and D.
        accumulator: Accumulator,
    },
    /// K is neither one nor two chunks of 16 bytes.
    #[error(
        "mma.sync.m16n8k{k} does not exist for {}; its shapes are m16n8k{} and m16n8k{}",
        .a.name(), .a.width().per_chunk(), 2 * .a.width().per_chunk()
    )]
    Shape {
        /// Element type of A.
        a: Operand,
        /// The K asked for.
        k: usize,
    },
}

/// A `mma.sync.aligned.m16n8k*.row.col` instruction that exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MmaForm {
    a: Operand,
    b: Operand,
    accumulator: Accumulator,
    k: usize,
}

impl MmaForm {
    /// The form with `k` elements along K.
    ///
    /// # Errors
    /// The types do not go together, or the shape does not exist for them.
    pub fn new(a: Operand, b: Operand, accumulator: Accumulator, k: usize) -> Result<MmaForm, MmaError> {
        if !accumulator.accepts(a, b) {
            return Err(MmaError::Types { a, b, accumulator });
        }
        let chunk = a.width().per_chunk();
        if k != chunk && k != 2 * chunk {
            return Err(MmaError::Shape { a, k });
        }
        Ok(MmaForm { a, b, accumulator, k })
    }

    /// 32-bit registers of A per lane.
    pub const fn a_registers(&self) -> usize {
        2 * self.b_registers()
    }

    /// 32-bit registers of B per lane.
    pub const fn b_registers(&self) -> usize {
        self.k / self.a.width().per_chunk()
    }

    /// 32-bit registers of C, and of D, per lane.
    pub const fn c_registers(&self) -> usize {
        4 / self.accumulator.per_register()
    }
}

const MAX_K: usize = 32;

/// D = A B + C over the registers of a warp.
///
/// `a`, `b` and `c` hold one entry per register of the form. Of the result, the first [`MmaForm::c_registers`] are D and
/// the rest zero. 2·16·8·k operations.
///
/// # Panics
/// If a slice has another length than the form's register count.
pub fn mma(form: &MmaForm, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes]) -> [Lanes; 4] {
    assert_eq!(
        (a.len(), b.len(), c.len()),
        (form.a_registers(), form.b_registers(), form.c_registers()),
        "registers of A, B and C for {form:?}"
    );
    if form.a.is_integer() { mma_integer(form, a, b, c) } else { mma_float(form, a, b, c) }
}

fn mma_float(form: &MmaForm, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes]) -> [Lanes; 4] {
    let k = form.k;
    let (mut a_tile, mut b_tile) = ([0.0; MMA_M * MAX_K], [0.0; MAX_K * MMA_N]);
    let place_a = |width, lane, register, sub| {
        let (row, column) = a_element(width, lane, register, sub);
        row * k + column
    };
    unpack_f64(form.a, a, place_a, &mut a_tile);
    let place_b = |width, lane, register, sub| {
        let (row, column) = b_element(width, lane, register, sub);
        row * MMA_N + column
    };
    unpack_f64(form.b, b, place_b, &mut b_tile);

    let mut total = [0.0; TILE];
    read_totals(form.accumulator, c, &mut total);
    accumulate_f64(&a_tile[..MMA_M * k], &b_tile[..k * MMA_N], &mut total);
    let mut d = [[0; LANES]; 4];
    write_totals(form.accumulator, &total, &mut d[..form.c_registers()]);
    d
}

fn mma_integer(form: &MmaForm, a: &[&Lanes], b: &[&Lanes], c: &[&Lanes]) -> [Lanes; 4] {
    let k = form.k;
    let (mut a_tile, mut b_tile) = ([0; MMA_M * MAX_K], [0; MAX_K * MMA_N]);
    unpack(
        form.a,
        a,
        |bits| form.a.integer(bits),
        |width, lane, register, sub| {
            let (row, column) = a_element(width, lane, register, sub);
            row * k + column
        },
        &mut a_tile,
    );
    unpack(
        form.b,
        b,
        |bits| form.b.integer(bits),
        |width, lane, register, sub| {
            let (row, column) = b_element(width, lane, register, sub);
            row * MMA_N + column
        },
        &mut b_tile,
    );
    let mut d = [[0; LANES]; 4];
    multiply_integers(form.accumulator, &a_tile[..MMA_M * k], &b_tile[..k * MMA_N], Some(c), &mut d);
    d
}

/// D = A B + C on integer tiles, C being zero if not given.
pub(crate) fn multiply_integers(
    accumulator: Accumulator,
    a: &[i32],
    b: &[i32],
    c: Option<&[&Lanes]>,
    d: &mut [Lanes],
) {
    // 32 products of 16 bits cannot overflow, so the accumulator meets their sum once: wrapping or clamping there is all.
    let mut total = [0; TILE];
    accumulate_i32(a, b, &mut total);
    for (register, lanes) in d.iter_mut().enumerate() {
        for (lane, word) in lanes.iter_mut().enumerate() {
            let (row, column) = c_element(lane, register);
            let start = c.map_or(0, |c| c[register][lane]) as i32;
            let sum = total[row * MMA_N + column];
            *word = match accumulator {
                Accumulator::S32Satfinite => start.saturating_add(sum),
                Accumulator::S32 | Accumulator::F32 | Accumulator::F16 => start.wrapping_add(sum),
            } as u32;
        }
    }
}

/// The totals of a tile from the registers of C. One row of eight is the pairs of a quad's lanes, side by side.
#[inline]
pub(crate) fn read_totals(accumulator: Accumulator, c: &[&Lanes], total: &mut [f64; TILE]) {
    let rows = total.as_chunks_mut::<MMA_N>().0.iter_mut().enumerate();
    if accumulator == Accumulator::F16 {
        for (row, sums) in rows {
            let (pairs, _) = sums.as_chunks_mut::<2>();
            for (pair, word) in pairs.iter_mut().zip(quad(c[row / 8], row)) {
                *pair = [word as u16, (word >> 16) as u16].map(|bits| f64::from(f16_to_f32(bits)));
            }
        }
    } else {
        for (row, sums) in rows {
            let (low, high) = (quad(c[row / 8 * 2], row), quad(c[row / 8 * 2 + 1], row));
            for (t, pair) in sums.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                *pair = [f64::from(f32::from_bits(low[t])), f64::from(f32::from_bits(high[t]))];
            }
        }
    }
}

/// The registers of the four lanes that hold row `row`.
#[inline(always)]
fn quad(lanes: &Lanes, row: usize) -> [u32; 4] {
    lanes.as_chunks::<4>().0[row % 8]
}

/// The registers of D from the totals of a tile, each rounded once.
#[inline]
pub(crate) fn write_totals(accumulator: Accumulator, total: &[f64; TILE], d: &mut [Lanes]) {
    let rows = total.as_chunks::<MMA_N>().0.iter().enumerate();
    if accumulator == Accumulator::F16 {
        let round = |sum| encode(sum, Format::F16, Mode::RN) as u32;
        for (row, sums) in rows {
            for (t, &[low, high]) in sums.as_chunks::<2>().0.iter().enumerate() {
                d[row / 8][row % 8 * 4 + t] = round(low) | round(high) << 16;
            }
        }
    } else {
        for (row, sums) in rows {
            let bits = sums.map(round_f32);
            let low = [bits[0], bits[2], bits[4], bits[6]];
            let high = [bits[1], bits[3], bits[5], bits[7]];
            d[row / 8 * 2].as_chunks_mut::<4>().0[row % 8] = low;
            d[row / 8 * 2 + 1].as_chunks_mut::<4>().0[row % 8] = high;
        }
    }
}

#[inline(always)]
fn round_f32(total: f64) -> u32 {
    let bits = (total as f32).to_bits();
    if total.is_nan() { NAN_F32 } else { bits }
}

/// [`unpack`] into f64, with the loops compiled once per type: a choice inside them would cost as much as the product.
#[inline(always)]
fn unpack_f64(
    operand: Operand,
    registers: &[&Lanes],
    place: impl Fn(Width, usize, usize, usize) -> usize,
    tile: &mut [f64],
) {
    macro_rules! each {
        ($($name:ident)*) => {
            match operand {
                $(Operand::$name => {
                    unpack(Operand::$name, registers, |bits| Operand::$name.value(bits), place, tile);
                })*
            }
        };
    }
    each!(F16 Bf16 Tf32 E4m3 E5m2 S8 U8);
}

/// Scatters the elements of `registers` into `tile`, decoded by `value`, at `place(width, lane, register, sub)`.
#[inline(always)]
fn unpack<T>(
    operand: Operand,
    registers: &[&Lanes],
    value: impl Fn(u32) -> T,
    place: impl Fn(Width, usize, usize, usize) -> usize,
    tile: &mut [T],
) {
    let (subs, bits) = (operand.width().per_register(), 8 * operand.width().bytes());
    let mask = u32::MAX >> (32 - bits);
    for (register, lanes) in registers.iter().enumerate() {
        for sub in 0..subs {
            for (lane, &word) in lanes.iter().enumerate() {
                tile[place(operand.width(), lane, register, sub)] = value(word >> (bits * sub) & mask);
            }
        }
    }
}
