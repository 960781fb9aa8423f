use tilewright::prelude::*;

#[kernel(
    space(BM: [32, 64]),
    default(BM = 64),
    gpu(space(BM: [16, 32], warps: [4, 8]), default(BM = 64, warp = 8), types(T: [f32]), legal = 5),
)]
fn copy<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM,)>([0]));
}

#[kernel(space(BM: [32, 64]), gpu(space(unroll: [1, 2]), knobs(BM: [16])))]
fn copy_unrolled<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, unroll: usize) {
    for i in 0..unroll {
        y.store([i as i32], x.load::<(BM,)>([i as i32]));
    }
}

#[kernel(space(BM: [32, 64]), gpu(spcae(BM: [16])), gpu(space(BM: [32])))]
fn copy_twice<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM,)>([0]));
}

fn main() {}
