//! config.json as one struct that every architecture shares.
//!
//! Defaults are those of Hugging Face's configuration classes, per architecture, so that a key which a checkpoint
//! leaves out means here what it means there. The sizes that no checkpoint leaves out have no default: their
//! absence is an error. Both spellings are read: `rope_theta`/`rope_scaling`/`torch_dtype` and, since
//! transformers 5, `rope_parameters`/`dtype`.

mod fields;
mod generation;
mod rope;

use std::fmt;
use std::path::Path;

use safetensors::Dtype;

pub(crate) use fields::{Fields, parse_object};
pub use generation::GenerationDefaults;
pub use rope::{RopeConfig, RopeScaling, RopeTable};

use crate::error::Result;
use crate::source::ModelSource;

/// A decoder architecture that the executor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama 2, 3 and 3.x.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: RMSNorm on each head of q and k.
    Qwen3,
}

impl Architecture {
    /// Every supported architecture.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// The value of `model_type` in config.json.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The class name that `architectures` in config.json lists.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

/// The gate's activation function in the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x * sigmoid(x), also called swish.
    Silu,
}

/// Which linear layers carry a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Biases {
    /// q_proj, k_proj and v_proj.
    pub qkv: bool,
    /// o_proj.
    pub attention_output: bool,
    /// gate_proj, up_proj and down_proj.
    pub mlp: bool,
}

/// The shape and arithmetic of a decoder-only transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The architecture, which selects the model's code.
    pub architecture: Architecture,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP between gate/up and down.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Elements per head; even.
    pub head_dim: usize,
    /// The largest context the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Epsilon inside RMSNorm's square root.
    pub rms_norm_eps: f64,
    /// Activation of the MLP's gate.
    pub activation: Activation,
    /// Which linear layers have a bias.
    pub biases: Biases,
    /// RMSNorm over each head of q and k before RoPE (weights of `head_dim`).
    pub qk_norm: bool,
    /// The output projection is the embedding table.
    pub tie_word_embeddings: bool,
    /// Per layer: how many keys a query may see, itself included; `None` is all before it.
    pub sliding_window: Vec<Option<usize>>,
    /// Rotary position embedding.
    pub rope: RopeConfig,
    /// Element type that the configuration announces; the tensors decide.
    pub dtype: Option<Dtype>,
    /// First token of a sequence, where the model has one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a sequence; may be empty.
    pub eos_token_ids: Vec<u32>,
}

impl ModelConfig {
    /// Reads config.json of `source`.
    ///
    /// # Errors
    /// A missing file, an architecture that is not supported, or a key that is missing, ill-typed or inconsistent.
    pub fn load(source: &ModelSource) -> Result<Self> {
        let name = "config.json";
        let bytes = source.require(name, "it describes the architecture")?;
        Self::parse(&source.path_of(name), &bytes)
    }

    /// Parses the bytes of a config.json; `file` is the path that messages show.
    ///
    /// # Errors
    /// As [`ModelConfig::load`].
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self> {
        let map = parse_object(file, bytes)?;
        let fields = Fields::new(file, &map);
        let architecture = read_architecture(&fields)?;
        if fields.get("quantization_config").is_some() {
            return Err(fields.unsupported("quantization_config", "weights must be f32, f16 or bf16"));
        }

        let hidden_size = fields.require_positive("hidden_size")?;
        let n_layers = fields.require_positive("num_hidden_layers")?;
        let n_heads = fields.require_positive("num_attention_heads")?;
        let n_kv_heads = read_n_kv_heads(&fields, architecture, n_heads)?;
        let head_dim = read_head_dim(&fields, architecture, hidden_size, n_heads)?;
        let max_position_embeddings =
            fields.positive("max_position_embeddings")?.unwrap_or(default_context(architecture));
        let attention_bias = fields.bool("attention_bias")?.unwrap_or(false);
        let biases = match architecture {
            Architecture::Llama => Biases {
                qkv: attention_bias,
                attention_output: attention_bias,
                mlp: fields.bool("mlp_bias")?.unwrap_or(false),
            },
            Architecture::Mistral => Biases::default(),
            Architecture::Qwen2 => Biases { qkv: true, attention_output: false, mlp: false },
            Architecture::Qwen3 => {
                Biases { qkv: attention_bias, attention_output: attention_bias, mlp: false }
            }
        };
        let rms_norm_eps = fields.f64("rms_norm_eps")?.unwrap_or(1e-6);
        if rms_norm_eps < 0.0 {
            return Err(fields.bad("rms_norm_eps", "a number not below 0"));
        }
        Ok(Self {
            architecture,
            vocab_size: fields.require_positive("vocab_size")?,
            hidden_size,
            intermediate_size: fields.require_positive("intermediate_size")?,
            n_layers,
            n_heads,
            n_kv_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps,
            activation: read_activation(&fields)?,
            biases,
            qk_norm: architecture == Architecture::Qwen3,
            tie_word_embeddings: fields.bool("tie_word_embeddings")?.unwrap_or(false),
            sliding_window: read_sliding_window(&fields, architecture, n_layers)?,
            rope: rope::read_rope(&fields, max_position_embeddings)?,
            dtype: read_dtype(&fields)?,
            bos_token_id: read_tokens(&fields, "bos_token_id", architecture, 1)?.first().copied(),
            eos_token_ids: read_tokens(&fields, "eos_token_id", architecture, 2)?,
        })
    }

    /// Width of all query heads together, which need not equal `hidden_size`.
    pub fn q_width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Inverse frequencies and cos/sin scale of this model's rotary embedding.
    pub fn rope_table(&self) -> RopeTable {
        self.rope.table(self.head_dim)
    }
}

fn read_architecture(fields: &Fields<'_>) -> Result<Architecture> {
    let by_type =
        |name: &str| Architecture::ALL.into_iter().find(|architecture| architecture.model_type() == name);
    let classes = fields.strings("architectures")?.unwrap_or_default();
    let by_class = classes.iter().find_map(|name| {
        Architecture::ALL.into_iter().find(|architecture| architecture.class_name() == *name)
    });
    let architecture = match (fields.str("model_type")?, classes.first()) {
        (Some(name), _) => by_type(name).ok_or_else(|| fields.unknown_architecture("model_type", name))?,
        (None, Some(name)) => by_class.ok_or_else(|| fields.unknown_architecture("architectures", name))?,
        (None, None) => return Err(fields.missing("model_type")),
    };
    match classes.first() {
        Some(name) if by_class != Some(architecture) => {
            Err(fields.unknown_architecture("architectures", name))
        }
        Some(_) | None => Ok(architecture),
    }
}

fn read_n_kv_heads(fields: &Fields<'_>, architecture: Architecture, n_heads: usize) -> Result<usize> {
    let key = "num_key_value_heads";
    let n_kv_heads = match (fields.positive(key)?, architecture) {
        (Some(given), _) => given,
        (None, Architecture::Llama) => n_heads,
        (None, Architecture::Mistral) if !fields.is_written(key) => 8,
        (None, Architecture::Qwen2 | Architecture::Qwen3) if !fields.is_written(key) => 32,
        (None, Architecture::Mistral | Architecture::Qwen2 | Architecture::Qwen3) => n_heads,
    };
    if n_heads.is_multiple_of(n_kv_heads) {
        return Ok(n_kv_heads);
    }
    Err(fields.bad(key, &format!("a divisor of num_attention_heads, {n_heads} (found {n_kv_heads})")))
}

fn read_head_dim(
    fields: &Fields<'_>,
    architecture: Architecture,
    hidden_size: usize,
    n_heads: usize,
) -> Result<usize> {
    let head_dim = match (fields.positive("head_dim")?, architecture) {
        (Some(given), _) => given,
        (None, Architecture::Qwen3) => 128,
        (None, Architecture::Llama | Architecture::Mistral | Architecture::Qwen2) => {
            if !hidden_size.is_multiple_of(n_heads) {
                let expected =
                    format!("a multiple of num_attention_heads, {n_heads}, where head_dim is absent");
                return Err(fields.bad("hidden_size", &expected));
            }
            hidden_size / n_heads
        }
    };
    if head_dim.is_multiple_of(2) {
        return Ok(head_dim);
    }
    Err(fields.bad("head_dim", &format!("an even number, as RoPE rotates pairs (it is {head_dim})")))
}

/// Llama and Mistral have a token where the key is not written; the Qwens have none.
fn read_tokens(
    fields: &Fields<'_>,
    key: &str,
    architecture: Architecture,
    sentence_piece_id: u32,
) -> Result<Vec<u32>> {
    match architecture {
        Architecture::Llama | Architecture::Mistral if !fields.is_written(key) => Ok(vec![sentence_piece_id]),
        Architecture::Llama | Architecture::Mistral | Architecture::Qwen2 | Architecture::Qwen3 => {
            fields.token_ids(key)
        }
    }
}

fn default_context(architecture: Architecture) -> usize {
    match architecture {
        Architecture::Llama => 2048,
        Architecture::Mistral => 131_072,
        Architecture::Qwen2 | Architecture::Qwen3 => 32_768,
    }
}

fn read_activation(fields: &Fields<'_>) -> Result<Activation> {
    match fields.str("hidden_act")? {
        None | Some("silu" | "swish") => Ok(Activation::Silu),
        Some(_) => Err(fields.unsupported("hidden_act", "the gated MLP uses silu")),
    }
}

fn read_sliding_window(
    fields: &Fields<'_>,
    architecture: Architecture,
    n_layers: usize,
) -> Result<Vec<Option<usize>>> {
    let written = fields.positive("sliding_window")?;
    let window = if fields.is_written("sliding_window") { written } else { Some(4096) };
    match architecture {
        Architecture::Llama => Ok(vec![None; n_layers]),
        Architecture::Mistral => Ok(vec![window; n_layers]),
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let sliding = fields.bool("use_sliding_window")?.unwrap_or(false);
            let window = window.filter(|_| sliding);
            let first = fields.usize("max_window_layers")?.unwrap_or(28);
            let Some(types) = fields.strings("layer_types")? else {
                return Ok((0..n_layers).map(|layer| window.filter(|_| layer >= first)).collect());
            };
            if types.len() != n_layers {
                let expected = format!("{n_layers} entries, one per layer (found {})", types.len());
                return Err(fields.bad("layer_types", &expected));
            }
            types
                .iter()
                .map(|name| match *name {
                    "full_attention" | "attention" => Ok(None),
                    "sliding_attention" => window.map(Some).ok_or_else(|| {
                        fields.bad(
                            "layer_types",
                            "no sliding_attention where use_sliding_window is off or sliding_window is null",
                        )
                    }),
                    _ => {
                        Err(fields
                            .unsupported("layer_types", "layers are full_attention or sliding_attention"))
                    }
                })
                .collect()
        }
    }
}

fn read_dtype(fields: &Fields<'_>) -> Result<Option<Dtype>> {
    let key = if fields.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    let Some(name) = fields.str(key)? else { return Ok(None) };
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float32" | "float" => Ok(Some(Dtype::F32)),
        "float16" | "half" => Ok(Some(Dtype::F16)),
        "bfloat16" => Ok(Some(Dtype::BF16)),
        // "auto" leaves it to the tensors.
        "auto" => Ok(None),
        _ => Err(fields.unsupported(key, "weights must be float32, float16 or bfloat16")),
    }
}
