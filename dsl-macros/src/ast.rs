//! A kernel as the author declared it: the function, its parameters by kind, and what the attribute says.

use proc_macro2::TokenStream;
use syn::{ExprClosure, GenericArgument, Ident, ItemFn, Type};

use crate::source::LetName;

/// A kernel, ready for checks and expansion.
pub(crate) struct Kernel {
    /// The author's function, body as written until expansion.
    pub(crate) item: ItemFn,
    /// Generic parameters in declaration order.
    pub(crate) generics: Vec<Generic>,
    /// Parameters in declaration order.
    pub(crate) params: Vec<Param>,
    /// What the attribute says.
    pub(crate) options: Options,
    /// The author's `let` names.
    pub(crate) lets: Vec<LetName>,
    /// Text of the function, without its attributes.
    pub(crate) text: String,
    /// FNV-1a of the attribute's and the function's tokens.
    pub(crate) hash: u64,
}

/// A generic parameter.
pub(crate) struct Generic {
    /// Its name.
    pub(crate) name: Ident,
    /// Whether it is a tunable extent or a real monomorphisation.
    pub(crate) kind: GenericKind,
}

/// What a generic parameter is to the language.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GenericKind {
    /// `BM: Dim`: its extent comes from the schedule.
    Dim,
    /// An element type with all the floats as legal values.
    Float,
    /// Any other type.
    Type,
    /// A constant.
    Const,
}

/// A parameter of the kernel.
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: Ident,
    /// The type as written.
    pub(crate) ty: Type,
    /// What it is to the language.
    pub(crate) kind: ParamKind,
}

/// What a parameter is to the language.
pub(crate) enum ParamKind {
    /// `View<T, R>` or `ViewMut<T, R>`.
    View {
        /// Element type.
        elem: TokenStream,
        /// Rank.
        rank: TokenStream,
        /// Whether it may be stored to.
        mutable: bool,
    },
    /// `Scalar<T>`.
    Scalar {
        /// Element type.
        elem: TokenStream,
    },
    /// Baked into the specialisation by the caller.
    Comptime,
    /// An integer that the schedule chooses: a comptime parameter named in `space`.
    Tunable,
}

/// The attribute's arguments.
#[derive(Default)]
pub(crate) struct Options {
    /// `space(BM: [64, 128])`.
    pub(crate) space: Vec<Axis>,
    /// `knobs(stages: [2, 3])`.
    pub(crate) knobs: Vec<Axis>,
    /// `default(BM = 64)`; nothing when absent.
    pub(crate) default: Option<Vec<(Ident, i64)>>,
    /// `legal = |s| BM * BN <= 16384`.
    pub(crate) legal: Option<ExprClosure>,
    /// `types(T: [f32, f16])`.
    pub(crate) types: Vec<(Ident, Vec<GenericArgument>)>,
    /// `comptime(flag: [false, true])`.
    pub(crate) comptime: Vec<(Ident, Vec<syn::Expr>)>,
    /// `facts(x: contiguous)`.
    pub(crate) facts: Vec<(Ident, Facts)>,
}

/// One axis of the search space.
pub(crate) struct Axis {
    /// A dimension, a tunable or a target knob.
    pub(crate) name: Ident,
    /// Candidate values in ascending order.
    pub(crate) values: Vec<i64>,
}

/// Facts about a view.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// The stride of the last axis is 1.
    pub(crate) contiguous: bool,
    /// Everything is a multiple of this.
    pub(crate) divisible: u32,
}

impl Default for Facts {
    fn default() -> Self {
        Self { contiguous: false, divisible: 1 }
    }
}

impl Kernel {
    /// Names of the dimension parameters, in declaration order.
    pub(crate) fn dims(&self) -> Vec<Ident> {
        self.generics.iter().filter(|g| g.kind == GenericKind::Dim).map(|g| g.name.clone()).collect()
    }

    /// The comptime parameters that the schedule chooses.
    pub(crate) fn tunables(&self) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(|p| matches!(p.kind, ParamKind::Tunable))
    }

    /// The comptime parameters that the caller gives.
    pub(crate) fn comptime(&self) -> impl Iterator<Item = &Param> {
        self.params.iter().filter(|p| matches!(p.kind, ParamKind::Comptime))
    }

    /// The facts declared for a view.
    pub(crate) fn facts(&self, name: &Ident) -> Facts {
        self.options.facts.iter().find(|(n, _)| n == name).map(|&(_, f)| f).unwrap_or_default()
    }
}
