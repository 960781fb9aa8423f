//! The expansion as text, and the messages of mistakes, without a compiler in between.

use proc_macro2::TokenStream;

use super::errors::Errors;
use super::{device_fn_tokens, kernel_tokens, rewrite};

/// The rewritten body without blanks; `BM` is a dimension.
fn rewritten(body: &str) -> String {
    let mut block: syn::Block = syn::parse_str(body).expect("the body should parse");
    let mut errors = Errors::default();
    let dims = vec![syn::parse_str("BM").expect("should be an identifier")];
    rewrite::rewrite_body(&mut block, dims, &mut errors);
    assert!(errors.is_empty(), "{:?}", errors.messages());
    unspaced(&quote::quote!(#block).to_string())
}

/// The text without blanks, whose number depends on where the tokens came from.
fn unspaced(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn tokens(text: &str) -> String {
    let tokens: TokenStream = text.parse().expect("the expectation should be tokens");
    unspaced(&tokens.to_string())
}

fn mistakes(body: &str) -> Vec<String> {
    let mut block: syn::Block = syn::parse_str(body).expect("the body should parse");
    let mut errors = Errors::default();
    rewrite::rewrite_body(&mut block, Vec::new(), &mut errors);
    errors.messages()
}

#[test]
fn a_loop_carries_what_it_assigns() {
    assert_eq!(
        rewritten("{ for k in r { a = dot(a, b); c += 1; } }"),
        tokens(
            "{ { (a, c,) = __tw::for_loop(r, (a, c,), |k, (mut a, mut c,)| { { a = dot(a, b); c += 1; } (a, c,) }); } }"
        )
    );
    assert_eq!(
        rewritten("{ for k in r { f(k); } g() }"),
        tokens("{ { __tw::for_loop(r, (), |k, ()| { f(k); }) } g() }")
    );
}

#[test]
fn a_branch_hands_on_value_and_variables() {
    assert_eq!(
        rewritten("{ let v = if c { a = 1; 2 } else { 3 }; }"),
        tokens(
            "{ let v = { let __value; (__value, (a,)) = __tw::if_else(c, (a,), |(mut a,)| ({ a = 1; 2 }, (a,)), \
             |(a,)| ({ 3 }, (a,))); __value }; }"
        )
    );
    assert_eq!(
        rewritten("{ if c { f() } }"),
        tokens("{ { __tw::if_else(c, (), |()| ({ f() }, ()), |()| ((), ())).0 } }")
    );
}

#[test]
fn what_leaves_early_stays_plain() {
    assert_eq!(
        rewritten("{ for k in r { if k > 1 { break; } } }"),
        tokens("{ for k in __tw::host_iter(r) { if __tw::host_bool(__tw::cmp_gt(&k, &1)) { break; } } }")
    );
    assert_eq!(
        rewritten("{ if let Some(x) = y && x { z = 1; } }"),
        tokens("{ if let Some(x) = y && x { z = 1; } }")
    );
    assert_eq!(rewritten("{ loop { break; } }"), tokens("{ loop { break; } }"));
}

#[test]
fn names_and_sugar_are_replaced() {
    assert_eq!(
        rewritten("{ let m = i * BM; zeros::<f32, (BM,)>(); assert!(BM < 3); }"),
        tokens("{ let m = i * __tw::dim::<BM>(); zeros::<f32, (BM,)>(); assert!(__tw::dim::<BM>() < 3); }")
    );
    assert_eq!(
        rewritten("{ x[(.., None)] * y[(None, .., None)] + z[(0, 1)] + w[2]; }"),
        tokens("{ x.expand_dims::<1>() * y.expand_dims::<0>().expand_dims::<2>() + z[(0, 1)] + w[2]; }")
    );
    assert_eq!(
        rewritten("{ a % 2 < b && c != d || e }"),
        tokens(
            "{ __tw::logic_or(__tw::logic_and(__tw::cmp_lt(&(a % 2), &b), || __tw::cmp_ne(&c, &d)), || e) }"
        )
    );
    assert_eq!(rewritten("{ fn inner() { if BM { a = 1 } } }"), tokens("{ fn inner() { if BM { a = 1 } } }"));
}

#[test]
fn deferred_initialisation_in_a_branch_is_a_mistake() {
    let found = mistakes("{ let x; if c { x = 1 } else { x = 2 } }");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("`x` has no value before this loop or branch"), "{}", found[0]);
    assert!(
        mistakes("{ let x; x = 1; if c { x = 2 } let y; match c { true => y = 1, false => y = 2 } }")
            .is_empty()
    );
}

#[test]
fn all_mistakes_come_at_once() {
    let attr = "spaec(BM: [1]), default(BM = 3), space(BN: [1, 2], QQ: [4]), facts(w: contiguous)";
    let item = "pub async fn k<'a, BM: Dim, BN: Dim>(x: &f32, y: View<f32>) -> u8 {}";
    let out =
        kernel_tokens(attr.parse().expect("should be tokens"), &item.parse().expect("should be tokens"))
            .to_string();
    for expected in [
        "did you mean `space`?",
        "cannot be `async`",
        "no lifetime parameters",
        "cannot be a reference",
        "needs an element type and a rank",
        "a kernel returns nothing",
        "`space` names `QQ`",
        "`BN` has no default",
        "`facts` names `w`",
    ] {
        assert!(out.contains(expected), "{expected} should be in {out}");
    }
}

#[test]
fn the_expansion_is_rust() {
    let attr = "space(BM: [64, 128], unroll: [1, 2]), knobs(stages: [2, 3]), default(BM = 128, unroll = 1), \
                legal = |s| BM * unroll < 200 && s.get(\"stages\") != None, types(T: [f32]), comptime(n: [1, 2]), facts(x: [contiguous, divisible(16)])";
    let item = "/// Doc.\npub fn k<T: Float, BM: Dim, const N: usize>(x: View<T, N>, y: ViewMut<T, 2>, s: Scalar<f32>, n: u8, unroll: usize) where T: Copy { if n == 1 { f(BM) } }";
    let out =
        kernel_tokens(attr.parse().expect("should be tokens"), &item.parse().expect("should be tokens"));
    syn::parse2::<syn::File>(out.clone()).unwrap_or_else(|e| panic!("{e}: {out}"));
    assert!(!out.to_string().contains("compile_error"), "{out}");
}

#[test]
fn a_helper_takes_no_arguments() {
    let out = device_fn_tokens(
        &"x".parse().expect("should be tokens"),
        &"fn f() {}".parse().expect("should be tokens"),
    );
    assert!(out.to_string().contains("takes no arguments"));
    let method = "pub fn f(&self, x: Scalar<i32>) { if x > 1 { g() } }";
    let out = device_fn_tokens(&TokenStream::new(), &method.parse().expect("should be tokens"));
    assert!(unspaced(&out.to_string()).contains("__tw::if_else(__tw::cmp_gt(&x,&1)"), "{out}");
}
