//! A checkpoint seen under diffusers' names, whatever its own layout.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use danqing_checkpoints::{Weights, WeightsError};
use danqing_nn::TensorSource;
use half::bf16;

use super::keys::{Piece, Stored};

type NameMap = dyn Fn(&str) -> Option<Stored> + Send + Sync;

/// The tensors below a prefix of a file, under other names.
pub(super) struct Renamed {
    weights: Weights,
    prefix: String,
    map: Box<NameMap>,
    read: Mutex<BTreeSet<String>>,
}

impl Renamed {
    /// `map` gives the stored name below `prefix`, and the piece of it, for a name of the network.
    pub fn new(weights: &Weights, prefix: &str, map: impl Fn(&str) -> Option<Stored> + Send + Sync + 'static) -> Self {
        Self { weights: weights.clone(), prefix: prefix.into(), map: Box::new(map), read: Mutex::default() }
    }

    /// The stored name in full and the piece; the network's own name where nothing is mapped, so that errors name it.
    fn stored(&self, name: &str) -> (String, Piece) {
        let (key, piece) = (self.map)(name).unwrap_or_else(|| (name.to_string(), Piece::Whole));
        (format!("{}{key}", self.prefix), piece)
    }

    fn mark(&self, key: &str) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_string());
    }

    fn take<T: Copy>(&self, values: Vec<T>, key: &str, piece: Piece) -> Vec<T> {
        let shape = self.weights.info(key).map(|i| i.shape.clone()).unwrap_or_default();
        match piece {
            Piece::Whole | Piece::Matrix => values,
            Piece::Rows { index, of } => {
                let run = values.len() / of;
                values[index * run..(index + 1) * run].to_vec()
            }
            Piece::Transposed => {
                let (rows, columns) = (shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(0));
                (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| values[i]).collect()
            }
        }
    }
}

impl TensorSource for Renamed {
    fn source_name(&self) -> String {
        self.weights.source().to_owned()
    }

    /// The stored names that have not been read: what remains is what the network does not know.
    fn names(&self) -> Vec<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.weights.names().filter(|n| n.starts_with(&self.prefix) && !read.contains(*n)).map(String::from).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (key, piece) = self.stored(name);
        let mut shape = self.weights.info(&key)?.shape.clone();
        match piece {
            Piece::Whole => {}
            Piece::Matrix => {
                while shape.len() > 2 && shape.last() == Some(&1) {
                    shape.pop();
                }
            }
            Piece::Rows { of, .. } => {
                let rows = shape.first_mut()?;
                if *rows % of != 0 {
                    return None;
                }
                *rows /= of;
            }
            Piece::Transposed if shape.len() == 2 => shape.reverse(),
            Piece::Transposed => return None,
        }
        Some(shape)
    }

    fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let (key, piece) = self.stored(name);
        let values = self.weights.read_f32(&key)?;
        self.mark(&key);
        Ok(self.take(values, &key, piece))
    }

    fn read_bf16(&self, name: &str) -> Result<Vec<bf16>, WeightsError> {
        let (key, piece) = self.stored(name);
        let values = self.weights.read_bf16(&key)?;
        self.mark(&key);
        Ok(self.take(values, &key, piece))
    }
}
