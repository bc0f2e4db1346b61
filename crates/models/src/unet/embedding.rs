//! Embeddings of time, sizes and pooled text, added to every residual block.
//!
//! Source: Vaswani et al. 2017 §3.5 (sinusoids); diffusers `get_timestep_embedding`, `TimestepEmbedding`.

use danqing_nn::{Linear, LoadError, Loader};
use danqing_tensor::{Tensor, TensorError};

use crate::error::invalid;

use super::{AddedConditioning, UnetConfig};

/// Sinusoidal embedding of `values`, `[values, width]` in f32: frequencies `10000^(-i / (width/2 - shift))`.
/// An odd width ends in a zero.
///
/// # Errors
/// A width under 2.
pub fn timestep_embedding(values: &[f32], width: usize, cosine_first: bool, shift: f32) -> Result<Tensor, TensorError> {
    let half = width / 2;
    if half == 0 {
        return Err(invalid("timestep_embedding", format!("width {width} is under 2")));
    }
    let scale = -(10_000f32.ln()) / (half as f32 - shift);
    let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * scale).exp()).collect();
    let mut data = Vec::with_capacity(values.len() * width);
    for &v in values {
        let sines = frequencies.iter().map(|f| (v * f).sin());
        let cosines = frequencies.iter().map(|f| (v * f).cos());
        if cosine_first {
            data.extend(cosines.chain(sines));
        } else {
            data.extend(sines.chain(cosines));
        }
        data.extend(std::iter::repeat_n(0.0, width % 2));
    }
    Tensor::from_vec(data, &[values.len(), width])
}

/// Two linear layers around SiLU, in f32.
#[derive(Debug)]
pub(crate) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    cond_proj: Option<Linear>,
    width: usize,
}

impl TimeEmbedding {
    pub fn load(at: &Loader, width: usize, out: usize, guidance: Option<usize>) -> Result<Self, LoadError> {
        Ok(Self {
            linear_1: Linear::load(&at.at("linear_1"), width, out, true)?,
            linear_2: Linear::load(&at.at("linear_2"), out, out, true)?,
            cond_proj: guidance.map(|g| Linear::load(&at.at("cond_proj"), g, width, false)).transpose()?,
            width,
        })
    }

    pub fn forward(
        &self,
        timesteps: &[f32],
        config: &UnetConfig,
        guidance: Option<&Tensor>,
    ) -> Result<Tensor, TensorError> {
        let mut x = timestep_embedding(timesteps, self.width, config.flip_sin_to_cos, config.freq_shift)?;
        if let (Some(projection), Some(g)) = (&self.cond_proj, guidance) {
            x = x.add(&projection.forward(g)?)?;
        }
        self.linear_2.forward(&self.linear_1.forward(&x)?.silu()?)
    }
}

/// SDXL's added conditioning: pooled text beside the embedded sizes, through two linear layers.
#[derive(Debug)]
pub(crate) struct AddedEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    id_width: usize,
    input: usize,
    cosine_first: bool,
    shift: f32,
}

impl AddedEmbedding {
    pub fn load(at: &Loader, config: &UnetConfig, input: usize) -> Result<Self, LoadError> {
        let out = config.time_embed_dim();
        Ok(Self {
            linear_1: Linear::load(&at.at("linear_1"), input, out, true)?,
            linear_2: Linear::load(&at.at("linear_2"), out, out, true)?,
            id_width: config.addition_time_embed_dim.unwrap_or(0),
            input,
            cosine_first: config.flip_sin_to_cos,
            shift: config.freq_shift,
        })
    }

    pub fn forward(&self, added: &AddedConditioning) -> Result<Tensor, TensorError> {
        let (b, ids) = (added.time_ids.dim(0), added.time_ids.dim(1));
        let pooled = added.pooled.dim(1);
        if pooled + ids * self.id_width != self.input {
            let want = format!("{pooled} pooled values and {ids} numbers of {} make", self.id_width);
            return Err(invalid("added conditioning", format!("{want} not {}", self.input)));
        }
        let flat = added.time_ids.to_vec(); // [b, ids] -> [b * ids]
        let embedded = timestep_embedding(&flat, self.id_width, self.cosine_first, self.shift)?;
        let embedded = embedded.reshape(&[b, ids * self.id_width])?;
        let pooled = added.pooled.cast(danqing_tensor::DType::F32)?;
        let x = Tensor::concat(&[&pooled, &embedded], 1)?;
        self.linear_2.forward(&self.linear_1.forward(&x)?.silu()?)
    }
}
