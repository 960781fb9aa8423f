//! The search and the measurement put together: from a problem to its best schedule.
//!
//! ```text
//! default schedule ─┐                        ┌─> hopeless, slower: ranked, dropped
//! searcher ─> prepare ─> check ─> warm up ─> batch of interleaved rounds ─> leaders ─┐
//!     ^                    └─> invalid: kept with its reason       (join the next batch) │
//!     └── until the space is covered or 80 % of the budget is spent <────────────────────┘
//!                                                  run-off of the leaders and the default ─> winner
//! ```
//! The leaders join every batch, so a comparison never spans two moments. The default schedule is always tried first and
//! always in the run-off: a record says how much it gained.

use std::collections::VecDeque;

use tilewright_codegen::schedule::Schedule;

use crate::measure::{Clock, Entrant, MeasureConfig, contest, prepare, stats};
use crate::problem::{Check, Invalid, Problem};
use crate::record::{Measured, SearchSummary};
use crate::search::{Searcher, Strategy};
use crate::{Error, Result};

/// Part of the budget that the search may spend; the rest is the run-off's.
const SEARCH_SHARE: f64 = 0.8;

/// What to search and for how long.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TuneConfig {
    /// Seconds for everything, preparing and checking included. Only the default schedule is measured regardless.
    pub budget_s: f64,
    /// Which search.
    pub strategy: Strategy,
    /// Seed of a random search.
    pub seed: u64,
    /// Most candidates to try, the default included.
    pub max_candidates: Option<usize>,
    /// How candidates are timed.
    pub measure: MeasureConfig,
}

impl Default for TuneConfig {
    fn default() -> Self {
        Self {
            budget_s: 60.0,
            strategy: Strategy::Exhaustive,
            seed: 0,
            max_candidates: None,
            measure: MeasureConfig::default(),
        }
    }
}

/// One schedule that was tried.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    /// The schedule.
    pub schedule: Schedule,
    /// Its times, or why there are none.
    pub result: std::result::Result<Timed, Invalid>,
}

/// The times of a trial in the last contest that it was part of.
#[derive(Clone, PartialEq, Debug)]
pub struct Timed {
    /// Seconds per execution, one per round.
    pub samples_s: Vec<f64>,
    /// Median of the samples.
    pub median_s: f64,
    /// The numeric check.
    pub check: Check,
    /// Whether the samples are of the run-off.
    pub in_run_off: bool,
}

/// Why a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// Every legal point was tried.
    SpaceCovered,
    /// The search's part of the budget was spent.
    Budget,
    /// As many candidates as allowed were tried.
    MaxCandidates,
}

/// The result of tuning one problem.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// Everything tried, in the order tried; the default schedule is the first.
    pub trials: Vec<Trial>,
    /// Place of the winner in `trials`.
    pub winner: usize,
    /// Why the search ended.
    pub stop: Stop,
    /// How much was looked at.
    pub summary: SearchSummary,
}

impl Outcome {
    /// The winner's numbers, ready for a record.
    ///
    /// # Panics
    /// If `winner` is not a valid trial.
    #[must_use]
    pub fn measured(&self) -> Measured {
        let Trial { schedule, result } = &self.trials[self.winner];
        let timed = result.as_ref().expect("the winner should be a valid trial");
        Measured {
            schedule: schedule.clone(),
            samples_s: timed.samples_s.clone(),
            check: timed.check,
            default_median_s: self.default_median_s(),
        }
    }

    /// Median of the default schedule, unless it was invalid.
    #[must_use]
    pub fn default_median_s(&self) -> Option<f64> {
        self.trials[0].result.as_ref().ok().map(|timed| timed.median_s)
    }
}

/// What is told to the observer of a search as it happens.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A candidate has been prepared and checked.
    Tried {
        /// Candidates so far, this one included.
        done: usize,
        /// Upper bound of their number.
        of: usize,
        /// This one.
        schedule: &'a Schedule,
    },
    /// A batch has been timed.
    Leader {
        /// The fastest so far.
        schedule: &'a Schedule,
        /// Its median.
        median_s: f64,
    },
    /// A round of the run-off is over.
    RunOff {
        /// Rounds so far.
        round: usize,
        /// Most rounds.
        of: usize,
    },
}

/// Searches the space of `problem` for its fastest schedule.
///
/// # Errors
/// [`Error::DefaultOutsideSpace`], and [`Error::NoValidCandidate`] if no candidate passed its check and ran.
pub fn tune(
    problem: &dyn Problem,
    config: &TuneConfig,
    clock: &dyn Clock,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let subject = problem.subject();
    let default = problem.default_schedule();
    if !subject.space.contains(&default) {
        let (kernel, schedule) = (subject.kernel.to_owned(), default.to_string());
        return Err(Error::DefaultOutsideSpace { kernel, schedule });
    }
    let start_s = clock.now();
    let mut search = Search {
        problem,
        config,
        clock,
        search_deadline_s: start_s + SEARCH_SHARE * config.budget_s,
        deadline_s: start_s + config.budget_s,
        most: config.max_candidates.unwrap_or(usize::MAX).min(subject.space.grid_len()).max(1),
        trials: Vec::new(),
        alive: Vec::new(),
        ahead: VecDeque::new(),
    };
    let stop = search.explore(&default, observe);
    let winner = search.run_off(observe).ok_or_else(|| no_valid(problem, &search.trials))?;
    let invalid = search.trials.iter().filter(|t| t.result.is_err()).count();
    let summary = SearchSummary {
        strategy: config.strategy.name().to_owned(),
        seed: config.seed,
        grid: subject.space.grid_len(),
        measured: search.trials.len() - invalid,
        invalid,
    };
    Ok(Outcome { trials: search.trials, winner, stop, summary })
}

fn no_valid(problem: &dyn Problem, trials: &[Trial]) -> Error {
    let first = &trials[0];
    let reason = first.result.as_ref().err().map_or_else(|| "has no samples".to_owned(), ToString::to_string);
    Error::NoValidCandidate {
        kernel: problem.subject().kernel.to_owned(),
        bucket: problem.bucket().to_string(),
        tried: trials.len(),
        first: format!("({}) {reason}", first.schedule),
    }
}

struct Search<'p> {
    problem: &'p dyn Problem,
    config: &'p TuneConfig,
    clock: &'p dyn Clock,
    search_deadline_s: f64,
    deadline_s: f64,
    most: usize,
    trials: Vec<Trial>,
    /// The leaders and the default, prepared; fastest first.
    alive: Vec<Entrant<'p>>,
    /// What the searcher gave and nobody has tried: it is being compiled.
    ahead: VecDeque<Schedule>,
}

impl Search<'_> {
    /// Tries candidates batch by batch, leaving the leaders alive.
    fn explore(&mut self, default: &Schedule, observe: &mut dyn FnMut(Event<'_>)) -> Stop {
        let mut searcher = Searcher::new(self.config.strategy, self.config.seed);
        let mut fresh = 0;
        self.try_schedule(default.clone(), observe);
        loop {
            let stop = if self.trials.len() >= self.most {
                // A full cover and a full allowance look alike; the former says more.
                Some(if self.most >= self.problem.subject().space.grid_len() {
                    Stop::SpaceCovered
                } else {
                    Stop::MaxCandidates
                })
            } else if self.clock.now() >= self.search_deadline_s {
                Some(Stop::Budget)
            } else {
                match self.next_point(&mut searcher) {
                    None => Some(Stop::SpaceCovered),
                    Some(schedule) if schedule == *default => None,
                    Some(schedule) => {
                        self.try_schedule(schedule, observe);
                        fresh += 1;
                        None
                    }
                }
            };
            if fresh >= self.config.measure.batch || stop.is_some() {
                self.time_batch(observe);
                fresh = 0;
            }
            if let Some(stop) = stop {
                return stop;
            }
        }
    }

    /// The next point of the searcher, with those after it on their way: two batches, so that one compiles while one is timed.
    fn next_point(&mut self, searcher: &mut Searcher) -> Option<Schedule> {
        let room = self.most.saturating_sub(self.trials.len());
        let wanted = (2 * self.config.measure.batch).clamp(1, room.max(1));
        while self.ahead.len() < wanted
            && let Some(schedule) = searcher.next_point(self.problem.subject().space)
        {
            self.problem.compile_ahead(&schedule);
            self.ahead.push_back(schedule);
        }
        self.ahead.pop_front()
    }

    fn try_schedule(&mut self, schedule: Schedule, observe: &mut dyn FnMut(Event<'_>)) {
        let trial = self.trials.len();
        let result = match prepare(self.problem, &schedule, trial, &self.config.measure, self.clock) {
            Ok(entrant) => {
                let check = entrant.check;
                self.alive.push(entrant);
                // The times follow with the batch.
                Ok(Timed { samples_s: Vec::new(), median_s: f64::INFINITY, check, in_run_off: false })
            }
            Err(reason) => Err(reason),
        };
        observe(Event::Tried { done: trial + 1, of: self.most, schedule: &schedule });
        self.trials.push(Trial { schedule, result });
    }

    fn time_batch(&mut self, observe: &mut dyn FnMut(Event<'_>)) {
        let measure = &self.config.measure;
        let rounds = measure.trial_rounds.max(1);
        contest(&mut self.alive, rounds, self.search_deadline_s, measure, self.clock, &mut |_, _| false);
        self.settle(false);
        // The default has trial 0; it stays, whatever its place.
        let mut leaders = 0;
        let finalists = measure.finalists.max(1);
        self.alive.retain(|e| {
            leaders += usize::from(e.trial != 0);
            e.trial == 0 || leaders <= finalists
        });
        if let Some(leader) = self.alive.first() {
            observe(Event::Leader {
                schedule: &self.trials[leader.trial].schedule,
                median_s: leader.median_s(),
            });
        }
    }

    /// Times the leaders until the winner is known; `None` when nobody is left.
    fn run_off(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Option<usize> {
        let measure = &self.config.measure;
        let most = measure.max_rounds.max(1);
        let mut decided = |entrants: &[Entrant<'_>], round: usize| {
            observe(Event::RunOff { round, of: most });
            round >= measure.min_rounds && is_decided(entrants, measure.precision)
        };
        contest(&mut self.alive, most, self.deadline_s, measure, self.clock, &mut decided);
        self.settle(true);
        let best = self.alive.first()?;
        let default = self.alive.iter().find(|e| e.trial == 0);
        let tied = default.filter(|d| d.median_s() <= best.median_s() * (1.0 + measure.tie));
        Some(tied.unwrap_or(best).trial)
    }

    /// Moves the samples of a contest into the trials, drops who failed and puts the fastest first.
    fn settle(&mut self, in_run_off: bool) {
        for entrant in &self.alive {
            let result = match &entrant.failed {
                Some(reason) => Err(reason.clone()),
                None => Ok(Timed {
                    samples_s: entrant.samples_s.clone(),
                    median_s: entrant.median_s(),
                    check: entrant.check,
                    in_run_off,
                }),
            };
            self.trials[entrant.trial].result = result;
        }
        self.alive.retain(|e| e.failed.is_none());
        self.alive.sort_by(|a, b| a.median_s().total_cmp(&b.median_s()));
    }
}

/// Whether everyone who is not clearly slower than the leader is known to `precision`, or the leader stands alone.
fn is_decided(entrants: &[Entrant<'_>], precision: f64) -> bool {
    let valid = || entrants.iter().filter(|e| e.failed.is_none());
    let Some(leader) = valid().min_by(|a, b| a.median_s().total_cmp(&b.median_s())) else { return true };
    let rivals: Vec<&Entrant<'_>> = valid()
        .filter(|e| e.trial != leader.trial && !stats::clearly_slower(&e.samples_s, &leader.samples_s))
        .collect();
    let precise = |e: &Entrant<'_>| stats::relative_precision(&e.samples_s) <= precision;
    rivals.is_empty() || (precise(leader) && rivals.iter().all(|e| precise(e)))
}
