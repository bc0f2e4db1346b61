//! From bytes to a [`Picture`]: recognised by content, bounded before decoding, turned upright.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use crate::container::{check_jpeg, read_metadata};
use crate::exif::{ExifView, set_upright};
use crate::format::READABLE;
use crate::{DecodeLimits, Format, ImagingError, Picture, PixelFormat};

/// Deflate cannot do better than 1032:1, so a PNG with more pixels than this per byte is cut off or lies.
const HIGHEST_DEFLATE_RATIO: u64 = 1032;
/// Working memory a decoder may take beside the pixels.
const DECODER_SLACK: u64 = 64 << 20;

/// Reads a picture file.
///
/// # Errors
/// [`ImagingError::Read`] when the file cannot be read, otherwise as [`decode`].
pub fn open(path: &Path, limits: &DecodeLimits) -> Result<Picture, ImagingError> {
    decode(&read_file(path, limits)?, limits)
}

pub(crate) fn read_file(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, ImagingError> {
    let failed = |source| ImagingError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    limits.check_file(file.metadata().map_err(failed)?.len())?;
    let mut bytes = Vec::new();
    // A pipe has no length beforehand: what is read is bounded too.
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    limits.check_file(bytes.len() as u64)?;
    Ok(bytes)
}

/// The format and size (width, height, as stored: before any EXIF turn) without decoding pixels.
///
/// # Errors
/// [`ImagingError::UnknownFormat`], [`ImagingError::Damaged`], [`ImagingError::TooLarge`].
pub fn probe(bytes: &[u8], limits: &DecodeLimits) -> Result<(Format, u32, u32), ImagingError> {
    let format = sniff(bytes)?;
    guarded(format, || {
        let (width, height) = decoder(format, bytes)?.dimensions();
        limits.check_size(width, height)?;
        Ok((format, width, height))
    })
}

/// Decodes a picture from the bytes of a file: PNG, JPEG, WebP, the first frame of a GIF, BMP, TIFF. 16-bit and
/// float values are brought to 8 bits, grey becomes RGB, the EXIF orientation is applied.
///
/// # Errors
/// [`ImagingError::UnknownFormat`], [`ImagingError::TooLarge`], [`ImagingError::Damaged`],
/// [`ImagingError::Unsupported`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImagingError> {
    limits.check_file(bytes.len() as u64)?;
    let format = sniff(bytes)?;
    let image = guarded(format, || decode_pixels(format, bytes, limits))?;
    let mut metadata = read_metadata(format, bytes, limits);
    // A TIFF file is itself what an EXIF block is.
    let tags = if format == Format::Tiff { Some(bytes) } else { metadata.exif.as_deref() }.and_then(ExifView::parse);
    let orientation = tags.and_then(|view| view.orientation()).unwrap_or(1);
    let associated = format == Format::Tiff && tags.is_some_and(|view| view.has_associated_alpha());
    if let Some(exif) = &mut metadata.exif {
        set_upright(exif);
    }
    let (width, height) = (image.width(), image.height());
    let mut picture = if image.color().has_alpha() {
        Picture::new(width, height, PixelFormat::Rgba8, image.into_rgba8().into_raw())?
    } else {
        Picture::new(width, height, PixelFormat::Rgb8, image.into_rgb8().into_raw())?
    };
    if associated {
        divide_by_alpha(&mut picture);
    }
    picture.metadata = metadata;
    Ok(picture.oriented(orientation))
}

fn divide_by_alpha(picture: &mut Picture) {
    if picture.format().has_alpha() {
        for pixel in picture.pixels_mut().chunks_exact_mut(4) {
            let alpha = u32::from(pixel[3]).max(1);
            for value in &mut pixel[..3] {
                *value = (u32::from(*value) * 255 / alpha).min(255) as u8;
            }
        }
    }
}

fn sniff(bytes: &[u8]) -> Result<Format, ImagingError> {
    Format::sniff(bytes).ok_or_else(|| ImagingError::UnknownFormat {
        what: if bytes.is_empty() { "an empty file".to_owned() } else { "the file".to_owned() },
        known: READABLE,
    })
}

fn decoder(format: Format, bytes: &[u8]) -> Result<impl ImageDecoder + '_, ImagingError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.codec());
    reader.no_limits();
    reader.into_decoder().map_err(|e| codec_error(format, e))
}

fn decode_pixels(format: Format, bytes: &[u8], limits: &DecodeLimits) -> Result<DynamicImage, ImagingError> {
    if format == Format::Jpeg {
        check_jpeg(bytes)?;
    }
    let mut decoder = decoder(format, bytes)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    let total = decoder.total_bytes();
    if format == Format::Png && total / HIGHEST_DEFLATE_RATIO > bytes.len() as u64 * 8 {
        return Err(ImagingError::damaged("PNG", format!("{} bytes cannot hold {width}x{height} pixels", bytes.len())));
    }
    let mut codec_limits = image::Limits::no_limits();
    codec_limits.max_alloc = Some(total.saturating_mul(3).saturating_add(DECODER_SLACK));
    decoder.set_limits(codec_limits).map_err(|e| codec_error(format, e))?;
    DynamicImage::from_decoder(decoder).map_err(|e| codec_error(format, e))
}

/// The codecs promise not to panic; should one do so on a hostile file, it is still only an error here.
fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, ImagingError>) -> Result<T, ImagingError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ImagingError::damaged(format.name(), "its decoder gave up on it")))
}

fn codec_error(format: Format, error: image::ImageError) -> ImagingError {
    let format = format.name();
    match error {
        image::ImageError::Unsupported(e) => ImagingError::Unsupported { format, reason: e.to_string() },
        image::ImageError::Limits(e) => {
            ImagingError::damaged(format, format!("decoding it would take more memory than its size explains ({e})"))
        }
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::damaged(format, "the file is cut off")
        }
        other => ImagingError::damaged(format, other.to_string()),
    }
}
