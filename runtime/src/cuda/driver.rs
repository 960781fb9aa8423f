//! The CUDA driver, opened at run time through cudarc's declarations of it.
//!
//! cudarc opens the library and looks functions up on first use, and panics where one is missing. So [`Driver::get`] comes
//! first: it looks for the library and for every function that we call, and what is missing is an error. Nothing else in
//! the runtime reaches the driver without a [`Driver`] or something made from one.

#![allow(unsafe_code, reason = "calls the driver")]

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use cudarc::driver::sys::{self, CUresult};

use crate::error::CudaError;

/// The oldest CUDA that the driver must know: tensor maps came with it.
const OLDEST: (u32, u32) = (12, 0);

/// Every function that the runtime calls.
const FUNCTIONS: [&str; 51] = [
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuInit",
    "cuLaunchKernelEx",
    "cuMemAllocAsync",
    "cuMemAlloc_v2",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemPoolSetAttribute",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor",
    "cuOccupancyMaxActiveClusters",
    "cuPointerGetAttribute",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuTensorMapEncodeTiled",
];

/// An initialised driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Driver {
    version: (u32, u32),
    n_devices: u32,
}

impl Driver {
    /// The driver of this machine, opened by the first call.
    ///
    /// # Errors
    /// [`CudaError::DriverMissing`], [`CudaError::DriverTooOld`], or what the driver says when it does not start.
    pub fn get() -> Result<Self, CudaError> {
        static FOUND: OnceLock<Result<Driver, CudaError>> = OnceLock::new();
        FOUND.get_or_init(Self::open).clone()
    }

    fn open() -> Result<Self, CudaError> {
        // SAFETY: loading NVIDIA's library runs its initialisers only.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::DriverMissing);
        }
        // SAFETY: as above, and the library is there.
        let library = unsafe { sys::culib() };
        let has = |name: &str| {
            // SAFETY: the address is looked up and not called.
            unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_ok()
        };
        if !has("cuDriverGetVersion") || !has("cuGetErrorName") || !has("cuGetErrorString") {
            return Err(CudaError::DriverMissing);
        }
        let mut version: c_int = 0;
        // SAFETY: a place for an integer; the one call that needs no initialisation.
        check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
        let version = (version.unsigned_abs() / 1000, version.unsigned_abs() % 1000 / 10);
        let absent = FUNCTIONS.into_iter().find(|name| !has(name));
        if version < OLDEST || absent.is_some() {
            let missing = absent.unwrap_or("nothing").to_owned();
            return Err(CudaError::DriverTooOld { version, oldest: OLDEST, missing });
        }
        // SAFETY: no arguments but reserved flags.
        check("cuInit", unsafe { sys::cuInit(0) })?;
        let mut n_devices: c_int = 0;
        // SAFETY: a place for an integer.
        check("cuDeviceGetCount", unsafe { sys::cuDeviceGetCount(&raw mut n_devices) })?;
        Ok(Self { version, n_devices: n_devices.unsigned_abs() })
    }

    /// The newest CUDA that it knows, as (major, minor).
    #[must_use]
    pub const fn version(self) -> (u32, u32) {
        self.version
    }

    /// Number of devices that the process may see.
    #[must_use]
    pub const fn n_devices(self) -> u32 {
        self.n_devices
    }
}

/// The driver's answer to a call as a result.
pub(crate) fn check(call: &'static str, result: CUresult) -> Result<(), CudaError> {
    if result == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let text = |get: unsafe fn(CUresult, *mut *const c_char) -> CUresult| {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the driver gives a text of its own, or leaves the pointer null.
        unsafe {
            if get(result, &raw mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
                return "unknown".to_owned();
            }
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    let (name, message) = (text(sys::cuGetErrorName), text(sys::cuGetErrorString));
    Err(CudaError::Driver { call, code: result as u32, name, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_listed_once() {
        let mut sorted = FUNCTIONS;
        sorted.sort_unstable();
        assert_eq!(sorted, FUNCTIONS);
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0] != pair[1]));
        // What the sources call, and nothing else.
        let mut called = std::collections::BTreeSet::new();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda");
        for file in std::fs::read_dir(folder).expect("the folder of the sources").flatten() {
            if file.path().extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(file.path()).expect("a source");
            for part in text.split("sys::cu").skip(1) {
                let name: String =
                    part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if name.starts_with(char::is_uppercase) {
                    called.insert(format!("cu{name}"));
                }
            }
        }
        assert_eq!(called.iter().map(String::as_str).collect::<Vec<_>>(), FUNCTIONS);
    }
}
