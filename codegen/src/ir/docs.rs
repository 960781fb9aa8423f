//! The reference of the operations, `docs/ops.md`, written from the op tables.
//!
//! Elementwise operations and reductions come from their tables; the structural ones and the statements from the rows
//! here. [`structural_row`] and [`statement_row`] match every variant, so a new one cannot go undocumented.

use std::fmt::Write as _;

use super::func::StmtKind;
use super::ops::{ArgOp, BinaryOp, Op, ReduceOp, UnaryOp};

/// Documentation of one operation or statement.
pub struct Row {
    /// The name in IR text.
    pub mnemonic: &'static str,
    /// The text form; `%r: T =` stands for a definition.
    pub syntax: &'static str,
    /// Legal operand types and the result's.
    pub types: &'static str,
    /// What it does.
    pub doc: &'static str,
}

macro_rules! rows {
    ($(#[$meta:meta])* $table:ident, $(#[$fn_meta:meta])* $lookup:ident($on:ty) { $($pattern:pat => $mnemonic:literal, $syntax:literal, $types:literal, $doc:literal;)+ } else { $($other:tt)* }) => {
        $(#[$meta])*
        pub const $table: &[Row] =
            &[$(Row { mnemonic: $mnemonic, syntax: $syntax, types: $types, doc: $doc },)+];

        $(#[$fn_meta])*
        #[must_use]
        pub fn $lookup(of: &$on) -> Option<&'static Row> {
            let mnemonic = match of {
                $($pattern => $mnemonic,)+
                $($other)*
            };
            $table.iter().find(|row| row.mnemonic == mnemonic)
        }
    };
}

rows! {
    /// The operations that are not rows of an elementwise or reduction table.
    STRUCTURAL,
    /// The row of a structural operation; `None` for one that has a row in its own table.
    structural_row(Op) {
        Op::Const(_) => "const", "%r: T = const 1.5", "scalar of any element type",
            "A scalar constant. Floats are written as the shortest decimal that reads back exactly, `inf`, `-inf`, `nan`, or their bits as `0x7fc00001`.";
        Op::Arange { .. } => "arange", "%r: i32<N> = arange", "i32 tile of rank 1", "The positions 0, 1, ..., N - 1.";
        Op::ProgramId(_) => "program_id", "%r: i32 = program_id 0", "i32 scalar", "Index of this program instance along a grid axis, 0 to 2.";
        Op::NumPrograms(_) => "num_programs", "%r: i32 = num_programs 0", "i32 scalar", "Extent of the grid along an axis, 0 to 2.";
        Op::Fma(..) => "fma", "%r: T = fma %a, %b, %c", "f32, f16, bf16; three operands of one type", "`a * b + c`, rounded once.";
        Op::Select(..) => "select", "%r: T = select %cond, %a, %b", "bool and two operands of one type, all of one shape", "Per element `a` where the condition is true, else `b`.";
        Op::Cast(..) => "cast", "%r: T = cast %a", "any element type to any other; shape kept",
            "Conversion. To a float: round to nearest even. Float to integer: truncates toward zero and saturates, NaN to 0. Integer to integer: wraps. To bool: whether it is not 0. From bool: 0 or 1.";
        Op::Splat(..) => "splat", "%r: T<S> = splat %a", "a scalar of any element type", "The scalar in every element.";
        Op::Broadcast(..) => "broadcast", "%r: T<S> = broadcast %a", "any tile; the same rank", "Repeats axes of extent 1.";
        Op::ExpandDims(..) => "expand_dims", "%r: T<S> = expand_dims %a axis 0", "any tile of rank 0 to 3", "Inserts an axis of extent 1 before the given one.";
        Op::Squeeze(..) => "squeeze", "%r: T<S> = squeeze %a axis 0", "any tile", "Removes an axis of extent 1.";
        Op::Reshape(..) => "reshape", "%r: T<S> = reshape %a", "any tile; the same number of elements", "The same elements in row-major order under another shape.";
        Op::Permute(..) => "permute", "%r: T<S> = permute %a [1, 0]", "any tile", "Axis i of the result is axis perm[i] of the operand.";
        Op::Dot { .. } => "dot", "%r: T<MxN> = dot %a, %b, %acc", "floats (may differ) with f32 accumulator; i8 or u8 (may differ) with i32",
            "Matrix product plus accumulator: [M,K] x [K,N] + [M,N], or with one leading batch axis on all three.";
        Op::ViewDim(..) => "dim", "%r: i32 = dim %view axis 0", "any view", "Extent of an axis.";
        Op::ViewSelect(..) => "select_axis", "%r: view = select_axis %view axis 0 at %i", "a view of rank 2 or more; i32 index",
            "The view of one rank less at an index of an axis; an index out of bounds makes an empty view.";
        Op::ViewSlice(..) => "slice_axis", "%r: view = slice_axis %view axis 0 from %start len %n", "any view; i32 start and length",
            "The view from `start` of at most `n` elements along an axis, clipped to the bounds.";
        Op::ViewPermute(..) => "permute_view", "%r: view = permute_view %view [1, 0]", "any view", "The view with its axes rearranged as in `permute`.";
        Op::Load { .. } => "load", "%r: T<S> = load %view[%i, %j] pad %p", "i32 scalar offsets, one per axis; the view's rank, or rank 0",
            "A tile from element offsets; elements out of bounds read the padding.";
        Op::Gather { .. } => "gather", "%r: T<S> = gather %view[%i, %j] mask %m pad %p", "i32 index tiles of one shape, one per axis; optional bool mask",
            "Element `view[i, j]` per position; elements out of bounds or masked out read the padding.";
    } else {
        Op::Unary(..) | Op::Binary(..) | Op::Reduce(..) | Op::ArgReduce(..) => return None,
    }
}

rows! {
    /// The statements that do more than define a value.
    STATEMENTS,
    /// The row of a statement; `None` for one that defines a value by an operation.
    statement_row(StmtKind) {
        StmtKind::Store { .. } => "store", "store %view[%i, %j] = %a", "mutable view; i32 scalar offsets; a tile of the view's rank, or a scalar",
            "Writes the tile at element offsets; elements out of bounds are not written.";
        StmtKind::Scatter { .. } => "scatter", "scatter %view[%i, %j] = %a mask %m", "mutable view; i32 index tiles of one shape; optional bool mask",
            "Writes element `view[i, j]` per position; elements out of bounds or masked out are not written.";
        StmtKind::Print { .. } => "print", "print \"label\", %a", "tiles and scalars", "Writes the label and the values to the device log.";
        StmtKind::Assert { .. } => "assert", "assert %cond, \"message\"", "a bool tile or scalar", "Stops the launch with the message when any element is false.";
        StmtKind::For { .. } => "for", "%r: T = for %lo to %hi step %s with (%init) do (%i: i32, %c: T) { ... yield %next }", "i32 scalars; carried tiles and scalars",
            "The body for i = lo, lo + step, ... while i < hi; the step is positive.";
        StmtKind::While { .. } => "while", "%r: T = while with (%init) test (%c: T) { ... yield %go } do (%d: T) { ... yield %next }", "carried tiles and scalars; a bool scalar",
            "The body as long as the test yields true.";
        StmtKind::If { .. } => "if", "%r: T = if %cond then { ... yield %a } else { ... yield %b }", "a bool scalar; tiles and scalars", "One of two blocks.";
    } else {
        StmtKind::Let { .. } => return None,
    }
}

/// The whole reference, in Markdown.
#[must_use]
pub fn ops_markdown() -> String {
    let mut out = String::from(
        "# Operations of the tile IR\n\n\
         Written from the op tables in `codegen/src/ir`; `TILEWRIGHT_BLESS=1 cargo test --test filetests` writes it anew.\n\n\
         `T` is an element type, `S` a shape. A scalar is a tile of rank 0.\n",
    );
    let unary = UnaryOp::ALL.iter().map(|op| (op.mnemonic(), "%a", op.rule().words(), op.doc()));
    table(&mut out, "Elementwise, one operand", unary);
    let binary = BinaryOp::ALL.iter().map(|op| (op.mnemonic(), "%a, %b", op.rule().words(), op.doc()));
    table(&mut out, "Elementwise, two operands of one type", binary);
    let reduce = ReduceOp::ALL.iter().map(|op| (op.mnemonic(), "%a axis 0", op.rule().words(), op.doc()));
    table(&mut out, "Reductions; the axis is removed", reduce);
    let arg = ArgOp::ALL.iter().map(|op| (op.mnemonic(), "%a axis 0", op.rule().words(), op.doc()));
    table(&mut out, "Reductions that yield an i32 position; the axis is removed", arg);
    rows(&mut out, "Structure, views and memory", STRUCTURAL);
    rows(&mut out, "Statements", STATEMENTS);
    out
}

fn table<'a>(out: &mut String, title: &str, ops: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str)>) {
    let _ =
        write!(out, "\n## {title}\n\n| operation | text | element types | meaning |\n|---|---|---|---|\n");
    for (mnemonic, operands, types, doc) in ops {
        let _ = writeln!(out, "| `{mnemonic}` | `{mnemonic} {operands}` | {types} | {} |", doc.trim());
    }
}

fn rows(out: &mut String, title: &str, rows: &[Row]) {
    let _ = write!(out, "\n## {title}\n\n| operation | text | types | meaning |\n|---|---|---|---|\n");
    for Row { mnemonic, syntax, types, doc } in rows {
        let _ = writeln!(out, "| `{mnemonic}` | `{syntax}` | {types} | {doc} |");
    }
}
