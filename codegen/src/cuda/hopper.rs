//! Statements of sm_90 beside the matrix unit: mbarriers, bulk copies through tensor maps, fragments to shared memory.
//!
//! What one thread issues is grouped under one election: consecutive announcements and copies share a branch, which the compiler
//! turns into straight-line code because the elected lane is uniform to it.

use super::coords::sum;
use super::writer::Writer;
use crate::gpu::{Arrive, BarrierId, Buffer, BufferId, Filled, StmtKind, TensorMapId, Var, VarType};

/// Whether one thread of the role issues the statement.
pub(crate) const fn is_single_thread(kind: &StmtKind) -> bool {
    matches!(kind, StmtKind::ExpectBytes { .. } | StmtKind::TmaLoad { .. } | StmtKind::TmaStore { .. })
}

impl Writer<'_> {
    /// A number of blocks, or the index of one, in clusters.
    pub(crate) fn clusters_of(&self, blocks: &str) -> String {
        match self.func.cluster {
            1 => format!("(int){blocks}"),
            n => format!("(int)({blocks} / {n}u)"),
        }
    }

    /// Shared address of an element of an array of mbarriers.
    fn barrier_at(&mut self, id: BarrierId, slot: Option<Var>) -> String {
        let name = self.barrier_names[id.index()].clone();
        let offset = self.func.barriers[id.index()].offset_bytes;
        self.hoist_named("constexpr int", &name, &offset.to_string());
        let slot = slot.map_or_else(|| "0".to_owned(), |s| self.scalar(s));
        let element = super::shared::scaled(&slot, 8);
        format!("shared_address(shared + {})", sum(&[&name, &element]))
    }

    /// `init_barriers`.
    pub(crate) fn init_barriers(&mut self) {
        self.text.open("if (tid == 0) {");
        for (i, barrier) in self.func.barriers.iter().enumerate() {
            let at = self.barrier_at(BarrierId(i as u32), None);
            let (slots, arrivals) = (barrier.slots, barrier.arrivals);
            self.text.line(format!(
                "for (int s_ = 0; s_ < {slots}; ++s_) mbarrier_init({at} + 8 * s_, {arrivals});"
            ));
        }
        self.text.line("mbarrier_fence();");
        self.text.close();
        self.text.line("__syncthreads();");
    }

    /// `wait`.
    pub(crate) fn wait_barrier(&mut self, id: BarrierId, slot: Option<Var>, phase: Var) {
        let (at, phase) = (self.barrier_at(id, slot), self.scalar(phase));
        // What other blocks of the cluster did before they arrived is known after the wait, too.
        let name = if self.func.cluster > 1 { "mbarrier_wait_cluster" } else { "mbarrier_wait" };
        self.text.line(format!("{name}({at}, {phase});"));
    }

    /// `arrive`, where a condition that all threads of a warp agree on holds.
    pub(crate) fn arrive_barrier(&mut self, id: BarrierId, slot: Option<Var>, by: Arrive, on: Option<&str>) {
        let at = self.barrier_at(id, slot);
        let (who, call) = match by {
            Arrive::Thread => (None, format!("mbarrier_arrive({at});")),
            Arrive::Warp => (Some("lane == 0".to_owned()), format!("mbarrier_arrive({at});")),
            Arrive::Cluster => (
                Some(format!("lane < {}", self.func.cluster)),
                format!("mbarrier_arrive_in_cluster({at}, lane);"),
            ),
        };
        let conditions: Vec<&str> = on.into_iter().chain(who.as_deref()).collect();
        match conditions.as_slice() {
            [] => self.text.line(call),
            some => self.text.line(format!("if ({}) {call}", some.join(" && "))),
        }
    }

    /// A run of statements that one thread issues.
    pub(crate) fn issue(&mut self, kinds: &[StmtKind]) {
        let who = if self.scope.n_warps == 1 { "elect_one()" } else { "warp == 0 && elect_one()" };
        self.text.open(format!("if ({who}) {{"));
        let mut stores = false;
        for kind in kinds {
            match kind {
                StmtKind::ExpectBytes { barrier, slot, bytes } => {
                    let at = self.barrier_at(*barrier, Some(*slot));
                    self.text.line(format!("mbarrier_expect({at}, {bytes});"));
                }
                StmtKind::TmaLoad { map, coords, buffer, slot, panel, fills, barrier } => {
                    let at = self.barrier_at(*barrier, *slot);
                    let b = &self.func.buffers[buffer.index()];
                    let share_bytes = b.rows / self.func.cluster * b.pitch_bytes;
                    let row = if let Filled::Own { row } = fills { *row } else { 0 };
                    let to = self.panel_at(*buffer, *slot, *panel, row);
                    let (map, places) = self.map_and_coords(*map, coords);
                    let rank = coords.len();
                    self.text.line(match fills {
                        Filled::Own { .. } => format!("tma_load_{rank}d({to}, &{map}, {at}, {places});"),
                        Filled::Cluster => {
                            let mask = (1u32 << self.func.cluster) - 1;
                            format!(
                                "tma_multicast_{rank}d({to} + cluster_rank() * {share_bytes}, &{map}, {at}, {mask}, {places});"
                            )
                        }
                    });
                }
                StmtKind::TmaStore { map, coords, buffer, panel, row } => {
                    let from = self.panel_at(*buffer, None, *panel, *row);
                    let (map, places) = self.map_and_coords(*map, coords);
                    let rank = coords.len();
                    self.text.line(format!("tma_store_{rank}d(&{map}, {from}, {places});"));
                    stores = true;
                }
                StmtKind::Set { .. }
                | StmtKind::Store { .. }
                | StmtKind::Scatter { .. }
                | StmtKind::Print { .. }
                | StmtKind::Assert { .. }
                | StmtKind::For { .. }
                | StmtKind::While { .. }
                | StmtKind::If { .. }
                | StmtKind::Barrier { .. }
                | StmtKind::ToShared { .. }
                | StmtKind::CopyAsync { .. }
                | StmtKind::CommitCopies
                | StmtKind::WaitCopies { .. }
                | StmtKind::Advance { .. }
                | StmtKind::DotShared { .. }
                | StmtKind::DotRows { .. }
                | StmtKind::Mma { .. }
                | StmtKind::Roles(_)
                | StmtKind::InitBarriers
                | StmtKind::ClusterSync
                | StmtKind::WaitBarrier { .. }
                | StmtKind::ArriveBarrier { .. }
                | StmtKind::WaitStores { .. }
                | StmtKind::FenceAsync
                | StmtKind::WgmmaFence
                | StmtKind::Wgmma { .. }
                | StmtKind::WgmmaCommit
                | StmtKind::WgmmaWait { .. }
                | StmtKind::Settle { .. }
                | StmtKind::Turn { .. }
                | StmtKind::StoreMatrix { .. }
                | StmtKind::GridWait
                | StmtKind::GridRelease => panic!("{kind:?} should be issued by all threads"),
            }
        }
        if stores {
            self.text.line("commit_stores();");
        }
        self.text.close();
    }

    /// Shared address of a row of a panel.
    fn panel_at(&mut self, id: BufferId, slot: Option<Var>, panel: u32, row: u32) -> String {
        let base = self.slot_offset(id, slot);
        let buffer = &self.func.buffers[id.index()];
        let bytes = (panel * buffer.rows + row) * buffer.pitch_bytes;
        format!("shared_address(shared + {})", sum(&[&base, &bytes.to_string()]))
    }

    /// A tensor map's name and the coordinates as the hardware counts axes, innermost first.
    fn map_and_coords(&mut self, map: TensorMapId, coords: &[Var]) -> (String, String) {
        let places: Vec<String> = coords.iter().rev().map(|&c| self.scalar(c)).collect();
        (self.map_names[map.index()].clone(), places.join(", "))
    }

    /// `store_matrix`: 16 rows by 16 columns of a warp per instruction.
    pub(crate) fn store_matrix(&mut self, src: Var, first: u32, id: BufferId, panel: u32) {
        let VarType::Tile { layout, .. } = self.func.ty(src).clone() else {
            panic!("{src} should be a tile")
        };
        let buffer = self.func.buffers[id.index()].clone();
        let m = self.tiles(&layout, 0, 16);
        let mut n = self.tiles(&layout, 1, 8);
        n.starts.retain(|c| (first..first + buffer.columns).contains(c));
        let table: Vec<u32> =
            super::mma::accumulators(&layout, &m.starts, &n.starts).iter().map(|r| r / 2).collect();
        let (mt, nt) = (m.starts.len(), n.starts.len());
        let pairs = n.starts.chunks_exact(2).all(|c| c[1] == c[0] + 8) && nt.is_multiple_of(2);
        assert!(pairs, "a tile stored by matrices should have columns in multiples of 16");
        let name = self.name(src);
        let base = self.slot_offset(id, None);
        self.text.open("{");
        self.text.line(format!("const unsigned to_ = shared_address(shared + {base});"));
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int m_ = 0; m_ < {mt}; ++m_) {{"));
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int n_ = 0; n_ < {}; ++n_) {{", nt / 2));
        let column_starts: Vec<u32> = n.starts.iter().step_by(2).map(|c| c - first).collect();
        let (row, column) = (self.table(&m.starts, "m_"), self.table(&column_starts, "n_"));
        let row = sum(&[&m.warp, &row, "(lane & 15)"]);
        let column = sum(&[&n.warp, &column, "(lane >> 4) * 8"]);
        let panel_bytes = (panel * buffer.rows * buffer.pitch_bytes).to_string();
        let buffer = Buffer { panels: 1, ..buffer };
        let offset = sum(&[&panel_bytes, &self.element_offset(&buffer, &row, &column)]);
        let half = nt / 2;
        let flat = if half == 1 { "m_".to_owned() } else { format!("(m_ * {half} + n_)") };
        let (first, second): (Vec<u32>, Vec<u32>) = table.chunks_exact(2).map(|c| (c[0], c[1])).unzip();
        let (first, second) = (self.table(&first, &flat), self.table(&second, &flat));
        self.text.line(format!("store_matrix_x4(to_ + {offset}, {name} + {first}, {name} + {second});"));
        self.text.close();
        self.text.close();
        self.text.close();
    }
}
