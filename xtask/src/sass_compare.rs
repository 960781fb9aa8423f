//! `cargo xtask sass-compare`: how many instructions our kernels spend per unit of matrix work, beside hand-written skeletons and
//! Triton's kernels, in machine code for sm_90a and sm_80.
//!
//! Nothing runs, so no GPU is needed. Each side is compiled, disassembled, and judged by its steady-state loop ([`steady`]); per contest
//! the best of each side counts, and the closing line says our ratio to the better of the two others. Over 1 is a failure.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tilewright_codegen::target::Arch;
use tilewright_runtime::cuda::nvrtc::Nvrtc;
use tilewright_runtime::cuda::sass::{count_opcode, sass};

mod flow;
mod listing;
mod sources;
mod steady;
#[cfg(test)]
mod tests;

use listing::Function;
use sources::{Author, CONTESTS, Contest, Entrant, Triton};
use steady::{Class, Pass, passes};

use crate::test::root;

struct Args {
    json: Option<PathBuf>,
    keep: Option<PathBuf>,
    skeletons: Option<PathBuf>,
    triton: Peer,
    contests: Vec<&'static Contest>,
}

/// Whether a peer takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    In,
    Out,
}

/// A kernel with what was found of it.
struct Row {
    contest: &'static Contest,
    author: Author,
    label: String,
    registers: u32,
    /// Loads and stores of local memory in the whole kernel.
    local_accesses: usize,
    /// The steady state first.
    passes: Vec<Pass>,
}

impl Row {
    fn steady(&self) -> &Pass {
        &self.passes[0]
    }

    fn json(&self) -> Value {
        let pass = |pass: &Pass| {
            let counts = Class::ALL.map(|class| (class.name().to_owned(), json!(pass.count(class))));
            json!({
                "instructions": pass.instructions.len(),
                "multiply_adds": pass.multiply_adds,
                "unit": pass.scope.unit(),
                "units": pass.units(),
                "instructions_per_unit": pass.instructions_per_unit(),
                "counts": serde_json::Map::from_iter(counts),
            })
        };
        json!({
            "contest": self.contest.name,
            "arch": self.contest.arch.name(),
            "author": self.author.name(),
            "label": self.label,
            "registers": self.registers,
            "local_accesses": self.local_accesses,
            "steady": pass(self.steady()),
            "other_loops": self.passes[1..].iter().map(pass).collect::<Vec<_>>(),
        })
    }
}

/// What one contest came to.
struct Verdict {
    contest: &'static Contest,
    ours: f64,
    /// The better of the others, and who.
    peer: Option<(f64, Author)>,
}

impl Verdict {
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|(peer, _)| self.ours / peer)
    }
}

/// `cargo xtask sass-compare [--json FILE] [--skeletons DIR] [--no-triton] [--only WORD] [--keep DIR]`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args = parse(args)?;
    if std::env::var_os("TILEWRIGHT_NVRTC").is_none() {
        crate::nvrtc::fetch()?;
    }
    Nvrtc::get().context("the comparison needs NVIDIA's run-time compiler")?;
    let scratch = root().join("target/sass-compare");
    fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
    let skeletons = skeleton_folder(args.skeletons.as_deref());
    let triton = if args.triton == Peer::In { triton(&args.contests) } else { Vec::new() };
    let mut rows: Vec<Row> = Vec::new();
    for &contest in &args.contests {
        let mut entrants = sources::ours(contest)?;
        if let Some(folder) = &skeletons {
            entrants.extend(sources::skeleton(contest, folder)?);
        }
        if let Some(triton) = triton.iter().find(|t| t.arch() == contest.arch) {
            entrants.extend(triton.entrants(contest)?);
        }
        for (number, entrant) in entrants.into_iter().enumerate() {
            rows.push(judge(contest, entrant, number, &scratch, args.keep.as_deref())?);
        }
    }
    print!("{}", table(&rows));
    let verdicts: Vec<Verdict> = args.contests.iter().map(|contest| verdict(contest, &rows)).collect();
    if let Some(path) = &args.json {
        let report = json!({
            "command": "cargo xtask sass-compare",
            "triton": triton.first().map(|t| t.version().to_owned()),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "verdicts": verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        });
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    println!("{}", closing_line(&verdicts));
    let over = verdicts.iter().filter(|v| v.ratio().is_some_and(|ratio| ratio > 1.0)).count();
    if over > 0 {
        bail!("{over} of {} kernels spend more instructions than the better of their peers", verdicts.len());
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<Args> {
    let mut parsed = Args {
        json: None,
        keep: None,
        skeletons: None,
        triton: Peer::In,
        contests: CONTESTS.iter().collect(),
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut value = || rest.next().with_context(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--json" => parsed.json = Some(value()?.into()),
            "--keep" => parsed.keep = Some(value()?.into()),
            "--skeletons" => parsed.skeletons = Some(value()?.into()),
            "--no-triton" => parsed.triton = Peer::Out,
            "--only" => {
                let word = value()?;
                parsed.contests.retain(|c| format!("{} {}", c.arch, c.name).contains(word.as_str()));
                if parsed.contests.is_empty() {
                    let all: Vec<String> =
                        CONTESTS.iter().map(|c| format!("{} {}", c.arch, c.name)).collect();
                    bail!("nothing is called `{word}`; there are {}", all.join(", "));
                }
            }
            other => bail!("unknown argument `{other}` of sass-compare"),
        }
    }
    Ok(parsed)
}

/// The folder of the skeletons, named or beside the workspace; without one the comparison goes on.
fn skeleton_folder(given: Option<&Path>) -> Option<PathBuf> {
    let folder = given.map_or_else(|| root().join("../shared/skeletons"), Path::to_owned);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: the skeletons, since {} is no folder (--skeletons DIR names it)", folder.display());
    None
}

/// Triton's kernels for every architecture of the contests; without Triton the comparison goes on.
fn triton(contests: &[&'static Contest]) -> Vec<Triton> {
    let python =
        match crate::bench::environment("TILEWRIGHT_TRITON_PYTHON", "triton", "requirements-triton.txt") {
            Ok(python) => python,
            Err(error) => {
                eprintln!("skipped: Triton, since its environment could not be made: {error:#}");
                return Vec::new();
            }
        };
    let mut arches: Vec<Arch> = contests.iter().map(|c| c.arch).collect();
    arches.sort_unstable();
    arches.dedup();
    let compile = |arch| match Triton::compile(&python, arch) {
        Ok(triton) => Some(triton),
        Err(error) => {
            eprintln!("skipped: Triton for {arch}: {error:#}");
            None
        }
    };
    arches.into_iter().filter_map(compile).collect()
}

/// Disassembles a kernel and finds its steady state.
fn judge(
    contest: &'static Contest,
    entrant: Entrant,
    number: usize,
    scratch: &Path,
    keep: Option<&Path>,
) -> Result<Row> {
    let who = format!("{} {} {}", contest.arch, contest.name, entrant.label);
    let text = sass(&entrant.cubin).with_context(|| who.clone())?;
    let functions = listing::functions(&text).with_context(|| who.clone())?;
    let mut found: Option<(Function, Vec<Pass>)> = None;
    for function in functions {
        let all = passes(&function).with_context(|| who.clone())?;
        if !all.is_empty() && found.replace((function, all)).is_some() {
            bail!("{who}: two functions have matrix loops");
        }
    }
    let (function, passes) = found.with_context(|| format!("{who}: no loop holds matrix instructions"))?;
    let registers = sources::registers(&entrant.cubin, &scratch.join("kernel.cubin"))?;
    let local_accesses = ["LDL", "STL"].iter().map(|prefix| count_opcode(&text, prefix)).sum();
    if let Some(folder) = keep {
        let name = format!("{}-{}-{}-{number}", contest.arch, contest.name, entrant.author.name());
        let name = name.replace(' ', "_");
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let write = |extension: &str, text: &str| {
            let path = folder.join(format!("{name}.{extension}"));
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("sass", &text)?;
        write("loop", &excerpt(&function, &passes[0], entrant.source.as_deref()))?;
        if let Some(source) = &entrant.source {
            write("cu", source)?;
        }
    }
    Ok(Row { contest, author: entrant.author, label: entrant.label, registers, local_accesses, passes })
}

/// The instructions of a pass, each run of them under the source line that it is from.
fn excerpt(function: &Function, pass: &Pass, source: Option<&str>) -> String {
    let lines: Vec<&str> = source.unwrap_or_default().lines().collect();
    let (mut out, mut last) = (String::new(), "");
    for &i in &pass.instructions {
        let instruction = &function.instructions[i];
        if instruction.line != last {
            last = &instruction.line;
            let number = last.rsplit(':').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            let code = number.checked_sub(1).and_then(|n| lines.get(n)).map_or("", |line| line.trim());
            out.push_str(&format!("// {last} {code}\n"));
        }
        let class = Class::of(instruction).name();
        out.push_str(&format!(
            "  {:04x} {class:8} {:5} {} {}\n",
            instruction.address, instruction.predicate, instruction.opcode, instruction.operands
        ));
    }
    out
}

fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        [
            "kernel",
            "by",
            "loop",
            "matrix",
            "units",
            "per unit",
            "barrier",
            "move",
            "integer",
            "float",
            "memory",
            "other",
            "spills",
            "registers",
            "schedule",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in rows {
        let pass = row.steady();
        let count = |class| pass.count(class).to_string();
        let rest = pass.count(Class::Control) + pass.count(Class::Other);
        lines.push(vec![
            format!("{} {}", row.contest.arch, row.contest.name),
            row.author.name().to_owned(),
            pass.instructions.len().to_string(),
            count(Class::Matrix),
            format!("{:.2} {}", pass.units(), pass.scope.unit()),
            format!("{:.2}", pass.instructions_per_unit()),
            count(Class::Barrier),
            count(Class::Move),
            count(Class::Integer),
            count(Class::Float),
            count(Class::Memory),
            rest.to_string(),
            format!("{}/{}", pass.count(Class::Spill), row.local_accesses),
            row.registers.to_string(),
            row.label.clone(),
        ]);
    }
    let n_columns = lines[0].len();
    let width = |c: usize| lines.iter().map(|line| line[c].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let line = |cells: &Vec<String>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, w)| format!("{cell:w$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

/// The best of each side of a contest.
fn verdict(contest: &'static Contest, rows: &[Row]) -> Verdict {
    let best = |author: Author| {
        let of_author = |row: &&Row| std::ptr::eq(row.contest, contest) && row.author == author;
        rows.iter().filter(of_author).map(|row| row.steady().instructions_per_unit()).reduce(f64::min)
    };
    let peers = [Author::Skeleton, Author::Triton];
    let peer = peers.into_iter().filter_map(|author| Some((best(author)?, author)));
    Verdict {
        contest,
        ours: best(Author::Ours).unwrap_or(f64::INFINITY),
        peer: peer.min_by(|(a, _), (b, _)| a.total_cmp(b)),
    }
}

fn verdict_json(verdict: &Verdict) -> Value {
    json!({
        "contest": verdict.contest.name,
        "arch": verdict.contest.arch.name(),
        "ours": verdict.ours,
        "better_peer": verdict.peer.map(|(_, author)| author.name()),
        "peer": verdict.peer.map(|(peer, _)| peer),
        "ratio": verdict.ratio(),
    })
}

/// Our ratio to the better of the two others, contest by contest.
fn closing_line(verdicts: &[Verdict]) -> String {
    let words = verdicts.iter().map(|v| {
        let name = format!("{} {}", v.contest.arch, v.contest.name);
        match (v.ratio(), v.peer) {
            (Some(ratio), Some((_, author))) => format!("{name} {ratio:.2} of {}", author.name()),
            _ => format!("{name} alone"),
        }
    });
    format!("instructions per unit: {}", words.collect::<Vec<_>>().join(", "))
}
