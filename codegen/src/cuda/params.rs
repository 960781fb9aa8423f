//! Kernel parameters: flat, in launch order, the same list as text and as data.
//!
//! ```text
//!   const float* x, int x_n0, int x_n1, long long x_s0      a view of rank 2 whose last axis is contiguous
//!   float scale                                             a scalar
//!   int n_programs_0                                        the grid, where blocks walk over it
//!   const __grid_constant__ TensorMap x_map                 tensor maps, after all parameters
//!   unsigned long long* status                              last, when the kernel has assertions
//! ```

use super::ctypes::{is_half, memory_type};
use super::views::ViewText;
use super::writer::Writer;
use crate::gpu::walk::for_each_stmt;
use crate::gpu::{Op, StmtKind, VarType};
use crate::ir::DType;

/// One kernel parameter: what the launch passes in its place. `param` is an index into [`crate::gpu::GpuFunc::params`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ParamSlot {
    /// Device address of a view's first element.
    Pointer {
        /// The view.
        param: usize,
    },
    /// Extent of an axis, as a 32-bit integer.
    Extent {
        /// The view.
        param: usize,
        /// The axis.
        axis: usize,
    },
    /// Stride of an axis in elements: 32 bits when the view is small, else 64.
    Stride {
        /// The view.
        param: usize,
        /// The axis.
        axis: usize,
        /// Whether 64 bits are passed.
        is_wide: bool,
    },
    /// A scalar in its own encoding and size (f16 and bf16 as their bits, bool as a byte).
    Scalar {
        /// The scalar.
        param: usize,
    },
    /// Extent of the grid of programs along an axis, as a 32-bit integer.
    GridExtent {
        /// The axis.
        axis: usize,
    },
    /// The tensor map of this number: 128 bytes, by value, aligned to 64.
    Map(usize),
    /// Device address of the status: three zeroed 64-bit words. A failed assertion leaves the number of its message plus 1 in the
    /// first, the block's position along the first two grid axes in the halves of the second, along the third in the last.
    Status,
}

impl Writer<'_> {
    /// The parameters' declarations, and what they are. Names the parameters' variables; lines that the body begins with are printed.
    pub(crate) fn parameters(&mut self) -> (Vec<String>, Vec<ParamSlot>) {
        let (mut texts, mut slots) = (Vec::new(), Vec::new());
        for (param, p) in self.func.params.iter().enumerate() {
            let name = self.names.unique(&p.name);
            match self.func.ty(p.var) {
                VarType::View(view) => {
                    let memory = memory_type(view.dtype);
                    let access = if view.mutable { "" } else { "const " };
                    texts.push(format!("{access}{memory}* {name}"));
                    slots.push(ParamSlot::Pointer { param });
                    let rank = usize::from(view.rank);
                    let mut text = ViewText::new(*view, p.is_small, name.clone());
                    for axis in 0..rank {
                        let extent = self.names.unique(&format!("{name}_n{axis}"));
                        texts.push(format!("int {extent}"));
                        slots.push(ParamSlot::Extent { param, axis });
                        text.dims.push(extent);
                    }
                    for axis in 0..rank {
                        if p.facts.contiguous && axis + 1 == rank {
                            text.strides.push("1".to_owned());
                            continue;
                        }
                        let stride = self.names.unique(&format!("{name}_s{axis}"));
                        let ty = if p.is_small { "int" } else { "long long" };
                        texts.push(format!("{ty} {stride}"));
                        slots.push(ParamSlot::Stride { param, axis, is_wide: !p.is_small });
                        text.strides.push(stride);
                    }
                    self.views[p.var.index()] = Some(text);
                }
                VarType::Scalar(dtype) => {
                    slots.push(ParamSlot::Scalar { param });
                    self.var_names[p.var.index()].clone_from(&name);
                    if is_half(*dtype) || matches!(dtype, DType::I8 | DType::U8) {
                        // Computed in another type than it is passed in.
                        let bits = self.names.unique(&format!("{name}_bits"));
                        texts.push(format!("{} {bits}", memory_type(*dtype)));
                        let short = super::ctypes::short_name(*dtype);
                        let value = if is_half(*dtype) { format!("{short}_to_f32({bits})") } else { bits };
                        self.text
                            .line(format!("const {} {name} = {value};", super::ctypes::value_type(*dtype)));
                    } else {
                        let ty = if *dtype == DType::Bool { "bool" } else { memory_type(*dtype) };
                        texts.push(format!("{ty} {name}"));
                    }
                }
                VarType::Tile { .. } => panic!("parameter `{name}` should be a view or a scalar"),
            }
        }
        for axis in self.grid_axes() {
            let name = self.names.unique(&format!("n_programs_{axis}"));
            texts.push(format!("int {name}"));
            slots.push(ParamSlot::GridExtent { axis });
            self.grid_names[axis] = name;
        }
        for (i, map) in self.func.maps.iter().enumerate() {
            let param = self.func.params.iter().find(|p| p.var == map.param);
            let param = param.expect("a tensor map should be of a parameter");
            let name = self.names.unique(&format!("{}_map", param.name));
            texts.push(format!("const __grid_constant__ TensorMap {name}"));
            slots.push(ParamSlot::Map(i));
            self.map_names.push(name);
        }
        if !self.func.assertions.is_empty() {
            texts.push("unsigned long long* status".to_owned());
            slots.push(ParamSlot::Status);
        }
        (texts, slots)
    }

    /// The axes of the grid whose extents the launch passes.
    fn grid_axes(&self) -> Vec<usize> {
        let mut asked = [false; 3];
        if self.func.walks_programs() {
            for_each_stmt(&self.func.body, &mut |stmt| {
                if let StmtKind::Set { op: Op::NumPrograms(axis), .. } = &stmt.kind {
                    asked[usize::from(*axis)] = true;
                }
            });
        }
        (0..3).filter(|&axis| asked[axis]).collect()
    }
}
