//! Places arena buffers: two buffers share bytes when their lifetimes do not meet.
//!
//! A lifetime runs from the first instruction that touches a buffer to the last, widened to every loop that it crosses the
//! border of. First fit in order of birth; 64-byte lines.

use super::compile::Compiler;
use super::program::{
    Buf, CpuProgram, DotSide, Inst, LAST_LEVEL_CACHE_BYTES, MemAccess, ParamKind, Reg, Shown, SlotKind,
    StripOp,
};
use crate::diag::{Diagnostic, Diagnostics, Loc};

const LINE_BYTES: u32 = 64;
/// Keeps every byte offset well within 32 bits.
const MAX_ARENA_BYTES: u64 = 1 << 31;

/// Finishes a compilation.
pub(crate) fn finish(mut c: Compiler<'_>, params: Vec<ParamKind>) -> Result<CpuProgram, Diagnostics> {
    let lives = lifetimes(&c);
    let mut order: Vec<usize> = (0..c.bufs.len()).filter(|&b| lives[b].is_some()).collect();
    order.sort_by_key(|&b| (lives[b], b));
    let mut offsets = vec![0u32; c.bufs.len()];
    let mut placed: Vec<(u64, u64, (u32, u32))> = Vec::new();
    let mut top = 0u64;
    for b in order {
        let Some(life) = lives[b] else { continue };
        // One line more than needed: neighbours at exact powers of two would fall on the same cache sets.
        let size = u64::from(c.bufs[b].bytes.next_multiple_of(LINE_BYTES)) + u64::from(LINE_BYTES);
        let mut taken: Vec<(u64, u64)> =
            placed.iter().filter(|p| p.2.0 <= life.1 && life.0 <= p.2.1).map(|p| (p.0, p.1)).collect();
        taken.sort_unstable();
        let mut at = 0u64;
        for (start, end) in taken {
            if at + size <= start {
                break;
            }
            at = at.max(end);
        }
        top = top.max(at + size);
        if top > MAX_ARENA_BYTES {
            let loc = c.func.values.first().map_or_else(Loc::default, |v| v.loc);
            let message = format!(
                "the tiles of kernel `{}` need more than {MAX_ARENA_BYTES} bytes at once",
                c.func.name
            );
            return Err(Diagnostic::new(loc, message).help("choose smaller extents in the schedule").into());
        }
        placed.push((at, at + size, life));
        offsets[b] = at as u32;
    }
    plan_ahead(&mut c);
    plan_dots_ahead(&mut c);
    let scratch = c.groups.iter().map(|g| g.scratch_bytes).max().unwrap_or(0);
    let (n_regs, n_views) = c.counts();
    Ok(CpuProgram {
        name: c.func.name.clone(),
        isa: c.isa,
        params,
        n_regs,
        n_views,
        insts: c.insts,
        points: c.points,
        dots: c.dots,
        prints: c.prints,
        asserts: c.asserts,
        buf_offsets: offsets,
        scratch_offset: top as u32,
        arena_bytes: top as u32 + scratch,
        max_slots: c.groups.iter().map(|g| g.slots.len() as u32).max().unwrap_or(0),
        max_mems: c.groups.iter().map(|g| g.mems.len() as u32).max().unwrap_or(0),
        groups: c.groups,
        last_level_cache_bytes: LAST_LEVEL_CACHE_BYTES,
    })
}

/// Has a group bring the next program's part of a tile that a group before it has read: the first group of a row-wise kernel waits
/// for memory, and the others compute while memory is idle.
fn plan_ahead(c: &mut Compiler<'_>) {
    if !c.loops.is_empty() {
        return;
    }
    let groups: Vec<usize> = c
        .insts
        .iter()
        .filter_map(|i| if let Inst::Group(g) = i { Some(*g as usize) } else { None })
        .collect();
    let is_whole = |m: &&MemAccess| !m.is_store && !m.is_indexed && m.rank == 2 && m.axes[..2] == [0, 1];
    for (at, &g) in groups.iter().enumerate() {
        let reader = &c.groups[g];
        let Some(read) = reader.mems.iter().find(is_whole).cloned() else { continue };
        let is_alike = |g: usize| {
            c.groups[g].outer.len() == 1 && (c.groups[g].rows, c.groups[g].cols) == (reader.rows, reader.cols)
        };
        // Groups over a few elements, such as one a row, come between. A tile that several groups read is asked for once.
        let next = groups[at + 1..].iter().copied().find(|&g| is_alike(g));
        let is_asked = groups.iter().any(|&g| c.groups[g].ahead.as_ref() == Some(&read));
        if reader.outer.len() == 1
            && !is_asked
            && let Some(next) = next
        {
            c.groups[next].ahead = Some(read);
        }
    }
}

/// Has each product ask for the right operand of the one that follows it in a straight line, as in attention, where the values are
/// read right after the keys.
fn plan_dots_ahead(c: &mut Compiler<'_>) {
    let mut last: Option<(usize, usize)> = None;
    for at in 0..c.insts.len() {
        if let Inst::Dot(d) = c.insts[at] {
            let d = d as usize;
            if let Some((before, first)) = last
                && let DotSide::View(b) = &c.dots[d].b
                && !c.insts[before..at].iter().any(|i| settles(i, b))
            {
                c.dots[first].ahead = Some(b.clone());
            }
            last = Some((at, d));
        } else if branches(&c.insts[at]) {
            last = None;
        }
    }
}

const fn branches(inst: &Inst) -> bool {
    matches!(inst, Inst::Jump(_) | Inst::JumpUnless { .. } | Inst::ForEnter { .. } | Inst::ForNext { .. })
}

/// Whether an instruction writes the view or an offset that `mem` is addressed by.
fn settles(inst: &Inst, mem: &MemAccess) -> bool {
    let reg = |r: &Reg| mem.offsets.contains(&Some(*r));
    match inst {
        Inst::ViewSelect { dst, .. }
        | Inst::ViewSlice { dst, .. }
        | Inst::ViewPermute { dst, .. }
        | Inst::ViewMov { dst, .. } => *dst == mem.view,
        Inst::Const { dst, .. }
        | Inst::ProgramId { dst, .. }
        | Inst::NumPrograms { dst, .. }
        | Inst::Mov { dst, .. }
        | Inst::Unary { dst, .. }
        | Inst::Binary { dst, .. }
        | Inst::Fma { dst, .. }
        | Inst::Select { dst, .. }
        | Inst::Cast { dst, .. }
        | Inst::ViewDim { dst, .. }
        | Inst::LoadPoint { dst, .. }
        | Inst::ReadElem { dst, .. } => reg(dst),
        Inst::StorePoint { .. }
        | Inst::Group(_)
        | Inst::Dot(_)
        | Inst::CopyTile { .. }
        | Inst::ArgReduce { .. }
        | Inst::Print(_)
        | Inst::Assert(_)
        | Inst::Jump(_)
        | Inst::JumpUnless { .. }
        | Inst::ForEnter { .. }
        | Inst::ForNext { .. } => false,
    }
}

/// First and last instruction that touch each buffer, loops taken into account.
fn lifetimes(c: &Compiler<'_>) -> Vec<Option<(u32, u32)>> {
    let mut lives: Vec<Option<(u32, u32)>> = vec![None; c.bufs.len()];
    for (i, inst) in c.insts.iter().enumerate() {
        let i = i as u32;
        for_each_buf(c, inst, &mut |b| {
            let life = lives[b as usize].get_or_insert((i, i));
            life.1 = i;
        });
    }
    // Loops end inner first, so one pass widens through every nesting.
    for &(start, end) in &c.loops {
        for life in lives.iter_mut().flatten() {
            let meets = life.0 <= end && start <= life.1;
            let inside = start <= life.0 && life.1 <= end;
            if meets && !inside {
                *life = (life.0.min(start), life.1.max(end));
            }
        }
    }
    lives
}

fn for_each_buf(c: &Compiler<'_>, inst: &Inst, f: &mut impl FnMut(Buf)) {
    match inst {
        Inst::ReadElem { src, .. } => f(*src),
        Inst::CopyTile { dst, src, .. } | Inst::ArgReduce { dst, src, .. } => {
            f(*dst);
            f(*src);
        }
        Inst::Group(g) => {
            let g = &c.groups[*g as usize];
            for s in &g.slots {
                match s {
                    SlotKind::Linear { buf, .. } | SlotKind::RowOf { buf, .. } => f(*buf),
                    SlotKind::Scratch(_) | SlotKind::Fetched(_) | SlotKind::Stored { .. } => {}
                }
            }
            for op in &g.ops {
                if let StripOp::FetchTile { buf, .. } = op {
                    f(*buf);
                }
                if let StripOp::ReduceRows { dst, .. }
                | StripOp::ReduceCols { dst, .. }
                | StripOp::ExpSum { sum: dst, .. } = op
                {
                    f(*dst);
                }
            }
        }
        Inst::Dot(d) => {
            let d = &c.dots[*d as usize];
            for side in [&d.a, &d.b] {
                if let DotSide::Tile { buf, .. } = side {
                    f(*buf);
                }
            }
            f(d.c);
            d.a_pack.into_iter().chain(d.b_pack).for_each(f);
        }
        Inst::Print(p) => {
            for v in &c.prints[*p as usize].values {
                if let Shown::Tile { buf, .. } = v {
                    f(*buf);
                }
            }
        }
        Inst::Assert(a) => {
            if let Shown::Tile { buf, .. } = &c.asserts[*a as usize].cond {
                f(*buf);
            }
        }
        Inst::Const { .. }
        | Inst::ProgramId { .. }
        | Inst::NumPrograms { .. }
        | Inst::Mov { .. }
        | Inst::Unary { .. }
        | Inst::Binary { .. }
        | Inst::Fma { .. }
        | Inst::Select { .. }
        | Inst::Cast { .. }
        | Inst::ViewDim { .. }
        | Inst::ViewSelect { .. }
        | Inst::ViewSlice { .. }
        | Inst::ViewPermute { .. }
        | Inst::ViewMov { .. }
        | Inst::LoadPoint { .. }
        | Inst::StorePoint { .. }
        | Inst::Jump(_)
        | Inst::JumpUnless { .. }
        | Inst::ForEnter { .. }
        | Inst::ForNext { .. } => {}
    }
}
