//! The machine code that NVRTC makes of the kernels holds the instructions that the lowering meant: matrix units, asynchronous
//! copies, tensor maps, wide accesses; and nothing lies in local memory.
//!
//! Kernels are compiled for whole, aligned buffers at their default schedules, as a launch on such compiles them.
//! `TILEWRIGHT_KERNEL=name` checks one kernel.

mod common;

use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::ir::ViewFacts;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry;
use tilewright_runtime::cuda::report::{Limits, Violation};
use tilewright_runtime::cuda::sass::{count_opcode, sass};
use tilewright_runtime::gpu::variant::Variant;

use common::{has_nvrtc, is_wanted};

/// What a listing must hold.
struct Expected {
    arch: Arch,
    kernel: &'static str,
    dtype: &'static str,
    shape: &'static [usize],
    /// Each is the beginning of an opcode.
    opcodes: &'static [&'static str],
}

const fn expected(
    arch: Arch,
    kernel: &'static str,
    dtype: &'static str,
    shape: &'static [usize],
    opcodes: &'static [&'static str],
) -> Expected {
    Expected { arch, kernel, dtype, shape, opcodes }
}

const PRODUCT: &[usize] = &[256, 256, 256];

/// Warpgroup products fed by tensor copies.
const HOPPER: &[&str] = &["HGMMA", "UTMALDG"];

/// Warp products fed by asynchronous copies.
const AMPERE: &[&str] = &["LDGSTS", "LDSM", "HMMA"];

const WIDE: &[&str] = &["LDG.E.128", "STG.E.128"];

/// Keys and values through a ring of copies 16 bytes wide to matrix instructions.
const DECODE: &[&str] = &["LDGSTS.E.BYPASS.LTC128B.128", "LDSM", "HMMA"];

const MATRIX: &[Expected] = &[
    // Two warpgroups multiply, a third copies and gives registers up to them; the result leaves by a tensor copy.
    expected(Arch::Sm90a, "matmul", "bf16", PRODUCT, &["HGMMA", "UTMALDG", "UTMASTG", "USETMAXREG"]),
    expected(Arch::Sm90a, "matmul", "f16", PRODUCT, &["HGMMA", "UTMALDG", "UTMASTG", "USETMAXREG"]),
    expected(Arch::Sm90a, "matmul_gated", "bf16", PRODUCT, HOPPER),
    expected(Arch::Sm90a, "attention", "bf16", &[256, 256, 2, 2, 128], HOPPER),
    expected(Arch::Sm90a, "attention", "bf16", &[256, 256, 2, 1, 64], HOPPER),
    expected(Arch::Sm80, "matmul", "bf16", PRODUCT, AMPERE),
    expected(Arch::Sm80, "matmul", "f16", PRODUCT, AMPERE),
    expected(Arch::Sm80, "matmul_gated", "bf16", PRODUCT, AMPERE),
    expected(Arch::Sm80, "attention", "bf16", &[256, 256, 2, 2, 128], AMPERE),
    // Head sizes of larger models.
    expected(Arch::Sm90a, "attention", "bf16", &[256, 256, 2, 1, 192], HOPPER),
    expected(Arch::Sm90a, "attention", "bf16", &[256, 256, 2, 2, 256], HOPPER),
    expected(Arch::Sm80, "attention", "bf16", &[256, 256, 2, 1, 192], AMPERE),
    expected(Arch::Sm80, "attention", "bf16", &[256, 256, 2, 2, 256], AMPERE),
    expected(Arch::Sm90a, "attention_paged", "bf16", &[1, 256, 0, 2, 2, 192], AMPERE),
    expected(Arch::Sm80, "attention_paged", "bf16", &[1, 256, 0, 2, 2, 256], AMPERE),
    expected(Arch::Sm90a, "attention_decode", "bf16", &[1, 4096, 8, 4, 192, 16], DECODE),
    expected(Arch::Sm80, "attention_decode", "bf16", &[1, 4096, 8, 8, 256, 16], DECODE),
    // All query heads of a key/value head in one program, which reads keys and values once.
    expected(Arch::Sm90a, "attention_decode", "bf16", &[1, 4096, 8, 4, 128, 16], DECODE),
    expected(Arch::Sm90a, "attention_decode", "f16", &[4, 4096, 8, 8, 128, 1], DECODE),
    expected(Arch::Sm80, "attention_decode", "bf16", &[1, 4096, 8, 4, 128, 16], DECODE),
    expected(Arch::Sm80, "attention_decode", "bf16", &[4, 4096, 8, 1, 64, 1], DECODE),
];

const MEMORY: &[Expected] = &[
    expected(Arch::Sm90a, "rms_norm", "bf16", &[64, 1024], WIDE),
    expected(Arch::Sm80, "rms_norm", "f32", &[64, 1024], WIDE),
    expected(Arch::Sm90a, "softmax", "bf16", &[64, 1024], WIDE),
    expected(Arch::Sm80, "softmax", "f32", &[64, 1024], WIDE),
    expected(Arch::Sm90a, "swiglu", "bf16", &[64, 3072], WIDE),
    expected(Arch::Sm80, "swiglu", "f32", &[64, 3072], WIDE),
    expected(Arch::Sm90a, "embedding", "bf16", &[64, 512, 1024], WIDE),
    expected(Arch::Sm80, "embedding", "f32", &[64, 512, 1024], WIDE),
    // A result is one number per column of weights: only reads are many.
    expected(Arch::Sm90a, "matvec", "bf16", &[1, 512, 1024], &["LDG.E.128"]),
    expected(Arch::Sm80, "matvec", "f32", &[1, 512, 1024], &["LDG.E.128"]),
    expected(Arch::Sm90a, "attention_decode", "f32", &[1, 4096, 8, 4, 128, 16], &["LDG.E.128"]),
    expected(Arch::Sm80, "attention_decode", "f32_bf16", &[1, 4096, 8, 4, 128, 16], &["LDG.E.128"]),
];

/// Points that only products of many tiles are worth, on sm_90a; see `LADDER` of `tests/sim.rs`.
type Ladder = (&'static str, &'static str, &'static [(&'static str, i64)], &'static [&'static str]);

const LADDER: &[Ladder] = &[
    (
        "matmul",
        "bf16",
        &[("BN", 256), ("stages", 4), ("persistent", 1)],
        &["HGMMA.64x256x16", "UTMALDG", "UTMASTG", "USETMAXREG"],
    ),
    ("matmul", "f16", &[("BN", 192), ("stages", 4), ("persistent", 1)], &["HGMMA.64x192x16", "UTMASTG"]),
    (
        "matmul",
        "bf16",
        &[("BN", 256), ("stages", 4), ("persistent", 1), ("cluster", 2)],
        &["HGMMA.64x256x16", "UTMALDG.2D.MULTICAST", "UTMASTG", "USETMAXREG"],
    ),
    ("matmul", "bf16", &[("dependent", 1)], &["HGMMA", "ACQBULK", "PREEXIT"]),
    ("matmul_split", "bf16", &[("split_k", 8)], &["HGMMA", "UTMALDG"]),
    (
        "matmul_gated",
        "bf16",
        &[("BN", 128), ("stages", 4), ("persistent", 1)],
        &["HGMMA.64x128x16", "UTMALDG", "UTMASTG", "USETMAXREG"],
    ),
];

/// A problem's kernel under a schedule, by default its own, for whole, aligned buffers.
fn variant(arch: Arch, kernel: &str, params: &CaseParams, schedule: Option<&Schedule>) -> Variant {
    let entry = registry::find(kernel).unwrap_or_else(|| panic!("{kernel} should be registered"));
    let case = entry.case(params).unwrap_or_else(|e| panic!("{kernel} {params:?}: {e}"));
    let kernel = case.kernel();
    let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible: 16 }, is_small: true };
    let args = vec![facts; kernel.params.len()];
    Variant::new(kernel, schedule.unwrap_or(&kernel.gpu.default), arch, &args)
        .unwrap_or_else(|e| panic!("{} {params:?} on {arch}: {e}", kernel.name))
}

/// Its machine code.
fn listing(arch: Arch, kernel: &str, params: &CaseParams, schedule: Option<&Schedule>) -> String {
    let variant = variant(arch, kernel, params, schedule);
    sass(&variant.compiled.cubin).unwrap_or_else(|e| panic!("{kernel} on {arch}: {e}"))
}

/// Loads and stores of local memory, which is where registers that do not fit go.
fn local_accesses(text: &str) -> usize {
    ["LDL", "STL"].iter().map(|prefix| count_opcode(text, prefix)).sum()
}

/// Compares listings with what they must hold.
fn check(all: &[Expected]) {
    let mut failures = Vec::new();
    for Expected { arch, kernel, dtype, shape, opcodes } in all.iter().filter(|e| is_wanted(e.kernel)) {
        let text = listing(*arch, kernel, &CaseParams::new(dtype, shape), None);
        let mut missing: Vec<&str> =
            opcodes.iter().copied().filter(|o| count_opcode(&text, o) == 0).collect();
        if local_accesses(&text) > 0 {
            missing.push("freedom from LDL and STL");
        }
        if !missing.is_empty() {
            failures.push(format!("{kernel} {dtype} {shape:?} on {arch} lacks {}", missing.join(", ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn products_and_attention_use_matrix_units_and_asynchronous_copies() {
    if has_nvrtc("products_and_attention_use_matrix_units_and_asynchronous_copies") {
        check(MATRIX);
    }
}

#[test]
fn the_largest_tiles_stay_in_registers() {
    if !has_nvrtc("the_largest_tiles_stay_in_registers") {
        return;
    }
    let mut failures = Vec::new();
    for (kernel, dtype, knobs, opcodes) in LADDER.iter().filter(|l| is_wanted(l.0)) {
        let params = CaseParams::new(dtype, PRODUCT);
        let case = registry::find(kernel).and_then(|entry| entry.case(&params).ok());
        let default =
            case.unwrap_or_else(|| panic!("{kernel} should have a case")).kernel().gpu.default.clone();
        let schedule = knobs.iter().fold(default, |schedule, &(knob, n)| schedule.with(knob, n));
        let variant = variant(Arch::Sm90a, kernel, &params, Some(&schedule));
        let text = sass(&variant.compiled.cubin).unwrap_or_else(|e| panic!("{kernel}: {e}"));
        let mut wrong: Vec<String> =
            opcodes.iter().filter(|o| count_opcode(&text, o) == 0).map(|o| format!("lacks {o}")).collect();
        let limits = Limits::default();
        // Of the compiler's remarks, those of serialised products; not those of unused variables.
        let counts = |v: &&Violation| match v {
            Violation::Over { .. } => true,
            Violation::Note(note) => note.code.is_some_and(|code| code / 100 == 75),
        };
        let violations = variant.compiled.report.violations(&limits);
        wrong.extend(violations.iter().filter(counts).map(ToString::to_string));
        if local_accesses(&text) > 0 {
            wrong.push("touches local memory".to_owned());
        }
        if !wrong.is_empty() {
            failures.push(format!("{kernel} {dtype} \"{schedule}\": {}", wrong.join(", ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn memory_bound_kernels_access_sixteen_bytes_at_once() {
    if has_nvrtc("memory_bound_kernels_access_sixteen_bytes_at_once") {
        check(MEMORY);
    }
}

#[test]
fn no_default_touches_local_memory() {
    if !has_nvrtc("no_default_touches_local_memory") {
        return;
    }
    let mut failures = Vec::new();
    for (number, entry) in registry::all().iter().enumerate().filter(|(_, e)| is_wanted(e.name)) {
        let dtype = entry.dtypes[number % entry.dtypes.len()];
        let shape = entry.test_shapes[entry.test_shapes.len() - 1];
        for arch in [Arch::Sm80, Arch::Sm90a] {
            let n = local_accesses(&listing(arch, entry.name, &CaseParams::new(dtype, shape), None));
            if n > 0 {
                failures.push(format!("{} {dtype} {shape:?} on {arch}: {n} LDL or STL", entry.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The lines between the two waits of a loop that starts both products of attention.
fn between_waits(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let waits: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].contains("WARPGROUP.DEPBAR")).collect();
    let pair =
        waits.windows(2).map(|w| &lines[w[0]..w[1]]).max_by_key(|l| count_opcode(&l.join("\n"), "MUFU.EX2"));
    pair.unwrap_or_default().to_vec()
}

#[test]
fn weights_are_computed_while_the_other_product_runs() {
    if !has_nvrtc("weights_are_computed_while_the_other_product_runs") || !is_wanted("attention") {
        return;
    }
    let schedule = |size: usize| {
        let entry = registry::find("attention").expect("attention should be registered");
        let params = CaseParams::new("bf16", &[256, 256, 1, 1, size]).with_option("mask", "full");
        let case = entry.case(&params).expect("the problem should be legal");
        let knobs = [("BQ", 128), ("BN", 128), ("warps", 8), ("stages", 2), ("pingpong", 1)];
        knobs.iter().fold(case.kernel().gpu.default.clone(), |s, (knob, value)| s.with(knob, *value))
    };
    for size in [64, 128] {
        let params = CaseParams::new("bf16", &[256, 256, 1, 1, size]).with_option("mask", "full");
        let text = listing(Arch::Sm90a, "attention", &params, Some(&schedule(size)));
        let found = count_opcode(&between_waits(&text).join("\n"), "MUFU.EX2");
        // 64 scores of each thread, and the factor of each of its two rows.
        assert_eq!(
            found, 66,
            "head size {size}: all weights should stand between the waits for the two products"
        );
    }
}
