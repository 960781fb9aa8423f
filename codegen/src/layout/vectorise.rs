//! How wide a thread's accesses to linear memory can be.
//!
//! A run of `2^k` registers is one access when the low `k` bits of the coordinate along the contiguous dimension
//! belong to `k` register bits alone. Runs then start at multiples of `2^k` in every thread, so alignment is settled
//! by the view's own divisibility.

use super::bits::mask;
use super::linear::{Input, Layout};

/// Registers grouped into accesses of one width.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vectors {
    /// Elements per access: a power of two.
    pub width: u32,
    /// Per access the registers, in memory order. Each register is in exactly one run; registers that hold copies of
    /// another run's elements are left out.
    pub runs: Vec<Vec<u32>>,
}

impl Layout {
    /// The widest accesses along `dim`: at most `max_bytes` per access, and no wider than the power of two that divides
    /// `divisibility` (in elements: of the base address, the offsets and all other strides).
    ///
    /// # Panics
    /// When the dimension does not exist.
    pub fn vectorise(&self, dim: usize, element_bytes: u32, divisibility: u32, max_bytes: u32) -> Vectors {
        assert!(dim < self.rank(), "dimension {dim} should be below the rank {}", self.rank());
        let most = (max_bytes / element_bytes.max(1)).max(1).ilog2();
        let aligned = if divisibility == 0 { 31 } else { divisibility.trailing_zeros() };
        let limit = most.min(aligned).min(self.space.bits[dim]);
        let registers = self.packed(Input::Register);
        let unit = |j: u32| 1u32 << (self.space.at[dim] + j);
        let bit_of = |j| registers.iter().position(|&v| v == unit(j));
        let mut k = (0..limit).take_while(|&j| bit_of(j).is_some()).count() as u32;
        let bits: Vec<usize> = (0..k).filter_map(bit_of).collect();
        // Nobody else may touch the low bits of the run.
        let others = self.bases.iter().enumerate().flat_map(|(i, columns)| {
            let bits = &bits;
            columns.iter().enumerate().filter(move |(b, _)| i != 0 || !bits.contains(b)).map(|(_, &v)| v)
        });
        for v in others {
            let low = self.space.field(v, dim) & mask(k);
            if low != 0 {
                k = low.trailing_zeros();
            }
        }
        Vectors { width: 1 << k, runs: self.runs(&bits[..k as usize]) }
    }

    /// All distinct registers grouped by the given register bits, the first bit fastest.
    pub(crate) fn runs(&self, bits: &[usize]) -> Vec<Vec<u32>> {
        let free = self.free_bits().register;
        let chosen = bits.iter().fold(0, |m, &b| m | 1u32 << b);
        let spread = |i: u32| (0..).zip(bits).fold(0, |r, (j, &b)| r | (i >> j & 1) << b);
        let starts = (0..self.registers()).filter(|r| r & (chosen | free) == 0);
        starts.map(|r| (0..1 << bits.len()).map(|i| r | spread(i)).collect()).collect()
    }
}
