//! The demo model, compiled into the program so that it answers with nothing to fetch.

use crate::source::{EmbeddedFile, ModelSource};

/// Aligns the file's start for vector loads straight from the program's image.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static WEIGHTS: &Aligned<[u8]> = &Aligned(*include_bytes!("../demo/model/model.safetensors"));

static FILES: [EmbeddedFile; 5] = [
    EmbeddedFile { name: "config.json", bytes: include_bytes!("../demo/model/config.json") },
    EmbeddedFile {
        name: "generation_config.json",
        bytes: include_bytes!("../demo/model/generation_config.json"),
    },
    EmbeddedFile { name: "tokenizer.json", bytes: include_bytes!("../demo/model/tokenizer.json") },
    EmbeddedFile {
        name: "tokenizer_config.json",
        bytes: include_bytes!("../demo/model/tokenizer_config.json"),
    },
    EmbeddedFile { name: "model.safetensors", bytes: &WEIGHTS.0 },
];

/// The embedded demo model.
pub fn source() -> ModelSource {
    ModelSource::Embedded(&FILES)
}
