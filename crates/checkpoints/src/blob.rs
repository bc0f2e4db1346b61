//! Where stored bytes live: a mapped file, memory of the program itself, or a buffer. The only `unsafe` of this crate.
//!
//! Numbers are read through [`Blob::stream`], which asks the system for them block by block: a file cut short meanwhile is an
//! error, and the pages do not count as memory of this process. Directories, and the borrowed bytes of
//! [`crate::Weights::bytes`], come from the map. A mapped file that another process truncates would answer a read behind its
//! new end with SIGBUS, which ends the process; [`Blob::range`] therefore asks for the file's length again at every read and
//! refuses when it has shrunk. A truncation between that question and the read cannot be caught. Replacing a file by
//! renaming, as all our own writers do, never touches an open map.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::WeightsError;

/// Bytes per block of [`Blob::stream`]: fits the second-level cache, and holds whole elements of every type.
pub(crate) const STREAM_BLOCK: usize = 256 << 10;

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
        let opened = |e| WeightsError::io(path, "open", e);
        let name = path.display().to_string();
        // Asked before opening: opening a named pipe would wait for somebody to write to it.
        if !std::fs::metadata(path).map_err(opened)?.is_file() {
            return Err(WeightsError::NotReadable {
                file: name,
                problem: "this is not a regular file".to_owned(),
                mend: "Name a weight file, or a folder that holds one",
            });
        }
        let file = File::open(path).map_err(opened)?;
        let metadata = file.metadata().map_err(opened)?;
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
                    return Err(self.was_cut());
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

    /// Gives the bytes of `range` to `take`, front to back, in blocks of [`STREAM_BLOCK`] bytes and a rest.
    ///
    /// # Errors
    /// As [`Blob::range`].
    pub(crate) fn stream(&self, range: Range<usize>, mut take: impl FnMut(&[u8])) -> Result<(), WeightsError> {
        let Bytes::Mapped { map, file } = &self.bytes else {
            self.range(range)?.chunks(STREAM_BLOCK).for_each(take);
            return Ok(());
        };
        if range.end > map.len() || range.start > range.end {
            return self.range(range).map(drop);
        }
        let mut buffer = vec![0; range.len().min(STREAM_BLOCK)];
        let mut at = range.start;
        while at < range.end {
            let block = &mut buffer[..(range.end - at).min(STREAM_BLOCK)];
            read_at(file, block, at as u64).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.was_cut(),
                _ => WeightsError::io(Path::new(&self.name), "read", error),
            })?;
            take(block);
            at += block.len();
        }
        Ok(())
    }

    /// A copy of the bytes of `range`, which nobody can change between their check and their use.
    ///
    /// # Errors
    /// As [`Blob::range`].
    pub(crate) fn copy(&self, range: Range<usize>) -> Result<Vec<u8>, WeightsError> {
        let mut out = Vec::with_capacity(range.len().min(self.len()));
        self.stream(range, |block| out.extend_from_slice(block))?;
        Ok(out)
    }

    fn was_cut(&self) -> WeightsError {
        WeightsError::NotReadable {
            file: self.name.clone(),
            problem: format!("the file was cut while it was open; it had {} bytes", self.len()),
            mend: "Let no other program write to a weight file in use, and open it again",
        }
    }

    /// All bytes; see [`Blob::range`].
    pub(crate) fn all(&self) -> Result<&[u8], WeightsError> {
        self.range(0..self.len())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = &mut buffer[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and lives no longer than `file`. Should another process change the bytes, every reader
    // here copies text before it checks it, checks bounds on what it read, and takes tensors as plain numbers, which have no
    // invalid bit patterns. Truncation is guarded in `Blob::range` as far as the system allows.
    unsafe { Mmap::map(file) }
}
