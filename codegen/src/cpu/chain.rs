//! Groups that go through the same rows one after another run block by block: all of them on a few rows, then on the next few.
//!
//! A softmax is three groups over its tile: the largest element of each row, the exponentials and their sum, the quotients.
//! One group after the other, each finds in the second-level cache what the one before has left there. Over a block of rows
//! that the first-level cache holds, they find it in that.
//!
//! ```text
//!            one after another                 block by block
//!   rows  │  max  │  exp  │  div  │            max ─▶ exp ─▶ div      rows 0..2
//!    0..  ▼       ▼       ▼       ▼            max ─▶ exp ─▶ div      rows 2..4
//! ```
//!
//! Groups form a chain when whatever one of them leaves in the arena for another is read at the row where it was written. A
//! tile that only the chain knows is then as large as a block. Where a store of the chain meets another group's access in memory,
//! which depends on the launch, the groups run one after another after all. Either way gives the same bits.
#![allow(unsafe_code, reason = "drives the strips of groups over the arena")]

use super::alias;
use super::compile::Compiler;
use super::program::{Buf, CpuProgram, Group, Inst, SlotKind, StripOp};
use super::run::State;
use super::strip_run::{Cx, prepare_runs, run_group, run_rows};
use crate::ir::MAX_RANK;

/// Bytes of one tile's rows in a block: four such tiles fit into the smallest first-level caches.
pub(crate) const BLOCK_BYTES: u32 = 8 << 10;

/// Groups that may form a chain, at most: what one launch of it keeps on the stack.
const MAX_GROUPS: usize = 8;

/// What the first group of a chain knows of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Groups of the chain, in the order of the instructions that follow one another.
    pub n_groups: u32,
    /// Rows of a block.
    pub block_rows: u32,
}

/// How a group uses a buffer, where elements have rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    /// Element `row * columns + column`.
    Whole,
    /// Element `row`.
    Row,
    /// Anything else.
    Other,
}

/// Finds the chains, with blocks of `block_bytes` of each tile; returns the first and last instruction of each.
pub(crate) fn plan_chains(c: &mut Compiler<'_>, block_bytes: u32) -> Vec<(u32, u32)> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < c.insts.len() {
        let n = longest(c, at);
        if n < 2 {
            at += 1;
            continue;
        }
        let members: Vec<usize> = c.insts[at..at + n].iter().filter_map(group_of).collect();
        let first = &c.groups[members[0]];
        let block_rows = (block_bytes / (4 * first.cols)).max(1);
        if block_rows < first.rows {
            let local = local_tiles(c, at, &members);
            for &g in &members {
                for slot in &mut c.groups[g].slots {
                    if let SlotKind::Linear { buf, size } = *slot
                        && local.contains(&buf)
                    {
                        *slot = SlotKind::Block { buf, size };
                    }
                }
            }
            c.groups[members[0]].chain = Some(Chain { n_groups: n as u32, block_rows });
            spans.push((at as u32, (at + n - 1) as u32));
        }
        at += n;
    }
    spans
}

const fn group_of(inst: &Inst) -> Option<usize> {
    if let Inst::Group(g) = inst { Some(*g as usize) } else { None }
}

/// The most groups from instruction `at` on that form a chain, which begins and ends with whole rows.
fn longest(c: &Compiler<'_>, at: usize) -> usize {
    let Some(first) = group_of(&c.insts[at]).map(|g| &c.groups[g]) else { return 0 };
    if first.outer.len() != 1 || first.rows < 2 {
        return 0;
    }
    let (mut members, mut best) = (Vec::new(), 0);
    for inst in c.insts[at..].iter().take(MAX_GROUPS) {
        let Some(group) = group_of(inst).map(|g| &c.groups[g]) else { break };
        debug_assert!(
            std::ptr::eq(group, &raw const c.groups[group_of(&c.insts[at]).unwrap_or(0) + members.len()]),
            "groups should be numbered in the order of their instructions"
        );
        members.push(group);
        if !fits(group, first) || !agree(&members) {
            break;
        }
        if is_wide(group, first) {
            best = members.len();
        }
    }
    best
}

fn is_wide(group: &Group, first: &Group) -> bool {
    group.outer.len() == 1 && (group.rows, group.cols) == (first.rows, first.cols)
}

/// Whether a group goes through the rows of `first`, whole or with one element each, and touches nothing out of turn.
fn fits(group: &Group, first: &Group) -> bool {
    let is_narrow = group.outer.is_empty() && group.cols == first.rows && group.mems.is_empty();
    let in_turn = |op: &StripOp| {
        !matches!(op, StripOp::Gather { .. } | StripOp::Scatter { .. } | StripOp::ReduceCols { .. })
            && (!is_narrow || !matches!(op, StripOp::ReduceRows { .. }))
    };
    (is_wide(group, first) || is_narrow)
        && group.rounds.is_empty()
        && group.mems.iter().all(|m| !m.is_indexed)
        && group.ops.iter().all(in_turn)
}

/// Whether every buffer that one of the groups writes is read by all at the row where it was written.
fn agree(members: &[&Group]) -> bool {
    let mut uses: Vec<(Buf, Use, bool)> = Vec::new();
    for group in members {
        for_each_use(group, &mut |buf, how, writes| uses.push((buf, how, writes)));
    }
    uses.iter().filter(|(.., writes)| *writes).all(|&(buf, how, _)| {
        how != Use::Other && uses.iter().filter(|(b, ..)| *b == buf).all(|(_, other, _)| *other == how)
    })
}

/// Calls `f` with each buffer, how its elements go with the rows, and whether the group writes it.
fn for_each_use(group: &Group, f: &mut impl FnMut(Buf, Use, bool)) {
    let whole = if group.outer.is_empty() { Use::Row } else { Use::Whole };
    let by_row = |strides: &[u32; MAX_RANK], col_stride: u32| {
        if !group.outer.is_empty() && strides[0] == 1 && col_stride == 0 { Use::Row } else { Use::Other }
    };
    for (i, slot) in group.slots.iter().enumerate() {
        let writes = group.ops.iter().any(|op| op.dst() == Some(i as u32));
        match slot {
            SlotKind::Linear { buf, .. } | SlotKind::Block { buf, .. } => f(*buf, whole, writes),
            SlotKind::RowOf { buf, strides, col_stride, .. } => f(*buf, by_row(strides, *col_stride), writes),
            SlotKind::Scratch(_) | SlotKind::Fetched(_) => {}
        }
    }
    for op in &group.ops {
        if let StripOp::FetchTile { buf, strides, col_stride, .. } = op {
            f(*buf, by_row(strides, *col_stride), false);
        }
        if let StripOp::ReduceRows { dst, .. } = op {
            f(*dst, Use::Row, true);
        }
    }
}

/// Whole tiles that the chain writes before it reads them, and that no other instruction touches.
fn local_tiles(c: &Compiler<'_>, at: usize, members: &[usize]) -> Vec<Buf> {
    let mut tiles: Vec<(Buf, bool)> = Vec::new();
    for &g in members {
        let group = &c.groups[g];
        // A group that reads and writes a tile reads it first.
        for writing in [false, true] {
            for_each_use(group, &mut |buf, how, writes| {
                if how == Use::Whole && writes == writing && tiles.iter().all(|(b, _)| *b != buf) {
                    tiles.push((buf, writes));
                }
            });
        }
    }
    let inside = at..at + members.len();
    let mut elsewhere = Vec::new();
    for (_, inst) in c.insts.iter().enumerate().filter(|(i, _)| !inside.contains(i)) {
        super::plan::for_each_buf(c, inst, &mut |b| elsewhere.push(b));
    }
    tiles.into_iter().filter(|(b, written)| *written && !elsewhere.contains(b)).map(|(b, _)| b).collect()
}

/// Runs the chain that begins with group `first`.
///
/// # Safety
/// The state belongs to `program` and its views are valid.
pub(crate) unsafe fn run_chain(program: &CpuProgram, first: usize, chain: Chain, state: &mut State<'_>) {
    let groups = &program.groups[first..first + chain.n_groups as usize];
    let mut at = 0;
    for group in groups {
        prepare_runs(group, state, at);
        at += group.mems.len();
    }
    // SAFETY: as for the whole function; every group's strips stay within its rows.
    unsafe {
        if alias::crosses(groups, state.runs, state.views, state.regs) {
            groups.iter().for_each(|group| run_group(program, group, state));
            return;
        }
        let mut cx: [Option<Cx<'_>>; MAX_GROUPS] = [const { None }; MAX_GROUPS];
        let mut at = 0;
        for (cx, group) in cx.iter_mut().zip(groups) {
            *cx = Some(Cx::new(program, group, state, at, chain.block_rows));
            at += group.mems.len();
        }
        let rows = groups[0].rows;
        let mut row = 0;
        while row < rows {
            let end = (row + chain.block_rows).min(rows);
            cx.iter().flatten().for_each(|cx| run_rows(cx, row, end));
            row = end;
        }
    }
}
