//! Clusters of two blocks, which share the operands that both of their programs read.
//!
//! Blocks 2 i and 2 i + 1 run neighbouring programs. The producers of both compute the addresses of both programs; an operand whose
//! address is the same is copied once, half of its rows by each block and to both, else each block copies its own. So whichever way a
//! kernel numbers its programs, what neighbours share is shared: with `grouped_2d` the tile of the weights, but where a group's last
//! column and the next one's first are neighbours.
//!
//! ```text
//!   block 0   x tile of p          rows 0 .. n/2 of the w tile ──▶ both blocks       a slot is free when the consumers of
//!   block 1   x tile of p + 1      rows n/2 .. n of the w tile ──▶ both blocks       both have handed it back
//! ```
//!
//! Where the number of programs is odd the last block repeats its neighbour's program and stores nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Lower;
use super::super::dots::{DotPlan, TensorLoad};
use super::persistent::Grid;
use super::{TensorRing, tensor_loads};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Filled, Op, Operand, StmtKind};
use crate::ir::walk::{for_each_definition, for_each_stmt};
use crate::ir::{self, BinaryOp, Block, DType, Func, StmtKind as TileStmt, Value};
use crate::schedule::Schedule;

/// Blocks of a cluster that share operands.
pub(super) const PAIR: u32 = 2;
/// Rows that the hardware's swizzle permutes together: a block's share is a multiple of them.
const SWIZZLE_ROWS: usize = 8;

/// The two programs of a cluster.
#[derive(Clone, Copy)]
pub(in crate::gpu::lower) struct Pair {
    /// The block's index in the cluster.
    pub(super) rank: Var,
    /// Whether this block is the first.
    is_first: Var,
    /// The first program, and the last one of the grid where there is no second.
    programs: [Var; 2],
    /// The grid that they belong to.
    grid: Grid,
}

/// Blocks of a cluster for a warp-specialised function under a schedule.
pub(in crate::gpu::lower) fn cluster_of(
    func: &Func,
    dots: &BTreeMap<Value, DotPlan>,
    schedule: &Schedule,
) -> Result<u32, Diagnostics> {
    let refuse = |loc: Loc, message: String, help: &str| Err(Diagnostic::new(loc, message).help(help).into());
    let start = func.body.stmts.first().map_or_else(Loc::default, |s| s.loc);
    match schedule.get("cluster") {
        None | Some(1) => return Ok(1),
        Some(2) => {}
        Some(n) => {
            let message = format!("clusters of {n} blocks are not possible for kernel `{}`", func.name);
            return refuse(start, message, "`cluster` is 1 or 2");
        }
    }
    let varying = varying(func);
    let last = func.body.stmts.iter().rposition(|s| is_tensor_loop(&s.kind, dots)).unwrap_or_default();
    let help = "such a schedule needs `cluster` 1";
    for stmt in &func.body.stmts[..=last] {
        if let TileStmt::For { lo, hi, step, body, .. } = &stmt.kind
            && is_tensor_loop(&stmt.kind, dots)
        {
            if [lo, hi, step].iter().any(|v| varying.contains(v)) {
                let message = "the blocks of a cluster go through this loop together, and its bounds follow from the program's index";
                return refuse(stmt.loc, message.to_owned(), help);
            }
            for load in tensor_loads(body, dots) {
                let rows = func.tile_ty(load.load).shape.dim(1 - load.column_axis);
                if !rows.is_multiple_of(PAIR as usize * SWIZZLE_ROWS) {
                    let loc = func.values[load.load.index()].loc;
                    let message = format!(
                        "the {rows} rows of this tile are not two shares of whole groups of {SWIZZLE_ROWS}"
                    );
                    return refuse(loc, message, help);
                }
            }
        }
        let mut effect = None;
        let block = Block { stmts: vec![stmt.clone()], ..Block::default() };
        for_each_stmt(&block, &mut |s| {
            if matches!(s.kind, TileStmt::Store { .. } | TileStmt::Scatter { .. } | TileStmt::Print { .. }) {
                effect = effect.or(Some(s.loc));
            }
        });
        if let Some(loc) = effect {
            let message = "a block of a cluster may have no program of its own, and this is done before the last products";
            return refuse(loc, message.to_owned(), help);
        }
    }
    Ok(PAIR)
}

/// Whether a statement is a loop around tensor copies.
pub(super) fn is_tensor_loop(stmt: &TileStmt, dots: &BTreeMap<Value, DotPlan>) -> bool {
    matches!(stmt, TileStmt::For { body, .. } if !tensor_loads(body, dots).is_empty())
}

/// The values that may follow from the program's index.
fn varying(func: &Func) -> BTreeSet<Value> {
    let mut varying = BTreeSet::new();
    for_each_stmt(&func.body, &mut |stmt| match &stmt.kind {
        TileStmt::Let { value, op } => {
            if matches!(op, ir::Op::ProgramId(_)) || op.operands().iter().any(|o| varying.contains(o)) {
                varying.insert(*value);
            }
        }
        TileStmt::For { lo, hi, step, body, results, .. } => {
            if [lo, hi, step].iter().any(|v| varying.contains(v)) {
                varying.insert(body.params[0]);
            }
            varying.extend(body.params[1..].iter().chain(results).copied());
        }
        TileStmt::While { cond, body, results, .. } => {
            varying.extend(cond.params.iter().chain(&body.params).chain(results).copied());
        }
        TileStmt::If { results, .. } => varying.extend(results.iter().copied()),
        TileStmt::Store { .. }
        | TileStmt::Scatter { .. }
        | TileStmt::Print { .. }
        | TileStmt::Assert { .. } => {}
    });
    varying
}

impl Lower<'_> {
    /// The programs of a cluster, the first of which is `first`.
    pub(super) fn pair(&mut self, first: Var, grid: Grid) -> Pair {
        let (zero, one) = (self.const_i32(0), self.const_i32(1));
        let rank = self.scalar(DType::I32, Op::ClusterRank);
        let is_first =
            self.scalar(DType::Bool, Op::Binary(BinaryOp::Eq, Operand::of(rank), Operand::of(zero)));
        let next = self.i32_op(BinaryOp::Add, first, one);
        let last = self.i32_op(BinaryOp::Sub, grid.total, one);
        let second = self.i32_op(BinaryOp::Min, next, last);
        Pair { rank, is_first, programs: [first, second], grid }
    }

    /// What belongs to the block's own program, of the same value for both.
    pub(super) fn own_of(&mut self, pair: Pair, [first, second]: [Var; 2]) -> Var {
        if first == second {
            return first;
        }
        let VarType::Scalar(dtype) = *self.out.ty(first) else {
            unreachable!("only scalars should differ between the programs of a cluster")
        };
        let [c, a, b] = [pair.is_first, first, second].map(Operand::of);
        self.scalar(dtype, Op::Select(c, a, b))
    }

    /// The producer's scalars of both programs. What its loops need of them, for the block's own program, becomes its variables.
    pub(super) fn scalars_of_both(&mut self, body: &Block, pair: Pair) -> BTreeMap<Value, [Var; 2]> {
        let varying = varying(self.src);
        let before = self.vars.clone();
        let mut both: Vec<BTreeMap<Value, Var>> = Vec::new();
        for program in pair.programs {
            self.vars.clone_from(&before);
            if let Some(first) = both.first() {
                // What does not vary is there already.
                self.vars.extend(first.iter().filter(|(v, _)| !varying.contains(v)));
            }
            self.program_ids = Some(self.ids_of(program, pair.grid));
            for stmt in &body.stmts {
                let TileStmt::Let { value, op } = &stmt.kind else { continue };
                if !self.vars.contains_key(value) {
                    self.loc = stmt.loc;
                    self.producer_value(*value, op);
                }
            }
            both.push(self.vars.clone());
        }
        let pairs: BTreeMap<Value, [Var; 2]> =
            both[0].iter().map(|(&value, &first)| (value, [first, both[1][&value]])).collect();
        let mut needed = BTreeSet::new();
        for stmt in &body.stmts {
            let TileStmt::For { body, .. } = &stmt.kind else { continue };
            for load in tensor_loads(body, &self.plan.dots) {
                needed.extend(self.roots(&load, body));
            }
        }
        for (&value, &two) in pairs.iter().filter(|(value, [a, b])| a != b && needed.contains(value)) {
            let own = self.own_of(pair, two);
            self.vars.insert(value, own);
        }
        pairs
    }

    /// Scalars that the address of a load in a loop follows from and that are known before the loop.
    fn roots(&self, load: &TensorLoad, body: &Block) -> BTreeSet<Value> {
        let mut inner = BTreeSet::new();
        for_each_definition(body, &mut |d| {
            inner.insert(d);
        });
        let (mut roots, mut open, mut seen) = (BTreeSet::new(), vec![load.load], BTreeSet::new());
        while let Some(v) = open.pop() {
            if !seen.insert(v) {
                continue;
            }
            if inner.contains(&v) || matches!(self.src.ty(v), ir::Type::View(_)) {
                open.extend(self.defs.get(&v).map(ir::Op::operands).unwrap_or_default());
            } else {
                roots.insert(v);
            }
        }
        roots
    }

    /// Whether the two programs' copies of a load are of the same tile; none when they always are.
    pub(super) fn is_shared(
        &mut self,
        load: &TensorLoad,
        body: &Block,
        both: &BTreeMap<Value, [Var; 2]>,
    ) -> Option<Var> {
        let mut shared = None;
        for [a, b] in
            self.roots(load, body).into_iter().filter_map(|v| both.get(&v).copied()).filter(|[a, b]| a != b)
        {
            let same = self.scalar(DType::Bool, Op::Binary(BinaryOp::Eq, Operand::of(a), Operand::of(b)));
            shared = Some(match shared {
                None => same,
                Some(s) => {
                    self.scalar(DType::Bool, Op::Binary(BinaryOp::And, Operand::of(s), Operand::of(same)))
                }
            });
        }
        shared
    }

    /// Copies of a tile at `coords`, whose rows run along `row_axis` of the parameter: shared, or the block's own.
    pub(super) fn pair_copies(
        &mut self,
        ring: &TensorRing,
        tile: usize,
        coords: &[Var],
        row_axis: usize,
        shared: Option<Var>,
    ) {
        let pair = self.pair.expect("a cluster should have its programs");
        let (slot, _) = ring.producer.expect("the producer should have its place");
        let (buffer, map, barrier) = (ring.buffers[tile], ring.maps[tile], ring.full);
        let b = self.out.buffers[buffer.index()].clone();
        let share = b.rows / PAIR;
        let last = coords.len() - 1;
        let copy = |cx: &mut Self, panel: u32, row: Option<Var>, fills: Filled| {
            let mut at = coords.to_vec();
            at[last] = cx.shifted(at[last], (panel * b.columns) as i32);
            if let Some(row) = row {
                at[row_axis] = cx.i32_op(BinaryOp::Add, at[row_axis], row);
            }
            cx.emit(StmtKind::TmaLoad { map, coords: at, buffer, slot: Some(slot), panel, fills, barrier });
        };
        let to_both = |cx: &mut Self| {
            let rows = cx.const_i32(share as i32);
            let row = cx.i32_op(BinaryOp::Mul, pair.rank, rows);
            (0..b.panels).for_each(|panel| copy(cx, panel, Some(row), Filled::Cluster));
        };
        let Some(shared) = shared else { return to_both(self) };
        let then_block = self.nested(to_both);
        let else_block = self.nested(|cx| {
            for panel in 0..b.panels {
                for i in 0..PAIR {
                    let row = (i > 0).then(|| cx.const_i32((i * share) as i32));
                    copy(cx, panel, row, Filled::Own { row: i * share });
                }
            }
        });
        self.emit(StmtKind::If { cond: shared, then_block, else_block });
    }

    /// The consumers' body: a block without a program of its own goes along to the last products and no further.
    pub(super) fn consumer_body(&mut self, body: &Block) {
        let Some(pair) = self.pair else { return self.block(body) };
        let program = self.own_of(pair, pair.programs);
        self.program_ids = Some(self.ids_of(program, pair.grid));
        let last =
            body.stmts.iter().rposition(|s| is_tensor_loop(&s.kind, &self.plan.dots)).unwrap_or_default();
        let (with, without) = body.stmts.split_at(last + 1);
        self.statements(with);
        let place = self.i32_op(BinaryOp::Add, pair.programs[0], pair.rank);
        let [place, total] = [place, pair.grid.total].map(Operand::of);
        let is_live = self.scalar(DType::Bool, Op::Binary(BinaryOp::Lt, place, total));
        let then_block = self.nested(|cx| cx.statements(without));
        self.emit(StmtKind::If { cond: is_live, then_block, else_block: Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use crate::gpu::{ArgFacts, GpuFunc, lower};
    use crate::ir::{ViewFacts, parse};
    use crate::schedule::Schedule;
    use crate::target::Arch;

    /// A product of which the loop begins at `%lo` or ends at `%hi`, with `early` in front of it.
    fn product(first: &str, early: &str, cluster: i64) -> Result<GpuFunc, String> {
        let text = format!(
            "kernel @product(%x.0: view<f16, 2>, %w.1: view<f16, 2>, %y.2: view_mut<f16, 2>) {{
               %3: i32 = program_id 0
               %4: i32 = const 64
               %5: i32 = mul %3, %4
               %6: i32 = const 0
               %7: i32 = dim %x.0 axis 1
               %8: f16 = const 0.0
               %9: f32 = const 0.0
               %10: f32<64x64> = splat %9
               {early}
               %11: f32<64x64> = for {first} to %7 step %4 with (%10) do (%12: i32, %13: f32<64x64>) {{
                 %14: f16<64x64> = load %x.0[%5, %12] pad %8
                 %15: f16<64x64> = load %w.1[%6, %12] pad %8
                 %16: f16<64x64> = permute %15 [1, 0]
                 %17: f32<64x64> = dot %14, %16, %13
                 yield %17
               }}
               %18: f16<64x64> = cast %11
               store %y.2[%5, %6] = %18
             }}"
        );
        let func = parse(&text).expect("the text should parse");
        crate::ir::verify(&func).expect("the function should be legal");
        let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible: 16 }, is_small: true };
        let schedule = Schedule::default().with("cluster", cluster).with("stages", 2);
        lower(&func, &schedule, Arch::Sm90a, &[facts; 3]).map_err(|e| e.to_string())
    }

    #[test]
    fn blocks_that_cannot_go_together_are_refused() {
        assert_eq!(product("%6", "", 2).expect("the blocks go together").cluster, 2);
        for (first, early, cluster, expected) in [
            ("%5", "", 2, "its bounds follow from the program's index"),
            ("%6", "store %y.2[%6, %6] = %8", 2, "this is done before the last products"),
            ("%6", "", 4, "clusters of 4 blocks are not possible for kernel `product`"),
        ] {
            let error = product(first, early, cluster).expect_err("the schedule should be refused");
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(product("%5", "", 1).expect("a block alone goes anywhere").cluster, 1);
    }

    #[test]
    fn what_no_program_changes_is_always_shared() {
        let text = crate::gpu::print(&product("%6", "", 2).expect("the blocks go together"));
        let copies: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|l| l.starts_with("tma_load") || l.starts_with("if"))
            .collect();
        let shared = copies.iter().filter(|l| l.contains("to cluster")).count();
        assert_eq!(shared, 2, "{text}");
        let last = copies.last().expect("there should be copies");
        assert!(last.starts_with("tma_load") && last.contains("to cluster"), "{text}");
    }
}
