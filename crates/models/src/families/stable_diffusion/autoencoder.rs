//! The autoencoder: a folder's, a single file's, or one given beside the model.

use danqing_checkpoints::Weights;
use danqing_nn::{LoadOptions as ParamOptions, Loader};

use super::detect::{self, Below};
use super::keys;
use super::load::{needless, parsed, size, unknown};
use super::parts::Component;
use super::source::Renamed;
use crate::autoencoders::{AutoencoderKl, AutoencoderKlConfig};
use crate::error::ModelError;

/// The autoencoder of a diffusers folder.
pub(super) fn autoencoder_from_folder(
    weights: &Weights,
    config: &AutoencoderKlConfig,
    options: ParamOptions,
) -> Result<(AutoencoderKl, u64), ModelError> {
    let old = weights.contains("decoder.mid_block.attentions.0.query.weight");
    let source = Renamed::new(weights, "", move |name| {
        if old && let Some(stored) = keys::autoencoder_old_attention(name) {
            return Some(stored);
        }
        None
    });
    let loader = Loader::new(source, options);
    let autoencoder = AutoencoderKl::load(&loader, config)?;
    let bytes = size(&loader.finish()?, options.values);
    Ok((autoencoder, bytes))
}

/// The autoencoder below `prefix` of a single file.
pub(super) fn autoencoder_from_single(
    weights: &Weights,
    prefix: &str,
    scaling_factor: f32,
    options: ParamOptions,
) -> Result<(AutoencoderKl, u64), ModelError> {
    if weights.contains("decoder.up_blocks.0.resnets.0.conv1.weight") {
        // A diffusers autoencoder in one file; its shape is that of every published one.
        let config = AutoencoderKlConfig { scaling_factor, ..Default::default() };
        return autoencoder_from_folder(weights, &config, options);
    }
    let Some(config) = detect::autoencoder(Below { weights, prefix }, scaling_factor) else {
        return unknown(format!("{} holds no autoencoder under {prefix:?}: give one with --vae", weights.source()));
    };
    let levels = config.block_out_channels.len();
    let source = Renamed::new(weights, prefix, move |name| keys::autoencoder(levels, name));
    let loader = Loader::new(source, options);
    let autoencoder = AutoencoderKl::load(&loader, &config)?;
    let bytes = size(&loader.finish_ignoring(needless)?, options.values);
    Ok((autoencoder, bytes))
}

/// An autoencoder given beside a model: a folder's configuration is believed, a lone file's shape is read off its tensors
/// and its scaling is the model's.
pub(super) fn autoencoder_given(
    given: &Component,
    scaling_factor: f32,
    options: ParamOptions,
) -> Result<(AutoencoderKl, u64), ModelError> {
    let Some(weights) = &given.weights else { return unknown("the autoencoder has no weights".into()) };
    if given.config.is_null() {
        return autoencoder_from_single(weights, "", scaling_factor, options);
    }
    let config: AutoencoderKlConfig = parsed("the autoencoder's config.json", &given.config)?;
    autoencoder_from_folder(weights, &config, options)
}
