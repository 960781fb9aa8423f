//! Tile level to GPU level: every tile gets registers, every product an instruction, every wait its barrier.
//!
//! The walk follows the statements of the tile level. What is decided ahead of it stands in `plan`; values that are only
//! renamed or repeated forms of others are computed where they are read, in the reader's layout (see `elements`).

mod control;
mod derive;
mod dots;
mod elements;
mod hopper;
mod matrix;
mod memory;
mod order;
mod plan;
mod reciprocal;
mod reduce;
mod reshape;
mod stage;
mod swap;
mod uses;

use std::collections::BTreeMap;

use super::func::{Block, GpuFunc, GpuParam, Var, VarType};
use super::memory::{Buffer, BufferId, Swizzle};
use super::ops::{Coord, Op, Operand, Stmt, StmtKind};
use super::passes::PassCx;
use crate::analysis::affine::{AffineFacts, affine_facts};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::ir::{self, DType, Func, Type, Value, ViewFacts};
use crate::layout::Layout;
use crate::schedule::Schedule;
use crate::target::Arch;
use dots::Way;
use hopper::{ConsumerLoop, LoopRings, Pair, ProgramIds, TensorRing, can_specialise, cluster_of};
use plan::{Plan, definitions, plan};

/// What a launch knows of a view argument beyond its type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ArgFacts {
    /// Contiguity and divisibility.
    pub facts: ViewFacts,
    /// Whether every byte offset inside the view is below 2^31.
    pub is_small: bool,
}

/// Warps of a block when the schedule says nothing.
const DEFAULT_WARPS: i64 = 4;

/// Lowers a verified function for a target, given what the launch knows of each parameter (scalars' entries do not count).
///
/// # Errors
/// What the target cannot do, at the author's place: a tile that does not fit, an illegal knob.
pub fn lower(
    func: &Func,
    schedule: &Schedule,
    target: Arch,
    args: &[ArgFacts],
) -> Result<GpuFunc, Diagnostics> {
    lower_observed(func, schedule, target, args, &PassCx::default())
}

/// [`lower`], with a hook on the stages of the GPU level.
///
/// # Errors
/// As [`lower`], and what the verifier finds in a function that the observer put in the place of another.
///
/// # Panics
/// If the function does not verify.
pub fn lower_observed(
    func: &Func,
    schedule: &Schedule,
    target: Arch,
    args: &[ArgFacts],
    passes: &PassCx<'_>,
) -> Result<GpuFunc, Diagnostics> {
    let mut src = func.clone();
    for (param, arg) in src.params.iter_mut().zip(args) {
        param.facts = arg.facts;
    }
    reshape::cast_before_reshape(&mut src);
    reciprocal::divide_by_rows(&mut src);
    let n_warps = warps(&src, schedule)?;
    let mut facts = affine_facts(&src);
    let wants_roles =
        target.has_wgmma() && schedule.get("warp_specialize") != Some(0) && matches!(n_warps, 4 | 8);
    let planned = |src: &Func, facts: &AffineFacts| {
        let plan = plan(src, facts, n_warps, Way::Warpgroup).ok();
        plan.filter(|p| !p.dots.is_empty() && can_specialise(src, &p.dots))
    };
    let mut specialised = wants_roles.then(|| planned(&src, &facts)).flatten();
    if wants_roles
        && specialised.is_none()
        && let Some(swapped) = swap::swap_operands(&src, n_warps / 4)
    {
        let swapped_facts = affine_facts(&swapped);
        if let Some(plan) = planned(&swapped, &swapped_facts) {
            (src, facts, specialised) = (swapped, swapped_facts, Some(plan));
        }
    }
    let is_specialised = specialised.is_some();
    let plan = match specialised {
        Some(plan) => plan,
        None => plan(&src, &facts, n_warps, Way::Warp)?,
    };
    let cluster = if is_specialised { cluster_of(&src, &plan.dots, schedule)? } else { 1 };
    let mut cx = Lower {
        defs: definitions(&src),
        facts,
        plan,
        schedule,
        out: GpuFunc {
            name: src.name.clone(),
            arch: target.name().to_owned(),
            n_warps,
            cluster,
            // Without a number the compiler saves registers for more blocks than asked for, and spills to do so.
            min_blocks: schedule.get("blocks").unwrap_or(1).clamp(1, 32) as u32,
            // Without a producer that runs ahead, a block gains nothing by a second program.
            is_persistent: is_specialised && schedule.get("persistent") == Some(1),
            params: Vec::new(),
            maps: Vec::new(),
            vars: Vec::new(),
            buffers: Vec::new(),
            barriers: Vec::new(),
            shared_bytes: 0,
            assertions: Vec::new(),
            body: Block::default(),
        },
        open: vec![Block::default()],
        start: Block::default(),
        program_ids: None,
        pair: None,
        is_dependent: false,
        vars: BTreeMap::new(),
        shared: Vec::new(),
        depths: BTreeMap::new(),
        rings: BTreeMap::new(),
        cached: Vec::new(),
        is_specialised,
        tensor_rings: Vec::new(),
        loop_rings: Vec::new(),
        consumer: None,
        has_tensor_stores: false,
        takes_turns: false,
        reader: None,
        accesses: Vec::new(),
        loc: Loc::default(),
        src: &src,
    };
    cx.params(args);
    cx.is_dependent = schedule.get("dependent") == Some(1) && target.has_dependent_launches();
    if is_specialised {
        cx.specialised();
    } else {
        if cx.is_dependent {
            cx.emit(StmtKind::GridWait);
            cx.emit(StmtKind::GridRelease);
        }
        cx.block(&src.body);
    }
    cx.out.body = cx.open.pop().expect("the body should be open");
    let mut out = cx.out;
    super::passes::run(&mut out, target, passes)?;
    Ok(out)
}

fn warps(src: &Func, schedule: &Schedule) -> Result<u32, Diagnostics> {
    let n = schedule.get("warps").unwrap_or(DEFAULT_WARPS);
    if (1..=32).contains(&n) && n.count_ones() == 1 {
        return Ok(n as u32);
    }
    let loc = src.body.stmts.first().map_or_else(Loc::default, |s| s.loc);
    Err(Diagnostic::new(loc, format!("{n} warps of kernel `{}` are not possible", src.name))
        .help("`warps` is a power of two from 1 to 32")
        .into())
}

/// A value computed for readers in one layout, under one renaming.
struct Cached {
    value: Value,
    layout: Layout,
    coords: Vec<Coord>,
    /// Extents of the reader's tile.
    reader: Option<ir::Shape>,
    operand: Operand,
}

impl Cached {
    /// Whether this is what a reader of `value` asks for.
    fn is_for(&self, value: Value, layout: &Layout, coords: &[Coord], reader: Option<ir::Shape>) -> bool {
        self.value == value && self.layout == *layout && self.coords == coords && self.reader == reader
    }
}

/// A tile of a loop's ring, as products of the body read it.
#[derive(Clone, Copy)]
struct RingSlot {
    buffer: BufferId,
    slot: Option<Var>,
}

/// The state of one lowering.
struct Lower<'a> {
    src: &'a Func,
    defs: BTreeMap<Value, ir::Op>,
    facts: AffineFacts,
    plan: Plan,
    schedule: &'a Schedule,
    out: GpuFunc,
    /// Blocks under construction, innermost last.
    open: Vec<Block>,
    /// What the role begins with.
    start: Block,
    /// Indices of the program under way, where blocks walk over programs.
    program_ids: Option<ProgramIds>,
    /// Whether the kernel waits for the launch before it by itself, and lets the one after it in before it ends.
    is_dependent: bool,
    /// The programs of the block's cluster.
    pair: Option<Pair>,
    /// Registers of values.
    vars: BTreeMap<Value, Var>,
    /// Tiles that lie in shared memory for products, from their definition on.
    shared: Vec<(Value, BufferId)>,
    /// How many blocks were open where each tile was made.
    depths: BTreeMap<Value, usize>,
    /// Tiles that the current loop's pipeline brings.
    rings: BTreeMap<Value, RingSlot>,
    /// What was computed for readers in the blocks that are open.
    cached: Vec<Cached>,
    /// Whether a producer brings operands to consumers.
    is_specialised: bool,
    /// Rings that a producer fills.
    tensor_rings: Vec<TensorRing>,
    /// The rings of each loop with tensor copies, in the order of the loops.
    loop_rings: Vec<LoopRings>,
    /// The consumers' loop under way.
    consumer: Option<ConsumerLoop>,
    /// Whether results leave by tensor copies.
    has_tensor_stores: bool,
    /// Whether the two warpgroups of consumers take turns at starting products.
    takes_turns: bool,
    /// Extents of the tile that is being computed from what is asked for.
    reader: Option<ir::Shape>,
    /// Accesses to device memory since the threads last met.
    accesses: Vec<order::GlobalAccess>,
    /// Place of the statement under way.
    loc: Loc,
}

impl Lower<'_> {
    fn params(&mut self, args: &[ArgFacts]) {
        for (i, p) in self.src.params.iter().enumerate() {
            let ty = match self.src.ty(p.value) {
                Type::View(v) => VarType::View(v),
                Type::Tile(t) => VarType::Scalar(t.dtype),
            };
            let var = self.out.new_var(ty, self.src.values[p.value.index()].loc, Some(p.name.clone()));
            self.vars.insert(p.value, var);
            let is_small = args.get(i).is_some_and(|a| a.is_small);
            self.out.params.push(GpuParam { name: p.name.clone(), var, facts: p.facts, is_small });
        }
    }

    fn emit(&mut self, kind: StmtKind) {
        let loc = self.loc;
        self.open.last_mut().expect("a block should be open").stmts.push(Stmt { kind, loc });
    }

    fn set(&mut self, dst: Var, op: Op) {
        self.emit(StmtKind::Set { dst, op });
    }

    /// A new variable set to `op`.
    fn define(&mut self, ty: VarType, op: Op, name: Option<String>) -> Var {
        let var = self.out.new_var(ty, self.loc, name);
        self.set(var, op);
        var
    }

    fn scalar(&mut self, dtype: DType, op: Op) -> Var {
        self.define(VarType::Scalar(dtype), op, None)
    }

    fn const_i32(&mut self, x: i32) -> Var {
        self.scalar(DType::I32, Op::Const(ir::Const { dtype: DType::I32, bits: u64::from(x as u32) }))
    }

    fn name_of(&self, v: Value) -> Option<String> {
        self.src.values[v.index()].name.clone()
    }

    /// The variable of a scalar, a view, or a tile that has registers.
    fn var(&self, v: Value) -> Var {
        *self.vars.get(&v).expect("a value should be lowered before it is read")
    }

    fn vars_of(&self, values: &[Value]) -> Vec<Var> {
        values.iter().map(|&v| self.var(v)).collect()
    }

    fn rank(&self, v: Value) -> usize {
        self.src.ty(v).tile().map_or(0, |t| t.shape.rank())
    }

    /// A buffer of one slot.
    fn buffer(&mut self, buffer: Buffer) -> BufferId {
        self.out.buffers.push(buffer);
        BufferId(self.out.buffers.len() as u32 - 1)
    }

    /// A buffer for exchanges between threads: rows without padding.
    fn scratch(&mut self, name: &str, dtype: DType, rows: u32, columns: u32) -> BufferId {
        let pitch_bytes = columns * dtype.size_bytes() as u32;
        self.buffer(Buffer {
            name: name.to_owned(),
            dtype,
            rows,
            columns,
            panels: 1,
            slots: 1,
            pitch_bytes,
            swizzle: Swizzle::None,
            align_bytes: 16,
            offset_bytes: 0,
        })
    }

    /// Notes that values are made anew each time the block about to be opened runs.
    fn bind_depth(&mut self, values: &[Value]) {
        let depth = self.open.len() + 1;
        self.depths.extend(values.iter().map(|&v| (v, depth)));
    }

    /// Whether a value is made anew each time the open block runs.
    fn is_from_this_block(&self, v: Value) -> bool {
        self.depths.get(&v) == Some(&self.open.len())
    }

    /// Runs `body` in a block of its own.
    fn nested(&mut self, body: impl FnOnce(&mut Self)) -> Block {
        self.open.push(Block::default());
        let marks = (self.cached.len(), self.shared.len());
        body(self);
        self.cached.truncate(marks.0);
        self.shared.truncate(marks.1);
        self.open.pop().expect("the nested block should be open")
    }
}
