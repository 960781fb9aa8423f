use tilewright::prelude::*;

#[kernel]
fn scale<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, factor: f32) {
    y.store([0], x.load::<(BM,)>([0]) * factor);
}

fn main() {}
