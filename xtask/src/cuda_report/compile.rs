//! One compilation and its verdict.

use tilewright_codegen::cuda::{WriteOptions, generate};
use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::ir::ViewFacts;
use tilewright_runtime::cache::DiskCache;
use tilewright_runtime::cuda::cached::compile_cached;
use tilewright_runtime::cuda::nvrtc::{CompileOptions, LineInfo, Nvrtc};
use tilewright_runtime::cuda::report::{Limits, Violation};
use tilewright_runtime::launch::tile_program;

use super::jobs::Job;

/// What came of a job.
pub(super) enum Outcome {
    /// The compiler took it.
    Compiled(Resources),
    /// The lowering refused it: a block of this architecture has too little shared memory.
    TooLarge(String),
    /// It could not be generated or compiled.
    Failed(String),
}

/// What a compiled kernel uses.
pub(super) struct Resources {
    pub(super) registers: u32,
    pub(super) shared_bytes: u32,
    pub(super) stack_bytes: u32,
    pub(super) spill_bytes: u32,
    /// What is over the limits.
    pub(super) violations: Vec<String>,
}

impl Outcome {
    pub(super) fn is_violation(&self) -> bool {
        match self {
            Self::Compiled(resources) => !resources.violations.is_empty(),
            Self::TooLarge(_) => false,
            Self::Failed(_) => true,
        }
    }
}

/// Generates and compiles a job for arguments as a launch on whole buffers has them: contiguous and aligned.
pub(super) fn compile(job: &Job) -> Outcome {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| attempt(job))) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(message)) => Outcome::Failed(message),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Outcome::Failed(format!("panic: {text}"))
        }
    }
}

/// Whether a passed limit is a violation: of the compiler's remarks, those of the 75xx family, which tell of code that waits
/// where it should not. Warnings on the text, such as an unused variable, are not.
fn counts(violation: &Violation) -> bool {
    match violation {
        Violation::Over { .. } => true,
        Violation::Note(note) => note.code.is_some_and(|code| code / 100 == 75),
    }
}

fn attempt(job: &Job) -> Result<Outcome, String> {
    let func = tile_program(&job.kernel, &job.schedule).map_err(|e| e.to_string())?;
    let facts = ArgFacts { facts: ViewFacts { contiguous: true, divisible: 16 }, is_small: true };
    let args = vec![facts; func.params.len()];
    let generated = match generate(&func, &job.schedule, job.arch, &args, &WriteOptions::default()) {
        Ok(generated) => generated.kernel,
        Err(diagnostics) => {
            let text = diagnostics.to_string();
            let is_size = text.contains("bytes of shared memory");
            return if is_size && !job.is_default { Ok(Outcome::TooLarge(text)) } else { Err(text) };
        }
    };
    let options = CompileOptions {
        name: format!("{}.cu", job.kernel.name),
        math: generated.math,
        line_info: LineInfo::Keep,
        ..CompileOptions::default()
    };
    let nvrtc = Nvrtc::get().map_err(|e| e.to_string())?;
    let cache = DiskCache::from_env();
    let (compiled, _) = compile_cached(nvrtc, cache.as_ref(), &generated.source, job.arch, &options)
        .map_err(|e| e.to_string())?;
    let report = compiled.report;
    let own = report.kernel(&generated.entry).ok_or("the compiler's log does not speak of the kernel")?;
    let limit = job.arch.limits().shared_per_block_bytes;
    let shared_bytes = own.static_shared_bytes + generated.dynamic_shared_bytes;
    let limits = Limits { registers: Some(job.arch.limits().registers_per_thread), ..Limits::default() };
    let mut violations: Vec<String> =
        report.violations(&limits).iter().filter(|v| counts(v)).map(ToString::to_string).collect();
    if shared_bytes > limit {
        violations.push(format!("{shared_bytes} bytes of shared memory, and a block has {limit}"));
    }
    Ok(Outcome::Compiled(Resources {
        registers: own.registers,
        shared_bytes,
        stack_bytes: own.frame.stack_bytes,
        spill_bytes: own.frame.spill_store_bytes + own.frame.spill_load_bytes,
        violations,
    }))
}
