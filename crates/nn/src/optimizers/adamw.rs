//! AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", arXiv:1711.05101).

use std::collections::BTreeMap;
use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_kernels::elementwise::{self, adamw};
use danqing_tensor::{Gradients, Param, TensorError};

use crate::error::LoadError;
use crate::optimizers::{metadata_number, read_state, state_parts};
use crate::store::{ParamStore, write_parts};

/// Numbers of AdamW; PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Decoupled weight decay of the parameters that take part in it, multiplied by the learning rate.
    pub weight_decay: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// AdamW over the trainable f32 parameters of a network.
pub struct AdamW {
    config: AdamWConfig,
    params: Vec<Param>,
    decays: Vec<bool>,
    mean: Vec<Vec<f32>>,
    square: Vec<Vec<f32>>,
    step: u64,
}

impl AdamW {
    /// A fresh state for those parameters of `store` that are trainable now.
    pub fn new(store: &ParamStore, config: AdamWConfig) -> Self {
        let (params, decays): (Vec<Param>, Vec<bool>) =
            store.iter_with_decay().filter(|(p, _)| p.is_trainable()).map(|(p, d)| (p.clone(), d)).unzip();
        let zeros = || params.iter().map(|p| vec![0.0; p.numel()]).collect();
        AdamW { config, decays, mean: zeros(), square: zeros(), step: 0, params }
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// One step. Parameters without a gradient are left alone.
    ///
    /// # Errors
    /// If a parameter is not f32.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f32) -> Result<(), TensorError> {
        self.step_scaled(gradients, learning_rate, 1.0)
    }

    /// As [`AdamW::step`], with gradients multiplied by `scale` (clipping, averaging over accumulated batches).
    ///
    /// # Errors
    /// If a parameter is not f32.
    pub fn step_scaled(&mut self, gradients: &Gradients, learning_rate: f32, scale: f32) -> Result<(), TensorError> {
        self.step += 1;
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        for (i, param) in self.params.iter().enumerate() {
            let Some(gradient) = gradients.slice(param) else { continue };
            let step = elementwise::AdamW {
                learning_rate,
                beta1,
                beta2,
                epsilon,
                weight_decay: if self.decays[i] { weight_decay } else { 0.0 },
                step: self.step,
                gradient_scale: scale,
            };
            let (mean, square) = (&mut self.mean[i], &mut self.square[i]);
            param.update(|weights| adamw(&step, gradient, weights, mean, square))?;
        }
        Ok(())
    }

    /// Writes moments and step count; [`AdamW::load`] goes on exactly from there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LoadError> {
        let mut parts = state_parts("mean.", &self.params, &self.mean);
        parts.extend(state_parts("square.", &self.params, &self.square));
        let metadata = BTreeMap::from([("step".to_owned(), self.step.to_string())]);
        Ok(write_parts(path, &parts, &metadata)?)
    }

    /// Takes over the state that [`AdamW::save`] wrote for the same parameters.
    ///
    /// # Errors
    /// If the file cannot be read or belongs to other parameters; nothing has been changed then.
    pub fn load(&mut self, path: &Path) -> Result<(), LoadError> {
        let weights = Weights::open(path)?;
        let step = metadata_number(weights.metadata(), "step")?;
        let mean = read_state(&weights, "mean.", &self.params)?;
        let square = read_state(&weights, "square.", &self.params)?;
        (self.mean, self.square, self.step) = (mean, square, step);
        Ok(())
    }
}
