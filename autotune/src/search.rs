//! Which point of the space to try next.
//!
//! A searcher yields legal points, each at most once, one at a time and without walking the space ahead, so a search can stop
//! at any moment and a space may be larger than memory. Measurements do not flow back yet, because neither search here learns;
//! a learning one is a further variant whose `next_point` takes the trials so far.

mod exhaustive;
mod random;

use tilewright_codegen::schedule::{Schedule, Space};

pub use exhaustive::Exhaustive;
pub use random::Random;

/// How a space is searched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// Every legal point in grid order.
    Exhaustive,
    /// Legal points in random order, none twice.
    Random,
}

impl Strategy {
    /// Name in records and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exhaustive => "exhaustive",
            Self::Random => "random",
        }
    }
}

/// The state of a search.
#[derive(Debug)]
pub enum Searcher {
    /// See [`Exhaustive`].
    Exhaustive(Exhaustive),
    /// See [`Random`].
    Random(Random),
}

impl Searcher {
    /// A search that has not begun. `seed` decides the order of a random one.
    #[must_use]
    pub fn new(strategy: Strategy, seed: u64) -> Self {
        match strategy {
            Strategy::Exhaustive => Self::Exhaustive(Exhaustive::default()),
            Strategy::Random => Self::Random(Random::new(seed)),
        }
    }

    /// The next legal point; `None` when the space is covered. `space` must be the same in every call.
    pub fn next_point(&mut self, space: &Space) -> Option<Schedule> {
        match self {
            Self::Exhaustive(search) => search.next_point(space),
            Self::Random(search) => search.next_point(space),
        }
    }
}
