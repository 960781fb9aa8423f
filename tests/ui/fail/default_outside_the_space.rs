use tilewright::prelude::*;

#[kernel(space(BM: [32, 64]), default(BM = 48))]
fn copy<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM,)>([0]));
}

fn main() {}
