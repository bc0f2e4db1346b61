//! TIFF pages of grey with alpha, which `image` does not read (TIFF 6.0, ExtraSamples).

use std::io::Cursor;

use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

use crate::{Channels, DecodeLimits, DeepPicture, ImagingError, Samples};

/// Contiguous values, the only arrangement that is taken here.
const CONTIGUOUS: u16 = 1;
const BLACK_IS_ZERO: u16 = 1;

/// Width and height, when this is such a page.
pub(crate) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    open(bytes)?.dimensions().ok()
}

/// The picture, when this is such a page.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Option<DeepPicture>, ImagingError> {
    let failed = |e: tiff::TiffError| ImagingError::damaged("TIFF", e.to_string());
    let Some(mut decoder) = open(bytes) else { return Ok(None) };
    let (width, height) = decoder.dimensions().map_err(failed)?;
    limits.check_size(width, height)?;
    let mut bounds = Limits::default();
    // Two values of two bytes.
    bounds.decoding_buffer_size = width as usize * height as usize * 4;
    bounds.intermediate_buffer_size = bounds.decoding_buffer_size + (64 << 20);
    let samples = match decoder.with_limits(bounds).read_image().map_err(failed)? {
        DecodingResult::U8(values) => Samples::U8(values),
        DecodingResult::U16(values) => Samples::U16(values),
        _ => return Ok(None),
    };
    DeepPicture::new(width, height, Channels::GreyAlpha, samples).map(Some)
}

fn open(bytes: &[u8]) -> Option<Decoder<Cursor<&[u8]>>> {
    let mut decoder = Decoder::new(Cursor::new(bytes)).ok()?;
    let two = matches!(decoder.colortype(), Ok(ColorType::Multiband { bit_depth: 8 | 16, num_samples: 2 }));
    let mut tag = |tag: Tag| decoder.find_tag_unsigned::<u16>(tag).ok().flatten();
    let black = tag(Tag::PhotometricInterpretation) == Some(BLACK_IS_ZERO);
    let arranged = tag(Tag::PlanarConfiguration).unwrap_or(CONTIGUOUS) == CONTIGUOUS;
    (two && black && arranged).then_some(decoder)
}
