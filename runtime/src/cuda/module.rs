//! Machine code on a device, its functions, and their launch.
//!
//! A launch of a prepared kernel packs its parameters into memory that it keeps, looks its tensor maps up among those of the
//! last launches, and makes one driver call: no allocation, no lock, no text.

#![allow(unsafe_code, reason = "calls the driver")]

use std::cell::RefCell;
use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute as Attribute, CUmodule};
use tilewright_codegen::cuda::artifact::{CudaKernel, GridRule, L2Promotion, OutOfBounds, TensorMapRule};
use tilewright_codegen::launch::{Arg, ViewArg};

use crate::cuda::context::{Context, Piece};
use crate::cuda::driver::check;
use crate::cuda::packing::{EncodedMap, MapEncoder, MapFailure, Packed, blocks, pack};
use crate::cuda::stream::CudaStream;
use crate::cuda::tensor_map::{Interleave, MapType, SwizzleMode, TensorMap};
use crate::error::CudaError;

/// Tensor maps that a prepared kernel remembers: those of a few alternating sets of buffers.
const REMEMBERED_MAPS: usize = 16;

/// Loaded machine code.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    raw: CUmodule,
    loaded: u64,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Module {
    /// Loads a cubin.
    ///
    /// # Errors
    /// [`CudaError::NotACubin`] for anything but an ELF file, or what the driver says, of another architecture for example.
    pub fn load(context: &Context, cubin: &[u8]) -> Result<Self, CudaError> {
        // The driver takes a bare pointer, and would read past the end of anything shorter than it says it is.
        if !cubin.starts_with(b"\x7fELF") || cubin.len() < 64 {
            return Err(CudaError::NotACubin { len_bytes: cubin.len() });
        }
        context.bind()?;
        let mut raw: CUmodule = ptr::null_mut();
        // SAFETY: the bytes are an ELF file, which says its own length.
        check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&raw mut raw, cubin.as_ptr().cast()) })?;
        let loaded = context.ledger().allocated();
        Ok(Self { inner: Arc::new(Inner { context: context.clone(), raw, loaded }) })
    }

    /// The function `name`.
    ///
    /// # Errors
    /// What the driver says when there is none.
    pub fn function(&self, name: &str) -> Result<Function, CudaError> {
        let missing = || CudaError::NoFunction { name: name.to_owned() };
        let text = CString::new(name).map_err(|_| missing())?;
        self.inner.context.bind()?;
        let mut raw: CUfunction = ptr::null_mut();
        // SAFETY: a place for a handle, and a text that ends with zero.
        let result = unsafe { sys::cuModuleGetFunction(&raw mut raw, self.inner.raw, text.as_ptr()) };
        check("cuModuleGetFunction", result).map_err(|_| missing())?;
        Ok(Function { module: self.clone(), raw })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.context.give_back(Piece::Code(self.raw), self.loaded);
    }
}

/// A function of loaded code.
#[derive(Clone)]
pub struct Function {
    module: Module,
    raw: CUfunction,
}

// SAFETY: the driver's handles may be used from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// How a function is launched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaunchShape {
    /// Blocks along each axis.
    pub blocks: [u32; 3],
    /// Threads of a block along each axis.
    pub threads: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub dynamic_shared_bytes: u32,
    /// Blocks of a cluster along each axis; `[1, 1, 1]` for none.
    pub cluster: [u32; 3],
    /// Whether it may start before its predecessor on the stream has ended.
    pub overlaps_predecessor: bool,
}

impl Function {
    /// Registers of a thread, as the device has them.
    ///
    /// # Errors
    /// What the driver says.
    pub fn registers(&self) -> Result<u32, CudaError> {
        self.attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)
    }

    /// Static shared memory of a block, in bytes.
    ///
    /// # Errors
    /// What the driver says.
    pub fn static_shared_bytes(&self) -> Result<u32, CudaError> {
        self.attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)
    }

    /// Local memory of a thread, in bytes: its stack.
    ///
    /// # Errors
    /// What the driver says.
    pub fn local_bytes(&self) -> Result<u32, CudaError> {
        self.attribute(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)
    }

    /// Blocks of this shape that an SM holds at a time.
    ///
    /// # Errors
    /// What the driver says.
    pub fn blocks_per_sm(&self, threads: u32, dynamic_shared_bytes: u32) -> Result<u32, CudaError> {
        self.module.inner.context.bind()?;
        let mut n: c_int = 0;
        // SAFETY: a place for an integer; the function lives with its module.
        check("cuOccupancyMaxActiveBlocksPerMultiprocessor", unsafe {
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(
                &raw mut n,
                self.raw,
                threads as c_int,
                dynamic_shared_bytes as usize,
            )
        })?;
        Ok(n.unsigned_abs())
    }

    /// Allows `bytes` of dynamic shared memory. Over 48 KiB a launch needs this first.
    ///
    /// # Errors
    /// What the driver says when it is more than a block can have.
    pub fn allow_dynamic_shared(&self, bytes: u32) -> Result<(), CudaError> {
        self.set(Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)
    }

    /// Allows clusters of more than 8 blocks, which not every part of an architecture launches.
    ///
    /// # Errors
    /// What the driver says.
    pub fn allow_large_clusters(&self) -> Result<(), CudaError> {
        self.set(Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)
    }

    /// Launches on a stream.
    ///
    /// # Errors
    /// What the driver says of the launch; what goes wrong later comes out where the stream is waited for.
    ///
    /// # Safety
    /// The parameters must be those of the function, and what they point to must be as large as it takes for granted, of
    /// this device, and given to nobody else who writes while the kernel runs.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        shape: &LaunchShape,
        params: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        stream.context().bind()?;
        let attribute = |id, value| sys::CUlaunchAttribute { id, pad: [0; 4], value };
        let zero = || sys::CUlaunchAttributeValue { pad: [0; 64] };
        let mut attributes = [attribute(IGNORE, zero()); 2];
        let mut n_attributes = 0;
        if shape.cluster != [1, 1, 1] {
            let mut value = zero();
            let [x, y, z] = shape.cluster;
            value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
            attributes[n_attributes] =
                attribute(sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value);
            n_attributes += 1;
        }
        if shape.overlaps_predecessor {
            let mut value = zero();
            value.programmaticStreamSerializationAllowed = 1;
            let id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            attributes[n_attributes] = attribute(id, value);
            n_attributes += 1;
        }
        let config = sys::CUlaunchConfig {
            gridDimX: shape.blocks[0],
            gridDimY: shape.blocks[1],
            gridDimZ: shape.blocks[2],
            blockDimX: shape.threads[0],
            blockDimY: shape.threads[1],
            blockDimZ: shape.threads[2],
            sharedMemBytes: shape.dynamic_shared_bytes,
            hStream: stream.raw(),
            attrs: attributes.as_mut_ptr(),
            numAttrs: n_attributes as u32,
        };
        // SAFETY: by the caller; attributes and parameters outlive the call, which copies them.
        check("cuLaunchKernelEx", unsafe {
            sys::cuLaunchKernelEx(&raw const config, self.raw, params.as_mut_ptr(), ptr::null_mut())
        })
    }

    /// Clusters that the device runs at a time, for blocks of a shape. Parts with an odd number of SMs leave some without a pair.
    ///
    /// # Errors
    /// What the driver says of the shape.
    pub fn max_active_clusters(&self, shape: &LaunchShape) -> Result<u32, CudaError> {
        self.module.inner.context.bind()?;
        let mut value = sys::CUlaunchAttributeValue { pad: [0; 64] };
        let [x, y, z] = shape.cluster;
        value.clusterDim = sys::CUlaunchAttributeValue_union__bindgen_ty_1 { x, y, z };
        let id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
        let mut attribute = sys::CUlaunchAttribute { id, pad: [0; 4], value };
        let config = sys::CUlaunchConfig {
            gridDimX: shape.blocks[0],
            gridDimY: shape.blocks[1],
            gridDimZ: shape.blocks[2],
            blockDimX: shape.threads[0],
            blockDimY: shape.threads[1],
            blockDimZ: shape.threads[2],
            sharedMemBytes: shape.dynamic_shared_bytes,
            hStream: ptr::null_mut(),
            attrs: &raw mut attribute,
            numAttrs: 1,
        };
        let mut n: c_int = 0;
        // SAFETY: a place for an integer; the attribute outlives the call, and the function lives with its module.
        check("cuOccupancyMaxActiveClusters", unsafe {
            sys::cuOccupancyMaxActiveClusters(&raw mut n, self.raw, &raw const config)
        })?;
        Ok(n.unsigned_abs())
    }

    fn attribute(&self, attribute: Attribute) -> Result<u32, CudaError> {
        self.module.inner.context.bind()?;
        let mut value: c_int = 0;
        // SAFETY: a place for an integer; the function lives with its module.
        check("cuFuncGetAttribute", unsafe { sys::cuFuncGetAttribute(&raw mut value, attribute, self.raw) })?;
        Ok(value.unsigned_abs())
    }

    fn set(&self, attribute: Attribute, value: u32) -> Result<(), CudaError> {
        self.module.inner.context.bind()?;
        // SAFETY: the function lives with its module.
        check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(self.raw, attribute, value as c_int) })
    }
}

const IGNORE: sys::CUlaunchAttributeID = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_IGNORE;

/// A generated kernel on a device, ready to launch from one thread.
pub struct PreparedKernel {
    kernel: Arc<CudaKernel>,
    function: Function,
    /// SMs that blocks of a persistent launch can all have at a time.
    n_sms: u32,
    scratch: RefCell<Scratch>,
}

#[derive(Default)]
struct Scratch {
    packed: Packed,
    pointers: Vec<*mut c_void>,
    maps: RememberedMaps,
}

// SAFETY: the addresses are of the packing beside them, and are used in the launch that wrote them.
unsafe impl Send for Scratch {}

impl PreparedKernel {
    /// Loads the machine code of a kernel and allows what its launches need. `status` is the device address of its status, 0 for a
    /// kernel without assertions.
    ///
    /// # Errors
    /// When the code does not load or has no such function, or asks for more shared memory than a block can have.
    pub fn new(
        context: &Context,
        kernel: Arc<CudaKernel>,
        cubin: &[u8],
        status: u64,
    ) -> Result<Self, CudaError> {
        let function = Module::load(context, cubin)?.function(&kernel.entry)?;
        let limit = context.info().shared_per_block_bytes;
        let shared = function.static_shared_bytes()?.saturating_add(kernel.dynamic_shared_bytes);
        if shared > limit {
            return Err(CudaError::SharedMemory { kernel: kernel.name.clone(), bytes: shared, limit });
        }
        if kernel.dynamic_shared_bytes > 0 {
            function.allow_dynamic_shared(kernel.dynamic_shared_bytes)?;
        }
        if kernel.cluster.iter().product::<u32>() > kernel.arch.limits().portable_cluster {
            function.allow_large_clusters()?;
        }
        let n_sms = usable_sms(&kernel, &function, context.info().n_sms);
        let scratch = Scratch { maps: RememberedMaps { status, ..Default::default() }, ..Default::default() };
        Ok(Self { kernel, function, n_sms, scratch: RefCell::new(scratch) })
    }

    /// The kernel.
    #[must_use]
    pub fn kernel(&self) -> &CudaKernel {
        &self.kernel
    }

    /// Its function on the device.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Launches a grid of program instances. An empty grid is no launch.
    ///
    /// # Errors
    /// When an argument does not fit a parameter, or what the driver says.
    ///
    /// # Safety
    /// Views must lie in memory of the stream's device that stays valid until the work is done, and memory that the kernel
    /// writes must be given to nobody else.
    pub unsafe fn launch(
        &self,
        stream: &CudaStream,
        programs: [u32; 3],
        args: &[Arg],
    ) -> Result<(), CudaError> {
        let kernel = &*self.kernel;
        let blocks = blocks(kernel, programs, self.n_sms)?;
        if blocks.contains(&0) {
            return Ok(());
        }
        let Scratch { packed, pointers, maps } = &mut *self.scratch.borrow_mut();
        pack(kernel, args, programs, maps, packed)?;
        pointers.clear();
        let addresses = (0..packed.len()).filter_map(|i| packed.param(i));
        pointers.extend(addresses.map(|bytes| bytes.as_ptr().cast_mut().cast::<c_void>()));
        let shape = LaunchShape {
            blocks,
            threads: [kernel.block_threads, 1, 1],
            dynamic_shared_bytes: kernel.dynamic_shared_bytes,
            cluster: kernel.cluster,
            overlaps_predecessor: kernel.overlaps_predecessor,
        };
        // SAFETY: the parameters were packed by the kernel's own list; the rest is the caller's word.
        let launched = unsafe { self.function.launch(stream, &shape, pointers) };
        let waits = waits_after_launch() && !stream.is_captured();
        let ended = launched.and_then(|()| if waits { stream.synchronize() } else { Ok(()) });
        ended.map_err(|error| CudaError::Launch { kernel: kernel.name.clone(), error: Box::new(error) })
    }
}

/// SMs for a persistent launch: a cluster lies in one part of the chip, and a block that finds no place would begin when all
/// others are done. Where the driver does not say how many clusters run at a time, all SMs are counted on.
fn usable_sms(kernel: &CudaKernel, function: &Function, n_sms: u32) -> u32 {
    let cluster = kernel.cluster.iter().product::<u32>();
    let GridRule::Persistent { blocks_per_sm } = kernel.grid else { return n_sms };
    if cluster == 1 {
        return n_sms;
    }
    let shape = LaunchShape {
        blocks: [n_sms / cluster * cluster, 1, 1],
        threads: [kernel.block_threads, 1, 1],
        dynamic_shared_bytes: kernel.dynamic_shared_bytes,
        cluster: kernel.cluster,
        overlaps_predecessor: false,
    };
    match function.max_active_clusters(&shape) {
        Ok(clusters) if clusters > 0 => n_sms.min(clusters * cluster / blocks_per_sm.max(1)),
        Ok(_) | Err(_) => n_sms,
    }
}

/// Whether every launch is waited for, so that the kernel that went wrong is the one that is named.
pub(crate) fn waits_after_launch() -> bool {
    static WAITS: OnceLock<bool> = OnceLock::new();
    *WAITS.get_or_init(|| std::env::var_os("TILEWRIGHT_SYNC").is_some_and(|value| value != "0"))
}

/// Encodes by the driver, and remembers the last views of each parameter.
#[derive(Default)]
struct RememberedMaps {
    known: Vec<(usize, ViewArg, EncodedMap)>,
    next: usize,
    /// Address of the status of launches.
    status: u64,
}

impl MapEncoder for RememberedMaps {
    fn encode(
        &mut self,
        index: usize,
        view: &ViewArg,
        rule: &TensorMapRule,
    ) -> Result<EncodedMap, MapFailure> {
        let rank = usize::from(view.rank);
        let is_same = |known: &ViewArg| {
            known.ptr == view.ptr
                && known.dtype == view.dtype
                && known.rank == view.rank
                && known.dims[..rank] == view.dims[..rank]
                && known.strides[..rank] == view.strides[..rank]
        };
        if let Some((_, _, encoded)) = self.known.iter().find(|(i, known, _)| *i == index && is_same(known)) {
            return Ok(*encoded);
        }
        let map = TensorMap::of_view(view, rule).map_err(MapFailure::Broken)?;
        let encoded = encode(&map).map_err(MapFailure::Driver)?;
        let entry = (index, *view, encoded);
        if self.known.len() < REMEMBERED_MAPS {
            self.known.push(entry);
        } else {
            self.known[self.next] = entry;
            self.next = (self.next + 1) % REMEMBERED_MAPS;
        }
        Ok(encoded)
    }

    fn status(&mut self) -> u64 {
        self.status
    }
}

/// The driver's form of a tensor map.
///
/// # Errors
/// [`CudaError::BrokenMap`] with the first rule that it breaks, or what the driver says.
pub fn encode(map: &TensorMap) -> Result<EncodedMap, CudaError> {
    crate::cuda::driver::Driver::get()?;
    let broken = map.broken_rules();
    if let Some(first) = broken.into_iter().next() {
        return Err(CudaError::BrokenMap(first));
    }
    let mut encoded = EncodedMap([0; 16]);
    // SAFETY: 128 bytes at a multiple of 128, and arrays as long as the rank says, which the rules check.
    check("cuTensorMapEncodeTiled", unsafe {
        sys::cuTensorMapEncodeTiled(
            (&raw mut encoded).cast(),
            data_type(map.data_type),
            map.global_dim.len() as u32,
            map.global_address as usize as *mut c_void,
            map.global_dim.as_ptr(),
            map.global_strides.as_ptr(),
            map.box_dim.as_ptr(),
            map.element_strides.as_ptr(),
            match map.interleave {
                Interleave::None => sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                Interleave::B16 => sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_16B,
                Interleave::B32 => sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_32B,
            },
            swizzle(map.swizzle),
            match map.l2_promotion {
                L2Promotion::None => sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_NONE,
                L2Promotion::B64 => sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
                L2Promotion::B128 => sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                L2Promotion::B256 => sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            },
            match map.oob_fill {
                OutOfBounds::Zero => sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
                OutOfBounds::Nan => {
                    sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
                }
            },
        )
    })?;
    Ok(encoded)
}

const fn data_type(ty: MapType) -> sys::CUtensorMapDataType {
    use sys::CUtensorMapDataType as T;
    match ty {
        MapType::U8 => T::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        MapType::U16 => T::CU_TENSOR_MAP_DATA_TYPE_UINT16,
        MapType::U32 => T::CU_TENSOR_MAP_DATA_TYPE_UINT32,
        MapType::I32 => T::CU_TENSOR_MAP_DATA_TYPE_INT32,
        MapType::U64 => T::CU_TENSOR_MAP_DATA_TYPE_UINT64,
        MapType::I64 => T::CU_TENSOR_MAP_DATA_TYPE_INT64,
        MapType::F16 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
        MapType::F32 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        MapType::F64 => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
        MapType::BF16 => T::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
        MapType::F32Ftz => T::CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ,
        MapType::Tf32 => T::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
        MapType::Tf32Ftz => T::CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ,
        MapType::Packed16U4Align8 => T::CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN8B,
        MapType::Packed16U4Align16 => T::CU_TENSOR_MAP_DATA_TYPE_16U4_ALIGN16B,
        MapType::Packed16U6Align16 => T::CU_TENSOR_MAP_DATA_TYPE_16U6_ALIGN16B,
    }
}

const fn swizzle(mode: SwizzleMode) -> sys::CUtensorMapSwizzle {
    use sys::CUtensorMapSwizzle as S;
    match mode {
        SwizzleMode::None => S::CU_TENSOR_MAP_SWIZZLE_NONE,
        SwizzleMode::B32 => S::CU_TENSOR_MAP_SWIZZLE_32B,
        SwizzleMode::B64 => S::CU_TENSOR_MAP_SWIZZLE_64B,
        SwizzleMode::B128 => S::CU_TENSOR_MAP_SWIZZLE_128B,
        SwizzleMode::B128Atom32 => S::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B,
        SwizzleMode::B128Atom32Flip8 => S::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_32B_FLIP_8B,
        SwizzleMode::B128Atom64 => S::CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B,
    }
}
