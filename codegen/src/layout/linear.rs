//! The register layout itself: construction, evaluation, inversion, and what it says about broadcast.
//!
//! Coordinates are packed into one `u32`, the last dimension in the lowest bits, so that basis vectors are plain bit
//! vectors; packing is private to this module's `Space`. Structural equality is equality as functions.

use super::bits::{Echelon, F2Map, combine, mask};
use super::error::LayoutError;

/// Most dimensions of a tile.
pub const MAX_RANK: usize = 4;
/// Bits of a lane index in a full warp.
pub const LANE_BITS: usize = 5;
/// Most bits of a warp index.
const MAX_WARP_BITS: usize = 5;
/// Most bits of a register index, repeats aside.
const MAX_REGISTER_BITS: usize = 20;

/// A coordinate in a tile; entries beyond the rank are zero.
pub type Coord = [u32; MAX_RANK];

/// One of the hardware indices a layout maps from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Which register of a thread.
    Register,
    /// Which lane of a warp.
    Lane,
    /// Which warp of a block.
    Warp,
}

impl Input {
    /// The three, lowest bits first.
    pub const ALL: [Input; 3] = [Input::Register, Input::Lane, Input::Warp];

    /// The name in text.
    pub fn name(self) -> &'static str {
        match self {
            Input::Register => "register",
            Input::Lane => "lane",
            Input::Warp => "warp",
        }
    }
}

/// Basis vectors, one per bit of each index, lowest bit first; a zero vector means broadcast.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bases {
    /// Of the register index, repeats aside.
    pub register: Vec<Coord>,
    /// Of the lane index: 5 in a complete layout.
    pub lane: Vec<Coord>,
    /// Of the warp index.
    pub warp: Vec<Coord>,
}

/// A dimension that is covered `count` times, by the slow part of the register index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Repeat {
    /// The dimension.
    pub dim: usize,
    /// How often its span is repeated: odd, at least 3.
    pub count: u32,
}

/// Where an element is held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// Register.
    pub register: u32,
    /// Lane.
    pub lane: u32,
    /// Warp.
    pub warp: u32,
}

/// Index bits that may be cleared without losing an element: copies of what the other bits hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FreeBits {
    /// Mask over the register bits, repeats aside.
    pub register: u32,
    /// Mask over the lane.
    pub lane: u32,
    /// Mask over the warp.
    pub warp: u32,
}

/// Extents and how coordinates pack into one vector.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Space {
    pub(crate) rank: usize,
    pub(crate) extents: Coord,
    /// log2 of the span of each dimension.
    pub(crate) bits: [u32; MAX_RANK],
    /// Lowest packed bit of each dimension.
    pub(crate) at: [u32; MAX_RANK],
}

impl Space {
    pub(crate) fn new(shape: &[u32]) -> Result<Space, LayoutError> {
        if shape.len() > MAX_RANK {
            return Err(LayoutError::Rank { rank: shape.len() });
        }
        if let Some(dim) = shape.iter().position(|e| !(1..=65536).contains(e)) {
            return Err(LayoutError::Extent { dim, extent: shape[dim] });
        }
        let elements = shape.iter().map(|&e| u64::from(e)).product();
        if elements > 1 << 30 {
            return Err(LayoutError::Size { elements });
        }
        let mut space = Space { rank: shape.len(), extents: [1; 4], bits: [0; 4], at: [0; 4] };
        let mut at = 0;
        for d in (0..shape.len()).rev() {
            space.extents[d] = shape[d];
            space.bits[d] = shape[d].trailing_zeros();
            space.at[d] = at;
            at += space.bits[d];
        }
        Ok(space)
    }

    pub(crate) fn shape(&self) -> &[u32] {
        &self.extents[..self.rank]
    }

    pub(crate) fn repeats(&self, dim: usize) -> u32 {
        self.extents[dim] >> self.bits[dim]
    }

    pub(crate) fn total_bits(&self) -> u32 {
        self.bits.iter().sum()
    }

    /// The bits of a coordinate below the spans.
    pub(crate) fn pack(&self, coord: &Coord) -> u32 {
        (0..self.rank).fold(0, |p, d| p | (coord[d] & mask(self.bits[d])) << self.at[d])
    }

    pub(crate) fn unpack(&self, packed: u32) -> Coord {
        let mut coord = [0; MAX_RANK];
        for (d, c) in coord.iter_mut().enumerate().take(self.rank) {
            *c = self.field(packed, d);
        }
        coord
    }

    /// The part of a packed vector that lies in one dimension.
    pub(crate) fn field(&self, packed: u32, dim: usize) -> u32 {
        packed >> self.at[dim] & mask(self.bits[dim])
    }
}

/// A map from register, lane and warp to the coordinates of a tile of rank 0 to 4.
///
/// `apply` is the definition; everything else follows from it. A layout with 5 lane bits is *complete*; fragments and
/// factors of products may have fewer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    pub(crate) space: Space,
    pub(crate) bases: [Vec<u32>; 3],
    /// Fastest first.
    pub(crate) repeats: Vec<Repeat>,
}

impl Layout {
    /// A layout of a tile of the given extents; dimensions repeat in row-major order (the last is fastest).
    ///
    /// # Errors
    /// An extent outside `1..=65536`, a basis vector outside the spans, too many bits.
    pub fn new(shape: &[u32], bases: &Bases) -> Result<Layout, LayoutError> {
        let space = Space::new(shape)?;
        let order: Vec<usize> = (0..space.rank).rev().filter(|&d| space.repeats(d) > 1).collect();
        Layout::with_repeat_order(shape, bases, &order)
    }

    /// As [`new`](Layout::new), with the order of the repeated dimensions, fastest first.
    ///
    /// # Errors
    /// As `new`; or an order that does not name each repeated dimension once.
    pub fn with_repeat_order(shape: &[u32], bases: &Bases, order: &[usize]) -> Result<Layout, LayoutError> {
        let space = Space::new(shape)?;
        let repeated: Vec<usize> = (0..space.rank).filter(|&d| space.repeats(d) > 1).collect();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != repeated {
            return Err(LayoutError::RepeatOrder { order: order.to_vec(), repeated });
        }
        let mut packed = [Vec::new(), Vec::new(), Vec::new()];
        let given = [&bases.register, &bases.lane, &bases.warp];
        let limits = [MAX_REGISTER_BITS, LANE_BITS, MAX_WARP_BITS];
        for (input, name) in Input::ALL.iter().map(|i| i.name()).enumerate() {
            if given[input].len() > limits[input] {
                return Err(LayoutError::Bits {
                    input: name,
                    bits: given[input].len(),
                    limit: limits[input],
                });
            }
            for (bit, vector) in given[input].iter().enumerate() {
                if let Some(dim) = (0..MAX_RANK).find(|&d| vector[d] >> space.bits[d] != 0) {
                    return Err(LayoutError::Basis {
                        input: name,
                        bit,
                        dim,
                        offset: vector[dim],
                        span: 1 << space.bits[dim],
                    });
                }
                packed[input].push(space.pack(vector));
            }
        }
        let repeats = order.iter().map(|&dim| Repeat { dim, count: space.repeats(dim) }).collect();
        Ok(Layout { space, bases: packed, repeats })
    }

    /// Extents of the tile.
    pub fn shape(&self) -> &[u32] {
        self.space.shape()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.space.rank
    }

    /// Power-of-two part of an extent.
    pub fn span(&self, dim: usize) -> u32 {
        1 << self.space.bits[dim]
    }

    /// The repeated dimensions, fastest first.
    pub fn repeats(&self) -> &[Repeat] {
        &self.repeats
    }

    /// The basis vectors, as coordinates.
    pub fn bases(&self) -> Bases {
        let unpack = |i: Input| self.packed(i).iter().map(|&v| self.space.unpack(v)).collect();
        Bases { register: unpack(Input::Register), lane: unpack(Input::Lane), warp: unpack(Input::Warp) }
    }

    /// Registers per thread, repeats included.
    pub fn registers(&self) -> u32 {
        self.repeat_count() << self.register_bits()
    }

    /// Lanes: 32 in a complete layout.
    pub fn lanes(&self) -> u32 {
        1 << self.packed(Input::Lane).len()
    }

    /// Warps.
    pub fn warps(&self) -> u32 {
        1 << self.packed(Input::Warp).len()
    }

    /// The coordinate of the element in a register. Indices beyond the layout's own wrap around.
    pub fn apply(&self, register: u32, lane: u32, warp: u32) -> Coord {
        let packed = combine(self.packed(Input::Register), register)
            ^ combine(self.packed(Input::Lane), lane)
            ^ combine(self.packed(Input::Warp), warp);
        let mut coord = self.space.unpack(packed);
        let mut index = register >> self.register_bits();
        for r in &self.repeats {
            coord[r.dim] += (index % r.count) << self.space.bits[r.dim];
            index /= r.count;
        }
        coord
    }

    /// The linear part as one map: register bits lowest, then lane, then warp; coordinates packed with the last
    /// dimension lowest, `log2(span)` bits each.
    pub fn map(&self) -> F2Map {
        F2Map::new(self.bases.concat(), self.space.total_bits())
    }

    /// Whether no element is held twice.
    pub fn is_injective(&self) -> bool {
        let map = self.map();
        map.rank() == map.in_bits()
    }

    /// Whether every element is held.
    pub fn is_surjective(&self) -> bool {
        let map = self.map();
        map.rank() == map.out_bits()
    }

    /// Bits that only make copies. Keeping threads and registers whose free bits are zero keeps each element once.
    pub fn free_bits(&self) -> FreeBits {
        let mut rows = Echelon::default();
        let mut free = [0; 3];
        for (columns, free) in self.bases.iter().zip(&mut free) {
            for (bit, &v) in columns.iter().enumerate() {
                if rows.insert(v, 0).is_err() {
                    *free |= 1 << bit;
                }
            }
        }
        FreeBits { register: free[0], lane: free[1], warp: free[2] }
    }

    /// Who holds an element: the holder with the fewest bits set beyond need; `None` where some element is not held.
    pub fn inverse(&self) -> Option<Inverse> {
        Some(Inverse { inverse: self.map().right_inverse()?, layout: self.clone() })
    }

    /// Packed basis vectors of one index.
    pub(crate) fn packed(&self, input: Input) -> &[u32] {
        &self.bases[input as usize]
    }

    /// Register bits, repeats aside.
    pub(crate) fn register_bits(&self) -> u32 {
        self.packed(Input::Register).len() as u32
    }

    /// Number of values of the repeat index.
    pub(crate) fn repeat_count(&self) -> u32 {
        self.repeats.iter().map(|r| r.count).product()
    }

    /// The repeat index that holds the repeats of a coordinate.
    pub(crate) fn repeat_index(&self, coord: &Coord) -> u32 {
        let digit = |r: &Repeat| coord[r.dim] >> self.space.bits[r.dim];
        self.repeats.iter().rev().fold(0, |index, r| index * r.count + digit(r))
    }
}

/// The map from coordinates to one holder of each element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inverse {
    layout: Layout,
    inverse: F2Map,
}

impl Inverse {
    /// A holder of the element: `layout.apply` of it gives the coordinate back.
    pub fn locate(&self, coord: &Coord) -> Place {
        let layout = &self.layout;
        let found = self.inverse.apply(layout.space.pack(coord));
        let (r, l) = (layout.register_bits(), layout.packed(Input::Lane).len() as u32);
        Place {
            register: layout.repeat_index(coord) << r | found & mask(r),
            lane: found >> r & mask(l),
            warp: found >> (r + l),
        }
    }
}
