//! From a [`Picture`] to the bytes of a file, with its metadata.

use std::io::Cursor;
use std::path::Path;

use image::ExtendedColorType;

use crate::container::embed_metadata;
use crate::save::write_atomic;
use crate::{Format, ImagingError, Picture, PixelFormat};

/// Choices of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// JPEG quality, 1…100.
    pub jpeg_quality: u8,
    /// What lies behind transparent pixels in a JPEG, which has no alpha.
    pub background: [u8; 3],
    /// Smaller PNG files for more time.
    pub small_png: bool,
}

impl Default for EncodeOptions {
    /// Quality 92 over white, balanced PNG compression.
    fn default() -> Self {
        Self { jpeg_quality: 92, background: [255; 3], small_png: false }
    }
}

/// Encodes a picture and all of its metadata. WebP is written lossless. Generation parameters
/// ([`crate::Metadata::set_infotext`]) become a PNG text chunk or the EXIF UserComment of a JPEG or WebP.
///
/// # Errors
/// [`ImagingError::Encode`] when the format cannot hold the picture (a JPEG side over 65 535, a WebP side over
/// 16 383) or its metadata, [`ImagingError::Argument`] for a quality outside 1…100, [`ImagingError::Unsupported`]
/// for a format that is only read.
pub fn encode(picture: &Picture, format: Format, options: &EncodeOptions) -> Result<Vec<u8>, ImagingError> {
    let bytes = match format {
        Format::Png => encode_png(picture, options)?,
        Format::Jpeg => encode_jpeg(picture, options)?,
        Format::WebP => encode_webp(picture)?,
        Format::Gif | Format::Bmp | Format::Tiff => {
            return Err(ImagingError::Unsupported {
                format: format.name(),
                reason: format!("it is only read; known endings for writing: {}", crate::format::WRITABLE),
            });
        }
    };
    if picture.metadata.is_empty() { Ok(bytes) } else { embed_metadata(format, &bytes, &picture.metadata) }
}

/// Encodes a picture as the ending of `path` asks and writes it whole or not at all (see [`write_atomic`]).
///
/// # Errors
/// [`ImagingError::UnknownExtension`], [`ImagingError::Write`], and those of [`encode`].
pub fn save(path: &Path, picture: &Picture, options: &EncodeOptions) -> Result<(), ImagingError> {
    let format = Format::for_writing(path)?;
    write_atomic(path, &encode(picture, format, options)?)
}

fn encode_png(picture: &Picture, options: &EncodeOptions) -> Result<Vec<u8>, ImagingError> {
    let failed = |e: png::EncodingError| refused(Format::Png, e.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(match picture.format() {
        PixelFormat::Rgb8 => png::ColorType::Rgb,
        PixelFormat::Rgba8 => png::ColorType::Rgba,
    });
    encoder.set_compression(if options.small_png { png::Compression::High } else { png::Compression::Balanced });
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(picture.pixels()).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn encode_jpeg(picture: &Picture, options: &EncodeOptions) -> Result<Vec<u8>, ImagingError> {
    if !(1..=100).contains(&options.jpeg_quality) {
        return Err(ImagingError::argument("jpeg quality", format!("{} is not in 1…100", options.jpeg_quality)));
    }
    check_side(picture, Format::Jpeg, 65_535)?;
    let flat = picture.flattened(options.background);
    let mut bytes = Cursor::new(Vec::new());
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, options.jpeg_quality)
        .encode(flat.pixels(), flat.width(), flat.height(), ExtendedColorType::Rgb8)
        .map_err(|e| refused(Format::Jpeg, e.to_string()))?;
    Ok(bytes.into_inner())
}

fn encode_webp(picture: &Picture) -> Result<Vec<u8>, ImagingError> {
    check_side(picture, Format::WebP, 16_383)?;
    let colour = match picture.format() {
        PixelFormat::Rgb8 => ExtendedColorType::Rgb8,
        PixelFormat::Rgba8 => ExtendedColorType::Rgba8,
    };
    let mut bytes = Vec::new();
    image::codecs::webp::WebPEncoder::new_lossless(&mut bytes)
        .encode(picture.pixels(), picture.width(), picture.height(), colour)
        .map_err(|e| refused(Format::WebP, e.to_string()))?;
    Ok(bytes)
}

fn check_side(picture: &Picture, format: Format, longest: u32) -> Result<(), ImagingError> {
    if picture.width().max(picture.height()) > longest {
        return Err(refused(
            format,
            format!(
                "{}x{} has a side over {longest}, the longest it knows; write a PNG instead",
                picture.width(),
                picture.height()
            ),
        ));
    }
    Ok(())
}

fn refused(format: Format, reason: String) -> ImagingError {
    ImagingError::Encode { format: format.name(), reason }
}
