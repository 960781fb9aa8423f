//! Host values keep all of Rust: early exits, `if let`, labels, collections; everything is evaluated while specialising.

use tilewright::prelude::*;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Epilogue {
    Plain,
    Scaled(Vec<i32>),
}

#[kernel(space(BM: [8], unroll: [2]))]
fn host<BM: Dim>(
    x: View<f32, 1>,
    y: ViewMut<f32, 1>,
    epilogue: Epilogue,
    name: String,
    bias: Option<usize>,
    unroll: u32,
) {
    let mut tiles = Vec::new();
    'outer: for i in 0..10 {
        for j in 0..10 {
            if i * j > 6 {
                break 'outer;
            }
            if name == "even" && j % 2 == 1 {
                continue;
            }
            tiles.push(x.load::<(BM,)>([i + j]));
        }
    }
    let mut total = zeros::<f32, (BM,)>();
    let mut n = 0;
    while n < unroll {
        for &tile in &tiles {
            total += tile;
        }
        n += 1;
    }
    if let Some(bias) = bias
        && bias > 1
    {
        total = total + x.load::<(BM,)>([bias]);
    }
    match &epilogue {
        Epilogue::Plain => {}
        Epilogue::Scaled(factors) if factors.len() > 3 => total *= 0.5,
        Epilogue::Scaled(factors) => {
            for f in factors {
                total *= *f as f32;
            }
        }
    }
    assert!(n == unroll && BM % 8 == 0, "BM should be a multiple of 8, and is {}", BM);
    y.store([0], total);
}

fn main() {
    let kernel = host::kernel(Epilogue::Scaled(vec![2, 3]), "even".to_owned(), Some(2));
    kernel.specialise(&kernel.default).unwrap_or_else(|e| panic!("{e}"));
}
