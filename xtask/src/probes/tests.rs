//! Every probe in the simulator, and what was recorded on hardware.

use std::collections::BTreeSet;

use tilewright_runtime::cuda::nvrtc::Nvrtc;

use super::vectors::{Recorded, Vectors};
use super::{Codes, complaint, differences, folder, list, run};
use crate::test::skip;

#[test]
fn probes_run_in_the_simulator_as_the_manual_says() {
    if let Err(error) = Nvrtc::get() {
        return skip("probes_run_in_the_simulator_as_the_manual_says", &error.to_string());
    }
    let mut codes = Codes::default();
    for probe in &list::all() {
        assert_eq!(complaint(probe, &mut codes), None, "{}", probe.name);
    }
}

#[test]
fn the_simulator_gives_what_hardware_gave() {
    let vectors = Vectors::all(&folder()).expect("committed vectors should be readable");
    if vectors.is_empty() {
        return skip("the_simulator_gives_what_hardware_gave", "no vectors of a GPU are committed yet");
    }
    if let Err(error) = Nvrtc::get() {
        return skip("the_simulator_gives_what_hardware_gave", &error.to_string());
    }
    for (path, vectors) in &vectors {
        for (name, complaint) in differences(vectors).expect("vectors should fit the probes") {
            assert_eq!(complaint, None, "{name} of {}", path.display());
        }
    }
}

#[test]
fn a_replay_notices_what_is_different() {
    if let Err(error) = Nvrtc::get() {
        return skip("a_replay_notices_what_is_different", &error.to_string());
    }
    let all = list::all();
    let probe = all.iter().find(|p| p.kernel == "matrices").expect("there should be such a probe");
    let expected = probe.expected.clone().expect("it should have an expectation");
    let vectors = |output: Vec<u8>| {
        let results = vec![Recorded::new(probe, output)];
        let text = || "none".to_owned();
        Vectors { device: text(), capability: 90, driver: text(), compiler: text(), results }
    };
    let alike = differences(&vectors(expected.clone())).expect("it should be replayed");
    assert_eq!(alike[0].1, None);
    let mut other = expected;
    other[5] ^= 1;
    let found = differences(&vectors(other.clone())).expect("it should be replayed");
    assert!(found[0].1.as_ref().is_some_and(|d| d.starts_with("word 1 ")), "{found:?}");
    let mut stale = vectors(other);
    stale.results[0].fingerprint = "0".to_owned();
    assert!(differences(&stale).is_err_and(|e| e.to_string().contains("record again")));
}

#[test]
fn every_file_says_what_it_asks_and_every_name_is_unique() {
    let all = list::all();
    assert!(all.iter().all(|p| p.file.source.starts_with("// Question: ")));
    let names: BTreeSet<&str> = all.iter().map(|p| &p.name[..]).collect();
    assert_eq!(names.len(), all.len());
    let folder = crate::test::root().join("gpu").join("probes");
    let on_disk = std::fs::read_dir(folder)
        .expect("the folder")
        .filter_map(|e| e.ok()?.path().file_stem().map(ToOwned::to_owned));
    let used: BTreeSet<_> = all.iter().map(|p| std::ffi::OsString::from(p.file.name)).collect();
    assert!(on_disk.filter(|f| f != "vectors").all(|f| used.contains(&f)));
    assert!(run(&["play".to_owned()]).is_err_and(|e| e.to_string().contains("usage")));
}
