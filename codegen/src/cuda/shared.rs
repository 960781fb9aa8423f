//! Shared memory: where an element of a buffer lies, copies to and from registers, and asynchronous copies from device memory.
//!
//! A byte offset in a slot is `row * pitch + swizzled(column * size)`, plus the panel for a cut tile. The swizzle moves 16-byte
//! chunks, so a vector of up to 16 bytes stays together.

use super::coords::{CoordText, evaluate, sum};
use super::ctypes::{Storage, memory_type, storage};
use super::global::{advance, register_at};
use super::writer::Writer;
use crate::gpu::{Buffer, BufferId, Coord, Swizzle, Var, VarType};
use crate::layout::Layout;

/// An asynchronous copy of a tile, as in the statement.
pub(crate) struct Copy<'a> {
    pub(crate) view: Var,
    pub(crate) offsets: &'a [Var],
    pub(crate) row_axis: u8,
    pub(crate) column_axis: u8,
    pub(crate) buffer: BufferId,
    pub(crate) slot: Option<Var>,
    pub(crate) bytes: u32,
    pub(crate) guard: Option<Var>,
}

/// How a tile's registers meet a buffer.
struct Meeting {
    /// Elements that one access moves.
    vector: u32,
    /// Whether some elements of the layout lie outside the buffer.
    leaves: bool,
}

/// Finds the widest access: neighbouring registers that are neighbours in a row, aligned.
fn meet(layout: &Layout, coords: &[Coord; 2], buffer: &Buffer) -> Meeting {
    let size = buffer.dtype.size_bytes() as u32;
    let n = layout.registers();
    let (mut leaves, columns) = (false, buffer.columns * buffer.panels);
    let mut vector = (16 / size).min(1 << n.trailing_zeros()).max(1);
    for warp in 0..layout.warps() {
        for lane in 0..layout.lanes() {
            let mut previous = (0, 0);
            for r in 0..n {
                let at = layout.apply(r, lane, warp);
                let (row, column) = (evaluate(&coords[0], &at), evaluate(&coords[1], &at));
                leaves |= row >= buffer.rows || column >= columns;
                while vector > 1 {
                    let fits = if r.is_multiple_of(vector) {
                        column.is_multiple_of(vector)
                    } else {
                        (row, column) == (previous.0, previous.1 + 1)
                    };
                    if fits {
                        break;
                    }
                    vector /= 2;
                }
                previous = (row, column);
            }
        }
    }
    let aligned = [buffer.pitch_bytes, buffer.offset_bytes, buffer.slot_bytes(), buffer.columns * size];
    while vector > 1 && aligned.iter().any(|a| !a.is_multiple_of(vector * size)) {
        vector /= 2;
    }
    Meeting { vector, leaves }
}

impl Writer<'_> {
    /// The name of a buffer's offset, declared at the start of the scope.
    pub(crate) fn buffer_name(&mut self, id: BufferId) -> String {
        let name = self.buffer_names[id.index()].clone();
        let offset = self.func.buffers[id.index()].offset_bytes;
        self.hoist_named("constexpr int", &name, &offset.to_string());
        name
    }

    /// Byte offset of a slot in shared memory.
    pub(crate) fn slot_offset(&mut self, id: BufferId, slot: Option<Var>) -> String {
        let name = self.buffer_name(id);
        let bytes = self.func.buffers[id.index()].slot_bytes();
        match slot {
            None => name,
            Some(slot) => {
                let slot = self.scalar(slot);
                if slot == "0" { name } else { format!("{name} + {slot} * {bytes}") }
            }
        }
    }

    /// Byte offset of an element in a slot; `row` and `column` bind at least as sums.
    pub(crate) fn element_offset(&self, buffer: &Buffer, row: &str, column: &str) -> String {
        let size = buffer.dtype.size_bytes();
        let (mut column, mut panel) = (column.to_owned(), "0".to_owned());
        if buffer.panels > 1 && column != "0" {
            let stride = buffer.rows * buffer.pitch_bytes;
            panel = format!("(int)(unsigned({column}) / {}) * {stride}", buffer.columns);
            column = format!("(int)(unsigned({column}) % {})", buffer.columns);
        }
        let line = scaled(row, buffer.pitch_bytes as usize);
        let byte = scaled(&column, size);
        let byte = match buffer.swizzle {
            Swizzle::None => byte,
            Swizzle::Xor { shift, mask } => format!("swizzled<{shift}, {mask}>({row}, {byte})"),
        };
        sum(&[&panel, &line, &byte])
    }

    /// Byte offset in a slot for register `r`: what is the thread's alone is printed in front as `at_` where it adds.
    fn register_offset(&mut self, buffer: &Buffer, row: &CoordText, column: &CoordText) -> String {
        if buffer.swizzle != Swizzle::None || buffer.panels > 1 {
            return self.element_offset(buffer, &row.whole(), &column.whole());
        }
        let first = self.element_offset(buffer, &row.thread, &column.thread);
        let rest = self.element_offset(buffer, &row.register, &column.register);
        self.text.line(format!("const int at_ = {first};"));
        sum(&["at_", &rest])
    }

    /// `from_shared`.
    pub(crate) fn load_shared(&mut self, dst: Var, id: BufferId, slot: Option<Var>, coords: &[Coord; 2]) {
        let VarType::Tile { dtype, shape, layout } = self.func.ty(dst).clone() else {
            panic!("{dst} should be a tile")
        };
        let buffer = self.func.buffers[id.index()].clone();
        let (n, name) = (layout.registers(), self.name(dst));
        let kind = storage(dtype, n as usize);
        let Meeting { mut vector, leaves } = meet(&layout, coords, &buffer);
        // A vector that begins in the tile ends in it.
        while vector > 1
            && shape.as_slice().iter().zip(layout.shape()).any(|(s, l)| l > s && !s.is_multiple_of(vector))
        {
            vector /= 2;
        }
        self.vector = vector;
        let [row, column] = coords.clone().map(|c| self.coord(&layout, &c, "r_"));
        self.vector = 1;
        let base = self.slot_offset(id, slot);
        self.text.open("{");
        let offset = self.register_offset(&buffer, &row, &column);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {n}; {}) {{", advance("r_", vector)));
        let from = format!("at<const {}>(shared + {base} + {offset})", memory_type(dtype));
        self.vector = vector;
        let mut inside: Vec<String> = self.inside(&buffer, &row, &column, leaves).into_iter().collect();
        inside.extend(self.shape_guards(&layout, &shape, "r_"));
        self.vector = 1;
        let inside = (!inside.is_empty()).then(|| inside.join(" && "));
        match (kind, vector, inside) {
            (Storage::Packed, 1, inside) => {
                let value = format!("(unsigned)*{from}");
                let value = inside.map_or(value.clone(), |i| format!("{i} ? {value} : 0u"));
                self.text.line(format!("put_half({name}, r_, {value});"));
            }
            (_, _, None) => {
                self.text.line(format!("load<{vector}>({}, {from});", register_at(&name, kind, "r_")));
            }
            (_, _, Some(inside)) => {
                let (ty, _) = self.array_of(dst);
                self.text.line(format!(
                    "load_or<{vector}>({inside}, {}, {from}, ({ty})0);",
                    register_at(&name, kind, "r_")
                ));
            }
        }
        self.text.close();
        self.text.close();
    }

    /// The condition that an element lies in the buffer, when some do not.
    fn inside(&self, buffer: &Buffer, row: &CoordText, column: &CoordText, leaves: bool) -> Option<String> {
        let columns = buffer.columns * buffer.panels;
        leaves.then(|| format!("{} < {} && {} < {columns}", row.whole(), buffer.rows, column.whole()))
    }

    /// `to_shared`.
    pub(crate) fn store_shared(
        &mut self,
        src: Var,
        id: BufferId,
        slot: Option<Var>,
        coords: &[Coord; 2],
        vector: u32,
    ) {
        let VarType::Tile { dtype, shape, layout } = self.func.ty(src).clone() else {
            panic!("{src} should be a tile")
        };
        let buffer = self.func.buffers[id.index()].clone();
        let (n, name) = (layout.registers(), self.name(src));
        let kind = storage(dtype, n as usize);
        self.vector = vector;
        let [row, column] = coords.clone().map(|c| self.coord(&layout, &c, "r_"));
        self.vector = 1;
        let base = self.slot_offset(id, slot);
        let owners = self.owner_guards(&layout);
        let (in_loop, outside): (Vec<_>, Vec<_>) = owners.into_iter().partition(|g| g.contains("r_"));
        match outside.as_slice() {
            [] => self.text.open("{"),
            some => self.text.open(format!("if ({}) {{", some.join(" && "))),
        }
        let offset = self.register_offset(&buffer, &row, &column);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {n}; {}) {{", advance("r_", vector)));
        // What lies beyond the tile has no place: a renaming may send it into another row.
        self.vector = vector;
        let conditions: Vec<String> =
            self.shape_guards(&layout, &shape, "r_").into_iter().chain(in_loop).collect();
        self.vector = 1;
        let condition =
            if conditions.is_empty() { String::new() } else { format!("if ({}) ", conditions.join(" && ")) };
        let to = format!("at<{}>(shared + {base} + {offset})", memory_type(dtype));
        if kind == Storage::Packed && vector == 1 {
            self.text.line(format!("{condition}*{to} = half_bits({name}, r_);"));
        } else {
            self.text.line(format!("{condition}store<{vector}>({to}, {});", register_at(&name, kind, "r_")));
        }
        self.text.close();
        self.text.close();
    }

    /// `copy_async`: thread after thread takes the next chunk of a row.
    pub(crate) fn copy_async(&mut self, copy: &Copy<'_>) {
        let buffer = self.func.buffers[copy.buffer.index()].clone();
        let view = self.view(copy.view);
        let size = buffer.dtype.size_bytes() as u32;
        let per_chunk = copy.bytes / size;
        let per_row = (buffer.columns * buffer.panels).div_ceil(per_chunk);
        let (total, threads) = (buffer.rows * per_row, self.scope.n_threads());
        let base = self.slot_offset(copy.buffer, copy.slot);
        self.text.open("{");
        self.text.line(format!("const unsigned to_ = shared_address(shared + {base});"));
        let mut fixed: Vec<String> = copy.guard.map(|g| self.scalar(g)).into_iter().collect();
        let mut terms = vec![view.pointer.clone()];
        for (axis, offset) in copy.offsets.iter().enumerate() {
            if axis != usize::from(copy.row_axis) && axis != usize::from(copy.column_axis) {
                let index = self.scalar(*offset);
                fixed.push(format!(
                    "(unsigned){} < (unsigned){}",
                    super::coords::grouped(&index),
                    view.dims[axis]
                ));
                terms.push(view.step(axis, &index));
            }
        }
        // When the threads take whole rows at once, a thread's column is the same in every step.
        let in_step = !threads.is_multiple_of(per_row);
        let terms: Vec<&str> = terms.iter().map(String::as_str).collect();
        self.text.line(format!("{} const p_ = {};", view.pointer_type(), sum(&terms)));
        if !fixed.is_empty() {
            self.text.line(format!("const bool on_ = {};", fixed.join(" && ")));
        }
        if !in_step {
            self.copy_column(copy, &view, "tid", [per_row, per_chunk], !fixed.is_empty());
        }
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int i_ = 0; i_ < {}; ++i_) {{", total.div_ceil(threads)));
        let row = if in_step {
            self.text.line(format!("const int chunk_ = tid + i_ * {threads};"));
            if !total.is_multiple_of(threads) {
                self.text.line(format!("if (chunk_ >= {total}) break;"));
            }
            self.copy_column(copy, &view, "chunk_", [per_row, per_chunk], !fixed.is_empty());
            format!("chunk_ / {per_row}")
        } else {
            let step = threads / per_row;
            if step == 1 { format!("tid / {per_row} + i_") } else { format!("tid / {per_row} + i_ * {step}") }
        };
        self.text.line(format!("const int row_ = {row};"));
        if !in_step && !total.is_multiple_of(threads) {
            self.text.line(format!("if (row_ >= {}) break;", buffer.rows));
        }
        let (row_axis, column_axis) = (usize::from(copy.row_axis), usize::from(copy.column_axis));
        let first_row = self.scalar(copy.offsets[row_axis]);
        self.text.line(format!("const int from_ = {};", sum(&[&first_row, "row_"])));
        let offset = self.element_offset(&buffer, "row_", "column_");
        let source = sum(&[&view.step(row_axis, "from_"), &view.step(column_axis, "at_")]);
        self.text.line(format!(
            "copy_async_{}(to_ + {offset}, p_ + ({source}), inside_ && (unsigned)from_ < (unsigned){});",
            copy.bytes, view.dims[row_axis]
        ));
        self.text.close();
        self.text.close();
    }

    /// Column of a chunk: `column_` in the buffer, `at_` in the view, and `inside_`, whether it is in bounds.
    fn copy_column(
        &mut self,
        copy: &Copy<'_>,
        view: &super::views::ViewText,
        chunk: &str,
        [per_row, per_chunk]: [u32; 2],
        has_guard: bool,
    ) {
        let axis = usize::from(copy.column_axis);
        let first = self.scalar(copy.offsets[axis]);
        self.text.line(format!("const int column_ = {chunk} % {per_row} * {per_chunk};"));
        self.text.line(format!("const int at_ = {};", sum(&[&first, "column_"])));
        let on = if has_guard { "on_ && " } else { "" };
        self.text.line(format!("const bool inside_ = {on}(unsigned)at_ < (unsigned){};", view.dims[axis]));
    }
}

/// `index * factor`.
pub(crate) fn scaled(index: &str, factor: usize) -> String {
    match (index, factor) {
        ("0", _) => "0".to_owned(),
        (_, 1) => index.to_owned(),
        _ => format!("{} * {factor}", super::coords::grouped(index)),
    }
}
