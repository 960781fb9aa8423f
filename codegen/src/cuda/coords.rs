//! Coordinates of a tile's elements in CUDA C: a part of the thread, computed once, and a part of the register, which is a
//! constant in an unrolled loop.

use super::closed::{bit_terms, closed_form};
use super::writer::Writer;
use crate::gpu::Coord;
use crate::layout::Layout;

/// A coordinate as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CoordText {
    /// What the thread contributes: a name, or `0`.
    pub(crate) thread: String,
    /// What register `r` contributes, `0` when nothing; added to the thread's part.
    pub(crate) register: String,
}

impl CoordText {
    /// The whole coordinate.
    pub(crate) fn whole(&self) -> String {
        sum(&[&self.thread, &self.register])
    }

    /// Whether every register of a thread has the same coordinate.
    pub(crate) fn is_uniform(&self) -> bool {
        self.register == "0"
    }
}

/// The terms that are not `0`, added up.
pub(crate) fn sum(terms: &[&str]) -> String {
    let terms: Vec<&str> = terms.iter().copied().filter(|t| *t != "0").collect();
    if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") }
}

/// One axis of a layout: what each bit of each index adds to the coordinate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AxisBits {
    /// Bits of the lane.
    pub(crate) lane: Vec<u32>,
    /// Bits of the warp.
    pub(crate) warp: Vec<u32>,
    /// Coordinate of each register in lane 0 of warp 0.
    pub(crate) registers: Vec<u32>,
}

impl AxisBits {
    /// The bits of `axis`.
    pub(crate) fn of(layout: &Layout, axis: usize) -> Self {
        let bases = layout.bases();
        Self {
            lane: bases.lane.iter().map(|c| c[axis]).collect(),
            warp: bases.warp.iter().map(|c| c[axis]).collect(),
            registers: (0..layout.registers()).map(|r| layout.apply(r, 0, 0)[axis]).collect(),
        }
    }

    /// Whether the thread's and the register's parts have no bit in common, so that they add.
    pub(crate) fn adds(&self, span: u32) -> bool {
        let thread = self.lane.iter().chain(&self.warp).fold(0, |m, &v| m | v);
        let register = self.registers.iter().fold(0, |m, &v| m | v & (span - 1));
        thread & register == 0
    }

    /// Whether a thread's part is a sum, not an exclusive or.
    fn thread_adds(&self) -> bool {
        let mut seen = 0;
        self.lane.iter().chain(&self.warp).all(|&v| {
            let is_new = seen & v == 0;
            seen |= v;
            is_new
        })
    }

    /// What the thread contributes; `warps_are_all` when the block has no warps beyond the layout's.
    pub(crate) fn thread_text(&self, lane: &str, warp: &str, warps_are_all: bool) -> String {
        if self.thread_adds() {
            let mut terms = Vec::new();
            let wide = |v: &[u32]| v.iter().map(|&x| i64::from(x)).collect::<Vec<_>>();
            terms.extend(bit_terms(&wide(&self.warp), warp, warps_are_all));
            terms.extend(bit_terms(&wide(&self.lane), lane, true));
            return if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") };
        }
        let bits = |of: &str, values: &[u32]| -> Vec<String> {
            let set = values.iter().enumerate().filter(|(_, v)| **v != 0);
            set.map(|(i, v)| format!("({of} >> {i} & 1) * {v}")).collect()
        };
        [bits(warp, &self.warp), bits(lane, &self.lane)].concat().join(" ^ ")
    }
}

impl Writer<'_> {
    /// The coordinate along `axis` of the element in register `r` of a tile of this layout.
    pub(crate) fn axis_coord(&mut self, layout: &Layout, axis: usize, r: &str) -> CoordText {
        let bits = AxisBits::of(layout, axis);
        let span = layout.span(axis);
        let thread = self.thread_part(layout, axis, &bits);
        if thread == "0" || bits.adds(span) {
            let register = self.table(&bits.registers, r);
            return CoordText { thread, register };
        }
        // The parts meet in some bits: swizzled ownership.
        let low: Vec<u32> = bits.registers.iter().map(|&v| v & (span - 1)).collect();
        let high: Vec<u32> = bits.registers.iter().map(|&v| v & !(span - 1)).collect();
        let (low, high) = (self.table(&low, r), self.table(&high, r));
        CoordText { thread: "0".to_owned(), register: sum(&[&format!("({thread} ^ ({low}))"), &high]) }
    }

    /// The name of a thread's part of the coordinate, which is declared at the start of the role or kernel.
    pub(crate) fn thread_part(&mut self, layout: &Layout, axis: usize, bits: &AxisBits) -> String {
        let warps_are_all = self.scope.n_warps == layout.warps();
        let text = bits.thread_text("lane", "warp", warps_are_all);
        if text == "0" || text == "lane" || text == "warp" {
            return text;
        }
        let wanted = match (layout.rank(), axis) {
            (1, _) => "pos".to_owned(),
            (2, 0) => "row".to_owned(),
            (2, 1) => "col".to_owned(),
            (_, axis) => format!("at{axis}"),
        };
        self.hoist("const int", &wanted, &text)
    }

    /// An element index that is a function of a tile's coordinates.
    pub(crate) fn coord(&mut self, layout: &Layout, coord: &Coord, r: &str) -> CoordText {
        match coord {
            Coord::Zero => CoordText { thread: "0".to_owned(), register: "0".to_owned() },
            Coord::Axis(axis) => self.axis_coord(layout, *axis as usize, r),
            Coord::Digit { of, div, modulo } => {
                let terms: Vec<String> = of
                    .iter()
                    .map(|(c, stride)| (self.coord(layout, c, r).whole(), stride))
                    .filter(|(text, _)| text != "0")
                    .map(|(text, stride)| match (stride, text.contains(' ')) {
                        (1, _) => text,
                        (_, true) => format!("({text}) * {stride}"),
                        (_, false) => format!("{text} * {stride}"),
                    })
                    .collect();
                let all = if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") };
                // Unsigned, since division by a power of two is a shift then.
                let mut text = all.clone();
                if *div > 1 || *modulo > 0 {
                    text = format!("unsigned({all})");
                    if *div > 1 {
                        text = format!("{text} / {div}");
                    }
                    if *modulo > 0 {
                        text = format!("{text} % {modulo}");
                    }
                    text = format!("int({text})");
                }
                CoordText { thread: "0".to_owned(), register: text }
            }
        }
    }

    /// `table[r]` in a closed form, or by a table in front of the loop.
    pub(crate) fn table(&mut self, table: &[u32], r: &str) -> String {
        let vector = if r == "r_" { self.vector as usize } else { 1 };
        let starts: Vec<u32> = (0..table.len()).map(|i| table[i / vector * vector]).collect();
        let table = starts.as_slice();
        if let Some(text) = closed_form(table, r) {
            return text;
        }
        let values: Vec<String> = table.iter().map(ToString::to_string).collect();
        let text = format!("{{{}}}", values.join(", "));
        let name = self.hoist(&format!("constexpr int [{}]", table.len()), "map", &text);
        format!("{name}[{r}]")
    }
}

/// The value of a coordinate for one element.
pub(crate) fn evaluate(coord: &Coord, at: &crate::layout::Coord) -> u32 {
    match coord {
        Coord::Zero => 0,
        Coord::Axis(axis) => at[*axis as usize],
        Coord::Digit { of, div, modulo } => {
            let all: u32 = of.iter().map(|(c, stride)| evaluate(c, at) * stride).sum();
            let digit = all / div;
            if *modulo > 0 { digit % modulo } else { digit }
        }
    }
}

/// `text` in parentheses, unless it is one name, number, call or parenthesis already.
pub(crate) fn grouped(text: &str) -> String {
    if is_single(text) { text.to_owned() } else { format!("({text})") }
}

/// `text` without parentheses around all of it.
pub(crate) fn bare(text: &str) -> &str {
    if text.starts_with('(') && is_single(text) { &text[1..text.len() - 1] } else { text }
}

/// Whether no operator stands outside parentheses, and nothing follows a closing one.
fn is_single(text: &str) -> bool {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            c if depth == 0 && !(c.is_ascii_alphanumeric() || c == '_' || c == '.') => return false,
            _ => {}
        }
        // A cast, or two parentheses in a row.
        if c == ')' && depth == 0 && i + 1 < text.len() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parentheses_are_put_once() {
        assert_eq!(grouped("a"), "a");
        assert_eq!(grouped("(r >> 4)"), "(r >> 4)");
        assert_eq!(grouped("(a) + (b)"), "((a) + (b))");
        assert_eq!(grouped("(int)x"), "((int)x)");
        assert_eq!(grouped("a + 1"), "(a + 1)");
        assert_eq!(grouped("f(a, b)"), "f(a, b)");
        assert_eq!(bare("(r >> 4)"), "r >> 4");
        assert_eq!(bare("(a) + (b)"), "(a) + (b)");
    }
}
