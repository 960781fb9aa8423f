//! Runs every test and counts them: the closing line is `N passed, N failed, N skipped`.
//!
//! A test that needs what the machine lacks says so by writing a line into the folder that `TILEWRIGHT_SKIPPED_DIR` names;
//! those lines are shown and counted as skipped instead of passed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask should lie in the workspace")
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// `cargo xtask test [arguments of cargo test]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    // Without it the tests of CUDA code count as skipped, each saying why; the others do not need it.
    if let Err(error) = crate::nvrtc::fetch() {
        eprintln!("warning: NVRTC was not fetched: {error:#}");
    }
    let skipped_dir = root().join("target").join("skipped-tests");
    if skipped_dir.exists() {
        std::fs::remove_dir_all(&skipped_dir)
            .with_context(|| format!("clearing {}", skipped_dir.display()))?;
    }
    std::fs::create_dir_all(&skipped_dir).with_context(|| format!("creating {}", skipped_dir.display()))?;
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast", "--color", "never"])
        .args(args)
        .env("TILEWRIGHT_SKIPPED_DIR", &skipped_dir)
        .env("INSTA_UPDATE", "no")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test should have a standard output")?;
    let mut counts = Counts::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading the output of cargo test")?;
        // libtest's summaries are added up and printed once, at the end.
        if let Some(rest) = line.strip_prefix("test result: ") {
            add(&mut counts, rest);
        }
        writeln!(out, "{line}")?;
    }
    let status = child.wait().context("waiting for cargo test")?;
    let skipped = skipped_reasons(&skipped_dir)?;
    for reason in &skipped {
        writeln!(out, "skipped: {reason}")?;
    }
    let n_skipped = skipped.len() + counts.ignored;
    let passed = counts.passed.saturating_sub(skipped.len());
    writeln!(out, "{passed} passed, {} failed, {n_skipped} skipped", counts.failed)?;
    if !status.success() || counts.failed > 0 {
        bail!("tests failed");
    }
    if counts.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Adds one summary, such as `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out`.
fn add(counts: &mut Counts, summary: &str) {
    for part in summary.split([';', '.']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
        let Ok(number) = number.parse::<usize>() else { continue };
        match what {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.ignored += number,
            _ => {}
        }
    }
}

fn skipped_reasons(dir: &PathBuf) -> Result<Vec<String>> {
    let mut reasons = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        reasons.extend(text.lines().map(str::to_owned));
    }
    reasons.sort();
    Ok(reasons)
}

/// `cargo xtask bless`: rewrites what the tests compare against.
pub(crate) fn bless() -> Result<()> {
    let status = cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("TILEWRIGHT_BLESS", "1")
        .env("INSTA_UPDATE", "always")
        .env("TRYBUILD", "overwrite")
        .status()
        .context("starting cargo test")?;
    println!("review the rewritten files with `git diff` before committing them");
    if !status.success() {
        bail!("some tests still fail");
    }
    Ok(())
}

/// Records that a test of this crate did not run, and why, where the test task counts it.
#[cfg(test)]
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("{test}: {why}");
    if let Some(folder) = std::env::var_os("TILEWRIGHT_SKIPPED_DIR") {
        let name = format!("xtask-{}-{test}.txt", std::process::id());
        std::fs::write(Path::new(&folder).join(name), format!("{test}: {why}\n"))
            .expect("the folder for skipped tests should be writable");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up() {
        let mut counts = Counts::default();
        add(&mut counts, "ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        add(
            &mut counts,
            "FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.00s",
        );
        assert_eq!((counts.passed, counts.failed, counts.ignored), (13, 2, 1));
    }
}
