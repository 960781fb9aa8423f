use tilewright::prelude::*;

#[kernel]
fn total<BM: Dim>(x: View<f32, 1>) -> Scalar<f32> {
    x.load::<(BM,)>([0]).sum::<0>().item()
}

fn main() {}
