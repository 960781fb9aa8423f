use tilewright::prelude::*;

#[derive(Clone, Debug)]
struct Mode(f64);

#[kernel]
fn scale<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, mode: Mode) {
    y.store([0], x.load::<(BM,)>([0]) * mode.0 as f32);
}

fn main() {}
