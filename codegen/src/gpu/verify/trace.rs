//! The events of a run: what each role does to shared memory, mbarriers and matrix accumulators, in its order.
//!
//! Scalars are computed for a scenario (extents of all views, place in the grid); numbers from memory are made up from that
//! extent, and a condition on data follows the scenario. Loops run as often as their bounds say, up to a limit that takes every
//! ring around more than twice. In roles the limit is beyond what the scenarios' extents ask of loops over blocks: one role may
//! count its iterations otherwise than another, as where the first stands before the loop.

use super::{Node, Verifier};
use crate::diag::Loc;
use crate::gpu::func::{Var, VarType};
use crate::gpu::memory::{BarrierId, BufferId};
use crate::gpu::ops::{Arrive, Filled, MatrixOperand, Op, StmtKind, Turn};
use crate::gpu::walk::{Use, for_each_mention};
use crate::ir::{BinaryOp, DType, UnaryOp};

/// Events after which a run is long enough.
const MOST_EVENTS: usize = 20_000;
/// Trips of a role's loop: the largest extent in blocks of 16, and then some.
const MOST_TRIPS_OF_ROLES: usize = 80;
/// Steps after which a run is long enough, whether they are events or not.
const MOST_STEPS: usize = 200_000;

/// What a run assumes.
#[derive(Clone, Copy)]
pub(super) struct Scenario {
    /// Extent of every axis of every view, value of scalar parameters, and scale of numbers read from memory.
    extent: i64,
    /// Index of the program along each grid axis.
    program: i64,
    /// Extent of the grid along each axis.
    n_programs: i64,
    /// Whether conditions on data hold: never, always, every other time.
    holds: [bool; 2],
}

impl Scenario {
    /// Clusters of the launch: a third of the programs, so that blocks which walk over programs meet several.
    fn n_clusters(&self) -> i64 {
        (self.n_programs / 3).max(1)
    }
}

/// The scenarios that a function is run under.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { extent: 1, program: 0, n_programs: 1, holds: [false, false] },
    Scenario { extent: 130, program: 0, n_programs: 3, holds: [true, true] },
    Scenario { extent: 330, program: 2, n_programs: 8, holds: [true, false] },
    Scenario { extent: 1000, program: 3, n_programs: 24, holds: [false, true] },
];

/// A slot of a ring, or one panel of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cell {
    pub(super) buffer: BufferId,
    pub(super) slot: u32,
    pub(super) panel: Option<u32>,
    /// First row of the panel and number of rows; all when none are named.
    pub(super) rows: Option<(u32, u32)>,
    /// Whether the same bytes of the other blocks of the cluster are meant, too.
    pub(super) in_cluster: bool,
}

/// An mbarrier of an array.
pub(super) type BarrierSlot = (BarrierId, u32);

/// What happens.
pub(super) enum EventKind {
    /// All threads of the role read or write.
    Access {
        cell: Cell,
        writes: bool,
    },
    /// Each thread starts its part of a copy.
    Copy {
        cell: Cell,
    },
    Commit,
    WaitCopies {
        pending: u32,
    },
    Barrier,
    FenceAsync,
    InitBarriers,
    ClusterSync,
    Expect {
        at: BarrierSlot,
        bytes: u32,
    },
    Wait {
        at: BarrierSlot,
        parity: u64,
    },
    Arrive {
        at: BarrierSlot,
        /// Arrivals at the block's own mbarrier, those of its like in the other blocks of the cluster included.
        count: u32,
        in_cluster: bool,
    },
    TmaLoad {
        /// What is filled in the block's own memory, the others' shares included.
        cell: Cell,
        at: BarrierSlot,
        bytes: u32,
    },
    TmaStore {
        cell: Cell,
    },
    WaitStores {
        pending: u32,
    },
    WgmmaFence,
    Wgmma {
        acc: Var,
        left: Option<Var>,
        reads: Vec<Cell>,
    },
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
        done: Vec<Var>,
    },
    Turn(Turn),
    /// An ordinary statement reads or writes registers of a warpgroup product.
    Touch {
        var: Var,
        writes: bool,
    },
}

/// One event and where it comes from.
pub(super) struct Event {
    pub(super) kind: EventKind,
    pub(super) place: usize,
    pub(super) loc: Loc,
}

/// What one role does.
pub(super) struct Trace {
    pub(super) name: String,
    pub(super) events: Vec<Event>,
}

/// The run of a function: what the block does, then its roles.
pub(super) struct Run {
    pub(super) block: Trace,
    pub(super) roles: Vec<Trace>,
}

impl Verifier<'_> {
    pub(super) fn protocols(&mut self, body: &[Node<'_>]) {
        let mut watched = vec![false; self.func.vars.len()];
        watch(body, &mut watched);
        for &scenario in SCENARIOS {
            let run = {
                let slots = self.func.buffers.iter().map(|b| b.slots);
                let most = slots.chain(self.func.barriers.iter().map(|b| b.slots)).max().unwrap_or(1);
                let mut tracer = Tracer {
                    v: &mut *self,
                    scenario,
                    env: Vec::new(),
                    watched: &watched,
                    most_trips: 2 * most as usize + 3,
                    events: Vec::new(),
                    roles: Vec::new(),
                    warps: 0,
                    coin: 0,
                    steps: 0,
                };
                tracer.run(body)
            };
            self.ordered(&run);
            if !self.findings.is_empty() {
                return;
            }
        }
    }
}

/// Marks the registers of warpgroup products.
fn watch(block: &[Node<'_>], watched: &mut [bool]) {
    for node in block {
        if let StmtKind::Wgmma { acc, a, .. } = &node.stmt.kind {
            watched[acc.index()] = true;
            if let MatrixOperand::Registers(v) = a {
                watched[v.index()] = true;
            }
        }
        node.blocks.iter().for_each(|b| watch(b, watched));
    }
}

struct Tracer<'t, 'a> {
    v: &'t mut Verifier<'a>,
    scenario: Scenario,
    /// Integers and truth values of scalars.
    env: Vec<i64>,
    watched: &'t [bool],
    most_trips: usize,
    events: Vec<Event>,
    roles: Vec<Trace>,
    /// Active warps of the role under way.
    warps: u32,
    /// Conditions on data seen so far.
    coin: usize,
    steps: usize,
}

impl Tracer<'_, '_> {
    fn run(&mut self, body: &[Node<'_>]) -> Run {
        let func = self.v.func;
        self.env = vec![self.scenario.extent; func.vars.len()];
        self.warps = func.n_warps;
        self.block(body);
        let block = Trace { name: "block".to_owned(), events: std::mem::take(&mut self.events) };
        Run { block, roles: std::mem::take(&mut self.roles) }
    }

    fn block(&mut self, block: &[Node<'_>]) {
        for node in block {
            self.steps += 1;
            if self.events.len() > MOST_EVENTS || self.steps > MOST_STEPS {
                return;
            }
            self.stmt(node);
        }
    }

    fn emit(&mut self, node: &Node<'_>, kind: EventKind) {
        self.events.push(Event { kind, place: node.place, loc: node.stmt.loc });
    }

    fn value(&self, v: Var) -> i64 {
        self.env[v.index()]
    }

    fn coin(&mut self) -> bool {
        self.coin += 1;
        self.scenario.holds[self.coin % 2]
    }

    fn stmt(&mut self, node: &Node<'_>) {
        let kind = &node.stmt.kind;
        let watched = self.watched;
        let mut touched = Vec::new();
        if !matches!(kind, StmtKind::Wgmma { .. } | StmtKind::WgmmaWait { .. }) {
            for_each_mention(kind, &mut |&v, how| {
                if watched[v.index()] {
                    touched.push((v, how != Use::Read));
                }
            });
        }
        for (var, writes) in touched {
            self.emit(node, EventKind::Touch { var, writes });
        }
        match kind {
            StmtKind::Set { dst, op } => {
                self.shared_op(node, op);
                if let VarType::Scalar(dtype) = self.v.func.vars[dst.index()].ty {
                    self.env[dst.index()] = self.eval(op, dtype);
                }
            }
            StmtKind::For { iv, lo, hi, step, .. } => {
                let (mut at, step) = (self.value(*lo), self.value(*step).max(1));
                let mut trips = 0;
                while at < self.value(*hi) && trips < self.most_trips {
                    self.env[iv.index()] = at;
                    self.block(&node.blocks[0]);
                    at += step;
                    trips += 1;
                }
            }
            StmtKind::While { cond, .. } => {
                for _ in 0..self.most_trips {
                    self.block(&node.blocks[0]);
                    if self.value(*cond) == 0 {
                        break;
                    }
                    self.block(&node.blocks[1]);
                }
            }
            StmtKind::If { cond, .. } => {
                let arm = usize::from(self.value(*cond) == 0);
                self.block(&node.blocks[arm]);
            }
            StmtKind::Roles(roles) => {
                let block = std::mem::take(&mut self.events);
                let env = self.env.clone();
                for (role, body) in roles.iter().zip(&node.blocks) {
                    self.env.clone_from(&env);
                    self.warps = role.active_warps;
                    self.most_trips = self.most_trips.max(MOST_TRIPS_OF_ROLES);
                    (self.coin, self.steps) = (0, 0);
                    self.block(body);
                    let events = std::mem::take(&mut self.events);
                    self.roles.push(Trace { name: role.name.clone(), events });
                }
                self.events = block;
            }
            StmtKind::Advance { slot, phase, slots } => {
                let next = self.value(*slot) + 1;
                let wraps = next >= i64::from(*slots);
                self.env[slot.index()] = if wraps { 0 } else { next };
                if let (Some(phase), true) = (phase, wraps) {
                    self.env[phase.index()] ^= 1;
                }
            }
            StmtKind::Barrier { .. } => self.emit(node, EventKind::Barrier),
            StmtKind::ToShared { buffer, slot, .. } => self.access(node, *buffer, *slot, true),
            StmtKind::StoreMatrix { buffer, panel, .. } => {
                let cell =
                    Cell { buffer: *buffer, slot: 0, panel: Some(*panel), rows: None, in_cluster: false };
                self.emit(node, EventKind::Access { cell, writes: true });
            }
            StmtKind::CopyAsync { buffer, slot, .. } => {
                let cell = self.cell(node, *buffer, *slot);
                self.emit(node, EventKind::Copy { cell });
            }
            StmtKind::CommitCopies => self.emit(node, EventKind::Commit),
            StmtKind::WaitCopies { pending } => self.emit(node, EventKind::WaitCopies { pending: *pending }),
            StmtKind::DotShared { a, b, a_slot, b_slot, .. } => {
                self.access(node, *a, *a_slot, false);
                self.access(node, *b, *b_slot, false);
            }
            StmtKind::Mma { a, b, .. } => {
                for operand in [a, b] {
                    if let MatrixOperand::Shared { buffer, slot, .. } = operand {
                        self.access(node, *buffer, *slot, false);
                    }
                }
            }
            StmtKind::Wgmma { acc, a, b, .. } => {
                let mut reads = Vec::new();
                let mut left = None;
                for operand in [a, b] {
                    match operand {
                        MatrixOperand::Registers(v) => left = Some(*v),
                        MatrixOperand::Shared { buffer, slot, .. } => {
                            reads.push(self.cell(node, *buffer, *slot));
                        }
                    }
                }
                self.emit(node, EventKind::Wgmma { acc: *acc, left, reads });
            }
            StmtKind::InitBarriers => self.emit(node, EventKind::InitBarriers),
            // The one at the end lets no block go; nothing happens after it.
            StmtKind::ClusterSync if self.roles.is_empty() => self.emit(node, EventKind::ClusterSync),
            StmtKind::ExpectBytes { barrier, slot, bytes } => {
                let at = self.barrier_slot(node, *barrier, Some(*slot));
                self.emit(node, EventKind::Expect { at, bytes: *bytes });
            }
            StmtKind::WaitBarrier { barrier, slot, phase } => {
                let at = self.barrier_slot(node, *barrier, *slot);
                let parity = (self.value(*phase) & 1) as u64;
                self.emit(node, EventKind::Wait { at, parity });
            }
            StmtKind::ArriveBarrier { barrier, slot, by } => {
                let at = self.barrier_slot(node, *barrier, *slot);
                let count = match by {
                    Arrive::Warp => self.warps,
                    Arrive::Thread => self.warps * 32,
                    Arrive::Cluster => self.warps * self.v.func.cluster,
                };
                self.emit(node, EventKind::Arrive { at, count, in_cluster: *by == Arrive::Cluster });
            }
            StmtKind::TmaLoad { map, buffer, slot, panel, fills, barrier, .. } => {
                let at = self.barrier_slot(node, *barrier, *slot);
                let b = &self.v.func.buffers[buffer.index()];
                let elements: u32 = self.v.func.maps[map.index()].box_dims.iter().product();
                let bytes = elements * b.dtype.size_bytes() as u32;
                let rows = elements / b.columns.max(1);
                let (rows, shares) = match fills {
                    Filled::Own { row } => (Some((*row, rows)), 1),
                    Filled::Cluster => (None, self.v.func.cluster),
                };
                let in_cluster = *fills == Filled::Cluster;
                let cell = Cell { panel: Some(*panel), rows, in_cluster, ..self.cell(node, *buffer, *slot) };
                self.emit(node, EventKind::TmaLoad { cell, at, bytes: bytes * shares });
            }
            StmtKind::TmaStore { buffer, panel, .. } => {
                let cell =
                    Cell { buffer: *buffer, slot: 0, panel: Some(*panel), rows: None, in_cluster: false };
                self.emit(node, EventKind::TmaStore { cell });
            }
            StmtKind::WaitStores { pending, .. } => {
                self.emit(node, EventKind::WaitStores { pending: *pending });
            }
            StmtKind::FenceAsync => self.emit(node, EventKind::FenceAsync),
            StmtKind::WgmmaFence => self.emit(node, EventKind::WgmmaFence),
            StmtKind::WgmmaCommit => self.emit(node, EventKind::WgmmaCommit),
            StmtKind::WgmmaWait { pending, done } => {
                self.emit(node, EventKind::WgmmaWait { pending: *pending, done: done.clone() });
            }
            StmtKind::Turn { turn, .. } => self.emit(node, EventKind::Turn(*turn)),
            StmtKind::Settle { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. }
            | StmtKind::DotRows { .. }
            | StmtKind::ClusterSync
            | StmtKind::GridWait
            | StmtKind::GridRelease => {}
        }
    }

    /// What an operation does to shared memory.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other operations leave shared memory alone")]
    fn shared_op(&mut self, node: &Node<'_>, op: &Op) {
        let scratch: Vec<BufferId> = match op {
            Op::FromShared { buffer, slot, .. } => return self.access(node, *buffer, *slot, false),
            Op::Reduce { scratch, .. } | Op::SumPartials { scratch, .. } => scratch.iter().copied().collect(),
            Op::ArgReduce { values, positions, .. } => values.iter().chain(positions).copied().collect(),
            _ => return,
        };
        // Warps write their part, meet, and read the others'.
        for &b in &scratch {
            self.access(node, b, None, true);
        }
        if !scratch.is_empty() {
            self.emit(node, EventKind::Barrier);
        }
        for &b in &scratch {
            self.access(node, b, None, false);
        }
    }

    fn access(&mut self, node: &Node<'_>, buffer: BufferId, slot: Option<Var>, writes: bool) {
        let cell = self.cell(node, buffer, slot);
        self.emit(node, EventKind::Access { cell, writes });
    }

    fn cell(&mut self, node: &Node<'_>, buffer: BufferId, slot: Option<Var>) -> Cell {
        let slots = self.v.func.buffers[buffer.index()].slots;
        let name = self.v.show_buffer(buffer);
        Cell {
            buffer,
            slot: self.in_ring(node, &name, slot, slots),
            panel: None,
            rows: None,
            in_cluster: false,
        }
    }

    fn barrier_slot(&mut self, node: &Node<'_>, barrier: BarrierId, slot: Option<Var>) -> BarrierSlot {
        let slots = self.v.func.barriers[barrier.index()].slots;
        let name = self.v.show_barrier(barrier);
        (barrier, self.in_ring(node, &name, slot, slots))
    }

    fn in_ring(&mut self, node: &Node<'_>, name: &str, slot: Option<Var>, slots: u32) -> u32 {
        let at = slot.map_or(0, |s| self.value(s));
        match u32::try_from(at) {
            Ok(at) if at < slots => at,
            Ok(_) | Err(_) => {
                self.v.at(node);
                self.v.error(format!("slot {at} of {name}, which has {slots}"));
                0
            }
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other operation has no value that the scenario knows"
    )]
    fn eval(&mut self, op: &Op, dtype: DType) -> i64 {
        let value = |v: Var| self.env[v.index()];
        let is_exact = |v: Var| !self.v.func.vars[v.index()].ty.dtype().is_float();
        match op {
            Op::Const(c) if !c.dtype.is_float() => c.to_i64(),
            Op::ProgramId(_) => self.scenario.program,
            Op::ClusterId => self.scenario.program % self.scenario.n_clusters(),
            Op::ClusterRank => 0,
            Op::NumPrograms(_) => self.scenario.n_programs,
            Op::NumClusters => self.scenario.n_clusters(),
            Op::Copy(a) | Op::Cast(a) if is_exact(a.var) => value(a.var),
            Op::Unary(UnaryOp::Neg, a) if is_exact(a.var) => -value(a.var),
            Op::Unary(UnaryOp::Not, a) if dtype == DType::Bool => i64::from(value(a.var) == 0),
            Op::Select(c, a, b) => value(if value(c.var) != 0 { a.var } else { b.var }),
            Op::Binary(op, a, b) if is_exact(a.var) => binary(*op, value(a.var), value(b.var)),
            // Grows with its place, so that what is kept as starts of ranges makes ranges; the same in every role.
            Op::LoadPoint { offsets, .. } if !dtype.is_float() => {
                let place = offsets.iter().fold(1i64, |sum, &o| sum.saturating_add(value(o)));
                self.scenario.extent.saturating_mul(place)
            }
            _ if dtype == DType::Bool => i64::from(self.coin()),
            _ => self.scenario.extent,
        }
    }
}

fn binary(op: BinaryOp, a: i64, b: i64) -> i64 {
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div => a.checked_div(b).unwrap_or(0),
        BinaryOp::Rem => a.checked_rem(b).unwrap_or(0),
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a.checked_shl(b as u32).unwrap_or(0),
        BinaryOp::Shr => a.checked_shr(b as u32).unwrap_or(0),
        BinaryOp::Lt => i64::from(a < b),
        BinaryOp::Le => i64::from(a <= b),
        BinaryOp::Gt => i64::from(a > b),
        BinaryOp::Ge => i64::from(a >= b),
        BinaryOp::Eq => i64::from(a == b),
        BinaryOp::Ne => i64::from(a != b),
    }
}
