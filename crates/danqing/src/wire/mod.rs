//! Joins settings to engine: finds the model that was asked for, opens it, sets up the threads.

mod networks;

use std::path::{Path, PathBuf};

use danqing_kernels::isa::{Isa, isa};
use danqing_kernels::threads::set_threads;
use danqing_models::autoencoders::TinyDecoder;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_pipelines::TaskError;
use danqing_pipelines::checkpoint::{self, Listed, OpenOptions};
use danqing_pipelines::preview;
use danqing_pipelines::starter::starter;
use danqing_pipelines::tasks::pixels::PixelModel;
use danqing_sampling::PredictionType;
use danqing_tensor::DType;
use yaml_rust2::{Yaml, YamlLoader};

use crate::commands::Invocation;
use crate::failure::Failure;
use crate::settings::nearest;
pub(crate) use networks::{NamedUpscaler, open_detector, open_embedded, open_face_network, open_upscaler, prepare};

/// The name of the embedded model.
pub(crate) const STARTER: &str = "starter";
/// Largest extra_model_paths.yaml that is read.
const MAX_YAML: u64 = 1 << 20;

/// An opened model.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The model.
    pub(crate) model: StableDiffusion,
    /// Where it lies; the embedded one lies nowhere.
    pub(crate) path: Option<PathBuf>,
}

/// Opens the model that `wanted`, flag or settings ask for.
///
/// # Errors
/// When there is no such model or it does not load.
pub(crate) fn open(invocation: &Invocation, wanted: Option<&str>) -> Result<Opened, Failure> {
    if let Some(threads) = invocation.count("threads") {
        set_threads(threads as usize);
    }
    let failed = |e: TaskError| Failure::Failed(invocation.messages().task_error(&e));
    let wanted = wanted.or_else(|| invocation.text("model")).unwrap_or(STARTER);
    if wanted == STARTER {
        let dtype = dtype(invocation.text("precision"));
        return Ok(Opened { model: starter(dtype).map_err(failed)?, path: None });
    }
    let path = find(invocation, wanted)?;
    let mut vocabularies: Vec<PathBuf> = invocation.path("clip_vocab").map(Path::to_owned).into_iter().collect();
    vocabularies.extend(folders(invocation));
    let options = OpenOptions {
        dtype: dtype(invocation.text("precision")),
        prediction: invocation.text("prediction").and_then(PredictionType::parse),
        vae: invocation.path("vae").map(Path::to_owned),
        vocabularies,
        ..Default::default()
    };
    Ok(Opened { model: checkpoint::open(&path, &options).map_err(failed)?, path: Some(path) })
}

/// Opens the model that flag or settings ask for if it is a network of pixels.
///
/// # Errors
/// When there is no such model or it is not whole.
pub(crate) fn open_pixels(invocation: &Invocation) -> Result<Option<PixelModel>, Failure> {
    let Some(wanted) = invocation.text("model").filter(|name| *name != STARTER) else { return Ok(None) };
    let path = find(invocation, wanted)?;
    checkpoint::open_pixels(&path).map_err(|e| Failure::Failed(invocation.messages().task_error(&e)))
}

impl Opened {
    /// Whether it is the embedded one.
    pub(crate) fn starter(&self) -> bool {
        self.path.is_none()
    }

    /// The small decoder for previews: the one that flag or settings name, else one that lies where programs put it.
    ///
    /// # Errors
    /// When the named one does not load.
    pub(crate) fn preview_decoder(&self, invocation: &Invocation) -> Result<Option<TinyDecoder>, Failure> {
        let failed = |e: TaskError| Failure::Failed(invocation.messages().task_error(&e));
        if let Some(path) = invocation.path("preview-decoder").or_else(|| invocation.path("preview_decoder")) {
            return preview::open_decoder(path, &self.model).map(Some).map_err(failed);
        }
        let Some(path) = &self.path else { return Ok(None) };
        let mut places = vec![path.clone()];
        places.extend(folders(invocation));
        // One that was found by chance and does not fit is no reason to stop.
        Ok(preview::locate_decoder(&self.model, &places).and_then(|at| preview::open_decoder(&at, &self.model).ok()))
    }
}

/// bf16 where the processor multiplies in it; elsewhere it would only be slow.
fn dtype(precision: Option<&str>) -> DType {
    match precision {
        Some("bf16") => DType::Bf16,
        Some("f32") => DType::F32,
        _ if isa() >= Isa::Avx512Bf16 => DType::Bf16,
        _ => DType::F32,
    }
}

/// Whether a model of this name can be found without opening it.
pub(crate) fn knows(invocation: &Invocation, name: &str) -> bool {
    name == STARTER || find(invocation, name).is_ok()
}

fn find(invocation: &Invocation, wanted: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(wanted);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let listed: Vec<Listed> = places(invocation).iter().flat_map(|place| checkpoint::list(place)).collect();
    let names: Vec<String> = listed.iter().map(|l| name_of(&l.path)).collect();
    let same = |name: &str| name.eq_ignore_ascii_case(wanted);
    // A file that loads goes before one of the same name that does not.
    let fits = |(entry, name): &(&Listed, &String)| {
        same(name) || entry.path.file_name().is_some_and(|f| same(&f.to_string_lossy()))
    };
    let mut found: Vec<&Listed> = listed.iter().zip(&names).filter(fits).map(|(entry, _)| entry).collect();
    found.sort_by_key(|entry| entry.reason_not_loadable.is_some());
    if let Some(entry) = found.first() {
        return Ok(entry.path.clone());
    }
    let near = nearest(wanted, names.iter().map(String::as_str).chain([STARTER]));
    Err(Failure::Failed(invocation.messages().no_model(wanted, near)))
}

/// What a model is called: the file's stem, the folder's name, or `organisation/name` in the Hugging Face cache.
pub(crate) fn name_of(path: &Path) -> String {
    let cached = path.ancestors().filter_map(|a| a.file_name()?.to_str()?.strip_prefix("models--"));
    if let Some(name) = cached.last() {
        return name.replace("--", "/");
    }
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    name.map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// Everywhere that models are looked for: the folders of the settings, then the Hugging Face cache.
pub(crate) fn places(invocation: &Invocation) -> Vec<PathBuf> {
    let mut places = folders(invocation);
    places.extend(hub().filter(|hub| hub.is_dir()));
    places
}

fn folders(invocation: &Invocation) -> Vec<PathBuf> {
    let wished = invocation.text("models").unwrap_or_default();
    let paths = std::env::split_paths(wished).filter(|p| !p.as_os_str().is_empty());
    paths.flat_map(|path| expanded(&path)).collect()
}

/// A folder itself, or the folders that an `extra_model_paths.yaml` names.
pub(crate) fn expanded(path: &Path) -> Vec<PathBuf> {
    let named = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let beside = path.join("extra_model_paths.yaml");
    let mut found = if named { Vec::new() } else { vec![path.to_owned()] };
    let file = if named { path } else { &beside };
    let small = std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.len() <= MAX_YAML);
    if let Some(text) = small.then(|| std::fs::read_to_string(file).ok()).flatten() {
        found.extend(extra_paths(&text, file.parent().unwrap_or(Path::new("."))));
    }
    found
}

/// The folders of a ComfyUI `extra_model_paths.yaml`: sections with a `base_path` and, for each kind, one folder a line.
fn extra_paths(text: &str, beside: &Path) -> Vec<PathBuf> {
    let Ok(documents) = YamlLoader::load_from_str(text) else { return Vec::new() };
    let mut found = Vec::new();
    let sections = documents.iter().filter_map(Yaml::as_hash).flat_map(|h| h.values());
    for section in sections.filter_map(Yaml::as_hash) {
        let base = section.get(&Yaml::String("base_path".into())).and_then(Yaml::as_str);
        let base = beside.join(base.map_or_else(PathBuf::new, home));
        for kind in ["checkpoints", "diffusers"] {
            let Some(lines) = section.get(&Yaml::String(kind.into())).and_then(Yaml::as_str) else { continue };
            let folders = lines.lines().map(str::trim).filter(|l| !l.is_empty());
            found.extend(folders.map(|line| base.join(home(line))));
        }
    }
    found
}

fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

fn hub() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(set("HOME")?.join(".cache/huggingface/hub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comfyui_names_further_folders() {
        let yaml = "a111:\n    base_path: /sd\n    checkpoints: models/Stable-diffusion\n    vae: models/VAE\n\
                    other:\n    base_path: rel\n    checkpoints: |\n        one\n        two\n    diffusers: three\n";
        let found = extra_paths(yaml, Path::new("/comfy"));
        let expected = ["/sd/models/Stable-diffusion", "/comfy/rel/one", "/comfy/rel/two", "/comfy/rel/three"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(extra_paths(": : [", Path::new("/")).is_empty());
        assert!(extra_paths("- 1\n- 2", Path::new("/")).is_empty());
    }

    #[test]
    fn cached_models_are_called_by_their_repository() {
        let path = Path::new("/h/hub/models--org--name/snapshots/0123/model_index.json");
        assert_eq!(name_of(path), "org/name");
        assert_eq!(name_of(Path::new("/m/v1-5.safetensors")), "v1-5");
    }
}
