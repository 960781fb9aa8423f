//! How each product is computed: by matrix instructions, row by row in registers, or by fused multiply-adds over shared tiles.
//!
//! | way | when | operands |
//! |---|---|---|
//! | `Mma` | 16-bit floats, or bytes that lie along K; K and N multiples of the instruction | shared tiles through `ldmatrix`, or A in registers |
//! | `Rows` | few rows of A, B read from memory once | B in registers as it was loaded, A in the matching layout |
//! | `Shared` | everything else | shared tiles |
//!
//! A program of one warp whose first product feeds a second one takes `Mma` for few rows too: the instruction's 16 rows are filled in
//! part, which costs less than a multiply-add of every row by every element would, and scores stay in the warp that made them.
//!
//! A product of few rows leaves its addends in the threads that made them; where a loop only accumulates them, they are summed
//! once after the loop.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Demand, access_vector};
use super::uses::Uses;
use crate::analysis::affine::AffineFacts;
use crate::diag::{Diagnostic, Diagnostics};
use crate::gpu::blocked::blocked;
use crate::gpu::ops::MatrixShape;
use crate::ir::walk::for_each_definition;
use crate::ir::{BinaryOp, Block, DType, Func, Op, StmtKind, Value};
use crate::layout::{Bases, Layout, MmaOperand, WarpGrid};

/// Rows of A up to which a product streams B through registers.
const MOST_STREAMED_ROWS: usize = 8;
/// The same where no matrix instruction would do.
const MOST_STREAMED_ROWS_WITHOUT_MMA: usize = 16;

/// Where an operand of a product comes from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Source {
    /// A load of the same loop body that only products read: it is copied ahead of time into a ring.
    Staged(StagedLoad),
    /// A load of the same loop body that a producer brings by tensor copies.
    Tensor(TensorLoad),
    /// Any tile, written to shared memory by the threads that hold it.
    Stored {
        /// The tile as it is held.
        value: Value,
        /// Whether rows of the tile run along K.
        k_rows: bool,
    },
    /// A tile in the fragment layout of the left operand.
    Registers {
        /// The tile.
        value: Value,
        /// The fragment layout.
        layout: Layout,
    },
}

impl Source {
    /// Whether the operand lies in shared memory with K along its rows. Only such bytes reach the matrix unit: nothing on the way
    /// transposes 8-bit elements.
    const fn has_rows_of_k(&self) -> bool {
        match self {
            Self::Staged(StagedLoad { k_rows, .. })
            | Self::Tensor(TensorLoad { k_rows, .. })
            | Self::Stored { k_rows, .. } => !*k_rows,
            Self::Registers { .. } => false,
        }
    }
}

/// A load that is copied to shared memory without passing through registers.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StagedLoad {
    /// The load's value.
    pub(crate) load: Value,
    /// Axis of the tile, and of the view, along the buffer's columns.
    pub(crate) column_axis: usize,
    /// Bytes of one copy.
    pub(crate) bytes: u32,
    /// Whether the buffer's rows run along K.
    pub(crate) k_rows: bool,
}

/// A load that tensor copies bring in panels of one swizzle span.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TensorLoad {
    /// The load's value.
    pub(crate) load: Value,
    /// Axis of the tile, and of the view, along the buffer's columns.
    pub(crate) column_axis: usize,
    /// Whether the buffer's rows run along K.
    pub(crate) k_rows: bool,
}

/// How one product is computed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum DotPlan {
    /// Warpgroup instructions on what a producer brings.
    Wgmma { layout: Layout, n_groups: u32, a: Source, b: Source },
    /// Matrix instructions.
    Mma { layout: Layout, shape: MatrixShape, grid: WarpGrid, a: Source, b: Source },
    /// B in registers.
    Rows {
        layout: Layout,
        /// The left operand.
        a: Value,
        /// B's load, its layout, and its axes of K and N.
        load: Value,
        load_layout: Layout,
        k_axis: usize,
        /// Layout of A.
        a_layout: Layout,
        /// Whether the addends are summed after the loop.
        is_deferred: bool,
        /// The product of the carried accumulator that scales the addends, if there is one.
        scaled: Option<Value>,
    },
    /// Fused multiply-adds over shared tiles.
    Shared { layout: Layout, a: Source, b: Source },
}

impl DotPlan {
    /// Layout and demand of the result.
    pub(crate) fn home(&self) -> (Layout, Demand) {
        match self {
            Self::Mma { layout, .. } | Self::Shared { layout, .. } | Self::Wgmma { layout, .. } => {
                (layout.clone(), Demand::Product)
            }
            Self::Rows { layout, is_deferred: true, .. } => (layout.clone(), Demand::Partial),
            Self::Rows { layout, .. } => (layout.clone(), Demand::Product),
        }
    }

    /// Values that must have registers of their own.
    pub(crate) fn register_operands(&self) -> Vec<Value> {
        match self {
            Self::Mma { a, b, .. } | Self::Shared { a, b, .. } | Self::Wgmma { a, b, .. } => [a, b]
                .into_iter()
                .filter_map(|s| match s {
                    Source::Stored { value, .. } | Source::Registers { value, .. } => Some(*value),
                    Source::Staged(_) | Source::Tensor(_) => None,
                })
                .collect(),
            Self::Rows { a, load, .. } => vec![*a, *load],
        }
    }

    /// The ways its operands come.
    pub(crate) fn sources(&self) -> Vec<&Source> {
        match self {
            Self::Mma { a, b, .. } | Self::Shared { a, b, .. } | Self::Wgmma { a, b, .. } => vec![a, b],
            Self::Rows { .. } => Vec::new(),
        }
    }
}

/// A loop that a product stands in.
struct Loop<'f> {
    body: &'f Block,
    inits: &'f [Value],
}

struct Planner<'a> {
    func: &'a Func,
    defs: &'a BTreeMap<Value, Op>,
    facts: &'a AffineFacts,
    uses: &'a Uses,
    n_warps: u32,
    /// Whether a product feeds another one: then each warp keeps whole rows.
    keeps_rows: bool,
    way: Way,
    dots: BTreeMap<Value, DotPlan>,
    errors: Vec<Diagnostic>,
}

/// Which instructions products may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Those of one warp.
    Warp,
    /// Those of a warpgroup, fed by a producer; a product that cannot is an error.
    Warpgroup,
}

/// Plans every product of `func`; also returns the loads that are staged.
pub(crate) fn plan_dots(
    func: &Func,
    defs: &BTreeMap<Value, Op>,
    facts: &AffineFacts,
    uses: &Uses,
    n_warps: u32,
    way: Way,
) -> Result<(BTreeMap<Value, DotPlan>, BTreeSet<Value>), Diagnostics> {
    let keeps_rows = defs.values().any(|op| matches!(op, Op::Dot { a, .. } if depends_on_dot(defs, *a, 64)));
    let mut planner = Planner {
        func,
        defs,
        facts,
        uses,
        n_warps,
        keeps_rows,
        way,
        dots: BTreeMap::new(),
        errors: Vec::new(),
    };
    planner.block(&func.body, None);
    if !planner.errors.is_empty() {
        return Err(Diagnostics(planner.errors));
    }
    let staged = |s: &Source| match s {
        Source::Staged(s) => Some(s.load),
        Source::Tensor(s) => Some(s.load),
        Source::Stored { .. } | Source::Registers { .. } => None,
    };
    let consumed = planner.dots.values().flat_map(|d| d.sources().into_iter().filter_map(staged)).collect();
    Ok((planner.dots, consumed))
}

fn depends_on_dot(defs: &BTreeMap<Value, Op>, v: Value, fuel: usize) -> bool {
    fuel > 0
        && defs.get(&v).is_some_and(|op| {
            matches!(op, Op::Dot { .. }) || op.operands().iter().any(|&o| depends_on_dot(defs, o, fuel - 1))
        })
}

impl Planner<'_> {
    fn block<'f>(&mut self, block: &'f Block, within: Option<&Loop<'f>>) {
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::Let { value, op: Op::Dot { a, b, acc } } => {
                    let plan = self.dot(*value, [*a, *b, *acc], within);
                    self.dots.insert(*value, plan);
                }
                StmtKind::For { inits, body, .. } => self.block(body, Some(&Loop { body, inits })),
                StmtKind::Let { .. }
                | StmtKind::Store { .. }
                | StmtKind::Scatter { .. }
                | StmtKind::Print { .. }
                | StmtKind::Assert { .. }
                | StmtKind::While { .. }
                | StmtKind::If { .. } => {
                    stmt.kind.regions().into_iter().for_each(|region| self.block(region, None));
                }
            }
        }
    }

    fn dot(&mut self, v: Value, [a, b, acc]: [Value; 3], within: Option<&Loop<'_>>) -> DotPlan {
        if self.way == Way::Warpgroup {
            if let Some(plan) = within.and_then(|w| self.warpgroup(v, a, b, w)) {
                return plan;
            }
            let loc = self.func.values[v.index()].loc;
            self.errors.push(Diagnostic::new(loc, "this product does not fit warpgroup instructions"));
        }
        let (a_ty, b_ty) = (self.func.tile_ty(a), self.func.tile_ty(b));
        let shape = self.func.tile_ty(v).shape.to_vec();
        if let [m, n] = shape[..] {
            let k = a_ty.shape.dim(1);
            let mma = self.mma_shape(a_ty.dtype, b_ty.dtype, [m, n, k]);
            let most = if mma.is_some() { MOST_STREAMED_ROWS } else { MOST_STREAMED_ROWS_WITHOUT_MMA };
            let in_one_warp = self.keeps_rows && mma.is_some();
            if m <= most
                && !in_one_warp
                && let Some(rows) = self.rows(v, [a, b, acc], [m, n, k], within)
            {
                return rows;
            }
            if let Some((shape, grid)) = mma
                && let Ok(layout) =
                    Layout::mma(&[m.next_multiple_of(16) as u32, n as u32], MmaOperand::C, grid)
            {
                let left = self.mma_left(a, m, k, grid, within);
                let right = self.source(b, true, within);
                if shape == MatrixShape::M16N8K16 || [&left, &right].iter().all(|s| s.has_rows_of_k()) {
                    return DotPlan::Mma { layout, shape, grid, a: left, b: right };
                }
            }
        }
        let vector = 1 << shape[shape.len() - 1].trailing_zeros().min(2);
        let layout = blocked(&shape, self.n_warps, shape.len() - 1, vector);
        let (a, b) = if shape.len() == 2 {
            (self.source(a, false, within), self.source(b, true, within))
        } else {
            (Source::Stored { value: a, k_rows: false }, Source::Stored { value: b, k_rows: true })
        };
        DotPlan::Shared { layout, a, b }
    }

    /// The matrix instruction for these operands, and how the warps share the result.
    fn mma_shape(&self, a: DType, b: DType, [m, n, k]: [usize; 3]) -> Option<(MatrixShape, WarpGrid)> {
        let shape = match (a, b) {
            (DType::F16, DType::F16) | (DType::BF16, DType::BF16) => MatrixShape::M16N8K16,
            (DType::I8 | DType::U8, DType::I8 | DType::U8) => MatrixShape::M16N8K32,
            _ => return None,
        };
        let step = if shape == MatrixShape::M16N8K16 { 16 } else { 32 };
        if !k.is_multiple_of(step) || !n.is_multiple_of(8) {
            return None;
        }
        let m = m.next_multiple_of(16);
        let bits = self.n_warps.trailing_zeros();
        let m_room = (m / 16).trailing_zeros();
        let n_room = (n / 8).trailing_zeros();
        let fits = |m_bits: u32| m_bits <= m_room && bits - m_bits <= n_room;
        let cost = |m_bits: u32| (m >> m_bits) + (n >> (bits - m_bits));
        let m_bits = if self.keeps_rows {
            // Rows of one warp: row statistics and the second product's left operand stay in its registers.
            Some(bits).filter(|&b| fits(b))
        } else {
            (0..=bits).filter(|&b| fits(b)).min_by_key(|&b| cost(b))
        };
        m_bits.map(|m_bits| (shape, WarpGrid { m_bits, n_bits: bits - m_bits }))
    }

    /// The warpgroup instruction for a product of tiles that a producer can bring; A may be in registers.
    fn warpgroup(&self, v: Value, a: Value, b: Value, within: &Loop<'_>) -> Option<DotPlan> {
        let (a_ty, b_ty) = (self.func.tile_ty(a), self.func.tile_ty(b));
        let &[m, n] = self.func.tile_ty(v).shape.as_slice() else { return None };
        let k = a_ty.shape.dim(1);
        let is_16_bit = a_ty.dtype == b_ty.dtype
            && matches!(a_ty.dtype, DType::F16 | DType::BF16)
            && k.is_multiple_of(16);
        let n_groups = self.n_warps / 4;
        if !is_16_bit || n_groups == 0 || !m.is_multiple_of(64 * n_groups) || !n.is_multiple_of(8) {
            return None;
        }
        let grid = WarpGrid { m_bits: n_groups.trailing_zeros(), n_bits: 0 };
        let layout = Layout::wgmma_accumulator(&[m, n], grid).ok()?;
        let b = Source::Tensor(self.tensor(b, true, within)?);
        let a = match self.tensor(a, false, within) {
            Some(load) => Source::Tensor(load),
            // What stays the same throughout the loop is written to shared memory once and leaves registers to the results.
            None if !self.is_made_in(a, within.body) => Source::Stored { value: a, k_rows: false },
            None => Source::Registers { value: a, layout: Layout::wgmma_a(&[m, k as u32], 2, grid).ok()? },
        };
        Some(DotPlan::Wgmma { layout, n_groups, a, b })
    }

    fn is_made_in(&self, v: Value, body: &Block) -> bool {
        let mut found = false;
        for_each_definition(body, &mut |d| found |= d == v);
        found
    }

    /// Whether an operand is a load that tensor copies can bring: staged, from a parameter's memory without a cut along an axis,
    /// aligned to 16 bytes, at most 256 rows, its columns a multiple of a swizzle span.
    fn tensor(&self, v: Value, is_right: bool, within: &Loop<'_>) -> Option<TensorLoad> {
        let (value, transposed) = self.untransposed(v);
        let staged = self.staged(value, is_right != transposed, within)?;
        let Some(Op::Load { view, shape, .. }) = self.defs.get(&value) else { return None };
        let form = self.facts.view(*view)?;
        let bytes = self.func.view_ty(*view).dtype.size_bytes();
        let fits = shape.dim(1 - staged.column_axis) <= 256
            && (shape.dim(staged.column_axis) * bytes).is_multiple_of(32)
            && form.facts.contiguous
            && (form.facts.divisible as usize * bytes).is_multiple_of(16)
            && form.axes.iter().all(|a| !a.is_clipped);
        // Only what lies along the columns in one swizzle span per panel is laid out as the instruction wants it.
        fits.then_some(TensorLoad { load: value, column_axis: staged.column_axis, k_rows: staged.k_rows })
    }

    fn mma_left(&self, a: Value, m: usize, k: usize, grid: WarpGrid, within: Option<&Loop<'_>>) -> Source {
        let dtype = self.func.tile_ty(a).dtype;
        let operand = MmaOperand::A { element_bytes: dtype.size_bytes() as u32 };
        if depends_on_dot(self.defs, a, 64)
            && let Ok(layout) = Layout::mma(&[m.next_multiple_of(16) as u32, k as u32], operand, grid)
        {
            return Source::Registers { value: a, layout };
        }
        self.source(a, false, within)
    }

    /// Where an operand comes from: `is_right` tells B `[K, N]` from A `[M, K]`.
    fn source(&self, v: Value, is_right: bool, within: Option<&Loop<'_>>) -> Source {
        let (value, transposed) = self.untransposed(v);
        let k_rows = is_right != transposed;
        if let Some(within) = within
            && let Some(staged) = self.staged(value, k_rows, within)
        {
            return Source::Staged(staged);
        }
        Source::Stored { value, k_rows }
    }

    /// The tile behind a transposition, and whether there was one.
    fn untransposed(&self, v: Value) -> (Value, bool) {
        match self.defs.get(&v) {
            Some(Op::Permute(x, perm)) if perm[..] == [1, 0] => (*x, true),
            _ => (v, false),
        }
    }

    /// Whether `v` is a load of the loop's body that can be copied ahead of time: its place follows from the induction variable
    /// and what is known before the loop, only products of the body read it, and memory is contiguous along an axis.
    fn staged(&self, v: Value, k_rows: bool, within: &Loop<'_>) -> Option<StagedLoad> {
        let Some(Op::Load { view, offsets, shape, pad }) = self.defs.get(&v) else { return None };
        let defined_here =
            within.body.stmts.iter().any(|s| matches!(&s.kind, StmtKind::Let { value, .. } if *value == v));
        if !defined_here || shape.rank() != 2 || within.body.stmts.iter().any(|s| s.kind.has_effect()) {
            return None;
        }
        let is_zero = matches!(self.defs.get(pad), Some(Op::Const(c)) if c.bits == 0);
        let mut inner = BTreeSet::new();
        for_each_definition(within.body, &mut |d| {
            inner.insert(d);
        });
        let iv = within.body.params[0];
        let known = offsets.iter().chain([view]).all(|&o| self.follows_from(o, iv, &inner, 64));
        if !is_zero || !known || !self.only_dots_read(v, within.body) {
            return None;
        }
        let (axis, vector) = access_vector(self.func, self.facts, *view, offsets, &shape.to_vec());
        let bytes = vector * self.func.view_ty(*view).dtype.size_bytes() as u32;
        (bytes >= 4).then_some(StagedLoad {
            load: v,
            column_axis: axis,
            bytes,
            k_rows: k_rows != (axis == 0),
        })
    }

    /// Whether a scalar or view of a loop's body follows from its induction variable and values from before the loop.
    fn follows_from(&self, v: Value, iv: Value, inner: &BTreeSet<Value>, fuel: usize) -> bool {
        if v == iv || !inner.contains(&v) {
            return true;
        }
        let is_tile = self.func.ty(v).tile().is_some_and(|t| t.shape.rank() > 0);
        fuel > 0
            && !is_tile
            && self.defs.get(&v).is_some_and(|op| {
                !matches!(op, Op::Reduce(..) | Op::ArgReduce(..) | Op::Gather { .. })
                    && op.operands().iter().all(|&o| self.follows_from(o, iv, inner, fuel - 1))
            })
    }

    fn only_dots_read(&self, v: Value, body: &Block) -> bool {
        let reads = |op: &Op, x: Value| op.operands().iter().filter(|&&o| o == x).count();
        let (mut seen, mut ok) = (0, true);
        for stmt in &body.stmts {
            let StmtKind::Let { value, op } = &stmt.kind else { continue };
            let n = reads(op, v);
            seen += n;
            ok &= if let Op::Dot { acc, .. } = op {
                *acc != v
            } else if let Op::Permute(_, perm) = op
                && n > 0
            {
                perm[..] == [1, 0] && self.uses.count(*value) == self.dot_readers(*value, body)
            } else {
                n == 0
            };
        }
        ok && seen == self.uses.count(v)
    }

    fn dot_readers(&self, v: Value, body: &Block) -> usize {
        body.stmts
            .iter()
            .map(|s| {
                if let StmtKind::Let { op: Op::Dot { a, b, acc }, .. } = &s.kind
                    && *acc != v
                {
                    usize::from(*a == v) + usize::from(*b == v)
                } else {
                    0
                }
            })
            .sum()
    }

    /// A product of few rows over a right operand that comes from memory and is read by nobody else.
    fn rows(
        &self,
        v: Value,
        [a, b, acc]: [Value; 3],
        [m, n, k]: [usize; 3],
        within: Option<&Loop<'_>>,
    ) -> Option<DotPlan> {
        let (load, transposed) = self.untransposed(b);
        let Some(Op::Load { view, offsets, shape, .. }) = self.defs.get(&load) else { return None };
        if self.uses.count(load) != 1 || self.uses.count(b) != 1 {
            return None;
        }
        let k_axis = usize::from(transposed);
        let (axis, vector) = access_vector(self.func, self.facts, *view, offsets, &shape.to_vec());
        let load_layout = blocked(&shape.to_vec(), self.n_warps, axis, vector);
        let copies = load_layout.free_bits();
        if copies.lane != 0 || copies.warp != 0 {
            // A tile too small for the threads: what several of them hold would be added several times.
            return None;
        }
        let rows = m.next_power_of_two();
        let layout = with_rows(&load_layout, rows as u32, 1 - k_axis, n as u32);
        let a_layout = with_rows(&load_layout, rows as u32, k_axis, k as u32);
        let (is_deferred, scaled) = match within.and_then(|w| self.deferral(v, acc, w)) {
            Some(scaled) => (true, scaled),
            None => (false, None),
        };
        Some(DotPlan::Rows { layout, a, load, load_layout, k_axis, a_layout, is_deferred, scaled })
    }

    /// Whether the loop only adds to the accumulator from zero, or scales it by a row's factor first; the outer option is the
    /// answer, the inner one the scaled accumulator.
    #[expect(clippy::option_option, reason = "the two questions are answered together")]
    fn deferral(&self, v: Value, acc: Value, within: &Loop<'_>) -> Option<Option<Value>> {
        let i = within.body.yields.iter().position(|&y| y == v)?;
        let param = *within.body.params.get(i + 1)?;
        let starts_at_zero = matches!(
            self.defs.get(within.inits.get(i)?),
            Some(Op::Splat(s, _)) if matches!(self.defs.get(s), Some(Op::Const(c)) if c.bits == 0)
        );
        if !starts_at_zero || self.uses.count(v) != 1 || self.uses.count(param) != 1 {
            return None;
        }
        if acc == param {
            return Some(None);
        }
        let Some(Op::Binary(BinaryOp::Mul, x, y)) = self.defs.get(&acc) else { return None };
        let factor = if *x == param {
            *y
        } else if *y == param {
            *x
        } else {
            return None;
        };
        let is_repeated = matches!(self.defs.get(&factor), Some(Op::Broadcast(..) | Op::Splat(..)));
        (self.uses.count(acc) == 1 && is_repeated).then_some(Some(acc))
    }
}

/// The layout `[rows, extent]` in which each thread holds all rows of what `from` gives it along `axis`.
fn with_rows(from: &Layout, rows: u32, axis: usize, extent: u32) -> Layout {
    let covered = from.shape()[axis];
    debug_assert!(covered >= extent, "the layout should cover the operand");
    let pick = |v: &[u32; 4]| [0, v[axis], 0, 0];
    let b = from.bases();
    let mut register: Vec<[u32; 4]> = b.register.iter().map(pick).filter(|v| v[1] != 0).collect();
    register.extend((0..rows.trailing_zeros()).map(|bit| [1 << bit, 0, 0, 0]));
    let bases =
        Bases { register, lane: b.lane.iter().map(pick).collect(), warp: b.warp.iter().map(pick).collect() };
    Layout::new(&[rows, covered], &bases).expect("a layout of rows should be well formed")
}
