use tilewright::prelude::*;

#[kernel(space(BM: [32, 64], Bn: [32, 64], warps: [4, 8]))]
fn copy<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    y.store([0, 0], x.load::<(BM, BN)>([0, 0]));
}

fn main() {}
