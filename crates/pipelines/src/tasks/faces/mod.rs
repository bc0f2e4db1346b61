//! Faces found in a picture, drawn anew by a network, and laid back.
//!
//! Each face is turned, scaled and moved to where the network's training had it (FFHQ's alignment), by five landmarks or, where the
//! detector knows areas alone, upright by the area. The network's answer goes the same way back and fades out at its border.

mod geometry;
mod warp;

use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::{Picture, PixelFormat};
use danqing_models::detectors::{Face, FaceDetector, open_face_detector};
use danqing_models::upscalers::{Purpose, Upscaler};
use danqing_nn::LoadOptions;
use danqing_tensor::{DType, Tensor, no_grad};

use crate::control::{Control, phase};
use crate::error::TaskError;
use crate::request::{Event, Phase};
use geometry::Similarity;
use warp::{Pixels, cut, paste};

/// How to restore faces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceOptions {
    /// How much of what the network draws is taken, 0..1.
    pub strength: f32,
    /// Faces whose shorter side has fewer pixels are left alone.
    pub smallest: f32,
    /// At most so many faces are restored, the surest first.
    pub most: usize,
    /// Least score of a face; the detector's own where there is none.
    pub score: Option<f32>,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self { strength: 1.0, smallest: 16.0, most: 64, score: None }
    }
}

/// A face that was restored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundFace {
    /// The face in pixels of the picture.
    pub face: Face,
    /// Whether landmarks told how it is turned; otherwise it was taken to be upright, and its place guessed from its area, which
    /// suits turned faces badly.
    pub aligned: bool,
}

/// Opens a detector's file: `.safetensors` or one of PyTorch's, recognised by what is in it.
///
/// # Errors
/// A file that cannot be read, or is no detector known here.
pub fn open_detector(path: &Path, options: &LoadOptions) -> Result<Box<dyn FaceDetector>, TaskError> {
    Ok(open_face_detector(&Weights::open(path)?, options)?)
}

/// The faces of a picture in its own pixels, the surest first; large pictures are reduced to what the detector works well with.
///
/// # Errors
/// A detector that fails.
pub fn find_faces(picture: &Picture, detector: &dyn FaceDetector, score: Option<f32>) -> Result<Vec<Face>, TaskError> {
    let info = detector.info();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let factor = (info.side as f64 / width.max(height) as f64).min(1.0);
    let side = |side: usize| ((side as f64 * factor).round() as usize).max(1);
    let small = (side(width), side(height));
    let mut values = picture.to_unit_f32();
    if factor < 1.0 {
        values = resample(&values, (width, height), small, 3, Kernel::Triangle);
    }
    let input = Tensor::from_vec(values, &[1, small.1, small.0, 3])?;
    let faces = no_grad(|| detector.detect(&input, score.unwrap_or(info.score)))?;
    Ok(faces.iter().map(|face| face.scaled((1.0 / factor) as f32)).collect())
}

/// A picture with its faces drawn anew by `network`, one made for faces, and what was found. Metadata and alpha stay; without a
/// face the picture comes back as it is.
///
/// # Errors
/// A network that is not for faces, or fails, or makes no numbers; options out of range; a control that stops.
pub fn restore_faces(
    picture: &Picture,
    detector: &dyn FaceDetector,
    network: &dyn Upscaler,
    options: &FaceOptions,
    control: &dyn Control,
) -> Result<(Picture, Vec<FoundFace>), TaskError> {
    let info = network.info();
    if info.purpose != Purpose::Face || info.channels != 3 {
        let name = info.architecture;
        return Err(TaskError::Request(format!("{name} is no network that draws faces: choose one such as GFPGAN")));
    }
    if !(0.0..=1.0).contains(&options.strength) {
        return Err(TaskError::Request(format!("strength {} is not between 0 and 1", options.strength)));
    }
    let side = info.least;
    let mut faces = find_faces(picture, detector, options.score)?;
    faces.retain(|face| face.size().iter().all(|side| *side >= options.smallest.max(1.0)));
    faces.truncate(options.most);
    let found: Vec<(FoundFace, Similarity)> = faces
        .iter()
        .filter_map(|&face| Similarity::of_face(&face, side).map(|(to, aligned)| (FoundFace { face, aligned }, to)))
        .collect();
    phase(control, Phase::Enlarge, found.len());
    if found.is_empty() {
        return Ok((picture.clone(), Vec::new()));
    }
    let size = (picture.width() as usize, picture.height() as usize);
    let original = Pixels { values: picture.to_unit_f32(), width: size.0, height: size.1 };
    let mut result = Pixels { values: original.values.clone(), width: size.0, height: size.1 };
    for (done, (_, to_square)) in found.iter().enumerate() {
        if control.stopped() {
            return Err(TaskError::Stopped);
        }
        let square = cut(&original, to_square, side);
        let input = Tensor::from_vec(square.values, &[1, side, side, 3])?;
        let drawn = no_grad(|| network.forward(&input))?;
        let (height, width) = (drawn.dim(1), drawn.dim(2));
        let values = drawn.cast(DType::F32)?.to_vec();
        if values.iter().any(|v| !v.is_finite()) {
            return Err(TaskError::NotANumber("while restoring a face"));
        }
        let drawn = Pixels { values, width, height };
        paste(&mut result, drawn, &to_square.enlarged(info.scale as f64), options.strength);
        control.event(Event::Step { step: done + 1, total: found.len() });
    }
    Ok((with_colours(picture, &result.values)?, found.into_iter().map(|(found, _)| found).collect()))
}

/// The picture with other colours; alpha and metadata stay.
fn with_colours(picture: &Picture, values: &[f32]) -> Result<Picture, TaskError> {
    let rgb = Picture::from_unit_f32(picture.width(), picture.height(), PixelFormat::Rgb8, values)?;
    let mut out = picture.clone();
    let channels = picture.format().channels();
    for (pixel, colours) in out.pixels_mut().chunks_exact_mut(channels).zip(rgb.pixels().chunks_exact(3)) {
        pixel[..3].copy_from_slice(colours);
    }
    Ok(out)
}
