//! Source locations and diagnostics, and how they are shown to the kernel's author.
//!
//! A message uses the language's words only (tile, view, dot, extent, axis), names the numbers, and says what to do.

use std::fmt;

/// A place in the author's source: file, line and column, all counted from 1. Line 0 means unknown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Loc {
    /// Source file as rustc names it.
    pub file: &'static str,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

impl Loc {
    /// The caller's place; follows `#[track_caller]`.
    #[must_use]
    #[track_caller]
    pub fn caller() -> Self {
        let at = std::panic::Location::caller();
        Self { file: at.file(), line: at.line(), column: at.column() }
    }

    /// Whether the place is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.line != 0
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_known() {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        } else {
            f.write_str("unknown place")
        }
    }
}

impl fmt::Debug for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is wrong with a kernel, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Where the author wrote it.
    pub loc: Loc,
    /// What is wrong, with the numbers.
    pub message: String,
    /// What to do about it, if there is advice.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without advice.
    #[must_use]
    pub fn new(loc: Loc, message: impl Into<String>) -> Self {
        Self { loc, message: message.into(), help: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message)?;
        write!(f, "  --> {}", self.loc)?;
        if let Some(line) = source_line(self.loc) {
            let number = self.loc.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat((self.loc.column as usize).saturating_sub(1));
            write!(f, "\n{margin} |\n{number} | {line}\n{margin} | {indent}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

/// The text of the line, when the source file is at hand; messages do without it elsewhere.
fn source_line(loc: Loc) -> Option<String> {
    if !loc.is_known() {
        return None;
    }
    let text = std::fs::read_to_string(loc.file).ok()?;
    text.lines().nth(loc.line as usize - 1).map(str::to_owned)
}

/// Everything that is wrong with a kernel; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl From<Diagnostic> for Diagnostics {
    fn from(d: Diagnostic) -> Self {
        Self(vec![d])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            d.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
