use tilewright::prelude::*;

#[kernel(space(BM: [32, 64], BN: [32, 64]), default(BM = 64))]
fn copy<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    y.store([0, 0], x.load::<(BM, BN)>([0, 0]));
}

fn main() {}
