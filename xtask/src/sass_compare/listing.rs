//! A function of machine code, read from `nvdisasm --print-code`: instructions with their labels, predicates and source lines.
//!
//! Only what a view of control flow and a count of instructions need is read. A line that looks like an instruction and cannot be
//! read is an error: a count that leaves something out would be wrong in silence.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// One instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    /// Offset in the function, in bytes.
    pub(super) address: u64,
    /// Such as `@!P0`; empty where there is none.
    pub(super) predicate: String,
    /// Such as `HGMMA.64x256x16.F32.BF16`.
    pub(super) opcode: String,
    /// The rest of the line, without the final semicolon.
    pub(super) operands: String,
    /// The line of the source that the compiler names, as `file:line`; empty where it names none.
    pub(super) line: String,
}

impl Instruction {
    /// The opcode up to its first point.
    pub(super) fn mnemonic(&self) -> &str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    /// The label that a branch goes to, out of `` `(.L_x_4) ``.
    pub(super) fn target(&self) -> Option<&str> {
        let (_, after) = self.operands.split_once("`(")?;
        Some(after.split_once(')')?.0)
    }
}

/// One function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) instructions: Vec<Instruction>,
    /// Number of the instruction that follows each label; the number of instructions for one at the end.
    pub(super) labels: BTreeMap<String, usize>,
}

/// Every function of a listing, in its order.
pub(super) fn functions(text: &str) -> Result<Vec<Function>> {
    let mut all: Vec<Function> = Vec::new();
    let mut source = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix(".text.").and_then(|rest| rest.strip_suffix(':')) {
            all.push(Function { name: name.to_owned(), instructions: Vec::new(), labels: BTreeMap::new() });
            source.clear();
        } else if line.starts_with(".section") {
            // What follows belongs to no function until the next one begins.
            source.clear();
        } else if let Some(rest) = line.strip_prefix("//## File \"") {
            source = source_line(rest);
        } else if let (Some(function), Some(label)) = (all.last_mut(), line.strip_suffix(':')) {
            if !label.contains(char::is_whitespace) {
                function.labels.insert(label.to_owned(), function.instructions.len());
            }
        } else if let Some(rest) = line.strip_prefix("/*") {
            let read = instruction(rest, &source);
            let read = read.with_context(|| format!("line {} is no instruction: {line}", number + 1))?;
            let function = all.last_mut();
            let function =
                function.with_context(|| format!("line {} is in no function: {line}", number + 1))?;
            function.instructions.push(read);
        }
    }
    all.retain(|function| !function.instructions.is_empty());
    if all.is_empty() {
        bail!("the listing has no function");
    }
    Ok(all)
}

/// `file:line` from `/a/b/file.cu", line 12 inlined at ..`.
fn source_line(rest: &str) -> String {
    let Some((path, after)) = rest.split_once("\", line ") else { return String::new() };
    let file = path.rsplit('/').next().unwrap_or(path);
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    format!("{file}:{digits}")
}

/// An instruction from `00d0*/ @!P0 BRA \`(.L_x_0) ;`.
fn instruction(rest: &str, line: &str) -> Result<Instruction> {
    let (address, code) = rest.split_once("*/").context("its address does not end")?;
    let address = u64::from_str_radix(address.trim(), 16)
        .with_context(|| format!("`{address}` is no hexadecimal address"))?;
    // Of an encoding behind the instruction, nothing is wanted.
    let code = code.split_once(';').map_or(code, |(code, _)| code).trim();
    // Dual issue of old chips stands in braces.
    let code = code.trim_start_matches('{').trim_end_matches('}').trim();
    let (predicate, code) = match code.split_once(char::is_whitespace) {
        Some((first, rest)) if first.starts_with('@') => (first, rest.trim_start()),
        Some(_) | None => ("", code),
    };
    let (opcode, operands) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
    if !opcode.starts_with(|c: char| c.is_ascii_uppercase()) {
        bail!("`{opcode}` is no opcode");
    }
    Ok(Instruction {
        address,
        predicate: predicate.to_owned(),
        opcode: opcode.to_owned(),
        operands: operands.trim().to_owned(),
        line: line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
\t.target\tsm_90a
//--------------------- .text.k --------------------------
\t.section\t.text.k,\"ax\",@progbits
.text.k:
\t//## File \"/somewhere/k.cu\", line 12
        /*0000*/                   LDC R1, c[0x0][0x37c] ;
.L_x_0:
\t//## File \"/somewhere/k.cu\", line 13 inlined at \"/somewhere/k.cu\", line 20
        /*0010*/              @!P0 LDG.E R2, desc[UR4][R2.64] ;   /* 0x00000a00ff017b82 */
        /*0020*/               @P1 BRA `(.L_x_0) ;
        /*0030*/                   EXIT;
.L_x_1:
";

    #[test]
    fn instructions_have_labels_predicates_and_lines() {
        let all = functions(TEXT).expect("the text is a listing");
        assert_eq!(all.len(), 1);
        let function = &all[0];
        assert_eq!(function.name, "k");
        assert_eq!(function.labels[".L_x_0"], 1);
        assert_eq!(function.labels[".L_x_1"], 4);
        let load = &function.instructions[1];
        assert_eq!((load.predicate.as_str(), load.opcode.as_str()), ("@!P0", "LDG.E"));
        assert_eq!((load.mnemonic(), load.operands.as_str()), ("LDG", "R2, desc[UR4][R2.64]"));
        assert_eq!((load.address, load.line.as_str()), (0x10, "k.cu:13"));
        assert_eq!(function.instructions[2].target(), Some(".L_x_0"));
        assert_eq!(function.instructions[3].opcode, "EXIT");
        assert_eq!(function.instructions[3].target(), None);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (text, said) in [
            ("", "no function"),
            (".text.k:\n /*00x0*/ NOP ;", "hexadecimal"),
            (".text.k:\n /*0000*/ ;", "no opcode"),
            ("/*0000*/ NOP ;", "in no function"),
            (".text.k:\n /*0000 NOP ;", "does not end"),
        ] {
            let error = functions(text).map(|_| String::new()).unwrap_or_else(|e| format!("{e:#}"));
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
