//! Turns of two warpgroups: opened once, taken and passed alternately, and closed, so that every arrival is waited for.
//!
//! Both warpgroups run the same statements, so one state stands for both: between a take and a pass one of them has the turn.

use super::Checker;
use crate::diag::Diagnostic;
use crate::gpu::ops::Turn;

/// How far the turns of a role have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TurnState {
    /// Nobody has opened them.
    Unopened,
    /// The turn has been given and not taken.
    Given,
    /// It has been taken and not passed on.
    Taken,
    /// They are over. Opening them again might meet an arrival that is not waited for yet.
    Closed,
}

impl Checker<'_, '_> {
    pub(super) fn turn(&mut self, role: usize, turn: Turn) {
        let before = self.roles[role].turn;
        let (wanted, after) = match turn {
            Turn::Open => (TurnState::Unopened, TurnState::Given),
            Turn::Take => (TurnState::Given, TurnState::Taken),
            Turn::Pass => (TurnState::Taken, TurnState::Given),
            Turn::Close => (TurnState::Given, TurnState::Closed),
        };
        if before != wanted {
            let now = match before {
                TurnState::Unopened => "no turns are open",
                TurnState::Closed => "the turns have been closed",
                TurnState::Given => "the turn is not taken",
                TurnState::Taken => "the turn is taken and not passed on",
            };
            let message = format!("turn {} stands where {now}", turn.word());
            self.v.report(
                Diagnostic::new(self.v.loc, message)
                    .help("turns are opened once, then taken and passed alternately, then closed"),
            );
        }
        self.roles[role].turn = after;
    }

    /// What is left when all roles have ended.
    pub(super) fn turns_end(&mut self) {
        for role in 0..self.roles.len() {
            if matches!(self.roles[role].turn, TurnState::Given | TurnState::Taken) {
                let name = self.trace(role).name.clone();
                self.v.error(format!(
                    "role `{name}` ends with its turns open: an arrival is left at a barrier"
                ));
            }
        }
    }
}
