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
    /// FNV-1a of the attribute's tokens without the `gpu` group, and of the function's.
    pub(crate) hash: u64,
    /// FNV-1a of the facts, the `gpu` group and the function; `hash` when there is no group.
    pub(crate) gpu_hash: u64,
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
    /// The four that say what may be tuned, for CPUs.
    pub(crate) tuning: Tuning,
    /// `gpu(..)`: the same four for GPUs.
    pub(crate) gpu: Option<Tuning>,
    /// `types(T: [f32, f16])`.
    pub(crate) types: Vec<(Ident, Vec<GenericArgument>)>,
    /// `comptime(flag: [false, true])`.
    pub(crate) comptime: Vec<(Ident, Vec<syn::Expr>)>,
    /// `facts(x: contiguous)`.
    pub(crate) facts: Vec<(Ident, Facts)>,
}

/// What may be tuned, and from where tuning starts.
#[derive(Clone, Default)]
pub(crate) struct Tuning {
    /// `space(BM: [64, 128])`.
    pub(crate) space: Vec<Axis>,
    /// `knobs(stages: [2, 3])`.
    pub(crate) knobs: Vec<Axis>,
    /// `default(BM = 64)`; nothing when absent.
    pub(crate) default: Option<Vec<(Ident, i64)>>,
    /// `legal = |s| BM * BN <= 16384`.
    pub(crate) legal: Option<ExprClosure>,
}

impl Tuning {
    /// Dimensions and tunables, then the target's knobs.
    pub(crate) fn axes(&self) -> impl Iterator<Item = &Axis> + Clone {
        self.space.iter().chain(&self.knobs)
    }

    /// The axis of a knob.
    pub(crate) fn axis(&self, name: &Ident) -> Option<&Axis> {
        self.axes().find(|a| a.name == *name)
    }

    /// The declared default of a knob.
    pub(crate) fn default_of(&self, name: &Ident) -> Option<i64> {
        self.default.iter().flatten().find(|(n, _)| n == name).map(|&(_, value)| value)
    }
}

/// One axis of the search space.
#[derive(Clone)]
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

    /// What may be tuned on a GPU: what the `gpu` group leaves out is as for the CPU, and `warps` is 4 unless it says otherwise.
    pub(crate) fn gpu_tuning(&self) -> Tuning {
        let base = &self.options.tuning;
        let mut all = self.options.gpu.clone().unwrap_or_default();
        let mut default: Vec<(Ident, i64)> = all.default.clone().unwrap_or_default();
        for axis in all.axes() {
            if let (None, Some(&first)) = (all.default_of(&axis.name), axis.values.first()) {
                default.push((axis.name.clone(), first));
            }
        }
        let given = |name: &Ident, default: &[(Ident, i64)]| default.iter().any(|(n, _)| n == name);
        for (name, value) in base.default.iter().flatten() {
            if !given(name, &default) {
                default.push((name.clone(), *value));
            }
        }
        let inherited = |axes: &[Axis]| -> Vec<Axis> {
            axes.iter().filter(|a| all.axis(&a.name).is_none()).cloned().collect()
        };
        let (space, mut knobs) = (inherited(&base.space), inherited(&base.knobs));
        let warps = Ident::new("warps", proc_macro2::Span::call_site());
        let is_known = |a: &Axis| a.name == warps;
        if !all.axes().chain(&space).chain(&knobs).any(is_known) {
            let value = default.iter().find(|(n, _)| *n == warps).map_or(4, |&(_, value)| value);
            knobs.push(Axis { name: warps, values: vec![value] });
        }
        all.space.extend(space);
        all.knobs.extend(knobs);
        all.default = Some(default);
        all.legal = all.legal.or_else(|| base.legal.clone());
        all
    }

    /// The facts declared for a view.
    pub(crate) fn facts(&self, name: &Ident) -> Facts {
        self.options.facts.iter().find(|(n, _)| n == name).map(|&(_, f)| f).unwrap_or_default()
    }
}
