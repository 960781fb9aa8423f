//! Picks the next token of each row of logits on the device: temperature, top-k, top-p, min-p and a seeded random number.
//!
//! What the filters keep, and which of it a random number falls on, are questions of one kind: *the largest t such that the
//! elements of at least t number more than k*, or *weigh more than a mass*. Each is answered by bisection over the value t, one
//! pass over the row per halving, until the interval holds one element or equal ones. So nothing is sorted, and the answer is the
//! one that sorting gives: elements in descending order, equal ones by position.
//!
//! ```text
//!   weight of x:  2^((x - top) log2 e / temperature)         in f32, 1 for the best
//!   top-k         x >= k-th largest, equal ones included
//!   top-p         the fewest of the best that weigh top_p of what top-k left
//!   min-p         weight >= min_p
//!   pick          the first whose weights, summed from the best, exceed u times their total, u in [0, 1)
//! ```
//!
//! u is a pure function of two numbers, a sequence's stream and the step ([`bits`]), the same on host and device.
//! Source of the filters: Fan et al. 2018 (top-k), Holtzman et al. 2020 (top-p), Nguyen et al. 2024 (min-p); of the random numbers:
//! Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).

use tilewright_codegen::prelude::*;

use crate::error::KernelError;
use crate::host::{expect, held_by, programs};

/// Below this many temperatures under the best a weight is no normal number of f32 any more: it counts as none.
const REACH: f32 = 87.0;
/// The largest number below 1 in f32.
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;

/// A bijection of 64 bits that spreads every input bit over all output bits (the finaliser of SplitMix64).
#[must_use]
pub const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(FIRST);
    let x = (x ^ (x >> 27)).wrapping_mul(SECOND);
    x ^ (x >> 31)
}

/// The random bits of a step of a stream; u is the upper ones as a fraction: 53 of them on the host, 24 in the kernel.
#[must_use]
pub const fn bits(stream: u64, step: u64) -> u64 {
    mix(stream.wrapping_add(mix(step)))
}

/// `x >> by` of the bits, where the language's shift of i64 repeats the sign.
fn shifted(x: Scalar<i64>, by: i64) -> Scalar<i64> {
    (x >> by) & ((1i64 << (64 - by)) - 1)
}

/// [`mix`] in a kernel.
fn mixed(x: Scalar<i64>) -> Scalar<i64> {
    let x = x + GOLDEN as i64;
    let x = (x ^ shifted(x, 30)) * FIRST as i64;
    let x = (x ^ shifted(x, 27)) * SECOND as i64;
    x ^ shifted(x, 31)
}

/// What a bisection compares with its goal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Measure {
    /// Elements.
    Count,
    /// Their weights.
    Mass,
}

/// How weights follow from elements: the best element, log2 e over the temperature, and the least weight that counts.
type Scale = (Scalar<f32>, Scalar<f32>, Scalar<f32>);

/// Number and mass of a row's elements of at least `floor`.
#[device_fn]
fn tally<T: Float, BN: Dim>(row: View<T, 1>, floor: Scalar<f32>, scale: Scale) -> (Scalar<i32>, Scalar<f32>) {
    let (top, slope, least) = scale;
    let mut count = zeros::<i32, (BN,)>();
    let mut mass = zeros::<f32, (BN,)>();
    for n in range(0, row.dim(0), BN) {
        let x = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let weight = ((x - top) * slope).exp2();
        let is_kept = x >= floor && weight >= least;
        count += is_kept.cast::<i32>();
        mass += select(is_kept, weight, 0.0);
    }
    (count.sum::<0>().item(), mass.sum::<0>().item())
}

/// The interval `lo <= x < hi` of one element, or of equal ones, where the measure of what is at least t falls to `goal`, which it
/// exceeds at `lo`; and number and mass of the elements of at least `hi`. `hi` starts above all elements.
#[device_fn]
fn bisect<T: Float, BN: Dim>(
    row: View<T, 1>,
    lo: Scalar<f32>,
    hi: Scalar<f32>,
    goal: Scalar<f32>,
    scale: Scale,
    measure: Measure,
) -> (Scalar<f32>, Scalar<f32>, Scalar<i32>, Scalar<f32>) {
    let (mut lo, mut hi) = (lo, hi);
    let mut n_lo = tally::<T, BN>(row, lo, scale).0;
    let mut n_hi = scalar(0);
    let mut mass_hi = scalar(0.0f32);
    // Halves are added so that no sum overflows.
    let mut middle = lo * 0.5 + hi * 0.5;
    while n_lo - n_hi > 1 && middle > lo && middle < hi {
        let (n, mass) = tally::<T, BN>(row, middle, scale);
        let found = match measure {
            Measure::Count => n.cast::<f32>(),
            Measure::Mass => mass,
        };
        let is_over = found > goal;
        lo = is_over.select(middle, lo);
        n_lo = is_over.select(n, n_lo);
        hi = is_over.select(hi, middle);
        n_hi = is_over.select(n_hi, n);
        mass_hi = is_over.select(mass_hi, mass);
        middle = lo * 0.5 + hi * 0.5;
    }
    (lo, hi, n_lo - n_hi, mass_hi)
}

/// The largest element of `lo <= x < hi`.
#[device_fn]
fn largest_in<T: Float, BN: Dim>(row: View<T, 1>, lo: Scalar<f32>, hi: Scalar<f32>) -> Scalar<f32> {
    let mut best = full::<f32, (BN,)>(f32::NEG_INFINITY);
    for n in range(0, row.dim(0), BN) {
        let x = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        best = best.maximum(select(x >= lo && x < hi, x, f32::NEG_INFINITY));
    }
    best.max::<0>().item()
}

/// Position of the element of `lo <= x < hi` before which there are `skip` others; -1 where there are not as many.
#[device_fn]
fn position_in<T: Float, BN: Dim>(
    row: View<T, 1>,
    lo: Scalar<f32>,
    hi: Scalar<f32>,
    skip: Scalar<i32>,
) -> Scalar<i32> {
    let mut left = skip;
    let mut found = scalar(-1i32);
    for n in range(0, row.dim(0), BN) {
        let x = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let is_in = x >= lo && x < hi;
        let count = is_in.cast::<i32>().sum::<0>().item();
        if found < 0 {
            if left < count {
                let mut places = select(is_in, arange::<BN>() + n, i32::MAX);
                while left > 0 {
                    let first = places.min::<0>().item();
                    places = select(places == first, i32::MAX, places);
                    left -= 1;
                }
                found = places.min::<0>().item();
            } else {
                left -= count;
            }
        }
    }
    found
}

/// The next token of each row; see [`run`].
#[kernel(
    space(BN: [512, 1024, 2048, 4096, 8192]),
    default(BN = 4096),
    gpu(space(BN: [1024, 4096]), knobs(warps: [4, 8]), default(BN = 4096, warps = 8), legal = |s| held_by(4 * BN, warps))
)]
pub fn sample<T: Float, BN: Dim>(
    logits: View<T, 2>,
    temperatures: View<f32, 1>,
    top_ks: View<i32, 1>,
    top_ps: View<f32, 1>,
    min_ps: View<f32, 1>,
    streams: View<i64, 1>,
    steps: View<i32, 1>,
    tokens: ViewMut<i32, 1>,
) {
    let r = program_id(0);
    let row = logits.at(0, r);

    // The best element, the first of equals, and whether the row can be picked from at all.
    let mut best = full::<f32, (BN,)>(f32::NEG_INFINITY);
    let mut best_at = zeros::<i32, (BN,)>();
    let mut bad = zeros::<i32, (BN,)>();
    for n in range(0, row.dim(0), BN) {
        let x = row.load_or::<(BN,)>([n], T::from_f64(f64::NEG_INFINITY)).cast::<f32>();
        let is_better = x > best;
        best_at = select(is_better, arange::<BN>() + n, best_at);
        best = select(is_better, x, best);
        // Not NaN, which compares with nothing, and not infinite.
        let is_good = x < f32::INFINITY;
        bad += 1 - is_good.cast::<i32>();
    }
    let top = best.max::<0>().item();
    let is_good = bad.sum::<0>().item() == 0 && top > f32::NEG_INFINITY;
    let first = select(best == top, best_at, i32::MAX).min::<0>().item();
    let mut token = is_good.select(first, -1);

    let temperature = temperatures.get([r]);
    if is_good && temperature > 0.0 {
        let slope = std::f32::consts::LOG2_E / temperature;
        let any = (top, slope, scalar(0.0f32));
        let above = top + (top.abs() * 1e-6 + f32::MIN_POSITIVE);
        let mut floor = (top - temperature * REACH).maximum(f32::MIN);
        let mut total = tally::<T, BN>(row, floor, any);

        let top_k = top_ks.get([r]);
        if top_k > 0 && total.0 > top_k {
            let goal = (top_k - 1).cast::<f32>();
            floor = bisect::<T, BN>(row, floor, above, goal, any, Measure::Count).0;
            total = tally::<T, BN>(row, floor, any);
        }

        // What is at least `edge` stays whole; of the equal elements of `floor <= x < edge` the first `n_equal` stay.
        let mut edge = floor;
        let mut n_equal = scalar(0i32);
        let mut equal_weight = scalar(0.0f32);
        let top_p = top_ps.get([r]);
        if top_p < 1.0 {
            let goal = total.1 * top_p;
            let (lo, hi, n, mass) = bisect::<T, BN>(row, floor, above, goal, any, Measure::Mass);
            (floor, edge) = (lo, hi);
            equal_weight = ((largest_in::<T, BN>(row, lo, hi) - top) * slope).exp2();
            n_equal = ((goal - mass) / equal_weight).ceil().cast::<i32>().maximum(1).minimum(n);
        }

        let min_p = min_ps.get([r]);
        let kept = (top, slope, min_p);
        n_equal = (equal_weight >= min_p).select(n_equal, 0);
        let whole = tally::<T, BN>(row, edge, kept).1;
        let mass = whole + n_equal.cast::<f32>() * equal_weight;

        let random = mixed(streams.get([r]) + mixed(steps.get([r]).cast::<i64>()));
        let u = shifted(random, 40).cast::<i32>().cast::<f32>() * (1.0 / 16_777_216.0);
        // Never all of the mass, whatever is rounded.
        let target = (u * mass).minimum(mass * BELOW_ONE);
        let (mut lo, mut hi, mut n, mut before) = (floor, edge, n_equal, whole);
        if target < whole {
            (lo, hi, n, before) = bisect::<T, BN>(row, edge, above, target, kept, Measure::Mass);
        }
        // Beside the one element, or the equal ones, the interval may have lesser ones that min-p dropped.
        lo = largest_in::<T, BN>(row, lo, hi);
        let weight = ((lo - top) * slope).exp2();
        let skip = ((target - before) / weight).cast::<i32>().maximum(0).minimum(n - 1);
        token = position_in::<T, BN>(row, lo, hi, skip);
    }
    tokens.set([r], token);
}

/// How each row is picked from, `[R]` each.
#[derive(Clone, Copy, Debug)]
pub struct Controls<'a> {
    /// Divides the logits; 0 takes the best.
    pub temperatures: TensorRef<'a, f32, 1>,
    /// How many of the best stay, those equal to the last of them included; 0 keeps all.
    pub top_ks: TensorRef<'a, i32, 1>,
    /// The mass that the best must reach to be kept; 1 keeps all.
    pub top_ps: TensorRef<'a, f32, 1>,
    /// The share of the best one's probability below which nothing stays; 0 keeps all.
    pub min_ps: TensorRef<'a, f32, 1>,
    /// Stream of the random numbers, a sequence's own; a u64 as its bits.
    pub streams: TensorRef<'a, i64, 1>,
    /// Step within the stream.
    pub steps: TensorRef<'a, i32, 1>,
}

/// Runs [`sample()`]: `tokens [R]` from `logits [R, V]`, each row under its own controls; -1 for a row with a NaN, an infinite
/// element, or none above minus infinity.
///
/// Greedy rows (temperature 0) are exact, the lowest position on a tie. Others are what an exact computation picks from the same
/// random bits, except within about 1e-6 of the border between two tokens or of what a filter keeps, since weights are f32.
/// Cost: a greedy row is read once; another about 20 times per filter that is on, and 20 times for the pick, by one program.
///
/// # Errors
/// If extents do not fit each other, or the launch fails.
pub fn run<T: Float>(
    on: &(impl LaunchOn + ?Sized),
    schedule: &Schedule,
    logits: TensorRef<'_, T, 2>,
    controls: Controls<'_>,
    tokens: TensorMut<'_, i32, 1>,
) -> Result<(), KernelError> {
    const NAME: &str = "sample";
    let [rows, _] = logits.dims();
    let Controls { temperatures, top_ks, top_ps, min_ps, streams, steps } = controls;
    expect(NAME, "temperatures", temperatures.dims(), [rows])?;
    expect(NAME, "top_ks", top_ks.dims(), [rows])?;
    expect(NAME, "top_ps", top_ps.dims(), [rows])?;
    expect(NAME, "min_ps", min_ps.dims(), [rows])?;
    expect(NAME, "streams", streams.dims(), [rows])?;
    expect(NAME, "steps", steps.dims(), [rows])?;
    expect(NAME, "tokens", tokens.dims(), [rows])?;
    let grid = [programs(NAME, rows)?, 1, 1];
    Ok(sample::launch::<T>(
        on,
        schedule,
        grid,
        logits,
        temperatures,
        top_ks,
        top_ps,
        min_ps,
        streams,
        steps,
        tokens,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_splitmix() {
        // The first outputs of SplitMix64 from seed 0, as published with the algorithm.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(GOLDEN), 0x6e78_9e6a_a1b9_65f4);
        assert_ne!(bits(1, 2), bits(2, 1));
    }
}
