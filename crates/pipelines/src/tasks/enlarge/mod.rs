//! Enlarging and restoring: pictures go through a chain of networks and a last resampling as a stream of rows.
//!
//! Only a band of rows is held at each link of the chain, so the size of the result does not matter. A network sees tiles with
//! as much around them as its [`UpscalerInfo`](danqing_models::upscalers::UpscalerInfo) asks for.

mod auto;
mod band;
mod chain;
mod rows;

use std::path::Path;

use danqing_checkpoints::{GraphDef, Ncnn, Onnx, Weights};
use danqing_imaging::sharpen::SharpenOptions;
use danqing_imaging::{Channels, DecodeLimits, Depth, Picture, PixelFormat, SamplesRef};
use danqing_models::upscalers::{Upscaler, open_graphdef, open_ncnn, open_onnx, open_upscaler};
use danqing_nn::LoadOptions;

use crate::control::{Control, phase};
use crate::error::TaskError;
use crate::request::{Event, Phase};
pub use auto::Seen;
pub use chain::Enlargement;
pub use rows::SampleEnlargement;

/// One network of a chain.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// The network.
    pub network: &'a dyn Upscaler,
    /// How much of the change that it makes is taken, 0..1, where it leaves the size alone; networks that enlarge are taken whole.
    pub strength: f32,
}

impl<'a> Link<'a> {
    /// The whole of what a network does.
    pub fn whole(network: &'a dyn Upscaler) -> Self {
        Self { network, strength: 1.0 }
    }
}

/// How many times larger the networks of a chain make a picture.
pub fn native_scale(links: &[Link<'_>]) -> usize {
    links.iter().map(|link| link.network.info().scale).product()
}

/// Opens a network's file of any kind: `.safetensors` and PyTorch files by what is in them, ncnn's `.param` (or the `.bin` beside it),
/// ONNX, TensorFlow's `.pb`.
///
/// # Errors
/// A file that cannot be read, or is no network known here.
pub fn open_network(path: &Path, options: &LoadOptions) -> Result<Box<dyn Upscaler>, TaskError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    Ok(match ending.as_str() {
        "param" => open_ncnn(&Ncnn::open(path)?, options)?,
        "bin" if path.with_extension("param").exists() => open_ncnn(&Ncnn::open(path)?, options)?,
        "onnx" => open_onnx(&Onnx::open(path)?, options)?,
        "pb" => open_graphdef(&GraphDef::open(path)?, options)?,
        _ => open_upscaler(&Weights::open(path)?, options)?,
    })
}

/// How large the result shall be. Sides are at least one pixel; the proportions are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum TargetSize {
    /// As the networks make it.
    #[default]
    Native,
    /// Times the picture's.
    Scale(f64),
    /// This width.
    Width(u32),
    /// This height.
    Height(u32),
    /// The largest that fits into this width and height.
    Fit(u32, u32),
}

impl TargetSize {
    /// Width and height of the result for a picture of `from`, enlarged `native` times by the networks.
    pub fn of(self, from: (u32, u32), native: usize) -> (u32, u32) {
        let times = |scale: f64| {
            let side = |n: u32| (f64::from(n) * scale).round().clamp(1.0, f64::from(u32::MAX)) as u32;
            (side(from.0), side(from.1))
        };
        let (width, height) = (f64::from(from.0), f64::from(from.1));
        match self {
            TargetSize::Native => times(native as f64),
            TargetSize::Scale(scale) => times(scale),
            TargetSize::Width(to) => (to.max(1), times(f64::from(to) / width).1),
            TargetSize::Height(to) => (times(f64::from(to) / height).0, to.max(1)),
            TargetSize::Fit(w, h) => times((f64::from(w) / width).min(f64::from(h) / height)),
        }
    }
}

/// How to enlarge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnlargeOptions {
    /// Size of the result.
    pub size: TargetSize,
    /// Longest side of what is kept of a tile, in pixels of a network's input. Larger tiles waste less, and need memory.
    pub tile: usize,
    /// How the result is sharpened, if it is.
    pub sharpen: Option<SharpenOptions>,
}

impl Default for EnlargeOptions {
    fn default() -> Self {
        Self { size: TargetSize::Native, tile: 224, sharpen: None }
    }
}

/// Enlarges a whole picture in memory; metadata is carried over.
///
/// # Errors
/// A result beyond the command's limits for pictures (it is held whole), a network that fails or makes no numbers, or a control that stops.
pub fn enlarge(
    picture: &Picture,
    links: &[Link<'_>],
    options: &EnlargeOptions,
    control: &dyn Control,
) -> Result<Picture, TaskError> {
    let size = options.size.of((picture.width(), picture.height()), native_scale(links));
    enlarge_to(picture, links, size, options, control)
}

/// As [`enlarge`], to exactly this width and height; the size in the options does not count.
///
/// # Errors
/// As [`enlarge`].
pub fn enlarge_to(
    picture: &Picture,
    links: &[Link<'_>],
    (width, height): (u32, u32),
    options: &EnlargeOptions,
    control: &dyn Control,
) -> Result<Picture, TaskError> {
    let from = (picture.width(), picture.height());
    DecodeLimits::default().check_size(width, height)?;
    let (channels, format) = match picture.format().has_alpha() {
        true => (Channels::Rgba, PixelFormat::Rgba8),
        false => (Channels::Rgb, PixelFormat::Rgb8),
    };
    let mut enlargement = SampleEnlargement::new(links, from, (width, height), channels, Depth::Eight, options)?;
    phase(control, Phase::Enlarge, enlargement.tiles());
    let mut pixels = Vec::with_capacity(width as usize * height as usize * channels.count());
    enlargement.push(SamplesRef::U8(picture.pixels()), control, &mut |row| {
        if let SamplesRef::U8(row) = row {
            pixels.extend_from_slice(row);
        }
        Ok(())
    })?;
    let mut enlarged = Picture::new(width, height, format, pixels)?;
    enlarged.metadata = picture.metadata.clone();
    Ok(enlarged)
}

/// Tells that another tile is done, and stops if that is wanted.
fn tile_done(control: &dyn Control, done: usize, total: usize) -> Result<(), TaskError> {
    control.event(Event::Step { step: done, total });
    if control.stopped() { Err(TaskError::Stopped) } else { Ok(()) }
}
