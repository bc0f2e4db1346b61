//! Blobs in a folder: `ab/abcdef…`, written beside under another name, made durable and renamed.
//!
//! A file's name is durable when its folder is, so both are synchronised. After a synchronisation that failed the kernel may have
//! dropped the bytes and forgotten that it did: the file is thrown away, never synchronised again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tempfile::NamedTempFile;

use super::{BlobError, BlobId, BlobStore};

/// The folder in which files have not their names yet.
const UNFINISHED: &str = "unfinished";
/// Unfinished files of programs that were killed are removed after this time.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Blobs in a folder.
#[derive(Debug, Clone)]
pub struct FolderBlobs {
    root: PathBuf,
}

impl FolderBlobs {
    /// Opens a folder, makes it where it is missing, and clears away what killed programs left behind a day ago or earlier.
    ///
    /// # Errors
    /// A folder that cannot be made or written to.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let store = Self { root: root.into() };
        let unfinished = store.root.join(UNFINISHED);
        let at = |source| BlobError::Store { place: store.root.display().to_string(), source };
        fs::create_dir_all(&unfinished).map_err(at)?;
        synchronise(&store.root).map_err(at)?;
        for entry in fs::read_dir(&unfinished).map_err(at)?.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                // Another program may have cleared it away just now.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(store)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.root.join(&name[..2]).join(name)
    }

    fn write(&self, id: BlobId, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(id);
        let folder = path.parent().unwrap_or(&self.root);
        if fs::metadata(&path).is_ok_and(|there| there.len() == bytes.len() as u64) {
            // Its writer may not have come to this yet. The time says to the clean-up that it is wanted again.
            File::options().append(true).open(&path)?.set_modified(SystemTime::now())?;
            return synchronise(folder);
        }
        if !folder.exists() {
            fs::create_dir_all(folder)?;
            synchronise(&self.root)?;
        }
        let mut file = NamedTempFile::new_in(self.root.join(UNFINISHED))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|e| e.error)?;
        synchronise(folder)
    }

    fn read(&self, id: BlobId) -> Result<Vec<u8>, BlobError> {
        let bytes = fs::read(self.path(id)).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlobError::Missing(id),
            _ => BlobError::Io { id, source },
        })?;
        if BlobId::of(&bytes) != id {
            return Err(BlobError::Damaged(id));
        }
        Ok(bytes)
    }

    fn all(&self) -> io::Result<Vec<(BlobId, i64)>> {
        let mut all = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            if folder.file_name() == UNFINISHED || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let file = file?;
                let Some(id) = file.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let put = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                all.push((id, i64::try_from(put.as_millis()).unwrap_or(i64::MAX)));
            }
        }
        Ok(all)
    }
}

/// Makes the names in a folder durable.
fn synchronise(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Runs what waits for the disk where waiting hinders nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, bytes: Vec<u8>) -> Result<BlobId, BlobError> {
        let store = self.clone();
        let id = BlobId::of(&bytes);
        let written = aside(move || store.write(id, &bytes)).await.and_then(|written| written);
        written.map(|()| id).map_err(|source| BlobError::Io { id, source })
    }

    async fn get(&self, id: BlobId) -> Result<Vec<u8>, BlobError> {
        let store = self.clone();
        aside(move || store.read(id)).await.map_err(|source| BlobError::Io { id, source })?
    }

    async fn delete(&self, id: BlobId) -> Result<(), BlobError> {
        let path = self.path(id);
        let removed = aside(move || fs::remove_file(path)).await.and_then(|removed| removed);
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BlobError::Io { id, source }),
            _ => Ok(()),
        }
    }

    async fn list(&self) -> Result<Vec<(BlobId, i64)>, BlobError> {
        let store = self.clone();
        let all = aside(move || store.all()).await.and_then(|all| all);
        all.map_err(|source| BlobError::Store { place: self.root.display().to_string(), source })
    }
}
