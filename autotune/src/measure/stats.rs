//! Statistics of samples: pure functions over slices of seconds.

/// The middle of `samples`, or the mean of the two middle ones.
///
/// # Panics
/// If `samples` is empty.
#[must_use]
pub fn median(samples: &[f64]) -> f64 {
    assert!(!samples.is_empty(), "a median should have samples");
    let sorted = sorted(samples);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// An interval that holds the true median with at least 95 % confidence, whatever the distribution: the order statistics
/// between which a binomial count of one half falls. With under 6 samples it is all of them (and the confidence less).
///
/// # Panics
/// If `samples` is empty.
#[must_use]
pub fn median_interval(samples: &[f64]) -> (f64, f64) {
    assert!(!samples.is_empty(), "an interval should have samples");
    let sorted = sorted(samples);
    let skip = tail_rank(sorted.len());
    (sorted[skip], sorted[sorted.len() - 1 - skip])
}

/// How many samples may be cut from each end so that the probability of the median lying outside is at most 5 %.
fn tail_rank(n: usize) -> usize {
    // P(fewer than r of n samples are below the median) is a binomial tail; grow r while both tails fit in 5 %.
    let mut term = 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut tail = 0.0;
    let mut rank = 0;
    while rank < n / 2 {
        tail += term;
        if 2.0 * tail > 0.05 {
            return rank.saturating_sub(1);
        }
        term *= (n - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    rank.saturating_sub(1)
}

/// Half the width of [`median_interval`] relative to the median.
///
/// # Panics
/// If `samples` is empty.
#[must_use]
pub fn relative_precision(samples: &[f64]) -> f64 {
    let (low, high) = median_interval(samples);
    (high - low) / 2.0 / median(samples)
}

/// Whether `slower` is slower than `faster` beyond doubt: their median intervals do not touch.
///
/// # Panics
/// If either is empty.
#[must_use]
pub fn clearly_slower(slower: &[f64], faster: &[f64]) -> bool {
    median_interval(slower).0 > median_interval(faster).1
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn median_of_odd_and_even() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[5.0]), 5.0);
    }

    #[test]
    fn intervals_agree_with_the_published_ranks() {
        // Ranks (from 1) of the distribution-free 95 % interval of the median: n = 6: 1..6, 9: 2..8, 11: 2..10, 20: 6..15,
        // 50: 18..33, 100: 40..61.
        for (n, low, high) in [(6, 1, 6), (9, 2, 8), (11, 2, 10), (20, 6, 15), (50, 18, 33), (100, 40, 61)] {
            let samples: Vec<f64> = (1..=n).map(f64::from).collect();
            assert_eq!(median_interval(&samples), (f64::from(low), f64::from(high)), "n = {n}");
        }
        assert_eq!(median_interval(&[2.0, 1.0, 3.0]), (1.0, 3.0));
    }

    #[test]
    fn separation_needs_disjoint_intervals() {
        let fast: Vec<f64> = (0..9).map(|i| 1.0 + 0.01 * f64::from(i)).collect();
        let slow: Vec<f64> = fast.iter().map(|x| x * 1.5).collect();
        let near: Vec<f64> = fast.iter().map(|x| x * 1.01).collect();
        assert!(clearly_slower(&slow, &fast));
        assert!(!clearly_slower(&near, &fast));
        assert!(!clearly_slower(&fast, &slow));
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_sample_median(samples in prop::collection::vec(1e-9_f64..1e3, 1..80)) {
            let (low, high) = median_interval(&samples);
            let m = median(&samples);
            prop_assert!(low <= m && m <= high);
            prop_assert!(relative_precision(&samples) >= 0.0);
        }

        #[test]
        fn one_outlier_of_nine_moves_the_median_little(outlier in 1e-9_f64..1e9) {
            let mut samples = vec![1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7];
            samples.push(outlier);
            prop_assert!((1.3..=1.5).contains(&median(&samples)));
        }
    }
}
