//! Values that wait: where a lazy value's elements are at hand, who still needs it, and what computing it again would cost.
//!
//! These questions decide when waiting ends. A value is materialised when something needs it whole, before memory that it reads is
//! written, or when several readers would each compute it at some expense; else its readers compute it inside their own groups.

use super::compile::{Compiler, Place};
use super::group::Sink;
use super::memory::is_verbatim;
use super::program::Buf;
use super::uses::User;
use crate::ir::{Op, Value};

impl Compiler<'_> {
    /// The value below shape changes that keep the order of elements.
    pub(crate) fn alias_base(&self, v: Value) -> Value {
        let mut v = v;
        while self.place(v) == Place::Lazy {
            let Some(op) = self.op_of(v) else { break };
            let src = match op {
                Op::ExpandDims(a, _) | Op::Squeeze(a, _) | Op::Reshape(a, _) | Op::Reduce(_, a, _) => *a,
                Op::Broadcast(a, shape) if self.func.tile_ty(*a).shape == *shape => *a,
                Op::Permute(a, perm) => {
                    let dims = self.func.tile_ty(*a).shape;
                    let real: Vec<u8> = perm.iter().copied().filter(|&p| dims.dim(p as usize) != 1).collect();
                    if !real.is_sorted() {
                        break;
                    }
                    *a
                }
                Op::Const(_)
                | Op::Arange { .. }
                | Op::ProgramId(_)
                | Op::NumPrograms(_)
                | Op::Unary(..)
                | Op::Binary(..)
                | Op::Fma(..)
                | Op::Select(..)
                | Op::Cast(..)
                | Op::Splat(..)
                | Op::Broadcast(..)
                | Op::Dot { .. }
                | Op::ArgReduce(..)
                | Op::ViewDim(..)
                | Op::ViewSelect(..)
                | Op::ViewSlice(..)
                | Op::ViewPermute(..)
                | Op::Load { .. }
                | Op::Gather { .. } => break,
            };
            if self.func.tile_ty(src).shape.rank() == 0 {
                break;
            }
            v = src;
        }
        v
    }

    /// The buffer that already holds `v` row-major, if one does.
    pub(crate) fn base_tile(&self, v: Value) -> Option<Buf> {
        if let Place::Tile(b) = self.place(self.alias_base(v)) { Some(b) } else { None }
    }

    /// The buffer that holds `v` row-major, computing it if it is not there yet.
    pub(crate) fn demand_tile(&mut self, v: Value) -> Buf {
        if self.place(self.alias_base(v)) == Place::Pending {
            self.flush();
        }
        if let Some(b) = self.base_tile(v) {
            return b;
        }
        self.add_sink(Sink::Tile { value: v, dest: None, keep: true });
        self.flush();
        if let Some(b) = self.base_tile(v) { b } else { self.broken(v) }
    }

    /// Whether something that is not emitted yet reads `v`.
    pub(crate) fn needed_later(&self, v: Value) -> bool {
        self.needed_except(v, None, &|_| false)
    }

    /// As [`Self::needed_later`], leaving out the operands of one statement and values about to be materialised.
    pub(crate) fn needed_except(
        &self,
        v: Value,
        except: Option<usize>,
        placed: &dyn Fn(Value) -> bool,
    ) -> bool {
        let mut seen = Vec::new();
        self.needed_walk(v, except, placed, &mut seen)
    }

    fn needed_walk(
        &self,
        v: Value,
        except: Option<usize>,
        placed: &dyn Fn(Value) -> bool,
        seen: &mut Vec<Value>,
    ) -> bool {
        if seen.contains(&v) {
            return false;
        }
        seen.push(v);
        self.uses.users[v.index()].iter().any(|&user| match user {
            User::End => true,
            User::Body(s) => !self.uses.body_done[s],
            User::Stmt(s) => {
                if self.uses.entry_done[s] || self.flushing.contains(&s) || except == Some(s) {
                    return false;
                }
                let Some(w) = self.uses.let_value[s] else { return true };
                match self.place(w) {
                    Place::Unset => self.uses.live[w.index()],
                    Place::Pending => true,
                    Place::Lazy => !placed(w) && self.needed_walk(w, except, placed, seen),
                    Place::Reg(_) | Place::View(_) | Place::Tile(_) => false,
                }
            }
        })
    }

    /// Whether the storage of `v` may be overwritten once the current statement has read it.
    pub(crate) fn may_clobber(&self, v: Value, except: Option<usize>) -> bool {
        self.is_local(v) && !self.needed_except(v, except, &|_| false)
    }

    /// Computes, before something writes memory, what later statements still need of reads up to `clock`.
    pub(crate) fn guard_reads(&mut self, clock: u32) {
        let reads: Vec<Value> =
            self.lazy_reads.iter().filter(|&&(_, t)| t <= clock).map(|&(v, _)| v).collect();
        for v in reads {
            if self.place(v) == Place::Lazy && self.uses.live[v.index()] && self.needed_later(v) {
                self.add_sink(Sink::Tile { value: v, dest: None, keep: true });
            }
        }
        self.flush();
        let still = self.lazy_reads.iter().copied().filter(|&(v, _)| self.place(v) == Place::Lazy);
        self.lazy_reads = still.collect();
    }

    /// Whether `v` costs next to nothing to compute again wherever it is needed.
    pub(crate) fn is_cheap(&self, v: Value) -> bool {
        self.cost(v, 0) <= 1
    }

    /// Whether later groups had better read `v` from memory once more than from a copy in the arena: they would take as many loads
    /// for either, and the copy takes stores besides and room in the caches. Narrow types are widened only once.
    pub(crate) fn is_read_again(&self, v: Value) -> bool {
        self.place(v) == Place::Lazy
            && matches!(self.op_of(v), Some(Op::Load { .. }))
            && is_verbatim(self.func.tile_ty(v).dtype)
    }

    /// Elementwise work to compute `v` again from what is at hand; memory reads count as much.
    pub(crate) fn cost(&self, v: Value, depth: u32) -> u32 {
        if self.place(v) != Place::Lazy || depth > 12 {
            return if depth > 12 { 100 } else { 0 };
        }
        let Some(op) = self.op_of(v) else { return 0 };
        let own = match op {
            Op::Arange { .. }
            | Op::Const(_)
            | Op::ProgramId(_)
            | Op::NumPrograms(_)
            | Op::Splat(..)
            | Op::Broadcast(..)
            | Op::ExpandDims(..)
            | Op::Squeeze(..)
            | Op::Reshape(..)
            | Op::Permute(..)
            | Op::Reduce(..)
            | Op::ArgReduce(..)
            | Op::Dot { .. }
            | Op::ViewDim(..)
            | Op::ViewSelect(..)
            | Op::ViewSlice(..)
            | Op::ViewPermute(..) => 0,
            Op::Binary(..) | Op::Fma(..) | Op::Select(..) | Op::Cast(..) | Op::Unary(..) => {
                u32::from(!self.is_iota(v))
            }
            Op::Load { .. } | Op::Gather { .. } => return 100,
        };
        op.operands().into_iter().fold(own, |sum, a| sum.saturating_add(self.cost(a, depth + 1)))
    }
}
