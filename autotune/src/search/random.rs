//! Legal points in random order without replacement.
//!
//! A Fisher-Yates shuffle of the grid's indices drawn lazily: only the swapped indices are stored, so the memory is that of
//! the points drawn and not of the grid.

use std::collections::BTreeMap;

use tilewright_codegen::schedule::{Schedule, Space};

/// A shuffle in progress.
#[derive(Debug)]
pub struct Random {
    state: u64,
    drawn: usize,
    /// Index now standing at a place of the shuffled list, where it is not the place itself.
    moved: BTreeMap<usize, usize>,
}

impl Random {
    /// A shuffle that depends on `seed` and the size of the grid only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed, drawn: 0, moved: BTreeMap::new() }
    }

    /// The next legal point; `None` when every point of the grid has been drawn.
    pub fn next_point(&mut self, space: &Space) -> Option<Schedule> {
        let len = space.grid_len();
        while self.drawn < len {
            let other = self.drawn + self.below(len - self.drawn);
            let standing =
                |place: usize, moved: &BTreeMap<usize, usize>| *moved.get(&place).unwrap_or(&place);
            let index = standing(other, &self.moved);
            let displaced = standing(self.drawn, &self.moved);
            self.moved.insert(other, displaced);
            self.moved.remove(&self.drawn);
            self.drawn += 1;
            if let Some(schedule) = space.point(index) {
                return Some(schedule);
            }
        }
        None
    }

    /// A number below `n`, by multiplication; its bias is under n / 2^64.
    fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.next_u64()) * n as u128;
        usize::try_from(wide >> 64).expect("a number below a usize should be one")
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tilewright_codegen::schedule::{Knob, Rule};

    use super::*;

    fn space(sizes: &[usize]) -> Space {
        let names = ["A", "B", "C"];
        let knob = |(i, &n): (usize, &usize)| Knob { name: names[i], values: (1..=n as i64).collect() };
        Space {
            knobs: sizes.iter().enumerate().map(knob).collect(),
            legal: Rule::new(|s| s.knobs.values().sum::<i64>() % 3 != 0),
        }
    }

    proptest! {
        #[test]
        fn draws_every_legal_point_once(sizes in prop::collection::vec(1_usize..7, 1..4), seed: u64) {
            let space = space(&sizes);
            let mut search = Random::new(seed);
            let drawn: Vec<Schedule> = std::iter::from_fn(|| search.next_point(&space)).collect();
            let distinct: BTreeSet<Schedule> = drawn.iter().cloned().collect();
            prop_assert_eq!(drawn.len(), distinct.len());
            prop_assert_eq!(distinct, space.points().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn seed_decides_the_order() {
        let space = space(&[6, 6, 6]);
        let order = |seed| {
            let mut search = Random::new(seed);
            std::iter::from_fn(|| search.next_point(&space)).collect::<Vec<_>>()
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn a_huge_grid_costs_only_what_is_drawn() {
        let names: [&'static str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
        let knobs = names.map(|name| Knob { name, values: (0..200).collect() }).to_vec();
        let space = Space { knobs, ..Space::default() };
        let mut search = Random::new(1);
        let drawn: BTreeSet<Schedule> = (0..100).filter_map(|_| search.next_point(&space)).collect();
        assert_eq!(drawn.len(), 100);
        assert!(search.moved.len() <= 100);
    }
}
