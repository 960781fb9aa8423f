//! Shared memory and conversions: every byte offset, every bank, every exchanged element.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tilewright_codegen::layout::{Bases, Conversion, Coord, Layout, SharedLayout, SharedPlan, SwizzleSpan};

use crate::common::{coords, dealt, owning_layout, owning_pair, places, shape};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn conversions_deliver_every_element((a, b) in owning_pair(), log in 0u32..4) {
        check_conversion(&a, &b, 1 << log)?;
    }

    #[test]
    fn shared_rows_and_swizzles_are_one_to_one(s in shape(3), log in 0u32..3, pad in 0u32..3, seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..s.len()).rev().collect();
        if !order.is_empty() {
            let n = order.len();
            order.rotate_left(seed as usize % n);
        }
        let rows = SharedLayout::rows(&s, 1 << log, &order, pad * 16).unwrap();
        check_shared(&rows)?;
        for span in SwizzleSpan::ALL {
            if let Ok(h) = SharedLayout::hardware(&s, 1 << log, &order, span) {
                check_shared(&h)?;
            }
        }
    }

    #[test]
    fn offset_expressions_evaluate(l in owning_layout(0..=2), log in 0u32..3) {
        let order: Vec<usize> = (0..l.rank()).rev().collect();
        let mut layouts = vec![SharedLayout::rows(l.shape(), 1 << log, &order, 16).unwrap()];
        layouts.push(SharedLayout::for_exchange(&l, &l, 1 << log).unwrap());
        layouts.extend(SwizzleSpan::ALL.iter().flat_map(|&w| SharedLayout::hardware(l.shape(), 1 << log, &order, w)));
        for s in layouts {
            if let Some(e) = s.offset_expr(&l) {
                for p in places(&l) {
                    let c = l.apply(p.register, p.lane, p.warp);
                    prop_assert_eq!(e.value(p.register, p.warp * 32 + p.lane), s.offset(&c));
                }
            }
            check_access(&s, &l)?;
        }
    }

    #[test]
    fn computed_swizzles_are_free_of_conflicts((a, b) in owning_pair(), log in 0u32..4) {
        let computed = SharedLayout::for_exchange(&a, &b, 1 << log).unwrap();
        check_shared(&computed)?;
        check_access(&computed, &a)?;
        check_access(&computed, &b)?;
        let ways = (computed.access(&a).ways, computed.access(&b).ways);
        prop_assert_eq!(ways, (1, 1), "{} and {} through {}", a, b, computed);
        let plan = SharedPlan::new(&a, &b, 1 << log).unwrap();
        check_shared(&plan.layout)?;
        prop_assert_eq!((plan.layout.access(&a), plan.layout.access(&b)), (plan.write, plan.read));
        prop_assert!(plan.bytes >= a.shape().iter().product::<u32>() << log);
        prop_assert!(plan.bytes <= computed.bytes());
    }
}

/// Offsets are distinct, aligned, inside, and found again; the text form says it all.
fn check_shared(s: &SharedLayout) -> Result<(), TestCaseError> {
    prop_assert_eq!(&s.to_string().parse::<SharedLayout>(), &Ok(s.clone()));
    let mut seen = BTreeMap::new();
    for c in coords(s.shape()) {
        let o = s.offset(&c);
        prop_assert_eq!(o % s.element_bytes(), 0);
        prop_assert!(o + s.element_bytes() <= s.bytes());
        prop_assert_eq!(seen.insert(o, c), None);
        prop_assert_eq!(s.coordinate(o), Some(c));
    }
    Ok(())
}

/// Runs are contiguous and aligned in every thread and hold each element of the thread once; the conflict count
/// agrees with a count of words per bank.
fn check_access(s: &SharedLayout, l: &Layout) -> Result<(), TestCaseError> {
    let access = s.access(l);
    let bytes = access.width * s.element_bytes();
    prop_assert!(access.width == 1 || bytes <= 16);
    let (mut ways, mut worst) = (1, 0);
    for warp in 0..l.warps() {
        let mut cycles = 0;
        for run in &access.runs {
            let starts: Vec<u32> = (0..32).map(|lane| s.offset(&l.apply(run[0], lane, warp))).collect();
            for (lane, &start) in (0..).zip(&starts) {
                prop_assert_eq!(start % bytes, 0);
                for (i, &r) in (0..).zip(run) {
                    prop_assert_eq!(s.offset(&l.apply(r, lane, warp)), start + i * s.element_bytes());
                }
            }
            let lanes = if bytes <= 4 {
                32
            } else if bytes == 8 {
                16
            } else {
                8
            };
            for phase in starts.chunks(lanes) {
                let mut banks: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
                for &o in phase {
                    for byte in o..o + bytes {
                        banks.entry(byte / 4 % 32).or_default().insert(byte / 4);
                    }
                }
                let most = banks.values().map(|w| w.len() as u32).max().unwrap_or(0);
                ways = ways.max(most);
                cycles += most;
            }
        }
        worst = worst.max(cycles);
    }
    prop_assert_eq!((access.ways, access.wavefronts), (ways, worst));
    let mut held: Vec<Coord> = access.runs.iter().flatten().map(|&r| l.apply(r, 0, 0)).collect();
    held.sort_unstable();
    let mut all: Vec<Coord> = (0..l.registers()).map(|r| l.apply(r, 0, 0)).collect();
    all.sort_unstable();
    all.dedup();
    prop_assert_eq!(held, all);
    Ok(())
}

/// Runs a plan on elements named by their coordinates.
fn check_conversion(a: &Layout, b: &Layout, bytes: u32) -> Result<(), TestCaseError> {
    let plan = Conversion::plan(a, b, bytes).unwrap();
    match &plan {
        Conversion::Identity => {
            prop_assert_eq!(a.registers(), b.registers());
            for p in places(b) {
                let (x, y) = (a.apply(p.register, p.lane, p.warp), b.apply(p.register, p.lane, p.warp));
                prop_assert_eq!(x, y);
            }
        }
        Conversion::Registers(table) => {
            prop_assert_eq!(table.len() as u32, b.registers());
            for p in places(b) {
                let from = table[p.register as usize];
                prop_assert!(from < a.registers());
                prop_assert_eq!(a.apply(from, p.lane, p.warp), b.apply(p.register, p.lane, p.warp));
            }
        }
        Conversion::Shuffles(_) | Conversion::Shared(_) => {}
    }
    if let Conversion::Shared(shared) = &plan {
        let runs: Vec<u32> = shared.read.runs.concat();
        for p in places(b) {
            let copy = shared.register[p.register as usize];
            prop_assert!(runs.contains(&copy));
            prop_assert_eq!(b.apply(copy, p.lane, p.warp), b.apply(p.register, p.lane, p.warp));
        }
        let written: BTreeSet<Coord> = places(a)
            .filter(|p| shared.write.runs.iter().flatten().any(|&r| r == p.register))
            .map(|p| a.apply(p.register, p.lane, p.warp))
            .collect();
        prop_assert_eq!(written.len() as u32, a.shape().iter().product::<u32>());
    }
    let Some(shuffles) = Conversion::by_shuffles(a, b, bytes).unwrap() else { return Ok(()) };
    prop_assert!(shuffles.unit == 1 || shuffles.unit * bytes <= 4);
    // Execute the rounds as the warp would: each lane offers one unit, reads one lane, fills one unit.
    let units = b.distinct_registers().layout.registers() / shuffles.unit;
    for warp in 0..b.warps() {
        let mut filled: Vec<Vec<Option<Vec<Coord>>>> = vec![vec![None; units as usize]; 32];
        for round in &shuffles.rounds {
            let offered: Vec<Vec<Coord>> = (0..32)
                .map(|lane| {
                    let unit = round.source.apply(warp * 32 + lane);
                    prop_assert!(unit * shuffles.unit < a.registers());
                    Ok((0..shuffles.unit).map(|i| a.apply(unit * shuffles.unit + i, lane, warp)).collect())
                })
                .collect::<Result<_, TestCaseError>>()?;
            for lane in 0..32u32 {
                let tid = warp * 32 + lane;
                let from = round.lane.apply(tid);
                prop_assert!(from < 32 && (!round.is_local() || from == lane));
                let slot = &mut filled[lane as usize][round.destination.apply(tid) as usize];
                prop_assert!(slot.is_none());
                *slot = Some(offered[from as usize].clone());
            }
        }
        for lane in 0..32 {
            for r in 0..b.registers() {
                let held = shuffles.register[r as usize];
                let unit = filled[lane as usize][(held / shuffles.unit) as usize].as_ref();
                let want = b.apply(r, lane, warp);
                prop_assert_eq!(unit.map(|u| u[(held % shuffles.unit) as usize]), Some(want));
                let (s, l) = shuffles.source_of(r, warp * 32 + lane).unwrap();
                prop_assert_eq!(a.apply(s, l, warp), want);
            }
        }
    }
    Ok(())
}

/// Two lane bits that ask the same lane for the same other register: together they agree, each alone must turn.
#[test]
fn lanes_that_agree_share_a_rotation() {
    let unit = |bit: u32| [1 << bit, 0, 0, 0];
    let zero = [0; 4];
    let layout = |register: &[_], lane: [_; 5]| {
        let bases = Bases { register: register.to_vec(), lane: lane.to_vec(), warp: vec![] };
        Layout::new(&[8], &bases).expect("the vectors fit")
    };
    let a = layout(&[unit(0)], [unit(1), unit(2), zero, zero, zero]);
    let b = layout(&[unit(1), unit(2)], [unit(0), unit(0), zero, zero, zero]);
    assert!(matches!(Conversion::by_shuffles(&a, &b, 4), Ok(Some(_))));
    check_conversion(&a, &b, 4).expect("the plan should deliver every element");
}

/// The random pairs meet every kind of conversion, and the checks above are not all of one branch.
#[test]
fn random_pairs_reach_every_kind_of_conversion() {
    let (mut kinds, mut turning, mut packed, mut wide) = ([0; 4], 0, 0, 0);
    for seed in 1..400u64 {
        let of = |salt: u64| dealt(&[16, 24], 0, seed.wrapping_mul(salt), (seed % 3) as u32);
        let (a, b) = (of(0x9e37_79b9_7f4a_7c15), of(0xd1b5_4a32_d192_ed03));
        let kind = match Conversion::plan(&a, &b, 2).expect("both own the tile") {
            Conversion::Identity => 0,
            Conversion::Registers(_) => 1,
            Conversion::Shuffles(_) => 2,
            Conversion::Shared(_) => 3,
        };
        kinds[kind] += 1;
        if let Some(s) = Conversion::by_shuffles(&a, &b, 2).expect("both own the tile") {
            turning += usize::from(s.rounds.iter().any(|r| !r.destination.is_constant()));
            packed += usize::from(s.unit == 2);
        }
        wide += usize::from(SharedPlan::new(&a, &b, 2).expect("one shape").write.width > 1);
        let with_copies = Layout::replicated(&[16, 24], 0).expect("a small tile");
        kinds[1] += usize::from(matches!(
            Conversion::plan(&a, &a.distinct_registers().layout, 2),
            Ok(Conversion::Registers(_))
        ));
        kinds[0] += usize::from(Conversion::plan(&with_copies, &with_copies, 2) == Ok(Conversion::Identity));
    }
    assert!(kinds.iter().all(|&n| n > 10), "{kinds:?}");
    assert!(turning > 10 && packed > 10 && wide > 10, "{turning} {packed} {wide}");
}
