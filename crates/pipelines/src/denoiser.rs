//! Joins a U-Net with the samplers: scaling, prompts by step, guidance, masks.
//!
//! Source: Ho & Salimans 2022 (guidance); Lin et al. 2023 §3.4 (rescale); Karras et al. 2022 (preconditioning).

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_models::unet::UnetConditioning;
use danqing_sampling::guidance::{self, Guidance, GuidanceOptions, Predictions};
use danqing_sampling::noise::NoiseShape;
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::schedules::Levels;
use danqing_sampling::{Denoiser, NoisePath, TrainingNoise};
use danqing_tensor::{DType, Tensor};

use crate::TaskError;
use crate::conditioning::EncodedPrompts;
use crate::layout::{from_nhwc, to_nhwc};

/// A prompt's share in a step: which encoding, how strongly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PromptShare {
    /// Index into the encodings.
    pub prompt: usize,
    /// Its weight in the guidance.
    pub weight: f32,
}

/// The prompts of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepPrompts {
    /// What to draw.
    pub positive: Vec<PromptShare>,
    /// What to keep away from.
    pub negative: usize,
}

/// What keeps part of a latent as it was.
#[derive(Debug, Clone)]
pub struct LatentMask {
    /// The clean latent, `[b, c, h, w]`.
    pub original: Vec<f32>,
    /// 1 is drawn anew, 0 is kept; `[h, w]`.
    pub mask: Vec<f32>,
}

/// The denoiser of a Stable Diffusion model. States are `[b, c, h, w]`, the order in which noise is drawn.
pub struct UnetDenoiser<'a> {
    model: &'a StableDiffusion,
    shape: NoiseShape,
    levels: &'a Levels,
    prompts: &'a EncodedPrompts,
    steps: Vec<StepPrompts>,
    guidance: GuidanceOptions,
    kind: &'static dyn Guidance,
    pixels: (usize, usize),
    /// Channels beside the latent (mask and masked picture), `[b, h, w, extra]`.
    extra: Option<Tensor>,
    mask: Option<LatentMask>,
}

/// Plain or rescaled guidance.
fn guidance_kind(rescale: f64) -> &'static dyn Guidance {
    let id = if rescale > 0.0 { "cfg_rescale" } else { "cfg" };
    guidance::find(id).unwrap_or(guidance::GUIDANCE[0])
}

/// Rows of one evaluation: more would not run faster and would hold more memory.
const MAX_ROWS: usize = 4;

impl<'a> UnetDenoiser<'a> {
    /// A denoiser of states of `shape` at `levels`, with the prompts of each step.
    pub fn new(
        model: &'a StableDiffusion,
        shape: NoiseShape,
        levels: &'a Levels,
        prompts: &'a EncodedPrompts,
        steps: Vec<StepPrompts>,
        guidance: GuidanceOptions,
    ) -> Self {
        let f = model.autoencoder.config().downscale();
        let pixels = (shape.height * f, shape.width * f);
        let kind = guidance_kind(guidance.rescale);
        Self { model, shape, levels, prompts, steps, guidance, kind, pixels, extra: None, mask: None }
    }

    /// Gives the network further channels beside the latent.
    pub fn with_extra(mut self, extra: Option<Tensor>) -> Self {
        self.extra = extra;
        self
    }

    /// Keeps what the mask does not cover.
    pub fn with_mask(mut self, mask: Option<LatentMask>) -> Self {
        self.mask = mask;
        self
    }

    /// The step that a sigma belongs to: samplers also ask between two of them.
    fn step_of(&self, sigma: f64) -> usize {
        let done = self.levels.sigmas.iter().take_while(|s| **s > sigma * (1.0 + 1e-9)).count();
        done.min(self.steps.len().saturating_sub(1))
    }

    /// Evaluates the network for each of `prompts` on the whole batch: its raw outputs, `[b, c, h, w]` each.
    fn evaluate(&self, x: &[f32], sigma: f64, prompts: &[usize]) -> Result<Vec<Vec<f32>>, TaskError> {
        let NoiseShape { batch, channels, height, width } = self.shape;
        let prediction = self.model.predicts.prediction;
        let timestep = self.levels.timestep(&self.model.noise, sigma) as f32;
        let scale = prediction.input_scale(sigma) as f32;
        let one = self.shape.picture();

        let jobs: Vec<(usize, usize)> = prompts.iter().flat_map(|p| (0..batch).map(move |b| (*p, b))).collect();
        let mut outputs = Vec::with_capacity(prompts.len() * x.len());
        for jobs in jobs.chunks(MAX_ROWS) {
            let rows = jobs.len();
            let mut values = Vec::with_capacity(rows * one);
            for (_, b) in jobs {
                values.extend(x[b * one..(b + 1) * one].iter().map(|v| v * scale));
            }
            let mut sample = to_nhwc(&values, [rows, channels, height, width])?;
            if let Some(extra) = &self.extra {
                let picked: Vec<Tensor> = jobs.iter().map(|(_, b)| extra.narrow(0, *b, 1)).collect::<Result<_, _>>()?;
                let picked = Tensor::concat(&picked.iter().collect::<Vec<_>>(), 0)?;
                sample = Tensor::concat(&[&sample, &picked], 3)?;
            }
            let gather = |from: &[Tensor]| {
                let rows: Vec<&Tensor> = jobs.iter().map(|(p, _)| &from[*p]).collect();
                Tensor::concat(&rows, 0)
            };
            let context = gather(&self.prompts.contexts)?;
            let added = if self.prompts.pooled.is_empty() {
                None
            } else {
                let (h, w) = self.pixels;
                let negative: Vec<bool> =
                    jobs.iter().map(|(p, _)| self.steps.iter().any(|s| s.negative == *p)).collect();
                self.model.added(&gather(&self.prompts.pooled)?, h, w, &negative)?
            };
            let conditioning = UnetConditioning { context, added, guidance: None };
            let out = self.model.unet.forward(&sample.cast(self.model.dtype)?, &vec![timestep; rows], &conditioning)?;
            outputs.extend(from_nhwc(&out.cast(DType::F32)?)?);
        }
        if outputs.iter().any(|v| !v.is_finite()) {
            return Err(TaskError::NotANumber("U-Net"));
        }
        Ok(outputs.chunks_exact(x.len()).map(<[f32]>::to_vec).collect())
    }

    /// Predicted clean pictures: guided, and without the prompt.
    fn guided(&self, x: &[f32], sigma: f64) -> Result<(Vec<f32>, Vec<f32>), TaskError> {
        let prompts = &self.steps[self.step_of(sigma)];
        let clean = |output: &[f32]| -> Result<Vec<f32>, TaskError> {
            let mut denoised = vec![0.0; x.len()];
            self.model.predicts.prediction.denoised(x, output, sigma, &mut denoised)?;
            Ok(denoised)
        };
        let single = matches!(prompts.positive.as_slice(), [one] if one.weight == 1.0);
        if single && self.guidance.scale == 1.0 {
            let denoised = clean(&self.evaluate(x, sigma, &[prompts.positive[0].prompt])?[0])?;
            return Ok((denoised.clone(), denoised));
        }
        let mut wanted = vec![prompts.negative];
        wanted.extend(prompts.positive.iter().map(|p| p.prompt));
        let mut outputs = self.evaluate(x, sigma, &wanted)?;
        let unconditional = outputs.remove(0);
        let conditional =
            if single { outputs.remove(0) } else { composed(&unconditional, &outputs, &prompts.positive) };
        let mut guided = vec![0.0; x.len()];
        let both =
            Predictions { conditional: &conditional, unconditional: &unconditional, picture: self.shape.picture() };
        // Rescaling acts on raw outputs, as in diffusers; the rest is linear, so it does not matter where.
        self.kind.combine(both, self.guidance, &mut guided)?;
        Ok((clean(&guided)?, clean(&unconditional)?))
    }

    fn keep_masked(&self, denoised: &mut [f32]) {
        let Some(LatentMask { original, mask }) = &self.mask else { return };
        for (plane, original) in denoised.chunks_exact_mut(mask.len()).zip(original.chunks_exact(mask.len())) {
            for ((d, o), m) in plane.iter_mut().zip(original).zip(mask) {
                *d = *d * m + o * (1.0 - m);
            }
        }
    }
}

/// Several prompts as one: what each adds to the prediction without a prompt, weighted (Liu et al. 2022, eq. 11).
fn composed(unconditional: &[f32], outputs: &[Vec<f32>], shares: &[PromptShare]) -> Vec<f32> {
    let mut sum = unconditional.to_vec();
    for (share, output) in shares.iter().zip(outputs) {
        for ((s, o), u) in sum.iter_mut().zip(output).zip(unconditional) {
            *s += share.weight * (o - u);
        }
    }
    sum
}

impl Denoiser for UnetDenoiser<'_> {
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
        let (guided, _) = self.guided(x, sigma)?;
        denoised.copy_from_slice(&guided);
        self.keep_masked(denoised);
        Ok(())
    }

    fn denoise_pair(
        &mut self,
        x: &[f32],
        sigma: f64,
        denoised: &mut [f32],
        unconditional: &mut [f32],
    ) -> Result<(), DenoiseError> {
        let (guided, without) = self.guided(x, sigma)?;
        denoised.copy_from_slice(&guided);
        unconditional.copy_from_slice(&without);
        self.keep_masked(denoised);
        self.keep_masked(unconditional);
        Ok(())
    }

    fn noise_path(&self) -> NoisePath {
        self.model.predicts.prediction.path()
    }

    fn training_noise(&self) -> Option<&TrainingNoise> {
        Some(&self.model.noise)
    }
}
