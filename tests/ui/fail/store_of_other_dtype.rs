use tilewright::prelude::*;

#[kernel]
fn narrow<BM: Dim>(x: View<f32, 1>, y: ViewMut<f16, 1>) {
    y.store([0], x.load::<(BM,)>([0]));
}

fn main() {}
