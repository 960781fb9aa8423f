//! Random layouts, and the brute force that tests compare with.

use proptest::prelude::*;
use tilewright_codegen::layout::{Bases, Coord, Layout, Place};

/// Extents of rank 0 to `rank`, at most 4096 elements.
pub(crate) fn shape(rank: usize) -> impl Strategy<Value = Vec<u32>> {
    let extent = prop::sample::select(vec![1u32, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64]);
    prop::collection::vec(extent, 0..=rank).prop_filter("few elements", |s| s.iter().product::<u32>() <= 4096)
}

/// Any basis vectors at all.
pub(crate) fn any_layout() -> impl Strategy<Value = Layout> {
    let counts = (0usize..4, 0usize..=5, 0usize..3);
    (shape(4), counts, prop::collection::vec(any::<[u32; 4]>(), 12)).prop_map(|(shape, counts, random)| {
        let fit = |v: &[u32; 4]| -> Coord {
            std::array::from_fn(|d| shape.get(d).map_or(0, |e| v[d] % (1 << e.trailing_zeros())))
        };
        let all: Vec<Coord> = random.iter().map(fit).collect();
        let (r, l, w) = counts;
        let bases = Bases {
            register: all[..r].to_vec(),
            lane: all[r..r + l].to_vec(),
            warp: all[r + l..r + l + w].to_vec(),
        };
        Layout::new(&shape, &bases).expect("the vectors should fit")
    })
}

/// A complete layout that owns the tile: unit vectors and zeros dealt at random, mixed by a few XORs.
pub(crate) fn dealt(shape: &[u32], warp_bits: usize, seed: u64, mixes: u32) -> Layout {
    let mut state = seed | 1;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % n.max(1)
    };
    let mut units: Vec<Coord> = Vec::new();
    for d in 0..shape.len() {
        for j in 0..shape[d].trailing_zeros() {
            let mut v = [0; 4];
            v[d] = 1 << j;
            units.push(v);
        }
    }
    for i in (1..units.len()).rev() {
        // Neighbouring bits stay neighbours half of the time, so that vectors occur.
        if next(2) == 0 {
            units.swap(i, next(i + 1));
        }
    }
    for _ in 0..mixes {
        if units.len() > 1 {
            let (i, j) = (next(units.len()), next(units.len()));
            if i != j {
                let other = units[j];
                (0..4).for_each(|d| units[i][d] ^= other[d]);
            }
        }
    }
    let threads = 5 + warp_bits;
    let mut slots = vec![[0; 4]; threads];
    let mut register = Vec::new();
    for v in units {
        let at = next(threads + 4);
        match slots.get_mut(at) {
            Some(slot) if *slot == [0; 4] => *slot = v,
            Some(_) | None => register.push(v),
        }
    }
    if next(4) == 0 {
        register.insert(next(register.len() + 1), [0; 4]);
    }
    let bases = Bases { register, lane: slots[..5].to_vec(), warp: slots[5..].to_vec() };
    let mut order: Vec<usize> = (0..shape.len()).filter(|&d| !shape[d].is_power_of_two()).collect();
    if order.len() > 1 {
        let n = order.len();
        order.rotate_left(next(n));
    }
    Layout::with_repeat_order(shape, &bases, &order).expect("the dealt vectors should fit")
}

/// Complete layouts that own their tile, with the given range of warp bits.
pub(crate) fn owning_layout(warps: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Layout> {
    (shape(4), warps, any::<u64>(), 0u32..3).prop_map(|(s, w, seed, mixes)| dealt(&s, w, seed, mixes))
}

/// Two layouts of one tile over the same warps; half of the time with the same warp vectors.
pub(crate) fn owning_pair() -> impl Strategy<Value = (Layout, Layout)> {
    (shape(3), 0usize..=2, any::<[u64; 2]>(), 0u32..3).prop_map(|(s, w, seeds, mixes)| {
        if seeds[0] % 2 == 0 {
            return (dealt(&s, w, seeds[0], mixes), dealt(&s, w, seeds[1], mixes));
        }
        // One warp's tile, exchanged among its lanes and registers, and the warps side by side.
        let (a, b) = (dealt(&s, 0, seeds[0], mixes), dealt(&s, 0, seeds[1], mixes));
        let with_warps = |l: Layout| {
            let bases = Bases { warp: vec![[0; 4]; w], ..l.bases() };
            let order: Vec<usize> = l.repeats().iter().map(|r| r.dim).collect();
            Layout::with_repeat_order(&s, &bases, &order).expect("the vectors should still fit")
        };
        (with_warps(a), with_warps(b))
    })
}

/// Every register of every thread.
pub(crate) fn places(l: &Layout) -> impl Iterator<Item = Place> {
    let (registers, lanes, warps) = (l.registers(), l.lanes(), l.warps());
    (0..warps).flat_map(move |warp| {
        (0..lanes).flat_map(move |lane| (0..registers).map(move |register| Place { register, lane, warp }))
    })
}

/// Every coordinate of a tile, row-major.
pub(crate) fn coords(shape: &[u32]) -> Vec<Coord> {
    let mut all = vec![[0; 4]];
    for (d, &e) in shape.iter().enumerate() {
        all = all
            .into_iter()
            .flat_map(|c| {
                (0..e).map(move |x| {
                    let mut c = c;
                    c[d] = x;
                    c
                })
            })
            .collect();
    }
    all
}
