//! `cargo xtask mutants`: does the simulator find what is wrong, and only that?
//!
//! Broken versions of our own kernels' PTX (`list`) run under one schedule after another until something catches them: a finding
//! of the machine, or a result that is off by more than the kernel's tolerance. The kernels as they are, and those of the
//! corpus where its folder is given, run under many schedules with the detector of races, and nothing may be found.
//! The closing line is `caught C of M, false alarms A`; anything but all and none is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tilewright_runtime::cuda::nvrtc::Nvrtc;

use crate::corpus;
use crate::verdict::{Plan, Verdict};

mod deletions;
mod hunt;
mod list;
#[cfg(test)]
mod tests;
mod zoo;

use hunt::{Catch, hunt};
use list::Mutant;
use zoo::{Bench, Subject};

/// Schedules of each kernel as it is.
const SCHEDULES: usize = 300;

/// The same where time is short.
const QUICK_SCHEDULES: usize = 24;

struct Args {
    schedules: usize,
    corpus: Option<PathBuf>,
    only: Option<String>,
    json: Option<PathBuf>,
    dump: Option<PathBuf>,
    deletions: bool,
}

/// `cargo xtask mutants [--quick] [--corpus DIR] [--only TEXT] [--json FILE] [--dump DIR] [--deletions]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = parse(args)?;
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    Nvrtc::get().context("mutants need NVIDIA's run-time compiler")?;
    if let Some(dir) = &args.dump {
        return dump(dir);
    }
    if args.deletions {
        return deletions::run();
    }
    let start = Instant::now();
    let is_wanted = |m: &&Mutant| args.only.as_deref().is_none_or(|text| m.label().contains(text));
    let mutants: Vec<Mutant> = list::all().filter(|m| is_wanted(&m)).collect();
    if mutants.is_empty() {
        bail!("no mutant has `{}` in its name", args.only.unwrap_or_default());
    }
    let catches: Vec<Option<Catch>> = beside(&mutants, hunt).into_iter().collect::<Result<_>>()?;
    print_table(&mutants, &catches);
    let hunted_s = start.elapsed().as_secs_f64();

    let healthy = if args.only.is_some() { Vec::new() } else { healthy(args.corpus.as_ref())? };
    let start = Instant::now();
    let alarms: Vec<Vec<(Plan, Verdict)>> =
        beside(&healthy, |one| one.alarms(args.schedules)).into_iter().collect::<Result<_>>()?;
    for (one, alarms) in healthy.iter().zip(&alarms) {
        for (plan, verdict) in alarms.iter().take(3) {
            println!("false alarm: {} ({plan}): {verdict}", one.label());
        }
    }
    let n_caught = catches.iter().flatten().count();
    let n_alarms: usize = alarms.iter().map(Vec::len).sum();
    if let Some(path) = &args.json {
        let value = json!({
            "mutants": mutants.iter().zip(&catches).map(|(m, c)| row(m, c.as_ref())).collect::<Vec<_>>(),
            "unmutated": healthy.iter().map(Healthy::label).collect::<Vec<_>>(),
            "schedules": args.schedules,
            "caught": n_caught,
            "false_alarms": n_alarms,
        });
        let text = serde_json::to_string_pretty(&value)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{} mutants in {hunted_s:.0} s", mutants.len());
    println!(
        "{} unmutated kernels, {} schedules each, in {:.0} s",
        healthy.len(),
        args.schedules,
        start.elapsed().as_secs_f64()
    );
    println!("caught {n_caught} of {}, false alarms {n_alarms}", mutants.len());
    if n_caught < mutants.len() || n_alarms > 0 {
        bail!("{} mutants are not caught, {n_alarms} false alarms", mutants.len() - n_caught);
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed =
        Args { schedules: SCHEDULES, corpus: None, only: None, json: None, dump: None, deletions: false };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--deletions" => parsed.deletions = true,
            "--quick" => parsed.schedules = QUICK_SCHEDULES,
            "--corpus" => parsed.corpus = Some(PathBuf::from(value()?)),
            "--only" => parsed.only = Some(value()?.clone()),
            "--json" => parsed.json = Some(PathBuf::from(value()?)),
            "--dump" => parsed.dump = Some(PathBuf::from(value()?)),
            other => bail!("unknown argument `{other}` of mutants"),
        }
    }
    Ok(parsed)
}

/// A kernel as it is.
enum Healthy {
    Ours(Subject),
    Corpus(Box<corpus::Loaded>),
}

impl Healthy {
    fn label(&self) -> String {
        match self {
            Self::Ours(subject) => subject.name.to_owned(),
            Self::Corpus(loaded) => loaded.label(),
        }
    }

    /// What came of the schedules where something is not right.
    fn alarms(&self, n: usize) -> Result<Vec<(Plan, Verdict)>> {
        let runs: Box<dyn Iterator<Item = (Plan, Verdict)>> = match self {
            Self::Ours(subject) => {
                let mut bench = Bench::new(subject, Box::new(|_, ptx| Ok(ptx.to_owned())))?;
                Box::new(Plan::many(n).map(move |plan| (plan, bench.run(plan))))
            }
            Self::Corpus(loaded) => Box::new(Plan::many(n).map(|plan| (plan, loaded.run(plan)))),
        };
        Ok(runs.filter(|(_, verdict)| *verdict != Verdict::Right).collect())
    }
}

/// Our kernels, and those of the corpus if there is one.
fn healthy(dir: Option<&PathBuf>) -> Result<Vec<Healthy>> {
    let mut all: Vec<Healthy> = zoo::ALL.iter().map(|&subject| Healthy::Ours(subject)).collect();
    match dir {
        Some(dir) if dir.is_dir() => {
            for subject in &corpus::ALL {
                all.extend(subject.compile(dir)?.into_iter().map(|one| Healthy::Corpus(Box::new(one))));
            }
        }
        Some(dir) => println!("skipped: there is no folder {}", dir.display()),
        None => println!("the corpus is left out: --corpus DIR takes it in"),
    }
    Ok(all)
}

/// Does something with each of a list, on all cores; the results in the list's order.
fn beside<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(at) else { break };
                    let result = work(one);
                    done.lock().expect("no thread should panic with the lock held").insert(at, result);
                }
            });
        }
    });
    done.into_inner().expect("no thread should have panicked").into_values().collect()
}

fn print_table(mutants: &[Mutant], catches: &[Option<Catch>]) {
    let mut by_detector = BTreeMap::new();
    for (mutant, catch) in mutants.iter().zip(catches) {
        let (detector, plan) = match catch {
            Some(catch) => (catch.detector.to_string(), catch.plan.to_string()),
            None => ("NOT CAUGHT".to_owned(), String::new()),
        };
        println!(
            "{:<16} {:<9} {:<58} {:<18} {plan}",
            mutant.subject.name,
            format!("{:?}", mutant.class).to_lowercase(),
            mutant.name,
            detector
        );
        *by_detector.entry(detector).or_insert(0) += 1;
    }
    by_detector.iter().for_each(|(detector, n)| println!("{n:>4} {detector}"));
}

fn row(mutant: &Mutant, catch: Option<&Catch>) -> serde_json::Value {
    json!({
        "subject": mutant.subject.name,
        "class": format!("{:?}", mutant.class).to_lowercase(),
        "mutant": mutant.name,
        "detector": catch.map(|c| c.detector.to_string()),
        "schedule": catch.map(|c| c.plan.to_string()),
        "message": catch.map(|c| c.message.clone()),
    })
}

/// Writes the PTX of every kernel that is mutated, for whoever writes a mutant.
fn dump(dir: &PathBuf) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    for subject in zoo::ALL {
        let (dir, name) = (dir.clone(), subject.name);
        let write = move |kernel: &str, ptx: &str| {
            let path = dir.join(format!("{name}.{kernel}.ptx"));
            fs::write(&path, ptx).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(ptx.to_owned())
        };
        let mut bench = Bench::new(subject, Box::new(write))?;
        let plan = Plan::new(tilewright_sim::Policy::Eager, 0, tilewright_sim::Race::Off);
        println!("{name}: {}", bench.run(plan));
    }
    Ok(())
}
