//! How the axes of a fused group's iteration space map to the axes of each value in it.
//!
//! The iteration space has only axes of extent above 1 (or one axis of extent 1). Each value is seen through a map from those
//! axes to its own: shape changes compose into the map, so they cost nothing; an axis that maps to none is repeated.

use super::compile::{Compiler, Place};
use super::program::{IotaBase, NO_AXIS};
use crate::ir::{BinaryOp, DType, MAX_RANK, Op, Shape, Value};

/// Value axis per iteration axis, or [`NO_AXIS`] where the value is repeated.
pub(crate) type Axes = [u8; MAX_RANK];

/// The iteration space of a shape: its extents above 1.
pub(crate) fn iteration_dims(shape: Shape) -> Vec<u32> {
    let dims: Vec<u32> = shape.as_slice().iter().copied().filter(|&d| d != 1).collect();
    if dims.is_empty() { vec![1] } else { dims }
}

/// The map of a value of this shape over its own iteration space.
pub(crate) fn identity(shape: Shape) -> Axes {
    let mut axes = [NO_AXIS; MAX_RANK];
    let mut real = (0..shape.rank()).filter(|&i| shape.dim(i) != 1);
    for slot in &mut axes {
        if let Some(i) = real.next() {
            *slot = i as u8;
        }
    }
    axes
}

/// Whether every axis above extent 1 of a shape is mapped to.
pub(crate) fn covers(shape: Shape, axes: &Axes) -> bool {
    (0..shape.rank()).all(|i| shape.dim(i) == 1 || axes.contains(&(i as u8)))
}

fn map_axes(axes: &Axes, f: impl Fn(u8) -> u8) -> Axes {
    axes.map(|a| if a == NO_AXIS { NO_AXIS } else { f(a) })
}

impl Compiler<'_> {
    /// The operand of a lazy shape change and the map through it; `None` for other values and for a true reshape.
    pub(crate) fn through_shape(&self, v: Value, axes: &Axes) -> Option<(Value, Axes)> {
        if self.place(v) != Place::Lazy {
            return None;
        }
        let out = match self.op_of(v)? {
            Op::ExpandDims(a, at) => {
                let source = |j: u8| match j.cmp(at) {
                    std::cmp::Ordering::Less => j,
                    std::cmp::Ordering::Equal => NO_AXIS,
                    std::cmp::Ordering::Greater => j - 1,
                };
                (*a, map_axes(axes, source))
            }
            Op::Squeeze(a, at) | Op::Reduce(_, a, at) => {
                (*a, map_axes(axes, |j| if j >= *at { j + 1 } else { j }))
            }
            Op::Broadcast(a, shape) => {
                let from = self.func.tile_ty(*a).shape;
                let repeat = |j: u8| from.dim(j as usize) == 1 && shape.dim(j as usize) != 1;
                (*a, map_axes(axes, |j| if repeat(j) { NO_AXIS } else { j }))
            }
            Op::Permute(a, perm) => (*a, map_axes(axes, |j| perm[j as usize])),
            Op::Reshape(a, shape) => {
                let from = self.func.tile_ty(*a).shape;
                if iteration_dims(from) != iteration_dims(*shape) {
                    return None;
                }
                let (old, new) = (identity(from), identity(*shape));
                let find = |j: u8| new.iter().position(|&n| n == j).map_or(NO_AXIS, |i| old[i]);
                (*a, map_axes(axes, find))
            }
            Op::Const(_)
            | Op::Arange { .. }
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::Unary(..)
            | Op::Binary(..)
            | Op::Fma(..)
            | Op::Select(..)
            | Op::Cast(..)
            | Op::Splat(..)
            | Op::Dot { .. }
            | Op::ArgReduce(..)
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..)
            | Op::Load { .. }
            | Op::Gather { .. } => return None,
        };
        Some(out)
    }

    /// The scalar that `v` repeats, if it is lazily one.
    pub(crate) fn splat_of(&self, v: Value) -> Option<Value> {
        let mut v = v;
        loop {
            if self.func.tile_ty(v).shape.rank() == 0 {
                return Some(v);
            }
            if self.place(v) != Place::Lazy {
                return None;
            }
            v = match self.op_of(v)? {
                Op::Splat(a, _)
                | Op::ExpandDims(a, _)
                | Op::Squeeze(a, _)
                | Op::Reshape(a, _)
                | Op::Broadcast(a, _)
                | Op::Permute(a, _)
                | Op::Reduce(_, a, _) => *a,
                Op::Const(_)
                | Op::Arange { .. }
                | Op::ProgramId(_)
                | Op::NumPrograms(_)
                | Op::Unary(..)
                | Op::Binary(..)
                | Op::Fma(..)
                | Op::Select(..)
                | Op::Cast(..)
                | Op::Dot { .. }
                | Op::ArgReduce(..)
                | Op::ViewDim(..)
                | Op::ViewSelect(..)
                | Op::ViewSlice(..)
                | Op::ViewPermute(..)
                | Op::Load { .. }
                | Op::Gather { .. } => return None,
            };
        }
    }

    /// The iteration axis and base of a lazy value that counts up along one axis.
    pub(crate) fn iota_of(&self, v: Value, axes: &Axes) -> Option<(u8, IotaBase)> {
        if self.place(v) != Place::Lazy || self.func.tile_ty(v).dtype != DType::I32 {
            return None;
        }
        if let Some((a, inner)) = self.through_shape(v, axes) {
            return if self.func.tile_ty(a).shape.rank() == 0 { None } else { self.iota_of(a, &inner) };
        }
        let op = self.op_of(v)?;
        if let Op::Arange { extent } = op {
            // A single element counts from the base alone: any axis that is not iterated will do.
            let axis = axes.iter().position(|&a| a == 0);
            return match axis {
                Some(axis) => Some((axis as u8, IotaBase::default())),
                None if *extent == 1 => Some((NO_AXIS, IotaBase::default())),
                None => None,
            };
        }
        let Op::Binary(kind, a, b) = op else { return None };
        let scalar = |x: Value| {
            self.splat_of(x).and_then(|s| if let Place::Reg(r) = self.place(s) { Some(r) } else { None })
        };
        let (mut iota, reg, minus) = match kind {
            BinaryOp::Add => match (scalar(*a), scalar(*b)) {
                (None, Some(r)) => (self.iota_of(*a, axes)?, r, false),
                (Some(r), None) => (self.iota_of(*b, axes)?, r, false),
                (Some(_), Some(_)) | (None, None) => return None,
            },
            BinaryOp::Sub => match scalar(*b) {
                Some(r) => (self.iota_of(*a, axes)?, r, true),
                None => return None,
            },
            BinaryOp::Mul
            | BinaryOp::Div
            | BinaryOp::Rem
            | BinaryOp::Min
            | BinaryOp::Max
            | BinaryOp::And
            | BinaryOp::Or
            | BinaryOp::Xor
            | BinaryOp::Shl
            | BinaryOp::Shr
            | BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::Gt
            | BinaryOp::Ge => return None,
        };
        if minus {
            iota.1.sub.push(reg)
        } else {
            iota.1.add.push(reg)
        }
        Some(iota)
    }

    /// Whether `v` counts up along one of its axes.
    pub(crate) fn is_iota(&self, v: Value) -> bool {
        self.iota_of(v, &identity(self.func.tile_ty(v).shape)).is_some()
    }
}
