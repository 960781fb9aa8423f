//! Every instruction that synchronises or stages, taken out, one at a time: mutants that nobody chose.
//!
//! Some deletions change nothing that a schedule could show (a barrier before which nothing was written, the last release of a
//! stage). They survive, and are printed to be read; `docs/sim.md` says what was found of them.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tilewright_sim::{Policy, Race};

use super::hunt::HUNT;
use super::zoo::{ALL, Bench, Subject};
use crate::ptx::Ptx;
use crate::verdict::{Plan, Verdict};

/// How the instructions in question begin.
const DELETED: [&str; 12] = [
    "bar.sync",
    "bar.warp.sync",
    "fence",
    "mbarrier.init",
    "mbarrier.arrive",
    "cp.async",
    "wgmma.fence",
    "wgmma.commit",
    "wgmma.wait",
    "st.shared",
    "stmatrix",
    "membar",
];

/// An instruction to take out: its kernel, its place, its text.
type Deletion = (String, usize, String);

/// Tries all deletions of all kernels, and prints those that nothing catches.
pub(super) fn run() -> Result<()> {
    let (mut n, mut n_caught) = (0, 0);
    for subject in ALL {
        let deletions = deletions(subject)?;
        let survived = super::beside(&deletions, |deletion| survives(subject, deletion));
        for (survived, (kernel, _, text)) in survived.into_iter().zip(&deletions) {
            n += 1;
            match survived? {
                true => println!("{} survives without {kernel}: {text}", subject.name),
                false => n_caught += 1,
            }
        }
    }
    println!("{n_caught} of {n} deletions are caught");
    Ok(())
}

fn deletions(subject: &Subject) -> Result<Vec<Deletion>> {
    let found: Arc<Mutex<Vec<Deletion>>> = Arc::default();
    let list = Arc::clone(&found);
    let look = move |kernel: &str, ptx: &str| {
        let parsed = Ptx::parse(ptx).map_err(|e| e.to_string())?;
        let wanted =
            parsed.instructions().filter(|(_, i)| DELETED.iter().any(|start| i.op.starts_with(start)));
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        list.extend(wanted.map(|(at, inst)| (kernel.to_owned(), at, inst.print())));
        Ok(ptx.to_owned())
    };
    Bench::new(subject, Box::new(look))?.run(Plan::new(Policy::Eager, 0, Race::Off));
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(found)
}

fn survives(subject: &Subject, (kernel, at, _): &Deletion) -> Result<bool> {
    let (kernel, at) = (kernel.clone(), *at);
    let delete = move |name: &str, ptx: &str| {
        if name != kernel {
            return Ok(ptx.to_owned());
        }
        let mut parsed = Ptx::parse(ptx).map_err(|e| e.to_string())?;
        parsed.remove(at);
        Ok(parsed.print())
    };
    let mut bench = Bench::new(subject, Box::new(delete))?;
    Ok(HUNT.into_iter().all(|plan| bench.run(plan) == Verdict::Right))
}
