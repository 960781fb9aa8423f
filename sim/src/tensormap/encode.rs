//! The rules of `cuTensorMapEncodeTiled`, checked in the order of its arguments.
//!
//! Source: the comment above the function in `cuda.h` of CUDA 13, which is stricter and more complete than the manual
//! pages. The relation it sketches between successive strides is not a rule: permuted tensors violate it and work.

use super::{DataType, Fill, MAX_RANK, Swizzle, TensorMap};

/// The arguments of `cuTensorMapEncodeTiled`, as numbers: an enum value out of range is an error to report, too.
#[derive(Clone, Debug)]
pub struct EncodeArgs<'a> {
    /// Where the host keeps the map.
    pub map_address: u64,
    /// `CUtensorMapDataType`.
    pub data_type: u32,
    /// Number of dimensions.
    pub rank: u32,
    /// Address of the element at the origin.
    pub global_address: u64,
    /// Elements per dimension; `rank` entries.
    pub global_dim: &'a [u64],
    /// Bytes between neighbours along dimensions 1 and up; `rank - 1` entries.
    pub global_strides: &'a [u64],
    /// Box per dimension; `rank` entries.
    pub box_dim: &'a [u32],
    /// Step inside the box per dimension; `rank` entries.
    pub element_strides: &'a [u32],
    /// `CUtensorMapInterleave`.
    pub interleave: u32,
    /// `CUtensorMapSwizzle`.
    pub swizzle: u32,
    /// `CUtensorMapL2promotion`.
    pub l2_promotion: u32,
    /// `CUtensorMapFloatOOBfill`.
    pub oob_fill: u32,
}

/// A requirement of `cuTensorMapEncodeTiled`. The text of each is its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rule {
    /// The map's address is a multiple of 64.
    #[error("the map must be aligned to 64 bytes")]
    MapAlignment,
    /// The data type exists.
    #[error("the data type must be a CUtensorMapDataType, 0 to 15")]
    DataType,
    /// The rank is 1 to 5.
    #[error("the rank must be 1 to 5")]
    Rank,
    /// Interleaved maps have rank 3 to 5.
    #[error("the rank must be 3 to 5 when interleaved")]
    RankInterleaved,
    /// An array has one entry per dimension (strides: one fewer).
    #[error("the array must have one entry per dimension, global strides one fewer")]
    ArrayLength,
    /// The global address is a multiple of 16.
    #[error("the address must be a multiple of 16 bytes")]
    AddressAlignment,
    /// It is a multiple of 32 for 32-byte interleave and the padded packed types.
    #[error(
        "the address must be a multiple of 32 bytes for 32-byte interleave and 16U4_ALIGN16B, 16U6_ALIGN16B"
    )]
    AddressAlignment32,
    /// Extents are 1 to 2^32.
    #[error("the extent must be 1 to 2^32 elements (an empty tensor has no map)")]
    Dim,
    /// The first extent of padded packed types is a multiple of 128.
    #[error("the first extent must be a multiple of 128 for 16U4_ALIGN16B and 16U6_ALIGN16B")]
    DimPacked128,
    /// The first extent of 16U4_ALIGN8B is even.
    #[error("the first extent must be even for 16U4_ALIGN8B")]
    DimPacked2,
    /// Strides are multiples of 16.
    #[error("the stride must be a multiple of 16 bytes")]
    StrideAlignment,
    /// Strides are multiples of 32 for 32-byte interleave and the padded packed types.
    #[error(
        "the stride must be a multiple of 32 bytes for 32-byte interleave and 16U4_ALIGN16B, 16U6_ALIGN16B"
    )]
    StrideAlignment32,
    /// Strides are below 2^40.
    #[error("the stride must be less than 2^40 bytes")]
    StrideRange,
    /// Box extents are 1 to 256.
    #[error("the box must have 1 to 256 elements along each dimension")]
    Box,
    /// The box's rows are multiples of 16 bytes unless interleaved.
    #[error("a row of the box must be a multiple of 16 bytes (the value is its bytes)")]
    BoxRowBytes,
    /// The box's first extent is 128 for padded packed types.
    #[error("the box must have 128 elements along the first dimension for 16U4_ALIGN16B and 16U6_ALIGN16B")]
    BoxPacked,
    /// Element strides are 1 to 8, the first ignored unless interleaved.
    #[error("the element stride must be 1 to 8")]
    ElementStride,
    /// The interleave exists.
    #[error("the interleave must be a CUtensorMapInterleave, 0 to 2")]
    Interleave,
    /// 16U6_ALIGN16B is not interleaved.
    #[error("16U6_ALIGN16B cannot be interleaved")]
    InterleavePacked,
    /// The swizzle exists.
    #[error("the swizzle must be a CUtensorMapSwizzle, 0 to 6")]
    Swizzle,
    /// The box's rows are no longer than the swizzle span.
    #[error(
        "a row of the box must not exceed the swizzle span of 32, 64 or 128 bytes (the value is its bytes)"
    )]
    SwizzleSpan,
    /// 32-byte interleave comes with the 32-byte swizzle.
    #[error("the swizzle must be SWIZZLE_32B for 32-byte interleave")]
    SwizzleInterleaved,
    /// Padded packed types allow few swizzles.
    #[error(
        "16U4_ALIGN16B and 16U6_ALIGN16B allow no swizzle, SWIZZLE_128B, 128B_ATOM_32B, and the latter 128B_ATOM_64B"
    )]
    SwizzlePacked,
    /// The L2 promotion exists.
    #[error("the L2 promotion must be a CUtensorMapL2promotion, 0 to 3")]
    L2Promotion,
    /// The fill exists.
    #[error("the fill must be a CUtensorMapFloatOOBfill, 0 or 1")]
    Fill,
    /// The NaN fill needs a floating-point type.
    #[error("the NaN fill needs a floating-point data type")]
    FillType,
}

/// Why there is no tensor map.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TensorMapError {
    /// An argument breaks a rule of the driver, which would answer `CUDA_ERROR_INVALID_VALUE`.
    #[error("cuTensorMapEncodeTiled: {argument} is {value}: {rule}")]
    Rule {
        /// The requirement.
        rule: Rule,
        /// The argument, with its index if it is an array.
        argument: String,
        /// What it was.
        value: u64,
    },
    /// The driver accepts this, the model does not know its effect.
    #[error("cuTensorMapEncodeTiled: {argument} {value} is valid but not modelled: {instead}")]
    NotModelled {
        /// The argument.
        argument: &'static str,
        /// What it was.
        value: u32,
        /// What to use instead.
        instead: &'static str,
    },
    /// The bytes were never a map.
    #[error(
        "the address given as a tensor map does not hold one: it starts with {found:#018x}; pass the map that encoding \
         returned, as a __grid_constant__ parameter or from constant or global memory"
    )]
    NotAMap {
        /// The first eight bytes.
        found: u64,
    },
    /// The bytes were a map and changed since.
    #[error(
        "the tensor map was overwritten after encoding: its checksum is {found:#018x}, its fields give {expected:#018x}"
    )]
    Overwritten {
        /// The checksum stored.
        found: u64,
        /// The checksum of the fields.
        expected: u64,
    },
}

/// The text of the argument is only built for an error: a map is decoded, and checked, by every copy.
fn check(holds: bool, rule: Rule, argument: &str, value: u64) -> Result<(), TensorMapError> {
    if holds { Ok(()) } else { Err(TensorMapError::Rule { rule, argument: argument.to_owned(), value }) }
}

fn check_at(holds: bool, rule: Rule, argument: &str, index: usize, value: u64) -> Result<(), TensorMapError> {
    if holds { Ok(()) } else { check(false, rule, &format!("{argument}[{index}]"), value) }
}

const INTERLEAVE_32B: u32 = 2;

impl TensorMap {
    /// The map that `cuTensorMapEncodeTiled` would make.
    ///
    /// # Errors
    /// An argument breaks a rule, or asks for something that is not modelled.
    pub fn encode(args: &EncodeArgs<'_>) -> Result<TensorMap, TensorMapError> {
        check(args.map_address.is_multiple_of(64), Rule::MapAlignment, "tensorMap", args.map_address)?;
        let code = u64::from(args.data_type);
        let Some(data_type) = DataType::from_code(args.data_type) else {
            return Err(TensorMapError::Rule {
                rule: Rule::DataType,
                argument: "tensorDataType".to_owned(),
                value: code,
            });
        };
        check(args.interleave <= 2, Rule::Interleave, "interleave", args.interleave.into())?;
        check(args.swizzle <= 6, Rule::Swizzle, "swizzle", args.swizzle.into())?;
        let rank = args.rank as usize;
        check((1..=MAX_RANK).contains(&rank), Rule::Rank, "tensorRank", rank as u64)?;
        check(args.interleave == 0 || rank >= 3, Rule::RankInterleaved, "tensorRank", rank as u64)?;

        let padded = matches!(data_type, DataType::U4Align16 | DataType::U6Align16);
        let wide = padded || args.interleave == INTERLEAVE_32B;
        let address = args.global_address;
        check(address.is_multiple_of(16), Rule::AddressAlignment, "globalAddress", address)?;
        check(!wide || address.is_multiple_of(32), Rule::AddressAlignment32, "globalAddress", address)?;
        check_tensor(args, data_type, rank, wide)?;
        check_box(args, data_type, rank)?;
        check_modes(args, data_type)?;
        check_modelled(args, data_type)?;

        let mut map = TensorMap {
            data_type,
            rank,
            address,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
            box_dims: [1; MAX_RANK],
            element_strides: [1; MAX_RANK],
            swizzle: Swizzle::from_code(args.swizzle).unwrap_or(Swizzle::None),
            l2_promotion: args.l2_promotion,
            fill: if args.oob_fill == 0 { Fill::Zero } else { Fill::Nan },
        };
        map.dims[..rank].copy_from_slice(args.global_dim);
        map.strides[0] = data_type.bits() / 8;
        map.strides[1..rank].copy_from_slice(args.global_strides);
        map.box_dims[..rank].copy_from_slice(args.box_dim);
        map.element_strides[1..rank].copy_from_slice(&args.element_strides[1..]);
        Ok(map)
    }
}

fn check_tensor(
    args: &EncodeArgs<'_>,
    data_type: DataType,
    rank: usize,
    wide: bool,
) -> Result<(), TensorMapError> {
    let lengths = [
        ("the length of globalDim", args.global_dim.len(), rank),
        ("the length of globalStrides", args.global_strides.len(), rank - 1),
        ("the length of boxDim", args.box_dim.len(), rank),
        ("the length of elementStrides", args.element_strides.len(), rank),
    ];
    for (name, length, wanted) in lengths {
        check(length == wanted, Rule::ArrayLength, name, length as u64)?;
    }
    for (i, &dim) in args.global_dim.iter().enumerate() {
        check_at((1..=1 << 32).contains(&dim), Rule::Dim, "globalDim", i, dim)?;
    }
    let (first, padded) =
        (args.global_dim[0], matches!(data_type, DataType::U4Align16 | DataType::U6Align16));
    check(!padded || first.is_multiple_of(128), Rule::DimPacked128, "globalDim[0]", first)?;
    let even = data_type != DataType::U4Align8 || first.is_multiple_of(2);
    check(even, Rule::DimPacked2, "globalDim[0]", first)?;
    for (i, &stride) in args.global_strides.iter().enumerate() {
        check_at(stride.is_multiple_of(16), Rule::StrideAlignment, "globalStrides", i, stride)?;
        check_at(!wide || stride.is_multiple_of(32), Rule::StrideAlignment32, "globalStrides", i, stride)?;
        check_at(stride < 1 << 40, Rule::StrideRange, "globalStrides", i, stride)?;
    }
    Ok(())
}

fn check_box(args: &EncodeArgs<'_>, data_type: DataType, rank: usize) -> Result<(), TensorMapError> {
    for (i, &extent) in args.box_dim.iter().enumerate() {
        check_at((1..=256).contains(&extent), Rule::Box, "boxDim", i, extent.into())?;
    }
    let first = u64::from(args.box_dim[0]);
    let padded = matches!(data_type, DataType::U4Align16 | DataType::U6Align16);
    check(!padded || first == 128, Rule::BoxPacked, "boxDim[0]", first)?;
    let row_bits = first * data_type.bits();
    let row_bytes = row_bits.div_ceil(8);
    if args.interleave == 0 {
        check(row_bits.is_multiple_of(128), Rule::BoxRowBytes, "boxDim[0] in bytes", row_bytes)?;
        let span = [u64::MAX, 32, 64, 128, 128, 128, 128][args.swizzle as usize];
        check(row_bytes <= span, Rule::SwizzleSpan, "boxDim[0] in bytes", row_bytes)?;
    }
    let ignored = usize::from(args.interleave == 0);
    for i in ignored..rank {
        let step = args.element_strides[i];
        check_at((1..=8).contains(&step), Rule::ElementStride, "elementStrides", i, step.into())?;
    }
    Ok(())
}

fn check_modes(args: &EncodeArgs<'_>, data_type: DataType) -> Result<(), TensorMapError> {
    let unpadded_6 = data_type != DataType::U6Align16 || args.interleave == 0;
    check(unpadded_6, Rule::InterleavePacked, "interleave", args.interleave.into())?;
    let interleaved = args.interleave != INTERLEAVE_32B || args.swizzle == Swizzle::B32.code();
    check(interleaved, Rule::SwizzleInterleaved, "swizzle", args.swizzle.into())?;
    let packed = match data_type {
        DataType::U4Align16 => matches!(args.swizzle, 0 | 3 | 4),
        DataType::U6Align16 => matches!(args.swizzle, 0 | 3 | 4 | 6),
        DataType::U8
        | DataType::U16
        | DataType::U32
        | DataType::I32
        | DataType::U64
        | DataType::I64
        | DataType::F16
        | DataType::F32
        | DataType::F64
        | DataType::Bf16
        | DataType::F32Ftz
        | DataType::Tf32
        | DataType::Tf32Ftz
        | DataType::U4Align8 => true,
    };
    check(packed, Rule::SwizzlePacked, "swizzle", args.swizzle.into())?;
    check(args.l2_promotion <= 3, Rule::L2Promotion, "l2Promotion", args.l2_promotion.into())?;
    check(args.oob_fill <= 1, Rule::Fill, "oobFill", args.oob_fill.into())?;
    check(args.oob_fill == 0 || data_type.is_float(), Rule::FillType, "oobFill", args.oob_fill.into())
}

fn check_modelled(args: &EncodeArgs<'_>, data_type: DataType) -> Result<(), TensorMapError> {
    let refuse = |argument, value, instead| Err(TensorMapError::NotModelled { argument, value, instead });
    match data_type {
        DataType::F32Ftz | DataType::Tf32 | DataType::Tf32Ftz => refuse(
            "tensorDataType",
            args.data_type,
            "copy f32 as FLOAT32, the matrix instructions ignore the low bits",
        ),
        DataType::U4Align8 | DataType::U4Align16 | DataType::U6Align16 => {
            refuse("tensorDataType", args.data_type, "copy packed values as UINT8")
        }
        DataType::U8
        | DataType::U16
        | DataType::U32
        | DataType::I32
        | DataType::U64
        | DataType::I64
        | DataType::F16
        | DataType::F32
        | DataType::F64
        | DataType::Bf16 => {
            if args.interleave != 0 {
                refuse("interleave", args.interleave, "use INTERLEAVE_NONE")
            } else if args.swizzle > Swizzle::B128.code() {
                refuse("swizzle", args.swizzle, "use SWIZZLE_128B, whose atoms are 16 bytes")
            } else {
                Ok(())
            }
        }
    }
}
