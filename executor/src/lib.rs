//! Runs Hugging Face transformers on tilewright kernels.
//!
//! [`source`] finds a model's files; [`config`], [`weights`], [`tokenizer`] and [`chat_template`] read them;
//! [`model`] puts them on a device behind the [`forward::Forward`] seam; [`generate`] turns prompts into answers over
//! it, keeping books in [`kv_cache`], picking tokens with [`sampler`] and cutting text with [`stop`]. The program's
//! commands are in [`commands`], their options in [`args`].

pub mod args;
pub mod commands;
pub mod error;

pub mod chat_template;
pub mod config;
pub mod demo;
pub mod source;
pub mod tokenizer;
pub mod weights;

pub mod forward;
pub mod generate;
pub mod kv_cache;
pub mod memory;
pub mod model;
pub mod progress;
pub mod sampler;
pub mod stop;

#[cfg(test)]
mod test_model;
#[cfg(test)]
mod test_tokenizer;
