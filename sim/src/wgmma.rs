//! `wgmma.mma_async`: D (64 x N) of a warpgroup, from A in shared memory or registers and B in shared memory.
//!
//! Issue and effect are apart, as on the hardware. [`Wgmma::new`] checks the instruction and its descriptors and knows
//! every byte that will be read; [`Wgmma::compute`] reads them whenever the machine decides that the operation happens.
//! Sums are rounded as in [`crate::mma`]: products exact, one rounding per instruction. K is always 32 bytes of an
//! operand: 16 elements of 16 bits, 8 of tf32, 32 of 8 bits.

use std::ops::Range;

use crate::fragments::{LANES, MMA_M, MMA_N, Width, a_element};
use crate::mma::{
    Accumulator, Lanes, Operand, TILE, accumulate_f64, multiply_integers, read_totals, write_totals,
};

mod descriptor;
mod error;
#[cfg(test)]
mod tests;
mod tile;

pub use descriptor::{Axis, Descriptor, Distance, Layout, Major};
pub use error::{Side, WgmmaError};

use tile::Tile;

/// Warps of a warpgroup.
pub const WARPS: usize = 4;
const MAX_N: usize = 256;

/// The immediate sign of an operand (`imm-scale-a`, `imm-scale-b`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sign {
    /// 1.
    Plus,
    /// -1: the operand's elements are negated.
    Minus,
}

/// The predicate `scale-d`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Initial {
    /// False: D = A B, the registers' contents are not looked at.
    Zero,
    /// True: D = A B + D.
    Accumulate,
}

/// Types, shape and immediates of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WgmmaForm {
    /// Element type of A.
    pub a: Operand,
    /// Element type of B.
    pub b: Operand,
    /// Type of D.
    pub accumulator: Accumulator,
    /// Columns of D.
    pub n: usize,
    /// Which dimension of A is contiguous in shared memory (`tnspA`); K for A in registers.
    pub a_major: Major,
    /// Which dimension of B is contiguous in shared memory (`tnspB`).
    pub b_major: Major,
    /// Sign of A.
    pub a_sign: Sign,
    /// Sign of B.
    pub b_sign: Sign,
}

impl WgmmaForm {
    /// A form with both operands K-major and positive.
    pub const fn k_major(a: Operand, b: Operand, accumulator: Accumulator, n: usize) -> WgmmaForm {
        WgmmaForm {
            a,
            b,
            accumulator,
            n,
            a_major: Major::K,
            b_major: Major::K,
            a_sign: Sign::Plus,
            b_sign: Sign::Plus,
        }
    }

    /// Elements along K: 32 bytes of them.
    pub const fn k(&self) -> usize {
        32 / self.a.width().bytes()
    }

    /// 32-bit registers of D per lane.
    pub const fn d_registers(&self) -> usize {
        self.n / 2 / self.accumulator.per_register()
    }

    /// Whether PTX has this form.
    ///
    /// # Errors
    /// The types do not go together, N or a major is not allowed for them, or integers carry a sign.
    pub fn check(&self) -> Result<(), WgmmaError> {
        let (a, b, accumulator, n) = (self.a, self.b, self.accumulator, self.n);
        if !accumulator.accepts(a, b) {
            return Err(WgmmaError::Types { a, b, accumulator });
        }
        let integer = a.is_integer();
        if !(8..=MAX_N).contains(&n) || n % 8 != 0 || (integer && n > 24 && n % 16 != 0) {
            return Err(WgmmaError::Columns { n, operand: a });
        }
        for (side, operand, major) in [(Side::A, a, self.a_major), (Side::B, b, self.b_major)] {
            if major == Major::Mn && operand.width() != Width::Bits16 {
                return Err(WgmmaError::Major { side, operand });
            }
        }
        if integer && (self.a_sign, self.b_sign) != (Sign::Plus, Sign::Plus) {
            return Err(WgmmaError::Sign { operand: a });
        }
        Ok(())
    }
}

/// Where A is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ASource {
    /// In shared memory, as this descriptor says.
    Shared(u64),
    /// In four registers of each lane of each warp.
    Registers,
}

/// The registers of A, by warp and register.
pub type ARegisters<'a> = [[&'a Lanes; 4]; WARPS];

/// The block's shared memory as descriptors address it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedWindow {
    /// Address of the first byte.
    pub base: u32,
    /// Bytes that the block has.
    pub bytes: u32,
}

/// One checked instruction.
#[derive(Clone, Debug)]
pub struct Wgmma {
    form: WgmmaForm,
    window: SharedWindow,
    a: Option<Tile>,
    b: Tile,
}

impl Wgmma {
    /// Checks an instruction, with the descriptor of B and A's if it has one.
    ///
    /// # Errors
    /// The form does not exist; a descriptor has reserved bits, a base offset, a start or distances that do not fit the
    /// layout; or it addresses bytes outside `window`, or some twice. Hardware computes a wrong result for all of these.
    pub fn new(
        form: WgmmaForm,
        a: ASource,
        b_descriptor: u64,
        window: SharedWindow,
    ) -> Result<Wgmma, WgmmaError> {
        form.check()?;
        let a = match a {
            ASource::Registers if form.a_major == Major::Mn => return Err(WgmmaError::RegisterMajor),
            ASource::Registers => None,
            ASource::Shared(bits) => {
                let rows = WARPS * MMA_M;
                Some(Tile::new(Side::A, bits, form.a.width(), form.a_major, rows, window)?)
            }
        };
        let b = Tile::new(Side::B, b_descriptor, form.b.width(), form.b_major, form.n, window)?;
        Ok(Wgmma { form, window, a, b })
    }

    /// The form.
    pub const fn form(&self) -> &WgmmaForm {
        &self.form
    }

    /// The ranges of shared addresses that are read, ascending and merged, of A and B together.
    pub fn reads(&self) -> Vec<Range<u32>> {
        let mut chunks: Vec<u32> = self.a.iter().chain([&self.b]).flat_map(|tile| tile.chunks()).collect();
        chunks.sort_unstable();
        let mut ranges: Vec<Range<u32>> = vec![];
        for chunk in chunks {
            let start = chunk + self.window.base;
            match ranges.last_mut() {
                Some(last) if start <= last.end => last.end = start + 16,
                _ => ranges.push(start..start + 16),
            }
        }
        ranges
    }

    /// D, as registers in the order of warps and then registers: entry `warp * d_registers + register`.
    ///
    /// `shared` is the window's memory. `a` is given exactly if A is in registers. `d` returns a register of D by warp and
    /// index; it is not called for [`Initial::Zero`]. 2·64·N·K operations.
    ///
    /// # Panics
    /// If `shared` is not as long as the window, or `a` is missing or superfluous.
    pub fn compute<'d>(
        &self,
        shared: &[u8],
        a: Option<&ARegisters<'_>>,
        initial: Initial,
        d: impl Fn(usize, usize) -> &'d Lanes,
    ) -> Vec<Lanes> {
        assert_eq!(shared.len(), self.window.bytes as usize, "the window's bytes");
        assert_eq!(
            a.is_some(),
            self.a.is_none(),
            "registers of A are given if and only if A is in registers"
        );
        if self.form.a.is_integer() {
            self.compute_integer(shared, a, initial, d)
        } else {
            self.compute_float(shared, a, initial, d)
        }
    }

    fn compute_float<'d>(
        &self,
        shared: &[u8],
        a: Option<&ARegisters<'_>>,
        initial: Initial,
        d: impl Fn(usize, usize) -> &'d Lanes,
    ) -> Vec<Lanes> {
        let accumulator = self.form.accumulator;
        let b = self.decode_b(shared, |operand, bits| operand.value(bits));
        let mut a = self.decode_a(shared, a, |operand, bits| operand.value(bits));
        if self.form.a_sign != self.form.b_sign {
            a.iter_mut().for_each(|value| *value = -*value);
        }
        self.for_tiles(&a, &b, |a, b, (warp, first), out| {
            let mut total = [0.0; TILE];
            if initial == Initial::Accumulate {
                let c: [&Lanes; 4] = std::array::from_fn(|i| d(warp, first + i.min(out.len() - 1)));
                read_totals(accumulator, &c, &mut total);
            }
            accumulate_f64(a, b, &mut total);
            write_totals(accumulator, &total, out);
        })
    }

    fn compute_integer<'d>(
        &self,
        shared: &[u8],
        a: Option<&ARegisters<'_>>,
        initial: Initial,
        d: impl Fn(usize, usize) -> &'d Lanes,
    ) -> Vec<Lanes> {
        let b = self.decode_b(shared, |operand, bits| operand.integer(bits));
        let a = self.decode_a(shared, a, |operand, bits| operand.integer(bits));
        self.for_tiles(&a, &b, |a, b, (warp, first), out| {
            let c: Option<[&Lanes; 4]> = match initial {
                Initial::Zero => None,
                Initial::Accumulate => Some(std::array::from_fn(|i| d(warp, first + i))),
            };
            multiply_integers(self.form.accumulator, a, b, c.as_ref().map(|c| &c[..]), out);
        })
    }

    /// Calls `tile(16 rows of A, 8 columns of B, (warp, first register), registers of D)` for the tiles of D, each of which
    /// is one `mma.sync` tile, and returns the registers.
    fn for_tiles<T>(
        &self,
        a: &[T],
        b: &[T],
        mut tile: impl FnMut(&[T], &[T], (usize, usize), &mut [Lanes]),
    ) -> Vec<Lanes> {
        let (k, registers) = (self.form.k(), self.form.d_registers());
        let per_tile = 4 / self.form.accumulator.per_register();
        let mut out = vec![[0; LANES]; WARPS * registers];
        for (warp, (out, a)) in out.chunks_exact_mut(registers).zip(a.chunks_exact(MMA_M * k)).enumerate() {
            let tiles = out.chunks_exact_mut(per_tile).zip(b.chunks_exact(k * MMA_N));
            for (index, (out, b)) in tiles.enumerate() {
                tile(a, b, (warp, index * per_tile), out);
            }
        }
        out
    }

    /// A as 64 rows of K elements.
    fn decode_a<T: Copy + Default>(
        &self,
        shared: &[u8],
        registers: Option<&ARegisters<'_>>,
        value: impl Fn(Operand, u32) -> T + Copy,
    ) -> Vec<T> {
        let (k, operand) = (self.form.k(), self.form.a);
        let mut rows = vec![T::default(); WARPS * MMA_M * k];
        match (&self.a, registers) {
            (Some(tile), _) => tile.decode(operand, shared, value, |mn, at, value| rows[mn * k + at] = value),
            (None, Some(warps)) => {
                let (width, bits) = (operand.width(), 8 * operand.width().bytes());
                for (warp, registers) in warps.iter().enumerate() {
                    for (register, lanes) in registers.iter().enumerate() {
                        for (lane, &word) in lanes.iter().enumerate() {
                            for sub in 0..width.per_register() {
                                let (row, at) = a_element(width, lane, register, sub);
                                let element = word >> (bits * sub) & (u32::MAX >> (32 - bits));
                                rows[(warp * MMA_M + row) * k + at] = value(operand, element);
                            }
                        }
                    }
                }
            }
            (None, None) => {}
        }
        rows
    }

    /// B as N/8 panels, each K rows of 8 columns.
    fn decode_b<T: Copy + Default>(&self, shared: &[u8], value: impl Fn(Operand, u32) -> T + Copy) -> Vec<T> {
        let k = self.form.k();
        let mut panels = vec![T::default(); k * self.form.n];
        self.b.decode(self.form.b, shared, value, |mn, at, value| {
            panels[(mn / MMA_N * k + at) * MMA_N + mn % MMA_N] = value;
        });
        panels
    }
}
