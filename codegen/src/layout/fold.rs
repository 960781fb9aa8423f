//! Which bits of register, lane and warp a reduction folds: those that move along the axis and nowhere else, each direction once.

use std::collections::BTreeMap;

use super::{Coord, Layout};

/// How the holders of the elements along an axis meet.
pub(crate) struct FoldPlan {
    /// Axis that is folded; none when copies are.
    pub(crate) axis: Option<usize>,
    /// Per register of the source: the partial result that it belongs to; none for a copy of another register.
    pub(crate) parts: Vec<Option<u32>>,
    /// Coordinate of each partial result in lane 0 of warp 0, with 0 along the axis.
    pub(crate) coords: Vec<Coord>,
    /// Exclusive-or masks over the lane.
    pub(crate) lane_masks: Vec<u32>,
    /// Lane bits that are 0 in the one lane that writes.
    pub(crate) lane_others: u32,
    /// Warp bits that are folded.
    pub(crate) warp_bits: Vec<usize>,
    /// Warp bits that only copy.
    pub(crate) warp_copies: u32,
}

/// The XOR of the vectors whose bits are set.
fn combined(vectors: &[Coord], mask: u32) -> Coord {
    let mut out = Coord::default();
    for (i, v) in vectors.iter().enumerate() {
        if mask >> i & 1 == 1 {
            for (o, x) in out.iter_mut().zip(v) {
                *o ^= x;
            }
        }
    }
    out
}

/// Adds `vector` to the reduced `basis`; whether it was independent of it.
fn extend(basis: &mut Vec<u32>, vector: u32) -> bool {
    let rest = basis.iter().fold(vector, |rest, &b| rest.min(rest ^ b));
    if rest != 0 {
        basis.push(rest);
        basis.sort_unstable_by(|a, b| b.cmp(a));
    }
    rest != 0
}

/// `at` with 0 along `axis`.
pub(crate) fn dropped(at: Coord, axis: Option<usize>) -> Coord {
    let mut at = at;
    if let Some(axis) = axis {
        at[axis] = 0;
    }
    at
}

impl FoldPlan {
    pub(crate) fn new(layout: &Layout, axis: Option<usize>) -> Self {
        let bases = layout.bases();
        let free = layout.free_bits().register;
        let mut index: BTreeMap<Coord, u32> = BTreeMap::new();
        let mut coords = Vec::new();
        let mut parts = Vec::new();
        for r in 0..layout.registers() {
            if r & free != 0 && axis.is_some() {
                parts.push(None);
                continue;
            }
            let at = dropped(layout.apply(r, 0, 0), axis);
            let part = if axis.is_some() {
                *index.entry(at).or_insert_with(|| {
                    coords.push(at);
                    coords.len() as u32 - 1
                })
            } else {
                coords.push(at);
                r
            };
            parts.push(Some(part));
        }
        // Along an axis: masks that stay at the result's coordinate and move along it, beyond what registers cover. For copies:
        // masks that move nowhere.
        let mut seen = Vec::new();
        if let Some(axis) = axis {
            for v in bases.register.iter().filter(|v| dropped(**v, Some(axis)) == Coord::default()) {
                extend(&mut seen, v[axis]);
            }
        }
        let mut masks: Vec<u32> = (1..1u32 << bases.lane.len()).collect();
        masks.sort_by_key(|m| (m.count_ones(), *m));
        let mut lane_masks = Vec::new();
        for mask in masks {
            let v = combined(&bases.lane, mask);
            let stays = dropped(v, axis) == Coord::default();
            if stays && extend(&mut seen, axis.map_or(mask, |a| v[a])) {
                lane_masks.push(mask);
            }
        }
        let mut found: Vec<Coord> = Vec::new();
        let mut lane_others = 0;
        for (bit, v) in bases.lane.iter().enumerate() {
            // A bit whose move other bits can make as well need not be set in the writing lane.
            let v = dropped(*v, axis);
            let reached = (0..1u32 << found.len()).any(|m| combined(&found, m) == v);
            if reached {
                lane_others |= 1 << bit;
            } else {
                found.push(v);
            }
        }
        let (mut warp_bits, mut warp_copies) = (Vec::new(), 0);
        for (bit, v) in bases.warp.iter().enumerate() {
            let stays = dropped(*v, axis) == Coord::default();
            if stays && axis.is_none_or(|a| extend(&mut seen, v[a])) {
                warp_bits.push(bit);
            } else if stays {
                warp_copies |= 1 << bit;
            }
        }
        Self { axis, parts, coords, lane_masks, lane_others, warp_bits, warp_copies }
    }

    /// Rows and columns of the scratch buffer, when warps exchange.
    pub(crate) fn scratch(&self, layout: &Layout) -> Option<(u32, u32)> {
        let kept = |axis: &usize| Some(*axis) != self.axis;
        let columns = (0..layout.rank()).filter(kept).map(|a| layout.shape()[a]).product();
        (!self.warp_bits.is_empty()).then_some((1 << self.warp_bits.len(), columns))
    }

    /// The axes of the result and the distance between their elements in a row of the scratch buffer.
    pub(crate) fn columns(&self, layout: &Layout) -> Vec<(usize, u32)> {
        let mut stride = 1;
        let mut out = Vec::new();
        for axis in (0..layout.rank()).rev().filter(|a| Some(*a) != self.axis) {
            out.push((axis, stride));
            stride *= layout.shape()[axis];
        }
        out
    }
}

/// Rows and columns of the scratch buffer of a `reduce` or `arg_reduce` of a tile of this layout along `axis`, in elements of the
/// accumulator's type (f32 for the narrow floats, i32 or u32 for 8-bit integers; i32 for positions). `None` when one warp holds each line.
#[must_use]
pub fn reduce_scratch(src: &Layout, axis: usize) -> Option<(u32, u32)> {
    FoldPlan::new(src, Some(axis)).scratch(src)
}

/// The same for `sum_partials`. `None` when the copies are in one warp.
#[must_use]
pub fn partials_scratch(src: &Layout) -> Option<(u32, u32)> {
    FoldPlan::new(src, None).scratch(src)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Bases;

    fn c(row: u32, column: u32) -> Coord {
        [row, column, 0, 0]
    }

    #[test]
    fn scratch_has_a_row_per_warp_along_the_axis() {
        let bases = Bases {
            register: vec![c(0, 1)],
            lane: vec![c(0, 2), c(0, 4), c(0, 8), c(1, 0), c(2, 0)],
            warp: vec![c(0, 16), c(4, 0)],
        };
        let layout = Layout::new(&[8, 32], &bases).unwrap();
        assert_eq!(reduce_scratch(&layout, 1), Some((2, 8)));
        assert_eq!(reduce_scratch(&layout, 0), Some((2, 32)));
        assert_eq!(partials_scratch(&layout), None);
    }

    #[test]
    fn copies_are_not_folded_along_an_axis() {
        let bases = Bases {
            register: vec![c(0, 0), c(0, 1)],
            lane: vec![c(0, 0), c(0, 2), c(1, 0), c(2, 0), c(0, 1)],
            warp: vec![c(0, 0)],
        };
        let layout = Layout::new(&[4, 4], &bases).unwrap();
        let plan = FoldPlan::new(&layout, Some(1));
        assert_eq!(plan.parts, [Some(0), None, Some(0), None]);
        assert_eq!(plan.lane_masks, [2], "lane bit 4 repeats what a register bit covers");
        assert_eq!(plan.lane_others, 0b10011);
        assert_eq!(reduce_scratch(&layout, 1), None);
        assert_eq!(partials_scratch(&layout), Some((2, 16)));
    }
}
