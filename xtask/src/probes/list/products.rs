//! Warpgroup products: the image of shared memory, the descriptors, and the result that follows from the manual's pictures.
//!
//! The layouts are written down here once more, in words of rows and 16-byte pieces, and share nothing with the machine's tables.

use half::bf16;

use super::{HOPPER, file, probe};
use crate::probes::probe::{Arg, Compare, File, Probe, bytes_of};

static WGMMA: File = file!("wgmma");

const M: usize = 64;
const K: usize = 16;
/// Where the second operand begins in the image.
const B_AT: usize = 32 << 10;
/// Bytes of the image.
const IMAGE: usize = 64 << 10;

/// How an operand lies in shared memory.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Whether K runs along rows; else M or N does.
    k_major: bool,
    /// Bytes over which pieces are exchanged: 16 for none, 32, 64, 128.
    span: usize,
    /// Tiles of K = 16 by which the operand lies further on in its rows.
    advance: usize,
}

impl Place {
    /// Bytes from a core matrix to the next along the leading and the stride dimension.
    fn offsets(self, extent: usize) -> (usize, usize) {
        match (self.k_major, self.span) {
            // Core matrices of eight rows by 16 bytes; those of one row of them follow each other along K.
            (true, 16) => (128, 256),
            (true, span) => (16, 8 * span),
            // Eight values of K by 16 bytes; all of M or N, then the next eight of K.
            (false, 16) => (16 * extent, 128),
            // Columns of `span` bytes, each with all of K.
            (false, span) => (K * span, 8 * span),
        }
    }

    /// Where element (row of M or N, k) begins.
    fn at(self, extent: usize, mn: usize, k: usize) -> usize {
        let (leading, stride) = self.offsets(extent);
        let k = k + K * self.advance;
        let linear = match (self.k_major, self.span) {
            (true, 16) => mn / 8 * stride + k / 8 * leading + mn % 8 * 16 + k % 8 * 2,
            (true, span) => mn * span + 2 * k,
            (false, 16) => mn / 8 * stride + k / 8 * leading + k % 8 * 16 + mn % 8 * 2,
            (false, span) => 2 * mn / span * leading + k * span + 2 * mn % span,
        };
        // Pieces of 16 bytes change places by the number of their 128-byte line.
        let (line, piece) = (linear / 128, linear / 16 % 8);
        let exchanged = piece ^ ((line % 8) & (self.span / 16 - 1));
        linear / 128 * 128 + 16 * exchanged + linear % 16
    }

    /// The descriptor of an operand that begins at an offset of the image.
    fn descriptor(self, at: usize, extent: usize) -> u64 {
        let (leading, stride) = self.offsets(extent);
        let start = at + 2 * K * self.advance;
        let mode: u64 = match self.span {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => 0,
        };
        (start as u64 >> 4) | (leading as u64 >> 4) << 16 | (stride as u64 >> 4) << 32 | mode << 62
    }
}

/// Small numbers that differ by row and column.
fn value(seed: usize, row: usize, k: usize) -> f32 {
    ((row * 7 + k * 13 + seed * 5 + row * k) % 9) as f32 - 4.0
}

fn put(image: &mut [u8], at: usize, value: f32) {
    image[at..at + 2].copy_from_slice(&bf16::from_f32(value).to_le_bytes());
}

/// The result by threads: accumulator i of a thread is row 16 w + l / 4 (+ 8) and column 2 (l % 4) + 8 (i / 4) (+ 1).
fn result(n: usize) -> Vec<u8> {
    let mut words = Vec::new();
    for t in 0..128 {
        let (warp, lane) = (t / 32, t % 32);
        for i in 0..n / 2 {
            let row = 16 * warp + lane / 4 + 8 * (i / 2 % 2);
            let column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
            let sum: f32 = (0..K).map(|k| value(0, row, k) * value(1, column, k)).sum();
            words.push(sum.to_bits());
        }
    }
    bytes_of(&words)
}

fn product(kernel: &'static str, n: usize, a: Place, b: Place) -> Probe {
    let mut image = vec![0; IMAGE];
    (0..M * K).for_each(|i| put(&mut image, a.at(M, i / K, i % K), value(0, i / K, i % K)));
    (0..n * K).for_each(|i| put(&mut image, B_AT + b.at(n, i / K, i % K), value(1, i / K, i % K)));
    let args = vec![
        Arg::In(image),
        Arg::U32(IMAGE as u32 / 16),
        Arg::U64(a.descriptor(0, M)),
        Arg::U64(b.descriptor(B_AT, n)),
        Arg::Out(128 * n / 2 * 4),
    ];
    let case = format!("a {} b {} step {}", a.span, b.span, a.advance);
    let expected = Some(result(n));
    Probe { shared_bytes: IMAGE as u32, expected, ..probe(&WGMMA, kernel, &case, HOPPER, 128, args) }
}

/// A from registers: word r of a thread holds row l / 4 (+ 8 for odd r), columns 2 (l % 4) (+ 8 for r over 1) and the next.
fn from_registers(b: Place) -> Probe {
    let Probe { args, .. } = product("product_n32", 32, b, b);
    let word = |t: usize, r: usize| {
        let (row, k) = (16 * (t / 32) + t % 32 / 4 + 8 * (r % 2), 2 * (t % 4) + 8 * (r / 2));
        let half = |k| u32::from(bf16::from_f32(value(0, row, k)).to_bits());
        half(k) | half(k + 1) << 16
    };
    let fragments: Vec<u32> = (0..512).map(|i| word(i / 4, i % 4)).collect();
    let args = vec![
        args[0].clone(),
        args[1].clone(),
        args[3].clone(),
        Arg::In(bytes_of(&fragments)),
        args[4].clone(),
    ];
    let expected = Some(result(32));
    Probe {
        shared_bytes: IMAGE as u32,
        expected,
        ..probe(&WGMMA, "product_registers", "", HOPPER, 128, args)
    }
}

pub(super) fn all() -> Vec<Probe> {
    let k_major = |span, advance| Place { k_major: true, span, advance };
    let mn_major = |span| Place { k_major: false, span, advance: 0 };
    let mut all = Vec::new();
    for span in [16, 32, 64, 128] {
        all.push(product("product_n32", 32, k_major(span, 0), k_major(span, 0)));
    }
    // Further along K inside the swizzled pattern.
    for (span, advance) in [(64, 1), (128, 1), (128, 3)] {
        all.push(product("product_n32", 32, k_major(span, advance), k_major(span, advance)));
    }
    for span in [16, 32, 64, 128] {
        all.push(product("product_n32_ta", 32, mn_major(span), k_major(128, 0)));
    }
    for span in [16, 32, 64] {
        all.push(product("product_n32_tb", 32, k_major(128, 0), mn_major(span)));
    }
    all.push(product("product_n32_tab", 32, mn_major(128), mn_major(64)));
    all.push(product("product_n8", 8, k_major(128, 0), k_major(128, 0)));
    all.push(product("product_n96", 96, k_major(128, 0), k_major(128, 0)));
    all.push(from_registers(k_major(128, 0)));
    // What the other warps get is the question.
    let Probe { args, expected, .. } = product("product_n32", 32, k_major(128, 0), k_major(128, 0));
    let overwrite = probe(&WGMMA, "overwrite_after_wait", "", HOPPER, 128, args);
    all.push(Probe { shared_bytes: IMAGE as u32, compare: Compare::Exact, expected, ..overwrite });
    all
}
