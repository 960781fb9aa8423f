//! Which device memory a graph may still read or write, so that freeing it waits.
//!
//! A graph replays addresses and holds no borrow of the buffers behind them. It can only know memory that was allocated
//! before its capture ended; so a piece that is freed while such a graph lives, or while something is being captured, is kept
//! until the last of them is gone. Pieces allocated later are free at once.

/// Account of the pieces and graphs of one device; `P` is a piece.
#[derive(Debug)]
pub(crate) struct Ledger<P> {
    /// Counts allocations and captures.
    now: u64,
    captures: usize,
    /// When each living graph was captured.
    graphs: Vec<u64>,
    /// Freed pieces that are kept, with the time of their allocation.
    kept: Vec<(P, u64)>,
}

impl<P> Ledger<P> {
    pub(crate) const fn new() -> Self {
        Self { now: 0, captures: 0, graphs: Vec::new(), kept: Vec::new() }
    }

    /// The time of an allocation.
    pub(crate) fn allocated(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// The piece, if it may be freed now; else it is kept.
    pub(crate) fn free(&mut self, piece: P, allocated: u64) -> Option<P> {
        if self.is_free(allocated) {
            return Some(piece);
        }
        self.kept.push((piece, allocated));
        None
    }

    pub(crate) fn begin_capture(&mut self) {
        self.captures += 1;
    }

    /// A capture ended without a graph. Returns the pieces to free.
    pub(crate) fn abandon_capture(&mut self) -> Vec<P> {
        self.captures = self.captures.saturating_sub(1);
        self.sweep()
    }

    /// A capture ended with a graph. Returns its name.
    pub(crate) fn keep_graph(&mut self) -> u64 {
        self.captures = self.captures.saturating_sub(1);
        self.now += 1;
        self.graphs.push(self.now);
        self.now
    }

    /// A graph is gone. Returns the pieces to free.
    pub(crate) fn drop_graph(&mut self, graph: u64) -> Vec<P> {
        self.graphs.retain(|&living| living != graph);
        self.sweep()
    }

    fn is_free(&self, allocated: u64) -> bool {
        self.captures == 0 && self.graphs.iter().all(|&captured| captured < allocated)
    }

    fn sweep(&mut self) -> Vec<P> {
        let (free, kept) =
            std::mem::take(&mut self.kept).into_iter().partition(|&(_, allocated)| self.is_free(allocated));
        self.kept = kept;
        let free: Vec<(P, u64)> = free;
        free.into_iter().map(|(piece, _)| piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_keeps_what_was_there_before_it() {
        let mut ledger = Ledger::new();
        let (a, b) = (ledger.allocated(), ledger.allocated());
        assert_eq!(ledger.free("z", b), Some("z"), "nothing is captured yet");
        ledger.begin_capture();
        let inside = ledger.allocated();
        assert_eq!(ledger.free("a", a), None);
        assert_eq!(ledger.free("inside", inside), None);
        let first = ledger.keep_graph();
        let later = ledger.allocated();
        assert_eq!(ledger.free("later", later), Some("later"), "the graph cannot know it");
        assert_eq!(ledger.free("b", b), None);

        let between = ledger.allocated();
        ledger.begin_capture();
        let second = ledger.keep_graph();
        assert_eq!(ledger.free("between", between), None);
        assert_eq!(ledger.drop_graph(first), Vec::<&str>::new(), "the second knows all of them");
        assert_eq!(ledger.drop_graph(second), ["a", "inside", "b", "between"]);
        assert_eq!(ledger.free("b", b), Some("b"));
    }

    #[test]
    fn a_capture_keeps_everything_until_it_ends() {
        let mut ledger = Ledger::new();
        let a = ledger.allocated();
        ledger.begin_capture();
        ledger.begin_capture();
        let b = ledger.allocated();
        assert_eq!((ledger.free("a", a), ledger.free("b", b)), (None, None));
        assert_eq!(ledger.abandon_capture(), Vec::<&str>::new());
        assert_eq!(ledger.abandon_capture(), ["a", "b"]);
    }
}
