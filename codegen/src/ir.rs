//! The tile IR on one page.
//!
//! A kernel is a [`Func`]: SSA values in one arena, a tree of statements, regions for control flow.
//!
//! ```text
//! func  = "kernel" @name "(" param* ")" block
//! param = %v name ":" ("view" | "view_mut") "<" dtype "," rank ">" facts | %v name ":" dtype
//! block = "{" stmt* "yield" %v* "}"
//! stmt  = %v "=" op                                   a value: pure, or a read of memory
//!       | store | scatter | print | assert            effects
//!       | for | while | if                            regions; carried values in, results out
//! ```
//!
//! A value is a tile (`f32<64x32>`), a scalar (`i32`, a tile of rank 0) or a view (`view<f16, 2>`). Every extent is a number:
//! a function is one specialisation of the author's kernel. There is no notion of thread, register or shared memory here;
//! a program instance runs the statements one after another, and different instances may run in any order.

pub mod types;
pub mod ops;
pub mod func;
pub mod builder;

pub use func::{Block, Func, Param, Stmt, StmtKind, Value, ValueData, ViewFacts};
pub use ops::{ArgOp, BinaryOp, Const, Op, ReduceOp, TypeRule, UnaryOp};
pub use types::{DType, MAX_RANK, Shape, TileType, Type, ViewType};
