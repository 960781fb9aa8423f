//! config.json against what Hugging Face transformers reads in it, and its mistakes against their messages.
//!
//! `fixtures/config.golden.json` holds configurations with the answers of transformers; `make_golden.py` beside it
//! remakes them.

use std::path::Path;

use serde_json::{Value, json};
use tilewright_executor::config::{GenerationDefaults, ModelConfig};
use tilewright_executor::source::ModelSource;

const GOLDEN: &str = include_str!("fixtures/config.golden.json");

fn parse(config: &Value) -> Result<ModelConfig, String> {
    ModelConfig::parse(Path::new("m/config.json"), config.to_string().as_bytes())
        .map_err(|error| error.to_string())
}

/// A small legal configuration with `changes` laid over it.
fn with(model_type: &str, changes: &Value) -> Value {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 40, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    });
    for (key, value) in changes.as_object().expect("changes should be an object") {
        config[key] = value.clone();
    }
    config
}

#[test]
fn every_key_means_what_it_means_to_transformers() {
    let golden: Vec<Value> = serde_json::from_str(GOLDEN).expect("the fixture should be JSON");
    assert!(golden.len() >= 16);
    for case in &golden {
        let name = &case["name"];
        let answer = &case["answer"];
        let config = parse(&case["config"]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let dtype = config.dtype.map(|dtype| match format!("{dtype:?}").as_str() {
            "F32" => "float32",
            "F16" => "float16",
            "BF16" => "bfloat16",
            other => panic!("{name}: dtype {other}"),
        });
        let found = json!({
            "n_kv_heads": config.n_kv_heads,
            "head_dim": config.head_dim,
            "max_position_embeddings": config.max_position_embeddings,
            "rms_norm_eps": config.rms_norm_eps,
            "tie_word_embeddings": config.tie_word_embeddings,
            "dtype": dtype,
            "sliding_window": config.sliding_window,
            "qkv_bias": config.biases.qkv,
            "attention_output_bias": config.biases.attention_output,
            "mlp_bias": config.biases.mlp,
            "qk_norm": config.qk_norm,
            "bos_token_id": config.bos_token_id,
            "eos_token_ids": config.eos_token_ids,
        });
        for (key, value) in found.as_object().expect("an object") {
            assert_eq!(value, &answer[key], "{name}: {key}");
        }

        let table = config.rope_table();
        let scaling = answer["attention_scaling"].as_f64().expect("a number");
        assert_eq!(table.attention_scaling, scaling as f32, "{name}: attention scaling");
        let expected: Vec<f32> = answer["inv_freq"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|freq| freq.as_f64().expect("a number") as f32)
            .collect();
        assert_eq!(table.inv_freq.len(), expected.len(), "{name}");
        for (pair, (found, expected)) in table.inv_freq.iter().zip(&expected).enumerate() {
            let ulps = found.to_bits().abs_diff(expected.to_bits());
            // PyTorch's vectorised power is itself off by up to an ulp; smoothing and ramps add theirs.
            assert!(
                ulps <= 4,
                "{name}: inv_freq[{pair}] is {found:e}, expected {expected:e}, {ulps} ulps apart"
            );
        }
    }
}

#[test]
fn nested_rope_parameters_are_read_where_all_layers_agree() {
    let kind = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6});
    let same =
        with("qwen3", &json!({"rope_parameters": {"full_attention": kind, "sliding_attention": kind}}));
    let flat = with("qwen3", &json!({"rope_parameters": kind}));
    assert_eq!(parse(&same).expect("legal").rope, parse(&flat).expect("legal").rope);
    let other = json!({"rope_type": "default", "rope_theta": 1e4});
    let mixed =
        with("qwen3", &json!({"rope_parameters": {"full_attention": kind, "sliding_attention": other}}));
    assert!(parse(&mixed).expect_err("mixed").contains("all layers must share one rotary embedding"));
}

#[test]
fn mistakes_name_file_key_and_value() {
    let yarn = |changes: Value| {
        let mut rope = json!({"rope_type": "yarn", "factor": 2.0});
        for (key, value) in changes.as_object().expect("an object") {
            rope[key] = value.clone();
        }
        json!({ "rope_scaling": rope })
    };
    let cases = [
        (
            json!({"model_type": "gpt2"}),
            "m/config.json: `model_type` is \"gpt2\", which is not supported; supported: llama",
        ),
        (json!({"model_type": 3}), "key `model_type` is 3, expected a string"),
        (json!({"model_type": null}), "key `model_type` is missing"),
        (
            json!({"model_type": null, "architectures": ["BloomForCausalLM"]}),
            "`architectures` is \"BloomForCausalLM\"",
        ),
        (json!({"architectures": ["LlamaForSequenceClassification"]}), "\"LlamaForSequenceClassification\""),
        (json!({"hidden_size": null}), "m/config.json: key `hidden_size` is missing"),
        (json!({"hidden_size": "64"}), "key `hidden_size` is \"64\", expected a non-negative integer"),
        (json!({"hidden_size": -64}), "key `hidden_size` is -64"),
        (json!({"hidden_size": 63}), "a multiple of num_attention_heads, 4"),
        (json!({"num_hidden_layers": 0}), "key `num_hidden_layers` is 0, expected an integer above 0"),
        (
            json!({"num_key_value_heads": 3}),
            "key `num_key_value_heads` is 3, expected a divisor of num_attention_heads, 4",
        ),
        (json!({"head_dim": 15}), "key `head_dim` is 15, expected an even number"),
        (
            json!({"hidden_act": "gelu"}),
            "key `hidden_act` is \"gelu\", which is not supported: the gated MLP uses silu",
        ),
        (json!({"tie_word_embeddings": "yes"}), "expected true or false"),
        (json!({"dtype": "int8"}), "key `dtype` is \"int8\""),
        (json!({"torch_dtype": "float64"}), "key `torch_dtype` is \"float64\""),
        (json!({"eos_token_id": [1, "x"]}), "key `eos_token_id` is [1,\"x\"], expected a token id or a list"),
        (json!({"quantization_config": {"bits": 4}}), "key `quantization_config` is {\"bits\":4}"),
        (json!({"rope_theta": "x"}), "key `rope_theta` is \"x\", expected a number"),
        (json!({"rope_theta": 0.0}), "expected a number above 1"),
        (json!({"rope_scaling": [1]}), "key `rope_scaling` is [1], expected an object"),
        (
            json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
            "key `rope_scaling.type` is \"dynamic\"",
        ),
        (
            json!({"rope_parameters": {"rope_type": "longrope"}}),
            "key `rope_parameters.rope_type` is \"longrope\"",
        ),
        (json!({"rope_parameters": {"rope_type": "linear"}}), "key `rope_parameters.factor` is missing"),
        (
            json!({"rope_parameters": {"rope_type": "linear", "factor": 0}}),
            "key `rope_parameters.factor` is 0, expected a number above 0",
        ),
        (
            json!({"rope_parameters": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}}),
            "expected a number above low_freq_factor, 4",
        ),
        (json!({"partial_rotary_factor": 0.5}), "key `partial_rotary_factor` is 0.5"),
        (yarn(json!({"partial_rotary_factor": 0.5})), "key `rope_scaling.partial_rotary_factor` is 0.5"),
        (yarn(json!({"truncate": 1})), "key `rope_scaling.truncate` is 1, expected true or false"),
        (
            json!({"use_sliding_window": true, "layer_types": ["full_attention"]}),
            "3 entries, one per layer (found 1)",
        ),
        (
            json!({"layer_types": ["full_attention", "mamba", "full_attention"]}),
            "layers are full_attention or",
        ),
        (
            json!({"layer_types": ["sliding_attention", "full_attention", "full_attention"]}),
            "where use_sliding_window is off",
        ),
    ];
    for (changes, expected) in cases {
        let message = parse(&with("qwen2", &changes)).expect_err(expected);
        assert!(message.contains(expected), "`{expected}` should be in: {message}");
        assert!(message.starts_with("m/config.json: "), "{message}");
    }
}

#[test]
fn a_file_that_is_not_an_object_is_named() {
    for text in ["", "{", "[]", "3"] {
        let error = ModelConfig::parse(Path::new("m/config.json"), text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), "m/config.json: not a JSON object");
    }
}

#[test]
fn generation_defaults_add_to_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = ModelSource::folder(folder.path()).expect("a folder");
    let error = ModelConfig::load(&source).expect_err("an empty folder").to_string();
    assert!(error.contains("config.json: no such file"), "{error}");

    let config = with("llama", &json!({"eos_token_id": 5}));
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    let config = ModelConfig::load(&source).expect("legal");
    let plain = GenerationDefaults::load(&source, &config).expect("no file is fine");
    assert_eq!((plain.do_sample, plain.eos_token_ids), (false, vec![5]));

    let generation =
        json!({"do_sample": true, "temperature": 0.6, "top_k": 0, "top_p": 0.9, "eos_token_id": [7, 8]});
    std::fs::write(folder.path().join("generation_config.json"), generation.to_string()).expect("a file");
    let given = GenerationDefaults::load(&source, &config).expect("legal");
    let expected = GenerationDefaults {
        do_sample: true,
        temperature: Some(0.6),
        top_p: Some(0.9),
        eos_token_ids: vec![7, 8],
        ..GenerationDefaults::default()
    };
    assert_eq!(given, expected);
    std::fs::write(folder.path().join("generation_config.json"), r#"{"top_p": "x"}"#).expect("a file");
    let error = GenerationDefaults::load(&source, &config).expect_err("ill-typed").to_string();
    assert!(error.contains("generation_config.json: key `top_p` is \"x\", expected a number"), "{error}");
}
