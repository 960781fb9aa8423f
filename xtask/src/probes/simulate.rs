//! Probes in the machine.

use anyhow::{Context, Result, bail};
use tilewright_runtime::cuda::tensor_map::TensorMap;
use tilewright_runtime::gpu::sim_maps::encode_args;
use tilewright_sim::{Launch, Machine, Options, Policy, Report};

use super::probe::{Arg, Probe};

/// Runs a probe's PTX; what it gives, and what the machine found.
pub(super) fn run(probe: &Probe, ptx: &str, policy: Policy, seed: u64) -> Result<(Vec<u8>, Report)> {
    let mut machine = Machine::new();
    let module = machine.load(ptx).with_context(|| format!("loading {}", probe.name))?;
    let info = module.kernel(probe.kernel)?;
    if info.params.len() != probe.args.len() {
        bail!("{}: {} parameters, {} arguments", probe.name, info.params.len(), probe.args.len());
    }
    let mut params = vec![0; info.param_bytes as usize];
    let mut shown = Vec::new();
    for (param, arg) in info.params.iter().zip(&probe.args) {
        let buffer = |machine: &mut Machine, bytes: &[u8]| -> Result<u64> {
            let addr = machine.alloc(bytes.len() as u64, &param.name);
            machine.write(addr, bytes)?;
            Ok(addr)
        };
        let bytes = match arg {
            Arg::In(data) => buffer(&mut machine, data)?.to_le_bytes().to_vec(),
            Arg::Out(n) => {
                let addr = buffer(&mut machine, &vec![0; *n])?;
                shown.push((addr, *n));
                addr.to_le_bytes().to_vec()
            }
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::Map(data, of) | Arg::MapOut(data, of) => {
                let addr = buffer(&mut machine, data)?;
                if matches!(arg, Arg::MapOut(..)) {
                    shown.push((addr, data.len()));
                }
                encode(&machine, &of.map(addr))?.to_vec()
            }
        };
        let at = param.offset as usize;
        if bytes.len() != param.bytes as usize {
            bail!("{}: `{}` has {} bytes, not {}", probe.name, param.name, param.bytes, bytes.len());
        }
        params[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    let launch = Launch {
        grid: [probe.grid, 1, 1],
        block: [probe.threads, 1, 1],
        cluster: None,
        dynamic_shared_bytes: probe.shared_bytes,
        options: Options { policy, seed, threads: Some(1), ..Options::default() },
    };
    let report = machine.launch(&module, probe.kernel, &launch, &params)?;
    let mut out = Vec::new();
    for (addr, n) in shown {
        let mut bytes = vec![0; n];
        machine.read(addr, &mut bytes)?;
        out.extend(bytes);
    }
    Ok((out, report))
}

fn encode(machine: &Machine, map: &TensorMap) -> Result<[u8; 128]> {
    Ok(machine.encode_tensor_map(&encode_args(map))?)
}
