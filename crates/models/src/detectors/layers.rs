//! Layers that detectors are made of: convolutions whose batch norms are worked into their weights.

use danqing_nn::{Conv2d, Init, LoadError, Loader};
use danqing_tensor::{Activation, Conv2dOptions, DType, Param, Tensor, TensorError};

use crate::upscalers::layers::{activated, width};

/// PyTorch's default.
const EPSILON: f32 = 1e-5;

/// A convolution without bias at `conv` and the batch norm at `norm` as one convolution. The file tells how many channels come out.
pub(super) fn normed(
    conv: &Loader,
    norm: &Loader,
    c_in: usize,
    kernel: usize,
    options: Conv2dOptions,
) -> Result<Conv2d, LoadError> {
    let c_out = width(conv);
    let weight = conv.param("weight", &[c_out, c_in / options.groups, kernel, kernel], Init::KaimingUniform)?;
    let of = |name: &str, init| norm.param(name, &[c_out], init).map(|param| param.value());
    let (gamma, beta) = (of("weight", Init::ONES)?, of("bias", Init::ZEROS)?);
    let (mean, variance) = (of("running_mean", Init::ZEROS)?, of("running_var", Init::ONES)?);
    let dtype = conv.options().dtype;
    let (weight, bias) = if conv.options().values {
        let scale = gamma.div(&variance.add_scalar(EPSILON)?.sqrt()?)?;
        let bias = beta.sub(&mean.mul(&scale)?)?;
        let folded = weight.value().cast(DType::F32)?.mul(&scale.reshape(&[c_out, 1, 1, 1])?)?;
        (Param::new(weight.name(), folded.cast(dtype)?), Param::new(format!("{}.bias", norm.path()), bias))
    } else {
        (weight, norm.param("bias", &[c_out], Init::ZEROS)?)
    };
    Conv2d::prepack(&weight, options, conv.options());
    Ok(Conv2d { weight, bias: Some(bias), options })
}

/// Channels that a convolution gives.
pub(super) fn outputs(conv: &Conv2d) -> usize {
    conv.weight.shape()[0]
}

/// A convolution of each channel's 3×3 surroundings, then one of all channels of a pixel, an activation after each.
#[derive(Debug)]
pub(super) struct Separable {
    depth: Conv2d,
    point: Conv2d,
}

impl Separable {
    /// Convolutions `0` and `3` with norms `1` and `4`.
    pub fn load(at: &Loader, c_in: usize, stride: usize) -> Result<Self, LoadError> {
        let options = Conv2dOptions { groups: c_in, ..Conv2dOptions::padded(1) }.stride(stride);
        Ok(Self {
            depth: normed(&at.at(0), &at.at(1), c_in, 3, options)?,
            point: normed(&at.at(3), &at.at(4), c_in, 1, Conv2dOptions::default())?,
        })
    }

    pub fn outputs(&self) -> usize {
        outputs(&self.point)
    }

    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor, TensorError> {
        activated(&self.point, &activated(&self.depth, x, activation)?, activation)
    }
}
