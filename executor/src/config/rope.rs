//! Rotary position embedding: which scaling a checkpoint asks for, and the inverse frequencies that follow.
//!
//! The arithmetic follows Hugging Face's step by step in f32 (a power is taken in f64 and rounded once), because an
//! error of one ulp in a frequency grows with the position: at 100,000 tokens it is 0.01 radians.

use std::f32::consts::PI as PI_F32;
use std::f64::consts::PI as PI_F64;

use super::fields::Fields;
use crate::error::Result;

/// A checkpoint's rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// How the series is stretched to a longer context.
    pub scaling: RopeScaling,
}

/// How RoPE's frequencies are changed to reach a longer context than the one trained on.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// As trained.
    Default,
    /// Every frequency divided by `factor`.
    Linear {
        /// Ratio of the new context to the old.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a smooth ramp between.
    Llama3 {
        /// Divisor of the longest wavelengths' frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are scaled in full.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context of pre-training, in tokens.
        original_context: usize,
    },
    /// YaRN (Peng et al. 2023): a linear ramp over dimensions, and a scale on cos and sin.
    Yarn {
        /// Ratio of the new context to the old.
        factor: f64,
        /// Multiplies cos and sin.
        attention_factor: f64,
        /// Rotations over the original context above which a dimension is kept.
        beta_fast: f64,
        /// Rotations below which a dimension is divided by `factor`.
        beta_slow: f64,
        /// Context of pre-training, in tokens.
        original_context: usize,
        /// Rounds the ramp's ends outward to whole dimensions.
        truncate: bool,
    },
}

/// What a RoPE kernel needs.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// `[head_dim / 2]`: angle per position of each rotated pair.
    pub inv_freq: Vec<f32>,
    /// Multiplies cos and sin; 1 except for YaRN.
    pub attention_scaling: f32,
}

impl RopeConfig {
    /// The inverse frequencies for heads of `head_dim` elements.
    pub fn table(&self, head_dim: usize) -> RopeTable {
        let pos_freqs: Vec<f32> = (0..head_dim / 2)
            .map(|pair| {
                let exponent = (2 * pair) as f32 / head_dim as f32;
                f64::from(self.theta as f32).powf(f64::from(exponent)) as f32
            })
            .collect();
        let inv_freq: Vec<f32> = pos_freqs.iter().map(|freq| 1.0 / freq).collect();
        match self.scaling {
            RopeScaling::Default => RopeTable { inv_freq, attention_scaling: 1.0 },
            RopeScaling::Linear { factor } => {
                let inv_freq = inv_freq.iter().map(|freq| freq / factor as f32).collect();
                RopeTable { inv_freq, attention_scaling: 1.0 }
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let context = original_context as f32;
                let (low, high) = (low_freq_factor as f32, high_freq_factor as f32);
                let longest_kept = (original_context as f64 / high_freq_factor) as f32;
                let longest_smoothed = (original_context as f64 / low_freq_factor) as f32;
                let factor = factor as f32;
                let scale = |freq: f32| {
                    let wavelength = 2.0 * PI_F32 / freq;
                    if wavelength > longest_smoothed {
                        freq / factor
                    } else if wavelength < longest_kept {
                        freq
                    } else {
                        let smooth = (context / wavelength - low) / (high - low);
                        (1.0 - smooth) * freq / factor + smooth * freq
                    }
                };
                RopeTable { inv_freq: inv_freq.into_iter().map(scale).collect(), attention_scaling: 1.0 }
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original_context,
                truncate,
            } => {
                let bounds = [beta_fast, beta_slow]
                    .map(|rotations| dim_of_rotations(rotations, head_dim, self.theta, original_context));
                let [low, high] = if truncate { [bounds[0].floor(), bounds[1].ceil()] } else { bounds };
                let low = low.max(0.0);
                let mut high = high.min(head_dim as f64 - 1.0);
                if low == high {
                    high += 0.001;
                }
                let blend = |(pair, freq): (usize, &f32)| {
                    let ramp = ((pair as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                    let kept = 1.0 - ramp;
                    (1.0 / (factor as f32 * freq)) * (1.0 - kept) + (1.0 / freq) * kept
                };
                RopeTable {
                    inv_freq: pos_freqs.iter().enumerate().map(blend).collect(),
                    attention_scaling: attention_factor as f32,
                }
            }
        }
    }
}

/// The (fractional) pair index that makes `rotations` full turns over the original context.
fn dim_of_rotations(rotations: f64, head_dim: usize, theta: f64, context: usize) -> f64 {
    let turns = context as f64 / (rotations * 2.0 * PI_F64);
    head_dim as f64 * turns.ln() / (2.0 * theta.ln())
}

/// Reads RoPE's parameters in either spelling.
///
/// `rope_scaling`, where it is not empty, wins over `rope_parameters`; a `rope_theta` inside wins over the one outside.
pub(super) fn read_rope(fields: &Fields<'_>, max_position_embeddings: usize) -> Result<RopeConfig> {
    let outer_theta = read_theta(fields)?;
    if fields.f64("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        return Err(fields.unsupported("partial_rotary_factor", "whole heads are rotated"));
    }
    let mut params = None;
    for key in ["rope_scaling", "rope_parameters"] {
        if let Some(found) = fields.object(key)?.filter(|found| found.keys().next().is_some()) {
            params = Some((key, found));
            break;
        }
    }
    let Some((key, params)) = params else {
        return Ok(RopeConfig { theta: outer_theta.unwrap_or(10_000.0), scaling: RopeScaling::Default });
    };

    // transformers 5 may nest one set of parameters per kind of layer.
    let nested: Vec<&str> =
        params.keys().filter(|name| matches!(*name, "full_attention" | "sliding_attention")).collect();
    let mut per_kind = Vec::new();
    for name in nested {
        if let Some(inner) = params.object(name)? {
            per_kind.push(read_params(fields, &inner, outer_theta, max_position_embeddings)?);
        }
    }
    let Some((first, rest)) = per_kind.split_first() else {
        return read_params(fields, &params, outer_theta, max_position_embeddings);
    };
    if rest.iter().any(|other| other != first) {
        return Err(fields.unsupported(key, "all layers must share one rotary embedding"));
    }
    Ok(first.clone())
}

fn read_theta(fields: &Fields<'_>) -> Result<Option<f64>> {
    match fields.f64("rope_theta")? {
        Some(theta) if theta <= 1.0 => Err(fields.bad("rope_theta", "a number above 1")),
        other => Ok(other),
    }
}

fn read_params(
    outer: &Fields<'_>,
    params: &Fields<'_>,
    outer_theta: Option<f64>,
    max_position_embeddings: usize,
) -> Result<RopeConfig> {
    if params.f64("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
        return Err(params.unsupported("partial_rotary_factor", "whole heads are rotated"));
    }
    let theta = read_theta(params)?.or(outer_theta).unwrap_or(10_000.0);
    let kind_key = if params.get("rope_type").is_some() { "rope_type" } else { "type" };
    let original_context = || -> Result<usize> {
        let key = "original_max_position_embeddings";
        Ok(outer.positive(key)?.or(params.positive(key)?).unwrap_or(max_position_embeddings))
    };
    let scaling = match params.str(kind_key)? {
        None | Some("default") => RopeScaling::Default,
        Some("linear") => RopeScaling::Linear { factor: require_number(params, "factor")? },
        Some("llama3") => {
            let low_freq_factor = require_number(params, "low_freq_factor")?;
            let high_freq_factor = require_number(params, "high_freq_factor")?;
            if high_freq_factor <= low_freq_factor {
                let expected = format!("a number above low_freq_factor, {low_freq_factor}");
                return Err(params.bad("high_freq_factor", &expected));
            }
            RopeScaling::Llama3 {
                factor: require_number(params, "factor")?,
                low_freq_factor,
                high_freq_factor,
                original_context: original_context()?,
            }
        }
        Some("yarn") => {
            let original_context = original_context()?;
            let factor = positive_number(params, "factor")?
                .unwrap_or(max_position_embeddings as f64 / original_context as f64);
            // A zero stands for "not given", as Python's `or` has it.
            let beta = |key, default| -> Result<f64> {
                Ok(params.f64(key)?.filter(|beta| *beta != 0.0).unwrap_or(default))
            };
            RopeScaling::Yarn {
                factor,
                attention_factor: read_attention_factor(params, factor)?,
                beta_fast: beta("beta_fast", 32.0)?,
                beta_slow: beta("beta_slow", 1.0)?,
                original_context,
                truncate: params.bool("truncate")?.unwrap_or(true),
            }
        }
        Some("dynamic") => {
            return Err(params.unsupported(
                kind_key,
                "frequencies that change with the length would invalidate cached keys; use yarn",
            ));
        }
        Some(_) => {
            return Err(params.unsupported(kind_key, "known types are default, linear, llama3 and yarn"));
        }
    };
    Ok(RopeConfig { theta, scaling })
}

/// The scale on cos and sin: given, or from `factor` as the YaRN paper advises, or from the two `mscale`s.
fn read_attention_factor(params: &Fields<'_>, factor: f64) -> Result<f64> {
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    let given = |key| -> Result<Option<f64>> { Ok(params.f64(key)?.filter(|number| *number != 0.0)) };
    if let Some(attention_factor) = params.f64("attention_factor")? {
        return Ok(attention_factor);
    }
    Ok(match (given("mscale")?, given("mscale_all_dim")?) {
        (Some(mscale), Some(all_dim)) => scale(mscale) / scale(all_dim),
        (Some(_), None) | (None, Some(_) | None) => scale(1.0),
    })
}

fn positive_number(fields: &Fields<'_>, key: &str) -> Result<Option<f64>> {
    match fields.f64(key)? {
        Some(number) if number <= 0.0 => Err(fields.bad(key, "a number above 0")),
        other => Ok(other),
    }
}

fn require_number(fields: &Fields<'_>, key: &str) -> Result<f64> {
    positive_number(fields, key)?.ok_or_else(|| fields.missing(key))
}
