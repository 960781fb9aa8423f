//! Every way in which tuning, and reading or writing records, can fail.
//!
//! A refused record always names the file, the field, what was expected and what was found.

use std::io;
use std::path::PathBuf;

/// An error of the tuner or of its records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record does not belong to this kernel, source, device or schema, or contradicts itself.
    #[error("record {origin} refused: field `{field}` should be {expected}, found {found}; {advice}")]
    Refused {
        /// File or built-in table entry.
        origin: String,
        /// The field, as a path inside the file.
        field: String,
        /// What it should have been.
        expected: String,
        /// What it is.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The text of a record is not JSON of the expected form.
    #[error("record {origin} cannot be read: {source}; move it away or tune again into an empty folder")]
    Malformed {
        /// File or built-in table entry.
        origin: String,
        /// The parser's message with line and column.
        source: serde_json::Error,
    },
    /// A file or folder could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A kernel or device class whose name cannot be a file name.
    #[error(
        "`{name}` cannot name a record file: use letters, digits, `-`, `_` and `.`, and do not begin with `.`"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// The default schedule of a kernel is not a legal point of its space.
    #[error(
        "the default schedule of `{kernel}` ({schedule}) is not a legal point of its search space; add its values to the space"
    )]
    DefaultOutsideSpace {
        /// The kernel.
        kernel: String,
        /// Its default schedule.
        schedule: String,
    },
    /// Nothing could be recorded because every candidate tried was invalid.
    #[error(
        "no usable schedule for `{kernel}` at {bucket}: all {tried} candidates were invalid, the first one {first}"
    )]
    NoValidCandidate {
        /// The kernel.
        kernel: String,
        /// The bucket.
        bucket: String,
        /// How many were tried.
        tried: usize,
        /// Schedule and reason of the first.
        first: String,
    },
}

/// Result with the tuner's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
