//! Functions of the GPU level: variables, blocks, and the kernel that holds them.
//!
//! A [`Var`] is a register variable with one type for its whole life; statements assign it, and a loop carries it by leaving it
//! alone. The lowering gives every variable one definition outside loops, or one per arm of an `if`; inside loops a carried
//! variable is assigned again.

use std::fmt;

use super::memory::{Buffer, Mbarrier, ParamMap};
use super::ops::Stmt;
use crate::diag::Loc;
use crate::ir::{DType, Shape, ViewFacts, ViewType};
use crate::layout::Layout;

/// Handle of a register variable; prints as in the text, `$7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);

impl Var {
    /// The index in [`GpuFunc::vars`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.0)
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of a register variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VarType {
    /// One value for the block: every thread holds the same.
    Scalar(DType),
    /// A tile spread over the threads' registers.
    Tile {
        /// Element type.
        dtype: DType,
        /// Extents of the tile. The layout may cover more: what lies beyond is never stored and never reduced.
        shape: Shape,
        /// Which thread holds which element in which register.
        layout: Layout,
    },
    /// A strided window on device memory.
    View(ViewType),
}

impl VarType {
    /// The element type.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        match self {
            Self::Scalar(dtype) | Self::Tile { dtype, .. } => *dtype,
            Self::View(view) => view.dtype,
        }
    }

    /// Registers' worth of elements per thread: 1 for a scalar.
    #[must_use]
    pub fn n_elements(&self) -> usize {
        match self {
            Self::Scalar(_) | Self::View(_) => 1,
            Self::Tile { layout, .. } => layout.registers() as usize,
        }
    }
}

/// What the function knows of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VarData {
    /// Its type.
    pub ty: VarType,
    /// Where the author wrote what it holds.
    pub loc: Loc,
    /// The author's variable name, if it has one.
    pub name: Option<String>,
}

/// A run-time parameter: a view or a scalar of the tile level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuParam {
    /// The author's name.
    pub name: String,
    /// The variable inside the function.
    pub var: Var,
    /// What the launch guarantees of a view.
    pub facts: ViewFacts,
    /// Whether every byte offset inside the view is below 2^31, so that addresses need no 64-bit products.
    pub is_small: bool,
}

/// A straight line of statements.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// Statements in execution order.
    pub stmts: Vec<Stmt>,
}

/// A kernel at the GPU level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GpuFunc {
    /// The kernel's name.
    pub name: String,
    /// Architecture it was lowered for, such as `sm_90a`.
    pub arch: String,
    /// Warps of a block, all roles together.
    pub n_warps: u32,
    /// Blocks of a cluster along the first grid axis; 1 without clusters.
    pub cluster: u32,
    /// Blocks per multiprocessor that the compiler must leave registers for; 0 when it is not told.
    pub min_blocks: u32,
    /// Whether a launch asks for as many blocks as run at a time, each for several programs; see [`GpuFunc::walks_programs`].
    pub is_persistent: bool,
    /// Run-time parameters in launch order.
    pub params: Vec<GpuParam>,
    /// Tensor maps that the launch builds from view parameters.
    pub maps: Vec<ParamMap>,
    /// Arena of variables, indexed by [`Var`].
    pub vars: Vec<VarData>,
    /// Shared memory.
    pub buffers: Vec<Buffer>,
    /// Arrays of mbarriers in shared memory.
    pub barriers: Vec<Mbarrier>,
    /// Dynamic shared memory in bytes, once planned.
    pub shared_bytes: u32,
    /// Messages of assertions, in the order of their numbers.
    pub assertions: Vec<(String, Loc)>,
    /// The body.
    pub body: Block,
}

impl GpuFunc {
    /// The type of `v`.
    ///
    /// # Panics
    /// If `v` does not belong to this function.
    #[must_use]
    pub fn ty(&self, v: Var) -> &VarType {
        &self.vars[v.index()].ty
    }

    /// A new variable; the caller places its definition.
    ///
    /// # Panics
    /// If there are 2^32 variables already.
    pub fn new_var(&mut self, ty: VarType, loc: Loc, name: Option<String>) -> Var {
        let v =
            Var(u32::try_from(self.vars.len()).expect("a function should have fewer than 2^32 variables"));
        self.vars.push(VarData { ty, loc, name });
        v
    }

    /// Whether blocks are numbered along the first axis alone and compute which programs they run: the indices of blocks and of
    /// clusters are there, `program_id` is not, and `num_programs` comes with the launch.
    #[must_use]
    pub const fn walks_programs(&self) -> bool {
        self.is_persistent || self.cluster > 1
    }

    /// Threads of a block.
    #[must_use]
    pub const fn n_threads(&self) -> u32 {
        self.n_warps * 32
    }
}
