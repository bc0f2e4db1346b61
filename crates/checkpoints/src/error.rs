//! The one error of this crate: every sentence names the file, what is wrong with it, and how to mend it.

use std::path::{Path, PathBuf};

/// Why weights could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}{}", path.display(), io_hint(source))]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What was tried, as a verb phrase ("open", "write").
        action: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are not a well-formed file of their format.
    #[error("{file}: not a sound {format} file: {problem}. {mend}")]
    Malformed {
        /// File or other origin of the bytes.
        file: String,
        /// Name of the format, as in [`crate::FORMATS`].
        format: &'static str,
        /// What is wrong.
        problem: String,
        /// What the reader can do.
        mend: &'static str,
    },
    /// One tensor of a file cannot be used.
    #[error("{file}: tensor {tensor:?}: {problem}. {mend}")]
    Tensor {
        /// File or other origin of the bytes.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        problem: String,
        /// What the reader can do.
        mend: &'static str,
    },
    /// A tensor was asked for that is not there.
    #[error("{file}: no tensor {tensor:?}{}", nearest.as_ref().map(|n| format!(" (the nearest name is {n:?})")).unwrap_or_default())]
    Missing {
        /// File or other origin of the bytes.
        file: String,
        /// The name asked for.
        tensor: String,
        /// The name in the file that resembles it most.
        nearest: Option<String>,
    },
    /// A known or unknown format that this crate does not read.
    #[error("{file}: {problem}. {mend}")]
    NotReadable {
        /// File or other origin of the bytes.
        file: String,
        /// What it is instead.
        problem: String,
        /// What the reader can do.
        mend: &'static str,
    },
    /// The caller's description of a file to be written does not hold together.
    #[error("cannot write {}: {problem}", path.display())]
    Unwritable {
        /// The file that was to be written.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
}

/// Advice used where the bytes themselves are damaged.
pub(crate) const MEND_DOWNLOAD: &str = "Download or copy the file again, and compare its sha256 with the publisher's";
/// Advice used where a file is sound for other programs but outside what this reader accepts.
pub(crate) const MEND_RESAVE: &str = "Open it with the program that made it and save it again as safetensors";
/// Advice used where numbers are not numbers.
pub(crate) const MEND_NAN: &str = "The model was damaged in training or merging: use another version of it";

impl WeightsError {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn malformed(file: &str, format: &'static str, problem: impl Into<String>) -> Self {
        Self::Malformed { file: file.to_owned(), format, problem: problem.into(), mend: MEND_DOWNLOAD }
    }

    pub(crate) fn tensor(file: &str, tensor: &str, problem: impl Into<String>, mend: &'static str) -> Self {
        Self::Tensor { file: file.to_owned(), tensor: tensor.to_owned(), problem: problem.into(), mend }
    }
}

fn io_hint(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::*;
    match error.kind() {
        NotFound => ". Check the path",
        PermissionDenied => ". Check the owner and the mode of the file and its folder",
        StorageFull | QuotaExceeded => {
            ". Free some space or choose another folder; nothing was left under the final name"
        }
        ReadOnlyFilesystem => ". Choose a folder that can be written",
        _ => "",
    }
}
