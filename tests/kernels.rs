//! Every kernel of the registry against its f64 reference on the CPU: all element types, options and awkward shapes, under the
//! default schedule and a few random legal ones; and the same bits from any number of threads. `TILEWRIGHT_KERNEL=name` checks one.

use std::collections::BTreeMap;

use tilewright_codegen::schedule::{Schedule, Space};
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::{Device, Stream};

/// Random schedules per problem, beside the default.
const SCHEDULES: usize = 2;

/// Every combination of the entry's options.
fn options(entry: &Entry) -> Vec<BTreeMap<String, String>> {
    let mut all = vec![BTreeMap::new()];
    for (name, values) in entry.options {
        let with = |base: &BTreeMap<String, String>, value: &str| {
            let mut one = base.clone();
            one.insert((*name).to_owned(), value.to_owned());
            one
        };
        all = all.iter().flat_map(|base| values.iter().map(|v| with(base, v)).collect::<Vec<_>>()).collect();
    }
    all
}

/// Every problem of an entry at one element type.
fn problems(entry: &Entry, dtype: &str) -> Vec<CaseParams> {
    let mut all = Vec::new();
    for options in options(entry) {
        for shape in entry.test_shapes {
            all.push(CaseParams { options: options.clone(), ..CaseParams::new(dtype, shape) });
        }
    }
    all
}

/// The default and a few random legal points, the same in every run.
fn schedules(space: &Space, default: &Schedule, seed: usize) -> Vec<Schedule> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % space.grid_len()
    };
    let random: Vec<Schedule> = (0..50).filter_map(|_| space.point(next())).take(SCHEDULES).collect();
    [vec![default.clone()], random].concat()
}

/// Runs one problem under its schedules; what went wrong.
fn check(case: &mut dyn Case, stream: &Stream, seed: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let (space, default) = (case.kernel().knobs.clone(), case.kernel().default.clone());
    for schedule in schedules(&space, &default, seed) {
        match case.check(stream, &schedule) {
            Ok(report) if report.passed => {}
            Ok(report) => {
                wrong.push(format!(
                    "{schedule}: error {:.3e} over {:.3e}",
                    report.max_error, report.tolerance
                ));
            }
            Err(error) => wrong.push(format!("{schedule}: {error}")),
        }
    }
    wrong
}

fn check_dtype(dtype: &str) {
    let stream = Device::cpu(0).stream();
    let mut failures = Vec::new();
    let only = std::env::var("TILEWRIGHT_KERNEL").ok();
    for entry in registry::all().iter().filter(|e| e.dtypes.contains(&dtype)) {
        if only.as_deref().is_some_and(|name| name != entry.name) {
            continue;
        }
        for (seed, params) in problems(entry, dtype).iter().enumerate() {
            let wrong = match entry.case(params) {
                Ok(mut case) => check(&mut *case, &stream, seed),
                Err(error) => vec![error.to_string()],
            };
            failures.extend(
                wrong.iter().map(|w| format!("{} {:?} {:?} {w}", entry.name, params.shape, params.options)),
            );
        }
    }
    assert!(
        failures.is_empty(),
        "{} problems of {dtype} are wrong:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_kernel_matches_its_reference_in_f32() {
    check_dtype("f32");
}

#[test]
fn every_kernel_matches_its_reference_in_f32_with_bf16_weights() {
    check_dtype("f32_bf16");
}

#[test]
fn every_kernel_matches_its_reference_in_f32_with_f16_weights() {
    check_dtype("f32_f16");
}

#[test]
fn every_kernel_matches_its_reference_in_bf16() {
    check_dtype("bf16");
}

#[test]
fn every_kernel_matches_its_reference_in_f16() {
    check_dtype("f16");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let streams = [1, 2, 3].map(|threads| Device::cpu(threads).stream());
    for entry in registry::all() {
        let shape = entry.test_shapes.last().expect("an entry should have a test shape");
        let params = CaseParams::new(entry.dtypes[0], shape);
        let mut case = entry.case(&params).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let schedule = case.kernel().default.clone();
        let bits = streams.each_ref().map(|stream| {
            case.check(stream, &schedule).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            case.outputs().concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        });
        assert!(
            bits.iter().all(|b| *b == bits[0]),
            "{} {shape:?} differs between numbers of threads",
            entry.name
        );
    }
}

#[test]
fn what_a_case_cannot_be_is_named() {
    let entry = registry::find("matmul").expect("matmul should be registered");
    let refused = |params: &CaseParams| entry.case(params).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused(&CaseParams::new("i8", &[1, 1, 1])).contains("element types `i8`"));
    assert!(refused(&CaseParams::new("f32", &[1, 1])).contains("each of m, n, k"));
    assert!(refused(&CaseParams::new("f32", &[1, 0, 1])).contains("[1, 0, 1]"));
    assert!(
        refused(&CaseParams::new("f32", &[1, 1, 1]).with_option("layout", "mn")).contains("known are nk, kn")
    );
}
