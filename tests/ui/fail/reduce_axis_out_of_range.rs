use tilewright::prelude::*;

#[kernel]
fn total<BM: Dim, BN: Dim>(x: View<f32, 2>, y: ViewMut<f32, 1>) {
    y.store([0], x.load::<(BM, BN)>([0, 0]).sum::<2>());
}

fn main() {}
