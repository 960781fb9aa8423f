//! A kernel that does not exist: its cost is a formula and its time passes on a clock that only it moves.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tilewright_autotune::fingerprint::{Cpu, Fingerprint, Isa};
use tilewright_autotune::measure::Clock;
use tilewright_autotune::problem::{Bucket, Candidate, Check, Family, Invalid, Problem, Subject};
use tilewright_codegen::schedule::{Knob, Rule, Schedule, Space};

/// A clock that stands still unless someone advances it.
#[derive(Clone, Default)]
pub(crate) struct ManualClock(Rc<Cell<f64>>);

impl ManualClock {
    /// Lets time pass.
    pub(crate) fn advance(&self, seconds: f64) {
        self.0.set(self.0.get() + seconds);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> f64 {
        self.0.get()
    }
}

/// What a schedule of the synthetic kernel does.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Runs in so many seconds.
    Seconds(f64),
    /// Runs in so many seconds, with wrong numbers.
    Wrong(f64),
    /// Does not specialise.
    Unspecialisable,
    /// Passes its check and its warm-up, then fails.
    FailsLater(f64),
    /// Panics when checked.
    Panics,
}

/// Behaviour of each schedule.
pub(crate) type Law = fn(&Schedule) -> Behaviour;

/// The synthetic kernel.
#[derive(Clone)]
pub(crate) struct Synthetic {
    pub(crate) space: Space,
    pub(crate) law: Law,
    pub(crate) source_hash: u64,
    pub(crate) bucket: Bucket,
    pub(crate) clock: ManualClock,
    /// Seconds that preparing and checking a candidate take.
    pub(crate) prepare_s: f64,
    /// Every schedule prepared, in order.
    pub(crate) prepared: Rc<RefCell<Vec<Schedule>>>,
    /// Timed executions of candidates whose check did not pass.
    pub(crate) wrong_runs: Rc<Cell<usize>>,
}

/// The default schedule: the first value of each knob.
pub(crate) const DEFAULT: [(&str, i64); 2] = [("BM", 16), ("BN", 16)];

/// 5 x 5 grid, of which the points with BM * BN over 8192 are illegal: 19 legal points.
pub(crate) fn space() -> Space {
    let values = vec![16, 32, 64, 128, 256];
    let knob = |name| Knob { name, values: values.clone() };
    Space {
        knobs: vec![knob("BM"), knob("BN")],
        legal: Rule::new(|s| s.knobs.values().product::<i64>() <= 8192),
    }
}

/// Fastest at BM = 64, BN = 32 with 1 ms; 15 % more per step away from it.
pub(crate) fn bowl(schedule: &Schedule) -> Behaviour {
    let steps = |knob: &str, best: f64| (schedule.get(knob).unwrap_or(1) as f64 / best).log2().abs();
    Behaviour::Seconds(1e-3 * (1.0 + 0.15 * (steps("BM", 64.0) + steps("BN", 32.0))))
}

impl Synthetic {
    /// A kernel that behaves by `law`.
    pub(crate) fn new(law: Law) -> Self {
        Self {
            space: space(),
            law,
            source_hash: 0x0123_4567_89ab_cdef,
            bucket: Bucket::new("f32", &[("m", 128), ("n", 256)]),
            clock: ManualClock::default(),
            prepare_s: 0.0,
            prepared: Rc::default(),
            wrong_runs: Rc::default(),
        }
    }
}

impl Problem for Synthetic {
    fn subject(&self) -> Subject<'_> {
        Subject { kernel: "bowl", source_hash: self.source_hash, space: &self.space }
    }

    fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn default_schedule(&self) -> Schedule {
        Schedule::new(&DEFAULT)
    }

    fn flops(&self) -> f64 {
        1e6
    }

    fn bytes(&self) -> f64 {
        1e4
    }

    fn prepare<'a>(&'a self, schedule: &Schedule) -> Result<Box<dyn Candidate + 'a>, Invalid> {
        self.prepared.borrow_mut().push(schedule.clone());
        self.clock.advance(self.prepare_s);
        let behaviour = (self.law)(schedule);
        if matches!(behaviour, Behaviour::Unspecialisable) {
            return Err(Invalid::Specialise(format!("tile too large at {schedule}")));
        }
        Ok(Box::new(Run { problem: self, behaviour, runs: 0 }))
    }
}

struct Run<'a> {
    problem: &'a Synthetic,
    behaviour: Behaviour,
    runs: u64,
}

impl Candidate for Run<'_> {
    fn check(&mut self) -> Result<Check, Invalid> {
        let max_error = match self.behaviour {
            Behaviour::Wrong(_) => 0.5,
            Behaviour::Panics => panic!("arena index out of range"),
            Behaviour::Seconds(_) | Behaviour::Unspecialisable | Behaviour::FailsLater(_) => 1e-7,
        };
        Ok(Check { max_error, tolerance: 1e-5 })
    }

    fn run(&mut self) -> Result<(), Invalid> {
        self.runs += 1;
        let seconds = match self.behaviour {
            Behaviour::FailsLater(_) if self.runs > 4 => {
                return Err(Invalid::Run("out of memory".to_owned()));
            }
            Behaviour::Wrong(seconds) => {
                self.problem.wrong_runs.set(self.problem.wrong_runs.get() + 1);
                seconds
            }
            Behaviour::Seconds(seconds) | Behaviour::FailsLater(seconds) => seconds,
            Behaviour::Unspecialisable | Behaviour::Panics => 1.0,
        };
        // Every run of the machine is up to 4 % slower than the first, in a pattern that repeats, and one in 13 is far off.
        let wobble =
            1.0 + 0.01 * (self.runs % 5) as f64 + if self.runs.is_multiple_of(13) { 3.0 } else { 0.0 };
        self.problem.clock.advance(seconds * wobble);
        Ok(())
    }
}

impl Family for Synthetic {
    fn subject(&self) -> Subject<'_> {
        Problem::subject(self)
    }

    fn summary(&self) -> &str {
        "a bowl of costs"
    }

    fn dtypes(&self) -> Vec<String> {
        ["f32", "bf16"].map(str::to_owned).to_vec()
    }

    fn extents(&self) -> Vec<String> {
        ["m", "n"].map(str::to_owned).to_vec()
    }

    fn options(&self) -> Vec<(String, Vec<String>)> {
        vec![("layout".to_owned(), ["nk", "kn"].map(str::to_owned).to_vec())]
    }

    fn buckets(&self) -> Vec<Bucket> {
        [("f32", 128), ("f32", 1024), ("bf16", 128)]
            .map(|(dtype, m)| Bucket::new(dtype, &[("m", m), ("n", 256)]).with_option("layout", "nk"))
            .to_vec()
    }

    fn problem(&self, bucket: &Bucket, _seed: u64) -> Result<Box<dyn Problem>, String> {
        if bucket.extents["m"] > 1 << 20 {
            return Err(format!("m={} needs more memory than there is", bucket.extents["m"]));
        }
        Ok(Box::new(Self { bucket: bucket.clone(), ..self.clone() }))
    }
}

/// A processor of no real machine.
pub(crate) fn device() -> Fingerprint {
    Fingerprint::Cpu(Cpu {
        model_name: "Abacus 9000".to_owned(),
        vendor: "abacus".to_owned(),
        family: 9,
        model: 1,
        threads: 2,
        isa: Isa::Portable,
        features: Vec::new(),
        caches_bytes: BTreeMap::from([("l1d".to_owned(), 49152), ("l2".to_owned(), 1 << 20)]),
    })
}
