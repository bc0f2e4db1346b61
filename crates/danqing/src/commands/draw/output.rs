//! Where pictures go: names, size, marks.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{
    EncodeOptions, Filter, Format, Infotext, Picture, ResizeOptions, remove_leftovers, resize, save,
};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Link, enlarge_to};

use crate::commands::Invocation;
use crate::failure::Failure;
use crate::wire::NamedUpscaler;

/// Side in pixels that the starter's pictures are brought to.
pub(super) const STARTER_SIDE: u32 = 512;

/// Where and how pictures are written.
pub(super) struct Output {
    path: Option<PathBuf>,
    several: bool,
    options: EncodeOptions,
    source: DigitalSourceType,
    /// The size to write, where it is not the one that is drawn.
    enlarged: Option<(u32, u32)>,
    /// What makes pictures as large; a filter where there is none.
    networks: Vec<NamedUpscaler>,
}

impl Output {
    /// Checks that pictures can be written before any is drawn.
    ///
    /// # Errors
    /// An ending that names no format, or a folder that cannot be written to.
    pub(super) fn new(invocation: &Invocation, several: bool, composite: bool) -> Result<Self, Failure> {
        let writable = |path: &Path| match folder_of(path) {
            folder if folder.is_dir() => writable(path),
            folder => Err(Failure::Failed(invocation.messages().no_folder(&folder.display().to_string()))),
        };
        let path = invocation.path("output").map(Path::to_owned);
        if let Some(path) = &path {
            Format::for_labelled(path).map_err(|e| Failure::of(&e))?;
            writable(path)?;
            remove_leftovers(folder_of(path));
        }
        for name in ["preview", "save-run"] {
            let Some(path) = invocation.path(name) else { continue };
            if name == "preview" {
                Format::for_writing(path).map_err(|e| Failure::of(&e))?;
            }
            writable(path)?;
        }
        let source = match composite {
            true => DigitalSourceType::CompositeWithTrainedAlgorithmicMedia,
            false => DigitalSourceType::TrainedAlgorithmicMedia,
        };
        let options = invocation.encoding();
        Ok(Self { path, several, options, source, enlarged: None, networks: Vec::new() })
    }

    /// From now on pictures are brought to this size.
    pub(super) fn enlarge_to(&mut self, size: (u32, u32)) {
        self.enlarged = Some(size);
    }

    /// From now on they become larger by networks.
    pub(super) fn enlarge_by(&mut self, networks: Vec<NamedUpscaler>) {
        self.networks = networks;
    }

    /// The picture at the size to be written, and the name of what brought it there if it was drawn at another.
    ///
    /// # Errors
    /// When it does not fit into memory.
    pub(super) fn sized(&self, picture: Picture) -> Result<(Picture, Option<String>), Failure> {
        let Some((w, h)) = self.enlarged.filter(|size| *size != (picture.width(), picture.height())) else {
            return Ok((picture, None));
        };
        if self.networks.is_empty() {
            let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
            return Ok((resize(&picture, w, h, &options).map_err(|e| Failure::of(&e))?, Some("Lanczos".into())));
        }
        let links: Vec<Link<'_>> = self.networks.iter().map(|n| Link::whole(n.network.as_ref())).collect();
        let enlarged = enlarge_to(&picture, &links, (w, h), &EnlargeOptions::default(), &Quiet);
        let names: Vec<&str> = self.networks.iter().map(|network| network.name.as_str()).collect();
        Ok((enlarged.map_err(|e| Failure::of(&e))?, Some(names.join(" + "))))
    }

    /// Writes a picture with its marks and returns its name.
    ///
    /// # Errors
    /// When it cannot be written; then nothing is left under the name.
    pub(super) fn write(&self, mut picture: Picture, infotext: &Infotext, seed: u64) -> Result<PathBuf, Failure> {
        picture.metadata.set_infotext(infotext.to_string());
        picture.metadata.set_digital_source_type(self.source);
        let path = match &self.path {
            Some(path) if !self.several => path.clone(),
            Some(path) => free(path, true),
            None => free(Path::new(&format!("danqing-{seed}.png")), false),
        };
        save(&path, &picture, &self.options).map_err(|e| Failure::of(&e))?;
        Ok(path)
    }
}

/// The first name of the row that no file has: `cats-1.png`, `cats-2.png` …; `cats.png` itself first if not `numbered`.
fn free(path: &Path, numbered: bool) -> PathBuf {
    if !numbered && !path.exists() {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let names = (1u64..).map(|n| path.with_file_name(format!("{stem}-{n}.{ending}")));
    names.into_iter().find(|p| !p.exists()).unwrap_or_else(|| path.to_owned())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Tries whether a file could be made beside `path`, without leaving one.
fn writable(path: &Path) -> Result<(), Failure> {
    let probe = folder_of(path).join(format!(".danqing-{}-probe.tmp", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    match made {
        Ok(_) if path.is_dir() => {
            let _ = std::fs::remove_file(&probe);
            Err(Failure::Failed(format!(
                "{}: {}",
                path.display(),
                std::io::Error::from(std::io::ErrorKind::IsADirectory)
            )))
        }
        Ok(_) => std::fs::remove_file(&probe).map_err(|e| Failure::of(&e)),
        Err(e) => Err(Failure::Failed(format!("{}: {e}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_never_meet_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cats.png");
        assert_eq!(free(&path, true), folder.path().join("cats-1.png"));
        std::fs::write(folder.path().join("cats-1.png"), "x").unwrap();
        assert_eq!(free(&path, true), folder.path().join("cats-2.png"));
        assert_eq!(free(&path, false), path);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(free(&path, false), folder.path().join("cats-2.png"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        assert!(writable(&folder.path().join("no/cats.png")).is_err());
        assert!(writable(folder.path()).is_err());
        assert!(writable(&folder.path().join("cats.png")).is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
