//! The Ampere path: cp.async rings, ldmatrix and mma.sync, under every policy and many schedules.

mod common;

use common::{Arg, Bench, Rng, options};
use tilewright_sim::{FindingKind, Options, Policy, Race, Report};

const PTX: &str = include_str!("fixtures/mma.ptx");

/// Runs the product and compares it, exact in single precision, with the reference.
fn matmul(ptx: &str, [m, n, k]: [usize; 3], options: Options) -> (Report, bool) {
    let mut bench = Bench::new(ptx);
    let mut rng = Rng(21);
    let a: Vec<f32> = (0..m * k).map(|_| rng.small()).collect();
    let b: Vec<f32> = (0..n * k).map(|_| rng.small()).collect();
    let (da, db) = (bench.upload_bf16(&a, "a"), bench.upload_bf16(&b, "b"));
    let dc = bench.machine.alloc((4 * m * n) as u64, "c");
    let args = [
        Arg::U64(da),
        Arg::U64(db),
        Arg::U64(dc),
        Arg::I32(m as i32),
        Arg::I32(n as i32),
        Arg::I32(k as i32),
    ];
    let grid = [n.div_ceil(64) as u32, m.div_ceil(64) as u32, 1];
    let report = bench.run("matmul", grid, 128, 0, &args, options);
    let c = bench.f32s(dc, m * n);
    let is_right = (0..m * n).all(|at| {
        let (i, j) = (at / n, at % n);
        c[at] == (0..k).map(|x| a[i * k + x] * b[j * k + x]).sum::<f32>()
    });
    (report, is_right)
}

#[test]
fn awkward_products_are_right_under_every_policy() {
    for policy in [Policy::Eager, Policy::Lazy, Policy::Random] {
        for (seed, shape) in [(0, [1, 7, 8]), (1, [64, 64, 32]), (2, [65, 129, 136])] {
            let (report, is_right) = matmul(PTX, shape, options(policy, seed, Race::Off));
            assert!(report.is_clean() && is_right, "{policy:?} {shape:?}: {report}");
        }
    }
}

#[test]
fn a_correct_kernel_raises_no_alarm_under_any_schedule() {
    for seed in 0..150 {
        let policy = [Policy::Eager, Policy::Lazy, Policy::Random][seed as usize % 3];
        let (report, is_right) = matmul(PTX, [64, 40, 168], options(policy, seed, Race::On));
        assert!(report.is_clean() && is_right, "{policy:?} seed {seed}: {report}");
    }
}

fn broken(from: &str, to: &str) -> Vec<FindingKind> {
    assert!(PTX.contains(from), "the fixture should contain `{from}`");
    let (report, _) = matmul(&PTX.replace(from, to), [64, 64, 168], options(Policy::Lazy, 1, Race::On));
    report.findings.iter().map(|f| f.kind).collect()
}

#[test]
fn a_wait_for_one_group_too_few_is_found() {
    let kinds = broken("cp.async.wait_group 1;", "cp.async.wait_group 2;");
    assert!(kinds.contains(&FindingKind::MissingWait), "{kinds:?}");
}

#[test]
fn a_missing_barrier_is_found() {
    let kinds = broken("bar.sync \t0;", "");
    assert!(kinds.contains(&FindingKind::MissingWait) || kinds.contains(&FindingKind::Race), "{kinds:?}");
}
