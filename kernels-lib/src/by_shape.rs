//! Which kernel and schedule a matrix product takes on a GPU where nobody has measured: a function of shape and device.
//!
//! A short list of tiles, each a point of its kernel's space, is ranked by a coarse count of cycles. The count knows what decides
//! between tiles and nothing else: how many programs there are for the multiprocessors, how fast matrix units and caches work off a
//! step of K, that the weights come from memory once, and that a second kernel has its price. It is a rank, not a time; none of its
//! constants was fitted to a measurement, and a record of the tuner always goes before it.
//!
//! ```text
//!   rows      candidates
//!   1 to 8    weights streamed through registers (`matvec`), against
//!   1 to 48   tiles of 16, 32 or 48 rows, a deep ring of stages
//!   any       tiles of 64 and 128 rows; 128 x 256, persistent, for many
//!   any       the same tiles with K split, where all parts run at a time (`matmul_split`)
//! ```
//!
//! Products of other than two equal 16-bit types go without matrix units; for them the declared defaults stand.

use tilewright_codegen::dsl::elem::Elem;
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;

use crate::epilogue::Epilogue;

/// Rows up to which weights may be streamed through registers.
pub const STREAMED_ROWS: usize = 8;

/// Parts of K that may be tried.
const SPLITS: [usize; 7] = [2, 3, 4, 6, 8, 12, 16];

/// Steps that each part of K must have for its ring to be worth filling.
const STEPS_PER_SPLIT: usize = 4;

/// Extent of a step along K: 128 bytes, the widest span of a swizzle.
const BK: usize = 64;

/// Cycles from a block's first load to its first product, and from its last to the end of its stores.
const FILL_CYCLES: f64 = 1500.0;

/// Cycles of one more kernel in a row of them.
const LAUNCH_CYCLES: f64 = 4000.0;

/// What part of the shorter of two things that run beside each other, copies and products, comes on top of the longer.
const IN_THE_WAY: f64 = 0.2;

/// Bytes that a multiprocessor takes from the second-level cache in a cycle.
const CACHE_BYTES: f64 = 64.0;

/// Its share of what memory delivers in a cycle.
const MEMORY_BYTES: f64 = 16.0;

/// What of a GPU the choice depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gpu {
    /// Its architecture.
    pub arch: Arch,
    /// Its multiprocessors.
    pub n_sms: usize,
}

/// A product `y [M, N] = epilogue(x [M, K] w)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Product {
    /// Rows of `x` and `y`.
    pub m: usize,
    /// Columns of `y`.
    pub n: usize,
    /// What is summed over.
    pub k: usize,
    /// What happens to the sums.
    pub epilogue: Epilogue,
}

/// How a product is computed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// By [`crate::matvec`] at its own default.
    Streamed,
    /// By [`mod@crate::matmul`] under this schedule.
    Tiles(Schedule),
    /// By [`crate::matmul_split`] under these schedules.
    Split {
        /// Of the parts.
        split: Schedule,
        /// Of their sum.
        reduce: Schedule,
    },
}

/// A tile and the warps that hold it.
#[derive(Clone, Copy)]
struct Tile {
    rows: usize,
    columns: usize,
    warps: usize,
    /// Matrices of weights that it meets.
    matrices: usize,
}

const fn tile(rows: usize, columns: usize, warps: usize) -> Tile {
    Tile { rows, columns, warps, matrices: 1 }
}

const fn gated(rows: usize, columns: usize, warps: usize) -> Tile {
    Tile { matrices: 2, ..tile(rows, columns, warps) }
}

/// Tiles of [`crate::matmul::matmul()`], those of fewer programs last: of two that rank alike the first is taken.
const TILES: [Tile; 10] = [
    tile(16, 64, 4),
    tile(16, 128, 4),
    tile(32, 64, 4),
    tile(32, 128, 4),
    tile(48, 64, 4),
    tile(48, 128, 4),
    tile(64, 64, 4),
    tile(64, 128, 4),
    tile(128, 128, 8),
    tile(128, 256, 8),
];

/// Tiles of [`crate::matmul::matmul_gated()`], whose columns are those of either matrix.
const GATED_TILES: [Tile; 4] = [gated(64, 32, 4), gated(64, 64, 4), gated(128, 64, 8), gated(128, 128, 8)];

impl Gpu {
    /// Multiply-adds of 16-bit operands in a cycle of a multiprocessor, by the instructions that its kernels use.
    const fn multiply_adds(self) -> f64 {
        match self.arch {
            Arch::Sm80 | Arch::Sm100a => 1024.0,
            Arch::Sm86 => 256.0,
            Arch::Sm89 | Arch::Sm120 => 512.0,
            Arch::Sm90a => 2048.0,
        }
    }

    /// Cycles in which memory delivers so many bytes to the whole device.
    fn memory_cycles(self, bytes: usize) -> f64 {
        bytes as f64 / (MEMORY_BYTES * self.n_sms as f64)
    }
}

impl Product {
    fn steps(self) -> usize {
        self.k.div_ceil(BK).max(1)
    }

    /// Bytes that must come from memory, for so many matrices of weights.
    const fn bytes(self, matrices: usize) -> usize {
        2 * self.k * (self.m + matrices * self.n)
    }
}

impl Tile {
    /// Programs that cover the result.
    const fn programs(self, p: Product) -> usize {
        p.m.div_ceil(self.rows) * p.n.div_ceil(self.columns)
    }

    /// Whether neighbouring blocks share their weights: pairs of row tiles, where warpgroups multiply and blocks stay.
    const fn is_paired(self, p: Product, gpu: Gpu) -> bool {
        gpu.arch.has_wgmma()
            && self.rows == 128
            && p.m.div_ceil(self.rows).is_multiple_of(2)
            && 2 * self.programs(p) >= gpu.n_sms
    }

    /// Whether the tile is for this product: few rows for a few, the largest where a block may have most of an SM, and no rows that
    /// a smaller tile would do without.
    fn suits(self, p: Product, gpu: Gpu) -> bool {
        let smallest = if self.matrices == 2 { 64 } else { p.m.div_ceil(16) * 16 };
        let is_high_enough = if p.m <= 64 { self.rows == smallest } else { self.rows >= 64 };
        let is_large = self.rows * self.columns * self.matrices > 128 * 128;
        is_high_enough
            && (!is_large || gpu.arch.has_wgmma())
            && self.rows * self.columns * self.matrices
                <= p.epilogue.accumulators_per_thread() as usize * 32 * self.warps
            && self.stages(p.epilogue, gpu) >= 3
    }

    /// The stages of its ring: what a block's shared memory holds beside the result and what the epilogue reads.
    fn stages(self, epilogue: Epilogue, gpu: Gpu) -> usize {
        let [rows, columns] = [self.rows as i64, self.columns as i64];
        let result = if gpu.arch.has_wgmma() {
            2 * rows * columns.min(128) + epilogue.shared_bytes([rows, columns]) + 1024
        } else {
            0
        };
        let room = i64::from(gpu.arch.limits().shared_per_block_bytes) - result;
        let step = 2 * BK * (self.rows + self.matrices * self.columns);
        let fitting = usize::try_from(room).unwrap_or(0) / step;
        match (self.rows, self.matrices) {
            (..64, _) if fitting >= 8 => 8,
            (_, 2) => fitting.min(4),
            (128, _) => fitting.min(4),
            _ => fitting.min(5),
        }
    }

    /// Cycles of the product with K in `splits` parts.
    fn cycles(self, p: Product, gpu: Gpu, splits: usize) -> f64 {
        let waves = (self.programs(p) * splits).div_ceil(gpu.n_sms) as f64;
        let weights = self.matrices * self.columns;
        let multiply = (self.rows * weights * BK) as f64 / gpu.multiply_adds();
        let shared = if self.is_paired(p, gpu) && splits == 1 { 2 } else { 1 };
        let copied = 2 * BK * (self.rows.min(p.m) + weights / shared);
        let copy = copied as f64 / CACHE_BYTES;
        let step = multiply.max(copy) + IN_THE_WAY * multiply.min(copy);
        // A persistent block fills its ring once, and its stores run under the next products.
        let fills = if self.is_persistent(gpu) { 1.0 } else { waves };
        let steps = p.steps().div_ceil(splits) as f64;
        let parts = if splits == 1 {
            0.0
        } else {
            LAUNCH_CYCLES + 8.0 * (splits * p.m * p.n) as f64 / (CACHE_BYTES * gpu.n_sms as f64)
        };
        (waves * steps * step).max(gpu.memory_cycles(p.bytes(self.matrices))) + fills * FILL_CYCLES + parts
    }

    const fn is_persistent(self, gpu: Gpu) -> bool {
        gpu.arch.has_wgmma() && self.rows == 128
    }

    /// Its schedule without what only whole products have.
    fn schedule(self, epilogue: Epilogue, gpu: Gpu) -> Schedule {
        let values = [
            ("BM", self.rows),
            ("BN", self.columns),
            ("BK", BK),
            ("warps", self.warps),
            ("stages", self.stages(epilogue, gpu)),
        ];
        values.iter().fold(Schedule::default(), |s, &(knob, n)| s.with(knob, n as i64))
    }

    /// The schedule of a whole product.
    fn whole(self, p: Product, gpu: Gpu) -> Schedule {
        self.schedule(p.epilogue, gpu)
            .with("group", 8)
            .with("persistent", i64::from(self.is_persistent(gpu)))
            .with("cluster", if self.is_paired(p, gpu) { 2 } else { 1 })
    }

    /// The schedules of a product in parts.
    fn parts(self, p: Product, gpu: Gpu, splits: usize) -> Way {
        let split = self.schedule(Epilogue::NONE, gpu).with("group", 4).with("split_k", splits as i64);
        // Few results: a warp for each row of 128, so that many multiprocessors add.
        let [rows, warps] = if p.m * p.n.div_ceil(128) >= 8 * gpu.n_sms { [4, 2] } else { [1, 1] };
        let reduce = Schedule::new(&[("BM", rows), ("BN", 128), ("warps", warps)]);
        Way::Split { split, reduce }
    }
}

/// Cycles of a product whose weights stream through registers: a cycle of a multiprocessor has 128 multiply-adds, two of which
/// each weight costs beside those of the rows; two bytes a weight.
fn streamed_cycles(p: Product, gpu: Gpu, matrices: usize) -> f64 {
    let multiply = (matrices * p.n * p.k) as f64 * 2.0 * (p.m + 2) as f64 / (128.0 * gpu.n_sms as f64);
    multiply.max(gpu.memory_cycles(p.bytes(matrices))) + FILL_CYCLES
}

/// The first of those that rank best.
fn best(candidates: impl Iterator<Item = (f64, Way)>) -> Option<Way> {
    let least = |a: (f64, Way), b: (f64, Way)| if b.0 < a.0 { b } else { a };
    candidates.reduce(least).map(|(_, way)| way)
}

/// The way of [`crate::matmul::run`] for activations of `T` and weights of `W`; `None` where the declared default stands.
///
/// ```
/// use half::bf16;
/// use tilewright_codegen::target::Arch;
/// use tilewright_kernels::by_shape::{Gpu, Product, Way, linear};
/// use tilewright_kernels::epilogue::Epilogue;
/// let gpu = Gpu { arch: Arch::Sm90a, n_sms: 132 };
/// let product = Product { m: 8192, n: 8192, k: 8192, epilogue: Epilogue::NONE };
/// let Some(Way::Tiles(schedule)) = linear::<bf16, bf16>(product, gpu) else { panic!() };
/// assert_eq!(schedule.to_string(), "BK=64 BM=128 BN=256 cluster=2 group=8 persistent=1 stages=4 warps=8");
/// ```
#[must_use]
pub fn linear<T: Elem, W: Elem>(p: Product, gpu: Gpu) -> Option<Way> {
    if !is_narrow::<T, W>() {
        return None;
    }
    let streamed = (p.m <= STREAMED_ROWS).then(|| (streamed_cycles(p, gpu, 1), Way::Streamed));
    let tiles = || TILES.into_iter().filter(|t| t.suits(p, gpu));
    let whole = tiles().map(|t| (t.cycles(p, gpu, 1), Way::Tiles(t.whole(p, gpu))));
    let split = tiles().filter(|t| t.columns <= 128).flat_map(|t| {
        let fits = move |&splits: &usize| {
            t.programs(p) * splits <= gpu.n_sms && p.steps() >= STEPS_PER_SPLIT * splits
        };
        SPLITS.into_iter().filter(fits).map(move |splits| (t.cycles(p, gpu, splits), t.parts(p, gpu, splits)))
    });
    best(streamed.into_iter().chain(whole).chain(split))
}

/// The way of [`crate::matmul::run_gated`], which is never in parts; else as [`linear`].
#[must_use]
pub fn gated_linear<T: Elem, W: Elem>(p: Product, gpu: Gpu) -> Option<Way> {
    if !is_narrow::<T, W>() {
        return None;
    }
    let streamed = (p.m <= STREAMED_ROWS).then(|| (streamed_cycles(p, gpu, 2), Way::Streamed));
    let tiles = GATED_TILES.into_iter().filter(|t| t.suits(p, gpu));
    best(streamed.into_iter().chain(tiles.map(|t| (t.cycles(p, gpu, 1), Way::Tiles(t.whole(p, gpu))))))
}

/// Elements of f32 that the parts of any product need on this GPU: a split is chosen only where all its programs run at a time.
#[must_use]
pub const fn most_partial_elements(gpu: Gpu) -> usize {
    gpu.n_sms * 128 * 128
}

/// Whether matrix units take the operands.
fn is_narrow<T: Elem, W: Elem>() -> bool {
    T::DTYPE == W::DTYPE && size_of::<T>() == 2
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::epilogue::Activation;
    use crate::matmul::{Layout, matmul, matmul_gated};
    use crate::matmul_split::{matmul_reduce, matmul_split, splits};

    const HOPPER: Gpu = Gpu { arch: Arch::Sm90a, n_sms: 132 };
    const AMPERE: Gpu = Gpu { arch: Arch::Sm80, n_sms: 108 };

    fn product(m: usize, n: usize, k: usize) -> Product {
        Product { m, n, k, epilogue: Epilogue::NONE }
    }

    /// A way in a line.
    fn way(way: Option<Way>) -> String {
        let words = |s: &Schedule| {
            let get = |knob| s.get(knob).unwrap_or(0);
            let mut words = format!("{}x{} stages {}", get("BM"), get("BN"), get("stages"));
            for (knob, usual) in [("persistent", 0), ("cluster", 1), ("split_k", 1)] {
                let value = s.get(knob).unwrap_or(usual);
                if value != usual {
                    words += &format!(" {knob} {value}");
                }
            }
            words
        };
        match way {
            None => "declared".to_owned(),
            Some(Way::Streamed) => "streamed".to_owned(),
            Some(Way::Tiles(s)) => words(&s),
            Some(Way::Split { split, .. }) => words(&split),
        }
    }

    fn on(gpu: Gpu, m: usize, n: usize, k: usize) -> String {
        way(linear::<bf16, bf16>(product(m, n, k), gpu))
    }

    fn gated_on(gpu: Gpu, m: usize, n: usize, k: usize) -> String {
        way(gated_linear::<bf16, bf16>(product(m, n, k), gpu))
    }

    #[test]
    fn one_row_and_a_few_stream() {
        for gpu in [HOPPER, AMPERE] {
            for m in [1, 2, 4] {
                assert_eq!(on(gpu, m, 4096, 4096), "streamed", "{m}");
                assert_eq!(gated_on(gpu, m, 12288, 4096), "streamed", "{m}");
            }
            // Eight rows are too many multiply-adds a weight where tiles fill the device, and tiles are too few where they do not.
            assert_eq!(on(gpu, 8, 151_936, 1024), "16x128 stages 8");
            assert_eq!(on(gpu, 8, 1024, 1024), "streamed");
        }
    }

    #[test]
    fn few_rows_meet_tiles_of_no_more() {
        for gpu in [HOPPER, AMPERE] {
            assert_eq!(on(gpu, 16, 4096, 4096), "16x64 stages 8");
            assert_eq!(on(gpu, 24, 4096, 4096), "32x64 stages 8");
            assert_eq!(on(gpu, 40, 4096, 4096), "48x64 stages 8");
            assert_eq!(on(gpu, 64, 4096, 4096), "64x64 stages 5");
        }
        assert_eq!(gated_on(HOPPER, 16, 12288, 4096), "64x64 stages 4");
        // A block of consumer chips has 99 KiB.
        let small = Gpu { arch: Arch::Sm89, n_sms: 142 };
        assert_eq!(on(small, 48, 16384, 4096), "48x128 stages 4");
    }

    #[test]
    fn few_tiles_and_a_long_k_are_split_until_the_device_is_full() {
        assert_eq!(on(HOPPER, 64, 256, 8192), "64x64 stages 5 split_k 16");
        assert_eq!(on(HOPPER, 128, 512, 4096), "64x64 stages 5 split_k 8");
        assert_eq!(on(HOPPER, 512, 1024, 3072), "128x128 stages 4 split_k 4");
        assert_eq!(on(AMPERE, 128, 512, 4096), "64x64 stages 5 split_k 6");
        // A short K is not worth a second kernel.
        assert_eq!(on(HOPPER, 64, 256, 512), "64x64 stages 5");
    }

    #[test]
    fn many_rows_meet_the_largest_tiles() {
        for (m, n, k) in [(8192, 8192, 8192), (4096, 4096, 512), (1024, 4096, 4096)] {
            assert_eq!(on(HOPPER, m, n, k), "128x256 stages 4 persistent 1 cluster 2", "{m} {n} {k}");
        }
        // An odd number of row tiles makes no pairs.
        assert_eq!(on(HOPPER, 8192 + 128, 8192, 8192), "128x256 stages 4 persistent 1");
        assert_eq!(on(AMPERE, 8192, 8192, 8192), "128x128 stages 4");
        assert_eq!(gated_on(HOPPER, 1024, 12288, 4096), "128x128 stages 4 persistent 1 cluster 2");
        // A residual takes the shared memory of the other half, the error function its registers.
        for (epilogue, expected) in [
            (Epilogue::RESIDUAL, "128x128 stages 4 persistent 1 cluster 2"),
            (Epilogue::GELU, "128x128 stages 4 persistent 1 cluster 2"),
            (Epilogue::BIAS, "128x256 stages 4 persistent 1 cluster 2"),
        ] {
            let large = Product { epilogue, ..product(8192, 8192, 8192) };
            assert_eq!(way(linear::<bf16, bf16>(large, HOPPER)), expected, "{epilogue:?}");
        }
    }

    #[test]
    fn what_matrix_units_do_not_take_is_left_to_the_declared_default() {
        let p = product(512, 1024, 1024);
        assert_eq!(linear::<f32, f32>(p, HOPPER), None);
        assert_eq!(linear::<f32, bf16>(p, HOPPER), None);
        assert_eq!(gated_linear::<half::f16, bf16>(p, HOPPER), None);
    }

    #[test]
    fn every_choice_is_a_point_of_its_space_and_its_parts_fit_their_workspace() {
        let extents = [1, 3, 8, 16, 17, 33, 48, 50, 64, 65, 128, 200, 300, 512, 1000, 1024, 4096];
        let epilogues = [
            Epilogue::NONE,
            Epilogue::BIAS,
            Epilogue::RESIDUAL,
            Epilogue::BIAS_RESIDUAL,
            Epilogue::GELU,
            Epilogue::BIAS_GELU_TANH,
        ];
        let layout = Layout::OutIn;
        let split_space = matmul_split::kernel::<bf16, bf16>(layout).gpu.knobs;
        let gated_space = matmul_gated::kernel::<bf16, bf16>(Activation::Silu, layout).gpu.knobs;
        for (epilogue, arch) in epilogues.into_iter().flat_map(|e| Arch::ALL.map(|arch| (e, arch))) {
            let space = matmul::kernel::<bf16, bf16>(epilogue, layout).gpu.knobs;
            let reduce_space = matmul_reduce::kernel::<bf16, bf16>(epilogue).gpu.knobs;
            for (m, n_sms) in extents.into_iter().flat_map(|m| [20, 82, 132].map(|n_sms| (m, n_sms))) {
                let gpu = Gpu { arch, n_sms };
                for (n, k) in [(16, 64), (128, 384), (1024, 3072), (4096, 4096), (333, 16384), (20000, 1024)]
                {
                    let p = Product { epilogue, ..product(m, n, k) };
                    match linear::<bf16, bf16>(p, gpu) {
                        Some(Way::Streamed) => assert!(m <= STREAMED_ROWS, "{p:?}"),
                        Some(Way::Tiles(s)) => assert!(space.contains(&s), "{p:?} {gpu:?}: {s}"),
                        Some(Way::Split { split, reduce }) => {
                            assert!(split_space.contains(&split), "{p:?} {gpu:?}: {split}");
                            assert!(reduce_space.contains(&reduce), "{p:?} {gpu:?}: {reduce}");
                            let partial = splits(&split) * m * n;
                            assert!(partial <= most_partial_elements(gpu), "{p:?} {gpu:?}: {partial}");
                        }
                        None => panic!("{p:?} should have a way"),
                    }
                    match gated_linear::<bf16, bf16>(product(m, n, k), gpu) {
                        Some(Way::Streamed) => assert!(m <= STREAMED_ROWS, "{p:?}"),
                        Some(Way::Tiles(s)) => assert!(gated_space.contains(&s), "{p:?} {gpu:?}: {s}"),
                        other => panic!("{p:?} should have tiles or stream: {other:?}"),
                    }
                }
            }
        }
    }
}
