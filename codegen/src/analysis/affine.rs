//! i32 scalars as sums of multiples, their ranges and power-of-two divisors, and what follows for views.
//!
//! A form `3 * program_id(0) + n + 5` holds modulo 2^32, as i32 arithmetic wraps; a power-of-two divisor survives wrapping and
//! a range that could wrap is widened to all of i32, so those two hold as they stand. Scalars that are no sum are atoms
//! of their own, so every i32 scalar has a form.

mod form;
mod views;

use std::collections::BTreeMap;

use crate::ir::{BinaryOp, DType, Func, Op, Stmt, StmtKind, TileType, Type, UnaryOp, Value};
pub use form::{Affine, Atom, Range};
pub use views::{Access, ViewAxis, ViewForm};

/// What is known of the i32 scalars and the views of a function.
#[derive(Clone, Debug)]
pub struct AffineFacts {
    scalars: BTreeMap<Value, ScalarFact>,
    views: BTreeMap<Value, ViewForm>,
}

#[derive(Clone, Debug)]
struct ScalarFact {
    form: Affine,
    range: Range,
}

/// The facts of `func`, which is verified.
#[must_use]
pub fn affine_facts(func: &Func) -> AffineFacts {
    let mut facts = AffineFacts { scalars: BTreeMap::new(), views: BTreeMap::new() };
    for param in &func.params {
        match func.ty(param.value) {
            Type::View(ty) => {
                facts
                    .views
                    .insert(param.value, ViewForm::of_param(param.value, usize::from(ty.rank), param.facts));
            }
            Type::Tile(_) => facts.set_atom(func, param.value, Atom::Param(param.value), Range::ALL),
        }
    }
    facts.stmts(func, &func.body.stmts);
    facts
}

impl AffineFacts {
    /// The form of an i32 scalar; `None` for any other value.
    #[must_use]
    pub fn form(&self, v: Value) -> Option<&Affine> {
        self.scalars.get(&v).map(|fact| &fact.form)
    }

    /// The range of an i32 scalar; all of i32 when nothing is known.
    #[must_use]
    pub fn range(&self, v: Value) -> Range {
        self.scalars.get(&v).map_or(Range::ALL, |fact| fact.range)
    }

    /// The largest power of two, up to 2^31, known to divide an i32 scalar.
    #[must_use]
    pub fn power_of_two_divisor(&self, v: Value) -> u32 {
        self.form(v).map_or(1, Affine::power_of_two_divisor)
    }

    /// How a view selects from the parameter it comes from.
    #[must_use]
    pub fn view(&self, v: Value) -> Option<&ViewForm> {
        self.views.get(&v)
    }

    fn set_atom(&mut self, func: &Func, v: Value, atom: Atom, range: Range) {
        if func.ty(v) == Type::Tile(TileType::scalar(DType::I32)) {
            self.scalars.insert(v, ScalarFact { form: Affine::atom(atom), range });
        }
    }

    fn stmts(&mut self, func: &Func, stmts: &[Stmt]) {
        for stmt in stmts {
            match &stmt.kind {
                StmtKind::Let { value, op } => self.define(func, *value, op),
                StmtKind::For { lo, hi, step, body, .. } => {
                    let (first, end) = (self.range(*lo), self.range(*hi));
                    let range = Range { min: first.min, max: first.max.max(end.max.saturating_sub(1)) };
                    // Multiples of what divides both the start and the step.
                    let divisor = self.power_of_two_divisor(*lo).min(self.power_of_two_divisor(*step));
                    let iv = body.params[0];
                    self.set_atom(func, iv, Atom::Induction { iv, divisor }, range);
                    body.params[1..]
                        .iter()
                        .for_each(|&v| self.set_atom(func, v, Atom::Scalar(v), Range::ALL));
                }
                StmtKind::While { cond, body, .. } => {
                    for &v in cond.params.iter().chain(&body.params) {
                        self.set_atom(func, v, Atom::Scalar(v), Range::ALL);
                    }
                }
                StmtKind::If { .. }
                | StmtKind::Store { .. }
                | StmtKind::Scatter { .. }
                | StmtKind::Print { .. }
                | StmtKind::Assert { .. } => {}
            }
            for region in stmt.kind.regions() {
                self.stmts(func, &region.stmts);
            }
            if !matches!(stmt.kind, StmtKind::Let { .. }) {
                for v in stmt.kind.results() {
                    self.set_atom(func, v, Atom::Scalar(v), Range::ALL);
                }
            }
        }
    }

    fn define(&mut self, func: &Func, v: Value, op: &Op) {
        if let Some(form) = self.view_form(op) {
            self.views.insert(v, form);
            return;
        }
        if func.ty(v) != Type::Tile(TileType::scalar(DType::I32)) {
            return;
        }
        let fact = self.scalar(op).unwrap_or_else(|| {
            let (atom, min) = if let Op::ProgramId(axis) = op {
                (Atom::ProgramId(*axis), 0)
            } else if let Op::NumPrograms(axis) = op {
                (Atom::NumPrograms(*axis), 1)
            } else if let Op::ViewDim(view, axis) = op {
                (Atom::Dim(*view, *axis), 0)
            } else {
                (Atom::Scalar(v), Range::ALL.min)
            };
            let range = if let Op::Binary(op, a, b) = op {
                self.binary_range(*op, *a, *b)
            } else {
                Range { min, ..Range::ALL }
            };
            ScalarFact { form: Affine::atom(atom), range }
        });
        self.scalars.insert(v, fact);
    }

    /// The fact of an operation that makes a sum of multiples.
    fn scalar(&self, op: &Op) -> Option<ScalarFact> {
        if let Op::Const(c) = op {
            let x = c.to_i64();
            return Some(ScalarFact { form: Affine::constant(x), range: Range { min: x, max: x } });
        }
        if let Op::Unary(UnaryOp::Neg, a) = op {
            return Some(self.scalars.get(a)?.scaled(-1));
        }
        let Op::Binary(op, a, b) = op else { return None };
        let (a, b) = (self.scalars.get(a)?, self.scalars.get(b)?);
        match (op, a.form.as_constant(), b.form.as_constant()) {
            (BinaryOp::Add, ..) => Some(a.plus(b)),
            (BinaryOp::Sub, ..) => Some(a.plus(&b.scaled(-1))),
            (BinaryOp::Mul, _, Some(c)) => Some(a.scaled(c)),
            (BinaryOp::Mul, Some(c), None) => Some(b.scaled(c)),
            (BinaryOp::Shl, _, Some(c)) => Some(a.scaled(1 << (c & 31))),
            _ => None,
        }
    }

    /// The range of an operation that makes no sum.
    fn binary_range(&self, op: BinaryOp, a: Value, b: Value) -> Range {
        let (x, y) = (self.range(a), self.range(b));
        match op {
            BinaryOp::Min => Range { min: x.min.min(y.min), max: x.max.min(y.max) },
            BinaryOp::Max => Range { min: x.min.max(y.min), max: x.max.max(y.max) },
            // A quotient or remainder of numbers that are not negative; a zero divisor yields 0.
            BinaryOp::Div if x.min >= 0 && y.min >= 0 => Range { min: 0, max: x.max / y.min.max(1) },
            BinaryOp::Rem if x.min >= 0 && y.min >= 0 => Range { min: 0, max: x.max.min((y.max - 1).max(0)) },
            BinaryOp::And if y.min >= 0 => Range { min: 0, max: y.max },
            BinaryOp::And if x.min >= 0 => Range { min: 0, max: x.max },
            BinaryOp::Shr if y.min == y.max => {
                Range { min: x.min >> (y.min & 31), max: x.max >> (y.min & 31) }
            }
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => Range::ALL,
        }
    }
}

impl ScalarFact {
    fn plus(&self, other: &Self) -> Self {
        let range = Range { min: self.range.min + other.range.min, max: self.range.max + other.range.max };
        Self { form: self.form.plus(&other.form), range: range.or_all() }
    }

    fn scaled(&self, by: i64) -> Self {
        let (a, b) = (self.range.min.saturating_mul(by), self.range.max.saturating_mul(by));
        Self { form: self.form.scaled(by), range: Range { min: a.min(b), max: a.max(b) }.or_all() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Shape, parse};

    fn facts(body: &str) -> (Func, AffineFacts) {
        let text = format!(
            "kernel @k(%x.0: view<f32, 2> contiguous divisible 16, %y.1: view_mut<f32, 2>, %n.2: i32) {{ {body} }}"
        );
        let func = parse(&text).expect("the text should parse");
        crate::ir::verify(&func).expect("the function should be legal");
        let facts = affine_facts(&func);
        (func, facts)
    }

    #[test]
    fn sums_of_program_ids_are_affine_whatever_the_spelling() {
        let (_, facts) = facts(
            "%3: i32 = program_id 0
             %4: i32 = const 64
             %5: i32 = mul %3, %4
             %6: i32 = add %5, %n.2
             %7: i32 = sub %6, %3
             %8: i32 = program_id 0
             %9: i32 = add %7, %8
             %10: i32 = const 2
             %11: i32 = shl %9, %10",
        );
        let form = facts.form(Value(11)).expect("an i32 scalar has a form");
        assert_eq!(form.to_string(), "256 * program_id(0) + 4 * %2");
        assert_eq!(form.coefficient(Atom::ProgramId(0)), 256);
        assert_eq!(facts.power_of_two_divisor(Value(5)), 64);
        assert_eq!(facts.power_of_two_divisor(Value(11)), 4);
        assert_eq!(facts.range(Value(5)), Range::ALL);
    }

    #[test]
    fn ranges_follow_loops_minimum_and_remainder() {
        let (_, facts) = facts(
            "%3: i32 = const 16
             %4: i32 = const 100
             for %3 to %4 step %3 do (%5: i32) {
               %6: i32 = add %5, %3
               %7: i32 = rem %5, %3
               %8: i32 = min %6, %n.2
               %9: i32 = div %5, %3
             }",
        );
        assert_eq!(facts.range(Value(5)), Range { min: 16, max: 99 });
        assert_eq!(facts.range(Value(6)), Range { min: 32, max: 115 });
        assert_eq!(facts.range(Value(7)), Range { min: 0, max: 15 });
        assert_eq!(facts.range(Value(8)), Range { min: i64::from(i32::MIN), max: 115 });
        assert_eq!(facts.range(Value(9)), Range { min: 0, max: 6 });
        assert_eq!(facts.power_of_two_divisor(Value(5)), 16);
    }

    #[test]
    fn an_access_names_the_parameter_and_its_alignment() {
        let (func, facts) = facts(
            "%3: i32 = program_id 0
             %4: i32 = const 64
             %5: i32 = mul %3, %4
             %6: i32 = const 8
             %7: view<f32, 2> = slice_axis %x.0 axis 1 from %6 len %4
             %8: view<f32, 2> = permute_view %7 [1, 0]
             %9: view<f32, 1> = select_axis %8 axis 1 at %3
             %10: f32 = const 0.0
             %11: f32<4> = load %9[%5] pad %10",
        );
        let access = facts.access(Value(9), &[Value(5)]).expect("the view comes from a parameter");
        assert_eq!(access.param, Value(0));
        let offsets: Vec<String> = access.offsets.iter().map(Affine::to_string).collect();
        assert_eq!(offsets, ["program_id(0)", "64 * program_id(0) + 8"]);
        assert_eq!(facts.alignment(Value(9), &[Value(5)]), 8);
        assert_eq!(
            facts.alignment(Value(8), &[Value(5), Value(3)]),
            1,
            "the last axis is not the contiguous one"
        );
        assert!(func.params[0].facts.contiguous);
    }

    #[test]
    fn tiles_of_different_programs_are_told_apart() {
        let (_, facts) = facts(
            "%3: i32 = program_id 0
             %4: i32 = program_id 1
             %5: i32 = const 64
             %6: i32 = mul %3, %5
             %7: i32 = mul %4, %5
             %8: i32 = add %6, %7",
        );
        let shape = |m, n| Shape::new(&[m, n]);
        let separated = |at: [u32; 2], s| facts.separated_programs(Value(1), &at.map(Value), s);
        assert_eq!(separated([6, 7], shape(64, 64)), [true, true, false]);
        assert_eq!(separated([6, 7], shape(65, 64)), [false, true, false]);
        assert_eq!(separated([3, 7], shape(64, 1)), [false, true, false]);
        assert_eq!(separated([8, 7], shape(64, 64)), [false, true, false]);
        assert_eq!(separated([6, 3], Shape::SCALAR), [true, false, false]);
    }
}
