//! A sample of the mutants on every run of the tests; `cargo xtask mutants` runs them all.

use std::collections::BTreeSet;

use tilewright_runtime::cuda::nvrtc::Nvrtc;

use super::hunt::hunt;
use super::{Healthy, list, parse, zoo};
use crate::test::skip;

/// One mutant in so many is tried.
const EVERY: usize = 6;

#[test]
fn a_sample_of_the_mutants_is_caught() {
    if let Err(error) = Nvrtc::get() {
        return skip("a_sample_of_the_mutants_is_caught", &error.to_string());
    }
    for mutant in list::all().step_by(EVERY) {
        let catch = hunt(&mutant).expect("a mutation should apply and give PTX that runs");
        assert!(catch.is_some(), "{} is not caught", mutant.label());
    }
}

#[test]
fn nothing_is_found_in_kernels_as_they_are() {
    if let Err(error) = Nvrtc::get() {
        return skip("nothing_is_found_in_kernels_as_they_are", &error.to_string());
    }
    for &subject in zoo::ALL {
        let alarms = Healthy::Ours(subject).alarms(3).expect("the kernel should be made");
        assert!(alarms.is_empty(), "{}: {:?}", subject.name, alarms.first());
    }
}

#[test]
fn mutants_are_many_and_told_apart() {
    let labels: BTreeSet<String> = list::all().map(|m| m.label()).collect();
    let subjects: BTreeSet<&str> = list::all().map(|m| m.subject.name).collect();
    let classes: BTreeSet<_> = list::all().map(|m| m.class).collect();
    assert_eq!(labels.len(), list::all().count(), "labels should be unique");
    assert!(labels.len() >= 40 && subjects.len() >= 6 && classes.len() >= 12, "{subjects:?} {classes:?}");
}

#[test]
fn arguments_are_checked() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let args = parse(&words("--quick --json out.json")).expect("they should parse");
    assert!(args.schedules < super::SCHEDULES && args.json.is_some());
    for (text, said) in [("--json", "needs a value"), ("-x", "-x")] {
        let error = parse(&words(text)).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(said), "{text}: {error}");
    }
}
