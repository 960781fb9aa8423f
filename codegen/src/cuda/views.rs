//! Views in CUDA C: a pointer, extents and strides, by name. A view of a view is names again, and what changes gets a constant.

use super::usage::Place;
use super::writer::Writer;
use crate::gpu::{Op, Var, VarType};
use crate::ir::ViewType;

/// The parts of a view as expressions that need no parentheses.
#[derive(Clone, Debug)]
pub(crate) struct ViewText {
    /// Its type.
    pub(crate) ty: ViewType,
    /// Whether addresses need no 64-bit products.
    pub(crate) is_small: bool,
    /// Pointer to the first element.
    pub(crate) pointer: String,
    /// Extents.
    pub(crate) dims: Vec<String>,
    /// Strides in elements.
    pub(crate) strides: Vec<String>,
}

impl ViewText {
    /// A view without axes yet.
    pub(crate) const fn new(ty: ViewType, is_small: bool, pointer: String) -> Self {
        Self { ty, is_small, pointer, dims: Vec::new(), strides: Vec::new() }
    }

    /// The type of the pointer.
    pub(crate) fn pointer_type(&self) -> String {
        let access = if self.ty.mutable { "" } else { "const " };
        format!("{access}{}*", super::ctypes::memory_type(self.ty.dtype))
    }

    /// The type of a stride.
    pub(crate) const fn stride_type(&self) -> &'static str {
        if self.is_small { "int" } else { "long long" }
    }

    /// `index * stride` along an axis; `index` binds at least as a sum.
    pub(crate) fn step(&self, axis: usize, index: &str) -> String {
        let stride = &self.strides[axis];
        match (index, stride.as_str()) {
            ("0", _) => "0".to_owned(),
            (_, "1") => index.to_owned(),
            _ => format!("{} * {stride}", super::coords::grouped(index)),
        }
    }
}

impl Writer<'_> {
    /// The parts of a view.
    pub(crate) fn view(&self, v: Var) -> ViewText {
        self.views[v.index()].clone().expect("a view should be defined before it is used")
    }

    /// Prints the definition of a view.
    pub(crate) fn define_view(&mut self, dst: Var, op: &Op, place: Place) {
        let new = self.derived_view(dst, op);
        if self.usage.is_constant(dst) {
            self.views[dst.index()] = Some(new);
            return;
        }
        // Assigned in several places: its parts are variables.
        if self.usage.declared_at(dst) == Some(place) {
            self.declare_view(dst, &new);
        }
        let known = self.view(dst);
        self.text.line(format!("{} = {};", known.pointer, new.pointer));
        for axis in 0..known.dims.len() {
            self.text.line(format!("{} = {};", known.dims[axis], new.dims[axis]));
            if known.strides[axis] != new.strides[axis] {
                self.text.line(format!("{} = {};", known.strides[axis], new.strides[axis]));
            }
        }
    }

    /// Declares the parts of a view that several definitions assign; `like` is one of them.
    pub(crate) fn declare_view(&mut self, v: Var, like: &ViewText) {
        let VarType::View(ty) = *self.func.ty(v) else { panic!("{v} should be a view") };
        let name = self.name(v);
        let mut text = ViewText::new(ty, like.is_small, name.clone());
        self.text.line(format!("{} {name};", text.pointer_type()));
        for axis in 0..usize::from(ty.rank) {
            text.dims.push(self.names.unique(&format!("{name}_n{axis}")));
            text.strides.push(self.names.unique(&format!("{name}_s{axis}")));
        }
        self.text.line(format!("int {};", text.dims.join(", ")));
        self.text.line(format!("{} {};", text.stride_type(), text.strides.join(", ")));
        self.views[v.index()] = Some(text);
    }

    fn derived_view(&mut self, dst: Var, op: &Op) -> ViewText {
        match op {
            Op::Copy(a) => self.view(a.var),
            Op::ViewPermute(v, perm) => {
                let v = self.view(*v);
                let pick = |of: &[String]| perm.iter().map(|&p| of[p as usize].clone()).collect();
                ViewText { dims: pick(&v.dims), strides: pick(&v.strides), ..v }
            }
            Op::ViewSelect(v, axis, index) => {
                let (mut v, axis, index) = (self.view(*v), *axis as usize, self.scalar(*index));
                let name = self.name(dst);
                let inside = self.names.unique(&format!("{name}_inside"));
                self.text.line(format!(
                    "const bool {inside} = (unsigned){} < (unsigned){};",
                    super::coords::grouped(&index),
                    v.dims[axis]
                ));
                let step = v.step(axis, &index);
                let pointer = self.names.unique(&format!("{name}_at"));
                self.text.line(format!(
                    "{} const {pointer} = {} + ({inside} ? {step} : 0);",
                    v.pointer_type(),
                    v.pointer
                ));
                v.pointer = pointer;
                v.dims.remove(axis);
                v.strides.remove(axis);
                // An index out of bounds makes an empty view.
                for (axis, dim) in v.dims.iter_mut().enumerate() {
                    let extent = self.names.unique(&format!("{name}_n{axis}"));
                    self.text.line(format!("const int {extent} = {inside} ? {dim} : 0;"));
                    *dim = extent;
                }
                v
            }
            Op::ViewSlice(v, axis, start, len) => {
                let (mut v, axis) = (self.view(*v), *axis as usize);
                let (start, len) = (self.scalar(*start), self.scalar(*len));
                let name = self.name(dst);
                let first = self.names.unique(&format!("{name}_first"));
                let extent = self.names.unique(&format!("{name}_n{axis}"));
                let dim = v.dims[axis].clone();
                self.text.line(format!("const int {first} = min(max({start}, 0), {dim});"));
                // The sum may pass 2^31.
                self.text.line(format!(
                    "const int {extent} = (int)min(max((long long){start} + max({len}, 0), (long long){first}), (long long){dim}) - {first};"
                ));
                let pointer = self.names.unique(&format!("{name}_at"));
                let step = v.step(axis, &first);
                self.text.line(format!("{} const {pointer} = {} + {step};", v.pointer_type(), v.pointer));
                v.pointer = pointer;
                v.dims[axis] = extent;
                v
            }
            Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::ClusterId
            | Op::NumClusters
            | Op::ClusterRank
            | Op::Coord(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(_)
            | Op::ViewDim(..)
            | Op::Load { .. }
            | Op::LoadPoint { .. }
            | Op::Gather { .. }
            | Op::Reduce { .. }
            | Op::ArgReduce { .. }
            | Op::SumPartials { .. }
            | Op::FromShared { .. } => panic!("{op:?} should not define a view"),
        }
    }
}
