//! The program itself: exit codes, and that bad input is refused with its name before any work.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::json;
use tempfile::TempDir;

fn executor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor")).args(args).output().expect("the program should start")
}

/// Runs the program on `folder`; its exit code and standard error.
fn fails(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let model = folder.to_str().expect("a path in UTF-8");
    let args: Vec<&str> = args.iter().take(1).chain(&["--model", model]).chain(&args[1..]).copied().collect();
    let output = executor(&args);
    let error = String::from_utf8(output.stderr).expect("messages should be UTF-8");
    assert!(!error.contains("panicked"), "{error}");
    (output.status.code(), error)
}

/// A folder with a word-level tokenizer, an embedding table and nothing else of a Llama.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let config = json!({
        "model_type": "llama", "vocab_size": 3, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "max_position_embeddings": 8,
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"},
    });
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).expect("a file");
    let data = [0u8; 48];
    let embedding = TensorView::new(Dtype::F32, vec![3, 4], &data).expect("a legal tensor");
    serialize_to_file(
        [("model.embed_tokens.weight", embedding)],
        None,
        &folder.path().join("model.safetensors"),
    )
    .expect("a file");
    folder
}

#[test]
fn mistakes_on_the_line_exit_with_2() {
    for args in [&[][..], &["fly"], &["run", "--top-k"], &["run", "--context", "0", "a"], &["logits"]] {
        let output = executor(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    let (code, error) = fails(folder().path(), &["run", "--top-p", "7", "a"]);
    assert_eq!(
        (code, error.as_str()),
        (Some(2), "error: option --top-p is 7, expected a number from 0 to 1\n")
    );
}

#[test]
fn help_goes_to_standard_output() {
    for args in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let output = executor(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn bad_input_exits_with_1_and_is_named() {
    let missing = tempfile::tempdir().expect("a folder").path().join("none");
    let (code, error) = fails(&missing, &["run", "a"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("none: no such file (give the folder that holds config.json"), "{error}");

    let model = folder();
    let cases: [(&[&str], &str); 5] = [
        (
            &["run", "a b a b a b a b"],
            "prompt 0 has 8 tokens and asks for 1 more, 9 in all, but the context holds 8",
        ),
        (&["run", "--max-new-tokens", "7", "a", "a b"], "prompt 1 has 2 tokens and asks for 7 more"),
        (&["run", "--context", "3", "--max-new-tokens", "3", "a"], "but the context holds 3; shorten"),
        (&["chat", "--greedy"], "the model has no chat template; use --raw"),
        (&["logits", "--ids", "0,x", "--out", "f"], "invalid value 'x'"),
    ];
    for (args, expected) in cases {
        let (code, error) = fails(model.path(), args);
        assert!(error.contains(expected), "`{expected}` should be in: {error}");
        assert_ne!(code, Some(0));
    }

    fs::write(model.path().join("tokenizer.json"), "{\"version\": ").expect("a file");
    let (code, error) = fails(model.path(), &["run", "a"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("tokenizer.json: not a tokenizer: "), "{error}");

    fs::remove_file(model.path().join("tokenizer.json")).expect("the file was there");
    let (_, error) = fails(model.path(), &["run", "a"]);
    assert!(error.contains("tokenizer.json: no such file (it turns text into tokens"), "{error}");

    fs::write(model.path().join("config.json"), "{\"model_type\": \"t5\"}").expect("a file");
    for command in [&["run", "a"][..], &["inspect"], &["bench"], &["logits", "--ids", "1", "--out", "f"]] {
        let (code, error) = fails(model.path(), command);
        assert_eq!(code, Some(1));
        assert!(error.contains("config.json: `model_type` is \"t5\""), "{error}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    let model = folder();
    let config = fs::read_to_string(model.path().join("config.json")).expect("a file");
    fs::write(model.path().join("config.json"), config.replace("\"vocab_size\":3", "\"vocab_size\":5"))
        .expect("a file");
    let out = model.path().join("out.safetensors");
    let (code, error) =
        fails(model.path(), &["logits", "--ids", "1", "--out", out.to_str().expect("a path in UTF-8")]);
    assert_eq!(code, Some(1));
    assert!(error.contains("`model.embed_tokens.weight` has shape [3, 4], expected [5, 4]"), "{error}");
    assert!(!out.exists());
}
