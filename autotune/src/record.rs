//! Records: measured schedules as data, one git-friendly JSON file per kernel and device class.
//!
//! A file holds one record per bucket, in bucket order, all of one kernel source and one device class. Reading never
//! repairs: whatever does not fit its place is refused by [`verify`] with the field's name. Writing is atomic ([`store`]).

mod json;
pub mod store;
mod verify;

use serde::{Deserialize, Serialize};
use tilewright_codegen::schedule::Schedule;

use crate::ceiling::{Ceilings, Roofline};
use crate::fingerprint::Fingerprint;
use crate::measure::stats;
use crate::problem::{Bucket, Check};

pub use verify::verify;

/// Version of the file format; files of any other are refused.
pub const SCHEMA: u32 = 1;

/// All records of one kernel on one device class.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordFile {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Device class, the same as [`Fingerprint::class`] of every record.
    pub device_class: String,
    /// Kernel that was measured.
    pub kernel: String,
    /// Source of the kernel that was measured.
    #[serde(with = "hex")]
    pub source_hash: u64,
    /// One record per bucket, in bucket order.
    pub records: Vec<Record>,
}

/// The best schedule found for one bucket, and how that is known.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Shape, dtype and options.
    pub bucket: Bucket,
    /// The chosen schedule.
    #[serde(with = "knobs")]
    pub schedule: Schedule,
    /// Median of `samples_s`, in seconds.
    pub median_s: f64,
    /// Median of the default schedule in the same run-off, in seconds; absent when it was invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_median_s: Option<f64>,
    /// Time of one execution in each round of the run-off, in seconds, in the order measured.
    pub samples_s: Vec<f64>,
    /// The numeric check that the schedule passed before it was timed.
    pub check: Check,
    /// Share of the roofline; absent when the ceilings were not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roofline: Option<Roofline>,
    /// The device that was measured.
    pub device: Fingerprint,
    /// How much of the space was looked at.
    pub search: SearchSummary,
    /// Date of the measurement, `YYYY-MM-DD`, UTC.
    pub created: String,
    /// Version of this crate.
    pub tilewright: String,
    /// Command that repeats the measurement.
    pub command: String,
}

/// How a record was searched for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSummary {
    /// Name of the search.
    pub strategy: String,
    /// Seed of the search and of the inputs.
    pub seed: u64,
    /// Points of the grid, legal or not.
    pub grid: usize,
    /// Candidates that were measured.
    pub measured: usize,
    /// Candidates that were invalid.
    pub invalid: usize,
}

impl RecordFile {
    /// A file with `records` put in bucket order.
    #[must_use]
    pub fn new(device_class: &str, kernel: &str, source_hash: u64, mut records: Vec<Record>) -> Self {
        records.sort_by(|a, b| a.bucket.cmp(&b.bucket));
        let (device_class, kernel) = (device_class.to_owned(), kernel.to_owned());
        Self { schema: SCHEMA, device_class, kernel, source_hash, records }
    }

    /// The text of the file: deterministic, two-space indented, a list of numbers on one line, ending in a newline.
    ///
    /// # Panics
    /// Never: every record can be written as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value = serde_json::to_value(self).expect("a record should be representable as JSON");
        json::print(&value)
    }

    /// Reads a file's text. `origin` names it in errors. The content is not yet trusted: see [`verify`].
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) if it is not JSON of this form, [`Error::Refused`](crate::Error::Refused)
    /// if it is of another schema version.
    pub fn from_json(text: &str, origin: &str) -> crate::Result<Self> {
        let malformed = |source| crate::Error::Malformed { origin: origin.to_owned(), source };
        // The version is looked at first: a newer format should be called that, not malformed.
        let header: Header = serde_json::from_str(text).map_err(malformed)?;
        if header.schema != SCHEMA {
            let (expected, found) = (SCHEMA.to_string(), header.schema.to_string());
            return Err(crate::Error::Refused {
                origin: origin.to_owned(),
                field: "schema".to_owned(),
                expected,
                found,
                advice: "it was written by another version: tune again",
            });
        }
        serde_json::from_str(text).map_err(malformed)
    }

    /// This file with `newer` merged in: a bucket's newer record replaces the older one. Records of another source of the
    /// kernel are dropped, because nothing may use them any more; returns how many.
    pub fn merge(&mut self, newer: Self) -> usize {
        let stale = if self.source_hash == newer.source_hash { 0 } else { self.records.len() };
        let mut records = newer.records;
        if stale == 0 {
            let kept =
                self.records.drain(..).filter(|old| records.iter().all(|new| new.bucket != old.bucket));
            let kept: Vec<_> = kept.collect();
            records.extend(kept);
        }
        *self = Self::new(&newer.device_class, &newer.kernel, newer.source_hash, records);
        stale
    }
}

/// The numbers of a record before provenance is added.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// The winner.
    pub schedule: Schedule,
    /// Its run-off samples in seconds.
    pub samples_s: Vec<f64>,
    /// The numeric check it passed.
    pub check: Check,
    /// Median of the default schedule in the same run-off.
    pub default_median_s: Option<f64>,
}

impl Record {
    /// A record made today by this version. Samples are kept to 6 significant digits, which is finer than any timer's noise.
    #[must_use]
    pub fn new(
        bucket: Bucket,
        measured: &Measured,
        work: (f64, f64),
        ceilings: Option<&Ceilings>,
        device: Fingerprint,
        search: SearchSummary,
        command: String,
    ) -> Self {
        let samples_s: Vec<f64> = measured.samples_s.iter().map(|&s| six_digits(s)).collect();
        let median_s = six_digits(stats::median(&samples_s));
        Self {
            bucket,
            schedule: measured.schedule.clone(),
            median_s,
            default_median_s: measured.default_median_s.map(six_digits),
            samples_s,
            check: measured.check,
            roofline: ceilings.map(|c| Roofline::new(work.0, work.1, median_s, c)),
            device,
            search,
            created: today(),
            tilewright: env!("CARGO_PKG_VERSION").to_owned(),
            command,
        }
    }
}

fn six_digits(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

/// Today's date in UTC as `YYYY-MM-DD`.
fn today() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    date_of_day(i64::try_from(now.as_secs() / 86_400).unwrap_or(0))
}

/// Gregorian date of a day counted from 1970-01-01.
fn date_of_day(day: i64) -> String {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let (mut year, mut rest) = (1970, day);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if rest < length {
            break;
        }
        rest -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", rest + 1)
}

#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// Hashes as fixed-width hexadecimal text: JSON readers lose integers over 2^53.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde prescribes the signature")]
    pub(super) fn serialize<S: Serializer>(hash: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format!("{hash:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        let text = String::deserialize(d)?;
        if text.len() != 16 {
            return Err(D::Error::custom(format!("source hash `{text}` should have 16 hexadecimal digits")));
        }
        u64::from_str_radix(&text, 16).map_err(|e| D::Error::custom(format!("source hash `{text}`: {e}")))
    }
}

/// A schedule as the map of its knobs.
mod knobs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tilewright_codegen::schedule::Schedule;

    pub(super) fn serialize<S: Serializer>(schedule: &Schedule, s: S) -> Result<S::Ok, S::Error> {
        schedule.knobs.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Schedule, D::Error> {
        Ok(Schedule { knobs: BTreeMap::deserialize(d)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date_of_day(0), "1970-01-01");
        assert_eq!(date_of_day(59), "1970-03-01");
        assert_eq!(date_of_day(11_016), "2000-02-29");
        assert_eq!(date_of_day(20_780), "2026-11-23");
    }

    #[test]
    fn six_digits_are_enough() {
        assert_eq!(six_digits(1.234_567_89e-5), 1.234_57e-5);
        assert_eq!(six_digits(0.0), 0.0);
    }
}
