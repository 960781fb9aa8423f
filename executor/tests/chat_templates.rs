//! Chat templates against what Hugging Face transformers renders, and where a template is looked for.
//!
//! `fixtures/templates.golden.json` holds inputs with transformers' text or error; `make_golden.py` remakes them.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use tilewright_executor::chat_template::{ChatMessage, ChatTemplate};
use tilewright_executor::source::ModelSource;

const GOLDEN: &str = include_str!("fixtures/templates.golden.json");

#[test]
fn templates_render_as_in_transformers() {
    let golden: Vec<Value> = serde_json::from_str(GOLDEN).expect("the fixture should be JSON");
    assert!(golden.len() >= 11);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/templates");
    let mut special = Map::new();
    special.insert("bos_token".to_owned(), json!("<s>"));
    special.insert("eos_token".to_owned(), json!("</s>"));
    for (case_idx, case) in golden.iter().enumerate() {
        let name = case["template"].as_str().expect("a name");
        let file = folder.join(format!("{name}.jinja"));
        let text = fs::read_to_string(&file).expect("a template");
        let template = ChatTemplate::parse(&file, &text, special.clone())
            .unwrap_or_else(|error| panic!("case {case_idx}: {error}"));
        let input = case["input"].as_object().expect("an object").clone();
        match (template.render_with(input), case["text"].as_str(), case["error"].as_str()) {
            (Ok(found), Some(expected), _) => assert_eq!(found, expected, "case {case_idx}, {name}"),
            (Err(found), None, Some(expected)) => {
                assert!(found.to_string().ends_with(expected), "case {case_idx}: {found}");
            }
            (found, _, _) => panic!("case {case_idx}, {name}: {found:?}, expected {case}"),
        }
    }
}

fn load(files: &[(&str, &str)]) -> Result<Option<String>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let source = ModelSource::folder(folder.path()).expect("a folder");
    let template = ChatTemplate::load(&source).map_err(|error| error.to_string())?;
    let messages = [ChatMessage { role: "user".to_owned(), content: "hi".to_owned() }];
    Ok(template.map(|template| template.render(&messages).expect("should render")))
}

#[test]
fn a_template_is_looked_for_where_transformers_looks() {
    let config = |template: Value| {
        json!({"chat_template": template, "bos_token": {"content": "<b>"}, "eos_token": "<e>", "unk_token": null})
            .to_string()
    };
    let plain = config(json!("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}"));
    assert_eq!(load(&[]), Ok(None));
    assert_eq!(load(&[("tokenizer_config.json", "{}")]), Ok(None));
    assert_eq!(load(&[("tokenizer_config.json", &plain)]), Ok(Some("<b>hi<e>".to_owned())));
    let file = (
        "chat_template.jinja",
        "file {{ bos_token }}{% if add_generation_prompt and not tools %}!{% endif %}",
    );
    assert_eq!(load(&[("tokenizer_config.json", &plain), file]), Ok(Some("file <b>!".to_owned())));
    let named = config(json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]));
    assert_eq!(load(&[("tokenizer_config.json", &named)]), Ok(Some("d".to_owned())));

    let none_named = config(json!([{"name": "rag", "template": "t"}]));
    let message = load(&[("tokenizer_config.json", &none_named)]).expect_err("no default");
    assert!(
        message.contains("key `chat_template` is ") && message.contains("one named \"default\""),
        "{message}"
    );
    let message = load(&[("tokenizer_config.json", "{")]).expect_err("half a file");
    assert!(message.ends_with("tokenizer_config.json: not a JSON object"), "{message}");
}
