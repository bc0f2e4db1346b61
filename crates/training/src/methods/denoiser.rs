//! Trains the starter's U-Net and text encoder together, in the autoencoder's latents.
//!
//! Source: Rombach et al. 2022; v-prediction, Salimans & Ho 2022; zero terminal SNR, Lin et al. 2023; min-SNR weights,
//! Hang et al. 2023; dropped captions for guidance, Ho & Salimans 2022.

use std::path::Path;

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_models::unet::UnetConditioning;
use danqing_nn::ParamStore;
use danqing_pipelines::control::Quiet;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::tasks::draw::{DrawTools, draw};
use danqing_tensor::{DType, Rng, Tensor, no_grad};

use crate::data::{EvaluationPrompt, SceneGenerator, evaluation_prompts};
use crate::error::TrainError;
use crate::losses::{min_snr_v, weighted_mse};
use crate::run::Method;
use crate::starter::{Batch, pad_row, paint_batch, write_pictures};

/// Share of captions that are left out.
const DROPPED: f32 = 0.1;
/// min-SNR's gamma.
const GAMMA: f64 = 5.0;
/// Pictures of a review.
const REVIEWED: usize = 32;

/// The denoiser in training. The autoencoder of `model` is frozen.
pub struct DenoiserMethod {
    model: StableDiffusion,
    params: ParamStore,
    data: SceneGenerator,
    prompts: Vec<EvaluationPrompt>,
    batch: usize,
    seed: u64,
    empty: Vec<u32>,
}

impl DenoiserMethod {
    /// Trains `params`, those of the U-Net and the text encoder of `model`.
    pub fn new(model: StableDiffusion, params: ParamStore, data: &SceneGenerator, batch: usize, seed: u64) -> Self {
        let prompts = evaluation_prompts(data.library(), 600);
        let empty = pad_row(&model, "");
        Self { model, params, data: data.clone(), prompts, batch, seed, empty }
    }

    /// The model in training.
    pub fn model(&self) -> &StableDiffusion {
        &self.model
    }
}

impl Method for DenoiserMethod {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn loss(&mut self, step: u64) -> Result<Tensor, TrainError> {
        let b = self.batch;
        let Batch { pictures, captions, .. } = paint_batch(&self.data, step * b as u64, b);
        let rng = &mut Rng::with_stream(self.seed ^ 0xD1F_F05E, step);
        let rows: Vec<Vec<u32>> = captions
            .iter()
            .map(|caption| if rng.uniform() < DROPPED { self.empty.clone() } else { pad_row(&self.model, caption) })
            .collect();

        let autoencoder = &self.model.autoencoder;
        let latents = no_grad(|| -> Result<Tensor, TrainError> {
            let posterior = autoencoder.encode(&pictures.cast(DType::Bf16)?)?;
            let mean = posterior.mean.cast(DType::F32)?;
            let noise = Tensor::randn(mean.shape(), rng)?;
            let std = posterior.log_variance.cast(DType::F32)?.mul_scalar(0.5)?.exp()?;
            Ok(autoencoder.scale(&mean.add(&std.mul(&noise)?)?)?)
        })?;

        // One timestep in each of `b` equal parts: the same noise levels in every batch.
        let steps = self.model.noise.steps();
        let timesteps: Vec<usize> =
            (0..b).map(|i| (((i as f32 + rng.uniform()) / b as f32 * steps as f32) as usize).min(steps - 1)).collect();
        let noise = Tensor::randn(latents.shape(), rng)?;
        let column = |f: &dyn Fn(usize) -> f64| -> Result<Tensor, TrainError> {
            let values: Vec<f32> = timesteps.iter().map(|t| f(*t) as f32).collect();
            Ok(Tensor::from_vec(values, &[b, 1, 1, 1])?)
        };
        let abar = |t: usize| self.model.noise.alpha_cumprod(t);
        let signal = column(&|t| abar(t).sqrt())?;
        let sigma = column(&|t| (1.0 - abar(t)).sqrt())?;
        let noisy = latents.mul(&signal)?.add(&noise.mul(&sigma)?)?;
        let target = noise.mul(&signal)?.sub(&latents.mul(&sigma)?)?;
        let weights: Vec<f32> = timesteps.iter().map(|t| min_snr_v(abar(*t) / (1.0 - abar(*t)), GAMMA)).collect();

        let encoding = self.model.text[0].encoder.forward(&rows, DType::Bf16)?;
        let conditioning = UnetConditioning { context: encoding.last, added: None, guidance: None };
        let told: Vec<f32> = timesteps.iter().map(|t| *t as f32).collect();
        let predicted = self.model.unet.forward(&noisy.cast(DType::Bf16)?, &told, &conditioning)?;
        Ok(weighted_mse(&predicted, &target, &weights)?)
    }

    fn review(&mut self, step: u64, folder: &Path) -> Result<String, TrainError> {
        let mut pictures = Vec::new();
        let mut captions = String::new();
        for i in 0..REVIEWED {
            let prompt = &self.prompts[i * self.prompts.len() / REVIEWED];
            let text = if i % 2 == 0 { &prompt.en } else { &prompt.zh };
            let request = DrawRequest { prompt: text.clone(), seed: i as u64, translate: false, ..Default::default() };
            let drawn = no_grad(|| draw(&self.model, &request, &DrawTools::default(), &Quiet))?;
            pictures.extend(drawn.into_iter().map(|d| d.picture));
            captions.push_str(text);
            captions.push('\n');
        }
        let path = folder.join(format!("review-{step:07}.png"));
        write_pictures(&path, &pictures, 8)?;
        let path = folder.join("review.txt");
        std::fs::write(&path, captions).map_err(crate::error::at(&path))?;
        Ok(format!("drew {REVIEWED} held-out prompts"))
    }
}
