//! The text form of a function of the GPU level, written.
//!
//! Invariant: `parse(print(f)) == f` for every function whose handles are in range, and the text depends on nothing but the
//! function. A variable's type stands where the text first assigns it; what nothing assigns is declared at the head. Layouts
//! have names, in the order of the variables that use them.

mod ops;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::func::{Block, GpuFunc, GpuParam, Var, VarType};
use super::memory::{BarrierId, BufferId, Swizzle};
use super::ops::{Arrive, MatrixOperand, MatrixShape, Role, Stmt, StmtKind};
use super::walk::blocks;
use crate::diag::Loc;
use crate::ir::ViewFacts;
use crate::ir::print::{is_path_char, is_word, quote};
use crate::layout::Layout;

impl fmt::Display for GpuFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// The type as messages name it: without the layout, which has no short name outside the text.
impl fmt::Display for VarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(dtype) => dtype.fmt(f),
            Self::Tile { dtype, shape, layout: _ } => write!(f, "{dtype}<{shape}>"),
            Self::View(view) => view.fmt(f),
        }
    }
}

/// The text of `func`, ending in a line break.
#[must_use]
pub fn print(func: &GpuFunc) -> String {
    print_annotated(func, &BTreeMap::new())
}

/// Where a note stands in the text: under the signature (`None`) or under a statement, counted in text order from 0.
pub(super) type Place = Option<usize>;

/// The text of `func` with `notes` as comment lines under what they speak of.
pub(super) fn print_annotated(func: &GpuFunc, notes: &BTreeMap<Place, Vec<String>>) -> String {
    let mut layouts: Vec<&Layout> = Vec::new();
    for data in &func.vars {
        if let VarType::Tile { layout, .. } = &data.ty
            && !layouts.contains(&layout)
        {
            layouts.push(layout);
        }
    }
    let typed = vec![false; func.vars.len()];
    let mut printer = Printer { func, notes, layouts, typed, out: String::new(), n_stmts: 0 };
    printer.func();
    printer.out
}

struct Printer<'a> {
    func: &'a GpuFunc,
    notes: &'a BTreeMap<Place, Vec<String>>,
    layouts: Vec<&'a Layout>,
    /// Variables whose type has been written.
    typed: Vec<bool>,
    out: String,
    n_stmts: usize,
}

/// A name as it stands in the text.
fn shown(name: &str) -> String {
    if is_word(name) { name.to_owned() } else { quote(name) }
}

impl Printer<'_> {
    fn put(&mut self, args: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(args);
    }

    fn func(&mut self) {
        for (i, layout) in self.layouts.clone().into_iter().enumerate() {
            self.put(format_args!("L{i} = {layout}\n"));
        }
        self.put(format_args!("kernel @{}(", shown(&self.func.name)));
        for param in &self.func.params {
            self.out.push_str("\n  ");
            self.param(param);
            self.out.push(',');
        }
        self.out.push_str(if self.func.params.is_empty() { ")" } else { "\n)" });
        let GpuFunc { arch, n_warps, cluster, min_blocks, is_persistent, shared_bytes, .. } = self.func;
        self.put(format_args!(" for {} warps {n_warps}", shown(arch)));
        for (word, number, usual) in
            [("cluster", *cluster, 1), ("blocks", *min_blocks, 0), ("shared", *shared_bytes, 0)]
        {
            if number != usual {
                self.put(format_args!(" {word} {number}"));
            }
        }
        if *is_persistent {
            self.out.push_str(" persistent");
        }
        self.out.push_str(" {");
        self.notes(None, 0);
        self.declarations();
        for stmt in &self.func.body.stmts {
            self.out.push_str("\n  ");
            self.stmt(stmt, 2);
        }
        self.out.push_str("\n}\n");
    }

    fn param(&mut self, param: &GpuParam) {
        self.var(param.var);
        let name = self.func.vars.get(param.var.index()).and_then(|d| d.name.as_deref());
        if name != Some(param.name.as_str()) {
            self.put(format_args!(" {}", shown(&param.name)));
        }
        self.type_and_loc(param.var, Loc::default());
        let ViewFacts { contiguous, divisible } = param.facts;
        if contiguous {
            self.out.push_str(" contiguous");
        }
        if divisible != ViewFacts::default().divisible {
            self.put(format_args!(" divisible {divisible}"));
        }
        if param.is_small {
            self.out.push_str(" small");
        }
    }

    fn declarations(&mut self) {
        for (i, map) in self.func.maps.iter().enumerate() {
            self.put(format_args!("\n  map ~{i} = "));
            self.var(map.param);
            self.put(format_args!(" box {:?} swizzle {}", map.box_dims, map.swizzle_bytes));
        }
        for (i, b) in self.func.buffers.iter().enumerate() {
            self.out.push_str("\n  buffer ");
            self.buffer(BufferId(i as u32));
            self.put(format_args!(": {} {} x {}", b.dtype, b.rows, b.columns));
            for (word, number) in [("panels", b.panels), ("slots", b.slots)] {
                if number != 1 {
                    self.put(format_args!(" {word} {number}"));
                }
            }
            self.put(format_args!(" pitch {}", b.pitch_bytes));
            if let Swizzle::Xor { shift, mask } = b.swizzle {
                self.put(format_args!(" xor {shift} {mask}"));
            }
            self.put(format_args!(" align {} at {}", b.align_bytes, b.offset_bytes));
        }
        for (i, b) in self.func.barriers.iter().enumerate() {
            self.out.push_str("\n  mbarrier ");
            self.barrier(BarrierId(i as u32));
            self.put(format_args!(" slots {} arrivals {}", b.slots, b.arrivals));
            if b.tx_bytes != 0 {
                self.put(format_args!(" bytes {}", b.tx_bytes));
            }
            self.put(format_args!(" at {}", b.offset_bytes));
        }
        for (message, loc) in &self.func.assertions {
            self.put(format_args!("\n  assertion {}", quote(message)));
            self.loc_unless(*loc, Loc::default());
        }
        let mut assigned = vec![false; self.func.vars.len()];
        self.func.params.iter().for_each(|p| mark(&mut assigned, p.var));
        mark_assigned(&self.func.body, &mut assigned);
        for i in (0..self.func.vars.len()).filter(|&i| !assigned[i]) {
            self.out.push_str("\n  var ");
            let v = Var(i as u32);
            self.var(v);
            self.type_and_loc(v, Loc::default());
        }
    }

    fn var(&mut self, v: Var) {
        match self.func.vars.get(v.index()).and_then(|d| d.name.as_deref()) {
            Some(name) => self.put(format_args!("${}.{}", shown(name), v.0)),
            None => self.put(format_args!("{v}")),
        }
    }

    fn vars(&mut self, vars: &[Var]) {
        for (i, &v) in vars.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.var(v);
        }
    }

    fn buffer(&mut self, id: BufferId) {
        match self.func.buffers.get(id.index()).map(|b| b.name.as_str()) {
            None | Some("") => self.put(format_args!("{id}")),
            Some(name) => self.put(format_args!("#{}.{}", shown(name), id.0)),
        }
    }

    fn barrier(&mut self, id: BarrierId) {
        match self.func.barriers.get(id.index()).map(|b| b.name.as_str()) {
            None | Some("") => self.put(format_args!("{id}")),
            Some(name) => self.put(format_args!("&{}.{}", shown(name), id.0)),
        }
    }

    /// A variable where it is assigned: with its type the first time.
    fn assigned(&mut self, v: Var, usual: Loc) {
        self.var(v);
        if self.typed.get(v.index()) == Some(&false) {
            self.type_and_loc(v, usual);
        }
    }

    fn type_and_loc(&mut self, v: Var, usual: Loc) {
        let Some(data) = self.func.vars.get(v.index()) else { return };
        self.typed[v.index()] = true;
        match &data.ty {
            VarType::Scalar(dtype) => self.put(format_args!(": {dtype}")),
            VarType::View(view) => self.put(format_args!(": {view}")),
            VarType::Tile { dtype, shape, layout } => {
                let at = self.layouts.iter().position(|l| *l == layout).unwrap_or_default();
                self.put(format_args!(": {dtype}<{shape}> L{at}"));
            }
        }
        self.loc_unless(data.loc, usual);
    }

    fn loc_unless(&mut self, loc: Loc, usual: Loc) {
        if loc == usual {
            return;
        }
        if loc == Loc::default() {
            self.out.push_str(" @?");
            return;
        }
        let is_plain = !loc.file.is_empty() && loc.file.chars().all(is_path_char);
        let file = if is_plain { loc.file.to_owned() } else { quote(loc.file) };
        self.put(format_args!(" @{file}:{}:{}", loc.line, loc.column));
    }

    fn notes(&mut self, place: Place, indent: usize) {
        let notes = self.notes;
        for note in notes.get(&place).into_iter().flatten() {
            self.put(format_args!("\n{:indent$}// ^ {note}", ""));
        }
    }

    /// A block, its opening brace on the current line; notes on its header come right under that.
    fn block(&mut self, block: &Block, indent: usize, header: Place) {
        self.out.push('{');
        if header.is_some() {
            self.notes(header, indent);
        }
        for stmt in &block.stmts {
            self.put(format_args!("\n{:1$}", "", indent + 2));
            self.stmt(stmt, indent + 2);
        }
        self.put(format_args!("\n{:indent$}}}", ""));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other statement is a line")]
    fn stmt(&mut self, stmt: &Stmt, indent: usize) {
        let place = Some(self.n_stmts);
        self.n_stmts += 1;
        match &stmt.kind {
            StmtKind::For { iv, lo, hi, step, body } => {
                self.out.push_str("for ");
                self.assigned(*iv, stmt.loc);
                self.out.push_str(" = ");
                self.var(*lo);
                self.keyed("to", Some(*hi));
                self.keyed("step", Some(*step));
                self.loc_unless(stmt.loc, Loc::default());
                self.out.push(' ');
                return self.block(body, indent, place);
            }
            StmtKind::While { test, cond, body } => {
                self.out.push_str("while");
                self.loc_unless(stmt.loc, Loc::default());
                self.out.push(' ');
                self.block(test, indent, place);
                self.keyed("holds", Some(*cond));
                self.out.push_str(" do ");
                return self.block(body, indent, None);
            }
            StmtKind::If { cond, then_block, else_block } => {
                self.out.push_str("if ");
                self.var(*cond);
                self.loc_unless(stmt.loc, Loc::default());
                self.out.push(' ');
                self.block(then_block, indent, place);
                if *else_block != Block::default() {
                    self.out.push_str(" else ");
                    self.block(else_block, indent, None);
                }
                return;
            }
            StmtKind::Roles(roles) => {
                self.out.push_str("roles");
                self.loc_unless(stmt.loc, Loc::default());
                self.out.push_str(" {");
                self.notes(place, indent);
                for role in roles {
                    self.put(format_args!("\n{:1$}", "", indent + 2));
                    self.role(role, indent + 2);
                }
                self.put(format_args!("\n{:indent$}}}", ""));
                return;
            }
            StmtKind::Set { dst, op } => {
                self.assigned(*dst, stmt.loc);
                self.out.push_str(" = ");
                self.op(op, *dst);
            }
            plain => self.plain(plain),
        }
        self.loc_unless(stmt.loc, Loc::default());
        self.notes(place, indent);
    }

    fn role(&mut self, role: &Role, indent: usize) {
        self.put(format_args!("role {} warps {} from {}", shown(&role.name), role.n_warps, role.first_warp));
        if role.active_warps != role.n_warps {
            self.put(format_args!(" active {}", role.active_warps));
        }
        if role.registers != 0 {
            self.put(format_args!(" registers {}", role.registers));
        }
        if role.releases {
            self.out.push_str(" releases");
        }
        self.out.push(' ');
        self.block(&role.body, indent, None);
    }

    /// ` word $v`, if there is one.
    fn keyed(&mut self, word: &str, v: Option<Var>) {
        if let Some(v) = v {
            self.put(format_args!(" {word} "));
            self.var(v);
        }
    }

    /// `#b[$slot]`.
    fn place(&mut self, buffer: BufferId, slot: Option<Var>) {
        self.buffer(buffer);
        self.index(slot);
    }

    fn index(&mut self, slot: Option<Var>) {
        if let Some(slot) = slot {
            self.out.push('[');
            self.var(slot);
            self.out.push(']');
        }
    }

    fn matrix(&mut self, operand: &MatrixOperand) {
        match operand {
            MatrixOperand::Registers(v) => self.var(*v),
            MatrixOperand::Shared { buffer, slot, k_rows } => self.shared_matrix(*buffer, *slot, *k_rows),
        }
    }

    fn shared_matrix(&mut self, buffer: BufferId, slot: Option<Var>, k_rows: bool) {
        self.place(buffer, slot);
        if k_rows {
            self.out.push_str(" k_rows");
        }
    }
}

/// The word for a matrix instruction.
pub(super) const fn shape_word(shape: MatrixShape) -> &'static str {
    match shape {
        MatrixShape::M16N8K16 => "m16n8k16",
        MatrixShape::M16N8K32 => "m16n8k32",
    }
}

/// The word for who arrives.
pub(super) const fn arrive_word(by: Arrive) -> &'static str {
    match by {
        Arrive::Warp => "warp",
        Arrive::Thread => "thread",
        Arrive::Cluster => "cluster",
    }
}

fn mark(assigned: &mut [bool], v: Var) {
    if let Some(flag) = assigned.get_mut(v.index()) {
        *flag = true;
    }
}

fn mark_assigned(block: &Block, assigned: &mut [bool]) {
    for stmt in &block.stmts {
        if let StmtKind::Set { dst: v, .. } | StmtKind::For { iv: v, .. } = &stmt.kind {
            mark(assigned, *v);
        }
        blocks(&stmt.kind).into_iter().for_each(|b| mark_assigned(b, assigned));
    }
}
