//! Every kernel of the registry against its f64 reference on the CPU: all element types, options and awkward shapes, under the
//! default schedule; and the same bits from any number of threads. `TILEWRIGHT_KERNEL=name` checks one.

#[path = "common/problems.rs"]
mod problems;

use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry;
use tilewright_runtime::Device;

fn check_dtype(dtype: &str) {
    problems::check_dtype(dtype, |case, stream, _| {
        let default = case.kernel().default.clone();
        problems::wrong(case, stream, &default).into_iter().collect()
    });
}

#[test]
fn every_kernel_matches_its_reference_in_f32() {
    check_dtype("f32");
}

#[test]
fn every_kernel_matches_its_reference_in_f32_with_bf16_weights() {
    check_dtype("f32_bf16");
}

#[test]
fn every_kernel_matches_its_reference_in_f32_with_f16_weights() {
    check_dtype("f32_f16");
}

#[test]
fn every_kernel_matches_its_reference_in_bf16() {
    check_dtype("bf16");
}

#[test]
fn every_kernel_matches_its_reference_in_f16() {
    check_dtype("f16");
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let streams = [1, 2, 3].map(|threads| Device::cpu(threads).stream());
    for entry in registry::all() {
        let shape = entry.test_shapes.last().expect("an entry should have a test shape");
        let params = CaseParams::new(entry.dtypes[0], shape);
        let mut case = entry.case(&params).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
        let schedule = case.kernel().default.clone();
        let bits = streams.each_ref().map(|stream| {
            case.check(stream, &schedule).unwrap_or_else(|e| panic!("{}: {e}", entry.name));
            case.outputs().concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        });
        assert!(
            bits.iter().all(|b| *b == bits[0]),
            "{} {shape:?} differs between numbers of threads",
            entry.name
        );
    }
}

#[test]
fn what_a_case_cannot_be_is_named() {
    let entry = registry::find("matmul").expect("matmul should be registered");
    let refused = |params: &CaseParams| entry.case(params).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(refused(&CaseParams::new("i8", &[1, 1, 1])).contains("element types `i8`"));
    assert!(refused(&CaseParams::new("f32", &[1, 1])).contains("each of m, n, k"));
    assert!(refused(&CaseParams::new("f32", &[1, 0, 1])).contains("[1, 0, 1]"));
    assert!(
        refused(&CaseParams::new("f32", &[1, 1, 1]).with_option("layout", "mn")).contains("known are nk, kn")
    );
}
