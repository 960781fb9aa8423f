//! A kernel may be declared where it is used, and called by path.

use tilewright::prelude as tw;

mod kernels {
    use tilewright::prelude::*;

    /// Copies a block.
    #[kernel(default(BM = 16))]
    pub fn copy<T: Elem, BM: Dim>(x: View<T, 1>, y: ViewMut<T, 1>) {
        let m = program_id(0) * BM;
        store_positive::<T, BM>(x, y, m);
    }

    #[device_fn]
    fn store_positive<T: Elem, BM: Dim>(x: View<T, 1>, y: ViewMut<T, 1>, m: Scalar<i32>) {
        if m >= 0 {
            y.store([m], x.load::<(BM,)>([m]));
        }
    }
}

fn main() {
    use tw::*;

    #[kernel(default(BM = 4))]
    fn fill<BM: Dim>(y: ViewMut<f32, 1>) {
        y.store([program_id(0) * BM], full::<f32, (BM,)>(1.0));
    }
    use kernels::copy;
    for kernel in [fill::kernel(), copy::kernel::<u8>(), kernels::copy::kernel::<bf16>()] {
        kernel.specialise(&kernel.default).unwrap_or_else(|e| panic!("{e}"));
    }
}
