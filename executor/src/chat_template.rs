//! A model's chat template: Jinja as Hugging Face runs it.
//!
//! minijinja differs from Jinja2 in how Python's values print and in the methods strings and dictionaries have; the
//! environment here restores both, and adds the functions that Hugging Face gives to templates. The template comes
//! from others, so it sees nothing but its input.

mod clock;
mod python;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, ErrorKind};
use serde_json::Map;

use crate::config::{Fields, parse_object};
use crate::error::{Error, Result};
use crate::source::ModelSource;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A parsed chat template and the special tokens that it may print.
#[derive(Debug)]
pub struct ChatTemplate {
    file: PathBuf,
    env: Environment<'static>,
    special_tokens: Map<String, serde_json::Value>,
}

const NAME: &str = "chat";
const SPECIAL_TOKENS: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];

impl ChatTemplate {
    /// The template of `source`: chat_template.jinja, else `chat_template` of tokenizer_config.json.
    ///
    /// # Errors
    /// A file that cannot be read or a template that does not parse. A model without one is `None`.
    pub fn load(source: &ModelSource) -> Result<Option<Self>> {
        let config_name = "tokenizer_config.json";
        let config_file = source.path_of(config_name);
        let config = match source.read(config_name)? {
            Some(bytes) => parse_object(&config_file, &bytes)?,
            None => Map::new(),
        };
        let mut special_tokens = Map::new();
        for name in SPECIAL_TOKENS {
            // A token is its text, or an object that describes it.
            let value = config.get(name);
            let text = value.and_then(|value| value.get("content").or(Some(value))?.as_str());
            if let Some(text) = text {
                special_tokens.insert(name.to_owned(), text.into());
            }
        }
        if let Some(bytes) = source.read("chat_template.jinja")? {
            let file = source.path_of("chat_template.jinja");
            let text = String::from_utf8(bytes.into_owned())
                .map_err(|why| Error::Template { file: file.clone(), why: why.to_string() })?;
            return Self::parse(&file, &text, special_tokens).map(Some);
        }
        match named_template(&Fields::new(&config_file, &config))? {
            Some(text) => Self::parse(&config_file, &text, special_tokens).map(Some),
            None => Ok(None),
        }
    }

    /// Parses a template; `file` is the path that messages show.
    ///
    /// # Errors
    /// [`Error::Template`] with line and reason.
    pub fn parse(file: &Path, text: &str, special_tokens: Map<String, serde_json::Value>) -> Result<Self> {
        let mut env = Environment::new();
        env.set_trim_blocks(true);
        env.set_lstrip_blocks(true);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.set_formatter(|out, _state, value| {
            out.write_str(&python::str_of(value)).map_err(minijinja::Error::from)
        });
        env.add_filter("tojson", to_json);
        env.add_filter("string", |value: Value| python::str_of(&value));
        env.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_function("strftime_now", |format: String| clock::format(SystemTime::now(), &format));
        env.add_template_owned(NAME, plain_blocks(text))
            .map_err(|why| Error::Template { file: file.to_owned(), why: explain(&why) })?;
        Ok(Self { file: file.to_owned(), env, special_tokens })
    }

    /// The text of a conversation, with the opening of the assistant's next turn.
    ///
    /// # Errors
    /// [`Error::Template`], the template's own `raise_exception` included.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String> {
        let mut input = Map::new();
        let turn =
            |message: &ChatMessage| serde_json::json!({"role": message.role, "content": message.content});
        input.insert("messages".to_owned(), messages.iter().map(turn).collect());
        input.insert("add_generation_prompt".to_owned(), true.into());
        self.render_with(input)
    }

    /// As [`ChatTemplate::render`], with all of the template's variables given; the special tokens, and `tools` and
    /// `documents` as none, are added where absent.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(&self, mut input: Map<String, serde_json::Value>) -> Result<String> {
        for (name, token) in &self.special_tokens {
            input.entry(name.clone()).or_insert_with(|| token.clone());
        }
        for name in ["tools", "documents"] {
            input.entry(name).or_insert(serde_json::Value::Null);
        }
        self.env
            .get_template(NAME)
            .and_then(|template| template.render(Value::from_serialize(&input)))
            .map_err(|why| Error::Template { file: self.file.clone(), why: explain(&why) })
    }
}

/// `chat_template` is a string, or a list of `{name, template}` of which "default" is taken.
fn named_template(config: &Fields<'_>) -> Result<Option<String>> {
    let key = "chat_template";
    let Some(value) = config.get(key) else { return Ok(None) };
    let expected = "a string, or a list of {name, template} with one named \"default\"";
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let templates = value.as_array().ok_or_else(|| config.bad(key, expected))?;
    templates
        .iter()
        .find(|entry| entry.get("name").and_then(|name| name.as_str()) == Some("default"))
        .and_then(|entry| entry.get("template")?.as_str())
        .map(|text| Some(text.to_owned()))
        .ok_or_else(|| config.bad(key, expected))
}

/// Replaces `{% generation %}`, which marks the assistant's words for training, by a block that is always taken.
fn plain_blocks(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else { break };
        let tag = &rest[start + 2..start + len];
        let word = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        plain.push_str(&rest[..start + 2]);
        match word {
            "generation" => plain.push_str(&tag.replace(word, "if true")),
            "endgeneration" => plain.push_str(&tag.replace(word, "endif")),
            _ => plain.push_str(tag),
        }
        rest = &rest[start + len..];
    }
    plain.push_str(rest);
    plain
}

#[expect(clippy::needless_pass_by_value, reason = "a filter's arguments come by value")]
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, minijinja::Error> {
    let json = serde_json::to_value(value)
        .map_err(|why| minijinja::Error::new(ErrorKind::BadSerialization, why.to_string()))?;
    let indent: Option<usize> = kwargs.get("indent")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let [item, key] = match separators.as_deref() {
        Some([item, key]) => [item.clone(), key.clone()],
        Some(_) | None => [if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()],
    };
    let style = python::JsonStyle {
        indent,
        item,
        key,
        ensure_ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    Ok(style.write(&json))
}

/// The error with its line, and without minijinja's name for our one template.
fn explain(error: &minijinja::Error) -> String {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("line {line}: {reason}"),
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_block_is_always_taken() {
        assert_eq!(
            plain_blocks("a{%- generation -%} b {% endgeneration %}{% if x %}"),
            "a{%- if true -%} b {% endif %}{% if x %}"
        );
        assert_eq!(plain_blocks("{% open"), "{% open");
    }

    #[test]
    fn errors_name_file_and_line() {
        let file = Path::new("m/chat_template.jinja");
        let parse = |text| ChatTemplate::parse(file, text, Map::new());
        let message = parse("a\n{% if %}").expect_err("an if without a condition").to_string();
        assert!(message.starts_with("m/chat_template.jinja: chat template: line 2: "), "{message}");
        let template = parse("{{ raise_exception('roles must alternate') }}").expect("should parse");
        let message = template.render(&[]).expect_err("it raises").to_string();
        assert!(message.ends_with("line 1: roles must alternate"), "{message}");
    }
}
