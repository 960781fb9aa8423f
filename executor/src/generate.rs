//! The generation loop: several prompts through one model, token by token, until each has ended.
//!
//! All that can fail for reasons of size is checked before the first kernel runs: every prompt against the context,
//! all of them together against the free pages. Pages return to the cache when a sequence ends, on error too.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::forward::{Chunk, Forward, ForwardLimits, LogitRows, Step};
use crate::kv_cache::{KvCache, SeqId};
use crate::sampler::{Draw, Sampler, SamplingParams};
use crate::stop::StopMatcher;
use crate::tokenizer::{TextStream, Tokenizer};

/// A prompt and how to answer it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// The most tokens to generate.
    pub max_new_tokens: usize,
    /// How to pick tokens.
    pub sampling: SamplingParams,
    /// Tokens that end the answer.
    pub eos_token_ids: Vec<u32>,
    /// Text that ends the answer, and is not part of it.
    pub stops: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model gave this end token, which is the last of the tokens and not in the text.
    Eos(u32),
    /// This stop string came.
    Stop(String),
    /// `max_new_tokens` were generated.
    Length,
}

/// A finished answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The tokens generated.
    pub tokens: Vec<u32>,
    /// Their text, without special tokens, up to a stop string.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
}

/// What the loop did, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Prompt tokens that were run, not counting those already in the cache.
    pub n_prefill_tokens: usize,
    /// Time of the prefill and of picking the first tokens.
    pub prefill: Duration,
    /// Tokens picked after the first of each sequence.
    pub n_decode_tokens: usize,
    /// Time of all decode steps.
    pub decode: Duration,
}

/// A conversation whose keys and values stay in the cache between answers.
#[derive(Debug)]
pub struct Conversation {
    seq: SeqId,
    cached: Vec<u32>,
}

/// A model with its KV book-keeping.
pub struct Generator<'m> {
    forward: &'m mut dyn Forward,
    tokenizer: &'m Tokenizer,
    limits: ForwardLimits,
    kv: KvCache,
}

impl std::fmt::Debug for Generator<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generator")
            .field("limits", &self.limits)
            .field("kv", &self.kv)
            .finish_non_exhaustive()
    }
}

/// Receives text as it is released: which request, and the piece.
pub type OnText<'c> = dyn FnMut(usize, &str) + 'c;

impl<'m> Generator<'m> {
    /// A generator with all of the model's pages free.
    pub fn new(forward: &'m mut dyn Forward, tokenizer: &'m Tokenizer) -> Self {
        let limits = forward.limits();
        Self { forward, tokenizer, limits, kv: KvCache::new(limits.kv_layout, limits.n_kv_pages) }
    }

    /// The pages, free and held.
    pub fn kv(&self) -> &KvCache {
        &self.kv
    }

    /// Answers all requests as one batch.
    ///
    /// # Errors
    /// An empty prompt, a token outside the vocabulary, a context or KV budget that is too small (all before work
    /// starts), or a failure of the model, the sampler or the tokenizer.
    pub fn run(&mut self, requests: &[Request], on_text: &mut OnText<'_>) -> Result<(Vec<Answer>, Timing)> {
        for (prompt_idx, request) in requests.iter().enumerate() {
            check_request(request, prompt_idx, &self.limits)?;
        }
        let totals: Vec<usize> = requests.iter().map(total_tokens).collect();
        self.kv.check_fits(&totals)?;
        let mut active = requests
            .iter()
            .enumerate()
            .map(|(request_idx, request)| Active::new(request_idx, request, self.kv.add_sequence()))
            .collect::<Result<Vec<_>>>()?;
        let driven = self.drive(&mut active, on_text);
        for sequence in &active {
            if sequence.holds_pages {
                self.kv.free(sequence.seq);
            }
        }
        let timing = driven?;
        Ok((active.into_iter().map(Active::into_answer).collect(), timing))
    }

    /// Starts a conversation with nothing in it.
    pub fn start_conversation(&mut self) -> Conversation {
        Conversation { seq: self.kv.add_sequence(), cached: Vec::new() }
    }

    /// Answers the whole conversation so far, `request.prompt`, running only what is not in the cache yet.
    ///
    /// # Errors
    /// As [`Generator::run`]; the conversation can go on after an error.
    pub fn run_in(
        &mut self,
        conversation: &mut Conversation,
        request: &Request,
        on_text: &mut OnText<'_>,
    ) -> Result<(Answer, Timing)> {
        check_request(request, 0, &self.limits)?;
        let shared = conversation
            .cached
            .iter()
            .zip(&request.prompt)
            .take_while(|(cached, token)| cached == token)
            .count();
        // At least one token must run to give logits.
        let reused = shared.min(request.prompt.len() - 1);
        self.kv.truncate(conversation.seq, reused);
        conversation.cached.truncate(reused);
        let held = self.kv.page_table(conversation.seq).len() * self.limits.kv_layout.page_tokens;
        self.kv.check_fits(&[total_tokens(request).saturating_sub(held)])?;

        let mut active = Active::new(0, request, conversation.seq)?;
        active.n_cached = reused;
        active.keeps_pages = true;
        let mut batch = [active];
        let driven = self.drive(&mut batch, on_text);
        let [active] = batch;
        let timing = match driven {
            Ok(timing) => timing,
            Err(error) => {
                // What was written is unknown, so nothing is kept.
                self.kv.truncate(conversation.seq, 0);
                conversation.cached.clear();
                return Err(error);
            }
        };
        let written = self.kv.n_tokens(conversation.seq);
        conversation.cached = request.prompt.iter().chain(&active.tokens).copied().take(written).collect();
        Ok((active.into_answer(), timing))
    }

    /// Runs the sequences to their ends.
    fn drive(&mut self, active: &mut [Active<'_>], on_text: &mut OnText<'_>) -> Result<Timing> {
        let mut timing = Timing::default();
        let vocab_size = self.limits.vocab_size;
        active.iter_mut().filter(|sequence| sequence.request.max_new_tokens == 0).for_each(|sequence| {
            sequence.finish = Some(Finish::Length);
        });
        let mut live: Vec<&mut Active<'_>> =
            active.iter_mut().filter(|sequence| sequence.finish.is_none()).collect();
        if live.is_empty() {
            return Ok(timing);
        }

        let started = Instant::now();
        for sequence in &live {
            let n_new = sequence.request.prompt.len() - sequence.n_cached;
            self.kv.append(sequence.seq, n_new)?;
            timing.n_prefill_tokens += n_new;
        }
        let chunks: Vec<Chunk<'_>> = live
            .iter()
            .map(|sequence| Chunk {
                seq: sequence.seq,
                start: sequence.n_cached,
                tokens: &sequence.request.prompt[sequence.n_cached..],
            })
            .collect();
        // Rows of logits come to the host only where tokens are picked there.
        let mut logits = Vec::new();
        let picked = self.forward.prefill_and_pick(&self.kv, &chunks, &draws(&live))?;
        let tokens = match picked {
            Some(tokens) => counted(&mut live, tokens),
            None => {
                logits = vec![0.0; live.len() * vocab_size];
                self.forward.prefill(&self.kv, &chunks, LogitRows::Last, &mut logits)?;
                sampled(&mut live, &logits, vocab_size)?
            }
        };
        self.take(&mut live, &tokens, on_text)?;
        timing.prefill = started.elapsed();

        let started = Instant::now();
        loop {
            live.retain(|sequence| sequence.finish.is_none());
            if live.is_empty() {
                break;
            }
            let mut steps = Vec::with_capacity(live.len());
            for sequence in &live {
                let position = self.kv.n_tokens(sequence.seq);
                self.kv.append(sequence.seq, 1)?;
                let token = sequence.tokens[sequence.tokens.len() - 1];
                steps.push(Step { seq: sequence.seq, position, token });
            }
            let picked = self.forward.decode_and_pick(&self.kv, &steps, &draws(&live))?;
            let tokens = match picked {
                Some(tokens) => counted(&mut live, tokens),
                None => {
                    let rows = &mut logits[..live.len() * vocab_size];
                    self.forward.decode(&self.kv, &steps, rows)?;
                    sampled(&mut live, rows, vocab_size)?
                }
            };
            self.take(&mut live, &tokens, on_text)?;
            timing.n_decode_tokens += steps.len();
        }
        timing.decode = started.elapsed();
        Ok(timing)
    }

    /// Takes the next token of each sequence, releases text, and ends those that are done.
    fn take(&mut self, live: &mut [&mut Active<'_>], tokens: &[u32], on_text: &mut OnText<'_>) -> Result<()> {
        for (sequence, &token) in live.iter_mut().zip(tokens) {
            sequence.take(token, self.tokenizer, on_text)?;
            if sequence.finish.is_some() && !sequence.keeps_pages {
                self.kv.free(sequence.seq);
                sequence.holds_pages = false;
            }
        }
        Ok(())
    }
}

/// How the next token of each sequence is picked.
fn draws<'a>(live: &'a [&mut Active<'_>]) -> Vec<Draw<'a>> {
    live.iter().map(|sequence| sequence.sampler.draw()).collect()
}

/// Tokens that the device picked, each counted by its sequence's sampler.
fn counted(live: &mut [&mut Active<'_>], tokens: Vec<u32>) -> Vec<u32> {
    live.iter_mut().zip(&tokens).for_each(|(sequence, token)| {
        sequence.sampler.take(*token);
    });
    tokens
}

/// The next token of each sequence from its row, picked on the host.
fn sampled(live: &mut [&mut Active<'_>], logits: &[f32], vocab_size: usize) -> Result<Vec<u32>> {
    live.iter_mut().zip(logits.chunks_exact(vocab_size)).map(|(s, row)| s.sampler.sample(row)).collect()
}

/// A sequence in the batch.
struct Active<'r> {
    request_idx: usize,
    request: &'r Request,
    seq: SeqId,
    holds_pages: bool,
    keeps_pages: bool,
    n_cached: usize,
    sampler: Sampler,
    stream: TextStream,
    stops: StopMatcher,
    tokens: Vec<u32>,
    text: String,
    finish: Option<Finish>,
}

impl<'r> Active<'r> {
    fn new(request_idx: usize, request: &'r Request, seq: SeqId) -> Result<Self> {
        Ok(Self {
            request_idx,
            request,
            seq,
            holds_pages: true,
            keeps_pages: false,
            n_cached: 0,
            sampler: Sampler::new(request.sampling.clone(), request_idx as u64, &request.prompt)?,
            stream: TextStream::default(),
            stops: StopMatcher::new(&request.stops),
            tokens: Vec::new(),
            text: String::new(),
            finish: None,
        })
    }

    fn take(&mut self, token: u32, tokenizer: &Tokenizer, on_text: &mut OnText<'_>) -> Result<()> {
        self.tokens.push(token);
        if self.request.eos_token_ids.contains(&token) {
            self.finish = Some(Finish::Eos(token));
        } else {
            let text = self.stream.push(tokenizer, token)?;
            self.release(&text, on_text);
            if self.finish.is_none() && self.tokens.len() >= self.request.max_new_tokens {
                self.finish = Some(Finish::Length);
            }
        }
        if matches!(self.finish, Some(Finish::Eos(_) | Finish::Length)) {
            let rest = self.stream.finish(tokenizer)?;
            self.release(&rest, on_text);
            if !matches!(self.finish, Some(Finish::Stop(_))) {
                let held = self.stops.finish();
                self.show(&held, on_text);
            }
        }
        Ok(())
    }

    fn release(&mut self, text: &str, on_text: &mut OnText<'_>) {
        let step = self.stops.push(text);
        self.show(&step.text, on_text);
        if let Some(stop_idx) = step.stopped_by {
            self.finish = Some(Finish::Stop(self.request.stops[stop_idx].clone()));
        }
    }

    fn show(&mut self, text: &str, on_text: &mut OnText<'_>) {
        if !text.is_empty() {
            self.text.push_str(text);
            on_text(self.request_idx, text);
        }
    }

    fn into_answer(self) -> Answer {
        let finish = self.finish.expect("a sequence should be driven to its end");
        Answer { tokens: self.tokens, text: self.text, finish }
    }
}

fn total_tokens(request: &Request) -> usize {
    request.prompt.len() + request.max_new_tokens
}

/// Checks one request against the vocabulary and the context.
///
/// # Errors
/// An empty prompt, a token outside the vocabulary, a prompt too long for the context.
pub fn check_request(request: &Request, prompt_idx: usize, limits: &ForwardLimits) -> Result<()> {
    request.sampling.validate()?;
    if request.prompt.is_empty() {
        return Err(Error::EmptyPrompt { prompt_idx });
    }
    if let Some(position) = request.prompt.iter().position(|token| *token as usize >= limits.vocab_size) {
        let token = request.prompt[position];
        return Err(Error::TokenOutOfRange { prompt_idx, position, token, vocab_size: limits.vocab_size });
    }
    if total_tokens(request) > limits.context_tokens {
        return Err(Error::ContextExceeded {
            prompt_idx,
            prompt_tokens: request.prompt.len(),
            new_tokens: request.max_new_tokens,
            context_tokens: limits.context_tokens,
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
