//! `danqing train starter`: the stages in order, each resumable, and the export of what they made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use danqing_models::tokenizers::ClipTokenizer;
use danqing_nn::{AdamWConfig, LrDecay, LrSchedule};

use crate::data::{SceneConfig, SceneGenerator, SpriteLibrary, caption_corpus};
use crate::error::{TrainError, at};
use crate::methods::autoencoder::AutoencoderMethod;
use crate::methods::denoiser::DenoiserMethod;
use crate::run::{RunConfig, RunEnd, averaged_weights, latest, losses, train};
use crate::starter::{self, StarterShape};
use crate::vocabulary::{self, VocabularyOptions};

/// Entries of the starter's vocabulary: every word and character of the captions, and some.
const VOCABULARY: usize = 2048;
/// Captions that the vocabulary is trained on.
const CORPUS: u64 = 200_000;

/// A stage of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pictures to latents and back.
    Autoencoder,
    /// Text and noise to latents.
    Denoiser,
}

/// The stages by name, in order.
pub const STAGES: &[(&str, Stage)] = &[("autoencoder", Stage::Autoencoder), ("denoiser", Stage::Denoiser)];

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
    let library = SpriteLibrary::open_or_build(&folder.join("sprites.bin"), &options.icons)?;
    let data = SceneGenerator::new(&Arc::new(library), SceneConfig::default());
    let tokenizer = tokenizer(folder, &data)?;
    let mut shape = StarterShape::mini(tokenizer.vocab_size());
    let end = match stage {
        Stage::Autoencoder => {
            let mut method = AutoencoderMethod::new(&shape.autoencoder, &data, options.batch, 1)?;
            train(&mut method, &config(options, "autoencoder", 100, 0.5, 0.998, 500), log, stopped)?
        }
        Stage::Denoiser => {
            let path = trained(folder, "autoencoder")?;
            shape.autoencoder.scaling_factor = scaling_factor(folder, &shape, &path, &data)?;
            let autoencoder = starter::frozen_autoencoder(&path, &shape.autoencoder)?;
            let (model, params) = starter::model_in_training(&shape, tokenizer, autoencoder, 2)?;
            let mut method = DenoiserMethod::new(model, params, &data, options.batch, 3);
            train(&mut method, &config(options, "denoiser", 200, 0.3, 0.9995, 2000), log, stopped)?
        }
    };
    let name = STAGES.iter().find(|(_, s)| *s == stage).map_or("", |(name, _)| name);
    draw_losses(&folder.join(name))?;
    Ok(end)
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

fn config(options: &StarterOptions, name: &str, warmup: u64, decay: f64, ema: f64, review_every: u64) -> RunConfig {
    let steps = (options.steps as f64 * decay) as u64;
    RunConfig {
        folder: options.folder.join(name),
        rate: LrSchedule { peak: 8e-4, warmup, total: options.steps, decay: LrDecay::Final { steps, floor: 0.02 } },
        adamw: AdamWConfig { beta2: 0.99, ..Default::default() },
        clip: 1.0,
        ema,
        checkpoint_every: Duration::from_secs(180),
        review_every,
        log_every: 20,
    }
}

/// The vocabulary of the run: trained once, then kept, since the text encoder's rows are its entries.
fn tokenizer(folder: &Path, data: &SceneGenerator) -> Result<ClipTokenizer, TrainError> {
    let at_folder = folder.join("tokenizer");
    if !at_folder.join("vocab.json").exists() {
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
