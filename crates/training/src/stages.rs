//! `danqing train starter`: the stages in order, each resumable, and the export of what they made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use danqing_checkpoints::Weights;
use danqing_models::tokenizers::ClipTokenizer;
use danqing_nn::{AdamWConfig, LoadOptions, Loader, LrDecay, LrSchedule};
use danqing_pipelines::checkpoint::{self, OpenOptions};
use danqing_tensor::DType;

use crate::data::{SceneConfig, SceneGenerator, Split, SpriteLibrary, Style, caption_corpus, evaluation_prompts};
use crate::error::{TrainError, at};
use crate::evaluator::Evaluator;
use crate::methods::autoencoder::AutoencoderMethod;
use crate::methods::denoiser::DenoiserMethod;
use crate::methods::evaluator::EvaluatorMethod;
use crate::run::{Method, RunConfig, RunEnd, averaged_weights, latest, losses, train};
use crate::scoring::{ModelScores, Scores, score, trust};
use crate::starter::{self, StarterShape};
use crate::vocabulary::{self, VocabularyOptions};

/// Entries of the starter's vocabulary: every word and character of the captions, and some.
const VOCABULARY: usize = 2048;
/// The manner in which things are drawn: flat colours and large forms, which show at 64 pixels.
const STYLE: Style = Style::Fluent;
/// Seed of the evaluator's weights and scenes.
const EVALUATOR_SEED: u64 = 77;
/// Real scenes that the evaluator is tested on.
const TRUST_SCENES: usize = 4096;
/// Prompts that a model is scored on.
const PROMPTS: usize = 600;
/// Captions that the vocabulary is trained on.
const CORPUS: u64 = 200_000;

/// A stage of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pictures to latents and back.
    Autoencoder,
    /// Text and noise to latents.
    Denoiser,
    /// What a picture shows; scores the others.
    Evaluator,
}

/// The stages by name, in order.
pub const STAGES: &[(&str, Stage)] =
    &[("autoencoder", Stage::Autoencoder), ("denoiser", Stage::Denoiser), ("evaluator", Stage::Evaluator)];

/// What to train, on what, where.
#[derive(Debug, Clone)]
pub struct StarterOptions {
    /// Folder of the icon packages, or the archive of emoji pictures.
    pub icons: PathBuf,
    /// Folder of the run: sprites, vocabulary, checkpoints, reviews.
    pub folder: PathBuf,
    /// Steps in all; a finished run goes on when this is raised.
    pub steps: u64,
    /// Pictures a step.
    pub batch: usize,
    /// A starter's folder whose vocabulary and weights a new run begins with; the learning rate warms up anew.
    pub from: Option<PathBuf>,
}

/// Trains one stage, going on from its last checkpoint.
///
/// # Errors
/// When data cannot be made, the loss diverges, or a file cannot be written.
pub fn run_stage(
    stage: Stage,
    options: &StarterOptions,
    log: &mut dyn FnMut(&str),
    stopped: &dyn Fn() -> bool,
) -> Result<RunEnd, TrainError> {
    let folder = &options.folder;
    std::fs::create_dir_all(folder).map_err(at(folder))?;
    let data = scenes(folder, &options.icons)?;
    // The evaluator reads no text: it needs no vocabulary.
    let vocabulary = || tokenizer(folder, &data, options.from.as_deref());
    let end = match stage {
        Stage::Evaluator => {
            let mut method = EvaluatorMethod::new(&data, options.batch, EVALUATOR_SEED)?;
            let config = config(options, "evaluator", 100, 0.4, 0.998, 1000);
            train(&mut method, &RunConfig { rate: rate(options, 100, 0.4, 2e-3), ..config }, log, stopped)?
        }
        Stage::Autoencoder => {
            let shape = StarterShape::mini(vocabulary()?.vocab_size());
            let mut method = AutoencoderMethod::new(&shape.autoencoder, &data, options.batch, 1)?;
            begin(&method, options, "autoencoder", &[("", "vae/diffusion_pytorch_model.safetensors")], log)?;
            train(&mut method, &config(options, "autoencoder", 100, 0.5, 0.998, 500), log, stopped)?
        }
        Stage::Denoiser => {
            let tokenizer = vocabulary()?;
            let mut shape = StarterShape::mini(tokenizer.vocab_size());
            let path = trained(folder, "autoencoder")?;
            shape.autoencoder.scaling_factor = scaling_factor(folder, &shape, &path, &data)?;
            let autoencoder = starter::frozen_autoencoder(&path, &shape.autoencoder)?;
            let (model, params) = starter::model_in_training(&shape, tokenizer, autoencoder, 2)?;
            let mut method = DenoiserMethod::new(model, params, &data, options.batch, 3)?;
            let files = [
                ("unet.", "unet/diffusion_pytorch_model.safetensors"),
                ("text_encoder.", "text_encoder/model.safetensors"),
            ];
            begin(&method, options, "denoiser", &files, log)?;
            train(&mut method, &config(options, "denoiser", 200, 0.4, 0.9995, 1500), log, stopped)?
        }
    };
    let name = STAGES.iter().find(|(_, s)| *s == stage).map_or("", |(name, _)| name);
    draw_losses(&folder.join(name))?;
    Ok(end)
}

/// The scenes of the starter, one picture a thing; the sprites are kept in the run's folder.
///
/// # Errors
/// When the icons cannot be read.
pub fn scenes(folder: &Path, icons: &Path) -> Result<SceneGenerator, TrainError> {
    let library = SpriteLibrary::open_or_build(&folder.join("sprites.bin"), icons)?.in_style(STYLE);
    Ok(SceneGenerator::new(&Arc::new(library), SceneConfig::default()))
}

/// Puts the weights of `options.from` into a run that has no checkpoint yet; `files` by prefix of the parameters' names.
fn begin(
    method: &dyn Method,
    options: &StarterOptions,
    stage: &str,
    files: &[(&str, &str)],
    log: &mut dyn FnMut(&str),
) -> Result<(), TrainError> {
    let Some(from) = &options.from else { return Ok(()) };
    if latest(&options.folder.join(stage))?.is_some() {
        return Ok(());
    }
    for (prefix, file) in files {
        method.params().restore_under(prefix, &Weights::open(from.join(file))?)?;
    }
    log(&format!("beginning with the weights of {}", from.display()));
    Ok(())
}

/// Writes the newest averaged weights of all stages as a diffusers folder.
///
/// # Errors
/// When a stage has no checkpoint yet or a file cannot be written.
pub fn export_starter(folder: &Path, out: &Path) -> Result<(), TrainError> {
    let vocabulary = folder.join("tokenizer");
    let tokenizer = ClipTokenizer::from_folder(&vocabulary).map_err(|e| TrainError::State(e.to_string()))?;
    let mut shape = StarterShape::mini(tokenizer.vocab_size());
    let path = folder.join("scaling_factor");
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    shape.autoencoder.scaling_factor =
        text.trim().parse().map_err(|_| TrainError::State(format!("{} holds no number", path.display())))?;
    let (autoencoder, denoiser) = (trained(folder, "autoencoder")?, trained(folder, "denoiser")?);
    let step = |path: &Path| path.parent().and_then(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned());
    let notes = BTreeMap::from([
        ("autoencoder".to_string(), step(&autoencoder).unwrap_or_default()),
        ("denoiser".to_string(), step(&denoiser).unwrap_or_default()),
        ("data_seed".to_string(), SceneConfig::default().seed.to_string()),
    ]);
    starter::export(out, &shape, &vocabulary, &autoencoder, &denoiser, &notes)
}

/// Scores the model in `model` with the evaluator of the run on the frozen prompts; `scores.json` and `scores.png` are
/// written beside the run. Returns how far the evaluator is right on real held-out scenes, and the scores.
///
/// # Errors
/// When the evaluator has no checkpoint yet, the model cannot be opened, or a file cannot be written.
pub fn score_starter(
    folder: &Path,
    icons: &Path,
    model: &Path,
    log: &mut dyn FnMut(&str),
) -> Result<(Scores, ModelScores), TrainError> {
    let data = scenes(folder, icons)?;
    let weights = Weights::open(trained(folder, "evaluator")?)?;
    let evaluator =
        Evaluator::load(&Loader::new(weights, LoadOptions::inference(DType::Bf16)), data.library().concepts().len())?;
    let trusted = trust(&evaluator, &data.with(Split::HeldOut, EVALUATOR_SEED), TRUST_SCENES)?;
    log(&format!("the evaluator on real held-out renders: {trusted}"));
    let opened = checkpoint::open(model, &OpenOptions { dtype: DType::Bf16, ..Default::default() })?;
    let prompts = evaluation_prompts(data.library(), PROMPTS);
    let scores = score(&opened, &evaluator, &prompts, &folder.join("scores.png"), log)?;
    let path = folder.join("scores.json");
    let value = serde_json::json!({ "evaluator": trusted, "model": scores });
    std::fs::write(&path, format!("{value:#}\n")).map_err(at(&path))?;
    Ok((trusted, scores))
}

fn rate(options: &StarterOptions, warmup: u64, decay: f64, peak: f64) -> LrSchedule {
    let steps = (options.steps as f64 * decay) as u64;
    LrSchedule { peak, warmup, total: options.steps, decay: LrDecay::Final { steps, floor: 0.02 } }
}

fn config(options: &StarterOptions, name: &str, warmup: u64, decay: f64, ema: f64, review_every: u64) -> RunConfig {
    RunConfig {
        folder: options.folder.join(name),
        rate: rate(options, warmup, decay, 8e-4),
        adamw: AdamWConfig { beta2: 0.99, ..Default::default() },
        clip: 1.0,
        ema,
        checkpoint_every: Duration::from_secs(180),
        review_every,
        log_every: 20,
    }
}

/// The vocabulary of the run: trained once, then kept, since the text encoder's rows are its entries.
fn tokenizer(folder: &Path, data: &SceneGenerator, from: Option<&Path>) -> Result<ClipTokenizer, TrainError> {
    let at_folder = folder.join("tokenizer");
    let there = at_folder.join("vocab.json").exists();
    if let (false, Some(from)) = (there, from) {
        starter::copy_vocabulary(&from.join("tokenizer"), &at_folder)?;
    } else if !there {
        let corpus = caption_corpus(data, CORPUS);
        let options = VocabularyOptions { entries: VOCABULARY, ..Default::default() };
        let words = vocabulary::train(corpus.iter().map(|(text, count)| (text.as_str(), *count)), &options);
        words.write(&at_folder, starter::MAX_TOKENS).map_err(at(&at_folder))?;
    }
    ClipTokenizer::from_folder(&at_folder).map_err(|e| TrainError::State(e.to_string()))
}

fn trained(folder: &Path, name: &str) -> Result<PathBuf, TrainError> {
    match latest(&folder.join(name))? {
        Some(checkpoint) => Ok(averaged_weights(&checkpoint)),
        None => Err(TrainError::State(format!(
            "train the stage {name} first: {} has no checkpoint of it",
            folder.display()
        ))),
    }
}

/// The factor that brings latents to a standard deviation of 1, measured once and kept.
fn scaling_factor(
    folder: &Path,
    shape: &StarterShape,
    weights: &Path,
    data: &SceneGenerator,
) -> Result<f32, TrainError> {
    let path = folder.join("scaling_factor");
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(factor) = text.trim().parse()
    {
        return Ok(factor);
    }
    let model = starter::frozen_autoencoder(weights, &shape.autoencoder)?;
    let factor = starter::latent_scale(&model, data)?;
    std::fs::write(&path, format!("{factor}\n")).map_err(at(&path))?;
    Ok(factor)
}

/// The loss curve as a picture beside the table.
fn draw_losses(folder: &Path) -> Result<(), TrainError> {
    use danqing_imaging::chart::{ChartOptions, Series, line_chart};
    let points = losses(folder)?;
    if points.len() < 2 {
        return Ok(());
    }
    let options = ChartOptions { title: "loss".into(), x_label: "step".into(), log_y: true, ..Default::default() };
    let chart = line_chart(&[Series { name: "smoothed".into(), points }], &options)?;
    Ok(danqing_imaging::save(&folder.join("losses.png"), &chart, &danqing_imaging::EncodeOptions::default())?)
}
