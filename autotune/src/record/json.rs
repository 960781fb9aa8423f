//! JSON text that diffs well: one field per line, but lists of plain values on one line.

use serde_json::Value;

/// `value` as text with two-space indentation and a final newline; object fields keep their order.
pub(super) fn print(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out.push('\n');
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let items =
                fields.iter().map(|(name, field)| (format!("{}: ", Value::from(name.as_str())), field));
            block('{', '}', items, depth, out);
        }
        Value::Array(items) if items.iter().any(|v| v.is_object() || v.is_array()) => {
            block('[', ']', items.iter().map(|item| (String::new(), item)), depth, out);
        }
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(Value::to_string).collect();
            out.push_str(&format!("[{}]", texts.join(", ")));
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

fn block<'a>(
    open: char,
    close: char,
    items: impl Iterator<Item = (String, &'a Value)>,
    depth: usize,
    out: &mut String,
) {
    out.push(open);
    for (i, (head, item)) in items.enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        out.push_str(&head);
        write(item, depth + 1, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lists_stay_on_one_line() {
        let value = serde_json::json!({"a": [1, 2.5], "b": [{"c": "x\"y"}], "d": {}, "e": []});
        let text = print(&value);
        let expected = "{\n  \"a\": [1, 2.5],\n  \"b\": [\n    {\n      \"c\": \"x\\\"y\"\n    }\n  ],\n  \"d\": {},\n  \"e\": []\n}\n";
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("text should parse"), value);
    }
}
