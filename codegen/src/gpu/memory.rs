//! Shared memory of the GPU level: buffers, mbarriers, and the tensor maps that fill and drain them.
//!
//! A buffer is a ring of `slots` equal matrices (rows of elements at a pitch in bytes). Its offset is 0 until the plan of shared
//! memory has run; buffers whose lifetimes do not meet may share bytes then.

use std::fmt;

use super::func::Var;
use crate::ir::DType;

macro_rules! handle {
    ($(#[$meta:meta])* $name:ident, $sigil:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// The index in the function's table.
            #[must_use]
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($sigil, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
handle!(
    /// Handle of a shared buffer; prints as `#3`.
    BufferId,
    "#"
);
handle!(
    /// Handle of an array of mbarriers; prints as `&3`.
    BarrierId,
    "&"
);
handle!(
    /// Handle of a tensor map; prints as `~3`.
    TensorMapId,
    "~"
);

/// How the 16-byte chunks of a row are permuted, so that a column of chunks touches every bank.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Swizzle {
    /// Chunks lie in order; rows may be padded through the pitch.
    None,
    /// Chunk `c` of row `r` lies at `c ^ ((r >> shift) & mask)`.
    ///
    /// On the addresses of a buffer aligned to its pattern these are the hardware's modes: `mask` 7 with `shift` 0 for rows of
    /// 128 bytes, 3 with 1 for 64, 1 with 2 for 32.
    Xor {
        /// Rows that share a permutation, as a power of two.
        shift: u32,
        /// Chunks that are permuted among themselves, minus 1.
        mask: u32,
    },
}

/// A ring of matrices in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// The author's name of what it holds, or what it is for.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Rows of one slot.
    pub rows: u32,
    /// Elements of a row.
    pub columns: u32,
    /// Matrices of `rows` by `columns` that lie one after another in a slot: wide tiles are cut into panels of one swizzle
    /// span each. 1 when the tile is not cut.
    pub panels: u32,
    /// Slots of the ring; 1 without a pipeline.
    pub slots: u32,
    /// Distance between rows, in bytes.
    pub pitch_bytes: u32,
    /// Permutation of the chunks of a row.
    pub swizzle: Swizzle,
    /// Alignment of a slot, in bytes.
    pub align_bytes: u32,
    /// Offset in dynamic shared memory, in bytes, once planned.
    pub offset_bytes: u32,
}

impl Buffer {
    /// Bytes of one slot.
    #[must_use]
    pub const fn slot_bytes(&self) -> u32 {
        (self.panels * self.rows * self.pitch_bytes).next_multiple_of(self.align_bytes)
    }

    /// Bytes of the ring.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.slot_bytes() * self.slots
    }
}

/// An array of mbarriers, one per slot of a ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mbarrier {
    /// What completing a phase means, such as `full` or `empty`.
    pub name: String,
    /// Number of mbarriers.
    pub slots: u32,
    /// Arrivals that complete a phase.
    pub arrivals: u32,
    /// Bytes that asynchronous copies add to each phase; 0 when none signal it.
    pub tx_bytes: u32,
    /// Offset in dynamic shared memory, in bytes, once planned.
    pub offset_bytes: u32,
}

/// A tensor map that the launch builds from a view parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParamMap {
    /// The view parameter.
    pub param: Var,
    /// Extent of the box along each axis of the parameter, outermost first; 1 for an axis that is indexed.
    pub box_dims: Vec<u32>,
    /// Span of the swizzle in bytes: 0, 32, 64 or 128.
    pub swizzle_bytes: u32,
}
