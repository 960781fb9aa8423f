//! Rules of the statements: effects, and regions with their carried values.

use super::super::func::{Block, StmtKind, Value};
use super::super::ops::{Const, Op};
use super::super::types::{DType, TileType, Type};
use super::super::walk::for_each_stmt;
use super::rules::{Problem, check_access, count, result_type_problems};
use super::{Definition, Verifier};
use crate::diag::Diagnostic;

const I32: Type = Type::Tile(TileType::scalar(DType::I32));
const BOOL: Type = Type::Tile(TileType::scalar(DType::Bool));

impl Verifier<'_> {
    /// Checks one statement; `known` says that all its operands exist.
    pub(super) fn kind(&mut self, kind: &StmtKind, known: bool) {
        match kind {
            StmtKind::Let { value, op } => {
                if known {
                    self.operation(*value, op);
                }
                self.define(*value, Definition::Op);
            }
            StmtKind::Store { view, offsets, value } => {
                if known {
                    self.store(*view, offsets, *value);
                }
            }
            StmtKind::Scatter { view, indices, value, mask } => {
                if known {
                    self.scatter(*view, indices, *value, *mask);
                }
            }
            StmtKind::Print { label: _, values } => {
                if known && values.iter().any(|&v| self.func.ty(v).tile().is_none()) {
                    self.error("print takes tiles and scalars, not views");
                }
            }
            StmtKind::Assert { cond, message: _ } => {
                if known && self.func.ty(*cond).tile().is_none_or(|t| t.dtype != DType::Bool) {
                    self.error(format!("assert takes a bool tile or scalar, not {}", self.func.ty(*cond)));
                }
            }
            StmtKind::For { lo, hi, step, inits, body, results } => {
                if known {
                    for (what, v) in [("start", *lo), ("bound", *hi), ("step", *step)] {
                        self.expect_type(&format!("the {what} of the range"), v, I32);
                    }
                }
                self.step(*step);
                self.depth += 1;
                self.block(body);
                self.depth -= 1;
                match body.params.split_first() {
                    Some((&iv, carried)) => {
                        self.expect_type("the induction variable", iv, I32);
                        self.carried(inits, carried, &body.yields, results);
                    }
                    None => {
                        self.error("the body of `for` takes the induction variable as its first parameter")
                    }
                }
                self.results(results);
            }
            StmtKind::While { inits, cond, body, results } => {
                self.depth += 1;
                self.block(cond);
                self.block(body);
                self.depth -= 1;
                match cond.yields[..] {
                    [c] => self.expect_type("the condition of `while`", c, BOOL),
                    _ => self.error(format!(
                        "the condition of `while` yields one bool, not {} values",
                        cond.yields.len()
                    )),
                }
                self.carried(inits, &cond.params, &body.yields, results);
                self.same_types(inits, &body.params, "parameters for them in the body", "enters the body as");
                self.results(results);
            }
            StmtKind::If { cond, then_block, else_block, results } => {
                if known {
                    self.expect_type("the condition of `if`", *cond, BOOL);
                }
                for (name, block) in [("then", then_block), ("else", else_block)] {
                    self.block(block);
                    self.branch(name, block, results);
                }
                self.results(results);
            }
        }
    }

    fn operation(&mut self, value: Value, op: &Op) {
        match result_type_problems(self.func, op) {
            Ok(ty) => {
                if let Some(data) = self.func.values.get(value.index()).filter(|d| d.ty != ty) {
                    self.error(format!(
                        "{} yields {ty} here, but the value is declared as {}",
                        op.mnemonic(),
                        data.ty
                    ));
                }
            }
            Err(problems) => self.problems(problems),
        }
    }

    fn problems(&mut self, problems: Vec<Problem>) {
        for Problem { message, help } in problems {
            self.report(Diagnostic { loc: self.loc, message, help });
        }
    }

    fn store(&mut self, view: Value, offsets: &[Value], value: Value) {
        self.writes_to("store", view);
        self.problems(check_access(self.func, "store", view, offsets, "offset", true));
        let (Some(to), Some(tile)) = (self.func.ty(view).view(), self.func.ty(value).tile()) else {
            if self.func.ty(value).tile().is_none() {
                self.error("store writes a tile or a scalar, not a view");
            }
            return;
        };
        if tile.dtype != to.dtype {
            let message = format!("store writes {tile} to {to}: the element types differ");
            self.report(Diagnostic::new(self.loc, message).help(format!("cast the tile to {}", to.dtype)));
        }
        if tile.shape.rank() != 0 && tile.shape.rank() != usize::from(to.rank) {
            self.error(format!(
                "store writes {tile} to {to}: the tile should have the view's rank {}, or be a scalar",
                to.rank
            ));
        }
    }

    fn scatter(&mut self, view: Value, indices: &[Value], value: Value, mask: Option<Value>) {
        self.writes_to("scatter", view);
        self.problems(check_access(self.func, "scatter", view, indices, "index", false));
        let shape = indices.first().and_then(|&i| self.func.ty(i).tile()).map(|t| t.shape);
        let (Some(to), Some(shape)) = (self.func.ty(view).view(), shape) else { return };
        let wanted = Type::Tile(TileType::new(to.dtype, shape));
        self.expect_type("the value of scatter", value, wanted);
        if let Some(mask) = mask {
            self.expect_type("the mask of scatter", mask, Type::Tile(TileType::new(DType::Bool, shape)));
        }
    }

    fn writes_to(&mut self, what: &str, view: Value) {
        if self.func.ty(view).view().is_some_and(|v| !v.mutable) {
            let name = self.show(view);
            let message = format!("{what} to {name}, which is {}", self.func.ty(view));
            self.report(Diagnostic::new(self.loc, message).help("declare the parameter as ViewMut"));
        }
    }

    fn expect_type(&mut self, what: &str, v: Value, wanted: Type) {
        if let Some(data) = self.func.values.get(v.index()).filter(|d| d.ty != wanted) {
            self.error(format!("{what} should be {wanted}, not {}", data.ty));
        }
    }

    /// A step that is a constant of the same function must be positive, or the loop would not end.
    fn step(&mut self, step: Value) {
        let mut constant: Option<Const> = None;
        for_each_stmt(&self.func.body, &mut |stmt| {
            if let StmtKind::Let { value, op: Op::Const(c) } = &stmt.kind
                && *value == step
            {
                constant = Some(*c);
            }
        });
        if let Some(c) = constant.filter(|c| c.dtype == DType::I32 && c.to_i64() <= 0) {
            self.error(format!("the step of the range is {}; it should be positive", c.to_i64()));
        }
    }

    /// Carried values: as many and of the same types from start to end.
    fn carried(&mut self, inits: &[Value], params: &[Value], yields: &[Value], results: &[Value]) {
        self.same_types(inits, params, "parameters for them", "enters the region as");
        self.same_types(inits, yields, "yields", "is handed on by the body as");
        self.same_types(inits, results, "results", "is used after the loop as");
        self.no_views(inits, "carried through a loop");
    }

    fn same_types(&mut self, inits: &[Value], others: &[Value], noun: &str, verb: &str) {
        if inits.len() != others.len() {
            let given = count(inits.len(), "initial value", "initial values");
            self.error(format!("the loop has {given} but {} {noun}", others.len()));
            return;
        }
        for (i, (&a, &b)) in inits.iter().zip(others).enumerate() {
            let (Some(from), Some(to)) = (self.func.values.get(a.index()), self.func.values.get(b.index()))
            else {
                continue;
            };
            if from.ty != to.ty {
                let name = to.name.as_ref().or(from.name.as_ref());
                let what =
                    name.map_or_else(|| format!("carried value {i}"), |n| format!("carried value `{n}`"));
                self.error(format!("{what} starts as {} but {verb} {}", from.ty, to.ty));
            }
        }
    }

    fn no_views(&mut self, values: &[Value], how: &str) {
        for &v in values {
            if self.func.values.get(v.index()).is_some_and(|d| d.ty.view().is_some()) {
                let name = self.show(v);
                let message = format!("{name} is a view, which cannot be {how}");
                self.report(
                    Diagnostic::new(self.loc, message)
                        .help("carry the offset instead, and add it where the view is read"),
                );
            }
        }
    }

    fn branch(&mut self, name: &str, block: &Block, results: &[Value]) {
        if !block.params.is_empty() {
            self.error(format!("the `{name}` block of `if` takes no parameters"));
        }
        if block.yields.len() != results.len() {
            let yields = count(block.yields.len(), "value", "values");
            let results = count(results.len(), "result", "results");
            self.error(format!(
                "the `{name}` block of `if` yields {yields}, but the statement has {results}"
            ));
            return;
        }
        for (&from, &to) in block.yields.iter().zip(results) {
            let (Some(a), Some(b)) = (self.func.values.get(from.index()), self.func.values.get(to.index()))
            else {
                continue;
            };
            if a.ty != b.ty {
                self.error(format!(
                    "the `{name}` block of `if` yields {} where the result is {}",
                    a.ty, b.ty
                ));
            }
        }
        self.no_views(&block.yields, "chosen by `if`");
    }

    fn results(&mut self, results: &[Value]) {
        for &v in results {
            self.define(v, Definition::Result);
        }
    }
}
