//! Each mistake gives one message, and the callers of the kernel give none.

use tilewright::prelude::*;

#[kernel(space(BM: [0, 64], QQ: [1]), facts(z: contiguous))]
pub async fn wrong<'a, T: Float, BM: Dim>(x: View<T>, (a, b): (u8, u8), y: ViewMut<T, 2>) -> u8 {}

fn main() {
    let _ = wrong::kernel::<f32>();
}
