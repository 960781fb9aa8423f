use tilewright::prelude::*;

#[kernel]
fn copy<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 2>) {
    let tile = x.load::<(BM, BN)>([0, 0]);
    y.store(tile, [0, 0]);
}

fn main() {}
