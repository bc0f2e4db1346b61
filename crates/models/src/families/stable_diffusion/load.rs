//! Puts a model together from its parts.

use danqing_checkpoints::Weights;
use danqing_nn::{LoadOptions as ParamOptions, Loader, ParamStore};
use danqing_sampling::diffusers::DiffusersClass;
use danqing_sampling::schedules::{LastSigma, ScheduleOptions, SpacingManner};
use danqing_sampling::training_noise::BetaSchedule;
use danqing_sampling::{PredictionType, TrainingNoise};
use danqing_tensor::DType;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::autoencoder::{autoencoder_from_folder, autoencoder_from_single, autoencoder_given};
use super::detect::{self, Below};
use super::keys;
use super::parts::{Component, ModelParts};
use super::prediction::{self, PredictionSource, Predicts};
use super::source::Renamed;
use super::{SamplingDefaults, StableDiffusion, TextBranchModel};
use crate::autoencoders::AutoencoderKlConfig;
use crate::error::ModelError;
use crate::families::{self, HiddenState, ModelFamily, TextBranch, TextLayout};
use crate::text_encoders::{ClipTextConfig, ClipTextEncoder};
use crate::tokenizers::ClipTokenizer;
use crate::unet::{Unet, UnetConfig};

/// How a model is loaded.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Element type of weights and activations.
    pub dtype: DType,
    /// What the network predicts, where the checkpoint does not say.
    pub prediction: Option<PredictionType>,
    /// What is read.
    pub parts: Parts,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { dtype: DType::F32, prediction: None, parts: Parts::ALL }
    }
}

/// The parts of a model whose weights are read. The others are checked by names and shapes, take no memory and must not
/// be run: for working through a large model one part at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The text encoders.
    pub text: bool,
    /// The U-Net.
    pub unet: bool,
    /// The autoencoder.
    pub autoencoder: bool,
}

impl Parts {
    /// Everything.
    pub const ALL: Self = Self { text: true, unet: true, autoencoder: true };
    /// The text encoders alone.
    pub const TEXT: Self = Self { text: true, unet: false, autoencoder: false };
    /// The U-Net alone.
    pub const UNET: Self = Self { text: false, unet: true, autoencoder: false };
    /// The autoencoder alone.
    pub const AUTOENCODER: Self = Self { text: false, unet: false, autoencoder: true };
}

/// Tensors that published files carry and that no evaluation needs.
pub(super) fn needless(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    leaf == "position_ids"
        || leaf == "logit_scale"
        || name.ends_with("v_pred")
        || name.ends_with("ztsnr")
        || name.ends_with("text_projection")
        || name.ends_with("text_projection.weight")
        || name.contains("transformer.resblocks.23.")
        || name.contains(".loss.")
}

pub(super) fn unknown<T>(what: String) -> Result<T, ModelError> {
    Err(ModelError::Unknown(what))
}

impl StableDiffusion {
    /// Builds the model.
    ///
    /// # Errors
    /// A part that is missing, cannot be read, or does not fit; the sentence names what is missing, unexpected or
    /// misshapen.
    pub fn load(parts: &ModelParts, options: LoadOptions) -> Result<Self, ModelError> {
        match parts {
            ModelParts::Folder { .. } => from_folder(parts, options),
            ModelParts::Single { .. } => from_single(parts, options),
        }
    }
}

/// What a folder's model is, from its configurations alone.
///
/// # Errors
/// What is missing or cannot be built.
pub fn recognise(parts: &ModelParts) -> Result<String, ModelError> {
    let (name, components) = match parts {
        ModelParts::Single { weights, .. } => return recognise_file(weights),
        ModelParts::Folder { name, components, .. } => (name, components),
    };
    for folder in ["unet", "vae", "text_encoder"] {
        let needed = folder != "text_encoder" || !components.contains_key("text_encoder_2");
        if needed && components.get(folder).is_none_or(|c| c.weights.is_none()) {
            return unknown(format!("{name} has no {folder} with config.json and weights: is the download complete?"));
        }
    }
    let config: UnetConfig = parsed("unet/config.json", &components["unet"].config)?;
    config.validate().map_err(ModelError::Configuration)?;
    let added = config.projection_class_embeddings_input_dim.filter(|_| config.has_added_conditioning());
    let family = families::of_unet(config.cross_attention_dim, added);
    Ok(title(family, config.in_channels))
}

/// What a single file's model is, from tensor names and shapes alone.
///
/// # Errors
/// What it resembles, if it is none.
pub fn recognise_file(weights: &Weights) -> Result<String, ModelError> {
    let Some(config) = detect::unet(Below { weights, prefix: UNET_PREFIX }, |_| detect::Heads::Count(8)) else {
        return unknown(resemblance(weights));
    };
    match families::of_unet(config.cross_attention_dim, config.projection_class_embeddings_input_dim) {
        Some(family) => Ok(title(Some(family), config.in_channels)),
        None => {
            unknown(format!("a U-Net with text context {} wide, which no known family has", config.cross_attention_dim))
        }
    }
}

fn title(family: Option<&ModelFamily>, in_channels: usize) -> String {
    let name = family.map_or("a model of Stable Diffusion's shape", |f| f.title);
    if in_channels == 9 { format!("{name}, inpainting") } else { name.into() }
}

fn params(dtype: DType, read: bool) -> ParamOptions {
    ParamOptions { values: read, ..ParamOptions::inference(dtype) }
}

/// What a part takes in memory.
pub(super) fn size(store: &ParamStore, read: bool) -> u64 {
    if read { store.bytes() as u64 } else { 0 }
}

pub(super) fn parsed<T: DeserializeOwned>(what: &str, config: &Value) -> Result<T, ModelError> {
    // Fields that a file sets to null keep their defaults.
    let mut config = config.clone();
    if let Some(fields) = config.as_object_mut() {
        fields.retain(|_, v| !v.is_null());
    }
    serde_json::from_value(config).map_err(|e| ModelError::Configuration(format!("{what}: {e}")))
}

fn from_folder(parts: &ModelParts, options: LoadOptions) -> Result<StableDiffusion, ModelError> {
    let ModelParts::Folder { name, index, components, tokenizers, autoencoder } = parts else {
        return unknown("not a folder".into());
    };
    let part = |folder: &str| -> Result<(&Component, &Weights), ModelError> {
        match components.get(folder) {
            Some(c @ Component { weights: Some(w), .. }) => Ok((c, w)),
            _ => unknown(format!("{name} has no {folder} with config.json and weights: is the download complete?")),
        }
    };

    let (component, weights) = part("unet")?;
    let config: UnetConfig = parsed("unet/config.json", &component.config)?;
    let read = options.parts;
    let loader = Loader::new(weights.clone(), params(options.dtype, read.unet));
    let unet = Unet::load(&loader, &config)?;
    let mut bytes = size(&loader.finish()?, read.unet);

    let added = config.projection_class_embeddings_input_dim.filter(|_| config.has_added_conditioning());
    let family = families::of_unet(config.cross_attention_dim, added);

    let vae = params(options.dtype, read.autoencoder);
    let own = part("vae").and_then(|(component, weights)| {
        let config: AutoencoderKlConfig = parsed("vae/config.json", &component.config)?;
        Ok((weights, config))
    });
    let scaling = family.unwrap_or(&families::SD1).scaling_factor;
    let (autoencoder, taken) = match (autoencoder, own) {
        (Some(given), own) => autoencoder_given(given, own.map_or(scaling, |(_, c)| c.scaling_factor), vae)?,
        (None, own) => own.and_then(|(weights, config)| autoencoder_from_folder(weights, &config, vae))?,
    };
    let downscale = autoencoder.config().downscale();
    bytes += taken;

    let branches: Vec<TextBranch> = match family {
        Some(family) => family.text.to_vec(),
        None => folder_branches(components.contains_key("text_encoder_2"), components.contains_key("text_encoder")),
    };
    let mut text = Vec::new();
    for branch in branches {
        let (component, weights) = part(branch.folder)?;
        let mut config: ClipTextConfig = parsed(&format!("{}/config.json", branch.folder), &component.config)?;
        let Some(tokenizer) = tokenizers.get(branch.tokenizer_folder) else {
            return unknown(format!("{name} has no {} with vocab.json and merges.txt", branch.tokenizer_folder));
        };
        // transformers' CLIPTextModel leaves the projection out even where the width is configured.
        if component.config.get("architectures").is_none() && weights.contains("text_projection.weight") {
            config.architectures = vec!["CLIPTextModelWithProjection".into()];
        }
        let loader = Loader::new(weights.clone(), params(options.dtype, read.text));
        let encoder = ClipTextEncoder::load(&loader, &config)?;
        bytes += size(&loader.finish_ignoring(needless)?, read.text);
        text.push(TextBranchModel {
            encoder,
            tokenizer: tokenizer.clone(),
            hidden: branch.hidden,
            pooled: branch.pooled,
        });
    }

    let numbers = time_ids(&config, &text)?;
    let scheduler = components.get("scheduler").map(|c| &c.config).cloned().unwrap_or(Value::Null);
    let zero_snr = scheduler.get("rescale_betas_zero_snr").and_then(Value::as_bool).unwrap_or(false);
    let configured = match scheduler.get("prediction_type").and_then(Value::as_str) {
        Some(said) => match PredictionType::parse(said) {
            Some(p) => Some((p, PredictionSource::Configuration)),
            None => return unknown(format!("{name}: prediction_type {said} is not known")),
        },
        // diffusers' own default where a configuration is there and silent.
        None => (!scheduler.is_null()).then_some((PredictionType::Epsilon, PredictionSource::Configuration)),
    };
    let predicts = settle(configured, zero_snr, options, family, &unet)?;
    let noise = training_noise(&scheduler, predicts)?;
    let spacing = scheduler.get("timestep_spacing").and_then(Value::as_str).map(String::from);
    let native_size = config.sample_size.map(|s| s * downscale).or(family.map(|f| f.native_size)).unwrap_or(512);
    let zeros = index.get("force_zeros_for_empty_prompt").and_then(Value::as_bool).unwrap_or(false);
    let own = index.get("danqing").cloned().unwrap_or(Value::Null);
    Ok(StableDiffusion {
        name: name.clone(),
        hash: None,
        family,
        text,
        autoencoder,
        time_ids: numbers,
        unet,
        noise,
        predicts,
        defaults: SamplingDefaults::of(predicts, spacing.as_deref(), &own),
        spacing: spacing_of(&scheduler),
        diffusers_class: scheduler.get("_class_name").and_then(Value::as_str).and_then(DiffusersClass::find),
        timestep_spacing: spacing,
        native_size,
        zeros_for_empty_prompt: zeros,
        dtype: options.dtype,
        weight_bytes: bytes,
        notices: Vec::new(),
    })
}

fn folder_branches(second: bool, first: bool) -> Vec<TextBranch> {
    let mut branches = Vec::new();
    let both = first && second;
    if first {
        let hidden = if both { HiddenState::Raw { clip_skip: 2 } } else { families::SD1.text[0].hidden };
        branches.push(TextBranch { hidden, ..families::SD1.text[0] });
    }
    if second {
        branches.push(families::SDXL.text[1]);
    }
    branches
}

/// Numbers of the size conditioning, from what is left of the added width beside the pooled text: 6 (size, crop, target)
/// or 5 (size, crop, aesthetic score).
fn time_ids(config: &UnetConfig, text: &[TextBranchModel]) -> Result<usize, ModelError> {
    let added = config.projection_class_embeddings_input_dim.filter(|_| config.has_added_conditioning());
    let (Some(added), Some(each)) = (added, config.addition_time_embed_dim) else { return Ok(0) };
    let pooled = text.iter().filter(|t| t.pooled).map(|t| t.encoder.config().pooled_width()).next().unwrap_or(0);
    match added.checked_sub(pooled).map(|rest| (rest / each, rest % each)) {
        Some((numbers @ (5 | 6), 0)) => Ok(numbers),
        _ => Err(ModelError::Configuration(format!(
            "the U-Net's added conditioning is {added} wide: beside {pooled} of the text that is not 5 or 6 numbers of {each}"
        ))),
    }
}

const UNET_PREFIX: &str = "model.diffusion_model.";

fn from_single(parts: &ModelParts, options: LoadOptions) -> Result<StableDiffusion, ModelError> {
    let ModelParts::Single { name, weights, sidecar, tokenizers, autoencoder } = parts else {
        return unknown("not a single file".into());
    };
    let at = Below { weights, prefix: UNET_PREFIX };
    // The context's width names the family, the family how heads are counted.
    let heads = |context: usize| {
        families::FAMILIES.iter().find(|f| f.context == context).map_or(detect::Heads::Count(8), |f| f.heads)
    };
    let Some(config) = detect::unet(at, heads) else {
        return unknown(resemblance(weights));
    };
    let added = config.projection_class_embeddings_input_dim;
    let Some(family) = families::of_unet(config.cross_attention_dim, added) else {
        return unknown(format!(
            "{} holds a U-Net with text context {} wide, which no known family has ({})",
            weights.source(),
            config.cross_attention_dim,
            families::FAMILIES.iter().map(|f| format!("{}: {}", f.title, f.context)).collect::<Vec<_>>().join(", ")
        ));
    };
    let mapped = config.clone();
    let source = Renamed::new(weights, UNET_PREFIX, move |n| keys::unet(&mapped, n));
    let read = options.parts;
    let loader = Loader::new(source, params(options.dtype, read.unet));
    let unet = Unet::load(&loader, &config)?;
    let mut bytes = size(&loader.finish_ignoring(needless)?, read.unet);

    let vae = params(options.dtype, read.autoencoder);
    let (autoencoder, taken) = match autoencoder {
        Some(given) => autoencoder_given(given, family.scaling_factor, vae)?,
        None => autoencoder_from_single(weights, "first_stage_model.", family.scaling_factor, vae)?,
    };
    bytes += taken;

    let mut text = Vec::new();
    for branch in family.text {
        let tokenizer = &tokenizers[usize::from(branch.layout != TextLayout::Transformers)];
        let (branch, taken) = text_from_single(weights, branch, tokenizer, params(options.dtype, read.text))?;
        bytes += taken;
        text.push(branch);
    }

    let numbers = time_ids(&config, &text)?;
    let (said, zero_snr) = prediction::of_single(weights, sidecar.as_deref());
    let predicts = settle(said, zero_snr, options, Some(family), &unet)?;
    let noise = training_noise(&Value::Null, predicts)?;
    Ok(StableDiffusion {
        name: name.clone(),
        hash: None,
        family: Some(family),
        text,
        autoencoder,
        time_ids: numbers,
        unet,
        noise,
        predicts,
        defaults: SamplingDefaults::of(predicts, None, &Value::Null),
        spacing: ScheduleOptions::default(),
        diffusers_class: None,
        timestep_spacing: None,
        native_size: family.native_size,
        zeros_for_empty_prompt: false,
        dtype: options.dtype,
        weight_bytes: bytes,
        notices: Vec::new(),
    })
}

fn text_from_single(
    weights: &Weights,
    branch: &TextBranch,
    tokenizer: &ClipTokenizer,
    options: ParamOptions,
) -> Result<(TextBranchModel, u64), ModelError> {
    let at = Below { weights, prefix: branch.prefix };
    let config = match branch.layout {
        TextLayout::Transformers => detect::clip(at),
        TextLayout::OpenClip { drop_last_layer } => detect::open_clip(at, drop_last_layer),
    };
    let Some(config) = config else {
        return unknown(format!(
            "{} holds no text encoder under {:?}: it may be a U-Net alone; use the full checkpoint",
            weights.source(),
            branch.prefix
        ));
    };
    let mapped = config.clone();
    let source = match branch.layout {
        TextLayout::Transformers => Renamed::new(weights, branch.prefix, |_| None),
        TextLayout::OpenClip { .. } => Renamed::new(weights, branch.prefix, move |n| keys::open_clip(&mapped, n)),
    };
    let loader = Loader::new(source, options);
    let encoder = ClipTextEncoder::load(&loader, &config)?;
    let bytes = size(&loader.finish_ignoring(needless)?, options.values);
    let tokenizer = tokenizer.clone();
    Ok((TextBranchModel { encoder, tokenizer, hidden: branch.hidden, pooled: branch.pooled }, bytes))
}

/// A sentence for a file that is no model: what it resembles.
fn resemblance(weights: &Weights) -> String {
    let has = |part: &str| weights.names().any(|n| n.contains(part));
    let what = if has("lora_up") || has("lora_A.") || has("lora.up") {
        "it looks like a LoRA, which is added to a model and cannot draw alone"
    } else if has("double_blocks.") {
        "it looks like a FLUX model, which is not supported yet"
    } else if has("joint_blocks.") {
        "it looks like a Stable Diffusion 3 model, which is not supported yet"
    } else if has("controlnet") || has("control_model.") || has("zero_convs.") {
        "it looks like a ControlNet, which steers a model and cannot draw alone"
    } else if has("first_stage_model.") || has("decoder.up.") || has("decoder.up_blocks.") {
        "it looks like an autoencoder (VAE) alone: give it with --vae beside a model"
    } else if has("down_blocks.") {
        "it looks like a diffusers U-Net alone: point at the folder that holds unet, vae and text_encoder"
    } else if has("text_model.") {
        "it looks like a text encoder alone"
    } else if has("RRDB_trunk") || has("conv_body") || has("upsampler.") {
        "it looks like an upscaler"
    } else {
        "none of its tensor names belong to a known family"
    };
    format!("{} is no Stable Diffusion checkpoint: {what}", weights.source())
}

fn settle(
    said: Option<(PredictionType, PredictionSource)>,
    zero_snr: bool,
    options: LoadOptions,
    family: Option<&'static ModelFamily>,
    unet: &Unet,
) -> Result<Predicts, ModelError> {
    let of_family = || family.and_then(|f| f.prediction).map(|p| (p, PredictionSource::Family));
    let found = said.or(options.prediction.map(|p| (p, PredictionSource::User))).or_else(of_family);
    let (prediction, source) = match found {
        Some(found) => found,
        None if !options.parts.unet => {
            return unknown("what the network predicts is found by running it: read the U-Net, or say it".into());
        }
        None => (prediction::probe(unet)?, PredictionSource::Probe),
    };
    Ok(Predicts { prediction, source, zero_snr })
}

/// What a scheduler configuration says of timesteps and of the end of a run.
fn spacing_of(scheduler: &Value) -> ScheduleOptions {
    let class = scheduler.get("_class_name").and_then(Value::as_str).and_then(DiffusersClass::find);
    let to_one = scheduler.get("set_alpha_to_one").and_then(Value::as_bool).unwrap_or(true);
    let sigma_min = scheduler.get("final_sigmas_type").and_then(Value::as_str) == Some("sigma_min");
    // set_alpha_to_one is a field of DDIM's kin; in other classes' files it is a leftover.
    let ddim = class.is_some_and(|c| c.manner == SpacingManner::Ddim);
    ScheduleOptions {
        steps_offset: scheduler.get("steps_offset").and_then(Value::as_u64).unwrap_or(0) as usize,
        manner: class.map_or_else(SpacingManner::default, |c| c.manner),
        last: if sigma_min || (ddim && !to_one) { LastSigma::TrainingMinimum } else { LastSigma::Zero },
        ..Default::default()
    }
}

fn training_noise(scheduler: &Value, predicts: Predicts) -> Result<TrainingNoise, ModelError> {
    let number = |key: &str, or: f64| scheduler.get(key).and_then(Value::as_f64).unwrap_or(or);
    let schedule = scheduler.get("beta_schedule").and_then(Value::as_str).unwrap_or("scaled_linear");
    let Some(schedule) = BetaSchedule::parse(schedule) else {
        return unknown(format!("beta_schedule {schedule} is not known"));
    };
    let steps = number("num_train_timesteps", 1000.0) as usize;
    let noise = TrainingNoise::new(schedule, steps, number("beta_start", 0.00085), number("beta_end", 0.012))
        .map_err(|e| ModelError::Configuration(e.to_string()))?;
    Ok(if predicts.zero_snr { noise.with_zero_terminal_snr() } else { noise })
}
