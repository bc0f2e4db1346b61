//! Normalising layers.

use danqing_tensor::{Activation, Param, Tensor, TensorError};

use crate::error::LoadError;
use crate::init::Init;
use crate::loader::Loader;

/// Group norm over `[batch, …, channels]`.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Scale, `[channels]`.
    pub weight: Param,
    /// Offset, `[channels]`.
    pub bias: Param,
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl GroupNorm {
    /// Loads `weight` and `bias`.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load(loader: &Loader, groups: usize, channels: usize, epsilon: f32) -> Result<Self, LoadError> {
        let weight = loader.param("weight", &[channels], Init::ONES)?;
        let bias = loader.param("bias", &[channels], Init::ZEROS)?;
        Ok(GroupNorm { weight, bias, groups, epsilon })
    }

    /// The same shape, normalised.
    ///
    /// # Errors
    /// If the channels are not those of the layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.forward_with(x, Activation::None)
    }

    /// As [`GroupNorm::forward`], with an activation in the same pass.
    ///
    /// # Errors
    /// If the channels are not those of the layer.
    pub fn forward_with(&self, x: &Tensor, activation: Activation) -> Result<Tensor, TensorError> {
        x.group_norm(self.groups, &self.weight, &self.bias, self.epsilon, activation)
    }
}

/// Layer norm of each row of the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Scale, `[width]`.
    pub weight: Param,
    /// Offset, `[width]`.
    pub bias: Param,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNorm {
    /// Loads `weight` and `bias`.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load(loader: &Loader, width: usize, epsilon: f32) -> Result<Self, LoadError> {
        let weight = loader.param("weight", &[width], Init::ONES)?;
        let bias = loader.param("bias", &[width], Init::ZEROS)?;
        Ok(LayerNorm { weight, bias, epsilon })
    }

    /// The same shape, normalised.
    ///
    /// # Errors
    /// If the width is not that of the layer.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.layer_norm(&self.weight, &self.bias, self.epsilon)
    }
}
