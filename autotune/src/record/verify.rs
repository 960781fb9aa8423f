//! Refuses a record that does not belong here, or that contradicts itself.
//!
//! Every check names the field, what was expected and what was found. Order: provenance of the file, then each record.

use super::{Record, RecordFile};
use crate::measure::stats;
use crate::problem::Subject;
use crate::{Error, Result};

const TUNE_AGAIN: &str = "tune again on this device";
const EDITED: &str = "the file was edited or damaged: tune again";

/// Checks that `file` holds records of `subject` on `device_class`, that its schedules are legal points of the kernel's
/// space, and that its numbers agree with one another. `origin` names the file in errors.
///
/// # Errors
/// [`Error::Refused`] for the first field that does not fit.
pub fn verify(file: &RecordFile, subject: &Subject<'_>, device_class: &str, origin: &str) -> Result<()> {
    let at = Place { origin };
    at.same(
        "kernel",
        subject.kernel,
        &file.kernel,
        "it belongs to another kernel: move it to that kernel's name",
    )?;
    at.same(
        "device_class",
        device_class,
        &file.device_class,
        "records are never used on another device class",
    )?;
    let (expected, found) = (format!("{:016x}", subject.source_hash), format!("{:016x}", file.source_hash));
    at.same("source_hash", &expected, &found, "the kernel's source has changed since: tune again")?;
    for (i, record) in file.records.iter().enumerate() {
        if let Some(first) = file.records[..i].iter().position(|other| other.bucket == record.bucket) {
            let found = format!("`{}` again, as in records[{first}]", record.bucket);
            return at.refuse(&format!("records[{i}].bucket"), "unique in the file", &found, EDITED);
        }
        verify_record(record, i, subject, device_class, &at)?;
    }
    Ok(())
}

fn verify_record(
    record: &Record,
    i: usize,
    subject: &Subject<'_>,
    device_class: &str,
    at: &Place<'_>,
) -> Result<()> {
    let field = |name: &str| format!("records[{i}].{name}");
    let class = record.device.class().unwrap_or_else(|| "no device class".to_owned());
    at.same(&field("device"), device_class, &class, "records are never used on another device class")?;
    verify_schedule(record, i, subject, at)?;

    let positive = |x: f64| x.is_finite() && x > 0.0;
    if record.samples_s.is_empty() || !record.samples_s.iter().all(|&s| positive(s)) {
        let found = format!("{:?}", record.samples_s);
        return at.refuse(&field("samples_s"), "one or more positive times", &found, EDITED);
    }
    let median = stats::median(&record.samples_s);
    // The stored median is rounded to 6 digits.
    if !positive(record.median_s) || (record.median_s / median - 1.0).abs() > 1e-5 {
        let expected = format!("{median:e}, the median of the samples");
        return at.refuse(&field("median_s"), &expected, &format!("{:e}", record.median_s), EDITED);
    }
    if record.default_median_s.is_some_and(|s| !positive(s)) {
        let found = format!("{:?}", record.default_median_s);
        return at.refuse(&field("default_median_s"), "a positive time", &found, EDITED);
    }
    if !record.check.passed() {
        let expected = format!("at most the tolerance {:e}", record.check.tolerance);
        let found = format!("{:e}", record.check.max_error);
        return at.refuse(&field("check.max_error"), &expected, &found, TUNE_AGAIN);
    }
    if let Some(roofline) = &record.roofline {
        let expected = roofline.fraction_at(record.median_s);
        if !(roofline.fraction / expected - 1.0).abs().le(&1e-3) {
            let (expected, found) = (format!("{expected:.4}"), format!("{:.4}", roofline.fraction));
            return at.refuse(&field("roofline.fraction"), &expected, &found, EDITED);
        }
    }
    Ok(())
}

fn verify_schedule(record: &Record, i: usize, subject: &Subject<'_>, at: &Place<'_>) -> Result<()> {
    let knobs = &subject.space.knobs;
    let names = || knobs.iter().map(|k| k.name).collect::<Vec<_>>().join(", ");
    let field = |knob: &str| format!("records[{i}].schedule.{knob}");
    for (name, value) in &record.schedule.knobs {
        let Some(knob) = knobs.iter().find(|k| k.name == name) else {
            let expected = format!("one of the kernel's knobs ({})", names());
            return at.refuse(&field(name), &expected, "an unknown knob", TUNE_AGAIN);
        };
        if !knob.values.contains(value) {
            let values: Vec<String> = knob.values.iter().map(i64::to_string).collect();
            let expected = format!("one of {}", values.join(", "));
            return at.refuse(&field(name), &expected, &value.to_string(), TUNE_AGAIN);
        }
    }
    if let Some(missing) = knobs.iter().find(|k| record.schedule.get(k.name).is_none()) {
        return at.refuse(&field(missing.name), "present", "nothing", EDITED);
    }
    if !subject.space.legal.allows(&record.schedule) {
        let found = record.schedule.to_string();
        return at.refuse(
            &format!("records[{i}].schedule"),
            "a legal point of the space",
            &found,
            TUNE_AGAIN,
        );
    }
    Ok(())
}

struct Place<'a> {
    origin: &'a str,
}

impl Place<'_> {
    fn same(&self, field: &str, expected: &str, found: &str, advice: &'static str) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        self.refuse(field, &format!("`{expected}`"), &format!("`{found}`"), advice)
    }

    fn refuse(&self, field: &str, expected: &str, found: &str, advice: &'static str) -> Result<()> {
        let (origin, field) = (self.origin.to_owned(), field.to_owned());
        Err(Error::Refused { origin, field, expected: expected.to_owned(), found: found.to_owned(), advice })
    }
}
