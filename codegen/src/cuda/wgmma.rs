//! `wgmma`: descriptors of shared operands, and the asynchronous matrix instructions, one wrapper per form that the kernel uses.
//!
//! ```text
//!   descriptor: address >> 4 (14 bits) | leading offset >> 4 at 16 | stride offset >> 4 at 32 | swizzle mode at 62
//!               └─ low word: of the first slot, made once; a slot or a step adds to it ─┘
//!   K along a row:     stride offset = 8 rows; a step of K = 32 bytes on, then the next panel
//!   K along the rows:  leading offset = one panel, stride offset = 8 rows; a step of K = 16 rows on
//! ```
//!
//! Operands lie in the hardware's swizzles, each panel as wide as the swizzle's span. PTX ISA, wgmma, matrix descriptor.

use std::fmt::Write as _;

use super::closed::closed_form;
use super::coords::{AxisBits, sum};
use super::ctypes::short_name;
use super::shared::scaled;
use super::writer::Writer;
use crate::gpu::{Buffer, MatrixOperand, Swizzle, Var, VarType};
use crate::ir::DType;
use crate::layout::Layout;

/// A statement `wgmma`.
pub(crate) struct Wgmma<'a> {
    pub(crate) acc: Var,
    pub(crate) a: &'a MatrixOperand,
    pub(crate) b: &'a MatrixOperand,
    pub(crate) dtype: DType,
    /// Columns of one instruction.
    pub(crate) n: u32,
    /// Extent of K.
    pub(crate) k: u32,
    pub(crate) accumulate: Option<Var>,
}

/// One form of the instruction.
struct Form {
    n: u32,
    dtype: DType,
    a_in_registers: bool,
    /// Whether rows run along K, for A and B.
    k_rows: [bool; 2],
    /// Register of each element of the accumulator, from the first.
    order: Vec<u32>,
}

/// A shared operand's descriptor.
struct Descriptor {
    /// The variable with its low word.
    name: &'static str,
    /// The function that puts the high word in front.
    high: String,
    /// What step `k_` adds.
    step: String,
    buffer: Buffer,
}

impl Descriptor {
    /// The descriptor of what lies so many bytes on, at step `k_`.
    fn at(&self, bytes: u32) -> String {
        format!("{}({})", self.high, sum(&[self.name, &self.step, &(bytes / 16).to_string()]))
    }
}

/// Whether the accumulators are integers.
const fn is_integer(dtype: DType) -> bool {
    matches!(dtype, DType::I8 | DType::U8)
}

/// The code of a swizzle in a descriptor, and its span in bytes.
fn mode(buffer: &Buffer) -> (u32, u32) {
    let found = match buffer.swizzle {
        Swizzle::Xor { shift: 0, mask: 7 } => (1, 128),
        Swizzle::Xor { shift: 1, mask: 3 } => (2, 64),
        Swizzle::Xor { shift: 2, mask: 1 } => (3, 32),
        Swizzle::Xor { .. } | Swizzle::None => {
            panic!("buffer `{}` should have a swizzle of the hardware", buffer.name)
        }
    };
    assert_eq!(
        buffer.pitch_bytes, found.1,
        "rows of buffer `{}` should be as wide as the swizzle's span",
        buffer.name
    );
    found
}

impl Form {
    fn name(&self) -> String {
        let k = 32 / self.dtype.size_bytes();
        let mut name = format!("wgmma_m64n{}k{k}_{}", self.n, short_name(self.dtype));
        if self.a_in_registers {
            name.push_str("_ra");
        } else if self.k_rows[0] {
            name.push_str("_ta");
        }
        if self.k_rows[1] {
            name.push_str("_tb");
        }
        name
    }

    /// The wrapper's text under a name.
    fn text(&self, name: &str) -> String {
        let k = 32 / self.dtype.size_bytes();
        let count = (self.n / 2) as usize;
        let (c_type, constraint) = if is_integer(self.dtype) { ("int", "+r") } else { ("float", "+f") };
        let (d, t) = match self.dtype {
            DType::F16 => ("f32", "f16"),
            DType::BF16 => ("f32", "bf16"),
            DType::F8E4M3 => ("f32", "e4m3"),
            DType::F8E5M2 => ("f32", "e5m2"),
            DType::I8 => ("s32", "s8"),
            DType::U8 => ("s32", "u8"),
            DType::F32 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => {
                panic!("`wgmma` should not multiply {}", self.dtype)
            }
        };
        let list = |from: usize, n: usize| (from..from + n).map(|i| format!("%{i}")).collect::<Vec<_>>();
        let wrap = |items: &[String], indent: &str| -> String {
            items.chunks(16).map(|c| format!("{indent}\"{}", c.join(", "))).collect::<Vec<_>>().join(", \"\n")
        };
        let a_count = if self.a_in_registers { 4 } else { 1 };
        let (b_at, p_at) = (count + a_count, count + a_count + 1);
        let a = if self.a_in_registers {
            format!("{{{}}}", list(count, 4).join(", "))
        } else {
            format!("%{count}")
        };
        let tail = match self.dtype {
            DType::F16 | DType::BF16 if self.a_in_registers => {
                format!(", 1, 1, {}", u8::from(self.k_rows[1]))
            }
            DType::F16 | DType::BF16 => {
                format!(", 1, 1, {}, {}", u8::from(self.k_rows[0]), u8::from(self.k_rows[1]))
            }
            DType::F8E4M3 | DType::F8E5M2 => ", 1, 1".to_owned(),
            DType::I8 | DType::U8 => String::new(),
            DType::F32 | DType::I32 | DType::I64 | DType::U32 | DType::Bool => String::new(),
        };
        let a_type = if self.a_in_registers { "const unsigned* a" } else { "unsigned long long a" };
        let mut out = String::new();
        let _ = writeln!(
            out,
            "// d = a b + (accumulate ? d : 0) of 64 by {} by {k}, by one warpgroup, asynchronously. PTX ISA, wgmma.mma_async.",
            self.n
        );
        let _ = writeln!(
            out,
            "__device__ __forceinline__ void {name}({c_type}* d, {a_type}, unsigned long long b, bool accumulate) {{"
        );
        let _ = writeln!(out, "  asm volatile(");
        let _ = writeln!(out, "      \"{{\\n .reg .pred p;\\n setp.ne.b32 p, %{p_at}, 0;\\n\"");
        let _ = writeln!(out, "      \" wgmma.mma_async.sync.aligned.m64n{}k{k}.{d}.{t}.{t} {{\"", self.n);
        let _ = writeln!(out, "{}\"", wrap(&list(0, count), "      "));
        let _ = writeln!(out, "      \"}}, {a}, %{b_at}, p{tail};\\n}}\\n\"");
        let outputs: Vec<String> = self.order.iter().map(|r| format!("\"{constraint}\"(d[{r}])")).collect();
        let rows: Vec<String> = outputs.chunks(8).map(|c| c.join(", ")).collect();
        let _ = writeln!(out, "      : {}", rows.join(",\n        "));
        let a_in = if self.a_in_registers {
            (0..4).map(|i| format!("\"r\"(a[{i}])")).collect::<Vec<_>>().join(", ")
        } else {
            "\"l\"(a)".to_owned()
        };
        let _ = writeln!(out, "      : {a_in}, \"l\"(b), \"r\"((int)accumulate));");
        let _ = writeln!(out, "}}");
        out
    }
}

/// The registers of the instruction whose result begins at a row and a column.
fn tile_registers(layout: &Layout, row: u32, column: u32, n: u32) -> Vec<u32> {
    let held: Vec<_> = (0..layout.registers()).map(|r| layout.apply(r, 0, 0)).collect();
    (0..n / 2)
        .map(|i| {
            let at = (row + 8 * (i >> 1 & 1), column + 8 * (i >> 2) + (i & 1));
            let found = held.iter().position(|h| (h[0], h[1]) == at);
            found.expect("an accumulator should have the instruction's layout") as u32
        })
        .collect()
}

impl Writer<'_> {
    /// `wgmma`.
    pub(crate) fn wgmma(&mut self, wgmma: &Wgmma<'_>) {
        let VarType::Tile { layout, .. } = self.func.ty(wgmma.acc).clone() else {
            panic!("{} should be a tile", wgmma.acc)
        };
        let size = wgmma.dtype.size_bytes() as u32;
        let steps = wgmma.k * size / 32;
        let rows = AxisBits::of(&layout, 0);
        let columns = AxisBits::of(&layout, 1);
        let mut m_starts: Vec<u32> = rows.registers.iter().map(|r| r / 64 * 64).collect();
        let mut n_starts: Vec<u32> = columns.registers.iter().map(|c| c / wgmma.n * wgmma.n).collect();
        for starts in [&mut m_starts, &mut n_starts] {
            starts.sort_unstable();
            starts.dedup();
        }
        // Warpgroups beyond the first four warps.
        let group = |w: &mut Self, bits: &AxisBits, wanted: &str| {
            let mut warp = bits.warp.clone();
            warp.iter_mut().take(2).for_each(|v| *v = 0);
            let only = AxisBits { lane: Vec::new(), warp, registers: Vec::new() };
            let text = only.thread_text("lane", "warp", w.scope.n_warps == layout.warps());
            if text == "0" { text } else { w.hoist("const int", wanted, &text) }
        };
        let (group_row, group_column) = (group(self, &rows, "group_row"), group(self, &columns, "group_col"));
        let (MatrixOperand::Shared { k_rows: b_k_rows, .. }, name) = (wgmma.b, self.name(wgmma.acc)) else {
            panic!("the right operand of `wgmma` should be shared")
        };
        let a_k_rows = match wgmma.a {
            MatrixOperand::Registers(_) => false,
            MatrixOperand::Shared { k_rows, .. } => *k_rows,
        };
        self.text.open("{");
        let a = self.descriptor("a_", wgmma.a, &group_row, steps, size);
        let b = self.descriptor("b_", wgmma.b, &group_column, steps, size).expect("b should be shared");
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int k_ = 0; k_ < {steps}; ++k_) {{"));
        let accumulate = match wgmma.accumulate {
            None => "true".to_owned(),
            Some(v) => match self.scalar(v).as_str() {
                "true" => "true".to_owned(),
                "false" => "k_ > 0".to_owned(),
                name => format!("{name} || k_ > 0"),
            },
        };
        for &row in &m_starts {
            for &column in &n_starts {
                let registers = tile_registers(&layout, row, column, wgmma.n);
                let first = registers[0];
                let form = Form {
                    n: wgmma.n,
                    dtype: wgmma.dtype,
                    a_in_registers: matches!(wgmma.a, MatrixOperand::Registers(_)),
                    k_rows: [a_k_rows, *b_k_rows],
                    order: registers.iter().map(|r| r - first).collect(),
                };
                let function = self.wrapper(&form);
                let left = match (&a, wgmma.a) {
                    (Some(a), _) => a.at(line_offset(&a.buffer, a_k_rows, row, size)),
                    (None, MatrixOperand::Registers(v)) => {
                        self.register_fragments(*v, row, steps, wgmma.dtype)
                    }
                    (None, MatrixOperand::Shared { .. }) => {
                        panic!("a shared operand should have a descriptor")
                    }
                };
                let right = b.at(line_offset(&b.buffer, *b_k_rows, column, size));
                let to = super::global::plus(&name, &first.to_string());
                self.text.line(format!("{function}({to}, {left}, {right}, {accumulate});"));
            }
        }
        self.text.close();
        self.text.close();
    }

    /// Declares the low word of the descriptor of a shared operand under a name.
    fn descriptor(
        &mut self,
        name: &'static str,
        operand: &MatrixOperand,
        group: &str,
        steps: u32,
        size: u32,
    ) -> Option<Descriptor> {
        let MatrixOperand::Shared { buffer: id, slot, k_rows } = operand else { return None };
        let buffer = self.func.buffers[id.index()].clone();
        let (code, span) = mode(&buffer);
        let panel = buffer.rows * buffer.pitch_bytes;
        let (leading, offsets): (u32, Vec<u32>) = if *k_rows {
            (panel, (0..steps).map(|k| k * 32 / size * buffer.pitch_bytes / 16).collect())
        } else {
            // The leading offset is unused within a swizzle's span.
            (16, (0..steps).map(|k| (k * 32 / span * panel + k * 32 % span) / 16).collect())
        };
        let of_group = if group == "0" {
            "0".to_owned()
        } else if *k_rows {
            // Groups are whole panels apart.
            format!("{group} / {} * {panel}", span / size)
        } else {
            format!("{group} * {}", buffer.pitch_bytes)
        };
        let start = self.buffer_name(*id);
        let at = sum(&[&start, &of_group]);
        let first = format!("matrix_start<{leading}>(shared_address(shared + {at}))");
        let first = self.hoist("const unsigned", &format!("{start}_matrix"), &first);
        let slot = slot.map_or_else(|| "0".to_owned(), |slot| self.scalar(slot));
        let low = sum(&[&first, &scaled(&slot, buffer.slot_bytes() as usize / 16)]);
        self.text.line(format!("const unsigned {name} = {low};"));
        let step = closed_form(&offsets, "k_").unwrap_or_else(|| self.table(&offsets, "k_"));
        let high = format!("matrix_descriptor<{}, {code}>", 8 * buffer.pitch_bytes);
        Some(Descriptor { name, high, step, buffer })
    }

    /// Words of operand A in registers for the rows from `row` on and step `k_`.
    fn register_fragments(&mut self, v: Var, row: u32, steps: u32, dtype: DType) -> String {
        let VarType::Tile { layout, .. } = self.func.ty(v).clone() else { panic!("{v} should be a tile") };
        let size = dtype.size_bytes() as u32;
        assert_eq!(size, 2, "operand A of `wgmma` in registers should be of 16-bit floats");
        let held: Vec<_> = (0..layout.registers()).map(|r| layout.apply(r, 0, 0)).collect();
        let element = |i: u32, k: u32| held.iter().position(|h| (h[0], h[1]) == (row + i, k));
        let table: Vec<u32> = (0..steps)
            .map(|k| {
                let k = k * 16;
                let order = [element(0, k), element(8, k), element(0, k + 8), element(8, k + 8)];
                let first = order[0].expect("a fragment should be held by the warpgroup");
                let expected = [0, 2, 4, 6].map(|j| Some(first + j));
                assert_eq!(order, expected, "a fragment should be registers in the instruction's order");
                first as u32 / 2
            })
            .collect();
        let name = self.name(v);
        let at = self.table(&table, "k_");
        super::global::plus(&name, &at)
    }

    /// The wrapper for a form; generated once.
    fn wrapper(&mut self, form: &Form) -> String {
        let wanted = form.name();
        let known =
            self.generated.iter().find(|(name, text)| name.starts_with(&wanted) && form.text(name) == *text);
        if let Some((name, _)) = known {
            return name.clone();
        }
        let name = self.names.unique(&wanted);
        let text = form.text(&name);
        self.generated.push((name.clone(), text));
        name
    }

    /// `wgmma_wait`: what is complete is tied to this point, so that no use moves above it.
    pub(crate) fn wgmma_wait(&mut self, pending: u32, done: &[Var]) {
        self.text.line(format!("wgmma_wait<{pending}>();"));
        for &v in done {
            let (name, n) = (self.name(v), self.func.ty(v).n_elements());
            self.text.line("#pragma unroll");
            self.text.line(format!("for (int r_ = 0; r_ < {n}; ++r_) pin({name}[r_]);"));
        }
    }
}

/// Bytes from the start of an operand to the row (of M or N) `line`.
fn line_offset(buffer: &Buffer, k_rows: bool, line: u32, size: u32) -> u32 {
    if k_rows {
        let per_panel = buffer.pitch_bytes / size;
        assert!(
            line.is_multiple_of(per_panel),
            "a matrix instruction should begin at a panel of `{}`",
            buffer.name
        );
        line / per_panel * buffer.rows * buffer.pitch_bytes
    } else {
        line * buffer.pitch_bytes
    }
}
