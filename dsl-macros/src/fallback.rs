//! What stands in for a kernel with mistakes, so that its callers still compile and each mistake gives one message.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{FnArg, GenericParam, ItemFn};

use crate::errors::Errors;
use crate::parse;

/// The messages, and items with the kernel's names that accept anything.
pub(crate) fn fallback_kernel(item: &ItemFn, n_comptime: usize, errors: &Errors) -> TokenStream {
    let messages = errors.to_compile_error();
    let (name, vis, generics) = (&item.sig.ident, &item.vis, &item.sig.generics);
    let dims = parse::dim_names(generics);
    let n = item.sig.inputs.iter().filter(|a| matches!(a, FnArg::Typed(_))).count();
    let anything = |count: usize| vec![quote!(_: impl ::core::marker::Sized); count];
    let (function, comptime, launch) = (anything(n), anything(n_comptime), anything(n + 3));
    let all = generics.params.iter().filter(|p| !matches!(p, GenericParam::Lifetime(_)));
    let kept: Vec<&GenericParam> =
        all.clone().filter(|p| !matches!(p, GenericParam::Type(t) if dims.contains(&t.ident))).collect();
    let unreachable = quote_spanned!(name.span()=> ::core::unreachable!("the kernel did not compile"));
    quote! {
        #messages

        #[allow(dead_code, missing_docs, reason = "stands in for a kernel that did not compile")]
        #vis fn #name<#(#all),*>(#(#function),*) {
            #unreachable
        }

        #[allow(dead_code, missing_docs, non_camel_case_types, reason = "stands in for a kernel that did not compile")]
        #vis enum #name {}

        #[allow(dead_code, missing_docs, clippy::too_many_arguments, reason = "stands in for a kernel that did not compile")]
        impl #name {
            pub fn kernel<#(#kept),*>(#(#comptime),*) -> __tw::Kernel {
                #unreachable
            }
            pub fn launch<#(#kept),*>(#(#launch),*) -> ::core::result::Result<(), __tw::LaunchError> {
                #unreachable
            }
        }
    }
}

/// The messages, and the helper's signature with an unreachable body.
pub(crate) fn fallback_function(item: &ItemFn, errors: &Errors) -> TokenStream {
    let messages = errors.to_compile_error();
    let (attrs, vis, sig) = (&item.attrs, &item.vis, &item.sig);
    quote! {
        #messages
        #(#attrs)*
        #[allow(unused_variables, reason = "stands in for a function that did not compile")]
        #vis #sig {
            ::core::unreachable!("the function did not compile")
        }
    }
}
