//! Puts a barrier before every statement that would meet another thread's access to the same bytes.
//!
//! The walk keeps what has been accessed since the last barrier. A loop begins with what stood before it and with what its own
//! body leaves behind. Accesses to different slots of one ring do not meet: the pipeline's own barrier keeps them apart. Inside
//! warp roles the barrier is the role's own: roles wait for each other by mbarriers alone.

use super::accesses::{Access, accesses, has_own_barrier};
use crate::gpu::func::{Block, GpuFunc};
use crate::gpu::memory::Buffer;
use crate::gpu::ops::{Stmt, StmtKind};

/// Inserts the barriers that the buffers of `func`, which are placed, need.
pub fn insert_barriers(func: &mut GpuFunc) {
    let n_threads = func.n_threads();
    let body = std::mem::take(&mut func.body);
    let cx = Barriers { buffers: &func.buffers, id: 0, n_threads };
    let (body, _) = cx.block(&body, Vec::new());
    func.body = body;
}

struct Barriers<'a> {
    buffers: &'a [Buffer],
    /// Number of the barrier at which the threads of the block, or of the role, meet.
    id: u32,
    n_threads: u32,
}

impl Barriers<'_> {
    /// The block with barriers, and what is accessed after its last one, when `pending` was accessed before it.
    fn block(&self, block: &Block, mut pending: Vec<Access>) -> (Block, Vec<Access>) {
        let mut out = Block::default();
        for stmt in &block.stmts {
            let now = accesses(&stmt.kind);
            if now.iter().any(|a| pending.iter().any(|p| self.conflict(*p, *a))) {
                let kind = StmtKind::Barrier { id: self.id, n_threads: self.n_threads };
                out.stmts.push(Stmt { kind, loc: stmt.loc });
                pending.clear();
            }
            if has_own_barrier(&stmt.kind) {
                pending = now.iter().map(|a| Access { writes: false, ..*a }).collect();
            } else {
                for a in now {
                    if !pending.contains(&a) {
                        pending.push(a);
                    }
                }
            }
            let mut stmt = stmt.clone();
            if let StmtKind::Barrier { id, .. } = &stmt.kind
                && *id == self.id
            {
                pending.clear();
            } else if let StmtKind::For { body, .. } = &mut stmt.kind {
                let first = self.block(body, pending.clone()).1;
                let entry = union(&pending, &first);
                let (with, after) = self.block(body, entry);
                *body = with;
                pending = union(&pending, &after);
            } else if let StmtKind::While { test, body, .. } = &mut stmt.kind {
                let once = self.block(test, pending.clone()).1;
                let first = self.block(body, once).1;
                let entry = union(&pending, &first);
                let (with_test, between) = self.block(test, entry);
                let (with_body, _) = self.block(body, between.clone());
                (*test, *body) = (with_test, with_body);
                pending = between;
            } else if let StmtKind::If { then_block, else_block, .. } = &mut stmt.kind {
                let (a, after_then) = self.block(then_block, pending.clone());
                let (b, after_else) = self.block(else_block, pending.clone());
                (*then_block, *else_block) = (a, b);
                pending = union(&after_then, &after_else);
            } else if let StmtKind::Roles(roles) = &mut stmt.kind {
                // What one role leaves to another is kept apart by mbarriers; within a role its own barrier does it.
                for (i, role) in roles.iter_mut().enumerate() {
                    let n_threads = role.n_warps * 32;
                    let own = Barriers { buffers: self.buffers, id: i as u32 + 1, n_threads };
                    role.body = own.block(&role.body, Vec::new()).0;
                }
                pending.clear();
            }
            out.stmts.push(stmt);
        }
        (out, pending)
    }

    fn conflict(&self, before: Access, now: Access) -> bool {
        if !before.writes && !now.writes {
            return false;
        }
        if before.buffer == now.buffer {
            return !(before.in_ring && now.in_ring);
        }
        let bytes = |a: Access| {
            let b = &self.buffers[a.buffer.index()];
            (b.offset_bytes, b.offset_bytes + b.bytes())
        };
        let (x, y) = (bytes(before), bytes(now));
        x.0 < y.1 && y.0 < x.1
    }
}

fn union(a: &[Access], b: &[Access]) -> Vec<Access> {
    let mut out = a.to_vec();
    out.extend(b.iter().filter(|x| !a.contains(x)));
    out
}
