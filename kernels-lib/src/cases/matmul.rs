//! Cases of the matrix products, many rows and few.

use tilewright_codegen::dsl::elem::{DotInput, Float};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::Schedule;
use tilewright_runtime::{Buffer, Stream};

use super::random::Random;
use super::{Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, values, widened, with_pair};
use crate::epilogue::{Activation, Epilogue};
use crate::error::KernelError;
use crate::host::pin;
use crate::matmul::{Layout, weight_dims};
use crate::matmul_split::{self, Schedules, splits};
use crate::reference::product;
use crate::{matmul, matvec};

/// Names of the weight layouts, the first the default.
pub(crate) const LAYOUTS: &[&str] = &["nk", "kn"];
/// Names of the epilogues, the first the default.
pub(crate) const EPILOGUES: &[&str] =
    &["none", "bias", "residual", "bias_residual", "gelu", "bias_gelu_tanh"];

/// Which kernel computes the product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Many,
    Few,
}

fn layout(params: &CaseParams) -> Layout {
    if params.option("layout") == LAYOUTS[1] { Layout::InOut } else { Layout::OutIn }
}

fn epilogue(params: &CaseParams) -> Epilogue {
    match params.option("epilogue") {
        "bias" => Epilogue::BIAS,
        "residual" => Epilogue::RESIDUAL,
        "bias_residual" => Epilogue::BIAS_RESIDUAL,
        "gelu" => Epilogue::GELU,
        "bias_gelu_tanh" => Epilogue::BIAS_GELU_TANH,
        _ => Epilogue::NONE,
    }
}

struct Product<T, W> {
    rows: Rows,
    mnk: [usize; 3],
    layout: Layout,
    epilogue: Epilogue,
    x: Buffer<T>,
    w: Buffer<W>,
    bias: Buffer<W>,
    y: Output<T>,
}

impl<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>> Data for Product<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let Self { mnk: [m, n, k], layout, epilogue, .. } = *self;
        let (x, w) = (self.x.view([m, k])?, self.w.view(weight_dims(layout, n, k))?);
        let (bias, y) = (self.bias.view([n])?, self.y.buffer.view_mut([m, n])?);
        match self.rows {
            Rows::Many => matmul::run(stream, schedule, x, w, bias, y, epilogue, layout),
            Rows::Few => matvec::run(stream, schedule, x, w, bias, y, epilogue, layout),
        }
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let [_, n, _] = self.mnk;
        let mut y = product(&widened(&self.x)?, &values(&self.w)?, self.mnk, self.layout);
        let (bias, before) = (widened(&self.bias)?, self.y.before());
        for (i, y) in y.iter_mut().enumerate() {
            let biased = if self.epilogue.bias { *y + bias[i % n] } else { *y };
            *y = self.epilogue.activation.reference(biased);
            if self.epilogue.residual {
                *y += before[i];
            }
        }
        Ok(vec![y])
    }
}

fn cost<T: Float, W>([m, n, k]: [usize; 3], matrices: usize) -> Cost {
    Cost {
        flops: 2.0 * (matrices * m * n * k) as f64,
        bytes: bytes::<T>(m * k + m * n) + bytes::<W>(matrices * n * k),
        tolerance: tolerance::<T>(1e-5),
    }
}

fn extents(params: &CaseParams) -> [usize; 3] {
    [params.shape[0], params.shape[1], params.shape[2]]
}

fn plain<T, W>(params: &CaseParams, rows: Rows) -> Result<Box<dyn Case>, KernelError>
where
    T: Float + DotInput<Acc = f32>,
    W: Float + DotInput<Acc = f32>,
{
    let mnk @ [m, n, k] = extents(params);
    let (layout, epilogue) = (layout(params), epilogue(params));
    let kernel = match rows {
        Rows::Many => matmul::matmul::kernel::<T, W>(epilogue, layout),
        Rows::Few => pin(matvec::matvec::kernel::<T, W>(epilogue, layout), &[("BM", m.clamp(1, 16))]),
    };
    case(params, kernel, cost::<T, W>(mnk, 1), |mut random: Random| {
        let y = if epilogue.residual { random.updated(m * n)? } else { random.output(m * n)? };
        let (x, w) = (random.buffer::<T>(m * k)?, random.buffer::<W>(n * k)?);
        Ok(Product { rows, mnk, layout, epilogue, x, w, bias: random.buffer(n)?, y })
    })
}

/// Parts of K that the workspace of a split product has room for.
const MOST_SPLITS: usize = 16;

struct Split<T, W> {
    product: Product<T, W>,
    reduce: Kernel,
    partial: Output<f32>,
}

impl<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>> Data for Split<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.partial.reset()?;
        self.product.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let Product { mnk: [m, n, k], layout, epilogue, x, w, bias, y, .. } = &mut self.product;
        let [m, n, k] = [*m, *n, *k];
        let (x, w, bias) = (x.view([m, k])?, w.view(weight_dims(*layout, n, k))?, bias.view([n])?);
        let partial = self.partial.buffer.view_mut([splits(schedule), m, n])?;
        let reduce = self.reduce.tuning(stream.device().kind()).default;
        let (y, schedules) = (y.buffer.view_mut([m, n])?, Schedules { split: schedule, reduce: &reduce });
        matmul_split::run(stream, schedules, x, w, bias, partial, y, *epilogue, *layout)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        self.product.outputs()
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        self.product.reference()
    }
}

fn split<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    let mnk @ [m, n, k] = extents(params);
    let (layout, epilogue) = (layout(params), epilogue(params));
    let kernel = matmul_split::matmul_split::kernel::<T, W>(layout);
    case(params, kernel, cost::<T, W>(mnk, 1), |mut random: Random| {
        let y = if epilogue.residual { random.updated(m * n)? } else { random.output(m * n)? };
        let (x, w) = (random.buffer::<T>(m * k)?, random.buffer::<W>(n * k)?);
        let bias = random.buffer(n)?;
        let product = Product { rows: Rows::Many, mnk, layout, epilogue, x, w, bias, y };
        let reduce = matmul_split::matmul_reduce::kernel::<T, W>(epilogue);
        let partial = random.output(MOST_SPLITS * m * n)?;
        Ok(Split { product, reduce, partial })
    })
}

struct Gated<T, W> {
    rows: Rows,
    mnk: [usize; 3],
    layout: Layout,
    x: Buffer<T>,
    gate: Buffer<W>,
    up: Buffer<W>,
    y: Output<T>,
}

impl<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>> Data for Gated<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let Self { mnk: [m, n, k], layout, .. } = *self;
        let weights = weight_dims(layout, n, k);
        let (x, gate, up) = (self.x.view([m, k])?, self.gate.view(weights)?, self.up.view(weights)?);
        let y = self.y.buffer.view_mut([m, n])?;
        match self.rows {
            Rows::Many => matmul::run_gated(stream, schedule, x, gate, up, y, Activation::Silu, layout),
            Rows::Few => matvec::run_gated(stream, schedule, x, gate, up, y, Activation::Silu, layout),
        }
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let x = widened(&self.x)?;
        let gate = product(&x, &values(&self.gate)?, self.mnk, self.layout);
        let up = product(&x, &values(&self.up)?, self.mnk, self.layout);
        Ok(vec![gate.iter().zip(up).map(|(g, u)| Activation::Silu.reference(*g) * u).collect()])
    }
}

fn gated<T, W>(params: &CaseParams, rows: Rows) -> Result<Box<dyn Case>, KernelError>
where
    T: Float + DotInput<Acc = f32>,
    W: Float + DotInput<Acc = f32>,
{
    let mnk @ [m, n, k] = extents(params);
    let layout = layout(params);
    let kernel = match rows {
        Rows::Many => matmul::matmul_gated::kernel::<T, W>(Activation::Silu, layout),
        Rows::Few => {
            pin(matvec::matvec_gated::kernel::<T, W>(Activation::Silu, layout), &[("BM", m.clamp(1, 16))])
        }
    };
    case(params, kernel, cost::<T, W>(mnk, 2), |mut random: Random| {
        let (x, gate, up) =
            (random.buffer::<T>(m * k)?, random.buffer::<W>(n * k)?, random.buffer::<W>(n * k)?);
        Ok(Gated { rows, mnk, layout, x, gate, up, y: random.output(m * n)? })
    })
}

fn many<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    plain::<T, W>(params, Rows::Many)
}

fn few<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    plain::<T, W>(params, Rows::Few)
}

fn many_gated<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    gated::<T, W>(params, Rows::Many)
}

fn few_gated<T: Float + DotInput<Acc = f32>, W: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    gated::<T, W>(params, Rows::Few)
}

pub(crate) fn matmul_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, many)
}

pub(crate) fn matmul_split_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, split)
}

pub(crate) fn matvec_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, few)
}

pub(crate) fn matmul_gated_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, many_gated)
}

pub(crate) fn matvec_gated_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, few_gated)
}
