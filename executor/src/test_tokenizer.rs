//! A byte-level tokenizer for tests: ids 0 to 255 are the bytes, 256 is `<|end|>`.

use serde_json::json;

use crate::tokenizer::Tokenizer;

/// GPT-2's printable stand-in of each byte.
fn stand_in(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let nth = (0..byte).filter(|other| !printable(*other)).count() as u32;
    char::from_u32(256 + nth).expect("the stand-ins should be characters")
}

pub(crate) fn byte_level_json() -> String {
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..=255u8).map(|byte| (stand_in(byte).to_string(), json!(byte))).collect();
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [{"id": 256, "content": "<|end|>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": byte_level.clone(),
        "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "vocab": vocab, "merges": []},
    })
    .to_string()
}

pub(crate) fn byte_level() -> Tokenizer {
    Tokenizer::parse("tokenizer.json".into(), byte_level_json().as_bytes())
        .expect("the test tokenizer should load")
}
