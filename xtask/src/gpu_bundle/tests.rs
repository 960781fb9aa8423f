//! The scripts of `gpu/` without a GPU: they parse, say what they would run, keep the form of their reports with programs that only
//! pretend, go on after a lost device, and name a missing driver with an exit code of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Step, files_below, parse};
use crate::test::root;

/// A `gpu_check` that writes reports of the real one's form; its first check of everything loses the device.
const PRETENDING_CHECK: &str = r#"#!/usr/bin/env python3
import json, sys
args = sys.argv[1:]
def value(name):
    return args[args.index(name) + 1] if name in args else None
if args[0] == "correctness":
    row = {"label": "swiglu", "kernel": "swiglu", "dtype": "f32", "outcome": "right"}
    lost = {"label": "rope", "kernel": "rope", "dtype": "f32", "outcome": "lost"}
    is_first = value("--json") and "--resume" not in args and "--sample" not in args
    rows = [row, lost] if is_first else [row, dict(lost, outcome="right")]
    if value("--json"):
        json.dump({"rows": rows}, open(value("--json"), "w"))
    sys.exit(3 if is_first else 0)
cases = json.load(open(value("--cases")))
rows = [{"name": c["name"], "us": 10.0, "gbytes_per_s": 100.0, "schedule": "BM=64 warps=4"} for c in cases]
json.dump({"rows": rows}, open(value("--json"), "w"))
"#;

/// An `autotune` that records the schedule it was born with.
const PRETENDING_TUNER: &str = r#"#!/usr/bin/env python3
import json, pathlib, sys
args = sys.argv[1:]
value = lambda name: args[args.index(name) + 1]
extents = {k: int(v) for k, v in (word.split("=") for word in value("--shape").split(","))}
options = dict(word.split("=") for flag, word in zip(args, args[1:]) if flag == "--option")
folder = pathlib.Path(value("--out")) / "pretended"
folder.mkdir(parents=True, exist_ok=True)
file = folder / f"{args[1]}.json"
old = json.loads(file.read_text())["records"] if file.is_file() else []
bucket = {"dtype": value("--dtype"), "extents": extents, "options": options}
old.append({"bucket": bucket, "schedule": {"BM": 99}})
file.write_text(json.dumps({"kernel": args[1], "records": old}))
"#;

/// An `xtask` whose recorder writes vectors of nothing.
const PRETENDING_RECORDER: &str = r#"#!/usr/bin/env python3
import sys
assert sys.argv[1:4] == ["probes", "record", "--out"], sys.argv
open(sys.argv[4], "w").write("{}")
"#;

fn has_python() -> bool {
    let mut command = Command::new("python3");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Says in the closing summary that a test did not run.
fn skip(test: &str) {
    let line = format!("{test}: python3 is not installed");
    println!("{line}");
    if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
        fs::write(Path::new(&folder).join(test), line + "\n")
            .expect("the folder of skipped tests is writable");
    }
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tilewright-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).expect("a temporary folder");
        Self(folder)
    }

    fn program(&self, name: &str, text: &str) {
        let file = self.0.join("bin").join(name);
        fs::write(&file, text).expect("the program should be writable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it should become executable");
    }

    fn check(&self, args: &[&str]) -> Output {
        let mut command = Command::new("python3");
        command.arg("-B").arg(root().join("gpu/check")).arg("--out").arg(self.0.join("out"));
        command.arg("--bin").arg(self.0.join("bin")).arg("--scratch").arg(self.0.join("scratch"));
        command.args(args).env_remove("TILEWRIGHT_NVRTC").stdin(Stdio::null());
        command.output().expect("python3 should start")
    }

    fn json(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.0.join("out").join(name)).expect("the report should be there");
        serde_json::from_str(&text).expect("the report should be JSON")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn scripts_parse() {
    if !has_python() {
        return skip("scripts_parse");
    }
    let mut scripts = files_below(&root().join("gpu")).expect("the folder of the scripts");
    scripts.extend(super::SCRIPTS.map(|script| root().join(script)));
    assert!(scripts.len() > 4);
    for script in scripts {
        let program = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 10))";
        let output = Command::new("python3").args(["-c", program]).arg(&script).output().expect("python3");
        assert!(output.status.success(), "{}:\n{}", script.display(), text(&output.stderr));
    }
}

#[test]
fn a_dry_run_names_every_command_and_runs_none() {
    if !has_python() {
        return skip("a_dry_run_names_every_command_and_runs_none");
    }
    let scratch = Scratch::new("gpu-dry-run");
    let output = scratch.check(&["--dry-run"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    for word in ["memcheck", "racecheck", "autotune tune matmul", "peers.py", "executor bench", "m=8192"] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    assert!(!scratch.0.join("out").exists());
    let output = scratch.check(&["--parts", "nothing"]);
    assert!(text(&output.stderr).contains("no part nothing"));
}

#[test]
fn reports_have_their_form_and_a_lost_device_is_asked_again() {
    if !has_python() {
        return skip("reports_have_their_form_and_a_lost_device_is_asked_again");
    }
    let scratch = Scratch::new("gpu-pretend");
    scratch.program("gpu_check", PRETENDING_CHECK);
    scratch.program("autotune", PRETENDING_TUNER);
    scratch.program("xtask", PRETENDING_RECORDER);
    // Programs come compressed where the bundle has them so.
    let tuner = scratch.0.join("bin/autotune");
    let program =
        "import lzma, sys; lzma.open(sys.argv[1] + '.xz', 'wb').write(open(sys.argv[1], 'rb').read())";
    let status = Command::new("python3").args(["-c", program]).arg(&tuner).status().expect("python3");
    assert!(status.success() && fs::remove_file(&tuner).is_ok());
    let output = scratch.check(&["--parts", "correctness,tune,ratios,probes", "--seconds", "60"]);
    let report = scratch.json("report.json");
    let parts = &report["parts"];
    assert_eq!(parts["correctness"]["counts"]["right"], 2, "{report:#}\n{}", text(&output.stdout));
    assert_eq!(parts["correctness"]["ok"], true);
    assert_eq!(parts["probes"]["ok"], true, "{report:#}");
    assert!(scratch.json("probe-vectors.json").is_object());
    assert_eq!(parts["tune"]["failed"].as_array().map(Vec::len), Some(0), "{report:#}");
    let records = &scratch.json("tune.json")["records"]["pretended/matmul.json"]["records"];
    assert_eq!(records.as_array().map(Vec::len), Some(2));
    // The schedule that was found is the first that is timed.
    let cases = fs::read_to_string(scratch.0.join("scratch/cases.json")).expect("the cases are kept");
    assert!(cases.contains("\"matmul_4096\""), "{cases}");
    let ratios = scratch.json("ratios.json");
    assert_eq!(ratios["ours"]["matmul_8192"]["us"], 10.0);
    assert!(ratios["ratios"].is_object());
    for part in ["correctness", "tune", "ratios"] {
        assert!(parts[part]["seconds"].is_number(), "{report:#}");
    }
}

#[test]
fn ratios_are_over_one_for_the_faster() {
    if !has_python() {
        return skip("ratios_are_over_one_for_the_faster");
    }
    let program = "
import cases, json
mine = {'matmul_4096': {'us': 10.0}, 'matvec_4096': {'us': 5.0, 'gbytes_per_s': 90.0}}
peers = {'copy': {'gbytes_per_s': 100.0}, 'times': {'matmul_4096': {'cublas': {'us': 9.0}, 'triton': {'us': 20.0}, 'x': {'error': ''}}}}
print(json.dumps(cases.ratios(mine, peers)))
assert all(len(cases.EXTENTS[c['kernel']]) == len(c['shape']) for gpu in (True, False) for c in cases.ours(gpu))
first = cases.ours(True)[2]
assert cases.key('a', 'b', {'m': 1}, {'mask': 'causal'}) == cases.key('a', 'b', {'m': 1}, None)
assert cases.key('a', 'b', {'m': 1}, {'mask': 'full'}) != cases.key('a', 'b', {'m': 1}, None)
";
    let mut command = Command::new("python3");
    command.args(["-B", "-c", program]).env("PYTHONPATH", root().join("gpu"));
    let output = command.output().expect("python3 should start");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let ratios: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(ratios["matmul_4096"]["cublas"], 0.9);
    assert_eq!(ratios["matmul_4096"]["triton"], 2.0);
    assert_eq!(ratios["matmul_4096"]["best library"], 0.9);
    assert_eq!(ratios["matvec_4096"]["copy bandwidth"], 0.9);
}

#[test]
fn a_missing_device_has_an_exit_code_of_its_own() {
    if !has_python() {
        return skip("a_missing_device_has_an_exit_code_of_its_own");
    }
    let scratch = Scratch::new("gpu-missing");
    let refusing = "#!/bin/sh\necho 'error: the NVIDIA driver (libcuda) was not found' >&2\nexit 2\n";
    scratch.program("gpu_check", refusing);
    let output = scratch.check(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("driver"), "{}", text(&output.stderr));
}

#[test]
fn cases_are_problems_of_the_registry() {
    if !has_python() {
        return skip("cases_are_problems_of_the_registry");
    }
    let program =
        "import cases, json; print(json.dumps([cases.EXTENTS, cases.ours(True) + cases.ours(False)]))";
    let mut command = Command::new("python3");
    command.args(["-B", "-c", program]).env("PYTHONPATH", root().join("gpu"));
    let output = command.output().expect("python3 should start");
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for (kernel, extents) in printed[0].as_object().expect("an object") {
        let entry = tilewright_kernels::registry::find(kernel).expect("a kernel of the registry");
        assert_eq!(*extents, serde_json::json!(entry.shape_names), "{kernel}");
    }
    for case in printed[1].as_array().expect("a list") {
        let entry = tilewright_kernels::registry::find(case["kernel"].as_str().unwrap_or_default());
        let entry = entry.unwrap_or_else(|| panic!("{case}"));
        assert!(entry.dtypes.contains(&case["dtype"].as_str().unwrap_or_default()), "{case}");
        for (name, value) in case["options"].as_object().into_iter().flatten() {
            let values = entry.options.iter().find(|(n, _)| n == name).map(|(_, values)| *values);
            assert!(values.is_some_and(|v| v.contains(&value.as_str().unwrap_or_default())), "{case}");
        }
    }
}

#[test]
fn arguments_are_checked() {
    let args = parse(&["--no-build".to_owned()]).expect("it should parse");
    assert_eq!((args.builds, args.nvrtc), (Step::LeftOut, Step::Done));
    assert!(parse(&["--x".to_owned()]).is_err());
}
