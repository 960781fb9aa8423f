//! The report as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Row;
use super::compile::Outcome;
use super::jobs::Job;

/// A line for each kernel, element types and architecture.
pub(super) fn summary(rows: &[Row]) -> String {
    #[derive(Default)]
    struct Sum {
        compiled: usize,
        too_large: usize,
        violations: usize,
        registers: u32,
        shared_bytes: u32,
    }
    let mut sums: Vec<((&str, &str, &str), Sum)> = Vec::new();
    let mut places: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for (job, outcome) in rows {
        let key = (job.kernel.name, job.dtype, job.arch.name());
        let at = *places.entry(key).or_insert_with(|| {
            sums.push((key, Sum::default()));
            sums.len() - 1
        });
        let sum = &mut sums[at].1;
        sum.violations += usize::from(outcome.is_violation());
        match outcome {
            Outcome::Compiled(r) => {
                sum.compiled += 1;
                sum.registers = sum.registers.max(r.registers);
                sum.shared_bytes = sum.shared_bytes.max(r.shared_bytes);
            }
            Outcome::TooLarge(_) => sum.too_large += 1,
            Outcome::Failed(_) => {}
        }
    }
    let mut out = format!(
        "{:<18} {:<9} {:<7} {:>8} {:>9} {:>10} {:>9} {:>10}\n",
        "kernel", "dtype", "arch", "compiled", "too large", "violations", "registers", "shared B"
    );
    for ((kernel, dtype, arch), s) in sums {
        let _ = writeln!(
            out,
            "{kernel:<18} {dtype:<9} {arch:<7} {:>8} {:>9} {:>10} {:>9} {:>10}",
            s.compiled, s.too_large, s.violations, s.registers, s.shared_bytes
        );
    }
    out
}

/// A line for each configuration.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<18} {:<9} {:<7} {:>4} {:>7}  configuration\n",
        "kernel", "dtype", "arch", "regs", "shared"
    );
    for (job, outcome) in rows {
        let (registers, shared) = match outcome {
            Outcome::Compiled(r) => (r.registers.to_string(), r.shared_bytes.to_string()),
            Outcome::TooLarge(_) => ("-".to_owned(), "large".to_owned()),
            Outcome::Failed(_) => ("-".to_owned(), "FAILED".to_owned()),
        };
        let mark = if outcome.is_violation() { " VIOLATES" } else { "" };
        let line = format!(
            "{:<18} {:<9} {:<7} {registers:>4} {shared:>7}  {} {}{mark}",
            job.kernel.name,
            job.dtype,
            job.arch.name(),
            job.schedule,
            job.problem
        );
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// What is wrong with each configuration that violates the limits.
pub(super) fn violations(rows: &[Row]) -> impl Iterator<Item = String> + '_ {
    rows.iter().filter(|(_, outcome)| outcome.is_violation()).map(|(job, outcome)| {
        let what = match outcome {
            Outcome::Compiled(r) => r.violations.join("; "),
            Outcome::TooLarge(message) | Outcome::Failed(message) => message.clone(),
        };
        let Job { kernel, dtype, arch, schedule, problem, .. } = job;
        format!("violation: {} {dtype} {arch} \"{schedule}\" {problem}: {what}", kernel.name)
    })
}

/// Everything.
pub(super) fn json(rows: &[Row]) -> Value {
    let one = |(job, outcome): &Row| {
        let mut row = json!({
            "kernel": job.kernel.name,
            "dtype": job.dtype,
            "arch": job.arch.name(),
            "problem": job.problem,
            "schedule": job.schedule.knobs,
            "is_default": job.is_default,
        });
        row["outcome"] = match outcome {
            Outcome::Compiled(r) => json!({
                "registers": r.registers,
                "shared_bytes": r.shared_bytes,
                "stack_bytes": r.stack_bytes,
                "spill_bytes": r.spill_bytes,
                "violations": r.violations,
            }),
            Outcome::TooLarge(message) => json!({ "too_large": message }),
            Outcome::Failed(message) => json!({ "failed": message }),
        };
        row
    };
    Value::Array(rows.iter().map(one).collect())
}
