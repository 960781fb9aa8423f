//! What can be wrong with a `wgmma` instruction or its descriptors.

use crate::mma::{Accumulator, Operand};
use crate::tensormap::Swizzle;

/// Which operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The 64-row operand.
    A,
    /// The N-column operand.
    B,
}

/// Why a `wgmma` cannot mean what it says. Hardware reports none of these from [`WgmmaError::ReservedBits`] on: it reads
/// other bytes and computes a wrong result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WgmmaError {
    /// The operand types do not go together, or not into this accumulator.
    #[error(
        "wgmma has no form with A of {}, B of {} and D of {}; f16 and 8-bit floats accumulate in f32 or f16, bf16 and \
         tf32 in f32, s8 and u8 in s32", .a.name(), .b.name(), .accumulator.name()
    )]
    Types {
        /// Element type of A.
        a: Operand,
        /// Element type of B.
        b: Operand,
        /// Type of D.
        accumulator: Accumulator,
    },
    /// N is not a shape of the type.
    #[error(
        "wgmma has no shape with N = {n} for {}; N is a multiple of 8 from 8 to 256, for integers 8, 16, 24 or a \
         multiple of 16", .operand.name()
    )]
    Columns {
        /// The N asked for.
        n: usize,
        /// Element type of A.
        operand: Operand,
    },
    /// Only 16-bit types may be MN-major.
    #[error("operand {side:?} of {} must be K-major in shared memory; only f16 and bf16 may be MN-major", .operand.name())]
    Major {
        /// Which operand.
        side: Side,
        /// Its element type.
        operand: Operand,
    },
    /// A in registers has no major.
    #[error("A in registers is always K-major, but the instruction says it is MN-major")]
    RegisterMajor,
    /// Integer forms have no signs.
    #[error("wgmma on {} has no immediate signs", .operand.name())]
    Sign {
        /// Element type of A.
        operand: Operand,
    },
    /// Bits that must be zero are not.
    #[error(
        "the descriptor {bits:#018x} has reserved bits {reserved:#018x} set; its fields are start >> 4 in bits 0-13, LBO \
         >> 4 in 16-29, SBO >> 4 in 32-45, base offset in 49-51 and swizzle in 62-63"
    )]
    ReservedBits {
        /// The descriptor.
        bits: u64,
        /// Its set bits outside the fields.
        reserved: u64,
    },
    /// The base offset is not that of the start address.
    #[error(
        "the descriptor of {side:?} has base offset {given}, but its start {start:#x} begins at row {expected} of the \
         {swizzle:?} pattern"
    )]
    BaseOffset {
        /// Which operand.
        side: Side,
        /// Start address.
        start: u32,
        /// Base offset in the descriptor.
        given: u32,
        /// 128-byte line of the pattern that the start lies on.
        expected: u32,
        /// The swizzle.
        swizzle: Swizzle,
    },
    /// The operand starts inside the swizzle pattern.
    #[error(
        "operand {side:?} starts at {start:#x}, {past} bytes past a boundary of {period}, where the {swizzle:?} pattern \
         repeats; align the tile to {period} bytes and advance along K only inside its first row"
    )]
    PatternStart {
        /// Which operand.
        side: Side,
        /// Start address.
        start: u32,
        /// Bytes past the last boundary.
        past: u32,
        /// Bytes after which the pattern repeats.
        period: u32,
        /// The swizzle.
        swizzle: Swizzle,
    },
    /// The start is inside a row so that the operand runs over its end.
    #[error(
        "operand {side:?} starts {inside} bytes into a swizzled row of {span} and needs {needed} bytes of it, in steps of \
         32 along K; it would run into the next row"
    )]
    RowOverrun {
        /// Which operand.
        side: Side,
        /// Bytes from the row's beginning.
        inside: u32,
        /// Bytes read of each row.
        needed: u32,
        /// Bytes of a row.
        span: u32,
    },
    /// A distance that the layout uses is zero, too small or misaligned.
    #[error(
        "the {name} of operand {side:?} is {bytes} bytes; with {swizzle:?} it must be a positive multiple of {multiple}"
    )]
    Distance {
        /// Which operand.
        side: Side,
        /// "leading dimension byte offset" or "stride dimension byte offset".
        name: &'static str,
        /// Its value.
        bytes: u32,
        /// What it must be a multiple of.
        multiple: u32,
        /// The swizzle.
        swizzle: Swizzle,
    },
    /// The operand leaves shared memory.
    #[error(
        "operand {side:?} reads shared memory at {address:#x} (element {mn} of its rows, element {k} of K), but the \
         block's shared memory is {base:#x}..{end:#x}"
    )]
    OutOfBounds {
        /// Which operand.
        side: Side,
        /// Address of the first chunk outside.
        address: u64,
        /// Row of A or column of B.
        mn: usize,
        /// Element along K.
        k: usize,
        /// First address of shared memory.
        base: u64,
        /// Address after the last.
        end: u64,
    },
    /// Two elements share bytes.
    #[error(
        "operand {side:?} reads the bytes at {address:#x} for two different elements: the leading offset of {leading} \
         and the stride offset of {stride} bytes let its parts overlap"
    )]
    Overlap {
        /// Which operand.
        side: Side,
        /// The shared address.
        address: u32,
        /// Leading dimension byte offset.
        leading: u32,
        /// Stride dimension byte offset.
        stride: u32,
    },
}
