//! Running a mutant until something catches it, and a kernel as it is until nothing does.

use anyhow::{Context, Result, bail};
use tilewright_sim::{FindingKind, Policy, Race};

use super::list::Mutant;
use super::zoo::Bench;
use crate::ptx::edit::apply;
use crate::verdict::{Plan, Verdict};

/// The runs that a mutant is given: as a first run would be, then what finishes late or at random, then with the detector of races.
pub(super) const HUNT: [Plan; 8] = [
    Plan::new(Policy::Eager, 0, Race::Off),
    Plan::new(Policy::Lazy, 0, Race::Off),
    Plan::new(Policy::Random, 1, Race::Off),
    Plan::new(Policy::Eager, 0, Race::On),
    Plan::new(Policy::Lazy, 1, Race::On),
    Plan::new(Policy::Random, 2, Race::On),
    Plan::new(Policy::Lazy, 3, Race::On),
    Plan::new(Policy::Random, 4, Race::On),
];

/// What caught a mutant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Detector {
    WrongResult,
    Found(FindingKind),
}

impl std::fmt::Display for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WrongResult => f.write_str("wrong result"),
            Self::Found(kind) => write!(f, "{kind:?}"),
        }
    }
}

/// How a mutant was caught.
pub(super) struct Catch {
    pub(super) detector: Detector,
    pub(super) plan: Plan,
    pub(super) message: String,
}

/// Runs a mutant until it is caught; `None` if it never is.
///
/// # Errors
/// The mutation does not apply, or what it makes is not PTX that runs.
pub(super) fn hunt(mutant: &Mutant) -> Result<Option<Catch>> {
    let Mutant { subject, kernel, steps, .. } = *mutant;
    let label = || format!("{}: {}", subject.name, mutant.name);
    let rewrite = move |name: &str, ptx: &str| {
        if name == kernel { apply(ptx, steps).map_err(|e| format!("{e:#}")) } else { Ok(ptx.to_owned()) }
    };
    let mut bench = Bench::new(&subject, Box::new(rewrite)).with_context(label)?;
    for plan in HUNT {
        let (detector, message) = match bench.run(plan) {
            Verdict::Right => continue,
            Verdict::Wrong(how) => (Detector::WrongResult, how),
            Verdict::Found(kind, message) => (Detector::Found(kind), message),
            Verdict::Failed(message) => bail!("{}: {message}", label()),
        };
        return Ok(Some(Catch { detector, plan, message }));
    }
    Ok(None)
}
