//! Groups that go through rows block by block: when they do, and that nobody sees it.

use super::super::CpuProgram;
use super::super::micro::Isa;
use super::build::{Fb, TestArg, check};
use crate::ir::{BinaryOp, DType, Func, ReduceOp, UnaryOp};

/// A softmax of tiles of `bm` rows by `n` columns; `shares` also divides by the sum over the tile's columns, which crosses rows.
fn softmax(bm: usize, n: usize, shares: bool) -> Func {
    let mut b = Fb::new();
    let (x, y) = (b.view(DType::F32, 2, false), b.view(DType::F32, 2, true));
    let (m, step, zero) = (b.pid(0), b.int(bm as i32), b.int(0));
    let row = b.bin(BinaryOp::Mul, m, step);
    let t = b.load(x, &[row, zero], &[bm, n]);
    let by_row = |b: &mut Fb, op: BinaryOp, t, reduced| {
        let e = b.expand(reduced, 1);
        let e = b.broadcast(e, &[bm, n]);
        b.bin(op, t, e)
    };
    let top = b.reduce(ReduceOp::Max, t, 1);
    let t = by_row(&mut b, BinaryOp::Sub, t, top);
    let t = b.un(UnaryOp::Exp, t);
    let sum = b.reduce(ReduceOp::Sum, t, 1);
    let mut t = by_row(&mut b, BinaryOp::Div, t, sum);
    if shares {
        let sum = b.reduce(ReduceOp::Sum, t, 0);
        let sum = b.expand(sum, 0);
        let sum = b.broadcast(sum, &[bm, n]);
        t = b.bin(BinaryOp::Div, t, sum);
    }
    b.store(y, &[row, zero], t);
    b.finish()
}

fn listing(func: &Func) -> String {
    CpuProgram::compile(func, Isa::Portable).expect("should compile").listing()
}

#[test]
fn groups_of_one_row_space_are_a_chain_where_its_tile_is_large() {
    let text = listing(&softmax(16, 1024, false));
    assert!(text.contains("begins a chain of 3 groups in blocks of 2 rows"), "{text}");
    assert!(text.contains("of this block"), "{text}");
    // Two rows of 1024 are all there is to a block; a tile of 8 KiB has nothing to gain.
    assert!(!listing(&softmax(2, 1024, false)).contains("chain"));
    assert!(!listing(&softmax(64, 32, false)).contains("chain"));
}

#[test]
fn a_sum_over_rows_ends_a_chain() {
    let text = listing(&softmax(16, 1024, true));
    assert!(text.contains("begins a chain of 2 groups"), "{text}");
    for (bm, n) in [(16, 1024), (5, 700)] {
        let dims = [2 * bm as i64 + 1, n as i64];
        let args = [TestArg::dense(DType::F32, &dims, false), TestArg::dense(DType::F32, &dims, true)];
        check(&softmax(bm, n, true), &args, [3, 1, 1], 1e-5, 3);
    }
}

#[test]
fn rows_written_over_rows_still_to_be_read_are_read_first() {
    let (bm, n) = (8usize, 1100usize);
    let width = n as i64;
    // The kernel reads eight rows from the fourth of sixteen on, and writes eight from `first` on.
    for first in [0, 2, 3, 4, 8] {
        let (dims, strides) = (vec![13, width], vec![width, 1]);
        let x = TestArg::View { dtype: DType::F32, dims, strides, start: 3 * width, mutable: true };
        let y = TestArg::Same { of: 0, dims: vec![8, width], strides: vec![width, 1], start: first * width };
        check(&softmax(bm, n, false), &[x, y], [1, 1, 1], 1e-5, 4);
    }
}
