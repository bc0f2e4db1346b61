//! Files that are there whole or not at all: written beside their name, flushed, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ImagingError;

/// Writes `bytes` to `path`: into a hidden file in the same folder, to the disk, then renamed over `path`. If
/// anything fails, an older file under that name stays as it was and nothing new is left.
///
/// # Errors
/// [`ImagingError::Write`] with the reason in plain words: no space, no permission, no such folder.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), ImagingError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

fn write_atomic_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), ImagingError> {
    let failed = |source: io::Error| ImagingError::Write { path: path.to_owned(), hint: hint(&source), source };
    if path.is_dir() {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let (temporary, mut file) = create_beside(folder).map_err(failed)?;
    let written = fill(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = written {
        // The error that counts is the first one; a file that cannot be removed is at least not under the name.
        let _ = fs::remove_file(&temporary);
        return Err(failed(source));
    }
    // The rename itself is made durable where the system can; where it cannot, the file is whole all the same.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn create_beside(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".danqing-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
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
    fn missing_folders_and_folders_in_the_way_are_named() {
        let folder = Folder::new("missing");
        let missing = write_atomic(&folder.0.join("no/cat.png"), b"x").map_err(|e| e.to_string()).unwrap_err();
        assert!(missing.contains("does not exist"), "{missing}");
        let occupied = write_atomic(&folder.0, b"x").map_err(|e| e.to_string()).unwrap_err();
        assert!(occupied.contains("a folder of that name"), "{occupied}");
        assert!(folder.names().is_empty());
    }
}
