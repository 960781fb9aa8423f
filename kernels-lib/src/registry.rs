//! The list of kernels that tests, tuner and benches iterate.
//!
//! The shapes to tune are those of Qwen3-0.6B (hidden 1024, feed-forward 3072, 16 query and 8 key/value heads of 128, vocabulary
//! 151936, or 32000 as in the benchmarks) and of the demo model, for one token (decode) and for a prompt (prefill).

use crate::cases::{Case, CaseParams, attention, matmul, norm, rope, rows, sample};
use crate::error::KernelError;

/// One kernel of the library.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Unique name.
    pub name: &'static str,
    /// What it computes, in a line.
    pub summary: &'static str,
    /// Element types; `a_b` is activations in `a` with weights or cache in `b`.
    pub dtypes: &'static [&'static str],
    /// Names of the extents of a shape.
    pub shape_names: &'static [&'static str],
    /// Comptime choices with their values, the first the default.
    pub options: &'static [(&'static str, &'static [&'static str])],
    /// Awkward shapes for tests.
    pub test_shapes: &'static [&'static [usize]],
    /// Shapes worth tuning.
    pub tune_shapes: &'static [&'static [usize]],
    make: fn(&CaseParams) -> Result<Box<dyn Case>, KernelError>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({})", self.name)
    }
}

impl Entry {
    /// A problem of this kernel with random inputs.
    ///
    /// # Errors
    /// If dtype, shape or an option is not one of this entry's, or memory is short.
    pub fn case(&self, params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
        let refuse = |what: String| Err(KernelError::Case { kernel: self.name, what });
        if !self.dtypes.contains(&params.dtype.as_str()) {
            return refuse(format!("element types `{}`; known are {}", params.dtype, self.dtypes.join(", ")));
        }
        // Only what came before may be nothing.
        let is_missing = |(n, name): (&usize, &&str)| *n == 0 && *name != "past";
        if params.shape.len() != self.shape_names.len()
            || params.shape.iter().zip(self.shape_names).any(is_missing)
        {
            let names = self.shape_names.join(", ");
            return refuse(format!(
                "shape {:?}; it needs a positive extent for each of {names}",
                params.shape
            ));
        }
        for (name, value) in &params.options {
            match self.options.iter().find(|(n, _)| n == name) {
                None => return refuse(format!("an option `{name}`")),
                Some((_, values)) if !values.contains(&value.as_str()) => {
                    return refuse(format!("{name} = {value}; known are {}", values.join(", ")));
                }
                Some(_) => {}
            }
        }
        (self.make)(params)
    }
}

/// The entry named `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Entry> {
    all().iter().find(|e| e.name == name)
}

/// Every kernel of the library.
#[must_use]
pub const fn all() -> &'static [Entry] {
    ENTRIES
}

const PAIRS: &[&str] = &["f32", "f32_bf16", "f32_f16", "bf16", "f16"];
const SINGLES: &[&str] = &["f32", "bf16", "f16"];

const LINEAR_OPTIONS: &[(&str, &[&str])] = &[("layout", matmul::LAYOUTS), ("epilogue", matmul::EPILOGUES)];
const GATED_OPTIONS: &[(&str, &[&str])] = &[("layout", matmul::LAYOUTS)];

static ENTRIES: &[Entry] = &[
    Entry {
        name: "matmul",
        summary: "y = epilogue(x w), many rows",
        dtypes: PAIRS,
        shape_names: &["m", "n", "k"],
        options: LINEAR_OPTIONS,
        test_shapes: &[&[1, 1, 1], &[7, 33, 129], &[129, 70, 65], &[64, 300, 257]],
        tune_shapes: &[
            &[512, 1024, 1024],
            &[512, 2048, 1024],
            &[512, 1024, 2048],
            &[512, 1024, 3072],
            &[2048, 2048, 2048],
            &[16, 128, 128],
            &[16, 128, 384],
        ],
        make: matmul::matmul_case,
    },
    Entry {
        name: "matmul_split",
        summary: "y = epilogue(x w), few tiles and a long K split among programs",
        dtypes: PAIRS,
        shape_names: &["m", "n", "k"],
        options: LINEAR_OPTIONS,
        test_shapes: &[&[1, 1, 1], &[7, 33, 529], &[70, 65, 1030]],
        tune_shapes: &[&[64, 256, 8192], &[128, 512, 4096], &[128, 1024, 16384]],
        make: matmul::matmul_split_case,
    },
    Entry {
        name: "matmul_gated",
        summary: "y = silu(x gate) * (x up), many rows",
        dtypes: PAIRS,
        shape_names: &["m", "n", "k"],
        options: GATED_OPTIONS,
        test_shapes: &[&[1, 1, 1], &[7, 33, 129], &[129, 70, 65]],
        tune_shapes: &[&[512, 3072, 1024], &[16, 384, 128]],
        make: matmul::matmul_gated_case,
    },
    Entry {
        name: "matvec",
        summary: "y = epilogue(x w), a few rows: weights stream once",
        dtypes: PAIRS,
        shape_names: &["m", "n", "k"],
        options: LINEAR_OPTIONS,
        test_shapes: &[&[1, 1, 1], &[1, 129, 257], &[3, 70, 1030], &[7, 33, 65], &[18, 40, 100]],
        tune_shapes: &[
            &[1, 1024, 1024],
            &[1, 2048, 1024],
            &[1, 1024, 2048],
            &[1, 1024, 3072],
            &[1, 32000, 1024],
            &[1, 151_936, 1024],
            &[1, 4096, 4096],
            &[4, 1024, 3072],
            &[1, 128, 128],
            &[1, 128, 384],
        ],
        make: matmul::matvec_case,
    },
    Entry {
        name: "matvec_gated",
        summary: "y = silu(x gate) * (x up), a few rows",
        dtypes: PAIRS,
        shape_names: &["m", "n", "k"],
        options: GATED_OPTIONS,
        test_shapes: &[&[1, 1, 1], &[1, 129, 257], &[5, 33, 1030]],
        tune_shapes: &[&[1, 3072, 1024], &[4, 3072, 1024], &[1, 384, 128]],
        make: matmul::matvec_gated_case,
    },
    Entry {
        name: "embedding",
        summary: "rows of a table by token id",
        dtypes: PAIRS,
        shape_names: &["tokens", "vocab", "width"],
        options: &[],
        test_shapes: &[&[1, 1, 1], &[7, 129, 33], &[40, 50, 1300]],
        tune_shapes: &[&[1, 32000, 1024], &[512, 32000, 1024]],
        make: rows::embedding_case,
    },
    Entry {
        name: "rms_norm",
        summary: "root mean square norm of rows",
        dtypes: PAIRS,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 129], &[33, 80], &[2, 1000]],
        tune_shapes: &[&[1, 1024], &[512, 1024], &[1, 128]],
        make: norm::rms_norm_case,
    },
    Entry {
        name: "rms_norm_add",
        summary: "residual addition and root mean square norm",
        dtypes: PAIRS,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 129], &[33, 80]],
        tune_shapes: &[&[1, 1024], &[512, 1024]],
        make: norm::rms_norm_add_case,
    },
    Entry {
        name: "rms_norm_heads",
        summary: "root mean square norm of every head",
        dtypes: PAIRS,
        shape_names: &["tokens", "heads", "head_size"],
        options: &[],
        test_shapes: &[&[1, 1, 2], &[7, 3, 80], &[33, 2, 129]],
        tune_shapes: &[&[1, 16, 128], &[512, 16, 128]],
        make: norm::rms_norm_heads_case,
    },
    Entry {
        name: "layer_norm",
        summary: "norm of rows by mean and variance",
        dtypes: PAIRS,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 2], &[7, 129], &[33, 80], &[2, 1000]],
        tune_shapes: &[&[1, 1024], &[512, 1024]],
        make: norm::layer_norm_case,
    },
    Entry {
        name: "softmax",
        summary: "softmax of rows that fit in the cache",
        dtypes: SINGLES,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 129], &[33, 80], &[2, 1000]],
        tune_shapes: &[&[1024, 1024], &[1, 32000]],
        make: rows::softmax_case,
    },
    Entry {
        name: "softmax_long",
        summary: "softmax of rows of any length",
        dtypes: SINGLES,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 1], &[3, 129], &[2, 5000]],
        tune_shapes: &[&[1, 151_936]],
        make: rows::softmax_long_case,
    },
    Entry {
        name: "rope_table",
        summary: "cos and sin of rotary positions",
        dtypes: &["f32"],
        shape_names: &["tokens", "pairs"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 40], &[129, 64]],
        tune_shapes: &[&[1, 64], &[512, 64]],
        make: rope::rope_table_case,
    },
    Entry {
        name: "rope",
        summary: "rotary position embedding in place",
        dtypes: SINGLES,
        shape_names: &["tokens", "heads", "head_size"],
        options: &[("pairing", rope::PAIRINGS)],
        test_shapes: &[&[1, 1, 2], &[7, 3, 80], &[129, 2, 64]],
        tune_shapes: &[&[1, 16, 128], &[512, 16, 128]],
        make: rope::rope_case,
    },
    Entry {
        name: "rope_write",
        summary: "head norm and rotary embedding of queries and keys, keys and values into pages",
        dtypes: PAIRS,
        shape_names: &["tokens", "q_heads", "kv_heads", "head_size"],
        options: &[("norm", rope::NORMS), ("pairing", rope::PAIRINGS)],
        test_shapes: &[&[1, 1, 1, 2], &[7, 6, 3, 80], &[40, 4, 1, 64]],
        tune_shapes: &[&[1, 16, 8, 128], &[512, 16, 8, 128]],
        make: rope::rope_write_case,
    },
    Entry {
        name: "attention",
        summary: "attention over contiguous keys and values",
        dtypes: PAIRS,
        shape_names: &["tokens", "keys", "kv_heads", "group", "head_size"],
        options: &[("mask", attention::MASKS)],
        test_shapes: &[&[1, 1, 1, 1, 2], &[7, 129, 2, 3, 80], &[129, 129, 1, 2, 96], &[200, 300, 2, 1, 64]],
        tune_shapes: &[&[512, 512, 8, 2, 128], &[2048, 2048, 8, 1, 64]],
        make: attention::attention_case,
    },
    Entry {
        name: "attention_paged",
        summary: "attention of prompts over paged keys and values",
        dtypes: PAIRS,
        shape_names: &["sequences", "tokens", "past", "kv_heads", "group", "head_size"],
        options: &[("mask", attention::PAGED_MASKS), ("page", attention::PAGE_SIZES)],
        test_shapes: &[&[1, 1, 0, 1, 1, 2], &[3, 129, 70, 2, 3, 80], &[2, 70, 300, 1, 2, 64]],
        tune_shapes: &[&[1, 512, 0, 8, 2, 128], &[1, 16, 0, 2, 2, 32]],
        make: attention::attention_paged_case,
    },
    Entry {
        name: "attention_decode",
        summary: "attention of one new token over paged keys and values",
        dtypes: PAIRS,
        shape_names: &["sequences", "context", "kv_heads", "group", "head_size", "splits"],
        options: &[("mask", attention::PAGED_MASKS), ("page", attention::PAGE_SIZES)],
        test_shapes: &[
            &[1, 1, 1, 1, 2, 1],
            &[3, 300, 2, 3, 80, 1],
            &[2, 300, 2, 2, 64, 3],
            &[1, 130, 1, 2, 192, 2],
            &[2, 100, 1, 1, 256, 1],
            &[1, 129, 1, 1, 96, 9],
        ],
        tune_shapes: &[&[1, 512, 8, 2, 128, 1], &[1, 4096, 8, 2, 128, 1], &[1, 64, 2, 2, 32, 1]],
        make: attention::attention_decode_case,
    },
    Entry {
        name: "swiglu",
        summary: "silu(gate) * up",
        dtypes: SINGLES,
        shape_names: &["rows", "columns"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 129], &[33, 1300]],
        tune_shapes: &[&[1, 3072], &[512, 3072]],
        make: rows::swiglu_case,
    },
    Entry {
        name: "argmax",
        summary: "position of the largest element of each row",
        dtypes: SINGLES,
        shape_names: &["rows", "length"],
        options: &[],
        test_shapes: &[&[1, 1], &[7, 129], &[3, 9000]],
        tune_shapes: &[&[1, 32000], &[1, 151_936]],
        make: rows::argmax_case,
    },
    Entry {
        name: "top_k",
        summary: "the k largest elements of each row with their positions",
        dtypes: SINGLES,
        shape_names: &["rows", "length", "k"],
        options: &[],
        test_shapes: &[&[1, 1, 1], &[7, 129, 5], &[2, 20, 33], &[3, 3000, 64]],
        tune_shapes: &[&[1, 32000, 40], &[1, 151_936, 40]],
        make: rows::top_k_case,
    },
    Entry {
        name: "penalise",
        summary: "repetition penalty on the logits of tokens seen",
        dtypes: SINGLES,
        shape_names: &["rows", "length", "seen"],
        options: &[],
        test_shapes: &[&[1, 1, 1], &[7, 129, 33], &[3, 3000, 700]],
        tune_shapes: &[&[1, 151_936, 1024]],
        make: sample::penalise_case,
    },
    Entry {
        name: "sample",
        summary: "the next token of each row of logits",
        dtypes: SINGLES,
        shape_names: &["rows", "length"],
        options: &[("filters", sample::FILTERS)],
        test_shapes: &[&[1, 1], &[40, 9], &[7, 129], &[3, 2500]],
        tune_shapes: &[&[1, 32000], &[1, 151_936]],
        make: sample::sample_case,
    },
];
