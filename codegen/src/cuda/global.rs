//! Loads and stores of tiles through views: vectors of registers, each with one bounds check over all axes.
//!
//! Indices are 32-bit and wrap; an index below zero is out of bounds by the unsigned comparison. What does not depend on the
//! register is computed in front of the loop. Elements that several threads hold are stored by one of them.

use super::coords::{CoordText, sum};
use super::ctypes::{Storage, memory_type, short_name, storage};
use super::views::ViewText;
use super::writer::Writer;
use crate::gpu::{Coord, Var, VarType};
use crate::ir::{DType, Shape};
use crate::layout::Layout;

/// Where the elements of a tile lie in a view.
struct Window {
    /// Conditions for an access, in the loop.
    conditions: Vec<String>,
    /// Offset from `p_`, in the loop.
    offset: String,
}

impl Writer<'_> {
    /// Conditions that pick one holder of each element: none when every element has one.
    pub(crate) fn owner_guards(&self, layout: &Layout) -> Vec<String> {
        let free = layout.free_bits();
        let mut guards = Vec::new();
        if free.lane == 31 {
            guards.push("lane == 0".to_owned());
        } else if free.lane != 0 {
            guards.push(format!("(lane & {}) == 0", free.lane));
        }
        if free.warp != 0 {
            guards.push(format!("(warp & {}) == 0", free.warp));
        }
        if self.scope.n_warps > layout.warps() {
            guards.push(format!("warp < {}", layout.warps()));
        }
        if free.register != 0 {
            guards.push(format!("(r_ & {}) == 0", free.register));
        }
        guards
    }

    /// Conditions that the element lies in the tile, which may be smaller than what the layout covers.
    pub(crate) fn shape_guards(&mut self, layout: &Layout, shape: &Shape, r: &str) -> Vec<String> {
        let mut guards = Vec::new();
        for axis in 0..shape.rank() {
            if layout.shape()[axis] as usize > shape.dim(axis) {
                let at = self.axis_coord(layout, axis, r).whole();
                guards.push(format!("{at} < {}", shape.dim(axis)));
            }
        }
        guards
    }

    /// Prints what is common to all registers, and returns what each adds.
    fn window(&mut self, view: &ViewText, offsets: &[Var], coords: &[CoordText]) -> Window {
        let mut window = Window { conditions: Vec::new(), offset: "0".to_owned() };
        let (mut base, mut rest) = (vec![view.pointer.clone()], Vec::new());
        for (axis, (offset, coord)) in offsets.iter().zip(coords).enumerate() {
            let first = sum(&[&self.scalar(*offset), &coord.thread]);
            let index = format!("i{axis}_");
            self.text.line(format!("const int {index} = {first};"));
            if coord.is_uniform() {
                let inside = format!("in{axis}_");
                self.text.line(format!(
                    "const bool {inside} = (unsigned){index} < (unsigned){};",
                    view.dims[axis]
                ));
                window.conditions.push(inside);
            } else {
                let whole = sum(&[&index, &coord.register]);
                window.conditions.push(format!("(unsigned)({whole}) < (unsigned){}", view.dims[axis]));
                rest.push(view.step(axis, &coord.register));
            }
            base.push(view.step(axis, &index));
        }
        let base: Vec<&str> = base.iter().map(String::as_str).collect();
        self.text.line(format!("{} const p_ = {};", view.pointer_type(), sum(&base)));
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        window.offset = sum(&rest);
        window
    }

    /// `load`.
    pub(crate) fn load(
        &mut self,
        dst: Var,
        view: Var,
        offsets: &[Var],
        coords: &[Coord],
        pad: Var,
        vector: u32,
    ) {
        let VarType::Tile { dtype, shape, layout } = self.func.ty(dst).clone() else {
            panic!("{dst} should be a tile")
        };
        let n = layout.registers();
        let name = self.name(dst);
        let text = self.view(view);
        self.vector = vector;
        let coords: Vec<CoordText> = coords.iter().map(|c| self.coord(&layout, c, "r_")).collect();
        let guards = self.shape_guards(&layout, &shape, "r_");
        self.vector = 1;
        self.text.open("{");
        let mut window = self.window(&text, offsets, &coords);
        window.conditions.extend(guards);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {n}; {}) {{", advance("r_", vector)));
        self.text.line(format!("const bool in_ = {};", window.conditions.join(" && ")));
        let at = plus("p_", &window.offset);
        let nc = self.options.no_alias && !text.ty.mutable;
        match (storage(dtype, n as usize), vector) {
            (Storage::Packed, 1) => {
                let pad = self.half_bits_of(pad);
                let element = if nc { format!("__ldg({at})") } else { format!("*({at})") };
                self.text.line(format!("put_half({name}, r_, in_ ? (unsigned){element} : {pad});"));
            }
            (Storage::Single, 1) => {
                let pad = self.half_bits_of(pad);
                self.text.line(format!("{name}[r_] = in_ ? *({at}) : (unsigned short){pad};"));
            }
            (_, 1) if !nc => {
                let pad = self.scalar(pad);
                let test = if dtype == DType::Bool { " != 0" } else { "" };
                self.text.line(format!("{name}[r_] = in_ ? *({at}){test} : {pad};"));
            }
            (kind, vector) => {
                let pad = self.register_pad(dtype, kind, pad);
                let to = register_at(&name, kind, "r_");
                let function = if nc { "load_or_nc" } else { "load_or" };
                self.text.line(format!("{function}<{vector}>(in_, {to}, {at}, {pad});"));
            }
        }
        self.text.close();
        self.text.close();
    }

    /// A scalar as an entry of a register array.
    pub(crate) fn register_pad(&mut self, dtype: DType, kind: Storage, pad: Var) -> String {
        match kind {
            Storage::Plain => self.scalar(pad),
            Storage::Single => format!("(unsigned short){}", self.half_bits_of(pad)),
            Storage::Packed => match self.usage.constant(pad) {
                Some(c) if c.bits == 0 => "0u".to_owned(),
                Some(c) => format!("{:#x}u", c.bits << 16 | c.bits),
                None => {
                    let (name, short) = (self.name(pad), short_name(dtype));
                    format!("pack_{short}({name}, {name})")
                }
            },
        }
    }

    /// `store`.
    pub(crate) fn store(&mut self, view: Var, offsets: &[Var], coords: &[Coord], src: Var, vector: u32) {
        let text = self.view(view);
        let dtype = text.ty.dtype;
        let VarType::Tile { shape, layout, .. } = self.func.ty(src).clone() else {
            return self.store_scalar(&text, offsets, src);
        };
        let n = layout.registers();
        let name = self.name(src);
        self.vector = vector;
        let coords: Vec<CoordText> = coords.iter().map(|c| self.coord(&layout, c, "r_")).collect();
        let guards = self.shape_guards(&layout, &shape, "r_");
        self.vector = 1;
        let owners = self.owner_guards(&layout);
        let (in_loop, outside): (Vec<_>, Vec<_>) = owners.into_iter().partition(|g| g.contains("r_"));
        match outside.as_slice() {
            [] => self.text.open("{"),
            some => self.text.open(format!("if ({}) {{", some.join(" && "))),
        }
        let mut window = self.window(&text, offsets, &coords);
        window.conditions.extend(guards);
        window.conditions.extend(in_loop);
        self.text.line("#pragma unroll");
        self.text.open(format!("for (int r_ = 0; r_ < {n}; {}) {{", advance("r_", vector)));
        let condition = window.conditions.join(" && ");
        let at = plus("p_", &window.offset);
        match (storage(dtype, n as usize), vector) {
            (Storage::Packed, 1) => {
                self.text.line(format!("if ({condition}) *({at}) = half_bits({name}, r_);"));
            }
            (_, 1) => self.text.line(format!("if ({condition}) *({at}) = {name}[r_];")),
            (kind, vector) => {
                let from = register_at(&name, kind, "r_");
                self.text.line(format!("if ({condition}) store<{vector}>({at}, {from});"));
            }
        }
        self.text.close();
        self.text.close();
    }

    /// One value at a point: one thread stores it.
    fn store_scalar(&mut self, view: &ViewText, offsets: &[Var], src: Var) {
        let dtype = view.ty.dtype;
        self.text.open("if (tid == 0) {");
        let coords = vec![CoordText { thread: "0".to_owned(), register: "0".to_owned() }; offsets.len()];
        let window = self.window(view, offsets, &coords);
        let value = match dtype {
            DType::F16 | DType::BF16 => format!("(unsigned short){}", self.half_bits_of(src)),
            DType::F32
            | DType::F8E4M3
            | DType::F8E5M2
            | DType::I8
            | DType::U8
            | DType::I32
            | DType::I64
            | DType::U32
            | DType::Bool => self.scalar(src),
        };
        let value = if dtype == DType::I8 { format!("({}){value}", memory_type(dtype)) } else { value };
        self.text.line(format!("if ({}) *p_ = {value};", window.conditions.join(" && ")));
        self.text.close();
    }
}

/// `++r` or `r += n`.
pub(crate) fn advance(r: &str, step: u32) -> String {
    if step == 1 { format!("++{r}") } else { format!("{r} += {step}") }
}

/// `pointer + offset`.
pub(crate) fn plus(pointer: &str, offset: &str) -> String {
    if offset == "0" { pointer.to_owned() } else { format!("{pointer} + {offset}") }
}

/// Pointer to the entry of element `r` in a register array.
pub(crate) fn register_at(name: &str, kind: Storage, r: &str) -> String {
    match kind {
        Storage::Packed => format!("{name} + {r} / 2"),
        Storage::Plain | Storage::Single => format!("{name} + {r}"),
    }
}
