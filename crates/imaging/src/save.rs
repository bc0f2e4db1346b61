//! Files that are there whole or not at all: written beside their name, flushed, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ImagingError;

/// How the name of a file under construction begins and ends; process and number stand between.
const HIDDEN: (&str, &str) = (".danqing-", ".tmp");
/// What changed within this time is left alone: a file that was just made has no lock yet.
const YOUNG: Duration = Duration::from_secs(60);

/// Writes `bytes` to `path`: into a hidden file in the same folder, to the disk, then renamed over `path`. If
/// anything fails, an older file under that name stays as it was and nothing new is left.
///
/// # Errors
/// [`ImagingError::Write`] with the reason in plain words: no space, no permission, no such folder.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ImagingError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut AtomicFile) -> io::Result<()>) -> Result<(), ImagingError> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file).map_err(|source| file.failed(source))?;
    file.commit()
}

/// Takes away what killed runs left in `folder`: hidden files under construction on which no process holds its lock. Returns how
/// many there were. What cannot be read, locked or removed is left alone.
pub fn remove_leftovers(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let left = entries.filter(|entry| {
        let named = entry.file_name().to_str().is_some_and(is_hidden_name);
        named && entry.file_type().is_ok_and(|kind| kind.is_file()) && is_left(&entry.path())
    });
    left.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

fn is_hidden_name(name: &str) -> bool {
    let middle = name.strip_prefix(HIDDEN.0).and_then(|rest| rest.strip_suffix(HIDDEN.1));
    let process = middle.and_then(|middle| middle.split_once('-')).map(|(process, _)| process);
    process.is_some_and(|process| !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a file is old enough, and nobody's: the system gives a lock back when its process is gone, also on another machine.
fn is_left(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().write(true).open(path) else { return false };
    let age = file.metadata().and_then(|m| m.modified()).ok().and_then(|changed| changed.elapsed().ok());
    age.is_some_and(|age| age >= YOUNG) && file.try_lock().is_ok()
}

/// A file under construction: hidden beside its name until [`AtomicFile::commit`] puts it there, gone when it is dropped
/// before.
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    /// `None` once the file is under its name.
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Begins a file that shall be `path`.
    ///
    /// # Errors
    /// [`ImagingError::Write`] with the reason in plain words.
    pub fn create(path: &Path) -> Result<Self, ImagingError> {
        let failed = |source: io::Error| ImagingError::Write { path: path.to_owned(), hint: hint(&source), source };
        if path.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let (temporary, file) = create_beside(folder_of(path)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), temporary, file: Some(BufWriter::with_capacity(1 << 17, file)) })
    }

    /// Brings everything to the disk and puts the file under its name.
    ///
    /// # Errors
    /// [`ImagingError::Write`]; an older file under the name is then as it was.
    pub fn commit(mut self) -> Result<(), ImagingError> {
        let written = self.stream().and_then(BufWriter::flush);
        let synced = written.and_then(|()| self.stream()?.get_ref().sync_all());
        synced.and_then(|()| fs::rename(&self.temporary, &self.path)).map_err(|source| self.failed(source))?;
        self.file = None;
        // The rename itself is made durable where the system can; where it cannot, the file is whole all the same.
        if let Ok(folder) = File::open(folder_of(&self.path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    fn stream(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn failed(&self, source: io::Error) -> ImagingError {
        ImagingError::Write { path: self.path.clone(), hint: hint(&source), source }
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream()?.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.stream()?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // What is still in the buffer has nowhere to go.
            let _ = file.into_parts();
            // The error that counts came before; a file that cannot be removed is at least not under the name.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn create_beside(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}{}-{number}{}", HIDDEN.0, std::process::id(), HIDDEN.1));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                // Where the file system knows no locks, what a killed run leaves stays.
                let _ = file.try_lock();
                return Ok((path, file));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
}

fn hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "there is no space left on the disk".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::PermissionDenied => "its folder may not be written to".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "its folder lies on a read-only file system".to_owned(),
        io::ErrorKind::NotFound => "its folder does not exist".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a folder".to_owned(),
        io::ErrorKind::IsADirectory => "there is a folder of that name".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("danqing-imaging-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap();
            names.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = Folder::new("full");
        let path = folder.0.join("cat.png");
        write_atomic(&path, b"old").unwrap();
        let failed = write_atomic_with(&path, |file| {
            file.write_all(b"half of the ne")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        let message = failed.map_err(|e| e.to_string()).unwrap_err();
        assert!(message.contains("no space left"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(folder.names(), ["cat.png"]);
    }

    #[test]
    fn only_what_nobody_writes_any_more_is_taken_away() {
        let folder = Folder::new("leftovers");
        let names = [".danqing-12-0.tmp", ".danqing-12-probe.tmp", ".danqing-12-1.tmp", ".danqing-x.tmp", "a.tmp"];
        let old = std::time::SystemTime::now() - 2 * YOUNG;
        let mut files = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let file = File::create(folder.0.join(name)).unwrap();
            if i != 2 {
                file.set_modified(old).unwrap();
            }
            files.push(file);
        }
        drop(files);
        let writing = AtomicFile::create(&folder.0.join("cat.png")).unwrap();
        File::options().write(true).open(&writing.temporary).unwrap().set_modified(old).unwrap();
        assert_eq!(remove_leftovers(&folder.0), 2);
        let left = folder.names();
        assert_eq!(left.len(), 4);
        assert!(names[2..].iter().all(|name| left.iter().any(|l| l == name)), "{left:?}");
        writing.commit().unwrap();
        assert_eq!(remove_leftovers(&folder.0.join("gone")), 0);
    }

    #[test]
    fn missing_folders_and_folders_in_the_way_are_named() {
        let folder = Folder::new("missing");
        let missing = write_atomic(&folder.0.join("no/cat.png"), b"x").map_err(|e| e.to_string()).unwrap_err();
        assert!(missing.contains("does not exist"), "{missing}");
        let occupied = write_atomic(&folder.0, b"x").map_err(|e| e.to_string()).unwrap_err();
        assert!(occupied.contains("a folder of that name"), "{occupied}");
        assert!(folder.names().is_empty());
    }
}
