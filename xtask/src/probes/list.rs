//! The probes, by what they ask.

use super::probe::{Arg, Compare, File, Probe};

mod copies;
mod lanes;
mod numbers;
mod products;

/// All probes.
pub(super) fn all() -> Vec<Probe> {
    [products::all(), copies::all(), numbers::all(), lanes::all()].concat()
}

/// Compute capabilities that probes need.
const AMPERE: u32 = 80;
const ADA: u32 = 89;
const HOPPER: u32 = 90;

/// The file of this name under `gpu/probes`.
macro_rules! file {
    ($name:literal) => {
        File { name: $name, source: include_str!(concat!("../../../../gpu/probes/", $name, ".cu")) }
    };
}
use file;

/// A probe of one block, compared bit for bit.
fn probe(
    file: &'static File,
    kernel: &'static str,
    case: &str,
    needs: u32,
    threads: u32,
    args: Vec<Arg>,
) -> Probe {
    let space = if case.is_empty() { "" } else { " " };
    Probe {
        name: format!("{} {kernel}{space}{case}", file.name),
        file,
        kernel,
        needs,
        grid: 1,
        threads,
        shared_bytes: 0,
        args,
        compare: Compare::Exact,
        expected: None,
    }
}
