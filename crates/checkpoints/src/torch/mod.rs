//! Files of `torch.save`: `.pt`, `.pth`, `.ckpt`, `.bin`; both the ZIP archive and the older stream.
//!
//! The pickle inside is run by [`crate::pickle`], which calls nothing. Here its nodes are read: a closed list of callables
//! makes tensors ([`rebuild`]), dictionaries become dotted names ([`tree`]), and everything else is inert. A tensor that
//! could only be made by an unknown callable is listed as refused, and the others of the file stay usable.

mod container;
mod numpy;
mod rebuild;
mod tree;
mod zip;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::blob::Blob;
use crate::error::{MEND_DOWNLOAD, MEND_RESAVE};
use crate::pickle::{Pickle, Value};
use crate::{Weights, WeightsError};

pub(crate) use container::LEGACY_MAGIC;

/// Longest list of unknown globals that is kept.
const MAX_UNKNOWN: usize = 1_000;

/// Reads the archive form (PyTorch 1.6 and later).
pub(crate) fn parse_zip(blob: &Arc<Blob>) -> Result<Weights, WeightsError> {
    read(blob, "torch archive", container::open_zip)
}

/// Reads the stream form (before PyTorch 1.6).
pub(crate) fn parse_legacy(blob: &Arc<Blob>) -> Result<Weights, WeightsError> {
    read(blob, "torch stream", container::open_legacy)
}

fn read(
    blob: &Arc<Blob>,
    format: &'static str,
    open: fn(&Arc<Blob>) -> container::Opened,
) -> Result<Weights, WeightsError> {
    let (pickle, storages) = open(blob).map_err(|refusal| refusal.into_error(blob.name(), format))?;
    interpret(blob.name(), format, &pickle, &storages)
}

/// Runs a bare pickle whose storages are given, for tests of what lies below the containers.
#[cfg(test)]
pub(crate) fn parse_program(file: &str, program: &[u8], storages: &[(&str, &[u8])]) -> Result<Weights, WeightsError> {
    let format = "torch pickle";
    let pickle = crate::pickle::run(program).map_err(|problem| WeightsError::malformed(file, format, problem))?;
    interpret(file, format, &pickle, &container::Storages::in_memory(file, storages))
}

fn interpret(
    file: &str,
    format: &'static str,
    pickle: &Pickle,
    storages: &container::Storages,
) -> Result<Weights, WeightsError> {
    let limited = |problem| WeightsError::Malformed { file: file.to_owned(), format, problem, mend: MEND_RESAVE };
    let rebuilder = rebuild::Rebuilder::new(pickle, storages, file);
    let found = tree::walk(pickle, &rebuilder).map_err(limited)?;
    let mut weights = Weights::empty(file);
    for (name, entry) in found.tensors {
        weights.insert(name, entry)?;
    }
    for (name, reason) in found.refused {
        weights.refuse(name, reason)?;
    }
    weights.set_groups(found.groups);
    weights.set_unknown_globals(unknown_globals(pickle));
    if weights.is_empty() {
        let problem = match weights.refused().next() {
            Some((name, reason)) => format!("none of its tensors can be read; {name:?}: {reason}"),
            None => "there is no tensor in it".to_owned(),
        };
        return Err(WeightsError::NotReadable { file: file.to_owned(), problem, mend: MEND_RESAVE });
    }
    Ok(weights)
}

/// Names in the pickle that nothing here gives a meaning to.
fn unknown_globals(pickle: &Pickle) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    for value in pickle.values() {
        if let Value::Global { module, name } = value
            && !rebuild::is_known(module, name)
            && unknown.len() < MAX_UNKNOWN
        {
            unknown.insert(format!("{module}.{name}"));
        }
    }
    unknown.into_iter().collect()
}

impl container::Refusal {
    fn into_error(self, file: &str, format: &'static str) -> WeightsError {
        match self {
            Self::Damaged(problem) => {
                WeightsError::Malformed { file: file.to_owned(), format, problem, mend: MEND_DOWNLOAD }
            }
            Self::Foreign(problem) => WeightsError::NotReadable { file: file.to_owned(), problem, mend: MEND_RESAVE },
            Self::File(error) => error,
        }
    }
}
