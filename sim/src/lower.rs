//! From the syntax tree to lowered instructions: scopes, registers, constants, labels, inlined calls.
//!
//! Every register, immediate and special value becomes a slot. Arithmetic forms come from the form table;
//! the rest are read by `lower::other` from the grammar rows. Calls of device functions are inlined, with
//! call parameters in per-thread memory, so the machine itself knows no call stack.

mod arithmetic;
mod bulk;
mod matrix;
mod memory;
mod other;
mod sync;

use std::collections::{BTreeMap, HashMap};

use crate::alu::{Alu, Class, Slot};
use crate::compact::compact_registers;
use crate::error::SimError;
use crate::grammar;
use crate::isa::table;
use crate::memory::SHARED_BASE;
use crate::op::{Addr, AluClass, Base, Guard, Inst, Op, Reg, Special, special};
use crate::parse::{self, Function, Operand, Ptx, Space, Stmt, type_bytes};
use crate::regs::{self, Uses};

/// A kernel parameter's place in the parameter buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the PTX.
    pub name: String,
    /// Offset in the packed buffer, bytes.
    pub offset: u32,
    /// Size, bytes.
    pub bytes: u32,
    /// Alignment, bytes.
    pub align: u32,
    /// PTX type of one element, without the dot: `u64`, `f32`, `b8` for structures.
    pub ty: String,
}

/// A kernel ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: u32,
    pub(crate) code: Vec<Inst>,
    pub(crate) n_w: usize,
    pub(crate) n_q: usize,
    pub(crate) n_p: usize,
    pub(crate) const_w: Vec<(Slot, u32)>,
    pub(crate) const_q: Vec<(Slot, u64)>,
    pub(crate) const_p: Vec<(Slot, u32)>,
    pub(crate) specials: Vec<(Special, Slot)>,
    pub(crate) static_shared: u32,
    /// Alignment of the dynamic array.
    pub(crate) dynamic_align: u32,
    pub(crate) local_bytes: u32,
    pub(crate) max_threads: Option<[u32; 3]>,
    pub(crate) cluster: Option<[u32; 3]>,
    pub(crate) files: BTreeMap<u32, String>,
    /// Registers of a thread at entry, where the launch bounds tell; 0 where setmaxnreg is ignored for that.
    pub(crate) entry_regs: u32,
    /// Per instruction; empty unless the kernel has wgmma.
    pub(crate) uses: Vec<Uses>,
}

/// What a name means.
#[derive(Debug, Clone, Copy)]
enum Binding {
    /// One register, or the first of `count` numbered ones.
    Reg { class: Class, is_half: bool, slot: Slot, count: Option<u32> },
    /// An address in a space.
    Var(Space, u64),
}

struct Lower<'a> {
    ptx: &'a Ptx,
    globals: &'a HashMap<String, (Space, u64)>,
    scopes: Vec<(usize, HashMap<String, Binding>)>,
    scope_parents: Vec<usize>,
    labels: HashMap<(usize, String), u32>,
    /// Branches to patch: instruction, scope, label, line.
    fixups: Vec<(usize, usize, String, u32)>,
    kernel: Kernel,
    consts_w: HashMap<u32, Slot>,
    consts_q: HashMap<u64, Slot>,
    consts_p: [Option<Slot>; 2],
    special_slots: HashMap<Special, Slot>,
    loc: (u32, u32),
    line: u32,
    guard: Guard,
    form: String,
    /// Where `ret` goes inside an inlined function.
    returns: Vec<Vec<usize>>,
    depth: u32,
    carry: Option<Slot>,
}

/// Lowers one kernel. `globals` gives the address of every module variable.
pub(crate) fn lower(
    ptx: &Ptx,
    function: &Function,
    globals: &HashMap<String, (Space, u64)>,
) -> Result<Kernel, SimError> {
    let mut params = Vec::new();
    let mut end = 0u32;
    for p in &function.params {
        let align = (p.align as u32).clamp(1, 1 << 16);
        let offset = end.next_multiple_of(align);
        if p.bytes > 1 << 16 {
            let message = format!("the parameter `{}` has {} bytes", p.name, p.bytes);
            return Err(SimError::Launch { kernel: function.name.clone(), message });
        }
        end = offset + p.bytes as u32;
        let ty = p.ty.trim_start_matches('.').to_owned();
        params.push(Param { name: p.name.clone(), offset, bytes: p.bytes as u32, align, ty });
    }
    let triple = |numbers: &[u32]| {
        let at = |i: usize| numbers.get(i).copied().unwrap_or(1);
        [at(0), at(1), at(2)]
    };
    let directive = |names: &[&str]| {
        function.directives.iter().find(|(n, _)| names.contains(&n.as_str())).map(|(_, v)| triple(v))
    };
    let kernel = Kernel {
        name: function.name.clone(),
        param_bytes: end,
        params,
        code: Vec::new(),
        n_w: 0,
        n_q: 0,
        n_p: 0,
        const_w: Vec::new(),
        const_q: Vec::new(),
        const_p: Vec::new(),
        specials: Vec::new(),
        static_shared: 0,
        dynamic_align: 16,
        local_bytes: 0,
        max_threads: directive(&[".maxntid", ".reqntid"]),
        cluster: directive(&[".reqnctapercluster"]),
        files: ptx.files.iter().cloned().collect(),
        entry_regs: 0,
        uses: Vec::new(),
    };
    let mut lower = Lower {
        ptx,
        globals,
        scopes: vec![(0, HashMap::new())],
        scope_parents: vec![0],
        labels: HashMap::new(),
        fixups: Vec::new(),
        kernel,
        consts_w: HashMap::new(),
        consts_q: HashMap::new(),
        consts_p: [None; 2],
        special_slots: HashMap::new(),
        loc: (0, 0),
        line: 0,
        guard: Guard::Always,
        form: String::new(),
        returns: Vec::new(),
        depth: 0,
        carry: None,
    };
    lower.declare_module_shared(function)?;
    for p in lower.kernel.params.clone() {
        lower.bind(&p.name, Binding::Var(Space::Param, u64::from(p.offset)));
    }
    lower.body(&function.body)?;
    lower.emit(Op::Exit);
    lower.patch()?;
    let mut kernel = lower.kernel;
    kernel.entry_regs = entry_regs(function);
    compact_registers(&mut kernel);
    if kernel.code.iter().any(|i| matches!(i.op, Op::Wgmma(_))) {
        kernel.uses = regs::uses_of(&mut kernel.code);
    }
    Ok(kernel)
}

/// Registers per thread at entry when both launch bounds are given: the file shared out, in eights.
fn entry_regs(function: &Function) -> u32 {
    let numbers = |names: &[&str]| -> Option<u32> {
        function.directives.iter().find(|(n, _)| names.contains(&n.as_str())).map(|(_, v)| v.iter().product())
    };
    match (numbers(&[".maxntid", ".reqntid"]), numbers(&[".minnctapersm"])) {
        (Some(threads), Some(blocks)) if threads > 0 && blocks > 0 => {
            let share: u32 = 65_536 / (threads * blocks);
            if share >= 255 { 255 } else { share / 8 * 8 }
        }
        _ => 0,
    }
}

impl<'a> Lower<'a> {
    /// Module-level shared variables: static ones first, the dynamic array after them all.
    fn declare_module_shared(&mut self, function: &Function) -> Result<(), SimError> {
        let mut used = Vec::new();
        names_used(&function.body, &mut used);
        for f in self.ptx.functions.iter().filter(|f| !f.is_entry) {
            names_used(&f.body, &mut used);
        }
        for var in self.ptx.vars.iter().filter(|v| v.space == Space::Shared) {
            if var.bytes == 0 {
                self.kernel.dynamic_align = self.kernel.dynamic_align.max(var.align.min(1 << 16) as u32);
                self.bind(&var.name, Binding::Var(Space::Shared, u64::MAX));
            } else if used.contains(&var.name.as_str()) {
                let at = self.reserve_shared(var.align, var.bytes)?;
                self.bind(&var.name, Binding::Var(Space::Shared, at));
            }
        }
        Ok(())
    }

    fn reserve_shared(&mut self, align: u64, bytes: u64) -> Result<u64, SimError> {
        let at = u64::from(SHARED_BASE + self.kernel.static_shared).next_multiple_of(align.clamp(1, 1 << 16));
        let end = at.saturating_add(bytes);
        if end > 1 << 20 {
            return self.fail(format!("{end} bytes of static shared memory"));
        }
        self.kernel.static_shared = end as u32 - SHARED_BASE;
        Ok(at)
    }

    fn bind(&mut self, name: &str, binding: Binding) {
        let scope = self.scopes.last_mut().expect("there should always be a scope");
        scope.1.insert(name.to_owned(), binding);
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SimError> {
        Err(SimError::Operand { form: self.form.clone(), line: self.line, message: message.into() })
    }

    fn unknown<T>(&self) -> Result<T, SimError> {
        Err(SimError::UnknownForm { form: self.form.clone(), line: self.line })
    }

    fn emit(&mut self, op: Op) {
        self.kernel.code.push(Inst { op, guard: self.guard, line: self.line, loc: self.loc });
    }

    fn new_slot(&mut self, class: Class) -> Result<Slot, SimError> {
        let counter = match class {
            Class::W => &mut self.kernel.n_w,
            Class::Q => &mut self.kernel.n_q,
            Class::P => &mut self.kernel.n_p,
        };
        *counter += 1;
        let slot = *counter - 1;
        Slot::try_from(slot).or_else(|_| self.fail("the kernel uses more than 65,536 registers of one class"))
    }

    fn body(&mut self, body: &'a [Stmt]) -> Result<(), SimError> {
        for stmt in body {
            match stmt {
                Stmt::Open => self.open_scope(),
                Stmt::Close => {
                    self.scopes.pop();
                }
                Stmt::Reg { ty, name, count } => self.declare_registers(ty, name, *count)?,
                Stmt::Var(var) => {
                    let at = match var.space {
                        Space::Shared if var.bytes == 0 => u64::MAX,
                        Space::Shared => self.reserve_shared(var.align, var.bytes)?,
                        Space::Local | Space::Param => self.reserve_local(var.align, var.bytes)?,
                        Space::Global | Space::Const | Space::Generic | Space::SharedCluster => {
                            self.form = var.name.clone();
                            return self.fail("a variable of this space inside a function is not read");
                        }
                    };
                    let space = if var.space == Space::Param { Space::Local } else { var.space };
                    self.bind(&var.name, Binding::Var(space, at));
                }
                Stmt::Label(name) => {
                    let scope = self.scopes.last().expect("there should always be a scope").0;
                    self.labels.insert((scope, name.clone()), self.kernel.code.len() as u32);
                }
                Stmt::Loc { file, line } => self.loc = (*file, *line),
                Stmt::Inst(inst) => self.instruction(inst)?,
            }
        }
        Ok(())
    }

    fn reserve_local(&mut self, align: u64, bytes: u64) -> Result<u64, SimError> {
        let at = u64::from(self.kernel.local_bytes).next_multiple_of(align.clamp(1, 1 << 16));
        let end = at.saturating_add(bytes);
        if end > 512 << 10 {
            return self.fail(format!("{end} bytes of local memory; a thread has 512 KiB"));
        }
        self.kernel.local_bytes = end as u32;
        Ok(at)
    }

    fn open_scope(&mut self) {
        let parent = self.scopes.last().expect("there should always be a scope").0;
        self.scope_parents.push(parent);
        self.scopes.push((self.scope_parents.len() - 1, HashMap::new()));
    }

    fn declare_registers(&mut self, ty: &str, name: &str, count: Option<u32>) -> Result<(), SimError> {
        let (class, is_half) = match ty {
            ".pred" => (Class::P, false),
            _ => match type_bytes(ty) {
                Some(1 | 2) => (Class::W, true),
                Some(4) => (Class::W, false),
                Some(8) => (Class::Q, false),
                Some(_) | None => {
                    self.form = format!(".reg {ty}");
                    return self.fail("registers of this type are not read");
                }
            },
        };
        let slot = self.new_slot(class)?;
        for _ in 1..count.unwrap_or(1) {
            self.new_slot(class)?;
        }
        self.bind(name, Binding::Reg { class, is_half, slot, count });
        Ok(())
    }

    /// The meaning of a name, innermost scope first; numbered registers are bound by their prefix.
    fn find(&self, name: &str) -> Option<Binding> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: Option<u32> = name[prefix.len()..].parse().ok();
        for (_, names) in self.scopes.iter().rev() {
            if let Some(binding) = names.get(name) {
                return Some(*binding);
            }
            if let (Some(Binding::Reg { class, is_half, slot, count: Some(count) }), Some(n)) =
                (names.get(prefix), number)
                && n < *count
            {
                let slot = slot + n as Slot;
                return Some(Binding::Reg { class: *class, is_half: *is_half, slot, count: None });
            }
        }
        self.globals.get(name).map(|&(space, at)| Binding::Var(space, at))
    }

    fn const_w(&mut self, bits: u32) -> Result<Slot, SimError> {
        if let Some(&slot) = self.consts_w.get(&bits) {
            return Ok(slot);
        }
        let slot = self.new_slot(Class::W)?;
        self.consts_w.insert(bits, slot);
        self.kernel.const_w.push((slot, bits));
        Ok(slot)
    }

    fn const_q(&mut self, bits: u64) -> Result<Slot, SimError> {
        if let Some(&slot) = self.consts_q.get(&bits) {
            return Ok(slot);
        }
        let slot = self.new_slot(Class::Q)?;
        self.consts_q.insert(bits, slot);
        self.kernel.const_q.push((slot, bits));
        Ok(slot)
    }

    fn const_p(&mut self, value: bool) -> Result<Slot, SimError> {
        if let Some(slot) = self.consts_p[usize::from(value)] {
            return Ok(slot);
        }
        let slot = self.new_slot(Class::P)?;
        self.consts_p[usize::from(value)] = Some(slot);
        self.kernel.const_p.push((slot, if value { u32::MAX } else { 0 }));
        Ok(slot)
    }

    fn special(&mut self, special: Special) -> Result<Slot, SimError> {
        if let Some(&slot) = self.special_slots.get(&special) {
            return Ok(slot);
        }
        let slot = self.new_slot(Class::W)?;
        self.special_slots.insert(special, slot);
        self.kernel.specials.push((special, slot));
        Ok(slot)
    }

    /// The dynamic shared array's address plus an offset: known at launch, so it comes from a special register.
    fn dynamic(&mut self, class: Class, offset: i64) -> Result<Slot, SimError> {
        let mut slot = self.special(Special::DynamicStart)?;
        if offset != 0 {
            let (sum, by) = (self.new_slot(Class::W)?, self.const_w(offset as u32)?);
            self.alu_named("add.u32", sum, &[slot, by])?;
            slot = sum;
        }
        if class == Class::Q {
            let wide = self.new_slot(Class::Q)?;
            self.alu_named("cvt.u64.u32", wide, &[slot])?;
            slot = wide;
        }
        Ok(slot)
    }

    /// A source operand of a class. `bits16`: an immediate is cut to 16 bits.
    fn source(&mut self, operand: &Operand, class: Class, bits16: bool) -> Result<Slot, SimError> {
        match operand {
            Operand::Name(name) => match self.find(name) {
                Some(Binding::Reg { class: found, slot, .. }) => {
                    if found != class {
                        return self
                            .fail(format!("register `{name}` is {found:?}, the form takes {class:?}"));
                    }
                    Ok(slot)
                }
                Some(Binding::Var(Space::Shared, u64::MAX)) => self.dynamic(class, 0),
                Some(Binding::Var(_, at)) => self.immediate(at, class, false),
                None => match (special(name), class, name.as_str()) {
                    (Some(s), Class::W, _) => self.special(s),
                    (None, Class::W, "WARP_SZ") => self.const_w(32),
                    _ => self.fail(format!("nothing is called `{name}` here")),
                },
            },
            Operand::NameOffset(name, offset) => match self.find(name) {
                Some(Binding::Var(Space::Shared, u64::MAX)) => self.dynamic(class, *offset),
                Some(Binding::Var(_, at)) => self.immediate(at.wrapping_add(*offset as u64), class, false),
                Some(Binding::Reg { .. }) | None => self.fail(format!("`{name}` is not a variable")),
            },
            Operand::Not(name) => {
                let src = self.source(&Operand::Name(name.clone()), Class::P, false)?;
                let dst = self.new_slot(Class::P)?;
                self.alu_named("not.pred", dst, &[src])?;
                Ok(dst)
            }
            Operand::Int(v) => self.immediate(*v as u64, class, bits16),
            Operand::F32(bits) => match class {
                Class::W => self.const_w(*bits),
                Class::Q => self.const_q(f64::from(f32::from_bits(*bits)).to_bits()),
                Class::P => self.fail("a number where a predicate belongs"),
            },
            Operand::F64(bits) => match class {
                Class::W => self.const_w((f64::from_bits(*bits) as f32).to_bits()),
                Class::Q => self.const_q(*bits),
                Class::P => self.fail("a number where a predicate belongs"),
            },
            Operand::Vector(_)
            | Operand::Pair(..)
            | Operand::Mem(..)
            | Operand::Tensor(..)
            | Operand::List(_) => self.fail("a register or number is expected here"),
        }
    }

    fn immediate(&mut self, bits: u64, class: Class, bits16: bool) -> Result<Slot, SimError> {
        match class {
            Class::W if bits16 => self.const_w(bits as u32 & 0xffff),
            Class::W => self.const_w(bits as u32),
            Class::Q => self.const_q(bits),
            Class::P => self.const_p(bits != 0),
        }
    }

    /// A destination register of a class.
    fn destination(&mut self, operand: &Operand, class: Class) -> Result<Slot, SimError> {
        let Operand::Name(name) = operand else {
            return self.fail("the destination should be a register");
        };
        match self.find(name) {
            Some(Binding::Reg { class: found, slot, .. }) if found == class => Ok(slot),
            Some(Binding::Reg { class: found, .. }) => {
                self.fail(format!("destination `{name}` is {found:?}, the form gives {class:?}"))
            }
            Some(Binding::Var(..)) | None => {
                if name == "_" {
                    return self.new_slot(class);
                }
                self.fail(format!("`{name}` is not a register"))
            }
        }
    }

    /// Class of a register operand; numbers have none.
    fn class_of(&self, operand: &Operand) -> Option<(Class, bool)> {
        if let Operand::Not(_) = operand {
            return Some((Class::P, false));
        }
        let Operand::Name(name) = operand else { return None };
        match self.find(name) {
            Some(Binding::Reg { class, is_half, .. }) => Some((class, is_half)),
            Some(Binding::Var(..)) | None => special(name).map(|_| (Class::W, false)),
        }
    }

    /// A register of a load, store or matrix.
    fn reg(&mut self, operand: &Operand, bytes: u32) -> Result<Reg, SimError> {
        if *operand == Operand::Name("_".to_owned()) {
            return Ok(Reg::Sink);
        }
        match self.class_of(operand) {
            Some((class @ Class::W, is_half)) => {
                let slot = self.source(operand, class, false)?;
                Ok(if is_half { Reg::H(slot) } else { Reg::W(slot) })
            }
            Some((Class::Q, _)) => Ok(Reg::Q(self.source(operand, Class::Q, false)?)),
            Some((Class::P, _)) => self.fail("a predicate cannot be loaded or stored"),
            None if bytes == 8 => Ok(Reg::Q(self.source(operand, Class::Q, false)?)),
            None => Ok(Reg::W(self.source(operand, Class::W, bytes == 2)?)),
        }
    }

    /// The registers of a vector operand, or of one register.
    fn regs(&mut self, operand: &Operand, bytes: u32) -> Result<Vec<Reg>, SimError> {
        if let Operand::Vector(items) = operand {
            return items.iter().map(|o| self.reg(o, bytes)).collect();
        }
        Ok(vec![self.reg(operand, bytes)?])
    }

    /// `[base + offset]` of a memory operand.
    fn addr(&mut self, operand: &Operand) -> Result<(Addr, Option<Space>), SimError> {
        let Operand::Mem(base, offset) = operand else {
            return self.fail("an address in brackets is expected");
        };
        let absolute = |value: u64| Addr { base: Base::None, offset: (value as i64).wrapping_add(*offset) };
        if let Operand::Int(v) = base.as_ref() {
            return Ok((absolute(*v as u64), None));
        }
        let Operand::Name(name) = base.as_ref() else {
            return self.fail("the base of an address should be a register or a variable");
        };
        match self.find(name) {
            Some(Binding::Reg { class: Class::W, slot, .. }) => {
                Ok((Addr { base: Base::W(slot), offset: *offset }, None))
            }
            Some(Binding::Reg { class: Class::Q, slot, .. }) => {
                Ok((Addr { base: Base::Q(slot), offset: *offset }, None))
            }
            Some(Binding::Var(Space::Shared, u64::MAX)) => {
                let slot = self.dynamic(Class::W, 0)?;
                Ok((Addr { base: Base::W(slot), offset: *offset }, Some(Space::Shared)))
            }
            Some(Binding::Var(space, at)) => Ok((absolute(at), Some(space))),
            Some(Binding::Reg { class: Class::P, .. }) | None => {
                self.fail(format!("`{name}` is not an address"))
            }
        }
    }

    /// Emits an arithmetic form by name.
    fn alu_named(&mut self, form: &str, dst: Slot, src: &[Slot]) -> Result<(), SimError> {
        let row = table().get(form).iter().find(|f| f.src.len() == src.len()).copied();
        let Some(row) = row else { return self.unknown() };
        let mut s = [0; 4];
        s[..src.len()].copy_from_slice(src);
        let class = AluClass { dst: row.dst, src: row.src, is_move: form.starts_with("mov.") };
        self.emit(Op::Alu { run: row.run, alu: Alu { d: dst, s, imm: row.imm }, class });
        Ok(())
    }

    fn instruction(&mut self, inst: &parse::Inst) -> Result<(), SimError> {
        self.line = inst.line;
        self.form.clone_from(&inst.op);
        self.guard = match &inst.guard {
            None => Guard::Always,
            Some(g) => {
                let slot = self.source(&Operand::Name(g.name.clone()), Class::P, false)?;
                if g.negated { Guard::Unless(slot) } else { Guard::If(slot) }
            }
        };
        let result = if let Some((kind, mods)) = grammar::find(&inst.op) {
            self.other(kind, &mods, inst)
        } else {
            self.arithmetic(inst)
        };
        self.guard = Guard::Always;
        result
    }

    fn patch(&mut self) -> Result<(), SimError> {
        for (at, scope, label, line) in std::mem::take(&mut self.fixups) {
            let mut s = scope;
            let target = loop {
                if let Some(&pc) = self.labels.get(&(s, label.clone())) {
                    break pc;
                }
                if s == 0 {
                    let message = format!("no label `{label}` in reach");
                    return Err(SimError::Operand { form: "bra".into(), line, message });
                }
                s = self.scope_parents[s];
            };
            self.kernel.code[at].op = Op::Bra(target);
        }
        Ok(())
    }
}

/// Names in operands, to keep shared variables of other kernels out.
fn names_used<'s>(body: &'s [Stmt], out: &mut Vec<&'s str>) {
    fn operand<'s>(o: &'s Operand, out: &mut Vec<&'s str>) {
        if let Operand::Mem(base, _) | Operand::Tensor(base, _) = o {
            operand(base, out);
        }
        if let Operand::Name(n) | Operand::NameOffset(n, _) = o
            && !n.starts_with('%')
        {
            out.push(n);
        }
    }
    for stmt in body {
        if let Stmt::Inst(inst) = stmt {
            inst.operands.iter().for_each(|o| operand(o, out));
        }
    }
}
