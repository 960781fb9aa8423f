//! `cargo xtask probes`: questions to hardware, asked by small kernels (`gpu/probes`), and whether the simulator answers alike.
//!
//! - `check` runs every probe in the simulator and compares with what follows from the manual, calculated here;
//! - `record --out FILE` runs them on the CUDA device of this machine and writes what it gave;
//! - `replay [--dir DIR]` compares the simulator with what was recorded, by default in `gpu/probes/vectors`.
//!
//! The program needs the driver and NVRTC only, so its executable can be carried to a machine that has a GPU and no Rust.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tilewright_codegen::target::Arch;
use tilewright_runtime::cache::DiskCache;
use tilewright_runtime::cuda::cached::compile_cached;
use tilewright_runtime::cuda::context::Context;
use tilewright_runtime::cuda::driver::Driver;
use tilewright_runtime::cuda::nvrtc::{CompileOptions, CompiledCuda, Nvrtc};
use tilewright_runtime::cuda::stream::CudaStream;
use tilewright_sim::Policy;

mod hardware;
mod list;
mod probe;
mod simulate;
#[cfg(test)]
mod tests;
mod vectors;

use probe::Probe;
use vectors::{Recorded, Vectors, fingerprint};

/// Schedules that a probe is simulated under; all must give the same.
const SCHEDULES: [(Policy, u64); 3] = [(Policy::Eager, 0), (Policy::Lazy, 1), (Policy::Random, 2)];

/// `cargo xtask probes check | record --out FILE | replay [--dir DIR]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["check"] => check(),
        ["record", "--out", path] => record(Path::new(path)),
        ["replay"] => replay(&folder()),
        ["replay", "--dir", dir] => replay(Path::new(dir)),
        _ => bail!("usage: cargo xtask probes check | record --out FILE | replay [--dir DIR]"),
    }
}

/// Where vectors are committed.
fn folder() -> PathBuf {
    crate::test::root().join("gpu").join("probes").join("vectors")
}

/// Compiled files of probes, by name and architecture.
#[derive(Default)]
struct Codes(HashMap<(&'static str, Arch), CompiledCuda>);

impl Codes {
    fn of(&mut self, probe: &Probe, arch: Arch) -> Result<&CompiledCuda> {
        match self.0.entry((probe.file.name, arch)) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let options =
                    CompileOptions { name: format!("{}.cu", probe.file.name), ..CompileOptions::default() };
                let cache = DiskCache::from_env();
                let (compiled, _) =
                    compile_cached(Nvrtc::get()?, cache.as_ref(), probe.file.source, arch, &options)
                        .with_context(|| format!("compiling {}.cu for {arch}", probe.file.name))?;
                Ok(new.insert(compiled))
            }
        }
    }
}

/// What the simulator gives for a probe: the same under every schedule, with nothing found.
fn simulated(probe: &Probe, codes: &mut Codes) -> Result<Vec<u8>> {
    let ptx = &codes.of(probe, Arch::Sm90a)?.ptx;
    let mut first: Option<Vec<u8>> = None;
    for (policy, seed) in SCHEDULES {
        let (output, report) = simulate::run(probe, ptx, policy, seed)?;
        if !report.is_clean() {
            bail!("{}: {report}", probe.name);
        }
        match &first {
            Some(known) if *known != output => bail!("{}: schedules give different results", probe.name),
            Some(_) => {}
            None => first = Some(output),
        }
    }
    first.context("there should be a schedule")
}

fn check() -> Result<()> {
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    let (probes, mut codes) = (list::all(), Codes::default());
    let (mut n_right, mut n_expected) = (0, 0);
    for probe in &probes {
        n_expected += usize::from(probe.expected.is_some());
        match complaint(probe, &mut codes) {
            None => n_right += 1,
            Some(complaint) => println!("{}: {complaint}", probe.name),
        }
    }
    println!(
        "{n_right} of {} probes run in the simulator as they should; {n_expected} have an expectation of their own",
        probes.len()
    );
    if n_right < probes.len() {
        bail!("{} probes are wrong", probes.len() - n_right);
    }
    Ok(())
}

/// What is wrong with a probe in the simulator.
fn complaint(probe: &Probe, codes: &mut Codes) -> Option<String> {
    match simulated(probe, codes) {
        Err(error) => Some(format!("{error:#}")),
        Ok(output) => probe.expected.as_ref().and_then(|e| probe.compare.difference(&output, e)),
    }
}

fn record(path: &Path) -> Result<()> {
    let context = Context::of(0)?;
    let stream = CudaStream::new(&context)?;
    let (info, arch) = (context.info().clone(), context.arch());
    let capability = 10 * info.capability.0 + info.capability.1;
    let mut codes = Codes::default();
    let (mut results, mut n_surprises) = (Vec::new(), 0);
    let is_possible = |probe: &&Probe| match probe.needs {
        // What is Hopper's own is in code for sm_90a only.
        90 => capability == 90,
        needs => needs <= capability,
    };
    for probe in list::all().iter().filter(is_possible) {
        let output = hardware::run(probe, &codes.of(probe, arch)?.cubin, &stream)?;
        if let Some(surprise) = probe.expected.as_ref().and_then(|e| probe.compare.difference(&output, e)) {
            n_surprises += 1;
            println!("{}: hardware is not as expected: {surprise}", probe.name);
        }
        results.push(Recorded::new(probe, output));
    }
    let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    let (driver, compiler) = (version(Driver::get()?.version()), version(Nvrtc::get()?.version()));
    let n = results.len();
    let text = Vectors { device: info.name, capability, driver, compiler, results }.to_json()?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    println!("{n} probes recorded in {}, {n_surprises} not as expected", path.display());
    Ok(())
}

fn replay(dir: &Path) -> Result<()> {
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    let all = Vectors::all(dir)?;
    if all.is_empty() {
        println!(
            "skipped: no vectors in {}; `probes record` on a machine with a GPU makes them",
            dir.display()
        );
        return Ok(());
    }
    let (mut n, mut n_alike) = (0, 0);
    for (path, vectors) in &all {
        for (name, complaint) in differences(vectors)? {
            n += 1;
            match complaint {
                None => n_alike += 1,
                Some(complaint) => println!("{} ({}): {name}: {complaint}", vectors.device, path.display()),
            }
        }
    }
    println!("{n_alike} of {n} recorded results are the simulator's too");
    if n_alike < n {
        bail!("{} differ", n - n_alike);
    }
    Ok(())
}

/// For every result of a device, what of the simulator's is different.
fn differences(vectors: &Vectors) -> Result<Vec<(String, Option<String>)>> {
    let (probes, mut codes) = (list::all(), Codes::default());
    let mut all = Vec::new();
    for recorded in &vectors.results {
        let Some(probe) = probes.iter().find(|p| p.name == recorded.probe) else {
            bail!("there is no probe `{}` any more: record again", recorded.probe);
        };
        if fingerprint(probe) != recorded.fingerprint {
            bail!("the probe `{}` has changed since it was recorded: record again", recorded.probe);
        }
        let output = simulated(probe, &mut codes)?;
        all.push((recorded.probe.clone(), probe.compare.difference(&output, &recorded.output)));
    }
    Ok(all)
}
