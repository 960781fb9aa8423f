//! The host's side: memory, modules, launches.
//!
//! A launch runs to its end before it returns. Units (clusters) run in parallel, unless the kernel talks
//! between blocks (atomics or ordered accesses on global memory): then they are resident together on one
//! thread and take turns, which makes spinning safe and the result a function of the seed.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::asyncop::AsyncOp;
use crate::error::SimError;
use crate::lower::{self, Kernel, Param};
use crate::memory::{GlobalMemory, Miss};
use crate::op::{Op, Order};
use crate::parse::{self, Init, Space, type_bytes};
use crate::report::{Finding, Report, Stats};
use crate::tensormap::{EncodeArgs, TENSOR_MAP_BYTES, TensorMap, TensorMapError};
use crate::unit::{Job, Outcome, Unit};

/// When asynchronous operations take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// At once, when they are issued.
    #[default]
    Eager,
    /// As late as a wait allows.
    Lazy,
    /// At a moment drawn from the seed.
    Random,
}

/// Whether accesses are checked for an order between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Race {
    /// No check.
    #[default]
    Off,
    /// Happens-before clocks for every thread and asynchronous operation; about four times slower.
    On,
}

/// How a launch is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Options {
    /// When asynchronous operations take effect.
    pub policy: Policy,
    /// Seed of the warp schedule; 0 is round-robin.
    pub seed: u64,
    /// Race detection.
    pub race: Race,
    /// Worker threads; `None` for as many as there are cores.
    pub threads: Option<usize>,
    /// Blocks resident together when a kernel talks between blocks.
    pub resident_blocks: usize,
    /// Warp instructions of one unit after which it counts as an endless loop.
    pub step_limit: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            policy: Policy::Eager,
            seed: 0,
            race: Race::Off,
            threads: None,
            resident_blocks: 132,
            step_limit: 1 << 32,
        }
    }
}

/// Shape of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Blocks of a cluster; `None` takes what the kernel requires, or 1, 1, 1.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory of a block, bytes.
    pub dynamic_shared_bytes: u32,
    /// How to run it.
    pub options: Options,
}

/// What the host can know of a kernel before launching it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInfo {
    /// Name.
    pub name: String,
    /// Parameters in order, with their places in the packed buffer.
    pub params: Vec<Param>,
    /// Length of the packed buffer, bytes.
    pub param_bytes: u32,
    /// Static shared memory, bytes.
    pub static_shared_bytes: u32,
    /// Local memory of a thread, bytes.
    pub local_bytes: u32,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    /// Required cluster shape.
    pub cluster: Option<[u32; 3]>,
}

/// A loaded module.
#[derive(Debug, Clone)]
pub struct Module {
    kernels: Vec<Kernel>,
    globals: HashMap<String, (u64, u64)>,
    /// `.target` of the module.
    pub target: String,
}

impl Module {
    /// The kernels, in the order of the text.
    pub fn kernels(&self) -> Vec<KernelInfo> {
        self.kernels.iter().map(info).collect()
    }

    /// One kernel.
    ///
    /// # Errors
    /// [`SimError::NoKernel`] names the kernels there are.
    pub fn kernel(&self, name: &str) -> Result<KernelInfo, SimError> {
        self.find(name).map(info)
    }

    /// Address and size in bytes of a module variable.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        self.globals.get(name).copied()
    }

    fn find(&self, name: &str) -> Result<&Kernel, SimError> {
        self.kernels.iter().find(|k| k.name == name).ok_or_else(|| {
            let known: Vec<String> = self.kernels.iter().map(|k| format!("`{}`", k.name)).collect();
            SimError::NoKernel { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

fn info(kernel: &Kernel) -> KernelInfo {
    KernelInfo {
        name: kernel.name.clone(),
        params: kernel.params.clone(),
        param_bytes: kernel.param_bytes,
        static_shared_bytes: kernel.static_shared,
        local_bytes: kernel.local_bytes,
        max_threads: kernel.max_threads,
        cluster: kernel.cluster,
    }
}

/// A simulated device.
#[derive(Debug, Default)]
pub struct Machine {
    memory: GlobalMemory,
}

impl Machine {
    /// An empty device.
    pub fn new() -> Self {
        Machine::default()
    }

    /// Allocates `bytes` bytes, filled with poison; `name` appears in findings. Aligned to 256 bytes.
    pub fn alloc(&mut self, bytes: u64, name: &str) -> u64 {
        self.memory.alloc(bytes, name, false)
    }

    /// Frees an allocation; its address is never used again.
    ///
    /// # Errors
    /// [`SimError::Memory`] when `addr` is not the start of a live allocation.
    pub fn free(&mut self, addr: u64) -> Result<(), SimError> {
        self.memory.free(addr)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`SimError::Memory`] when the range is not inside one allocation.
    pub fn write(&self, addr: u64, data: &[u8]) -> Result<(), SimError> {
        self.memory.write(addr, data).map_err(|m| host_error("copy in", addr, data.len(), m))
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`SimError::Memory`] when the range is not inside one allocation.
    pub fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), SimError> {
        let bytes = out.len();
        self.memory.read(addr, out).map_err(|m| host_error("copy out", addr, bytes, m))
    }

    /// Encodes a tensor map, with the arguments and the rules of `cuTensorMapEncodeTiled`; kernels take its
    /// bytes as a parameter of 128 bytes.
    ///
    /// # Errors
    /// A rule is broken; the error names it and the numbers.
    pub fn encode_tensor_map(&self, args: &EncodeArgs<'_>) -> Result<[u8; TENSOR_MAP_BYTES], TensorMapError> {
        TensorMap::encode(args).map(|map| map.to_bytes())
    }

    /// Loads a module: parses it, places its variables, lowers every kernel.
    ///
    /// # Errors
    /// The text does not parse, or a kernel uses a form the machine does not know.
    pub fn load(&mut self, ptx: &str) -> Result<Module, SimError> {
        let tree = parse::parse(ptx)?;
        let mut places = HashMap::new();
        let mut globals = HashMap::new();
        for var in tree.vars.iter().filter(|v| matches!(v.space, Space::Global | Space::Const)) {
            if var.is_extern {
                continue;
            }
            if var.bytes > 1 << 32 {
                let message =
                    format!("the variable `{}` has {} bytes; 4 GiB is the most", var.name, var.bytes);
                return Err(SimError::Parse { line: 0, message });
            }
            let is_const = var.space == Space::Const;
            let addr = self.memory.alloc(var.bytes, &var.name, is_const);
            places.insert(var.name.clone(), (var.space, addr));
            globals.insert(var.name.clone(), (addr, var.bytes));
        }
        for var in &tree.vars {
            let Some(&(addr, bytes)) = globals.get(&var.name) else { continue };
            self.write(addr, &vec![0; bytes as usize])?;
            let element = type_bytes(&var.ty).unwrap_or(1) as usize;
            for (i, init) in var.init.iter().enumerate() {
                let bits = match init {
                    Init::Bits(bits) => *bits,
                    Init::Address(name, offset) => {
                        globals.get(name).map_or(0, |g| g.0).wrapping_add(*offset as u64)
                    }
                };
                self.write(addr + (i * element) as u64, &bits.to_le_bytes()[..element])?;
            }
        }
        let kernels = tree
            .functions
            .iter()
            .filter(|f| f.is_entry)
            .map(|f| lower::lower(&tree, f, &places))
            .collect::<Result<_, _>>()?;
        Ok(Module { kernels, globals, target: tree.target })
    }

    /// Runs a kernel to its end. `params` is the packed parameter buffer ([`KernelInfo::params`]).
    ///
    /// # Errors
    /// The kernel is unknown or the shape cannot run; what the kernel does wrong is in the report.
    pub fn launch(
        &self,
        module: &Module,
        kernel: &str,
        shape: &Launch,
        params: &[u8],
    ) -> Result<Report, SimError> {
        let kernel = module.find(kernel)?;
        let cluster = shape.cluster.or(kernel.cluster).unwrap_or([1; 3]);
        check(kernel, shape, cluster, params)?;
        let global_race = Mutex::default();
        let job = Job {
            kernel,
            global: &self.memory,
            params,
            grid: shape.grid,
            block: shape.block,
            cluster,
            dynamic_bytes: shape.dynamic_shared_bytes,
            options: &shape.options,
            global_race: &global_race,
        };
        let n_units = (0..3).map(|a| u64::from(shape.grid[a] / cluster[a])).product();
        let (mut findings, stats) = if talks_between_blocks(kernel) || shape.options.race == Race::On {
            together(job, n_units)
        } else {
            apart(job, n_units)
        };
        findings.sort_by_key(|(unit, _)| *unit);
        let findings = merge(findings.into_iter().map(|(_, f)| f));
        Ok(Report { kernel: kernel.name.clone(), seed: shape.options.seed, findings, stats })
    }
}

fn host_error(action: &'static str, addr: u64, bytes: usize, miss: Miss) -> SimError {
    SimError::Memory { action, addr, bytes: bytes as u64, message: miss.0 }
}

/// Whether blocks can see each other's progress.
fn talks_between_blocks(kernel: &Kernel) -> bool {
    let is_global = |space: Space| matches!(space, Space::Global | Space::Generic);
    kernel.code.iter().any(|inst| {
        if let Op::Atomic(a) = &inst.op {
            return is_global(a.space);
        }
        if let Op::Load(a) | Op::Store(a) = &inst.op {
            return is_global(a.space) && a.order != Order::Weak;
        }
        matches!(&inst.op, Op::Async(op) if matches!(&**op, AsyncOp::Bulk(b) if b.reduce.is_some()))
    })
}

fn check(kernel: &Kernel, shape: &Launch, cluster: [u32; 3], params: &[u8]) -> Result<(), SimError> {
    let fail = |message: String| Err(SimError::Launch { kernel: kernel.name.clone(), message });
    let threads: u64 = shape.block.iter().map(|&d| u64::from(d)).product();
    if threads == 0 || threads > 1024 {
        return fail(format!("a block of {:?} has {threads} threads; 1 to 1024 are possible", shape.block));
    }
    if shape.grid.contains(&0) {
        return fail(format!("a grid of {:?} has no blocks", shape.grid));
    }
    if let Some(max) = kernel.max_threads
        && threads > max.iter().map(|&d| u64::from(d)).product()
    {
        return fail(format!("{threads} threads, but it was compiled for at most {max:?}"));
    }
    if cluster.contains(&0) || (0..3).any(|a| !shape.grid[a].is_multiple_of(cluster[a])) {
        return fail(format!("clusters of {cluster:?} do not divide the grid {:?}", shape.grid));
    }
    let size: u64 = cluster.iter().map(|&c| u64::from(c)).product();
    if size > 16 {
        return fail(format!("clusters of {size} blocks; 16 is the most"));
    }
    if params.len() < kernel.param_bytes as usize {
        return fail(format!("{} bytes of parameters, it takes {}", params.len(), kernel.param_bytes));
    }
    let shared = u64::from(kernel.static_shared) + u64::from(shape.dynamic_shared_bytes);
    if shared > 227 * 1024 {
        return fail(format!("{shared} bytes of shared memory; a block has {} at most", 227 * 1024));
    }
    Ok(())
}

type Found = Vec<(u64, Finding)>;

/// Units one after another on each of several threads.
fn apart(job: Job<'_>, n_units: u64) -> (Found, Stats) {
    let next = AtomicU64::new(0);
    let out = Mutex::new((Found::new(), Stats::default()));
    let worker = || {
        let mut unit = Unit::new(job);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= n_units {
                break;
            }
            unit.load(index);
            while unit.run(u32::MAX) == Outcome::Unfinished {}
            if !unit.findings.is_empty() {
                let mut out = out.lock().unwrap_or_else(|e| e.into_inner());
                out.0.extend(unit.findings.drain(..).map(|f| (index, f)));
                // Enough is known; the rest of the grid would say the same.
                if out.0.len() > 256 {
                    next.store(n_units, Ordering::Relaxed);
                }
            }
        }
        let mut out = out.lock().unwrap_or_else(|e| e.into_inner());
        out.1 = sum(out.1, unit.stats);
    };
    let n = job.options.threads.unwrap_or_else(rayon::current_num_threads).min(n_units as usize).max(1);
    if n == 1 {
        worker();
    } else {
        rayon::scope(|s| (0..n).for_each(|_| s.spawn(|_| worker())));
    }
    out.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// Units resident together, taking turns on one thread.
fn together(job: Job<'_>, n_units: u64) -> (Found, Stats) {
    const TURN: u32 = 64;
    let per_unit: usize = job.cluster.iter().product::<u32>() as usize;
    let resident = (job.options.resident_blocks / per_unit).max(1);
    let mut next = 0;
    let mut running: VecDeque<(u64, Unit<'_>)> = VecDeque::new();
    let mut spare: Vec<Unit<'_>> = Vec::new();
    let mut found = Found::new();
    let mut stats = Stats::default();
    loop {
        // A new unit starts only when those before it had their turn.
        if next < n_units && running.len() < resident {
            let mut unit = spare.pop().unwrap_or_else(|| Unit::new(job));
            unit.load(next);
            running.push_front((next, unit));
            next += 1;
        }
        let Some((index, mut unit)) = running.pop_front() else { break };
        if unit.run(TURN) == Outcome::Unfinished {
            running.push_back((index, unit));
            continue;
        }
        found.extend(unit.findings.drain(..).map(|f| (index, f)));
        let is_over = unit.is_over;
        spare.push(unit);
        if is_over {
            // The others might wait for this one for ever.
            for (index, mut unit) in running.drain(..) {
                found.extend(unit.findings.drain(..).map(|f| (index, f)));
                spare.push(unit);
            }
            break;
        }
    }
    for unit in spare {
        stats = sum(stats, unit.stats);
    }
    (found, stats)
}

fn sum(a: Stats, b: Stats) -> Stats {
    Stats {
        blocks: a.blocks + b.blocks,
        warp_instructions: a.warp_instructions + b.warp_instructions,
        thread_instructions: a.thread_instructions + b.thread_instructions,
    }
}

/// One finding per kind and line, the first block's, with all occurrences.
fn merge(findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for finding in findings {
        match out.iter_mut().find(|f| f.kind == finding.kind && f.ptx_line == finding.ptx_line) {
            Some(same) => same.occurrences += finding.occurrences,
            None => out.push(finding),
        }
    }
    out
}
