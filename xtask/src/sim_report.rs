//! `cargo xtask sim-report`: every kernel under every schedule that it declares for GPUs, on the simulated GPU, compared with f64.
//!
//! A configuration runs on a small problem whose extents are aligned, which takes tensor copies and wide accesses, finishing
//! asynchronous operations at once, as late as a wait allows, and at random, each under three seeds of the order of warps; and on the
//! same problem with awkward extents, once for each of the three. Races are looked for in all of these. The default schedule runs on
//! every test problem, each time all nine ways. Code without asynchronous operations needs no policies, and a configuration whose
//! code is that of another is run once.
//!
//! A configuration that our own lowering refuses because its tiles need more shared memory than this architecture has is no
//! point of that architecture's space: it is counted as too large. A default is never too large.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use tilewright_codegen::target::Arch;
use tilewright_runtime::cuda::nvrtc::Nvrtc;
use tilewright_sim::Race;

mod jobs;
mod runs;
#[cfg(test)]
mod tests;

use jobs::{Job, jobs};
use runs::{Known, Outcome, Tally, simulate};

use crate::points::Selection;

/// The architectures of the report where none is named: one before tensor copies, one with them.
const ARCHES: [Arch; 2] = [Arch::Sm80, Arch::Sm90a];

struct Args {
    arches: Vec<Arch>,
    kernels: BTreeSet<String>,
    selection: Selection,
    json: Option<String>,
}

/// `cargo xtask sim-report [--arch ARCH].. [--kernel NAME].. [--sample N] [--json FILE]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = parse(args)?;
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    Nvrtc::get().context("the report needs NVIDIA's run-time compiler")?;
    let jobs = jobs(&args.arches, &args.kernels, args.selection)?;
    let tallies = simulate_all(&jobs)?;
    for (job, tally) in jobs.iter().zip(&tallies) {
        for run in tally.runs.iter().filter(|run| run.outcome.is_wrong()) {
            println!("{job} {:?} seed {}: {}", run.policy, run.seed, run.outcome);
        }
    }
    if let Some(path) = &args.json {
        let rows: Vec<_> = jobs.iter().zip(&tallies).map(|(job, tally)| tally.json(job)).collect();
        let text = serde_json::to_string_pretty(&rows)?;
        fs::write(path, text + "\n").with_context(|| format!("writing {path}"))?;
    }
    let runs = || tallies.iter().flat_map(|tally| &tally.runs);
    let n_too_large = tallies.iter().filter(|tally| tally.is_too_large).count();
    let n_matching = runs().filter(|run| matches!(run.outcome, Outcome::Matches { .. })).count();
    let n_findings: usize = runs().map(|run| run.outcome.findings()).sum();
    let n_known = tallies.iter().filter(|tally| tally.is_known).count();
    println!(
        "{} configurations, {n_too_large} too large for their architecture, {n_known} of the code of another and run once",
        tallies.len()
    );
    println!("{n_matching} of {} match, {n_findings} findings", runs().count());
    if n_matching == 0 || n_matching < runs().count() {
        bail!("{} runs do not match", runs().count() - n_matching);
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed =
        Args { arches: Vec::new(), kernels: BTreeSet::new(), selection: Selection::Every, json: None };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--arch" => {
                let name = value()?;
                let known = || Arch::ALL.map(Arch::name).join(", ");
                let arch = Arch::parse(name)
                    .with_context(|| format!("no architecture `{name}`; there are {}", known()))?;
                parsed.arches.push(arch);
            }
            "--kernel" => {
                parsed.kernels.insert(value()?.clone());
            }
            "--sample" => {
                let n = value()?;
                let n = n
                    .parse()
                    .with_context(|| format!("`--sample {n}` should be a number of configurations"))?;
                parsed.selection = Selection::Sample(n);
            }
            "--json" => parsed.json = Some(value()?.clone()),
            other => bail!("unknown argument `{other}` of sim-report"),
        }
    }
    if parsed.arches.is_empty() {
        parsed.arches = ARCHES.to_vec();
    }
    Ok(parsed)
}

/// Simulates everything on all cores; in the order given, whichever thread was first.
fn simulate_all(jobs: &[Job]) -> Result<Vec<Tally>> {
    let (next, done, known) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Known::default());
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tally = simulate(job, Race::On, &known);
            let mut done = done.lock().expect("no thread should panic with the lock held");
            done.push((job.index, tally));
            if done.len() % 20 == 0 {
                eprintln!("{} of {} ..", done.len(), jobs.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no thread should have panicked");
    done.sort_by_key(|(index, _)| *index);
    if done.len() != jobs.len() {
        bail!("{} of {} configurations were simulated", done.len(), jobs.len());
    }
    Ok(done.into_iter().map(|(_, tally)| tally).collect())
}
