use tilewright::prelude::*;

#[kernel]
fn clear<BM: Dim>(x: View<f32, 1>) {
    x.store([0], zeros::<f32, (BM,)>());
}

fn main() {}
