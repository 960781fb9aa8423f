//! Tables for people: the ranking of a search, and records.

use std::fmt::Write as _;

use crate::ceiling::{Bound, Ceilings, Roofline};
use crate::record::RecordFile;
use crate::tune::{Outcome, Stop, Timed, Trial};

/// How much of a search a report shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportConfig {
    /// Rows of valid candidates.
    pub rows: usize,
    /// Rows of invalid candidates.
    pub invalid_rows: usize,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { rows: 10, invalid_rows: 5 }
    }
}

/// The ranking of a search: run-off first, then the others by median, then the invalid with their reasons.
#[must_use]
pub fn ranking(
    outcome: &Outcome,
    work: (f64, f64),
    ceilings: Option<&Ceilings>,
    config: ReportConfig,
) -> String {
    let default_s = outcome.default_median_s();
    let mut valid: Vec<(usize, &Trial, &Timed)> = outcome
        .trials
        .iter()
        .enumerate()
        .filter_map(|(i, trial)| Some((i, trial, trial.result.as_ref().ok()?)))
        .collect();
    valid.sort_by(|a, b| {
        let key = |&(i, _, timed): &(usize, &Trial, &Timed)| (i != outcome.winner, !timed.in_run_off);
        key(a).cmp(&key(b)).then(a.2.median_s.total_cmp(&b.2.median_s))
    });

    let mut rows = vec![["rank", "schedule", "median", "vs default", "roofline", ""].map(str::to_owned)];
    for (rank, &(i, trial, timed)) in valid.iter().enumerate() {
        // The default is what everything is compared with, so it is shown wherever it stands.
        if rank >= config.rows && i != 0 {
            continue;
        }
        let mut notes = Vec::new();
        notes.extend((i == outcome.winner).then_some("chosen"));
        notes.extend((i == 0).then_some("default"));
        rows.push([
            (rank + 1).to_string(),
            trial.schedule.to_string(),
            seconds(timed.median_s),
            default_s.map_or_else(|| "-".to_owned(), |d| format!("{:.2}x", d / timed.median_s)),
            ceilings.map_or_else(
                || "-".to_owned(),
                |c| percent(&Roofline::new(work.0, work.1, timed.median_s, c)),
            ),
            notes.join(", "),
        ]);
    }
    let mut text = table(&rows);
    let invalid: Vec<_> =
        outcome.trials.iter().filter_map(|t| Some((&t.schedule, t.result.as_ref().err()?))).collect();
    for (schedule, reason) in invalid.iter().take(config.invalid_rows) {
        let _ = writeln!(text, "invalid: {schedule}: {reason}");
    }
    if invalid.len() > config.invalid_rows {
        let _ = writeln!(text, "... and {} more invalid", invalid.len() - config.invalid_rows);
    }
    let stop = match outcome.stop {
        Stop::SpaceCovered => "the space is covered",
        Stop::Budget => "the budget was spent",
        Stop::MaxCandidates => "as many as allowed were tried",
    };
    let (measured, grid) = (outcome.summary.measured, outcome.summary.grid);
    let _ = writeln!(
        text,
        "{measured} measured, {} invalid, of a grid of {grid} (illegal points included); {stop}",
        invalid.len()
    );
    text
}

/// The records of one file, a row each.
#[must_use]
pub fn records(file: &RecordFile) -> String {
    let mut rows =
        vec![["bucket", "schedule", "median", "vs default", "roofline", "measured"].map(str::to_owned)];
    for record in &file.records {
        rows.push([
            record.bucket.to_string(),
            record.schedule.to_string(),
            seconds(record.median_s),
            record
                .default_median_s
                .map_or_else(|| "-".to_owned(), |d| format!("{:.2}x", d / record.median_s)),
            record.roofline.as_ref().map_or_else(|| "-".to_owned(), percent),
            format!("{} by {}", record.created, record.tilewright),
        ]);
    }
    table(&rows)
}

/// A time with a unit that leaves one to three digits before the point.
#[must_use]
pub fn seconds(s: f64) -> String {
    match s {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s => format!("{:.2} us", s * 1e6),
    }
}

fn percent(roofline: &Roofline) -> String {
    let bound = match roofline.bound {
        Bound::Compute => "FMA",
        Bound::Memory => "memory",
    };
    format!("{:.1} % of {bound}", roofline.fraction * 100.0)
}

/// Columns padded to their widest cell, two spaces apart.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(seconds(2.5), "2.500 s");
        assert_eq!(seconds(0.0125), "12.500 ms");
        assert_eq!(seconds(3.25e-6), "3.25 us");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bcd"], ["ef", "g"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a   bcd\nef  g\n");
    }
}
