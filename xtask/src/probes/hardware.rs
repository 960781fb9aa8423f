//! Probes on a CUDA device.

#![allow(unsafe_code, reason = "launches kernels")]

use std::ffi::c_void;

use anyhow::{Context as _, Result};
use tilewright_runtime::cuda::context::{Context, Fill, Memory};
use tilewright_runtime::cuda::module::{LaunchShape, Module, encode};
use tilewright_runtime::cuda::stream::CudaStream;

use super::probe::{Arg, Probe};

/// A parameter: 128 bytes at a multiple of 64 hold any.
#[repr(C, align(64))]
struct Param([u8; 128]);

/// Runs a probe's machine code; what it gives.
pub(super) fn run(probe: &Probe, cubin: &[u8], stream: &CudaStream) -> Result<Vec<u8>> {
    let context = stream.context();
    let function = Module::load(context, cubin)?.function(probe.kernel)?;
    if probe.shared_bytes > 48 << 10 {
        function.allow_dynamic_shared(probe.shared_bytes)?;
    }
    let mut buffers: Vec<Memory> = Vec::new();
    let mut shown = Vec::new();
    let mut params: Vec<Param> = Vec::new();
    for arg in &probe.args {
        let mut param = Param([0; 128]);
        let mut put = |bytes: &[u8]| param.0[..bytes.len()].copy_from_slice(bytes);
        match arg {
            Arg::In(data) => put(&buffer(context, stream, data, &mut buffers)?.to_le_bytes()),
            Arg::Out(n) => {
                put(&buffer(context, stream, &vec![0; *n], &mut buffers)?.to_le_bytes());
                shown.push(buffers.len() - 1);
            }
            Arg::U32(v) => put(&v.to_le_bytes()),
            Arg::U64(v) => put(&v.to_le_bytes()),
            Arg::Map(data, of) | Arg::MapOut(data, of) => {
                let addr = buffer(context, stream, data, &mut buffers)?;
                if matches!(arg, Arg::MapOut(..)) {
                    shown.push(buffers.len() - 1);
                }
                let words = encode(&of.map(addr))?.0;
                put(&words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
            }
        }
        params.push(param);
    }
    let shape = LaunchShape {
        blocks: [probe.grid, 1, 1],
        threads: [probe.threads, 1, 1],
        dynamic_shared_bytes: probe.shared_bytes,
        // A cluster that the kernel declares itself must not be asked for again.
        cluster: [1, 1, 1],
        overlaps_predecessor: false,
    };
    let mut pointers: Vec<*mut c_void> = params.iter_mut().map(|p| p.0.as_mut_ptr().cast()).collect();
    // SAFETY: the arguments are those of the probe's kernel, which the machine has run with the same; buffers live until the end.
    unsafe { function.launch(stream, &shape, &mut pointers) }?;
    stream.synchronize().with_context(|| format!("running {}", probe.name))?;
    let mut out = Vec::new();
    for at in shown {
        let mut bytes = vec![0; buffers[at].len_bytes()];
        stream.download(&buffers[at], 0, &mut bytes)?;
        out.extend(bytes);
    }
    Ok(out)
}

fn buffer(context: &Context, stream: &CudaStream, data: &[u8], all: &mut Vec<Memory>) -> Result<u64> {
    let mut memory = context.allocate(data.len(), Fill::Leave)?;
    stream.upload(data, &mut memory, 0)?;
    let address = memory.address();
    all.push(memory);
    Ok(address)
}
