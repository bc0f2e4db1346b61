//! Where committed fixtures and the optional real assets lie.

use std::path::{Path, PathBuf};

/// The root of the repository this crate was compiled in.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The path of a file or folder under `fixtures/`.
pub fn fixture_path(relative: impl AsRef<Path>) -> PathBuf {
    repository().join("fixtures").join(relative)
}

/// The folder of real weights and pictures named by `DANQING_TEST_ASSETS`, or `None` after printing that the test was
/// skipped.
pub fn assets() -> Option<PathBuf> {
    let folder = std::env::var_os("DANQING_TEST_ASSETS").filter(|v| !v.is_empty());
    if folder.is_none() {
        println!("skipped: DANQING_TEST_ASSETS is not set");
    }
    folder.map(PathBuf::from)
}
