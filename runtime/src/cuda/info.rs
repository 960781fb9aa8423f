//! What a CUDA device is: name, capability, memory, clocks, limits.

#![allow(unsafe_code, reason = "calls the driver")]

use std::ffi::{CStr, c_char, c_int};

use cudarc::driver::sys::{self, CUdevice, CUdevice_attribute as Attribute};
use tilewright_codegen::target::Arch;

use crate::cuda::driver::{Driver, check};
use crate::error::CudaError;

/// A CUDA device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceInfo {
    /// Its number, from 0, in the driver's order.
    pub ordinal: u32,
    /// The product's name.
    pub name: String,
    /// Compute capability, as (major, minor).
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub n_sms: u32,
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Second-level cache, in bytes.
    pub l2_bytes: u32,
    /// Highest clock of the SMs, in kHz; 0 where the driver does not say.
    pub clock_khz: u32,
    /// Highest clock of the memory, in kHz; 0 where the driver does not say.
    pub memory_clock_khz: u32,
    /// Width of the memory bus, in bits.
    pub memory_bus_bits: u32,
    /// Shared memory of an SM, in bytes.
    pub shared_per_sm_bytes: u32,
    /// Shared memory that one block can have, in bytes.
    pub shared_per_block_bytes: u32,
    /// Threads that an SM holds at a time.
    pub threads_per_sm: u32,
    /// Blocks that an SM holds at a time.
    pub blocks_per_sm: u32,
    /// 32-bit registers of an SM.
    pub registers_per_sm: u32,
    /// Whether the driver's stream-ordered allocator serves it.
    pub has_memory_pools: bool,
}

impl DeviceInfo {
    /// What kernels for it are compiled for.
    ///
    /// # Errors
    /// [`CudaError::Capability`] for a device that no architecture of ours runs on.
    pub fn arch(&self) -> Result<Arch, CudaError> {
        let (major, minor) = self.capability;
        Arch::for_capability(major, minor).ok_or_else(|| CudaError::Capability {
            name: self.name.clone(),
            major,
            minor,
        })
    }

    /// Peak memory bandwidth, in bytes per second, by clock and bus width; 0 where the driver does not say.
    #[must_use]
    pub const fn memory_bandwidth(&self) -> u64 {
        // Two transfers a clock.
        2 * self.memory_clock_khz as u64 * 1000 * (self.memory_bus_bits as u64 / 8)
    }

    /// The devices that the process may see.
    ///
    /// # Errors
    /// As [`Driver::get`].
    pub fn all() -> Result<Vec<Self>, CudaError> {
        (0..Driver::get()?.n_devices()).map(Self::of).collect()
    }

    /// Device number `ordinal`.
    ///
    /// # Errors
    /// [`CudaError::NoDevice`] when there are not as many; else as [`Driver::get`].
    pub fn of(ordinal: u32) -> Result<Self, CudaError> {
        let device = device(ordinal)?;
        let mut name: [c_char; 256] = [0; 256];
        // SAFETY: room for as many characters as said.
        check("cuDeviceGetName", unsafe { sys::cuDeviceGetName(name.as_mut_ptr(), 255, device) })?;
        // SAFETY: the last character stays zero.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let mut memory_bytes = 0usize;
        // SAFETY: a place for a size.
        check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&raw mut memory_bytes, device) })?;
        let get = |attribute: Attribute| attribute_of(device, attribute);
        // Newer drivers may stop to answer these two.
        let clock = |attribute: Attribute| get(attribute).unwrap_or(0);
        Ok(Self {
            ordinal,
            name,
            capability: (
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            n_sms: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            memory_bytes: memory_bytes as u64,
            l2_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?,
            clock_khz: clock(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
            memory_clock_khz: clock(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE),
            memory_bus_bits: get(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
            shared_per_sm_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?,
            shared_per_block_bytes: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            threads_per_sm: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR)?,
            blocks_per_sm: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR)?,
            registers_per_sm: get(Attribute::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR)?,
            has_memory_pools: get(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0,
        })
    }
}

/// The driver's handle of device number `ordinal`.
pub(crate) fn device(ordinal: u32) -> Result<CUdevice, CudaError> {
    let n_devices = Driver::get()?.n_devices();
    if ordinal >= n_devices {
        return Err(CudaError::NoDevice { ordinal, n_devices });
    }
    let mut device: CUdevice = 0;
    // SAFETY: a place for a handle.
    check("cuDeviceGet", unsafe { sys::cuDeviceGet(&raw mut device, ordinal as c_int) })?;
    Ok(device)
}

fn attribute_of(device: CUdevice, attribute: Attribute) -> Result<u32, CudaError> {
    let mut value: c_int = 0;
    // SAFETY: a place for an integer.
    check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, device) })?;
    Ok(value.unsigned_abs())
}
