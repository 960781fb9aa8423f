//! Control flow: a carried value becomes one variable that the body assigns again.

use super::Lower;
use super::dots::DotPlan;
use super::elements::identity;
use crate::gpu::func::{Var, VarType};
use crate::gpu::ops::{Coord, Op, Operand, RegMap, StmtKind};
use crate::ir::{self, Block, DType, StmtKind as TileStmt, Type, Value};
use crate::layout::Layout;

impl Lower<'_> {
    /// Lowers the statements of a block into the block that is open.
    pub(super) fn block(&mut self, block: &Block) {
        self.statements(&block.stmts);
    }

    pub(super) fn statements(&mut self, stmts: &[ir::Stmt]) {
        stmts.iter().for_each(|stmt| self.statement(stmt));
    }

    /// Lowers one statement into the block that is open.
    pub(super) fn statement(&mut self, stmt: &ir::Stmt) {
        let outer = std::mem::replace(&mut self.loc, stmt.loc);
        self.stmt(&stmt.kind);
        self.loc = outer;
    }

    fn stmt(&mut self, stmt: &TileStmt) {
        match stmt {
            TileStmt::Let { value, op } => self.let_value(*value, op),
            TileStmt::Store { view, offsets, value } => self.store(*view, offsets, *value),
            TileStmt::Scatter { view, indices, value, mask } => self.scatter(*view, indices, *value, *mask),
            TileStmt::Print { label, values } => {
                let values = values.iter().map(|&v| self.printable(v)).collect();
                self.emit(StmtKind::Print { label: label.clone(), values });
            }
            TileStmt::Assert { cond, message } => {
                let cond = self.printable(*cond);
                let number = self.out.assertions.len() as u32;
                self.out.assertions.push((message.clone(), self.loc));
                self.emit(StmtKind::Assert { cond, message: number });
            }
            TileStmt::For { .. } => self.for_loop(stmt),
            TileStmt::While { inits, cond, body, results } => {
                self.order_loop(cond);
                self.order_loop(body);
                let carried = self.enter(inits, &body.params);
                self.bind(&cond.params, &carried);
                self.bind(&body.params, &carried);
                self.bind_depth(&body.params);
                let mut flag = None;
                let test = self.nested(|cx| {
                    cx.block(cond);
                    flag = Some(cx.var(cond.yields[0]));
                });
                let inner = self.nested(|cx| {
                    cx.block(body);
                    cx.hand_on(&body.yields, &carried);
                });
                let cond = flag.expect("a condition should have been lowered");
                self.emit(StmtKind::While { test, cond, body: inner });
                self.leave(results, &body.yields, &carried);
            }
            TileStmt::If { cond, then_block, else_block, results } => {
                let chosen: Vec<Var> = results.iter().map(|&r| self.carried_var(r, r)).collect();
                let mut arm = |block: &Block| {
                    self.nested(|cx| {
                        cx.block(block);
                        cx.hand_on(&block.yields, &chosen);
                    })
                };
                let (then_block, else_block) = (arm(then_block), arm(else_block));
                self.emit(StmtKind::If { cond: self.var(*cond), then_block, else_block });
                self.bind(results, &chosen);
            }
        }
    }

    fn printable(&mut self, v: Value) -> Var {
        if self.rank(v) == 0 { self.var(v) } else { self.materialised(v) }
    }

    fn let_value(&mut self, v: Value, op: &ir::Op) {
        let ty = match self.src.ty(v) {
            Type::View(view) => {
                let var = self.view_op(op, view);
                self.vars.insert(v, var);
                return;
            }
            Type::Tile(ty) => ty,
        };
        if self.plan.consumed.contains(&v) {
            return;
        }
        if self.plan.deferred.contains(&v) {
            self.prepare_for_products(v);
            return;
        }
        let var =
            if ty.shape.rank() == 0 { self.scalar_value(v, op, ty.dtype) } else { self.tile_value(v, op) };
        if let Some(var) = var {
            self.vars.insert(v, var);
            self.depths.insert(v, self.open.len());
            if ty.shape.rank() > 0 {
                self.prepare_for_products(v);
            }
        }
    }

    fn tile_value(&mut self, v: Value, op: &ir::Op) -> Option<Var> {
        let ty = self.src.tile_ty(v);
        if let ir::Op::Load { view, offsets, pad, .. } = op {
            return Some(self.load(v, *view, offsets, *pad));
        }
        if let ir::Op::Dot { a, b, acc } = op {
            return Some(self.dot(v, [*a, *b, *acc]));
        }
        if matches!(op, ir::Op::Gather { .. }) {
            return self.gather(v, op);
        }
        if matches!(op, ir::Op::Reduce(..) | ir::Op::ArgReduce(..)) {
            return self.reduce(v, op);
        }
        let layout = self.plan.homes.get(&v).expect("a tile should have a home").layout.clone();
        let dst = VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: layout.clone() };
        let name = self.name_of(v);
        let var = self.elementwise(op, dst, name);
        Some(var.unwrap_or_else(|| self.in_layout(v, &layout)))
    }

    /// A scalar, or a tile that has become one.
    pub(super) fn scalar_value(&mut self, v: Value, op: &ir::Op, dtype: DType) -> Option<Var> {
        let name = self.name_of(v);
        let op = match op {
            ir::Op::Const(c) => Op::Const(*c),
            ir::Op::ProgramId(axis) => match self.program_ids {
                Some(ids) => return ids[usize::from(*axis)],
                None => Op::ProgramId(*axis),
            },
            ir::Op::NumPrograms(axis) => Op::NumPrograms(*axis),
            ir::Op::ViewDim(view, axis) => Op::ViewDim(self.var(*view), *axis),
            ir::Op::Load { view, offsets, pad, .. } => {
                self.order_access(*view, false, None);
                Op::LoadPoint { view: self.var(*view), offsets: self.vars_of(offsets), pad: self.var(*pad) }
            }
            ir::Op::Gather { .. } => return self.gather(v, op),
            ir::Op::Reduce(_, a, _) | ir::Op::ArgReduce(_, a, _) if self.rank(*a) > 0 => {
                return self.reduce(v, op);
            }
            ir::Op::Splat(a, _)
            | ir::Op::Broadcast(a, _)
            | ir::Op::Squeeze(a, _)
            | ir::Op::Reshape(a, _)
            | ir::Op::ExpandDims(a, _)
            | ir::Op::Permute(a, _) => {
                if self.rank(*a) == 0 {
                    return Some(self.var(*a));
                }
                // One element, which every thread comes to hold.
                let all = Layout::replicated(&[1], self.plan.n_warps.trailing_zeros())
                    .expect("a layout of one element should be well formed");
                let coords = vec![Coord::Zero; self.rank(*a)];
                Op::Copy(self.operand(*a, &all, &coords))
            }
            ir::Op::Unary(..)
            | ir::Op::Binary(..)
            | ir::Op::Fma(..)
            | ir::Op::Select(..)
            | ir::Op::Cast(..)
            | ir::Op::Reduce(..)
            | ir::Op::ArgReduce(..)
            | ir::Op::Arange { .. }
            | ir::Op::Dot { .. }
            | ir::Op::ViewSelect(..)
            | ir::Op::ViewSlice(..)
            | ir::Op::ViewPermute(..) => return self.elementwise(op, VarType::Scalar(dtype), name),
        };
        Some(self.define(VarType::Scalar(dtype), op, name))
    }

    /// An operation that yields a view.
    pub(super) fn view_op(&mut self, op: &ir::Op, ty: ir::ViewType) -> Var {
        let op = if let ir::Op::ViewSelect(v, axis, at) = op {
            Op::ViewSelect(self.var(*v), *axis, self.var(*at))
        } else if let ir::Op::ViewSlice(v, axis, start, len) = op {
            Op::ViewSlice(self.var(*v), *axis, self.var(*start), self.var(*len))
        } else if let ir::Op::ViewPermute(v, perm) = op {
            Op::ViewPermute(self.var(*v), perm.clone())
        } else {
            unreachable!("`{}` should not yield a view", op.mnemonic())
        };
        self.define(VarType::View(ty), op, None)
    }

    /// The variable of a carried value, of the layout that `v` has at home.
    pub(super) fn carried_var(&mut self, v: Value, named: Value) -> Var {
        let ty = self.src.tile_ty(v);
        let ty = match self.plan.homes.get(&v) {
            Some(home) if ty.shape.rank() > 0 => {
                VarType::Tile { dtype: ty.dtype, shape: ty.shape, layout: home.layout.clone() }
            }
            Some(_) | None => VarType::Scalar(ty.dtype),
        };
        let name = self.name_of(named);
        self.out.new_var(ty, self.loc, name)
    }

    /// Variables of the carried values, set to what enters the loop.
    pub(super) fn enter(&mut self, inits: &[Value], params: &[Value]) -> Vec<Var> {
        inits
            .iter()
            .zip(params)
            .map(|(&init, &param)| {
                let var = self.carried_var(param, param);
                let operand = self.operand_of_type(init, var);
                self.set(var, Op::Copy(operand));
                var
            })
            .collect()
    }

    /// `v` as an operand that can be copied to `like`.
    fn operand_of_type(&mut self, v: Value, like: Var) -> Operand {
        match self.out.ty(like).clone() {
            VarType::Tile { layout, .. } => {
                let coords = identity(self.rank(v));
                self.operand(v, &layout, &coords)
            }
            VarType::Scalar(_) | VarType::View(_) => Operand::of(self.var(v)),
        }
    }

    pub(super) fn bind(&mut self, values: &[Value], vars: &[Var]) {
        self.vars.extend(values.iter().copied().zip(vars.iter().copied()));
    }

    /// Assigns the values that a block hands on, as if all at once.
    pub(super) fn hand_on(&mut self, yields: &[Value], carried: &[Var]) {
        let operands: Vec<Operand> =
            yields.iter().zip(carried).map(|(&y, &c)| self.operand_of_type(y, c)).collect();
        let mut moves = Vec::new();
        for (operand, &dst) in operands.into_iter().zip(carried) {
            if operand.var == dst && operand.regs == RegMap::Identity {
                continue;
            }
            // A variable that is itself assigned is saved first.
            let operand = if carried.contains(&operand.var) {
                let ty = self.out.ty(dst).clone();
                Operand::of(self.define(ty, Op::Copy(operand), None))
            } else {
                operand
            };
            moves.push((dst, operand));
        }
        for (dst, operand) in moves {
            self.set(dst, Op::Copy(operand));
        }
    }

    /// Binds the results of a loop; addends are summed here.
    pub(super) fn leave(&mut self, results: &[Value], yields: &[Value], carried: &[Var]) {
        for ((&result, last), &var) in results.iter().zip(yields).zip(carried) {
            let is_partial =
                matches!(self.plan.dots.get(last), Some(DotPlan::Rows { is_deferred: true, .. }));
            let var = if is_partial && self.plan.uses.count(result) > 0 { self.summed(var) } else { var };
            self.vars.insert(result, var);
            if self.rank(result) > 0 {
                self.prepare_for_products(result);
            }
        }
    }
}
