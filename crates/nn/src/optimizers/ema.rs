//! Exponential moving average of parameters.

use std::collections::BTreeMap;
use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_kernels::elementwise::ema;
use danqing_tensor::{Param, TensorError};

use crate::error::LoadError;
use crate::optimizers::{metadata_number, read_state, state_parts};
use crate::store::{ParamStore, write_parts};

/// Averages of the trainable parameters of a network. The decay warms up as in diffusers' `EMAModel`: update 0 copies, update
/// `i` decays by `min(decay, (1 + i) / (10 + i))`.
pub struct Ema {
    decay: f64,
    params: Vec<Param>,
    average: Vec<Vec<f32>>,
    updates: u64,
}

impl Ema {
    /// Averages that start at the present values of the parameters of `store` that are trainable now.
    ///
    /// # Errors
    /// If a parameter is not f32.
    pub fn new(store: &ParamStore, decay: f64) -> Result<Self, TensorError> {
        let params: Vec<Param> = store.iter().filter(|p| p.is_trainable()).cloned().collect();
        let values = |p: &Param| p.value().as_slice_f32().map(<[f32]>::to_vec);
        let average = params.iter().map(values).collect::<Result<_, _>>()?;
        Ok(Ema { decay, params, average, updates: 0 })
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Moves the averages towards the parameters.
    ///
    /// # Errors
    /// If a parameter is not f32.
    pub fn update(&mut self) -> Result<(), TensorError> {
        let i = self.updates as f64;
        let decay = if self.updates == 0 { 0.0 } else { self.decay.min((1.0 + i) / (10.0 + i)) as f32 };
        for (param, average) in self.params.iter().zip(&mut self.average) {
            ema(decay, param.value().as_slice_f32()?, average);
        }
        self.updates += 1;
        Ok(())
    }

    /// Exchanges averages and parameters: once to try or save the averaged network, once more to go on training.
    ///
    /// # Errors
    /// If a parameter is not f32; nothing has been changed then.
    pub fn swap(&mut self) -> Result<(), TensorError> {
        for (param, average) in self.params.iter().zip(&mut self.average) {
            param.update(|values| values.swap_with_slice(average))?;
        }
        Ok(())
    }

    /// Writes averages and number of updates; [`Ema::load`] goes on exactly from there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), LoadError> {
        let metadata = BTreeMap::from([("updates".to_owned(), self.updates.to_string())]);
        Ok(write_parts(path, &state_parts("", &self.params, &self.average), &metadata)?)
    }

    /// Takes over what [`Ema::save`] wrote for the same parameters.
    ///
    /// # Errors
    /// If the file cannot be read or belongs to other parameters; nothing has been changed then.
    pub fn load(&mut self, path: &Path) -> Result<(), LoadError> {
        let weights = Weights::open(path)?;
        let updates = metadata_number(weights.metadata(), "updates")?;
        self.average = read_state(&weights, "", &self.params)?;
        self.updates = updates;
        Ok(())
    }
}
