//! Runs Hugging Face transformers on tilewright kernels.

pub mod chat_template;
pub mod config;
pub mod error;
pub mod kv_cache;
pub mod sampler;
pub mod source;
pub mod stop;
pub mod tokenizer;
pub mod weights;

pub mod forward;
pub mod generate;
#[cfg(test)]
mod test_tokenizer;
