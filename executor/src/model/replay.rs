//! Decode steps as graphs: which of them are recorded, and until when they stand.
//!
//! A step is the same launches over the same memory every time, up to what lies in the step's inputs (token ids, positions,
//! slots, page tables, lengths). What launches do depend on is the number of rows and the widths of the tables of pages and of tokens
//! seen, and these are rounded up to a few values ([`step_rows`], [`step_pages`]), so that few graphs serve all steps. The first step of a shape is
//! launched kernel by kernel, which compiles and loads them all; the second is recorded; from then on it is one call.
//! Scratch that grows moves: then every graph is forgotten.

use std::collections::HashMap;

use tilewright_runtime::Graph;

/// What the launches of a step depend on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct StepShape {
    /// Rows, those without a sequence included.
    pub(super) rows: usize,
    /// Columns of the page table.
    pub(super) max_pages: usize,
    /// Rows that tokens are picked from.
    pub(super) picks: usize,
    /// Columns of the table of tokens seen.
    pub(super) n_seen: usize,
}

/// Rows of a step of `n` sequences: powers of two up to 8, which is what the small-M kernels are made for, then multiples of 8.
pub(super) const fn step_rows(n: usize) -> usize {
    if n <= 8 { n.next_power_of_two() } else { n.next_multiple_of(8) }
}

/// Columns of the page table of a step whose longest sequence has `n` pages.
pub(super) const fn step_pages(n: usize) -> usize {
    n.next_power_of_two()
}

/// What to do with a step.
pub(super) enum Next<'a> {
    /// Launch its kernels.
    Launch,
    /// Record its launches, replay them, and hand the graph to [`Replays::keep`].
    Record,
    /// Replay it.
    Replay(&'a Graph),
}

/// The graphs of a model.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// The scratch that they were recorded over.
    generation: u64,
    /// By shape; a shape without a graph has been launched.
    known: HashMap<StepShape, Option<Graph>>,
}

impl Replays {
    /// What to do with a step of a shape over scratch of a generation.
    pub(super) fn next(&mut self, shape: StepShape, generation: u64) -> Next<'_> {
        if self.generation != generation {
            self.known.clear();
            self.generation = generation;
        }
        match self.known.entry(shape) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(None);
                Next::Launch
            }
            std::collections::hash_map::Entry::Occupied(entry) => match entry.into_mut() {
                None => Next::Record,
                Some(graph) => Next::Replay(graph),
            },
        }
    }

    /// Keeps the graph of a shape.
    pub(super) fn keep(&mut self, shape: StepShape, graph: Graph) {
        self.known.insert(shape, Some(graph));
    }

    /// Graphs that stand.
    pub(super) fn len(&self) -> usize {
        self.known.values().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_shapes_serve_all_steps() {
        assert_eq!([1, 2, 3, 5, 8, 9, 16, 17].map(step_rows), [1, 2, 4, 8, 8, 16, 16, 24]);
        assert_eq!([1, 2, 3, 5, 9].map(step_pages), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_shape_is_launched_first_and_forgotten_when_scratch_moves() {
        let mut replays = Replays::default();
        let a = StepShape { rows: 1, max_pages: 1, picks: 1, n_seen: 0 };
        let b = StepShape { rows: 2, picks: 2, ..a };
        assert!(matches!(replays.next(a, 7), Next::Launch));
        assert!(matches!(replays.next(a, 7), Next::Record));
        assert!(matches!(replays.next(b, 7), Next::Launch));
        assert!(matches!(replays.next(a, 8), Next::Launch), "the scratch is another");
        assert_eq!(replays.len(), 0);
    }
}
