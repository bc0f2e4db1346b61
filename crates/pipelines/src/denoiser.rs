//! Joins a U-Net with the samplers: scaling, prompts by step, guidance, masks.
//!
//! Source: Ho & Salimans 2022 (guidance); Lin et al. 2023 §3.4 (rescale); Karras et al. 2022 (preconditioning).

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_models::unet::UnetConditioning;
use danqing_sampling::noise::NoiseShape;
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::schedules::Levels;
use danqing_sampling::{Denoiser, NoisePath, TrainingNoise};
use danqing_tensor::{DType, Tensor};

use crate::DrawError;
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

/// How strongly the prompt is followed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuidanceOptions {
    /// 1 is without guidance.
    pub scale: f32,
    /// Share of the contrast that is taken back.
    pub rescale: f32,
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
    pixels: (usize, usize),
    /// Channels beside the latent (mask and masked picture), `[b, h, w, extra]`.
    extra: Option<Tensor>,
    mask: Option<LatentMask>,
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
        Self { model, shape, levels, prompts, steps, guidance, pixels, extra: None, mask: None }
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

    /// Evaluates the network for each of `prompts` on the whole batch: predicted clean pictures, `[b, c, h, w]` each.
    fn evaluate(&self, x: &[f32], sigma: f64, prompts: &[usize]) -> Result<Vec<Vec<f32>>, DrawError> {
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
                self.model.added(&gather(&self.prompts.pooled)?, h, w, false)?
            };
            let conditioning = UnetConditioning { context, added, guidance: None };
            let out = self.model.unet.forward(&sample.cast(self.model.dtype)?, &vec![timestep; rows], &conditioning)?;
            outputs.extend(from_nhwc(&out.cast(DType::F32)?)?);
        }
        if outputs.iter().any(|v| !v.is_finite()) {
            return Err(DrawError::NotANumber("U-Net"));
        }
        outputs
            .chunks_exact(x.len())
            .map(|output| {
                let mut denoised = vec![0.0; x.len()];
                prediction.denoised(x, output, sigma, &mut denoised)?;
                Ok(denoised)
            })
            .collect()
    }

    fn guided(&self, x: &[f32], sigma: f64) -> Result<(Vec<f32>, Vec<f32>), DrawError> {
        let prompts = &self.steps[self.step_of(sigma)];
        let GuidanceOptions { scale, rescale } = self.guidance;
        let single = matches!(prompts.positive.as_slice(), [one] if one.weight == 1.0);
        if single && scale == 1.0 {
            let denoised = self.evaluate(x, sigma, &[prompts.positive[0].prompt])?.remove(0);
            return Ok((denoised.clone(), denoised));
        }
        let mut wanted = vec![prompts.negative];
        wanted.extend(prompts.positive.iter().map(|p| p.prompt));
        let mut outputs = self.evaluate(x, sigma, &wanted)?;
        let unconditional = outputs.remove(0);
        let mut guided = unconditional.clone();
        for (share, denoised) in prompts.positive.iter().zip(&outputs) {
            let weight = scale * share.weight;
            for ((g, d), u) in guided.iter_mut().zip(denoised).zip(&unconditional) {
                *g += weight * (d - u);
            }
        }
        if rescale > 0.0 {
            rescale_contrast(&mut guided, &outputs[0], rescale, self.shape.picture());
        }
        Ok((guided, unconditional))
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

/// Brings each picture's standard deviation back towards that of the prediction with the prompt (Lin et al. 2023, eq. 15, 16).
fn rescale_contrast(guided: &mut [f32], conditional: &[f32], share: f32, picture: usize) {
    let deviation = |values: &[f32]| {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
    };
    for (g, c) in guided.chunks_exact_mut(picture).zip(conditional.chunks_exact(picture)) {
        let (own, wanted) = (deviation(g), deviation(c));
        if own > 0.0 {
            let factor = share * (wanted / own) as f32 + (1.0 - share);
            g.iter_mut().for_each(|v| *v *= factor);
        }
    }
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
