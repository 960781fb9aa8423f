//! The tile IR on one page.
//!
//! A kernel is a [`Func`]: SSA values in one arena, a tree of statements, regions for control flow.
//!
//! ```text
//! func  = "kernel" @name "(" param,* ")" block
//! param = %v ":" type "contiguous"? ("divisible" n)?  the facts are of views
//! def   = %v ":" type
//! block = ("(" def,* ")")? "{" stmt* ("yield" %v,*)? "}"
//! stmt  = def "=" op                                  a value: pure, or a read of memory
//!       | "store" %view[%i,*] "=" %v                  effects
//!       | "scatter" %view[%i,*] "=" %v ("mask" %m)?
//!       | "print" "label" ("," %v)* | "assert" %c "," "message"
//!       | (def,* "=")? "for" %lo "to" %hi "step" %s ("with" "(" %init,* ")")? "do" block
//!       | (def,* "=")? "while" ("with" "(" %init,* ")")? "test" block "do" block
//!       | (def,* "=")? "if" %c "then" block ("else" block)?
//! op    = mnemonic, then what the table of `docs/ops.md` says
//! %v    = %7, or %acc.7 when the author named it `acc`: the number alone identifies the value
//! ```
//!
//! Carried values enter a loop by `with`, are the parameters of its blocks (after the induction variable of `for`), are handed
//! on by `yield` and leave as the definitions before `=`. A location `@file.rs:line:column` may follow the type of a
//! definition and the operands of a statement; a definition without one has that of its statement.
//!
//! A value is a tile (`f32<64x32>`), a scalar (`i32`, a tile of rank 0) or a view (`view<f16, 2>`). Every extent is a number:
//! a function is one specialisation of the author's kernel. There is no notion of thread, register or shared memory here;
//! a program instance runs the statements one after another, and different instances may run in any order.

pub(crate) mod arithmetic;
pub mod builder;
pub mod docs;
pub mod func;
pub mod number;
pub mod ops;
pub mod parse;
pub mod print;
pub mod types;
pub mod verify;
pub mod walk;

pub use func::{Block, Func, Param, Stmt, StmtKind, Value, ValueData, ViewFacts};
pub use ops::{ArgOp, BinaryOp, Const, Op, ReduceOp, TypeRule, UnaryOp};
pub use parse::{ParseError, parse};
pub use print::print;
pub use types::{DType, MAX_RANK, Shape, TileType, Type, ViewType};
pub use verify::{Facts, verify};
