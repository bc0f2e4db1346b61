//! The linear layer.

use danqing_tensor::{LinearFusion, Param, Tensor, TensorError};

use crate::error::LoadError;
use crate::init::Init;
use crate::loader::Loader;

/// `x · wᵀ + b` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
}

impl Linear {
    /// Loads `weight` and, if asked for, `bias`.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load(loader: &Loader, inputs: usize, outputs: usize, bias: bool) -> Result<Self, LoadError> {
        Self::load_with(loader, inputs, outputs, bias, Init::KaimingUniform)
    }

    /// As [`Linear::load`] with another start of the weight (the bias then starts at zero unless it is PyTorch's default).
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load_with(
        loader: &Loader,
        inputs: usize,
        outputs: usize,
        bias: bool,
        init: Init,
    ) -> Result<Self, LoadError> {
        let weight = loader.param("weight", &[outputs, inputs], init)?;
        let start = if init == Init::KaimingUniform { Init::bias(inputs) } else { Init::ZEROS };
        let bias = bias.then(|| loader.param("bias", &[outputs], start)).transpose()?;
        let options = loader.options();
        if options.prepack {
            weight.prepack_linear(options.dtype);
        }
        Ok(Linear { weight, bias })
    }

    /// `[…, in]` → `[…, out]`.
    ///
    /// # Errors
    /// If the last dimension is not `in`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.linear(&self.weight, self.bias.as_ref())
    }

    /// As [`Linear::forward`], with an activation and a residual in the same pass.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward_with(&self, x: &Tensor, fusion: LinearFusion<'_>) -> Result<Tensor, TensorError> {
        x.linear_with(&self.weight, self.bias.as_ref(), fusion)
    }
}
