//! Where a program instance stands in the grid, and integer helpers for tiling.

use super::memory::IntoIndex;
use super::value::{IrValue, Scalar, define};
use crate::diag::{Diagnostic, Loc};
use crate::ir::{BinaryOp, Op, builder};

fn check_axis(axis: usize, loc: Loc) -> u8 {
    if axis > 2 {
        builder::error(
            Diagnostic::new(loc, format!("grid axis {axis} is out of range"))
                .help("a grid has axes 0, 1 and 2"),
        );
    }
    axis.min(2) as u8
}

/// Index of this program instance along a grid axis (0 to 2).
#[must_use]
#[track_caller]
pub fn program_id(axis: usize) -> Scalar<i32> {
    let loc = Loc::caller();
    define(Op::ProgramId(check_axis(axis, loc)), loc)
}

/// Extent of the grid along an axis (0 to 2).
#[must_use]
#[track_caller]
pub fn num_programs(axis: usize) -> Scalar<i32> {
    let loc = Loc::caller();
    define(Op::NumPrograms(check_axis(axis, loc)), loc)
}

/// `a / b` rounded up, for non-negative `a` and positive `b`.
#[must_use]
#[track_caller]
pub fn cdiv(a: impl IntoIndex, b: impl IntoIndex) -> Scalar<i32> {
    let loc = Loc::caller();
    let (a, b) = (a.into_index(loc), b.into_index(loc));
    (a + b - 1) / b
}

/// The tile (row, column) of program `pid` in a raster that runs down `group` rows of tiles before it moves a column on.
///
/// Programs that run at the same time then share operand tiles in the cache. `rows` and `columns` count tiles.
#[must_use]
#[track_caller]
pub fn grouped_2d(
    pid: Scalar<i32>,
    rows: impl IntoIndex,
    columns: impl IntoIndex,
    group: impl IntoIndex,
) -> (Scalar<i32>, Scalar<i32>) {
    let loc = Loc::caller();
    let (rows, columns, group) = (rows.into_index(loc), columns.into_index(loc), group.into_index(loc));
    let per_group = group * columns;
    let first_row = pid / per_group * group;
    let left = rows - first_row;
    let height: Scalar<i32> = define(Op::Binary(BinaryOp::Min, left.raw(), group.raw()), loc);
    let within = pid % per_group;
    (first_row + within % height, within / height)
}
