use tilewright::prelude::*;

#[kernel]
fn total<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    let acc = zeros::<f32, (BM,)>();
    for k in range(0, x.dim(0), BM) {
        acc = acc + x.load::<(BM,)>([k]);
    }
    y.store([0], acc);
}

fn main() {}
