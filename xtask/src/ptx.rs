//! PTX as a stream of instructions that can be found and changed, and everything between them as it was.
//!
//! Text that nobody changes prints as it was read, byte for byte. Only the bodies of functions are read; what PTX means is the
//! machine's business, which loads every text that this module prints.

use anyhow::{Result, bail, ensure};

pub(crate) mod edit;

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inst {
    /// `@%p1 ` or `@!%p1 ` or nothing.
    pub(crate) guard: String,
    /// Opcode with all modifiers.
    pub(crate) op: String,
    /// Operands in order, each as its text: `%r1`, `[%r2+16]`, `{%f1, %f2}`, `4`.
    pub(crate) operands: Vec<String>,
}

/// An instruction, or text between instructions.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    /// The second is the text it was read from, as long as nobody changes it.
    Inst(Inst, Option<String>),
}

/// A module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ptx {
    pieces: Vec<Piece>,
}

impl Ptx {
    /// Reads a module.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = body(rest) {
            let (before, inside) = rest.split_at(at);
            pieces.push(Piece::Text(before.to_owned()));
            rest = read_body(inside, &mut pieces)?;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }

    /// The module as text.
    pub(crate) fn print(&self) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(t) | Piece::Inst(_, Some(t)) => text.push_str(t),
                Piece::Inst(inst, None) => text.push_str(&inst.print()),
            }
        }
        text
    }

    /// Every instruction with its place, in order.
    pub(crate) fn instructions(&self) -> impl DoubleEndedIterator<Item = (usize, &Inst)> {
        self.pieces.iter().enumerate().filter_map(|(at, piece)| match piece {
            Piece::Inst(inst, _) => Some((at, inst)),
            Piece::Text(_) => None,
        })
    }

    /// The instruction at a place that [`Self::instructions`] named.
    pub(crate) fn at(&self, at: usize) -> Result<&Inst> {
        match self.pieces.get(at) {
            Some(Piece::Inst(inst, _)) => Ok(inst),
            Some(Piece::Text(_)) | None => bail!("no instruction at place {at}"),
        }
    }

    /// Puts an instruction in the place of another; the same one keeps its text.
    pub(crate) fn replace(&mut self, at: usize, inst: Inst) {
        if !matches!(&self.pieces[at], Piece::Inst(old, _) if *old == inst) {
            self.pieces[at] = Piece::Inst(inst, None);
        }
    }

    /// Takes an instruction out; later places stay what they were.
    pub(crate) fn remove(&mut self, at: usize) {
        self.pieces[at] = Piece::Text(String::new());
    }

    /// Puts text around an instruction.
    pub(crate) fn wrap(&mut self, at: usize, before: &str, after: &str) {
        let old = std::mem::replace(&mut self.pieces[at], Piece::Text(String::new()));
        let text = match old {
            Piece::Text(text) | Piece::Inst(_, Some(text)) => text,
            Piece::Inst(inst, None) => inst.print(),
        };
        self.pieces[at] = Piece::Text(format!("{before}{text}{after}"));
    }
}

impl Inst {
    /// The instruction as a statement.
    pub(crate) fn print(&self) -> String {
        let Self { guard, op, operands } = self;
        let gap = if operands.is_empty() { "" } else { " " };
        format!("{guard}{op}{gap}{};", operands.join(", "))
    }

    /// Reads a statement without its semicolon.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim();
        let mut guard = String::new();
        if rest.starts_with('@') {
            let (g, after) = rest.split_once(char::is_whitespace)?;
            guard = format!("{g} ");
            rest = after.trim_start();
        }
        let (op, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some(Self { guard, op: op.to_owned(), operands: split_operands(operands) })
    }

    /// The registers of an operand, in order.
    pub(crate) fn registers(operand: &str) -> Vec<&str> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.');
        // Scoped registers of inline assembly have no `%`; numbers, symbols and special registers are none.
        operand
            .split(|c| !is_name(c))
            .filter(|word| {
                let mut rest = word.trim_start_matches('%').chars();
                rest.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && !word.contains('.')
                    && (word.starts_with('%') || word.len() == 1)
            })
            .collect()
    }
}

/// Where the body of the next function starts, after its brace.
fn body(text: &str) -> Option<usize> {
    let entry = text.find(".entry ")?;
    let close = entry + text[entry..].find(')')?;
    Some(close + text[close..].find('{')? + 1)
}

/// Reads a body up to its closing brace, and returns what follows it.
fn read_body<'a>(text: &'a str, pieces: &mut Vec<Piece>) -> Result<&'a str> {
    let mut depth = 1;
    let mut rest = text;
    loop {
        let skipped = rest.len() - rest.trim_start().len();
        if skipped > 0 {
            pieces.push(Piece::Text(rest[..skipped].to_owned()));
            rest = &rest[skipped..];
        }
        let end = match rest.as_bytes().first() {
            None => bail!("the body of a kernel never ends"),
            Some(b'{') => {
                depth += 1;
                1
            }
            Some(b'}') => {
                depth -= 1;
                1
            }
            Some(_) if rest.starts_with("//") || rest.starts_with(".loc") => {
                rest.find('\n').unwrap_or(rest.len())
            }
            Some(_) if label(rest).is_some() => label(rest).unwrap_or_default(),
            Some(_) => {
                let end = rest.find(';');
                ensure!(
                    end.is_some(),
                    "a statement without `;`: {}",
                    rest.lines().next().unwrap_or_default()
                );
                let end = end.unwrap_or_default();
                let statement = rest[..=end].to_owned();
                if !statement.starts_with('.')
                    && let Some(inst) = Inst::parse(&rest[..end])
                {
                    pieces.push(Piece::Inst(inst, Some(statement)));
                    rest = &rest[end + 1..];
                    continue;
                }
                end + 1
            }
        };
        pieces.push(Piece::Text(rest[..end].to_owned()));
        rest = &rest[end..];
        if depth == 0 {
            return Ok(rest);
        }
    }
}

/// The length of a label with its colon, if the text starts with one.
fn label(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '$')))?;
    let rest = &text[end..];
    (end > 0 && rest.starts_with(':') && !rest.starts_with("::")).then_some(end + 1)
}

/// Operands at the top level of a list.
pub(crate) fn split_operands(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut depth = 0;
    let mut one = String::new();
    for c in text.trim().chars() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                all.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            _ => {}
        }
        one.push(c);
    }
    if !one.trim().is_empty() {
        all.push(one.trim().to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ".version 9.5\n.visible .entry k(\n\t.param .u64 k_0\n)\n.maxntid 32, 1, 1\n{\n\t.reg .b32 \t%r<3>;\n\
        \t.loc\t1 3 4\n$L__BB0_1:\n\tld.global.v2.u32 \t{%r1, %r2}, [%rd1+8];\n\t{\n .reg .pred p;\nagain_0:\n\
        \tmbarrier.try_wait.parity.shared::cta.b64 p, [%r1], %r2;\n @!p bra again_0;\n}\n\tret;\n\n}\n\t.file\t1 \"a;b\"\n";

    #[test]
    fn what_is_not_changed_prints_as_it_was() {
        let ptx = Ptx::parse(TEXT).expect("the text should be read");
        assert_eq!(ptx.print(), TEXT);
        let ops: Vec<&str> = ptx.instructions().map(|(_, inst)| &inst.op[..]).collect();
        assert_eq!(ops, ["ld.global.v2.u32", "mbarrier.try_wait.parity.shared::cta.b64", "bra", "ret"]);
    }

    #[test]
    fn an_instruction_is_read_in_parts_and_changed_in_place() {
        let mut ptx = Ptx::parse(TEXT).expect("the text should be read");
        let places: Vec<usize> = ptx.instructions().map(|(at, _)| at).collect();
        let mut load = ptx.at(places[0]).expect("the load").clone();
        assert_eq!(load.operands, ["{%r1, %r2}", "[%rd1+8]"]);
        assert_eq!(ptx.at(places[2]).expect("the branch").guard, "@!p ");
        load.operands.swap(0, 1);
        ptx.replace(places[0], load);
        ptx.remove(places[2]);
        let text = ptx.print();
        assert!(text.contains("\tld.global.v2.u32 [%rd1+8], {%r1, %r2};\n"), "{text}");
        assert!(text.contains("[%r1], %r2;\n \n}"), "{text}");
        assert!(Ptx::parse(".entry k()\n{\n add.s32 %r1").is_err());
    }

    #[test]
    fn registers_are_told_from_numbers_and_symbols() {
        assert_eq!(Inst::registers("[%rd11, {%r342, 7}]"), ["%rd11", "%r342"]);
        assert_eq!(Inst::registers("_|p"), ["p"]);
        assert_eq!(Inst::registers("shared"), Vec::<&str>::new());
        assert_eq!(Inst::registers("%tid.x"), Vec::<&str>::new());
        assert_eq!(Inst::registers("0f00000000"), Vec::<&str>::new());
    }
}
