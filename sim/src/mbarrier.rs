//! The mbarrier: 64 bits in shared memory with phase, counts and transaction bytes.
//!
//! ```text
//! 63     62      61..40             39..20     19..0
//! phase  marker  tx bytes, signed   expected   pending
//! ```
//! The object lives in the block's memory like the real one, so stray stores destroy it; the marker and a
//! copy kept beside it tell.

/// Highest count of arrivals, and highest magnitude of transaction bytes.
pub(crate) const MAX_COUNT: u32 = (1 << 20) - 1;

/// State of an mbarrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) phase: bool,
    pub(crate) expected: u32,
    pub(crate) pending: u32,
    pub(crate) tx: i32,
}

const MARKER: u64 = 1 << 62;

impl State {
    pub(crate) fn new(count: u32) -> Self {
        State { phase: false, expected: count, pending: count, tx: 0 }
    }

    pub(crate) fn to_word(self) -> u64 {
        let tx = (i64::from(self.tx) as u64) & 0x3f_ffff;
        u64::from(self.phase) << 63
            | MARKER
            | tx << 40
            | u64::from(self.expected & 0xf_ffff) << 20
            | u64::from(self.pending & 0xf_ffff)
    }

    pub(crate) fn from_word(word: u64) -> Option<Self> {
        (word & MARKER != 0).then_some(State {
            phase: word >> 63 != 0,
            expected: (word >> 20) as u32 & 0xf_ffff,
            pending: word as u32 & 0xf_ffff,
            tx: (((word >> 40) << 42) as i64 >> 42) as i32,
        })
    }

    /// Takes `count` arrivals away.
    pub(crate) fn arrive(&mut self, count: u32) -> Result<(), String> {
        if count == 0 || count > self.pending {
            return Err(format!(
                "an arrival with count {count} at an mbarrier that waits for {} more of {}; \
                 it was initialised for fewer arrivals per phase, or someone arrives twice",
                self.pending, self.expected
            ));
        }
        self.pending -= count;
        Ok(())
    }

    /// Adds transaction bytes (negative when they have come).
    pub(crate) fn add_tx(&mut self, bytes: i64) -> Result<(), String> {
        let sum = i64::from(self.tx) + bytes;
        if sum.unsigned_abs() > u64::from(MAX_COUNT) {
            return Err(format!("{sum} transaction bytes on an mbarrier; {MAX_COUNT} is the most"));
        }
        self.tx = sum as i32;
        Ok(())
    }

    /// Begins the next phase if this one is complete.
    pub(crate) fn turn(&mut self) -> bool {
        let is_complete = self.pending == 0 && self.tx == 0;
        if is_complete {
            self.phase = !self.phase;
            self.pending = self.expected;
        }
        is_complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_needs_arrivals_and_bytes() {
        let mut state = State::new(2);
        state.add_tx(-64).expect("bytes may come first");
        state.arrive(1).expect("first of two");
        assert!(!state.turn());
        state.add_tx(64).expect("in range");
        assert!(!state.turn());
        state.arrive(1).expect("second of two");
        assert!(state.turn() && state.phase);
        assert_eq!((state.pending, state.tx), (2, 0));
        assert!(state.arrive(3).is_err());
    }

    #[test]
    fn the_word_keeps_the_state() {
        let state = State { phase: true, expected: 384, pending: 7, tx: -5000 };
        assert_eq!(State::from_word(state.to_word()), Some(state));
        assert_eq!(State::from_word(0xcdcd_cdcd_0000_0000 & !MARKER), None);
    }
}
