//! What the executor asks of NVIDIA's driver, seen by a stand-in that computes nothing: weights through two pinned chunks and a
//! stream of their own, then per token one copy in, one graph, one copy out; and the refusal of a model that does not fit. Skipped,
//! and counted so, without NVRTC or where no `libcuda.so` can stand in.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tilewright_runtime::cuda::nvrtc::Nvrtc;

/// The folder of the stand-in, built once; `None` where it cannot be, and the test counts as skipped.
fn standin(test: &str, folder: &Path) -> Option<PathBuf> {
    let skip = |why: &str| {
        let line = format!("{test}: {why}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(skipped) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
            let file = Path::new(&skipped).join(format!("executor-{}-{test}.txt", std::process::id()));
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
        .arg(&library)
        .arg(source)
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

/// Runs the executor with the stand-in; its output, and the lines of the log.
fn run(folder: &Path, bytes: u64, args: &[&str]) -> (Output, Vec<String>) {
    let log = folder.join("log");
    let _ = std::fs::remove_file(&log);
    let output = Command::new(env!("CARGO_BIN_EXE_executor"))
        .args(args)
        .env("LD_LIBRARY_PATH", folder)
        .env("STANDIN_LOG", &log)
        .env("STANDIN_BYTES", bytes.to_string())
        .env("TILEWRIGHT_CACHE_DIR", folder.join("cache"))
        .output()
        .expect("the program should start");
    let lines = std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
    (output, lines)
}

#[test]
fn a_decode_step_is_one_copy_in_one_graph_and_one_copy_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(folder) = standin("a_decode_step_is_one_copy_in_one_graph_and_one_copy_out", folder.path())
    else {
        return;
    };
    let args = ["run", "--device", "cuda:0", "--max-new-tokens", "8", "--page-size", "64", "128+345="];
    let (output, log) = run(&folder, 1 << 30, &args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");

    let pinned: Vec<&String> = log.iter().filter(|line| line.starts_with("pin ")).collect();
    assert_eq!(pinned.len(), 2, "two chunks for all weights: {pinned:?}");
    assert_eq!(log.iter().filter(|line| *line == "stream").count(), 3, "home, launches, copies");

    let graphs: Vec<usize> =
        log.iter().enumerate().filter(|(_, line)| line.starts_with("graph ")).map(|(at, _)| at).collect();
    assert!(graphs.len() >= 5, "most of 7 steps should be replayed: {log:#?}");
    for pair in graphs.windows(2) {
        let between: Vec<&str> =
            log[pair[0] + 1..pair[1]].iter().map(|line| line.split(' ').next().unwrap_or("")).collect();
        assert_eq!(between, ["dtoh", "htod"], "between two tokens: the id out, the inputs in");
        assert_eq!(log[pair[0] + 1], "dtoh 4", "only the id comes back");
    }
    let launches: usize = log[graphs[0]].trim_start_matches("graph ").parse().expect("a number of launches");
    assert!(launches > 20, "a step is all its kernels: {launches}");

    // The same steps, kernel by kernel.
    let (output, log) = run(&folder, 1 << 30, &[&args[..], &["--no-graphs"]].concat());
    assert!(output.status.success());
    assert!(!log.iter().any(|line| line.starts_with("graph ")));
    let samples = log.iter().filter(|line| line.starts_with("launch ") && line.contains("sample")).count();
    assert_eq!(samples, 8, "one pick per token");
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_it_is_placed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let test = "a_model_that_does_not_fit_is_refused_before_it_is_placed";
    let Some(folder) = standin(test, folder.path()) else { return };
    let (output, log) = run(&folder, 2 << 20, &["run", "--device", "cuda:0", "1+1="]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in
        ["device cuda:0 has 2.00 MiB free of 2.00 MiB", "of weights", "of KV cache", "lower --context"]
    {
        assert!(error.contains(part), "`{part}` should be in: {error}");
    }
    assert!(!log.iter().any(|line| line.starts_with("pin ")), "nothing should be uploaded");
}
