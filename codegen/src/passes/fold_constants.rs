//! Pass: computes what is known before the kernel runs, and picks the branch or trip count that follows.
//!
//! A value is *known* when every element has one constant value. Arithmetic follows the op table bit for bit: nothing is
//! reassociated for floats, and what targets may round differently is left alone. One walk in text order suffices, since a
//! definition comes before everything that reads it.

mod simplify;

use super::PassCx;
use super::replacements::Replacements;
use crate::diag::Loc;
use crate::ir::{Block, Const, DType, Func, Op, Stmt, StmtKind, TileType, Type, Value};

/// Folds constants, exact identities, constant branches, and loops of no or one trip.
pub fn fold_constants(func: &mut Func, _cx: &PassCx<'_>) {
    let mut body = std::mem::take(&mut func.body);
    let n = func.values.len();
    let mut folder =
        Folder { replacements: Replacements::new(func), func, known: vec![None; n], ops: vec![None; n] };
    folder.block(&mut body);
    func.body = body;
}

struct Folder<'a> {
    func: &'a mut Func,
    replacements: Replacements,
    /// The constant that every element of the value is.
    known: Vec<Option<Const>>,
    /// The operation that defines the value, operands resolved.
    ops: Vec<Option<Op>>,
}

/// What an operation turns out to be.
enum Outcome {
    /// Itself.
    Keep,
    /// Another value.
    Value(Value),
    /// One constant in every element.
    Known(Const),
    /// Another operation.
    Op(Op),
}

impl Folder<'_> {
    fn block(&mut self, block: &mut Block) {
        let mut out = Vec::with_capacity(block.stmts.len());
        for stmt in std::mem::take(&mut block.stmts) {
            self.stmt(stmt, &mut out);
        }
        block.stmts = out;
        self.replacements.resolve_yields(block);
    }

    fn known(&self, v: Value) -> Option<Const> {
        self.known.get(v.index()).copied().flatten()
    }

    fn known_bool(&self, v: Value) -> Option<bool> {
        self.known(v).map(|c| c.bits != 0)
    }

    fn op_of(&self, v: Value) -> Option<&Op> {
        self.ops.get(v.index()).and_then(Option::as_ref)
    }

    fn stmt(&mut self, mut stmt: Stmt, out: &mut Vec<Stmt>) {
        self.replacements.resolve_operands(&mut stmt.kind);
        let loc = stmt.loc;
        match &mut stmt.kind {
            StmtKind::Let { value, op } => {
                let (value, op) = (*value, op.clone());
                return self.define(value, op, loc, out);
            }
            StmtKind::Scatter { mask, .. } => match mask.and_then(|m| self.known_bool(m)) {
                Some(true) => *mask = None,
                Some(false) => return,
                None => {}
            },
            StmtKind::Assert { cond, .. } => {
                if self.known_bool(*cond) == Some(true) {
                    return;
                }
            }
            StmtKind::If { cond, then_block, else_block, results } => {
                if let Some(taken) = self.known_bool(*cond) {
                    let block = std::mem::take(if taken { then_block } else { else_block });
                    let results = std::mem::take(results);
                    return self.splice(block, &results, out);
                }
                self.block(then_block);
                self.block(else_block);
                for ((&a, &b), &result) in
                    then_block.yields.iter().zip(&else_block.yields).zip(results.iter())
                {
                    // A value that both branches yield is visible in both, so it comes from before them.
                    if a == b {
                        self.replace(result, a);
                    }
                }
            }
            StmtKind::For { lo, hi, step, inits, body, results } => {
                match self.trips(*lo, *hi, *step) {
                    Some(0) => {
                        for (&result, &init) in results.iter().zip(inits.iter()) {
                            self.replace(result, init);
                        }
                        return;
                    }
                    Some(1) => {
                        let entry: Vec<Value> = std::iter::once(*lo).chain(inits.iter().copied()).collect();
                        let body = std::mem::take(body);
                        for (&param, v) in body.params.iter().zip(entry) {
                            self.replace(param, v);
                        }
                        let results = std::mem::take(results);
                        return self.splice(body, &results, out);
                    }
                    Some(_) | None => {}
                }
                self.block(body);
            }
            StmtKind::While { inits, cond, body, results } => {
                self.block(cond);
                let never = cond.yields.first().is_some_and(|&c| self.known_bool(c) == Some(false));
                if never && !cond.stmts.iter().any(|s| s.kind.has_effect()) {
                    for (&result, &init) in results.iter().zip(inits.iter()) {
                        self.replace(result, init);
                    }
                    return;
                }
                self.block(body);
            }
            StmtKind::Store { .. } | StmtKind::Print { .. } => {}
        }
        out.push(stmt);
    }

    /// Number of trips of a loop: exact up to 1, and 2 for any more; `None` when it is not known.
    fn trips(&self, lo: Value, hi: Value, step: Value) -> Option<u8> {
        let lo_c = self.known(lo);
        let hi_c = self.known(hi);
        if lo == hi {
            return Some(0);
        }
        let (lo, hi) = (lo_c?.to_i64(), hi_c?.to_i64());
        if lo >= hi {
            return Some(0);
        }
        let step = self.known(step)?.to_i64();
        (step > 0).then_some(if lo + step >= hi { 1 } else { 2 })
    }

    /// Puts the statements of a region in the place of its statement.
    fn splice(&mut self, block: Block, results: &[Value], out: &mut Vec<Stmt>) {
        for stmt in block.stmts {
            self.stmt(stmt, out);
        }
        for (&result, &v) in results.iter().zip(&block.yields) {
            let v = self.replacements.resolve(v);
            self.replace(result, v);
        }
    }

    /// Reads `new` for `old` from now on, and keeps the author's name if only `old` has one; a constant serves many names.
    fn replace(&mut self, old: Value, new: Value) {
        self.replacements.replace(old, new);
        if self.known(new).is_some() {
            return;
        }
        let name = self.func.values[old.index()].name.clone();
        let slot = &mut self.func.values[new.index()].name;
        if slot.is_none() {
            *slot = name;
        }
    }

    fn define(&mut self, value: Value, mut op: Op, loc: Loc, out: &mut Vec<Stmt>) {
        let ty = self.func.ty(value);
        loop {
            match self.simplify(&op, ty, loc, out) {
                Outcome::Keep => break,
                Outcome::Value(v) => return self.replace(value, v),
                Outcome::Op(next) => op = next,
                Outcome::Known(c) => {
                    op = match ty.tile() {
                        Some(t) if t.shape.rank() > 0 => Op::Splat(self.scalar(c, loc, out), t.shape),
                        Some(_) | None => Op::Const(c),
                    };
                    break;
                }
            }
        }
        self.push(value, op, loc, out);
    }

    fn push(&mut self, value: Value, op: Op, loc: Loc, out: &mut Vec<Stmt>) {
        self.known.resize(self.func.values.len(), None);
        self.ops.resize(self.func.values.len(), None);
        self.known[value.index()] = if let Op::Splat(scalar, _) = op {
            self.known(scalar)
        } else if let Op::Const(c) = op {
            Some(c)
        } else {
            None
        };
        self.ops[value.index()] = Some(op.clone());
        out.push(Stmt { kind: StmtKind::Let { value, op }, loc });
    }

    /// A new scalar constant, defined right here.
    fn scalar(&mut self, c: Const, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let v = self.func.new_value(Type::Tile(TileType::scalar(c.dtype)), loc);
        self.push(v, Op::Const(c), loc, out);
        v
    }

    /// A new value of type `ty` with `c` in every element.
    fn uniform(&mut self, c: Const, ty: TileType, loc: Loc, out: &mut Vec<Stmt>) -> Value {
        let scalar = self.scalar(c, loc, out);
        if ty.shape.rank() == 0 {
            return scalar;
        }
        let v = self.func.new_value(Type::Tile(ty), loc);
        self.push(v, Op::Splat(scalar, ty.shape), loc, out);
        v
    }

    fn dtype(&self, v: Value) -> DType {
        self.func.tile_ty(v).dtype
    }
}
