//! One variant of a kernel: generated, compiled, with what the compiler said.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use tilewright_codegen::cuda::{Generated, WriteOptions, generate_observed};
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::gpu::passes::PassCx;
use tilewright_codegen::gpu::{ArgFacts, GpuFunc};
use tilewright_codegen::kernel::{Kernel, KeyHasher, launch_key};
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::target::Arch;

use crate::cache::DiskCache;
use crate::cuda::cached::compile_cached;
use crate::cuda::nvrtc::{CompileOptions, CompiledCuda, LineInfo, Nvrtc};
use crate::dump::Dumps;
use crate::launch::tile_program;

/// A variant that is ready to be loaded.
#[derive(Debug)]
pub struct Variant {
    /// The kernel.
    pub kernel: Kernel,
    /// GPU level, CUDA C and launch.
    pub generated: Generated,
    /// Machine code, PTX and resources.
    pub compiled: CompiledCuda,
}

impl Variant {
    /// Generates and compiles a kernel for arguments of the given facts.
    ///
    /// # Errors
    /// The diagnostics of specialisation and lowering; the compiler's log; that there is no compiler.
    pub fn new(
        kernel: &Kernel,
        schedule: &Schedule,
        arch: Arch,
        args: &[ArgFacts],
    ) -> Result<Self, LaunchError> {
        let func = tile_program(kernel, schedule)?;
        let options = WriteOptions::default();
        let device = |message: String| LaunchError::Device { kernel: kernel.name, message };
        let dumps = Dumps::from_env();
        let label = label(kernel, schedule, arch, args);
        let failed = Cell::new(None);
        let observe = |stage: &str, func: &GpuFunc| match dumps.observe_gpu(&label, stage, func) {
            Ok(replacement) => replacement,
            Err(message) => {
                failed.set(Some(message));
                None
            }
        };
        let passes = PassCx { observer: if dumps.is_empty() { None } else { Some(&observe) } };
        let mut generated =
            generate_observed(&func, schedule, arch, args, &options, &passes).map_err(|diagnostics| {
                LaunchError::Specialisation { kernel: kernel.name, schedule: schedule.clone(), diagnostics }
            })?;
        if let Some(message) = failed.take() {
            return Err(device(message));
        }
        if let Some(text) = dumps.observe_text(&label, "cuda", &generated.source.text).map_err(device)? {
            generated.source.text = text.clone();
            generated.kernel.source = text;
        }
        let compile = CompileOptions {
            name: format!("{}.cu", kernel.name),
            math: generated.kernel.math,
            line_info: LineInfo::Keep,
            ..CompileOptions::default()
        };
        let nvrtc = Nvrtc::get().map_err(|e| device(e.to_string()))?;
        let cache = DiskCache::from_env();
        let (compiled, _) = compile_cached(nvrtc, cache.as_ref(), &generated.kernel.source, arch, &compile)
            .map_err(|e| device(e.to_string()))?;
        Ok(Self { kernel: kernel.clone(), generated, compiled })
    }
}

/// What the dumps of a variant are called: that of the tile level, the architecture, and a hash of what is known of the arguments.
fn label(kernel: &Kernel, schedule: &Schedule, arch: Arch, args: &[ArgFacts]) -> String {
    let mut facts = KeyHasher::of_kernel("", 0);
    args.hash(&mut facts);
    let key = launch_key(kernel.id, schedule) as u32;
    format!("{}-{key:08x}-{arch}-{:08x}", kernel.name, facts.finish() as u32)
}
