//! Compiling a kernel for a device and running its program instances.

#![allow(unsafe_code, reason = "hands the addresses of checked arguments to the program")]

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tilewright_codegen::cpu::micro::{self, Isa};
use tilewright_codegen::cpu::{self, Arena, CpuProgram};
use tilewright_codegen::diag::{Diagnostic, Diagnostics};
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::ir::Func;
use tilewright_codegen::kernel::{Kernel, launch_key};
use tilewright_codegen::launch::{Arg, DeviceLog, RunError};
use tilewright_codegen::passes::{PassCx, run_pipeline};
use tilewright_codegen::schedule::Schedule;

use crate::cpu::{FlushDenormals, last_level_cache_bytes};
use crate::device::Device;
use crate::dump::Dumps;

thread_local! {
    /// Scratch of the program instances that this thread runs; it grows to the largest program seen.
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

/// A kernel compiled for a device under one schedule.
pub struct Compiled {
    kernel: Kernel,
    func: Func,
    program: CpuProgram,
}

/// The tile program of a kernel under a schedule, optimised; dumps and overrides apply.
///
/// # Errors
/// [`LaunchError::Specialisation`] with every diagnostic; an override that cannot be read or has other parameters is reported
/// likewise.
pub fn tile_program(kernel: &Kernel, schedule: &Schedule) -> Result<Func, LaunchError> {
    let refuse = |diagnostics: Diagnostics| LaunchError::Specialisation {
        kernel: kernel.name,
        schedule: schedule.clone(),
        diagnostics,
    };
    let mut func = kernel.specialise(schedule).map_err(refuse)?;
    let dumps = Dumps::from_env();
    let failed = Cell::new(None);
    let label = format!("{}-{:08x}", kernel.name, launch_key(kernel.id, schedule) as u32);
    let observe = |stage: &str, func: &Func| match dumps.observe(&label, stage, func) {
        Ok(replacement) => replacement,
        Err(message) => {
            failed.set(Some(message));
            None
        }
    };
    let cx = PassCx { observer: if dumps.is_empty() { None } else { Some(&observe) } };
    run_pipeline(&mut func, &cx).map_err(refuse)?;
    if let Some(message) = failed.take() {
        return Err(LaunchError::Device { kernel: kernel.name, message });
    }
    if func.params.len() != kernel.params.len() {
        let message = format!(
            "the override has {} parameters and the kernel {}: keep the parameters of the dump",
            func.params.len(),
            kernel.params.len()
        );
        return Err(refuse(Diagnostic::new(kernel.source.loc(), message).into()));
    }
    Ok(func)
}

/// Specialises, optimises and compiles a kernel for the CPU.
///
/// # Errors
/// As [`tile_program`], and what the CPU target cannot do.
pub fn compile(kernel: &Kernel, schedule: &Schedule, isa: Isa) -> Result<Compiled, LaunchError> {
    let func = tile_program(kernel, schedule)?;
    let program = CpuProgram::compile(&func, isa).map_err(|diagnostics| LaunchError::Specialisation {
        kernel: kernel.name,
        schedule: schedule.clone(),
        diagnostics,
    })?;
    let program = program.with_last_level_cache(last_level_cache_bytes());
    Ok(Compiled { kernel: kernel.clone(), func, program })
}

impl Compiled {
    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The optimised IR.
    #[must_use]
    pub fn func(&self) -> &Func {
        &self.func
    }

    /// The program for the CPU.
    #[must_use]
    pub fn program(&self) -> &CpuProgram {
        &self.program
    }

    /// Runs every program instance of the grid and waits for them.
    ///
    /// # Errors
    /// If an argument does not fit its parameter, or an instance stops at an assertion.
    pub fn run(&self, device: &Device, grid: [u32; 3], args: &[Arg]) -> Result<(), LaunchError> {
        self.kernel.check_args(args)?;
        let total = grid.iter().try_fold(1usize, |n, &g| n.checked_mul(g as usize)).ok_or_else(|| {
            LaunchError::Device {
                kernel: self.kernel.name,
                message: format!("a grid of {grid:?} programs is too large"),
            }
        })?;
        let args = Shared(args);
        let stopped = AtomicBool::new(false);
        let first_error: Mutex<Option<RunError>> = Mutex::new(None);
        let log = StderrLog { kernel: self.kernel.name };
        let one = |index: usize, arena: &mut Arena| {
            let pid = program_id(index, grid);
            // SAFETY: `check_args` has compared the arguments with the parameters; their memory is borrowed by the caller for
            // the length of the launch.
            let outcome = unsafe { cpu::run(&self.program, args.get(), grid, pid, arena, &log) };
            if let Err(error) = outcome {
                stopped.store(true, Ordering::Relaxed);
                let mut first = first_error.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|known| error.pid < known.pid) {
                    *first = Some(error);
                }
            }
        };
        let body = |indices: Range<usize>| {
            let _mode = FlushDenormals::enter();
            ARENA.with_borrow_mut(|arena| {
                for index in indices {
                    if stopped.load(Ordering::Relaxed) {
                        break;
                    }
                    one(index, arena);
                }
            });
            micro::fence();
        };
        device.pool().run_shares(total, &body);
        match first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(LaunchError::Stopped { kernel: self.kernel.name, error }),
        }
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compiled({})", self.kernel.name)
    }
}

/// Arguments, shared with the worker threads.
#[derive(Clone, Copy)]
struct Shared<'a>(&'a [Arg]);

impl<'a> Shared<'a> {
    fn get(self) -> &'a [Arg] {
        self.0
    }
}

// SAFETY: the addresses inside are borrowed by the launch; that instances do not write one element twice is the kernel's
// contract, and every access goes through raw pointers.
unsafe impl Sync for Shared<'_> {}
// SAFETY: as above.
unsafe impl Send for Shared<'_> {}

/// Axis 0 runs fastest, so that neighbouring instances run at about the same time.
fn program_id(index: usize, grid: [u32; 3]) -> [u32; 3] {
    let (gx, gy) = (grid[0] as usize, grid[1] as usize);
    [(index % gx) as u32, (index / gx % gy) as u32, (index / gx / gy) as u32]
}

/// `device_print` goes to standard error, a line at a time.
struct StderrLog {
    kernel: &'static str,
}

impl DeviceLog for StderrLog {
    fn line(&self, pid: [u32; 3], text: &str) {
        // A closed standard error must not stop the kernel.
        let _ = writeln!(std::io::stderr(), "{} [{}, {}, {}] {text}", self.kernel, pid[0], pid[1], pid[2]);
    }
}
