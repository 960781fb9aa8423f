//! A tile program as a CUDA kernel: lowering, text, and how a launch packs its arguments.

use super::artifact::{
    CudaKernel, CudaParam, GridRule, IntWidth, L2Promotion, MathFlags, OutOfBounds, Swizzle, TensorMapRule,
};
use super::{CudaSource, ParamSlot, WriteOptions, write};
use crate::diag::{Diagnostics, Loc};
use crate::gpu::passes::PassCx;
use crate::gpu::{ArgFacts, GpuFunc, StmtKind, lower_observed};
use crate::ir::Func;
use crate::schedule::Schedule;
use crate::target::Arch;

/// A kernel in every form on the way from the tile level to the launch.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The GPU level.
    pub gpu: GpuFunc,
    /// The text and where its lines come from.
    pub source: CudaSource,
    /// What the runtime compiles and launches.
    pub kernel: CudaKernel,
    /// Messages of assertions by the number that a failed one leaves, counted from 0.
    pub assertions: Vec<(String, Loc)>,
}

/// Generates the CUDA kernel of a function that has passed the pipeline of the tile level, for arguments of which `args` is known.
///
/// # Errors
/// What the target cannot do, at the author's place.
pub fn generate(
    func: &Func,
    schedule: &Schedule,
    arch: Arch,
    args: &[ArgFacts],
    options: &WriteOptions,
) -> Result<Generated, Diagnostics> {
    generate_observed(func, schedule, arch, args, options, &PassCx::default())
}

/// [`generate`], with a hook on the stages of the GPU level.
///
/// # Errors
/// As [`generate`], and what the verifier finds in a function that the observer put in the place of another.
pub fn generate_observed(
    func: &Func,
    schedule: &Schedule,
    arch: Arch,
    args: &[ArgFacts],
    options: &WriteOptions,
    passes: &PassCx<'_>,
) -> Result<Generated, Diagnostics> {
    let gpu = lower_observed(func, schedule, arch, args, passes)?;
    Ok(finish(gpu, arch, options))
}

/// The CUDA kernel of a function of the GPU level.
#[must_use]
pub fn finish(gpu: GpuFunc, arch: Arch, options: &WriteOptions) -> Generated {
    let source = write(&gpu, options);
    let params = source.params.iter().map(|slot| param(&gpu, slot)).collect();
    let grid = match (gpu.is_persistent, gpu.cluster) {
        (true, _) => GridRule::Persistent { blocks_per_sm: gpu.min_blocks.max(1) },
        (false, 1) => GridRule::Programs,
        (false, _) => GridRule::Clusters,
    };
    let kernel = CudaKernel {
        name: gpu.name.clone(),
        source: source.text.clone(),
        entry: source.entry.clone(),
        arch,
        math: MathFlags::IEEE,
        grid,
        block_threads: gpu.n_threads(),
        dynamic_shared_bytes: gpu.shared_bytes,
        cluster: [gpu.cluster, 1, 1],
        overlaps_predecessor: waits_for_predecessor(&gpu),
        params,
    };
    let assertions = gpu.assertions.clone();
    Generated { gpu, source, kernel, assertions }
}

/// Whether the kernel itself waits for the launch before it.
fn waits_for_predecessor(gpu: &GpuFunc) -> bool {
    gpu.body.stmts.iter().any(|s| matches!(s.kind, StmtKind::GridWait))
}

fn param(gpu: &GpuFunc, slot: &ParamSlot) -> CudaParam {
    match *slot {
        ParamSlot::Pointer { param } => CudaParam::Pointer { arg: param },
        ParamSlot::Extent { param, axis } => CudaParam::Extent { arg: param, axis, width: IntWidth::I32 },
        ParamSlot::Stride { param, axis, is_wide } => {
            let width = if is_wide { IntWidth::I64 } else { IntWidth::I32 };
            CudaParam::Stride { arg: param, axis, width }
        }
        ParamSlot::Scalar { param } => {
            CudaParam::Scalar { arg: param, dtype: gpu.ty(gpu.params[param].var).dtype() }
        }
        ParamSlot::GridExtent { axis } => CudaParam::GridExtent { axis },
        ParamSlot::Map(i) => {
            let map = &gpu.maps[i];
            let arg = gpu.params.iter().position(|p| p.var == map.param);
            let swizzle = match map.swizzle_bytes {
                32 => Swizzle::B32,
                64 => Swizzle::B64,
                128 => Swizzle::B128,
                _ => Swizzle::None,
            };
            let rule = TensorMapRule {
                box_dims: map.box_dims.clone(),
                swizzle,
                l2_promotion: L2Promotion::B128,
                fill: OutOfBounds::Zero,
            };
            CudaParam::TensorMap { arg: arg.expect("a tensor map should be of a parameter"), map: rule }
        }
        ParamSlot::Status => CudaParam::Status,
    }
}
