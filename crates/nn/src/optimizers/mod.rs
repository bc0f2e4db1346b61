//! What moves parameters: optimizer, moving average, gradient clipping, learning-rate schedule.

mod adamw;
mod clip;
mod ema;
mod schedule;

pub use adamw::{AdamW, AdamWConfig};
pub use clip::{clip_grad_norm, clip_scale, grad_norm};
pub use ema::Ema;
pub use schedule::{LrDecay, LrSchedule};

use std::collections::BTreeMap;

use danqing_checkpoints::StorageType;
use danqing_tensor::Param;

use crate::error::{LoadError, Mismatch};
use crate::source::TensorSource;
use crate::store::{Part, f32_bytes};

/// Tensors of an optimizer's state, under `prefix` and the parameters' names.
fn state_parts(prefix: &str, params: &[Param], values: &[Vec<f32>]) -> Vec<Part> {
    let part = |(param, values): (&Param, &Vec<f32>)| {
        (format!("{prefix}{}", param.name()), StorageType::F32, param.shape().to_vec(), f32_bytes(values))
    };
    params.iter().zip(values).map(part).collect()
}

/// Reads what [`state_parts`] wrote.
fn read_state(source: &dyn TensorSource, prefix: &str, params: &[Param]) -> Result<Vec<Vec<f32>>, LoadError> {
    let mut mismatch = Mismatch::default();
    let keys: Vec<String> = params.iter().map(|param| format!("{prefix}{}", param.name())).collect();
    for (param, key) in params.iter().zip(&keys) {
        match source.shape(key) {
            Some(shape) if shape == param.shape() => {}
            Some(shape) => mismatch.misshapen.push((key.clone(), shape, param.shape().to_vec())),
            None => mismatch.missing.push(key.clone()),
        }
    }
    if !mismatch.is_empty() {
        return Err(LoadError::Mismatch { source_name: source.source_name(), mismatch });
    }
    keys.iter().map(|key| Ok(source.read_f32(key)?)).collect()
}

/// A number kept in a file's metadata.
fn metadata_number(metadata: &BTreeMap<String, String>, key: &str) -> Result<u64, LoadError> {
    let text =
        metadata.get(key).ok_or_else(|| LoadError::State(format!("the saved state has no `{key}` in its metadata")))?;
    text.parse().map_err(|_| LoadError::State(format!("`{key}` of the saved state is not a number: {text}")))
}
