//! Runs Hugging Face transformers on tilewright kernels.
