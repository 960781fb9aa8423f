//! Descriptors and forms that hardware would take without a word.

use super::*;

/// A valid descriptor at 0x2000 with the 128-byte swizzle.
fn valid() -> Descriptor {
    Descriptor { start: 0x2000, leading: 16, stride: 1024, base_offset: 0, swizzle: Swizzle::B128 }
}

fn form() -> WgmmaForm {
    WgmmaForm::k_major(Operand::Bf16, Operand::Bf16, Accumulator::F32, 64)
}

fn with_b(form: WgmmaForm, b: Descriptor) -> Result<Wgmma, WgmmaError> {
    Wgmma::new(form, ASource::Registers, b.encode(), WINDOW)
}

fn assert_error(result: Result<Wgmma, WgmmaError>, want: &WgmmaError) {
    assert_eq!(result.map(|_| ()).as_ref(), Err(want));
}

#[test]
fn descriptors_pack_their_fields_where_the_manual_says() {
    let bits = 0x2000 >> 4 | 1 << 16 | 64 << 32 | 1 << 62;
    assert_eq!(Descriptor::decode(bits), Ok(valid()));
    assert_eq!(valid().encode(), bits);
    for (code, swizzle) in [(0, Swizzle::None), (1, Swizzle::B128), (2, Swizzle::B64), (3, Swizzle::B32)] {
        let full = Descriptor { start: 0x3_fff0, leading: 0x3_fff0, stride: 0x10, base_offset: 7, swizzle };
        let bits = 0x3fff | 0x3fff << 16 | 1 << 32 | 7 << 49 | code << 62;
        assert_eq!((Descriptor::decode(bits), full.encode()), (Ok(full), bits));
    }
    for bit in [14, 15, 30, 31, 46, 47, 48, 52, 61] {
        let reserved = 1 << bit;
        assert_eq!(
            Descriptor::decode(bits | reserved),
            Err(WgmmaError::ReservedBits { bits: bits | reserved, reserved })
        );
    }
}

#[test]
fn forms_that_do_not_exist() {
    let base = form();
    let bad = |form: WgmmaForm| form.check().unwrap_err();
    let types = WgmmaForm { accumulator: Accumulator::F16, ..base };
    assert!(matches!(bad(types), WgmmaError::Types { a: Operand::Bf16, .. }));
    for n in [0, 4, 12, 264] {
        assert_eq!(bad(WgmmaForm { n, ..base }), WgmmaError::Columns { n, operand: Operand::Bf16 });
    }
    let integer = WgmmaForm::k_major(Operand::S8, Operand::S8, Accumulator::S32, 40);
    assert_eq!(bad(integer), WgmmaError::Columns { n: 40, operand: Operand::S8 });
    let signed = WgmmaForm { n: 48, b_sign: Sign::Minus, ..integer };
    assert_eq!(bad(signed), WgmmaError::Sign { operand: Operand::S8 });
    let tf32 = WgmmaForm::k_major(Operand::Tf32, Operand::Tf32, Accumulator::F32, 64);
    let major = WgmmaForm { b_major: Major::Mn, ..tf32 };
    assert_eq!(bad(major), WgmmaError::Major { side: Side::B, operand: Operand::Tf32 });
    let registers = WgmmaForm { a_major: Major::Mn, ..base };
    assert_error(with_b(registers, valid()), &WgmmaError::RegisterMajor);
}

#[test]
fn starts_that_do_not_fit_the_pattern() {
    let (side, swizzle) = (Side::B, Swizzle::B128);
    with_b(form(), valid()).unwrap();
    for step in 1..4 {
        with_b(form(), Descriptor { start: 0x2000 + 32 * step, ..valid() }).unwrap();
    }
    let given = Descriptor { base_offset: 3, ..valid() };
    let error = WgmmaError::BaseOffset { side, start: 0x2000, given: 3, expected: 0, swizzle };
    assert_error(with_b(form(), given), &error);
    let error = WgmmaError::BaseOffset { side, start: 0x2180, given: 0, expected: 3, swizzle };
    assert_error(with_b(form(), Descriptor { start: 0x2180, ..valid() }), &error);
    let error = WgmmaError::PatternStart { side, start: 0x2180, past: 0x180, period: 1024, swizzle };
    assert_error(with_b(form(), Descriptor { start: 0x2180, base_offset: 3, ..valid() }), &error);
    let narrow = Descriptor { swizzle: Swizzle::B64, stride: 512, start: 0x2040, ..valid() };
    let error =
        WgmmaError::PatternStart { side, start: 0x2040, past: 64, period: 512, swizzle: Swizzle::B64 };
    assert_error(with_b(form(), narrow), &error);
    let error = WgmmaError::RowOverrun { side, inside: 112, needed: 32, span: 128 };
    assert_error(with_b(form(), Descriptor { start: 0x2070, ..valid() }), &error);
    let error = WgmmaError::RowOverrun { side, inside: 16, needed: 32, span: 128 };
    assert_error(with_b(form(), Descriptor { start: 0x2010, ..valid() }), &error);
    // MN-major: 32 columns are half a row, so the second half may start in the middle; 64 may not.
    let mn = WgmmaForm { b_major: Major::Mn, n: 32, ..form() };
    with_b(mn, Descriptor { start: 0x2040, ..valid() }).unwrap();
    let error = WgmmaError::RowOverrun { side, inside: 64, needed: 128, span: 128 };
    assert_error(with_b(WgmmaForm { n: 64, ..mn }, Descriptor { start: 0x2040, ..valid() }), &error);
}

#[test]
fn distances_that_do_not_keep_groups_apart() {
    let (side, name, swizzle) = (Side::B, "stride dimension byte offset", Swizzle::B128);
    for bytes in [0, 512, 1040] {
        let error = WgmmaError::Distance { side, name, bytes, multiple: 1024, swizzle };
        assert_error(with_b(form(), Descriptor { stride: bytes, ..valid() }), &error);
    }
    // One group of eight columns needs no distance.
    with_b(WgmmaForm { n: 8, ..form() }, Descriptor { stride: 0, ..valid() }).unwrap();
    let wide = WgmmaForm { b_major: Major::Mn, n: 128, ..form() };
    let name = "leading dimension byte offset";
    let error = WgmmaError::Distance { side, name, bytes: 16, multiple: 1024, swizzle };
    assert_error(with_b(wide, valid()), &error);
    with_b(wide, Descriptor { leading: 2048, ..valid() }).unwrap();
    let plain = Descriptor { swizzle: Swizzle::None, leading: 0, stride: 128, ..valid() };
    let error = WgmmaError::Distance { side, name, bytes: 0, multiple: 16, swizzle: Swizzle::None };
    assert_error(with_b(form(), plain), &error);
    let overlapping = Descriptor { leading: 128, ..plain };
    let error = WgmmaError::Overlap { side, address: 0x2080, leading: 128, stride: 128 };
    assert_error(with_b(form(), overlapping), &error);
    let half = Descriptor { leading: 1024, stride: 64, ..plain };
    assert!(matches!(with_b(form(), half), Err(WgmmaError::Overlap { address: 0x2040, .. })));
}

#[test]
fn operands_outside_shared_memory() {
    let end = WINDOW.base + WINDOW.bytes;
    // 64 columns take eight groups of 1024; the last of them starts at the end.
    let start = end - 7 * 1024;
    let error = WgmmaError::OutOfBounds {
        side: Side::B,
        address: u64::from(end),
        mn: 56,
        k: 0,
        base: u64::from(WINDOW.base),
        end: u64::from(end),
    };
    assert_error(with_b(form(), Descriptor { start, ..valid() }), &error);
    with_b(form(), Descriptor { start: end - 8 * 1024, ..valid() }).unwrap();
    let low = Descriptor { start: 0, ..valid() };
    assert!(matches!(with_b(form(), low), Err(WgmmaError::OutOfBounds { address: 0, mn: 0, k: 0, .. })));
    let shared = Wgmma::new(form(), ASource::Shared(low.encode()), valid().encode(), WINDOW);
    assert!(matches!(shared, Err(WgmmaError::OutOfBounds { side: Side::A, .. })));
    let text = with_b(form(), low).unwrap_err().to_string();
    assert!(
        text.contains("operand B reads shared memory at 0x0") && text.contains("0x400..0x32400"),
        "{text}"
    );
}
