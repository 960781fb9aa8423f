//! Every kernel of the registry against its f64 reference on the simulated GPU: the PTX that NVRTC makes of it, executed with
//! every access checked, on a chip before tensor copies and on one with them.
//!
//! Asynchronous copies and matrix instructions may finish at any time between their issue and the wait for them, so problems
//! take turns at finishing them at once, as late as a wait allows, and at random moments; seeds vary the order of warps, and
//! some run with the detection of races. All of it is a function of the problem's place in the list. `TILEWRIGHT_KERNEL=name`
//! checks one kernel. `cargo xtask sim-report` runs what these tests sample from.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::Device;
use tilewright_sim::{Options, Policy, Race};

use common::{has_nvrtc, is_wanted};

const ARCHES: [Arch; 2] = [Arch::Sm80, Arch::Sm90a];

const POLICIES: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Random];

/// Problems whose extents and element types let sm_90a copy by tensor maps, multiply by warpgroups and split roles between
/// warps, with edges that do not fill a tile.
const HOPPER: &[(&str, &str, &[usize])] = &[
    ("matmul", "bf16", &[200, 264, 328]),
    ("matmul", "f16", &[128, 128, 192]),
    ("matmul_gated", "bf16", &[136, 200, 128]),
    ("attention", "bf16", &[200, 300, 2, 2, 128]),
    ("attention", "f16", &[70, 333, 1, 4, 96]),
    ("attention", "bf16", &[65, 200, 2, 1, 80]),
    ("attention", "bf16", &[72, 129, 1, 2, 64]),
    ("attention", "bf16", &[40, 40, 1, 1, 256]),
    ("attention", "f16", &[33, 65, 1, 2, 192]),
    ("attention_paged", "bf16", &[2, 20, 40, 1, 2, 192]),
    ("attention_paged", "f16", &[1, 20, 60, 1, 1, 256]),
];

/// A problem, and what its schedule has beside the default.
type Point = (&'static str, &'static str, &'static [usize], &'static [(&'static str, i64)]);

/// Points of the schedules that only products of many tiles are worth: programs walked by persistent blocks, clusters; and launches
/// that start before the one in front has ended. They need not be declared.
const LADDER: &[Point] = &[
    ("matmul", "bf16", &[300, 264, 328], &[("persistent", 1)]),
    ("matmul", "f16", &[260, 520, 136], &[("persistent", 1), ("BN", 256), ("stages", 4)]),
    (
        "matmul",
        "bf16",
        &[200, 400, 72],
        &[("persistent", 1), ("BM", 64), ("BN", 64), ("warps", 4), ("stages", 2)],
    ),
    ("matmul_gated", "bf16", &[264, 392, 128], &[("persistent", 1)]),
    ("attention", "bf16", &[200, 300, 2, 2, 64], &[("persistent", 1)]),
    // Pairs of blocks: an odd number of programs, columns of an odd number of row tiles, one program.
    ("matmul", "bf16", &[300, 264, 328], &[("persistent", 1), ("cluster", 2)]),
    ("matmul", "f16", &[260, 520, 136], &[("persistent", 1), ("cluster", 2), ("BN", 256), ("stages", 4)]),
    (
        "matmul",
        "bf16",
        &[72, 120, 200],
        &[("persistent", 0), ("cluster", 2), ("BM", 64), ("stages", 2), ("warps", 4)],
    ),
    ("matmul", "f16", &[520, 136, 328], &[("persistent", 0), ("cluster", 2), ("group", 4)]),
    ("matmul_gated", "bf16", &[264, 392, 128], &[("persistent", 1), ("cluster", 2)]),
    // Parts of K, the last ones empty; programs along two axes of the grid.
    ("matmul_split", "bf16", &[72, 136, 520], &[("split_k", 8)]),
    ("matmul_split", "f16", &[136, 264, 1032], &[("split_k", 2), ("persistent", 1), ("dependent", 1)]),
    // Addends of a tile whose columns are spread over warps as well.
    ("attention_paged", "f32", &[1, 16, 0, 1, 1, 256], &[("BQ", 16), ("BN", 16), ("warps", 4)]),
    // Kernels that wait for the one before them.
    ("matmul", "bf16", &[200, 264, 136], &[("persistent", 1), ("cluster", 2), ("dependent", 1)]),
    ("rms_norm", "bf16", &[9, 256], &[("dependent", 1)]),
];

/// Attention with products of one iteration beside the weights of another, two warpgroups in turn and one alone, every head size
/// of the models at blocks of keys that are no powers of two: element type, shape, mask, and what of the schedule is not default.
type Overlapped = (&'static str, [usize; 5], &'static str, &'static [(&'static str, i64)]);
const OVERLAPPED: &[Overlapped] = &[
    ("bf16", [200, 300, 1, 1, 128], "causal", &[("BQ", 128), ("BN", 128), ("warps", 8), ("pingpong", 1)]),
    ("bf16", [130, 530, 1, 1, 128], "full", &[("BQ", 128), ("BN", 176), ("warps", 8)]),
    (
        "f16",
        [130, 260, 1, 2, 64],
        "window",
        &[("BQ", 64), ("BN", 32), ("warps", 8), ("stages", 3), ("pingpong", 1)],
    ),
    ("bf16", [129, 400, 1, 1, 64], "causal", &[("BQ", 128), ("BN", 192), ("warps", 8), ("pingpong", 1)]),
    ("bf16", [70, 390, 1, 1, 96], "full", &[("BN", 96)]),
    ("f16", [70, 300, 1, 1, 80], "causal", &[("BN", 144)]),
    ("bf16", [100, 300, 1, 1, 192], "causal", &[("BQ", 128), ("BN", 112), ("warps", 8), ("pingpong", 1)]),
    ("bf16", [96, 170, 1, 1, 256], "causal", &[("BQ", 128), ("BN", 80), ("warps", 8)]),
    ("bf16", [130, 200, 1, 1, 128], "causal", &[("BQ", 128), ("BN", 64), ("warps", 8), ("overlap", 0)]),
];

/// Products of fewer rows than warpgroups make, which are computed transposed: kernel, element type, shape, options, and what of
/// the schedule is not default.
type FewRows = (
    &'static str,
    &'static str,
    [usize; 3],
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, i64)],
);
const FEW_ROWS: &[FewRows] = &[
    ("matmul", "bf16", [8, 264, 328], &[], &[("BM", 16), ("warps", 4), ("stages", 8), ("persistent", 0)]),
    (
        "matmul",
        "f16",
        [16, 128, 192],
        &[("layout", "kn")],
        &[("BM", 16), ("BN", 256), ("warps", 8), ("persistent", 0)],
    ),
    (
        "matmul",
        "bf16",
        [33, 200, 136],
        &[("epilogue", "bias_residual")],
        &[("BM", 48), ("warps", 4), ("persistent", 0)],
    ),
    ("matmul", "bf16", [64, 256, 192], &[("epilogue", "bias")], &[("BM", 64), ("warps", 8)]),
    ("matmul_gated", "bf16", [40, 136, 128], &[], &[("BM", 64), ("BN", 128), ("warps", 8)]),
];

/// Decode attention by matrix instructions in one warp: groups that fill a part of 16 rows, all of them and more, splits that are
/// empty, pages as small as a block, head sizes of an odd number of spans; and by warps that stream: element type, shape, mask,
/// page, and what of the schedule is not default.
type Decode = (&'static str, [usize; 6], &'static str, &'static str, &'static [(&'static str, i64)]);
const DECODE: &[Decode] = &[
    ("bf16", [2, 300, 2, 4, 128, 3], "causal", "128", &[]),
    ("f16", [1, 200, 1, 8, 64, 9], "causal", "128", &[("stages", 2), ("BN", 16)]),
    ("bf16", [1, 260, 1, 16, 96, 2], "window", "128", &[("stages", 4)]),
    ("bf16", [2, 77, 1, 20, 64, 1], "causal", "16", &[]),
    ("f16", [3, 130, 1, 1, 48, 2], "window", "128", &[("BN", 64)]),
    ("bf16", [1, 150, 1, 5, 256, 2], "causal", "128", &[]),
    ("bf16", [2, 300, 1, 4, 128, 3], "causal", "128", &[("warps", 4)]),
];

/// Declared configurations that are tried of a kernel and element type, beside the default.
const OTHERS: usize = 2;

/// Configurations from which the others are drawn.
const DRAWN_FROM: usize = 24;

/// How the run with this number is simulated: each policy in turn, seeds that differ, races in one of four.
fn options(number: usize) -> Options {
    Options {
        policy: POLICIES[number % POLICIES.len()],
        seed: number as u64,
        race: if number.is_multiple_of(4) { Race::On } else { Race::Off },
        // Tests run beside each other.
        threads: Some(1),
        ..Options::default()
    }
}

/// A check of one problem, by what it is called in a failure.
struct Checks {
    failures: Vec<String>,
    n: usize,
    n_too_large: usize,
}

impl Checks {
    const fn new() -> Self {
        Self { failures: Vec::new(), n: 0, n_too_large: 0 }
    }

    /// Runs a case under one schedule; a configuration other than the default may need more shared memory than a block has.
    fn check(
        &mut self,
        label: &str,
        case: &mut dyn Case,
        schedule: &Schedule,
        arch: Arch,
        options: &Options,
    ) {
        self.n += 1;
        let stream = Device::sim(arch, options.clone()).stream();
        let is_default = *schedule == case.kernel().gpu.default;
        let wrong = match catch_unwind(AssertUnwindSafe(|| case.check(&stream, schedule))) {
            Ok(Ok(report)) if report.passed => return,
            Ok(Ok(report)) => format!("error {:.3e} over {:.3e}", report.max_error, report.tolerance),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "panic".to_owned(),
        };
        if !is_default && wrong.contains("bytes of shared memory") {
            self.n_too_large += 1;
            return;
        }
        let short: String = wrong.chars().take(1500).collect();
        let (policy, seed, race) = (options.policy, options.seed, options.race);
        self.failures.push(format!(
            "{label} on {arch}, {policy:?}, seed {seed}, races {race:?}, \"{schedule}\":\n  {short}"
        ));
    }

    /// Fails the test if a check failed, or if there was none to speak of.
    fn finish(self) {
        let Self { failures, n, n_too_large } = self;
        assert!(failures.is_empty(), "{} of {n} checks failed:\n{}", failures.len(), failures.join("\n"));
        assert!(
            std::env::var_os("TILEWRIGHT_KERNEL").is_some() || n > 2 * n_too_large && n >= HOPPER.len(),
            "of {n} checks {n_too_large} were too large: too few are left"
        );
    }
}

fn made(entry: &Entry, params: &CaseParams) -> Box<dyn Case> {
    entry.case(params).unwrap_or_else(|e| panic!("{} {params:?}: {e}", entry.name))
}

/// One choice of the entry's options for each problem, all values in turn.
fn with_options(entry: &Entry, params: CaseParams, number: usize) -> CaseParams {
    entry.options.iter().enumerate().fold(params, |params, (i, (name, values))| {
        params.with_option(name, values[(number + i) % values.len()])
    })
}

/// Every kernel, element type and awkward shape under the default schedule.
fn check_awkward_shapes(arch: Arch, first: usize) {
    let mut checks = Checks::new();
    let mut number = first;
    for entry in registry::all() {
        for dtype in entry.dtypes {
            for shape in entry.test_shapes {
                // Counted for every kernel, so that one alone runs as it does among all.
                number += 1;
                if !is_wanted(entry.name) {
                    continue;
                }
                let params = with_options(entry, CaseParams::new(dtype, shape), number);
                let mut case = made(entry, &params);
                let schedule = case.kernel().gpu.default.clone();
                let label = format!("{} {dtype} {shape:?} {:?}", entry.name, params.options);
                checks.check(&label, &mut *case, &schedule, arch, &options(number));
            }
        }
    }
    checks.finish();
}

#[test]
fn awkward_shapes_match_on_sm_80() {
    if has_nvrtc("awkward_shapes_match_on_sm_80") {
        check_awkward_shapes(Arch::Sm80, 0);
    }
}

#[test]
fn awkward_shapes_match_on_sm_90a() {
    if has_nvrtc("awkward_shapes_match_on_sm_90a") {
        check_awkward_shapes(Arch::Sm90a, 1);
    }
}

#[test]
fn tensor_copies_and_warpgroups_match_however_late_they_finish() {
    if !has_nvrtc("tensor_copies_and_warpgroups_match_however_late_they_finish") {
        return;
    }
    let mut checks = Checks::new();
    for (number, (name, dtype, shape)) in HOPPER.iter().enumerate().filter(|(_, p)| is_wanted(p.0)) {
        let entry = registry::find(name).unwrap_or_else(|| panic!("{name} should be registered"));
        let mut case = made(entry, &CaseParams::new(dtype, shape));
        let schedule = case.kernel().gpu.default.clone();
        let label = format!("{name} {dtype} {shape:?}");
        for policy in POLICIES {
            let races = policy == Policy::Random && number.is_multiple_of(2);
            let race = if races { Race::On } else { Race::Off };
            let options = Options { policy, race, ..options(number) };
            checks.check(&label, &mut *case, &schedule, Arch::Sm90a, &options);
        }
        checks.check(&label, &mut *case, &schedule, Arch::Sm80, &options(number));
    }
    checks.finish();
}

#[test]
fn the_schedules_of_large_kernels_match() {
    if !has_nvrtc("the_schedules_of_large_kernels_match") {
        return;
    }
    let mut checks = Checks::new();
    for (number, (name, dtype, shape, knobs)) in LADDER.iter().enumerate().filter(|(_, p)| is_wanted(p.0)) {
        let entry = registry::find(name).unwrap_or_else(|| panic!("{name} should be registered"));
        let mut case = made(entry, &CaseParams::new(dtype, shape));
        let default = case.kernel().gpu.default.clone();
        let schedule = knobs.iter().fold(default, |schedule, &(knob, n)| schedule.with(knob, n));
        let label = format!("{name} {dtype} {shape:?}");
        for policy in POLICIES {
            let options = Options { policy, race: Race::On, ..options(number) };
            checks.check(&label, &mut *case, &schedule, Arch::Sm90a, &options);
        }
        checks.check(&label, &mut *case, &schedule, Arch::Sm80, &options(number));
    }
    checks.finish();
}

#[test]
fn attention_matches_however_its_products_overlap() {
    if !has_nvrtc("attention_matches_however_its_products_overlap") || !is_wanted("attention") {
        return;
    }
    let entry = registry::find("attention").expect("attention should be registered");
    let mut checks = Checks::new();
    for (number, (dtype, shape, mask, knobs)) in OVERLAPPED.iter().enumerate() {
        let mut case = made(entry, &CaseParams::new(dtype, shape).with_option("mask", mask));
        let default = case.kernel().gpu.default.clone();
        let schedule = knobs.iter().fold(default, |s, (knob, value)| s.with(knob, *value));
        assert!(case.kernel().gpu.knobs.contains(&schedule), "\"{schedule}\" should be a declared point");
        for policy in POLICIES {
            let race = if policy == Policy::Random { Race::On } else { Race::Off };
            let options = Options { policy, race, ..options(number) };
            checks.check(
                &format!("attention {dtype} {shape:?} {mask}"),
                &mut *case,
                &schedule,
                Arch::Sm90a,
                &options,
            );
        }
    }
    checks.finish();
}

#[test]
fn products_of_few_rows_match_transposed() {
    if !has_nvrtc("products_of_few_rows_match_transposed") {
        return;
    }
    let mut checks = Checks::new();
    for (number, (name, dtype, shape, options_of, knobs)) in FEW_ROWS.iter().enumerate() {
        if !is_wanted(name) {
            continue;
        }
        let entry = registry::find(name).unwrap_or_else(|| panic!("{name} should be registered"));
        let params = CaseParams::new(dtype, shape);
        let params = options_of.iter().fold(params, |p, (option, value)| p.with_option(option, value));
        let mut case = made(entry, &params);
        let default = case.kernel().gpu.default.clone();
        let schedule = knobs.iter().fold(default, |s, (knob, value)| s.with(knob, *value));
        assert!(case.kernel().gpu.knobs.contains(&schedule), "\"{schedule}\" should be a declared point");
        for policy in POLICIES {
            let race = if policy == Policy::Random { Race::On } else { Race::Off };
            let options = Options { policy, race, ..options(number) };
            checks.check(&format!("{name} {dtype} {shape:?}"), &mut *case, &schedule, Arch::Sm90a, &options);
        }
    }
    checks.finish();
}

#[test]
fn decode_attention_matches_in_one_warp_and_in_several() {
    if !has_nvrtc("decode_attention_matches_in_one_warp_and_in_several") || !is_wanted("attention_decode") {
        return;
    }
    let mut checks = Checks::new();
    let entry = registry::find("attention_decode").expect("attention_decode should be registered");
    for (number, (dtype, shape, mask, page, knobs)) in DECODE.iter().enumerate() {
        let params = CaseParams::new(dtype, shape).with_option("mask", mask).with_option("page", page);
        let mut case = made(entry, &params);
        let default = case.kernel().gpu.default.clone();
        let schedule = knobs.iter().fold(default, |s, (knob, value)| s.with(knob, *value));
        assert!(case.kernel().gpu.knobs.contains(&schedule), "\"{schedule}\" should be a declared point");
        for (arch, policy) in ARCHES.into_iter().flat_map(|arch| POLICIES.map(|policy| (arch, policy))) {
            let options = Options { policy, race: Race::On, ..options(number) };
            checks.check(
                &format!("attention_decode {dtype} {shape:?}"),
                &mut *case,
                &schedule,
                arch,
                &options,
            );
        }
    }
    checks.finish();
}

#[test]
fn declared_configurations_match() {
    if !has_nvrtc("declared_configurations_match") {
        return;
    }
    let mut checks = Checks::new();
    let mut number = 0;
    for entry in registry::all().iter().filter(|e| is_wanted(e.name)) {
        for dtype in entry.dtypes {
            let shape = entry.test_shapes[entry.test_shapes.len() - 1];
            let mut case = made(entry, &CaseParams::new(dtype, shape));
            let others = case.kernel().configurations_for(TargetKind::Gpu, DRAWN_FROM).split_off(1);
            for i in 0..OTHERS.min(others.len()) {
                number += 1;
                let schedule = &others[(number * 7 + i) % others.len()];
                let label = format!("{} {dtype} {shape:?}", entry.name);
                checks.check(&label, &mut *case, schedule, ARCHES[number % 2], &options(number));
            }
        }
    }
    checks.finish();
}
