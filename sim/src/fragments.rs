//! Which element of a matrix each register of each lane holds: `mma.sync`, `ldmatrix`, `stmatrix`, `movmatrix`, `wgmma`.
//!
//! One rule covers every `m16n8*` shape. A lane is `g = lane / 4` and `t = lane % 4`. Along K the four lanes of a quad
//! hold 16 adjacent bytes in one register each, called a K chunk here; a shape spans one or two chunks:
//!
//! ```text
//!            chunk 0 (16 bytes of K)        chunk 1
//! row g      t=0   t=1   t=2   t=3          t=0 ...         A: register 0 | register 2
//! row g + 8  t=0   t=1   t=2   t=3          t=0 ...         A: register 1 | register 3
//! B: column g holds chunk 0 in register 0 and chunk 1 in register 1
//! ```
//!
//! Inside a register, elements count from the least significant bits. A layout depends on the element width only, so
//! f16 and bf16 share one, and so do s8, u8, e4m3 and e5m2. Every function here is a bijection over its matrix; the
//! tests say so, and restate the published per-type formulas beside this one rule.

/// The width of an operand element in a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 8-bit elements (s8, u8, e4m3, e5m2), four per register.
    Bits8,
    /// 16-bit elements (f16, bf16), two per register.
    Bits16,
    /// 32-bit elements (tf32), one per register.
    Bits32,
}

impl Width {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Width::Bits8 => 1,
            Width::Bits16 => 2,
            Width::Bits32 => 4,
        }
    }

    /// Elements in one 32-bit register.
    pub const fn per_register(self) -> usize {
        4 / self.bytes()
    }

    /// Elements in one K chunk: 16 bytes, one register of each lane of a quad.
    pub const fn per_chunk(self) -> usize {
        16 / self.bytes()
    }
}

/// Rows of A and C in every `m16n8*` shape.
pub const MMA_M: usize = 16;
/// Columns of B and C in every `m16n8*` shape.
pub const MMA_N: usize = 8;
/// Lanes of a warp.
pub const LANES: usize = 32;

/// 32-bit registers of A per lane of an `m16n8*` shape with `k` elements along K.
pub const fn a_registers(width: Width, k: usize) -> usize {
    2 * (k / width.per_chunk())
}

/// 32-bit registers of B per lane of an `m16n8*` shape with `k` elements along K.
pub const fn b_registers(width: Width, k: usize) -> usize {
    k / width.per_chunk()
}

/// (row, k) of element `sub` of register `register` of A in `lane`.
pub const fn a_element(width: Width, lane: usize, register: usize, sub: usize) -> (usize, usize) {
    let row = lane / 4 + 8 * (register & 1);
    (row, (register >> 1) * width.per_chunk() + (lane % 4) * width.per_register() + sub)
}

/// (k, column) of element `sub` of register `register` of B in `lane`.
pub const fn b_element(width: Width, lane: usize, register: usize, sub: usize) -> (usize, usize) {
    (register * width.per_chunk() + (lane % 4) * width.per_register() + sub, lane / 4)
}

/// (row, column) of 32-bit accumulator register `register` (0 to 3) of C and D in `lane`.
pub const fn c_element(lane: usize, register: usize) -> (usize, usize) {
    (lane / 4 + 8 * (register >> 1), 2 * (lane % 4) + (register & 1))
}

/// (row, column) of half `half` of f16x2 accumulator register `register` (0 or 1) of C and D in `lane`.
pub const fn c_element_f16(lane: usize, register: usize, half: usize) -> (usize, usize) {
    c_element(lane, 2 * register + half)
}

/// Whether `ldmatrix` and `stmatrix` move 8x8 matrices as they are or transposed (`.trans`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transpose {
    /// A lane's register is two adjacent columns of one row.
    Plain,
    /// A lane's register is two adjacent rows of one column.
    Transposed,
}

/// The lane whose address operand points at row `row` of matrix `matrix` of `ldmatrix` and `stmatrix`.
pub const fn matrix_address_lane(matrix: usize, row: usize) -> usize {
    8 * matrix + row
}

/// (row, column) of half `half` of the register that holds one 8x8 matrix of 16-bit elements in `lane`.
pub const fn matrix_element(transpose: Transpose, lane: usize, half: usize) -> (usize, usize) {
    let (outer, inner) = (lane / 4, 2 * (lane % 4) + half);
    match transpose {
        Transpose::Plain => (outer, inner),
        Transpose::Transposed => (inner, outer),
    }
}

/// One 8x8 matrix of 16-bit elements as its eight 16-byte rows lie in shared memory.
pub type MatrixRows = [[u8; 16]; 8];

/// `ldmatrix` of one matrix: the register of each lane, from the eight rows.
pub fn load_matrix(rows: &MatrixRows, transpose: Transpose) -> [u32; LANES] {
    std::array::from_fn(|lane| {
        let half = |half| {
            let (row, column) = matrix_element(transpose, lane, half);
            u32::from(u16::from_le_bytes([rows[row][2 * column], rows[row][2 * column + 1]]))
        };
        half(0) | half(1) << 16
    })
}

/// `stmatrix` of one matrix: the eight rows to write, from the register of each lane.
pub fn store_matrix(registers: &[u32; LANES], transpose: Transpose) -> MatrixRows {
    let mut rows = [[0; 16]; 8];
    for (lane, register) in registers.iter().enumerate() {
        for (half, bytes) in register.to_le_bytes().chunks_exact(2).enumerate() {
            let (row, column) = matrix_element(transpose, lane, half);
            rows[row][2 * column..2 * column + 2].copy_from_slice(bytes);
        }
    }
    rows
}

/// `movmatrix.trans`: the same 8x8 matrix transposed across the warp.
pub fn transpose_matrix(registers: &[u32; LANES]) -> [u32; LANES] {
    load_matrix(&store_matrix(registers, Transpose::Plain), Transpose::Transposed)
}

/// Rows of D in every `wgmma` shape, sixteen for each of the four warps.
pub const WGMMA_M: usize = 64;

/// (row, column) of 32-bit accumulator register `register` (0 to N/2 - 1) of warp `warp` (0 to 3) of the warpgroup.
pub const fn wgmma_d_element(warp: usize, lane: usize, register: usize) -> (usize, usize) {
    let (row, column) = c_element(lane, register & 3);
    (16 * warp + row, 8 * (register >> 2) + column)
}

/// (row, column) of half `half` of f16x2 accumulator register `register` (0 to N/4 - 1) of warp `warp`.
pub const fn wgmma_d_element_f16(warp: usize, lane: usize, register: usize, half: usize) -> (usize, usize) {
    wgmma_d_element(warp, lane, 2 * register + half)
}

/// (row, k) of element `sub` of register `register` (0 to 3) of A held in registers, in warp `warp`.
pub const fn wgmma_a_element(
    width: Width,
    warp: usize,
    lane: usize,
    register: usize,
    sub: usize,
) -> (usize, usize) {
    let (row, k) = a_element(width, lane, register, sub);
    (16 * warp + row, k)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: [Width; 3] = [Width::Bits8, Width::Bits16, Width::Bits32];

    /// Every place of `rows` x `columns` is visited exactly once.
    fn assert_bijection(rows: usize, columns: usize, places: impl Iterator<Item = (usize, usize)>) {
        let mut seen = vec![0_u32; rows * columns];
        for (row, column) in places {
            assert!(row < rows && column < columns, "({row}, {column}) outside {rows}x{columns}");
            seen[row * columns + column] += 1;
        }
        assert!(seen.iter().all(|&count| count == 1), "{rows}x{columns}: {seen:?}");
    }

    fn slots(lanes: usize, registers: usize, subs: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..lanes * registers * subs).map(move |i| (i / subs / registers, i / subs % registers, i % subs))
    }

    #[test]
    fn operands_are_bijections_for_every_shape() {
        for width in WIDTHS {
            for chunks in [1, 2] {
                let k = chunks * width.per_chunk();
                let subs = width.per_register();
                let a = slots(LANES, a_registers(width, k), subs);
                assert_bijection(MMA_M, k, a.map(|(l, r, s)| a_element(width, l, r, s)));
                let b = slots(LANES, b_registers(width, k), subs);
                assert_bijection(k, MMA_N, b.map(|(l, r, s)| b_element(width, l, r, s)));
            }
        }
    }

    #[test]
    fn accumulators_are_bijections() {
        assert_bijection(16, 8, slots(LANES, 4, 1).map(|(l, r, _)| c_element(l, r)));
        assert_bijection(16, 8, slots(LANES, 2, 2).map(|(l, r, s)| c_element_f16(l, r, s)));
        for n in (8..=256).step_by(8) {
            let d = slots(128, n / 2, 1).map(|(l, r, _)| wgmma_d_element(l / 32, l % 32, r));
            assert_bijection(WGMMA_M, n, d);
            let d = slots(128, n / 4, 2).map(|(l, r, s)| wgmma_d_element_f16(l / 32, l % 32, r, s));
            assert_bijection(WGMMA_M, n, d);
        }
        for width in WIDTHS {
            let a = slots(128, 4, width.per_register());
            let a = a.map(|(l, r, s)| wgmma_a_element(width, l / 32, l % 32, r, s));
            assert_bijection(WGMMA_M, 2 * width.per_chunk(), a);
        }
    }

    /// The formulas of the PTX manual, one per type, with element index `i` over a lane's elements in register order.
    #[test]
    fn the_one_rule_agrees_with_the_published_formulas() {
        for lane in 0..LANES {
            let (g, t) = (lane >> 2, lane & 3);
            for i in 0..8 {
                let want = (g + 8 * ((i >> 1) & 1), 2 * t + (i & 1) + 8 * (i >> 2));
                assert_eq!(a_element(Width::Bits16, lane, i >> 1, i & 1), want);
            }
            for i in 0..4 {
                assert_eq!(
                    a_element(Width::Bits16, lane, i >> 1, i & 1),
                    (g + 8 * (i >> 1), 2 * t + (i & 1))
                );
                assert_eq!(
                    b_element(Width::Bits16, lane, i >> 1, i & 1),
                    (2 * t + (i & 1) + 8 * (i >> 1), g)
                );
                assert_eq!(a_element(Width::Bits32, lane, i, 0), (g + 8 * (i & 1), t + 4 * (i >> 1)));
                assert_eq!(c_element(lane, i), (g + 8 * (i >> 1), 2 * t + (i & 1)));
            }
            for i in 0..2 {
                assert_eq!(b_element(Width::Bits32, lane, i, 0), (t + 4 * i, g));
            }
            for i in 0..16 {
                let want = (g + 8 * ((i >> 2) & 1), 4 * t + (i & 3) + 16 * (i >> 3));
                assert_eq!(a_element(Width::Bits8, lane, i >> 2, i & 3), want);
            }
            for i in 0..8 {
                assert_eq!(
                    b_element(Width::Bits8, lane, i >> 2, i & 3),
                    (4 * t + (i & 3) + 16 * (i >> 2), g)
                );
            }
            for warp in 0..4 {
                for i in 0..128 {
                    let want = (16 * warp + g + 8 * ((i >> 1) & 1), 8 * (i >> 2) + 2 * t + (i & 1));
                    assert_eq!(wgmma_d_element(warp, lane, i), want);
                }
            }
        }
    }

    /// Row r, column c holds `16 r + c`, so that a register names what it holds.
    fn numbered() -> MatrixRows {
        std::array::from_fn(|row| {
            std::array::from_fn(|byte| if byte % 2 == 0 { (16 * row + byte / 2) as u8 } else { 0 })
        })
    }

    #[test]
    fn matrices_load_as_documented() {
        let plain = load_matrix(&numbered(), Transpose::Plain);
        let transposed = load_matrix(&numbered(), Transpose::Transposed);
        for lane in 0..LANES as u32 {
            let (g, t) = (lane / 4, lane % 4);
            assert_eq!(plain[lane as usize], (16 * g + 2 * t) | (16 * g + 2 * t + 1) << 16);
            assert_eq!(transposed[lane as usize], (32 * t + g) | (32 * t + 16 + g) << 16);
        }
    }

    #[test]
    fn store_undoes_load_and_move_transposes() {
        for transpose in [Transpose::Plain, Transpose::Transposed] {
            assert_bijection(8, 8, slots(LANES, 1, 2).map(|(l, _, h)| matrix_element(transpose, l, h)));
            assert_eq!(store_matrix(&load_matrix(&numbered(), transpose), transpose), numbered());
        }
        let plain = load_matrix(&numbered(), Transpose::Plain);
        assert_eq!(transpose_matrix(&plain), load_matrix(&numbered(), Transpose::Transposed));
        assert_eq!(transpose_matrix(&transpose_matrix(&plain)), plain);
    }
}
