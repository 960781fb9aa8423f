//! The verifier of the GPU level: what a function must obey so that the CUDA writer may print it without a second look.
//!
//! | part | what it finds |
//! |---|---|
//! | `defined` | handles out of range, variables read before every path has assigned them |
//! | `ops`, `stmts`, `matrix` | types, extents and layouts of operands, windows of buffers |
//! | `cluster` | what blocks of a cluster must all do, and do before they end |
//! | `dependent` | device memory touched before the launch in front has ended |
//! | `limits` | what the target lacks, shared memory over the limit or misaligned, warps and registers of roles |
//! | `trace`, `order` | accesses that nothing orders, waits that never end, bytes used twice, products read too early |
//!
//! The last part runs the skeleton of the kernel: scalars, slots and phases for several extents of the views, every loop a few
//! times, tiles not at all. That gives each role a list of events; these are run against each other with a clock per role, so
//! that what no barrier, mbarrier or wait puts in order is found whatever the order was. It knows nothing of the passes that
//! place buffers and insert barriers.

mod cluster;
mod defined;
mod dependent;
mod limits;
mod matrix;
mod ops;
mod order;
mod stmts;
mod trace;

use std::collections::BTreeMap;

use super::func::{GpuFunc, Var, VarType};
use super::memory::{BarrierId, BufferId};
use super::ops::Stmt;
use super::print::{Place, print_annotated};
use super::walk::blocks;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::target::Arch;

/// How far a function has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Buffers have no place yet, and barriers between threads are missing.
    Lowered,
    /// Buffers have their places.
    Placed,
    /// Barriers stand where they must: nothing is missing.
    Complete,
}

/// Whether a complete function is legal for `target`.
///
/// # Errors
/// Everything that is wrong, in text order.
pub fn verify(func: &GpuFunc, target: Arch) -> Result<(), Diagnostics> {
    verify_stage(func, target, Stage::Complete)
}

/// Whether a function is legal for `target` as far as it has come.
///
/// # Errors
/// Everything that is wrong, in text order.
pub fn verify_stage(func: &GpuFunc, target: Arch, stage: Stage) -> Result<(), Diagnostics> {
    let findings = run(func, target, stage);
    if findings.is_empty() {
        return Ok(());
    }
    Err(Diagnostics(findings.into_iter().map(|f| f.diagnostic).collect()))
}

/// The text of `func` with each error as a comment under the line it is about; `None` when there is none.
#[must_use]
pub fn render_errors(func: &GpuFunc, target: Arch) -> Option<String> {
    render_errors_at(func, target, Stage::Complete)
}

/// The same for a function that has come as far as `stage`.
pub(super) fn render_errors_at(func: &GpuFunc, target: Arch, stage: Stage) -> Option<String> {
    let mut notes: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for Finding { place, diagnostic } in run(func, target, stage) {
        let lines = notes.entry(place).or_default();
        lines.push(format!("error: {}", diagnostic.message));
        lines.extend(diagnostic.help.map(|help| format!("help: {help}")));
    }
    (!notes.is_empty()).then(|| print_annotated(func, &notes))
}

/// One thing that is wrong, and the statement it is wrong with.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    place: Place,
    diagnostic: Diagnostic,
}

/// A statement with its number in text order.
struct Node<'f> {
    stmt: &'f Stmt,
    place: usize,
    blocks: Vec<Vec<Node<'f>>>,
}

fn nodes<'f>(stmts: &'f [Stmt], next: &mut usize) -> Vec<Node<'f>> {
    stmts
        .iter()
        .map(|stmt| {
            let place = *next;
            *next += 1;
            let blocks = blocks(&stmt.kind).into_iter().map(|b| nodes(&b.stmts, next)).collect();
            Node { stmt, place, blocks }
        })
        .collect()
}

fn run(func: &GpuFunc, target: Arch, stage: Stage) -> Vec<Finding> {
    let body = nodes(&func.body.stmts, &mut 0);
    let mut v =
        Verifier { func, target, stage, findings: Vec::new(), place: None, loc: Loc::default(), role: None };
    // Each part may rely on what the parts before it have found in order.
    v.defined(&body);
    if v.findings.is_empty() {
        v.types(&body);
        v.limits(&body);
        v.clusters(&body);
        v.dependent(&body);
    }
    if v.findings.is_empty() {
        v.protocols(&body);
    }
    let mut findings = v.findings;
    findings.sort_by_key(|f| f.place);
    findings.dedup();
    findings
}

struct Verifier<'a> {
    func: &'a GpuFunc,
    target: Arch,
    stage: Stage,
    findings: Vec<Finding>,
    /// The statement being looked at, and the author's place of it.
    place: Place,
    loc: Loc,
    /// Threads and barrier number of the role being looked at.
    role: Option<(u32, u32)>,
}

impl<'a> Verifier<'a> {
    fn error(&mut self, message: impl Into<String>) {
        self.report(Diagnostic::new(self.loc, message));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        let finding = Finding { place: self.place, diagnostic };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn at(&mut self, node: &Node<'_>) {
        self.place = Some(node.place);
        self.loc = node.stmt.loc;
    }

    /// The variable as the author knows it.
    fn show(&self, v: Var) -> String {
        match self.func.vars.get(v.index()).and_then(|d| d.name.as_deref()) {
            Some(name) => format!("`{name}`"),
            None => format!("`{v}`"),
        }
    }

    fn show_buffer(&self, b: BufferId) -> String {
        match self.func.buffers.get(b.index()).map(|b| b.name.as_str()) {
            None | Some("") => format!("`{b}`"),
            Some(name) => format!("`#{name}.{}`", b.0),
        }
    }

    fn show_barrier(&self, b: BarrierId) -> String {
        match self.func.barriers.get(b.index()).map(|b| b.name.as_str()) {
            None | Some("") => format!("`{b}`"),
            Some(name) => format!("`&{name}.{}`", b.0),
        }
    }

    fn ty(&self, v: Var) -> &'a VarType {
        &self.func.vars[v.index()].ty
    }
}
