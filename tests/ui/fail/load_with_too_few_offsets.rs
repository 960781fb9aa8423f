use tilewright::prelude::*;

#[kernel]
fn row<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    y.store([0, 0], x.load::<(BM, BN)>([0]));
}

fn main() {}
