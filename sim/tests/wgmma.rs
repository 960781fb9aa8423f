//! The Hopper path: TMA, mbarriers and wgmma in one kernel, under every policy and many schedules.

mod common;

use common::{Arg, Bench, Rng, options};
use tilewright_sim::{FindingKind, Options, Policy, Race, Report};

const PTX: &str = include_str!("fixtures/wgmma.ptx");
const SHARED: u32 = 5 * 8192 + 64;

/// Runs the product and compares it, exact in single precision, with the reference.
fn matmul(ptx: &str, [m, n, k]: [usize; 3], options: Options) -> (Report, bool) {
    let mut bench = Bench::new(ptx);
    let mut rng = Rng(7);
    let a: Vec<f32> = (0..m * k).map(|_| rng.small()).collect();
    let b: Vec<f32> = (0..n * k).map(|_| rng.small()).collect();
    let (da, db) = (bench.upload_bf16(&a, "a"), bench.upload_bf16(&b, "b"));
    let dc = bench.machine.alloc((2 * m * n) as u64, "c");
    let maps = [(da, m, k), (db, n, k), (dc, m, n)]
        .map(|(at, rows, columns)| bench.map_2d(at, rows as u64, columns as u64, [64, 64], 3));
    let args = [Arg::Map(maps[0]), Arg::Map(maps[1]), Arg::Map(maps[2]), Arg::I32(k as i32)];
    let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
    let report = bench.run("matmul", grid, 160, SHARED, &args, options);
    let c = bench.bf16s(dc, m * n);
    let is_right = (0..m * n).all(|at| {
        let (i, j) = (at / n, at % n);
        let sum: f32 = (0..k).map(|x| a[i * k + x] * b[j * k + x]).sum();
        c[at] == half::bf16::from_f32(sum).to_f32()
    });
    (report, is_right)
}

#[test]
fn the_product_is_right_under_every_policy() {
    for policy in [Policy::Eager, Policy::Lazy, Policy::Random] {
        for (seed, shape) in [(0, [64, 64, 320]), (3, [72, 136, 200])] {
            let (report, is_right) = matmul(PTX, shape, options(policy, seed, Race::Off));
            assert!(report.is_clean(), "{policy:?} {shape:?}: {report}");
            assert!(is_right, "{policy:?} {shape:?}");
        }
    }
}

#[test]
fn a_correct_kernel_raises_no_alarm_under_any_schedule() {
    for seed in 0..150 {
        let policy = [Policy::Eager, Policy::Lazy, Policy::Random][seed as usize % 3];
        let (report, is_right) = matmul(PTX, [64, 72, 320], options(policy, seed, Race::On));
        assert!(report.is_clean() && is_right, "{policy:?} seed {seed}: {report}");
    }
}

/// The fixture with one line changed, and what must be found in it.
fn broken(from: &str, to: &str) -> String {
    assert!(PTX.contains(from), "the fixture should contain `{from}`");
    PTX.replace(from, to)
}

/// Kinds found under any policy, and whether any result was wrong.
fn verdict(ptx: &str) -> (Vec<FindingKind>, bool) {
    let mut kinds = Vec::new();
    let mut is_wrong = false;
    for policy in [Policy::Eager, Policy::Lazy, Policy::Random] {
        let (report, is_right) = matmul(ptx, [64, 64, 320], options(policy, 1, Race::On));
        kinds.extend(report.findings.iter().map(|f| f.kind));
        is_wrong |= !is_right;
    }
    kinds.sort_unstable();
    kinds.dedup();
    (kinds, is_wrong)
}

#[test]
fn a_missing_proxy_fence_is_found() {
    let (kinds, _) = verdict(&broken("fence.proxy.async.shared::cta;", ""));
    assert_eq!(kinds, [FindingKind::MissingProxyFence]);
}

#[test]
fn an_accumulator_changed_after_the_fence_is_found() {
    let start = PTX.find("wgmma.mma_async").expect("the fixture multiplies");
    let list = &PTX[start..];
    let register = &list[list.find('{').expect("a list") + 1..list.find(',').expect("a list")];
    let fence = "wgmma.fence.sync.aligned;";
    let (kinds, _) =
        verdict(&broken(fence, &format!("{fence}\nadd.f32 {register}, {register}, {register};")));
    assert_eq!(kinds, [FindingKind::MissingWait]);
}

#[test]
fn a_missing_wait_for_the_product_is_found() {
    let (kinds, _) = verdict(&broken("wgmma.wait_group.sync.aligned 0;", ""));
    assert!(kinds.contains(&FindingKind::MissingWait), "{kinds:?}");
}

#[test]
fn a_barrier_that_expects_too_few_bytes_is_found() {
    let (kinds, is_wrong) = verdict(&broken("%r164, 16384;", "%r164, 8192;"));
    assert!(is_wrong || !kinds.is_empty(), "{kinds:?}");
}

#[test]
fn a_missing_block_barrier_is_found() {
    let (kinds, _) = verdict(&broken("bar.sync 1, 128;", ""));
    assert!(
        kinds.contains(&FindingKind::Race) || kinds.contains(&FindingKind::MissingProxyFence),
        "{kinds:?}"
    );
}

#[test]
fn a_missing_store_wait_is_found() {
    let (kinds, _) = verdict(&broken("cp.async.bulk.wait_group 0;", ""));
    assert!(kinds.contains(&FindingKind::MissingWait), "{kinds:?}");
}

#[test]
fn a_barrier_nobody_arrives_at_is_a_deadlock() {
    let (kinds, _) = verdict(&broken("mbarrier.arrive.shared::cta.b64 _,", "mbarrier.inval.shared::cta.b64"));
    assert!(!kinds.is_empty(), "{kinds:?}");
}
