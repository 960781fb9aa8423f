//! NVRTC, NVIDIA's run-time compiler: CUDA C to machine code and PTX, with the compiler's own account of resources.
//!
//! The library is opened by absolute path, so it need not be on the loader's path, and stays open: it holds state of the
//! whole process. Every compilation has a program of its own, and compilations run side by side on any number of threads.
//! Only functions that CUDA 12.0 has are used.

#![allow(unsafe_code, reason = "calls a C library")]

use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::Library;
use tilewright_codegen::cuda::artifact::MathFlags;
use tilewright_codegen::target::Arch;

use crate::cuda::report::ResourceReport;
use crate::cuda::toolkit::{Origin, Search, headers_of};
use crate::error::CudaError;

/// The opaque program of the library.
type Program = *mut std::ffi::c_void;
/// The library's result; 0 is success.
type Status = c_int;

/// Compilation failed because of the source; the log says why.
const ERROR_COMPILATION: Status = 6;
/// The library of built-in functions was not found.
const ERROR_BUILTINS: Status = 7;

/// An open NVRTC.
pub struct Nvrtc {
    calls: Calls,
    version: (u32, u32),
    path: PathBuf,
    origin: Origin,
    headers: Option<PathBuf>,
    // Open as long as the functions above may be called.
    _library: Library,
    _builtins: Option<Library>,
}

/// The functions of the library that we call.
struct Calls {
    error_string: unsafe extern "C" fn(Status) -> *const c_char,
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Status,
    destroy: unsafe extern "C" fn(*mut Program) -> Status,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> Status,
    log: unsafe extern "C" fn(Program, *mut c_char) -> Status,
}

/// How to compile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompileOptions {
    /// What the compiler calls the source in its messages.
    pub name: String,
    /// How floating-point arithmetic may be compiled.
    pub math: MathFlags,
    /// Source lines for profilers and for errors of the device; the code stays the same.
    pub line_info: LineInfo,
    /// Macros, as (name, value).
    pub defines: Vec<(String, String)>,
    /// Further options as they are.
    pub extra: Vec<String>,
}

/// Whether machine code says which source line it is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineInfo {
    /// It does not.
    Omit,
    /// It does; the cubin is several times as large.
    Keep,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            name: "kernel.cu".to_owned(),
            math: MathFlags::IEEE,
            line_info: LineInfo::Omit,
            defines: Vec::new(),
            extra: Vec::new(),
        }
    }
}

impl CompileOptions {
    /// The compiler's options, but for the folders of headers. Equal options and equal source give equal machine code.
    #[must_use]
    pub fn arguments(&self, arch: Arch) -> Vec<String> {
        let math = &self.math;
        let mut all = vec![
            format!("--gpu-architecture={arch}"),
            "--std=c++17".to_owned(),
            "--ptxas-options=-v".to_owned(),
            format!("--ftz={}", math.flush_denormals),
            format!("--prec-div={}", !math.approximate_division),
            format!("--prec-sqrt={}", !math.approximate_sqrt),
            format!("--fmad={}", math.contract),
        ];
        if self.line_info == LineInfo::Keep {
            all.push("--generate-line-info".to_owned());
        }
        all.extend(self.defines.iter().map(|(name, value)| format!("--define-macro={name}={value}")));
        all.extend(self.extra.iter().cloned());
        all
    }
}

/// A compiled program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompiledCuda {
    /// Machine code for the architecture, as an ELF file.
    pub cubin: Vec<u8>,
    /// The PTX that it was assembled from.
    pub ptx: String,
    /// Everything the compiler said.
    pub log: String,
    /// Resources of its kernels.
    pub report: ResourceReport,
}

/// Compiles with the NVRTC of this machine.
///
/// # Errors
/// [`CudaError::NvrtcMissing`] where there is none; else as [`Nvrtc::compile`].
pub fn compile(source: &str, arch: Arch, options: &CompileOptions) -> Result<CompiledCuda, CudaError> {
    Nvrtc::get()?.compile(source, arch, options)
}

impl Nvrtc {
    /// The NVRTC of this machine, opened by the first call; the places are those of [`Search`].
    ///
    /// # Errors
    /// [`CudaError::NvrtcMissing`] or [`CudaError::NvrtcVariable`], with what to do.
    pub fn get() -> Result<&'static Self, CudaError> {
        static FOUND: OnceLock<Result<Nvrtc, CudaError>> = OnceLock::new();
        FOUND.get_or_init(|| Self::find(&Search::from_env())).as_ref().map_err(Clone::clone)
    }

    /// The first NVRTC of a search that opens.
    ///
    /// # Errors
    /// As [`Nvrtc::get`].
    pub fn find(search: &Search) -> Result<Self, CudaError> {
        let mut tried = Vec::new();
        for (path, origin) in search.libraries()? {
            match Self::open(&path, origin) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(reason) => tried.push(format!("{}: {reason}", path.display())),
            }
        }
        Err(CudaError::NvrtcMissing { tried })
    }

    /// Opens a library; the error is a sentence.
    fn open(path: &Path, origin: Origin) -> Result<Self, String> {
        // SAFETY: NVIDIA's library; loading it runs its initialisers only.
        let library = unsafe { Library::new(path) }.map_err(|e| e.to_string())?;
        let builtins = open_builtins(path);
        // SAFETY: the types are those of nvrtc.h, unchanged since CUDA 11.1.
        let calls = unsafe { Calls::load(&library) }.map_err(|e| e.to_string())?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: two places for integers.
        let status = unsafe { (calls.version)(&raw mut major, &raw mut minor) };
        if status != 0 {
            return Err(format!("its version cannot be had (status {status})"));
        }
        let headers = headers_of(path);
        let version = (major.unsigned_abs(), minor.unsigned_abs());
        Ok(Self {
            calls,
            version,
            path: path.to_owned(),
            origin,
            headers,
            _library: library,
            _builtins: builtins,
        })
    }

    /// Version of CUDA that the compiler belongs to, as (major, minor).
    #[must_use]
    pub const fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The library's file, or its name where the system's loader found it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it was found.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The folder of CUDA headers (`cuda_fp16.h` and the like), where there is one. Generated code needs none.
    #[must_use]
    pub fn headers(&self) -> Option<&Path> {
        self.headers.as_deref()
    }

    /// Compiles a source for an architecture.
    ///
    /// # Errors
    /// [`CudaError::Compile`] with the compiler's log when it does not take the source or an option.
    pub fn compile(
        &self,
        source: &str,
        arch: Arch,
        options: &CompileOptions,
    ) -> Result<CompiledCuda, CudaError> {
        let refuse = |log: String| CudaError::Compile { name: options.name.clone(), arch, log };
        let text = |text: &str| CString::new(text).map_err(|_| refuse("the text has a zero byte".to_owned()));
        let (source, name) = (text(source)?, text(&options.name)?);
        let mut arguments = options.arguments(arch);
        arguments.extend(self.headers.iter().map(|folder| format!("--include-path={}", folder.display())));
        let arguments = arguments.iter().map(|a| text(a)).collect::<Result<Vec<_>, _>>()?;
        let pointers: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();

        let program = self.create(&source, &name)?;
        // SAFETY: the program is ours alone, and the options live until the call returns.
        let status =
            unsafe { (self.calls.compile)(program.handle, pointers.len() as c_int, pointers.as_ptr()) };
        let log = program.bytes(self.calls.log_size, self.calls.log).map(into_text)?;
        match status {
            0 => {}
            ERROR_COMPILATION => return Err(refuse(log)),
            ERROR_BUILTINS => {
                let path = self.path.display();
                return Err(refuse(format!(
                    "{log}the library of built-in functions, libnvrtc-builtins, is missing beside {path}"
                )));
            }
            other => return Err(refuse(format!("{log}{}", self.describe(other)))),
        }
        let cubin = program.bytes(self.calls.cubin_size, self.calls.cubin)?;
        let ptx = program.bytes(self.calls.ptx_size, self.calls.ptx).map(into_text)?;
        let report = ResourceReport::parse(arch, &log);
        Ok(CompiledCuda { cubin, ptx, log, report })
    }

    fn create(&self, source: &CStr, name: &CStr) -> Result<OwnedProgram<'_>, CudaError> {
        let mut handle: Program = ptr::null_mut();
        // SAFETY: both texts live until the call returns, which copies them; there are no headers in memory.
        let status = unsafe {
            (self.calls.create)(&raw mut handle, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null())
        };
        self.check("nvrtcCreateProgram", status)?;
        Ok(OwnedProgram { nvrtc: self, handle })
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        if status == 0 { Ok(()) } else { Err(CudaError::Nvrtc { call, message: self.describe(status) }) }
    }

    fn describe(&self, status: Status) -> String {
        // SAFETY: the library returns a text of its own for every number.
        let text = unsafe { CStr::from_ptr((self.calls.error_string)(status)) };
        format!("{} (status {status})", text.to_string_lossy())
    }
}

impl fmt::Debug for Nvrtc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nvrtc {}.{} at {}", self.version.0, self.version.1, self.path.display())
    }
}

impl Calls {
    /// # Safety
    /// The library must be NVRTC.
    unsafe fn load(library: &Library) -> Result<Self, libloading::Error> {
        macro_rules! load {
            ($($field:ident: $name:literal),* $(,)?) => {
                // SAFETY: by the caller, the names belong to functions of the fields' types.
                Ok(Self { $($field: *unsafe { library.get($name) }?,)* })
            };
        }
        load! {
            error_string: b"nvrtcGetErrorString\0",
            version: b"nvrtcVersion\0",
            create: b"nvrtcCreateProgram\0",
            destroy: b"nvrtcDestroyProgram\0",
            compile: b"nvrtcCompileProgram\0",
            cubin_size: b"nvrtcGetCUBINSize\0",
            cubin: b"nvrtcGetCUBIN\0",
            ptx_size: b"nvrtcGetPTXSize\0",
            ptx: b"nvrtcGetPTX\0",
            log_size: b"nvrtcGetProgramLogSize\0",
            log: b"nvrtcGetProgramLog\0",
        }
    }
}

/// A program that is destroyed when dropped.
struct OwnedProgram<'a> {
    nvrtc: &'a Nvrtc,
    handle: Program,
}

impl OwnedProgram<'_> {
    /// One of the program's outputs.
    fn bytes(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> Status,
        read: unsafe extern "C" fn(Program, *mut c_char) -> Status,
    ) -> Result<Vec<u8>, CudaError> {
        let mut len = 0;
        // SAFETY: the program lives.
        self.nvrtc.check("the size of an output", unsafe { size(self.handle, &raw mut len) })?;
        let mut bytes = vec![0u8; len];
        // SAFETY: the program lives, and there is room for what it said.
        self.nvrtc.check("an output", unsafe { read(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for OwnedProgram<'_> {
    fn drop(&mut self) {
        // SAFETY: created by us, used by nobody else, destroyed once.
        unsafe { (self.nvrtc.calls.destroy)(&raw mut self.handle) };
    }
}

/// Some releases do not find their own built-in functions unless these are loaded already.
fn open_builtins(nvrtc: &Path) -> Option<Library> {
    let files = std::fs::read_dir(nvrtc.parent()?).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_builtins =
        |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with("libnvrtc-builtins.so."));
    let file = files.filter(|file| file.file_name().is_some_and(is_builtins)).max()?;
    // SAFETY: NVIDIA's library; loading it runs its initialisers only.
    unsafe { Library::new(file) }.ok()
}

/// A text without the zero byte that ends it.
fn into_text(mut bytes: Vec<u8>) -> String {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
