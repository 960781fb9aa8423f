//! The runs of one configuration and what came of each.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tilewright_kernels::cases::Case;
use tilewright_runtime::gpu::sim_hook::SimHook;
use tilewright_runtime::{Device, Stream};
use tilewright_sim::{Options, Policy, Race, Report};

use super::jobs::{Job, Runs};
use crate::points::LAUNCH_KNOBS;

const POLICIES: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Random];

/// Seeds of the order of warps; 0 takes them in turn.
const SEEDS: [u64; 3] = [0, 1, 2];

/// What came of a run.
pub(super) enum Outcome {
    /// The result is right and the run has no finding.
    Matches { error: f64 },
    /// The result is wrong.
    Differs { error: f64, tolerance: f64 },
    /// The launch failed, or the simulator has findings, which the message lists.
    Failed { message: String, findings: usize },
}

impl Outcome {
    pub(super) const fn is_wrong(&self) -> bool {
        !matches!(self, Self::Matches { .. })
    }

    pub(super) const fn findings(&self) -> usize {
        match self {
            Self::Matches { .. } | Self::Differs { .. } => 0,
            Self::Failed { findings, .. } => *findings,
        }
    }

    fn failed(message: String) -> Self {
        let findings = findings(&message);
        Self::Failed { message, findings }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches { error } => write!(f, "matches, error {error:.3e}"),
            Self::Differs { error, tolerance } => write!(f, "error {error:.3e} over {tolerance:.3e}"),
            Self::Failed { message, .. } => f.write_str(message.trim_end()),
        }
    }
}

/// How many findings the simulator's report speaks of: the number before `finding(s)`.
pub(super) fn findings(message: &str) -> usize {
    let before = message.split(" finding(s)").next().filter(|before| before.len() < message.len());
    before.and_then(|text| text.rsplit(' ').next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// One run.
pub(super) struct Run {
    pub(super) policy: Policy,
    pub(super) seed: u64,
    pub(super) outcome: Outcome,
}

/// All runs of a configuration.
pub(super) struct Tally {
    pub(super) runs: Vec<Run>,
    /// Whether the lowering refused it for want of shared memory: then there is no run.
    pub(super) is_too_large: bool,
    /// Whether it runs the code of another configuration: then there is one run.
    pub(super) is_known: bool,
    /// What it took, preparations included.
    pub(super) seconds: f64,
}

impl Tally {
    /// A row of the report.
    pub(super) fn json(&self, job: &Job) -> Value {
        let wrong: Vec<Value> = self
            .runs
            .iter()
            .filter(|run| run.outcome.is_wrong())
            .map(|run| {
                json!({"policy": run.policy, "seed": run.seed, "message": run.outcome.to_string(),
                       "findings": run.outcome.findings()})
            })
            .collect();
        let errors = self.runs.iter().map(|run| match run.outcome {
            Outcome::Matches { error } | Outcome::Differs { error, .. } => error,
            Outcome::Failed { .. } => 0.0,
        });
        json!({
            "kernel": job.entry.name,
            "dtype": job.params.dtype,
            "shape": job.params.shape,
            "options": job.params.options,
            "schedule": job.schedule.to_string(),
            "arch": job.arch.name(),
            "too_large": self.is_too_large,
            "code_of_another": self.is_known,
            "runs": self.runs.len(),
            "seconds": self.seconds,
            "max_error": errors.fold(0.0, f64::max),
            "wrong": wrong,
        })
    }
}

/// Code that has been run: problem, architecture and the PTX of every launch.
pub(super) type Known = Mutex<HashSet<u64>>;

/// Runs a configuration under every policy and seed. One whose launches run the code of an earlier one is run once: of those that
/// were first under way, one may be run more often.
pub(super) fn simulate(job: &Job, race: Race, known: &Known) -> Tally {
    let start = Instant::now();
    let tally = Tally { runs: Vec::new(), is_too_large: false, is_known: false, seconds: 0.0 };
    let tally = run_all(job, race, known, tally);
    Tally { seconds: start.elapsed().as_secs_f64(), ..tally }
}

fn run_all(job: &Job, race: Race, known: &Known, mut tally: Tally) -> Tally {
    let mut case = match job.entry.case(&job.params) {
        Ok(case) => case,
        Err(error) => {
            tally.runs.push(Run {
                policy: Policy::Eager,
                seed: 0,
                outcome: Outcome::failed(error.to_string()),
            });
            return tally;
        }
    };
    // Configurations run beside each other.
    let options = Options { race, threads: Some(1), ..Options::default() };
    let watch = Arc::new(Watch { options: Mutex::new(options.clone()), code: Mutex::default() });
    let stream = Device::sim_hooked(job.arch, Arc::clone(&watch) as Arc<dyn SimHook>).stream();
    for (i, policy) in POLICIES.into_iter().enumerate() {
        let seeds = match job.runs {
            Runs::All => &SEEDS[..],
            Runs::OnePerPolicy => &SEEDS[i..=i],
        };
        for &seed in seeds {
            *lock(&watch.options) = Options { policy, seed, ..options.clone() };
            let outcome = attempt(job, &mut *case, &stream);
            if let Outcome::Failed { message, .. } = &outcome
                && !job.is_default
                && message.contains("bytes of shared memory")
            {
                return Tally { is_too_large: true, ..tally };
            }
            tally.runs.push(Run { policy, seed, outcome });
            if tally.runs.len() == 1 && !lock(known).insert(watch.identity(job)) {
                return Tally { is_known: true, ..tally };
            }
        }
        if !lock(&watch.code).is_async {
            break;
        }
    }
    tally
}

fn attempt(job: &Job, case: &mut dyn Case, stream: &Stream) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| case.check(stream, &job.schedule))) {
        Ok(Ok(report)) if report.passed => Outcome::Matches { error: report.max_error },
        Ok(Ok(report)) => Outcome::Differs { error: report.max_error, tolerance: report.tolerance },
        Ok(Err(error)) => Outcome::failed(error.to_string()),
        Err(_) => Outcome::failed("panic".to_owned()),
    }
}

/// The PTX that a device was given.
#[derive(Default)]
struct Code {
    hasher: DefaultHasher,
    /// Whether some of it goes on while threads do other things: else the policies do not differ.
    is_async: bool,
}

/// Says how the next launch runs, and sees what runs.
struct Watch {
    options: Mutex<Options>,
    code: Mutex<Code>,
}

impl Watch {
    /// What makes two jobs the same.
    fn identity(&self, job: &Job) -> u64 {
        let mut hasher = lock(&self.code).hasher.clone();
        (job.entry.name, &job.params.dtype, &job.params.shape, &job.params.options).hash(&mut hasher);
        // How often the code is launched and with which grid.
        LAUNCH_KNOBS.map(|knob| job.schedule.get(knob)).hash(&mut hasher);
        job.arch.name().hash(&mut hasher);
        hasher.finish()
    }
}

impl SimHook for Watch {
    fn ptx(&self, _kernel: &str, ptx: &str) -> Result<String, String> {
        let mut code = lock(&self.code);
        // The line table has paths and names of variables, which are no part of what runs.
        ptx.lines()
            .filter(|line| !line.trim_start().starts_with(".loc"))
            .for_each(|line| line.hash(&mut code.hasher));
        code.is_async |= ["cp.async", "wgmma"].iter().any(|word| ptx.contains(word));
        Ok(ptx.to_owned())
    }

    fn options(&self) -> Options {
        lock(&self.options).clone()
    }

    fn reported(&self, _report: &Report) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
