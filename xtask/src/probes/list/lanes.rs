//! Which lane holds and which lane does what: fragments, shuffles, elections, barriers; and where shared memory begins.

use super::{ADA, AMPERE, HOPPER, file, probe};
use crate::corpus::math::E4M3;
use crate::probes::probe::{Arg, Compare, File, Probe, bytes_of};

static FRAGMENTS: File = file!("fragments");
static LANES: File = file!("lanes");
static WINDOWS: File = file!("windows");

/// Half `i` of four 8 x 8 matrices, one after another; no two alike.
fn half(i: usize) -> u32 {
    (i * 3 + 1) as u32
}

/// A lane's word of matrix m: row l / 4, columns 2 (l % 4) and the next; transposed, the rows are columns.
fn word(matrix: usize, lane: usize, is_transposed: bool, of: impl Fn(usize) -> u32) -> u32 {
    let (row, column) = (lane / 4, 2 * (lane % 4));
    let at = |row: usize, column: usize| of(64 * matrix + 8 * row + column);
    if is_transposed {
        at(column, row) | at(column + 1, row) << 16
    } else {
        at(row, column) | at(row, column + 1) << 16
    }
}

fn matrices() -> Probe {
    let image: Vec<u32> = (0..128).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect();
    let words = [false, true]
        .iter()
        .flat_map(|&t| (0..128).map(move |i| word(i % 4, i / 4, t, half)))
        .collect::<Vec<_>>();
    let args = vec![Arg::In(bytes_of(&image)), Arg::Out(1024)];
    Probe { expected: Some(bytes_of(&words)), ..probe(&FRAGMENTS, "matrices", "", AMPERE, 32, args) }
}

fn stores() -> Probe {
    // Lanes give the words that a load of the counting image gives, so plain and transposed stores both give it back.
    let plain: Vec<u32> = (0..128).map(|i| word(i % 4, i / 4, false, half)).collect();
    let image: Vec<u32> = (0..128).map(|i| half(2 * i) | half(2 * i + 1) << 16).collect();
    // Element (row, column) of a transposed store is element (column, row) of the plain one.
    let transposed = (0..128).map(|i| {
        let (matrix, row, column) = (i / 32, i % 32 / 4, 2 * (i % 4));
        half(64 * matrix + 8 * column + row) | half(64 * matrix + 8 * (column + 1) + row) << 16
    });
    let words: Vec<u32> = image.iter().copied().chain(transposed).collect();
    let args = vec![Arg::In(bytes_of(&plain)), Arg::Out(1024)];
    Probe { expected: Some(bytes_of(&words)), ..probe(&FRAGMENTS, "stores", "", HOPPER, 32, args) }
}

/// A product of 16 x 8 whose elements have `bytes` bytes: fragments by the manual's rule, sums of small whole numbers.
fn product(kernel: &'static str, needs: u32, bytes: usize) -> Probe {
    let per = 4 / bytes;
    let k_total = 8 * per;
    let value = |row: usize, k: usize| ((row * 5 + k * 3 + row * k) % 7) as i32 - 3;
    let code = |v: i32| match kernel {
        "s8" => u32::from(v as i8 as u8),
        "e4m3" => u32::from(E4M3.nearest(f64::from(v))),
        _ => (v as f32).to_bits(),
    };
    let word = |row: usize, k: usize, seed: usize| {
        (0..per).fold(0, |w, e| {
            w | code(value(row + seed, k + e)).checked_shl(8 * (bytes * e) as u32).unwrap_or(0)
        })
    };
    let a: Vec<u32> = (0..128)
        .map(|i| (i / 4, i % 4))
        .map(|(l, r)| word(l / 4 + 8 * (r % 2), per * (l % 4) + 4 * per * (r / 2), 0))
        .collect();
    let b: Vec<u32> =
        (0..64).map(|i| (i / 2, i % 2)).map(|(l, r)| word(l / 4, per * (l % 4) + 4 * per * r, 100)).collect();
    let sums = (0..128).map(|i| {
        let (lane, r) = (i / 4, i % 4);
        let (row, column) = (lane / 4 + 8 * (r / 2), 2 * (lane % 4) + r % 2);
        let sum: i32 = (0..k_total).map(|k| value(row, k) * value(column + 100, k)).sum();
        if kernel == "s8" { sum as u32 } else { (sum as f32).to_bits() }
    });
    let expected = Some(bytes_of(&sums.collect::<Vec<_>>()));
    let args = vec![Arg::In(bytes_of(&a)), Arg::In(bytes_of(&b)), Arg::Out(512)];
    Probe { expected, ..probe(&FRAGMENTS, kernel, "", needs, 32, args) }
}

fn short_copies() -> Probe {
    let source: Vec<u8> = (0..512).map(|i| (i % 251) as u8 + 1).collect();
    let expected = (0..512).map(|i| if i % 16 < i / 16 % 17 { source[i] } else { 0 }).collect();
    let args = vec![Arg::In(source.clone()), Arg::Out(512)];
    Probe { expected: Some(expected), ..probe(&FRAGMENTS, "short_copies", "", AMPERE, 32, args) }
}

fn shuffles() -> Probe {
    let ballot = (0..32).filter(|l| l % 3 == 0).fold(0u32, |m, l| m | 1 << l);
    let largest = (0..32).map(|l| (100 + l) ^ 17).max().unwrap_or_default();
    let same = |l: u32| (0..32).filter(|o| o / 5 == l / 5).fold(0u32, |m, o| m | 1 << o);
    let columns: [&dyn Fn(u32) -> u32; 7] = [
        &|l| 100 + (l ^ 5),
        &|l| 100 + if l < 3 { l } else { l - 3 },
        &|l| 100 + if l + 30 > 31 { l } else { l + 30 },
        &|l| 100 + l / 8 * 8 + 1,
        &|_| ballot,
        &|_| largest,
        &|l| same(l),
    ];
    let words: Vec<u32> = columns.iter().flat_map(|of| (0..32).map(of)).collect();
    let args = vec![Arg::Out(4 * words.len())];
    Probe { expected: Some(bytes_of(&words)), ..probe(&LANES, "shuffles", "", AMPERE, 32, args) }
}

fn elected() -> Probe {
    let masks = [!0u32, 1, 0x8000_0000, 0xff00, 0x5555_5550, 0x00f0_0f00];
    let args = vec![Arg::In(bytes_of(&masks)), Arg::U32(masks.len() as u32), Arg::Out(256 * masks.len())];
    // The manual leaves the choice open.
    Probe { compare: Compare::Shown, ..probe(&LANES, "elected", "", HOPPER, 32, args) }
}

fn leavers() -> Probe {
    let words: Vec<u32> = (0..64).map(|i| (63 - i) * (63 - i)).collect();
    let args = vec![Arg::Out(256)];
    Probe { expected: Some(bytes_of(&words)), ..probe(&LANES, "leavers", "", AMPERE, 128, args) }
}

pub(super) fn all() -> Vec<Probe> {
    let shared_bytes = 4096;
    // The first two are promised: alignment, and the size that was asked for.
    let bases = probe(&WINDOWS, "bases", "", AMPERE, 32, vec![Arg::Out(16)]);
    let registers = probe(&WINDOWS, "registers", "", HOPPER, 384, vec![Arg::Out(12)]);
    vec![
        matrices(),
        stores(),
        product("s8", AMPERE, 1),
        product("tf32", AMPERE, 4),
        product("e4m3", ADA, 1),
        short_copies(),
        shuffles(),
        elected(),
        Probe { compare: Compare::Shown, ..probe(&LANES, "absent", "", AMPERE, 32, vec![Arg::Out(64)]) },
        leavers(),
        Probe { shared_bytes, compare: Compare::Shown, ..bases },
        Probe { expected: Some(bytes_of(&[1; 3])), ..registers },
    ]
}
