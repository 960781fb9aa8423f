//! Type rules of the operations: from operand types to the result's type, or to everything that is wrong.

use super::super::func::{Func, Value};
use super::super::ops::{Const, Op, TypeRule};
use super::super::types::{DType, Shape, TileType, Type, ViewType};
use super::MAX_TILE_RANK;
use crate::diag::{Diagnostic, Diagnostics, Loc};

/// Something wrong with an operation, not yet located.
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Problem {
    fn new(message: String) -> Self {
        Self { message, help: None }
    }

    fn help(mut self, help: &str) -> Self {
        self.help = Some(help.to_owned());
        self
    }
}

/// The type of the value that `op` defines, its operands being values of `func`.
///
/// # Errors
/// Everything that is wrong with the operand types, extents and axes, at `loc`.
pub fn result_type(func: &Func, op: &Op, loc: Loc) -> Result<Type, Diagnostics> {
    result_type_problems(func, op).map_err(|problems| {
        Diagnostics(
            problems.into_iter().map(|Problem { message, help }| Diagnostic { loc, message, help }).collect(),
        )
    })
}

type Checked<T> = Result<T, Vec<Problem>>;

fn fail<T>(message: String) -> Checked<T> {
    Err(vec![Problem::new(message)])
}

fn tile(func: &Func, what: &str, v: Value) -> Checked<TileType> {
    match func.ty(v) {
        Type::Tile(t) => Ok(t),
        Type::View(view) => Err(vec![
            Problem::new(format!("{what} takes tiles and scalars, not {view}"))
                .help("load a tile from the view first"),
        ]),
    }
}

fn view(func: &Func, what: &str, v: Value) -> Checked<ViewType> {
    match func.ty(v) {
        Type::View(view) => Ok(view),
        Type::Tile(t) => fail(format!("{what} takes a view, not {t}")),
    }
}

fn axis_of(what: &str, axis: u8, rank: usize, of: &str) -> Checked<usize> {
    let axis = usize::from(axis);
    if axis < rank { Ok(axis) } else { fail(format!("{what}: axis {axis} is out of range for {of}")) }
}

fn scalar_i32(func: &Func, what: &str, v: Value) -> Checked<()> {
    let ty = func.ty(v);
    if ty == Type::Tile(TileType::scalar(DType::I32)) {
        return Ok(());
    }
    fail(format!("{what} should be an i32 scalar, not {ty}"))
}

/// [`result_type`] without places.
pub(super) fn result_type_problems(func: &Func, op: &Op) -> Checked<Type> {
    let name = op.mnemonic();
    let tile_of = |v| tile(func, name, v);
    let view_of = |v| view(func, name, v);
    let ty = match op {
        Op::Const(c) => return constant(*c),
        Op::Arange { extent } => TileType::new(DType::I32, Shape::new(&[*extent as usize])),
        Op::ProgramId(axis) | Op::NumPrograms(axis) => {
            axis_of(name, *axis, 3, "the grid, which has axes 0 to 2")?;
            TileType::scalar(DType::I32)
        }
        Op::Unary(op, a) => {
            let t = tile_of(*a)?;
            if !op.rule().accepts(t.dtype) {
                return fail(format!("{name} takes {}, not {t}", accepted(op.rule())));
            }
            TileType::new(op.rule().result(t.dtype), t.shape)
        }
        Op::Binary(op, a, b) => {
            let t = same_types(func, name, &[*a, *b])?;
            if !op.rule().accepts(t.dtype) {
                return fail(format!("{name} takes {}, not {t}", accepted(op.rule())));
            }
            TileType::new(op.rule().result(t.dtype), t.shape)
        }
        Op::Fma(a, b, c) => {
            let t = same_types(func, name, &[*a, *b, *c])?;
            if !TypeRule::Float.accepts(t.dtype) {
                return fail(format!("fma takes {}, not {t}", accepted(TypeRule::Float)));
            }
            t
        }
        Op::Select(c, a, b) => {
            let cond = tile_of(*c)?;
            let t = same_types(func, name, &[*a, *b])?;
            if cond != TileType::new(DType::Bool, t.shape) {
                return fail(format!(
                    "select between {t} takes a condition of type {}, not {cond}",
                    TileType::new(DType::Bool, t.shape)
                ));
            }
            t
        }
        Op::Cast(a, to) => TileType::new(*to, tile_of(*a)?.shape),
        Op::Splat(a, shape) => {
            let t = tile_of(*a)?;
            if t.shape.rank() != 0 {
                return Err(vec![
                    Problem::new(format!("splat takes a scalar, not {t}"))
                        .help("broadcast repeats the axes of a tile"),
                ]);
            }
            TileType::new(t.dtype, *shape)
        }
        Op::Broadcast(a, shape) => broadcast(tile_of(*a)?, *shape)?,
        Op::ExpandDims(a, axis) => {
            let t = tile_of(*a)?;
            if t.shape.rank() >= MAX_TILE_RANK {
                return fail(format!("expand_dims of {t}: a tile has rank 0 to {MAX_TILE_RANK}"));
            }
            let axis = axis_of(name, *axis, t.shape.rank() + 1, &t.to_string())?;
            TileType::new(t.dtype, t.shape.with(axis, 1))
        }
        Op::Squeeze(a, axis) => {
            let t = tile_of(*a)?;
            let axis = axis_of(name, *axis, t.shape.rank(), &t.to_string())?;
            if t.shape.dim(axis) != 1 {
                return fail(format!(
                    "squeeze of axis {axis} of {t}: its extent is {}, not 1",
                    t.shape.dim(axis)
                ));
            }
            TileType::new(t.dtype, t.shape.without(axis))
        }
        Op::Reshape(a, shape) => {
            let t = tile_of(*a)?;
            if t.shape.elements() != elements(*shape) {
                return fail(format!(
                    "reshape of {t} to <{shape}>: {} elements do not fill {}",
                    t.shape.elements(),
                    elements(*shape)
                ));
            }
            TileType::new(t.dtype, *shape)
        }
        Op::Permute(a, perm) => {
            let t = tile_of(*a)?;
            permutation(name, perm, t.shape.rank())?;
            TileType::new(t.dtype, t.shape.permuted(perm))
        }
        Op::Dot { a, b, acc } => dot(tile_of(*a)?, tile_of(*b)?, tile_of(*acc)?)?,
        Op::Reduce(op, a, axis) => {
            let t = tile_of(*a)?;
            let axis = axis_of(name, *axis, t.shape.rank(), &t.to_string())?;
            if !op.rule().accepts(t.dtype) {
                return fail(format!("{name} along an axis takes {}, not {t}", accepted(op.rule())));
            }
            TileType::new(t.dtype, t.shape.without(axis))
        }
        Op::ArgReduce(op, a, axis) => {
            let t = tile_of(*a)?;
            let axis = axis_of(name, *axis, t.shape.rank(), &t.to_string())?;
            if !op.rule().accepts(t.dtype) {
                return fail(format!("{name} takes {}, not {t}", accepted(op.rule())));
            }
            TileType::new(DType::I32, t.shape.without(axis))
        }
        Op::ViewDim(v, axis) => {
            let ty = view_of(*v)?;
            axis_of(name, *axis, usize::from(ty.rank), &ty.to_string())?;
            TileType::scalar(DType::I32)
        }
        Op::ViewSelect(v, axis, at) => {
            let ty = view_of(*v)?;
            axis_of(name, *axis, usize::from(ty.rank), &ty.to_string())?;
            scalar_i32(func, "the index of select_axis", *at)?;
            if ty.rank < 2 {
                return fail(format!("select_axis of {ty} would leave no axis; load the element instead"));
            }
            return Ok(Type::View(ViewType { rank: ty.rank - 1, ..ty }));
        }
        Op::ViewSlice(v, axis, start, len) => {
            let ty = view_of(*v)?;
            axis_of(name, *axis, usize::from(ty.rank), &ty.to_string())?;
            scalar_i32(func, "the start of slice_axis", *start)?;
            scalar_i32(func, "the length of slice_axis", *len)?;
            return Ok(Type::View(ty));
        }
        Op::ViewPermute(v, perm) => {
            let ty = view_of(*v)?;
            permutation(name, perm, usize::from(ty.rank))?;
            return Ok(Type::View(ty));
        }
        Op::Load { view, offsets, shape, pad } => {
            let ty = view_of(*view)?;
            let mut problems = check_access(func, name, *view, offsets, "offset", true);
            if shape.rank() != 0 && shape.rank() != usize::from(ty.rank) {
                problems.push(Problem::new(format!(
                    "load of a tile <{shape}> from {ty}: the tile should have the view's rank {}, or rank 0",
                    ty.rank
                )));
            }
            problems.extend(check_pad(func, name, *pad, ty.dtype));
            return if problems.is_empty() {
                Ok(Type::Tile(TileType::new(ty.dtype, *shape)))
            } else {
                Err(problems)
            };
        }
        Op::Gather { view, indices, mask, pad } => {
            let ty = view_of(*view)?;
            let mut problems = check_access(func, name, *view, indices, "index", false);
            problems.extend(check_pad(func, name, *pad, ty.dtype));
            let shape = indices.first().and_then(|&i| func.ty(i).tile()).map(|t| t.shape);
            if let (Some(mask), Some(shape)) = (mask, shape) {
                let wanted = Type::Tile(TileType::new(DType::Bool, shape));
                if func.ty(*mask) != wanted {
                    problems.push(Problem::new(format!(
                        "the mask of gather should be {wanted}, not {}",
                        func.ty(*mask)
                    )));
                }
            }
            return match shape {
                Some(shape) if problems.is_empty() => Ok(Type::Tile(TileType::new(ty.dtype, shape))),
                Some(_) | None => Err(problems),
            };
        }
    };
    Ok(Type::Tile(ty))
}

/// The operand types of a rule in words, without what it says of the result.
fn accepted(rule: TypeRule) -> &'static str {
    rule.words().split(';').next().unwrap_or_default()
}

/// `1 index`, `2 indices`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Element count that cannot overflow.
fn elements(shape: Shape) -> usize {
    shape.as_slice().iter().fold(1usize, |n, &d| n.saturating_mul(d as usize))
}

fn constant(c: Const) -> Checked<Type> {
    let width = 8 * c.dtype.size_bytes();
    let fits = if c.dtype == DType::Bool { c.bits < 2 } else { width == 64 || c.bits >> width == 0 };
    if fits {
        Ok(Type::Tile(TileType::scalar(c.dtype)))
    } else {
        fail(format!("the bits {:#x} are not a constant of type {}", c.bits, c.dtype))
    }
}

fn same_types(func: &Func, name: &str, operands: &[Value]) -> Checked<TileType> {
    let types = operands.iter().map(|&v| tile(func, name, v)).collect::<Checked<Vec<_>>>()?;
    if types.windows(2).all(|w| w[0] == w[1]) {
        return Ok(types[0]);
    }
    let list: Vec<String> = types.iter().map(TileType::to_string).collect();
    let help = if types.windows(2).all(|w| w[0].shape == w[1].shape) {
        "cast one of them"
    } else {
        "broadcast one of them, or splat a scalar to the other's shape"
    };
    Err(vec![
        Problem::new(format!("{name} takes operands of one type, not {}", list.join(" and "))).help(help),
    ])
}

fn broadcast(t: TileType, shape: Shape) -> Checked<TileType> {
    let fits = t.shape.rank() == shape.rank()
        && t.shape.as_slice().iter().zip(shape.as_slice()).all(|(&from, &to)| from == to || from == 1);
    if fits {
        Ok(TileType::new(t.dtype, shape))
    } else {
        Err(vec![
            Problem::new(format!(
                "broadcast of {t} to <{shape}>: ranks should agree, and only axes of extent 1 are repeated"
            ))
            .help("expand_dims inserts an axis of extent 1"),
        ])
    }
}

fn permutation(name: &str, perm: &[u8], rank: usize) -> Checked<()> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted.len() == rank && sorted.iter().enumerate().all(|(i, &p)| i == usize::from(p)) {
        Ok(())
    } else {
        fail(format!("{name}: {perm:?} does not name each of {rank} axes once"))
    }
}

fn dot(a: TileType, b: TileType, acc: TileType) -> Checked<TileType> {
    let mut problems = Vec::new();
    let is_small_int = |d| matches!(d, DType::I8 | DType::U8);
    let wanted = if a.dtype.is_float() && b.dtype.is_float() {
        Some(DType::F32)
    } else if is_small_int(a.dtype) && is_small_int(b.dtype) {
        Some(DType::I32)
    } else {
        problems.push(
            Problem::new(format!("dot of {a} and {b}: both should be floats, or both i8 or u8"))
                .help("cast one of them"),
        );
        None
    };
    if let Some(wanted) = wanted.filter(|&w| w != acc.dtype) {
        problems.push(Problem::new(format!("dot of {a} and {b} accumulates in {wanted}, not {}", acc.dtype)));
    }
    let rank = a.shape.rank();
    if !(2..=3).contains(&rank) || b.shape.rank() != rank || acc.shape.rank() != rank {
        problems.push(Problem::new(format!(
            "dot of {a} and {b} into {acc}: all three should have rank 2, or rank 3 with a leading batch axis"
        )));
        return Err(problems);
    }
    let d = |t: TileType, from_end: usize| t.shape.dim(rank - from_end);
    if d(a, 1) != d(b, 2) {
        problems.push(Problem::new(format!(
            "dot of {a} and {b}: K is {} on the left and {} on the right",
            d(a, 1),
            d(b, 2)
        )));
    }
    let batch = (rank == 3).then(|| a.shape.dim(0));
    if let Some(batch) = batch.filter(|&n| n != b.shape.dim(0)) {
        problems.push(Problem::new(format!(
            "dot of {a} and {b}: batches of {batch} and {} do not agree",
            b.shape.dim(0)
        )));
    }
    let product: Vec<usize> = batch.into_iter().chain([d(a, 2), d(b, 1)]).collect();
    if acc.shape != Shape::new(&product) {
        problems.push(Problem::new(format!(
            "dot of {a} and {b} yields <{}>, but the accumulator is {acc}",
            Shape::new(&product)
        )));
    }
    if problems.is_empty() { Ok(acc) } else { Err(problems) }
}

fn check_pad(func: &Func, name: &str, pad: Value, dtype: DType) -> Option<Problem> {
    let wanted = Type::Tile(TileType::scalar(dtype));
    (func.ty(pad) != wanted).then(|| {
        Problem::new(format!(
            "the padding of {name} should be a scalar of type {wanted}, not {}",
            func.ty(pad)
        ))
    })
}

/// Offsets (i32 scalars) or indices (i32 tiles of one shape): one per axis of the view.
pub(super) fn check_access(
    func: &Func,
    name: &str,
    v: Value,
    at: &[Value],
    word: &str,
    only_scalars: bool,
) -> Vec<Problem> {
    let ty = match view(func, name, v) {
        Ok(ty) => ty,
        Err(problems) => return problems,
    };
    let mut problems = Vec::new();
    if at.len() != usize::from(ty.rank) {
        let many = if word == "index" { "indices" } else { "offsets" };
        let wanted = count(usize::from(ty.rank), word, many);
        problems.push(Problem::new(format!("{name} at {ty} takes {wanted}, one per axis, not {}", at.len())));
    }
    let first = at.first().map(|&i| func.ty(i));
    for (i, &index) in at.iter().enumerate() {
        let index_ty = func.ty(index);
        let is_i32 = index_ty.tile().is_some_and(|t| t.dtype == DType::I32);
        if !is_i32 || (only_scalars && index_ty.tile().is_some_and(|t| t.shape.rank() != 0)) {
            let wanted = if only_scalars { "an i32 scalar" } else { "an i32 tile" };
            problems.push(Problem::new(format!("{word} {i} of {name} should be {wanted}, not {index_ty}")));
        } else if !only_scalars && Some(index_ty) != first {
            let shapes = first.map(|t| t.to_string()).unwrap_or_default();
            problems.push(Problem::new(format!(
                "the indices of {name} have different types, {shapes} and {index_ty}"
            )));
        }
    }
    problems
}
