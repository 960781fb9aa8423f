//! What each strip operation reads and writes, for the passes that place slots and insert fills.

use super::program::{Operand, StripOp};

impl StripOp {
    /// The slot written, if any.
    pub(crate) const fn dst(&self) -> Option<u32> {
        match self {
            Self::Fetch { dst, .. }
            | Self::FetchTile { dst, .. }
            | Self::Iota { dst, .. }
            | Self::Fill { dst, .. }
            | Self::Unary { dst, .. }
            | Self::Binary { dst, .. }
            | Self::Fma { dst, .. }
            | Self::Select { dst, .. }
            | Self::Cast { dst, .. }
            | Self::Exp2Affine { dst, .. }
            | Self::ExpSub { dst, .. }
            | Self::Exp2Sub { dst, .. }
            | Self::ExpSum { dst, .. }
            | Self::Gather { dst, .. }
            | Self::Copy { dst, .. } => Some(*dst),
            Self::Store { .. } | Self::Scatter { .. } | Self::ReduceRows { .. } | Self::ReduceCols { .. } => {
                None
            }
        }
    }

    /// Whether it runs for the first strip only.
    pub(crate) const fn is_once(&self) -> bool {
        match self {
            Self::FetchTile { once, .. } | Self::Iota { once, .. } | Self::Fill { once, .. } => *once,
            Self::Fetch { .. }
            | Self::Unary { .. }
            | Self::Binary { .. }
            | Self::Fma { .. }
            | Self::Select { .. }
            | Self::Cast { .. }
            | Self::Exp2Affine { .. }
            | Self::ExpSub { .. }
            | Self::Exp2Sub { .. }
            | Self::ExpSum { .. }
            | Self::Gather { .. }
            | Self::Copy { .. }
            | Self::Store { .. }
            | Self::Scatter { .. }
            | Self::ReduceRows { .. }
            | Self::ReduceCols { .. } => false,
        }
    }

    /// Whether its destination may be one of its sources, element for element.
    pub(crate) const fn may_overwrite(&self) -> bool {
        match self {
            Self::Unary { .. }
            | Self::Binary { .. }
            | Self::Fma { .. }
            | Self::Select { .. }
            | Self::Cast { .. }
            | Self::Exp2Affine { .. }
            | Self::ExpSub { .. }
            | Self::Exp2Sub { .. }
            | Self::ExpSum { .. } => true,
            Self::Fetch { .. }
            | Self::FetchTile { .. }
            | Self::Iota { .. }
            | Self::Fill { .. }
            | Self::Gather { .. }
            | Self::Copy { .. }
            | Self::Store { .. }
            | Self::Scatter { .. }
            | Self::ReduceRows { .. }
            | Self::ReduceCols { .. } => false,
        }
    }

    /// The operands that may be one element for the whole strip.
    pub(crate) fn operands_mut(&mut self) -> Vec<&mut Operand> {
        match self {
            Self::Fill { a, .. } | Self::Store { a, .. } => vec![a],
            Self::Binary { a, b, .. }
            | Self::ExpSub { a, b, .. }
            | Self::Exp2Sub { a, b, .. }
            | Self::ExpSum { a, b, .. } => vec![a, b],
            Self::Fma { a, b, c, .. } => vec![a, b, c],
            Self::Select { cond, a, b, .. } => vec![cond, a, b],
            Self::Exp2Affine { a, s, b, .. } => vec![a, s, b],
            Self::Gather { indices, mask, .. } => indices.iter_mut().chain(mask).collect(),
            Self::Scatter { indices, mask, a, .. } => indices.iter_mut().chain(mask).chain([a]).collect(),
            Self::Fetch { .. }
            | Self::FetchTile { .. }
            | Self::Iota { .. }
            | Self::Unary { .. }
            | Self::Cast { .. }
            | Self::Copy { .. }
            | Self::ReduceRows { .. }
            | Self::ReduceCols { .. } => Vec::new(),
        }
    }

    /// The source that must be a whole strip, if it has one.
    pub(crate) const fn row_source_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Unary { a, .. }
            | Self::Cast { a, .. }
            | Self::Copy { a, .. }
            | Self::ReduceRows { a, .. }
            | Self::ReduceCols { a, .. } => Some(a),
            Self::Fetch { .. }
            | Self::FetchTile { .. }
            | Self::Iota { .. }
            | Self::Fill { .. }
            | Self::Binary { .. }
            | Self::Fma { .. }
            | Self::Select { .. }
            | Self::Exp2Affine { .. }
            | Self::ExpSub { .. }
            | Self::Exp2Sub { .. }
            | Self::ExpSum { .. }
            | Self::Gather { .. }
            | Self::Store { .. }
            | Self::Scatter { .. } => None,
        }
    }

    /// Calls `f` on every slot read.
    pub(crate) fn for_each_source(&self, f: &mut impl FnMut(u32)) {
        let mut copy = self.clone();
        if let Some(s) = copy.row_source_mut() {
            f(*s);
        }
        for o in copy.operands_mut() {
            if let Operand::Row(s) | Operand::One(s) = *o {
                f(s);
            }
        }
    }
}
