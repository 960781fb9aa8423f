//! How much memory the system can still give.

use crate::error::{Error, Result};

/// Checks that `needed_bytes` are available, where the system says how much is.
///
/// # Errors
/// [`Error::OutOfMemory`] with both numbers.
pub fn check_available(what: &'static str, needed_bytes: u64, hint: &'static str) -> Result<()> {
    let Some(available_bytes) = available_bytes() else { return Ok(()) };
    if needed_bytes <= available_bytes {
        return Ok(());
    }
    Err(Error::OutOfMemory { what, needed_bytes, available_bytes, hint })
}

/// Linux's own estimate of what can be allocated without swapping; `None` elsewhere.
pub fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    parse_available(&text)
}

fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Bytes in a unit that people read: `1.25 GiB`.
pub fn human_bytes(n_bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = n_bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n_bytes} bytes") } else { format!("{amount:.2} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        let text = "MemTotal:  100 kB\nMemFree: 7 kB\nMemAvailable:   42 kB\n";
        assert_eq!(parse_available(text), Some(42 * 1024));
        assert_eq!(parse_available("MemTotal: 1 kB"), None);
    }

    #[test]
    fn asking_for_too_much_names_both_numbers() {
        if available_bytes().is_some() {
            let message = check_available("the KV cache", u64::MAX, "lower --context")
                .expect_err("no machine has that much")
                .to_string();
            assert!(message.starts_with("the KV cache needs 18446744073709551615 bytes but "), "{message}");
            assert!(message.ends_with("are available; lower --context"), "{message}");
        }
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(1023), "1023 bytes");
        assert_eq!(human_bytes(1536), "1.50 KiB");
        assert_eq!(human_bytes(5 << 30), "5.00 GiB");
    }
}
