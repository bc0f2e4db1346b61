//! Why training stopped.

use std::path::{Path, PathBuf};

use danqing_checkpoints::WeightsError;
use danqing_imaging::ImagingError;
use danqing_models::ModelError;
use danqing_nn::LoadError;
use danqing_pipelines::TaskError;
use danqing_tensor::TensorError;

use crate::data::DataError;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data cannot be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Weights do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A sample cannot be drawn.
    #[error(transparent)]
    Draw(#[from] TaskError),
    /// A picture cannot be written.
    #[error(transparent)]
    Picture(#[from] ImagingError),
    /// A file of the run cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The run's folder holds something else.
    #[error("{0}")]
    State(String),
    /// The loss is no number any more.
    #[error("the loss became {loss} at step {step}: lower the learning rate, or go on from an earlier checkpoint")]
    Diverged {
        /// The step.
        step: u64,
        /// The loss.
        loss: f64,
    },
}

/// Adds the file's name to an error of the system.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError + '_ {
    move |source| TrainError::File { path: path.to_path_buf(), source }
}
