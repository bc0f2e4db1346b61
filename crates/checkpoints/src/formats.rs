//! The formats of weight files and how their first bytes tell them apart.

use std::path::Path;
use std::sync::Arc;

use crate::blob::Blob;
use crate::{Weights, WeightsError, folder, index, safetensors, torch};

/// One format of weight files.
pub struct Format {
    /// Short name, as in messages.
    pub id: &'static str,
    /// What it is, for lists.
    pub title: &'static str,
    /// Usual file name suffixes, lower case, without the dot.
    pub suffixes: &'static [&'static str],
    detect: fn(&Head<'_>) -> bool,
    open: fn(&Arc<Blob>) -> Result<Weights, WeightsError>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Format({})", self.id)
    }
}

/// What detection looks at.
struct Head<'a> {
    bytes: &'a [u8],
    /// File name in lower case.
    name: &'a str,
}

/// Every format that is read, in the order of detection.
pub static FORMATS: &[Format] = &[
    Format {
        id: "torch archive",
        title: "PyTorch checkpoint (ZIP archive, 1.6 and later)",
        suffixes: &["pt", "pth", "ckpt", "bin"],
        detect: |head| head.bytes.starts_with(b"PK\x03\x04") || head.bytes.starts_with(b"PK\x05\x06"),
        open: torch::parse_zip,
    },
    Format {
        id: "torch stream",
        title: "PyTorch checkpoint (stream, before 1.6)",
        suffixes: &["pt", "pth", "ckpt", "bin"],
        detect: |head| head.bytes.starts_with(torch::LEGACY_MAGIC),
        open: torch::parse_legacy,
    },
    Format {
        id: "index",
        title: "index of a checkpoint in several files",
        suffixes: &["index.json"],
        detect: |head| head.name.ends_with(".json") && head.bytes.first() == Some(&b'{'),
        open: index::parse,
    },
    Format {
        id: "safetensors",
        title: "safetensors",
        suffixes: &["safetensors", "sft"],
        detect: |head| {
            let named = [".safetensors", ".sft"].iter().any(|suffix| head.name.ends_with(suffix));
            named && !matches!(head.bytes, [b'<' | b'v', ..]) || head.bytes.get(8) == Some(&b'{')
        },
        open: safetensors::parse,
    },
];

/// Files that are not weights danqing reads, with what to say about them.
const STRANGERS: &[(&[u8], &str, &str)] = &[
    (b"GGUF", "this is a GGUF file, which is not yet readable", "Use the safetensors form of the model"),
    (b"\x89HDF", "this is an HDF5 (Keras) file, which is not readable", "Convert it to safetensors"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive", "Unpack it and name the file inside"),
    (b"\x1f\x8b", "this is a gzip archive", "Unpack it and name the file inside"),
    (b"Rar!", "this is a RAR archive", "Unpack it and name the file inside"),
    (
        b"version https://git-lfs",
        "this is a Git LFS pointer, not the file itself",
        "Fetch the file with `git lfs pull`",
    ),
    (b"<", "this is a web page or XML, not a weight file", "The download probably failed: fetch the file again"),
    (b"\x89PNG", "this is a picture", "Name a weight file"),
    (b"\xff\xd8\xff", "this is a picture", "Name a weight file"),
    (
        b"7767517\n",
        "this is an ncnn network, which is read for upscalers only",
        "Use the safetensors or PyTorch form of the model",
    ),
    (
        b"\xdd\x85\x76\x00",
        "this is a binary ncnn parameter file, which is not readable",
        "Use the safetensors or PyTorch form of the model",
    ),
    (
        b"Gk0\x01",
        "this is an ncnn weight file, which is read for upscalers only",
        "Use the safetensors or PyTorch form of the model",
    ),
    (
        b"\x80",
        "this is a bare Python pickle that torch.save did not make",
        "Load it where it was made and save the state dictionary as safetensors",
    ),
];

/// True when a file's name ends as weight files' names do, readable or not: what a search through folders looks at.
pub fn is_weight_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_lowercase();
    let unread = ["gguf", "pkl"].iter();
    let mut suffixes = FORMATS.iter().flat_map(|format| format.suffixes).chain(unread);
    suffixes.any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.')))
}

/// Opens a file or folder of any format.
pub(crate) fn open(path: &Path) -> Result<Weights, WeightsError> {
    if path.is_dir() {
        return open(&folder::find(path, None)?);
    }
    let blob = Arc::new(Blob::open(path)?);
    parse(&blob)
}

/// Reads bytes of any format; the blob's name stands for the file name.
pub(crate) fn parse(blob: &Arc<Blob>) -> Result<Weights, WeightsError> {
    let bytes = blob.range(0..blob.len().min(512))?;
    let name = blob.name().to_lowercase();
    let head = Head { bytes, name: &name };
    if let Some(format) = FORMATS.iter().find(|format| (format.detect)(&head)) {
        return (format.open)(blob);
    }
    let (problem, mend) = stranger(bytes);
    Err(WeightsError::NotReadable { file: blob.name().to_owned(), problem, mend })
}

fn stranger(bytes: &[u8]) -> (String, &'static str) {
    if bytes.is_empty() {
        return ("this file is empty".to_owned(), "The download probably failed: fetch the file again");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return (
            "this is a tar archive, or a checkpoint of PyTorch 0.1".to_owned(),
            "Unpack it, or save it again as safetensors",
        );
    }
    if let Some((_, problem, mend)) = STRANGERS.iter().find(|(magic, _, _)| bytes.starts_with(magic)) {
        return ((*problem).to_owned(), mend);
    }
    let known: Vec<&str> = FORMATS.iter().map(|format| format.id).collect();
    (
        format!("its first bytes are of no known weight format ({})", known.join(", ")),
        "Name a .safetensors, .ckpt, .pt, .pth or .bin file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_files_are_known_by_name() {
        for name in ["a.safetensors", "models/B.CKPT", "x.vae.pt", "m.gguf", "model.safetensors.index.json"] {
            assert!(is_weight_file(Path::new(name)), "{name}");
        }
        for name in ["a.json", "safetensors", ".pt", "a.safetensors.tmp", "config.yaml"] {
            assert!(!is_weight_file(Path::new(name)), "{name}");
        }
    }
}
