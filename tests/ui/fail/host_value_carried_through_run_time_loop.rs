use tilewright::prelude::*;

#[kernel]
fn count<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    let mut n = 0i32;
    for k in range(0, x.dim(0), BM) {
        y.store([n], x.load::<(BM,)>([k]));
        n += 1;
    }
}

fn main() {}
