//! Functions of the tile IR: values, statements and regions.
//!
//! A [`Func`] owns one arena of values (type, source location, the author's name) and a tree of statements. A value is
//! defined once, by a parameter, a [`Stmt`] or a region's parameter, and is visible from its definition to the end of the
//! enclosing block, inner regions included. Regions take their loop-carried values as block parameters and hand them on as `yields`.

use std::fmt;

use super::ops::Op;
use super::types::{Type, ViewType};
use crate::diag::Loc;

/// Handle of an SSA value; prints as in the text, `%7`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

impl Value {
    /// The index in [`Func::values`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the function knows of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Where the author wrote the operation.
    pub loc: Loc,
    /// The author's variable name, if it has one.
    pub name: Option<String>,
}

/// Facts about a view parameter that a launch checks and a target may rely on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ViewFacts {
    /// The stride of the last axis is 1.
    pub contiguous: bool,
    /// The base address in elements, every extent of the last axis and every other stride are multiples of this (1: nothing known).
    pub divisible: u32,
}

impl Default for ViewFacts {
    fn default() -> Self {
        Self { contiguous: false, divisible: 1 }
    }
}

/// A run-time parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// The author's name.
    pub name: String,
    /// The value inside the function; its type is a view or a scalar.
    pub value: Value,
    /// Facts, when the parameter is a view.
    pub facts: ViewFacts,
}

/// A straight line of statements with its parameters and the values that it hands on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// Values defined on entry (induction variable and carried values).
    pub params: Vec<Value>,
    /// Statements in execution order.
    pub stmts: Vec<Stmt>,
    /// Values handed to the next iteration or to the statement's results.
    pub yields: Vec<Value>,
}

/// One statement and where the author wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where the author wrote it.
    pub loc: Loc,
}

/// What a statement does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StmtKind {
    /// Defines `value` by a pure or memory-reading operation.
    Let {
        /// The value defined.
        value: Value,
        /// How.
        op: Op,
    },
    /// `store`: writes a tile (or a scalar at a point) at element offsets; elements out of bounds are not written.
    Store {
        /// Target view, mutable.
        view: Value,
        /// Element offset per axis of the view, i32.
        offsets: Vec<Value>,
        /// Tile of the view's rank and element type, or a scalar.
        value: Value,
    },
    /// `scatter`: writes `view[i0, i1, ...] = value` for index tiles of one shape; elements out of bounds or masked out are not written.
    Scatter {
        /// Target view, mutable.
        view: Value,
        /// One i32 index tile per axis of the view.
        indices: Vec<Value>,
        /// Tile of the indices' shape.
        value: Value,
        /// Optional bool tile; false elements are not written.
        mask: Option<Value>,
    },
    /// `print`: writes a label and values to the device log.
    Print {
        /// Text before the values.
        label: String,
        /// Tiles or scalars.
        values: Vec<Value>,
    },
    /// `assert`: stops the launch with the message when any element of the condition is false.
    Assert {
        /// Bool tile or scalar.
        cond: Value,
        /// Text of the error.
        message: String,
    },
    /// `for`: the body for `iv = lo, lo + step, ...` while `iv < hi`.
    For {
        /// First value, i32.
        lo: Value,
        /// Bound, exclusive, i32.
        hi: Value,
        /// Step, i32, positive.
        step: Value,
        /// Initial carried values.
        inits: Vec<Value>,
        /// Parameters: the induction variable, then the carried values; yields the next carried values.
        body: Block,
        /// Carried values after the loop.
        results: Vec<Value>,
    },
    /// `while`: the body as long as the condition holds.
    While {
        /// Initial carried values.
        inits: Vec<Value>,
        /// Parameters: the carried values; yields one bool scalar.
        cond: Block,
        /// Parameters: the carried values; yields the next carried values.
        body: Block,
        /// Carried values after the loop.
        results: Vec<Value>,
    },
    /// `if`: one of two blocks.
    If {
        /// Bool scalar.
        cond: Value,
        /// No parameters; yields the results.
        then_block: Block,
        /// No parameters; yields the results.
        else_block: Block,
        /// Values after the statement.
        results: Vec<Value>,
    },
}

impl StmtKind {
    /// Values that the statement reads itself, not those of its regions.
    pub fn for_each_operand_mut(&mut self, mut f: impl FnMut(&mut Value)) {
        match self {
            Self::Let { value: _, op } => op.for_each_operand_mut(f),
            Self::Store { view, offsets, value } => {
                f(view);
                offsets.iter_mut().for_each(&mut f);
                f(value);
            }
            Self::Scatter { view, indices, value, mask } => {
                f(view);
                indices.iter_mut().for_each(&mut f);
                f(value);
                mask.iter_mut().for_each(&mut f);
            }
            Self::Print { label: _, values } => values.iter_mut().for_each(f),
            Self::Assert { cond, message: _ } => f(cond),
            Self::For { lo, hi, step, inits, body: _, results: _ } => {
                f(lo);
                f(hi);
                f(step);
                inits.iter_mut().for_each(f);
            }
            Self::While { inits, cond: _, body: _, results: _ } => inits.iter_mut().for_each(f),
            Self::If { cond, then_block: _, else_block: _, results: _ } => f(cond),
        }
    }

    /// The regions, in order.
    #[must_use]
    pub fn regions(&self) -> Vec<&Block> {
        match self {
            Self::For { body, .. } => vec![body],
            Self::While { cond, body, .. } => vec![cond, body],
            Self::If { then_block, else_block, .. } => vec![then_block, else_block],
            Self::Let { .. }
            | Self::Store { .. }
            | Self::Scatter { .. }
            | Self::Print { .. }
            | Self::Assert { .. } => Vec::new(),
        }
    }

    /// The regions, in order, to change.
    pub fn regions_mut(&mut self) -> Vec<&mut Block> {
        match self {
            Self::For { body, .. } => vec![body],
            Self::While { cond, body, .. } => vec![cond, body],
            Self::If { then_block, else_block, .. } => vec![then_block, else_block],
            Self::Let { .. }
            | Self::Store { .. }
            | Self::Scatter { .. }
            | Self::Print { .. }
            | Self::Assert { .. } => Vec::new(),
        }
    }

    /// Values that the statement defines for what follows it.
    #[must_use]
    pub fn results(&self) -> Vec<Value> {
        match self {
            Self::Let { value, .. } => vec![*value],
            Self::For { results, .. } | Self::While { results, .. } | Self::If { results, .. } => {
                results.clone()
            }
            Self::Store { .. } | Self::Scatter { .. } | Self::Print { .. } | Self::Assert { .. } => {
                Vec::new()
            }
        }
    }

    /// The values that the statement reads itself, not those of its regions.
    #[must_use]
    pub fn operands(&self) -> Vec<Value> {
        let mut out = Vec::new();
        match self {
            Self::Let { op, .. } => return op.operands(),
            Self::Store { view, offsets, value } => {
                out.push(*view);
                out.extend(offsets);
                out.push(*value);
            }
            Self::Scatter { view, indices, value, mask } => {
                out.push(*view);
                out.extend(indices);
                out.push(*value);
                out.extend(mask);
            }
            Self::Print { values, .. } => out.extend(values),
            Self::Assert { cond, .. } | Self::If { cond, .. } => out.push(*cond),
            Self::For { lo, hi, step, inits, .. } => {
                out.extend([*lo, *hi, *step]);
                out.extend(inits);
            }
            Self::While { inits, .. } => out.extend(inits),
        }
        out
    }

    /// Whether executing the statement, regions included, may write device memory or end the launch.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        match self {
            Self::Let { .. } => false,
            Self::Store { .. } | Self::Scatter { .. } | Self::Print { .. } | Self::Assert { .. } => true,
            // A while loop may not end, so it counts as an effect of its own.
            Self::While { .. } => true,
            Self::For { .. } | Self::If { .. } => {
                self.regions().iter().any(|b| b.stmts.iter().any(|s| s.kind.has_effect()))
            }
        }
    }
}

/// A kernel at the tile level, specialised: every extent is a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Func {
    /// The kernel's name.
    pub name: String,
    /// Run-time parameters in launch order.
    pub params: Vec<Param>,
    /// Arena of values, indexed by [`Value`].
    pub values: Vec<ValueData>,
    /// The body; it has no parameters and no yields.
    pub body: Block,
}

impl Func {
    /// A function without parameters or statements.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), params: Vec::new(), values: Vec::new(), body: Block::default() }
    }

    /// The type of `v`.
    ///
    /// # Panics
    /// If `v` does not belong to this function.
    #[must_use]
    pub fn ty(&self, v: Value) -> Type {
        self.values[v.index()].ty
    }

    /// The tile type of `v`.
    ///
    /// # Panics
    /// If `v` is a view.
    #[must_use]
    pub fn tile_ty(&self, v: Value) -> super::types::TileType {
        self.ty(v).tile().expect("the value should be a tile")
    }

    /// The view type of `v`.
    ///
    /// # Panics
    /// If `v` is a tile.
    #[must_use]
    pub fn view_ty(&self, v: Value) -> ViewType {
        self.ty(v).view().expect("the value should be a view")
    }

    /// A new value; the caller places its definition.
    ///
    /// # Panics
    /// If there are 2^32 values already.
    pub fn new_value(&mut self, ty: Type, loc: Loc) -> Value {
        let v =
            Value(u32::try_from(self.values.len()).expect("a function should have fewer than 2^32 values"));
        self.values.push(ValueData { ty, loc, name: None });
        v
    }
}
