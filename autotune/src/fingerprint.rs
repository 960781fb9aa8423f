//! Which device a record was measured on, and which devices may use it.
//!
//! A *device class* is the set of machines that share records: same vendor, family, model, SIMD tier and number of threads.
//! Model name, features and caches are kept for the reader. A processor that cannot be identified has no class, and so
//! never uses a record of another.

mod gpu;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tilewright_codegen::schedule::TargetKind;
use tilewright_runtime::Device;
use tilewright_runtime::error::CudaError;

pub use gpu::Gpu;

/// The device of a record. One variant per kind of target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fingerprint {
    /// A processor.
    Cpu(Cpu),
    /// A CUDA device.
    Gpu(Gpu),
}

/// What identifies a processor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// Marketing name, such as `AMD EPYC 9575F`; hypervisors shorten it.
    pub model_name: String,
    /// Vendor in short, such as `amd`, `intel`, `arm41`; empty when unknown.
    pub vendor: String,
    /// Family number (x86) or architecture (Arm).
    pub family: u32,
    /// Model number (x86) or part number (Arm).
    pub model: u32,
    /// Threads that kernels run on.
    pub threads: usize,
    /// Instruction set that the micro-kernels dispatch on.
    pub isa: Isa,
    /// Further features that micro-kernels use, ascending by name.
    pub features: Vec<String>,
    /// Bytes of each data or unified cache, by level (`l1d`, `l2`, `l3`); empty where the system does not tell.
    #[serde(default)]
    pub caches_bytes: BTreeMap<String, u64>,
}

/// SIMD tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isa {
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// No SIMD beyond what the compiler emits for the architecture.
    Portable,
}

impl Isa {
    /// Lower-case name, as in device classes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }
}

impl Fingerprint {
    /// The processor that this process runs on, with as many threads as the system lets it use.
    #[must_use]
    pub fn host_cpu() -> Self {
        Self::Cpu(Cpu::host())
    }

    /// The fingerprint of a device; `None` for a simulated GPU, on which nothing is measured.
    ///
    /// # Errors
    /// As [`Gpu::of`].
    pub fn of(device: &Device) -> Result<Option<Self>, CudaError> {
        match (device.kind(), device.cuda_stream()) {
            (TargetKind::Cpu, _) => Ok(Some(Self::host_cpu())),
            (TargetKind::Gpu, Some(stream)) => Ok(Some(Self::Gpu(Gpu::of(stream.context().info())?))),
            (TargetKind::Gpu, None) => Ok(None),
        }
    }

    /// Name of the device class, fit for a folder name; `None` when the device could not be identified.
    #[must_use]
    pub fn class(&self) -> Option<String> {
        match self {
            Self::Cpu(cpu) if cpu.vendor.is_empty() => None,
            Self::Cpu(cpu) => {
                let Cpu { vendor, family, model, threads, isa, .. } = cpu;
                Some(format!("cpu-{vendor}-{family}-{model}-{}-{threads}t", isa.name()))
            }
            Self::Gpu(gpu) => gpu.class(),
        }
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cpu(cpu) => {
                let name = if cpu.model_name.is_empty() { "unidentified processor" } else { &cpu.model_name };
                let class = self.class().unwrap_or_else(|| "no device class".to_owned());
                format!("{name}, {} threads, {} ({class})", cpu.threads, cpu.isa.name())
            }
            Self::Gpu(gpu) => gpu.describe(),
        }
    }
}

impl Cpu {
    /// The processor that this process runs on, with as many threads as the system lets it use.
    #[must_use]
    pub fn host() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let identity = x86_identity().or_else(|| arm_identity(&cpuinfo)).unwrap_or_default();
        let (isa, features) = detect_isa();
        Self {
            model_name: identity.model_name,
            vendor: identity.vendor,
            family: identity.family,
            model: identity.model,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            isa,
            features,
            caches_bytes: sysfs_caches(),
        }
    }
}

#[derive(Default)]
struct Identity {
    model_name: String,
    vendor: String,
    family: u32,
    model: u32,
}

/// Vendor, family and model from the processor itself, so that it works on every system.
#[cfg(target_arch = "x86_64")]
fn x86_identity() -> Option<Identity> {
    use std::arch::x86_64::__cpuid;
    let text = |registers: &[u32]| {
        let bytes: Vec<u8> = registers.iter().flat_map(|r| r.to_le_bytes()).filter(|&b| b != 0).collect();
        String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let leaf0 = __cpuid(0);
    let vendor = match text(&[leaf0.ebx, leaf0.edx, leaf0.ecx]).as_str() {
        "AuthenticAMD" => "amd".to_owned(),
        "GenuineIntel" => "intel".to_owned(),
        other => slug(other),
    };
    let (family, model) = decode_signature(__cpuid(1).eax);
    let mut model_name = String::new();
    if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
        let leaves = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(__cpuid);
        let registers: Vec<u32> = leaves.iter().flat_map(|l| [l.eax, l.ebx, l.ecx, l.edx]).collect();
        model_name = text(&registers);
    }
    Some(Identity { model_name, vendor, family, model })
}

#[cfg(not(target_arch = "x86_64"))]
fn x86_identity() -> Option<Identity> {
    None
}

/// Family and model of a CPUID signature; the extended fields count only where the base ones are saturated.
#[cfg(target_arch = "x86_64")]
fn decode_signature(eax: u32) -> (u32, u32) {
    let base_family = (eax >> 8) & 0xf;
    let family = if base_family == 0xf { base_family + ((eax >> 20) & 0xff) } else { base_family };
    let base_model = (eax >> 4) & 0xf;
    let model =
        if base_family == 0xf || base_family == 6 { base_model + ((eax >> 12) & 0xf0) } else { base_model };
    (family, model)
}

/// Implementer, architecture and part of an Arm processor as Linux lists them.
fn arm_identity(cpuinfo: &str) -> Option<Identity> {
    let field = |name: &str| {
        let (_, value) = cpuinfo.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.trim() == name)?;
        Some(value.trim().to_owned())
    };
    let number = |name: &str| {
        let value = field(name)?;
        match value.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => value.parse().ok(),
        }
    };
    Some(Identity {
        model_name: field("model name").unwrap_or_default(),
        vendor: format!("arm{:x}", number("CPU implementer")?),
        family: number("CPU architecture")?,
        model: number("CPU part")?,
    })
}

fn slug(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

#[cfg(target_arch = "x86_64")]
fn detect_isa() -> (Isa, Vec<String>) {
    use std::arch::is_x86_feature_detected as has;
    let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let isa = match (avx512 && avx2, avx2) {
        (true, _) => Isa::Avx512,
        (false, true) => Isa::Avx2,
        (false, false) => Isa::Portable,
    };
    let extras = [
        ("avx512bf16", has!("avx512bf16")),
        ("avx512vnni", has!("avx512vnni")),
        ("avxvnni", has!("avxvnni")),
    ];
    (isa, extras.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect())
}

#[cfg(not(target_arch = "x86_64"))]
fn detect_isa() -> (Isa, Vec<String>) {
    (Isa::Portable, Vec::new())
}

/// Data and unified caches of the first processor as Linux lists them.
fn sysfs_caches() -> BTreeMap<String, u64> {
    let mut caches = BTreeMap::new();
    for index in 0..8 {
        let read = |name: &str| {
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"))
                .map(|text| text.trim().to_owned())
        };
        let (Ok(level), Ok(kind), Ok(size)) = (read("level"), read("type"), read("size")) else { continue };
        let name = match kind.as_str() {
            "Data" => format!("l{level}d"),
            "Unified" => format!("l{level}"),
            _ => continue,
        };
        if let Some(bytes) = parse_size(&size) {
            caches.insert(name, bytes);
        }
    }
    caches
}

/// `48K` -> 49152.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['K', 'M']) {
        Some(digits) if text.ends_with('K') => (digits, 1 << 10),
        Some(digits) => (digits, 1 << 20),
        None => (text, 1),
    };
    Some(digits.parse::<u64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_has_a_fingerprint_that_repeats() {
        let host = Fingerprint::host_cpu();
        assert_eq!(host, Fingerprint::host_cpu());
        assert!(host.describe().contains("threads"), "{}", host.describe());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn signature_counts_extended_fields() {
        assert_eq!(decode_signature(0x00b0_0f21), (26, 2));
        assert_eq!(decode_signature(0x0006_06a6), (6, 106));
    }

    #[test]
    fn arm_is_read_from_cpuinfo() {
        let text = "processor : 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd4f\n";
        let id = arm_identity(text).expect("identity should be found");
        assert_eq!((id.vendor.as_str(), id.family, id.model), ("arm41", 8, 0xd4f));
        assert!(arm_identity("processor : 0\n").is_none());
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("48K"), Some(49152));
        assert_eq!(parse_size("32M"), Some(32 << 20));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size("x"), None);
    }

    #[test]
    fn an_unidentified_processor_has_no_class() {
        let mut cpu = Cpu::host();
        cpu.vendor.clear();
        assert_eq!(Fingerprint::Cpu(cpu).class(), None);
    }
}
