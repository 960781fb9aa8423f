//! Every rule broken once; copies against a loop over single elements; the swizzle against its statement in rows and
//! chunks.

use super::*;

fn valid() -> EncodeArgs<'static> {
    EncodeArgs {
        map_address: 0x7fff_0000_0040,
        data_type: DataType::Bf16 as u32,
        rank: 3,
        global_address: 0x1000,
        global_dim: &[100, 50, 7],
        global_strides: &[208, 10_400],
        box_dim: &[64, 8, 2],
        element_strides: &[1, 1, 1],
        interleave: 0,
        swizzle: 3,
        l2_promotion: 2,
        oob_fill: 0,
    }
}

#[test]
fn every_rule_is_named_with_argument_and_value() {
    use DataType::{F32, U4Align8, U4Align16, U6Align16, U8};
    let base = || EncodeArgs { swizzle: 0, ..valid() };
    let padded = || EncodeArgs {
        data_type: U4Align16 as u32,
        global_dim: &[128, 50, 7],
        global_strides: &[64, 3200],
        box_dim: &[128, 8, 2],
        ..base()
    };
    let interleaved = || EncodeArgs { interleave: 2, swizzle: 1, global_strides: &[224, 10_432], ..base() };
    let cases: Vec<(EncodeArgs<'_>, Rule, &str, u64)> = vec![
        (EncodeArgs { map_address: 0x20, ..base() }, Rule::MapAlignment, "tensorMap", 0x20),
        (EncodeArgs { data_type: 16, ..base() }, Rule::DataType, "tensorDataType", 16),
        (EncodeArgs { rank: 0, ..base() }, Rule::Rank, "tensorRank", 0),
        (EncodeArgs { rank: 6, ..base() }, Rule::Rank, "tensorRank", 6),
        (EncodeArgs { rank: 2, interleave: 1, ..base() }, Rule::RankInterleaved, "tensorRank", 2),
        (EncodeArgs { rank: 2, ..base() }, Rule::ArrayLength, "the length of globalDim", 3),
        (
            EncodeArgs { global_strides: &[208], ..base() },
            Rule::ArrayLength,
            "the length of globalStrides",
            1,
        ),
        (EncodeArgs { box_dim: &[64], ..base() }, Rule::ArrayLength, "the length of boxDim", 1),
        (EncodeArgs { element_strides: &[], ..base() }, Rule::ArrayLength, "the length of elementStrides", 0),
        (EncodeArgs { global_address: 0x1008, ..base() }, Rule::AddressAlignment, "globalAddress", 0x1008),
        (
            EncodeArgs { global_address: 0x1010, ..padded() },
            Rule::AddressAlignment32,
            "globalAddress",
            0x1010,
        ),
        (
            EncodeArgs { global_address: 0x1010, ..interleaved() },
            Rule::AddressAlignment32,
            "globalAddress",
            0x1010,
        ),
        (EncodeArgs { global_dim: &[100, 0, 7], ..base() }, Rule::Dim, "globalDim[1]", 0),
        (
            EncodeArgs { global_dim: &[100, 5, (1 << 32) + 1], ..base() },
            Rule::Dim,
            "globalDim[2]",
            (1 << 32) + 1,
        ),
        (EncodeArgs { global_dim: &[130, 50, 7], ..padded() }, Rule::DimPacked128, "globalDim[0]", 130),
        (
            EncodeArgs { data_type: U4Align8 as u32, global_dim: &[101, 50, 7], ..base() },
            Rule::DimPacked2,
            "globalDim[0]",
            101,
        ),
        (
            EncodeArgs { global_strides: &[208, 10_408], ..base() },
            Rule::StrideAlignment,
            "globalStrides[1]",
            10_408,
        ),
        (
            EncodeArgs { global_strides: &[80, 3200], ..padded() },
            Rule::StrideAlignment32,
            "globalStrides[0]",
            80,
        ),
        (
            EncodeArgs { global_strides: &[208, 1 << 40], ..base() },
            Rule::StrideRange,
            "globalStrides[1]",
            1 << 40,
        ),
        (EncodeArgs { box_dim: &[64, 8, 0], ..base() }, Rule::Box, "boxDim[2]", 0),
        (EncodeArgs { box_dim: &[264, 8, 1], ..base() }, Rule::Box, "boxDim[0]", 264),
        (EncodeArgs { box_dim: &[60, 8, 1], ..base() }, Rule::BoxRowBytes, "boxDim[0] in bytes", 120),
        (EncodeArgs { box_dim: &[64, 8, 2], ..padded() }, Rule::BoxPacked, "boxDim[0]", 64),
        (EncodeArgs { element_strides: &[0, 1, 9], ..base() }, Rule::ElementStride, "elementStrides[2]", 9),
        (
            EncodeArgs { element_strides: &[0, 1, 1], ..interleaved() },
            Rule::ElementStride,
            "elementStrides[0]",
            0,
        ),
        (EncodeArgs { interleave: 3, ..base() }, Rule::Interleave, "interleave", 3),
        (
            EncodeArgs { data_type: U6Align16 as u32, interleave: 1, ..padded() },
            Rule::InterleavePacked,
            "interleave",
            1,
        ),
        (EncodeArgs { swizzle: 7, ..base() }, Rule::Swizzle, "swizzle", 7),
        (EncodeArgs { swizzle: 2, ..base() }, Rule::SwizzleSpan, "boxDim[0] in bytes", 128),
        (
            EncodeArgs { swizzle: 1, box_dim: &[24, 1, 1], ..base() },
            Rule::SwizzleSpan,
            "boxDim[0] in bytes",
            48,
        ),
        (
            EncodeArgs { swizzle: 4, box_dim: &[72, 1, 1], ..base() },
            Rule::SwizzleSpan,
            "boxDim[0] in bytes",
            144,
        ),
        (EncodeArgs { swizzle: 3, ..interleaved() }, Rule::SwizzleInterleaved, "swizzle", 3),
        (EncodeArgs { swizzle: 6, ..padded() }, Rule::SwizzlePacked, "swizzle", 6),
        (EncodeArgs { l2_promotion: 4, ..base() }, Rule::L2Promotion, "l2Promotion", 4),
        (EncodeArgs { oob_fill: 2, ..base() }, Rule::Fill, "oobFill", 2),
        (EncodeArgs { oob_fill: 1, data_type: U8 as u32, ..base() }, Rule::FillType, "oobFill", 1),
    ];
    for (args, rule, argument, value) in cases {
        match TensorMap::encode(&args) {
            Err(TensorMapError::Rule { rule: r, argument: a, value: v }) => {
                assert_eq!((r, a.as_str(), v), (rule, argument, value));
            }
            other => panic!("{rule:?} on {argument}: {other:?}"),
        }
    }
    let error =
        TensorMap::encode(&EncodeArgs { global_strides: &[208, 8], ..base() }).unwrap_err().to_string();
    assert_eq!(
        error,
        "cuTensorMapEncodeTiled: globalStrides[1] is 8: the stride must be a multiple of 16 bytes"
    );
    for accepted in [
        base(),
        valid(),
        EncodeArgs { oob_fill: 1, data_type: F32 as u32, box_dim: &[32, 1, 1], ..valid() },
        EncodeArgs { global_dim: &[1 << 32, 1 << 32, 1], global_strides: &[0, (1 << 40) - 16], ..base() },
    ] {
        TensorMap::encode(&accepted).unwrap();
    }
    for refused in
        [padded(), interleaved(), EncodeArgs { swizzle: 5, ..base() }, EncodeArgs { data_type: 11, ..base() }]
    {
        let wide = EncodeArgs {
            box_dim: if refused.data_type == 11 { &[32, 1, 1] } else { refused.box_dim },
            ..refused
        };
        assert!(matches!(TensorMap::encode(&wide), Err(TensorMapError::NotModelled { .. })));
    }
}

#[test]
fn bytes_hold_every_field_and_betray_every_change() {
    for args in [
        valid(),
        EncodeArgs {
            rank: 5,
            data_type: DataType::F32 as u32,
            global_address: u64::MAX - 15,
            global_dim: &[1 << 32, 1, 2, 3, 4],
            global_strides: &[(1 << 40) - 16, 16, 0, 32],
            box_dim: &[256, 1, 256, 2, 3],
            element_strides: &[5, 8, 1, 2, 3],
            swizzle: 0,
            oob_fill: 1,
            ..valid()
        },
    ] {
        let map = TensorMap::encode(&args).unwrap();
        let bytes = map.to_bytes();
        assert_eq!(TensorMap::from_bytes(&bytes), Ok(map));
        for at in 0..TENSOR_MAP_BYTES {
            let mut broken = bytes;
            broken[at] ^= 0x10;
            let error = TensorMap::from_bytes(&broken).unwrap_err();
            assert_eq!(matches!(error, TensorMapError::NotAMap { .. }), at < 8, "byte {at}");
        }
    }
    assert!(matches!(TensorMap::from_bytes(&[0; 128]), Err(TensorMapError::NotAMap { found: 0 })));
}

/// The swizzle in words: 16-byte chunk `chunk` of 128-byte line `line`.
fn swizzle_by_statement(swizzle: Swizzle, address: u64) -> u64 {
    let (line, chunk, byte) = (address / 128, address / 16 % 8, address % 16);
    let chunk = match swizzle {
        Swizzle::None => chunk,
        Swizzle::B128 => chunk ^ (line % 8),
        Swizzle::B64 => chunk / 4 * 4 + ((chunk % 4) ^ (line % 4)),
        Swizzle::B32 => chunk / 2 * 2 + ((chunk % 2) ^ (line % 2)),
    };
    line * 128 + chunk * 16 + byte
}

const SWIZZLES: [Swizzle; 4] = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128];

#[test]
fn swizzles_are_involutions_that_repeat() {
    for swizzle in SWIZZLES {
        for address in 0..4096 {
            assert_eq!(
                swizzle.apply(address),
                swizzle_by_statement(swizzle, address),
                "{swizzle:?} {address:#x}"
            );
            assert_eq!(swizzle.apply(swizzle.apply(address)), address);
            let period = u64::from(swizzle.period()).max(128);
            assert_eq!(swizzle.apply(address + period), swizzle.apply(address) + period);
        }
        // A column of eight rows of the span touches as many 16-byte banks as the span has chunks, eight for 128.
        let span = u64::from(swizzle.span());
        let banks: std::collections::BTreeSet<u64> =
            (0..8).map(|row| swizzle.apply(row * span) / 16 % 8).collect();
        assert_eq!(banks.len(), 8, "{swizzle:?}");
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20) % bound
    }
}

/// A random map over a tensor of at most a few thousand bytes, and the size of its memory.
fn random_map(random: &mut Random) -> (TensorMap, usize) {
    let types = [DataType::U8, DataType::F16, DataType::F32, DataType::I64];
    let data_type = types[random.below(4) as usize];
    let element = data_type.bits() / 8;
    let rank = 1 + random.below(5) as usize;
    let swizzle = SWIZZLES[random.below(4) as usize];
    let row_bytes = match swizzle {
        Swizzle::None => 16 * (1 + random.below(4)),
        Swizzle::B32 | Swizzle::B64 | Swizzle::B128 => u64::from(swizzle.span()),
    };
    let mut dims = vec![1 + random.below(40)];
    let mut strides = vec![];
    let mut size = (dims[0] * element).next_multiple_of(16);
    for _ in 1..rank {
        strides.push(size);
        dims.push(1 + random.below(6));
        size = size * dims[dims.len() - 1] + 16 * random.below(3);
    }
    let mut box_dim = vec![(row_bytes / element) as u32];
    box_dim.extend((1..rank).map(|_| 1 + random.below(6) as u32));
    let element_strides: Vec<u32> = (0..rank).map(|_| 1 + random.below(3) as u32).collect();
    let args = EncodeArgs {
        data_type: data_type as u32,
        rank: rank as u32,
        global_dim: &dims,
        global_strides: &strides,
        box_dim: &box_dim,
        element_strides: &element_strides,
        swizzle: swizzle.code(),
        oob_fill: u32::from(data_type.is_float() && random.below(2) == 0),
        ..valid()
    };
    (TensorMap::encode(&args).unwrap(), size as usize)
}

/// Calls `visit(offset in the tensor or nothing, linear byte in the box)` for each element of the box.
fn each_element(map: &TensorMap, coordinates: &[i32], mut visit: impl FnMut(Option<u64>, u64)) {
    let counts: Vec<u64> = (0..map.rank)
        .map(|dim| {
            if dim == 0 {
                map.box_dims[0] as u64
            } else {
                map.box_dims[dim].div_ceil(map.element_strides[dim]) as u64
            }
        })
        .collect();
    for linear in 0..counts.iter().product() {
        let (mut rest, mut offset) = (linear, Some(0));
        for dim in 0..map.rank {
            let step = if dim == 0 { 1 } else { map.element_strides[dim] };
            let at = i64::from(coordinates[dim]) + (rest % counts[dim]) as i64 * i64::from(step);
            rest /= counts[dim];
            let pitch = if dim == 0 { map.element_bytes() } else { map.strides[dim] };
            offset =
                offset.filter(|_| at >= 0 && at < map.dims[dim] as i64).map(|sum| sum + at as u64 * pitch);
        }
        visit(offset, linear * map.element_bytes());
    }
}

#[test]
fn copies_match_a_loop_over_elements() {
    let mut random = Random(99);
    let (mut filled, mut partial) = (0, 0);
    for _ in 0..400 {
        let (map, size) = random_map(&mut random);
        let coordinates: Vec<i32> =
            (0..map.rank).map(|dim| random.below(map.dims[dim] + 12) as i32 - 6).collect();
        let base = 128 * random.below(20);
        let element = map.element_bytes() as usize;
        let global: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();

        let room = (base + map.box_bytes() + 1024) as usize;
        let mut want: Vec<Option<u8>> = vec![None; room];
        let mut inside = 0;
        each_element(&map, &coordinates, |offset, linear| {
            inside += offset.map_or(0, |_| element);
            for byte in 0..element {
                let at = swizzle_by_statement(map.swizzle, base + linear + byte as u64) as usize;
                let value = offset.map_or(map.fill_element()[byte], |offset| global[offset as usize + byte]);
                assert!(want[at].replace(value).is_none());
            }
        });
        let mut got: Vec<Option<u8>> = vec![None; room];
        let mut moved = 0;
        map.load_runs(&coordinates, base, |run| {
            moved += run.bytes;
            for byte in 0..run.bytes {
                let value = match run.global {
                    Source::Offset(offset) => global[(offset + byte) as usize],
                    Source::Fill => {
                        filled += 1;
                        // Runs of fill begin at an element.
                        map.fill_element()[byte as usize % element]
                    }
                };
                assert!(got[(run.shared + byte) as usize].replace(value).is_none(), "written twice");
            }
        })
        .unwrap();
        assert_eq!(got, want, "{map:?} at {coordinates:?}");
        assert_eq!(moved, map.box_bytes());

        let forward: Vec<i32> = coordinates.iter().map(|&at| at.max(0)).collect();
        let shared: Vec<u8> = (0..room).map(|_| random.below(256) as u8).collect();
        let mut want = global.clone();
        each_element(&map, &forward, |offset, linear| {
            for byte in 0..element {
                let at = swizzle_by_statement(map.swizzle, base + linear + byte as u64) as usize;
                if let Some(offset) = offset {
                    want[offset as usize + byte] = shared[at];
                }
            }
        });
        let mut got = global.clone();
        map.store_runs(&forward, base, |run| match run.global {
            Source::Offset(offset) => {
                let (to, from) = (offset as usize, run.shared as usize);
                got[to..to + run.bytes as usize].copy_from_slice(&shared[from..from + run.bytes as usize]);
            }
            Source::Fill => panic!("stores drop what is outside"),
        })
        .unwrap();
        assert_eq!(got, want, "{map:?} at {forward:?}");
        partial += usize::from(inside > 0 && (inside as u64) < map.box_bytes());
    }
    assert!(filled > 10_000 && partial > 50, "the draw reached the edges: {filled} {partial}");
}

#[test]
fn copies_that_break_a_rule_are_refused() {
    let map = TensorMap::encode(&valid()).unwrap();
    let mut visited = 0;
    let mut load = |map: &TensorMap, at: &[i32], shared| map.load_runs(at, shared, |_| visited += 1);
    assert_eq!(load(&map, &[0, 0], 0), Err(TensorCopyError::Coordinates { given: 2, rank: 3 }));
    assert_eq!(load(&map, &[0, 0, 0], 64), Err(TensorCopyError::SharedAlignment { address: 64 }));
    let narrow = TensorMap::encode(&EncodeArgs { box_dim: &[32, 8, 2], ..valid() }).unwrap();
    assert_eq!(load(&narrow, &[0, 0, 0], 0), Err(TensorCopyError::ShortRows { row_bytes: 64, span: 128 }));
    assert_eq!(visited, 0);
    let error = map.store_runs(&[0, -1, 0], 0, |_| ()).unwrap_err();
    assert_eq!(error, TensorCopyError::NegativeStore { dim: 1, coordinate: -1 });
    assert_eq!(map.box_bytes(), 2048);
    assert_eq!(
        TensorMap::encode(&EncodeArgs { oob_fill: 1, ..valid() }).unwrap().fill_element()[..2],
        [0xff, 0x7f]
    );
}
