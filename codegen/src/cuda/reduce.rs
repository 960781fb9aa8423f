//! Reductions: within the registers of a thread, then over lanes by shuffles, then over warps through shared memory.
//!
//! ```text
//!   part_[p] = fold of the registers with that result coordinate
//!   part_[p] = fold over lane ^ mask                       for each lane bit along the axis
//!   scratch[row][column] = part_[p]; barrier; fold of all rows
//! ```
//!
//! The scratch buffer has one row per combination of the warp bits along the axis, in their order, and one column per element of
//! the result, row-major over the extents of the source's layout without the axis (for `sum_partials`: over all its extents). Only
//! bits that move along the axis are folded, so copies are not counted twice.

use super::closed::bit_terms;
use super::coords::{AxisBits, sum};
use super::ctypes::{Storage, short_name, storage, value_type};
use super::writer::Writer;
use crate::gpu::{BufferId, Var, VarType};
use crate::ir::{ArgOp, DType, ReduceOp};
use crate::layout::{Coord, FoldPlan, Layout, dropped};

/// What is folded, and how.
#[derive(Clone, Copy)]
enum Fold {
    Value(ReduceOp),
    Position(ArgOp),
}

impl Fold {
    /// The value that changes no other.
    fn identity(self, dtype: DType) -> String {
        let (is_sum, is_max) = match self {
            Self::Value(ReduceOp::Sum) => (true, false),
            Self::Value(ReduceOp::Max) | Self::Position(ArgOp::ArgMax) => (false, true),
            Self::Value(ReduceOp::Min) | Self::Position(ArgOp::ArgMin) => (false, false),
        };
        match (dtype, is_sum, is_max) {
            (DType::F32 | DType::F16 | DType::BF16, true, _) => "0.0f".to_owned(),
            // NaN elements give way to numbers, and all of them together stay NaN.
            (DType::F32 | DType::F16 | DType::BF16, false, _) => "quiet_nan()".to_owned(),
            (_, true, _) => "0".to_owned(),
            (DType::I8 | DType::I32, _, true) => "-0x7fffffff - 1".to_owned(),
            (DType::I8 | DType::I32, _, false) => "0x7fffffff".to_owned(),
            (DType::I64, _, true) => "-0x7fffffffffffffffll - 1".to_owned(),
            (DType::I64, _, false) => "0x7fffffffffffffffll".to_owned(),
            (_, _, true) => "0u".to_owned(),
            (_, _, false) => "0xffffffffu".to_owned(),
        }
    }

    /// The statement that folds value `x` (at position `i`) into `part_[p]`.
    fn step(self, dtype: DType, p: &str, x: &str, i: &str) -> String {
        let is_float = dtype.is_float();
        match self {
            Self::Value(ReduceOp::Sum) if matches!(dtype, DType::I32 | DType::I64 | DType::I8) => {
                format!("part_[{p}] = add(part_[{p}], {x});")
            }
            Self::Value(ReduceOp::Sum) => format!("part_[{p}] += {x};"),
            Self::Value(ReduceOp::Max) => {
                format!("part_[{p}] = {}(part_[{p}], {x});", if is_float { "fmaxf" } else { "max" })
            }
            Self::Value(ReduceOp::Min) => {
                format!("part_[{p}] = {}(part_[{p}], {x});", if is_float { "fminf" } else { "min" })
            }
            Self::Position(ArgOp::ArgMax) => format!("arg_max(part_[{p}], where_[{p}], {x}, {i});"),
            Self::Position(ArgOp::ArgMin) => format!("arg_min(part_[{p}], where_[{p}], {x}, {i});"),
        }
    }
}

impl Writer<'_> {
    /// `reduce`.
    pub(crate) fn reduce(&mut self, dst: Var, op: ReduceOp, src: Var, axis: u8, scratch: Option<BufferId>) {
        self.fold(dst, Fold::Value(op), src, Some(usize::from(axis)), scratch, None);
    }

    /// `arg_reduce`.
    pub(crate) fn arg_reduce(
        &mut self,
        dst: Var,
        op: ArgOp,
        src: Var,
        axis: u8,
        scratch: [Option<BufferId>; 2],
    ) {
        self.fold(dst, Fold::Position(op), src, Some(usize::from(axis)), scratch[0], scratch[1]);
    }

    /// `sum_partials`.
    pub(crate) fn sum_partials(&mut self, dst: Var, src: Var, scratch: Option<BufferId>) {
        self.fold(dst, Fold::Value(ReduceOp::Sum), src, None, scratch, None);
    }

    fn fold(
        &mut self,
        dst: Var,
        fold: Fold,
        src: Var,
        axis: Option<usize>,
        values: Option<BufferId>,
        positions: Option<BufferId>,
    ) {
        let VarType::Tile { dtype, shape, layout } = self.func.ty(src).clone() else {
            panic!("{src} should be a tile")
        };
        let plan = FoldPlan::new(&layout, axis);
        let ty = value_type(dtype);
        let is_arg = matches!(fold, Fold::Position(_));
        let n = plan.coords.len();
        self.text.open("{");
        self.text.line(format!("{ty} part_[{n}];"));
        if is_arg {
            self.text.line(format!("int where_[{n}];"));
        }
        let identity = fold.identity(dtype);
        self.text.line("#pragma unroll");
        // No position is taken before a number is; a line of NaN has its extremum at 0.
        let nowhere = if dtype.is_float() { "0" } else { "0x7fffffff" };
        let first = if is_arg { format!(", where_[p_] = {nowhere}") } else { String::new() };
        self.text.line(format!("for (int p_ = 0; p_ < {n}; ++p_) part_[p_] = {identity}{first};"));

        // Registers.
        let registers = layout.registers();
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {registers}; ++r_) {{"));
        let free = if axis.is_some() { layout.free_bits().register } else { 0 };
        if free != 0 {
            self.text.line(format!("if (r_ & {free}) continue;"));
        }
        let table: Vec<u32> = plan.parts.iter().map(|p| p.unwrap_or(0)).collect();
        let part = self.table(&table, "r_");
        let part = super::coords::bare(&part);
        let x = self.register(src, "r_");
        let at = axis.map_or_else(String::new, |a| self.axis_coord(&layout, a, "r_").whole());
        let step = fold.step(dtype, part, &x, &at);
        match axis.filter(|&a| layout.shape()[a] as usize > shape.dim(a)) {
            Some(a) => self.text.line(format!("if ({at} < {}) {step}", shape.dim(a))),
            None => self.text.line(step),
        }
        self.text.close();

        // Lanes.
        if !plan.lane_masks.is_empty() {
            self.text.line("#pragma unroll");
            self.text.open(format!("for (int p_ = 0; p_ < {n}; ++p_) {{"));
            for mask in plan.lane_masks.iter().rev() {
                let x = format!("__shfl_xor_sync(0xffffffffu, part_[p_], {mask})");
                if is_arg {
                    self.text.line(format!("{{ const {ty} x_ = {x}; const int i_ = __shfl_xor_sync(0xffffffffu, where_[p_], {mask}); {} }}", fold.step(dtype, "p_", "x_", "i_")));
                } else {
                    self.text.line(fold.step(dtype, "p_", &x, ""));
                }
            }
            self.text.close();
        }
        if let Some(rows) = plan.scratch(&layout).map(|(rows, _)| rows) {
            let values = values.expect("a reduction over warps should have a scratch buffer");
            self.fold_warps(fold, &plan, &layout, dtype, rows, values, positions);
        }
        let result = if is_arg { "where_" } else { "part_" };
        let result_dtype = if is_arg { DType::I32 } else { dtype };
        self.fold_result(dst, &plan, &layout, result_dtype, result);
        self.text.close();
    }

    /// Partial results of warps through shared memory.
    #[allow(clippy::too_many_arguments, reason = "the parts of one reduction")]
    fn fold_warps(
        &mut self,
        fold: Fold,
        plan: &FoldPlan,
        layout: &Layout,
        dtype: DType,
        rows: u32,
        values: BufferId,
        positions: Option<BufferId>,
    ) {
        let n = plan.coords.len();
        let is_arg = matches!(fold, Fold::Position(_));
        let ty = value_type(dtype);
        let (mut thread, mut register) = (Vec::new(), vec![0; n]);
        for (axis, stride) in plan.columns(layout) {
            let bits = AxisBits::of(layout, axis);
            assert!(bits.adds(layout.span(axis)), "a reduced tile should have a blocked layout");
            let part = self.thread_part(layout, axis, &bits);
            thread.push(super::shared::scaled(&part, stride as usize));
            for (sum, at) in register.iter_mut().zip(&plan.coords) {
                *sum += at[axis] * stride;
            }
        }
        let thread: Vec<&str> = thread.iter().map(String::as_str).collect();
        let weights: Vec<i64> = (0..layout.warps().trailing_zeros() as usize)
            .map(|bit| plan.warp_bits.iter().position(|&b| b == bit).map_or(0, |i| 1 << i))
            .collect();
        let row = bit_terms(&weights, "warp", self.scope.n_warps == layout.warps()).join(" + ");
        let row = super::coords::grouped(&row);
        let pitch = |w: &Self, id: BufferId, size: u32| w.func.buffers[id.index()].pitch_bytes / size;
        let size = if dtype == DType::I64 { 8 } else { 4 };
        let values_pitch = pitch(self, values, size);
        let values_name = self.buffer_name(values);
        let column = sum(&thread);
        let values_at = super::global::plus(&format!("at<{ty}>(shared + {values_name})"), &column);
        self.text.line(format!("{ty}* const values_ = {values_at};"));
        let positions = positions.filter(|_| is_arg).map(|id| {
            let name = self.buffer_name(id);
            let at = super::global::plus(&format!("at<int>(shared + {name})"), &column);
            self.text.line(format!("int* const positions_ = {at};"));
            pitch(self, id, 4)
        });
        let place = self.table(&register, "p_");
        let mut guards = Vec::new();
        if plan.lane_others == 31 {
            guards.push("lane == 0".to_owned());
        } else if plan.lane_others != 0 {
            guards.push(format!("(lane & {}) == 0", plan.lane_others));
        }
        if plan.warp_copies != 0 {
            guards.push(format!("(warp & {}) == 0", plan.warp_copies));
        }
        if self.scope.n_warps > layout.warps() {
            guards.push(format!("warp < {}", layout.warps()));
        }
        if guards.is_empty() {
            guards.push("true".to_owned());
        }
        self.text.open(format!("if ({}) {{", guards.join(" && ")));
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int p_ = 0; p_ < {n}; ++p_) {{"));
        self.text.line(format!("values_[{row} * {values_pitch} + {place}] = part_[p_];"));
        if let Some(pitch) = positions {
            self.text.line(format!("positions_[{row} * {pitch} + {place}] = where_[p_];"));
        }
        self.text.close();
        self.text.close();
        self.meet();
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int p_ = 0; p_ < {n}; ++p_) {{"));
        self.text.line(format!("part_[p_] = values_[{place}];"));
        if is_arg {
            self.text.line(format!("where_[p_] = positions_[{place}];"));
        }
        self.text.line("#pragma unroll");
        let x = format!("values_[w_ * {values_pitch} + {place}]");
        let i = positions.map_or_else(String::new, |pitch| format!("positions_[w_ * {pitch} + {place}]"));
        let step = fold.step(dtype, "p_", &x, &i);
        self.text.line(format!("for (int w_ = 1; w_ < {rows}; ++w_) {step}"));
        self.text.close();
    }

    /// All threads of the scope meet.
    pub(crate) fn meet(&mut self) {
        if self.scope.barrier == 0 {
            self.text.line("__syncthreads();");
        } else {
            self.text.line(format!("barrier<{}, {}>();", self.scope.barrier, self.scope.n_threads()));
        }
    }

    /// Puts the partial results into the registers of the result.
    fn fold_result(&mut self, dst: Var, plan: &FoldPlan, layout: &Layout, dtype: DType, from: &str) {
        let name = self.name(dst);
        let wrapped = |x: String| match dtype {
            DType::I8 => format!("wrap_i8({x})"),
            DType::U8 => format!("{x} & 0xffu"),
            DType::F16 | DType::BF16 => format!("round_{}({x})", short_name(dtype)),
            DType::F32
            | DType::F8E4M3
            | DType::F8E5M2
            | DType::I32
            | DType::I64
            | DType::U32
            | DType::Bool => x,
        };
        let VarType::Tile { layout: result, .. } = self.func.ty(dst).clone() else {
            self.text.line(format!("{name} = {};", wrapped(format!("{from}[0]"))));
            return;
        };
        let n = result.registers();
        let table: Vec<u32> = (0..n).map(|q| self.part_of(plan, layout, &result, q)).collect();
        self.text.line("#pragma unroll");
        match storage(dtype, n as usize) {
            Storage::Packed => {
                let even: Vec<u32> = table.iter().copied().step_by(2).collect();
                let odd: Vec<u32> = table.iter().copied().skip(1).step_by(2).collect();
                let (even, odd) = (self.table(&even, "q_"), self.table(&odd, "q_"));
                let short = short_name(dtype);
                self.text.line(format!(
                    "for (int q_ = 0; q_ < {}; ++q_) {name}[q_] = pack_{short}({from}[{even}], {from}[{odd}]);",
                    n / 2
                ));
            }
            Storage::Single => {
                let at = self.table(&table, "q_");
                let short = short_name(dtype);
                self.text.line(format!(
                    "for (int q_ = 0; q_ < {n}; ++q_) {name}[q_] = f32_to_{short}({from}[{at}]);"
                ));
            }
            Storage::Plain => {
                let at = self.table(&table, "q_");
                let value = wrapped(format!("{from}[{at}]"));
                self.text.line(format!("for (int q_ = 0; q_ < {n}; ++q_) {name}[q_] = {value};"));
            }
        }
    }

    /// The partial result that register `q` of the result takes.
    fn part_of(&self, plan: &FoldPlan, layout: &Layout, result: &Layout, q: u32) -> u32 {
        let Some(axis) = plan.axis else { return q };
        let lifted = |lane: u32, warp: u32| {
            let at = result.apply(q, lane, warp);
            let mut out = Coord::default();
            let kept = (0..layout.rank()).filter(|a| *a != axis);
            for (to, from) in kept.zip(at) {
                out[to] = from;
            }
            out
        };
        let found = plan.coords.iter().position(|at| *at == lifted(0, 0));
        let part = found
            .expect("the result of a reduction should have the layout of its source without the axis")
            as u32;
        let register = plan.parts.iter().position(|p| *p == Some(part)).unwrap_or(0) as u32;
        for bit in 0..5 {
            let (lane, warp) = (1 << bit & (layout.lanes() - 1), 1 << bit & (layout.warps() - 1));
            assert_eq!(
                (lifted(lane, 0), lifted(0, warp)),
                (
                    dropped(layout.apply(register, lane, 0), plan.axis),
                    dropped(layout.apply(register, 0, warp), plan.axis)
                ),
                "the threads of a reduction's result should be those of its source"
            );
        }
        part
    }
}
