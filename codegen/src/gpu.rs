//! The GPU level: tile programs with everything that a GPU makes explicit.
//!
//! Where the tile level says what is computed, this level says where it lies and who waits for whom: register tiles with a
//! layout, shared buffers with a swizzle, asynchronous copies, barriers, matrix instructions, warp roles. It is still typed by
//! tiles and still has a text form. Registers are variables, not SSA values, because matrix instructions accumulate in place
//! and a copy of an accumulator costs what the whole design saves.
//!
//! The invariant is that the CUDA writer decides nothing: each statement here has one way to be printed.
//!
//! ```text
//!   tile IR ──lower──▶ GPU level ──passes──▶ GPU level ──cuda::write──▶ CUDA C
//!            layouts,                barriers,
//!            operands,               shared memory plan
//!            pipelines
//! ```
//!
//! The text form on one page (`docs/gpu.md` shows it at work):
//!
//! ```text
//! func  = layout* "kernel" @name "(" param,* ")" "for" arch "warps" n
//!         ("cluster" n)? ("blocks" n)? ("shared" n)? "persistent"? "{" decl* stmt* "}"
//! layout = L0 "=" "layout" [extents] "register" (vector)* "lane" (vector)* "warp" (vector)* ("repeat" axis*)?
//! param = $v ":" type "contiguous"? ("divisible" n)? "small"?
//! type  = dtype | dtype "<" extents ">" L0 | "view" "<" dtype, rank ">" | "view_mut" "<" dtype, rank ">"
//! decl  = "map" ~0 "=" $param "box" [n,*] "swizzle" n
//!       | "buffer" #b ":" dtype rows "x" columns ("panels" n)? ("slots" n)? "pitch" n ("xor" shift mask)? "align" n "at" n
//!       | "mbarrier" &b "slots" n "arrivals" n ("bytes" n)? "at" n
//!       | "assertion" "message" | "var" $v ":" type           variables that nothing assigns
//! stmt  = $v (":" type)? "=" op                               the type where the text first assigns the variable
//!       | "for" $iv ":" i32 "=" $lo "to" $hi "step" $s block
//!       | "while" block "holds" $c "do" block | "if" $c block ("else" block)?
//!       | "roles" "{" ("role" name "warps" n "from" n ("active" n)? ("registers" n)? "releases"? block)* "}"
//!       | "store" window "=" $v ("vector" n)? | "scatter" $view[operand,*] ("mask" operand)? "=" operand
//!       | "print" "label" ("," $v)* | "assert" $c "," n | "barrier" id "threads" n
//!       | "to_shared" place(c, c) "=" $v ("vector" n)?
//!       | "copy_async" place "=" $view[$o,*] "rows" axis "columns" axis "bytes" n ("when" $c)?
//!       | "commit" | "wait_copies" n | "advance" $slot ("phase" $p)? "of" n
//!       | "dot" $acc "+=" place "k_rows"? "," place "k_rows"? "k" n
//!       | "dot_rows" $acc "+=" $a "," $b "rows" n "strides" (n, n) "lanes" [(n, n),*]
//!       | "mma" shape $acc "+=" matrix "," matrix "as" dtype "warps" (m, n) "extents" (m, n, k) "a_rows" n "b_rows" n
//!       | "wgmma" $acc "+=" matrix "," matrix "as" dtype "groups" n "n" n "extents" (m, n, k) ("accumulate" $c)?
//!       | "wgmma_fence" | "wgmma_commit" | "wgmma_wait" n ("done" $v,+)? | "store_matrix" #b ("panel" n)? "=" $v ("column" n)?
//!       | "settle" $v,+ | "turn" ("open" | "take" | "pass" | "close") "barriers" n
//!       | "init_barriers" | "cluster_sync" | "expect" &b[$slot] "bytes" n | "wait" &b[$slot]? "phase" $p | "arrive" &b[$slot]? "by" who
//!       | "tma_load" place "panel" n ("row" n | "to" "cluster")? "=" ~0($c,*) "signal" &b | "tma_store" ~0($c,*) "=" #b "panel" n "row" n
//!       | "wait_stores" ("read" | "complete") ("pending" n)? | "fence_async" | "grid_wait" | "grid_release"
//! op    = mnemonic operand,* for the elementwise rows of the op table, and "copy", "cast", "fma", "select"
//!       | "const" number ("as" dtype)? | "program_id" axis | "num_programs" axis | "cluster_id" | "num_clusters" | "cluster_rank" | "coord" c
//!       | "dim" $view "axis" n | "select_axis" $view "axis" n "at" $i | "permute_view" $view [axis,*]
//!       | "slice_axis" $view "axis" n "from" $s "len" $l
//!       | "load" window "pad" $p ("vector" n)? | "load_point" $view[$o,*] "pad" $p
//!       | "gather" $view[operand,*] ("mask" operand)? "pad" $p
//!       | "reduce" kind $v "axis" n ("scratch" #b)? | "arg_reduce" kind $v "axis" n ("values" #b)? ("positions" #b)?
//!       | "sum_partials" $v ("scratch" #b)? | "from_shared" place(c, c)
//! operand = $v ("{" (n | n "*" count | n ".." end),* "}")?    which register stands for each of the result's
//! window  = $view[$offset,*] ("(" c,* ")")?                   coordinates d0, d1, ... unless given
//! c       = d0 | 0 | "(" (c "*" n) "+" ... ")" ("/" n)? ("%" n)?
//! place   = #b[$slot]?          matrix = $v | place "k_rows"?
//! $v      = $7, or $acc.7 when the author named it `acc`; buffers `#x.3`, mbarriers `&full.0`; `@file:line:column` as in the IR
//! ```

pub mod blocked;
pub mod func;
pub mod lower;
pub mod memory;
pub mod ops;
pub mod parse;
pub mod passes;
pub mod print;
pub mod verify;
pub mod walk;

pub use func::{Block, GpuFunc, GpuParam, Var, VarData, VarType};
pub use lower::{ArgFacts, lower, lower_observed};
pub use memory::{BarrierId, Buffer, BufferId, Mbarrier, ParamMap, Swizzle, TensorMapId};
pub use ops::{
    Arrive, Coord, Filled, MatrixOperand, MatrixShape, Op, Operand, RegMap, Role, Stmt, StmtKind, Turn,
    Warpgroup,
};
pub use parse::parse;
pub use print::print;
pub use verify::verify;
