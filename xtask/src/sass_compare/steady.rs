//! The steady-state loop of a kernel on the matrix units, and what it spends per unit of matrix work.
//!
//! A matrix loop is an innermost natural loop that holds matrix instructions; loops inside it that hold none, such as waits, do not
//! count as loops. One pass over it is the way from its header back that does the most matrix work, then has the most steps of the
//! pipeline (copies issued, slots released), then enters the fewest blocks of loops inside, then has the fewest instructions.
//! So the copy that the last passes leave out is on it, and neither the second try of a wait nor the mask of a diagonal block is.
//! The steady state is the matrix loop with the fewest instructions per unit of work, since edges have loops of their own.
//!
//! A unit is 64 x 256 x 16 multiply-adds where a warpgroup multiplies (`HGMMA` and its kin), 16 x 8 x 16 where a warp does (`HMMA`).
//! Instructions are those that one warp issues.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use super::flow::{Flow, Loop};
use super::listing::{Function, Instruction};

/// Multiply-adds of m64n256k16.
const WARPGROUP_UNIT: u64 = 64 * 256 * 16;

/// Multiply-adds of m16n8k16.
const WARP_UNIT: u64 = 16 * 8 * 16;

/// Who multiplies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Warp,
    Warpgroup,
}

impl Scope {
    /// The unit of matrix work, for a table.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::Warp => "m16n8k16",
            Self::Warpgroup => "m64n256k16",
        }
    }

    const fn multiply_adds(self) -> u64 {
        match self {
            Self::Warp => WARP_UNIT,
            Self::Warpgroup => WARPGROUP_UNIT,
        }
    }
}

/// What an instruction is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Class {
    Matrix,
    /// Waits, arrivals, fences, barriers, group commits.
    Barrier,
    Move,
    Integer,
    Float,
    /// Global and shared memory, tensor copies, constants.
    Memory,
    /// Local memory: spilled registers.
    Spill,
    Control,
    /// What no list names.
    Other,
}

impl Class {
    pub(super) const ALL: [Self; 9] = [
        Self::Matrix,
        Self::Barrier,
        Self::Move,
        Self::Integer,
        Self::Float,
        Self::Memory,
        Self::Spill,
        Self::Control,
        Self::Other,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Barrier => "barrier",
            Self::Move => "move",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Memory => "memory",
            Self::Spill => "spill",
            Self::Control => "control",
            Self::Other => "other",
        }
    }

    pub(super) fn of(instruction: &Instruction) -> Self {
        const BARRIER: &[&str] = &[
            "BAR",
            "SYNCS",
            "DEPBAR",
            "LDGDEPBAR",
            "WARPGROUP",
            "WARPSYNC",
            "MEMBAR",
            "FENCE",
            "ERRBAR",
            "CCTL",
            "UTMACMDFLUSH",
            "ARRIVES",
            "B2R",
            "UCGABAR_ARV",
            "UCGABAR_WAIT",
            "ACQBULK",
            "NANOSLEEP",
            "WARPGROUPSET",
            "USETMAXREG",
            "ELECT",
        ];
        const MOVE: &[&str] =
            &["MOV", "UMOV", "R2UR", "S2R", "S2UR", "CS2R", "SHFL", "MOVM", "P2R", "R2P", "UP2UR", "R2B"];
        const MEMORY: &[&str] = &[
            "LD", "ST", "LDG", "STG", "LDS", "STS", "LDSM", "STSM", "LDGSTS", "LDC", "LDCU", "ULDC",
            "UTMALDG", "UTMASTG", "UTMAPF", "UTMAREDG", "UBLKCP", "UBLKPF", "UBLKRED", "ATOM", "ATOMG",
            "ATOMS", "RED", "REDG",
        ];
        const CONTROL: &[&str] = &[
            "BRA", "JMP", "BRX", "JMX", "BRXU", "JMXU", "EXIT", "RET", "CALL", "BSSY", "BSYNC", "BREAK",
            "YIELD", "NOP", "KILL", "RTT", "BPT", "PREEXIT",
        ];
        const FLOAT: &[&str] = &[
            "MUFU", "F2F", "F2FP", "F2I", "F2IP", "I2F", "I2FP", "FCHK", "HADD2", "HMUL2", "HFMA2", "HSETP2",
            "HMNMX2", "HSET2", "DADD", "DMUL", "DFMA", "DSETP", "UF2F", "UF2FP", "FADD", "FMUL", "FFMA",
            "FADD2", "FMUL2", "FFMA2", "FMNMX", "FMNMX3", "FSET", "FSETP", "FSEL", "FRND", "FSWZADD",
        ];
        const INTEGER: &[&str] = &[
            "IADD",
            "IADD3",
            "IADD64",
            "IMAD",
            "IMUL",
            "LEA",
            "LOP",
            "LOP3",
            "SHF",
            "SHL",
            "SHR",
            "ISETP",
            "ISET",
            "IMNMX",
            "IABS",
            "POPC",
            "FLO",
            "BREV",
            "BMSK",
            "SGXT",
            "SEL",
            "PRMT",
            "PLOP3",
            "PSETP",
            "VIADD",
            "VIADDMNMX",
            "VIMNMX",
            "VIMNMX3",
            "IDP",
            "ICMP",
            "VOTE",
            "VOTEU",
            "UIADD3",
            "UIADD64",
            "UIMAD",
            "ULEA",
            "ULOP3",
            "USHF",
            "USHL",
            "USHR",
            "UISETP",
            "USEL",
            "UPRMT",
            "UPLOP3",
            "UPOPC",
            "UFLO",
            "USGXT",
            "UBMSK",
            "UIMNMX",
            "UVIMNMX",
            "UVIADD",
            "UIABS",
            "MATCH",
            "REDUX",
            "CREDUX",
            "UBREV",
            "UPSETP",
            "VABSDIFF",
            "LEPC",
            "UVIRTCOUNT",
        ];
        let mnemonic = instruction.mnemonic();
        // The pipe of multiply-adds moves registers too.
        if MOVE.contains(&mnemonic) || instruction.opcode.starts_with("IMAD.MOV") {
            return Self::Move;
        }
        if matrix_unit(mnemonic).is_some() {
            return Self::Matrix;
        }
        match mnemonic {
            "LDL" | "STL" => Self::Spill,
            m if BARRIER.contains(&m) => Self::Barrier,
            m if MEMORY.contains(&m) => Self::Memory,
            m if CONTROL.contains(&m) => Self::Control,
            m if FLOAT.contains(&m) => Self::Float,
            m if INTEGER.contains(&m) => Self::Integer,
            _ => Self::Other,
        }
    }
}

/// Which matrix unit a mnemonic is for.
fn matrix_unit(mnemonic: &str) -> Option<Scope> {
    match mnemonic {
        "HGMMA" | "QGMMA" | "IGMMA" | "BGMMA" => Some(Scope::Warpgroup),
        "HMMA" | "IMMA" | "QMMA" | "DMMA" | "OMMA" => Some(Scope::Warp),
        _ => None,
    }
}

/// Multiply-adds of a matrix instruction, from the shape in its opcode; `None` for any other instruction.
///
/// # Errors
/// For a matrix instruction whose shape is not known.
fn multiply_adds(instruction: &Instruction) -> Result<Option<(Scope, u64)>> {
    let Some(scope) = matrix_unit(instruction.mnemonic()) else { return Ok(None) };
    let shape = instruction.opcode.split('.').nth(1).unwrap_or_default();
    let work = match scope {
        Scope::Warpgroup => {
            let extents: Option<Vec<u64>> = shape.split('x').map(|n| n.parse().ok()).collect();
            extents.filter(|extents| extents.len() == 3).map(|extents| extents.iter().product())
        }
        Scope::Warp => match shape {
            "884" => Some(8 * 8 * 4),
            "8816" => Some(8 * 8 * 16),
            "8832" => Some(8 * 8 * 32),
            "1684" => Some(16 * 8 * 4),
            "1688" => Some(16 * 8 * 8),
            "16816" => Some(16 * 8 * 16),
            "16832" => Some(16 * 8 * 32),
            "16864" => Some(16 * 8 * 64),
            _ => None,
        },
    };
    match work {
        Some(work) => Ok(Some((scope, work))),
        None => bail!("the shape of `{}` is not known", instruction.opcode),
    }
}

/// Whether an instruction keeps a pipeline going: it issues a copy or releases what was copied.
fn is_pipeline_step(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        "LDGSTS" | "LDGDEPBAR" | "UTMALDG" | "UBLKCP" | "ARRIVES" => true,
        "SYNCS" => instruction.opcode.starts_with("SYNCS.ARRIVE"),
        _ => false,
    }
}

/// One pass over a matrix loop.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) scope: Scope,
    /// Numbers of its instructions in the function, in the order of their addresses.
    pub(super) instructions: Vec<usize>,
    /// Multiply-adds of its matrix instructions.
    pub(super) multiply_adds: u64,
    pub(super) counts: BTreeMap<Class, usize>,
}

impl Pass {
    /// Matrix work in units of its scope.
    pub(super) fn units(&self) -> f64 {
        self.multiply_adds as f64 / self.scope.multiply_adds() as f64
    }

    /// Instructions per unit of matrix work.
    pub(super) fn instructions_per_unit(&self) -> f64 {
        self.instructions.len() as f64 / self.units()
    }

    pub(super) fn count(&self, class: Class) -> usize {
        self.counts.get(&class).copied().unwrap_or(0)
    }
}

/// A pass over each matrix loop of a function, the steady state first, then by address.
///
/// # Errors
/// If a matrix instruction has an unknown shape, a loop mixes those of warps and of warpgroups, or a branch goes nobody knows where.
pub(super) fn passes(function: &Function) -> Result<Vec<Pass>> {
    let flow = Flow::of(function);
    let mut work = vec![0u64; flow.blocks.len()];
    let mut scopes: Vec<Option<Scope>> = vec![None; flow.blocks.len()];
    for (block, range) in flow.blocks.iter().enumerate() {
        for instruction in &function.instructions[range.clone()] {
            if let Some((scope, n)) = multiply_adds(instruction)? {
                work[block] += n;
                if scopes[block].replace(scope).is_some_and(|other| other != scope) {
                    bail!("warps and warpgroups multiply in one block of `{}`", function.name);
                }
            }
        }
    }
    let steps: Vec<usize> = flow
        .blocks
        .iter()
        .map(|range| function.instructions[range.clone()].iter().filter(|i| is_pipeline_step(i)).count())
        .collect();
    if flow.unknown_branches > 0 && work.iter().any(|&n| n > 0) {
        bail!(
            "`{}` has {} branches through registers, so its loops are not known",
            function.name,
            flow.unknown_branches
        );
    }
    let (loops, others): (Vec<Loop>, Vec<Loop>) =
        flow.loops().into_iter().partition(|l| l.body.iter().any(|&b| work[b] > 0));
    let waits: BTreeSet<usize> = others.iter().flat_map(|l| l.body.iter().copied()).collect();
    let is_innermost =
        |l: &&Loop| !loops.iter().any(|inner| inner.header != l.header && l.body.is_superset(&inner.body));
    let mut all = Vec::new();
    for l in loops.iter().filter(is_innermost) {
        let blocks = best_way(&flow, l, &work, &steps, &waits);
        let mut found: Vec<Scope> = blocks.iter().filter_map(|&b| scopes[b]).collect();
        found.dedup();
        let [scope] = found[..] else {
            bail!("warps and warpgroups multiply in one loop of `{}`", function.name)
        };
        let mut instructions: Vec<usize> = blocks.iter().flat_map(|&b| flow.blocks[b].clone()).collect();
        instructions.sort_unstable();
        let mut counts = BTreeMap::new();
        for &i in &instructions {
            *counts.entry(Class::of(&function.instructions[i])).or_insert(0) += 1;
        }
        let multiply_adds = blocks.iter().map(|&b| work[b]).sum();
        all.push(Pass { scope, instructions, multiply_adds, counts });
    }
    let steady = all
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.instructions_per_unit().total_cmp(&b.instructions_per_unit()))
        .map(|(i, _)| i);
    if let Some(steady) = steady {
        all[..=steady].rotate_right(1);
    }
    Ok(all)
}

/// The blocks of the way from a loop's header to one of its latches that a pass takes; `waits` are the blocks of
/// loops inside.
///
/// Edges that lead back to a block that dominates their start, those of the loop and of loops inside it, are no part of a way, so
/// what is left has no cycle.
fn best_way(flow: &Flow, l: &Loop, work: &[u64], steps: &[usize], waits: &BTreeSet<usize>) -> Vec<usize> {
    let forward = |from: usize| {
        let all = flow.successors[from].iter().copied();
        all.filter(move |&to| l.body.contains(&to) && !flow.dominates(to, from))
    };
    // Depth first from the header, each block after all that follow it.
    let (mut order, mut open, mut is_seen) = (Vec::new(), vec![(l.header, false)], vec![false; work.len()]);
    while let Some((block, is_done)) = open.pop() {
        if is_done {
            order.push(block);
        } else if !is_seen[block] {
            is_seen[block] = true;
            open.push((block, true));
            open.extend(forward(block).filter(|&next| !is_seen[next]).map(|next| (next, false)));
        }
    }
    // Of each block: the best way from it to a latch, and the block that comes next.
    let mut best: Vec<Option<(Way, Option<usize>)>> = vec![None; work.len()];
    for &block in &order {
        let own = Way {
            work: work[block],
            steps: steps[block],
            waits: Reverse(usize::from(waits.contains(&block))),
            instructions: Reverse(flow.blocks[block].len()),
        };
        let is_latch = flow.successors[block].contains(&l.header);
        let mut ways: Vec<(Way, Option<usize>)> = is_latch.then_some((own, None)).into_iter().collect();
        for next in forward(block) {
            if let Some((rest, _)) = best[next] {
                ways.push((own.before(rest), Some(next)));
            }
        }
        best[block] = ways.into_iter().max_by_key(|&(way, _)| way);
    }
    let mut way = Vec::new();
    let mut at = Some(l.header);
    while let Some(block) = at {
        way.push(block);
        at = best[block].and_then(|(_, next)| next);
    }
    way
}

/// What a way through a loop comes to; the greatest is the one that a pass takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    work: u64,
    steps: usize,
    waits: Reverse<usize>,
    instructions: Reverse<usize>,
}

impl Way {
    fn before(self, rest: Self) -> Self {
        Self {
            work: self.work + rest.work,
            steps: self.steps + rest.steps,
            waits: Reverse(self.waits.0 + rest.waits.0),
            instructions: Reverse(self.instructions.0 + rest.instructions.0),
        }
    }
}
