//! Tensor copies, mbarriers, proxies.

use tilewright_codegen::cuda::artifact::OutOfBounds;
use tilewright_runtime::cuda::tensor_map::SwizzleMode;

use super::{HOPPER, file, probe};
use crate::probes::probe::{Arg, Box2, Compare, File, Probe, bytes_of};

static TENSOR_COPY: File = file!("tensor_copy");
static MBARRIER: File = file!("mbarrier");
static PROXY: File = file!("proxy");

const ROWS: usize = 20;
const COLUMNS: usize = 72;
const BOX_ROWS: usize = 16;
/// Shared memory that is shown, in bytes.
const SHOWN: usize = 6 << 10;

fn span(swizzle: SwizzleMode) -> usize {
    match swizzle {
        SwizzleMode::B32 => 32,
        SwizzleMode::B64 => 64,
        SwizzleMode::B128 => 128,
        SwizzleMode::None
        | SwizzleMode::B128Atom32
        | SwizzleMode::B128Atom32Flip8
        | SwizzleMode::B128Atom64 => 16,
    }
}

/// Element (row, column) of the tensor; no 16-bit pattern twice, none that is NaN.
fn element(row: usize, column: usize) -> u16 {
    (row * COLUMNS + column + 1) as u16
}

fn tensor() -> Vec<u8> {
    (0..ROWS * COLUMNS).flat_map(|i| element(i / COLUMNS, i % COLUMNS).to_le_bytes()).collect()
}

fn box_of(swizzle: SwizzleMode, fill: OutOfBounds) -> Box2 {
    let box_columns = span(swizzle) as u32 / 2;
    let (columns, rows, pitch) = (COLUMNS as u64, ROWS as u64, 2 * COLUMNS as u64);
    Box2 { columns, rows, pitch, box_columns, box_rows: BOX_ROWS as u32, swizzle, fill }
}

/// Where byte `linear` of a box that begins at `at` lands, by the bits of its shared address (the image begins at a multiple of 1024).
fn landed(swizzle: SwizzleMode, at: usize, linear: usize) -> usize {
    let address = at + linear;
    address ^ (address >> 7 & (span(swizzle) / 16 - 1)) << 4
}

fn load(swizzle: SwizzleMode, at: usize, [x, y]: [i32; 2], fill: OutOfBounds, announced: Announced) -> Probe {
    let of = box_of(swizzle, fill);
    let columns = of.box_columns as usize;
    let whole = columns * BOX_ROWS * 2;
    let inside = |x: i32, n: usize| x >= 0 && (x as usize) < n;
    let mut shown = vec![0xab; SHOWN];
    let mut n_inside = 0;
    for i in 0..columns * BOX_ROWS {
        let (row, column) = (y + (i / columns) as i32, x + (i % columns) as i32);
        let value = if inside(row, ROWS) && inside(column, COLUMNS) {
            n_inside += 2;
            element(row as usize, column as usize)
        } else {
            match fill {
                OutOfBounds::Zero => 0,
                OutOfBounds::Nan => 0x7fff,
            }
        };
        let to = landed(swizzle, at, 2 * i);
        shown[to..to + 2].copy_from_slice(&value.to_le_bytes());
    }
    let bytes = match announced {
        Announced::Whole => whole,
        Announced::Inside => n_inside,
    };
    let over = bytes == whole;
    // The phase of a wrong announcement is never over, and shared memory then not shown.
    let output = [bytes_of(&[u32::from(over)]), if over { shown } else { vec![0; SHOWN] }].concat();
    let args = vec![
        Arg::Map(tensor(), of),
        Arg::U32(x as u32),
        Arg::U32(y as u32),
        Arg::U32(at as u32),
        Arg::U32(bytes as u32),
        Arg::U32(u32::from(over)),
        Arg::U32(SHOWN as u32 / 4),
        Arg::Out(4 + SHOWN),
    ];
    let case = format!("{swizzle:?} at {at} from {x},{y} fill {fill:?} announced {announced:?}");
    let one = probe(&TENSOR_COPY, "load", &case, HOPPER, 32, args);
    // A NaN's payload is not documented.
    let (compare, expected) = match fill {
        OutOfBounds::Zero => (Compare::Exact, Some(output)),
        OutOfBounds::Nan => (Compare::Shown, None),
    };
    Probe { shared_bytes: SHOWN as u32, compare, expected, ..one }
}

/// Bytes that the mbarrier is told to expect.
#[derive(Clone, Copy, Debug)]
enum Announced {
    /// All of the box.
    Whole,
    /// What of it lies in the tensor.
    Inside,
}

fn store(swizzle: SwizzleMode, at: usize, [x, y]: [i32; 2]) -> Probe {
    let of = box_of(swizzle, OutOfBounds::Zero);
    let columns = of.box_columns as usize;
    let mut expected = tensor();
    for i in 0..columns * BOX_ROWS {
        let (row, column) = (y + (i / columns) as i32, x + (i % columns) as i32);
        if (0..ROWS as i32).contains(&row) && (0..COLUMNS as i32).contains(&column) {
            let value = (landed(swizzle, at, 2 * i) / 2 + 1) as u16;
            let to = 2 * (row as usize * COLUMNS + column as usize);
            expected[to..to + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    let args = vec![
        Arg::MapOut(tensor(), of),
        Arg::U32(x as u32),
        Arg::U32(y as u32),
        Arg::U32(at as u32),
        Arg::U32(SHOWN as u32 / 2),
    ];
    let case = format!("{swizzle:?} at {at} to {x},{y}");
    let one = probe(&TENSOR_COPY, "store", &case, HOPPER, 32, args);
    Probe { shared_bytes: SHOWN as u32, expected: Some(expected), ..one }
}

/// Before the first phase: parity 1 is over, 0 is not. After it the reverse, and after the second as before.
fn phases() -> Probe {
    let (before, after) = ([0, 1], [1, 0]);
    let words = [&before[..], &[3], &before, &after, &after, &before].concat();
    let args = vec![Arg::Out(4 * words.len())];
    Probe { expected: Some(bytes_of(&words)), ..probe(&MBARRIER, "phases", "", HOPPER, 32, args) }
}

fn remote() -> Probe {
    let words = [[0, 1, 0, 1]; 2].concat();
    let args = vec![Arg::Out(4 * words.len())];
    Probe { grid: 2, expected: Some(bytes_of(&words)), ..probe(&MBARRIER, "remote", "", HOPPER, 32, args) }
}

fn proxies(kernel: &'static str, fences: u32) -> Probe {
    let (blocks, tries) = (4, 20);
    let args = match kernel {
        "write_then_copy" => {
            vec![Arg::U32(fences), Arg::U32(tries), Arg::In(vec![0; blocks * 4096]), Arg::Out(4)]
        }
        _ => {
            let source: Vec<u32> = (0..1024).map(|i| i * 3).collect();
            vec![Arg::U32(fences), Arg::U32(tries), Arg::In(bytes_of(&source)), Arg::Out(4)]
        }
    };
    let case = ["no fence", "writers fence", "issuer fences", "both fence"][fences as usize];
    let one = probe(&PROXY, kernel, case, HOPPER, 128, args);
    // By the manual the writers' fence is enough; of the rest, hardware will tell.
    let settled = fences & 1 != 0;
    let compare = if settled { Compare::Exact } else { Compare::Shown };
    Probe { grid: blocks as u32, compare, expected: settled.then(|| vec![0; 4]), ..one }
}

pub(super) fn all() -> Vec<Probe> {
    use OutOfBounds::{Nan, Zero};
    use SwizzleMode::{B32, B64, B128, None};
    let mut all = Vec::new();
    for swizzle in [None, B32, B64, B128] {
        for at in [0, 128, 256, 512, 896, 1024] {
            all.push(load(swizzle, at, [0, 0], Zero, Announced::Whole));
        }
        // Over every edge, from outside, and past the last row.
        for from in [[-4, 0], [8, -3], [60, 2], [0, 12], [-100, 40]] {
            all.push(load(swizzle, 0, from, Zero, Announced::Whole));
        }
        all.push(store(swizzle, 0, [0, 0]));
        // Over the far edges; a store may not begin at a negative coordinate.
        all.push(store(swizzle, 256, [60, 12]));
    }
    all.push(load(B128, 0, [60, 12], Zero, Announced::Inside));
    all.push(load(B128, 0, [60, 12], Nan, Announced::Whole));
    all.extend([phases(), remote()]);
    for fences in 0..4 {
        all.push(proxies("write_then_copy", fences));
        all.push(proxies("read_then_copy", fences));
    }
    all
}
