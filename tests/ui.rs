//! What rustc and the macro tell the author of a kernel: one file per mistake, named for it, beside the messages it gives.
//!
//! Every message must point at the author's token and use the language's words. Kernels under `pass` compile, and specialise
//! when run.

#[test]
fn mistakes_are_explained_where_they_are_made() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
