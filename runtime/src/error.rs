//! Errors of the runtime; each names what was asked for, the numbers, and what to do.

use std::path::PathBuf;

use tilewright_codegen::target::Arch;

/// What can go wrong with a device or a buffer.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The device's name is not known.
    #[error("unknown device `{name}`: there are `cpu`, `cuda`, `cuda:N`, `sim` and `sim:ARCH`")]
    UnknownDevice {
        /// What was asked for.
        name: String,
    },
    /// Memory could not be had.
    #[error("{bytes} bytes of device memory could not be allocated: choose a smaller problem or free memory")]
    OutOfMemory {
        /// Size of the request.
        bytes: usize,
    },
    /// A view larger than its buffer.
    #[error("a view of {dims:?} needs {needed} elements at offset {offset}, but the buffer has {len}")]
    ViewTooLarge {
        /// Extents of the view.
        dims: Vec<usize>,
        /// First element.
        offset: usize,
        /// Elements that the view spans.
        needed: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// Shared host memory that does not hold whole, aligned elements.
    #[error(
        "host memory of {bytes} bytes at address {address:#x} does not hold aligned {dtype} elements of {size} bytes"
    )]
    Misaligned {
        /// Length of the memory.
        bytes: usize,
        /// Its address.
        address: usize,
        /// Element type.
        dtype: tilewright_codegen::ir::DType,
        /// Element size in bytes.
        size: usize,
    },
    /// A store into memory that was lent read-only.
    #[error(
        "this buffer lends read-only host memory and cannot be written: copy it into a buffer of its own"
    )]
    ReadOnly,
    /// A recording on a device without graphs.
    #[error("launches are recorded on GPUs only: on a CPU a launch costs no more than a replay would")]
    NoGraphs,
    /// A graph, or an upload, of one device with a stream or buffer of another.
    #[error(
        "a graph is replayed, and a buffer is filled, on the device that it was made on; this is another device"
    )]
    OtherDevice,
    /// Values that are not as many as the buffer has elements.
    #[error("{found} values do not fit a buffer of {len} elements: they must be as many")]
    Length {
        /// Number of values.
        found: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// The CUDA side.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A launch that failed after it had been started.
    #[error(transparent)]
    Launch(#[from] tilewright_codegen::error::LaunchError),
}

/// What can go wrong with NVIDIA's compiler, tools, driver or device.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CudaError {
    /// `TILEWRIGHT_NVRTC` leads nowhere.
    #[error(
        "TILEWRIGHT_NVRTC is {}, and there is no NVRTC library: name the file libnvrtc.so.N or a folder that has it, or \
         unset the variable",
        path.display()
    )]
    NvrtcVariable {
        /// Its value.
        path: PathBuf,
    },
    /// No compiler.
    #[error(
        "NVRTC, the compiler for CUDA kernels, was not found: run `cargo xtask nvrtc` in the repository, or install the \
         CUDA toolkit and set CUDA_HOME to it, or set TILEWRIGHT_NVRTC to libnvrtc.so.N or its folder (tried: {})",
        tried.join("; ")
    )]
    NvrtcMissing {
        /// Each library that was tried, and why it did not open.
        tried: Vec<String>,
    },
    /// A call of the compiler's library failed.
    #[error("NVRTC failed in {call}: {message}")]
    Nvrtc {
        /// What was called.
        call: &'static str,
        /// The library's text.
        message: String,
    },
    /// A source that does not compile.
    #[error("{name} does not compile for {arch}:\n{log}")]
    Compile {
        /// What the source is called.
        name: String,
        /// What it was compiled for.
        arch: Arch,
        /// The compiler's log.
        log: String,
    },
    /// A program of the CUDA toolkit is missing.
    #[error(
        "`{tool}` was not found: run `cargo xtask nvrtc` in the repository, or install the CUDA toolkit and set CUDA_HOME to it"
    )]
    ToolMissing {
        /// Its name.
        tool: &'static str,
    },
    /// A program of the CUDA toolkit failed.
    #[error("`{tool}` failed: {message}")]
    ToolFailed {
        /// Its name.
        tool: &'static str,
        /// Why.
        message: String,
    },
    /// No driver.
    #[error(
        "the NVIDIA driver (libcuda) was not found: install the driver of the GPU, version 525 or newer (580 for code of \
         CUDA 13); in a container, start it with access to the GPU. Everything but running on a GPU works without"
    )]
    DriverMissing,
    /// A driver of before.
    #[error(
        "the NVIDIA driver knows CUDA {}.{} and lacks {missing}: CUDA {}.{} is needed; install driver 525 or newer (580 for \
         code of CUDA 13)", version.0, version.1, oldest.0, oldest.1
    )]
    DriverTooOld {
        /// The newest CUDA that it knows.
        version: (u32, u32),
        /// The oldest that will do.
        oldest: (u32, u32),
        /// The first function that it lacks.
        missing: String,
    },
    /// A call of the driver failed.
    #[error("the driver failed in {call}: {name} ({code}): {message}")]
    Driver {
        /// What was called.
        call: &'static str,
        /// The driver's number.
        code: u32,
        /// The driver's name of it.
        name: String,
        /// The driver's text.
        message: String,
    },
    /// There is no such device.
    #[error(
        "there is no device cuda:{ordinal}: the process sees {n_devices} (CUDA_VISIBLE_DEVICES can hide some)"
    )]
    NoDevice {
        /// The number asked for.
        ordinal: u32,
        /// How many there are.
        n_devices: u32,
    },
    /// A device that no code of ours runs on.
    #[error(
        "kernels cannot be compiled for {name}, compute capability {major}.{minor}: 8.0 to 9.0, 10.0 and 12.x will do"
    )]
    Capability {
        /// The device.
        name: String,
        /// Major version.
        major: u32,
        /// Minor version.
        minor: u32,
    },
    /// Device memory ran out.
    #[error("{bytes} bytes of device memory could not be allocated: {free} of {total} bytes are free")]
    OutOfMemory {
        /// The request.
        bytes: u64,
        /// Free memory.
        free: u64,
        /// Memory of the device.
        total: u64,
    },
    /// Host memory could not be locked.
    #[error(
        "{bytes} bytes of host memory could not be pinned: ask for less, or raise the limit on locked memory"
    )]
    PinnedMemory {
        /// The request.
        bytes: usize,
    },
    /// A copy outside its memory.
    #[error("{len} bytes at offset {offset} are outside device memory of {len_bytes} bytes")]
    Range {
        /// First byte.
        offset: usize,
        /// Number of bytes.
        len: usize,
        /// Size of the memory.
        len_bytes: usize,
    },
    /// Work that cannot be recorded.
    #[error("{what} cannot be part of a captured graph: do it before or after the capture")]
    Captured {
        /// What was asked of the stream.
        what: &'static str,
    },
    /// A tensor map that breaks a rule.
    #[error(transparent)]
    BrokenMap(crate::cuda::tensor_map::TensorMapError),
    /// Bytes that are no machine code.
    #[error("{len_bytes} bytes are not a cubin: machine code is an ELF file")]
    NotACubin {
        /// Their number.
        len_bytes: usize,
    },
    /// Machine code without the function.
    #[error("the machine code has no function `{name}`: a kernel is declared `extern \"C\" __global__`")]
    NoFunction {
        /// What was looked for.
        name: String,
    },
    /// An argument that does not fit the kernel's list of parameters.
    #[error("parameter {index} of CUDA kernel `{kernel}`: {message}")]
    Argument {
        /// The kernel.
        kernel: String,
        /// Index of the parameter.
        index: usize,
        /// What does not fit.
        message: String,
    },
    /// A view that no tensor copy takes.
    #[error(
        "parameter {index} of CUDA kernel `{kernel}`: {}",
        broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    TensorMap {
        /// The kernel.
        kernel: String,
        /// Index of the parameter.
        index: usize,
        /// The rules that it breaks.
        broken: Vec<crate::cuda::tensor_map::TensorMapError>,
    },
    /// A grid that cannot be launched.
    #[error("kernel `{kernel}` cannot be launched on {grid:?} blocks: {reason}")]
    Grid {
        /// The kernel.
        kernel: String,
        /// Blocks along each axis.
        grid: [u64; 3],
        /// Which rule is broken.
        reason: String,
    },
    /// More shared memory than a block can have.
    #[error("kernel `{kernel}` needs {bytes} bytes of shared memory, and a block of this device has {limit}")]
    SharedMemory {
        /// The kernel.
        kernel: String,
        /// Static and dynamic, in bytes.
        bytes: u32,
        /// The device's limit.
        limit: u32,
    },
    /// A launch that the driver refused.
    #[error("kernel `{kernel}` was not launched: {error}")]
    Launch {
        /// The kernel.
        kernel: String,
        /// What the driver said.
        error: Box<CudaError>,
    },
}
