//! Conversions between formats and from and to integers.

use super::*;

#[test]
fn sixteen_bit_values_decode_as_half_does() {
    for bits in 0..=u16::MAX {
        let (ours, theirs) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
        assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "f16 {bits:#06x}");
        assert!(!ours.is_nan() || ours.to_bits() == NAN_F32);
        assert!(decode(u64::from(bits), Format::F16) == f64::from(ours) || ours.is_nan());
        let (ours, theirs) = (bf16_to_f32(bits), half::bf16::from_bits(bits).to_f32());
        assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "bf16 {bits:#06x}");
        assert!(decode(u64::from(bits), Format::Bf16) == f64::from(ours) || ours.is_nan());
    }
}

/// Every 16-bit value, every midpoint between neighbours, and what lies one f32 step to either side of both.
#[test]
fn narrowing_to_sixteen_bits_agrees_with_half() {
    let check = |x: f32| {
        let (f16, bf16) = (half::f16::from_f32(x), half::bf16::from_f32(x));
        if x.is_nan() {
            assert_eq!((f32_to_f16(x, Mode::RN), f32_to_bf16(x, Mode::RN)), (NAN_16, NAN_16));
        } else {
            assert_eq!(f32_to_f16(x, Mode::RN), f16.to_bits(), "f16 of {x:e}");
            assert_eq!(f32_to_bf16(x, Mode::RN), bf16.to_bits(), "bf16 of {x:e}");
        }
    };
    for bits in 0..=u16::MAX {
        for base in [f16_to_f32(bits), bf16_to_f32(bits)] {
            for other in [f16_to_f32(bits.wrapping_add(1)), bf16_to_f32(bits.wrapping_add(1))] {
                let middle = ((f64::from(base) + f64::from(other)) / 2.0) as f32;
                for x in [base, middle] {
                    check(x);
                    check(x.next_up());
                    check(x.next_down());
                }
            }
        }
    }
    let mut random = Random::new(1);
    (0..300_000).for_each(|_| check(random.f32()));
}

#[test]
fn every_rounding_mode_picks_the_neighbour_it_names() {
    for format in [Format::E4m3, Format::E5m2, Format::F16, Format::Bf16] {
        let values = finite_values(format);
        let encoded = |x: f64, round| encode(x, format, Mode { round, ..Mode::RN });
        let mut random = Random::new(2);
        for pair in values.windows(2) {
            let ((low, low_bits), (high, _)) = (pair[0], pair[1]);
            assert!(decode(low_bits, format) == low);
            let part = (random.next() % 1000 + 1) as f64 / 1002.0;
            for x in [low, low + (high - low) / 2.0, low + (high - low) * part] {
                for x in [x, x.next_up(), x.next_down()] {
                    if x < values[0].0 || x > values[values.len() - 1].0 || x == 0.0 {
                        continue;
                    }
                    for round in ROUNDS {
                        // A negative value that rounds to zero is -0, which the enumeration leaves out.
                        let want = round_by_enumeration(&values, x, round);
                        let want = if want == 0 && x < 0.0 { format.sign() } else { want };
                        assert_eq!(encoded(x, round), want, "{format:?} {round:?} of {x:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn eight_bit_floats_saturate_and_keep_nan() {
    let e4m3 = |x: f32| f32_to_e4m3(x, Mode::RN_SATFINITE);
    let e5m2 = |x: f32| f32_to_e5m2(x, Mode::RN_SATFINITE);
    assert_eq!([e4m3(448.0), e4m3(464.0), e4m3(465.0), e4m3(1e30), e4m3(f32::INFINITY)], [0x7e; 5]);
    assert_eq!([e4m3(-465.0), e4m3(f32::NEG_INFINITY)], [0xfe; 2]);
    assert_eq!([e5m2(57344.0), e5m2(61440.0), e5m2(1e30), e5m2(f32::INFINITY)], [0x7b; 4]);
    assert_eq!([e5m2(-1e30), e5m2(f32::NEG_INFINITY)], [0xfb; 2]);
    assert_eq!([e4m3(f32::NAN), e5m2(f32::NAN), e4m3(-f32::NAN)], [0x7f; 3]);
    assert_eq!((e4m3_to_f32(0x7e), e4m3_to_f32(0x01)), (448.0, 2.0_f32.powi(-9)));
    assert!(e4m3_to_f32(0x7f).is_nan() && e4m3_to_f32(0xff).is_nan());
    assert_eq!((e5m2_to_f32(0x7b), e5m2_to_f32(0x7c)), (57344.0, f32::INFINITY));
    let relu = Mode { clamp: Clamp::Relu, ..Mode::RN_SATFINITE };
    assert_eq!(
        (f32_to_e4m3(-3.0, relu), f32_to_e4m3(3.0, relu), f32_to_e4m3(f32::NAN, relu)),
        (0, 0x44, 0x7f)
    );
    for bits in 0..=u8::MAX {
        let same = |wide: f32, back: u8| back == bits || wide.is_nan() || wide.is_infinite();
        assert!(same(e4m3_to_f32(bits), e4m3(e4m3_to_f32(bits))));
        assert!(same(e5m2_to_f32(bits), e5m2(e5m2_to_f32(bits))));
        let generic = decode(u64::from(bits), Format::E5m2);
        let direct = f64::from(e5m2_to_f32(bits));
        assert!(generic == direct || (generic.is_nan() && direct.is_nan()), "{bits:#x}");
    }
}

#[test]
fn packed_conversions_put_the_first_source_on_top() {
    assert_eq!(f32x2_to_f16x2(1.0, 2.0, Mode::RN), 0x3c00_4000);
    assert_eq!(f32x2_to_bf16x2(1.0, 2.0, Mode::RN), 0x3f80_4000);
    assert_eq!(f32x2_to_e4m3x2(1.0, 2.0, Mode::RN_SATFINITE), 0x3840);
    assert_eq!(f32x2_to_e5m2x2(1.0, 2.0, Mode::RN_SATFINITE), 0x3c40);
    assert_eq!(e4m3x2_to_f16x2(0x3840, Clamp::Off), 0x3c00_4000);
    assert_eq!(e5m2x2_to_f16x2(0xbc40, Clamp::Off), 0xbc00_4000);
    assert_eq!(e5m2x2_to_f16x2(0xbc40, Clamp::Relu), 0x0000_4000);
    assert_eq!(f16x2_to_e4m3x2(0x3c00_4000, Mode::RN_SATFINITE), 0x3840);
    assert_eq!(f16x2_to_e5m2x2(0x3c00_4000, Mode::RN_SATFINITE), 0x3c40);
}

#[test]
fn tf32_keeps_ten_mantissa_bits() {
    let mut random = Random::new(3);
    let with = |round| Mode { round, ..Mode::RN };
    for _ in 0..200_000 {
        let x = random.f32();
        let bits = x.to_bits();
        if x.is_nan() {
            assert_eq!(f32_to_tf32(x, Mode::RN), NAN_F32);
            continue;
        }
        assert_eq!(f32_to_tf32(x, with(Round::Zero)), bits & !0x1fff, "{x:e}");
        let away = if x.is_infinite() { bits } else { (bits + 0x1000) & !0x1fff };
        assert_eq!(f32_to_tf32(x, with(Round::NearestAway)), away, "{x:e}");
        let even = if x.is_infinite() { bits } else { (bits + 0xfff + ((bits >> 13) & 1)) & !0x1fff };
        assert_eq!(f32_to_tf32(x, with(Round::NearestEven)), even, "{x:e}");
    }
    assert_eq!(f32_to_tf32(f32::MAX, Mode::RN_SATFINITE), 0x7f7f_e000);
    assert_eq!(f32_to_tf32(-1.0, Mode { clamp: Clamp::Relu, ..Mode::RN }), 0);
}

#[test]
fn clamps_and_flushes() {
    let sat = Mode { clamp: Clamp::Sat, ..Mode::RN };
    let relu = Mode { clamp: Clamp::Relu, ..Mode::RN };
    assert_eq!([2.0, -1.0, f32::NAN, -0.0].map(|x| f32_to_f16(x, sat)), [0x3c00, 0, 0, 0]);
    assert_eq!([2.0, -1.0, f32::NAN, -0.0].map(|x| f32_to_f16(x, relu)), [0x4000, 0, NAN_16, 0]);
    let tiny = f32::from_bits(0x8000_0001);
    assert_eq!(f64_to_f32(f64::from(tiny), Mode::RN_FTZ).to_bits(), 0x8000_0000);
    assert_eq!(f64_to_f32(f64::from(tiny), Mode::RN).to_bits(), 0x8000_0001);
    assert_eq!(f64_to_f32(1e300, Mode { round: Round::Zero, ..Mode::RN }), f32::MAX);
    assert_eq!(f64_to_f16(1.0 + 2.0_f64.powi(-11) + 2.0_f64.powi(-40), Mode::RN), 0x3c01, "rounded once");
    assert_eq!(f64_to_f32(1.0 / 3.0, Mode::RN), (1.0_f64 / 3.0) as f32);
}

#[test]
fn integers_convert_as_the_language_converts_them() {
    let mut random = Random::new(4);
    for _ in 0..100_000 {
        let shift = random.next() % 64;
        let bits = random.next() >> shift;
        assert_eq!(int_to_f32(bits, IntType::U64, Mode::RN), bits as f32);
        assert_eq!(int_to_f32(bits, IntType::S64, Mode::RN), bits as i64 as f32);
        assert_eq!(int_to_f32(bits, IntType::S32, Mode::RN), bits as i32 as f32);
        assert_eq!(int_to_f32(bits, IntType::U8, Mode::RN), f32::from(bits as u8));
        assert_eq!(int_to_f64(bits, IntType::U64, Round::NearestEven), bits as f64);
        assert_eq!(int_to_f64(bits, IntType::S64, Round::NearestEven), bits as i64 as f64);
        let down = int_to_f32(bits, IntType::S64, Mode { round: Round::Down, ..Mode::RN });
        let exact = i128::from(bits as i64);
        assert!(down as i128 <= exact && down.next_up() as i128 > exact || down as i128 == exact);
        let f16 = half::f16::from_f64(f64::from(bits as i16));
        assert_eq!(int_to_f16(bits, IntType::S16, Round::NearestEven), f16.to_bits());
        let x = f64::from(random.f32_near_one(70));
        assert_eq!(float_to_int(x, Round::Zero, IntType::S32, NanSource::F64), x as i32 as i64 as u64);
        assert_eq!(float_to_int(x, Round::Zero, IntType::U32, NanSource::F64), u64::from(x as u32));
        assert_eq!(float_to_int(x, Round::Zero, IntType::S64, NanSource::F64), x as i64 as u64);
        assert_eq!(float_to_int(x, Round::Zero, IntType::U64, NanSource::F64), x as u64);
        assert_eq!(float_to_int(x, Round::Zero, IntType::S8, NanSource::Narrow), x as i8 as i64 as u64);
        assert_eq!(int_to_int_sat(bits, IntType::S64, IntType::U8), (bits as i64).clamp(0, 255) as u64);
        assert_eq!(int_to_int_sat(bits, IntType::U32, IntType::S8), u64::from(bits as u32).min(127));
    }
    let near = |x, round| float_to_int(x, round, IntType::S32, NanSource::Narrow) as i64;
    assert_eq!(ROUNDS.map(|round| near(2.5, round)), [2, 3, 2, 2, 3]);
    assert_eq!(ROUNDS.map(|round| near(-2.5, round)), [-2, -3, -2, -3, -2]);
    assert_eq!(near(f64::INFINITY, Round::Zero), i64::from(i32::MAX));
    let nan = |to, source| float_to_int(f64::NAN, Round::Zero, to, source);
    assert_eq!(nan(IntType::S32, NanSource::Narrow), 0);
    assert_eq!(nan(IntType::S64, NanSource::Narrow), 1 << 63);
    assert_eq!(nan(IntType::U32, NanSource::F64), 1 << 31);
    assert_eq!(nan(IntType::S32, NanSource::F64), i64::from(i32::MIN) as u64);
}
