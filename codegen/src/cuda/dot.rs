//! Dot products by fused multiply-adds: outer products over a thread's rows and columns from shared memory, or in registers.
//!
//! A thread loads each of its rows of `a` and columns of `b` once per step along K and uses it for all the elements it holds.

use std::fmt::Write as _;

use super::coords::{AxisBits, sum};
use super::ctypes::{memory_type, short_name};
use super::writer::Writer;
use crate::gpu::{BufferId, Var, VarType};
use crate::ir::DType;
use crate::layout::Layout;

/// One operand in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct SharedOperand {
    pub(crate) buffer: BufferId,
    pub(crate) slot: Option<Var>,
    /// Whether rows run along K.
    pub(crate) k_rows: bool,
}

/// What of an operand a thread needs.
struct Lines {
    /// Name of the values: `a_` or `b_`.
    name: &'static str,
    operand: SharedOperand,
    dtype: DType,
    /// Thread's part of the batch and of the row or column.
    thread: [String; 2],
    /// Distinct register parts of the two.
    parts: Vec<[u32; 2]>,
    /// Extents of the two, and whether the layout covers more.
    extents: [(u32, bool); 2],
    /// Lines that one access moves, when stored along them.
    vector: u32,
    base: String,
}

impl Writer<'_> {
    /// `dot`.
    pub(crate) fn dot_shared(&mut self, acc: Var, a: SharedOperand, b: SharedOperand, k: u32) {
        let VarType::Tile { dtype, shape, layout } = self.func.ty(acc).clone() else {
            panic!("{acc} should be a tile")
        };
        let rank = shape.rank();
        let (a_lines, of_a) = self.lines("a", a, &layout, &shape.to_vec(), rank - 2);
        let (b_lines, of_b) = self.lines("b", b, &layout, &shape.to_vec(), rank - 1);
        let step = [4, 2, 1].into_iter().find(|s| k.is_multiple_of(*s)).unwrap_or(1);
        let name = self.name(acc);
        self.text.open("{");
        self.text.line(format!("const unsigned char* const a_at_ = shared + {};", a_lines.base));
        self.text.line(format!("const unsigned char* const b_at_ = shared + {};", b_lines.base));
        self.text.line(if k / step > 2 { "#pragma unroll 2" } else { "#pragma unroll" });
        self.text.open(format!("for (int k_ = 0; k_ < {k}; k_ += {step}) {{"));
        self.load_lines(&a_lines, k, step);
        self.load_lines(&b_lines, k, step);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int j_ = 0; j_ < {step}; ++j_) {{"));
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {}; ++r_) {{", layout.registers()));
        let (m, n) = (self.table(&of_a, "r_"), self.table(&of_b, "r_"));
        let value = |lines: &Lines, i: &str| {
            if lines.operand.k_rows {
                format!("{}_[j_][{i}]", lines.name)
            } else {
                format!("{}_[{i}][j_]", lines.name)
            }
        };
        let (x, y) = (value(&a_lines, &m), value(&b_lines, &n));
        self.text.line(if dtype.is_float() {
            format!("{name}[r_] = fmaf({x}, {y}, {name}[r_]);")
        } else {
            format!("{name}[r_] = add({name}[r_], {x} * {y});")
        });
        for _ in 0..4 {
            self.text.close();
        }
    }

    /// The lines of an operand along `axis` of the accumulator, and which of them each register takes.
    fn lines(
        &mut self,
        name: &'static str,
        operand: SharedOperand,
        layout: &Layout,
        shape: &[usize],
        axis: usize,
    ) -> (Lines, Vec<u32>) {
        let of = |axis: usize| {
            let bits = AxisBits::of(layout, axis);
            assert!(bits.adds(layout.span(axis)), "the accumulator of a dot should have a blocked layout");
            bits
        };
        let line = of(axis);
        let batch = (shape.len() == 3).then(|| of(0));
        let mut parts: Vec<[u32; 2]> = Vec::new();
        let mut index = Vec::new();
        for r in 0..layout.registers() as usize {
            let part = [batch.as_ref().map_or(0, |b| b.registers[r]), line.registers[r]];
            let at = parts.iter().position(|p| *p == part).unwrap_or_else(|| {
                parts.push(part);
                parts.len() - 1
            });
            index.push(at as u32);
        }
        let buffer = &self.func.buffers[operand.buffer.index()];
        let dtype = buffer.dtype;
        let size = dtype.size_bytes() as u32;
        let mut vector = if operand.k_rows { 16 / size } else { 1 };
        let fits = |v: u32| {
            let aligned = [buffer.pitch_bytes, buffer.slot_bytes(), buffer.offset_bytes]
                .iter()
                .all(|b| b.is_multiple_of(v * size));
            let thread = line.lane.iter().chain(&line.warp).all(|x| x.is_multiple_of(v));
            let runs = parts.len().is_multiple_of(v as usize)
                && parts.chunks(v as usize).all(|c| {
                    c[0][1].is_multiple_of(v) && c.iter().zip(0..).all(|(p, j)| *p == [c[0][0], c[0][1] + j])
                });
            aligned && thread && runs
        };
        let covers_more = layout.shape()[axis] as usize > shape[axis];
        while vector > 1 && (covers_more || !fits(vector)) {
            vector /= 2;
        }
        let thread = [
            batch.as_ref().map_or_else(|| "0".to_owned(), |b| self.thread_part(layout, 0, b)),
            self.thread_part(layout, axis, &line),
        ];
        let batches = if batch.is_some() {
            (shape[0] as u32, layout.shape()[0] as usize > shape[0])
        } else {
            (1, false)
        };
        let base = self.slot_offset(operand.buffer, operand.slot);
        let extents = [batches, (shape[axis] as u32, covers_more)];
        (Lines { name, operand, dtype, thread, parts, extents, vector, base }, index)
    }

    /// Loads a step along K of every line: `x_[line][k]`, or `x_[k][line]` when rows run along K.
    fn load_lines(&mut self, lines: &Lines, k: u32, step: u32) {
        let buffer = self.func.buffers[lines.operand.buffer.index()].clone();
        let n = lines.parts.len();
        let ty = if lines.dtype.is_float() { "float" } else { "int" };
        let (name, memory, short) = (lines.name, memory_type(lines.dtype), short_name(lines.dtype));
        let coordinate = |w: &mut Self, which: usize| {
            let table: Vec<u32> = lines.parts.iter().map(|p| p[which]).collect();
            let register = w.table(&table, "l_");
            let all = sum(&[&lines.thread[which], &register]);
            let (extent, covers_more) = lines.extents[which];
            if covers_more { format!("min({all}, {})", extent - 1) } else { all }
        };
        let (batch, line) = (coordinate(self, 0), coordinate(self, 1));
        let scaled = |x: &str, by: u32| super::shared::scaled(x, by as usize);
        let mut text = String::new();
        if lines.operand.k_rows {
            let row = sum(&[&scaled(&batch, k), "k_ + j_"]);
            let offset = self.element_offset(&buffer, &row, &line);
            self.text.line(format!("{ty} {name}_[{step}][{n}];"));
            self.text.line("#pragma unroll");
            self.text.open(format!("for (int j_ = 0; j_ < {step}; ++j_) {{"));
            self.text.line("#pragma unroll");
            let v = lines.vector;
            let advance = super::global::advance("l_", v);
            let _ = write!(
                text,
                "for (int l_ = 0; l_ < {n}; {advance}) load_{short}<{v}>({name}_[j_] + l_, at<const {memory}>({name}_at_ + {offset}));"
            );
            self.text.line(text);
            self.text.close();
        } else {
            let row = sum(&[&scaled(&batch, lines.extents[1].0), &line]);
            let offset = self.element_offset(&buffer, &row, "k_");
            let size = lines.dtype.size_bytes() as u32;
            // The widest access that the pitch keeps aligned.
            let aligned = [buffer.pitch_bytes, buffer.slot_bytes(), buffer.offset_bytes];
            let mut v = step.min(16 / size);
            while aligned.iter().any(|b| !b.is_multiple_of(v * size)) {
                v /= 2;
            }
            self.text.line(format!("{ty} {name}_[{n}][{step}];"));
            self.text.line("#pragma unroll");
            if v == step {
                let _ = write!(
                    text,
                    "for (int l_ = 0; l_ < {n}; ++l_) load_{short}<{step}>({name}_[l_], at<const {memory}>({name}_at_ + {offset}));"
                );
            } else {
                let offset = self.element_offset(&buffer, &row, "k_ + j_");
                let _ = write!(
                    text,
                    "for (int l_ = 0; l_ < {n}; ++l_)\n#pragma unroll\n    for (int j_ = 0; j_ < {step}; j_ += {v}) load_{short}<{v}>({name}_[l_] + j_, at<const {memory}>({name}_at_ + {offset}));"
                );
            }
            for line in text.split('\n') {
                self.text.line(line);
            }
        }
    }

    /// `dot_rows`.
    pub(crate) fn dot_rows(
        &mut self,
        acc: Var,
        a: Var,
        b: Var,
        lanes: &[(u16, u16)],
        m: u32,
        strides: (u16, u16),
    ) {
        let dtype = self.func.ty(acc).dtype();
        let name = self.name(acc);
        let of_acc: Vec<u32> = lanes.iter().map(|l| u32::from(l.0)).collect();
        let of_a: Vec<u32> = lanes.iter().map(|l| u32::from(l.1)).collect();
        let (to, from) = (self.table(&of_acc, "r_"), self.table(&of_a, "r_"));
        let at = |base: &str, stride: u16| sum(&[base, &super::shared::scaled("m_", usize::from(stride))]);
        let (to, from) = (at(&to, strides.0), at(&from, strides.1));
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {}; ++r_) {{", lanes.len()));
        let (x, y) = (self.register(a, &from), self.register(b, "r_"));
        self.text.line(format!("const {} b_ = {y};", super::ctypes::value_type(self.func.ty(b).dtype())));
        self.text.line("#pragma unroll");
        // The operands' signs are of their types, the sum is of the accumulator's.
        let step = if dtype.is_float() {
            format!("{name}[{to}] = fmaf({x}, b_, {name}[{to}]);")
        } else {
            format!("{name}[{to}] = add({name}[{to}], (int){x} * (int)b_);")
        };
        self.text.line(format!("for (int m_ = 0; m_ < {m}; ++m_) {step}"));
        self.text.close();
    }
}
