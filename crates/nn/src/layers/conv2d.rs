//! The convolution layer.

use danqing_tensor::{Conv2dOptions, ConvFusion, Param, Tensor, TensorError};

use crate::error::LoadError;
use crate::init::Init;
use crate::loader::{LoadOptions, Loader};

/// A convolution over `[batch, height, width, channels]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[c_out, c_in / groups, kh, kw]`.
    pub weight: Param,
    /// `[c_out]`.
    pub bias: Option<Param>,
    /// Stride, padding, dilation, groups.
    pub options: Conv2dOptions,
}

impl Conv2d {
    /// Loads `weight` of a square kernel and `bias`.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load(
        loader: &Loader,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        options: Conv2dOptions,
    ) -> Result<Self, LoadError> {
        Self::load_with(loader, c_in, c_out, kernel, options, true, Init::KaimingUniform)
    }

    /// As [`Conv2d::load`], saying whether there is a bias and how the weight starts (the bias then starts at zero unless
    /// it is PyTorch's default).
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load_with(
        loader: &Loader,
        c_in: usize,
        c_out: usize,
        kernel: usize,
        options: Conv2dOptions,
        bias: bool,
        init: Init,
    ) -> Result<Self, LoadError> {
        let inputs = c_in / options.groups.max(1);
        let weight = loader.param("weight", &[c_out, inputs, kernel, kernel], init)?;
        let start = if init == Init::KaimingUniform { Init::bias(inputs * kernel * kernel) } else { Init::ZEROS };
        let bias = bias.then(|| loader.param("bias", &[c_out], start)).transpose()?;
        Self::prepack(&weight, options, loader.options());
        Ok(Conv2d { weight, bias, options })
    }

    /// Packs the weight of a convolution now if `load` asks for it. Kernels may want that of a dilated one in another form, so it is
    /// packed when the convolution first runs.
    pub fn prepack(weight: &Param, options: Conv2dOptions, load: LoadOptions) {
        if load.prepack && options.dilation == [1; 2] {
            weight.prepack_conv(options.groups, load.dtype);
        }
    }

    /// `[batch, height, width, c_in]` → `[batch, out_height, out_width, c_out]`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv2d(&self.weight, self.bias.as_ref(), self.options)
    }

    /// As [`Conv2d::forward`], with a bias per picture, an activation and a residual in the same pass.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn forward_with(&self, x: &Tensor, fusion: ConvFusion<'_>) -> Result<Tensor, TensorError> {
        x.conv2d_with(&self.weight, self.bias.as_ref(), self.options, fusion)
    }
}
