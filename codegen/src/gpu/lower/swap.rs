//! Products of few rows for warpgroups: the transposed product, whose few rows are the instruction's columns.
//!
//! A warpgroup instruction makes 64 rows and a multiple of 8 columns. Where a tile has fewer rows than the warpgroups make, but
//! columns enough, `y^T = b^T a^T` fits: weights are the 64 rows, and no row of the instruction is wasted.
//!
//! ```text
//!   y [16, 128] += x [16, 64] w [64, 128]      y^T [128, 16] += w^T [128, 64] x^T [64, 16]
//! ```
//!
//! The accumulator is carried transposed, and what reads the result reads it through a transposition, which only renames.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::definitions;
use super::uses::{Uses, uses_and_deferred};
use crate::diag::Loc;
use crate::ir::{Block, Func, Op, Shape, Stmt, StmtKind, TileType, Type, Value};

/// `func` with the products of its outermost loops transposed, if all of them have few rows and columns for `n_groups`
/// warpgroups, and only add to a carried tile.
pub(super) fn swap_operands(func: &Func, n_groups: u32) -> Option<Func> {
    let defs = definitions(func);
    let (uses, _) = uses_and_deferred(func, &BTreeSet::new());
    let mut swap = Swap { func: func.clone(), defs, uses, n_groups, n_swapped: 0 };
    let mut out = Vec::new();
    for stmt in func.body.stmts.clone() {
        swap.statement(stmt, &mut out)?;
    }
    swap.func.body.stmts = out;
    (swap.n_swapped > 0).then_some(swap.func)
}

struct Swap {
    func: Func,
    defs: BTreeMap<Value, Op>,
    uses: Uses,
    n_groups: u32,
    n_swapped: usize,
}

impl Swap {
    /// Takes a statement of the body over, a loop with its products transposed; `None` if one of them cannot be.
    fn statement(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) -> Option<()> {
        let loc = stmt.loc;
        let StmtKind::For { inits, body, results, .. } = &mut stmt.kind else {
            out.push(stmt);
            return Some(());
        };
        let mut after = Vec::new();
        for i in 0..inits.len() {
            let param = body.params[i + 1];
            let Some((at, [a, b])) = self.product_into(body, param, body.yields[i]) else { continue };
            let ty = self.func.tile_ty(body.yields[i]);
            let transposed = turned(ty);
            let carried = self.value_like(param, transposed);
            let product = self.value_like(body.yields[i], transposed);
            let (product_loc, mut made) = (body.stmts[at].loc, Vec::new());
            let left = self.transposed(b, product_loc, &mut made);
            let right = self.transposed(a, product_loc, &mut made);
            let dot = Op::Dot { a: left, b: right, acc: carried };
            made.push(Stmt { kind: StmtKind::Let { value: product, op: dot }, loc: product_loc });
            body.stmts.splice(at..=at, made);
            (body.params[i + 1], body.yields[i]) = (carried, product);
            inits[i] = self.initial(inits[i], transposed, loc, out);
            let result = self.value_like(results[i], transposed);
            let op = Op::Permute(result, vec![1, 0]);
            after.push(Stmt { kind: StmtKind::Let { value: results[i], op }, loc });
            results[i] = result;
            self.n_swapped += 1;
        }
        let has_others = body.stmts.iter().any(|s| match &s.kind {
            StmtKind::Let { value, op: Op::Dot { .. } } => !body.yields.contains(value),
            StmtKind::Let { .. } => false,
            StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. }
            | StmtKind::For { .. }
            | StmtKind::While { .. }
            | StmtKind::If { .. } => true,
        });
        if has_others {
            return None;
        }
        out.push(stmt);
        out.extend(after);
        Some(())
    }

    /// Where the product stands that is handed on from one iteration to the next and adds to `param`, and its operands.
    fn product_into(&self, body: &Block, param: Value, product: Value) -> Option<(usize, [Value; 2])> {
        let at = body
            .stmts
            .iter()
            .position(|s| matches!(&s.kind, StmtKind::Let { value, .. } if *value == product))?;
        let StmtKind::Let { op: Op::Dot { a, b, acc }, .. } = &body.stmts[at].kind else { return None };
        let ty = self.func.tile_ty(product);
        let &[m, n] = ty.shape.as_slice() else { return None };
        let rows = 64 * self.n_groups;
        let fits = m.is_multiple_of(8) && m < rows && n.is_multiple_of(rows);
        let is_sum = *acc == param && self.uses.count(param) == 1 && self.uses.count(product) == 1;
        (fits && is_sum).then_some((at, [*a, *b]))
    }

    /// What enters the loop, transposed.
    fn initial(&mut self, init: Value, ty: TileType, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let op = match self.defs.get(&init) {
            Some(Op::Splat(s, _)) => Op::Splat(*s, ty.shape),
            Some(_) | None => Op::Permute(init, vec![1, 0]),
        };
        let value = self.value_like(init, ty);
        self.defs.insert(value, op.clone());
        out.push(Stmt { kind: StmtKind::Let { value, op }, loc });
        value
    }

    /// The transposition of an operand: what it is a transposition of, or a new one.
    fn transposed(&mut self, v: Value, loc: Loc, made: &mut Vec<Stmt>) -> Value {
        if let Some(Op::Permute(x, perm)) = self.defs.get(&v)
            && perm[..] == [1, 0]
        {
            return *x;
        }
        let value = self.value_like(v, turned(self.func.tile_ty(v)));
        made.push(Stmt { kind: StmtKind::Let { value, op: Op::Permute(v, vec![1, 0]) }, loc });
        value
    }

    /// A new value with the place and the name of another.
    fn value_like(&mut self, v: Value, ty: TileType) -> Value {
        let (loc, name) = (self.func.values[v.index()].loc, self.func.values[v.index()].name.clone());
        let new = self.func.new_value(Type::Tile(ty), loc);
        self.func.values[new.index()].name = name;
        new
    }
}

/// The type of a matrix's transposition.
fn turned(ty: TileType) -> TileType {
    TileType { shape: Shape::new(&[ty.shape.dim(1), ty.shape.dim(0)]), ..ty }
}
