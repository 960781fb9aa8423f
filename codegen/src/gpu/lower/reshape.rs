//! Casts of reshaped tiles become reshapes of cast tiles.
//!
//! A reshape is free where it stands next to the access that it renames, and no layout passes through one. So what is computed
//! between a product and a reshaped store is computed in the product's layout.

use std::collections::BTreeMap;

use crate::ir::{Block, Func, Op, Shape, Stmt, StmtKind, Type, Value};

/// Casts before reshaping, wherever the reshaped tile has no other reader.
pub(super) fn cast_before_reshape(func: &mut Func) {
    let mut counts = BTreeMap::new();
    count(&func.body, &mut counts);
    let mut body = std::mem::take(&mut func.body);
    block(func, &mut body, &counts);
    func.body = body;
}

fn count(block: &Block, counts: &mut BTreeMap<Value, usize>) {
    for stmt in &block.stmts {
        for v in stmt.kind.operands() {
            *counts.entry(v).or_insert(0) += 1;
        }
        stmt.kind.regions().into_iter().for_each(|region| count(region, counts));
    }
    for &v in &block.yields {
        *counts.entry(v).or_insert(0) += 1;
    }
}

fn block(func: &mut Func, block: &mut Block, counts: &BTreeMap<Value, usize>) {
    // Reshapes of this block that only one reader has: their source, and where they stand.
    let mut reshapes: BTreeMap<Value, (Value, Shape, usize)> = BTreeMap::new();
    let mut out: Vec<Stmt> = Vec::new();
    let mut dropped = Vec::new();
    for mut stmt in std::mem::take(&mut block.stmts) {
        match &mut stmt.kind {
            StmtKind::Let { value, op: Op::Reshape(x, shape) } if counts.get(value) == Some(&1) => {
                reshapes.insert(*value, (*x, *shape, out.len()));
            }
            StmtKind::Let { value, op: Op::Cast(r, dtype) } => {
                if let Some((x, shape, at)) = reshapes.remove(r)
                    && let Type::Tile(ty) = func.ty(x)
                    && ty.shape.rank() > 0
                    && shape.rank() > 0
                {
                    let ty = Type::Tile(crate::ir::TileType { dtype: *dtype, ..ty });
                    let cast = func.new_value(ty, stmt.loc);
                    out.push(Stmt {
                        kind: StmtKind::Let { value: cast, op: Op::Cast(x, *dtype) },
                        loc: stmt.loc,
                    });
                    stmt.kind = StmtKind::Let { value: *value, op: Op::Reshape(cast, shape) };
                    dropped.push(at);
                }
            }
            StmtKind::For { body, .. } => self::block(func, body, counts),
            StmtKind::While { cond, body, .. } => {
                self::block(func, cond, counts);
                self::block(func, body, counts);
            }
            StmtKind::If { then_block, else_block, .. } => {
                self::block(func, then_block, counts);
                self::block(func, else_block, counts);
            }
            StmtKind::Let { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. } => {}
        }
        out.push(stmt);
    }
    let mut at = 0;
    out.retain(|_| {
        at += 1;
        !dropped.contains(&(at - 1))
    });
    block.stmts = out;
}
