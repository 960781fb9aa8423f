//! Criterion micro-benchmarks of what a launch is made of: its overhead, specialisation, the dot micro-kernel, an elementwise strip.
//!
//! `cargo bench --bench micro`, or `cargo bench --bench micro -- dot` for a part. Ratios to limits and peers are the business of
//! `cargo xtask bench-cpu`; these show whether a change made a part slower.

#![allow(unsafe_code, reason = "times SIMD micro-kernels on their own")]
#![allow(missing_docs, reason = "criterion's macro makes an undocumented function")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tilewright::codegen::cpu::micro::{self, Arg, Isa};
use tilewright::codegen::ir::{BinaryOp, DType};
use tilewright::kernels::cases::CaseParams;
use tilewright::kernels::epilogue::Epilogue;
use tilewright::kernels::matmul::{Layout, matmul};
use tilewright::kernels::registry;
use tilewright::prelude::*;

/// A cached kernel of one program over a few elements: what a launch costs before it does anything.
fn launch(c: &mut Criterion) {
    let stream = Device::cpu(0).stream();
    let entry = registry::find("rms_norm").expect("rms_norm should be registered");
    let mut case = entry.case(&CaseParams::new("f32", &[1, 8])).expect("the case should be made");
    let schedule = case.kernel().default.clone();
    c.bench_function("launch of a cached kernel", |b| {
        b.iter(|| case.run(&stream, &schedule).expect("the kernel should run"));
    });
}

/// From a kernel and a schedule to a compiled program, nothing cached.
fn specialise(c: &mut Criterion) {
    let kernel = matmul::kernel::<f32, f32>(Epilogue::NONE, Layout::OutIn);
    c.bench_function("specialise and compile matmul", |b| {
        b.iter(|| tilewright::runtime::launch::compile(black_box(&kernel), &kernel.default, Isa::detect()));
    });
}

/// Products of operands that stay in the first two caches; throughput counts multiply-adds.
fn dot(c: &mut Criterion) {
    let isa = Isa::detect();
    let mut group = c.benchmark_group("dot f32");
    for [m, n, k] in [[64, 64, 64], [128, 128, 64], [6, 64, 256]] {
        let (a, b, mut y) = (vec![0.5f32; m * k], vec![0.25f32; k * n], vec![0f32; m * n]);
        group.throughput(Throughput::Elements((m * n * k) as u64));
        group.bench_function(format!("{m}x{n}x{k}"), |bench| {
            bench.iter(|| {
                let (width, y) = (isa.panel_width(), y.as_mut_ptr());
                // SAFETY: the three matrices have the extents that are passed, row-major.
                unsafe { micro::gemm_f32(isa, m, n, k, a.as_ptr(), k, b.as_ptr(), width, n, y, n) };
            });
        });
    }
    group.finish();
}

/// One strip of 1024 elements through an operation, in the first-level cache.
fn strip(c: &mut Criterion) {
    const N: usize = 1024;
    let isa = Isa::detect();
    let (x, mut y) = (vec![0.75f32; N], vec![0f32; N]);
    let (x, y) = (Arg::Row(x.as_ptr().cast()), y.as_mut_ptr());
    let mut group = c.benchmark_group("strip f32");
    group.throughput(Throughput::Elements(N as u64));
    for op in [BinaryOp::Add, BinaryOp::Max, BinaryOp::Div] {
        group.bench_function(op.mnemonic(), |bench| {
            // SAFETY: both strips have N elements; the instruction set was detected.
            bench.iter(|| unsafe { micro::binary(isa, op, DType::F32, y.cast(), x, x, N) });
        });
    }
    group.bench_function("exp_sub", |bench| {
        // SAFETY: as above.
        bench.iter(|| unsafe { micro::exp_sub(isa, y, x, x, N) });
    });
    group.finish();
}

criterion_group!(benches, launch, specialise, dot, strip);
criterion_main!(benches);
