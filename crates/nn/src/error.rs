//! Why weights could not be loaded, all of it in one sentence.

use std::fmt;

use danqing_checkpoints::WeightsError;
use danqing_tensor::TensorError;

/// Names listed in full before the rest is only counted.
const LISTED: usize = 8;

/// Why a network's weights could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The tensors are not those of the network.
    #[error("{source_name} does not fit this network: {mismatch}")]
    Mismatch {
        /// The file or other place that the tensors come from.
        source_name: String,
        /// What does not fit.
        mismatch: Mismatch,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A shape is impossible.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A saved state belongs to other parameters.
    #[error("{0}")]
    State(String),
}

/// Everything in which tensors and network differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// Names that the network wants and the source lacks.
    pub missing: Vec<String>,
    /// Names that the source has and the network did not ask for.
    pub unexpected: Vec<String>,
    /// Name, shape in the source, shape that the network wants.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Mismatch {
    /// Whether all fits.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list(kind: &str, names: impl ExactSizeIterator<Item = String>) -> Option<String> {
            let count = names.len();
            let mut listed: Vec<String> = names.take(LISTED).collect();
            if count > LISTED {
                listed.push(format!("and {} more", count - LISTED));
            }
            (count > 0).then(|| format!("{count} {kind} ({})", listed.join(", ")))
        }
        let misshapen =
            self.misshapen.iter().map(|(name, is, wants)| format!("{name}: {is:?} where {wants:?} is wanted"));
        let parts = [
            list("missing", self.missing.iter().cloned()),
            list("unexpected", self.unexpected.iter().cloned()),
            list("misshapen", misshapen),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}
