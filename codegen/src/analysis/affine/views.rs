//! Views as windows on a parameter, and the place of an access in it.

use super::AffineFacts;
use super::form::{Affine, Atom};
use crate::ir::{Op, Shape, Value, ViewFacts};

/// One axis of a view: an axis of the parameter, from a start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewAxis {
    /// Axis of the parameter.
    pub param_axis: usize,
    /// Index in the parameter of the view's first element.
    pub start: Affine,
    /// Whether a slice cut the axis at a length of its own.
    pub is_clipped: bool,
}

/// A view by the parameter that it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ViewForm {
    /// The parameter.
    pub param: Value,
    /// Facts of the parameter.
    pub facts: ViewFacts,
    /// Rank of the parameter.
    pub param_rank: usize,
    /// The axes of this view.
    pub axes: Vec<ViewAxis>,
    /// Axes of the parameter that were selected away, and at which index.
    pub selected: Vec<ViewAxis>,
}

impl ViewForm {
    /// The form of a parameter itself.
    #[must_use]
    pub fn of_param(param: Value, rank: usize, facts: ViewFacts) -> Self {
        let axes = (0..rank)
            .map(|param_axis| ViewAxis { param_axis, start: Affine::constant(0), is_clipped: false })
            .collect();
        Self { param, facts, param_rank: rank, axes, selected: Vec::new() }
    }
}

/// The first element of a load or store, by axis of the parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// The parameter.
    pub param: Value,
    /// Element index along each of its axes.
    pub offsets: Vec<Affine>,
}

impl AffineFacts {
    /// The form of the view that `op` makes; `None` if it makes none.
    pub(super) fn view_form(&self, op: &Op) -> Option<ViewForm> {
        if let Op::ViewSelect(v, axis, at) = op {
            let mut form = self.view(*v)?.clone();
            let mut axis = form.axes.remove(usize::from(*axis));
            axis.start = axis.start.plus(self.form(*at)?);
            form.selected.push(axis);
            return Some(form);
        }
        if let Op::ViewSlice(v, axis, start, _) = op {
            let mut form = self.view(*v)?.clone();
            let axis = &mut form.axes[usize::from(*axis)];
            axis.start = axis.start.plus(self.form(*start)?);
            axis.is_clipped = true;
            return Some(form);
        }
        if let Op::ViewPermute(v, perm) = op {
            let mut form = self.view(*v)?.clone();
            form.axes = perm.iter().map(|&p| form.axes[usize::from(p)].clone()).collect();
            return Some(form);
        }
        None
    }

    /// Where an access at `offsets` of `view` falls in the parameter.
    #[must_use]
    pub fn access(&self, view: Value, offsets: &[Value]) -> Option<Access> {
        let form = self.view(view)?;
        let mut out = vec![Affine::constant(0); form.param_rank];
        for (axis, &offset) in form.axes.iter().zip(offsets) {
            out[axis.param_axis] = axis.start.plus(self.form(offset)?);
        }
        for axis in &form.selected {
            out[axis.param_axis] = axis.start.clone();
        }
        Some(Access { param: form.param, offsets: out })
    }

    /// The alignment in elements known of the first element of an access whose last axis is contiguous, a power of two; 1
    /// when nothing is known.
    #[must_use]
    pub fn alignment(&self, view: Value, offsets: &[Value]) -> u32 {
        let Some((form, access)) = self.view(view).zip(self.access(view, offsets)) else { return 1 };
        let ends_contiguous = form.axes.last().is_some_and(|axis| axis.param_axis + 1 == form.param_rank);
        if !(form.facts.contiguous && ends_contiguous) {
            return 1;
        }
        let along = access.offsets.last().map_or(1, Affine::power_of_two_divisor);
        let declared = 1 << form.facts.divisible.trailing_zeros().min(31);
        along.min(declared)
    }

    /// How many elements along `axis` of `view`, from an access at `offsets` on, lie side by side in memory, aligned and in bounds
    /// together: a power of two; 1 when nothing is known, or when the axis is not that along which memory is contiguous.
    #[must_use]
    pub fn vector_along(&self, view: Value, offsets: &[Value], axis: usize) -> u32 {
        let Some((form, access)) = self.view(view).zip(self.access(view, offsets)) else { return 1 };
        let along = &form.axes[axis];
        if !form.facts.contiguous || along.is_clipped || along.param_axis + 1 != form.param_rank {
            return 1;
        }
        let declared = 1 << form.facts.divisible.trailing_zeros().min(31);
        access.offsets[along.param_axis].power_of_two_divisor().min(declared)
    }

    /// For each grid axis, whether stores of a tile of `shape` (rank 0: one element) at `offsets` of `view` touch different
    /// elements in any two program instances that differ in that axis, as long as no offset wraps. Where every axis of
    /// the launch grid is separated, no element is written by two instances.
    #[must_use]
    pub fn separated_programs(&self, view: Value, offsets: &[Value], shape: Shape) -> [bool; 3] {
        let mut out = [false; 3];
        let (Some(form), Some(access)) = (self.view(view), self.access(view, offsets)) else { return out };
        let extent_of = |param_axis: usize| {
            let axis = form.axes.iter().position(|a| a.param_axis == param_axis);
            axis.filter(|_| shape.rank() > 0).map_or(1, |k| shape.dim(k) as i64)
        };
        for (param_axis, offset) in access.offsets.iter().enumerate() {
            let mut varying = offset.terms().filter(|(atom, _)| !atom.is_uniform());
            if let (Some((Atom::ProgramId(grid_axis), c)), None) = (varying.next(), varying.next()) {
                out[usize::from(grid_axis)] |= c.abs() >= extent_of(param_axis);
            }
        }
        out
    }
}
