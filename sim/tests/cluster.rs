//! Clusters: distributed shared memory, remote mbarriers, multicast, bulk copies.

mod common;

use common::{Arg, Bench, options};
use tilewright_sim::{EncodeArgs, FindingKind, Options, Policy, Race};

const PTX: &str = include_str!("fixtures/cluster.ptx");

fn schedules() -> impl Iterator<Item = Options> {
    (0..30)
        .map(|seed| options([Policy::Eager, Policy::Lazy, Policy::Random][seed as usize % 3], seed, Race::On))
}

#[test]
fn blocks_read_each_other() {
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let x: Vec<f32> = (0..256).map(|i| i as f32).collect();
        let dx = bench.upload_f32(&x, "x");
        let dy = bench.machine.alloc(1024, "y");
        let report = bench.run("exchange", [4, 1, 1], 64, 0, &[Arg::U64(dx), Arg::U64(dy)], options);
        assert!(report.is_clean(), "{report}");
        let expected: Vec<f32> = (0..256).map(|i| (i ^ 64) as f32).collect();
        assert_eq!(bench.f32s(dy, 256), expected);
    }
}

#[test]
fn reading_too_early_is_found() {
    let mut bench = Bench::new(PTX);
    let dx = bench.upload_f32(&[1.0; 128], "x");
    let dy = bench.machine.alloc(512, "y");
    let report = bench.run(
        "exchange_early",
        [2, 1, 1],
        64,
        0,
        &[Arg::U64(dx), Arg::U64(dy)],
        options(Policy::Eager, 0, Race::On),
    );
    let found =
        report.findings.iter().any(|f| matches!(f.kind, FindingKind::Race | FindingKind::Uninitialised));
    assert!(found, "{report}");
}

#[test]
fn a_tile_for_two_blocks_with_a_border() {
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        // 12 rows of 16; the box of 16 rows begins 4 rows above and takes 16 columns.
        let x: Vec<f32> = (0..192).map(|i| i as f32 + 1.0).collect();
        let bias: Vec<f32> = (0..64).map(|i| 1000.0 * i as f32).collect();
        let (dx, db) = (bench.upload_f32(&x, "x"), bench.upload_f32(&bias, "bias"));
        let (sums, copy) = (bench.upload_f32(&[0.0; 256], "sums"), bench.upload_f32(&[0.0; 256], "copy"));
        let map = bench
            .machine
            .encode_tensor_map(&EncodeArgs {
                map_address: 0,
                data_type: 7,
                rank: 2,
                global_address: dx,
                global_dim: &[16, 12],
                global_strides: &[64],
                box_dim: &[16, 16],
                element_strides: &[1, 1],
                interleave: 0,
                swizzle: 0,
                l2_promotion: 0,
                oob_fill: 0,
            })
            .expect("the map should be legal");
        let args = [Arg::Map(map), Arg::U64(db), Arg::U64(sums), Arg::U64(copy)];
        let report = bench.run("multicast", [2, 1, 1], 64, 0, &args, options);
        assert!(report.is_clean(), "{report}");
        let tile: Vec<f32> = (0..256).map(|i| bias[i & 63] + if i < 64 { 0.0 } else { x[i - 64] }).collect();
        let twice: Vec<f32> = tile.iter().map(|v| 2.0 * v).collect();
        assert_eq!(bench.f32s(sums, 256), twice);
        assert_eq!(bench.f32s(copy, 256), tile);
    }
}

#[test]
fn values_sent_to_the_peer() {
    for options in schedules() {
        let mut bench = Bench::new(PTX);
        let x: Vec<u8> = (0..128u32).flat_map(|v| v.to_le_bytes()).collect();
        let dx = bench.upload(&x, "x");
        let dy = bench.machine.alloc(512, "y");
        let report = bench.run("send", [2, 1, 1], 64, 0, &[Arg::U64(dx), Arg::U64(dy)], options);
        assert!(report.is_clean(), "{report}");
        let expected: Vec<u32> = (0..128).map(|i| ((i / 64) ^ 1) * 64 + 63 - i % 64).collect();
        assert_eq!(bench.u32s(dy, 128), expected);
    }
}
