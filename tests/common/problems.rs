//! The problems that the tests of kernels and of schedules pose: every kernel of the registry with all its options and awkward shapes.

use std::collections::BTreeMap;

use tilewright_codegen::schedule::Schedule;
use tilewright_kernels::cases::{Case, CaseParams};
use tilewright_kernels::registry::{self, Entry};
use tilewright_runtime::{Device, Stream};

/// Runs `check` on every problem of every kernel at one element type, and panics with what went wrong.
pub(crate) fn check_dtype(dtype: &str, check: impl Fn(&mut dyn Case, &Stream, usize) -> Vec<String>) {
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

/// What is wrong with the outputs under one schedule, if anything.
pub(crate) fn wrong(case: &mut dyn Case, stream: &Stream, schedule: &Schedule) -> Option<String> {
    match case.check(stream, schedule) {
        Ok(report) if report.passed => None,
        Ok(report) => {
            Some(format!("{schedule}: error {:.3e} over {:.3e}", report.max_error, report.tolerance))
        }
        Err(error) => Some(format!("{schedule}: {error}")),
    }
}

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
