//! A generated CUDA kernel as plain data: its source, how it is launched, and how its parameters are packed.
//!
//! The code generator makes it, the runtime compiles and launches it, and neither asks the other anything else. The
//! parameters of the CUDA function, in order, are those of `params`; each is packed from the run-time arguments that the
//! author's kernel takes, whose indices are `arg` below.

use crate::ir::DType;

use crate::target::Arch;

/// A kernel for one architecture under one schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CudaKernel {
    /// The author's function name, for messages.
    pub name: String,
    /// CUDA C text, one `extern "C" __global__` function among it.
    pub source: String,
    /// Name of that function.
    pub entry: String,
    /// What it is compiled for.
    pub arch: Arch,
    /// How floating-point arithmetic may be compiled.
    pub math: MathFlags,
    /// Blocks of the launch.
    pub grid: GridRule,
    /// Threads of a block: one-dimensional, a multiple of 32.
    pub block_threads: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// Blocks of a cluster along each grid axis; `[1, 1, 1]` for none.
    pub cluster: [u32; 3],
    /// Whether the kernel waits for its predecessor itself (`griddepcontrol.wait`) and so may start before that ends.
    pub overlaps_predecessor: bool,
    /// Parameters of the CUDA function in order.
    pub params: Vec<CudaParam>,
}

/// How floating-point arithmetic may be compiled. The default is IEEE with contraction, as nvcc has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MathFlags {
    /// Subnormal binary32 numbers become zero (`--ftz`).
    pub flush_denormals: bool,
    /// Division to within 2 ulp instead of correctly rounded (`--prec-div=false`).
    pub approximate_division: bool,
    /// Square root to within 1 ulp instead of correctly rounded (`--prec-sqrt=false`).
    pub approximate_sqrt: bool,
    /// A multiplication and an addition may become one fused operation (`--fmad`).
    pub contract: bool,
}

impl MathFlags {
    /// Correctly rounded, with contraction.
    pub const IEEE: Self =
        Self { flush_denormals: false, approximate_division: false, approximate_sqrt: false, contract: true };
    /// Everything that is faster; library functions stay accurate, unlike with `--use_fast_math`.
    pub const FAST: Self =
        Self { flush_denormals: true, approximate_division: true, approximate_sqrt: true, contract: true };
}

impl Default for MathFlags {
    fn default() -> Self {
        Self::IEEE
    }
}

/// Blocks of a launch, from its grid of program instances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GridRule {
    /// One block for each program instance.
    Programs,
    /// As many blocks along axis 0 as can run at a time, at most one for each program instance and what makes the last cluster
    /// whole, each looping over its share. The kernel takes the grid of instances as parameters.
    Persistent {
        /// Blocks for each SM.
        blocks_per_sm: u32,
    },
    /// One block for each program instance along axis 0, and what makes the last cluster whole. The kernel takes the grid of
    /// instances as parameters.
    Clusters,
}

/// A parameter of the CUDA function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CudaParam {
    /// Address of element (0, 0, ...) of a view: 8 bytes.
    Pointer {
        /// Index of the view among the arguments.
        arg: usize,
    },
    /// Extent of a view along one axis, in elements.
    Extent {
        /// Index of the view among the arguments.
        arg: usize,
        /// Axis of the view.
        axis: usize,
        /// 4 or 8 bytes.
        width: IntWidth,
    },
    /// Distance between neighbours of a view along one axis, in elements.
    Stride {
        /// Index of the view among the arguments.
        arg: usize,
        /// Axis of the view.
        axis: usize,
        /// 4 or 8 bytes. A stride over 32 bits is refused at launch where it is 4.
        width: IntWidth,
    },
    /// A scalar argument by value, as wide as its element type is in memory.
    Scalar {
        /// Index of the scalar among the arguments.
        arg: usize,
        /// Its element type.
        dtype: DType,
    },
    /// Number of program instances along one axis of the launch's grid: an `int`.
    GridExtent {
        /// Axis, 0 to 2.
        axis: usize,
    },
    /// Address of the launch's status: three 64-bit words that are zero until an assertion fails.
    Status,
    /// A tensor map (128 bytes, `const __grid_constant__`) of a view, for tensor copies.
    TensorMap {
        /// Index of the view among the arguments.
        arg: usize,
        /// How the copies see it.
        map: TensorMapRule,
    },
}

/// Width of an integer parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntWidth {
    /// `int`.
    I32,
    /// `long long`.
    I64,
}

/// How a tensor map is built from a view. Axes are the view's own, slowest first, as everywhere in the language; the
/// driver's order is the reverse. The view's last axis must have stride 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMapRule {
    /// Elements that one copy moves along each axis of the view.
    pub box_dims: Vec<u32>,
    /// Pattern in shared memory.
    pub swizzle: Swizzle,
    /// Piece of memory that a miss brings into the second-level cache.
    pub l2_promotion: L2Promotion,
    /// What elements outside the view read as.
    pub fill: OutOfBounds,
}

/// How rows lie in shared memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Swizzle {
    /// In order.
    None,
    /// 16-byte pieces exchanged within 32 bytes.
    B32,
    /// 16-byte pieces exchanged within 64 bytes.
    B64,
    /// 16-byte pieces exchanged within 128 bytes.
    B128,
}

impl Swizzle {
    /// The longest row that the pattern takes, in bytes; `None` where there is no limit.
    #[must_use]
    pub const fn span_bytes(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 => Some(128),
        }
    }
}

/// Piece of memory that a miss brings into the second-level cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum L2Promotion {
    /// What is asked for.
    None,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
}

/// What elements outside a tensor read as.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutOfBounds {
    /// Zero.
    Zero,
    /// A NaN; float types only.
    Nan,
}
