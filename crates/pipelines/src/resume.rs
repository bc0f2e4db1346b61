//! A run that was stopped, kept so that it goes on bit for bit: latent, step, sampler history, noise position.
//!
//! Kept as safetensors: the vectors as tensors, the rest as metadata.

use std::collections::BTreeMap;
use std::path::Path;

use danqing_checkpoints::{StorageType, TensorToWrite, Weights, safetensors};
use danqing_sampling::SamplerState;

use crate::TaskError;

/// A run's state between two steps.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedRun {
    /// What the run was asked for: a fingerprint of everything that decides its outcome.
    pub fingerprint: String,
    /// Which pass it was in: 0 the first, 1 the larger second.
    pub pass: usize,
    /// The sampler's state.
    pub state: SamplerState,
}

impl SavedRun {
    /// Writes the run to `path`, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TaskError> {
        let mut vectors = vec![("x".to_string(), &self.state.x)];
        vectors.extend(self.state.history.iter().enumerate().map(|(i, v)| (format!("history.{i}"), v)));
        let bytes: Vec<Vec<u8>> =
            vectors.iter().map(|(_, v)| v.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let shapes: Vec<[usize; 1]> = vectors.iter().map(|(_, v)| [v.len()]).collect();
        let tensors: Vec<TensorToWrite<'_>> = vectors
            .iter()
            .zip(&shapes)
            .zip(&bytes)
            .map(|(((name, _), shape), bytes)| (name.as_str(), StorageType::F32, shape.as_slice(), bytes.as_slice()))
            .collect();
        let metadata = BTreeMap::from([
            ("danqing.run".to_string(), self.fingerprint.clone()),
            ("danqing.pass".to_string(), self.pass.to_string()),
            ("danqing.step".to_string(), self.state.step.to_string()),
            ("danqing.noise_draws".to_string(), self.state.noise_draws.to_string()),
        ]);
        Ok(safetensors::write(path, &tensors, &metadata)?)
    }

    /// Reads a run from `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is no saved run.
    pub fn read(path: &Path) -> Result<Self, TaskError> {
        let weights = Weights::open(path)?;
        let wrong = || TaskError::Request(format!("{} is not a saved run: start afresh without it", path.display()));
        let note = |key: &str| weights.metadata().get(key).cloned().ok_or_else(wrong);
        let number = |key: &str| note(key)?.parse::<u64>().map_err(|_| wrong());
        let history =
            (0..weights.len() - 1).map(|i| weights.read_f32(&format!("history.{i}"))).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            fingerprint: note("danqing.run")?,
            pass: number("danqing.pass")? as usize,
            state: SamplerState {
                x: weights.read_f32("x")?,
                step: number("danqing.step")? as usize,
                noise_draws: number("danqing.noise_draws")?,
                history,
            },
        })
    }
}
