//! Cases of the norms.

use tilewright_codegen::dsl::elem::Float;
use tilewright_codegen::schedule::Schedule;
use tilewright_runtime::{Buffer, Stream};

use super::{Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, widened, with_pair};
use crate::error::KernelError;
use crate::host::pin;
use crate::{layer_norm, rms_norm};

const EPS: f32 = 1e-6;

/// RMSNorm in f64 of rows as long as `w`.
pub(crate) fn rms_reference(x: &[f64], w: &[f64]) -> Vec<f64> {
    let norm = |row: &[f64]| {
        let mean_square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean_square + f64::from(EPS)).sqrt();
        row.iter().zip(w).map(|(x, w)| x * scale * w).collect::<Vec<_>>()
    };
    x.chunks_exact(w.len()).flat_map(norm).collect()
}

struct Rms<T, W> {
    rows: usize,
    x: Buffer<T>,
    w: Buffer<W>,
    y: Output<T>,
}

impl<T: Float, W: Float> Data for Rms<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let dims = [self.rows, self.w.len()];
        let (x, w) = (self.x.view(dims)?, self.w.view([self.w.len()])?);
        rms_norm::run(stream, schedule, x, w, self.y.buffer.view_mut(dims)?, EPS)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![rms_reference(&widened(&self.x)?, &widened(&self.w)?)])
    }
}

fn rms<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [rows, length] = [params.shape[0], params.shape[1]];
    let kernel = pin(rms_norm::rms_norm::kernel::<T, W>(), &[("N", length)]);
    let cost = Cost {
        flops: 4.0 * (rows * length) as f64,
        bytes: bytes::<T>(2 * rows * length) + bytes::<W>(length),
        tolerance: tolerance::<T>(1e-6),
    };
    case(params, kernel, cost, |mut random| {
        let (x, w) = (random.buffer(rows * length)?, random.buffer::<W>(length)?);
        Ok(Rms::<T, W> { rows, x, w, y: random.output(rows * length)? })
    })
}

struct RmsAdd<T, W> {
    rows: usize,
    x: Buffer<T>,
    w: Buffer<W>,
    h: Output<T>,
    y: Output<T>,
}

impl<T: Float, W: Float> Data for RmsAdd<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.h.reset()?;
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let dims = [self.rows, self.w.len()];
        let (x, w, h) = (self.x.view(dims)?, self.w.view([self.w.len()])?, self.h.buffer.view_mut(dims)?);
        rms_norm::run_add(stream, schedule, x, h, w, self.y.buffer.view_mut(dims)?, EPS)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.h.buffer)?, widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let sum =
            self.h.before().into_iter().zip(widened(&self.x)?).map(|(h, x)| T::from_f64(h + x).to_f64());
        let sum: Vec<f64> = sum.collect();
        let y = rms_reference(&sum, &widened(&self.w)?);
        Ok(vec![sum, y])
    }
}

fn rms_add<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [rows, length] = [params.shape[0], params.shape[1]];
    let kernel = pin(rms_norm::rms_norm_add::kernel::<T, W>(), &[("N", length)]);
    let cost = Cost {
        flops: 5.0 * (rows * length) as f64,
        bytes: bytes::<T>(4 * rows * length) + bytes::<W>(length),
        tolerance: tolerance::<T>(1e-6),
    };
    case(params, kernel, cost, |mut random| {
        let (x, w) = (random.buffer(rows * length)?, random.buffer::<W>(length)?);
        let h = random.updated(rows * length)?;
        Ok(RmsAdd::<T, W> { rows, x, w, h, y: random.output(rows * length)? })
    })
}

struct RmsHeads<T, W> {
    tokens: usize,
    heads: usize,
    w: Buffer<W>,
    x: Output<T>,
}

impl<T: Float, W: Float> Data for RmsHeads<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.x.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let x = self.x.buffer.view_mut([self.tokens, self.heads, self.w.len()])?;
        rms_norm::run_heads(stream, schedule, x, self.w.view([self.w.len()])?, EPS)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.x.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![rms_reference(&self.x.before(), &widened(&self.w)?)])
    }
}

fn rms_heads<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [tokens, heads, length] = [params.shape[0], params.shape[1], params.shape[2]];
    let kernel = pin(rms_norm::rms_norm_heads::kernel::<T, W>(), &[("N", length)]);
    let n = tokens * heads * length;
    let cost = Cost {
        flops: 4.0 * n as f64,
        bytes: bytes::<T>(2 * n) + bytes::<W>(length),
        tolerance: tolerance::<T>(1e-6),
    };
    case(params, kernel, cost, |mut random| {
        let w = random.buffer::<W>(length)?;
        Ok(RmsHeads::<T, W> { tokens, heads, w, x: random.updated(n)? })
    })
}

struct Layer<T, W> {
    rows: usize,
    x: Buffer<T>,
    w: Buffer<W>,
    b: Buffer<W>,
    y: Output<T>,
}

impl<T: Float, W: Float> Data for Layer<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let length = self.w.len();
        let (x, w, b) = (self.x.view([self.rows, length])?, self.w.view([length])?, self.b.view([length])?);
        layer_norm::run(stream, schedule, x, w, b, self.y.buffer.view_mut([self.rows, length])?, EPS)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (w, b) = (widened(&self.w)?, widened(&self.b)?);
        let norm = |row: &[f64]| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + f64::from(EPS)).sqrt();
            row.iter().zip(w.iter().zip(&b)).map(|(x, (w, b))| (x - mean) * scale * w + b).collect::<Vec<_>>()
        };
        Ok(vec![widened(&self.x)?.chunks_exact(w.len()).flat_map(norm).collect()])
    }
}

fn layer<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [rows, length] = [params.shape[0], params.shape[1]];
    let kernel = pin(layer_norm::layer_norm::kernel::<T, W>(), &[("N", length)]);
    let cost = Cost {
        flops: 7.0 * (rows * length) as f64,
        bytes: bytes::<T>(2 * rows * length) + bytes::<W>(2 * length),
        tolerance: tolerance::<T>(2e-6),
    };
    case(params, kernel, cost, |mut random| {
        let x = random.buffer(rows * length)?;
        let (w, b) = (random.buffer::<W>(length)?, random.buffer(length)?);
        Ok(Layer::<T, W> { rows, x, w, b, y: random.output(rows * length)? })
    })
}

pub(crate) fn rms_norm_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, rms)
}

pub(crate) fn rms_norm_add_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, rms_add)
}

pub(crate) fn rms_norm_heads_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, rms_heads)
}

pub(crate) fn layer_norm_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, layer)
}
