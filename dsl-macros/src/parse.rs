//! From syn's trees to the kernel's own: kinds of generics and parameters, and the attribute's arguments.
//!
//! Parsing goes on after a mistake, so that all of them are reported together.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{FnArg, GenericParam, Ident, ItemFn, LitInt, Pat, Token, Type, TypeParamBound};

use crate::ast::{Axis, Facts, Generic, GenericKind, Kernel, Options, Param, ParamKind, Tuning};
use crate::errors::{Errors, nearest};
use crate::source;

const KEYS: [&str; 8] = ["space", "knobs", "default", "legal", "gpu", "types", "comptime", "facts"];
const TUNING_KEYS: [&str; 4] = ["space", "knobs", "default", "legal"];

/// The kernel that an attribute and a function declare; mistakes go to `errors`.
pub(crate) fn parse_kernel(attr: TokenStream, item: ItemFn, errors: &mut Errors) -> Kernel {
    let mut bare = item.clone();
    bare.attrs.clear();
    let tokens = bare.to_token_stream();
    let [hash, gpu_hash] = source::hashes(&attr, &tokens);
    let options = parse_options(attr, errors);
    let generics = parse_generics(&item.sig.generics);
    let params = item.sig.inputs.iter().filter_map(|arg| parse_param(arg, &options, errors)).collect();
    let lets = source::let_names(&item.block);
    Kernel { item, generics, params, options, lets, text: source::text(tokens), hash, gpu_hash }
}

/// Names of the parameters with the bound `Dim`.
pub(crate) fn dim_names(generics: &syn::Generics) -> Vec<Ident> {
    parse_generics(generics).into_iter().filter(|g| g.kind == GenericKind::Dim).map(|g| g.name).collect()
}

fn parse_generics(generics: &syn::Generics) -> Vec<Generic> {
    let bounded = |name: &Ident, bounds: &Punctuated<TypeParamBound, Token![+]>, wanted: &str| {
        let in_where = generics.where_clause.iter().flat_map(|w| &w.predicates).any(|p| {
            matches!(p, syn::WherePredicate::Type(t) if is_name(&t.bounded_ty, name) && has_bound(&t.bounds, wanted))
        });
        in_where || has_bound(bounds, wanted)
    };
    generics
        .params
        .iter()
        .filter_map(|p| match p {
            GenericParam::Lifetime(_) => None,
            GenericParam::Const(c) => Some(Generic { name: c.ident.clone(), kind: GenericKind::Const }),
            GenericParam::Type(t) => {
                let kind = if bounded(&t.ident, &t.bounds, "Dim") {
                    GenericKind::Dim
                } else if bounded(&t.ident, &t.bounds, "Float") {
                    GenericKind::Float
                } else {
                    GenericKind::Type
                };
                Some(Generic { name: t.ident.clone(), kind })
            }
        })
        .collect()
}

fn is_name(ty: &Type, name: &Ident) -> bool {
    matches!(ty, Type::Path(p) if p.qself.is_none() && p.path.is_ident(name))
}

fn has_bound(bounds: &Punctuated<TypeParamBound, Token![+]>, wanted: &str) -> bool {
    bounds.iter().any(|b| match b {
        TypeParamBound::Trait(t) => t.path.segments.last().is_some_and(|s| s.ident == wanted),
        _ => false,
    })
}

fn parse_param(arg: &FnArg, options: &Options, errors: &mut Errors) -> Option<Param> {
    let arg = match arg {
        FnArg::Receiver(r) => {
            errors.on(r, "a kernel is a free function and has no `self`; pass what it needs as parameters");
            return None;
        }
        FnArg::Typed(arg) => arg,
    };
    let name = match &*arg.pat {
        Pat::Ident(p) if p.by_ref.is_none() && p.subpat.is_none() => p.ident.clone(),
        Pat::Wild(w) => {
            errors.on(w, "a kernel parameter needs a name: launches and messages use it");
            return None;
        }
        other => {
            errors
                .on(other, "a kernel parameter is a plain name; take the value apart in the body with `let`");
            return None;
        }
    };
    let kind = param_kind(&arg.ty, &name, options, errors)?;
    Some(Param { name, ty: (*arg.ty).clone(), kind })
}

fn param_kind(ty: &Type, name: &Ident, options: &Options, errors: &mut Errors) -> Option<ParamKind> {
    let comptime = if [Some(&options.tuning), options.gpu.as_ref()]
        .iter()
        .flatten()
        .any(|t| t.space.iter().any(|a| a.name == *name))
    {
        ParamKind::Tunable
    } else {
        ParamKind::Comptime
    };
    let Type::Path(path) = ty else { return Some(comptime) };
    let last = path.path.segments.last()?;
    let args: Vec<TokenStream> = match &last.arguments {
        syn::PathArguments::AngleBracketed(a) => a.args.iter().map(ToTokens::to_token_stream).collect(),
        syn::PathArguments::None | syn::PathArguments::Parenthesized(_) => Vec::new(),
    };
    match (last.ident.to_string().as_str(), args.as_slice()) {
        (view @ ("View" | "ViewMut"), [elem, rank]) => {
            Some(ParamKind::View { elem: elem.clone(), rank: rank.clone(), mutable: view == "ViewMut" })
        }
        ("Scalar", [elem]) => Some(ParamKind::Scalar { elem: elem.clone() }),
        (view @ ("View" | "ViewMut"), _) => {
            errors.on(ty, format!("`{view}` needs an element type and a rank, such as `{view}<f32, 2>`"));
            None
        }
        ("Scalar", _) => {
            errors.on(ty, "`Scalar` needs an element type, such as `Scalar<f32>`");
            None
        }
        ("Tile", _) => {
            errors.on(ty, "a kernel cannot take a tile; take a `View` and load the tile from it");
            None
        }
        _ => Some(comptime),
    }
}

fn parse_options(attr: TokenStream, errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let parser = |input: ParseStream<'_>| {
        parse_arguments(input, &KEYS, "#[kernel]", errors, |key, input, errors| {
            parse_option(key, input, &mut options, errors)
        })
    };
    let result = parser.parse2(attr);
    errors.take(result);
    options
}

/// Parses `key(..)` and `key = ..` up to the end of `input`; `parse_one` says `false` to a key that `of` does not have.
fn parse_arguments(
    input: ParseStream<'_>,
    keys: &[&'static str],
    of: &str,
    errors: &mut Errors,
    mut parse_one: impl FnMut(&Ident, ParseStream<'_>, &mut Errors) -> syn::Result<bool>,
) -> syn::Result<()> {
    let mut seen: Vec<Ident> = Vec::new();
    while !input.is_empty() {
        let key: Ident = input.parse()?;
        if seen.contains(&key) {
            errors.at(key.span(), format!("`{key}` is given twice; merge the two"));
        }
        match parse_one(&key, input, errors) {
            Ok(true) => {}
            Ok(false) => {
                let hint = nearest(&key.to_string(), keys.iter().copied()).map_or_else(
                    || format!("known are {}", keys.join(", ")),
                    |k| format!("did you mean `{k}`?"),
                );
                errors.at(key.span(), format!("unknown argument `{key}` of `{of}`; {hint}"));
                skip_argument(input)?;
            }
            Err(e) => {
                errors.push(e);
                skip_argument(input)?;
            }
        }
        seen.push(key);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(())
}

/// Skips what is left of an argument, up to the comma.
fn skip_argument(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Parses the argument of `key`; `false` when there is no such key.
fn parse_option(
    key: &Ident,
    input: ParseStream<'_>,
    options: &mut Options,
    errors: &mut Errors,
) -> syn::Result<bool> {
    match key.to_string().as_str() {
        "types" => options.types.extend(entries(input, |i| named_list(i, "types(T: [f32, f16])"))?),
        "comptime" => {
            options.comptime.extend(entries(input, |i| named_list(i, "comptime(flag: [false, true])"))?)
        }
        "facts" => options.facts.extend(entries(input, facts_entry)?),
        "gpu" => {
            let content;
            syn::parenthesized!(content in input);
            let tuning = options.gpu.get_or_insert_default();
            parse_arguments(&content, &TUNING_KEYS, "gpu(...)", errors, |key, input, _| {
                parse_tuning(key, input, tuning)
            })?;
        }
        _ => return parse_tuning(key, input, &mut options.tuning),
    }
    Ok(true)
}

/// Parses an argument that says what may be tuned; `false` when `key` is none of these.
fn parse_tuning(key: &Ident, input: ParseStream<'_>, tuning: &mut Tuning) -> syn::Result<bool> {
    match key.to_string().as_str() {
        "space" => tuning.space.extend(entries(input, axis)?),
        "knobs" => tuning.knobs.extend(entries(input, axis)?),
        "default" => tuning.default.get_or_insert_default().extend(entries(input, default_entry)?),
        "legal" => {
            input.parse::<Token![=]>()?;
            tuning.legal = Some(input.parse().map_err(|e| {
                syn::Error::new(e.span(), "`legal` takes a closure, such as `legal = |s| BM * BN <= 16384`")
            })?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The comma-separated entries of a parenthesised argument.
fn entries<T>(
    input: ParseStream<'_>,
    entry: impl Fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<Vec<T>> {
    let content;
    syn::parenthesized!(content in input);
    let mut all = Vec::new();
    while !content.is_empty() {
        all.push(entry(&content)?);
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(all)
}

fn named_list<T: Parse>(input: ParseStream<'_>, example: &str) -> syn::Result<(Ident, Vec<T>)> {
    let name: Ident = input.parse()?;
    input
        .parse::<Token![:]>()
        .map_err(|e| syn::Error::new(e.span(), format!("expected a list, as in `{example}`")))?;
    let content;
    syn::bracketed!(content in input);
    let list = Punctuated::<T, Token![,]>::parse_terminated(&content)?;
    if list.is_empty() {
        return Err(syn::Error::new(
            name.span(),
            format!("`{name}` has an empty list; give it a value, as in `{example}`"),
        ));
    }
    Ok((name, list.into_iter().collect()))
}

/// An integer, possibly negative.
struct Int(i64, Span);

impl Parse for Int {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let minus: Option<Token![-]> = input.parse()?;
        let lit: LitInt = input.parse()?;
        let value: i64 = lit.base10_parse()?;
        Ok(Self(if minus.is_some() { -value } else { value }, lit.span()))
    }
}

fn axis(input: ParseStream<'_>) -> syn::Result<Axis> {
    let (name, ints) = named_list::<Int>(input, "space(BM: [64, 128])")?;
    let mut values: Vec<i64> = Vec::new();
    for Int(value, span) in ints {
        if values.contains(&value) {
            return Err(syn::Error::new(span, format!("value {value} of `{name}` is listed twice")));
        }
        values.push(value);
    }
    values.sort_unstable();
    Ok(Axis { name, values })
}

fn default_entry(input: ParseStream<'_>) -> syn::Result<(Ident, i64)> {
    let name: Ident = input.parse()?;
    input
        .parse::<Token![=]>()
        .map_err(|e| syn::Error::new(e.span(), "expected a value, as in `default(BM = 64)`"))?;
    let Int(value, _) = input.parse()?;
    Ok((name, value))
}

fn facts_entry(input: ParseStream<'_>) -> syn::Result<(Ident, Facts)> {
    let name: Ident = input.parse()?;
    input.parse::<Token![:]>()?;
    let mut facts = Facts::default();
    if input.peek(syn::token::Bracket) {
        let content;
        syn::bracketed!(content in input);
        while !content.is_empty() {
            one_fact(&content, &mut facts)?;
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
    } else {
        one_fact(input, &mut facts)?;
    }
    Ok((name, facts))
}

fn one_fact(input: ParseStream<'_>, facts: &mut Facts) -> syn::Result<()> {
    let fact: Ident = input.parse()?;
    if fact == "contiguous" {
        facts.contiguous = true;
    } else if fact == "divisible" {
        let content;
        syn::parenthesized!(content in input);
        let by: LitInt = content.parse()?;
        facts.divisible = by.base10_parse()?;
        if facts.divisible == 0 {
            return Err(syn::Error::new(by.span(), "nothing is divisible by 0"));
        }
    } else {
        return Err(syn::Error::new(
            fact.span(),
            format!("unknown fact `{fact}`; known are `contiguous` and `divisible(16)`"),
        ));
    }
    Ok(())
}
