//! What the author is told when a kernel is right in its types and wrong in its numbers.
//!
//! One kernel per mistake; each message names the author's file, line and column and uses the language's words.

use tilewright::prelude::*;

/// Extents that make the mistake, by name.
fn message(kernel: &Kernel, extents: &[(&str, i64)]) -> String {
    let error = kernel.specialise(&Schedule::new(extents)).expect_err("the kernel should not specialise");
    error.to_string()
}

#[kernel]
fn fold_rows<BM: Dim, BN: Dim>(x: View<f32, 1>, y: ViewMut<f32, 2>) {
    let flat = x.load::<(BM,)>([0]);
    y.store([0, 0], flat.reshape::<(BN, C<8>)>());
}

#[test]
fn reshape_of_other_size() {
    insta::assert_snapshot!("reshape_of_other_size", message(&fold_rows::kernel(), &[("BM", 60), ("BN", 8)]));
}

#[kernel]
fn halve<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(Half<BM>,)>([0]));
}

#[test]
fn half_of_an_odd_extent() {
    insta::assert_snapshot!("half_of_an_odd_extent", message(&halve::kernel(), &[("BM", 7)]));
}

#[kernel(default(BM = 64, BN = 32))]
fn copy<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    let tile = x.load::<(BM, BN)>([0, 0]);
    y.store([0, 0], tile);
}

#[test]
fn tile_too_large() {
    insta::assert_snapshot!("tile_too_large", message(&copy::kernel(), &[("BM", 8192), ("BN", 4096)]));
}

#[test]
fn dimension_without_extent() {
    insta::assert_snapshot!("dimension_without_extent", message(&copy::kernel(), &[("BM", 64)]));
}

#[test]
fn extent_not_positive() {
    insta::assert_snapshot!("extent_not_positive", message(&copy::kernel(), &[("BM", -1), ("BN", 0)]));
}

#[kernel]
fn axes<BM: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    let rows = x.dim(2);
    let turned = x.permute([1, 1]);
    y.store([rows, program_id(3)], turned.load::<(BM, BM)>([0, 0]).permute::<P2<0, 0>>());
}

#[test]
fn axes_out_of_range() {
    insta::assert_snapshot!("axes_out_of_range", message(&axes::kernel(), &[("BM", 8)]));
}

#[kernel(space(unroll: [1, 300]))]
fn unrolled<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, unroll: u8) {
    for i in 0..unroll {
        y.store([i32::from(i)], x.load::<(BM,)>([0]));
    }
}

#[test]
fn tunable_that_does_not_fit() {
    insta::assert_snapshot!(
        "tunable_that_does_not_fit",
        message(&unrolled::kernel(), &[("BM", 16), ("unroll", 300)])
    );
}

#[test]
fn tunable_without_value() {
    insta::assert_snapshot!("tunable_without_value", message(&unrolled::kernel(), &[("BM", 16)]));
}

#[kernel]
fn particular<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    assert!(BM % 16 == 0, "BM should be a multiple of 16, and is {}", BM);
    y.store([0], x.load::<(BM,)>([0]));
}

#[test]
fn assertion_of_the_author() {
    insta::assert_snapshot!("assertion_of_the_author", message(&particular::kernel(), &[("BM", 24)]));
}

#[device_fn]
#[track_caller]
fn folded<M: Dim, N: Dim>(x: Tile<f32, (M, N)>) -> Tile<f32, (Prod<M, N>, C<2>)> {
    x.reshape()
}

#[kernel]
fn through_a_helper<BM: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    y.store([0, 0], folded(x.load::<(BM, BM)>([0, 0])));
}

#[test]
fn mistake_in_a_helper() {
    insta::assert_snapshot!("mistake_in_a_helper", message(&through_a_helper::kernel(), &[("BM", 4)]));
}

#[test]
fn a_launch_names_kernel_and_schedule() {
    use tilewright::codegen::error::LaunchError;
    let (kernel, schedule) = ("copy", Schedule::new(&[("BM", 64)]));
    let diagnostics = copy::kernel().specialise(&schedule).expect_err("BN is missing");
    let error = LaunchError::Specialisation { kernel, schedule, diagnostics };
    insta::assert_snapshot!("a_launch_names_kernel_and_schedule", error);
}
