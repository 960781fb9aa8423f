//! From a row of logits to the next token.
//!
//! The filters come in transformers' order: repetition penalty, temperature, top-k, top-p, min-p. Each is applied to
//! what the one before it left. Random numbers are a pure function of (seed, sequence, step), so an answer does not
//! depend on which other sequences share its batch. Probabilities are summed in f64.

use tilewright_kernels::sample::{bits, mix};

use crate::error::{Error, Result};

/// How to pick tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Keeps the best `k` tokens (and any equal to the last of them); `None` keeps all.
    pub top_k: Option<usize>,
    /// Keeps the smallest set of best tokens whose mass reaches this; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less probable than this times the best one; 0 drops none.
    pub min_p: f32,
    /// Logits of tokens already in the sequence, the prompt included, are divided by this where positive and
    /// multiplied where negative; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl SamplingParams {
    /// The most probable token, always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, top_k: None, top_p: 1.0, min_p: 0.0, repetition_penalty: 1.0, seed: 0 }
    }

    /// Whether the most probable token is always taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Checks that every number is in its range.
    ///
    /// # Errors
    /// [`Error::BadOption`] with the option, its value and its range.
    pub fn validate(&self) -> Result<()> {
        let bad = |option, found: String, expected| Err(Error::BadOption { option, found, expected });
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad("--temperature", self.temperature.to_string(), "a number from 0 (greedy) up");
        }
        if self.top_k == Some(0) {
            return bad("--top-k", "0".to_owned(), "an integer above 0");
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return bad("--top-p", self.top_p.to_string(), "a number from 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return bad("--min-p", self.min_p.to_string(), "a number from 0 to 1");
        }
        if !(self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite()) {
            return bad("--repetition-penalty", self.repetition_penalty.to_string(), "a number above 0");
        }
        Ok(())
    }
}

/// A token that may be picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Token id.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
}

/// What a device needs to pick a sequence's next token; its random bits are [`bits`] of stream and step, as the host's.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// How to pick.
    pub params: &'a SamplingParams,
    /// The sequence's stream of random numbers.
    pub stream: u64,
    /// Tokens picked before.
    pub step: u64,
    /// Tokens that a repetition penalty makes less likely, each once; none where there is no penalty.
    pub seen: &'a [u32],
}

/// One sequence's sampling state.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    stream: u64,
    step: u64,
    seen: TokenSet,
    /// The tokens of `seen` in the order in which they came.
    seen_tokens: Vec<u32>,
    scratch: Vec<Candidate>,
}

impl Sampler {
    /// State for sequence number `sequence_idx`, whose prompt is `prompt`.
    ///
    /// # Errors
    /// Parameters out of range.
    pub fn new(params: SamplingParams, sequence_idx: u64, prompt: &[u32]) -> Result<Self> {
        params.validate()?;
        let stream = mix(params.seed ^ mix(sequence_idx));
        let mut sampler = Self {
            params,
            stream,
            step: 0,
            seen: TokenSet::default(),
            seen_tokens: Vec::new(),
            scratch: Vec::new(),
        };
        prompt.iter().for_each(|token| sampler.see(*token));
        Ok(sampler)
    }

    /// What a device needs to pick the next token; hand what it picked to [`Sampler::take`].
    pub fn draw(&self) -> Draw<'_> {
        Draw { params: &self.params, stream: self.stream, step: self.step, seen: &self.seen_tokens }
    }

    /// The parameters.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Picks the next token from a full row, `[vocab_size]`, and counts it as seen.
    ///
    /// Cost: one pass for greedy; otherwise a pass per filter and a sort of what the filters leave.
    ///
    /// # Errors
    /// [`Error::BadLogits`] for NaN, plus infinity, or no finite logit.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        if self.params.is_greedy() && self.params.repetition_penalty == 1.0 {
            let best = best_of(logits.iter().copied()).map_err(|why| self.bad_logits(why))?;
            return Ok(self.take(best as u32));
        }
        let mut candidates = std::mem::take(&mut self.scratch);
        candidates.clear();
        candidates.extend((0u32..).zip(logits).map(|(token, &logit)| Candidate { token, logit }));
        let picked = self.sample_candidates(&mut candidates);
        self.scratch = candidates;
        picked
    }

    /// Picks the next token from some of the row, such as a top-k kernel's output, and counts it as seen.
    ///
    /// The result is that of [`Sampler::sample`] on the full row when the candidates include all that the filters
    /// would keep: with a repetition penalty, or with top-k off, pass enough of them. `candidates` is left in no
    /// particular state.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn sample_candidates(&mut self, candidates: &mut Vec<Candidate>) -> Result<u32> {
        let penalty = self.params.repetition_penalty;
        if penalty != 1.0 {
            for candidate in candidates.iter_mut().filter(|candidate| self.seen.contains(candidate.token)) {
                let logit = candidate.logit;
                candidate.logit = if logit < 0.0 { logit * penalty } else { logit / penalty };
            }
        }
        let best = best_of(candidates.iter().map(|candidate| candidate.logit))
            .map_err(|why| self.bad_logits(why))?;
        if self.params.is_greedy() {
            return Ok(self.take(candidates[best].token));
        }
        let max_logit = candidates[best].logit;
        if let Some(top_k) = self.params.top_k {
            keep_top_k(candidates, top_k);
        }
        let mut weighted: Vec<Weighted> = weigh(candidates, max_logit, self.params.temperature);
        if self.params.top_p < 1.0 {
            keep_top_p(&mut weighted, f64::from(self.params.top_p));
        } else {
            sort_descending(&mut weighted);
        }
        if self.params.min_p > 0.0 {
            // Weights are relative to the best token's already.
            weighted.retain(|candidate| candidate.weight >= f64::from(self.params.min_p));
        }
        let total: f64 = weighted.iter().map(|candidate| candidate.weight).sum();
        let target = self.uniform() * total;
        let mut below = 0.0;
        for candidate in &weighted {
            below += candidate.weight;
            if target < below {
                return Ok(self.take(candidate.token));
            }
        }
        // Rounding may leave the target at the very end.
        let last = weighted.last().map_or(candidates[0].token, |candidate| candidate.token);
        Ok(self.take(last))
    }

    /// Counts `token`, picked elsewhere, as seen.
    pub fn take(&mut self, token: u32) -> u32 {
        self.step += 1;
        self.see(token);
        token
    }

    fn see(&mut self, token: u32) {
        if self.params.repetition_penalty != 1.0 && !self.seen.contains(token) {
            self.seen.insert(token);
            self.seen_tokens.push(token);
        }
    }

    /// In [0, 1), 53 bits.
    fn uniform(&self) -> f64 {
        (bits(self.stream, self.step) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn bad_logits(&self, why: String) -> Error {
        Error::BadLogits { step: self.step, why }
    }
}

#[derive(Clone, Copy, Debug)]
struct Weighted {
    token: u32,
    /// Probability relative to the best token's.
    weight: f64,
}

/// Index of the largest value, the first of equals.
fn best_of(logits: impl Iterator<Item = f32>) -> Result<usize, String> {
    let (mut best_idx, mut best) = (None, f32::NEG_INFINITY);
    for (idx, logit) in logits.enumerate() {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(format!("entry {idx} is {logit}"));
        }
        if logit > best {
            (best_idx, best) = (Some(idx), logit);
        }
    }
    best_idx.ok_or_else(|| "no entry is above minus infinity".to_owned())
}

/// Drops what is below the k-th largest logit; its equals stay.
fn keep_top_k(candidates: &mut Vec<Candidate>, top_k: usize) {
    if top_k < candidates.len() {
        let (_, kth, _) = candidates.select_nth_unstable_by(top_k - 1, |a, b| b.logit.total_cmp(&a.logit));
        let threshold = kth.logit;
        candidates.retain(|candidate| candidate.logit >= threshold);
    }
}

fn weigh(candidates: &[Candidate], max_logit: f32, temperature: f32) -> Vec<Weighted> {
    let temperature = f64::from(temperature);
    candidates
        .iter()
        .map(|candidate| {
            let below_best = f64::from(candidate.logit) - f64::from(max_logit);
            Weighted { token: candidate.token, weight: (below_best / temperature).exp() }
        })
        .filter(|candidate| candidate.weight > 0.0)
        .collect()
}

/// Drops the tail: tokens up to which the mass, summed from the least probable, is at most `1 - top_p`.
///
/// Leaves the rest sorted, best first. Tokens whose weight is below `(1 - top_p) / n` are certainly in the tail, so
/// only the others are sorted: a few hundred of a vocabulary of 150,000.
fn keep_top_p(candidates: &mut Vec<Weighted>, top_p: f64) {
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let tail_mass = (1.0 - top_p) * total;
    let certain = tail_mass / candidates.len() as f64;
    let mut dropped = 0.0;
    candidates.retain(|candidate| {
        let stays = candidate.weight >= certain;
        if !stays {
            dropped += candidate.weight;
        }
        stays
    });
    sort_descending(candidates);
    while candidates.len() > 1 {
        let last = candidates[candidates.len() - 1].weight;
        if dropped + last > tail_mass {
            break;
        }
        dropped += last;
        candidates.pop();
    }
}

fn sort_descending(candidates: &mut [Weighted]) {
    candidates.sort_unstable_by(|a, b| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token)));
}

/// A set of token ids, one bit each.
#[derive(Clone, Debug, Default)]
struct TokenSet {
    words: Vec<u64>,
}

impl TokenSet {
    fn insert(&mut self, token: u32) {
        let word = token as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (token % 64);
    }

    fn contains(&self, token: u32) -> bool {
        self.words.get(token as usize / 64).is_some_and(|word| word >> (token % 64) & 1 == 1)
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
