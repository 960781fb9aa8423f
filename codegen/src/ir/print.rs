//! The text form of a function, written.
//!
//! Invariant: `parse(print(f)) == f` for every verified function whose handles are dense, locations and names included, and
//! the text depends on nothing but the function. What follows from a value's type (a constant's element type, the shape of
//! a splat or a load) is left out, and spelled `as ...` only where the operation contradicts the type, so that functions
//! the verifier rejects still print truly.
//!
//! A value prints as `%7`, or `%acc.7` when the author named it: the number alone identifies it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::func::{Block, Func, Param, Stmt, StmtKind, Value, ViewFacts};
use super::ops::Op;
use super::types::{DType, Shape, Type};
use crate::diag::Loc;

impl fmt::Display for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// The text of `func`, ending in a line break.
#[must_use]
pub fn print(func: &Func) -> String {
    print_annotated(func, &BTreeMap::new())
}

/// Where a note stands in the text: under the signature (`None`) or under a statement, counted in text order from 0.
pub(super) type Place = Option<usize>;

/// The text of `func` with `notes` as comment lines under what they speak of.
pub(super) fn print_annotated(func: &Func, notes: &BTreeMap<Place, Vec<String>>) -> String {
    let mut printer = Printer { func, notes, out: String::new(), n_stmts: 0 };
    printer.func();
    printer.out
}

struct Printer<'a> {
    func: &'a Func,
    notes: &'a BTreeMap<Place, Vec<String>>,
    out: String,
    n_stmts: usize,
}

impl Printer<'_> {
    fn func(&mut self) {
        let name = if is_word(&self.func.name) { self.func.name.clone() } else { quote(&self.func.name) };
        let _ = write!(self.out, "kernel @{name}(");
        for param in &self.func.params {
            self.out.push_str("\n  ");
            self.param(param);
            self.out.push(',');
        }
        self.out.push_str(if self.func.params.is_empty() { ") " } else { "\n) " });
        self.block(&self.func.body, 0, Loc::default(), None);
        self.out.push('\n');
    }

    fn param(&mut self, param: &Param) {
        self.value(param.value);
        let name = self.func.values.get(param.value.index()).and_then(|d| d.name.as_deref());
        if name != Some(param.name.as_str()) {
            let shown = if is_word(&param.name) { param.name.clone() } else { quote(&param.name) };
            let _ = write!(self.out, " {shown}");
        }
        self.type_and_loc(param.value, Loc::default());
        let ViewFacts { contiguous, divisible } = param.facts;
        if contiguous {
            self.out.push_str(" contiguous");
        }
        if divisible != ViewFacts::default().divisible {
            let _ = write!(self.out, " divisible {divisible}");
        }
    }

    fn value(&mut self, v: Value) {
        match self.func.values.get(v.index()).and_then(|d| d.name.as_deref()) {
            Some(name) if is_word(name) => {
                let _ = write!(self.out, "%{name}.{}", v.0);
            }
            Some(name) => {
                let _ = write!(self.out, "%{}.{}", quote(name), v.0);
            }
            None => {
                let _ = write!(self.out, "{v}");
            }
        }
    }

    fn values(&mut self, values: &[Value]) {
        for (i, &v) in values.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.value(v);
        }
    }

    fn type_and_loc(&mut self, v: Value, usual: Loc) {
        let Some(data) = self.func.values.get(v.index()) else { return };
        let _ = write!(self.out, ": {}", data.ty);
        if data.loc != usual {
            self.loc(data.loc);
        }
    }

    fn definitions(&mut self, values: &[Value], usual: Loc) {
        for (i, &v) in values.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.value(v);
            self.type_and_loc(v, usual);
        }
    }

    fn loc(&mut self, loc: Loc) {
        if loc == Loc::default() {
            self.out.push_str(" @?");
            return;
        }
        let is_plain = !loc.file.is_empty() && loc.file.chars().all(is_path_char);
        let file = if is_plain { loc.file.to_owned() } else { quote(loc.file) };
        let _ = write!(self.out, " @{file}:{}:{}", loc.line, loc.column);
    }

    fn stmt_loc(&mut self, stmt: &Stmt) {
        if stmt.loc != Loc::default() {
            self.loc(stmt.loc);
        }
    }

    fn notes(&mut self, place: Place, indent: usize) {
        for note in self.notes.get(&place).into_iter().flatten() {
            let _ = write!(self.out, "\n{:indent$}// ^ {note}", "");
        }
    }

    /// A block, its opening brace on the current line; notes on its header come right under that.
    fn block(&mut self, block: &Block, indent: usize, usual: Loc, header: Place) {
        if !block.params.is_empty() {
            self.out.push('(');
            self.definitions(&block.params, usual);
            self.out.push_str(") ");
        }
        self.out.push('{');
        if header.is_some() || indent == 0 {
            self.notes(header, indent);
        }
        for stmt in &block.stmts {
            let _ = write!(self.out, "\n{:1$}", "", indent + 2);
            self.stmt(stmt, indent + 2);
        }
        if !block.yields.is_empty() {
            let _ = write!(self.out, "\n{:1$}yield ", "", indent + 2);
            self.values(&block.yields);
        }
        let _ = write!(self.out, "\n{:indent$}}}", "");
    }

    fn stmt(&mut self, stmt: &Stmt, indent: usize) {
        let place = Some(self.n_stmts);
        self.n_stmts += 1;
        let results = stmt.kind.results();
        if !results.is_empty() {
            self.definitions(&results, stmt.loc);
            self.out.push_str(" = ");
        }
        match &stmt.kind {
            StmtKind::Let { value, op } => self.op(op, self.func.values.get(value.index()).map(|d| d.ty)),
            StmtKind::Store { view, offsets, value } => {
                self.out.push_str("store ");
                self.place(*view, offsets);
                self.out.push_str(" = ");
                self.value(*value);
            }
            StmtKind::Scatter { view, indices, value, mask } => {
                self.out.push_str("scatter ");
                self.place(*view, indices);
                self.out.push_str(" = ");
                self.value(*value);
                self.keyed("mask", mask.as_slice());
            }
            StmtKind::Print { label, values } => {
                let _ = write!(self.out, "print {}", quote(label));
                for &v in values {
                    self.out.push_str(", ");
                    self.value(v);
                }
            }
            StmtKind::Assert { cond, message } => {
                self.out.push_str("assert ");
                self.value(*cond);
                let _ = write!(self.out, ", {}", quote(message));
            }
            StmtKind::For { lo, hi, step, inits, body, results: _ } => {
                self.out.push_str("for ");
                self.value(*lo);
                self.keyed("to", &[*hi]);
                self.keyed("step", &[*step]);
                self.inits(inits);
                self.stmt_loc(stmt);
                self.out.push_str(" do ");
                return self.block(body, indent, stmt.loc, place);
            }
            StmtKind::While { inits, cond, body, results: _ } => {
                self.out.push_str("while");
                self.inits(inits);
                self.stmt_loc(stmt);
                self.out.push_str(" test ");
                self.block(cond, indent, stmt.loc, place);
                self.out.push_str(" do ");
                return self.block(body, indent, stmt.loc, None);
            }
            StmtKind::If { cond, then_block, else_block, results: _ } => {
                self.out.push_str("if ");
                self.value(*cond);
                self.stmt_loc(stmt);
                self.out.push_str(" then ");
                self.block(then_block, indent, stmt.loc, place);
                if *else_block != Block::default() {
                    self.out.push_str(" else ");
                    self.block(else_block, indent, stmt.loc, None);
                }
                return;
            }
        }
        self.stmt_loc(stmt);
        self.notes(place, indent);
    }

    fn inits(&mut self, inits: &[Value]) {
        if !inits.is_empty() {
            self.out.push_str(" with (");
            self.values(inits);
            self.out.push(')');
        }
    }

    fn place(&mut self, view: Value, at: &[Value]) {
        self.value(view);
        self.out.push('[');
        self.values(at);
        self.out.push(']');
    }

    /// ` word %v` for each value.
    fn keyed(&mut self, word: &str, values: &[Value]) {
        for &v in values {
            let _ = write!(self.out, " {word} ");
            self.value(v);
        }
    }

    fn op(&mut self, op: &Op, ty: Option<Type>) {
        self.out.push_str(op.mnemonic());
        let tile = ty.and_then(Type::tile);
        let dtype = tile.map(|t| t.dtype);
        let shape = tile.map(|t| t.shape);
        match op {
            Op::Const(c) => {
                let _ = write!(self.out, " {}", c.text());
                self.as_dtype(c.dtype, dtype);
            }
            Op::Arange { extent } => self.as_shape(Shape::new(&[*extent as usize]), shape),
            Op::ProgramId(axis) | Op::NumPrograms(axis) => {
                let _ = write!(self.out, " {axis}");
            }
            Op::Unary(_, a) => self.operands(&[*a]),
            Op::Binary(_, a, b) => self.operands(&[*a, *b]),
            Op::Fma(a, b, c) | Op::Select(a, b, c) | Op::Dot { a, b, acc: c } => self.operands(&[*a, *b, *c]),
            Op::Cast(a, to) => {
                self.operands(&[*a]);
                self.as_dtype(*to, dtype);
            }
            Op::Splat(a, to) | Op::Broadcast(a, to) | Op::Reshape(a, to) => {
                self.operands(&[*a]);
                self.as_shape(*to, shape);
            }
            Op::ExpandDims(a, axis)
            | Op::Squeeze(a, axis)
            | Op::Reduce(_, a, axis)
            | Op::ArgReduce(_, a, axis)
            | Op::ViewDim(a, axis) => {
                self.operands(&[*a]);
                let _ = write!(self.out, " axis {axis}");
            }
            Op::Permute(a, perm) | Op::ViewPermute(a, perm) => {
                self.operands(&[*a]);
                let axes: Vec<String> = perm.iter().map(u8::to_string).collect();
                let _ = write!(self.out, " [{}]", axes.join(", "));
            }
            Op::ViewSelect(a, axis, at) => {
                self.operands(&[*a]);
                let _ = write!(self.out, " axis {axis}");
                self.keyed("at", &[*at]);
            }
            Op::ViewSlice(a, axis, start, len) => {
                self.operands(&[*a]);
                let _ = write!(self.out, " axis {axis}");
                self.keyed("from", &[*start]);
                self.keyed("len", &[*len]);
            }
            Op::Load { view, offsets, shape: to, pad } => {
                self.out.push(' ');
                self.place(*view, offsets);
                self.keyed("pad", &[*pad]);
                self.as_shape(*to, shape);
            }
            Op::Gather { view, indices, mask, pad } => {
                self.out.push(' ');
                self.place(*view, indices);
                self.keyed("mask", mask.as_slice());
                self.keyed("pad", &[*pad]);
            }
        }
    }

    fn operands(&mut self, values: &[Value]) {
        self.out.push(' ');
        self.values(values);
    }

    fn as_dtype(&mut self, dtype: DType, usual: Option<DType>) {
        if usual != Some(dtype) {
            let _ = write!(self.out, " as {dtype}");
        }
    }

    fn as_shape(&mut self, shape: Shape, usual: Option<Shape>) {
        if usual != Some(shape) {
            let _ = write!(self.out, " as <{shape}>");
        }
    }
}

/// Whether `text` can stand in the text form without quotes.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_word_char)
}

/// Whether `c` may continue a word.
pub(crate) const fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether `c` may stand in a file name without quotes.
pub(crate) const fn is_path_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')
}

/// `text` in double quotes, with escapes for quotes, backslashes and control characters.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
