//! Fragments of the matrix instructions (mma.sync, wgmma), tiled over the warps of a block.
//!
//! Tiles are (M, K), (K, N) and (M, N). Each warp, or warpgroup, owns one contiguous range of the span of its
//! dimension; the fragment's registers come first, then its copies along the columns, then along the rows.
//! `g` is the lane divided by 4 and `t` the rest. Facts: PTX ISA, fragments of `mma` and of `wgmma`.

use super::error::{LayoutError, shape_error};
use super::linear::{Bases, Coord, Layout, Space};

/// How warps (mma.sync) or warpgroups (wgmma) tile the result: log2 along M and along N.
/// Warps along M differ in the low bits of the warp index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WarpGrid {
    /// log2 of the warps, or warpgroups, along M.
    pub m_bits: u32,
    /// log2 of the warps, or warpgroups, along N.
    pub n_bits: u32,
}

/// An operand or the result of a matrix product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmaOperand {
    /// The left operand, tile (M, K), elements of the given size in bytes, K a multiple of 16 bytes
    /// (32 bytes: m16n8k16 for 16-bit, k8 for 32-bit, k32 for 8-bit elements; an odd multiple of 16: the half K).
    A {
        /// Bytes per element: 1, 2 or 4.
        element_bytes: u32,
    },
    /// The right operand, tile (K, N); a register holds elements adjacent along K.
    B {
        /// Bytes per element: 1, 2 or 4.
        element_bytes: u32,
    },
    /// The accumulator, tile (M, N), 32-bit.
    C,
}

/// Bits along each of the two dimensions, in the order in which an index takes them: 0 the rows, 1 the columns.
struct Dealer {
    space: Space,
    at: [u32; 2],
}

impl Dealer {
    fn take(&mut self, dim: usize, bits: u32) -> Result<Vec<Coord>, LayoutError> {
        let (from, to) = (self.at[dim], self.at[dim] + bits);
        if to > self.space.bits[dim] {
            let (extent, span) = (self.space.extents[dim], 1u32 << self.space.bits[dim]);
            return shape_error(format!(
                "extent {extent} of dimension {dim} of a matrix operand should be a multiple of {}, and its \
                 power-of-two part is {span}: use fewer warps along it or pad the tile",
                1u64 << to
            ));
        }
        self.at[dim] = to;
        Ok((from..to).map(|b| if dim == 0 { [1 << b, 0, 0, 0] } else { [0, 1 << b, 0, 0] }).collect())
    }

    /// The highest bits of a dimension that remain below `bits` reserved ones.
    fn rest(&mut self, dim: usize, reserved: u32) -> Result<Vec<Coord>, LayoutError> {
        self.take(dim, self.space.bits[dim].saturating_sub(self.at[dim] + reserved))
    }
}

impl Layout {
    /// The layout of an operand of mma.sync over a grid of warps. An operand that lacks the dimension a group of warps
    /// tiles is held by each of them.
    ///
    /// # Errors
    /// A shape that is not a matrix or not a multiple of the instruction over the grid.
    pub fn mma(shape: &[u32], operand: MmaOperand, grid: WarpGrid) -> Result<Layout, LayoutError> {
        let mut d = dealer(shape, grid)?;
        let (mut register, mut lane);
        let (m, n);
        match operand {
            MmaOperand::A { element_bytes } => {
                let word = word_bits(element_bytes)?;
                register = d.take(1, word)?;
                lane = d.take(1, 2)?;
                lane.extend(d.take(0, 3)?);
                register.extend(d.take(0, 1)?);
                register.extend(d.rest(1, 0)?);
                register.extend(d.rest(0, grid.m_bits)?);
                m = d.take(0, grid.m_bits)?;
                n = zeros(grid.n_bits);
            }
            MmaOperand::B { element_bytes } => {
                let word = word_bits(element_bytes)?;
                register = d.take(0, word)?;
                lane = d.take(0, 2)?;
                lane.extend(d.take(1, 3)?);
                register.extend(d.rest(0, 0)?);
                register.extend(d.rest(1, grid.n_bits)?);
                m = zeros(grid.m_bits);
                n = d.take(1, grid.n_bits)?;
            }
            MmaOperand::C => {
                register = d.take(1, 1)?;
                lane = d.take(1, 2)?;
                lane.extend(d.take(0, 3)?);
                register.extend(d.take(0, 1)?);
                register.extend(d.rest(1, grid.n_bits)?);
                register.extend(d.rest(0, grid.m_bits)?);
                m = d.take(0, grid.m_bits)?;
                n = d.take(1, grid.n_bits)?;
            }
        }
        Layout::new(shape, &Bases { register, lane, warp: [m, n].concat() })
    }

    /// The accumulator of wgmma, tile (M, N), M a multiple of 64 and N of 8, over a grid of warpgroups:
    /// `row = 16 * warp + g + 8 * (i >> 1 & 1)`, `column = 8 * (i >> 2) + 2 * t + (i & 1)` in each m64nN.
    ///
    /// # Errors
    /// A shape that is not a matrix or not a multiple of the instruction over the grid.
    pub fn wgmma_accumulator(shape: &[u32], grid: WarpGrid) -> Result<Layout, LayoutError> {
        let mut d = dealer(shape, grid)?;
        let mut register = d.take(1, 1)?;
        let mut lane = d.take(1, 2)?;
        lane.extend(d.take(0, 3)?);
        register.extend(d.take(0, 1)?);
        register.extend(d.rest(1, grid.n_bits)?);
        let mut warp = d.take(0, 2)?;
        register.extend(d.rest(0, grid.m_bits)?);
        warp.extend(d.take(0, grid.m_bits)?);
        warp.extend(d.take(1, grid.n_bits)?);
        Layout::new(shape, &Bases { register, lane, warp })
    }

    /// The left operand of wgmma in registers, tile (M, K): the fragment of mma.sync, 16 rows per warp.
    ///
    /// # Errors
    /// As [`wgmma_accumulator`](Layout::wgmma_accumulator).
    pub fn wgmma_a(shape: &[u32], element_bytes: u32, grid: WarpGrid) -> Result<Layout, LayoutError> {
        let mut d = dealer(shape, grid)?;
        let mut register = d.take(1, word_bits(element_bytes)?)?;
        let mut lane = d.take(1, 2)?;
        lane.extend(d.take(0, 3)?);
        register.extend(d.take(0, 1)?);
        register.extend(d.rest(1, 0)?);
        let mut warp = d.take(0, 2)?;
        register.extend(d.rest(0, grid.m_bits)?);
        warp.extend(d.take(0, grid.m_bits)?);
        warp.extend(zeros(grid.n_bits));
        Layout::new(shape, &Bases { register, lane, warp })
    }
}

fn dealer(shape: &[u32], grid: WarpGrid) -> Result<Dealer, LayoutError> {
    if grid.m_bits > 5 || grid.n_bits > 5 {
        return shape_error(format!("{grid:?} is more warps than a block has"));
    }
    if shape.len() != 2 {
        return shape_error(format!("a matrix operand has 2 dimensions, and {shape:?} were given"));
    }
    Ok(Dealer { space: Space::new(shape)?, at: [0; 2] })
}

/// log2 of the elements in a 32-bit register.
fn word_bits(element_bytes: u32) -> Result<u32, LayoutError> {
    match element_bytes {
        1 => Ok(2),
        2 => Ok(1),
        4 => Ok(0),
        other => shape_error(format!("matrix operands have 1, 2 or 4 bytes per element, not {other}")),
    }
}

fn zeros(bits: u32) -> Vec<Coord> {
    vec![[0; 4]; bits as usize]
}
