//! How a kernel is run on the simulated GPU, and what came of it: what every check of the simulator speaks of.

use tilewright_sim::{FindingKind, Options, Policy, Race};

/// How one run is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// When asynchronous operations finish.
    pub(crate) policy: Policy,
    /// Seed of the order of warps.
    pub(crate) seed: u64,
    /// Whether races are looked for.
    pub(crate) race: Race,
}

impl Plan {
    /// One way to run.
    pub(crate) const fn new(policy: Policy, seed: u64, race: Race) -> Self {
        Self { policy, seed, race }
    }

    /// The machine's options for it; runs are made beside each other, so each on one thread.
    pub(crate) fn options(self) -> Options {
        let Self { policy, seed, race } = self;
        Options { policy, seed, race, threads: Some(1), ..Options::default() }
    }

    /// The first `n` of many different ways: the policies in turn, seeds that differ, the detector of races always on.
    pub(crate) fn many(n: usize) -> impl Iterator<Item = Self> {
        const POLICIES: [Policy; 3] = [Policy::Eager, Policy::Lazy, Policy::Random];
        (0..n).map(|i| Self::new(POLICIES[i % 3], (i / 3) as u64, Race::On))
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let policy = match self.policy {
            Policy::Eager => "eager",
            Policy::Lazy => "lazy",
            Policy::Random => "random",
        };
        let races = match self.race {
            Race::Off => "",
            Race::On => ", races",
        };
        write!(f, "{policy}, seed {}{races}", self.seed)
    }
}

/// What came of a run.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Verdict {
    /// Right, with nothing found.
    Right,
    /// Nothing found, but the result is not the reference's; where and by how much.
    Wrong(String),
    /// The machine's first finding.
    Found(FindingKind, String),
    /// It could not be run.
    Failed(String),
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Right => f.write_str("matches"),
            Self::Wrong(how) => write!(f, "wrong result: {how}"),
            Self::Found(_, message) => f.write_str(message),
            Self::Failed(why) => write!(f, "did not run: {why}"),
        }
    }
}
