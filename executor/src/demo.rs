//! The demo model, compiled into the program so that it answers with nothing to fetch.

use crate::source::ModelSource;

/// The embedded demo model.
pub fn source() -> ModelSource {
    ModelSource::Embedded(&[])
}
