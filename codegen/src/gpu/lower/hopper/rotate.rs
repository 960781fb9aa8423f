//! Loops whose second product takes what was made of the first, as attention's: rotated, so that the second product of one
//! iteration runs while the next iteration makes its operand.
//!
//! ```text
//!   as written    S = Q K(j)   P, O = softmax(S)              O += P V(j)
//!   rotated       S = Q K(0)   P, O = softmax(S)
//!                 for j = 1..  S = Q K(j) and O += P V(j - 1) are started
//!                              wait for S; weights of S        while the second product runs
//!                              wait for O; P, O from them
//!                 O += P V(last)
//! ```
//!
//! Nothing changes but the order of independent statements: every sum is the sum that was written. Each product is a group of
//! its own, and a slot goes back to the producer once the product that read it is known to be complete. Knob: `overlap`.
//!
//! With `pingpong` two warpgroups take turns at starting products, so that one computes weights while the other multiplies.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Lower;
use super::super::dots::{DotPlan, Source};
use super::super::uses::is_elementwise;
use super::LoopRings;
use super::consumer::{ConsumerLoop, Wait, instruction_columns, rings_read};
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{MatrixOperand, Op, Operand, StmtKind, Turn, Warpgroup};
use crate::ir::{self, BinaryOp, Block, DType, Stmt, StmtKind as TileStmt, Value};
use crate::layout::Layout;

/// How a loop is rotated.
pub(super) struct Rotation {
    rings: LoopRings,
    /// The product that is started an iteration ahead, and its ring.
    early: Value,
    early_ring: usize,
    /// The product that is started an iteration late, and its ring.
    late: Value,
    late_ring: usize,
    /// Its left operand and the layout in which it is held from one iteration to the next.
    left: Value,
    left_layout: Layout,
    /// What it adds to: the value in the body, and its place among the carried ones.
    acc: Value,
    place: usize,
    /// Whether two warpgroups take turns at starting products.
    takes_turns: bool,
}

/// Barrier of the first warpgroup's turns: that of the role is 1, and 2 that of the next.
const TURNS: u32 = 3;

/// Opens the turns of the two warpgroups before a role's body and closes them after it.
pub(super) fn with_turns(body: &mut crate::gpu::func::Block) {
    let turn = |turn, loc| crate::gpu::ops::Stmt { kind: StmtKind::Turn { turn, first: TURNS }, loc };
    let (Some(first), Some(last)) = (body.stmts.first(), body.stmts.last()) else { return };
    let (open, close) = (turn(Turn::Open, first.loc), turn(Turn::Close, last.loc));
    body.stmts.insert(0, open);
    body.stmts.push(close);
}

/// Which iteration of a rotated loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    /// The one that stands before the loop.
    First,
    /// One of the loop.
    Later,
}

impl Lower<'_> {
    /// How to rotate a loop of the consumers, if it has the form: two products, the second of which only adds to a carried
    /// tile, takes its left operand from registers and its right operand from a ring of its own.
    pub(super) fn rotation(&self, body: &Block, rings: &LoopRings) -> Option<Rotation> {
        if self.schedule.get("overlap") == Some(0) {
            return None;
        }
        let mut products = Vec::new();
        for stmt in &body.stmts {
            match &stmt.kind {
                TileStmt::Let { value, op: ir::Op::Dot { a, acc, .. } } => products.push((*value, *a, *acc)),
                TileStmt::Let { .. } => {}
                TileStmt::Store { .. }
                | TileStmt::Scatter { .. }
                | TileStmt::Print { .. }
                | TileStmt::Assert { .. }
                | TileStmt::For { .. }
                | TileStmt::While { .. }
                | TileStmt::If { .. } => return None,
            }
        }
        let &[(early, ..), (late, _, acc)] = &products[..] else { return None };
        let (early_plan, late_plan) = (self.plan.dots.get(&early)?, self.plan.dots.get(&late)?);
        let DotPlan::Wgmma { a: Source::Registers { value: left, layout }, .. } = late_plan else {
            return None;
        };
        let (&[early_ring], &[late_ring]) =
            (&rings_read(early_plan, rings)[..], &rings_read(late_plan, rings)[..])
        else {
            return None;
        };
        let place = body.yields.iter().position(|y| *y == late)?;
        let carried = body.params[place + 1];
        // The carried tile is read once, to be scaled or as it is, and the sum is only handed on.
        let reads = |op: &ir::Op| op.operands().contains(&carried);
        let is_scaled =
            acc == carried || self.defs.get(&acc).is_some_and(reads) && self.plan.uses.count(acc) == 1;
        let is_private = self.plan.uses.count(carried) == 1 && self.plan.uses.count(late) == 1;
        let follows = self.reached(body, carried);
        let is_legal = early_ring != late_ring
            && is_scaled
            && is_private
            && !follows.contains(&early)
            && !follows.contains(left);
        is_legal.then(|| Rotation {
            rings: rings.clone(),
            early,
            early_ring,
            late,
            late_ring,
            left: *left,
            left_layout: layout.clone(),
            acc,
            place,
            takes_turns: self.schedule.get("pingpong") == Some(1) && self.plan.n_warps == 8,
        })
    }

    /// Values of a body that are computed from `from`.
    fn reached(&self, body: &Block, from: Value) -> BTreeSet<Value> {
        let mut reached = BTreeSet::from([from]);
        for stmt in &body.stmts {
            if let TileStmt::Let { value, op } = &stmt.kind
                && op.operands().iter().any(|o| reached.contains(o))
            {
                reached.insert(*value);
            }
        }
        reached
    }

    /// The rotated form of a loop of the consumers.
    pub(super) fn rotated_loop(
        &mut self,
        iv: Var,
        [lo, hi, step]: [Var; 3],
        body: &Block,
        carried: &[Var],
        rotation: &Rotation,
    ) {
        let outer = self.consumer.take();
        self.takes_turns |= rotation.takes_turns;
        let runs = self.scalar(DType::Bool, Op::Binary(BinaryOp::Lt, Operand::of(lo), Operand::of(hi)));
        let then_block = self.nested(|cx| {
            let ty = cx.src.tile_ty(rotation.left);
            let ty = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: rotation.left_layout.clone() };
            let left = cx.out.new_var(ty, cx.loc, cx.name_of(rotation.left));
            let sum = carried[rotation.place];
            cx.bind(&body.params[..1], &[lo]);
            cx.iteration(body, carried, rotation, (left, sum), Which::First);
            let second = cx.scalar(DType::I32, Op::Binary(BinaryOp::Add, Operand::of(lo), Operand::of(step)));
            cx.bind(&body.params[..1], &[iv]);
            cx.bind(&body.params[1..], carried);
            let inner = cx.nested(|cx| cx.iteration(body, carried, rotation, (left, sum), Which::Later));
            cx.emit(StmtKind::For { iv, lo: second, hi, step, body: inner });
            cx.late_product(rotation, (left, sum));
            cx.late_is_done(rotation, sum, &[]);
        });
        self.consumer = outer;
        self.emit(StmtKind::If { cond: runs, then_block, else_block: Default::default() });
    }

    /// One iteration without its late product, but with that of the iteration before if there was one.
    fn iteration(
        &mut self,
        body: &Block,
        carried: &[Var],
        rotation: &Rotation,
        (left, sum): (Var, Var),
        which: Which,
    ) {
        let marks = (self.cached.len(), self.shared.len());
        self.consumer = Some(ConsumerLoop::new(rotation.rings.clone(), BTreeMap::new(), Wait::Later));
        let mut is_late_pending = which == Which::Later;
        let mut meanwhile = Vec::new();
        for stmt in &body.stmts {
            let TileStmt::Let { value, op } = &stmt.kind else { continue };
            if *value == rotation.late {
                continue;
            }
            if is_late_pending && needs_late(stmt, body, rotation) {
                self.late_is_done(rotation, sum, &meanwhile);
                is_late_pending = false;
            }
            if *value == rotation.left && self.is_home(rotation) && is_elementwise(op) {
                // Where the product reads it, without a copy.
                let outer = std::mem::replace(&mut self.loc, stmt.loc);
                self.elementwise_into(op, left);
                self.vars.insert(*value, left);
                self.loc = outer;
                continue;
            }
            if *value == rotation.early && rotation.takes_turns {
                self.emit(StmtKind::Turn { turn: Turn::Take, first: TURNS });
            }
            self.statement(stmt);
            if *value == rotation.early {
                let is_followed = which == Which::Later;
                if is_followed {
                    self.late_product(rotation, (left, sum));
                }
                if rotation.takes_turns {
                    self.emit(StmtKind::Turn { turn: Turn::Pass, first: TURNS });
                }
                let done = vec![self.var(rotation.early)];
                self.emit(StmtKind::WgmmaWait { pending: u32::from(is_followed), done });
                let ring = self.tensor_rings[rotation.early_ring].clone();
                self.release(&ring, ring.consumer.0);
            } else if matches!(op, ir::Op::Reduce(..)) {
                meanwhile = vec![*value];
            }
        }
        if is_late_pending {
            self.late_is_done(rotation, sum, &meanwhile);
        }
        let held = self.in_layout(rotation.left, &rotation.left_layout);
        if held != left {
            self.set(left, Op::Copy(Operand::of(held)));
        }
        let mut yields = body.yields.clone();
        yields[rotation.place] = rotation.acc;
        self.hand_on(&yields, carried);
        self.advance_ring(rotation.early_ring);
        self.cached.truncate(marks.0);
        self.shared.truncate(marks.1);
    }

    /// Starts the late product, which is a group of its own.
    fn late_product(&mut self, rotation: &Rotation, (left, sum): (Var, Var)) {
        let Some(DotPlan::Wgmma { layout, n_groups, b, .. }) = self.plan.dots.get(&rotation.late).cloned()
        else {
            unreachable!("the late product should be one of warpgroups")
        };
        let loc = self.src.values[rotation.late.index()].loc;
        let outer = std::mem::replace(&mut self.loc, loc);
        let right = self.matrix_operand(&b);
        self.await_operands(rotation.late_ring);
        let ty = self.src.tile_ty(rotation.left);
        let (m, n) = (layout.shape()[0], layout.shape()[1]);
        self.emit(StmtKind::WgmmaFence);
        self.emit(StmtKind::Wgmma {
            acc: sum,
            a: MatrixOperand::Registers(left),
            b: right,
            dtype: ty.dtype,
            groups: Warpgroup { n_groups, n: instruction_columns(n) },
            extents: (m, n, ty.shape.dim(1) as u32),
            accumulate: None,
        });
        self.emit(StmtKind::WgmmaCommit);
        self.loc = outer;
    }

    /// Whether the late product's left operand is at home in the layout in which the product reads it.
    fn is_home(&self, rotation: &Rotation) -> bool {
        self.plan.homes.get(&rotation.left).is_some_and(|home| home.layout == rotation.left_layout)
    }

    /// Waits for the late product once the reductions of `meanwhile` are there, and hands its slot back.
    fn late_is_done(&mut self, rotation: &Rotation, sum: Var, meanwhile: &[Value]) {
        // What is reduced last rests on all that was computed from the early product.
        let values: Vec<Var> = meanwhile
            .iter()
            .filter_map(|v| self.vars.get(v).copied())
            .filter(|v| matches!(self.out.ty(*v), VarType::Tile { dtype: DType::F32, .. }))
            .collect();
        if !values.is_empty() {
            self.emit(StmtKind::Settle { values });
        }
        let loc = self.src.values[rotation.late.index()].loc;
        let outer = std::mem::replace(&mut self.loc, loc);
        self.emit(StmtKind::WgmmaWait { pending: 0, done: vec![sum] });
        let ring = self.tensor_rings[rotation.late_ring].clone();
        self.release(&ring, ring.consumer.0);
        self.advance_ring(rotation.late_ring);
        self.loc = outer;
    }

    fn advance_ring(&mut self, ring: usize) {
        let ring = &self.tensor_rings[ring];
        let ((slot, phase), slots) = (ring.consumer, ring.stages);
        self.emit(StmtKind::Advance { slot, phase: Some(phase), slots });
    }
}

/// Whether a statement touches registers of the late product that is under way: the sum, or its left operand's successor.
fn needs_late(stmt: &Stmt, body: &Block, rotation: &Rotation) -> bool {
    let TileStmt::Let { value, op } = &stmt.kind else { return true };
    *value == rotation.left || op.operands().contains(&body.params[rotation.place + 1])
}
