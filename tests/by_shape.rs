//! Every schedule that a matrix product can get by its shape: NVRTC compiles it without spills or serialised products for sm_80 and
//! sm_90a, and on the simulated GPU it gives what the f64 reference gives, races looked for.

mod common;

use std::collections::BTreeSet;

use tilewright::prelude::bf16;
use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::ir::ViewFacts;
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::by_shape::{Gpu, Product, Way, gated_linear, linear};
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::epilogue::Epilogue;
use tilewright_kernels::matmul_split::matmul_reduce;
use tilewright_kernels::registry;
use tilewright_runtime::Device;
use tilewright_runtime::cuda::report::{Limits, Violation};
use tilewright_runtime::cuda::sass::{count_opcode, sass};
use tilewright_runtime::gpu::variant::Variant;
use tilewright_sim::{Options, Policy, Race};

use common::{has_nvrtc, is_wanted};

const GPUS: [Gpu; 2] = [Gpu { arch: Arch::Sm80, n_sms: 108 }, Gpu { arch: Arch::Sm90a, n_sms: 132 }];

/// Rows, and columns and depths of models' matrices and some narrow ones.
const ROWS: [usize; 16] = [5, 8, 16, 32, 48, 64, 80, 128, 256, 384, 512, 896, 1024, 1152, 4096, 8192];
const MATRICES: [[usize; 2]; 12] = [
    [128, 128],
    [256, 8192],
    [512, 4096],
    [1024, 1024],
    [1024, 3072],
    [2048, 1024],
    [3072, 1024],
    [4096, 4096],
    [4096, 14336],
    [6144, 4096],
    [14336, 4096],
    [128_256, 4096],
];

/// Of the epilogues those that need most of something.
const EPILOGUES: [(&str, Epilogue); 4] = [
    ("none", Epilogue::NONE),
    ("bias_residual", Epilogue::BIAS_RESIDUAL),
    ("gelu", Epilogue::GELU),
    ("bias_gelu_tanh", Epilogue::BIAS_GELU_TANH),
];

/// A kernel, an epilogue, and a schedule that some product gets.
type Choice = (&'static str, &'static str, Schedule);

/// What a GPU's products get, and the schedules that add parts.
fn choices(gpu: Gpu, epilogues: &[(&'static str, Epilogue)]) -> (BTreeSet<Choice>, BTreeSet<Schedule>) {
    let (mut all, mut sums) = (BTreeSet::new(), BTreeSet::new());
    for (m, [n, k]) in ROWS.into_iter().flat_map(|m| MATRICES.map(|matrix| (m, matrix))) {
        for &(name, epilogue) in epilogues {
            match linear::<bf16, bf16>(Product { m, n, k, epilogue }, gpu) {
                Some(Way::Tiles(schedule)) => drop(all.insert(("matmul", name, schedule))),
                Some(Way::Split { split, reduce }) => {
                    all.insert(("matmul_split", "none", split));
                    sums.insert(reduce);
                }
                Some(Way::Streamed) | None => {}
            }
        }
        let product = Product { m, n, k, epilogue: Epilogue::NONE };
        if let Some(Way::Tiles(schedule)) = gated_linear::<bf16, bf16>(product, gpu) {
            all.insert(("matmul_gated", "none", schedule));
        }
    }
    all.retain(|(kernel, ..)| is_wanted(kernel));
    (all, sums)
}

/// A problem of a choice, of so many rows, columns and steps.
fn params(kernel: &str, epilogue: &str, shape: [usize; 3]) -> CaseParams {
    let params = CaseParams::new("bf16", &shape);
    if kernel == "matmul" { params.with_option("epilogue", epilogue) } else { params }
}

/// What the compiler says against a kernel under a schedule.
fn complaints(kernel: &Kernel, schedule: &Schedule, arch: Arch) -> Vec<String> {
    let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible: 16 }, is_small: true };
    let variant = match Variant::new(kernel, schedule, arch, &vec![facts; kernel.params.len()]) {
        Ok(variant) => variant,
        Err(error) => return vec![error.to_string()],
    };
    let counts = |v: &&Violation| match v {
        Violation::Over { .. } => true,
        Violation::Note(note) => note.code.is_some_and(|code| code / 100 == 75),
    };
    let violations = variant.compiled.report.violations(&Limits::default());
    let mut all: Vec<String> = violations.iter().filter(counts).map(ToString::to_string).collect();
    let text = sass(&variant.compiled.cubin).expect("the machine code should be listed");
    if count_opcode(&text, "LDL") + count_opcode(&text, "STL") > 0 {
        all.push("touches local memory".to_owned());
    }
    all
}

#[test]
fn every_choice_compiles_into_registers() {
    if !has_nvrtc("every_choice_compiles_into_registers") {
        return;
    }
    let mut failures = Vec::new();
    for gpu in GPUS {
        let (all, sums) = choices(gpu, &EPILOGUES);
        for (name, epilogue, schedule) in all {
            let entry = registry::find(name).expect("the kernel should be registered");
            let case =
                entry.case(&params(name, epilogue, [16, 16, 16])).expect("the problem should be legal");
            for complaint in complaints(case.kernel(), &schedule, gpu.arch) {
                failures.push(format!("{name} {epilogue} \"{schedule}\" on {}: {complaint}", gpu.arch));
            }
        }
        for (schedule, (_, epilogue)) in sums.iter().flat_map(|s| EPILOGUES.map(|e| (s, e))) {
            let kernel = matmul_reduce::kernel::<bf16, bf16>(epilogue);
            for complaint in complaints(&kernel, schedule, gpu.arch) {
                failures.push(format!("matmul_reduce \"{schedule}\" on {}: {complaint}", gpu.arch));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_choice_matches_the_reference() {
    if !has_nvrtc("every_choice_matches_the_reference") {
        return;
    }
    let mut failures = Vec::new();
    for gpu in GPUS {
        let (all, _) = choices(gpu, &EPILOGUES[..2]);
        for (number, (name, epilogue, schedule)) in all.into_iter().enumerate() {
            let extent = |knob| schedule.get(knob).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
            // A row tile and a bit of the next, but for few rows, which are one; a part of each stage's ring and more.
            let rows = if extent("BM") < 64 { extent("BM") - 3 } else { extent("BM") + 9 };
            let shape = [rows, extent("BN") + 8, 64 * (extent("stages") + 1) + 8];
            let entry = registry::find(name).expect("the kernel should be registered");
            let mut case = entry.case(&params(name, epilogue, shape)).expect("the problem should be legal");
            let policy = [Policy::Eager, Policy::Lazy, Policy::Random][number % 3];
            let options = Options {
                policy,
                seed: number as u64,
                race: Race::On,
                threads: Some(1),
                ..Options::default()
            };
            let stream = Device::sim(gpu.arch, options).stream();
            let what = format!("{name} {epilogue} {shape:?} \"{schedule}\" on {}", gpu.arch);
            match case.check(&stream, &schedule) {
                Ok(report) if report.passed => {}
                Ok(report) => failures.push(format!("{what}: {} of {}", report.max_error, report.tolerance)),
                Err(error) => failures.push(format!("{what}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
