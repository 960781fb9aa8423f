use tilewright::prelude::*;

#[kernel]
fn copy<T: Float, BM: Dim>(x: View<T, 1>, y: ViewMut<T, 1>, n: Scalar<i32>) {
    y.store([n], x.load::<(BM,)>([0]));
}

fn run(device: &dyn LaunchOn, x: TensorRef<'_, f32, 1>, y: TensorRef<'_, f32, 1>) {
    let _ = copy::launch(device, &Schedule::default(), [1, 1, 1], x, y, 3);
}

fn run_on_number(x: TensorRef<'_, f32, 1>, y: TensorMut<'_, f32, 1>) {
    let _ = copy::launch(&0, &Schedule::default(), [1, 1, 1], x, y, 3);
}

fn main() {}
