//! Elementwise operations: consecutive ones over as many registers become one unrolled loop, with values that only the loop uses
//! as constants in it.
//!
//! Where a packed array is written, the loop goes over words and an inner one over the two halves, so that each pair is rounded
//! and packed by one instruction:
//!
//! ```text
//!   for (int i_ = 0; i_ < 8; ++i_) {
//!     float y_[2];
//!     for (int h_ = 0; h_ < 2; ++h_) {
//!       const int r_ = 2 * i_ + h_;
//!       y_[h_] = bf16_at(x, r_) * scale;
//!     }
//!     y[i_] = pack_bf16(y_[0], y_[1]);
//!   }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::ctypes::{Storage, is_half, literal, register_type, short_name, storage, value_type};
use super::ops::{self, Expr};
use super::usage::Place;
use super::writer::Writer;
use crate::gpu::walk::{Use, for_each_mention};
use crate::gpu::{Block, Op, Operand, RegMap, StmtKind, Var, VarType};
use crate::ir::DType;

/// A loop over the registers of a group, while it is printed.
#[derive(Default)]
pub(crate) struct Loop {
    /// Variables that live in the loop only, by the name of their value.
    locals: BTreeSet<Var>,
    /// Packed arrays that the current iteration has written, whose halves are in `name_[h_]`.
    halves: BTreeMap<Var, String>,
    /// Variables that the loop reads after it has written them.
    reread: BTreeSet<Var>,
    is_paired: bool,
    /// Temporaries of gathers.
    temporaries: usize,
}

/// Whether `op` makes each register of its result from the same registers of its operands.
const fn is_elementwise(op: &Op) -> bool {
    matches!(
        op,
        Op::Coord(_)
            | Op::Copy(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
            | Op::Gather { .. }
    )
}

/// Whether `op` may be computed earlier than it stands: it is of scalars and reads no memory.
const fn is_movable_scalar(op: &Op) -> bool {
    matches!(
        op,
        Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::ClusterId
            | Op::NumClusters
            | Op::ClusterRank
            | Op::Copy(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
    )
}

/// The operands that are read through a table.
fn tables(op: &Op) -> Vec<&Operand> {
    let all: Vec<&Operand> = match op {
        Op::Copy(a) | Op::Unary(_, a) | Op::Cast(a) => vec![a],
        Op::Binary(_, a, b) => vec![a, b],
        Op::Fma(a, b, c) | Op::Select(a, b, c) => vec![a, b, c],
        Op::Gather { indices, mask, .. } => indices.iter().chain(mask).collect(),
        Op::Const(_)
        | Op::ProgramId(_)
        | Op::NumPrograms(_)
        | Op::ClusterId
        | Op::NumClusters
        | Op::ClusterRank
        | Op::Coord(_)
        | Op::ViewDim(..)
        | Op::ViewSelect(..)
        | Op::ViewSlice(..)
        | Op::ViewPermute(..)
        | Op::Load { .. }
        | Op::LoadPoint { .. }
        | Op::Reduce { .. }
        | Op::ArgReduce { .. }
        | Op::SumPartials { .. }
        | Op::FromShared { .. } => Vec::new(),
    };
    all.into_iter().filter(|o| o.regs != RegMap::Identity).collect()
}

/// Whether a statement reads one of `vars`.
fn reads_any(kind: &StmtKind, vars: &BTreeSet<Var>) -> bool {
    let mut found = false;
    for_each_mention(kind, &mut |&v, access| found |= access == Use::Read && vars.contains(&v));
    found
}

impl Writer<'_> {
    /// The end of the group of statements that begins at `start`; `start` when none does.
    pub(crate) fn group_end(&self, block: &Block, start: usize) -> usize {
        let (mut end, mut n) = (start, None);
        let mut written = BTreeSet::new();
        let mut through_table = BTreeSet::new();
        let mut mentioned = BTreeSet::new();
        for (index, stmt) in block.stmts.iter().enumerate().skip(start) {
            let StmtKind::Set { dst, op } = &stmt.kind else { break };
            match self.func.ty(*dst) {
                VarType::Tile { layout, .. } if is_elementwise(op) => {
                    let registers = layout.registers();
                    if *n.get_or_insert(registers) != registers || through_table.contains(dst) {
                        break;
                    }
                    if tables(op).iter().any(|o| written.contains(&o.var)) {
                        break;
                    }
                    through_table.extend(tables(op).iter().map(|o| o.var));
                    written.insert(*dst);
                    end = index + 1;
                }
                VarType::Scalar(_)
                    if n.is_some()
                        && is_movable_scalar(op)
                        && !mentioned.contains(dst)
                        && !reads_any(&stmt.kind, &written) => {}
                VarType::Scalar(_) | VarType::Tile { .. } | VarType::View(_) => break,
            }
            for_each_mention(&stmt.kind, &mut |&v, _| {
                mentioned.insert(v);
            });
        }
        end
    }

    /// Whether a statement defines a scalar from scalars, so that it may be printed earlier.
    pub(crate) fn is_scalar_set(&self, kind: &StmtKind) -> bool {
        matches!(kind, StmtKind::Set { dst, op } if matches!(self.func.ty(*dst), VarType::Scalar(_)) && is_movable_scalar(op))
    }

    /// Prints the group of statements in `range` as one loop.
    pub(crate) fn group(&mut self, block: &Block, range: Range<usize>) {
        let mut state = Loop::default();
        let mut written = BTreeSet::new();
        let mut mentions: BTreeMap<Var, usize> = BTreeMap::new();
        for stmt in &block.stmts[range.clone()] {
            for_each_mention(&stmt.kind, &mut |&v, access| {
                if access == Use::Read && written.contains(&v) {
                    state.reread.insert(v);
                }
                if access == Use::Write {
                    written.insert(v);
                }
                *mentions.entry(v).or_default() += 1;
            });
        }
        let mut n = 0;
        let mut packed: Vec<Var> = Vec::new();
        let mut started = false;
        for index in range.clone() {
            let StmtKind::Set { dst, op } = &block.stmts[index].kind else { continue };
            let place: Place = (block, index);
            let VarType::Tile { dtype, layout, .. } = self.func.ty(*dst) else {
                // A scalar between the tiles comes first.
                self.comment(block.stmts[index].loc);
                self.set_scalar(*dst, op, place);
                continue;
            };
            if !started {
                self.comment(block.stmts[index].loc);
                started = true;
            }
            n = layout.registers() as usize;
            let is_local = self.usage.is_constant(*dst) && mentions[dst] == self.usage.mentions(*dst);
            if is_local {
                state.locals.insert(*dst);
                continue;
            }
            if self.usage.declared_at(*dst) == Some(place) {
                self.declare(*dst);
            }
            if storage(*dtype, n) == Storage::Packed && !packed.contains(dst) {
                packed.push(*dst);
            }
        }
        state.is_paired = !packed.is_empty();
        self.text.line("#pragma unroll");
        if state.is_paired {
            self.text.open(format!("for (int i_ = 0; i_ < {}; ++i_) {{", n / 2));
            let halves: Vec<String> = packed.iter().map(|v| format!("{}_[2]", self.name(*v))).collect();
            self.text.line(format!("float {};", halves.join(", ")));
            self.text.line("#pragma unroll");
            self.text.open("for (int h_ = 0; h_ < 2; ++h_) {");
        } else {
            self.text.open(format!("for (int r_ = 0; r_ < {n}; ++r_) {{"));
        }
        let first = (self.text.len(), self.text.indent());
        for index in range {
            let StmtKind::Set { dst, op } = &block.stmts[index].kind else { continue };
            if matches!(self.func.ty(*dst), VarType::Tile { .. }) {
                self.comment(block.stmts[index].loc);
                self.element(&mut state, *dst, op);
            }
        }
        if state.is_paired {
            if super::prelude::words(&self.text.since(first.0)).any(|w| w == "r_") {
                self.text.insert(first.0, first.1, ["const int r_ = 2 * i_ + h_;".to_owned()]);
            }
            self.text.close();
            for v in packed {
                let (name, short) = (self.name(v), short_name(self.func.ty(v).dtype()));
                self.text.line(format!("{name}[i_] = pack_{short}({name}_[0], {name}_[1]);"));
            }
        }
        self.text.close();
    }

    /// One element of one operation in a loop.
    fn element(&mut self, state: &mut Loop, dst: Var, op: &Op) {
        let dtype = self.func.ty(dst).dtype();
        let expr = self.element_expr(state, dst, op);
        let name = self.name(dst);
        let n = self.func.ty(dst).n_elements();
        if state.locals.contains(&dst) {
            let value = expr.rounded(dtype);
            self.text.line(format!("const {} {name} = {value};", value_type(dtype)));
            return;
        }
        match storage(dtype, n) {
            Storage::Plain => self.text.line(format!("{name}[r_] = {};", expr.text)),
            Storage::Single => {
                self.text.line(format!("{name}[r_] = f32_to_{}({});", short_name(dtype), expr.text))
            }
            Storage::Packed => {
                // Rounded at once only where this iteration reads it again; packing rounds.
                let value = if state.reread.contains(&dst) { expr.rounded(dtype) } else { expr.text };
                let half = format!("{name}_[h_]");
                self.text.line(format!("{half} = {value};"));
                state.halves.insert(dst, half);
            }
        }
    }

    fn element_expr(&mut self, state: &mut Loop, dst: Var, op: &Op) -> Expr {
        let ty = self.func.ty(dst).clone();
        let dtype = ty.dtype();
        if let Op::Coord(coord) = op {
            let VarType::Tile { layout, .. } = &ty else { panic!("{dst} should be a tile") };
            return Expr::exact(self.coord(layout, coord, "r_").whole());
        }
        if let Op::Gather { view, indices, mask, pad } = op {
            return self.gather_element(state, *view, indices, mask.as_ref(), *pad);
        }
        let mut read = |w: &mut Self, o: &Operand| w.read(state, o);
        self.expression(op, dtype, &mut read)
    }

    /// An elementwise operation, with operands as `read` gives them.
    fn expression(
        &mut self,
        op: &Op,
        dtype: DType,
        read: &mut dyn FnMut(&mut Self, &Operand) -> String,
    ) -> Expr {
        match op {
            Op::Copy(a) => Expr::exact(read(self, a)),
            Op::Unary(kind, a) => ops::unary(*kind, dtype, &read(self, a)),
            Op::Binary(kind, a, b) => {
                let from = self.func.ty(a.var).dtype();
                let divisor = self.usage.constant(b.var);
                let (a, b) = (read(self, a), read(self, b));
                ops::binary(*kind, from, &a, &b, divisor)
            }
            Op::Fma(a, b, c) => {
                let (a, b, c) = (read(self, a), read(self, b), read(self, c));
                Expr::computed(dtype, format!("fmaf({a}, {b}, {c})"))
            }
            Op::Select(c, a, b) => {
                let (c, a, b) = (read(self, c), read(self, a), read(self, b));
                Expr::exact(format!("{c} ? {a} : {b}"))
            }
            Op::Cast(a) => {
                let from = self.func.ty(a.var).dtype();
                ops::cast(from, dtype, &read(self, a))
            }
            Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::ClusterId
            | Op::NumClusters
            | Op::ClusterRank
            | Op::Coord(_)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..)
            | Op::Load { .. }
            | Op::LoadPoint { .. }
            | Op::Gather { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::SumPartials { .. }
            | Op::FromShared { .. } => panic!("{op:?} should be elementwise"),
        }
    }

    /// The value of an operand in the loop.
    pub(crate) fn read(&mut self, state: &Loop, operand: &Operand) -> String {
        let v = operand.var;
        if state.locals.contains(&v) {
            return self.name(v);
        }
        if let Some(half) = state.halves.get(&v) {
            return half.clone();
        }
        let index = match &operand.regs {
            RegMap::Identity => "r_".to_owned(),
            RegMap::Table(table) => {
                let table: Vec<u32> = table.iter().map(|&r| u32::from(r)).collect();
                self.table(&table, "r_")
            }
        };
        self.register(v, &index)
    }

    /// The value of register `index` of a tile, or a scalar.
    pub(crate) fn register(&mut self, v: Var, index: &str) -> String {
        let ty = self.func.ty(v);
        let VarType::Tile { dtype, layout, .. } = ty else { return self.scalar(v) };
        let (dtype, n) = (*dtype, layout.registers() as usize);
        let name = self.name(v);
        match storage(dtype, n) {
            Storage::Plain => format!("{name}[{}]", super::coords::bare(index)),
            Storage::Packed => format!("{}_at({name}, {})", short_name(dtype), super::coords::bare(index)),
            Storage::Single => format!("{}_to_f32({name}[{index}])", short_name(dtype)),
        }
    }

    fn gather_element(
        &mut self,
        state: &mut Loop,
        view: Var,
        indices: &[Operand],
        mask: Option<&Operand>,
        pad: Var,
    ) -> Expr {
        let number = state.temporaries;
        state.temporaries += 1;
        let mask = mask.map(|m| self.read(state, m));
        let texts: Vec<String> = indices.iter().map(|i| self.read(state, i)).collect();
        let (condition, offset) = self.point(view, &texts, mask);
        let inside = format!("in{number}_");
        self.text.line(format!("const bool {inside} = {condition};"));
        let value = self.load_value(view, &offset);
        let pad = self.scalar(pad);
        Expr::exact(format!("{inside} ? {value} : {pad}"))
    }

    /// A scalar's definition.
    pub(crate) fn set_scalar(&mut self, dst: Var, op: &Op, place: Place) {
        if self.usage.constant(dst).is_some() {
            return;
        }
        let dtype = self.func.ty(dst).dtype();
        let value = match op {
            Op::Const(c) => literal(*c),
            Op::ProgramId(axis) => format!("(int)blockIdx.{}", axis_name(*axis)),
            Op::NumPrograms(axis) if self.func.walks_programs() => self.grid_names[*axis as usize].clone(),
            Op::NumPrograms(axis) => format!("(int)gridDim.{}", axis_name(*axis)),
            Op::ClusterId => self.clusters_of("blockIdx.x"),
            Op::NumClusters => self.clusters_of("gridDim.x"),
            Op::ClusterRank => "(int)cluster_rank()".to_owned(),
            Op::ViewDim(view, axis) => self.view(*view).dims[*axis as usize].clone(),
            Op::LoadPoint { view, offsets, pad } => {
                let texts: Vec<String> = offsets.iter().map(|&o| self.scalar(o)).collect();
                let (condition, offset) = self.point(*view, &texts, None);
                let value = self.load_value(*view, &offset);
                let pad = self.scalar(*pad);
                format!("{condition} ? {value} : {pad}")
            }
            Op::Coord(_)
            | Op::Copy(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..)
            | Op::Load { .. }
            | Op::Gather { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::SumPartials { .. }
            | Op::FromShared { .. } => {
                let mut read = |w: &mut Self, o: &Operand| match w.func.ty(o.var) {
                    VarType::Scalar(_) => w.scalar(o.var),
                    // A tile of one element that every thread holds.
                    VarType::Tile { .. } | VarType::View(_) => w.register(o.var, "0"),
                };
                let expr = self.expression(op, dtype, &mut read);
                expr.rounded(dtype)
            }
        };
        self.assign(dst, place, &value);
    }

    /// The bounds check and the element offset of one element of a view.
    fn point(&mut self, view: Var, indices: &[String], mask: Option<String>) -> (String, String) {
        let view = self.view(view);
        let mut conditions: Vec<String> = mask.into_iter().collect();
        let mut terms = Vec::new();
        for (axis, index) in indices.iter().enumerate() {
            conditions.push(format!(
                "(unsigned){} < (unsigned){}",
                super::coords::grouped(index),
                view.dims[axis]
            ));
            terms.push(view.step(axis, index));
        }
        let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
        (conditions.join(" && "), super::coords::sum(&terms))
    }

    /// The element at an offset, as a value.
    fn load_value(&mut self, view: Var, offset: &str) -> String {
        let text = self.view(view);
        let at = if offset == "0" { text.pointer.clone() } else { format!("{} + {offset}", text.pointer) };
        let element = if self.options.no_alias && !text.ty.mutable {
            format!("__ldg({at})")
        } else {
            format!("*({at})")
        };
        match text.ty.dtype {
            dtype @ (DType::F16 | DType::BF16) => format!("{}_to_f32({element})", short_name(dtype)),
            DType::Bool => format!("({element} != 0)"),
            DType::F32
            | DType::F8E4M3
            | DType::F8E5M2
            | DType::I8
            | DType::U8
            | DType::I32
            | DType::I64
            | DType::U32 => element,
        }
    }

    /// `scatter`: one element after the other.
    pub(crate) fn scatter(&mut self, view: Var, indices: &[Operand], src: &Operand, mask: Option<&Operand>) {
        let tile = indices.iter().chain([src]).find(|o| matches!(self.func.ty(o.var), VarType::Tile { .. }));
        let state = Loop::default();
        let text = self.view(view);
        let dtype = text.ty.dtype;
        let Some(tile) = tile else {
            let condition = self.scatter_condition(&state, view, indices, mask, vec!["tid == 0".to_owned()]);
            let value = self.scalar(src.var);
            self.scatter_one(&text, dtype, &condition.0, &condition.1, &value);
            return;
        };
        let VarType::Tile { layout, shape, .. } = self.func.ty(tile.var).clone() else { return };
        let mut guards = self.owner_guards(&layout);
        guards.extend(self.shape_guards(&layout, &shape, "r_"));
        let n = layout.registers();
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {n}; ++r_) {{"));
        let (condition, offset) = self.scatter_condition(&state, view, indices, mask, guards);
        let value = self.read(&state, src);
        self.scatter_one(&text, dtype, &condition, &offset, &value);
        self.text.close();
    }

    fn scatter_condition(
        &mut self,
        state: &Loop,
        view: Var,
        indices: &[Operand],
        mask: Option<&Operand>,
        mut guards: Vec<String>,
    ) -> (String, String) {
        guards.extend(mask.map(|m| self.read(state, m)));
        let texts: Vec<String> = indices.iter().map(|i| self.read(state, i)).collect();
        let (condition, offset) = self.point(view, &texts, None);
        guards.push(condition);
        (guards.join(" && "), offset)
    }

    fn scatter_one(
        &mut self,
        view: &super::views::ViewText,
        dtype: DType,
        condition: &str,
        offset: &str,
        value: &str,
    ) {
        let value =
            if is_half(dtype) { format!("f32_to_{}({value})", short_name(dtype)) } else { value.to_owned() };
        self.text.line(format!("if ({condition}) {}[{offset}] = {value};", view.pointer));
    }

    /// The element type of an array of `n` registers, for temporaries.
    pub(crate) fn array_of(&self, v: Var) -> (&'static str, usize) {
        let ty = self.func.ty(v);
        let n = ty.n_elements();
        (register_type(ty.dtype(), n), super::ctypes::register_count(ty.dtype(), n))
    }
}

/// `x`, `y` or `z`.
pub(crate) const fn axis_name(axis: u8) -> &'static str {
    match axis {
        0 => "x",
        1 => "y",
        _ => "z",
    }
}
