//! Tensor maps: what `cuTensorMapEncodeTiled` makes, and what `cp.async.bulk.tensor` does with one.
//!
//! A real map is 128 opaque bytes. This one is 128 bytes too, so that kernels pass it as they pass the real one, but holds
//! a magic number, every field and a checksum: a map that was never encoded, was overwritten, or came from another driver
//! is recognised. Encoding accepts nothing that the driver's documentation rules out (see [`Rule`]).
//!
//! Refused although documented, because no source here says exactly what happens: interleaved layouts, packed 4- and
//! 6-bit types, the swizzles with atoms above 16 bytes, types that alter values (`*_FTZ`, `TFLOAT32`), and boxes whose
//! rows are shorter than the swizzle span.

mod copy;
mod encode;
mod swizzle;
#[cfg(test)]
mod tests;

pub use copy::{Run, Source, TensorCopyError};
pub use encode::{EncodeArgs, Rule, TensorMapError};
pub use swizzle::Swizzle;

/// Bytes of a tensor map, the real one's and this one's.
pub const TENSOR_MAP_BYTES: usize = 128;
/// Highest rank of a tensor map.
pub const MAX_RANK: usize = 5;

/// Element type of a tensor map, with the driver's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DataType {
    /// One byte, also for 8-bit floats and s8.
    U8 = 0,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Four bytes, signed.
    I32,
    /// Eight bytes.
    U64,
    /// Eight bytes, signed.
    I64,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// The upper half of an f32.
    Bf16,
    /// f32, subnormals flushed.
    F32Ftz,
    /// f32 reduced to tf32.
    Tf32,
    /// f32 reduced to tf32, subnormals flushed.
    Tf32Ftz,
    /// Sixteen 4-bit values in 8 bytes.
    U4Align8,
    /// Sixteen 4-bit values in 16 bytes.
    U4Align16,
    /// Sixteen 6-bit values in 16 bytes.
    U6Align16,
}

impl DataType {
    const ALL: [DataType; 16] = [
        DataType::U8,
        DataType::U16,
        DataType::U32,
        DataType::I32,
        DataType::U64,
        DataType::I64,
        DataType::F16,
        DataType::F32,
        DataType::F64,
        DataType::Bf16,
        DataType::F32Ftz,
        DataType::Tf32,
        DataType::Tf32Ftz,
        DataType::U4Align8,
        DataType::U4Align16,
        DataType::U6Align16,
    ];

    /// The type with the driver's number `code`.
    pub fn from_code(code: u32) -> Option<DataType> {
        DataType::ALL.get(code as usize).copied()
    }

    /// Bits of one element.
    pub const fn bits(self) -> u64 {
        match self {
            DataType::U4Align8 | DataType::U4Align16 => 4,
            DataType::U6Align16 => 6,
            DataType::U8 => 8,
            DataType::U16 | DataType::F16 | DataType::Bf16 => 16,
            DataType::U32
            | DataType::I32
            | DataType::F32
            | DataType::F32Ftz
            | DataType::Tf32
            | DataType::Tf32Ftz => 32,
            DataType::U64 | DataType::I64 | DataType::F64 => 64,
        }
    }

    /// Whether the driver accepts the NaN fill for it.
    pub const fn is_float(self) -> bool {
        match self {
            DataType::F16
            | DataType::F32
            | DataType::F64
            | DataType::Bf16
            | DataType::F32Ftz
            | DataType::Tf32
            | DataType::Tf32Ftz => true,
            DataType::U8
            | DataType::U16
            | DataType::U32
            | DataType::I32
            | DataType::U64
            | DataType::I64
            | DataType::U4Align8
            | DataType::U4Align16
            | DataType::U6Align16 => false,
        }
    }
}

/// What a load puts where the box leaves the tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fill {
    /// Zero bytes.
    Zero,
    /// A NaN of the element type; here the canonical one, as the hardware's is not published.
    Nan,
}

/// A valid tensor map. Dimension 0 is the innermost, as for the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMap {
    /// Type of the elements.
    pub data_type: DataType,
    /// Number of dimensions, 1 to 5; the arrays hold that many entries and then ones (strides: zeros).
    pub rank: usize,
    /// Address of the element at the origin.
    pub address: u64,
    /// Elements of the tensor per dimension.
    pub dims: [u64; MAX_RANK],
    /// Distance of neighbours in bytes per dimension; the first is the element size.
    pub strides: [u64; MAX_RANK],
    /// Extent of the box in tensor elements per dimension.
    pub box_dims: [u32; MAX_RANK],
    /// Step inside the box per dimension; the first counts as 1.
    pub element_strides: [u32; MAX_RANK],
    /// Permutation of the box in shared memory.
    pub swizzle: Swizzle,
    /// L2 promotion, the driver's number; without effect on results.
    pub l2_promotion: u32,
    /// Value outside the tensor.
    pub fill: Fill,
}

const MAGIC: u64 = u64::from_le_bytes(*b"tw-tmap1");

impl TensorMap {
    /// Bytes of one element.
    pub const fn element_bytes(&self) -> u64 {
        self.data_type.bits() / 8
    }

    /// Elements the box holds along dimension `dim`: its extent over the step, rounded up.
    pub const fn box_elements(&self, dim: usize) -> u64 {
        self.box_dims[dim].div_ceil(self.element_strides[dim]) as u64
    }

    /// Bytes of the whole box in shared memory, which is also what a load adds to its mbarrier's transaction count,
    /// wherever the box lies.
    pub const fn box_bytes(&self) -> u64 {
        let (mut bytes, mut dim) = (self.element_bytes(), 0);
        while dim < self.rank {
            bytes *= self.box_elements(dim);
            dim += 1;
        }
        bytes
    }

    /// The bytes of one element outside the tensor; the first [`TensorMap::element_bytes`] count.
    pub const fn fill_element(&self) -> [u8; 8] {
        match self.fill {
            Fill::Zero => [0; 8],
            Fill::Nan => (u64::MAX >> 1 >> (64 - self.data_type.bits())).to_le_bytes(),
        }
    }

    /// The map as a kernel receives it.
    pub fn to_bytes(&self) -> [u8; TENSOR_MAP_BYTES] {
        let mut out = Writer { bytes: [0; TENSOR_MAP_BYTES], at: 0 };
        out.put(&MAGIC.to_le_bytes());
        out.put(&self.address.to_le_bytes());
        let fill = match self.fill {
            Fill::Zero => 0,
            Fill::Nan => 1,
        };
        let small = [self.data_type as u32, self.rank as u32, self.swizzle.code(), self.l2_promotion, fill];
        out.put(&small.map(|value| value as u8));
        for dim in 0..MAX_RANK {
            // Extents reach 2^32 and boxes 256, so both are stored less one.
            out.put(&((self.dims[dim] - 1) as u32).to_le_bytes());
            out.put(&[(self.box_dims[dim] - 1) as u8, self.element_strides[dim] as u8]);
        }
        for stride in &self.strides[1..] {
            out.put(&stride.to_le_bytes()[..5]);
        }
        let sum = checksum(&out.bytes[..CHECKSUM_AT]).to_le_bytes();
        out.bytes[CHECKSUM_AT..].copy_from_slice(&sum);
        out.bytes
    }

    /// The map that `bytes` hold.
    ///
    /// # Errors
    /// The bytes are not what [`TensorMap::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; TENSOR_MAP_BYTES]) -> Result<TensorMap, TensorMapError> {
        let mut input = Reader { bytes, at: 0 };
        let magic = input.take(8);
        if magic != MAGIC {
            return Err(TensorMapError::NotAMap { found: magic });
        }
        let sum = Reader { bytes, at: CHECKSUM_AT }.take(8);
        let expected = checksum(&bytes[..CHECKSUM_AT]);
        if sum != expected {
            return Err(TensorMapError::Overwritten { found: sum, expected });
        }
        let address = input.take(8);
        let [data_type, rank, swizzle, l2_promotion, fill] = [(); 5].map(|()| input.take(1) as u32);
        let (mut dims, mut box_dims, mut element_strides) = ([0; MAX_RANK], [0; MAX_RANK], [0; MAX_RANK]);
        for dim in 0..MAX_RANK {
            dims[dim] = input.take(4) + 1;
            box_dims[dim] = input.take(1) as u32 + 1;
            element_strides[dim] = input.take(1) as u32;
        }
        let strides: [u64; MAX_RANK - 1] = std::array::from_fn(|_| input.take(5));
        let rank = rank as usize;
        // The checksum makes broken fields unlikely, but a kernel could still forge them: the rules are checked again.
        TensorMap::encode(&EncodeArgs {
            map_address: 0,
            data_type,
            rank: rank as u32,
            global_address: address,
            global_dim: dims.get(..rank).unwrap_or(&[]),
            global_strides: strides.get(..rank.saturating_sub(1)).unwrap_or(&[]),
            box_dim: box_dims.get(..rank).unwrap_or(&[]),
            element_strides: element_strides.get(..rank).unwrap_or(&[]),
            interleave: 0,
            swizzle,
            l2_promotion,
            oob_fill: fill,
        })
    }
}

const CHECKSUM_AT: usize = TENSOR_MAP_BYTES - 8;

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

struct Writer {
    bytes: [u8; TENSOR_MAP_BYTES],
    at: usize,
}

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

struct Reader<'a> {
    bytes: &'a [u8; TENSOR_MAP_BYTES],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> u64 {
        let mut wide = [0; 8];
        wide[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        u64::from_le_bytes(wide)
    }
}
