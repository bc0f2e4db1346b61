//! What can go wrong in a task; each sentence tells how to mend it.

use danqing_checkpoints::WeightsError;
use danqing_imaging::ImagingError;
use danqing_nn::LoadError;
use danqing_sampling::SampleError;
use danqing_tensor::TensorError;

/// Why a task could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A wish that makes no sense.
    #[error("{0}")]
    Request(String),
    /// A checkpoint that cannot be used.
    #[error("{0}")]
    Checkpoint(String),
    /// Weights that cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A model that cannot be put together.
    #[error(transparent)]
    Model(#[from] danqing_models::ModelError),
    /// Weights that do not fit the network.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Sampling failed.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A picture cannot be used.
    #[error(transparent)]
    Picture(#[from] ImagingError),
    /// The task would not fit into memory.
    #[error(
        "this needs about {} MiB of memory and {} MiB are free: draw a smaller picture, fewer at once, or close other programs",
        .needed.div_ceil(1 << 20), .available >> 20
    )]
    Memory {
        /// Bytes at the peak.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The network produced values that are not numbers.
    #[error("the network produced values that are not numbers ({0}): try --precision f32, another checkpoint or VAE")]
    NotANumber(&'static str),
    /// The user stopped it.
    #[error("stopped")]
    Stopped,
}
