//! Operations and what they are made of: operands with register tables, coordinates, windows of views.

use super::Parser;
use crate::gpu::func::Var;
use crate::gpu::memory::BufferId;
use crate::gpu::ops::{Coord, Op, Operand, RegMap};
use crate::ir::parse::{Fault, Parsed};
use crate::ir::{ArgOp, BinaryOp, Const, DType, ReduceOp, UnaryOp};

/// Most registers that a table may name: a thread has fewer.
const MAX_TABLE: usize = 1 << 16;
/// Deepest nesting of coordinates that is read.
const MAX_COORD_DEPTH: usize = 16;

impl Parser<'_> {
    /// The operation `word`, read already, that gives a variable of element type `dtype` its value.
    pub(super) fn op(&mut self, word: &str, at: usize, dtype: Option<DType>) -> Parsed<Op> {
        if let Some(op) = UnaryOp::from_mnemonic(word) {
            return Ok(Op::Unary(op, self.operand()?));
        }
        if let Some(op) = BinaryOp::from_mnemonic(word) {
            let a = self.operand()?;
            self.cur.expect(",")?;
            return Ok(Op::Binary(op, a, self.operand()?));
        }
        Ok(match word {
            "const" => return self.constant(dtype),
            "program_id" => Op::ProgramId(self.cur.number()?),
            "num_programs" => Op::NumPrograms(self.cur.number()?),
            "cluster_id" => Op::ClusterId,
            "num_clusters" => Op::NumClusters,
            "cluster_rank" => Op::ClusterRank,
            "coord" => Op::Coord(self.coord(0)?),
            "copy" => Op::Copy(self.operand()?),
            "cast" => Op::Cast(self.operand()?),
            "fma" => self.three().map(|[a, b, c]| Op::Fma(a, b, c))?,
            "select" => self.three().map(|[a, b, c]| Op::Select(a, b, c))?,
            "dim" => Op::ViewDim(self.var()?, self.numbered("axis")?),
            "select_axis" => Op::ViewSelect(self.var()?, self.numbered("axis")?, self.keyed("at")?),
            "slice_axis" => {
                Op::ViewSlice(self.var()?, self.numbered("axis")?, self.keyed("from")?, self.keyed("len")?)
            }
            "permute_view" => {
                let view = self.var()?;
                self.cur.expect("[")?;
                Op::ViewPermute(view, self.list("]", |p| p.cur.number())?)
            }
            "load" => {
                let (view, offsets, coords) = self.window()?;
                let pad = self.keyed("pad")?;
                Op::Load { view, offsets, coords, pad, vector: self.number_after("vector", 1)? }
            }
            "load_point" => {
                let (view, offsets) = self.point()?;
                Op::LoadPoint { view, offsets, pad: self.keyed("pad")? }
            }
            "gather" => {
                let (view, indices, mask) = self.indexed()?;
                Op::Gather { view, indices, mask, pad: self.keyed("pad")? }
            }
            "reduce" => {
                let op = self.named("a reduction such as `sum`", ReduceOp::from_mnemonic)?;
                let (src, axis) = (self.var()?, self.numbered("axis")?);
                Op::Reduce { op, src, axis, scratch: self.buffer_after("scratch")? }
            }
            "arg_reduce" => {
                let op = self.named("a reduction such as `argmax`", ArgOp::from_mnemonic)?;
                let (src, axis) = (self.var()?, self.numbered("axis")?);
                let values = self.buffer_after("values")?;
                Op::ArgReduce { op, src, axis, values, positions: self.buffer_after("positions")? }
            }
            "sum_partials" => Op::SumPartials { src: self.var()?, scratch: self.buffer_after("scratch")? },
            "from_shared" => {
                let (buffer, slot) = self.place()?;
                Op::FromShared { buffer, slot, coords: self.row_and_column()? }
            }
            _ => return Err(Fault { at, message: format!("`{word}` is not an operation") }),
        })
    }

    fn constant(&mut self, dtype: Option<DType>) -> Parsed<Op> {
        let at = self.cur.offset();
        let text = self.cur.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')).to_owned();
        let dtype = if self.cur.eat_word("as") { Some(self.dtype()?) } else { dtype };
        let Some(dtype) = dtype else {
            let message =
                "the element type should be known: `$x: f32 = const ...` or `const ... as f32`".to_owned();
            return Err(Fault { at, message });
        };
        match Const::from_text(dtype, &text) {
            Some(c) => Ok(Op::Const(c)),
            None => Err(Fault { at, message: format!("`{text}` is not a number of type {dtype}") }),
        }
    }

    fn named<T>(&mut self, what: &str, from: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let at = self.cur.offset();
        let word = self.cur.word_for(what)?;
        from(word).ok_or_else(|| Fault { at, message: format!("expected {what}, found `{word}`") })
    }

    fn buffer_after(&mut self, word: &str) -> Parsed<Option<BufferId>> {
        if self.cur.eat_word(word) { self.buffer().map(Some) } else { Ok(None) }
    }

    fn three(&mut self) -> Parsed<[Operand; 3]> {
        let a = self.operand()?;
        self.cur.expect(",")?;
        let b = self.operand()?;
        self.cur.expect(",")?;
        Ok([a, b, self.operand()?])
    }

    /// `$x`, or `$x{0 * 4, 1 * 4}` with a register table.
    pub(super) fn operand(&mut self) -> Parsed<Operand> {
        let var = self.var()?;
        if !self.cur.eat("{") {
            return Ok(Operand::of(var));
        }
        let mut table: Vec<u16> = Vec::new();
        let at = self.cur.offset();
        self.list("}", |p| {
            let first: u16 = p.cur.number()?;
            let too_long =
                || Fault { at, message: format!("a register table has at most {MAX_TABLE} entries") };
            if p.cur.eat("..") {
                let end: u32 = p.cur.number()?;
                if end as usize > MAX_TABLE || table.len() + end as usize > MAX_TABLE {
                    return Err(too_long());
                }
                table.extend((u32::from(first)..end).map(|r| r as u16));
            } else {
                let count: u32 = if p.cur.eat("*") { p.cur.number()? } else { 1 };
                if table.len() + count as usize > MAX_TABLE {
                    return Err(too_long());
                }
                table.extend(std::iter::repeat_n(first, count as usize));
            }
            Ok(())
        })?;
        Ok(Operand { var, regs: RegMap::Table(table) })
    }

    fn coord(&mut self, depth: usize) -> Parsed<Coord> {
        if depth > MAX_COORD_DEPTH {
            return Err(self.cur.fault("this coordinate is nested too deeply"));
        }
        if self.cur.eat("(") {
            let mut of = Vec::new();
            while !self.cur.eat(")") {
                if !of.is_empty() {
                    self.cur.expect("+")?;
                }
                let c = self.coord(depth + 1)?;
                self.cur.expect("*")?;
                of.push((c, self.cur.number()?));
            }
            let div = if self.cur.eat("/") { self.cur.number()? } else { 1 };
            let modulo = if self.cur.eat("%") { self.cur.number()? } else { 0 };
            return Ok(Coord::Digit { of, div, modulo });
        }
        if self.cur.eat("0") {
            return Ok(Coord::Zero);
        }
        let at = self.cur.offset();
        let word = self.cur.word_for("a coordinate: `d0`, `0` or `(d0 * 4 + ...)`")?;
        let axis = word.strip_prefix('d').and_then(|n| n.parse().ok());
        axis.map(Coord::Axis)
            .ok_or_else(|| Fault { at, message: format!("`{word}` is not a coordinate such as `d0`") })
    }

    pub(super) fn row_and_column(&mut self) -> Parsed<[Coord; 2]> {
        self.cur.expect("(")?;
        let row = self.coord(0)?;
        self.cur.expect(",")?;
        let column = self.coord(0)?;
        self.cur.expect(")")?;
        Ok([row, column])
    }

    /// `$view[$offset, ...]`.
    pub(super) fn point(&mut self) -> Parsed<(Var, Vec<Var>)> {
        let view = self.var()?;
        self.cur.expect("[")?;
        Ok((view, self.list("]", Self::var)?))
    }

    /// `$view[$offset, ...](coordinate, ...)`; the tile's own coordinates where none are given.
    pub(super) fn window(&mut self) -> Parsed<(Var, Vec<Var>, Vec<Coord>)> {
        let (view, offsets) = self.point()?;
        let coords = if self.cur.eat("(") {
            self.list(")", |p| p.coord(0))?
        } else {
            (0..offsets.len()).map(|d| Coord::Axis(d as u8)).collect()
        };
        Ok((view, offsets, coords))
    }

    /// `$view[index, ...]` and a mask.
    pub(super) fn indexed(&mut self) -> Parsed<(Var, Vec<Operand>, Option<Operand>)> {
        let view = self.var()?;
        self.cur.expect("[")?;
        let indices = self.list("]", Self::operand)?;
        let mask = if self.cur.eat_word("mask") { Some(self.operand()?) } else { None };
        Ok((view, indices, mask))
    }
}
