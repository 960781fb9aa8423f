//! The commands on a synthetic kernel, from the words typed to the text printed and the file written.

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use the rest")]
mod common;

use std::path::Path;

use clap::Parser as _;
use tilewright_autotune::ceiling::Ceilings;
use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::problem::Family;

use super::{Context, run};
use crate::args::Args;
use common::{Behaviour, Synthetic, bowl, device};

fn run_on(device: Fingerprint, law: common::Law, words: &[&str]) -> (String, Result<(), String>) {
    let args = Args::try_parse_from([&["autotune"], words].concat());
    let args = match args {
        Ok(args) => args,
        Err(e) => return (String::new(), Err(e.to_string())),
    };
    let synthetic = Synthetic::new(law);
    let clock = synthetic.clock.clone();
    let families: Vec<Box<dyn Family>> = vec![Box::new(synthetic)];
    let measure_ceilings = || Ok(Ceilings { flops_per_s: 1e10, bytes_per_s: 1e10 });
    let context = Context { families: &families, device, clock: &clock, measure_ceilings: &measure_ceilings };
    let mut out = Vec::new();
    let result = run(&args, &context, &mut out).map_err(|e| format!("{e:#}"));
    (String::from_utf8(out).expect("output should be text"), result)
}

fn autotune(words: &[&str]) -> (String, Result<(), String>) {
    run_on(device(), bowl, words)
}

fn error(words: &[&str]) -> String {
    autotune(words).1.expect_err("the command should fail")
}

fn folder(root: &tempfile::TempDir) -> &str {
    root.path().to_str().expect("path should be text")
}

#[test]
fn list_names_the_kernels() {
    let (text, result) = autotune(&["list"]);
    assert_eq!(result, Ok(()));
    assert!(text.contains("device: Abacus 9000, 2 threads, portable (cpu-abacus-9-1-portable-2t)"), "{text}");
    assert!(
        text.lines().any(|l| l.starts_with("bowl") && l.contains("m,n") && l.contains("f32,bf16")),
        "{text}"
    );
}

#[test]
fn tune_records_and_show_shows() {
    let root = tempfile::tempdir().expect("folder should be made");
    let words = ["tune", "bowl", "--shape", "m=100,n=300", "--dtype", "bf16", "--option", "layout=kn"];
    let (text, result) =
        autotune(&[&words[..], &["--search", "random", "--seed", "5", "--out", folder(&root)]].concat());
    assert_eq!(result, Ok(()), "{text}");
    assert!(text.contains("measured ceilings: 10 GFLOP/s f32 FMA, 10.0 GB/s memory read"), "{text}");
    assert!(text.contains("bowl bf16 m=100 n=300 layout=kn"), "{text}");
    assert!(text.contains("BM=64 BN=32") && text.contains("chosen"), "{text}");
    let path = root.path().join("cpu-abacus-9-1-portable-2t/bowl.json");
    let json = std::fs::read_to_string(path).expect("record should be written");
    let command = "autotune tune bowl --shape m=100,n=300 --dtype bf16 --option layout=kn --device cpu --budget 60 \
                   --search random --seed 5";
    assert!(json.contains(command), "{json}");
    assert!(!json.contains(folder(&root)), "a record should not name folders: {json}");

    let (text, result) = autotune(&["show", "bowl", "--out", folder(&root)]);
    assert_eq!(result, Ok(()));
    assert!(text.contains("bf16 m=100 n=300 layout=kn") && text.contains("BM=64 BN=32"), "{text}");
}

#[test]
fn without_a_shape_the_kernels_own_buckets_are_tuned() {
    let root = tempfile::tempdir().expect("folder should be made");
    let (text, result) = autotune(&["tune", "all", "--out", folder(&root)]);
    assert_eq!(result, Ok(()), "{text}");
    assert_eq!(text.matches("chosen").count(), 3, "{text}");
    let (text, result) = autotune(&["tune", "bowl", "--dtype", "f32", "--dry-run"]);
    assert_eq!(result, Ok(()), "{text}");
    assert_eq!(text.matches("chosen").count(), 2, "{text}");
}

#[test]
fn a_dry_run_records_nothing() {
    let root = tempfile::tempdir().expect("folder should be made");
    let (text, result) = autotune(&["tune", "bowl", "--dry-run", "--out", folder(&root)]);
    assert_eq!(result, Ok(()));
    assert!(!text.contains("recorded in"), "{text}");
    assert_eq!(std::fs::read_dir(root.path()).expect("folder").count(), 0);
}

#[test]
fn a_problem_that_fails_does_not_stop_the_others() {
    let root = tempfile::tempdir().expect("folder should be made");
    let (text, result) =
        run_on(device(), |_| Behaviour::Wrong(1.0), &["tune", "bowl", "--out", folder(&root)]);
    assert_eq!(result, Err("3 of 3 problems could not be tuned".to_owned()));
    assert_eq!(text.matches("error: no usable schedule for `bowl`").count(), 3, "{text}");
    let (text, result) = autotune(&["tune", "bowl", "--shape", "m=9999999,n=1", "--dry-run"]);
    assert!(
        text.contains("cannot make bowl at f32 m=9999999 n=1 layout=nk: m=9999999 needs more memory"),
        "{text}"
    );
    assert!(result.is_err());
}

#[test]
fn mistakes_are_named_with_a_suggestion() {
    for (words, message) in [
        (&["tune", "bowll", "--dry-run"][..], "unknown kernel `bowll`; did you mean `bowl`?"),
        (&["tune", "matmul"], "unknown kernel `matmul`; there is `bowl`"),
        (&["show", "bow"], "did you mean `bowl`?"),
        (&["tune", "bowl", "--dtype", "f23"], "kernel `bowl` has no dtype `f23`; did you mean `f32`"),
        (&["tune", "bowl", "--shape", "m=1"], "the shape of kernel `bowl` needs 1 more: add n=N"),
        (&["tune", "bowl", "--shape", "m=1,n=2,q=3"], "kernel `bowl` has no extent `q`; there is `m`, `n`"),
        (&["tune", "bowl", "--shape", "128x256"], "`128x256` should be NAME=N, as in m=128,n=4096"),
        (&["tune", "bowl", "--option", "layuot=nk"], "no option `layuot`; did you mean `layout`?"),
        (&["tune", "bowl", "--option", "layout=mk"], "no value `mk`; did you mean `nk`"),
        (&["tune", "all", "--shape", "m=1,n=1"], "--shape needs one kernel"),
        (&["tune", "bowl", "--device", "gpu"], "possible values: cpu"),
        (&["tune", "bowl", "--device", "sim"], "a simulated GPU measures nothing"),
        (&["tune", "bowl", "--device", "cuda:4096"], "device cuda:4096 cannot be used"),
        (&["show", "--device", "cuda:4096"], "device cuda:4096 cannot be used"),
        (&["verify", "softmux"], "did you mean `softmax`?"),
        (&["verify", "softmax", "--device", "abacus"], "unknown device `abacus`"),
        (&["verify", "softmax", "--device", "cpu", "--dtype", "f23"], "no dtype `f23`"),
        (&["verify", "all", "--shape", "m=1"], "--shape needs one kernel"),
        (&["verify", "all", "--config", "BM=1"], "--config needs one kernel"),
        (&["verify", "softmax", "--device", "cpu", "--config", "BQ=1"], "no knob `BQ`"),
        (
            &["verify", "softmax", "--device", "cpu", "--config", "BN=1", "--limit", "1"],
            "cannot be used with",
        ),
        (&["verify", "softmax", "--seeds", "0"], "--seeds"),
        (&["tune", "bowl", "--budget", "0"], "more than 0 seconds"),
        (&["tune"], "<KERNEL>"),
    ] {
        let text = error(words);
        assert!(text.contains(message), "{words:?}: {text}");
    }
}

#[test]
fn a_device_that_cannot_be_identified_is_measured_but_not_recorded() {
    let Fingerprint::Cpu(mut cpu) = device() else { panic!("the synthetic device is a processor") };
    cpu.vendor.clear();
    let unknown = Fingerprint::Cpu(cpu);
    let (_, result) = run_on(unknown.clone(), bowl, &["tune", "bowl"]);
    assert!(result.is_err_and(|e| e.contains("use --dry-run")));
    let (text, result) = run_on(unknown.clone(), bowl, &["tune", "bowl", "--dry-run"]);
    assert_eq!(result, Ok(()), "{text}");
    let (text, result) = run_on(unknown, bowl, &["show"]);
    assert_eq!(result, Ok(()));
    assert!(text.contains("the default schedules serve"), "{text}");
}

#[test]
fn a_refused_file_is_shown_as_refused() {
    let root = tempfile::tempdir().expect("folder should be made");
    let (_, result) = autotune(&["tune", "bowl", "--out", folder(&root)]);
    assert_eq!(result, Ok(()));
    let path = Path::new(folder(&root)).join("cpu-abacus-9-1-portable-2t/bowl.json");
    let text = std::fs::read_to_string(&path).expect("record should be there");
    std::fs::write(&path, text.replacen("0123456789abcdef", "0000000000000000", 1))
        .expect("record should be written");
    let (text, result) = autotune(&["show", "--out", folder(&root)]);
    assert_eq!(result, Ok(()));
    assert!(text.contains("refused: field `source_hash`"), "{text}");
}

#[test]
fn configurations_are_verified_against_the_reference() {
    let (text, result) = autotune(&["verify", "softmax", "--device", "cpu", "--limit", "4"]);
    assert_eq!(result, Ok(()), "{text}");
    assert!(
        text.contains("0 wrong on cpu") && text.lines().filter(|l| l.starts_with("softmax")).count() > 1,
        "{text}"
    );
}

#[test]
fn one_configuration_is_verified_and_told_as_json() {
    let words =
        ["verify", "softmax", "--device", "cpu", "--config", "BM=2", "--shape", "rows=5,length=70", "--json"];
    let (text, result) = autotune(&words);
    assert_eq!(result, Ok(()), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("it should be JSON");
    assert_eq!(
        (&value["right"], &value["wrong"], &value["runs_of_each"]),
        (&1.into(), &0.into(), &1.into()),
        "{text}"
    );
    let row = &value["configurations"][0];
    assert_eq!((&row["verdict"], &row["shape"]), (&"right".into(), &vec![5, 70].into()), "{text}");
    assert!(row["schedule"].as_str().is_some_and(|s| s.starts_with("BM=2 ")), "{text}");
}

#[test]
fn a_simulated_gpu_runs_a_configuration_in_every_way() {
    if let Err(error) = tilewright_runtime::cuda::nvrtc::Nvrtc::get() {
        if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
            let name = format!("autotune-{}-verify.txt", std::process::id());
            let line = format!("a_simulated_gpu_runs_a_configuration_in_every_way: {error}\n");
            std::fs::write(Path::new(&folder).join(name), line).expect("the folder should be writable");
        }
        return;
    }
    let words = ["verify", "softmax", "--device", "sim:sm_80", "--limit", "2", "--seeds", "2"];
    let (text, result) = autotune(&words);
    assert_eq!(result, Ok(()), "{text}");
    assert!(text.contains("0 wrong on sim:sm_80, each run 6 times"), "{text}");
}
