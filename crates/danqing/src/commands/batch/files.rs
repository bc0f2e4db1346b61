//! Which pictures are worked on, and where each goes.

use std::path::{Path, PathBuf};

use danqing_imaging::Format;
use danqing_imaging::animation::gif_moves;

use crate::commands::Invocation;
use crate::failure::Failure;

/// One picture's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands) struct Job {
    /// The picture.
    pub(in crate::commands) from: PathBuf,
    /// Where the result goes.
    pub(in crate::commands) to: PathBuf,
}

/// How a command's results are called.
pub(in crate::commands) struct Naming {
    /// The command, for its help.
    pub(in crate::commands) command: &'static str,
    /// What stands behind the picture's name where no folder was named.
    pub(in crate::commands) suffix: &'static str,
    /// The ending of the result of a picture.
    pub(in crate::commands) ending: fn(&Path) -> String,
    /// Whether DICOM files are written.
    pub(in crate::commands) medical: bool,
}

/// Every picture of the line, folders opened, with where it goes; nothing is read or written yet but a missing output folder
/// is made.
///
/// # Errors
/// No pictures, a folder that cannot be read, an output that is a file where several pictures come, or two with one result.
pub(in crate::commands) fn jobs(invocation: &Invocation, naming: &Naming) -> Result<Vec<Job>, Failure> {
    let messages = invocation.messages();
    let given = invocation.paths("files");
    if given.is_empty() {
        return Err(Failure::Usage(messages.see_help(naming.command)));
    }
    let mut pictures = Vec::new();
    for path in given {
        if !path.is_dir() {
            pictures.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))?;
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| p.is_file() && (Format::is_known_ending(p) || (naming.medical && is_medical(p))))
            .collect();
        inside.sort();
        pictures.extend(inside);
    }
    if pictures.is_empty() {
        return Err(Failure::Failed(messages.no_pictures()));
    }
    let output = invocation.path("output");
    let single = pictures.len() == 1 && given.iter().all(|path| !path.is_dir());
    if let (true, Some(path)) = (single, output)
        && !path.is_dir()
        && path.extension().is_some()
    {
        if !(naming.medical && is_medical(path)) {
            Format::for_labelled(path).map_err(|e| Failure::of(&e))?;
        }
        return Ok(vec![Job { from: pictures.remove(0), to: path.to_owned() }]);
    }
    if let Some(folder) = output {
        std::fs::create_dir_all(folder).map_err(|e| Failure::Failed(format!("{}: {e}", folder.display())))?;
    }
    let jobs: Vec<Job> = pictures.into_iter().map(|from| Job { to: result_of(&from, output, naming), from }).collect();
    let mut results: Vec<&Path> = jobs.iter().map(|job| job.to.as_path()).collect();
    results.sort();
    match results.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure::Failed(messages.same_result(&pair[0].display().to_string()))),
        None => Ok(jobs),
    }
}

/// Whether a path has the ending of DICOM files.
pub(in crate::commands) fn is_medical(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["dcm", "dicom"].iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Where the result of a picture goes: of its name in `folder`, or beside it with the command's suffix.
fn result_of(from: &Path, folder: Option<&Path>, naming: &Naming) -> PathBuf {
    let stem = from.file_stem().unwrap_or_default().to_string_lossy();
    let ending = (naming.ending)(from);
    match folder {
        Some(folder) => folder.join(format!("{stem}.{ending}")),
        None => from.with_file_name(format!("{stem}-{}.{ending}", naming.suffix)),
    }
}

/// The picture's own ending. What cannot be written in its format, or would lose colours there as a GIF that stands still, becomes PNG.
pub(in crate::commands) fn own_ending(from: &Path) -> String {
    match from.extension() {
        Some(ending) if is_medical(from) || keeps_format(from) => ending.to_string_lossy().into_owned(),
        _ => "png".into(),
    }
}

fn keeps_format(from: &Path) -> bool {
    match Format::for_labelled(from) {
        // One that cannot be read fails later, with the reason.
        Ok(Format::Gif) => gif_moves(from),
        other => other.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_names_and_formats_that_can_be_written() {
        let naming = Naming { command: "", suffix: "enlarged", ending: own_ending, medical: true };
        let to = |from: &str, folder: Option<&str>| result_of(Path::new(from), folder.map(Path::new), &naming);
        assert_eq!(to("a/b.jpg", None), Path::new("a/b-enlarged.jpg"));
        assert_eq!(to("a/b.PNG", Some("c")), Path::new("c/b.PNG"));
        assert_eq!(to("a/b.gif", Some("c")), Path::new("c/b.png"));
        assert_eq!(to("a/b.avif", None), Path::new("a/b-enlarged.png"));
        assert_eq!(to("a/b.dcm", None), Path::new("a/b-enlarged.dcm"));
    }
}
