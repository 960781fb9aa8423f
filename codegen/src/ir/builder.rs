//! The current builder: running a kernel function appends to it.
//!
//! One builder per thread is current while [`build`] runs. Errors of numbers (an extent that does not divide, an illegal
//! element type) are collected as diagnostics at the author's location, and the operation yields a value of the promised
//! type all the same, so that one run reports every mistake.

use std::cell::RefCell;

use super::func::{Block, Func, Param, Stmt, StmtKind, Value, ViewFacts};
use super::ops::{Const, Op};
use super::types::{DType, Shape, TileType, Type};
use crate::diag::{Diagnostic, Diagnostics, Loc};

/// The most elements that a tile may have.
pub const MAX_TILE_ELEMENTS: usize = 1 << 24;

/// A function under construction.
struct Builder {
    func: Func,
    /// Innermost block last; the function's body is the first.
    blocks: Vec<Block>,
    dims: Vec<usize>,
    errors: Vec<Diagnostic>,
}

thread_local! {
    static CURRENT: RefCell<Vec<Builder>> = const { RefCell::new(Vec::new()) };
}

/// Runs `body` with a fresh current builder whose dimension parameters have the extents `dims`.
///
/// # Errors
/// Every diagnostic that `body` caused.
///
/// # Panics
/// If `body` leaves a region open, which the language's functions never do.
pub fn build(name: &str, dims: &[usize], body: impl FnOnce()) -> Result<Func, Diagnostics> {
    /// Removes the builder also when `body` unwinds.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            CURRENT.with_borrow_mut(Vec::pop);
        }
    }
    CURRENT.with_borrow_mut(|stack| {
        stack.push(Builder {
            func: Func::new(name),
            blocks: vec![Block::default()],
            dims: dims.to_vec(),
            errors: Vec::new(),
        });
    });
    let guard = Guard;
    body();
    let mut done = CURRENT.with_borrow_mut(|stack| {
        let top = stack.last_mut().expect("the builder pushed above should still be there");
        std::mem::replace(
            top,
            Builder { func: Func::new(name), blocks: Vec::new(), dims: Vec::new(), errors: Vec::new() },
        )
    });
    drop(guard);
    if !done.errors.is_empty() {
        return Err(Diagnostics(done.errors));
    }
    done.func.body = done.blocks.pop().expect("the body's block should be open");
    Ok(done.func)
}

fn with<R>(f: impl FnOnce(&mut Builder) -> R) -> R {
    CURRENT.with_borrow_mut(|stack| {
        f(stack.last_mut().expect(
            "tile operations should be called inside a kernel: no kernel is being specialised on this thread",
        ))
    })
}

/// The extent of dimension parameter `index` of the kernel being specialised, if it has that many.
#[must_use]
pub fn dim_extent(index: usize) -> Option<usize> {
    with(|b| b.dims.get(index).copied())
}

/// Records that something is wrong.
pub fn error(diagnostic: Diagnostic) {
    with(|b| b.errors.push(diagnostic));
}

/// Declares the next run-time parameter.
#[must_use]
pub fn param(name: &str, ty: Type, facts: ViewFacts, loc: Loc) -> Value {
    with(|b| {
        let value = b.func.new_value(ty, loc);
        b.func.values[value.index()].name = Some(name.to_owned());
        b.func.params.push(Param { name: name.to_owned(), value, facts });
        value
    })
}

/// The type of a value under construction.
#[must_use]
pub fn type_of(value: Value) -> Type {
    with(|b| b.func.ty(value))
}

/// Appends an operation that defines a value of type `ty`.
#[must_use]
pub fn define(op: Op, ty: Type, loc: Loc) -> Value {
    with(|b| {
        if let Some(t) = ty.tile() {
            let n = t.shape.to_vec().iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
            if n > MAX_TILE_ELEMENTS {
                b.errors.push(
                    Diagnostic::new(
                        loc,
                        format!(
                            "a tile of {} has {n} elements, over the limit of {MAX_TILE_ELEMENTS}",
                            t.shape
                        ),
                    )
                    .help("choose smaller extents in the schedule"),
                );
            }
        }
        let value = b.func.new_value(ty, loc);
        push(b, StmtKind::Let { value, op }, loc);
        value
    })
}

/// Appends an operation that defines a tile.
#[must_use]
pub fn define_tile(op: Op, dtype: DType, shape: Shape, loc: Loc) -> Value {
    define(op, Type::Tile(TileType::new(dtype, shape)), loc)
}

/// Appends a scalar constant.
#[must_use]
pub fn constant(dtype: DType, bits: u64, loc: Loc) -> Value {
    define_tile(Op::Const(Const { dtype, bits }), dtype, Shape::SCALAR, loc)
}

/// Appends a statement that defines nothing.
pub fn effect(kind: StmtKind, loc: Loc) {
    with(|b| push(b, kind, loc));
}

fn push(b: &mut Builder, kind: StmtKind, loc: Loc) {
    b.blocks.last_mut().expect("a block should be open").stmts.push(Stmt { kind, loc });
}

/// Opens a region whose parameters have the given types; returns the parameters.
#[must_use]
pub fn open_region(param_types: &[Type], loc: Loc) -> Vec<Value> {
    with(|b| {
        let params: Vec<Value> = param_types.iter().map(|&ty| b.func.new_value(ty, loc)).collect();
        b.blocks.push(Block { params: params.clone(), ..Block::default() });
        params
    })
}

/// Closes the innermost region, handing on `yields`.
///
/// # Panics
/// If no region is open.
#[must_use]
pub fn close_region(yields: Vec<Value>) -> Block {
    with(|b| {
        let mut block = b.blocks.pop().expect("a region should be open");
        block.yields = yields;
        block
    })
}

/// New values of the given types, to be the results of a region statement.
#[must_use]
pub fn results(types: &[Type], loc: Loc) -> Vec<Value> {
    with(|b| types.iter().map(|&ty| b.func.new_value(ty, loc)).collect())
}
