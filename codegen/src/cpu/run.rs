//! The interpreter: one program instance after another over a reusable arena.
//!
//! An instruction is a few nanoseconds; nothing is allocated, formatted or looked up while it runs, but for `print` and errors.
#![allow(unsafe_code, reason = "reads and writes the arena and the launch's views through raw addresses")]

use super::dot_run::run_dot;
use super::memory::{MemRun, RtView, point_address, read_element, write_element};
use super::micro;
use super::program::{CpuProgram, Inst, ParamKind, Shown};
use super::scalar;
use super::strip_run::run_group;
use crate::diag::Loc;
use crate::ir::{ArgOp, Const, DType};
use crate::launch::{Arg, DeviceLog, RunError, ViewArg};

/// One cache line of arena memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Scratch memory of one worker, 64-byte aligned, reused from instance to instance and grown on demand.
#[derive(Default)]
pub struct Arena {
    lines: Vec<Line>,
    regs: Vec<u64>,
    views: Vec<RtView>,
    ptrs: Vec<*mut u8>,
    runs: Vec<MemRun>,
}

// SAFETY: the addresses it holds are only meaningful, and only used, during one call of `run`.
unsafe impl Send for Arena {}

impl Arena {
    /// An empty arena.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held at present.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.lines.len() * 64
    }

    /// Makes room for `program`.
    pub fn reserve(&mut self, program: &CpuProgram) {
        self.fit(program);
    }

    /// Overwrites all of it, registers included; for tests that nothing reads what it has not written.
    pub fn poison(&mut self) {
        self.lines.fill(Line([0xff; 64]));
        self.regs.fill(u64::MAX);
    }

    #[inline]
    fn fit(&mut self, p: &CpuProgram) {
        let lines = p.arena_bytes as usize / 64 + 2;
        if self.lines.len() < lines {
            self.lines.resize(lines, Line([0; 64]));
        }
        if self.regs.len() < p.n_regs as usize {
            self.regs.resize(p.n_regs as usize, 0);
        }
        if self.views.len() < p.n_views as usize {
            self.views.resize(p.n_views as usize, RtView::EMPTY);
        }
        if self.ptrs.len() < p.max_slots as usize {
            self.ptrs.resize(p.max_slots as usize, std::ptr::null_mut());
        }
        if self.runs.len() < p.max_mems as usize {
            self.runs.resize(p.max_mems as usize, MemRun::EMPTY);
        }
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Arena({} bytes)", self.capacity_bytes())
    }
}

/// What instructions work on.
pub(crate) struct State<'a> {
    pub arena: *mut u8,
    pub regs: &'a mut [u64],
    pub views: &'a mut [RtView],
    pub ptrs: &'a mut [*mut u8],
    pub runs: &'a mut [MemRun],
}

/// Runs one program instance.
///
/// Stores past the caches may still be under way when it returns: [`micro::fence`] before the outputs are handed to another thread.
///
/// # Errors
/// A failed `assert` of the kernel, or arguments that are not those of its parameters.
///
/// # Safety
/// Every view argument describes memory that is valid for reads, and for writes where it is mutable, and that no other
/// thread accesses in conflict during the call.
pub unsafe fn run(
    program: &CpuProgram,
    args: &[Arg],
    grid: [u32; 3],
    pid: [u32; 3],
    arena: &mut Arena,
    log: &dyn DeviceLog,
) -> Result<(), RunError> {
    arena.fit(program);
    let mut state = State {
        arena: arena.lines.as_mut_ptr().cast(),
        regs: &mut arena.regs,
        views: &mut arena.views,
        ptrs: &mut arena.ptrs,
        runs: &mut arena.runs,
    };
    bind(program, args, pid, &mut state)?;
    // SAFETY: the arena fits the program, the views are valid by this function's own contract.
    unsafe { execute(program, grid, pid, &mut state, log) }
}

/// Puts the arguments into registers and view slots.
fn bind(program: &CpuProgram, args: &[Arg], pid: [u32; 3], state: &mut State<'_>) -> Result<(), RunError> {
    let wrong = |message: String| RunError { message, loc: Loc::default(), pid };
    if args.len() != program.params.len() {
        let (name, want, got) = (&program.name, program.params.len(), args.len());
        return Err(wrong(format!("kernel `{name}` takes {want} arguments, {got} were given")));
    }
    for (i, (kind, arg)) in program.params.iter().zip(args).enumerate() {
        match (kind, arg) {
            (ParamKind::View { slot, dtype, rank, write_only }, Arg::View(v))
                if v.dtype == *dtype && v.rank == *rank =>
            {
                let past_caches = *write_only && bytes(v) > program.kept_bytes();
                state.views[*slot as usize] =
                    RtView { ptr: v.ptr, dims: v.dims, strides: v.strides, past_caches };
            }
            (ParamKind::Scalar { reg, dtype }, Arg::Scalar(bits)) => {
                state.regs[*reg as usize] = scalar::from_encoding(Const { dtype: *dtype, bits: *bits });
            }
            (ParamKind::View { dtype, rank, .. }, Arg::View(v)) => {
                let (name, got, got_rank) = (&program.name, v.dtype, v.rank);
                return Err(wrong(format!(
                    "argument {i} of kernel `{name}` should be a view of {dtype} of rank {rank}, not of {got} of rank {got_rank}"
                )));
            }
            (ParamKind::View { .. }, Arg::Scalar(_)) => {
                return Err(wrong(format!(
                    "argument {i} of kernel `{}` should be a view, not a scalar",
                    program.name
                )));
            }
            (ParamKind::Scalar { .. }, Arg::View(_)) => {
                return Err(wrong(format!(
                    "argument {i} of kernel `{}` should be a scalar, not a view",
                    program.name
                )));
            }
        }
    }
    Ok(())
}

/// Bytes of the elements of a view.
fn bytes(view: &ViewArg) -> usize {
    let dims = view.dims[..usize::from(view.rank)].iter();
    dims.fold(view.dtype.size_bytes(), |n, &d| n.saturating_mul(usize::try_from(d).unwrap_or(0)))
}

unsafe fn execute(
    program: &CpuProgram,
    grid: [u32; 3],
    pid: [u32; 3],
    state: &mut State<'_>,
    log: &dyn DeviceLog,
) -> Result<(), RunError> {
    let mut pc = 0usize;
    while let Some(inst) = program.insts.get(pc) {
        pc += 1;
        match inst {
            Inst::Const { dst, bits } => state.regs[*dst as usize] = *bits,
            Inst::ProgramId { dst, axis } => state.regs[*dst as usize] = u64::from(pid[*axis as usize]),
            Inst::NumPrograms { dst, axis } => state.regs[*dst as usize] = u64::from(grid[*axis as usize]),
            Inst::Mov { dst, src } => state.regs[*dst as usize] = state.regs[*src as usize],
            Inst::Unary { op, dtype, dst, a } => {
                state.regs[*dst as usize] = scalar::unary(*op, *dtype, state.regs[*a as usize]);
            }
            Inst::Binary { op, dtype, dst, a, b } => {
                let (a, b) = (state.regs[*a as usize], state.regs[*b as usize]);
                state.regs[*dst as usize] = scalar::binary(*op, *dtype, a, b);
            }
            Inst::Fma { dtype, dst, a, b, c } => {
                let [a, b, c] = [*a, *b, *c].map(|r| state.regs[r as usize]);
                state.regs[*dst as usize] = scalar::fma(*dtype, a, b, c);
            }
            Inst::Select { dst, cond, a, b } => {
                let chosen = if state.regs[*cond as usize] as u32 != 0 { *a } else { *b };
                state.regs[*dst as usize] = state.regs[chosen as usize];
            }
            Inst::Cast { from, to, dst, a } => {
                state.regs[*dst as usize] = scalar::cast(*from, *to, state.regs[*a as usize]);
            }
            Inst::ViewDim { dst, view, axis } => {
                let extent = state.views[*view as usize].dims[*axis as usize];
                state.regs[*dst as usize] = u64::from(extent.clamp(0, i64::from(i32::MAX)) as u32);
            }
            Inst::ViewSelect { dst, view, axis, index, size } => {
                let index = i64::from(state.regs[*index as usize] as i32);
                state.views[*dst as usize] =
                    state.views[*view as usize].select(*axis as usize, index, usize::from(*size));
            }
            Inst::ViewSlice { dst, view, axis, start, len, size } => {
                let [start, len] = [*start, *len].map(|r| i64::from(state.regs[r as usize] as i32));
                state.views[*dst as usize] =
                    state.views[*view as usize].slice(*axis as usize, start, len, usize::from(*size));
            }
            Inst::ViewPermute { dst, view, perm } => {
                state.views[*dst as usize] = state.views[*view as usize].permute(perm);
            }
            Inst::ViewMov { dst, src } => state.views[*dst as usize] = state.views[*src as usize],
            Inst::LoadPoint { dst, point } => {
                let p = &program.points[*point as usize];
                state.regs[*dst as usize] = match point_address(p, state.views, state.regs) {
                    // SAFETY: the address is in bounds of a valid view.
                    Some(at) => unsafe { read_element(p.dtype, at) },
                    None => p.pad.map_or(0, |r| state.regs[r as usize]),
                };
            }
            Inst::StorePoint { src, point } => {
                let p = &program.points[*point as usize];
                if let Some(at) = point_address(p, state.views, state.regs) {
                    // SAFETY: the address is in bounds of a valid, mutable view.
                    unsafe { write_element(p.dtype, at, state.regs[*src as usize]) };
                }
            }
            Inst::ReadElem { dst, src, wide } => {
                // SAFETY: the buffer holds at least one element.
                state.regs[*dst as usize] = unsafe {
                    let at = state.arena.add(program.buf_offsets[*src as usize] as usize);
                    if *wide { *at.cast::<u64>() } else { u64::from(*at.cast::<u32>()) }
                };
            }
            // SAFETY: the state fits the program.
            Inst::Group(g) => unsafe { run_group(program, &program.groups[*g as usize], state) },
            // SAFETY: as above.
            Inst::Dot(d) => unsafe { run_dot(program, &program.dots[*d as usize], state) },
            Inst::CopyTile { dst, src, bytes } => {
                let (to, from) = (program.buf_offsets[*dst as usize], program.buf_offsets[*src as usize]);
                // SAFETY: two live buffers of at least this size, which do not overlap.
                unsafe {
                    let (to, from) = (state.arena.add(to as usize), state.arena.add(from as usize));
                    std::ptr::copy_nonoverlapping(from, to, *bytes as usize);
                }
            }
            Inst::ArgReduce { op, dtype, dst, src, outer, axis, inner } => {
                // SAFETY: the buffers were planned for these extents.
                unsafe { arg_reduce(program, state, *op, *dtype, *dst, *src, [*outer, *axis, *inner]) };
            }
            Inst::Print(p) => print(program, *p, pid, state, log),
            Inst::Assert(a) => {
                let plan = &program.asserts[*a as usize];
                if !all_true(program, &plan.cond, state) {
                    return Err(RunError { message: plan.message.clone(), loc: plan.loc, pid });
                }
            }
            Inst::Jump(target) => pc = *target as usize,
            Inst::JumpUnless { cond, target } => {
                if state.regs[*cond as usize] as u32 == 0 {
                    pc = *target as usize;
                }
            }
            Inst::ForEnter { iv, lo, hi, step, exit, loc } => {
                let step = state.regs[*step as usize] as i32;
                if step <= 0 {
                    let message = format!("the step of a range should be positive, it is {step}");
                    return Err(RunError { message, loc: *loc, pid });
                }
                let lo = state.regs[*lo as usize];
                state.regs[*iv as usize] = lo;
                if lo as i32 >= state.regs[*hi as usize] as i32 {
                    pc = *exit as usize;
                }
            }
            Inst::ForNext { iv, hi, step, body } => {
                // In 64 bits: the last step may pass the end of i32.
                let next =
                    i64::from(state.regs[*iv as usize] as i32) + i64::from(state.regs[*step as usize] as i32);
                if next < i64::from(state.regs[*hi as usize] as i32) {
                    state.regs[*iv as usize] = u64::from(next as i32 as u32);
                    pc = *body as usize;
                }
            }
        }
    }
    Ok(())
}

unsafe fn arg_reduce(
    p: &CpuProgram,
    state: &State<'_>,
    op: ArgOp,
    dtype: DType,
    dst: u32,
    src: u32,
    dims: [u32; 3],
) {
    let [outer, axis, inner] = dims.map(|d| d as usize);
    // SAFETY: the caller vouches for the buffers.
    unsafe {
        let to = state.arena.add(p.buf_offsets[dst as usize] as usize);
        let from = state.arena.add(p.buf_offsets[src as usize] as usize);
        micro::arg_reduce(p.isa, op, dtype, to.cast(), from, outer, axis, inner);
    }
}

/// The register form of element `i` of what is shown.
fn element(p: &CpuProgram, shown: &Shown, i: usize, state: &State<'_>) -> u64 {
    match shown {
        Shown::Reg { reg, .. } => state.regs[*reg as usize],
        Shown::Tile { buf, dtype, .. } => {
            // SAFETY: `i` is below the tile's number of elements.
            unsafe {
                let at = state.arena.add(p.buf_offsets[*buf as usize] as usize);
                if *dtype == DType::I64 {
                    *at.cast::<u64>().add(i)
                } else {
                    u64::from(*at.cast::<u32>().add(i))
                }
            }
        }
    }
}

const fn shape_of(shown: &Shown) -> (DType, usize) {
    match shown {
        Shown::Reg { dtype, .. } => (*dtype, 1),
        Shown::Tile { dtype, elements, .. } => (*dtype, *elements as usize),
    }
}

fn all_true(p: &CpuProgram, cond: &Shown, state: &State<'_>) -> bool {
    (0..shape_of(cond).1).all(|i| element(p, cond, i, state) as u32 != 0)
}

fn print(program: &CpuProgram, index: u32, pid: [u32; 3], state: &State<'_>, log: &dyn DeviceLog) {
    let plan = &program.prints[index as usize];
    let mut text = plan.label.clone();
    for shown in &plan.values {
        let (dtype, n) = shape_of(shown);
        let one = |i: usize| {
            let bits = element(program, shown, i, state);
            if dtype.is_float() {
                scalar::float_of(bits).to_string()
            } else if dtype == DType::Bool {
                (bits as u32 != 0).to_string()
            } else {
                scalar::int_of(dtype, bits).to_string()
            }
        };
        text.push(' ');
        if let Shown::Reg { .. } = shown {
            text.push_str(&one(0));
        } else {
            text.push('[');
            text.push_str(&(0..n).map(one).collect::<Vec<_>>().join(", "));
            text.push(']');
        }
    }
    log.line(pid, &text);
}
