//! The attributes of the kernel language: [`macro@kernel`] and [`macro@device_fn`].
//!
//! ```text
//! parse (syn -> ast) -> check (all mistakes at once) -> expand (cannot fail), or fallback (one message per mistake)
//!                                                         rewrite: the body; scope: which variables a loop carries
//! ```
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "syn's enums are not exhaustive, and what the language does not treat passes through as it is"
)]

use proc_macro2::TokenStream;
use quote::quote;

mod ast;
mod check;
mod errors;
mod expand;
mod fallback;
mod parse;
mod rewrite;
mod scope;
mod source;

use errors::Errors;

/// Declares a kernel: a function over tiles that runs once per specialisation and builds the program of one instance.
///
/// Import the prelude of the language with `*`; the expansion relies on it.
///
/// # Parameters
/// `View<T, R>`, `ViewMut<T, R>` and `Scalar<T>` are run-time. A parameter of any other type is *comptime*: its value is part
/// of the kernel's key (`Hash + Eq + Debug + Clone`). A generic with the bound `Dim` is a tile extent that the schedule
/// chooses; other generics are ordinary Rust.
///
/// # Arguments, all optional
/// - `space(BM: [64, 128], unroll: [1, 2])`: what the tuner may choose for dimensions and integer parameters;
/// - `knobs(stages: [2, 3, 4])`: knobs of the target;
/// - `default(BM = 64)`: the schedule when nobody tuned; else the first of each list;
/// - `legal = |s| BM * BN <= 16384`: which points of the space exist; knob names are their values, comptime parameters are
///   visible, `s` is the `&Schedule`;
/// - `gpu(space(..), knobs(warps: [4, 8]), default(..), legal = |s| ..)`: the same four for GPUs. An axis, a default or a rule
///   that it leaves out is as for the CPU; `warps` is 4 unless it says otherwise;
/// - `types(T: [f32, f16])`, `comptime(flag: [false, true])`: instances for the generated test. A `Float` generic defaults to
///   f32, f16, bf16 and a `bool` to both values; without values for some parameter, or an extent
///   for some dimension, there is no test;
/// - `facts(x: contiguous, y: [contiguous, divisible(16)])`: facts of views, checked at launch, that targets may rely on.
///
/// # What it makes
/// The function, and a type of the same name with `name::kernel(comptime...) -> Kernel`,
/// `name::launch(on, schedule, grid, args...)`, and a test that specialises every declared configuration for CPUs and GPUs (a
/// sample of 200 of each space that is larger).
///
/// # The body
/// `for`, `while` and `if` over run-time values become loops and branches of the program; the variables that they assign and
/// that are declared outside are carried. Over host values (`bool`, `0..4`) they are plain Rust and so are evaluated while
/// the kernel is specialised. A loop or branch that is left by `break`, `continue`, `return` or `?`, `if let`, `match` and
/// `loop` are host only. `<`, `==`, `&&` and their kin work on tiles; a bare `BM` is its number; `t[(.., None)]` inserts an axis.
/// The branches of an `if` become closures, so both may not mutate one host collection: use `match` on the `bool` there.
#[proc_macro_attribute]
pub fn kernel(attr: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    kernel_tokens(attr.into(), &item.into()).into()
}

/// Declares a helper of kernels that has run-time control flow, comparisons or bare dimension names of its own.
///
/// The body is rewritten as that of a [`macro@kernel`]; the signature stays. Helpers without these need no attribute.
#[proc_macro_attribute]
pub fn device_fn(attr: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    device_fn_tokens(&attr.into(), &item.into()).into()
}

fn kernel_tokens(attr: TokenStream, item: &TokenStream) -> TokenStream {
    let item = match parse_function(item, "kernel") {
        Ok(item) => item,
        Err(tokens) => return tokens,
    };
    let mut errors = Errors::default();
    let kernel = parse::parse_kernel(attr, item.clone(), &mut errors);
    let n_comptime = kernel.comptime().count();
    check::check_kernel(&kernel, &mut errors);
    let expansion = expand::expand_kernel(&kernel, &mut errors);
    if errors.is_empty() { expansion } else { fallback::fallback_kernel(&item, n_comptime, &errors) }
}

fn device_fn_tokens(attr: &TokenStream, item: &TokenStream) -> TokenStream {
    let item = match parse_function(item, "device_fn") {
        Ok(item) => item,
        Err(tokens) => return tokens,
    };
    let mut errors = Errors::default();
    if !attr.is_empty() {
        errors.on(
            attr,
            "`#[device_fn]` takes no arguments; knobs belong to the kernel that calls the function",
        );
    }
    let expansion = expand::expand_function(item.clone(), &mut errors);
    if errors.is_empty() { expansion } else { fallback::fallback_function(&item, &errors) }
}

/// The function under the attribute, or the message with the item as it was.
fn parse_function(item: &TokenStream, attribute: &str) -> Result<syn::ItemFn, TokenStream> {
    syn::parse2(item.clone()).map_err(|e| {
        let is_function = item.clone().into_iter().any(|t| t.to_string() == "fn");
        let error = if is_function {
            e
        } else {
            syn::Error::new_spanned(
                item.clone(),
                format!("`#[{attribute}]` belongs on a function with a body"),
            )
        };
        let message = error.to_compile_error();
        quote!(#message #item)
    })
}

#[cfg(test)]
mod tests;
