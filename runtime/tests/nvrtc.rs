//! The compiler for CUDA kernels, on real sources: machine code for every architecture, resources, remarks, threads.

mod common;

use tilewright_codegen::cuda::artifact::MathFlags;
use tilewright_codegen::target::Arch;
use tilewright_runtime::cache::DiskCache;
use tilewright_runtime::cuda::cached::{Provenance, compile_cached};
use tilewright_runtime::cuda::nvrtc::{CompileOptions, LineInfo};
use tilewright_runtime::cuda::report::{Limits, Violation};
use tilewright_runtime::cuda::sass::{count_opcode, sass};
use tilewright_runtime::error::CudaError;

use common::nvrtc_or_skip;

const SCALE: &str = r#"
extern "C" __global__ void scale(float* y, const float* x, float a, int n) {
    __shared__ float rows[256];
    int i = blockIdx.x * 256 + threadIdx.x;
    rows[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    if (i < n) y[i] = a * rows[255 - threadIdx.x] / (1.0f + rows[threadIdx.x]);
}
"#;

/// 128 values live across a barrier under a bound of 64 registers.
const SPILLS: &str = r#"
extern "C" __global__ void __launch_bounds__(1024, 1) spills(float* y) {
    float r[128];
    #pragma unroll
    for (int i = 0; i < 128; i++) r[i] = y[i * 1024 + threadIdx.x];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 128; i++) y[(127 - i) * 1024 + threadIdx.x] = r[i] * r[(i * 7 + 1) % 128];
}
"#;

/// A matrix instruction whose accumulators are touched while it runs.
const SERIALISED: &str = r#"
extern "C" __global__ void __launch_bounds__(128, 1) serialised(float* y, unsigned long long da, unsigned long long db) {
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int k = 0; k < 4; k++) {
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
        asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0;\n"
            "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0; }\n"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(da + k), "l"(db + k));
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        d[k] += 1.0f;
    }
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = d[i];
}
"#;

/// Two helpers that stay functions, and two kernels.
const CALLS: &str = r#"
__device__ __noinline__ float walk(float* local, int n) { float s = 0; for (int i = 0; i < n; i++) s += local[i] * i; return s; }
extern "C" __global__ void first(float* y, int n) {
    float local[32];
    for (int i = 0; i < 32; i++) local[i] = y[i + n];
    y[0] = walk(local, n);
}
extern "C" __global__ void second(float* y) { y[threadIdx.x] = 1.0f; }
"#;

fn named(name: &str) -> CompileOptions {
    CompileOptions { name: name.to_owned(), ..CompileOptions::default() }
}

#[test]
fn every_architecture_gets_machine_code_and_a_report() {
    let Some(nvrtc) = nvrtc_or_skip("every_architecture_gets_machine_code_and_a_report") else { return };
    for arch in Arch::ALL {
        let compiled =
            nvrtc.compile(SCALE, arch, &named("scale.cu")).unwrap_or_else(|e| panic!("{arch}: {e}"));
        assert!(compiled.cubin.starts_with(b"\x7fELF"), "{arch}");
        assert!(compiled.ptx.contains(&format!(".target {arch}")), "{arch}:\n{}", compiled.ptx);
        let resources =
            compiled.report.kernel("scale").unwrap_or_else(|| panic!("{arch}:\n{}", compiled.log));
        assert!((8..=64).contains(&resources.registers), "{arch}: {resources:?}");
        assert_eq!(
            (resources.static_shared_bytes, resources.barriers),
            (1024, 1),
            "{arch}:\n{}",
            compiled.log
        );
        assert_eq!(compiled.report.violations(&Limits::default()), [], "{arch}");
        let text = sass(&compiled.cubin).unwrap_or_else(|e| panic!("{arch}: {e}"));
        assert!(count_opcode(&text, "BAR.SYNC") == 1 && count_opcode(&text, "STS") >= 1, "{arch}:\n{text}");
    }
}

#[test]
fn options_reach_the_compiler() {
    let Some(nvrtc) = nvrtc_or_skip("options_reach_the_compiler") else { return };
    let compile =
        |options: &CompileOptions| nvrtc.compile(SCALE, Arch::Sm80, options).expect("it should compile");
    let plain = compile(&named("scale.cu"));
    let fast = compile(&CompileOptions { math: MathFlags::FAST, ..named("scale.cu") });
    assert!(plain.ptx.contains("div.rn.f32"), "{}", plain.ptx);
    assert!(fast.ptx.contains("div.full.ftz.f32") || fast.ptx.contains("div.approx.ftz.f32"), "{}", fast.ptx);
    let lines = compile(&CompileOptions { line_info: LineInfo::Keep, ..named("scale.cu") });
    assert!(lines.ptx.contains(".loc") && !plain.ptx.contains(".loc"));
    let (with, without) = (sass(&lines.cubin).expect("text"), sass(&plain.cubin).expect("text"));
    assert_eq!(count_opcode(&with, "LDS"), count_opcode(&without, "LDS"));
    let source = "#include <cuda_bf16.h>\nextern \"C\" __global__ void k(float* y) { y[0] = VALUE; }";
    let defines = vec![("VALUE".to_owned(), "2.5f".to_owned())];
    let defined = nvrtc.compile(source, Arch::Sm90a, &CompileOptions { defines, ..named("defined.cu") });
    // 2.5 as PTX writes it: 0x40200000, or in decimal.
    let ptx = defined.expect("the headers should be found").ptx;
    assert!(ptx.contains("40200000") || ptx.contains("1075838976"), "{ptx}");
}

#[test]
fn spills_stacks_and_remarks_are_violations() {
    let Some(nvrtc) = nvrtc_or_skip("spills_stacks_and_remarks_are_violations") else { return };
    let report = nvrtc.compile(SPILLS, Arch::Sm90a, &named("spills.cu")).expect("it should compile").report;
    let kernel = report.kernel("spills").expect("the kernel should be reported");
    assert!(kernel.frame.spill_store_bytes > 0 && kernel.frame.spill_load_bytes > 0, "{report}");
    let violations = report.violations(&Limits::default());
    let spilled = |v: &Violation| matches!(v, Violation::Over { what: "bytes of register spills", .. });
    assert!(violations.iter().any(spilled), "{violations:?}");

    let compiled = nvrtc.compile(SERIALISED, Arch::Sm90a, &named("wgmma.cu")).expect("it should compile");
    let codes: Vec<u32> = compiled.report.notes.iter().filter_map(|note| note.code).collect();
    assert!(codes.iter().any(|code| (7500..7600).contains(code)), "{}", compiled.log);
    assert!(!compiled.report.violations(&Limits::default()).is_empty());
    let allowed = Limits { allowed_notes: codes, ..Limits::default() };
    assert_eq!(compiled.report.violations(&allowed), []);

    let report = nvrtc.compile(CALLS, Arch::Sm80, &named("calls.cu")).expect("it should compile").report;
    assert_eq!(report.kernels.len(), 2, "{report}");
    assert!(report.kernel("first").is_some_and(|k| k.frame.stack_bytes >= 128), "{report}");
    assert_eq!(report.kernel("second").map(|k| k.frame.stack_bytes), Some(0), "{report}");
    assert!(report.functions.iter().any(|f| f.name.contains("walk")), "{report}");
}

#[test]
fn mistakes_are_reported_at_their_line() {
    let Some(nvrtc) = nvrtc_or_skip("mistakes_are_reported_at_their_line") else { return };
    let compile =
        |source: &str| nvrtc.compile(source, Arch::Sm80, &named("wrong.cu")).expect_err("it is wrong");
    let error = compile("extern \"C\" __global__ void k(float* y) {\n    y[0] = nobody;\n}");
    let CudaError::Compile { name, log, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "wrong.cu");
    assert!(log.contains("wrong.cu(2): error") && log.contains("nobody"), "{log}");
    // The assembler's complaint: an instruction that sm_80 does not have.
    let error = compile("extern \"C\" __global__ void k() { asm volatile(\"wgmma.fence.sync.aligned;\"); }");
    assert!(error.to_string().contains("sm_80") && error.to_string().contains("ptxas"), "{error}");
    let error = compile("a\0b").to_string();
    assert!(error.contains("zero byte"), "{error}");
    let options = CompileOptions { extra: vec!["--no-such-option".to_owned()], ..named("option.cu") };
    let error = nvrtc.compile(SCALE, Arch::Sm80, &options).expect_err("the option is wrong").to_string();
    assert!(error.contains("no-such-option"), "{error}");
}

#[test]
fn threads_compile_side_by_side_with_equal_results() {
    let Some(nvrtc) = nvrtc_or_skip("threads_compile_side_by_side_with_equal_results") else { return };
    let sources = [SCALE, SPILLS, SERIALISED, CALLS];
    let all = |first: usize| {
        (0..sources.len())
            .map(|i| {
                let source = sources[(first + i) % sources.len()];
                nvrtc.compile(source, Arch::Sm90a, &named("k.cu")).expect("it should compile").cubin
            })
            .collect::<Vec<_>>()
    };
    let alone = all(0);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..4).map(|first| scope.spawn(move || (first, all(first)))).collect();
        for other in others {
            let (first, mut cubins) = other.join().expect("the thread should not panic");
            cubins.rotate_right(first);
            assert_eq!(cubins, alone, "from thread {first}");
        }
        // A failing compilation beside the others leaves them alone.
        scope.spawn(|| nvrtc.compile("nonsense", Arch::Sm80, &named("k.cu")).expect_err("it is nonsense"));
    });
}

#[test]
fn a_second_compilation_comes_from_the_cache() {
    let Some(nvrtc) = nvrtc_or_skip("a_second_compilation_comes_from_the_cache") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = DiskCache::new(folder.path().to_owned(), 1 << 24);
    let compile = |source: &str, arch, options: &CompileOptions| {
        compile_cached(nvrtc, Some(&cache), source, arch, options).expect("it should compile")
    };
    let options = named("scale.cu");
    let (first, from) = compile(SCALE, Arch::Sm80, &options);
    assert_eq!(from, Provenance::Compiled);
    assert!(compile(SCALE, Arch::Sm80, &options) == (first.clone(), Provenance::Cached));
    // Everything that decides the code decides the entry.
    let math = MathFlags { contract: false, ..MathFlags::IEEE };
    assert_eq!(compile(SCALE, Arch::Sm86, &options).1, Provenance::Compiled);
    assert_eq!(compile(&format!("{SCALE}\n"), Arch::Sm80, &options).1, Provenance::Compiled);
    assert_eq!(
        compile(SCALE, Arch::Sm80, &CompileOptions { math, ..options.clone() }).1,
        Provenance::Compiled
    );
    assert_eq!(cache.usage().entries, 4);
    for file in std::fs::read_dir(folder.path()).expect("the folder").flatten() {
        std::fs::write(file.path(), "damaged").expect("the entry should be writable");
    }
    let (again, from) = compile(SCALE, Arch::Sm80, &options);
    // The log differs: it has the time that the compiler took.
    assert!(again.cubin == first.cubin && again.report == first.report && from == Provenance::Compiled);
    compile_cached(nvrtc, None, "nonsense", Arch::Sm80, &options).expect_err("errors stay errors");
}
