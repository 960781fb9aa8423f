//! Division of a tile by a number per row, where 16 bits are kept of the quotient: one reciprocal per row, and products.
//!
//! A division that is rounded correctly is a dozen instructions and a branch. The product with a reciprocal is wrong by at most
//! two units in the last place of f32, of which 16 bits show nothing but a rare other way of rounding.

use std::collections::BTreeMap;

use super::plan::definitions;
use crate::ir::walk::for_each_stmt;
use crate::ir::{BinaryOp, Block, Const, DType, Func, Op, Stmt, StmtKind, TileType, Type, Value};

/// Multiplies by reciprocals of rows instead of dividing, wherever the only reader casts the quotient to 16 bits.
pub(super) fn divide_by_rows(func: &mut Func) {
    let defs = definitions(func);
    let mut readers: BTreeMap<Value, (usize, bool)> = BTreeMap::new();
    for_each_stmt(&func.body, &mut |stmt| {
        let narrows = matches!(&stmt.kind, StmtKind::Let { op: Op::Cast(_, DType::F16 | DType::BF16), .. });
        for v in stmt.kind.operands() {
            let entry = readers.entry(v).or_insert((0, true));
            *entry = (entry.0 + 1, entry.1 && narrows);
        }
        for region in stmt.kind.regions() {
            for &v in &region.yields {
                readers.insert(v, (2, false));
            }
        }
    });
    let wanted = |v: Value| readers.get(&v) == Some(&(1, true));
    let mut body = std::mem::take(&mut func.body);
    block(func, &mut body, &defs, &wanted);
    func.body = body;
}

fn block(func: &mut Func, block: &mut Block, defs: &BTreeMap<Value, Op>, wanted: &impl Fn(Value) -> bool) {
    let mut out = Vec::new();
    for mut stmt in std::mem::take(&mut block.stmts) {
        if let StmtKind::Let { value, op: Op::Binary(BinaryOp::Div, x, y) } = &stmt.kind
            && wanted(*value)
            && let Some((rows, axis)) = rows_of(func, defs, *y)
        {
            let (value, x, y) = (*value, *x, *y);
            let mut add = |func: &mut Func, ty: TileType, op: Op| {
                let new = func.new_value(Type::Tile(ty), stmt.loc);
                out.push(Stmt { kind: StmtKind::Let { value: new, op }, loc: stmt.loc });
                new
            };
            let (of_rows, whole) = (func.tile_ty(rows), func.tile_ty(y));
            let one = Const { dtype: DType::F32, bits: u64::from(1f32.to_bits()) };
            let scalar = TileType { shape: crate::ir::Shape::new(&[]), ..of_rows };
            let one = add(func, scalar, Op::Const(one));
            let ones = add(func, of_rows, Op::Splat(one, of_rows.shape));
            let reciprocal = add(func, of_rows, Op::Binary(BinaryOp::Div, ones, rows));
            let mut column = whole.shape.to_vec();
            column[usize::from(axis)] = 1;
            let column = TileType { shape: crate::ir::Shape::new(&column), ..whole };
            let column = add(func, column, Op::ExpandDims(reciprocal, axis));
            let factor = add(func, whole, Op::Broadcast(column, whole.shape));
            stmt.kind = StmtKind::Let { value, op: Op::Binary(BinaryOp::Mul, x, factor) };
        }
        match &mut stmt.kind {
            StmtKind::For { body, .. } => self::block(func, body, defs, wanted),
            StmtKind::While { cond, body, .. } => {
                self::block(func, cond, defs, wanted);
                self::block(func, body, defs, wanted);
            }
            StmtKind::If { then_block, else_block, .. } => {
                self::block(func, then_block, defs, wanted);
                self::block(func, else_block, defs, wanted);
            }
            StmtKind::Let { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. } => {}
        }
        out.push(stmt);
    }
    block.stmts = out;
}

/// The vector of f32 that `y` repeats along one axis of a matrix, and that axis.
fn rows_of(func: &Func, defs: &BTreeMap<Value, Op>, y: Value) -> Option<(Value, u8)> {
    let Some(Op::Broadcast(column, shape)) = defs.get(&y) else { return None };
    let Some(Op::ExpandDims(rows, axis)) = defs.get(column) else { return None };
    let ty = func.ty(*rows).tile()?;
    let is_repeated = shape.rank() == 2 && shape.dim(usize::from(*axis)) > 1;
    (ty.dtype == DType::F32 && ty.shape.rank() == 1 && is_repeated).then_some((*rows, *axis))
}
