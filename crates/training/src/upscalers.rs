//! The embedded upscalers: their shapes, how they are trained, and how they are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use danqing_checkpoints::{StorageType, Weights, safetensors};
use danqing_imaging::{DecodeLimits, Picture, open};
use danqing_models::upscalers::span::SpanConfig;
use danqing_nn::{AdamWConfig, LrDecay, LrSchedule};

use crate::data::{Degradation, PatchSource, Vectors};
use crate::error::{TrainError, at};
use crate::methods::upscaler::{PatchLoss, UpscalerMethod};
use crate::run::{RunConfig, RunEnd, averaged_weights, latest, train};

/// An upscaler that can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpscalerRecipe {
    /// Its name.
    pub name: &'static str,
    /// Its network.
    pub network: SpanConfig,
    /// What it learns to undo.
    pub degradation: Degradation,
    /// Side of a small patch in pixels.
    pub side: usize,
}

const fn span(channels: usize, blocks: usize, scale: usize) -> SpanConfig {
    SpanConfig { colours: 3, channels, blocks, scale, centred: false }
}

/// Every upscaler that can be trained. 32 channels cost no more than the 28 of NTIRE 2024 where products are made in tiles of
/// 16 columns and 32 rows; `live-x2` has less than 12,000 weights.
pub const UPSCALER_RECIPES: &[UpscalerRecipe] = &[
    UpscalerRecipe { name: "photo-x2", network: span(32, 6, 2), degradation: Degradation::Bicubic, side: 48 },
    UpscalerRecipe { name: "photo-x4", network: span(32, 6, 4), degradation: Degradation::Bicubic, side: 48 },
    UpscalerRecipe { name: "art-x4", network: span(32, 6, 4), degradation: Degradation::Drawing, side: 48 },
    UpscalerRecipe { name: "clean-x1", network: span(32, 6, 1), degradation: Degradation::NoiseAndJpeg, side: 64 },
    UpscalerRecipe { name: "live-x2", network: span(12, 2, 2), degradation: Degradation::Bicubic, side: 48 },
];

/// What a training run of an upscaler needs.
#[derive(Debug, Clone)]
pub struct UpscalerOptions {
    /// Which.
    pub recipe: UpscalerRecipe,
    /// The run's folder.
    pub folder: PathBuf,
    /// Folder of photographs to learn from; dead leaves alone without.
    pub pictures: Option<PathBuf>,
    /// Folder below which icon sets lie, for the recipe of drawings.
    pub icons: Option<PathBuf>,
    /// Pictures that are never learned from.
    pub validation: Vec<PathBuf>,
    /// An upscaler whose weights a new run begins with, as far as they fit.
    pub from: Option<PathBuf>,
    /// Steps in all.
    pub steps: u64,
    /// Pairs a step.
    pub batch: usize,
    /// Whether a trained network is refined: patches twice as wide, of which less lies at an edge, squared error of luma, a quarter
    /// of the rate.
    pub refine: bool,
}

const SEED: u64 = 0x005E_EDED;
/// Share of photographs or drawings when a network is refined. With 0.95 photo-x2 learned its thirty photographs by heart: validation fell
/// from 40.61 to 40.53 dB while the rate fell.
const REFINED: f32 = 0.7;
/// The highest learning rate.
const PEAK: f64 = 7e-4;
/// Steps to it for a fresh network. With 100, blocks fade before they are of use: after 600 steps of `photo-x4` the results of blocks 3
/// to 6 vary by 1.1 to 0.09, with 1000 by 3.0 to 1.4.
const WARMUP: u64 = 1000;

/// Trains an upscaler, going on from the folder's checkpoint if there is one.
///
/// # Errors
/// When pictures cannot be read, a file cannot be written, or training diverges.
pub fn train_upscaler(
    options: &UpscalerOptions,
    log: &mut dyn FnMut(&str),
    stopped: &dyn Fn() -> bool,
) -> Result<RunEnd, TrainError> {
    let UpscalerRecipe { network, degradation, side, .. } = options.recipe;
    let (side, peak, loss) =
        if options.refine { (2 * side, PEAK / 4.0, PatchLoss::SquaredLuma) } else { (side, PEAK, PatchLoss::Absolute) };
    let source = match degradation {
        Degradation::Drawing => {
            let drawings = Vectors::open(options.icons.as_deref().unwrap_or(Path::new(".")))?;
            log(&format!("{} drawings", drawings.len()));
            PatchSource::of_drawings(drawings, degradation, network.scale, side, SEED)
        }
        Degradation::Bicubic | Degradation::NoiseAndJpeg => {
            let source = PatchSource::new(options.pictures.as_deref(), degradation, network.scale, side, SEED)?;
            log(&format!("{} photographs, with their reduced forms", source.photographs()));
            source
        }
    };
    let source = if options.refine { source.with_share(REFINED) } else { source };
    let validation: Vec<Picture> = options
        .validation
        .iter()
        .map(|path| Ok(open(path, &DecodeLimits::default())?.flattened([255; 3])))
        .collect::<Result<_, TrainError>>()?;
    let mut method =
        UpscalerMethod::new(network, (source, side), degradation, validation, (options.batch, loss), SEED)?;
    let fresh = latest(&options.folder)?.is_none();
    if let Some(from) = options.from.as_deref().filter(|_| fresh) {
        let taken = method.begin_with(&Weights::open(from)?)?;
        log(&format!("{taken} tensors of {}", from.display()));
    } else if fresh {
        method.even_out()?;
    }
    let warmup = if options.from.is_some() { 100 } else { WARMUP.min(options.steps / 4) };
    let decay = LrDecay::Cosine { floor: 0.002 };
    let config = RunConfig {
        folder: options.folder.clone(),
        rate: LrSchedule { peak, warmup, total: options.steps, decay },
        adamw: AdamWConfig { beta2: 0.99, weight_decay: 0.0, ..Default::default() },
        clip: 1.0,
        ema: 0.999,
        checkpoint_every: Duration::from_secs(180),
        review_every: 2_000,
        log_every: 50,
    };
    train(&mut method, &config, log, stopped)
}

/// Writes the newest averaged weights of a run as SPAN's public layout in float16.
///
/// # Errors
/// When there is no checkpoint yet or a file cannot be read or written.
pub fn export_upscaler(recipe: &UpscalerRecipe, folder: &Path, out: &Path) -> Result<(), TrainError> {
    let checkpoint = latest(folder)?
        .ok_or_else(|| TrainError::State(format!("{} holds no checkpoint yet: train first", folder.display())))?;
    let weights = Weights::open(averaged_weights(&checkpoint))?;
    let half = |v: f32| half::f16::from_f32(v).to_le_bytes();
    let mut parts = Vec::new();
    for name in weights.names() {
        let shape = weights.info(name).map(|info| info.shape.clone()).unwrap_or_default();
        let bytes: Vec<u8> = weights.read_f32(name)?.into_iter().flat_map(half).collect();
        parts.push((name.to_owned(), shape, bytes));
    }
    // The mark by which readers of SPAN know that colours are used as they are.
    parts.push(("no_norm".into(), vec![1], half(0.0).to_vec()));
    let tensors: Vec<_> =
        parts.iter().map(|(n, s, b)| (n.as_str(), StorageType::F16, s.as_slice(), b.as_slice())).collect();
    let step = checkpoint.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let notes = BTreeMap::from([("name".to_owned(), recipe.name.to_owned()), ("step".to_owned(), step)]);
    if let Some(parent) = out.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    Ok(safetensors::write(out, &tensors, &notes)?)
}
