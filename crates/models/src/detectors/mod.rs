//! Networks that find faces in pictures, recognised from the names and shapes of their tensors.
//!
//! A new architecture is one file here and one line in [`FACE_DETECTORS`].

mod layers;
mod retinaface;
mod rfb;
mod ssd;

use danqing_checkpoints::Weights;
use danqing_nn::{LoadOptions, Loader};
use danqing_tensor::{Tensor, TensorError};

use crate::error::{ModelError, invalid};
use crate::upscalers::Shapes;

/// A face in a picture, in pixels: the left border of the first pixel is at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// Left, top, right, bottom; may reach beyond the picture.
    pub area: [f32; 4],
    /// How sure the network is, 0..1.
    pub score: f32,
    /// `[x, y]` of the left eye, the right eye (as seen in the picture), the tip of the nose, and the corners of the mouth.
    pub landmarks: Option<[[f32; 2]; 5]>,
}

impl Face {
    /// Width and height of its area.
    pub fn size(&self) -> [f32; 2] {
        [self.area[2] - self.area[0], self.area[3] - self.area[1]]
    }

    /// The same face in a picture `factor` times as large.
    pub fn scaled(&self, factor: f32) -> Self {
        Self {
            area: self.area.map(|v| v * factor),
            score: self.score,
            landmarks: self.landmarks.map(|points| points.map(|point| point.map(|v| v * factor))),
        }
    }

    fn is_finite(&self) -> bool {
        let points = self.landmarks.as_ref().into_iter().flatten().flatten();
        self.area.iter().chain(points).all(|v| v.is_finite())
    }
}

/// What a user of a detector must know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceDetectorInfo {
    /// Name of the architecture, as in [`FACE_DETECTORS`].
    pub architecture: &'static str,
    /// Whether it finds eyes, nose and mouth.
    pub landmarks: bool,
    /// Longest side of the pictures that it works well with; larger ones are better reduced.
    pub side: usize,
    /// Least score of a face that its authors trust.
    pub score: f32,
    /// Of two faces whose areas share more than this part of what they cover together, the surer one is kept.
    pub overlap: f32,
    /// Number of weights.
    pub parameters: usize,
}

/// A network that finds faces.
pub trait FaceDetector: Send + Sync {
    /// What it is.
    fn info(&self) -> &FaceDetectorInfo;

    /// All that the network considers in a picture `[1, height, width, 3]` in 0..1, in the order of its priors.
    ///
    /// # Errors
    /// If the picture has another shape.
    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError>;

    /// The faces of a picture `[1, height, width, 3]` in 0..1 with at least this score, the surest first; each once.
    ///
    /// # Errors
    /// As [`FaceDetector::candidates`].
    fn detect(&self, picture: &Tensor, score: f32) -> Result<Vec<Face>, TensorError> {
        Ok(ssd::chosen(self.candidates(picture)?, score, self.info().overlap))
    }
}

/// A loaded detector, or why there is none.
pub type OpenedDetector = Result<Box<dyn FaceDetector>, ModelError>;

/// An architecture: how its files look and how they are loaded.
pub struct FaceDetectorArchitecture {
    /// Its name.
    pub name: &'static str,
    /// Whether a file of these tensors is one of its.
    pub detect: fn(&Shapes) -> bool,
    /// Loads such a file, its wrappers taken off.
    pub load: fn(&Weights, &Shapes, LoadOptions) -> OpenedDetector,
}

/// Every architecture, in the order in which a file is compared with them.
pub const FACE_DETECTORS: &[&FaceDetectorArchitecture] =
    &[&rfb::ARCHITECTURE, &retinaface::RESNET, &retinaface::MOBILENET];

/// Loads a detector of any architecture of [`FACE_DETECTORS`]; trainers' wrappers are taken off.
///
/// # Errors
/// If the file is of no known architecture, or does not fit its architecture.
pub fn open_face_detector(weights: &Weights, options: &LoadOptions) -> OpenedDetector {
    let weights = weights.unwrapped();
    let shapes = Shapes::of(&weights);
    match FACE_DETECTORS.iter().find(|architecture| (architecture.detect)(&shapes)) {
        Some(architecture) => (architecture.load)(&weights, &shapes, *options),
        None => {
            let known: Vec<&str> = FACE_DETECTORS.iter().map(|a| a.name).collect();
            Err(ModelError::Unknown(format!(
                "{} is no face detector known here: its {} tensors are not named as in one ({})",
                weights.source(),
                shapes.len(),
                known.join(", ")
            )))
        }
    }
}

/// A network with what is known about it.
struct Loaded<N> {
    info: FaceDetectorInfo,
    network: N,
}

/// The computation of an architecture.
trait Network: Send + Sync {
    /// Everything found in a picture `[1, height, width, 3]` in 0..1.
    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError>;
}

impl<N: Network> FaceDetector for Loaded<N> {
    fn info(&self) -> &FaceDetectorInfo {
        &self.info
    }

    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError> {
        match *picture.shape() {
            [1, h, w, 3] if h > 0 && w > 0 => self.network.candidates(picture),
            _ => Err(invalid("face detector", format!("[1, height, width, 3] is needed, not {:?}", picture.shape()))),
        }
    }
}

/// An architecture's network in all: refuses what is missing or left over in the file, and counts the weights.
fn finished(loader: &Loader, network: impl Network + 'static, info: FaceDetectorInfo) -> OpenedDetector {
    let parameters = loader.finish_ignoring(|name| name.ends_with("num_batches_tracked"))?.numel();
    Ok(Box::new(Loaded { info: FaceDetectorInfo { parameters, ..info }, network }))
}
