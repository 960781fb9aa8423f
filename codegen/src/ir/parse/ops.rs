//! The operations of the text form: one arm per spelling, mnemonics from the op table.

use super::super::ops::{ArgOp, BinaryOp, Const, Op, ReduceOp, UnaryOp};
use super::super::types::{Shape, Type};
use super::{Fault, Parsed, Parser};

impl Parser<'_> {
    /// The operation `word`, read already, that defines a value of type `ty`.
    pub(super) fn op(&mut self, word: &str, at: usize, ty: Type) -> Parsed<Op> {
        if let Some(op) = UnaryOp::from_mnemonic(word) {
            return Ok(Op::Unary(op, self.value()?));
        }
        if let Some(op) = ArgOp::from_mnemonic(word) {
            return Ok(Op::ArgReduce(op, self.value()?, self.axis()?));
        }
        // `max` and `min` are both reductions (`max %a axis 0`) and elementwise (`max %a, %b`).
        if BinaryOp::from_mnemonic(word).is_some() || ReduceOp::from_mnemonic(word).is_some() {
            let a = self.value()?;
            return match (BinaryOp::from_mnemonic(word), ReduceOp::from_mnemonic(word)) {
                (Some(op), _) if self.cur.eat(",") => Ok(Op::Binary(op, a, self.value()?)),
                (_, Some(op)) => Ok(Op::Reduce(op, a, self.axis()?)),
                (_, None) => Err(self.cur.expected("`,` and the second operand")),
            };
        }
        match word {
            "const" => self.constant(ty),
            "arange" => {
                let at = self.cur.offset();
                let shape = self.as_shape(ty)?;
                match shape.as_slice() {
                    &[extent] => Ok(Op::Arange { extent }),
                    _ => Err(Fault { at, message: "`arange` should have a shape of rank 1".to_owned() }),
                }
            }
            "program_id" => Ok(Op::ProgramId(self.cur.number()?)),
            "num_programs" => Ok(Op::NumPrograms(self.cur.number()?)),
            "fma" => self.three().map(|[a, b, c]| Op::Fma(a, b, c)),
            "select" => self.three().map(|[a, b, c]| Op::Select(a, b, c)),
            "dot" => self.three().map(|[a, b, acc]| Op::Dot { a, b, acc }),
            "cast" => {
                let a = self.value()?;
                Ok(Op::Cast(a, self.as_dtype(ty)?))
            }
            "splat" => Ok(Op::Splat(self.value()?, self.as_shape(ty)?)),
            "broadcast" => Ok(Op::Broadcast(self.value()?, self.as_shape(ty)?)),
            "reshape" => Ok(Op::Reshape(self.value()?, self.as_shape(ty)?)),
            "expand_dims" => Ok(Op::ExpandDims(self.value()?, self.axis()?)),
            "squeeze" => Ok(Op::Squeeze(self.value()?, self.axis()?)),
            "permute" => Ok(Op::Permute(self.value()?, self.perm()?)),
            "permute_view" => Ok(Op::ViewPermute(self.value()?, self.perm()?)),
            "dim" => Ok(Op::ViewDim(self.value()?, self.axis()?)),
            "select_axis" => Ok(Op::ViewSelect(self.value()?, self.axis()?, self.keyed("at")?)),
            "slice_axis" => {
                Ok(Op::ViewSlice(self.value()?, self.axis()?, self.keyed("from")?, self.keyed("len")?))
            }
            "load" => {
                let (view, offsets) = self.place()?;
                let pad = self.keyed("pad")?;
                Ok(Op::Load { view, offsets, shape: self.as_shape(ty)?, pad })
            }
            "gather" => {
                let (view, indices) = self.place()?;
                let mask = if self.cur.eat_word("mask") { Some(self.value()?) } else { None };
                Ok(Op::Gather { view, indices, mask, pad: self.keyed("pad")? })
            }
            _ => Err(Fault { at, message: format!("`{word}` is not an operation") }),
        }
    }

    fn constant(&mut self, ty: Type) -> Parsed<Op> {
        self.cur.skip();
        let at = self.cur.offset();
        let text = self.cur.run(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')).to_owned();
        let dtype = self.as_dtype(ty)?;
        match Const::from_text(dtype, &text) {
            Some(c) => Ok(Op::Const(c)),
            None => Err(Fault { at, message: format!("`{text}` is not a number of type {dtype}") }),
        }
    }

    fn three(&mut self) -> Parsed<[super::Value; 3]> {
        let a = self.value()?;
        self.cur.expect(",")?;
        let b = self.value()?;
        self.cur.expect(",")?;
        Ok([a, b, self.value()?])
    }

    fn axis(&mut self) -> Parsed<u8> {
        self.cur.expect_word("axis")?;
        self.cur.number()
    }

    fn perm(&mut self) -> Parsed<Vec<u8>> {
        self.cur.expect("[")?;
        let mut out = Vec::new();
        while !self.cur.eat("]") {
            out.push(self.cur.number()?);
            if !self.cur.eat(",") {
                self.cur.expect("]")?;
                break;
            }
        }
        Ok(out)
    }

    /// The element type after `as`, or else that of the value defined.
    fn as_dtype(&mut self, ty: Type) -> Parsed<super::DType> {
        if self.cur.eat_word("as") {
            return self.dtype();
        }
        match ty {
            Type::Tile(t) => Ok(t.dtype),
            Type::View(v) => Ok(v.dtype),
        }
    }

    /// The shape after `as`, or else that of the value defined.
    fn as_shape(&mut self, ty: Type) -> Parsed<Shape> {
        if self.cur.eat_word("as") {
            return self.shape();
        }
        match ty {
            Type::Tile(t) => Ok(t.shape),
            Type::View(_) => Err(self.cur.fault("expected `as <shape>`, since a view has none")),
        }
    }
}
