//! `mma.sync`: fragments by `ldmatrix` or from registers, one instruction per 16 by 8 tile and step along K.
//!
//! ```text
//!   accumulator of m16n8: register c of lane (g, t) is row g + 8 (c >> 1), column 2 t + (c & 1)
//!   ldmatrix.x4: lanes 8 i .. 8 i + 7 name the rows of matrix i; A takes (rows, K halves), B two tiles' K halves
//! ```
//!
//! Which tiles a warp has, and in which registers, is read from the accumulator's layout.

use super::coords::AxisBits;
use super::ctypes::short_name;
use super::writer::Writer;
use crate::gpu::{Buffer, BufferId, MatrixOperand, MatrixShape, Var, VarType};
use crate::ir::DType;
use crate::layout::Layout;

/// A statement `mma`.
pub(crate) struct Mma<'a> {
    pub(crate) acc: Var,
    pub(crate) a: &'a MatrixOperand,
    pub(crate) b: &'a MatrixOperand,
    pub(crate) dtype: DType,
    pub(crate) shape: MatrixShape,
    /// Extent of K.
    pub(crate) k: u32,
    pub(crate) a_rows: u32,
    pub(crate) b_rows: u32,
}

/// Tiles of a warp along one axis.
pub(crate) struct Tiles {
    /// First coordinate of each in warp 0.
    pub(crate) starts: Vec<u32>,
    /// What the warp adds.
    pub(crate) warp: String,
    /// Coordinates that the layout covers.
    extent: u32,
}

/// Distinct values, ascending.
fn distinct(values: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut out: Vec<u32> = values.collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// The first of the four registers of each tile, tiles of one row after another.
pub(crate) fn accumulators(layout: &Layout, m: &[u32], n: &[u32]) -> Vec<u32> {
    let find = |row: u32, column: u32| {
        (0..layout.registers()).find(|&r| {
            let at = layout.apply(r, 0, 0);
            (at[0], at[1]) == (row, column)
        })
    };
    for lane in 0..32 {
        let at = layout.apply(0, lane, 0);
        assert_eq!(
            (at[0], at[1]),
            (lane / 4, lane % 4 * 2),
            "an accumulator should have the instruction's layout"
        );
    }
    let mut out = Vec::new();
    for &row in m {
        for &column in n {
            let tile = [(0, 0), (0, 1), (8, 0), (8, 1)].map(|(i, j)| find(row + i, column + j));
            let first = tile[0].expect("an accumulator's tile should be held by the warp");
            let expected = [0, 1, 2, 3].map(|c| Some(first + c));
            assert_eq!(tile, expected, "an accumulator's tile should be four registers in order");
            out.push(first);
        }
    }
    out
}

impl Writer<'_> {
    /// `mma`.
    pub(crate) fn mma(&mut self, mma: &Mma<'_>) {
        let VarType::Tile { layout, .. } = self.func.ty(mma.acc).clone() else {
            panic!("{} should be a tile", mma.acc)
        };
        let k_step = match mma.shape {
            MatrixShape::M16N8K16 => 16,
            MatrixShape::M16N8K32 => 32,
        };
        let m = self.tiles(&layout, 0, 16);
        let n = self.tiles(&layout, 1, 8);
        let table = accumulators(&layout, &m.starts, &n.starts);
        let (mt, nt, steps) = (m.starts.len(), n.starts.len(), mma.k / k_step);
        let name = self.name(mma.acc);
        self.text.open("{");
        let a_base = self.fragment_base("a_", mma.a);
        let b_base = self.fragment_base("b_", mma.b);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int k_ = 0; k_ < {steps}; ++k_) {{"));
        self.text.line(format!("unsigned fa_[{mt}][4], fb_[{nt}][2];"));
        match (mma.a, a_base) {
            (MatrixOperand::Shared { k_rows, .. }, Some(buffer)) => {
                self.load_a(mma, &m, &buffer, *k_rows, k_step)
            }
            (operand, _) => self.take_fragments("fa_", operand, &m.starts, steps, k_step, true),
        }
        match (mma.b, b_base) {
            (MatrixOperand::Shared { k_rows, .. }, Some(buffer)) => {
                self.load_b(mma, &n, &buffer, *k_rows, k_step)
            }
            (operand, _) => self.take_fragments("fb_", operand, &n.starts, steps, k_step, false),
        }
        self.text.line("#pragma unroll");
        self.text.line(format!("for (int m_ = 0; m_ < {mt}; ++m_)"));
        self.text.line("#pragma unroll");
        let flat = self.table(&table, &if nt == 1 { "m_".to_owned() } else { format!("(m_ * {nt} + n_)") });
        let short = short_name(mma.dtype);
        self.text.line(format!(
            "  for (int n_ = 0; n_ < {nt}; ++n_) mma_{short}({name} + {flat}, fa_[m_], fb_[n_]);"
        ));
        self.text.close();
        self.text.close();
    }

    /// A warp's tiles of `size` along an axis of the accumulator.
    pub(crate) fn tiles(&mut self, layout: &Layout, axis: usize, size: u32) -> Tiles {
        let bits = AxisBits::of(layout, axis);
        let starts = distinct(bits.registers.iter().map(|r| r / size * size));
        let only_warp = AxisBits { lane: Vec::new(), ..bits };
        let text = only_warp.thread_text("lane", "warp", self.scope.n_warps == layout.warps());
        let wanted = if axis == 0 { "warp_row" } else { "warp_col" };
        let warp = if text == "0" { text } else { self.hoist("const int", wanted, &text) };
        Tiles { starts, warp, extent: layout.shape()[axis] }
    }

    /// Declares the shared address of an operand; returns its buffer.
    fn fragment_base(&mut self, name: &str, operand: &MatrixOperand) -> Option<Buffer> {
        let (id, slot): (BufferId, Option<Var>) = match operand {
            MatrixOperand::Registers(_) => return None,
            MatrixOperand::Shared { buffer, slot, .. } => (*buffer, *slot),
        };
        let base = self.slot_offset(id, slot);
        self.text.line(format!("const unsigned {name} = shared_address(shared + {base});"));
        Some(self.func.buffers[id.index()].clone())
    }

    /// Fragments of A: rows `lane & 15`, K half `lane >> 4`; transposed when rows run along K.
    fn load_a(&mut self, mma: &Mma<'_>, m: &Tiles, buffer: &Buffer, k_rows: bool, k_step: u32) {
        let start = self.table(&m.starts, "m_");
        let half = k_step / 2;
        self.text.line("#pragma unroll");
        let (suffix, row, column) = if k_rows {
            let column = clamp(&sum_of(&[&m.warp, &start, "(lane >> 3 & 1) * 8"]), m.extent, mma.a_rows, 8);
            ("_trans", format!("k_ * {k_step} + (lane & 7) + (lane >> 4) * 8"), column)
        } else {
            let row = clamp(&sum_of(&[&m.warp, &start, "(lane & 15)"]), m.extent, mma.a_rows, 1);
            ("", row, format!("k_ * {k_step} + (lane >> 4) * {half}"))
        };
        let offset = self.element_offset(buffer, &row, &column);
        let count = m.starts.len();
        self.text.line(format!(
            "for (int m_ = 0; m_ < {count}; ++m_) load_matrix_x4{suffix}(fa_[m_], a_ + {offset});"
        ));
    }

    /// Fragments of B: two tiles of 8 columns by one instruction where their distance allows.
    fn load_b(&mut self, mma: &Mma<'_>, n: &Tiles, buffer: &Buffer, k_rows: bool, k_step: u32) {
        let half = k_step / 2;
        let gaps = distinct(n.starts.chunks_exact(2).map(|c| c[1] - c[0]));
        let paired = if gaps.len() == 1 { n.starts.len() / 2 * 2 } else { 0 };
        let gap = gaps.first().copied().unwrap_or(8);
        if paired > 0 {
            let starts: Vec<u32> = n.starts[..paired].iter().step_by(2).copied().collect();
            let start = self.table(&starts, "n_");
            let (suffix, row, column) = if k_rows {
                let column = clamp(
                    &sum_of(&[&n.warp, &start, &format!("(lane >> 4) * {gap}")]),
                    n.extent,
                    mma.b_rows,
                    8,
                );
                ("_trans", format!("k_ * {k_step} + (lane & 15)"), column)
            } else {
                let row = sum_of(&[&n.warp, &start, "(lane & 7)", &format!("(lane >> 4) * {gap}")]);
                let row = clamp(&row, n.extent, mma.b_rows, 1);
                ("", row, format!("k_ * {k_step} + (lane >> 3 & 1) * {half}"))
            };
            let offset = self.element_offset(buffer, &row, &column);
            self.text.line("#pragma unroll");
            self.text.line(format!(
                "for (int n_ = 0; n_ < {}; ++n_) load_matrix_x4{suffix}(fb_[2 * n_], b_ + {offset});",
                paired / 2
            ));
        }
        if paired < n.starts.len() {
            // Lanes 16 to 31 name rows that nobody reads; they repeat those of the first half.
            let start = self.table(&n.starts[paired..], "n_");
            let (suffix, row, column) = if k_rows {
                let column = clamp(&sum_of(&[&n.warp, &start]), n.extent, mma.b_rows, 8);
                ("_trans", format!("k_ * {k_step} + (lane & 15)"), column)
            } else {
                let row = clamp(&sum_of(&[&n.warp, &start, "(lane & 7)"]), n.extent, mma.b_rows, 1);
                ("", row, format!("k_ * {k_step} + (lane >> 3 & 1) * {half}"))
            };
            let offset = self.element_offset(buffer, &row, &column);
            let count = n.starts.len() - paired;
            let index = if paired == 0 { "n_".to_owned() } else { format!("{paired} + n_") };
            self.text.line("#pragma unroll");
            self.text.line(format!(
                "for (int n_ = 0; n_ < {count}; ++n_) load_matrix_x2{suffix}(fb_[{index}], b_ + {offset});"
            ));
        }
    }

    /// Fragments that lie in registers: words in the instruction's order.
    fn take_fragments(
        &mut self,
        to: &str,
        operand: &MatrixOperand,
        starts: &[u32],
        steps: u32,
        k_step: u32,
        is_a: bool,
    ) {
        let MatrixOperand::Registers(v) = operand else { panic!("a shared operand should have a buffer") };
        let VarType::Tile { dtype, layout, .. } = self.func.ty(*v).clone() else {
            panic!("{v} should be a tile")
        };
        let per_word = 4 / dtype.size_bytes() as u32;
        let words = if is_a { 4 } else { 2 };
        let mut table = Vec::new();
        for &start in starts {
            for step in 0..steps {
                let element = |line: u32, k: u32| {
                    (0..layout.registers()).find(|&r| {
                        let at = layout.apply(r, 0, 0);
                        let (l, x) = if is_a { (at[0], at[1]) } else { (at[1], at[0]) };
                        (l, x) == (start + line, step * k_step + k)
                    })
                };
                let order: Vec<_> = if is_a {
                    vec![element(0, 0), element(8, 0), element(0, k_step / 2), element(8, k_step / 2)]
                } else {
                    vec![element(0, 0), element(0, k_step / 2)]
                };
                let first = order[0].expect("a fragment should be held by the warp");
                let expected: Vec<_> = (0..words).map(|j| Some(first + j * per_word)).collect();
                assert_eq!(order, expected, "a fragment should be registers in the instruction's order");
                table.push(if per_word == 2 { first / 2 } else { first });
            }
        }
        let name = self.name(*v);
        let line = if is_a { "m_" } else { "n_" };
        let flat = if steps == 1 { line.to_owned() } else { format!("({line} * {steps} + k_)") };
        let at = self.table(&table, &flat);
        self.text.line("#pragma unroll");
        self.text.line(format!("for (int {line} = 0; {line} < {}; ++{line})", starts.len()));
        self.text.line("#pragma unroll");
        let word = if per_word == 2 {
            format!("{name}[{at} + j_]")
        } else {
            format!("pack_bytes({name} + {at} + j_ * 4)")
        };
        self.text.line(format!("  for (int j_ = 0; j_ < {words}; ++j_) {to}[{line}][j_] = {word};"));
    }
}

/// Terms added up, without zeros.
fn sum_of(terms: &[&str]) -> String {
    super::coords::sum(terms)
}

/// `at`, or the last of `rows` when the accumulator covers more; `step` rows begin together.
fn clamp(at: &str, covered: u32, rows: u32, step: u32) -> String {
    if covered <= rows { at.to_owned() } else { format!("min({at}, {})", (rows - 1) / step * step) }
}
