//! A swizzle computed for one writer and one reader, free of bank conflicts for both.
//!
//! Offsets are dealt from the lowest bit: the vector both sides move at once, the bank bits of a 128-byte line, then
//! the line index. Two lanes of a phase conflict when their elements differ by something whose line bits are not all
//! zero while its bank bits are. So the line bits need a subspace that meets neither side's lanes: for subspaces
//! P and Q of the vector plus the lanes of one phase, the sums `p_i + q_i` of what extends their intersection to
//! each of them, and anything outside P + Q. (The construction of the linear layouts paper, section on swizzling.)

use super::bits::{Echelon, F2Map, combine, mask};
use super::error::{LayoutError, shape_error};
use super::linear::{Input, Layout};
use super::shared::SharedLayout;

/// log2 of the bytes that the 32 banks deliver at once.
const LINE_BITS: u32 = 7;

impl SharedLayout {
    /// A layout for a tile that `write` stores and `read` loads, each in the widest access they have in common, both
    /// free of bank conflicts. Repeats follow each other in row-major order.
    ///
    /// # Errors
    /// The shapes differ; an element size that is not 1, 2, 4, 8 or 16; a tile over 2^30 bytes.
    ///
    /// # Panics
    /// Never: the basis is complete by construction.
    pub fn for_exchange(
        write: &Layout,
        read: &Layout,
        element_bytes: u32,
    ) -> Result<SharedLayout, LayoutError> {
        if write.shape() != read.shape() {
            return shape_error(format!(
                "an exchange needs one shape, and {:?} and {:?} were given",
                write.shape(),
                read.shape()
            ));
        }
        if !matches!(element_bytes, 1 | 2 | 4 | 8 | 16) {
            return shape_error(format!("{element_bytes} bytes per element: 1, 2, 4, 8 or 16 are possible"));
        }
        let space = &write.space;
        let elements: u64 = space.shape().iter().map(|&e| u64::from(e)).product();
        if elements * u64::from(element_bytes) > 1 << 30 {
            return shape_error(format!(
                "a tile {:?} of {element_bytes} bytes each is over 2^30 bytes",
                space.shape()
            ));
        }
        let columns = offset_basis(write, read, element_bytes.ilog2());
        let to_packed = F2Map::new(columns, space.total_bits());
        let to_offset = to_packed.right_inverse().expect("a basis of the coordinates should be invertible");
        let bytes = |packed: u32| to_offset.apply(packed) * element_bytes;
        let mut block = Vec::new();
        let mut strides = vec![0; space.rank];
        let mut next = element_bytes << space.total_bits();
        for d in (0..space.rank).rev() {
            strides[d] = next;
            next = next.saturating_mul(space.repeats(d));
        }
        for d in 0..space.rank {
            block.push((0..space.bits[d]).map(|j| bytes(1 << (space.at[d] + j))).collect());
        }
        SharedLayout::new(space.shape(), element_bytes, &block, &strides)
    }
}

/// The coordinate vector of each offset bit, in elements.
fn offset_basis(write: &Layout, read: &Layout, element_bits: u32) -> Vec<u32> {
    let total = write.space.total_bits();
    let (mut basis, rest) = common_vector(write, read, 4 - element_bits);
    // What one access moves decides how many lanes a phase serves.
    let vector_bits = element_bits + basis.len() as u32;
    let phase = match vector_bits {
        0..=2 => 5,
        3 => 4,
        _ => 3,
    };
    let lanes = |l: &Layout| {
        let lanes = l.packed(Input::Lane);
        lanes[..lanes.len().min(phase)].to_vec()
    };
    let (write_lanes, read_lanes) = (lanes(write), lanes(read));
    // Elements under 4 bytes share a word of a bank: fill it with what the lanes have in common, or any.
    let shared = write_lanes.iter().filter(|v| read_lanes.contains(v));
    let fill = shared.chain(&write_lanes).chain(&rest).copied();
    let word = independent(fill, &[], 2u32.saturating_sub(vector_bits) as usize);
    basis.extend(&word);

    let banks = LINE_BITS.saturating_sub(element_bits + basis.len() as u32);
    let n_lines = total.saturating_sub(basis.len() as u32 + banks) as usize;
    let mut lines = line_basis(&word, &write_lanes, &read_lanes, &rest);
    lines.truncate(n_lines);
    let by_lane = write_lanes.iter().chain(&read_lanes).chain(&rest).copied();
    basis.extend(independent(by_lane, &[word, lines.clone()].concat(), usize::MAX));
    basis.extend(lines);
    basis
}

/// The register vectors that both sides move in one access, at most `limit`, and a basis of a complement that holds
/// every other vector of both sides, so that all accesses are aligned.
fn common_vector(write: &Layout, read: &Layout, limit: u32) -> (Vec<u32>, Vec<u32>) {
    let total = write.space.total_bits();
    let all = || write.bases.iter().chain(&read.bases).flatten().copied();
    let others = |chosen: &[u32]| independent(all().filter(|v| !chosen.contains(v)), &[], usize::MAX);
    let mut chosen: Vec<u32> = Vec::new();
    for &v in write.packed(Input::Register) {
        if chosen.len() as u32 == limit || !read.packed(Input::Register).contains(&v) {
            continue;
        }
        let wider = [chosen.clone(), vec![v]].concat();
        if independent(wider.iter().copied(), &others(&wider), usize::MAX).len() == wider.len() {
            chosen = wider;
        }
    }
    let mut rest = others(&chosen);
    rest.extend(independent(
        (0..total).map(|i| 1 << i),
        &[chosen.clone(), rest.clone()].concat(),
        usize::MAX,
    ));
    (chosen, rest)
}

/// Vectors of `rest` whose span meets neither `word + write` nor `word + read`, as many as there are.
fn line_basis(word: &[u32], write: &[u32], read: &[u32], rest: &[u32]) -> Vec<u32> {
    let p = independent(word.iter().chain(write).copied(), &[], usize::MAX);
    let q = independent(word.iter().chain(read).copied(), &[], usize::MAX);
    // Each dependency between the two lists is an element of both spans.
    let both = [p.clone(), q.clone()].concat();
    let low = mask(p.len() as u32);
    let meet: Vec<u32> = F2Map::new(both.clone(), 32).kernel().iter().map(|k| combine(&p, k & low)).collect();
    let extend = |by: &[u32]| independent(by.iter().copied(), &meet, usize::MAX);
    let pairs = extend(&p).into_iter().zip(extend(&q)).map(|(a, b)| a ^ b);
    let mut lines = independent(rest.iter().copied(), &both, usize::MAX);
    lines.extend(pairs);
    lines
}

/// The first `limit` of the vectors that are independent of each other and of those `given`.
fn independent(vectors: impl IntoIterator<Item = u32>, given: &[u32], limit: usize) -> Vec<u32> {
    let mut rows = Echelon::of(given);
    vectors.into_iter().filter(|&v| rows.insert(v, 0).is_ok()).take(limit).collect()
}
