//! Linear algebra over F2 on 32-bit vectors: a vector is a `u32`, addition is XOR.
//!
//! The reduction keeps, with every row, which of the inserted vectors it is the XOR of, so that one structure answers
//! rank, membership, solving and kernels. Vectors inserted first win: what depends on them is the free part.

/// A linear map from bit vectors to bit vectors, by the images of the unit vectors.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct F2Map {
    columns: Vec<u32>,
    out_bits: u32,
}

impl F2Map {
    /// The map that sends bit `i` to `columns[i]`, into vectors of `out_bits` bits (at most 32 of either).
    ///
    /// # Panics
    /// When there are more than 32 columns, or a column does not fit.
    pub fn new(columns: Vec<u32>, out_bits: u32) -> F2Map {
        assert!(columns.len() <= 32 && out_bits <= 32, "a map is at most 32 by 32 bits");
        assert!(columns.iter().all(|&c| c & !mask(out_bits) == 0), "each column should fit {out_bits} bits");
        F2Map { columns, out_bits }
    }

    /// The identity on `bits` bits.
    pub fn identity(bits: u32) -> F2Map {
        F2Map::new((0..bits).map(|i| 1 << i).collect(), bits)
    }

    /// The image of each input bit.
    pub fn columns(&self) -> &[u32] {
        &self.columns
    }

    /// Number of input bits.
    pub fn in_bits(&self) -> u32 {
        self.columns.len() as u32
    }

    /// Number of output bits.
    pub fn out_bits(&self) -> u32 {
        self.out_bits
    }

    /// The image of a vector; bits above [`in_bits`](F2Map::in_bits) are ignored.
    pub fn apply(&self, input: u32) -> u32 {
        combine(&self.columns, input)
    }

    /// The map `x -> self(inner(x))`.
    ///
    /// # Panics
    /// When the widths do not meet.
    pub fn compose(&self, inner: &F2Map) -> F2Map {
        assert_eq!(inner.out_bits, self.in_bits(), "the widths of composed maps should meet");
        F2Map::new(inner.columns.iter().map(|&c| self.apply(c)).collect(), self.out_bits)
    }

    /// Dimension of the image.
    pub fn rank(&self) -> u32 {
        Echelon::of(&self.columns).rank()
    }

    /// A basis of the inputs that map to zero.
    pub fn kernel(&self) -> Vec<u32> {
        let mut rows = Echelon::default();
        (0..self.columns.len()).filter_map(|i| rows.insert(self.columns[i], 1 << i).err()).collect()
    }

    /// A map `g` with `self(g(y)) == y` for every `y`, or `None` where some `y` is not reached.
    /// Of several inputs it takes one over the lowest input bits; for an invertible map it is the inverse.
    pub fn right_inverse(&self) -> Option<F2Map> {
        let rows = Echelon::of(&self.columns);
        let columns: Option<Vec<u32>> = (0..self.out_bits).map(|i| rows.solve(1 << i)).collect();
        Some(F2Map::new(columns?, self.in_bits()))
    }
}

/// The low `bits` bits set.
pub(crate) fn mask(bits: u32) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}

/// XOR of the columns whose bit is set in `input`.
pub(crate) fn combine(columns: &[u32], input: u32) -> u32 {
    columns.iter().enumerate().fold(0, |sum, (i, &c)| if input >> i & 1 == 1 { sum ^ c } else { sum })
}

/// Reduced vectors with distinct leading bits, each with the set of inserted vectors it is the sum of.
#[derive(Clone, Default)]
pub(crate) struct Echelon {
    /// `(vector, sources)`.
    rows: Vec<(u32, u32)>,
}

impl Echelon {
    /// All of `vectors`; source `i` is vector `i` (the first 32 are told apart).
    pub(crate) fn of(vectors: &[u32]) -> Echelon {
        let mut rows = Echelon::default();
        for (i, &v) in vectors.iter().enumerate() {
            // A dependent vector adds nothing to the span.
            let _ = rows.insert(v, 1u32.checked_shl(i as u32).unwrap_or(0));
        }
        rows
    }

    /// Adds a vector; `Err` with the sources that sum to zero if it depends on the vectors already there.
    pub(crate) fn insert(&mut self, vector: u32, sources: u32) -> Result<(), u32> {
        let (rest, used) = self.reduce(vector);
        if rest == 0 {
            return Err(used ^ sources);
        }
        self.rows.push((rest, used ^ sources));
        Ok(())
    }

    /// What is left of a vector after subtracting the span, and the sources subtracted.
    fn reduce(&self, vector: u32) -> (u32, u32) {
        let (mut rest, mut used) = (vector, 0);
        // A row is free of the leading bits of the rows before it, so one pass in order clears them all.
        for &(row, sources) in &self.rows {
            let lead = 31 - row.leading_zeros();
            if rest >> lead & 1 == 1 {
                rest ^= row;
                used ^= sources;
            }
        }
        (rest, used)
    }

    /// The sources that sum to `target`, if it lies in the span.
    pub(crate) fn solve(&self, target: u32) -> Option<u32> {
        let (rest, used) = self.reduce(target);
        (rest == 0).then_some(used)
    }

    /// Dimension of the span.
    pub(crate) fn rank(&self) -> u32 {
        self.rows.len() as u32
    }
}
