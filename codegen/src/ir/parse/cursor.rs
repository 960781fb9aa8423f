//! A place in a text under parsing: spaces, comments, words, numbers, strings, labels.

use super::{Fault, ParseError, Parsed};
use crate::ir::print::is_word_char;

/// The spelling of a value: its number, its name, or both.
pub(crate) struct Label {
    pub(crate) number: Option<u32>,
    pub(crate) name: Option<String>,
}

/// A text and how far it has been read.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Passes over white space and `//` comments.
    pub(crate) fn skip(&mut self) {
        loop {
            let rest = self.rest().trim_start();
            self.at = self.text.len() - rest.len();
            if !rest.starts_with("//") {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// Where the next token starts.
    pub(crate) fn offset(&mut self) -> usize {
        self.skip();
        self.at
    }

    pub(crate) fn at_end(&mut self) -> bool {
        self.skip();
        self.rest().is_empty()
    }

    pub(crate) fn fault(&mut self, message: &str) -> Fault {
        Fault { at: self.offset(), message: message.to_owned() }
    }

    /// A fault that also says what stands there instead.
    pub(crate) fn expected(&mut self, what: &str) -> Fault {
        let at = self.offset();
        let rest = self.rest();
        let end =
            rest.char_indices().find(|&(i, c)| i > 0 && !is_word_char(c)).map_or(rest.len(), |(i, _)| i);
        let found =
            if rest.is_empty() { "the end of the text".to_owned() } else { format!("`{}`", &rest[..end]) };
        Fault { at, message: format!("expected {what}, found {found}") }
    }

    /// The error with its offset turned into line and column.
    pub(crate) fn locate(&self, fault: Fault) -> ParseError {
        let before = &self.text[..fault.at];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: fault.message,
        }
    }

    pub(crate) fn starts_with(&mut self, token: &str) -> bool {
        self.skip();
        self.rest().starts_with(token)
    }

    /// Passes over `punct` if it comes next.
    pub(crate) fn eat(&mut self, punct: &str) -> bool {
        let found = self.starts_with(punct);
        if found {
            self.at += punct.len();
        }
        found
    }

    pub(crate) fn expect(&mut self, punct: &str) -> Parsed<()> {
        if self.eat(punct) { Ok(()) } else { Err(self.expected(&format!("`{punct}`"))) }
    }

    /// Passes over characters that `accept` takes, from right here.
    pub(crate) fn run(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Passes over the word `word` if it comes next, whole.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.starts_with(word) && !self.rest()[word.len()..].starts_with(is_word_char);
        if found {
            self.at += word.len();
        }
        found
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    pub(crate) fn word(&mut self) -> Parsed<&'a str> {
        self.word_for("a word")
    }

    /// A word, where `what` is expected.
    pub(crate) fn word_for(&mut self, what: &str) -> Parsed<&'a str> {
        self.skip();
        if self.rest().starts_with(|c: char| c.is_ascii_digit() || !is_word_char(c)) || self.rest().is_empty()
        {
            return Err(self.expected(what));
        }
        Ok(self.run(is_word_char))
    }

    pub(crate) fn number<T: TryFrom<u64>>(&mut self) -> Parsed<T> {
        let at = self.offset();
        let digits = self.run(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(self.expected("a number"));
        }
        digits
            .parse::<u64>()
            .ok()
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| Fault { at, message: format!("the number {digits} is too large here") })
    }

    pub(crate) fn word_or_string(&mut self) -> Parsed<String> {
        if self.starts_with("\"") { self.string() } else { self.word().map(str::to_owned) }
    }

    /// A string in double quotes with the printer's escapes.
    pub(crate) fn string(&mut self) -> Parsed<String> {
        let start = self.offset();
        self.expect("\"")?;
        let mut out = String::new();
        loop {
            let at = self.at;
            let Some(c) = self.next_char() else {
                return Err(Fault {
                    at: start,
                    message: "the string that starts here has no end".to_owned(),
                });
            };
            match c {
                '"' => return Ok(out),
                '\\' => {
                    let escaped = match self.next_char() {
                        Some('n') => Some('\n'),
                        Some(c @ ('"' | '\\')) => Some(c),
                        Some('u') => self.code_point(),
                        Some(_) | None => None,
                    };
                    out.push(escaped.ok_or_else(|| Fault {
                        at,
                        message: "an escape should be \\\", \\\\, \\n or \\u{...}".to_owned(),
                    })?);
                }
                c => out.push(c),
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// The `{...}` of a `\u` escape.
    fn code_point(&mut self) -> Option<char> {
        let rest = self.rest().strip_prefix('{')?;
        let end = rest.find('}')?;
        self.at += end + 2;
        char::from_u32(u32::from_str_radix(&rest[..end], 16).ok()?)
    }

    /// The rest of the line, comments and the spaces around it left out.
    pub(crate) fn rest_of_line(&mut self) -> &'a str {
        let line = self.run(|c| c != '\n');
        line.split("//").next().unwrap_or_default().trim()
    }

    /// `%7`, `%acc.7` or `%acc` for the sigil `%`, and where it stands; `what` is expected otherwise.
    pub(crate) fn label(&mut self, sigil: &str, what: &str) -> Parsed<(Label, usize)> {
        let at = self.offset();
        if !self.eat(sigil) {
            return Err(self.expected(what));
        }
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok((Label { number: Some(self.number()?), name: None }, at));
        }
        let name =
            if self.rest().starts_with('"') { self.string()? } else { self.run(is_word_char).to_owned() };
        if name.is_empty() && !self.text[..self.at].ends_with('"') {
            return Err(self.expected(&format!("a number or a name after `{sigil}`")));
        }
        let number = if self.rest().starts_with('.') {
            self.at += 1;
            Some(self.number()?)
        } else {
            None
        };
        Ok((Label { number, name: Some(name) }, at))
    }
}
