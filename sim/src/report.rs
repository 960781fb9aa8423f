//! What a launch reports: findings, each with its place in the grid and in the source, and counts.

use std::fmt;

use serde::Serialize;

/// What kind of mistake a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An access outside every allocation.
    OutOfBounds,
    /// An access whose address is not a multiple of its size.
    Misaligned,
    /// Shared memory read before anything was written there.
    Uninitialised,
    /// Two accesses without an order between them, one of them a write.
    Race,
    /// A write by ordinary stores that an asynchronous copy or wgmma reads without a proxy fence.
    MissingProxyFence,
    /// A register or buffer of an asynchronous operation used before its wait.
    MissingWait,
    /// A barrier with the wrong count, state or participants.
    Barrier,
    /// Warps that wait for each other for ever.
    Deadlock,
    /// A collective instruction whose lanes did not all arrive.
    Divergence,
    /// An operand the instruction forbids: a bad descriptor, a bad tensor map, a bad size.
    BadOperand,
    /// `trap`, or a failed device-side assertion.
    Trap,
    /// More instructions than the launch's limit.
    StepLimit,
}

/// A place in the author's source, from the `.loc` lines of the PTX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// File as the compiler was given it.
    pub file: String,
    /// 1-based line.
    pub line: u32,
}

/// One mistake, reported at its first occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of mistake.
    pub kind: FindingKind,
    /// What happened, with the numbers, and what to do.
    pub message: String,
    /// Block index.
    pub block: [u32; 3],
    /// Thread index in the block, where one thread is to blame.
    pub thread: Option<[u32; 3]>,
    /// 1-based line in the PTX text.
    pub ptx_line: u32,
    /// Line in the source the PTX came from.
    pub source: Option<Source>,
    /// How often the same kind was found at the same instruction.
    pub occurrences: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "{:?}: {} (block {x},{y},{z}", self.kind, self.message)?;
        if let Some([x, y, z]) = self.thread {
            write!(f, ", thread {x},{y},{z}")?;
        }
        write!(f, "; PTX line {}", self.ptx_line)?;
        if let Some(source) = &self.source {
            write!(f, "; {}:{}", source.file, source.line)?;
        }
        if self.occurrences > 1 {
            write!(f, "; {} times", self.occurrences)?;
        }
        write!(f, ")")
    }
}

/// Counts of a launch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Blocks run.
    pub blocks: u64,
    /// Warp instructions executed.
    pub warp_instructions: u64,
    /// Thread instructions executed: warp instructions weighted by active lanes.
    pub thread_instructions: u64,
}

/// What a launch did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The kernel.
    pub kernel: String,
    /// Seed of the schedule: the same seed gives the same run.
    pub seed: u64,
    /// Mistakes, in order of block and first occurrence; empty for a clean run.
    pub findings: Vec<Finding>,
    /// Counts.
    pub stats: Stats,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { kernel, seed, findings, stats } = self;
        writeln!(
            f,
            "{kernel}: {} blocks, {} warp instructions, {} finding(s), seed {seed}",
            stats.blocks,
            stats.warp_instructions,
            findings.len()
        )?;
        findings.iter().try_for_each(|finding| writeln!(f, "  {finding}"))
    }
}
