//! Cases of rotary position embedding and of the write into pages.

use tilewright_codegen::dsl::elem::{Elem, Float};
use tilewright_codegen::schedule::Schedule;
use tilewright_codegen::tensor::{TensorMut, TensorRef};
use tilewright_runtime::{Buffer, Stream};

use super::norm::rms_reference;
use super::random::Random;
use super::{
    Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, values, widened, with_pair, with_single,
};
use crate::error::KernelError;
use crate::host::pin;
use crate::rope::{self, HeadNorm, RopeWrite};

/// Names of the pairings, the first the default.
pub(crate) const PAIRINGS: &[&str] = &["half", "interleaved"];
/// Names of the head norms, the first the default.
pub(crate) const NORMS: &[&str] = &["rms", "none"];

/// Which elements of a head make a pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pairing {
    Half,
    Interleaved,
}

impl Pairing {
    fn of(params: &CaseParams) -> Self {
        if params.option("pairing") == PAIRINGS[1] { Self::Interleaved } else { Self::Half }
    }

    /// Positions of the elements of pair `i` in a head of `size`.
    fn pair(self, i: usize, size: usize) -> [usize; 2] {
        match self {
            Self::Half => [i, i + size / 2],
            Self::Interleaved => [2 * i, 2 * i + 1],
        }
    }

    /// A buffer whose last axis is a head, as a view that ends in `[2, D / 2]`.
    fn view<const R: usize, T: Elem>(
        self,
        buffer: &Buffer<T>,
        outer: [usize; R],
    ) -> Result<TensorRef<'_, T, R>, KernelError> {
        match self {
            Self::Half => Ok(buffer.view(outer)?),
            Self::Interleaved => Ok(buffer.view(swapped(outer))?.transposed(R - 2, R - 1)),
        }
    }

    /// As [`Pairing::view`], to write.
    fn view_mut<const R: usize, T: Elem>(
        self,
        buffer: &mut Buffer<T>,
        outer: [usize; R],
    ) -> Result<TensorMut<'_, T, R>, KernelError> {
        match self {
            Self::Half => Ok(buffer.view_mut(outer)?),
            Self::Interleaved => Ok(buffer.view_mut(swapped(outer))?.transposed(R - 2, R - 1)),
        }
    }

    /// Every head of every token turned.
    fn turned(self, x: &[f64], cos: &[f64], sin: &[f64], heads: usize, size: usize) -> Vec<f64> {
        let mut y = x.to_vec();
        for (row, y) in y.chunks_exact_mut(size).enumerate() {
            for i in 0..size / 2 {
                let angle = row / heads * (size / 2) + i;
                let [a, b] = self.pair(i, size);
                (y[a], y[b]) = (y[a] * cos[angle] - y[b] * sin[angle], y[b] * cos[angle] + y[a] * sin[angle]);
            }
        }
        y
    }
}

fn swapped<const R: usize>(mut dims: [usize; R]) -> [usize; R] {
    dims.swap(R - 2, R - 1);
    dims
}

struct Table {
    positions: Buffer<i32>,
    inv_freq: Buffer<f32>,
    cos: Output<f32>,
    sin: Output<f32>,
}

const FACTOR: f32 = 1.25;

impl Data for Table {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.cos.reset()?;
        self.sin.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let dims @ [tokens, pairs] = [self.positions.len(), self.inv_freq.len()];
        let (positions, inv_freq) = (self.positions.view([tokens])?, self.inv_freq.view([pairs])?);
        let (cos, sin) = (self.cos.buffer.view_mut(dims)?, self.sin.buffer.view_mut(dims)?);
        rope::run_table(stream, schedule, positions, inv_freq, cos, sin, FACTOR)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.cos.buffer)?, widened(&self.sin.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (positions, inv_freq) = (values(&self.positions)?, values(&self.inv_freq)?);
        let angles = positions.iter().flat_map(|&p| inv_freq.iter().map(move |f| f64::from(p as f32 * f)));
        let (sin, cos): (Vec<f64>, Vec<f64>) = angles.map(f64::sin_cos).unzip();
        Ok([cos, sin].map(|t| t.iter().map(|x| x * f64::from(FACTOR)).collect()).into())
    }
}

pub(crate) fn rope_table_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [tokens, pairs] = [params.shape[0], params.shape[1]];
    let kernel = pin(rope::rope_table::kernel(), &[("HD", pairs)]);
    let n = tokens * pairs;
    let cost = Cost { flops: 2.0 * n as f64, bytes: bytes::<f32>(2 * n), tolerance: 2e-6 };
    case(params, kernel, cost, |mut random| {
        let positions: Vec<i32> = (0..tokens).map(|_| random.below(40_000) as i32).collect();
        let inv_freq: Vec<f32> = (0..pairs).map(|i| 10_000f32.powf(-(i as f32) / pairs as f32)).collect();
        Ok(Table {
            positions: random.upload(&positions)?,
            inv_freq: random.upload(&inv_freq)?,
            cos: random.output(n)?,
            sin: random.output(n)?,
        })
    })
}

/// Random cos and sin of `n` angles.
fn angles(random: &mut Random, n: usize) -> Result<[Buffer<f32>; 2], KernelError> {
    let (sin, cos): (Vec<f32>, Vec<f32>) =
        random.values::<f32>(n).iter().map(|a| (3.0 * a).sin_cos()).unzip();
    Ok([random.upload(&cos)?, random.upload(&sin)?])
}

struct Turn<T> {
    pairing: Pairing,
    dims: [usize; 3],
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    x: Output<T>,
}

impl<T: Float> Data for Turn<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.x.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let [tokens, heads, size] = self.dims;
        let (cos, sin) = (self.cos.view([tokens, size / 2])?, self.sin.view([tokens, size / 2])?);
        let x = self.pairing.view_mut(&mut self.x.buffer, [tokens, heads, 2, size / 2])?;
        rope::run(stream, schedule, x, cos, sin)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.x.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let [_, heads, size] = self.dims;
        Ok(vec![self.pairing.turned(
            &self.x.before(),
            &widened(&self.cos)?,
            &widened(&self.sin)?,
            heads,
            size,
        )])
    }
}

fn turn<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let dims @ [tokens, heads, size] = [params.shape[0], params.shape[1], params.shape[2]];
    let (n, pairing) = (tokens * heads * size, Pairing::of(params));
    let kernel = pin(rope::rope::kernel::<T>(), &[("HD", size / 2)]);
    let cost = Cost { flops: 3.0 * n as f64, bytes: bytes::<T>(2 * n), tolerance: tolerance::<T>(1e-6) };
    case(params, kernel, cost, |mut random| {
        let [cos, sin] = angles(&mut random, tokens * size / 2)?;
        Ok(Turn::<T> { pairing, dims, cos, sin, x: random.updated(n)? })
    })
}

const PAGE_SIZE: usize = 16;
const EPS: f32 = 1e-6;

struct Write<T, W> {
    pairing: Pairing,
    norm: HeadNorm,
    dims: [usize; 4],
    n_pages: usize,
    q: Output<T>,
    k: Buffer<T>,
    v: Buffer<T>,
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    slots: Buffer<i32>,
    q_norm: Buffer<W>,
    k_norm: Buffer<W>,
    k_pages: Output<W>,
    v_pages: Output<W>,
}

impl<T: Float, W: Float> Write<T, W> {
    /// Pages with `[T, HKV, D]` rows in their slots, everything else as it was.
    fn written(&self, pages: &Output<W>, rows: &[f64]) -> Result<Vec<f64>, KernelError> {
        let [_, _, heads, size] = self.dims;
        let mut out = pages.before();
        for (t, slot) in values(&self.slots)?.into_iter().enumerate() {
            let Ok(slot) = usize::try_from(slot) else { continue };
            for h in 0..heads {
                let to = ((slot / PAGE_SIZE * heads + h) * PAGE_SIZE + slot % PAGE_SIZE) * size;
                let from = (t * heads + h) * size;
                out[to..to + size].copy_from_slice(&rows[from..from + size]);
            }
        }
        Ok(out)
    }
}

impl<T: Float, W: Float> Data for Write<T, W> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.q.reset()?;
        self.k_pages.reset()?;
        self.v_pages.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let [tokens, q_heads, kv_heads, size] = self.dims;
        let (pairing, half) = (self.pairing, size / 2);
        let pages = [self.n_pages, kv_heads, PAGE_SIZE, 2, half];
        let args = RopeWrite {
            q: pairing.view_mut(&mut self.q.buffer, [tokens, q_heads, 2, half])?,
            k: pairing.view(&self.k, [tokens, kv_heads, 2, half])?,
            v: pairing.view(&self.v, [tokens, kv_heads, 2, half])?,
            cos: self.cos.view([tokens, half])?,
            sin: self.sin.view([tokens, half])?,
            slots: self.slots.view([tokens])?,
            q_norm: pairing.view(&self.q_norm, [2, half])?,
            k_norm: pairing.view(&self.k_norm, [2, half])?,
            k_pages: pairing.view_mut(&mut self.k_pages.buffer, pages)?,
            v_pages: pairing.view_mut(&mut self.v_pages.buffer, pages)?,
            eps: EPS,
            norm: self.norm,
        };
        rope::run_write(stream, schedule, args)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.q.buffer)?, widened(&self.k_pages.buffer)?, widened(&self.v_pages.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let [_, q_heads, kv_heads, size] = self.dims;
        let (cos, sin) = (widened(&self.cos)?, widened(&self.sin)?);
        let normed = |x: Vec<f64>, w: &Buffer<W>| match self.norm {
            HeadNorm::None => Ok(x),
            HeadNorm::Rms => widened(w).map(|w| rms_reference(&x, &w)),
        };
        let q = self.pairing.turned(&normed(self.q.before(), &self.q_norm)?, &cos, &sin, q_heads, size);
        let k = self.pairing.turned(&normed(widened(&self.k)?, &self.k_norm)?, &cos, &sin, kv_heads, size);
        let (k_pages, v_pages) =
            (self.written(&self.k_pages, &k)?, self.written(&self.v_pages, &widened(&self.v)?)?);
        Ok(vec![q, k_pages, v_pages])
    }
}

fn write<T: Float, W: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let dims @ [tokens, q_heads, kv_heads, size] =
        [params.shape[0], params.shape[1], params.shape[2], params.shape[3]];
    let norm = if params.option("norm") == NORMS[1] { HeadNorm::None } else { HeadNorm::Rms };
    let pairing = Pairing::of(params);
    let kernel = rope::rope_write::kernel::<T, W, W>(norm);
    let kernel = pin(kernel, &[("HQ", q_heads), ("HKV", kv_heads), ("HD", size / 2)]);
    let (n_q, n_kv) = (tokens * q_heads * size, tokens * kv_heads * size);
    let cost = Cost {
        flops: 7.0 * (n_q + n_kv) as f64,
        bytes: bytes::<T>(2 * n_q + 2 * n_kv) + bytes::<W>(2 * n_kv),
        tolerance: tolerance::<W>(2e-6),
    };
    case(params, kernel, cost, |mut random| {
        let n_pages = tokens.div_ceil(PAGE_SIZE) + 1;
        // The tokens' slots are scattered over the pages; the second token is not written.
        let stride = PAGE_SIZE * n_pages - 1;
        let slot = |t: usize| if t == 1 { -1 } else { (t * stride % (PAGE_SIZE * n_pages)) as i32 };
        let slots = random.upload(&(0..tokens).map(slot).collect::<Vec<_>>())?;
        let [cos, sin] = angles(&mut random, tokens * size / 2)?;
        let pages = n_pages * kv_heads * PAGE_SIZE * size;
        Ok(Write::<T, W> {
            pairing,
            norm,
            dims,
            n_pages,
            q: random.updated(n_q)?,
            k: random.buffer(n_kv)?,
            v: random.buffer(n_kv)?,
            cos,
            sin,
            slots,
            q_norm: random.buffer(size)?,
            k_norm: random.buffer(size)?,
            k_pages: random.updated(pages)?,
            v_pages: random.updated(pages)?,
        })
    })
}

pub(crate) fn rope_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, turn)
}

pub(crate) fn rope_write_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, write)
}
