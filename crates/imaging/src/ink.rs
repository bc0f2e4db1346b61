//! JPEG pictures in four inks (CMYK, YCCK): through the profile that they carry, else by the usual rough formula.
//!
//! The inks of a JPEG stand inverted, as Adobe's programs write them and every reader assumes (T.81; Adobe Technical Note
//! 5116). YCCK holds the first three as luminance and chrominance.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::{Channels, DeepPicture, ImagingError, Samples, Warning, colour};

/// The picture, when these bytes hold one in inks; the caller has checked its size.
pub(crate) fn decode_jpeg(bytes: &[u8], profile: Option<&[u8]>) -> Result<Option<DeepPicture>, ImagingError> {
    let failed = |e| ImagingError::damaged("JPEG", format!("{e:?}"));
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(65_535).set_max_height(65_535);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let Some(space @ (ColorSpace::CMYK | ColorSpace::YCCK)) = decoder.input_colorspace() else { return Ok(None) };
    let Some((width, height)) = decoder.dimensions() else { return Ok(None) };
    // Its own values: the library's colours know no profile.
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let mut inks = decoder.decode().map_err(failed)?;
    if inks.len() != width * height * 4 {
        return Err(ImagingError::damaged("JPEG", "its four inks have another size than the picture"));
    }
    for pixel in inks.chunks_exact_mut(4) {
        if space == ColorSpace::YCCK {
            let colour = from_luminance(pixel[0], pixel[1], pixel[2]);
            pixel[..3].copy_from_slice(&colour);
        } else {
            pixel[..3].iter_mut().for_each(|v| *v = 255 - *v);
        }
        pixel[3] = 255 - pixel[3];
    }
    let through = profile.and_then(|profile| colour::inks_to_srgb(profile, &inks));
    let rough = through.is_none();
    let pixels = through.unwrap_or_else(|| inks.chunks_exact(4).flat_map(on_paper).collect());
    let mut picture = DeepPicture::new(width as u32, height as u32, Channels::Rgb, Samples::U8(pixels))?;
    if rough {
        picture.warnings.push(Warning::InksWithoutProfile);
    }
    Ok(Some(picture))
}

/// Every ink takes its share of the light that black leaves.
fn on_paper(inks: &[u8]) -> [u8; 3] {
    let black = 255 - u32::from(inks[3]);
    [0, 1, 2].map(|i| (((255 - u32::from(inks[i])) * black + 127) / 255) as u8)
}

/// ITU-R BT.601 at full range, as JFIF has it.
pub(crate) fn from_luminance(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    // `as u8` saturates.
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|v| (v + 0.5) as u8)
}
