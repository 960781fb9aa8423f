//! Shadow of a memory: who wrote a place last, and who has read it since.
//!
//! Tiles move in pieces of 16 bytes, so a granule of 16 bytes has one cell until an access covers only part
//! of it; then it splits into words, and words into bytes.

use super::{Epoch, Use};

/// Reads kept per cell; later readers push out those known to be ordered before them.
const INLINE: usize = 3;

/// Reads kept beyond those: what a whole grid reads would otherwise pile up.
const MOST: usize = 32;

/// State of one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) write: Epoch,
    pub(super) write_pc: u32,
    pub(super) is_async: bool,
    pub(super) is_atomic: bool,
    n_reads: u8,
    /// Reads to come before those that are kept are searched again for some that need not be.
    patience: u8,
    inline: [(Epoch, u32); INLINE],
    more: Vec<(Epoch, u32)>,
}

impl Cell {
    pub(super) fn reads(&self) -> impl Iterator<Item = (Epoch, u32)> {
        self.inline[..self.n_reads as usize].iter().chain(&self.more).copied()
    }

    /// Remembers an access; reads that happened before a new one by the same lights need not be kept where there are many.
    pub(super) fn record(
        &mut self,
        what: Use,
        epoch: Epoch,
        pc: u32,
        is_async: bool,
        is_before: impl Fn(Epoch) -> bool,
    ) {
        if what == Use::AtomicRead {
            return;
        }
        if what != Use::Read {
            (self.write, self.write_pc) = (epoch, pc);
            (self.is_async, self.is_atomic) = (is_async, what == Use::Atomic);
            (self.n_reads, self.patience) = (0, 0);
            self.more.clear();
            return;
        }
        let is_same = |e: Epoch| (e.unit, e.actor) == (epoch.unit, epoch.actor);
        let n = self.n_reads as usize;
        if let Some(own) = self.inline[..n].iter_mut().chain(&mut self.more).find(|r| is_same(r.0)) {
            *own = (epoch, pc);
        } else if n < INLINE {
            self.inline[n] = (epoch, pc);
            self.n_reads += 1;
        } else if self.more.len() < MOST {
            self.more.push((epoch, pc));
        } else {
            self.make_room(epoch, is_before);
            self.more.push((epoch, pc));
        }
    }

    /// Forgets reads that need not be kept; where all need to be, one of them, and looks again only after as many reads.
    fn make_room(&mut self, epoch: Epoch, is_before: impl Fn(Epoch) -> bool) {
        if self.patience == 0 {
            self.more.retain(|r| !is_before(r.0));
            if self.more.len() < MOST {
                return;
            }
            self.patience = MOST as u8;
        }
        self.patience -= 1;
        self.more.swap_remove(epoch.clock as usize % MOST);
    }
}

#[derive(Debug, Clone)]
enum Granule {
    Whole(Cell),
    Words(Box<[Cell; 4]>),
    Bytes(Box<[Cell; 16]>),
}

/// Cells of a whole memory.
#[derive(Debug, Default)]
pub(super) struct Granules(Vec<Granule>);

impl Granules {
    pub(super) fn new(bytes: usize) -> Self {
        Granules(vec![Granule::Whole(Cell::default()); bytes.div_ceil(16)])
    }

    /// Makes room for `bytes` bytes.
    pub(super) fn grow(&mut self, bytes: usize) {
        if self.0.len() < bytes.div_ceil(16) {
            self.0.resize_with(bytes.div_ceil(16), || Granule::Whole(Cell::default()));
        }
    }

    /// Calls `f` with offset and cell for every cell of a range, splitting where the range cuts one.
    pub(super) fn visit(&mut self, at: usize, bytes: usize, mut f: impl FnMut(usize, &mut Cell)) {
        let end = at + bytes;
        for g in at / 16..end.div_ceil(16) {
            let Some(granule) = self.0.get_mut(g) else { return };
            let (from, to) = (at.max(16 * g), end.min(16 * g + 16));
            let covers = from == 16 * g && to == 16 * g + 16;
            let in_words = from % 4 == 0 && to % 4 == 0;
            let split = match granule {
                Granule::Whole(cell) if covers => {
                    f(from, cell);
                    continue;
                }
                Granule::Whole(cell) if in_words => {
                    Some(Granule::Words(Box::new(std::array::from_fn(|_| cell.clone()))))
                }
                Granule::Whole(cell) => Some(Granule::Bytes(Box::new(std::array::from_fn(|_| cell.clone())))),
                Granule::Words(words) if !in_words => {
                    Some(Granule::Bytes(Box::new(std::array::from_fn(|i| words[i / 4].clone()))))
                }
                Granule::Words(_) | Granule::Bytes(_) => None,
            };
            if let Some(split) = split {
                *granule = split;
            }
            let (cells, step) = match granule {
                Granule::Words(words) => (&mut words[..], 4),
                Granule::Bytes(bytes) => (&mut bytes[..], 1),
                Granule::Whole(cell) => (std::slice::from_mut(cell), 16),
            };
            for (i, cell) in cells.iter_mut().enumerate() {
                let place = 16 * g + i * step;
                if place >= from && place < to {
                    f(place, cell);
                }
            }
        }
    }
}
