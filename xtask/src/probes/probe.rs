//! A probe: one launch of a small kernel whose outcome settles a question about hardware.

use tilewright_codegen::cuda::artifact::{L2Promotion, OutOfBounds};
use tilewright_runtime::cuda::tensor_map::{Interleave, MapType, SwizzleMode, TensorMap};

/// One launch.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// File and case, unique.
    pub(super) name: String,
    pub(super) file: &'static File,
    pub(super) kernel: &'static str,
    /// The least compute capability, as major times ten and minor.
    pub(super) needs: u32,
    pub(super) grid: u32,
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
    pub(super) args: Vec<Arg>,
    pub(super) compare: Compare,
    /// What the output must be by a calculation of our own, where there is one.
    pub(super) expected: Option<Vec<u8>>,
}

/// A file of probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
}

/// An argument of the kernel.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    /// A buffer that is read.
    In(Vec<u8>),
    /// A buffer of so many bytes that is shown afterwards, zero before.
    Out(usize),
    U32(u32),
    U64(u64),
    /// A tensor map of a buffer that is read.
    Map(Vec<u8>, Box2),
    /// A tensor map of a buffer that is shown afterwards.
    MapOut(Vec<u8>, Box2),
}

/// A matrix of 16-bit numbers and the box of it that a tensor copy moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Box2 {
    pub(super) columns: u64,
    pub(super) rows: u64,
    /// Bytes from row to row.
    pub(super) pitch: u64,
    pub(super) box_columns: u32,
    pub(super) box_rows: u32,
    pub(super) swizzle: SwizzleMode,
    pub(super) fill: OutOfBounds,
}

impl Box2 {
    /// The map of a buffer at an address.
    pub(super) fn map(&self, global_address: u64) -> TensorMap {
        TensorMap {
            data_type: MapType::BF16,
            global_address,
            global_dim: vec![self.columns, self.rows],
            global_strides: vec![self.pitch],
            box_dim: vec![self.box_columns, self.box_rows],
            element_strides: vec![1, 1],
            interleave: Interleave::None,
            swizzle: self.swizzle,
            l2_promotion: L2Promotion::None,
            oob_fill: self.fill,
        }
    }
}

/// How a run in the machine is compared with what hardware gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Compare {
    /// Bit for bit.
    Exact,
    /// Words are f32; columns in turn, each within so much of its value, and so much in any case. NaN is NaN.
    Close(&'static [(f64, f64)]),
    /// The machine does not claim to know it: shown, never wrong.
    Shown,
}

impl Compare {
    /// The first difference in words, if there is one that counts.
    pub(super) fn difference(&self, found: &[u8], reference: &[u8]) -> Option<String> {
        if found.len() != reference.len() {
            return Some(format!("{} bytes, the reference has {}", found.len(), reference.len()));
        }
        let words = |bytes: &[u8]| -> Vec<u32> {
            bytes.chunks(4).map(|c| c.iter().rev().fold(0, |w, &b| w << 8 | u32::from(b))).collect()
        };
        let (found, reference) = (words(found), words(reference));
        let is_same = |i: usize, f: u32, r: u32| match self {
            Self::Exact => f == r,
            Self::Shown => true,
            Self::Close(columns) => {
                let (relative, absolute) = columns[i % columns.len()];
                let [f, r] = [f, r].map(|bits| f64::from(f32::from_bits(bits)));
                f == r || f.is_nan() && r.is_nan() || (f - r).abs() <= absolute + relative * r.abs()
            }
        };
        let at = (0..found.len()).find(|&i| !is_same(i, found[i], reference[i]))?;
        let as_float = |bits: u32| f32::from_bits(bits);
        Some(format!(
            "word {at} is {:#010x} ({:e}), the reference {:#010x} ({:e})",
            found[at],
            as_float(found[at]),
            reference[at],
            as_float(reference[at])
        ))
    }
}

/// Words as bytes.
pub(super) fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_where_they_count() {
        let [one, near, nan] = [1.0f32, 1.0 + f32::EPSILON, f32::NAN].map(|x| x.to_le_bytes().to_vec());
        assert_eq!(Compare::Exact.difference(&one, &one), None);
        assert!(Compare::Exact.difference(&one, &near).is_some_and(|d| d.starts_with("word 0")));
        assert_eq!(Compare::Close(&[(1e-6, 0.0)]).difference(&one, &near), None);
        assert!(Compare::Close(&[(1e-8, 0.0)]).difference(&one, &near).is_some());
        assert!(Compare::Close(&[(1.0, 1.0)]).difference(&one, &nan).is_some());
        assert_eq!(Compare::Close(&[(0.0, 0.0)]).difference(&nan, &nan), None);
        assert_eq!(Compare::Shown.difference(&one, &nan), None);
        assert!(Compare::Shown.difference(&one, &[]).is_some());
    }
}
