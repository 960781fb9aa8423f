use tilewright::prelude::*;

#[kernel]
fn either<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, n: Scalar<i32>) {
    let tile;
    if n > 0 {
        tile = x.load::<(BM,)>([0]);
    } else {
        tile = zeros::<f32, (BM,)>();
    }
    y.store([0], tile);
}

fn main() {}
