//! Stable Diffusion 1.x, 2.x, XL and everything of their shape: text encoders, U-Net, autoencoder, joined.
//!
//! Source: Rombach et al. 2022; Podell et al. 2023 (added conditioning, two encoders).

mod autoencoder;
pub mod detect;
pub mod keys;
mod load;
mod parts;
mod prediction;
mod source;

pub use load::{LoadOptions, Parts, recognise, recognise_file};
pub use parts::{Component, ModelParts};
pub use prediction::{PredictionSource, Predicts};

use danqing_sampling::TrainingNoise;
use danqing_sampling::diffusers::DiffusersClass;
use danqing_sampling::schedules::ScheduleOptions;
use danqing_tensor::{DType, Tensor, TensorError};
use serde_json::Value;

use super::{HiddenState, ModelFamily};
use crate::autoencoders::AutoencoderKl;
use crate::text_encoders::ClipTextEncoder;
use crate::tokenizers::ClipTokenizer;
use crate::unet::{AddedConditioning, Unet};

/// One text encoder with its tokenizer.
#[derive(Debug)]
pub struct TextBranchModel {
    /// The encoder.
    pub encoder: ClipTextEncoder,
    /// Its tokenizer.
    pub tokenizer: ClipTokenizer,
    /// The state that conditions the U-Net.
    pub hidden: HiddenState,
    /// Whether its pooled output conditions the U-Net.
    pub pooled: bool,
}

/// What one text encoder says of rows of tokens.
#[derive(Debug, Clone)]
pub struct BranchEncoding {
    /// The hidden state that conditions the U-Net, `[rows, tokens, width]`, f32.
    pub hidden: Tensor,
    /// The pooled output, `[rows, width]`, f32.
    pub pooled: Tensor,
}

impl TextBranchModel {
    /// Encodes rows of equal length; `clip_skip` (1 is the last layer) replaces the family's own.
    ///
    /// # Errors
    /// Tokens that the encoder does not have, or a clip skip beyond its layers.
    pub fn encode(
        &self,
        rows: &[Vec<u32>],
        clip_skip: Option<usize>,
        dtype: DType,
    ) -> Result<BranchEncoding, TensorError> {
        let encoding = self.encoder.forward(rows, dtype)?;
        let (own, normed) = match self.hidden {
            HiddenState::Normed { clip_skip } => (clip_skip, true),
            HiddenState::Raw { clip_skip } => (clip_skip, false),
        };
        // A raw state is never the last: the family's own is the least.
        let skip = if normed { clip_skip.unwrap_or(own) } else { clip_skip.unwrap_or(own).max(own) };
        let layers = encoding.hidden.len() - 1;
        if skip == 0 || skip > layers {
            let why = format!("clip skip {skip} is not between 1 and {layers}");
            return Err(TensorError::Argument { op: "text encoder", why });
        }
        let hidden = match (normed, skip) {
            (true, 1) => encoding.last.clone(),
            (true, _) => self.encoder.normed(&encoding.hidden[layers + 1 - skip])?,
            (false, _) => encoding.hidden[layers + 1 - skip].clone(),
        };
        Ok(BranchEncoding { hidden: hidden.cast(DType::F32)?, pooled: encoding.pooled.cast(DType::F32)? })
    }
}

/// What a model is sampled with where nothing else is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingDefaults {
    /// Sampler id.
    pub sampler: String,
    /// Schedule id.
    pub schedule: String,
    /// Steps.
    pub steps: usize,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// Guidance rescale.
    pub guidance_rescale: f32,
}

impl SamplingDefaults {
    /// Defaults for what the network predicts, overridden by `own`, the `danqing` object of a `model_index.json`.
    fn of(predicts: Predicts, spacing: Option<&str>, own: &Value) -> Self {
        let text = |key: &str| own.get(key).and_then(Value::as_str).map(String::from);
        let number = |key: &str| own.get(key).and_then(Value::as_f64);
        // Without signal at the last timestep a run must begin there: trailing spacing does (Lin et al. 2023, §3.3).
        let schedule = if predicts.zero_snr { spacing.unwrap_or("trailing") } else { "karras" };
        Self {
            sampler: text("sampler").unwrap_or_else(|| "dpmpp_2m".into()),
            schedule: text("schedule").unwrap_or_else(|| schedule.into()),
            steps: number("steps").map_or(20, |n| n.clamp(1.0, 1000.0) as usize),
            guidance_scale: number("guidance_scale").unwrap_or(7.0) as f32,
            guidance_rescale: number("guidance_rescale").unwrap_or(if predicts.zero_snr { 0.7 } else { 0.0 }) as f32,
        }
    }
}

/// A loaded model.
#[derive(Debug)]
pub struct StableDiffusion {
    /// Its name: the file's or folder's.
    pub name: String,
    /// First ten hexadecimal digits of the file's sha256, where it was computed.
    pub hash: Option<String>,
    /// Its family, if it is of a known size.
    pub family: Option<&'static ModelFamily>,
    /// Text encoders, in the order in which their states are joined.
    pub text: Vec<TextBranchModel>,
    /// The denoiser.
    pub unet: Unet,
    /// The autoencoder.
    pub autoencoder: AutoencoderKl,
    /// The noise that it was trained with.
    pub noise: TrainingNoise,
    /// What its network predicts, and who says so.
    pub predicts: Predicts,
    /// What it is sampled with where nothing else is asked for.
    pub defaults: SamplingDefaults,
    /// How diffusers' schedules are spaced for it.
    pub spacing: ScheduleOptions,
    /// The scheduler class of a diffusers folder, where it is known.
    pub diffusers_class: Option<&'static DiffusersClass>,
    /// The `timestep_spacing` of a diffusers folder.
    pub timestep_spacing: Option<String>,
    /// Native picture side in pixels.
    pub native_size: usize,
    /// Numbers of the size conditioning, 0 where there is none.
    pub time_ids: usize,
    /// Whether prompts without text are conditioned by zeros (SDXL's `force_zeros_for_empty_prompt`).
    pub zeros_for_empty_prompt: bool,
    /// Element type of activations.
    pub dtype: DType,
    /// Bytes of the weights as held.
    pub weight_bytes: u64,
    /// What was noticed while loading.
    pub notices: Vec<String>,
}

impl StableDiffusion {
    /// Picture sides are multiples of this: the autoencoder's factor times the U-Net's, so that no map has an odd side.
    pub fn size_multiple(&self) -> usize {
        self.autoencoder.config().downscale()
    }

    /// Whether the network takes mask and masked picture beside the latent.
    pub fn is_inpainting(&self) -> bool {
        self.unet.config().in_channels == 2 * self.autoencoder.config().latent_channels + 1
    }

    /// The added conditioning of pictures of `height` by `width` pixels: a row of `pooled` each, and whether the row is a
    /// negative prompt's.
    ///
    /// # Errors
    /// None for sizes that fit memory.
    pub fn added(
        &self,
        pooled: &Tensor,
        height: usize,
        width: usize,
        negative: &[bool],
    ) -> Result<Option<AddedConditioning>, TensorError> {
        if self.time_ids == 0 {
            return Ok(None);
        }
        let (h, w) = (height as f32, width as f32);
        let row = |negative: &bool| match self.time_ids {
            // The refiner's aesthetic scores are those that diffusers and ComfyUI use.
            5 => vec![h, w, 0.0, 0.0, if *negative { 2.5 } else { 6.0 }],
            _ => vec![h, w, 0.0, 0.0, h, w],
        };
        let time_ids: Vec<f32> = negative.iter().flat_map(row).collect();
        let time_ids = Tensor::from_vec(time_ids, &[negative.len(), self.time_ids])?;
        Ok(Some(AddedConditioning { pooled: pooled.clone(), time_ids }))
    }
}
