//! Fragments of the matrix instructions against their published formulas, and what is derived from them.

use tilewright_codegen::layout::{
    Bases, Blocking, Conversion, Coord, Join, Layout, LayoutError, MmaOperand, SharedLayout, SharedPlan,
    SwizzleSpan, ThreadTerm, WarpGrid,
};

use crate::common::places;

const ONE: WarpGrid = WarpGrid { m_bits: 0, n_bits: 0 };

/// Compares a one-warp layout with a formula of (register, lane / 4, lane % 4).
fn check_formula(l: &Layout, formula: impl Fn(u32, u32, u32) -> (u32, u32)) {
    assert!(l.is_injective() && l.is_surjective(), "{l}");
    for p in places(l) {
        let (row, column) = formula(p.register, p.lane / 4, p.lane % 4);
        let warp_row = 16 * p.warp;
        assert_eq!(l.apply(p.register, p.lane, p.warp), [row + warp_row, column, 0, 0], "{l} at {p:?}");
    }
}

#[test]
fn mma_fragments_follow_the_manual() {
    let mma = |shape: [u32; 2], operand| Layout::mma(&shape, operand, ONE).unwrap();
    let a = |element_bytes| MmaOperand::A { element_bytes };
    let b = |element_bytes| MmaOperand::B { element_bytes };
    check_formula(&mma([16, 8], MmaOperand::C), |i, g, t| (g + 8 * (i >> 1), 2 * t + (i & 1)));
    check_formula(&mma([16, 16], a(2)), |i, g, t| (g + 8 * ((i >> 1) & 1), 2 * t + (i & 1) + 8 * (i >> 2)));
    check_formula(&mma([16, 8], a(2)), |i, g, t| (g + 8 * (i >> 1), 2 * t + (i & 1)));
    check_formula(&mma([16, 8], a(4)), |i, g, t| (g + 8 * (i & 1), t + 4 * (i >> 1)));
    check_formula(&mma([16, 32], a(1)), |i, g, t| (g + 8 * ((i >> 2) & 1), 4 * t + (i & 3) + 16 * (i >> 3)));
    check_formula(&mma([16, 8], b(2)), |i, g, t| (2 * t + (i & 1) + 8 * (i >> 1), g));
    check_formula(&mma([8, 8], b(2)), |i, g, t| (2 * t + i, g));
    check_formula(&mma([8, 8], b(4)), |i, g, t| (t + 4 * i, g));
    check_formula(&mma([32, 8], b(1)), |i, g, t| (4 * t + (i & 3) + 16 * (i >> 2), g));
}

#[test]
fn wgmma_fragments_follow_the_manual_for_every_n() {
    for n in (8..=256).step_by(8) {
        let l = Layout::wgmma_accumulator(&[64, n], ONE).unwrap();
        assert_eq!((l.registers(), l.warps()), (n / 2, 4));
        check_formula(&l, |i, g, t| (g + 8 * ((i >> 1) & 1), 8 * (i >> 2) + 2 * t + (i & 1)));
    }
    check_formula(&Layout::wgmma_a(&[64, 16], 2, ONE).unwrap(), |i, g, t| {
        (g + 8 * ((i >> 1) & 1), 2 * t + (i & 1) + 8 * (i >> 2))
    });
    check_formula(&Layout::wgmma_a(&[64, 8], 4, ONE).unwrap(), |i, g, t| (g + 8 * (i & 1), t + 4 * (i >> 1)));
    check_formula(&Layout::wgmma_a(&[64, 32], 1, ONE).unwrap(), |i, g, t| {
        (g + 8 * ((i >> 2) & 1), 4 * t + (i & 3) + 16 * (i >> 3))
    });
}

/// Every register of every copy is where the fragment says, in every thread.
fn check_tiles(whole: &Layout, fragment: &Layout, expected: usize) {
    let tiles = whole.tiles(fragment).unwrap_or_else(|| panic!("{whole} should consist of {fragment}"));
    assert_eq!(tiles.len(), expected);
    for tile in tiles {
        assert_eq!(tile.registers.len() as u32, fragment.registers());
        for p in places(fragment) {
            for high in (0..whole.warps()).step_by(fragment.warps() as usize) {
                let start = whole.apply(tile.registers[0], 0, high);
                let part = fragment.apply(p.register, p.lane, p.warp);
                let want: Coord = std::array::from_fn(|d| start[d] + part[d]);
                let got = whole.apply(tile.registers[p.register as usize], p.lane, high | p.warp);
                assert_eq!(got, want);
                assert!(high != 0 || start == tile.origin);
            }
        }
    }
}

#[test]
fn operands_are_cut_into_instructions() {
    let grid = WarpGrid { m_bits: 1, n_bits: 2 };
    for (m, n, k) in [(64, 128, 32), (96, 96, 48), (32, 160, 16)] {
        let c = Layout::mma(&[m, n], MmaOperand::C, grid).unwrap();
        let c1 = Layout::mma(&[16, 8], MmaOperand::C, ONE).unwrap();
        check_tiles(&c, &c1, (m / 32 * n / 32) as usize);
        let operand = MmaOperand::A { element_bytes: 2 };
        let (a, a1) = (Layout::mma(&[m, k], operand, grid), Layout::mma(&[16, 16], operand, ONE));
        check_tiles(&a.unwrap(), &a1.unwrap(), (m / 32 * k / 16) as usize);
        let operand = MmaOperand::B { element_bytes: 2 };
        let (b, b1) = (Layout::mma(&[k, n], operand, grid), Layout::mma(&[16, 8], operand, ONE));
        check_tiles(&b.unwrap(), &b1.unwrap(), (k / 16 * n / 32) as usize);
    }
    let two = WarpGrid { m_bits: 1, n_bits: 0 };
    for (m, n, parts, inst) in [(128, 192, 1, 192), (256, 192, 2, 192), (128, 384, 2, 192), (192, 96, 3, 96)]
    {
        let grid = if m == 192 { ONE } else { two };
        let whole = Layout::wgmma_accumulator(&[m, n], grid).unwrap();
        check_tiles(&whole, &Layout::wgmma_accumulator(&[64, inst], ONE).unwrap(), parts);
    }
    let c = Layout::mma(&[64, 64], MmaOperand::C, grid).unwrap();
    assert!(c.tiles(&Layout::mma(&[16, 16], MmaOperand::A { element_bytes: 2 }, ONE).unwrap()).is_some());
    assert_eq!(c.tiles(&Layout::wgmma_accumulator(&[64, 8], ONE).unwrap()), None);
}

#[test]
fn a_fragment_of_other_warps_is_not_a_tile() {
    let fragment = Layout::wgmma_accumulator(&[64, 16], ONE).unwrap();
    let mut bases = fragment.bases();
    bases.warp.reverse();
    assert_eq!(Layout::new(&[64, 16], &bases).unwrap().tiles(&fragment), None);
}

#[test]
fn a_split_names_the_registers_of_each_part() {
    let whole = Layout::wgmma_accumulator(&[64, 192], ONE).unwrap();
    for n in [2, 3, 4, 6, 12, 24] {
        let (part, registers) = whole.split(1, n).unwrap();
        assert_eq!(part, Layout::wgmma_accumulator(&[64, 192 / n], ONE).unwrap());
        assert_eq!(registers.concat(), (0..96).collect::<Vec<_>>());
    }
    assert_eq!(whole.split(1, 48), None, "lanes cannot be split");
    assert_eq!(whole.split(0, 2), None, "warps cannot be split");
}

/// ldmatrix as the manual defines it: what register `e` of matrix `m` holds in each lane.
fn check_matrix_access(l: &Layout, dim: usize, bytes: u32, transposed: bool, count: u32) {
    let access = l.matrix_access(dim, bytes).unwrap_or_else(|| panic!("{l} should be an ldmatrix layout"));
    assert_eq!((access.transposed, access.count, access.row_elements), (transposed, count, 16 / bytes));
    let word = 4 / bytes;
    assert_eq!(access.accesses.len() as u32 * word * count, l.registers());
    for (i, registers) in (0..).zip(&access.accesses) {
        for p in places(l).filter(|p| p.register < count * word) {
            let (matrix, e) = (p.register / word, p.register % word);
            let (g, t) = (p.lane / 4, p.lane % 4);
            let (row, column) = if transposed { (2 * t + e, g) } else { (g, word * t + e) };
            let held = l.apply(registers[p.register as usize], p.lane, p.warp);
            let mut start = access.address.apply(i * access.row_elements, 8 * matrix + row, p.warp);
            assert_eq!(start[dim] % access.row_elements, 0);
            start[dim] += column;
            assert_eq!(held, start);
        }
    }
}

#[test]
fn operands_load_by_ldmatrix() {
    let grid = WarpGrid { m_bits: 1, n_bits: 1 };
    for bytes in [1, 2, 4] {
        let k = 64 / bytes;
        let a = Layout::mma(&[64, k], MmaOperand::A { element_bytes: bytes }, grid).unwrap();
        check_matrix_access(&a, 1, bytes, false, 4);
        let b = Layout::mma(&[k, 96], MmaOperand::B { element_bytes: bytes }, grid).unwrap();
        check_matrix_access(&b, 0, bytes, false, 4);
        assert_eq!(b.matrix_access(1, bytes).is_some(), bytes == 2);
    }
    let b = Layout::mma(&[32, 96], MmaOperand::B { element_bytes: 2 }, grid).unwrap();
    check_matrix_access(&b, 1, 2, true, 4);
    let b = Layout::mma(&[16, 8], MmaOperand::B { element_bytes: 2 }, ONE).unwrap();
    check_matrix_access(&b, 1, 2, true, 2);
    check_matrix_access(
        &Layout::mma(&[8, 8], MmaOperand::B { element_bytes: 2 }, ONE).unwrap(),
        0,
        2,
        false,
        1,
    );
    for n in [16, 64, 192] {
        let d = Layout::wgmma_accumulator(&[128, n], WarpGrid { m_bits: 1, n_bits: 0 }).unwrap();
        check_matrix_access(&d, 1, 2, false, 4);
    }
    let plain = Layout::for_memory(&[64, 64], 2, 4, 1).unwrap();
    assert_eq!(plain.matrix_access(1, 2), None);
}

#[test]
fn ldmatrix_addresses_match_the_usual_recipe() {
    let a = Layout::mma(&[16, 16], MmaOperand::A { element_bytes: 2 }, ONE).unwrap();
    let b = Layout::mma(&[16, 16], MmaOperand::B { element_bytes: 2 }, ONE).unwrap();
    let (a, b) = (a.matrix_access(1, 2).unwrap(), b.matrix_access(0, 2).unwrap());
    for lane in 0..32 {
        assert_eq!(a.address.apply(0, lane, 0), [lane & 15, 8 * (lane >> 4), 0, 0]);
        assert_eq!(b.address.apply(0, lane, 0), [8 * ((lane >> 3) & 1), (lane & 7) + 8 * (lane >> 4), 0, 0]);
    }
}

#[test]
fn hardware_swizzles_are_the_closed_form() {
    for span in SwizzleSpan::ALL {
        let w = span.bytes();
        let s = SharedLayout::hardware(&[40, w], 2, &[1, 0], span).unwrap();
        assert_eq!((s.alignment_bytes(), s.bytes(), s.strides()), (8 * w, 80 * w, &[8 * w, 40 * w][..]));
        for row in 0..40 {
            let x = match span {
                SwizzleSpan::B128 => row & 7,
                SwizzleSpan::B64 => row >> 1 & 3,
                SwizzleSpan::B32 => row >> 2 & 1,
            } << 4;
            for column in 0..w {
                let byte = 2 * column;
                let want = byte / w * 40 * w + row * w + ((byte % w) ^ x);
                assert_eq!(s.offset(&[row, column, 0, 0]), want);
                assert_eq!(span.apply(byte / w * 40 * w + row * w + byte % w), want);
            }
        }
        // Rows that are not whole patterns: chunks still start at one.
        let s = SharedLayout::hardware(&[12, w], 2, &[1, 0], span).unwrap();
        for (row, column) in (0..12).flat_map(|row| (0..w).map(move |column| (row, column))) {
            let byte = 2 * column;
            let want = span.apply(byte / w * 16 * w + row * w + byte % w);
            assert_eq!(s.offset(&[row, column, 0, 0]), want);
        }
        // ldmatrix reads it without conflicts, and rows without swizzle do conflict.
        let a = Layout::mma(&[64, w / 2], MmaOperand::A { element_bytes: 2 }, ONE).unwrap();
        let address = a.matrix_access(1, 2).unwrap().address;
        let swizzled = SharedLayout::hardware(&[64, w / 2], 2, &[1, 0], span).unwrap().access(&address);
        assert_eq!((swizzled.width, swizzled.ways), (8, 1));
        let plain = SharedLayout::rows(&[64, w / 2], 2, &[1, 0], 0).unwrap().access(&address);
        assert_eq!((plain.width, plain.ways), (8, w / 16));
        let padded = SharedLayout::rows(&[64, w / 2], 2, &[1, 0], 16).unwrap().access(&address);
        assert_eq!((padded.width, padded.ways), (8, 1));
    }
}

#[test]
fn known_bank_conflicts() {
    // Lane l reads word l * stride: as many ways as the stride has factors of two, up to 32.
    for (stride, ways) in [(1, 1), (2, 2), (3, 1), (8, 8), (32, 32), (33, 1)] {
        let rows = SharedLayout::new(&[32], 4, &[vec![]], &[4 * stride]).unwrap();
        let l = Layout::for_memory(&[32], 4, 1, 0).unwrap();
        assert_eq!(rows.access(&l).ways, ways, "stride {stride}");
    }
    // Everybody reads the same word.
    let all = Layout::replicated(&[4], 0).unwrap();
    let access = SharedLayout::rows(&[4], 4, &[0], 0).unwrap().access(&all);
    assert_eq!((access.width, access.ways, access.wavefronts), (4, 1, 4));
}

#[test]
fn a_transposing_exchange_through_shared_memory() {
    let rows = Layout::for_memory(&[64, 64], 4, 4, 1).unwrap();
    let columns = Layout::for_memory(&[64, 64], 4, 4, 0).unwrap();
    let plan = SharedPlan::new(&rows, &columns, 4).unwrap();
    assert!(plan.conflict_free);
    assert_eq!((plan.bytes, plan.write.width, plan.read.width), (64 * 64 * 4, 1, 1));
    assert!(matches!(Conversion::plan(&rows, &columns, 4), Ok(Conversion::Shared(_))));
    // Through plain rows one side has 4-byte elements at a stride of 64 words.
    assert!(SharedLayout::rows(&[64, 64], 4, &[1, 0], 0).unwrap().access(&columns).ways > 1);
}

#[test]
fn an_epilogue_writes_pairs_and_reads_whole_lines() {
    let d = Layout::wgmma_accumulator(&[128, 128], WarpGrid { m_bits: 1, n_bits: 0 }).unwrap();
    let rows = Layout::for_memory(&[128, 128], 2, 8, 1).unwrap();
    let plan = SharedPlan::new(&d, &rows, 2).unwrap();
    assert_eq!((plan.write.width, plan.read.width, plan.conflict_free, plan.bytes), (2, 8, true, 128 * 256));
}

#[test]
fn p_of_attention_feeds_the_next_product_without_moving() {
    for n in [16, 64, 96, 128] {
        let d = Layout::wgmma_accumulator(&[64, n], ONE).unwrap();
        let a = Layout::wgmma_a(&[64, n], 2, ONE).unwrap();
        assert_eq!(Conversion::plan(&d, &a, 2), Ok(Conversion::Identity));
        let c = Layout::mma(&[16, n], MmaOperand::C, ONE).unwrap();
        let a = Layout::mma(&[16, n], MmaOperand::A { element_bytes: 2 }, ONE).unwrap();
        assert_eq!(Conversion::plan(&c, &a, 2), Ok(Conversion::Identity));
    }
    // 8-bit fragments hold four adjacent columns: an exchange within quads.
    let c = Layout::mma(&[16, 32], MmaOperand::C, ONE).unwrap();
    let a = Layout::mma(&[16, 32], MmaOperand::A { element_bytes: 1 }, ONE).unwrap();
    let Ok(Conversion::Shuffles(s)) = Conversion::plan(&c, &a, 1) else {
        panic!("shuffles should be cheapest")
    };
    assert_eq!((s.unit, s.rounds.len()), (2, 8));
}

#[test]
fn expressions_are_short() {
    let d = Layout::wgmma_accumulator(&[128, 192], WarpGrid { m_bits: 1, n_bits: 0 }).unwrap();
    let row = d.coordinate_expr(0);
    assert_eq!((row.term_join, row.register_join), (Join::Add, Join::Add));
    let term = |shift, mask, scale| ThreadTerm { shift, mask, scale };
    assert_eq!(row.terms, [term(2, 7, 1), term(5, 7, 16)]);
    let column = d.coordinate_expr(1);
    assert_eq!(column.terms, [term(0, 3, 2)]);
    assert_eq!((column.register_offset(0), column.register_offset(95)), (0, 185));
}

#[test]
fn blocked_layouts_coalesce() {
    // 64 columns of 2 bytes: 8 lanes of 16 bytes per row, 4 rows per warp.
    let l = Layout::for_memory(&[128, 64], 2, 4, 1).unwrap();
    assert_eq!(l.coordinate_expr(1).terms, [ThreadTerm { shift: 0, mask: 7, scale: 8 }]);
    assert_eq!(l.coordinate_expr(0).terms, [ThreadTerm { shift: 3, mask: 15, scale: 1 }]);
    assert_eq!(l.vectorise(1, 2, 0, 16).width, 8);
    assert_eq!(l.vectorise(1, 2, 4, 16).width, 4);
    assert_eq!(l.vectorise(1, 2, 6, 16).width, 2);
    // A small tile gives up the vector before it idles lanes.
    let l = Layout::for_memory(&[128], 2, 4, 0).unwrap();
    assert_eq!((l.registers(), l.is_injective()), (1, true));
    let l = Layout::for_memory(&[7], 4, 4, 0).unwrap();
    assert_eq!((l.registers(), l.free_bits().lane, l.free_bits().warp), (7, 31, 3));
    let l = Layout::for_memory(&[], 4, 4, 0).unwrap();
    assert_eq!((l.registers(), l.apply(0, 31, 3)), (1, [0; 4]));
    // A blocking larger than the tile wraps into copies.
    let blocking = Blocking { thread_bits: vec![3], lane_bits: vec![5], warp_bits: vec![1], order: vec![0] };
    let l = Layout::blocked(&[16], &blocking, 1).unwrap();
    assert_eq!((l.registers(), l.free_bits().lane, l.free_bits().warp), (8, 30, 1));
}

#[test]
fn mistakes_are_named_with_numbers() {
    let err = |r: Result<Layout, LayoutError>| r.unwrap_err().to_string();
    let bases = Bases { register: vec![[0, 64, 0, 0]], ..Bases::default() };
    assert!(err(Layout::new(&[4, 192], &bases)).contains("is 64 in dimension 1, outside its span of 64"));
    assert!(err(Layout::new(&[1; 5], &Bases::default())).contains("at most 4 dimensions"));
    assert!(err(Layout::new(&[0], &Bases::default())).contains("extent 0"));
    assert!(err(Layout::new(&[65536, 65536], &Bases::default())).contains("4294967296 elements"));
    assert!(err(Layout::mma(&[24, 8], MmaOperand::C, ONE)).contains("extent 24 of dimension 0"));
    assert!(
        err(Layout::replicated(&[64, 3], 0).unwrap().reshape(&[192])).contains("go through shared memory")
    );
    assert!(err(Layout::replicated(&[4], 0).unwrap().permute(&[1])).contains("not a permutation"));
    for text in [
        "",
        "layout",
        "layout [4] register (1, 2) lane warp",
        "layout [3] register lane warp",
        "layout [4] register lane warp x",
    ] {
        assert!(text.parse::<Layout>().is_err(), "{text}");
    }
    for text in [
        "shared [4] bytes 3 block () stride 4",
        "shared [4] bytes 4 block stride 4",
        "shared [4] bytes 4 block (4294967295) stride 4",
    ] {
        assert!(text.parse::<SharedLayout>().is_err(), "{text}");
    }
    let a = Layout::replicated(&[4], 0).unwrap();
    let b = Layout::replicated(&[4], 1).unwrap();
    assert!(Conversion::plan(&a, &b, 4).unwrap_err().to_string().contains("(32, 1)"));
    assert!(
        SharedLayout::hardware(&[64, 48], 2, &[1, 0], SwizzleSpan::B128)
            .unwrap_err()
            .to_string()
            .contains("48 elements")
    );
    let many = WarpGrid { m_bits: 40, n_bits: u32::MAX };
    assert!(err(Layout::mma(&[64, 64], MmaOperand::C, many)).contains("more warps"));
    assert!(Layout::replicated(&[4], u32::MAX).is_err());
    assert!(Layout::for_memory(&[64], 4, 3, 0).is_err() && Layout::for_memory(&[64], 4, 1 << 20, 0).is_err());
    assert!(SharedLayout::rows(&[32768, 32768], 16, &[1, 0], u32::MAX).is_err());
    assert!(SharedLayout::hardware(&[32768, 32768], 16, &[1, 0], SwizzleSpan::B64).is_err());
    let big = Layout::new(&[32768, 32768], &Bases::default()).unwrap();
    assert!(SharedLayout::for_exchange(&big, &big, 4).is_err());
}
