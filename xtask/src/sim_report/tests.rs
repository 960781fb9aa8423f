//! What the report counts.

use std::collections::BTreeSet;

use tilewright_codegen::target::Arch;

use super::jobs::{aligned, jobs};
use super::parse;
use super::runs::findings;
use crate::points::Selection;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn arguments_are_checked() {
    let args =
        parse(&words("--kernel rope --arch sm_80 --sample 3 --json out.json")).expect("they should parse");
    assert_eq!((args.arches, args.json.as_deref()), (vec![Arch::Sm80], Some("out.json")));
    for (text, said) in
        [("--sample x", "--sample x"), ("--arch sm_1", "sm_1"), ("--json", "needs a value"), ("-x", "-x")]
    {
        let error = parse(&words(text)).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn every_kernel_has_jobs_and_a_sample_is_smaller() {
    let kernels = BTreeSet::from(["softmax".to_owned()]);
    let count = |selection| jobs(&[Arch::Sm80], &kernels, selection).expect("jobs").len();
    assert!(count(Selection::Sample(1)) < count(Selection::Every));
    let none = BTreeSet::from(["no_such".to_owned()]);
    assert!(jobs(&[Arch::Sm80], &none, Selection::Every).is_err());
    assert_eq!(aligned(&[64, 300, 257, 3]), [64, 304, 272, 3]);
}

#[test]
fn findings_are_counted_from_the_report() {
    assert_eq!(
        findings("kernel `k`: k: 4 blocks, 900 warp instructions, 12 finding(s), seed 3\n  Race: ..."),
        12
    );
    assert_eq!(findings("the PTX cannot be simulated"), 0);
    assert_eq!(findings(" finding(s)"), 0);
}
