//! The runs of one configuration and what came of each.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};
use tilewright_kernels::cases::Case;
use tilewright_runtime::Device;
use tilewright_sim::{Options, Policy, Race};

use super::jobs::Job;

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
            "runs": self.runs.len(),
            "max_error": errors.fold(0.0, f64::max),
            "wrong": wrong,
        })
    }
}

/// Runs a configuration under every policy and seed.
pub(super) fn simulate(job: &Job, race: Race) -> Tally {
    let mut runs = Vec::new();
    let mut case = match job.entry.case(&job.params) {
        Ok(case) => case,
        Err(error) => {
            let outcome = Outcome::failed(error.to_string());
            return Tally {
                runs: vec![Run { policy: Policy::Eager, seed: 0, outcome }],
                is_too_large: false,
            };
        }
    };
    for policy in POLICIES {
        for seed in SEEDS {
            // Configurations run beside each other.
            let options = Options { policy, seed, race, threads: Some(1), ..Options::default() };
            let outcome = attempt(job, &mut *case, options);
            if let Outcome::Failed { message, .. } = &outcome
                && !job.is_default
                && message.contains("bytes of shared memory")
            {
                return Tally { runs: Vec::new(), is_too_large: true };
            }
            runs.push(Run { policy, seed, outcome });
        }
    }
    Tally { runs, is_too_large: false }
}

fn attempt(job: &Job, case: &mut dyn Case, options: Options) -> Outcome {
    let stream = Device::sim(job.arch, options).stream();
    match catch_unwind(AssertUnwindSafe(|| case.check(&stream, &job.schedule))) {
        Ok(Ok(report)) if report.passed => Outcome::Matches { error: report.max_error },
        Ok(Ok(report)) => Outcome::Differs { error: report.max_error, tolerance: report.tolerance },
        Ok(Err(error)) => Outcome::failed(error.to_string()),
        Err(_) => Outcome::failed("panic".to_owned()),
    }
}
