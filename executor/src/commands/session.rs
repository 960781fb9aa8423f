//! What every command opens first: the model's files, and then the model with a KV cache of the right size.

use std::time::{Duration, Instant};

use crate::args::{DeviceKind, ModelArgs};
use crate::chat_template::ChatTemplate;
use crate::config::{GenerationDefaults, ModelConfig};
use crate::demo;
use crate::error::Result;
use crate::forward::Forward;
use crate::kv_cache::KvLayout;
use crate::memory;
use crate::model::{self, LoadOptions, StepMode};
use crate::progress::LoadProgress;
use crate::source::ModelSource;
use crate::tokenizer::Tokenizer;
use crate::weights::Weights;

/// A model's files, opened but not yet on a device.
#[derive(Debug)]
pub struct Session {
    /// Where the files are.
    pub source: ModelSource,
    /// config.json.
    pub config: ModelConfig,
    /// generation_config.json.
    pub defaults: GenerationDefaults,
    /// The tensors.
    pub weights: Weights,
    args: ModelArgs,
    opening: Duration,
}

impl Session {
    /// Opens the model that the options name.
    ///
    /// # Errors
    /// A folder, configuration or checkpoint that is not right.
    pub fn open(args: &ModelArgs) -> Result<Self> {
        let started = Instant::now();
        let source = match &args.model {
            Some(folder) => ModelSource::folder(folder)?,
            None => demo::source(),
        };
        let config = ModelConfig::load(&source)?;
        let defaults = GenerationDefaults::load(&source, &config)?;
        let weights = Weights::open(&source)?;
        let args = args.clone();
        Ok(Self { source, config, defaults, weights, args, opening: started.elapsed() })
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// A missing or corrupt tokenizer.json.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::load(&self.source)
    }

    /// The chat template, where the model has one.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn template(&self) -> Result<Option<ChatTemplate>> {
        ChatTemplate::load(&self.source)
    }

    /// What is cached per token: keys and values in the width of the weights.
    pub fn kv_layout(&self) -> KvLayout {
        let dtype = self
            .weights
            .get("model.embed_tokens.weight")
            .map(|embedding| embedding.dtype)
            .or(self.config.dtype);
        let element_bytes = dtype.map_or(4, |dtype| (dtype.bitsize() / 8).max(1));
        KvLayout::new(&self.config, element_bytes, self.args.page_size)
    }

    /// Pages for sequences of these lengths, or of the budget that the options give.
    pub fn n_kv_pages(&self, lengths: &[usize]) -> usize {
        let layout = self.kv_layout();
        match self.args.context {
            Some(n_tokens) => layout.pages_for(n_tokens),
            None => lengths.iter().map(|n_tokens| layout.pages_for(*n_tokens)).sum(),
        }
    }

    /// Tokens that one sequence may have: the model's context, or less where the budget is smaller.
    pub fn context_tokens(&self) -> usize {
        self.config.max_position_embeddings.min(self.args.context.unwrap_or(usize::MAX))
    }

    /// Puts the model on the device with `n_kv_pages` pages; also how long opening and loading took.
    ///
    /// # Errors
    /// Too little memory, a tensor that does not fit the configuration, a device that fails.
    pub fn load(&self, n_kv_pages: usize) -> Result<(Box<dyn Forward>, Duration)> {
        let started = Instant::now();
        let kv_layout = self.kv_layout();
        let kv_bytes = n_kv_pages as u64 * kv_layout.bytes_per_page();
        match self.args.device {
            DeviceKind::Cpu | DeviceKind::Sim(_) => {
                memory::check_available("the KV cache", kv_bytes, "lower --context or --max-new-tokens")?;
            }
            // Its memory is compared with the whole model's needs when that is placed.
            DeviceKind::Cuda(_) => {}
        }
        let options = LoadOptions {
            device: self.args.device,
            n_threads: self.args.threads,
            kv_layout,
            n_kv_pages,
            steps: if self.args.no_graphs { StepMode::Launch } else { StepMode::Replay },
        };
        let weight_bytes = self.weights.totals().iter().map(|total| total.n_bytes).sum();
        let progress = LoadProgress::new(self.args.device, weight_bytes);
        let on_bytes = &mut |n_bytes| progress.advance(n_bytes);
        let forward = model::load_observed(&self.config, &self.weights, &options, on_bytes)?;
        drop(progress);
        Ok((forward, self.opening + started.elapsed()))
    }
}
