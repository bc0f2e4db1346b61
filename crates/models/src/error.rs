//! Why a model could not be loaded.

use danqing_checkpoints::WeightsError;
use danqing_nn::LoadError;
use danqing_tensor::TensorError;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A configuration that this code cannot build.
    #[error("{0}")]
    Configuration(String),
    /// A checkpoint that is no model known here.
    #[error("{0}")]
    Unknown(String),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Weights that cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// An argument that a network cannot take.
pub(crate) fn invalid(op: &'static str, why: String) -> TensorError {
    TensorError::Argument { op, why }
}
