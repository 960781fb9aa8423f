//! The compiler's state and its walk over statements.
//!
//! Elementwise operations, shape changes and loads are *lazy*: nothing is emitted until something needs their elements (a
//! store, a reduction, a dot, a region). Each need is a sink; neighbouring sinks over one shape gather in `pending` and
//! become one fused group (see `group`). Everything else is emitted at once, in program order.

use super::group::{Pending, Sink};
use super::micro::{self, Isa};
use super::program::{
    AssertPlan, Buf, CpuProgram, DotPlan, Group, Inst, ParamKind, Point, PrintPlan, Reg, Shown, Slot,
};
use super::uses::{BlockId, Uses};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::ir::{Block, DType, Func, Op, ReduceOp, Stmt, StmtKind, TileType, Type, Value};

/// Where a value's elements are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Not reached yet.
    Unset,
    /// To be computed when needed.
    Lazy,
    /// Produced by a sink that waits in `pending`.
    Pending,
    Reg(Reg),
    View(Slot),
    Tile(Buf),
}

/// An arena buffer under construction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufInfo {
    pub bytes: u32,
    /// The value that the buffer holds at this point of the walk.
    pub occupant: Option<Value>,
    /// Whether a carried value lives here, so that only its next value should move in.
    pub is_home: bool,
}

/// State of one compilation.
pub(crate) struct Compiler<'f> {
    pub func: &'f Func,
    pub isa: Isa,
    pub uses: Uses<'f>,
    place: Vec<Place>,
    /// Places as they were, to restore at the end of a block.
    place_log: Vec<(Value, Place)>,
    pub insts: Vec<Inst>,
    pub points: Vec<Point>,
    pub groups: Vec<Group>,
    pub dots: Vec<DotPlan>,
    pub prints: Vec<PrintPlan>,
    pub asserts: Vec<AssertPlan>,
    n_regs: u32,
    n_views: u32,
    pub bufs: Vec<BufInfo>,
    pub pending: Option<Pending>,
    /// Statements whose group is being built.
    pub flushing: Vec<usize>,
    /// Memory reads that are still lazy, with their place in program order.
    pub lazy_reads: Vec<(Value, u32)>,
    pub read_seq: Vec<u32>,
    pub clock: u32,
    /// The buffer that a value had best be computed into.
    pub hint: Vec<Option<Buf>>,
    /// Instruction ranges of loops.
    pub loops: Vec<(u32, u32)>,
    pub block: BlockId,
    pub n_blocks: usize,
    pub stmt: usize,
    pub errors: Vec<Diagnostic>,
}

/// Bytes of a tile in the arena.
pub(crate) fn tile_bytes(t: TileType) -> u32 {
    u32::try_from(t.shape.elements() * micro::arena_bytes(t.dtype)).unwrap_or(u32::MAX)
}

/// Compiles `func`.
pub(crate) fn compile(func: &Func, isa: Isa) -> Result<CpuProgram, Diagnostics> {
    let n = func.values.len();
    let mut c = Compiler {
        func,
        isa,
        uses: Uses::new(func),
        place: vec![Place::Unset; n],
        place_log: Vec::new(),
        insts: Vec::new(),
        points: Vec::new(),
        groups: Vec::new(),
        dots: Vec::new(),
        prints: Vec::new(),
        asserts: Vec::new(),
        n_regs: 0,
        n_views: 0,
        bufs: Vec::new(),
        pending: None,
        flushing: Vec::new(),
        lazy_reads: Vec::new(),
        read_seq: vec![0; n],
        clock: 0,
        hint: vec![None; n],
        loops: Vec::new(),
        block: 0,
        n_blocks: 1,
        stmt: 0,
        errors: Vec::new(),
    };
    let mut params = Vec::new();
    let write_only = super::streams::write_only(func, &c.uses);
    for p in &func.params {
        params.push(match func.ty(p.value) {
            Type::View(v) => {
                let slot = c.new_view();
                c.set_place(p.value, Place::View(slot));
                ParamKind::View {
                    slot,
                    dtype: v.dtype,
                    rank: v.rank,
                    write_only: write_only[p.value.index()],
                }
            }
            Type::Tile(t) if t.shape.rank() == 0 => {
                let reg = c.new_reg();
                c.set_place(p.value, Place::Reg(reg));
                ParamKind::Scalar { reg, dtype: t.dtype }
            }
            Type::Tile(t) => {
                let loc = func.values[p.value.index()].loc;
                let message = format!(
                    "parameter `{}` is a tile of {}; a parameter should be a view or a scalar",
                    p.name, t.shape
                );
                return Err(Diagnostic::new(loc, message).into());
            }
        });
    }
    c.stmts(&func.body.stmts);
    c.flush();
    if !c.errors.is_empty() {
        return Err(Diagnostics(c.errors));
    }
    super::plan::finish(c, params)
}

impl<'f> Compiler<'f> {
    pub(crate) fn new_reg(&mut self) -> Reg {
        self.n_regs += 1;
        self.n_regs - 1
    }

    pub(crate) fn new_view(&mut self) -> Slot {
        self.n_views += 1;
        self.n_views - 1
    }

    pub(crate) const fn counts(&self) -> (u32, u32) {
        (self.n_regs, self.n_views)
    }

    pub(crate) fn new_buf(&mut self, bytes: u32) -> Buf {
        self.bufs.push(BufInfo { bytes, occupant: None, is_home: false });
        (self.bufs.len() - 1) as Buf
    }

    pub(crate) fn place(&self, v: Value) -> Place {
        self.place[v.index()]
    }

    pub(crate) fn set_place(&mut self, v: Value, p: Place) {
        self.place_log.push((v, self.place[v.index()]));
        self.place[v.index()] = p;
        if let Place::Tile(b) = p {
            self.bufs[b as usize].occupant = Some(v);
        }
    }

    pub(crate) fn op_of(&self, v: Value) -> Option<&'f Op> {
        self.uses.defs[v.index()].map(|(op, _)| op)
    }

    /// Whether `v` is defined in the block being compiled, so that its storage may be decided here.
    pub(crate) fn is_local(&self, v: Value) -> bool {
        self.uses.block_of[v.index()] == self.block
    }

    pub(crate) fn error(&mut self, loc: Loc, message: String) {
        self.errors.push(Diagnostic::new(loc, message));
    }

    /// The register of a scalar.
    pub(crate) fn reg(&mut self, v: Value) -> Reg {
        if self.place(v) == Place::Pending {
            self.flush();
        }
        if let Place::Reg(r) = self.place(v) { r } else { self.broken(v) }
    }

    /// The slot of a view.
    pub(crate) fn view(&mut self, v: Value) -> Slot {
        if let Place::View(s) = self.place(v) { s } else { self.broken(v) }
    }

    pub(crate) fn broken(&mut self, v: Value) -> u32 {
        let data = &self.func.values[v.index()];
        let (loc, message) =
            (data.loc, format!("value {v} of type {} is read before it is defined", data.ty));
        self.error(loc, message);
        0
    }

    /// Compiles statements in order.
    pub(crate) fn stmts(&mut self, stmts: &'f [Stmt]) {
        for stmt in stmts {
            self.statement(stmt);
        }
    }

    /// Compiles the statements of a region, then `at_end` inside its scope.
    pub(crate) fn region(
        &mut self,
        block: &'f Block,
        enter: impl FnOnce(&mut Self),
        at_end: impl FnOnce(&mut Self),
    ) {
        let outer = std::mem::replace(&mut self.block, self.n_blocks);
        self.n_blocks += 1;
        let mark = self.place_log.len();
        let reads = std::mem::take(&mut self.lazy_reads);
        enter(self);
        self.stmts(&block.stmts);
        self.flush();
        at_end(self);
        self.flush();
        // What was computed in here for values of outer blocks is not there on every path.
        while self.place_log.len() > mark {
            if let Some((v, p)) = self.place_log.pop() {
                self.place[v.index()] = p;
            }
        }
        self.lazy_reads = reads;
        self.block = outer;
    }

    fn statement(&mut self, stmt: &'f Stmt) {
        let s = self.stmt;
        self.stmt += 1;
        match &stmt.kind {
            StmtKind::Let { value, op } => {
                if self.uses.live[value.index()] {
                    self.definition(*value, op, s, stmt.loc);
                } else {
                    self.uses.entry_done[s] = true;
                }
            }
            StmtKind::Store { view, offsets, value } => {
                if self.func.tile_ty(*value).shape.rank() == 0 {
                    self.flush();
                    self.guard_reads(u32::MAX);
                    self.store_point(*view, offsets, *value, None);
                    self.uses.entry_done[s] = true;
                } else {
                    for &o in offsets {
                        self.reg(o);
                    }
                    self.add_sink(Sink::Store {
                        stmt: s,
                        view: *view,
                        offsets: offsets.clone(),
                        value: *value,
                    });
                }
            }
            StmtKind::Scatter { view, indices, value, mask } => {
                if self.func.tile_ty(*value).shape.rank() == 0 {
                    self.flush();
                    self.guard_reads(u32::MAX);
                    self.store_point(*view, indices, *value, *mask);
                    self.uses.entry_done[s] = true;
                } else {
                    self.add_sink(Sink::Scatter {
                        stmt: s,
                        view: *view,
                        indices: indices.clone(),
                        value: *value,
                        mask: *mask,
                    });
                }
            }
            StmtKind::Print { label, values } => {
                let values = values.iter().map(|&v| self.shown(v)).collect();
                self.flush();
                self.prints.push(PrintPlan { label: label.clone(), values });
                self.insts.push(Inst::Print((self.prints.len() - 1) as u32));
                self.uses.entry_done[s] = true;
            }
            StmtKind::Assert { cond, message } => {
                let cond = self.shown(*cond);
                self.flush();
                self.asserts.push(AssertPlan { cond, message: message.clone(), loc: stmt.loc });
                self.insts.push(Inst::Assert((self.asserts.len() - 1) as u32));
                self.uses.entry_done[s] = true;
            }
            StmtKind::For { .. } | StmtKind::While { .. } | StmtKind::If { .. } => self.control(stmt, s),
        }
    }

    fn shown(&mut self, v: Value) -> Shown {
        let t = self.func.tile_ty(v);
        if t.shape.rank() == 0 {
            Shown::Reg { reg: self.reg(v), dtype: t.dtype }
        } else {
            Shown::Tile { buf: self.demand_tile(v), dtype: t.dtype, elements: t.shape.elements() as u32 }
        }
    }

    fn definition(&mut self, v: Value, op: &'f Op, s: usize, loc: Loc) {
        let Type::Tile(t) = self.func.ty(v) else {
            self.view_definition(v, op);
            self.uses.entry_done[s] = true;
            return;
        };
        if let Op::Reduce(red, a, axis) = op
            && self.func.tile_ty(*a).shape.dim(*axis as usize) != 1
        {
            self.reduce(v, *red, *a, *axis, s);
            return;
        }
        if let Op::Dot { a, b, acc } = op {
            self.dot(v, *a, *b, *acc, s, loc);
            return;
        }
        if let Op::ArgReduce(arg, a, axis) = op {
            let src = self.demand_tile(*a);
            let ty = self.func.tile_ty(*a);
            let dims = ty.shape.to_vec();
            let axis = *axis as usize;
            let dst = self.new_buf(tile_bytes(t).max(4));
            self.insts.push(Inst::ArgReduce {
                op: *arg,
                dtype: ty.dtype,
                dst,
                src,
                outer: dims[..axis].iter().product::<usize>() as u32,
                axis: dims[axis] as u32,
                inner: dims[axis + 1..].iter().product::<usize>() as u32,
            });
            self.uses.entry_done[s] = true;
            self.define_tile_or_elem(v, dst);
            return;
        }
        if t.shape.rank() == 0 {
            self.scalar_definition(v, op, t.dtype);
            self.uses.entry_done[s] = true;
            return;
        }
        if op.reads_memory() {
            self.clock += 1;
            self.read_seq[v.index()] = self.clock;
            self.lazy_reads.push((v, self.clock));
            // Offsets, pads and views are settled now; only the elements wait.
            for x in op.operands() {
                if self.func.ty(x).tile().is_some_and(|t| t.shape.rank() == 0) {
                    self.reg(x);
                }
            }
        }
        self.set_place(v, Place::Lazy);
    }

    /// Makes `v` the contents of `buf`, or of a register when it is a scalar.
    pub(crate) fn define_tile_or_elem(&mut self, v: Value, buf: Buf) {
        let t = self.func.tile_ty(v);
        if t.shape.rank() == 0 {
            let dst = self.new_reg();
            self.insts.push(Inst::ReadElem { dst, src: buf, wide: t.dtype == DType::I64 });
            self.set_place(v, Place::Reg(dst));
        } else {
            self.set_place(v, Place::Tile(buf));
        }
    }

    fn reduce(&mut self, v: Value, op: ReduceOp, src: Value, axis: u8, s: usize) {
        self.add_sink(Sink::Reduce { stmt: s, value: v, op, src, axis });
        if matches!(self.pending, Some(ref p) if p.sinks.iter().any(|k| k.defines() == Some(v))) {
            self.set_place(v, Place::Pending);
        }
    }
}
