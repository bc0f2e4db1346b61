//! The repository's files, without what git ignores.

use std::path::{Path, PathBuf};

/// Folders that are never part of the repository.
const IGNORED: [&str; 4] = [".git", "target", "runs", "__pycache__"];

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// One file with its path as text from the root, `/` between parts.
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) bytes: u64,
}

impl Entry {
    /// Its contents, or `None` when they are not text.
    pub(crate) fn text(&self) -> Option<String> {
        std::fs::read(root().join(&self.path)).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// The file name's ending without the dot, or the whole name when there is none.
    pub(crate) fn suffix(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// All files in path order. In a git checkout: tracked ones and new ones that are not ignored.
pub(crate) fn files() -> Vec<Entry> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let mut paths: Vec<String> = match crate::process::output(&mut git) {
        Ok(list) => list.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        Err(_) => {
            let mut found = Vec::new();
            walk(&root(), String::new(), &mut found);
            found
        }
    };
    paths.sort();
    paths.dedup();
    let entry = |path: String| {
        let metadata = std::fs::metadata(root().join(&path)).ok().filter(std::fs::Metadata::is_file)?;
        Some(Entry { path, bytes: metadata.len() })
    };
    paths.into_iter().filter_map(entry).collect()
}

fn walk(folder: &Path, prefix: String, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if IGNORED.contains(&name.as_str()) || name.starts_with("target-") {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            walk(&entry.path(), format!("{path}/"), found);
        } else {
            found.push(path);
        }
    }
}
