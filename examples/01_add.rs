//! The smallest kernel: adds two vectors, one tile per program instance.
//!
//! New idea: a kernel is a Rust function over tiles; loads and stores at the ragged end are in bounds by construction.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use tilewright::prelude::*;

/// z = x + y for vectors of any length.
#[kernel(space(BN: [256, 1024, 4096]), default(BN = 1024))]
pub fn add<T: Float, BN: Dim>(x: View<T, 1>, y: View<T, 1>, z: ViewMut<T, 1>) {
    let at = program_id(0) * BN;
    z.store([at], x.load::<(BN,)>([at]) + y.load::<(BN,)>([at]));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = Device::cpu(0).stream();
    let n = 1_000_003;
    let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let y: Vec<f32> = (0..n).map(|i| 2.0 * i as f32).collect();
    let (x, y) = (Buffer::from_slice(&x)?, Buffer::from_slice(&y)?);
    let mut z = Buffer::<f32>::zeros(n)?;

    let schedule = Schedule::new(&[("BN", 4096)]);
    let programs = n.div_ceil(4096) as u32;
    add::launch::<f32>(&stream, &schedule, [programs, 1, 1], x.view([n])?, y.view([n])?, z.view_mut([n])?)?;

    let wrong = z.as_slice().iter().enumerate().filter(|&(i, &v)| v != 3.0 * i as f32).count();
    println!("added {n} elements, {wrong} wrong");
    assert_eq!(wrong, 0);
    Ok(())
}
