//! What a product of 128 x 128 x 128 in bf16 costs on one core, plain and with the detection of races.
//!
//! `cargo bench -p tilewright-sim --bench gemm`. The best of rounds of launches, plain and with races in turn, in time of the
//! processor where the system tells it, so that a busy machine does not count; the aim is 2 ms plain and a ratio of 5. The fixtures are those of the tests: cp.async and mma.sync, then tensor copies and wgmma.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::OnceLock;
use std::time::Instant;

use common::{Arg, Bench, Rng, options};
use tilewright_sim::{Policy, Race};

const N: usize = 128;
const ROUNDS: usize = 5;
/// Launches of a round: the system counts a thread's time in steps of some milliseconds.
const LAUNCHES: usize = 100;

struct Product {
    name: &'static str,
    bench: Bench,
    args: Vec<Arg>,
    threads: u32,
    shared_bytes: u32,
}

fn operands(ptx: &str) -> (Bench, [u64; 2]) {
    let (mut bench, mut rng) = (Bench::new(ptx), Rng(7));
    let mut matrix = |bench: &mut Bench, name| {
        let values: Vec<f32> = (0..N * N).map(|_| rng.small()).collect();
        bench.upload_bf16(&values, name)
    };
    let places = [matrix(&mut bench, "a"), matrix(&mut bench, "b")];
    (bench, places)
}

fn before_hopper() -> Product {
    let (mut bench, [a, b]) = operands(include_str!("../tests/fixtures/mma.ptx"));
    let c = bench.machine.alloc((4 * N * N) as u64, "c");
    let n = N as i32;
    let args = vec![Arg::U64(a), Arg::U64(b), Arg::U64(c), Arg::I32(n), Arg::I32(n), Arg::I32(n)];
    Product { name: "cp.async, mma.sync", bench, args, threads: 128, shared_bytes: 0 }
}

fn hopper() -> Product {
    let (mut bench, [a, b]) = operands(include_str!("../tests/fixtures/wgmma.ptx"));
    let c = bench.machine.alloc((2 * N * N) as u64, "c");
    let [a, b, c] = [a, b, c].map(|at| Arg::Map(bench.map_2d(at, N as u64, N as u64, [64, 64], 3)));
    let args = vec![a, b, c, Arg::I32(N as i32)];
    Product { name: "TMA, wgmma", bench, args, threads: 160, shared_bytes: 5 * 8192 + 64 }
}

/// Milliseconds that this thread has run on a processor; of the clock where the system does not tell.
fn now_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let run_ns = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    run_ns.map_or_else(|| START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3, |ns| ns / 1e6)
}

fn main() {
    for product in [before_hopper(), hopper()] {
        let Product { name, bench, args, threads, shared_bytes } = &product;
        let grid = [(N / 64) as u32, (N / 64) as u32, 1];
        let mut shortest_ms = [f64::INFINITY; 2];
        for _ in 0..ROUNDS {
            for (best, race) in shortest_ms.iter_mut().zip([Race::Off, Race::On]) {
                let start = now_ms();
                for _ in 0..LAUNCHES {
                    let options = options(Policy::Eager, 0, race);
                    let report = bench.run("matmul", grid, *threads, *shared_bytes, args, options);
                    assert!(report.is_clean(), "{report}");
                }
                *best = best.min((now_ms() - start) / LAUNCHES as f64);
            }
        }
        let [plain, races] = shortest_ms;
        println!("{name}: {plain:.2} ms plain, {races:.2} ms with races, ratio {:.1}", races / plain);
    }
}
