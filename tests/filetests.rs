//! Text in, text out: each `.tile` file under `tests/filetests` has a snapshot beside it.
//!
//! The folder says what is done with the file: `parse` prints it anew, `verify` shows the errors under the lines they are
//! about, `passes/<pass>` runs one pass, `passes/pipeline` all of them, `gpu` lowers to the GPU level. `gpu-parse` and
//! `gpu-verify` do for `.gpu` files what `parse` and `verify` do. Every legal function on the way must survive printing and
//! parsing unchanged. After a change, `INSTA_UPDATE=always cargo test --test filetests` rewrites the snapshots;
//! read the difference.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use tilewright_codegen::gpu::verify::render_errors as render_gpu_errors;
use tilewright_codegen::gpu::{self, ArgFacts, GpuFunc};
use tilewright_codegen::ir::docs::{STATEMENTS, STRUCTURAL, ops_markdown};
use tilewright_codegen::ir::verify::{render_errors, verify};
use tilewright_codegen::ir::walk::renumber_values;
use tilewright_codegen::ir::{ArgOp, BinaryOp, DType, Func, ReduceOp, UnaryOp, ViewFacts, parse, print};
use tilewright_codegen::passes::{PIPELINE, PassCx, run_pipeline};
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of a folder that end in `.tile`, or in `.gpu` where the folder is of that level, by name.
fn files(kind: &str) -> Vec<PathBuf> {
    let ending = if kind.starts_with("gpu-") { "gpu" } else { "tile" };
    let folder = root().join("tests/filetests").join(kind);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("reading {}: {e}", folder.display()));
    let mut files: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{} should hold .{ending} files", folder.display());
    files
}

/// Compares what `run` makes of each file with the snapshot beside it.
fn check(kind: &str, run: impl Fn(&str) -> String) {
    for path in files(kind) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let result = run(&text);
        insta::with_settings!({
            snapshot_path => path.parent().unwrap(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, result);
        });
    }
}

/// The text of a function that must survive printing and parsing.
fn printed(func: &Func) -> String {
    let text = print(func);
    let again = parse(&text).unwrap_or_else(|e| panic!("what was printed should parse: {e}\n{text}"));
    assert_eq!(&again, func, "printing and parsing should change nothing:\n{text}");
    text
}

/// The function of a file that should be legal.
fn legal(text: &str) -> Func {
    let func = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    if let Some(errors) = render_errors(&func) {
        panic!("the file should be legal:\n{errors}");
    }
    func
}

#[test]
fn parse_and_print() {
    check("parse", |text| match parse(text) {
        Ok(func) => printed(&func),
        Err(error) => {
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            format!("{error}\n{line}\n{:>1$}", "^", error.column)
        }
    });
}

#[test]
fn verify_and_report() {
    check("verify", |text| {
        let func = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        match verify(&func) {
            Ok(facts) => {
                let facts: Vec<String> = (0..func.values.len())
                    .map(|v| {
                        let how = facts.definition[v].expect("every value should be defined");
                        format!(
                            "%{v}: {how:?}, read {} times, in {} loops",
                            facts.uses[v], facts.loop_depth[v]
                        )
                    })
                    .collect();
                facts.join("\n")
            }
            Err(errors) => {
                let shown = render_errors(&func).expect("an illegal function should have errors to show");
                assert_eq!(shown.matches("// ^ error: ").count(), errors.0.len());
                shown
            }
        }
    });
}

#[test]
fn passes() {
    let mut seen = Vec::new();
    for pass in PIPELINE {
        let name = pass.name.trim_end_matches("_2");
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        check(&format!("passes/{name}"), |text| {
            let mut func = legal(text);
            (pass.run)(&mut func, &PassCx::default());
            if let Some(errors) = render_errors(&func) {
                panic!("{name} should leave a legal function:\n{errors}");
            }
            renumber_values(&mut func);
            printed(&func)
        });
    }
}

#[test]
fn pipeline() {
    check("passes/pipeline", |text| {
        let mut func = legal(text);
        run_pipeline(&mut func, &PassCx::default()).expect("the file was verified");
        let once = printed(&func);
        run_pipeline(&mut func, &PassCx::default()).expect("the result should be legal");
        assert_eq!(printed(&func), once, "a second run should find nothing more to do");
        once
    });
}

/// The text of a function of the GPU level that must survive printing and parsing.
fn gpu_printed(func: &GpuFunc) -> String {
    let text = gpu::print(func);
    let again = gpu::parse(&text).unwrap_or_else(|e| panic!("what was printed should parse: {e}\n{text}"));
    assert_eq!(&again, func, "printing and parsing should change nothing:\n{text}");
    text
}

/// The number after `word` in the first line of a file.
fn knob(text: &str, word: &str) -> Option<i64> {
    let mut words = text.lines().next()?.split_whitespace().skip_while(|w| *w != word);
    words.nth(1)?.parse().ok()
}

#[test]
fn gpu_parse_and_print() {
    check("gpu-parse", |text| match gpu::parse(text) {
        Ok(func) => gpu_printed(&func),
        Err(error) => {
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            format!("{error}\n{line}\n{:>1$}", "^", error.column)
        }
    });
}

#[test]
fn gpu_verify_and_report() {
    check("gpu-verify", |text| {
        let func = gpu::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let target = Arch::parse(&func.arch).expect("the file should name a target");
        assert_eq!(func.name.starts_with("legal"), gpu::verify(&func, target).is_ok(), "{text}");
        render_gpu_errors(&func, target).unwrap_or_else(|| gpu_printed(&func))
    });
}

/// The first line says for what: `// target sm_80 warps 4 stages 2 divisible 16`.
#[test]
fn gpu_lowering() {
    check("gpu", |text| {
        let func = legal(text);
        let arch =
            text.lines().next().and_then(|l| l.strip_prefix("// target ")).expect("a target should be named");
        let arch = arch.split_whitespace().next().unwrap_or_default();
        let target = Arch::parse(arch).expect("the target should exist");
        let schedule = ["warps", "stages", "persistent", "cluster", "dependent", "overlap", "pingpong"]
            .into_iter()
            .fold(Schedule::default(), |schedule, word| {
                knob(text, word).map_or(schedule.clone(), |n| schedule.with(word, n))
            });
        let divisible = knob(text, "divisible").map_or(1, |n| n as u32);
        let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible }, is_small: true };
        let args = vec![facts; func.params.len()];
        let stages = RefCell::new(Vec::new());
        let observer = |stage: &str, func: &GpuFunc| {
            stages.borrow_mut().push(stage.to_owned());
            Some(gpu::parse(&gpu_printed(func)).expect("what was printed should parse"))
        };
        let passes = gpu::passes::PassCx { observer: Some(&observer) };
        let lowered = gpu::lower_observed(&func, &schedule, target, &args, &passes)
            .unwrap_or_else(|e| panic!("the file should lower:\n{e}"));
        let wanted: Vec<&str> =
            std::iter::once(gpu::passes::INPUT).chain(gpu::passes::PIPELINE.iter().map(|p| p.name)).collect();
        assert_eq!(stages.into_inner(), wanted);
        assert_eq!(render_gpu_errors(&lowered, target), None);
        gpu_printed(&lowered)
    });
}

#[test]
fn every_operation_is_in_a_parse_file() {
    let all: String = files("parse").iter().map(|p| fs::read_to_string(p).unwrap()).collect();
    let words: Vec<&str> = all.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let tables = UnaryOp::ALL.iter().map(|op| op.mnemonic());
    let tables = tables.chain(BinaryOp::ALL.iter().map(|op| op.mnemonic()));
    let tables = tables.chain(ReduceOp::ALL.iter().map(|op| op.mnemonic()));
    let tables = tables.chain(ArgOp::ALL.iter().map(|op| op.mnemonic()));
    let tables = tables.chain(STRUCTURAL.iter().chain(STATEMENTS).map(|row| row.mnemonic));
    for mnemonic in tables.chain(DType::ALL.iter().map(|d| d.name())) {
        assert!(words.contains(&mnemonic), "no file under tests/filetests/parse has `{mnemonic}`");
    }
}

#[test]
fn op_reference_is_fresh() {
    let path = root().join("docs/ops.md");
    let wanted = ops_markdown();
    if std::env::var_os("TILEWRIGHT_BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/ops.md is stale: run `TILEWRIGHT_BLESS=1 cargo test --test filetests`");
}
