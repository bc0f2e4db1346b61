//! Bytes under the SHA-256 of themselves: what is stored twice is there once, and what comes back is what went in.

mod folder;

use std::fmt;
use std::io;
use std::str::FromStr;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

pub use folder::FolderBlobs;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Nothing is stored under this name.
    #[error("blob {0} is not there")]
    Missing(BlobId),
    /// What is stored is not what was put.
    #[error("blob {0} is damaged: its bytes have another SHA-256; restore it from a backup")]
    Damaged(BlobId),
    /// No SHA-256.
    #[error("{0:?} is no name of a blob: 64 lower-case hexadecimal digits are")]
    Name(String),
    /// The disk or the network.
    #[error("blob {id}: {source}")]
    Io {
        /// The blob.
        id: BlobId,
        /// Why.
        source: io::Error,
    },
    /// The store itself cannot be used.
    #[error("{place}: {source}")]
    Store {
        /// Where it is.
        place: String,
        /// Why.
        source: io::Error,
    },
}

impl BlobError {
    /// Whether there is no room left.
    pub fn is_full(&self) -> bool {
        let (Self::Io { source, .. } | Self::Store { source, .. }) = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// The SHA-256 of bytes. No other text becomes one, and so no text of a user ever becomes a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The name of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for BlobId {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let wrong = || BlobError::Name(text.chars().take(80).collect());
        let digit = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(wrong()),
        };
        let mut id = [0; 32];
        if text.len() != 64 {
            return Err(wrong());
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

/// Where blobs are.
///
/// A blob is visible under its name as a whole or not at all. When [`BlobStore::put`] returns, the blob outlives a power cut;
/// only then may a row name it. Putting what is there is no error and costs a look. Nothing is ever overwritten.
#[async_trait]
pub trait BlobStore: Send + Sync + fmt::Debug {
    /// Stores bytes durably.
    ///
    /// # Errors
    /// When they cannot be made durable; nothing is promised about them then.
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId, BlobError>;

    /// The bytes, which were compared with their name.
    ///
    /// # Errors
    /// A blob that is not there or damaged.
    async fn get(&self, id: BlobId) -> Result<Vec<u8>, BlobError>;

    /// Removes a blob; one that is not there is removed already.
    ///
    /// # Errors
    /// When it cannot be removed.
    async fn delete(&self, id: BlobId) -> Result<(), BlobError>;

    /// All blobs and when they were last put, in milliseconds since 1970, for the clean-up to compare with the rows.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(&self) -> Result<Vec<(BlobId, i64)>, BlobError>;
}
