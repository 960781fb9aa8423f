//! One contest: prepared candidates, timed in interleaved rounds until enough is known.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tilewright_codegen::schedule::Schedule;

use super::{Clock, MeasureConfig, stats};
use crate::problem::{Candidate, Check, Invalid, Problem};

/// A candidate that has passed its numeric check and can be timed.
pub struct Entrant<'p> {
    /// Place of its trial in the search.
    pub trial: usize,
    /// The check it passed.
    pub check: Check,
    /// Seconds per execution, one per round of the current contest.
    pub samples_s: Vec<f64>,
    /// Why it left the contest, if a run failed.
    pub failed: Option<Invalid>,
    candidate: Box<dyn Candidate + 'p>,
    repeats: usize,
}

impl Entrant<'_> {
    /// Median of the current contest.
    ///
    /// # Panics
    /// If it has not been timed.
    #[must_use]
    pub fn median_s(&self) -> f64 {
        stats::median(&self.samples_s)
    }
}

/// Specialises a candidate, checks its numbers and warms it up. Nothing is timed before the check has passed.
///
/// # Errors
/// Why the schedule cannot be used.
pub fn prepare<'p>(
    problem: &'p dyn Problem,
    schedule: &Schedule,
    trial: usize,
    config: &MeasureConfig,
    clock: &dyn Clock,
) -> Result<Entrant<'p>, Invalid> {
    guarded(|| {
        let mut candidate = problem.prepare(schedule)?;
        let check = candidate.check()?;
        if !check.passed() {
            return Err(Invalid::Wrong { max_error: check.max_error, tolerance: check.tolerance });
        }
        let mut fastest_s = f64::INFINITY;
        for _ in 0..config.warm_up_runs.max(1) {
            let start_s = clock.now();
            candidate.run()?;
            fastest_s = fastest_s.min(clock.now() - start_s);
        }
        let wanted = (config.min_sample_s / fastest_s.max(1e-9)).ceil();
        let repeats = (wanted as usize).clamp(1, config.max_repeats.max(1));
        Ok(Entrant { trial, check, samples_s: Vec::new(), failed: None, candidate, repeats })
    })
}

/// Times `entrants` against one another for up to `rounds` rounds, from no samples.
///
/// After each round the hopeless are passed over from then on, `decided` is asked whether enough is known, and nothing new
/// begins after `deadline_s` (the first round is always finished, so that everyone has a sample). An entrant whose run fails
/// keeps the reason and is timed no more.
pub fn contest(
    entrants: &mut [Entrant<'_>],
    rounds: usize,
    deadline_s: f64,
    config: &MeasureConfig,
    clock: &dyn Clock,
    decided: &mut dyn FnMut(&[Entrant<'_>], usize) -> bool,
) {
    for entrant in &mut *entrants {
        entrant.samples_s.clear();
    }
    let mut running = vec![true; entrants.len()];
    for round in 0..rounds {
        for step in 0..entrants.len() {
            let i = (round + step) % entrants.len();
            if round > 0 && clock.now() >= deadline_s {
                return;
            }
            if running[i] {
                sample(&mut entrants[i], clock);
                running[i] = entrants[i].failed.is_none();
            }
        }
        drop_hopeless(entrants, &mut running, config);
        if decided(entrants, round + 1) {
            return;
        }
    }
}

fn sample(entrant: &mut Entrant<'_>, clock: &dyn Clock) {
    let Entrant { candidate, repeats, .. } = entrant;
    let timed = guarded(|| {
        // Where executions are asynchronous, the device's own clock is the one that counts.
        if let Some(seconds) = candidate.device_seconds(*repeats) {
            return seconds;
        }
        let start_s = clock.now();
        for _ in 0..*repeats {
            candidate.run()?;
        }
        // A coarse clock may not have moved; a time of zero would win every comparison.
        Ok(((clock.now() - start_s) / *repeats as f64).max(1e-10))
    });
    match timed {
        Ok(seconds) => entrant.samples_s.push(seconds),
        Err(reason) => entrant.failed = Some(reason),
    }
}

fn drop_hopeless(entrants: &[Entrant<'_>], running: &mut [bool], config: &MeasureConfig) {
    let alive = || entrants.iter().filter(|e| e.failed.is_none() && !e.samples_s.is_empty());
    let best_s = alive().map(Entrant::median_s).fold(f64::INFINITY, f64::min);
    for (entrant, running) in entrants.iter().zip(running) {
        if entrant.samples_s.len() >= config.hopeless_after && entrant.median_s() > config.hopeless * best_s {
            *running = false;
        }
    }
}

/// Turns a panic of a candidate into a reason: one broken configuration must not end the search.
fn guarded<T>(body: impl FnOnce() -> Result<T, Invalid>) -> Result<T, Invalid> {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|payload| Err(Invalid::Panicked(panic_text(&*payload))))
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}
