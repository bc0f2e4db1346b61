//! [`ParamStore`]: all parameters of a network by name.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use danqing_checkpoints::{StorageType, WeightsError, safetensors};
use danqing_tensor::{DType, Param, Tensor};

use crate::error::{LoadError, Mismatch};
use crate::source::TensorSource;

/// All parameters of a network, in the order in which they were made. Cloning shares the parameters.
#[derive(Clone, Default)]
pub struct ParamStore {
    entries: Vec<(Param, bool)>,
    by_name: HashMap<String, usize>,
}

impl ParamStore {
    /// Adds a parameter; `decay` says whether weight decay applies. One of the same name is replaced.
    pub fn insert(&mut self, param: Param, decay: bool) {
        match self.by_name.get(param.name()) {
            Some(&at) => self.entries[at] = (param, decay),
            None => {
                self.by_name.insert(param.name().to_owned(), self.entries.len());
                self.entries.push((param, decay));
            }
        }
    }

    /// Adds all parameters of another part under `prefix.` names of their own.
    pub fn extend(&mut self, other: &ParamStore) {
        for (param, decay) in &other.entries {
            self.insert(param.clone(), *decay);
        }
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param> {
        self.by_name.get(name).map(|&at| &self.entries[at].0)
    }

    /// All parameters.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.entries.iter().map(|(param, _)| param)
    }

    /// All parameters, and whether weight decay applies to them.
    pub fn iter_with_decay(&self) -> impl ExactSizeIterator<Item = (&Param, bool)> {
        self.entries.iter().map(|(param, decay)| (param, *decay))
    }

    /// All names.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(Param::name)
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of elements of all parameters.
    pub fn numel(&self) -> usize {
        self.iter().map(Param::numel).sum()
    }

    /// Bytes held for all parameters in all their forms.
    pub fn bytes(&self) -> usize {
        self.iter().map(Param::bytes).sum()
    }

    /// Sets whether backward walks find gradients for all of them.
    pub fn trainable(&self, yes: bool) {
        self.iter().for_each(|param| param.trainable(yes));
    }

    /// Replaces all values by those of `source`, whose names and shapes must be these.
    ///
    /// # Errors
    /// If a tensor is missing, misshapen or cannot be read; nothing has been changed then, unless reading failed midway.
    pub fn restore(&self, source: &dyn TensorSource) -> Result<(), LoadError> {
        self.restore_under("", source)
    }

    /// As [`restore`](Self::restore), for the parameters whose names begin with `prefix`, which the source's names lack.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape (nothing is changed then), or cannot be read.
    pub fn restore_under(&self, prefix: &str, source: &dyn TensorSource) -> Result<(), LoadError> {
        let part = || self.iter().filter_map(|param| Some((param, param.name().strip_prefix(prefix)?)));
        let mut mismatch = Mismatch::default();
        for (param, name) in part() {
            match source.shape(name) {
                Some(shape) if shape == param.shape() => {}
                Some(shape) => mismatch.misshapen.push((name.to_owned(), shape, param.shape().to_vec())),
                None => mismatch.missing.push(name.to_owned()),
            }
        }
        if !mismatch.is_empty() {
            return Err(LoadError::Mismatch { source_name: source.source_name(), mismatch });
        }
        for (param, name) in part() {
            param.set(Tensor::from_slice(&source.read_f32(name)?, param.shape())?)?;
        }
        Ok(())
    }

    /// Writes all values as safetensors of `dtype`, under their names.
    ///
    /// # Errors
    /// If the file cannot be written; nothing is left under its name then.
    pub fn save(&self, path: &Path, dtype: DType, metadata: &BTreeMap<String, String>) -> Result<(), LoadError> {
        let storage = match dtype {
            DType::F32 => StorageType::F32,
            DType::Bf16 => StorageType::BF16,
        };
        let mut parts = Vec::with_capacity(self.len());
        for param in self.iter() {
            let value = param.value().cast(dtype)?;
            let bytes = match dtype {
                DType::F32 => f32_bytes(value.as_slice_f32()?),
                DType::Bf16 => value.as_slice_bf16()?.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            parts.push((param.name().to_owned(), storage, param.shape().to_vec(), bytes));
        }
        write_parts(path, &parts, metadata)?;
        Ok(())
    }
}

/// Name, type, shape and little-endian bytes of a tensor to be written.
pub(crate) type Part = (String, StorageType, Vec<usize>, Vec<u8>);

pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub(crate) fn write_parts(
    path: &Path,
    parts: &[Part],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let parts: Vec<_> =
        parts.iter().map(|(name, dtype, shape, bytes)| (&name[..], *dtype, &shape[..], &bytes[..])).collect();
    safetensors::write(path, &parts, metadata)
}
