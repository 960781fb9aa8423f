//! Cases of the kernels that work row by row without weights: embedding, softmax, SwiGLU, argmax, top-k.

use tilewright_codegen::dsl::elem::Float;
use tilewright_codegen::schedule::Schedule;
use tilewright_runtime::{Buffer, Stream};

use super::{
    Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, values, widened, with_pair, with_single,
};
use crate::epilogue::Activation;
use crate::error::KernelError;
use crate::host::pin;
use crate::{argmax, embedding, softmax, swiglu, top_k};

struct Embedding<T, W> {
    vocab: usize,
    ids: Buffer<i32>,
    table: Buffer<W>,
    y: Output<T>,
}

impl<T: Float, W: Float> Data for Embedding<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let (tokens, width) = (self.ids.len(), self.table.len() / self.vocab);
        let (ids, table) = (self.ids.view([tokens])?, self.table.view([self.vocab, width])?);
        embedding::run(stream, schedule, ids, table, self.y.buffer.view_mut([tokens, width])?)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (ids, table, width) = (values(&self.ids)?, values(&self.table)?, self.table.len() / self.vocab);
        let row = |&id: &i32| match usize::try_from(id) {
            Ok(id) if id < self.vocab => {
                table[id * width..(id + 1) * width].iter().map(|x| x.to_f64()).collect()
            }
            _ => vec![0.0; width],
        };
        Ok(vec![ids.iter().flat_map(row).collect()])
    }
}

fn embed<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [tokens, vocab, width] = [params.shape[0], params.shape[1], params.shape[2]];
    let n = tokens * width;
    let cost = Cost { flops: 0.0, bytes: bytes::<T>(n) + bytes::<W>(n), tolerance: tolerance::<T>(0.0) };
    case(params, embedding::embedding::kernel::<T, W>(), cost, |mut random| {
        // Two of the ids lie outside the table.
        let id = |i: usize| {
            if i == 2 {
                vocab as i32
            } else if i == 5 {
                -1
            } else {
                random.below(vocab) as i32
            }
        };
        let ids: Vec<i32> = (0..tokens).map(id).collect();
        let ids = random.upload(&ids)?;
        Ok(Embedding::<T, W> { vocab, ids, table: random.buffer(vocab * width)?, y: random.output(n)? })
    })
}

/// How a row of softmax is held.
#[derive(Clone, Copy)]
enum Held {
    Whole,
    InBlocks,
}

struct Softmax<T> {
    held: Held,
    dims: [usize; 2],
    x: Buffer<T>,
    y: Output<T>,
}

impl<T: Float> Data for Softmax<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let (x, y) = (self.x.view(self.dims)?, self.y.buffer.view_mut(self.dims)?);
        match self.held {
            Held::Whole => softmax::run(stream, schedule, x, y),
            Held::InBlocks => softmax::run_long(stream, schedule, x, y),
        }
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let row = |x: &[f64]| {
            let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = x.iter().map(|x| (x - top).exp()).sum();
            x.iter().map(|x| (x - top).exp() / total).collect::<Vec<_>>()
        };
        Ok(vec![widened(&self.x)?.chunks_exact(self.dims[1]).flat_map(row).collect()])
    }
}

fn soft<T: Float>(params: &CaseParams, held: Held) -> Result<Box<dyn Case>, KernelError> {
    let dims @ [rows, length] = [params.shape[0], params.shape[1]];
    let n = rows * length;
    let kernel = match held {
        Held::Whole => pin(softmax::softmax::kernel::<T>(), &[("N", length)]),
        Held::InBlocks => softmax::softmax_long::kernel::<T>(),
    };
    let cost = Cost { flops: 4.0 * n as f64, bytes: bytes::<T>(2 * n), tolerance: tolerance::<T>(1e-6) };
    case(params, kernel, cost, |mut random| {
        // Logits spread over 16 units, so that both large and vanishing weights occur.
        let x: Vec<T> = random.values::<f32>(n).iter().map(|x| T::from_f64(8.0 * f64::from(*x))).collect();
        Ok(Softmax { held, dims, x: random.upload(&x)?, y: random.output(n)? })
    })
}

fn soft_whole<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    soft::<T>(params, Held::Whole)
}

fn soft_in_blocks<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    soft::<T>(params, Held::InBlocks)
}

struct SwiGlu<T> {
    dims: [usize; 2],
    gate: Buffer<T>,
    up: Buffer<T>,
    y: Output<T>,
}

impl<T: Float> Data for SwiGlu<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.y.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let (gate, up, y) =
            (self.gate.view(self.dims)?, self.up.view(self.dims)?, self.y.buffer.view_mut(self.dims)?);
        swiglu::run(stream, schedule, gate, up, y, Activation::Silu)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.y.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let up = widened(&self.up)?;
        Ok(vec![
            widened(&self.gate)?.iter().zip(up).map(|(g, u)| Activation::Silu.reference(*g) * u).collect(),
        ])
    }
}

fn swi<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let dims = [params.shape[0], params.shape[1]];
    let n = dims[0] * dims[1];
    let cost = Cost { flops: 6.0 * n as f64, bytes: bytes::<T>(3 * n), tolerance: tolerance::<T>(1e-6) };
    case(params, swiglu::swiglu::kernel::<T>(Activation::Silu), cost, |mut random| {
        Ok(SwiGlu::<T> { dims, gate: random.buffer(n)?, up: random.buffer(n)?, y: random.output(n)? })
    })
}

/// Columns of a row by descending value, equal ones by ascending column.
pub(super) fn ranked(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
    order
}

struct ArgMax<T> {
    dims: [usize; 2],
    x: Buffer<T>,
    index: Output<i32>,
}

impl<T: Float> Data for ArgMax<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.index.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        argmax::run(stream, schedule, self.x.view(self.dims)?, self.index.buffer.view_mut([self.dims[0]])?)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.index.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.x)?.chunks_exact(self.dims[1]).map(|row| ranked(row)[0] as f64).collect()])
    }
}

fn arg<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let dims = [params.shape[0], params.shape[1]];
    let n = dims[0] * dims[1];
    let cost = Cost { flops: n as f64, bytes: bytes::<T>(n), tolerance: 0.0 };
    case(params, argmax::argmax::kernel::<T>(), cost, |mut random| {
        Ok(ArgMax::<T> { dims, x: random.buffer(n)?, index: random.output(dims[0])? })
    })
}

struct TopK<T> {
    dims: [usize; 2],
    k: usize,
    x: Buffer<T>,
    values: Output<T>,
    indices: Output<i32>,
}

impl<T: Float> Data for TopK<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.values.reset()?;
        self.indices.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let out = [self.dims[0], self.k];
        let (values, indices) = (self.values.buffer.view_mut(out)?, self.indices.buffer.view_mut(out)?);
        top_k::run(stream, schedule, self.x.view(self.dims)?, values, indices)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.values.buffer)?, widened(&self.indices.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (mut values, mut indices) = (Vec::new(), Vec::new());
        for row in widened(&self.x)?.chunks_exact(self.dims[1]) {
            let order = ranked(row);
            for k in 0..self.k {
                values.push(order.get(k).map_or(f64::NEG_INFINITY, |&i| row[i]));
                indices.push(order.get(k).map_or(-1.0, |&i| i as f64));
            }
        }
        Ok(vec![values, indices])
    }
}

fn top<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [rows, length, k] = [params.shape[0], params.shape[1], params.shape[2]];
    let n = rows * length;
    let kernel = pin(top_k::top_k::kernel::<T>(), &[("K", k)]);
    let cost = Cost { flops: n as f64, bytes: bytes::<T>(n), tolerance: 0.0 };
    case(params, kernel, cost, |mut random| {
        let (values, indices) = (random.output(rows * k)?, random.output(rows * k)?);
        Ok(TopK::<T> { dims: [rows, length], k, x: random.buffer(n)?, values, indices })
    })
}

pub(crate) fn embedding_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, embed)
}

pub(crate) fn softmax_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, soft_whole)
}

pub(crate) fn softmax_long_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, soft_in_blocks)
}

pub(crate) fn swiglu_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, swi)
}

pub(crate) fn argmax_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, arg)
}

pub(crate) fn top_k_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, top)
}
