//! Where the elements of a tile lie in shared memory.
//!
//! ```text
//! offset = M · (low bits of the coordinates, the "block")  +  Σ over dimensions (coordinate >> block bits) * stride
//! ```
//!
//! `M` is linear over F2 and holds the swizzle; the strides are ordinary integers and hold padding, stages, column
//! chunks and extents that are no powers of two. A block starts at a multiple of its own size, so the hardware's
//! swizzles, which act on absolute addresses, are the same `M` in every block of a tile whose base is aligned to
//! [`alignment_bytes`](SharedLayout::alignment_bytes).

use super::bits::{F2Map, mask};
use super::error::{LayoutError, shape_error};
use super::express::{Join, OffsetExpr, ThreadTerm, thread_terms};
use super::linear::{Coord, Layout, MAX_RANK, Space};

/// The rows of a hardware swizzle, as tensor copies and wgmma descriptors name them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SwizzleSpan {
    /// 32-byte rows.
    B32,
    /// 64-byte rows.
    B64,
    /// 128-byte rows.
    B128,
}

impl SwizzleSpan {
    /// All, widest first.
    pub const ALL: [SwizzleSpan; 3] = [SwizzleSpan::B128, SwizzleSpan::B64, SwizzleSpan::B32];

    /// Bytes per row.
    pub fn bytes(self) -> u32 {
        match self {
            SwizzleSpan::B32 => 32,
            SwizzleSpan::B64 => 64,
            SwizzleSpan::B128 => 128,
        }
    }

    /// The physical address of a logical one: 16-byte chunks are exchanged by the index of the 128-byte line.
    pub fn apply(self, address: u32) -> u32 {
        address ^ ((address >> 7 & (self.bytes() / 16 - 1)) << 4)
    }
}

/// The byte offset of every element of a tile in shared memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedLayout {
    pub(crate) space: Space,
    pub(crate) element_bytes: u32,
    /// log2 extents of the block.
    pub(crate) block_bits: [u32; MAX_RANK],
    /// From the packed block coordinate (last dimension lowest) to bytes.
    pub(crate) map: F2Map,
    /// Bytes from block to block.
    pub(crate) strides: Coord,
}

impl SharedLayout {
    /// From its parts: `block[d]` basis vectors in bytes, one per low bit of coordinate `d`, and the distance in bytes
    /// from block to block.
    ///
    /// # Errors
    /// Lists that do not fit the rank, an element size that is not 1, 2, 4, 8 or 16, offsets over 2^30.
    pub fn new(
        shape: &[u32],
        element_bytes: u32,
        block: &[Vec<u32>],
        strides: &[u32],
    ) -> Result<SharedLayout, LayoutError> {
        let space = Space::new(shape)?;
        if block.len() != space.rank || strides.len() != space.rank {
            return shape_error(format!(
                "{} block lists do not fit a tile of rank {}",
                block.len(),
                space.rank
            ));
        }
        if !matches!(element_bytes, 1 | 2 | 4 | 8 | 16) {
            return shape_error(format!("{element_bytes} bytes per element: 1, 2, 4, 8 or 16 are possible"));
        }
        let columns: Vec<u32> = block.iter().rev().flatten().copied().collect();
        if columns.len() > 30 || columns.iter().any(|&c| c >= 1 << 30) {
            return shape_error("the block of a shared layout is over 2^30 bytes");
        }
        let mut layout = SharedLayout {
            space,
            element_bytes,
            block_bits: [0; MAX_RANK],
            map: F2Map::new(columns, 30),
            strides: [0; MAX_RANK],
        };
        for d in 0..block.len() {
            layout.block_bits[d] = block[d].len() as u32;
            layout.strides[d] = strides[d];
        }
        let most: u64 = (0..layout.space.rank)
            .map(|d| u64::from((layout.space.extents[d] - 1) >> layout.block_bits[d]) * u64::from(strides[d]))
            .sum();
        if most >= 1 << 30 {
            return shape_error(format!("a tile {shape:?} with strides {strides:?} is over 2^30 bytes"));
        }
        Ok(layout)
    }

    /// Row after row without swizzle. `order` names the dimensions, fastest first; `padding_bytes` follow each row of
    /// the fastest.
    ///
    /// # Errors
    /// As [`new`](SharedLayout::new); `order` is not a permutation.
    pub fn rows(
        shape: &[u32],
        element_bytes: u32,
        order: &[usize],
        padding_bytes: u32,
    ) -> Result<SharedLayout, LayoutError> {
        check_order(shape, order)?;
        let mut strides = vec![0; shape.len()];
        let mut next = element_bytes;
        for (i, &d) in order.iter().enumerate() {
            strides[d] = next;
            next = next.saturating_mul(shape[d]);
            if i == 0 {
                next = next.saturating_add(padding_bytes);
            }
        }
        SharedLayout::new(shape, element_bytes, &vec![Vec::new(); shape.len()], &strides)
    }

    /// The layout that tensor copies write and wgmma descriptors read: along the fastest dimension chunks of
    /// `span` bytes, within a chunk the rows (the second dimension of `order`, rounded up to 8) one after another,
    /// 16-byte pieces exchanged by the hardware's rule. Further dimensions are whole tiles behind each other.
    ///
    /// # Errors
    /// As [`new`](SharedLayout::new); fewer than two dimensions; a fastest extent that is not whole chunks.
    pub fn hardware(
        shape: &[u32],
        element_bytes: u32,
        order: &[usize],
        span: SwizzleSpan,
    ) -> Result<SharedLayout, LayoutError> {
        check_order(shape, order)?;
        let &[fast, row, ..] = order else {
            return shape_error(format!("a swizzled tile has at least 2 dimensions, and {shape:?} has not"));
        };
        let width = span.bytes();
        if !matches!(element_bytes, 1 | 2 | 4 | 8 | 16)
            || !(shape[fast] * element_bytes).is_multiple_of(width)
        {
            return shape_error(format!(
                "rows of {} elements of {element_bytes} bytes are not whole chunks of {width} bytes: \
                 use a smaller span or pad the tile",
                shape[fast]
            ));
        }
        let rows = shape[row].next_multiple_of(8);
        let mut block = vec![Vec::new(); shape.len()];
        block[fast] = (0..(width / element_bytes).ilog2()).map(|j| element_bytes << j).collect();
        block[row] = (0..3).map(|j| span.apply(width << j)).collect();
        let mut strides = vec![0; shape.len()];
        strides[row] = 8 * width;
        strides[fast] = rows * width;
        let mut next = rows.saturating_mul(shape[fast] * element_bytes);
        for &d in &order[2..] {
            strides[d] = next;
            next = next.saturating_mul(shape[d]);
        }
        SharedLayout::new(shape, element_bytes, &block, &strides)
    }

    /// Extents of the tile.
    pub fn shape(&self) -> &[u32] {
        self.space.shape()
    }

    /// Bytes per element.
    pub fn element_bytes(&self) -> u32 {
        self.element_bytes
    }

    /// Bytes per step of `coordinate >> block bits`, per dimension; for a hardware swizzle the distance of 8-row
    /// groups and of column chunks (what wgmma descriptors call SBO and LBO).
    pub fn strides(&self) -> &[u32] {
        &self.strides[..self.space.rank]
    }

    /// The bytes that each low bit of each coordinate moves inside the block, lowest bit first.
    pub fn block(&self) -> Vec<Vec<u32>> {
        let mut columns = self.map.columns().iter().copied();
        let mut lists: Vec<Vec<u32>> = (0..self.space.rank)
            .rev()
            .map(|d| columns.by_ref().take(self.block_bits[d] as usize).collect())
            .collect();
        lists.reverse();
        lists
    }

    /// What the base address must be a multiple of: the block size (8 times the span for a hardware swizzle), at
    /// least 16.
    pub fn alignment_bytes(&self) -> u32 {
        let used = self.map.columns().iter().fold(0, |all, c| all | c);
        (used + 1).next_power_of_two().max(16)
    }

    /// The byte offset of an element.
    pub fn offset(&self, coord: &Coord) -> u32 {
        let outer = (0..self.space.rank).map(|d| (coord[d] >> self.block_bits[d]) * self.strides[d]);
        self.map.apply(self.pack_block(coord)) + outer.sum::<u32>()
    }

    /// Bytes from the base to the end of the last element.
    pub fn bytes(&self) -> u32 {
        let outer = (0..self.space.rank)
            .map(|d| ((self.space.extents[d] - 1) >> self.block_bits[d]) * self.strides[d]);
        // The last element of a block need not be its highest when the tile ends inside a block; the block counts.
        let used = self.map.columns().iter().fold(0, |all, c| all | c);
        outer.sum::<u32>() + (used | (self.element_bytes - 1)) + 1
    }

    /// The element at a byte offset, or `None` in padding.
    pub fn coordinate(&self, offset: u32) -> Option<Coord> {
        let mut slow: Vec<usize> = (0..self.space.rank).collect();
        slow.sort_by_key(|&d| std::cmp::Reverse(self.strides[d]));
        let mut rest = offset;
        let mut coord = [0; MAX_RANK];
        for d in slow {
            let most = (self.space.extents[d] - 1) >> self.block_bits[d];
            let index = rest.checked_div(self.strides[d]).unwrap_or(0).min(most);
            rest -= index * self.strides[d];
            coord[d] = index << self.block_bits[d];
        }
        let rows = super::bits::Echelon::of(self.map.columns());
        let packed = rows.solve(rest & !(self.element_bytes - 1))?;
        let mut at = 0;
        for d in (0..self.space.rank).rev() {
            coord[d] |= packed >> at & mask(self.block_bits[d]);
            at += self.block_bits[d];
        }
        (0..self.space.rank).all(|d| coord[d] < self.space.extents[d]).then_some(coord)
    }

    /// The byte offsets a register layout touches, as an expression. `None` where a register bit and a thread bit move
    /// the same coordinate bit outside the block, so that the parts do not separate.
    ///
    /// # Panics
    /// When the shapes differ.
    pub fn offset_expr(&self, layout: &Layout) -> Option<OffsetExpr> {
        assert_eq!(
            self.shape(),
            layout.shape(),
            "a register layout and its shared layout should have one shape"
        );
        let threads: Vec<Coord> = layout.thread_columns().iter().map(|&v| layout.space.unpack(v)).collect();
        let constants: Vec<Coord> = (0..layout.registers()).map(|r| layout.apply(r, 0, 0)).collect();
        let mut add_terms: Vec<ThreadTerm> = Vec::new();
        for d in 0..self.space.rank {
            let outer: Vec<u32> = threads.iter().map(|c| c[d] >> self.block_bits[d]).collect();
            let register = constants.iter().fold(0, |all, c| all | c[d] >> self.block_bits[d]);
            let used = outer.iter().fold(0, |all, v| all | v);
            if used == 0 {
                continue;
            }
            if Join::of(outer.iter().copied()) == Join::Xor || used & register != 0 {
                return None;
            }
            let scaled = |t: ThreadTerm| ThreadTerm { scale: t.scale * self.strides[d], ..t };
            add_terms.extend(thread_terms(&outer).into_iter().map(scaled));
        }
        let inside = |c: &Coord| self.map.apply(self.pack_block(c));
        let xor_columns: Vec<u32> = threads.iter().map(inside).collect();
        let register_xor: Vec<u32> = constants.iter().map(inside).collect();
        let register_add = constants.iter().zip(&register_xor).map(|(c, x)| self.offset(c) - x).collect();
        let used = |values: &[u32]| values.iter().fold(0, |all, v| all | v);
        Some(OffsetExpr {
            xor_terms: thread_terms(&xor_columns),
            xor_join: Join::of(xor_columns.iter().copied()),
            add_terms,
            register_join: Join::of([used(&xor_columns), used(&register_xor)]),
            register_xor,
            register_add,
        })
    }

    /// The low coordinate bits as one vector, the last dimension lowest.
    pub(crate) fn pack_block(&self, coord: &Coord) -> u32 {
        let mut at = 0;
        let mut packed = 0;
        for d in (0..self.space.rank).rev() {
            packed |= (coord[d] & mask(self.block_bits[d])) << at;
            at += self.block_bits[d];
        }
        packed
    }
}

fn check_order(shape: &[u32], order: &[usize]) -> Result<(), LayoutError> {
    Space::new(shape)?;
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..shape.len()) {
        return shape_error(format!("{order:?} is not a permutation of {} dimensions", shape.len()));
    }
    Ok(())
}
