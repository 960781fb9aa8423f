//! `cargo xtask bench-cpu`: our benchmarks and the peers in one sitting, and their ratios.
//!
//! Operations run ours, peer, ours: a noisy neighbour between two runs then shows as a difference between our own two. The
//! peers' Python environments are made under `target/peers/` on first use; `TILEWRIGHT_PEERS_PYTHON` and
//! `TILEWRIGHT_OPENVINO_PYTHON` name interpreters that have the packages already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::test::{cargo, root};

/// What the command line asks for.
struct Options {
    json: Option<PathBuf>,
    seconds: &'static str,
    llm: bool,
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { json: None, seconds: "3", llm: true };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--json" => {
                let file = rest.next().context("--json needs a file name")?;
                options.json = Some(std::env::current_dir()?.join(file));
            }
            "--quick" => options.seconds = "0.5",
            "--no-llm" => options.llm = false,
            other => bail!("unknown option `{other}`: bench-cpu takes --json FILE, --quick and --no-llm"),
        }
    }
    Ok(options)
}

/// Runs everything and prints the ratios.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let options = options(args)?;
    let python = environment("TILEWRIGHT_PEERS_PYTHON", "peers", "requirements.txt")?;
    eprintln!("building");
    let status = cargo()
        .args(["build", "--release", "--bench", "cpu_ops", "--bin", "executor"])
        .args(packages())
        .status()?;
    if !status.success() {
        bail!("the benchmarks do not build");
    }
    eprintln!("operations");
    let first = our_ops(options.seconds)?;
    let peer = json_line(script(&python, "ops.py").args(["--seconds", options.seconds]))?;
    let second = our_ops(options.seconds)?;
    let ours = best_of(&first, &second);
    let mut ratios = op_ratios(&ours, &peer);
    let mut report = Map::new();
    report.insert("command".into(), json!(format!("cargo xtask bench-cpu {}", args.join(" "))));
    report.insert("machine".into(), machine());
    report.insert("operations".into(), json!({ "ours": ours, "pytorch": peer }));
    if options.llm {
        let models = llm(&python)?;
        ratios.extend(llm_ratios(&models));
        report.insert("models".into(), models);
    }
    report.insert("ratios".into(), Value::Object(ratios.clone()));
    if let Some(path) = &options.json {
        write_whole(path, &format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    }
    let line: Vec<String> =
        ratios.iter().map(|(name, value)| format!("{name} {:.2}", value.as_f64().unwrap_or(0.0))).collect();
    println!("ratios: {}", line.join(", "));
    Ok(())
}

fn packages() -> [&'static str; 4] {
    ["--package", "tilewright", "--package", "tilewright-executor"]
}

/// Writes a file in one step, so that a reader never sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let part = path.with_extension("json.part");
    std::fs::write(&part, text).with_context(|| format!("writing {}", part.display()))?;
    std::fs::rename(&part, path).with_context(|| format!("renaming {} to {}", part.display(), path.display()))
}

/// A Python interpreter with the packages of one requirements file.
pub(crate) fn environment(variable: &str, name: &str, requirements: &str) -> Result<PathBuf> {
    if let Some(python) = std::env::var_os(variable) {
        return Ok(python.into());
    }
    let folder = root().join("target/peers").join(name);
    let python = folder.join("bin/python");
    if !folder.join("complete").exists() {
        eprintln!("installing {requirements} into {}", folder.display());
        check(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        check(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "-r"])
                .arg(root().join("benches/peers").join(requirements)),
        )?;
        std::fs::write(folder.join("complete"), "")?;
    }
    Ok(python)
}

fn check(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed with {status}");
    }
    Ok(())
}

fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("benches/peers").join(name));
    command
}

/// Runs a command whose standard output ends with one line of JSON.
fn json_line(command: &mut Command) -> Result<Value> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed with {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).context("no output")?;
    serde_json::from_str(line).with_context(|| format!("{command:?} printed no JSON"))
}

fn our_ops(seconds: &str) -> Result<Value> {
    json_line(cargo().args(["bench", "--quiet", "--bench", "cpu_ops", "--", "--seconds", seconds]))
}

/// Per operation, the faster of two runs.
fn best_of(first: &Value, second: &Value) -> Value {
    let mut out = first.clone();
    let (Some(out_map), Some(other)) = (out.as_object_mut(), second.as_object()) else { return out };
    for (name, entry) in other {
        let time = |v: &Value| v["best_s"].as_f64().unwrap_or(f64::INFINITY);
        match out_map.get(name) {
            Some(mine) if time(mine) <= time(entry) => {}
            _ => {
                out_map.insert(name.clone(), entry.clone());
            }
        }
    }
    out
}

/// Their best time over ours; and our share of the limit, where an entry has one.
fn op_ratios(ours: &Value, peer: &Value) -> Map<String, Value> {
    let mut ratios = Map::new();
    let Some(entries) = ours.as_object() else { return ratios };
    for (name, entry) in entries {
        if let Some(share) = entry["of_limit"].as_f64() {
            ratios.insert(format!("{name}/limit"), json!(share));
        }
        if let (Some(mine), Some(theirs)) = (entry["best_s"].as_f64(), peer[name]["best_s"].as_f64()) {
            ratios.insert(format!("{name}/torch"), json!(theirs / mine));
        }
    }
    ratios
}

/// The random Qwen3-0.6B-shaped checkpoint through us and through each peer that runs here.
fn llm(python: &Path) -> Result<Value> {
    let models = std::env::var_os("TILEWRIGHT_PEER_MODELS")
        .map_or_else(|| root().join("target/peers/models"), PathBuf::from);
    let folder = models.join("qwen3-0.6b-rand");
    let gguf = |kind: &str| models.join(format!("qwen3-0.6b-rand-{kind}.gguf"));
    if !folder.join("model.safetensors").exists() {
        check(script(python, "make_model.py").arg(&folder))?;
    }
    for kind in ["BF16", "F16"] {
        if !gguf(kind).exists() {
            check(script(python, "to_gguf.py").arg(&folder).arg(gguf(kind)).args(["--type", kind]))?;
        }
    }
    let mut out = Map::new();
    eprintln!("tilewright");
    out.insert("tilewright bf16".into(), our_llm(&folder)?);
    let mut peer = |name: &str, command: &mut Command| {
        eprintln!("{name}");
        let result = json_line(command).unwrap_or_else(|e| json!({ "error": format!("{e:#}") }));
        out.insert(name.to_owned(), result);
    };
    peer("llama.cpp bf16", script(python, "llamacpp.py").arg(gguf("BF16")));
    peer("transformers f32", script(python, "llm.py").arg(&folder).args(["--dtype", "f32"]));
    peer("transformers bf16", script(python, "llm.py").arg(&folder).args(["--dtype", "bf16"]));
    match environment("TILEWRIGHT_OPENVINO_PYTHON", "openvino", "requirements-openvino.txt") {
        Ok(openvino) => peer("openvino f16", script(&openvino, "openvino_llm.py").arg(gguf("F16"))),
        Err(error) => {
            out.insert("openvino f16".into(), json!({ "error": format!("{error:#}") }));
        }
    }
    eprintln!("tilewright again");
    out.insert("tilewright bf16, second run".into(), our_llm(&folder)?);
    Ok(Value::Object(out))
}

fn our_llm(folder: &Path) -> Result<Value> {
    let file = root().join("target/peers/ours.json");
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut command = Command::new(root().join("target/release/executor"));
    if let Some(target) = std::env::var_os("CARGO_TARGET_DIR") {
        command = Command::new(PathBuf::from(target).join("release/executor"));
    }
    command.arg("bench").arg("--model").arg(folder);
    check(
        command
            .args(["--prompt-tokens", "512", "--gen-tokens", "64", "--runs", "3", "--json"])
            .arg(&file)
            .stdout(Stdio::null()),
    )?;
    let mut report: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    // The folder's place on this machine is nobody else's business.
    report["model"] = json!(folder.file_name().map(|name| name.to_string_lossy()));
    Ok(report)
}

/// The best figure under `key`, whether it is a number or an object with a `best`.
fn best(entry: &Value, key: &str) -> Option<f64> {
    entry[key].as_f64().or_else(|| entry[key]["best"].as_f64())
}

fn llm_ratios(models: &Value) -> Map<String, Value> {
    let mut ratios = Map::new();
    for key in ["decode_tokens_per_s", "prefill_tokens_per_s"] {
        let runs = ["tilewright bf16", "tilewright bf16, second run"];
        let Some(ours) = runs.iter().filter_map(|r| best(&models[*r], key)).reduce(f64::max) else {
            continue;
        };
        let short = key.trim_end_matches("_tokens_per_s");
        for peer in ["llama.cpp bf16", "transformers f32", "transformers bf16", "openvino f16"] {
            if let Some(theirs) = best(&models[peer], key) {
                ratios.insert(format!("{short}/{peer}"), json!(ours / theirs));
            }
        }
    }
    ratios
}

fn machine() -> Value {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .find(|l| l.starts_with(name))
            .and_then(|l| l.split(':').nth(1))
            .map(|v| v.trim().to_owned())
    };
    json!({
        "cpu": field("model name"),
        "family": field("cpu family"),
        "model": field("model\t"),
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}
