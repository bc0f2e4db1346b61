//! From bytes to a [`Picture`]: recognised by content, bounded before decoding, turned upright.

use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageReader};

use crate::colour::check_profile;
use crate::container::{Reading, check_jpeg, frames_of, read_noting};
use crate::exif::{ExifView, set_upright};
use crate::format::READABLE;
use crate::{Channels, DecodeLimits, DeepPicture, Format, ImagingError, Metadata, Picture, Samples, Warning};
use crate::{avif, dicom, grey_alpha, ink};

/// Deflate cannot do better than 1032:1, so a PNG with more pixels than this per byte is cut off or lies.
pub(crate) const HIGHEST_DEFLATE_RATIO: u64 = 1032;
/// Working memory a decoder may take beside the pixels.
const DECODER_SLACK: u64 = 64 << 20;

/// Reads a picture file.
///
/// # Errors
/// [`ImagingError::Read`] when the file cannot be read, otherwise as [`decode`].
pub fn open(path: &Path, limits: &DecodeLimits) -> Result<Picture, ImagingError> {
    decode(&read_file(path, limits)?, limits)
}

/// Reads a picture file in the channels and depth that it has.
///
/// # Errors
/// [`ImagingError::Read`] when the file cannot be read, otherwise as [`decode_deep`].
pub fn open_deep(path: &Path, limits: &DecodeLimits) -> Result<DeepPicture, ImagingError> {
    decode_deep(&read_file(path, limits)?, limits)
}

/// The bytes of a file, if it is no larger than the limits allow.
///
/// # Errors
/// [`ImagingError::Read`], [`ImagingError::TooLarge`].
pub fn read_file(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, ImagingError> {
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
        let special = match format {
            Format::Tiff => grey_alpha::size(bytes),
            Format::Avif => Some(avif::size(bytes)?),
            _ => None,
        };
        let (width, height) = match special {
            Some(size) => size,
            None => decoder(format, bytes)?.dimensions(),
        };
        limits.check_size(width, height)?;
        Ok((format, width, height))
    })
}

/// Decodes a picture from the bytes of a file for showing and drawing on: as [`decode_deep`], then in colour, 8 bits a
/// value.
///
/// # Errors
/// As [`decode_deep`].
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture, ImagingError> {
    decode_deep(bytes, limits)?.into_picture()
}

/// Decodes a picture in the channels and depth of its file: PNG, JPEG, WebP, GIF (of animations the first frame), BMP,
/// TIFF (the first page), AVIF (the still picture), DICOM (the first frame, under the window it asks for; see [`crate::dicom`]). Palettes become
/// colours, floats 16-bit values; the EXIF orientation is applied. What was odd about the file although its pixels are
/// right stands in [`DeepPicture::warnings`].
///
/// # Errors
/// [`ImagingError::UnknownFormat`], [`ImagingError::TooLarge`], [`ImagingError::Damaged`],
/// [`ImagingError::Unsupported`].
pub fn decode_deep(bytes: &[u8], limits: &DecodeLimits) -> Result<DeepPicture, ImagingError> {
    limits.check_file(bytes.len() as u64)?;
    if dicom::is_dicom(bytes) {
        return guard_panic("DICOM", || dicom::decode(bytes, limits));
    }
    let format = sniff(bytes)?;
    let about = beside(format, bytes, limits);
    let inks = about.metadata.icc.as_deref().filter(|_| format == Format::Jpeg);
    let mut picture = guarded(format, || decode_pixels(format, bytes, inks, limits))?;
    if about.associated_alpha {
        let channels = picture.channels();
        divide_by_alpha(picture.samples_mut(), channels);
    }
    // A reader may have made a profile of what the pixels say; one that the file carries counts more.
    let made = picture.metadata.icc.take();
    picture.metadata = about.metadata;
    picture.metadata.icc = picture.metadata.icc.or(made);
    picture.warnings.extend(about.warnings);
    let channels = picture.channels();
    check_profile(&mut picture.metadata, channels, &mut picture.warnings);
    Ok(picture.oriented(about.orientation))
}

/// What is known of a file beside its pixels.
pub(crate) struct Beside {
    /// As the file has it, with the orientation of pixels that stand upright.
    pub(crate) metadata: Metadata,
    pub(crate) warnings: Vec<Warning>,
    /// The turn that the pixels still need.
    pub(crate) orientation: u16,
    /// The colours are multiplied with alpha.
    pub(crate) associated_alpha: bool,
}

pub(crate) fn beside(format: Format, bytes: &[u8], limits: &DecodeLimits) -> Beside {
    let Reading { mut metadata, mut warnings } = read_noting(format, bytes, limits);
    // A TIFF file is itself what an EXIF block is.
    let tags = if format == Format::Tiff { Some(bytes) } else { metadata.exif.as_deref() }.and_then(ExifView::parse);
    // An AVIF is turned as its boxes say, whatever EXIF says.
    let turned = tags.filter(|_| format != Format::Avif);
    let orientation = turned.and_then(|view| view.orientation()).unwrap_or(1);
    let associated_alpha = format == Format::Tiff && tags.is_some_and(|view| view.has_associated_alpha());
    let more_pages = format == Format::Tiff && tags.is_some_and(|view| view.has_another());
    if let Some(exif) = &mut metadata.exif {
        set_upright(exif);
    }
    if frames_of(format, bytes).0 > 1 {
        warnings.push(Warning::FirstFrame);
    }
    if more_pages {
        warnings.push(Warning::FirstPage);
    }
    Beside { metadata, warnings, orientation, associated_alpha }
}

pub(crate) fn divide_by_alpha(samples: &mut Samples, channels: Channels) {
    let count = channels.count();
    if !channels.has_alpha() {
        return;
    }
    match samples {
        Samples::U8(values) => divide(values, count, 255),
        Samples::U16(values) => divide(values, count, 65_535),
    }
}

fn divide<T: Copy + Into<u64> + TryFrom<u64>>(values: &mut [T], count: usize, full: u64) {
    for pixel in values.chunks_exact_mut(count) {
        let alpha = pixel[count - 1].into().max(1);
        for value in &mut pixel[..count - 1] {
            let straight = ((*value).into() * full / alpha).min(full);
            // `full` is the greatest value of the type.
            *value = T::try_from(straight).unwrap_or(*value);
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

fn decode_pixels(
    format: Format,
    bytes: &[u8],
    profile: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<DeepPicture, ImagingError> {
    if format == Format::Avif {
        return avif::decode(bytes, limits);
    }
    if format == Format::Jpeg {
        check_jpeg(bytes)?;
    }
    if format == Format::Tiff
        && let Some(picture) = grey_alpha::decode(bytes, limits)?
    {
        return Ok(picture);
    }
    let mut decoder = decoder(format, bytes)?;
    let (width, height) = decoder.dimensions();
    limits.check_size(width, height)?;
    let total = decoder.total_bytes();
    if format == Format::Png && total / HIGHEST_DEFLATE_RATIO > bytes.len() as u64 * 8 {
        return Err(ImagingError::damaged("PNG", format!("{} bytes cannot hold {width}x{height} pixels", bytes.len())));
    }
    if format == Format::Jpeg
        && let Some(picture) = ink::decode_jpeg(bytes, profile)?
    {
        return Ok(picture);
    }
    decoder.set_limits(decoder_limits(total)).map_err(|e| codec_error(format, e))?;
    let inks = matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16);
    let mut picture = deep(DynamicImage::from_decoder(decoder).map_err(|e| codec_error(format, e))?)?;
    if inks {
        picture.warnings.push(Warning::InksWithoutProfile);
    }
    Ok(picture)
}

/// What a decoder may take for pixels of so many bytes.
pub(crate) fn decoder_limits(pixel_bytes: u64) -> image::Limits {
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(pixel_bytes.saturating_mul(3).saturating_add(DECODER_SLACK));
    limits
}

fn deep(image: DynamicImage) -> Result<DeepPicture, ImagingError> {
    let (width, height) = (image.width(), image.height());
    let float = matches!(image, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_));
    let (channels, samples) = match image {
        DynamicImage::ImageLuma8(i) => (Channels::Grey, Samples::U8(i.into_raw())),
        DynamicImage::ImageLumaA8(i) => (Channels::GreyAlpha, Samples::U8(i.into_raw())),
        DynamicImage::ImageRgb8(i) => (Channels::Rgb, Samples::U8(i.into_raw())),
        DynamicImage::ImageRgba8(i) => (Channels::Rgba, Samples::U8(i.into_raw())),
        DynamicImage::ImageLuma16(i) => (Channels::Grey, Samples::U16(i.into_raw())),
        DynamicImage::ImageLumaA16(i) => (Channels::GreyAlpha, Samples::U16(i.into_raw())),
        DynamicImage::ImageRgb16(i) => (Channels::Rgb, Samples::U16(i.into_raw())),
        other if other.color().has_alpha() => (Channels::Rgba, Samples::U16(other.into_rgba16().into_raw())),
        other => (Channels::Rgb, Samples::U16(other.into_rgb16().into_raw())),
    };
    let mut picture = DeepPicture::new(width, height, channels, samples)?;
    if float {
        picture.warnings.push(Warning::FloatValues);
    }
    Ok(picture)
}

pub(crate) fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, ImagingError>) -> Result<T, ImagingError> {
    guard_panic(format.name(), work)
}

/// The codecs promise not to panic; should one do so on a hostile file, it is still only an error here.
pub(crate) fn guard_panic<T>(
    format: &'static str,
    work: impl FnOnce() -> Result<T, ImagingError>,
) -> Result<T, ImagingError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ImagingError::damaged(format, "its decoder gave up on it")))
}

pub(crate) fn codec_error(format: Format, error: image::ImageError) -> ImagingError {
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
