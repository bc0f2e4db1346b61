//! `AutoencoderKl`: pictures to latents and back.
//!
//! Source: Esser et al. 2021, Rombach et al. 2022; tensor names and arithmetic of diffusers' `AutoencoderKL`.
//! Pictures are `[b, h, w, 3]` in -1..1, latents `[b, h/f, w/f, channels]` unscaled.

use danqing_nn::{Conv2d, GroupNorm, Linear, LoadError, Loader};
use danqing_tensor::{Activation, AttentionOptions, LinearFusion, Tensor, TensorError};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, invalid};
use crate::unet::Probe;
use crate::unet::blocks::{Downsample, POINT, ResnetBlock, ResnetShape, SAME, Upsample};

/// The autoencoder's shape, with the names of diffusers' `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    /// Channels of the picture.
    pub in_channels: usize,
    /// Channels of the decoded picture.
    pub out_channels: usize,
    /// Channels of the latent.
    pub latent_channels: usize,
    /// Width of each level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Kind of each encoder level.
    pub down_block_types: Vec<String>,
    /// Kind of each decoder level.
    pub up_block_types: Vec<String>,
    /// Residual blocks on each encoder level (one more in the decoder).
    pub layers_per_block: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Latents are multiplied by this before they are denoised.
    pub scaling_factor: f32,
    /// Subtracted before the scaling.
    pub shift_factor: Option<f32>,
    /// Mean of each latent channel, where the file gives one.
    pub latents_mean: Option<Vec<f32>>,
    /// Standard deviation of each latent channel, where the file gives one.
    pub latents_std: Option<Vec<f32>>,
    /// The decoder overflows float16 and must run in a wider type.
    pub force_upcast: bool,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle blocks have attention.
    pub mid_block_add_attention: bool,
    /// Activation, `"silu"` for this family.
    pub act_fn: String,
    /// Native side of pictures.
    pub sample_size: Option<usize>,
}

impl Default for AutoencoderKlConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![128, 256, 512, 512],
            down_block_types: vec!["DownEncoderBlock2D".into(); 4],
            up_block_types: vec!["UpDecoderBlock2D".into(); 4],
            layers_per_block: 2,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
            act_fn: "silu".into(),
            sample_size: None,
        }
    }
}

impl AutoencoderKlConfig {
    /// How many times smaller than the picture the latent is on each side.
    pub fn downscale(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }

    /// Refuses, with a sentence, a network that this code cannot be.
    pub fn validate(&self) -> Result<(), String> {
        let fail = |what: String| Err(format!("the autoencoder configuration cannot be used: {what}"));
        let levels = self.block_out_channels.len();
        if levels == 0 || levels > 8 || self.layers_per_block == 0 || self.layers_per_block > 64 {
            return fail(format!("{levels} levels of {} layers", self.layers_per_block));
        }
        for (types, known) in
            [(&self.down_block_types, "DownEncoderBlock2D"), (&self.up_block_types, "UpDecoderBlock2D")]
        {
            if types.len() != levels {
                return fail(format!("{} block types for {levels} levels", types.len()));
            }
            if let Some(t) = types.iter().find(|t| *t != known) {
                return fail(format!("block type {t} is not known ({known} is)"));
            }
        }
        for c in &self.block_out_channels {
            let groups = self.norm_num_groups;
            if groups == 0 || *c == 0 || *c > 65_536 || c % groups != 0 {
                return fail(format!("{c} channels cannot be split into norm_num_groups {groups}"));
            }
        }
        if self.act_fn != "silu" {
            return fail(format!("act_fn {} is not known (silu is)", self.act_fn));
        }
        if self.in_channels == 0 || self.out_channels == 0 || self.latent_channels == 0 {
            return fail("in_channels, out_channels and latent_channels must be above 0".into());
        }
        if !self.scaling_factor.is_finite() || self.scaling_factor == 0.0 {
            return fail(format!("scaling_factor {}", self.scaling_factor));
        }
        Ok(())
    }
}

/// Single-head self-attention over the cells of a map, around a shortcut.
#[derive(Debug)]
struct MapAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl MapAttention {
    fn load(at: &Loader, c: usize, groups: usize) -> Result<Self, LoadError> {
        let linear = |name: &str| Linear::load(&at.at(name), c, c, true);
        Ok(Self {
            group_norm: GroupNorm::load(&at.at("group_norm"), groups, c, 1e-6)?,
            to_q: linear("to_q")?,
            to_k: linear("to_k")?,
            to_v: linear("to_v")?,
            to_out: Linear::load(&at.at("to_out").at(0), c, c, true)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (b, h, w, c) = (x.dim(0), x.dim(1), x.dim(2), x.dim(3));
        let cells = x.reshape(&[b, h * w, c])?; // [b, h, w, c] -> [b, n, c]
        let y = self.group_norm.forward(x)?.reshape(&[b, h * w, c])?;
        let (q, k, v) = (self.to_q.forward(&y)?, self.to_k.forward(&y)?, self.to_v.forward(&y)?);
        let y = Tensor::attention(&q, &k, &v, 1, AttentionOptions::default())?;
        let y = self.to_out.forward_with(&y, LinearFusion { residual: Some(&cells), ..Default::default() })?;
        y.reshape(&[b, h, w, c]) // [b, n, c] -> [b, h, w, c]
    }
}

#[derive(Debug)]
struct MidBlock {
    first: ResnetBlock,
    attention: Option<MapAttention>,
    second: ResnetBlock,
}

impl MidBlock {
    fn load(at: &Loader, c: usize, config: &AutoencoderKlConfig) -> Result<Self, LoadError> {
        let groups = config.norm_num_groups;
        Ok(Self {
            first: ResnetBlock::load(&at.at("resnets").at(0), shape(c, c, groups))?,
            attention: config
                .mid_block_add_attention
                .then(|| MapAttention::load(&at.at("attentions").at(0), c, groups))
                .transpose()?,
            second: ResnetBlock::load(&at.at("resnets").at(1), shape(c, c, groups))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.first.forward(x, None)?;
        let x = match &self.attention {
            Some(attention) => attention.forward(&x)?,
            None => x,
        };
        self.second.forward(&x, None)
    }
}

fn shape(c_in: usize, c_out: usize, groups: usize) -> ResnetShape {
    ResnetShape { c_in, c_out, time: None, groups, eps: 1e-6 }
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down: Vec<(Vec<ResnetBlock>, Option<Downsample>)>,
    mid: MidBlock,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(at: &Loader, config: &AutoencoderKlConfig) -> Result<Self, LoadError> {
        let (widths, groups) = (&config.block_out_channels, config.norm_num_groups);
        let levels = widths.len();
        let inner = widths[levels - 1];
        let mut down = Vec::with_capacity(levels);
        for i in 0..levels {
            let at = at.at("down_blocks").at(i);
            let c_in = |j: usize| if j > 0 { widths[i] } else { widths[i.saturating_sub(1)] };
            let resnets = (0..config.layers_per_block)
                .map(|j| ResnetBlock::load(&at.at("resnets").at(j), shape(c_in(j), widths[i], groups)))
                .collect::<Result<_, _>>()?;
            let downsampler =
                (i + 1 < levels).then(|| Downsample::load(&at.at("downsamplers").at(0), widths[i], 0)).transpose()?;
            down.push((resnets, downsampler));
        }
        Ok(Self {
            conv_in: Conv2d::load(&at.at("conv_in"), config.in_channels, widths[0], 3, SAME)?,
            down,
            mid: MidBlock::load(&at.at("mid_block"), inner, config)?,
            norm_out: GroupNorm::load(&at.at("conv_norm_out"), groups, inner, 1e-6)?,
            conv_out: Conv2d::load(&at.at("conv_out"), inner, 2 * config.latent_channels, 3, SAME)?,
        })
    }

    fn forward(&self, x: &Tensor, probe: Probe<'_>) -> Result<Tensor, TensorError> {
        let mut x = self.conv_in.forward(x)?;
        probe("encoder.conv_in", &x);
        for (resnets, downsampler) in &self.down {
            for resnet in resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(downsampler) = downsampler {
                x = downsampler.forward(&x)?;
            }
        }
        x = self.mid.forward(&x)?;
        probe("encoder.mid_block", &x);
        let out = self.conv_out.forward(&self.norm_out.forward_with(&x, Activation::Silu)?)?;
        probe("encoder", &out);
        Ok(out)
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid: MidBlock,
    up: Vec<(Vec<ResnetBlock>, Option<Upsample>)>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(at: &Loader, config: &AutoencoderKlConfig) -> Result<Self, LoadError> {
        let (widths, groups) = (&config.block_out_channels, config.norm_num_groups);
        let levels = widths.len();
        let inner = widths[levels - 1];
        let mut up = Vec::with_capacity(levels);
        for i in 0..levels {
            let at = at.at("up_blocks").at(i);
            let level = levels - 1 - i;
            let before = widths[(level + 1).min(levels - 1)];
            let c_in = |j: usize| if j > 0 { widths[level] } else { before };
            let resnets = (0..config.layers_per_block + 1)
                .map(|j| ResnetBlock::load(&at.at("resnets").at(j), shape(c_in(j), widths[level], groups)))
                .collect::<Result<_, _>>()?;
            let upsampler =
                (i + 1 < levels).then(|| Upsample::load(&at.at("upsamplers").at(0), widths[level])).transpose()?;
            up.push((resnets, upsampler));
        }
        Ok(Self {
            conv_in: Conv2d::load(&at.at("conv_in"), config.latent_channels, inner, 3, SAME)?,
            mid: MidBlock::load(&at.at("mid_block"), inner, config)?,
            up,
            norm_out: GroupNorm::load(&at.at("conv_norm_out"), groups, widths[0], 1e-6)?,
            conv_out: Conv2d::load(&at.at("conv_out"), widths[0], config.out_channels, 3, SAME)?,
        })
    }

    fn forward(&self, z: &Tensor, probe: Probe<'_>) -> Result<Tensor, TensorError> {
        let mut x = self.conv_in.forward(z)?;
        probe("decoder.conv_in", &x);
        x = self.mid.forward(&x)?;
        probe("decoder.mid_block", &x);
        for (resnets, upsampler) in &self.up {
            for resnet in resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(upsampler) = upsampler {
                x = upsampler.forward(&x, None)?;
            }
        }
        self.conv_out.forward(&self.norm_out.forward_with(&x, Activation::Silu)?)
    }
}

/// Mean and logarithm of the variance of a latent's distribution, each `[b, h, w, channels]`.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Mean.
    pub mean: Tensor,
    /// Natural logarithm of the variance, clamped to -30..20.
    pub log_variance: Tensor,
}

impl Posterior {
    /// `mean + std * noise`, noise of the mean's shape.
    ///
    /// # Errors
    /// Noise of another shape.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor, TensorError> {
        let std = self.log_variance.mul_scalar(0.5)?.exp()?;
        self.mean.add(&std.mul(noise)?)
    }
}

/// The autoencoder. A half that the weights lack is absent and said so when asked for.
#[derive(Debug)]
pub struct AutoencoderKl {
    config: AutoencoderKlConfig,
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
}

impl AutoencoderKl {
    /// Builds the network from weights with diffusers' names.
    ///
    /// # Errors
    /// A configuration that cannot be built, or weights that do not fit it.
    pub fn load(at: &Loader, config: &AutoencoderKlConfig) -> Result<Self, ModelError> {
        config.validate().map_err(ModelError::Configuration)?;
        let c = config.latent_channels;
        Ok(Self {
            encoder: Encoder::load(&at.at("encoder"), config)?,
            quant_conv: config
                .use_quant_conv
                .then(|| Conv2d::load(&at.at("quant_conv"), 2 * c, 2 * c, 1, POINT))
                .transpose()?,
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| Conv2d::load(&at.at("post_quant_conv"), c, c, 1, POINT))
                .transpose()?,
            decoder: Decoder::load(&at.at("decoder"), config)?,
            config: config.clone(),
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// Picture `[b, h, w, 3]` in -1..1 → distribution of the unscaled latent.
    ///
    /// # Errors
    /// Sides that are not multiples of [`AutoencoderKlConfig::downscale`], or another number of channels.
    pub fn encode(&self, picture: &Tensor) -> Result<Posterior, TensorError> {
        self.encode_probed(picture, &mut |_, _| {})
    }

    /// [`AutoencoderKl::encode`], showing block outputs to `probe`.
    ///
    /// # Errors
    /// As [`AutoencoderKl::encode`].
    pub fn encode_probed(&self, picture: &Tensor, probe: Probe<'_>) -> Result<Posterior, TensorError> {
        let f = self.config.downscale();
        let s = picture.shape();
        if s.len() != 4
            || s[3] != self.config.in_channels
            || !s[1].is_multiple_of(f)
            || !s[2].is_multiple_of(f)
            || s[1] * s[2] == 0
        {
            let want = format!("[b, h, w, {}] with sides that are multiples of {f}", self.config.in_channels);
            return Err(invalid("autoencoder encode", format!("picture {s:?} is not {want}")));
        }
        let mut moments = self.encoder.forward(picture, probe)?;
        if let Some(conv) = &self.quant_conv {
            moments = conv.forward(&moments)?;
        }
        let c = self.config.latent_channels;
        Ok(Posterior { mean: moments.narrow(3, 0, c)?, log_variance: moments.narrow(3, c, c)?.clamp(-30.0, 20.0)? })
    }

    /// Unscaled latent `[b, h, w, channels]` → picture `[b, h*f, w*f, 3]`, about -1..1, not clamped.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor, TensorError> {
        self.decode_probed(latent, &mut |_, _| {})
    }

    /// [`AutoencoderKl::decode`], showing block outputs to `probe`.
    ///
    /// # Errors
    /// As [`AutoencoderKl::decode`].
    pub fn decode_probed(&self, latent: &Tensor, probe: Probe<'_>) -> Result<Tensor, TensorError> {
        let s = latent.shape();
        if s.len() != 4 || s[3] != self.config.latent_channels {
            let want = self.config.latent_channels;
            return Err(invalid("autoencoder decode", format!("latent {s:?} is not [b, h, w, {want}]")));
        }
        match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(latent)?, probe),
            None => self.decoder.forward(latent, probe),
        }
    }

    /// Unscaled latent → the space that the denoiser works in.
    ///
    /// # Errors
    /// Means or deviations of another number of channels.
    pub fn scale(&self, latent: &Tensor) -> Result<Tensor, TensorError> {
        let shifted = latent.add_scalar(-self.config.shift_factor.unwrap_or(0.0))?;
        match (&self.config.latents_mean, &self.config.latents_std) {
            (Some(mean), Some(std)) => {
                let c = self.config.latent_channels;
                let mean = Tensor::from_slice(mean, &[c])?.cast(latent.dtype())?;
                let std = Tensor::from_slice(std, &[c])?.cast(latent.dtype())?;
                shifted.sub(&mean)?.div(&std)?.mul_scalar(self.config.scaling_factor)
            }
            _ => shifted.mul_scalar(self.config.scaling_factor),
        }
    }

    /// The reverse of [`AutoencoderKl::scale`].
    ///
    /// # Errors
    /// Means or deviations of another number of channels.
    pub fn unscale(&self, latent: &Tensor) -> Result<Tensor, TensorError> {
        let x = latent.mul_scalar(1.0 / self.config.scaling_factor)?;
        let x = match (&self.config.latents_mean, &self.config.latents_std) {
            (Some(mean), Some(std)) => {
                let c = self.config.latent_channels;
                let mean = Tensor::from_slice(mean, &[c])?.cast(latent.dtype())?;
                let std = Tensor::from_slice(std, &[c])?.cast(latent.dtype())?;
                x.mul(&std)?.add(&mean)?
            }
            _ => x,
        };
        x.add_scalar(self.config.shift_factor.unwrap_or(0.0))
    }
}
