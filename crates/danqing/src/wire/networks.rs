//! Networks that enlarge pictures, draw faces and find them: by path, or by name in the model folders.

use std::path::{Path, PathBuf};

use danqing_kernels::threads::set_threads;
use danqing_models::detectors::FaceDetector;
use danqing_models::upscalers::{Purpose, Upscaler};
use danqing_nn::LoadOptions;
use danqing_pipelines::TaskError;
use danqing_pipelines::embedded_upscalers::{EMBEDDED_UPSCALERS, EmbeddedUpscaler, embedded_upscaler};
use danqing_pipelines::tasks::enlarge::open_network;
use danqing_pipelines::tasks::faces;
use danqing_tensor::DType;

use super::{dtype, folders, name_of};
use crate::commands::Invocation;
use crate::failure::Failure;
use crate::settings::nearest;

/// A network that makes a picture of a picture, with its name.
pub(crate) struct NamedUpscaler {
    /// That of an embedded network, or the file's stem.
    pub(crate) name: String,
    /// Where its file lies; an embedded one has none.
    path: Option<PathBuf>,
    /// The network.
    pub(crate) network: Box<dyn Upscaler>,
}

/// Folders of ComfyUI's and the A1111 web UI's trees in which networks that enlarge or draw faces lie.
const UPSCALER_FOLDERS: &[&str] = &[
    "upscale_models",
    "models/upscale_models",
    "ESRGAN",
    "RealESRGAN",
    "SwinIR",
    "models/ESRGAN",
    "models/RealESRGAN",
    "models/SwinIR",
    "models/ScuNET",
    "models/DAT",
    "models/HAT",
    "models/GFPGAN",
    "facerestore_models",
    "models/facerestore_models",
];
const UPSCALER_ENDINGS: &[&str] = &["safetensors", "pth", "pt", "ckpt", "param", "onnx", "pb"];
/// Those in which face detectors lie.
const DETECTOR_FOLDERS: &[&str] =
    &["facedetection", "models/facedetection", "GFPGAN", "models/GFPGAN", "gfpgan/weights", "facexlib/weights"];
const DETECTOR_ENDINGS: &[&str] = &["safetensors", "pth", "pt"];
/// What files of face detectors are called, those first that tell how a face is turned.
const DETECTORS: &[&str] = &["detection_resnet50", "retinaface", "detection_mobilenet", "rfb-320", "rfb_320"];
/// What files of networks that draw faces are called.
const FACE_NETWORKS: &[&str] = &["gfpgan"];

/// Sets up the threads of computation as flag or settings ask.
pub(crate) fn prepare(invocation: &Invocation) {
    if let Some(threads) = invocation.count("threads") {
        set_threads(threads as usize);
    }
}

/// Opens the network of a name or a path. The name of an embedded network means that one, whatever lies in the model folders.
///
/// # Errors
/// A name that no file has, or a file that is no network known here.
pub(crate) fn open_upscaler(invocation: &Invocation, wanted: &str) -> Result<NamedUpscaler, Failure> {
    if let Some(embedded) = embedded_upscaler(wanted) {
        return open_embedded(invocation, embedded);
    }
    let path = find(invocation, wanted)?;
    let network = open_network(&path, &options(invocation)).map_err(|e| failed(invocation, &e))?;
    Ok(NamedUpscaler { name: name_of(&path), path: Some(path), network })
}

/// Opens an embedded network.
///
/// # Errors
/// Only when the program was built from damaged files.
pub(crate) fn open_embedded(invocation: &Invocation, embedded: &EmbeddedUpscaler) -> Result<NamedUpscaler, Failure> {
    let network = embedded.open(&options(invocation)).map_err(|e| failed(invocation, &e))?;
    Ok(NamedUpscaler { name: embedded.name.to_owned(), path: None, network })
}

fn options(invocation: &Invocation) -> LoadOptions {
    LoadOptions::inference(dtype(invocation.text("precision")))
}

/// Opens the network that draws faces: the one that `--face` names, else one in the model folders.
///
/// # Errors
/// When there is none, or it is for something else.
pub(crate) fn open_face_network(invocation: &Invocation) -> Result<NamedUpscaler, Failure> {
    let opened = match invocation.text("face") {
        Some(wanted) => open_upscaler(invocation, wanted)?,
        None => {
            let files = files(invocation, UPSCALER_FOLDERS, UPSCALER_ENDINGS, None);
            let path = called(&files, FACE_NETWORKS)
                .ok_or_else(|| Failure::Failed(invocation.messages().no_face_network()))?;
            open_upscaler(invocation, &path.to_string_lossy())?
        }
    };
    match opened.network.info().purpose {
        Purpose::Face => Ok(opened),
        _ => Err(Failure::Failed(invocation.messages().not_for_faces(&opened.name))),
    }
}

/// Opens the network that finds faces: the one that `--face-detector` names, else one in the model folders or beside the network
/// that draws them.
///
/// # Errors
/// When there is none, or it is no face detector.
pub(crate) fn open_detector(
    invocation: &Invocation,
    drawing: &NamedUpscaler,
) -> Result<Box<dyn FaceDetector>, Failure> {
    let path = match invocation.path("face-detector") {
        Some(path) => path.to_owned(),
        None => {
            let files =
                files(invocation, DETECTOR_FOLDERS, DETECTOR_ENDINGS, drawing.path.as_deref().and_then(Path::parent));
            called(&files, DETECTORS).ok_or_else(|| Failure::Failed(invocation.messages().no_face_detector()))?.clone()
        }
    };
    faces::open_detector(&path, &LoadOptions::inference(DType::F32)).map_err(|e| failed(invocation, &e))
}

fn find(invocation: &Invocation, wanted: &str) -> Result<PathBuf, Failure> {
    if Path::new(wanted).exists() {
        return Ok(PathBuf::from(wanted));
    }
    let files = files(invocation, UPSCALER_FOLDERS, UPSCALER_ENDINGS, None);
    let same = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.eq_ignore_ascii_case(wanted) || name_of(path).eq_ignore_ascii_case(wanted)
    };
    if let Some(path) = files.iter().find(same) {
        return Ok(path.clone());
    }
    let names: Vec<String> = files.iter().map(|path| name_of(path)).collect();
    let embedded = EMBEDDED_UPSCALERS.iter().map(|network| network.name);
    let near = nearest(wanted, names.iter().map(String::as_str).chain(embedded));
    Err(Failure::Failed(invocation.messages().no_upscaler(wanted, near)))
}

/// Files of some endings in the model folders, in the folders inside them where programs put such files, and in one more.
fn files(invocation: &Invocation, inner: &[&str], endings: &[&str], beside: Option<&Path>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = beside.map(Path::to_owned).into_iter().collect();
    for folder in folders(invocation) {
        places.extend(inner.iter().map(|name| folder.join(name)));
        places.push(folder);
    }
    let known = |path: &PathBuf| {
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        ending.is_some_and(|ending| endings.contains(&ending.as_str()))
    };
    let mut found = Vec::new();
    for place in places {
        let entries = std::fs::read_dir(place).into_iter().flatten();
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(known).collect();
        inside.sort();
        found.extend(inside);
    }
    found
}

/// The first file with one of these words in its name, the words tried in their order.
fn called<'a>(files: &'a [PathBuf], words: &[&str]) -> Option<&'a PathBuf> {
    words.iter().find_map(|word| files.iter().find(|path| name_of(path).to_ascii_lowercase().contains(word)))
}

fn failed(invocation: &Invocation, error: &TaskError) -> Failure {
    Failure::Failed(invocation.messages().task_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_that_know_landmarks_go_first() {
        let files = ["a/version-RFB-320.pth", "b/parsing_parsenet.pth", "b/detection_Resnet50_Final.pth"];
        let files = files.map(PathBuf::from);
        assert_eq!(called(&files, DETECTORS), Some(&files[2]));
        assert_eq!(called(&files[..2], DETECTORS), Some(&files[0]));
        assert_eq!(called(&files[1..2], DETECTORS), None);
    }
}
