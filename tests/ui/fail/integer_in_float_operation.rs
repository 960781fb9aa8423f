use tilewright::prelude::*;

#[kernel]
fn power<BM: Dim>(x: View<i32, 1>, y: ViewMut<i32, 1>) {
    y.store([0], exp(x.load::<(BM,)>([0])));
}

fn main() {}
