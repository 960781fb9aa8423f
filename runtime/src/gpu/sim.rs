//! The simulated GPU: the PTX of every kernel executed on the CPU, with its accesses checked.
//!
//! Buffers of a simulated device lie in host memory (see `sim_memory`). A launch copies what its views reach to memory of the machine,
//! runs, and copies what is mutable back; views that share memory share it there too. Bounds are therefore those of the views themselves:
//! one element beyond a view is a finding, whatever lies behind it on the host.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tilewright_codegen::cuda::artifact::TensorMapRule;
use tilewright_codegen::error::LaunchError;
use tilewright_codegen::kernel::Launch;
use tilewright_codegen::launch::{Arg, ViewArg};
use tilewright_codegen::target::Arch;
use tilewright_sim::{Machine, Module};
pub use tilewright_sim::{Options, Policy, Race};

use crate::cuda::packing::{EncodedMap, MapEncoder, MapFailure, Packed, blocks, pack};
use crate::error::CudaError;
use crate::gpu::cuda::{STATUS_WORDS, failed_assertion, not_on_device};
use crate::gpu::facts;
use crate::gpu::sim_graph::{Recorded, Recorder};
use crate::gpu::sim_hook::SimHook;
use crate::gpu::sim_memory::{SimHeap, SimMemory};
use crate::gpu::variant::Variant;

/// Multiprocessors of the simulated device: those of an H200.
pub(crate) const N_SMS: u32 = 132;

/// SMs that persistent launches are spread over: few, so that each block walks over several programs of a small problem.
const N_PERSISTENT_SMS: u32 = 4;

/// A simulated GPU of one architecture.
pub struct SimDevice {
    arch: Arch,
    options: Options,
    hook: Option<Arc<dyn SimHook>>,
    machine: Mutex<Machine>,
    variants: Mutex<HashMap<u64, Arc<Loaded>>>,
    heap: SimHeap,
    recorder: Recorder,
}

/// A variant that can run.
pub(crate) struct Loaded {
    variant: Variant,
    module: Module,
}

#[allow(unsafe_code, reason = "copies checked ranges of memory that only copies and launches reach")]
impl SimDevice {
    /// A device of an architecture, which runs its launches under `options`.
    #[must_use]
    pub fn new(arch: Arch, options: Options) -> Self {
        Self {
            arch,
            options,
            hook: None,
            machine: Mutex::new(Machine::new()),
            variants: Mutex::default(),
            heap: SimHeap::default(),
            recorder: Recorder::default(),
        }
    }

    /// A device of an architecture whose launches a hook sees and may change.
    #[must_use]
    pub fn hooked(arch: Arch, hook: Arc<dyn SimHook>) -> Self {
        Self { hook: Some(hook), ..Self::new(arch, Options::default()) }
    }

    /// Its architecture.
    #[must_use]
    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// Its memory.
    pub(crate) const fn heap(&self) -> &SimHeap {
        &self.heap
    }

    /// What it is told while launches are recorded.
    pub(crate) const fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Copies host bytes to memory from byte `offset`, which has room for them.
    pub(crate) fn copy_in(&self, from: &[u8], to: &SimMemory, offset: usize) -> Result<(), CudaError> {
        self.recorder.refuse("a copy from the host")?;
        let _alone = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the caller has checked the range; whoever else copies or launches waits for the lock.
        unsafe { to.ptr().as_ptr().add(offset).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies memory from byte `offset` to host bytes, for which it is long enough.
    pub(crate) fn copy_out(&self, from: &SimMemory, offset: usize, to: &mut [u8]) -> Result<(), CudaError> {
        self.recorder.refuse("a copy to the host")?;
        let _alone = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: as in `copy_in`.
        unsafe { from.ptr().as_ptr().add(offset).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// Runs every program instance of the grid, or records the launch while launches are recorded.
    ///
    /// # Errors
    /// If the kernel cannot be generated or compiled, an argument does not fit, an assertion fails, or the run has findings: the
    /// message has each of them. A launch that is recorded must have its views in memory of the device.
    pub fn launch(&self, launch: &Launch<'_>) -> Result<(), LaunchError> {
        let loaded = self.loaded(launch)?;
        loaded.variant.kernel.check_args(launch.args)?;
        if !self.recorder.is_on() {
            return self.run(&loaded, launch.grid, launch.args);
        }
        let places = Places::of(launch.args);
        let memory = places.0.iter().map(|place| {
            self.heap.find(place.start, place.end).ok_or_else(|| LaunchError::Device {
                kernel: launch.name,
                message: not_on_device(&place.name(&loaded.variant.kernel)),
            })
        });
        let memory = memory.collect::<Result<_, _>>()?;
        let launch = Recorded { loaded, grid: launch.grid, args: launch.args.to_vec(), _memory: memory };
        match self.recorder.add(launch) {
            None => Ok(()),
            // The recording has just ended, on another thread.
            Some(Recorded { loaded, grid, args, .. }) => self.run(&loaded, grid, &args),
        }
    }

    /// Runs a launch whose arguments have been checked.
    pub(crate) fn run(&self, loaded: &Loaded, grid: [u32; 3], args: &[Arg]) -> Result<(), LaunchError> {
        let Loaded { variant, module } = loaded;
        let kernel = &variant.generated.kernel;
        let name = variant.kernel.name;
        let device = |message: String| LaunchError::Device { kernel: name, message };
        let programs = grid;
        let grid = blocks(kernel, programs, N_PERSISTENT_SMS).map_err(|e| device(e.to_string()))?;
        if grid.contains(&0) {
            return Ok(());
        }
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = Places::of(args);
        for place in &mut places.0 {
            place.address = machine.alloc((place.end - place.start) as u64, &place.name(&variant.kernel));
            machine.write(place.address, place.bytes()).map_err(|e| device(e.to_string()))?;
        }
        let status = machine.alloc(8 * STATUS_WORDS as u64, "status");
        machine.write(status, &[0; 8 * STATUS_WORDS]).map_err(|e| device(e.to_string()))?;
        let args: Vec<Arg> = args.iter().map(|a| places.moved(a)).collect();
        let mut packed = Packed::default();
        pack(kernel, &args, programs, &mut SimMaps { status }, &mut packed)
            .map_err(|e| device(e.to_string()))?;
        let info = module.kernel(&kernel.entry).map_err(|e| device(e.to_string()))?;
        let mut params = vec![0; info.param_bytes as usize];
        for (i, p) in info.params.iter().enumerate() {
            let bytes = packed.param(i).unwrap_or_default();
            let at = p.offset as usize;
            params
                .get_mut(at..at + bytes.len())
                .ok_or_else(|| device(format!("parameter {i} does not fit what the code declares")))?
                .copy_from_slice(bytes);
        }
        let shape = tilewright_sim::Launch {
            grid,
            block: [kernel.block_threads, 1, 1],
            cluster: (kernel.cluster != [1; 3]).then_some(kernel.cluster),
            dynamic_shared_bytes: kernel.dynamic_shared_bytes,
            options: self.hook.as_ref().map_or_else(|| self.options.clone(), |hook| hook.options()),
        };
        let report = machine
            .launch(module, &kernel.entry, &shape, &params)
            .map_err(|e| device(format!("the simulated launch failed: {e}")))?;
        if let Some(hook) = &self.hook {
            hook.reported(&report);
        }
        for place in &places.0 {
            let mut bytes = vec![0; place.end - place.start];
            machine.read(place.address, &mut bytes).map_err(|e| device(e.to_string()))?;
            if place.mutable {
                place.write_back(&bytes);
            }
            machine.free(place.address).map_err(|e| device(e.to_string()))?;
        }
        let mut words = [0; 8 * STATUS_WORDS];
        machine.read(status, &mut words).map_err(|e| device(e.to_string()))?;
        machine.free(status).map_err(|e| device(e.to_string()))?;
        drop(machine);
        if let Some(error) = failed_assertion(&variant.generated.assertions, &words) {
            return Err(LaunchError::Stopped { kernel: name, error });
        }
        if report.is_clean() { Ok(()) } else { Err(device(report.to_string())) }
    }

    fn loaded(&self, launch: &Launch<'_>) -> Result<Arc<Loaded>, LaunchError> {
        let key = launch.key ^ facts::hash(launch.args);
        if let Some(known) = self.variants.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(known));
        }
        let kernel = (launch.kernel)();
        let args: Vec<_> = launch.args.iter().map(facts::of).collect();
        let variant = Variant::new(&kernel, launch.schedule, self.arch, &args)?;
        let device = |message: String| LaunchError::Device { kernel: kernel.name, message };
        let ptx = match &self.hook {
            Some(hook) => Cow::Owned(hook.ptx(kernel.name, &variant.compiled.ptx).map_err(device)?),
            None => Cow::Borrowed(&variant.compiled.ptx[..]),
        };
        let module = {
            let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.load(&ptx).map_err(|e| device(format!("the PTX cannot be simulated: {e}")))?
        };
        let loaded = Arc::new(Loaded { variant, module });
        let mut all = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(all.entry(key).or_insert(loaded)))
    }
}

impl std::fmt::Debug for SimDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDevice({})", self.arch)
    }
}

/// A stretch of host memory that arguments reach.
struct Place {
    start: usize,
    end: usize,
    /// A pointer into it, which carries the right to it.
    base: *mut u8,
    mutable: bool,
    /// The first argument that reaches it.
    arg: usize,
    /// Where it lies on the machine.
    address: u64,
}

/// Stretches that do not meet.
struct Places(Vec<Place>);

#[allow(unsafe_code, reason = "copies what checked views reach between host memory and the machine")]
impl Places {
    fn of(args: &[Arg]) -> Self {
        let mut all: Vec<Place> = args.iter().enumerate().filter_map(|(i, a)| Place::of(i, a)).collect();
        all.sort_by_key(|p| p.start);
        let mut merged: Vec<Place> = Vec::new();
        for p in all {
            match merged.last_mut() {
                Some(last) if p.start < last.end => {
                    last.end = last.end.max(p.end);
                    last.mutable |= p.mutable;
                }
                Some(_) | None => merged.push(p),
            }
        }
        Self(merged)
    }

    /// The argument with its address on the machine.
    fn moved(&self, arg: &Arg) -> Arg {
        let Arg::View(view) = arg else { return *arg };
        let at = view.ptr.addr();
        let address = self
            .0
            .iter()
            .find(|p| (p.start..p.end).contains(&at))
            .map_or(0, |p| p.address + (at - p.start) as u64);
        Arg::View(ViewArg { ptr: std::ptr::with_exposed_provenance_mut(address as usize), ..*view })
    }
}

#[allow(unsafe_code, reason = "copies what checked views reach between host memory and the machine")]
impl Place {
    fn of(arg: usize, a: &Arg) -> Option<Self> {
        let Arg::View(view) = a else { return None };
        let rank = usize::from(view.rank);
        let dims = &view.dims[..rank];
        if dims.contains(&0) {
            return None;
        }
        let bytes = view.dtype.size_bytes() as i64;
        let reach = |sign: fn(i64) -> i64| -> i64 {
            dims.iter().zip(&view.strides).map(|(&n, &s)| (n - 1) * sign(s)).sum::<i64>() * bytes
        };
        let (below, above) = (reach(|s| s.min(0)), reach(|s| s.max(0)));
        let at = view.ptr.addr();
        let start = at.wrapping_add_signed(below as isize);
        let base = view.ptr.wrapping_byte_offset(below as isize);
        let end = at.wrapping_add_signed((above + bytes) as isize);
        Some(Self { start, end, base, mutable: view.mutable, arg, address: 0 })
    }

    fn name(&self, kernel: &tilewright_codegen::kernel::Kernel) -> String {
        kernel.params.get(self.arg).map_or_else(|| "argument".to_owned(), |p| p.name.to_owned())
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the views were checked against their arguments, whose memory the caller borrows for the launch; each byte
        // between the first and the last element of a view belongs to the buffer that it is of.
        unsafe { std::slice::from_raw_parts(self.base, self.end - self.start) }
    }

    fn write_back(&self, bytes: &[u8]) {
        // SAFETY: as above; a mutable view is the only one to its memory, and bytes that no element of it covers come back as they
        // went.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base, bytes.len()) };
    }
}

/// Encodes tensor maps as the machine reads them.
struct SimMaps {
    status: u64,
}

impl MapEncoder for SimMaps {
    fn encode(
        &mut self,
        _index: usize,
        view: &ViewArg,
        rule: &TensorMapRule,
    ) -> Result<EncodedMap, MapFailure> {
        crate::gpu::sim_maps::encode(view, rule)
    }

    fn status(&mut self) -> u64 {
        self.status
    }
}
