//! Which schedule each launch of the model uses, and who chose it.
//!
//! The first launch of a step at a number of rows looks its schedule up in the tuning records and keeps the answer; rows are
//! bucketed by powers of two, so a growing prompt does not look up again and again. Where no record fits, the kernel's default
//! serves. Dimensions that the problem fixes (head size, row length) are set in either case.

use std::collections::HashMap;
use std::rc::Rc;

use tilewright_autotune::fingerprint::Fingerprint;
use tilewright_autotune::kernels::{complete, free_space};
use tilewright_autotune::library::{Library, Lookup};
use tilewright_autotune::problem::{Bucket, Subject};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_kernels::host::divide;

use super::profile::label;
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
    device: Fingerprint,
    chosen: HashMap<(&'static str, u32), Rc<Schedule>>,
    /// In the order of first use, which is the order of the path.
    infos: Vec<KernelInfo>,
}

impl Plan {
    /// A plan for this machine's CPU, with the user's records before the shipped ones.
    pub(super) fn for_cpu() -> Self {
        Self {
            library: Library::for_user(),
            device: Fingerprint::host_cpu(),
            chosen: HashMap::new(),
            infos: Vec::new(),
        }
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
        let space = free_space(&kernel);
        let subject = Subject { kernel: kernel.name, source_hash: kernel.source.hash, space: &space };
        let lookup = self.library.lookup(&subject, &ask.bucket, &self.device);
        let found = lookup.schedule().map(|free| complete(&kernel, free));
        let found = found.filter(kernel.knobs.legal).filter(|schedule| match ask.divides {
            Some((knob, whole)) => schedule
                .get(knob)
                .and_then(|v| usize::try_from(v).ok())
                .is_some_and(|v| whole.is_multiple_of(v)),
            None => true,
        });
        let default = match ask.divides {
            Some((knob, whole)) => divide(kernel.clone(), knob, whole).default,
            None => kernel.default.clone(),
        };
        let mut schedule = found.unwrap_or(default);
        for &(knob, value) in &ask.fixed {
            schedule = schedule.with(knob, i64::try_from(value).unwrap_or(i64::MAX));
        }
        let source = match &lookup {
            Lookup::Found(found) => ScheduleSource::Record(found.origin.clone()),
            Lookup::Default(_) => ScheduleSource::Default,
        };
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
