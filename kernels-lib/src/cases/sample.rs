//! Cases of sampling: the pick of a token, and the repetition penalty before it.

use tilewright_codegen::dsl::elem::Float;
use tilewright_codegen::schedule::Schedule;
use tilewright_runtime::{Buffer, Stream};

use super::rows::ranked;
use super::{Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, values, widened, with_single};
use crate::error::KernelError;
use crate::{penalise, sample};

/// Which filters a case has on.
pub(crate) const FILTERS: &[&str] = &["all", "none", "greedy", "top_k", "top_p", "min_p"];

/// One row's controls.
#[derive(Clone, Copy)]
struct Control {
    temperature: f32,
    top_k: i32,
    top_p: f32,
    min_p: f32,
}

impl Control {
    /// The controls of row `r` where the filters named are on.
    fn of(filters: &str, r: usize) -> Self {
        let none = Self { temperature: 0.5 + 0.25 * (r % 5) as f32, top_k: 0, top_p: 1.0, min_p: 0.0 };
        // Among equal weights a round share of a number of them would be a border that f32 rounds either way.
        let (top_k, top_p, min_p) = (1 + 3 * (r as i32 % 6), 0.317 + 0.0937 * (r % 7) as f32, 0.02);
        match filters {
            "all" => Self { top_k: 40 + top_k, top_p, min_p, ..none },
            "greedy" => Self { temperature: 0.0, top_k, top_p, min_p },
            "top_k" => Self { top_k, ..none },
            "top_p" => Self { top_p, ..none },
            "min_p" => Self { min_p: 0.3, ..none },
            _ => none,
        }
    }
}

struct Sample<T> {
    dims: [usize; 2],
    logits: Buffer<T>,
    controls: Vec<Control>,
    temperatures: Buffer<f32>,
    top_ks: Buffer<i32>,
    top_ps: Buffer<f32>,
    min_ps: Buffer<f32>,
    streams: Buffer<i64>,
    steps: Buffer<i32>,
    tokens: Output<i32>,
}

impl<T: Float> Data for Sample<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.tokens.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let rows = [self.dims[0]];
        let controls = sample::Controls {
            temperatures: self.temperatures.view(rows)?,
            top_ks: self.top_ks.view(rows)?,
            top_ps: self.top_ps.view(rows)?,
            min_ps: self.min_ps.view(rows)?,
            streams: self.streams.view(rows)?,
            steps: self.steps.view(rows)?,
        };
        let tokens = self.tokens.buffer.view_mut(rows)?;
        sample::run(stream, schedule, self.logits.view(self.dims)?, controls, tokens)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.tokens.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let logits = widened(&self.logits)?;
        let (streams, steps) = (values(&self.streams)?, values(&self.steps)?);
        let rows = logits.chunks_exact(self.dims[1]).enumerate();
        let token = |(r, row): (usize, &[f64])| {
            let u = (sample::bits(streams[r] as u64, steps[r] as u64) >> 40) as f64 / f64::from(1 << 24);
            picked(row, self.controls[r], u).map_or(-1.0, |token| token as f64)
        };
        Ok(vec![rows.map(token).collect()])
    }
}

/// The token that sorting gives; `None` for a row that cannot be picked from.
fn picked(row: &[f64], control: Control, u: f64) -> Option<usize> {
    if row.iter().any(|x| x.is_nan() || *x == f64::INFINITY) {
        return None;
    }
    let mut order = ranked(row);
    let best = order[0];
    if row[best] == f64::NEG_INFINITY || control.temperature == 0.0 {
        return (row[best] > f64::NEG_INFINITY).then_some(best);
    }
    let top_k = control.top_k as usize;
    if top_k > 0 && top_k < order.len() {
        let least = row[order[top_k - 1]];
        order.retain(|&i| row[i] >= least);
    }
    let weight = |i: usize| ((row[i] - row[best]) / f64::from(control.temperature)).exp();
    if control.top_p < 1.0 {
        let mut left: f64 = order.iter().map(|&i| weight(i)).sum::<f64>() * f64::from(control.top_p);
        let n = order.iter().take_while(|&&i| {
            let is_needed = left > 0.0;
            left -= weight(i);
            is_needed
        });
        let n = n.count().max(1);
        order.truncate(n);
    }
    order.retain(|&i| weight(i) >= f64::from(control.min_p));
    let mut target = u * order.iter().map(|&i| weight(i)).sum::<f64>();
    let last = *order.last()?;
    let falls_on = |&i: &usize| {
        target -= weight(i);
        target < 0.0
    };
    Some(order.into_iter().find(falls_on).unwrap_or(last))
}

fn pick<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let dims @ [rows, length] = [params.shape[0], params.shape[1]];
    let n = rows * length;
    let cost = Cost { flops: 4.0 * n as f64, bytes: bytes::<T>(n), tolerance: 0.0 };
    let filters = params.option("filters").to_owned();
    case(params, sample::sample::kernel::<T>(), cost, |mut random| {
        let mut logits: Vec<T> = Vec::with_capacity(n);
        for r in 0..rows {
            // Half of the rows are full of equal logits.
            let tied = |x: f32| if r % 2 == 1 { (8.0 * x).round() } else { 8.0 * x };
            logits.extend(random.values::<f32>(length).iter().map(|x| T::from_f64(f64::from(tied(*x)))));
        }
        if rows > 2 {
            logits[2 * length + length / 2] = T::from_f64(f64::NAN);
        }
        let controls: Vec<Control> = (0..rows).map(|r| Control::of(&filters, r)).collect();
        let streams: Vec<i64> = (0..rows).map(|_| random.below(usize::MAX) as i64).collect();
        let each = |f: fn(&Control) -> f32| random.upload(&controls.iter().map(f).collect::<Vec<_>>());
        Ok(Sample::<T> {
            dims,
            logits: random.upload(&logits)?,
            temperatures: each(|c| c.temperature)?,
            top_ks: random.upload(&controls.iter().map(|c| c.top_k).collect::<Vec<_>>())?,
            top_ps: each(|c| c.top_p)?,
            min_ps: each(|c| c.min_p)?,
            streams: random.upload(&streams)?,
            steps: random.upload(&(0..rows as i32).map(|r| 7 * r).collect::<Vec<_>>())?,
            tokens: random.output(rows)?,
            controls,
        })
    })
}

struct Penalise<T> {
    dims: [usize; 2],
    n_seen: usize,
    seen: Buffer<i32>,
    penalties: Buffer<f32>,
    logits: Output<T>,
}

impl<T: Float> Data for Penalise<T> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.logits.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let rows = self.dims[0];
        let (seen, penalties) = (self.seen.view([rows, self.n_seen])?, self.penalties.view([rows])?);
        penalise::run(stream, schedule, seen, penalties, self.logits.buffer.view_mut(self.dims)?)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.logits.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let mut logits = self.logits.before();
        let penalties = widened(&self.penalties)?;
        for (r, seen) in values(&self.seen)?.chunks_exact(self.n_seen).enumerate() {
            let row = &mut logits[r * self.dims[1]..(r + 1) * self.dims[1]];
            for token in seen.iter().filter_map(|&t| usize::try_from(t).ok()).filter(|&t| t < self.dims[1]) {
                let x = row[token];
                row[token] = if x < 0.0 { x * penalties[r] } else { x / penalties[r] };
            }
        }
        Ok(vec![logits])
    }
}

fn penalty<T: Float>(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    let [rows, length, n_seen] = [params.shape[0], params.shape[1], params.shape[2]];
    let n = rows * n_seen;
    let cost =
        Cost { flops: n as f64, bytes: bytes::<T>(2 * n) + bytes::<i32>(n), tolerance: tolerance::<T>(1e-6) };
    case(params, penalise::penalise::kernel::<T>(), cost, |mut random| {
        let mut seen = vec![-1; n];
        for row in seen.chunks_mut(n_seen) {
            // Neighbours are half a vocabulary apart, and the last place has a token outside it where there is room.
            let (first, stride) = (random.below(length), length / 2 + 1);
            let n_tokens = n_seen.min(length / 3 + 1);
            let mut tokens: Vec<usize> = (0..n_tokens).map(|i| (first + i * stride) % length).collect();
            tokens.sort_unstable();
            tokens.dedup();
            row.iter_mut().zip(tokens).for_each(|(place, token)| *place = token as i32);
            if let [.., last @ -1] = row {
                *last = length as i32 + 5;
            }
        }
        Ok(Penalise {
            dims: [rows, length],
            n_seen,
            seen: random.upload(&seen)?,
            penalties: random.upload(&(0..rows).map(|r| 0.8 + 0.3 * r as f32).collect::<Vec<_>>())?,
            logits: random.updated::<T>(rows * length)?,
        })
    })
}

pub(crate) fn sample_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, pick)
}

pub(crate) fn penalise_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_single!(params, penalty)
}
