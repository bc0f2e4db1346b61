//! What can be asked of an engine, and what it gives back: plain types, without weights or files.

use danqing_imaging::{Infotext, Picture};
use danqing_sampling::PredictionType;
use danqing_sampling::noise::{DrawOrder, DrawType, Generator};

use crate::prompts::{Dialect, Emphasis};

/// What stands in the masked area before it is drawn anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaskedContent {
    /// Colours from around it.
    Fill,
    /// The picture as it is.
    #[default]
    Original,
    /// Noise.
    LatentNoise,
    /// Nothing.
    LatentNothing,
}

/// Which part of a picture is drawn anew.
#[derive(Debug, Clone)]
pub struct Inpaint {
    /// One value a pixel of the picture, 255 is drawn anew, 0 is kept.
    pub mask: Vec<u8>,
    /// Width of the soft edge in pixels.
    pub blur: f32,
    /// Draw a crop around the masked area at full size, with this many pixels around it, and paste it back.
    pub only_masked: Option<u32>,
    /// What stands there first.
    pub content: MaskedContent,
}

/// A picture to start from.
#[derive(Debug, Clone)]
pub struct Init {
    /// The picture.
    pub picture: Picture,
    /// How much of it may change: 0 nothing, 1 everything.
    pub strength: f32,
    /// The part to draw anew; `None` is all.
    pub inpaint: Option<Inpaint>,
}

/// A second pass at a larger size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HiresPass {
    /// How many times larger each side becomes.
    pub scale: f32,
    /// How much may change.
    pub strength: f32,
    /// Steps of the second pass; 0 is as many as the first has.
    pub steps: usize,
}

/// Another seed's share of the noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VariationRequest {
    /// The other seed.
    pub seed: u64,
    /// Its share, 0 to 1.
    pub strength: f64,
}

/// Where the noise comes from and who draws it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseRequest {
    /// The generator.
    pub generator: Generator,
    /// The order in which a batch draws.
    pub order: DrawOrder,
    /// Added to the seed for the noise of the steps (A1111's ENSD).
    pub step_seed_delta: u64,
}

impl Default for NoiseRequest {
    fn default() -> Self {
        Self { generator: Generator::Cpu(DrawType::F32), order: DrawOrder::A1111, step_seed_delta: 0 }
    }
}

/// A wish for pictures. Fields that are `None` take the model's own value.
#[derive(Debug, Clone)]
pub struct DrawRequest {
    /// What to draw.
    pub prompt: String,
    /// What to keep away from.
    pub negative_prompt: String,
    /// Replace Chinese words by English ones where the model does not know them.
    pub translate: bool,
    /// How the prompts are read.
    pub dialect: Dialect,
    /// What prompt weights do to the text encoding; `None` is the dialect's own way.
    pub emphasis: Option<Emphasis>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Pictures drawn at once.
    pub batch_size: usize,
    /// Steps.
    pub steps: Option<usize>,
    /// Sampler, by any of its names.
    pub sampler: Option<String>,
    /// Sigma schedule, by any of its names.
    pub schedule: Option<String>,
    /// How strongly the prompt is followed; 1 is without guidance.
    pub guidance_scale: Option<f32>,
    /// How much of guidance's contrast is taken back, 0 to 1.
    pub guidance_rescale: Option<f32>,
    /// Strength of ancestral and SDE noise.
    pub eta: Option<f64>,
    /// Layers of the text encoder left out at the end, counted as A1111 does (1 is none).
    pub clip_skip: Option<usize>,
    /// The seed of the first picture.
    pub seed: u64,
    /// Another seed's share.
    pub variation: Option<VariationRequest>,
    /// Source of the noise.
    pub noise: NoiseRequest,
    /// A picture to start from.
    pub init: Option<Init>,
    /// A second, larger pass.
    pub hires: Option<HiresPass>,
    /// What the network predicts, where the checkpoint does not say.
    pub prediction: Option<PredictionType>,
    /// Show a preview after every so many steps; 0 is never.
    pub preview_every: usize,
}

impl Default for DrawRequest {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            translate: true,
            dialect: Dialect::default(),
            emphasis: None,
            width: None,
            height: None,
            batch_size: 1,
            steps: None,
            sampler: None,
            schedule: None,
            guidance_scale: None,
            guidance_rescale: None,
            eta: None,
            clip_skip: None,
            seed: 0,
            variation: None,
            noise: NoiseRequest::default(),
            init: None,
            hires: None,
            prediction: None,
            preview_every: 0,
        }
    }
}

/// One finished picture.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The picture.
    pub picture: Picture,
    /// The seed that draws it alone.
    pub seed: u64,
    /// The parameters that draw it again.
    pub infotext: Infotext,
}

/// What is going on.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something the user should know.
    Notice(crate::prompts::Notice),
    /// A phase began: its name and how many steps it has (0: unknown).
    Phase {
        /// What is being done.
        name: Phase,
        /// Steps it has.
        steps: usize,
    },
    /// Steps done in the phase.
    Step {
        /// Steps done.
        step: usize,
        /// Steps in all.
        total: usize,
    },
    /// What the first picture looks like by now.
    Preview(Picture),
}

/// What an engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the prompt.
    Encode,
    /// Denoising.
    Sample,
    /// Denoising the larger pass.
    Hires,
    /// Latent to picture.
    Decode,
    /// Enlarging to the final size.
    Enlarge,
    /// Making small.
    Shrink,
}
