//! What a picture looks like by now: by a small decoder, or a linear guess from the latent.

use std::path::{Path, PathBuf};

use danqing_checkpoints::Weights;
use danqing_imaging::{Picture, PixelFormat};
use danqing_models::autoencoders::TinyDecoder;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_nn::{LoadOptions, Loader};
use danqing_sampling::noise::NoiseShape;
use danqing_tensor::DType;

use crate::TaskError;
use crate::layout::{map_to_picture, to_nhwc};

/// RGB (-1..1) for each of four latent channels, and a constant: `reference/gen_preview.py` on 24 photographs, where it
/// explains 91 % of the cells' variance.
const LINEAR: [[f32; 3]; 5] = [
    [0.3149, 0.2454, 0.2519],
    [0.1670, 0.2457, 0.1344],
    [-0.0979, 0.1519, 0.1885],
    [-0.2314, -0.2972, -0.4864],
    [-0.0881, -0.1241, -0.2061],
];

/// Folders that hold small decoders, relative to a folder of models or one of its parents: ComfyUI's, A1111's.
const DECODER_FOLDERS: [&str; 5] = ["vae_approx", "models/vae_approx", "VAE-taesd", "models/VAE-taesd", ""];
/// How far above a folder of models a program's root is looked for.
const PARENTS: usize = 4;

/// The small decoder of `model`'s family in the folder trees around `places`, where it is there.
pub fn locate_decoder(model: &StableDiffusion, places: &[PathBuf]) -> Option<PathBuf> {
    let name = model.family?.tiny_autoencoder;
    let folders = places.iter().flat_map(|place| place.ancestors().take(PARENTS));
    let mut candidates = folders.flat_map(|folder| {
        DECODER_FOLDERS.iter().flat_map(move |inside| {
            let at = folder.join(inside);
            ["safetensors", "pth", "pt"].map(|extension| at.join(format!("{name}_decoder.{extension}")))
        })
    });
    candidates.find(|path| path.is_file())
}

/// Opens a decoder of the TAESD family: its own file, or diffusers' `AutoencoderTiny` (a file or its folder).
///
/// # Errors
/// When the file cannot be read, is no such decoder, or decodes other latents than `model`'s.
pub fn open_decoder(path: &Path, model: &StableDiffusion) -> Result<TinyDecoder, TaskError> {
    let weights = Weights::open(path)?.unwrapped();
    // diffusers does not count the clamp in front.
    let weights = match weights.contains("decoder.layers.0.weight") {
        true => weights.renamed(|name| {
            let (index, leaf) = name.strip_prefix("decoder.layers.")?.split_once('.')?;
            Some(format!("{}.{leaf}", index.parse::<usize>().ok()? + 1))
        })?,
        false => weights,
    };
    let channels = model.autoencoder.config().latent_channels;
    let refuse = |why: String| TaskError::Checkpoint(format!("{}: no preview decoder: {why}", path.display()));
    let loader = Loader::new(weights, LoadOptions::inference(DType::F32));
    let decoder = TinyDecoder::load(&loader, channels).map_err(|e| refuse(e.to_string()))?;
    loader.finish().map_err(|e| refuse(e.to_string()))?;
    Ok(decoder)
}

/// A preview of the first picture of scaled latents `[b, c, h, w]`.
///
/// # Errors
/// When the latent holds values that are not numbers.
pub fn picture(
    model: &StableDiffusion,
    decoder: Option<&TinyDecoder>,
    latents: &[f32],
    shape: NoiseShape,
) -> Result<Picture, TaskError> {
    let NoiseShape { channels: c, height: h, width: w, .. } = shape;
    let first = latents.get(..c * h * w).unwrap_or(&[]);
    if let Some(decoder) = decoder {
        let map = decoder.forward(&to_nhwc(first, [1, c, h, w])?)?;
        return map_to_picture(&map.mul_scalar(2.0)?.add_scalar(-1.0)?);
    }
    // An autoencoder that is quick enough is its own preview.
    if model.autoencoder.config().downscale() <= 4 && h * w <= 32 * 32 {
        let map = model.autoencoder.unscale(&to_nhwc(first, [1, c, h, w])?)?.cast(model.dtype)?;
        return map_to_picture(&model.autoencoder.decode(&map)?);
    }
    let pixels = (0..h * w)
        .flat_map(|cell| {
            let mut rgb = LINEAR[4];
            for (k, factors) in LINEAR.iter().take(c.min(4)).enumerate() {
                let v = first[k * h * w + cell];
                rgb.iter_mut().zip(factors).for_each(|(r, f)| *r += v * f);
            }
            rgb.map(|v| (v.clamp(-1.0, 1.0) * 127.5 + 127.5) as u8)
        })
        .collect();
    Ok(Picture::new(w as u32, h as u32, PixelFormat::Rgb8, pixels)?)
}
