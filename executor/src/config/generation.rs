//! generation_config.json: how the model's makers advise to sample, and which tokens end an answer.

use super::{Fields, ModelConfig, parse_object};
use crate::error::Result;
use crate::source::ModelSource;

/// What generation_config.json says; absent keys are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Whether to sample at all; absent means greedy.
    pub do_sample: bool,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// How many of the best tokens to keep.
    pub top_k: Option<usize>,
    /// Probability mass to keep.
    pub top_p: Option<f32>,
    /// Smallest probability to keep, relative to the best token's.
    pub min_p: Option<f32>,
    /// Divides or multiplies the logits of tokens already seen.
    pub repetition_penalty: Option<f32>,
    /// Tokens that end a sequence: this file's, or else config.json's.
    pub eos_token_ids: Vec<u32>,
}

impl GenerationDefaults {
    /// Reads generation_config.json of `source`, where there is one.
    ///
    /// # Errors
    /// A file that cannot be read, or an ill-typed key.
    pub fn load(source: &ModelSource, config: &ModelConfig) -> Result<Self> {
        let name = "generation_config.json";
        let Some(bytes) = source.read(name)? else {
            return Ok(Self { eos_token_ids: config.eos_token_ids.clone(), ..Self::default() });
        };
        let map = parse_object(&source.path_of(name), &bytes)?;
        let fields = Fields::new(&source.path_of(name), &map);
        let number = |key| -> Result<Option<f32>> { Ok(fields.f64(key)?.map(|number| number as f32)) };
        let mut eos_token_ids = fields.token_ids("eos_token_id")?;
        if eos_token_ids.is_empty() {
            eos_token_ids.clone_from(&config.eos_token_ids);
        }
        Ok(Self {
            do_sample: fields.bool("do_sample")?.unwrap_or(false),
            temperature: number("temperature")?,
            // 0 is how some checkpoints switch the filter off.
            top_k: fields.usize("top_k")?.filter(|top_k| *top_k != 0),
            top_p: number("top_p")?,
            min_p: number("min_p")?,
            repetition_penalty: number("repetition_penalty")?,
            eos_token_ids,
        })
    }
}
