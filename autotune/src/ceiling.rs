//! What the device can do at most, measured, and how near a time comes to it.
//!
//! The roofline of a kernel is the larger of its operations over the FMA ceiling and its bytes over the memory ceiling.
//! Both ceilings are measured on the machine in the same process, never taken from a data sheet.

use std::hint::black_box;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Measured limits of the device, all threads together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ceilings {
    /// f32 fused multiply-adds from registers, two operations each, per second.
    pub flops_per_s: f64,
    /// Bytes read from memory per second.
    pub bytes_per_s: f64,
}

/// Share of the roofline that a time reaches, with the figures that it was computed from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roofline {
    /// Least possible time over measured time; over 1 where caches or narrower types beat the ceilings' assumptions.
    pub fraction: f64,
    /// The ceiling that binds.
    pub bound: Bound,
    /// Operations of one execution.
    pub flops: f64,
    /// Bytes that one execution must move.
    pub bytes: f64,
    /// Measured FMA ceiling.
    pub ceiling_flops_per_s: f64,
    /// Measured memory ceiling.
    pub ceiling_bytes_per_s: f64,
}

/// The ceiling that binds a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Fused multiply-adds.
    Compute,
    /// Memory.
    Memory,
}

impl Roofline {
    /// The share that `seconds` reaches for `flops` operations and `bytes` bytes, under `ceilings` (kept to 4 digits).
    #[must_use]
    pub fn new(flops: f64, bytes: f64, seconds: f64, ceilings: &Ceilings) -> Self {
        let rounded = |x: f64| format!("{x:.3e}").parse().unwrap_or(x);
        let mut roofline = Self {
            fraction: 0.0,
            bound: Bound::Compute,
            flops,
            bytes,
            ceiling_flops_per_s: rounded(ceilings.flops_per_s),
            ceiling_bytes_per_s: rounded(ceilings.bytes_per_s),
        };
        if bytes / roofline.ceiling_bytes_per_s > flops / roofline.ceiling_flops_per_s {
            roofline.bound = Bound::Memory;
        }
        roofline.fraction = rounded(roofline.fraction_at(seconds));
        roofline
    }

    /// The share that `seconds` reaches.
    #[must_use]
    pub fn fraction_at(&self, seconds: f64) -> f64 {
        (self.flops / self.ceiling_flops_per_s).max(self.bytes / self.ceiling_bytes_per_s) / seconds
    }
}

/// Measures both ceilings of the processor on `threads` threads; takes about half a second, and 512 MiB
/// or 64 MiB per thread, whichever is more, so that no cache holds them.
#[must_use]
pub fn measure_cpu(threads: usize) -> Ceilings {
    let threads = threads.max(1);
    Ceilings { flops_per_s: fma_ceiling(threads), bytes_per_s: read_ceiling(threads) }
}

/// Best of many short passes in which every thread does its part; the slowest thread counts. Many, because others may be
/// using the machine and a ceiling is what it does when they are not.
fn best_rate(threads: usize, passes: usize, work: impl Fn() -> f64 + Sync) -> f64 {
    let barrier = std::sync::Barrier::new(threads);
    let per_thread: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let spawn = || {
            scope.spawn(|| {
                let one_pass = || {
                    barrier.wait();
                    let start = Instant::now();
                    let amount = work();
                    amount / start.elapsed().as_secs_f64()
                };
                (0..passes).map(|_| one_pass()).collect::<Vec<f64>>()
            })
        };
        let handles: Vec<_> = (0..threads).map(|_| spawn()).collect();
        handles.into_iter().map(|h| h.join().expect("a measuring thread should not panic")).collect()
    });
    let rate = |pass: usize| per_thread.iter().map(|rates| rates[pass]).fold(f64::INFINITY, f64::min);
    (0..passes).map(rate).fold(0.0, f64::max) * threads as f64
}

/// Bytes read per second from memory, eight streams at a time: one stream does not keep enough reads in flight.
fn read_ceiling(threads: usize) -> f64 {
    const STREAMS: usize = 8;
    let words = ((512 << 20) / threads).next_multiple_of(1 << 20).max(64 << 20) / 8;
    let buffers: Vec<Vec<u64>> = (0..threads).map(|i| vec![i as u64 + 1; words]).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    best_rate(threads, 25, || {
        // Any thread may take any buffer, as long as no two share one within a pass.
        let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % threads;
        let rows: Vec<&[u64]> = buffers[i].chunks_exact(words / STREAMS).collect();
        let mut sums = [[0_u64; 8]; STREAMS];
        for at in (0..words / STREAMS).step_by(8) {
            for (row, sum) in rows.iter().zip(&mut sums) {
                for (s, x) in sum.iter_mut().zip(&row[at..at + 8]) {
                    *s = s.wrapping_add(*x);
                }
            }
        }
        black_box(sums);
        (words * 8) as f64
    })
}

fn fma_ceiling(threads: usize) -> f64 {
    best_rate(threads, 15, || {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                #[expect(
                    unsafe_code,
                    reason = "calls a function of an instruction set that was just detected"
                )]
                // SAFETY: AVX-512F is present.
                return unsafe { x86::fma_512(black_box(1.0)) };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                #[expect(
                    unsafe_code,
                    reason = "calls a function of an instruction set that was just detected"
                )]
                // SAFETY: AVX2 and FMA are present.
                return unsafe { x86::fma_256(black_box(1.0)) };
            }
        }
        portable_multiply_add(black_box(1.0))
    })
}

/// Passes over the accumulators: about 10 ms.
const ROUNDS: usize = 1 << 20;

/// Multiply and add without fusing, in the lanes that every build of the architecture has.
fn portable_multiply_add(x: f32) -> f64 {
    let mut acc = [[x; 8]; 8];
    let (a, b) = (black_box(0.999_f32), black_box(0.001_f32));
    for _ in 0..ROUNDS {
        for lanes in &mut acc {
            for lane in lanes {
                *lane = *lane * a + b;
            }
        }
    }
    black_box(acc);
    (ROUNDS * 8 * 8 * 2) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};
    use std::hint::black_box;

    use super::ROUNDS;

    /// 24 accumulators cover latency times throughput with room and still fit the 32 registers.
    #[target_feature(enable = "avx512f")]
    pub(super) fn fma_512(x: f32) -> f64 {
        let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut acc = [_mm512_set1_ps(x); 24];
        for _ in 0..ROUNDS {
            for lanes in &mut acc {
                *lanes = _mm512_fmadd_ps(*lanes, a, b);
            }
        }
        black_box(acc);
        (ROUNDS * 24 * 16 * 2) as f64
    }

    /// 12 accumulators, of 16 registers.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma_256(x: f32) -> f64 {
        let (a, b) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut acc = [_mm256_set1_ps(x); 12];
        for _ in 0..ROUNDS {
            for lanes in &mut acc {
                *lanes = _mm256_fmadd_ps(*lanes, a, b);
            }
        }
        black_box(acc);
        (ROUNDS * 12 * 8 * 2) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_ceiling_binds() {
        let ceilings = Ceilings { flops_per_s: 1e11, bytes_per_s: 1e10 };
        let compute = Roofline::new(2e9, 1e6, 0.04, &ceilings);
        assert_eq!(compute.bound, Bound::Compute);
        assert!((compute.fraction - 0.5).abs() < 1e-9);
        let memory = Roofline::new(1e6, 1e8, 0.02, &ceilings);
        assert_eq!(memory.bound, Bound::Memory);
        assert!((memory.fraction - 0.5).abs() < 1e-9);
    }

    #[test]
    fn ceilings_are_positive_numbers() {
        let ceilings = measure_cpu(1);
        assert!(ceilings.flops_per_s.is_finite() && ceilings.flops_per_s > 1e6, "{ceilings:?}");
        assert!(ceilings.bytes_per_s.is_finite() && ceilings.bytes_per_s > 1e6, "{ceilings:?}");
    }
}
