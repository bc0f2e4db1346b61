//! Enlarging and restoring: pictures go through a chain of networks and a last resampling as a stream of rows.
//!
//! Only a band of rows is held at each link of the chain, so the size of the result does not matter. A network sees tiles with
//! as much around them as its [`UpscalerInfo`](danqing_models::upscalers::UpscalerInfo) asks for.

mod band;
mod chain;

use danqing_imaging::{DecodeLimits, Picture, PixelFormat};
use danqing_models::upscalers::Upscaler;

use crate::control::{Control, phase};
use crate::error::DrawError;
use crate::request::{Event, Phase};
pub use chain::Enlargement;

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
}

impl Default for EnlargeOptions {
    fn default() -> Self {
        Self { size: TargetSize::Native, tile: 256 }
    }
}

/// Enlarges a whole picture in memory; metadata is carried over.
///
/// # Errors
/// A result beyond the command's limits for pictures (it is held whole), a network that fails or makes no numbers, or a control that stops.
pub fn enlarge(
    picture: &Picture,
    networks: &[&dyn Upscaler],
    options: &EnlargeOptions,
    control: &dyn Control,
) -> Result<Picture, DrawError> {
    let from = (picture.width(), picture.height());
    let native = networks.iter().map(|network| network.info().scale).product();
    let (width, height) = options.size.of(from, native);
    DecodeLimits::default().check_size(width, height)?;
    let channels = picture.format().channels();
    let mut enlargement = Enlargement::new(networks, from, (width, height), channels, options.tile)?;
    phase(control, Phase::Enlarge, enlargement.tiles());
    let mut pixels = Vec::new();
    let pitch = from.0 as usize * channels;
    for row in picture.pixels().chunks_exact(pitch.max(1)) {
        let row: Vec<f32> = row.iter().map(|v| f32::from(*v) / 255.0).collect();
        enlargement.push(&row, control, &mut |line| {
            pixels.extend(line.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8));
            Ok(())
        })?;
    }
    let format = if channels == 4 { PixelFormat::Rgba8 } else { PixelFormat::Rgb8 };
    let mut enlarged = Picture::new(width, height, format, pixels)?;
    enlarged.metadata = picture.metadata.clone();
    Ok(enlarged)
}

/// Tells that another tile is done, and stops if that is wanted.
fn tile_done(control: &dyn Control, done: usize, total: usize) -> Result<(), DrawError> {
    control.event(Event::Step { step: done, total });
    if control.stopped() { Err(DrawError::Stopped) } else { Ok(()) }
}
