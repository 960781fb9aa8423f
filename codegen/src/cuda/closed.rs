//! Tables over the register index as closed forms, so that a reader sees the rule and not its values.
//!
//! What the layouts make are sums of bit fields and of repeat digits; everything else stays a table.

/// `table[r]` as an expression of `r`, or `None` when it is no sum of bit fields and repeat digits.
///
/// The expression binds as tightly as a sum.
pub(crate) fn closed_form(table: &[u32], r: &str) -> Option<String> {
    let n = table.len();
    let first = *table.first()?;
    if table.iter().all(|&x| x == first) {
        return Some(first.to_string());
    }
    let bits = n.trailing_zeros();
    let period = 1usize << bits;
    let weight = |bit: u32| i64::from(table[1 << bit]) - i64::from(first);
    let weights: Vec<i64> = (0..bits).map(weight).collect();
    let repeats = n >> bits;
    let steps: Vec<i64> = (0..repeats).map(|q| i64::from(table[q * period]) - i64::from(first)).collect();
    let is_sum = table.iter().enumerate().all(|(r, &x)| {
        let low: i64 = (0..bits).filter(|&b| r >> b & 1 == 1).map(|b| weights[b as usize]).sum();
        i64::from(first) + low + steps[r >> bits] == i64::from(x)
    });
    if !is_sum || weights.iter().any(|&w| w < 0) {
        return None;
    }
    let mut terms = bit_terms(&weights, r, repeats == 1);
    terms.extend(repeat_terms(&steps, period, r)?);
    if first != 0 {
        terms.push(first.to_string());
    }
    Some(terms.join(" + "))
}

/// Terms for the bits of `r`; runs of bits whose weights double become one field. `is_whole` when nothing lies above the bits.
pub(crate) fn bit_terms(weights: &[i64], r: &str, is_whole: bool) -> Vec<String> {
    let mut terms = Vec::new();
    let mut bit = 0;
    while bit < weights.len() {
        let weight = weights[bit];
        let mut end = bit + 1;
        while end < weights.len() && weight != 0 && weights[end] == weight << (end - bit) {
            end += 1;
        }
        if weight != 0 {
            terms.push(field(r, bit, end - bit, is_whole && end == weights.len(), weight));
        }
        bit = end;
    }
    terms
}

/// `weight * (r >> shift & mask)`.
fn field(r: &str, shift: usize, width: usize, is_top: bool, weight: i64) -> String {
    let mask = (1u64 << width) - 1;
    match (shift, is_top, weight) {
        (0, true, 1) => r.to_owned(),
        (0, true, _) => format!("{r} * {weight}"),
        (_, true, 1) => format!("({r} >> {shift})"),
        (_, true, _) => format!("({r} >> {shift}) * {weight}"),
        (0, false, 1) => format!("({r} & {mask})"),
        (0, false, _) => format!("({r} & {mask}) * {weight}"),
        (_, false, 1) => format!("({r} >> {shift} & {mask})"),
        (_, false, _) => format!("({r} >> {shift} & {mask}) * {weight}"),
    }
}

/// Terms for the repeat index `q = r / period`: a multiple of `q`, or of its two digits.
fn repeat_terms(steps: &[i64], period: usize, r: &str) -> Option<Vec<String>> {
    let n = steps.len();
    if n == 1 {
        return Some(Vec::new());
    }
    let q = if period == 1 { r.to_owned() } else { format!("{r} / {period}") };
    for low in (1..=n).rev().filter(|low| n.is_multiple_of(*low)) {
        let (a, b) = (if low > 1 { steps[1] } else { 0 }, if low < n { steps[low] } else { 0 });
        if a < 0 || b < 0 || !(0..n).all(|i| steps[i] == (i % low) as i64 * a + (i / low) as i64 * b) {
            continue;
        }
        let times = |digit: String, w: i64| if w == 1 { digit } else { format!("{digit} * {w}") };
        let mut terms = Vec::new();
        if a != 0 {
            terms.push(times(if low == n { q.clone() } else { format!("{q} % {low}") }, a));
        }
        if b != 0 {
            terms.push(times(if low == 1 { q } else { format!("{r} / {}", period * low) }, b));
        }
        return Some(terms);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(n: u32, f: impl Fn(u32) -> u32) -> Option<String> {
        closed_form(&(0..n).map(f).collect::<Vec<_>>(), "r")
    }

    #[test]
    fn bit_fields_are_recognised() {
        assert_eq!(form(8, |r| r).unwrap(), "r");
        assert_eq!(form(8, |_| 3).unwrap(), "3");
        assert_eq!(form(8, |r| r >> 1).unwrap(), "(r >> 1)");
        assert_eq!(form(16, |r| (r >> 1 & 1) * 8).unwrap(), "(r >> 1 & 1) * 8");
        assert_eq!(form(16, |r| (r & 1) + (r >> 2) * 8).unwrap(), "(r & 1) + (r >> 2) * 8");
        assert_eq!(form(4, |r| r + 5).unwrap(), "r + 5");
    }

    #[test]
    fn repeats_are_digits() {
        assert_eq!(form(12, |r| r / 4 * 64 + (r & 3)).unwrap(), "(r & 3) + r / 4 * 64");
        assert_eq!(form(3, |r| r * 16).unwrap(), "r * 16");
        assert_eq!(form(30, |r| r / 2 % 3 * 8 + r / 6 * 100).unwrap(), "r / 2 % 3 * 8 + r / 6 * 100");
    }

    #[test]
    fn other_tables_stay_tables() {
        assert_eq!(form(8, |r| r * r), None);
        assert_eq!(form(4, |r| r ^ 1), None);
    }
}
