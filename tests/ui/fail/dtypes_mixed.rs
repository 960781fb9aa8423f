use tilewright::prelude::*;

#[kernel]
fn sum<BM: Dim>(x: View<f32, 1>, w: View<f16, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM,)>([0]) + w.load::<(BM,)>([0]));
}

fn main() {}
