//! Devices: where kernels run.
//!
//! A device is a cheap handle; all handles of one device share its worker pool and its compiled kernels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tilewright_codegen::cpu::micro::Isa;
use tilewright_codegen::schedule::TargetKind;
use tilewright_codegen::target::Arch;

use crate::cpu::Pool;
use crate::cuda::context::Context;
use crate::cuda::stream::CudaStream;
use crate::error::RuntimeError;
use crate::gpu::cuda::Assertions;
use crate::gpu::sim::{N_SMS, SimDevice};
use crate::gpu::sim_hook::SimHook;
use crate::launch::Compiled;
use crate::stream::Stream;

/// A device that kernels run on.
#[derive(Clone)]
pub struct Device {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) isa: Isa,
    pub(crate) target: Target,
    /// Compiled kernels by launch key.
    pub(crate) compiled: Mutex<HashMap<u64, Arc<Compiled>>>,
}

/// Where kernels of a device run.
pub(crate) enum Target {
    /// On the worker pool.
    Cpu,
    /// On the simulated GPU.
    Sim(SimDevice),
    /// On a GPU; copies and launches of all handles go through one stream, and so are in order.
    Cuda(CudaStream, Assertions),
}

impl Device {
    /// The CPU with `threads` threads (0: all that the machine has) and the widest instruction set available.
    #[must_use]
    pub fn cpu(threads: usize) -> Self {
        Self::cpu_with_isa(threads, Isa::detect())
    }

    /// The CPU with a given instruction set, which must be one of [`Isa::available`]; a wider one falls back to the widest available.
    #[must_use]
    pub fn cpu_with_isa(threads: usize, isa: Isa) -> Self {
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if threads == 0 { all } else { threads };
        let isa = if Isa::available().contains(&isa) { isa } else { Isa::detect() };
        Self::new(threads, isa, Target::Cpu)
    }

    /// The CUDA device of this number, from 0 in the driver's order.
    ///
    /// # Errors
    /// When there is no driver, no such device, or none that kernels can be compiled for; the message says what to install.
    pub fn cuda(ordinal: u32) -> Result<Self, RuntimeError> {
        let stream = CudaStream::new(&Context::of(ordinal)?)?;
        // Kernels run on the GPU: one thread is enough of a pool.
        Ok(Self::new(1, Isa::detect(), Target::Cuda(stream, Assertions::default())))
    }

    /// A simulated GPU: the PTX of every kernel runs on the CPU, checked.
    #[must_use]
    pub fn sim(arch: Arch, options: tilewright_sim::Options) -> Self {
        Self::new(1, Isa::detect(), Target::Sim(SimDevice::new(arch, options)))
    }

    /// A simulated GPU whose launches a hook sees and may change.
    #[must_use]
    pub fn sim_hooked(arch: Arch, hook: Arc<dyn SimHook>) -> Self {
        Self::new(1, Isa::detect(), Target::Sim(SimDevice::hooked(arch, hook)))
    }

    /// The same simulated GPU with its launches run otherwise; `None` for another device.
    #[must_use]
    pub fn with_sim_options(&self, options: tilewright_sim::Options) -> Option<Self> {
        match &self.inner.target {
            Target::Sim(sim) => Some(Self::sim(sim.arch(), options)),
            Target::Cpu | Target::Cuda(..) => None,
        }
    }

    fn new(threads: usize, isa: Isa, target: Target) -> Self {
        let compiled = Mutex::new(HashMap::new());
        Self { inner: Arc::new(Inner { pool: Pool::new(threads), isa, target, compiled }) }
    }

    /// The device named `name`: `cpu`, `cuda` (the first), `cuda:N`, `sim` (of the newest supported kind) or `sim:ARCH`; `threads` as in [`Device::cpu`].
    ///
    /// # Errors
    /// [`RuntimeError::UnknownDevice`] for another name; as [`Device::cuda`] for a CUDA device.
    pub fn parse(name: &str, threads: usize) -> Result<Self, RuntimeError> {
        let unknown = || RuntimeError::UnknownDevice { name: name.to_owned() };
        match name {
            "cpu" => Ok(Self::cpu(threads)),
            "cuda" => Self::cuda(0),
            "sim" => Ok(Self::sim(Arch::Sm90a, tilewright_sim::Options::default())),
            _ if name.starts_with("sim:") => {
                let arch = Arch::parse(&name["sim:".len()..]).ok_or_else(unknown)?;
                Ok(Self::sim(arch, tilewright_sim::Options::default()))
            }
            _ => Self::cuda(name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or_else(unknown)?),
        }
    }

    /// A stream: launches on it run in order.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.clone())
    }

    /// The stream that copies and launches of a CUDA device go through; `None` for another device.
    #[must_use]
    pub fn cuda_stream(&self) -> Option<&CudaStream> {
        match &self.inner.target {
            Target::Cpu | Target::Sim(_) => None,
            Target::Cuda(stream, _) => Some(stream),
        }
    }

    /// Waits for all work of the device. On the CPU there is none: a launch has finished when it returns.
    ///
    /// # Errors
    /// What earlier work on a GPU did wrong.
    pub fn synchronize(&self) -> Result<(), RuntimeError> {
        match &self.inner.target {
            Target::Cpu => Ok(()),
            Target::Sim(sim) => Ok(sim.recorder().refuse("waiting")?),
            Target::Cuda(stream, assertions) => {
                stream.synchronize()?;
                assertions.check(stream)
            }
        }
    }

    /// What kind of code its kernels become, and so which of their schedules serve.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        match &self.inner.target {
            Target::Cpu => TargetKind::Cpu,
            Target::Sim(_) | Target::Cuda(..) => TargetKind::Gpu,
        }
    }

    /// What its kernels are compiled for; `None` for a CPU.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        match &self.inner.target {
            Target::Cpu => None,
            Target::Sim(sim) => Some(sim.arch()),
            Target::Cuda(stream, _) => Some(stream.context().arch()),
        }
    }

    /// Whether it is a simulated GPU, whose times say nothing of any device.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        match &self.inner.target {
            Target::Sim(_) => true,
            Target::Cpu | Target::Cuda(..) => false,
        }
    }

    /// What runs program instances side by side: threads of a CPU, multiprocessors of a GPU.
    #[must_use]
    pub fn workers(&self) -> usize {
        match &self.inner.target {
            Target::Cpu => self.threads(),
            Target::Sim(_) => N_SMS as usize,
            Target::Cuda(stream, _) => stream.context().info().n_sms as usize,
        }
    }

    /// Number of threads that run program instances.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.inner.pool.threads()
    }

    /// The instruction set of the micro-kernels.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.inner.isa
    }

    /// The worker pool, for host work that should share the device's threads.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.inner.target {
            Target::Cpu => write!(f, "Device(cpu, {} threads, {})", self.threads(), self.isa().name()),
            Target::Sim(sim) => write!(f, "Device({sim:?})"),
            Target::Cuda(stream, _) => write!(f, "Device({:?})", stream.context()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_what_is_missing_is_said() {
        assert!(Device::parse("cpu", 1).is_ok_and(|device| device.cuda_stream().is_none()));
        for name in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            let error = Device::parse(name, 1).expect_err("there is no such name").to_string();
            assert!(error.contains(&format!("`{name}`")) && error.contains("cuda:N"), "{error}");
        }
        // No machine has this many, and this one may have no driver at all: an error in either case, never a panic.
        let error = Device::parse("cuda:4096", 1).expect_err("there is no such device").to_string();
        assert!(error.contains("driver") || error.contains("cuda:4096"), "{error}");
    }
}
