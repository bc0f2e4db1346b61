//! The embedded starter model: its shapes, how it is put together from trained parts, and how it is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use danqing_imaging::{EncodeOptions, Picture, PixelFormat, save};
use danqing_kernels::threads::parallel_for;
use danqing_models::autoencoders::{AutoencoderKl, AutoencoderKlConfig};
use danqing_models::families::HiddenState;
use danqing_models::families::stable_diffusion::{
    PredictionSource, Predicts, SamplingDefaults, StableDiffusion, TextBranchModel,
};
use danqing_models::text_encoders::{ClipTextConfig, ClipTextEncoder};
use danqing_models::tokenizers::ClipTokenizer;
use danqing_models::unet::{PerLevel, Unet, UnetConfig};
use danqing_nn::{LoadOptions, Loader, ParamStore};
use danqing_sampling::schedules::ScheduleOptions;
use danqing_sampling::{PredictionType, TrainingNoise};
use danqing_tensor::{DType, Tensor, no_grad};
use serde_json::json;

use crate::data::{Scene, SceneGenerator, SceneLabels};
use crate::error::{TrainError, at};

/// Positions of the text encoder.
pub const MAX_TOKENS: usize = 32;

/// The shapes of a starter model.
#[derive(Debug, Clone, PartialEq)]
pub struct StarterShape {
    /// Native picture side in pixels.
    pub size: usize,
    /// The autoencoder.
    pub autoencoder: AutoencoderKlConfig,
    /// The U-Net.
    pub unet: UnetConfig,
    /// The text encoder.
    pub text: ClipTextConfig,
}

impl StarterShape {
    /// The shape that a CPU can train: 64 pixels, latents of 16 by 16, two levels with attention.
    pub fn mini(vocabulary: usize) -> Self {
        let text_width = 192;
        Self {
            size: 64,
            autoencoder: AutoencoderKlConfig {
                block_out_channels: vec![32, 64, 96],
                down_block_types: vec!["DownEncoderBlock2D".into(); 3],
                up_block_types: vec!["UpDecoderBlock2D".into(); 3],
                layers_per_block: 1,
                // 32 groups on 32 channels would be instance norm and lose colour.
                norm_num_groups: 8,
                sample_size: Some(64),
                force_upcast: false,
                ..Default::default()
            },
            unet: UnetConfig {
                sample_size: Some(16),
                block_out_channels: vec![64, 128],
                down_block_types: vec!["CrossAttnDownBlock2D".into(); 2],
                up_block_types: vec!["CrossAttnUpBlock2D".into(); 2],
                layers_per_block: PerLevel::All(1),
                cross_attention_dim: text_width,
                attention_head_dim: PerLevel::All(4),
                norm_num_groups: 16,
                ..Default::default()
            },
            text: ClipTextConfig {
                vocab_size: vocabulary,
                hidden_size: text_width,
                intermediate_size: 4 * text_width,
                num_hidden_layers: 3,
                num_attention_heads: 4,
                max_position_embeddings: MAX_TOKENS,
                projection_dim: text_width,
                eos_token_id: vocabulary as u32 - 1,
                bos_token_id: vocabulary as u32 - 2,
                pad_token_id: vocabulary as u32 - 1,
                ..Default::default()
            },
        }
    }
}

/// Painted scenes with their captions.
#[derive(Debug)]
pub struct Batch {
    /// `[b, side, side, 3]` in -1..1, f32.
    pub pictures: Tensor,
    /// A caption each.
    pub captions: Vec<String>,
    /// What each shows.
    pub labels: Vec<SceneLabels>,
}

/// Paints scenes `first`, …, `first + count - 1` on all threads.
pub fn paint_batch(data: &SceneGenerator, first: u64, count: usize) -> Batch {
    let side = data.config().size;
    let slots: Vec<Mutex<Option<Scene>>> = (0..count).map(|_| Mutex::new(None)).collect();
    parallel_for(count, &|i| {
        let scene = data.scene(first + i as u64);
        if let Ok(mut slot) = slots[i].lock() {
            *slot = Some(scene);
        }
    });
    let mut values = Vec::with_capacity(count * side * side * 3);
    let (mut captions, mut labels) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for slot in slots {
        // Every index was painted: a task that panics takes this thread along.
        let Some(scene) = slot.into_inner().ok().flatten() else { continue };
        values.extend(scene.pixels.iter().map(|v| f32::from(*v) / 127.5 - 1.0));
        captions.push(scene.caption);
        labels.push(scene.labels);
    }
    let shape = [count, side, side, 3];
    let pictures = Tensor::from_vec(values, &shape).unwrap_or_else(|e| unreachable!("{e}"));
    Batch { pictures, captions, labels }
}

/// The tokens of a caption, padded to the encoder's length.
pub fn pad_row(model: &StableDiffusion, caption: &str) -> Vec<u32> {
    model.text[0].tokenizer.encode_padded(caption, MAX_TOKENS)
}

/// Writes maps `[b, h, w, 3]` in -1..1 as one picture, `columns` side by side.
///
/// # Errors
/// When the file cannot be written.
pub fn write_grid(path: &Path, maps: &Tensor, columns: usize) -> Result<(), TrainError> {
    let (h, w) = (maps.dim(1), maps.dim(2));
    let values = maps.cast(DType::F32)?.to_vec();
    let pictures = values
        .chunks_exact(h * w * 3)
        .map(|p| {
            let pixels = p.iter().map(|v| (v.clamp(-1.0, 1.0) * 127.5 + 127.5).round() as u8).collect();
            Picture::new(w as u32, h as u32, PixelFormat::Rgb8, pixels)
        })
        .collect::<Result<Vec<_>, _>>()?;
    write_pictures(path, &pictures, columns)
}

/// Writes pictures of one size as one, `columns` side by side.
///
/// # Errors
/// When the file cannot be written.
pub fn write_pictures(path: &Path, pictures: &[Picture], columns: usize) -> Result<(), TrainError> {
    let Some(first) = pictures.first() else { return Ok(()) };
    let (w, h) = (first.width() as usize, first.height() as usize);
    let rows = pictures.len().div_ceil(columns);
    let mut pixels = vec![0u8; rows * h * columns * w * 3];
    for (i, picture) in pictures.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        for (y, line) in picture.pixels().chunks_exact(w * 3).enumerate().take(h) {
            let start = ((row * h + y) * columns + column) * w * 3;
            pixels[start..start + w * 3].copy_from_slice(line);
        }
    }
    let sheet = Picture::new((columns * w) as u32, (rows * h) as u32, PixelFormat::Rgb8, pixels)?;
    Ok(save(path, &sheet, &EncodeOptions::default())?)
}

/// What the starter's network predicts, and the noise that it is trained with.
pub fn noise() -> (Predicts, TrainingNoise) {
    let predicts =
        Predicts { prediction: PredictionType::VPrediction, source: PredictionSource::Configuration, zero_snr: true };
    (predicts, TrainingNoise::stable_diffusion().with_zero_terminal_snr())
}

/// How the starter is sampled.
pub fn defaults() -> SamplingDefaults {
    SamplingDefaults {
        sampler: "dpmpp_2m".into(),
        schedule: "trailing".into(),
        steps: 20,
        guidance_scale: 3.5,
        guidance_rescale: 0.7,
    }
}

/// A model whose U-Net and text encoder are in training, around a frozen autoencoder; with the parameters in training.
///
/// # Errors
/// A shape that cannot be built.
pub fn model_in_training(
    shape: &StarterShape,
    tokenizer: ClipTokenizer,
    autoencoder: AutoencoderKl,
    seed: u64,
) -> Result<(StableDiffusion, ParamStore), TrainError> {
    let loader = Loader::random(seed);
    let unet = Unet::load(&loader.at("unet"), &shape.unet)?;
    let encoder = ClipTextEncoder::load(&loader.at("text_encoder"), &shape.text)?;
    let params = loader.finish()?;
    let (predicts, noise) = noise();
    let branch = TextBranchModel { encoder, tokenizer, hidden: HiddenState::Normed { clip_skip: 1 }, pooled: false };
    let model = StableDiffusion {
        name: "starter".into(),
        hash: None,
        family: None,
        text: vec![branch],
        unet,
        autoencoder,
        noise,
        predicts,
        defaults: defaults(),
        spacing: ScheduleOptions { steps_offset: 0, ..Default::default() },
        diffusers_class: None,
        timestep_spacing: Some("trailing".into()),
        native_size: shape.size,
        time_ids: 0,
        zeros_for_empty_prompt: false,
        dtype: DType::Bf16,
        weight_bytes: params.bytes() as u64,
        notices: Vec::new(),
    };
    Ok((model, params))
}

/// A frozen autoencoder from a file of averaged weights.
///
/// # Errors
/// When the file cannot be read or does not fit.
pub fn frozen_autoencoder(path: &Path, config: &AutoencoderKlConfig) -> Result<AutoencoderKl, TrainError> {
    let loader = Loader::new(danqing_checkpoints::Weights::open(path)?, LoadOptions::inference(DType::Bf16));
    let model = AutoencoderKl::load(&loader, config)?;
    loader.finish()?;
    Ok(model)
}

/// The factor that brings latents of training pictures to a standard deviation of 1.
///
/// # Errors
/// When an operation fails.
pub fn latent_scale(autoencoder: &AutoencoderKl, data: &SceneGenerator) -> Result<f32, TrainError> {
    let Batch { pictures, .. } = paint_batch(data, 0, 128);
    let mean = no_grad(|| autoencoder.encode(&pictures.cast(DType::Bf16)?))?.mean;
    let values = mean.cast(DType::F32)?.to_vec();
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    Ok((1.0 / variance.sqrt()) as f32)
}

/// Writes the starter as a diffusers folder: configurations, float16 weights, tokenizer.
///
/// # Errors
/// When a file cannot be read or written.
pub fn export(
    folder: &Path,
    shape: &StarterShape,
    vocabulary: &Path,
    autoencoder: &Path,
    denoiser: &Path,
    notes: &BTreeMap<String, String>,
) -> Result<(), TrainError> {
    let write = |name: &str, value: &serde_json::Value| -> Result<(), TrainError> {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(at(parent))?;
        }
        let text = format!("{value:#}\n");
        std::fs::write(&path, text).map_err(at(&path))
    };
    let config = |value: serde_json::Value, class: &str| -> serde_json::Value {
        let mut value = value;
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|_, v| !v.is_null());
            fields.insert("_class_name".into(), json!(class));
        }
        value
    };
    let of = |v: serde_json::Result<serde_json::Value>| v.map_err(|e| TrainError::State(e.to_string()));
    let defaults = defaults();
    write(
        "model_index.json",
        &json!({
            "_class_name": "StableDiffusionPipeline",
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "danqing": {
                "sampler": defaults.sampler, "schedule": defaults.schedule, "steps": defaults.steps,
                "guidance_scale": defaults.guidance_scale, "guidance_rescale": defaults.guidance_rescale,
            },
        }),
    )?;
    write("unet/config.json", &config(of(serde_json::to_value(&shape.unet))?, "UNet2DConditionModel"))?;
    write("vae/config.json", &config(of(serde_json::to_value(&shape.autoencoder))?, "AutoencoderKL"))?;
    let mut text = of(serde_json::to_value(&shape.text))?;
    text["model_type"] = json!("clip_text_model");
    write("text_encoder/config.json", &text)?;
    write(
        "scheduler/scheduler_config.json",
        &json!({
            "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000, "prediction_type": "v_prediction", "rescale_betas_zero_snr": true,
            "timestep_spacing": "trailing", "clip_sample": false, "set_alpha_to_one": true, "steps_offset": 0,
        }),
    )?;
    copy_vocabulary(vocabulary, &folder.join("tokenizer"))?;
    write_half(autoencoder, "", &folder.join("vae/diffusion_pytorch_model.safetensors"), notes)?;
    write_half(denoiser, "unet.", &folder.join("unet/diffusion_pytorch_model.safetensors"), notes)?;
    write_half(denoiser, "text_encoder.", &folder.join("text_encoder/model.safetensors"), notes)
}

/// Copies a vocabulary's files to another folder.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_vocabulary(from: &Path, to: &Path) -> Result<(), TrainError> {
    std::fs::create_dir_all(to).map_err(at(to))?;
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let source = from.join(name);
        std::fs::copy(&source, to.join(name)).map_err(at(&source))?;
    }
    Ok(())
}

/// Copies the tensors below `prefix` as float16.
fn write_half(from: &Path, prefix: &str, to: &Path, notes: &BTreeMap<String, String>) -> Result<(), TrainError> {
    use danqing_checkpoints::{StorageType, Weights, safetensors};
    let weights = Weights::open(from)?;
    let mut parts = Vec::new();
    for name in weights.names().filter(|n| n.starts_with(prefix)) {
        let shape = weights.info(name).map(|i| i.shape.clone()).unwrap_or_default();
        let bytes: Vec<u8> =
            weights.read_f32(name)?.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        parts.push((name[prefix.len()..].to_string(), shape, bytes));
    }
    let tensors: Vec<_> =
        parts.iter().map(|(n, s, b)| (n.as_str(), StorageType::F16, s.as_slice(), b.as_slice())).collect();
    Ok(safetensors::write(to, &tensors, notes)?)
}
