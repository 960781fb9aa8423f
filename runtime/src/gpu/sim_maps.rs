//! Tensor maps as the simulated GPU reads them.

use tilewright_codegen::cuda::artifact::{L2Promotion, OutOfBounds, TensorMapRule};
use tilewright_codegen::launch::ViewArg;
use tilewright_sim::{EncodeArgs, TensorMap as SimMap};

use crate::cuda::packing::{EncodedMap, MapFailure};
use crate::cuda::tensor_map::TensorMap;
use crate::error::CudaError;

/// What the driver's call that encodes a tensor map takes, as the machine takes it.
#[must_use]
pub fn encode_args(map: &TensorMap) -> EncodeArgs<'_> {
    EncodeArgs {
        map_address: 0,
        data_type: map.data_type as u32,
        rank: map.global_dim.len() as u32,
        global_address: map.global_address,
        global_dim: &map.global_dim,
        global_strides: &map.global_strides,
        box_dim: &map.box_dim,
        element_strides: &map.element_strides,
        interleave: map.interleave as u32,
        swizzle: map.swizzle as u32,
        l2_promotion: match map.l2_promotion {
            L2Promotion::None => 0,
            L2Promotion::B64 => 1,
            L2Promotion::B128 => 2,
            L2Promotion::B256 => 3,
        },
        oob_fill: match map.oob_fill {
            OutOfBounds::Zero => 0,
            OutOfBounds::Nan => 1,
        },
    }
}

/// The machine's form of a tensor map. Both sides number the driver's enumerations in the driver's order.
pub(super) fn encode(view: &ViewArg, rule: &TensorMapRule) -> Result<EncodedMap, MapFailure> {
    let map = TensorMap::of_view(view, rule).map_err(MapFailure::Broken)?;
    let args = encode_args(&map);
    let encoded = SimMap::encode(&args).map_err(|e| {
        MapFailure::Driver(CudaError::Driver {
            call: "cuTensorMapEncodeTiled (simulated)",
            code: 1,
            name: "CUDA_ERROR_INVALID_VALUE".to_owned(),
            message: e.to_string(),
        })
    })?;
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(encoded.to_bytes().chunks_exact(8)) {
        *word = bytes.iter().rev().fold(0, |w, &b| w << 8 | u64::from(b));
    }
    Ok(EncodedMap(words))
}
