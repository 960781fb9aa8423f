//! The order of a block's accesses to device memory: a barrier where threads would meet at one element.
//!
//! In the language the statements of a program run one after another. On a GPU each thread runs ahead on its own elements, so
//! a store to memory that the program has also read, or a load of what it has written, must wait for the others, unless every
//! thread touches the same elements both times and nobody holds a copy.

use super::Lower;
use crate::gpu::ops::{Coord, StmtKind};
use crate::ir::walk::for_each_stmt;
use crate::ir::{self, Block, StmtKind as TileStmt, Value};
use crate::layout::Layout;

/// Which thread touches which element: equal places are touched by equal threads.
#[derive(Clone, PartialEq)]
pub(super) struct Exactly {
    pub(super) view: Value,
    pub(super) offsets: Vec<Value>,
    pub(super) layout: Layout,
    pub(super) coords: Vec<Coord>,
}

/// One access since the threads last met.
#[derive(Clone)]
pub(super) struct GlobalAccess {
    param: Value,
    writes: bool,
    exactly: Option<Exactly>,
}

impl Lower<'_> {
    /// Notes an access to memory behind `view`, after a barrier if it would meet an earlier one.
    pub(super) fn order_access(&mut self, view: Value, writes: bool, exactly: Option<Exactly>) {
        let param = self.facts.view(view).map_or(view, |f| f.param);
        // Of an element that several threads hold, one stores it and the others may still be about to read it.
        let exactly = exactly.filter(|e| {
            let copies = e.layout.free_bits();
            copies.lane == 0 && copies.warp == 0
        });
        let meets = |p: &GlobalAccess| {
            p.param == param && (p.writes || writes) && (p.exactly.is_none() || p.exactly != exactly)
        };
        if self.accesses.iter().any(meets) {
            self.barrier();
            self.accesses.clear();
        }
        self.accesses.push(GlobalAccess { param, writes, exactly });
    }

    /// Notes what the iterations of a loop leave behind for each other.
    pub(super) fn order_loop(&mut self, body: &Block) {
        let mut views = Vec::new();
        for_each_stmt(body, &mut |stmt| match &stmt.kind {
            TileStmt::Let { op: ir::Op::Load { view, .. } | ir::Op::Gather { view, .. }, .. } => {
                views.push((*view, false));
            }
            TileStmt::Store { view, .. } | TileStmt::Scatter { view, .. } => views.push((*view, true)),
            TileStmt::Let { .. }
            | TileStmt::Print { .. }
            | TileStmt::Assert { .. }
            | TileStmt::For { .. }
            | TileStmt::While { .. }
            | TileStmt::If { .. } => {}
        });
        for (view, writes) in views {
            let param = self.facts.view(view).map_or(view, |f| f.param);
            self.accesses.push(GlobalAccess { param, writes, exactly: None });
        }
    }

    /// All threads of the block, or of the consumers, meet.
    pub(super) fn barrier(&mut self) {
        let (id, n_warps) = if self.is_specialised { (1, self.plan.n_warps) } else { (0, self.out.n_warps) };
        self.emit(StmtKind::Barrier { id, n_threads: n_warps * 32 });
    }
}
