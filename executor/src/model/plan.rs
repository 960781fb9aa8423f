//! Which schedule each launch of the model uses, and who chose it.
//!
//! The first launch of a step at a number of rows looks its schedule up in the tuning records and keeps the answer; rows are
//! bucketed by powers of two, so a growing prompt does not look up again and again. Where no record fits, a product on a GPU is
//! chosen by shape and device (`tilewright_kernels::by_shape`), and every other kernel takes its default.
//! Dimensions that the problem fixes (head size, row length) are set in any case.
//!
//! The choice by shape knows edges that powers of two do not have, so products on a GPU have closer buckets: see [`Plan::bucket_rows`].

use std::collections::HashMap;
use std::rc::Rc;

use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::kernels::{complete, free_space};
use tilewright_autotune::library::{Library, Lookup, Reason};
use tilewright_autotune::problem::{Bucket, Subject};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_kernels::by_shape::Gpu;
use tilewright_kernels::host::divide;
use tilewright_runtime::Device;

use super::profile::label;
use super::runner::device;
use crate::error::Result;
use crate::forward::{KernelInfo, ScheduleSource};

/// What a lookup needs beside the kernel.
pub(super) struct Ask {
    /// The bucket of the problem as the tuner names it.
    pub(super) bucket: Bucket,
    /// Knobs that the problem fixes, record or not.
    pub(super) fixed: Vec<(&'static str, usize)>,
    /// A knob whose value must divide this: a block of keys within a page.
    pub(super) divides: Option<(&'static str, usize)>,
    /// A knob of a record whose value may not be more: parts of a result, for which there is so much memory.
    pub(super) at_most: Option<(&'static str, usize)>,
    /// What serves in place of the default.
    pub(super) by_shape: Option<Schedule>,
}

impl Ask {
    /// A question with fixed knobs only.
    pub(super) fn new(bucket: Bucket, fixed: Vec<(&'static str, usize)>) -> Self {
        Self { bucket, fixed, divides: None, at_most: None, by_shape: None }
    }
}

/// The kinds of kernel that compute a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Weights through registers, or through a core.
    Streamed,
    /// Tiles of the result.
    Tiles,
    /// Tiles of the result, K in parts.
    Split,
}

/// The schedules chosen so far.
pub(super) struct Plan {
    library: Library,
    /// Whose records serve; on a simulated GPU nobody's, and then the declared defaults do.
    device: Option<Fingerprint>,
    kind: TargetKind,
    /// What choices by shape depend on; `None` on a CPU.
    gpu: Option<Gpu>,
    chosen: HashMap<([&'static str; 2], usize), Rc<Schedule>>,
    ways: HashMap<(&'static str, usize), Kind>,
    /// In the order of first use, which is the order of the path.
    infos: Vec<KernelInfo>,
}

impl Plan {
    /// A plan for a device, with the user's records before the shipped ones.
    ///
    /// # Errors
    /// When a CUDA device has no compiler to launch anything with.
    pub(super) fn new(on: &Device) -> Result<Self> {
        let (device, kind) = (Fingerprint::of(on).map_err(device)?, on.kind());
        Ok(Self {
            library: Library::for_user(),
            device,
            kind,
            gpu: on.arch().map(|arch| Gpu { arch, n_sms: on.workers() }),
            chosen: HashMap::new(),
            ways: HashMap::new(),
            infos: Vec::new(),
        })
    }

    /// What choices by shape depend on; `None` on a CPU, where there are none.
    pub(super) const fn gpu(&self) -> Option<Gpu> {
        self.gpu
    }

    /// The most rows of the bucket that a product of `m` rows falls into: powers of two; on a GPU from 8 rows on multiples of 16, the
    /// heights of tiles, and from 128 on of 128.
    pub(super) const fn bucket_rows(&self, m: usize) -> usize {
        match (self.gpu, m) {
            (None, _) | (Some(_), ..=8) => m.next_power_of_two(),
            (Some(_), ..=128) => m.next_multiple_of(16),
            (Some(_), _) => m.next_multiple_of(128),
        }
    }

    /// The kind of kernel that computes the product `name` for `rows` rows, as `choose` says the first time.
    pub(super) fn way(
        &mut self,
        name: &'static str,
        rows: usize,
        choose: impl FnOnce(&Self) -> Kind,
    ) -> Kind {
        if let Some(known) = self.ways.get(&(name, rows)) {
            return *known;
        }
        let kind = choose(self);
        self.ways.insert((name, rows), kind);
        kind
    }

    /// Whether a record has a schedule for this kernel here.
    pub(super) fn has_record(&self, kernel: &Kernel, bucket: &Bucket) -> bool {
        self.lookup(kernel, bucket).schedule().is_some()
    }

    fn lookup(&self, kernel: &Kernel, bucket: &Bucket) -> Lookup {
        let space = free_space(kernel, self.kind);
        let source_hash = kernel.tuning(self.kind).source_hash;
        let subject = Subject { kernel: kernel.name, source_hash, space: &space };
        match &self.device {
            Some(device) => self.library.lookup(&subject, bucket, device),
            None => Lookup::Default(Reason::UnknownDevice),
        }
    }

    /// The schedule of the step `name` for `rows` rows; `ask` describes the problem the first time.
    pub(super) fn schedule(
        &mut self,
        name: &'static str,
        rows: usize,
        ask: impl FnOnce() -> (Kernel, Ask),
    ) -> Rc<Schedule> {
        self.schedule_in(["", name], rows.next_power_of_two(), ask)
    }

    /// The schedule of one kernel of the step `name` for a bucket of up to `rows` rows.
    pub(super) fn schedule_in(
        &mut self,
        [kernel, name]: [&'static str; 2],
        rows: usize,
        ask: impl FnOnce() -> (Kernel, Ask),
    ) -> Rc<Schedule> {
        let key = ([kernel, name], rows);
        if let Some(known) = self.chosen.get(&key) {
            return Rc::clone(known);
        }
        let (kernel, ask) = ask();
        let tuning = kernel.tuning(self.kind);
        let lookup = self.lookup(&kernel, &ask.bucket);
        let found = lookup.schedule().map(|free| complete(&kernel, self.kind, free));
        let value = |schedule: &Schedule, knob| schedule.get(knob).and_then(|v| usize::try_from(v).ok());
        let fits = |schedule: &Schedule| {
            tuning.knobs.legal.allows(schedule)
                && ask.divides.is_none_or(|(knob, whole)| {
                    value(schedule, knob).is_some_and(|v| whole.is_multiple_of(v))
                })
                && ask.at_most.is_none_or(|(knob, most)| value(schedule, knob).is_some_and(|v| v <= most))
        };
        let found = found.filter(fits);
        let default = match ask.divides {
            Some((knob, whole)) => divide(kernel.clone(), knob, whole).tuning(self.kind).default,
            None => tuning.default,
        };
        let source = match (&lookup, &ask.by_shape, self.gpu) {
            (Lookup::Found(record), _, _) if found.is_some() => ScheduleSource::Record(record.origin.clone()),
            (_, Some(_), Some(Gpu { arch, n_sms })) => ScheduleSource::Shape(format!("{arch}, {n_sms} SMs")),
            (Lookup::Found(_) | Lookup::Default(_), _, _) => ScheduleSource::Default,
        };
        let mut schedule = found.or(ask.by_shape).unwrap_or(default);
        for &(knob, value) in &ask.fixed {
            schedule = schedule.with(knob, i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.infos.push(KernelInfo {
            name: format!("{}, up to {rows} rows", label(kernel.name, name)),
            schedule: schedule.to_string(),
            source,
        });
        let schedule = Rc::new(schedule);
        self.chosen.insert(key, Rc::clone(&schedule));
        schedule
    }

    /// Every schedule in use, in the order of the path.
    pub(super) fn infos(&self) -> Vec<KernelInfo> {
        self.infos.clone()
    }
}
