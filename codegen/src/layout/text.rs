//! The text form of layouts; `parse(print(l)) == l`.
//!
//! ```text
//! layout [64, 24] register (0, 1) (8, 0) lane (0, 2) (0, 4) (1, 0) (2, 0) (4, 0) warp (16, 0) (32, 0) repeat 1
//! shared [40, 64] bytes 2 block (144, 288, 576) (2, 4, 8, 16, 32, 64) stride 1024 5120
//! ```
//!
//! `repeat` lists the repeated dimensions, fastest first; how often follows from the extents. `block` has one list per
//! dimension, the bytes of its low bits, and `stride` the bytes per step of what is above them.

use std::fmt;
use std::str::FromStr;

use super::error::LayoutError;
use super::linear::{Bases, Coord, Input, Layout, MAX_RANK};
use super::shared::SharedLayout;

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layout {:?}", self.shape())?;
        for input in Input::ALL {
            write!(f, " {}", input.name())?;
            for &v in self.packed(input) {
                let coord = self.space.unpack(v);
                let list: Vec<String> = coord[..self.rank()].iter().map(u32::to_string).collect();
                write!(f, " ({})", list.join(", "))?;
            }
        }
        if !self.repeats.is_empty() {
            write!(f, " repeat")?;
        }
        for r in &self.repeats {
            write!(f, " {}", r.dim)?;
        }
        Ok(())
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Layout, LayoutError> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.expect("layout")?;
        let shape = cursor.list("[", "]")?;
        if shape.len() > MAX_RANK {
            return Err(LayoutError::Rank { rank: shape.len() });
        }
        let mut bases = Bases::default();
        for (input, vectors) in
            Input::ALL.into_iter().zip([&mut bases.register, &mut bases.lane, &mut bases.warp])
        {
            cursor.expect(input.name())?;
            while cursor.rest().starts_with('(') {
                vectors.push(cursor.vector(shape.len())?);
            }
        }
        let mut order = Vec::new();
        if !cursor.rest().is_empty() {
            cursor.expect("repeat")?;
            while !cursor.rest().is_empty() {
                order.push(cursor.number()? as usize);
            }
        }
        Layout::with_repeat_order(&shape, &bases, &order)
    }
}

impl fmt::Display for SharedLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shared {:?} bytes {} block", self.shape(), self.element_bytes())?;
        for list in self.block() {
            let list: Vec<String> = list.iter().map(u32::to_string).collect();
            write!(f, " ({})", list.join(", "))?;
        }
        write!(f, " stride")?;
        self.strides().iter().try_for_each(|s| write!(f, " {s}"))
    }
}

impl FromStr for SharedLayout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<SharedLayout, LayoutError> {
        let mut cursor = Cursor { text, at: 0 };
        cursor.expect("shared")?;
        let shape = cursor.list("[", "]")?;
        cursor.expect("bytes")?;
        let element_bytes = cursor.number()?;
        cursor.expect("block")?;
        let mut block = Vec::new();
        while cursor.rest().starts_with('(') {
            block.push(cursor.list("(", ")")?);
        }
        cursor.expect("stride")?;
        let mut strides = Vec::new();
        while !cursor.rest().is_empty() {
            strides.push(cursor.number()?);
        }
        SharedLayout::new(&shape, element_bytes, &block, &strides)
    }
}

/// A position in the text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// What follows, blanks skipped.
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest.trim_end()
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, LayoutError> {
        Err(LayoutError::Text { at: self.at, message: message.into() })
    }

    fn expect(&mut self, token: &str) -> Result<(), LayoutError> {
        if !self.rest().starts_with(token) {
            return self.fail(format!("expected `{token}`"));
        }
        self.at += token.len();
        Ok(())
    }

    fn number(&mut self) -> Result<u32, LayoutError> {
        let rest = self.rest();
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match rest[..digits].parse() {
            Ok(n) => {
                self.at += digits;
                Ok(n)
            }
            Err(_) => self.fail("expected a number below 2^32"),
        }
    }

    fn list(&mut self, open: &str, close: &str) -> Result<Vec<u32>, LayoutError> {
        self.expect(open)?;
        let mut list = Vec::new();
        while !self.rest().starts_with(close) {
            if !list.is_empty() {
                self.expect(",")?;
            }
            list.push(self.number()?);
        }
        self.expect(close)?;
        Ok(list)
    }

    fn vector(&mut self, rank: usize) -> Result<Coord, LayoutError> {
        let at = self.at;
        let list = self.list("(", ")")?;
        if list.len() != rank {
            self.at = at;
            return self.fail(format!("a basis vector of {} entries in a tile of rank {rank}", list.len()));
        }
        let mut coord = [0; MAX_RANK];
        coord[..rank].copy_from_slice(&list);
        Ok(coord)
    }
}
