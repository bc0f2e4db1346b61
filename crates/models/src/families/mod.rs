//! Model families: what a checkpoint is, read off its tensor names, and what follows from that.

pub mod ddpm;
pub mod stable_diffusion;

use danqing_sampling::PredictionType;
use stable_diffusion::detect::Heads;

/// Which hidden state of a text encoder a family's U-Net was trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenState {
    /// Counted from the end by clip skip (1 is the last layer), then through the final norm.
    Normed {
        /// The family's own clip skip.
        clip_skip: usize,
    },
    /// Counted from the end by clip skip (2 is the penultimate), not normed.
    Raw {
        /// The family's own clip skip.
        clip_skip: usize,
    },
}

/// The layout of a text encoder's tensors in single files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextLayout {
    /// transformers' names.
    Transformers,
    /// OpenCLIP's names; the flag drops the last layer, which the family never uses.
    OpenClip {
        /// Whether the last layer is left out.
        drop_last_layer: bool,
    },
}

/// One text encoder of a family.
#[derive(Debug, Clone, Copy)]
pub struct TextBranch {
    /// Its folder in a diffusers tree.
    pub folder: &'static str,
    /// Its tokenizer's folder in a diffusers tree.
    pub tokenizer_folder: &'static str,
    /// Its prefix in a single file.
    pub prefix: &'static str,
    /// Its layout in a single file.
    pub layout: TextLayout,
    /// The state that conditions the U-Net.
    pub hidden: HiddenState,
    /// Whether its pooled output conditions the U-Net.
    pub pooled: bool,
}

/// A family of text-to-picture models: data that the code reads; nothing asks for a family's identity.
#[derive(Debug)]
pub struct ModelFamily {
    /// Short name, as in `--list` and metadata.
    pub id: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// ModelSpec architecture name.
    pub architecture: &'static str,
    /// Width of the U-Net's text context.
    pub context: usize,
    /// Width of the U-Net's added conditioning, if it has one.
    pub added: Option<usize>,
    /// How its U-Net counts heads.
    pub heads: Heads,
    /// Its text encoders, in the order in which their states are joined.
    pub text: &'static [TextBranch],
    /// Latents are multiplied by this.
    pub scaling_factor: f32,
    /// Native picture side in pixels.
    pub native_size: usize,
    /// The TAESD file that decodes its latents, without `_decoder` and extension.
    pub tiny_autoencoder: &'static str,
    /// What its network predicts where nothing says otherwise; `None` where releases differ and a probe is needed.
    pub prediction: Option<PredictionType>,
}

const CLIP_L: TextBranch = TextBranch {
    folder: "text_encoder",
    tokenizer_folder: "tokenizer",
    prefix: "cond_stage_model.transformer.",
    layout: TextLayout::Transformers,
    hidden: HiddenState::Normed { clip_skip: 1 },
    pooled: false,
};

const BIG_G: TextBranch = TextBranch {
    folder: "text_encoder_2",
    tokenizer_folder: "tokenizer_2",
    prefix: "conditioner.embedders.1.model.",
    layout: TextLayout::OpenClip { drop_last_layer: false },
    hidden: HiddenState::Raw { clip_skip: 2 },
    pooled: true,
};

/// Stable Diffusion 1.x: one CLIP-L.
pub static SD1: ModelFamily = ModelFamily {
    id: "sd1",
    title: "Stable Diffusion 1.x",
    architecture: "stable-diffusion-v1",
    context: 768,
    added: None,
    heads: Heads::Count(8),
    text: &[CLIP_L],
    scaling_factor: 0.18215,
    native_size: 512,
    tiny_autoencoder: "taesd",
    prediction: Some(PredictionType::Epsilon),
};

/// Stable Diffusion 2.x: OpenCLIP-H without its last layer; epsilon (512) and v (768) releases look alike.
pub static SD2: ModelFamily = ModelFamily {
    id: "sd2",
    title: "Stable Diffusion 2.x",
    architecture: "stable-diffusion-v2",
    context: 1024,
    added: None,
    heads: Heads::Width(64),
    text: &[TextBranch {
        prefix: "cond_stage_model.model.",
        layout: TextLayout::OpenClip { drop_last_layer: true },
        ..CLIP_L
    }],
    scaling_factor: 0.18215,
    native_size: 768,
    tiny_autoencoder: "taesd",
    prediction: None,
};

/// Stable Diffusion XL base: CLIP-L and OpenCLIP-bigG.
pub static SDXL: ModelFamily = ModelFamily {
    id: "sdxl",
    title: "Stable Diffusion XL",
    architecture: "stable-diffusion-xl-v1-base",
    context: 2048,
    added: Some(2816),
    heads: Heads::Width(64),
    text: &[
        TextBranch {
            prefix: "conditioner.embedders.0.transformer.",
            hidden: HiddenState::Raw { clip_skip: 2 },
            ..CLIP_L
        },
        BIG_G,
    ],
    scaling_factor: 0.13025,
    native_size: 1024,
    tiny_autoencoder: "taesdxl",
    prediction: Some(PredictionType::Epsilon),
};

/// Stable Diffusion XL refiner: OpenCLIP-bigG alone, with an aesthetic score.
pub static SDXL_REFINER: ModelFamily = ModelFamily {
    id: "sdxl-refiner",
    title: "Stable Diffusion XL refiner",
    architecture: "stable-diffusion-xl-v1-refiner",
    context: 1280,
    added: Some(2560),
    heads: Heads::Width(64),
    text: &[TextBranch { prefix: "conditioner.embedders.0.model.", ..BIG_G }],
    scaling_factor: 0.13025,
    native_size: 1024,
    tiny_autoencoder: "taesdxl",
    prediction: Some(PredictionType::Epsilon),
};

/// The text-to-picture families.
pub static FAMILIES: &[&ModelFamily] = &[&SD1, &SD2, &SDXL, &SDXL_REFINER];

/// The family of a U-Net with this context width and this width of added conditioning.
pub fn of_unet(context: usize, added: Option<usize>) -> Option<&'static ModelFamily> {
    FAMILIES.iter().copied().find(|f| f.context == context && f.added == added)
}
