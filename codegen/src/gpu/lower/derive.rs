//! Layouts of tiles that are renamed, repeated or reduced forms of other tiles.
//!
//! If element `t` of a tile is element `c(t)` of another, and `c` only picks axes, then the other tile has a layout in which
//! each thread holds just what its elements of the first tile need, and no data moves.

use crate::gpu::ops::{Coord, RegMap};
use crate::layout::{Bases, Layout};

/// The layout of the source tile under which element `t` of a tile in `layout` finds its source element in its own thread, and
/// which of the source's registers belongs to each register; `None` when `coords` is not a choice of distinct axes.
pub(crate) fn source_layout(layout: &Layout, coords: &[Coord]) -> Option<(Layout, RegMap)> {
    let mut axes = Vec::with_capacity(coords.len());
    for c in coords {
        match c {
            Coord::Axis(a) if !axes.contains(&Some(usize::from(*a))) => axes.push(Some(usize::from(*a))),
            Coord::Zero => axes.push(None),
            Coord::Axis(_) | Coord::Digit { .. } => return None,
        }
    }
    Some(projected(layout, &axes))
}

/// The layout of a reduction of a tile in `layout` along `axis`; of rank 0 when there is no other axis.
pub(crate) fn without_axis(layout: &Layout, axis: usize) -> Layout {
    let axes: Vec<Option<usize>> = (0..layout.rank()).filter(|&d| d != axis).map(Some).collect();
    projected(layout, &axes).0
}

/// The layout of a tile whose axis `i` is axis `axes[i]` of one in `layout`.
pub(crate) fn with_axes(layout: &Layout, axes: &[u8]) -> Layout {
    let axes: Vec<Option<usize>> = axes.iter().map(|&a| Some(usize::from(a))).collect();
    projected(layout, &axes).0
}

/// The layout in which axis `i` is axis `axes[i]` of `layout`, or of extent 1.
fn projected(layout: &Layout, axes: &[Option<usize>]) -> (Layout, RegMap) {
    let pick = |v: &[u32; 4]| {
        let mut out = [0; 4];
        for (i, axis) in axes.iter().enumerate() {
            if let Some(a) = axis {
                out[i] = v[*a];
            }
        }
        out
    };
    let from = layout.bases();
    let mut kept_bits = Vec::new();
    let mut bases = Bases::default();
    for (bit, v) in from.register.iter().enumerate() {
        let v = pick(v);
        if v != [0; 4] {
            kept_bits.push(bit);
            bases.register.push(v);
        }
    }
    bases.lane = from.lane.iter().map(pick).collect();
    bases.warp = from.warp.iter().map(pick).collect();
    let shape: Vec<u32> = axes.iter().map(|a| a.map_or(1, |a| layout.shape()[a])).collect();
    let place = |dim: usize| axes.iter().position(|a| *a == Some(dim));
    let order: Vec<usize> = layout.repeats().iter().filter_map(|r| place(r.dim)).collect();
    let projected =
        Layout::with_repeat_order(&shape, &bases, &order).expect("a projected layout should be well formed");
    let n_bits = from.register.len();
    let table = (0..layout.registers())
        .map(|r| {
            let low = kept_bits.iter().enumerate().fold(0, |x, (to, &bit)| x | (r >> bit & 1) << to);
            let (mut index, mut digits, mut weight) = (r >> n_bits, 0, 1);
            for repeat in layout.repeats() {
                if place(repeat.dim).is_some() {
                    digits += index % repeat.count * weight;
                    weight *= repeat.count;
                }
                index /= repeat.count;
            }
            (digits << kept_bits.len() | low) as u16
        })
        .collect::<Vec<u16>>();
    let is_identity = table.iter().enumerate().all(|(r, &t)| r == usize::from(t));
    (projected, if is_identity { RegMap::Identity } else { RegMap::Table(table) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::blocked::blocked;

    #[test]
    fn each_register_finds_its_source_in_its_thread() {
        for shape in [&[64usize, 80][..], &[48, 192], &[3, 1000], &[8, 2, 96]] {
            let layout = blocked(shape, 4, shape.len() - 1, 2);
            for axis in 0..shape.len() {
                let coords: Vec<Coord> =
                    (0..shape.len()).filter(|&d| d != axis).map(|d| Coord::Axis(d as u8)).collect();
                let (source, regs) = source_layout(&layout, &coords).expect("axes are picked");
                for (r, lane, warp) in [(0, 0, 0), (1, 3, 2), (layout.registers() - 1, 31, 3)] {
                    let to = match &regs {
                        RegMap::Identity => r,
                        RegMap::Table(t) => u32::from(t[r as usize]),
                    };
                    let mut want: Vec<u32> = layout.apply(r, lane, warp)[..shape.len()].to_vec();
                    want.remove(axis);
                    assert_eq!(
                        source.apply(to, lane, warp)[..want.len()],
                        want[..],
                        "{shape:?} without {axis}"
                    );
                }
            }
        }
    }

    #[test]
    fn reshaped_coordinates_need_data_to_move() {
        let layout = blocked(&[64], 1, 0, 1);
        let digit = Coord::Digit { of: vec![(Coord::Axis(0), 1)], div: 8, modulo: 8 };
        assert_eq!(source_layout(&layout, &[digit, Coord::Axis(0)]), None);
    }
}
