//! The layout of a tile that no matrix instruction asked for: threads side by side along one axis, so that neighbours in
//! memory are neighbours in the block.
//!
//! ```text
//!   axis with neighbours in memory ──▶
//!   │ t0 t0 t0 t0 │ t1 t1 t1 t1 │ ... │ t(L-1) │ t0 again ...      a vector per thread, L threads, then registers
//!   │ t(L) ...                                                     the other threads over the other axes
//! ```
//!
//! A layout covers whole blocks of threads, so an extent of 1000 is covered by 1024 places; what lies beyond the tile is never
//! stored and never reduced.

use crate::layout::{Bases, LANE_BITS, Layout};

/// The layout of a tile of extents `shape` over `n_warps` warps with `vector` neighbours per thread along `axis`.
///
/// # Panics
/// If an extent is over 65536: the language's limits on tiles are lower.
#[must_use]
pub fn blocked(shape: &[usize], n_warps: u32, axis: usize, vector: u32) -> Layout {
    let thread_bits = LANE_BITS + n_warps.trailing_zeros() as usize;
    let order: Vec<usize> =
        std::iter::once(axis).chain((0..shape.len()).rev().filter(|&d| d != axis)).collect();
    let others: u32 = shape.iter().enumerate().filter(|&(d, _)| d != axis).map(|(_, &e)| e as u32).product();
    let mut covered: Vec<u32> = shape.iter().map(|&e| e as u32).collect();
    let mut threads = vec![0usize; shape.len()];
    let mut left = thread_bits;
    for &d in &order {
        let (per_thread, rest) = if d == axis { (vector, others) } else { (1, 1) };
        let bits = threads_along(covered[d], per_thread, rest, left);
        threads[d] = bits;
        covered[d] = covered[d].next_multiple_of(per_thread << bits);
        left -= bits;
    }
    let mut bases = Bases::default();
    let mut thread_bases = Vec::new();
    for &d in &order {
        let own = if d == axis { vector.trailing_zeros() as usize } else { 0 };
        let unit = |bit: usize| {
            let mut c = [0; 4];
            c[d] = 1 << bit;
            c
        };
        bases.register.extend((0..own).map(unit));
        thread_bases.extend((own..own + threads[d]).map(unit));
    }
    for &d in &order {
        let from = if d == axis { vector.trailing_zeros() as usize } else { 0 } + threads[d];
        bases.register.extend((from..covered[d].trailing_zeros() as usize).map(|bit| {
            let mut c = [0; 4];
            c[d] = 1 << bit;
            c
        }));
    }
    thread_bases.resize(thread_bits, [0; 4]);
    bases.warp = thread_bases.split_off(LANE_BITS);
    bases.lane = thread_bases;
    Layout::new(&covered, &bases).expect("a blocked layout should be well formed")
}

/// How many of `left` thread bits go along an axis: the most whose padding is worth the threads that it employs. `rest` is what
/// the other axes can take.
fn threads_along(extent: u32, per_thread: u32, rest: u32, left: usize) -> usize {
    let units = extent.div_ceil(per_thread);
    let most = (units.next_power_of_two().trailing_zeros() as usize).min(left);
    let worth = |bits: usize| {
        let padded = extent.next_multiple_of(per_thread << bits);
        let busy = ((1u64 << bits) * u64::from(rest)).min(1 << left) as f64 / (1u64 << left) as f64;
        busy * f64::from(extent) / f64::from(padded)
    };
    (0..=most)
        .rev()
        .fold((most, worth(most)), |best, bits| {
            // Fewer threads along the axis must pay clearly: whole lines of memory are read together.
            let w = worth(bits);
            if w > 1.2 * best.1 { (bits, w) } else { best }
        })
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_held() {
        for shape in
            [&[1000usize][..], &[1, 1000], &[4, 128], &[64, 80], &[3, 7], &[1], &[16, 2, 64], &[5, 1, 96]]
        {
            for vector in [1, 2, 4, 8] {
                for n_warps in [1, 4, 8] {
                    let layout = blocked(shape, n_warps, shape.len() - 1, vector);
                    assert!(layout.is_surjective(), "{shape:?} {vector}");
                    assert_eq!((layout.lanes(), layout.warps()), (32, n_warps));
                    assert!(layout.shape().iter().zip(shape).all(|(&c, &e)| c as usize >= e));
                }
            }
        }
    }

    #[test]
    fn neighbours_lie_in_one_thread_and_threads_side_by_side() {
        let layout = blocked(&[64, 128], 4, 1, 8);
        assert_eq!(layout.apply(7, 0, 0)[1], 7);
        assert_eq!(layout.apply(0, 1, 0)[1], 8);
        assert_eq!(layout.apply(0, 16, 0)[0], 1);
        assert_eq!(layout.registers(), 64);
    }
}
