//! The denoising U-Net of Stable Diffusion 1.x, 2.x, XL and of the starter model.
//!
//! Source: diffusers `UNet2DConditionModel` (tensor names and arithmetic); Rombach et al. 2022; Podell et al. 2023 §2.
//! Maps are `[b, h, w, c]`, context `[b, tokens, width]`.

pub(crate) mod blocks;
mod config;
mod embedding;
pub(crate) mod transformer;

pub(crate) use config::block_types;
pub use config::{PerLevel, UnetConfig};
pub use embedding::timestep_embedding;

use crate::error::{ModelError, invalid};
use blocks::{Downsample, ResnetBlock, ResnetShape, SAME, Upsample};
use danqing_nn::{Conv2d, GroupNorm, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};
use embedding::{AddedEmbedding, TimeEmbedding};
use transformer::{Transformer2d, TransformerShape};

/// SDXL's added conditioning.
#[derive(Debug, Clone)]
pub struct AddedConditioning {
    /// Pooled text, `[b, width]`.
    pub pooled: Tensor,
    /// Original height and width, crop top and left, target height and width (base) or aesthetic score (refiner),
    /// `[b, 5 or 6]`, f32.
    pub time_ids: Tensor,
}

/// What the network is told beside the noisy latent.
#[derive(Debug, Clone)]
pub struct UnetConditioning {
    /// Text context, `[b, tokens, cross_attention_dim]`.
    pub context: Tensor,
    /// Pooled text and sizes, where the configuration asks for them.
    pub added: Option<AddedConditioning>,
    /// Embedding of the guidance scale for consistency-distilled networks, `[b, time_cond_proj_dim]`.
    pub guidance: Option<Tensor>,
}

/// Watches the output of each block by its diffusers name; for tests and measurements.
pub type Probe<'a> = &'a mut dyn FnMut(&str, &Tensor);

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    downsampler: Option<Downsample>,
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2d>,
    upsampler: Option<Upsample>,
}

#[derive(Debug)]
struct MidBlock {
    first: ResnetBlock,
    attention: Transformer2d,
    second: ResnetBlock,
}

/// The network. Cheap to share; evaluation needs no mutation.
#[derive(Debug)]
pub struct Unet {
    config: UnetConfig,
    conv_in: Conv2d,
    time: TimeEmbedding,
    added: Option<AddedEmbedding>,
    down: Vec<DownBlock>,
    mid: MidBlock,
    up: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Unet {
    /// Builds the network from weights with diffusers' names.
    ///
    /// # Errors
    /// A configuration that cannot be built, or weights that do not fit it.
    pub fn load(at: &Loader, config: &UnetConfig) -> Result<Self, ModelError> {
        config.validate().map_err(ModelError::Configuration)?;
        let widths = &config.block_out_channels;
        let levels = config.levels();
        let (time, groups) = (config.time_embed_dim(), config.norm_num_groups);
        let resnet = |at: Loader, c_in: usize, c_out: usize| {
            ResnetBlock::load(&at, ResnetShape { c_in, c_out, time: Some(time), groups, eps: config.norm_eps })
        };
        let transformer = |at: Loader, level: usize| {
            let shape = TransformerShape {
                channels: widths[level],
                heads: config.heads(level),
                layers: config.transformer_layers_per_block.at(level),
                context: config.cross_attention_dim,
                groups,
                linear: config.use_linear_projection,
            };
            Transformer2d::load(&at, shape)
        };

        let mut down = Vec::with_capacity(levels);
        for i in 0..levels {
            let at = at.at("down_blocks").at(i);
            let layers = config.layers_per_block.at(i);
            let c_in = |j: usize| if j > 0 { widths[i] } else { widths[i.saturating_sub(1)] };
            down.push(DownBlock {
                resnets: (0..layers)
                    .map(|j| resnet(at.at("resnets").at(j), c_in(j), widths[i]))
                    .collect::<Result<_, _>>()?,
                attentions: (0..if config.down_attention(i) { layers } else { 0 })
                    .map(|j| transformer(at.at("attentions").at(j), i))
                    .collect::<Result<_, _>>()?,
                downsampler: (i + 1 < levels)
                    .then(|| Downsample::load(&at.at("downsamplers").at(0), widths[i], config.downsample_padding))
                    .transpose()?,
            });
        }

        let inner = widths[levels - 1];
        let at_mid = at.at("mid_block");
        let mid = MidBlock {
            first: resnet(at_mid.at("resnets").at(0), inner, inner)?,
            attention: transformer(at_mid.at("attentions").at(0), levels - 1)?,
            second: resnet(at_mid.at("resnets").at(1), inner, inner)?,
        };

        let mut up = Vec::with_capacity(levels);
        for i in 0..levels {
            let at = at.at("up_blocks").at(i);
            let level = levels - 1 - i;
            let layers = config.layers_per_block.at(level) + 1;
            let before = widths[(level + 1).min(levels - 1)];
            let outer = widths[level.saturating_sub(1)];
            up.push(UpBlock {
                resnets: (0..layers)
                    .map(|j| {
                        let skip = if j + 1 == layers { outer } else { widths[level] };
                        let carried = if j == 0 { before } else { widths[level] };
                        resnet(at.at("resnets").at(j), carried + skip, widths[level])
                    })
                    .collect::<Result<_, _>>()?,
                attentions: (0..if config.up_attention(i) { layers } else { 0 })
                    .map(|j| transformer(at.at("attentions").at(j), level))
                    .collect::<Result<_, _>>()?,
                upsampler: (i + 1 < levels)
                    .then(|| Upsample::load(&at.at("upsamplers").at(0), widths[level]))
                    .transpose()?,
            });
        }

        Ok(Self {
            conv_in: Conv2d::load(&at.at("conv_in"), config.in_channels, widths[0], 3, SAME)?,
            time: TimeEmbedding::load(&at.at("time_embedding"), widths[0], time, config.time_cond_proj_dim)?,
            added: config
                .projection_class_embeddings_input_dim
                .filter(|_| config.has_added_conditioning())
                .map(|width| AddedEmbedding::load(&at.at("add_embedding"), config, width))
                .transpose()?,
            down,
            mid,
            up,
            conv_norm_out: GroupNorm::load(&at.at("conv_norm_out"), groups, widths[0], config.norm_eps)?,
            conv_out: Conv2d::load(&at.at("conv_out"), widths[0], config.out_channels, 3, SAME)?,
            config: config.clone(),
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Evaluates the network: `sample` `[b, h, w, in_channels]`, one timestep for each of the batch (fractions
    /// allowed) → `[b, h, w, out_channels]` in `sample`'s dtype.
    ///
    /// # Errors
    /// Shapes that do not fit the configuration.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &[f32],
        conditioning: &UnetConditioning,
    ) -> Result<Tensor, TensorError> {
        self.forward_probed(sample, timesteps, conditioning, &mut |_, _| {})
    }

    /// [`Unet::forward`], showing each block's output to `probe`.
    ///
    /// # Errors
    /// As [`Unet::forward`].
    pub fn forward_probed(
        &self,
        sample: &Tensor,
        timesteps: &[f32],
        conditioning: &UnetConditioning,
        probe: Probe<'_>,
    ) -> Result<Tensor, TensorError> {
        self.check(sample, timesteps, conditioning)?;
        let dtype = sample.dtype();
        let context = conditioning.context.cast(dtype)?;

        let mut embedded = self.time.forward(timesteps, &self.config, conditioning.guidance.as_ref())?;
        probe("time_embedding", &embedded);
        if let (Some(layer), Some(added)) = (&self.added, &conditioning.added) {
            embedded = embedded.add(&layer.forward(added)?)?;
        }
        // Every residual block takes SiLU of the embedding: once is enough.
        let time = embedded.silu()?.cast(dtype)?;

        let mut x = self.conv_in.forward(sample)?;
        probe("conv_in", &x);
        let mut skips = vec![x.clone()];
        for (i, block) in self.down.iter().enumerate() {
            for (j, resnet) in block.resnets.iter().enumerate() {
                x = resnet.forward(&x, Some(&time))?;
                if let Some(attention) = block.attentions.get(j) {
                    x = attention.forward(&x, &context)?;
                }
                skips.push(x.clone());
            }
            if let Some(downsampler) = &block.downsampler {
                x = downsampler.forward(&x)?;
                skips.push(x.clone());
            }
            probe(&format!("down_blocks.{i}"), &x);
        }

        x = self.mid.first.forward(&x, Some(&time))?;
        x = self.mid.attention.forward(&x, &context)?;
        x = self.mid.second.forward(&x, Some(&time))?;
        probe("mid_block", &x);

        for (i, block) in self.up.iter().enumerate() {
            for (j, resnet) in block.resnets.iter().enumerate() {
                if let Some(skip) = skips.pop() {
                    x = Tensor::concat(&[&x, &skip], 3)?;
                }
                x = resnet.forward(&x, Some(&time))?;
                if let Some(attention) = block.attentions.get(j) {
                    x = attention.forward(&x, &context)?;
                }
            }
            if let Some(upsampler) = &block.upsampler {
                let size = skips.last().map(|s| [s.dim(1), s.dim(2)]);
                x = upsampler.forward(&x, size)?;
            }
            probe(&format!("up_blocks.{i}"), &x);
        }

        let x = self.conv_norm_out.forward_with(&x, Activation::Silu)?;
        let out = self.conv_out.forward(&x)?;
        probe("conv_out", &out);
        Ok(out)
    }

    fn check(&self, sample: &Tensor, timesteps: &[f32], c: &UnetConditioning) -> Result<(), TensorError> {
        let config = &self.config;
        let fail = |what: String| Err(invalid("unet", what));
        if sample.rank() != 4 || sample.dim(3) != config.in_channels {
            return fail(format!("sample {:?} is not [b, h, w, {}]", sample.shape(), config.in_channels));
        }
        let b = sample.dim(0);
        if timesteps.len() != b {
            return fail(format!("{} timesteps for a batch of {b}", timesteps.len()));
        }
        let context = c.context.shape();
        if context.len() != 3 || context[0] != b || context[2] != config.cross_attention_dim {
            return fail(format!("context {context:?} is not [{b}, tokens, {}]", config.cross_attention_dim));
        }
        if config.has_added_conditioning() != c.added.is_some() {
            return fail(if c.added.is_none() {
                "this network needs pooled text and size conditioning".into()
            } else {
                "this network takes no pooled text or size conditioning".into()
            });
        }
        Ok(())
    }
}
