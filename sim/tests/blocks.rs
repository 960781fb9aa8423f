//! Threads and blocks that work together, under many schedules, and the mistakes they can make.

mod common;

use common::{Arg, Bench, Rng, options};
use tilewright_sim::{Finding, FindingKind, Options, Policy, Race};

const PTX: &str = include_str!("fixtures/blocks.ptx");

fn schedules() -> impl Iterator<Item = Options> {
    (0..40).map(|seed| options(Policy::Eager, seed, if seed % 2 == 0 { Race::On } else { Race::Off }))
}

fn bytes(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn softmax_of_rows() {
    let (rows, n) = (3, 333);
    let mut rng = Rng(2);
    let x: Vec<f32> = (0..rows * n).map(|_| 5.0 * rng.unit()).collect();
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let dx = bench.upload_f32(&x, "x");
        let dy = bench.machine.alloc(4 * x.len() as u64, "y");
        let args = [Arg::U64(dx), Arg::U64(dy), Arg::I32(n as i32)];
        let report = bench.run("softmax", [rows as u32, 1, 1], 256, 0, &args, options);
        assert!(report.is_clean(), "{report}");
        let y = bench.f32s(dy, x.len());
        for (x, y) in x.chunks(n).zip(y.chunks(n)) {
            let m = x.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = x.iter().map(|&v| f64::from(v - m).exp()).sum();
            for (x, y) in x.iter().zip(y) {
                let e = f64::from(x - m).exp() / sum;
                assert!((f64::from(*y) - e).abs() < 1e-6, "{y}, expected {e}");
            }
        }
    }
}

#[test]
fn histogram_with_atomics() {
    let n = 3000;
    let mut rng = Rng(9);
    let x: Vec<i32> = (0..n).map(|_| (rng.next() >> 33) as i32).collect();
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let (dx, bins) = (bench.upload(&bytes(&x), "x"), bench.upload(&[0; 256], "bins"));
        let args = [Arg::U64(dx), Arg::U64(bins), Arg::I32(n)];
        let report = bench.run("histogram", [5, 1, 1], 128, 0, &args, options);
        assert!(report.is_clean(), "{report}");
        let mut expected = vec![0; 64];
        x.iter().for_each(|v| expected[(v & 63) as usize] += 1);
        assert_eq!(bench.u32s(bins, 64), expected);
    }
}

#[test]
fn the_last_block_sees_what_the_others_left() {
    let n = 4000;
    let x: Vec<i32> = (0..n).map(|i| i * 37 % 101 - 50).collect();
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let dx = bench.upload(&bytes(&x), "x");
        let (partial, out, count) =
            (bench.upload(&[0; 28], "partial"), bench.upload(&[0; 4], "out"), bench.upload(&[0; 4], "count"));
        let args = [Arg::U64(dx), Arg::U64(partial), Arg::U64(out), Arg::U64(count), Arg::I32(n)];
        let report = bench.run("last_block_sum", [7, 1, 1], 96, 0, &args, options);
        assert!(report.is_clean(), "{report}");
        assert_eq!(bench.u32s(out, 1)[0] as i32, x.iter().sum::<i32>());
        assert_eq!(bench.u32s(count, 1), [0]);
    }
}

#[test]
fn blocks_may_wait_for_blocks() {
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let (turn, out) = (bench.upload(&[0; 4], "turn"), bench.upload(&[0; 64], "out"));
        let report = bench.run("relay", [16, 1, 1], 64, 0, &[Arg::U64(turn), Arg::U64(out)], options);
        assert!(report.is_clean(), "{report}");
        let expected: Vec<u32> = (1..=16).map(|b| (1 << b) - 1).collect();
        assert_eq!(bench.u32s(out, 16), expected);
    }
}

#[test]
fn a_lane_that_spins_lets_its_sister_go_on() {
    for seed in 0..6 {
        let mut bench = Bench::new(PTX);
        let (lock, value) = (bench.upload(&[0; 4], "lock"), bench.upload(&[0; 4], "value"));
        let options = options(Policy::Eager, seed, Race::Off);
        let report = bench.run("warp_lock", [2, 1, 1], 64, 0, &[Arg::U64(lock), Arg::U64(value)], options);
        assert!(report.is_clean(), "{report}");
        assert_eq!(bench.u32s(value, 1), [128]);
    }
}

#[test]
fn named_barriers_keep_two_halves_in_step() {
    let rounds = 5;
    let x: Vec<i32> = (0..64 * rounds).collect();
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let dx = bench.upload(&bytes(&x), "x");
        let dy = bench.machine.alloc(4 * x.len() as u64, "y");
        let args = [Arg::U64(dx), Arg::U64(dy), Arg::I32(rounds)];
        let report = bench.run("named_barriers", [1, 1, 1], 128, 0, &args, options);
        assert!(report.is_clean(), "{report}");
        for (i, got) in bench.u32s(dy, x.len()).into_iter().enumerate() {
            let (round, t) = (i / 64, i % 64);
            assert_eq!(got as i32, x[round * 64 + 63 - t] * 3 + 1);
        }
    }
}

/// Runs a kernel of one pointer (and a length where it takes one) that has a mistake.
fn mistake(kernel: &str, grid: u32, block: u32, options: Options) -> Vec<Finding> {
    let mut bench = Bench::new(PTX);
    let x = bench.upload(&[0; 256], "x");
    let mut args = vec![Arg::U64(x)];
    if kernel == "out_of_bounds" {
        args.push(Arg::I32(64));
    }
    bench.run(kernel, [grid, 1, 1], block, 0, &args, options).findings
}

#[test]
fn each_mistake_is_found_where_it_is() {
    let cases = [
        ("out_of_bounds", 2, 64, FindingKind::OutOfBounds),
        ("unwritten", 1, 64, FindingKind::Uninitialised),
        ("no_barrier", 1, 64, FindingKind::Race),
        ("no_warp_barrier", 1, 32, FindingKind::Race),
        ("split_barrier", 1, 64, FindingKind::Barrier),
        ("lonely_barrier", 1, 64, FindingKind::Deadlock),
        ("blocks_collide", 2, 64, FindingKind::Race),
    ];
    for (kernel, grid, block, kind) in cases {
        let findings = mistake(kernel, grid, block, options(Policy::Eager, 0, Race::On));
        assert!(findings.iter().any(|f| f.kind == kind), "{kernel}: {findings:?}");
        assert!(findings.iter().all(|f| f.source.is_some()), "{kernel}: {findings:?}");
    }
}
