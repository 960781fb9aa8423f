//! Python's spelling of values: `str()` and `json.dumps`, which templates rely on.

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};

/// What Python's `str()` gives for a template's value; undefined prints nothing.
pub(super) fn str_of(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr_of(value),
    }
}

fn repr_of(value: &Value) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is another crate's and grows")]
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => "None".to_owned(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        ValueKind::Number if !value.is_integer() => {
            f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float_repr)
        }
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<String> =
                value.try_iter().into_iter().flatten().map(|item| repr_of(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Map => {
            let entry = |key: Value| {
                let item = value.get_item(&key).unwrap_or_default();
                format!("{}: {}", repr_of(&key), repr_of(&item))
            };
            let items: Vec<String> = value.try_iter().into_iter().flatten().map(entry).collect();
            format!("{{{}}}", items.join(", "))
        }
        _ => value.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The shortest digits that give the number back, with an exponent below 1e-4 and from 1e16.
fn float_repr(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format should have an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent should be an integer");
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = number.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// The options of `json.dumps` that templates use.
#[derive(Clone, Debug)]
pub(super) struct JsonStyle {
    pub(super) indent: Option<usize>,
    pub(super) item: String,
    pub(super) key: String,
    pub(super) ensure_ascii: bool,
    pub(super) sort_keys: bool,
}

impl JsonStyle {
    pub(super) fn write(&self, value: &serde_json::Value) -> String {
        let mut out = String::new();
        self.value(&mut out, value, 0);
        out
    }

    fn value(&self, out: &mut String, value: &serde_json::Value, depth: usize) {
        match value {
            serde_json::Value::Null => out.push_str("null"),
            serde_json::Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            serde_json::Value::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => out.push_str(&float_repr(float)),
                Some(_) | None => out.push_str(&number.to_string()),
            },
            serde_json::Value::String(text) => self.string(out, text),
            serde_json::Value::Array(items) => {
                out.push('[');
                for (idx, item) in items.iter().enumerate() {
                    self.between(out, idx, depth + 1);
                    self.value(out, item, depth + 1);
                }
                self.close(out, items.is_empty(), depth, ']');
            }
            serde_json::Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                out.push('{');
                for (idx, (key, item)) in entries.into_iter().enumerate() {
                    self.between(out, idx, depth + 1);
                    self.string(out, key);
                    out.push_str(&self.key);
                    self.value(out, item, depth + 1);
                }
                self.close(out, map.is_empty(), depth, '}');
            }
        }
    }

    fn between(&self, out: &mut String, idx: usize, depth: usize) {
        if idx > 0 {
            out.push_str(&self.item);
        }
        self.new_line(out, depth);
    }

    fn close(&self, out: &mut String, is_empty: bool, depth: usize, bracket: char) {
        if !is_empty {
            self.new_line(out, depth);
        }
        out.push(bracket);
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn string(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}").expect("a string should take more text");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e100, "1.25e+100"),
            (0.0, "0.0"),
        ];
        for (number, expected) in cases {
            assert_eq!(float_repr(number), expected);
        }
    }

    #[test]
    fn containers_print_as_in_python() {
        let value = Value::from_serialize(serde_json::json!({
            "a": [1, 2.0, true, null], "it's": "x\"y", "n": "l\n"
        }));
        assert_eq!(str_of(&value), r#"{'a': [1, 2.0, True, None], "it's": 'x"y', 'n': 'l\n'}"#);
        assert_eq!(str_of(&Value::from("plain")), "plain");
        assert_eq!(str_of(&Value::UNDEFINED), "");
    }
}
