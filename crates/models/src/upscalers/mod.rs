//! Networks that enlarge or restore pictures, recognised from the names and shapes of their tensors.
//!
//! Whatever a network was trained on (0..255, means taken away, luma alone), an [`Upscaler`] takes and gives pictures in
//! 0..1. A new architecture is one file here and one line in [`UPSCALERS`].

mod bsrn;
mod cunet;
mod dat;
mod distilled;
mod edsr;
mod esa;
mod espcn;
mod fbcnn;
mod fmen;
mod fsrcnn;
mod gfpgan;
mod graph;
mod hat;
mod imdn;
pub(crate) mod layers;
mod nafnet;
mod ncnn;
mod onnx;
mod resampling;
mod rfdn;
mod rlfn;
mod rrdb;
mod safmnpp;
mod scunet;
mod shapes;
mod smfan;
pub mod span;
pub mod srvgg;
mod staggered;
mod swinir;
mod tensorflow;
mod transformer;
mod waifu2x;
mod windows;

use danqing_checkpoints::Weights;
use danqing_nn::{LoadOptions, Loader};
use danqing_tensor::{DType, Tensor, TensorError};

use crate::error::{ModelError, invalid};
pub use ncnn::open_ncnn;
pub use onnx::open_onnx;
pub use shapes::Shapes;
pub use tensorflow::open_graphdef;

/// What a network was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Larger pictures.
    Enlarge,
    /// Pictures of the same size, cleaned in some way that the file does not tell.
    Restore,
    /// Noise taken away.
    Denoise,
    /// Blur taken away.
    Deblur,
    /// Traces of JPEG taken away.
    Dejpeg,
    /// Faces drawn anew.
    Face,
}

/// What a user of a network must know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpscalerInfo {
    /// Name of the architecture, as in [`UPSCALERS`].
    pub architecture: &'static str,
    /// What it was made for, as far as the file tells.
    pub purpose: Purpose,
    /// Sides of the result per side of the input.
    pub scale: usize,
    /// Channels of input and result: 1 (luma) or 3 (RGB).
    pub channels: usize,
    /// Sides of a tile must be multiples of this, and not smaller than [`least`](Self::least).
    pub multiple: usize,
    /// Shortest side of a tile in pixels.
    pub least: usize,
    /// Input pixels that a tile should have around what is kept of it.
    pub overlap: usize,
    /// Whether the overlap covers all that a pixel depends on, so that tiles join without a seam.
    pub exact: bool,
    /// Number of weights.
    pub parameters: usize,
}

/// Overlaps beyond this cost more than they mend: what lies so far away changes a pixel by less than can be seen.
const WIDEST_OVERLAP: usize = 48;

impl UpscalerInfo {
    /// A network of which a result's pixel depends on `radius` input pixels on each side (`None`: on all of them).
    pub(crate) fn new(architecture: &'static str, scale: usize, channels: usize, radius: Option<usize>) -> Self {
        let exact = radius.is_some_and(|radius| radius <= WIDEST_OVERLAP);
        let overlap = match radius {
            Some(radius) if exact => radius,
            _ => WIDEST_OVERLAP.min(32),
        };
        let purpose = if scale > 1 { Purpose::Enlarge } else { Purpose::Restore };
        Self { architecture, purpose, scale, channels, multiple: 1, least: 1, overlap, exact, parameters: 0 }
    }

    /// Made for something else than its factor tells.
    pub(crate) fn made_for(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// With tiles whose sides are multiples of `multiple`, at least `least` long; the overlap is rounded up to match.
    pub(crate) fn tiles(self, multiple: usize, least: usize) -> Self {
        Self { multiple, least: least.max(multiple), overlap: self.overlap.next_multiple_of(multiple), ..self }
    }
}

/// A network that makes a picture of a picture.
pub trait Upscaler: Send + Sync {
    /// What it is.
    fn info(&self) -> &UpscalerInfo;

    /// `[b, h, w, channels]` in 0..1 → `[b, h · scale, w · scale, channels]` in 0..1, not clamped.
    ///
    /// # Errors
    /// If channels or sides are not those that [`Upscaler::info`] asks for.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError>;
}

/// A loaded network, or why there is none.
pub type Opened = Result<Box<dyn Upscaler>, ModelError>;

/// An architecture: how its files look and how they are loaded.
pub struct UpscalerArchitecture {
    /// Its name.
    pub name: &'static str,
    /// Names of its tensors, `*` standing for a number: what an unknown file is compared with.
    pub names: &'static [&'static str],
    /// Whether a file of these tensors is one of its.
    pub detect: fn(&Shapes) -> bool,
    /// Loads such a file, its wrappers taken off.
    pub load: fn(&Weights, &Shapes, LoadOptions) -> Opened,
}

/// Every architecture, in the order in which a file is compared with them.
pub const UPSCALERS: &[&UpscalerArchitecture] = &[
    &span::ARCHITECTURE,
    &srvgg::ARCHITECTURE,
    &rlfn::ARCHITECTURE,
    &rfdn::ARCHITECTURE,
    &bsrn::ARCHITECTURE,
    &fmen::ARCHITECTURE,
    &safmnpp::ARCHITECTURE,
    &smfan::ARCHITECTURE,
    &rrdb::ARCHITECTURE,
    &edsr::ARCHITECTURE,
    &imdn::ARCHITECTURE,
    &espcn::ARCHITECTURE,
    &fsrcnn::ARCHITECTURE,
    &nafnet::ARCHITECTURE,
    &fbcnn::ARCHITECTURE,
    &scunet::ARCHITECTURE,
    &swinir::ARCHITECTURE,
    &cunet::ARCHITECTURE,
    &waifu2x::ARCHITECTURE,
    &hat::ARCHITECTURE,
    &dat::ARCHITECTURE,
    &gfpgan::ARCHITECTURE,
];

/// Loads a network of any architecture of [`UPSCALERS`]. Trainers' wrappers (`params_ema`, `state_dict`, `module.` …) are
/// taken off.
///
/// # Errors
/// If the file is of no known architecture (the message says what it most resembles), or does not fit its architecture.
pub fn open_upscaler(weights: &Weights, options: &LoadOptions) -> Opened {
    let weights = weights.unwrapped();
    let shapes = Shapes::of(&weights);
    match UPSCALERS.iter().find(|architecture| (architecture.detect)(&shapes)) {
        Some(architecture) => (architecture.load)(&weights, &shapes, *options),
        None => Err(ModelError::Unknown(unknown(&weights, &shapes))),
    }
}

/// Why a file is refused: what it most resembles, and in how much of it.
fn unknown(weights: &Weights, shapes: &Shapes) -> String {
    let source = weights.source();
    let best = UPSCALERS.iter().map(|a| (shapes.alike(a.names), a.name)).max_by_key(|(alike, _)| *alike);
    match best {
        Some((alike, name)) if alike > 0 => format!(
            "{source} is no upscaler known here: it most resembles {name}, by the names of {alike} of its {} tensors",
            shapes.len()
        ),
        _ => {
            let known: Vec<&str> = UPSCALERS.iter().map(|a| a.name).collect();
            format!(
                "{source} is no upscaler known here, and none of its {} tensors is named as in one ({})",
                shapes.len(),
                known.join(", ")
            )
        }
    }
}

/// The computation of an architecture; ranges are its own affair.
pub trait Network: Send + Sync {
    /// Picture in 0..1 → picture in 0..1, sides and channels being right.
    ///
    /// # Errors
    /// If shapes do not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError>;

    /// Whether it takes pictures in f32 also where it computes in bf16, which holds 8 bits of a colour: first and last layer then keep
    /// all of it.
    fn mixes(&self) -> bool {
        false
    }
}

/// A network with what is known about it.
struct Loaded<N> {
    info: UpscalerInfo,
    network: N,
    /// Type that it computes in.
    dtype: DType,
}

impl<N: Network> Upscaler for Loaded<N> {
    fn info(&self) -> &UpscalerInfo {
        &self.info
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        check(&self.info, x)?;
        let narrow = self.dtype == DType::Bf16 && !self.network.mixes();
        let made = if narrow { self.network.forward(&x.cast(DType::Bf16)?)? } else { self.network.forward(x)? };
        made.cast(x.dtype())
    }
}

fn check(info: &UpscalerInfo, x: &Tensor) -> Result<(), TensorError> {
    let UpscalerInfo { channels, multiple, least, .. } = *info;
    match *x.shape() {
        [_, h, w, c] if c == channels && [h, w].iter().all(|s| *s >= least && s.is_multiple_of(multiple)) => Ok(()),
        _ => Err(invalid(
            "upscaler",
            format!(
                "{} takes [batch, height, width, {channels}] with sides of at least {least} in multiples of {multiple}, not {:?}",
                info.architecture,
                x.shape()
            ),
        )),
    }
}

/// An architecture's network in all: refuses what is missing or left over in the file, and counts the weights.
fn finished(loader: &Loader, network: impl Network + 'static, info: UpscalerInfo) -> Opened {
    finished_ignoring(loader, network, info, |_| false)
}

/// As [`finished`], not minding tensors for whose names `ignored` says yes: tables that follow from shapes, and what only
/// training needs.
fn finished_ignoring(
    loader: &Loader,
    network: impl Network + 'static,
    info: UpscalerInfo,
    ignored: impl Fn(&str) -> bool,
) -> Opened {
    let parameters = loader.finish_ignoring(ignored)?.numel();
    Ok(wrapped(network, UpscalerInfo { parameters, ..info }, loader.options().dtype))
}

fn wrapped(network: impl Network + 'static, info: UpscalerInfo, dtype: DType) -> Box<dyn Upscaler> {
    Box::new(Loaded { info, network, dtype })
}

/// A file that was recognised but whose shapes make no sense.
fn misshapen(weights: &Weights, name: &str) -> ModelError {
    ModelError::Configuration(format!("{}: the shapes of its tensors are not those of {name}", weights.source()))
}
