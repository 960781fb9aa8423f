//! Lines of CUDA C under construction: indentation, and which author's line each comes from.
//!
//! Lines are kept apart until the end, because declarations are put in front of a block after its body has been printed.

use crate::diag::Loc;

/// One line without its indentation.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    indent: usize,
    text: String,
    loc: Loc,
}

/// Printed lines.
#[derive(Debug, Default)]
pub(crate) struct Text {
    lines: Vec<Line>,
    indent: usize,
    loc: Loc,
    /// What is printed in front of the next line, if there is one.
    pending: Vec<String>,
}

impl Text {
    /// Lines printed so far.
    pub(crate) const fn len(&self) -> usize {
        self.lines.len()
    }

    /// What follows comes from `loc`. Returns whether that is another line of the author's than before.
    pub(crate) fn at(&mut self, loc: Loc) -> bool {
        let is_new = (loc.file, loc.line) != (self.loc.file, self.loc.line);
        self.loc = loc;
        is_new
    }

    /// Forgets the author's line, so that the next statement names its own again.
    pub(crate) fn forget_place(&mut self) {
        self.loc = Loc::default();
        self.pending.clear();
    }

    /// Lines to print in front of the next one; a statement that prints nothing leaves nothing.
    pub(crate) fn announce(&mut self, lines: Vec<String>) {
        self.pending = lines;
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl Into<String>) {
        for text in std::mem::take(&mut self.pending) {
            self.lines.push(Line { indent: self.indent, text, loc: self.loc });
        }
        self.lines.push(Line { indent: self.indent, text: text.into(), loc: self.loc });
    }

    /// A line that opens a block; it ends in `{`.
    pub(crate) fn open(&mut self, text: impl Into<String>) {
        self.line(text);
        self.indent += 1;
    }

    /// Closes the innermost block.
    pub(crate) fn close(&mut self) {
        self.indent -= 1;
        self.pending.clear();
        self.line("}");
    }

    /// Closes the innermost block and opens another on the same line, as `} else {`.
    pub(crate) fn reopen(&mut self, text: &str) {
        self.indent -= 1;
        self.pending.clear();
        self.line(text);
        self.indent += 1;
    }

    /// Puts lines in front of line `at`, indented as that block.
    pub(crate) fn insert(&mut self, at: usize, indent: usize, lines: impl IntoIterator<Item = String>) {
        let new = lines.into_iter().map(|text| Line { indent, text, loc: Loc::default() });
        self.lines.splice(at..at, new);
    }

    /// The text of the lines from `start` on, without indentation.
    pub(crate) fn since(&self, start: usize) -> String {
        self.lines[start..].iter().map(|l| format!("{}\n", l.text)).collect()
    }

    /// The same without the lines in `holes`.
    pub(crate) fn outside(&self, start: usize, holes: &[(usize, usize)]) -> String {
        let is_kept = |i: &usize| !holes.iter().any(|h| (h.0..h.1).contains(i));
        (start..self.lines.len()).filter(is_kept).map(|i| format!("{}\n", self.lines[i].text)).collect()
    }

    /// Current depth.
    pub(crate) const fn indent(&self) -> usize {
        self.indent
    }

    /// The text, and for each of its lines that has one the author's place; lines count from 1 after `first`.
    pub(crate) fn finish(self, first: u32) -> (String, Vec<(u32, Loc)>) {
        let mut text = String::new();
        let mut places = Vec::new();
        for (number, line) in (first..).zip(&self.lines) {
            if !line.text.is_empty() {
                // Directives start at the margin, where the field puts them.
                let indent = if line.text.starts_with('#') { 0 } else { line.indent };
                text.push_str(&"  ".repeat(indent));
                text.push_str(&line.text);
            }
            text.push('\n');
            if line.loc.is_known() {
                places.push((number, line.loc));
            }
        }
        (text, places)
    }
}
