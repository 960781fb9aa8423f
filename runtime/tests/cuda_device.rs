//! The CUDA device: memory, copies, launches and graphs. Counts as skipped where there is no driver or no device.

mod common;

use std::sync::Arc;

use tilewright_codegen::cuda::artifact::{CudaKernel, CudaParam, GridRule, IntWidth, MathFlags};
use tilewright_codegen::ir::{DType, ViewFacts};
use tilewright_codegen::launch::Arg;
use tilewright_codegen::tensor::scalar_arg;
use tilewright_runtime::cuda::context::{Context, Fill};
use tilewright_runtime::cuda::info::DeviceInfo;
use tilewright_runtime::cuda::module::{Module, PreparedKernel};
use tilewright_runtime::cuda::nvrtc::{CompileOptions, Nvrtc};
use tilewright_runtime::cuda::stream::{CudaStream, Pinned};
use tilewright_runtime::error::CudaError;
use tilewright_runtime::{Buffer, Device};

use common::{nvrtc_or_skip, skip};

/// Writes `a * x[i]` to `y[i]`.
const SCALE: &str = r#"
extern "C" __global__ void __launch_bounds__(128) scale(float* y, const float* x, int n, long long stride, float a) {
    int i = blockIdx.x * 128 + threadIdx.x;
    if (i < n) y[i] = a * x[i * stride];
}
"#;

fn device_or_skip(test: &str) -> Option<Device> {
    match Device::cuda(0) {
        Ok(device) => Some(device),
        Err(error) => {
            skip(test, &error.to_string());
            None
        }
    }
}

fn context(device: &Device) -> &Context {
    device.cuda_stream().expect("a CUDA device has a stream").context()
}

fn scale(device: &Device, nvrtc: &Nvrtc) -> PreparedKernel {
    let context = context(device);
    let width = IntWidth::I32;
    let kernel = CudaKernel {
        name: "scale".to_owned(),
        source: SCALE.to_owned(),
        entry: "scale".to_owned(),
        arch: context.arch(),
        math: MathFlags::IEEE,
        grid: GridRule::Programs,
        block_threads: 128,
        dynamic_shared_bytes: 0,
        cluster: [1, 1, 1],
        overlaps_predecessor: false,
        params: vec![
            CudaParam::Pointer { arg: 0 },
            CudaParam::Pointer { arg: 1 },
            CudaParam::Extent { arg: 1, axis: 0, width },
            CudaParam::Stride { arg: 1, axis: 0, width: IntWidth::I64 },
            CudaParam::Scalar { arg: 2, dtype: DType::F32 },
        ],
    };
    let compiled = nvrtc.compile(SCALE, kernel.arch, &CompileOptions::default()).expect("it should compile");
    PreparedKernel::new(context, Arc::new(kernel), &compiled.cubin, 0).expect("it should load")
}

fn args(y: &mut Buffer<f32>, x: &Buffer<f32>, a: f32) -> [Arg; 3] {
    let n = x.len();
    let y = y.view_mut([n]).map(|y| y.arg("scale", "y", ViewFacts::default()).expect("a view"));
    let x = x.view([n]).map(|x| x.arg("scale", "x", ViewFacts::default()).expect("a view"));
    [y.expect("a view"), x.expect("a view"), scalar_arg(a)]
}

#[test]
fn values_survive_the_way_there_and_back() {
    let Some(device) = device_or_skip("values_survive_the_way_there_and_back") else { return };
    let info = DeviceInfo::of(0).expect("the device was opened");
    assert!(info.n_sms > 0 && info.memory_bytes > 0, "{info:?}");
    for len in [0usize, 1, 7, 129, 100_003] {
        let values: Vec<i32> = (0..len as i32).map(|i| i.wrapping_mul(-1_640_531_527)).collect();
        let mut buffer = Buffer::<i32>::zeros_on(&device, len).expect("there should be memory");
        let mut back = vec![7; len];
        buffer.read(&mut back).expect("zeros");
        assert!(back.iter().all(|&x| x == 0), "{len}");
        buffer.write(&values).expect("the values fit");
        buffer.read(&mut back).expect("the values fit");
        assert!(back == values, "{len}");
        assert!(!buffer.is_on_host() && buffer.as_mut_slice().is_err());
    }
    let stream = device.cuda_stream().expect("a stream");
    let mut memory = context(&device).allocate(1000, Fill::Zero).expect("memory");
    let mut pinned = Pinned::zeros(context(&device), 600).expect("pinned memory");
    pinned.as_mut_slice().iter_mut().enumerate().for_each(|(i, byte)| *byte = i as u8);
    let expected = pinned.as_slice().to_vec();
    let start = stream.record().expect("an event");
    let pinned = stream.upload_pinned(pinned, &mut memory, 400).expect("it fits").wait().expect("a copy");
    let end = stream.record().expect("an event");
    end.synchronize().expect("the event comes");
    assert!(end.us_since(&start).expect("a time") >= 0.0);
    let mut other = context(&device).allocate(600, Fill::Zero).expect("memory");
    stream.copy((&memory, 400), (&mut other, 0), 600).expect("it fits");
    stream.clear(&mut memory).expect("zeros");
    let pinned = stream.download_pinned(&other, 0, pinned).expect("it fits").wait().expect("a copy");
    assert!(pinned.as_slice() == expected);
    let mut left = vec![1; 1000];
    stream.download(&memory, 0, &mut left).expect("it fits");
    assert!(left.iter().all(|&byte| byte == 0));
    let error = stream.download(&memory, 500, &mut left).expect_err("it does not fit").to_string();
    assert!(error.contains("1000 bytes at offset 500"), "{error}");
}

#[test]
fn launches_and_graphs_compute() {
    let test = "launches_and_graphs_compute";
    let Some(device) = device_or_skip(test) else { return };
    let Some(nvrtc) = nvrtc_or_skip(test) else { return };
    let stream = device.cuda_stream().expect("a stream");
    let kernel = scale(&device, nvrtc);
    assert!(kernel.function().registers().expect("a figure") > 0);
    assert!(kernel.function().blocks_per_sm(128, 0).expect("a figure") > 0);
    let n = 1000u32;
    let values: Vec<f32> = (0..n).map(|i| i as f32 - 500.0).collect();
    let x = Buffer::from_slice_on(&device, &values).expect("memory");
    let mut y = Buffer::from_slice_on(&device, &vec![f32::NAN; values.len()]).expect("memory");
    let check = |y: &Buffer<f32>, a: f32| {
        let mut found = vec![0.0; values.len()];
        y.read(&mut found).expect("the values fit");
        let wrong = found.iter().zip(&values).position(|(&found, &x)| found != a * x);
        assert_eq!(wrong, None, "a = {a}");
    };
    let programs = [n.div_ceil(128), 1, 1];
    for a in [2.0, -0.5] {
        let args = args(&mut y, &x, a);
        launch(&kernel, stream, programs, &args).expect("it should launch");
        check(&y, a);
    }
    launch(&kernel, stream, [0, 1, 1], &args(&mut y, &x, 9.0)).expect("an empty grid is no launch");
    check(&y, -0.5);

    // Memory that a graph uses outlives its owner; what is allocated meanwhile must not take its place.
    let arguments = args(&mut y, &x, 3.0);
    let graph = stream
        .capture::<CudaError>(|| launch(&kernel, stream, programs, &arguments))
        .expect("the launch should be recorded");
    check(&y, -0.5);
    drop(x);
    let noise = Buffer::from_slice_on(&device, &vec![1e30f32; values.len()]).expect("memory");
    let other = CudaStream::new(context(&device)).expect("a stream");
    replay(&graph, &other);
    other.synchronize().expect("the graph should run");
    check(&y, 3.0);
    drop((noise, kernel));
    replay(&graph, &other);
    other.synchronize().expect("the graph keeps the code");
    let failed = stream.capture::<CudaError>(|| Err(CudaError::NotACubin { len_bytes: 0 }));
    assert!(failed.is_err());
    let failed = stream.capture::<CudaError>(|| stream.synchronize());
    assert_eq!(failed.err(), Some(CudaError::Captured { what: "waiting" }));
    drop(graph);
    device.synchronize().expect("nothing went wrong");
}

#[expect(unsafe_code, reason = "the kernel and its buffers are written above")]
fn launch(
    kernel: &PreparedKernel,
    stream: &CudaStream,
    programs: [u32; 3],
    args: &[Arg],
) -> Result<(), CudaError> {
    // SAFETY: the views are of the device and outlive the work, which the tests wait for.
    unsafe { kernel.launch(stream, programs, args) }
}

#[expect(unsafe_code, reason = "the graph is recorded above")]
fn replay(graph: &tilewright_runtime::cuda::graph::CudaGraph, stream: &CudaStream) {
    // SAFETY: what the graph writes outlives it, and the tests wait for it.
    unsafe { graph.launch(stream) }.expect("the graph should launch");
}

#[test]
fn code_that_is_none_is_refused() {
    let test = "code_that_is_none_is_refused";
    let Some(device) = device_or_skip(test) else { return };
    for bytes in [&b""[..], b"\x7fELF", &[0; 100]] {
        let error = Module::load(context(&device), bytes).err().expect("it is no cubin");
        assert_eq!(error, CudaError::NotACubin { len_bytes: bytes.len() });
    }
    let Some(nvrtc) = nvrtc_or_skip(test) else { return };
    let compiled =
        nvrtc.compile(SCALE, context(&device).arch(), &CompileOptions::default()).expect("it should compile");
    let module = Module::load(context(&device), &compiled.cubin).expect("it should load");
    let error = module.function("nobody").err().expect("there is none").to_string();
    assert!(error.contains("`nobody`"), "{error}");
    let error = context(&device).allocate(1 << 52, Fill::Leave).expect_err("no device has that much");
    assert!(matches!(error, CudaError::OutOfMemory { bytes, .. } if bytes == 1 << 52), "{error}");
}
