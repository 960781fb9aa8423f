//! The machine's own limits, measured: what a core can multiply and what its caches and DRAM can deliver.
//!
//! Reports are ratios to these numbers taken in the same run. All take the best of several short passes, since anything else on
//! the machine only makes a pass slower. [`multiply_adds`] and [`read_once`] are one such pass, for those who time it themselves,
//! on several threads or in turn with what they measure.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Isa;
use super::simd::{FoldSum, Simd};

const PASSES: usize = 15;

/// `rounds` of multiply-adds over independent accumulators; returns the FLOPs of one lane-wide pass times rounds, and a sum.
#[inline(always)]
unsafe fn fma_rounds_body<S: Simd>(rounds: usize, seed: f32) -> (f64, f32) {
    let (a, b) = (S::splat(seed), S::splat(1.0 - seed));
    macro_rules! chains {
        ($count:literal) => {{
            let mut acc = [S::splat(0.5); $count];
            for _ in 0..rounds {
                for c in &mut acc {
                    *c = S::fma(*c, a, b);
                }
            }
            let sum = acc.iter().fold(S::splat(0.0), |sum, &c| S::add(sum, c));
            ((2 * $count * S::LANES * rounds) as f64, S::fold::<FoldSum>(sum))
        }};
    }
    if S::LANES == 16 {
        chains!(24)
    } else if S::FUSED {
        chains!(12)
    } else {
        chains!(4)
    }
}

dispatch! {
    /// See [`multiply_adds`].
    ///
    /// # Safety
    /// `isa` is available.
    pub unsafe fn fma_rounds(rounds: usize, seed: f32) -> (f64, f32) => fma_rounds_body
}

/// Reads `lines` cache lines from each of 8 streams `stride` bytes apart.
#[inline(always)]
unsafe fn read_streams_body<S: Simd>(p: *const u8, lines: usize, stride: usize) -> f32 {
    let mut acc = [S::splat(0.0); 8];
    for line in 0..lines {
        for (r, a) in acc.iter_mut().enumerate() {
            // No prefetch: the hardware follows streams this long by itself, and asking costs a fifth of the rate.
            let at = p.add(r * stride + line * 64);
            for v in 0..16 / S::LANES {
                *a = S::add(*a, S::load(at.cast::<f32>().add(v * S::LANES)));
            }
        }
    }
    let sum = acc.iter().fold(S::splat(0.0), |sum, &c| S::add(sum, c));
    S::fold::<FoldSum>(sum)
}

/// Reads `lines` cache lines one after another, 8 per step.
#[inline(always)]
unsafe fn read_line_body<S: Simd>(p: *const u8, lines: usize, times: usize) -> f32 {
    let mut acc = [S::splat(0.0); 8];
    for _ in 0..times {
        for step in 0..lines / 8 {
            for (r, a) in acc.iter_mut().enumerate() {
                let at = p.add((step * 8 + r) * 64);
                for v in 0..16 / S::LANES {
                    *a = S::add(*a, S::load(at.cast::<f32>().add(v * S::LANES)));
                }
            }
        }
        black_box(&mut acc);
    }
    let sum = acc.iter().fold(S::splat(0.0), |sum, &c| S::add(sum, c));
    S::fold::<FoldSum>(sum)
}

dispatch! {
    /// See [`read_once`].
    ///
    /// # Safety
    /// `isa` is available and `p` is valid for `lines` cache lines of each stream.
    pub unsafe fn read_streams(p: *const u8, lines: usize, stride: usize) -> f32 => read_streams_body
}
dispatch! {
    /// See [`cache_read_gbs`].
    ///
    /// # Safety
    /// `isa` is available and `p` is valid for `lines` cache lines.
    pub unsafe fn read_lines(p: *const u8, lines: usize, times: usize) -> f32 => read_line_body
}

/// The least time of several runs of `f`.
fn best(passes: usize, mut f: impl FnMut()) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..passes {
        let start = Instant::now();
        f();
        least = least.min(start.elapsed());
    }
    least
}

fn clamp(isa: Isa) -> Isa {
    Isa::available().into_iter().rfind(|&have| have <= isa).unwrap_or(Isa::Portable)
}

/// One pass of f32 multiply-adds from registers of `isa`; returns the number of operations, two per multiply-add.
#[must_use]
pub fn multiply_adds(isa: Isa, rounds: usize) -> f64 {
    // SAFETY: `clamp` returns an available instruction set.
    let (flops, sum) = unsafe { fma_rounds(clamp(isa), rounds, black_box(0.5)) };
    black_box(sum);
    flops
}

/// Reads every cache line of `memory` once, in eight streams of equal length; returns the number of bytes read.
#[must_use]
pub fn read_once(isa: Isa, memory: &[f32]) -> f64 {
    let lines = memory.len() / 16 / 8;
    // SAFETY: `clamp` returns an available instruction set; eight streams of `lines` lines lie in the slice.
    black_box(unsafe { read_streams(clamp(isa), memory.as_ptr().cast(), lines, lines * 64) });
    (lines * 64 * 8) as f64
}

/// f32 multiply-add rate of one core with the registers of `isa`, in GFLOP/s (two per multiply-add). Takes about 60 ms.
#[must_use]
pub fn fma_peak_gflops(isa: Isa) -> f64 {
    let mut flops = 0.0;
    let time = best(PASSES, || flops = multiply_adds(isa, 300_000));
    flops / time.as_secs_f64() / 1e9
}

/// Read rate of one core over a buffer of `bytes` (a multiple of 512) that is read again and again, in GB/s.
#[must_use]
pub fn cache_read_gbs(isa: Isa, bytes: usize) -> f64 {
    let isa = clamp(isa);
    let lines = (bytes / 512).max(1) * 8;
    let times = ((8 << 20) / (lines * 64)).max(1);
    let buffer = vec![1.0f32; lines * 16 + 16];
    let skip = buffer.as_ptr().cast::<u8>().align_offset(64);
    let time = best(PASSES, || {
        // SAFETY: the buffer holds `lines` lines from its first aligned one; the instruction set is available.
        black_box(unsafe { read_lines(isa, buffer.as_ptr().cast::<u8>().add(skip), lines, times) });
    });
    (lines * 64 * times) as f64 / time.as_secs_f64() / 1e9
}

/// Read rate of DRAM by `threads` threads, 8 streams each, in GB/s. Uses 256 MiB a thread.
#[must_use]
pub fn dram_read_gbs(isa: Isa, threads: usize) -> f64 {
    let buffers: Vec<Vec<f32>> = (0..threads.max(1)).map(|_| vec![1.0f32; 64 << 20]).collect();
    let time = best(5, || {
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(move || black_box(read_once(isa, buffer)));
            }
        });
    });
    (buffers.len() * (256 << 20)) as f64 / time.as_secs_f64() / 1e9
}
