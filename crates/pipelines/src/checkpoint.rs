//! Opens checkpoints: a diffusers folder, a single file, the embedded starter; and lists what lies in a folder tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use danqing_checkpoints::{Weights, is_weight_file};
use danqing_models::families::ddpm::PixelDdpm;
use danqing_models::families::stable_diffusion::{Component, LoadOptions, ModelParts, Parts, StableDiffusion};
use danqing_models::tokenizers::{ClipTokenizer, Which, locate};
use danqing_sampling::PredictionType;
use danqing_tensor::DType;
use serde_json::Value;

use crate::TaskError;
use crate::tasks::pixels::PixelModel;

/// How a checkpoint is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Element type of weights and activations.
    pub dtype: DType,
    /// What the network predicts, where the checkpoint does not say.
    pub prediction: Option<PredictionType>,
    /// An autoencoder to use instead of the checkpoint's own: a file, its diffusers folder, or a folder with a `vae` in it.
    pub vae: Option<PathBuf>,
    /// Where CLIP's vocabulary may lie, for single files, which carry none.
    pub vocabularies: Vec<PathBuf>,
    /// Which weights are read.
    pub parts: Parts,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { dtype: DType::F32, prediction: None, vae: None, vocabularies: Vec::new(), parts: Parts::ALL }
    }
}

/// Largest configuration file that is read.
const MAX_CONFIG: u64 = 16 << 20;

/// Opens the model at `path`: a diffusers folder or a single file.
///
/// # Errors
/// What is missing, unreadable or does not fit, by name.
pub fn open(path: &Path, options: &OpenOptions) -> Result<StableDiffusion, TaskError> {
    if !path.exists() {
        return Err(TaskError::Checkpoint(format!("there is no model at {}", path.display())));
    }
    let mut parts = if path.is_dir() { folder(path)? } else { single(path, options)? };
    if let Some(vae) = &options.vae {
        let (ModelParts::Folder { autoencoder, .. } | ModelParts::Single { autoencoder, .. }) = &mut parts;
        *autoencoder = Some(lone_autoencoder(vae)?);
    }
    let load = LoadOptions { dtype: options.dtype, prediction: options.prediction, parts: options.parts };
    Ok(StableDiffusion::load(&parts, load)?)
}

fn name_of(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if full.is_dir() { full.file_name() } else { full.file_stem() };
    name.map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

fn json(path: &Path) -> Result<Option<Value>, TaskError> {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
    let bad = |why: String| TaskError::Checkpoint(format!("{}: {why}", path.display()));
    if meta.len() > MAX_CONFIG {
        return Err(bad(format!("{} bytes are too many for a configuration", meta.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|e| bad(format!("not valid JSON: {e}")))
}

/// Folders of a diffusers tree that drawing needs, where they are there.
const COMPONENTS: [&str; 5] = ["unet", "vae", "text_encoder", "text_encoder_2", "scheduler"];

fn folder(path: &Path) -> Result<ModelParts, TaskError> {
    let Some(index) = json(&path.join("model_index.json"))? else {
        return Err(TaskError::Checkpoint(format!(
            "{} holds no model_index.json: point at a diffusers folder or at a checkpoint file",
            path.display()
        )));
    };
    let mut components = BTreeMap::new();
    for name in COMPONENTS {
        let at = path.join(name);
        if !at.is_dir() {
            continue;
        }
        let file = if name == "scheduler" { "scheduler_config.json" } else { "config.json" };
        let Some(config) = json(&at.join(file))? else { continue };
        let weights = if name == "scheduler" { None } else { Some(Weights::open(&at)?) };
        components.insert(name.to_string(), Component { config, weights });
    }
    let mut tokenizers = BTreeMap::new();
    for name in ["tokenizer", "tokenizer_2"] {
        let at = path.join(name);
        if at.is_dir() {
            let tokenizer =
                ClipTokenizer::from_folder(&at).map_err(|e| TaskError::Checkpoint(format!("{}: {e}", at.display())))?;
            tokenizers.insert(name.to_string(), tokenizer);
        }
    }
    Ok(ModelParts::Folder { name: name_of(path), index, components, tokenizers, autoencoder: None })
}

/// An autoencoder by itself.
fn lone_autoencoder(path: &Path) -> Result<Component, TaskError> {
    let inside = path.join("vae");
    let path = if inside.join("config.json").is_file() { &inside } else { path };
    let config = if path.is_dir() { json(&path.join("config.json"))? } else { None };
    let weights = Weights::open(path)?.unwrapped();
    Ok(Component { config: config.unwrap_or(Value::Null), weights: Some(weights) })
}

fn single(path: &Path, options: &OpenOptions) -> Result<ModelParts, TaskError> {
    let weights = Weights::open(path)?.unwrapped();
    let vocabulary = |which| {
        let found = locate(path, &options.vocabularies, which).and_then(|f| f.load());
        found.map_err(|e| TaskError::Checkpoint(e.to_string()))
    };
    // OpenCLIP pads with the first token, whatever the vocabulary that was found says.
    let second = vocabulary(Which::Second).or_else(|_| vocabulary(Which::First))?.padding_with(0);
    let sidecar = ["yaml", "yml"].iter().find_map(|extension| {
        let at = path.with_extension(extension);
        let meta = std::fs::metadata(&at).ok().filter(|m| m.len() <= MAX_CONFIG)?;
        meta.is_file().then(|| std::fs::read_to_string(&at).ok())?
    });
    Ok(ModelParts::Single {
        name: name_of(path),
        weights,
        sidecar,
        tokenizers: [vocabulary(Which::First)?, second],
        autoencoder: None,
    })
}

/// Opens the network of pixels at `path`; `None` where the file is something else.
///
/// # Errors
/// A file that cannot be read, or such a network that is not whole.
pub fn open_pixels(path: &Path) -> Result<Option<PixelModel>, TaskError> {
    if !path.is_file() {
        return Ok(None);
    }
    let weights = Weights::open(path)?.unwrapped();
    if !PixelDdpm::detect(&weights) {
        return Ok(None);
    }
    Ok(Some(PixelModel { name: name_of(path), network: PixelDdpm::load(weights, DType::F32)? }))
}

/// A file or folder that may be a model.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Where it is.
    pub path: PathBuf,
    /// What it is, in a word: `checkpoint`, `diffusers folder`, `weights`.
    pub kind: &'static str,
    /// Its family, or what it looks like.
    pub title: String,
    /// Why it does not load, if it does not.
    pub reason_not_loadable: Option<String>,
}

/// Most entries of a tree that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// How deep a tree is followed.
const MAX_DEPTH: usize = 8;

/// What lies below `folder`: diffusers folders and weight files, each with its family or why it does not load. Reads
/// directories of tensors, not the tensors.
pub fn list(folder: &Path) -> Vec<Listed> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_path_buf(), 0)];
    let mut seen = 0;
    while let Some((at, depth)) = open.pop() {
        if at.join("model_index.json").is_file() {
            found.push(listed_folder(&at));
            continue;
        }
        let Ok(entries) = std::fs::read_dir(&at) else { continue };
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        paths.sort();
        for path in paths {
            seen += 1;
            if seen > MAX_ENTRIES {
                return found;
            }
            if path.is_dir() {
                if depth < MAX_DEPTH {
                    open.push((path, depth + 1));
                }
            } else if is_weight_file(&path) {
                found.push(listed_file(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn listed_folder(path: &Path) -> Listed {
    let kind = "diffusers folder";
    match folder(path).and_then(|parts| Ok(danqing_models::families::stable_diffusion::recognise(&parts)?)) {
        Ok(title) => Listed { path: path.into(), kind, title, reason_not_loadable: None },
        Err(error) => {
            Listed { path: path.into(), kind, title: name_of(path), reason_not_loadable: Some(error.to_string()) }
        }
    }
}

fn listed_file(path: &Path) -> Listed {
    let recognised = Weights::open(path).map_err(TaskError::from).and_then(|weights| {
        let weights = weights.unwrapped();
        if PixelDdpm::detect(&weights) {
            return Ok("a small DDPM of pixels, draws without words".into());
        }
        Ok(danqing_models::families::stable_diffusion::recognise_file(&weights)?)
    });
    match recognised {
        Ok(title) => Listed { path: path.into(), kind: "checkpoint", title, reason_not_loadable: None },
        Err(error) => Listed {
            path: path.into(),
            kind: "weights",
            title: name_of(path),
            reason_not_loadable: Some(error.to_string()),
        },
    }
}
