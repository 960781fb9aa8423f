//! Mutations as data: which instruction, found by what it is and what it feeds, and what is done to it.
//!
//! Places are opcodes, counts and data flow, never lines or register numbers, so that a mutation survives changes of the code
//! that is generated. One that no longer applies is an error: a mutant that was not made must not count as caught.

use anyhow::{Context, Result, ensure};

use super::{Inst, Ptx, split_operands};

/// Which of several matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// Counted from the first, from 0.
    Number(usize),
    /// The last.
    Last,
    /// All of them.
    Every,
}

/// Instructions, by what they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    /// Opcode; `*` stands for anything.
    op: &'static str,
    /// Text that one of the operands must be, if not empty.
    with: &'static str,
    which: Which,
    /// Then from there to another instruction of this opcode, step after step.
    steps: &'static [(To, &'static str)],
}

/// How one instruction leads to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    /// Back along the data to what computes this operand, the nearest of the opcode.
    Operand(usize),
    /// Down the text, to the nearest of the opcode.
    Next,
    /// Up the text.
    Previous,
}

/// The first instruction of an opcode.
pub(crate) const fn first(op: &'static str) -> At {
    At { op, with: "", which: Which::Number(0), steps: &[] }
}

impl At {
    /// One of several.
    pub(crate) const fn nth(self, n: usize) -> Self {
        Self { which: Which::Number(n), ..self }
    }

    /// The last of several.
    pub(crate) const fn last(self) -> Self {
        Self { which: Which::Last, ..self }
    }

    /// All of them.
    pub(crate) const fn every(self) -> Self {
        Self { which: Which::Every, ..self }
    }

    /// Those with an operand of this text.
    pub(crate) const fn with(self, with: &'static str) -> Self {
        Self { with, ..self }
    }

    /// What it leads to.
    pub(crate) const fn to(self, steps: &'static [(To, &'static str)]) -> Self {
        Self { steps, ..self }
    }

    /// The places.
    pub(crate) fn find(&self, ptx: &Ptx) -> Result<Vec<usize>> {
        let all: Vec<usize> = ptx
            .instructions()
            .filter(|(_, i)| {
                matches(self.op, &i.op) && (self.with.is_empty() || i.operands.iter().any(|o| o == self.with))
            })
            .map(|(at, _)| at)
            .collect();
        let found = match self.which {
            Which::Number(n) => all.get(n).copied().into_iter().collect(),
            Which::Last => all.last().copied().into_iter().collect(),
            Which::Every => all.clone(),
        };
        ensure!(
            !found.is_empty(),
            "no instruction `{}`{}: {} of that kind, {:?} wanted",
            self.op,
            if self.with.is_empty() { String::new() } else { format!(" with `{}`", self.with) },
            all.len(),
            self.which
        );
        let mut places = found;
        for (to, op) in self.steps {
            places = places.into_iter().map(|at| follow(ptx, at, *to, op)).collect::<Result<_>>()?;
            places.sort_unstable();
            places.dedup();
        }
        Ok(places)
    }
}

/// Whether an opcode matches a pattern of pieces between `*`.
fn matches(pattern: &str, op: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == op };
    let Some(rest) = op.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|i| rest.is_char_boundary(i) && matches(tail, &rest[i..]))
}

/// One step from an instruction to another.
fn follow(ptx: &Ptx, at: usize, to: To, op: &str) -> Result<usize> {
    let start = ptx.at(at)?;
    let is_wanted = |i: &Inst| matches(op, &i.op);
    let found = match to {
        To::Operand(i) => {
            let operand = start.operands.get(i);
            let operand = operand.with_context(|| format!("`{}` has no operand {i}", start.print()))?;
            source(ptx, at, Inst::registers(operand), op)
        }
        To::Next => ptx.instructions().find(|(p, i)| *p > at && is_wanted(i)).map(|(p, _)| p),
        To::Previous => ptx.instructions().rev().find(|(p, i)| *p < at && is_wanted(i)).map(|(p, _)| p),
    };
    found.with_context(|| format!("no `{op}` by way of {to:?} of `{}`", start.print()))
}

/// The nearest instruction of an opcode that some registers come from.
fn source(ptx: &Ptx, at: usize, registers: Vec<&str>, op: &str) -> Option<usize> {
    let mut wanted: Vec<&str> = registers;
    let mut seen = Vec::new();
    while !wanted.is_empty() {
        let mut next = Vec::new();
        for register in wanted {
            if seen.contains(&register) {
                continue;
            }
            seen.push(register);
            // The definition before the use, in the text, or one further on that a loop brings back.
            let defines =
                |i: &Inst| i.operands.len() > 1 && Inst::registers(&i.operands[0]).contains(&register);
            let before = ptx.instructions().rev().find(|(p, i)| *p < at && defines(i));
            let after = ptx.instructions().find(|(p, i)| *p > at && defines(i));
            for (place, inst) in before.into_iter().chain(after) {
                if matches(op, &inst.op) {
                    return Some(place);
                }
                next.extend(inst.operands[1..].iter().flat_map(|o| Inst::registers(o)));
            }
        }
        wanted = next;
    }
    None
}

/// What is done to an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    /// It goes.
    Drop,
    /// Part of its opcode becomes another.
    Op(&'static str, &'static str),
    /// An operand becomes this text.
    Set(usize, &'static str),
    /// A number that is an operand changes by this much.
    Add(usize, i64),
    /// Two elements of an operand in braces change places.
    SwapIn(usize, usize, usize),
    /// A register of an operand (operand, which of its registers) goes through an operation first: `xor.b32`, `add.s32`, ...
    Through(usize, usize, &'static str, &'static str),
    /// An address in brackets moves by so many bytes.
    Offset(usize, i64),
    /// A statement in front of it.
    Insert(&'static str),
}

/// One step of a mutation.
pub(crate) type Step = (At, Edit);

/// Applies the steps to PTX text.
///
/// # Errors
/// A step that does not apply, or that changes nothing.
pub(crate) fn apply(text: &str, steps: &[Step]) -> Result<String> {
    let mut changed = text.to_owned();
    for (at, edit) in steps {
        let mut ptx = Ptx::parse(&changed)?;
        for place in at.find(&ptx)? {
            let what = ptx.at(place)?.print();
            change(&mut ptx, place, edit).with_context(|| format!("{edit:?} of `{what}`"))?;
        }
        let after = ptx.print();
        ensure!(after != changed, "{edit:?} changes nothing");
        changed = after;
    }
    ensure!(changed != text, "the steps change nothing");
    Ok(changed)
}

fn change(ptx: &mut Ptx, at: usize, edit: &Edit) -> Result<()> {
    let mut inst = ptx.at(at)?.clone();
    let n = inst.operands.len();
    let has = move |i: usize| -> Result<()> {
        ensure!(i < n, "there are {n} operands");
        Ok(())
    };
    match *edit {
        Edit::Drop => {
            ptx.remove(at);
            return Ok(());
        }
        Edit::Op(from, to) => {
            ensure!(inst.op.contains(from), "the opcode has no `{from}`");
            inst.op = inst.op.replacen(from, to, 1);
        }
        Edit::Set(i, text) => {
            has(i)?;
            text.clone_into(&mut inst.operands[i]);
        }
        Edit::Add(i, by) => {
            has(i)?;
            let number: i64 = inst.operands[i].parse().context("the operand is no number")?;
            inst.operands[i] = (number + by).to_string();
        }
        Edit::SwapIn(i, a, b) => {
            has(i)?;
            let inner = inst.operands[i].strip_prefix('{').and_then(|t| t.strip_suffix('}'));
            let mut parts = split_operands(inner.context("the operand is no vector")?);
            ensure!(a.max(b) < parts.len(), "the vector has {} elements", parts.len());
            parts.swap(a, b);
            inst.operands[i] = format!("{{{}}}", parts.join(", "));
        }
        Edit::Through(i, register, op, value) => {
            has(i)?;
            let registers = Inst::registers(&inst.operands[i]);
            let register = registers.get(register).context("the operand has no such register")?;
            let bits = if op.ends_with(".pred") {
                ".pred"
            } else if op.ends_with("64") {
                ".b64"
            } else {
                ".b32"
            };
            let operand = replace_word(&inst.operands[i], register, "mutant");
            let before = format!("{{\n\t.reg {bits} mutant;\n\t{op} mutant, {register}, {value};\n\t");
            inst.operands[i] = operand;
            ptx.replace(at, inst);
            ptx.wrap(at, &before, "\n\t}");
            return Ok(());
        }
        Edit::Offset(i, by) => {
            has(i)?;
            let inner = inst.operands[i].strip_prefix('[').and_then(|t| t.strip_suffix(']'));
            let inner = inner.context("the operand is no address")?;
            let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
            let offset: i64 = offset.parse().context("the offset is no number")?;
            inst.operands[i] = format!("[{base}+{}]", offset + by);
        }
        Edit::Insert(text) => {
            ptx.wrap(at, &format!("{text}\n\t"), "");
            return Ok(());
        }
    }
    ptx.replace(at, inst);
    Ok(())
}

/// The text with one word in place of the first occurrence of another.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.');
    let at = text.match_indices(word).find(|(at, _)| {
        !text[..*at].chars().next_back().is_some_and(is_name)
            && !text[at + word.len()..].chars().next().is_some_and(is_name)
    });
    let Some((at, _)) = at else { return text.to_owned() };
    format!("{}{by}{}", &text[..at], &text[at + word.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = ".visible .entry k()\n{\n\tmov.u32 \t%r1, %tid.x;\n\tadd.s32 \t%r2, %r1, 4;\n\tsetp.lt.s32 \t%p1, %r2, %r3;\n\
        \t@%p1 bra \t$L1;\n\tst.shared.v2.u32 \t[%r2+8], {%r1, %r2};\n\tbar.sync \t0;\n$L1:\n\tst.shared.u32 \t[%r1], %r2;\n\tret;\n}\n";

    fn done(at: At, edit: Edit) -> String {
        apply(TEXT, &[(at, edit)]).expect("the edit should apply")
    }

    #[test]
    fn places_are_found_by_opcode_count_text_and_data() {
        let ptx = Ptx::parse(TEXT).expect("the text should be read");
        let found =
            |at: At| at.find(&ptx).map(|p| ptx.at(p[0]).expect("an instruction").print()).unwrap_or_default();
        let store = first("st.shared*");
        assert_eq!(found(store.last()), "st.shared.u32 [%r1], %r2;");
        assert_eq!(found(store.nth(2)), "");
        assert_eq!(found(store.with("[%r1]")), "st.shared.u32 [%r1], %r2;");
        assert_eq!(found(store.to(&[(To::Next, "bar*")])), "bar.sync 0;");
        assert_eq!(
            found(store.to(&[(To::Previous, "setp*"), (To::Operand(1), "mov*")])),
            "mov.u32 %r1, %tid.x;"
        );
        assert_eq!(store.every().find(&ptx).map(|p| p.len()).ok(), Some(2));
    }

    #[test]
    fn edits_do_what_they_say() {
        let store = first("st.shared.v2*");
        assert!(!done(first("bar*"), Edit::Drop).contains("bar"));
        assert!(done(store, Edit::SwapIn(1, 0, 1)).contains("{%r2, %r1}"));
        assert!(done(store, Edit::Offset(0, 8)).contains("[%r2+16]"));
        assert!(done(store, Edit::Set(0, "[%r1]")).contains("[%r1], {%r1, %r2}"));
        assert!(done(store, Edit::Op(".v2", ".v4")).contains("st.shared.v4.u32"));
        assert!(done(first("add*"), Edit::Add(2, -5)).contains("%r1, -1;"));
        assert!(done(first("bar*"), Edit::Insert("membar.cta;")).contains("membar.cta;\n\tbar.sync"));
        let through = done(store, Edit::Through(0, 0, "xor.b32", "16"));
        assert!(
            through
                .contains(".reg .b32 mutant;\n\txor.b32 mutant, %r2, 16;\n\tst.shared.v2.u32 [mutant+8], {"),
            "{through}"
        );
    }

    #[test]
    fn what_does_not_apply_is_an_error() {
        for (at, edit, said) in [
            (first("wgmma*"), Edit::Drop, "no instruction"),
            (first("bar*"), Edit::Set(3, "1"), "1 operands"),
            (first("add*"), Edit::Set(2, "4"), "changes nothing"),
            (first("bar*"), Edit::Op("xx", "yy"), "no `xx`"),
            (first("mov*"), Edit::Add(1, 1), "no number"),
            (first("bar*").to(&[(To::Previous, "wgmma*")]), Edit::Drop, "by way of"),
        ] {
            let error = apply(TEXT, &[(at, edit)]).map_err(|e| format!("{e:#}")).err().unwrap_or_default();
            assert!(error.contains(said), "{said}: {error}");
        }
    }
}
