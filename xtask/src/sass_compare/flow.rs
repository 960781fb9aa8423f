//! Control flow of machine code: basic blocks, dominators, natural loops.
//!
//! ```text
//! header ─▶ ... ─▶ latch ─┐      a natural loop: the header dominates the latch, and the body is what reaches the latch
//!    ▲                    │      without passing the header; two latches of one header make one loop
//!    └────────────────────┘
//! ```
//!
//! A branch whose target the text does not say ends its block without a successor and is counted in [`Flow::unknown_branches`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::listing::{Function, Instruction};

/// Basic blocks and their edges.
pub(super) struct Flow {
    /// The instructions of each block; block 0 is the entry.
    pub(super) blocks: Vec<Range<usize>>,
    pub(super) successors: Vec<Vec<usize>>,
    /// The immediate dominator of each block; `None` for the entry and for what is never reached.
    dominators: Vec<Option<usize>>,
    /// Branches through registers, whose targets are not known.
    pub(super) unknown_branches: usize,
}

/// A loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Loop {
    pub(super) header: usize,
    /// Its blocks, the header included.
    pub(super) body: BTreeSet<usize>,
}

/// What an instruction does to the flow.
enum Leaves {
    /// Nothing: the next one follows.
    Not,
    /// It may go elsewhere, or the next one follows.
    Maybe(Vec<usize>),
    /// It goes elsewhere, or nowhere.
    Always(Vec<usize>),
    /// It goes where the text does not say.
    Somewhere,
}

impl Flow {
    pub(super) fn of(function: &Function) -> Self {
        let n = function.instructions.len();
        let leaves: Vec<Leaves> = (0..n).map(|i| leaves(function, i)).collect();
        let mut starts: BTreeSet<usize> = BTreeSet::from([0]);
        for (i, leaves) in leaves.iter().enumerate() {
            match leaves {
                Leaves::Not => {}
                Leaves::Maybe(targets) | Leaves::Always(targets) => {
                    starts.extend(targets.iter().copied());
                    starts.insert(i + 1);
                }
                Leaves::Somewhere => {
                    starts.insert(i + 1);
                }
            }
        }
        starts.retain(|&start| start < n);
        let bounds: Vec<usize> = starts.iter().copied().chain([n]).collect();
        let blocks: Vec<Range<usize>> = bounds.windows(2).map(|pair| pair[0]..pair[1]).collect();
        let block_at: BTreeMap<usize, usize> = blocks.iter().enumerate().map(|(b, r)| (r.start, b)).collect();
        let mut unknown_branches = 0;
        let mut successors = Vec::with_capacity(blocks.len());
        for range in &blocks {
            let next = block_at.get(&range.end).copied();
            let to = |targets: &[usize]| targets.iter().filter_map(|t| block_at.get(t).copied()).collect();
            let mut all: Vec<usize> = match &leaves[range.end - 1] {
                Leaves::Not => next.into_iter().collect(),
                Leaves::Maybe(targets) => next.into_iter().chain::<Vec<usize>>(to(targets)).collect(),
                Leaves::Always(targets) => to(targets),
                Leaves::Somewhere => {
                    unknown_branches += 1;
                    Vec::new()
                }
            };
            all.sort_unstable();
            all.dedup();
            successors.push(all);
        }
        let dominators = dominators(&successors);
        Self { blocks, successors, dominators, unknown_branches }
    }

    /// Whether every way to `block` leads through `above`.
    pub(super) fn dominates(&self, above: usize, block: usize) -> bool {
        let mut at = Some(block);
        while let Some(block) = at {
            if block == above {
                return true;
            }
            at = self.dominators[block];
        }
        false
    }

    /// The natural loops, by header.
    pub(super) fn loops(&self) -> Vec<Loop> {
        let mut predecessors = vec![Vec::new(); self.blocks.len()];
        for (from, all) in self.successors.iter().enumerate() {
            for &to in all {
                predecessors[to].push(from);
            }
        }
        let mut bodies: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (latch, all) in self.successors.iter().enumerate() {
            for &header in all {
                if !self.is_reached(latch) || !self.dominates(header, latch) {
                    continue;
                }
                let body = bodies.entry(header).or_insert_with(|| BTreeSet::from([header]));
                let mut open = vec![latch];
                while let Some(block) = open.pop() {
                    if body.insert(block) {
                        open.extend(predecessors[block].iter().copied().filter(|&b| self.is_reached(b)));
                    }
                }
            }
        }
        bodies.into_iter().map(|(header, body)| Loop { header, body }).collect()
    }

    fn is_reached(&self, block: usize) -> bool {
        block == 0 || self.dominators[block].is_some()
    }
}

/// Where control goes after instruction `i`.
fn leaves(function: &Function, i: usize) -> Leaves {
    let instruction = &function.instructions[i];
    let target = instruction.target().and_then(|label| function.labels.get(label).copied());
    let may_stay = !instruction.predicate.is_empty() && instruction.predicate != "@PT";
    let go = |targets: Vec<usize>| if may_stay { Leaves::Maybe(targets) } else { Leaves::Always(targets) };
    match instruction.mnemonic() {
        "BRA" | "JMP" => match target {
            // `BRA.U UP0, ..`, `BRA.DIV UR4, ..` and `BRA P0, ..` have their condition among the operands.
            Some(target) if has_condition(instruction) => Leaves::Maybe(vec![target]),
            Some(target) => go(vec![target]),
            None => Leaves::Somewhere,
        },
        "EXIT" | "RET" | "KILL" | "RTT" => go(Vec::new()),
        "BRX" | "JMX" | "BRXU" | "JMXU" => Leaves::Somewhere,
        // Threads that parted at the BSSY of the same number meet behind its label.
        "BSYNC" => {
            let barrier = instruction.operands.split(',').next().unwrap_or_default().trim();
            let mut targets: Vec<usize> = function
                .instructions
                .iter()
                .filter(|other| other.mnemonic() == "BSSY" && first_operand(other) == barrier)
                .filter_map(|other| function.labels.get(other.target()?).copied())
                .collect();
            targets.sort_unstable();
            targets.dedup();
            if targets.is_empty() || targets.contains(&(i + 1)) { Leaves::Not } else { go(targets) }
        }
        _ => Leaves::Not,
    }
}

fn first_operand(instruction: &Instruction) -> &str {
    instruction.operands.split(',').next().unwrap_or_default().trim()
}

/// Whether a branch names a predicate or a register before its target.
fn has_condition(instruction: &Instruction) -> bool {
    let before = instruction.operands.split('`').next().unwrap_or_default();
    !before.trim().trim_end_matches(',').is_empty()
}

/// Immediate dominators by the iteration of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm").
fn dominators(successors: &[Vec<usize>]) -> Vec<Option<usize>> {
    let order = reverse_post_order(successors);
    let mut position = vec![usize::MAX; successors.len()];
    for (at, &block) in order.iter().enumerate() {
        position[block] = at;
    }
    let mut predecessors = vec![Vec::new(); successors.len()];
    for &from in &order {
        for &to in &successors[from] {
            predecessors[to].push(from);
        }
    }
    let mut found: Vec<Option<usize>> = vec![None; successors.len()];
    if found.is_empty() {
        return found;
    }
    found[0] = Some(0);
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        for &block in order.iter().skip(1) {
            let known = predecessors[block].iter().copied().filter(|&p| found[p].is_some());
            let new = known.reduce(|a, b| common(&found, &position, a, b));
            if new.is_some() && found[block] != new {
                found[block] = new;
                has_changed = true;
            }
        }
    }
    found[0] = None;
    found
}

/// The nearest block that dominates both; the entry is its own dominator here.
fn common(found: &[Option<usize>], position: &[usize], a: usize, b: usize) -> usize {
    let (mut a, mut b) = (a, b);
    while a != b {
        if position[a] > position[b] {
            a = found[a].unwrap_or(0);
        } else {
            b = found[b].unwrap_or(0);
        }
    }
    a
}

fn reverse_post_order(successors: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::new();
    let mut is_seen = vec![false; successors.len()];
    // A block and how many of its successors were visited.
    let mut open: Vec<(usize, usize)> = Vec::new();
    if !successors.is_empty() {
        is_seen[0] = true;
        open.push((0, 0));
    }
    while let Some((block, visited)) = open.pop() {
        match successors[block].get(visited) {
            Some(&next) => {
                open.push((block, visited + 1));
                if !is_seen[next] {
                    is_seen[next] = true;
                    open.push((next, 0));
                }
            }
            None => order.push(block),
        }
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::super::listing::functions;
    use super::*;

    fn flow(lines: &[&str]) -> Flow {
        let mut text = ".text.k:\n".to_owned();
        let mut address = 0;
        for line in lines {
            if line.ends_with(':') {
                text += &format!("{line}\n");
            } else {
                text += &format!("/*{address:04x}*/ {line} ;\n");
                address += 16;
            }
        }
        Flow::of(&functions(&text).expect("the text is a listing")[0])
    }

    #[test]
    fn a_loop_with_a_wait_inside_is_two_loops() {
        let flow = flow(&[
            "MOV R0, RZ",
            ".outer:",
            "IADD3 R0, R0, 0x1, RZ",
            ".wait:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R1], R2",
            "@!P0 BRA `(.wait)",
            "FADD R3, R3, R4",
            "@P1 BRA `(.outer)",
            "EXIT",
        ]);
        let loops = flow.loops();
        assert_eq!(loops.len(), 2);
        assert_eq!(loops[0].body.len(), 3);
        assert_eq!(loops[1].body, BTreeSet::from([loops[1].header]));
        assert!(loops[0].body.is_superset(&loops[1].body));
        assert!(flow.dominates(loops[0].header, loops[1].header));
        assert!(!flow.dominates(loops[1].header, loops[0].header));
    }

    #[test]
    fn a_wait_that_is_retried_out_of_line_belongs_to_the_loop() {
        let flow = flow(&[
            ".outer:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R1], R2",
            "@!P0 BRA `(.slow)",
            ".back:",
            "FADD R3, R3, R4",
            "@P1 BRA `(.outer)",
            "EXIT",
            ".slow:",
            "SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R1], R2",
            "@!P0 BRA `(.slow)",
            "BRA `(.back)",
        ]);
        let loops = flow.loops();
        assert_eq!(loops.len(), 2);
        // Outer: wait, sum, retry, way back.
        assert_eq!(loops[0].body.len(), 4);
    }

    #[test]
    fn conditions_among_the_operands_and_convergence_points_are_seen() {
        let flow = flow(&[
            "BSSY B0, `(.meet)",
            "BRA.U !UP0, `(.else)",
            "FADD R0, R0, R1",
            "BSYNC B0",
            ".else:",
            "FMUL R0, R0, R1",
            "BSYNC B0",
            ".meet:",
            "EXIT",
        ]);
        assert_eq!(flow.successors, [vec![1, 2], vec![3], vec![3], vec![]]);
        assert!(flow.loops().is_empty());
        assert_eq!(flow.unknown_branches, 0);
    }

    #[test]
    fn a_branch_through_a_register_ends_its_block() {
        let flow = flow(&["BRX R2 -0x20", ".a:", "FADD R0, R0, R1", "BRA `(.a)"]);
        assert_eq!(flow.unknown_branches, 1);
        // What nothing leads to is no loop: nobody knows whether it runs.
        assert!(flow.loops().is_empty());
    }
}
