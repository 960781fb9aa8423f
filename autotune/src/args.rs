//! The command line of `autotune`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use tilewright_autotune::search::Strategy;

/// Finds the fastest schedule of each kernel on this machine, and keeps it as a record.
#[derive(Parser, Debug)]
#[command(name = "autotune", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List the kernels, what each can be tuned for, and what is recorded for this machine
    List,
    /// Search the schedules of a kernel and record the fastest
    Tune(Tune),
    /// Show the records that apply to this machine
    Show(Show),
    /// Check the declared configurations of a kernel against its reference, on a simulated GPU for one
    Verify(Verify),
    /// Show what this machine has for GPUs, what is missing, and what to install
    Doctor(DoctorArgs),
}

#[derive(ClapArgs, Debug)]
pub(crate) struct DoctorArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Tune {
    /// Kernel to tune, or `all`
    pub kernel: String,
    /// Extents of the problem, such as `m=128,n=4096`; without it, the kernel's own list of buckets is tuned
    #[arg(long, value_name = "NAME=N,...", value_parser = parse_shape)]
    pub shape: Option<BTreeMap<String, i64>>,
    /// Element type; without it, the first that the kernel supports, or with no shape either every one in its list
    #[arg(long)]
    pub dtype: Option<String>,
    /// Compile-time option of the kernel, such as `layout=nk`; may be repeated
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = parse_option)]
    pub options: Vec<(String, String)>,
    /// Device to tune on
    #[arg(long, value_name = "cpu|sim[:ARCH]|cuda[:N]", default_value = "cpu")]
    pub device: DeviceKind,
    /// Seconds for the whole command
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = parse_budget)]
    pub budget: f64,
    /// Order in which schedules are tried
    #[arg(long, value_enum, default_value_t = SearchKind::Exhaustive)]
    pub search: SearchKind,
    /// Seed of the random search and of the inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Most schedules to try per problem
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_candidates: Option<u32>,
    /// Folder of records; without it, your own records (TILEWRIGHT_RECORDS, or the XDG data folder)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure and report, but record nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Show {
    /// Kernel to show; without it, all
    pub kernel: Option<String>,
    /// Device whose records to show
    #[arg(long, value_name = "cpu|sim[:ARCH]|cuda[:N]", default_value = "cpu")]
    pub device: DeviceKind,
    /// Folder of records to read instead of your own
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(ClapArgs, Debug)]
pub(crate) struct Verify {
    /// Kernel to check, or `all`
    pub kernel: String,
    /// Extents of the problem, such as `m=128,n=4096`; without it, a small shape of the kernel's own
    #[arg(long, value_name = "NAME=N,...", value_parser = parse_shape)]
    pub shape: Option<BTreeMap<String, i64>>,
    /// Element type; without it, the first that the kernel supports
    #[arg(long)]
    pub dtype: Option<String>,
    /// Compile-time option of the kernel, such as `layout=nk`; may be repeated
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = parse_option)]
    pub options: Vec<(String, String)>,
    /// Device whose configurations to check: cpu, sim, sim:ARCH or cuda:N
    #[arg(long, default_value = "sim")]
    pub device: String,
    /// Most configurations per kernel; more are sampled, the corners of the space first
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub limit: usize,
    /// One configuration to check, such as `BM=64,BN=128,warps=8`; what it leaves out is as in the default
    #[arg(long, value_name = "NAME=N,...", value_parser = parse_shape, conflicts_with = "limit")]
    pub config: Option<BTreeMap<String, i64>>,
    /// Orders of warps under which a simulated GPU runs each configuration, for each of three ways in which asynchronous
    /// operations may finish
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub seeds: u32,
    /// Leave out the detection of races on a simulated GPU, for speed
    #[arg(long)]
    pub no_races: bool,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// A kind of device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DeviceKind {
    /// This machine's processor.
    Cpu,
    /// A simulated GPU.
    Sim,
    /// The CUDA device of this number.
    Cuda(u32),
}

const DEVICES: &str = "possible values: cpu, sim, sim:ARCH, cuda, cuda:N";

impl std::fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Sim => f.write_str("sim"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl std::str::FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("cpu", "") => Ok(Self::Cpu),
            ("sim", _) => Ok(Self::Sim),
            ("cuda", "") => Ok(Self::Cuda(0)),
            ("cuda", n) => n.parse().map(Self::Cuda).map_err(|_| DEVICES.to_owned()),
            _ => Err(DEVICES.to_owned()),
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SearchKind {
    /// Every legal schedule
    Exhaustive,
    /// Legal schedules at random, none twice
    Random,
}

impl SearchKind {
    /// The library's name for it.
    pub(crate) const fn strategy(self) -> Strategy {
        match self {
            Self::Exhaustive => Strategy::Exhaustive,
            Self::Random => Strategy::Random,
        }
    }
}

fn parse_shape(text: &str) -> Result<BTreeMap<String, i64>, String> {
    let mut extents = BTreeMap::new();
    for part in text.split(',') {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("`{part}` should be NAME=N, as in m=128,n=4096"));
        };
        let (name, value) = (name.trim(), value.trim());
        let number: i64 = value
            .parse()
            .map_err(|_| format!("extent `{name}` should be a whole number, found `{value}`"))?;
        if name.is_empty() {
            return Err(format!("`{part}` has no name before `=`; write it as in m=128,n=4096"));
        }
        // Which extents may be 0 is the kernel's business: a prompt without a past, say.
        if number < 0 {
            return Err(format!("extent `{name}` should not be negative, found {number}"));
        }
        if extents.insert(name.to_owned(), number).is_some() {
            return Err(format!("extent `{name}` is given twice"));
        }
    }
    Ok(extents)
}

fn parse_option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some(_) | None => Err(format!("`{text}` should be NAME=VALUE, as in layout=nk")),
    }
}

fn parse_budget(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` should be a number of seconds"))?;
    if seconds.is_finite() && seconds > 0.0 {
        Ok(seconds)
    } else {
        Err(format!("the budget should be more than 0 seconds, found {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn shapes_parse_or_say_why_not() {
        let shape = parse_shape("m=128, n=7").expect("shape should parse");
        assert_eq!(shape, [("m".to_owned(), 128), ("n".to_owned(), 7)].into());
        for (text, message) in [
            ("m", "`m` should be NAME=N"),
            ("m=x", "extent `m` should be a whole number, found `x`"),
            ("m=-1", "extent `m` should not be negative, found -1"),
            ("m=1,m=2", "extent `m` is given twice"),
            ("=4", "has no name before `=`"),
        ] {
            let error = parse_shape(text).expect_err("shape should be refused");
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn budgets_are_positive() {
        assert_eq!(parse_budget("2.5"), Ok(2.5));
        for text in ["0", "-1", "nan", "inf", "x"] {
            assert!(parse_budget(text).is_err(), "{text}");
        }
    }
}
