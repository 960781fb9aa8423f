//! Typed access to the keys of a JSON object, with errors that name file, key and value.
//!
//! A key that is `null` counts as absent, as Hugging Face's own classes treat it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// A JSON object, the file it came from and its dotted path within.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    file: PathBuf,
    prefix: String,
    map: &'a Map<String, Value>,
}

/// Parses `bytes` as a JSON object.
pub(crate) fn parse_object(file: &Path, bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { file: file.to_owned(), source })
}

impl<'a> Fields<'a> {
    pub(crate) fn new(file: &Path, map: &'a Map<String, Value>) -> Self {
        Self { file: file.to_owned(), prefix: String::new(), map }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is written at all, `null` included.
    pub(crate) fn is_written(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => {
                Ok(Some(Fields { file: self.file.clone(), prefix: format!("{}{key}.", self.prefix), map }))
            }
            Some(_) => Err(self.bad(key, "an object")),
        }
    }

    pub(crate) fn usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a non-negative integer", |value| {
            value.as_u64().and_then(|number| usize::try_from(number).ok())
        })
    }

    pub(crate) fn positive(&self, key: &str) -> Result<Option<usize>> {
        match self.usize(key)? {
            Some(0) => Err(self.bad(key, "an integer above 0")),
            other => Ok(other),
        }
    }

    pub(crate) fn require_positive(&self, key: &str) -> Result<usize> {
        self.positive(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        self.typed(key, "a list of strings", |value| {
            value.as_array().and_then(|items| items.iter().map(Value::as_str).collect())
        })
    }

    /// One token id or a list of them; absent is an empty list.
    pub(crate) fn token_ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
        let ids = self.typed(key, "a token id or a list of token ids", |value| match value.as_array() {
            Some(items) => items.iter().map(id).collect(),
            None => id(value).map(|number| vec![number]),
        })?;
        Ok(ids.unwrap_or_default())
    }

    pub(crate) fn bad(&self, key: &str, expected: &str) -> Error {
        Error::BadValue {
            file: self.file.clone(),
            key: format!("{}{key}", self.prefix),
            found: self.shown(key),
            expected: expected.to_owned(),
        }
    }

    pub(crate) fn missing(&self, key: &str) -> Error {
        Error::MissingKey { file: self.file.clone(), key: format!("{}{key}", self.prefix) }
    }

    pub(crate) fn unsupported(&self, key: &str, why: &str) -> Error {
        Error::Unsupported {
            file: self.file.clone(),
            key: format!("{}{key}", self.prefix),
            found: self.shown(key),
            why: why.to_owned(),
        }
    }

    pub(crate) fn unknown_architecture(&self, key: &str, found: &str) -> Error {
        Error::UnknownArchitecture { file: self.file.clone(), key: key.to_owned(), found: found.to_owned() }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.bad(key, expected)),
        }
    }

    fn shown(&self, key: &str) -> String {
        let text = self.map.get(key).map_or_else(|| "absent".to_owned(), Value::to_string);
        if text.chars().count() > 120 { text.chars().take(117).chain("...".chars()).collect() } else { text }
    }
}
