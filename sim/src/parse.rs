//! PTX text to a syntax tree. Knows the grammar of PTX (ISA 8.x and 9.x) and no opcode at all.
//!
//! An instruction is `@guard op.mod.mod operand, operand;` whatever its name, so new instructions parse
//! without a change here and fail later, loudly, in the form table. Scopes stay as `Open` and `Close`
//! statements: names declared twice in two inline-assembly blocks are told apart when lowering.

mod lex;
mod tree;

use crate::error::SimError;
use lex::{Kind, Token};
pub(crate) use tree::{Function, Guard, Init, Inst, Operand, Ptx, Space, Stmt, Var, type_bytes};

/// Parses a module.
pub(crate) fn parse(text: &str) -> Result<Ptx, SimError> {
    let tokens = lex::tokens(text)?;
    Parser { tokens: &tokens, at: 0 }.module()
}

struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

impl<'a> Parser<'_, 'a> {
    fn peek(&self) -> Option<Kind<'a>> {
        self.tokens.get(self.at).map(|t| t.kind)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at.min(self.tokens.len().saturating_sub(1))).map_or(0, |t| t.line)
    }

    fn fail<T>(&self, expected: &str) -> Result<T, SimError> {
        let found = match self.peek() {
            Some(Kind::Word(w) | Kind::Number(w) | Kind::Text(w)) => format!("`{w}`"),
            Some(Kind::Punct(c)) => format!("`{}`", c as char),
            None => "the end of the text".to_owned(),
        };
        Err(SimError::Parse { line: self.line(), message: format!("expected {expected}, found {found}") })
    }

    fn is(&self, c: u8) -> bool {
        self.peek() == Some(Kind::Punct(c))
    }

    fn eat(&mut self, c: u8) -> bool {
        let hit = self.is(c);
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, c: u8) -> Result<(), SimError> {
        if self.eat(c) { Ok(()) } else { self.fail(&format!("`{}`", c as char)) }
    }

    fn eat_word(&mut self, w: &str) -> bool {
        let hit = self.peek() == Some(Kind::Word(w));
        self.at += usize::from(hit);
        hit
    }

    fn word(&mut self, what: &str) -> Result<&'a str, SimError> {
        match self.peek() {
            Some(Kind::Word(w)) => {
                self.at += 1;
                Ok(w)
            }
            Some(Kind::Number(_) | Kind::Text(_) | Kind::Punct(_)) | None => self.fail(what),
        }
    }

    fn integer(&mut self, what: &str) -> Result<i64, SimError> {
        let negative = self.eat(b'-');
        match self.peek() {
            Some(Kind::Number(w)) => {
                let line = self.line();
                self.at += 1;
                let Operand::Int(v) = lex::number(w, line)? else {
                    return Err(SimError::Parse { line, message: format!("expected {what}, found `{w}`") });
                };
                Ok(if negative { v.wrapping_neg() } else { v })
            }
            Some(Kind::Word(_) | Kind::Text(_) | Kind::Punct(_)) | None => self.fail(what),
        }
    }

    fn skip_braces(&mut self) -> Result<(), SimError> {
        let mut depth = 0;
        while let Some(kind) = self.peek() {
            self.at += 1;
            match kind {
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Kind::Punct(_) | Kind::Word(_) | Kind::Number(_) | Kind::Text(_) => {}
            }
        }
        self.fail("`}`")
    }

    fn skip_to(&mut self, c: u8) {
        while self.peek().is_some() && !self.eat(c) {
            self.at += 1;
        }
    }

    fn module(mut self) -> Result<Ptx, SimError> {
        let mut ptx = Ptx::default();
        while self.peek().is_some() {
            let mut is_extern = false;
            while self.eat_word(".visible") || self.eat_word(".weak") || self.eat_word(".common") || {
                let hit = self.eat_word(".extern");
                is_extern |= hit;
                hit
            } {}
            match self.word("a module directive")? {
                ".version" => self.at += 1,
                ".target" => {
                    self.word("a target")?.clone_into(&mut ptx.target);
                    while self.eat(b',') {
                        self.word("a target")?;
                    }
                }
                ".address_size" => {
                    let bits = self.integer("32 or 64")?;
                    if bits != 64 {
                        return Err(SimError::Parse {
                            line: self.line(),
                            message: format!("address size {bits}; only 64-bit modules run"),
                        });
                    }
                }
                ".file" => {
                    let id = self.integer("a file number")?;
                    if let Some(Kind::Text(name)) = self.peek() {
                        self.at += 1;
                        ptx.files.push((id as u32, name.to_owned()));
                    }
                    while self.eat(b',') {
                        self.integer("a file time or size")?;
                    }
                }
                ".section" => {
                    self.word("a section name")?;
                    self.skip_braces()?;
                }
                ".pragma" | ".alias" => self.skip_to(b';'),
                word @ (".entry" | ".func") => {
                    let function = self.function(word == ".entry")?;
                    if function.has_body || !ptx.functions.iter().any(|f| f.name == function.name) {
                        ptx.functions.retain(|f| f.name != function.name);
                        ptx.functions.push(function);
                    }
                }
                ".global" => self.variables(Space::Global, is_extern, &mut ptx.vars)?,
                ".const" => self.variables(Space::Const, is_extern, &mut ptx.vars)?,
                ".shared" => self.variables(Space::Shared, is_extern, &mut ptx.vars)?,
                word => {
                    self.at -= 1;
                    return self.fail(&format!("a module directive the machine knows, not `{word}`"));
                }
            }
        }
        Ok(ptx)
    }

    fn function(&mut self, is_entry: bool) -> Result<Function, SimError> {
        self.eat_word(".noreturn");
        let returns = if !is_entry && self.is(b'(') { self.parameters()? } else { Vec::new() };
        let name = self.word("a function name")?.to_owned();
        let params = if self.is(b'(') { self.parameters()? } else { Vec::new() };
        let mut directives = Vec::new();
        loop {
            match self.peek() {
                Some(Kind::Word(".pragma")) => self.skip_to(b';'),
                Some(Kind::Word(w)) if w.starts_with('.') => {
                    self.at += 1;
                    let mut numbers = Vec::new();
                    while matches!(self.peek(), Some(Kind::Number(_))) {
                        numbers.push(self.integer("a number")? as u32);
                        self.eat(b',');
                    }
                    directives.push((w.to_owned(), numbers));
                }
                Some(Kind::Word(_) | Kind::Number(_) | Kind::Text(_) | Kind::Punct(_)) | None => break,
            }
        }
        let mut function =
            Function { name, is_entry, returns, params, directives, body: Vec::new(), has_body: false };
        if self.eat(b';') {
            return Ok(function);
        }
        self.expect(b'{')?;
        function.has_body = true;
        let mut depth = 0;
        loop {
            if self.eat(b'}') {
                if depth == 0 {
                    return Ok(function);
                }
                depth -= 1;
                function.body.push(Stmt::Close);
            } else if self.eat(b'{') {
                depth += 1;
                function.body.push(Stmt::Open);
            } else if !self.eat(b';') {
                self.statement(&mut function.body)?;
            }
        }
    }

    fn parameters(&mut self) -> Result<Vec<Var>, SimError> {
        self.expect(b'(')?;
        let mut out = Vec::new();
        while !self.eat(b')') {
            let space = self.word("`.param` or `.reg`")?;
            if space != ".param" && space != ".reg" {
                self.at -= 1;
                return self.fail("`.param` or `.reg`");
            }
            out.push(self.variable(Space::Param, false)?);
            self.eat(b',');
        }
        Ok(out)
    }

    fn variables(&mut self, space: Space, is_extern: bool, out: &mut Vec<Var>) -> Result<(), SimError> {
        let first = self.variable(space, is_extern)?;
        let (ty, align) = (first.ty.clone(), first.align);
        out.push(first);
        while self.eat(b',') {
            let var = self.declarator(space, is_extern, &ty, align)?;
            out.push(var);
        }
        self.expect(b';')
    }

    fn variable(&mut self, space: Space, is_extern: bool) -> Result<Var, SimError> {
        let (mut align, mut ty) = (0, "");
        while let Some(Kind::Word(w)) = self.peek() {
            if !w.starts_with('.') {
                break;
            }
            self.at += 1;
            match w {
                ".align" => align = self.integer("an alignment")? as u64,
                // Hints on pointer parameters: the space and alignment of what they point at.
                ".ptr" | ".global" | ".shared" | ".local" | ".const" | ".v2" | ".v4" => {
                    if w == ".ptr" {
                        while let Some(Kind::Word(".global" | ".shared" | ".local" | ".const" | ".param")) =
                            self.peek()
                        {
                            self.at += 1;
                        }
                        if self.eat_word(".align") {
                            self.integer("an alignment")?;
                        }
                    } else if w == ".v2" || w == ".v4" {
                        return self.fail("a scalar type (vector variables are not read)");
                    }
                }
                ".attribute" => self.skip_to(b')'),
                _ => ty = w,
            }
        }
        if type_bytes(ty).is_none() {
            return self.fail("a variable's type");
        }
        self.declarator(space, is_extern, ty, align)
    }

    fn declarator(&mut self, space: Space, is_extern: bool, ty: &str, align: u64) -> Result<Var, SimError> {
        let element = type_bytes(ty).unwrap_or(1);
        let name = self.word("a variable name")?.to_owned();
        let mut bytes = element;
        let mut open = false;
        while self.eat(b'[') {
            if self.eat(b']') {
                open = true;
            } else {
                bytes = bytes.saturating_mul(self.integer("an array length")? as u64);
                self.expect(b']')?;
            }
        }
        let mut init = Vec::new();
        if self.eat(b'=') {
            self.initialiser(&mut init)?;
        }
        if open {
            bytes = element * init.len() as u64;
        }
        Ok(Var {
            space,
            name,
            ty: ty.to_owned(),
            align: if align == 0 { element } else { align },
            bytes,
            init,
            is_extern,
        })
    }

    fn initialiser(&mut self, out: &mut Vec<Init>) -> Result<(), SimError> {
        if self.eat(b'{') {
            while !self.eat(b'}') {
                self.initialiser(out)?;
                self.eat(b',');
            }
            return Ok(());
        }
        match self.operand()? {
            Operand::Int(v) => out.push(Init::Bits(v as u64)),
            Operand::F32(v) => out.push(Init::Bits(u64::from(v))),
            Operand::F64(v) => out.push(Init::Bits(v)),
            Operand::Name(n) if n == "generic" => {
                self.expect(b'(')?;
                let name = self.word("a variable name")?.to_owned();
                let offset = if self.eat(b'+') { self.integer("an offset")? } else { 0 };
                self.expect(b')')?;
                out.push(Init::Address(name, offset));
            }
            Operand::Name(n) => out.push(Init::Address(n, 0)),
            Operand::NameOffset(n, o) => out.push(Init::Address(n, o)),
            Operand::Not(_)
            | Operand::Vector(_)
            | Operand::Pair(..)
            | Operand::Mem(..)
            | Operand::Tensor(..)
            | Operand::List(_) => return self.fail("an initial value"),
        }
        Ok(())
    }

    fn statement(&mut self, out: &mut Vec<Stmt>) -> Result<(), SimError> {
        let line = self.line();
        let guard = if self.eat(b'@') {
            let negated = self.eat(b'!');
            Some(Guard { name: self.word("a predicate")?.to_owned(), negated })
        } else {
            None
        };
        let word = self.word("an instruction")?;
        if guard.is_none() && self.eat(b':') {
            out.push(Stmt::Label(word.to_owned()));
            return Ok(());
        }
        match word {
            ".reg" => self.registers(out),
            ".loc" => {
                let file = self.integer("a file number")? as u32;
                let source = self.integer("a line")? as u32;
                self.integer("a column")?;
                while self.eat(b',') {
                    // `function_name label+offset`, `inlined_at file line column`; a label that follows is the next statement.
                    match self.word("`function_name` or `inlined_at`")? {
                        "function_name" => {
                            self.word("a label")?;
                            if self.eat(b'+') {
                                self.integer("an offset")?;
                            }
                        }
                        "inlined_at" => {
                            for what in ["a file number", "a line", "a column"] {
                                self.integer(what)?;
                            }
                        }
                        _ => {
                            self.at -= 1;
                            return self.fail("`function_name` or `inlined_at`");
                        }
                    }
                }
                out.push(Stmt::Loc { file, line: source });
                Ok(())
            }
            ".pragma" | ".branchtargets" | ".callprototype" | ".calltargets" => {
                self.skip_to(b';');
                Ok(())
            }
            ".shared" | ".local" | ".param" | ".global" | ".const" => {
                let space = match word {
                    ".shared" => Space::Shared,
                    ".local" => Space::Local,
                    ".param" => Space::Param,
                    ".global" => Space::Global,
                    _ => Space::Const,
                };
                let mut vars = Vec::new();
                self.variables(space, false, &mut vars)?;
                out.extend(vars.into_iter().map(Stmt::Var));
                Ok(())
            }
            op => {
                let mut operands = Vec::new();
                while !self.eat(b';') {
                    operands.push(self.operand()?);
                    if !self.eat(b',') && !self.is(b';') {
                        return self.fail("`,` or `;`");
                    }
                }
                out.push(Stmt::Inst(Inst { guard, op: op.to_owned(), operands, line }));
                Ok(())
            }
        }
    }

    fn registers(&mut self, out: &mut Vec<Stmt>) -> Result<(), SimError> {
        let mut ty = self.word("a register type")?;
        while let Some(Kind::Word(w)) = self.peek() {
            if !w.starts_with('.') {
                break;
            }
            ty = w;
            self.at += 1;
        }
        loop {
            let name = self.word("a register name")?.to_owned();
            let count = if self.eat(b'<') {
                let n = self.integer("a register count")? as u32;
                self.expect(b'>')?;
                Some(n)
            } else {
                None
            };
            out.push(Stmt::Reg { ty: ty.to_owned(), name, count });
            if self.eat(b';') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn operand(&mut self) -> Result<Operand, SimError> {
        let first = self.simple_operand()?;
        if self.eat(b'|') {
            let second = self.simple_operand()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn simple_operand(&mut self) -> Result<Operand, SimError> {
        let line = self.line();
        if self.eat(b'{') {
            return Ok(Operand::Vector(self.operands_until(b'}')?));
        }
        if self.eat(b'(') {
            return Ok(Operand::List(self.operands_until(b')')?));
        }
        if self.eat(b'[') {
            let base = self.simple_operand()?;
            if self.eat(b',') {
                self.expect(b'{')?;
                let coordinates = self.operands_until(b'}')?;
                self.expect(b']')?;
                return Ok(Operand::Tensor(Box::new(base), coordinates));
            }
            let (base, offset) = if let Operand::NameOffset(name, offset) = base {
                (Operand::Name(name), offset)
            } else {
                (base, 0)
            };
            self.expect(b']')?;
            return Ok(Operand::Mem(Box::new(base), offset));
        }
        if self.eat(b'!') {
            return Ok(Operand::Not(self.word("a predicate")?.to_owned()));
        }
        if self.eat(b'-') {
            let Some(Kind::Number(w)) = self.peek() else { return self.fail("a number") };
            self.at += 1;
            let value = lex::number(w, line)?;
            if let Operand::Int(v) = value {
                return Ok(Operand::Int(v.wrapping_neg()));
            }
            if let Operand::F32(v) = value {
                return Ok(Operand::F32(v ^ 0x8000_0000));
            }
            if let Operand::F64(v) = value {
                return Ok(Operand::F64(v ^ (1 << 63)));
            }
            return Ok(value);
        }
        match self.peek() {
            Some(Kind::Number(w)) => {
                self.at += 1;
                lex::number(w, line)
            }
            Some(Kind::Word(w)) => {
                self.at += 1;
                if self.eat(b'+') {
                    Ok(Operand::NameOffset(w.to_owned(), self.integer("an offset")?))
                } else {
                    Ok(Operand::Name(w.to_owned()))
                }
            }
            Some(Kind::Text(_) | Kind::Punct(_)) | None => self.fail("an operand"),
        }
    }

    fn operands_until(&mut self, close: u8) -> Result<Vec<Operand>, SimError> {
        let mut out = Vec::new();
        while !self.eat(close) {
            out.push(self.operand()?);
            self.eat(b',');
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Vec<Stmt> {
        let whole =
            format!(".version 8.0\n.target sm_90a\n.address_size 64\n.visible .entry k()\n{{\n{text}\n}}");
        parse(&whole).expect("the text should parse").functions.remove(0).body
    }

    #[test]
    fn an_instruction_keeps_guard_form_and_operands() {
        let stmts = body("@!%p1 ld.global.nc.v2.f32 {%f1, %f2}, [%rd1+-8];");
        let Stmt::Inst(inst) = &stmts[0] else { panic!("not an instruction: {stmts:?}") };
        assert!(inst.guard.as_ref().is_some_and(|g| g.negated && g.name == "%p1"));
        assert_eq!(inst.op, "ld.global.nc.v2.f32");
        assert_eq!(inst.line, 6);
        assert_eq!(inst.operands[1], Operand::Mem(Box::new(Operand::Name("%rd1".into())), -8));
    }

    #[test]
    fn literals_keep_their_bits() {
        let stmts = body("x 0f3F800000, 0d3FF0000000000000, -1, 0x3f803f80U, 017;");
        let Stmt::Inst(inst) = &stmts[0] else { panic!("not an instruction: {stmts:?}") };
        let bits = (1.0f32.to_bits(), 1.0f64.to_bits());
        assert_eq!(
            inst.operands,
            [
                Operand::F32(bits.0),
                Operand::F64(bits.1),
                Operand::Int(-1),
                Operand::Int(0x3f80_3f80),
                Operand::Int(15)
            ]
        );
    }

    #[test]
    fn a_label_behind_an_inlined_line_is_a_label() {
        let stmts = body(".loc 1 2 3, function_name $L__info0, inlined_at 1 4 5\n$L__BB0_2:\nret;");
        assert!(matches!(&stmts[0], Stmt::Loc { file: 1, line: 2 }));
        assert!(matches!(&stmts[1], Stmt::Label(name) if name == "$L__BB0_2"), "{stmts:?}");
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = parse(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\nadd.s32 %r1 %r2;\n}",
        )
        .expect_err("should not parse");
        assert_eq!(error.to_string(), "PTX line 6: expected `,` or `;`, found `%r2`");
    }
}
