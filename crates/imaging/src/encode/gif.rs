//! GIF: at most 256 colours, chosen by the `gif` crate (all of them where there are no more, else NeuQuant), and alpha
//! that is either full or none.

use super::feed::RowFeed;
use super::{RowHeader, Sink, refused};
use crate::container::gif_blocks;
use crate::{Channels, Format, ImagingError};

/// NeuQuant's sample step: every pixel is too slow, thirty too coarse.
const SPEED: i32 = 10;

pub(super) fn write(header: &RowHeader, feed: &mut RowFeed<'_>, sink: &mut dyn Sink) -> Result<(), ImagingError> {
    let mut pixels = Vec::new();
    for _ in 0..header.height {
        pixels.extend_from_slice(feed.next_eight(Channels::Rgba, [0; 3])?);
    }
    let failed = |e: gif::EncodingError| refused(Format::Gif, e);
    let (width, height) = size(header.width, header.height)?;
    let mut encoder = gif::Encoder::new(sink, width, height, &[]).map_err(failed)?;
    encoder.get_mut().write_all(&gif_blocks(&header.metadata)?).map_err(|e| refused(Format::Gif, e))?;
    encoder.write_frame(&indexed(pixels, width, height)).map_err(failed)?;
    encoder.into_inner().map_err(failed)?;
    Ok(())
}

pub(crate) fn size(width: u32, height: u32) -> Result<(u16, u16), ImagingError> {
    let side = |side: u32| u16::try_from(side).map_err(|_| refused(Format::Gif, format!("{side} pixels are too many")));
    Ok((side(width)?, side(height)?))
}

/// One frame of RGBA pixels. Alpha below one half becomes transparent, the rest opaque.
pub(crate) fn indexed(mut pixels: Vec<u8>, width: u16, height: u16) -> gif::Frame<'static> {
    for pixel in pixels.chunks_exact_mut(4) {
        pixel[3] = if pixel[3] < 128 { 0 } else { 255 };
    }
    gif::Frame::from_rgba_speed(width, height, &mut pixels, SPEED)
}
