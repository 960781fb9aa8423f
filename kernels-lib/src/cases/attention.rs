//! Cases of attention: over contiguous keys, over pages, and for one new token.

use tilewright_codegen::dsl::elem::{DotInput, Elem, Float};
use tilewright_codegen::kernel::Kernel;
use tilewright_codegen::schedule::{Schedule, TargetKind};
use tilewright_runtime::{Buffer, Stream};

use super::random::Random;
use super::{Case, CaseParams, Cost, Data, Output, bytes, case, tolerance, values, widened, with_pair};
use crate::attention::Mask;
use crate::attention_decode::{Schedules, Scratch};
use crate::attention_paged::Pages;
use crate::error::KernelError;
use crate::host::{divide, pin};
use crate::online_softmax::is_narrow;
use crate::reference::attend;
use crate::{attention, attention_decode, attention_paged};

/// Names of the masks of contiguous attention, the first the default.
pub(crate) const MASKS: &[&str] = &["causal", "window", "full"];
/// Names of the masks of paged attention, the first the default.
pub(crate) const PAGED_MASKS: &[&str] = &["causal", "window"];
/// Page sizes, the first the default.
pub(crate) const PAGE_SIZES: &[&str] = &["128", "16"];

fn mask(params: &CaseParams) -> Mask {
    match params.option("mask") {
        "window" => Mask::Window,
        "full" => Mask::Full,
        _ => Mask::Causal,
    }
}

/// The tolerance of results in `T` from keys and values of `C`: a rounding more where weights are rounded before they meet values.
fn attention_tolerance<T: Float, C: Float>() -> f64 {
    let base = 4e-6;
    tolerance::<T>(if is_narrow::<T, C>() { tolerance::<T>(base) } else { base })
}

/// The keys that the query at `position` of a context of `keys` may see.
fn visible(mask: Mask, position: usize, keys: usize, window: usize) -> std::ops::Range<usize> {
    match mask {
        Mask::Full => 0..keys,
        Mask::Causal => 0..position + 1,
        Mask::Window => (position + 1).saturating_sub(window)..position + 1,
    }
}

/// Pairs of query and key that a sequence computes.
fn pairs(mask: Mask, tokens: usize, keys: usize, window: usize) -> f64 {
    (0..tokens).map(|i| visible(mask, keys - tokens + i, keys, window).len() as f64).sum()
}

/// Heads: key/value heads, query heads per key/value head, elements.
#[derive(Clone, Copy)]
struct Heads {
    kv: usize,
    group: usize,
    size: usize,
}

impl Heads {
    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Attention of `tokens` queries, `[tokens, kv, group, size]`, over keys and values found by position and head.
    fn reference<'a>(
        self,
        q: &[f64],
        [tokens, keys]: [usize; 2],
        (mask, window): (Mask, usize),
        row: impl Fn(usize, usize) -> [&'a [f64]; 2],
    ) -> Vec<f64> {
        let mut out = Vec::with_capacity(q.len());
        for (i, q) in q.chunks_exact(self.size).enumerate() {
            let (t, head) = (i / (self.kv * self.group), i / self.group % self.kv);
            let seen = visible(mask, keys - tokens + t, keys, window);
            let (k, v): (Vec<_>, Vec<_>) =
                seen.map(|n| row(n, head).into()).collect::<Vec<(_, _)>>().into_iter().unzip();
            out.extend(attend(q, &k, &v, f64::from(self.scale())));
        }
        out
    }
}

struct Contiguous<T, C> {
    heads: Heads,
    tokens: usize,
    keys: usize,
    mask: Mask,
    window: usize,
    q: Buffer<T>,
    k: Buffer<C>,
    v: Buffer<C>,
    o: Output<T>,
}

impl<T: Float, C: Float + DotInput<Acc = f32>> Data for Contiguous<T, C> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.o.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let Heads { kv, group, size } = self.heads;
        let (queries, keys) = ([self.tokens, kv, group, size], [self.keys, kv, size]);
        let (q, k, v) = (self.q.view(queries)?, self.k.view(keys)?, self.v.view(keys)?);
        let (o, window) = (self.o.buffer.view_mut(queries)?, self.window as i32);
        attention::run(stream, schedule, q, k, v, o, self.heads.scale(), window, self.mask)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.o.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (k, v) = (widened(&self.k)?, widened(&self.v)?);
        let Heads { kv, size, .. } = self.heads;
        let row = |n: usize, head: usize| {
            let at = (n * kv + head) * size;
            [&k[at..at + size], &v[at..at + size]]
        };
        Ok(vec![self.heads.reference(
            &widened(&self.q)?,
            [self.tokens, self.keys],
            (self.mask, self.window),
            row,
        )])
    }
}

fn contiguous<T: Float, C: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    let [tokens, keys] = [params.shape[0], params.shape[1]];
    let heads = Heads { kv: params.shape[2], group: params.shape[3], size: params.shape[4] };
    let Heads { kv, group, size } = heads;
    let (mask, window) = (mask(params), keys / 3 + 1);
    let kernel = pin(attention::attention::kernel::<T, C>(mask), &[("G", group), ("D", size)]);
    let (n_q, n_kv) = (tokens * kv * group * size, keys * kv * size);
    let cost = Cost {
        flops: 4.0 * (kv * group * size) as f64 * pairs(mask, tokens, keys, window),
        bytes: bytes::<T>(2 * n_q) + bytes::<C>(2 * n_kv),
        tolerance: attention_tolerance::<T, C>(),
    };
    case(params, kernel, cost, |mut random| {
        let (q, k, v) = (random.buffer(n_q)?, random.buffer(n_kv)?, random.buffer(n_kv)?);
        Ok(Contiguous::<T, C> { heads, tokens, keys, mask, window, q, k, v, o: random.output(n_q)? })
    })
}

/// Pages of several sequences, in no order; NaN where no sequence has written.
struct Cache<C> {
    page_size: usize,
    max_pages: usize,
    k: Buffer<C>,
    v: Buffer<C>,
    table: Buffer<i32>,
    lengths: Buffer<i32>,
}

impl<C: Elem> Cache<C> {
    fn new(
        random: &mut Random,
        lengths: &[usize],
        page_size: usize,
        heads: Heads,
    ) -> Result<Self, KernelError> {
        let max_pages = lengths.iter().max().map_or(0, |n| n.div_ceil(page_size));
        let n_pages = max_pages * lengths.len();
        let mut pages: Vec<i32> = (0..n_pages as i32).collect();
        for i in (1..n_pages).rev() {
            pages.swap(i, random.below(i + 1));
        }
        let n = n_pages * heads.kv * page_size * heads.size;
        let (mut k, mut v) = (random.values::<C>(n), random.values::<C>(n));
        for (s, &length) in lengths.iter().enumerate() {
            for position in length..max_pages * page_size {
                let page = pages[s * max_pages + position / page_size] as usize;
                for head in 0..heads.kv {
                    let at = ((page * heads.kv + head) * page_size + position % page_size) * heads.size;
                    k[at..at + heads.size].fill(C::from_f64(f64::NAN));
                    v[at..at + heads.size].fill(C::from_f64(f64::NAN));
                }
            }
        }
        let lengths: Vec<i32> = lengths.iter().map(|&n| n as i32).collect();
        Ok(Self {
            page_size,
            max_pages,
            k: random.upload(&k)?,
            v: random.upload(&v)?,
            table: random.upload(&pages)?,
            lengths: random.upload(&lengths)?,
        })
    }

    fn pages(&self, heads: Heads) -> Result<Pages<'_, C>, KernelError> {
        let sequences = self.lengths.len();
        let dims = [self.max_pages * sequences, heads.kv, self.page_size, heads.size];
        Ok(Pages {
            k: self.k.view(dims)?,
            v: self.v.view(dims)?,
            table: self.table.view([sequences, self.max_pages])?,
            lengths: self.lengths.view([sequences])?,
        })
    }

    /// Attention of sequence `s`, whose queries are the last of its positions.
    fn reference(
        &self,
        s: usize,
        q: &[f64],
        heads: Heads,
        masking: (Mask, usize),
    ) -> Result<Vec<f64>, KernelError> {
        let (k, v) = (widened(&self.k)?, widened(&self.v)?);
        let (lengths, table) = (values(&self.lengths)?, values(&self.table)?);
        let keys = lengths[s] as usize;
        let tokens = q.len() / (heads.kv * heads.group * heads.size);
        Ok(heads.reference(q, [tokens, keys], masking, |n, head| {
            let page = table[s * self.max_pages + n / self.page_size] as usize;
            let at = ((page * heads.kv + head) * self.page_size + n % self.page_size) * heads.size;
            [&k[at..at + heads.size], &v[at..at + heads.size]]
        }))
    }
}

fn page_size(params: &CaseParams) -> usize {
    params.option("page").parse().unwrap_or(128)
}

struct Paged<T, C> {
    heads: Heads,
    mask: Mask,
    window: usize,
    tokens: Vec<usize>,
    starts: Buffer<i32>,
    cache: Cache<C>,
    q: Buffer<T>,
    o: Output<T>,
}

impl<T: Float, C: Float + DotInput<Acc = f32>> Data for Paged<T, C> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.o.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let Heads { kv, group, size } = self.heads;
        let (total, longest) = (self.tokens.iter().sum(), self.tokens.iter().copied().max().unwrap_or(0));
        let dims = [total, kv, group, size];
        let (q, o, pages) =
            (self.q.view(dims)?, self.o.buffer.view_mut(dims)?, self.cache.pages(self.heads)?);
        let (starts, window) = (self.starts.view([self.tokens.len() + 1])?, self.window as i32);
        let scale = self.heads.scale();
        attention_paged::run(stream, schedule, q, pages, starts, longest, o, scale, window, self.mask)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.o.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (q, width) = (widened(&self.q)?, self.heads.kv * self.heads.group * self.heads.size);
        let starts = values(&self.starts)?;
        let mut out = Vec::with_capacity(q.len());
        for (s, &tokens) in self.tokens.iter().enumerate() {
            let from = starts[s] as usize * width;
            let q = &q[from..from + tokens * width];
            out.extend(self.cache.reference(s, q, self.heads, (self.mask, self.window))?);
        }
        Ok(vec![out])
    }
}

fn paged<T: Float, C: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    let [sequences, tokens, past] = [params.shape[0], params.shape[1], params.shape[2]];
    let heads = Heads { kv: params.shape[3], group: params.shape[4], size: params.shape[5] };
    let Heads { kv, group, size } = heads;
    let (mask, page) = (mask(params), page_size(params));
    let kernel = pin(attention_paged::attention_paged::kernel::<T, C>(mask), &[("G", group), ("D", size)]);
    let kernel = divide(kernel, "BN", page);
    // Later sequences are shorter.
    let tokens: Vec<usize> = (0..sequences).map(|s| (tokens >> s).max(1)).collect();
    let lengths: Vec<usize> = tokens.iter().enumerate().map(|(s, n)| n + past / (s + 1)).collect();
    let window = lengths[0] / 3 + 1;
    let starts: Vec<i32> = (0..=sequences).map(|s| tokens[..s].iter().sum::<usize>() as i32).collect();
    let (total, keys) = (tokens.iter().sum::<usize>(), lengths.iter().sum::<usize>());
    let all_pairs: f64 = tokens.iter().zip(&lengths).map(|(&t, &n)| pairs(mask, t, n, window)).sum();
    let n_q = total * kv * group * size;
    let cost = Cost {
        flops: 4.0 * (kv * group * size) as f64 * all_pairs,
        bytes: bytes::<T>(2 * n_q) + bytes::<C>(2 * keys * kv * size),
        tolerance: attention_tolerance::<T, C>(),
    };
    case(params, kernel, cost, |mut random| {
        Ok(Paged::<T, C> {
            heads,
            mask,
            window,
            tokens: tokens.clone(),
            starts: random.upload(&starts)?,
            cache: Cache::new(&mut random, &lengths, page, heads)?,
            q: random.buffer(n_q)?,
            o: random.output(n_q)?,
        })
    })
}

struct Decode<T, C> {
    heads: Heads,
    mask: Mask,
    window: usize,
    splits: usize,
    merge: Kernel,
    cache: Cache<C>,
    partial: Output<f32>,
    stats: Output<f32>,
    q: Buffer<T>,
    o: Output<T>,
}

impl<T: Float, C: Float + DotInput<Acc = f32>> Data for Decode<T, C> {
    fn reset(&mut self) -> Result<(), KernelError> {
        self.partial.reset()?;
        self.stats.reset()?;
        self.o.reset()
    }

    fn launch(&mut self, stream: &Stream, schedule: &Schedule) -> Result<(), KernelError> {
        let (Heads { kv, group, size }, sequences) = (self.heads, self.cache.lengths.len());
        let dims = [sequences, kv, group, size];
        let (q, o, pages) =
            (self.q.view(dims)?, self.o.buffer.view_mut(dims)?, self.cache.pages(self.heads)?);
        let merge = match stream.device().kind() {
            TargetKind::Cpu => &self.merge.default,
            TargetKind::Gpu => &self.merge.gpu.default,
        };
        let schedules = Schedules { decode: schedule, merge };
        let scratch = Scratch {
            partial: self.partial.buffer.view_mut([sequences, kv, self.splits, group, size])?,
            stats: self.stats.buffer.view_mut([sequences, kv, self.splits, 2, group])?,
        };
        let (scale, window) = (self.heads.scale(), self.window as i32);
        attention_decode::run(stream, schedules, q, pages, scratch, o, scale, window, self.mask)
    }

    fn outputs(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        Ok(vec![widened(&self.o.buffer)?])
    }

    fn reference(&self) -> Result<Vec<Vec<f64>>, KernelError> {
        let (q, width) = (widened(&self.q)?, self.heads.kv * self.heads.group * self.heads.size);
        let mut out = Vec::with_capacity(q.len());
        for (s, q) in q.chunks_exact(width).enumerate() {
            out.extend(self.cache.reference(s, q, self.heads, (self.mask, self.window))?);
        }
        Ok(vec![out])
    }
}

fn decode<T: Float, C: Float + DotInput<Acc = f32>>(
    params: &CaseParams,
) -> Result<Box<dyn Case>, KernelError> {
    let [sequences, context] = [params.shape[0], params.shape[1]];
    let heads = Heads { kv: params.shape[2], group: params.shape[3], size: params.shape[4] };
    let splits = params.shape[5];
    let Heads { kv, group, size } = heads;
    let (mask, page) = (mask(params), page_size(params));
    let part = if splits == 1 { attention_decode::Part::Whole } else { attention_decode::Part::Split };
    let fixed = [("G", group), ("D", size)];
    let kernel = pin(attention_decode::attention_decode::kernel::<T, C>(mask, part), &fixed);
    let kernel = divide(kernel, "BN", page);
    let merge = pin(attention_decode::attention_merge::kernel::<T>(), &fixed);
    let lengths: Vec<usize> = (0..sequences).map(|s| (context / (s + 1)).max(1)).collect();
    let window = context / 3 + 1;
    let keys: usize = lengths.iter().sum();
    let all_pairs: f64 = lengths.iter().map(|&n| pairs(mask, 1, n, window)).sum();
    let n_q = sequences * kv * group * size;
    let cost = Cost {
        flops: 4.0 * (kv * group * size) as f64 * all_pairs,
        bytes: bytes::<T>(2 * n_q) + bytes::<C>(2 * keys * kv * size),
        tolerance: attention_tolerance::<T, C>(),
    };
    case(params, kernel, cost, |mut random| {
        Ok(Decode::<T, C> {
            heads,
            mask,
            window,
            splits,
            merge: merge.clone(),
            cache: Cache::new(&mut random, &lengths, page, heads)?,
            partial: random.output(n_q * splits)?,
            stats: random.output(sequences * kv * splits * 2 * group)?,
            q: random.buffer(n_q)?,
            o: random.output(n_q)?,
        })
    })
}

pub(crate) fn attention_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, contiguous)
}

pub(crate) fn attention_paged_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, paged)
}

pub(crate) fn attention_decode_case(params: &CaseParams) -> Result<Box<dyn Case>, KernelError> {
    with_pair!(params, decode)
}
