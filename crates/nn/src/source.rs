//! Where tensors come from.

use danqing_checkpoints::{Weights, WeightsError};
use half::bf16;

/// Tensors by name. Implemented by [`Weights`]; a key map that must cut or join tensors implements it around one.
pub trait TensorSource: Send + Sync {
    /// What messages call it: a file's path.
    fn source_name(&self) -> String;
    /// All names.
    fn names(&self) -> Vec<String>;
    /// Sizes of the dimensions, if there is such a tensor.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// The values widened to f32.
    ///
    /// # Errors
    /// If there is no such tensor or it cannot be read.
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError>;
    /// The values rounded to bf16.
    ///
    /// # Errors
    /// If there is no such tensor or it cannot be read.
    fn read_bf16(&self, name: &str) -> Result<Vec<bf16>, WeightsError>;
    /// Whether there is such a tensor.
    fn contains(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }
}

impl TensorSource for Weights {
    fn source_name(&self) -> String {
        self.source().to_owned()
    }
    fn names(&self) -> Vec<String> {
        Weights::names(self).map(str::to_owned).collect()
    }
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.info(name).map(|info| info.shape.clone())
    }
    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        Weights::read_f32(self, name)
    }
    fn read_bf16(&self, name: &str) -> Result<Vec<bf16>, WeightsError> {
        Weights::read_bf16(self, name)
    }
}
