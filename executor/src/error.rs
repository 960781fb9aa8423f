//! Every way in which a model folder, a prompt or an option can be wrong.
//!
//! Each message names the file, the key or tensor, what was found and what was expected, and where it is not
//! obvious, what to do. Nothing here is about a bug of ours: those panic.

use std::path::PathBuf;

use crate::memory::human_bytes;

/// A failure of the executor that the user can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device cannot be opened.
    #[error("device {device} cannot be used")]
    Device {
        /// Its name.
        device: String,
        /// Why, and what to do.
        source: tilewright_runtime::RuntimeError,
    },
    /// A measurement on a simulated GPU.
    #[error(
        "a simulated GPU has no times worth measuring: it executes the GPU's code one instruction at a time on the CPU; use --device cpu or cuda:N"
    )]
    SimulatedTime,
    /// A file exists but could not be read.
    #[error("{}: cannot read the file", file.display())]
    ReadFile {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that the model needs is not there.
    #[error("{}: no such file ({hint})", file.display())]
    MissingFile {
        /// The file looked for.
        file: PathBuf,
        /// What the file is for, or what to do.
        hint: String,
    },
    /// A JSON file does not parse, or its top level is not an object.
    #[error("{}: not a JSON object", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A key that has no default is missing.
    #[error("{}: key `{key}` is missing", file.display())]
    MissingKey {
        /// The file.
        file: PathBuf,
        /// Dotted path of the key.
        key: String,
    },
    /// A key has the wrong type or a number out of range.
    #[error("{}: key `{key}` is {found}, expected {expected}", file.display())]
    BadValue {
        /// The file.
        file: PathBuf,
        /// Dotted path of the key.
        key: String,
        /// The value found, as JSON.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// The architecture is not one of ours.
    #[error("{}: `{key}` is \"{found}\", which is not supported; supported: llama, mistral, qwen2, qwen3", file.display())]
    UnknownArchitecture {
        /// The file.
        file: PathBuf,
        /// The key that named it.
        key: String,
        /// The name found.
        found: String,
    },
    /// The configuration is valid but asks for something that is not implemented.
    #[error("{}: key `{key}` is {found}, which is not supported: {why}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// Dotted path of the key.
        key: String,
        /// The value found, as JSON.
        found: String,
        /// Why, and what would do.
        why: String,
    },
    /// The file is shorter or longer than its own header says.
    #[error("{}: the header describes {expected_bytes} bytes but the file has {found_bytes}; the download is incomplete or damaged", file.display())]
    TruncatedShard {
        /// The shard.
        file: PathBuf,
        /// Length that the header implies.
        expected_bytes: u64,
        /// Length of the file.
        found_bytes: u64,
    },
    /// The safetensors header is not valid.
    #[error("{}: damaged safetensors header: {why}", file.display())]
    CorruptShard {
        /// The shard.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The index names a shard that is not in the folder.
    #[error("{}: tensor `{tensor}` is said to be in `{shard}`, which is not in the folder", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
        /// The first tensor that needs it.
        tensor: String,
    },
    /// The index says that a tensor is in a shard, and it is not.
    #[error("{}: tensor `{tensor}` is not in this shard, although {} says so", shard.display(), index.display())]
    NotInShard {
        /// The index file.
        index: PathBuf,
        /// The shard.
        shard: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// Two shards hold a tensor of the same name.
    #[error("tensor `{tensor}` is both in {} and in {}", first.display(), second.display())]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
        /// The shard that was read first.
        first: PathBuf,
        /// The shard that repeats it.
        second: PathBuf,
    },
    /// The model needs a tensor that no shard has.
    #[error("{}: tensor `{tensor}` is missing (the checkpoint has {n_tensors} tensors)", place.display())]
    MissingTensor {
        /// The folder, or the one file, searched.
        place: PathBuf,
        /// The tensor.
        tensor: String,
        /// How many tensors were found.
        n_tensors: usize,
    },
    /// A tensor has an element type that the model cannot use.
    #[error("{}: tensor `{tensor}` has dtype {found}, expected {expected}", file.display())]
    WrongDtype {
        /// The shard.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its element type.
        found: String,
        /// The element types that would do.
        expected: String,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected:?} from the configuration", file.display())]
    WrongShape {
        /// The shard.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that config.json implies.
        expected: Vec<usize>,
    },
    /// The tokenizer does not load, or cannot encode or decode.
    #[error("{}: {what}: {why}", file.display())]
    Tokenizer {
        /// The tokenizer file.
        file: PathBuf,
        /// What was attempted.
        what: &'static str,
        /// What the tokenizer said.
        why: String,
    },
    /// The chat template does not parse or does not render.
    #[error("{}: chat template: {why}", file.display())]
    Template {
        /// The file that holds the template.
        file: PathBuf,
        /// Line and reason.
        why: String,
    },
    /// A prompt has no tokens.
    #[error("prompt {prompt_idx} has no tokens; give at least one")]
    EmptyPrompt {
        /// Which prompt of the batch, from 0.
        prompt_idx: usize,
    },
    /// A prompt and what it may generate exceed the context.
    #[error(
        "prompt {prompt_idx} has {prompt_tokens} tokens and asks for {new_tokens} more, \
         {} in all, but the context holds {context_tokens}; shorten the prompt, lower --max-new-tokens or raise --context",
        prompt_tokens + new_tokens
    )]
    ContextExceeded {
        /// Which prompt of the batch, from 0.
        prompt_idx: usize,
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Tokens that may be generated.
        new_tokens: usize,
        /// Tokens that one sequence may have.
        context_tokens: usize,
    },
    /// The KV cache has too few free pages.
    #[error(
        "the KV cache is too small: {needed_tokens} tokens need {needed_pages} pages ({needed_bytes} bytes), \
         but {free_pages} of {total_pages} pages of {page_tokens} tokens are free ({free_bytes} bytes); raise --context or send fewer prompts"
    )]
    KvCacheFull {
        /// Tokens to be stored.
        needed_tokens: usize,
        /// Pages that they take beyond those already held.
        needed_pages: usize,
        /// Bytes of these pages over all layers, keys and values.
        needed_bytes: u64,
        /// Pages that are free.
        free_pages: usize,
        /// Pages in all.
        total_pages: usize,
        /// Tokens per page.
        page_tokens: usize,
        /// Bytes of the free pages.
        free_bytes: u64,
    },
    /// The plan needs more memory than the machine has free.
    #[error("{what} needs {needed_bytes} bytes but {available_bytes} are available; {hint}")]
    OutOfMemory {
        /// What was to be allocated.
        what: &'static str,
        /// Bytes needed.
        needed_bytes: u64,
        /// Bytes that the system says are available.
        available_bytes: u64,
        /// What to do.
        hint: &'static str,
    },
    /// The plan needs more memory than the device has free.
    #[error(
        "device {device} has {} free of {}, and the model needs {}: {} of weights, {} of KV cache, {} of activations for \
         passes of {pass_tokens} tokens; lower --context or --max-new-tokens, free memory of the device, or choose a smaller model",
        human_bytes(*free_bytes), human_bytes(*total_bytes), human_bytes(weight_bytes + kv_bytes + activation_bytes),
        human_bytes(*weight_bytes), human_bytes(*kv_bytes), human_bytes(*activation_bytes)
    )]
    DeviceMemory {
        /// The device's name.
        device: String,
        /// Bytes of all tensors.
        weight_bytes: u64,
        /// Bytes of all pages.
        kv_bytes: u64,
        /// Bytes of activations.
        activation_bytes: u64,
        /// Tokens of a pass that activations are counted for.
        pass_tokens: usize,
        /// Free memory of the device.
        free_bytes: u64,
        /// All of it.
        total_bytes: u64,
    },
    /// A token id is not in the vocabulary.
    #[error(
        "prompt {prompt_idx}, position {position}: token id {token} is outside the vocabulary of {vocab_size}"
    )]
    TokenOutOfRange {
        /// Which prompt of the batch, from 0.
        prompt_idx: usize,
        /// Position in the prompt, from 0.
        position: usize,
        /// The token id.
        token: u32,
        /// The size of the vocabulary.
        vocab_size: usize,
    },
    /// An option is out of its range.
    #[error("option {option} is {found}, expected {expected}")]
    BadOption {
        /// The option as on the command line.
        option: &'static str,
        /// The value given.
        found: String,
        /// The legal range.
        expected: &'static str,
    },
    /// The logits hold NaN, or nothing above minus infinity.
    #[error("the model produced unusable logits at step {step}: {why}")]
    BadLogits {
        /// How many tokens the sequence had already sampled.
        step: u64,
        /// What was found, with its index.
        why: String,
    },
    /// The device failed while running the model.
    #[error("the forward pass failed")]
    Forward(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<tilewright_runtime::RuntimeError> for Error {
    fn from(error: tilewright_runtime::RuntimeError) -> Self {
        Self::Forward(Box::new(error))
    }
}

/// The executor's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
