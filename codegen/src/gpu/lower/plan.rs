//! What is decided before a statement is emitted: how each product is computed and in which layout each tile is held.
//!
//! Layouts spread from anchors: products want the layout of their instruction, loads that of coalesced access. An elementwise
//! operation takes the layout of its most demanding operand; a reduction leaves a slice; a carried value takes the more
//! demanding of what enters and what comes back. That is repeated until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use super::dots::{DotPlan, Way, plan_dots};
use super::uses::{Uses, is_elementwise, uses_and_deferred};
use crate::analysis::affine::{AffineFacts, ViewForm};
use crate::diag::Diagnostics;
use crate::gpu::blocked::blocked;
use crate::ir::walk::for_each_stmt;
use crate::ir::{Block, Func, Op, StmtKind, Type, Value};
use crate::layout::Layout;

/// How hard it is to give a layout up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Demand {
    /// Any would do.
    Default,
    /// Coalesced access.
    Memory,
    /// A product's result or a slice of it.
    Product,
    /// A product whose threads hold addends.
    Partial,
}

/// Where a value is held.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Home {
    /// The layout.
    pub(crate) layout: Layout,
    /// Why.
    pub(crate) demand: Demand,
}

/// Decisions about one function.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) uses: Uses,
    /// Values computed where they are read.
    pub(crate) deferred: BTreeSet<Value>,
    /// Homes of all other tiles.
    pub(crate) homes: BTreeMap<Value, Home>,
    /// How each product is computed, by its result.
    pub(crate) dots: BTreeMap<Value, DotPlan>,
    /// Loads that a product reads in its own way; nothing else reads them.
    pub(crate) consumed: BTreeSet<Value>,
    pub(crate) n_warps: u32,
}

impl Plan {
    /// The layout in which a product of few rows wants `v` as its left operand, if one does.
    fn left_of_rows(&self, v: Value) -> Option<Layout> {
        self.dots.values().find_map(|d| match d {
            DotPlan::Rows { a, a_layout, .. } if *a == v => Some(a_layout.clone()),
            DotPlan::Rows { .. } | DotPlan::Mma { .. } | DotPlan::Shared { .. } | DotPlan::Wgmma { .. } => {
                None
            }
        })
    }
}

/// Decides for `func`.
pub(crate) fn plan(func: &Func, facts: &AffineFacts, n_warps: u32, way: Way) -> Result<Plan, Diagnostics> {
    let defs = definitions(func);
    let (uses, _) = uses_and_deferred(func, &BTreeSet::new());
    let (dots, consumed) = plan_dots(func, &defs, facts, &uses, n_warps, way)?;
    let fixed: BTreeSet<Value> =
        consumed.iter().copied().chain(dots.values().flat_map(DotPlan::register_operands)).collect();
    let (uses, deferred) = uses_and_deferred(func, &fixed);
    let mut plan = Plan { uses, deferred, homes: BTreeMap::new(), dots, consumed, n_warps };
    let anchors = |plan: &mut Plan, fill: bool| {
        for _ in 0..16 {
            let before = plan.homes.clone();
            let mut homes = Homes { func, facts, defs: &defs, plan, fill };
            homes.block(&func.body);
            if plan.homes == before {
                break;
            }
        }
    };
    anchors(&mut plan, false);
    anchors(&mut plan, true);
    Ok(plan)
}

/// The operation that defines each value, where one does.
pub(crate) fn definitions(func: &Func) -> BTreeMap<Value, Op> {
    let mut defs = BTreeMap::new();
    for_each_stmt(&func.body, &mut |stmt| {
        if let StmtKind::Let { value, op } = &stmt.kind {
            defs.insert(*value, op.clone());
        }
    });
    defs
}

struct Homes<'a> {
    func: &'a Func,
    facts: &'a AffineFacts,
    defs: &'a BTreeMap<Value, Op>,
    plan: &'a mut Plan,
    /// Whether values that nothing demands a layout of get one.
    fill: bool,
}

impl Homes<'_> {
    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::Let { value, op } => self.define(*value, op),
                StmtKind::For { inits, body, results, .. } => {
                    self.carried(inits, &body.params[1..], &body.yields, results);
                    self.block(body);
                    self.carried(inits, &body.params[1..], &body.yields, results);
                }
                StmtKind::While { inits, cond, body, results } => {
                    self.carried(inits, &body.params, &body.yields, results);
                    self.carried(inits, &cond.params, &body.yields, results);
                    self.block(cond);
                    self.block(body);
                    self.carried(inits, &body.params, &body.yields, results);
                    self.carried(inits, &cond.params, &body.yields, results);
                    // One variable serves both regions.
                    for (&a, &b) in cond.params.iter().zip(&body.params) {
                        self.merge(&[a, b], &[a, b]);
                    }
                }
                StmtKind::If { then_block, else_block, results, .. } => {
                    self.block(then_block);
                    self.block(else_block);
                    for (i, &r) in results.iter().enumerate() {
                        self.merge(&[then_block.yields[i], else_block.yields[i]], &[r]);
                    }
                }
                StmtKind::Store { .. }
                | StmtKind::Scatter { .. }
                | StmtKind::Print { .. }
                | StmtKind::Assert { .. } => {}
            }
        }
    }

    fn carried(&mut self, inits: &[Value], params: &[Value], yields: &[Value], results: &[Value]) {
        for i in 0..inits.len() {
            self.merge(&[inits[i], yields[i], params[i]], &[params[i], results[i]]);
        }
    }

    /// Gives `to` the most demanding home among `from`.
    fn merge(&mut self, from: &[Value], to: &[Value]) {
        let rank = |v: Value| self.func.ty(v).tile().map_or(0, |t| t.shape.rank());
        if to.iter().all(|&v| rank(v) == 0) {
            return;
        }
        let mut best: Option<Home> = None;
        for v in from {
            if let Some(h) = self.plan.homes.get(v)
                && best.as_ref().is_none_or(|b| h.demand > b.demand)
            {
                best = Some(h.clone());
            }
        }
        if best.is_none() && self.fill {
            best = Some(self.default_home(to[0]));
        }
        if let Some(best) = best {
            for v in to {
                // What leaves a loop as addends is summed there.
                self.plan.homes.insert(*v, best.clone());
            }
        }
    }

    fn define(&mut self, v: Value, op: &Op) {
        let Type::Tile(ty) = self.func.ty(v) else { return };
        if ty.shape.rank() == 0 || self.plan.deferred.contains(&v) || self.plan.consumed.contains(&v) {
            return;
        }
        if let Some(dot) = self.plan.dots.get(&v) {
            let (layout, demand) = dot.home();
            self.plan.homes.insert(v, Home { layout, demand });
            return;
        }
        if let Some(layout) = self.plan.left_of_rows(v) {
            self.plan.homes.insert(v, Home { layout, demand: Demand::Product });
            return;
        }
        let home = if let Op::Load { view, offsets, .. } = op {
            if self.plan.homes.contains_key(&v) {
                return;
            }
            let (axis, vector) = access_vector(self.func, self.facts, *view, offsets, &ty.shape.to_vec());
            Some(Home {
                layout: blocked(&ty.shape.to_vec(), self.plan.n_warps, axis, vector),
                demand: Demand::Memory,
            })
        } else if let Op::Reduce(_, a, axis) | Op::ArgReduce(_, a, axis) = op {
            let from = self.natural(*a);
            from.map(|h| Home {
                layout: super::derive::without_axis(&h.layout, usize::from(*axis)),
                demand: h.demand,
            })
        } else if let Op::Gather { indices, mask, .. } = op {
            self.best(indices.iter().chain(mask))
        } else if is_elementwise(op) {
            self.best(op.operands().iter())
        } else {
            None
        };
        if let Some(home) = home.or_else(|| self.fill.then(|| self.default_home(v))) {
            self.plan.homes.insert(v, home);
        }
    }

    fn best<'v>(&self, operands: impl Iterator<Item = &'v Value>) -> Option<Home> {
        let mut best: Option<Home> = None;
        for v in operands {
            if let Some(h) = self.held(*v)
                && best.as_ref().is_none_or(|b| h.demand > b.demand)
            {
                best = Some(h);
            }
        }
        best
    }

    /// Where a value is held, a transposed one where that is which it is of.
    fn held(&self, v: Value) -> Option<Home> {
        if let Some(home) = self.plan.homes.get(&v) {
            return Some(home.clone());
        }
        let Some(Op::Permute(x, perm)) = self.defs.get(&v) else { return None };
        let home = self.plan.homes.get(x)?;
        let layout = super::derive::with_axes(&home.layout, perm);
        Some(Home { layout, demand: home.demand })
    }

    /// The home of a value, or the default once everything has one.
    fn natural(&self, v: Value) -> Option<Home> {
        self.plan.homes.get(&v).cloned().or_else(|| self.fill.then(|| self.default_home(v)))
    }

    fn default_home(&self, v: Value) -> Home {
        let shape = self.func.tile_ty(v).shape.to_vec();
        Home { layout: default_layout(&shape, self.plan.n_warps), demand: Demand::Default }
    }
}

/// The layout of a tile that nothing demands anything of.
pub(crate) fn default_layout(shape: &[usize], n_warps: u32) -> Layout {
    blocked(shape, n_warps, shape.len() - 1, 1)
}

/// The axis of a tile along which neighbours are neighbours in memory, and how many of them one access may move: a power of two
/// up to 16 bytes that divides the extent and the alignment of the tile's first element.
pub(crate) fn access_vector(
    func: &Func,
    facts: &AffineFacts,
    view: Value,
    offsets: &[Value],
    shape: &[usize],
) -> (usize, u32) {
    let last = shape.len() - 1;
    let contiguous = |form: &ViewForm| form.axes.iter().position(|a| a.param_axis + 1 == form.param_rank);
    let Some(axis) = facts.view(view).filter(|f| f.facts.contiguous).and_then(contiguous) else {
        return (last, 1);
    };
    let bytes = func.view_ty(view).dtype.size_bytes() as u32;
    let alignment = facts.vector_along(view, offsets, axis);
    let extent = shape[axis] as u32;
    let vector = (16 / bytes).min(alignment).min(1 << extent.trailing_zeros().min(4)).max(1);
    (axis, vector)
}
