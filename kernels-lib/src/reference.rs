//! Functions in f64 that several references need and the standard library lacks.

use tilewright_codegen::dsl::elem::Elem;

use crate::matmul::Layout;

/// The logistic function times its argument.
#[must_use]
pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The error function, to about 1e-15: its power series near 0, the continued fraction of erfc beyond.
///
/// Source: Abramowitz and Stegun, 7.1.6 and 7.1.14.
#[must_use]
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    let magnitude = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        std::f64::consts::FRAC_2_SQRT_PI * (-a * a).exp() * sum
    } else {
        let fraction = (1..=60).rev().fold(a, |tail, k| a + f64::from(k) / 2.0 / tail);
        1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    magnitude.copysign(x)
}

/// Product of `x [m, k]` with `w`, stored `[n, k]` when `layout` is [`Layout::OutIn`], else `[k, n]`.
pub(crate) fn product<W: Elem>(x: &[f64], w: &[W], [m, n, k]: [usize; 3], layout: Layout) -> Vec<f64> {
    let mut y = vec![0.0; m * n];
    let mut column = vec![0.0; k];
    for j in 0..n {
        for (i, c) in column.iter_mut().enumerate() {
            *c = match layout {
                Layout::OutIn => w[j * k + i],
                Layout::InOut => w[i * n + j],
            }
            .to_f64();
        }
        for i in 0..m {
            y[i * n + j] = x[i * k..(i + 1) * k].iter().zip(&column).map(|(a, b)| a * b).sum();
        }
    }
    y
}

/// Attention of one query over keys and values of `d` elements: softmax(q k / sqrt d) v, in two passes.
pub(crate) fn attend(q: &[f64], keys: &[&[f64]], values: &[&[f64]], scale: f64) -> Vec<f64> {
    let scores: Vec<f64> =
        keys.iter().map(|k| scale * q.iter().zip(*k).map(|(a, b)| a * b).sum::<f64>()).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; values.first().map_or(0, |v| v.len())];
    for (w, v) in weights.iter().zip(values) {
        for (o, x) in out.iter_mut().zip(*v) {
            *o += w / total * x;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn erf_agrees_with_tables() {
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            assert!((erf(x) - y).abs() < 2e-15, "{x}: {} vs {y}", erf(x));
            assert!((erf(-x) + y).abs() < 2e-15);
        }
    }
}
