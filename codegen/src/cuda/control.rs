//! Statements: which printer each goes to, and control flow, barriers, assertions and printing themselves.

use super::dot::SharedOperand;
use super::hopper::is_single_thread;
use super::mma::Mma;
use super::shared::Copy;
use super::usage::Place;
use super::wgmma::Wgmma;
use super::writer::Writer;
use crate::gpu::{Block, Op, Role, StmtKind, Var, VarType};
use crate::ir::DType;

impl Writer<'_> {
    /// The end of the run of statements from `start` on that one thread issues; `start` when there is none.
    pub(crate) fn issue_end(&self, block: &Block, start: usize) -> usize {
        let mut end = start;
        for (index, stmt) in block.stmts.iter().enumerate().skip(start) {
            if is_single_thread(&stmt.kind) {
                end = index + 1;
            } else if index == start || !self.is_scalar_set(&stmt.kind) {
                break;
            }
        }
        end
    }

    /// One statement.
    pub(crate) fn statement(&mut self, kind: &StmtKind, place: Place) {
        match kind {
            StmtKind::Set { dst, op } => self.set(*dst, op, place),
            StmtKind::Store { view, offsets, coords, src, vector } => {
                self.store(*view, offsets, coords, *src, *vector)
            }
            StmtKind::Scatter { view, indices, src, mask } => {
                self.scatter(*view, indices, src, mask.as_ref())
            }
            StmtKind::Print { label, values } => self.print(label, values),
            StmtKind::Assert { cond, message } => self.assert(*cond, *message),
            StmtKind::For { iv, lo, hi, step, body } => self.for_loop(*iv, [*lo, *hi, *step], body),
            StmtKind::While { test, cond, body } => self.while_loop(test, *cond, body),
            StmtKind::If { cond, then_block, else_block } => self.branch(*cond, then_block, else_block),
            StmtKind::Barrier { id, n_threads } => {
                if *id == 0 {
                    self.text.line("__syncthreads();");
                } else {
                    self.text.line(format!("barrier<{id}, {n_threads}>();"));
                }
            }
            StmtKind::ToShared { src, buffer, slot, coords, vector } => {
                self.store_shared(*src, *buffer, *slot, coords, *vector);
            }
            StmtKind::CopyAsync { view, offsets, row_axis, column_axis, buffer, slot, bytes, guard } => {
                self.copy_async(&Copy {
                    view: *view,
                    offsets,
                    row_axis: *row_axis,
                    column_axis: *column_axis,
                    buffer: *buffer,
                    slot: *slot,
                    bytes: *bytes,
                    guard: *guard,
                });
            }
            StmtKind::CommitCopies => self.text.line("commit_copies();"),
            StmtKind::WaitCopies { pending } => self.text.line(format!("wait_copies<{pending}>();")),
            StmtKind::Advance { slot, phase, slots } => self.advance(*slot, *phase, *slots),
            StmtKind::DotShared { acc, a, a_k_rows, b, b_k_rows, k, a_slot, b_slot } => {
                let a = SharedOperand { buffer: *a, slot: *a_slot, k_rows: *a_k_rows };
                let b = SharedOperand { buffer: *b, slot: *b_slot, k_rows: *b_k_rows };
                self.dot_shared(*acc, a, b, *k);
            }
            StmtKind::DotRows { acc, a, b, lanes, m, strides } => {
                self.dot_rows(*acc, *a, *b, lanes, *m, *strides)
            }
            StmtKind::Mma { acc, a, b, dtype, shape, warps: _, extents, a_rows, b_rows } => self.mma(&Mma {
                acc: *acc,
                a,
                b,
                dtype: *dtype,
                shape: *shape,
                k: extents.2,
                a_rows: *a_rows,
                b_rows: *b_rows,
            }),
            StmtKind::Roles(roles) => self.roles(roles),
            StmtKind::InitBarriers => self.init_barriers(),
            StmtKind::ClusterSync => self.text.line("cluster_sync();"),
            StmtKind::ExpectBytes { .. } | StmtKind::TmaLoad { .. } | StmtKind::TmaStore { .. } => {
                self.issue(std::slice::from_ref(kind));
            }
            StmtKind::WaitBarrier { barrier, slot, phase } => self.wait_barrier(*barrier, *slot, *phase),
            StmtKind::ArriveBarrier { barrier, slot, by } => self.arrive_barrier(*barrier, *slot, *by, None),
            StmtKind::WaitStores { pending, complete } => {
                let name = if *complete { "wait_stores_complete" } else { "wait_stores_read" };
                self.text.line(format!("{name}<{pending}>();"));
            }
            StmtKind::FenceAsync => self.text.line("fence_async();"),
            StmtKind::WgmmaFence => self.text.line("wgmma_fence();"),
            StmtKind::Wgmma { acc, a, b, dtype, groups, extents, accumulate } => self.wgmma(&Wgmma {
                acc: *acc,
                a,
                b,
                dtype: *dtype,
                n: groups.n,
                k: extents.2,
                accumulate: *accumulate,
            }),
            StmtKind::WgmmaCommit => self.text.line("wgmma_commit();"),
            StmtKind::WgmmaWait { pending, done } => self.wgmma_wait(*pending, done),
            StmtKind::Settle { values } => self.settle(values),
            StmtKind::Turn { turn, first } => self.turn(*turn, *first),
            StmtKind::StoreMatrix { src, column, buffer, panel } => {
                self.store_matrix(*src, *column, *buffer, *panel);
            }
            StmtKind::GridWait => self.text.line("grid_wait();"),
            StmtKind::GridRelease => self.text.line("grid_release();"),
        }
    }

    fn set(&mut self, dst: Var, op: &Op, place: Place) {
        match op {
            Op::Load { view, offsets, coords, pad, vector } => {
                self.load(dst, *view, offsets, coords, *pad, *vector)
            }
            Op::Reduce { op, src, axis, scratch } => self.reduce(dst, *op, *src, *axis, *scratch),
            Op::ArgReduce { op, src, axis, values, positions } => {
                self.arg_reduce(dst, *op, *src, *axis, [*values, *positions]);
            }
            Op::SumPartials { src, scratch } => self.sum_partials(dst, *src, *scratch),
            Op::FromShared { buffer, slot, coords } => self.load_shared(dst, *buffer, *slot, coords),
            Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::ClusterId
            | Op::NumClusters
            | Op::ClusterRank
            | Op::Coord(_)
            | Op::Copy(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..)
            | Op::LoadPoint { .. }
            | Op::Gather { .. } => match self.func.ty(dst) {
                VarType::View(_) => self.define_view(dst, op, place),
                VarType::Scalar(_) => self.set_scalar(dst, op, place),
                VarType::Tile { .. } => panic!("{op:?} should not define a tile by itself"),
            },
        }
    }

    fn for_loop(&mut self, iv: Var, [lo, hi, step]: [Var; 3], body: &Block) {
        let (lo, hi, step) = (self.scalar(lo), self.scalar(hi), self.scalar(step));
        let name = self.name(iv);
        let is_inside = self.usage.declared_at(iv).is_some_and(|(block, _)| std::ptr::eq(block, body));
        let ty = if is_inside { "int " } else { "" };
        let advance = if step == "1" { format!("++{name}") } else { format!("{name} += {step}") };
        // Unrolling is the schedule's business: a copied body would repeat every instruction of the tiles.
        self.text.line("#pragma unroll 1");
        self.text.open(format!("for ({ty}{name} = {lo}; {name} < {hi}; {advance}) {{"));
        self.inner(body);
        self.text.close();
    }

    fn while_loop(&mut self, test: &Block, cond: Var, body: &Block) {
        self.text.line("#pragma unroll 1");
        self.text.open("while (true) {");
        self.inner(test);
        let cond = self.scalar(cond);
        self.text.line(format!("if (!{cond}) break;"));
        self.inner(body);
        self.text.close();
    }

    fn branch(&mut self, cond: Var, then_block: &Block, else_block: &Block) {
        let cond = self.scalar(cond);
        // An arrival alone: one branch decides who arrives and whether.
        if let ([only], []) = (then_block.stmts.as_slice(), else_block.stmts.as_slice())
            && let StmtKind::ArriveBarrier { barrier, slot, by } = &only.kind
        {
            return self.arrive_barrier(*barrier, *slot, *by, Some(&cond));
        }
        if then_block.stmts.is_empty() && !else_block.stmts.is_empty() {
            self.text.open(format!("if (!{cond}) {{"));
            self.inner(else_block);
        } else {
            self.text.open(format!("if ({cond}) {{"));
            self.inner(then_block);
            if !else_block.stmts.is_empty() {
                self.text.reopen("} else {");
                self.inner(else_block);
            }
        }
        self.text.close();
    }

    /// A block inside another; the author's line is named afresh in it and after it.
    fn inner(&mut self, block: &Block) {
        self.text.forget_place();
        self.block(block);
        self.text.forget_place();
    }

    fn advance(&mut self, slot: Var, phase: Option<Var>, slots: u32) {
        let slot = self.name(slot);
        if slots > 1 {
            let turn = phase.map(|p| format!(", {} ^= 1", self.name(p))).unwrap_or_default();
            self.text.line(format!("if (++{slot} == {slots}) {slot} = 0{turn};"));
        } else if let Some(phase) = phase {
            let phase = self.name(phase);
            self.text.line(format!("{phase} ^= 1;"));
        }
    }

    /// `roles`: the index of the warp is the same in all its lanes, and the compiler is told so.
    fn roles(&mut self, roles: &[Role]) {
        let mut next = 0;
        for (i, role) in roles.iter().enumerate() {
            let end = role.first_warp + role.n_warps;
            let range = if role.first_warp == next {
                format!("warp < {end}")
            } else {
                format!("warp >= {} && warp < {end}", role.first_warp)
            };
            next = end;
            let is_last = i + 1 == roles.len() && end == self.scope.first_warp + self.scope.n_warps;
            match (i, is_last) {
                (0, _) => self.text.open(format!("if ({range}) {{")),
                (_, true) => self.text.reopen("} else {"),
                (_, false) => self.text.reopen(&format!("}} else if ({range}) {{")),
            }
            self.text.line(format!("// {}", role.name));
            self.text.forget_place();
            if role.registers > 0 {
                let name = if role.releases { "release_registers" } else { "claim_registers" };
                self.text.line(format!("{name}<{}>();", role.registers));
            }
            let is_partial = role.active_warps < role.n_warps;
            if is_partial {
                self.text.open(format!("if (warp < {}) {{", role.first_warp + role.active_warps));
            }
            let outer = self.begin_scope(role.first_warp, role.active_warps, i as u32 + 1);
            self.inner(&role.body);
            self.end_scope();
            self.scope = outer;
            if is_partial {
                self.text.close();
            }
        }
        if !roles.is_empty() {
            self.text.close();
        }
    }

    /// `assert`: the whole block leaves together. A role cannot leave the others behind, so it only reports.
    fn assert(&mut self, cond: Var, message: u32) {
        self.text.open("{");
        let failed = match self.func.ty(cond).clone() {
            VarType::Tile { layout, shape, .. } => {
                self.text.line("bool failed_ = false;");
                let guards = self.shape_guards(&layout, &shape, "r_");
                let value = self.register(cond, "r_");
                let test = [guards, vec![format!("!{value}")]].concat().join(" && ");
                self.text.line("#pragma unroll");
                self.text
                    .line(format!("for (int r_ = 0; r_ < {}; ++r_) failed_ |= {test};", layout.registers()));
                "failed_".to_owned()
            }
            VarType::Scalar(_) | VarType::View(_) => format!("!{}", self.scalar(cond)),
        };
        if self.scope.barrier == 0 {
            self.text.open(format!("if (__syncthreads_or({failed})) {{"));
            self.text.line(format!("if (threadIdx.x == 0) report(status, {message});"));
            self.text.line("return;");
            self.text.close();
        } else {
            self.text.line(format!("if ({failed}) report(status, {message});"));
        }
        self.text.close();
    }

    /// `print`: each element by its holder, with its position.
    fn print(&mut self, label: &str, values: &[Var]) {
        let label: String = label
            .chars()
            .flat_map(|c| match c {
                '"' => vec!['\\', '"'],
                '\\' => vec!['\\', '\\'],
                '\n' => vec!['\\', 'n'],
                '%' => vec!['%', '%'],
                c => vec![c],
            })
            .collect();
        for &v in values {
            let ty = self.func.ty(v).clone();
            let (format, cast) = printed(ty.dtype());
            let VarType::Tile { layout, shape, .. } = &ty else {
                let value = printed_value(ty.dtype(), &self.scalar(v));
                self.text.line(format!("if (tid == 0) printf(\"{label} {format}\\n\", {cast}{value});"));
                continue;
            };
            let mut guards = self.owner_guards(layout);
            guards.extend(self.shape_guards(layout, shape, "r_"));
            let coords: Vec<String> =
                (0..layout.rank()).map(|a| self.axis_coord(layout, a, "r_").whole()).collect();
            let places = vec!["%d"; coords.len()].join(", ");
            let value = printed_value(ty.dtype(), &self.register(v, "r_"));
            let condition =
                if guards.is_empty() { String::new() } else { format!("if ({}) ", guards.join(" && ")) };
            let places_text =
                if coords.is_empty() { String::new() } else { format!("{}, ", coords.join(", ")) };
            self.text.line("#pragma unroll");
            self.text.open(format!("for (int r_ = 0; r_ < {}; ++r_) {{", layout.registers()));
            self.text.line(format!(
                "{condition}printf(\"{label} [{places}] {format}\\n\", {places_text}{cast}{value});"
            ));
            self.text.close();
        }
    }
}

/// How a value is printed: the conversion of `printf` and the cast in front of it.
const fn printed(dtype: DType) -> (&'static str, &'static str) {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 => ("%.9g", "(double)"),
        DType::I8 | DType::I32 | DType::Bool => ("%d", "(int)"),
        DType::U8 | DType::U32 => ("%u", ""),
        DType::I64 => ("%lld", ""),
    }
}

/// 8-bit floats are printed as the numbers they stand for.
fn printed_value(dtype: DType, value: &str) -> String {
    match dtype {
        DType::F8E4M3 => format!("e4m3_to_f32({value})"),
        DType::F8E5M2 => format!("e5m2_to_f32({value})"),
        DType::F32
        | DType::F16
        | DType::BF16
        | DType::I8
        | DType::U8
        | DType::I32
        | DType::I64
        | DType::U32
        | DType::Bool => value.to_owned(),
    }
}
