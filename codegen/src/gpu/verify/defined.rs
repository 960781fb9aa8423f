//! Handles in range, and variables assigned before they are read on every path.

use super::{Node, Verifier};
use crate::gpu::func::Var;
use crate::gpu::memory::{BarrierId, BufferId};
use crate::gpu::ops::{MatrixOperand, Op, StmtKind};
use crate::gpu::walk::{Use, for_each_mention};

impl Verifier<'_> {
    pub(super) fn defined(&mut self, body: &[Node<'_>]) {
        let mut assigned = vec![false; self.func.vars.len()];
        for param in &self.func.params {
            match assigned.get_mut(param.var.index()) {
                Some(true) => self.error(format!("two parameters are the variable `{}`", param.var)),
                Some(flag) => *flag = true,
                None => self.error(format!("parameter `{}` is a variable that does not exist", param.name)),
            }
        }
        for (i, map) in self.func.maps.iter().enumerate() {
            if !self.func.params.iter().any(|p| p.var == map.param) {
                self.error(format!("tensor map `~{i}` is not of a parameter"));
            }
        }
        self.defined_in(body, &mut assigned);
    }

    fn defined_in(&mut self, block: &[Node<'_>], assigned: &mut Vec<bool>) {
        for node in block {
            self.at(node);
            let kind = &node.stmt.kind;
            self.handles(kind);
            // The condition of `while` is read after its test.
            if let StmtKind::While { cond, .. } = kind {
                self.defined_in(&node.blocks[0], assigned);
                self.at(node);
                self.read(*cond, assigned);
                self.defined_in(&node.blocks[1], &mut assigned.clone());
                continue;
            }
            let starts_fresh = matches!(kind, StmtKind::Wgmma { accumulate: Some(_), .. });
            let mut written = Vec::new();
            for_each_mention(kind, &mut |&v, how| match how {
                Use::Read => self.read(v, assigned),
                Use::Update if starts_fresh => written.push(v),
                Use::Update => self.read(v, assigned),
                Use::Write => written.push(v),
            });
            if let StmtKind::If { .. } = kind {
                let mut other = assigned.clone();
                self.defined_in(&node.blocks[0], assigned);
                self.defined_in(&node.blocks[1], &mut other);
                assigned.iter_mut().zip(other).for_each(|(a, b)| *a &= b);
                continue;
            }
            if matches!(kind, StmtKind::For { .. } | StmtKind::Roles(_)) {
                // A loop may not run, and what a role assigns is its own.
                for block in &node.blocks {
                    let mut inside = assigned.clone();
                    written.iter().for_each(|v| assign(&mut inside, *v));
                    self.defined_in(block, &mut inside);
                }
                continue;
            }
            for v in written {
                if v.index() >= assigned.len() {
                    self.error(format!("`{v}` is not a variable of this kernel"));
                }
                if self.func.params.iter().any(|p| p.var == v) {
                    let name = self.show(v);
                    self.error(format!("{name} is a parameter and is assigned"));
                }
                assign(assigned, v);
            }
        }
    }

    fn read(&mut self, v: Var, assigned: &[bool]) {
        match assigned.get(v.index()) {
            None => self.error(format!("`{v}` is not a variable of this kernel")),
            Some(false) => {
                let name = self.show(v);
                self.error(format!("{name} is read where not every path has assigned it"));
            }
            Some(true) => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other statements name neither buffers nor mbarriers"
    )]
    fn handles(&mut self, kind: &StmtKind) {
        let mut buffers: Vec<BufferId> = Vec::new();
        let mut barriers: Vec<BarrierId> = Vec::new();
        let mut map = None;
        let matrix = |m: &MatrixOperand| match m {
            MatrixOperand::Registers(_) => None,
            MatrixOperand::Shared { buffer, .. } => Some(*buffer),
        };
        match kind {
            StmtKind::Set { op, .. } => match op {
                Op::Reduce { scratch, .. } | Op::SumPartials { scratch, .. } => buffers.extend(scratch),
                Op::ArgReduce { values, positions, .. } => buffers.extend(values.iter().chain(positions)),
                Op::FromShared { buffer, .. } => buffers.push(*buffer),
                _ => {}
            },
            StmtKind::ToShared { buffer, .. }
            | StmtKind::CopyAsync { buffer, .. }
            | StmtKind::StoreMatrix { buffer, .. } => buffers.push(*buffer),
            StmtKind::DotShared { a, b, .. } => buffers.extend([*a, *b]),
            StmtKind::Mma { a, b, .. } | StmtKind::Wgmma { a, b, .. } => {
                buffers.extend(matrix(a).into_iter().chain(matrix(b)));
            }
            StmtKind::TmaLoad { map: m, buffer, barrier, .. } => {
                buffers.push(*buffer);
                barriers.push(*barrier);
                map = Some(*m);
            }
            StmtKind::TmaStore { map: m, buffer, .. } => {
                buffers.push(*buffer);
                map = Some(*m);
            }
            StmtKind::ExpectBytes { barrier, .. }
            | StmtKind::WaitBarrier { barrier, .. }
            | StmtKind::ArriveBarrier { barrier, .. } => barriers.push(*barrier),
            StmtKind::Assert { message, .. } if *message as usize >= self.func.assertions.len() => {
                self.error(format!("assertion {message} is not declared"));
            }
            _ => {}
        }
        for b in buffers.into_iter().filter(|b| b.index() >= self.func.buffers.len()) {
            self.error(format!("`{b}` is not a buffer of this kernel"));
        }
        for b in barriers.into_iter().filter(|b| b.index() >= self.func.barriers.len()) {
            self.error(format!("`{b}` is not an mbarrier of this kernel"));
        }
        if let Some(m) = map.filter(|m| m.index() >= self.func.maps.len()) {
            self.error(format!("`{m}` is not a tensor map of this kernel"));
        }
    }
}

fn assign(assigned: &mut [bool], v: Var) {
    if let Some(flag) = assigned.get_mut(v.index()) {
        *flag = true;
    }
}
