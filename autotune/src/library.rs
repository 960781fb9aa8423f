//! Finds the schedule for a launch: a record that fits, or the reason why the default serves.
//!
//! A record is used only for its own kernel, source and device class; a record that does not fit its place is refused, never
//! repaired. Within a file the exact bucket is taken, else the nearest one in reach:
//!
//! - dtype, options and the names of the extents must be equal;
//! - each extent may differ by a factor of 2 at most, or of 4 where both are 256 or more (a schedule ages with the ratio of
//!   extents, and large ones differ only in how often the same tile is repeated);
//! - of those in reach, the one with the least sum of |log2| ratios; on a tie the lesser bucket.

use std::fmt;
use std::path::{Path, PathBuf};

use tilewright_codegen::schedule::Schedule;

use crate::fingerprint::Fingerprint;
use crate::problem::{Bucket, Subject};
use crate::record::{Record, RecordFile, store, verify};
use crate::shipped::SHIPPED;

/// Folders of records, the first asked first, and then the records that ship with the crate.
///
/// A lookup reads and verifies the record file each time; ask once per launch plan and keep the answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Library {
    /// Roots of record folders, as `autotune tune --out` writes them.
    pub folders: Vec<PathBuf>,
}

/// The answer to a lookup.
#[derive(Clone, PartialEq, Debug)]
pub enum Lookup {
    /// A record fits.
    Found(Box<FoundRecord>),
    /// None does: use the kernel's default schedule.
    Default(Reason),
}

/// A record that fits, and where it is from.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundRecord {
    /// The record; its schedule is a legal point of the kernel's space.
    pub record: Record,
    /// File, or `shipped <class>/<kernel>.json`.
    pub origin: String,
    /// Whether its bucket is the one asked for, or only the nearest.
    pub exact: bool,
}

/// Why the default schedule serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The device could not be identified.
    UnknownDevice,
    /// Nobody has tuned this kernel on this class of device.
    NoRecord {
        /// The device class.
        device_class: String,
    },
    /// The kernel has been tuned, but for no bucket in reach.
    NoBucketInReach {
        /// How many buckets there are.
        records: usize,
    },
    /// There is a record and it does not fit; the text is the refusal.
    Refused(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownDevice => f.write_str("the device could not be identified"),
            Self::NoRecord { device_class } => write!(f, "no record for device class {device_class}"),
            Self::NoBucketInReach { records } => {
                write!(f, "none of the {records} recorded buckets is near enough")
            }
            Self::Refused(refusal) => f.write_str(refusal),
        }
    }
}

impl Lookup {
    /// The schedule of the record, if there is one.
    #[must_use]
    pub fn schedule(&self) -> Option<&Schedule> {
        match self {
            Self::Found(found) => Some(&found.record.schedule),
            Self::Default(_) => None,
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(found) => {
                let how = if found.exact { "record" } else { "nearest record" };
                write!(f, "{how} {} ({}) from {}", found.record.bucket, found.record.schedule, found.origin)
            }
            Self::Default(reason) => write!(f, "default schedule: {reason}"),
        }
    }
}

impl Library {
    /// Only the records that ship with the crate: the same answers on every machine of a class.
    #[must_use]
    pub fn shipped() -> Self {
        Self::default()
    }

    /// The user's own records, if there is a folder of them, before the shipped ones.
    #[must_use]
    pub fn for_user() -> Self {
        Self { folders: user_folder().into_iter().filter(|folder| folder.is_dir()).collect() }
    }

    /// The schedule of `subject` at `bucket` on `device`. The first place that has a fitting record in reach wins.
    #[must_use]
    pub fn lookup(&self, subject: &Subject<'_>, bucket: &Bucket, device: &Fingerprint) -> Lookup {
        let Some(device_class) = device.class() else { return Lookup::Default(Reason::UnknownDevice) };
        let mut reason = None;
        for (origin, file) in self.files(subject, &device_class) {
            let file = match file {
                Ok(file) => file,
                Err(error) => {
                    reason.get_or_insert(Reason::Refused(error.to_string()));
                    continue;
                }
            };
            if let Some((record, exact)) = nearest(&file.records, bucket) {
                return Lookup::Found(Box::new(FoundRecord { record: record.clone(), origin, exact }));
            }
            reason.get_or_insert(Reason::NoBucketInReach { records: file.records.len() });
        }
        Lookup::Default(reason.unwrap_or(Reason::NoRecord { device_class }))
    }

    /// Every record file of `subject` on a device class, with its origin, in the order in which lookups ask them.
    pub fn files(
        &self,
        subject: &Subject<'_>,
        device_class: &str,
    ) -> impl Iterator<Item = (String, crate::Result<RecordFile>)> {
        let from_folder = |root: &Path| {
            let file = store::load(root, subject, device_class).transpose()?;
            let origin = match store::path(root, device_class, subject.kernel) {
                Ok(path) => path.display().to_string(),
                Err(_) => root.display().to_string(),
            };
            Some((origin, file))
        };
        let own: Vec<_> = self.folders.iter().filter_map(|root| from_folder(root)).collect();
        let of_place =
            |s: &&crate::shipped::Shipped| s.kernel == subject.kernel && s.device_class == device_class;
        let shipped = SHIPPED.iter().find(of_place).map(|shipped| {
            let origin = format!("shipped {device_class}/{}.json", subject.kernel);
            let file = RecordFile::from_json(shipped.json, &origin)
                .and_then(|file| verify(&file, subject, device_class, &origin).map(|()| file));
            (origin, file)
        });
        own.into_iter().chain(shipped)
    }
}

/// Device class and kernel of every shipped record file.
pub fn shipped_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHIPPED.iter().map(|s| (s.device_class, s.kernel))
}

/// Where a user's own records live: `TILEWRIGHT_RECORDS`, else `tilewright/records` in the XDG data folder.
#[must_use]
pub fn user_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = || set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    set("TILEWRIGHT_RECORDS").or_else(|| Some(data()?.join("tilewright").join("records")))
}

/// The record of `bucket`, or the nearest in reach; and whether it is exact.
fn nearest<'a>(records: &'a [Record], bucket: &Bucket) -> Option<(&'a Record, bool)> {
    let with_distance = records.iter().filter_map(|record| Some((distance(&record.bucket, bucket)?, record)));
    let (_, record) =
        with_distance.min_by(|(da, a), (db, b)| da.total_cmp(db).then_with(|| a.bucket.cmp(&b.bucket)))?;
    Some((record, record.bucket == *bucket))
}

/// Sum of |log2| ratios of the extents; `None` when out of reach.
fn distance(a: &Bucket, b: &Bucket) -> Option<f64> {
    if a.dtype != b.dtype || a.options != b.options || !a.extents.keys().eq(b.extents.keys()) {
        return None;
    }
    let mut sum = 0.0;
    for (&x, &y) in a.extents.values().zip(b.extents.values()) {
        let (x, y) = (x.max(1), y.max(1));
        let apart = ((x as f64).log2() - (y as f64).log2()).abs();
        let reach = if x.min(y) >= 256 { 2.0 } else { 1.0 };
        if apart > reach {
            return None;
        }
        sum += apart;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(m: i64, n: i64) -> Bucket {
        Bucket::new("f32", &[("m", m), ("n", n)])
    }

    #[test]
    fn reach_is_two_or_four() {
        assert_eq!(distance(&at(8, 512), &at(8, 512)), Some(0.0));
        assert_eq!(distance(&at(8, 512), &at(16, 2048)), Some(3.0));
        assert_eq!(distance(&at(8, 512), &at(17, 512)), None);
        assert_eq!(distance(&at(8, 512), &at(8, 2049)), None);
        assert_eq!(distance(&at(8, 128), &at(8, 512)), None);
    }

    #[test]
    fn dtype_options_and_names_must_agree() {
        let other = Bucket { dtype: "bf16".to_owned(), ..at(8, 8) };
        assert_eq!(distance(&at(8, 8), &other), None);
        assert_eq!(distance(&at(8, 8), &at(8, 8).with_option("layout", "nk")), None);
        assert_eq!(distance(&at(8, 8), &Bucket::new("f32", &[("m", 8), ("k", 8)])), None);
    }

    #[test]
    fn every_shipped_name_is_unique_and_ordered() {
        let names: Vec<_> = shipped_names().collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
