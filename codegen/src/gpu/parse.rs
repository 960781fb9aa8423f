//! The text form of a function of the GPU level, read.
//!
//! The parser takes all that the printer writes, and a little more for files written by hand: `//` comments, variables whose
//! numbers are not dense (they are closed up in order), and variables and buffers by name alone. It accepts what the verifier
//! would reject, so that the verifier can say why; it never panics, and stops at the first error with its line and column.

mod ops;
mod stmts;

use std::collections::BTreeMap;

use super::func::{GpuFunc, GpuParam, Var, VarData, VarType};
use super::memory::{BarrierId, Buffer, BufferId, Mbarrier, ParamMap, Swizzle, TensorMapId};
use super::walk::map_vars;
use crate::diag::Loc;
use crate::ir::parse::cursor::Cursor;
use crate::ir::parse::labels::{Labels, intern_file};
use crate::ir::parse::{Fault, Parsed};
use crate::ir::print::is_path_char;
use crate::ir::types::MAX_RANK;
use crate::ir::{DType, ParseError, Shape, ViewFacts, ViewType};
use crate::layout::Layout;

/// The function that `text` writes.
///
/// # Errors
/// The first place that does not follow the grammar, or a variable, buffer or layout that is named but declared nowhere.
pub fn parse(text: &str) -> Result<GpuFunc, ParseError> {
    let mut parser = Parser {
        cur: Cursor::new(text),
        labels: Labels::default(),
        layouts: BTreeMap::new(),
        buffers: Vec::new(),
        barriers: Vec::new(),
    };
    let func = parser.func();
    func.map_err(|e| parser.cur.locate(e))
}

struct Parser<'a> {
    cur: Cursor<'a>,
    labels: Labels<VarType>,
    layouts: BTreeMap<String, Layout>,
    buffers: Vec<Buffer>,
    barriers: Vec<Mbarrier>,
}

impl Parser<'_> {
    fn func(&mut self) -> Parsed<GpuFunc> {
        while !self.cur.eat_word("kernel") {
            self.layout()?;
        }
        self.cur.expect("@")?;
        let name = self.cur.word_or_string()?;
        self.cur.expect("(")?;
        let params = self.list(")", Self::param)?;
        self.cur.expect_word("for")?;
        let arch = self.cur.word_or_string()?;
        let n_warps = self.numbered("warps")?;
        let cluster = self.number_after("cluster", 1)?;
        let min_blocks = self.number_after("blocks", 0)?;
        let shared_bytes = self.number_after("shared", 0)?;
        let is_persistent = self.cur.eat_word("persistent");
        self.cur.expect("{")?;
        let mut func = GpuFunc {
            name,
            arch,
            n_warps,
            cluster,
            min_blocks,
            is_persistent,
            params,
            maps: Vec::new(),
            vars: Vec::new(),
            buffers: Vec::new(),
            barriers: Vec::new(),
            shared_bytes,
            assertions: Vec::new(),
            body: Default::default(),
        };
        self.declarations(&mut func)?;
        func.body = self.rest_of_block(0)?;
        if !self.cur.at_end() {
            return Err(self.cur.fault("the text should end after the kernel's closing brace"));
        }
        func.buffers = std::mem::take(&mut self.buffers);
        func.barriers = std::mem::take(&mut self.barriers);
        let (handles, vars) = std::mem::take(&mut self.labels).resolve()?;
        map_vars(&mut func, |v| Var(handles[v.index()]));
        func.vars = vars.into_iter().map(|v| VarData { ty: v.ty, loc: v.loc, name: v.name }).collect();
        Ok(func)
    }

    /// `L0 = layout ...`, to the end of the line.
    fn layout(&mut self) -> Parsed<()> {
        let name = self.cur.word_for("`kernel` or the name of a layout")?.to_owned();
        self.cur.expect("=")?;
        let at = self.cur.offset();
        let layout =
            self.cur.rest_of_line().parse::<Layout>().map_err(|e| Fault { at, message: e.to_string() })?;
        if self.layouts.insert(name.clone(), layout).is_some() {
            return Err(Fault { at, message: format!("two layouts are named `{name}`") });
        }
        Ok(())
    }

    fn param(&mut self) -> Parsed<GpuParam> {
        let at = self.cur.offset();
        let var = self.var()?;
        let name = if self.cur.starts_with(":") {
            self.labels.name_of(var.0)
        } else {
            Some(self.cur.word_or_string()?)
        };
        let Some(name) = name else {
            let message = "a parameter should have a name, such as `$x.0` or `$0 x`".to_owned();
            return Err(Fault { at, message });
        };
        self.typed(var, at, Loc::default())?;
        let mut facts = ViewFacts::default();
        let mut is_small = false;
        loop {
            if self.cur.eat_word("contiguous") {
                facts.contiguous = true;
            } else if self.cur.eat_word("divisible") {
                facts.divisible = self.cur.number()?;
            } else if self.cur.eat_word("small") {
                is_small = true;
            } else {
                return Ok(GpuParam { name, var, facts, is_small });
            }
        }
    }

    /// What stands at the head of the body.
    fn declarations(&mut self, func: &mut GpuFunc) -> Parsed<()> {
        loop {
            if self.cur.eat_word("map") {
                self.position("~", func.maps.len())?;
                self.cur.expect("=")?;
                let param = self.var()?;
                self.cur.expect_word("box")?;
                self.cur.expect("[")?;
                let box_dims = self.list("]", |p| p.cur.number())?;
                func.maps.push(ParamMap { param, box_dims, swizzle_bytes: self.numbered("swizzle")? });
            } else if self.cur.eat_word("buffer") {
                let buffer = self.buffer_declaration()?;
                self.buffers.push(buffer);
            } else if self.cur.eat_word("mbarrier") {
                let name = self.position("&", self.barriers.len())?;
                let barrier = Mbarrier {
                    name,
                    slots: self.numbered("slots")?,
                    arrivals: self.numbered("arrivals")?,
                    tx_bytes: self.number_after("bytes", 0)?,
                    offset_bytes: self.number_after("at", 0)?,
                };
                self.barriers.push(barrier);
            } else if self.cur.eat_word("assertion") {
                let message = self.cur.string()?;
                let loc = self.loc()?.unwrap_or_default();
                func.assertions.push((message, loc));
            } else if self.cur.eat_word("var") {
                let at = self.cur.offset();
                let var = self.var()?;
                self.typed(var, at, Loc::default())?;
            } else {
                return Ok(());
            }
        }
    }

    fn buffer_declaration(&mut self) -> Parsed<Buffer> {
        let name = self.position("#", self.buffers.len())?;
        self.cur.expect(":")?;
        let dtype = self.dtype()?;
        let rows = self.cur.number()?;
        self.cur.expect_word("x")?;
        let columns = self.cur.number()?;
        let panels = self.number_after("panels", 1)?;
        let slots = self.number_after("slots", 1)?;
        let pitch_bytes = self.numbered("pitch")?;
        let swizzle = if self.cur.eat_word("xor") {
            Swizzle::Xor { shift: self.cur.number()?, mask: self.cur.number()? }
        } else {
            Swizzle::None
        };
        let align_bytes = self.numbered("align")?;
        let offset_bytes = self.number_after("at", 0)?;
        Ok(Buffer {
            name,
            dtype,
            rows,
            columns,
            panels,
            slots,
            pitch_bytes,
            swizzle,
            align_bytes,
            offset_bytes,
        })
    }

    /// The label of the declaration at `position`: its name, which may be empty.
    fn position(&mut self, sigil: &str, position: usize) -> Parsed<String> {
        let (label, at) = self.cur.label(sigil, &format!("a name such as `{sigil}x.{position}`"))?;
        match label.number {
            Some(n) if n as usize != position => {
                Err(Fault { at, message: format!("this is declaration {position} of its kind, not {n}") })
            }
            Some(_) | None => Ok(label.name.unwrap_or_default()),
        }
    }

    fn buffer(&mut self) -> Parsed<BufferId> {
        let names: Vec<String> = self.buffers.iter().map(|b| b.name.clone()).collect();
        self.declared("#", "a buffer such as `#0`", &names).map(BufferId)
    }

    fn barrier(&mut self) -> Parsed<BarrierId> {
        let names: Vec<String> = self.barriers.iter().map(|b| b.name.clone()).collect();
        self.declared("&", "an mbarrier such as `&0`", &names).map(BarrierId)
    }

    fn map(&mut self) -> Parsed<TensorMapId> {
        self.declared("~", "a tensor map such as `~0`", &[]).map(TensorMapId)
    }

    /// The position of what a label names among the `names` declared.
    fn declared(&mut self, sigil: &str, what: &str, names: &[String]) -> Parsed<u32> {
        let (label, at) = self.cur.label(sigil, what)?;
        let wanted = label.name.unwrap_or_default();
        match label.number {
            Some(n) => match names.get(n as usize) {
                Some(name) if !wanted.is_empty() && *name != wanted => {
                    let message = format!("`{sigil}{n}` is called `{name}`, not `{wanted}`");
                    Err(Fault { at, message })
                }
                Some(_) | None => Ok(n),
            },
            None => {
                let mut found = names.iter().enumerate().filter(|(_, name)| **name == wanted);
                match (found.next(), found.next()) {
                    (Some((i, _)), None) => Ok(i as u32),
                    (Some(_), Some(_)) => {
                        Err(Fault { at, message: format!("more than one `{sigil}{wanted}` is declared") })
                    }
                    (None, _) => Err(Fault { at, message: format!("`{sigil}{wanted}` is declared nowhere") }),
                }
            }
        }
    }

    fn var(&mut self) -> Parsed<Var> {
        let (label, at) = self.cur.label("$", "a variable such as `$0`")?;
        self.labels.mention(label, at).map(Var)
    }

    /// `: type @loc` of a variable mentioned at `at`.
    fn typed(&mut self, var: Var, at: usize, usual: Loc) -> Parsed<()> {
        let def = self.type_and_loc()?;
        self.define(var, at, def, usual)
    }

    fn type_and_loc(&mut self) -> Parsed<(VarType, Option<Loc>)> {
        self.cur.expect(":")?;
        Ok((self.ty()?, self.loc()?))
    }

    fn define(&mut self, var: Var, at: usize, def: (VarType, Option<Loc>), usual: Loc) -> Parsed<()> {
        self.labels.define(var.0, at, def.0, def.1.unwrap_or(usual))
    }

    fn dtype(&mut self) -> Parsed<DType> {
        let at = self.cur.offset();
        let word = self.cur.word()?;
        DType::from_name(word)
            .ok_or_else(|| Fault { at, message: format!("`{word}` is not an element type") })
    }

    fn ty(&mut self) -> Parsed<VarType> {
        for (word, mutable) in [("view", false), ("view_mut", true)] {
            if self.cur.eat_word(word) {
                self.cur.expect("<")?;
                let dtype = self.dtype()?;
                self.cur.expect(",")?;
                let rank = self.cur.number()?;
                self.cur.expect(">")?;
                return Ok(VarType::View(ViewType { dtype, rank, mutable }));
            }
        }
        let dtype = self.dtype()?;
        if !self.cur.starts_with("<") {
            return Ok(VarType::Scalar(dtype));
        }
        let shape = self.shape()?;
        let at = self.cur.offset();
        let name = self.cur.word_for("the name of a layout")?;
        match self.layouts.get(name) {
            Some(layout) => Ok(VarType::Tile { dtype, shape, layout: layout.clone() }),
            None => Err(Fault { at, message: format!("no layout is named `{name}`") }),
        }
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
        Ok(Some(Loc { file: intern_file(&file), line, column }))
    }

    /// Items with commas between them, and perhaps one after the last, up to `close`; the opening is read already.
    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut out = Vec::new();
        while !self.cur.eat(close) {
            out.push(item(self)?);
            if !self.cur.eat(",") {
                self.cur.expect(close)?;
                break;
            }
        }
        Ok(out)
    }

    fn numbered<T: TryFrom<u64>>(&mut self, word: &str) -> Parsed<T> {
        self.cur.expect_word(word)?;
        self.cur.number()
    }

    /// The number after `word`, or `usual` where the word does not come.
    fn number_after(&mut self, word: &str, usual: u32) -> Parsed<u32> {
        if self.cur.eat_word(word) { self.cur.number() } else { Ok(usual) }
    }

    fn keyed(&mut self, word: &str) -> Parsed<Var> {
        self.cur.expect_word(word)?;
        self.var()
    }

    fn var_after(&mut self, word: &str) -> Parsed<Option<Var>> {
        if self.cur.eat_word(word) { self.var().map(Some) } else { Ok(None) }
    }
}
