//! Our operations on this CPU: one JSON object, name -> best and median seconds, with the share of the measured limit where one binds.
//!
//! The names are those of `benches/peers/ops.py`. Schedules come from the tuning records, as in the executor. Kernels that stream
//! weights cycle through more than 256 MB of them. The FMA limit is measured before and after, and the better one counts. The
//! memory limit is measured in turn with the operation, and the share is the median over the turns, each against the better of
//! the two passes that enclose it: a shared machine's memory changes its rate from one second to the next.
//! Run with `cargo bench --bench cpu_ops -- [--seconds S] [--only PART]`.

#![allow(unsafe_code, reason = "times the matrix micro-kernel on its own")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its measurements")]

use std::time::Instant;

use serde_json::{Map, Value, json};
use tilewright::codegen::cpu::micro::{Isa, ceiling, gemm_f32};
use tilewright::codegen::schedule::TargetKind;
use tilewright::kernels::cases::{Case, CaseParams};
use tilewright::kernels::registry;
use tilewright::prelude::*;
use tilewright_autotune::ceiling::ReadCeiling;
use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::kernels::{complete, free_space};
use tilewright_autotune::library::Library;
use tilewright_autotune::problem::{Bucket, Subject};

/// Weights that a matrix-vector benchmark cycles through.
const COLD_BYTES: usize = 256 << 20;

struct Options {
    seconds: f64,
    only: String,
}

fn options() -> Options {
    let mut options = Options { seconds: 3.0, only: String::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => options.seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(3.0),
            "--only" => options.only = args.next().unwrap_or_default(),
            // `cargo bench` adds this one.
            _ => {}
        }
    }
    options
}

/// Best and median seconds of one call, over samples of at least a fifth of a millisecond.
fn time(seconds: f64, mut run: impl FnMut()) -> (f64, f64) {
    run();
    let once = Instant::now();
    run();
    let inner = (2e-4 / once.elapsed().as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e6) as usize;
    let started = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < 5 || started.elapsed().as_secs_f64() < seconds {
        let sample = Instant::now();
        for _ in 0..inner {
            run();
        }
        samples.push(sample.elapsed().as_secs_f64() / inner as f64);
    }
    let median = median(&mut samples);
    (samples[0], median)
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// What a benchmark is measured against.
#[derive(Clone, Copy)]
enum Limit {
    None,
    /// Floating-point operations against the FMA peak of this many threads.
    Fma(f64),
    /// Bytes against the rate at which all threads read memory at the same time.
    Memory(f64),
}

struct Bench {
    options: Options,
    isa: Isa,
    threads: usize,
    core_gflops: f64,
    memory: ReadCeiling,
    memory_gbs: f64,
    results: Map<String, Value>,
}

impl Bench {
    fn measure_core(&mut self) {
        self.core_gflops = self.core_gflops.max(ceiling::fma_peak_gflops(self.isa));
    }

    fn add(&mut self, name: &str, limit: Limit, threads: usize, mut run: impl FnMut()) {
        if !name.contains(&self.options.only) {
            return;
        }
        let (best, median, share) = match limit {
            Limit::None | Limit::Fma(_) => {
                let (best, median) = time(self.options.seconds, run);
                (best, median, None)
            }
            Limit::Memory(bytes) => {
                let (best, median, share) = self.time_against_memory(bytes, &mut run);
                (best, median, Some(share))
            }
        };
        let mut entry = json!({ "best_s": best, "median_s": median });
        let share = match limit {
            Limit::None => None,
            Limit::Fma(flops) => {
                entry["gflop_per_s"] = json!(flops / best / 1e9);
                Some(flops / best / 1e9 / (self.core_gflops * threads as f64))
            }
            Limit::Memory(bytes) => {
                entry["gb_per_s"] = json!(bytes / best / 1e9);
                share
            }
        };
        if let Some(share) = share {
            entry["of_limit"] = json!(share);
        }
        eprintln!(
            "{name}: {best:.3e} s{}",
            share.map_or(String::new(), |s| format!(", {:.1} % of the limit", 100.0 * s))
        );
        self.results.insert(name.to_owned(), entry);
    }

    /// Best and median seconds of a call that reads `bytes` from memory, and its median share of the memory's rate.
    fn time_against_memory(&mut self, bytes: f64, run: &mut dyn FnMut()) -> (f64, f64, f64) {
        run();
        let started = Instant::now();
        let (mut samples, mut shares) = (Vec::new(), Vec::new());
        let mut before = self.memory.pass();
        while shares.len() < 5 || started.elapsed().as_secs_f64() < self.options.seconds {
            let turn = Instant::now();
            for _ in 0..4 {
                let sample = Instant::now();
                run();
                samples.push(sample.elapsed().as_secs_f64());
            }
            let rate = 4.0 * bytes / turn.elapsed().as_secs_f64();
            let after = self.memory.pass();
            shares.push(rate / before.max(after));
            self.memory_gbs = self.memory_gbs.max(after / 1e9);
            before = after;
        }
        let median_s = median(&mut samples);
        (samples[0], median_s, median(&mut shares))
    }

    /// One case of the kernel registry under its recorded schedule, or its default.
    fn case(&mut self, name: &str, kernel: &str, params: &CaseParams, stream: &Stream, bound: Bound) {
        if !name.contains(&self.options.only) {
            return;
        }
        let Some(entry) = registry::find(kernel) else { return eprintln!("{name}: no kernel {kernel}") };
        let mut case = match entry.case(params) {
            Ok(case) => case,
            Err(error) => return eprintln!("{name}: {error}"),
        };
        let schedule = schedule(case.as_ref(), entry, params);
        let limit = match bound {
            Bound::Fma => Limit::Fma(case.flops()),
            Bound::Memory => Limit::Memory(case.bytes()),
            Bound::None => Limit::None,
        };
        let mut failed = None;
        let threads = self.threads;
        self.add(name, limit, threads, || {
            if let Err(error) = case.run(stream, &schedule) {
                failed = Some(error);
            }
        });
        if let Some(error) = failed {
            eprintln!("{name}: {error}");
            self.results.remove(name);
        }
    }
}

#[derive(Clone, Copy)]
enum Bound {
    Fma,
    Memory,
    None,
}

fn schedule(case: &dyn Case, entry: &registry::Entry, params: &CaseParams) -> Schedule {
    let kernel = case.kernel();
    let space = free_space(kernel, TargetKind::Cpu);
    let subject = Subject { kernel: kernel.name, source_hash: kernel.source.hash, space: &space };
    let extents: Vec<(&str, i64)> =
        entry.shape_names.iter().copied().zip(params.shape.iter().map(|&n| n as i64)).collect();
    let bucket = entry.options.iter().fold(Bucket::new(&params.dtype, &extents), |bucket, (name, values)| {
        bucket.with_option(name, params.options.get(*name).map_or(values[0], String::as_str))
    });
    let lookup = Library::for_user().lookup(&subject, &bucket, &Fingerprint::host_cpu());
    lookup.schedule().map_or_else(|| kernel.default.clone(), |free| complete(kernel, TargetKind::Cpu, free))
}

/// The matrix micro-kernel on operands that stay in cache, one core.
fn micro(bench: &mut Bench) {
    let (isa, width) = (bench.isa, bench.isa.panel_width());
    for (m, n, k) in [(64, 64, 64), (128, 128, 64)] {
        let a = vec![0.5f32; m * k];
        let b = vec![0.25f32; k * n];
        let mut c = vec![0f32; m * n];
        let flops = (2 * m * n * k) as f64;
        bench.add(&format!("dot_f32_{m}x{n}x{k}"), Limit::Fma(flops), 1, || {
            // SAFETY: the three matrices have the extents that are passed, row-major.
            unsafe { gemm_f32(isa, m, n, k, a.as_ptr(), k, b.as_ptr(), width, n, c.as_mut_ptr(), n) };
        });
    }
}

/// What a kernel costs before its first and before its next instruction.
fn overheads(bench: &mut Bench, stream: &Stream) {
    let kernel = tilewright::kernels::matmul::matmul::kernel::<f32, f32>(
        tilewright::kernels::epilogue::Epilogue::NONE,
        tilewright::kernels::matmul::Layout::OutIn,
    );
    let isa = bench.isa;
    bench.add("specialise_matmul", Limit::None, 1, || {
        let compiled = tilewright::runtime::launch::compile(&kernel, &kernel.default, isa);
        assert!(compiled.is_ok(), "the default schedule should compile");
    });
    let params = CaseParams::new("f32", &[1, 8]);
    bench.case("launch_cached", "rms_norm", &params, stream, Bound::None);
}

fn main() {
    let options = options();
    let stream = Device::cpu(0).stream();
    let threads = stream.device().threads();
    let isa = stream.device().isa();
    let memory = match ReadCeiling::new(stream.device()) {
        Ok(memory) => memory,
        Err(error) => return eprintln!("the memory limit cannot be measured: {error}"),
    };
    let (core_gflops, memory_gbs, results) = (0.0, 0.0, Map::new());
    let mut bench = Bench { options, isa, threads, core_gflops, memory, memory_gbs, results };
    bench.measure_core();
    micro(&mut bench);
    overheads(&mut bench, &stream);
    for layout in ["nn", "nt"] {
        let stored = if layout == "nn" { "kn" } else { "nk" };
        for (dtype, name) in [("f32", "f32"), ("f32_bf16", "bf16")] {
            let params = CaseParams::new(dtype, &[2048, 2048, 2048]).with_option("layout", stored);
            bench.case(
                &format!("matmul_{name}_{layout}_2048x2048x2048"),
                "matmul",
                &params,
                &stream,
                Bound::Fma,
            );
        }
    }
    for (rows, columns) in [(4096usize, 4096usize), (11008, 4096)] {
        for (dtype, name, size) in [("f32", "f32", 4), ("f32_bf16", "bf16", 2)] {
            let mut params = CaseParams::new(dtype, &[1, rows, columns]);
            params.copies = COLD_BYTES / (rows * columns * size) + 1;
            bench.case(&format!("matvec_{name}_{rows}x{columns}"), "matvec", &params, &stream, Bound::Memory);
        }
    }
    for (rows, columns) in [(64, 1024), (4096, 1024), (4096, 4096)] {
        for kernel in ["softmax", "rms_norm"] {
            let params = CaseParams::new("f32", &[rows, columns]);
            bench.case(&format!("{kernel}_f32_{rows}x{columns}"), kernel, &params, &stream, Bound::None);
        }
    }
    for length in [1024, 2048] {
        for mask in ["causal", "full"] {
            let params = CaseParams::new("f32", &[length, length, 8, 1, 64]).with_option("mask", mask);
            bench.case(
                &format!("attention_f32_s{length}_h8_d64_{mask}"),
                "attention",
                &params,
                &stream,
                Bound::Fma,
            );
        }
    }
    bench.measure_core();
    bench.results.insert(
        "limits".into(),
        json!({ "core_fma_gflop_per_s": bench.core_gflops, "memory_read_gb_per_s": bench.memory_gbs, "threads": threads, "isa": isa.name() }),
    );
    println!("{}", Value::Object(bench.results));
}
