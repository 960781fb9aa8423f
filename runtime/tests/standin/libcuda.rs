//! A stand-in for NVIDIA's driver: memory, copies, streams and graphs as they should be, and launches that compute nothing.
//!
//! It shows what a program asks of a driver where there is none: each allocation, copy, launch and replay is a line in the file
//! that `STANDIN_LOG` names. Copies move bytes; a kernel is only named; copies and waits inside a capture are errors, as they are on a
//! device. `STANDIN_BYTES` is the device's memory. Built by the tests that use it, those of executor
//! and autotune, as `libcuda.so`.

#![allow(non_snake_case, clippy::missing_safety_doc)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write as _;
use std::sync::Mutex;

const SUCCESS: u32 = 0;
const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const CAPTURED: u32 = 900;

#[derive(Default)]
struct State {
    /// Allocations by address.
    memory: BTreeMap<u64, Box<[u64]>>,
    used: u64,
    /// Launches of the stream that is being captured.
    capture: Option<Vec<String>>,
}

static STATE: Mutex<State> =
    Mutex::new(State { memory: BTreeMap::new(), used: 0, capture: None });

fn state() -> std::sync::MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn log(line: &str) {
    let Some(path) = std::env::var_os("STANDIN_LOG") else { return };
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "{line}");
    }
}

fn total() -> u64 {
    std::env::var("STANDIN_BYTES").ok().and_then(|n| n.parse().ok()).unwrap_or(1 << 34)
}

/// Refused while launches are recorded.
fn outside_capture(run: impl FnOnce()) -> u32 {
    if state().capture.is_some() {
        return CAPTURED;
    }
    run();
    SUCCESS
}

unsafe fn put<T>(to: *mut T, value: T) -> u32 {
    unsafe { to.write(value) };
    SUCCESS
}

macro_rules! calls {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)+) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 $body
        )+
    };
}

fn allocate(address: *mut u64, bytes: usize) -> u32 {
    let mut state = state();
    let words = bytes.div_ceil(8).next_multiple_of(32);
    if state.used + 8 * words as u64 > total() {
        return OUT_OF_MEMORY;
    }
    // Anything but zeros, so that what should be cleared shows.
    let piece = vec![0x7777_7777_7777_7777u64; words].into_boxed_slice();
    let at = piece.as_ptr() as u64;
    state.used += 8 * words as u64;
    state.memory.insert(at, piece);
    drop(state);
    log(&format!("allocate {bytes}"));
    unsafe { put(address, at) }
}

fn free(address: u64) -> u32 {
    let mut state = state();
    match state.memory.remove(&address) {
        Some(piece) => {
            state.used = state.used.saturating_sub(8 * piece.len() as u64);
            SUCCESS
        }
        None => INVALID_VALUE,
    }
}

/// Whether a range is of one allocation.
fn is_memory(address: u64, bytes: usize) -> bool {
    let state = state();
    let found = state.memory.range(..=address).next_back();
    found.is_some_and(|(start, piece)| address + bytes as u64 <= start + 8 * piece.len() as u64)
}

calls! {
    fn cuInit(_flags: c_uint) { SUCCESS }
    fn cuDriverGetVersion(version: *mut c_int) { unsafe { put(version, 12090) } }
    fn cuGetErrorName(error: u32, text: *mut *const c_char) {
        let name = match error {
            OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
            CAPTURED => c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
            _ => c"CUDA_ERROR_INVALID_VALUE",
        };
        unsafe { put(text, name.as_ptr()) }
    }
    fn cuGetErrorString(_error: u32, text: *mut *const c_char) {
        unsafe { put(text, c"said by the stand-in".as_ptr()) }
    }
    fn cuDeviceGetCount(n: *mut c_int) { unsafe { put(n, 1) } }
    fn cuDeviceGet(device: *mut c_int, ordinal: c_int) { unsafe { put(device, ordinal) } }
    fn cuDeviceGetName(name: *mut c_char, len: c_int, _device: c_int) {
        let text = c"Stand-in H200".to_bytes_with_nul();
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len().min(len as usize)) };
        SUCCESS
    }
    fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { unsafe { put(bytes, total() as usize) } }
    fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, _device: c_int) {
        let known = match attribute {
            13 => 1_980_000,
            16 => 132,
            36 => 3_201_000,
            37 => 6144,
            38 => 50 << 20,
            39 => 2048,
            75 => 9,
            76 => 0,
            81 => 228 << 10,
            82 => 65536,
            97 => 227 << 10,
            106 => 32,
            115 => 1,
            _ => 0,
        };
        unsafe { put(value, known) }
    }
    fn cuDeviceGetDefaultMemPool(pool: *mut *mut c_void, _device: c_int) { unsafe { put(pool, 8 as *mut c_void) } }
    fn cuMemPoolSetAttribute(_pool: *mut c_void, _attribute: c_uint, _value: *mut c_void) { SUCCESS }
    fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) {
        unsafe { put(context, 16 as *mut c_void) }
    }
    fn cuDevicePrimaryCtxRelease_v2(_device: c_int) { SUCCESS }
    fn cuCtxSetCurrent(_context: *mut c_void) { SUCCESS }
    fn cuMemGetInfo_v2(free: *mut usize, all: *mut usize) {
        let used = state().used;
        unsafe { put(free, (total() - used.min(total())) as usize) };
        unsafe { put(all, total() as usize) }
    }
    fn cuMemAlloc_v2(address: *mut u64, bytes: usize) { allocate(address, bytes) }
    fn cuMemAllocAsync(address: *mut u64, bytes: usize, _stream: *mut c_void) { allocate(address, bytes) }
    fn cuMemFree_v2(address: u64) { free(address) }
    fn cuMemFreeAsync(address: u64, _stream: *mut c_void) { free(address) }
    fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        log(&format!("pin {bytes}"));
        let piece: Box<[u64]> = vec![0u64; bytes.div_ceil(8)].into_boxed_slice();
        unsafe { put(address, Box::leak(piece).as_mut_ptr().cast()) }
    }
    fn cuMemFreeHost(_address: *mut c_void) { SUCCESS }
    fn cuPointerGetAttribute(value: *mut c_void, attribute: c_uint, address: u64) {
        if attribute != 2 || !is_memory(address, 1) {
            return INVALID_VALUE;
        }
        unsafe { put(value.cast::<c_uint>(), 2) }
    }
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, _stream: *mut c_void) {
        if !is_memory(to, bytes) {
            return INVALID_VALUE;
        }
        outside_capture(|| {
            unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to as *mut u8, bytes) };
            log(&format!("htod {bytes}"));
        })
    }
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, _stream: *mut c_void) {
        if !is_memory(from, bytes) {
            return INVALID_VALUE;
        }
        outside_capture(|| {
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.cast::<u8>(), bytes) };
            log(&format!("dtoh {bytes}"));
        })
    }
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: *mut c_void) {
        if !is_memory(to, bytes) || !is_memory(from, bytes) {
            return INVALID_VALUE;
        }
        outside_capture(|| {
            unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
            log(&format!("dtod {bytes}"));
        })
    }
    fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, _stream: *mut c_void) {
        if !is_memory(to, bytes) {
            return INVALID_VALUE;
        }
        unsafe { std::ptr::write_bytes(to as *mut u8, value, bytes) };
        log(&format!("clear {bytes}"));
        SUCCESS
    }
    fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) {
        log("stream");
        unsafe { put(stream, Box::leak(Box::new(0u64)) as *mut u64 as *mut c_void) }
    }
    fn cuStreamDestroy_v2(_stream: *mut c_void) { SUCCESS }
    fn cuStreamSynchronize(_stream: *mut c_void) { outside_capture(|| {}) }
    fn cuStreamWaitEvent(_stream: *mut c_void, _event: *mut c_void, _flags: c_uint) { SUCCESS }
    fn cuStreamBeginCapture_v2(_stream: *mut c_void, _mode: c_uint) {
        let mut state = state();
        if state.capture.is_some() {
            return CAPTURED;
        }
        state.capture = Some(Vec::new());
        SUCCESS
    }
    fn cuStreamEndCapture(_stream: *mut c_void, graph: *mut *mut c_void) {
        let Some(launches) = state().capture.take() else { return INVALID_VALUE };
        unsafe { put(graph, Box::leak(Box::new(launches.len())) as *mut usize as *mut c_void) }
    }
    fn cuGraphInstantiateWithFlags(exec: *mut *mut c_void, graph: *mut c_void, _flags: u64) {
        unsafe { put(exec, graph) }
    }
    fn cuGraphDestroy(_graph: *mut c_void) { SUCCESS }
    fn cuGraphExecDestroy(_exec: *mut c_void) { SUCCESS }
    fn cuGraphUpload(_exec: *mut c_void, _stream: *mut c_void) { SUCCESS }
    fn cuGraphLaunch(exec: *mut c_void, _stream: *mut c_void) {
        let n = unsafe { *exec.cast::<usize>() };
        outside_capture(|| log(&format!("graph {n}")))
    }
    fn cuEventCreate(event: *mut *mut c_void, _flags: c_uint) { unsafe { put(event, 24 as *mut c_void) } }
    fn cuEventDestroy_v2(_event: *mut c_void) { SUCCESS }
    fn cuEventRecord(_event: *mut c_void, _stream: *mut c_void) { outside_capture(|| {}) }
    fn cuEventSynchronize(_event: *mut c_void) { SUCCESS }
    fn cuEventElapsedTime(ms: *mut f32, _from: *mut c_void, _to: *mut c_void) { unsafe { put(ms, 0.125) } }
    fn cuModuleLoadData(module: *mut *mut c_void, _image: *const c_void) { unsafe { put(module, 32 as *mut c_void) } }
    fn cuModuleUnload(_module: *mut c_void) { SUCCESS }
    fn cuModuleGetFunction(function: *mut *mut c_void, _module: *mut c_void, name: *const c_char) {
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        unsafe { put(function, Box::leak(Box::new(name)) as *mut String as *mut c_void) }
    }
    fn cuFuncGetAttribute(value: *mut c_int, _attribute: c_uint, _function: *mut c_void) { unsafe { put(value, 0) } }
    fn cuFuncSetAttribute(_function: *mut c_void, _attribute: c_uint, _value: c_int) { SUCCESS }
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(n: *mut c_int, _f: *mut c_void, _threads: c_int, _shared: usize) {
        unsafe { put(n, 1) }
    }
    fn cuOccupancyMaxActiveClusters(n: *mut c_int, _function: *mut c_void, _config: *const c_void) {
        unsafe { put(n, 1) }
    }
    fn cuLaunchKernelEx(_config: *const c_void, function: *mut c_void, _params: *mut *mut c_void, _extra: *mut *mut c_void) {
        let name = unsafe { &*function.cast::<String>() };
        let mut state = state();
        match &mut state.capture {
            Some(launches) => launches.push(name.clone()),
            None => {
                drop(state);
                log(&format!("launch {name}"));
            }
        }
        SUCCESS
    }
    fn cuTensorMapEncodeTiled(
        map: *mut c_void, _ty: c_uint, _rank: c_uint, _address: *mut c_void, _dims: *const u64,
        _strides: *const u64, _box_dims: *const c_uint, _element_strides: *const c_uint, _interleave: c_uint,
        _swizzle: c_uint, _promotion: c_uint, _fill: c_uint,
    ) {
        unsafe { std::ptr::write_bytes(map.cast::<u8>(), 1, 128) };
        SUCCESS
    }
}
