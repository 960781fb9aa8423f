use tilewright::prelude::*;

#[kernel]
struct Total {
    n: usize,
}

fn main() {}
