//! Kernels that begin before the launch in front of them has ended: what they wait for before they touch device memory.
//!
//! `grid_wait` stands where every thread passes it, outside of roles, loops and branches, and everything that reads or writes device
//! memory comes after it. `grid_release` without it would let a third launch in while this one has not waited for the first.

use super::{Node, Verifier};
use crate::diag::Diagnostic;
use crate::gpu::ops::{Op, StmtKind};

/// Whether a statement itself reads or writes device memory.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other statements and operations stay inside the block"
)]
const fn touches_memory(kind: &StmtKind) -> bool {
    match kind {
        StmtKind::Set { op, .. } => {
            matches!(op, Op::Load { .. } | Op::LoadPoint { .. } | Op::Gather { .. })
        }
        StmtKind::Store { .. }
        | StmtKind::Scatter { .. }
        | StmtKind::CopyAsync { .. }
        | StmtKind::TmaLoad { .. }
        | StmtKind::TmaStore { .. }
        | StmtKind::Print { .. }
        | StmtKind::Assert { .. } => true,
        _ => false,
    }
}

impl Verifier<'_> {
    pub(super) fn dependent(&mut self, body: &[Node<'_>]) {
        let wait = body.iter().position(|n| matches!(n.stmt.kind, StmtKind::GridWait));
        self.nested_waits(body, true);
        match wait {
            Some(at) => {
                if let Some(early) = find(&body[..at], touches_memory) {
                    self.at(early);
                    self.report(
                        Diagnostic::new(
                            self.loc,
                            "the launch in front may still write what this reads, or read what it writes",
                        )
                        .help("grid_wait comes before the first access to device memory"),
                    );
                }
                if let Some(early) = find(&body[..at], |kind| matches!(kind, StmtKind::GridRelease)) {
                    self.at(early);
                    self.error("grid_release comes after grid_wait");
                }
            }
            None => {
                if let Some(release) = find(body, |kind| matches!(kind, StmtKind::GridRelease)) {
                    self.at(release);
                    self.report(
                        Diagnostic::new(
                            self.loc,
                            "the next launch is let in, and this one has not waited for the one in front",
                        )
                        .help("a kernel with grid_release executes grid_wait first"),
                    );
                }
            }
        }
    }

    fn nested_waits(&mut self, block: &[Node<'_>], is_top: bool) {
        for node in block {
            if !is_top && matches!(node.stmt.kind, StmtKind::GridWait) {
                self.at(node);
                self.error("grid_wait stands where every thread of the block passes it, outside of roles, loops and branches");
            }
            node.blocks.iter().for_each(|b| self.nested_waits(b, false));
        }
    }
}

/// The first statement in text order that `test` holds for.
fn find<'n, 'f>(block: &'n [Node<'f>], test: impl Fn(&StmtKind) -> bool + Copy) -> Option<&'n Node<'f>> {
    block.iter().find_map(|node| {
        if test(&node.stmt.kind) {
            return Some(node);
        }
        node.blocks.iter().find_map(|b| find(b, test))
    })
}
