//! Cuts PTX text into words, numbers, strings and punctuation, each with its line.
//!
//! A word keeps its dots and double colons (`cp.async.bulk.shared::cluster`, `%tid.x`): the grammar never
//! needs them apart, and the form table is keyed by the whole word.

use crate::error::SimError;

/// One token with the line it starts on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: u32,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind<'a> {
    Word(&'a str),
    Number(&'a str),
    Text(&'a str),
    Punct(u8),
}

/// All tokens of `text`, comments dropped.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, SimError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 5);
    let (mut i, mut line) = (0, 1);
    while i < bytes.len() {
        let c = bytes[i];
        if c == b'\n' {
            line += 1;
            i += 1;
        } else if c.is_ascii_whitespace() || c == 0 {
            i += 1;
        } else if bytes[i..].starts_with(b"//") {
            while i < bytes.len() && bytes[i] != b'\n' {
                i += 1;
            }
        } else if bytes[i..].starts_with(b"/*") {
            let start = line;
            i += 2;
            while !bytes[i.min(bytes.len())..].starts_with(b"*/") {
                if i >= bytes.len() {
                    return Err(SimError::Parse { line: start, message: "a comment is never closed".into() });
                }
                line += u32::from(bytes[i] == b'\n');
                i += 1;
            }
            i += 2;
        } else if c == b'"' {
            let start = i + 1;
            i = start;
            while i < bytes.len() && bytes[i] != b'"' {
                i += 1;
            }
            if i == bytes.len() {
                return Err(SimError::Parse { line, message: "a string is never closed".into() });
            }
            out.push(Token { kind: Kind::Text(&text[start..i]), line });
            i += 1;
        } else if is_word_byte(c) {
            let start = i;
            while i < bytes.len() {
                if is_word_byte(bytes[i]) {
                    i += 1;
                } else if bytes[i..].starts_with(b"::") && bytes.get(i + 2).is_some_and(|&b| is_word_byte(b))
                {
                    i += 2;
                } else {
                    break;
                }
            }
            let mut word = &text[start..i];
            // `.reg.b32` is two words, like `.reg .b32`.
            if word.starts_with(".reg.") {
                word = ".reg";
                i = start + word.len();
            }
            let kind = if c.is_ascii_digit() { Kind::Number(word) } else { Kind::Word(word) };
            out.push(Token { kind, line });
        } else if c.is_ascii() {
            out.push(Token { kind: Kind::Punct(c), line });
            i += 1;
        } else {
            return Err(SimError::Parse { line, message: format!("byte {c:#x} is not PTX") });
        }
    }
    Ok(out)
}

fn is_word_byte(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// The bits of a numeric literal: integers in two's complement, `0f` as f32 bits, `0d` as f64 bits.
pub(super) fn number(word: &str, line: u32) -> Result<super::Operand, SimError> {
    use super::Operand;
    let bad = || SimError::Parse { line, message: format!("`{word}` is not a number") };
    if let Some(hex) = word.strip_prefix("0f").or_else(|| word.strip_prefix("0F")) {
        return u32::from_str_radix(hex, 16).map(Operand::F32).map_err(|_| bad());
    }
    if let Some(hex) = word.strip_prefix("0d").or_else(|| word.strip_prefix("0D")) {
        return u64::from_str_radix(hex, 16).map(Operand::F64).map_err(|_| bad());
    }
    if word.contains('.') {
        return word.parse::<f64>().map(|v| Operand::F64(v.to_bits())).map_err(|_| bad());
    }
    let digits = word.trim_end_matches(['U', 'u']);
    let value = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
    } else if let Some(bin) = digits.strip_prefix("0b").or_else(|| digits.strip_prefix("0B")) {
        u64::from_str_radix(bin, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    value.map(|v| Operand::Int(v as i64)).map_err(|_| bad())
}
