//! A schedule never changes meaning: random legal schedules of every kernel, on all its problems, stay within the kernel's stated
//! tolerance of the f64 reference, as the default does. The points are the same in every run. `TILEWRIGHT_KERNEL=name` checks one.

#[path = "common/problems.rs"]
mod problems;

use tilewright_codegen::schedule::{Schedule, Space};

/// Random schedules per problem.
const SCHEDULES: usize = 2;

/// A few random legal points of a space; fewer where it is small.
fn random_points(space: &Space, default: &Schedule, seed: usize) -> Vec<Schedule> {
    let mut state = seed as u64 * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % space.grid_len()
    };
    let legal = (0..50).filter_map(|_| space.point(next())).filter(|point| point != default);
    legal.take(SCHEDULES).collect()
}

fn check_dtype(dtype: &str) {
    problems::check_dtype(dtype, |case, stream, seed| {
        let (space, default) = (case.kernel().knobs.clone(), case.kernel().default.clone());
        let points = random_points(&space, &default, seed);
        points.iter().filter_map(|point| problems::wrong(case, stream, point)).collect()
    });
}

#[test]
fn random_schedules_agree_in_f32() {
    check_dtype("f32");
}

#[test]
fn random_schedules_agree_in_f32_with_bf16_weights() {
    check_dtype("f32_bf16");
}

#[test]
fn random_schedules_agree_in_f32_with_f16_weights() {
    check_dtype("f32_f16");
}

#[test]
fn random_schedules_agree_in_bf16() {
    check_dtype("bf16");
}

#[test]
fn random_schedules_agree_in_f16() {
    check_dtype("f16");
}
