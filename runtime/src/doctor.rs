//! What this machine has of what the programs can use, what is missing, and what to install.
//!
//! Looking changes nothing but that the compiler and the driver are opened. The same findings are printed as text for
//! people and as JSON for programs.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};
use tilewright_codegen::cpu::micro::Isa;
use tilewright_codegen::target::Arch;

use crate::cache::DiskCache;
use crate::cuda::context::Context;
use crate::cuda::driver::Driver;
use crate::cuda::info::DeviceInfo;
use crate::cuda::nvrtc::{CompileOptions, Nvrtc};
use crate::cuda::toolkit::Search;

/// The findings.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// The processor.
    pub cpu: CpuFinding,
    /// The driver, or why there is none.
    pub driver: Result<DriverFinding, String>,
    /// The compiler, or why there is none.
    pub nvrtc: Result<NvrtcFinding, String>,
    /// Programs of the CUDA toolkit with their places.
    pub tools: Vec<(&'static str, Option<PathBuf>)>,
    /// The cache of compiled kernels; `None` where it is turned off.
    pub cache: Option<CacheFinding>,
}

/// The processor.
#[derive(Clone, Debug)]
pub struct CpuFinding {
    /// Hardware threads that the process may use.
    pub threads: usize,
    /// The widest instruction set that the kernels have a use for.
    pub isa: &'static str,
    /// Memory of the machine, and what is free of it, in bytes, where the system says.
    pub memory_bytes: Option<(u64, u64)>,
}

/// The driver.
#[derive(Clone, Debug)]
pub struct DriverFinding {
    /// The newest CUDA that it knows, as (major, minor).
    pub cuda: (u32, u32),
    /// Its devices.
    pub devices: Vec<Gpu>,
}

/// A GPU.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// What it is.
    pub info: DeviceInfo,
    /// Free memory, in bytes, or why its context does not start.
    pub free_bytes: Result<u64, String>,
}

/// The compiler.
#[derive(Clone, Debug)]
pub struct NvrtcFinding {
    /// Version of CUDA that it belongs to, as (major, minor).
    pub version: (u32, u32),
    /// Its file.
    pub path: PathBuf,
    /// How it was found.
    pub origin: &'static str,
    /// The CUDA headers, where there are some.
    pub headers: Option<PathBuf>,
    /// For each architecture, whether a kernel compiles, or why not.
    pub architectures: Vec<(Arch, Result<(), String>)>,
}

/// The cache of compiled kernels.
#[derive(Clone, Debug)]
pub struct CacheFinding {
    /// Its folder.
    pub folder: PathBuf,
    /// Number of entries.
    pub entries: usize,
    /// Their size, in bytes.
    pub bytes: u64,
    /// The most that it holds, in bytes.
    pub limit_bytes: u64,
}

impl Doctor {
    /// Looks at the machine.
    #[must_use]
    pub fn examine() -> Self {
        let search = Search::from_env();
        let tools = ["ptxas", "nvdisasm", "cuobjdump"];
        Self {
            cpu: CpuFinding {
                threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
                isa: Isa::detect().name(),
                memory_bytes: host_memory(),
            },
            driver: examine_driver(),
            nvrtc: examine_nvrtc(),
            tools: tools.map(|tool| (tool, search.program(tool))).to_vec(),
            cache: DiskCache::from_env().map(|cache| {
                let usage = cache.usage();
                CacheFinding {
                    folder: cache.folder().to_owned(),
                    entries: usage.entries,
                    bytes: usage.bytes,
                    limit_bytes: cache.limit_bytes(),
                }
            }),
        }
    }

    /// What to install or change, most important first; empty when a GPU is ready.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        match &self.driver {
            Err(reason) => advice.push(reason.clone()),
            Ok(driver) if driver.devices.is_empty() => {
                advice
                    .push("the driver sees no device: check CUDA_VISIBLE_DEVICES and nvidia-smi".to_owned());
            }
            Ok(driver) => {
                for gpu in &driver.devices {
                    advice.extend(gpu.info.arch().err().map(|error| error.to_string()));
                    advice.extend(gpu.free_bytes.as_ref().err().cloned());
                }
                if let Ok(nvrtc) = &self.nvrtc
                    && nvrtc.version.0 > driver.cuda.0
                {
                    let ((new, _), (old, minor)) = (nvrtc.version, driver.cuda);
                    advice.push(format!(
                        "the compiler is of CUDA {new} and the driver knows CUDA {old}.{minor}: install a newer driver, or \
                         an NVRTC of CUDA {old}"
                    ));
                }
            }
        }
        match &self.nvrtc {
            Err(reason) => advice.push(reason.clone()),
            Ok(nvrtc) => advice.extend(nvrtc.architectures.iter().filter_map(|(arch, outcome)| {
                let reason = outcome.as_ref().err()?.lines().next()?;
                Some(format!(
                    "NVRTC {}.{} does not compile for {arch}: {reason}",
                    nvrtc.version.0, nvrtc.version.1
                ))
            })),
        }
        if self.cache.is_none() {
            advice.push("compiled kernels are not kept: set TILEWRIGHT_CACHE_DIR to a folder".to_owned());
        }
        advice
    }

    /// The findings for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let version = |(major, minor): (u32, u32)| format!("{major}.{minor}");
        let driver = match &self.driver {
            Err(reason) => json!({ "error": reason }),
            Ok(driver) => json!({
                "cuda": version(driver.cuda),
                "devices": driver.devices.iter().map(gpu_json).collect::<Vec<_>>(),
            }),
        };
        let nvrtc = match &self.nvrtc {
            Err(reason) => json!({ "error": reason }),
            Ok(nvrtc) => json!({
                "version": version(nvrtc.version),
                "path": nvrtc.path,
                "origin": nvrtc.origin,
                "headers": nvrtc.headers,
                "architectures": nvrtc.architectures.iter().map(|(arch, outcome)| {
                    (arch.name().to_owned(), outcome.as_ref().map_or_else(|e| json!({ "error": e }), |()| json!("ok")))
                }).collect::<serde_json::Map<_, _>>(),
            }),
        };
        json!({
            "cpu": {
                "threads": self.cpu.threads,
                "isa": self.cpu.isa,
                "memory_bytes": self.cpu.memory_bytes.map(|(total, _)| total),
                "free_memory_bytes": self.cpu.memory_bytes.map(|(_, free)| free),
            },
            "driver": driver,
            "nvrtc": nvrtc,
            "tools": self.tools.iter().map(|(tool, path)| ((*tool).to_owned(), json!(path)))
                .collect::<serde_json::Map<_, _>>(),
            "cache": self.cache.as_ref().map(|cache| json!({
                "folder": cache.folder,
                "entries": cache.entries,
                "bytes": cache.bytes,
                "limit_bytes": cache.limit_bytes,
            })),
            "advice": self.advice(),
        })
    }
}

fn gpu_json(gpu: &Gpu) -> Value {
    let info = &gpu.info;
    json!({
        "ordinal": info.ordinal,
        "name": info.name,
        "capability": format!("{}.{}", info.capability.0, info.capability.1),
        "arch": info.arch().ok().map(Arch::name),
        "n_sms": info.n_sms,
        "memory_bytes": info.memory_bytes,
        "free_memory_bytes": gpu.free_bytes.as_ref().ok(),
        "error": gpu.free_bytes.as_ref().err(),
        "l2_bytes": info.l2_bytes,
        "clock_khz": info.clock_khz,
        "memory_clock_khz": info.memory_clock_khz,
        "memory_bus_bits": info.memory_bus_bits,
        "shared_per_block_bytes": info.shared_per_block_bytes,
    })
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        write!(f, "cpu       {} threads, {}", self.cpu.threads, self.cpu.isa)?;
        match self.cpu.memory_bytes {
            Some((total, free)) => writeln!(f, ", {:.1} GiB of {:.1} GiB free", gib(free), gib(total))?,
            None => writeln!(f)?,
        }
        match &self.driver {
            Err(_) => writeln!(f, "driver    none that can be used")?,
            Ok(driver) => {
                writeln!(f, "driver    CUDA {}.{}", driver.cuda.0, driver.cuda.1)?;
                for Gpu { info, free_bytes } in &driver.devices {
                    let (major, minor) = info.capability;
                    write!(
                        f,
                        "cuda:{:<4} {}, capability {major}.{minor}, {} SMs, {:.1} GiB",
                        info.ordinal,
                        info.name,
                        info.n_sms,
                        gib(info.memory_bytes)
                    )?;
                    match free_bytes {
                        Ok(free) => writeln!(f, ", {:.1} GiB free", gib(*free))?,
                        Err(_) => writeln!(f, ", does not start")?,
                    }
                }
            }
        }
        match &self.nvrtc {
            Err(_) => writeln!(f, "nvrtc     none that can be used")?,
            Ok(nvrtc) => {
                let path = nvrtc.path.display();
                writeln!(
                    f,
                    "nvrtc     {}.{} from {}: {path}",
                    nvrtc.version.0, nvrtc.version.1, nvrtc.origin
                )?;
                let works = nvrtc.architectures.iter().filter(|(_, outcome)| outcome.is_ok());
                let names: Vec<&str> = works.map(|(arch, _)| arch.name()).collect();
                writeln!(f, "          compiles for {}", names.join(", "))?;
            }
        }
        for (tool, path) in &self.tools {
            let place =
                path.as_ref().map_or_else(|| "not found".to_owned(), |path| path.display().to_string());
            writeln!(f, "{tool:<9} {place}")?;
        }
        match &self.cache {
            None => writeln!(f, "cache     off")?,
            Some(cache) => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                writeln!(
                    f,
                    "cache     {} kernels, {:.1} of {:.0} MiB in {}",
                    cache.entries,
                    mib(cache.bytes),
                    mib(cache.limit_bytes),
                    cache.folder.display()
                )?;
            }
        }
        for advice in self.advice() {
            writeln!(f, "\n- {advice}")?;
        }
        Ok(())
    }
}

fn examine_driver() -> Result<DriverFinding, String> {
    let driver = Driver::get().map_err(|error| error.to_string())?;
    let infos = DeviceInfo::all().map_err(|error| error.to_string())?;
    let gpu = |info: DeviceInfo| {
        let free = Context::of(info.ordinal).and_then(|context| context.free_and_total_bytes());
        Gpu { info, free_bytes: free.map(|(free, _)| free).map_err(|error| error.to_string()) }
    };
    Ok(DriverFinding { cuda: driver.version(), devices: infos.into_iter().map(gpu).collect() })
}

fn examine_nvrtc() -> Result<NvrtcFinding, String> {
    let nvrtc = Nvrtc::get().map_err(|error| error.to_string())?;
    let probe = "extern \"C\" __global__ void probe(float* y) { y[threadIdx.x] = 1.0f; }";
    let options = CompileOptions { name: "probe.cu".to_owned(), ..CompileOptions::default() };
    let compiles = |arch: Arch| {
        let compiled = nvrtc.compile(probe, arch, &options);
        (arch, compiled.map(|_| ()).map_err(|error| error.to_string()))
    };
    Ok(NvrtcFinding {
        version: nvrtc.version(),
        path: nvrtc.path().to_owned(),
        origin: nvrtc.origin().describe(),
        headers: nvrtc.headers().map(ToOwned::to_owned),
        architectures: Arch::ALL.map(compiles).to_vec(),
    })
}

/// Memory of the machine and what is free of it, where Linux says.
fn host_memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    Some((field("MemTotal")?, field("MemAvailable")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Doctor {
        let info = DeviceInfo {
            ordinal: 0,
            name: "NVIDIA H200".to_owned(),
            capability: (9, 0),
            n_sms: 132,
            memory_bytes: 150 << 30,
            l2_bytes: 60 << 20,
            clock_khz: 1_980_000,
            memory_clock_khz: 3_201_000,
            memory_bus_bits: 6144,
            shared_per_sm_bytes: 228 << 10,
            shared_per_block_bytes: 227 << 10,
            threads_per_sm: 2048,
            blocks_per_sm: 32,
            registers_per_sm: 65536,
            has_memory_pools: true,
        };
        Doctor {
            cpu: CpuFinding { threads: 16, isa: "avx512", memory_bytes: Some((64 << 30, 32 << 30)) },
            driver: Ok(DriverFinding {
                cuda: (12, 8),
                devices: vec![Gpu { info, free_bytes: Ok(140 << 30) }],
            }),
            nvrtc: Ok(NvrtcFinding {
                version: (13, 5),
                path: "/cuda/libnvrtc.so.13".into(),
                origin: "target/nvrtc",
                headers: None,
                architectures: vec![
                    (Arch::Sm80, Ok(())),
                    (Arch::Sm120, Err("no such arch\nmore".to_owned())),
                ],
            }),
            tools: vec![("ptxas", None)],
            cache: Some(CacheFinding {
                folder: "/cache".into(),
                entries: 3,
                bytes: 1 << 20,
                limit_bytes: 1 << 30,
            }),
        }
    }

    #[test]
    fn findings_read_the_same_as_text_and_as_json() {
        let doctor = found();
        let text = doctor.to_string();
        for part in [
            "16 threads, avx512, 32.0 GiB of 64.0 GiB free",
            "CUDA 12.8",
            "cuda:0    NVIDIA H200, capability 9.0, 132 SMs, 150.0 GiB, 140.0 GiB free",
            "13.5 from target/nvrtc: /cuda/libnvrtc.so.13",
            "compiles for sm_80\n",
            "ptxas     not found",
            "3 kernels, 1.0 of 1024 MiB in /cache",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        let json = doctor.to_json();
        assert_eq!(json["driver"]["devices"][0]["arch"], "sm_90a");
        assert_eq!(json["nvrtc"]["architectures"]["sm_80"], "ok");
        let advice = doctor.advice();
        assert_eq!(advice.len(), 2, "{advice:#?}");
        assert!(advice[0].contains("CUDA 13") && advice[0].contains("12.8"), "{advice:#?}");
        assert!(advice[1].ends_with("sm_120: no such arch"), "{advice:#?}");
        assert_eq!(json["advice"], json!(advice));
    }

    #[test]
    fn what_is_missing_is_advice() {
        let missing = Doctor {
            driver: Err("no driver".to_owned()),
            nvrtc: Err("no compiler".to_owned()),
            cache: None,
            ..found()
        };
        assert_eq!(missing.advice()[..2], ["no driver", "no compiler"]);
        assert!(missing.to_string().contains("- no compiler"));
        assert_eq!(missing.to_json()["driver"]["error"], "no driver");
        // Whatever this machine has, looking at it ends well.
        let here = Doctor::examine();
        assert!(here.cpu.threads > 0 && !here.to_string().is_empty());
    }
}
