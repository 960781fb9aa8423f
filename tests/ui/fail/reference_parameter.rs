use tilewright::prelude::*;

#[kernel]
fn scale<BM: Dim>(x: &[f32], y: ViewMut<f32, 1>, factor: &f32) {
    y.store([0], full::<f32, (BM,)>(*factor * x[0]));
}

fn main() {}
