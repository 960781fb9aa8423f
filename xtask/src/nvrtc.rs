//! Fetches NVIDIA's run-time compiler and its disassembler as Python wheels into `target/nvrtc/`, where the runtime looks.
//!
//! Versions and hashes are pinned; pip checks the hashes. The folder appears complete or not at all: pip installs into a
//! neighbour that is renamed, and the requirements are recorded inside, so that a second call only compares them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::test::root;

/// The version of every wheel.
const VERSION: &str = "13.5.37";

/// The file that says what the folder holds.
const RECORD: &str = "requirements.txt";

/// A wheel with its SHA-256 for x86-64 and for 64-bit ARM, both for Linux.
struct Wheel {
    name: &'static str,
    sha256: [&'static str; 2],
}

const WHEELS: [Wheel; 6] = [
    Wheel {
        name: "nvidia-cuda-nvrtc",
        sha256: [
            "86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc",
            "36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096",
        ],
    },
    Wheel {
        name: "nvidia-cuda-runtime",
        sha256: [
            "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
            "de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d",
        ],
    },
    Wheel {
        name: "nvidia-cuda-crt",
        sha256: [
            "e898b7f73d3035fa89915a3f7bf3b54a73e90249746111aed295822c4729bb29",
            "9ed2c565fdf3244fa6719769a80a466b85bfd4b1467ea339353bc91c971d09e0",
        ],
    },
    Wheel {
        name: "nvidia-cuda-nvcc",
        sha256: [
            "f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7",
            "588eda18eb5076ae859fe272844b526459228af22df0b117f54eec3aa82bc9c8",
        ],
    },
    Wheel {
        name: "nvidia-cuda-cuobjdump",
        sha256: [
            "38780fee50863252a0b8926357faa91615ca1c8346490563f33a06100cd73f58",
            "f48e3148535365161a268547b285fd01d92c80e4b457275375933825b5fc26b2",
        ],
    },
    Wheel {
        name: "nvidia-cuda-nvdisasm",
        sha256: [
            "d3fdbdd49fa53e2e4aacd3db8259d052bd2b049ececdcb69e92e083c6728e7ca",
            "a3a8248074edb9fba63b74c38a5416b712a91ab09e70b8ab37186c3d293fc605",
        ],
    },
];

/// `cargo xtask nvrtc`: says where the compiler is, having fetched it if it was not there.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if let Some(argument) = args.first() {
        bail!("`cargo xtask nvrtc` takes no arguments, and `{argument}` was given");
    }
    let start = Instant::now();
    let (folder, was_there) = fetch()?;
    let what = if was_there { "already in" } else { "fetched into" };
    println!("NVRTC {VERSION} is {what} {} ({:.1} s)", folder.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// Makes sure that the wheels are in `target/nvrtc/`; returns the folder, and whether they were there already.
pub(crate) fn fetch() -> Result<(PathBuf, bool)> {
    fetch_into(&root().join("target").join("nvrtc"), &install_with_pip)
}

/// What pip is asked for, and what the folder records.
fn requirements() -> String {
    let mut text = String::new();
    for wheel in &WHEELS {
        text.push_str(&format!("{}=={VERSION}", wheel.name));
        for hash in wheel.sha256 {
            text.push_str(&format!(" --hash=sha256:{hash}"));
        }
        text.push('\n');
    }
    text
}

fn fetch_into(folder: &Path, install: &dyn Fn(&Path, &Path) -> Result<()>) -> Result<(PathBuf, bool)> {
    let wanted = requirements();
    let is_there = || fs::read_to_string(folder.join(RECORD)).is_ok_and(|found| found == wanted);
    if is_there() {
        return Ok((folder.to_owned(), true));
    }
    let parent = folder.parent().context("the folder should have a parent")?;
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let lock_path = folder.with_extension("lock");
    let lock = File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("locking {}", lock_path.display()))?;
    if is_there() {
        return Ok((folder.to_owned(), true));
    }
    let partial = folder.with_extension("partial");
    for stale in [&partial, &folder.to_path_buf()] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("removing {}", stale.display()))?;
        }
    }
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let record = partial.join(RECORD);
    fs::write(&record, &wanted).with_context(|| format!("writing {}", record.display()))?;
    install(&record, &partial)?;
    fs::rename(&partial, folder)
        .with_context(|| format!("renaming {} to {}", partial.display(), folder.display()))?;
    Ok((folder.to_owned(), false))
}

fn install_with_pip(requirements: &Path, folder: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        bail!(
            "the pinned wheels are for Linux on x86-64 and 64-bit ARM: install a CUDA toolkit here and set CUDA_HOME to it"
        );
    }
    let Some(python) = ["python3", "python"].into_iter().find(|python| has_pip(python)) else {
        bail!(
            "NVRTC comes as Python wheels, and neither `python3 -m pip` nor `python -m pip` runs here: install Python \
             with pip, or install a CUDA toolkit and set CUDA_HOME to it"
        );
    };
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--root-user-action", "ignore"])
        .args(["--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .arg("--target")
        .arg(folder)
        .arg("--requirement")
        .arg(requirements);
    let status = command.status().with_context(|| format!("starting {python} -m pip"))?;
    if !status.success() {
        bail!(
            "`{python} -m pip install` of the NVRTC wheels {VERSION} failed ({status}); its message is above"
        );
    }
    Ok(())
}

fn has_pip(python: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn fetched_once_and_whole_or_not_at_all() {
        let base = std::env::temp_dir().join(format!("tilewright-xtask-nvrtc-{}", std::process::id()));
        let folder = base.join("nvrtc");
        let n_installs = Cell::new(0);
        let install = |record: &Path, into: &Path| {
            n_installs.set(n_installs.get() + 1);
            assert_eq!(fs::read_to_string(record)?, requirements());
            fs::write(into.join("libnvrtc.so.13"), "library")?;
            if n_installs.get() == 1 { bail!("the network went away") } else { Ok(()) }
        };
        fetch_into(&folder, &install).expect_err("a failed installation should be an error");
        assert!(!folder.exists(), "half an installation must not be found");
        assert!(!fetch_into(&folder, &install).expect("the second try should do").1);
        assert!(fetch_into(&folder, &install).expect("it should be there").1);
        assert_eq!(n_installs.get(), 2);
        fs::write(folder.join(RECORD), "another version").expect("the record should be writable");
        assert!(!fetch_into(&folder, &install).expect("another version is replaced").1);
        assert_eq!(n_installs.get(), 3);
        fs::remove_dir_all(&base).expect("the folder should be removable");
    }

    #[test]
    fn every_wheel_is_pinned_by_version_and_hashes() {
        let text = requirements();
        assert_eq!(text.lines().count(), WHEELS.len());
        for line in text.lines() {
            let hashes: Vec<&str> =
                line.split_whitespace().filter_map(|word| word.strip_prefix("--hash=sha256:")).collect();
            assert!(line.contains(&format!("=={VERSION} ")), "{line}");
            assert_eq!(hashes.len(), 2, "{line}");
            assert!(hashes.iter().all(|hash| hash.len() == 64), "{line}");
        }
    }
}
