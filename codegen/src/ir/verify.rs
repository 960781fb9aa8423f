//! The verifier: what makes a function legal, and the facts that follow.
//!
//! A function that passes obeys, and an emitter may rely on without a second look:
//! - every value is defined once, and read only after its definition, in the same block or one inside it;
//! - every operation's operands and result have the types of its rule ([`result_type`]);
//! - tiles have rank 0 to 4, no extent of 0 and at most 2^24 elements; views have rank 1 to 5;
//! - carried values are tiles or scalars, as many and of the same types as initial values, region parameters, yields and
//!   results; conditions are bool scalars, loop bounds i32 scalars, and a constant step is positive;
//! - offsets are i32 scalars and indices i32 tiles of one shape, one per axis of the view; only a mutable view is written.
//!
//! All errors are collected. Not checked: that a step known only at run time is positive, and that different program
//! instances write different elements.

mod rules;
mod stmts;

use std::collections::BTreeMap;

use super::builder::MAX_TILE_ELEMENTS;
use super::func::{Block, Func, Stmt, Value};
use super::print::{Place, print_annotated};
use super::types::{MAX_RANK, Type};
use crate::diag::{Diagnostic, Diagnostics, Loc};
pub use rules::result_type;

/// The largest rank of a tile.
pub const MAX_TILE_RANK: usize = 4;

/// How a value comes to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Definition {
    /// A run-time parameter of the kernel, by position.
    Param(usize),
    /// An operation.
    Op,
    /// A parameter of a region: an induction variable or a carried value.
    RegionParam,
    /// A result of a `for`, `while` or `if`.
    Result,
}

/// What the verifier learned of a legal function; every vector is indexed by value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// How each value comes to be; `None` when the arena holds a value that nothing defines.
    pub definition: Vec<Option<Definition>>,
    /// How often each value is read, yields included.
    pub uses: Vec<u32>,
    /// Number of `for` and `while` loops around each definition.
    pub loop_depth: Vec<u32>,
}

/// One thing that is wrong, and the statement it is wrong with.
struct Finding {
    place: Place,
    diagnostic: Diagnostic,
}

/// Whether `func` is legal, and what follows.
///
/// # Errors
/// Everything that is wrong, in text order.
pub fn verify(func: &Func) -> Result<Facts, Diagnostics> {
    let verifier = run(func);
    if verifier.findings.is_empty() {
        Ok(verifier.facts)
    } else {
        Err(Diagnostics(verifier.findings.into_iter().map(|f| f.diagnostic).collect()))
    }
}

/// The text of `func` with each error as a comment under the line it is about; `None` when there is none.
#[must_use]
pub fn render_errors(func: &Func) -> Option<String> {
    let findings = run(func).findings;
    let mut notes: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for Finding { place, diagnostic } in findings {
        let lines = notes.entry(place).or_default();
        lines.push(format!("error: {}", diagnostic.message));
        lines.extend(diagnostic.help.map(|help| format!("help: {help}")));
    }
    (!notes.is_empty()).then(|| print_annotated(func, &notes))
}

fn run(func: &Func) -> Verifier<'_> {
    let n = func.values.len();
    let mut verifier = Verifier {
        func,
        findings: Vec::new(),
        visible: vec![false; n],
        facts: Facts { definition: vec![None; n], uses: vec![0; n], loop_depth: vec![0; n] },
        place: None,
        n_stmts: 0,
        loc: Loc::default(),
        depth: 0,
    };
    verifier.func();
    verifier
}

struct Verifier<'a> {
    func: &'a Func,
    findings: Vec<Finding>,
    visible: Vec<bool>,
    facts: Facts,
    /// The statement being looked at, and the author's place of it.
    place: Place,
    loc: Loc,
    n_stmts: usize,
    depth: u32,
}

impl Verifier<'_> {
    fn error(&mut self, message: impl Into<String>) {
        self.report(Diagnostic::new(self.loc, message));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.findings.push(Finding { place: self.place, diagnostic });
    }

    /// The value as the author knows it.
    fn show(&self, v: Value) -> String {
        match self.func.values.get(v.index()).and_then(|d| d.name.as_deref()) {
            Some(name) => format!("`{name}`"),
            None => format!("`{v}`"),
        }
    }

    fn func(&mut self) {
        let func = self.func;
        for (i, param) in func.params.iter().enumerate() {
            self.loc = func.values.get(param.value.index()).map(|d| d.loc).unwrap_or_default();
            self.define(param.value, Definition::Param(i));
            if func.params[..i].iter().any(|p| p.name == param.name) {
                self.error(format!("two parameters are named `{}`", param.name));
            }
            if func
                .values
                .get(param.value.index())
                .and_then(|d| d.ty.tile())
                .is_some_and(|t| t.shape.rank() > 0)
            {
                self.error(format!(
                    "parameter `{}` is a tile; a parameter is a view or a scalar",
                    param.name
                ));
            }
            if param.facts.divisible == 0 {
                self.error(format!("parameter `{}` is declared divisible by 0", param.name));
            }
        }
        self.loc = Loc::default();
        if !func.body.params.is_empty() || !func.body.yields.is_empty() {
            self.error("the kernel's body takes no block parameters and yields nothing");
        }
        self.block(&func.body);
    }

    /// Checks a block; its definitions, parameters included, are visible to its end.
    fn block(&mut self, block: &Block) {
        let mut scope = Vec::new();
        for &param in &block.params {
            self.define(param, Definition::RegionParam);
            scope.push(param);
        }
        let outer = (self.place, self.loc);
        for stmt in &block.stmts {
            self.stmt(stmt);
            scope.extend(stmt.kind.results());
        }
        (self.place, self.loc) = outer;
        for &v in &block.yields {
            self.read(v);
        }
        for v in scope {
            if let Some(visible) = self.visible.get_mut(v.index()) {
                *visible = false;
            }
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.place = Some(self.n_stmts);
        self.loc = stmt.loc;
        self.n_stmts += 1;
        let operands = stmt.kind.operands();
        let mut known = true;
        for &v in &operands {
            known &= self.read(v);
        }
        // Types of values that do not exist cannot be compared; everything else about the statement still can.
        self.kind(&stmt.kind, known);
    }

    /// Notes that `v` is read here; whether it exists at all.
    fn read(&mut self, v: Value) -> bool {
        let Some(&visible) = self.visible.get(v.index()) else {
            self.error(format!("`{v}` is not a value of this kernel"));
            return false;
        };
        self.facts.uses[v.index()] += 1;
        if !visible {
            let name = self.show(v);
            self.report(
                Diagnostic::new(
                    self.loc,
                    format!("{name} is read before its definition or outside the block it is defined in"),
                )
                .help("hand it out of the block as a result, or define it before the block"),
            );
        }
        true
    }

    fn define(&mut self, v: Value, how: Definition) {
        let Some(data) = self.func.values.get(v.index()) else {
            self.error(format!("`{v}` is not a value of this kernel"));
            return;
        };
        if self.facts.definition[v.index()].is_some() {
            let name = self.show(v);
            self.error(format!("{name} is defined twice"));
        }
        self.facts.definition[v.index()] = Some(how);
        self.facts.loop_depth[v.index()] = self.depth;
        self.visible[v.index()] = true;
        self.limits(data.ty);
    }

    fn limits(&mut self, ty: Type) {
        match ty {
            Type::View(view) => {
                if !(1..=MAX_RANK).contains(&usize::from(view.rank)) {
                    self.error(format!("a view has rank 1 to {MAX_RANK}, not {}", view.rank));
                }
            }
            Type::Tile(tile) => {
                let shape = tile.shape;
                if shape.rank() > MAX_TILE_RANK {
                    self.error(format!(
                        "{tile} has rank {}; a tile has rank 0 to {MAX_TILE_RANK}",
                        shape.rank()
                    ));
                }
                let n = shape.as_slice().iter().fold(1u64, |n, &d| n.saturating_mul(u64::from(d)));
                if n == 0 {
                    self.error(format!("{tile} has an extent of 0"));
                }
                if n > MAX_TILE_ELEMENTS as u64 {
                    let message = format!("{tile} has {n} elements, over the limit of {MAX_TILE_ELEMENTS}");
                    self.report(
                        Diagnostic::new(self.loc, message).help("choose smaller extents in the schedule"),
                    );
                }
            }
        }
    }
}
