//! Shared-memory accesses of a register layout: width, and bank conflicts counted the way the hardware serves them.
//!
//! 32 banks of 4 bytes. A request of up to 4 bytes per lane is one phase of 32 lanes, of 8 bytes two phases of 16, of
//! 16 bytes four phases of 8. In a phase each bank delivers one word; lanes that want the same word share it.

use super::linear::{Coord, Input, Layout};
use super::shared::SharedLayout;

/// What it takes a register layout to read or write a tile in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedAccess {
    /// Elements per access and lane.
    pub width: u32,
    /// Per access the registers, in memory order; copies are left out.
    pub runs: Vec<Vec<u32>>,
    /// Most words any bank delivers in one phase: 1 is free of conflicts.
    pub ways: u32,
    /// Bank cycles of one warp for the whole tile, at the worst warp.
    pub wavefronts: u32,
}

impl SharedLayout {
    /// The widest accesses (at most 16 bytes) of a register layout, and their bank conflicts.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn access(&self, layout: &Layout) -> SharedAccess {
        assert_eq!(
            self.shape(),
            layout.shape(),
            "a register layout and its shared layout should have one shape"
        );
        let bits = self.contiguous_bits(layout);
        let runs = layout.runs(&bits);
        let width = 1 << bits.len();
        let (mut ways, mut wavefronts) = (1, 0);
        for warp in 0..layout.warps() {
            let mut cycles = 0;
            for run in &runs {
                let offsets: Vec<u32> =
                    (0..layout.lanes()).map(|lane| self.offset(&layout.apply(run[0], lane, warp))).collect();
                for phase in phases(&offsets, width * self.element_bytes) {
                    ways = ways.max(phase);
                    cycles += phase;
                }
            }
            wavefronts = wavefronts.max(cycles);
        }
        SharedAccess { width, runs, ways, wavefronts }
    }

    /// Register bits that step through memory element by element, as many as one access can take.
    fn contiguous_bits(&self, layout: &Layout) -> Vec<usize> {
        let registers = layout.packed(Input::Register);
        // Bytes inside the block and along each dimension outside it; they may not carry into each other.
        let parts = |v: u32| -> [u32; 5] {
            let c: Coord = layout.space.unpack(v);
            let mut parts = [self.map.apply(self.pack_block(&c)); 5];
            for d in 0..4 {
                parts[d + 1] = (c[d] >> self.block_bits[d]) * self.strides[d];
            }
            parts
        };
        let steps: Vec<u32> = registers.iter().map(|&v| parts(v).iter().sum()).collect();
        let find = |j: usize| steps.iter().position(|&s| s == self.element_bytes << j);
        let most = (16 / self.element_bytes.min(16)).ilog2() as usize;
        let mut bits: Vec<usize> = (0..most).map_while(find).collect();
        let fits = |bits: &[usize]| {
            let run = self.element_bytes << bits.len();
            let vectors = layout.bases.iter().enumerate().flat_map(|(i, columns)| {
                columns.iter().enumerate().filter(move |(b, _)| i != 0 || !bits.contains(b)).map(|(_, &v)| v)
            });
            let chosen = bits.iter().fold(0, |m, &b| m | 1 << b);
            let mut starts = (0..layout.registers()).filter(|r| r & chosen == 0);
            vectors.into_iter().all(|v| parts(v).iter().all(|p| p.is_multiple_of(run)))
                && starts.all(|r| self.offset(&layout.apply(r, 0, 0)).is_multiple_of(run))
        };
        while !fits(&bits) {
            if bits.pop().is_none() {
                break;
            }
        }
        bits
    }
}

/// Words the busiest bank delivers in each phase of one request.
fn phases(offsets: &[u32], bytes: u32) -> Vec<u32> {
    let lanes = match bytes {
        0..=4 => 32,
        5..=8 => 16,
        _ => 8,
    };
    let count = |phase: &[u32]| {
        let mut words: Vec<u32> =
            phase.iter().flat_map(|&o| (0..bytes.div_ceil(4)).map(move |i| o / 4 + i)).collect();
        words.sort_unstable();
        words.dedup();
        let mut banks = [0; 32];
        for w in words {
            banks[w as usize % 32] += 1;
        }
        banks.into_iter().max().unwrap_or(0)
    };
    offsets.chunks(lanes).map(count).collect()
}
