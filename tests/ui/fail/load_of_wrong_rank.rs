use tilewright::prelude::*;

#[kernel]
fn row<BM: Dim>(x: View<f32, 2>, y: ViewMut<f32, 1>) {
    let tile = x.load::<(BM,)>([0, 0]);
    y.store([0], tile);
}

fn main() {}
