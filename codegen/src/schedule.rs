//! Schedules, search spaces and what they are for: the knobs of a kernel as data.
//!
//! A [`Schedule`] never changes what a kernel means, only how it runs. Knobs are named integers: the kernel's tile extents
//! and declared tunables first, then the target's own (`stages`, `warps`, ...), which a target that has no use for them ignores.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A choice for every knob of a kernel, ordered by name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Schedule {
    /// Value of each knob: tile extents and tunables of the kernel, and target knobs.
    pub knobs: BTreeMap<String, i64>,
}

impl Schedule {
    /// A schedule from its knobs.
    #[must_use]
    pub fn new(knobs: &[(&str, i64)]) -> Self {
        Self { knobs: knobs.iter().map(|&(k, v)| (k.to_owned(), v)).collect() }
    }

    /// The value of `knob`, if it is set.
    #[must_use]
    pub fn get(&self, knob: &str) -> Option<i64> {
        self.knobs.get(knob).copied()
    }

    /// The schedule with one knob set.
    #[must_use]
    pub fn with(mut self, knob: &str, value: i64) -> Self {
        self.knobs.insert(knob.to_owned(), value);
        self
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (k, v)) in self.knobs.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{k}={v}")?;
        }
        Ok(())
    }
}

/// One knob and the values that the search may give it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Knob {
    /// Name of a tile extent, a declared tunable or a target knob.
    pub name: &'static str,
    /// Candidate values, ascending.
    pub values: Vec<i64>,
}

/// Which points of a grid exist, as the kernel's author declares it. A rule may hold what else it depends on: a kernel's comptime
/// values, say.
#[derive(Clone)]
pub struct Rule(Arc<dyn Fn(&Schedule) -> bool + Send + Sync>);

impl Rule {
    /// A rule that allows what `legal` is true of.
    #[must_use]
    pub fn new(legal: impl Fn(&Schedule) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(legal))
    }

    /// Whether a point exists.
    #[must_use]
    pub fn allows(&self, schedule: &Schedule) -> bool {
        (self.0)(schedule)
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::new(|_| true)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rule")
    }
}

/// The declared search space of a kernel: the legal points of a grid.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// The axes of the grid, in declaration order.
    pub knobs: Vec<Knob>,
    /// Which of its points are legal.
    pub legal: Rule,
}

impl Space {
    /// Number of points of the grid, legal or not; the largest `usize` when there are more.
    #[must_use]
    pub fn grid_len(&self) -> usize {
        self.knobs.iter().fold(1usize, |n, k| n.saturating_mul(k.values.len()))
    }

    /// Whether `schedule` is a legal point: exactly the knobs of the space, each with one of its values.
    #[must_use]
    pub fn contains(&self, schedule: &Schedule) -> bool {
        schedule.knobs.len() == self.knobs.len()
            && self.knobs.iter().all(|k| schedule.get(k.name).is_some_and(|v| k.values.contains(&v)))
            && self.legal.allows(schedule)
    }

    /// Point `index` of the grid, the last knob running fastest; `None` when the point is not legal.
    ///
    /// # Panics
    /// If `index` is not below [`Space::grid_len`].
    #[must_use]
    pub fn point(&self, index: usize) -> Option<Schedule> {
        assert!(index < self.grid_len(), "point {index} should be below {}", self.grid_len());
        let mut rest = index;
        let mut schedule = Schedule::default();
        for knob in self.knobs.iter().rev() {
            schedule.knobs.insert(knob.name.to_owned(), knob.values[rest % knob.values.len()]);
            rest /= knob.values.len();
        }
        self.legal.allows(&schedule).then_some(schedule)
    }

    /// The legal point with the fewest values other than those of `wanted`, the first in grid order of several; `None` when
    /// no point is legal.
    #[must_use]
    pub fn nearest(&self, wanted: &Schedule) -> Option<Schedule> {
        let changed = |p: &Schedule| p.knobs.iter().filter(|(k, v)| wanted.knobs.get(*k) != Some(*v)).count();
        self.points().min_by_key(changed)
    }

    /// Every legal point, in grid order.
    pub fn points(&self) -> impl Iterator<Item = Schedule> + '_ {
        (0..self.grid_len()).filter_map(|i| self.point(i))
    }
}

/// What kind of target a schedule is for: what fits a cache does not fit registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TargetKind {
    /// Tiles live in the caches of a core.
    Cpu,
    /// Tiles live in the registers of the warps of a block, and in shared memory.
    Gpu,
}

/// What may be tuned on a kind of target, and from where tuning starts.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// The search space: dimensions, tunables, then the target's knobs.
    pub knobs: Space,
    /// The schedule when nobody tuned.
    pub default: Schedule,
    /// FNV-1a of the function and what of its attribute matters to this kind of target; records of tuning carry it.
    pub source_hash: u64,
}

impl Tuning {
    /// A space with its default. Where the rule, which may look at element types, refuses the default, the nearest legal point
    /// takes its place.
    #[must_use]
    pub fn new(knobs: Space, default: Schedule, source_hash: u64) -> Self {
        let mut tuning = Self { knobs, default, source_hash };
        tuning.settle();
        tuning
    }

    /// Makes the default legal again: by the nearest legal point where there is one.
    pub fn settle(&mut self) {
        if !self.knobs.legal.allows(&self.default)
            && let Some(nearest) = self.knobs.nearest(&self.default)
        {
            self.default.knobs.extend(nearest.knobs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_the_legal_part_of_the_grid() {
        let knobs = vec![Knob { name: "a", values: vec![1, 2, 4] }, Knob { name: "b", values: vec![3, 5] }];
        let space = Space { knobs, legal: Rule::new(|s| s.get("a") != Some(2)) };
        let points: Vec<String> = space.points().map(|p| p.to_string()).collect();
        assert_eq!(points, ["a=1 b=3", "a=1 b=5", "a=4 b=3", "a=4 b=5"]);
        assert!(space.points().all(|p| space.contains(&p)));
        assert!(!space.contains(&Schedule::new(&[("a", 2), ("b", 3)])), "not legal");
        assert!(!space.contains(&Schedule::new(&[("a", 1)])), "a knob is missing");
        assert!(!space.contains(&Schedule::new(&[("a", 1), ("b", 4)])), "not a value");
        let near = |a, b| space.nearest(&Schedule::new(&[("a", a), ("b", b)])).map(|p| p.to_string());
        assert_eq!(near(4, 5).as_deref(), Some("a=4 b=5"), "legal itself");
        assert_eq!(near(2, 5).as_deref(), Some("a=1 b=5"), "one change, the first of two");
        assert_eq!(
            Space { legal: Rule::new(|_| false), ..space.clone() }.nearest(&Schedule::default()),
            None
        );
        let huge = Space { knobs: vec![Knob { name: "a", values: vec![0; 1 << 20] }; 5], ..Space::default() };
        assert_eq!(huge.grid_len(), usize::MAX);
    }
}
