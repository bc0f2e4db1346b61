//! Writing a file so that its final name always holds either the old contents or all of the new ones.
//!
//! The bytes go to a temporary file in the same folder, are flushed to the disk (`fsync`), and the file is renamed. A
//! failed flush is never tried again: after it, what the system has kept is unknown.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::WeightsError;

/// Writes `path` through `fill`; on any error the old file stays and no part of the new one is left.
///
/// # Errors
/// When the folder cannot be written, the disk is full, or `fill` fails.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), WeightsError> {
    let (temporary, file) = create_beside(path)?;
    let guard = RemoveOnDrop(&temporary);
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let written = fill(&mut writer).and_then(|()| writer.flush()).and_then(|()| writer.get_ref().sync_all());
    drop(writer);
    written.and_then(|()| fs::rename(&temporary, path)).map_err(|e| WeightsError::io(path, "write", e))?;
    std::mem::forget(guard);
    sync_folder(path);
    Ok(())
}

fn create_beside(path: &Path) -> Result<(PathBuf, File), WeightsError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| WeightsError::Unwritable {
        path: path.to_owned(),
        problem: "the path does not end in a file name".to_owned(),
    })?;
    loop {
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{unique}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(e) => return Err(WeightsError::io(path, "write", e)),
        }
    }
}

struct RemoveOnDrop<'a>(&'a Path);

impl Drop for RemoveOnDrop<'_> {
    fn drop(&mut self) {
        // Nothing more can be done here: the caller already learns why the write failed.
        fs::remove_file(self.0).ok();
    }
}

/// Makes the rename itself durable where folders can be flushed; elsewhere the system decides.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        folder.sync_all().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("danqing-atomic-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.bin");
        write(&path, |w| w.write_all(b"old")).unwrap();
        let error = write(&path, |w| {
            w.write_all(b"new")?;
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().contains("Free some space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let error = write(Path::new("/nonexistent-folder/x.safetensors"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("/nonexistent-folder/x.safetensors"), "{error}");
        assert!(write(Path::new("/"), |_| Ok(())).is_err());
    }
}
