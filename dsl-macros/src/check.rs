//! What a kernel must satisfy beyond its grammar. Every mistake is reported, in the language's words, with what to do.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericParam, ReturnType, Type};

use crate::ast::{Axis, GenericKind, Kernel, ParamKind, Tuning};
use crate::errors::{Errors, nearest};
use crate::source::duplicates;

/// Checks everything; mistakes go to `errors`.
pub(crate) fn check_kernel(kernel: &Kernel, errors: &mut Errors) {
    check_signature(&kernel.item.sig, errors);
    check_params(kernel, errors);
    let cpu = &kernel.options.tuning;
    check_space(kernel, cpu, errors);
    check_default(kernel, cpu, cpu, errors);
    check_complete(kernel, errors);
    if let Some(gpu) = &kernel.options.gpu {
        check_space(kernel, gpu, errors);
        check_default(kernel, gpu, &kernel.gpu_tuning(), errors);
    }
    check_instances(kernel, errors);
    check_facts(kernel, errors);
}

fn check_signature(sig: &syn::Signature, errors: &mut Errors) {
    if let Some(t) = &sig.asyncness {
        errors.on(t, "a kernel cannot be `async`: it runs once, while it is specialised");
    }
    if let Some(t) = &sig.constness {
        errors.on(t, "a kernel cannot be `const`; remove the word");
    }
    if let Some(t) = &sig.unsafety {
        errors
            .on(t, "a kernel cannot be `unsafe`; put the unsafe operation in an `unsafe` block of the body");
    }
    if let Some(t) = &sig.abi {
        errors.on(t, "a kernel has no ABI of its own; remove `extern`");
    }
    if let Some(t) = &sig.variadic {
        errors.on(t, "a kernel has a fixed number of parameters");
    }
    if let ReturnType::Type(_, ty) = &sig.output {
        errors.on(ty, "a kernel returns nothing: store results through a `ViewMut` parameter");
    }
    for p in &sig.generics.params {
        if let GenericParam::Lifetime(l) = p {
            errors.on(
                l,
                "a kernel has no lifetime parameters: views are handles, and comptime values are owned",
            );
        }
    }
}

fn check_params(kernel: &Kernel, errors: &mut Errors) {
    let dims = kernel.dims();
    for p in &kernel.params {
        let name = &p.name;
        match &p.kind {
            ParamKind::View { .. } | ParamKind::Scalar { .. } => {}
            ParamKind::Tunable => {
                if !is_integer(&p.ty) {
                    errors.on(
                        &p.ty,
                        format!("tunable `{name}` must be an integer such as `usize`, because `space` gives it integers"),
                    );
                }
            }
            ParamKind::Comptime => check_comptime(name, &p.ty, &dims, errors),
        }
    }
}

fn check_comptime(name: &Ident, ty: &Type, dims: &[Ident], errors: &mut Errors) {
    match ty {
        Type::Reference(r) => {
            let inner = &r.elem;
            let instead = match &**inner {
                Type::Slice(_) => "a `View` for data in device memory".to_owned(),
                Type::Path(p) if p.path.is_ident("str") => "`&'static str` behind an owned `String`".to_owned(),
                other => format!("`{}` by value", other.to_token_stream()),
            };
            errors.on(ty, format!("parameter `{name}` cannot be a reference: a comptime value is part of the kernel's key; take {instead}"));
        }
        Type::ImplTrait(_) => errors.on(
            ty,
            format!("parameter `{name}` cannot be `impl Trait`: name the type with a generic parameter, as in `fn k<E: Epilogue>({name}: E)`"),
        ),
        Type::Path(p) if p.path.is_ident("f32") || p.path.is_ident("f64") => errors.on(
            ty,
            format!("parameter `{name}` cannot be a comptime `{0}`, which has no exact equality; take `{name}: Scalar<f32>`", p.to_token_stream()),
        ),
        _ => {
            if let Some(dim) = find_ident(ty.to_token_stream(), &|i| dims.contains(i)) {
                errors.at(
                    dim.span(),
                    format!("parameter `{name}` cannot depend on the dimension `{dim}`, whose extent the schedule chooses"),
                );
            }
            if let Some(at) = find_lifetime(ty.to_token_stream()) {
                errors.at(at, format!("parameter `{name}` must own its value: a comptime value outlives the call"));
            }
        }
    }
}

fn is_integer(ty: &Type) -> bool {
    const INTEGERS: [&str; 10] = ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize"];
    matches!(ty, Type::Path(p) if INTEGERS.iter().any(|i| p.path.is_ident(i)))
}

fn check_space(kernel: &Kernel, tuning: &Tuning, errors: &mut Errors) {
    let dims = kernel.dims();
    let params: Vec<&Ident> = kernel.tunables().map(|p| &p.name).collect();
    for axis in &tuning.space {
        let name = &axis.name;
        if dims.contains(name) {
            check_extents(axis, errors);
        } else if let Some(g) = kernel.generics.iter().find(|g| g.name == *name) {
            errors.at(
                name.span(),
                format!("`{}` is not a dimension: declare it `{0}: Dim` to tune it", g.name),
            );
        } else if !params.contains(&name) {
            let known: Vec<String> = dims
                .iter()
                .map(ToString::to_string)
                .chain(kernel.params.iter().filter(|p| is_integer(&p.ty)).map(|p| p.name.to_string()))
                .collect();
            errors.at(
                name.span(),
                format!(
                    "`space` names `{name}`, which is neither a `Dim` parameter nor an integer parameter of the kernel{}",
                    did_you_mean(name, &known, "; a knob of the target belongs in `knobs(...)`")
                ),
            );
        }
    }
    for knob in &tuning.knobs {
        let name = &knob.name;
        if dims.contains(name) || kernel.params.iter().any(|p| p.name == *name) {
            errors.at(
                name.span(),
                format!("`{name}` belongs to the kernel: list it in `space(...)`, not in `knobs(...)`"),
            );
        }
    }
    for twice in duplicates(tuning.axes().map(|a| &a.name)) {
        errors.at(twice.span(), format!("`{twice}` is listed twice in the search space"));
    }
    if let Some(legal) = &tuning.legal
        && legal.inputs.len() != 1
    {
        errors.on(legal, "`legal` takes one argument, the schedule: `legal = |s| BM * BN <= 16384`");
    }
}

fn check_extents(axis: &Axis, errors: &mut Errors) {
    for value in axis.values.iter().filter(|&&v| v < 1) {
        let name = &axis.name;
        errors.at(name.span(), format!("extent {value} of `{name}` is not positive"));
    }
}

/// Checks the default that `tuning` declares; `all` has the axes that the values must be on.
fn check_default(kernel: &Kernel, tuning: &Tuning, all: &Tuning, errors: &mut Errors) {
    let known: Vec<String> =
        own_knobs(kernel).iter().chain(all.knobs.iter().map(|k| &k.name)).map(ToString::to_string).collect();
    let given = tuning.default.as_deref().unwrap_or_default();
    for twice in duplicates(given.iter().map(|(n, _)| n)) {
        errors.at(twice.span(), format!("`{twice}` has two defaults"));
    }
    for (name, value) in given {
        let axis = all.axis(name);
        if !known.contains(&name.to_string()) {
            errors.at(
                name.span(),
                format!(
                    "`default` names `{name}`, which is no knob of this kernel{}",
                    did_you_mean(name, &known, "")
                ),
            );
        } else if let Some(axis) = axis.filter(|a| !a.values.contains(value)) {
            let list = axis.values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            errors.at(
                name.span(),
                format!("default {value} of `{name}` is not in its space [{list}]; add it there"),
            );
        } else if axis.is_none() && *value < 1 && kernel.dims().contains(name) {
            errors.at(name.span(), format!("extent {value} of `{name}` is not positive"));
        }
    }
}

/// A default that is declared is complete, and a tunable of the GPU alone has a value on the CPU too.
fn check_complete(kernel: &Kernel, errors: &mut Errors) {
    let tuning = &kernel.options.tuning;
    for name in own_knobs(kernel) {
        let is_gpu_only = tuning.axis(&name).is_none()
            && kernel.options.gpu.as_ref().is_some_and(|gpu| gpu.axis(&name).is_some());
        if tuning.default_of(&name).is_none() && (tuning.default.is_some() || is_gpu_only) {
            errors.at(
                name.span(),
                format!(
                    "`{name}` has no default; add it to `default(...)`, for example `default({name} = {})`",
                    example(kernel, &name)
                ),
            );
        }
    }
}

/// Dimensions and tunables.
fn own_knobs(kernel: &Kernel) -> Vec<Ident> {
    kernel.dims().into_iter().chain(kernel.tunables().map(|p| p.name.clone())).collect()
}

/// A value that could be the default of `name`.
fn example(kernel: &Kernel, name: &Ident) -> i64 {
    let axis = kernel.options.tuning.axis(name);
    axis.and_then(|a| a.values.first()).copied().unwrap_or(64)
}

fn check_instances(kernel: &Kernel, errors: &mut Errors) {
    let options = &kernel.options;
    let generics: Vec<String> =
        kernel.generics.iter().filter(|g| g.kind != GenericKind::Dim).map(|g| g.name.to_string()).collect();
    for (name, _) in &options.types {
        if !generics.contains(&name.to_string()) {
            let hint = did_you_mean(name, &generics, "");
            errors.at(
                name.span(),
                format!("`types` names `{name}`, which is no type parameter of the kernel{hint}"),
            );
        }
    }
    let comptime: Vec<String> = kernel.comptime().map(|p| p.name.to_string()).collect();
    for (name, _) in &options.comptime {
        if !comptime.contains(&name.to_string()) {
            let hint =
                did_you_mean(name, &comptime, "; run-time parameters and tunables have no values here");
            errors.at(
                name.span(),
                format!("`comptime` names `{name}`, which is no comptime parameter of the kernel{hint}"),
            );
        }
    }
    for twice in duplicates(options.types.iter().map(|t| &t.0).chain(options.comptime.iter().map(|c| &c.0))) {
        errors.at(twice.span(), format!("`{twice}` is listed twice"));
    }
}

fn check_facts(kernel: &Kernel, errors: &mut Errors) {
    let views: Vec<String> = kernel
        .params
        .iter()
        .filter(|p| matches!(p.kind, ParamKind::View { .. }))
        .map(|p| p.name.to_string())
        .collect();
    for (name, _) in &kernel.options.facts {
        if !views.contains(&name.to_string()) {
            let hint = did_you_mean(name, &views, "");
            errors.at(
                name.span(),
                format!("`facts` names `{name}`, which is no view parameter of the kernel{hint}"),
            );
        }
    }
    for twice in duplicates(kernel.options.facts.iter().map(|f| &f.0)) {
        errors.at(
            twice.span(),
            format!("facts of `{twice}` are given twice; write `{twice}: [contiguous, divisible(16)]`"),
        );
    }
}

fn did_you_mean(name: &Ident, known: &[String], otherwise: &str) -> String {
    nearest(&name.to_string(), known.iter().map(String::as_str))
        .map_or_else(|| otherwise.to_owned(), |k| format!("; did you mean `{k}`?"))
}

fn find_ident(tokens: TokenStream, wanted: &dyn Fn(&Ident) -> bool) -> Option<Ident> {
    tokens.into_iter().find_map(|t| match t {
        TokenTree::Ident(i) => wanted(&i).then_some(i),
        TokenTree::Group(g) => find_ident(g.stream(), wanted),
        TokenTree::Punct(_) | TokenTree::Literal(_) => None,
    })
}

/// The first reference or lifetime other than `'static` inside a type.
fn find_lifetime(tokens: TokenStream) -> Option<Span> {
    let mut after_tick = false;
    for t in tokens {
        match t {
            TokenTree::Punct(p) => {
                after_tick = p.as_char() == '\'';
            }
            TokenTree::Ident(i) => {
                if std::mem::take(&mut after_tick) && i != "static" {
                    return Some(i.span());
                }
            }
            TokenTree::Group(g) => {
                if let Some(at) = find_lifetime(g.stream()) {
                    return Some(at);
                }
            }
            TokenTree::Literal(_) => {}
        }
    }
    None
}
