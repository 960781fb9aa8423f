//! Loops and branches: where carried values live, and the moves between iterations.
//!
//! A carried tile has one home buffer for its parameter, its next value and its result. The initial value is computed there
//! when it dies at the loop; the next value is computed there when the parameter is dead by then (`Compiler::hint`). What is
//! left are copies at the end of an iteration, done as one parallel move.

use super::compile::{Compiler, Place, tile_bytes};
use super::group::Sink;
use super::program::{Buf, Inst};
use crate::ir::{Block, Op, Stmt, StmtKind, Type, Value};

/// Home of a carried value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    Reg(u32),
    View(u32),
    Tile(Buf),
}

impl Home {
    const fn place(self) -> Place {
        match self {
            Self::Reg(r) => Place::Reg(r),
            Self::View(v) => Place::View(v),
            Self::Tile(b) => Place::Tile(b),
        }
    }
}

impl<'f> Compiler<'f> {
    /// Compiles a statement with regions.
    pub(crate) fn control(&mut self, stmt: &'f Stmt, s: usize) {
        self.flush();
        for v in self.uses.captured[s].clone() {
            let is_lazy_tile = self.place(v) == Place::Lazy && self.func.ty(v).tile().is_some();
            if is_lazy_tile && !self.is_cheap(v) {
                self.demand_tile(v);
            }
        }
        self.flush();
        if stmt.kind.has_effect() {
            self.guard_reads(u32::MAX);
        }
        match &stmt.kind {
            StmtKind::For { lo, hi, step, inits, body, results } => {
                let (lo, hi, step) = (self.reg(*lo), self.reg(*hi), self.reg(*step));
                let homes = self.carry_in(inits, results, s);
                self.uses.entry_done[s] = true;
                let iv = self.new_reg();
                let enter = self.insts.len();
                self.insts.push(Inst::ForEnter { iv, lo, hi, step, exit: 0, loc: stmt.loc });
                self.region(
                    body,
                    |c| {
                        c.set_place(body.params[0], Place::Reg(iv));
                        c.enter_homes(&body.params[1..], &homes);
                        c.hint_yields(&body.yields, &homes);
                    },
                    |c| c.hand_on(body, &homes),
                );
                let next = self.insts.len();
                self.insts.push(Inst::ForNext { iv, hi, step, body: enter as u32 + 1 });
                if let Inst::ForEnter { exit, .. } = &mut self.insts[enter] {
                    *exit = next as u32 + 1;
                }
                self.loops.push((enter as u32, next as u32));
                self.uses.body_done[s] = true;
                self.enter_homes(results, &homes);
            }
            StmtKind::While { inits, cond, body, results } => {
                let homes = self.carry_in(inits, results, s);
                self.uses.entry_done[s] = true;
                let top = self.insts.len();
                let mut test = 0;
                for &p in &cond.params {
                    self.uses.pin(p);
                }
                self.region(
                    cond,
                    |c| c.enter_homes(&cond.params, &homes),
                    |c| {
                        let r = c.reg(cond.yields[0]);
                        test = c.insts.len();
                        c.insts.push(Inst::JumpUnless { cond: r, target: 0 });
                    },
                );
                self.region(
                    body,
                    |c| {
                        c.enter_homes(&body.params, &homes);
                        c.hint_yields(&body.yields, &homes);
                    },
                    |c| c.hand_on(body, &homes),
                );
                let end = self.insts.len();
                self.insts.push(Inst::Jump(top as u32));
                if let Inst::JumpUnless { target, .. } = &mut self.insts[test] {
                    *target = end as u32 + 1;
                }
                self.loops.push((top as u32, end as u32));
                self.uses.body_done[s] = true;
                self.enter_homes(results, &homes);
            }
            StmtKind::If { cond, then_block, else_block, results } => {
                let cond = self.reg(*cond);
                self.uses.entry_done[s] = true;
                let mut homes = Vec::new();
                for &r in results {
                    let home = match self.func.ty(r) {
                        Type::View(_) => Home::View(self.new_view()),
                        Type::Tile(t) if t.shape.rank() == 0 => Home::Reg(self.new_reg()),
                        Type::Tile(_) => Home::Tile(self.free_home(r, &homes, None)),
                    };
                    if let Home::Tile(b) = home {
                        self.bufs[b as usize].is_home = true;
                    }
                    homes.push(home);
                }
                let test = self.insts.len();
                self.insts.push(Inst::JumpUnless { cond, target: 0 });
                self.region(
                    then_block,
                    |c| c.hint_yields(&then_block.yields, &homes),
                    |c| c.hand_on(then_block, &homes),
                );
                let skip = self.insts.len();
                self.insts.push(Inst::Jump(0));
                for h in &homes {
                    if let Home::Tile(b) = h {
                        self.bufs[*b as usize].occupant = None;
                    }
                }
                self.region(
                    else_block,
                    |c| c.hint_yields(&else_block.yields, &homes),
                    |c| c.hand_on(else_block, &homes),
                );
                let end = self.insts.len() as u32;
                if let Inst::JumpUnless { target, .. } = &mut self.insts[test] {
                    *target = skip as u32 + 1;
                }
                if let Inst::Jump(target) = &mut self.insts[skip] {
                    *target = end;
                }
                self.uses.body_done[s] = true;
                self.enter_homes(results, &homes);
            }
            StmtKind::Let { .. }
            | StmtKind::Store { .. }
            | StmtKind::Scatter { .. }
            | StmtKind::Print { .. }
            | StmtKind::Assert { .. } => {}
        }
    }

    fn enter_homes(&mut self, values: &[Value], homes: &[Home]) {
        for (&v, h) in values.iter().zip(homes) {
            if let Home::Tile(b) = h {
                self.bufs[*b as usize].is_home = true;
            }
            self.set_place(v, h.place());
        }
    }

    /// An empty buffer for `result`: the hinted one if nothing in it is needed any more.
    fn free_home(&mut self, result: Value, homes: &[Home], except: Option<usize>) -> Buf {
        let bytes = tile_bytes(self.func.tile_ty(result));
        if let Some(b) = self.hint[result.index()] {
            let info = self.bufs[b as usize];
            let free = info.occupant.is_none_or(|o| self.may_clobber(o, except));
            if free && info.bytes == bytes && !homes.contains(&Home::Tile(b)) {
                self.bufs[b as usize].occupant = None;
                return b;
            }
        }
        self.new_buf(bytes)
    }

    /// Puts the initial values of carried values into their homes.
    fn carry_in(&mut self, inits: &[Value], results: &[Value], s: usize) -> Vec<Home> {
        let mut homes: Vec<Home> = Vec::new();
        for (&init, &result) in inits.iter().zip(results) {
            let home = match self.func.ty(init) {
                Type::View(_) => {
                    let (src, dst) = (self.view(init), self.new_view());
                    self.insts.push(Inst::ViewMov { dst, src });
                    Home::View(dst)
                }
                Type::Tile(t) if t.shape.rank() == 0 => {
                    let (src, dst) = (self.reg(init), self.new_reg());
                    self.insts.push(Inst::Mov { dst, src });
                    Home::Reg(dst)
                }
                Type::Tile(_) => Home::Tile(self.carry_tile(init, result, &homes, s)),
            };
            homes.push(home);
        }
        self.flush();
        homes
    }

    pub(crate) fn carry_tile(&mut self, init: Value, result: Value, homes: &[Home], s: usize) -> Buf {
        let bytes = tile_bytes(self.func.tile_ty(init));
        let is_lazy = self.base_tile(init).is_none();
        if is_lazy && self.is_cheap(init) {
            let home = self.free_home(result, homes, Some(s));
            self.add_sink(Sink::Tile { value: init, dest: Some(home), keep: false });
            self.flush();
            return home;
        }
        if is_lazy {
            if let Some(b) = self.hint[result.index()] {
                self.hint[init.index()] = Some(b);
            }
            self.demand_tile(init);
        }
        let src = self.demand_tile(init);
        let info = self.bufs[src as usize];
        let dies = info.occupant.is_some_and(|o| self.may_clobber(o, Some(s)));
        if dies && info.bytes == bytes && !homes.contains(&Home::Tile(src)) {
            return src;
        }
        let home = self.free_home(result, homes, Some(s));
        if home != src {
            self.insts.push(Inst::CopyTile { dst: home, src, bytes });
        }
        home
    }

    /// Asks for next values to be computed in the homes.
    fn hint_yields(&mut self, yields: &[Value], homes: &[Home]) {
        for (&y, h) in yields.iter().zip(homes) {
            let Home::Tile(b) = *h else { continue };
            let mut v = y;
            while self.is_local(v) {
                self.hint[v.index()] = Some(b);
                v = match self.op_of(v) {
                    Some(Op::Dot { acc, .. }) => *acc,
                    Some(Op::ExpandDims(a, _) | Op::Squeeze(a, _) | Op::Reshape(a, _))
                        if self.func.tile_ty(*a).shape.rank() > 0 =>
                    {
                        *a
                    }
                    _ => break,
                };
            }
        }
    }

    /// Moves the yields of a block into the homes.
    fn hand_on(&mut self, block: &'f Block, homes: &[Home]) {
        // Everything is computed before anything moves.
        let mut sources = Vec::new();
        for &y in &block.yields {
            sources.push(match self.func.ty(y) {
                Type::View(_) => Home::View(self.view(y)),
                Type::Tile(t) if t.shape.rank() == 0 => Home::Reg(self.reg(y)),
                Type::Tile(_) => Home::Tile(self.demand_tile(y)),
            });
        }
        self.flush();
        let mut moves: Vec<(Home, Home, u32)> = homes
            .iter()
            .zip(&sources)
            .zip(&block.yields)
            .filter(|((d, s), _)| d != s)
            .map(|((&d, &s), &y)| (d, s, self.func.ty(y).tile().map_or(0, tile_bytes)))
            .collect();
        while !moves.is_empty() {
            let ready = moves.iter().position(|&(d, _, _)| moves.iter().all(|&(_, s, _)| s != d));
            if let Some(i) = ready {
                let (d, s, bytes) = moves.swap_remove(i);
                self.move_home(d, s, bytes);
            } else {
                // Only cycles are left: one source steps aside.
                let (_, s, bytes) = moves[0];
                let aside = match s {
                    Home::Reg(_) => Home::Reg(self.new_reg()),
                    Home::View(_) => Home::View(self.new_view()),
                    Home::Tile(_) => Home::Tile(self.new_buf(bytes)),
                };
                self.move_home(aside, s, bytes);
                for m in &mut moves {
                    if m.1 == s {
                        m.1 = aside;
                    }
                }
            }
        }
    }

    fn move_home(&mut self, dst: Home, src: Home, bytes: u32) {
        let inst = match (dst, src) {
            (Home::Reg(dst), Home::Reg(src)) => Inst::Mov { dst, src },
            (Home::View(dst), Home::View(src)) => Inst::ViewMov { dst, src },
            (Home::Tile(dst), Home::Tile(src)) => Inst::CopyTile { dst, src, bytes },
            (Home::Reg(_) | Home::View(_) | Home::Tile(_), _) => {
                unreachable!("a carried value should keep its kind")
            }
        };
        self.insts.push(inst);
    }
}
