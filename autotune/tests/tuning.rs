//! The search and the measurement on a synthetic kernel whose clock is simulated.

#[expect(dead_code, reason = "shared with tests that use the rest")]
mod common;

use std::collections::BTreeSet;

use common::{Behaviour, DEFAULT, Synthetic, bowl};
use tilewright_autotune::Error;
use tilewright_autotune::ceiling::Ceilings;
use tilewright_autotune::problem::Invalid;
use tilewright_autotune::report;
use tilewright_autotune::search::Strategy;
use tilewright_autotune::tune::{Event, Outcome, Stop, TuneConfig, tune};
use tilewright_codegen::schedule::Schedule;

fn tuned(problem: &Synthetic, config: &TuneConfig) -> Outcome {
    tune(problem, config, &problem.clock, &mut |_| ()).expect("tuning should succeed")
}

fn winner(outcome: &Outcome) -> &Schedule {
    &outcome.trials[outcome.winner].schedule
}

#[test]
fn exhaustive_search_covers_all_legal_points_once_and_finds_the_best() {
    let problem = Synthetic::new(bowl);
    let outcome = tuned(&problem, &TuneConfig::default());
    let prepared = problem.prepared.borrow();
    let distinct: BTreeSet<Schedule> = prepared.iter().cloned().collect();
    assert_eq!(prepared.len(), distinct.len());
    assert_eq!(distinct, problem.space.points().collect());
    assert_eq!(*winner(&outcome), Schedule::new(&[("BM", 64), ("BN", 32)]));
    assert_eq!(outcome.stop, Stop::SpaceCovered);
    assert_eq!(outcome.trials[0].schedule, Schedule::new(&DEFAULT));
    assert_eq!(outcome.summary.measured, problem.space.points().count());
}

#[test]
fn random_search_finds_the_best_and_depends_on_its_seed_only() {
    let order = |seed| {
        let problem = Synthetic::new(bowl);
        let outcome =
            tuned(&problem, &TuneConfig { strategy: Strategy::Random, seed, ..TuneConfig::default() });
        assert_eq!(*winner(&outcome), Schedule::new(&[("BM", 64), ("BN", 32)]));
        problem.prepared.take()
    };
    assert_eq!(order(3), order(3));
    assert_ne!(order(3), order(4));
}

#[test]
fn a_wrong_candidate_is_never_timed_and_never_wins() {
    let law = |s: &Schedule| {
        if s.get("BM") == Some(64) { Behaviour::Wrong(1e-6) } else { bowl(s) }
    };
    let problem = Synthetic::new(law);
    let outcome = tuned(&problem, &TuneConfig::default());
    assert_eq!(problem.wrong_runs.get(), 0);
    assert_ne!(winner(&outcome).get("BM"), Some(64));
    let wrong = outcome.trials.iter().filter(|t| matches!(t.result, Err(Invalid::Wrong { .. }))).count();
    assert_eq!((wrong, outcome.summary.invalid), (4, 4));
}

#[test]
fn broken_candidates_are_kept_with_their_reason() {
    let law = |s: &Schedule| match (s.get("BM"), s.get("BN")) {
        (Some(64), Some(32)) => Behaviour::FailsLater(1e-4),
        (Some(64), _) => Behaviour::Panics,
        (_, Some(32)) => Behaviour::Unspecialisable,
        _ => bowl(s),
    };
    let problem = Synthetic::new(law);
    let outcome = tuned(&problem, &TuneConfig::default());
    let reason = |bm, bn| {
        let wanted = Schedule::new(&[("BM", bm), ("BN", bn)]);
        let trial = outcome.trials.iter().find(|t| t.schedule == wanted).expect("schedule should be tried");
        trial.result.as_ref().expect_err("schedule should be invalid").to_string()
    };
    assert_eq!(reason(64, 32), "does not run: out of memory");
    assert_eq!(reason(64, 16), "panicked: arena index out of range");
    assert!(reason(16, 32).contains("tile too large at BM=16 BN=32"));
    assert!(outcome.trials[outcome.winner].result.is_ok());
}

#[test]
fn the_default_keeps_its_place_against_equals() {
    let problem = Synthetic::new(|_| Behaviour::Seconds(2e-3));
    let outcome = tuned(&problem, &TuneConfig::default());
    assert_eq!(*winner(&outcome), Schedule::new(&DEFAULT));
}

#[test]
fn the_budget_is_honoured_and_the_default_measured_regardless() {
    let mut problem = Synthetic::new(bowl);
    problem.prepare_s = 1.0;
    let outcome = tuned(&problem, &TuneConfig { budget_s: 10.0, ..TuneConfig::default() });
    assert_eq!(outcome.stop, Stop::Budget);
    assert!((8..=9).contains(&outcome.trials.len()), "{}", outcome.trials.len());
    assert!(tilewright_autotune::measure::Clock::now(&problem.clock) < 10.5);

    let outcome = tuned(&problem, &TuneConfig { budget_s: 0.0, ..TuneConfig::default() });
    assert_eq!(outcome.trials.len(), 1);
    assert_eq!(*winner(&outcome), Schedule::new(&DEFAULT));
}

#[test]
fn no_more_candidates_than_allowed() {
    let problem = Synthetic::new(bowl);
    let outcome = tuned(&problem, &TuneConfig { max_candidates: Some(7), ..TuneConfig::default() });
    assert_eq!((outcome.trials.len(), outcome.stop), (7, Stop::MaxCandidates));
}

#[test]
fn hopeless_candidates_cost_few_samples() {
    let law = |s: &Schedule| {
        let BehaviourSeconds(fast) = seconds(s);
        Behaviour::Seconds(if s.get("BN") == Some(256) { 10.0 * fast } else { fast })
    };
    let problem = Synthetic::new(law);
    let config = TuneConfig::default();
    let outcome = tuned(&problem, &config);
    for trial in outcome.trials.iter().filter(|t| t.schedule.get("BN") == Some(256)) {
        let timed = trial.result.as_ref().expect("candidate should be valid");
        assert_eq!(timed.samples_s.len(), config.measure.hopeless_after);
    }
}

struct BehaviourSeconds(f64);

fn seconds(schedule: &Schedule) -> BehaviourSeconds {
    match bowl(schedule) {
        Behaviour::Seconds(s) => BehaviourSeconds(s),
        Behaviour::Wrong(_) | Behaviour::Unspecialisable | Behaviour::FailsLater(_) | Behaviour::Panics => {
            unreachable!("the bowl should only have times")
        }
    }
}

#[test]
fn nothing_valid_is_an_error_with_the_first_reason() {
    let problem = Synthetic::new(|_| Behaviour::Wrong(1e-3));
    let error = tune(&problem, &TuneConfig::default(), &problem.clock, &mut |_| ()).expect_err("should fail");
    let text = error.to_string();
    assert!(matches!(error, Error::NoValidCandidate { tried: 19, .. }), "{text}");
    assert!(text.contains("BM=16 BN=16") && text.contains("5.000e-1"), "{text}");
}

#[test]
fn a_default_outside_the_space_is_refused() {
    let mut problem = Synthetic::new(bowl);
    problem.space.knobs[0].values.remove(0);
    let error = tune(&problem, &TuneConfig::default(), &problem.clock, &mut |_| ()).expect_err("should fail");
    assert!(matches!(error, Error::DefaultOutsideSpace { .. }), "{error}");
}

#[test]
fn the_observer_hears_of_every_candidate_and_of_the_run_off() {
    let problem = Synthetic::new(bowl);
    let (mut tried, mut run_off) = (0, 0);
    tune(&problem, &TuneConfig::default(), &problem.clock, &mut |event| match event {
        Event::Tried { done, .. } => {
            tried += 1;
            assert_eq!(done, tried);
        }
        Event::Leader { median_s, .. } => assert!(median_s > 0.0),
        Event::RunOff { round, .. } => run_off = round,
    })
    .expect("tuning should succeed");
    assert_eq!(tried, 19);
    assert!(run_off >= 11);
}

#[test]
fn the_report_ranks_the_winner_first_and_always_shows_the_default() {
    let law = |s: &Schedule| {
        if s.get("BM") == Some(128) { Behaviour::Unspecialisable } else { bowl(s) }
    };
    let problem = Synthetic::new(law);
    let outcome = tuned(&problem, &TuneConfig::default());
    let ceilings = Ceilings { flops_per_s: 1e10, bytes_per_s: 1e10 };
    let config = report::ReportConfig { rows: 3, invalid_rows: 1 };
    let text = report::ranking(&outcome, (1e6, 1e4), Some(&ceilings), config);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[1].starts_with("1     BM=64 BN=32") && lines[1].ends_with("chosen"), "{text}");
    assert!(lines[1].contains("% of FMA"), "{text}");
    assert!(
        lines[4].contains("BM=16 BN=16") && lines[4].contains("1.00x") && lines[4].ends_with("default"),
        "{text}"
    );
    assert!(text.contains("invalid: BM=128 BN=16: does not specialise"), "{text}");
    assert!(text.contains("2 more invalid"), "{text}");
    assert!(text.contains("the space is covered"), "{text}");
}
