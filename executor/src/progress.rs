//! The bar that shows how much of a checkpoint has reached a device, on standard error where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::DeviceKind;

/// A bar of bytes, cleared when dropped.
#[derive(Debug)]
pub struct LoadProgress {
    /// `None` on a CPU, where a checkpoint is mapped or copied within the memory.
    bar: Option<ProgressBar>,
}

impl LoadProgress {
    /// A bar for `total_bytes` bytes to `device`.
    pub fn new(device: DeviceKind, total_bytes: u64) -> Self {
        let bar = match device {
            DeviceKind::Cpu => None,
            DeviceKind::Sim(_) | DeviceKind::Cuda(_) => {
                // Where standard error is no terminal the bar draws nothing.
                let bar = ProgressBar::new(total_bytes).with_message(format!("weights to {device}"));
                let template = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                Some(match ProgressStyle::with_template(template) {
                    Ok(style) => bar.with_style(style),
                    Err(_) => bar,
                })
            }
        };
        Self { bar }
    }

    /// That many bytes more are on their way.
    pub fn advance(&self, n_bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(n_bytes);
        }
    }

    /// Bytes so far; 0 where nothing is shown.
    pub fn position(&self) -> u64 {
        self.bar.as_ref().map_or(0, ProgressBar::position)
    }
}

impl Drop for LoadProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_with_their_own_memory_show_a_bar() {
        let progress = LoadProgress::new(DeviceKind::Cuda(0), 100);
        progress.advance(30);
        progress.advance(12);
        assert_eq!(progress.position(), 42);
        let progress = LoadProgress::new(DeviceKind::Cpu, 100);
        progress.advance(30);
        assert_eq!(progress.position(), 0);
    }
}
