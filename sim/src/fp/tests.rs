//! Conversions against the `half` crate and against enumeration of every value of a format; directed rounding by
//! bracketing the exact result; approximations against their documented bounds.

use super::*;

mod arithmetic;
mod conversions;

/// A deterministic stream of 64-bit values.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Any bit pattern, NaN and infinity included.
    pub(super) fn f32(&mut self) -> f32 {
        f32::from_bits((self.next() >> 32) as u32)
    }

    /// A finite f32 with an exponent within `reach` of 0.
    pub(super) fn f32_near_one(&mut self, reach: u64) -> f32 {
        let bits = self.next();
        let exponent = 127 - reach + (bits >> 40) % (2 * reach);
        f32::from_bits((bits as u32 & 0x807f_ffff) | (exponent as u32) << 23)
    }
}

pub(super) const ROUNDS: [Round; 5] =
    [Round::NearestEven, Round::NearestAway, Round::Zero, Round::Down, Round::Up];

/// All finite values of a format in ascending order with their bits, -0 left out.
pub(super) fn finite_values(format: Format) -> Vec<(f64, u64)> {
    let bits = 1 + format.exponent_bits() + format.mantissa_bits();
    let (exponent_bits, mantissa_bits) = (format.exponent_bits(), format.mantissa_bits());
    let mut values: Vec<(f64, u64)> = (0..1_u64 << bits)
        .filter(|&pattern| pattern & (format.sign() - 1) <= format.max_finite() && pattern != format.sign())
        .map(|pattern| {
            let fraction = (pattern % (1 << mantissa_bits)) as f64 / f64::from(1_u32 << mantissa_bits);
            let field = (pattern >> mantissa_bits) % (1 << exponent_bits);
            let bias = (1 << (exponent_bits - 1)) - 1;
            let magnitude = if field == 0 {
                fraction * 2.0_f64.powi(1 - bias)
            } else {
                (1.0 + fraction) * 2.0_f64.powi(field as i32 - bias)
            };
            (if pattern & format.sign() == 0 { magnitude } else { -magnitude }, pattern)
        })
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values
}

/// The bits that `x`, within the finite range, rounds to: by looking at its two neighbours among `values`.
pub(super) fn round_by_enumeration(values: &[(f64, u64)], x: f64, round: Round) -> u64 {
    let above = values.partition_point(|&(value, _)| value < x);
    let (high, high_bits) = values[above];
    if high == x {
        return high_bits;
    }
    let (low, low_bits) = values[above - 1];
    // Distances of neighbours of at most 24 bits are exact in f64.
    let to_low = (x - low).partial_cmp(&(high - x)).expect("no NaN among finite values");
    let nearest = |tie: u64| match to_low {
        std::cmp::Ordering::Less => low_bits,
        std::cmp::Ordering::Greater => high_bits,
        std::cmp::Ordering::Equal => tie,
    };
    match round {
        Round::NearestEven => nearest(if low_bits & 1 == 0 { low_bits } else { high_bits }),
        Round::NearestAway => nearest(if x < 0.0 { low_bits } else { high_bits }),
        Round::Zero => {
            if x < 0.0 {
                high_bits
            } else {
                low_bits
            }
        }
        Round::Down => low_bits,
        Round::Up => high_bits,
    }
}
