//! Which registers make up the operand of one instruction: a layout cut into copies of a fragment, and into the 8 x 16
//! byte matrices that ldmatrix and stmatrix move.

use std::collections::BTreeMap;

use super::bits::mask;
use super::linear::{Bases, Coord, Input, LANE_BITS, Layout};

/// One copy of a fragment in a larger tile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FragmentTile {
    /// Coordinate of its first element, for the warps whose bits beyond the fragment's are zero.
    pub origin: Coord,
    /// The registers of the larger layout, in the fragment's register order.
    pub registers: Vec<u32>,
}

/// How ldmatrix (or stmatrix) moves a tile, 8 rows of 16 bytes per matrix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MatrixAccess {
    /// Whether the `.trans` form is needed.
    pub transposed: bool,
    /// Matrices per instruction: 1, 2 or 4.
    pub count: u32,
    /// Elements per 16-byte row.
    pub row_elements: u32,
    /// The lane's row: for instruction `i`, lane `l` gives the address of the element at
    /// `address.apply(i * row_elements, l, warp)`.
    pub address: Layout,
    /// For each instruction the element registers, matrix by matrix; those of one 32-bit register are adjacent, low
    /// half first.
    pub accesses: Vec<Vec<u32>>,
}

impl Layout {
    /// Cuts the tile into copies of a fragment that has the same lanes and the same lowest warps. `None` where the
    /// layout is not made of such copies. Copies come in row-major order of their origins.
    ///
    /// For every copy, register `i` of the fragment in a thread is `registers[i]` of this layout, and a warp `w` whose
    /// bits go beyond the fragment's finds the copy at `self.apply(registers[0], 0, w & !(fragment.warps() - 1))`.
    pub fn tiles(&self, fragment: &Layout) -> Option<Vec<FragmentTile>> {
        let (own, part) = (self.bases(), fragment.bases());
        let divides = |d: usize| self.space.extents[d].is_multiple_of(fragment.space.extents[d]);
        if self.rank() != fragment.rank()
            || !(0..self.rank()).all(divides)
            || own.lane != part.lane
            || !own.warp.starts_with(&part.warp)
        {
            return None;
        }
        // Further warps must move by whole fragments.
        let beyond = &own.warp[part.warp.len()..];
        if !beyond.iter().all(|v| (0..self.rank()).all(|d| v[d] % fragment.space.extents[d] == 0)) {
            return None;
        }
        let mut holder = BTreeMap::new();
        for r in (0..self.registers()).rev() {
            holder.insert(self.apply(r, 0, 0), r);
        }
        let mut tiles = Vec::new();
        for coord in holder.keys() {
            let origin = *coord;
            if !(0..self.rank()).all(|d| origin[d] % fragment.space.extents[d] == 0) {
                continue;
            }
            let member = |i| {
                let offset = fragment.apply(i, 0, 0);
                holder.get(&std::array::from_fn(|d| origin[d] + offset[d])).copied()
            };
            let registers: Option<Vec<u32>> = (0..fragment.registers()).map(member).collect();
            tiles.push(FragmentTile { origin, registers: registers? });
        }
        let covered = tiles.len() as u32 * fragment.distinct_registers().layout.registers();
        (covered == holder.len() as u32).then_some(tiles)
    }

    /// Cuts the tile into `n` equal parts along a dimension, each held in registers of its own in every thread:
    /// the layout of a part, and per part the registers of this layout in the order of the part's registers.
    pub fn split(&self, dim: usize, n: u32) -> Option<(Layout, Vec<Vec<u32>>)> {
        if dim >= self.rank() || n == 0 || !self.space.extents[dim].is_multiple_of(n) {
            return None;
        }
        let mut shape = self.shape().to_vec();
        shape[dim] /= n;
        let span = 1 << shape[dim].trailing_zeros();
        let mut bases = self.bases();
        bases.register.retain(|v| v[dim] < span);
        let order: Vec<usize> = self.repeats.iter().map(|r| r.dim).collect();
        let mut order: Vec<usize> = order.into_iter().filter(|&d| d != dim).collect();
        if shape[dim] > span {
            order.push(dim);
        }
        let part = Layout::with_repeat_order(&shape, &bases, &order).ok()?;
        let tiles = self.tiles(&part)?;
        Some((part, tiles.into_iter().map(|t| t.registers).collect()))
    }

    /// How ldmatrix and stmatrix move this tile when shared memory is contiguous along `dim`, 16-byte rows aligned;
    /// `None` where the layout does not have their shape. Plain for 1, 2 and 4-byte elements, transposed for 2.
    pub fn matrix_access(&self, dim: usize, element_bytes: u32) -> Option<MatrixAccess> {
        if dim >= self.rank()
            || self.packed(Input::Lane).len() != LANE_BITS
            || !matches!(element_bytes, 1 | 2 | 4)
            || self.free_bits().register != 0
        {
            return None;
        }
        self.plain_access(dim, element_bytes).or_else(|| self.transposed_access(dim, element_bytes))
    }

    fn plain_access(&self, dim: usize, element_bytes: u32) -> Option<MatrixAccess> {
        let word_bits = (4 / element_bytes).ilog2();
        let own = self.bases();
        let word: Option<Vec<usize>> =
            (0..word_bits).map(|j| own.register.iter().position(|&v| v == unit(dim, j))).collect();
        let word = word?;
        let in_row = own.lane[0] == unit(dim, word_bits) && own.lane[1] == unit(dim, word_bits + 1);
        let rows = own.lane[2..].to_vec();
        in_row.then(|| self.access_of(dim, word_bits + 2, &word, &rows, &own.lane[2..], false))?
    }

    fn transposed_access(&self, dim: usize, element_bytes: u32) -> Option<MatrixAccess> {
        let own = self.bases();
        let in_row = (0..3).all(|j| own.lane[2 + j as usize] == unit(dim, j));
        if element_bytes != 2 || !in_row || own.register.is_empty() {
            return None;
        }
        let rows = vec![own.register[0], own.lane[0], own.lane[1]];
        self.access_of(dim, 3, &[0], &rows, &own.lane[..2], true)
    }

    /// The access whose rows are `row_bits` bits of `dim`; `lanes` are the lane vectors outside the row.
    fn access_of(
        &self,
        dim: usize,
        row_bits: u32,
        word: &[usize],
        rows: &[Coord],
        lanes: &[Coord],
        transposed: bool,
    ) -> Option<MatrixAccess> {
        let own = self.bases();
        let rest: Vec<usize> = (0..own.register.len()).filter(|b| !word.contains(b)).collect();
        let outside = rest.iter().map(|&b| &own.register[b]).chain(lanes).chain(&own.warp).chain(rows);
        if outside.into_iter().any(|v| v[dim] & mask(row_bits) != 0) || self.space.bits[dim] < row_bits {
            return None;
        }
        let (matrices, instances) = rest.split_at(rest.len().min(2));
        let mut lane = rows.to_vec();
        lane.extend(matrices.iter().map(|&b| own.register[b]));
        lane.resize(LANE_BITS, [0; 4]);
        let mut register: Vec<Coord> = (0..row_bits).map(|j| unit(dim, j)).collect();
        register.extend(instances.iter().map(|&b| own.register[b]));
        let order: Vec<usize> = self.repeats.iter().map(|r| r.dim).collect();
        let bases = Bases { register, lane, warp: own.warp };
        let address = Layout::with_repeat_order(self.shape(), &bases, &order).ok()?;

        let members: Vec<usize> = word.iter().chain(matrices).copied().collect();
        let spread = |bits: &[usize], i: u32| (0..).zip(bits).fold(0, |r, (j, &b)| r | (i >> j & 1) << b);
        let starts = (0..self.repeat_count()).flat_map(|rep| {
            (0..1 << instances.len()).map(move |i| rep << self.register_bits() | spread(instances, i))
        });
        let accesses = starts
            .map(|start| (0..1 << members.len()).map(|i| start | spread(&members, i)).collect())
            .collect();
        let count = 1 << matrices.len();
        Some(MatrixAccess { transposed, count, row_elements: 1 << row_bits, address, accesses })
    }
}

/// The coordinate with one bit set.
fn unit(dim: usize, bit: u32) -> Coord {
    let mut v = [0; 4];
    v[dim] = 1 << bit;
    v
}
