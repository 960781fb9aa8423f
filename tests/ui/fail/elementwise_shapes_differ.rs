use tilewright::prelude::*;

#[kernel]
fn sum<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    let a = x.load::<(BM, BN)>([0, 0]);
    let b = x.load::<(BN, BM)>([0, 0]);
    y.store([0, 0], a + b);
}

fn main() {}
