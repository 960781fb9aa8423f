//! Affine forms and ranges, as plain numbers.

use std::collections::BTreeMap;
use std::fmt;

use crate::ir::Value;

/// Something that an affine form multiplies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Atom {
    /// Index of the program instance along a grid axis.
    ProgramId(u8),
    /// Extent of the grid along an axis.
    NumPrograms(u8),
    /// Extent of a view's axis.
    Dim(Value, u8),
    /// A scalar parameter of the kernel.
    Param(Value),
    /// The induction variable of a `for`.
    Induction {
        /// The variable.
        iv: Value,
        /// A power of two that divides it in every iteration.
        divisor: u32,
    },
    /// Any other i32 scalar.
    Scalar(Value),
}

impl Atom {
    /// Whether the atom is the same number in every program instance and iteration.
    #[must_use]
    pub const fn is_uniform(self) -> bool {
        match self {
            // The extents of a derived view may depend on the instance.
            Self::ProgramId(_) | Self::Dim(..) | Self::Induction { .. } | Self::Scalar(_) => false,
            Self::NumPrograms(_) | Self::Param(_) => true,
        }
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProgramId(axis) => write!(f, "program_id({axis})"),
            Self::NumPrograms(axis) => write!(f, "num_programs({axis})"),
            Self::Dim(view, axis) => write!(f, "dim({view}, {axis})"),
            Self::Param(v) | Self::Scalar(v) | Self::Induction { iv: v, .. } => v.fmt(f),
        }
    }
}

/// `constant + sum of coefficient * atom`, modulo 2^32; coefficients are i32 numbers and never 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Affine {
    constant: i64,
    terms: BTreeMap<Atom, i64>,
}

impl Affine {
    /// A constant.
    #[must_use]
    pub fn constant(constant: i64) -> Self {
        Self { constant: wrap(constant), terms: BTreeMap::new() }
    }

    /// One atom.
    #[must_use]
    pub fn atom(atom: Atom) -> Self {
        Self { constant: 0, terms: BTreeMap::from([(atom, 1)]) }
    }

    /// The sum of two forms.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut terms = self.terms.clone();
        for (&atom, &c) in &other.terms {
            let sum = terms.entry(atom).or_insert(0);
            *sum = wrap(*sum + c);
        }
        terms.retain(|_, c| *c != 0);
        Self { constant: wrap(self.constant + other.constant), terms }
    }

    /// The form times a number.
    #[must_use]
    pub fn scaled(&self, by: i64) -> Self {
        let by = wrap(by);
        let mut terms = self.terms.clone();
        terms.values_mut().for_each(|c| *c = wrap(*c * by));
        terms.retain(|_, c| *c != 0);
        Self { constant: wrap(self.constant * by), terms }
    }

    /// The constant that the form is, if it has no terms.
    #[must_use]
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The part without an atom.
    #[must_use]
    pub const fn constant_part(&self) -> i64 {
        self.constant
    }

    /// The coefficient of `atom`, 0 if it does not occur.
    #[must_use]
    pub fn coefficient(&self, atom: Atom) -> i64 {
        self.terms.get(&atom).copied().unwrap_or(0)
    }

    /// The terms, in the order of the atoms.
    pub fn terms(&self) -> impl Iterator<Item = (Atom, i64)> + '_ {
        self.terms.iter().map(|(&atom, &c)| (atom, c))
    }

    /// The largest power of two, up to 2^31, known to divide the form.
    #[must_use]
    pub fn power_of_two_divisor(&self) -> u32 {
        let zeros_of =
            |atom| if let Atom::Induction { divisor, .. } = atom { divisor.trailing_zeros() } else { 0 };
        let zeros = self.terms().map(|(atom, c)| c.trailing_zeros() + zeros_of(atom));
        let least = zeros.chain([self.constant.trailing_zeros()]).min().unwrap_or(31);
        1 << least.min(31)
    }
}

/// `x` as an i32, held in 64 bits.
const fn wrap(x: i64) -> i64 {
    x as i32 as i64
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (atom, c)) in self.terms().enumerate() {
            if i > 0 {
                f.write_str(" + ")?;
            }
            if c == 1 { atom.fmt(f)? } else { write!(f, "{c} * {atom}")? }
        }
        match (self.terms.is_empty(), self.constant) {
            (true, c) => write!(f, "{c}"),
            (false, 0) => Ok(()),
            (false, c) => write!(f, " + {c}"),
        }
    }
}

/// An inclusive range of i32 numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// Smallest number.
    pub min: i64,
    /// Largest number.
    pub max: i64,
}

impl Range {
    /// All of i32.
    pub const ALL: Self = Self { min: i32::MIN as i64, max: i32::MAX as i64 };

    /// The range itself if no number in it wraps, else all of i32.
    #[must_use]
    pub const fn or_all(self) -> Self {
        if self.min >= Self::ALL.min && self.max <= Self::ALL.max { self } else { Self::ALL }
    }
}
