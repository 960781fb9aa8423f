//! Where each variable is declared and how often it is written, so that what never changes is `const` and nothing lives in a
//! wider block than it must.
//!
//! A variable is declared in the innermost block that holds all its mentions: at its definition when that is the first of them
//! and lies in that very block, else in front of the statement that holds the first.

use crate::gpu::walk::{Use, blocks, for_each_mention};
use crate::gpu::{Block, GpuFunc, Op, StmtKind, Var};
use crate::ir::Const;

/// A statement's place: the block, by identity, and the index in it.
pub(crate) type Place = (*const Block, usize);

/// What is known of one variable.
#[derive(Clone, Debug, Default)]
struct Mentions {
    /// Blocks and indices from the outermost to the one that declares.
    path: Vec<Place>,
    count: usize,
    writes: usize,
    updates: usize,
    constant: Option<Const>,
    /// The loop body whose induction variable it is.
    header_of: Option<*const Block>,
}

/// Mentions of every variable of a function.
#[derive(Debug)]
pub(crate) struct Usage {
    vars: Vec<Mentions>,
}

impl Usage {
    /// Walks over a function.
    pub(crate) fn of(func: &GpuFunc) -> Self {
        let mut usage = Self { vars: vec![Mentions::default(); func.vars.len()] };
        usage.block(&func.body, &mut Vec::new());
        for param in &func.params {
            let m = &mut usage.vars[param.var.index()];
            m.writes += 1;
            m.path.clear();
        }
        usage
    }

    fn block(&mut self, block: &Block, path: &mut Vec<Place>) {
        for (index, stmt) in block.stmts.iter().enumerate() {
            path.push((block, index));
            // The two that a loop's header mentions belong to its blocks: see below.
            let in_blocks = if let StmtKind::For { iv: v, .. } | StmtKind::While { cond: v, .. } = &stmt.kind
            {
                Some(*v)
            } else {
                None
            };
            for_each_mention(&stmt.kind, &mut |&v, access| {
                if in_blocks != Some(v) {
                    self.mention(v, access, path);
                }
            });
            if let StmtKind::Set { dst, op: Op::Const(c) } = &stmt.kind {
                self.vars[dst.index()].constant = Some(*c);
            }
            if let StmtKind::For { iv, body, .. } = &stmt.kind {
                path.push((body, 0));
                self.mention(*iv, Use::Write, path);
                path.pop();
                self.vars[iv.index()].header_of = Some(body);
            }
            for inner in blocks(&stmt.kind) {
                self.block(inner, path);
                if let StmtKind::While { test, cond, .. } = &stmt.kind
                    && std::ptr::eq(test, inner)
                {
                    path.push((test, test.stmts.len()));
                    self.mention(*cond, Use::Read, path);
                    path.pop();
                }
            }
            path.pop();
        }
    }

    fn mention(&mut self, v: Var, access: Use, path: &[Place]) {
        let m = &mut self.vars[v.index()];
        if m.count == 0 {
            m.path = path.to_vec();
        } else {
            let mut common = 0;
            for (mine, new) in m.path.iter().zip(path) {
                if mine.0 != new.0 {
                    break;
                }
                common += 1;
                if mine.1 != new.1 {
                    break;
                }
            }
            m.path.truncate(common);
        }
        m.count += 1;
        match access {
            Use::Read => {}
            Use::Write => m.writes += 1,
            Use::Update => m.updates += 1,
        }
    }

    /// Where `v` is declared; `None` when nothing mentions it.
    pub(crate) fn declared_at(&self, v: Var) -> Option<Place> {
        self.vars[v.index()].path.last().copied()
    }

    /// Whether `v` has one definition and keeps its value.
    pub(crate) fn is_constant(&self, v: Var) -> bool {
        let m = &self.vars[v.index()];
        m.writes == 1 && m.updates == 0
    }

    /// The value of a variable that is only ever this constant.
    pub(crate) fn constant(&self, v: Var) -> Option<Const> {
        self.vars[v.index()].constant.filter(|_| self.is_constant(v))
    }

    /// Number of mentions, the definition included.
    pub(crate) fn mentions(&self, v: Var) -> usize {
        self.vars[v.index()].count
    }

    /// Variables declared by the statement at `place`, in order.
    pub(crate) fn declared_by(&self, place: Place) -> Vec<Var> {
        let here = |m: &Mentions| m.path.last() == Some(&place) && m.header_of != Some(place.0);
        (0u32..).zip(&self.vars).filter(|(_, m)| here(m)).map(|(i, _)| Var(i)).collect()
    }
}
