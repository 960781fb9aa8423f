//! Graphs on the simulated GPU: a replay does what the launches did, to what the buffers hold then; and what cannot be recorded.
//! Those that need NVRTC count as skipped without it.

mod common;

use tilewright_codegen::target::Arch;
use tilewright_runtime::error::CudaError;
use tilewright_runtime::prelude::*;

use common::nvrtc_or_skip;

/// `y = a x + y`, one block of BN elements a program.
#[kernel(space(BN: [128]), default(BN = 128))]
fn axpy<BN: Dim>(x: View<f32, 1>, y: ViewMut<f32, 1>, a: Scalar<f32>) {
    let n = program_id(0) * BN;
    y.store([n], x.load::<(BN,)>([n]) * a + y.load::<(BN,)>([n]));
}

/// Fails where x is negative.
#[kernel(space(BN: [128]), default(BN = 128))]
fn demand<BN: Dim>(x: View<f32, 1>) {
    let smallest = x.load::<(BN,)>([program_id(0) * BN]).min::<0>().item();
    device_assert(smallest >= 0.0, "x must not be negative");
}

const N: usize = 300;

fn sim() -> Device {
    Device::sim(Arch::Sm80, tilewright_sim::Options::default())
}

fn launch(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>, a: f32) -> Result<(), RuntimeError> {
    let schedule = Schedule::new(&[("BN", 128)]);
    let (x, y) = (x.view([N])?, y.view_mut([N])?);
    Ok(axpy::launch(stream, &schedule, [N.div_ceil(128) as u32, 1, 1], x, y, a)?)
}

fn values(buffer: &Buffer<f32>) -> Vec<f32> {
    let mut values = vec![f32::NAN; buffer.len()];
    buffer.read(&mut values).expect("the buffer should be readable");
    values
}

#[test]
fn a_replay_sees_what_the_buffers_hold_then() {
    if nvrtc_or_skip("a_replay_sees_what_the_buffers_hold_then").is_none() {
        return;
    }
    let device = sim();
    let stream = device.stream();
    let mut x = Buffer::from_slice_on(&device, &[1.0f32; N]).unwrap();
    let mut y = Buffer::zeros_on(&device, N).unwrap();
    let graph = stream
        .capture::<RuntimeError>(|| {
            launch(&stream, &x, &mut y, 2.0)?;
            launch(&stream, &x, &mut y, 0.5)
        })
        .expect("two launches should be recorded");
    assert!(values(&y).iter().all(|&v| v == 0.0), "nothing ran yet");
    graph.launch(&stream).unwrap();
    assert!(values(&y).iter().all(|&v| v == 2.5));
    x.write(&[10.0; N]).unwrap();
    graph.launch(&device.stream()).unwrap();
    assert!(values(&y).iter().all(|&v| v == 27.5), "the replay reads x as it is now");

    // What the graph reads outlives its buffer, and new memory does not take its place.
    drop(x);
    let other = Buffer::from_slice_on(&device, &[-1e30f32; N]).unwrap();
    graph.launch(&stream).unwrap();
    assert!(values(&y).iter().all(|&v| v == 52.5));
    drop((other, y));
    graph.launch(&stream).expect("the graph has its memory still");
}

#[test]
fn what_goes_wrong_in_a_replay_is_an_error() {
    if nvrtc_or_skip("what_goes_wrong_in_a_replay_is_an_error").is_none() {
        return;
    }
    let device = sim();
    let stream = device.stream();
    let mut x = Buffer::from_slice_on(&device, &[1.0f32; 128]).unwrap();
    let schedule = Schedule::new(&[("BN", 128)]);
    let graph = stream
        .capture::<RuntimeError>(|| Ok(demand::launch(&stream, &schedule, [1, 1, 1], x.view([128])?)?))
        .unwrap();
    graph.launch(&stream).expect("ones are not negative");
    x.write_at(5, &[-1.0]).unwrap();
    let error = graph.launch(&stream).expect_err("an assertion should stop it").to_string();
    assert!(error.contains("x must not be negative"), "{error}");
}

#[test]
fn what_a_replay_could_not_repeat_is_not_recorded() {
    if nvrtc_or_skip("what_a_replay_could_not_repeat_is_not_recorded").is_none() {
        return;
    }
    let device = sim();
    let stream = device.stream();
    let mut x = Buffer::from_slice_on(&device, &[1.0f32; N]).unwrap();
    let mut y = Buffer::zeros_on(&device, N).unwrap();
    let refused = |what: Result<tilewright_runtime::Graph, RuntimeError>| {
        what.expect_err("it should not be recorded").to_string()
    };
    let error = refused(stream.capture(|| device.synchronize()));
    assert!(error.contains("waiting cannot be part of a captured graph"), "{error}");
    let error = refused(stream.capture(|| x.write(&[0.0; N])));
    assert!(error.contains("a copy from the host"), "{error}");
    let error = refused(stream.capture(|| x.read(&mut [0.0; N])));
    assert!(error.contains("a copy to the host"), "{error}");
    let error = refused(stream.capture(|| stream.capture::<RuntimeError>(|| Ok(())).map(|_| ())));
    assert!(error.contains("another capture"), "{error}");
    let on_host = Buffer::from_slice(&[1.0f32; N]).unwrap();
    let error = refused(stream.capture(|| launch(&stream, &on_host, &mut y, 1.0)));
    assert!(error.contains("argument `x` is not in memory of the device"), "{error}");
    let graph = stream.capture::<RuntimeError>(|| launch(&stream, &x, &mut y, 1.0)).unwrap();
    let error = refused(stream.capture(|| graph.launch(&stream)));
    assert!(error.contains("a graph cannot be part"), "{error}");
    // A failed recording leaves nothing behind: launches run again.
    launch(&stream, &x, &mut y, 1.0).unwrap();
    assert!(values(&y).iter().all(|&v| v == 1.0));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stream.capture::<RuntimeError>(|| panic!("in between"))
    }));
    assert!(panicked.is_err());
    launch(&stream, &x, &mut y, 1.0).unwrap();
    assert!(values(&y).iter().all(|&v| v == 2.0));
    let error = graph.launch(&sim().stream()).expect_err("it is another device").to_string();
    assert!(error.contains("the device that it was made on"), "{error}");
}

#[test]
fn a_cpu_records_nothing() {
    let device = Device::cpu(1);
    assert!(!device.has_graphs() && sim().has_graphs());
    let error = device.stream().capture::<RuntimeError>(|| Ok(())).expect_err("there are none").to_string();
    assert!(error.contains("on GPUs only"), "{error}");
    assert!(matches!(RuntimeError::from(CudaError::DriverMissing), RuntimeError::Cuda(_)));
}

#[test]
fn the_memory_of_a_simulated_gpu_is_not_the_hosts() {
    let device = sim();
    let mut buffer = Buffer::from_slice_on(&device, &[true, false, true]).unwrap();
    assert!(!buffer.is_on_host() && buffer.as_mut_slice().is_err());
    buffer.write_at(1, &[true]).unwrap();
    let mut back = [false; 3];
    buffer.read(&mut back).unwrap();
    assert_eq!(back, [true; 3]);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| buffer.as_slice().len())).is_err());
}
