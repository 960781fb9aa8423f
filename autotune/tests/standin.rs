//! The tuner's way to a GPU, against a stand-in for NVIDIA's driver that computes nothing and whose every time is an eighth of a
//! millisecond: fingerprint, problems in device memory, the numeric check that must fail, times by events over a flushed cache.
//! Skipped, and counted so, without NVRTC or where no `libcuda.so` can stand in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tilewright_autotune::ceiling::measure_gpu;
use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::kernels::families_on;
use tilewright_autotune::problem::Bucket;
use tilewright_runtime::Device;
use tilewright_runtime::cuda::nvrtc::Nvrtc;

/// Set in the process that has the stand-in.
const INSIDE: &str = "STANDIN_INSIDE";

/// Builds the stand-in; `None` where it cannot be, and the test counts as skipped.
fn standin(test: &str, folder: &Path) -> Option<PathBuf> {
    let skip = |why: &str| {
        let line = format!("{test}: {why}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(skipped) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
            let file = Path::new(&skipped).join(format!("autotune-{}-{test}.txt", std::process::id()));
            std::fs::write(file, line).expect("the folder for skipped tests should be writable");
        }
    };
    if !cfg!(target_os = "linux") {
        skip("libraries are found in another way than by LD_LIBRARY_PATH here");
        return None;
    }
    if let Err(error) = Nvrtc::get() {
        skip(&error.to_string());
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/standin/libcuda.rs");
    let library = folder.join("libcuda.so");
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--crate-type", "cdylib", "--edition", "2024", "--cap-lints", "allow", "-o"])
        .args([&library, &source])
        .output();
    match built {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(folder.to_owned())
        }
        Err(error) => {
            skip(&format!("rustc does not start: {error}"));
            None
        }
    }
}

#[test]
fn candidates_are_timed_by_events_over_a_flushed_cache() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let test = "candidates_are_timed_by_events_over_a_flushed_cache";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(folder) = standin(test, folder.path()) else { return };
    let log = folder.join("log");
    let output = Command::new(std::env::current_exe().expect("the test has a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .env("LD_LIBRARY_PATH", &folder)
        .env("STANDIN_LOG", &log)
        .env("TILEWRIGHT_CACHE_DIR", folder.join("cache"))
        .output()
        .expect("the test should start again");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let log = std::fs::read_to_string(log).expect("the stand-in should write its log");
    let lines: Vec<&str> = log.lines().collect();
    let flush = format!("clear {}", 2 * (50 << 20));
    let flushes = lines.iter().filter(|line| **line == flush).count();
    assert_eq!(flushes, 5, "twice the cache before each of the executions");
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == flush) {
        assert!(lines[at + 1].starts_with("launch "), "an execution follows each flush: {}", lines[at + 1]);
    }
}

/// What runs in the process with the stand-in.
fn inside() {
    let device = Device::cuda(0).expect("the stand-in should serve");
    let fingerprint = Fingerprint::of(&device).expect("it has a fingerprint").expect("it is no simulation");
    assert_eq!(fingerprint.class().as_deref(), Some("gpu-standinh200-sm90-132sm-3201mhz"));
    assert!(fingerprint.describe().contains("driver for CUDA 12.9"), "{}", fingerprint.describe());
    let json = serde_json::to_string(&fingerprint).expect("a fingerprint is data");
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).ok(), Some(fingerprint));

    let families = families_on(&device);
    let family = families.iter().find(|f| f.subject().kernel == "softmax_long").expect("a kernel");
    let bucket = Bucket::new("bf16", &[("rows", 3), ("length", 5000)]);
    let problem = family.problem(&bucket, 1).expect("a problem in device memory");
    let default = problem.default_schedule();
    let mut candidate = problem.prepare(&default).expect("the default should specialise");
    let check = candidate.check().expect("it should launch");
    assert!(!check.passed(), "nothing was computed, and the check should see it: {check:?}");
    candidate.run().expect("it should launch");
    let seconds = candidate.device_seconds(5).expect("a GPU has a clock").expect("a time");
    assert!((seconds - 0.125e-3).abs() < 1e-9, "{seconds}");
    // The argument facts of the launches are known now, so other threads can compile what comes next.
    let space = problem.subject().space;
    let next = space.knobs.iter().find(|knob| knob.values.len() > 1).expect("a choice");
    let other = default.with(next.name, next.values[next.values.len() - 1]);
    problem.compile_ahead(&other);
    problem.prepare(&other).expect("it should be ready").check().expect("it should launch");

    let stream = device.cuda_stream().expect("a stream");
    let ceilings = measure_gpu(stream).expect("ceilings");
    assert!((ceilings.bytes_per_s / (2.0 * f64::from(256 << 20) / 0.125e-3) - 1.0).abs() < 1e-6);
    assert!((ceilings.flops_per_s / (2.0 * 128.0 * 132.0 * 1.98e9) - 1.0).abs() < 1e-6);
}
