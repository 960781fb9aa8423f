//! Which schedule each launch of the model uses, and who chose it.
//!
//! The first launch of a step at a number of rows looks its schedule up in the tuning records and keeps the answer; rows are
//! bucketed by powers of two, so a growing prompt does not look up again and again. Where no record fits, the kernel's default
//! serves. Dimensions that the problem fixes (head size, row length) are set in either case.

use std::collections::HashMap;
use std::rc::Rc;

use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::kernels::{complete, free_space};
use tilewright_autotune::library::{Library, Lookup, Reason};
use tilewright_autotune::problem::{Bucket, Subject};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Schedule, TargetKind};
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
}

impl Ask {
    /// A question with fixed knobs only.
    pub(super) fn new(bucket: Bucket, fixed: Vec<(&'static str, usize)>) -> Self {
        Self { bucket, fixed, divides: None }
    }
}

/// The schedules chosen so far.
pub(super) struct Plan {
    library: Library,
    /// Whose records serve; on a simulated GPU nobody's, and then the declared defaults do.
    device: Option<Fingerprint>,
    kind: TargetKind,
    chosen: HashMap<(&'static str, u32), Rc<Schedule>>,
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
        Ok(Self { library: Library::for_user(), device, kind, chosen: HashMap::new(), infos: Vec::new() })
    }

    /// The schedule of the step `name` for `rows` rows; `ask` describes the problem the first time.
    pub(super) fn schedule(
        &mut self,
        name: &'static str,
        rows: usize,
        ask: impl FnOnce() -> (Kernel, Ask),
    ) -> Rc<Schedule> {
        let key = (name, rows.next_power_of_two().trailing_zeros());
        if let Some(known) = self.chosen.get(&key) {
            return Rc::clone(known);
        }
        let (kernel, ask) = ask();
        let (tuning, space) = (kernel.tuning(self.kind), free_space(&kernel, self.kind));
        let subject = Subject { kernel: kernel.name, source_hash: tuning.source_hash, space: &space };
        let lookup = match &self.device {
            Some(device) => self.library.lookup(&subject, &ask.bucket, device),
            None => Lookup::Default(Reason::UnknownDevice),
        };
        let found = lookup.schedule().map(|free| complete(&kernel, self.kind, free));
        let found = found.filter(|schedule| tuning.knobs.legal.allows(schedule)).filter(|schedule| match ask
            .divides
        {
            Some((knob, whole)) => schedule
                .get(knob)
                .and_then(|v| usize::try_from(v).ok())
                .is_some_and(|v| whole.is_multiple_of(v)),
            None => true,
        });
        let default = match ask.divides {
            Some((knob, whole)) => divide(kernel.clone(), knob, whole).tuning(self.kind).default,
            None => tuning.default,
        };
        let source = match &lookup {
            Lookup::Found(record) if found.is_some() => ScheduleSource::Record(record.origin.clone()),
            Lookup::Found(_) | Lookup::Default(_) => ScheduleSource::Default,
        };
        let mut schedule = found.unwrap_or(default);
        for &(knob, value) in &ask.fixed {
            schedule = schedule.with(knob, i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.infos.push(KernelInfo {
            name: format!("{}, up to {} rows", label(kernel.name, name), rows.next_power_of_two()),
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
