//! Places the buffers of a function in dynamic shared memory: those that are never needed at one time share bytes.
//!
//! Statements are numbered as they stand on the page. A buffer lives from its first access to its last; if it is accessed
//! inside a loop and outside of it, it lives as long as the loop does. The largest buffers are placed first, each at the lowest
//! offset that no living one takes.

use super::accesses::accesses;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::gpu::func::{Block, GpuFunc};
use crate::gpu::ops::StmtKind;
use crate::gpu::walk::{blocks, for_each_stmt};
use crate::target::Arch;

/// First and last statement that need a buffer.
type Life = Option<(usize, usize)>;

/// Gives every buffer and mbarrier its offset.
///
/// # Errors
/// If the buffers that live at one time exceed what a block of the target may have.
pub fn plan_shared_memory(func: &mut GpuFunc, target: Arch) -> Result<(), Diagnostics> {
    let mut lives: Vec<Life> = vec![None; func.buffers.len()];
    let mut at = 0;
    walk(&func.body, &mut at, &mut lives);
    let mut offset = 0;
    for barrier in &mut func.barriers {
        barrier.offset_bytes = offset;
        offset += 8 * barrier.slots;
    }
    let base = offset;
    let mut order: Vec<usize> = (0..func.buffers.len()).filter(|&i| lives[i].is_some()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(func.buffers[i].bytes()), i));
    let mut placed: Vec<usize> = Vec::new();
    let mut end = base;
    for i in order {
        let (size, align) = (func.buffers[i].bytes(), func.buffers[i].align_bytes.max(1));
        let mut taken: Vec<(u32, u32)> = placed
            .iter()
            .filter(|&&p| meet(lives[p], lives[i]))
            .map(|&p| (func.buffers[p].offset_bytes, func.buffers[p].offset_bytes + func.buffers[p].bytes()))
            .collect();
        taken.sort_unstable();
        let mut offset = base.next_multiple_of(align);
        for (from, to) in taken {
            if offset + size <= from {
                break;
            }
            offset = offset.max(to).next_multiple_of(align);
        }
        func.buffers[i].offset_bytes = offset;
        end = end.max(offset + size);
        placed.push(i);
    }
    func.shared_bytes = end;
    if end > target.limits().shared_per_block_bytes {
        let loc = func.body.stmts.first().map_or_else(Loc::default, |s| s.loc);
        let message = format!(
            "kernel `{}` needs {end} bytes of shared memory and a block of {} has {}",
            func.name,
            target,
            target.limits().shared_per_block_bytes
        );
        return Err(Diagnostic::new(loc, message)
            .help("choose smaller tile extents or fewer `stages`; such a point belongs in `legal = |s| ...`")
            .into());
    }
    Ok(())
}

fn meet(a: Life, b: Life) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
        (None, _) | (_, None) => false,
    }
}

fn walk(block: &Block, at: &mut usize, lives: &mut [Life]) {
    for stmt in &block.stmts {
        let here = *at;
        *at += 1;
        for access in accesses(&stmt.kind) {
            extend(&mut lives[access.buffer.index()], here, here);
        }
        let inner = blocks(&stmt.kind);
        if matches!(stmt.kind, StmtKind::For { .. } | StmtKind::While { .. }) {
            looped(&inner, at, lives);
        } else if matches!(stmt.kind, StmtKind::Roles(_)) {
            roles(&inner, at, lives);
        } else {
            inner.into_iter().for_each(|block| walk(block, at, lives));
        }
    }
}

/// Roles run at one time, so what several of them need is needed throughout. What one of them has for itself lives as in any
/// block; when several have something, that is so for the first of them alone.
fn roles(bodies: &[&Block], at: &mut usize, lives: &mut [Life]) {
    let before = *at;
    let mut inside: Vec<Vec<Life>> = Vec::new();
    for body in bodies {
        let mut own: Vec<Life> = vec![None; lives.len()];
        walk(body, at, &mut own);
        inside.push(own);
    }
    let users = |b: usize| inside.iter().enumerate().filter(move |(_, own)| own[b].is_some()).map(|(i, _)| i);
    let is_private = |b: usize| lives[b].is_none() && users(b).count() == 1;
    let planned = (0..lives.len()).filter(|&b| is_private(b)).flat_map(users).min();
    let found: Vec<Life> = (0..lives.len())
        .map(|b| match users(b).next() {
            Some(role) if is_private(b) && Some(role) == planned => inside[role][b],
            Some(_) => Some((before, *at)),
            None => None,
        })
        .collect();
    for (life, found) in lives.iter_mut().zip(found) {
        if let Some((first, last)) = found {
            extend(life, first, last);
        }
    }
}

fn looped(blocks: &[&Block], at: &mut usize, lives: &mut [Life]) {
    let before = *at;
    let mut inside: Vec<Life> = vec![None; lives.len()];
    for block in blocks {
        walk(block, at, &mut inside);
    }
    let after = *at;
    *at += 1;
    // A tensor store goes on reading when its iteration is over.
    for block in blocks {
        for_each_stmt(block, &mut |stmt| {
            if let StmtKind::TmaStore { buffer, .. } = &stmt.kind {
                extend(&mut inside[buffer.index()], before, after);
            }
        });
    }
    for (life, inner) in lives.iter_mut().zip(inside) {
        let Some((first, last)) = inner else { continue };
        // Written before the loop: every iteration needs it.
        if life.is_some() { extend(life, before, after) } else { extend(life, first, last) }
    }
}

fn extend(life: &mut Life, first: usize, last: usize) {
    *life = Some(life.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
}
