//! WebP, lossless and lossy; its encoders look at the whole picture, so the rows are gathered first.

use image::ExtendedColorType;
use image::codecs::webp::WebPEncoder;

use super::feed::RowFeed;
use super::{EncodeOptions, RowHeader, Sink, refused};
use crate::container::embed_metadata;
use crate::{Channels, Format, ImagingError};

pub(super) fn write(
    header: &RowHeader,
    options: &EncodeOptions,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ImagingError> {
    let channels = if header.channels.has_alpha() { Channels::Rgba } else { Channels::Rgb };
    let mut pixels = Vec::new();
    for _ in 0..header.height {
        pixels.extend_from_slice(feed.next_eight(channels, [0; 3])?);
    }
    let mut bytes = match options.webp_quality {
        None => lossless(&pixels, header.width, header.height, channels.has_alpha())?,
        Some(quality) => lossy(&pixels, header.width, header.height, channels.has_alpha(), quality)?,
    };
    if !header.metadata.is_empty() {
        bytes = embed_metadata(Format::WebP, &bytes, &header.metadata)?;
    }
    sink.write_all(&bytes).map_err(|e| refused(Format::WebP, e))
}

/// libwebp's encoder at its usual effort: the encoders written in Rust that may be used here make larger files.
fn lossy(pixels: &[u8], width: u32, height: u32, alpha: bool, quality: u8) -> Result<Vec<u8>, ImagingError> {
    let layout = if alpha { webp::PixelLayout::Rgba } else { webp::PixelLayout::Rgb };
    let encoder = webp::Encoder::new(pixels, layout, width, height);
    let bytes = encoder.encode_simple(false, f32::from(quality));
    Ok(bytes.map_err(|e| refused(Format::WebP, format!("{e:?}")))?.to_vec())
}

/// The bytes of a WebP file with nothing but these pixels.
pub(crate) fn lossless(pixels: &[u8], width: u32, height: u32, alpha: bool) -> Result<Vec<u8>, ImagingError> {
    let colour = if alpha { ExtendedColorType::Rgba8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    WebPEncoder::new_lossless(&mut bytes)
        .encode(pixels, width, height, colour)
        .map_err(|e| refused(Format::WebP, e))?;
    Ok(bytes)
}
