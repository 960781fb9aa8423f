//! How the tokens of a pass are picked, in device memory: what each sequence asks for, and the tokens that come out.
//!
//! What a sequence asks for seldom changes, so it is brought to the device only when the batch does; what changes with every step
//! (its number, the tokens seen) travels with the other inputs of the pass.

use tilewright_codegen::tensor::{TensorMut, TensorRef};
use tilewright_kernels::sample;
use tilewright_runtime::{Buffer, Device};

use super::runner::device;
use super::scratch::grow;
use crate::error::{Error, Result};
use crate::sampler::{Draw, SamplingParams};

/// Least room for tokens seen, so that short answers have one shape.
const SEEN_TOKENS: usize = 64;

/// What one row asks for.
#[derive(Clone, PartialEq, Debug)]
struct Asked {
    params: SamplingParams,
    stream: u64,
}

/// Controls of the rows that are picked from, and their tokens.
pub(super) struct Controls {
    /// Temperatures, top-p, min-p and penalties, each of `room` rows.
    floats: Buffer<f32>,
    top_ks: Buffer<i32>,
    streams: Buffer<i64>,
    tokens: Buffer<i32>,
    room: usize,
    /// What the buffers hold.
    asked: Vec<Asked>,
}

/// Columns of the table of tokens seen that these draws need: 0 where none has a penalty, else one of few values.
pub(super) fn n_seen(draws: &[Draw<'_>]) -> usize {
    let penalised = draws.iter().filter(|draw| draw.params.repetition_penalty != 1.0);
    penalised.map(|draw| draw.seen.len().max(SEEN_TOKENS).next_power_of_two()).max().unwrap_or(0)
}

impl Controls {
    /// Room for one row.
    pub(super) fn new(on: &Device) -> Result<Self> {
        let none = || Buffer::zeros_on(on, 1).map_err(device);
        Ok(Self {
            floats: Buffer::zeros_on(on, 4).map_err(device)?,
            top_ks: none()?,
            streams: Buffer::zeros_on(on, 1).map_err(device)?,
            tokens: none()?,
            room: 1,
            asked: Vec::new(),
        })
    }

    /// Brings what `draws` ask for to the device; rows after them, up to `rows`, take the best.
    pub(super) fn write(
        &mut self,
        on: &Device,
        generation: &mut u64,
        rows: usize,
        draws: &[Draw<'_>],
    ) -> Result<()> {
        let none = Asked { params: SamplingParams::greedy(), stream: 0 };
        let mut asked: Vec<Asked> =
            draws.iter().map(|d| Asked { params: d.params.clone(), stream: d.stream }).collect();
        asked.resize(rows.max(draws.len()), none);
        if rows > self.room {
            self.room = rows.next_power_of_two();
            grow(on, generation, &mut self.floats, 4 * self.room)?;
            grow(on, generation, &mut self.top_ks, self.room)?;
            grow(on, generation, &mut self.streams, self.room)?;
            grow(on, generation, &mut self.tokens, self.room)?;
            self.asked.clear();
        }
        if self.asked == asked {
            return Ok(());
        }
        let mut floats = vec![0.0; 4 * self.room];
        for (i, Asked { params, .. }) in asked.iter().enumerate() {
            let numbers = [params.temperature, params.top_p, params.min_p, params.repetition_penalty];
            for (part, x) in numbers.into_iter().enumerate() {
                floats[part * self.room + i] = x;
            }
        }
        let top_k = |a: &Asked| a.params.top_k.map_or(0, |k| i32::try_from(k).unwrap_or(i32::MAX));
        let top_ks: Vec<i32> = asked.iter().map(top_k).collect();
        let streams: Vec<i64> = asked.iter().map(|a| a.stream.cast_signed()).collect();
        self.floats.write_at(0, &floats).map_err(device)?;
        self.top_ks.write_at(0, &top_ks).map_err(device)?;
        self.streams.write_at(0, &streams).map_err(device)?;
        self.asked = asked;
        Ok(())
    }

    /// The penalty of each row.
    pub(super) fn penalties(&self, rows: usize) -> Result<TensorRef<'_, f32, 1>> {
        self.floats.view_at(3 * self.room, [rows]).map_err(device)
    }

    /// What the kernel reads, with the steps of the pass, and where its tokens go.
    pub(super) fn operands<'a>(
        &'a mut self,
        rows: usize,
        steps: TensorRef<'a, i32, 1>,
    ) -> Result<(sample::Controls<'a>, TensorMut<'a, i32, 1>)> {
        let part = |i: usize| self.floats.view_at(i * self.room, [rows]).map_err(device);
        let controls = sample::Controls {
            temperatures: part(0)?,
            top_ks: self.top_ks.view([rows]).map_err(device)?,
            top_ps: part(1)?,
            min_ps: part(2)?,
            streams: self.streams.view([rows]).map_err(device)?,
            steps,
        };
        Ok((controls, self.tokens.view_mut([rows]).map_err(device)?))
    }

    /// The tokens of the last launch, one per draw.
    ///
    /// # Errors
    /// [`Error::BadLogits`] for a row that could not be picked from.
    pub(super) fn read_tokens(&self, draws: &[Draw<'_>]) -> Result<Vec<u32>> {
        let mut tokens = vec![0; draws.len()];
        self.tokens.read_at(0, &mut tokens).map_err(device)?;
        let token = |(&token, draw): (&i32, &Draw<'_>)| {
            u32::try_from(token).map_err(|_| Error::BadLogits {
                step: draw.step,
                why: "an entry is NaN or infinite, or none is above minus infinity".to_owned(),
            })
        };
        tokens.iter().zip(draws).map(token).collect()
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> u64 {
        let words = self.floats.len() + self.top_ks.len() + 2 * self.streams.len() + self.tokens.len();
        4 * words as u64
    }
}
