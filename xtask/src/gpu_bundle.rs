//! `cargo xtask gpu-bundle`: everything that `gpu/check` needs on a machine that has a GPU, Python and no Rust, in one folder.
//!
//! ```text
//! target/gpu-bundle/bin/   gpu_check, autotune, executor, xtask (for `xtask probes record`), stripped
//!                   lib/   NVRTC with its builtins
//!                   gpu/   the scripts
//! ```
//!
//! Programs and compiler are compressed, and `gpu/check` unpacks them. The compiler is the one that everything was checked with here;
//! it is compressed once per version, since that takes minutes, and `gpu/check` uses the machine's where it is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::test::{cargo, root};

#[cfg(test)]
mod tests;

/// Programs that the checks need.
const PROGRAMS: [&str; 4] = ["gpu_check", "autotune", "executor", "xtask"];

/// Scripts outside `gpu/` that the checks run.
const SCRIPTS: [&str; 1] = ["benches/peers/make_model.py"];

/// What a machine that is lent for minutes takes at a time, in bytes: said when the bundle is larger.
const CARRIED_BYTES: u64 = 64 << 20;

struct Args {
    builds: Step,
    nvrtc: Step,
}

/// Whether a step is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Done,
    LeftOut,
}

/// `cargo xtask gpu-bundle [--no-build] [--no-nvrtc]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = parse(args)?;
    let bundle = root().join("target/gpu-bundle");
    if args.builds == Step::Done {
        build()?;
    }
    let bin = fresh(&bundle.join("bin"))?;
    for program in PROGRAMS {
        let built = release_folder().join(program);
        let copy = bin.join(program);
        fs::copy(&built, &copy)
            .with_context(|| format!("copying {}: it is built without --no-build", built.display()))?;
        strip(&copy);
        compress(&copy, &bin.join(format!("{program}.xz")))?;
        fs::remove_file(&copy).with_context(|| format!("removing {}", copy.display()))?;
    }
    match args.nvrtc {
        Step::Done => pack_nvrtc(&bundle.join("lib"))?,
        Step::LeftOut => {
            fresh(&bundle.join("lib"))?;
        }
    }
    let scripts = fresh(&bundle.join("gpu"))?;
    for file in files_below(&root().join("gpu"))? {
        let name = file.file_name().context("a script has a name")?;
        fs::copy(&file, scripts.join(name)).with_context(|| format!("copying {}", file.display()))?;
    }
    for script in SCRIPTS {
        let file = root().join(script);
        let name = file.file_name().context("a script has a name")?;
        fs::copy(&file, scripts.join(name)).with_context(|| format!("copying {}", file.display()))?;
    }
    let mut total = 0;
    for folder in ["bin", "lib", "gpu"] {
        for file in files_below(&bundle.join(folder))? {
            let bytes = fs::metadata(&file)?.len();
            total += bytes;
            let name = file.strip_prefix(&bundle).unwrap_or(&file);
            println!("{:>8.1} MB  {}", bytes as f64 / 1e6, name.display());
        }
    }
    println!("{:>8.1} MB  in {}", total as f64 / 1e6, bundle.display());
    if total > CARRIED_BYTES {
        println!(
            "larger than {} MiB: --no-nvrtc leaves the compiler to the other machine",
            CARRIED_BYTES >> 20
        );
    }
    println!("there: python3 target/gpu-bundle/gpu/check --out DIR   (docs/gpu-check.md)");
    Ok(())
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed = Args { builds: Step::Done, nvrtc: Step::Done };
    for arg in args {
        match arg.as_str() {
            "--no-build" => parsed.builds = Step::LeftOut,
            "--no-nvrtc" => parsed.nvrtc = Step::LeftOut,
            other => bail!("unknown argument `{other}` of gpu-bundle: it takes --no-build and --no-nvrtc"),
        }
    }
    Ok(parsed)
}

fn build() -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--release", "--workspace"]);
    for program in PROGRAMS {
        command.args(["--bin", program]);
    }
    let status = command.status().context("starting cargo build")?;
    if !status.success() {
        bail!("the programs do not build");
    }
    Ok(())
}

fn release_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release")
}

/// An empty folder.
fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder.to_owned())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Removes symbols and lines; without `strip` the program only stays large.
fn strip(program: &Path) {
    let done = Command::new("strip").arg(program).stdin(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        eprintln!("warning: `strip` did not run over {}, which stays large", program.display());
    }
}

/// The compiler's libraries, each compressed unless it was already.
fn pack_nvrtc(folder: &Path) -> Result<()> {
    let (wheels, _) = crate::nvrtc::fetch()?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let libraries = files_below(&wheels.join("nvidia/cu13/lib"))?;
    let names = |file: &Path| file.file_name().map(|name| name.to_string_lossy().into_owned());
    let wanted: Vec<PathBuf> = libraries
        .into_iter()
        .filter(|file| names(file).is_some_and(|name| name.starts_with("libnvrtc") && name.contains(".so")))
        .collect();
    if wanted.is_empty() {
        bail!("{} has no NVRTC", wheels.display());
    }
    let mut kept = Vec::new();
    for library in wanted {
        let name = names(&library).context("a library has a name")?;
        let (packed, record) = (folder.join(format!("{name}.xz")), folder.join(format!("{name}.size")));
        let size = fs::metadata(&library)?.len().to_string();
        if !packed.exists() || fs::read_to_string(&record).unwrap_or_default() != size {
            eprintln!("compressing {name}, which takes a minute or more");
            compress(&library, &packed)?;
            fs::write(&record, size).with_context(|| format!("writing {}", record.display()))?;
        }
        kept.extend([packed, record]);
    }
    for stale in files_below(folder)?.into_iter().filter(|file| !kept.contains(file)) {
        fs::remove_file(&stale).with_context(|| format!("removing {}", stale.display()))?;
    }
    Ok(())
}

/// Compresses a file so that Python's `lzma` reads it.
fn compress(file: &Path, to: &Path) -> Result<()> {
    let part = to.with_extension("part");
    let out = fs::File::create(&part).with_context(|| format!("creating {}", part.display()))?;
    let status = Command::new("xz")
        .args(["--stdout", "--threads=0", "-4"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(out)
        .status()
        .context("starting xz: install xz-utils, or leave the compiler out with --no-nvrtc")?;
    if !status.success() {
        bail!("xz failed over {} with {status}", file.display());
    }
    fs::rename(&part, to).with_context(|| format!("renaming {} to {}", part.display(), to.display()))
}
