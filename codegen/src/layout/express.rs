//! Layouts as the integer expressions an emitter prints: a part that depends on the thread index, and one constant
//! per register.
//!
//! What makes this safe is [`Join`]: it says whether two parts overlap in bits. Where they do not, XOR is addition,
//! and a register's constant can be an immediate offset of the address; where they do, the emitter must print XOR.

use super::linear::{Input, LANE_BITS, Layout};

/// The term `((tid >> shift) & mask) * scale`, `tid` the thread's index in the block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ThreadTerm {
    /// Right shift of the thread index.
    pub shift: u32,
    /// Mask after the shift: `2^n - 1`.
    pub mask: u32,
    /// Factor.
    pub scale: u32,
}

impl ThreadTerm {
    /// The value for a thread.
    pub fn value(self, tid: u32) -> u32 {
        (tid >> self.shift & self.mask) * self.scale
    }
}

/// How two parts combine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Join {
    /// They share no bits: addition (which equals XOR).
    Add,
    /// They share bits: XOR only.
    Xor,
}

impl Join {
    /// Combines two values.
    pub fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Join::Add => a + b,
            Join::Xor => a ^ b,
        }
    }

    /// `Add` exactly where no two of the values share a bit.
    pub(crate) fn of(values: impl IntoIterator<Item = u32>) -> Join {
        let mut seen = 0;
        for v in values {
            if seen & v != 0 {
                return Join::Xor;
            }
            seen |= v;
        }
        Join::Add
    }
}

/// A coordinate as `(terms joined by term_join) register_join register_offset`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoordinateExpr {
    /// The thread-dependent part; empty where it is zero.
    pub terms: Vec<ThreadTerm>,
    /// How the terms combine with each other.
    pub term_join: Join,
    /// The constant of each register.
    pub register_offsets: Vec<u32>,
    /// How the thread part and a register's constant combine.
    pub register_join: Join,
}

impl CoordinateExpr {
    /// The constant of a register, repeats included.
    pub fn register_offset(&self, register: u32) -> i64 {
        i64::from(self.register_offsets[register as usize])
    }

    /// The thread-dependent part.
    pub fn thread_part(&self, tid: u32) -> u32 {
        evaluate(&self.terms, self.term_join, tid)
    }

    /// The coordinate.
    pub fn value(&self, register: u32, tid: u32) -> u32 {
        self.register_join.apply(self.thread_part(tid), self.register_offsets[register as usize])
    }
}

/// A byte offset in shared memory:
/// `((xor_terms joined by xor_join) register_join register_xor) + sum of add_terms + register_add`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetExpr {
    /// Thread-dependent part inside the swizzled block.
    pub xor_terms: Vec<ThreadTerm>,
    /// How those terms combine.
    pub xor_join: Join,
    /// Thread-dependent part outside it, always a sum.
    pub add_terms: Vec<ThreadTerm>,
    /// Per register, the constant inside the block. All zero unless the swizzle involves registers.
    pub register_xor: Vec<u32>,
    /// How `register_xor` combines with the thread part; `Add` makes both constants one immediate offset.
    pub register_join: Join,
    /// Per register, the constant that is added.
    pub register_add: Vec<u32>,
}

impl OffsetExpr {
    /// The byte offset.
    pub fn value(&self, register: u32, tid: u32) -> u32 {
        let r = register as usize;
        let inside =
            self.register_join.apply(evaluate(&self.xor_terms, self.xor_join, tid), self.register_xor[r]);
        inside + evaluate(&self.add_terms, Join::Add, tid) + self.register_add[r]
    }
}

fn evaluate(terms: &[ThreadTerm], join: Join, tid: u32) -> u32 {
    terms.iter().fold(0, |sum, t| join.apply(sum, t.value(tid)))
}

/// Terms for a linear function of the thread index, from its value on each bit; adjacent bits whose values double
/// become one term.
pub(crate) fn thread_terms(columns: &[u32]) -> Vec<ThreadTerm> {
    let mut terms: Vec<ThreadTerm> = Vec::new();
    for (bit, &value) in (0..).zip(columns) {
        if value == 0 {
            continue;
        }
        let grows = |t: &&mut ThreadTerm| {
            let width = t.mask.count_ones();
            t.scale.is_power_of_two() && t.shift + width == bit && value == t.scale << width
        };
        match terms.last_mut().filter(grows) {
            Some(t) => t.mask = t.mask << 1 | 1,
            None => terms.push(ThreadTerm { shift: bit, mask: 1, scale: value }),
        }
    }
    terms
}

impl Layout {
    /// One coordinate as an expression of the thread index (`32 * warp + lane`) and constants per register.
    ///
    /// # Panics
    /// When the dimension does not exist.
    pub fn coordinate_expr(&self, dim: usize) -> CoordinateExpr {
        assert!(dim < self.rank(), "dimension {dim} should be below the rank {}", self.rank());
        let columns: Vec<u32> = self.thread_columns().iter().map(|&v| self.space.field(v, dim)).collect();
        let register_offsets: Vec<u32> = (0..self.registers()).map(|r| self.apply(r, 0, 0)[dim]).collect();
        let used = |values: &[u32]| values.iter().fold(0, |all, v| all | v);
        CoordinateExpr {
            terms: thread_terms(&columns),
            term_join: Join::of(columns.iter().copied()),
            register_join: Join::of([used(&columns), used(&register_offsets)]),
            register_offsets,
        }
    }

    /// Packed basis vectors of the bits of the thread index: five of the lane, then those of the warp.
    pub(crate) fn thread_columns(&self) -> Vec<u32> {
        let mut columns = self.packed(Input::Lane).to_vec();
        columns.resize(LANE_BITS, 0);
        columns.extend_from_slice(self.packed(Input::Warp));
        columns
    }
}
