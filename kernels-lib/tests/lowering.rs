//! Every kernel of the library lowers to the GPU level for every target, under its default schedule for GPUs and a few others.
//! Only another one than the default may need more shared memory than a target has.

use tilewright_codegen::gpu::{ArgFacts, GpuFunc, lower, parse, print};
use tilewright_codegen::ir::ViewFacts;
use tilewright_codegen::passes::{PassCx, run_pipeline};
use tilewright_codegen::schedule::TargetKind;
use tilewright_codegen::target::Arch;
use tilewright_kernels::cases::CaseParams;
use tilewright_kernels::registry;

/// Configurations of each problem beside the default.
const OTHERS: usize = 3;

/// What is wrong with the text form of `func`, if it does not read back as it was written.
fn round_trip(func: &GpuFunc) -> Option<String> {
    let text = print(func);
    match parse(&text) {
        Ok(again) if again == *func => None,
        Ok(again) => Some(format!("the text reads back as another function:\n{text}\n{}", print(&again))),
        Err(e) => Some(format!("the text should parse: {e}\n{text}")),
    }
}

#[test]
fn every_kernel_lowers() {
    let mut failures = Vec::new();
    let only = std::env::var("TILEWRIGHT_KERNEL").ok();
    for entry in registry::all() {
        if only.as_deref().is_some_and(|n| n != entry.name) {
            continue;
        }
        for dtype in entry.dtypes {
            for shape in entry.test_shapes {
                let case = match entry.case(&CaseParams::new(dtype, shape)) {
                    Ok(case) => case,
                    Err(e) => {
                        failures.push(format!("{} {dtype} {shape:?}: {e}", entry.name));
                        continue;
                    }
                };
                let kernel = case.kernel();
                for schedule in kernel.configurations_for(TargetKind::Gpu, OTHERS) {
                    let is_default = schedule == kernel.gpu.default;
                    let mut func = kernel.specialise(&schedule).expect("the kernel should specialise");
                    run_pipeline(&mut func, &PassCx::default()).expect("the passes should run");
                    for divisible in [1, 16] {
                        let facts =
                            ArgFacts { facts: ViewFacts { contiguous: true, divisible }, is_small: true };
                        let args = vec![facts; func.params.len()];
                        for target in Arch::ALL {
                            let what =
                                || format!("{} {dtype} {shape:?} \"{schedule}\" {}", entry.name, target);
                            let text = match lower(&func, &schedule, target, &args) {
                                Err(d) => d.to_string(),
                                Ok(lowered) => {
                                    failures.extend(round_trip(&lowered).map(|e| format!("{}: {e}", what())));
                                    continue;
                                }
                            };
                            if is_default || !text.contains("bytes of shared memory") {
                                failures.push(format!(
                                    "{} {dtype} {shape:?} \"{schedule}\" {}: {text}",
                                    entry.name, target
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
