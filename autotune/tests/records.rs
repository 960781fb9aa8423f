//! Records: round trip, refusal of whatever does not belong, atomic writing, lookup.

#[expect(dead_code, reason = "shared with tests that use the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Synthetic, bowl, device};
use proptest::prelude::*;
use serde_json::{Value, json};
use tilewright_autotune::ceiling::Ceilings;
use tilewright_autotune::library::{Library, Lookup, Reason};
use tilewright_autotune::problem::{Bucket, Check, Problem as _, Subject};
use tilewright_autotune::record::{Measured, Record, RecordFile, SearchSummary, store, verify};
use tilewright_autotune::{Error, fingerprint::Fingerprint};
use tilewright_codegen::schedule::Schedule;

const HASH: u64 = 0x0123_4567_89ab_cdef;
const CLASS: &str = "cpu-abacus-9-1-portable-2t";

fn record(bucket: Bucket, knobs: &[(&str, i64)], samples_s: Vec<f64>) -> Record {
    let measured = Measured {
        schedule: Schedule::new(knobs),
        samples_s,
        check: Check { max_error: 1e-7, tolerance: 1e-5 },
        default_median_s: Some(2e-3),
    };
    let ceilings = Ceilings { flops_per_s: 1.234_567e11, bytes_per_s: 2.5e10 };
    let search = SearchSummary { strategy: "random".to_owned(), seed: 7, grid: 25, measured: 20, invalid: 2 };
    let command = "autotune tune bowl --shape m=128,n=256".to_owned();
    Record::new(bucket, &measured, (1e6, 1e4), Some(&ceilings), device(), search, command)
}

fn bucket(m: i64) -> Bucket {
    Bucket::new("f32", &[("m", m), ("n", 256)])
}

fn file(buckets: &[i64]) -> RecordFile {
    let samples = vec![1.01e-3, 1e-3, 1.5e-3];
    let records =
        buckets.iter().map(|&m| record(bucket(m), &[("BM", 64), ("BN", 32)], samples.clone())).collect();
    RecordFile::new(CLASS, "bowl", HASH, records)
}

/// Reads `text` as the records of the synthetic kernel.
fn read(text: &str) -> Result<RecordFile, Error> {
    let problem = Synthetic::new(bowl);
    let file = RecordFile::from_json(text, "bowl.json")?;
    verify(&file, &problem.subject(), CLASS, "bowl.json")?;
    Ok(file)
}

#[test]
fn the_text_is_stable_and_reads_back() {
    let file = file(&[1024, 128]);
    let text = file.to_json();
    assert_eq!(read(&text).expect("file should be accepted"), file);
    assert_eq!(RecordFile::from_json(&text, "x").expect("text should parse").to_json(), text);
    assert!(
        text.starts_with("{\n  \"schema\": 1,\n  \"device_class\": \"cpu-abacus-9-1-portable-2t\",\n"),
        "{text}"
    );
    assert!(text.contains("\"samples_s\": [0.00101, 0.001, 0.0015],\n"), "{text}");
    assert!(text.ends_with("}\n"));
    assert_eq!(file.records[0].bucket, bucket(128), "records should be in bucket order");
}

/// The refusal of a file of two records in which the value at a JSON pointer is replaced.
fn refusal(pointer: &str, value: Value) -> (String, String) {
    let mut json: Value = serde_json::from_str(&file(&[128, 1024]).to_json()).expect("text should be JSON");
    *json.pointer_mut(pointer).expect("field should exist") = value;
    match read(&json.to_string()) {
        Err(error @ Error::Refused { .. }) => {
            let text = error.to_string();
            let Error::Refused { field, .. } = error else { unreachable!("it was just matched") };
            (field, text)
        }
        other => panic!("{pointer} should be refused, found {other:?}"),
    }
}

#[test]
fn every_tampered_field_is_refused_by_name() {
    let second = serde_json::to_value(bucket(128)).expect("bucket should be JSON");
    for (pointer, value, field, found) in [
        ("/schema", json!(2), "schema", "should be 1, found 2"),
        ("/kernel", json!("cup"), "kernel", "should be `bowl`, found `cup`"),
        ("/device_class", json!("cpu-b"), "device_class", "found `cpu-b`"),
        ("/source_hash", json!("0123456789abcdee"), "source_hash", "found `0123456789abcdee`"),
        ("/records/1/bucket", second, "records[1].bucket", "`f32 m=128 n=256` again, as in records[0]"),
        ("/records/0/device/model", json!(2), "records[0].device", "found `cpu-abacus-9-2-portable-2t`"),
        ("/records/0/device/threads", json!(4), "records[0].device", "portable-4t"),
        ("/records/0/schedule", json!({"BM": 64, "BN": 32, "BK": 8}), "records[0].schedule.BK", "(BM, BN)"),
        ("/records/0/schedule", json!({"BM": 64}), "records[0].schedule.BN", "found nothing"),
        (
            "/records/0/schedule/BM",
            json!(48),
            "records[0].schedule.BM",
            "one of 16, 32, 64, 128, 256, found 48",
        ),
        ("/records/0/schedule", json!({"BM": 256, "BN": 256}), "records[0].schedule", "a legal point"),
        ("/records/0/samples_s", json!([]), "records[0].samples_s", "positive times"),
        ("/records/0/samples_s/1", json!(-1e-3), "records[0].samples_s", "-0.001"),
        ("/records/0/samples_s/0", json!(5e-3), "records[0].median_s", "should be 1.5e-3"),
        ("/records/0/median_s", json!(5e-4), "records[0].median_s", "found 5e-4"),
        ("/records/0/default_median_s", json!(0.0), "records[0].default_median_s", "a positive time"),
        (
            "/records/0/check/max_error",
            json!(1e-4),
            "records[0].check.max_error",
            "at most the tolerance 1e-5",
        ),
        ("/records/0/roofline/fraction", json!(0.99), "records[0].roofline.fraction", "found 0.9900"),
    ] {
        let (at, text) = refusal(pointer, value);
        assert_eq!(at, field, "{text}");
        assert!(text.contains(found), "{pointer}: {text}");
    }
}

#[test]
fn unknown_fields_and_torn_text_are_malformed() {
    let text = file(&[128]).to_json();
    let extra = text.replacen("\"kernel\"", "\"speed\": 1, \"kernel\"", 1);
    for broken in [&text[..text.len() / 2], "", "{}", extra.as_str()] {
        let error = read(broken).expect_err("text should be refused");
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("bowl.json"), "{error}");
    }
}

fn any_record() -> impl Strategy<Value = (i64, String, usize, usize, Vec<f64>)> {
    let name = "[a-z]{1,6}";
    (1_i64..1 << 40, name, 0_usize..5, 0_usize..3, prop::collection::vec(1e-9_f64..1e3, 1..40))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_record_reads_back_equal(records in prop::collection::vec(any_record(), 0..6)) {
        let mut by_bucket = BTreeMap::new();
        for (m, option, bm, bn, samples) in records {
            let bucket = bucket(m).with_option("layout", &option);
            let knobs = [("BM", 16 << bm), ("BN", 16 << bn)];
            by_bucket.insert(bucket.clone(), record(bucket, &knobs, samples));
        }
        let legal = |r: &Record| r.schedule.knobs.values().product::<i64>() <= 8192;
        let file = RecordFile::new(CLASS, "bowl", HASH, by_bucket.into_values().filter(legal).collect());
        prop_assert_eq!(read(&file.to_json()).map_err(|e| TestCaseError::fail(e.to_string()))?, file);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_torn_file_is_accepted(cut in 0_usize..10_000) {
        let text = file(&[128, 1024]).to_json();
        // Without its last newline the file is still whole.
        let cut = cut % (text.len() - 1);
        prop_assert!(read(&text[..cut]).is_err());
    }
}

#[test]
fn saving_merges_and_replaces() {
    let root = tempfile::tempdir().expect("folder should be made");
    let problem = Synthetic::new(bowl);
    let (path, dropped) = store::save(root.path(), file(&[128, 1024])).expect("first save");
    assert_eq!(path, root.path().join(CLASS).join("bowl.json"));
    assert_eq!(dropped, 0);
    let newer = record(bucket(128), &[("BM", 32), ("BN", 32)], vec![5e-4]);
    store::save(root.path(), RecordFile::new(CLASS, "bowl", HASH, vec![newer.clone()])).expect("second save");
    let loaded =
        store::load(root.path(), &problem.subject(), CLASS).expect("load").expect("file should be there");
    assert_eq!(loaded.records.len(), 2);
    assert_eq!(loaded.records[0], newer);

    let other_source = RecordFile { source_hash: HASH + 1, ..file(&[64]) };
    let (_, dropped) = store::save(root.path(), other_source).expect("third save");
    assert_eq!(dropped, 2);
    let error = store::load(root.path(), &problem.subject(), CLASS).expect_err("source has changed");
    assert!(error.to_string().contains("source_hash"), "{error}");
}

#[test]
fn a_damaged_file_is_left_as_it_is() {
    let root = tempfile::tempdir().expect("folder should be made");
    let path = root.path().join(CLASS).join("bowl.json");
    fs::create_dir_all(root.path().join(CLASS)).expect("folder should be made");
    for (text, message) in [("{", "cannot be read"), (r#"{"schema": 9}"#, "found 9")] {
        fs::write(&path, text).expect("file should be written");
        let error = store::save(root.path(), file(&[128])).expect_err("damaged file should be refused");
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("file should be there"), text);
    }
}

#[test]
fn names_stay_in_their_folder() {
    for name in ["../x", "a/b", "", ".hidden", "a b"] {
        assert!(matches!(store::path(Path::new("r"), CLASS, name), Err(Error::BadName { .. })), "{name}");
        assert!(matches!(store::path(Path::new("r"), name, "bowl"), Err(Error::BadName { .. })), "{name}");
    }
}

#[test]
fn a_reader_never_sees_half_a_file_and_writers_lose_nothing() {
    let root = tempfile::tempdir().expect("folder should be made");
    let problem = Synthetic::new(bowl);
    let subject = problem.subject();
    let subject = Subject { kernel: "bowl", source_hash: subject.source_hash, space: subject.space };
    store::save(root.path(), file(&[1])).expect("first save");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = [0_i64, 1]
            .map(|which| {
                let root = root.path();
                scope.spawn(move || {
                    for i in 0..40 {
                        store::save(root, file(&[100 + 2 * i + which])).expect("save");
                    }
                })
            })
            .into();
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) || reads == 0 {
                let loaded = store::load(root.path(), &subject, CLASS).expect("file should be whole");
                assert!(!loaded.expect("file should be there").records.is_empty());
                reads += 1;
            }
        });
        for writer in writers {
            writer.join().expect("writer should not panic");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("reader should not panic");
    });
    let loaded = store::load(root.path(), &subject, CLASS).expect("load").expect("file should be there");
    assert_eq!(loaded.records.len(), 81);
    let names: Vec<_> =
        fs::read_dir(root.path().join(CLASS)).expect("folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "only the records and the lock should be left: {names:?}");
}

fn lookup(root: &Path, bucket: &Bucket, device: &Fingerprint) -> Lookup {
    let problem = Synthetic::new(bowl);
    Library { folders: vec![root.to_owned()] }.lookup(&problem.subject(), bucket, device)
}

#[test]
fn lookup_takes_the_exact_bucket_then_the_nearest_then_none() {
    let root = tempfile::tempdir().expect("folder should be made");
    let records = [(128, 16), (200, 32), (1024, 64)]
        .map(|(m, bm)| record(bucket(m), &[("BM", bm), ("BN", 32)], vec![1e-3]))
        .to_vec();
    store::save(root.path(), RecordFile::new(CLASS, "bowl", HASH, records)).expect("save");
    for (m, bm, exact) in
        [(128, 16, true), (140, 16, false), (180, 32, false), (4000, 64, false), (256, 32, false)]
    {
        match lookup(root.path(), &bucket(m), &device()) {
            Lookup::Found(found) => {
                assert_eq!((found.record.schedule.get("BM"), found.exact), (Some(bm), exact), "m = {m}");
            }
            Lookup::Default(reason) => panic!("m = {m} should be found: {reason}"),
        }
    }
    let far = lookup(root.path(), &bucket(8), &device());
    assert_eq!(far, Lookup::Default(Reason::NoBucketInReach { records: 3 }));
    assert_eq!(far.schedule(), None);
}

#[test]
fn lookup_says_why_the_default_serves() {
    let root = tempfile::tempdir().expect("folder should be made");
    let Fingerprint::Cpu(cpu) = device() else { panic!("the synthetic device is a processor") };
    let nothing = lookup(root.path(), &bucket(128), &device());
    assert_eq!(nothing.to_string(), format!("default schedule: no record for device class {CLASS}"));

    store::save(root.path(), RecordFile { source_hash: 1, ..file(&[128]) }).expect("save");
    let stale = lookup(root.path(), &bucket(128), &device());
    assert!(stale.to_string().contains("field `source_hash`"), "{stale}");

    let mut other = cpu.clone();
    other.threads = 64;
    let other = lookup(root.path(), &bucket(128), &Fingerprint::Cpu(other));
    assert!(matches!(other, Lookup::Default(Reason::NoRecord { .. })), "{other}");

    let mut unknown = cpu;
    unknown.vendor.clear();
    let unknown = lookup(root.path(), &bucket(128), &Fingerprint::Cpu(unknown));
    assert_eq!(unknown, Lookup::Default(Reason::UnknownDevice));
}

#[test]
fn an_own_record_goes_before_a_later_folder() {
    let roots = [(); 2].map(|()| tempfile::tempdir().expect("folder should be made"));
    for (root, bm) in roots.iter().zip([16, 32]) {
        let records = vec![record(bucket(128), &[("BM", bm), ("BN", 32)], vec![1e-3])];
        store::save(root.path(), RecordFile::new(CLASS, "bowl", HASH, records)).expect("save");
    }
    let library = Library { folders: roots.iter().map(|r| r.path().to_owned()).collect() };
    let problem = Synthetic::new(bowl);
    let found = library.lookup(&problem.subject(), &bucket(128), &device());
    assert_eq!(found.schedule().and_then(|s| s.get("BM")), Some(16));
    assert!(found.to_string().starts_with("record f32 m=128 n=256 (BM=16 BN=32) from "), "{found}");
}
