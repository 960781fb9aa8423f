use tilewright::prelude::*;

#[kernel]
fn either<BM: Dim, BN: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, n: Scalar<i32>) {
    let tile = if n > 0 { x.load::<(BM,)>([0]) } else { x.load::<(BN,)>([0]) };
    y.store([0], tile);
}

fn main() {}
