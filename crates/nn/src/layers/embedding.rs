//! The embedding table.

use danqing_tensor::{Param, Tensor, TensorError};

use crate::error::LoadError;
use crate::init::Init;
use crate::loader::Loader;

/// A table of rows picked by number. Weight decay does not apply to it.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[rows, width]`.
    pub weight: Param,
}

impl Embedding {
    /// Loads `weight`; a random start is normal with standard deviation 1, PyTorch's default.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load(loader: &Loader, rows: usize, width: usize) -> Result<Self, LoadError> {
        Self::load_with(loader, rows, width, Init::Normal(1.0))
    }

    /// As [`Embedding::load`] with another start.
    ///
    /// # Errors
    /// As [`Loader::param`].
    pub fn load_with(loader: &Loader, rows: usize, width: usize, init: Init) -> Result<Self, LoadError> {
        Ok(Embedding { weight: loader.param_with("weight", &[rows, width], init, false)? })
    }

    /// Ids in the shape `prefix` → `[prefix…, width]`, in the table's type.
    ///
    /// # Errors
    /// If an id is not a row or `prefix` does not have as many elements as there are ids.
    pub fn forward(&self, ids: &[u32], prefix: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::embedding(&self.weight, ids, prefix)
    }
}
