//! Kernels on a CUDA device: variants by the facts of their arguments, and assertions found when the host waits.
//!
//! A launch is asynchronous, so a failed assertion is reported by the next wait for the device, not by the launch. Each kernel
//! with assertions has a status of three words on the device, zero until one fails.

#![allow(unsafe_code, reason = "hands the addresses of checked arguments to the device")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tilewright_codegen::diag::Loc;
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::kernel::{Kernel, Launch};
use tilewright_codegen::launch::{Arg, RunError};

use crate::cuda::context::{Fill, Memory};
use crate::cuda::module::PreparedKernel;
use crate::cuda::stream::CudaStream;
use crate::error::{CudaError, RuntimeError};
use crate::gpu::facts;
use crate::gpu::variant::Variant;

/// Words of a status.
pub(super) const STATUS_WORDS: usize = 3;

/// The assertions of one kernel that has been launched.
struct Watched {
    kernel: &'static str,
    assertions: Vec<(String, Loc)>,
    status: Memory,
}

/// The assertions of all kernels of a device.
#[derive(Default)]
pub(crate) struct Assertions(Mutex<Vec<Watched>>);

impl Assertions {
    /// Reports the first assertion that has failed since the last call, and forgets it.
    pub(crate) fn check(&self, stream: &CudaStream) -> Result<(), RuntimeError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for watched in all.iter_mut() {
            let mut words = [0; 8 * STATUS_WORDS];
            stream.download(&watched.status, 0, &mut words)?;
            if let Some(error) = failed_assertion(&watched.assertions, &words) {
                stream.clear(&mut watched.status)?;
                return Err(LaunchError::Stopped { kernel: watched.kernel, error }.into());
            }
        }
        Ok(())
    }
}

/// The error of an assertion that failed, from the words that it left.
pub(super) fn failed_assertion(
    assertions: &[(String, Loc)],
    words: &[u8; 8 * STATUS_WORDS],
) -> Option<RunError> {
    let word = |i: usize| words[8 * i..8 * i + 8].iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
    let number = word(0).checked_sub(1)?;
    let (message, loc) = assertions.get(number as usize)?;
    let pid = [word(1) as u32, (word(1) >> 32) as u32, word(2) as u32];
    Some(RunError { pid, loc: *loc, message: message.clone() })
}

/// A variant that is loaded.
struct Loaded {
    variant: Variant,
    facts: Vec<ArgFacts>,
    prepared: PreparedKernel,
}

/// The variants that one stream has launched.
#[derive(Default)]
pub(crate) struct Variants(RefCell<HashMap<u64, Loaded>>);

impl Variants {
    /// What was known of the arguments of each launched variant of a kernel, each once.
    pub(crate) fn facts(&self, kernel: u64) -> Vec<Vec<ArgFacts>> {
        let mut all: Vec<Vec<ArgFacts>> = Vec::new();
        let known = self.0.borrow();
        let mut keys: Vec<&u64> = known.keys().collect();
        keys.sort_unstable();
        for loaded in keys.into_iter().filter_map(|key| known.get(key)) {
            if loaded.variant.kernel.id == kernel && !all.contains(&loaded.facts) {
                all.push(loaded.facts.clone());
            }
        }
        all
    }

    /// Starts every program instance of the grid.
    ///
    /// # Errors
    /// If the kernel cannot be generated, compiled or loaded, an argument does not fit, or the driver refuses.
    pub(crate) fn launch(
        &self,
        stream: &CudaStream,
        assertions: &Assertions,
        launch: &Launch<'_>,
    ) -> Result<(), LaunchError> {
        let key = launch.key ^ facts::hash(launch.args);
        let mut known = self.0.borrow_mut();
        let refuse = |e: CudaError| LaunchError::Device { kernel: launch.name, message: e.to_string() };
        let loaded = match known.entry(key) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => e.insert(load(stream, assertions, launch)?),
        };
        loaded.variant.kernel.check_args(launch.args)?;
        if stream.is_captured() {
            on_device(stream, &loaded.variant.kernel, launch.args)?;
        }
        // SAFETY: the arguments were checked against the parameters; their memory is of this device, and what the launch does to
        // it is ordered before whatever the stream does next.
        unsafe { loaded.prepared.launch(stream, launch.grid, launch.args) }.map_err(refuse)
    }
}

/// Refuses to record a launch over host memory, which a graph cannot keep.
fn on_device(stream: &CudaStream, kernel: &Kernel, args: &[Arg]) -> Result<(), LaunchError> {
    for (param, arg) in kernel.params.iter().zip(args) {
        let Arg::View(view) = arg else { continue };
        let is_empty = view.dims[..usize::from(view.rank)].contains(&0);
        if !is_empty && !stream.context().has_address(view.ptr.addr() as u64) {
            return Err(LaunchError::Device { kernel: kernel.name, message: not_on_device(param.name) });
        }
    }
    Ok(())
}

/// What is wrong with a recorded argument in host memory.
pub(super) fn not_on_device(argument: &str) -> String {
    format!(
        "argument `{argument}` is not in memory of the device, and so cannot be part of a captured graph: place it in a \
         buffer of the device"
    )
}

fn load(stream: &CudaStream, assertions: &Assertions, launch: &Launch<'_>) -> Result<Loaded, LaunchError> {
    let kernel = (launch.kernel)();
    let refuse = |e: CudaError| LaunchError::Device { kernel: kernel.name, message: e.to_string() };
    let args: Vec<_> = launch.args.iter().map(facts::of).collect();
    let context = stream.context();
    let variant = Variant::new(&kernel, launch.schedule, context.arch(), &args)?;
    let mut status = 0;
    if !variant.generated.assertions.is_empty() {
        let memory = context.allocate(8 * STATUS_WORDS, Fill::Zero).map_err(refuse)?;
        status = memory.address();
        let messages = variant.generated.assertions.clone();
        let watched = Watched { kernel: kernel.name, assertions: messages, status: memory };
        assertions.0.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }
    let artifact = std::sync::Arc::new(variant.generated.kernel.clone());
    let prepared = PreparedKernel::new(context, artifact, &variant.compiled.cubin, status).map_err(refuse)?;
    Ok(Loaded { variant, facts: args, prepared })
}
