//! From a checked kernel to Rust: the builder function, and beside it a type of the same name with `kernel` and `launch`.
//!
//! Cannot fail. The type is an empty `enum`, not a module, because a kernel may then be declared in a function or a doctest,
//! where `super` would not reach its surroundings; `name::launch(...)` reads the same.
//!
//! ```text
//! pub fn matmul<T: Float, BM: Dim>(x: View<T, 2>, s: Scalar<f32>, flag: bool) { .. rewritten .. }
//! pub enum matmul {}
//! impl matmul {
//!     pub fn kernel<T: Float>(flag: bool) -> Kernel;
//!     pub fn launch<T: Float>(on: &impl LaunchOn, schedule: &Schedule, grid: [u32; 3], x: TensorRef<'_, T, 2>, s: f32, flag: bool) -> Result<(), LaunchError>;
//! }
//! ```

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{GenericParam, ItemFn};

use crate::ast::{Axis, Facts, GenericKind, Kernel, Param, ParamKind, Tuning};
use crate::errors::Errors;
use crate::{parse, rewrite};

/// The expansion of a checked kernel; mistakes that only the rewriting sees go to `errors`.
pub(crate) fn expand_kernel(kernel: &Kernel, errors: &mut Errors) -> TokenStream {
    let builder = expand_function(kernel.item.clone(), errors);
    let (name, vis) = (&kernel.item.sig.ident, &kernel.item.vis);
    let docs = kernel.item.attrs.iter().filter(|a| a.path().is_ident("doc"));
    let about = format!("The kernel `{name}`: [`Self::kernel`] describes it, [`Self::launch`] runs it.");
    let (id, describe, launch, test) =
        (expand_id(kernel), expand_describe(kernel), expand_launch(kernel), expand_test(kernel));
    quote! {
        #builder

        #[doc = #about]
        #[doc = ""]
        #(#docs)*
        #[allow(non_camel_case_types, reason = "the type stands beside the kernel's function and shares its name")]
        #vis enum #name {}

        #[allow(dead_code, clippy::too_many_arguments, reason = "a kernel may be described without being launched, and has as many arguments as it has")]
        impl #name {
            #id
            #describe
            #launch
        }

        #test
    }
}

/// A function with its body rewritten.
pub(crate) fn expand_function(mut item: ItemFn, errors: &mut Errors) -> TokenStream {
    let dims = parse::dim_names(&item.sig.generics);
    rewrite::rewrite_body(&mut item.block, dims, errors);
    quote! {
        #[allow(
            unused_assignments, clippy::too_many_arguments, clippy::type_complexity, clippy::let_and_return, clippy::needless_return,
            reason = "a variable that a loop or branch carries counts as assigned even where nothing reads it"
        )]
        #item
    }
}

/// Generics of `kernel` and `launch`: those of the function but the dimensions.
struct Signature {
    /// `T: Float + 'static, const N: usize`.
    params: Vec<GenericParam>,
    /// `T, N`.
    args: Vec<Ident>,
    /// The where clauses that do not speak of dimensions.
    bounds: TokenStream,
    /// `matmul::<T, __tw::Var<0>, N>`: the function with the dimensions numbered.
    instance: TokenStream,
}

fn signature(kernel: &Kernel) -> Signature {
    let generics = &kernel.item.sig.generics;
    let dims = kernel.dims();
    let is_dim = |name: &Ident| dims.contains(name);
    let params = generics
        .params
        .iter()
        .filter(|p| match p {
            GenericParam::Type(t) => !is_dim(&t.ident),
            GenericParam::Const(_) => true,
            GenericParam::Lifetime(_) => false,
        })
        .cloned()
        .map(outliving)
        .collect();
    let args =
        kernel.generics.iter().filter(|g| g.kind != GenericKind::Dim).map(|g| g.name.clone()).collect();
    let kept = generics.where_clause.iter().flat_map(|w| &w.predicates).filter(|p| match p {
        syn::WherePredicate::Type(t) => {
            !matches!(&t.bounded_ty, syn::Type::Path(p) if p.path.get_ident().is_some_and(is_dim))
        }
        _ => true,
    });
    let mut index = 0usize;
    let instances = kernel.generics.iter().map(|g| {
        let name = &g.name;
        if g.kind == GenericKind::Dim {
            let number = Literal::usize_unsuffixed(index);
            index += 1;
            quote!(__tw::Var<#number>)
        } else {
            quote!(#name)
        }
    });
    let function = &kernel.item.sig.ident;
    let instance = quote!(#function::<#(#instances),*>);
    Signature { params, args, bounds: quote!(where #(#kept,)*), instance }
}

/// The parameter with `'static` added to the bounds of a type: kernels outlive the call that describes them.
fn outliving(mut p: GenericParam) -> GenericParam {
    if let GenericParam::Type(t) = &mut p {
        t.bounds.push(syn::TypeParamBound::Lifetime(syn::Lifetime::new("'static", Span::call_site())));
        t.colon_token.get_or_insert_default();
    }
    p
}

/// `name: Type` of the comptime parameters that the caller gives.
fn comptime_params(kernel: &Kernel) -> Vec<TokenStream> {
    let one = |p: &Param| {
        let (name, ty) = (&p.name, &p.ty);
        quote!(#name: #ty)
    };
    kernel.comptime().map(one).collect()
}

fn expand_id(kernel: &Kernel) -> TokenStream {
    let Signature { params, bounds, instance, .. } = signature(kernel);
    let hash = Literal::u64_suffixed(kernel.hash);
    let inputs = kernel.comptime().map(|p| {
        let (name, ty) = (&p.name, &p.ty);
        quote!(#name: &#ty)
    });
    let hasher = Ident::new("hasher", Span::mixed_site());
    let values = kernel.comptime().map(|p| {
        let name = &p.name;
        quote_spanned!(p.ty.span()=> __tw::hash_comptime(#name, &mut #hasher);)
    });
    quote! {
        #[doc(hidden)]
        fn __id<#(#params),*>(#(#inputs),*) -> u64 #bounds {
            #[allow(unused_mut, reason = "not every kernel has comptime parameters")]
            let mut #hasher = __tw::KeyHasher::of_kernel(__tw::type_name_of_val(&#instance), #hash);
            #(#values)*
            #hasher.key()
        }
    }
}

fn expand_describe(kernel: &Kernel) -> TokenStream {
    let Signature { params, args, bounds, instance } = signature(kernel);
    let inputs = comptime_params(kernel);
    let name = kernel.item.sig.ident.to_string();
    let about = format!("Describes `{name}`: parameters, knobs, source, and how to specialise it.");
    let comptime: Vec<&Ident> = kernel.comptime().map(|p| &p.name).collect();
    let comptime_names = comptime.iter().map(ToString::to_string);
    let described = kernel.params.iter().filter_map(describe_param(kernel));
    let dims = kernel.dims().iter().map(ToString::to_string).collect::<Vec<_>>();
    let tunables = kernel.tunables().map(|p| p.name.to_string());
    let [(knobs, default), (gpu_knobs, gpu_default)] =
        [&kernel.options.tuning, &kernel.gpu_tuning()].map(|tuning| expand_tuning(kernel, tuning));
    let at = kernel.item.sig.ident.span().start();
    let [line, column] = [at.line, at.column + 1].map(Literal::usize_unsuffixed);
    let [hash, gpu_hash] = [kernel.hash, kernel.gpu_hash].map(Literal::u64_suffixed);
    let text = &kernel.text;
    let lets = kernel.lets.iter().map(|l| {
        let (name, (l0, c0), (l1, c1)) = (&l.name, l.start, l.end);
        let numbers = [l0, c0, l1, c1].map(Literal::u32_unsuffixed);
        let [l0, c0, l1, c1] = &numbers;
        quote!(__tw::LetName { name: #name, start: (#l0, #c0), end: (#l1, #c1) })
    });
    let schedule = Ident::new("schedule", Span::mixed_site());
    let declared = kernel.params.iter().map(|p| declare_param(kernel, p, &schedule));
    let values = kernel.params.iter().map(|p| &p.name);
    quote! {
        #[doc = #about]
        #[must_use]
        pub fn kernel<#(#params),*>(#(#inputs),*) -> __tw::Kernel #bounds {
            __tw::Kernel {
                name: #name,
                id: Self::__id::<#(#args),*>(#(&#comptime),*),
                params: ::std::vec![#(#described),*],
                dims: &[#(#dims),*],
                tunables: &[#(#tunables),*],
                comptime: ::std::vec![#((#comptime_names, ::std::format!("{:?}", #comptime))),*],
                knobs: #knobs,
                default: #default,
                gpu: __tw::Tuning::new(#gpu_knobs, #gpu_default, #gpu_hash),
                source: __tw::Source { file: ::core::file!(), line: #line, column: #column, text: #text, hash: #hash },
                lets: &[#(#lets),*],
                build: ::std::sync::Arc::new(move |#schedule: &__tw::Schedule| {
                    let _ = #schedule;
                    #(#declared)*
                    #instance(#(#values),*);
                }),
            }
        }
    }
}

/// A search space and its default schedule.
fn expand_tuning(kernel: &Kernel, tuning: &Tuning) -> (TokenStream, TokenStream) {
    let knobs = tuning.axes().map(|axis| {
        let (name, values) = (axis.name.to_string(), axis.values.iter().map(|&v| Literal::i64_unsuffixed(v)));
        quote!(__tw::Knob { name: #name, values: ::std::vec![#(#values),*] })
    });
    let legal = expand_legal(kernel, tuning);
    let defaults = defaults(tuning).into_iter().map(|(name, value)| {
        let value = Literal::i64_unsuffixed(value);
        quote!((#name, #value))
    });
    let space = quote!(__tw::Space { knobs: ::std::vec![#(#knobs),*], legal: #legal });
    (space, quote!(__tw::Schedule::new(&[#(#defaults),*])))
}

/// The description of a run-time parameter.
fn describe_param(kernel: &Kernel) -> impl Fn(&Param) -> Option<TokenStream> + '_ {
    |p| {
        let name = p.name.to_string();
        match &p.kind {
            ParamKind::View { elem, rank, mutable } => {
                let facts = expand_facts(kernel.facts(&p.name));
                Some(quote!(__tw::KernelParam::view::<#elem, #rank>(#name, #mutable, #facts)))
            }
            ParamKind::Scalar { elem } => Some(quote!(__tw::KernelParam::scalar::<#elem>(#name))),
            ParamKind::Comptime | ParamKind::Tunable => None,
        }
    }
}

/// The statement that declares a parameter while the kernel is specialised.
fn declare_param(kernel: &Kernel, p: &Param, schedule: &Ident) -> TokenStream {
    let (var, name) = (&p.name, p.name.to_string());
    match &p.kind {
        ParamKind::View { elem, rank, mutable } => {
            let declare = format_ident!("{}", if *mutable { "param_view_mut" } else { "param_view" });
            let facts = expand_facts(kernel.facts(var));
            quote_spanned!(var.span()=> let #var = __tw::#declare::<#elem, #rank>(#name, #facts);)
        }
        ParamKind::Scalar { elem } => {
            quote_spanned!(var.span()=> let #var = __tw::param_scalar::<#elem>(#name);)
        }
        ParamKind::Comptime => quote!(let #var = ::core::clone::Clone::clone(&#var);),
        ParamKind::Tunable => {
            let ty = &p.ty;
            quote_spanned!(var.span()=> let #var = __tw::tunable::<#ty>(#schedule, #name);)
        }
    }
}

fn expand_facts(Facts { contiguous, divisible }: Facts) -> TokenStream {
    let divisible = Literal::u32_unsuffixed(divisible);
    quote!(__tw::ViewFacts { contiguous: #contiguous, divisible: #divisible })
}

/// The rule on points, in which the names of knobs stand for their values and those of comptime parameters for theirs.
fn expand_legal(kernel: &Kernel, tuning: &Tuning) -> TokenStream {
    let Some(legal) = &tuning.legal else { return quote!(__tw::Rule::default()) };
    let schedule = Ident::new("schedule", Span::mixed_site());
    let knobs: Vec<String> = kernel
        .dims()
        .iter()
        .chain(kernel.tunables().map(|p| &p.name))
        .chain(tuning.knobs.iter().map(|k| &k.name))
        .map(ToString::to_string)
        .collect();
    let mut body = (*legal.body).clone();
    rewrite::replace_names(&mut body, &|name| {
        let knob = name.to_string();
        knobs.contains(&knob).then(|| quote_spanned!(name.span()=> #schedule.get(#knob).unwrap_or(0)))
    });
    let pattern = &legal.inputs;
    let comptime = kernel.comptime().map(|p| {
        let name = &p.name;
        quote! {
            #[allow(unused_variables, reason = "a rule need not look at it")]
            let #name = ::core::clone::Clone::clone(&#name);
        }
    });
    quote! {{
        #(#comptime)*
        __tw::Rule::new(move |#schedule: &__tw::Schedule| -> bool {
            #[allow(unused_variables, reason = "knobs may be used by name alone")]
            let #pattern = #schedule;
            #body
        })
    }}
}

/// The default of every knob: as declared, else the first of its values.
fn defaults(tuning: &Tuning) -> Vec<(String, i64)> {
    let given = tuning.default.iter().flatten().map(|(n, v)| (n.to_string(), *v));
    let mut all: Vec<(String, i64)> = given.collect();
    for Axis { name, values } in tuning.axes() {
        let name = name.to_string();
        if let Some(&first) = values.first()
            && !all.iter().any(|(n, _)| *n == name)
        {
            all.push((name, first));
        }
    }
    all
}

fn expand_launch(kernel: &Kernel) -> TokenStream {
    let Signature { params, args, bounds, .. } = signature(kernel);
    let name = kernel.item.sig.ident.to_string();
    let about = format!(
        "Runs `{name}` on a device with the given schedule, one program instance per point of `grid`."
    );
    let [on, schedule, grid] = ["on", "schedule", "grid"].map(|n| Ident::new(n, Span::mixed_site()));
    let inputs = kernel.params.iter().filter_map(|p| {
        let (var, ty) = (&p.name, &p.ty);
        match &p.kind {
            ParamKind::View { elem, rank, mutable: false } => {
                Some(quote!(#var: __tw::TensorRef<'_, #elem, #rank>))
            }
            ParamKind::View { elem, rank, mutable: true } => {
                Some(quote!(#var: __tw::TensorMut<'_, #elem, #rank>))
            }
            ParamKind::Scalar { elem } => Some(quote!(#var: #elem)),
            ParamKind::Comptime => Some(quote!(#var: #ty)),
            ParamKind::Tunable => None,
        }
    });
    let launch_args = kernel.params.iter().filter_map(|p| {
        let (var, param) = (&p.name, p.name.to_string());
        match &p.kind {
            ParamKind::View { .. } => {
                let facts = expand_facts(kernel.facts(var));
                Some(quote!(#var.arg(#name, #param, #facts)?))
            }
            ParamKind::Scalar { .. } => Some(quote!(__tw::scalar_arg(#var))),
            ParamKind::Comptime | ParamKind::Tunable => None,
        }
    });
    let comptime: Vec<&Ident> = kernel.comptime().map(|p| &p.name).collect();
    quote! {
        #[doc = #about]
        ///
        /// # Errors
        /// If an argument breaks a declared fact or is too large, if the kernel does not specialise under the schedule, or if
        /// the device reports an error; the message names the kernel, the argument and the numbers.
        pub fn launch<#(#params),*>(
            #on: &(impl __tw::LaunchOn + ?Sized),
            #schedule: &__tw::Schedule,
            #grid: [u32; 3],
            #(#inputs),*
        ) -> ::core::result::Result<(), __tw::LaunchError> #bounds {
            let args = [#(#launch_args),*];
            #on.launch(__tw::Launch {
                key: __tw::launch_key(Self::__id::<#(#args),*>(#(&#comptime),*), #schedule),
                name: #name,
                kernel: &|| Self::kernel::<#(#args),*>(#(::core::clone::Clone::clone(&#comptime)),*),
                schedule: #schedule,
                grid: #grid,
                args: &args,
            })
        }
    }
}

/// The test that specialises every declared configuration, when every parameter has declared values and every dimension an extent.
fn expand_test(kernel: &Kernel) -> TokenStream {
    let Some(instances) = instances(kernel) else { return TokenStream::new() };
    let name = &kernel.item.sig.ident;
    let test = format_ident!("{name}_every_declared_configuration_specialises", span = Span::call_site());
    let kernels =
        instances.into_iter().map(|(generics, values)| quote!(#name::kernel::<#(#generics),*>(#(#values),*)));
    quote! {
        #[cfg(test)]
        #[test]
        #[allow(unnameable_test_items, reason = "a kernel may be declared inside a function")]
        fn #test() {
            __tw::specialise_all(&[#(#kernels),*]);
        }
    }
}

/// Every combination of declared generic arguments and comptime values.
fn instances(kernel: &Kernel) -> Option<Vec<(Vec<TokenStream>, Vec<TokenStream>)>> {
    let options = &kernel.options;
    let known = defaults(&options.tuning);
    if kernel.dims().iter().any(|d| !known.iter().any(|(n, _)| d == n)) {
        return None;
    }
    let mut axes: Vec<Vec<TokenStream>> = Vec::new();
    for g in kernel.generics.iter().filter(|g| g.kind != GenericKind::Dim) {
        let declared = options.types.iter().find(|(n, _)| *n == g.name);
        axes.push(match declared {
            Some((_, list)) => list.iter().map(|t| quote!(#t)).collect(),
            None if g.kind == GenericKind::Float => vec![quote!(f32), quote!(__tw::f16), quote!(__tw::bf16)],
            None => return None,
        });
    }
    let generics = axes.len();
    for p in kernel.comptime() {
        let declared = options.comptime.iter().find(|(n, _)| *n == p.name);
        let is_bool = matches!(&p.ty, syn::Type::Path(t) if t.path.is_ident("bool"));
        axes.push(match declared {
            Some((_, list)) => list.iter().map(|v| quote!(#v)).collect(),
            None if is_bool => vec![quote!(false), quote!(true)],
            None => return None,
        });
    }
    let mut points: Vec<Vec<TokenStream>> = vec![Vec::new()];
    for axis in &axes {
        points = points
            .iter()
            .flat_map(|p| axis.iter().map(|v| [p.as_slice(), std::slice::from_ref(v)].concat()))
            .collect();
    }
    Some(
        points
            .into_iter()
            .map(|mut p| {
                let values = p.split_off(generics);
                (p, values)
            })
            .collect(),
    )
}
