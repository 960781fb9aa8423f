//! What identifies a GPU.
//!
//! Machines with the same product, capability, multiprocessors and memory clock share records. Driver and compiler are kept for the
//! reader: a newer one seldom changes which schedule is best, and every use of a schedule is compiled anew anyway.

use serde::{Deserialize, Serialize};
use tilewright_runtime::cuda::driver::Driver;
use tilewright_runtime::cuda::info::DeviceInfo;
use tilewright_runtime::cuda::nvrtc::Nvrtc;
use tilewright_runtime::error::CudaError;

use super::slug;

/// What identifies a GPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// The product's name, such as `NVIDIA H200`.
    pub name: String,
    /// Compute capability, such as `9.0`.
    pub capability: String,
    /// Streaming multiprocessors.
    pub n_sms: u32,
    /// Highest clock of the memory, in MHz; 0 where the driver does not say.
    pub memory_clock_mhz: u32,
    /// The newest CUDA that the driver knows, such as `12.9`.
    pub driver_cuda: String,
    /// The compiler's version, such as `13.0`.
    pub nvrtc: String,
}

impl Gpu {
    /// The fingerprint of a device, with the driver and the compiler of this machine.
    ///
    /// # Errors
    /// When there is no driver or no compiler; the message says what to install.
    pub fn of(info: &DeviceInfo) -> Result<Self, CudaError> {
        let dotted = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        Ok(Self {
            name: info.name.clone(),
            capability: dotted(info.capability),
            n_sms: info.n_sms,
            memory_clock_mhz: info.memory_clock_khz / 1000,
            driver_cuda: dotted(Driver::get()?.version()),
            nvrtc: dotted(Nvrtc::get()?.version()),
        })
    }

    /// Name of the device class, fit for a folder name; `None` for a device without a name.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        let name = slug(&self.name);
        if name.is_empty() {
            return None;
        }
        let capability: String = self.capability.split('.').collect();
        Some(format!("gpu-{name}-sm{capability}-{}sm-{}mhz", self.n_sms, self.memory_clock_mhz))
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let class = self.class().unwrap_or_else(|| "no device class".to_owned());
        let Self { name, capability, n_sms, driver_cuda, nvrtc, .. } = self;
        format!(
            "{name}, capability {capability}, {n_sms} SMs, driver for CUDA {driver_cuda}, NVRTC {nvrtc} ({class})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_what_records_are_shared_by() {
        let h200 = Gpu {
            name: "NVIDIA H200".to_owned(),
            capability: "9.0".to_owned(),
            n_sms: 132,
            memory_clock_mhz: 3201,
            driver_cuda: "12.9".to_owned(),
            nvrtc: "13.0".to_owned(),
        };
        assert_eq!(h200.class().as_deref(), Some("gpu-nvidiah200-sm90-132sm-3201mhz"));
        let newer = Gpu { driver_cuda: "13.1".to_owned(), nvrtc: "13.1".to_owned(), ..h200.clone() };
        assert_eq!(newer.class(), h200.class());
        let part = Gpu { n_sms: 66, ..h200.clone() };
        assert_ne!(part.class(), h200.class(), "a part of the device is another device");
        assert_eq!(Gpu { name: String::new(), ..h200 }.class(), None);
    }
}
