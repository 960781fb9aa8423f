//! `bench`: prefill and decode speed, and where the time goes, as JSON.
//!
//! One run warms up; the measured runs are untimed inside; a last run times each kernel, and its kernels' shares are
//! against ceilings measured in the same process. Prompt tokens are spread over the vocabulary by a fixed rule.

use std::io::Write;
use std::time::Instant;

use serde_json::{Value, json};

use super::output::write_whole;
use super::session::Session;
use crate::args::{BenchArgs, DeviceKind};
use crate::error::{Error, Result};
use crate::forward::{Ceilings, Chunk, Forward, KernelTime, LogitRows, Profiling, Step};
use crate::kv_cache::KvCache;
use crate::sampler::{Sampler, SamplingParams};

/// What `bench` measured; times are medians over the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchReport {
    /// Tokens of the prompt.
    pub n_prompt_tokens: usize,
    /// Tokens generated, the first included.
    pub n_gen_tokens: usize,
    /// Seconds from the start of the prefill to the first token, per run.
    pub first_token_s: Vec<f64>,
    /// Seconds of all decode steps, per run.
    pub decode_s: Vec<f64>,
    /// Kernel times of one more run, longest first.
    pub kernels: Vec<KernelTime>,
    /// What the device can do at best.
    pub ceilings: Ceilings,
}

pub(super) fn bench(args: &BenchArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let DeviceKind::Sim(_) = args.model.device {
        return Err(Error::SimulatedTime.into());
    }
    let session = Session::open(&args.model)?;
    let length = args.prompt_tokens + args.gen_tokens;
    let (mut forward, loading) = session.load(session.n_kv_pages(&[length]))?;
    let report = measure(forward.as_mut(), args.prompt_tokens, args.gen_tokens, args.runs)?;
    let mut json = report.to_json();
    let dtypes: Vec<String> =
        session.weights.totals().iter().map(|total| format!("{:?}", total.dtype)).collect();
    let head = json!({
        "model": session.source.place().display().to_string(),
        "architecture": session.config.architecture.model_type(),
        "weight_dtypes": dtypes,
        "threads": args.model.threads,
        "load_s": loading.as_secs_f64(),
    });
    if let (Value::Object(json), Value::Object(mut head)) = (&mut json, head) {
        head.append(json);
        *json = head;
    }
    writeln!(out, "{}", summary(&json))?;
    if let Some(file) = &args.json {
        write_whole(file, format!("{json:#}\n").as_bytes())?;
    }
    Ok(())
}

/// Runs the benchmark: a warm-up, `n_runs` measured runs, and one with each kernel timed.
///
/// # Errors
/// A prompt that does not fit, or a device that fails.
pub fn measure(
    forward: &mut dyn Forward,
    n_prompt_tokens: usize,
    n_gen_tokens: usize,
    n_runs: usize,
) -> Result<BenchReport> {
    let limits = forward.limits();
    // An odd multiplier reaches all of the vocabulary.
    let prompt: Vec<u32> = (0..n_prompt_tokens as u64)
        .map(|position| (position.wrapping_mul(2_654_435_761) % limits.vocab_size as u64) as u32)
        .collect();
    run_once(forward, &prompt, n_gen_tokens)?;
    let (mut first_token_s, mut decode_s) = (Vec::new(), Vec::new());
    for _ in 0..n_runs {
        let (first, decode) = run_once(forward, &prompt, n_gen_tokens)?;
        first_token_s.push(first);
        decode_s.push(decode);
    }
    let ceilings = forward.measure_ceilings()?;
    forward.take_kernel_times();
    forward.set_profiling(Profiling::On);
    let profiled = run_once(forward, &prompt, n_gen_tokens);
    forward.set_profiling(Profiling::Off);
    profiled?;
    let kernels = forward.take_kernel_times();
    Ok(BenchReport { n_prompt_tokens, n_gen_tokens, first_token_s, decode_s, kernels, ceilings })
}

/// Seconds to the first token, and of the steps after it.
fn run_once(forward: &mut dyn Forward, prompt: &[u32], n_gen_tokens: usize) -> Result<(f64, f64)> {
    let limits = forward.limits();
    let mut kv = KvCache::new(limits.kv_layout, limits.n_kv_pages);
    kv.check_fits(&[prompt.len() + n_gen_tokens])?;
    let seq = kv.add_sequence();
    let mut sampler = Sampler::new(SamplingParams::greedy(), 0, prompt)?;
    let mut logits = vec![0.0; limits.vocab_size];

    let started = Instant::now();
    kv.append(seq, prompt.len())?;
    let chunk = Chunk { seq, start: 0, tokens: prompt };
    let mut token = match forward.prefill_and_pick(&kv, &[chunk], &[sampler.draw()])? {
        Some(tokens) => sampler.take(tokens[0]),
        None => {
            forward.prefill(&kv, &[chunk], LogitRows::Last, &mut logits)?;
            sampler.sample(&logits)?
        }
    };
    let first = started.elapsed().as_secs_f64();

    let started = Instant::now();
    for _ in 1..n_gen_tokens {
        let position = kv.n_tokens(seq);
        kv.append(seq, 1)?;
        let step = [Step { seq, position, token }];
        token = match forward.decode_and_pick(&kv, &step, &[sampler.draw()])? {
            Some(tokens) => sampler.take(tokens[0]),
            None => {
                forward.decode(&kv, &step, &mut logits)?;
                sampler.sample(&logits)?
            }
        };
    }
    Ok((first, started.elapsed().as_secs_f64()))
}

impl BenchReport {
    /// Prompt tokens per second.
    pub fn prefill_tokens_per_s(&self) -> f64 {
        self.n_prompt_tokens as f64 / median(&self.first_token_s)
    }

    /// Generated tokens per second after the first; `None` where only one was generated.
    pub fn decode_tokens_per_s(&self) -> Option<f64> {
        (self.n_gen_tokens > 1).then(|| (self.n_gen_tokens - 1) as f64 / median(&self.decode_s))
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        let total: f64 = self.kernels.iter().map(|kernel| kernel.seconds).sum();
        let kernels: Vec<Value> =
            self.kernels.iter().map(|kernel| kernel_json(kernel, total, &self.ceilings)).collect();
        json!({
            "prompt_tokens": self.n_prompt_tokens,
            "gen_tokens": self.n_gen_tokens,
            "runs": self.first_token_s.len(),
            "time_to_first_token_s": median(&self.first_token_s),
            "prefill_tokens_per_s": self.prefill_tokens_per_s(),
            "decode_tokens_per_s": self.decode_tokens_per_s(),
            "time_to_first_token_runs_s": self.first_token_s,
            "decode_runs_s": self.decode_s,
            "ceilings": {
                "memory_gb_per_s": self.ceilings.memory_bytes_per_s / 1e9,
                "fma_gflop_per_s": self.ceilings.flops_per_s / 1e9,
            },
            "kernels": kernels,
        })
    }
}

/// A kernel's time and its share of the ceiling that binds it: the one that would take longer at best.
fn kernel_json(kernel: &KernelTime, total_s: f64, ceilings: &Ceilings) -> Value {
    let memory_s = kernel.bytes / ceilings.memory_bytes_per_s;
    let fma_s = kernel.flops / ceilings.flops_per_s;
    let (bound, best_s) = if memory_s >= fma_s { ("memory", memory_s) } else { ("fma", fma_s) };
    json!({
        "name": kernel.name,
        "calls": kernel.n_calls,
        "seconds": kernel.seconds,
        "share_of_time": kernel.seconds / total_s,
        "gb_per_s": kernel.bytes / kernel.seconds / 1e9,
        "gflop_per_s": kernel.flops / kernel.seconds / 1e9,
        "bound": bound,
        "share_of_ceiling": best_s / kernel.seconds,
    })
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len.is_multiple_of(2) => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        len => sorted[len / 2],
    }
}

/// A few lines for people.
fn summary(report: &Value) -> String {
    let number = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let mut text = format!(
        "load {:.3} s, first token {:.4} s, prefill {:.1} tokens/s, decode {:.2} tokens/s",
        number("load_s"),
        number("time_to_first_token_s"),
        number("prefill_tokens_per_s"),
        number("decode_tokens_per_s"),
    );
    for kernel in report["kernels"].as_array().into_iter().flatten() {
        let percent = |key: &str| 100.0 * kernel[key].as_f64().unwrap_or(f64::NAN);
        text += &format!(
            "\n{:5.1} % of time  {:5.1} % of the {} ceiling  {}",
            percent("share_of_time"),
            percent("share_of_ceiling"),
            kernel["bound"].as_str().unwrap_or_default(),
            kernel["name"].as_str().unwrap_or_default(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::Reverser;

    #[test]
    fn runs_are_warmed_up_measured_and_profiled() {
        let mut model = Reverser::new(10);
        let report = measure(&mut model, 9, 4, 3).expect("should run");
        assert_eq!((report.first_token_s.len(), report.decode_s.len()), (3, 3));
        assert_eq!(model.n_prefilled, 5 * 9, "a warm-up, three runs and a profiled one");
        assert_eq!(model.batch_sizes.len(), 5 * 3, "the first of four tokens comes from the prefill");
        let error = measure(&mut model, 38, 4, 1).expect_err("42 tokens in 40").to_string();
        assert!(error.contains("42 tokens need 11 pages"), "{error}");
    }

    #[test]
    fn the_report_has_the_agreed_names_and_right_ratios() {
        let kernel = |name: &str, seconds, bytes, flops| KernelTime {
            name: name.to_owned(),
            n_calls: 2,
            seconds,
            bytes,
            flops,
        };
        let report = BenchReport {
            n_prompt_tokens: 100,
            n_gen_tokens: 11,
            first_token_s: vec![4.0, 1.0, 2.0],
            decode_s: vec![1.0, 2.0, 3.0, 10.0],
            kernels: vec![kernel("matmul", 3.0, 1e9, 60e9), kernel("norm", 1.0, 5e9, 1e9)],
            ceilings: Ceilings { memory_bytes_per_s: 10e9, flops_per_s: 40e9 },
        };
        let json = report.to_json();
        assert_eq!(json["time_to_first_token_s"], 2.0);
        assert_eq!(json["prefill_tokens_per_s"], 50.0);
        assert_eq!(json["decode_tokens_per_s"], 4.0);
        let kernels = json["kernels"].as_array().expect("a list");
        assert_eq!((&kernels[0]["bound"], &kernels[0]["share_of_ceiling"]), (&json!("fma"), &json!(0.5)));
        assert_eq!((&kernels[1]["bound"], &kernels[1]["share_of_ceiling"]), (&json!("memory"), &json!(0.5)));
        assert_eq!(kernels[0]["share_of_time"], 0.75);
    }
}
