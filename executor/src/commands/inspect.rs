//! `inspect`: what a model is, what it will take, and which kernels will run it.

use std::io::Write;

use serde_json::{Value, json};

use super::session::Session;
use crate::args::InspectArgs;
use crate::config::{ModelConfig, RopeScaling};
use crate::error::Result;
use crate::forward::{Chunk, Forward, KernelInfo, LogitRows, ScheduleSource, Step};
use crate::kv_cache::KvCache;
use crate::memory::human_bytes;

/// KV budget shown where the options give none.
const DEFAULT_CONTEXT: usize = 4096;

/// Length of the prompt that shows which kernels a prefill runs.
const PROMPT_TOKENS: usize = 512;

pub(super) fn inspect(args: &InspectArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let session = Session::open(&args.model)?;
    let context = session.context_tokens().min(args.model.context.unwrap_or(DEFAULT_CONTEXT));
    let n_kv_pages = session.n_kv_pages(&[context]);
    let (mut forward, _) = session.load(n_kv_pages)?;
    rehearse(forward.as_mut(), context)?;
    let report = report(&session, n_kv_pages, forward.workspace_bytes(), &forward.kernels())?;
    if args.json {
        writeln!(out, "{report:#}")?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    Ok(())
}

/// Runs a prompt and a decode step, so that the model has chosen its kernels and their schedules.
fn rehearse(forward: &mut dyn Forward, context: usize) -> Result<()> {
    let limits = forward.limits();
    let n_tokens = PROMPT_TOKENS.min(context.saturating_sub(1)).max(1);
    let mut kv = KvCache::new(limits.kv_layout, limits.n_kv_pages);
    let seq = kv.add_sequence();
    let mut logits = vec![0.0; limits.vocab_size];
    let prompt = vec![0; n_tokens];
    kv.append(seq, n_tokens)?;
    forward.prefill(&kv, &[Chunk { seq, start: 0, tokens: &prompt }], LogitRows::Last, &mut logits)?;
    if n_tokens < context {
        kv.append(seq, 1)?;
        forward.decode(&kv, &[Step { seq, position: n_tokens, token: 0 }], &mut logits)?;
    }
    Ok(())
}

fn report(
    session: &Session,
    n_kv_pages: usize,
    workspace_bytes: u64,
    kernels: &[KernelInfo],
) -> Result<Value> {
    let layout = session.kv_layout();
    let totals = session.weights.totals();
    let by_dtype: Vec<Value> = totals
        .iter()
        .map(|total| {
            json!({
                "dtype": format!("{:?}", total.dtype),
                "tensors": total.n_tensors,
                "parameters": total.n_elements,
                "bytes": total.n_bytes,
            })
        })
        .collect();
    let weight_bytes: u64 = totals.iter().map(|total| total.n_bytes).sum();
    let kv_bytes = n_kv_pages as u64 * layout.bytes_per_page();
    let kernels: Vec<Value> = kernels
        .iter()
        .map(|kernel| {
            let source = match &kernel.source {
                ScheduleSource::Default => "default".to_owned(),
                ScheduleSource::Record(record) => format!("record {record}"),
                ScheduleSource::Shape(device) => format!("by shape for {device}"),
            };
            json!({"name": kernel.name, "schedule": kernel.schedule, "source": source})
        })
        .collect();
    Ok(json!({
        "model": session.source.place().display().to_string(),
        "architecture": architecture(&session.config),
        "parameters": {
            "count": totals.iter().map(|total| total.n_elements).sum::<u64>(),
            "files": session.weights.files().count(),
            "by_dtype": by_dtype,
        },
        "has_chat_template": session.template()?.is_some(),
        "eos_token_ids": session.defaults.eos_token_ids,
        "memory": {
            "weights_bytes": weight_bytes,
            "kv_bytes_per_token": layout.bytes_per_token(),
            "kv_tokens": n_kv_pages * layout.page_tokens,
            "kv_page_tokens": layout.page_tokens,
            "kv_bytes": kv_bytes,
            "workspace_bytes": workspace_bytes,
            "total_bytes": weight_bytes + kv_bytes + workspace_bytes,
        },
        "kernels": kernels,
    }))
}

fn architecture(config: &ModelConfig) -> Value {
    let rope = match &config.rope.scaling {
        RopeScaling::Default => "default".to_owned(),
        RopeScaling::Linear { factor } => format!("linear, factor {factor}"),
        RopeScaling::Llama3 { factor, .. } => format!("llama3, factor {factor}"),
        RopeScaling::Yarn { factor, .. } => format!("yarn, factor {factor}"),
    };
    let n_windowed = config.sliding_window.iter().flatten().count();
    json!({
        "type": config.architecture.model_type(),
        "layers": config.n_layers,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "heads": config.n_heads,
        "kv_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "context_tokens": config.max_position_embeddings,
        "rope_theta": config.rope.theta,
        "rope_scaling": rope,
        "sliding_window": config.sliding_window.iter().flatten().next(),
        "sliding_window_layers": n_windowed,
        "tied_embeddings": config.tie_word_embeddings,
    })
}

/// The report for people: a line per fact, nested facts indented, kernels one per line.
fn text(report: &Value) -> String {
    let mut out = String::new();
    for (section, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Object(facts) => {
                out += &format!("{section}\n");
                for (name, fact) in facts {
                    for line in lines(name, fact) {
                        out += &format!("  {line}\n");
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                for line in lines(section, value) {
                    out += &format!("{line}\n");
                }
            }
        }
    }
    out
}

fn lines(name: &str, fact: &Value) -> Vec<String> {
    match fact {
        Value::Array(rows) if rows.iter().all(Value::is_object) && !rows.is_empty() => {
            let row = |row: &Value| {
                let cells: Vec<String> =
                    row.as_object().into_iter().flatten().map(|(name, cell)| fact_text(name, cell)).collect();
                format!("  {}", cells.join("  "))
            };
            std::iter::once(name.replace('_', " ")).chain(rows.iter().map(row)).collect()
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => vec![format!("{}: {}", name.replace('_', " "), plain(name, fact))],
    }
}

/// A cell of a table row: text stands for itself, numbers get their name.
fn fact_text(name: &str, fact: &Value) -> String {
    match fact {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            format!("{} {name}", plain(name, fact)).replace("bytes bytes", "bytes").replace("B bytes", "B")
        }
    }
}

fn plain(name: &str, fact: &Value) -> String {
    match fact {
        Value::Number(number) if name.contains("bytes") => {
            number.as_u64().map_or_else(|| number.to_string(), human_bytes)
        }
        Value::String(text) => text.clone(),
        Value::Null => "none".to_owned(),
        Value::Bool(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => fact.to_string(),
    }
}
