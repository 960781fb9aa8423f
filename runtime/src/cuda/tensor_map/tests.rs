//! Each rule is broken alone, from a map that breaks none, and must be the one that is named.

use tilewright_codegen::ir::MAX_RANK;

use super::*;

/// A bf16 matrix of 1000 rows of 4096, copied 64 x 128 with the 128-byte pattern.
fn legal() -> TensorMap {
    TensorMap {
        data_type: MapType::BF16,
        global_address: 0x7f00_0000_0100,
        global_dim: vec![4096, 1000],
        global_strides: vec![8192],
        box_dim: vec![64, 128],
        element_strides: vec![1, 1],
        interleave: Interleave::None,
        swizzle: SwizzleMode::B128,
        l2_promotion: L2Promotion::B128,
        oob_fill: OutOfBounds::Nan,
    }
}

fn packed(ty: MapType) -> TensorMap {
    TensorMap {
        data_type: ty,
        global_dim: vec![256, 8],
        global_strides: vec![192],
        box_dim: vec![128, 8],
        oob_fill: OutOfBounds::Zero,
        ..legal()
    }
}

fn interleaved(interleave: Interleave, swizzle: SwizzleMode) -> TensorMap {
    TensorMap {
        interleave,
        swizzle,
        global_dim: vec![16, 100, 100],
        global_strides: vec![32 * 16, 32 * 1600],
        box_dim: vec![16, 8, 8],
        element_strides: vec![1; 3],
        ..legal()
    }
}

#[test]
fn legal_maps_break_nothing() {
    let largest = TensorMap {
        global_dim: vec![1 << 31; 5],
        global_strides: vec![(1 << 40) - 16; 4],
        box_dim: vec![64, 256, 1, 1, 1],
        element_strides: vec![0, 8, 1, 1, 1],
        ..legal()
    };
    let maps = [
        legal(),
        largest,
        packed(MapType::Packed16U4Align16),
        packed(MapType::Packed16U6Align16),
        TensorMap { swizzle: SwizzleMode::B64, ..packed(MapType::Packed16U4Align8) },
        interleaved(Interleave::B16, SwizzleMode::None),
        interleaved(Interleave::B32, SwizzleMode::B32),
    ];
    for map in maps {
        assert_eq!(map.broken_rules(), [], "{map:?}");
    }
}

#[test]
fn each_broken_rule_is_named_with_its_argument_and_number() {
    let u4 = || packed(MapType::Packed16U4Align16);
    let u6 = || packed(MapType::Packed16U6Align16);
    let i32_ = || interleaved(Interleave::B32, SwizzleMode::B32);
    let base = legal;
    let cases: Vec<(TensorMap, &str)> = vec![
        (
            TensorMap {
                global_dim: vec![],
                global_strides: vec![],
                box_dim: vec![],
                element_strides: vec![],
                ..base()
            },
            "tensorRank is 0, and must be 1 to 5",
        ),
        (
            TensorMap {
                global_dim: vec![16; 6],
                global_strides: vec![64; 5],
                box_dim: vec![8; 6],
                element_strides: vec![1; 6],
                ..base()
            },
            "tensorRank is 6, and must be 1 to 5",
        ),
        (
            TensorMap { interleave: Interleave::B16, ..base() },
            "tensorRank is 2, and must be 3 to 5 with an interleaved layout",
        ),
        (
            TensorMap { global_strides: vec![], ..base() },
            "the number of globalStrides is 0, and must be 1 for 2 axes",
        ),
        (TensorMap { box_dim: vec![64], ..base() }, "the number of boxDim is 1, and must be 2 for 2 axes"),
        (
            TensorMap { element_strides: vec![1; 3], ..base() },
            "the number of elementStrides is 3, and must be 2 for 2 axes",
        ),
        (
            TensorMap { global_address: 0, ..base() },
            "globalAddress is null, and must be the address of the tensor",
        ),
        (
            TensorMap { global_address: 0x1008, ..base() },
            "globalAddress is 0x1008, and must be a multiple of 16 bytes",
        ),
        (
            TensorMap { global_address: 0x1010, ..i32_() },
            "globalAddress is 0x1010, and must be a multiple of 32 bytes with interleaved slices of 32 bytes",
        ),
        (
            TensorMap { global_address: 0x1010, ..u4() },
            "globalAddress is 0x1010, and must be a multiple of 32 bytes for packed elements that fill 16 bytes",
        ),
        (
            TensorMap { global_dim: vec![4096, 0], ..base() },
            "globalDim[1] is 0, and must be 1 to 2147483648 elements",
        ),
        (
            TensorMap { global_dim: vec![4096, (1 << 31) + 1], ..base() },
            "globalDim[1] is 2147483649, and must be 1 to 2147483648 elements",
        ),
        (
            TensorMap { global_dim: vec![192, 8], ..u6() },
            "globalDim[0] is 192, and must be a multiple of 128 for Packed16U6Align16",
        ),
        (
            TensorMap { global_dim: vec![255, 8], ..packed(MapType::Packed16U4Align8) },
            "globalDim[0] is 255, and must be a multiple of 2 for Packed16U4Align8",
        ),
        (
            TensorMap { global_strides: vec![8200], ..base() },
            "globalStrides[0] is 8200, and must be a multiple of 16 bytes",
        ),
        (
            TensorMap { global_strides: vec![32 * 16 + 16, 32 * 1600], ..i32_() },
            "globalStrides[0] is 528, and must be a multiple of 32 bytes with interleaved slices of 32 bytes",
        ),
        (
            TensorMap { global_strides: vec![208], ..u6() },
            "globalStrides[0] is 208, and must be a multiple of 32 bytes for packed elements that fill 16 bytes",
        ),
        (
            TensorMap { global_strides: vec![1 << 40], ..base() },
            "globalStrides[0] is 1099511627776, and must be less than 2^40 bytes",
        ),
        (
            TensorMap { global_strides: vec![0], ..base() },
            "globalStrides[0] is 0, and must be at least 4096 for globalDim[0], which is 4096",
        ),
        (TensorMap { box_dim: vec![64, 0], ..base() }, "boxDim[1] is 0, and must be 1 to 256 elements"),
        (TensorMap { box_dim: vec![64, 257], ..base() }, "boxDim[1] is 257, and must be 1 to 256 elements"),
        (
            TensorMap { box_dim: vec![12, 8], ..base() },
            "boxDim[0] is 12 elements, 24 bytes, and must be a multiple of 16 bytes",
        ),
        (
            TensorMap { box_dim: vec![72, 8], ..base() },
            "boxDim[0] is 72 elements, 144 bytes, and must be at most 128 bytes with the swizzle B128",
        ),
        (
            TensorMap { swizzle: SwizzleMode::B64, ..base() },
            "boxDim[0] is 64 elements, 128 bytes, and must be at most 64 bytes with the swizzle B64",
        ),
        (
            TensorMap { swizzle: SwizzleMode::B32, box_dim: vec![24, 8], ..base() },
            "boxDim[0] is 24 elements, 48 bytes, and must be at most 32 bytes with the swizzle B32",
        ),
        (
            TensorMap { box_dim: vec![64, 8], ..u4() },
            "boxDim[0] is 64, and must be 128 for Packed16U4Align16",
        ),
        (
            TensorMap { element_strides: vec![1, 0], ..base() },
            "elementStrides[1] is 0, and must be 1 to 8 elements",
        ),
        (
            TensorMap { element_strides: vec![1, 9], ..base() },
            "elementStrides[1] is 9, and must be 1 to 8 elements",
        ),
        (
            TensorMap { element_strides: vec![9, 1, 1], ..i32_() },
            "elementStrides[0] is 9, and must be 1 to 8 elements",
        ),
        (
            TensorMap { swizzle: SwizzleMode::B64, ..i32_() },
            "swizzle is B64, and must be B32 with interleaved slices of 32 bytes",
        ),
        (
            TensorMap {
                data_type: MapType::Packed16U6Align16,
                global_dim: vec![128, 100, 100],
                box_dim: vec![128, 8, 8],
                oob_fill: OutOfBounds::Zero,
                ..interleaved(Interleave::B16, SwizzleMode::None)
            },
            "interleave is B16, and must be None for Packed16U6Align16",
        ),
        (
            TensorMap { swizzle: SwizzleMode::B128Atom64, ..u4() },
            "swizzle is B128Atom64, and must be one of [None, B128, B128Atom32] for Packed16U4Align16",
        ),
        (
            TensorMap { swizzle: SwizzleMode::B128Atom32Flip8, ..u6() },
            "swizzle is B128Atom32Flip8, and must be one of [None, B128, B128Atom32, B128Atom64] for Packed16U6Align16",
        ),
        (
            TensorMap { data_type: MapType::U16, ..base() },
            "oobFill is Nan, and must be Zero for U16: NaN is for float types",
        ),
        (
            TensorMap { oob_fill: OutOfBounds::Nan, ..u4() },
            "oobFill is Nan, and must be Zero for Packed16U4Align16: NaN is for float types",
        ),
    ];
    for (map, expected) in cases {
        let found: Vec<String> = map.broken_rules().iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("tensor map: {expected}")], "{map:?}");
    }
}

fn view(dtype: DType, dims: &[i64], strides: &[i64]) -> ViewArg {
    let mut arg = ViewArg {
        ptr: std::ptr::without_provenance_mut(0x1000),
        dtype,
        rank: dims.len() as u8,
        mutable: false,
        dims: [1; MAX_RANK],
        strides: [0; MAX_RANK],
    };
    arg.dims[..dims.len()].copy_from_slice(dims);
    arg.strides[..dims.len()].copy_from_slice(strides);
    arg
}

fn rule(box_dims: &[u32], swizzle: Swizzle) -> TensorMapRule {
    TensorMapRule {
        box_dims: box_dims.to_vec(),
        swizzle,
        l2_promotion: L2Promotion::B256,
        fill: OutOfBounds::Zero,
    }
}

#[test]
fn a_view_becomes_a_map_with_its_axes_reversed() {
    let x = view(DType::BF16, &[3, 100, 64], &[8192, 80, 1]);
    let map = TensorMap::of_view(&x, &rule(&[1, 32, 64], Swizzle::B128)).expect("the view is legal");
    assert_eq!((&map.global_dim[..], &map.global_strides[..]), (&[64, 100, 3][..], &[160, 16384][..]));
    assert_eq!((&map.box_dim[..], map.global_address), (&[64, 32, 1][..], 0x1000));
    assert_eq!(map.box_bytes(), 64 * 32 * 2);

    // An axis of one element may have any stride: the map gets a legal one.
    let x = view(DType::F32, &[1, 10, 4], &[-7, 8, 1]);
    let map = TensorMap::of_view(&x, &rule(&[1, 2, 4], Swizzle::None)).expect("the view is legal");
    assert_eq!(map.global_strides, [32, 320]);
    assert_eq!(map.broken_rules(), []);
}

#[test]
fn views_that_no_map_can_show_are_refused() {
    let refused = |view: &ViewArg, box_dims: &[u32]| {
        let broken = TensorMap::of_view(view, &rule(box_dims, Swizzle::None)).expect_err("it is not legal");
        broken.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let text = refused(&view(DType::F32, &[8, 8], &[1, 8]), &[8, 8]);
    assert!(text.contains("stride along axis 1 is 8, and must be 1 element"), "{text}");
    let text = refused(&view(DType::F32, &[8, 8], &[-8, 1]), &[8, 8]);
    assert!(text.contains("stride along axis 0 is -8, and must be not negative"), "{text}");
    let text = refused(&view(DType::BF16, &[8, 9], &[9, 1]), &[8, 8]);
    assert!(text.contains("globalStrides[0] is 18, and must be a multiple of 16 bytes"), "{text}");
    let text = refused(&view(DType::BF16, &[8, 0], &[8, 1]), &[8, 8]);
    assert!(text.contains("globalDim[0] is 0"), "{text}");
    let text = refused(&view(DType::BF16, &[8, 8], &[8, 1]), &[8]);
    assert!(text.contains("the number of boxDim is 1"), "{text}");
    let text = refused(&view(DType::BF16, &[], &[]), &[]);
    assert!(text.contains("rank is 0"), "{text}");
}
