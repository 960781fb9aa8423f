//! Loops and branches over run-time values, with carried variables, nesting and shadowing.

use tilewright::prelude::*;

#[kernel(default(BM = 8))]
fn collatz<BM: Dim>(x: View<i32, 1>, y: ViewMut<i32, 1>, limit: Scalar<i32>) {
    let mut acc = zeros::<i32, (BM,)>();
    let mut steps = scalar(0);
    for k in range(0, x.dim(0), BM) {
        let mut n = x.get([k]);
        while n > 1 && steps < limit {
            n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 };
            steps += 1;
            if n > 100 {
                let acc = acc + 1;
                y.store([k], acc);
            } else if n == 50 {
                acc += x.load::<(BM,)>([k]);
            }
        }
    }
    y.store([steps], acc);
}

fn main() {
    let kernel = collatz::kernel();
    kernel.specialise(&kernel.default).unwrap_or_else(|e| panic!("{e}"));
}
