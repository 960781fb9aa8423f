//! Register layouts: evaluation, inversion, algebra, expressions, vectors and reductions.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tilewright_codegen::layout::{Bases, Coord, F2Map, Layout, Place};

use crate::common::{any_layout, coords, dealt, owning_layout, places, shape};

/// Who holds each element.
fn held(l: &Layout) -> BTreeMap<Coord, Vec<Place>> {
    let mut map: BTreeMap<Coord, Vec<Place>> = BTreeMap::new();
    for p in places(l) {
        map.entry(l.apply(p.register, p.lane, p.warp)).or_default().push(p);
    }
    map
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_round_trips(l in any_layout()) {
        prop_assert_eq!(l.to_string().parse::<Layout>(), Ok(l));
    }

    #[test]
    fn broken_text_is_refused_and_not_a_panic(l in any_layout(), at in any::<prop::sample::Index>(), junk in ".{0,3}") {
        let mut text: Vec<char> = l.to_string().chars().collect();
        let from = at.index(text.len());
        let to = (from + 2).min(text.len());
        text.splice(from..to, junk.chars());
        let text: String = text.into_iter().collect();
        if let Ok(other) = text.parse::<Layout>() {
            prop_assert_eq!(other.to_string().parse::<Layout>(), Ok(other));
        }
    }

    #[test]
    fn coordinates_lie_in_the_tile(l in any_layout()) {
        for c in held(&l).keys() {
            prop_assert!((0..4).all(|d| c[d] < l.shape().get(d).copied().unwrap_or(1)));
        }
    }

    #[test]
    fn injective_and_surjective_are_what_they_say(l in any_layout()) {
        let held = held(&l);
        let elements = l.shape().iter().product::<u32>() as usize;
        prop_assert_eq!(l.is_surjective(), held.len() == elements);
        prop_assert_eq!(l.is_injective(), held.values().all(|v| v.len() == 1));
        let free = l.free_bits();
        let mut kept: Vec<Coord> = places(&l)
            .filter(|p| p.register & free.register == 0 && p.lane & free.lane == 0 && p.warp & free.warp == 0)
            .map(|p| l.apply(p.register, p.lane, p.warp))
            .collect();
        kept.sort_unstable();
        prop_assert_eq!(kept, held.keys().copied().collect::<Vec<_>>());
    }

    #[test]
    fn the_inverse_locates_every_element(l in owning_layout(0..=2)) {
        let inverse = l.inverse().expect("the layout owns every element");
        for c in coords(l.shape()) {
            let p = inverse.locate(&c);
            prop_assert_eq!(l.apply(p.register, p.lane, p.warp), c);
            prop_assert!(p.register < l.registers() && p.lane < l.lanes() && p.warp < l.warps());
        }
    }

    #[test]
    fn a_layout_with_holes_has_no_inverse(l in any_layout()) {
        prop_assert_eq!(l.inverse().is_some(), l.is_surjective());
    }

    #[test]
    fn maps_compose_and_invert(columns in prop::collection::vec(0u32..64, 0..9), more in prop::collection::vec(0u32..256, 6)) {
        let (a, b) = (F2Map::new(columns, 6), F2Map::new(more, 8));
        let both = b.compose(&a);
        let mut images: Vec<u32> = (0..1 << a.in_bits()).map(|x| a.apply(x)).collect();
        for (x, &y) in (0..).zip(&images) {
            prop_assert_eq!(both.apply(x), b.apply(y));
        }
        for k in a.kernel() {
            prop_assert!(k != 0 && a.apply(k) == 0);
        }
        prop_assert_eq!(a.kernel().len() as u32, a.in_bits() - a.rank());
        images.sort_unstable();
        images.dedup();
        prop_assert_eq!(images.len(), 1 << a.rank());
        match a.right_inverse() {
            Some(g) => prop_assert_eq!(a.compose(&g), F2Map::identity(6)),
            None => prop_assert!(a.rank() < 6),
        }
    }

    #[test]
    fn a_product_tiles_and_divides(inner in owning_layout(0..=1), outer_shape in shape(3), seed in any::<u64>()) {
        let rank = inner.rank();
        let mut outer_shape = outer_shape;
        outer_shape.resize(rank, 2);
        for r in inner.repeats() {
            outer_shape[r.dim] = 1;
        }
        let outer = dealt(&outer_shape, 1, seed, 0);
        let outer = Layout::new(&outer_shape, &Bases {
            register: outer.bases().register, warp: outer.bases().warp, lane: vec![],
        }).unwrap();
        let Ok(product) = Layout::product(&inner, &outer) else {
            prop_assert!(outer.shape().iter().zip(inner.shape()).any(|(a, b)| a * b > 65536));
            return Ok(());
        };
        prop_assert_eq!(product.divide(&inner), Some(outer.clone()));
        let (ri, ro) = (inner.bases().register.len(), outer.bases().register.len());
        let ni = inner.registers() >> ri;
        for p in places(&product) {
            let rep = p.register >> (ri + ro);
            let (low, high) = (p.register & ((1 << ri) - 1), p.register >> ri & ((1 << ro) - 1));
            let a = inner.apply((rep % ni) << ri | low, p.lane, p.warp % inner.warps());
            let b = outer.apply((rep / ni) << ro | high, 0, p.warp / inner.warps());
            let c: Coord = std::array::from_fn(|d| a[d] + b[d] * inner.shape().get(d).copied().unwrap_or(1));
            prop_assert_eq!(product.apply(p.register, p.lane, p.warp), c);
        }
    }

    #[test]
    fn permuting_moves_coordinates(l in any_layout(), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..l.rank()).collect();
        if !order.is_empty() {
            let n = order.len();
            order.rotate_left(seed as usize % n);
            order.swap(0, (seed >> 8) as usize % n);
        }
        let moved = l.permute(&order).unwrap();
        for p in places(&l) {
            let (a, b) = (l.apply(p.register, p.lane, p.warp), moved.apply(p.register, p.lane, p.warp));
            for (i, &d) in order.iter().enumerate() {
                prop_assert_eq!(b[i], a[d]);
            }
        }
    }

    #[test]
    fn slices_project_and_broadcasts_copy(l in any_layout(), dim in 0usize..4, extent in 1u32..25) {
        prop_assume!(dim < l.rank());
        let slice = l.slice(dim).unwrap();
        prop_assert_eq!(slice.register.len() as u32, l.registers());
        prop_assert_eq!(slice.layout.free_bits().register, 0);
        for p in places(&l) {
            let mut c = l.apply(p.register, p.lane, p.warp).to_vec();
            c.remove(dim);
            prop_assert!(slice.register[p.register as usize] < slice.layout.registers());
            let s = slice.layout.apply(slice.register[p.register as usize], p.lane, p.warp);
            prop_assert_eq!(&s[..3], &c[..]);
        }
        let thin = slice.layout.expand(dim).unwrap();
        prop_assert_eq!(thin.squeeze(dim).unwrap(), slice.layout);
        let wide = thin.broadcast(dim, extent).unwrap();
        for p in places(&wide.layout) {
            let mut c = wide.layout.apply(p.register, p.lane, p.warp);
            prop_assert!(c[dim] < extent);
            c[dim] = 0;
            prop_assert!(wide.register[p.register as usize] < thin.registers());
            prop_assert_eq!(thin.apply(wide.register[p.register as usize], p.lane, p.warp), c);
        }
        prop_assert_eq!(wide.layout.is_surjective(), thin.is_surjective());
    }

    #[test]
    fn dropped_copies_are_copies(l in any_layout()) {
        let distinct = l.distinct_registers();
        let first = l.first_copies();
        for p in places(&l) {
            let c = l.apply(p.register, p.lane, p.warp);
            prop_assert_eq!(distinct.layout.apply(distinct.register[p.register as usize], p.lane, p.warp), c);
            prop_assert_eq!(l.apply(first[p.register as usize], p.lane, p.warp), c);
        }
        prop_assert_eq!(distinct.layout.free_bits().register, 0);
    }

    #[test]
    fn reshapes_keep_row_major_order(l in any_layout(), to in shape(4)) {
        let size = |s: &[u32]| s.iter().product::<u32>();
        let flat = |s: &[u32], c: &Coord| s.iter().zip(c).fold(0, |f, (e, x)| f * e + x);
        let merged = l.reshape(&[size(l.shape())]);
        let split = if size(&to) == size(l.shape()) { l.reshape(&to) } else { merged.clone() };
        for r in [merged, split].into_iter().flatten() {
            for p in places(&l) {
                let (a, b) = (l.apply(p.register, p.lane, p.warp), r.apply(p.register, p.lane, p.warp));
                prop_assert_eq!(flat(l.shape(), &a), flat(r.shape(), &b));
            }
        }
    }

    #[test]
    fn coordinate_expressions_evaluate(l in any_layout()) {
        for d in 0..l.rank() {
            let e = l.coordinate_expr(d);
            for p in places(&l) {
                let tid = p.warp * 32 + p.lane;
                prop_assert_eq!(e.value(p.register, tid), l.apply(p.register, p.lane, p.warp)[d]);
            }
        }
    }

    #[test]
    fn vectors_are_contiguous_aligned_and_complete(l in any_layout(), log in 0u32..3, div in 0u32..17) {
        let bytes = 1 << log;
        for d in 0..l.rank() {
            let v = l.vectorise(d, bytes, div, 16);
            prop_assert!(v.width * bytes <= 16 && (div % v.width == 0));
            let mut seen: Vec<Coord> = Vec::new();
            for run in &v.runs {
                prop_assert_eq!(run.len() as u32, v.width);
                for p in places(&l).filter(|p| p.register == run[0]) {
                    let start = l.apply(p.register, p.lane, p.warp);
                    prop_assert_eq!(start[d] % v.width, 0);
                    for (i, &r) in (0..).zip(run) {
                        let mut c = start;
                        c[d] += i;
                        prop_assert_eq!(l.apply(r, p.lane, p.warp), c);
                    }
                }
                seen.extend(run.iter().map(|&r| l.apply(r, 0, 0)));
            }
            seen.sort_unstable();
            let mut all: Vec<Coord> = (0..l.registers()).map(|r| l.apply(r, 0, 0)).collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(seen, all);
        }
    }

    #[test]
    fn reductions_cover_each_element_once(l in owning_layout(0..=2), dim in 0usize..4) {
        prop_assume!(dim < l.rank());
        let Some(r) = l.reduction(dim).unwrap() else { return Ok(()) };
        let lanes: u32 = r.lane_bits.iter().map(|b| 1 << b).sum();
        let warps: u32 = r.warp_bits.iter().map(|b| 1 << b).sum();
        for p in places(&l).filter(|p| p.register < r.result.layout.registers()) {
            let mut met = Vec::new();
            let partners = (0..l.lanes()).filter(|x| x & !lanes == p.lane & !lanes);
            for lane in partners {
                for warp in (0..l.warps()).filter(|x| x & !warps == p.warp & !warps) {
                    met.extend(r.registers[p.register as usize].iter().map(|&s| l.apply(s, lane, warp)));
                }
            }
            met.sort_unstable();
            let rest = r.result.layout.apply(p.register, p.lane, p.warp);
            let want: Vec<Coord> = (0..l.shape()[dim]).map(|x| {
                let mut c = rest[..3].to_vec();
                c.insert(dim, x);
                std::array::from_fn(|i| c[i])
            }).collect();
            prop_assert_eq!(met, want);
        }
    }

    #[test]
    fn blocked_layouts_own_the_tile(s in shape(4), log in 0u32..3, warps in 0u32..3, dim in 0usize..4) {
        let dim = if s.is_empty() { 0 } else { dim % s.len() };
        let l = Layout::for_memory(&s, 1 << log, 1 << warps, dim).unwrap();
        prop_assert!(l.is_surjective());
        prop_assert_eq!((l.lanes(), l.warps()), (32, 1 << warps));
        prop_assert_eq!(l.free_bits().register, 0);
        // No thread idles while another holds two elements of the power-of-two part.
        let free = l.free_bits();
        prop_assert!((free.lane == 0 && free.warp == 0) || l.bases().register.is_empty());
    }

    #[test]
    fn composing_moves_the_linear_part(l in any_layout(), columns in prop::collection::vec(any::<u32>(), 12)) {
        let bits = l.map().out_bits();
        let map = F2Map::new(columns[..bits as usize].iter().map(|c| c & ((1 << bits) - 1)).collect(), bits);
        let moved = l.compose(&map).unwrap();
        prop_assert_eq!(moved.map(), map.compose(&l.map()));
        let order: Vec<usize> = (0..l.rank()).rev().collect();
        let pack = |c: &Coord| order.iter().rev().fold(0, |p, &d| {
            let span = l.span(d);
            p * span + c[d] % span
        });
        for p in places(&l) {
            let (a, b) = (l.apply(p.register, p.lane, p.warp), moved.apply(p.register, p.lane, p.warp));
            prop_assert_eq!(map.apply(pack(&a)), pack(&b));
            for d in 0..l.rank() {
                prop_assert_eq!(a[d] / l.span(d), b[d] / l.span(d));
            }
        }
    }
}

/// Random tiles meet reshapes that work and reductions that have a plan, so the properties above say something.
#[test]
fn random_layouts_reach_the_interesting_branches() {
    let (mut plans, mut lanes, mut none, mut vectors) = (0, 0, 0, 0);
    for seed in 1..300u64 {
        let l = dealt(&[16, 24], 2, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), (seed % 3) as u32);
        match l.reduction(1).expect("dimension 1 exists") {
            Some(r) => {
                plans += 1;
                lanes += usize::from(!r.lane_bits.is_empty() && !r.warp_bits.is_empty());
            }
            None => none += 1,
        }
        vectors += usize::from(l.vectorise(1, 2, 0, 16).width > 1);
        for to in [vec![384], vec![2, 8, 24], vec![128, 3], vec![2, 2, 4, 24], vec![16, 3, 8]] {
            let works = to != [384] && to != [128, 3];
            assert_eq!(l.reshape(&to).is_ok(), works, "{to:?}");
        }
    }
    assert!(plans > 30 && lanes > 10 && none > 30 && vectors > 30, "{plans} {lanes} {none} {vectors}");
}
