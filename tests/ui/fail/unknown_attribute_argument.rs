use tilewright::prelude::*;

#[kernel(spaec(BM: [32, 64]), defaults(BM = 32), size = 3)]
fn copy<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM,)>([0]));
}

fn main() {}
