use tilewright::prelude::*;

#[kernel]
fn product<BM: Dim, BN: Dim, BK: Dim>(x: View<f16, 2>, w: View<f16, 2>, y: ViewMut<f32, 2>) {
    let a = x.load::<(BM, BK)>([0, 0]);
    let b = w.load::<(BK, BN)>([0, 0]);
    y.store([0, 0], dot(b, a, zeros::<f32, (BM, BN)>()));
}

fn main() {}
