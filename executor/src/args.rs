//! The command line: five commands and the options that they share.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use tilewright_codegen::target::Arch;
use tilewright_runtime::{Device, RuntimeError};

use crate::config::GenerationDefaults;
use crate::sampler::SamplingParams;

/// Runs Hugging Face transformers on tilewright kernels.
#[derive(Clone, Debug, Parser)]
#[command(name = "executor", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command of the executor.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Answer one prompt, or several as a batch
    Run(RunArgs),
    /// Talk with the model, line by line
    Chat(ChatArgs),
    /// Measure prefill and decode
    Bench(BenchArgs),
    /// Write the logits of a token sequence to a safetensors file
    Logits(LogitsArgs),
    /// Show architecture, parameters, memory plan and kernels
    Inspect(InspectArgs),
    /// Show what this machine has for GPUs, what is missing, and what to install
    Doctor(DoctorArgs),
}

/// Options of `doctor`.
#[derive(Clone, Debug, Default, Args)]
pub struct DoctorArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Which model, on what, with how much memory.
#[derive(Clone, Debug, Default, Args)]
pub struct ModelArgs {
    /// Hugging Face folder; without it, the demo model inside the program
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Device to run on
    #[arg(long, value_name = "cpu|sim[:ARCH]|cuda[:N]", default_value_t)]
    pub device: DeviceKind,
    /// Threads; by default one per core
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Tokens that the KV cache holds, all sequences together; by default what the work needs
    #[arg(long, value_name = "N", value_parser = positive)]
    pub context: Option<usize>,
    /// Launch the kernels of a decode step on a GPU one by one instead of replaying a graph
    #[arg(long)]
    pub no_graphs: bool,
    /// Tokens per page of the KV cache
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 128)]
    pub page_size: usize,
}

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// This machine's processor.
    #[default]
    Cpu,
    /// A simulated GPU: the code of a real one, checked, and very slow.
    Sim(Arch),
    /// The CUDA device of this number.
    Cuda(u32),
}

impl DeviceKind {
    /// Opens the device; `n_threads` as in [`Device::cpu`].
    ///
    /// # Errors
    /// When there is no driver or no such device.
    pub fn open(self, n_threads: usize) -> std::result::Result<Device, RuntimeError> {
        match self {
            Self::Cpu => Ok(Device::cpu(n_threads)),
            Self::Sim(arch) => Device::parse(&format!("sim:{arch}"), n_threads),
            Self::Cuda(ordinal) => Device::cuda(ordinal),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Sim(arch) => write!(f, "sim:{arch}"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, which) = text.split_once(':').map_or((text, None), |(kind, which)| (kind, Some(which)));
        match (kind, which) {
            ("cpu", None) => Ok(Self::Cpu),
            ("sim", None) => Ok(Self::Sim(Arch::Sm90a)),
            ("sim", Some(arch)) => Arch::parse(arch)
                .map(Self::Sim)
                .ok_or_else(|| format!("no architecture `{arch}`, as sm_80 or sm_90a")),
            ("cuda", None) => Ok(Self::Cuda(0)),
            ("cuda", Some(n)) => {
                n.parse().map(Self::Cuda).map_err(|_| format!("no number of a device: `{n}`"))
            }
            _ => Err("there are cpu, cuda, cuda:N, sim and sim:ARCH".to_owned()),
        }
    }
}

/// How to pick tokens; what is not given comes from generation_config.json.
#[derive(Clone, Debug, Default, Args)]
pub struct SamplingArgs {
    /// The most tokens to generate [default: 256, or what the context leaves]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_new_tokens: Option<usize>,
    /// Divides the logits; 0 is greedy
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Keep the K best tokens
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keep the best tokens up to this probability mass
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the best one's probability
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Make tokens already seen less likely (above 1)
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f32>,
    /// Seed of the random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// End the answer at this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Always the most probable token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    pub greedy: bool,
}

impl SamplingArgs {
    /// The parameters, options before the model's defaults.
    ///
    /// Sampling is on where an option or `do_sample` asks for it; otherwise the best token is taken.
    pub fn params(&self, defaults: &GenerationDefaults) -> SamplingParams {
        let asked = self.temperature.is_some()
            || self.top_k.is_some()
            || self.top_p.is_some()
            || self.min_p.is_some();
        let repetition_penalty = self.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0);
        if self.greedy || !(asked || defaults.do_sample) {
            return SamplingParams { repetition_penalty, seed: self.seed, ..SamplingParams::greedy() };
        }
        SamplingParams {
            temperature: self.temperature.or(defaults.temperature).unwrap_or(1.0),
            top_k: self.top_k.or(defaults.top_k),
            top_p: self.top_p.or(defaults.top_p).unwrap_or(1.0),
            min_p: self.min_p.or(defaults.min_p).unwrap_or(0.0),
            repetition_penalty,
            seed: self.seed,
        }
    }
}

/// Options of `run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Prompts, answered as one batch; `-` (or none) reads one from standard input
    #[arg(value_name = "TEXT")]
    pub prompts: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub model: ModelArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub sampling: SamplingArgs,
    /// Give the prompt as it is, without the chat template
    #[arg(long)]
    pub raw: bool,
    /// Print answers and timing as JSON
    #[arg(long)]
    pub json: bool,
}

/// Options of `chat`.
#[derive(Clone, Debug, Default, Args)]
pub struct ChatArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub model: ModelArgs,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub sampling: SamplingArgs,
    /// Instruction before the first turn
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Continue plain text, without the chat template
    #[arg(long)]
    pub raw: bool,
}

/// Options of `bench`.
#[derive(Clone, Debug, Default, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub model: ModelArgs,
    /// Tokens of the prompt
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 512)]
    pub prompt_tokens: usize,
    /// Tokens to generate
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 128)]
    pub gen_tokens: usize,
    /// Measured runs, after one that is not; medians are reported
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 3)]
    pub runs: usize,
    /// Write the report here as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Options of `logits`.
#[derive(Clone, Debug, Default, Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub model: ModelArgs,
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    pub ids: Vec<u32>,
    /// File to write: tensor `logits`, [T, vocab], f32
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `inspect`.
#[derive(Clone, Debug, Default, Args)]
pub struct InspectArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would replace the group's help")]
    pub model: ModelArgs,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be above 0".to_owned()),
        Ok(number) => Ok(number),
        Err(why) => Err(format!("{why}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn sampling(line: &[&str]) -> SamplingArgs {
        let cli = Cli::try_parse_from(["executor", "run"].iter().chain(line)).expect("the line should parse");
        let Command::Run(args) = cli.command else { panic!("the command should be run") };
        args.sampling
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_come_before_the_models_defaults() {
        let defaults = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.95),
            repetition_penalty: Some(1.05),
            ..GenerationDefaults::default()
        };
        let params = sampling(&["--top-p", "0.5", "--seed", "9"]).params(&defaults);
        let expected = SamplingParams {
            temperature: 0.6,
            top_k: Some(20),
            top_p: 0.5,
            min_p: 0.0,
            repetition_penalty: 1.05,
            seed: 9,
        };
        assert_eq!(params, expected);
        assert!(sampling(&["--greedy"]).params(&defaults).is_greedy());
        assert!(sampling(&[]).params(&GenerationDefaults::default()).is_greedy());
        assert!(!sampling(&["--top-k", "5"]).params(&GenerationDefaults::default()).is_greedy());
        assert!(sampling(&["--temperature", "0"]).params(&defaults).is_greedy());
    }

    #[test]
    fn devices_print_as_they_are_written() {
        for (text, printed) in [
            ("cpu", "cpu"),
            ("sim", "sim:sm_90a"),
            ("sim:sm_80", "sim:sm_80"),
            ("cuda", "cuda:0"),
            ("cuda:3", "cuda:3"),
        ] {
            let device: DeviceKind = text.parse().expect("a device");
            assert_eq!(device.to_string(), printed);
            assert_eq!(printed.parse(), Ok(device));
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            &["run", "--greedy", "--top-k", "3"][..],
            &["run", "--max-new-tokens", "0"],
            &["logits", "--out", "x"],
            &["logits", "--ids", "1,x", "--out", "x"],
            &["run", "--device", "abacus"],
            &["run", "--device", "cuda:x"],
            &["run", "--device", "sim:sm_1"],
            &["run", "--device", "cpu:1"],
            &[],
        ] {
            let error = Cli::try_parse_from(["executor"].iter().chain(line)).expect_err("a mistake");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
