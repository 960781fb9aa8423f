//! Dispatch of the grammar rows, and the control instructions.

use crate::alu::Class;
use crate::asyncop::AsyncOp;
use crate::error::SimError;
use crate::grammar::{Kind, Mods};
use crate::op::{Guard, Op};
use crate::parse::{self, Operand};

use super::{Binding, Lower};
use crate::parse::Space;

impl Lower<'_> {
    pub(super) fn other(&mut self, kind: Kind, mods: &Mods, inst: &parse::Inst) -> Result<(), SimError> {
        let o = inst.operands.as_slice();
        match kind {
            Kind::Load => self.load(mods, o),
            Kind::Store => self.store(mods, o),
            Kind::Atom => self.atomic(mods, o, true),
            Kind::Red => self.atomic(mods, o, false),
            Kind::Cvta => self.cvta(mods, o),
            Kind::IsSpace => self.is_space(mods, o),
            Kind::Nothing => Ok(()),
            Kind::Branch => self.branch(o),
            Kind::Return => self.ret(),
            Kind::Exit => {
                self.emit(Op::Exit);
                Ok(())
            }
            Kind::Trap => {
                self.emit(Op::Trap("the kernel executed a trap".into()));
                Ok(())
            }
            Kind::Call => self.call(o),
            Kind::Bar => self.bar(mods, o),
            Kind::BarRed => self.bar_red(mods, o),
            Kind::BarWarp => self.bar_warp(o),
            Kind::Fence => self.fence(mods),
            Kind::Shfl => self.shfl(mods, o),
            Kind::Vote => self.vote(mods, o),
            Kind::Match => self.match_any(mods, o),
            Kind::Redux => self.redux(mods, o),
            Kind::Elect => self.elect(o),
            Kind::ActiveMask => self.active_mask(o),
            Kind::LdMatrix => self.matrix_move(mods, o, false),
            Kind::StMatrix => self.matrix_move(mods, o, true),
            Kind::MovMatrix => self.mov_matrix(o),
            Kind::Mma => self.mma(mods, o),
            Kind::CpAsync => self.cp_async(mods, o),
            Kind::CpAsyncCommit => self.emit_async(AsyncOp::CopyCommit),
            Kind::CpAsyncWait => {
                let keep = Some(self.literal(o.first())?);
                self.emit_async(AsyncOp::CopyWait(keep))
            }
            Kind::CpAsyncWaitAll => self.emit_async(AsyncOp::CopyWait(None)),
            Kind::CpAsyncArrive
            | Kind::MbarInit
            | Kind::MbarInval
            | Kind::MbarArrive
            | Kind::MbarExpect
            | Kind::MbarWait
            | Kind::MbarPending => self.mbarrier(kind, mods, o),
            Kind::Mapa | Kind::GetRank => self.cluster_address(kind, mods, o),
            Kind::BulkLoad
            | Kind::BulkStore
            | Kind::BulkReduce
            | Kind::BulkShared
            | Kind::TensorLoad
            | Kind::TensorStore
            | Kind::TensorReduce => self.bulk(kind, mods, o),
            Kind::BulkCommit => self.emit_async(AsyncOp::BulkCommit),
            Kind::BulkWait => {
                let keep = self.literal(o.first())?;
                self.emit_async(AsyncOp::BulkWait { keep })
            }
            Kind::StAsync => self.store_async(mods, o),
            Kind::BarCluster => self.emit_async(if mods.get("what") == "arrive" {
                AsyncOp::ClusterArrive
            } else {
                AsyncOp::ClusterWait
            }),
            Kind::SetMaxReg => self.set_max_reg(mods, o),
            Kind::Wgmma => self.wgmma(mods, o),
            Kind::WgmmaFence => {
                self.emit(Op::WgmmaFence);
                Ok(())
            }
            Kind::WgmmaCommit => {
                self.emit(Op::WgmmaCommit);
                Ok(())
            }
            Kind::WgmmaWait => {
                let keep = self.literal(o.first())?;
                self.emit(Op::WgmmaWait(keep));
                Ok(())
            }
            Kind::CreatePolicy => {
                let [dst, ..] = o else { return self.unknown() };
                let (d, zero) = (self.destination(dst, Class::Q)?, self.const_q(0)?);
                self.alu_named("mov.b64", d, &[zero])
            }
        }
    }

    fn branch(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let [Operand::Name(label)] = o else { return self.fail("a label is expected") };
        let scope = self.scopes.last().expect("there should always be a scope").0;
        self.fixups.push((self.kernel.code.len(), scope, label.clone(), self.line));
        self.emit(Op::Bra(0));
        Ok(())
    }

    fn ret(&mut self) -> Result<(), SimError> {
        let at = self.kernel.code.len();
        if let Some(returns) = self.returns.last_mut() {
            returns.push(at);
            self.emit(Op::Bra(0));
        } else {
            self.emit(Op::Exit);
        }
        Ok(())
    }

    /// Inlines a device function: its parameters are the caller's call variables, under other names.
    fn call(&mut self, o: &[Operand]) -> Result<(), SimError> {
        let (returns, name, args) = match o {
            [Operand::List(r), Operand::Name(f), Operand::List(a), ..] => (r.as_slice(), f, a.as_slice()),
            [Operand::List(r), Operand::Name(f)] => (r.as_slice(), f, &[][..]),
            [Operand::Name(f), Operand::List(a), ..] => (&[][..], f, a.as_slice()),
            [Operand::Name(f)] => (&[][..], f, &[][..]),
            _ => return self.fail("only direct calls are read"),
        };
        match name.as_str() {
            "__assertfail" => {
                self.emit(Op::Trap("a device-side assertion failed".into()));
                return Ok(());
            }
            // Its result is the number of arguments; nobody reads it.
            "vprintf" => return Ok(()),
            _ => {}
        }
        let ptx = self.ptx;
        let Some(function) = ptx.functions.iter().find(|f| f.name == *name && f.has_body) else {
            return self.fail(format!("the module has no body for `{name}`"));
        };
        if self.depth > 64 {
            return self.fail(format!("`{name}` calls itself; recursion is not run"));
        }
        if self.guard != Guard::Always {
            return self.fail("a guarded call is not read");
        }
        let mut bindings = Vec::new();
        for (formal, actual) in function.returns.iter().zip(returns).chain(function.params.iter().zip(args)) {
            let Operand::Name(actual) = actual else {
                return self.fail("call arguments should be variables");
            };
            let Some(binding) = self.find(actual) else {
                return self.fail(format!("no variable `{actual}`"));
            };
            match (binding, formal.space) {
                (Binding::Var(Space::Local, _), _) => bindings.push((formal.name.clone(), binding)),
                _ => return self.fail("call arguments should be `.param` variables"),
            }
        }
        // The callee sees the module's names and its own, not the caller's.
        let outer = self.scopes.split_off(1);
        let (loc, line) = (self.loc, self.line);
        self.scope_parents.push(0);
        self.scopes.push((self.scope_parents.len() - 1, Default::default()));
        for (name, binding) in bindings {
            self.bind(&name, binding);
        }
        self.depth += 1;
        self.returns.push(Vec::new());
        self.body(&function.body)?;
        let end = self.kernel.code.len() as u32;
        for at in self.returns.pop().unwrap_or_default() {
            self.kernel.code[at].op = Op::Bra(end);
        }
        self.depth -= 1;
        self.scopes.truncate(1);
        self.scopes.extend(outer);
        (self.loc, self.line) = (loc, line);
        Ok(())
    }
}
