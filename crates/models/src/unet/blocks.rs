//! The convolutional parts of the U-Net and the autoencoder: residual block, downsampling, upsampling.
//!
//! Source: diffusers `ResnetBlock2D`, `Downsample2D`, `Upsample2D`; He et al. 2016, Ho et al. 2020.
//! Maps are `[b, h, w, c]`.

use danqing_nn::{Conv2d, GroupNorm, Linear, LoadError, Loader};
use danqing_tensor::{Activation, Conv2dOptions, ConvFusion, Tensor, TensorError};

/// Options of a 3×3 convolution that keeps the map's size.
pub(crate) const SAME: Conv2dOptions =
    Conv2dOptions { stride: [1, 1], padding: [1, 1, 1, 1], dilation: [1, 1], groups: 1, output_padding: [0, 0] };
/// Options of a 1×1 convolution.
pub(crate) const POINT: Conv2dOptions =
    Conv2dOptions { stride: [1, 1], padding: [0, 0, 0, 0], dilation: [1, 1], groups: 1, output_padding: [0, 0] };

/// Shape of a [`ResnetBlock`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResnetShape {
    pub c_in: usize,
    pub c_out: usize,
    /// Width of the time embedding; `None` in autoencoders.
    pub time: Option<usize>,
    pub groups: usize,
    pub eps: f32,
}

/// Norm, SiLU, convolution, twice, around a shortcut; the time embedding is added after the first convolution.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    pub fn load(at: &Loader, shape: ResnetShape) -> Result<Self, LoadError> {
        let ResnetShape { c_in, c_out, time, groups, eps } = shape;
        Ok(Self {
            norm1: GroupNorm::load(&at.at("norm1"), groups, c_in, eps)?,
            conv1: Conv2d::load(&at.at("conv1"), c_in, c_out, 3, SAME)?,
            time_emb_proj: time.map(|t| Linear::load(&at.at("time_emb_proj"), t, c_out, true)).transpose()?,
            norm2: GroupNorm::load(&at.at("norm2"), groups, c_out, eps)?,
            conv2: Conv2d::load(&at.at("conv2"), c_out, c_out, 3, SAME)?,
            conv_shortcut: (c_in != c_out)
                .then(|| Conv2d::load(&at.at("conv_shortcut"), c_in, c_out, 1, POINT))
                .transpose()?,
        })
    }

    /// `x` `[b, h, w, c_in]`, `time` `[b, t]` (already through SiLU) → `[b, h, w, c_out]`.
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Result<Tensor, TensorError> {
        let h = self.norm1.forward_with(x, Activation::Silu)?;
        let row_bias = match (&self.time_emb_proj, time) {
            (Some(projection), Some(t)) => Some(projection.forward(t)?),
            _ => None,
        };
        let h = self.conv1.forward_with(&h, ConvFusion { row_bias: row_bias.as_ref(), ..Default::default() })?;
        let h = self.norm2.forward_with(&h, Activation::Silu)?;
        let shortcut = self.conv_shortcut.as_ref().map(|c| c.forward(x)).transpose()?;
        let residual = shortcut.as_ref().unwrap_or(x);
        self.conv2.forward_with(&h, ConvFusion { residual: Some(residual), ..Default::default() })
    }
}

/// Halves the map by a convolution of stride 2.
#[derive(Debug)]
pub(crate) struct Downsample {
    conv: Conv2d,
}

impl Downsample {
    /// `padding` is that of the U-Net (1); 0 stands for the autoencoder's: one row below and one column right.
    pub fn load(at: &Loader, channels: usize, padding: usize) -> Result<Self, LoadError> {
        let p = padding;
        let padding = if p == 0 { [0, 1, 0, 1] } else { [p; 4] };
        let options = Conv2dOptions { stride: [2, 2], padding, ..SAME };
        Ok(Self { conv: Conv2d::load(&at.at("conv"), channels, channels, 3, options)? })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.conv.forward(x)
    }
}

/// Doubles the map by repeating values, then a convolution.
#[derive(Debug)]
pub(crate) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub fn load(at: &Loader, channels: usize) -> Result<Self, LoadError> {
        Ok(Self { conv: Conv2d::load(&at.at("conv"), channels, channels, 3, SAME)? })
    }

    /// `size` is the map to meet, where the way down met an odd side.
    pub fn forward(&self, x: &Tensor, size: Option<[usize; 2]>) -> Result<Tensor, TensorError> {
        let doubled = match size {
            Some([h, w]) if [h, w] != [2 * x.dim(1), 2 * x.dim(2)] => x.resize_nearest(h, w)?,
            _ => x.upsample_nearest(2)?,
        };
        self.conv.forward(&doubled)
    }
}
