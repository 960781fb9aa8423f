//! What one tensor copy moves: runs of bytes between global memory and a box in shared memory.
//!
//! The box is dense in shared memory, dimension 0 first; its rows are then permuted by the swizzle. A row of the box is
//! inside the tensor for one contiguous range of dimension 0, or not at all:
//!
//! ```text
//! tensor          |<------------- dims[0] ------------->|
//! box row   |<- fill ->|<- run ->|        ...       |<- run ->|<- fill ->|
//! ```

use super::{MAX_RANK, Swizzle, TensorMap};

/// Where the bytes of a run come from (or, in a store, go to).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Bytes from the map's address.
    Offset(u64),
    /// Outside the tensor: the fill value.
    Fill,
}

/// Contiguous bytes on both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The global side.
    pub global: Source,
    /// The shared address, swizzled, in the same window as the box's.
    pub shared: u64,
    /// Length.
    pub bytes: u64,
}

/// Why a tensor copy cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorCopyError {
    /// The instruction's dimension differs from the map's rank.
    #[error("the copy gives {given} coordinates to a tensor map of rank {rank}")]
    Coordinates {
        /// Coordinates given.
        given: usize,
        /// Dimensions of the map.
        rank: usize,
    },
    /// The box is not aligned in shared memory.
    #[error(
        "the box of a tensor copy lies at shared address {address:#x}, which is not a multiple of 128 bytes"
    )]
    SharedAlignment {
        /// Address of the box.
        address: u64,
    },
    /// A store begins before the tensor.
    #[error(
        "a tensor store starts at coordinate {coordinate} of dimension {dim}; only loads may start at negative \
         coordinates"
    )]
    NegativeStore {
        /// The dimension.
        dim: usize,
        /// Its coordinate.
        coordinate: i32,
    },
    /// The rows of a swizzled box do not fill the span.
    #[error(
        "the rows of the box have {row_bytes} bytes under a swizzle span of {span}, and where rows after the first then \
         lie is not known; make the box {span} bytes wide or choose a smaller span"
    )]
    ShortRows {
        /// Bytes of a row of the box.
        row_bytes: u64,
        /// The swizzle's span.
        span: u64,
    },
}

impl TensorMap {
    /// Visits the runs of a load of the box at `coordinates` (innermost first, negative allowed) to shared address
    /// `shared`. The runs cover the whole box; those outside the tensor are fills.
    ///
    /// # Errors
    /// The copy breaks a rule of `cp.async.bulk.tensor`; nothing was visited then.
    pub fn load_runs(
        &self,
        coordinates: &[i32],
        shared: u64,
        visit: impl FnMut(Run),
    ) -> Result<(), TensorCopyError> {
        self.check_copy(coordinates, shared)?;
        self.box_runs(coordinates, shared, visit);
        Ok(())
    }

    /// Visits the runs of a store, or of a reduction, of the box at shared address `shared` to `coordinates`. Elements
    /// outside the tensor are not visited.
    ///
    /// # Errors
    /// The copy breaks a rule of `cp.async.bulk.tensor`; nothing was visited then.
    pub fn store_runs(
        &self,
        coordinates: &[i32],
        shared: u64,
        mut visit: impl FnMut(Run),
    ) -> Result<(), TensorCopyError> {
        self.check_copy(coordinates, shared)?;
        if let Some(dim) = coordinates.iter().position(|&coordinate| coordinate < 0) {
            return Err(TensorCopyError::NegativeStore { dim, coordinate: coordinates[dim] });
        }
        self.box_runs(coordinates, shared, |run| {
            if run.global != Source::Fill {
                visit(run);
            }
        });
        Ok(())
    }

    fn check_copy(&self, coordinates: &[i32], shared: u64) -> Result<(), TensorCopyError> {
        if coordinates.len() != self.rank {
            return Err(TensorCopyError::Coordinates { given: coordinates.len(), rank: self.rank });
        }
        if !shared.is_multiple_of(128) {
            return Err(TensorCopyError::SharedAlignment { address: shared });
        }
        let row_bytes = self.box_elements(0) * self.element_bytes();
        let span = u64::from(self.swizzle.span());
        if self.swizzle != Swizzle::None && row_bytes < span && self.box_bytes() > row_bytes {
            return Err(TensorCopyError::ShortRows { row_bytes, span });
        }
        Ok(())
    }

    fn box_runs(&self, coordinates: &[i32], shared: u64, mut visit: impl FnMut(Run)) {
        let element = self.element_bytes();
        let row_elements = self.box_elements(0) as i64;
        let rows = self.box_bytes() / (row_elements as u64 * element);
        let start = i64::from(coordinates[0]);
        // The elements of a row inside the tensor, and the bytes of the row before, in and after them.
        let first = (-start).clamp(0, row_elements);
        let last = (self.dims[0] as i64 - start).clamp(first, row_elements);
        let cuts = [0, first as u64 * element, last as u64 * element, row_elements as u64 * element];

        let mut index = [0_u64; MAX_RANK];
        for row in 0..rows {
            let row_shared = shared + row * cuts[3];
            match self.row_offset(coordinates, &index) {
                Some(offset) => {
                    let inside = offset.wrapping_add_signed((start + first) * element as i64);
                    self.chunks(row_shared, cuts[0], cuts[1], None, &mut visit);
                    self.chunks(row_shared, cuts[1], cuts[2], Some(inside), &mut visit);
                    self.chunks(row_shared, cuts[2], cuts[3], None, &mut visit);
                }
                None => self.chunks(row_shared, cuts[0], cuts[3], None, &mut visit),
            }
            for (dim, position) in index.iter_mut().enumerate().take(self.rank).skip(1) {
                *position += 1;
                if *position < self.box_elements(dim) {
                    break;
                }
                *position = 0;
            }
        }
    }

    /// Offset of element 0 of the tensor row that box row `index` lies on, or nothing if it lies outside.
    fn row_offset(&self, coordinates: &[i32], index: &[u64; MAX_RANK]) -> Option<u64> {
        let mut offset = 0_u64;
        for dim in 1..self.rank {
            let at = i64::from(coordinates[dim]) + (index[dim] * u64::from(self.element_strides[dim])) as i64;
            if at < 0 || at as u64 >= self.dims[dim] {
                return None;
            }
            // An offset past 2^64 cannot be in any allocation; wrapped, it is still outside the map's.
            offset = offset.wrapping_add((at as u64).wrapping_mul(self.strides[dim]));
        }
        Some(offset)
    }

    /// Bytes `from..to` of a row: one run in order, or one per 16-byte chunk under a swizzle.
    #[inline]
    fn chunks(&self, row: u64, from: u64, to: u64, offset: Option<u64>, visit: &mut impl FnMut(Run)) {
        let mut at = from;
        while at < to {
            let end = match self.swizzle {
                Swizzle::None => to,
                Swizzle::B32 | Swizzle::B64 | Swizzle::B128 => to.min((at / 16 + 1) * 16),
            };
            let global = match offset {
                Some(offset) => Source::Offset(offset + (at - from)),
                None => Source::Fill,
            };
            visit(Run { global, shared: self.swizzle.apply(row + at), bytes: end - at });
            at = end;
        }
    }
}
