//! Enhanced spatial attention (RFANet, Liu et al. 2020): where a map matters, seen through a much smaller one.

use danqing_nn::{Conv2d, LoadError, Loader};
use danqing_tensor::{Activation, Conv2dOptions, Tensor, TensorError};

use super::layers::{Layer, Style};

/// Maps must be at least this long and wide: a convolution of stride two, then windows of seven.
pub(super) const LEAST: usize = 15;

/// The attention. The small map is enlarged to the whole map's size, so that a pixel depends on where it lies in it.
#[derive(Debug)]
pub(super) struct Esa {
    first: Layer,
    around: Layer,
    halving: Layer,
    /// Convolutions of the small map, an activation between them.
    small: Vec<Layer>,
    activation: Activation,
    last: Layer,
}

impl Esa {
    /// `small` names the convolutions of the small map in order.
    pub fn load(
        at: &Loader,
        channels: usize,
        inner: usize,
        style: Style,
        small: &[&str],
        activation: Activation,
    ) -> Result<Self, LoadError> {
        let halving = Conv2d::load(&at.at("conv2"), inner, inner, 3, Conv2dOptions::default().stride(2))?;
        Ok(Self {
            first: style.point(&at.at("conv1"), channels, inner)?,
            around: style.point(&at.at("conv_f"), inner, inner)?,
            halving: Layer::Conv(halving),
            small: small.iter().map(|name| style.spatial(&at.at(name), inner, inner)).collect::<Result<_, _>>()?,
            activation,
            last: style.point(&at.at("conv4"), inner, channels)?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let first = self.first.forward(x)?;
        let mut small = self.halving.forward(&first)?.max_pool2d([7; 2], [3; 2], [0; 2])?;
        for (i, layer) in self.small.iter().enumerate() {
            let between = if i + 1 < self.small.len() { self.activation } else { Activation::None };
            small = layer.activated(&small, between)?;
        }
        let spread = small.resize_bilinear(x.dim(1), x.dim(2))?.add(&self.around.forward(&first)?)?;
        x.mul(&self.last.activated(&spread, Activation::Sigmoid)?)
    }
}
