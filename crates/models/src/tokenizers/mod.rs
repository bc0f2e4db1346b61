//! Text to token ids: CLIP's byte-level byte-pair encoding, and the search for its vocabulary beside a checkpoint.
//!
//! [`ClipTokenizer`] gives the ids that transformers 5's `CLIPTokenizer` gives. Single-file checkpoints hold no vocabulary;
//! [`locate`] looks for one where people keep it.

pub mod bytes;
mod clip;
mod locate;
mod merge;
mod read;
pub mod split;

pub use clip::{ClipTokenizer, SpecialToken, SpecialTokens};
pub use locate::{Found, Which, locate};

/// Why a tokenizer could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file could not be read.
    #[error("{path}: {source}; check that the file exists and may be read")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is larger than any tokenizer file can be.
    #[error("{path}: {size} bytes is more than a tokenizer file may have ({limit}); is this the right file?")]
    TooLarge {
        /// The file.
        path: std::path::PathBuf,
        /// Its size in bytes (or the bytes seen when reading stopped).
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// JSON that is not what it should be.
    #[error("{what} is not valid JSON: {source}")]
    Json {
        /// Which part.
        what: &'static str,
        /// The parser's words.
        source: serde_json::Error,
    },
    /// The contents contradict themselves or name what is not there.
    #[error("{0}")]
    Malformed(String),
    /// No vocabulary was found beside a checkpoint; the message says what to put where.
    #[error("{0}")]
    NotFound(String),
}
