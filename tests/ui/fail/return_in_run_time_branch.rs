use tilewright::prelude::*;

#[kernel]
fn guarded<BM: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>) {
    if program_id(0) > 3 {
        return;
    }
    y.store([0], x.load::<(BM,)>([0]));
}

fn main() {}
