//! Directed rounding of double operations (`fp` has those of single).
//!
//! An exact result is carried as `hi + lo`: `hi` the nearest double, `lo` the error of that rounding, which
//! the classic two-sum and the fused multiply-add give exactly. Only the sign of what is left over decides
//! between two neighbours, so no wider arithmetic is needed.

/// Rounding direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

/// Sum and its rounding error.
#[inline(always)]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

#[inline(always)]
fn step(value: bool, rest_sign: f64, mode: Rounding) -> i32 {
    // `value`: the rounded number is negative. Result: -1 one step down, +1 one step up.
    match mode {
        Rounding::Nearest => 0,
        Rounding::Down => -i32::from(rest_sign < 0.0),
        Rounding::Up => i32::from(rest_sign > 0.0),
        Rounding::Zero if value => i32::from(rest_sign > 0.0),
        Rounding::Zero => -i32::from(rest_sign < 0.0),
    }
}

fn nudge(hi: f64, lo: f64, mode: Rounding) -> f64 {
    if !hi.is_finite() {
        return hi;
    }
    match step(hi < 0.0, lo, mode) {
        -1 => hi.next_down(),
        1 => hi.next_up(),
        _ => hi,
    }
}

/// `a + b` rounded.
pub(crate) fn add64(a: f64, b: f64, mode: Rounding) -> f64 {
    let (hi, lo) = two_sum(a, b);
    nudge(hi, lo, mode)
}

/// `a * b` rounded.
pub(crate) fn mul64(a: f64, b: f64, mode: Rounding) -> f64 {
    let hi = a * b;
    nudge(hi, if hi.is_finite() { a.mul_add(b, -hi) } else { 0.0 }, mode)
}

/// `a * b + c` rounded once: the error of the fused result from the exact product's two parts.
pub(crate) fn fma64(a: f64, b: f64, c: f64, mode: Rounding) -> f64 {
    let hi = a.mul_add(b, c);
    if !hi.is_finite() || mode == Rounding::Nearest {
        return hi;
    }
    let p = a * b;
    let p_rest = a.mul_add(b, -p);
    let (s, s_rest) = two_sum(p, c);
    let rest = (s - hi) + (s_rest + p_rest);
    nudge(hi, rest, mode)
}

/// `a / b` rounded.
pub(crate) fn div64(a: f64, b: f64, mode: Rounding) -> f64 {
    let q = a / b;
    let rest = if q.is_finite() && q != 0.0 { (-q).mul_add(b, a) * b.signum() } else { 0.0 };
    nudge(q, rest, mode)
}

/// Square root rounded.
pub(crate) fn sqrt64(a: f64, mode: Rounding) -> f64 {
    let q = a.sqrt();
    nudge(q, if q.is_finite() { (-q).mul_add(q, a) } else { 0.0 }, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_results_bracket_the_exact_value() {
        assert_eq!(add64(1.0, 1e-300, Rounding::Up), 1.0f64.next_up());
        assert_eq!(add64(1.0, 1e-300, Rounding::Down), 1.0);
        assert_eq!(add64(1.0, -1e-300, Rounding::Zero), 1.0f64.next_down());
        assert_eq!(mul64(0.1, 0.1, Rounding::Up), mul64(0.1, 0.1, Rounding::Down).next_up());
        assert_eq!(div64(1.0, 3.0, Rounding::Up), div64(1.0, 3.0, Rounding::Down).next_up());
        assert_eq!(sqrt64(2.0, Rounding::Up), sqrt64(2.0, Rounding::Zero).next_up());
        assert_eq!(sqrt64(4.0, Rounding::Up), 2.0);
        assert_eq!(fma64(0.1, 0.1, 1.0, Rounding::Up), fma64(0.1, 0.1, 1.0, Rounding::Down).next_up());
    }
}
