//! Blocked layouts: each thread a small contiguous block, lanes side by side, then warps, then registers again.
//! These are the layouts of global loads and stores.
//!
//! The choice that is not obvious: where a tile is smaller than the threads, the vector per thread is given up before
//! a lane idles, because an idle lane costs as much as a narrow access and holds a register besides.

use super::error::{LayoutError, shape_error};
use super::linear::{Bases, Coord, LANE_BITS, Layout, MAX_RANK, Space};

/// How a blocked layout deals out the power-of-two part of a tile; entries are log2, one per dimension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocking {
    /// Elements of a thread's own block.
    pub thread_bits: Vec<u32>,
    /// Lanes side by side; the sum is at most 5, and lanes beyond the sum hold copies.
    pub lane_bits: Vec<u32>,
    /// Warps side by side.
    pub warp_bits: Vec<u32>,
    /// Dimensions, fastest (contiguous in memory) first.
    pub order: Vec<usize>,
}

impl Blocking {
    /// The default for moving a tile between registers and memory: vectors of up to 16 bytes along the contiguous
    /// dimension, then lanes along it, so that a warp touches the fewest and longest lines.
    /// `n_warps` is a power of two; `contiguous` the dimension with stride 1.
    ///
    /// # Errors
    /// As [`Layout::new`]; a dimension out of range; a number of warps that is not a power of two.
    pub fn choose(
        shape: &[u32],
        element_bytes: u32,
        n_warps: u32,
        contiguous: usize,
    ) -> Result<Blocking, LayoutError> {
        let space = Space::new(shape)?;
        let rank = space.rank;
        if rank > 0 && contiguous >= rank {
            return shape_error(format!("a tile of rank {rank} has no dimension {contiguous}"));
        }
        if !n_warps.is_power_of_two() {
            return shape_error(format!("{n_warps} warps is not a power of two"));
        }
        let mut order: Vec<usize> = (0..rank).rev().collect();
        order.retain(|&d| d != contiguous);
        if rank > 0 {
            order.insert(0, contiguous);
        }
        let mut left = space.bits;
        let widest = (16 / element_bytes.clamp(1, 16)).ilog2();
        let spare = space.total_bits().saturating_sub(LANE_BITS as u32 + n_warps.ilog2());
        let mut thread_bits = vec![0; rank];
        if rank > 0 {
            thread_bits[contiguous] = widest.min(left[contiguous]).min(spare);
            left[contiguous] -= thread_bits[contiguous];
        }
        let lane_bits = take(&order, &mut left, LANE_BITS as u32);
        let warp_bits = take(&order, &mut left, n_warps.ilog2());
        Ok(Blocking { thread_bits, lane_bits, warp_bits, order })
    }
}

/// Takes up to `bits` bits of the dimensions in order.
fn take(order: &[usize], left: &mut [u32; MAX_RANK], mut bits: u32) -> Vec<u32> {
    let mut taken = vec![0; order.len()];
    for &d in order {
        taken[d] = bits.min(left[d]);
        left[d] -= taken[d];
        bits -= taken[d];
    }
    taken
}

impl Layout {
    /// Deals out a tile: per-thread block, lanes, warps, and what is left of the spans as further registers.
    /// A blocking larger than the tile wraps into copies; a complete layout for `2^warp_bits` warps comes out.
    ///
    /// # Errors
    /// As [`Layout::new`]; lists that do not have one entry per dimension, an order that is no permutation.
    pub fn blocked(shape: &[u32], blocking: &Blocking, warp_bits: u32) -> Result<Layout, LayoutError> {
        let space = Space::new(shape)?;
        let Blocking { thread_bits, lane_bits, warp_bits: warps, order } = blocking;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let lengths = [thread_bits.len(), lane_bits.len(), warps.len(), order.len()];
        if lengths.iter().any(|&n| n != space.rank) || !sorted.iter().copied().eq(0..space.rank) {
            return shape_error(format!("{blocking:?} does not fit a tile of rank {}", space.rank));
        }
        if warp_bits > 5 || [thread_bits, lane_bits, warps].into_iter().flatten().any(|&b| b > 16) {
            return shape_error(format!("{blocking:?} over 2^{warp_bits} warps is more than a block has"));
        }
        let mut at = [0; MAX_RANK];
        let mut vectors = |bits: &[u32]| {
            let mut list: Vec<Coord> = Vec::new();
            for &d in order {
                for _ in 0..bits[d] {
                    let mut v = [0; MAX_RANK];
                    if at[d] < space.bits[d] {
                        v[d] = 1 << at[d];
                        at[d] += 1;
                    }
                    list.push(v);
                }
            }
            list
        };
        let mut register = vectors(thread_bits);
        let mut lane = vectors(lane_bits);
        let mut warp = vectors(warps);
        register.extend(vectors(&space.bits));
        register.retain(|v| *v != [0; MAX_RANK]);
        lane.resize(lane.len().max(LANE_BITS), [0; MAX_RANK]);
        if warp.len() > warp_bits as usize {
            return shape_error(format!("{warps:?} is more than {} warps", 1u64 << warp_bits));
        }
        warp.resize(warp_bits as usize, [0; MAX_RANK]);
        let repeated = order.iter().copied().filter(|&d| space.repeats(d) > 1).collect::<Vec<_>>();
        Layout::with_repeat_order(shape, &Bases { register, lane, warp }, &repeated)
    }

    /// The blocked layout of [`Blocking::choose`].
    ///
    /// # Errors
    /// As [`Blocking::choose`].
    pub fn for_memory(
        shape: &[u32],
        element_bytes: u32,
        n_warps: u32,
        contiguous: usize,
    ) -> Result<Layout, LayoutError> {
        let blocking = Blocking::choose(shape, element_bytes, n_warps, contiguous)?;
        Layout::blocked(shape, &blocking, n_warps.ilog2())
    }
}
