use tilewright::prelude::*;

#[kernel]
fn activation<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    let tile = x.load::<(BM,)>([0]);
    y.store([0], tile.softmax());
}

fn main() {}
