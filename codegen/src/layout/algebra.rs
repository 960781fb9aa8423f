//! Layouts from layouts: products and quotients, and the shape operations of the language.
//!
//! The shape operations never move data. Where they change how many registers a thread needs, they return a
//! [`Projection`], which says which register of the smaller tile belongs to each register of the larger one; an
//! emitter renames registers by it and prints nothing.

use super::bits::{Echelon, F2Map};
use super::error::{LayoutError, shape_error};
use super::linear::{Bases, Coord, Input, LANE_BITS, Layout, MAX_RANK, Repeat, Space};

/// The layout of a derived tile, and how registers of the larger and the smaller tile correspond.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Projection {
    /// The derived layout.
    pub layout: Layout,
    /// For each register of the larger tile, the register of the smaller tile (in the same thread) that belongs to it.
    pub register: Vec<u32>,
}

impl Layout {
    /// Every thread holds the whole tile, in row-major register order.
    ///
    /// # Errors
    /// As [`Layout::new`].
    pub fn replicated(shape: &[u32], warp_bits: u32) -> Result<Layout, LayoutError> {
        let register = unit_vectors(&Space::new(shape)?);
        // More bits than a block has are refused below.
        let warp_bits = warp_bits.min(32);
        let zeros = |n| vec![[0; MAX_RANK]; n];
        Layout::new(shape, &Bases { register, lane: zeros(LANE_BITS), warp: zeros(warp_bits as usize) })
    }

    /// The direct sum: `inner` is the fine part of the tile, `outer` says how copies of it tile the whole.
    /// Bits of `inner` come first in every index; extents multiply.
    ///
    /// # Errors
    /// Ranks differ, `outer` subdivides a dimension that `inner` repeats, or a limit of [`Layout::new`] is passed.
    pub fn product(inner: &Layout, outer: &Layout) -> Result<Layout, LayoutError> {
        if inner.rank() != outer.rank() {
            return shape_error(format!(
                "a product needs equal ranks, and {} and {} were given",
                inner.rank(),
                outer.rank()
            ));
        }
        if let Some(r) = inner.repeats.iter().find(|r| outer.space.extents[r.dim] > 1) {
            return shape_error(format!(
                "dimension {} repeats {} times inside the product, so it cannot be tiled by {}",
                r.dim, r.count, outer.space.extents[r.dim]
            ));
        }
        let shape: Vec<u32> = (0..inner.rank())
            .map(|d| inner.space.extents[d].saturating_mul(outer.space.extents[d]))
            .collect();
        let shift = |v: Coord| std::array::from_fn(|d| v[d] << inner.space.bits[d]);
        let (mut bases, rest) = (inner.bases(), outer.bases());
        bases.register.extend(rest.register.into_iter().map(shift));
        bases.lane.extend(rest.lane.into_iter().map(shift));
        bases.warp.extend(rest.warp.into_iter().map(shift));
        let order: Vec<usize> = inner.repeats.iter().chain(&outer.repeats).map(|r| r.dim).collect();
        Layout::with_repeat_order(&shape, &bases, &order)
    }

    /// Left division: the `outer` with `product(inner, outer) == self`, or `None` where there is none.
    pub fn divide(&self, inner: &Layout) -> Option<Layout> {
        let divides = |d: usize| self.space.extents[d].is_multiple_of(inner.space.extents[d]);
        if self.rank() != inner.rank() || !(0..self.rank()).all(divides) {
            return None;
        }
        let shape: Vec<u32> =
            (0..self.rank()).map(|d| self.space.extents[d] / inner.space.extents[d]).collect();
        let rest = |whole: &[Coord], part: &[Coord]| -> Option<Vec<Coord>> {
            let rest = whole.strip_prefix(part)?;
            Some(rest.iter().map(|v| std::array::from_fn(|d| v[d] >> inner.space.bits[d])).collect())
        };
        let (whole, part) = (self.bases(), inner.bases());
        let bases = Bases {
            register: rest(&whole.register, &part.register)?,
            lane: rest(&whole.lane, &part.lane)?,
            warp: rest(&whole.warp, &part.warp)?,
        };
        let order: Vec<usize> =
            self.repeats.strip_prefix(&inner.repeats[..])?.iter().map(|r| r.dim).collect();
        let outer = Layout::with_repeat_order(&shape, &bases, &order).ok()?;
        // The shifts above may have dropped bits; then the product is another layout.
        (Layout::product(inner, &outer).as_ref() == Ok(self)).then_some(outer)
    }

    /// Moves every element: the coordinate of each place becomes its image under a linear map of packed coordinates
    /// (see [`Layout::map`]), for instance an XOR swizzle. Repeats stay.
    ///
    /// # Errors
    /// The map is not from and to the coordinates of this tile.
    pub fn compose(&self, map: &F2Map) -> Result<Layout, LayoutError> {
        let bits = self.space.total_bits();
        if map.in_bits() != bits || map.out_bits() != bits {
            return shape_error(format!(
                "a map from {} to {} bits does not fit the {bits} coordinate bits of the tile",
                map.in_bits(),
                map.out_bits()
            ));
        }
        let mut moved = self.clone();
        moved.bases.iter_mut().flatten().for_each(|v| *v = map.apply(*v));
        Ok(moved)
    }

    /// Permutes dimensions: dimension `i` of the result is dimension `order[i]` of this tile. Free.
    ///
    /// # Errors
    /// `order` is not a permutation.
    pub fn permute(&self, order: &[usize]) -> Result<Layout, LayoutError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.rank()) {
            return shape_error(format!("{order:?} is not a permutation of {} dimensions", self.rank()));
        }
        let shape: Vec<u32> = order.iter().map(|&d| self.space.extents[d]).collect();
        self.rebuilt(&shape, |d| order.iter().position(|&o| o == d))
    }

    /// Inserts a dimension of extent 1 before `dim`. Free.
    ///
    /// # Errors
    /// `dim` is beyond the rank, or the rank would pass 4.
    pub fn expand(&self, dim: usize) -> Result<Layout, LayoutError> {
        if dim > self.rank() {
            return shape_error(format!("cannot insert dimension {dim} into a tile of rank {}", self.rank()));
        }
        let mut shape = self.shape().to_vec();
        shape.insert(dim, 1);
        self.rebuilt(&shape, |d| Some(d + usize::from(d >= dim)))
    }

    /// Removes a dimension of extent 1. Free.
    ///
    /// # Errors
    /// The dimension does not exist or is longer.
    pub fn squeeze(&self, dim: usize) -> Result<Layout, LayoutError> {
        if self.shape().get(dim) != Some(&1) {
            return shape_error(format!("dimension {dim} of {:?} is not of extent 1", self.shape()));
        }
        let mut shape = self.shape().to_vec();
        shape.remove(dim);
        self.rebuilt(&shape, |d| (d != dim).then(|| d - usize::from(d > dim)))
    }

    /// The layout of what remains without `dim`: the result of a reduction over it, or what a tile must have before
    /// `expand(dim)` and broadcast give this layout. `register[r]` is the register of the slice for register `r` here.
    ///
    /// # Errors
    /// The dimension does not exist.
    pub fn slice(&self, dim: usize) -> Result<Projection, LayoutError> {
        if dim >= self.rank() {
            return shape_error(format!("a tile of rank {} has no dimension {dim}", self.rank()));
        }
        let mut shape = self.shape().to_vec();
        shape.remove(dim);
        let reduced = self.rebuilt(&shape, |d| (d != dim).then(|| d - usize::from(d > dim)))?;
        let distinct = reduced.distinct_registers();
        let place = |r| reduced_register(self, &reduced, dim, r);
        let register = (0..self.registers()).map(|r| distinct.register[place(r) as usize]).collect();
        Ok(Projection { layout: distinct.layout, register })
    }

    /// Drops registers that hold what another register of the same thread holds.
    /// `register[r]` is the one that stays in place of register `r` here.
    pub fn distinct_registers(&self) -> Projection {
        let mut rows = Echelon::default();
        let mut kept = Vec::new();
        let mut image = Vec::new();
        for &v in self.packed(Input::Register) {
            let bit = 1 << kept.len();
            match rows.insert(v, bit) {
                Ok(()) => {
                    kept.push(v);
                    image.push(bit);
                }
                Err(dependency) => image.push(dependency ^ bit),
            }
        }
        let mut layout = self.clone();
        layout.bases[Input::Register as usize] = kept;
        let (old, new) = (self.register_bits(), layout.register_bits());
        let register =
            (0..self.registers()).map(|r| (r >> old) << new | super::bits::combine(&image, r)).collect();
        Projection { layout, register }
    }

    /// Stretches a dimension of extent 1: every thread that holds an element holds all its copies, in registers.
    /// `register[r]` is the register here that register `r` of the result copies.
    ///
    /// # Errors
    /// The dimension is not of extent 1, or the tile becomes too large.
    pub fn broadcast(&self, dim: usize, extent: u32) -> Result<Projection, LayoutError> {
        if self.shape().get(dim) != Some(&1) {
            return shape_error(format!("dimension {dim} of {:?} is not of extent 1", self.shape()));
        }
        let mut shape = vec![1; self.rank()];
        shape[dim] = extent;
        let register = unit_vectors(&Space::new(&shape)?);
        let copies = Layout::new(&shape, &Bases { register, ..Bases::default() })?;
        let layout = Layout::product(self, &copies)?;
        let (old, new) = (self.register_bits(), layout.register_bits());
        let low = super::bits::mask(old);
        let register =
            (0..layout.registers()).map(|r| ((r >> new) % self.repeat_count()) << old | r & low).collect();
        Ok(Projection { layout, register })
    }

    /// Another shape over the same row-major element order. Free, and possible exactly where the extents of both
    /// shapes split into the same sequence of odd factors and powers of two: `(192)` is `(3, 64)` or `(6, 32)`, and
    /// not `(64, 3)`.
    ///
    /// # Errors
    /// The shapes have different sizes, or no such split.
    pub fn reshape(&self, shape: &[u32]) -> Result<Layout, LayoutError> {
        let space = Space::new(shape)?;
        let (old, new) = (digits(&self.space), digits(&space));
        if old != new {
            return shape_error(format!(
                "reshaping {:?} to {shape:?} moves elements between repeats and power-of-two spans; \
                 go through shared memory",
                self.shape()
            ));
        }
        let repeated = |s: &Space| (0..s.rank).filter(|&d| s.repeats(d) > 1).collect::<Vec<_>>();
        let (from, to) = (repeated(&self.space), repeated(&space));
        let rename = |r: &Repeat| {
            let at = from.iter().position(|&d| d == r.dim)?;
            Some(Repeat { dim: to[at], ..*r })
        };
        let repeats = self.repeats.iter().filter_map(rename).collect();
        Ok(Layout { space, bases: self.bases.clone(), repeats })
    }

    /// The same bases in a tile of another shape, dimension `d` moving to `place(d)` or vanishing.
    fn rebuilt(&self, shape: &[u32], place: impl Fn(usize) -> Option<usize>) -> Result<Layout, LayoutError> {
        let space = Space::new(shape)?;
        let movable = |d: usize| place(d).map(|to| (d, to));
        let moves: Vec<(usize, usize)> = (0..self.rank()).filter_map(movable).collect();
        let moved = |&v: &u32| moves.iter().fold(0, |p, &(d, to)| p | self.space.field(v, d) << space.at[to]);
        let bases = self.bases.each_ref().map(|vectors| vectors.iter().map(moved).collect());
        let repeats = self.repeats.iter().filter_map(|r| Some(Repeat { dim: place(r.dim)?, ..*r })).collect();
        Ok(Layout { space, bases, repeats })
    }
}

/// The register of `reduced` (no bits dropped yet) for a register of `whole` once `dim` is gone.
fn reduced_register(whole: &Layout, reduced: &Layout, dim: usize, register: u32) -> u32 {
    let bits = whole.register_bits();
    let (mut index, mut left, mut weight) = (register >> bits, 0, 1);
    for r in &whole.repeats {
        if r.dim != dim {
            left += index % r.count * weight;
            weight *= r.count;
        }
        index /= r.count;
    }
    left << reduced.register_bits() | register & super::bits::mask(bits)
}

/// One vector per coordinate bit, the last dimension first.
pub(crate) fn unit_vectors(space: &Space) -> Vec<Coord> {
    (0..space.total_bits()).map(|bit| space.unpack(1 << bit)).collect()
}

/// Odd factors above 1, and runs of bits between them, slowest first.
fn digits(space: &Space) -> Vec<(u32, u32)> {
    let mut digits = vec![(1, 0)];
    for d in 0..space.rank {
        if space.repeats(d) > 1 {
            digits.push((space.repeats(d), 0));
        }
        digits.last_mut().expect("the list should not be empty").1 += space.bits[d];
    }
    digits
}
