//! The text form of a function, read.
//!
//! The parser takes all that the printer writes, and a little more for files written by hand: `//` comments, handles that
//! are not dense (they are closed up in order), and names without a number (`%acc`), which are numbered after the others.
//! It accepts what the verifier would reject, so that the verifier can say why; it never panics, and stops at the first
//! error with its line and column.

pub(crate) mod cursor;
pub(crate) mod labels;
mod ops;

use super::func::{Block, Func, Param, Stmt, StmtKind, Value, ValueData, ViewFacts};
use super::print::is_path_char;
use super::types::{DType, MAX_RANK, Shape, TileType, Type, ViewType};
use super::walk::map_values;
use crate::diag::Loc;
use cursor::Cursor;
use labels::Labels;

/// Deepest nesting of regions that is read; the parser calls itself per level.
const MAX_DEPTH: usize = 64;

/// What is wrong with a text, and where in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected or found.
    pub message: String,
}

/// The function that `text` writes.
///
/// # Errors
/// The first place that does not follow the grammar, or a value that is read but defined nowhere.
pub fn parse(text: &str) -> Result<Func, ParseError> {
    let mut parser = Parser { cur: Cursor::new(text), labels: Labels::default() };
    let func = parser.func();
    func.map_err(|e| parser.cur.locate(e))
}

/// An error before its offset is turned into line and column.
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) message: String,
}

pub(crate) type Parsed<T> = Result<T, Fault>;

/// A definition read, whose location may wait for that of its statement.
struct Definition {
    value: Value,
    at: usize,
    ty: Type,
    loc: Option<Loc>,
}

struct Parser<'a> {
    cur: Cursor<'a>,
    labels: Labels<Type>,
}

impl Parser<'_> {
    fn func(&mut self) -> Parsed<Func> {
        self.cur.expect_word("kernel")?;
        self.cur.expect("@")?;
        let name = self.cur.word_or_string()?;
        self.cur.expect("(")?;
        let mut params = Vec::new();
        while !self.cur.eat(")") {
            params.push(self.param()?);
            if !self.cur.eat(",") {
                self.cur.expect(")")?;
                break;
            }
        }
        let body = self.block(Loc::default(), 0)?;
        if !self.cur.at_end() {
            return Err(self.cur.fault("the text should end after the kernel's closing brace"));
        }
        let mut func = Func { name, params, values: Vec::new(), body };
        let (handles, values) = std::mem::take(&mut self.labels).resolve()?;
        map_values(&mut func, |v| Value(handles[v.index()]));
        func.values = values.into_iter().map(|v| ValueData { ty: v.ty, loc: v.loc, name: v.name }).collect();
        Ok(func)
    }

    fn param(&mut self) -> Parsed<Param> {
        let value = self.value()?;
        let at = self.cur.offset();
        let name = if self.cur.starts_with(":") {
            self.labels.name_of(value.0)
        } else {
            Some(self.cur.word_or_string()?)
        };
        let Some(name) = name else {
            return Err(Fault {
                at,
                message: "a parameter should have a name, such as `%x.0` or `%0 x`".to_owned(),
            });
        };
        let mut def = self.rest_of_definition(value, at)?;
        let mut facts = ViewFacts::default();
        loop {
            if self.cur.eat_word("contiguous") {
                facts.contiguous = true;
            } else if self.cur.eat_word("divisible") {
                facts.divisible = self.cur.number()?;
            } else {
                break;
            }
        }
        self.define(&mut def, Loc::default())?;
        Ok(Param { name, value, facts })
    }

    fn value(&mut self) -> Parsed<Value> {
        let (label, at) = self.cur.label("%", "a value such as `%0`")?;
        self.labels.mention(label, at).map(Value)
    }

    fn values(&mut self, close: &str) -> Parsed<Vec<Value>> {
        let mut out = Vec::new();
        while !self.cur.eat(close) {
            out.push(self.value()?);
            if !self.cur.eat(",") {
                self.cur.expect(close)?;
                break;
            }
        }
        Ok(out)
    }

    fn definition(&mut self) -> Parsed<Definition> {
        let at = self.cur.offset();
        let value = self.value()?;
        self.rest_of_definition(value, at)
    }

    fn rest_of_definition(&mut self, value: Value, at: usize) -> Parsed<Definition> {
        self.cur.expect(":")?;
        let ty = self.ty()?;
        let loc = self.loc()?;
        Ok(Definition { value, at, ty, loc })
    }

    fn define(&mut self, def: &mut Definition, usual: Loc) -> Parsed<Value> {
        self.labels.define(def.value.0, def.at, def.ty, def.loc.unwrap_or(usual))?;
        Ok(def.value)
    }

    fn define_all(&mut self, defs: Vec<Definition>, usual: Loc) -> Parsed<Vec<Value>> {
        defs.into_iter().map(|mut def| self.define(&mut def, usual)).collect()
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let at = self.cur.offset();
        let word = self.cur.word()?;
        DType::from_name(word)
            .ok_or_else(|| Fault { at, message: format!("`{word}` is not an element type") })
    }

    fn ty(&mut self) -> Parsed<Type> {
        for (word, mutable) in [("view", false), ("view_mut", true)] {
            if self.cur.eat_word(word) {
                self.cur.expect("<")?;
                let dtype = self.dtype()?;
                self.cur.expect(",")?;
                let rank = self.cur.number()?;
                self.cur.expect(">")?;
                return Ok(Type::View(ViewType { dtype, rank, mutable }));
            }
        }
        let dtype = self.dtype()?;
        let shape = if self.cur.starts_with("<") { self.shape()? } else { Shape::SCALAR };
        Ok(Type::Tile(TileType::new(dtype, shape)))
    }

    fn shape(&mut self) -> Parsed<Shape> {
        let at = self.cur.offset();
        self.cur.expect("<")?;
        let mut dims = Vec::new();
        while !self.cur.eat(">") {
            if !dims.is_empty() {
                self.cur.expect("x")?;
            }
            dims.push(self.cur.number::<u32>()? as usize);
        }
        if dims.len() > MAX_RANK {
            let message = format!("a shape of rank {} is over the limit of {MAX_RANK}", dims.len());
            return Err(Fault { at, message });
        }
        Ok(Shape::new(&dims))
    }

    /// `@file:line:column` or `@?`, if one follows.
    fn loc(&mut self) -> Parsed<Option<Loc>> {
        if !self.cur.eat("@") {
            return Ok(None);
        }
        if self.cur.eat("?") {
            return Ok(Some(Loc::default()));
        }
        let file = if self.cur.starts_with("\"") {
            self.cur.string()?
        } else {
            self.cur.run(is_path_char).to_owned()
        };
        self.cur.expect(":")?;
        let line = self.cur.number()?;
        self.cur.expect(":")?;
        let column = self.cur.number()?;
        Ok(Some(Loc { file: labels::intern_file(&file), line, column }))
    }

    fn stmt_loc(&mut self) -> Parsed<Loc> {
        Ok(self.loc()?.unwrap_or_default())
    }

    fn block(&mut self, usual: Loc, depth: usize) -> Parsed<Block> {
        if depth > MAX_DEPTH {
            return Err(self.cur.fault(&format!("regions are nested deeper than the limit of {MAX_DEPTH}")));
        }
        let mut block = Block::default();
        if self.cur.eat("(") {
            let mut defs = Vec::new();
            while !self.cur.eat(")") {
                defs.push(self.definition()?);
                if !self.cur.eat(",") {
                    self.cur.expect(")")?;
                    break;
                }
            }
            block.params = self.define_all(defs, usual)?;
        }
        self.cur.expect("{")?;
        while !self.cur.eat("}") {
            if self.cur.eat_word("yield") {
                block.yields = self.values("}")?;
                break;
            }
            block.stmts.push(self.stmt(depth)?);
        }
        Ok(block)
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        let mut defs = Vec::new();
        if self.cur.starts_with("%") {
            defs.push(self.definition()?);
            while self.cur.eat(",") {
                defs.push(self.definition()?);
            }
            self.cur.expect("=")?;
        }
        let at = self.cur.offset();
        let word = self.cur.word_for("a statement or `}`")?;
        match word {
            "for" | "while" | "if" => self.region_stmt(word, defs, depth),
            "store" | "scatter" | "print" | "assert" => {
                if !defs.is_empty() {
                    return Err(Fault { at, message: format!("`{word}` defines no value") });
                }
                let kind = self.effect(word)?;
                Ok(Stmt { kind, loc: self.stmt_loc()? })
            }
            _ => {
                let [def] = &mut defs[..] else {
                    let message = format!(
                        "`{word}` is no statement; an operation defines one value: `%0: i32 = {word} ...`"
                    );
                    return Err(Fault { at, message });
                };
                let op = self.op(word, at, def.ty)?;
                let loc = self.stmt_loc()?;
                let value = self.define(def, loc)?;
                Ok(Stmt { kind: StmtKind::Let { value, op }, loc })
            }
        }
    }

    fn effect(&mut self, word: &str) -> Parsed<StmtKind> {
        match word {
            "store" | "scatter" => {
                let (view, at) = self.place()?;
                self.cur.expect("=")?;
                let value = self.value()?;
                if word == "store" {
                    return Ok(StmtKind::Store { view, offsets: at, value });
                }
                let mask = if self.cur.eat_word("mask") { Some(self.value()?) } else { None };
                Ok(StmtKind::Scatter { view, indices: at, value, mask })
            }
            "print" => {
                let label = self.cur.string()?;
                let mut values = Vec::new();
                while self.cur.eat(",") {
                    values.push(self.value()?);
                }
                Ok(StmtKind::Print { label, values })
            }
            _ => {
                let cond = self.value()?;
                self.cur.expect(",")?;
                Ok(StmtKind::Assert { cond, message: self.cur.string()? })
            }
        }
    }

    fn region_stmt(&mut self, word: &str, defs: Vec<Definition>, depth: usize) -> Parsed<Stmt> {
        let kind_and_loc = match word {
            "for" => {
                let lo = self.value()?;
                let hi = self.keyed("to")?;
                let step = self.keyed("step")?;
                let inits = self.inits()?;
                let loc = self.stmt_loc()?;
                self.cur.expect_word("do")?;
                let body = self.block(loc, depth + 1)?;
                let results = self.define_all(defs, loc)?;
                (StmtKind::For { lo, hi, step, inits, body, results }, loc)
            }
            "while" => {
                let inits = self.inits()?;
                let loc = self.stmt_loc()?;
                self.cur.expect_word("test")?;
                let cond = self.block(loc, depth + 1)?;
                self.cur.expect_word("do")?;
                let body = self.block(loc, depth + 1)?;
                let results = self.define_all(defs, loc)?;
                (StmtKind::While { inits, cond, body, results }, loc)
            }
            _ => {
                let cond = self.value()?;
                let loc = self.stmt_loc()?;
                self.cur.expect_word("then")?;
                let then_block = self.block(loc, depth + 1)?;
                let else_block =
                    if self.cur.eat_word("else") { self.block(loc, depth + 1)? } else { Block::default() };
                let results = self.define_all(defs, loc)?;
                (StmtKind::If { cond, then_block, else_block, results }, loc)
            }
        };
        Ok(Stmt { kind: kind_and_loc.0, loc: kind_and_loc.1 })
    }

    fn inits(&mut self) -> Parsed<Vec<Value>> {
        if !self.cur.eat_word("with") {
            return Ok(Vec::new());
        }
        self.cur.expect("(")?;
        self.values(")")
    }

    fn keyed(&mut self, word: &str) -> Parsed<Value> {
        self.cur.expect_word(word)?;
        self.value()
    }

    fn place(&mut self) -> Parsed<(Value, Vec<Value>)> {
        let view = self.value()?;
        self.cur.expect("[")?;
        Ok((view, self.values("]")?))
    }
}
