//! Operations, and statements without blocks.

use super::{Printer, arrive_word, shape_word};
use crate::gpu::func::Var;
use crate::gpu::memory::BufferId;
use crate::gpu::ops::{Coord, Filled, Op, Operand, RegMap, StmtKind};
use crate::ir::print::quote;

impl Printer<'_> {
    pub(super) fn op(&mut self, op: &Op, dst: Var) {
        match op {
            Op::Const(c) => {
                self.put(format_args!("const {}", c.text()));
                if self.func.vars.get(dst.index()).map(|d| d.ty.dtype()) != Some(c.dtype) {
                    self.put(format_args!(" as {}", c.dtype));
                }
            }
            Op::ProgramId(axis) => self.put(format_args!("program_id {axis}")),
            Op::NumPrograms(axis) => self.put(format_args!("num_programs {axis}")),
            Op::ClusterId => self.out.push_str("cluster_id"),
            Op::NumClusters => self.out.push_str("num_clusters"),
            Op::ClusterRank => self.out.push_str("cluster_rank"),
            Op::Coord(c) => self.put(format_args!("coord {}", coord(c))),
            Op::Copy(a) => self.operands("copy", &[a]),
            Op::Unary(op, a) => self.operands(op.mnemonic(), &[a]),
            Op::Binary(op, a, b) => self.operands(op.mnemonic(), &[a, b]),
            Op::Fma(a, b, c) => self.operands("fma", &[a, b, c]),
            Op::Select(a, b, c) => self.operands("select", &[a, b, c]),
            Op::Cast(a) => self.operands("cast", &[a]),
            Op::ViewDim(v, axis) => self.on_axis("dim", *v, *axis),
            Op::ViewSelect(v, axis, at) => {
                self.on_axis("select_axis", *v, *axis);
                self.keyed("at", Some(*at));
            }
            Op::ViewSlice(v, axis, start, len) => {
                self.on_axis("slice_axis", *v, *axis);
                self.keyed("from", Some(*start));
                self.keyed("len", Some(*len));
            }
            Op::ViewPermute(v, perm) => {
                self.out.push_str("permute_view ");
                self.var(*v);
                self.put(format_args!(" {perm:?}"));
            }
            Op::Load { view, offsets, coords, pad, vector } => {
                self.out.push_str("load ");
                self.window(*view, offsets, coords);
                self.keyed("pad", Some(*pad));
                self.vector(*vector);
            }
            Op::LoadPoint { view, offsets, pad } => {
                self.out.push_str("load_point ");
                self.point(*view, offsets);
                self.keyed("pad", Some(*pad));
            }
            Op::Gather { view, indices, mask, pad } => {
                self.out.push_str("gather ");
                self.indexed(*view, indices, mask.as_ref());
                self.keyed("pad", Some(*pad));
            }
            Op::Reduce { op, src, axis, scratch } => {
                self.put(format_args!("reduce {} ", op.mnemonic()));
                self.var(*src);
                self.put(format_args!(" axis {axis}"));
                self.scratch("scratch", *scratch);
            }
            Op::ArgReduce { op, src, axis, values, positions } => {
                self.put(format_args!("arg_reduce {} ", op.mnemonic()));
                self.var(*src);
                self.put(format_args!(" axis {axis}"));
                self.scratch("values", *values);
                self.scratch("positions", *positions);
            }
            Op::SumPartials { src, scratch } => {
                self.out.push_str("sum_partials ");
                self.var(*src);
                self.scratch("scratch", *scratch);
            }
            Op::FromShared { buffer, slot, coords } => {
                self.out.push_str("from_shared ");
                self.place(*buffer, *slot);
                self.coords(coords);
            }
        }
    }

    /// A statement without blocks that assigns nothing by `=`.
    pub(super) fn plain(&mut self, stmt: &StmtKind) {
        match stmt {
            StmtKind::Store { view, offsets, coords, src, vector } => {
                self.out.push_str("store ");
                self.window(*view, offsets, coords);
                self.out.push_str(" = ");
                self.var(*src);
                self.vector(*vector);
            }
            StmtKind::Scatter { view, indices, src, mask } => {
                self.out.push_str("scatter ");
                self.indexed(*view, indices, mask.as_ref());
                self.out.push_str(" = ");
                self.operand(src);
            }
            StmtKind::Print { label, values } => {
                self.put(format_args!("print {}", quote(label)));
                for &v in values {
                    self.out.push_str(", ");
                    self.var(v);
                }
            }
            StmtKind::Assert { cond, message } => {
                self.out.push_str("assert ");
                self.var(*cond);
                self.put(format_args!(", {message}"));
            }
            StmtKind::Barrier { id, n_threads } => self.put(format_args!("barrier {id} threads {n_threads}")),
            StmtKind::ToShared { src, buffer, slot, coords, vector } => {
                self.out.push_str("to_shared ");
                self.place(*buffer, *slot);
                self.coords(coords);
                self.out.push_str(" = ");
                self.var(*src);
                self.vector(*vector);
            }
            StmtKind::CopyAsync { view, offsets, row_axis, column_axis, buffer, slot, bytes, guard } => {
                self.out.push_str("copy_async ");
                self.place(*buffer, *slot);
                self.out.push_str(" = ");
                self.point(*view, offsets);
                self.put(format_args!(" rows {row_axis} columns {column_axis} bytes {bytes}"));
                self.keyed("when", *guard);
            }
            StmtKind::CommitCopies => self.out.push_str("commit"),
            StmtKind::WaitCopies { pending } => self.put(format_args!("wait_copies {pending}")),
            StmtKind::Advance { slot, phase, slots } => {
                self.out.push_str("advance ");
                self.var(*slot);
                self.keyed("phase", *phase);
                self.put(format_args!(" of {slots}"));
            }
            StmtKind::DotShared { acc, a, a_k_rows, b, b_k_rows, k, a_slot, b_slot } => {
                self.out.push_str("dot ");
                self.var(*acc);
                self.out.push_str(" += ");
                self.shared_matrix(*a, *a_slot, *a_k_rows);
                self.out.push_str(", ");
                self.shared_matrix(*b, *b_slot, *b_k_rows);
                self.put(format_args!(" k {k}"));
            }
            StmtKind::DotRows { acc, a, b, lanes, m, strides } => {
                self.out.push_str("dot_rows ");
                self.var(*acc);
                self.out.push_str(" += ");
                self.vars(&[*a, *b]);
                self.put(format_args!(" rows {m} strides {strides:?} lanes {lanes:?}"));
            }
            StmtKind::Mma { acc, a, b, dtype, shape, warps, extents, a_rows, b_rows } => {
                self.put(format_args!("mma {} ", shape_word(*shape)));
                self.var(*acc);
                self.out.push_str(" += ");
                self.matrix(a);
                self.out.push_str(", ");
                self.matrix(b);
                self.put(format_args!(
                    " as {dtype} warps {warps:?} extents {extents:?} a_rows {a_rows} b_rows {b_rows}"
                ));
            }
            StmtKind::InitBarriers => self.out.push_str("init_barriers"),
            StmtKind::ClusterSync => self.out.push_str("cluster_sync"),
            StmtKind::ExpectBytes { barrier, slot, bytes } => {
                self.out.push_str("expect ");
                self.barrier(*barrier);
                self.index(Some(*slot));
                self.put(format_args!(" bytes {bytes}"));
            }
            StmtKind::WaitBarrier { barrier, slot, phase } => {
                self.out.push_str("wait ");
                self.barrier(*barrier);
                self.index(*slot);
                self.keyed("phase", Some(*phase));
            }
            StmtKind::ArriveBarrier { barrier, slot, by } => {
                self.out.push_str("arrive ");
                self.barrier(*barrier);
                self.index(*slot);
                self.put(format_args!(" by {}", arrive_word(*by)));
            }
            StmtKind::TmaLoad { map, coords, buffer, slot, panel, fills, barrier } => {
                self.out.push_str("tma_load ");
                self.place(*buffer, *slot);
                self.put(format_args!(" panel {panel}"));
                match fills {
                    Filled::Own { row } => self.unless_zero("row", *row),
                    Filled::Cluster => self.out.push_str(" to cluster"),
                }
                self.put(format_args!(" = {map}("));
                self.vars(coords);
                self.out.push_str(") signal ");
                self.barrier(*barrier);
            }
            StmtKind::TmaStore { map, coords, buffer, panel, row } => {
                self.put(format_args!("tma_store {map}("));
                self.vars(coords);
                self.out.push_str(") = ");
                self.buffer(*buffer);
                self.put(format_args!(" panel {panel} row {row}"));
            }
            StmtKind::WaitStores { pending, complete } => {
                self.out.push_str(if *complete { "wait_stores complete" } else { "wait_stores read" });
                self.unless_zero("pending", *pending);
            }
            StmtKind::FenceAsync => self.out.push_str("fence_async"),
            StmtKind::WgmmaFence => self.out.push_str("wgmma_fence"),
            StmtKind::Wgmma { acc, a, b, dtype, groups, extents, accumulate } => {
                self.out.push_str("wgmma ");
                self.var(*acc);
                self.out.push_str(" += ");
                self.matrix(a);
                self.out.push_str(", ");
                self.matrix(b);
                let (n_groups, n) = (groups.n_groups, groups.n);
                self.put(format_args!(" as {dtype} groups {n_groups} n {n} extents {extents:?}"));
                self.keyed("accumulate", *accumulate);
            }
            StmtKind::WgmmaCommit => self.out.push_str("wgmma_commit"),
            StmtKind::WgmmaWait { pending, done } => {
                self.put(format_args!("wgmma_wait {pending}"));
                if !done.is_empty() {
                    self.out.push_str(" done ");
                    self.vars(done);
                }
            }
            StmtKind::Settle { values } => {
                self.out.push_str("settle ");
                self.vars(values);
            }
            StmtKind::Turn { turn, first } => {
                self.put(format_args!("turn {} barriers {first}", turn.word()));
            }
            StmtKind::StoreMatrix { src, column, buffer, panel } => {
                self.out.push_str("store_matrix ");
                self.buffer(*buffer);
                self.unless_zero("panel", *panel);
                self.out.push_str(" = ");
                self.var(*src);
                self.unless_zero("column", *column);
            }
            StmtKind::GridWait => self.out.push_str("grid_wait"),
            StmtKind::GridRelease => self.out.push_str("grid_release"),
            StmtKind::Set { .. }
            | StmtKind::For { .. }
            | StmtKind::While { .. }
            | StmtKind::If { .. }
            | StmtKind::Roles(_) => {
                unreachable!("statements with blocks and assignments should be written by `stmt`")
            }
        }
    }

    fn unless_zero(&mut self, word: &str, n: u32) {
        if n > 0 {
            self.put(format_args!(" {word} {n}"));
        }
    }

    fn operands(&mut self, mnemonic: &str, operands: &[&Operand]) {
        self.out.push_str(mnemonic);
        for (i, operand) in operands.iter().enumerate() {
            self.out.push_str(if i == 0 { " " } else { ", " });
            self.operand(operand);
        }
    }

    fn operand(&mut self, operand: &Operand) {
        self.var(operand.var);
        if let RegMap::Table(table) = &operand.regs {
            self.put(format_args!("{{{}}}", runs(table)));
        }
    }

    fn on_axis(&mut self, mnemonic: &str, v: Var, axis: u8) {
        self.put(format_args!("{mnemonic} "));
        self.var(v);
        self.put(format_args!(" axis {axis}"));
    }

    fn point(&mut self, view: Var, offsets: &[Var]) {
        self.var(view);
        self.out.push('[');
        self.vars(offsets);
        self.out.push(']');
    }

    /// `$view[$offsets](coords)`, without the coordinates where they are the tile's own.
    fn window(&mut self, view: Var, offsets: &[Var], coords: &[Coord]) {
        self.point(view, offsets);
        let is_plain = coords.len() == offsets.len()
            && coords.iter().enumerate().all(|(d, c)| *c == Coord::Axis(d as u8));
        if !is_plain {
            self.coords(coords);
        }
    }

    fn coords(&mut self, coords: &[Coord]) {
        let list: Vec<String> = coords.iter().map(coord).collect();
        self.put(format_args!("({})", list.join(", ")));
    }

    fn indexed(&mut self, view: Var, indices: &[Operand], mask: Option<&Operand>) {
        self.var(view);
        self.out.push('[');
        for (i, index) in indices.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.operand(index);
        }
        self.out.push(']');
        if let Some(mask) = mask {
            self.out.push_str(" mask ");
            self.operand(mask);
        }
    }

    fn vector(&mut self, vector: u32) {
        if vector != 1 {
            self.put(format_args!(" vector {vector}"));
        }
    }

    fn scratch(&mut self, word: &str, buffer: Option<BufferId>) {
        if let Some(buffer) = buffer {
            self.put(format_args!(" {word} "));
            self.buffer(buffer);
        }
    }
}

/// A coordinate function: `d0`, `0`, or `(d0 * 64 + d1 * 1) / 8 % 4`.
pub(in crate::gpu) fn coord(c: &Coord) -> String {
    match c {
        Coord::Axis(axis) => format!("d{axis}"),
        Coord::Zero => "0".to_owned(),
        Coord::Digit { of, div, modulo } => {
            let terms: Vec<String> =
                of.iter().map(|(c, stride)| format!("{} * {stride}", coord(c))).collect();
            let mut text = format!("({})", terms.join(" + "));
            if *div != 1 {
                text.push_str(&format!(" / {div}"));
            }
            if *modulo != 0 {
                text.push_str(&format!(" % {modulo}"));
            }
            text
        }
    }
}

/// A register table: `5`, three or more ascending as `0..4`, equal neighbours as `7 * 4`.
fn runs(table: &[u16]) -> String {
    let mut out = Vec::new();
    let mut at = 0;
    while at < table.len() {
        let first = table[at];
        let rest = &table[at..];
        let equal = rest.iter().take_while(|&&r| r == first).count();
        let ascending =
            rest.iter().enumerate().take_while(|&(i, &r)| usize::from(r) == usize::from(first) + i).count();
        if equal > 1 {
            out.push(format!("{first} * {equal}"));
            at += equal;
        } else if ascending > 2 {
            out.push(format!("{first}..{}", usize::from(first) + ascending));
            at += ascending;
        } else {
            out.push(first.to_string());
            at += 1;
        }
    }
    out.join(", ")
}
