//! Where a checkpoint's vocabulary is. Single-file checkpoints hold none, so it is looked for where people have it: in the
//! checkpoint's own folder, in the folder trees of diffusers, ComfyUI and A1111, in the Hugging Face cache, and where the
//! variable `DANQING_CLIP_VOCAB` or a setting points.

use std::path::{Path, PathBuf};

use super::{ClipTokenizer, TokenizerError};

/// Which of a model's tokenizers is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The first or only one (`tokenizer/`).
    First,
    /// SDXL's second one (`tokenizer_2/`), which pads with `!`.
    Second,
}

/// A vocabulary that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A folder with `vocab.json` and `merges.txt`, or `tokenizer.json`.
    Folder(PathBuf),
    /// OpenAI's `bpe_simple_vocab_16e6.txt.gz`.
    Bpe(PathBuf),
}

impl Found {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Bpe(path) => path,
        }
    }

    /// Loads it.
    ///
    /// # Errors
    /// As [`ClipTokenizer::from_folder`] and [`ClipTokenizer::from_bpe`].
    pub fn load(&self) -> Result<ClipTokenizer, TokenizerError> {
        match self {
            Self::Folder(path) => ClipTokenizer::from_folder(path),
            Self::Bpe(path) => ClipTokenizer::from_bpe(path),
        }
    }
}

/// Folders to look into, relative to the checkpoint's folder or one of its parents: ComfyUI's `comfy/`, A1111's
/// `repositories/`, the packages of a Python environment that these bring along.
const IN_TREES: [&str; 6] = [
    "comfy/sd1_tokenizer",
    "repositories/stable-diffusion-stability-ai/ldm/modules/encoders",
    "repositories/generative-models/sgm/modules/encoders",
    "repositories/CLIP/clip",
    "backend/huggingface/runwayml/stable-diffusion-v1-5/tokenizer",
    "backend/huggingface/stabilityai/stable-diffusion-xl-base-1.0/tokenizer",
];

/// Repositories of the Hugging Face cache that carry CLIP's vocabulary.
const CACHED: [&str; 7] = [
    "models--openai--clip-vit-large-patch14",
    "models--stable-diffusion-v1-5--stable-diffusion-v1-5",
    "models--runwayml--stable-diffusion-v1-5",
    "models--stabilityai--stable-diffusion-xl-base-1.0",
    "models--stabilityai--stable-diffusion-2-1",
    "models--stabilityai--sdxl-turbo",
    "models--laion--CLIP-ViT-bigG-14-laion2B-39B-b160k",
];

/// How far above the checkpoint a program's root is looked for.
const PARENTS: usize = 5;

/// Looks for CLIP's vocabulary for the checkpoint `checkpoint` (file or folder); `extra` are places of the user's own
/// choosing (files or folders, e.g. from the settings), which come first, then `DANQING_CLIP_VOCAB`.
///
/// # Errors
/// [`TokenizerError::NotFound`] with a sentence that says which files to put where.
pub fn locate(checkpoint: &Path, extra: &[PathBuf], which: Which) -> Result<Found, TokenizerError> {
    let variable = std::env::var_os("DANQING_CLIP_VOCAB").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let hub = std::env::var_os("HF_HUB_CACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HF_HOME").map(|home| PathBuf::from(home).join("hub")))
        .or_else(|| home.map(|home| home.join(".cache/huggingface/hub")));
    let extra: Vec<PathBuf> = extra.iter().cloned().chain(variable).collect();
    search(checkpoint, &extra, hub.as_deref(), which).ok_or_else(|| TokenizerError::NotFound(advice(checkpoint)))
}

fn search(checkpoint: &Path, extra: &[PathBuf], hub: Option<&Path>, which: Which) -> Option<Found> {
    for place in extra {
        let found = if place.is_file() { recognise_file(place) } else { in_folder(place, which) };
        if found.is_some() {
            return found;
        }
    }
    let start = if checkpoint.is_dir() { checkpoint } else { checkpoint.parent()? };
    for (height, folder) in start.ancestors().take(PARENTS).enumerate() {
        let beside = if height < 2 { in_folder(folder, which) } else { None };
        let found = beside.or_else(|| IN_TREES.iter().find_map(|tree| in_folder(&folder.join(tree), which)));
        if found.is_some() {
            return found;
        }
    }
    CACHED.iter().find_map(|repository| in_cache(&hub?.join(repository), which))
}

fn recognise_file(file: &Path) -> Option<Found> {
    let name = file.file_name()?.to_str()?;
    if name.starts_with("bpe_simple_vocab") {
        return Some(Found::Bpe(file.to_owned()));
    }
    let folder = file.parent()?;
    (matches!(name, "vocab.json" | "merges.txt" | "tokenizer.json") && is_tokenizer(folder))
        .then(|| Found::Folder(folder.to_owned()))
}

fn is_tokenizer(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    (has("vocab.json") && has("merges.txt")) || has("tokenizer.json")
}

/// A vocabulary in `folder` itself or in the tokenizer folders of a diffusers model there.
fn in_folder(folder: &Path, which: Which) -> Option<Found> {
    let order = match which {
        Which::First => ["tokenizer", "tokenizer_2", "clip", ""],
        Which::Second => ["tokenizer_2", "", "tokenizer", "clip"],
    };
    for name in order {
        let place = if name.is_empty() { folder.to_owned() } else { folder.join(name) };
        // A folder named `tokenizer_2` or without a name may hold another model's (T5, Llama) tokenizer.json.
        if is_tokenizer(&place) && looks_like_clip(&place) {
            return Some(Found::Folder(place));
        }
    }
    ["bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"]
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .map(Found::Bpe)
}

fn looks_like_clip(folder: &Path) -> bool {
    folder.join("vocab.json").is_file() || ClipTokenizer::from_folder(folder).is_ok()
}

fn in_cache(repository: &Path, which: Which) -> Option<Found> {
    let mut snapshots: Vec<PathBuf> =
        std::fs::read_dir(repository.join("snapshots")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    snapshots.sort();
    snapshots.iter().find_map(|snapshot| in_folder(snapshot, which))
}

fn advice(checkpoint: &Path) -> String {
    let folder = checkpoint.parent().unwrap_or(checkpoint).display();
    format!(
        "{}: this checkpoint holds no vocabulary for its text encoder, and none was found nearby. Put CLIP's `vocab.json` and \
         `merges.txt` (both are in the `tokenizer` folder of every Stable Diffusion model in diffusers' layout) into \
         `{folder}/tokenizer/`, or let the setting `clip_vocab` or the variable DANQING_CLIP_VOCAB name a folder that has them, \
         or OpenAI's file `bpe_simple_vocab_16e6.txt.gz`.",
        checkpoint.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("danqing-locate-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    fn put(root: &Path, folder: &str) -> PathBuf {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["vocab.json", "merges.txt"] {
            std::fs::write(folder.join(name), "{}").unwrap();
        }
        folder
    }

    #[test]
    fn finds_the_usual_places() {
        let root = tree("places");
        let checkpoint = root.join("models/checkpoints/model.safetensors");
        std::fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
        assert_eq!(search(&checkpoint, &[], None, Which::First), None);

        let cached = put(&root, "hub/models--openai--clip-vit-large-patch14/snapshots/abc");
        let hub = root.join("hub");
        assert_eq!(search(&checkpoint, &[], Some(&hub), Which::First), Some(Found::Folder(cached)));

        let comfy = put(&root, "comfy/sd1_tokenizer");
        assert_eq!(search(&checkpoint, &[], Some(&hub), Which::First), Some(Found::Folder(comfy)));

        let beside = put(&root, "models/checkpoints/tokenizer");
        let second = put(&root, "models/checkpoints/tokenizer_2");
        assert_eq!(search(&checkpoint, &[], None, Which::First), Some(Found::Folder(beside)));
        assert_eq!(search(&checkpoint, &[], None, Which::Second), Some(Found::Folder(second)));

        let bpe = root.join("bpe_simple_vocab_16e6.txt.gz");
        std::fs::write(&bpe, []).unwrap();
        assert_eq!(search(&checkpoint, std::slice::from_ref(&bpe), None, Which::First), Some(Found::Bpe(bpe)));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn says_what_to_put_where() {
        let text = advice(Path::new("/models/a.safetensors"));
        assert!(
            text.contains("/models/tokenizer/") && text.contains("vocab.json") && text.contains("DANQING_CLIP_VOCAB")
        );
    }
}
