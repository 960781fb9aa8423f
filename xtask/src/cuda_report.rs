//! `cargo xtask cuda-report`: what the compiler makes of every kernel under every schedule that it declares for GPUs.
//!
//! Each kernel of the registry is generated at each declared configuration and compiled by the real NVRTC, and the compiler's
//! own account is held against limits: no error, no stack, no spilled register, no remark that asynchronous instructions were
//! serialised, shared memory within what a block may have. Compilations are kept in the cache that launches use.
//!
//! A configuration that our own lowering refuses because its tiles need more shared memory than this architecture has is no
//! point of that architecture's space: it is counted as too large, not as a violation. A default is never too large.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use tilewright_codegen::target::Arch;
use tilewright_runtime::cuda::nvrtc::Nvrtc;

mod compile;
mod jobs;
mod table;
#[cfg(test)]
mod tests;

use compile::{Outcome, compile};
use jobs::Job;

use crate::points::Selection;

/// The architectures of the report where none is named.
const ARCHES: [Arch; 5] = [Arch::Sm80, Arch::Sm86, Arch::Sm89, Arch::Sm90a, Arch::Sm120];

/// Threads that compile.
const THREADS: usize = 2;

/// A job with what came of it.
type Row = (Job, Outcome);

struct Args {
    arches: Vec<Arch>,
    kernels: BTreeSet<String>,
    selection: Selection,
    json: Option<String>,
    shows_all: bool,
}

/// `cargo xtask cuda-report [--arch ARCH].. [--kernel NAME].. [--sample N] [--all-rows] [--json FILE]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = parse(args)?;
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    Nvrtc::get().context("the report needs NVIDIA's run-time compiler")?;
    let jobs = jobs::jobs(&args.arches, &args.kernels, args.selection)?;
    let rows = compile_all(jobs, Progress::Shown)?;
    print!("{}", if args.shows_all { table::rows(&rows) } else { table::summary(&rows) });
    for line in table::violations(&rows) {
        println!("{line}");
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&table::json(&rows))?;
        fs::write(path, text + "\n").with_context(|| format!("writing {path}"))?;
    }
    let count = |test: fn(&Outcome) -> bool| rows.iter().filter(|(_, outcome)| test(outcome)).count();
    let violated = count(Outcome::is_violation);
    println!(
        "{} compiled, {} too large for their architecture, {violated} violations",
        count(|o| matches!(o, Outcome::Compiled(_))),
        count(|o| matches!(o, Outcome::TooLarge(_)))
    );
    if violated > 0 {
        bail!("{violated} configurations violate the limits");
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed = Args {
        arches: Vec::new(),
        kernels: BTreeSet::new(),
        selection: Selection::Every,
        json: None,
        shows_all: false,
    };
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
            "--all-rows" => parsed.shows_all = true,
            other => bail!("unknown argument `{other}` of cuda-report"),
        }
    }
    if parsed.arches.is_empty() {
        parsed.arches = ARCHES.to_vec();
    }
    Ok(parsed)
}

/// Whether a long run says how far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Shown,
    #[cfg(test)]
    Silent,
}

/// Compiles everything, in the order given whichever thread was first.
fn compile_all(jobs: Vec<Job>, progress: Progress) -> Result<Vec<Row>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = compile(job);
            let mut done = done.lock().expect("no thread should panic with the lock held");
            done.push((job.index, outcome));
            if progress == Progress::Shown && done.len() % 50 == 0 {
                eprintln!("{} of {} ..", done.len(), jobs.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no thread should have panicked");
    done.sort_by_key(|(index, _)| *index);
    if done.len() != jobs.len() {
        bail!("{} of {} configurations were compiled", done.len(), jobs.len());
    }
    Ok(jobs.into_iter().zip(done).map(|(job, (_, outcome))| (job, outcome)).collect())
}
