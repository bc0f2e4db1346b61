//! Layers that several upscalers are made of.

use danqing_nn::{Conv2d, Init, Linear, LoadError, Loader};
use danqing_tensor::{Activation, Conv2dOptions, ConvFusion, Param, Tensor, TensorError};

/// A convolution of an odd kernel that keeps the map's size.
pub(crate) fn conv(at: &Loader, c_in: usize, c_out: usize, kernel: usize) -> Result<Conv2d, LoadError> {
    Conv2d::load(at, c_in, c_out, kernel, Conv2dOptions::padded(kernel / 2))
}

/// As [`conv`], without a bias.
pub(crate) fn unbiased(at: &Loader, c_in: usize, c_out: usize, kernel: usize) -> Result<Conv2d, LoadError> {
    unbiased_with(at, c_in, c_out, kernel, Conv2dOptions::padded(kernel / 2))
}

/// As [`unbiased`], with other options.
pub(crate) fn unbiased_with(
    at: &Loader,
    c_in: usize,
    c_out: usize,
    kernel: usize,
    options: Conv2dOptions,
) -> Result<Conv2d, LoadError> {
    Conv2d::load_with(at, c_in, c_out, kernel, options, false, Init::KaimingUniform)
}

/// A convolution of each channel by itself.
pub(crate) fn depthwise(at: &Loader, channels: usize, kernel: usize) -> Result<Conv2d, LoadError> {
    Conv2d::load(at, channels, channels, kernel, each_channel(channels, kernel))
}

/// Options of a convolution of each channel by itself.
pub(crate) fn each_channel(channels: usize, kernel: usize) -> Conv2dOptions {
    Conv2dOptions { groups: channels, ..Conv2dOptions::padded(kernel / 2) }
}

/// How many results a layer gives by its file's shape. Where the file has no such layer it is one, and loading ends with an
/// error that names what is missing.
pub(crate) fn width(at: &Loader) -> usize {
    let shape = at.shape("weight").unwrap_or_default();
    shape.first().copied().filter(|n| (1..=1 << 20).contains(n)).unwrap_or(1)
}

/// A transposed convolution.
#[derive(Debug)]
pub(crate) struct Transposed {
    weight: Param,
    bias: Option<Param>,
    options: Conv2dOptions,
}

impl Transposed {
    /// Loads `weight` `[c_in, c_out, kernel, kernel]` and, if asked for, `bias`.
    pub fn load(
        at: &Loader,
        [c_in, c_out]: [usize; 2],
        kernel: usize,
        options: Conv2dOptions,
        bias: bool,
    ) -> Result<Self, LoadError> {
        let weight = at.param("weight", &[c_in, c_out, kernel, kernel], Init::KaimingUniform)?;
        let bias = bias.then(|| at.param("bias", &[c_out], Init::ZEROS)).transpose()?;
        Ok(Self { weight, bias, options })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv_transpose2d(&self.weight, self.bias.as_ref(), self.options)
    }
}

/// Convolution and activation in one pass.
pub(crate) fn activated(conv: &Conv2d, x: &Tensor, activation: Activation) -> Result<Tensor, TensorError> {
    conv.forward_with(x, ConvFusion { activation, ..ConvFusion::default() })
}

/// Convolution plus `residual` in one pass.
pub(crate) fn added(conv: &Conv2d, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
    conv.forward_with(x, ConvFusion { residual: Some(residual), ..ConvFusion::default() })
}

/// What stands in the place of a convolution.
#[derive(Debug)]
pub(crate) enum Layer {
    Conv(Conv2d),
    /// A 1×1 convolution stored as a linear layer.
    Linear(Linear),
    /// A blueprint separable convolution (arXiv:2003.13549): all channels of a pixel, then each channel's surroundings.
    Blueprint(Linear, Conv2d),
}

impl Layer {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Linear(linear) => linear.forward(x),
            Self::Blueprint(linear, conv) => conv.forward(&linear.forward(x)?),
        }
    }

    /// The layer then `activation`.
    pub fn activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor, TensorError> {
        match self {
            Self::Conv(conv) => activated(conv, x, activation),
            Self::Linear(_) | Self::Blueprint(..) => self.forward(x)?.activation(activation),
        }
    }
}

/// How an architecture stores its convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// 1×1 as linear layers, 3×3 as blueprints.
    Blueprint,
}

impl Style {
    /// The layer in the place of a 1×1 convolution.
    pub fn point(self, at: &Loader, c_in: usize, c_out: usize) -> Result<Layer, LoadError> {
        match self {
            Self::Plain => Ok(Layer::Conv(conv(at, c_in, c_out, 1)?)),
            Self::Blueprint => Ok(Layer::Linear(Linear::load(at, c_in, c_out, true)?)),
        }
    }

    /// The layer in the place of a 3×3 convolution.
    pub fn spatial(self, at: &Loader, c_in: usize, c_out: usize) -> Result<Layer, LoadError> {
        match self {
            Self::Plain => Ok(Layer::Conv(conv(at, c_in, c_out, 3)?)),
            Self::Blueprint => {
                let linear = Linear::load(&at.at("pw"), c_in, c_out, true)?;
                Ok(Layer::Blueprint(linear, depthwise(&at.at("dw"), c_out, 3)?))
            }
        }
    }
}
