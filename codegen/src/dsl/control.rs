//! Control flow: what `for`, `while` and `if` become.
//!
//! The kind of the iterable or condition decides, by type: a run-time [`Range`] or `Scalar<bool>` is traced into a region,
//! a host iterator or `bool` is plain Rust and so is evaluated at specialisation.

use std::marker::PhantomData;

use super::elem::Elem;
use super::memory::IntoIndex;
use super::shape::TileShape;
use super::value::{IrValue, Scalar, Tile};
use crate::diag::{Diagnostic, Loc};
use crate::ir::{StmtKind, Type, Value, builder};

/// Values that a run-time loop or branch can carry: tiles, scalars, and tuples and arrays of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be carried through run-time control flow",
    label = "only tiles and scalars can change inside a run-time loop or branch",
    note = "make a run-time value of a host number with `scalar(x)`, or loop over a host range"
)]
pub trait Carried: Sized {
    /// Appends the handles.
    fn handles(&self, out: &mut Vec<Value>);
    /// The same structure from new handles.
    fn from_handles(it: &mut dyn Iterator<Item = Value>) -> Self;
}

impl<T: Elem, S: TileShape> Carried for Tile<T, S> {
    fn handles(&self, out: &mut Vec<Value>) {
        out.push(self.raw());
    }
    fn from_handles(it: &mut dyn Iterator<Item = Value>) -> Self {
        Self::wrap(it.next().expect("there should be a handle per carried value"))
    }
}
impl<T: Elem> Carried for Scalar<T> {
    fn handles(&self, out: &mut Vec<Value>) {
        out.push(self.raw());
    }
    fn from_handles(it: &mut dyn Iterator<Item = Value>) -> Self {
        Self::wrap(it.next().expect("there should be a handle per carried value"))
    }
}
impl<X: Carried, const N: usize> Carried for [X; N] {
    fn handles(&self, out: &mut Vec<Value>) {
        self.iter().for_each(|x| x.handles(out));
    }
    fn from_handles(it: &mut dyn Iterator<Item = Value>) -> Self {
        std::array::from_fn(|_| X::from_handles(it))
    }
}
macro_rules! carried_tuple {
    ($($t:ident),*) => {
        impl<$($t: Carried),*> Carried for ($($t,)*) {
            #[expect(non_snake_case, reason = "one name serves as type and variable")]
            fn handles(&self, out: &mut Vec<Value>) {
                let ($($t,)*) = self;
                $($t.handles(out);)*
            }
            fn from_handles(it: &mut dyn Iterator<Item = Value>) -> Self {
                ($($t::from_handles(it),)*)
            }
        }
    };
}
carried_tuple!(A);
carried_tuple!(A, B);
carried_tuple!(A, B, C);
carried_tuple!(A, B, C, D);
carried_tuple!(A, B, C, D, E);
carried_tuple!(A, B, C, D, E, F);
carried_tuple!(A, B, C, D, E, F, G);
carried_tuple!(A, B, C, D, E, F, G, H);
carried_tuple!(A, B, C, D, E, F, G, H, I);
carried_tuple!(A, B, C, D, E, F, G, H, I, J);
carried_tuple!(A, B, C, D, E, F, G, H, I, J, K);
carried_tuple!(A, B, C, D, E, F, G, H, I, J, K, L);

impl Carried for () {
    fn handles(&self, _: &mut Vec<Value>) {}
    fn from_handles(_: &mut dyn Iterator<Item = Value>) -> Self {}
}

fn handles<C: Carried>(c: &C) -> Vec<Value> {
    let mut out = Vec::new();
    c.handles(&mut out);
    out
}

fn rebuild<C: Carried>(values: &[Value]) -> C {
    C::from_handles(&mut values.iter().copied())
}

fn types(values: &[Value]) -> Vec<Type> {
    values.iter().map(|&v| builder::type_of(v)).collect()
}

/// A run-time range of i32, made by [`range`].
#[derive(Clone, Copy, Debug)]
pub struct Range<K = RunTime> {
    lo: Scalar<i32>,
    hi: Scalar<i32>,
    step: Scalar<i32>,
    kind: PhantomData<K>,
}

/// The kind of every [`Range`]: its bounds are known only at run time.
#[derive(Clone, Copy, Debug)]
pub struct RunTime;

/// A kind of range that the host can run over. There is none: the trait exists so that a loop that is left early, and so
/// must be a host loop, is refused in these words rather than in those of `Iterator`.
#[diagnostic::on_unimplemented(
    message = "a loop over a run-time range cannot be left by `break`, `continue`, `return` or `?`",
    label = "the bounds of this range are known only at run time",
    note = "use `while` with a run-time condition, or loop over a host range such as `0..4`, which is unrolled"
)]
pub trait HostKind {}

impl<K: HostKind> IntoIterator for Range<K> {
    type Item = Scalar<i32>;
    type IntoIter = std::iter::Empty<Scalar<i32>>;
    fn into_iter(self) -> Self::IntoIter {
        std::iter::empty()
    }
}

/// The run-time range `lo, lo + step, ...` below `hi`; the step must be positive.
#[must_use]
#[track_caller]
pub fn range(lo: impl IntoIndex, hi: impl IntoIndex, step: impl IntoIndex) -> Range {
    let loc = Loc::caller();
    Range { lo: lo.into_index(loc), hi: hi.into_index(loc), step: step.into_index(loc), kind: PhantomData }
}

/// Something that `for` can run over with carried values `C`: a run-time [`Range`], or any host iterator.
#[diagnostic::on_unimplemented(
    message = "`for` cannot run over `{Self}`",
    label = "use `range(lo, hi, step)` for a run-time loop, or a host iterator such as `0..4`"
)]
pub trait LoopOver<C> {
    /// What the loop variable is.
    type Item;
    /// Runs or traces the loop.
    fn run_loop(self, init: C, body: impl FnMut(Self::Item, C) -> C, loc: Loc) -> C;
}

impl<C, I: IntoIterator> LoopOver<C> for I {
    type Item = I::Item;
    fn run_loop(self, init: C, mut body: impl FnMut(I::Item, C) -> C, _: Loc) -> C {
        let mut carried = init;
        for item in self {
            carried = body(item, carried);
        }
        carried
    }
}

impl<C: Carried> LoopOver<C> for Range {
    type Item = Scalar<i32>;
    fn run_loop(self, init: C, mut body: impl FnMut(Scalar<i32>, C) -> C, loc: Loc) -> C {
        let inits = handles(&init);
        let carried_types = types(&inits);
        let mut param_types = vec![builder::type_of(self.lo.raw())];
        param_types.extend(&carried_types);
        let params = builder::open_region(&param_types, loc);
        let next = body(Scalar::wrap(params[0]), rebuild(&params[1..]));
        let block = builder::close_region(handles(&next));
        let results = builder::results(&carried_types, loc);
        let after = rebuild(&results);
        let (lo, hi, step) = (self.lo.raw(), self.hi.raw(), self.step.raw());
        builder::effect(StmtKind::For { lo, hi, step, inits, body: block, results }, loc);
        after
    }
}

/// `for`: runs `body` over a host iterator, or traces it once over a run-time [`Range`].
#[track_caller]
pub fn for_loop<L: LoopOver<C>, C>(over: L, init: C, body: impl FnMut(L::Item, C) -> C) -> C {
    over.run_loop(init, body, Loc::caller())
}

/// A condition of `while` with carried values `C`: `bool` or `Scalar<bool>`.
#[diagnostic::on_unimplemented(
    message = "`while` needs a `bool` or a `Scalar<bool>`, found `{Self}`",
    label = "reduce a tile to a scalar first"
)]
pub trait WhileCondition<C>: Sized {
    /// Runs or traces the loop.
    fn run_while(init: C, cond: impl FnMut(&C) -> Self, body: impl FnMut(C) -> C, loc: Loc) -> C;
}

impl<C> WhileCondition<C> for bool {
    fn run_while(init: C, mut cond: impl FnMut(&C) -> Self, mut body: impl FnMut(C) -> C, _: Loc) -> C {
        let mut carried = init;
        while cond(&carried) {
            carried = body(carried);
        }
        carried
    }
}

impl<C: Carried> WhileCondition<C> for Scalar<bool> {
    fn run_while(init: C, mut cond: impl FnMut(&C) -> Self, mut body: impl FnMut(C) -> C, loc: Loc) -> C {
        let inits = handles(&init);
        let carried_types = types(&inits);
        let params = builder::open_region(&carried_types, loc);
        let test = cond(&rebuild(&params));
        let cond_block = builder::close_region(vec![test.raw()]);
        let params = builder::open_region(&carried_types, loc);
        let next = body(rebuild(&params));
        let body_block = builder::close_region(handles(&next));
        let results = builder::results(&carried_types, loc);
        let after = rebuild(&results);
        builder::effect(StmtKind::While { inits, cond: cond_block, body: body_block, results }, loc);
        after
    }
}

/// `while`: runs `body` on the host, or traces it once when the condition is a run-time bool.
#[track_caller]
pub fn while_loop<W: WhileCondition<C>, C>(
    init: C,
    cond: impl FnMut(&C) -> W,
    body: impl FnMut(C) -> C,
) -> C {
    W::run_while(init, cond, body, Loc::caller())
}

/// A condition of `if` with carried values `C` and value `V`: `bool` or `Scalar<bool>`.
#[diagnostic::on_unimplemented(
    message = "`if` needs a `bool` or a `Scalar<bool>`, found `{Self}`",
    label = "use `select` to choose per element of a tile"
)]
pub trait IfCondition<C, V> {
    /// Runs one branch, or traces both.
    fn run_if(
        self,
        carried: C,
        then_branch: impl FnOnce(C) -> (V, C),
        else_branch: impl FnOnce(C) -> (V, C),
        loc: Loc,
    ) -> (V, C);
}

impl<C, V> IfCondition<C, V> for bool {
    fn run_if(
        self,
        carried: C,
        then_branch: impl FnOnce(C) -> (V, C),
        else_branch: impl FnOnce(C) -> (V, C),
        _: Loc,
    ) -> (V, C) {
        if self { then_branch(carried) } else { else_branch(carried) }
    }
}

impl<C: Carried, V: Carried> IfCondition<C, V> for Scalar<bool> {
    fn run_if(
        self,
        carried: C,
        then_branch: impl FnOnce(C) -> (V, C),
        else_branch: impl FnOnce(C) -> (V, C),
        loc: Loc,
    ) -> (V, C) {
        let before = handles(&carried);
        let _ = builder::open_region(&[], loc);
        let then_out = then_branch(rebuild(&before));
        let then_values = handles(&then_out);
        let then_block = builder::close_region(then_values.clone());
        let _ = builder::open_region(&[], loc);
        let else_out = else_branch(rebuild(&before));
        let else_values = handles(&else_out);
        let else_block = builder::close_region(else_values.clone());
        let out_types = types(&then_values);
        if out_types != types(&else_values) {
            builder::error(
                Diagnostic::new(loc, "the branches of a run-time `if` yield different shapes")
                    .help("both branches must hand on values of the same extents"),
            );
        }
        let results = builder::results(&out_types, loc);
        let out = rebuild(&results);
        builder::effect(StmtKind::If { cond: self.raw(), then_block, else_block, results }, loc);
        out
    }
}

/// `if`: runs one branch when the condition is a host bool, or traces both when it is a run-time bool.
#[track_caller]
pub fn if_else<B: IfCondition<C, V>, C, V>(
    cond: B,
    carried: C,
    then_branch: impl FnOnce(C) -> (V, C),
    else_branch: impl FnOnce(C) -> (V, C),
) -> (V, C) {
    cond.run_if(carried, then_branch, else_branch, Loc::caller())
}

/// A host iterable, for loops that `break`, `continue` or `return`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is a run-time range, and its loop cannot `break`, `continue` or `return`",
    label = "use `while` with a run-time condition, or loop over a host range",
    note = "control flow that leaves a loop early exists only for host loops, which are unrolled at specialisation"
)]
pub trait HostIter: Sized {
    /// The host iterator.
    type Iter: Iterator;
    /// Itself, as an iterator.
    fn host(self) -> Self::Iter;
}
impl<I: IntoIterator> HostIter for I {
    type Iter = I::IntoIter;
    fn host(self) -> I::IntoIter {
        self.into_iter()
    }
}

/// The iterable of a `for` that leaves early.
pub fn host_iter<I: HostIter>(iter: I) -> I::Iter {
    iter.host()
}

/// A host condition, for branches that `break`, `continue` or `return`.
#[diagnostic::on_unimplemented(
    message = "a branch on `{Self}` cannot `break`, `continue` or `return`",
    label = "this condition is known only at run time, so both branches are compiled",
    note = "carry the decision in a variable instead"
)]
pub trait HostBool {
    /// The host bool.
    fn host(self) -> bool;
}
impl HostBool for bool {
    fn host(self) -> bool {
        self
    }
}

/// The condition of an `if` or `while` that leaves early.
pub fn host_bool(cond: impl HostBool) -> bool {
    cond.host()
}

/// Writes a label and values to the device log, once per program instance.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "authors write a tuple of handles")]
pub fn device_print(label: &str, values: impl Carried) {
    let values = handles(&values);
    builder::effect(StmtKind::Print { label: label.to_owned(), values }, Loc::caller());
}

/// Stops the launch with `message` when the condition, or any element of it, is false.
#[track_caller]
pub fn device_assert<V: IrValue<Elem = bool>>(cond: V, message: &str) {
    builder::effect(StmtKind::Assert { cond: cond.raw(), message: message.to_owned() }, Loc::caller());
}
