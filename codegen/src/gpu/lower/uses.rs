//! Who reads a value, and which values are computed where they are read.
//!
//! A *deferred* value has no registers of its own: each reader computes it in the layout that it needs. Coordinates, splats and
//! everything that only renames or repeats elements are deferred, and so is a load or a cheap operation all of whose readers
//! are deferred: the weights of a norm are read straight into the layout of the rows that they scale.

use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{Block, Func, Op, StmtKind, Type, Value};

/// Where a statement stands: its block and its place in it.
type At = (usize, usize);

/// The readers of every value.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    readers: BTreeMap<Value, Vec<At>>,
    /// Block of each value's definition.
    made_in: BTreeMap<Value, usize>,
}

impl Uses {
    /// Number of readers.
    pub(crate) fn count(&self, v: Value) -> usize {
        self.readers.get(&v).map_or(0, Vec::len)
    }

    /// Whether a block inside that of its definition reads the value.
    pub(crate) fn is_read_deeper(&self, v: Value) -> bool {
        let here = self.made_in.get(&v);
        self.readers.get(&v).is_some_and(|all| all.iter().any(|(b, _)| Some(b) != here))
    }
}

/// The uses of `func` and its deferred values.
pub(crate) fn uses_and_deferred(func: &Func, fixed: &BTreeSet<Value>) -> (Uses, BTreeSet<Value>) {
    let mut uses = Uses::default();
    let mut blocks = Vec::new();
    collect(&func.body, &mut blocks, &mut uses);
    let mut deferred = BTreeSet::new();
    // Forward: what depends on coordinates and scalars alone.
    for block in &blocks {
        for stmt in &block.stmts {
            if let StmtKind::Let { value, op } = &stmt.kind
                && is_tile(func, *value)
                && (is_structural(op)
                    || (!fixed.contains(value) && is_computed_anywhere(func, op, &deferred)))
            {
                deferred.insert(*value);
            }
        }
    }
    let mut defs = BTreeMap::new();
    for block in &blocks {
        for stmt in &block.stmts {
            if let StmtKind::Let { value, op } = &stmt.kind {
                defs.insert(*value, op);
            }
        }
    }
    // Backward: loads and elementwise operations read by deferred values only.
    for (b, block) in blocks.iter().enumerate() {
        let mut effects_before = vec![0usize; block.stmts.len() + 1];
        for (i, stmt) in block.stmts.iter().enumerate() {
            effects_before[i + 1] = effects_before[i] + usize::from(stmt.kind.has_effect());
        }
        let mut last_read: BTreeMap<Value, Option<usize>> = BTreeMap::new();
        for (i, stmt) in block.stmts.iter().enumerate().rev() {
            let StmtKind::Let { value, op } = &stmt.kind else { continue };
            if !is_tile(func, *value) {
                continue;
            }
            let last = last_reader(func, block, b, *value, &uses, &last_read);
            last_read.insert(*value, last);
            if deferred.contains(value) || fixed.contains(value) || uses.count(*value) != 1 {
                continue;
            }
            let reader_is_deferred = uses.readers[value].iter().all(|&(rb, ri)| {
                rb == b
                    && blocks[rb].stmts.get(ri).is_some_and(
                        |s| matches!(&s.kind, StmtKind::Let { value, .. } if deferred.contains(value)),
                    )
            });
            let may_move = last.is_some_and(|last| effects_before[i] == effects_before[last]);
            let is_cheap = is_light(func, &defs, op, 16);
            if reader_is_deferred && may_move && is_cheap {
                deferred.insert(*value);
            }
        }
    }
    (uses, deferred)
}

/// The last statement of `block` that computes with `v`, through deferred values; `None` when it is read elsewhere.
fn last_reader(
    func: &Func,
    block: &Block,
    b: usize,
    v: Value,
    uses: &Uses,
    last_read: &BTreeMap<Value, Option<usize>>,
) -> Option<usize> {
    let mut last = 0;
    for &(rb, ri) in uses.readers.get(&v).map_or(&[][..], Vec::as_slice) {
        if rb != b {
            return None;
        }
        let stmt = block.stmts.get(ri)?;
        let at = match &stmt.kind {
            StmtKind::Let { value, op }
                if is_tile(func, *value) && (is_structural(op) || is_elementwise(op)) =>
            {
                last_read.get(value).copied().flatten()?.max(ri)
            }
            StmtKind::Let { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. } => ri,
            StmtKind::Assert { .. } => ri,
            StmtKind::For { .. } | StmtKind::While { .. } | StmtKind::If { .. } => return None,
        };
        last = last.max(at);
    }
    Some(last)
}

fn collect<'f>(block: &'f Block, blocks: &mut Vec<&'f Block>, uses: &mut Uses) {
    let b = blocks.len();
    blocks.push(block);
    for (i, stmt) in block.stmts.iter().enumerate() {
        for v in stmt.kind.results() {
            uses.made_in.insert(v, b);
        }
        for v in stmt.kind.operands() {
            uses.readers.entry(v).or_default().push((b, i));
        }
        for region in stmt.kind.regions() {
            collect(region, blocks, uses);
        }
    }
    for &v in &block.yields {
        // Yielded: read by a place that is no statement.
        uses.readers.entry(v).or_default().push((b, usize::MAX));
    }
}

fn is_tile(func: &Func, v: Value) -> bool {
    matches!(func.ty(v), Type::Tile(t) if t.shape.rank() > 0)
}

/// Whether the operation only renames or repeats elements.
pub(crate) const fn is_structural(op: &Op) -> bool {
    matches!(
        op,
        Op::Splat(..)
            | Op::Broadcast(..)
            | Op::ExpandDims(..)
            | Op::Squeeze(..)
            | Op::Reshape(..)
            | Op::Permute(..)
            | Op::Arange { .. }
    )
}

/// Whether the operation works element by element.
pub(crate) const fn is_elementwise(op: &Op) -> bool {
    matches!(op, Op::Unary(..) | Op::Binary(..) | Op::Fma(..) | Op::Select(..) | Op::Cast(..))
}

/// Whether an elementwise operation reads only what every thread can compute: index arithmetic, masks, constants.
fn is_computed_anywhere(func: &Func, op: &Op, deferred: &BTreeSet<Value>) -> bool {
    let is_free = |v: Value| !is_tile(func, v) || (deferred.contains(&v) && is_index_like(func, v));
    is_elementwise(op) && op.operands().into_iter().all(is_free)
}

/// Whether an operation is a load, or works on loads alone: computing it again elsewhere moves no data between threads.
fn is_light(func: &Func, defs: &BTreeMap<Value, &Op>, op: &Op, fuel: usize) -> bool {
    if matches!(op, Op::Load { .. } | Op::Splat(..) | Op::Arange { .. }) {
        return true;
    }
    let of_light = |v: Value| {
        !is_tile(func, v) || (fuel > 0 && defs.get(&v).is_some_and(|op| is_light(func, defs, op, fuel - 1)))
    };
    (is_elementwise(op) || is_structural(op)) && op.operands().into_iter().all(of_light)
}

/// Structural values over tiles that hold data are deferred too, but computing on them is work: only those of integers and
/// truth values count as index arithmetic.
fn is_index_like(func: &Func, v: Value) -> bool {
    let dtype = func.tile_ty(v).dtype;
    dtype.is_int() || matches!(dtype, crate::ir::DType::Bool)
}
