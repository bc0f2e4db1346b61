//! Trains the starter's U-Net and text encoder together, in the autoencoder's latents.
//!
//! Source: Rombach et al. 2022; v-prediction, Salimans & Ho 2022; zero terminal SNR, Lin et al. 2023; min-SNR weights,
//! Hang et al. 2023; dropped captions for guidance, Ho & Salimans 2022. Beside the pictures the text encoder answers
//! questions about each caption, so that it tells the words apart early, and both languages by the same features.

use std::path::Path;

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_models::unet::UnetConditioning;
use danqing_nn::{Linear, LoadError, Loader, ParamStore};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::tasks::draw::{DrawTools, draw};
use danqing_tensor::{DType, Rng, Tensor, no_grad};

use crate::data::{
    EvaluationPrompt, OBJECT_COLOURS, ObjectLabel, Relation, SceneGenerator, SceneLabels, evaluation_prompts,
};
use crate::error::TrainError;
use crate::evaluator::MAX_COUNT;
use crate::losses::{min_snr_v, weighted_mse};
use crate::run::Method;
use crate::starter::{Batch, pad_row, paint_batch, write_pictures};

/// Share of captions that are left out.
const DROPPED: f32 = 0.1;
/// Weight of the questions about captions.
const QUESTIONS: f32 = 0.1;
/// The first position whose feature answers them: behind nearly every caption's words.
const SUMMARY: usize = 20;
/// min-SNR's gamma.
const GAMMA: f64 = 5.0;
/// Pictures of a review.
const REVIEWED: usize = 32;

/// The denoiser in training. The autoencoder of `model` is frozen.
pub struct DenoiserMethod {
    model: StableDiffusion,
    params: ParamStore,
    heads: CaptionHeads,
    data: SceneGenerator,
    prompts: Vec<EvaluationPrompt>,
    batch: usize,
    seed: u64,
    empty: Vec<u32>,
}

impl DenoiserMethod {
    /// Trains `params`, those of the U-Net and the text encoder of `model`.
    ///
    /// # Errors
    /// Never for a library that has things.
    pub fn new(
        model: StableDiffusion,
        mut params: ParamStore,
        data: &SceneGenerator,
        batch: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let prompts = evaluation_prompts(data.library(), 600);
        let empty = pad_row(&model, "");
        let loader = Loader::random(seed);
        let width = model.text[0].encoder.config().hidden_size;
        let heads = CaptionHeads::load(&loader.at("caption_heads"), width, data.library().concepts().len())?;
        params.extend(&loader.finish()?);
        Ok(Self { model, params, heads, data: data.clone(), prompts, batch, seed, empty })
    }

    /// The model in training.
    pub fn model(&self) -> &StableDiffusion {
        &self.model
    }
}

/// Linear answers to questions about a caption; dropped after training.
struct CaptionHeads {
    heads: [Linear; 6],
}

impl CaptionHeads {
    fn load(at: &Loader, width: usize, concepts: usize) -> Result<Self, LoadError> {
        let colours = OBJECT_COLOURS.len() + 1;
        let head = |name: &str, classes: usize| Linear::load(&at.at(name), width, classes, true);
        Ok(Self {
            heads: [
                head("first", concepts)?,
                head("second", concepts + 1)?,
                head("first_colour", colours)?,
                head("second_colour", colours)?,
                head("count", MAX_COUNT)?,
                head("relation", Relation::ALL.len() + 1)?,
            ],
        })
    }

    /// The right answers, in the order of the heads; 0 is "none" where there may be none.
    fn answers(labels: &SceneLabels) -> [u32; 6] {
        let (first, second) = (labels.objects.first(), labels.objects.get(1));
        let concept = |o: Option<&ObjectLabel>| o.map_or(0, |o| o.concept);
        let colour = |o: Option<&ObjectLabel>| o.and_then(|o| o.colour).map_or(0, |c| c + 1);
        let relation = labels.relation.and_then(|r| Relation::ALL.iter().position(|x| *x == r));
        [
            concept(first),
            second.map_or(0, |o| o.concept + 1),
            colour(first),
            colour(second),
            first.map_or(0, |o| o.count.clamp(1, MAX_COUNT) - 1),
            relation.map_or(0, |r| r + 1),
        ]
        .map(|answer| answer as u32)
    }

    /// Mean cross entropy of the answers to the captions in `rows` of `features` `[b, positions, width]`.
    fn loss(&self, features: &Tensor, rows: &[u32], labels: &[SceneLabels]) -> Result<Option<Tensor>, TrainError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let behind = features.narrow(1, SUMMARY, features.dim(1) - SUMMARY)?;
        let summary = behind.index_select(0, rows)?.mean(&[1], false)?;
        let answers: Vec<[u32; 6]> = rows.iter().map(|&row| Self::answers(&labels[row as usize])).collect();
        let mut total: Option<Tensor> = None;
        for (question, head) in self.heads.iter().enumerate() {
            let targets: Vec<u32> = answers.iter().map(|a| a[question]).collect();
            let loss = head.forward(&summary)?.cast(DType::F32)?.cross_entropy(&targets)?;
            total = Some(match total {
                Some(sum) => sum.add(&loss)?,
                None => loss,
            });
        }
        Ok(total)
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
        let Batch { pictures, captions, labels } = paint_batch(&self.data, step * b as u64, b);
        let rng = &mut Rng::with_stream(self.seed ^ 0xD1F_F05E, step);
        let mut told_rows = Vec::new();
        let mut rows: Vec<Vec<u32>> = Vec::with_capacity(b);
        for (i, caption) in captions.iter().enumerate() {
            if rng.uniform() < DROPPED {
                rows.push(self.empty.clone());
            } else {
                rows.push(pad_row(&self.model, caption));
                told_rows.push(i as u32);
            }
        }

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
        let questions = self.heads.loss(&encoding.last, &told_rows, &labels)?;
        let conditioning = UnetConditioning { context: encoding.last, added: None, guidance: None };
        let told: Vec<f32> = timesteps.iter().map(|t| *t as f32).collect();
        let predicted = self.model.unet.forward(&noisy.cast(DType::Bf16)?, &told, &conditioning)?;
        let loss = weighted_mse(&predicted, &target, &weights)?;
        match questions {
            Some(questions) => Ok(loss.add(&questions.mul_scalar(QUESTIONS)?)?),
            None => Ok(loss),
        }
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
