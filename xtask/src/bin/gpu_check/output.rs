//! A report that is on disk at every moment: whole, and as far as the run has come.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Whether a run begins or goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    Fresh,
    Resume,
}

/// Rows, each an object, below the facts of the run.
pub(crate) struct Report {
    path: Option<PathBuf>,
    facts: Map<String, Value>,
    rows: Vec<Value>,
}

impl Report {
    /// A report for `path`, with the rows that it has if the run goes on.
    ///
    /// # Errors
    /// If a report to go on with is none.
    pub(crate) fn new(path: Option<&Path>, start: Start, facts: Map<String, Value>) -> Result<Self> {
        let rows = match (path, start) {
            (Some(path), Start::Resume) if path.exists() => {
                let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                let old: Value =
                    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
                old["rows"].as_array().cloned().with_context(|| format!("{} has no rows", path.display()))?
            }
            _ => Vec::new(),
        };
        Ok(Self { path: path.map(Path::to_owned), facts, rows })
    }

    pub(crate) fn rows(&self) -> &[Value] {
        &self.rows
    }

    /// Removes the rows of which `test` is true.
    pub(crate) fn forget(&mut self, test: impl Fn(&Value) -> bool) {
        self.rows.retain(|row| !test(row));
    }

    /// Adds a row and writes the file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn add(&mut self, row: Value) -> Result<()> {
        self.rows.push(row);
        self.write("running")
    }

    /// Writes the file with a word on how the run stands, in one step, so that a reader never sees half of it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, state: &str) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut whole = self.facts.clone();
        whole.insert("state".into(), json!(state));
        whole.insert("rows".into(), json!(self.rows));
        let part = path.with_extension("json.part");
        let text = serde_json::to_string_pretty(&whole)? + "\n";
        fs::write(&part, text).with_context(|| format!("writing {}", part.display()))?;
        fs::rename(&part, path).with_context(|| format!("renaming {} to {}", part.display(), path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_with_the_rows_that_it_left() {
        let path = std::env::temp_dir().join(format!("tilewright-gpu-check-{}.json", std::process::id()));
        let mut report = Report::new(Some(&path), Start::Fresh, Map::new()).expect("a new report");
        report.add(json!({ "label": "a" })).expect("the file should be writable");
        report.add(json!({ "label": "b" })).expect("the file should be writable");
        let mut again = Report::new(Some(&path), Start::Resume, Map::new()).expect("the old report");
        assert_eq!(again.rows().len(), 2);
        again.forget(|row| row["label"] == "a");
        again.write("done").expect("the file should be writable");
        let text = fs::read_to_string(&path).expect("the file is there");
        let read: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!((read["state"].as_str(), read["rows"].as_array().map(Vec::len)), (Some("done"), Some(1)));
        fs::write(&path, "{}").expect("the file should be writable");
        assert!(Report::new(Some(&path), Start::Resume, Map::new()).is_err());
        fs::remove_file(&path).expect("the file should be removable");
    }
}
