//! Which points of a search space the generated test visits.

use crate::schedule::{Schedule, Space};

/// The legal points in grid order, or when there are more than `limit`, the legal corners and a deterministic spread of others.
pub(super) fn legal_points(space: &Space, limit: usize) -> Vec<Schedule> {
    let n = space.grid_len();
    if n <= 16 * limit {
        let all: Vec<Schedule> = space.points().collect();
        if all.len() <= limit {
            return all;
        }
    }
    let mut picked: Vec<Schedule> = Vec::new();
    let stride = coprime_stride(n);
    let spread = (0..n).map(|i| (i * stride) % n);
    for index in corners(space).into_iter().chain(spread) {
        if picked.len() == limit {
            break;
        }
        if let Some(point) = space.point(index)
            && !picked.contains(&point)
        {
            picked.push(point);
        }
    }
    picked
}

/// Grid indices at which every knob has its first or last value; only the first six knobs vary when there are more.
fn corners(space: &Space) -> Vec<usize> {
    let varied = space.knobs.len().min(6);
    (0..1usize << varied)
        .map(|mask| {
            space.knobs.iter().enumerate().fold(0, |index, (k, knob)| {
                let last = k < varied && mask >> k & 1 == 1;
                index * knob.values.len() + if last { knob.values.len() - 1 } else { 0 }
            })
        })
        .collect()
}

/// A stride near the golden section of `n` that visits every residue once.
fn coprime_stride(n: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (n as f64 * 0.618) as usize;
    (golden.max(1)..=n.max(1)).find(|&s| gcd(s, n) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Knob, Rule};

    fn space(axes: usize, legal: fn(&Schedule) -> bool) -> Space {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        Space {
            knobs: names[..axes].iter().map(|&name| Knob { name, values: vec![1, 2, 3] }).collect(),
            legal: Rule::new(legal),
        }
    }

    #[test]
    fn small_spaces_are_taken_whole() {
        assert_eq!(legal_points(&space(3, |_| true), 200).len(), 27);
        assert_eq!(legal_points(&space(6, |s| s.get("a") == s.get("b")), 300).len(), 243);
        assert_eq!(legal_points(&Space::default(), 200), [Schedule::default()]);
    }

    #[test]
    fn large_spaces_are_sampled_with_their_corners() {
        let picked = legal_points(&space(8, |s| s.get("a") != Some(2)), 200);
        assert_eq!(picked.len(), 200);
        for c in ["a", "b", "h"] {
            assert!(picked.iter().any(|s| s.get(c) == Some(1)) && picked.iter().any(|s| s.get(c) == Some(3)));
        }
        assert!(picked.iter().all(|s| s.get("a") != Some(2)));
        assert_eq!(picked, legal_points(&space(8, |s| s.get("a") != Some(2)), 200));
    }
}
