//! What can go wrong with a picture, said so that the reader can mend it.

use std::path::PathBuf;

/// Error of every function in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// The bytes are not a picture of a known kind.
    #[error("{what} is not a picture that can be read here; known kinds: {known}")]
    UnknownFormat {
        /// What was looked at: "the file" or the first bytes.
        what: String,
        /// The kinds that can be read.
        known: &'static str,
    },
    /// The file name's ending names no kind of picture that can be written.
    #[error("{path:?}: the ending {extension:?} names no known kind of picture; known endings: {known}")]
    UnknownExtension {
        /// The file asked for.
        path: PathBuf,
        /// Its ending, empty when there is none.
        extension: String,
        /// The endings that can be written.
        known: &'static str,
    },
    /// The bytes begin like a picture but cannot be decoded.
    #[error("damaged {format} picture: {reason}")]
    Damaged {
        /// The kind of picture.
        format: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// The kind is known, a feature inside is not.
    #[error("{format} picture with something that is not supported: {reason}")]
    Unsupported {
        /// The kind of picture.
        format: &'static str,
        /// What it was.
        reason: String,
    },
    /// The picture is larger than the limits allow.
    #[error("the picture is too large: {what} is {found}, the limit is {limit}")]
    TooLarge {
        /// Which measure: "width", "height", "pixels", "bytes".
        what: &'static str,
        /// What the file says.
        found: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A picture with no pixels, or a buffer whose length does not fit the size.
    #[error("{width}x{height} with {channels} channels needs {expected} values, found {found}")]
    Shape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Channels per pixel.
        channels: usize,
        /// Values wanted.
        expected: u64,
        /// Values given.
        found: u64,
    },
    /// An argument outside its range.
    #[error("{name}: {reason}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The encoder refused (a side too long for the format, for example).
    #[error("cannot write this picture as {format}: {reason}")]
    Encode {
        /// The kind of picture.
        format: &'static str,
        /// Why.
        reason: String,
    },
    /// The process that decodes strangers' files could not do its work; nothing is said about the file.
    #[error("the decoder's own process: {reason}")]
    Child {
        /// What went wrong.
        reason: String,
    },
    /// Reading a file failed.
    #[error("cannot read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Writing a file failed; nothing was left under its name.
    #[error("cannot write {path:?}: {hint}; nothing was left under this name")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason in plain words.
        hint: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl ImagingError {
    pub(crate) fn damaged(format: &'static str, reason: impl Into<String>) -> Self {
        Self::Damaged { format, reason: reason.into() }
    }

    pub(crate) fn argument(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Argument { name, reason: reason.into() }
    }
}
