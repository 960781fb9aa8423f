//! The size of the last-level cache, which decides whether a kernel's output passes by it.

use std::sync::OnceLock;

/// Where the machine does not say.
const USUAL_BYTES: usize = 32 << 20;

/// Bytes of the largest cache that the first core uses; found once per process, 32 MiB where the system does not tell.
#[must_use]
pub fn last_level_cache_bytes() -> usize {
    static FOUND: OnceLock<usize> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let sizes = (0..8).filter_map(|index| {
            let file = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
            parse(std::fs::read_to_string(file).ok()?.trim())
        });
        sizes.max().unwrap_or(USUAL_BYTES)
    })
}

/// A size such as `32768K`.
fn parse(text: &str) -> Option<usize> {
    let unit = text.strip_suffix(['K', 'M', 'G']);
    let number: usize = unit.unwrap_or(text).parse().ok()?;
    let shift = match text.chars().last() {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        _ => 0,
    };
    number.checked_shl(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse("48K"), Some(48 << 10));
        assert_eq!(parse("32M"), Some(32 << 20));
        assert_eq!(parse("512"), Some(512));
        assert_eq!(parse(""), None);
        assert_eq!(parse("K"), None);
        assert!(last_level_cache_bytes() > 0);
    }
}
