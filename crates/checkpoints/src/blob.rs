//! Where stored bytes live: a mapped file, memory of the program itself, or a buffer. The only `unsafe` of this crate.
//!
//! A mapped file that another process truncates would answer a read behind its new end with SIGBUS, which ends the
//! process. [`Blob::range`] therefore asks for the file's length again at every read and refuses when it has shrunk; a
//! truncation between that question and the read cannot be caught (see `docs/shortcomings.md`). Replacing a file by
//! renaming, as all our own writers do, never touches an open map.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::WeightsError;

/// Immutable bytes with a name for messages.
#[derive(Debug)]
pub(crate) struct Blob {
    name: String,
    path: Option<PathBuf>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped { map: Mmap, file: File },
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Blob {
    /// Maps `path` for reading.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let file = File::open(path).map_err(|e| WeightsError::io(path, "open", e))?;
        let metadata = file.metadata().map_err(|e| WeightsError::io(path, "open", e))?;
        let name = path.display().to_string();
        if !metadata.is_file() {
            return Err(WeightsError::NotReadable {
                file: name,
                problem: "this is not a regular file".to_owned(),
                mend: "Name a weight file, or a folder that holds one",
            });
        }
        if metadata.len() == 0 {
            return Ok(Self { name, path: Some(path.to_owned()), bytes: Bytes::Static(&[]) });
        }
        let map = map_file(&file).map_err(|e| WeightsError::io(path, "map", e))?;
        Ok(Self { name, path: Some(path.to_owned()), bytes: Bytes::Mapped { map, file } })
    }

    pub(crate) fn from_static(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: name.to_owned(), path: None, bytes: Bytes::Static(bytes) }
    }

    pub(crate) fn from_vec(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), path: None, bytes: Bytes::Owned(bytes) }
    }

    /// File name or other origin, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the file is, when it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn len(&self) -> usize {
        match &self.bytes {
            Bytes::Mapped { map, .. } => map.len(),
            Bytes::Static(bytes) => bytes.len(),
            Bytes::Owned(bytes) => bytes.len(),
        }
    }

    /// The bytes of `range`, after asking again that the file still has them.
    ///
    /// # Errors
    /// When the range does not lie in the blob, or the file has become shorter since it was opened.
    pub(crate) fn range(&self, range: Range<usize>) -> Result<&[u8], WeightsError> {
        let all: &[u8] = match &self.bytes {
            Bytes::Mapped { map, file } => {
                let now = file.metadata().map_err(|e| WeightsError::io(Path::new(&self.name), "read", e))?.len();
                if now < map.len() as u64 {
                    return Err(WeightsError::NotReadable {
                        file: self.name.clone(),
                        problem: format!("the file was cut from {} to {now} bytes while it was open", map.len()),
                        mend: "Let no other program write to a weight file in use, and open it again",
                    });
                }
                map
            }
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        };
        let (start, end, len) = (range.start, range.end, all.len());
        all.get(range).ok_or_else(|| WeightsError::NotReadable {
            file: self.name.clone(),
            problem: format!("bytes {start}..{end} were asked of {len}"),
            mend: crate::error::MEND_DOWNLOAD,
        })
    }

    /// All bytes; see [`Blob::range`].
    pub(crate) fn all(&self) -> Result<&[u8], WeightsError> {
        self.range(0..self.len())
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private and read-only, and is dropped before or with `file`. Bytes that another process changes
    // are plain numbers to every reader here: headers are validated from one copy or re-checked by bounds, and tensor data
    // has no invalid bit patterns. Truncation is guarded in `Blob::range` as far as the system allows.
    unsafe { Mmap::map(file) }
}
