//! Blocks of a cluster: what all of them must do, so that one stands for all in `order`.
//!
//! A value *differs* when it follows from the block's rank in its cluster. Statements on mbarriers and copies to all blocks do not
//! stand where such a value decides: each block counts on the others to do the same.

use super::{Node, Verifier};
use crate::diag::Diagnostic;
use crate::gpu::memory::{BufferId, TensorMapId};
use crate::gpu::ops::{Arrive, Filled, Op, StmtKind};
use crate::gpu::walk::{Use, for_each_mention};

/// Whether a statement reaches into other blocks.
const fn is_remote(kind: &StmtKind) -> bool {
    matches!(
        kind,
        StmtKind::ArriveBarrier { by: Arrive::Cluster, .. }
            | StmtKind::TmaLoad { fills: Filled::Cluster, .. }
    )
}

/// Whether blocks of a cluster count on each other to execute a statement.
const fn is_common(kind: &StmtKind) -> bool {
    is_remote(kind)
        || matches!(
            kind,
            StmtKind::ClusterSync
                | StmtKind::ArriveBarrier { .. }
                | StmtKind::WaitBarrier { .. }
                | StmtKind::ExpectBytes { .. }
                | StmtKind::InitBarriers
        )
}

impl Verifier<'_> {
    pub(super) fn clusters(&mut self, body: &[Node<'_>]) {
        let n_remote = self.places(body, None);
        if self.func.cluster == 1 {
            return;
        }
        if let Some(last) = body.last()
            && n_remote > 0
            && !matches!(last.stmt.kind, StmtKind::ClusterSync)
        {
            self.at(last);
            self.report(
                Diagnostic::new(
                    self.loc,
                    "a block may end while others of its cluster still reach into its memory",
                )
                .help("cluster_sync is the last statement"),
            );
        }
        let mut differs = vec![false; self.func.vars.len()];
        loop {
            let before = differs.clone();
            spread(body, false, &mut differs);
            if differs == before {
                break;
            }
        }
        self.common(body, None, &differs);
    }

    /// Looks at where statements on clusters stand; the number of those that reach into other blocks.
    fn places(&mut self, block: &[Node<'_>], role: Option<&str>) -> usize {
        let mut n = 0;
        for node in block {
            self.at(node);
            let kind = &node.stmt.kind;
            if is_remote(kind) {
                n += 1;
            }
            if self.func.cluster == 1 && (is_remote(kind) || matches!(kind, StmtKind::ClusterSync)) {
                self.error("the kernel has no clusters of blocks");
            }
            if let (StmtKind::ClusterSync, Some(role)) = (kind, role) {
                self.error(format!(
                    "all threads of a block meet at cluster_sync, and role `{role}` is some of them"
                ));
            }
            for (i, inner) in node.blocks.iter().enumerate() {
                let name =
                    if let StmtKind::Roles(roles) = kind { Some(roles[i].name.as_str()) } else { role };
                n += self.places(inner, name);
            }
        }
        n
    }

    /// Reports statements that blocks count on each other for, under a decision that may differ.
    fn common(&mut self, block: &[Node<'_>], differs_by: Option<&str>, differs: &[bool]) {
        for node in block {
            self.at(node);
            if let Some(name) = differs_by
                && is_common(&node.stmt.kind)
            {
                self.report(
                    Diagnostic::new(
                        self.loc,
                        format!(
                            "blocks of a cluster may differ in {name}, which decides whether they come here"
                        ),
                    )
                    .help("each block counts on the others to do the same to mbarriers and for the cluster"),
                );
            }
            let mut deciding = None;
            if decides(&node.stmt.kind) {
                for_each_mention(&node.stmt.kind, &mut |&v, how| {
                    if how == Use::Read && differs[v.index()] {
                        deciding = Some(v);
                    }
                });
            }
            let name = deciding.map(|v| self.show(v));
            for inner in &node.blocks {
                self.common(inner, name.as_deref().or(differs_by), differs);
            }
        }
    }

    /// The boxes of a cluster's blocks make up a panel.
    pub(super) fn shares(&mut self, map: TensorMapId, buffer: BufferId) {
        let (map, b) = (&self.func.maps[map.index()], &self.func.buffers[buffer.index()]);
        let inner = map.box_dims.last().copied().unwrap_or(1).max(1);
        let rows = map.box_dims.iter().product::<u32>() / inner;
        let n = self.func.cluster;
        if rows * n != b.rows {
            let name = self.show_buffer(buffer);
            self.error(format!("{n} shares of {rows} rows do not make up the {} rows of {name}", b.rows));
        }
    }
}

/// Whether a statement decides if its blocks run.
const fn decides(kind: &StmtKind) -> bool {
    matches!(kind, StmtKind::For { .. } | StmtKind::While { .. } | StmtKind::If { .. })
}

/// Marks what follows from what differs; everything assigned under a decision that does, too.
fn spread(block: &[Node<'_>], under: bool, differs: &mut [bool]) {
    for node in block {
        let kind = &node.stmt.kind;
        let mut reads_it = matches!(kind, StmtKind::Set { op: Op::ClusterRank, .. });
        let mut written = Vec::new();
        for_each_mention(kind, &mut |&v, how| {
            reads_it |= how != Use::Write && differs[v.index()];
            if how != Use::Read {
                written.push(v);
            }
        });
        if under || reads_it {
            written.into_iter().for_each(|v| differs[v.index()] = true);
        }
        let inside = under || decides(kind) && reads_it;
        for inner in &node.blocks {
            spread(inner, inside, differs);
        }
    }
}
