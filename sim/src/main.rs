//! `sim`: runs a kernel of a PTX file on the CPU, or lists the forms the machine knows.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tilewright_sim::{EncodeArgs, Launch, Machine, Options, Policy, Race};

/// The PTX machine.
#[derive(Debug, Parser)]
#[command(version, about = "Runs PTX on the CPU and finds out-of-bounds accesses, races and deadlocks")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a file and list its kernels with their parameters.
    Check {
        /// PTX file.
        file: PathBuf,
    },
    /// Run one kernel.
    Run(RunArgs),
    /// List every form the machine knows.
    Forms,
}

/// When asynchronous operations take effect.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyArg {
    Eager,
    Lazy,
    Random,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// PTX file.
    file: PathBuf,
    /// Kernel name.
    #[arg(long)]
    kernel: String,
    /// Blocks: `x[,y[,z]]`.
    #[arg(long, value_parser = triple, default_value = "1")]
    grid: [u32; 3],
    /// Threads of a block: `x[,y[,z]]`.
    #[arg(long, value_parser = triple)]
    block: [u32; 3],
    /// Blocks of a cluster: `x[,y[,z]]`.
    #[arg(long, value_parser = triple)]
    cluster: Option<[u32; 3]>,
    /// Dynamic shared memory, bytes.
    #[arg(long, default_value_t = 0)]
    shared: u32,
    /// Arguments in order, with commas: a number for a scalar, `zeros:BYTES`, `f32:COUNT`, `bf16:COUNT` or
    /// `file:PATH` for a buffer, `map:ROWSxCOLUMNS:BOX_ROWSxBOX_COLUMNS:SWIZZLE` for a tensor map of random bf16.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    args: Vec<String>,
    /// When asynchronous operations take effect.
    #[arg(long, value_enum, default_value = "eager")]
    policy: PolicyArg,
    /// Seed of the warp schedule and of random buffers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Check for races.
    #[arg(long)]
    race: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Print the first values of every buffer afterwards, as f32.
    #[arg(long, default_value_t = 0)]
    show: usize,
    /// Write every buffer to DIR/INDEX.bin afterwards.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Launch this often and report the shortest time.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Worker threads; all cores when left out.
    #[arg(long)]
    threads: Option<usize>,
}

fn triple(text: &str) -> Result<[u32; 3], String> {
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split(',').collect();
    if parts.len() > 3 {
        return Err(format!("`{text}` has more than three numbers"));
    }
    for (slot, part) in out.iter_mut().zip(&parts) {
        *slot = part.parse().map_err(|_| format!("`{part}` is not a number"))?;
    }
    Ok(out)
}

fn main() -> Result<()> {
    let out = &mut std::io::stdout().lock();
    match Args::parse().command {
        Command::Check { file } => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let module = Machine::new().load(&text)?;
            for kernel in module.kernels() {
                writeln!(
                    out,
                    "{} ({} bytes of static shared memory)",
                    kernel.name, kernel.static_shared_bytes
                )?;
                for p in &kernel.params {
                    writeln!(out, "  {:>4}: {} bytes, {} {}", p.offset, p.bytes, p.ty, p.name)?;
                }
            }
            Ok(())
        }
        Command::Forms => {
            for form in tilewright_sim::forms() {
                writeln!(out, "{form}")?;
            }
            Ok(())
        }
        Command::Run(args) => run(&args, out),
    }
}

fn run(args: &RunArgs, out: &mut impl std::io::Write) -> Result<()> {
    let text =
        std::fs::read_to_string(&args.file).with_context(|| format!("reading {}", args.file.display()))?;
    let mut machine = Machine::new();
    let module = machine.load(&text)?;
    let info = module.kernel(&args.kernel)?;
    if info.params.len() != args.args.len() {
        bail!("`{}` takes {} arguments, {} were given", info.name, info.params.len(), args.args.len());
    }
    let mut params = vec![0; info.param_bytes as usize];
    let mut buffers = Vec::new();
    for (i, (param, text)) in info.params.iter().zip(&args.args).enumerate() {
        let bits = if let Some(rest) = text.strip_prefix("map:") {
            let (map, addr, bytes) = tensor_map(&mut machine, rest, args.seed + i as u64)
                .with_context(|| format!("argument {i}: `{text}`"))?;
            buffers.push((i, addr, bytes));
            let at = param.offset as usize;
            params[at..at + map.len()].copy_from_slice(&map);
            continue;
        } else if let Some((kind, rest)) = text.split_once(':') {
            let data = buffer(kind, rest, args.seed + i as u64)?;
            let addr = machine.alloc(data.len() as u64, &format!("argument {i}"));
            machine.write(addr, &data)?;
            buffers.push((i, addr, data.len()));
            addr
        } else if param.ty.starts_with('f') {
            let value: f64 =
                text.parse().with_context(|| format!("argument {i}: `{text}` is not a number"))?;
            if param.bytes == 4 { u64::from((value as f32).to_bits()) } else { value.to_bits() }
        } else {
            text.parse::<i64>().with_context(|| format!("argument {i}: `{text}` is not an integer"))? as u64
        };
        let at = param.offset as usize;
        let n = (param.bytes as usize).min(8);
        params[at..at + n].copy_from_slice(&bits.to_le_bytes()[..n]);
    }
    let options = Options {
        policy: match args.policy {
            PolicyArg::Eager => Policy::Eager,
            PolicyArg::Lazy => Policy::Lazy,
            PolicyArg::Random => Policy::Random,
        },
        seed: args.seed,
        race: if args.race { Race::On } else { Race::Off },
        threads: args.threads,
        ..Options::default()
    };
    let launch = Launch {
        grid: args.grid,
        block: args.block,
        cluster: args.cluster,
        dynamic_shared_bytes: args.shared,
        options,
    };
    let mut best = f64::INFINITY;
    let mut report = None;
    for _ in 0..args.repeat.max(1) {
        let start = Instant::now();
        report = Some(machine.launch(&module, &args.kernel, &launch, &params)?);
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    let report = report.context("a launch should have happened")?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{report}")?;
        if args.repeat > 1 {
            writeln!(out, "shortest of {} launches: {best:.3} ms", args.repeat)?;
        }
    }
    for (i, addr, bytes) in buffers {
        let mut data = vec![0; bytes];
        machine.read(addr, &mut data)?;
        if let Some(dir) = &args.dump {
            let path = dir.join(format!("{i}.bin"));
            std::fs::write(&path, &data).with_context(|| format!("writing {}", path.display()))?;
        }
        data.truncate(4 * args.show);
        let values: Vec<f32> = data.as_chunks::<4>().0.iter().map(|&c| f32::from_le_bytes(c)).collect();
        if !values.is_empty() {
            writeln!(out, "argument {i}: {values:?}")?;
        }
    }
    if !report.is_clean() {
        bail!("{} finding(s)", report.findings.len());
    }
    Ok(())
}

/// A buffer and the map of it: `ROWSxCOLUMNS:BOX_ROWSxBOX_COLUMNS:SWIZZLE_BYTES`, random bf16.
fn tensor_map(machine: &mut Machine, text: &str, seed: u64) -> Result<([u8; 128], u64, usize)> {
    let parts: Vec<&str> = text.split(':').collect();
    let [shape, tile, swizzle] = parts[..] else {
        bail!("a map is `map:ROWSxCOLUMNS:BOX_ROWSxBOX_COLUMNS:SWIZZLE`")
    };
    let pair = |text: &str| -> Result<[u64; 2]> {
        let (rows, columns) =
            text.split_once('x').with_context(|| format!("`{text}` is not `ROWSxCOLUMNS`"))?;
        Ok([rows.parse()?, columns.parse()?])
    };
    let ([rows, columns], [box_rows, box_columns]) = (pair(shape)?, pair(tile)?);
    let swizzle = match swizzle {
        "0" => 0,
        "32" => 1,
        "64" => 2,
        "128" => 3,
        _ => bail!("a swizzle of `{swizzle}` bytes; 0, 32, 64 or 128 are possible"),
    };
    let data = buffer("bf16", &(rows * columns).to_string(), seed)?;
    let addr = machine.alloc(data.len() as u64, "map");
    machine.write(addr, &data)?;
    let map = machine.encode_tensor_map(&EncodeArgs {
        map_address: 0,
        data_type: 9,
        rank: 2,
        global_address: addr,
        global_dim: &[columns, rows],
        global_strides: &[2 * columns],
        box_dim: &[box_columns as u32, box_rows as u32],
        element_strides: &[1, 1],
        interleave: 0,
        swizzle,
        l2_promotion: 0,
        oob_fill: 0,
    })?;
    Ok((map, addr, data.len()))
}

/// The bytes of a buffer argument; random values lie in [-1, 1).
fn buffer(kind: &str, rest: &str, seed: u64) -> Result<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    if kind == "file" {
        return std::fs::read(rest).with_context(|| format!("reading {rest}"));
    }
    let count: usize = rest.parse().with_context(|| format!("`{rest}` is not a length"))?;
    Ok(match kind {
        "zeros" => vec![0; count],
        "f32" => (0..count).flat_map(|_| random().to_le_bytes()).collect(),
        "bf16" => (0..count).flat_map(|_| half::bf16::from_f32(random()).to_le_bytes()).collect(),
        _ => bail!("`{kind}` is not a kind of buffer: zeros, f32, bf16 or file"),
    })
}
